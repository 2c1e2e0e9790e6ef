import type { Label } from "./rdms.ts";

/** How scores were resampled. */
export type EvaluationDesign =
  | "fixed"
  | "bootstrap-conditions"
  | "bootstrap-rdms"
  | "bootstrap"
  | "dual-bootstrap"
  | "cross-validation"
  | "bootstrap-cross-validation";

/** Scores of models, with what is needed to test them. */
export interface Evaluation {
  readonly design: EvaluationDesign;
  readonly method: string;
  /** Of the models. */
  readonly names: readonly Label[];
  /**
   * `[nSamples, nModels, nParts]`: parts are RDMs (fixed), folds (cross-validation), 1 (bootstraps) or, of the dual
   * bootstrap, both, RDMs alone, conditions alone. NaN for a draw that cannot be scored.
   */
  readonly evaluations: Float64Array;
  readonly nSamples: number;
  readonly nParts: number;
  /** The mean score of each model over samples and parts, `[nModels]`. */
  readonly means: Float64Array;
  /** Lower and upper noise ceiling, `[nSamples, nCeilingParts]` each; of fixed models one number. */
  readonly ceiling: { readonly lower: Float64Array; readonly upper: Float64Array };
  /** Undefined where there is nothing to estimate it from (one RDM, or cross-validation alone). */
  readonly variances: ModelVariances | undefined;
  readonly degreesOfFreedom: number;
  /** Draws that could not be scored: fewer than three different conditions. */
  readonly nUndefined: number;
}

/** How sure scores are. */
export interface ModelVariances {
  /**
   * Covariances of the models' scores, then of lower and upper ceiling if `withCeiling`, `[size, size]`; of the dual bootstrap three.
   */
  readonly covariances: readonly Float64Array[];
  readonly size: number;
  readonly withCeiling: boolean;
  /** Variance of each model's score, `[nModels]`. */
  readonly models: Float64Array;
  /** Of the difference of each pair of models, condensed, `[nModels (nModels - 1) / 2]`. */
  readonly differences: Float64Array;
  /** Of the difference to the lower and to the upper ceiling, `[nModels, 2]`. */
  readonly ceiling: Float64Array;
}

/** Covariances (n - ddof in the denominator) of columns, `[n, k]`; NaN with fewer than ddof + 1 rows. */
export function covarianceOf(
  rows: readonly ArrayLike<number>[],
  k: number,
  ddof: number,
): Float64Array {
  const n = rows.length;
  if (n <= ddof) return new Float64Array(k * k).fill(Number.NaN);
  const means = new Float64Array(k);
  for (const row of rows) for (let i = 0; i < k; i++) means[i]! += row[i]! / n;
  const out = new Float64Array(k * k);
  for (const row of rows) {
    for (let i = 0; i < k; i++) {
      for (let j = 0; j < k; j++) out[i * k + j]! += (row[i]! - means[i]!) * (row[j]! - means[j]!);
    }
  }
  return out.map((v) => v / (n - ddof));
}

/** How many RDMs and conditions the resampling was over; undefined if not over them. */
export interface Sources {
  readonly nRdms?: number | undefined;
  readonly nConditions?: number | undefined;
}

/**
 * Variances of scores, of their differences, and of those to the ceiling, from covariances over draws. A bootstrap of n
 * things underestimates by (n - 1) / n, which is corrected; over both, by the smaller n, or (three covariances: both, RDMs alone,
 * conditions alone) by
 *
 *   v = nr / (nr - 1) V1 + nc / (nc - 1) V2 - nr nc / ((nr - 1)(nc - 1)) (V0 - V1 - V2),
 *
 * at least each of the two corrected alone, at most V0.
 *
 * Source: Schütt et al. (2023), eLife 12:e82566. Matches rsatoolbox.util.inference_util.extract_variances.
 */
export function modelVariances(
  covariances: readonly Float64Array[],
  nModels: number,
  withCeiling: boolean,
  { nRdms, nConditions }: Sources,
): ModelVariances {
  const size = withCeiling ? nModels + 2 : nModels;
  const combine = (of: (v: Float64Array) => number): number => {
    const values = covariances.map(of);
    if (values.length === 3) return dual(values as [number, number, number], nRdms!, nConditions!);
    const n = Math.min(nRdms ?? Infinity, nConditions ?? Infinity);
    if (n < 2) return Number.NaN;
    return Number.isFinite(n) ? (n / (n - 1)) * values[0]! : values[0]!;
  };
  const variance = (v: Float64Array, i: number, j: number): number =>
    v[i * size + i]! + v[j * size + j]! - 2 * v[i * size + j]!;
  const models = Float64Array.from({ length: nModels }, (_, m) => combine((v) => v[m * size + m]!));
  const differences: number[] = [];
  const ceiling: number[] = [];
  for (let m = 0; m < nModels; m++) {
    for (let o = m + 1; o < nModels; o++) differences.push(combine((v) => variance(v, m, o)));
    for (const bound of [nModels, nModels + 1]) {
      ceiling.push(combine((v) => (withCeiling ? variance(v, m, bound) : v[m * size + m]!)));
    }
  }
  return {
    covariances,
    size,
    withCeiling,
    models,
    differences: Float64Array.from(differences),
    ceiling: Float64Array.from(ceiling),
  };
}

function dual([both, rdms, conditions]: [number, number, number], nr: number, nc: number): number {
  const byRdms = (nr / (nr - 1)) * rdms;
  const byConditions = (nc / (nc - 1)) * conditions;
  const joint = ((nc * nr) / (nc - 1) / (nr - 1)) * (both - rdms - conditions);
  return Math.min(both, Math.max(byRdms + byConditions - joint, byRdms, byConditions));
}
