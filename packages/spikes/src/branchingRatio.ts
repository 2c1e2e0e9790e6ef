import { ArgumentError, DataError, ShapeError } from "@penfield/core";
import { checkCount, checkFinite, checkPositive } from "./check.ts";
import { fitExponential } from "./exponentialFit.ts";

/** How slopes of several trials are put together. */
export type SlopeMethod = "stationaryMean" | "trialSeparated";

/** An estimate of the branching ratio. */
export interface BranchingRatio {
  /** The branching ratio m, from how the slopes decay: what subsampling leaves alone. */
  readonly m: number;
  /** The intrinsic timescale -dt / ln m, in seconds. */
  readonly tauSeconds: number;
  /** b of r_k = b m^k (+ offset): 1 when all units are seen, less under subsampling. */
  readonly amplitude: number;
  /** 0 unless it was fitted. */
  readonly offset: number;
  /** Sum of squared errors of the fit. */
  readonly sse: number;
  /** r_1, the usual estimate: far too low under subsampling. */
  readonly naive: number;
  /** r_k for k = 1..kMax. */
  readonly slopes: Float64Array;
  /** What speaks against the fit, as sentences; empty if nothing does. */
  readonly warnings: readonly string[];
}

/**
 * The slopes of activity on activity k steps before, for k = 1..kMax.
 *
 *   stationaryMean:  r_k = cov(A_t, A_{t+k}) / var(A_t), with means over all trials
 *   trialSeparated:  r_k = mean over trials of the slope of A_{t+k} on A_t within the trial
 *
 * @param trials - Activity (spikes of all units per step) of each trial, each longer than kMax + 1.
 * @param options.kMax - The longest lag, in steps.
 * @param options.method - Default `stationaryMean`, which needs trials of one mean; `trialSeparated` allows rates to differ
 *   between trials but is biased low by about 1 / length.
 * @returns `[kMax]`.
 * @throws {ShapeError} if there is no trial or one is too short.
 * @throws {DataError} if a value is not finite, or activity does not vary.
 *
 * Cost: O(kMax steps). Source: as {@link branchingRatio}; matches mrestimator `coefficients`.
 *
 * @example
 * regressionSlopes([[1, 2, 3, 4, 5, 6]], { kMax: 2 }).join(" ") // => "1 1"
 */
export function regressionSlopes(
  trials: readonly ArrayLike<number>[],
  { kMax, method = "stationaryMean" }: { kMax: number; method?: SlopeMethod | undefined },
): Float64Array {
  const name = "regressionSlopes";
  checkCount(name, "kMax", kMax, 1);
  if (method !== "stationaryMean" && method !== "trialSeparated") {
    throw new ArgumentError(
      `${name}: expected method stationaryMean or trialSeparated, got ${method}`,
    );
  }
  if (trials.length === 0) throw new ShapeError(`${name}: expected at least one trial, got none`);
  for (const trial of trials) {
    if (trial.length < kMax + 2) {
      throw new ShapeError(
        `${name}: expected trials of at least kMax + 2 = ${kMax + 2} steps, got ${trial.length}`,
        { hint: "Take a smaller kMax." },
      );
    }
    checkFinite(name, "activity", trial);
  }
  const groups = method === "stationaryMean" ? [trials] : trials.map((trial) => [trial]);
  return Float64Array.from({ length: kMax }, (_, i) => {
    const slopes = groups.map((group) => slope(group, i + 1));
    const flat = slopes.findIndex((r) => Number.isNaN(r));
    if (flat >= 0) {
      throw new DataError(
        `${name}: expected activity that varies, got a constant${method === "trialSeparated" ? ` in trial ${flat}` : ""}`,
      );
    }
    return slopes.reduce((sum, r) => sum + r, 0) / slopes.length;
  });
}

