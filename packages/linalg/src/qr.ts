import { ShapeError } from "@penfield/core";
import { asFloat64, checkFinite, type Matrix } from "./matrix.ts";

/** A thin QR decomposition, a = q r. */
export interface Qr {
  /** `[n, k]`, k = min(n, p), orthonormal columns. */
  readonly q: Matrix<Float64Array>;
  /** `[k, p]`, upper triangular; its diagonal is not negative. */
  readonly r: Matrix<Float64Array>;
}

/**
 * The thin QR decomposition by Householder reflections, a = q r.
 *
 * @param a - `[n, p]`, finite, at least one row and column.
 * @returns The diagonal of r is not negative, so that the result is unique for full rank. Columns that depend on
 *   earlier ones leave a zero there; q is orthonormal all the same.
 * @throws {ShapeError} if the matrix is empty.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: 4 n p min(n, p) operations in plain code (about 0.3 s at 512).
 * Source: Golub & Van Loan (2013), Matrix Computations, 5.2.
 *
 * @example
 * qr(matrix(Float64Array.of(3, 1, 4, 7), 2, 2)).r.data.map(Math.round).join(" ") // => "5 6 0 3"
 */
export function qr(a: Matrix): Qr {
  const { nRows: n, nColumns: p } = a;
  if (a.data.length === 0) throw new ShapeError(`qr: expected values, got ${n} x ${p}`);
  checkFinite("qr", a.data, p);
  const k = Math.min(n, p);
  // Columns as rows: a reflection then reads memory in order.
  const columns = transposed(asFloat64(a.data), n, p);
  const scales = new Float64Array(k);
  const diagonal = new Float64Array(k);
  for (let j = 0; j < k; j++) {
    const { scale, head } = reflection(columns, j * n + j, n - j);
    scales[j] = scale;
    diagonal[j] = head;
    for (let c = j + 1; c < p; c++) reflect(columns, j * n + j, columns, c * n + j, n - j, scale);
  }
  const q = new Float64Array(k * n);
  for (let j = k - 1; j >= 0; j--) {
    q[j * n + j] = 1;
    for (let c = j; c < k; c++) reflect(columns, j * n + j, q, c * n + j, n - j, scales[j]!);
  }
  const r = new Float64Array(k * p);
  for (let i = 0; i < k; i++) {
    const sign = diagonal[i]! < 0 ? -1 : 1;
    r[i * p + i] = sign * diagonal[i]!;
    for (let j = i + 1; j < p; j++) r[i * p + j] = sign * columns[j * n + i]!;
    if (sign < 0) for (let l = 0; l < n; l++) q[i * n + l] = -q[i * n + l]!;
  }
  return {
    q: { data: transposed(q, k, n), nRows: n, nColumns: k },
    r: { data: r, nRows: k, nColumns: p },
  };
}

/**
 * Turns the entries from `at` on into the vector v of the reflection I - scale v v^T that leaves only
 * their first one, which becomes `head`. Scale 0: there was nothing to do.
 */
function reflection(x: Float64Array, at: number, n: number): { scale: number; head: number } {
  let largest = 0;
  for (let i = 0; i < n; i++) largest = Math.max(largest, Math.abs(x[at + i]!));
  const first = x[at]!;
  let rest = 0;
  for (let i = 1; i < n; i++) rest += Math.abs(x[at + i]!);
  if (rest === 0) return { scale: 0, head: first };
  let square = 0;
  for (let i = 0; i < n; i++) {
    x[at + i]! /= largest;
    square += x[at + i]! * x[at + i]!;
  }
  const length = first >= 0 ? -Math.sqrt(square) : Math.sqrt(square);
  const scale = 1 / (square - x[at]! * length);
  x[at]! -= length;
  return { scale, head: largest * length };
}

/** y -= scale (v y) v over n entries. */
function reflect(
  v: Float64Array,
  vAt: number,
  y: Float64Array,
  yAt: number,
  n: number,
  scale: number,
): void {
  if (scale === 0) return;
  let s0 = 0;
  let s1 = 0;
  let i = 0;
  for (; i + 1 < n; i += 2) {
    s0 += v[vAt + i]! * y[yAt + i]!;
    s1 += v[vAt + i + 1]! * y[yAt + i + 1]!;
  }
  if (i < n) s0 += v[vAt + i]! * y[yAt + i]!;
  const by = scale * (s0 + s1);
  for (i = 0; i < n; i++) y[yAt + i]! -= by * v[vAt + i]!;
}

function transposed(x: Float64Array, nRows: number, nColumns: number): Float64Array {
  const out = new Float64Array(x.length);
  for (let i = 0; i < nRows; i++) {
    for (let j = 0; j < nColumns; j++) out[j * nRows + i] = x[i * nColumns + j]!;
  }
  return out;
}
