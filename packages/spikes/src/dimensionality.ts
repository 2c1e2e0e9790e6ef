import { ArgumentError, DataError, ShapeError, type Tensor } from "@penfield/core";
import { type Matrix, symmetricEigen } from "@penfield/linalg";
import { checkCount, checkFinite } from "./check.ts";
import { gramOfColumns, gramOfRows } from "./gram.ts";

type Samples = Tensor<readonly [string, string]>;

/**
 * The participation ratio: how many dimensions activity spreads over.
 *
 *   PR = (sum lambda_i)^2 / sum lambda_i^2 = tr(C)^2 / tr(C^2),  lambda = eigenvalues of the covariance C
 *
 * @param x - Samples (time bins, trials) by units, `[nSamples, nUnits]`, nSamples >= 2, finite.
 * @returns 1 (all units do the same) to nUnits (equal, independent); NaN if nothing varies. With fewer than some ten
 *   samples per unit it is too low.
 * @throws {ShapeError} if there are fewer than 2 samples or no unit.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: O(nSamples nUnits min(nSamples, nUnits)); no eigenvalues are needed.
 * Source: Gao et al. (2017), bioRxiv 214262; Litwin-Kumar et al. (2017), Neuron 93:1153.
 *
 * @example
 * participationRatio(activations([[1, 0], [-1, 0], [0, 1], [0, -1]])).toFixed(2) // => "2.00"
 */
export function participationRatio(x: Samples): number {
  const { centred, n, p } = centre("participationRatio", x);
  // tr(C^2) is the same for x^T x and x x^T: the smaller one is formed.
  const size = Math.min(n, p);
  const products = p <= n ? gramOfColumns(centred, n, p) : gramOfRows(centred, n, p);
  let trace = 0;
  for (let i = 0; i < size; i++) trace += products[i * size + i]!;
  const squares = products.reduce((sum, v) => sum + v * v, 0);
  return squares === 0 ? Number.NaN : trace ** 2 / squares;
}

function centre(
  name: string,
  x: Samples,
): { centred: Float64Array; means: Float64Array; n: number; p: number } {
  const [n, p] = x.shape;
  if (n < 2 || p < 1) {
    throw new ShapeError(`${name}: expected at least 2 samples of 1 unit, got [${n}, ${p}]`);
  }
  checkFinite(name, "activity", x.data);
  const means = new Float64Array(p);
  for (let t = 0; t < n; t++) for (let u = 0; u < p; u++) means[u]! += x.data[t * p + u]! / n;
  const centred = Float64Array.from(x.data, (v, i) => v - means[i % p]!);
  return { centred, means, n, p };
}

/** Activity as a few shared factors and each unit's own noise. */
export interface FactorAnalysis {
  readonly nFactors: number;
  /** W, `[nUnits, nFactors]`: columns by falling shared variance, orthogonal after division by the noise. */
  readonly loadings: Matrix<Float64Array>;
  /** Psi: each unit's own variance, `[nUnits]`. */
  readonly noise: Float64Array;
  readonly means: Float64Array;
  /** Of all samples, natural logarithm. */
  readonly logLikelihood: number;
  /** Share of each unit's variance that is shared, `[nUnits]`; 0 for units that do not vary. */
  readonly communalities: Float64Array;
  /** Factors that hold 95 % of the shared variance (the d_shared of Williamson et al.). */
  readonly sharedDimension: number;
  /** Whether the likelihood stopped rising within the steps allowed. */
  readonly converged: boolean;
}

/**
 * Factor analysis by maximum likelihood: what units share, apart from what each does alone.
 *
 *   x = mean + W z + e,  z ~ N(0, I),  e ~ N(0, diag(Psi));  covariance = W W^T + diag(Psi)
 *
 * @param x - Samples by units, `[nSamples, nUnits]`, such as binned and square-rooted spike counts; nSamples >= 2, finite.
 * @param options.nFactors - 0 (independent units) to below nUnits.
 * @param options.maxSteps - Default 1000.
 * @param options.tolerance - Stop when a step raises the log-likelihood per sample by less. Default 1e-8.
 * @returns Loadings up to sign and rotation, own variances, the likelihood. A unit that does not vary is kept by a floor of
 *   its variance at 1e-12 of the largest.
 * @throws {ShapeError} if there are fewer than 2 samples or no unit.
 * @throws {ArgumentError} if an option is out of range.
 * @throws {DataError} if a value is not finite or nothing varies.
 *
 * Given Psi the best W follows from the eigenvectors of Psi^-1/2 S Psi^-1/2 (Jöreskog); both are updated in turn.
 *
 * Cost: one eigenvalue problem of nUnits per step.
 * Source: Jöreskog (1967), Psychometrika 32:443-482; Bishop (2006), 12.2.4; Williamson et al. (2016), PLoS Comput Biol
 * 12:e1005141 for sharedDimension. Matches sklearn's FactorAnalysis (svd_method "lapack").
 *
 * @example
 * const rng = createRng(1);
 * const rows = Array.from({ length: 400 }, () => {
 *   const z = rng.normal();
 *   return [z + 0.1 * rng.normal(), z + 0.1 * rng.normal(), 0.1 * rng.normal()];
 * });
 * factorAnalysis(activations(rows), { nFactors: 1 }).communalities.map((v) => Math.round(v)).join(" ") // => "1 1 0"
 */