/** The least-squares slope of A_{t+k} on A_t over all pairs of all trials. */
function slope(trials: readonly ArrayLike<number>[], k: number): number {
  let n = 0;
  let meanX = 0;
  let meanY = 0;
  for (const a of trials) {
    for (let t = 0; t + k < a.length; t++) {
      n++;
      meanX += a[t]!;
      meanY += a[t + k]!;
    }
  }
  meanX /= n;
  meanY /= n;
  let xx = 0;
  let xy = 0;
  for (const a of trials) {
    for (let t = 0; t + k < a.length; t++) {
      const x = a[t]! - meanX;
      xx += x * x;
      xy += x * (a[t + k]! - meanY);
    }
  }
  return xx === 0 ? Number.NaN : xy / xx;
}

/**
 * The branching ratio by multistep regression (the MR estimator): how many spikes a spike leads to, right even
 * when only some units are seen.
 *
 *   r_k = b m^k (+ offset),  m = exp(-dt / tau)
 *
 * Subsampling lowers every r_k by the same factor b, so that the usual estimate r_1 comes out too low, but their decay
 * keeps m.
 *
 * @param trials - Activity (spikes of all units per step) of each trial; one trial as `[activity]`.
 * @param options.kMax - The longest lag, in steps: some multiples of tau / dt, and far less than a trial.
 * @param options.dtSeconds - Length of a step, in seconds. Default 1: tau is then in steps. Steps should be about as long as
 *   a spike takes to have its effect.
 * @param options.method - Default `stationaryMean`; see {@link regressionSlopes}.
 * @param options.offset - Fit an offset, for slow changes of the drive. Default false.
 * @returns m, tau, the naive estimate, the slopes, and what speaks against the fit.
 * @throws {ShapeError} if there is no trial, one is too short, or kMax is under 3 (4 with offset).
 * @throws {ArgumentError} if an option is out of range.
 * @throws {DataError} if a value is not finite, or activity does not vary.
 *
 * Cost: O(kMax steps).
 * Source: Wilting & Priesemann (2018), Nat Commun 9:2325. Slopes and fits match mrestimator (6c8d8b0).
 *
 * @example
 * const rng = createRng(1);
 * const all = branchingActivity({ m: 0.95, drive: 5, nSteps: 50_000 }, rng);
 * const seen = subsampleCounts(all, 0.05, rng);
 * const { m, naive } = branchingRatio([seen], { kMax: 100 });
 * Math.abs(m - 0.95) < 0.02 && naive < 0.6 // => true
 */
export function branchingRatio(
  trials: readonly ArrayLike<number>[],
  {
    kMax,
    dtSeconds = 1,
    method = "stationaryMean",
    offset = false,
  }: {
    kMax: number;
    dtSeconds?: number | undefined;
    method?: SlopeMethod | undefined;
    offset?: boolean | undefined;
  },
): BranchingRatio {
  checkPositive("branchingRatio", "dtSeconds", dtSeconds);
  const slopes = regressionSlopes(trials, { kMax, method });
  const lags = Float64Array.from(slopes, (_, i) => i + 1);
  const fit = fitExponential(lags, slopes, { offset });
  const m = Math.exp(-1 / fit.tau);
  const warnings: string[] = [];
  if (fit.atBound || fit.amplitude <= 0) {
    warnings.push("The slopes do not decay as an exponential: m cannot be trusted.");
  }
  if (fit.tau > kMax) {
    warnings.push(
      `tau (${fit.tau.toPrecision(3)} steps) is longer than kMax (${kMax}): take a larger kMax.`,
    );
  }
  const shortest = trials.reduce((n, trial) => Math.min(n, trial.length), Number.POSITIVE_INFINITY);
  if (fit.tau * 20 > shortest) {
    warnings.push(
      `Trials of ${shortest} steps are short for a tau of ${fit.tau.toPrecision(3)} steps: m is biased low.`,
    );
  }
  return {
    m,
    tauSeconds: fit.tau * dtSeconds,
    amplitude: fit.amplitude,
    offset: fit.offset,
    sse: fit.sse,
    naive: slopes[0]!,
    slopes,
    warnings,
  };
}
