import { type Activations, ArgumentError, ShapeError } from "@penfield/core";
import { type Linalg, qr, svd, symmetricEigen, transpose } from "@penfield/linalg";
import { type Basis, basisOf, centredBasis, firstColumns } from "./basis.ts";
import { centred, checkOneOf, checkWhole, type Dense, inner, norm, pairOf } from "./pair.ts";

/** What canonical correlation analysis finds. */
export interface CanonicalCorrelations {
  /** Descending, within 0..1; as many as the smaller of the two ranks. */
  readonly coefficients: Float64Array;
  /** How many directions each representation varies in. */
  readonly xRank: number;
  readonly yRank: number;
}

/**
 * Canonical correlations: the correlations of the best matching pairs of directions, each pair
 * uncorrelated with the ones before.
 *
 *   rho = singular values of U_x^T U_y,  U orthonormal bases of the centred columns
 *
 * @param x - `[n, p]`, finite.
 * @param y - `[n, q]`, the same stimuli.
 * @returns As many coefficients as the smaller rank: directions without variance are left out, not regularized.
 *   With n - 1 <= p or q they are all 1 whatever the data.
 * @throws {ShapeError} if the stimuli differ or are fewer than 2.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: two singular value decompositions, of x and y. Source: Hotelling (1936), Biometrika 28; Bjorck & Golub (1973).
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [0, 1], [-1, -1], [2, 1], [0, 3]]);
 * (await canonicalCorrelations(linalg, x, x)).coefficients.map(Math.round).join(" ") // => "1 1"
 */
export async function canonicalCorrelations(
  linalg: Linalg,
  x: Activations,
  y: Activations,
): Promise<CanonicalCorrelations> {
  const pair = pairOf("canonicalCorrelations", x, y);
  return correlationsOf(
    linalg,
    await centredBasis(linalg, pair.x),
    await centredBasis(linalg, pair.y),
  );
}

async function correlationsOf(linalg: Linalg, x: Basis, y: Basis): Promise<CanonicalCorrelations> {
  const ranks = { xRank: x.rank, yRank: y.rank };
  if (x.rank === 0 || y.rank === 0) return { coefficients: new Float64Array(0), ...ranks };
  const cross = await linalg.matmul(x.u, y.u, { transposeA: true });
  const { s } = await svd(cross, linalg);
  return { coefficients: s.map((v) => Math.min(1, v)), ...ranks };
}

/**
 * The mean canonical correlation.
 *
 * @returns 0 to 1; NaN if a representation does not vary.
 * @throws As {@link canonicalCorrelations}.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [0, 1], [-1, -1], [2, 1], [0, 3]]);
 * (await ccaMean(linalg, x, x)).toFixed(9) // => "1.000000000"
 */
export async function ccaMean(linalg: Linalg, x: Activations, y: Activations): Promise<number> {
  const { coefficients } = await canonicalCorrelations(linalg, x, y);
  return mean(coefficients);
}

/**
 * The mean squared canonical correlation, R^2_CCA.
 *
 *   sum_i rho_i^2 / min(p, q)
 *
 * @param options.compat - "kornblith": bases by QR of the centred columns, in which a rank-deficient matrix gets
 *   arbitrary directions, as in the authors' notebook. Default "exact".
 * @returns 0 to 1; NaN if a representation does not vary.
 * @throws As {@link canonicalCorrelations}.
 *
 * Cost: as {@link canonicalCorrelations}. Source: Kornblith et al. (2019), ICML, eq. 8.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [0, 1], [-1, -1], [2, 1], [0, 3]]);
 * (await ccaR2(linalg, x, x)).toFixed(9) // => "1.000000000"
 */
export async function ccaR2(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  { compat = "exact" }: { compat?: "exact" | "kornblith" | undefined } = {},
): Promise<number> {
  checkOneOf("ccaR2", "compat", compat, ["exact", "kornblith"]);
  const pair = pairOf("ccaR2", x, y);
  const least = Math.min(pair.x.nColumns, pair.y.nColumns);
  if (compat === "kornblith") {
    const cross = await linalg.matmul(qr(centred(pair.x)).q, qr(centred(pair.y)).q, {
      transposeA: true,
    });
    return inner(cross.data, cross.data) / least;
  }
  const { coefficients } = await canonicalCorrelations(linalg, x, y);
  if (coefficients.length === 0) return Number.NaN;
  return inner(coefficients, coefficients) / least;
}

