import { ArgumentError, createRng, DataError, type Rng, ShapeError } from "@penfield/core";
import { checkCount, checkLevel, checkPairs } from "./check.ts";
import { mean, quantileOfSorted, standardDeviation } from "./descriptive.ts";
import { normalCdf, normalQuantile } from "./special.ts";

/** An estimate with its bootstrap interval. */
export interface BootstrapInterval {
  /** The statistic of all items as they are. */
  readonly estimate: number;
  readonly low: number;
  readonly high: number;
  readonly level: number;
  /** The standard deviation of the draws. */
  readonly standardError: number;
  readonly nDraws: number;
  /** Draws in which the statistic was NaN (such as a correlation of items that are all the same); left out. */
  readonly nUndefined: number;
  readonly method: "percentile" | "bca";
}

/** How to draw. */
export interface BootstrapOptions {
  /** Default 2000. */
  readonly nDraws?: number | undefined;
  /** Default 0.95. */
  readonly level?: number | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
  /** Default "percentile". */
  readonly method?: "percentile" | "bca" | undefined;
}

/**
 * How sure an estimate is: the spread of a statistic over resamples of the items.
 *
 * @param options.nItems - How many items (stimuli, subjects) there are, at least 2.
 * @param options.statistic - Takes indices into the items, with repetitions, and returns a number.
 * @param options.strata - A label per item; items are then resampled within their label, so that every
 *   draw has as many of each (two conditions of unequal size, say). Default: all one.
 * @param options.nDraws - Default 2000.
 * @param options.level - Default 0.95.
 * @param options.seed - Default 0. Equal seeds give equal intervals.
 * @param options.method - `percentile` (default): quantiles of the draws. `bca`: corrected for bias and
 *   for a spread that changes with the value, nItems more calls of the statistic; better for skewed ones.
 * @returns The estimate, its interval, and how many draws were undefined. When all draws are equal, both
 *   ends are that value. In `bca` a bias that cannot be estimated because the estimate lies
 *   outside all draws is taken as half a draw inside.
 * @throws {ArgumentError} if an option is out of range.
 * @throws {ShapeError} if there is not one label per item.
 * @throws {DataError} if the statistic of all items is not finite, or that of more than half of the draws is NaN.
 *
 * Cost: nDraws + 1 calls of the statistic.
 * Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, ch. 13 and 14.3.
 *
 * @example
 * const values = [3, 5, 4, 6, 7, 5, 4, 6];
 * const { low, high } = bootstrapInterval({ nItems: 8, statistic: (indices) => mean(Array.from(indices, (i) => values[i])) });
 * low > 4 && low < 5 && high > 5 && high < 6.1 // => true
 */
export function bootstrapInterval({
  nItems,
  statistic,
  strata,
  nDraws = 2000,
  level = 0.95,
  seed = 0,
  method = "percentile",
}: {
  nItems: number;
  statistic: (indices: Int32Array) => number;
  strata?: ArrayLike<number | string> | undefined;
} & BootstrapOptions): BootstrapInterval {
  const name = "bootstrapInterval";
  checkCount(name, "nItems", nItems, 2);
  checkCount(name, "nDraws", nDraws, 1);
  checkLevel(name, level);
  if (method !== "percentile" && method !== "bca") {
    throw new ArgumentError(`${name}: expected method percentile or bca, got ${method}`);
  }
  if (strata !== undefined && strata.length !== nItems) {
    throw new ShapeError(`${name}: expected ${nItems} strata labels, got ${strata.length}`);
  }
  const all = Int32Array.from({ length: nItems }, (_, i) => i);
  const estimate = statistic(all.slice());
  if (!Number.isFinite(estimate)) {
    throw new DataError(`${name}: expected a finite statistic of all items, got ${estimate}`);
  }
  const groups = groupsOf(nItems, strata);
  const rng = createRng(seed);
  const indices = new Int32Array(nItems);
  const defined: number[] = [];
  for (let draw = 0; draw < nDraws; draw++) {
    resample(groups, rng, indices);
    const value = statistic(indices);
    if (!Number.isNaN(value)) defined.push(value);
  }
  if (defined.length * 2 < nDraws) {
    throw new DataError(
      `${name}: expected a statistic that resamples can carry, got NaN in ${nDraws - defined.length} of ${nDraws} draws`,
      { hint: "There are too few different items for an interval." },
    );
  }
  const sorted = Float64Array.from(defined).sort();
  const [lowQ, highQ] =
    method === "bca"
      ? correctedLevels({ estimate, sorted, level, all, statistic })
      : [(1 - level) / 2, (1 + level) / 2];
  return {
    estimate,
    low: quantileOfSorted(sorted, lowQ),
    high: quantileOfSorted(sorted, highQ),
    level,
    standardError: sorted.length > 1 ? standardDeviation(sorted) : Number.NaN,
    nDraws,
    nUndefined: nDraws - sorted.length,
    method,
  };
}

