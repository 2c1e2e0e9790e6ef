import { type Activations, ShapeError, tensor } from "@penfield/core";
import type { TimeSeries } from "../types.ts";
import {
  convolveFeatures,
  delayFeatures,
  type FeatureSeries,
  type HemodynamicShape,
} from "./hemodynamicResponse.ts";
import { runsFrom } from "./series.ts";
import { type WordSampling, wordsToSamples } from "./words.ts";

/** How a model's activations become regressors of a time series. */
export interface ToTimeSeriesOptions
  extends Pick<WordSampling, "how" | "firstSampleSeconds" | "window" | "cutoff"> {
  /** Delays in samples, each a copy of all units: see `delayFeatures`. Not with `hemodynamic`. */
  readonly delays?: readonly number[] | undefined;
  /** Convolve with this response instead, on a grid of 10 steps per sample. */
  readonly hemodynamic?: HemodynamicShape | undefined;
  /** Take the mean of each run away, before delays. Default true. */
  readonly centre?: boolean | undefined;
}

/** Steps of the grid for the convolution, per sample. */
const GRID = 10;

/**
 * A model's activations for words, at the samples of a recording: what an encoding model is fitted with.
 *
 * @param activations - `[nWords, nUnits]`; the first axis is called `stimulus`, as everywhere.
 * @param times - [nWords], seconds from the recording's first sample.
 * @param series - The recording. A word belongs to the run in which it came.
 * @param options - How words become samples and what follows.
 * @returns `[nTimes of the recording, nUnits]`, or with delays `[nTimes, nDelays x nUnits]`; float64.
 * @throws {ShapeError} if there is not one time per word.
 * @throws {ArgumentError} if an option is out of range.
 *
 * @example
 * const series = timeSeriesOf({ values: [[0], [0], [0]], samplingRate: 0.5 });
 * const features = activationsToTimeSeries(activations([[3], [6]]), [0.5, 2.5], series, { how: "mean", delays: [0, 1] });
 * features.data.join(" ") // => "0 0 3 0 -3 3"
 */
export function activationsToTimeSeries(
  activations: Activations,
  times: ArrayLike<number>,
  series: TimeSeries,
  options: ToTimeSeriesOptions = {},
): FeatureSeries {
  const { delays, hemodynamic, centre = true, ...sampling } = options;
  const [nWords, nUnits] = activations.shape;
  if (times.length !== nWords) {
    throw new ShapeError(
      `activationsToTimeSeries: expected ${nWords} times, one per word, got ${times.length}`,
    );
  }
  if (delays !== undefined && hemodynamic !== undefined) {
    throw new ShapeError(
      "activationsToTimeSeries: expected delays or a hemodynamic response, got both",
    );
  }
  const { samplingRate, runOnsets } = series;
  const nTimes = series.data.shape[0];
  const out = new Float64Array(nTimes * nUnits);
  for (const { from, to } of runsFrom("activationsToTimeSeries", nTimes, runOnsets)) {
    const begin = from / samplingRate;
    const words = Array.from(times).flatMap((time, w) =>
      time >= begin - 1e-9 && time < to / samplingRate ? [w] : [],
    );
    const rows = new Float64Array(words.length * nUnits);
    words.forEach((word, w) => {
      rows.set(activations.data.subarray(word * nUnits, (word + 1) * nUnits), w * nUnits);
    });
    const own = tensor(rows, ["stimulus", "unit"], [words.length, nUnits]);
    const onsets = words.map((word) => times[word]! - begin);
    const steps = hemodynamic === undefined ? 1 : GRID;
    const grid = wordsToSamples(own, onsets, {
      ...(hemodynamic === undefined ? {} : { how: "sum" as const }),
      ...sampling,
      nTimes: (to - from) * steps,
      samplingRate: samplingRate * steps,
    });
    const samples =
      hemodynamic === undefined
        ? grid
        : convolveFeatures(grid, {
            samplingRate: samplingRate * steps,
            every: steps,
            shape: hemodynamic,
          });
    out.set(centre ? centred(samples) : samples.data, from * nUnits);
  }
  const features = tensor(out, ["time", "unit"], [nTimes, nUnits]);
  return delays === undefined
    ? features
    : delayFeatures(features, { delays, ...(runOnsets === undefined ? {} : { runOnsets }) });
}

function centred({ data, shape: [n, nUnits] }: FeatureSeries): Float64Array {
  const means = new Float64Array(nUnits);
  for (let i = 0; i < data.length; i++) means[i % nUnits]! += data[i]! / n;
  return Float64Array.from(data, (value, i) => value - means[i % nUnits]!);
}
