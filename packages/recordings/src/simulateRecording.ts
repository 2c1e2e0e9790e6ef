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
  /** The same for all stimuli, or one number per stimulus; the data are then NaN beyond it. Default 1. */
  readonly nRepeats?: number | ArrayLike<number> | undefined;
  /** Variance of the signal over variance of the noise, in one repeat; Infinity for no noise. Default 1. */
  readonly signalToNoise?: number | undefined;
  /**
   * How much the noise of a stimulus resembles that of the one before it in the same repeat, 0 to below 1: slow
   * changes that have nothing to do with stimuli. Default 0.
   */
  readonly noiseAutocorrelation?: number | undefined;
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
 *   noise of stimulus i = a noise of i - 1 + sqrt(1 - a^2) N(0, 1 / signalToNoise),  a = noiseAutocorrelation
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
    noiseAutocorrelation = 0,
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
  const repeats = Int32Array.from({ length: nStimuli }, (_, i) =>
    typeof nRepeats === "number" ? nRepeats : (nRepeats[i] ?? 0),
  );
  const given = typeof nRepeats === "number" ? [nRepeats] : Array.from(nRepeats);
  for (const value of [nTargets, ...given]) {
    if (!Number.isInteger(value) || value < 1) {
      throw new ArgumentError(
        `simulateRecording: expected positive whole numbers for nTargets and nRepeats, got ${value}`,
      );
    }
  }
  if (typeof nRepeats !== "number" && nRepeats.length !== nStimuli) {
    throw new ShapeError(
      `simulateRecording: expected nRepeats for each of ${nStimuli} stimuli, got ${nRepeats.length}`,
    );
  }
  if (!(noiseAutocorrelation >= 0 && noiseAutocorrelation < 1)) {
    throw new ArgumentError(
      `simulateRecording: expected a noiseAutocorrelation from 0 to below 1, got ${noiseAutocorrelation}`,
    );
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
  const most = repeats.reduce((largest, count) => Math.max(largest, count), 0);
  const data = new Float64Array(most * nStimuli * nTargets);
  const fresh = Math.sqrt(1 - noiseAutocorrelation ** 2);
  for (let r = 0; r < most; r++) {
    const drift = new Float64Array(nTargets);
    for (let i = 0; i < nStimuli; i++) {
      for (let t = 0; t < nTargets; t++) {
        const draw = noise === 0 ? 0 : noise * rng.normal();
        drift[t] = i === 0 ? draw : noiseAutocorrelation * drift[t]! + fresh * draw;
        data[(r * nStimuli + i) * nTargets + t] =
          r < repeats[i]! ? signal[t * nStimuli + i]! + drift[t]! : Number.NaN;
      }
    }
  }
  return {
    name,
    simulated: true,
    data: tensor(data, ["repeat", "stimulus", "target"], [most, nStimuli, nTargets]),
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
