import { ArgumentError, DataError, type Rng, ShapeError } from "@penfield/core";
import { quantile } from "@penfield/stats";
import { checkCount, checkFinite, checkPositive } from "./check.ts";
import { type ExponentialFit, fitExponential } from "./exponentialFit.ts";
import { ornsteinUhlenbeck } from "./generate.ts";
import { nelderMead } from "./nelderMead.ts";

/**
 * The autocorrelation of activity at lags 1..maxLag, over trials.
 *
 *   r_k = [sum (x_t - mean)(x_{t+k} - mean) / # of pairs] / [sum (x_t - mean)^2 / # of values]
 *
 * @param trials - Activity per step of each trial, each longer than maxLag + 1. One trial as `[x]`.
 * @param options.maxLag - In steps, at least 1.
 * @returns `[maxLag]`. The mean is that of each trial, which pulls every r_k down by about 2 tau / length: see
 *   {@link estimateTimescale}.
 * @throws {ShapeError} if there is no trial or one is too short.
 * @throws {DataError} if a value is not finite or nothing varies.
 *
 * Cost: O(maxLag steps).
 *
 * @example
 * autocorrelation([[1, -1, 1, -1]], { maxLag: 2 }).join(" ") // => "-1 1"
 */
export function autocorrelation(
  trials: readonly ArrayLike<number>[],
  { maxLag }: { maxLag: number },
): Float64Array {
  const name = "autocorrelation";
  checkCount(name, "maxLag", maxLag, 1);
  if (trials.length === 0) throw new ShapeError(`${name}: expected at least one trial, got none`);
  for (const trial of trials) {
    if (trial.length < maxLag + 2) {
      throw new ShapeError(
        `${name}: expected trials of at least maxLag + 2 = ${maxLag + 2} steps, got ${trial.length}`,
        { hint: "Take a smaller maxLag." },
      );
    }
    checkFinite(name, "activity", trial);
  }
  const centred = trials.map((trial) => {
    const x = Float64Array.from(trial);
    const mean = x.reduce((sum, v) => sum + v, 0) / x.length;
    return x.map((v) => v - mean);
  });
  const covariance = (k: number): number => {
    let sum = 0;
    let n = 0;
    for (const x of centred) {
      for (let t = 0; t + k < x.length; t++) sum += x[t]! * x[t + k]!;
      n += x.length - k;
    }
    return sum / n;
  };
  const variance = covariance(0);
  if (!(variance > 0)) {
    throw new DataError(`${name}: expected activity that varies, got a constant`);
  }
  return Float64Array.from({ length: maxLag }, (_, i) => covariance(i + 1) / variance);
}

/** One part of a mixture of timescales. */
export interface TimescalePart {
  readonly tauSeconds: number;
  /** Share of the variance; what all parts leave of 1 is white noise. */
  readonly share: number;
}

/** A timescale as fitted directly and as corrected for what finite trials do to the autocorrelation. */
export interface Timescale {
  /** The exponential fitted to the autocorrelation, tau in seconds: biased low for short trials. */
  readonly naive: ExponentialFit;
  /** tau of the process whose autocorrelation in trials of this length would look as the observed one, in seconds. */
  readonly corrected: TimescalePart;
  /** Interval of the corrected tau, in seconds, from processes simulated with it; undefined without draws or a tau to simulate. */
  readonly interval:
    | { readonly low: number; readonly high: number; readonly level: number }
    | undefined;
  /** r_1..r_maxLag as observed. */
  readonly autocorrelation: Float64Array;
  /** What such a process is expected to show in trials of this length, `[maxLag]`. */
  readonly expected: Float64Array;
  /** What speaks against the estimate, as sentences; empty if nothing does. */
  readonly warnings: readonly string[];
}

/** What to fit to. */
export interface TimescaleOptions {
  /** The longest lag, in steps: some half to three times tau. */
  readonly maxLag: number;
  /** Length of a step, in seconds. Default 1: timescales are then in steps. */
  readonly dtSeconds?: number | undefined;
  /** Simulations for the interval. Default 0: none. */
  readonly nDraws?: number | undefined;
  /** Default 0.95. */
  readonly level?: number | undefined;
}

