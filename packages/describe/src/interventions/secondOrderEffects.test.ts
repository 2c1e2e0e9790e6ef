import { fileURLToPath } from "node:url";
import { ArgumentError, createRng, DataError } from "@penfield/core";
import { HookedModel } from "@penfield/hooks";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { secondOrderLens } from "../explainers/secondOrderLens.ts";
import { secondOrderEffects } from "./secondOrderEffects.ts";

const fixture = fileURLToPath(
  new URL("../../../../test/fixtures/clip/vision_model.onnx", import.meta.url),
);
const rng = createRng(3);
const [N, SIZE] = [6, 3 * 8 * 8];
const pixels = {
  data: Float32Array.from({ length: N * SIZE }, () => 3 * rng.normal()),
  shape: [N, 3, 8, 8],
};
const [LAYER, UNIT, WIDTH, HEADS] = [0, 5, 24, 3];
const post = "blocks.0.mlp.hook_post";

let model: HookedModel;
beforeAll(async () => {
  model = await HookedModel.fromPretrained(fixture, { verify: "none" });
});
afterAll(() => model.dispose());

describe("secondOrderEffects", () => {
  test("equals patterns times changed values, head by head", async () => {
    const effects = await secondOrderEffects(
      model,
      { pixel_values: pixels },
      { layer: LAYER, unit: UNIT },
    );
    expect(effects.shape).toEqual([N, WIDTH]);
    const inputs = { pixel_values: pixels };
    const names = ["attn.hook_pattern", "attn.hook_v", "hook_attn_out"].map((n) => `blocks.1.${n}`);
    const clean = (await model.run({ inputs, capture: [post, ...names], head: "none" })).cache;
    const nUnits = clean.get(post)!.shape[2]!;
    const own = clean.get(post)!.data.filter((_, i) => i % nUnits === UNIT);
    const value = own.reduce((sum, x) => sum + x, 0) / own.length;
    const set = { hook: post, op: { type: "constant", value }, units: [UNIT] } as const;
    const ablated = await model.run({ inputs, capture: names, interventions: [set], head: "none" });
    const [pattern, v] = [clean.get(names[0]!)!, ablated.cache.get(names[1]!)!];
    const [length, size] = [pattern.shape[2]!, WIDTH / HEADS];
    // z at the class token: the clean pattern over the values without the unit.
    for (let s = 0; s < N; s++) {
      const z = Float64Array.from({ length: WIDTH }, (_, j) => {
        const head = Math.floor(j / size);
        let sum = 0;
        for (let p = 0; p < length; p++) {
          const weight = pattern.data[(s * HEADS + head) * length * length + p]!;
          sum += weight * v.data[((s * length + p) * HEADS + head) * size + (j % size)]!;
        }
        return sum;
      });
      const { cache } = await model.run({
        inputs: {
          pixel_values: {
            data: pixels.data.slice(s * SIZE, (s + 1) * SIZE),
            shape: [1, 3, 8, 8],
          },
        },
        capture: [names[2]!],
        interventions: [
          { hook: "blocks.1.attn.hook_z", op: { type: "mean", values: z }, positions: [0] },
        ],
        head: "none",
      });
      const changed = cache.get(names[2]!)!.data;
      const plain = clean.get(names[2]!)!.data;
      for (let j = 0; j < WIDTH; j++) {
        const expected = plain[s * length * WIDTH + j]! - changed[j]!;
        expect(effects.data[s * WIDTH + j]!).toBeCloseTo(expected, 5);
      }
    }
    expect(Math.max(...effects.data.map(Math.abs))).toBeGreaterThan(1e-4);
  });

  test("goes into the lens", async () => {
    const inputs = { pixel_values: pixels };
    const effects = await secondOrderEffects(model, inputs, { layer: 0, unit: UNIT });
    const names = ["a", "b", "c"];
    const lens = secondOrderLens(effects, {
      names,
      embeddings: { ...effects, data: effects.data.slice(0, 3 * WIDTH), shape: [3, WIDTH] },
    });
    expect(lens.shareAlong).toBeGreaterThan(0.5); // One unit writes nearly along one direction in so small a model.
    expect(lens.strongest.length).toBe(N);
  });

  test("errors", async () => {
    const inputs = { pixel_values: pixels };
    const run = (
      options: { layer: number; unit: number; position?: number },
      own: object = inputs,
    ) => secondOrderEffects(model, own as typeof inputs, options);
    await expect(run({ layer: 1, unit: 0 })).rejects.toThrow(/before the last of 2, got 1/);
    await expect(run({ layer: 0, unit: 48 })).rejects.toThrow(/unit within 0..47/);
    await expect(run({ layer: 0, unit: 0, position: 5 })).rejects.toThrow(ArgumentError);
    await expect(run({ layer: 0, unit: 0 }, {})).rejects.toThrow(DataError);
  });
});
