import type { Linalg } from "./linalg.ts";
import { checkSquareFinite, type Matrix } from "./matrix.ts";
import { type Panel, reflectBack, reflection } from "./reflections.ts";
import { solveSecular } from "./secular.ts";
import { implicitQl, type SymmetricEigen, symmetricEigen } from "./symmetricEigen.ts";
import { borrowKernels, returnKernels, type VectorKernels } from "./vectorKernels.ts";

/** Below this, plain code is faster. */
const SMALL = 96;
/** Columns reduced before the rest of the matrix is updated by products. */
const PANEL = 32;
/** Rows updated by one product. */
const STRIP = 256;

/**
 * As {@link symmetricEigen}, for matrices of any size: most of the work is matrix products on onnxruntime.
 *
 * Blocked Householder reflections make the matrix tridiagonal; values alone come from the QL algorithm, with vectors the
 * tridiagonal matrix is divided in halves whose solutions are joined by a rank-one update, which costs products only.
 *
 * @param a - `[n, n]`, symmetric, finite; only its lower triangle is read.
 * @param options.vectors - Default true.
 * @returns Values descending, vectors as rows. The error of a value is about eps times the largest; vectors are orthonormal to rounding.
 * @throws {ShapeError} if the matrix is not square.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: 4/3 n^3 operations, half of them in plain code; with vectors 6 n^3 more on onnxruntime. Memory: five n x n matrices.
 * Source: Dongarra, Hammarling & Sorensen (1989); Cuppen (1981), Numer. Math. 36; Gu & Eisenstat (1995), SIAM J Matrix Anal 16.
 *
 * @example
 * const linalg = createLinalg();
 * (await eigenSymmetric(matrix(Float64Array.of(2, 1, 1, 2), 2, 2), linalg)).values.map(Math.round).join(" ") // => "3 1"
 */
export async function eigenSymmetric(
  a: Matrix,
  linalg: Linalg,
  { vectors: wanted = true }: { vectors?: boolean } = {},
): Promise<SymmetricEigen> {
  if (linalg.lapack) {
    checkSquareFinite("eigenSymmetric", a);
    return linalg.lapack.eigenSymmetric(a, wanted);
  }
  if (a.nRows < SMALL || a.nRows !== a.nColumns) return symmetricEigen(a, { vectors: wanted });
  checkSquareFinite("eigenSymmetric", a);
  const n = a.nRows;
  let largest = 0;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) largest = Math.max(largest, Math.abs(a.data[i * n + j]!));
  }
  const scale = largest === 0 ? 1 : largest;
  const kernels = borrowKernels(n * n + 2 * PANEL * n + 4);
  const work = kernels.memory;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      work[i * n + j] = a.data[i * n + j]! / scale;
    }
  }
  const { diagonal, off, panels } = await tridiagonalize(kernels, n, linalg, wanted);
  returnKernels(kernels);
  if (!wanted) {
    const values = tridiagonalValues(diagonal, off).sort().reverse();
    return {
      values: values.map((v) => v * scale),
      vectors: { data: new Float64Array(0), nRows: 0, nColumns: 0 },
    };
  }
  const solved = await divideAndConquer(diagonal, off, linalg);
  const vectors = transposed(solved.vectors, n);
  await reflectBack(vectors, n, panels, linalg);
  const values = new Float64Array(n);
  const rows = transposed(vectors, n);
  for (let i = 0; i < n; i++) values[i] = solved.values[n - 1 - i]! * scale;
  for (let i = 0; i < n >> 1; i++) {
    const other = rows.slice((n - 1 - i) * n, (n - i) * n);
    rows.copyWithin((n - 1 - i) * n, i * n, (i + 1) * n);
    rows.set(other, i * n);
  }
  return { values, vectors: { data: rows, nRows: n, nColumns: n } };
}

