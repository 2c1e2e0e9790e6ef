import { type Activations, ShapeError } from "@penfield/core";
import type { Linalg } from "@penfield/linalg";
import { checkOneOf, checkWhole, type Dense, inner, norm, pairOf } from "../similarity/pair.ts";

/** By what stimuli are near each other: the angle of their patterns, or their inner product. */
export type Nearness = "cosine" | "dot";

export interface NeighbourOptions {
  /** How many neighbours. Default 10. */
  readonly k?: number | undefined;
  /** Default "cosine". Patterns of zeros have cosine 0 with all. */
  readonly by?: Nearness | undefined;
}

/** The neighbours of each stimulus in two representations. */
interface Neighbourhoods {
  readonly n: number;
  readonly k: number;
  /** `[n, k]`, nearest first. */
  readonly x: Int32Array;
  readonly y: Int32Array;
  /** `[n, n]`: cosines or inner products. */
  readonly xGram: Float64Array;
  readonly yGram: Float64Array;
  /** Whether all are equally near to all: there are no neighbours then. */
  readonly xAlike: boolean;
  readonly yAlike: boolean;
}

async function neighbourhoods(
  linalg: Linalg,
  name: string,
  x: Activations,
  y: Activations,
  { k = 10, by = "cosine" }: NeighbourOptions,
): Promise<Neighbourhoods> {
  checkOneOf(name, "by", by, ["cosine", "dot"]);
  const pair = pairOf(name, x, y, 2);
  checkWhole(name, "k", k, 1, pair.n - 1);
  const [xGram, yGram] = [await gram(linalg, pair.x, by), await gram(linalg, pair.y, by)];
  const { n } = pair;
  return {
    n,
    k,
    x: nearest(xGram, n, k),
    y: nearest(yGram, n, k),
    xGram,
    yGram,
    xAlike: allAlike(xGram, n),
    yAlike: allAlike(yGram, n),
  };
}

function allAlike(gram: Float64Array, n: number): boolean {
  const first = gram[1]!;
  const rounding = ROUNDING * gram.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  // The only other stimulus is the nearest.
  return n > 2 && gram.every((v, at) => at % (n + 1) === 0 || Math.abs(v - first) <= 4 * rounding);
}

async function gram(linalg: Linalg, x: Dense, by: Nearness): Promise<Float64Array> {
  const rows = by === "cosine" ? unitRows(x) : x;
  return (await linalg.matmul(rows, rows, { transposeB: true })).data;
}

function unitRows({ data, nRows, nColumns }: Dense): Dense {
  const out = Float64Array.from(data);
  for (let i = 0; i < nRows; i++) {
    const row = out.subarray(i * nColumns, (i + 1) * nColumns);
    const size = norm(row);
    if (size > 0) for (let j = 0; j < nColumns; j++) row[j]! /= size;
  }
  return { data: out, nRows, nColumns };
}

/** Values that differ by less than this share of the greatest are equal: the order of sums must not decide. */
const ROUNDING = 1e-13;

/** For each row the k others with the greatest values; of equal ones the first. */
function nearest(gram: Float64Array, n: number, k: number): Int32Array {
  let largest = 0;
  for (const value of gram) largest = Math.max(largest, Math.abs(value));
  const step = ROUNDING * (largest || 1);
  const values = gram.map((value) => Math.round(value / step));
  const out = new Int32Array(n * k);
  const order = new Int32Array(n - 1);
  for (let i = 0; i < n; i++) {
    for (let j = 0, at = 0; j < n; j++) if (j !== i) order[at++] = j;
    const row = values.subarray(i * n, (i + 1) * n);
    order.sort((a, b) => row[b]! - row[a]! || a - b);
    out.set(order.subarray(0, k), i * k);
  }
  return out;
}

/** The mean over stimuli of a function of their two lists of neighbours. */
function meanOver(
  { n, k, x, y, xAlike, yAlike }: Neighbourhoods,
  of: (xs: Int32Array, ys: Int32Array, i: number) => number,
): number {
  if (xAlike || yAlike) return Number.NaN;
  let sum = 0;
  for (let i = 0; i < n; i++) {
    sum += of(x.subarray(i * k, (i + 1) * k), y.subarray(i * k, (i + 1) * k), i);
  }
  return sum / n;
}

function shared(xs: Int32Array, ys: Int32Array): Int32Array {
  return xs.filter((j) => ys.includes(j));
}

/**
 * Mutual k-nearest neighbours: the share of neighbours that stimuli have in common.
 *
 *   mean_i |A_i & B_i| / k
 *
 * @param x - `[n, p]`, finite.
 * @param y - `[n, q]`, the same stimuli.
 * @param options.k - Default 10, less than n.
 * @param options.by - Default "cosine"; "dot" for inner products of patterns as they are.
 * @returns 0 to 1; k / (n - 1) for unrelated representations. Ties (up to rounding) go to the stimulus that comes first. NaN if in a
 *   representation all stimuli are equally near to each other (all alike, or all zeros).
 * @throws {ShapeError} if the stimuli differ or are fewer than 2.
 * @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if an option is out of range.
 *
 * Cost: 2 n^2 (p + q) operations, n sorts, two n x n matrices. Source: Huh et al. (2024), ICML, app. A.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [1, 0.1], [0, 1], [0.1, 1]]);
 * await mutualKnn(linalg, x, x, { k: 1 }) // => 1
 */
