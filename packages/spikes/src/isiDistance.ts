import { checkSameWindow } from "./check.ts";
import { isiPieces, meanOverPieces } from "./isiPieces.ts";
import type { SpikeTrain } from "./spikeTrain.ts";

/**
 * The ISI-distance: how much two trains' interspike intervals differ, moment by moment. Without a time scale to choose.
 *
 *   D = (1 / T) integral |nu_a(t) - nu_b(t)| / max(nu_a(t), nu_b(t)) dt,  nu(t) = the interspike interval at t
 *
 * @param a - Times in seconds.
 * @param b - A train over the same time.
 * @returns 0 (equal intervals) to below 1. Before the first and after the last spike the interval is the longer of the time to
 *   the edge and the neighbouring interval; an empty train counts as one with a spike at each end.
 * @throws {ShapeError} if the trains were recorded over different times.
 *
 * Cost: O(n + m), one sweep.
 * Source: Kreuz et al. (2007), J Neurosci Methods 165:151-161; edges as in PySpike 0.7 `isi_distance`, which it matches.
 *
 * @example
 * const a = spikeTrain([0, 0.5, 1], { tStop: 1 });
 * const b = spikeTrain([0, 0.25, 0.5, 0.75, 1], { tStop: 1 });
 * isiDistance(a, b) // => 0.5
 */
export function isiDistance(a: SpikeTrain, b: SpikeTrain): number {
  checkSameWindow("isiDistance", a, b);
  const x = isiPieces(a);
  const y = isiPieces(b);
  return meanOverPieces(x, y, (i, j, from, to) => {
    const nuA = x.isi[i]!;
    const nuB = y.isi[j]!;
    return (Math.abs(nuA - nuB) / Math.max(nuA, nuB)) * (to - from);
  });
}
