import { DataError } from "@penfield/core";
import { checkSquareFinite, type Matrix } from "./matrix.ts";

/** Eigenvalues and eigenvectors of a symmetric matrix. */
export interface SymmetricEigen {
  /** Descending, [n]. */
  readonly values: Float64Array;
  /** Row i is the unit eigenvector of values[i], [n, n]; empty if it was not asked for. */
  readonly vectors: Matrix<Float64Array>;
}

/**
 * Eigenvalues and eigenvectors of a symmetric matrix, largest eigenvalue first.
 *
 *   a = sum_i values[i] v_i v_i^T,  v_i = row i of vectors
 *
 * Householder reflections make the matrix tridiagonal; the QL algorithm with implicit shifts makes
 * that diagonal.
 *
 * @param a - `[n, n]`, symmetric, finite; only its lower triangle is read.
 * @param options.vectors - Default true; false is several times faster.
 * @returns Eigenvectors as rows: the sign of each is arbitrary, and so is the basis within equal eigenvalues.
 *   The error of a value is about eps times the largest one, so that of a small value may be large
 *   relative to it.
 * @throws {ShapeError} if the matrix is not square.
 * @throws {DataError} if a value is not finite, or the iteration does not converge (never seen).
 *
 * Cost: O(n^3) time (about 0.4 s at n = 512 and 3 s at n = 1024 with vectors, a third of it without), one copy.
 * Source: Golub & Van Loan (2013), Matrix Computations, 8.3; Bowdler, Martin, Reinsch & Wilkinson (1968).
 *
 * @example
 * symmetricEigen(matrix(Float64Array.of(2, 1, 1, 2), 2, 2)).values.map(Math.round).join(" ") // => "3 1"
 */
export function symmetricEigen(
  a: Matrix,
  { vectors: wanted = true }: { vectors?: boolean } = {},
): SymmetricEigen {
  checkSquareFinite("symmetricEigen", a);
  const n = a.nRows;
  const work = Float64Array.from(a.data);
  const { diagonal, off, scales } = tridiagonalize(work, n);
  const z = wanted ? accumulate(work, scales, n) : undefined;
  implicitQl(diagonal, off, z, n);
  return sorted(diagonal, z, n);
}

interface Tridiagonal {
  readonly diagonal: Float64Array;
  /** off[i] joins i and i + 1. */
  readonly off: Float64Array;
  /** 2 / (u u) of the reflection stored in row i of the work array; 0 where there was nothing to do. */
  readonly scales: Float64Array;
}

/**
 * Reflects the lower triangle to tridiagonal form, from the last row up. On return row i of `a`
 * holds in its first i entries the vector u of its reflection I - scale u u^T.
 */
function tridiagonalize(a: Float64Array, n: number): Tridiagonal {
  const diagonal = new Float64Array(n);
  const off = new Float64Array(Math.max(0, n - 1));
  const scales = new Float64Array(n);
  const p = new Float64Array(n);
  for (let i = n - 1; i >= 1; i--) {
    const u = a.subarray(i * n, i * n + i);
    diagonal[i] = a[i * n + i]!;
    let largest = 0;
    for (let k = 0; k < i - 1; k++) largest = Math.max(largest, Math.abs(u[k]!));
    const last = u[i - 1]!;
    if (largest === 0) {
      off[i - 1] = last;
      continue;
    }
    // Divided by its largest entry the vector's square cannot overflow or vanish.
    const unit = Math.max(largest, Math.abs(last));
    let square = 0;
    for (let k = 0; k < i; k++) {
      u[k]! /= unit;
      square += u[k]! * u[k]!;
    }
    const length = last >= 0 ? -Math.sqrt(square) : Math.sqrt(square);
    off[i - 1] = unit * length;
    const scale = 1 / (square - u[i - 1]! * length);
    u[i - 1]! -= length;
    scales[i] = scale;
    rankTwoUpdate(a, n, i, u, scale, p);
  }
  if (n > 0) diagonal[0] = a[0]!;
  return { diagonal, off, scales };
}