export interface SvccaOptions {
  /** Share of the variance that the components kept must explain. Default 0.99. */
  readonly variance?: number | undefined;
  /** A number of components instead. */
  readonly components?: number | undefined;
  /**
   * "google": no components are left out, and 1e-10 is added to covariances over their largest entry, as in the
   * authors' `cca_core`; "resi": that after a threshold on the wrong scale, which keeps one component of almost
   * any data. Default "exact".
   */
  readonly compat?: "exact" | "google" | "resi" | undefined;
}

/** What SVCCA finds. */
export interface Svcca extends CanonicalCorrelations {
  /** The mean coefficient: the similarity. NaN if there is none. */
  readonly mean: number;
  readonly meanSquare: number;
}

/**
 * Singular vector canonical correlation analysis: canonical correlations of the principal components
 * that explain most of the variance.
 *
 * @param x - `[n, p]`, finite.
 * @param y - `[n, q]`, the same stimuli.
 * @returns Coefficients, their mean and mean square, and how many components were kept (`xRank`, `yRank`).
 * @throws {ShapeError} if the stimuli differ; in the compat modes also if there are not more stimuli than units.
 * @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if an option is out of range.
 *
 * Cost: two singular value decompositions. Source: Raghu et al. (2017), NeurIPS.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [0, 1], [-1, -1], [2, 1], [0, 3]]);
 * (await svcca(linalg, x, x, { components: 1 })).mean.toFixed(9) // => "1.000000000"
 */
export async function svcca(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  { variance = 0.99, components, compat = "exact" }: SvccaOptions = {},
): Promise<Svcca> {
  checkOneOf("svcca", "compat", compat, ["exact", "google", "resi"]);
  if (!(variance > 0 && variance <= 1)) {
    throw new ArgumentError(`svcca: expected variance within 0..1, got ${variance}`);
  }
  if (components !== undefined) checkWhole("svcca", "components", components, 1);
  const pair = pairOf("svcca", x, y);
  if (compat === "google") {
    const { s, xKept, yKept } = await googleCca(linalg, "svcca", pair.x, pair.y);
    return withMeans({ coefficients: s, xRank: xKept, yRank: yKept });
  }
  const kept = (basis: Basis): Basis => {
    const k = components ?? componentsFor(basis.s, variance);
    return truncated(basis, Math.min(k, basis.rank));
  };
  if (compat === "resi") {
    const [a, b] = [await basisOf(linalg, centred(pair.x)), await basisOf(linalg, centred(pair.y))];
    const scores = (basis: Basis): Dense => scaled(truncated(basis, resiComponents(basis.s)));
    const { s, xKept, yKept } = await googleCca(linalg, "svcca", scores(a), scores(b));
    return withMeans({ coefficients: s, xRank: xKept, yRank: yKept });
  }
  const a = kept(await centredBasis(linalg, pair.x));
  const b = kept(await centredBasis(linalg, pair.y));
  return withMeans(await correlationsOf(linalg, a, b));
}

function withMeans(found: CanonicalCorrelations): Svcca {
  const { coefficients: c } = found;
  return {
    ...found,
    mean: mean(c),
    meanSquare: c.length === 0 ? Number.NaN : inner(c, c) / c.length,
  };
}

/** The first components that explain the share. */
function componentsFor(s: Float64Array, variance: number): number {
  const total = inner(s, s);
  let explained = 0;
  for (let k = 0; k < s.length; k++) {
    explained += s[k]! * s[k]!;
    // A share of 1 is reached up to rounding.
    if (explained >= (variance - 1e-14) * total) return k + 1;
  }
  return s.length;
}

/** The threshold of ReSi: a share compared with a share times the total. */
function resiComponents(s: Float64Array): number {
  const total = inner(s, s);
  let explained = 0;
  for (let k = 0; k < s.length; k++) {
    explained += (s[k]! * s[k]!) / total;
    if (explained >= 0.99 * total) return k + 1;
  }
  return 1;
}

function truncated(basis: Basis, k: number): Basis {
  return { ...basis, u: firstColumns(basis.u, k), s: basis.s.slice(0, k), rank: k };
}