/**
 * The timescale of activity: naive, and corrected for the bias of short trials.
 *
 *   generative model: x = sqrt(c) OU(tau) + sqrt(1 - c) white noise;  rho(k) = c exp(-k / tau)
 *   E[r_k] of trials of T steps, whose means are taken off, is known from rho in closed form;
 *   the corrected tau and c are those whose E[r_k] is closest to the observed r_k, k = 1..maxLag, weighted by 1 / var(r_k)
 *
 * An exponential fitted to the autocorrelation itself is too short (Marriott & Pope), by half and more where a trial lasts
 * ten tau. As in abcTau the generative model is fitted to the biased autocorrelation, here by its expected value instead
 * of by sampling; simulated processes then give the interval.
 *
 * @param trials - Activity per step of each trial. One trial as `[x]`.
 * @param options.maxLag - In steps, at least 3.
 * @param options.dtSeconds - Default 1.
 * @param options.nDraws - Simulations for the interval. Default 0.
 * @param options.level - Default 0.95.
 * @param rng - Needed if nDraws is above 0.
 * @returns Both estimates; report both. In a single trial chance alone can move tau by sqrt(2 tau / T) of itself and more: the
 *   correction is right on average, not for each. White noise has no timescale: tauSeconds is then NaN.
 * @throws {ShapeError} if there is no trial or one is too short.
 * @throws {DataError} if a value is not finite or nothing varies.
 * @throws {ArgumentError} if an option is out of range, or draws are asked for without rng.
 *
 * Cost: O(maxLag steps), and as much again per draw.
 * With tau 20 and 30 trials of 200 steps the naive estimate is 10.9 +- 0.9 (maxLag 60) or 15 +- 1.6 (maxLag 10), the corrected
 * one 20.4 +- 2.4 with either.
 * Source: Zeraati, Engel & Levina (2022), Nat Comput Sci 2:193-204 (abcTau); Marriott & Pope (1954), Biometrika 41:390-402;
 * Bartlett (1946), J R Stat Soc Suppl 8:27-41 for the weights.
 *
 * @example
 * const rng = createRng(1);
 * const trials = Array.from({ length: 30 }, () => ornsteinUhlenbeck({ tauSteps: 20, nSteps: 200 }, rng));
 * const { naive, corrected } = estimateTimescale(trials, { maxLag: 60 });
 * naive.tau < 15 && Math.abs(corrected.tauSeconds - 20) < 5 // => true
 */
export function estimateTimescale(
  trials: readonly ArrayLike<number>[],
  { maxLag, dtSeconds = 1, nDraws = 0, level = 0.95 }: TimescaleOptions,
  rng?: Rng,
): Timescale {
  const name = "estimateTimescale";
  checkCount(name, "maxLag", maxLag, 3);
  checkPositive(name, "dtSeconds", dtSeconds);
  checkCount(name, "nDraws", nDraws, 0);
  if (!(level > 0 && level < 1)) {
    throw new ArgumentError(`${name}: expected level between 0 and 1, got ${level}`);
  }
  const observed = autocorrelation(trials, { maxLag });
  const lengths = trials.map((trial) => trial.length);
  const lags = Float64Array.from(observed, (_, i) => i + 1);
  const naive = fitExponential(lags, observed);
  const fit = fitMixture(observed, lengths, 1);
  const part = fit.parts[0]!;
  const warnings: string[] = [];
  if (naive.atBound) warnings.push("The autocorrelation does not decay as an exponential.");
  // Without a share there is no tau; at the end of what is searched it is only a bound.
  const longest = Math.max(...lengths);
  const none = part.share < 1e-3;
  const atBound = part.tau <= SHORTEST_TAU * 1.001 || part.tau >= longest * 99;
  if (none) warnings.push("All is white noise: there is no timescale to be found.");
  else if (atBound) {
    warnings.push(
      part.tau < 1
        ? "tau is far shorter than a step: take shorter steps."
        : "tau is far longer than the trials: they may drift.",
    );
  }
  if (!none && part.tau > 4 * maxLag) {
    warnings.push(
      `tau (${part.tau.toPrecision(3)} steps) is longer than four maxLag (${maxLag}): take a larger one.`,
    );
  }
  if (!none && part.tau > Math.min(...lengths) / 4) {
    warnings.push("Trials last less than four tau: they hardly tell tau from a longer one.");
  }
  const scaled = (tau: number): number => tau * dtSeconds;
  let interval: Timescale["interval"];
  if (nDraws > 0 && !none && !atBound) {
    const draws = drawsOf(name, fit.parts, lengths, nDraws, rng).map((drawn) => {
      const again = fitMixture(autocorrelation(drawn, { maxLag }), lengths, 1);
      return Math.log(again.parts[0]!.tau);
    });
    // By how much draws miss the tau they were made with, turned round.
    const centre = 2 * Math.log(part.tau);
    interval = {
      low: scaled(Math.exp(centre - quantile(draws, (1 + level) / 2))),
      high: scaled(Math.exp(centre - quantile(draws, (1 - level) / 2))),
      level,
    };
  }
  return {
    naive: { ...naive, tau: scaled(naive.tau) },
    corrected: { tauSeconds: none ? Number.NaN : scaled(part.tau), share: part.share },
    interval,
    autocorrelation: observed,
    expected: fit.expected,
    warnings,
  };
}

