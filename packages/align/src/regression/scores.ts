import type { FloatArray } from "@penfield/core";
import type { Matrix } from "@penfield/linalg";
import type { PenaltyBasis } from "./penaltyBasis.ts";
import type { RowRoom } from "./rowProducts.ts";

/** How good predictions of each target are; higher is better. Writes one value per target into `out`. */
export type ScoreFunction = (yTrue: Matrix, yHat: Matrix, out: Float64Array) => void;

/** The name of a score. */
export type RidgeScore = "l2" | "r2" | "correlation";

/** What a ridge model may choose its penalty by, himalaya's three. */
export const ridgeScores: Readonly<Record<RidgeScore, ScoreFunction>> = {
  /** Minus the mean squared error. */
  l2: (yTrue, yHat, out) => {
    const errors = squaredErrors(yTrue, yHat);
    for (let t = 0; t < out.length; t++) out[t] = -errors[t]! / yTrue.nRows;
  },
  /** 1 - SSE / SST; 0 if the target does not vary. */
  r2: (yTrue, yHat, out) => {
    const errors = squaredErrors(yTrue, yHat);
    const { squareTrue } = moments(yTrue, yTrue);
    for (let t = 0; t < out.length; t++) {
      out[t] = squareTrue[t] === 0 ? 0 : 1 - errors[t]! / squareTrue[t]!;
    }
  },
  /** Pearson's r; 0 if either does not vary. */
  correlation: (yTrue, yHat, out) => {
    const { squareTrue, squareHat, products } = moments(yTrue, yHat);
    for (let t = 0; t < out.length; t++) {
      const scale = Math.sqrt(squareTrue[t]!) * Math.sqrt(squareHat[t]!);
      out[t] = scale === 0 ? 0 : products[t]! / scale;
    }
  },
};

/** Sums over rows, [nTargets]; rows are read in order, for they are how the values lie in memory. */
function squaredErrors(yTrue: Matrix, yHat: Matrix): Float64Array {
  const { nRows, nColumns } = yTrue;
  const sums = new Float64Array(nColumns);
  for (let i = 0; i < nRows; i++) {
    const at = i * nColumns;
    for (let t = 0; t < nColumns; t++) {
      const error = yTrue.data[at + t]! - yHat.data[at + t]!;
      sums[t]! += error * error;
    }
  }
  return sums;
}

interface Moments {
  readonly squareTrue: Float64Array;
  readonly squareHat: Float64Array;
  readonly products: Float64Array;
}

/** Sums of squares and products about the means, [nTargets] each. */
function moments(yTrue: Matrix, yHat: Matrix): Moments {
  const { nRows, nColumns } = yTrue;
  const meanTrue = new Float64Array(nColumns);
  const meanHat = new Float64Array(nColumns);
  for (let i = 0; i < nRows; i++) {
    const at = i * nColumns;
    for (let t = 0; t < nColumns; t++) {
      meanTrue[t]! += yTrue.data[at + t]! / nRows;
      meanHat[t]! += yHat.data[at + t]! / nRows;
    }
  }
  const squareTrue = new Float64Array(nColumns);
  const squareHat = new Float64Array(nColumns);
  const products = new Float64Array(nColumns);
  for (let i = 0; i < nRows; i++) {
    const at = i * nColumns;
    for (let t = 0; t < nColumns; t++) {
      const a = yTrue.data[at + t]! - meanTrue[t]!;
      const b = yHat.data[at + t]! - meanHat[t]!;
      squareTrue[t]! += a * a;
      squareHat[t]! += b * b;
      products[t]! += a * b;
    }
  }
  return { squareTrue, squareHat, products };
}

/** Below this share of |y|^2 a squared error is not had from products, whose rounding it would drown in. */
const LEAST_SHARE = 1e-6;

/**
 * The score of every penalty from predictions of a few functions of it, each target on its own:
 *
 *   |y - sum_q c_q p_q|^2 = y y - 2 sum_q c_q (y p_q) + sum_qs c_q c_s (p_q p_s)
 *
 * @param y - `[nBatch, nTest]`, less the training means.
 * @param predicted - `[nBatch, r nTest]`.
 * @param out - Score `[alpha]` over the targets of the batch.
 * @param room - For products of float32.
 */
