import type { LongWork } from "@penfield/core";
import { throwIfAborted } from "@penfield/core";
import type { Linalg, Matrix } from "@penfield/linalg";
import { emptyLike, pickColumns, pickRows } from "./arrays.ts";
import { complementOf, type FoldMap } from "./foldMap.ts";
import { type RidgeScore, scorePenalties } from "./scores.ts";
import { meansOver, subtractFromRows, type TargetBatch } from "./targetBatch.ts";

/** Larger penalties win ties, by so little that nothing else changes. */
const TIE_BIAS = 1e-10;
/** What a forbidden penalty scores, as in himalaya. */
const IMPOSSIBLE = -1e5;

/** Scores `[fold][alpha]` over the targets of a batch. */
export type FoldScores = readonly (readonly Float64Array[])[];

/**
 * What a batch of targets is about the directions of U: Y^T U over all stimuli, and over what each fold leaves out.
 * Folds that leave each stimulus out once cost no more than the whole.
 */
export interface DirectionSums {
  readonly total: Matrix;
  readonly leftOut: readonly Matrix[];
}

/** @param u - `[nStimuli, k]`, in the precision of the targets. */
export async function directionSums(
  turned: Matrix,
  u: Matrix,
  folds: readonly FoldMap[],
  linalg: Linalg,
): Promise<DirectionSums> {
  const n = u.nRows;
  const lefts = folds.map(({ fold, route }) =>
    route === "basis" ? complementOf(fold.train, n) : new Int32Array(0),
  );
  const leftOut: Matrix[] = [];
  for (const left of lefts) {
    leftOut.push(await linalg.matmul(pickColumns(turned, left), pickRows(u, left)));
  }
  const covered = new Uint8Array(n);
  for (const left of lefts) for (const i of left) covered[i]!++;
  if (!covered.every((count) => count === 1)) {
    return { total: await linalg.matmul(turned, u), leftOut };
  }
  const sum = emptyLike(turned.data, turned.nRows * u.nColumns);
  for (const { data } of leftOut) for (let i = 0; i < sum.length; i++) sum[i]! += data[i]!;
  return { total: { data: sum, nRows: turned.nRows, nColumns: u.nColumns }, leftOut };
}

/**
 * How well each penalty predicts the test stimuli of each fold.
 *
 * @param sums - Needed for folds of route "basis"; what each leaves out becomes what it is fitted to, in place.
 */
export async function searchPenalties(
  { turned }: TargetBatch,
  sums: DirectionSums | undefined,
  folds: readonly FoldMap[],
  { score, intercept, nAlphas }: { score: RidgeScore; intercept: boolean; nAlphas: number },
  linalg: Linalg,
  { signal }: LongWork,
): Promise<FoldScores> {
  const all: Float64Array[][] = [];
  for (const [f, { fold, route, map, basis, uMeans, forbidden }] of folds.entries()) {
    throwIfAborted(signal, "ridgeCv");
    const yMeans = intercept ? meansOver(turned, fold.train) : new Float64Array(turned.nRows);
    let fitted: Matrix;
    if (route === "basis") {
      fitted = sums!.leftOut[f]!;
      fittedSums(sums!.total, fitted, yMeans, uMeans, fold.train.length);
    } else {
      fitted = pickColumns(turned, fold.train);
      subtractFromRows(fitted, yMeans);
    }
    const predicted = await linalg.matmul(fitted, map);
    const test = pickColumns(turned, fold.test);
    subtractFromRows(test, yMeans);
    const out = Array.from({ length: nAlphas }, () => new Float64Array(turned.nRows));
    scorePenalties(score, test, predicted, basis, out);
    forbidden.forEach((no, a) => {
      if (no) out[a]!.fill(IMPOSSIBLE);
    });
    all.push(out);
  }
  return all;
}

/** total - left - n mean(y) mean(u)^T, in place of left. */
function fittedSums(
  { data: total, nRows, nColumns }: Matrix,
  { data: left }: Matrix,
  yMeans: Float64Array,
  uMeans: Float64Array,
  n: number,
): void {
  for (let t = 0; t < nRows; t++) {
    const by = n * yMeans[t]!;
    const at = t * nColumns;
    for (let j = 0; j < nColumns; j++)
      left[at + j] = total[at + j]! - left[at + j]! - by * uMeans[j]!;
  }
}

/** Which penalty each target has, and its mean score over folds (with the tie bias). */
export interface Choice {
  /** Place among the penalties, [nTargets]. */
  readonly chosen: Int32Array;
  readonly cvScores: Float64Array;
}

export interface ChoiceRule {
  readonly alphas: readonly number[];
  readonly perTarget: boolean;
  readonly conservative: boolean;
}

export function choosePenalties(
  scores: FoldScores,
  { alphas, perTarget, conservative }: ChoiceRule,
): Choice {
  const nFolds = scores.length;
  const nTargets = scores[0]![0]!.length;
  /** Mean over folds, with the tie bias, of each alpha. */
  const means = alphas.map((alpha, a) => {
    const mean = new Float64Array(nTargets).fill(Math.log(alpha) * TIE_BIAS);
    for (const fold of scores) {
      for (let t = 0; t < nTargets; t++) mean[t]! += fold[a]![t]! / nFolds;
    }
    return mean;
  });
  const spread = (a: number, t: number): number => {
    const values = scores.map((fold) => fold[a]![t]!);
    const mean = values.reduce((sum, value) => sum + value, 0) / nFolds;
    return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / nFolds);
  };
  const best = (scoreAt: (a: number) => number): number =>
    alphas.reduce((top, _, a) => (scoreAt(a) > scoreAt(top) ? a : top), 0);
  const choose = (t: number): number => {
    const top = best((a) => means[a]![t]!);
    if (!conservative) return top;
    const toBeat = means[top]![t]! - spread(top, t);
    return alphas.reduce(
      (chosen, alpha, a) => (means[a]![t]! > toBeat && alpha > alphas[chosen]! ? a : chosen),
      top,
    );
  };
  const shared = perTarget ? 0 : best((a) => means[a]!.reduce((sum, value) => sum + value, 0));
  const chosen = Int32Array.from({ length: nTargets }, (_, t) => (perTarget ? choose(t) : shared));
  return { chosen, cvScores: Float64Array.from(chosen, (a, t) => means[a]![t]!) };
}
