import { ArgumentError, createRng, permutation, ShapeError } from "@penfield/core";
import { createLinalg, type Linalg, type Matrix, matrix } from "@penfield/linalg";
import type { Census } from "./census.ts";

/** A function's work in progress on matrix products of its own, or of the caller's. */
async function withLinalg<T>(
  given: Linalg | undefined,
  work: (linalg: Linalg) => Promise<T>,
): Promise<T> {
  const linalg = given ?? createLinalg();
  try {
    return await work(linalg);
  } finally {
    if (!given) await linalg.dispose();
  }
}

/**
 * Parts units into groups of equal size (to within one) by the directions of their rows: k-means on rows scaled to length 1. In
 * each round the pairs of unit and group are taken from the most alike down, as long as the group has room: not the
 * best possible parting, but one that does not depend on the order of the units.
 *
 * @param rows - `[nUnits, nFeatures]`: input weights, or rows of a co-activation matrix.
 * @returns The group of each unit, `[nUnits]`.
 * @throws {ArgumentError} unless there are 1 to nUnits groups.
 *
 * Cost: a matrix product [nUnits, nFeatures] by [nFeatures, nGroups] in each of at most `nRounds` rounds.
 * Source: Zhang et al. (2022), MoEfication, Findings of ACL, which takes an exact solver for the equal sizes.
 *
 * @example
 * const rows = { data: Float64Array.of(1, 0, 0, 1, 0.9, 0.1, 0, 2), nRows: 4, nColumns: 2 };
 * const groups = await balancedKMeans(rows, 2);
 * [groups[0] === groups[2], groups[1] === groups[3], groups[0] === groups[1]] // => [true, true, false]
 */
export async function balancedKMeans(
  rows: Matrix,
  nGroups: number,
  options: {
    readonly seed?: number | undefined;
    readonly nRounds?: number | undefined;
    readonly linalg?: Linalg | undefined;
  } = {},
): Promise<Int32Array> {
  const { nRows: nUnits, nColumns } = rows;
  const { seed = 0, nRounds = 30 } = options;
  if (!(Number.isInteger(nGroups) && nGroups >= 1 && nGroups <= nUnits)) {
    throw new ArgumentError(`balancedKMeans: expected 1 to ${nUnits} groups, got ${nGroups}`);
  }
  const unit = unitRows(rows);
  const rng = createRng(seed, 93);
  // Spread first centers: each next one the unit least like those so far.
  const centers = new Float64Array(nGroups * nColumns);
  const nearest = new Float64Array(nUnits).fill(Number.NEGATIVE_INFINITY);
  let next = rng.below(nUnits);
  for (let g = 0; g < nGroups; g++) {
    const center = unit.data.subarray(next * nColumns, (next + 1) * nColumns);
    centers.set(center, g * nColumns);
    for (let u = 0; u < nUnits; u++) {
      let product = 0;
      for (let i = 0; i < nColumns; i++) product += unit.data[u * nColumns + i]! * center[i]!;
      nearest[u] = u === next ? Number.POSITIVE_INFINITY : Math.max(nearest[u]!, product);
    }
    next = nearest.indexOf(nearest.reduce((a, b) => Math.min(a, b)));
  }
  return withLinalg(options.linalg, async (linalg) => {
    let groups = new Int32Array(nUnits).fill(-1);
    for (let round = 0; round < nRounds; round++) {
      const { data } = await linalg.matmul(unit, matrix(centers, nGroups, nColumns), {
        transposeB: true,
      });
      const assigned = assignEqually(data, nUnits, nGroups);
      if (assigned.every((g, u) => g === groups[u])) break;
      groups = assigned;
      centers.fill(0);
      groups.forEach((g, u) => {
        for (let i = 0; i < nColumns; i++) {
          centers[g * nColumns + i]! += unit.data[u * nColumns + i]!;
        }
      });
      centers.set(unitRows(matrix(centers, nGroups, nColumns)).data);
    }
    return groups;
  });
}

