import { type Activations, DataError, type FloatArray, ShapeError } from "@penfield/core";
import { studentTP } from "./special.ts";

/** Mean and variance (n - 1) of each unit. */
export interface UnitMoments {
  readonly n: number;
  /** [nUnits] */
  readonly mean: Float64Array;
  /** [nUnits]; exactly 0 for a constant unit. */
  readonly variance: Float64Array;
}

/** Welch's t per unit; each array is [nUnits]. */
export interface WelchResult {
  readonly t: Float64Array;
  /** Welch–Satterthwaite degrees of freedom. */
  readonly df: Float64Array;
  /** Two-sided. */
  readonly p: Float64Array;
}

/**
 * Mean and variance of each unit over stimuli, in float64, in two passes over the rows.
 *
 * @param x - [nStimuli, nUnits], nStimuli >= 2, finite; float32 or float64, not changed.
 * @param options.magnitude - Takes |x| instead of x, without a copy. Default false.
 * @returns A unit that never varies has a variance of exactly 0, whatever its value.
 * @throws {ShapeError} if there are fewer than 2 stimuli.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: two passes, O(nStimuli nUnits) time, O(nUnits) memory.
 *
 * @example
 * unitMoments(activations([[1, -2], [3, -4]]), { magnitude: true }).mean[1] // => 3
 */
export function unitMoments(
  x: Activations,
  { magnitude = false }: { magnitude?: boolean } = {},
): UnitMoments {
  return moments("unitMoments", x, magnitude);
}

function moments(name: string, x: Activations, magnitude: boolean): UnitMoments {
  const [n, nUnits] = x.shape;
  if (n < 2) throw new ShapeError(`${name}: expected at least 2 stimuli, got ${n}`);
  const { data } = x;
  // Sums run over differences from the first row: a constant unit gives exact zeros.
  const first = Float64Array.from(data.subarray(0, nUnits));
  if (magnitude) for (let j = 0; j < nUnits; j++) first[j] = Math.abs(first[j]!);
  const mean = new Float64Array(nUnits);
  const rest = new Float64Array(nUnits);
  const variance = new Float64Array(nUnits);
  addShifted(data, n, nUnits, first, magnitude, mean);
  for (let j = 0; j < nUnits; j++) mean[j] = first[j]! + mean[j]! / n;
  addSquares(data, n, nUnits, mean, magnitude, rest, variance);
  for (let j = 0; j < nUnits; j++) {
    const squares = variance[j]! - (rest[j]! * rest[j]!) / n;
    variance[j] = Math.max(0, squares) / (n - 1);
    if (!Number.isFinite(variance[j]!)) throwNotFinite(name, x, j);
  }
  return { n, mean, variance };
}

function addShifted(
  data: FloatArray,
  n: number,
  nUnits: number,
  shift: Float64Array,
  magnitude: boolean,
  sum: Float64Array,
): void {
  for (let i = 0; i < n; i++) {
    const row = i * nUnits;
    if (magnitude) {
      for (let j = 0; j < nUnits; j++) sum[j]! += Math.abs(data[row + j]!) - shift[j]!;
    } else {
      for (let j = 0; j < nUnits; j++) sum[j]! += data[row + j]! - shift[j]!;
    }
  }
}

function addSquares(
  data: FloatArray,
  n: number,
  nUnits: number,
  mean: Float64Array,
  magnitude: boolean,
  rest: Float64Array,
  squares: Float64Array,
): void {
  for (let i = 0; i < n; i++) {
    const row = i * nUnits;
    for (let j = 0; j < nUnits; j++) {
      const value = data[row + j]!;
      const d = (magnitude ? Math.abs(value) : value) - mean[j]!;
      rest[j]! += d;
      squares[j]! += d * d;
    }
  }
}

function throwNotFinite(name: string, x: Activations, unit: number): never {
  const [n, nUnits] = x.shape;
  for (let i = 0; i < n; i++) {
    const value = x.data[i * nUnits + unit]!;
    if (!Number.isFinite(value)) {
      throw new DataError(
        `${name}: expected finite activations, got ${value} at stimulus ${i}, unit ${unit}`,
      );
    }
  }
  throw new DataError(`${name}: expected squares below 1.8e308, got an overflow in unit ${unit}`);
}

