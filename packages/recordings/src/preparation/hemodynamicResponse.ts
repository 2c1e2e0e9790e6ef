import { ArgumentError, ShapeError, type Tensor, tensor } from "@penfield/core";
import { logGamma } from "@penfield/stats";
import { checkRate, runsFrom } from "./series.ts";

/** Features of a model or of stimuli, sample by sample: `[nTimes, nUnits]`. */
export type FeatureSeries = Tensor<readonly ["time", "unit"]>;

/** A response to a moment of activity: one gamma density minus a share of another, later one. Seconds. */
export interface GammaDifference {
  readonly delay: number;
  readonly undershoot: number;
  readonly dispersion: number;
  readonly undershootDispersion: number;
  /** Of the undershoot. */
  readonly ratio: number;
}

/** The two usual shapes. */
export const hemodynamicShapes: {
  readonly spm: GammaDifference;
  readonly glover: GammaDifference;
} = {
  spm: { delay: 6, undershoot: 16, dispersion: 1, undershootDispersion: 1, ratio: 0.167 },
  glover: { delay: 6, undershoot: 12, dispersion: 0.9, undershootDispersion: 0.9, ratio: 0.48 },
};

export type HemodynamicShape = keyof typeof hemodynamicShapes | GammaDifference;

/** Which function of time is wanted. */
export type HemodynamicPart = "response" | "time" | "dispersion";

/** Shape and grid of a response. */
export interface HemodynamicOptions {
  /** Default "spm". */
  readonly shape?: HemodynamicShape | undefined;
  /** The response itself (default), or its derivative by time of onset or by dispersion. */
  readonly part?: HemodynamicPart | undefined;
  /** Seconds from one value to the next; a TR over some tens. */
  readonly stepSeconds: number;
  /** Default 32. */
  readonly lengthSeconds?: number | undefined;
}

/**
 * The blood's response to a moment of activity, on a regular grid, with sum 1.
 *
 *   h(t) = gamma(t; delay / dispersion, dispersion) - ratio gamma(t; undershoot / dispersion_u, dispersion_u)
 *   time: (h(t) - h(t - 0.1)) / 0.1        dispersion: (h - h with dispersion + 0.01) / 0.01
 *
 * @param options.shape - `spm` (default), `glover`, or parameters of your own.
 * @param options.part - `response` (default), `time` or `dispersion`.
 * @param options.stepSeconds - Seconds between values.
 * @param options.lengthSeconds - Default 32.
 * @returns `[round(lengthSeconds / stepSeconds)]`, from 0 to lengthSeconds.
 * @throws {ArgumentError} if a number is not positive, or the step too long for the length.
 *
 * Matches nilearn's spm_hrf and glover_hrf with t_r / oversampling = stepSeconds, and their derivatives, but for the
 * dispersion derivative of `glover`: nilearn takes both of its terms with an undershoot of dispersion 1, we with
 * that of the response itself.
 * Source: Friston et al. (1998), NeuroImage 7:30-40; Glover (1999), NeuroImage 9:416-429.
 *
 * @example
 * const h = hemodynamicResponse({ stepSeconds: 0.125 });
 * h.reduce((sum, value) => sum + value, 0).toFixed(6) // => "1.000000"
 * (h.indexOf(Math.max(...h)) * 0.125).toFixed(0) // => "5"
 */
export function hemodynamicResponse({
  shape = "spm",
  part = "response",
  stepSeconds,
  lengthSeconds = 32,
}: HemodynamicOptions): Float64Array {
  const parameters = typeof shape === "string" ? hemodynamicShapes[shape] : shape;
  const { ratio: share = Number.NaN, ...others } = parameters ?? {};
  const positive = Object.values({ ...others, stepSeconds, lengthSeconds });
  if (!(share >= 0) || positive.some((value) => !(value > 0 && Number.isFinite(value)))) {
    throw new ArgumentError(
      `hemodynamicResponse: expected the shape spm, glover or positive parameters, and positive seconds, got ${JSON.stringify(shape)}, ${stepSeconds}, ${lengthSeconds}`,
    );
  }
  const n = Math.round(lengthSeconds / stepSeconds);
  if (n < 2) {
    throw new ArgumentError(
      `hemodynamicResponse: expected a step well below ${lengthSeconds} s, got ${stepSeconds}`,
    );
  }
  const response = (onset: number, more: number): Float64Array => {
    const { delay, undershoot, undershootDispersion, ratio } = parameters;
    const dispersion = parameters.dispersion + more;
    const h = Float64Array.from({ length: n }, (_, i) => {
      const t = (i * lengthSeconds) / (n - 1) - onset - stepSeconds;
      return (
        gammaDensity(t, delay / dispersion, dispersion) -
        ratio * gammaDensity(t, undershoot / undershootDispersion, undershootDispersion)
      );
    });
    const sum = h.reduce((total, value) => total + value, 0);
    return h.map((value) => value / sum);
  };
  const own = response(0, 0);
  if (part === "response") return own;
  if (part === "time") return difference(own, response(0.1, 0), 0.1);
  if (part === "dispersion") return difference(own, response(0, 0.01), 0.01);
  throw new ArgumentError(
    `hemodynamicResponse: expected part response, time or dispersion, got ${part}`,
  );
}

