import { checkSameWindow } from "./check.ts";
import { type IsiPieces, isiPieces, meanOverPieces } from "./isiPieces.ts";
import type { SpikeTrain } from "./spikeTrain.ts";

/**
 * The SPIKE-distance: how far spikes are from the other train's nearest ones, weighted by the local rate. Without a
 * time scale to choose.
 *
 *   S_a(t) = (d_P x_F + d_F x_P) / nu_a,  d = distance of the preceding / following spike of a to the nearest of b
 *   S(t)   = (S_a nu_b + S_b nu_a) / (2 ((nu_a + nu_b) / 2)^2),  D = (1 / T) integral S(t) dt
 *
 * x_P and x_F are the times since the preceding and to the following spike, nu the interspike interval.
 *
 * @param a - Times in seconds.
 * @param b - A train over the same time.
 * @returns 0 (equal trains) to 1. Beyond the first and last spike their distances hold on, and each train is thought
 *   to go on with one more spike an interval away (at the edge at least); an empty train counts as one with a spike at each end.
 * @throws {ShapeError} if the trains were recorded over different times.
 *
 * S is a straight line between events, so that the trapezoid rule is exact.
 *
 * Cost: O(n + m), two sweeps.
 * Source: Kreuz et al. (2013), J Neurophysiol 109:1457-1472; edges as in PySpike 0.7 `spike_distance`, which it matches
 * (but for a train whose only spike is exactly at tStart, where PySpike thinks of a second one at tStop).
 *
 * @example
 * const a = spikeTrain([0.25, 0.5, 0.75], { tStop: 1 });
 * spikeDistance(a, a) // => 0
 * spikeDistance(a, spikeTrain([0.26, 0.5, 0.75], { tStop: 1 })) < 0.05 // => true
 */
export function spikeDistance(a: SpikeTrain, b: SpikeTrain): number {
  checkSameWindow("spikeDistance", a, b);
  const x = isiPieces(a);
  const y = isiPieces(b);
  const ofA = dissimilarity(x, nearestDistances(x, y));
  const ofB = dissimilarity(y, nearestDistances(y, x));
  return meanOverPieces(x, y, (i, j, from, to) => {
    const nuA = x.isi[i]!;
    const nuB = y.isi[j]!;
    // Twice the value in the middle: S is straight between events.
    const sA = 2 * ofA.start[i]! + ofA.slope[i]! * (from + to - 2 * x.edges[i]!);
    const sB = 2 * ofB.start[j]! + ofB.slope[j]! * (from + to - 2 * y.edges[j]!);
    const sum = nuA + nuB;
    return ((sA * nuB + sB * nuA) / (sum * sum)) * (to - from);
  });
}

/** How far each spike of `from` is from the nearest of `to`, which goes on by one spike beyond either end. */
function nearestDistances(from: IsiPieces, to: IsiPieces): Float64Array {
  const others = new Float64Array(to.times.length + 2);
  const n = to.times.length;
  others.set(to.times, 1);
  const before = n > 1 ? 2 * to.times[0]! - to.times[1]! : to.edges[0]!;
  const after = n > 1 ? 2 * to.times[n - 1]! - to.times[n - 2]! : to.edges[n + 1]!;
  others[0] = Math.min(to.edges[0]!, before);
  others[n + 1] = Math.max(to.edges[n + 1]!, after);
  let at = 0;
  return from.times.map((t) => {
    while (at + 1 < others.length && Math.abs(others[at + 1]! - t) <= Math.abs(others[at]! - t)) {
      at++;
    }
    return Math.abs(others[at]! - t);
  });
}

/** S of one train within each piece: its value at the start and its slope. Flat beyond the first and last spike. */
function dissimilarity(
  { edges, times }: IsiPieces,
  distances: Float64Array,
): { start: Float64Array; slope: Float64Array } {
  const n = times.length;
  const start = new Float64Array(n + 1);
  const slope = new Float64Array(n + 1);
  start.set(distances, 1);
  start[0] = distances[0]!;
  for (let piece = 1; piece < n; piece++) {
    const length = edges[piece + 1]! - edges[piece]!;
    if (length > 0) slope[piece] = (distances[piece]! - distances[piece - 1]!) / length;
  }
  return { start, slope };
}
