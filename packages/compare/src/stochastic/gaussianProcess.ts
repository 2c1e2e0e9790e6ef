import { ShapeError } from "@penfield/core";
import { type Linalg, polarFactor } from "@penfield/linalg";
import { checkWhole, type Dense, inner, norm } from "../similarity/pair.ts";
import {
  type Alternation,
  type AlternationProblem,
  alignTo,
  alternate,
  alternateAccelerated,
  residualOf,
} from "./alternate.ts";
import { type GaussianShapeOptions, gaussianSettings, symmetricRoot } from "./gaussian.ts";

/** A noisy trajectory as one Gaussian over all times and units. */
export interface GaussianProcess {
  /** `[nTimes, p]`. */
  readonly mean: Dense;
  /** `[nTimes p, nTimes p]`, time-major as the mean. */
  readonly covariance: Dense;
}

/**
 * The shape distance of two stochastic processes: as the Gaussian one, with covariances between times. One
 * transformation of units serves all times.
 *
 *   alpha |mu_x - mu_y T|^2 + (2 - alpha) Bures^2(Sigma_x, (I x T)^T Sigma_y (I x T)),  minimized over T, then its root
 *
 * @param x - `[nTimes, p]` and `[nTimes p, nTimes p]`.
 * @param y - As many times and units.
 * @param options - As of gaussianShapeDistance.
 * @returns `distance`, and the alignment it was found with.
 * @throws {ShapeError} if sizes do not fit.
 * @throws {DataError} if a value is not finite or a covariance is not positive semidefinite.
 * @throws {ArgumentError} if an option is out of range.
 *
 * Cost per iteration: a polar factor of `[nTimes p, nTimes p]`. Source: Nejatbakhsh et al. (2024), "Comparing noisy neural population dynamics
 * using optimal transport distances". Matches netrep's GPStochasticMetric with compat "netrep".
 *
 * @example
 * import { createLinalg, matrix } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const mean = matrix(Float64Array.of(0, 1), 2, 1);
 * const x = { mean, covariance: matrix(Float64Array.of(1, 0, 0, 1), 2, 2) };
 * (await gaussianProcessDistance(linalg, x, x)).distance < 1e-9 // => true
 */
export async function gaussianProcessDistance(
  linalg: Linalg,
  x: GaussianProcess,
  y: GaussianProcess,
  options: GaussianShapeOptions = {},
): Promise<Alternation & { readonly distance: number }> {
  const name = "gaussianProcessDistance";
  const { alpha, group, compat, iterations, tolerance, start } = gaussianSettings(name, options);
  check(name, x);
  check(name, y);
  const { nRows: nTimes, nColumns: p } = x.mean;
  if (y.mean.nRows !== nTimes || y.mean.nColumns !== p) {
    throw new ShapeError(
      `${name}: expected as many times and units, got ${nTimes} x ${p} and ${y.mean.nRows} x ${y.mean.nColumns}`,
    );
  }
  const [xRoot, yRoot] = [symmetricRoot(x.covariance, name), symmetricRoot(y.covariance, name)];
  const meanCross = await linalg.matmul(y.mean, x.mean, { transposeA: true });
  const netrep = compat === "netrep";
  const residual = async (q: Dense, t: Dense): Promise<number> => {
    const turned = await linalg.matmul(q, await rightTimes(linalg, yRoot, t), { transposeA: true });
    return norm(turned.data.map((v, i) => xRoot.data[i]! - v)) ** 2;
  };
  const rotation = async (t: Dense): Promise<Dense> =>
    polarFactor(await linalg.matmul(await rightTimes(linalg, yRoot, t), xRoot), linalg);
  const problem: AlternationProblem = {
    group,
    meanCross,
    meanWeight: netrep ? alpha ** 2 : alpha,
    spreadWeight: netrep ? (2 - alpha) ** 2 : 2 - alpha,
    meanResidual: (t) => residualOf(linalg, x.mean, y.mean, t),
    spread: async (t) => {
      const q = await rotation(t);
      const turned = await linalg.matmul(q, yRoot, { transposeA: true });
      return {
        cross: await linalg.matmul(asBlocks(turned, p), asBlocks(xRoot, p), { transposeA: true }),
        residual: (other) => residual(q, other),
      };
    },
  };
  const first = start ?? (await alignTo(linalg, meanCross, group));
  const squares = (d: Float64Array) => inner(d, d);
  const constant =
    problem.meanWeight * (squares(x.mean.data) + squares(y.mean.data)) +
    problem.spreadWeight * (squares(xRoot.data) + squares(yRoot.data));
  const found = netrep
    ? await alternate(linalg, problem, first, iterations, tolerance)
    : await alternateAccelerated(linalg, problem, first, constant, iterations, tolerance);
  const t = found.transform;
  const means = await problem.meanResidual(t);
  const spread = await residual(await rotation(t), t);
  return { ...found, distance: Math.sqrt(alpha * means + (2 - alpha) * spread) };
}

function check(name: string, { mean, covariance }: GaussianProcess): void {
  checkWhole(name, "the number of times", mean.nRows, 1);
  checkWhole(name, "the number of units", mean.nColumns, 1);
  const size = mean.nRows * mean.nColumns;
  if (covariance.nRows !== size || covariance.nColumns !== size) {
    throw new ShapeError(
      `${name}: expected a covariance ${size} x ${size}, got ${covariance.nRows} x ${covariance.nColumns}`,
    );
  }
}

/** a (I x t): every p columns of a times t. The same memory read as `[.., p]`. */
async function rightTimes(linalg: Linalg, a: Dense, t: Dense): Promise<Dense> {
  const p = t.nRows;
  const { data } = await linalg.matmul({ data: a.data, nRows: a.data.length / p, nColumns: p }, t);
  return { ...a, data };
}

/** Rows of p columns each: which entry of x meets which of y does not depend on the order of blocks. */
function asBlocks(a: Dense, p: number): Dense {
  return { data: a.data, nRows: a.data.length / p, nColumns: p };
}
