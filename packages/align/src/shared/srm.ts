import {
  ArgumentError,
  createRng,
  type LongWork,
  numpyRandom,
  type Tensor,
  tensor,
  throwIfAborted,
} from "@penfield/core";
import { type Linalg, type Matrix, matrix, polarFactor, qr } from "@penfield/linalg";
import { withLinalg } from "../regression/ridgeEngine.ts";
import { invertSymmetric } from "./invert.ts";
import { type Centred, centred, checkSubjects, type SubjectSeries } from "./series.ts";

/** How a shared response is fitted. */
export interface SrmOptions extends LongWork {
  /** Dimensions of the shared space, at most the number of samples and of every subject's targets. */
  readonly nFeatures: number;
  /** Default 10. */
  readonly nIterations?: number | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
  /**
   * `exact` (default). `brainiak`: start, perturbation and noise variances as brainiak 0.11 has them, number for
   * number; see {@link srm} and {@link detSrm} for what differs.
   */
  readonly variant?: "exact" | "brainiak" | undefined;
  /** Default: one made for this call. */
  readonly linalg?: Linalg | undefined;
}

/** A space that subjects share, and how each one's targets lie in it. */
export interface SharedSpace {
  /** Orthonormal columns, `[nTargets_s, nFeatures]` each. */
  readonly bases: readonly Tensor<readonly ["target", "feature"]>[];
  /** `[nTimes, nFeatures]`. */
  readonly shared: Tensor<readonly ["time", "feature"]>;
  /** What was taken away from each target, [nTargets_s]; zeros where nothing was. */
  readonly means: readonly Float64Array[];
}

/** A shared response with noise of each subject's own. */
export interface Srm extends SharedSpace {
  /** Covariance of the shared response, `[nFeatures, nFeatures]`. */
  readonly covariance: Tensor<readonly ["feature", "feature"]>;
  /** Variance of each subject's noise per target, [nSubjects]. */
  readonly noiseVariances: Float64Array;
  /** Of the parameters before each iteration, without the constant, [nIterations]; never falls. */
  readonly logLikelihood: Float64Array;
}

/** A shared response without a noise model. */
export interface DetSrm extends SharedSpace {
  /** Half the squared error per sample before each iteration and at the end, [nIterations + 1]; never rises. */
  readonly objective: Float64Array;
}

/**
 * The probabilistic shared response model: subjects' responses are rotations of one response plus noise of their own.
 *
 *   x_s(t) = W_s z(t) + mu_s + e,  W_s^T W_s = I,  z ~ N(0, Sigma),  e ~ N(0, rho_s^2 I),   by EM
 *
 * @param subjects - One `[nTimes, nTargets_s]` each, at least 2; targets need not correspond or be equally many.
 * @param options - Dimensions, iterations, start.
 * @returns The space is unique up to a rotation of its dimensions.
 * @throws {ShapeError} if sizes do not fit. @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if an option is out of range. @throws {InterruptedError} if the signal fires.
 *
 * Brainiak's noise variances take |x_s|^2 before the means are taken away, so that they hold the squared means, and it adds
 * 0.001 to the diagonal of x_s^T z; `variant: "brainiak"` does both.
 *
 * Cost: per iteration two products [nTargets_s, nTimes, nFeatures] and one polar factor per subject.
 * Source: Chen et al. (2015), A reduced-dimension fMRI shared response model, NIPS. Matches brainiak's SRM.
 *
 * @example
 * const z = Array.from({ length: 40 }, (_, t) => [Math.sin(t / 3), Math.cos(t / 5)]);
 * const subject = (a) => tensor(Float64Array.from(z.flatMap(([p, q]) => [p, a * q, p - q, a * p])), ["time", "target"], [40, 4]);
 * const { bases } = await srm([subject(1), subject(-2), subject(0.5)], { nFeatures: 2 });
 * bases[1].shape // => [4, 2]
 */
