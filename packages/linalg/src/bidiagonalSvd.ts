import { DataError } from "@penfield/core";
import type { Linalg } from "./linalg.ts";
import { matrix } from "./matrix.ts";
import { solveBordered } from "./secular.ts";

/** Of an upper bidiagonal matrix [n, n + 1] with `off` right of its diagonal. */
export interface BidiagonalSvd {
  /** Ascending, `[n]`. */
  readonly values: Float64Array;
  /** Left singular vectors as rows, `[n, n]`. */
  readonly left: Float64Array;
  /** Right singular vectors as rows, then what the matrix takes to 0: `[n + 1, n + 1]`. */
  readonly right: Float64Array;
}

/** Singular values of a square bidiagonal matrix, in no order. `off` has an entry less. */
export function bidiagonalValues(diagonal: Float64Array, off: Float64Array): Float64Array {
  const d = Float64Array.from(diagonal);
  implicitQr(d, Float64Array.from(off));
  return d;
}

const MOST_SWEEPS = 60;

/** What is 0 beside entries of about 1; its fourth power still has all its digits. */
const FLOOR = 1e-60;

/** Turns rows `i` and `j` of an array: row_i = c row_i + s row_j, row_j = c row_j - s row_i. */
type Turn = (i: number, j: number, c: number, s: number) => void;

const still: Turn = () => undefined;

/**
 * Makes a square bidiagonal matrix diagonal in place by implicitly shifted QR steps; the values become positive.
 * Entries that are below rounding of the largest are taken for 0, so errors are relative to that one, which should be about 1.
 *
 * Source: Golub & Van Loan (2013), Matrix Computations, 8.6.
 */
function implicitQr(
  d: Float64Array,
  e: Float64Array,
  turnLeft: Turn = still,
  turnRight: Turn = still,
  negateRight: (i: number) => void = () => undefined,
): void {
  const n = d.length;
  let size = 0;
  for (let i = 0; i < n; i++) size = Math.max(size, Math.abs(d[i]!), Math.abs(e[i] ?? 0));
  const least = Math.max((Number.EPSILON / 2) * size, FLOOR);
  const isNothing = (x: number, beside = 0): boolean =>
    Math.abs(x) <= Math.max(least, Number.EPSILON * beside);
  const parts = (i: number): boolean => isNothing(e[i]!, Math.abs(d[i]!) + Math.abs(d[i + 1]!));
  for (let end = n - 1; end >= 0; end--) {
    for (let sweep = 0; ; sweep++) {
      let start = end;
      while (start > 0 && !parts(start - 1)) start--;
      if (start > 0) e[start - 1] = 0;
      if (start === end) break;
      if (sweep === MOST_SWEEPS) {
        throw new DataError(`svd: expected convergence, got none for value ${end}`);
      }
      let zero = end;
      while (zero >= start && !isNothing(d[zero]!)) zero--;
      if (zero < start) qrSweep(d, e, start, end, turnLeft, turnRight);
      else if (zero < end) clearRow(d, e, zero, end, turnLeft);
      else clearColumn(d, e, start, end, turnRight);
    }
    if (d[end]! < 0) {
      d[end] = -d[end]!;
      negateRight(end);
    }
  }
}