const difference = (a: Float64Array, b: Float64Array, step: number): Float64Array =>
  a.map((value, i) => (value - b[i]!) / step);

function gammaDensity(t: number, shape: number, scale: number): number {
  if (t <= 0) return 0;
  const x = t / scale;
  return Math.exp((shape - 1) * Math.log(x) - x - logGamma(shape)) / scale;
}

/** Something that drives a response. */
export interface RegressorEvent {
  /** Seconds from the first sample. */
  readonly onset: number;
  /** Seconds; 0 counts as one step of the fine grid. */
  readonly duration: number;
  /** Default 1. */
  readonly amplitude?: number | undefined;
}

/** Where the regressors are sampled, and with which response. */
export interface RegressorOptions {
  readonly nTimes: number;
  /** Hz; 1 / TR. */
  readonly samplingRate: number;
  readonly shape?: HemodynamicShape | undefined;
  readonly part?: HemodynamicPart | undefined;
  /** Steps of the fine grid per sample. Default 50. */
  readonly oversampling?: number | undefined;
}

/**
 * What the blood does in one condition: its events as boxes on a fine grid, convolved with a response, at the
 * samples.
 *
 * @param events - Of one condition. Those more than the length of the response before the first sample have no
 *   effect.
 * @param options - Where the regressor is sampled, and with which response.
 * @returns `[nTimes]`; during a long event it comes to rest at the amplitude.
 * @throws {ArgumentError} if an option is out of range or an event's onset or duration is no number.
 *
 * Cost: O(nTimes) per event.
 * Matches nilearn's compute_regressor, without its orthogonalization of derivatives.
 *
 * @example
 * hemodynamicRegressor([{ onset: 0, duration: 60 }], { nTimes: 25, samplingRate: 0.5 })[24].toFixed(3) // => "1.000"
 */
export function hemodynamicRegressor(
  events: readonly RegressorEvent[],
  { nTimes, samplingRate, shape, part, oversampling = 50 }: RegressorOptions,
): Float64Array {
  checkRate("hemodynamicRegressor", "samplingRate", samplingRate);
  if (!Number.isInteger(oversampling) || oversampling < 1) {
    throw new ArgumentError(
      `hemodynamicRegressor: expected a positive whole oversampling, got ${oversampling}`,
    );
  }
  const stepSeconds = 1 / samplingRate / oversampling;
  const kernel = hemodynamicResponse({ shape, part, stepSeconds });
  // A box convolved with a kernel is a difference of two of the kernel's running sums.
  const sums = new Float64Array(kernel.length + 1);
  for (let i = 0; i < kernel.length; i++) sums[i + 1] = sums[i]! + kernel[i]!;
  const sumTo = (i: number) => (i < 0 ? 0 : sums[Math.min(i + 1, kernel.length)]!);
  /** The first point of the grid at or after a time; rounding must not move those on the grid. */
  const pointAt = (seconds: number) => Math.ceil(seconds / stepSeconds - 1e-6);
  const out = new Float64Array(nTimes);
  for (const { onset, duration, amplitude = 1 } of events) {
    if (!Number.isFinite(onset) || !(duration >= 0 && Number.isFinite(duration))) {
      throw new ArgumentError(
        `hemodynamicRegressor: expected finite onsets and durations from 0, got ${onset} and ${duration}`,
      );
    }
    const from = pointAt(onset);
    const to = Math.max(from + 1, pointAt(onset + duration));
    const first = Math.max(0, Math.ceil(from / oversampling));
    const last = Math.min(nTimes - 1, Math.floor((to + kernel.length) / oversampling));
    for (let i = first; i <= last; i++) {
      out[i]! += amplitude * (sumTo(i * oversampling - from) - sumTo(i * oversampling - to));
    }
  }
  return out;
}

