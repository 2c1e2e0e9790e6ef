import type { Linalg } from "./linalg.ts";
import { type Matrix, matrix } from "./matrix.ts";
import { type Panel, reflection } from "./reflections.ts";
import { borrowKernels, returnKernels, type VectorKernels } from "./vectorKernels.ts";

/** Columns and rows reduced before the rest of the matrix is updated by one product. */
const PANEL = 32;

/** A = Q B P^T, B with its values on the diagonal and right above it. */
export interface Bidiagonal {
  /** `[n]` */
  readonly diagonal: Float64Array;
  /** `[n - 1]` */
  readonly off: Float64Array;
  /** Q, as reflections of `nRows` entries. */
  readonly left: readonly Panel[];
  /** P, as reflections of `nColumns` entries. */
  readonly right: readonly Panel[];
}

/** Where things lie in the kernels' memory. Every length has zeros behind it, so that counts may be rounded up. */
interface Places {
  readonly kernels: VectorKernels;
  readonly m: number;
  readonly n: number;
  /** From a row of the matrix to the next, and of y and u. */
  readonly wide: number;
  /** From a row of v and x to the next. */
  readonly tall: number;
  readonly v: number;
  readonly x: number;
  readonly y: number;
  readonly u: number;
  readonly column: number;
  readonly numbers: number;
}

/**
 * Reflections from both sides that make a tall matrix bidiagonal: in panels, A - V Y^T - X U^T being what the
 * reflections of a panel leave, so that half of the work is one product per panel.
 *
 * Source: Dongarra, Hammarling & Sorensen (1989), J Comput Appl Math 27 (LAPACK's dlabrd).
 *
 * @param a - `[m, n]`, m >= n >= 1, entries of about 1 at most.
 */
export async function bidiagonalize(
  { data, nRows: m, nColumns: n }: Matrix<Float64Array>,
  linalg: Linalg,
): Promise<Bidiagonal> {
  const places = room(m, n);
  const { wide, tall } = places;
  const { memory } = places.kernels;
  for (let i = 0; i < m; i++) memory.set(data.subarray(i * n, (i + 1) * n), i * wide);
  const diagonal = new Float64Array(n);
  const off = new Float64Array(n - 1);
  const left: Panel[] = [];
  const right: Panel[] = [];
  for (let from = 0; from < n; from += PANEL) {
    const to = Math.min(n, from + PANEL);
    const width = to - from;
    memory.fill(0, places.v, places.numbers);
    const tauLeft = new Float64Array(width);
    const tauRight = new Float64Array(width);
    for (let i = from; i < to; i++) {
      const byColumn = reduceColumn(places, i, i - from);
      diagonal[i] = byColumn.head;
      tauLeft[i - from] = byColumn.tau;
      if (i === n - 1) continue;
      const byRow = reduceRow(places, i, i - from);
      off[i] = byRow.head;
      tauRight[i - from] = byRow.tau;
    }
    left.push({ v: copied(memory, places.v, tall, width, m), tau: tauLeft, start: from });
    if (from + 1 < n) {
      const v = copied(memory, places.u, wide, width, n);
      right.push({ v, tau: tauRight, start: from + 1 });
    }
    if (to < n) await updateRest(places, to, width, linalg);
  }
  returnKernels(places.kernels);
  return { diagonal, off, left, right };
}

function room(m: number, n: number): Places {
  const wide = even(n + 1);
  const tall = even(m + 3);
  const v = (m + 3) * wide;
  const x = v + PANEL * tall;
  const y = x + PANEL * tall;
  const u = y + PANEL * wide;
  const column = u + PANEL * wide;
  const numbers = column + tall;
  return { kernels: borrowKernels(numbers + 4), m, n, wide, tall, v, x, y, u, column, numbers };
}

function even(n: number): number {
  return n + (n % 2);
}

/** Column i as the panel's earlier reflections leave it, its own reflection v, and y = tau (A^T v - Y V^T v - U X^T v). */
function reduceColumn(places: Places, i: number, at: number): { tau: number; head: number } {
  const { kernels, m, n, wide, tall } = places;
  const { memory } = kernels;
  const column = memory.subarray(places.column, places.column + tall);
  for (let r = i; r < m; r++) column[r] = memory[r * wide + i]!;
  const [byV, byX] = [new Float64Array(at), new Float64Array(at)];
  for (let p = 0; p < at; p++) {
    byV[p] = memory[places.y + p * wide + i]!;
    byX[p] = memory[places.u + p * wide + i]!;
  }
  const long = even(m - i);
  subtract(places, places.column + i, places.v + i, places.x + i, tall, byV, byX, long);
  const own = places.v + at * tall;
  const found = reflection(column, i, m, memory.subarray(own, own + tall));
  if (found.tau === 0 || i === n - 1) return found;
  const y = places.y + at * wide + i + 1;
  const wideRest = even(n - i - 1);
  for (let r = i; r < m; r += 4) kernels.addFour(r * wide + i + 1, wide, y, wideRest, own + r);
  for (let p = 0; p < at; p++) {
    const there = p * tall + i;
    kernels.dots(own + i, places.v + there, places.x + there, long, places.numbers);
    byV[p] = memory[places.numbers]!;
    byX[p] = memory[places.numbers + 1]!;
  }
  subtract(places, y, places.y + i + 1, places.u + i + 1, wide, byV, byX, wideRest);
  for (let c = y; c < y + wideRest; c++) memory[c]! *= found.tau;
  return found;
}

