import { ArgumentError, DataError, ShapeError, type Tensor, tensor } from "@penfield/core";
import { eigenSymmetric, type Linalg, type Matrix, matrixOf, transpose } from "@penfield/linalg";
import { floats, inPrecision } from "./arrays.ts";
import { checkFinite, columnMeans } from "./columns.ts";
import { centreKernels, kernelFold } from "./foldMap.ts";
import type { Responses, RidgeOptions } from "./ridgeCv.ts";
import { withLinalg } from "./ridgeEngine.ts";
import { planPenalties } from "./ridgePlan.ts";
import { targetBatch } from "./targetBatch.ts";
import {
  type FoundWeights,
  searchWeights,
  targetsByWeights,
  type WeightOptions,
  weightsToTry,
} from "./weightSearch.ts";

/** Similarities of stimuli, `[nStimuli, nStimuli]`, symmetric. */
export type Kernel = Tensor<readonly ["stimulus", "stimulus"]>;

/** How a kernel model chooses its weights and penalties. */
export interface KernelRidgeOptions extends WeightOptions, Omit<RidgeOptions, "folds"> {
  /** How many contiguous folds, or the folds themselves. Default 5. */
  readonly folds?: Exclude<RidgeOptions["folds"], "leave-one-out">;
}

/** A fitted model of kernels. */
export interface KernelRidgeModel {
  /** `[nStimuli, nTargets]`: yHat = sum_k exp(deltas_k) K_k dual + intercept. */
  readonly dual: Tensor<readonly ["stimulus", "target"]>;
  /** log(weight / alpha) of each kernel, `[nKernels, nTargets]`; -Infinity for a kernel of weight 0. */
  readonly deltas: Tensor<readonly ["space", "target"]>;
  /** `[nTargets]`; zeros without an intercept. */
  readonly intercept: Float64Array;
  readonly bestAlphas: Float64Array;
  /** Of each combination of weights, at its best penalty, `[nTries, nTargets]`. */
  readonly cvScores: Tensor<readonly ["try", "target"]>;
}

/**
 * Kernel ridge regression with one or several kernels: the weight of each kernel and the penalty are chosen by cross-validation, for
 * each target on its own.
 *
 *   yHat = sum_k weight_k K_k a,   a = (sum_k weight_k K_k + alpha I)^-1 y
 *
 * With one kernel this is plain kernel ridge. Kernels need not be positive: penalties below twice the size of the most
 * negative eigenvalue of the training stimuli are never chosen, and negative eigenvalues count as 0 in the last fit.
 *
 * @param kernels - One or more, each `[nStimuli, nStimuli]`, symmetric, finite.
 * @param y - Responses, `[nStimuli, nTargets]`, finite.
 * @param options - As `ridgeCv`'s, and how weights are drawn; intercept by default false: kernels and y are taken as they are.
 * @throws {ShapeError} if sizes differ.
 * @throws {DataError} if a value is not finite, or a kernel is not symmetric.
 * @throws {ArgumentError} if an option is out of range.
 * @throws {InterruptedError} if the signal fires.
 *
 * Cost: for each combination of weights and fold one eigendecomposition of the training stimuli and one product
 * per independent penalty; one more decomposition for each combination that is best for a target.
 * Source: Dupré la Tour et al. (2022), NeuroImage 264:119728. Matches himalaya's MultipleKernelRidgeCV (random search, weights
 * given) and KernelRidgeCV; draws of weights differ.
 *
 * @example
 * const kernel = tensor(Float64Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1), ["stimulus", "stimulus"], [3, 3]);
 * const y = tensor(Float64Array.of(2, 4, 6), ["stimulus", "target"], [3, 1]);
 * const model = await kernelRidgeCv([kernel], y, { alphas: [1], folds: 3 });
 * Array.from(model.dual.data).map((v) => v.toFixed(1)).join(" ") // => "1.0 2.0 3.0"
 */
