import { ArgumentError, DataError, type Rng } from "@penfield/core";
import { normalCdf } from "@penfield/stats";
import { checkCount, checkCounts } from "./check.ts";
import { hurwitzZeta } from "./zeta.ts";

/** A discrete power law fitted to whole numbers. */
export interface PowerLawFit {
  /** The exponent: p(x) is proportional to x^-alpha. */
  readonly alpha: number;
  /** Of alpha, from the curvature of the likelihood. */
  readonly standardError: number;
  readonly xMin: number;
  /** Infinity if there is no upper bound. */
  readonly xMax: number;
  /** How many values lie within xMin..xMax; the others play no part. */
  readonly nTail: number;
  readonly logLikelihood: number;
  /** The largest distance between the cumulative distributions (Kolmogorov-Smirnov). */
  readonly ks: number;
}

/** Where the law is said to hold. */
export interface PowerLawOptions {
  /** The smallest value that counts, 1 or more, or "ks": the one whose fit is closest. Default 1. */
  readonly xMin?: number | "ks" | undefined;
  /** The largest value that counts, such as the number of units seen. Default infinity. */
  readonly xMax?: number | undefined;
}

/**
 * The exponent of a discrete power law by maximum likelihood.
 *
 *   p(x) = x^-alpha / Z,  Z = sum over x = xMin..xMax of x^-alpha  (Hurwitz' zeta without an upper bound)
 *
 * @param values - Whole numbers of at least 1, such as avalanche sizes.
 * @param options.xMin - Default 1. "ks" chooses the value whose fit has the smallest Kolmogorov-Smirnov distance, among those
 *   that leave at least ten values, of two kinds.
 * @param options.xMax - Default infinity. With a bound alpha may be below 1.
 * @returns The exponent, its standard error and how close the fit is. That a law fits is not shown by an exponent: see
 *   {@link powerLawP} and {@link powerLawAgainstExponential}.
 * @throws {DataError} if a value is no whole number of at least 1, or fewer than two different ones lie within the bounds.
 * @throws {ArgumentError} if a bound is no whole number, or xMax is not above xMin.
 *
 * Cost: O(n log n), and with xMax O(xMax) per step of some sixty; "ks" fits once per different value.
 * Source: Clauset, Shalizi & Newman (2009), SIAM Rev 51:661-703; bounds as in Deluca & Corral (2013), Acta Geophys 61:1351.
 *
 * @example
 * fitPowerLaw([1, 1, 1, 1, 2, 2, 3, 5]).alpha.toFixed(3) // => "2.071"
 */
export function fitPowerLaw(
  values: ArrayLike<number>,
  { xMin = 1, xMax = Number.POSITIVE_INFINITY }: PowerLawOptions = {},
): PowerLawFit {
  const name = "fitPowerLaw";
  checkCounts(name, "values", values, 1);
  const sorted = Float64Array.from(values).sort();
  if (xMin !== "ks") return fitSorted(name, sorted, xMin, xMax);
  let best: PowerLawFit | undefined;
  for (const candidate of new Set(sorted)) {
    const tail = sorted.filter((x) => x >= candidate && x <= xMax);
    if (tail.length < 10 || tail[0] === tail.at(-1)) break;
    const fit = fitSorted(name, sorted, candidate, xMax);
    if (!best || fit.ks < best.ks) best = fit;
  }
  if (!best) {
    throw new DataError(
      `${name}: expected at least ten values of two kinds to choose xMin from, got ${sorted.length}`,
      { hint: "Name xMin, or record for longer." },
    );
  }
  return best;
}

function fitSorted(name: string, sorted: Float64Array, xMin: number, xMax: number): PowerLawFit {
  checkCount(name, "xMin", xMin, 1);
  if (!(xMax === Number.POSITIVE_INFINITY || Number.isSafeInteger(xMax)) || !(xMax > xMin)) {
    throw new ArgumentError(
      `${name}: expected xMax to be a whole number above xMin (${xMin}), got ${xMax}`,
    );
  }
  const tail = sorted.filter((x) => x >= xMin && x <= xMax);
  const n = tail.length;
  if (n < 2 || tail[0] === tail[n - 1]) {
    throw new DataError(
      `${name}: expected at least two different values within ${xMin}..${xMax}, got ${new Set(tail).size}`,
    );
  }
  const sumLog = tail.reduce((sum, x) => sum + Math.log(x), 0);
  const { logZ, meanLog } = moments(xMin, xMax);
  // The likelihood is highest where the law's mean logarithm is that of the values; it falls with alpha.
  const excess = (alpha: number): number => meanLog(alpha) - sumLog / n;
  let [low, high] = xMax === Number.POSITIVE_INFINITY ? [1 + 1e-9, 2] : [-4, 2];
  while (excess(high) > 0) high = 1 + 2 * (high - 1);
  while (excess(low) < 0 && low < -1) low *= 2;
  const alpha = root(excess, low, high);
  const step = 1e-4 * Math.max(1, alpha - 1) * (alpha - 1 < 1e-3 ? 1e-3 : 1);
  const varianceLog = (meanLog(alpha - step) - meanLog(alpha + step)) / (2 * step);
  return {
    alpha,
    standardError: 1 / Math.sqrt(n * varianceLog),
    xMin,
    xMax,
    nTail: n,
    logLikelihood: -n * logZ(alpha) - alpha * sumLog,
    ks: ksDistance(tail, cumulative(alpha, xMin, xMax)),
  };
}