export async function srm(subjects: readonly SubjectSeries[], options: SrmOptions): Promise<Srm> {
  const name = "srm";
  const { nFeatures: k, nIterations = 10, variant = "exact", onProgress, signal } = options;
  const nTimes = check(name, subjects, options);
  return withLinalg(options.linalg, async (linalg) => {
    const parts = subjects.map(centred);
    const squares = subjects.map((series, s) =>
      squareOf(variant === "brainiak" ? series.data : parts[s]!.x.data),
    );
    let bases = startBases(subjects, options);
    const noise = new Float64Array(subjects.length).fill(1);
    let covariance = identity(k);
    let shared: Matrix<Float64Array> = matrix(new Float64Array(nTimes * k), nTimes, k);
    const logLikelihood = new Float64Array(nIterations);
    for (let iteration = 0; iteration < nIterations; iteration++) {
      throwIfAborted(signal, name);
      const precision = noise.reduce((sum, value) => sum + 1 / value, 0);
      const inverse = invertSymmetric(name, covariance);
      const posterior = invertSymmetric(name, plusDiagonal(inverse.inverse, precision));
      const weighted = await weightedSum(parts, bases, noise, linalg); // [nTimes, k]
      logLikelihood[iteration] = likelihood(
        { noise, squares, nTimes, targets: subjects.map(({ shape }) => shape[1]) },
        covariance,
        posterior,
        inverse.logDeterminant,
        weighted,
      );
      // Sigma (I - rho0 (Sigma^-1 + rho0 I)^-1), the posterior covariance of z.
      const gain = await linalg.matmul(
        covariance,
        plusDiagonal(scaled(posterior.inverse, -precision), 1),
      );
      shared = await linalg.matmul(weighted, gain, { transposeB: true });
      const gram = await linalg.matmul(shared, shared, { transposeA: true });
      covariance = matrix(
        posterior.inverse.data.map((value, i) => value + gram.data[i]! / nTimes),
        k,
        k,
      );
      let trace = 0;
      for (let f = 0; f < k; f++) trace += nTimes * covariance.data[f * k + f]!;
      const next: Matrix<Float64Array>[] = [];
      for (const [s, { x }] of parts.entries()) {
        const cross = await linalg.matmul(x, shared, { transposeA: true }); // [nTargets, k]
        const basis = await rotation(cross, variant, linalg);
        const overlap = basis.data.reduce((sum, value, i) => sum + value * cross.data[i]!, 0);
        noise[s] = (squares[s]! - 2 * overlap + trace) / (nTimes * x.nColumns);
        next.push(basis);
      }
      bases = next;
      onProgress?.({
        stage: "fitting",
        done: iteration + 1,
        total: nIterations,
        unit: "iterations",
      });
    }
    return {
      ...spaceOf(
        bases,
        shared,
        parts.map(({ means }) => means),
      ),
      covariance: tensor(covariance.data, ["feature", "feature"], [k, k]),
      noiseVariances: noise,
      logLikelihood,
    };
  });
}

/**
 * The deterministic shared response model: rotations that bring subjects as close to one response as possible.
 *
 *   min sum_s |X_s - Z W_s^T|^2,  W_s^T W_s = I,   W_s and Z in turn
 *
 * @param subjects - As {@link srm}. Their means are not taken away: center them (or z-score) first if they do not matter.
 * @param options - As {@link srm}; `brainiak` adds 0.001 to the diagonal of X_s^T Z.
 * @throws {ShapeError} if sizes do not fit. @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if an option is out of range. @throws {InterruptedError} if the signal fires.
 *
 * Cost: as {@link srm}.
 * Source: Chen et al. (2015), NIPS. Matches brainiak's DetSRM.
 *
 * @example
 * const subject = (a) => tensor(Float64Array.from({ length: 60 }, (_, i) => Math.sin(i / 3 + (i % 3)) * a), ["time", "target"], [20, 3]);
 * const { objective } = await detSrm([subject(1), subject(1)], { nFeatures: 2, nIterations: 5 });
 * objective[5] <= objective[0] // => true
 */
