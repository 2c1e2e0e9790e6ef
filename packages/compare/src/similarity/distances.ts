import type { Activations } from "@penfield/core";
import { eigenSymmetric, type Linalg } from "@penfield/linalg";
import { centred, type Dense, inner, norm, pairOf, squaredDistancesFromGram } from "./pair.ts";

/** Squared Euclidean distances of all rows, `[n, n]`. */
async function squaredDistances(linalg: Linalg, x: Dense): Promise<Float64Array> {
  const c = centred(x);
  return squaredDistancesFromGram(await linalg.matmul(c, c, { transposeB: true }));
}

/**
 * Distance correlation: zero only if two representations are independent, of any number of units.
 *
 *   sqrt(<A, B> / sqrt(<A, A> <B, B>)),  A and B double-centred matrices of Euclidean distances
 *
 * @param x - `[n, p]`, finite.
 * @param y - `[n, q]`, the same stimuli.
 * @returns 0 to 1; NaN if a representation does not vary. Biased upwards with few stimuli.
 * @throws {ShapeError} if the stimuli differ or are fewer than 2.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: 2 n^2 (p + q) operations and two n x n matrices. Source: Szekely, Rizzo & Bakirov (2007), Annals of Statistics 35.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1], [2], [4]]);
 * (await distanceCorrelation(linalg, x, activations([[2], [4], [8]]))).toFixed(9) // => "1.000000000"
 */
export async function distanceCorrelation(
  linalg: Linalg,
  x: Activations,
  y: Activations,
): Promise<number> {
  const { x: a, y: b, n } = pairOf("distanceCorrelation", x, y);
  const k = doubleCentred((await squaredDistances(linalg, a)).map(Math.sqrt), n);
  const l = doubleCentred((await squaredDistances(linalg, b)).map(Math.sqrt), n);
  const [kk, ll] = [norm(k), norm(l)];
  if (kk === 0 || ll === 0) return Number.NaN;
  return Math.sqrt(Math.max(0, inner(k, l)) / kk / ll);
}

/** Row and column means taken off. In place. */
function doubleCentred(d: Float64Array, n: number): Float64Array {
  const rows = new Float64Array(n);
  let all = 0;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) rows[i]! += d[i * n + j]! / n;
    all += rows[i]! / n;
  }
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) d[i * n + j]! -= rows[i]! + rows[j]! - all;
  }
  return d;
}

/**
 * How far the matrices of Euclidean distances are apart, by the spectral norm.
 *
 * @returns At least 0, in the units of the activations.
 * @throws {ShapeError} if the stimuli differ or are fewer than 2.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: two n x n matrices and the eigenvalues of one. Source: Yin & Shen (2018); matches ReSi's RSMNormDifference.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * (await rsmNormDifference(linalg, activations([[0], [3]]), activations([[0], [1]]))).toFixed(9) // => "2.000000000"
 */
export async function rsmNormDifference(
  linalg: Linalg,
  x: Activations,
  y: Activations,
): Promise<number> {
  const { x: a, y: b, n } = pairOf("rsmNormDifference", x, y);
  const k = await squaredDistances(linalg, a);
  const l = await squaredDistances(linalg, b);
  const difference = k.map((d, i) => Math.sqrt(d) - Math.sqrt(l[i]!));
  const { values } = await eigenSymmetric({ data: difference, nRows: n, nColumns: n }, linalg, {
    vectors: false,
  });
  return Math.max(Math.abs(values[0]!), Math.abs(values[n - 1]!));
}

/**
 * The difference of the lengths of the mean patterns.
 *
 *   | |mean_i x_i| - |mean_i y_i| |
 *
 * @throws As {@link rsmNormDifference}.
 *
 * Cost: one pass. Source: Klabunde et al. (2023), "Similarity of neural network models: a survey". Matches ReSi's MagnitudeDifference.
 *
 * @example
 * magnitudeDifference(activations([[1, 0], [3, 0]]), activations([[0], [1]])) // => 1.5
 */
export function magnitudeDifference(x: Activations, y: Activations): number {
  const pair = pairOf("magnitudeDifference", x, y, 1);
  const size = (m: Dense) => norm(plainMeans(m));
  return Math.abs(size(pair.x) - size(pair.y));
}

function plainMeans({ data, nRows, nColumns }: Dense): Float64Array {
  const means = new Float64Array(nColumns);
  for (let i = 0; i < nRows; i++) {
    for (let j = 0; j < nColumns; j++) means[j]! += data[i * nColumns + j]! / nRows;
  }
  return means;
}

/**
 * The difference of uniformity: how evenly patterns are spread.
 *
 *   |u(X) - u(Y)|,  u = log(mean over all n^2 pairs of exp(-2 |x_i - x_j|^2))
 *
 * @throws As {@link rsmNormDifference}.
 *
 * Cost: two n x n matrices. Source: Wang & Isola (2020), ICML. Matches ReSi's UniformityDifference.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * await uniformityDifference(linalg, activations([[1], [1]]), activations([[2], [2]])) // => 0
 */
export async function uniformityDifference(
  linalg: Linalg,
  x: Activations,
  y: Activations,
): Promise<number> {
  const pair = pairOf("uniformityDifference", x, y, 1);
  const uniformity = async (m: Dense): Promise<number> => {
    const d = await squaredDistances(linalg, m);
    let sum = 0;
    for (const value of d) sum += Math.exp(-2 * value);
    return Math.log(sum / d.length);
  };
  return Math.abs((await uniformity(pair.x)) - (await uniformity(pair.y)));
}

/**
 * The difference of concentricity: how much patterns point the way their mean does.
 *
 *   |mean_i cos(x_i, mean x) - mean_i cos(y_i, mean y)|
 *
 * @returns A pattern that is all zeros counts as cosine 0. NaN if a mean is all zeros.
 * @throws As {@link rsmNormDifference}.
 *
 * Cost: one pass. Source: Klabunde et al. (2023), "Similarity of neural network models: a survey". Matches ReSi's ConcentricityDifference.
 *
 * @example
 * concentricityDifference(activations([[1, 0], [3, 0]]), activations([[2], [1]])) // => 0
 */
export function concentricityDifference(x: Activations, y: Activations): number {
  const pair = pairOf("concentricityDifference", x, y, 1);
  const concentricity = (m: Dense): number => {
    const means = plainMeans(m);
    const size = norm(means);
    let sum = 0;
    for (let i = 0; i < m.nRows; i++) {
      const row = m.data.subarray(i * m.nColumns, (i + 1) * m.nColumns);
      const length = norm(row);
      if (length > 0) sum += inner(row, means) / (length * size);
    }
    return sum / m.nRows;
  };
  return Math.abs(concentricity(pair.x) - concentricity(pair.y));
}
