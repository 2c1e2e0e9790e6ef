import { type Activations, ArgumentError, DataError } from "@penfield/core";
import { choleskySolve, type Linalg, type Matrix, matrix, symmetricEigen } from "@penfield/linalg";
import { identityMatrix } from "./crossValidated.ts";
import {
  centreColumns,
  checkChannels,
  checkObservations,
  groupMeans,
  groupsOf,
} from "./observations.ts";
import { type UsesLinalg, withLinalg } from "./products.ts";
import type { Label } from "./rdms.ts";

/** How a noise covariance is estimated. */
export type CovarianceMethod = "full" | "diag" | "shrinkage_eye" | "shrinkage_diag";

/** How noise is estimated. */
export interface NoiseOptions extends UsesLinalg {
  /** Default `shrinkage_diag`. */
  readonly method?: CovarianceMethod | undefined;
  /** The condition of each observation: its mean is taken off. Default: x are residuals already. */
  readonly conditions?: ArrayLike<Label> | undefined;
  /** Degrees of freedom. Default: nObservations - nConditions, or nObservations - 1 for residuals. */
  readonly degreesOfFreedom?: number | undefined;
}

const METHODS: readonly string[] = ["full", "diag", "shrinkage_eye", "shrinkage_diag"];

/**
 * The covariance of the noise between channels.
 *
 *   full            X^T X / dof                    X: observations less their condition's mean, and the column means
 *   diag            its diagonal
 *   shrinkage_eye   (1 - l) S + l m I              m: mean variance (Ledoit-Wolf)
 *   shrinkage_diag  off-diagonals times (1 - l)    (Schäfer-Strimmer)
 *
 * @param x - `[nObservations, nChannels]`, finite.
 * @param options - The estimator, and what counts as noise.
 * @returns `[nChannels, nChannels]`.
 * @throws {ShapeError} if labels do not fit.
 * @throws {DataError} if a value is not finite or no degree of freedom is left, or (shrinkage_diag) a channel
 *   does not vary.
 * @throws {ArgumentError} if an option is out of range.
 *
 * Cost: two products, 4 n P^2 operations (one for full); memory two P x P matrices.
 * Source: Ledoit & Wolf (2004), J Multivar Anal 88:365-411; Schäfer & Strimmer (2005), Stat Appl Genet Mol Biol 4:32.
 * Matches rsatoolbox.data.noise.cov_from_residuals and cov_from_unbalanced. (Its cov_from_measurements has
 * (nConditions - 1) nRepetitions degrees of freedom in place of nConditions (nRepetitions - 1); name them to have those.)
 *
 * @example
 * const x = activations([[1, 0], [-1, 0], [0, 2], [0, -2]]);
 * (await noiseCovariance(x, { method: "diag", degreesOfFreedom: 4 })).data.join(" ") // => "0.5 0 0 2"
 */
export function noiseCovariance(
  x: Activations,
  options: NoiseOptions = {},
): Promise<Matrix<Float64Array>> {
  const name = "noiseCovariance";
  const { method = "shrinkage_diag", conditions, degreesOfFreedom } = options;
  if (!METHODS.includes(method)) {
    throw new ArgumentError(`${name}: expected method ${METHODS.join(", ")}, got ${method}`);
  }
  checkObservations(name, x);
  const [n, p] = x.shape;
  const residuals = matrix(Float64Array.from(x.data), n, p);
  let lost = 1;
  if (conditions) {
    const groups = groupsOf(name, "conditions", conditions, n);
    const means = groupMeans(x, groups).data;
    groups.index.forEach((c, i) => {
      for (let j = 0; j < p; j++) residuals.data[i * p + j]! -= means[c * p + j]!;
    });
    lost = groups.labels.length;
  }
  centreColumns(residuals);
  const dof = degreesOfFreedom ?? n - lost;
  if (!(dof > 0 && Number.isFinite(dof))) {
    throw new DataError(`${name}: expected degrees of freedom above 0, got ${dof}`, {
      hint: "Noise needs several observations per condition.",
    });
  }
  return withLinalg(options.linalg, (linalg) => covariance(linalg, residuals, dof, method));
}

