import { ArgumentError, createRng, permutation, ShapeError } from "@penfield/core";
import { checkCount } from "./check.ts";
import { mean } from "./descriptive.ts";
import { type PermutationResult, rankP, type Tail } from "./permutation.ts";

/** Which neighbours stay together, and how many orders are drawn. */
export interface BlockOrderOptions {
  /** How many items there are, at least 2. */
  readonly nItems: number;
  /** How many neighbours stay together. At most half of the items. */
  readonly blockLength: number;
  /** Default 1000. */
  readonly nDraws?: number | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
  /** A label per item (its run); blocks then change places within their run only. Default: one run. */
  readonly runs?: ArrayLike<number | string> | undefined;
}

/**
 * Random orders of items in which blocks of neighbours stay together: the null of a slow signal. Single items of a
 * slow signal cannot be exchanged, because each one resembles its neighbours.
 *
 * @param options - Which items, which blocks. The last block of a run is shorter where the length does not divide it.
 * @returns nDraws orders, each of 0..nItems-1.
 * @throws {ArgumentError} if an option is out of range, or no run has two blocks.
 * @throws {ShapeError} if there is not one run label per item.
 *
 * Cost: O(nDraws nItems).
 *
 * @example
 * Array.from(blockOrders({ nItems: 4, blockLength: 2, nDraws: 1, seed: 3 })[0]).sort().join("") // => "0123"
 */
export function blockOrders({
  nItems,
  blockLength,
  nDraws = 1000,
  seed = 0,
  runs,
}: BlockOrderOptions): readonly Int32Array[] {
  const name = "blockOrders";
  checkCount(name, "nItems", nItems, 2);
  checkCount(name, "blockLength", blockLength, 1);
  checkCount(name, "nDraws", nDraws, 1);
  if (runs !== undefined && runs.length !== nItems) {
    throw new ShapeError(`${name}: expected ${nItems} run labels, got ${runs.length}`);
  }
  const blocksOf = new Map<number | string, number[][]>();
  const size = new Map<number | string, number>();
  for (let i = 0; i < nItems; i++) {
    const run = runs?.[i] ?? 0;
    const blocks = blocksOf.get(run) ?? [];
    const at = size.get(run) ?? 0;
    if (at % blockLength === 0) blocks.push([]);
    blocks.at(-1)!.push(i);
    blocksOf.set(run, blocks);
    size.set(run, at + 1);
  }
  const perRun = [...blocksOf.values()];
  if (perRun.every((blocks) => blocks.length < 2)) {
    throw new ArgumentError(
      `${name}: expected blocks of at most half of a run, got ${blockLength} of ${nItems} items`,
      { hint: "Take shorter blocks, as long as the signal resembles itself." },
    );
  }
  const rng = createRng(seed);
  return Array.from({ length: nDraws }, () => {
    const order = new Int32Array(nItems);
    for (const blocks of perRun) {
      const places = blocks.flat();
      const items = Array.from(permutation(blocks.length, rng), (b) => blocks[b]!).flat();
      for (const [at, place] of places.entries()) order[place] = items[at]!;
    }
    return order;
  });
}

/**
 * A permutation test for time series: whole blocks of neighbours change places.
 *
 *   p = (1 + #{null >= observed}) / (1 + nDraws)
 *
 * @param options.statistic - Takes an order of 0..nItems-1; the order 0, 1, 2, ... gives the observed value.
 * @param options.orders - Orders to use instead of drawn ones, each of 0..nItems-1.
 * @param options.tail - Default "greater".
 * @throws {ArgumentError} if an option is out of range.
 * @throws {ShapeError} if there is not one run label per item.
 *
 * Cost: nDraws + 1 calls of the statistic.
 * Source: block permutation of time points, as in Huth et al. (2016), Nature 532:453-458 (blocks of 10 TR).
 *
 * @example
 * const slow = Array.from({ length: 40 }, (_, i) => Math.sin(i / 6));
 * const test = blockPermutationTest({
 *   nItems: 40, blockLength: 5, nDraws: 99,
 *   statistic: (order) => pearson(slow, Array.from(order, (i) => slow[i])),
 * });
 * test.observed // => 1
 * test.p // => 0.01
 */
export function blockPermutationTest({
  statistic,
  orders,
  tail = "greater",
  ...blocks
}: BlockOrderOptions & {
  readonly statistic: (order: Int32Array) => number;
  readonly orders?: readonly Int32Array[] | undefined;
  readonly tail?: Tail | undefined;
}): PermutationResult {
  const drawn = orders ?? blockOrders(blocks);
  const observed = statistic(Int32Array.from({ length: blocks.nItems }, (_, i) => i));
  const nulls = Float64Array.from(drawn, (order) => statistic(order));
  return { observed, nulls, p: rankP(observed, nulls, { tail }) };
}

/**
 * How long blocks must be so that neighbours across a border hardly resemble each other: the first lag at which the
 * autocorrelation falls below 1/e.
 *
 * @param values - One series.
 * @returns At least 1, at most half of the length.
 * @throws {ShapeError} if there are fewer than 4 values.
 *
 * @example
 * suggestBlockLength([1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1]) // => 2
 */
export function suggestBlockLength(values: ArrayLike<number>): number {
  const n = values.length;
  if (n < 4) throw new ShapeError(`suggestBlockLength: expected at least 4 values, got ${n}`);
  const centre = mean(values);
  const covariance = (lag: number): number => {
    let sum = 0;
    for (let i = 0; i + lag < n; i++) sum += (values[i]! - centre) * (values[i + lag]! - centre);
    return sum;
  };
  const variance = covariance(0);
  const most = Math.floor(n / 2);
  let lag = 1;
  while (lag < most && covariance(lag) > variance / Math.E) lag++;
  return lag;
}
