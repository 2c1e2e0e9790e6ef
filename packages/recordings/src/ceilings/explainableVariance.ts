import { ArgumentError, DataError } from "@penfield/core";
import type { Recording } from "../types.ts";
import { countsOf, median, whyUndefined } from "./repeats.ts";

/** Sums over the repeats of one target. */
interface Moments {
  /** Values of stimuli repeated at least twice, and how many such stimuli. */
  readonly nValues: number;
  readonly nStimuli: number;
  /** Sum of squared distances from the stimulus' own mean. */
  readonly within: number;
  /** Sum of squared distances from the mean of all values. */
  readonly total: number;
  /** Variance of the stimuli's means (n - 1). */
  readonly ofMeans: number;
  /** Mean of one over the number of repeats. */
  readonly inverseRepeats: number;
}

function momentsOf(
  data: ArrayLike<number>,
  [nRepeats, nStimuli, nTargets]: readonly [number, number, number],
  t: number,
): Moments {
  const means: number[] = [];
  const values: number[] = [];
  let within = 0;
  let inverse = 0;
  for (let i = 0; i < nStimuli; i++) {
    const own: number[] = [];
    for (let r = 0; r < nRepeats; r++) {
      const value = data[(r * nStimuli + i) * nTargets + t]!;
      if (!Number.isNaN(value)) own.push(value);
    }
    if (own.length < 2) continue;
    const mean = own.reduce((sum, value) => sum + value, 0) / own.length;
    within += own.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    inverse += 1 / own.length;
    means.push(mean);
    values.push(...own);
  }
  const squares = (list: readonly number[]) => {
    const mean = list.reduce((sum, value) => sum + value, 0) / list.length;
    return list.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  };
  return {
    nValues: values.length,
    nStimuli: means.length,
    within,
    total: squares(values),
    ofMeans: squares(means) / (means.length - 1),
    inverseRepeats: inverse / means.length,
  };
}

/** The share of a target's variance that repeats have in common. */
export interface ExplainableVariance {
  /** Grows with fewer repeats even without any signal: 1 / nRepeats for noise. [nTargets]. */
  readonly raw: Float64Array;
  /** Without that bias; 0 on average for noise, and then negative half of the time. [nTargets]. */
  readonly corrected: Float64Array;
  readonly medianCorrected: number;
  readonly nUndefined: number;
  /** Why no target has a value, in words; undefined if some have one. */
  readonly undefinedReason: string | undefined;
}

/**
 * Explainable variance: how much of a target's variance over stimuli comes back in every repeat.
 *
 *   raw = 1 - sum (z_ri - mean_i)^2 / sum z_ri^2        corrected = raw - (1 - raw) / (nRepeats - 1)
 *
 * where z is each repeat z-scored over its stimuli. With unequal repeats, the sums run over what is there and the
 * correction is that of the residual's degrees of freedom, which is the same where repeats are equal; stimuli with a
 * single repeat are left out after the z-score.
 *
 * @param recording - With at least 2 repeats; with 1 every value is NaN, and `undefinedReason` says so.
 * @param options.standardize - Z-score each repeat of each target. Default true.
 * @throws {DataError} if a value is infinite.
 *
 * Cost: O(nRepeats nStimuli nTargets).
 * Source: Sahani & Linden (2002), NIPS 15; `explainable_variance` of the Gallant lab's voxelwise tutorials, whose
 * numbers it gives.
 *
 * @example
 * const features = activations([[1], [2], [3], [5], [8]]);
 * const brain = simulateRecording(features, ["a", "b", "c", "d", "e"], { nRepeats: 3, signalToNoise: 1e9 });
 * explainableVariance(brain).medianCorrected.toFixed(3) // => "1.000"
 */
export function explainableVariance(
  recording: Recording,
  { standardize = true }: { standardize?: boolean } = {},
): ExplainableVariance {
  const { shape } = recording.data;
  checkNotInfinite("explainableVariance", recording);
  const data = standardize ? standardized(recording) : recording.data.data;
  const raw = new Float64Array(shape[2]).fill(Number.NaN);
  const corrected = raw.slice();
  for (let t = 0; t < shape[2]; t++) {
    const { nValues, nStimuli, within, total } = momentsOf(data, shape, t);
    if (!(nStimuli >= 2 && total > 0)) continue;
    raw[t] = 1 - within / total;
    corrected[t] = 1 - within / (nValues - nStimuli) / (total / nValues);
  }
  return {
    raw,
    corrected,
    medianCorrected: median(corrected),
    nUndefined: corrected.filter(Number.isNaN).length,
    undefinedReason: whyUndefined(recording, countsOf(recording), corrected),
  };
}

/** Each repeat of each target with mean 0 and deviation 1 over the stimuli that it has; 0 if it does not vary. */
function standardized({ data }: Recording): Float64Array {
  const [nRepeats, nStimuli, nTargets] = data.shape;
  const out = Float64Array.from(data.data);
  for (let r = 0; r < nRepeats; r++) {
    for (let t = 0; t < nTargets; t++) {
      const at = (i: number) => (r * nStimuli + i) * nTargets + t;
      let n = 0;
      let sum = 0;
      for (let i = 0; i < nStimuli; i++) {
        const value = out[at(i)]!;
        if (Number.isNaN(value)) continue;
        n++;
        sum += value;
      }
      const mean = sum / n;
      let square = 0;
      for (let i = 0; i < nStimuli; i++) {
        const value = out[at(i)]!;
        if (!Number.isNaN(value)) square += (value - mean) ** 2;
      }
      const deviation = Math.sqrt(square / n);
      // What rounding leaves of equal values is not variance.
      const scale = deviation > 1e-14 * Math.abs(mean) ? 1 / deviation : 0;
      for (let i = 0; i < nStimuli; i++) out[at(i)] = (out[at(i)]! - mean) * scale;
    }
  }
  return out;
}

