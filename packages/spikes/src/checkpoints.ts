import { ArgumentError, DataError, ShapeError } from "@penfield/core";
import { type Matrix, symmetricEigen, thinSvd } from "@penfield/linalg";
import { pearson } from "@penfield/stats";
import { checkCount, checkFinite, checkNotNegative } from "./check.ts";
import { gramOfColumns, gramOfRows } from "./gram.ts";

/** What training did to a weight matrix. */
export interface WeightChange {
  /** after - before. */
  readonly difference: Matrix<Float64Array>;
  /** Frobenius norm of the difference. */
  readonly norm: number;
  /** That over the norm before; infinity if it was 0. */
  readonly relativeNorm: number;
  /** Cosine of the angle between both; NaN if one is 0. */
  readonly cosine: number;
  /** Pearson's correlation of the weights before and after; NaN if one does not vary. */
  readonly correlation: number;
  /** Share of weights that changed sign, among those not 0 before or after. */
  readonly signFlips: number;
  /** Share of weights at most `zero` in size. */
  readonly sparsity: { readonly before: number; readonly after: number };
  /** exp of the entropy of the squared singular values' shares; of the difference: over how many directions it spreads. */
  readonly effectiveRank: {
    readonly before: number;
    readonly after: number;
    readonly difference: number;
  };
}

/**
 * How a weight matrix changed between two checkpoints.
 *
 *   effective rank = exp(-sum p_i ln p_i),  p_i = s_i^2 / sum s^2,  s = singular values
 *
 * @param before - `[nPost, nPre]`, finite.
 * @param after - The same shape.
 * @param options.zero - Weights of at most this size count as absent. Default 0.
 * @returns Sizes, angle, sparsity and ranks; effective rank NaN of a matrix of zeros.
 * @throws {ShapeError} if the shapes differ or are empty.
 * @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if zero is negative.
 *
 * Cost: O(nPost nPre min(nPost, nPre)), for the ranks.
 * Source: effective rank with squared singular values, after Roy & Vetterli (2007), EUSIPCO 606-610.
 *
 * @example
 * const w = (...data) => ({ data: Float64Array.from(data), nRows: 2, nColumns: 2 });
 * const { relativeNorm, effectiveRank } = weightChange(w(3, 0, 0, 4), w(3, 0, 0, 9));
 * relativeNorm // => 1
 * effectiveRank.difference // => 1
 */
export function weightChange(
  before: Matrix,
  after: Matrix,
  { zero = 0 }: { zero?: number } = {},
): WeightChange {
  const name = "weightChange";
  checkSameShape(name, before, after);
  checkNotNegative(name, "zero", zero);
  const n = before.data.length;
  const data = Float64Array.from(before.data, (v, i) => after.data[i]! - v);
  let [bb, aa, ab, dd] = [0, 0, 0, 0];
  let [flips, both, zeroBefore, zeroAfter] = [0, 0, 0, 0];
  for (let i = 0; i < n; i++) {
    const [b, a] = [before.data[i]!, after.data[i]!];
    bb += b * b;
    aa += a * a;
    ab += a * b;
    dd += data[i]! ** 2;
    if (Math.abs(b) <= zero) zeroBefore++;
    if (Math.abs(a) <= zero) zeroAfter++;
    if (b !== 0 && a !== 0) {
      both++;
      if (b > 0 !== a > 0) flips++;
    }
  }
  const { nRows, nColumns } = before;
  const difference = { data, nRows, nColumns };
  return {
    difference,
    norm: Math.sqrt(dd),
    relativeNorm: dd === 0 ? 0 : Math.sqrt(dd / bb),
    cosine: aa === 0 || bb === 0 ? Number.NaN : Math.max(-1, Math.min(1, ab / Math.sqrt(aa * bb))),
    correlation: n < 2 ? Number.NaN : pearson(before.data, after.data),
    signFlips: both === 0 ? 0 : flips / both,
    sparsity: { before: zeroBefore / n, after: zeroAfter / n },
    effectiveRank: {
      before: effectiveRank(before),
      after: effectiveRank(after),
      difference: effectiveRank(difference),
    },
  };
}

function checkSameShape(name: string, a: Matrix, b: Matrix): void {
  if (a.nRows !== b.nRows || a.nColumns !== b.nColumns || a.data.length === 0) {
    throw new ShapeError(
      `${name}: expected weights of one shape, got ${a.nRows} x ${a.nColumns} and ${b.nRows} x ${b.nColumns}`,
    );
  }
  checkFinite(name, "weights", a.data);
  checkFinite(name, "weights", b.data);
}

/** a a^T or a^T a. */
function gram({ data, nRows, nColumns }: Matrix, side: "rows" | "columns"): Matrix<Float64Array> {
  const n = side === "rows" ? nRows : nColumns;
  const of = side === "rows" ? gramOfRows : gramOfColumns;
  return { data: of(Float64Array.from(data), nRows, nColumns), nRows: n, nColumns: n };
}

