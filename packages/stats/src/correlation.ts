import { DataError, ShapeError, type Tensor } from "@penfield/core";
import { checkPairs } from "./check.ts";
import { rankData } from "./rank.ts";

/**
 * Pearson's correlation.
 *
 *   r = sum((x - mx)(y - my)) / sqrt(sum((x - mx)^2) sum((y - my)^2))
 *
 * @param x - [n], n >= 2, finite.
 * @param y - [n], finite.
 * @returns Within -1..1; NaN if x or y does not vary.
 * @throws {ShapeError} if the lengths differ or n < 2.
 * @throws {ArgumentError} if a value is not finite.
 *
 * Matches scipy.stats.pearsonr.
 *
 * @example
 * pearson([1, 2, 3, 4], [2, 1, 4, 3]).toFixed(3) // => "0.600"
 */
export function pearson(x: ArrayLike<number>, y: ArrayLike<number>): number {
  checkPairs("pearson", x, y, 2);
  const n = x.length;
  const out = new Float64Array(1);
  correlateColumns(x, y, n, 1, out);
  return out[0]!;
}

/**
 * Pearson's correlation of each column of one matrix with the same column of another, such as
 * predictions with measurements.
 *
 * @param x - [nStimuli, nTargets], nStimuli >= 2, finite; float32 or float64.
 * @param y - [nStimuli, nTargets].
 * @returns [nTargets], in float64; NaN where a column does not vary.
 * @throws {ShapeError} if the shapes differ or nStimuli < 2.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: two passes, O(nStimuli nTargets) time, O(nTargets) memory.
 *
 * @example
 * pearsonColumns(activations([[1, 1], [2, 2], [3, 3]]), activations([[2, 5], [4, 3], [6, 1]])).join(" ") // => "1 -1"
 */
export function pearsonColumns(
  x: Tensor<readonly [string, string]>,
  y: Tensor<readonly [string, string]>,
): Float64Array {
  const [n, nTargets] = x.shape;
  if (n !== y.shape[0] || nTargets !== y.shape[1]) {
    throw new ShapeError(
      `pearsonColumns: expected equal shapes, got [${x.shape.join(", ")}] and [${y.shape.join(", ")}]`,
    );
  }
  if (n < 2) throw new ShapeError(`pearsonColumns: expected at least 2 stimuli, got ${n}`);
  for (const { data } of [x, y]) {
    const at = data.findIndex((v) => !Number.isFinite(v));
    if (at >= 0) {
      throw new DataError(
        `pearsonColumns: expected finite values, got ${data[at]} at stimulus ${Math.floor(at / nTargets)}, target ${at % nTargets}`,
      );
    }
  }
  const out = new Float64Array(nTargets);
  correlateColumns(x.data, y.data, n, nTargets, out);
  return out;
}

function columnMeans(x: ArrayLike<number>, n: number, nColumns: number): Float64Array {
  const means = new Float64Array(nColumns);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < nColumns; j++) means[j]! += x[i * nColumns + j]! - x[j]!;
  }
  return means.map((sum, j) => x[j]! + sum / n);
}

function correlateColumns(
  x: ArrayLike<number>,
  y: ArrayLike<number>,
  n: number,
  nColumns: number,
  out: Float64Array,
): void {
  const meanX = columnMeans(x, n, nColumns);
  const meanY = columnMeans(y, n, nColumns);
  const xx = new Float64Array(nColumns);
  const yy = new Float64Array(nColumns);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < nColumns; j++) {
      const dx = x[i * nColumns + j]! - meanX[j]!;
      const dy = y[i * nColumns + j]! - meanY[j]!;
      xx[j]! += dx * dx;
      yy[j]! += dy * dy;
      out[j]! += dx * dy;
    }
  }
  for (let j = 0; j < nColumns; j++) {
    const product = xx[j]! * yy[j]!;
    // One root rounds better; two roots serve where the product of both sums would underflow or overflow.
    const scale =
      product > 1e-290 && product < 1e290
        ? Math.sqrt(product)
        : Math.sqrt(xx[j]!) * Math.sqrt(yy[j]!);
    out[j] = scale === 0 ? Number.NaN : Math.max(-1, Math.min(1, out[j]! / scale));
  }
}

/**
 * Spearman's rank correlation: Pearson's of the ranks, equal values sharing their mean rank.
 *
 * @param x - [n], n >= 2, finite.
 * @param y - [n], finite.
 * @returns Within -1..1; NaN if x or y does not vary.
 * @throws {ShapeError} if the lengths differ or n < 2.
 * @throws {ArgumentError} if a value is not finite.
 *
 * Matches scipy.stats.spearmanr.
 *
 * @example
 * spearman([1, 2, 3, 4], [10, 100, 1000, 10000]) // => 1
 */
export function spearman(x: ArrayLike<number>, y: ArrayLike<number>): number {
  checkPairs("spearman", x, y, 2);
  return pearson(rankData(x), rankData(y));
}
