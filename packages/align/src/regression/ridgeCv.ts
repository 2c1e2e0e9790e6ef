import {
  type Activations,
  ArgumentError,
  type LongWork,
  ShapeError,
  type Tensor,
  tensor,
  throwIfAborted,
} from "@penfield/core";
import { createLinalg, type Linalg, type Matrix } from "@penfield/linalg";
import { checkFolds, contiguousFolds, type Fold } from "../folds.ts";
import { block, checkFinite, columnMeans, subtractRow } from "./columns.ts";
import { type RidgeScore, ridgeScores } from "./scores.ts";
import { type Spectrum, spectrumOf } from "./spectrum.ts";

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
  /** How many targets are worked on at a time; bounds the memory. Default 2000. */
  readonly targetBatch?: number | undefined;
  /** Where products are computed. Default: one made for this call. */
  readonly linalg?: Linalg | undefined;
}

/** A fitted linear map from units to targets. */
export interface RidgeModel {
  /** `[nUnits, nTargets]`. */
  readonly coefficients: Tensor<readonly ["unit", "target"]>;
  /** `[nTargets]`; zeros without an intercept. */
  readonly intercept: Float64Array;
  /** The chosen penalty of each target, `[nTargets]`. */
  readonly bestAlphas: Float64Array;
  /** The mean score over folds at that penalty, `[nTargets]`. */
  readonly cvScores: Float64Array;
}

/** Ten powers of ten: wide enough for activations that nobody has scaled. */
const DEFAULT_ALPHAS: readonly number[] = Array.from({ length: 10 }, (_, i) => 10 ** (i - 1));

/** Larger penalties win ties, by so little that nothing else changes. */
const TIE_BIAS = 1e-10;

/**
 * Ridge regression with penalties chosen by cross-validation, for each target on its own.
 *
 *   coefficients = argmin_w |y - X w|^2 + alpha |w|^2,   alpha = argmax of the mean score over folds
 *
 * X and y are centred by the means of the training stimuli. Each fold costs one eigendecomposition
 * of the smaller of X^T X and X X^T (the kernel form, when there are more units than stimuli), and then
 * one product per penalty.
 *
 * @param x - Activations, `[nStimuli, nUnits]`, finite. Not scaled here.
 * @param y - Responses, `[nStimuli, nTargets]`, finite.
 * @param options - How penalties are chosen.
 * @returns Coefficients and intercept of the model refitted to all stimuli, in float64 whatever the input.
 * @throws {ShapeError} if the numbers of stimuli differ, or there is no unit or target.
 * @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if an option is out of range.
 * @throws {InterruptedError} if the signal fires.
 *
 * Cost: with k = min(nStimuli, nUnits), per fold O(k^3) and 2 nTest k nTargets operations per penalty.
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
  return withLinalg(options.linalg, async (linalg) => {
    const { whole, choice } = await choosePenalties(x, y, plan, linalg, options);
    return refit(y, whole, choice, plan, linalg, options);
  });
}

/**
 * What `ridgeCv` fitted to x and y expects for other stimuli, without ever forming the coefficients, which
 * for thousands of units and targets are far larger than the data.
 *
 * @param held - `[nHeld, nUnits]`, finite.
 */
export async function ridgePredictions(
  x: Activations,
  y: Responses,
  held: Activations,
  options: RidgeOptions = {},
): Promise<Responses> {
  const plan = planRidge(x, y, options);
  const { nStimuli, nTargets, intercept } = plan;
  return withLinalg(options.linalg, async (linalg) => {
    const { whole, choice } = await choosePenalties(x, y, plan, linalg, options);
    const other = block(held, rowsOf(held.shape[0]));
    if (intercept) subtractRow(other, whole.xMeans);
    const scores = await whole.spectrum.scoresOf(other);
    const out = new Float64Array(other.nRows * nTargets);
    for (const [from, to] of batches(plan)) {
      throwIfAborted(options.signal, "ridgeCv");
      const targets = block(y, rowsOf(nStimuli), from, to);
      const yMeans = intercept ? columnMeans(targets) : new Float64Array(to - from);
      const shrunk = await shrink(targets, yMeans, whole.spectrum, choice, from, linalg);
      const { data } = await linalg.matmul(scores, shrunk);
      const width = to - from;
      for (let i = 0; i < other.nRows; i++) {
        for (let t = 0; t < width; t++) {
          out[i * nTargets + from + t] = data[i * width + t]! + yMeans[t]!;
        }
      }
    }
    return tensor(out, ["stimulus", "target"], [other.nRows, nTargets]);
  });
}

