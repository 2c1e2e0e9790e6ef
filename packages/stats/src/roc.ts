import { ShapeError } from "@penfield/core";
import { rankData } from "./rank.ts";

/**
 * The area under the ROC curve: how often a stimulus of the class scores higher than one that is not; ties count half.
 *
 * @param scores - [n].
 * @param isPositive - [n]: true (or 1) for the class.
 * @returns 0..1, chance 0.5; NaN if one of both is missing.
 * @throws {ShapeError} if lengths differ.
 *
 * Cost: O(n log n). Matches sklearn.metrics.roc_auc_score.
 *
 * @example
 * areaUnderRoc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]) // => 0.75
 */
export function areaUnderRoc(
  scores: ArrayLike<number>,
  isPositive: ArrayLike<number | boolean>,
): number {
  const n = scores.length;
  if (isPositive.length !== n) {
    throw new ShapeError(`areaUnderRoc: expected ${n} labels, got ${isPositive.length}`);
  }
  const ranks = rankData(scores);
  let nPositive = 0;
  let sum = 0;
  for (let i = 0; i < n; i++) {
    if (!isPositive[i]) continue;
    nPositive++;
    sum += ranks[i]!;
  }
  const nNegative = n - nPositive;
  if (nPositive === 0 || nNegative === 0) return Number.NaN;
  return (sum - (nPositive * (nPositive + 1)) / 2) / (nPositive * nNegative);
}