/** One step on the block start..end, its shift from the last two columns. */
function qrSweep(
  d: Float64Array,
  e: Float64Array,
  start: number,
  end: number,
  turnLeft: Turn,
  turnRight: Turn,
): void {
  // The eigenvalue of the last 2 x 2 block of B^T B that is nearer to its last entry.
  const before = end - 1 > start ? e[end - 2]! : 0;
  const a = d[end - 1]! * d[end - 1]! + before * before;
  const b = d[end - 1]! * e[end - 1]!;
  const c = d[end]! * d[end]! + e[end - 1]! * e[end - 1]!;
  const half = (a - c) / 2;
  const root = Math.sqrt(half * half + b * b);
  const shift = c - (b * b) / (half + (half >= 0 ? root : -root) || 1);
  let y = d[start]! - shift / d[start]!;
  let z = e[start]!;
  for (let k = start; k < end; k++) {
    let r = Math.sqrt(y * y + z * z);
    let cos = r === 0 ? 1 : y / r;
    let sin = r === 0 ? 0 : z / r;
    if (k > start) e[k - 1] = r;
    y = cos * d[k]! + sin * e[k]!;
    e[k] = cos * e[k]! - sin * d[k]!;
    z = sin * d[k + 1]!;
    d[k + 1]! *= cos;
    turnRight(k, k + 1, cos, sin);
    r = Math.sqrt(y * y + z * z);
    cos = r === 0 ? 1 : y / r;
    sin = r === 0 ? 0 : z / r;
    d[k] = r;
    y = cos * e[k]! + sin * d[k + 1]!;
    d[k + 1] = cos * d[k + 1]! - sin * e[k]!;
    if (k + 1 < end) {
      z = sin * e[k + 1]!;
      e[k + 1]! *= cos;
    }
    turnLeft(k, k + 1, cos, sin);
    e[k] = y;
  }
}

/** A zero on the diagonal: its row becomes zero too. */
function clearRow(
  d: Float64Array,
  e: Float64Array,
  zero: number,
  end: number,
  turnLeft: Turn,
): void {
  d[zero] = 0;
  let bulge = e[zero]!;
  e[zero] = 0;
  for (let k = zero + 1; k <= end && Math.abs(bulge) > FLOOR; k++) {
    const r = Math.sqrt(d[k]! * d[k]! + bulge * bulge);
    const [cos, sin] = [d[k]! / r, bulge / r];
    d[k] = r;
    turnLeft(k, zero, cos, sin);
    if (k === end) break;
    bulge = -sin * e[k]!;
    e[k]! *= cos;
  }
}

/** A zero at the end of the diagonal: its column becomes zero too. */
function clearColumn(
  d: Float64Array,
  e: Float64Array,
  start: number,
  end: number,
  turnRight: Turn,
): void {
  d[end] = 0;
  let bulge = e[end - 1]!;
  e[end - 1] = 0;
  for (let k = end - 1; k >= start && Math.abs(bulge) > FLOOR; k--) {
    const r = Math.sqrt(d[k]! * d[k]! + bulge * bulge);
    const [cos, sin] = [d[k]! / r, bulge / r];
    d[k] = r;
    turnRight(k, end, cos, sin);
    if (k === start) break;
    bulge = -sin * e[k - 1]!;
    e[k - 1]! *= cos;
  }
}

/** Blocks up to this size are solved directly. */
const LEAF = 24;

/**
 * Singular values and vectors by halves: without its middle row the matrix falls apart into two of its kind, whose
 * solutions are joined by {@link solveBordered} and products.
 *
 * Source: Gu & Eisenstat (1995), SIAM J Matrix Anal 16:79; LAPACK's dbdsdc for what is left alone.
 *
 * @param off - As long as the diagonal; a last entry of 0 makes the matrix square.
 */
export async function bidiagonalSvd(
  diagonal: Float64Array,
  off: Float64Array,
  linalg: Linalg,
): Promise<BidiagonalSvd> {
  const n = diagonal.length;
  if (n <= LEAF) return leaf(diagonal, off);
  const middle = n >> 1;
  const one = await bidiagonalSvd(diagonal.slice(0, middle), off.slice(0, middle), linalg);
  const two = await bidiagonalSvd(diagonal.slice(middle + 1), off.slice(middle + 1), linalg);
  return joined(one, two, diagonal[middle]!, off[middle]!, linalg);
}

function leaf(diagonal: Float64Array, off: Float64Array): BidiagonalSvd {
  const n = diagonal.length;
  const d = Float64Array.from(diagonal);
  const e = Float64Array.from(off.subarray(0, n - 1));
  const left = unit(n);
  const right = unit(n + 1);
  const turnLeft = turning(left, n);
  const turnRight = turning(right, n + 1);
  // What is right of the last column goes into the others from the last to the first.
  let bulge = off[n - 1]!;
  for (let k = n - 1; k >= 0 && Math.abs(bulge) > FLOOR; k--) {
    const r = Math.hypot(d[k]!, bulge);
    const [cos, sin] = [d[k]! / r, bulge / r];
    d[k] = r;
    turnRight(k, n, cos, sin);
    if (k === 0) break;
    bulge = -sin * e[k - 1]!;
    e[k - 1]! *= cos;
  }
  implicitQr(d, e, turnLeft, turnRight, (i) => {
    for (let at = i * (n + 1); at < (i + 1) * (n + 1); at++) right[at] = -right[at]!;
  });
  return inOrder(d, left, right);
}