export function factorAnalysis(
  x: Samples,
  {
    nFactors,
    maxSteps = 1000,
    tolerance = 1e-8,
  }: { nFactors: number; maxSteps?: number | undefined; tolerance?: number | undefined },
): FactorAnalysis {
  const name = "factorAnalysis";
  const { centred, means, n, p } = centre(name, x);
  checkCount(name, "nFactors", nFactors, 0);
  checkCount(name, "maxSteps", maxSteps, 1);
  if (nFactors >= p && nFactors > 0) {
    throw new ArgumentError(`${name}: expected fewer factors than units (${p}), got ${nFactors}`);
  }
  const s = covariance(centred, n, p);
  const largest = Math.max(...Array.from({ length: p }, (_, i) => s[i * p + i]!));
  if (!(largest > 0)) {
    throw new DataError(`${name}: expected activity that varies, got constants`);
  }
  const floor = largest * 1e-12;
  const own = Float64Array.from({ length: p }, (_, i) => Math.max(floor, s[i * p + i]!));
  let noise = Float64Array.from(own);
  let loadings = new Float64Array(p * nFactors);
  let perSample = Number.NEGATIVE_INFINITY;
  let converged = false;
  for (let step = 0; step < maxSteps && !converged; step++) {
    const roots = noise.map(Math.sqrt);
    const scaled = s.map((v, at) => v / (roots[Math.floor(at / p)]! * roots[at % p]!));
    const { values, vectors } = symmetricEigen({ data: scaled, nRows: p, nColumns: p });
    let sum = p * Math.log(2 * Math.PI);
    for (let i = 0; i < p; i++) sum += Math.log(noise[i]!);
    loadings = new Float64Array(p * nFactors);
    for (let i = 0; i < p; i++) {
      const shared = i < nFactors && values[i]! > 1;
      sum += shared ? Math.log(values[i]!) + 1 : values[i]!;
      if (!shared) continue;
      const scale = Math.sqrt(values[i]! - 1);
      for (let u = 0; u < p; u++) {
        loadings[u * nFactors + i] = roots[u]! * scale * vectors.data[i * p + u]!;
      }
    }
    converged = -sum / 2 - perSample < tolerance;
    perSample = -sum / 2;
    if (!converged && nFactors > 0) {
      noise = own.map((v, u) => Math.max(floor, v - sharedVariance(loadings, u, nFactors)));
    }
  }
  return {
    nFactors,
    loadings: { data: loadings, nRows: p, nColumns: nFactors },
    noise,
    means,
    logLikelihood: n * perSample,
    communalities: own.map((v, u) =>
      v === floor ? 0 : Math.min(1, sharedVariance(loadings, u, nFactors) / v),
    ),
    sharedDimension: sharedDimensionOf(loadings, p, nFactors),
    converged,
  };
}

const covariance = (centred: Float64Array, n: number, p: number): Float64Array =>
  gramOfColumns(centred, n, p).map((v) => v / n);

function sharedVariance(loadings: Float64Array, unit: number, k: number): number {
  let sum = 0;
  for (let i = 0; i < k; i++) sum += loadings[unit * k + i]! ** 2;
  return sum;
}

function sharedDimensionOf(loadings: Float64Array, p: number, k: number): number {
  if (k === 0) return 0;
  const gram = new Float64Array(k * k);
  for (let u = 0; u < p; u++) {
    for (let i = 0; i < k; i++) {
      for (let j = 0; j < k; j++) gram[i * k + j]! += loadings[u * k + i]! * loadings[u * k + j]!;
    }
  }
  const { values } = symmetricEigen({ data: gram, nRows: k, nColumns: k }, { vectors: false });
  const total = values.reduce((sum, v) => sum + Math.max(0, v), 0);
  let held = 0;
  let count = 0;
  while (count < k && held < 0.95 * total) held += Math.max(0, values[count++]!);
  return count;
}