/** The lower triangle of the matrix, `[n, n]`, at the start of the memory; after it room for a panel's v and w, and for 4 numbers. */
async function tridiagonalize(
  kernels: VectorKernels,
  n: number,
  linalg: Linalg,
  keepPanels: boolean,
): Promise<{ diagonal: Float64Array; off: Float64Array; panels: Panel[] }> {
  const diagonal = new Float64Array(n);
  const off = new Float64Array(Math.max(0, n - 1));
  const panels: Panel[] = [];
  const a = kernels.memory;
  const v = a.subarray(n * n, n * n + PANEL * n);
  const w = a.subarray(n * n + PANEL * n, n * n + 2 * PANEL * n);
  const room = new Float64Array(2 * PANEL * (n + STRIP));
  for (let from = 0; from < n - 1; from += PANEL) {
    const to = Math.min(n - 1, from + PANEL);
    const width = to - from;
    v.fill(0);
    w.fill(0);
    const tau = new Float64Array(width);
    const left = new Float64Array(width);
    const right = new Float64Array(width);
    // The panel's columns become rows, right of the diagonal.
    for (let r = from + 1; r < n; r++) {
      for (let i = from; i < Math.min(r, to); i++) a[i * n + r] = a[r * n + i]!;
    }
    for (let i = from; i < to; i++) {
      const at = i - from;
      const column = a.subarray(i * n, (i + 1) * n);
      // As earlier reflections of the panel leave it.
      for (let p = 0; p < at; p++) {
        left[p] = w[p * n + i]!;
        right[p] = v[p * n + i]!;
      }
      subtract(kernels, i * n, left, right, at, n, i);
      diagonal[i] = column[i]!;
      const own = v.subarray(at * n, (at + 1) * n);
      const found = reflection(column, i + 1, n, own);
      tau[at] = found.tau;
      off[i] = found.head;
      if (found.tau === 0) continue;
      secondFactor(kernels, n, i + 1, at, tau[at]!);
    }
    if (keepPanels) panels.push({ v: v.slice(0, width * n), tau, start: from + 1 });
    await updateRest(a, n, to, width, room, linalg);
  }
  diagonal[n - 1] = a[n * n - 1]!;
  return { diagonal, off, panels };
}

/** w = tau (A v - V W^T v - W V^T v), less half its part along v: then A - v w^T - w v^T is A reflected from both sides. */
function secondFactor(
  kernels: VectorKernels,
  n: number,
  start: number,
  at: number,
  tau: number,
): void {
  const { memory } = kernels;
  const [vs, ws] = [n * n, n * n + PANEL * n];
  const numbers = ws + PANEL * n;
  const v = memory.subarray(vs + at * n, vs + (at + 1) * n);
  const w = memory.subarray(ws + at * n, ws + (at + 1) * n);
  timesVector(kernels, n, start, vs + at * n, ws + at * n);
  const byV = new Float64Array(at);
  const byW = new Float64Array(at);
  // Both are 0 before `start`, where an even count may begin.
  const even = start - ((n - start) % 2);
  for (let p = 0; p < at; p++) {
    kernels.dots(vs + at * n + even, vs + p * n + even, ws + p * n + even, n - even, numbers);
    byW[p] = memory[numbers]!;
    byV[p] = memory[numbers + 1]!;
  }
  subtract(kernels, ws + at * n, byV, byW, at, n, start);
  let along = 0;
  for (let r = start; r < n; r++) {
    w[r]! *= tau;
    along += w[r]! * v[r]!;
  }
  const half = (tau * along) / 2;
  for (let r = start; r < n; r++) w[r]! -= half * v[r]!;
}

/** x -= sum_p byV_p v_p + byW_p w_p from `start`, two p at a time; x is a place in the memory. */
function subtract(
  { memory, subtractTwo }: VectorKernels,
  x: number,
  byV: Float64Array,
  byW: Float64Array,
  count: number,
  n: number,
  start: number,
): void {
  const [v, w] = [n * n, n * n + PANEL * n];
  const numbers = w + PANEL * n;
  const odd = (n - start) % 2;
  for (let p = 0; p < count; p += 2) {
    // Past the last one is one that is still 0.
    const [a, b, c, d] = [byV[p]!, byW[p]!, byV[p + 1] ?? 0, byW[p + 1] ?? 0];
    const here = p * n;
    const next = p + 1 < count ? n : 0;
    memory[numbers] = a;
    memory[numbers + 1] = b;
    memory[numbers + 2] = c;
    memory[numbers + 3] = d;
    const at = here + start;
    if (odd === 1) {
      memory[x + start]! -=
        a * memory[v + at]! +
        b * memory[w + at]! +
        (c * memory[v + at + next]! + d * memory[w + at + next]!);
    }
    subtractTwo(x + start + odd, v + at + odd, w + at + odd, next, n - start - odd, numbers);
  }
}

