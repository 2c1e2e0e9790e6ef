import { eigenSymmetric, type Linalg, type Matrix, transpose } from "@penfield/linalg";
import type { Fold } from "../folds.ts";
import { floats, inPrecision, type Precision, pickColumns, pickRows } from "./arrays.ts";
import { columnMeans, subtractRow } from "./columns.ts";
import { type PenaltyBasis, penaltyBasis } from "./penaltyBasis.ts";
import type { Spectrum } from "./spectrum.ts";

/**
 * One fold of a cross-validation, prepared so that predictions for its test stimuli, under every function of a
 * penalty basis, are one product with what was measured in training:
 *
 *   "basis":  A map, A = Y_train^T U_train: few numbers per target, summed once for all folds
 *   "direct": Y_train^T map, which needs no inverse of how much of U the fold leaves out
 */
export interface FoldMap {
  readonly fold: Fold;
  readonly route: "basis" | "direct";
  /** `[k or nTrain, r nTest]`. */
  readonly map: Matrix;
  readonly basis: PenaltyBasis;
  /** Means of U over the training stimuli; zeros without an intercept. */
  readonly uMeans: Float64Array;
  /** Penalties too small for the negative eigenvalues of a given kernel. */
  readonly forbidden: readonly boolean[];
}

/** What of a penalty's shares may be left out: rounding in sums of thousands of products. */
const TOLERANCE: Readonly<Record<Precision, number>> = { float32: 1e-6, float64: 1e-13 };
/** Beyond this the rounding of A would show in predictions. */
const MOST_AMPLIFICATION: Readonly<Record<Precision, number>> = { float32: 300, float64: 1e6 };

interface FoldSetting {
  readonly alphas: readonly number[];
  readonly intercept: boolean;
  readonly precision: Precision;
}

/** What a fold of units is whatever their scale. */
export interface UnitFold {
  readonly fold: Fold;
  /** X_train^T X_train about the training means. */
  readonly gram: Matrix<Float64Array>;
  /** Less the training means. */
  readonly test: Matrix<Float64Array>;
  readonly fitted: () => Matrix<Float64Array>;
  readonly uMeans: Float64Array;
  /** Whether sums over training stimuli are the smaller difference from those over all. */
  readonly isMost: boolean;
}

export async function prepareUnitFold(
  { x, gram, u }: Spectrum,
  fold: Fold,
  intercept: boolean,
  linalg: Linalg,
): Promise<UnitFold> {
  const leftOut = complementOf(fold.train, x.nRows);
  const away = pickRows(x, leftOut);
  const rows = pickRows(x, fold.train);
  const trainMeans = intercept ? columnMeans(rows) : new Float64Array(x.nColumns);
  const fitted = () => lessRow(rows, trainMeans);
  // Stimuli that are fitted to more than once, or few of them: no difference from the whole.
  const isMost =
    fold.train.length + leftOut.length === x.nRows && leftOut.length < fold.train.length;
  return {
    fold,
    gram: isMost
      ? await gramWithout(gram, away, trainMeans, fold.train.length, linalg)
      : await linalg.matmul(fitted(), fitted(), { transposeA: true }),
    test: lessRow(pickRows(x, fold.test), trainMeans),
    fitted,
    uMeans:
      intercept && isMost ? columnMeans(pickRows(u, fold.train)) : new Float64Array(u.nColumns),
    isMost,
  };
}

/**
 * How a fold of units predicts.
 *
 * @param scale - Factor of each unit (banded ridge), as if x had been multiplied by it. Default: 1.
 */
