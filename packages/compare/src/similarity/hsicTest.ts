import { type Activations, createRng, permutation } from "@penfield/core";
import type { Linalg } from "@penfield/linalg";
import { rankP } from "@penfield/stats";
import type { Kernel } from "./cka.ts";
import { centred, checkOneOf, checkWhole, type Dense, inner, norm, pairOf } from "./pair.ts";

/** What the test finds. */
export interface HsicTest {
  /** The biased HSIC over (n - 1)^2. */
  readonly statistic: number;
  /** [nDraws], with the stimuli of one representation exchanged. */
  readonly nulls: Float64Array;
  readonly p: number;
}

/**
 * Are two representations related at all? The Hilbert-Schmidt independence criterion against itself with
 * the stimuli of one representation exchanged.
 *
 * @param x - `[n, p]`, finite, n >= 3.
 * @param y - `[n, q]`, the same stimuli.
 * @param options.kernel - Default linear; an RBF kernel also finds relations that are not linear.
 * @param options.nDraws - Default 999.
 * @param options.seed - Default 0.
 * @returns p is (1 + #{null >= statistic}) / (1 + nDraws). A representation that does not vary gives p = 1.
 * @throws {ShapeError} if the stimuli differ or are fewer than 3.
 * @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if an option is out of range.
 *
 * Stimuli must be exchangeable: for time series or blocks they are not.
 *
 * Cost: nDraws times n^2 operations, and the kernels. Source: Gretton et al. (2007), NIPS, "A kernel statistical test of independence".
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1], [2], [4], [8], [16], [32]]);
 * (await hsicTest(linalg, x, x, { nDraws: 99 })).p < 0.05 // => true
 */
export async function hsicTest(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  {
    kernel = { type: "linear" },
    nDraws = 999,
    seed = 0,
  }: {
    kernel?: Kernel | undefined;
    nDraws?: number | undefined;
    seed?: number | undefined;
  } = {},
): Promise<HsicTest> {
  checkOneOf("hsicTest", "kernel", kernel.type, ["linear", "rbf"]);
  checkWhole("hsicTest", "nDraws", nDraws, 1);
  const pair = pairOf("hsicTest", x, y, 3);
  const { n } = pair;
  const k = await centredKernel(linalg, pair.x, kernel);
  const l = await centredKernel(linalg, pair.y, kernel);
  const scale = 1 / (n - 1) ** 2;
  const statistic = scale * inner(k, l);
  const rng = createRng(seed);
  const nulls = Float64Array.from({ length: nDraws }, () => {
    const order = permutation(n, rng);
    let sum = 0;
    for (let i = 0; i < n; i++) {
      const row = order[i]! * n;
      for (let j = 0; j < n; j++) sum += k[i * n + j]! * l[row + order[j]!]!;
    }
    return scale * sum;
  });
  // The same products summed in another order: what differs by rounding is a tie.
  const slack = 1e-12 * scale * norm(k) * norm(l);
  return { statistic, nulls, p: rankP(statistic - slack, nulls) };
}

/** A kernel with row and column means taken off, `[n, n]`. */
async function centredKernel(linalg: Linalg, x: Dense, kernel: Kernel): Promise<Float64Array> {
  const n = x.nRows;
  const c = centred(x);
  const { data } = await linalg.matmul(c, c, { transposeB: true });
  if (kernel.type === "linear") return data;
  const squares = Float64Array.from({ length: n }, (_, i) => data[i * n + i]!);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      const square = squares[i]! + squares[j]! - 2 * data[i * n + j]!;
      data[i * n + j] = i === j ? 0 : Math.max(0, square);
    }
  }
  const sorted = Float64Array.from(data).sort();
  const middle =
    (sorted[Math.floor((sorted.length - 1) / 2)]! + sorted[Math.floor(sorted.length / 2)]!) / 2;
  const width =
    kernel.bandwidth === undefined ? (kernel.scale ?? 1) ** 2 * middle : kernel.bandwidth ** 2;
  for (let i = 0; i < data.length; i++) {
    data[i] = width > 0 ? Math.expm1(-data[i]! / (2 * width)) : data[i] === 0 ? 0 : -1;
  }
  const means = new Float64Array(n);
  let all = 0;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) means[i]! += data[i * n + j]! / n;
    all += means[i]! / n;
  }
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) data[i * n + j]! += all - means[i]! - means[j]!;
  }
  return data;
}
