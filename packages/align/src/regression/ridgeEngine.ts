import { type Activations, type LongWork, throwIfAborted } from "@penfield/core";
import { createLinalg, type Linalg, type Matrix } from "@penfield/linalg";
import { columnsOf, inPrecision, rowsOf } from "./arrays.ts";
import { block } from "./columns.ts";
import { type FoldMap, kernelFold, prepareUnitFold, unitFold } from "./foldMap.ts";
import { batchSums, type FoldScores, foldScores } from "./penaltySearch.ts";
import type { RidgePlan } from "./ridgePlan.ts";
import { type RowRoom, rowRoom } from "./rowProducts.ts";
import { type Spectrum, shrinkRows, spectrumOf } from "./spectrum.ts";
import { type TargetBatch, targetBatch } from "./targetBatch.ts";

export async function withLinalg<T>(
  given: Linalg | undefined,
  work: (linalg: Linalg) => Promise<T>,
): Promise<T> {
  const linalg = given ?? createLinalg();
  try {
    return await work(linalg);
  } finally {
    if (given === undefined) await linalg.dispose();
  }
}

/** All that does not depend on the targets. */
export interface PreparedRidge {
  readonly spectrum: Omit<Spectrum, "x" | "gram">;
  readonly folds: readonly FoldMap[];
  readonly room: RowRoom;
}

/** One decomposition of the whole and one per fold. */
export async function prepareRidge(
  x: Activations,
  plan: RidgePlan,
  linalg: Linalg,
  { onProgress, signal }: LongWork,
): Promise<PreparedRidge> {
  throwIfAborted(signal, "ridgeCv");
  const own = block(x, rowsOf(plan.nStimuli));
  const spectrum = await spectrumOf(own, plan.intercept, plan.precision, linalg);
  const folds: FoldMap[] = [];
  for (const [i, fold] of plan.folds.entries()) {
    throwIfAborted(signal, "ridgeCv");
    folds.push(
      spectrum.wide
        ? await kernelFold(spectrum.gram, fold, plan, linalg)
        : await unitFold(
            spectrum,
            await prepareUnitFold(spectrum, fold, plan.intercept, linalg),
            plan,
            linalg,
          ),
    );
    const total = plan.folds.length;
    onProgress?.({ stage: "decomposing folds", done: i + 1, total, unit: "folds" });
  }
  // The copies of x and its Gram matrix have served.
  const { x: _x, gram: _gram, ...rest } = spectrum;
  return { spectrum: rest, folds, room: rowRoom() };
}

/** Bytes that arrays of one batch of targets may take, if the caller does not say how many targets it has. */
const BATCH_BYTES = 32 * 2 ** 20;

/** Ranges of targets that are worked on at a time. */
export function* batches(
  plan: RidgePlan,
  folds: readonly FoldMap[],
): Generator<readonly [number, number]> {
  const size = plan.targetBatch ?? defaultBatch(plan, folds);
  for (let from = 0; from < plan.nTargets; from += size) {
    yield [from, Math.min(plan.nTargets, from + size)];
  }
}

function defaultBatch(
  { nStimuli, nUnits, precision }: RidgePlan,
  folds: readonly FoldMap[],
): number {
  const k = Math.min(nStimuli, nUnits);
  const widest = Math.max(0, ...folds.map(({ map }) => map.nColumns));
  const perTarget =
    (precision === "float32" ? 4 : 8) * (2 * nStimuli + (folds.length + 2) * k + widest);
  return Math.max(64, Math.min(2000, Math.floor(BATCH_BYTES / perTarget)));
}

export interface SearchedBatch {
  readonly batch: TargetBatch;
  readonly scores: FoldScores;
  /** Y^T U over all stimuli, `[nBatch, k]`. */
  readonly total: Matrix;
}

/** Scores of every penalty for some targets. */
export async function searchBatch(
  y: Matrix,
  from: number,
  to: number,
  { spectrum, folds, room }: PreparedRidge,
  plan: RidgePlan,
  linalg: Linalg,
  work: LongWork,
): Promise<SearchedBatch> {
  throwIfAborted(work.signal, "ridgeCv");
  const batch = targetBatch(y, columnsOf(from, to), plan.intercept, plan.precision);
  const { turned } = batch;
  const sums = batchSums(turned, spectrum.u, plan.folds, plan.intercept, linalg);
  if (plan.leaveOneOut) {
    const total = await sums.total();
    return {
      batch,
      scores: [await leaveOneOutScores(batch, total, spectrum, plan, linalg)],
      total,
    };
  }
  const scores: (readonly Float64Array[])[] = [];
  for (const [at, fold] of folds.entries()) {
    throwIfAborted(work.signal, "ridgeCv");
    scores.push(await foldScores(sums, fold, at, plan.score, room, linalg));
  }
  return { batch, scores, total: await sums.total() };
}

/** What is known of some targets once their penalties are: `total` becomes A diag(s / (s^2 + alpha)), in place. */
export function shrunkTotals(
  total: Matrix,
  { spectrum }: PreparedRidge,
  alphas: ArrayLike<number>,
): Matrix {
  shrinkRows(total, spectrum.s, alphas);
  return total;
}

/**
 * Minus the mean squared error of each stimulus under the model fitted without it, for each penalty:
 *
 *   e_i / (1 - h_ii),  h_ii = 1 / n (with an intercept) + sum_j U_ij^2 s_j^2 / (s_j^2 + alpha)
 */
async function leaveOneOutScores(
  { turned }: TargetBatch,
  total: Matrix,
  { u, s }: Omit<Spectrum, "x" | "gram">,
  { alphas, intercept, nStimuli: n, precision }: RidgePlan,
  linalg: Linalg,
): Promise<readonly Float64Array[]> {
  const k = u.nColumns;
  const scores: Float64Array[] = [];
  for (const alpha of alphas) {
    const shares = s.map((value) => value ** 2 / (value ** 2 + alpha));
    const factors = new Float64Array(n);
    const turnedU = new Float64Array(n * k);
    for (let i = 0; i < n; i++) {
      let leverage = intercept ? 1 / n : 0;
      for (let j = 0; j < k; j++) {
        const value = u.data[i * k + j]!;
        leverage += value * value * shares[j]!;
        turnedU[i * k + j] = value * shares[j]!;
      }
      factors[i] = 1 / (1 - leverage);
    }
    const map = inPrecision({ data: turnedU, nRows: n, nColumns: k }, precision);
    const { data } = await linalg.matmul(total, map, { transposeB: true });
    const out = new Float64Array(turned.nRows);
    for (let t = 0; t < turned.nRows; t++) {
      let sum = 0;
      for (let i = 0; i < n; i++) {
        sum += ((turned.data[t * n + i]! - data[t * n + i]!) * factors[i]!) ** 2;
      }
      out[t] = -sum / n;
    }
    scores.push(out);
  }
  return scores;
}