export async function mutualKnn(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  options: NeighbourOptions = {},
): Promise<number> {
  const found = await neighbourhoods(linalg, "mutualKnn", x, y, options);
  return meanOver(found, (xs, ys) => shared(xs, ys).length) / found.k;
}

/**
 * Cycle consistency: the share of stimuli that one comes back to by going to a neighbour in y and from
 * there to a neighbour in x.
 *
 * @returns 0 to 1; NaN as {@link mutualKnn}. Not symmetric.
 * @throws As {@link mutualKnn}.
 *
 * Cost: as {@link mutualKnn}. Source: Huh et al. (2024), ICML, app. A.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [1, 0.1], [0, 1], [0.1, 1]]);
 * await cycleKnn(linalg, x, x, { k: 1 }) // => 1
 */
export async function cycleKnn(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  options: NeighbourOptions = {},
): Promise<number> {
  const found = await neighbourhoods(linalg, "cycleKnn", x, y, options);
  const { k } = found;
  return meanOver(found, (_, ys, i) =>
    ys.some((j) => found.x.subarray(j * k, (j + 1) * k).includes(i)) ? 1 : 0,
  );
}

/**
 * The mean length of the longest common subsequence of the two lists of neighbours, nearest first.
 *
 * @returns 0 to k; NaN as {@link mutualKnn}.
 * @throws As {@link mutualKnn}.
 *
 * Cost: as {@link mutualKnn}, and n k^2. Source: Huh et al. (2024), ICML, app. A.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [1, 0.1], [0, 1], [0.1, 1]]);
 * await lcsKnn(linalg, x, x, { k: 2 }) // => 2
 */
export async function lcsKnn(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  options: NeighbourOptions = {},
): Promise<number> {
  const found = await neighbourhoods(linalg, "lcsKnn", x, y, options);
  return meanOver(found, (xs, ys) => {
    let row = new Int32Array(ys.length + 1);
    for (const j of xs) {
      const next = Int32Array.from(row);
      for (let c = 0; c < ys.length; c++) {
        next[c + 1] = ys[c] === j ? row[c]! + 1 : Math.max(row[c + 1]!, next[c]!);
      }
      row = next;
    }
    return row[ys.length]!;
  });
}

/**
 * CKNNA: kernel alignment that only counts pairs of stimuli that are neighbours in both representations.
 *
 *   HSIC(M K, M L) / (sqrt(HSIC(M_K K, M_K K) HSIC(M_L L, M_L L)) + 1e-6),  M = M_K M_L, unbiased HSIC
 *
 * @returns NaN if the HSIC of a representation with itself is negative. k = n - 1 gives unbiased CKA. With fewer neighbours it is
 *   not quite symmetric, since being a neighbour is not.
 * @throws As {@link mutualKnn}.
 *
 * Cost: as {@link mutualKnn}. Source: Huh et al. (2024), ICML, app. A. The 1e-6 is theirs; patterns with small values suffer from it.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[3, 0], [3, 1], [0, 3], [1, 3], [2, 2]]);
 * (await cknna(linalg, x, x, { k: 2 })).toFixed(3) // => "1.000"
 */
export async function cknna(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  options: NeighbourOptions = {},
): Promise<number> {
  const found = await neighbourhoods(linalg, "cknna", x, y, options);
  const { n, k, xGram, yGram } = found;
  if (found.xAlike || found.yAlike) return Number.NaN;
  if (n < 4) throw new ShapeError(`cknna: expected at least 4 stimuli, got ${n}`);
  const mask = (neighbours: Int32Array): Uint8Array => {
    const out = new Uint8Array(n * n);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < k; j++) out[i * n + neighbours[i * k + j]!] = 1;
    }
    return out;
  };
  const [a, b] = [mask(found.x), mask(found.y)];
  const part = (p: Float64Array, q: Float64Array, both: (at: number) => boolean): number =>
    maskedHsic(
      p.map((v, at) => (both(at) ? v : 0)),
      q.map((v, at) => (both(at) ? v : 0)),
      n,
    );
  const xy = part(xGram, yGram, (at) => a[at] === 1 && b[at] === 1);
  const xx = part(xGram, xGram, (at) => a[at] === 1);
  const yy = part(yGram, yGram, (at) => b[at] === 1);
  return xy / (Math.sqrt(xx * yy) + 1e-6);
}