function scaled({ u, s }: Basis): Dense {
  return { ...u, data: u.data.map((v, i) => v * s[i % s.length]!) };
}

/** What projection-weighted CCA finds. */
export interface Pwcca {
  /** The weighted mean of the coefficients. NaN if a representation does not vary. */
  readonly pwcca: number;
  /** Sum to 1. */
  readonly weights: Float64Array;
  readonly coefficients: Float64Array;
}

/**
 * Projection-weighted canonical correlation: each coefficient counts by how much of the representation
 * its canonical variate accounts for.
 *
 *   weights_i ~ sum_j |h_i . x_j|,  h_i orthonormal canonical variates of the side with fewer dimensions, x_j its centred units
 *
 * @param x - `[n, p]`, finite.
 * @param y - `[n, q]`, the same stimuli.
 * @param options.compat - "google": as the authors' code does it, with means added back and unwhitened directions; it
 *   fails where x has more units than y. Default "exact", the definition of the paper.
 * @param options.signs - For "google": +1 or -1 per direction. Singular vectors have free signs, on which theirs depends (where means
 *   are not 0) and the definition does not. Default: each direction with its largest coefficient positive.
 * @throws {ShapeError} if the stimuli differ; with compat "google" also if there are not more stimuli than units, or p > q.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: as {@link canonicalCorrelations}. Where coefficients are equal their weights are arbitrary, their weighted mean is not.
 * Source: Morcos, Raghu & Bengio (2018), NeurIPS.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [0, 1], [-1, -1], [2, 1], [0, 3]]);
 * (await pwcca(linalg, x, x)).pwcca.toFixed(9) // => "1.000000000"
 */
export async function pwcca(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  {
    compat = "exact",
    signs,
  }: {
    compat?: "exact" | "google" | undefined;
    signs?: ArrayLike<number> | undefined;
  } = {},
): Promise<Pwcca> {
  checkOneOf("pwcca", "compat", compat, ["exact", "google"]);
  const pair = pairOf("pwcca", x, y);
  if (compat === "google") return pwccaGoogle(linalg, pair.x, pair.y, signs);
  const a = await centredBasis(linalg, pair.x);
  const b = await centredBasis(linalg, pair.y);
  if (a.rank === 0 || b.rank === 0) {
    return { pwcca: Number.NaN, weights: new Float64Array(0), coefficients: new Float64Array(0) };
  }
  const xSide = a.rank <= b.rank;
  const [side, other, units] = xSide ? [a, b, pair.x] : [b, a, pair.y];
  const cross = await linalg.matmul(side.u, other.u, { transposeA: true });
  const { u, s } = await svd(cross, linalg);
  const variates = await linalg.matmul(side.u, u);
  const weights = await projectionWeights(linalg, variates, centred(units));
  const coefficients = s.map((v) => Math.min(1, v));
  return { pwcca: inner(weights, coefficients), weights, coefficients };
}

/** Row sums of |variates^T units|, as shares. */
async function projectionWeights(
  linalg: Linalg,
  variates: Dense,
  units: Dense,
): Promise<Float64Array> {
  const { data, nRows, nColumns } = await linalg.matmul(variates, units, { transposeA: true });
  const weights = Float64Array.from({ length: nRows }, (_, i) => {
    let sum = 0;
    for (let j = 0; j < nColumns; j++) sum += Math.abs(data[i * nColumns + j]!);
    return sum;
  });
  const total = weights.reduce((sum, w) => sum + w, 0);
  return weights.map((w) => w / total);
}

async function pwccaGoogle(
  linalg: Linalg,
  x: Dense,
  y: Dense,
  signs: ArrayLike<number> | undefined,
): Promise<Pwcca> {
  const { u, s, xColumns, yColumns } = await googleCca(linalg, "pwcca", x, y);
  if (xColumns.length > yColumns.length) {
    throw new ShapeError(
      `pwcca: expected no more units in x than in y with compat "google", got ${xColumns.length} and ${yColumns.length}`,
      { hint: "The authors' code mixes up the sides there. Leave compat out." },
    );
  }
  const units = takeColumns(x, xColumns);
  const centredUnits = centred(units);
  const directions = await linalg.matmul(centredUnits, withSigns(u, signs));
  // The means of units are added to directions that are no units, as there.
  for (let j = 0; j < units.nColumns; j++) {
    const mean = units.data[j]! - centredUnits.data[j]!;
    for (let i = 0; i < units.nRows; i++) directions.data[i * units.nColumns + j]! += mean;
  }
  const weights = await projectionWeights(linalg, qr(directions).q, units);
  const n = Math.min(weights.length, s.length);
  return {
    pwcca: inner(weights.slice(0, n), s.slice(0, n)),
    weights,
    coefficients: s,
  };
}

