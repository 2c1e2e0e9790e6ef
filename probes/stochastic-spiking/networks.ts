import type { Trials } from "@penfield/compare";
import { createRng, permutation, type Rng } from "@penfield/core";
import { type NirArray, type NirGraph, SpikingModel } from "@penfield/spiking";

export interface Size {
  readonly nPerGroup: number;
  readonly nUnits: number;
  readonly nFeatures: number;
  /** Units that share a source of noise, in the second kind. */
  readonly nShared: number;
  readonly nStimuli: number;
  readonly nRepeats: number;
  readonly nSteps: number;
}

export const SIZE: Size = {
  nPerGroup: 6,
  nUnits: 24,
  nFeatures: 6,
  nShared: 8,
  nStimuli: 10,
  nRepeats: 60,
  nSteps: 200,
};

export const DT_SECONDS = 0.001;

/** Current without a stimulus, what features add, and the noise of a step. */
const DRIVE = { base: 0.95, gain: 0.25, noise: 1 } as const;
const TAU_SECONDS = 0.02;

export type NoiseKind = "private" | "shared";

/** A network with the order of its units. */
export interface NoisyNetwork {
  readonly model: SpikingModel;
  readonly kind: NoiseKind;
  /** For each unit its place in the weights that all networks share. */
  readonly order: Int32Array;
}

const array = (data: Float64Array, ...shape: number[]): NirArray => ({ data, shape });
const equal = (n: number, value: number): NirArray => array(new Float64Array(n).fill(value), n);

/** What all networks have in common: weights from features to units, `[nUnits, nFeatures]`, and stimuli `[nStimuli, nFeatures]`. */
export function commonGround(
  seed: number,
  { nUnits, nFeatures, nStimuli }: Size,
): {
  readonly weights: Float64Array;
  readonly stimuli: Float64Array;
} {
  const rng = createRng(seed, 6_000_000);
  const normal = (n: number, scale: number) =>
    Float64Array.from({ length: n }, () => scale * rng.normal());
  return {
    weights: normal(nUnits * nFeatures, 1 / Math.sqrt(nFeatures)),
    stimuli: normal(nStimuli * nFeatures, 1),
  };
}

/**
 * A network of LIF units with inputs for features and for as many sources of noise as units. Kinds differ in which source a
 * unit listens to, and in nothing else.
 */
export function noisyNetwork(
  weights: Float64Array,
  kind: NoiseKind,
  rng: Rng,
  { nUnits, nFeatures, nShared }: Size,
): NoisyNetwork {
  const order = permutation(nUnits, rng);
  const nInputs = nFeatures + nUnits;
  const all = new Float64Array(nUnits * nInputs);
  order.forEach((place, unit) => {
    for (let f = 0; f < nFeatures; f++) {
      all[unit * nInputs + f] = DRIVE.gain * weights[place * nFeatures + f]!;
    }
    const source = kind === "private" ? place : Math.floor(place / nShared);
    all[unit * nInputs + nFeatures + source] = DRIVE.noise;
  });
  const graph: NirGraph = {
    version: undefined,
    root: {
      type: "NIRGraph",
      nodes: new Map([
        ["input", { type: "Input", shape: [nInputs] }],
        [
          "drive",
          { type: "Affine", weight: array(all, nUnits, nInputs), bias: equal(nUnits, DRIVE.base) },
        ],
        [
          "units",
          {
            type: "LIF",
            tau: equal(nUnits, TAU_SECONDS),
            r: equal(nUnits, 1),
            vLeak: equal(nUnits, 0),
            vThreshold: equal(nUnits, 1),
            vReset: equal(nUnits, 0),
          },
        ],
        ["output", { type: "Output", shape: [nUnits] }],
      ]),
      edges: [
        ["input", "drive"],
        ["drive", "units"],
        ["units", "output"],
      ],
    },
  };
  const model = SpikingModel.fromGraph(graph, { dt: DT_SECONDS, name: `${kind}-noise` });
  return { model, kind, order };
}

/** Features and noise of all repeats of all stimuli, `[nStimuli * nRepeats, nSteps, nFeatures + nUnits]`. */
export function noisyInput(
  stimuli: Float64Array,
  rng: Rng,
  { nUnits, nFeatures, nStimuli, nRepeats, nSteps }: Size,
): { readonly data: Float32Array; readonly shape: readonly number[] } {
  const nInputs = nFeatures + nUnits;
  const data = new Float32Array(nStimuli * nRepeats * nSteps * nInputs);
  for (let at = 0; at < data.length; at += nInputs) {
    const stimulus = Math.floor(at / (nRepeats * nSteps * nInputs));
    for (let f = 0; f < nFeatures; f++) data[at + f] = stimuli[stimulus * nFeatures + f]!;
    for (let j = nFeatures; j < nInputs; j++) data[at + j] = rng.normal();
  }
  return { data, shape: [nStimuli * nRepeats, nSteps, nInputs] };
}

/** Spike counts of each unit in each trial. */
export async function countSpikes(
  { model }: NoisyNetwork,
  input: ReturnType<typeof noisyInput>,
  { nUnits, nStimuli, nRepeats }: Size,
  signal?: AbortSignal,
): Promise<Trials> {
  const { cache } = await model.run({
    input,
    capture: [{ hook: "units.spikes", as: "events" }],
    signal,
  });
  const { row, unit } = cache.get("units.spikes")!.events!;
  const data = new Float64Array(nStimuli * nRepeats * nUnits);
  row.forEach((r, k) => {
    data[r * nUnits + unit[k]!]! += 1;
  });
  return { data, nStimuli, nRepeats, nUnits };
}
