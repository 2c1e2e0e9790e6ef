import { checkNotNegative } from "./check.ts";
import type { SpikeTrain } from "./spikeTrain.ts";

/**
 * Victor and Purpura's distance: the least it costs to turn one train into the other by adding or deleting
 * spikes (1 each) and moving them (q per second).
 *
 *   D = min over sequences of steps of  #added + #deleted + q sum |moved by|
 *
 * @param a - Times in seconds; the recording's ends play no part.
 * @param b - Another train.
 * @param options.costPerSecond - q, in 1/s. 0 compares counts only; infinity counts spikes that coincide exactly.
 *   Spikes are matched only within 2 / q.
 * @returns 0 or more; the number of spikes if one train is empty. A metric for q > 0.
 * @throws {ArgumentError} if costPerSecond is negative or NaN.
 *
 * Cost: both trains are cut where no spike is within 2 / q of the next; within a part of n and m spikes
 * O(n m) time, O(m) memory.
 * Source: Victor & Purpura (1996), J Neurophysiol 76:1310-1326. Matches elephant 1.2 `victor_purpura_distance`.
 *
 * @example
 * const a = spikeTrain([0.1, 0.5], { tStop: 1 });
 * const b = spikeTrain([0.11, 0.9], { tStop: 1 });
 * victorPurpura(a, b, { costPerSecond: 10 }).toFixed(6) // => "2.100000"
 */
export function victorPurpura(
  a: SpikeTrain,
  b: SpikeTrain,
  { costPerSecond }: { costPerSecond: number },
): number {
  checkNotNegative("victorPurpura", "costPerSecond", costPerSecond);
  const x = a.times;
  const y = b.times;
  const reach = 2 / costPerSecond;
  let total = 0;
  for (let i = 0, j = 0; i < x.length || j < y.length; ) {
    const fromX = i;
    const fromY = j;
    let last = Math.min(x[i] ?? Number.POSITIVE_INFINITY, y[j] ?? Number.POSITIVE_INFINITY);
    for (;;) {
      const next = Math.min(x[i] ?? Number.POSITIVE_INFINITY, y[j] ?? Number.POSITIVE_INFINITY);
      const gap = next - last;
      if (next === Number.POSITIVE_INFINITY || (gap > 0 && gap >= reach)) break;
      if (next === x[i]) i++;
      else j++;
      last = next;
    }
    total += alignmentCost(x.subarray(fromX, i), y.subarray(fromY, j), costPerSecond);
  }
  return total;
}

function alignmentCost(x: Float64Array, y: Float64Array, q: number): number {
  if (x.length === 0 || y.length === 0) return x.length + y.length;
  // row[j]: cost of the spikes of x so far against the first j of y.
  const row = Float64Array.from({ length: y.length + 1 }, (_, j) => j);
  for (let i = 0; i < x.length; i++) {
    let diagonal = row[0]!;
    row[0] = i + 1;
    for (let j = 0; j < y.length; j++) {
      const apart = Math.abs(x[i]! - y[j]!);
      const moved = diagonal + (apart === 0 ? 0 : q * apart);
      diagonal = row[j + 1]!;
      row[j + 1] = Math.min(diagonal + 1, row[j]! + 1, moved);
    }
  }
  return row[y.length]!;
}
