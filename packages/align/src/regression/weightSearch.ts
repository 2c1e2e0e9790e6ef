import { ArgumentError, createRng, type LongWork, type Rng, throwIfAborted } from "@penfield/core";
import type { Linalg, Matrix } from "@penfield/linalg";
import type { Fold } from "../folds.ts";
import { columnsOf, type Precision } from "./arrays.ts";
import type { FoldMap } from "./foldMap.ts";
import { type BatchSums, batchSums, choosePenalties, foldScores } from "./penaltySearch.ts";
import { rowRoom } from "./rowProducts.ts";
import type { RidgeScore } from "./scores.ts";
import { targetBatch } from "./targetBatch.ts";

/** How weights of feature spaces or kernels are drawn. */
export interface WeightOptions {
  /**
   * How many combinations of weights are tried, or the combinations themselves `[nTries][nSpaces]`, none negative.
   * Default 100; the first of those drawn gives all spaces the same weight.
   */
  readonly weights?: number | readonly (readonly number[])[] | undefined;
  /** Concentrations of the Dirichlet distribution that weights are drawn from, in turn. Default 0.1 and 1. */
  readonly concentrations?: readonly number[] | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
}

/**
 * Combinations of weights on the simplex, each of them at least 0 and 1 in sum.
 *
 * @param n - How many.
 * @param nSpaces - How many weights each has.
 * @param options.concentrations - Small ones draw combinations near a corner (one space alone), 1 draws all alike,
 *   Infinity gives equal weights. The draws take them in turn. Default 0.1 and 1.
 * @param options.seed - Default 0.
 * @throws {ArgumentError} if a number is out of range.
 *
 * Source: Dupré la Tour et al. (2022), NeuroImage 264:119728; the scheme of himalaya's generate_dirichlet_samples, with another generator.
 *
 * @example
 * dirichletWeights(3, 2, { concentrations: [Number.POSITIVE_INFINITY] })[2].join(" ") // => "0.5 0.5"
 */
export function dirichletWeights(
  n: number,
  nSpaces: number,
  { concentrations = [0.1, 1], seed = 0 }: Omit<WeightOptions, "weights"> = {},
): readonly (readonly number[])[] {
  if (!Number.isInteger(n) || n < 1 || !Number.isInteger(nSpaces) || nSpaces < 1) {
    throw new ArgumentError(
      `dirichletWeights: expected positive whole numbers of draws and spaces, got ${n} and ${nSpaces}`,
    );
  }
  if (concentrations.length === 0 || concentrations.some((c) => !(c > 0))) {
    throw new ArgumentError(
      `dirichletWeights: expected concentrations above 0, got ${concentrations.join(", ") || "none"}`,
    );
  }
  const rng = createRng(seed);
  return Array.from({ length: n }, (_, i) => {
    const concentration = concentrations[i % concentrations.length]!;
    if (concentration === Number.POSITIVE_INFINITY) return Array(nSpaces).fill(1 / nSpaces);
    const logs = Array.from({ length: nSpaces }, () => logGammaDraw(concentration, rng));
    // Draws of a small concentration underflow; their logarithms do not.
    const top = Math.max(...logs);
    const sizes = logs.map((value) => Math.exp(value - top));
    const sum = sizes.reduce((a, b) => a + b, 0);
    return sizes.map((size) => size / sum);
  });
}

/**
 * The logarithm of a draw from Gamma(shape, 1).
 *
 * Source: Marsaglia & Tsang (2000), ACM Trans Math Softw 26; shapes below 1 as Gamma(shape + 1) u^(1 / shape).
 */
function logGammaDraw(shape: number, rng: Rng): number {
  if (shape < 1) return logGammaDraw(shape + 1, rng) + Math.log(1 - rng.uniform()) / shape;
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = rng.normal();
    const v = (1 + c * x) ** 3;
    if (v <= 0) continue;
    const u = 1 - rng.uniform();
    if (Math.log(u) < 0.5 * x * x + d - d * v + d * Math.log(v)) return Math.log(d * v);
  }
}

/** The combinations to try, checked. */
export function weightsToTry(
  name: string,
  nSpaces: number,
  { weights = 100, concentrations, seed }: WeightOptions,
): readonly (readonly number[])[] {
  if (typeof weights === "number") {
    const drawn = dirichletWeights(weights, nSpaces, { concentrations, seed });
    return [Array(nSpaces).fill(1 / nSpaces), ...drawn.slice(1)];
  }
  const fits = (row: readonly number[]) =>
    row.length === nSpaces &&
    row.every((value) => value >= 0 && Number.isFinite(value)) &&
    row.some((value) => value > 0);
  const bad = weights.findIndex((row) => !fits(row));
  if (weights.length === 0 || bad >= 0) {
    throw new ArgumentError(
      `${name}: expected combinations of ${nSpaces} weights that are not negative, got ${
        weights.length === 0 ? "none" : `[${weights[bad]!.join(", ")}]`
      }`,
    );
  }
  return weights;
}

