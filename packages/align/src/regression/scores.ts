import type { FloatArray } from "@penfield/core";
import type { Matrix } from "@penfield/linalg";
import type { PenaltyBasis } from "./penaltyBasis.ts";

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
 * @param predicted - `[nBatch, r nTest]`. For correlations both are centred here, in place.
 * @param out - Score `[alpha]` over the targets of the batch.
 */
export function scorePenalties(
  score: RidgeScore,
  y: Matrix,
  predicted: Matrix,
  { count: r, combine }: PenaltyBasis,
  out: readonly Float64Array[],
): void {
  const n = y.nColumns;
  const withY = new Float64Array(r);
  const among = new Float64Array(r * r);
  const p = predicted.data;
  const own = y.data;
  for (let t = 0; t < y.nRows; t++) {
    const yAt = t * n;
    const pAt = t * r * n;
    const mean = meanOf(own, yAt, n);
    if (score === "correlation") {
      centre(own, yAt, n, mean);
      for (let q = 0; q < r; q++) centre(p, pAt + q * n, n, meanOf(p, pAt + q * n, n));
    }
    const yy = dot(own, yAt, own, yAt, n);
    for (let q = 0; q < r; q++) {
      withY[q] = dot(own, yAt, p, pAt + q * n, n);
      // Where each penalty has a function of its own, only the diagonal is used.
      for (let s = combine ? 0 : q; s <= q; s++) {
        among[q * r + s] = dot(p, pAt + q * n, p, pAt + s * n, n);
      }
    }
    for (let a = 0; a < out.length; a++) {
      let yp = 0;
      let pp = 0;
      if (combine === undefined) {
        yp = withY[a]!;
        pp = among[a * r + a]!;
      } else {
        for (let q = 0; q < r; q++) {
          const c = combine[a * r + q]!;
          yp += c * withY[q]!;
          for (let s = 0; s < q; s++) pp += 2 * c * combine[a * r + s]! * among[q * r + s]!;
          pp += c * c * among[q * r + q]!;
        }
      }
      if (score === "correlation") {
        const scale = Math.sqrt(yy) * Math.sqrt(Math.max(0, pp));
        out[a]![t] = scale === 0 ? 0 : yp / scale;
        continue;
      }
      let error = yy - 2 * yp + pp;
      if (!(error > LEAST_SHARE * yy)) error = errorOf(own, yAt, p, pAt, n, r, a, combine);
      if (score === "l2") out[a]![t] = -error / n;
      else {
        const total = varianceSum(own, yAt, n, mean);
        out[a]![t] = total === 0 ? 0 : 1 - error / total;
      }
    }
  }
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

function meanOf(a: FloatArray, from: number, n: number): number {
  let sum = 0;
  for (let i = from; i < from + n; i++) sum += a[i]!;
  return sum / n;
}

function centre(a: FloatArray, from: number, n: number, mean: number): void {
  for (let i = from; i < from + n; i++) a[i]! -= mean;
}

function varianceSum(a: FloatArray, from: number, n: number, mean: number): number {
  let sum = 0;
  for (let i = from; i < from + n; i++) sum += (a[i]! - mean) ** 2;
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
