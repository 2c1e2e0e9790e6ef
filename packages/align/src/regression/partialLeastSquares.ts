import { type Activations, ArgumentError, type LongWork, throwIfAborted } from "@penfield/core";
import { type Linalg, type Matrix, svd } from "@penfield/linalg";
import { centredPair, linearModel } from "./leastSquares.ts";
import type { LinearModel, Responses } from "./ridgeCv.ts";
import { withLinalg } from "./ridgeEngine.ts";

/** How partial least squares is fitted. */
export interface PartialLeastSquaresOptions extends LongWork {
  /** How many pairs of directions, at most as many as units or stimuli. Default 25, as Brain-Score's. */
  readonly components?: number | undefined;
  /** Divide units and targets by their deviations over stimuli first. Default true. */
  readonly scale?: boolean | undefined;
  /** A direction is found when a step changes it by less than the root of this. Default 1e-6, as sklearn's. */
  readonly tolerance?: number | undefined;
  readonly maxIterations?: number | undefined;
  /** Where products are computed. Default: one made for this call. */
  readonly linalg?: Linalg | undefined;
}

/**
 * Partial least squares regression: pairs of directions, in units and in targets, that vary together most, one after
 * the other.
 *
 *   (a, b) = argmax cov(X a, Y b) over unit vectors;   X and Y then lose what X a explains of them
 *
 * @param x - Activations, `[nStimuli, nUnits]`, finite.
 * @param y - Responses, `[nStimuli, nTargets]`, finite.
 * @param options.maxIterations - Of the power method for each pair. Default 500.
 * @returns Coefficients and intercept, float64.
 * @throws {ShapeError} if the numbers of stimuli differ, or there is no unit or target.
 * @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if an option is out of range.
 * @throws {InterruptedError} if the signal fires.
 *
 * Cost: for each component some passes over X and Y.
 * Source: Wold (NIPALS), in Wegelin (2000), A survey of PLS methods. Matches sklearn's PLSRegression.
 *
 * @example
 * const x = activations([[1, 1], [2, 2], [4, 4]]);
 * const y = tensor(Float64Array.of(4, 8, 16), ["stimulus", "target"], [3, 1]);
 * const { coefficients } = await partialLeastSquares(x, y, { components: 1 });
 * Array.from(coefficients.data).map((v) => v.toFixed(2)).join(" ") // => "2.00 2.00"
 */
export async function partialLeastSquares(
  x: Activations,
  y: Responses,
  options: PartialLeastSquaresOptions = {},
): Promise<LinearModel> {
  const name = "partialLeastSquares";
  const { scale = true, tolerance = 1e-6, maxIterations = 500, onProgress, signal } = options;
  const most = Math.min(x.shape[0], x.shape[1]);
  const components = options.components ?? Math.min(25, most);
  if (!Number.isInteger(components) || components < 1 || components > most) {
    throw new ArgumentError(`${name}: expected 1..${most} components, got ${components}`, {
      hint: "There are no more than units, and no more than stimuli.",
    });
  }
  if (!(tolerance >= 0) || !Number.isInteger(maxIterations) || maxIterations < 1) {
    throw new ArgumentError(
      `${name}: expected a tolerance of 0 or more and a positive whole number of iterations, got ${tolerance} and ${maxIterations}`,
    );
  }
  const pair = centredPair(name, x, y, true);
  const xScale = scale ? divideByDeviation(pair.x) : undefined;
  const yScale = scale ? divideByDeviation(pair.y) : undefined;
  const nUnits = pair.x.nColumns;
  const nTargets = pair.y.nColumns;
  return withLinalg(options.linalg, async (linalg) => {
    const weights = new Float64Array(components * nUnits);
    const loadings = new Float64Array(components * nUnits);
    const targetLoadings = new Float64Array(components * nTargets);
    for (let c = 0; c < components; c++) {
      throwIfAborted(signal, name);
      const direction = await firstDirection(pair.x, pair.y, tolerance, maxIterations, linalg);
      if (direction === undefined) break; // Nothing of the targets is left.
      const scores = await times(pair.x, direction, linalg);
      const square = dot(scores, scores);
      const own = (await across(pair.x, scores, linalg)).map((value) => value / square);
      const other = (await across(pair.y, scores, linalg)).map((value) => value / square);
      lessOuter(pair.x, scores, own);
      lessOuter(pair.y, scores, other);
      weights.set(direction, c * nUnits);
      loadings.set(own, c * nUnits);
      targetLoadings.set(other, c * nTargets);
      onProgress?.({ stage: "fitting", done: c + 1, total: components, unit: "components" });
    }
    const w = { data: weights, nRows: components, nColumns: nUnits };
    const p = { data: loadings, nRows: components, nColumns: nUnits };
    const q = { data: targetLoadings, nRows: components, nColumns: nTargets };
    // Rotations R = W (P^T W)^+; all three lie here with components as rows.
    const inner = await linalg.matmul(p, w, { transposeB: true });
    const inverse = await pseudoInverse(inner, linalg); // [components, components]
    const rotated = await linalg.matmul(w, inverse, { transposeA: true });
    const coefficients = await linalg.matmul(rotated, q);
    for (let u = 0; u < nUnits; u++) {
      for (let t = 0; t < nTargets; t++) {
        coefficients.data[u * nTargets + t]! *= (yScale?.[t] ?? 1) / (xScale?.[u] ?? 1);
      }
    }
    return linearModel(coefficients, pair);
  });
}

