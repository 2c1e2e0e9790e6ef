import type { Activations } from "@penfield/core";
import { eigenSymmetric, type Linalg } from "@penfield/linalg";
import {
  centred,
  checkWhole,
  type Dense,
  dense,
  pairOf,
  squaredDistancesFromGram,
} from "./pair.ts";

/**
 * Multi-scale intrinsic distance: how differently heat spreads over the neighbourhood graphs of two representations. Stimuli need not
 * correspond, but are expected to.
 *
 *   IMD = 10^6 max over t of exp(-2 (t + 1 / t)) |h_x(t) - h_y(t)|,  h(t) = mean_i exp(-t lambda_i)
 *
 * lambda: eigenvalues of the normalized Laplacian of the graph that joins each stimulus with its k nearest, in either direction; t: 256
 * values from 0.1 to 10, evenly on a logarithmic scale.
 *
 * @param x - `[n, p]`, finite.
 * @param y - `[n, q]`, the same stimuli.
 * @param options.k - Neighbours of each stimulus, at most n - 1. Default 5.
 * @returns At least 0; different representations may have the same spectrum.
 * @throws {ShapeError} if the stimuli differ or are fewer than 3.
 * @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if k is not within 1..n - 1.
 *
 * Cost: 2 n^2 (p + q) operations and the eigenvalues of two n x n matrices; memory: three of them.
 * Source: Tsitsulin et al. (2020), ICLR, "The shape of data". As msid_score, whose traces are random estimates and here exact.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[0], [1], [2], [10], [11], [12]]);
 * await imd(linalg, x, x, { k: 2 }) // => 0
 */
export async function imd(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  { k = 5 }: { k?: number | undefined } = {},
): Promise<number> {
  const { n } = pairOf("imd", x, y, 3);
  checkWhole("imd", "k", k, 1, n - 1);
  const [a, b] = [await heat(linalg, dense("imd", x), k), await heat(linalg, dense("imd", y), k)];
  let most = 0;
  for (const [i, t] of TIMES.entries()) {
    most = Math.max(most, Math.exp(-2 * (t + 1 / t)) * Math.abs(a[i]! - b[i]!));
  }
  return 1e6 * most;
}

const TIMES = Float64Array.from({ length: 256 }, (_, i) => 10 ** (-1 + (2 * i) / 255));

async function heat(linalg: Linalg, x: Dense, k: number): Promise<Float64Array> {
  const { values } = await eigenSymmetric(await laplacian(linalg, x, k), linalg, {
    vectors: false,
  });
  return TIMES.map((t) => values.reduce((sum, v) => sum + Math.exp(-t * v), 0) / values.length);
}

/** I - D^-1/2 A D^-1/2, A joining neighbours. */
async function laplacian(linalg: Linalg, x: Dense, k: number): Promise<Dense> {
  const n = x.nRows;
  const c = centred(x);
  const squares = squaredDistancesFromGram(await linalg.matmul(c, c, { transposeB: true }));
  const joined = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    const row = squares.subarray(i * n, (i + 1) * n);
    const others = Array.from(row.keys()).filter((j) => j !== i);
    others.sort((p, q) => row[p]! - row[q]! || p - q);
    for (const j of others.slice(0, k)) joined[i * n + j] = joined[j * n + i] = 1;
  }
  const scale = Float64Array.from({ length: n }, (_, i) => {
    let degree = 0;
    for (let j = 0; j < n; j++) degree += joined[i * n + j]!;
    return 1 / Math.sqrt(degree);
  });
  const data = joined.map((v, at) => {
    const [i, j] = [Math.floor(at / n), at % n];
    return (i === j ? 1 : 0) - v * scale[i]! * scale[j]!;
  });
  return { data, nRows: n, nColumns: n };
}
