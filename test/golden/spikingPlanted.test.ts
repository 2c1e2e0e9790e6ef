import { createRng, tensor } from "@penfield/core";
import { matrix } from "@penfield/linalg";
import {
  binCounts,
  chooseFactors,
  isiDistance,
  ornsteinUhlenbeck,
  participationRatio,
  populationFromSteps,
  spikeDistance,
  subspaceOverlap,
  vanRossum,
  victorPurpura,
  weightChange,
} from "@penfield/spikes";
import { type NirArray, type NirNode, SpikingModel } from "@penfield/spiking";
import { describe, expect, test } from "vitest";

const values = (data: ArrayLike<number>, ...shape: number[]): NirArray => ({
  data: Float64Array.from(data),
  shape,
});
const all = (n: number, value: number): NirArray => values(new Float64Array(n).fill(value), n);

/** Inputs through weights to LIF units of 20 ms, in steps of 1 ms. */
function layer(weight: ArrayLike<number>, nOut: number, nIn: number, bias: number): SpikingModel {
  const nodes = new Map<string, NirNode>([
    ["input", { type: "Input", shape: [nIn] }],
    ["fc", { type: "Affine", weight: values(weight, nOut, nIn), bias: all(nOut, bias) }],
    [
      "lif",
      {
        ...{ type: "LIF", tau: all(nOut, 0.02), r: all(nOut, 1), vLeak: all(nOut, 0) },
        ...{ vThreshold: all(nOut, 1), vReset: all(nOut, 0) },
      },
    ],
    ["output", { type: "Output", shape: [nOut] }],
  ]);
  const edges = [
    ["input", "fc"],
    ["fc", "lif"],
    ["lif", "output"],
  ] as const;
  const root = { type: "NIRGraph" as const, nodes, edges };
  return SpikingModel.fromGraph({ root, version: undefined }, { dt: 1e-3 });
}

async function trainsOf(model: SpikingModel, data: Float64Array, nIn: number) {
  const nSteps = data.length / nIn;
  const { output } = await model.run({ input: { data, shape: [1, nSteps, nIn] } });
  const n = output.shape[2];
  return populationFromSteps(tensor(output.data, ["time", "unit"], [nSteps, n]), {
    dtSeconds: 1e-3,
  });
}

describe("planted truths, through the simulator", () => {
  test("a network driven by three factors: their subspace within 15 degrees, about three dimensions", async () => {
    const rng = createRng(3);
    const [nUnits, nSteps] = [40, 40_000];
    const loadings = Float64Array.from({ length: nUnits * 3 }, () => 0.25 * rng.normal());
    const factors = [0, 1, 2].map(() => ornsteinUhlenbeck({ tauSteps: 200, nSteps }, rng));
    const data = Float64Array.from(
      { length: nSteps * 3 },
      (_, k) => factors[k % 3]![Math.floor(k / 3)]!,
    );
    const trains = await trainsOf(layer(loadings, nUnits, 3, 1.8), data, 3);
    const counts = binCounts(trains, { binSeconds: 0.1 });
    const nBins = counts.shape[1];
    const samples = tensor(
      Float64Array.from(
        { length: nBins * nUnits },
        (_, k) => counts.data[(k % nUnits) * nBins + Math.floor(k / nUnits)]!,
      ),
      ["time", "unit"],
      [nBins, nUnits],
    );
    const { nFactors, fit } = chooseFactors(samples, { maxFactors: 6, nFolds: 2 });
    expect(nFactors).toBe(3);
    const truth = matrix(loadings, nUnits, 3);
    const { angles } = subspaceOverlap(fit.loadings, truth, { nDirections: 3, side: "output" });
    for (const angle of angles) expect((angle * 180) / Math.PI).toBeLessThan(15);
    const dimensions = participationRatio(samples);
    expect(dimensions).toBeGreaterThan(2);
    expect(dimensions).toBeLessThan(4);
  });

  test("the same trains by other weights: distances say equal, weights say otherwise", async () => {
    const rng = createRng(4);
    const [nOut, half, nSteps] = [12, 10, 1000];
    // Each input comes twice; whole 64ths add up the same in any order.
    const weight = Float64Array.from(
      { length: nOut * 2 * half },
      () => Math.round(64 * rng.normal()) / 64,
    );
    const swapped = weight.map((_, k) => weight[k - (k % (2 * half)) + ((k + half) % (2 * half))]!);
    const data = new Float64Array(nSteps * 2 * half);
    for (let t = 0; t < nSteps; t++) {
      for (let i = 0; i < half; i++) {
        const active = rng.uniform() < 0.3 ? 1 : 0;
        data[t * 2 * half + i] = data[t * 2 * half + half + i] = active;
      }
    }
    const [a, b] = [
      await trainsOf(layer(weight, nOut, 2 * half, 1), data, 2 * half),
      await trainsOf(layer(swapped, nOut, 2 * half, 1), data, 2 * half),
    ];
    expect(a.trains.reduce((sum, { times }) => sum + times.length, 0)).toBeGreaterThan(100);
    a.trains.forEach((train, i) => {
      const other = b.trains[i]!;
      expect(vanRossum(train, other, { tauSeconds: 0.02 })).toBe(0);
      expect(victorPurpura(train, other, { costPerSecond: 50 })).toBe(0);
      expect(isiDistance(train, other)).toBe(0);
      expect(spikeDistance(train, other)).toBe(0);
    });
    const w = (values: Float64Array) => matrix(values, nOut, 2 * half);
    expect(Math.abs(weightChange(w(weight), w(swapped)).correlation)).toBeLessThan(0.3);
  });
});