async function withLinalg<T>(
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

async function choosePenalties(
  x: Activations,
  y: Responses,
  plan: Plan,
  linalg: Linalg,
  options: LongWork,
): Promise<{ whole: Whole; choice: Choice }> {
  if (plan.leaveOneOut) {
    const whole = await decompose(x, plan, linalg);
    const scores = await leaveOneOutScores(y, whole, plan, linalg, options);
    return { whole, choice: chooseAlphas([scores], plan) };
  }
  const folds: PreparedFold[] = [];
  for (const [i, fold] of plan.folds.entries()) {
    throwIfAborted(options.signal, "ridgeCv");
    folds.push(await prepare(x, fold, plan, linalg));
    options.onProgress?.({
      stage: "decomposing folds",
      done: i + 1,
      total: plan.folds.length,
      unit: "folds",
    });
  }
  const choice = chooseAlphas(await foldScores(y, folds, plan, linalg, options), plan);
  return { whole: await decompose(x, plan, linalg), choice };
}

interface Plan {
  readonly alphas: readonly number[];
  /** Empty for leave-one-out. */
  readonly folds: readonly Fold[];
  readonly leaveOneOut: boolean;
  readonly score: RidgeScore;
  readonly perTarget: boolean;
  readonly conservative: boolean;
  readonly intercept: boolean;
  readonly targetBatch: number;
  readonly nStimuli: number;
  readonly nUnits: number;
  readonly nTargets: number;
}

function planRidge(x: Activations, y: Responses, options: RidgeOptions): Plan {
  const {
    alphas = DEFAULT_ALPHAS,
    folds = 5,
    score = "l2",
    perTarget = true,
    conservative = false,
    intercept = true,
    targetBatch = 2000,
  } = options;
  const [nStimuli, nUnits] = x.shape;
  const nTargets = y.shape[1];
  if (nStimuli !== y.shape[0]) {
    throw new ShapeError(
      `ridgeCv: expected as many stimuli in x as in y, got ${nStimuli} and ${y.shape[0]}`,
      { hint: "Bring them together with matchStimuli first." },
    );
  }
  if (nUnits < 1 || nTargets < 1) {
    throw new ShapeError(
      `ridgeCv: expected at least one unit and one target, got ${nUnits} and ${nTargets}`,
    );
  }
  if (alphas.length === 0 || alphas.some((alpha) => !(alpha > 0 && Number.isFinite(alpha)))) {
    throw new ArgumentError(
      `ridgeCv: expected alphas above 0, got ${alphas.length === 0 ? "none" : alphas.join(", ")}`,
    );
  }
  if (!Object.hasOwn(ridgeScores, score)) {
    throw new ArgumentError(
      `ridgeCv: expected score ${Object.keys(ridgeScores).join(", ")}, got ${score}`,
    );
  }
  if (!Number.isInteger(targetBatch) || targetBatch < 1) {
    throw new ArgumentError(
      `ridgeCv: expected a positive whole number for targetBatch, got ${targetBatch}`,
    );
  }
  checkFinite("ridgeCv", "activations", x.data, nUnits);
  checkFinite("ridgeCv", "responses", y.data, nTargets);
  const leaveOneOut = folds === "leave-one-out";
  const list = leaveOneOut
    ? []
    : typeof folds === "number"
      ? contiguousFolds(nStimuli, folds)
      : folds;
  if (!leaveOneOut) checkFolds("ridgeCv", list, nStimuli);
  else if (score !== "l2" || conservative || nStimuli < 3) {
    throw new ArgumentError(
      `ridgeCv: expected score l2, not conservative, and at least 3 stimuli for leave-one-out, got ${score}, ${conservative} and ${nStimuli}`,
    );
  }
  return {
    alphas,
    folds: list,
    leaveOneOut,
    score,
    perTarget,
    conservative,
    intercept,
    targetBatch,
    nStimuli,
    nUnits,
    nTargets,
  };
}

interface PreparedFold {
  readonly fold: Fold;
  readonly spectrum: Spectrum;
  /** [nTest, k]. */
  readonly testScores: Matrix<Float64Array>;
}

async function prepare(
  x: Activations,
  fold: Fold,
  { intercept }: Plan,
  linalg: Linalg,
): Promise<PreparedFold> {
  const train = block(x, fold.train);
  const test = block(x, fold.test);
  if (intercept) {
    const means = columnMeans(train);
    subtractRow(train, means);
    subtractRow(test, means);
  }
  const spectrum = await spectrumOf(train, linalg);
  return { fold, spectrum, testScores: await spectrum.scoresOf(test) };
}

/** The targets in ranges of at most `targetBatch`. */
function* batches({ nTargets, targetBatch }: Plan): Generator<readonly [number, number]> {
  for (let from = 0; from < nTargets; from += targetBatch) {
    yield [from, Math.min(nTargets, from + targetBatch)];
  }
}

/** Scores `[fold][alpha]` over targets. */
async function foldScores(
  y: Responses,
  folds: readonly PreparedFold[],
  plan: Plan,
  linalg: Linalg,
  { onProgress, signal }: LongWork,
): Promise<readonly (readonly Float64Array[])[]> {
  const { alphas, intercept, nTargets } = plan;
  const scoreOf = ridgeScores[plan.score];
  const scores = folds.map(() => alphas.map(() => new Float64Array(nTargets)));
  for (const [from, to] of batches(plan)) {
    for (const [f, { fold, spectrum, testScores }] of folds.entries()) {
      throwIfAborted(signal, "ridgeCv");
      const train = block(y, fold.train, from, to);
      const test = block(y, fold.test, from, to);
      if (intercept) {
        const means = columnMeans(train);
        subtractRow(train, means);
        subtractRow(test, means);
      }
      const projected = await linalg.matmul(spectrum.project, train); // [k, nBatch]
      for (const [a, alpha] of alphas.entries()) {
        const weights = spectrum.lambda.map((lambda) => 1 / (lambda + alpha));
        const predicted = await linalg.matmul(scaleColumns(testScores, weights), projected);
        scoreOf(test, predicted, scores[f]![a]!.subarray(from, to));
      }
    }
    onProgress?.({ stage: "choosing penalties", done: to, total: nTargets, unit: "targets" });
  }
  return scores;
}

function scaleColumns(
  { data, nRows, nColumns }: Matrix<Float64Array>,
  weights: Float64Array,
): Matrix<Float64Array> {
  const out = new Float64Array(data.length);
  for (let i = 0; i < nRows; i++) {
    for (let j = 0; j < nColumns; j++) {
      out[i * nColumns + j] = data[i * nColumns + j]! * weights[j]!;
    }
  }
  return { data: out, nRows, nColumns };
}

interface Choice {
  readonly bestAlphas: Float64Array;
  readonly cvScores: Float64Array;
}

function chooseAlphas(scores: readonly (readonly Float64Array[])[], plan: Plan): Choice {
  const { alphas, nTargets, perTarget, conservative } = plan;
  const nFolds = scores.length;
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
  const shared = best((a) => means[a]!.reduce((sum, value) => sum + value, 0));
  const chosen = Int32Array.from({ length: nTargets }, (_, t) => (perTarget ? choose(t) : shared));
  return {
    bestAlphas: Float64Array.from(chosen, (a) => alphas[a]!),
    cvScores: Float64Array.from(chosen, (a, t) => means[a]![t]!),
  };
}

/** All stimuli, prepared. */
interface Whole {
  /** [nStimuli, nUnits], centred if there is an intercept. */
  readonly x: Matrix<Float64Array>;
  readonly xMeans: Float64Array;
  readonly spectrum: Spectrum;
}

async function decompose(
  x: Activations,
  { nStimuli, nUnits, intercept }: Plan,
  linalg: Linalg,
): Promise<Whole> {
  const centred = block(x, rowsOf(nStimuli));
  const xMeans = intercept ? columnMeans(centred) : new Float64Array(nUnits);
  if (intercept) subtractRow(centred, xMeans);
  return { x: centred, xMeans, spectrum: await spectrumOf(centred, linalg) };
}

const rowsOf = (n: number): Int32Array => Int32Array.from({ length: n }, (_, i) => i);

/**
 * Minus the mean squared error of each stimulus under the model fitted without it, for each penalty:
 *
 *   e_i / (1 - h_ii),  h_ii = 1 / n (with an intercept) + sum_k z_ik project_ki / (lambda_k + alpha)
 */
async function leaveOneOutScores(
  y: Responses,
  { x, spectrum }: Whole,
  plan: Plan,
  linalg: Linalg,
  { onProgress, signal }: LongWork,
): Promise<readonly Float64Array[]> {
  const { alphas, intercept, nStimuli, nTargets } = plan;
  const z = await spectrum.scoresOf(x); // [nStimuli, k]
  const k = z.nColumns;
  const scores = alphas.map(() => new Float64Array(nTargets));
  for (const [from, to] of batches(plan)) {
    throwIfAborted(signal, "ridgeCv");
    const targets = block(y, rowsOf(nStimuli), from, to);
    if (intercept) subtractRow(targets, columnMeans(targets));
    const projected = await linalg.matmul(spectrum.project, targets);
    const width = to - from;
    for (const [a, alpha] of alphas.entries()) {
      const weights = spectrum.lambda.map((lambda) => 1 / (lambda + alpha));
      const fitted = await linalg.matmul(scaleColumns(z, weights), projected);
      const out = scores[a]!;
      for (let i = 0; i < nStimuli; i++) {
        let leverage = intercept ? 1 / nStimuli : 0;
        for (let j = 0; j < k; j++) {
          leverage += z.data[i * k + j]! * weights[j]! * spectrum.project.data[j * nStimuli + i]!;
        }
        for (let t = 0; t < width; t++) {
          const error =
            (targets.data[i * width + t]! - fitted.data[i * width + t]!) / (1 - leverage);
          out[from + t]! -= error ** 2 / nStimuli;
        }
      }
    }
    onProgress?.({ stage: "choosing penalties", done: to, total: nTargets, unit: "targets" });
  }
  return scores;
}

/** diag(1 / (lambda + alpha)) C for a batch of targets, [k, nBatch]. Takes the means away in place. */
async function shrink(
  targets: Matrix<Float64Array>,
  yMeans: Float64Array,
  spectrum: Spectrum,
  { bestAlphas }: Choice,
  from: number,
  linalg: Linalg,
): Promise<Matrix<Float64Array>> {
  subtractRow(targets, yMeans);
  const projected = await linalg.matmul(spectrum.project, targets);
  const { nRows, nColumns } = projected;
  const data = new Float64Array(projected.data.length);
  for (let k = 0; k < nRows; k++) {
    for (let t = 0; t < nColumns; t++) {
      data[k * nColumns + t] =
        projected.data[k * nColumns + t]! / (spectrum.lambda[k]! + bestAlphas[from + t]!);
    }
  }
  return { data, nRows, nColumns };
}

async function refit(
  y: Responses,
  { xMeans, spectrum }: Whole,
  { bestAlphas, cvScores }: Choice,
  plan: Plan,
  linalg: Linalg,
  { onProgress, signal }: LongWork,
): Promise<RidgeModel> {
  const { nStimuli, nUnits, nTargets, intercept } = plan;
  const rows = rowsOf(nStimuli);
  const expand = await spectrum.expand(linalg);
  const coefficients = new Float64Array(nUnits * nTargets);
  const intercepts = new Float64Array(nTargets);
  for (const [from, to] of batches(plan)) {
    throwIfAborted(signal, "ridgeCv");
    const targets = block(y, rows, from, to);
    const yMeans = intercept ? columnMeans(targets) : new Float64Array(to - from);
    const width = to - from;
    const choice = { bestAlphas, cvScores };
    const shrunk = await shrink(targets, yMeans, spectrum, choice, from, linalg);
    const fitted = await linalg.matmul(expand, shrunk); // [nUnits, nBatch]
    for (let u = 0; u < nUnits; u++) {
      const row = fitted.data.subarray(u * width, (u + 1) * width);
      coefficients.set(row, u * nTargets + from);
      for (let t = 0; t < width; t++) intercepts[from + t]! -= xMeans[u]! * row[t]!;
    }
    for (let t = 0; t < width; t++) intercepts[from + t]! += yMeans[t]!;
    onProgress?.({ stage: "fitting", done: to, total: nTargets, unit: "targets" });
  }
  return {
    coefficients: tensor(coefficients, ["unit", "target"], [nUnits, nTargets]),
    intercept: intercepts,
    bestAlphas,
    cvScores,
  };
}

/**
 * What a fitted model expects for stimuli.
 *
 *   yHat = X coefficients + intercept
 *
 * @param model - From `ridgeCv`.
 * @param x - `[nStimuli, nUnits]`, of the units that the model was fitted to.
 * @param options.linalg - Default: one made for this call.
 * @returns `[nStimuli, nTargets]`, float64.
 * @throws {ShapeError} if the number of units is another.
 */
export async function predict(
  model: RidgeModel,
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
    const { data } = await used.matmul(
      { data: x.data, nRows: nStimuli, nColumns: nUnits },
      { data: model.coefficients.data as Float64Array, nRows: nUnits, nColumns: nTargets },
    );
    for (let i = 0; i < nStimuli; i++) {
      for (let t = 0; t < nTargets; t++) data[i * nTargets + t]! += model.intercept[t]!;
    }
    return tensor(data, ["stimulus", "target"], [nStimuli, nTargets]);
  } finally {
    if (linalg === undefined) await used.dispose();
  }
}
