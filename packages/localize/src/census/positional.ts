import { DataError, ShapeError } from "@penfield/core";
import { logGamma } from "@penfield/stats";
import { mix } from "./batch.ts";

/** How much the position in a document says about whether a unit is active, in nats. */
export interface PositionalInformation {
  /** As counted. Too high: counts scatter, and scatter looks like information. */
  readonly information: number;
  /** What counts that know nothing of position give on average, at this unit's rate. */
  readonly bias: number;
  /** Miller's first-order form of the bias, (nPositions - 1) / (2 nTokens): good where each position has many active tokens. */
  readonly millerBias: number;
  /** `information` - `bias`; about 0 for a unit that ignores position, and may be a little below. */
  readonly corrected: number;
}

/**
 * Mutual information between position and activity,
 *
 *   I = sum over p of (n_p / n) [f_p log(f_p / f) + (1 - f_p) log((1 - f_p) / (1 - f))],
 *
 * with its bias removed. With equally long documents all weights n_p / n are 1 / T, as published.
 *
 * @param nActive - Active tokens at each position.
 * @param nTokens - Tokens at each position; positions without any are passed over.
 * @throws {ShapeError} if the lengths differ.
 * @throws {DataError} if there are no tokens, or more active ones than tokens.
 *
 * Cost: O(nPositions), times the spread of the counts for the bias.
 * Source: Voita, Ferrando & Nalmpantis (2024), Neurons in Large Language Models: Dead, N-gram, Positional; flagged above
 * 0.05 there, without a correction. First-order bias: Miller (1955). The bias used here is the exact mean of the sum under
 * binomial counts with rate f (less the share 1 / 2n that estimating f takes away), as the first order fails at low rates.
 *
 * @example
 * // Active at the first two of four positions and nowhere else: all that can be known, log 2.
 * positionalInformation([100, 100, 0, 0], [100, 100, 100, 100]).information.toFixed(4) // => "0.6931"
 */
export function positionalInformation(
  nActive: ArrayLike<number>,
  nTokens: ArrayLike<number>,
): PositionalInformation {
  if (nActive.length !== nTokens.length) {
    throw new ShapeError(
      `positionalInformation: expected as many positions, got ${nActive.length} and ${nTokens.length}`,
    );
  }
  let total = 0;
  let active = 0;
  let nPositions = 0;
  for (let p = 0; p < nTokens.length; p++) {
    if (!(nActive[p]! >= 0 && nActive[p]! <= nTokens[p]!)) {
      throw new DataError(
        `positionalInformation: expected at most ${nTokens[p]} active tokens at position ${p}, got ${nActive[p]}`,
      );
    }
    total += nTokens[p]!;
    active += nActive[p]!;
    if (nTokens[p]! > 0) nPositions++;
  }
  if (total === 0) throw new DataError("positionalInformation: expected tokens, got none");
  const rate = active / total;
  const millerBias = (nPositions - 1) / (2 * total);
  if (rate === 0 || rate === 1) return { information: 0, bias: 0, millerBias, corrected: 0 };
  const means = new Map<number, number>();
  let information = 0;
  let bias = -1 / (2 * total);
  for (let p = 0; p < nTokens.length; p++) {
    const n = nTokens[p]!;
    if (n === 0) continue;
    information += (n / total) * divergence(nActive[p]! / n, rate);
    let mean = means.get(n);
    if (mean === undefined) {
      mean = meanDivergence(n, rate);
      means.set(n, mean);
    }
    bias += (n / total) * mean;
  }
  return { information, bias, millerBias, corrected: information - bias };
}

/** Of a coin with rate g from one with rate f, in nats. */
function divergence(g: number, f: number): number {
  const on = g === 0 ? 0 : g * Math.log(g / f);
  return on + (g === 1 ? 0 : (1 - g) * Math.log((1 - g) / (1 - f)));
}