export async function kernelRidgeCv(
  kernels: readonly Kernel[],
  y: Responses,
  options: KernelRidgeOptions = {},
): Promise<KernelRidgeModel> {
  const name = "kernelRidgeCv";
  const [nStimuli, nTargets] = y.shape;
  if (kernels.length === 0) throw new ArgumentError(`${name}: expected at least one kernel`);
  for (const kernel of kernels) checkKernel(name, kernel, nStimuli);
  checkFinite(name, "responses", y.data, nTargets);
  const plan = planPenalties(nStimuli, { ...options, intercept: options.intercept ?? false }, name);
  if (plan.leaveOneOut) throw new ArgumentError(`${name}: expected folds, got leave-one-out`);
  const single = y.data instanceof Float32Array && kernels[0]!.data instanceof Float32Array;
  const precision = options.precision ?? (single ? "float32" : "float64");
  const weights =
    kernels.length === 1 && options.weights === undefined
      ? [[1]]
      : weightsToTry(name, kernels.length, options);
  const own = kernels.map((kernel) => matrixOf(kernel));
  const responses = matrixOf(y);
  return withLinalg(options.linalg, async (linalg) => {
    const setting = { ...plan, precision };
    let last: readonly number[] | undefined;
    let mixed: Matrix<Float64Array> | undefined;
    const mixOf = (gamma: readonly number[]): Matrix<Float64Array> => {
      if (gamma !== last || mixed === undefined) mixed = mixKernels(own, gamma);
      last = gamma;
      return mixed;
    };
    const found = await searchWeights(
      responses,
      {
        ...plan,
        weights,
        precision,
        u: undefined,
        batchSize: plan.targetBatch ?? 1000,
        foldOf: (gamma, fold) => kernelFold(mixOf(gamma), fold, setting, linalg, true),
      },
      name,
      linalg,
      options,
    );
    const dual = floats(precision, nStimuli * nTargets);
    const intercept = new Float64Array(nTargets);
    for (const [g, targets] of targetsByWeights(found.best)) {
      const whole = { ...mixOf(weights[g]!) };
      const kernel = { ...whole, data: whole.data.slice() };
      const rows = columnMeans(kernel);
      if (plan.intercept)
        centreKernels(kernel, { data: new Float64Array(0), nRows: 0, nColumns: nStimuli });
      const solve = await solverOf(kernel, linalg);
      const { turned, means } = targetBatch(responses, targets, plan.intercept, precision);
      const alphas = Float64Array.from(targets, (t) => found.bestAlphas[t]!);
      const solved = await solve(turned, alphas); // [n, nStimuli], times alpha
      scatterTurned(dual, nTargets, targets, solved);
      if (!plan.intercept) continue;
      targets.forEach((t, at) => {
        let sum = 0;
        for (let i = 0; i < nStimuli; i++) sum += rows[i]! * solved.data[at * nStimuli + i]!;
        intercept[t] = means[at]! - sum / alphas[at]!;
      });
    }
    return {
      dual: tensor(dual, ["stimulus", "target"], [nStimuli, nTargets]),
      deltas: deltasOf(found, weights, nTargets),
      intercept,
      bestAlphas: found.bestAlphas,
      cvScores: tensor(found.cvScores, ["try", "target"], [weights.length, nTargets]),
    };
  });
}

/**
 * What a model of kernels expects.
 *
 * @param model - From `kernelRidgeCv`.
 * @param kernels - For each kernel the similarities of other stimuli to those fitted to, `[nOther, nStimuli]`.
 * @returns `[nOther, nTargets]`, or by kernel, which sum to the whole less the intercept.
 * @throws {ShapeError} if sizes do not fit.
 *
 * @example
 * const kernel = tensor(Float64Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1), ["stimulus", "stimulus"], [3, 3]);
 * const y = tensor(Float64Array.of(2, 4, 6), ["stimulus", "target"], [3, 1]);
 * const model = await kernelRidgeCv([kernel], y, { alphas: [1], folds: 3 });
 * (await predictKernels(model, [kernel])).total.data[2].toFixed(1) // => "3.0"
 */