/** Row i, its own reflection u, and x = tau (A u - V Y^T u - X U^T u). */
function reduceRow(places: Places, i: number, at: number): { tau: number; head: number } {
  const { kernels, m, n, wide, tall } = places;
  const { memory } = kernels;
  const row = i * wide;
  const start = i + 1;
  const rest = even(n - start);
  // The row has its own y already, but no x yet: that factor stays 0.
  const [byY, byU] = [new Float64Array(at + 1), new Float64Array(at + 1)];
  for (let p = 0; p <= at; p++) {
    byY[p] = memory[places.v + p * tall + i]!;
    byU[p] = memory[places.x + p * tall + i]!;
  }
  subtract(places, row + start, places.y + start, places.u + start, wide, byY, byU, rest);
  const own = places.u + at * wide;
  const found = reflection(memory.subarray(row, row + n), start, n, memory.subarray(own, own + n));
  if (found.tau === 0 || start === m) return found;
  const x = places.x + at * tall;
  for (let r = start; r < m; r += 4) {
    kernels.fourDots(r * wide + start, wide, own + start, rest, x + r);
  }
  for (let p = 0; p <= at; p++) {
    const there = p * wide + start;
    kernels.dots(own + start, places.y + there, places.u + there, rest, places.numbers);
    byY[p] = memory[places.numbers]!;
    byU[p] = p < at ? memory[places.numbers + 1]! : 0;
  }
  const long = even(m - start);
  subtract(places, x + start, places.v + start, places.x + start, tall, byY, byU, long);
  for (let r = x + start; r < x + start + long; r++) memory[r]! *= found.tau;
  return found;
}

/** target -= sum_p byA_p a_p + byB_p b_p, two p at a time; rows of a and b are `stride` apart. */
function subtract(
  { kernels: { memory, subtractTwo }, numbers }: Places,
  target: number,
  a: number,
  b: number,
  stride: number,
  byA: Float64Array,
  byB: Float64Array,
  count: number,
): void {
  for (let p = 0; p < byA.length; p += 2) {
    memory[numbers] = byA[p]!;
    memory[numbers + 1] = byB[p]!;
    memory[numbers + 2] = byA[p + 1] ?? 0;
    memory[numbers + 3] = byB[p + 1] ?? 0;
    const next = p + 1 < byA.length ? stride : 0;
    subtractTwo(target, a + p * stride, b + p * stride, next, count, numbers);
  }
}

/** A -= V Y^T + X U^T on rows and columns from `start`, by one product. */
async function updateRest(
  places: Places,
  start: number,
  width: number,
  linalg: Linalg,
): Promise<void> {
  const { m, n, wide, tall } = places;
  const { memory } = places.kernels;
  const [high, broad] = [m - start, n - start];
  const left = new Float64Array(2 * width * high);
  left.set(copied(memory, places.v + start, tall, width, high));
  left.set(copied(memory, places.x + start, tall, width, high), width * high);
  const right = new Float64Array(2 * width * broad);
  right.set(copied(memory, places.y + start, wide, width, broad));
  right.set(copied(memory, places.u + start, wide, width, broad), width * broad);
  const { data } = await linalg.matmul(
    matrix(left, 2 * width, high),
    matrix(right, 2 * width, broad),
    { transposeA: true },
  );
  for (let r = 0; r < high; r++) {
    const at = (start + r) * wide + start;
    for (let c = 0; c < broad; c++) memory[at + c]! -= data[r * broad + c]!;
  }
}

/** `[count, length]` from rows that are `stride` apart. */
function copied(
  memory: Float64Array,
  at: number,
  stride: number,
  count: number,
  length: number,
): Float64Array {
  const out = new Float64Array(count * length);
  for (let p = 0; p < count; p++) {
    const row = at + p * stride;
    out.set(memory.subarray(row, row + length), p * length);
  }
  return out;
}