function groupsOf(
  nItems: number,
  strata: ArrayLike<number | string> | undefined,
): readonly (readonly number[])[] {
  const groups = new Map<number | string, number[]>();
  for (let i = 0; i < nItems; i++) {
    const label = strata?.[i] ?? 0;
    const group = groups.get(label);
    if (group) group.push(i);
    else groups.set(label, [i]);
  }
  return [...groups.values()];
}

function resample(groups: readonly (readonly number[])[], rng: Rng, out: Int32Array): void {
  let at = 0;
  for (const group of groups) {
    for (let i = 0; i < group.length; i++) out[at++] = group[rng.below(group.length)]!;
  }
}

/** The two quantiles that BCa reads off instead of (1 ± level) / 2. */
function correctedLevels({
  estimate,
  sorted,
  level,
  all,
  statistic,
}: {
  estimate: number;
  sorted: Float64Array;
  level: number;
  all: Int32Array;
  statistic: (indices: Int32Array) => number;
}): [number, number] {
  const n = sorted.length;
  let below = 0;
  for (const value of sorted) below += value < estimate ? 1 : value === estimate ? 0.5 : 0;
  const bias = normalQuantile(Math.min(1 - 0.5 / n, Math.max(0.5 / n, below / n)));
  const leftOut = Float64Array.from(all, (i) => statistic(all.filter((j) => j !== i)));
  const finite = leftOut.filter(Number.isFinite);
  const centre = finite.length > 0 ? mean(finite) : 0;
  let squares = 0;
  let cubes = 0;
  for (const value of finite) {
    squares += (centre - value) ** 2;
    cubes += (centre - value) ** 3;
  }
  const acceleration = squares === 0 ? 0 : cubes / (6 * squares ** 1.5);
  const corrected = (q: number): number => {
    const z = bias + normalQuantile(q);
    return normalCdf(bias + z / (1 - acceleration * z));
  };
  return [corrected((1 - level) / 2), corrected((1 + level) / 2)];
}

/**
 * The mean difference between two measures of the same items, with its bootstrap interval: items are
 * resampled, so what an item adds to both measures cancels out.
 *
 * @param a - [nItems], nItems >= 2, finite.
 * @param b - [nItems].
 * @param options - As {@link bootstrapInterval}.
 * @returns The interval of mean(a - b).
 * @throws {ShapeError} if the lengths differ or there are fewer than 2 items.
 * @throws {ArgumentError} if a value is not finite.
 *
 * @example
 * pairedBootstrap([5, 6, 7, 8], [4, 5, 6, 7]).low // => 1
 */
export function pairedBootstrap(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  options: BootstrapOptions = {},
): BootstrapInterval {
  checkPairs("pairedBootstrap", a, b, 2);
  const differences = Float64Array.from(a, (value, i) => value - b[i]!);
  return bootstrapInterval({
    ...options,
    nItems: differences.length,
    statistic: (indices) => {
      let sum = 0;
      for (const i of indices) sum += differences[i]!;
      return sum / indices.length;
    },
  });
}
