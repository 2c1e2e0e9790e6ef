import { ArgumentError, tensor } from "@penfield/core";
import type { TimeSeries } from "../types.ts";
import { checkedRuns, checkRate, columnOf } from "./series.ts";

/** Rates whose ratio has a larger numerator or denominator than this are not resampled between. */
const LARGEST_FACTOR = 5000;

/**
 * A time series at another rate. Where the rate falls, what the new one cannot carry is filtered out first.
 *
 * A polyphase filter: the signal, continued along the line from its first to its last value, is brought to `up` times
 * its rate by zeros, filtered by a windowed sinc (20 max(up, down) + 1 taps, Kaiser window, beta 5), and every
 * `down`-th value is kept. Runs are resampled one by one; events stay, since their times are in seconds.
 *
 * @param series - `[nTimes, nTargets]`, finite.
 * @param samplingRate - The new rate, Hz; its ratio to the old one must be that of whole numbers up to 5000.
 * @returns float64; each run has ceil(n up / down) samples, the first at the time of the old first one.
 * @throws {ArgumentError} if the rate is not positive or the ratio is not one of such numbers, or with several runs
 *   one would not start on a sample of the new rate.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: O(20 max(up, down) / up) per new sample and target.
 * Matches scipy.signal.resample_poly(x, up, down, padtype="line").
 *
 * @example
 * resample(timeSeriesOf({ values: [[0], [1], [2], [3], [4], [5]], samplingRate: 2 }), 1).data.data.length // => 3
 */
export function resample(series: TimeSeries, samplingRate: number): TimeSeries {
  const runs = checkedRuns("resample", series);
  checkRate("resample", "samplingRate", samplingRate);
  const [up, down] = ratio(samplingRate / series.samplingRate);
  const { data, shape } = series.data;
  const nTargets = shape[1];
  const split = runs.find(({ from }) => (from * up) % down !== 0);
  if (split !== undefined) {
    throw new ArgumentError(
      `resample: ${series.name}: expected runs that start on a sample of the new rate, got one at sample ${split.from}`,
      { hint: "Resample each run first, then concatenateRuns." },
    );
  }
  const sizes = runs.map(({ from, to }) => Math.ceil(((to - from) * up) / down));
  const onsets: number[] = [];
  let nTimes = 0;
  for (const size of sizes) {
    onsets.push(nTimes);
    nTimes += size;
  }
  const taps = lowPassTaps(up, down);
  const out = new Float64Array(nTimes * nTargets);
  runs.forEach((run, r) => {
    for (let t = 0; t < nTargets; t++) {
      const values = resampled(columnOf(data, nTargets, t, run), up, down, taps);
      for (let i = 0; i < values.length; i++) {
        out[(onsets[r]! + i) * nTargets + t] = values[i]!;
      }
    }
  });
  return {
    ...series,
    samplingRate,
    data: tensor(out, ["time", "target"], [nTimes, nTargets]),
    ...(series.runOnsets === undefined ? {} : { runOnsets: onsets }),
  };
}

/** One signal at `up / down` times its rate. */
export function resampleSignal(
  values: Float64Array,
  fromRate: number,
  toRate: number,
): Float64Array {
  const [up, down] = ratio(toRate / fromRate);
  return resampled(values, up, down, lowPassTaps(up, down));
}

function ratio(value: number): readonly [up: number, down: number] {
  for (let down = 1; down <= LARGEST_FACTOR; down++) {
    const up = Math.round(value * down);
    if (up >= 1 && up <= LARGEST_FACTOR && Math.abs(value * down - up) < 1e-8 * up) {
      return [up, down];
    }
  }
  throw new ArgumentError(
    `resample: expected rates in a ratio of whole numbers up to ${LARGEST_FACTOR}, got ${value}`,
  );
}

function resampled(
  values: Float64Array,
  up: number,
  down: number,
  taps: Float64Array,
): Float64Array {
  const n = values.length;
  if (up === down) return values.slice();
  const first = values[0]!;
  const slope = n > 1 ? (values[n - 1]! - first) / (n - 1) : 0;
  const half = (taps.length - 1) / 2;
  const out = new Float64Array(Math.ceil((n * up) / down));
  for (let m = 0; m < out.length; m++) {
    const at = m * down;
    const to = Math.floor((at + half) / up);
    let sum = 0;
    for (let j = Math.ceil((at - half) / up); j <= to; j++) {
      // Beyond its ends the signal goes on along the line from its first to its last value.
      const value = j < 0 || j >= n ? first + slope * j : values[j]!;
      sum += value * taps[at - j * up + half]!;
    }
    out[m] = sum;
  }
  return out;
}

/** A sinc of cutoff 1 / max(up, down) of the Nyquist frequency, in a Kaiser window, of sum `up`. */
function lowPassTaps(up: number, down: number): Float64Array {
  const most = Math.max(up, down);
  const half = 10 * most;
  const beta = 5;
  const taps = Float64Array.from({ length: 2 * half + 1 }, (_, i) => {
    const x = (i - half) / most;
    const sinc = x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
    return sinc * besselI0(beta * Math.sqrt(1 - ((i - half) / half) ** 2));
  });
  const scale = up / taps.reduce((sum, value) => sum + value, 0);
  return taps.map((value) => value * scale);
}

/** The modified Bessel function of order 0, by its power series (all terms positive). */
function besselI0(x: number): number {
  let term = 1;
  let sum = 1;
  for (let k = 1; term > 1e-17 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}