/** (I - scale u u^T) A (I - scale u u^T) on the leading i x i lower triangle. */
function rankTwoUpdate(
  a: Float64Array,
  n: number,
  i: number,
  u: Float64Array,
  scale: number,
  p: Float64Array,
): void {
  // p = scale A u, reading each stored entry once for both of its places.
  p.fill(0, 0, i);
  for (let r = 0; r < i; r++) {
    const at = r * n;
    const ur = u[r]!;
    let even = 0;
    let odd = 0;
    let c = 0;
    for (; c + 1 < r; c += 2) {
      const left = a[at + c]!;
      const right = a[at + c + 1]!;
      even += left * u[c]!;
      odd += right * u[c + 1]!;
      p[c]! += left * ur;
      p[c + 1]! += right * ur;
    }
    if (c < r) {
      even += a[at + c]! * u[c]!;
      p[c]! += a[at + c]! * ur;
    }
    p[r]! += even + odd + a[at + r]! * ur;
  }
  let inner = 0;
  for (let k = 0; k < i; k++) {
    p[k]! *= scale;
    inner += p[k]! * u[k]!;
  }
  const half = (scale * inner) / 2;
  for (let k = 0; k < i; k++) p[k]! -= half * u[k]!;
  for (let r = 0; r < i; r++) {
    const at = r * n;
    const ur = u[r]!;
    const pr = p[r]!;
    for (let c = 0; c <= r; c++) a[at + c]! -= ur * p[c]! + pr * u[c]!;
  }
}

/** How many reflections stay in the cache while one row goes through them. */
const REFLECTIONS_AT_A_TIME = 16;

/** The product of the reflections, transposed: row i is the i-th column of the product. */
function accumulate(a: Float64Array, scales: Float64Array, n: number): Float64Array {
  const z = new Float64Array(n * n);
  for (let i = 0; i < n; i++) z[i * n + i] = 1;
  // Reflections with few entries come first, so each only touches the leading block; rows are independent.
  for (let from = 1; from < n; from += REFLECTIONS_AT_A_TIME) {
    const to = Math.min(n, from + REFLECTIONS_AT_A_TIME);
    for (let r = 0; r < to - 1; r++) {
      const row = z.subarray(r * n, r * n + n);
      for (let i = Math.max(from, r + 1); i < to; i++) {
        if (scales[i] !== 0) reflect(row, a, i * n, i, scales[i]!);
      }
    }
  }
  return z;
}

/** row -= scale (row u) u over the first n entries, u starting at `at`. */
function reflect(row: Float64Array, a: Float64Array, at: number, n: number, scale: number): void {
  // Four sums side by side, so that one addition need not wait for the last.
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let k = 0;
  for (; k + 3 < n; k += 4) {
    s0 += row[k]! * a[at + k]!;
    s1 += row[k + 1]! * a[at + k + 1]!;
    s2 += row[k + 2]! * a[at + k + 2]!;
    s3 += row[k + 3]! * a[at + k + 3]!;
  }
  for (; k < n; k++) s0 += row[k]! * a[at + k]!;
  const sum = scale * (s0 + s1 + (s2 + s3));
  for (k = 0; k < n; k++) row[k]! -= sum * a[at + k]!;
}

const MOST_SWEEPS = 60;

/** Diagonalizes a tridiagonal matrix in place; rotates rows of z along, if there is one. */
export function implicitQl(
  d: Float64Array,
  off: Float64Array,
  z: Float64Array | undefined,
  n: number,
): void {
  const e = new Float64Array(n);
  e.set(off);
  const rotations = z && keepRotations(n);
  for (let l = 0; l < n; l++) {
    for (let sweep = 0; ; sweep++) {
      let m = l;
      while (m < n - 1) {
        const size = Math.abs(d[m]!) + Math.abs(d[m + 1]!);
        if (Math.abs(e[m]!) <= Number.EPSILON * size) break;
        m++;
      }
      if (m === l) break;
      if (sweep === MOST_SWEEPS) {
        throw new DataError(`symmetricEigen: expected convergence, got none for value ${l}`);
      }
      if (z && rotations && rotations.count + m - l > rotations.row.length) {
        applyRotations(z, n, rotations);
      }
      qlSweep(d, e, rotations, l, m);
    }
  }
  if (z && rotations) applyRotations(z, n, rotations);
}