function unit(n: number): Float64Array {
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i++) out[i * n + i] = 1;
  return out;
}

function turning(rows: Float64Array, n: number): Turn {
  return (i, j, c, s) => {
    for (let k = 0; k < n; k++) {
      const [x, y] = [rows[i * n + k]!, rows[j * n + k]!];
      rows[i * n + k] = c * x + s * y;
      rows[j * n + k] = c * y - s * x;
    }
  };
}

function inOrder(values: Float64Array, left: Float64Array, right: Float64Array): BidiagonalSvd {
  const n = values.length;
  const order = Array.from(values.keys()).sort((i, j) => values[i]! - values[j]!);
  const sortedLeft = new Float64Array(left.length);
  const sortedRight = Float64Array.from(right);
  order.forEach((from, to) => {
    sortedLeft.set(left.subarray(from * n, (from + 1) * n), to * n);
    sortedRight.set(right.subarray(from * (n + 1), (from + 1) * (n + 1)), to * (n + 1));
  });
  return {
    values: Float64Array.from(order, (i) => values[i]!),
    left: sortedLeft,
    right: sortedRight,
  };
}

/** Rows of vectors, of which some are 0 in the first or in the second part of their entries. */
interface Rows {
  readonly data: Float64Array;
  readonly width: number;
  /** Where the second part starts. */
  readonly split: number;
  readonly inFirst: Uint8Array;
  readonly inSecond: Uint8Array;
}

/**
 * Both halves and the row between them. In the halves' vectors the matrix is diag(0, values) with z as its first row; what that row
 * does not touch, to rounding, is left alone.
 */
async function joined(
  one: BidiagonalSvd,
  two: BidiagonalSvd,
  alpha: number,
  beta: number,
  linalg: Linalg,
): Promise<BidiagonalSvd> {
  const [n1, n2] = [one.values.length, two.values.length];
  const n = n1 + 1 + n2;
  const left = emptyRows(n, n, n1 + 1);
  const right = emptyRows(n + 1, n + 1, n1 + 1);
  const values = new Float64Array(n);
  const z = new Float64Array(n);
  left.data[n1] = 1;
  left.inFirst[0] = 1;
  z[0] = joinNull(one, two, alpha, beta, right, n);
  mergeOrder(one.values, two.values).forEach((from, at) => {
    const to = at + 1;
    const first = from < n1;
    const [own, row, count] = first ? [one, from, n1] : [two, from - n1, n2];
    const u = own.left.subarray(row * count, (row + 1) * count);
    const v = own.right.subarray(row * (count + 1), (row + 1) * (count + 1));
    left.data.set(u, to * n + (first ? 0 : n1 + 1));
    right.data.set(v, to * (n + 1) + (first ? 0 : n1 + 1));
    values[to] = own.values[row]!;
    z[to] = first ? alpha * v[n1]! : beta * v[0]!;
    for (const rows of [left, right]) (first ? rows.inFirst : rows.inSecond)[to] = 1;
  });
  const kept = deflate(values, z, Math.max(Math.abs(alpha), Math.abs(beta)), left, right);
  if (kept.length === 1) {
    values[0] = z[0]!;
    return inOrder(values, left.data, right.data);
  }
  const solved = solveBordered(
    Float64Array.from(kept, (i) => values[i]!),
    Float64Array.from(kept, (i) => z[i]!),
  );
  await turnKept(left, kept, solved.left, linalg);
  await turnKept(right, kept, solved.right, linalg);
  kept.forEach((to, j) => {
    values[to] = solved.values[j]!;
  });
  return inOrder(values, left.data, right.data);
}

function emptyRows(count: number, width: number, split: number): Rows {
  const data = new Float64Array(count * width);
  return { data, width, split, inFirst: new Uint8Array(count), inSecond: new Uint8Array(count) };
}