/** Columns with their largest entry positive, times the signs given. */
function withSigns({ data, nRows, nColumns }: Dense, signs: ArrayLike<number> | undefined): Dense {
  const out = Float64Array.from(data);
  for (let j = 0; j < nColumns; j++) {
    let largest = 0;
    for (let i = 0; i < nRows; i++) {
      const v = data[i * nColumns + j]!;
      if (Math.abs(v) > Math.abs(largest)) largest = v;
    }
    const by = (largest < 0 ? -1 : 1) * (signs?.[j] ?? 1);
    for (let i = 0; i < nRows; i++) out[i * nColumns + j]! *= by;
  }
  return { data: out, nRows, nColumns };
}

interface GoogleCca {
  readonly u: Dense;
  readonly s: Float64Array;
  readonly xColumns: number[];
  readonly yColumns: number[];
  readonly xKept: number;
  readonly yKept: number;
}

const GOOGLE_EPSILON = 1e-10;

/** Covariances over their largest entry, units with less than epsilon left out, epsilon added to the diagonal. */
async function googleCca(linalg: Linalg, name: string, x: Dense, y: Dense): Promise<GoogleCca> {
  const n = x.nRows;
  if (x.nColumns >= n) {
    throw new ShapeError(
      `${name}: expected more stimuli than units in a compat mode, got ${n} stimuli and ${x.nColumns} units`,
      { hint: "The reference stops here too. Leave compat out." },
    );
  }
  const [a, b] = [centred(x), centred(y)];
  const covariance = async (p: Dense, q: Dense): Promise<Dense> => {
    const product = await linalg.matmul(p, q, { transposeA: true });
    return { ...product, data: product.data.map((v) => v / (n - 1)) };
  };
  const largest = (m: Dense) => m.data.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  const [xx, yy, xy] = [await covariance(a, a), await covariance(b, b), await covariance(a, b)];
  const [xMost, yMost] = [largest(xx), largest(yy)];
  const columns = (m: Dense, most: number): number[] =>
    Array.from({ length: m.nRows }, (_, i) => i).filter(
      (i) => m.data[i * m.nRows + i]! / most >= GOOGLE_EPSILON,
    );
  const [xColumns, yColumns] = [columns(xx, xMost), columns(yy, yMost)];
  const cross = takeColumns(transpose(takeColumns(transpose(xy), xColumns)), yColumns);
  const size = Math.sqrt(xMost * yMost);
  const whitened = await linalg.matmul(
    await linalg.matmul(inverseRoot(xx, xColumns, xMost), {
      ...cross,
      data: cross.data.map((v) => v / size),
    }),
    inverseRoot(yy, yColumns, yMost),
  );
  const { u, s } = await svd(whitened, linalg);
  return { u, s, xColumns, yColumns, xKept: xColumns.length, yKept: yColumns.length };
}

function inverseRoot(m: Dense, columns: readonly number[], most: number): Dense {
  const k = columns.length;
  const a = new Float64Array(k * k);
  columns.forEach((from, i) => {
    columns.forEach((column, j) => {
      a[i * k + j] = m.data[from * m.nRows + column]! / most + (i === j ? GOOGLE_EPSILON : 0);
    });
  });
  const { values, vectors } = symmetricEigen({ data: a, nRows: k, nColumns: k });
  const out = new Float64Array(k * k);
  values.forEach((value, l) => {
    const by = value > 1e-15 * values[0]! ? 1 / Math.sqrt(value) : 0;
    for (let i = 0; i < k; i++) {
      const left = by * vectors.data[l * k + i]!;
      for (let j = 0; j < k; j++) out[i * k + j]! += left * vectors.data[l * k + j]!;
    }
  });
  return { data: out, nRows: k, nColumns: k };
}

