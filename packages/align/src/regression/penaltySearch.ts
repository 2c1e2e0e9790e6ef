import type { Linalg, Matrix } from "@penfield/linalg";
import type { Fold } from "../folds.ts";
import { emptyLike, pickColumns, pickRows } from "./arrays.ts";
import { complementOf, type FoldMap } from "./foldMap.ts";
import type { RowRoom } from "./rowProducts.ts";
import { type RidgeScore, scorePenalties } from "./scores.ts";
import { meansOver, subtractFromRows } from "./targetBatch.ts";

/** Larger penalties win ties, by so little that nothing else changes. */
const TIE_BIAS = 1e-10;
/** What a forbidden penalty scores, as in himalaya. */
const IMPOSSIBLE = -1e5;

/** Scores `[fold][alpha]` over the targets of a batch. */
export type FoldScores = readonly (readonly Float64Array[])[];

/**
 * What a batch of targets is about each fold, made when asked for: measured values of the training stimuli, or their sums
 * over the directions of U, Y_train^T U_train, which are kept. Folds that leave each stimulus out once cost together
 * no more sums than the whole.
 */
export interface BatchSums {
  readonly turned: Matrix;
  /** Y^T U over all stimuli, `[nBatch, k]`. */
  total(): Promise<Matrix>;
  /** About the means of the training stimuli; of route "direct" `[nBatch, nTrain]`, else `[nBatch, k]`. */
  fitted(fold: FoldMap, at: number): Promise<Matrix>;
  /** `[nBatch, nTest]`, less the training means. */
  test(at: number): Matrix;
}

/** @param u - `[nStimuli, k]`, in the precision of the targets; not needed if all folds are of route "direct". */
export function batchSums(
  turned: Matrix,
  u: Matrix | undefined,
  folds: readonly Fold[],
  intercept: boolean,
  linalg: Linalg,
): BatchSums {
  const n = turned.nColumns;
  const means: (Float64Array | undefined)[] = [];
  const meansOf = (at: number): Float64Array => {
    means[at] ??= intercept ? meansOver(turned, folds[at]!.train) : new Float64Array(turned.nRows);
    return means[at];
  };
  let total: Matrix | undefined;
  let leftOut: Matrix[] | undefined;
  const fitted: Matrix[] = [];

  const makeTotal = async (): Promise<Matrix> => {
    total ??= await linalg.matmul(turned, u!);
    return total;
  };
  const makeLeftOut = async (): Promise<Matrix[]> => {
    const lefts = folds.map(({ train }) => complementOf(train, n));
    const sums: Matrix[] = [];
    for (const left of lefts) {
      sums.push(await linalg.matmul(pickColumns(turned, left), pickRows(u!, left)));
    }
    const covered = new Uint8Array(n);
    for (const left of lefts) for (const i of left) covered[i]!++;
    if (total === undefined && covered.every((count) => count === 1)) {
      const sum = emptyLike(turned.data, turned.nRows * u!.nColumns);
      for (const { data } of sums) for (let i = 0; i < sum.length; i++) sum[i]! += data[i]!;
      total = { data: sum, nRows: turned.nRows, nColumns: u!.nColumns };
    }
    return sums;
  };
  return {
    turned,
    total: makeTotal,
    async fitted({ route, uMeans }, at) {
      const { train } = folds[at]!;
      if (route === "direct") {
        const values = pickColumns(turned, train);
        subtractFromRows(values, meansOf(at));
        return values;
      }
      if (fitted[at] === undefined) {
        leftOut ??= await makeLeftOut();
        const left = leftOut[at]!;
        fittedSums(await makeTotal(), left, meansOf(at), uMeans, train.length);
        fitted[at] = left;
      }
      return fitted[at];
    },
    test(at) {
      const values = pickColumns(turned, folds[at]!.test);
      subtractFromRows(values, meansOf(at));
      return values;
    },
  };
}

/** How well each penalty predicts the test stimuli of one fold, `[alpha]` over targets. */
export async function foldScores(
  sums: BatchSums,
  fold: FoldMap,
  at: number,
  score: RidgeScore,
  room: RowRoom,
  linalg: Linalg,
): Promise<readonly Float64Array[]> {
  const predicted = await linalg.matmul(await sums.fitted(fold, at), fold.map);
  const out = fold.forbidden.map(() => new Float64Array(sums.turned.nRows));
  scorePenalties(score, sums.test(at), predicted, fold.basis, out, room);
  fold.forbidden.forEach((no, a) => {
    if (no) out[a]!.fill(IMPOSSIBLE);
  });
  return out;
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
interface Choice {
  /** Place among the penalties, [nTargets]. */
  readonly chosen: Int32Array;
  readonly cvScores: Float64Array;
}

interface ChoiceRule {
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