export async function detSrm(
  subjects: readonly SubjectSeries[],
  options: SrmOptions,
): Promise<DetSrm> {
  const name = "detSrm";
  const { nIterations = 10, variant = "exact", onProgress, signal } = options;
  check(name, subjects, options);
  return withLinalg(options.linalg, async (linalg) => {
    const parts: Centred[] = subjects.map(({ data, shape: [n, p] }) => ({
      x: matrix(Float64Array.from(data), n, p),
      means: new Float64Array(p),
    }));
    let bases = startBases(subjects, options);
    const ones = new Float64Array(subjects.length).fill(1);
    const average = async (): Promise<Matrix<Float64Array>> =>
      scaled(await weightedSum(parts, bases, ones, linalg), 1 / subjects.length);
    let shared = await average();
    const total = parts.reduce((sum, { x }) => sum + squareOf(x.data), 0);
    // With orthonormal bases, |X - Z W^T|^2 summed is |X|^2 less n |Z|^2.
    const objectiveNow = (): number =>
      (total - subjects.length * squareOf(shared.data)) / (2 * shared.nRows);
    const objective = Float64Array.of(objectiveNow(), ...new Float64Array(nIterations));
    for (let iteration = 0; iteration < nIterations; iteration++) {
      throwIfAborted(signal, name);
      const next: Matrix<Float64Array>[] = [];
      for (const { x } of parts) {
        next.push(
          await rotation(await linalg.matmul(x, shared, { transposeA: true }), variant, linalg),
        );
      }
      bases = next;
      shared = await average();
      objective[iteration + 1] = objectiveNow();
      onProgress?.({
        stage: "fitting",
        done: iteration + 1,
        total: nIterations,
        unit: "iterations",
      });
    }
    return {
      ...spaceOf(
        bases,
        shared,
        parts.map(({ means }) => means),
      ),
      objective,
    };
  });
}

function check(
  name: string,
  subjects: readonly SubjectSeries[],
  { nFeatures, nIterations = 10, variant = "exact" }: SrmOptions,
): number {
  const { nTimes } = checkSubjects(name, subjects, { sameTargets: false });
  const most = Math.min(nTimes, ...subjects.map(({ shape }) => shape[1]));
  if (!Number.isInteger(nFeatures) || nFeatures < 1 || nFeatures > most) {
    throw new ArgumentError(
      `${name}: expected 1..${most} features (no more than samples, or targets of any subject), got ${nFeatures}`,
    );
  }
  if (!Number.isInteger(nIterations) || nIterations < 1) {
    throw new ArgumentError(
      `${name}: expected a positive whole number of iterations, got ${nIterations}`,
    );
  }
  if (variant !== "exact" && variant !== "brainiak") {
    throw new ArgumentError(`${name}: expected variant exact or brainiak, got ${variant}`);
  }
  return nTimes;
}

const squareOf = (data: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += data[i]! * data[i]!;
  return sum;
};

const identity = (k: number): Matrix<Float64Array> =>
  plusDiagonal(matrix(new Float64Array(k * k), k, k), 1);

const scaled = ({ data, nRows, nColumns }: Matrix<Float64Array>, by: number) =>
  matrix(
    data.map((value) => value * by),
    nRows,
    nColumns,
  );

function plusDiagonal(
  { data, nRows, nColumns }: Matrix<Float64Array>,
  value: number,
): Matrix<Float64Array> {
  const out = data.slice();
  for (let i = 0; i < Math.min(nRows, nColumns); i++) out[i * nColumns + i]! += value;
  return { data: out, nRows, nColumns };
}

/** Orthonormal columns drawn for each subject. */
function startBases(
  subjects: readonly SubjectSeries[],
  { nFeatures: k, seed = 0, variant = "exact" }: SrmOptions,
): Matrix<Float64Array>[] {
  if (variant === "brainiak") {
    const seeds = numpyRandom(seed);
    return subjects.map(({ shape }) => {
      const own = numpyRandom(seeds.randint(0, 2 ** 32));
      return lapackQ(
        matrix(
          Float64Array.from({ length: shape[1] * k }, () => own.random()),
          shape[1],
          k,
        ),
      );
    });
  }
  const rng = createRng(seed);
  return subjects.map(
    ({ shape }) =>
      qr(
        matrix(
          Float64Array.from({ length: shape[1] * k }, () => rng.normal()),
          shape[1],
          k,
        ),
      ).q,
  );
}

