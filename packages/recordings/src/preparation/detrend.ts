import { ArgumentError } from "@penfield/core";
import type { TimeSeries } from "../types.ts";
import { dot, orthonormalBasis } from "./leastSquares.ts";
import { mapColumns } from "./series.ts";

/**
 * Each target's values, run by run, with mean 0 and standard deviation 1.
 *
 *   z = (y - mean) / sd,  sd with n in the denominator
 *
 * @param series - `[nTimes, nTargets]`, finite. Runs are those of its `runOnsets`.
 * @returns float64; a target that does not vary in a run is 0 there.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: two passes.
 * Source: `zscore_runs` of the Gallant lab's voxelwise tutorials (ddof 0, float64, NaN to 0).
 *
 * @example
 * zScoreRuns(timeSeriesOf({ values: [[1], [3], [10], [30]], runOnsets: [0, 2] })).data.data.join(" ") // => "-1 1 -1 1"
 */
export function zScoreRuns(series: TimeSeries): TimeSeries {
  return mapColumns("zScoreRuns", series, (values) => {
    const n = values.length;
    const mean = values.reduce((sum, value) => sum + value, 0) / n;
    const centred = values.map((value) => value - mean);
    const deviation = Math.sqrt(centred.reduce((sum, value) => sum + value ** 2, 0) / n);
    // What rounding leaves of equal values is not variance.
    if (deviation <= 1e-14 * Math.abs(mean)) return centred.fill(0);
    return deviation === 0 ? centred : centred.map((value) => value / deviation);
  });
}

/**
 * Each target's slow drift, a polynomial of time fitted run by run, taken away together with the mean.
 *
 * @param series - `[nTimes, nTargets]`, finite.
 * @param options.order - 0: the mean; 1 (default): a line; up to 5.
 * @returns float64.
 * @throws {ArgumentError} if the order is out of range or a run has not more samples than the order.
 * @throws {DataError} if a value is not finite.
 *
 * Matches scipy.signal.detrend for orders 0 and 1.
 *
 * @example
 * detrend(timeSeriesOf({ values: [[1], [3], [5]] })).data.data.every((v) => Math.abs(v) < 1e-14) // => true
 */
export function detrend(series: TimeSeries, { order = 1 }: { order?: number } = {}): TimeSeries {
  if (!Number.isInteger(order) || order < 0 || order > 5) {
    throw new ArgumentError(`detrend: expected an order within 0..5, got ${order}`);
  }
  const bases = new Map<number, readonly Float64Array[]>();
  return mapColumns("detrend", series, (values) => {
    const n = values.length;
    if (n <= order) {
      throw new ArgumentError(
        `detrend: ${series.name}: expected runs of more than ${order} samples, got one of ${n}`,
      );
    }
    const basis = bases.get(n) ?? polynomials(n, order);
    bases.set(n, basis);
    return without(values, basis);
  });
}

/** Orthonormal polynomials of time, of orders 0..order, each [n]. */
function polynomials(n: number, order: number): readonly Float64Array[] {
  const powers = Array.from({ length: order + 1 }, (_, power) =>
    Float64Array.from({ length: n }, (_, i) => ((2 * i - n + 1) / n) ** power),
  );
  return orthonormalBasis(powers).columns;
}

/**
 * Slow drifts taken away, run by run: discrete cosines of periods longer than the cutoff, as SPM does. The mean
 * stays.
 *
 *   K = fix(2 n TR / cutoff + 1) - 1,  c_k(i) = sqrt(2 / n) cos(pi (2 i + 1) k / (2 n)),  k = 1..K
 *
 * @param series - `[nTimes, nTargets]`, finite.
 * @param options.cutoffSeconds - Default 128.
 * @returns float64; a run shorter than half the cutoff is left as it is.
 * @throws {ArgumentError} if the cutoff is not positive.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: O(K nTimes nTargets).
 * Source: spm_filter, spm_dctmtx (SPM12).
 *
 * @example
 * highPassCosines(timeSeriesOf({ values: [[1], [2]], samplingRate: 0.5 })).data.data.join(" ") // => "1 2"
 */
export function highPassCosines(
  series: TimeSeries,
  { cutoffSeconds = 128 }: { cutoffSeconds?: number } = {},
): TimeSeries {
  const bases = new Map<number, readonly Float64Array[]>();
  return mapColumns("highPassCosines", series, (values) => {
    const n = values.length;
    const basis = bases.get(n) ?? driftCosines(n, series.samplingRate, cutoffSeconds);
    bases.set(n, basis);
    return without(values, basis);
  });
}

/**
 * The drifts that {@link highPassCosines} takes away, as orthonormal columns, without the constant.
 *
 * @throws {ArgumentError} if the cutoff is not positive.
 */
export function driftCosines(
  n: number,
  samplingRate: number,
  cutoffSeconds: number,
): readonly Float64Array[] {
  if (!(cutoffSeconds > 0)) {
    throw new ArgumentError(
      `highPassCosines: expected a positive cutoffSeconds, got ${cutoffSeconds}`,
    );
  }
  const count = Math.min(n - 1, Math.floor((2 * n) / samplingRate / cutoffSeconds + 1 + 1e-9) - 1);
  return Array.from({ length: count }, (_, k) =>
    Float64Array.from(
      { length: n },
      (_, i) => Math.sqrt(2 / n) * Math.cos((Math.PI * (2 * i + 1) * (k + 1)) / (2 * n)),
    ),
  );
}

function without(values: Float64Array, basis: readonly Float64Array[]): Float64Array {
  for (const column of basis) {
    const weight = dot(column, values);
    for (let i = 0; i < values.length; i++) values[i]! -= weight * column[i]!;
  }
  return values;
}
