import { ArgumentError, type LongWork, tensor, throwIfAborted } from "@penfield/core";
import { eigenSymmetric, type Linalg, type Matrix, matrix, polarFactor } from "@penfield/linalg";
import { withLinalg } from "../regression/ridgeEngine.ts";
import { centred, checkSubjects, type SubjectSeries } from "./series.ts";
import { type SharedSpace, srm } from "./srm.ts";

/** How a smooth shared response is fitted. */
export interface GpSrmOptions extends LongWork {
  /** Dimensions of the shared space, at most the number of samples and of every subject's targets. */
  readonly nFeatures: number;
  /** Timescales to choose from, in samples, each above 0. Default: 12 from 0.5 to a quarter of the samples, evenly in their logarithm. */
  readonly timescales?: readonly number[] | undefined;
  /** At most; it ends before when the shared response moves by less than 1e-4 of its size. Default 200. */
  readonly nIterations?: number | undefined;
  /** Of the start. Default 0. */
  readonly seed?: number | undefined;
  /** Default: one made for this call. */
  readonly linalg?: Linalg | undefined;
}

/** A shared response whose dimensions are smooth, each in its own time. */
export interface GpSrm extends SharedSpace {
  /** Samples, from slow to fast, [nFeatures]; the order of the dimensions. */
  readonly timescales: Float64Array;
  /** Variance of each dimension, [nFeatures]. */
  readonly variances: Float64Array;
  /** Variance of each subject's noise per target, [nSubjects]. */
  readonly noiseVariances: Float64Array;
  /** How uncertain each dimension of the shared response is, mean over samples, [nFeatures]. */
  readonly posteriorVariances: Float64Array;
}

/**
 * A shared response model with Gaussian processes: as {@link srm}, but every dimension of the shared response is smooth, with a
 * timescale of its own. Neighbouring samples then help each other, which pays where noise is strong.
 *
 *   x_s(t) = W_s z(t) + mu_s + e,  W_s^T W_s = I,  z_k ~ GP(0, v_k exp(-(t - t')^2 / (2 tau_k^2))),  e ~ N(0, rho_s^2 I)
 *
 * By EM. Because the bases are orthonormal, dimensions do not mix given the data: each sees its own average over subjects with noise
 * of variance 1 / sum(1 / rho_s^2), and tau_k and v_k are those of the largest likelihood of that average.
 *
 * @param subjects - One `[nTimes, nTargets_s]` each, at least 2, samples evenly spaced.
 * @param options - Dimensions, timescales, iterations.
 * @throws {ShapeError} if sizes do not fit. @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if an option is out of range. @throws {InterruptedError} if the signal fires.
 *
 * Timescales are those of the list; take a finer one to know them better. Dimensions of like timescale are only known up to a rotation.
 *
 * Cost: one decomposition [nTimes, nTimes] per timescale, then per iteration two products [nTargets_s, nTimes, nFeatures] per subject and one
 * [nTimes, nTimes, nFeatures] per timescale.
 * Source: shared response: Chen et al. (2015), NIPS; process priors on its dimensions: Yu et al. (2009), J Neurophysiology 102:614 (GPFA).
 *
 * @example
 * const rng = createRng(1);
 * const wave = Array.from({ length: 40 }, (_, t) => Math.sin(t / 4));
 * const subject = () => tensor(Float64Array.from({ length: 120 }, (_, i) => (1 + (i % 3)) * wave[Math.floor(i / 3)] + rng.normal()), ["time", "target"], [40, 3]);
 * const { timescales } = await gpSrm([subject(), subject()], { nFeatures: 1, timescales: [0.5, 5] });
 * timescales[0] // => 5
 */
