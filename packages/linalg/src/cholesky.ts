import { DataError, ShapeError } from "@penfield/core";
import type { Linalg } from "./linalg.ts";
import { asFloat64, checkFinite, checkSquareFinite, type Matrix } from "./matrix.ts";

/** Rows of a block: small enough for the cache, large enough for a matrix product. */
const BLOCK = 64;

/**
 * Cholesky's factor of a symmetric positive definite matrix, a = l l^T, by blocks whose updates are matrix products.
 *
 * @param a - `[n, n]`, symmetric, positive definite; only its lower triangle is read.
 * @returns `[n, n]`, lower triangular.
 * @throws {ShapeError} if a is not square.
 * @throws {DataError} if a value is not finite, or a is not positive definite to working precision.
 *
 * Cost: n^3 / 3 operations, most of them on onnxruntime; one copy.
 * Source: Golub & Van Loan (2013), Matrix Computations, 4.2.9.
 *
 * @example
 * const linalg = createLinalg();
 * (await cholesky(matrix(Float64Array.of(4, 2, 2, 5), 2, 2), linalg)).data.join(" ") // => "2 0 1 2"
 */
export async function cholesky(a: Matrix, linalg: Linalg): Promise<Matrix<Float64Array>> {
  checkSquareFinite("cholesky", a);
  if (linalg.lapack) return linalg.lapack.cholesky(a);
  const n = a.nRows;
  const l = Float64Array.from(a.data);
  const diagonal = Float64Array.from({ length: n }, (_, i) => l[i * n + i]!);
  for (let from = 0; from < n; from += BLOCK) {
    const to = Math.min(n, from + BLOCK);
    factorBlock(l, n, from, to, diagonal);
    if (to === n) break;
    // What the block's columns explain is taken off the rest at once.
    const panel = copyBlock(l, n, to, n, from, to);
    const update = await linalg.matmul(panel, panel, { transposeB: true });
    const m = n - to;
    for (let i = 0; i < m; i++) {
      for (let j = 0; j <= i; j++) l[(to + i) * n + to + j]! -= update.data[i * m + j]!;
    }
  }
  for (let i = 0; i < n; i++) l.fill(0, i * n + i + 1, (i + 1) * n);
  return { data: l, nRows: n, nColumns: n };
}

/** Factors the diagonal block and solves the rows below it, in place. */
function factorBlock(
  l: Float64Array,
  n: number,
  from: number,
  to: number,
  diagonal: Float64Array,
): void {
  for (let i = from; i < n; i++) {
    for (let j = from; j < Math.min(to, i + 1); j++) {
      let sum = l[i * n + j]!;
      for (let k = from; k < j; k++) sum -= l[i * n + k]! * l[j * n + k]!;
      if (i !== j) l[i * n + j] = sum / l[j * n + j]!;
      else if (sum > n * Number.EPSILON * diagonal[i]!) l[i * n + i] = Math.sqrt(sum);
      else {
        throw new DataError(
          `cholesky: expected a positive definite matrix, got one that is not at row ${i}`,
          { hint: "Add a little to the diagonal, or leave out columns that depend on others." },
        );
      }
    }
  }
}

/**
 * Solves l x = b, or l^T x = b, for a lower triangular l.
 *
 * @param l - `[n, n]`; only its lower triangle is read.
 * @param b - `[n, m]`.
 * @param options.transpose - Solve with l^T. Default false.
 * @returns `[n, m]`.
 * @throws {ShapeError} if l is not square or b has another number of rows.
 * @throws {DataError} if a value is not finite, or the diagonal has a zero.
 *
 * Cost: n^2 m operations, most of them on onnxruntime.
 *
 * @example
 * const linalg = createLinalg();
 * const l = matrix(Float64Array.of(2, 0, 1, 2), 2, 2);
 * (await solveTriangular(l, matrix(Float64Array.of(4, 8), 2, 1), linalg)).data.join(" ") // => "2 3"
 */
export async function solveTriangular(
  l: Matrix,
  b: Matrix,
  linalg: Linalg,
  { transpose = false }: { transpose?: boolean } = {},
): Promise<Matrix<Float64Array>> {
  checkSquareFinite("solveTriangular", l);
  const n = l.nRows;
  const m = b.nColumns;
  if (b.nRows !== n) {
    throw new ShapeError(`solveTriangular: expected b with ${n} rows, got ${b.nRows}`);
  }
  checkFinite("solveTriangular", b.data, m);
  const factor = asFloat64(l.data);
  for (let i = 0; i < n; i++) {
    if (factor[i * n + i] === 0) {
      throw new DataError(`solveTriangular: expected a diagonal without zeros, got 0 at row ${i}`);
    }
  }
  const x = Float64Array.from(b.data);
  const starts = Array.from({ length: Math.ceil(n / BLOCK) }, (_, i) => i * BLOCK);
  for (const from of transpose ? starts.reverse() : starts) {
    const to = Math.min(n, from + BLOCK);
    solveBlock(factor, n, x, m, from, to, transpose);
    const solved = { data: x.slice(from * m, to * m), nRows: to - from, nColumns: m };
    // The rest of the equations lose the terms that are known now.
    const [restFrom, restTo] = transpose ? [0, from] : [to, n];
    if (restFrom === restTo || m === 0) continue;
    const part = transpose
      ? copyBlock(factor, n, from, to, 0, from)
      : copyBlock(factor, n, to, n, from, to);
    const known = await linalg.matmul(part, solved, { transposeA: transpose });
    for (let i = 0; i < known.data.length; i++) x[restFrom * m + i]! -= known.data[i]!;
  }
  return { data: x, nRows: n, nColumns: m };
}

function solveBlock(
  l: Float64Array,
  n: number,
  x: Float64Array,
  m: number,
  from: number,
  to: number,
  transpose: boolean,
): void {
  for (let step = 0; step < to - from; step++) {
    const i = transpose ? to - 1 - step : from + step;
    const [first, last] = transpose ? [i + 1, to] : [from, i];
    for (let k = first; k < last; k++) {
      const by = transpose ? l[k * n + i]! : l[i * n + k]!;
      for (let j = 0; j < m; j++) x[i * m + j]! -= by * x[k * m + j]!;
    }
    for (let j = 0; j < m; j++) x[i * m + j]! /= l[i * n + i]!;
  }
}

function copyBlock(
  a: Float64Array,
  n: number,
  rowFrom: number,
  rowTo: number,
  columnFrom: number,
  columnTo: number,
): Matrix<Float64Array> {
  const width = columnTo - columnFrom;
  const data = new Float64Array((rowTo - rowFrom) * width);
  for (let i = rowFrom; i < rowTo; i++) {
    data.set(a.subarray(i * n + columnFrom, i * n + columnTo), (i - rowFrom) * width);
  }
  return { data, nRows: rowTo - rowFrom, nColumns: width };
}