/**
 * How many factors units share: the number whose likelihood of held-out samples is highest.
 *
 * @param x - Samples by units, `[nSamples, nUnits]`, in order of time.
 * @param options.maxFactors - Numbers 0..maxFactors are tried; below nUnits.
 * @param options.nFolds - Default 4. Folds are stretches of time, for neighbouring bins resemble each other.
 * @returns `nFactors`, the held-out log-likelihood per sample of each number, and the fit of the best one to all samples.
 * @throws As {@link factorAnalysis}, and {ArgumentError} if there are fewer than 2 samples per fold.
 *
 * Cost: (maxFactors + 1) nFolds fits.
 * Source: Yu et al. (2009), J Neurophysiol 102:614-635; Williamson et al. (2016).
 *
 * @example
 * const rng = createRng(1);
 * const rows = Array.from({ length: 300 }, () => {
 *   const z = rng.normal();
 *   return [1, -1, 1, 1].map((w) => w * z + 0.5 * rng.normal());
 * });
 * chooseFactors(activations(rows), { maxFactors: 2 }).nFactors // => 1
 */
export function chooseFactors(
  x: Samples,
  { maxFactors, nFolds = 4 }: { maxFactors: number; nFolds?: number },
): { nFactors: number; heldOut: Float64Array; fit: FactorAnalysis } {
  const name = "chooseFactors";
  const [n, p] = x.shape;
  checkCount(name, "maxFactors", maxFactors, 0);
  checkCount(name, "nFolds", nFolds, 2);
  if (n < 2 * nFolds) {
    throw new ArgumentError(`${name}: expected at least 2 samples per fold, got ${n} in ${nFolds}`);
  }
  const rows = (keep: (t: number) => boolean): Samples => {
    const kept = Array.from({ length: n }, (_, t) => t).filter(keep);
    const data = new Float64Array(kept.length * p);
    kept.forEach((t, i) => {
      data.set(x.data.subarray(t * p, (t + 1) * p), i * p);
    });
    return { data, axes: x.axes, shape: [kept.length, p] };
  };
  const foldOf = (t: number): number => Math.floor((t * nFolds) / n);
  const heldOut = Float64Array.from({ length: maxFactors + 1 }, (_, nFactors) => {
    let sum = 0;
    for (let fold = 0; fold < nFolds; fold++) {
      const fit = factorAnalysis(
        rows((t) => foldOf(t) !== fold),
        { nFactors, tolerance: 1e-6 },
      );
      sum += logLikelihoodOf(
        fit,
        rows((t) => foldOf(t) === fold),
      );
    }
    return sum / n;
  });
  const nFactors = heldOut.indexOf(Math.max(...heldOut));
  return { nFactors, heldOut, fit: factorAnalysis(x, { nFactors }) };
}

/** The log-likelihood of samples under a fitted model. */
function logLikelihoodOf(
  { loadings, noise, means, nFactors: k }: FactorAnalysis,
  x: Samples,
): number {
  const [n, p] = x.shape;
  // With B = Psi^-1/2 W and M = I + B^T B: |C| = |Psi| |M|, C^-1 = Psi^-1/2 (I - B M^-1 B^T) Psi^-1/2.
  const b = loadings.data.map((v, at) => v / Math.sqrt(noise[Math.floor(at / k)]!));
  const m = new Float64Array(k * k);
  for (let u = 0; u < p; u++) {
    for (let i = 0; i < k; i++)
      for (let j = 0; j < k; j++) m[i * k + j]! += b[u * k + i]! * b[u * k + j]!;
  }
  const { values, vectors } =
    k === 0
      ? { values: new Float64Array(0), vectors: { data: new Float64Array(0) } }
      : symmetricEigen({ data: m, nRows: k, nColumns: k });
  let logDeterminant = p * Math.log(2 * Math.PI);
  for (let u = 0; u < p; u++) logDeterminant += Math.log(noise[u]!);
  for (const v of values) logDeterminant += Math.log(1 + v);
  let total = 0;
  const projected = new Float64Array(k);
  for (let t = 0; t < n; t++) {
    projected.fill(0);
    let square = 0;
    for (let u = 0; u < p; u++) {
      const y = (x.data[t * p + u]! - means[u]!) / Math.sqrt(noise[u]!);
      square += y * y;
      for (let i = 0; i < k; i++) projected[i]! += b[u * k + i]! * y;
    }
    for (let i = 0; i < k; i++) {
      let along = 0;
      for (let j = 0; j < k; j++) along += vectors.data[i * k + j]! * projected[j]!;
      square -= (along * along) / (1 + values[i]!);
    }
    total -= (logDeterminant + square) / 2;
  }
  return total;
}
