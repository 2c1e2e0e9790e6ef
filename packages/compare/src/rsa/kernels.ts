import { type Linalg, type Matrix, matrix, symmetricEigen } from "@penfield/linalg";
import { squareRoot } from "./noise.ts";
import { squareRdm } from "./rdms.ts";
import { relativeCovariance, relativeGram, type SigmaK } from "./whiten.ts";

/** -1/2 d, doubly centred, `[n, n]`. */
function centredGram(d: ArrayLike<number>): Matrix<Float64Array> {
  const { data, nRows: n } = squareRdm(d);
  const means = new Float64Array(n);
  let all = 0;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) means[i]! += data[i * n + j]! / n;
    all += means[i]! / n;
  }
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      data[i * n + j] = -0.5 * (data[i * n + j]! - means[i]! - means[j]! + all);
    }
  }
  return matrix(data, n, n);
}

const trace = ({ data, nRows: n }: Matrix): number => {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += data[i * n + i]!;
  return sum;
};

/** A Gram matrix with what a Bures comparison needs of it. */
export interface BuresFactor {
  readonly gram: Matrix<Float64Array>;
  readonly root: Matrix<Float64Array>;
  readonly trace: number;
}

/**
 * The Gram matrix of an RDM and its root. One that has negative eigenvalues is no Gram matrix: its negative part is left out, unless
 * `whole` keeps it in the matrix and its trace (as rsatoolbox does, whose cosines may then be above 1).
 */
export async function buresFactor(
  linalg: Linalg,
  d: ArrayLike<number>,
  whole: boolean,
): Promise<BuresFactor> {
  const given = centredGram(d);
  const root = await squareRoot(linalg, given);
  const gram = whole ? given : await linalg.matmul(root, root);
  return { gram, root, trace: trace(gram) };
}

/** The sum of sqrt(eig(A^1/2 B A^1/2)), eigenvalues below 0 counting as 0. */
export async function fidelity(linalg: Linalg, a: BuresFactor, b: BuresFactor): Promise<number> {
  const inner = await linalg.matmul(await linalg.matmul(a.root, b.gram), a.root);
  let sum = 0;
  for (const value of symmetricEigen(inner, { vectors: false }).values) {
    sum += Math.sqrt(Math.max(0, value));
  }
  return sum;
}

/** How far the negative Riemannian distance lets the ratio of signal and noise go, as a logarithm. */
const REACH = 30;

/** The second RDM of a Riemannian comparison, as the metric in which eigenvalues are taken. */
export interface RiemannianFrame {
  /** G2^-1/2. */
  readonly root: Matrix<Float64Array>;
  /** G2^-1/2 Sigma G2^-1/2. */
  readonly noise: Matrix<Float64Array>;
}

/** Undefined if G2 is not positive definite. */
export async function riemannianFrame(
  linalg: Linalg,
  d: ArrayLike<number>,
  n: number,
  sigma: SigmaK | undefined,
): Promise<RiemannianFrame | undefined> {
  const g = relativeGram(d, n);
  const m = n - 1;
  const { values, vectors } = symmetricEigen(g);
  if (!(values[m - 1]! > m * Number.EPSILON * values[0]!)) return undefined;
  const scaled = vectors.data.map((v, i) => v / Math.sqrt(values[Math.floor(i / m)]!));
  const root = await linalg.matmul(vectors, matrix(scaled, m, m), { transposeA: true });
  const relative = relativeCovariance(sigma ?? new Float64Array(n).fill(1), n);
  const noise = await linalg.matmul(await linalg.matmul(root, relative), root);
  return { root, noise };
}

/**
 * The distance of exp(t0) G1 + exp(t1) Sigma to G2, least over t0 and t1: sqrt(sum log^2 of generalized eigenvalues). For
 * a given ratio r = t1 - t0 the best t0 is minus the mean of the logarithms, so one search over r remains.
 */
export async function riemannianDistance(
  linalg: Linalg,
  d: ArrayLike<number>,
  n: number,
  { root, noise }: RiemannianFrame,
): Promise<number> {
  const signal = await linalg.matmul(await linalg.matmul(root, relativeGram(d, n)), root);
  const m = n - 1;
  const spread = (ratio: number): number => {
    const r = Math.exp(ratio);
    const both = matrix(
      signal.data.map((v, i) => v + r * noise.data[i]!),
      m,
      m,
    );
    const { values } = symmetricEigen(both, { vectors: false });
    if (!(values[m - 1]! > m * Number.EPSILON * Math.abs(values[0]!))) return Infinity;
    const logs = values.map(Math.log);
    const mean = logs.reduce((sum, v) => sum + v, 0) / m;
    return logs.reduce((sum, v) => sum + (v - mean) ** 2, 0);
  };
  let best = 0;
  let least = Infinity;
  for (let ratio = -REACH; ratio <= REACH; ratio += 2) {
    const value = spread(ratio);
    if (value < least) {
      least = value;
      best = ratio;
    }
  }
  if (least === Infinity) return Number.NaN;
  return Math.sqrt(Math.min(least, goldenSection(spread, best - 2, best + 2, 1e-9)));
}

/** The least value of a function with one minimum between two places. */
function goldenSection(
  f: (x: number) => number,
  low: number,
  high: number,
  tolerance: number,
): number {
  const share = (Math.sqrt(5) - 1) / 2;
  let a = low;
  let b = high;
  let c = b - share * (b - a);
  let d = a + share * (b - a);
  let fc = f(c);
  let fd = f(d);
  while (b - a > tolerance) {
    if (fc < fd) {
      b = d;
      d = c;
      fd = fc;
      c = b - share * (b - a);
      fc = f(c);
    } else {
      a = c;
      c = d;
      fc = fd;
      d = a + share * (b - a);
      fd = f(d);
    }
  }
  return Math.min(fc, fd);
}
