import { ArgumentError, ShapeError } from "@penfield/core";
import { checkFinite } from "./check.ts";
import { interspikeIntervals, type SpikeTrain } from "./spikeTrain.ts";

/**
 * The coefficient of variation of the interspike intervals.
 *
 *   CV = sd(I) / mean(I), the sd with n in the denominator
 *
 * @param train - Times in seconds.
 * @returns 0 for a clock, about 1 for a Poisson process, more for bursts and drifting rates. NaN for fewer than two
 *   spikes, or if all are at one time; 0 for exactly two spikes, which says nothing.
 *
 * Cost: O(n). Matches elephant 1.2 `cv` (scipy.stats.variation).
 *
 * @example
 * cv(spikeTrain([0, 0.1, 0.4], { tStop: 1 })).toFixed(3) // => "0.500"
 */
export function cv(train: SpikeTrain): number {
  const intervals = interspikeIntervals(train);
  const n = intervals.length;
  if (n === 0) return Number.NaN;
  const mean = intervals.reduce((sum, v) => sum + v, 0) / n;
  const squares = intervals.reduce((sum, v) => sum + (v - mean) ** 2, 0);
  return mean === 0 ? Number.NaN : Math.sqrt(squares / n) / mean;
}

/** The mean of a function of neighbouring intervals; pairs of two intervals of 0 are left out. */
function meanOverNeighbours(train: SpikeTrain, of: (i: number, next: number) => number): number {
  const intervals = interspikeIntervals(train);
  let sum = 0;
  let n = 0;
  for (let k = 0; k + 1 < intervals.length; k++) {
    const [i, next] = [intervals[k]!, intervals[k + 1]!];
    if (i + next === 0) continue;
    sum += of(i, next);
    n++;
  }
  return n === 0 ? Number.NaN : sum / n;
}

/**
 * CV2: local variation of the interspike intervals, blind to slow changes of the rate.
 *
 *   CV2 = mean of 2 |I_{k+1} - I_k| / (I_{k+1} + I_k)
 *
 * @param train - Times in seconds.
 * @returns 0 to 2; about 1 for a Poisson process; NaN for fewer than three spikes. Pairs of two intervals of 0 (three
 *   spikes at one time) are left out.
 *
 * Cost: O(n).
 * Source: Holt et al. (1996), J Neurophysiol 75:1806-1814. Matches elephant 1.2 `cv2`.
 *
 * @example
 * cv2(spikeTrain([0, 0.1, 0.4], { tStop: 1 })).toFixed(3) // => "1.000"
 */
export function cv2(train: SpikeTrain): number {
  return meanOverNeighbours(train, (i, next) => (2 * Math.abs(next - i)) / (next + i));
}

/**
 * LV: Shinomoto's local variation.
 *
 *   LV = 3 mean of ((I_k - I_{k+1}) / (I_k + I_{k+1}))^2
 *
 * @param train - Times in seconds.
 * @returns 0 to 3; 1 for a Poisson process; NaN for fewer than three spikes.
 *
 * Cost: O(n).
 * Source: Shinomoto, Shima & Tanji (2003), Neural Comput 15:2823-2842. Matches elephant 1.2 `lv`.
 *
 * @example
 * lv(spikeTrain([0, 0.1, 0.4], { tStop: 1 })).toFixed(3) // => "0.750"
 */
export function lv(train: SpikeTrain): number {
  return 3 * meanOverNeighbours(train, (i, next) => ((i - next) / (i + next)) ** 2);
}

/**
 * LvR: {@link lv} corrected for a refractory time.
 *
 *   LvR = 3 mean of (1 - 4 I_k I_{k+1} / (I_k + I_{k+1})^2) (1 + 4 R / (I_k + I_{k+1}))
 *
 * @param train - Times in seconds.
 * @param options.refractorySeconds - R, 0 or more, in seconds. Default 0.005.
 * @returns NaN for fewer than three spikes.
 * @throws {ArgumentError} if refractorySeconds is negative or not finite.
 *
 * Cost: O(n).
 * Source: Shinomoto et al. (2009), PLoS Comput Biol 5:e1000433. Matches elephant 1.2 `lvr`.
 *
 * @example
 * lvr(spikeTrain([0, 0.1, 0.4], { tStop: 1 }), { refractorySeconds: 0.005 }).toFixed(4) // => "0.7875"
 */
export function lvr(
  train: SpikeTrain,
  { refractorySeconds = 0.005 }: { refractorySeconds?: number } = {},
): number {
  if (!(refractorySeconds >= 0 && Number.isFinite(refractorySeconds))) {
    throw new ArgumentError(
      `lvr: expected refractorySeconds of 0 or more, got ${refractorySeconds}`,
    );
  }
  return (
    3 *
    meanOverNeighbours(train, (i, next) => {
      const sum = i + next;
      return (1 - (4 * i * next) / sum ** 2) * (1 + (4 * refractorySeconds) / sum);
    })
  );
}

/**
 * The Fano factor: how much spike counts vary over trials, in units of a Poisson process.
 *
 *   F = var(counts) / mean(counts), the variance with n in the denominator
 *
 * @param counts - Spikes of one unit in each trial, at least one, finite, 0 or more.
 * @returns 1 for a Poisson process; NaN if there was no spike; 0 for one trial, which says nothing.
 * @throws {ShapeError} if there is no trial.
 * @throws {DataError} if a count is not finite.
 *
 * Cost: O(n). Source: Fano (1947), Phys Rev 72:26. Matches elephant 1.2 `fanofactor` (which uses n, not n - 1).
 *
 * @example
 * fanoFactor([2, 4, 4, 6]) // => 0.5
 */
export function fanoFactor(counts: ArrayLike<number>): number {
  const n = counts.length;
  if (n === 0) throw new ShapeError("fanoFactor: expected at least one trial, got none");
  checkFinite("fanoFactor", "counts", counts);
  let sum = 0;
  for (let i = 0; i < n; i++) sum += counts[i]!;
  const mean = sum / n;
  let squares = 0;
  for (let i = 0; i < n; i++) squares += (counts[i]! - mean) ** 2;
  return mean === 0 ? Number.NaN : squares / n / mean;
}