/** Both halves take one vector to 0. The middle row sees one mixture of them, row 0, and not the other, the last row. */
function joinNull(
  one: BidiagonalSvd,
  two: BidiagonalSvd,
  alpha: number,
  beta: number,
  right: Rows,
  n: number,
): number {
  const [n1, n2] = [one.values.length, two.values.length];
  const a = one.right.subarray(n1 * (n1 + 1));
  const b = two.right.subarray(n2 * (n2 + 1));
  const [x, y] = [alpha * a[n1]!, beta * b[0]!];
  const length = Math.hypot(x, y);
  const [c, s] = length < FLOOR ? [1, 0] : [x / length, y / length];
  const last = n * (n + 1);
  for (let k = 0; k <= n1; k++) {
    right.data[k] = c * a[k]!;
    right.data[last + k] = -s * a[k]!;
  }
  for (let k = 0; k <= n2; k++) {
    right.data[n1 + 1 + k] = s * b[k]!;
    right.data[last + n1 + 1 + k] = c * b[k]!;
  }
  right.inFirst[0] = right.inSecond[0] = 1;
  return length;
}

function mergeOrder(a: Float64Array, b: Float64Array): number[] {
  const order: number[] = [];
  let j = 0;
  for (let i = 0; i < a.length; i++) {
    while (j < b.length && b[j]! < a[i]!) order.push(a.length + j++);
    order.push(i);
  }
  while (j < b.length) order.push(a.length + j++);
  return order;
}

/** What the first row touches, turning pairs of nearly equal values so that it touches one of them only. Row 0 always is. */
function deflate(
  values: Float64Array,
  z: Float64Array,
  most: number,
  left: Rows,
  right: Rows,
): number[] {
  const n = values.length;
  const least = Math.max(8 * Number.EPSILON * Math.max(values[n - 1]!, most), FLOOR);
  const kept = [0];
  for (let i = 1; i < n; i++) {
    if (Math.abs(z[i]!) <= least) continue;
    const p = kept[kept.length - 1]!;
    if (p > 0 && values[i]! - values[p]! <= least) {
      const length = Math.hypot(z[i]!, z[p]!);
      const [c, s] = [z[i]! / length, -z[p]! / length];
      z[i] = length;
      for (const { data, width, inFirst, inSecond } of [left, right]) {
        turning(data, width)(p, i, c, s);
        for (const part of [inFirst, inSecond]) part[i] = part[p] = part[i]! | part[p]!;
      }
      kept.pop();
    }
    kept.push(i);
  }
  // Below this neither the first row nor a value next to the 0 of row 0 can be told from 0.
  const first = kept[1];
  if (first !== undefined) {
    z[0] = Math.max(z[0]!, least);
    values[first] = Math.max(values[first]!, least / 2);
  }
  return kept;
}

/** The kept rows become mixtures of themselves, part by part. */
async function turnKept(
  { data, width, split, inFirst, inSecond }: Rows,
  kept: readonly number[],
  mixture: Float64Array,
  linalg: Linalg,
): Promise<void> {
  const k = kept.length;
  const parts = [
    { from: 0, to: split, within: inFirst },
    { from: split, to: width, within: inSecond },
  ];
  for (const { from, to, within } of parts) {
    const used = kept.map((_, at) => at).filter((at) => within[kept[at]!] === 1);
    const own = new Float64Array(k * used.length);
    for (let i = 0; i < k; i++) {
      for (let j = 0; j < used.length; j++) own[i * used.length + j] = mixture[i * k + used[j]!]!;
    }
    const rows = new Float64Array(used.length * (to - from));
    used.forEach((at, j) => {
      const row = kept[at]! * width;
      rows.set(data.subarray(row + from, row + to), j * (to - from));
    });
    const turned = await linalg.matmul(
      matrix(own, k, used.length),
      matrix(rows, used.length, to - from),
    );
    kept.forEach((row, j) => {
      const part = turned.data.subarray(j * (to - from), (j + 1) * (to - from));
      data.set(part, row * width + from);
    });
  }
}