export async function gpSrm(
  subjects: readonly SubjectSeries[],
  options: GpSrmOptions,
): Promise<GpSrm> {
  const name = "gpSrm";
  const { nFeatures: k, nIterations = 200, seed = 0, onProgress, signal } = options;
  const { nTimes } = checkSubjects(name, subjects, { sameTargets: false });
  const scales = options.timescales ?? defaultScales(nTimes);
  if (scales.length === 0 || scales.some((tau) => !(tau > 0 && Number.isFinite(tau)))) {
    throw new ArgumentError(
      `${name}: expected timescales above 0, got ${scales.join(", ") || "none"}`,
    );
  }
  if (!Number.isInteger(nIterations) || nIterations < 1) {
    throw new ArgumentError(
      `${name}: expected a positive whole number of iterations, got ${nIterations}`,
    );
  }
  return withLinalg(options.linalg, async (linalg) => {
    const start = await srm(subjects, { nFeatures: k, seed, signal, linalg });
    const parts = subjects.map(centred);
    const squares = parts.map(({ x }) => x.data.reduce((sum, value) => sum + value * value, 0));
    const kernels: Kernel[] = [];
    for (const tau of scales) {
      throwIfAborted(signal, name);
      kernels.push(await kernelOf(tau, nTimes, linalg));
    }
    // Dimensions of the start are any rotation of the true ones; those that differ most in smoothness are told apart first.
    let bases = await untangled(start, linalg);
    let noise: Float64Array<ArrayBufferLike> = start.noiseVariances.slice();
    let shared: Matrix<Float64Array> = matrix(new Float64Array(nTimes * k), nTimes, k);
    let found: readonly Dimension[] = [];
    for (let iteration = 0; iteration < nIterations; iteration++) {
      throwIfAborted(signal, name);
      const precision = noise.reduce((sum, value) => sum + 1 / value, 0);
      const average = matrix(new Float64Array(nTimes * k), nTimes, k);
      for (const [s, { x }] of parts.entries()) {
        const { data } = await linalg.matmul(x, bases[s]!);
        for (let i = 0; i < data.length; i++) {
          average.data[i]! += data[i]! / (noise[s]! * precision);
        }
      }
      found = await smoothed(average, kernels, 1 / precision, linalg);
      const before = shared;
      shared = matrix(new Float64Array(nTimes * k), nTimes, k);
      let trace = 0;
      found.forEach(({ mean, uncertainty }, f) => {
        trace += uncertainty;
        mean.forEach((value, t) => {
          shared.data[t * k + f] = value;
          trace += value * value;
        });
      });
      const moved = distance(shared, before);
      const next: Matrix<Float64Array>[] = [];
      const nextNoise = new Float64Array(parts.length);
      for (const [s, { x }] of parts.entries()) {
        const cross = await linalg.matmul(x, shared, { transposeA: true });
        const basis = await polarFactor(cross, linalg);
        const overlap = basis.data.reduce((sum, value, i) => sum + value * cross.data[i]!, 0);
        nextNoise[s] = (squares[s]! - 2 * overlap + trace) / (nTimes * x.nColumns);
        next.push(basis);
      }
      bases = next;
      noise = nextNoise;
      if (moved < CONVERGED) break;
      onProgress?.({
        stage: "fitting",
        done: iteration + 1,
        total: nIterations,
        unit: "iterations",
      });
    }
    const order = found.map((_, f) => f).sort((a, b) => found[b]!.tau - found[a]!.tau);
    const columns = (m: Matrix<Float64Array>): Float64Array =>
      Float64Array.from(m.data, (_, i) => m.data[i - (i % k) + order[i % k]!]!);
    shared = matrix(columns(shared), nTimes, k);
    return {
      bases: bases.map((b) => tensor(columns(b), ["target", "feature"], [b.nRows, k])),
      shared: tensor(shared.data, ["time", "feature"], [nTimes, k]),
      means: parts.map(({ means }) => means),
      timescales: Float64Array.from(order, (f) => found[f]!.tau),
      variances: Float64Array.from(order, (f) => found[f]!.variance),
      noiseVariances: noise,
      posteriorVariances: Float64Array.from(order, (f) => found[f]!.uncertainty / nTimes),
    };
  });
}

/** Of the shared response from one iteration to the next, as a share of its size. */
const CONVERGED = 1e-4;

function distance(a: Matrix<Float64Array>, b: Matrix<Float64Array>): number {
  let [off, size] = [0, 0];
  for (let i = 0; i < a.data.length; i++) {
    off += (a.data[i]! - b.data[i]!) ** 2;
    size += a.data[i]! ** 2;
  }
  return size === 0 ? 0 : Math.sqrt(off / size);
}

const defaultScales = (nTimes: number): readonly number[] => {
  const [least, most] = [0.5, Math.max(1, nTimes / 4)];
  return Array.from({ length: 12 }, (_, i) => least * (most / least) ** (i / 11));
};

/** exp(-(t - t')^2 / (2 tau^2)) = sum_j lambda_j q_j q_j^T, eigenvectors as rows. */
interface Kernel {
  readonly tau: number;
  readonly lambda: Float64Array;
  readonly vectors: Matrix<Float64Array>;
}

async function kernelOf(tau: number, n: number, linalg: Linalg): Promise<Kernel> {
  const values = Float64Array.from({ length: n }, (_, lag) =>
    Math.exp(-(lag * lag) / (2 * tau * tau)),
  );
  const data = Float64Array.from(
    { length: n * n },
    (_, i) => values[Math.abs(Math.floor(i / n) - (i % n))]!,
  );
  const { values: lambda, vectors } = await eigenSymmetric(matrix(data, n, n), linalg);
  // Rounding may leave an eigenvalue that is zero a little below it.
  return { tau, lambda: lambda.map((value) => Math.max(0, value)), vectors };
}

