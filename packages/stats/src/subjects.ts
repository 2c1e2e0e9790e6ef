import { ArgumentError, createRng, DataError, ShapeError } from "@penfield/core";
import type { BootstrapInterval } from "./bootstrap.ts";
import { checkCount, checkLevel, checkValues } from "./check.ts";
import { mean, quantileOfSorted, standardDeviation } from "./descriptive.ts";
import { signFlipTest, wilcoxonSignedRank } from "./permutation.ts";
import { studentTP, studentTQuantile } from "./special.ts";

/** What subjects have in common, and how sure that is for a subject that was not there. */
export interface SubjectSummary {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
  readonly level: number;
  readonly standardError: number;
  /** Of t with nSubjects - 1 degrees of freedom, two-sided. */
  readonly p: number;
  /** By flipping the signs of subjects, two-sided, exact up to 16. */
  readonly signFlipP: number;
  /** By ranks, two-sided, exact; NaN if every subject is at the null value. */
  readonly wilcoxonP: number;
  /** Standard deviation between subjects. */
  readonly between: number;
  readonly nSubjects: number;
}

/**
 * A score over subjects, taken as drawn from a population: mean, interval, and three tests against a value.
 *
 * @param values - One per subject, at least 2, finite.
 * @param options.null - What chance gives. Default 0.
 * @param options.level - Default 0.95.
 * @returns p is 1 and the interval a point where subjects do not differ from each other and from the null value.
 * @throws {ShapeError} if there are fewer than 2 subjects.
 * @throws {ArgumentError} if a value is not finite or an option is out of range.
 *
 * Source: the subject-level ("summary statistic") form of a random-effects analysis; Holmes & Friston (1998), NeuroImage 7:S754.
 *
 * @example
 * const { mean: m, low, signFlipP } = summarizeSubjects([0.6, 0.7, 0.55, 0.65, 0.6], { null: 0.5 });
 * [m.toFixed(2), low > 0.5, signFlipP].join(" ") // => "0.62 true 0.0625"
 */
export function summarizeSubjects(
  values: ArrayLike<number>,
  { null: nullValue = 0, level = 0.95 }: { null?: number; level?: number } = {},
): SubjectSummary {
  const name = "summarizeSubjects";
  checkValues(name, values, 2, "subjects' values");
  checkValues(name, [nullValue], 1, "null value");
  checkLevel(name, level);
  const n = values.length;
  const centre = mean(values);
  const between = standardDeviation(values);
  const standardError = between / Math.sqrt(n);
  const half = standardError * studentTQuantile((1 + level) / 2, n - 1);
  const differences = Float64Array.from(values, (value) => value - nullValue);
  const isNull = differences.every((d) => d === 0);
  const p =
    between === 0 ? (isNull ? 1 : 0) : studentTP((centre - nullValue) / standardError, n - 1);
  return {
    mean: centre,
    low: centre - half,
    high: centre + half,
    level,
    standardError,
    p,
    signFlipP: signFlipTest(differences).p,
    wilcoxonP: isNull || n > 200 ? Number.NaN : wilcoxonSignedRank(differences).p,
    between,
    nSubjects: n,
  };
}

/** Subjects' estimates brought together, each as sure as it is. */
export interface RandomEffects {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
  readonly level: number;
  readonly standardError: number;
  /** Two-sided, t with n - 1 degrees of freedom. */
  readonly p: number;
  /** Variance between subjects beyond their errors. */
  readonly tauSquared: number;
  /** The share of the variance of estimates that is between subjects, 0..1. */
  readonly iSquared: number;
  /** What each subject counts, summing to 1. */
  readonly weights: Float64Array;
}

/**
 * The mean of estimates with known standard errors, when subjects differ by more than their errors.
 *
 *   w_i = 1 / (se_i^2 + tau^2),  tau^2 by DerSimonian and Laird, interval by Hartung and Knapp
 *
 * @param estimates - One per subject, at least 2, finite.
 * @param standardErrors - One per subject, above 0.
 * @param options.level - Default 0.95.
 * @throws {ShapeError} if sizes differ or there are fewer than 2 subjects.
 * @throws {ArgumentError} if a value is not finite or a standard error not above 0.
 *
 * Source: DerSimonian & Laird (1986), Controlled Clinical Trials 7:177; Hartung & Knapp (2001), Statistics in Medicine 20:3875.
 *
 * @example
 * const { mean: m, tauSquared } = randomEffects([1, 2, 3], [1, 1, 1]);
 * [m, tauSquared].map((v) => v.toFixed(2)).join(" ") // => "2.00 0.00"
 */
