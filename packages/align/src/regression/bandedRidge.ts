import { type Activations, ArgumentError, ShapeError, type Tensor, tensor } from "@penfield/core";
import { eigenSymmetric, type Linalg, type Matrix, matrixOf, transpose } from "@penfield/linalg";
import type { Fold } from "../folds.ts";
import { floats, inPrecision, type Precision, rowsOf, scaledColumns } from "./arrays.ts";
import { block, columnMeans, subtractRow } from "./columns.ts";
import { kernelFold, prepareUnitFold, type UnitFold, unitFold } from "./foldMap.ts";
import { deltasOf, type KernelRidgeOptions, mixKernels, scatterTurned } from "./kernelRidge.ts";
import type { Responses } from "./ridgeCv.ts";
import { withLinalg } from "./ridgeEngine.ts";
import { planRidge } from "./ridgePlan.ts";
import { type Spectrum, spectrumOf } from "./spectrum.ts";
import { targetBatch } from "./targetBatch.ts";
import { searchWeights, targetsByWeights, weightsToTry } from "./weightSearch.ts";

/** How a banded model chooses its weights and penalties. */
export type BandedRidgeOptions = KernelRidgeOptions;

/** A fitted linear map from several spaces of units to targets, each space with a penalty of its own. */
export interface BandedRidgeModel {
  /** `[nUnits of all spaces, nTargets]`, one space after the other. */
  readonly coefficients: Tensor<readonly ["unit", "target"]>;
  /** How many units each space has. */
  readonly sizes: readonly number[];
  /** `[nTargets]`; zeros without an intercept. */
  readonly intercept: Float64Array;
  /** log(weight / alpha) of each space, `[nSpaces, nTargets]`: minus the logarithm of its penalty. */
  readonly deltas: Tensor<readonly ["space", "target"]>;
  readonly bestAlphas: Float64Array;
  /** Of each combination of weights, at its best penalty, `[nTries, nTargets]`. */
  readonly cvScores: Tensor<readonly ["try", "target"]>;
}

/**
 * Banded ridge regression: units in several spaces (layers, feature sets), each with a penalty of its own, found by trying combinations
 * of weights, for each target on its own.
 *
 *   coefficients = argmin_w |y - sum_k X_k w_k|^2 + sum_k (alpha / weight_k) |w_k|^2
 *
 * @param spaces - Activations of each space, `[nStimuli, nUnits_k]`, finite, of the same stimuli. Not scaled here.
 * @param y - Responses, `[nStimuli, nTargets]`, finite.
 * @param options - As `ridgeCv`'s, and how weights are drawn.
 * @throws {ShapeError} if sizes differ.
 * @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if an option is out of range.
 * @throws {InterruptedError} if the signal fires.
 *
 * Cost: what is measured is summed over stimuli once for all combinations. Each combination then costs what
 * `ridgeCv` does for its folds: a decomposition, and a product per independent penalty; each that is best for a target one decomposition more.
 * Source: Nunez-Elizalde, Huth & Gallant (2019), NeuroImage 197; Dupré la Tour et al. (2022), NeuroImage 264:119728. Matches
 * himalaya's GroupRidgeCV (random search, weights given); draws of weights differ.
 *
 * @example
 * const one = activations([[1], [2], [3], [4], [5], [6]]);
 * const other = activations([[1], [-1], [1], [-1], [1], [-1]]);
 * const y = tensor(Float64Array.of(2, 4, 6, 8, 10, 12), ["stimulus", "target"], [6, 1]);
 * const model = await bandedRidgeCv([one, other], y, { alphas: [1e-6], folds: 3, weights: [[1, 1], [1, 0]] });
 * model.coefficients.data[0].toFixed(3) // => "2.000"
 * model.sizes.join(" ") // => "1 1"
 */
