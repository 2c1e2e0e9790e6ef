import { ArgumentError, DataError, ShapeError } from "@penfield/core";
import {
  alignedCross,
  cholesky,
  type Linalg,
  type MatrixBatch,
  polarFactors,
  symmetricEigen,
  transpose,
} from "@penfield/linalg";
import { checkOneOf, checkWhole, type Dense, inner, norm } from "../similarity/pair.ts";
import {
  type Alternation,
  type AlternationProblem,
  alignTo,
  alternate,
  alternateAccelerated,
  residualOf,
  type StochasticGroup,
  stacked,
} from "./alternate.ts";

/** Responses with trial-to-trial noise, as one Gaussian per stimulus. */
export interface GaussianResponses {
  /** `[n, p]`. */
  readonly means: Dense;
  /** `[n, p, p]`, symmetric, positive semidefinite. */
  readonly covariances: MatrixBatch;
}

/** Repeated responses: `[n stimuli, r repeats, p units]`, row-major. */
export interface Trials {
  readonly data: Float64Array;
  readonly nStimuli: number;
  readonly nRepeats: number;
  readonly nUnits: number;
}

/**
 * Means and covariances over repeats.
 *
 * @param trials - `[n, r, p]`, finite, r >= 2.
 * @param options.ridge - Added to the diagonals. Default 0; with r <= p covariances are singular, which {@link gaussianShapeDistance} takes.
 * @throws {ShapeError} if there are fewer than 2 repeats: one trial says nothing about noise.
 * @throws {DataError} if a value is not finite.
 *
 * @example
 * const trials = { data: Float64Array.of(1, 3, 0, 0), nStimuli: 2, nRepeats: 2, nUnits: 1 };
 * gaussianResponses(trials).covariances.data.join(" ") // => "2 0"
 */
export function gaussianResponses(
  trials: Trials,
  { ridge = 0 }: { ridge?: number | undefined } = {},
): GaussianResponses {
  checkTrials("gaussianResponses", trials, 2);
  const { data, nStimuli: n, nRepeats: r, nUnits: p } = trials;
  const means = new Float64Array(n * p);
  const covariances = new Float64Array(n * p * p);
  for (let i = 0; i < n; i++) {
    for (let t = 0; t < r; t++) {
      for (let j = 0; j < p; j++) means[i * p + j]! += data[(i * r + t) * p + j]! / r;
    }
    for (let t = 0; t < r; t++) {
      for (let j = 0; j < p; j++) {
        const off = data[(i * r + t) * p + j]! - means[i * p + j]!;
        for (let k = 0; k < p; k++) {
          const other = data[(i * r + t) * p + k]! - means[i * p + k]!;
          covariances[(i * p + j) * p + k]! += (off * other) / (r - 1);
        }
      }
    }
    for (let j = 0; j < p; j++) covariances[(i * p + j) * p + j]! += ridge;
  }
  return {
    means: { data: means, nRows: n, nColumns: p },
    covariances: { data: covariances, count: n, nRows: p, nColumns: p },
  };
}

export function checkTrials(name: string, trials: Trials, minRepeats: number): void {
  const { data, nStimuli, nRepeats, nUnits } = trials;
  if (nStimuli * nRepeats * nUnits !== data.length || nStimuli < 1 || nUnits < 1) {
    throw new ShapeError(
      `${name}: expected sizes that multiply to ${data.length}, got ${nStimuli} x ${nRepeats} x ${nUnits}`,
    );
  }
  if (nRepeats < minRepeats) {
    throw new ShapeError(`${name}: expected at least ${minRepeats} repeats, got ${nRepeats}`, {
      hint: "One trial per stimulus says nothing about noise: compare means with shapeDistance.",
    });
  }
  const at = data.findIndex((v) => !Number.isFinite(v));
  if (at >= 0) throw new DataError(`${name}: expected finite values, got ${data[at]}`);
}