export function randomEffects(
  estimates: ArrayLike<number>,
  standardErrors: ArrayLike<number>,
  { level = 0.95 }: { level?: number } = {},
): RandomEffects {
  const name = "randomEffects";
  checkValues(name, estimates, 2, "estimates");
  if (standardErrors.length !== estimates.length) {
    throw new ShapeError(
      `${name}: expected ${estimates.length} standard errors, got ${standardErrors.length}`,
    );
  }
  for (let i = 0; i < standardErrors.length; i++) {
    if (standardErrors[i]! > 0 && Number.isFinite(standardErrors[i])) continue;
    throw new ArgumentError(
      `${name}: expected standard errors above 0, got ${standardErrors[i]} at ${i}`,
    );
  }
  checkLevel(name, level);
  const n = estimates.length;
  const variances = Float64Array.from(standardErrors, (se) => se * se);
  const weighted = (weights: Float64Array): number => {
    let sum = 0;
    let total = 0;
    weights.forEach((w, i) => {
      sum += w * estimates[i]!;
      total += w;
    });
    return sum / total;
  };
  const fixed = variances.map((v) => 1 / v);
  const fixedMean = weighted(fixed);
  const total = fixed.reduce((a, b) => a + b, 0);
  const squares = fixed.reduce((a, b) => a + b * b, 0);
  const q = fixed.reduce((sum, w, i) => sum + w * (estimates[i]! - fixedMean) ** 2, 0);
  const tauSquared = Math.max(0, (q - (n - 1)) / (total - squares / total));
  const raw = variances.map((v) => 1 / (v + tauSquared));
  const sum = raw.reduce((a, b) => a + b, 0);
  const centre = weighted(raw);
  const spread = raw.reduce((s, w, i) => s + w * (estimates[i]! - centre) ** 2, 0);
  const standardError = Math.sqrt(spread / ((n - 1) * sum));
  const half = standardError * studentTQuantile((1 + level) / 2, n - 1);
  return {
    mean: centre,
    low: centre - half,
    high: centre + half,
    level,
    standardError,
    p: standardError === 0 ? (centre === 0 ? 1 : 0) : studentTP(centre / standardError, n - 1),
    tauSquared,
    iSquared: q > n - 1 ? (q - (n - 1)) / q : 0,
    weights: raw.map((w) => w / sum),
  };
}

/**
 * How sure an estimate is for other subjects and other stimuli at once: both are resampled in every draw.
 *
 * @param options.nSubjects - At least 2.
 * @param options.nStimuli - At least 2.
 * @param options.statistic - Takes indices of subjects and of stimuli, with repetitions.
 * @param options.nDraws - Default 2000.
 * @param options.level - Default 0.95.
 * @param options.seed - Default 0.
 * @returns Wider than the truth by what both kinds of noise share: it errs on the safe side.
 * @throws {ArgumentError} if an option is out of range.
 * @throws {DataError} if the statistic is not finite as the data are, or NaN in more than half of the draws.
 *
 * Cost: nDraws + 1 calls of the statistic.
 * Source: Owen (2007), Annals of Applied Statistics 1:386 (the pigeonhole bootstrap).
 *
 * @example
 * const scores = [[1, 2, 3], [2, 3, 4], [3, 4, 5]];
 * const interval = jointBootstrap({
 *   nSubjects: 3, nStimuli: 3,
 *   statistic: (subjects, stimuli) => mean(Array.from(subjects, (s) => mean(Array.from(stimuli, (i) => scores[s][i])))),
 * });
 * [interval.estimate, interval.low < 3, interval.high > 3] // => [3, true, true]
 */
export function jointBootstrap({
  nSubjects,
  nStimuli,
  statistic,
  nDraws = 2000,
  level = 0.95,
  seed = 0,
}: {
  nSubjects: number;
  nStimuli: number;
  statistic: (subjects: Int32Array, stimuli: Int32Array) => number;
  nDraws?: number | undefined;
  level?: number | undefined;
  seed?: number | undefined;
}): BootstrapInterval {
  const name = "jointBootstrap";
  checkCount(name, "nSubjects", nSubjects, 2);
  checkCount(name, "nStimuli", nStimuli, 2);
  checkCount(name, "nDraws", nDraws, 1);
  checkLevel(name, level);
  const all = (n: number): Int32Array => Int32Array.from({ length: n }, (_, i) => i);
  const estimate = statistic(all(nSubjects), all(nStimuli));
  if (!Number.isFinite(estimate)) {
    throw new DataError(`${name}: expected a finite statistic of all data, got ${estimate}`);
  }
  const rng = createRng(seed);
  const draw = (n: number): Int32Array => Int32Array.from({ length: n }, () => rng.below(n));
  const defined: number[] = [];
  for (let i = 0; i < nDraws; i++) {
    const value = statistic(draw(nSubjects), draw(nStimuli));
    if (!Number.isNaN(value)) defined.push(value);
  }
  if (defined.length * 2 < nDraws) {
    throw new DataError(
      `${name}: expected a statistic that resamples can carry, got NaN in ${nDraws - defined.length} of ${nDraws} draws`,
    );
  }
  const sorted = Float64Array.from(defined).sort();
  return {
    estimate,
    low: quantileOfSorted(sorted, (1 - level) / 2),
    high: quantileOfSorted(sorted, (1 + level) / 2),
    level,
    standardError: sorted.length > 1 ? standardDeviation(sorted) : Number.NaN,
    nDraws,
    nUndefined: nDraws - sorted.length,
    method: "percentile",
  };
}