export async function unitFold(
  { s, v }: Spectrum,
  { fold, gram, test, fitted, uMeans, isMost }: UnitFold,
  { precision, alphas }: FoldSetting,
  linalg: Linalg,
  scale?: Float64Array,
): Promise<FoldMap> {
  const train = scale ? scaledBoth(gram, scale) : gram;
  const { values, vectors } = await eigenSymmetric(train, linalg); // eigenvectors as rows
  const lambda = values.map((value) => Math.max(0, value));
  // (D E diag(1 / sqrt(lambda)))^T, in place.
  const own = scaleRows(vectors, inverseRoots(lambda));
  if (scale) scaleColumns(own, scale);
  const right = await linalg.matmul(test, own, { transposeB: true }); // [nTest, p]
  const basis = penaltyBasis(lambda, alphas, TOLERANCE[precision]);
  const forbidden = alphas.map(() => false);
  // X_train = U_train diag(s) V^T.
  const t = await linalg.matmul(await v(), own, { transposeA: true, transposeB: true }); // [k, p]
  scaleRows(t, s);
  const smallest = lambda.map((value) => (value === 0 ? 0 : value / (value + Math.min(...alphas))));
  if (isMost && amplification(t, smallest) <= MOST_AMPLIFICATION[precision]) {
    const map = await mapOf(t, right, basis, precision, linalg);
    return { fold, route: "basis", map, basis, uMeans, forbidden };
  }
  const left = await linalg.matmul(fitted(), own, { transposeB: true });
  const map = await mapOf(left, right, basis, precision, linalg);
  return { fold, route: "direct", map, basis, uMeans, forbidden };
}

/** A fold of a kernel over all stimuli, `[nStimuli, nStimuli]`. */
export async function kernelFold(
  kernel: Matrix<Float64Array>,
  fold: Fold,
  { alphas, intercept, precision }: FoldSetting,
  linalg: Linalg,
  given = false,
): Promise<FoldMap> {
  const rows = pickRows(kernel, fold.train);
  const train = pickColumns(rows, fold.train);
  const across = pickColumns(pickRows(kernel, fold.test), fold.train);
  if (intercept) centreKernels(train, across);
  const { values, vectors } = await eigenSymmetric(train, linalg);
  const lowest = values[values.length - 1]!;
  // A kernel that was made here cannot be indefinite: what is below 0 is rounding.
  const lambda = given ? values : values.map((value) => Math.max(0, value));
  const forbidden = alphas.map((alpha) => given && lowest < 0 && alpha < -2 * lowest);
  const allowed = alphas.map((alpha, a) => (forbidden[a] ? Math.max(1, -4 * lowest) : alpha));
  // Shares are |lambda| / (lambda + alpha): one root goes to each side.
  const own = scaleRows(vectors, inverseRoots(lambda));
  const right = await linalg.matmul(across, own, { transposeB: true });
  const basis = penaltyBasis(lambda, allowed, TOLERANCE[precision]);
  const map = await mapOf(transpose(own), right, basis, precision, linalg);
  return { fold, route: "direct", map, basis, uMeans: new Float64Array(0), forbidden };
}

/** left diag(shares of each function) right^T, side by side: `[nLeft, r nTest]`. */
async function mapOf(
  left: Matrix,
  right: Matrix<Float64Array>,
  { count, shares }: PenaltyBasis,
  precision: Precision,
  linalg: Linalg,
): Promise<Matrix> {
  const { nRows: nTest, nColumns: k } = right;
  const width = count * nTest;
  const own = inPrecision(left, precision);
  const map = floats(precision, left.nRows * width);
  const shared = { data: floats(precision, nTest * k), nRows: nTest, nColumns: k };
  for (let q = 0; q < count; q++) {
    for (let i = 0; i < nTest; i++) {
      const at = i * k;
      for (let j = 0; j < k; j++) shared.data[at + j] = right.data[at + j]! * shares[q * k + j]!;
    }
    const { data } = await linalg.matmul(own, shared, { transposeB: true });
    for (let i = 0; i < left.nRows; i++) {
      map.set(data.subarray(i * nTest, (i + 1) * nTest), i * width + q * nTest);
    }
  }
  return { data: map, nRows: left.nRows, nColumns: width };
}

/** Stimuli that are not in `rows`, in order. */
export function complementOf(rows: Int32Array, n: number): Int32Array {
  const there = new Uint8Array(n);
  for (const row of rows) there[row] = 1;
  return Int32Array.from({ length: n }, (_, i) => i).filter((i) => there[i] === 0);
}