export async function predictKernels(
  model: KernelRidgeModel,
  kernels: readonly Tensor<readonly [string, "stimulus"]>[],
  { linalg: given }: { linalg?: Linalg | undefined } = {},
): Promise<{ readonly total: Responses; readonly parts: readonly Responses[] }> {
  const [nSpaces, nTargets] = model.deltas.shape;
  const nStimuli = model.dual.shape[0];
  const nOther = kernels[0]?.shape[0] ?? 0;
  if (kernels.length !== nSpaces) {
    throw new ShapeError(`predictKernels: expected ${nSpaces} kernels, got ${kernels.length}`);
  }
  for (const { shape } of kernels) {
    if (shape[0] === nOther && shape[1] === nStimuli) continue;
    throw new ShapeError(
      `predictKernels: expected kernels of ${nOther} x ${nStimuli}, got ${shape[0]} x ${shape[1]}`,
    );
  }
  return withLinalg(given, async (linalg) => {
    const total = new Float64Array(nOther * nTargets);
    for (let i = 0; i < total.length; i++) total[i] = model.intercept[i % nTargets]!;
    const parts: Responses[] = [];
    for (const [k, kernel] of kernels.entries()) {
      const { data } = await linalg.matmul(matrixOf(kernel), matrixOf(model.dual));
      const part = Float64Array.from(data, (value, i) => {
        return value * Math.exp(model.deltas.data[k * nTargets + (i % nTargets)]!);
      });
      for (let i = 0; i < part.length; i++) total[i]! += part[i]!;
      parts.push(tensor(part, ["stimulus", "target"], [nOther, nTargets]));
    }
    return { total: tensor(total, ["stimulus", "target"], [nOther, nTargets]), parts };
  });
}

export function mixKernels(
  kernels: readonly Matrix[],
  weights: readonly number[],
): Matrix<Float64Array> {
  const { nRows, nColumns } = kernels[0]!;
  const data = new Float64Array(nRows * nColumns);
  kernels.forEach((kernel, k) => {
    const by = weights[k]!;
    if (by === 0) return;
    for (let i = 0; i < data.length; i++) data[i]! += by * kernel.data[i]!;
  });
  return { data, nRows, nColumns };
}

/** alpha (K + alpha I)^-1 y, a penalty per row; negative eigenvalues count as 0. */
async function solverOf(
  kernel: Matrix<Float64Array>,
  linalg: Linalg,
): Promise<(turned: Matrix, alphas: Float64Array) => Promise<Matrix>> {
  const { values, vectors } = await eigenSymmetric(kernel, linalg);
  const columns = transpose(vectors);
  return async (turned, alphas) => {
    const precision = turned.data instanceof Float32Array ? "float32" : "float64";
    const e = inPrecision(columns, precision);
    const inEigen = await linalg.matmul(turned, e);
    const n = values.length;
    for (let t = 0; t < inEigen.nRows; t++) {
      for (let j = 0; j < n; j++) {
        inEigen.data[t * n + j]! *= alphas[t]! / (Math.max(0, values[j]!) + alphas[t]!);
      }
    }
    return linalg.matmul(inEigen, e, { transposeB: true });
  };
}

/** Rows of some targets as columns of all. */
export function scatterTurned(
  out: Float32Array | Float64Array,
  nTargets: number,
  targets: Int32Array,
  { data, nColumns }: Matrix,
): void {
  targets.forEach((t, at) => {
    for (let i = 0; i < nColumns; i++) out[i * nTargets + t] = data[at * nColumns + i]!;
  });
}

export function deltasOf(
  { best, bestAlphas }: FoundWeights,
  weights: readonly (readonly number[])[],
  nTargets: number,
): Tensor<readonly ["space", "target"]> {
  const nSpaces = weights[0]!.length;
  const deltas = new Float64Array(nSpaces * nTargets);
  best.forEach((g, t) => {
    for (let k = 0; k < nSpaces; k++) {
      deltas[k * nTargets + t] = Math.log(weights[g]![k]! / bestAlphas[t]!);
    }
  });
  return tensor(deltas, ["space", "target"], [nSpaces, nTargets]);
}

/** Rounding that a symmetric product may show. */
const ASYMMETRY = 1e-5;

function checkKernel(name: string, { data, shape }: Kernel, n: number): void {
  if (shape[0] !== n || shape[1] !== n) {
    throw new ShapeError(
      `${name}: expected kernels of ${n} x ${n}, one row per stimulus, got ${shape[0]} x ${shape[1]}`,
    );
  }
  checkFinite(name, "kernels", data, n);
  let largest = 0;
  for (let i = 0; i < data.length; i++) largest = Math.max(largest, Math.abs(data[i]!));
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) {
      if (Math.abs(data[i * n + j]! - data[j * n + i]!) <= ASYMMETRY * largest) continue;
      throw new DataError(
        `${name}: expected symmetric kernels, got ${data[i * n + j]} at ${i}, ${j} and ${data[j * n + i]} at ${j}, ${i}`,
      );
    }
  }
}