/** Whether activity has one timescale or two. */
export interface TimescaleComparison {
  readonly one: readonly TimescalePart[];
  /** By ascending tau. */
  readonly two: readonly TimescalePart[];
  /** How often a process of one timescale gains as much by a second one: (1 + #) / (1 + nDraws). */
  readonly p: number;
  /** 2 if p is at most alpha, else 1. */
  readonly nTimescales: 1 | 2;
}

/**
 * One timescale or two: how much closer two come to the autocorrelation, beside what a second one brings to simulated processes
 * of one.
 *
 * @param trials - Activity per step of each trial.
 * @param options.maxLag - In steps, at least 5.
 * @param options.dtSeconds - Default 1.
 * @param options.nDraws - Simulations. Default 99.
 * @param options.alpha - Default 0.05.
 * @param rng - Source of the simulations.
 * @returns Both fits, corrected for finite trials, and which one the data ask for.
 * @throws {ShapeError} if there is no trial or one is too short.
 * @throws {DataError} if a value is not finite or nothing varies.
 * @throws {ArgumentError} if an option is out of range.
 *
 * Cost: nDraws simulations with two fits each: some 60 ms per draw of 30 trials of 400 steps.
 * Source: the comparison of Zeraati, Engel & Levina (2022), with a parametric bootstrap in place of ABC.
 *
 * @example
 * const rng = createRng(2);
 * const trials = Array.from({ length: 20 }, () => ornsteinUhlenbeck({ tauSteps: 10, nSteps: 200 }, rng));
 * compareTimescales(trials, { maxLag: 40, nDraws: 19, alpha: 0.05 }, rng).nTimescales // => 1
 */
export function compareTimescales(
  trials: readonly ArrayLike<number>[],
  {
    maxLag,
    dtSeconds = 1,
    nDraws = 99,
    alpha = 0.05,
  }: { maxLag: number; dtSeconds?: number; nDraws?: number; alpha?: number },
  rng: Rng,
): TimescaleComparison {
  const name = "compareTimescales";
  checkCount(name, "maxLag", maxLag, 5);
  checkPositive(name, "dtSeconds", dtSeconds);
  checkCount(name, "nDraws", nDraws, 1);
  if (!(alpha > 0 && alpha < 1)) {
    throw new ArgumentError(`${name}: expected alpha between 0 and 1, got ${alpha}`);
  }
  const lengths = trials.map((trial) => trial.length);
  const both = (of: readonly ArrayLike<number>[]) => {
    const observed = autocorrelation(of, { maxLag });
    const one = fitMixture(observed, lengths, 1);
    const two = fitMixture(observed, lengths, 2, one.weights);
    return { one, two, gain: Math.log(one.sse / two.sse) };
  };
  const found = both(trials);
  const draws = drawsOf(name, found.one.parts, lengths, nDraws, rng);
  const asGood = draws.filter((drawn) => both(drawn).gain >= found.gain).length;
  const p = (1 + asGood) / (1 + nDraws);
  const scaled = (fit: MixtureFit): TimescalePart[] =>
    fit.parts
      .map(({ tau, share }) => ({ tauSeconds: tau * dtSeconds, share }))
      .sort((a, b) => a.tauSeconds - b.tauSeconds);
  return { one: scaled(found.one), two: scaled(found.two), p, nTimescales: p <= alpha ? 2 : 1 };
}

