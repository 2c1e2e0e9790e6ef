import { ArgumentError, createRng, DataError, permutation } from "@penfield/core";
import { checkCount, checkValues } from "./check.ts";
import { mean, standardDeviation } from "./descriptive.ts";
import { rankData } from "./rank.ts";
import { normalCdf } from "./special.ts";

/** Which values count as at least as extreme: large ones, small ones, or either. */
export type Tail = "greater" | "less" | "two-sided";

const EXACT_UP_TO = 16;

/**
 * How unusual a value is among values that chance gave: the share of null values at least as
 * extreme, the value itself counted among them.
 *
 *   p = (1 + #{null >= value}) / (1 + n)       two-sided: twice the smaller tail, at most 1
 *
 * @param value - The observed value, not NaN.
 * @param nullValues - [n], at least one, none NaN: the same statistic for random sets or shuffled labels.
 * @param options.tail - Default "greater".
 * @returns Never 0: n null values can show no less than 1 / (1 + n).
 * @throws {ArgumentError} if a value is NaN or the tail is unknown.
 * @throws {ShapeError} if there is no null value.
 *
 * Source: Phipson & Smyth (2010), Stat Appl Genet Mol Biol 9:39.
 *
 * @example
 * rankP(5, [1, 2, 3, 4]) // => 0.2
 */
export function rankP(
  value: number,
  nullValues: ArrayLike<number>,
  { tail = "greater" }: { tail?: Tail } = {},
): number {
  checkTail("rankP", tail);
  checkValues("rankP", nullValues, 1, "null values");
  if (Number.isNaN(value)) throw new ArgumentError("rankP: expected a number, got NaN");
  return rankWithSlack(value, nullValues, tail, 0);
}

/** Null values within `slack` of the value count as equal to it. */
function rankWithSlack(
  value: number,
  nullValues: ArrayLike<number>,
  tail: Tail,
  slack: number,
): number {
  const n = nullValues.length;
  let atLeast = 1;
  let atMost = 1;
  for (let i = 0; i < n; i++) {
    if (nullValues[i]! >= value - slack) atLeast++;
    if (nullValues[i]! <= value + slack) atMost++;
  }
  const count =
    tail === "greater" ? atLeast : tail === "less" ? atMost : 2 * Math.min(atLeast, atMost);
  return Math.min(1, count / (1 + n));
}

function checkTail(name: string, tail: Tail): void {
  if (tail !== "greater" && tail !== "less" && tail !== "two-sided") {
    throw new ArgumentError(`${name}: expected tail greater, less or two-sided, got ${tail}`);
  }
}

/** An observed statistic, what shuffling gives, and how unusual it is among that. */
export interface PermutationResult {
  readonly observed: number;
  /** [nDraws], in the order drawn. */
  readonly nulls: Float64Array;
  readonly p: number;
}

/**
 * A permutation test: the statistic of the items in their order against that of shuffled orders.
 *
 * @param options.nItems - How many items can be exchanged, at least 2.
 * @param options.statistic - Takes an order of 0..nItems-1 and returns a number; the order 0, 1, 2, ... gives the observed value.
 * @param options.nDraws - Default 1000.
 * @param options.tail - Default "greater".
 * @param options.seed - Default 0.
 * @throws {ArgumentError} if an option is out of range.
 * @throws {DataError} if the statistic is not finite.
 *
 * Null values that differ from the observed one by rounding alone (1e-14) count as equal to it.
 *
 * Cost: nDraws + 1 calls of the statistic. For time series, exchange whole blocks: shuffled neighbours are no null.
 *
 * @example
 * const x = [1, 2, 3, 4, 5, 6, 7];
 * permutationP({ nItems: 7, statistic: (order) => pearson(x, order), nDraws: 199 }).p // => 0.005
 */