async function covariance(
  linalg: Linalg,
  x: Matrix<Float64Array>,
  dof: number,
  method: CovarianceMethod,
): Promise<Matrix<Float64Array>> {
  const { nRows: n, nColumns: p } = x;
  if (method === "diag") {
    const out = new Float64Array(p * p);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < p; j++) out[j * p + j]! += x.data[i * p + j]! ** 2 / dof;
    }
    return matrix(out, p, p);
  }
  const product = (await linalg.matmul(x, x, { transposeA: true })).data;
  if (method === "full")
    return matrix(
      product.map((v) => v / dof),
      p,
      p,
    );
  const squared = matrix(
    x.data.map((v) => v * v),
    n,
    p,
  );
  const fourth = (await linalg.matmul(squared, squared, { transposeA: true })).data;
  return matrix(
    method === "shrinkage_eye"
      ? towardsIdentity(product, fourth, n, p, dof)
      : towardsDiagonal(product, fourth, n, p, dof),
    p,
    p,
  );
}

function towardsIdentity(
  product: Float64Array,
  fourth: Float64Array,
  n: number,
  p: number,
  dof: number,
): Float64Array {
  let trace = 0;
  for (let j = 0; j < p; j++) trace += product[j * p + j]! / n;
  const mean = trace / p;
  let noise = 0;
  let spread = 0;
  for (let i = 0; i < p * p; i++) {
    const s = product[i]! / n;
    noise += fourth[i]! / n - s * s;
    spread += (s - (i % (p + 1) === 0 ? mean : 0)) ** 2;
  }
  noise = Math.min(spread, noise / n);
  // Nothing to shrink where all variances are equal and nothing covaries.
  const share = spread === 0 ? 0 : noise / spread;
  return product.map((v, i) => {
    const target = i % (p + 1) === 0 ? share * mean : 0;
    return ((target + (1 - share) * (v / n)) * n) / dof;
  });
}

function towardsDiagonal(
  product: Float64Array,
  fourth: Float64Array,
  n: number,
  p: number,
  dof: number,
): Float64Array {
  let above = 0;
  let below = 0;
  for (let i = 0; i < p; i++) {
    if (!(product[i * p + i]! > 0)) {
      throw new DataError(`noiseCovariance: expected every channel to vary, got none in ${i}`, {
        hint: "Leave the channel out, or use shrinkage_eye.",
      });
    }
    for (let j = 0; j < p; j++) {
      if (i === j) continue;
      const variances = (product[i * p + i]! / dof) * (product[j * p + j]! / dof);
      const mean = product[i * p + j]! / Math.sqrt(variances) / (n - 1);
      const meanSquare = fourth[i * p + j]! / variances / (n - 1);
      above += (n / (dof * dof)) * (meanSquare - mean * mean);
      below += mean * mean;
    }
  }
  const share = below === 0 ? 1 : Math.max(0, Math.min(1, above / below));
  return product.map((v, i) => (i % (p + 1) === 0 ? v / dof : (v / dof) * (1 - share)));
}

/**
 * The noise precision: the inverse of {@link noiseCovariance}.
 *
 * @throws {DataError} if the covariance is singular (no more observations than channels with `full`).
 *
 * Cost: as noiseCovariance, and 7/3 P^3 operations for the inverse.
 *
 * @example
 * const x = activations([[1, 0], [-1, 0], [0, 2], [0, -2]]);
 * (await noisePrecision(x, { method: "diag", degreesOfFreedom: 4 })).data.join(" ") // => "2 0 0 0.5"
 */
export async function noisePrecision(
  x: Activations,
  options: NoiseOptions = {},
): Promise<Matrix<Float64Array>> {
  const covariances = await noiseCovariance(x, options);
  const p = covariances.nRows;
  if (options.method === "diag") {
    const out = new Float64Array(p * p);
    for (let j = 0; j < p; j++) {
      const variance = covariances.data[j * p + j]!;
      if (!(variance > 0)) {
        throw new DataError(`noisePrecision: expected every channel to vary, got none in ${j}`);
      }
      out[j * p + j] = 1 / variance;
    }
    return matrix(out, p, p);
  }
  try {
    return choleskySolve(covariances, identityMatrix(p));
  } catch (cause) {
    if (!(cause instanceof DataError)) throw cause;
    throw new DataError(
      `noisePrecision: expected a covariance of ${p} channels that can be inverted, got a singular one from ${x.shape[0]} observations`,
      { hint: "With no more observations than channels use shrinkage_diag.", cause },
    );
  }
}

