import { ArgumentError, createRng, sha256 } from "@penfield/core";

/** Time steps of a trial, of 5 ms: evidence up to `evidenceEnd`, a delay, then the response. */
export const TRIAL = { nSteps: 120, evidenceEnd: 40, responseStart: 90 } as const;

/** What the network's inputs carry. */
export const CHANNELS = ["left", "right", "now-left", "now-right", "remember", "report"] as const;

/** Chance of a pulse per step on the favoured side and on the other, from easy to hard. */
const RATES = [
  [0.3, 0.1],
  [0.26, 0.14],
  [0.23, 0.17],
] as const;
const NOW_RATES = [0.6, 0.1] as const;

/** Side 0 is left, 1 is right. */
type Side = 0 | 1;

/** One trial: what was shown and what is asked. */
interface Trial {
  /** `remember`: which side had more pulses before the delay. `report`: which side pulses now. */
  readonly task: "remember" | "report";
  readonly answer: Side;
  /** The side with more pulses before the delay, whatever is asked. */
  readonly more: Side;
  /** Pulses before the delay. */
  readonly count: readonly [left: number, right: number];
  /** 0 easy, 1, 2 hard. */
  readonly level: 0 | 1 | 2;
}

export interface Trials {
  readonly list: readonly Trial[];
  /** `[nTrials, 120, 6]`, 0 or 1. */
  readonly pulses: Uint8Array;
  /** Of pulses and labels: the same in training/spiking_trials.py. */
  readonly sha256: string;
}

/**
 * Trials of a working-memory task in pulses. Both sides pulse for 40 steps; nothing happens for 50; then, for 30, a cue
 * asks either which side had pulsed more (`remember`), or which side pulses now (`report`). Ties are broken by one pulse.
 *
 * @param first - Number of the first trial: trial i of a seed is the same whatever is made beside it.
 * @throws {ArgumentError} if n or first is no whole number of 1, or 0, or more.
 */
export function makeTrials(n: number, seed: number, first = 0): Trials {
  if (!(Number.isSafeInteger(n) && n >= 1 && Number.isSafeInteger(first) && first >= 0)) {
    throw new ArgumentError(
      `makeTrials: expected n >= 1 trials from number 0 on, got ${n} from ${first}`,
    );
  }
  const pulses = new Uint8Array(n * TRIAL.nSteps * CHANNELS.length);
  const size = TRIAL.nSteps * CHANNELS.length;
  const list = Array.from({ length: n }, (_, i) =>
    fillTrial(pulses.subarray(i * size, (i + 1) * size), seed, first + i),
  );
  return { list, pulses, sha256: digest(list, pulses) };
}

/** Every trial takes the same number of draws from a stream of its own. */
function fillTrial(pulses: Uint8Array, seed: number, stream: number): Trial {
  const rng = createRng(seed, stream);
  const side = (): Side => (rng.uniform() >= 0.5 ? 1 : 0);
  const favoured = side();
  const level = Math.floor(3 * rng.uniform()) as 0 | 1 | 2;
  const task = side() === 0 ? "remember" : "report";
  const now = side();
  const coin = side();
  const at = (step: number, channel: number): number => step * CHANNELS.length + channel;
  const count: [number, number] = [0, 0];
  for (let t = 0; t < TRIAL.evidenceEnd; t++) {
    for (const s of [0, 1] as const) {
      if (rng.uniform() >= RATES[level]![favoured === s ? 0 : 1]) continue;
      pulses[at(t, s)] = 1;
      count[s]++;
    }
  }
  for (let t = TRIAL.responseStart; t < TRIAL.nSteps; t++) {
    for (const s of [0, 1] as const) {
      const pulse = rng.uniform() < NOW_RATES[now === s ? 0 : 1];
      if (pulse && task === "report") pulses[at(t, 2 + s)] = 1;
    }
    pulses[at(t, task === "remember" ? 4 : 5)] = 1;
  }
  if (count[0] === count[1]) {
    let t = TRIAL.evidenceEnd - 1;
    while (pulses[at(t, coin)] === 1) t--;
    pulses[at(t, coin)] = 1;
    count[coin]++;
  }
  const more: Side = count[1] > count[0] ? 1 : 0;
  return { task, answer: task === "remember" ? more : now, more, count, level };
}

/** Some of the trials, in the order given. Copy. */
export function selectTrials({ list, pulses }: Trials, indices: readonly number[]): Trials {
  const size = TRIAL.nSteps * CHANNELS.length;
  const some = new Uint8Array(indices.length * size);
  indices.forEach((i, k) => {
    some.set(pulses.subarray(i * size, (i + 1) * size), k * size);
  });
  const chosen = indices.map((i) => list[i]!);
  return { list: chosen, pulses: some, sha256: digest(chosen, some) };
}

function digest(list: readonly Trial[], pulses: Uint8Array): string {
  const labels = list.flatMap(({ task, answer, more, level }) => [
    task === "remember" ? 0 : 1,
    answer,
    more,
    level,
  ]);
  return sha256(Buffer.concat([pulses, Uint8Array.from(labels)]));
}