export interface GaussianShapeOptions {
  /** 0: covariances only; 1 (default): the 2-Wasserstein distance; 2: means only. */
  readonly alpha?: number | undefined;
  /** Default "orthogonal". */
  readonly group?: StochasticGroup | undefined;
  /**
   * "netrep": minimizes a^2 |means|^2 + (2 - a)^2 |spreads|^2 step by step as netrep does, although the distance is of a and
   * 2 - a, and stops by its rule. Default "exact": minimizes the distance itself, accelerated.
   */
  readonly compat?: "exact" | "netrep" | undefined;
  /** At most so many. Default 1000. */
  readonly iterations?: number | undefined;
  /**
   * Stop when an iteration gains less than this: of the squared distance as a share of the sizes for "exact" (default
   * 1e-9), of the loss for "netrep" (default 1e-8).
   */
  readonly tolerance?: number | undefined;
  /** Where to start: an orthogonal `[p, p]`. Default: the best alignment of the means; the identity if alpha is 0 and means are 0. */
  readonly start?: Dense | undefined;
}

/** Roots of the covariances of a network, used in many pairs. */
export interface PreparedGaussians {
  readonly means: Dense;
  /** `[n, p, p]`: F with F^T F = covariance; from {@link prepareGaussians} the symmetric ones. */
  readonly roots: MatrixBatch;
}

/**
 * Symmetric roots of covariances.
 *
 * @throws {ShapeError} if sizes do not fit.
 * @throws {DataError} if a value is not finite, or a covariance has an eigenvalue below 0 by more than rounding.
 *
 * Cost: n eigendecompositions of `[p, p]`.
 *
 * @example
 * const means = { data: Float64Array.of(0), nRows: 1, nColumns: 1 };
 * const covariances = { data: Float64Array.of(4), count: 1, nRows: 1, nColumns: 1 };
 * prepareGaussians({ means, covariances }).roots.data[0] // => 2
 */
export function prepareGaussians(
  responses: GaussianResponses,
  name = "prepareGaussians",
): PreparedGaussians {
  checkGaussians(name, responses);
  return withRoots(
    responses,
    covariancesOf(responses).map((one) => symmetricRoot(one, name)),
  );
}

/** Roots of whatever form is quickest: none of the distances depends on it, only how rounding falls. */
async function quickRoots(
  linalg: Linalg,
  responses: GaussianResponses,
  name: string,
): Promise<PreparedGaussians> {
  checkGaussians(name, responses);
  const roots: Dense[] = [];
  for (const one of covariancesOf(responses)) roots.push(await quickRoot(linalg, one, name));
  return withRoots(responses, roots);
}

/** Cholesky's factor, transposed; the symmetric root of what is not positive definite. */
async function quickRoot(linalg: Linalg, a: Dense, name: string): Promise<Dense> {
  try {
    return transpose(await cholesky(a, linalg));
  } catch (error) {
    if (error instanceof DataError) return symmetricRoot(a, name);
    throw error;
  }
}

function checkGaussians(name: string, { means, covariances }: GaussianResponses): void {
  const { count, nRows, nColumns } = covariances;
  const p = means.nColumns;
  if (count !== means.nRows || nRows !== p || nColumns !== p || p === 0 || count === 0) {
    throw new ShapeError(
      `${name}: expected covariances ${means.nRows} x ${p} x ${p} for means ${means.nRows} x ${p}, got ${count} x ${nRows} x ${nColumns}`,
    );
  }
  const at = means.data.findIndex((v) => !Number.isFinite(v));
  if (at >= 0) throw new DataError(`${name}: expected finite means, got ${means.data[at]}`);
}

function covariancesOf({ covariances }: GaussianResponses): readonly Dense[] {
  const { data, count, nRows: p } = covariances;
  return Array.from({ length: count }, (_, i) => ({
    data: data.subarray(i * p * p, (i + 1) * p * p),
    nRows: p,
    nColumns: p,
  }));
}

