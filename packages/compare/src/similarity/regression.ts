import { type Activations, ArgumentError } from "@penfield/core";
import type { Linalg } from "@penfield/linalg";
import { type Basis, basisOf, centredBasis } from "./basis.ts";
import { centred, type Dense, inner, norm, pairOf } from "./pair.ts";

/** How well each representation predicts the other by linear regression. */
export interface LinearPredictivity {
  /** The share of the variance of x that a linear map of y explains, in the data fitted to. */
  readonly xFromY: number;
  readonly yFromX: number;
}

/**
 * Linear regression between two representations, both ways.
 *
 *   R^2 (x from y) = |U_y^T X|_F^2 / |X|_F^2,  columns centred, U_y an orthonormal basis of y's columns
 *
 * This is R^2 in the data fitted to: with as many units as stimuli it is 1. For prediction held out, use
 * encoding models (@penfield/align).
 *
 * @param x - `[n, p]`, finite.
 * @param y - `[n, q]`, the same stimuli.
 * @returns Both within 0..1; NaN if the predicted representation does not vary, 0 if the predicting one does not.
 * @throws {ShapeError} if the stimuli differ or are fewer than 2.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: two singular value decompositions. Source: Kornblith et al. (2019), ICML, eq. 9. Matches ReSi's LinearRegression.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [0, 1], [-1, -1], [2, 1], [0, 3]]);
 * const y = activations([[1], [0], [-1], [2], [0]]);
 * (await linearPredictivity(linalg, x, y)).yFromX.toFixed(9) // => "1.000000000"
 */
export async function linearPredictivity(
  linalg: Linalg,
  x: Activations,
  y: Activations,
): Promise<LinearPredictivity> {
  const pair = pairOf("linearPredictivity", x, y);
  const [xBasis, yBasis] = [await centredBasis(linalg, pair.x), await centredBasis(linalg, pair.y)];
  const share = async (target: Dense, own: Basis, basis: Basis): Promise<number> => {
    if (own.rank === 0) return Number.NaN;
    if (basis.rank === 0) return 0;
    const c = centred(target);
    const { data } = await linalg.matmul(basis.u, c, { transposeA: true });
    return Math.min(1, inner(data, data) / inner(c.data, c.data));
  };
  return {
    xFromY: await share(pair.x, xBasis, yBasis),
    yFromX: await share(pair.y, yBasis, xBasis),
  };
}

/**
 * GULP: how far apart can the predictions of ridge regressions from two representations be, whatever
 * they predict?
 *
 *   d^2 = tr((S_x + l)^-1 S_x (S_x + l)^-1 S_x) + same of y - 2 tr((S_x + l)^-1 S_xy (S_y + l)^-1 S_xy^T)
 *
 * S are covariances of centred representations, scaled to |X|_F = sqrt(n).
 *
 * @param x - `[n, p]`, finite.
 * @param y - `[n, q]`, the same stimuli.
 * @param options.lambda - The ridge penalty. Default 0, with which only the spanned subspaces count, and which is no
 *   comparison when n <= p or q.
 * @returns The squared distance, at least 0; NaN if a representation does not vary.
 * @throws {ShapeError} if the stimuli differ or are fewer than 2.
 * @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if lambda is negative.
 *
 * Cost: two singular value decompositions. Source: Boix-Adsera et al. (2022), NeurIPS. Matches ReSi's gulp (squared distance).
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [0, 1], [-1, -1], [2, 1], [0, 3]]);
 * (await gulp(linalg, x, x, { lambda: 0.1 })).toFixed(9) // => "0.000000000"
 */
export async function gulp(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  { lambda = 0 }: { lambda?: number | undefined } = {},
): Promise<number> {
  if (!(lambda >= 0 && Number.isFinite(lambda))) {
    throw new ArgumentError(`gulp: expected lambda at least 0, got ${lambda}`);
  }
  const pair = pairOf("gulp", x, y);
  const [a, b] = [await centredBasis(linalg, pair.x), await centredBasis(linalg, pair.y)];
  if (a.rank === 0 || b.rank === 0) return Number.NaN;
  const shrunk = ({ s }: Basis): Float64Array => {
    const total = inner(s, s);
    return s.map((v) => v ** 2 / total / (v ** 2 / total + lambda));
  };
  const [p, q] = [shrunk(a), shrunk(b)];
  const { data } = await linalg.matmul(a.u, b.u, { transposeA: true });
  let cross = 0;
  for (let i = 0; i < p.length; i++) {
    for (let j = 0; j < q.length; j++) cross += p[i]! * q[j]! * data[i * q.length + j]! ** 2;
  }
  return Math.max(0, inner(p, p) + inner(q, q) - 2 * cross);
}

/**
 * The overlap of the spaces that two representations span (without centring).
 *
 *   |U_x^T U_y|_F^2 / max(p, q)
 *
 * @returns 0 to 1; NaN if a representation is all zeros.
 * @throws As {@link linearPredictivity}.
 *
 * Cost: two singular value decompositions. Source: May et al. (2019), NeurIPS. Matches ReSi's EigenspaceOverlapScore.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [0, 1], [-1, -1]]);
 * (await eigenspaceOverlap(linalg, x, x)).toFixed(9) // => "1.000000000"
 */
export async function eigenspaceOverlap(
  linalg: Linalg,
  x: Activations,
  y: Activations,
): Promise<number> {
  const pair = pairOf("eigenspaceOverlap", x, y, 1);
  if (norm(pair.x.data) === 0 || norm(pair.y.data) === 0) return Number.NaN;
  const [a, b] = [await basisOf(linalg, pair.x), await basisOf(linalg, pair.y)];
  const { data } = await linalg.matmul(a.u, b.u, { transposeA: true });
  return inner(data, data) / Math.max(pair.x.nColumns, pair.y.nColumns);
}