export function permutationP({
  nItems,
  statistic,
  nDraws = 1000,
  tail = "greater",
  seed = 0,
}: {
  nItems: number;
  statistic: (order: Int32Array) => number;
  nDraws?: number;
  tail?: Tail;
  seed?: number;
}): PermutationResult {
  checkCount("permutationP", "nItems", nItems, 2);
  checkCount("permutationP", "nDraws", nDraws, 1);
  checkTail("permutationP", tail);
  const measure = (order: Int32Array): number => {
    const value = statistic(order);
    if (Number.isFinite(value)) return value;
    throw new DataError(`permutationP: expected a finite statistic, got ${value}`);
  };
  const observed = measure(Int32Array.from({ length: nItems }, (_, i) => i));
  const rng = createRng(seed);
  const nulls = Float64Array.from({ length: nDraws }, () => measure(permutation(nItems, rng)));
  // The same items summed in another order differ in their last bits; those are ties (scipy's rule).
  const slack = Math.max(1e-14, 1e-14 * Math.abs(observed));
  return { observed, nulls, p: rankWithSlack(observed, nulls, tail, slack) };
}

/**
 * How far a value lies from those that chance gave, in their standard deviations.
 *
 *   z = (value - mean(nulls)) / sd(nulls)
 *
 * @param value - The observed value.
 * @param nulls - [n], n >= 2, finite.
 * @returns The null values' `mean` and `sd` (n - 1), and `z`: NaN if they do not vary.
 * @throws {ShapeError} if there are fewer than 2 null values.
 * @throws {ArgumentError} if a value is not finite.
 *
 * @example
 * standardizeAgainst(9, [1, 3, 5]).z // => 3
 */
export function standardizeAgainst(
  value: number,
  nulls: ArrayLike<number>,
): { readonly mean: number; readonly sd: number; readonly z: number } {
  checkValues("standardizeAgainst", [value], 1);
  checkValues("standardizeAgainst", nulls, 2, "null values");
  const centre = mean(nulls);
  const sd = standardDeviation(nulls);
  return { mean: centre, sd, z: sd === 0 ? Number.NaN : (value - centre) / sd };
}

/**
 * Is the mean of paired differences zero? Under the null each difference could as well have had the
 * other sign.
 *
 * @param differences - [n], one per subject or item, n >= 1, finite.
 * @param options.tail - Default "two-sided", by the size of the mean.
 * @param options.nDraws - How many random flips when n is above 16. Default 10000. Up to 16 all
 *   2^n are enumerated and p is exact.
 * @param options.seed - Default 0.
 * @returns `mean`, `p`, whether it is `exact`, and how many flips were looked at. The exact p
 *   counts the observed signs as one of the 2^n; the drawn p is (1 + #) / (1 + nDraws).
 * @throws {ShapeError} if there is no difference.
 * @throws {ArgumentError} if a value is not finite or an option is out of range.
 *
 * @example
 * signFlipTest([1, 2, 3, 4, 5]).p // => 0.0625
 */
export function signFlipTest(
  differences: ArrayLike<number>,
  {
    tail = "two-sided",
    nDraws = 10_000,
    seed = 0,
  }: { tail?: Tail; nDraws?: number; seed?: number } = {},
): { readonly mean: number; readonly p: number; readonly exact: boolean; readonly nFlips: number } {
  checkValues("signFlipTest", differences, 1, "differences");
  checkTail("signFlipTest", tail);
  checkCount("signFlipTest", "nDraws", nDraws, 1);
  const n = differences.length;
  let observed = 0;
  let total = 0;
  for (let i = 0; i < n; i++) {
    observed += differences[i]!;
    total += Math.abs(differences[i]!);
  }
  // Sums of the same numbers in another order differ in their last bits; those are ties.
  const slack = total * n * Number.EPSILON;
  const isExtreme = (sum: number): boolean =>
    tail === "greater"
      ? sum >= observed - slack
      : tail === "less"
        ? sum <= observed + slack
        : Math.abs(sum) >= Math.abs(observed) - slack;
  const exact = n <= EXACT_UP_TO;
  const nFlips = exact ? 2 ** n : nDraws;
  const rng = createRng(seed);
  let extreme = 0;
  for (let flip = 0; flip < nFlips; flip++) {
    let sum = 0;
    for (let i = 0; i < n; i++) {
      const negative = exact ? (flip >> i) & 1 : rng.below(2);
      sum += negative ? -differences[i]! : differences[i]!;
    }
    if (isExtreme(sum)) extreme++;
  }
  const p = exact ? extreme / nFlips : (1 + extreme) / (1 + nFlips);
  return { mean: observed / n, p, exact, nFlips };
}