function withRoots(
  { means, covariances }: GaussianResponses,
  roots: readonly Dense[],
): PreparedGaussians {
  const data = new Float64Array(covariances.data.length);
  roots.forEach((root, i) => {
    data.set(root.data, i * root.data.length);
  });
  return { means, roots: { ...covariances, data } };
}

/** V diag(sqrt(lambda)) V^T. Eigenvalues below 0 by rounding count as 0. */
export function symmetricRoot(a: Dense, name: string): Dense {
  const { values, vectors } = symmetricEigen(a);
  const p = a.nRows;
  const least = values[p - 1]!;
  if (least < -1e-8 * Math.max(0, values[0]!) - 1e-300) {
    throw new DataError(
      `${name}: expected covariances without negative eigenvalues, got ${least}`,
      { hint: "Add a little to the diagonal." },
    );
  }
  const data = new Float64Array(p * p);
  for (let l = 0; l < p; l++) {
    const root = Math.sqrt(Math.max(0, values[l]!));
    for (let i = 0; i < p; i++) {
      const left = root * vectors.data[l * p + i]!;
      for (let j = 0; j < p; j++) data[i * p + j]! += left * vectors.data[l * p + j]!;
    }
  }
  return { data, nRows: p, nColumns: p };
}

interface Settings {
  readonly alpha: number;
  readonly group: StochasticGroup;
  readonly compat: "exact" | "netrep";
  readonly iterations: number;
  readonly tolerance: number;
  readonly start: Dense | undefined;
}

export function gaussianSettings(name: string, options: GaussianShapeOptions): Settings {
  const { alpha = 1, group = "orthogonal", compat = "exact", iterations = 1000, start } = options;
  const { tolerance = compat === "netrep" ? 1e-8 : 1e-9 } = options;
  checkOneOf(name, "group", group, ["orthogonal", "permutation", "identity"]);
  checkOneOf(name, "compat", compat, ["exact", "netrep"]);
  checkWhole(name, "iterations", iterations, 1);
  if (!(alpha >= 0 && alpha <= 2)) {
    throw new ArgumentError(`${name}: expected alpha within 0..2, got ${alpha}`);
  }
  if (!(tolerance >= 0)) {
    throw new ArgumentError(`${name}: expected tolerance at least 0, got ${tolerance}`);
  }
  return { alpha, group, compat, iterations, tolerance, start };
}

/**
 * Aligns the noisy responses of two networks: finds the transformation of the units of y under which
 * Gaussians of the same stimuli are nearest.
 *
 *   minimize over T of mean_i [ alpha |mu_x - mu_y T|^2 + (2 - alpha) Bures^2(Sigma_x, T^T Sigma_y T) ]
 *
 * Alternates between a rotation per stimulus and T; every step lowers the objective, which may have local minima.
 *
 * @param x - `[n, p]` means and `[n, p, p]` covariances.
 * @param y - The same stimuli and as many units.
 * @throws {ShapeError} if sizes do not fit.
 * @throws {DataError} if a value is not finite or a covariance is not positive semidefinite.
 * @throws {ArgumentError} if an option is out of range.
 *
 * Cost per iteration: n polar factors of `[p, p]` (as one graph) and about 8 n p^3 operations.
 * Source: Duong, Zhou, Nassar et al. (2023), ICLR, "Representational dissimilarity metric spaces for stochastic neural networks".
 * Matches netrep's GaussianStochasticMetric with compat "netrep"; see docs/shape-metrics.md for why the default differs.
 *
 * @example
 * import { createLinalg, matrix } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const means = matrix(Float64Array.of(1, 0, 0, 2, 3, 1), 3, 2);
 * const covariances = { data: Float64Array.of(1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1), count: 3, nRows: 2, nColumns: 2 };
 * const x = { means, covariances };
 * (await fitGaussianShape(linalg, x, x)).transform.data.map(Math.round).join(" ") // => "1 0 0 1"
 */
