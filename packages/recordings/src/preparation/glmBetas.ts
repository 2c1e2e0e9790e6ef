import {
  ArgumentError,
  DataError,
  type LongWork,
  ShapeError,
  type Tensor,
  throwIfAborted,
} from "@penfield/core";
import type { Recording, TimeSeries } from "../types.ts";
import { driftCosines } from "./detrend.ts";
import {
  type HemodynamicPart,
  type HemodynamicShape,
  hemodynamicRegressor,
} from "./hemodynamicResponse.ts";
import {
  crossProducts,
  dot,
  type MatrixProducts,
  orthonormalBasis,
  residuals,
  withoutFit,
} from "./leastSquares.ts";
import { checkedRuns, type Run } from "./series.ts";
import {
  groupBy,
  recordingOf,
  type StimulusEvent,
  type StimulusOf,
  stimulusEvents,
  typeOf,
} from "./stackEvents.ts";

/** How responses are estimated. */
export interface GlmOptions extends LongWork {
  /** Default: the event's type. Events without a stimulus are left out of the design. */
  readonly stimulusOf?: StimulusOf | undefined;
  /**
   * `event` (default): one regressor per event, all in one regression. `stimulus`: one per stimulus; no repeats.
   * `separate`: one regression per event, with all other events as one regressor (LSS), for events so close that one
   * regression cannot tell them apart.
   */
  readonly estimate?: "event" | "stimulus" | "separate" | undefined;
  /** Default "spm". */
  readonly shape?: HemodynamicShape | undefined;
  /**
   * Also derivatives of each response, by time or dispersion, as further regressors, so that a response that comes
   * early or lasts long is not taken for a weak one. Not with `separate`. Default: none.
   */
  readonly derivatives?: readonly ("time" | "dispersion")[] | undefined;
  /**
   * Period of the slowest change that is kept, seconds; drifts are regressors of each run. Infinity for none. Default
   * 128.
   */
  readonly cutoffSeconds?: number | undefined;
  /** `[nTimes, nConfounds]`: motion and the like, further regressors. */
  readonly confounds?: Tensor<readonly ["time", "confound"]> | undefined;
  /** Samples to leave out, from `badSamples`: [nTimes], not 0 where bad. The same as one regressor for each. */
  readonly bad?: ArrayLike<number> | undefined;
  /** Steps of the fine grid per sample. Default 50. */
  readonly oversampling?: number | undefined;
  /** For whole brains: a `Linalg` of @penfield/linalg. Default: loops. */
  readonly linalg?: MatrixProducts | undefined;
}

/**
 * How strongly each target responded to each stimulus: weights of hemodynamic responses in a regression of the time
 * series.
 *
 *   Y = X B + N C + E,  X: responses to events; N: a constant and drifts per run, confounds, derivatives
 *
 * by ordinary least squares. A response does not reach across the border of a run.
 *
 * @param series - fMRI, `[nTimes, nTargets]`, finite, with events.
 * @param options - How responses are estimated.
 * @returns `[nRepeats, nStimuli, nTargets]`, float64: stimuli by first appearance, repeats in the order of time; NaN
 *   where a stimulus was shown less often than another. Values are in the series' unit, for a response of sum 1 to
 *   an event of its duration.
 * @throws {DataError} if no event shows a stimulus, an event lies outside the recording, a value is not finite, there
 *   are not more samples than regressors, or events cannot be told apart (which).
 * @throws {ShapeError} if confounds or bad samples are not as many as the samples.
 * @throws {ArgumentError} if an option is out of range.
 * @throws {InterruptedError} if the signal fires.
 *
 * Cost: O(nRegressors nTimes (nRegressors + nTargets)).
 * Source: LSS: Mumford et al. (2012), NeuroImage 59:2636-2643. Regressors as nilearn's, drifts as SPM's.
 *
 * @example
 * const events = [10, 50].map((onset) => ({ onset, duration: 1, type: "face" }));
 * const response = hemodynamicRegressor(events, { nTimes: 50, samplingRate: 0.5 });
 * const series = timeSeriesOf({ values: Array.from(response, (v) => [3 * v + 100]), samplingRate: 0.5, events });
 * const { data } = await glmBetas(series);
 * data.shape.join() // => "2,1,1"
 * data.data[0].toFixed(6) // => "3.000000"
 */
