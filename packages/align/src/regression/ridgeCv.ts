import { type Activations, type LongWork, ShapeError, type Tensor, tensor } from "@penfield/core";
import { createLinalg, type Linalg, matrixOf } from "@penfield/linalg";
import type { Fold } from "../folds.ts";
import { floats, inPrecision, type Precision, rowsOf } from "./arrays.ts";
import { block, subtractRow } from "./columns.ts";
import { choosePenalties, type FoldScores } from "./penaltySearch.ts";
import {
  batches,
  type PreparedRidge,
  prepareRidge,
  type SearchedBatch,
  searchBatch,
  shrunkTotals,
  withLinalg,
} from "./ridgeEngine.ts";
import { planRidge, type RidgePlan } from "./ridgePlan.ts";
import type { RidgeScore } from "./scores.ts";
import { type TargetBatch, turnInto } from "./targetBatch.ts";

/** What was measured, or predicted, `[nStimuli, nTargets]`. */
export type Responses = Tensor<readonly ["stimulus", "target"]>;

/** How a ridge model chooses its penalties. */
export interface RidgeOptions extends LongWork {
  /** Penalties to choose from, each above 0. Default: 10^-1, 10^0, ..., 10^8. */
  readonly alphas?: readonly number[] | undefined;
  /**
   * How many contiguous folds, or the folds themselves; or `leave-one-out`, in closed form and at the price
   * of one decomposition (score `l2` only), for stimuli that do not resemble their neighbours. Default 5.
   */
  readonly folds?: number | readonly Fold[] | "leave-one-out" | undefined;
  /** What the penalty is chosen by. Default `l2`, minus the mean squared error. */
  readonly score?: RidgeScore | undefined;
  /** Whether each target has a penalty of its own. Default true. */
  readonly perTarget?: boolean | undefined;
  /** Take the largest penalty within one standard deviation (over folds) of the best. Default false. */
  readonly conservative?: boolean | undefined;
  /** Default true. */
  readonly intercept?: boolean | undefined;
  /**
   * How many targets are worked on at a time; bounds the memory. Default: as many as keep arrays of a batch below
   * 32 MiB, at most 2000.
   */
  readonly targetBatch?: number | undefined;
  /**
   * The number type of products and of what comes back; decompositions are float64 in any case. Default: float32 if
   * units and targets both are (twice as fast, rounding of about 1e-5 of the largest coefficient), else float64.
   */
  readonly precision?: Precision | undefined;
  /** Where products are computed. Default: one made for this call. */
  readonly linalg?: Linalg | undefined;
}

/** Penalties that cross-validation chose. */
export interface RidgePenalties {
  /** The chosen penalty of each target, `[nTargets]`. */
  readonly bestAlphas: Float64Array;
  /** The mean score over folds at that penalty, `[nTargets]`. */
  readonly cvScores: Float64Array;
}

/** A linear map from units to targets, yHat = X coefficients + intercept. */
export interface LinearModel {
  /** `[nUnits, nTargets]`. */
  readonly coefficients: Tensor<readonly ["unit", "target"]>;
  /** `[nTargets]`; zeros without an intercept. */
  readonly intercept: Float64Array;
}

/** A fitted ridge model. */
export interface RidgeModel extends LinearModel, RidgePenalties {}

/**
 * Ridge regression with penalties chosen by cross-validation, for each target on its own.
 *
 *   coefficients = argmin_w |y - X w|^2 + alpha |w|^2,   alpha = argmax of the mean score over folds
 *
 * X and y are centred by the means of the training stimuli. Each fold costs one eigendecomposition
 * of the smaller of X^T X and X X^T (the kernel form, when there are more units than stimuli), and then
 * one product for as many functions of the penalty as are independent to rounding, often fewer than there are penalties.
 *
 * @param x - Activations, `[nStimuli, nUnits]`, finite. Not scaled here.
 * @param y - Responses, `[nStimuli, nTargets]`, finite.
 * @param options - How penalties are chosen.
 * @returns Coefficients and intercept of the model refitted to all stimuli; coefficients are float32 if both inputs are
 *   (see `precision`), else float64.
 * @throws {ShapeError} if the numbers of stimuli differ, or there is no unit or target.
 * @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if an option is out of range.
 * @throws {InterruptedError} if the signal fires.
 *
 * Cost: with k = min(nStimuli, nUnits), per fold O(k^3) and 2 nTest k nTargets operations per penalty; 2 nStimuli k nTargets
 * for all folds together. Memory: inputs, coefficients and some 100 MB.
 * Because the penalty is added to squares of singular values, penalties below about 1e-12 of the
 * largest of these are lost in rounding.
 * Source: Hoerl & Kennard (1970); leave-one-out: Golub, Heath & Wahba (1979), as sklearn's RidgeCV and
 * thereby Brain-Score's `ridge` metrics. Matches himalaya's RidgeCV and KernelRidgeCV (linear), whose defaults
 * these are except for the penalties; tie bias log(alpha) 1e-10.
 *
 * @example
 * const x = activations([[1], [2], [3], [4], [5], [6]]);
 * const y = tensor(Float64Array.of(2, 4, 6, 8, 10, 12), ["stimulus", "target"], [6, 1]);
 * const model = await ridgeCv(x, y, { alphas: [1e-6, 1], folds: 3 });
 * model.coefficients.data[0].toFixed(3) // => "2.000"
 * model.bestAlphas[0] // => 0.000001
 */