export async function fitGaussianShape(
  linalg: Linalg,
  x: GaussianResponses,
  y: GaussianResponses,
  options: GaussianShapeOptions = {},
): Promise<Alternation> {
  const name = "fitGaussianShape";
  const settings = gaussianSettings(name, options);
  const [a, b] = [
    await prepared(linalg, x, settings, name),
    await prepared(linalg, y, settings, name),
  ];
  return fitPrepared(linalg, a, b, settings, name);
}

/** netrep's steps with netrep's roots. */
async function prepared(
  linalg: Linalg,
  responses: GaussianResponses,
  { compat }: Settings,
  name: string,
): Promise<PreparedGaussians> {
  return compat === "netrep"
    ? prepareGaussians(responses, name)
    : quickRoots(linalg, responses, name);
}

async function fitPrepared(
  linalg: Linalg,
  x: PreparedGaussians,
  y: PreparedGaussians,
  { alpha, group, compat, iterations, tolerance, start }: Settings,
  name: string,
): Promise<Alternation> {
  checkSameSizes(name, x, y);
  const meanCross = await linalg.matmul(y.means, x.means, { transposeA: true });
  const netrep = compat === "netrep";
  const meanWeight = netrep ? alpha ** 2 : alpha;
  const spreadWeight = netrep ? (2 - alpha) ** 2 : 2 - alpha;
  const first = start ?? (await alignTo(linalg, meanCross, group));
  const problem: AlternationProblem = {
    group,
    meanCross,
    meanWeight,
    spreadWeight,
    meanResidual: (t) => residualOf(linalg, x.means, y.means, t),
    spread: spreadOf(linalg, x.roots, y.roots),
  };
  if (netrep) return alternate(linalg, problem, first, iterations, tolerance);
  if (spreadWeight === 0 || group === "identity") {
    const transform = await alignTo(linalg, meanCross, group);
    const loss = Math.sqrt(meanWeight * (await residualOf(linalg, x.means, y.means, transform)));
    return { transform, losses: [loss], iterations: 1, converged: true };
  }
  const squares = (d: Float64Array) => inner(d, d);
  const constant =
    meanWeight * (squares(x.means.data) + squares(y.means.data)) +
    spreadWeight * (squares(x.roots.data) + squares(y.roots.data));
  if (constant === 0) return { transform: first, losses: [0], iterations: 0, converged: true };
  return alternateAccelerated(
    linalg,
    { ...problem, spread: quickSpread(linalg, x.roots, y.roots, false) },
    first,
    constant,
    iterations,
    tolerance,
    { spread: quickSpread(linalg, x.roots, y.roots, true), noise: ROUGH },
  );
}

/** What sums in float32 are off by, as a share of the sizes. */
const ROUGH = 1e-8;

/**
 * How far polar factors reach, each tried when the one before did not do, and the most that they may depart from orthogonal ones a step
 * before the end: what is left is about its cube.
 */
const FINE = { reaches: [0.03, 7e-3, 1.6e-3, 3.7e-4, 1e-5, 1e-7], most: 1e-3 };
const QUICK = { reaches: [0.044, 0.0107, 2.5e-3, 6e-4, 1e-5, 1e-7], most: 0.05 };

/** The sums for T in one graph; with covariances too singular for it, through polar factors one by one. */
function quickSpread(
  linalg: Linalg,
  x: MatrixBatch,
  y: MatrixBatch,
  single: boolean,
): AlternationProblem["spread"] {
  const as = (m: MatrixBatch) => ({ ...m, data: single ? Float32Array.from(m.data) : m.data });
  const [a, b] = [as(x), as(y)];
  const { reaches, most } = single ? QUICK : FINE;
  const exactly = spreadOf(linalg, x, y);
  // Directions in which one network does not vary do no harm on its side: with x's on theirs, then, all transposed, with y's.
  const sizes = [norm(x.data), norm(y.data)] as const;
  let level = 0;
  return async (t) => {
    for (; level < 2 * reaches.length; level++) {
      const reach = reaches[level % reaches.length]!;
      const turned = level >= reaches.length;
      const { cross, departure } = turned
        ? await alignedCross(linalg, a, transpose(t), b, reach)
        : await alignedCross(linalg, b, t, a, reach);
      if (departure < most * sizes[turned ? 1 : 0]) {
        return {
          cross: turned ? transpose(cross) : cross,
          residual: async (other) => (await exactly(t)).residual(other),
        };
      }
    }
    return exactly(t);
  };
}

