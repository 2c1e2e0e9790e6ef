import type { Linalg } from "@penfield/linalg";
import { rankData } from "@penfield/stats";
import {
  type CompareOptions,
  checkComparison,
  compareRdms,
  type RdmComparison,
} from "./compareRdms.ts";
import { groupsOf } from "./observations.ts";
import { withLinalg } from "./products.ts";
import { type Label, labelsOf, makeRdms, type Rdms, rdmRow, takeRdms } from "./rdms.ts";

/** Between which values the true model's score is expected to lie. */
export interface NoiseCeiling {
  /** The mean similarity of each subject's RDM with the pooled RDM of the others. */
  readonly lower: number;
  /** With the pooled RDM of all: more than any model can expect, for it has seen the data. */
  readonly upper: number;
}

/**
 * The average of RDMs that is most similar to them all, for a comparison.
 *
 *   cosine, whitened-cosine     mean of d / sqrt(mean d^2)
 *   pearson, whitened-pearson   mean of (d - mean) / sd, less its minimum
 *   rank correlations           mean of ranks
 *   others                      mean
 *
 * @param from - RDMs; NaN are left out of the moments of their RDM. A pair that the first RDM lacks is NaN.
 * @param method - For which comparison.
 * @returns One RDM. It is optimal for cosine, pearson, spearman and rho-a; for Kendall's, bures and whitened ones a good one.
 *
 * Source: Nili et al. (2014), PLoS Comput Biol 10:e1003553. Matches rsatoolbox.util.inference_util.pool_rdm.
 *
 * @example
 * poolRdms(rdms([[1, 2, 3], [2, 4, 6]]), "pearson").data.map((v) => Math.round(v * 100) / 100).join(" ") // => "0 1.22 2.45"
 */
export function poolRdms(from: Rdms, method: RdmComparison): Rdms {
  checkComparison("poolRdms", method);
  const { nRdms, nPairs } = from;
  const sum = new Float64Array(nPairs);
  for (let k = 0; k < nRdms; k++) {
    const row = normalized(rdmRow(from, k), method);
    for (let p = 0; p < nPairs; p++) sum[p]! += row[p]!;
  }
  for (let p = 0; p < nPairs; p++) sum[p]! /= nRdms;
  if (method === "pearson" || method === "whitened-pearson") {
    let least = Infinity;
    for (const v of sum) if (v < least) least = v;
    for (let p = 0; p < nPairs; p++) sum[p]! -= least;
  }
  return makeRdms(sum, 1, { ...labelsOf(from), names: ["pooled"] });
}

function normalized(row: Float64Array, method: RdmComparison): Float64Array {
  const present = row.filter((v) => !Number.isNaN(v));
  switch (method) {
    case "cosine":
    case "whitened-cosine": {
      const scale = Math.sqrt(present.reduce((sum, v) => sum + v * v, 0) / present.length);
      return row.map((v) => v / scale);
    }
    case "pearson":
    case "whitened-pearson": {
      const mean = present.reduce((sum, v) => sum + v, 0) / present.length;
      const square = present.reduce((sum, v) => sum + (v - mean) ** 2, 0) / present.length;
      return row.map((v) => (v - mean) / Math.sqrt(square));
    }
    case "spearman":
    case "rho-a":
    case "tau-a":
    case "tau-b": {
      const ranks = rankData(present);
      let at = 0;
      return row.map((v) => (Number.isNaN(v) ? v : ranks[at++]!));
    }
    default:
      return row;
  }
}

/** How a noise ceiling is computed. */
export interface NoiseCeilingOptions extends CompareOptions {
  /** Whose RDM each is, `[nRdms]`: a subject's are left out together. Default: each its own. */
  readonly subjects?: ArrayLike<Label> | undefined;
}

/**
 * The noise ceiling of RDMs of several subjects: how well the best possible model could do.
 *
 * @param data - RDMs of the same conditions.
 * @param options - The comparison, and whose RDM each is.
 * @returns Both bounds; NaN if an RDM is all zero (cosine) or constant (pearson). With a single subject both are its similarity
 *   with itself and say nothing.
 * @throws As {@link compareRdms}.
 *
 * Cost: one comparison with each pool.
 * Source: Nili et al. (2014), PLoS Comput Biol 10:e1003553. Matches rsatoolbox.inference.boot_noise_ceiling.
 *
 * @example
 * const data = rdms([[1, 2, 4], [1, 3, 3], [2, 3, 4]]);
 * const { lower, upper } = await noiseCeiling(data);
 * [lower, upper].map((v) => v.toFixed(3)).join(" ") // => "0.900 0.955"
 */
export function noiseCeiling(data: Rdms, options: NoiseCeilingOptions = {}): Promise<NoiseCeiling> {
  const { index, labels } = groupsOf("noiseCeiling", "subjects", options.subjects, data.nRdms);
  return withLinalg(options.linalg, (linalg) =>
    ceilingOf(linalg, data, index, labels.length, options),
  );
}

export async function ceilingOf(
  linalg: Linalg,
  data: Rdms,
  subjects: ArrayLike<number>,
  nSubjects: number,
  options: CompareOptions,
): Promise<NoiseCeiling> {
  const { method = "pearson" } = options;
  const all = poolRdms(data, method);
  const scores = async (pool: Rdms, of: Rdms): Promise<number> =>
    // An RDM without variation has no place in a pool, and leaves none.
    pool.data.every(Number.isNaN)
      ? Number.NaN
      : meanOf((await compareRdms(pool, of, { ...options, linalg })).data);
  if (nSubjects < 2) {
    const both = await scores(all, data);
    return { lower: both, upper: both };
  }
  let lower = 0;
  let upper = 0;
  for (let s = 0; s < nSubjects; s++) {
    const own: number[] = [];
    const others: number[] = [];
    for (let k = 0; k < data.nRdms; k++) (subjects[k] === s ? own : others).push(k);
    const left = takeRdms(data, own);
    lower += (await scores(poolRdms(takeRdms(data, others), method), left)) / nSubjects;
    upper += (await scores(all, left)) / nSubjects;
  }
  return { lower, upper };
}

export const meanOf = (values: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum / values.length;
};