export async function ridgeCv(
  x: Activations,
  y: Responses,
  options: RidgeOptions = {},
): Promise<RidgeModel> {
  const plan = planRidge(x, y, options);
  const { nUnits, nTargets, precision } = plan;
  return withLinalg(options.linalg, async (linalg) => {
    const prepared = await prepareRidge(x, plan, linalg, options);
    const v = inPrecision(await prepared.spectrum.v(), precision);
    const { xMeans } = prepared.spectrum;
    const coefficients = floats(precision, nUnits * nTargets);
    const intercept = new Float64Array(nTargets);
    const chosen = await eachBatch(y, prepared, plan, linalg, options, async (shrunk, at) => {
      const fitted = await linalg.matmul(shrunk, v, { transposeB: true }); // [nBatch, nUnits]
      turnInto(coefficients, nTargets, at.from, fitted);
      for (let t = 0; t < fitted.nRows; t++) {
        let sum = 0;
        for (let u = 0; u < nUnits; u++) sum += xMeans[u]! * fitted.data[t * nUnits + u]!;
        intercept[at.from + t] = at.batch.means[t]! - sum;
      }
    });
    return {
      coefficients: tensor(coefficients, ["unit", "target"], [nUnits, nTargets]),
      intercept,
      ...chosen,
    };
  });
}

/**
 * The penalties that `ridgeCv` would choose, without the coefficients, which for thousands of units and targets are
 * larger than the data.
 *
 * Parameters, errors and cost as for `ridgeCv`.
 *
 * @example
 * const x = activations([[1], [2], [3], [4], [5], [6]]);
 * const y = tensor(Float64Array.of(2, 4, 6, 8, 10, 12), ["stimulus", "target"], [6, 1]);
 * (await ridgePenalties(x, y, { alphas: [0.5, 50], folds: 3 })).bestAlphas[0] // => 0.5
 */
export async function ridgePenalties(
  x: Activations,
  y: Responses,
  options: RidgeOptions = {},
): Promise<RidgePenalties> {
  const plan = planRidge(x, y, options);
  return withLinalg(options.linalg, async (linalg) => {
    const prepared = await prepareRidge(x, plan, linalg, options);
    return eachBatch(y, prepared, plan, linalg, options, undefined);
  });
}

/**
 * What `ridgeCv` fitted to x and y expects for other stimuli, without ever forming the coefficients, which
 * for thousands of units and targets are far larger than the data.
 *
 * @param held - `[nHeld, nUnits]`, finite.
 * @returns `[nHeld, nTargets]`, in the precision of the fit.
 *
 * Other parameters, errors and cost as for `ridgeCv`.
 */
export async function ridgePredictions(
  x: Activations,
  y: Responses,
  held: Activations,
  options: RidgeOptions = {},
): Promise<Responses> {
  const plan = planRidge(x, y, options);
  const { nTargets, nUnits, precision } = plan;
  if (held.shape[1] !== nUnits) {
    throw new ShapeError(`ridgePredictions: expected ${nUnits} units, got ${held.shape[1]}`);
  }
  const nHeld = held.shape[0];
  return withLinalg(options.linalg, async (linalg) => {
    const prepared = await prepareRidge(x, plan, linalg, options);
    const other = block(held, rowsOf(nHeld));
    subtractRow(other, prepared.spectrum.xMeans);
    const places = inPrecision(await linalg.matmul(other, await prepared.spectrum.v()), precision); // [nHeld, k]
    const out = floats(precision, nHeld * nTargets);
    await eachBatch(y, prepared, plan, linalg, options, async (shrunk, { from, batch }) => {
      const predicted = await linalg.matmul(shrunk, places, { transposeB: true });
      turnInto(out, nTargets, from, predicted, batch.means);
    });
    return tensor(out, ["stimulus", "target"], [nHeld, nTargets]);
  });
}