/** Signal and noise of each target. */
export interface SignalAndNoise {
  /** Variance over stimuli of the response without noise; 0 where the estimate is below. [nTargets]. */
  readonly signalVariance: Float64Array;
  /** Variance over repeats of one stimulus. [nTargets]. */
  readonly noiseVariance: Float64Array;
  /** Root of signal over noise variance. [nTargets]. */
  readonly signalToNoise: Float64Array;
  /** How much of the variance of the mean of `nRepeats` repeats the signal is, percent. [nTargets]. */
  readonly ceilingPercent: Float64Array;
  /** The highest correlation with that mean: the root of the share. [nTargets]. */
  readonly maximumCorrelation: Float64Array;
  readonly medianCeilingPercent: number;
  /** For how many repeats the ceiling is. */
  readonly nRepeats: number;
  readonly nUndefined: number;
  /** Why no target has a value, in words; undefined if some have one. */
  readonly undefinedReason: string | undefined;
}

/**
 * Noise ceiling from the variances of signal and noise, for the mean of any number of repeats.
 *
 *   noise = mean variance over the repeats of a stimulus (n - 1)
 *   signal = max(0, variance over stimuli of their means (n - 1) - noise mean(1 / repeats))
 *   ceiling = 100 signal / (signal + noise / nRepeats)
 *
 * @param recording - With at least 2 repeats of some stimuli, which may differ in number; with 1 every value is NaN,
 *   and `undefinedReason` says so. Values should be comparable over sessions: z-score them first.
 * @param options.nRepeats - How many repeats are averaged where the ceiling is used. Default: as in the recording
 *   (the harmonic mean, where stimuli differ).
 * @throws {ArgumentError} if nRepeats is not positive.
 * @throws {DataError} if a value is infinite.
 *
 * Cost: O(nRepeats nStimuli nTargets).
 * Source: Allen et al. (2022), Nat Neurosci 25:116-126 (NSD). There the signal is the total variance minus the
 * noise's; here the variance of means is corrected for the noise in it, which is unbiased with few stimuli too.
 *
 * @example
 * const features = activations(Array.from({ length: 200 }, (_, i) => [Math.sin(i * i)]));
 * const brain = simulateRecording(features, Array.from({ length: 200 }, (_, i) => `s${i}`), { nRepeats: 3, nTargets: 200 });
 * Math.abs(signalAndNoise(brain, { nRepeats: 1 }).medianCeilingPercent - 50) < 2 // => true
 */
export function signalAndNoise(
  recording: Recording,
  { nRepeats }: { nRepeats?: number } = {},
): SignalAndNoise {
  if (nRepeats !== undefined && !(nRepeats > 0)) {
    throw new ArgumentError(`signalAndNoise: expected a positive nRepeats, got ${nRepeats}`);
  }
  checkNotInfinite("signalAndNoise", recording);
  const { data, shape } = recording.data;
  const nTargets = shape[2];
  const noiseVariance = new Float64Array(nTargets).fill(Number.NaN);
  const signalVariance = noiseVariance.slice();
  let harmonic = Number.NaN;
  for (let t = 0; t < nTargets; t++) {
    const { nValues, nStimuli, within, ofMeans, inverseRepeats } = momentsOf(data, shape, t);
    if (nStimuli < 2) continue;
    noiseVariance[t] = within / (nValues - nStimuli);
    signalVariance[t] = Math.max(0, ofMeans - noiseVariance[t]! * inverseRepeats);
    harmonic = 1 / inverseRepeats;
  }
  const used = nRepeats ?? harmonic;
  const ceilingPercent = signalVariance.map((signal, t) => {
    const all = signal + noiseVariance[t]! / used;
    return all === 0 ? Number.NaN : (100 * signal) / all;
  });
  return {
    signalVariance,
    noiseVariance,
    signalToNoise: signalVariance.map((signal, t) => Math.sqrt(signal / noiseVariance[t]!)),
    ceilingPercent,
    maximumCorrelation: ceilingPercent.map((percent) => Math.sqrt(percent / 100)),
    medianCeilingPercent: median(ceilingPercent),
    nRepeats: used,
    nUndefined: ceilingPercent.filter(Number.isNaN).length,
    undefinedReason: whyUndefined(recording, countsOf(recording), ceilingPercent),
  };
}

function checkNotInfinite(name: string, recording: Recording): void {
  const bad = recording.data.data.findIndex(
    (value) => value === Number.POSITIVE_INFINITY || value === Number.NEGATIVE_INFINITY,
  );
  if (bad >= 0) {
    throw new DataError(
      `${name}: ${recording.name}: expected finite values or NaN, got ${recording.data.data[bad]}`,
    );
  }
}
