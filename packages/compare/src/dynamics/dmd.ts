import { ArgumentError, DataError, ShapeError } from "@penfield/core";
import { cholesky, type Linalg, solveTriangular, svd } from "@penfield/linalg";
import { checkWhole, type Dense } from "../similarity/pair.ts";

/** Trajectories: `[nTrials, nTimes, nUnits]`, row-major. */
export interface Trajectories {
  readonly data: Float64Array;
  readonly nTrials: number;
  readonly nTimes: number;
  readonly nUnits: number;
}

export interface DelayDmdOptions {
  /** How many delayed copies of the state make up one. Default 1: none. */
  readonly delays?: number | undefined;
  /** Steps between delayed copies. Default 1. */
  readonly delayInterval?: number | undefined;
  /** How many singular vectors of the delayed states are kept. Default: all that are more than rounding. */
  readonly rank?: number | undefined;
  /** As many as explain this share of the variance, instead of a rank. */
  readonly variance?: number | undefined;
  /** The ridge penalty. Default 1e-8. */
  readonly lambda?: number | undefined;
  /** How many steps ahead the operator predicts. Default 1. */
  readonly stepsAhead?: number | undefined;
}

/** A linear model of the dynamics of delayed states. */
export interface DelayDmd {
  /** `[rank, rank]`: v(t + stepsAhead) = operator v(t). */
  readonly operator: Dense;
  readonly rank: number;
  /** Of the delayed states, descending. */
  readonly singularValues: Float64Array;
  /** The share of the variance of the delayed states that is kept. */
  readonly explained: number;
}

/**
 * Dynamic mode decomposition of delay-embedded trajectories (HAVOK-DMD): the linear map that best predicts
 * the leading components of the delayed states from themselves.
 *
 *   H = [x(t), x(t - tau), ...],  H = V S W^T,  A = argmin |V_+ - V_- A^T|^2 + lambda |A|^2
 *
 * @param trajectories - `[nTrials, nTimes, nUnits]`, finite. Not centred: take off means first if they mean nothing.
 * @returns The operator in the basis of the singular vectors, each with its largest entry positive.
 * @throws {ShapeError} if sizes do not fit, or there are too few times for the delays.
 * @throws {DataError} if a value is not finite, or the trajectories are all zeros.
 * @throws {ArgumentError} if an option is out of range.
 *
 * Cost: the singular value decomposition of `[nTrials nTimes, delays nUnits]`.
 * Source: Brunton et al. (2017), Nature Communications 8; Ostrow et al. (2023), NeurIPS. Matches DSA's DMD (which runs in float32).
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const decay = { data: Float64Array.of(1, 0.5, 0.25, 0.125), nTrials: 1, nTimes: 4, nUnits: 1 };
 * (await delayDmd(linalg, decay, { lambda: 0 })).operator.data[0].toFixed(9) // => "0.500000000"
 */
export async function delayDmd(
  linalg: Linalg,
  trajectories: Trajectories,
  {
    delays = 1,
    delayInterval = 1,
    rank: wanted,
    variance,
    lambda = 1e-8,
    stepsAhead = 1,
  }: DelayDmdOptions = {},
): Promise<DelayDmd> {
  const name = "delayDmd";
  checkWhole(name, "delays", delays, 1);
  checkWhole(name, "delayInterval", delayInterval, 1);
  checkWhole(name, "stepsAhead", stepsAhead, 1);
  if (wanted !== undefined) checkWhole(name, "rank", wanted, 1);
  if (variance !== undefined && !(variance > 0 && variance <= 1)) {
    throw new ArgumentError(`${name}: expected variance within 0..1, got ${variance}`);
  }
  if (!(lambda >= 0)) throw new ArgumentError(`${name}: expected lambda at least 0, got ${lambda}`);
  const { hankel, perTrial } = delayed(name, trajectories, delays, delayInterval);
  if (perTrial <= stepsAhead) {
    throw new ShapeError(
      `${name}: expected more than ${(delays - 1) * delayInterval + stepsAhead} times with these delays, got ${trajectories.nTimes}`,
    );
  }
  const { u, s } = await svd(hankel, linalg);
  if (s[0] === 0) throw new DataError(`${name}: expected trajectories, got zeros`);
  const rank = rankFor(s, Math.max(hankel.nRows, hankel.nColumns), wanted, variance);
  const states = signed(u, rank);
  const [now, next] = [0, stepsAhead].map((offset) =>
    timesOf(states, trajectories.nTrials, perTrial, offset, stepsAhead),
  ) as [Dense, Dense];
  const gram = await linalg.matmul(now, now, { transposeA: true });
  for (let i = 0; i < rank; i++) gram.data[i * rank + i]! += lambda;
  const cross = await linalg.matmul(now, next, { transposeA: true });
  const l = await cholesky(gram, linalg);
  const half = await solveTriangular(l, cross, linalg);
  const turned = await solveTriangular(l, half, linalg, { transpose: true });
  const operator = new Float64Array(rank * rank);
  for (let i = 0; i < rank; i++) {
    for (let j = 0; j < rank; j++) operator[i * rank + j] = turned.data[j * rank + i]!;
  }
  let [total, kept] = [0, 0];
  s.forEach((value, i) => {
    total += value * value;
    if (i < rank) kept += value * value;
  });
  return {
    operator: { data: operator, nRows: rank, nColumns: rank },
    rank,
    singularValues: s,
    explained: kept / total,
  };
}