function takeColumns({ data, nRows, nColumns }: Dense, columns: readonly number[]): Dense {
  const out = new Float64Array(nRows * columns.length);
  for (let i = 0; i < nRows; i++) {
    columns.forEach((column, j) => {
      out[i * columns.length + j] = data[i * nColumns + column]!;
    });
  }
  return { data: out, nRows, nColumns: columns.length };
}

/** What partial least squares finds. */
export interface PlsSimilarity {
  /** Correlations of the pairs of latent scores, by descending covariance. */
  readonly correlations: Float64Array;
  /** The covariances they have, as shares of the sum of all. */
  readonly shares: Float64Array;
  /** The mean of the correlations, weighted by the shares: the similarity. NaN if there is no covariance. */
  readonly mean: number;
}

/**
 * Partial least squares (PLS-SVD): correlations of the pairs of directions with the greatest covariance,
 * which unlike canonical correlations favor directions with variance.
 *
 *   X^T Y = U S V^T,  r_i = corr(X u_i, Y v_i)
 *
 * @param options.components - How many pairs. Default 10, or the smaller number of units.
 * @throws As {@link canonicalCorrelations}.
 * @throws {ArgumentError} if components is no whole number above 0.
 *
 * Cost: one product and the singular value decomposition of a `[p, q]` matrix. Source: Wegelin (2000), Tech. report 371, U. Washington.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [0, 1], [-1, -1], [2, 1], [0, 3]]);
 * (await plsSimilarity(linalg, x, x)).mean.toFixed(9) // => "1.000000000"
 */
export async function plsSimilarity(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  { components = 10 }: { components?: number | undefined } = {},
): Promise<PlsSimilarity> {
  checkWhole("plsSimilarity", "components", components, 1);
  const pair = pairOf("plsSimilarity", x, y);
  const [a, b] = [centred(pair.x), centred(pair.y)];
  const { u, s, v } = await svd(await linalg.matmul(a, b, { transposeA: true }), linalg);
  const least = 1e-14 * norm(a.data) * norm(b.data);
  let k = 0;
  while (k < Math.min(components, s.length) && s[k]! > least) k++;
  if (k === 0) {
    const none = new Float64Array(0);
    return { correlations: none, shares: none, mean: Number.NaN };
  }
  const xScores = transpose(await linalg.matmul(a, firstColumns(u, k)));
  const yScores = transpose(await linalg.matmul(b, firstColumns(v, k)));
  const row = (m: Dense, i: number) => m.data.subarray(i * m.nColumns, (i + 1) * m.nColumns);
  const correlations = Float64Array.from({ length: k }, (_, i) => {
    const [p, q] = [row(xScores, i), row(yScores, i)];
    return Math.min(1, inner(p, q) / (norm(p) * norm(q)));
  });
  const total = s.reduce((sum, value) => sum + value, 0);
  const shares = s.slice(0, k).map((value) => value / total);
  const kept = shares.reduce((sum, value) => sum + value, 0);
  return { correlations, shares, mean: inner(shares, correlations) / kept };
}

/**
 * Escoufier's RV coefficient, a correlation of matrices. The same number as biased linear CKA.
 *
 *   tr(X X^T Y Y^T) / sqrt(tr((X X^T)^2) tr((Y Y^T)^2)),  columns centred
 *
 * @returns 0 to 1; NaN if a representation does not vary.
 * @throws As {@link canonicalCorrelations}.
 *
 * Cost: as cka. Source: Robert & Escoufier (1976), Applied Statistics 25.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [0, 1], [-1, -1]]);
 * (await rvCoefficient(linalg, x, x)).toFixed(9) // => "1.000000000"
 */
export async function rvCoefficient(
  linalg: Linalg,
  x: Activations,
  y: Activations,
): Promise<number> {
  const pair = pairOf("rvCoefficient", x, y);
  const [a, b] = [centred(pair.x), centred(pair.y)];
  const part = async (p: Dense, q: Dense): Promise<number> =>
    norm((await linalg.matmul(p, q, { transposeA: true })).data);
  const [xx, yy] = [await part(a, a), await part(b, b)];
  if (norm(a.data) <= 1e-14 * norm(pair.x.data) || norm(b.data) <= 1e-14 * norm(pair.y.data)) {
    return Number.NaN;
  }
  const xy = await part(a, b);
  return (xy / xx) * (xy / yy);
}

function mean(values: Float64Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return values.length === 0 ? Number.NaN : sum / values.length;
}