/** Rows less one, copied. */
function lessRow(rows: Matrix<Float64Array>, row: Float64Array): Matrix<Float64Array> {
  const out = { ...rows, data: rows.data.slice() };
  subtractRow(out, row);
  return out;
}

/** X_train^T X_train about the training means, from that of all stimuli. */
async function gramWithout(
  gram: Matrix<Float64Array>,
  away: Matrix<Float64Array>,
  means: Float64Array,
  nTrain: number,
  linalg: Linalg,
): Promise<Matrix<Float64Array>> {
  const { data } = await linalg.matmul(away, away, { transposeA: true });
  const p = gram.nColumns;
  for (let i = 0; i < p; i++) {
    const by = nTrain * means[i]!;
    for (let j = 0; j < p; j++) {
      data[i * p + j] = gram.data[i * p + j]! - data[i * p + j]! - by * means[j]!;
    }
  }
  return { data, nRows: p, nColumns: p };
}

function scaledBoth(
  { data, nRows, nColumns }: Matrix<Float64Array>,
  scale: Float64Array,
): Matrix<Float64Array> {
  const out = new Float64Array(data.length);
  for (let i = 0; i < nRows; i++) {
    const at = i * nColumns;
    for (let j = 0; j < nColumns; j++) out[at + j] = data[at + j]! * scale[i]! * scale[j]!;
  }
  return { data: out, nRows, nColumns };
}

const inverseRoots = (values: Float64Array): Float64Array =>
  values.map((value) => (value === 0 ? 0 : 1 / Math.sqrt(Math.abs(value))));

/** In place. */
function scaleRows(matrix: Matrix<Float64Array>, factors: Float64Array): Matrix<Float64Array> {
  const { data, nRows, nColumns } = matrix;
  for (let i = 0; i < nRows; i++) {
    for (let j = 0; j < nColumns; j++) data[i * nColumns + j]! *= factors[i]!;
  }
  return matrix;
}

/** In place. */
function scaleColumns({ data, nColumns }: Matrix<Float64Array>, factors: Float64Array): void {
  for (let i = 0; i < data.length; i++) data[i]! *= factors[i % nColumns]!;
}

/** Both kernels about the training stimuli's mean in the space of the kernel, in place. */
export function centreKernels(train: Matrix<Float64Array>, across: Matrix<Float64Array>): void {
  const n = train.nRows;
  const means = columnMeans(train);
  const whole = means.reduce((sum, mean) => sum + mean, 0) / n;
  for (const { data, nRows } of [across, train]) {
    for (let i = 0; i < nRows; i++) {
      let own = 0;
      for (let j = 0; j < n; j++) own += data[i * n + j]!;
      own /= n;
      for (let j = 0; j < n; j++) data[i * n + j]! += whole - own - means[j]!;
    }
  }
}

const POWER_STEPS = 4;

/** The largest eigenvalue of t diag(weights) t^T, from below, by the power method. */
function amplification({ data, nRows, nColumns }: Matrix, weights: Float64Array): number {
  let x = Float64Array.from({ length: nRows }, (_, i) => 1 + ((i * 7919) % 13) / 13);
  let value = 0;
  for (let step = 0; step < POWER_STEPS; step++) {
    const size = Math.sqrt(x.reduce((sum, entry) => sum + entry * entry, 0));
    if (size === 0) return 0;
    const inner = new Float64Array(nColumns);
    for (let i = 0; i < nRows; i++) {
      const by = x[i]! / size;
      for (let j = 0; j < nColumns; j++) inner[j]! += by * data[i * nColumns + j]!;
    }
    for (let j = 0; j < nColumns; j++) inner[j]! *= weights[j]!;
    const next = new Float64Array(nRows);
    for (let i = 0; i < nRows; i++) {
      let sum = 0;
      for (let j = 0; j < nColumns; j++) sum += data[i * nColumns + j]! * inner[j]!;
      next[i] = sum;
    }
    value = Math.sqrt(next.reduce((sum, entry) => sum + entry * entry, 0));
    x = next;
  }
  return value;
}
