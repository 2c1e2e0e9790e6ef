import { checkPositive, checkSameWindow } from "./check.ts";
import type { SpikeTrain } from "./spikeTrain.ts";

/**
 * The spike time tiling coefficient: a correlation of spike times that does not depend on the rates.
 *
 *   STTC = ((P_A - T_B) / (1 - P_A T_B) + (P_B - T_A) / (1 - P_B T_A)) / 2
 *
 * P_A is the share of spikes of A within dt of one of B, T_A the share of the recording within dt of a spike of A.
 *
 * @param a - Times in seconds.
 * @param b - A train over the same time.
 * @param options.windowSeconds - dt to each side, in seconds.
 * @returns -1 to 1; 1 for equal trains; NaN if a train is empty. A term whose P T is 1 counts as 1.
 * @throws {ShapeError} if the trains were recorded over different times.
 * @throws {ArgumentError} if windowSeconds is not above 0.
 *
 * Cost: O(n + m).
 * Source: Cutts & Eglen (2014), J Neurosci 34:14288-14303. Matches elephant 1.2 `spike_time_tiling_coefficient`.
 *
 * @example
 * const a = spikeTrain([0.2, 0.7], { tStop: 1 });
 * sttc(a, a, { windowSeconds: 0.005 }) // => 1
 * sttc(a, spikeTrain([0.45], { tStop: 1 }), { windowSeconds: 0.05 }).toFixed(3) // => "-0.150"
 */
export function sttc(
  a: SpikeTrain,
  b: SpikeTrain,
  { windowSeconds }: { windowSeconds: number },
): number {
  checkPositive("sttc", "windowSeconds", windowSeconds);
  checkSameWindow("sttc", a, b);
  if (a.times.length === 0 || b.times.length === 0) return Number.NaN;
  const term = (p: number, t: number): number => (p * t === 1 ? 1 : (p - t) / (1 - p * t));
  const [pA, pB] = [
    shareNear(a.times, b.times, windowSeconds),
    shareNear(b.times, a.times, windowSeconds),
  ];
  return (term(pA, tiled(b, windowSeconds)) + term(pB, tiled(a, windowSeconds))) / 2;
}

/** The share of the recording within `window` of a spike. */
function tiled({ times, tStart, tStop }: SpikeTrain, window: number): number {
  let covered = 0;
  let until = tStart;
  for (const t of times) {
    const to = Math.min(tStop, t + window);
    covered += Math.max(0, to - Math.max(until, t - window));
    until = Math.max(until, to);
  }
  return Math.min(1, covered / (tStop - tStart));
}

/** The share of spikes of x within `window` of one of y. */
function shareNear(x: Float64Array, y: Float64Array, window: number): number {
  let near = 0;
  let j = 0;
  for (const t of x) {
    while (j + 1 < y.length && Math.abs(y[j + 1]! - t) <= Math.abs(y[j]! - t)) j++;
    if (Math.abs(y[j]! - t) <= window) near++;
  }
  return near / x.length;
}