interface Part {
  readonly tau: number;
  readonly share: number;
}

interface MixtureFit {
  readonly parts: readonly Part[];
  readonly sse: number;
  readonly expected: Float64Array;
  readonly weights: Float64Array;
}

/**
 * The mixture of one or two timescales whose expected autocorrelation in trials of these lengths is closest, lags
 * weighted by how surely they are known.
 */
function fitMixture(
  observed: Float64Array,
  lengths: readonly number[],
  nParts: 1 | 2,
  known?: Float64Array,
): MixtureFit {
  const maxLag = observed.length;
  const longest = Math.max(...lengths);
  const expect = expectation(lengths, maxLag);
  const partsOf = (x: readonly number[]): Part[] => {
    const total = 1 / (1 + Math.exp(-x[1]!));
    if (nParts === 1) return [{ tau: clampTau(x[0]!, longest), share: total }];
    const first = 1 / (1 + Math.exp(-x[3]!));
    return [
      { tau: clampTau(x[0]!, longest), share: total * first },
      { tau: clampTau(x[2]!, longest), share: total * (1 - first) },
    ];
  };
  const fit = (starts: readonly (readonly number[])[], weights: Float64Array) => {
    const error = (x: readonly number[]): number => {
      const expected = expect(partsOf(x));
      let sse = 0;
      for (let k = 0; k < maxLag; k++) sse += weights[k]! * (observed[k]! - expected[k]!) ** 2;
      return sse;
    };
    return starts
      .map((x) => nelderMead(error, x, { maxSteps: 150 * nParts }))
      .reduce((a, b) => (b.value < a.value ? b : a));
  };
  const lags = observed.map((_, i) => i + 1);
  const tau = Math.min(longest, Math.max(0.2, fitExponential(lags, observed).tau));
  const start = Math.log(tau);
  // How surely each lag is known depends on tau: a first fit weighs all alike.
  let weights = known;
  if (!weights) {
    const first = fit([[start + 0.3, 3]], new Float64Array(maxLag).fill(1));
    const total = 1 / (1 + Math.exp(-first.x[1]!));
    weights = precisions({ tau: clampTau(first.x[0]!, longest), share: total }, maxLag, longest);
  }
  const starts =
    nParts === 1
      ? [
          [start + 0.3, 3],
          [start + 0.3, 0.5],
        ]
      : [
          [start - 1.5, 3, start + 0.7, 0],
          [start - 0.3, 3, start + 1.7, 0.5],
          [start - 2.5, 3, start + 0.2, -1],
        ];
  const best = fit(starts, weights);
  const parts = partsOf(best.x);
  return { parts, sse: best.value, expected: expect(parts), weights };
}

/**
 * 1 / variance of each r_k of a process with one timescale, up to a factor: Bartlett's formula,
 *   var r_k ~ sum over m of rho_m^2 + rho_{m+k} rho_{m-k} - 4 rho_k rho_m rho_{m+k} + 2 rho_k^2 rho_m^2.
 */
