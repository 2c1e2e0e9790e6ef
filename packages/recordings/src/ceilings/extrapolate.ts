import { ArgumentError, createRng, DataError, type Rng } from "@penfield/core";
import { quantile } from "@penfield/stats";

/** The curve on which scores grow with the number of subjects. */
export interface SaturationFit {
  /** Where it ends, within 0..1. */
  readonly limit: number;
  /** After how many subjects it has come within 1 / e of that. */
  readonly scale: number;
}

/** Points of the grid on which the scale is searched, and how far it reaches beyond the data. */
const GRID_POINTS = 240;
const GRID_REACH = 1e3;

/**
 * Fits v(x) = limit (1 - exp(-x / scale)) to scores by least squares, with limit within 0..1 and scale above 0.
 *
 * @param x - [n], above 0: numbers of subjects.
 * @param y - [n]: scores.
 * @returns For scores that are all 0 or below, limit 0 and scale NaN, which is then nothing.
 * @throws {DataError} if there are fewer than two different x, or a value is not finite.
 *
 * For each scale the best limit is known; the scale is searched on a grid of its logarithm, then by golden sections.
 * Source: `ExtrapolationCeiling` of Brain-Score. Gives the optimum of scipy.optimize.curve_fit with these bounds.
 *
 * @example
 * const x = [2, 4, 6, 8];
 * fitSaturation(x, x.map((n) => 0.6 * (1 - Math.exp(-n / 3)))).limit.toFixed(6) // => "0.600000"
 */
export function fitSaturation(x: ArrayLike<number>, y: ArrayLike<number>): SaturationFit {
  const given = Array.from(x);
  const bad =
    given.length !== y.length || given.some((value) => !(value > 0 && Number.isFinite(value)));
  if (bad || new Set(given).size < 2 || !Array.from(y).every(Number.isFinite)) {
    throw new DataError(
      `fitSaturation: expected at least two different numbers above 0 and a finite score for each, got ${given.join(", ")} and ${Array.from(y).join(", ")}`,
    );
  }
  return planFit(given)(y);
}

/** A fit to any scores at the same x; what does not depend on the scores is computed once. */
function planFit(x: readonly number[]): (y: ArrayLike<number>) => SaturationFit {
  const low = Math.log(Math.min(...x) / GRID_REACH);
  const high = Math.log(Math.max(...x) * GRID_REACH);
  const step = (high - low) / (GRID_POINTS - 1);
  const curveAt = (log: number) => x.map((n) => -Math.expm1(-n / Math.exp(log)));
  const grid = Array.from({ length: GRID_POINTS }, (_, i) => curveAt(low + i * step));
  return (y) => {
    const fit = (curve: readonly number[]): readonly [limit: number, error: number] => {
      let ff = 0;
      let fy = 0;
      curve.forEach((f, i) => {
        ff += f * f;
        fy += f * y[i]!;
      });
      const limit = Math.min(1, Math.max(0, fy / ff));
      let error = 0;
      curve.forEach((f, i) => {
        error += (y[i]! - limit * f) ** 2;
      });
      return [limit, error];
    };
    let best = 0;
    let least = Number.POSITIVE_INFINITY;
    grid.forEach((curve, i) => {
      const [, error] = fit(curve);
      if (error < least) [best, least] = [i, error];
    });
    const log = goldenSection(
      (at) => fit(curveAt(at))[1],
      low + (best - 1) * step,
      low + (best + 1) * step,
    );
    const [limit] = fit(curveAt(log));
    return { limit, scale: limit === 0 ? Number.NaN : Math.exp(log) };
  };
}

/** Where a function with one valley is least. */
function goldenSection(f: (x: number) => number, from: number, to: number): number {
  const ratio = (Math.sqrt(5) - 1) / 2;
  let [a, b] = [from, to];
  let [c, d] = [b - ratio * (b - a), a + ratio * (b - a)];
  let [fc, fd] = [f(c), f(d)];
  while (b - a > 1e-9) {
    if (fc <= fd) {
      [b, d, fd] = [d, c, fc];
      c = b - ratio * (b - a);
      fc = f(c);
    } else {
      [a, c, fc] = [c, d, fd];
      d = a + ratio * (b - a);
      fd = f(d);
    }
  }
  return (a + b) / 2;
}

/** Scores of targets from a number of subjects. */
export interface SubjectScores {
  /** How many subjects took part, the one predicted included. */
  readonly nSubjects: number;
  /** [nTargets]; NaN for targets of other subjects. */
  readonly scores: ArrayLike<number>;
}