/** The mean divergence of an observed rate from the true one, f, when n are observed. */
function meanDivergence(n: number, f: number): number {
  // With many expected on both sides the first order is exact to a part in thousands.
  if (n * Math.min(f, 1 - f) > 1000) return 1 / (2 * n);
  const spread = 8 * Math.sqrt(n * f * (1 - f)) + 8;
  const low = Math.max(0, Math.floor(n * f - spread));
  const high = Math.min(n, Math.ceil(n * f + spread));
  const logChoose = (k: number) => logGamma(n + 1) - logGamma(k + 1) - logGamma(n - k + 1);
  let probability = Math.exp(logChoose(low) + low * Math.log(f) + (n - low) * Math.log(1 - f));
  let sum = 0;
  for (let k = low; k <= high; k++) {
    sum += probability * divergence(k / n, f);
    probability *= ((n - k) / (k + 1)) * (f / (1 - f));
  }
  return sum;
}

/**
 * How often the positional information of a unit is reached when its activity is shifted round within each document by a
 * random number of tokens: what is left is everything about the unit but where in the document it is active.
 *
 * @param active - 1 where the unit is active, the documents' tokens one after the other.
 * @param starts - Where each document begins, and after the last where it ends.
 * @param options.nShifts - Default 99, so that p is 0.01 at least.
 * @returns p = (1 + shifts that reach it) / (1 + nShifts).
 * @throws {DataError} if there are no tokens.
 *
 * @example
 * // Active on the first of four tokens, in ten documents.
 * const active = Uint8Array.from({ length: 40 }, (_, i) => Number(i % 4 === 0));
 * circularShiftP(active, Array.from({ length: 11 }, (_, d) => 4 * d)) // => 0.01
 */
export function circularShiftP(
  active: Uint8Array,
  starts: ArrayLike<number>,
  {
    nShifts = 99,
    seed = 0,
    positionsPerBin = 1,
  }: { nShifts?: number; seed?: number; positionsPerBin?: number } = {},
): number {
  if (active.length === 0) throw new DataError("circularShiftP: expected tokens, got none");
  let longest = 1;
  for (let d = 0; d + 1 < starts.length; d++) {
    longest = Math.max(longest, starts[d + 1]! - starts[d]!);
  }
  const nBins = Math.ceil(longest / positionsPerBin);
  const nTokens = new Float64Array(nBins);
  const counts = new Float64Array(nBins);
  const places: number[] = [];
  const documentOf: number[] = [];
  for (let d = 0; d + 1 < starts.length; d++) {
    for (let i = starts[d]!; i < starts[d + 1]!; i++) {
      nTokens[Math.floor((i - starts[d]!) / positionsPerBin)]!++;
      if (active[i] === 0) continue;
      places.push(i - starts[d]!);
      documentOf.push(d);
    }
  }
  const shifts = new Int32Array(Math.max(0, starts.length - 1));
  const information = (): number => {
    counts.fill(0);
    for (let i = 0; i < places.length; i++) {
      const d = documentOf[i]!;
      const length = starts[d + 1]! - starts[d]!;
      counts[Math.floor(((places[i]! + shifts[d]!) % length) / positionsPerBin)]!++;
    }
    let sum = 0;
    const rate = places.length / starts[starts.length - 1]!;
    if (rate === 0 || rate === 1) return 0;
    for (let p = 0; p < nBins; p++) sum += nTokens[p]! * divergence(counts[p]! / nTokens[p]!, rate);
    return sum;
  };
  const own = information();
  let reached = 0;
  for (let s = 0; s < nShifts; s++) {
    for (let d = 0; d < shifts.length; d++) {
      shifts[d] = mix(s * shifts.length + d, seed) % Math.max(1, starts[d + 1]! - starts[d]!);
    }
    // Equal up to the order of the sum counts as reached.
    if (information() >= own * (1 - 1e-12)) reached++;
  }
  return (1 + reached) / (1 + nShifts);
}