export async function glmBetas(series: TimeSeries, options: GlmOptions = {}): Promise<Recording> {
  const { estimate = "event", stimulusOf = typeOf, derivatives = [], linalg, signal } = options;
  if (estimate !== "event" && estimate !== "stimulus" && estimate !== "separate") {
    throw new ArgumentError(
      `glmBetas: expected estimate event, stimulus or separate, got ${estimate}`,
    );
  }
  if (estimate === "separate" && derivatives.length > 0) {
    throw new ArgumentError(
      `glmBetas: expected no derivatives with estimate separate, got ${derivatives.join(", ")}`,
    );
  }
  const runs = checkedRuns("glmBetas", series);
  const nTargets = series.data.shape[1];
  const shown = stimulusEvents("glmBetas", series, stimulusOf);
  const groups =
    estimate === "stimulus"
      ? groupBy(shown, ({ stimulus }) => stimulus)
      : new Map(shown.map((one, e) => [String(e), [one]]));
  const keep = keptSamples(series, options.bad);
  const take = (column: Float64Array): Float64Array => Float64Array.from(keep, (i) => column[i]!);
  const responses = [...groups.values()].map((events) =>
    take(designColumn(series, runs, events, options)),
  );
  // What a regression does with further regressors, it does if they are taken out of all others first.
  const further = derivatives.flatMap((part) =>
    [...groups.values()].map((events) => designColumn(series, runs, events, options, part)),
  );
  const nuisance = orthonormalBasis(
    [...nuisanceColumns(series, runs, options), ...further].map(take),
  ).columns;
  if (responses.length + nuisance.length >= keep.length) {
    throw new DataError(
      `glmBetas: ${series.name}: expected more samples than regressors, got ${keep.length} and ${responses.length + nuisance.length}`,
      { hint: "estimate separate or stimulus needs fewer." },
    );
  }
  throwIfAborted(signal, "glmBetas");
  const y = new Float64Array(keep.length * nTargets);
  keep.forEach((i, row) => {
    y.set(series.data.data.subarray(i * nTargets, (i + 1) * nTargets), row * nTargets);
  });
  const levels = await crossProducts(nuisance, y, nTargets, linalg);
  const cleaned = await withoutFit(nuisance, levels, y, nTargets, linalg);
  const design = residuals(responses, nuisance);
  throwIfAborted(signal, "glmBetas");
  const names = [...groups.values()].map((events) => events[0]!);
  design.forEach((column, e) => {
    if (isLost(column, responses[e]!)) throw dependent(series, names[e]!);
  });
  const betas =
    estimate === "separate"
      ? await separately(design, cleaned, nTargets, series, names, linalg)
      : await together(design, cleaned, nTargets, series, names, linalg);
  return recordingOf(
    series,
    names.map(({ stimulus }) => stimulus),
    betas,
  );
}

const isLost = (left: Float64Array, before: Float64Array): boolean =>
  !(dot(left, left) > 1e-16 * dot(before, before));

function dependent(series: TimeSeries, { event, stimulus }: StimulusEvent): DataError {
  return new DataError(
    `glmBetas: ${series.name}: expected events that can be told apart, got ${JSON.stringify(stimulus)} at ${event.onset} s whose response is a combination of others and of drifts`,
    {
      hint: "Its response may lie outside the recording or in bad samples, or two events coincide: leave it out with stimulusOf, or estimate by stimulus.",
    },
  );
}

function keptSamples(series: TimeSeries, bad: ArrayLike<number> | undefined): Int32Array {
  const nTimes = series.data.shape[0];
  if (bad !== undefined && bad.length !== nTimes) {
    throw new ShapeError(
      `glmBetas: ${series.name}: expected a mark for each of ${nTimes} samples in bad, got ${bad.length}`,
    );
  }
  const all = Int32Array.from({ length: nTimes }, (_, i) => i);
  return bad === undefined ? all : all.filter((i) => !bad[i]);
}

/** The summed responses to events, each within its run. */
function designColumn(
  series: TimeSeries,
  runs: readonly Run[],
  events: readonly StimulusEvent[],
  { shape, oversampling }: GlmOptions,
  part: HemodynamicPart = "response",
): Float64Array {
  const { samplingRate } = series;
  const out = new Float64Array(series.data.shape[0]);
  const byRun = groupBy(events, ({ event }) => {
    const sample = event.onset * samplingRate;
    // What began a little before the first sample belongs to the first run.
    const run = runs.findLast(({ from }, r) => r === 0 || sample >= from - 1e-6)!;
    if (sample >= runs.at(-1)!.to || (run === runs[0] && sample < -32 * samplingRate)) {
      throw new DataError(
        `glmBetas: ${series.name}: expected events within the ${(runs.at(-1)!.to / samplingRate).toFixed(1)} s of the recording, got ${JSON.stringify(event.type)} at ${event.onset} s`,
      );
    }
    return run;
  });
  for (const [{ from, to }, own] of byRun) {
    const column = hemodynamicRegressor(
      own.map(({ event }) => ({
        onset: event.onset - from / samplingRate,
        duration: event.duration,
      })),
      { nTimes: to - from, samplingRate, shape, part, oversampling },
    );
    for (let i = from; i < to; i++) out[i] = column[i - from]!;
  }
  return out;
}

