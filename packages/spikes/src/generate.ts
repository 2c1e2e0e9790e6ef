import { ArgumentError, type Rng } from "@penfield/core";
import { logGamma } from "@penfield/stats";
import { checkCount, checkNotNegative, checkPositive, checkShare } from "./check.ts";
import { type Population, population, type SpikeTrain, spikeTrain } from "./spikeTrain.ts";

/**
 * A number of a Poisson distribution.
 *
 * @param mean - 0 or more, finite.
 * @throws {ArgumentError} if the mean is negative or not finite.
 *
 * Cost: O(mean) below 30, O(1) above.
 * Source: Knuth's product below 30; Hörmann (1993), Insurance Math Econ 12:39-45 (PTRS) above.
 *
 * @example
 * poissonSample(0, createRng(1)) // => 0
 */
export function poissonSample(mean: number, rng: Rng): number {
  if (!(mean >= 0 && Number.isFinite(mean))) {
    throw new ArgumentError(`poissonSample: expected a mean of 0 or more, got ${mean}`);
  }
  if (mean < 30) {
    const limit = Math.exp(-mean);
    let k = 0;
    for (let product = rng.uniform(); product > limit; k++) product *= rng.uniform();
    return k;
  }
  const b = 0.931 + 2.53 * Math.sqrt(mean);
  const a = -0.059 + 0.02483 * b;
  const inverseAlpha = 1.1239 + 1.1328 / (b - 3.4);
  const vR = 0.9277 - 3.6224 / (b - 2);
  for (;;) {
    const u = rng.uniform() - 0.5;
    const v = 1 - rng.uniform();
    const us = 0.5 - Math.abs(u);
    const k = Math.floor(((2 * a) / us + b) * u + mean + 0.43);
    if (us >= 0.07 && v <= vR) return k;
    if (k < 0 || (us < 0.013 && v > us)) continue;
    const accept = Math.log((v * inverseAlpha) / (a / (us * us) + b));
    if (accept <= -mean + k * Math.log(mean) - logGamma(k + 1)) return k;
  }
}

/**
 * How many of n events happen, each with probability p: waiting times between them are drawn.
 *
 * @throws {ArgumentError} if n is no whole number of 0 or more, or p is outside 0..1.
 *
 * Cost: O(n min(p, 1 - p)).
 *
 * @example
 * binomialSample(10, 1, createRng(1)) // => 10
 */
export function binomialSample(n: number, p: number, rng: Rng): number {
  checkCount("binomialSample", "n", n, 0);
  checkShare("binomialSample", "p", p);
  if (p > 0.5) return n - binomialSample(n, 1 - p, rng);
  if (p === 0) return 0;
  const logMiss = Math.log1p(-p);
  let count = -1;
  for (let at = 0; at <= n; count++) at += 1 + Math.floor(Math.log(1 - rng.uniform()) / logMiss);
  return count;
}

/** Rate and time of a generated train. */
export interface PoissonOptions {
  /** Spikes per second, 0 or more. */
  readonly rateHertz: number;
  /** In seconds. */
  readonly tStop: number;
  /** In seconds. Default 0. */
  readonly tStart?: number | undefined;
}

/**
 * A Poisson train: spikes at a constant rate, independent of each other.
 *
 * @param options.rateHertz - Spikes per second, 0 or more.
 * @param options.tStop - In seconds.
 * @param options.tStart - In seconds. Default 0.
 * @throws {ArgumentError} if the rate is negative or the time is none.
 *
 * @example
 * const n = poissonTrain({ rateHertz: 20, tStop: 100 }, createRng(1)).times.length;
 * n > 1800 && n < 2200 // => true
 */
export function poissonTrain(
  { rateHertz, tStop, tStart = 0 }: PoissonOptions,
  rng: Rng,
): SpikeTrain {
  checkNotNegative("poissonTrain", "rateHertz", rateHertz);
  const times: number[] = [];
  if (rateHertz > 0) {
    for (;;) {
      const next = (times.at(-1) ?? tStart) - Math.log(1 - rng.uniform()) / rateHertz;
      if (!(next <= tStop)) break;
      times.push(next);
    }
  }
  return spikeTrain(times, { tStart, tStop });
}

/**
 * Poisson trains that share some of their spikes: synchrony of a known strength.
 *
 * @param options.nTrains - At least 1.
 * @param options.rateHertz - Of each train.
 * @param options.shared - Share of each train's spikes that come from events common to all, 0 to 1.
 * @param options.jitterSeconds - Standard deviation of a shared spike's time about its event. Default 0.
 * @param options.tStop - In seconds.
 * @throws {ArgumentError} if an option is out of range.
 *
 * @example
 * const { trains } = synchronousPopulation({ nTrains: 2, rateHertz: 10, shared: 1, tStop: 10 }, createRng(1));
 * spikeSynchronization(trains[0], trains[1]) // => 1
 */
