import { ArgumentError, type LongWork, ShapeError, type Tensor, tensor } from "@penfield/core";
import type { Linalg } from "@penfield/linalg";
import { delayFeatures } from "@penfield/recordings";
import type { Fold } from "../folds.ts";
import { checkFinite } from "../regression/columns.ts";
import { ridgeCv } from "../regression/ridgeCv.ts";

/** A stimulus as it unfolds, `[nTimes, nUnits]`: an envelope, word onsets, activations at word times. */
export type StimulusSeries = Tensor<readonly ["time", "unit"]>;

/** What was measured meanwhile, `[nTimes, nTargets]`, at the same samples. */
export type ResponseSeries = Tensor<readonly ["time", "target"]>;

/** How response functions are fitted. */
export interface TemporalResponseOptions extends LongWork {
  /** Hz. */
  readonly samplingRate: number;
  /** The first lag, seconds; below 0: the response before the stimulus. Default 0. */
  readonly from?: number | undefined;
  /** The last lag, seconds, included. */
  readonly to: number;
  /** Penalties to choose from, each above 0; one is taken as it is. Default: 10^-1, 10^0, ..., 10^8. */
  readonly alphas?: readonly number[] | undefined;
  /** How many contiguous folds, or the folds, choose the penalty. Default 5. */
  readonly folds?: number | readonly Fold[] | undefined;
  /** Whether each target has a penalty of its own. Default true. */
  readonly perTarget?: boolean | undefined;
  /** The first sample of each run or trial; nothing is delayed across their borders. Default: one run. */
  readonly runOnsets?: readonly number[] | undefined;
  /** Default: one made for this call. */
  readonly linalg?: Linalg | undefined;
}

/** How targets answer to a unit of stimulus, lag by lag. */
export interface TemporalResponse {
  /** `[nTargets, nUnits, nLags]`. */
  readonly kernel: Tensor<readonly ["target", "unit", "lag"]>;
  /** [nTargets]. */
  readonly intercept: Float64Array;
  /** Samples, [nLags]. */
  readonly lags: Int32Array;
  /** Seconds, [nLags]. */
  readonly times: Float64Array;
  /** [nTargets]. */
  readonly bestAlphas: Float64Array;
}

/**
 * Temporal response functions: each target as a sum of the stimulus at several lags, by ridge regression.
 *
 *   y(t) = c + sum_lag sum_u k(u, lag) x(t - lag, u),   x is 0 outside its run (about its mean)
 *
 * @param stimulus - `[nTimes, nUnits]`, finite.
 * @param response - `[nTimes, nTargets]`, finite.
 * @param options - Lags, penalties, runs.
 * @throws {ShapeError} if the numbers of samples differ. @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if an option is out of range. @throws {InterruptedError} if the signal fires.
 *
 * Stimulus and response are taken about their means over all samples before lags are made; folds only choose the penalty.
 *
 * Cost: one decomposition of [nUnits nLags] squared per fold and one more, shared by all targets.
 * Source: Crosse et al. (2016), Frontiers in Human Neuroscience 10:604 (mTRF toolbox). With one penalty, matches MNE's
 * ReceptiveField with TimeDelayingRidge(reg_type="ridge").
 *
 * @example
 * const rng = createRng(1);
 * const x = Float64Array.from({ length: 200 }, () => rng.normal());
 * const y = x.map((_, t) => 2 * (x[t - 1] ?? 0));
 * const { kernel } = await temporalResponse(tensor(x, ["time", "unit"], [200, 1]), tensor(y, ["time", "target"], [200, 1]), { samplingRate: 10, to: 0.2, alphas: [0.01] });
 * Array.from(kernel.data, (k) => Math.abs(k).toFixed(2)).join(" ") // => "0.00 2.00 0.00"
 */