/**
 * The Q of LAPACK's Householder QR, which is ours but for the signs of its columns: LAPACK makes a diagonal entry of R
 * negative where the entry it came from was positive.
 */
function lapackQ(a: Matrix<Float64Array>): Matrix<Float64Array> {
  const { q } = qr(a);
  const { nRows: n, nColumns: k } = a;
  const rest = a.data.slice();
  for (let j = 0; j < k; j++) {
    let square = 0;
    for (let i = j; i < n; i++) square += rest[i * k + j]! ** 2;
    const head = rest[j * k + j]!;
    const length = head >= 0 ? -Math.sqrt(square) : Math.sqrt(square);
    if (length < 0) for (let i = 0; i < n; i++) q.data[i * k + j]! *= -1;
    const v = Float64Array.from({ length: n - j }, (_, i) => rest[(i + j) * k + j]!);
    v[0]! -= length;
    const scale = 2 / squareOf(v);
    for (let c = j; c < k; c++) {
      let dot = 0;
      for (let i = j; i < n; i++) dot += v[i - j]! * rest[i * k + c]!;
      for (let i = j; i < n; i++) rest[i * k + c]! -= scale * dot * v[i - j]!;
    }
  }
  return q;
}

/** The orthonormal basis nearest to a cross product of targets and shared response. */
const rotation = (
  cross: Matrix<Float64Array>,
  variant: "exact" | "brainiak",
  linalg: Linalg,
): Promise<Matrix<Float64Array>> =>
  polarFactor(variant === "brainiak" ? plusDiagonal(cross, 0.001) : cross, linalg);

/** sum_s X_s W_s / noise_s, [nTimes, k]. */
async function weightedSum(
  parts: readonly Centred[],
  bases: readonly Matrix<Float64Array>[],
  noise: Float64Array,
  linalg: Linalg,
): Promise<Matrix<Float64Array>> {
  const sum = matrix(
    new Float64Array(parts[0]!.x.nRows * bases[0]!.nColumns),
    parts[0]!.x.nRows,
    bases[0]!.nColumns,
  );
  for (const [s, { x }] of parts.entries()) {
    const { data } = await linalg.matmul(x, bases[s]!);
    for (let i = 0; i < data.length; i++) sum.data[i]! += data[i]! / noise[s]!;
  }
  return sum;
}

/** The log-likelihood of all data, z integrated out, without the constant. */
function likelihood(
  {
    noise,
    squares,
    nTimes,
    targets,
  }: {
    readonly noise: Float64Array;
    readonly squares: readonly number[];
    readonly nTimes: number;
    readonly targets: readonly number[];
  },
  covariance: Matrix<Float64Array>,
  posterior: { readonly inverse: Matrix<Float64Array>; readonly logDeterminant: number },
  logDeterminantOfCovariance: number,
  weighted: Matrix<Float64Array>,
): number {
  const k = covariance.nRows;
  let quadratic = 0;
  for (let t = 0; t < nTimes; t++) {
    for (let i = 0; i < k; i++) {
      for (let j = 0; j < k; j++) {
        quadratic +=
          weighted.data[t * k + i]! *
          posterior.inverse.data[i * k + j]! *
          weighted.data[t * k + j]!;
      }
    }
  }
  let logNoise = 0;
  let square = 0;
  noise.forEach((value, s) => {
    logNoise += targets[s]! * Math.log(value);
    square += squares[s]! / value;
  });
  return (
    -0.5 * nTimes * (logNoise + logDeterminantOfCovariance + posterior.logDeterminant) -
    0.5 * (square - quadratic)
  );
}

const spaceOf = (
  bases: readonly Matrix<Float64Array>[],
  shared: Matrix<Float64Array>,
  means: readonly Float64Array[],
): SharedSpace => ({
  bases: bases.map(({ data, nRows, nColumns }) =>
    tensor(data, ["target", "feature"], [nRows, nColumns]),
  ),
  shared: tensor(shared.data, ["time", "feature"], [shared.nRows, shared.nColumns]),
  means,
});
