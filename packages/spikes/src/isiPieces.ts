import type { SpikeTrain } from "./spikeTrain.ts";

/** A train cut at its spikes: piece k lasts from edges[k] to edges[k + 1]. */
export interface IsiPieces {
  /** Those that the pieces are cut at; of an empty train both ends of the recording. */
  readonly times: Float64Array;
  /** tStart, the times, tStop: `[n + 2]`. */
  readonly edges: Float64Array;
  /** The interspike interval that holds within each piece, `[n + 1]`. */
  readonly isi: Float64Array;
}

/**
 * Interspike intervals over the whole recording. Before the first and after the last spike the interval is not known:
 * it is taken as the longer of the time to the edge and the neighbouring interval. An empty train counts as one with a
 * spike at each end.
 */
export function isiPieces({ times: own, tStart, tStop }: SpikeTrain): IsiPieces {
  const times = own.length > 0 ? own : Float64Array.of(tStart, tStop);
  const n = times.length;
  const edges = new Float64Array(n + 2);
  edges[0] = tStart;
  edges.set(times, 1);
  edges[n + 1] = tStop;
  const isi = Float64Array.from({ length: n + 1 }, (_, k) => edges[k + 1]! - edges[k]!);
  if (n > 1) {
    isi[0] = Math.max(isi[0]!, isi[1]!);
    isi[n] = Math.max(isi[n]!, isi[n - 1]!);
  }
  return { times, edges, isi };
}

/** The mean over the recording of what `integral` gives for every stretch without a spike of either train. */
export function meanOverPieces(
  a: IsiPieces,
  b: IsiPieces,
  integral: (pieceA: number, pieceB: number, from: number, to: number) => number,
): number {
  const start = a.edges[0]!;
  const stop = a.edges.at(-1)!;
  let total = 0;
  let from = start;
  for (let i = 0, j = 0; i < a.isi.length && j < b.isi.length; ) {
    const endA = a.edges[i + 1]!;
    const endB = b.edges[j + 1]!;
    const to = Math.min(endA, endB);
    if (to > from) total += integral(i, j, from, to);
    from = to;
    if (endA === to) i++;
    if (endB === to) j++;
  }
  return total / (stop - start);
}
