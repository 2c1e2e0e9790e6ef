import { DataError, type LongWork, ShapeError, type Tensor, throwIfAborted } from "@penfield/core";
import type { TimeSeries } from "../types.ts";
import {
  crossProducts,
  type MatrixProducts,
  orthonormalBasis,
  withoutFit,
} from "./leastSquares.ts";
import { checkedRuns, type Run, withValues } from "./series.ts";

/** Which confounds, and how they are made into regressors. */
export interface ConfoundOptions extends LongWork {
  /** A constant per run. Default true. */
  readonly intercept?: boolean | undefined;
  /** Also each confound's change from the sample before (0 at the first sample of a run). Default false. */
  readonly derivatives?: boolean | undefined;
  /** Also the squares of confounds, and of their derivatives if these are used. Default false. */
  readonly squares?: boolean | undefined;
  /** For whole brains: a `Linalg` of @penfield/linalg. Default: loops. */
  readonly linalg?: MatrixProducts | undefined;
}

/** A series without what its confounds explain. */
export interface Cleaned {
  readonly series: TimeSeries;
  readonly nRegressors: number;
  /** Regressors that were combinations of others, or constant; they change nothing. */
  readonly nDependent: number;
}

/**
 * What confounds (motion, heart beat, a global signal) do not explain of each target: the residual of a regression
 * fitted run by run, so that each run has its own weights.
 *
 *   y - C pinv(C) y,  C = [1, confounds, derivatives, squares]
 *
 * @param series - `[nTimes, nTargets]`, finite.
 * @param confounds - `[nTimes, nConfounds]`, finite.
 * @param options - How they are made into regressors.
 * @returns float64; with the intercept the mean of each run is 0. Dependent regressors are left out and counted
 *   (summed over runs).
 * @throws {ShapeError} if the numbers of samples differ.
 * @throws {DataError} if a value is not finite, or a run has no more samples than independent regressors.
 * @throws {InterruptedError} if the signal fires.
 *
 * Cost: O(nRegressors nTimes (nRegressors + nTargets)).
 * Source: derivatives and squares as the 24 parameters of Friston et al. (1996), Magn Reson Med 35:346-355, and of
 * Satterthwaite et al. (2013), NeuroImage 64:240-256 (six motion parameters, their derivatives, the squares of both).
 *
 * @example
 * const motion = tensor(Float64Array.of(0, 1, 2, 3), ["time", "confound"], [4, 1]);
 * const { series } = await regressConfounds(timeSeriesOf({ values: [[1], [3], [5], [7]] }), motion);
 * series.data.data.every((v) => Math.abs(v) < 1e-12) // => true
 */
export async function regressConfounds(
  series: TimeSeries,
  confounds: Tensor<readonly ["time", "confound"]>,
  options: ConfoundOptions = {},
): Promise<Cleaned> {
  const runs = checkedRuns("regressConfounds", series);
  const [nTimes, nTargets] = series.data.shape;
  if (confounds.shape[0] !== nTimes) {
    throw new ShapeError(
      `regressConfounds: ${series.name}: expected confounds at ${nTimes} samples, got ${confounds.shape[0]}`,
    );
  }
  const bad = confounds.data.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) {
    throw new DataError(
      `regressConfounds: ${series.name}: expected finite confounds, got ${confounds.data[bad]} at sample ${Math.floor(bad / confounds.shape[1])}, confound ${bad % confounds.shape[1]}`,
      { hint: "Derivatives in tables often start with n/a: set it to 0." },
    );
  }
  const out = new Float64Array(nTimes * nTargets);
  let nRegressors = 0;
  let nDependent = 0;
  for (const [r, run] of runs.entries()) {
    throwIfAborted(options.signal, "regressConfounds");
    const regressors = regressorsOf(confounds, run, options);
    const { columns } = orthonormalBasis(regressors);
    if (columns.length >= run.to - run.from) {
      throw new DataError(
        `regressConfounds: ${series.name}: expected fewer independent regressors than the ${run.to - run.from} samples of run ${r}, got ${columns.length}`,
        { hint: "Nothing would be left of the recording: use fewer confounds." },
      );
    }
    const y = series.data.data.subarray(run.from * nTargets, run.to * nTargets);
    const weights = await crossProducts(columns, y, nTargets, options.linalg);
    const rest = await withoutFit(columns, weights, y, nTargets, options.linalg);
    out.set(rest, run.from * nTargets);
    nRegressors = regressors.length;
    nDependent += regressors.length - columns.length;
    options.onProgress?.({
      stage: "regressing confounds",
      done: r + 1,
      total: runs.length,
      unit: "runs",
    });
  }
  return { series: withValues(series, out), nRegressors, nDependent };
}

function regressorsOf(
  confounds: Tensor<readonly ["time", "confound"]>,
  { from, to }: Run,
  { intercept = true, derivatives = false, squares = false }: ConfoundOptions,
): Float64Array[] {
  const nConfounds = confounds.shape[1];
  const n = to - from;
  const own = Array.from({ length: nConfounds }, (_, c) =>
    Float64Array.from({ length: n }, (_, i) => confounds.data[(from + i) * nConfounds + c]!),
  );
  const changes = derivatives
    ? own.map((values) => values.map((value, i) => (i === 0 ? 0 : value - values[i - 1]!)))
    : [];
  const linear = [...own, ...changes];
  return [
    ...(intercept ? [new Float64Array(n).fill(1)] : []),
    ...linear,
    ...(squares ? linear.map((values) => values.map((value) => value * value)) : []),
  ];
}
