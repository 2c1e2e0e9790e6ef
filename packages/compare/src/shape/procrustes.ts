import type { Activations } from "@penfield/core";
import { type Linalg, nuclearNorm, polarFactor } from "@penfield/linalg";
import { assignment } from "../similarity/assignment.ts";
import { centred, type Dense, inner, norm, padded, pairOf } from "../similarity/pair.ts";
import { shapeDistance } from "./shapeMetric.ts";

export interface ProcrustesOptions {
  /** Take off the means of units. Default true. */
  readonly center?: boolean | undefined;
  /** Divide each representation by its Frobenius norm, so that sizes do not matter. Default false. */
  readonly normalize?: boolean | undefined;
}

/**
 * Procrustes distance: what is left when one representation is rotated onto the other.
 *
 *   d^2 = |X|_F^2 + |Y|_F^2 - 2 |X^T Y|_*,  |.|_* the sum of singular values
 *
 * @param x - `[n, p]`, finite.
 * @param y - `[n, q]`, the same stimuli; fewer units are filled up with zeros.
 * @returns At least 0 (with normalize at most sqrt(2)); NaN with normalize if a representation does not vary.
 * @throws {ShapeError} if the stimuli differ or are fewer than 2.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: one product and the singular values of `[p, q]`. Source: Schonemann (1966), Psychometrika 31; Ding, Denain & Steinhardt (2021), NeurIPS.
 * Matches ReSi's OrthogonalProcrustes (center false), ProcrustesSizeAndShape, OrthogonalProcrustesCenteredAndNormalized.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [0, 1], [-1, -1], [2, 1]]);
 * (await procrustes(linalg, x, activations([[0, 1], [1, 0], [-1, -1], [1, 2]]))) < 1e-9 // => true
 */
export async function procrustes(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  { center = true, normalize = false }: ProcrustesOptions = {},
): Promise<number> {
  if (!normalize) return shapeDistance(linalg, x, y, { center, score: "euclidean" });
  // Of unit shapes the chord follows from the angle.
  const angular = await shapeDistance(linalg, x, y, { center, score: "angular" });
  return 2 * Math.sin(angular / 2);
}

/**
 * Normalized Bures similarity: the cosine of the angle that the angular shape distance is.
 *
 *   NBS = |X^T Y|_* / (|X|_F |Y|_F),  columns centred
 *
 * @returns 0 to 1; NaN if a representation does not vary.
 * @throws As {@link procrustes}.
 *
 * Cost: as {@link procrustes}. Source: Tang et al. (2020), arXiv:2003.11370; Harvey et al. (2024), "Duality of Bures and shape distances".
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [0, 1], [-1, -1], [2, 1]]);
 * (await normalizedBuresSimilarity(linalg, x, x)).toFixed(9) // => "1.000000000"
 */
export async function normalizedBuresSimilarity(
  linalg: Linalg,
  x: Activations,
  y: Activations,
): Promise<number> {
  const pair = pairOf("normalizedBuresSimilarity", x, y);
  const [a, b] = [centred(pair.x), centred(pair.y)];
  const [p, q] = [norm(a.data), norm(b.data)];
  if (p <= 1e-14 * norm(pair.x.data) || q <= 1e-14 * norm(pair.y.data)) return Number.NaN;
  const aligned = await nuclearNorm(await linalg.matmul(a, b, { transposeA: true }), linalg);
  return Math.min(1, aligned / p / q);
}

/**
 * What is left when units are reordered to match, without rotation.
 *
 * @param options.center - Take off the means of units first. Default false, as in ReSi.
 * @throws As {@link procrustes}.
 *
 * Cost: one product and a linear assignment. Source: Williams et al. (2021), NeurIPS. Matches ReSi's PermutationProcrustes.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * await permutationProcrustes(linalg, activations([[1, 2], [3, 5]]), activations([[2, 1], [5, 3]])) // => 0
 */
export async function permutationProcrustes(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  { center = false }: { center?: boolean | undefined } = {},
): Promise<number> {
  return shapeDistance(linalg, x, y, { group: "permutation", center, score: "euclidean" });
}

/**
 * The mean cosine of the patterns of each stimulus after rotating one representation onto the other
 * (without centring).
 *
 * @param options.group - Rotate ("orthogonal", default) or reorder ("permutation").
 * @returns -1 to 1; stimuli whose pattern is all zeros are left out, NaN if none is left.
 * @throws As {@link procrustes}.
 *
 * Cost: one product and a polar factor. Source: Hamilton et al. (2016), ACL. Matches ReSi's AlignedCosineSimilarity.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [0, 1], [-1, -1], [2, 1]]);
 * (await alignedCosine(linalg, x, x)).toFixed(9) // => "1.000000000"
 */
export async function alignedCosine(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  { group = "orthogonal" }: { group?: "orthogonal" | "permutation" | undefined } = {},
): Promise<number> {
  const pair = pairOf("alignedCosine", x, y, 1);
  const m = Math.max(pair.x.nColumns, pair.y.nColumns);
  const [a, b] = [padded(pair.x, m), padded(pair.y, m)];
  if (norm(a.data) === 0 || norm(b.data) === 0) return Number.NaN;
  const cross = await linalg.matmul(a, b, { transposeA: true });
  const turned =
    group === "orthogonal"
      ? await linalg.matmul(a, await polarFactor(cross, linalg))
      : moved(a, assignment(cross, { maximize: true }).columns);
  let sum = 0;
  let nUsed = 0;
  for (let i = 0; i < pair.n; i++) {
    const row = (d: Dense) => d.data.subarray(i * m, (i + 1) * m);
    const [p, q] = [row(turned), row(b)];
    const sizes = [norm(row(a)), norm(q)] as const;
    if (sizes[0] === 0 || sizes[1] === 0) continue;
    nUsed++;
    sum += inner(p, q) / (norm(p) * sizes[1]);
  }
  return nUsed === 0 ? Number.NaN : sum / nUsed;
}

function moved(x: Dense, columns: Int32Array): Dense {
  const m = x.nColumns;
  const data = new Float64Array(x.data.length);
  for (let i = 0; i < x.nRows; i++) {
    for (let j = 0; j < m; j++) data[i * m + columns[j]!] = x.data[i * m + j]!;
  }
  return { ...x, data };
}
