import { ShapeError } from "@penfield/core";
import { eigenSymmetric } from "./eigenSymmetric.ts";
import type { Linalg } from "./linalg.ts";
import { asFloat64, checkFinite, type Matrix, transpose } from "./matrix.ts";
import { type PolarFactors, polarPass } from "./polarFactor.ts";
import { qr } from "./qr.ts";
import { type ThinSvd, thinSvd } from "./thinSvd.ts";

/** Up to this many rows or columns, plain code is faster than a graph. */
const SMALL = 24;

/**
 * The thin singular value decomposition of matrices of any size, a = u diag(s) v^T, through the polar
 * factor: with a = w h, h symmetric and positive semidefinite, the eigenvectors of h are v.
 *
 * @param a - `[n, p]`, finite, with at least one row and column.
 * @returns As {@link thinSvd}. The error of a value is some eps times the largest one (below 1e-13 of it), as with LAPACK; u
 *   and v are orthonormal to rounding, also for rank-deficient matrices.
 * @throws {ShapeError} if the matrix is empty.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: two polar passes (168 n^3 operations on onnxruntime) and one symmetric eigenvalue problem.
 * Source: Higham & Papadimitriou (1994), Parallel Computing 20; Nakatsukasa & Higham (2013), SIAM J Sci Comput 35.
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
  const { factors, h, departure } = await polarAndSquare(a, linalg);
  const p = a.nColumns;
  const { values, vectors } = await eigenSymmetric(h, linalg);
  const v = transpose(vectors);
  const w = { data: factors.data, nRows: a.nRows, nColumns: p };
  const u = await linalg.matmul(w, v);
  return {
    u: departure < 1e-5 ? u : orthonormal(u),
    s: values.map((value) => Math.max(0, value)),
    v,
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
  const tall = a.nRows >= a.nColumns ? a : transpose(a);
  const { h } = await polarAndSquare(tall, linalg);
  const { values } = await eigenSymmetric(h, linalg, { vectors: false });
  return values.map((value) => Math.max(0, value));
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
 * bounded from the values themselves, is within what is allowed; else the inner product with the polar factor does.
 *
 * Cost: one product and the eigenvalues of a symmetric matrix; two polar passes more if the condition number is over about 1e5.
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
  const { h } = await polarAndSquare(wide ? transpose(x) : x, linalg);
  let trace = 0;
  for (let i = 0; i < h.nRows; i++) trace += h.data[i * h.nRows + i]!;
  return trace;
}

/**
 * The polar factor w of a tall matrix after two passes, so that what is not 1 belongs to singular
 * values below 1e-14 of the largest, and h = w^T a, made symmetric.
 */
async function polarAndSquare(
  a: Matrix,
  linalg: Linalg,
): Promise<{ factors: PolarFactors["factors"]; h: Matrix<Float64Array>; departure: number }> {
  const { nRows, nColumns } = a;
  const x = { data: asFloat64(a.data), nRows, nColumns };
  let pass = await polarPass({ ...x, count: 1 }, linalg);
  if (!(pass.departure[0]! < 1e-5)) pass = await polarPass(pass.factors, linalg);
  const w = { data: pass.factors.data, nRows, nColumns };
  const h = await linalg.matmul(w, x, { transposeA: true });
  for (let i = 0; i < nColumns; i++) {
    for (let j = 0; j < i; j++) {
      const mean = (h.data[i * nColumns + j]! + h.data[j * nColumns + i]!) / 2;
      h.data[i * nColumns + j] = mean;
      h.data[j * nColumns + i] = mean;
    }
  }
  return { factors: pass.factors, h, departure: pass.departure[0]! };
}

/** Columns made orthonormal from the first on, signs kept; columns without length become whatever is left. */
function orthonormal(u: Matrix<Float64Array>): Matrix<Float64Array> {
  return qr(u).q;
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
