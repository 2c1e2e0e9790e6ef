import { ArgumentError } from "@penfield/core";

/** What equal values get: their mean rank, the same rank without gaps, or the lowest rank. */
export type TieMethod = "average" | "dense" | "min";

/**
 * The ranks of values, from 1.
 *
 * @param values - Any numbers but NaN; infinities are ranked at the ends, 0 and -0 are equal.
 * @param method - For equal values: `average` (their mean rank, default), `dense` (one rank, the next
 *   value gets the next whole rank), `min` (the lowest of their ranks).
 * @throws {ArgumentError} if a value is NaN (scipy propagates it).
 *
 * Cost: O(n log n). Matches scipy.stats.rankdata.
 *
 * @example
 * rankData([10, 20, 20, 5]).join(" ") // => "2 3.5 3.5 1"
 */
export function rankData(values: ArrayLike<number>, method: TieMethod = "average"): Float64Array {
  const n = values.length;
  for (let i = 0; i < n; i++) {
    if (Number.isNaN(values[i]!)) {
      throw new ArgumentError(`rankData: expected numbers, got NaN at ${i}`);
    }
  }
  if (method !== "average" && method !== "dense" && method !== "min") {
    throw new ArgumentError(`rankData: expected method average, dense or min, got ${method}`);
  }
  // Comparing, not subtracting: the difference of two infinities is no number.
  const order = Uint32Array.from({ length: n }, (_, i) => i).sort((i, j) =>
    values[i]! < values[j]! ? -1 : values[i]! > values[j]! ? 1 : 0,
  );
  const ranks = new Float64Array(n);
  let dense = 0;
  for (let start = 0; start < n; ) {
    let end = start + 1;
    while (end < n && values[order[end]!] === values[order[start]!]) end++;
    dense++;
    const rank =
      method === "average" ? (start + 1 + end) / 2 : method === "dense" ? dense : start + 1;
    for (let i = start; i < end; i++) ranks[order[i]!] = rank;
    start = end;
  }
  return ranks;
}
