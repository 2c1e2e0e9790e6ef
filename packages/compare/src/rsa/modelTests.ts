import { ArgumentError, DataError } from "@penfield/core";
import {
  quantile,
  studentTP,
  studentTQuantile,
  studentTSurvival,
  wilcoxonSignedRank,
} from "@penfield/stats";
import type { Evaluation } from "./evaluation.ts";
import { meanOf } from "./noiseCeiling.ts";
import { pairIndex } from "./rdms.ts";

/** What a test of models' scores rests on. */
export type ModelTest = "t" | "bootstrap" | "signed-rank";

/** P-values of models' scores. None is corrected for their number: see benjaminiHochberg and bonferroni of `stats`. */
export interface ModelTestResult {
  readonly test: ModelTest;
  /** Is one model better than another? Two-sided, `[nModels, nModels]`, 1 on the diagonal. */
  readonly pairwise: Float64Array;
  /** Is a model's score above 0? One-sided (signed-rank: two-sided), `[nModels]`. */
  readonly zero: Float64Array;
  /** Does it differ from the lower noise ceiling? (bootstrap: is it below?) `[nModels]`. */
  readonly ceiling: Float64Array;
}

/**
 * Tests models' scores against zero, the noise ceiling and each other.
 *
 *   t            score / sqrt(variance), with the evaluation's degrees of freedom
 *   bootstrap    shares of draws: (count + 1) / N; of a pair 2 min(p, 1 - p) (N - 1) / N + 1 / N
 *   signed-rank  Wilcoxon's over RDMs
 *
 * @param evaluation - Fixed (t, signed-rank) or bootstrapped (t, bootstrap).
 * @param options.test - Default `t`.
 * @param options.compat - `rsatoolbox` takes scipy's default for signed ranks: a normal approximation when a difference is
 *   zero, even of a handful of RDMs. Default `exact`.
 * @returns P-values; NaN where a score is.
 * @throws {DataError} if the evaluation has no variances (t), no draws (bootstrap), or no scores per RDM (signed-rank).
 * @throws {ArgumentError} if the test is unknown.
 *
 * Source: Nili et al. (2014); Schütt et al. (2023), eLife 12:e82566. Matches rsatoolbox.inference.Result.test_all, whose bootstrap
 * form raises.
 *
 * @example
 * const data = rdms([[1, 2, 4], [1, 3, 3.5], [2, 3, 4]]);
 * const result = await evaluateModels(fixedModels(rdms([[1, 2, 3]])), data);
 * testModels(result).zero[0] < 0.001 // => true
 */
export function testModels(
  evaluation: Evaluation,
  { test = "t", compat = "exact" }: { test?: ModelTest; compat?: "exact" | "rsatoolbox" } = {},
): ModelTestResult {
  switch (test) {
    case "t":
      return tTests(evaluation);
    case "bootstrap":
      return bootstrapTests(evaluation);
    case "signed-rank":
      return signedRankTests(evaluation, compat);
    default:
      throw new ArgumentError(`testModels: expected test t, bootstrap or signed-rank, got ${test}`);
  }
}

/** The mean of the lower ceiling: of the dual bootstrap over all its parts, as the reference takes it. */
const lowerCeiling = ({ ceiling }: Evaluation): number =>
  meanOf(ceiling.lower.filter((v) => !Number.isNaN(v)));

function tTests(evaluation: Evaluation): ModelTestResult {
  const { variances, degreesOfFreedom: df, names, means } = evaluation;
  if (!variances || !(df > 0)) {
    throw new DataError(
      `testModels: expected variances for a t-test, got none (${evaluation.design})`,
      { hint: "They need several RDMs, or a bootstrap." },
    );
  }
  const nModels = names.length;
  const t = (difference: number, variance: number) =>
    difference / Math.sqrt(Math.max(variance, Number.EPSILON));
  const twoSided = (value: number) => (Number.isNaN(value) ? value : studentTP(value, df));
  const pairwise = new Float64Array(nModels * nModels).fill(1);
  for (let m = 0; m < nModels; m++) {
    for (let o = m + 1; o < nModels; o++) {
      const variance = variances.differences[pairIndex(nModels, m, o)]!;
      const p = twoSided(t(means[m]! - means[o]!, variance));
      pairwise[m * nModels + o] = p;
      pairwise[o * nModels + m] = p;
    }
  }
  const lower = lowerCeiling(evaluation);
  return {
    test: "t",
    pairwise,
    zero: means.map((mean, m) => {
      const value = t(mean, variances.models[m]!);
      return Number.isNaN(value) ? value : studentTSurvival(value, df);
    }),
    ceiling: means.map((mean, m) => twoSided(t(mean - lower, variances.ceiling[2 * m]!))),
  };
}

