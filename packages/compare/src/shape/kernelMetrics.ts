import { type Activations, ArgumentError, DataError } from "@penfield/core";
import {
  cholesky,
  eigenSymmetric,
  type Linalg,
  nuclearNorm,
  solveTriangular,
  transpose,
} from "@penfield/linalg";
import { centred, type Dense, norm, pairOf } from "../similarity/pair.ts";

/**
 * The squared Bures distance of two symmetric positive semidefinite matrices: the squared 2-Wasserstein
 * distance of the centred Gaussians that have them as covariances.
 *
 *   tr A + tr B - 2 tr (A^(1/2) B A^(1/2))^(1/2)
 *
 * @param a - `[n, n]`, symmetric, positive semidefinite up to rounding (negative eigenvalues count as 0).
 * @param b - `[n, n]`, as a.
 * @returns At least 0 up to rounding.
 * @throws {ShapeError} if a matrix is not square.
 * @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if the sizes differ.
 *
 * Cost: two eigendecompositions, two products and eigenvalues. Source: Bhatia, Jain & Lim (2019), Expositiones Math. 37. Matches netrep's sq_bures_metric.
 *
 * @example
 * import { createLinalg, matrix } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const a = matrix(Float64Array.of(1, 0, 0, 1), 2, 2);
 * (await squaredBures(linalg, a, matrix(Float64Array.of(4, 0, 0, 4), 2, 2))).toFixed(9) // => "2.000000000"
 */
export async function squaredBures(linalg: Linalg, a: Dense, b: Dense): Promise<number> {
  if (a.nRows !== b.nRows) {
    throw new ArgumentError(
      `squaredBures: expected matrices of one size, got ${a.nRows} and ${b.nRows}`,
    );
  }
  const [p, q] = [await rootFactor(linalg, a), await rootFactor(linalg, b)];
  // Singular values of A^(1/2) B^(1/2), whose squares lose no sign: |.|_* needs no root of a difference.
  const cross = await linalg.matmul(p.factor, q.factor, { transposeB: true });
  return p.trace + q.trace - 2 * (await nuclearNorm(cross, linalg));
}

/** Rows sqrt(lambda_i) v_i: factor^T factor = a. */
async function rootFactor(linalg: Linalg, a: Dense): Promise<{ factor: Dense; trace: number }> {
  const { values, vectors } = await eigenSymmetric(a, linalg);
  const n = a.nRows;
  const factor = Float64Array.from(vectors.data);
  let trace = 0;
  values.forEach((value, i) => {
    trace += value;
    const root = Math.sqrt(Math.max(0, value));
    for (let j = 0; j < n; j++) factor[i * n + j]! *= root;
  });
  return { factor: { data: factor, nRows: n, nColumns: n }, trace };
}

/**
 * The affine-invariant Riemannian distance of two positive definite matrices.
 *
 *   sqrt(sum_i log^2 lambda_i),  lambda the eigenvalues of A^-1 B
 *
 * @param a - `[n, n]`, symmetric, positive definite.
 * @param b - `[n, n]`, as a.
 * @throws {ShapeError} if a matrix is not square.
 * @throws {DataError} if a value is not finite, or a matrix is not positive definite.
 * @throws {ArgumentError} if the sizes differ.
 *
 * Cost: n^3 (Cholesky, two triangular solutions, eigenvalues). Source: Bhatia (2007), Positive Definite Matrices, ch. 6.
 *
 * @example
 * import { createLinalg, matrix } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const a = matrix(Float64Array.of(1, 0, 0, 1), 2, 2);
 * const b = matrix(Float64Array.of(Math.E, 0, 0, 1), 2, 2);
 * (await riemannianDistance(linalg, a, b)).toFixed(9) // => "1.000000000"
 */
export async function riemannianDistance(linalg: Linalg, a: Dense, b: Dense): Promise<number> {
  if (a.nRows !== b.nRows) {
    throw new ArgumentError(
      `riemannianDistance: expected matrices of one size, got ${a.nRows} and ${b.nRows}`,
    );
  }
  const l = await cholesky(a, linalg);
  const half = await solveTriangular(l, b, linalg);
  const ratio = await solveTriangular(l, transpose(half), linalg);
  const { values } = await eigenSymmetric(ratio, linalg, { vectors: false });
  if (!(values[values.length - 1]! > 0)) {
    throw new DataError(
      "riemannianDistance: expected positive definite matrices, got one that is not",
      { hint: "Add a little to the diagonal." },
    );
  }
  return norm(values.map(Math.log));
}

/**
 * The Riemannian distance of two kernels of stimuli, made positive definite by a ridge.
 *
 *   d(K + r m_K I, L + r m_L I),  K = X X^T / tr(X X^T),  m = mean of the diagonal
 *
 * @param x - `[n, p]`, finite; columns are centred.
 * @param y - `[n, q]`, the same stimuli.
 * @param options.ridge - r. Default 0.1: centred kernels never have full rank, and how far apart they are depends on r.
 * @returns At least 0; NaN if a representation does not vary.
 * @throws {ShapeError} if the stimuli differ or are fewer than 2.
 * @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if ridge is not above 0.
 *
 * Cost: two n x n kernels and n^3 operations. Source: Shahbazi et al. (2021), NeuroImage 239:118271.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [0, 1], [-1, -1], [2, 1]]);
 * (await riemannianKernelDistance(linalg, x, x)) < 1e-9 // => true
 */
export async function riemannianKernelDistance(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  { ridge = 0.1 }: { ridge?: number | undefined } = {},
): Promise<number> {
  if (!(ridge > 0 && Number.isFinite(ridge))) {
    throw new ArgumentError(`riemannianKernelDistance: expected ridge above 0, got ${ridge}`);
  }
  const pair = pairOf("riemannianKernelDistance", x, y);
  const kernel = async (m: Dense): Promise<Dense | undefined> => {
    const c = centred(m);
    const size = norm(c.data);
    if (size <= 1e-14 * norm(m.data)) return undefined;
    const k = await linalg.matmul(c, c, { transposeB: true });
    const data = k.data.map((v) => v / size / size);
    // The trace is 1, so the mean of the diagonal is 1 / n.
    for (let i = 0; i < pair.n; i++) data[i * pair.n + i]! += ridge / pair.n;
    return { ...k, data };
  };
  const [k, l] = [await kernel(pair.x), await kernel(pair.y)];
  return k && l ? riemannianDistance(linalg, k, l) : Number.NaN;
}
