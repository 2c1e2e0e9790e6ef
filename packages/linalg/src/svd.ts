import { ShapeError } from "@penfield/core";
import { bidiagonalize } from "./bidiagonalize.ts";
import { bidiagonalSvd, bidiagonalValues } from "./bidiagonalSvd.ts";
import { eigenSymmetric } from "./eigenSymmetric.ts";
import type { Linalg } from "./linalg.ts";
import { asFloat64, checkFinite, type Matrix, transpose } from "./matrix.ts";
import { reflectBack } from "./reflections.ts";
import { type ThinSvd, thinSvd } from "./thinSvd.ts";

/** Up to this many rows or columns, plain code is faster. */
const SMALL = 24;

/**
 * The thin singular value decomposition of matrices of any size, a = u diag(s) v^T.
 *
 * Blocked reflections from both sides make the matrix bidiagonal; that is divided in halves whose solutions are joined by a
 * bordered diagonal matrix, which costs products only.
 *
 * @param a - `[n, p]`, finite, with at least one row and column.
 * @returns As {@link thinSvd}. The error of a value is some eps times the largest one (below 1e-13 of it), as with LAPACK; u
 *   and v are orthonormal to rounding, also for rank-deficient matrices.
 * @throws {ShapeError} if the matrix is empty.
 * @throws {DataError} if a value is not finite.
 *
 * Cost, for n >= p: 4 n p^2 operations, half of them in plain code; for the vectors 2 n p^2 + 6 p^3 more, as products on onnxruntime.
 * Source: Dongarra, Hammarling & Sorensen (1989), J Comput Appl Math 27; Gu & Eisenstat (1995), SIAM J Matrix Anal 16:79.
 *
 * @example
 * const linalg = createLinalg();
 * (await svd(matrix(Float64Array.of(3, 0, 0, 4), 2, 2), linalg)).s.map(Math.round).join(" ") // => "4 3"
 */
export async function svd(a: Matrix, linalg: Linalg): Promise<ThinSvd> {
  checkNotEmpty("svd", a);
  if (linalg.lapack) return linalg.lapack.svd(a);
  if (Math.min(a.nRows, a.nColumns) <= SMALL) return thinSvd(a);
  if (a.nRows < a.nColumns) {
    const { u, s, v } = await svd(transpose(a), linalg);
    return { u: v, s, v: u };
  }
  const { nRows: n, nColumns: p } = a;
  const { scaled, scale } = toUnitScale(a);
  const { diagonal, off, left, right } = await bidiagonalize(scaled, linalg);
  const square = new Float64Array(p);
  square.set(off);
  const solved = await bidiagonalSvd(diagonal, square, linalg);
  const u = new Float64Array(n * p);
  const v = new Float64Array(p * p);
  for (let j = 0; j < p; j++) {
    // The largest value first, vectors as columns; the last entry of right vectors is the 0 that made the matrix square.
    const from = p - 1 - j;
    for (let i = 0; i < p; i++) {
      u[i * p + j] = solved.left[from * p + i]!;
      v[i * p + j] = solved.right[from * (p + 1) + i]!;
    }
  }
  await reflectBack(u, p, left, linalg);
  await reflectBack(v, p, right, linalg);
  return {
    u: { data: u, nRows: n, nColumns: p },
    s: solved.values.reverse().map((value) => value * scale),
    v: { data: v, nRows: p, nColumns: p },
  };
}

/**
 * Singular values only, descending.
 *
 * @param a - `[n, p]`, finite, with at least one row and column.
 * @returns `[min(n, p)]`; the error of each is some eps times the largest one.
 * @throws {ShapeError} if the matrix is empty.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: as {@link svd} without the vectors. Where squares will do, the eigenvalues of a^T a are faster.
 *
 * @example
 * const linalg = createLinalg();
 * (await singularValues(matrix(Float64Array.of(3, 4, 0, 0), 2, 2), linalg)).map(Math.round).join(" ") // => "5 0"
 */
export async function singularValues(a: Matrix, linalg: Linalg): Promise<Float64Array> {
  checkNotEmpty("singularValues", a);
  if (linalg.lapack) return linalg.lapack.singularValues(a);
  if (Math.min(a.nRows, a.nColumns) <= SMALL) return thinSvd(a).s;
  const { scaled, scale } = toUnitScale(a.nRows >= a.nColumns ? a : transpose(a));
  const { diagonal, off } = await bidiagonalize(scaled, linalg);
  return bidiagonalValues(diagonal, off)
    .sort()
    .reverse()
    .map((value) => value * scale);
}

/**
 * The sum of the singular values: what aligning two representations by rotation brings (with a = x^T y).
 *
 * @param a - `[n, p]`, finite, with at least one row and column.
 * @param options.relative - The error allowed, as a share of the result. Default 1e-11.
 * @throws {ShapeError} if the matrix is empty.
 * @throws {DataError} if a value is not finite.
 *
 * The roots of the eigenvalues of a^T a (the smaller of that and a a^T) serve where their error, which is
 * bounded from the values themselves, is within what is allowed; else the singular values do.
 *
 * Cost: one product and the eigenvalues of a symmetric matrix; the singular values too if the condition number is over about 1e5.
 *
 * @example
 * const linalg = createLinalg();
 * (await nuclearNorm(matrix(Float64Array.of(3, 0, 0, -4), 2, 2), linalg)).toFixed(9) // => "7.000000000"
 */
export async function nuclearNorm(
  a: Matrix,
  linalg: Linalg,
  { relative = 1e-11 }: { relative?: number } = {},
): Promise<number> {
  checkNotEmpty("nuclearNorm", a);
  if (Math.min(a.nRows, a.nColumns) <= SMALL) return sum(thinSvd(a).s);
  const wide = a.nRows < a.nColumns;
  const x = { ...a, data: asFloat64(a.data) };
  const gram = await linalg.matmul(x, x, wide ? { transposeB: true } : { transposeA: true });
  const { values } = await eigenSymmetric(gram, linalg, { vectors: false });
  // Each eigenvalue is off by up to a few eps of the largest; so is a root, by that over twice itself.
  const off = 16 * Number.EPSILON * Math.max(0, values[0]!);
  let total = 0;
  let bound = 0;
  for (const value of values) {
    const root = Math.sqrt(Math.max(0, value));
    total += root;
    bound += root > 0 ? Math.min(Math.sqrt(off), off / (2 * root)) : Math.sqrt(off);
  }
  if (bound <= relative * total) return total;
  return sum(await singularValues(x, linalg));
}

/** Divided by its largest entry: squares of what counts can then neither overflow nor vanish. */
function toUnitScale({ data, nRows, nColumns }: Matrix): {
  readonly scaled: Matrix<Float64Array>;
  readonly scale: number;
} {
  let largest = 0;
  for (let i = 0; i < data.length; i++) largest = Math.max(largest, Math.abs(data[i]!));
  const scale = largest === 0 ? 1 : largest;
  const scaled = new Float64Array(data.length);
  for (let i = 0; i < data.length; i++) scaled[i] = data[i]! / scale;
  return { scaled: { data: scaled, nRows, nColumns }, scale };
}

function sum(values: Float64Array): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

function checkNotEmpty(name: string, a: Matrix): void {
  if (a.data.length === 0) {
    throw new ShapeError(`${name}: expected values, got ${a.nRows} x ${a.nColumns}`);
  }
  checkFinite(name, a.data, a.nColumns);
}