/**
 * Wilcoxon's signed-rank test, two-sided: do differences lie to one side of zero, by their ranks?
 *
 * @param differences - [n], finite; zeros are left out (Wilcoxon's own rule).
 * @param options.method - `exact` (default): by counting sign assignments of the ranks as they are (also with ties), up to
 *   nUsed = 200. `scipy`: what scipy.stats.wilcoxon does by default: exact as if there were no ties up to n = 50, the normal
 *   approximation above, and also when a difference is zero.
 * @returns `statistic` (the smaller of the two rank sums), `p`, and `nUsed`.
 * @throws {DataError} if no difference but zero is left, or more than 200 are (exact).
 * @throws {ArgumentError} if a value is not finite.
 *
 * Cost: O(nUsed^3). Without ties, matches scipy.stats.wilcoxon(method="exact").
 *
 * @example
 * wilcoxonSignedRank([1, 2, 3, 4, 5]).p // => 0.0625
 */
export function wilcoxonSignedRank(
  differences: ArrayLike<number>,
  { method = "exact" }: { method?: "exact" | "scipy" } = {},
): {
  readonly statistic: number;
  readonly p: number;
  readonly nUsed: number;
} {
  checkValues("wilcoxonSignedRank", differences, 1, "differences");
  if (method !== "exact" && method !== "scipy") {
    throw new ArgumentError(`wilcoxonSignedRank: expected method exact or scipy, got ${method}`);
  }
  const used = Array.from(differences).filter((d) => d !== 0);
  const n = used.length;
  if (n === 0 || (n > 200 && method === "exact")) {
    throw new DataError(
      `wilcoxonSignedRank: expected 1 to 200 differences other than zero, got ${n}`,
      n > 200 ? { hint: "Use signFlipTest, which draws when there are many." } : {},
    );
  }
  // Mean ranks are halves: doubled, they are whole numbers that can index counts.
  const ranks = rankData(used.map(Math.abs)).map((r) => 2 * r);
  const total = n * (n + 1);
  let positive = 0;
  used.forEach((d, i) => {
    if (d > 0) positive += ranks[i]!;
  });
  const smaller = Math.min(positive, total - positive);
  if (method === "scipy") {
    const asScipy =
      differences.length <= 50 && n === differences.length
        ? untiedP(n, Math.floor(positive / 2))
        : normalP(ranks, smaller / 2);
    return { statistic: smaller / 2, p: asScipy, nUsed: n };
  }
  const share = signShares(ranks);
  let tail = 0;
  for (let s = 0; s <= smaller; s++) tail += share[s]!;
  return { statistic: smaller / 2, p: Math.min(1, 2 * tail), nUsed: n };
}

/** share[s]: the share of the 2^n sign assignments whose positive (whole) ranks sum to s. */
function signShares(ranks: ArrayLike<number>): Float64Array {
  let total = 0;
  for (let i = 0; i < ranks.length; i++) total += ranks[i]!;
  const share = new Float64Array(total + 1);
  share[0] = 1;
  for (let i = 0; i < ranks.length; i++) {
    const rank = ranks[i]!;
    for (let s = total; s >= 0; s--) {
      share[s] = (share[s]! + (s >= rank ? share[s - rank]! : 0)) / 2;
    }
  }
  return share;
}

/** Two-sided p of a sum of positive ranks among 1..n. */
function untiedP(n: number, positive: number): number {
  const share = signShares(Float64Array.from({ length: n }, (_, i) => i + 1));
  if (positive === Math.floor((share.length - 1) / 2)) return 1;
  let less = 0;
  let greater = 0;
  share.forEach((v, s) => {
    if (s <= positive) less += v;
    if (s >= positive) greater += v;
  });
  return 2 * Math.min(less, greater);
}

/** Two-sided p by the normal approximation, corrected for ties; ranks are doubled. */
function normalP(ranks: Float64Array, statistic: number): number {
  const n = ranks.length;
  const ties = new Map<number, number>();
  for (const rank of ranks) ties.set(rank, (ties.get(rank) ?? 0) + 1);
  let square = n * (n + 1) * (2 * n + 1);
  for (const count of ties.values()) square -= 0.5 * count * (count * count - 1);
  const z = (statistic - (n * (n + 1)) / 4) / Math.sqrt(square / 24);
  return 2 * normalCdf(-Math.abs(z));
}
