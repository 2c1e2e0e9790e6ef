import { ArgumentError, DataError, type Rng, ShapeError } from "@penfield/core";
import { type Matrix, matrix, qr } from "@penfield/linalg";
import { checkCount, checkPositive } from "./check.ts";

/** Growth rates of small differences along a trajectory. */
export interface LyapunovSpectrum {
  /** Descending, in 1/s (1/step if dtSeconds is 1), `[nExponents]`. */
  readonly exponents: Float64Array;
  /** How much each exponent still moved over the last half of the steps: |all - first half|, `[nExponents]`. */
  readonly drift: Float64Array;
  /** The Kaplan-Yorke dimension; NaN if the exponents computed do not sum to below 0. */
  readonly kaplanYorkeDimension: number;
  /** The sum of the positive ones, an upper bound of the rate at which information is made, in nats/s. */
  readonly entropyRate: number;
}

/**
 * The Lyapunov spectrum of a trajectory from its Jacobians, by repeated QR decompositions.
 *
 *   Q_{t+1} R_{t+1} = J_t Q_t,  lambda_i = (1 / (n dt)) sum over t of ln R_t[i, i]
 *
 * @param jacobian - J of one step (of the map x_{t+1} = f(x_t)) along the trajectory, `[n, n]`, for steps 0, 1, ...;
 *   simulate the state inside it. A spiking network's resets make jumps: J must hold the saltation matrix of a step with a spike.
 * @param options.nSteps - Steps that count, at least 2.
 * @param options.nDimensions - n.
 * @param options.nExponents - The largest ones to compute. Default all.
 * @param options.nTransient - Steps before them, in which the directions align. Default a tenth of nSteps.
 * @param options.dtSeconds - Length of a step. Default 1: exponents are per step.
 * @param options.every - Steps between decompositions; more is faster, until directions collapse. Default 1.
 * @param rng - Draws the first directions. Default: the first unit vectors.
 * @returns Exponents; -infinity for directions that a Jacobian sends to nothing.
 * @throws {ArgumentError} if an option is out of range.
 * @throws {ShapeError} if a Jacobian is not [n, n].
 * @throws {DataError} if a Jacobian is not finite.
 *
 * Cost: per step a product of n^2 nExponents operations, in plain code, and a QR decomposition every `every` steps.
 * Source: Benettin et al. (1980), Meccanica 15:9-30; Engelken, Wolf & Abbott (2023), Phys Rev Res 5:043044.
 *
 * @example
 * const jacobian = () => ({ data: Float64Array.of(2, 1, 0, 0.25), nRows: 2, nColumns: 2 });
 * const { exponents } = lyapunovSpectrum(jacobian, { nSteps: 200, nDimensions: 2 });
 * exponents.map((v) => Math.round(v * 1000) / 1000).join(" ") // => "0.693 -1.386"
 */
export function lyapunovSpectrum(
  jacobian: (step: number) => Matrix,
  {
    nSteps,
    nDimensions,
    nExponents = nDimensions,
    nTransient = Math.ceil(nSteps / 10),
    dtSeconds = 1,
    every = 1,
  }: {
    nSteps: number;
    nDimensions: number;
    nExponents?: number | undefined;
    nTransient?: number | undefined;
    dtSeconds?: number | undefined;
    every?: number | undefined;
  },
  rng?: Rng,
): LyapunovSpectrum {
  const name = "lyapunovSpectrum";
  checkCount(name, "nSteps", nSteps, 2);
  checkCount(name, "nDimensions", nDimensions, 1);
  checkCount(name, "nExponents", nExponents, 1);
  checkCount(name, "nTransient", nTransient, 0);
  checkCount(name, "every", every, 1);
  checkPositive(name, "dtSeconds", dtSeconds);
  if (nExponents > nDimensions) {
    throw new ArgumentError(
      `${name}: expected at most ${nDimensions} exponents, got ${nExponents}`,
    );
  }
  const [n, k] = [nDimensions, nExponents];
  let q = firstDirections(n, k, rng);
  const sums = new Float64Array(k);
  let atHalf = new Float64Array(k);
  let halfSteps = 0;
  for (let step = 0; step < nTransient + nSteps; step++) {
    q = product(name, jacobian(step), q, step);
    const counted = step + 1 - nTransient;
    const last = counted === 0 || counted === nSteps;
    if ((step + 1) % every !== 0 && !last) continue;
    const { q: next, r } = qr(q);
    q = next;
    if (counted <= 0) continue;
    for (let i = 0; i < k; i++) sums[i]! += Math.log(r.data[i * k + i]!);
    if (counted <= nSteps / 2) {
      atHalf = Float64Array.from(sums);
      halfSteps = counted;
    }
  }
  const exponents = sums.map((v) => v / (nSteps * dtSeconds));
  const drift = exponents.map((v, i) =>
    halfSteps > 0 ? Math.abs(v - atHalf[i]! / (halfSteps * dtSeconds)) : Number.NaN,
  );
  // They come out in order but for noise between nearly equal ones.
  const order = Array.from(exponents.keys()).sort((i, j) => exponents[j]! - exponents[i]!);
  const sorted = Float64Array.from(order, (i) => exponents[i]!);
  return {
    exponents: sorted,
    drift: Float64Array.from(order, (i) => drift[i]!),
    kaplanYorkeDimension: kaplanYorke(sorted),
    entropyRate: sorted.reduce((sum, v) => sum + Math.max(0, v), 0),
  };
}

function firstDirections(n: number, k: number, rng: Rng | undefined): Matrix<Float64Array> {
  const data = new Float64Array(n * k);
  if (!rng) {
    for (let i = 0; i < k; i++) data[i * k + i] = 1;
    return matrix(data, n, k);
  }
  return qr(
    matrix(
      data.map(() => rng.normal()),
      n,
      k,
    ),
  ).q;
}

function product(
  name: string,
  j: Matrix,
  q: Matrix<Float64Array>,
  step: number,
): Matrix<Float64Array> {
  const { nRows: n, nColumns: k } = q;
  if (j.nRows !== n || j.nColumns !== n) {
    throw new ShapeError(
      `${name}: expected a Jacobian of ${n} x ${n}, got ${j.nRows} x ${j.nColumns} at step ${step}`,
    );
  }
  const out = new Float64Array(n * k);
  for (let i = 0; i < n; i++) {
    for (let l = 0; l < n; l++) {
      const v = j.data[i * n + l]!;
      if (!Number.isFinite(v)) {
        throw new DataError(`${name}: expected finite Jacobians, got ${v} at step ${step}`, {
          hint: "The trajectory has diverged: take a smaller step.",
        });
      }
      if (v === 0) continue;
      for (let c = 0; c < k; c++) out[i * k + c]! += v * q.data[l * k + c]!;
    }
  }
  return matrix(out, n, k);
}

function kaplanYorke(exponents: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < exponents.length; i++) {
    const v = exponents[i]!;
    if (sum + v < 0) return i === 0 ? 0 : i + sum / Math.abs(v);
    sum += v;
  }
  return Number.NaN;
}
