import type { Recording } from "../types.ts";
import { countsOf, meanOf, pearsonWhereBoth, whyUndefined } from "./repeats.ts";

/** Bounds on how well anything can predict a single repeat. */
export interface RepeatBounds {
  /** Mean correlation of each repeat with the mean of the others, [nTargets]. */
  readonly lower: Float64Array;
  /** Mean correlation of each repeat with the mean of all, itself included, [nTargets]. */
  readonly upper: Float64Array;
  readonly nRepeats: number;
  /** Why no target has bounds, in words; undefined if some have. */
  readonly undefinedReason: string | undefined;
}

/**
 * How well the mean of the other repeats (or subjects, stacked on that axis) predicts each one: the
 * correlation that the true signal would reach lies between the two bounds.
 *
 *   lower = mean over r of pearson(y_r, mean of the others)
 *   upper = mean over r of pearson(y_r, mean of all)
 *
 * over the stimuli that both sides have. For subjects see `stackSubjects`.
 *
 * @param recording - With at least 2 repeats; with 1 every value is NaN, and `undefinedReason` says so. Repeats in
 *   which a target does not vary are left out of its mean; NaN if it varies in none.
 *
 * Cost: O(nRepeats^2 nStimuli nTargets) time.
 * Source: Nili et al. (2014), PLoS Comput Biol 10:e1003553, applied to single targets.
 */
export function leaveOneOutBounds(recording: Recording): RepeatBounds {
  const [nRepeats, , nTargets] = recording.data.shape;
  const all = Array.from({ length: nRepeats }, (_, r) => r);
  const sums = { lower: new Float64Array(nTargets), upper: new Float64Array(nTargets) };
  const counts = { lower: new Int32Array(nTargets), upper: new Int32Array(nTargets) };
  const add = (side: "lower" | "upper", r: Float64Array) =>
    r.forEach((value, t) => {
      if (Number.isNaN(value)) return;
      sums[side][t]! += value;
      counts[side][t]!++;
    });
  for (let r = 0; nRepeats >= 2 && r < nRepeats; r++) {
    const one = meanOf(recording, [r]);
    add("lower", pearsonWhereBoth(one, meanOf(recording, all.toSpliced(r, 1))));
    add("upper", pearsonWhereBoth(one, meanOf(recording, all)));
  }
  const lower = sums.lower.map((sum, t) => sum / counts.lower[t]!);
  // Without a second repeat a repeat is its own mean: its correlation of 1 says nothing.
  const upper = sums.upper.map((sum, t) =>
    counts.lower[t] === 0 ? Number.NaN : sum / counts.upper[t]!,
  );
  return {
    lower,
    upper,
    nRepeats,
    undefinedReason: whyUndefined(recording, countsOf(recording), lower),
  };
}