/** What the search does with one combination of weights: how each fold predicts. */
interface WeightSearch {
  readonly weights: readonly (readonly number[])[];
  readonly alphas: readonly number[];
  readonly folds: readonly Fold[];
  readonly score: RidgeScore;
  readonly perTarget: boolean;
  readonly conservative: boolean;
  readonly intercept: boolean;
  readonly precision: Precision;
  /** U, if some fold is of route "basis". */
  readonly u: Matrix | undefined;
  readonly batchSize: number;
  readonly foldOf: (weights: readonly number[], fold: Fold) => Promise<FoldMap>;
}

export interface FoundWeights {
  /** Which combination is best for each target, [nTargets]. */
  readonly best: Int32Array;
  readonly bestAlphas: Float64Array;
  /** Of each combination, at its best penalty, `[nTries, nTargets]`. */
  readonly cvScores: Float64Array;
}

/** Sums of batches are kept from one combination to the next if they fit in here. */
const KEPT_BYTES = 96 * 2 ** 20;

/** The best combination of weights and penalty for each target. What is measured is summed once for all of them. */
export async function searchWeights(
  y: Matrix,
  search: WeightSearch,
  name: string,
  linalg: Linalg,
  { onProgress, signal }: LongWork,
): Promise<FoundWeights> {
  const { weights, alphas, folds, score, intercept, precision, u, batchSize } = search;
  const nTargets = y.nColumns;
  const best = new Int32Array(nTargets).fill(-1);
  const bestAlphas = new Float64Array(nTargets).fill(1);
  const bestScores = new Float64Array(nTargets).fill(Number.NEGATIVE_INFINITY);
  const cvScores = new Float64Array(weights.length * nTargets);
  const least = precision === "float32" ? 2 ** -23 : Number.EPSILON;
  const width = (y.nRows + (u ? u.nColumns * (folds.length + 1) : 0)) * (least > 1e-10 ? 4 : 8);
  const keeps = nTargets * width <= KEPT_BYTES;
  const kept = new Map<number, BatchSums>();
  const room = rowRoom();
  const sumsOf = (from: number, to: number): BatchSums => {
    const old = kept.get(from);
    if (old) return old;
    const { turned } = targetBatch(y, columnsOf(from, to), intercept, precision);
    const sums = batchSums(turned, u, folds, intercept, linalg);
    if (keeps) kept.set(from, sums);
    return sums;
  };
  for (const [g, gamma] of weights.entries()) {
    throwIfAborted(signal, name);
    const maps: FoldMap[] = [];
    for (const fold of folds) maps.push(await search.foldOf(gamma, fold));
    const all = folds.map(() => alphas.map(() => new Float64Array(nTargets)));
    for (let from = 0; from < nTargets; from += batchSize) {
      const to = Math.min(nTargets, from + batchSize);
      const sums = sumsOf(from, to);
      for (const [f, map] of maps.entries()) {
        throwIfAborted(signal, name);
        const scores = await foldScores(sums, map, f, score, room, linalg);
        scores.forEach((row, a) => {
          all[f]![a]!.set(row, from);
        });
      }
    }
    const { chosen, cvScores: found } = choosePenalties(all, search);
    cvScores.set(found, g * nTargets);
    for (let t = 0; t < nTargets; t++) {
      if (!(found[t]! > bestScores[t]! + least)) continue;
      bestScores[t] = found[t]!;
      best[t] = g;
      bestAlphas[t] = alphas[chosen[t]!]!;
    }
    onProgress?.({ stage: "trying weights", done: g + 1, total: weights.length, unit: "weights" });
  }
  return { best, bestAlphas, cvScores };
}

/** Targets by their best combination of weights. */
export function targetsByWeights(best: Int32Array): ReadonlyMap<number, Int32Array> {
  const lists = new Map<number, number[]>();
  best.forEach((g, t) => {
    const list = lists.get(g);
    if (list) list.push(t);
    else lists.set(g, [t]);
  });
  return new Map([...lists].map(([g, list]) => [g, Int32Array.from(list)]));
}