/** Unbiased HSIC of kernels with zero diagonals that need not be symmetric. */
function maskedHsic(k: Float64Array, l: Float64Array, n: number): number {
  const kColumns = new Float64Array(n);
  const lRows = new Float64Array(n);
  let trace = 0;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      kColumns[j]! += k[i * n + j]!;
      lRows[i]! += l[i * n + j]!;
      // tr(K L): a stimulus that is a neighbour of another need not have it as its own.
      trace += k[i * n + j]! * l[j * n + i]!;
    }
  }
  const sum = (v: Float64Array) => v.reduce((total, value) => total + value, 0);
  const means = (sum(kColumns) * sum(lRows)) / ((n - 1) * (n - 2));
  return (trace + means - (2 / (n - 2)) * inner(kColumns, lRows)) / (n * (n - 3));
}

/**
 * Jaccard similarity of neighbourhoods.
 *
 *   mean_i |A_i & B_i| / |A_i or B_i|
 *
 * @returns 0 to 1; NaN as {@link mutualKnn}.
 * @throws As {@link mutualKnn}.
 *
 * Cost: as {@link mutualKnn}. Source: Schumacher et al. (2021); Wang et al. (2022). Matches ReSi's JaccardSimilarity.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [1, 0.1], [0, 1], [0.1, 1]]);
 * await knnJaccard(linalg, x, x, { k: 1 }) // => 1
 */
export async function knnJaccard(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  options: NeighbourOptions = {},
): Promise<number> {
  return meanOver(await neighbourhoods(linalg, "knnJaccard", x, y, options), jaccard);
}

function jaccard(xs: Int32Array, ys: Int32Array): number {
  const both = shared(xs, ys).length;
  return both / (xs.length + ys.length - both);
}

/**
 * Rank similarity: do common neighbours have the same rank? Near ones count more.
 *
 *   mean_i sum over common j of 2 / ((1 + |r_x(j) - r_y(j)|) (r_x(j) + r_y(j))) / sum_{m=1}^{|common|} 1/m
 *
 * @returns 0 to 1; 0 for a stimulus without common neighbours; NaN as {@link mutualKnn}.
 * @throws As {@link mutualKnn}.
 *
 * Cost: as {@link mutualKnn}. Source: Wang et al. (2022). Matches ReSi's RankSimilarity.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [1, 0.1], [0, 1], [0.1, 1]]);
 * await rankSimilarity(linalg, x, x, { k: 2 }) // => 1
 */
export async function rankSimilarity(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  options: NeighbourOptions = {},
): Promise<number> {
  return meanOver(await neighbourhoods(linalg, "rankSimilarity", x, y, options), rankAgreement);
}

function rankAgreement(xs: Int32Array, ys: Int32Array): number {
  let score = 0;
  let most = 0;
  let nCommon = 0;
  xs.forEach((j, i) => {
    const at = ys.indexOf(j);
    if (at < 0) return;
    nCommon++;
    most += 1 / nCommon;
    score += 2 / ((1 + Math.abs(i - at)) * (i + at + 2));
  });
  return nCommon === 0 ? 0 : score / most;
}

/**
 * The product of {@link knnJaccard} and {@link rankSimilarity} per stimulus, averaged.
 *
 * @returns 0 to 1; NaN as {@link mutualKnn}.
 * @throws As {@link mutualKnn}.
 *
 * Cost: as {@link mutualKnn}. Source: Wang et al. (2022). Matches ReSi's joint rank and Jaccard similarity.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [1, 0.1], [0, 1], [0.1, 1]]);
 * await rankJaccard(linalg, x, x, { k: 2 }) // => 1
 */
export async function rankJaccard(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  options: NeighbourOptions = {},
): Promise<number> {
  const found = await neighbourhoods(linalg, "rankJaccard", x, y, options);
  return meanOver(found, (xs, ys) => jaccard(xs, ys) * rankAgreement(xs, ys));
}

/**
 * Second-order cosine similarity: do stimuli have the same distances to what is near them in either
 * representation?
 *
 *   mean_i cos(dx_i, dy_i),  d_i the cosine distances of i to the neighbours it has in x or y
 *
 * @returns 0 to 1; NaN for a stimulus whose neighbours all are in its own direction.
 * @throws As {@link mutualKnn}.
 *
 * Cost: as {@link mutualKnn}. Source: Hamilton et al. (2016), ACL. Matches ReSi's SecondOrderCosineSimilarity.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [1, 0.1], [0, 1], [0.1, 1]]);
 * (await secondOrderCosine(linalg, x, x, { k: 2 })).toFixed(9) // => "1.000000000"
 */
export async function secondOrderCosine(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  { k }: { k?: number | undefined } = {},
): Promise<number> {
  const found = await neighbourhoods(linalg, "secondOrderCosine", x, y, { k, by: "cosine" });
  const { n, xGram, yGram } = found;
  return meanOver(found, (xs, ys, i) => {
    const union = new Set([...xs, ...ys]);
    const [p, q] = [xGram, yGram].map((gram) =>
      Float64Array.from(union, (j) => distanceOf(gram[i * n + j]!)),
    ) as [Float64Array, Float64Array];
    return inner(p, q) / (norm(p) * norm(q));
  });
}

/** 1 - cosine; what only rounding leaves of it is 0. */
const distanceOf = (cosine: number): number => (1 - cosine > 1e-14 ? 1 - cosine : 0);
