import { type Activations, createRng, ShapeError, tensor } from "@penfield/core";
import { HookedModel } from "@penfield/hooks";
import { createLinalg } from "@penfield/linalg";
import { organismFolder } from "@penfield/organisms";
import { meanOverRepeats, simulateRecording } from "@penfield/recordings";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DirectInterfaceOptions, directInterface } from "./directInterface.ts";

const N = 100;
const linalg = createLinalg();
let model: HookedModel;
/** One of a few first words and one of many second ones: what is named next depends on both. */
const rng = createRng(4);
const tokens = Array.from({ length: N }, () => [
  300 + rng.below(6),
  500 + rng.below(6),
  700 + rng.below(4),
]);

beforeAll(async () => {
  model = await HookedModel.fromPretrained(organismFolder("organism-a"), {
    verify: "none",
    threads: 1,
  });
});
afterAll(async () => {
  await model.dispose();
  await linalg.dispose();
});

const hook = (layer: number): string => `blocks.${layer}.hook_resid_post`;

/** A brain that listens to a layer's activity at the last token. */
async function brainOf(layer: number, signalToNoise: number, nTargets = 60) {
  const { cache } = await model.run({
    tokens,
    capture: [hook(layer)],
    reduce: "last",
    head: "none",
  });
  const { data } = cache.get(hook(layer))!;
  const units: Activations = tensor(
    data as Float32Array,
    ["stimulus", "unit"],
    [N, data.length / N],
  );
  const ids = tokens.map((_, i) => String(i));
  return meanOverRepeats(simulateRecording(units, ids, { nTargets, signalToNoise, seed: 2 }));
}

const put = (
  responses: Awaited<ReturnType<typeof brainOf>>,
  options: DirectInterfaceOptions = {},
) => directInterface(model, tokens, responses, { linalg, nShuffles: 2, ...options });

describe("directInterface", () => {
  test("planted truth: the layer that the brain listens to can be replaced by it, noise cannot", async () => {
    const layer = await brainOf(3, 50);
    const noise = tensor(
      Float64Array.from({ length: N * 60 }, () => rng.normal()),
      ["stimulus", "target"],
      [N, 60],
    );
    const both = tensor(
      Float64Array.from({ length: N * 120 }, (_, at) => {
        const [i, t] = [Math.floor(at / 120), at % 120];
        return t < 60 ? layer.data[i * 60 + t]! : noise.data[i * 60 + t - 60]!;
      }),
      ["stimulus", "target"],
      [N, 120],
    );
    const range = (from: number) => Array.from({ length: 60 }, (_, t) => from + t);
    const { intact, meanActivity, cells } = await put(both, {
      hooks: [hook(3)],
      regions: { listening: range(0), noise: range(60) },
    });
    expect(intact).toBe(1);
    const [listening, none] = cells;
    expect(listening!.r).toBeGreaterThan(0.5);
    expect(listening!.behaviour).toBeGreaterThan(0.6);
    for (const floor of [...listening!.shuffled, none!.behaviour, meanActivity.get(hook(3))!]) {
      expect(floor).toBeLessThan(listening!.behaviour - 0.2);
    }
    expect(Math.abs(none!.r)).toBeLessThan(0.15);
  });

  test("without noise and with enough targets the model does what it did", async () => {
    const exact = await brainOf(4, Number.POSITIVE_INFINITY, 200);
    const { cells } = await put(exact, {
      hooks: [hook(4)],
      nShuffles: 0,
      encoding: { alphas: [1e-3] },
    });
    expect(cells[0]!.behaviour).toBeGreaterThan(0.9);
  });

  test("any behaviour of the scores at the last token can be asked for", async () => {
    const responses = await brainOf(3, 50);
    const seen = new Set<number>();
    const { intact, cells } = await put(responses, {
      hooks: [hook(5)],
      nShuffles: 1,
      behaviour: (logits, stimulus) => {
        seen.add(stimulus);
        return Math.max(...logits);
      },
    });
    expect(seen.size).toBe(N);
    expect(intact).not.toBe(1);
    expect(cells[0]!.perStimulus.length).toBe(N);
  });

  test("is the same for the same seed, and refuses what does not fit", async () => {
    const responses = await brainOf(3, 5);
    const run = () => put(responses, { hooks: [hook(2)], seed: 7 });
    expect(await run()).toEqual(await run());
    await expect(directInterface(model, tokens.slice(1), responses)).rejects.toThrow(ShapeError);
    await expect(put(responses, { regions: { none: [] } })).rejects.toThrow(
      /targets in every region/,
    );
    await expect(put(responses, { hooks: "blocks.0.attn.hook_pattern" })).rejects.toThrow(
      /axes batch, pos and units, got blocks.0.attn.hook_pattern/,
    );
    await expect(put(responses, { nFolds: 1 })).rejects.toThrow(/folds/);
    await expect(put(responses, { nShuffles: -1 })).rejects.toThrow(/nShuffles/);
  });
});
