import { ArgumentError } from "@penfield/core";
import { eigenSymmetric, type Linalg } from "@penfield/linalg";
import type { Dense } from "../similarity/pair.ts";

/** Eigenvalues below this are taken for it, as in netrep. */
const LEAST_EIGENVALUE = 1e-7;

/**
 * The matrix that whitens columns in part: alpha = 1 leaves them as they are, alpha = 0 makes them
 * uncorrelated and of one size.
 *
 *   Z = c V (alpha + (1 - alpha) Lambda^(-1/2)) V^T,  X^T X = V Lambda V^T,  c such that |X Z|_F = |X|_F
 *
 * @param x - `[n, p]`, centred if that is wanted.
 * @param alpha - 0 to 1.
 * @param options.nColumns - As how many columns to count, further ones being zeros: it enters c. Default p.
 * @returns `[p, p]`, symmetric; undefined for alpha = 1, where it is the identity.
 * @throws {ArgumentError} if alpha is outside 0..1.
 *
 * Eigenvalues of X^T X below 1e-7 count as 1e-7, so directions without variance are not blown up beyond that.
 *
 * Cost: one product and an eigendecomposition. Source: Williams et al. (2021), NeurIPS, app. Matches netrep's whiten.
 *
 * @example
 * import { createLinalg, matrix } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const z = await partialWhitening(linalg, matrix(Float64Array.of(2, 0, 0, 2), 2, 2), 0);
 * z.data.map((v) => Math.round(v * 1e9) / 1e9).join(" ") // => "1 0 0 1"
 */
export async function partialWhitening(
  linalg: Linalg,
  x: Dense,
  alpha: number,
  { nColumns = x.nColumns }: { nColumns?: number | undefined } = {},
): Promise<Dense | undefined> {
  if (!(alpha >= 0 && alpha <= 1)) {
    throw new ArgumentError(`partialWhitening: expected alpha within 0..1, got ${alpha}`);
  }
  if (alpha > 1 - LEAST_EIGENVALUE) return undefined;
  const p = x.nColumns;
  const gram = await linalg.matmul(x, x, { transposeA: true });
  const { values, vectors } = await eigenSymmetric(gram, linalg);
  const lambda = values.map((v) => Math.max(v, LEAST_EIGENVALUE));
  const beta = 1 - alpha;
  const after = (v: number) => alpha ** 2 * v + 2 * alpha * beta * Math.sqrt(v) + beta ** 2;
  const absent = nColumns - p;
  let before = absent * LEAST_EIGENVALUE;
  let then = absent * after(LEAST_EIGENVALUE);
  for (const v of lambda) {
    before += v;
    then += after(v);
  }
  const c = Math.sqrt(before / then);
  const scaled = Float64Array.from(vectors.data);
  lambda.forEach((v, i) => {
    const d = c * (alpha + beta / Math.sqrt(v));
    for (let j = 0; j < p; j++) scaled[i * p + j]! *= d;
  });
  return linalg.matmul(vectors, { data: scaled, nRows: p, nColumns: p }, { transposeA: true });
}