export async function bandedRidgeCv(
  spaces: readonly Activations[],
  y: Responses,
  options: BandedRidgeOptions = {},
): Promise<BandedRidgeModel> {
  const name = "bandedRidgeCv";
  if (spaces.length === 0) throw new ArgumentError(`${name}: expected at least one space of units`);
  const x = joinSpaces(name, spaces);
  const plan = planRidge(x, y, options, name);
  if (plan.leaveOneOut) throw new ArgumentError(`${name}: expected folds, got leave-one-out`);
  const sizes = spaces.map(({ shape }) => shape[1]);
  const weights = weightsToTry(name, spaces.length, options);
  const { nStimuli, nUnits, nTargets, precision } = plan;
  return withLinalg(options.linalg, async (linalg) => {
    const responses = matrixOf(y);
    const own = block(x, rowsOf(nStimuli));
    const wide = nUnits > nStimuli;
    const xMeans = plan.intercept ? columnMeans(own) : new Float64Array(nUnits);
    if (plan.intercept) subtractRow(own, xMeans);
    const spectrum = wide ? undefined : await spectrumOf(own, false, precision, linalg);
    const kernels = wide ? await kernelsOf(own, sizes, linalg) : [];
    const prepared = new Map<Fold, UnitFold>();
    const found = await searchWeights(
      responses,
      {
        ...plan,
        weights,
        u: spectrum?.u,
        batchSize: plan.targetBatch ?? 1000,
        foldOf: async (gamma, fold) => {
          if (!spectrum) return kernelFold(mixKernels(kernels, gamma), fold, plan, linalg);
          let own = prepared.get(fold);
          own ??= await prepareUnitFold(spectrum, fold, plan.intercept, linalg);
          prepared.set(fold, own);
          return unitFold(spectrum, own, plan, linalg, unitScale(gamma, sizes));
        },
      },
      name,
      linalg,
      options,
    );
    const coefficients = floats(precision, nUnits * nTargets);
    const intercept = new Float64Array(nTargets);
    for (const [g, targets] of targetsByWeights(found.best)) {
      const scale = unitScale(weights[g]!, sizes);
      const solve = spectrum
        ? await unitSolver(spectrum, scale, precision, linalg)
        : await wideSolver(own, scale, mixKernels(kernels, weights[g]!), precision, linalg);
      const size = plan.targetBatch ?? 1000;
      for (let from = 0; from < targets.length; from += size) {
        const some = targets.subarray(from, from + size);
        const { turned, means } = targetBatch(responses, some, plan.intercept, precision);
        const alphas = Float64Array.from(some, (t) => found.bestAlphas[t]!);
        const solved = await solve(turned, alphas); // [nBatch, nUnits]
        scatterTurned(coefficients, nTargets, some, solved);
        some.forEach((t, at) => {
          let sum = 0;
          for (let u = 0; u < nUnits; u++) sum += xMeans[u]! * solved.data[at * nUnits + u]!;
          intercept[t] = means[at]! - sum;
        });
      }
    }
    return {
      coefficients: tensor(coefficients, ["unit", "target"], [nUnits, nTargets]),
      sizes,
      intercept,
      deltas: deltasOf(found, weights, nTargets),
      bestAlphas: found.bestAlphas,
      cvScores: tensor(found.cvScores, ["try", "target"], [weights.length, nTargets]),
    };
  });
}

/**
 * What a banded model expects, and what of it comes from each space.
 *
 * @param model - From `bandedRidgeCv`.
 * @param spaces - Activations of other stimuli, as those fitted to.
 * @returns `total`, `[nStimuli, nTargets]`, and `parts` for each space, which sum to it less the intercept.
 * @throws {ShapeError} if sizes do not fit.
 *
 * @example
 * const one = activations([[1], [2], [3], [4], [5], [6]]);
 * const y = tensor(Float64Array.of(2, 4, 6, 8, 10, 12), ["stimulus", "target"], [6, 1]);
 * const model = await bandedRidgeCv([one], y, { alphas: [1e-6], folds: 3, weights: [[1]] });
 * (await predictBands(model, [activations([[7]])])).total.data[0].toFixed(2) // => "14.00"
 */
export async function predictBands(
  model: BandedRidgeModel,
  spaces: readonly Activations[],
  { linalg: given }: { linalg?: Linalg | undefined } = {},
): Promise<{ readonly total: Responses; readonly parts: readonly Responses[] }> {
  const { sizes, coefficients, intercept } = model;
  const nTargets = coefficients.shape[1];
  const nStimuli = spaces[0]?.shape[0] ?? 0;
  if (
    spaces.length !== sizes.length ||
    spaces.some(({ shape }, k) => shape[0] !== nStimuli || shape[1] !== sizes[k])
  ) {
    throw new ShapeError(
      `predictBands: expected spaces of ${sizes.join(", ")} units over the same stimuli, got ${spaces
        .map(({ shape }) => shape.join(" x "))
        .join(", ")}`,
    );
  }
  return withLinalg(given, async (linalg) => {
    const total = new Float64Array(nStimuli * nTargets);
    for (let i = 0; i < total.length; i++) total[i] = intercept[i % nTargets]!;
    const parts: Responses[] = [];
    let from = 0;
    for (const space of spaces) {
      const nUnits = space.shape[1];
      const data = coefficients.data.subarray(from * nTargets, (from + nUnits) * nTargets);
      const part = await linalg.matmul(matrixOf(space), {
        data,
        nRows: nUnits,
        nColumns: nTargets,
      });
      for (let i = 0; i < total.length; i++) total[i]! += part.data[i]!;
      parts.push(tensor(part.data, ["stimulus", "target"], [nStimuli, nTargets]));
      from += nUnits;
    }
    return { total: tensor(total, ["stimulus", "target"], [nStimuli, nTargets]), parts };
  });
}

