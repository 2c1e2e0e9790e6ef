import { ArgumentError, createRng, permutation, tensor } from "@penfield/core";
import type { Recording } from "../types.ts";
import { countsOf, type MeanResponses, median, pearsonWhereBoth, whyUndefined } from "./repeats.ts";

/** How well a recording predicts itself. */
export interface NoiseCeiling {
  /** Spearman-Brown corrected split-half correlation, the reliability of the mean of all repeats, [nTargets]. */
  readonly reliability: Float64Array;
  /**
   * The highest correlation with the mean of all repeats that a noiseless model can have: the root of
   * the reliability (0 where that is negative), [nTargets].
   */
  readonly maximumCorrelation: Float64Array;
  readonly medianReliability: number;
  readonly medianMaximumCorrelation: number;
  /** How many targets have no ceiling (one repeat, or no variance); left out of the medians. */
  readonly nUndefined: number;
  /** Of the stimulus repeated most often. */
  readonly nRepeats: number;
  /** Stimuli with fewer than two repeats in every target; they play no part. */
  readonly nStimuliLeftOut: number;
  readonly nSplits: number;
  /** Why no target has a ceiling, in words; undefined if some have one. */
  readonly undefinedReason: string | undefined;
}

/**
 * Noise ceiling from repeats: how well one half of the repeats predicts the other.
 *
 *   r = pearson(mean of half A, mean of half B) over stimuli      reliability = 2 r / (1 + r)
 *
 * not below -1, averaged over splits. With an odd number of repeats the halves differ by one, which makes the
 * reliability slightly too low. Where stimuli were repeated unequally often, each one's own repeats are halved, and
 * those with a single repeat are left out; the reliability is then that of a typical number of repeats.
 *
 * @param recording - With at least 2 repeats; with 1 every value is NaN, and `undefinedReason` says so.
 * @param options.nSplits - Random splits. Default 10.
 * @param options.seed - Default 0.
 * @param options.split - `random` (default), or `even-odd`: one split, repeats 0, 2, ... against 1, 3, ...
 * @throws {ArgumentError} if nSplits is not a positive whole number.
 *
 * Cost: O(nSplits nRepeats nStimuli nTargets) time.
 * Source: Spearman (1910), Brown (1910), Br J Psychol 3; split halves as in Brain-Score's internal
 * consistency, which divides by the reliability itself.
 */
export function splitHalfCeiling(
  recording: Recording,
  {
    nSplits = 10,
    seed = 0,
    split = "random",
  }: { nSplits?: number; seed?: number; split?: "random" | "even-odd" } = {},
): NoiseCeiling {
  if (!Number.isInteger(nSplits) || nSplits < 1) {
    throw new ArgumentError(
      `splitHalfCeiling: expected a positive whole number of splits, got ${nSplits}`,
    );
  }
  if (split !== "random" && split !== "even-odd") {
    throw new ArgumentError(`splitHalfCeiling: expected split random or even-odd, got ${split}`);
  }
  const [nRepeats, nStimuli, nTargets] = recording.data.shape;
  const counts = countsOf(recording);
  const reliability = new Float64Array(nTargets).fill(nRepeats < 2 ? Number.NaN : 0);
  const splits = split === "even-odd" ? 1 : nSplits;
  if (nRepeats >= 2) {
    const rng = createRng(seed);
    for (let s = 0; s < splits; s++) {
      const order =
        split === "random"
          ? permutation(nRepeats, rng)
          : Int32Array.from({ length: nRepeats }, (_, i) => i);
      const r = pearsonWhereBoth(...halves(recording, counts, order, split));
      for (let t = 0; t < nTargets; t++) reliability[t]! += spearmanBrown(r[t]!) / splits;
    }
  }
  const maximumCorrelation = reliability.map((value) => Math.sqrt(Math.max(0, value)));
  let nStimuliLeftOut = 0;
  for (let i = 0; i < nStimuli; i++) {
    const own = counts.subarray(i * nTargets, (i + 1) * nTargets);
    if (own.every((count) => count < 2)) nStimuliLeftOut++;
  }
  return {
    reliability,
    maximumCorrelation,
    medianReliability: median(reliability),
    medianMaximumCorrelation: median(maximumCorrelation),
    nUndefined: reliability.filter(Number.isNaN).length,
    nRepeats,
    nStimuliLeftOut,
    nSplits: splits,
    undefinedReason: whyUndefined(recording, counts, reliability),
  };
}

/**
 * The means of two halves of the repeats of each stimulus and target, taken in the order given: the first half of
 * them and the rest, or every other one. NaN where there are not two.
 */
function halves(
  { data }: Recording,
  counts: Int32Array,
  order: Int32Array,
  split: "random" | "even-odd",
): [MeanResponses, MeanResponses] {
  const [, nStimuli, nTargets] = data.shape;
  const size = nStimuli * nTargets;
  const sums = [new Float64Array(size), new Float64Array(size)] as const;
  const seen = new Int32Array(size);
  const inFirst = (nth: number, count: number) =>
    split === "random" ? nth < Math.floor(count / 2) : nth % 2 === 0;
  for (const r of order) {
    for (let i = 0; i < size; i++) {
      const value = data.data[r * size + i]!;
      if (Number.isNaN(value)) continue;
      sums[inFirst(seen[i]!++, counts[i]!) ? 0 : 1][i]! += value;
    }
  }
  for (let i = 0; i < size; i++) {
    const count = counts[i]!;
    const first = split === "random" ? Math.floor(count / 2) : Math.ceil(count / 2);
    sums[0][i] = count < 2 ? Number.NaN : sums[0][i]! / first;
    sums[1][i] = count < 2 ? Number.NaN : sums[1][i]! / (count - first);
  }
  const named = (values: Float64Array) =>
    tensor(values, ["stimulus", "target"], [nStimuli, nTargets]);
  return [named(sums[0]), named(sums[1])];
}

/** At least -1: two halves that contradict each other would give minus infinity. */
function spearmanBrown(r: number): number {
  return Math.max(-1, (2 * r) / (1 + r));
}
