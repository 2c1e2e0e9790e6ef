import { ShapeError } from "@penfield/core";
import { checkFinite } from "./check.ts";

/** A decaying exponential fitted to values over lags. */
export interface ExponentialFit {
  /** The value at lag 0, without the offset. */
  readonly amplitude: number;
  /** tau, in the unit of the lags. */
  readonly tau: number;
  /** What the curve decays to; 0 if it was not fitted. */
  readonly offset: number;
  /** Sum of squared errors. */
  readonly sse: number;
  /** The best tau lies at the end of what was searched: the values do not decay within the lags, or at once. */
  readonly atBound: boolean;
}

/**
 * Fits a decaying exponential by least squares.
 *
 *   y(k) = amplitude exp(-k / tau) + offset
 *
 * For each tau the amplitude and offset follow from a linear system, so that one number is left to search for: on a
 * grid first, which finds the global minimum, then closely.
 *
 * @param lags - `[n]`, ascending, above 0; n >= 3 (4 with offset).
 * @param values - `[n]`, finite.
 * @param options.offset - Fit an offset too. Default false.
 * @returns tau between a tenth of the first lag and 10^4 times the last; `atBound` if it lies at an end of that.
 * @throws {ShapeError} if the lengths differ or are too short.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: about 250 passes over the values.
 * Source: variable projection, Golub & Pereyra (1973), SIAM J Numer Anal 10:413-432.
 *
 * @example
 * const lags = [1, 2, 3, 4, 5];
 * fitExponential(lags, lags.map((k) => 0.8 * Math.exp(-k / 2.5))).tau.toFixed(6) // => "2.500000"
 */
export function fitExponential(
  lags: ArrayLike<number>,
  values: ArrayLike<number>,
  { offset = false }: { offset?: boolean } = {},
): ExponentialFit {
  const n = lags.length;
  const least = offset ? 4 : 3;
  if (values.length !== n || n < least) {
    throw new ShapeError(
      `fitExponential: expected at least ${least} lags and as many values, got ${n} and ${values.length}`,
    );
  }
  checkFinite("fitExponential", "lags", lags);
  checkFinite("fitExponential", "values", values);
  const at = (logTau: number) => project(lags, values, Math.exp(logTau), offset);
  const low = Math.log(lags[0]! / 10);
  const high = Math.log(lags[n - 1]! * 1e4);
  const nGrid = 150;
  const grid = (i: number): number => low + ((high - low) * i) / nGrid;
  let best = 0;
  let bestSse = Number.POSITIVE_INFINITY;
  for (let i = 0; i <= nGrid; i++) {
    const { sse } = at(grid(i));
    if (sse < bestSse) [best, bestSse] = [i, sse];
  }
  const logTau = goldenSection(
    (x) => at(x).sse,
    grid(Math.max(0, best - 1)),
    grid(Math.min(nGrid, best + 1)),
  );
  const found = at(logTau);
  return { ...found, atBound: logTau - low < 1e-6 || high - logTau < 1e-6 };
}

/** Amplitude, offset and error for a given tau. */
function project(
  lags: ArrayLike<number>,
  values: ArrayLike<number>,
  tau: number,
  withOffset: boolean,
): Omit<ExponentialFit, "atBound"> {
  const n = lags.length;
  // Sums are taken about the means, where an offset is fitted, for a slow decay is nearly a constant.
  let meanE = 0;
  let meanY = 0;
  if (withOffset) {
    for (let i = 0; i < n; i++) {
      meanE += Math.exp(-lags[i]! / tau) / n;
      meanY += values[i]! / n;
    }
  }
  let ee = 0;
  let ey = 0;
  for (let i = 0; i < n; i++) {
    const e = Math.exp(-lags[i]! / tau) - meanE;
    ee += e * e;
    ey += e * (values[i]! - meanY);
  }
  const amplitude = ee === 0 ? 0 : ey / ee;
  const offset = withOffset ? meanY - amplitude * meanE : 0;
  let sse = 0;
  for (let i = 0; i < n; i++) {
    const e = Math.exp(-lags[i]! / tau) - meanE;
    sse += (values[i]! - meanY - amplitude * e) ** 2;
  }
  return { amplitude, tau, offset, sse };
}

/** Where a function with one valley between two ends is least, to about 1e-9. */
function goldenSection(f: (x: number) => number, from: number, to: number): number {
  const ratio = (Math.sqrt(5) - 1) / 2;
  let [a, b] = [from, to];
  let x1 = b - ratio * (b - a);
  let x2 = a + ratio * (b - a);
  let f1 = f(x1);
  let f2 = f(x2);
  for (let i = 0; i < 60 && b - a > 1e-10; i++) {
    if (f1 <= f2) {
      [b, x2, f2] = [x2, x1, f1];
      x1 = b - ratio * (b - a);
      f1 = f(x1);
    } else {
      [a, x1, f1] = [x1, x2, f2];
      x2 = a + ratio * (b - a);
      f2 = f(x2);
    }
  }
  return (a + b) / 2;
}