function checkSameSizes(name: string, x: PreparedGaussians, y: PreparedGaussians): void {
  if (x.means.nRows !== y.means.nRows || x.means.nColumns !== y.means.nColumns) {
    throw new ShapeError(
      `${name}: expected the same stimuli and as many units, got ${x.means.nRows} x ${x.means.nColumns} and ${y.means.nRows} x ${y.means.nColumns}`,
      { hint: "Bring both to as many units first, by principal components or by units of zeros." },
    );
  }
}

/** The best rotations per stimulus for T. */
function spreadOf(linalg: Linalg, x: MatrixBatch, y: MatrixBatch): AlternationProblem["spread"] {
  return async (t) => {
    const q = await rotationsFor(linalg, x, y, t);
    const turned = await linalg.batchMatmul(q, x);
    return {
      cross: await linalg.matmul(stacked(y), stacked(turned), { transposeA: true }),
      residual: (other) => spreadResidual(linalg, x, y, q, other),
    };
  };
}

/** Per stimulus the orthogonal Q that brings Q^T F_y T nearest to F_x: the polar factor of F_y T F_x^T. */
async function rotationsFor(
  linalg: Linalg,
  x: MatrixBatch,
  y: MatrixBatch,
  t: Dense,
): Promise<MatrixBatch> {
  const turned = await linalg.matmul(stacked(y), t);
  const products = await linalg.batchMatmul({ ...y, data: turned.data }, x, { transposeB: true });
  return polarFactors(products, linalg, { reach: 1e-3 });
}

/** sum_i |F_x - Q_i^T F_y T|_F^2. */
async function spreadResidual(
  linalg: Linalg,
  x: MatrixBatch,
  y: MatrixBatch,
  q: MatrixBatch,
  t: Dense,
): Promise<number> {
  const turned = await linalg.batchMatmul(
    q,
    { ...y, data: (await linalg.matmul(stacked(y), t)).data },
    { transposeA: true },
  );
  return norm(turned.data.map((v, i) => x.data[i]! - v)) ** 2;
}

/**
 * The distance of two noisy networks under a transformation of y's units.
 *
 *   sqrt(mean_i [ alpha |mu_x - mu_y T|^2 + (2 - alpha) Bures^2(Sigma_x, T^T Sigma_y T) ])
 *
 * @param transform - `[p, p]`, as fitted to these or other stimuli.
 * @returns At least 0. The Bures distance is taken as a sum of squares, so that distances near 0 keep their digits.
 * @throws As {@link fitGaussianShape}.
 *
 * @example
 * import { createLinalg, matrix } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const means = matrix(Float64Array.of(0, 0), 1, 2);
 * const spread = (v) => ({ data: Float64Array.of(v, 0, 0, v), count: 1, nRows: 2, nColumns: 2 });
 * const identity = matrix(Float64Array.of(1, 0, 0, 1), 2, 2);
 * const x = { means, covariances: spread(1) };
 * (await scoreGaussianShape(linalg, x, { means, covariances: spread(4) }, identity)).toFixed(9) // => "1.414213562"
 */
