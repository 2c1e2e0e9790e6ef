import { type Activations, createRng, permutation, takeRows } from "@penfield/core";
import type { Linalg } from "@penfield/linalg";
import {
  centred,
  checkWhole,
  type Dense,
  dense,
  pairOf,
  squaredDistancesFromGram,
} from "./pair.ts";
import { cycleBars } from "./persistence.ts";

export interface RtdOptions {
  /** Stimuli of one subset; all, once, if there are no more. Default 500. */
  readonly batch?: number | undefined;
  /** Random subsets averaged over. Default 10. */
  readonly trials?: number | undefined;
  /** Of the subsets. Default 0. */
  readonly seed?: number | undefined;
}

/**
 * Representation topology divergence: how long loops live that one representation has and the other fills.
 *
 *   RTD = (R(d, e) + R(e, d)) / 2,  R(d, e) = sum of (death - birth) over the loops (H1) of a Vietoris-Rips filtration of 2 n points,
 *   a and b of every stimulus:  |a_i a_j| = 0,  |a_i b_j| = d_ij,  |b_i b_j| = min(d_ij, e_ij)
 *
 * d and e: Euclidean distances divided by their 0.9 quantile. An edge that is short in e but long in d makes a loop, which lives until
 * d closes it: stimuli that one representation puts together and the other apart.
 *
 * @param x - `[n, p]`, finite.
 * @param y - `[n, q]`, the same stimuli.
 * @param options - How large representations are cut into subsets.
 * @returns At least 0; 0 if all ratios of distances agree. It grows with the number of stimuli: compare values of equal
 *   `batch` only. NaN if nine tenths of the distances of a representation are 0.
 * @throws {ShapeError} if the stimuli differ or are fewer than 3.
 * @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if an option is out of range.
 *
 * Cost, for each subset of m stimuli: (2 m)^3 / 2 steps at least, some seconds for 500, and 32 m^2 bytes; more where many loops live long.
 * Source: Barannikov, Trofimov, Balabin & Burnaev (2022), ICML. Matches RTD's rtd (there in float32).
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const square = activations([[0, 0], [0, 1], [1, 1], [1, 0]]);
 * await rtd(linalg, square, square) // => 0
 */
export async function rtd(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  { batch = 500, trials = 10, seed = 0 }: RtdOptions = {},
): Promise<number> {
  const { n } = pairOf("rtd", x, y, 3);
  checkWhole("rtd", "batch", batch, 3);
  checkWhole("rtd", "trials", trials, 1);
  if (n <= batch) return divergence(linalg, x, y);
  const rng = createRng(seed);
  let sum = 0;
  for (let t = 0; t < trials; t++) {
    const rows = permutation(n, rng).slice(0, batch);
    sum += await divergence(linalg, takeRows(x, rows), takeRows(y, rows));
  }
  return sum / trials;
}

async function divergence(linalg: Linalg, x: Activations, y: Activations): Promise<number> {
  const n = x.shape[0];
  const [d, e] = [
    await distances(linalg, dense("rtd", x)),
    await distances(linalg, dense("rtd", y)),
  ];
  if (!d || !e) return Number.NaN;
  return ((await loops(d, e, n)) + (await loops(e, d, n))) / 2;
}

/** Below this share of the mean, distances are 0. */
const NOTHING = 1e-6;

/** `[n, n]`, in units of their 0.9 quantile; undefined if that is 0. */
async function distances(linalg: Linalg, x: Dense): Promise<Float64Array | undefined> {
  const c = centred(x);
  const squares = squaredDistancesFromGram(await linalg.matmul(c, c, { transposeB: true }));
  const d = squares.map(Math.sqrt);
  const sorted = d.toSorted();
  const at = 0.9 * (d.length - 1);
  const [low, high] = [sorted[Math.floor(at)]!, sorted[Math.ceil(at)]!];
  const unit = low + (high - low) * (at - Math.floor(at));
  const mean = d.reduce((sum, v) => sum + v, 0) / d.length;
  if (!(unit > NOTHING * mean)) return undefined;
  return d.map((v) => (v < NOTHING * mean ? 0 : v / unit));
}

async function loops(d: Float64Array, e: Float64Array, n: number): Promise<number> {
  // Long arithmetic: signals get through in between.
  await new Promise((resume) => setImmediate(resume));
  const both = new Float64Array(4 * n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      const [one, other] = [d[i * n + j]!, e[i * n + j]!];
      both[i * 2 * n + n + j] = one;
      both[(n + i) * 2 * n + j] = one;
      both[(n + i) * 2 * n + n + j] = Math.min(one, other);
    }
  }
  let sum = 0;
  for (const { birth, death } of cycleBars(both, 2 * n)) sum += death - birth;
  return sum;
}