function bootstrapTests(evaluation: Evaluation): ModelTestResult {
  const { evaluations, names, nParts, nSamples, ceiling } = evaluation;
  if (nSamples < 2) {
    throw new DataError("testModels: expected bootstrap draws, got scores of none", {
      hint: "Use bootstrapModels or dualBootstrap.",
    });
  }
  const nModels = names.length;
  const used: number[] = [];
  for (let s = 0; s < nSamples; s++) {
    if (!Number.isNaN(evaluations[s * nModels * nParts]!)) used.push(s);
  }
  const n = used.length;
  const score = (s: number, m: number) => evaluations[(s * nModels + m) * nParts]!;
  const perDraw = ceiling.lower.length / nSamples;
  const lower = (s: number) => (perDraw >= 1 ? ceiling.lower[s * perDraw]! : ceiling.lower[0]!);
  const share = (count: number) => Math.min(1, (count + 1) / n);
  const count = (is: (s: number) => boolean) => used.reduce((sum, s) => sum + Number(is(s)), 0);
  const pairwise = new Float64Array(nModels * nModels).fill(1);
  for (let m = 0; m < nModels; m++) {
    for (let o = m + 1; o < nModels; o++) {
      const ties = count((s) => score(s, m) === score(s, o));
      const below = count((s) => score(s, m) < score(s, o)) / Math.max(1, n - ties);
      const p = ties === n ? 1 : (2 * Math.min(below, 1 - below) * (n - 1)) / n + 1 / n;
      pairwise[m * nModels + o] = p;
      pairwise[o * nModels + m] = p;
    }
  }
  return {
    test: "bootstrap",
    pairwise,
    zero: Float64Array.from(names, (_, m) => share(count((s) => score(s, m) <= 0))),
    ceiling: Float64Array.from(names, (_, m) => share(count((s) => lower(s) <= score(s, m)))),
  };
}

function signedRankTests(evaluation: Evaluation, compat: "exact" | "rsatoolbox"): ModelTestResult {
  const { evaluations, names, nParts, design } = evaluation;
  if (design !== "fixed") {
    throw new DataError(`testModels: expected scores per RDM for signed ranks, got ${design}`, {
      hint: "Use evaluateModels.",
    });
  }
  const nModels = names.length;
  const scores = (m: number) => evaluations.subarray(m * nParts, (m + 1) * nParts);
  const p = (differences: Float64Array): number => {
    if (differences.some(Number.isNaN)) return Number.NaN;
    if (differences.every((d) => d === 0)) return 1;
    return wilcoxonSignedRank(differences, { method: compat === "exact" ? "exact" : "scipy" }).p;
  };
  const pairwise = new Float64Array(nModels * nModels).fill(1);
  for (let m = 0; m < nModels; m++) {
    for (let o = m + 1; o < nModels; o++) {
      const other = scores(o);
      const value = p(scores(m).map((v, k) => v - other[k]!));
      pairwise[m * nModels + o] = value;
      pairwise[o * nModels + m] = value;
    }
  }
  const lower = lowerCeiling(evaluation);
  return {
    test: "signed-rank",
    pairwise,
    zero: Float64Array.from(names, (_, m) => p(scores(m))),
    ceiling: Float64Array.from(names, (_, m) => p(scores(m).map((v) => v - lower))),
  };
}

/**
 * Intervals of models' scores.
 *
 *   t           mean -+ t quantile times sqrt(variance)
 *   bootstrap   quantiles of the draws
 *
 * @param evaluation - With variances (t) or draws (bootstrap).
 * @param options.level - Default 0.95.
 * @param options.kind - Default `t`.
 * @returns `low` and `high`, `[nModels]`.
 * @throws {DataError} if there are no variances or draws.
 *
 * @example
 * const data = rdms([[1, 2, 4], [1, 3, 3.5], [2, 3, 4]]);
 * const result = await evaluateModels(fixedModels(rdms([[1, 2, 3]])), data);
 * scoreIntervals(result).low[0] < result.means[0] // => true
 */
export function scoreIntervals(
  evaluation: Evaluation,
  { level = 0.95, kind = "t" }: { level?: number; kind?: "t" | "bootstrap" } = {},
): { readonly low: Float64Array; readonly high: Float64Array } {
  if (!(level > 0 && level < 1)) {
    throw new ArgumentError(`scoreIntervals: expected level between 0 and 1, got ${level}`);
  }
  const { evaluations, names, nParts, nSamples, variances, means } = evaluation;
  const tail = (1 - level) / 2;
  const nModels = names.length;
  if (kind === "bootstrap") {
    if (nSamples < 2) {
      throw new DataError("scoreIntervals: expected bootstrap draws, got scores of none");
    }
    const drawsOf = (m: number) =>
      Float64Array.from(
        { length: nSamples },
        (_, s) => evaluations[(s * nModels + m) * nParts]!,
      ).filter((v) => !Number.isNaN(v));
    const at = (q: number) => Float64Array.from(names, (_, m) => quantile(drawsOf(m), q));
    return { low: at(tail), high: at(1 - tail) };
  }
  if (!variances || !(evaluation.degreesOfFreedom > 0)) {
    throw new DataError(`scoreIntervals: expected variances, got none (${evaluation.design})`);
  }
  const reach = -studentTQuantile(tail, evaluation.degreesOfFreedom);
  const half = variances.models.map((v) => reach * Math.sqrt(Math.max(0, v)));
  return { low: means.map((v, m) => v - half[m]!), high: means.map((v, m) => v + half[m]!) };
}