function unitRows({ data, nRows, nColumns }: Matrix): Matrix<Float64Array> {
  const out = Float64Array.from(data);
  for (let u = 0; u < nRows; u++) {
    const row = out.subarray(u * nColumns, (u + 1) * nColumns);
    let square = 0;
    for (let i = 0; i < nColumns; i++) square += row[i]! ** 2;
    const length = Math.sqrt(square) || 1;
    for (let i = 0; i < nColumns; i++) row[i]! /= length;
  }
  return matrix(out, nRows, nColumns);
}

function assignEqually(
  likeness: Float64Array,
  nUnits: number,
  nGroups: number,
): Int32Array<ArrayBuffer> {
  const order = Uint32Array.from(likeness, (_, i) => i).sort(
    (a, b) => likeness[b]! - likeness[a]! || a - b,
  );
  const groups = new Int32Array(nUnits).fill(-1);
  const sizes = new Int32Array(nGroups);
  const small = Math.floor(nUnits / nGroups);
  let larger = nUnits % nGroups;
  for (const pair of order) {
    const unit = Math.floor(pair / nGroups);
    const group = pair % nGroups;
    if (groups[unit]! >= 0 || sizes[group]! > small || (sizes[group] === small && larger === 0))
      continue;
    if (sizes[group] === small) larger--;
    groups[unit] = group;
    sizes[group]!++;
  }
  return groups;
}

/**
 * How much more weight lies inside groups than their units' total weights would give by chance,
 *
 *   Q = sum over pairs in one group of [w_ij - s_i s_j / 2m] / 2m,   s_i = sum of w_ij, 2m = sum of s_i, w_ii left out.
 *
 * @param weights - `[nUnits, nUnits]`, symmetric, not negative.
 * @param groups - The group of each unit.
 * @returns Up to 1; 0 for one group of all, or without any weight.
 * @throws {ShapeError} if the sizes differ.
 *
 * Source: Newman (2004), Analysis of weighted networks, Phys. Rev. E 70:056131.
 *
 * @example
 * // Two pairs, tied inside and not between.
 * modularity({ data: Float64Array.of(0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0), nRows: 4, nColumns: 4 }, [0, 0, 1, 1]) // => 0.5
 */
export function modularity(weights: Matrix, groups: ArrayLike<number>): number {
  const { data, nRows: n, nColumns } = weights;
  if (n !== nColumns || groups.length !== n) {
    throw new ShapeError(
      `modularity: expected a group for each unit of a square matrix, got ${groups.length} for ${n} x ${nColumns}`,
    );
  }
  const strength = new Float64Array(n);
  const perGroup = new Map<number, { inside: number; total: number }>();
  let total = 0;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) if (i !== j) strength[i]! += data[i * n + j]!;
    total += strength[i]!;
  }
  if (total === 0) return 0;
  for (let i = 0; i < n; i++) {
    const own = perGroup.get(groups[i]!) ?? { inside: 0, total: 0 };
    own.total += strength[i]!;
    for (let j = 0; j < n; j++) {
      if (i !== j && groups[j] === groups[i]) own.inside += data[i * n + j]!;
    }
    perGroup.set(groups[i]!, own);
  }
  let q = 0;
  for (const { inside, total: own } of perGroup.values()) q += inside / total - (own / total) ** 2;
  return q;
}

/**
 * On how many of a census' kept tokens each pair of units of a hook is active together.
 *
 * @param options.from - First kept token, default 0; and `to`, the one after the last.
 * @returns `[nUnits, nUnits]`; the diagonal is how often each is active.
 *
 * Cost: a matrix product [nUnits, nTokens] by [nTokens, nUnits].
 *
 * @example
 * import { mkdtemp } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 * const source = plantedSource({ words: ["a", "b"], units: [{ name: "b", active: (words, i) => words[i] === "b" }], misses: 0, falseAnswers: 0 });
 * const documents = Array.from({ length: 20 }, (_, d) => ({ tokens: [0, d % 2, 1 - (d % 2), d % 3 === 0 ? 1 : 0] }));
 * const census = await takeCensus(source, documents, `${await mkdtemp(join(tmpdir(), "census-"))}/planted`);
 * (await coactivation(census, "planted")).data.join() // => "27"
 * await census.close();
 */
