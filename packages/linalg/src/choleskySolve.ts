import { DataError, ShapeError } from "@penfield/core";
import { asFloat64, checkFinite, checkSquareFinite, type Matrix } from "./matrix.ts";

/**
 * Solves a x = b for a symmetric positive definite a, by Cholesky's factorization a = l l^T.
 *
 * @param a - `[n, n]`, symmetric, positive definite; only its lower triangle is read.
 * @param b - `[n, m]`.
 * @returns `[n, m]`, float64.
 * @throws {ShapeError} if a is not square or b has another number of rows.
 * @throws {DataError} if a value is not finite, or a is not positive definite to working precision.
 *
 * Cost: n^3 / 3 + 2 n^2 m operations, one copy of each.
 * Source: Golub & Van Loan (2013), Matrix Computations, 4.2.
 *
 * @example
 * choleskySolve(matrix(Float64Array.of(4, 2, 2, 3), 2, 2), matrix(Float64Array.of(8, 8), 2, 1)).data.map(Math.round).join(" ") // => "1 2"
 */
export function choleskySolve(a: Matrix, b: Matrix): Matrix<Float64Array> {
  checkSquareFinite("choleskySolve", a);
  const n = a.nRows;
  if (b.nRows !== n) {
    throw new ShapeError(`choleskySolve: expected b with ${n} rows, got ${b.nRows}`);
  }
  checkFinite("choleskySolve", b.data, b.nColumns);
  const l = factor(asFloat64(a.data), n);
  const m = b.nColumns;
  const x = Float64Array.from(b.data);
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) addRow(x, m, i, k, -l[i * n + k]!);
    scaleRow(x, m, i, 1 / l[i * n + i]!);
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) addRow(x, m, i, k, -l[k * n + i]!);
    scaleRow(x, m, i, 1 / l[i * n + i]!);
  }
  return { data: x, nRows: n, nColumns: m };
}

function factor(a: Float64Array, n: number): Float64Array {
  const l = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = a[i * n + j]!;
      for (let k = 0; k < j; k++) sum -= l[i * n + k]! * l[j * n + k]!;
      if (i !== j) l[i * n + j] = sum / l[j * n + j]!;
      // What is left of the diagonal must be more than rounding.
      else if (sum > n * Number.EPSILON * a[i * n + i]!) l[i * n + i] = Math.sqrt(sum);
      else {
        throw new DataError(
          `choleskySolve: expected a positive definite matrix, got one that is not at row ${i}`,
          { hint: "Add a little to the diagonal, or leave out columns that depend on others." },
        );
      }
    }
  }
  return l;
}

/** Row i += factor row k. */
function addRow(x: Float64Array, m: number, i: number, k: number, by: number): void {
  for (let j = 0; j < m; j++) x[i * m + j]! += by * x[k * m + j]!;
}

function scaleRow(x: Float64Array, m: number, i: number, by: number): void {
  for (let j = 0; j < m; j++) x[i * m + j]! *= by;
}