/** States with their past, newest first, `[nTrials perTrial, delays nUnits]`. */
function delayed(
  name: string,
  { data, nTrials, nTimes, nUnits }: Trajectories,
  delays: number,
  interval: number,
): { hankel: Dense; perTrial: number } {
  if (nTrials * nTimes * nUnits !== data.length || data.length === 0) {
    throw new ShapeError(
      `${name}: expected sizes that multiply to ${data.length}, got ${nTrials} x ${nTimes} x ${nUnits}`,
    );
  }
  const at = data.findIndex((v) => !Number.isFinite(v));
  if (at >= 0) throw new DataError(`${name}: expected finite values, got ${data[at]}`);
  const perTrial = nTimes - (delays - 1) * interval;
  if (perTrial < 1) {
    throw new ShapeError(
      `${name}: expected more than ${(delays - 1) * interval} times with these delays, got ${nTimes}`,
    );
  }
  const width = delays * nUnits;
  const out = new Float64Array(nTrials * perTrial * width);
  for (let trial = 0; trial < nTrials; trial++) {
    for (let t = 0; t < perTrial; t++) {
      for (let d = 0; d < delays; d++) {
        const from = (trial * nTimes + t + (delays - 1 - d) * interval) * nUnits;
        out.set(data.subarray(from, from + nUnits), (trial * perTrial + t) * width + d * nUnits);
      }
    }
  }
  return { hankel: { data: out, nRows: nTrials * perTrial, nColumns: width }, perTrial };
}

function rankFor(
  s: Float64Array,
  size: number,
  wanted: number | undefined,
  variance: number | undefined,
): number {
  let most = 0;
  while (most < s.length && s[most]! > s[0]! * size * Number.EPSILON) most++;
  if (wanted !== undefined) return Math.min(wanted, most);
  if (variance === undefined) return most;
  const total = s.reduce((sum, v) => sum + v * v, 0);
  let explained = 0;
  for (let k = 0; k < most; k++) {
    explained += s[k]! ** 2;
    if (explained >= (variance - 1e-14) * total) return k + 1;
  }
  return most;
}

/** The first columns, each with its largest entry positive. */
function signed({ data, nRows, nColumns }: Dense, rank: number): Dense {
  const out = new Float64Array(nRows * rank);
  for (let j = 0; j < rank; j++) {
    let largest = 0;
    for (let i = 0; i < nRows; i++) {
      const v = data[i * nColumns + j]!;
      if (Math.abs(v) > Math.abs(largest)) largest = v;
    }
    const sign = largest < 0 ? -1 : 1;
    for (let i = 0; i < nRows; i++) out[i * rank + j] = sign * data[i * nColumns + j]!;
  }
  return { data: out, nRows, nColumns: rank };
}

/** Of every trial the states from `offset` on, as many as have a successor. */
function timesOf(
  states: Dense,
  nTrials: number,
  perTrial: number,
  offset: number,
  stepsAhead: number,
): Dense {
  const { data, nColumns } = states;
  const length = perTrial - stepsAhead;
  const out = new Float64Array(nTrials * length * nColumns);
  for (let trial = 0; trial < nTrials; trial++) {
    const from = (trial * perTrial + offset) * nColumns;
    out.set(data.subarray(from, from + length * nColumns), trial * length * nColumns);
  }
  return { data: out, nRows: nTrials * length, nColumns };
}