export async function temporalResponse(
  stimulus: StimulusSeries,
  response: ResponseSeries,
  options: TemporalResponseOptions,
): Promise<TemporalResponse> {
  const name = "temporalResponse";
  const { samplingRate, from = 0, to, runOnsets } = options;
  const [nTimes, nUnits] = stimulus.shape;
  const nTargets = response.shape[1];
  if (response.shape[0] !== nTimes) {
    throw new ShapeError(
      `${name}: expected as many samples of the response as of the stimulus, got ${response.shape[0]} and ${nTimes}`,
      { hint: "Resample one of them first." },
    );
  }
  if (!(samplingRate > 0)) {
    throw new ArgumentError(`${name}: expected a sampling rate above 0, got ${samplingRate}`);
  }
  const first = Math.round(from * samplingRate);
  const last = Math.round(to * samplingRate);
  if (!(last >= first) || last - first >= nTimes) {
    throw new ArgumentError(
      `${name}: expected lags from..to within the ${nTimes} samples, got ${from}..${to} s`,
    );
  }
  checkFinite(name, "stimulus", stimulus.data, nUnits);
  checkFinite(name, "response", response.data, nTargets);
  const lags = Int32Array.from({ length: last - first + 1 }, (_, i) => first + i);
  const x = aboutMeans(stimulus.data, nUnits);
  const y = aboutMeans(response.data, nTargets);
  const design = delayFeatures(tensor(x.data, ["time", "unit"], [nTimes, nUnits]), {
    delays: [...lags],
    ...(runOnsets ? { runOnsets } : {}),
  });
  const model = await ridgeCv(
    tensor(design.data, ["stimulus", "unit"], design.shape),
    tensor(y.data, ["stimulus", "target"], [nTimes, nTargets]),
    {
      alphas: options.alphas,
      folds: options.folds,
      perTarget: options.perTarget,
      intercept: false,
      precision: "float64",
      linalg: options.linalg,
      onProgress: options.onProgress,
      signal: options.signal,
    },
  );
  const nLags = lags.length;
  const kernel = new Float64Array(nTargets * nUnits * nLags);
  const intercept = y.means.slice();
  // Columns of the design are all units of one lag together.
  for (let lag = 0; lag < nLags; lag++) {
    for (let u = 0; u < nUnits; u++) {
      for (let t = 0; t < nTargets; t++) {
        const weight = model.coefficients.data[(lag * nUnits + u) * nTargets + t]!;
        kernel[(t * nUnits + u) * nLags + lag] = weight;
        intercept[t]! -= weight * x.means[u]!;
      }
    }
  }
  return {
    kernel: tensor(kernel, ["target", "unit", "lag"], [nTargets, nUnits, nLags]),
    intercept,
    lags,
    times: Float64Array.from(lags, (lag) => lag / samplingRate),
    bestAlphas: model.bestAlphas,
  };
}

function aboutMeans(
  data: ArrayLike<number>,
  nColumns: number,
): { readonly data: Float64Array; readonly means: Float64Array } {
  const means = new Float64Array(nColumns);
  const n = data.length / nColumns;
  for (let i = 0; i < data.length; i++) means[i % nColumns]! += data[i]! / n;
  return { data: Float64Array.from(data, (value, i) => value - means[i % nColumns]!), means };
}

/**
 * What response functions expect for another stimulus.
 *
 * @param model - From {@link temporalResponse}.
 * @param stimulus - `[nTimes, nUnits]` at the same rate.
 * @param options.runOnsets - The first sample of each run. Default: one run.
 * @returns `[nTimes, nTargets]`. The first and last samples, where lags reach outside the run, are predicted from fewer.
 * @throws {ShapeError} if the number of units is another.
 *
 * @example
 * const model = { kernel: tensor(Float64Array.of(1, 3), ["target", "unit", "lag"], [1, 1, 2]), intercept: Float64Array.of(10), lags: Int32Array.of(0, 1) };
 * Array.from(predictResponse(model, tensor(Float64Array.of(1, 0, 2), ["time", "unit"], [3, 1])).data) // => [11, 13, 12]
 */
export function predictResponse(
  model: Pick<TemporalResponse, "kernel" | "intercept" | "lags">,
  stimulus: StimulusSeries,
  { runOnsets = [0] }: { runOnsets?: readonly number[] | undefined } = {},
): ResponseSeries {
  const [nTargets, nUnits, nLags] = model.kernel.shape;
  const [nTimes, given] = stimulus.shape;
  if (given !== nUnits) {
    throw new ShapeError(`predictResponse: expected ${nUnits} units, got ${given}`);
  }
  const out = new Float64Array(nTimes * nTargets);
  runOnsets.forEach((start, run) => {
    const end = runOnsets[run + 1] ?? nTimes;
    for (let i = start; i < end; i++) {
      for (let t = 0; t < nTargets; t++) {
        let value = model.intercept[t]!;
        for (let lag = 0; lag < nLags; lag++) {
          const at = i - model.lags[lag]!;
          if (at < start || at >= end) continue;
          for (let u = 0; u < nUnits; u++) {
            value +=
              model.kernel.data[(t * nUnits + u) * nLags + lag]! * stimulus.data[at * nUnits + u]!;
          }
        }
        out[i * nTargets + t] = value;
      }
    }
  });
  return tensor(out, ["time", "target"], [nTimes, nTargets]);
}