/** out = A v over the rows and columns from `start`: four rows at a time, each entry below the diagonal read once for both its places. */
function timesVector(
  { memory, fourRows }: VectorKernels,
  n: number,
  start: number,
  v: number,
  out: number,
): void {
  const a = memory;
  const [vs, outs] = [memory.subarray(v, v + n), memory.subarray(out, out + n)];
  outs.fill(0, start);
  const rest = start + ((n - start) % 4);
  for (let i = start; i < rest; i++) timesRow(a, n, start, i, vs, outs);
  for (let i = rest; i < n; i += 4) {
    const odd = (i - start) % 2;
    for (let k = i; k < i + 4 && odd === 1; k++) {
      outs[k]! += a[k * n + start]! * vs[start]!;
      outs[start]! += a[k * n + start]! * vs[k]!;
    }
    const from = start + odd;
    fourRows(i * n + from, n, v + from, out + from, i - from, v + i, out + i);
    for (let k = i; k < i + 4; k++) timesRow(a, n, i, k, vs, outs);
  }
}

/** Row i of the lower triangle from column `from` on, for both places of its entries. */
function timesRow(
  a: Float64Array,
  n: number,
  from: number,
  i: number,
  v: Float64Array,
  out: Float64Array,
): void {
  let sum = a[i * n + i]! * v[i]!;
  for (let c = from; c < i; c++) {
    sum += a[i * n + c]! * v[c]!;
    out[c]! += a[i * n + c]! * v[i]!;
  }
  out[i]! += sum;
}

/**
 * A -= V W^T + W V^T on rows and columns from `start`, by products: strips of rows, each up to its diagonal, as only the lower
 * triangle is read later. Factors are put together in `room`, as allocating them anew would call the garbage collector often.
 */
async function updateRest(
  a: Float64Array,
  n: number,
  start: number,
  width: number,
  room: Float64Array,
  linalg: Linalg,
): Promise<void> {
  const [v, w] = [n * n, n * n + PANEL * n];
  for (let top = start; top < n; top += STRIP) {
    const end = Math.min(n, top + STRIP);
    const left = stacked(a, v, w, n, width, top, end, room.subarray(2 * PANEL * n));
    const right = stacked(a, w, v, n, width, start, end, room);
    const { data } = await linalg.matmul(left, right, { transposeA: true });
    for (let r = top; r < end; r++) {
      const row = r * n;
      const from = (r - top) * (end - start) - start;
      for (let c = start; c <= r; c++) a[row + c]! -= data[from + c]!;
    }
  }
}

/** Entries `from` to `to` of the rows at `one`, then of those at `two`. */
function stacked(
  memory: Float64Array,
  one: number,
  two: number,
  n: number,
  width: number,
  from: number,
  to: number,
  room: Float64Array,
): Matrix<Float64Array> {
  const nColumns = to - from;
  for (let p = 0; p < width; p++) {
    const [here, there] = [one + p * n, two + p * n];
    room.set(memory.subarray(here + from, here + to), p * nColumns);
    room.set(memory.subarray(there + from, there + to), (width + p) * nColumns);
  }
  return { data: room.subarray(0, 2 * width * nColumns), nRows: 2 * width, nColumns };
}

const TILE = 16;

/** By tiles: whole columns would not stay in the cache. */
function transposed(a: Float64Array, n: number): Float64Array {
  const out = new Float64Array(n * n);
  for (let rows = 0; rows < n; rows += TILE) {
    const end = Math.min(n, rows + TILE);
    for (let c = 0; c < n; c++) {
      for (let r = rows; r < end; r++) out[c * n + r] = a[r * n + c]!;
    }
  }
  return out;
}

/** Eigenvalues ascending, vectors as rows. */
interface Solved {
  readonly values: Float64Array;
  readonly vectors: Float64Array;
}

/** Blocks up to this size are solved directly. */
const LEAF = 32;

async function divideAndConquer(d: Float64Array, e: Float64Array, linalg: Linalg): Promise<Solved> {
  const n = d.length;
  if (n <= LEAF) return leaf(d, e);
  const m = n >> 1;
  const join = e[m - 1]!;
  const rho = Math.abs(join);
  const first = d.slice(0, m);
  const second = d.slice(m);
  first[m - 1]! -= rho;
  second[0]! -= rho;
  const one = await divideAndConquer(first, e.slice(0, m - 1), linalg);
  const two = await divideAndConquer(second, e.slice(m), linalg);
  return joined(one, two, rho, join < 0 ? -1 : 1, linalg);
}