/** Ceilings for endless subjects. */
export interface ExtrapolatedCeiling {
  /** Median of the limits of the bootstraps; NaN where no curve could be fitted. [nTargets]. */
  readonly ceiling: Float64Array;
  /** 2.5 % and 97.5 % of the limits. [nTargets]. */
  readonly low: Float64Array;
  readonly high: Float64Array;
  /**
   * The number of subjects from which one more adds less than 0.0005, on the curve of the median parameters.
   * [nTargets].
   */
  readonly endpoint: Float64Array;
  /** Over targets that have one. */
  readonly median: number;
  readonly nUndefined: number;
  readonly nBootstraps: number;
  /** Why no target has a ceiling, in words; undefined if some have one. */
  readonly undefinedReason: string | undefined;
}

/**
 * The score that endless subjects would give, from the scores of few and fewer of them.
 *
 * For each target and bootstrap: the scores of each number of subjects are drawn again with replacement and averaged,
 * and {@link fitSaturation} gives the limit.
 *
 * @param points - From `interSubjectScores`, or scores of your own.
 * @param options.nBootstraps - Default 100.
 * @param options.seed - Default 0.
 * @throws {ArgumentError} if nBootstraps is not a positive whole number.
 * @throws {DataError} if there are no points, or they differ in their number of targets.
 *
 * Cost: about 3000 operations per target, bootstrap and number of subjects.
 * Source: Schrimpf et al. (2021), PNAS 118:e2105646118; `ExtrapolationCeiling` of Brain-Score (100 bootstraps, limit
 * within 0..1, the median limit). It takes its endpoint from the median curve, we from the median parameters.
 *
 * @example
 * const points = [2, 3, 4, 5].map((n) => ({ nSubjects: n, scores: [0.5 * (1 - Math.exp(-n / 2))] }));
 * extrapolateCeiling(points, { nBootstraps: 5 }).median.toFixed(3) // => "0.500"
 */
export function extrapolateCeiling(
  points: readonly SubjectScores[],
  { nBootstraps = 100, seed = 0 }: { nBootstraps?: number; seed?: number } = {},
): ExtrapolatedCeiling {
  if (!Number.isInteger(nBootstraps) || nBootstraps < 1) {
    throw new ArgumentError(
      `extrapolateCeiling: expected a positive whole number of bootstraps, got ${nBootstraps}`,
    );
  }
  const nTargets = points[0]?.scores.length ?? 0;
  if (nTargets === 0 || points.some(({ scores }) => scores.length !== nTargets)) {
    throw new DataError(
      `extrapolateCeiling: expected points with scores of the same targets, got ${points.map(({ scores }) => scores.length).join(", ") || "none"}`,
    );
  }
  const rng = createRng(seed);
  const ceiling = new Float64Array(nTargets).fill(Number.NaN);
  const [low, high, endpoint] = [ceiling.slice(), ceiling.slice(), ceiling.slice()];
  const plans = new Map<string, (y: ArrayLike<number>) => SaturationFit>();
  for (let t = 0; t < nTargets; t++) {
    const groups = scoresByCount(points, t);
    if (groups.length < 2) continue;
    const x = groups.map(([n]) => n);
    const fit = plans.get(x.join()) ?? planFit(x);
    plans.set(x.join(), fit);
    const fits = Array.from({ length: nBootstraps }, () =>
      fit(groups.map(([, scores]) => resampledMean(scores, rng))),
    );
    const limits = fits.map(({ limit }) => limit);
    const scales = fits.map(({ scale }) => scale).filter((scale) => !Number.isNaN(scale));
    ceiling[t] = quantile(limits, 0.5);
    low[t] = quantile(limits, 0.025);
    high[t] = quantile(limits, 0.975);
    endpoint[t] = scales.length === 0 ? 0 : endpointOf(ceiling[t]!, quantile(scales, 0.5));
  }
  const defined = ceiling.filter((value) => !Number.isNaN(value));
  return {
    ceiling,
    low,
    high,
    endpoint,
    median: defined.length === 0 ? Number.NaN : quantile(defined, 0.5),
    nUndefined: nTargets - defined.length,
    nBootstraps,
    undefinedReason:
      defined.length > 0
        ? undefined
        : "scores of one number of subjects, where at least two numbers are needed (3 subjects)",
  };
}

function scoresByCount(
  points: readonly SubjectScores[],
  t: number,
): readonly (readonly [number, readonly number[]])[] {
  const groups = new Map<number, number[]>();
  for (const { nSubjects, scores } of points) {
    const score = scores[t]!;
    if (!Number.isFinite(score)) continue;
    groups.set(nSubjects, [...(groups.get(nSubjects) ?? []), score]);
  }
  return [...groups].sort(([a], [b]) => a - b);
}

function resampledMean(scores: readonly number[], rng: Rng): number {
  let sum = 0;
  for (let i = 0; i < scores.length; i++) sum += scores[rng.below(scores.length)]!;
  return sum / scores.length;
}

/** The least whole x with v(x + 1) - v(x) < 0.0005. */
function endpointOf(limit: number, scale: number): number {
  const first = limit * -Math.expm1(-1 / scale);
  return Math.max(0, Math.floor(scale * Math.log(first / 5e-4)) + 1);
}
