import { type Activations, ArgumentError, tensor } from "@penfield/core";
import { type Linalg, type Matrix, svd } from "@penfield/linalg";
import { rowsOf } from "./arrays.ts";
import { block, columnMeans, subtractRow } from "./columns.ts";
import type { LinearModel, Responses } from "./ridgeCv.ts";
import { withLinalg } from "./ridgeEngine.ts";
import { planRidge } from "./ridgePlan.ts";

/** Options of fits without a penalty. */
export interface LeastSquaresOptions {
  /** Default true. */
  readonly intercept?: boolean | undefined;
  /** Where products are computed. Default: one made for this call. */
  readonly linalg?: Linalg | undefined;
}

/** Singular values below this share of the largest count as 0. */
const SMALLEST = 1e-12;

/**
 * Ordinary least squares; with more units than stimuli, or units that depend on each other, the solution of least norm.
 *
 *   coefficients = pinv(X) y
 *
 * @param x - Activations, `[nStimuli, nUnits]`, finite.
 * @param y - Responses, `[nStimuli, nTargets]`, finite.
 * @returns Coefficients and intercept, float64. Directions whose singular value is below 1e-12 of the largest are left out.
 * @throws {ShapeError} if the numbers of stimuli differ, or there is no unit or target.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: one singular value decomposition and three products.
 * Source: Golub & Van Loan (2013), Matrix Computations, 5.5. Matches sklearn's LinearRegression.
 *
 * @example
 * const x = activations([[1], [2], [4]]);
 * const y = tensor(Float64Array.of(3, 5, 9), ["stimulus", "target"], [3, 1]);
 * const { coefficients, intercept } = await leastSquares(x, y);
 * `${coefficients.data[0].toFixed(2)} ${intercept[0].toFixed(2)}` // => "2.00 1.00"
 */
export async function leastSquares(
  x: Activations,
  y: Responses,
  options: LeastSquaresOptions = {},
): Promise<LinearModel> {
  return truncated("leastSquares", x, y, Number.POSITIVE_INFINITY, options);
}

/**
 * Principal component regression: least squares on the directions of x that vary most.
 *
 *   coefficients = V_k diag(1 / s_k) U_k^T y,   X = U diag(s) V^T
 *
 * @param x - Activations, `[nStimuli, nUnits]`, finite. Not scaled here.
 * @param y - Responses, `[nStimuli, nTargets]`, finite.
 * @param options.components - How many directions, k. Default 10; at most as many as there are.
 * @throws {ShapeError} if the numbers of stimuli differ, or there is no unit or target.
 * @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if `components` is not a positive whole number.
 *
 * Cost: as `leastSquares`.
 * Source: Massy (1965), JASA 60. Matches sklearn's PCA followed by LinearRegression.
 *
 * @example
 * const x = activations([[1, 0], [2, 0.1], [4, -0.1]]);
 * const y = tensor(Float64Array.of(3, 5, 9), ["stimulus", "target"], [3, 1]);
 * const { coefficients } = await principalComponentRegression(x, y, { components: 1 });
 * coefficients.data[0].toFixed(1) // => "2.0"
 */
export async function principalComponentRegression(
  x: Activations,
  y: Responses,
  options: LeastSquaresOptions & { readonly components?: number | undefined } = {},
): Promise<LinearModel> {
  const { components = 10 } = options;
  if (!Number.isInteger(components) || components < 1) {
    throw new ArgumentError(
      `principalComponentRegression: expected a positive whole number of components, got ${components}`,
    );
  }
  return truncated("principalComponentRegression", x, y, components, options);
}

async function truncated(
  name: string,
  x: Activations,
  y: Responses,
  most: number,
  { intercept = true, linalg: given }: LeastSquaresOptions,
): Promise<LinearModel> {
  const centred = centredPair(name, x, y, intercept);
  return withLinalg(given, async (linalg) => {
    const { u, s, v } = await svd(centred.x, linalg);
    const kept = s.filter((value, j) => j < most && value > SMALLEST * s[0]!).length;
    const inU = await linalg.matmul(u, centred.y, { transposeA: true });
    const { nRows, nColumns } = inU;
    for (let j = 0; j < nRows; j++) {
      const by = j < kept ? 1 / s[j]! : 0;
      for (let t = 0; t < nColumns; t++) inU.data[j * nColumns + t]! *= by;
    }
    return linearModel(await linalg.matmul(v, inU), centred);
  });
}

/** Both sides about their means. */
interface CentredPair {
  readonly x: Matrix<Float64Array>;
  readonly y: Matrix<Float64Array>;
  readonly xMeans: Float64Array;
  readonly yMeans: Float64Array;
}

export function centredPair(
  name: string,
  x: Activations,
  y: Responses,
  intercept: boolean,
): CentredPair {
  const { nStimuli, nUnits, nTargets } = planRidge(x, y, { folds: "leave-one-out" }, name);
  const left = block(x, rowsOf(nStimuli));
  const right = block(y, rowsOf(nStimuli));
  const xMeans = intercept ? columnMeans(left) : new Float64Array(nUnits);
  const yMeans = intercept ? columnMeans(right) : new Float64Array(nTargets);
  subtractRow(left, xMeans);
  subtractRow(right, yMeans);
  return { x: left, y: right, xMeans, yMeans };
}

export function linearModel(
  { data, nRows: nUnits, nColumns: nTargets }: Matrix<Float64Array>,
  { xMeans, yMeans }: Pick<CentredPair, "xMeans" | "yMeans">,
): LinearModel {
  const intercept = Float64Array.from(yMeans);
  for (let u = 0; u < nUnits; u++) {
    for (let t = 0; t < nTargets; t++) intercept[t]! -= xMeans[u]! * data[u * nTargets + t]!;
  }
  return { coefficients: tensor(data, ["unit", "target"], [nUnits, nTargets]), intercept };
}