/** Units of all spaces side by side. */
function joinSpaces(name: string, spaces: readonly Activations[]): Activations {
  const nStimuli = spaces[0]!.shape[0];
  const nUnits = spaces.reduce((sum, { shape }) => sum + shape[1], 0);
  const single = spaces.every(({ data }) => data instanceof Float32Array);
  const out = floats(single ? "float32" : "float64", nStimuli * nUnits);
  let from = 0;
  for (const { data, shape } of spaces) {
    if (shape[0] !== nStimuli) {
      throw new ShapeError(
        `${name}: expected spaces over the same ${nStimuli} stimuli, got one over ${shape[0]}`,
      );
    }
    for (let i = 0; i < nStimuli; i++) {
      out.set(data.subarray(i * shape[1], (i + 1) * shape[1]), i * nUnits + from);
    }
    from += shape[1];
  }
  return tensor(out, ["stimulus", "unit"], [nStimuli, nUnits]);
}

/** The root of its space's weight for each unit. */
function unitScale(weights: readonly number[], sizes: readonly number[]): Float64Array {
  const scale = new Float64Array(sizes.reduce((a, b) => a + b, 0));
  let from = 0;
  sizes.forEach((size, k) => {
    scale.fill(Math.sqrt(weights[k]!), from, from + size);
    from += size;
  });
  return scale;
}

async function kernelsOf(
  x: Matrix<Float64Array>,
  sizes: readonly number[],
  linalg: Linalg,
): Promise<readonly Matrix[]> {
  const kernels: Matrix[] = [];
  let from = 0;
  for (const size of sizes) {
    const part = new Float64Array(x.nRows * size);
    for (let i = 0; i < x.nRows; i++) {
      const at = i * x.nColumns + from;
      part.set(x.data.subarray(at, at + size), i * size);
    }
    const space = { data: part, nRows: x.nRows, nColumns: size };
    kernels.push(await linalg.matmul(space, space, { transposeB: true }));
    from += size;
  }
  return kernels;
}

type Solver = (turned: Matrix, alphas: Float64Array) => Promise<Matrix>;

/** Coefficients of some targets, `[nBatch, nUnits]`, for x with its units scaled: from U, which is that of x as it is. */
async function unitSolver(
  { gram, s, v, u }: Spectrum,
  scale: Float64Array,
  precision: Precision,
  linalg: Linalg,
): Promise<Solver> {
  const p = gram.nColumns;
  const scaled = gram.data.map((value, i) => value * scale[Math.floor(i / p)]! * scale[i % p]!);
  const { values, vectors } = await eigenSymmetric({ ...gram, data: scaled }, linalg);
  // E^T D, as eigenvectors are rows.
  const own = scaledColumns(vectors, scale);
  const roots = await linalg.matmul(await v(), transpose(own), { transposeA: true });
  for (let i = 0; i < s.length; i++) {
    for (let j = 0; j < p; j++) roots.data[i * p + j]! *= s[i]!;
  }
  const into = inPrecision(roots, precision); // diag(s) V^T D E
  const back = inPrecision(own, precision); // (D E)^T
  return async (turned, alphas) => {
    const inEigen = await linalg.matmul(await linalg.matmul(turned, u), into);
    divideRows(inEigen, values, alphas);
    return linalg.matmul(inEigen, back);
  };
}

/** The same where units outnumber stimuli: D^2 X^T (K + alpha I)^-1 y. */
async function wideSolver(
  x: Matrix<Float64Array>,
  scale: Float64Array,
  kernel: Matrix<Float64Array>,
  precision: Precision,
  linalg: Linalg,
): Promise<Solver> {
  const { values, vectors } = await eigenSymmetric(kernel, linalg);
  const e = inPrecision(transpose(vectors), precision);
  const back = inPrecision(
    scaledColumns(
      await linalg.matmul(vectors, x),
      scale.map((value) => value * value),
    ),
    precision,
  ); // E^T X D^2
  return async (turned, alphas) => {
    const inEigen = await linalg.matmul(turned, e);
    divideRows(inEigen, values, alphas);
    return linalg.matmul(inEigen, back);
  };
}

function divideRows(
  { data, nRows, nColumns }: Matrix,
  values: Float64Array,
  alphas: Float64Array,
): void {
  for (let t = 0; t < nRows; t++) {
    for (let j = 0; j < nColumns; j++) {
      data[t * nColumns + j]! /= Math.max(0, values[j]!) + alphas[t]!;
    }
  }
}