/** The unit vector in units whose scores vary most with the targets, by the power method; undefined if none does. */
async function firstDirection(
  x: Matrix<Float64Array>,
  y: Matrix<Float64Array>,
  tolerance: number,
  maxIterations: number,
  linalg: Linalg,
): Promise<Float64Array | undefined> {
  const { nRows, nColumns } = y;
  // Targets that are explained to rounding do not take part, as in the reference.
  const alive = new Uint8Array(nColumns);
  for (let i = 0; i < y.data.length; i++) {
    if (Math.abs(y.data[i]!) >= 10 * Number.EPSILON) alive[i % nColumns] = 1;
  }
  for (let i = 0; i < y.data.length; i++) if (!alive[i % nColumns]) y.data[i] = 0;
  const start = alive.indexOf(1);
  if (start < 0) return undefined;
  let targetScores = Float64Array.from({ length: nRows }, (_, i) => y.data[i * nColumns + start]!);
  let last: Float64Array | undefined;
  for (let iteration = 0; iteration < maxIterations; iteration++) {
    const direction = await across(x, targetScores, linalg);
    const square = dot(targetScores, targetScores);
    for (let u = 0; u < direction.length; u++) direction[u]! /= square;
    const length = Math.sqrt(dot(direction, direction)) + Number.EPSILON;
    for (let u = 0; u < direction.length; u++) direction[u]! /= length;
    const scores = await times(x, direction, linalg);
    const size = dot(scores, scores);
    if (size === 0) return undefined;
    const targetWeights = (await across(y, scores, linalg)).map((value) => value / size);
    const norm = dot(targetWeights, targetWeights) + Number.EPSILON;
    targetScores = (await times(y, targetWeights, linalg)).map((value) => value / norm);
    let change = 0;
    if (last) for (let u = 0; u < last.length; u++) change += (direction[u]! - last[u]!) ** 2;
    last = direction;
    if ((iteration > 0 && change < tolerance) || nColumns === 1) break;
  }
  return last;
}

const dot = (a: Float64Array, b: Float64Array): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
};

async function times(
  a: Matrix<Float64Array>,
  v: Float64Array,
  linalg: Linalg,
): Promise<Float64Array> {
  return (await linalg.matmul(a, { data: v, nRows: v.length, nColumns: 1 })).data;
}

async function across(
  a: Matrix<Float64Array>,
  v: Float64Array,
  linalg: Linalg,
): Promise<Float64Array> {
  return (await linalg.matmul({ data: v, nRows: 1, nColumns: v.length }, a)).data;
}

function lessOuter(
  { data, nRows, nColumns }: Matrix<Float64Array>,
  left: Float64Array,
  right: Float64Array,
): void {
  for (let i = 0; i < nRows; i++) {
    for (let j = 0; j < nColumns; j++) data[i * nColumns + j]! -= left[i]! * right[j]!;
  }
}

/** Divides by the sample deviation, in place; columns that do not vary stay. */
function divideByDeviation({ data, nRows, nColumns }: Matrix<Float64Array>): Float64Array {
  const deviations = new Float64Array(nColumns);
  for (let i = 0; i < data.length; i++) deviations[i % nColumns]! += data[i]! ** 2;
  for (let j = 0; j < nColumns; j++) {
    deviations[j] = Math.sqrt(deviations[j]! / Math.max(1, nRows - 1)) || 1;
  }
  for (let i = 0; i < data.length; i++) data[i]! /= deviations[i % nColumns]!;
  return deviations;
}

async function pseudoInverse(
  a: Matrix<Float64Array>,
  linalg: Linalg,
): Promise<Matrix<Float64Array>> {
  const { u, s, v } = await svd(a, linalg);
  const least = Math.max(a.nRows, a.nColumns) * Number.EPSILON * s[0]!;
  const scaled = Float64Array.from(v.data, (value, i) => {
    const size = s[i % v.nColumns]!;
    return size > least ? value / size : 0;
  });
  return linalg.matmul({ ...v, data: scaled }, u, { transposeB: true });
}
