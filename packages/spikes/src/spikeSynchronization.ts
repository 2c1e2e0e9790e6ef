import { ArgumentError, ShapeError } from "@penfield/core";
import { checkSameWindow } from "./check.ts";
import type { SpikeTrain } from "./spikeTrain.ts";

/** Limits what counts as a coincidence. */
export interface SpikeSynchronizationOptions {
  /** Spikes further apart never coincide, in seconds. Default: no limit but that of the intervals. */
  readonly maxWindowSeconds?: number | undefined;
}

/**
 * SPIKE-synchronization: the share of spikes that coincide with one of the other train. Without a time scale to choose:
 * spikes coincide if they are closer than half of the shortest of the intervals around both.
 *
 *   coincident(i, j)  if |a_i - b_j| < tau_ij = min(intervals before and after a_i and b_j) / 2,  or a_i = b_j
 *   C = (coincident spikes of a + of b) / (n + m)
 *
 * @param a - Times in seconds.
 * @param b - A train over the same time.
 * @param options.maxWindowSeconds - An upper bound of tau_ij, in seconds.
 * @returns 0 to 1 (all coincide); 1 if both trains are empty, 0 if one is.
 * @throws {ShapeError} if the trains were recorded over different times.
 * @throws {ArgumentError} if maxWindowSeconds is not above 0.
 *
 * Cost: O(n + m): only the nearest spike can coincide.
 * Source: Kreuz, Mulansky & Bozanic (2015), J Neurophysiol 113:3432-3445. Matches PySpike 0.7 `spike_sync`.
 *
 * @example
 * const a = spikeTrain([0.1, 0.5], { tStop: 1 });
 * const b = spikeTrain([0.11, 0.9], { tStop: 1 });
 * spikeSynchronization(a, b) // => 0.5
 */
export function spikeSynchronization(
  a: SpikeTrain,
  b: SpikeTrain,
  options: SpikeSynchronizationOptions = {},
): number {
  const { coincident, total } = coincidences(a, b, options);
  return total === 0 ? 1 : coincident / total;
}

/**
 * SPIKE-synchronization of several trains: coincident spikes over all spikes, added over all pairs.
 *
 * @param trains - At least two, over the same time.
 * @returns 0 to 1; 1 if all are empty.
 * @throws {ShapeError} if there are fewer than two trains or times differ.
 *
 * Cost: O(nTrains * spikes).
 * Source: as {@link spikeSynchronization}; matches PySpike 0.7 `spike_sync` of a list.
 *
 * @example
 * const a = spikeTrain([0.5], { tStop: 1 });
 * spikeSynchronizationOfMany([a, a, spikeTrain([], { tStop: 1 })]) // => 0.5
 */
export function spikeSynchronizationOfMany(
  trains: readonly SpikeTrain[],
  options: SpikeSynchronizationOptions = {},
): number {
  if (trains.length < 2) {
    throw new ShapeError(
      `spikeSynchronizationOfMany: expected at least 2 trains, got ${trains.length}`,
    );
  }
  let coincident = 0;
  let total = 0;
  for (let i = 0; i < trains.length; i++) {
    for (let j = i + 1; j < trains.length; j++) {
      const pair = coincidences(trains[i]!, trains[j]!, options);
      coincident += pair.coincident;
      total += pair.total;
    }
  }
  return total === 0 ? 1 : coincident / total;
}

function coincidences(
  a: SpikeTrain,
  b: SpikeTrain,
  { maxWindowSeconds = Number.POSITIVE_INFINITY }: SpikeSynchronizationOptions,
): { coincident: number; total: number } {
  checkSameWindow("spikeSynchronization", a, b);
  if (!(maxWindowSeconds > 0)) {
    throw new ArgumentError(
      `spikeSynchronization: expected maxWindowSeconds above 0, got ${maxWindowSeconds}`,
    );
  }
  const longest = Math.min(maxWindowSeconds, (a.tStop - a.tStart) / 2);
  const coincident =
    coincidentSpikes(a.times, b.times, longest) + coincidentSpikes(b.times, a.times, longest);
  return { coincident, total: a.times.length + b.times.length };
}

/** How many spikes of x coincide with one of y. */
function coincidentSpikes(x: Float64Array, y: Float64Array, longest: number): number {
  if (y.length === 0) return 0;
  let count = 0;
  let j = 0;
  for (let i = 0; i < x.length; i++) {
    const t = x[i]!;
    while (j + 1 < y.length && Math.abs(y[j + 1]! - t) <= Math.abs(y[j]! - t)) j++;
    const apart = Math.abs(y[j]! - t);
    const window = Math.min(longest, shortestAround(x, i) / 2, shortestAround(y, j) / 2);
    if (apart === 0 || apart < window) count++;
  }
  return count;
}

function shortestAround(times: Float64Array, i: number): number {
  const before = i > 0 ? times[i]! - times[i - 1]! : Number.POSITIVE_INFINITY;
  const after = i + 1 < times.length ? times[i + 1]! - times[i]! : Number.POSITIVE_INFINITY;
  return Math.min(before, after);
}