function effectiveRank(w: Matrix): number {
  const { values } = symmetricEigen(gram(w, w.nRows <= w.nColumns ? "rows" : "columns"), {
    vectors: false,
  });
  const squares = values.map((v) => Math.max(0, v));
  const total = squares.reduce((sum, v) => sum + v, 0);
  if (total === 0) return Number.NaN;
  let entropy = 0;
  for (const v of squares) if (v > 0) entropy -= (v / total) * Math.log(v / total);
  return Math.exp(entropy);
}

/** How two subspaces lie to each other. */
export interface SubspaceOverlap {
  /** Mean squared cosine of the principal angles: 0 (orthogonal) to 1 (the same). */
  readonly overlap: number;
  /** What two random subspaces have on average: k / n. */
  readonly chance: number;
  /** Ascending, in radians, `[k]`. */
  readonly angles: Float64Array;
}

/**
 * How much the main directions of two weight matrices (or of activity) overlap: what HLOP-SNN keeps apart between tasks.
 *
 *   overlap = (1 / k) ||U_a^T U_b||_F^2 = mean cos^2 of the principal angles,  U = the k leading singular vectors
 *
 * @param a - `[nPost, nPre]`, finite.
 * @param b - As many rows (for `output`) or columns (for `input`).
 * @param options.nDirections - k, at most the rank of both.
 * @param options.side - `input`: directions of what is read (right singular vectors), as the weights see their input.
 *   `output`: of what is written (left ones). Default input.
 * @returns Overlap, chance, and the angles.
 * @throws {ShapeError} if the sizes on that side differ.
 * @throws {ArgumentError} if nDirections is out of range or side unknown.
 * @throws {DataError} if a value is not finite or a matrix has a lower rank.
 *
 * Cost: one eigenvalue problem per matrix, of its smaller size.
 * Source: Björck & Golub (1973), Math Comput 27:579-594; Xiao et al. (2024), ICLR (HLOP-SNN).
 *
 * @example
 * const w = (...data) => ({ data: Float64Array.from(data), nRows: 1, nColumns: 3 });
 * subspaceOverlap(w(1, 0, 0), w(1, 1, 0), { nDirections: 1 }).overlap.toFixed(3) // => "0.500"
 */
export function subspaceOverlap(
  a: Matrix,
  b: Matrix,
  { nDirections, side = "input" }: { nDirections: number; side?: "input" | "output" },
): SubspaceOverlap {
  const name = "subspaceOverlap";
  if (side !== "input" && side !== "output") {
    throw new ArgumentError(`${name}: expected side input or output, got ${side}`);
  }
  const sizeOf = (w: Matrix): number => (side === "input" ? w.nColumns : w.nRows);
  const n = sizeOf(a);
  if (n !== sizeOf(b) || a.data.length === 0 || b.data.length === 0) {
    throw new ShapeError(
      `${name}: expected as many ${side === "input" ? "columns" : "rows"}, got ${n} and ${sizeOf(b)}`,
    );
  }
  checkFinite(name, "weights", a.data);
  checkFinite(name, "weights", b.data);
  checkCount(name, "nDirections", nDirections, 1);
  const ofA = leading(name, a, side, nDirections);
  const ofB = leading(name, b, side, nDirections);
  const k = nDirections;
  const cross = new Float64Array(k * k);
  for (let i = 0; i < k; i++) {
    for (let j = 0; j < k; j++) {
      for (let l = 0; l < n; l++) cross[i * k + j]! += ofA[i * n + l]! * ofB[j * n + l]!;
    }
  }
  const cosines = thinSvd({ data: cross, nRows: k, nColumns: k }).s.map((c) => Math.min(1, c));
  const overlap = cosines.reduce((sum, c) => sum + c * c, 0) / k;
  return { overlap, chance: k / n, angles: cosines.map(Math.acos) };
}

/** The k leading singular vectors of a side, as rows. */
function leading(name: string, w: Matrix, side: "input" | "output", k: number): Float64Array {
  const n = side === "input" ? w.nColumns : w.nRows;
  const other = side === "input" ? w.nRows : w.nColumns;
  if (k > Math.min(n, other)) {
    throw new ArgumentError(
      `${name}: expected at most ${Math.min(n, other)} directions of a ${w.nRows} x ${w.nColumns} matrix, got ${k}`,
    );
  }
  const own = side === "input" ? "columns" : "rows";
  const across = side === "input" ? "rows" : "columns";
  const direct = n <= other;
  const { values, vectors } = symmetricEigen(gram(w, direct ? own : across));
  if (!(values[k - 1]! > values[0]! * 1e-13 * n)) {
    throw new DataError(`${name}: expected a rank of at least ${k}, got less`, {
      hint: "Ask for fewer directions.",
    });
  }
  if (direct) return vectors.data.slice(0, k * n);
  // v = w^T u / s: from the vectors of the smaller side to those asked for.
  const out = new Float64Array(k * n);
  for (let i = 0; i < k; i++) {
    const s = Math.sqrt(values[i]!);
    for (let l = 0; l < n; l++) {
      let sum = 0;
      for (let m = 0; m < other; m++) {
        const value = side === "input" ? w.data[m * n + l]! : w.data[l * other + m]!;
        sum += value * vectors.data[i * other + m]!;
      }
      out[i * n + l] = sum / s;
    }
  }
  return out;
}