/** The logarithm of Z and the mean of ln x, as functions of alpha. */
function moments(
  xMin: number,
  xMax: number,
): { logZ: (alpha: number) => number; meanLog: (alpha: number) => number } {
  if (xMax === Number.POSITIVE_INFINITY) {
    return {
      logZ: (alpha) => Math.log(hurwitzZeta(alpha, xMin, xMin).value) - alpha * Math.log(xMin),
      meanLog: (alpha) => {
        const { value, derivative } = hurwitzZeta(alpha, xMin, xMin);
        return -derivative / value;
      },
    };
  }
  const logs = Float64Array.from({ length: xMax - xMin + 1 }, (_, i) => Math.log(xMin + i));
  const sums = (alpha: number): { shift: number; z: number; weighted: number } => {
    const shift = -alpha * (alpha >= 0 ? logs[0]! : logs.at(-1)!);
    let z = 0;
    let weighted = 0;
    for (const log of logs) {
      const p = Math.exp(-alpha * log - shift);
      z += p;
      weighted += p * log;
    }
    return { shift, z, weighted };
  };
  return {
    logZ: (alpha) => {
      const { shift, z } = sums(alpha);
      return shift + Math.log(z);
    },
    meanLog: (alpha) => {
      const { z, weighted } = sums(alpha);
      return weighted / z;
    },
  };
}