/** QL goes from large to small values upwards: a matrix graded the other way is turned upside down. */
function isUpsideDown(d: Float64Array): boolean {
  return Math.abs(d[0]!) > Math.abs(d[d.length - 1]!);
}

/** Eigenvalues of a tridiagonal matrix, in no order. */
function tridiagonalValues(d: Float64Array, e: Float64Array): Float64Array {
  const down = isUpsideDown(d);
  const diagonal = down ? d.toReversed() : Float64Array.from(d);
  const off = down ? e.toReversed() : e;
  const values = Float64Array.from(diagonal);
  if (rootFreeQl(values, off)) return values;
  implicitQl(diagonal, off, undefined, d.length);
  return diagonal;
}

const MOST_SWEEPS = 60;

/**
 * QL without square roots on squares of the entries beside the diagonal, in place: three divisions per rotation.
 *
 * Source: Pal, Walker & Kahan, in Parlett (1998), The Symmetric Eigenvalue Problem, 8.15.
 *
 * @returns False if it does not converge.
 */
function rootFreeQl(d: Float64Array, off: Float64Array): boolean {
  const n = d.length;
  const squares = new Float64Array(n);
  for (let i = 0; i + 1 < n; i++) squares[i] = off[i]! * off[i]!;
  for (let l = 0; l < n; l++) {
    for (let sweep = 0; ; sweep++) {
      let m = l;
      while (m < n - 1) {
        const size = Number.EPSILON * (Math.abs(d[m]!) + Math.abs(d[m + 1]!));
        if (squares[m]! <= size * size) break;
        m++;
      }
      if (m < n - 1) squares[m] = 0;
      if (m === l) break;
      if (sweep === MOST_SWEEPS) return false;
      const root = Math.sqrt(squares[l]!);
      const ratio = (d[l + 1]! - d[l]!) / (2 * root);
      const length = Math.hypot(ratio, 1);
      const shift = d[l]! - root / (ratio + (ratio >= 0 ? length : -length));
      let c = 1;
      let s = 0;
      let gamma = d[m]! - shift;
      let p = gamma * gamma;
      for (let i = m - 1; i >= l; i--) {
        const b = squares[i]!;
        const r = p + b;
        if (i !== m - 1) squares[i + 1] = s * r;
        const before = c;
        c = p / r;
        s = b / r;
        const last = gamma;
        const here = d[i]!;
        gamma = c * (here - shift) - s * last;
        d[i + 1] = last + (here - gamma);
        p = c !== 0 ? (gamma * gamma) / c : before * b;
      }
      squares[l] = s * p;
      d[l] = shift + gamma;
    }
  }
  return true;
}

function leaf(d: Float64Array, e: Float64Array): Solved {
  const n = d.length;
  const down = isUpsideDown(d);
  const values = down ? d.toReversed() : Float64Array.from(d);
  const z = new Float64Array(n * n);
  // Rows of z become vectors; their entries are counted from the other end if the matrix is.
  for (let i = 0; i < n; i++) z[i * n + (down ? n - 1 - i : i)] = 1;
  implicitQl(values, down ? e.toReversed() : e, z, n);
  const order = Array.from(values.keys()).sort((i, j) => values[i]! - values[j]!);
  const vectors = new Float64Array(n * n);
  order.forEach((from, to) => {
    vectors.set(z.subarray(from * n, (from + 1) * n), to * n);
  });
  return { values: Float64Array.from(order, (i) => values[i]!), vectors };
}

/**
 * diag(one, two) + rho u u^T, u = last unit vector of one and +- first of two. What is already an eigenvector to
 * rounding is left alone; the rest is a secular equation and one product per half.
 */
