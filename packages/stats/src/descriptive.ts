import { ArgumentError } from "@penfield/core";
import { sum } from "simple-statistics";
import { checkValues } from "./check.ts";

/**
 * The arithmetic mean, by compensated summation (simple-statistics' `sum`), so that long lists of
 * float64 values lose nothing to rounding.
 *
 * @param values - At least one finite value.
 * @throws {ShapeError} if there is none.
 * @throws {ArgumentError} if a value is not finite.
 *
 * @example
 * mean([1, 2, 4.5]) // => 2.5
 */
export function mean(values: ArrayLike<number>): number {
  checkValues("mean", values, 1);
  return sum(values as number[]) / values.length;
}

/**
 * The variance with n - 1 in the denominator (numpy's `var(ddof=1)`), in two passes with
 * compensated sums, so that a small variance on a large mean keeps its digits.
 *
 *   sum((x - mean)^2) / (n - 1)
 *
 * @param values - At least two finite values.
 * @throws {ShapeError} if there are fewer.
 * @throws {ArgumentError} if a value is not finite.
 *
 * @example
 * variance([1, 2, 3, 4]).toFixed(6) // => "1.666667"
 */
export function variance(values: ArrayLike<number>): number {
  checkValues("variance", values, 2);
  const centre = mean(values);
  const deviations = Float64Array.from(values, (v) => v - centre);
  // The rounding error of the mean leaves a small sum of deviations, which is taken off again.
  const rest = sum(deviations as unknown as number[]);
  const squares = sum(deviations.map((d) => d * d) as unknown as number[]);
  return Math.max(0, squares - (rest * rest) / values.length) / (values.length - 1);
}

/**
 * The square root of {@link variance}.
 *
 * @example
 * standardDeviation([2, 4, 4, 4, 5, 5, 7, 9]).toFixed(4) // => "2.1381"
 */
export function standardDeviation(values: ArrayLike<number>): number {
  checkValues("standardDeviation", values, 2);
  return Math.sqrt(variance(values));
}

/**
 * The value below which a share `q` of the values lies, interpolated linearly between order
 * statistics. Equal to the last bit to numpy's default (`method="linear"`), which interpolates from the
 * nearer of the two; simple-statistics' `quantile` does so from the lower one and can differ in the last bit, which
 * decides on units that lie exactly on a percentile.
 *
 * @param values - At least one finite value, in any order (not changed).
 * @param q - 0 (smallest) to 1 (largest).
 * @throws {ShapeError} if there is no value.
 * @throws {ArgumentError} if a value is not finite or q is outside 0..1.
 *
 * Cost: O(n log n) time, one float64 copy.
 *
 * @example
 * quantile([1, 2, 3, 4], 0.25) // => 1.75
 */
export function quantile(values: ArrayLike<number>, q: number): number {
  checkValues("quantile", values, 1);
  if (!(q >= 0 && q <= 1)) throw new ArgumentError(`quantile: expected q within 0..1, got ${q}`);
  return quantileOfSorted(Float64Array.from(values).sort(), q);
}

/** As {@link quantile}, for values that are already ascending. */
export function quantileOfSorted(sorted: Float64Array, q: number): number {
  const position = (sorted.length - 1) * q;
  const below = Math.floor(position);
  const low = sorted[below]!;
  const high = sorted[Math.min(below + 1, sorted.length - 1)]!;
  const t = position - below;
  // numpy interpolates from the nearer end, which keeps the result within both and monotone.
  return t < 0.5 ? low + (high - low) * t : high - (high - low) * (1 - t);
}