function precisions({ tau, share }: Part, maxLag: number, longest: number): Float64Array {
  const reach = Math.min(longest, Math.ceil(8 * tau)) + maxLag;
  const rho = Float64Array.from({ length: reach + maxLag + 1 }, (_, k) =>
    k === 0 ? 1 : share * Math.exp(-k / tau),
  );
  const at = (k: number): number => rho[Math.abs(k)]!;
  const raw = Float64Array.from({ length: maxLag }, (_, i) => {
    const k = i + 1;
    let sum = 0;
    for (let m = -reach; m <= reach; m++) {
      const r = at(m);
      sum += r * r + at(m + k) * at(m - k) - 4 * at(k) * r * at(m + k) + 2 * at(k) ** 2 * r * r;
    }
    return sum;
  });
  // The largest variance is that of lags without correlation; none counts more than 1e4 times as much.
  const floor = Math.max(...raw) * 1e-4;
  return raw.map((v) => 1 / Math.max(floor, v));
}

/** In steps: exp(-1 / tau) is then 2e-9. */
const SHORTEST_TAU = 0.05;

const clampTau = (logTau: number, longest: number): number =>
  Math.min(longest * 100, Math.max(SHORTEST_TAU, Math.exp(logTau)));

/**
 * E[r_k], k = 1..maxLag, for trials of these lengths whose own means are taken off, as the ratio of expected covariances.
 * With P_t = sum_s rho(|t - s|) and C_n = sum over t < n of P_t,
 *   E[cov_k] = rho_k + C_T / T^2 - 2 C_{T-k} / ((T - k) T).
 */
function expectation(
  lengths: readonly number[],
  maxLag: number,
): (parts: readonly Part[]) => Float64Array {
  const groups = new Map<number, number>();
  for (const length of lengths) groups.set(length, (groups.get(length) ?? 0) + 1);
  const longest = Math.max(...lengths);
  const rho = new Float64Array(longest);
  const sums = new Float64Array(longest + 1);
  const before = new Float64Array(longest + 1);
  return (parts) => {
    rho.fill(0);
    rho[0] = 1;
    for (const { tau, share } of parts) {
      const decay = Math.exp(-1 / tau);
      for (let k = 1, value = share * decay; k < longest && value > 1e-17; k++, value *= decay) {
        rho[k]! += value;
      }
    }
    for (let k = 0; k < longest; k++) sums[k + 1] = sums[k]! + rho[k]!;
    const total = new Float64Array(maxLag + 1);
    const pairs = new Float64Array(maxLag + 1);
    for (const [length, count] of groups) {
      for (let t = 0; t < length; t++) {
        before[t + 1] = before[t]! + sums[t + 1]! + sums[length - t]! - 1;
      }
      const varianceOfMean = before[length]! / length ** 2;
      for (let k = 0; k <= maxLag; k++) {
        const n = length - k;
        const covariance = rho[k]! + varianceOfMean - (2 * before[n]!) / (n * length);
        total[k]! += count * n * covariance;
        pairs[k]! += count * n;
      }
    }
    const variance = total[0]! / pairs[0]!;
    return Float64Array.from(
      { length: maxLag },
      (_, i) => total[i + 1]! / pairs[i + 1]! / variance,
    );
  };
}

/** Trials of the fitted process, nDraws times. */
function drawsOf(
  name: string,
  parts: readonly Part[],
  lengths: readonly number[],
  nDraws: number,
  rng: Rng | undefined,
): Float64Array[][] {
  if (!rng) {
    throw new ArgumentError(`${name}: expected a source of random numbers for draws, got none`, {
      hint: "Pass createRng(seed) as the last argument.",
    });
  }
  const noise = Math.sqrt(Math.max(0, 1 - parts.reduce((sum, { share }) => sum + share, 0)));
  return Array.from({ length: nDraws }, () =>
    lengths.map((nSteps) => {
      const x = new Float64Array(nSteps);
      for (const { tau, share } of parts) {
        const part = ornsteinUhlenbeck({ tauSteps: tau, nSteps }, rng);
        const scale = Math.sqrt(share);
        for (let t = 0; t < nSteps; t++) x[t]! += scale * part[t]!;
      }
      if (noise > 1e-6) for (let t = 0; t < nSteps; t++) x[t]! += noise * rng.normal();
      return x;
    }),
  );
}