export function scorePenalties(
  score: RidgeScore,
  y: Matrix,
  predicted: Matrix,
  { count: r, combine }: PenaltyBasis,
  out: readonly Float64Array[],
  room: RowRoom,
): void {
  const n = y.nColumns;
  const own = y.data;
  const p = predicted.data;
  const products = productsOf(own, p, n, r, combine !== undefined, score !== "l2", room);
  for (let t = 0; t < y.nRows; t++) {
    const { withY, among, sums, ySum } = products(t);
    const yy = among[r * r]!;
    const ySquares = yy - (ySum * ySum) / n;
    for (let a = 0; a < out.length; a++) {
      let yp = 0;
      let pp = 0;
      let pSum = 0;
      if (combine === undefined) {
        yp = withY[a]!;
        pp = among[a * r + a]!;
        pSum = sums[a]!;
      } else {
        for (let q = 0; q < r; q++) {
          const c = combine[a * r + q]!;
          yp += c * withY[q]!;
          pSum += c * sums[q]!;
          for (let s = 0; s < q; s++) pp += 2 * c * combine[a * r + s]! * among[q * r + s]!;
          pp += c * c * among[q * r + q]!;
        }
      }
      if (score === "correlation") {
        const pSquares = pp - (pSum * pSum) / n;
        const scale = ySquares > 0 && pSquares > 0 ? Math.sqrt(ySquares) * Math.sqrt(pSquares) : 0;
        out[a]![t] = scale === 0 ? 0 : (yp - (ySum * pSum) / n) / scale;
        continue;
      }
      let error = yy - 2 * yp + pp;
      if (!(error > LEAST_SHARE * yy)) error = errorOf(own, t * n, p, t * r * n, n, r, a, combine);
      if (score === "l2") out[a]![t] = -error / n;
      else out[a]![t] = ySquares <= 0 ? 0 : 1 - error / ySquares;
    }
  }
}

/** Of one target; the same arrays for all. */
interface Products {
  /** y times each function's prediction, [r]. */
  readonly withY: Float64Array;
  /** Predictions among each other, lower triangle of [r, r] (only its diagonal if that is all that is needed), and y y. */
  readonly among: Float64Array;
  /** Of each prediction, [r]; zeros where they are not needed. */
  readonly sums: Float64Array;
  readonly ySum: number;
}

function productsOf(
  y: FloatArray,
  p: FloatArray,
  n: number,
  r: number,
  all: boolean,
  withSums: boolean,
  room: RowRoom,
): (target: number) => Products {
  const withY = new Float64Array(r);
  const among = new Float64Array(r * r + 1);
  const sums = new Float64Array(r);
  if (!(y instanceof Float32Array && p instanceof Float32Array)) {
    return (t) => {
      const [yAt, pAt] = [t * n, t * r * n];
      among[r * r] = dot(y, yAt, y, yAt, n);
      for (let q = 0; q < r; q++) {
        withY[q] = dot(y, yAt, p, pAt + q * n, n);
        if (withSums) sums[q] = sumOf(p, pAt + q * n, n);
        for (let s = all ? 0 : q; s <= q; s++) {
          among[q * r + s] = dot(p, pAt + q * n, p, pAt + s * n, n);
        }
      }
      return { withY, among, sums, ySum: withSums ? sumOf(y, yAt, n) : 0 };
    };
  }
  // Rows: predictions, then y, then ones.
  const rows = room(r + 2, n);
  rows.set(r + 1, new Float32Array(n).fill(1));
  return (t) => {
    rows.set(r, y.subarray(t * n, (t + 1) * n));
    for (let q = 0; q < r; q++) rows.set(q, p.subarray((t * r + q) * n, (t * r + q + 1) * n));
    for (let q = 0; q < r; q++) {
      const last = q >> 2;
      for (let g = all ? 0 : last; g <= last; g++) rows.four(q, g);
      for (let s = all ? 0 : q; s <= q; s++) among[q * r + s] = rows.sums[s]!;
    }
    for (let g = 0; g <= r >> 2; g++) rows.four(r, g);
    for (let q = 0; q < r; q++) withY[q] = rows.sums[q]!;
    among[r * r] = rows.sums[r]!;
    if (!withSums) return { withY, among, sums, ySum: 0 };
    for (let g = 0; g <= r >> 2; g++) rows.four(r + 1, g);
    for (let q = 0; q < r; q++) sums[q] = rows.sums[q]!;
    return { withY, among, sums, ySum: rows.sums[r]! };
  };
}

function dot(a: FloatArray, aFrom: number, b: FloatArray, bFrom: number, n: number): number {
  let [s0, s1, s2, s3] = [0, 0, 0, 0];
  let i = 0;
  for (; i + 3 < n; i += 4) {
    s0 += a[aFrom + i]! * b[bFrom + i]!;
    s1 += a[aFrom + i + 1]! * b[bFrom + i + 1]!;
    s2 += a[aFrom + i + 2]! * b[bFrom + i + 2]!;
    s3 += a[aFrom + i + 3]! * b[bFrom + i + 3]!;
  }
  for (; i < n; i++) s0 += a[aFrom + i]! * b[bFrom + i]!;
  return s0 + s1 + (s2 + s3);
}

function sumOf(a: FloatArray, from: number, n: number): number {
  let sum = 0;
  for (let i = from; i < from + n; i++) sum += a[i]!;
  return sum;
}

/** The squared error of one penalty, value by value. */
function errorOf(
  y: FloatArray,
  yAt: number,
  p: FloatArray,
  pAt: number,
  n: number,
  r: number,
  a: number,
  combine: Float64Array | undefined,
): number {
  let sum = 0;
  for (let i = 0; i < n; i++) {
    let predicted = 0;
    if (combine === undefined) predicted = p[pAt + a * n + i]!;
    else for (let q = 0; q < r; q++) predicted += combine[a * r + q]! * p[pAt + q * n + i]!;
    sum += (y[yAt + i]! - predicted) ** 2;
  }
  return sum;
}
