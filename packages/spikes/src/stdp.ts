import { ArgumentError } from "@penfield/core";
import { type Matrix, matrix } from "@penfield/linalg";
import { checkPositive } from "./check.ts";
import type { SpikeTrain } from "./spikeTrain.ts";

/** The pair rule of spike-timing-dependent plasticity. */
export interface StdpRule {
  /** Gain of a post-synaptic spike after a pre-synaptic one. Default 1. */
  readonly aPlus?: number | undefined;
  /** Loss of a post-synaptic spike before a pre-synaptic one; a positive number weakens. Default 1. */
  readonly aMinus?: number | undefined;
  /** In seconds. Default 0.02. */
  readonly tauPlusSeconds?: number | undefined;
  /** In seconds. Default 0.02. */
  readonly tauMinusSeconds?: number | undefined;
  /** `all` pairs, or each spike with the `nearest` earlier one of the other side. Default all. */
  readonly pairing?: "all" | "nearest" | undefined;
}

/** What a rule predicts for one synapse. */
export interface StdpChange {
  /** potentiation - depression. */
  readonly change: number;
  readonly potentiation: number;
  readonly depression: number;
}

/**
 * The weight change that STDP predicts for a synapse, from its spikes alone: nothing is learned or written back.
 *
 *   dw = A+ sum over post spikes of x(t) - A- sum over pre spikes of y(t)
 *   x, y: traces of pre and post spikes that decay with tau+ and tau-
 *   all:     a spike adds 1 to its trace;  nearest: it sets it to 1
 *
 * @param pre - Times in seconds at which spikes reach the synapse (add the delay with `shiftTrain`).
 * @param post - Times in seconds.
 * @param options - The rule; see {@link StdpRule}.
 * @returns The change and its two parts. Spikes at the same time count neither way, as both traces are read before they
 *   are raised; 0 if a train is empty.
 * @throws {ArgumentError} if a time constant is not above 0, a gain is not finite or the pairing is unknown.
 *
 * Cost: O(n + m), one sweep.
 * Source: Song, Miller & Abbott (2000), Nat Neurosci 3:919-926; pairings as in Morrison, Diesmann & Gerstner (2008), Biol
 * Cybern 98:459-478.
 *
 * @example
 * const pre = spikeTrain([0.1], { tStop: 1 });
 * const post = spikeTrain([0.12], { tStop: 1 });
 * stdpChange(pre, post).change.toFixed(4) // => "0.3679"
 * stdpChange(post, pre).change.toFixed(4) // => "-0.3679"
 */
export function stdpChange(pre: SpikeTrain, post: SpikeTrain, rule: StdpRule = {}): StdpChange {
  const {
    aPlus = 1,
    aMinus = 1,
    tauPlusSeconds = 0.02,
    tauMinusSeconds = 0.02,
    pairing = "all",
  } = rule;
  const name = "stdpChange";
  checkPositive(name, "tauPlusSeconds", tauPlusSeconds);
  checkPositive(name, "tauMinusSeconds", tauMinusSeconds);
  if (!(Number.isFinite(aPlus) && Number.isFinite(aMinus))) {
    throw new ArgumentError(`${name}: expected finite gains, got ${aPlus} and ${aMinus}`);
  }
  if (pairing !== "all" && pairing !== "nearest") {
    throw new ArgumentError(`${name}: expected pairing all or nearest, got ${pairing}`);
  }
  const [p, q] = [pre.times, post.times];
  let x = 0;
  let y = 0;
  let last = Math.min(p[0] ?? Number.POSITIVE_INFINITY, q[0] ?? Number.POSITIVE_INFINITY);
  let plus = 0;
  let minus = 0;
  for (let i = 0, j = 0; i < p.length || j < q.length; ) {
    const now = Math.min(p[i] ?? Number.POSITIVE_INFINITY, q[j] ?? Number.POSITIVE_INFINITY);
    x *= Math.exp(-(now - last) / tauPlusSeconds);
    y *= Math.exp(-(now - last) / tauMinusSeconds);
    let [nPre, nPost] = [0, 0];
    for (; p[i] === now; i++) nPre++;
    for (; q[j] === now; j++) nPost++;
    plus += nPost * x;
    minus += nPre * y;
    if (nPre > 0) x = pairing === "all" ? x + nPre : 1;
    if (nPost > 0) y = pairing === "all" ? y + nPost : 1;
    last = now;
  }
  const [potentiation, depression] = [aPlus * plus, aMinus * minus];
  return { change: potentiation - depression, potentiation, depression };
}

/**
 * The weight changes that STDP predicts for all synapses between two groups of units, to set beside those between
 * two checkpoints (`weightChange`).
 *
 * @param pre - Trains of the units that send.
 * @param post - Trains of the units that receive.
 * @param rule - As in {@link stdpChange}.
 * @returns `[nPost, nPre]`, as weights are stored.
 * @throws {ArgumentError} if the rule is out of range.
 *
 * Cost: O(nPost nPre (spikes per train)).
 *
 * @example
 * const pre = [0.1, 0.5].map((t) => spikeTrain([t], { tStop: 1 }));
 * const post = [spikeTrain([0.12], { tStop: 1 })];
 * stdpChanges(pre, post).data.map((v) => Math.round(v * 1000) / 1000).join(" ") // => "0.368 0"
 */
export function stdpChanges(
  pre: readonly SpikeTrain[],
  post: readonly SpikeTrain[],
  rule: StdpRule = {},
): Matrix<Float64Array> {
  const data = new Float64Array(pre.length * post.length);
  post.forEach((receiver, i) => {
    pre.forEach((sender, j) => {
      data[i * pre.length + j] = stdpChange(sender, receiver, rule).change;
    });
  });
  return matrix(data, post.length, pre.length);
}