export async function scoreGaussianShape(
  linalg: Linalg,
  x: GaussianResponses,
  y: GaussianResponses,
  transform: Dense,
  { alpha = 1 }: { alpha?: number | undefined } = {},
): Promise<number> {
  const name = "scoreGaussianShape";
  gaussianSettings(name, { alpha });
  const [a, b] = [await quickRoots(linalg, x, name), await quickRoots(linalg, y, name)];
  checkSameSizes(name, a, b);
  return scorePrepared(linalg, a, b, transform, alpha);
}

async function scorePrepared(
  linalg: Linalg,
  x: PreparedGaussians,
  y: PreparedGaussians,
  t: Dense,
  alpha: number,
): Promise<number> {
  const means = alpha === 0 ? 0 : await residualOf(linalg, x.means, y.means, t);
  const spread =
    alpha === 2
      ? 0
      : await spreadResidual(
          linalg,
          x.roots,
          y.roots,
          await rotationsFor(linalg, x.roots, y.roots, t),
          t,
        );
  return Math.sqrt((alpha * means + (2 - alpha) * spread) / x.means.nRows);
}

/**
 * The Gaussian stochastic shape distance of two networks: {@link fitGaussianShape}, then
 * {@link scoreGaussianShape}.
 *
 * @returns `distance`, and the alignment it was found with.
 * @throws As {@link fitGaussianShape}.
 *
 * @example
 * import { createLinalg, matrix } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const means = matrix(Float64Array.of(0, 0), 1, 2);
 * const spread = (v) => ({ data: Float64Array.of(v, 0, 0, v), count: 1, nRows: 2, nColumns: 2 });
 * const x = { means, covariances: spread(1) };
 * (await gaussianShapeDistance(linalg, x, { means, covariances: spread(4) })).distance.toFixed(9) // => "1.414213562"
 */
export async function gaussianShapeDistance(
  linalg: Linalg,
  x: GaussianResponses,
  y: GaussianResponses,
  options: GaussianShapeOptions = {},
): Promise<Alternation & { readonly distance: number }> {
  const name = "gaussianShapeDistance";
  const settings = gaussianSettings(name, options);
  const [a, b] = [
    await prepared(linalg, x, settings, name),
    await prepared(linalg, y, settings, name),
  ];
  const found = await fitPrepared(linalg, a, b, settings, name);
  return { ...found, distance: await scorePrepared(linalg, a, b, found.transform, settings.alpha) };
}

/**
 * Gaussian stochastic shape distances of all pairs of networks; roots of covariances are made once.
 *
 * @returns `[k, k]`, symmetric, zeros on the diagonal.
 * @throws As {@link fitGaussianShape}.
 *
 * @example
 * import { createLinalg, matrix } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const means = matrix(Float64Array.of(0, 0), 1, 2);
 * const x = { means, covariances: { data: Float64Array.of(1, 0, 0, 1), count: 1, nRows: 2, nColumns: 2 } };
 * (await gaussianShapeDistances(linalg, [x, x])).data.every((d) => d < 1e-9) // => true
 */
export async function gaussianShapeDistances(
  linalg: Linalg,
  networks: readonly GaussianResponses[],
  options: GaussianShapeOptions & {
    /** Called after each pair with how many of how many are done. */
    readonly onPair?: ((done: number, of: number) => void) | undefined;
  } = {},
): Promise<Dense> {
  const name = "gaussianShapeDistances";
  const settings = gaussianSettings(name, options);
  const all: PreparedGaussians[] = [];
  for (const x of networks) all.push(await prepared(linalg, x, settings, name));
  const k = networks.length;
  const data = new Float64Array(k * k);
  let done = 0;
  for (let i = 0; i < k; i++) {
    for (let j = i + 1; j < k; j++) {
      const [a, b] = [all[i]!, all[j]!];
      const { transform } = await fitPrepared(linalg, a, b, settings, name);
      const d = await scorePrepared(linalg, a, b, transform, settings.alpha);
      data[i * k + j] = d;
      data[j * k + i] = d;
      options.onPair?.(++done, (k * (k - 1)) / 2);
    }
  }
  return { data, nRows: k, nColumns: k };
}
