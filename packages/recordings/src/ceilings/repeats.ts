import { DataError, type Tensor, tensor } from "@penfield/core";
import { pearson, pearsonColumns, quantile } from "@penfield/stats";
import type { Recording } from "../types.ts";

/** Responses, one per stimulus and target. */
export type MeanResponses = Tensor<readonly ["stimulus", "target"]>;

/**
 * The mean over the repeats that are there, `[nStimuli, nTargets]`, float64.
 *
 * @throws {DataError} if a target has no value for a stimulus (which).
 *
 * @example
 * const events = [0, 1, 2].map((onset) => ({ onset, duration: 1, type: onset < 2 ? "a" : "b" }));
 * meanOverRepeats(eventAverages(timeSeriesOf({ values: [[1], [3], [7]], events }))).data.join(" ") // => "2 7"
 */
export function meanOverRepeats(recording: Recording): MeanResponses {
  const [nRepeats, , nTargets] = recording.data.shape;
  const mean = meanOf(
    recording,
    Int32Array.from({ length: nRepeats }, (_, i) => i),
  );
  const missing = mean.data.findIndex(Number.isNaN);
  if (missing >= 0) {
    throw new DataError(
      `meanOverRepeats: ${recording.name}: expected a value for each stimulus and target, got none for ${JSON.stringify(recording.stimulusIds[Math.floor(missing / nTargets)])}, target ${JSON.stringify(recording.targets[missing % nTargets]?.id)}`,
      { hint: "Leave out the targets or stimuli that were not measured." },
    );
  }
  return mean;
}

/** The mean over some repeats, of those that are there; NaN where none is. */
export function meanOf({ data }: Recording, repeats: ArrayLike<number>): MeanResponses {
  const [, nStimuli, nTargets] = data.shape;
  const size = nStimuli * nTargets;
  const out = new Float64Array(size);
  const counts = new Int32Array(size);
  for (let r = 0; r < repeats.length; r++) {
    const from = repeats[r]! * size;
    for (let i = 0; i < size; i++) {
      const value = data.data[from + i]!;
      if (Number.isNaN(value)) continue;
      out[i]! += value;
      counts[i]!++;
    }
  }
  for (let i = 0; i < size; i++) out[i]! /= counts[i]!;
  return tensor(out, ["stimulus", "target"], [nStimuli, nTargets]);
}

/** How many repeats there are of each stimulus and target, [nStimuli x nTargets]. */
export function countsOf({ data }: Recording): Int32Array {
  const [nRepeats, nStimuli, nTargets] = data.shape;
  const size = nStimuli * nTargets;
  const counts = new Int32Array(size);
  for (let r = 0; r < nRepeats; r++) {
    for (let i = 0; i < size; i++) if (!Number.isNaN(data.data[r * size + i])) counts[i]!++;
  }
  return counts;
}

/** Pearson's r of each target over the stimuli that have a value on both sides; NaN with fewer than 2. */
export function pearsonWhereBoth(a: MeanResponses, b: MeanResponses): Float64Array {
  const isWhole = (x: MeanResponses) => !x.data.some(Number.isNaN);
  const [nStimuli, nTargets] = a.shape;
  if (nStimuli < 2) return new Float64Array(nTargets).fill(Number.NaN);
  if (isWhole(a) && isWhole(b)) return pearsonColumns(a, b);
  const out = new Float64Array(nTargets).fill(Number.NaN);
  for (let t = 0; t < nTargets; t++) {
    const x: number[] = [];
    const y: number[] = [];
    for (let i = 0; i < nStimuli; i++) {
      const at = i * nTargets + t;
      if (Number.isNaN(a.data[at]) || Number.isNaN(b.data[at])) continue;
      x.push(a.data[at]!);
      y.push(b.data[at]!);
    }
    if (x.length >= 2) out[t] = pearson(x, y);
  }
  return out;
}

/** The median of those that are defined. */
export function median(values: Float64Array): number {
  const defined = values.filter((value) => !Number.isNaN(value));
  return defined.length === 0 ? Number.NaN : quantile(defined, 0.5);
}

/** Why no target can have a ceiling, for results; undefined if some can. */
export function whyUndefined(
  { data, name }: Recording,
  counts: Int32Array,
  values: Float64Array,
): string | undefined {
  if (!values.every(Number.isNaN)) return undefined;
  if (counts.every((count) => count < 2)) {
    return `${name}: one repeat of each stimulus, where two are needed`;
  }
  return data.shape[1] < 2
    ? `${name}: one stimulus, where two are needed`
    : `${name}: no target varies over stimuli that were repeated`;
}