/**
 * Features on a regular grid (a sound's envelope, a word every so often) turned into what the blood makes of them.
 *
 * @param features - `[nTimes, nUnits]`, at `samplingRate`.
 * @param options.samplingRate - Hz; a few values per second or more, or the response is sampled too coarsely.
 * @param options.every - Keep every so many-th sample, to come to the rate of the recording. Default 1.
 * @param options.shape - Default "spm".
 * @param options.part - Default "response".
 * @param options.runOnsets - First sample of each run of the features; a run must begin on a kept sample.
 * @returns `[ceil(nTimes / every), nUnits]`, float64.
 * @throws {ArgumentError} if an option is out of range.
 *
 * Cost: O(nTimes / every 32 samplingRate nUnits).
 *
 * @example
 * const constant = tensor(new Float64Array(400).fill(2), ["time", "unit"], [400, 1]);
 * const { data } = convolveFeatures(constant, { samplingRate: 10, every: 20 });
 * data[19].toFixed(3) // => "2.000"
 */
export function convolveFeatures(
  features: FeatureSeries,
  {
    samplingRate,
    every = 1,
    shape,
    part,
    runOnsets,
  }: {
    samplingRate: number;
    every?: number;
    shape?: HemodynamicShape;
    part?: HemodynamicPart;
    runOnsets?: readonly number[];
  },
): FeatureSeries {
  checkRate("convolveFeatures", "samplingRate", samplingRate);
  const [nTimes, nUnits] = features.shape;
  const runs = runsFrom("convolveFeatures", nTimes, runOnsets);
  if (!Number.isInteger(every) || every < 1 || runs.some(({ from }) => from % every !== 0)) {
    throw new ArgumentError(
      `convolveFeatures: expected a positive whole every, and runs that begin on a kept sample, got ${every} and ${runOnsets ?? [0]}`,
    );
  }
  const kernel = hemodynamicResponse({ shape, part, stepSeconds: 1 / samplingRate });
  const kept = Math.ceil(nTimes / every);
  const out = new Float64Array(kept * nUnits);
  for (const { from, to } of runs) {
    for (let at = from; at < to; at += every) {
      const row = (at / every) * nUnits;
      for (let k = 0; k < kernel.length && at - k >= from; k++) {
        const weight = kernel[k]!;
        const source = (at - k) * nUnits;
        for (let u = 0; u < nUnits; u++) out[row + u]! += weight * features.data[source + u]!;
      }
    }
  }
  return tensor(out, ["time", "unit"], [kept, nUnits]);
}

/**
 * Features beside themselves at several delays, so that a regression finds the response of each target itself.
 *
 * @param features - `[nTimes, nUnits]`.
 * @param options.delays - In samples; negative ones look ahead. Default 1, 2, 3, 4 (2 to 8 s at a TR of 2 s).
 * @param options.circular - Fill with the other end of the run instead of zeros. Default false.
 * @param options.runOnsets - The first sample of each run; nothing is moved across their borders. Default: one run.
 * @returns `[nTimes, delays x nUnits]`, float64, all units of one delay together. Take means away before: zeros
 *   are then the mean.
 * @throws {ArgumentError} if a delay is not a whole number, or none is given.
 *
 * Source: `Delayer` of the Gallant lab's voxelwise tutorials; Huth et al. (2016), Nature 532:453-458.
 *
 * @example
 * const x = tensor(Float64Array.of(1, 2, 3), ["time", "unit"], [3, 1]);
 * delayFeatures(x, { delays: [0, 1] }).data.join(" ") // => "1 0 2 1 3 2"
 */
export function delayFeatures(
  features: FeatureSeries,
  {
    delays = [1, 2, 3, 4],
    circular = false,
    runOnsets,
  }: { delays?: readonly number[]; circular?: boolean; runOnsets?: readonly number[] } = {},
): FeatureSeries {
  const [nTimes, nUnits] = features.shape;
  if (delays.length === 0 || delays.some((delay) => !Number.isInteger(delay))) {
    throw new ArgumentError(
      `delayFeatures: expected whole delays in samples, got ${delays.length === 0 ? "none" : delays.join(", ")}`,
    );
  }
  if (nUnits < 1) throw new ShapeError(`delayFeatures: expected units, got none`);
  const width = delays.length * nUnits;
  const out = new Float64Array(nTimes * width);
  for (const { from, to } of runsFrom("delayFeatures", nTimes, runOnsets)) {
    const n = to - from;
    delays.forEach((delay, d) => {
      for (let i = 0; i < n; i++) {
        const source = circular ? (((i - delay) % n) + n) % n : i - delay;
        if (source < 0 || source >= n) continue;
        const start = (from + source) * nUnits;
        out.set(features.data.subarray(start, start + nUnits), (from + i) * width + d * nUnits);
      }
    });
  }
  return tensor(out, ["time", "unit"], [nTimes, width]);
}