/** One implicit QL step on the unreduced block l..m. */
function qlSweep(
  d: Float64Array,
  e: Float64Array,
  rotations: Rotations | undefined,
  l: number,
  m: number,
): void {
  // Wilkinson's shift: the eigenvalue of the leading 2 x 2 block that is nearer to d[l].
  const delta = (d[l + 1]! - d[l]!) / (2 * e[l]!);
  const root = Math.hypot(delta, 1);
  let g = d[m]! - d[l]! + e[l]! / (delta + (delta >= 0 ? root : -root));
  let s = 1;
  let c = 1;
  let p = 0;
  for (let i = m - 1; i >= l; i--) {
    const f = s * e[i]!;
    const b = c * e[i]!;
    const r = Math.hypot(f, g);
    e[i + 1] = r;
    if (r === 0) {
      // The block splits here; what was done so far is kept.
      d[i + 1]! -= p;
      e[m] = 0;
      return;
    }
    s = f / r;
    c = g / r;
    const shifted = d[i + 1]! - p;
    const t = (d[i]! - shifted) * s + 2 * c * b;
    p = s * t;
    d[i + 1] = shifted + p;
    g = c * t - b;
    if (rotations) {
      const q = rotations.count++;
      rotations.row[q] = i;
      rotations.c[q] = c;
      rotations.s[q] = s;
    }
  }
  d[l]! -= p;
  e[l] = g;
  e[m] = 0;
}

/** Plane rotations of neighbouring rows, kept until there are enough to apply at once. */
interface Rotations {
  readonly row: Int32Array;
  readonly c: Float64Array;
  readonly s: Float64Array;
  count: number;
}

/** How many sweeps are kept, and how many columns fit the cache. */
const SWEEPS_AT_A_TIME = 32;
const COLUMNS_AT_A_TIME = 32;

function keepRotations(n: number): Rotations {
  const room = Math.max(1, n * SWEEPS_AT_A_TIME);
  return {
    row: new Int32Array(room),
    c: new Float64Array(room),
    s: new Float64Array(room),
    count: 0,
  };
}

/**
 * Applies what was kept to the rows of z. Columns are independent, so a strip of them is copied
 * together and goes through all rotations while it is in the cache.
 */
function applyRotations(z: Float64Array, n: number, rotations: Rotations): void {
  const strip = new Float64Array(n * COLUMNS_AT_A_TIME);
  for (let from = 0; from < n; from += COLUMNS_AT_A_TIME) {
    const width = Math.min(COLUMNS_AT_A_TIME, n - from);
    for (let i = 0; i < n; i++) {
      strip.set(z.subarray(i * n + from, i * n + from + width), i * width);
    }
    rotateStrip(strip, width, rotations);
    for (let i = 0; i < n; i++) {
      z.set(strip.subarray(i * width, (i + 1) * width), i * n + from);
    }
  }
  rotations.count = 0;
}

function rotateStrip(x: Float64Array, width: number, { row, c, s, count }: Rotations): void {
  for (let q = 0; q < count; q++) {
    const at = row[q]! * width;
    const c1 = c[q]!;
    const s1 = s[q]!;
    if (q + 1 < count && row[q + 1] === row[q]! - 1) {
      // Two rotations of one sweep share a row: one reading and writing less.
      const c2 = c[q + 1]!;
      const s2 = s[q + 1]!;
      const below = at - width;
      const above = at + width;
      for (let k = 0; k < width; k++) {
        const lower = x[at + k]!;
        const upper = x[above + k]!;
        const lowest = x[below + k]!;
        const middle = c1 * lower - s1 * upper;
        x[above + k] = s1 * lower + c1 * upper;
        x[at + k] = s2 * lowest + c2 * middle;
        x[below + k] = c2 * lowest - s2 * middle;
      }
      q++;
    } else {
      for (let k = 0; k < width; k++) {
        const lower = x[at + k]!;
        const upper = x[at + width + k]!;
        x[at + width + k] = s1 * lower + c1 * upper;
        x[at + k] = c1 * lower - s1 * upper;
      }
    }
  }
}

function sorted(d: Float64Array, z: Float64Array | undefined, n: number): SymmetricEigen {
  const order = Array.from(d.keys()).sort((i, j) => d[j]! - d[i]!);
  const vectors = new Float64Array(z ? n * n : 0);
  if (z) {
    order.forEach((from, to) => {
      vectors.set(z.subarray(from * n, (from + 1) * n), to * n);
    });
  }
  return {
    values: Float64Array.from(order, (i) => d[i]!),
    vectors: { data: vectors, nRows: z ? n : 0, nColumns: z ? n : 0 },
  };
}
