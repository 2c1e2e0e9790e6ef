import { createRng, DataError } from "@penfield/core";
import {
  branchingRatio,
  cracklingNoise,
  findAvalanches,
  powerLawAgainstExponential,
  powerLawP,
} from "@penfield/spikes";
import type { SpikingIntervention } from "@penfield/spiking";
import { quantile, studentTQuantile } from "@penfield/stats";
import type { SpikingNetwork } from "./network.ts";
import { CHANNELS } from "./task.ts";

const N_RECORDINGS = 10;
const N_STEPS = 3000;
/** Steps at the beginning that are left out: the network starts from rest. */
const WARM_UP = 200;
/** Chance of a pulse per step on left and on right: what the task's weaker side has. */
const DRIVE = 0.1;
/** Longest lag of the regression, in steps: 0.5 s. */
const K_MAX = 100;

/** Spikes of all units per step, one array for each recording. */
export type Activity = readonly Float64Array[];

/** A weak and steady drive of both sides, the same for every lesion. */
export function steadyDrive(seed: number): {
  readonly data: Uint8Array;
  readonly shape: readonly number[];
} {
  const data = new Uint8Array(N_RECORDINGS * N_STEPS * CHANNELS.length);
  const rng = createRng(seed, 4_000_000);
  for (let at = 0; at < data.length; at += CHANNELS.length) {
    for (const side of [0, 1]) if (rng.uniform() < DRIVE) data[at + side] = 1;
  }
  return { data, shape: [N_RECORDINGS, N_STEPS, CHANNELS.length] };
}

/** The population's activity under the drive; units that are silenced send nothing and count nothing. */
export async function recordActivity(
  { model, spikes }: SpikingNetwork,
  drive: ReturnType<typeof steadyDrive>,
  interventions: readonly SpikingIntervention[],
  signal?: AbortSignal,
): Promise<Activity> {
  const { cache } = await model.run({
    input: drive,
    capture: [{ hook: spikes, from: WARM_UP }],
    interventions,
    signal,
  });
  const { data, shape } = cache.get(spikes)!;
  const [nRows, nSteps, nUnits] = shape;
  return Array.from({ length: nRows }, (_, row) =>
    Float64Array.from({ length: nSteps }, (_, t) => {
      const at = (row * nSteps + t) * nUnits;
      let sum = 0;
      for (let j = 0; j < nUnits; j++) sum += data[at + j]!;
      return sum;
    }),
  );
}

/** How long activity outlasts its cause. */
export interface Branching {
  /** NaN where activity does not vary. */
  readonly m: number;
  /** Jackknife over recordings, 95 %. */
  readonly interval: readonly [number, number] | null;
  readonly tauSteps: number;
  readonly naive: number;
  readonly spikesPerStep: number;
  readonly warnings: readonly string[];
}

/**
 * The branching ratio of recordings, with an interval.
 *
 * @param withInterval - The interval costs as many fits as there are recordings.
 */
export function estimateBranching(activity: Activity, withInterval: boolean): Branching {
  const total = activity.reduce((sum, a) => sum + a.reduce((s, v) => s + v, 0), 0);
  const spikesPerStep = total / activity.reduce((sum, a) => sum + a.length, 0);
  if (activity.every((a) => a.every((v) => v === activity[0]![0]))) {
    return {
      m: Number.NaN,
      interval: null,
      tauSteps: Number.NaN,
      naive: Number.NaN,
      spikesPerStep,
      warnings: ["Activity does not vary."],
    };
  }
  const { m, tauSeconds, naive, warnings } = branchingRatio(activity, { kMax: K_MAX });
  const parts = withInterval
    ? activity.map((_, i) => branchingRatio(activity.toSpliced(i, 1), { kMax: K_MAX }).m)
    : [];
  const n = parts.length;
  const centre = parts.reduce((sum, v) => sum + v, 0) / n;
  const error = Math.sqrt(((n - 1) / n) * parts.reduce((sum, v) => sum + (v - centre) ** 2, 0));
  const half = withInterval ? studentTQuantile(0.975, n - 1) * error : Number.NaN;
  return {
    m,
    interval: withInterval ? [m - half, m + half] : null,
    tauSteps: tauSeconds,
    naive,
    spikesPerStep,
    warnings,
  };
}

/** Below this, an exponent of avalanches says nothing. */
const LEAST_AVALANCHES = 1000;
const LEAST_DECADES = 2;

/**
 * Avalanches of activity as sentences. Activity of a network that is never silent has no gaps between avalanches, so
 * they are excursions above the median: their size is the area above it.
 */
export function describeAvalanches(activity: Activity, seed: number): string {
  const all = activity.flatMap((a) => [...a]);
  const silent = all.filter((v) => v === 0).length / all.length;
  const threshold = Math.floor(quantile(all, 0.5));
  const found = activity.map((a) =>
    findAvalanches(
      a.map((v) => Math.max(0, v - threshold)),
      { truncated: "drop" },
    ),
  );
  const sizes = Float64Array.from(found.flatMap((f) => [...f.sizes]));
  const durations = Float64Array.from(found.flatMap((f) => [...f.durations]));
  const head = `${(100 * silent).toFixed(1)} % of steps are silent; ${sizes.length} excursions above the median (${threshold} spikes per step)`;
  if (sizes.length < 50 || new Set(sizes).size < 3 || new Set(durations).size < 3) {
    return `${head}: too few for any exponent.`;
  }
  try {
    const { size, duration, measured, predicted } = cracklingNoise(
      { sizes, durations },
      { size: { xMin: "ks" }, duration: { xMin: "ks" } },
    );
    const p = powerLawP(sizes, size, { nDraws: 50, chooseXMin: true }, createRng(seed, 4_000_001));
    const { logRatio, p: pRatio } = powerLawAgainstExponential(sizes, size);
    const decades = Math.log10(sizes.reduce((a, b) => Math.max(a, b), 0) / size.xMin);
    const enough = size.nTail >= LEAST_AVALANCHES && decades >= LEAST_DECADES;
    const verdict =
      p < 0.1
        ? "The power law does not fit."
        : "A power law cannot be ruled out, which is not much.";
    const caution = enough
      ? ""
      : ` That is too little for a claim about criticality: it would take ${LEAST_AVALANCHES} excursions over ${LEAST_DECADES} decades.`;
    return `${head}. Size exponent ${size.alpha.toFixed(2)} from ${size.xMin} spikes on (${size.nTail} excursions over ${decades.toFixed(2)} decades; p = ${p.toFixed(2)} for the power law; log likelihood ratio against an exponential ${logRatio.toFixed(1)}, p = ${pRatio.toFixed(3)}), duration exponent ${duration.alpha.toFixed(2)}; size grows with duration by ${measured.toFixed(2)} where the crackling relation predicts ${predicted.toFixed(2)}. ${verdict}${caution}`;
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    return `${head}: too few for any exponent (${error.message}).`;
  }
}