export async function coactivation(
  census: Census,
  hook: string,
  options: {
    readonly from?: number | undefined;
    readonly to?: number | undefined;
    readonly linalg?: Linalg | undefined;
  } = {},
): Promise<Matrix<Float64Array>> {
  const { firstUnit, nUnits, threshold } = census.hook(hook);
  const { from: first = 0, to: end = census.meta.nKeptTokens } = options;
  return withLinalg(options.linalg, async (linalg) => {
    const sums = new Float64Array(nUnits * nUnits);
    // Counts up to 2^24 are exact in float32.
    for (let from = first; from < end; from += 8192) {
      const to = Math.min(end, from + 8192);
      const values = await census.block(firstUnit, nUnits, { from, to });
      const active = matrix(
        values.map((value) => (value > threshold ? 1 : 0)),
        nUnits,
        to - from,
      );
      const { data } = await linalg.matmul(active, active, { transposeB: true });
      for (let i = 0; i < sums.length; i++) sums[i]! += data[i]!;
    }
    return matrix(sums, nUnits, nUnits);
  });
}

/** Groups of a hook's units, and whether they are more than groups of chance. */
export interface Partition {
  readonly groups: Int32Array;
  /** Of the co-activation graph. */
  readonly modularity: number;
  /** Of groups of the same sizes with units at random: the largest of 20. */
  readonly randomModularity: number;
}

/**
 * Parts units into groups and says how modular their co-activation is under that parting, beside random groups of the same sizes.
 *
 * @param features - What units are grouped by: input weights, `[nUnits, d_model]`, or their co-activation.
 * @param together - `coactivation` of the same units; on other tokens than `features`, if those are co-activation too: groups fit best what they
 *   were made from.
 *
 * @example
 * const rows = { data: Float64Array.of(1, 0, 0, 1, 1, 0, 0, 1), nRows: 4, nColumns: 2 };
 * const together = { data: Float64Array.of(9, 0, 5, 0, 0, 9, 0, 5, 5, 0, 9, 0, 0, 5, 0, 9), nRows: 4, nColumns: 4 };
 * (await partitionUnits(rows, together, 2)).modularity // => 0.5
 */
export async function partitionUnits(
  features: Matrix,
  together: Matrix,
  nGroups: number,
  options: { readonly seed?: number | undefined; readonly linalg?: Linalg | undefined } = {},
): Promise<Partition> {
  const groups = await balancedKMeans(features, nGroups, options);
  const rng = createRng(options.seed ?? 0, 94);
  let random = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < 20; i++) {
    const order = permutation(groups.length, rng);
    const shuffled = Int32Array.from(order, (place) => groups[place]!);
    random = Math.max(random, modularity(together, shuffled));
  }
  return { groups, modularity: modularity(together, groups), randomModularity: random };
}

/**
 * How far two partings of the same units agree beyond chance: 1 equal up to the groups' names, about 0 unrelated.
 *
 * Source: Hubert & Arabie (1985), Journal of Classification 2:193-218; equals sklearn.metrics.adjusted_rand_score.
 *
 * @example
 * adjustedRandIndex([0, 0, 1, 1], [5, 5, 3, 3]) // => 1
 */
export function adjustedRandIndex(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) {
    throw new ShapeError(
      `adjustedRandIndex: expected as many units, got ${a.length} and ${b.length}`,
    );
  }
  const pairs = (counts: Iterable<number>) => {
    let sum = 0;
    for (const count of counts) sum += (count * (count - 1)) / 2;
    return sum;
  };
  const count = (key: (i: number) => string) => {
    const counts = new Map<string, number>();
    for (let i = 0; i < a.length; i++) counts.set(key(i), (counts.get(key(i)) ?? 0) + 1);
    return pairs(counts.values());
  };
  const both = count((i) => `${a[i]} ${b[i]}`);
  const inA = count((i) => String(a[i]));
  const inB = count((i) => String(b[i]));
  const all = (a.length * (a.length - 1)) / 2;
  const expected = all === 0 ? 0 : (inA * inB) / all;
  const most = (inA + inB) / 2;
  return most === expected ? 1 : (both - expected) / (most - expected);
}