/**
 * The covariance of the pattern estimates of conditions over runs, sigma_k: what whitened comparisons of RDMs
 * take when conditions are not measured independently and equally well.
 *
 *   sum over runs (U_f - U)(U_f - U)^T / (R - 1) / P,  patterns whitened by the square root of the precision
 *
 * @param x - `[nObservations, nChannels]`, finite.
 * @param options - Conditions and runs of the observations; precision default identity.
 * @returns `[nConditions, nConditions]`; a pair that fewer than two runs have together has 0.
 * @throws {ShapeError} if labels or precision do not fit.
 *
 * Cost: one eigendecomposition of the precision and products of 2 n P^2 operations.
 * Source: Diedrichsen et al. (2016), arXiv:1607.01371, eq. 36. Matches rsatoolbox.data.noise.sigmak_from_measurements.
 *
 * @example
 * const x = activations([[1, 1], [0, 0], [3, 3], [0, 0]]);
 * (await conditionCovariance(x, { conditions: ["a", "b", "a", "b"], runs: [1, 1, 2, 2] })).data.join(" ") // => "2 0 0 0"
 */
export function conditionCovariance(
  x: Activations,
  options: {
    readonly conditions: ArrayLike<Label>;
    readonly runs: ArrayLike<Label>;
    readonly precision?: Matrix | undefined;
  } & UsesLinalg,
): Promise<Matrix<Float64Array>> {
  const name = "conditionCovariance";
  checkObservations(name, x);
  const [n, p] = x.shape;
  const groups = groupsOf(name, "conditions", options.conditions, n);
  const runs = groupsOf(name, "runs", options.runs, n);
  if (options.precision) checkChannels(name, "a precision", options.precision, p);
  const k = groups.labels.length;
  return withLinalg(options.linalg, async (linalg) => {
    const whitened = options.precision
      ? await linalg.matmul(
          matrix(Float64Array.from(x.data), n, p),
          await squareRoot(linalg, options.precision),
        )
      : matrix(Float64Array.from(x.data), n, p);
    const tensor = {
      data: whitened.data,
      axes: ["stimulus", "unit"] as const,
      shape: [n, p] as const,
    };
    const all = groupMeans(tensor, groups).data;
    const sum = new Float64Array(k * k);
    const counts = new Int32Array(k * k);
    for (let f = 0; f < runs.labels.length; f++) {
      const { deviations, present } = runDeviations(
        whitened.data,
        all,
        groups.index,
        runs.index,
        f,
        k,
        p,
      );
      const product = (await linalg.matmul(deviations, deviations, { transposeB: true })).data;
      for (let i = 0; i < k; i++) {
        for (let j = 0; j < k; j++) {
          if (!present[i] || !present[j]) continue;
          sum[i * k + j]! += product[i * k + j]!;
          counts[i * k + j]!++;
        }
      }
    }
    return matrix(
      sum.map((v, i) => (counts[i]! > 1 ? v / (counts[i]! - 1) / p : 0)),
      k,
      k,
    );
  });
}

/** The run's mean patterns less those of all runs; rows of conditions that the run does not have are 0. */
function runDeviations(
  x: Float64Array,
  all: Float64Array,
  conditions: Int32Array,
  runs: Int32Array,
  run: number,
  k: number,
  p: number,
): { deviations: Matrix<Float64Array>; present: boolean[] } {
  const out = new Float64Array(k * p);
  const counts = new Int32Array(k);
  runs.forEach((r, i) => {
    if (r !== run) return;
    const c = conditions[i]!;
    counts[c]!++;
    for (let j = 0; j < p; j++) out[c * p + j]! += x[i * p + j]!;
  });
  counts.forEach((count, c) => {
    for (let j = 0; j < p && count > 0; j++) {
      out[c * p + j] = out[c * p + j]! / count - all[c * p + j]!;
    }
  });
  return { deviations: matrix(out, k, p), present: Array.from(counts, (count) => count > 0) };
}

/** The symmetric square root; eigenvalues below 0 count as 0. */
export async function squareRoot(linalg: Linalg, a: Matrix): Promise<Matrix<Float64Array>> {
  const n = a.nRows;
  const { values, vectors } = symmetricEigen(a);
  const scaled = vectors.data.map((v, i) => v * Math.sqrt(Math.max(0, values[Math.floor(i / n)]!)));
  return linalg.matmul(vectors, matrix(scaled, n, n), { transposeA: true });
}
