import { ArgumentError, createRng, permutation, type Tensor, tensor } from "@penfield/core";
import { pearsonColumns, quantile } from "@penfield/stats";
import type { Recording } from "./types.ts";

/** The mean over repeats, `[nStimuli, nTargets]`, float64. */
export function meanOverRepeats(recording: Recording): Tensor<readonly ["stimulus", "target"]> {
  const [nRepeats] = recording.data.shape;
  return meanOf(
    recording,
    Int32Array.from({ length: nRepeats }, (_, i) => i),
  );
}

function meanOf(
  { data }: Recording,
  repeats: ArrayLike<number>,
): Tensor<readonly ["stimulus", "target"]> {
  const [, nStimuli, nTargets] = data.shape;
  const size = nStimuli * nTargets;
  const out = new Float64Array(size);
  for (let r = 0; r < repeats.length; r++) {
    const from = repeats[r]! * size;
    for (let i = 0; i < size; i++) out[i]! += data.data[from + i]!;
  }
  for (let i = 0; i < size; i++) out[i]! /= repeats.length;
  return tensor(out, ["stimulus", "target"], [nStimuli, nTargets]);
}

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
  readonly nRepeats: number;
  readonly nSplits: number;
}

/**
 * Noise ceiling from repeats: how well one half of the repeats predicts the other.
 *
 *   r = pearson(mean of half A, mean of half B) over stimuli      reliability = 2 r / (1 + r)
 *
 * not below -1, averaged over splits. With an odd number of repeats the halves differ by one, which makes the
 * reliability slightly too low.
 *
 * @param recording - With at least 2 repeats; with 1 every value is NaN.
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
  const [nRepeats, , nTargets] = recording.data.shape;
  const reliability = new Float64Array(nTargets).fill(nRepeats < 2 ? Number.NaN : 0);
  const splits = split === "even-odd" ? 1 : nSplits;
  if (nRepeats >= 2) {
    const rng = createRng(seed);
    for (let s = 0; s < splits; s++) {
      const order =
        split === "random"
          ? permutation(nRepeats, rng)
          : Int32Array.from({ length: nRepeats }, (_, i) => i).sort((a, b) => (a % 2) - (b % 2));
      const half = split === "random" ? Math.floor(nRepeats / 2) : Math.ceil(nRepeats / 2);
      const r = pearsonColumns(
        meanOf(recording, order.subarray(0, half)),
        meanOf(recording, order.subarray(half)),
      );
      for (let t = 0; t < nTargets; t++) reliability[t]! += spearmanBrown(r[t]!) / splits;
    }
  }
  const maximumCorrelation = reliability.map((value) => Math.sqrt(Math.max(0, value)));
  const nUndefined = reliability.filter(Number.isNaN).length;
  return {
    reliability,
    maximumCorrelation,
    medianReliability: median(reliability),
    medianMaximumCorrelation: median(maximumCorrelation),
    nUndefined,
    nRepeats,
    nSplits: splits,
  };
}

/** Bounds on how well anything can predict a single repeat. */
export interface RepeatBounds {
  /** Mean correlation of each repeat with the mean of the others, [nTargets]. */
  readonly lower: Float64Array;
  /** Mean correlation of each repeat with the mean of all, itself included, [nTargets]. */
  readonly upper: Float64Array;
  readonly nRepeats: number;
}

/**
 * How well the mean of the other repeats (or subjects, stacked on that axis) predicts each one: the
 * correlation that the true signal would reach lies between the two bounds.
 *
 *   lower = mean over r of pearson(y_r, mean of the others)
 *   upper = mean over r of pearson(y_r, mean of all)
 *
 * @param recording - With at least 2 repeats; with 1 every value is NaN, as for targets that do not vary.
 *
 * Cost: O(nRepeats^2 nStimuli nTargets) time.
 * Source: Nili et al. (2014), PLoS Comput Biol 10:e1003553, applied to single targets.
 */
export function leaveOneOutBounds(recording: Recording): RepeatBounds {
  const [nRepeats, , nTargets] = recording.data.shape;
  const lower = new Float64Array(nTargets).fill(nRepeats < 2 ? Number.NaN : 0);
  const upper = lower.slice();
  const all = Array.from({ length: nRepeats }, (_, r) => r);
  for (let r = 0; nRepeats >= 2 && r < nRepeats; r++) {
    const one = meanOf(recording, [r]);
    const others = pearsonColumns(one, meanOf(recording, all.toSpliced(r, 1)));
    const whole = pearsonColumns(one, meanOf(recording, all));
    for (let t = 0; t < nTargets; t++) {
      lower[t]! += others[t]! / nRepeats;
      upper[t]! += whole[t]! / nRepeats;
    }
  }
  return { lower, upper, nRepeats };
}

/** At least -1: two halves that contradict each other would give minus infinity. */
function spearmanBrown(r: number): number {
  return Math.max(-1, (2 * r) / (1 + r));
}

function median(values: Float64Array): number {
  const defined = values.filter((value) => !Number.isNaN(value));
  return defined.length === 0 ? Number.NaN : quantile(defined, 0.5);
}