/** Where a falling function is 0, by halving. */
function root(f: (x: number) => number, from: number, to: number): number {
  let [low, high] = [from, to];
  for (let i = 0; i < 100; i++) {
    const middle = (low + high) / 2;
    if (middle === low || middle === high) break;
    if (f(middle) > 0) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** P(X <= x) for whole x, to be asked in ascending order where there is an upper bound. */
function cumulative(alpha: number, xMin: number, xMax: number): (x: number) => number {
  if (xMax === Number.POSITIVE_INFINITY) {
    const { value } = hurwitzZeta(alpha, xMin, xMin);
    return (x) => 1 - hurwitzZeta(alpha, x + 1, xMin).value / value;
  }
  const sums = new Float64Array(xMax - xMin + 1);
  let sum = 0;
  for (let x = xMin; x <= xMax; x++) {
    sum += (x / xMin) ** -alpha;
    sums[x - xMin] = sum;
  }
  return (x) => (x < xMin ? 0 : sums[x - xMin]! / sum);
}

function ksDistance(ascending: Float64Array, cdf: (x: number) => number): number {
  const n = ascending.length;
  let largest = 0;
  for (let i = 0; i < n; ) {
    const x = ascending[i]!;
    const before = i / n;
    while (ascending[i] === x) i++;
    const below = x === ascending[0] ? 0 : Math.abs(cdf(x - 1) - before);
    largest = Math.max(largest, below, Math.abs(cdf(x) - i / n));
  }
  return largest;
}

/**
 * Random numbers of a discrete power law.
 *
 * @param options.alpha - Above 1 without an upper bound.
 * @param options.xMin - Default 1.
 * @param options.xMax - Default infinity.
 * @returns `[n]`, whole numbers.
 * @throws {ArgumentError} if an option is out of range.
 *
 * Cost: O(log x) evaluations of the cumulative distribution per number.
 *
 * @example
 * samplePowerLaw(1000, { alpha: 2.5 }, createRng(3)).every((x) => x >= 1) // => true
 */
export function samplePowerLaw(
  n: number,
  {
    alpha,
    xMin = 1,
    xMax = Number.POSITIVE_INFINITY,
  }: { alpha: number; xMin?: number; xMax?: number },
  rng: Rng,
): Float64Array {
  const name = "samplePowerLaw";
  checkCount(name, "n", n, 0);
  checkCount(name, "xMin", xMin, 1);
  const unbounded = xMax === Number.POSITIVE_INFINITY;
  if (!unbounded) checkCount(name, "xMax", xMax, xMin);
  if (!Number.isFinite(alpha) || (unbounded && alpha <= 1)) {
    throw new ArgumentError(`${name}: expected alpha above 1, got ${alpha}`);
  }
  const cdf = cumulative(alpha, xMin, xMax);
  return Float64Array.from({ length: n }, () => {
    const u = rng.uniform();
    let low = xMin - 1; // cdf(low) <= u
    let high = unbounded ? xMin : xMax;
    while (unbounded && cdf(high) <= u && high < 2 ** 50) [low, high] = [high, high * 2];
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (cdf(middle) <= u) low = middle;
      else high = middle;
    }
    return high;
  });
}

/**
 * How often numbers drawn from the fitted law fit as badly as the values do: below 0.1 the law is ruled out.
 *
 * @param values - As fitted; those below xMin are resampled as they are.
 * @param fit - From {@link fitPowerLaw}.
 * @param options.nDraws - Default 100.
 * @param options.chooseXMin - Choose xMin anew in each draw, as it must be if it was chosen by "ks". Default false.
 * @param rng - Source of the draws.
 * @returns The share of draws whose Kolmogorov-Smirnov distance is at least that of the values: (1 + #) / (1 + nDraws).
 * @throws {ArgumentError} if nDraws is no whole number of at least 1.
 * @throws {DataError} if a value is no whole number of at least 1.
 *
 * Cost: nDraws fits.
 * Source: Clauset, Shalizi & Newman (2009), section 4.1.
 *
 * @example
 * const values = samplePowerLaw(500, { alpha: 2 }, createRng(1));
 * powerLawP(values, fitPowerLaw(values), { nDraws: 20 }, createRng(2)) > 0.1 // => true
 */
export function powerLawP(
  values: ArrayLike<number>,
  fit: PowerLawFit,
  { nDraws = 100, chooseXMin = false }: { nDraws?: number; chooseXMin?: boolean },
  rng: Rng,
): number {
  checkCount("powerLawP", "nDraws", nDraws, 1);
  checkCounts("powerLawP", "values", values, 1);
  const { alpha, xMin, xMax } = fit;
  const used = Float64Array.from(values).filter((x) => x <= xMax);
  const below = used.filter((x) => x < xMin);
  let worse = 0;
  for (let draw = 0; draw < nDraws; draw++) {
    let nTail = 0;
    const body: number[] = [];
    for (let i = 0; i < used.length; i++) {
      if (rng.uniform() * used.length < below.length) body.push(below[rng.below(below.length)]!);
      else nTail++;
    }
    const drawn = Float64Array.from([
      ...body,
      ...samplePowerLaw(nTail, { alpha, xMin, xMax }, rng),
    ]);
    try {
      const again = fitPowerLaw(drawn, { xMin: chooseXMin ? "ks" : xMin, xMax });
      if (again.ks >= fit.ks) worse++;
    } catch (error) {
      // A draw of equal values fits nothing: it counts as no better than the values.
      if (!(error instanceof DataError)) throw error;
      worse++;
    }
  }
  return (1 + worse) / (1 + nDraws);
}

/**
 * Whether values follow a power law rather than an exponential, by the likelihood ratio.
 *
 *   R = sum ln(p_power(x) / p_exponential(x)) over the values within xMin..infinity
 *
 * @param values - As fitted.
 * @param fit - From {@link fitPowerLaw}, without an upper bound.
 * @returns `logRatio` R, above 0 for the power law, and `p`, two-sided: above 0.1 neither is preferred.
 * @throws {ArgumentError} if the fit has an upper bound.
 *
 * Cost: O(n).
 * Source: Vuong (1989), Econometrica 57:307-333; Clauset, Shalizi & Newman (2009), section 5.
 *
 * @example
 * const values = samplePowerLaw(500, { alpha: 2 }, createRng(1));
 * const { logRatio, p } = powerLawAgainstExponential(values, fitPowerLaw(values));
 * logRatio > 0 && p < 0.05 // => true
 */
export function powerLawAgainstExponential(
  values: ArrayLike<number>,
  { alpha, xMin, xMax }: PowerLawFit,
): { logRatio: number; p: number } {
  if (xMax !== Number.POSITIVE_INFINITY) {
    throw new ArgumentError(
      `powerLawAgainstExponential: expected a fit without an upper bound, got xMax ${xMax}`,
    );
  }
  const tail = Float64Array.from(values).filter((x) => x >= xMin);
  const n = tail.length;
  const meanExcess = tail.reduce((sum, x) => sum + x - xMin, 0) / n;
  // The discrete exponential of the highest likelihood: p(x) = (1 - decay) decay^(x - xMin).
  const decay = meanExcess / (1 + meanExcess);
  const logZ = Math.log(hurwitzZeta(alpha, xMin, xMin).value) - alpha * Math.log(xMin);
  const ratios = tail.map(
    (x) => -alpha * Math.log(x) - logZ - Math.log(1 - decay) - (x - xMin) * Math.log(decay),
  );
  const logRatio = ratios.reduce((sum, r) => sum + r, 0);
  const variance = ratios.reduce((sum, r) => sum + (r - logRatio / n) ** 2, 0) / n;
  const p = variance === 0 ? 1 : 2 * normalCdf(-Math.abs(logRatio) / Math.sqrt(n * variance));
  return { logRatio, p };
}