/** A constant and drifts per run, and confounds. */
function nuisanceColumns(
  series: TimeSeries,
  runs: readonly Run[],
  { cutoffSeconds = 128, confounds }: GlmOptions,
): Float64Array[] {
  const nTimes = series.data.shape[0];
  if (confounds !== undefined && confounds.shape[0] !== nTimes) {
    throw new ShapeError(
      `glmBetas: ${series.name}: expected confounds at ${nTimes} samples, got ${confounds.shape[0]}`,
    );
  }
  const bad = confounds?.data.findIndex((value) => !Number.isFinite(value)) ?? -1;
  if (bad >= 0) {
    throw new DataError(
      `glmBetas: ${series.name}: expected finite confounds, got ${confounds!.data[bad]}`,
    );
  }
  const ofRuns = runs.flatMap(({ from, to }) => {
    const within = [
      new Float64Array(to - from).fill(1),
      ...(cutoffSeconds === Number.POSITIVE_INFINITY
        ? []
        : driftCosines(to - from, series.samplingRate, cutoffSeconds)),
    ];
    return within.map((values) => {
      const column = new Float64Array(nTimes);
      column.set(values, from);
      return column;
    });
  });
  const nConfounds = confounds?.shape[1] ?? 0;
  const given = Array.from({ length: nConfounds }, (_, c) =>
    Float64Array.from({ length: nTimes }, (_, i) => confounds!.data[i * nConfounds + c]!),
  );
  return [...ofRuns, ...given];
}

/** One regression: design = Q R, B = R^-1 Q^T Y. */
async function together(
  design: readonly Float64Array[],
  y: Float64Array,
  nTargets: number,
  series: TimeSeries,
  names: readonly StimulusEvent[],
  linalg: MatrixProducts | undefined,
): Promise<Float64Array> {
  const { columns, kept, r } = orthonormalBasis(design);
  const lost = design.findIndex((_, j) => kept[j] !== j);
  if (lost >= 0) throw dependent(series, names[lost]!);
  const out = await crossProducts(columns, y, nTargets, linalg);
  // r holds R transposed: column j of the design is the sum of r[j][k] Q_k.
  for (let k = columns.length - 1; k >= 0; k--) {
    for (let j = k + 1; j < columns.length; j++) {
      const weight = r[j]![k]!;
      for (let t = 0; t < nTargets; t++) out[k * nTargets + t]! -= weight * out[j * nTargets + t]!;
    }
    for (let t = 0; t < nTargets; t++) out[k * nTargets + t]! /= r[k]![k]!;
  }
  return out;
}

/** One regression per event, with the sum of all others beside it: 2 x 2 systems. */
async function separately(
  design: readonly Float64Array[],
  y: Float64Array,
  nTargets: number,
  series: TimeSeries,
  names: readonly StimulusEvent[],
  linalg: MatrixProducts | undefined,
): Promise<Float64Array> {
  const sum = new Float64Array(design[0]!.length);
  for (const column of design) {
    for (let i = 0; i < sum.length; i++) sum[i]! += column[i]!;
  }
  const products = await crossProducts([...design, sum], y, nTargets, linalg);
  const whole = products.subarray(design.length * nTargets);
  const out = new Float64Array(design.length * nTargets);
  design.forEach((own, e) => {
    const others = sum.map((value, i) => value - own[i]!);
    const aa = dot(own, own);
    const ab = dot(own, others);
    const bb = dot(others, others);
    const determinant = aa * bb - ab * ab;
    const alone = design.length === 1;
    if (!alone && !(determinant > 1e-16 * aa * bb)) throw dependent(series, names[e]!);
    for (let t = 0; t < nTargets; t++) {
      const ya = products[e * nTargets + t]!;
      const yb = whole[t]! - ya;
      out[e * nTargets + t] = alone ? ya / aa : (bb * ya - ab * yb) / determinant;
    }
  });
  return out;
}