/** One dimension of the shared response, given the data. */
interface Dimension {
  readonly tau: number;
  readonly variance: number;
  /** [nTimes]. */
  readonly mean: Float64Array;
  /** The sum of its variances over samples. */
  readonly uncertainty: number;
}

/** For each column the timescale and variance of the largest likelihood, and what is then expected. */
async function smoothed(
  average: Matrix<Float64Array>,
  kernels: readonly Kernel[],
  noise: number,
  linalg: Linalg,
): Promise<readonly Dimension[]> {
  const { nRows: n, nColumns: k } = average;
  const best: { likelihood: number; variance: number; kernel: Kernel; turned: Float64Array }[] = [];
  for (const kernel of kernels) {
    const { data } = await linalg.matmul(kernel.vectors, average); // [n, k]
    for (let f = 0; f < k; f++) {
      const turned = Float64Array.from({ length: n }, (_, j) => data[j * k + f]!);
      const { variance, likelihood } = bestVariance(turned, kernel.lambda, noise);
      const known = best[f];
      if (known === undefined || likelihood > known.likelihood) {
        best[f] = { likelihood, variance, kernel, turned };
      }
    }
  }
  return best.map(({ variance, kernel: { tau, lambda, vectors }, turned }) => {
    const mean = new Float64Array(n);
    let uncertainty = 0;
    for (let j = 0; j < n; j++) {
      const prior = variance * lambda[j]!;
      const weight = (turned[j]! * prior) / (prior + noise);
      uncertainty += (prior * noise) / (prior + noise);
      if (weight === 0) continue;
      for (let t = 0; t < n; t++) mean[t]! += weight * vectors.data[j * n + t]!;
    }
    return { tau, variance, mean, uncertainty };
  });
}

/** Golden sections over the logarithm of the variance. */
function bestVariance(
  turned: Float64Array,
  lambda: Float64Array,
  noise: number,
): { readonly variance: number; readonly likelihood: number } {
  const at = (logVariance: number): number => {
    const variance = Math.exp(logVariance);
    let sum = 0;
    for (let j = 0; j < turned.length; j++) {
      const total = variance * lambda[j]! + noise;
      sum -= 0.5 * (Math.log(total) + turned[j]! ** 2 / total);
    }
    return sum;
  };
  const share = (Math.sqrt(5) - 1) / 2;
  let [low, high] = [Math.log(noise) - 12, Math.log(noise) + 16];
  let [a, b] = [high - share * (high - low), low + share * (high - low)];
  let [valueA, valueB] = [at(a), at(b)];
  while (high - low > 1e-3) {
    if (valueA > valueB) {
      [high, b, valueB] = [b, a, valueA];
      a = high - share * (high - low);
      valueA = at(a);
    } else {
      [low, a, valueA] = [a, b, valueB];
      b = low + share * (high - low);
      valueB = at(b);
    }
  }
  return valueA > valueB
    ? { variance: Math.exp(a), likelihood: valueA }
    : { variance: Math.exp(b), likelihood: valueB };
}

/** The bases turned so that the start's dimensions differ as much as they can in how alike neighbouring samples are. */
async function untangled(start: SharedSpace, linalg: Linalg): Promise<Matrix<Float64Array>[]> {
  const { data, shape } = start.shared;
  const [n, k] = shape;
  const z = matrix(Float64Array.from(data), n, k);
  const gram = await linalg.matmul(z, z, { transposeA: true });
  const whitening = await eigenSymmetric(gram, linalg);
  const lagged = new Float64Array(k * k);
  for (let t = 1; t < n; t++) {
    for (let i = 0; i < k; i++) {
      for (let j = 0; j < k; j++) {
        lagged[i * k + j]! +=
          (z.data[t * k + i]! * z.data[(t - 1) * k + j]! +
            z.data[(t - 1) * k + i]! * z.data[t * k + j]!) /
          2;
      }
    }
  }
  const scale = whitening.values.map((value) => (value > 1e-12 ? 1 / Math.sqrt(value) : 0));
  const w = matrix(
    whitening.vectors.data.map((value, i) => value * scale[Math.floor(i / k)]!),
    k,
    k,
  );
  const half = await linalg.matmul(w, matrix(lagged, k, k));
  const turned = await linalg.matmul(half, w, { transposeB: true });
  const { vectors } = await eigenSymmetric(turned, linalg);
  // Rows of vectors w unmix; the nearest rotation keeps bases orthonormal.
  const rotation = await polarFactor(await linalg.matmul(vectors, w), linalg);
  return Promise.all(
    start.bases.map(({ data: basis, shape: [p] }) =>
      linalg.matmul(matrix(Float64Array.from(basis), p, k), rotation, { transposeB: true }),
    ),
  );
}
