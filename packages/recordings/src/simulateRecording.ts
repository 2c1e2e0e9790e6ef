import {
  type Activations,
  ArgumentError,
  createRng,
  DataError,
  ShapeError,
  sha256,
  tensor,
} from "@penfield/core";
import type { Recording } from "./types.ts";

/** What kind of brain to make up. */
export interface SimulateOptions {
  /** Default 50. */
  readonly nTargets?: number | undefined;
  /** Default 1. */
  readonly nRepeats?: number | undefined;
  /** Variance of the signal over variance of the noise, in one repeat; Infinity for no noise. Default 1. */
  readonly signalToNoise?: number | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
  /** Which units the targets listen to. Default: all. */
  readonly units?: ArrayLike<number> | undefined;
  /** Default "simulated". */
  readonly name?: string | undefined;
}

/**
 * A made-up recording whose truth is known: each target is a random mixture of units plus noise.
 *
 *   signal_t = z(sum_u w_tu z(x_u)),  w ~ N(0, 1)          y = signal + N(0, 1 / signalToNoise)
 *
 * where z takes the mean away and divides by the standard deviation over stimuli. The result is
 * marked `simulated`, and every report that uses it says so.
 *
 * @param features - What the brain listens to, `[nStimuli, nUnits]`, nStimuli >= 2, finite. Units
 *   that do not vary have no effect.
 * @param stimulusIds - One per row.
 * @param options - What kind of brain to make up.
 * @returns Targets `t0, t1, ...`; float64.
 * @throws {ShapeError} if there is not one id per row, or fewer than 2 stimuli.
 * @throws {ArgumentError} if an option is out of range.
 * @throws {DataError} if a value is not finite or no unit varies.
 *
 * Cost: O(nStimuli nUnits nTargets) time.
 *
 * @example
 * simulateRecording(activations([[1], [2], [3]]), ["a", "b", "c"], { nTargets: 2 }).simulated // => true
 */
export function simulateRecording(
  features: Activations,
  stimulusIds: readonly string[],
  {
    nTargets = 50,
    nRepeats = 1,
    signalToNoise = 1,
    seed = 0,
    units,
    name = "simulated",
  }: SimulateOptions = {},
): Recording {
  const [nStimuli, nUnits] = features.shape;
  if (stimulusIds.length !== nStimuli || nStimuli < 2) {
    throw new ShapeError(
      `simulateRecording: expected at least 2 stimuli and an id for each, got ${nStimuli} and ${stimulusIds.length} ids`,
    );
  }
  for (const [key, value] of Object.entries({ nTargets, nRepeats })) {
    if (!Number.isInteger(value) || value < 1) {
      throw new ArgumentError(
        `simulateRecording: expected a positive whole number for ${key}, got ${value}`,
      );
    }
  }
  if (!(signalToNoise > 0)) {
    throw new ArgumentError(
      `simulateRecording: expected a positive signalToNoise, got ${signalToNoise}`,
    );
  }
  const chosen = units ?? Int32Array.from({ length: nUnits }, (_, i) => i);
  const columns = zScoredColumns(features, chosen);
  const rng = createRng(seed);
  const signal = new Float64Array(nTargets * nStimuli); // [target, stimulus]
  for (let t = 0; t < nTargets; t++) {
    const row = signal.subarray(t * nStimuli, (t + 1) * nStimuli);
    for (const unit of columns) {
      const weight = rng.normal();
      for (let i = 0; i < nStimuli; i++) row[i]! += weight * unit[i]!;
    }
    zScore(row);
  }
  const noise = 1 / Math.sqrt(signalToNoise);
  const data = new Float64Array(nRepeats * nStimuli * nTargets);
  for (let r = 0; r < nRepeats; r++) {
    for (let i = 0; i < nStimuli; i++) {
      for (let t = 0; t < nTargets; t++) {
        data[(r * nStimuli + i) * nTargets + t] =
          signal[t * nStimuli + i]! + (noise === 0 ? 0 : noise * rng.normal());
      }
    }
  }
  return {
    name,
    simulated: true,
    data: tensor(data, ["repeat", "stimulus", "target"], [nRepeats, nStimuli, nTargets]),
    stimulusIds: [...stimulusIds],
    targets: Array.from({ length: nTargets }, (_, t) => ({ id: `t${t}` })),
    sha256: sha256(new Uint8Array(data.buffer)),
  };
}

/** The units that vary, each z-scored over stimuli. */
function zScoredColumns(features: Activations, units: ArrayLike<number>): readonly Float64Array[] {
  const [nStimuli, nUnits] = features.shape;
  const columns: Float64Array[] = [];
  for (let k = 0; k < units.length; k++) {
    const unit = units[k]!;
    if (!(Number.isInteger(unit) && unit >= 0 && unit < nUnits)) {
      throw new ArgumentError(
        `simulateRecording: expected units within 0..${nUnits - 1}, got ${unit}`,
      );
    }
    const values = Float64Array.from(
      { length: nStimuli },
      (_, i) => features.data[i * nUnits + unit]!,
    );
    const bad = values.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) {
      throw new DataError(
        `simulateRecording: expected finite features, got ${values[bad]} at stimulus ${bad}, unit ${unit}`,
      );
    }
    if (zScore(values)) columns.push(values);
  }
  if (columns.length === 0) {
    throw new DataError("simulateRecording: expected units that vary over stimuli, got none");
  }
  return columns;
}

/** In place; false, and left at zero, if the values do not vary. */
function zScore(values: Float64Array): boolean {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  let square = 0;
  for (let i = 0; i < values.length; i++) {
    values[i]! -= mean;
    square += values[i]! ** 2;
  }
  const deviation = Math.sqrt(square / values.length);
  // Rounding of the mean leaves a little "variance" in equal values.
  if (deviation <= 1e-14 * Math.abs(mean)) {
    values.fill(0);
    return false;
  }
  for (let i = 0; i < values.length; i++) values[i]! /= deviation;
  return true;
}