async function joined(
  one: Solved,
  two: Solved,
  rho: number,
  sign: number,
  linalg: Linalg,
): Promise<Solved> {
  const [n1, n2] = [one.values.length, two.values.length];
  const n = n1 + n2;
  // Rows with room for both halves.
  const rows = new Float64Array(n * n);
  const values = new Float64Array(n);
  const z = new Float64Array(n);
  const inFirst = new Uint8Array(n);
  const inSecond = new Uint8Array(n);
  const order = mergeOrder(one.values, two.values);
  order.forEach((from, to) => {
    const isFirst = from < n1;
    const [own, at, width] = isFirst ? [one, from, n1] : [two, from - n1, n2];
    const vector = own.vectors.subarray(at * width, (at + 1) * width);
    rows.set(vector, to * n + (isFirst ? 0 : n1));
    values[to] = own.values[at]!;
    z[to] = (isFirst ? vector[n1 - 1]! : sign * vector[0]!) * Math.SQRT1_2;
    inFirst[to] = isFirst ? 1 : 0;
    inSecond[to] = isFirst ? 0 : 1;
  });
  const kept = deflate(rows, n, values, z, 2 * rho, inFirst, inSecond);
  const k = kept.length;
  if (k > 0) {
    const { values: roots, vectors } = solveSecular(
      Float64Array.from(kept, (i) => values[i]!),
      Float64Array.from(kept, (i) => z[i]!),
      2 * rho,
    );
    const left = await halfProduct(vectors, rows, n, kept, inFirst, 0, n1, linalg);
    const right = await halfProduct(vectors, rows, n, kept, inSecond, n1, n, linalg);
    kept.forEach((to, j) => {
      rows.set(left.subarray(j * n1, (j + 1) * n1), to * n);
      rows.set(right.subarray(j * n2, (j + 1) * n2), to * n + n1);
      values[to] = roots[j]!;
    });
  }
  const final = Array.from(values.keys()).sort((i, j) => values[i]! - values[j]!);
  const vectors = new Float64Array(n * n);
  final.forEach((from, to) => {
    vectors.set(rows.subarray(from * n, (from + 1) * n), to * n);
  });
  return { values: Float64Array.from(final, (i) => values[i]!), vectors };
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

/** Finds what the update does not touch, turning pairs of nearly equal values so that it touches one of them only. Gives the rest. */
function deflate(
  rows: Float64Array,
  n: number,
  values: Float64Array,
  z: Float64Array,
  rho: number,
  inFirst: Uint8Array,
  inSecond: Uint8Array,
): number[] {
  let size = 0;
  let most = 0;
  for (let i = 0; i < n; i++) {
    size = Math.max(size, Math.abs(values[i]!));
    most = Math.max(most, Math.abs(z[i]!));
  }
  const least = 8 * Number.EPSILON * Math.max(size, rho * most);
  const kept: number[] = [];
  for (let i = 0; i < n; i++) {
    if (rho * Math.abs(z[i]!) <= least) continue;
    const p = kept[kept.length - 1];
    if (p !== undefined) {
      const length = Math.hypot(z[i]!, z[p]!);
      const [c, s] = [z[i]! / length, -z[p]! / length];
      const gap = values[i]! - values[p]!;
      if (Math.abs(gap * c * s) <= least) {
        z[i] = length;
        z[p] = 0;
        for (let r = 0; r < n; r++) {
          const [x, y] = [rows[p * n + r]!, rows[i * n + r]!];
          rows[p * n + r] = c * x + s * y;
          rows[i * n + r] = c * y - s * x;
        }
        const [dp, di] = [values[p]!, values[i]!];
        values[p] = dp * c * c + di * s * s;
        values[i] = dp * s * s + di * c * c;
        for (const half of [inFirst, inSecond]) half[i] = half[p] = half[i]! | half[p]!;
        kept.pop();
      }
    }
    kept.push(i);
  }
  return kept;
}

/** New vectors' columns `from` to `to`, from the kept rows that are not zero there, `[k, to - from]`. */
async function halfProduct(
  secular: Float64Array,
  rows: Float64Array,
  n: number,
  kept: readonly number[],
  inHalf: Uint8Array,
  from: number,
  to: number,
  linalg: Linalg,
): Promise<Float64Array> {
  const k = kept.length;
  const used = kept.map((_, at) => at).filter((at) => inHalf[kept[at]!] === 1);
  const width = to - from;
  const m = used.length;
  const left = new Float64Array(k * m);
  for (let i = 0; i < k; i++) {
    for (let j = 0; j < m; j++) left[i * m + j] = secular[i * k + used[j]!]!;
  }
  const right = new Float64Array(m * width);
  used.forEach((at, j) => {
    right.set(rows.subarray(kept[at]! * n + from, kept[at]! * n + to), j * width);
  });
  const { data } = await linalg.matmul(
    { data: left, nRows: k, nColumns: m },
    { data: right, nRows: m, nColumns: width },
  );
  return data;
}