/**
 * Welch's t for each unit between two groups of stimuli, without assuming equal variances.
 *
 *   t  = (mean(a) - mean(b)) / sqrt(var(a) / nA + var(b) / nB)
 *   df = (var(a) / nA + var(b) / nB)^2 / ((var(a) / nA)^2 / (nA - 1) + (var(b) / nB)^2 / (nB - 1))
 *
 * @param a - Activations for the contrast of interest, [nA, nUnits], nA >= 2.
 * @param b - Activations for the control, [nB, nUnits], nB >= 2.
 * @param options.magnitude - Compares |activations|. Default false.
 * @returns `t`, `df` and two-sided `p`, each [nUnits], in float64. A unit that varies in neither group
 *   has t = NaN, df = NaN and p = 1 (scipy gives p = NaN, or 0 with t infinite when the two constants
 *   differ): no spread, no evidence.
 * @throws {ShapeError} if the numbers of units differ or a group has fewer than 2 stimuli.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: two passes, O((nA + nB) nUnits) time, O(nUnits) memory.
 * Source: Welch (1947), Biometrika 34(1-2):28-35. Matches scipy.stats.ttest_ind(equal_var=False).
 *
 * @example
 * welchT(activations([[1], [2], [3]]), activations([[4], [6], [8]])).t[0].toFixed(3) // => "-3.098"
 */
export function welchT(
  a: Activations,
  b: Activations,
  { magnitude = false }: { magnitude?: boolean } = {},
): WelchResult {
  checkUnits("welchT", a, b);
  return welchFromMoments(moments("welchT", a, magnitude), moments("welchT", b, magnitude));
}

function checkUnits(name: string, a: Activations, b: Activations): void {
  if (a.shape[1] !== b.shape[1]) {
    throw new ShapeError(
      `${name}: expected the same units in both groups, got ${a.shape[1]} and ${b.shape[1]}`,
    );
  }
}

/**
 * As {@link welchT}, from moments that are already at hand.
 *
 * @example
 * const a = unitMoments(activations([[1], [2], [3]]));
 * welchFromMoments(a, unitMoments(activations([[4], [6], [8]]))).df[0].toFixed(3) // => "2.941"
 */
export function welchFromMoments(a: UnitMoments, b: UnitMoments): WelchResult {
  const nUnits = a.mean.length;
  const t = new Float64Array(nUnits);
  const df = new Float64Array(nUnits);
  const p = new Float64Array(nUnits);
  for (let j = 0; j < nUnits; j++) {
    const va = a.variance[j]! / a.n;
    const vb = b.variance[j]! / b.n;
    const spread = va + vb;
    if (spread === 0) {
      t[j] = Number.NaN;
      df[j] = Number.NaN;
      p[j] = 1;
      continue;
    }
    t[j] = (a.mean[j]! - b.mean[j]!) / Math.sqrt(spread);
    // As shares of the spread: squares of tiny variances would underflow.
    const shareA = va / spread;
    const shareB = vb / spread;
    df[j] = 1 / ((shareA * shareA) / (a.n - 1) + (shareB * shareB) / (b.n - 1));
    p[j] = studentTP(t[j]!, df[j]!);
  }
  return { t, df, p };
}

/**
 * Cohen's d of each unit: how many standard deviations apart the two groups are.
 *
 *   d = (mean(a) - mean(b)) / sqrt((var(a) + var(b)) / 2)
 *
 * @param a - [nA, nUnits], nA >= 2.
 * @param b - [nB, nUnits], nB >= 2.
 * @param options.magnitude - Compares |activations|. Default false.
 * @returns [nUnits]; NaN for a unit that varies in neither group.
 * @throws {ShapeError} if the numbers of units differ or a group has fewer than 2 stimuli.
 * @throws {DataError} if a value is not finite.
 *
 * Source: Cohen (1988), Statistical Power Analysis, eq. 2.2.1, with the plain average of both
 * variances (for groups of equal size the pooled variance).
 *
 * @example
 * cohenD(activations([[4], [6], [8]]), activations([[1], [2], [3]]))[0].toFixed(4) // => "2.5298"
 */
export function cohenD(
  a: Activations,
  b: Activations,
  { magnitude = false }: { magnitude?: boolean } = {},
): Float64Array {
  checkUnits("cohenD", a, b);
  return cohenDFromMoments(moments("cohenD", a, magnitude), moments("cohenD", b, magnitude));
}

/**
 * As {@link cohenD}, from moments that are already at hand.
 *
 * @example
 * const a = unitMoments(activations([[4], [6], [8]]));
 * cohenDFromMoments(a, unitMoments(activations([[1], [2], [3]])))[0].toFixed(4) // => "2.5298"
 */
export function cohenDFromMoments(a: UnitMoments, b: UnitMoments): Float64Array {
  return a.mean.map((mean, j) => {
    const spread = Math.sqrt((a.variance[j]! + b.variance[j]!) / 2);
    return spread === 0 ? Number.NaN : (mean - b.mean[j]!) / spread;
  });
}