export function synchronousPopulation(
  {
    nTrains,
    rateHertz,
    shared,
    jitterSeconds = 0,
    tStop,
  }: {
    nTrains: number;
    rateHertz: number;
    shared: number;
    jitterSeconds?: number;
    tStop: number;
  },
  rng: Rng,
): Population {
  const name = "synchronousPopulation";
  checkCount(name, "nTrains", nTrains, 1);
  checkNotNegative(name, "rateHertz", rateHertz);
  checkShare(name, "shared", shared);
  checkNotNegative(name, "jitterSeconds", jitterSeconds);
  const events = poissonTrain({ rateHertz: rateHertz * shared, tStop }, rng).times;
  return population(
    Array.from({ length: nTrains }, () => {
      const own = poissonTrain({ rateHertz: rateHertz * (1 - shared), tStop }, rng).times;
      const common = events.map((t) => t + (jitterSeconds > 0 ? jitterSeconds * rng.normal() : 0));
      const inside = common.filter((t) => t >= 0 && t <= tStop);
      return spikeTrain([...own, ...inside], { tStop, sort: true });
    }),
  );
}

/**
 * Activity of a branching process with immigration: each spike leads to m more in the next step, on average.
 *
 *   A_{t+1} ~ Poisson(m A_t + drive)
 *
 * @param options.m - Branching ratio, 0 or more; below 1 for a stationary one of mean drive / (1 - m).
 * @param options.drive - Spikes per step from outside, 0 or more.
 * @param options.nSteps - At least 1.
 * @param options.start - Activity in the first step. Default the stationary mean, rounded (0 if m is 1 or more).
 * @returns `[nSteps]`.
 * @throws {ArgumentError} if an option is out of range.
 *
 * @example
 * branchingActivity({ m: 0, drive: 0, nSteps: 3, start: 7 }, createRng(1)).join(" ") // => "7 0 0"
 */
export function branchingActivity(
  { m, drive, nSteps, start }: { m: number; drive: number; nSteps: number; start?: number },
  rng: Rng,
): Float64Array {
  const name = "branchingActivity";
  checkNotNegative(name, "m", m);
  checkNotNegative(name, "drive", drive);
  checkCount(name, "nSteps", nSteps, 1);
  const activity = new Float64Array(nSteps);
  activity[0] = start ?? (m < 1 ? Math.round(drive / (1 - m)) : 0);
  for (let t = 1; t < nSteps; t++) activity[t] = poissonSample(m * activity[t - 1]! + drive, rng);
  return activity;
}

/**
 * Activity of separate avalanches: one spike starts each, and it runs until no spike is left.
 *
 * @param options.m - Branching ratio; 1 is critical: sizes then follow p(S) ~ S^-1.5, durations p(T) ~ T^-2.
 * @param options.nAvalanches - At least 1.
 * @param options.maxSize - An avalanche is ended once it has this many spikes.
 * @returns Spikes per bin; one bin without lies between two avalanches, and at both ends.
 * @throws {ArgumentError} if an option is out of range.
 *
 * @example
 * avalancheActivity({ m: 0, nAvalanches: 2, maxSize: 10 }, createRng(1)).join(" ") // => "0 1 0 1 0"
 */
export function avalancheActivity(
  { m, nAvalanches, maxSize }: { m: number; nAvalanches: number; maxSize: number },
  rng: Rng,
): Float64Array {
  const name = "avalancheActivity";
  checkNotNegative(name, "m", m);
  checkCount(name, "nAvalanches", nAvalanches, 1);
  checkCount(name, "maxSize", maxSize, 1);
  const counts = [0];
  for (let i = 0; i < nAvalanches; i++) {
    let size = 0;
    for (let now = 1; now > 0; now = size < maxSize ? poissonSample(m * now, rng) : 0) {
      counts.push(now);
      size += now;
    }
    counts.push(0);
  }
  return Float64Array.from(counts);
}

/**
 * What is left of activity when each spike is seen with a probability: a recording of some of the units.
 *
 * @param counts - Whole numbers of 0 or more.
 * @param share - 0 to 1.
 * @throws {ArgumentError} if a count is no whole number of 0 or more, or share is outside 0..1.
 *
 * @example
 * subsampleCounts([3, 0, 5], 1, createRng(1)).join(" ") // => "3 0 5"
 */
export function subsampleCounts(counts: ArrayLike<number>, share: number, rng: Rng): Float64Array {
  return Float64Array.from(counts, (n) => binomialSample(n, share, rng));
}

/**
 * An Ornstein-Uhlenbeck process of variance 1, in equal steps.
 *
 *   x_{t+1} = exp(-1 / tau) x_t + sqrt(1 - exp(-2 / tau)) xi,  x_0 ~ N(0, 1)
 *
 * @param options.tauSteps - Timescale in steps, above 0.
 * @param options.nSteps - At least 1.
 * @throws {ArgumentError} if an option is out of range.
 *
 * @example
 * ornsteinUhlenbeck({ tauSteps: 20, nSteps: 100 }, createRng(1)).length // => 100
 */
export function ornsteinUhlenbeck(
  { tauSteps, nSteps }: { tauSteps: number; nSteps: number },
  rng: Rng,
): Float64Array {
  checkPositive("ornsteinUhlenbeck", "tauSteps", tauSteps);
  checkCount("ornsteinUhlenbeck", "nSteps", nSteps, 1);
  const keep = Math.exp(-1 / tauSteps);
  const add = Math.sqrt(-Math.expm1(-2 / tauSteps));
  const x = new Float64Array(nSteps);
  x[0] = rng.normal();
  for (let t = 1; t < nSteps; t++) x[t] = keep * x[t - 1]! + add * rng.normal();
  return x;
}