/** A batch whose penalties are chosen. */
interface BatchPlace {
  readonly from: number;
  readonly batch: TargetBatch;
}

/** Chooses penalties batch by batch, and hands on A diag(s / (s^2 + alpha)) of each, `[nBatch, k]`. */
async function eachBatch(
  y: Responses,
  prepared: PreparedRidge,
  plan: RidgePlan,
  linalg: Linalg,
  work: LongWork,
  use: ((shrunk: TargetBatch["turned"], at: BatchPlace) => Promise<void>) | undefined,
): Promise<RidgePenalties> {
  const { nTargets, alphas } = plan;
  const responses = matrixOf(y);
  const bestAlphas = new Float64Array(nTargets);
  const cvScores = new Float64Array(nTargets);
  const all: FoldScores[] = [];
  const finish = async ({ batch, total }: SearchedBatch, from: number): Promise<void> => {
    const own = bestAlphas.subarray(from, from + total.nRows);
    await use?.(shrunkTotals(total, prepared, own), { from, batch });
    const done = from + total.nRows;
    work.onProgress?.({ stage: "fitting", done, total: nTargets, unit: "targets" });
  };
  for (const [from, to] of batches(plan, prepared.folds)) {
    const searched = await searchBatch(responses, from, to, prepared, plan, linalg, work);
    work.onProgress?.({ stage: "choosing penalties", done: to, total: nTargets, unit: "targets" });
    if (!plan.perTarget) {
      all.push(searched.scores);
      continue;
    }
    const { chosen, cvScores: best } = choosePenalties(searched.scores, plan);
    bestAlphas.set(
      Float64Array.from(chosen, (a) => alphas[a]!),
      from,
    );
    cvScores.set(best, from);
    await finish(searched, from);
  }
  if (plan.perTarget) return { bestAlphas, cvScores };
  // One penalty for all can only be chosen when all are known.
  const { chosen, cvScores: best } = choosePenalties(sideBySide(all), plan);
  bestAlphas.set(Float64Array.from(chosen, (a) => alphas[a]!));
  cvScores.set(best);
  if (!use) return { bestAlphas, cvScores };
  const refit = { ...prepared, folds: [] };
  for (const [from, to] of batches(plan, prepared.folds)) {
    const once = { ...plan, leaveOneOut: false };
    await finish(await searchBatch(responses, from, to, refit, once, linalg, work), from);
  }
  return { bestAlphas, cvScores };
}

/** Scores of batches of targets as those of all. */
function sideBySide(parts: readonly FoldScores[]): FoldScores {
  return parts[0]!.map((alphas, f) =>
    alphas.map((_, a) => {
      const rows = parts.map((part) => part[f]![a]!);
      const out = new Float64Array(rows.reduce((sum, row) => sum + row.length, 0));
      let at = 0;
      for (const row of rows) {
        out.set(row, at);
        at += row.length;
      }
      return out;
    }),
  );
}

/**
 * What a fitted model expects for stimuli.
 *
 *   yHat = X coefficients + intercept
 *
 * @param model - From `ridgeCv` or another regressor.
 * @param x - `[nStimuli, nUnits]`, of the units that the model was fitted to.
 * @param options.linalg - Default: one made for this call.
 * @returns `[nStimuli, nTargets]`, float32 if both the model and x are.
 * @throws {ShapeError} if the number of units is another.
 */
export async function predict(
  model: LinearModel,
  x: Activations,
  { linalg }: { linalg?: Linalg | undefined } = {},
): Promise<Responses> {
  const [nUnits, nTargets] = model.coefficients.shape;
  const [nStimuli] = x.shape;
  if (x.shape[1] !== nUnits) {
    throw new ShapeError(`predict: expected ${nUnits} units, got ${x.shape[1]}`);
  }
  const used = linalg ?? createLinalg();
  try {
    const { data } = await used.matmul(matrixOf(x), matrixOf(model.coefficients));
    for (let i = 0; i < nStimuli; i++) {
      for (let t = 0; t < nTargets; t++) data[i * nTargets + t]! += model.intercept[t]!;
    }
    return tensor(data, ["stimulus", "target"], [nStimuli, nTargets]);
  } finally {
    if (linalg === undefined) await used.dispose();
  }
}
