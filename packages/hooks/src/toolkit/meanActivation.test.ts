import { fileURLToPath } from "node:url";
import { ArgumentError, DataError, HookPointError, InterruptedError } from "@penfield/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HookedModel, meanActivation } from "../index.ts";

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../../test/fixtures/${name}`, import.meta.url));
const rows = [
  [5, 9, 7, 3],
  [2, 4],
  [11, 12, 13],
];

describe.each(["gpt2", "llama"])("means of activations: %s", (name) => {
  let model: HookedModel;
  beforeAll(async () => {
    model = await HookedModel.fromPretrained(fixture(name), { threads: 1, verify: "none" });
  });
  afterAll(() => model.dispose());
  const hooks = ["blocks.0.hook_mlp_out", "blocks.1.attn.hook_z", "blocks.1.attn.hook_k"];

  test("equal the mean of rows read one by one; padding does not count, nor the batch", async () => {
    const got = await meanActivation(model, rows, hooks);
    for (const hook of hooks) {
      const { values, shape, nTokens } = got.get(hook)!;
      const sum = new Float64Array(values.length);
      for (const row of rows) {
        const { data } = (await model.run({ tokens: [row], capture: [hook] })).cache.get(hook)!;
        data.forEach((v, i) => {
          sum[i % sum.length]! += v;
        });
      }
      expect(nTokens).toBe(9);
      expect(shape.reduce((a, b) => a * b, 1)).toBe(values.length);
      expect(shape.length).toBe(hook.endsWith("_k") ? 2 : 1);
      values.forEach((v, i) => {
        expect(v).toBe(sum[i]! / 9);
      });
    }
    expect(await meanActivation(model, rows, hooks, { batchSize: 1 })).toEqual(got);
  });

  test("per position", async () => {
    const same = [rows[0]!, [1, 2, 3, 4]];
    const hook = hooks[0]!;
    const { values, shape, nTokens } = (
      await meanActivation(model, same, [hook], { perPosition: true })
    ).get(hook)!;
    const { data } = (await model.run({ tokens: same, capture: [hook] })).cache.get(hook)!;
    expect([shape, nTokens]).toEqual([[4, model.cfg.dModel], 2]);
    const half = data.length / 2;
    values.forEach((v, i) => {
      expect(v).toBe((data[i]! + data[half + i]!) / 2);
    });
  });

  test("patterns, and rows and hooks that do not fit, are refused", async () => {
    const means = (tokens: number[][], hook: string, options = {}) =>
      meanActivation(model, tokens, [hook], options);
    await expect(means([], hooks[0]!)).rejects.toThrow(DataError);
    await expect(means(rows, hooks[0]!, { perPosition: true })).rejects.toThrow(/lengths 4, 2, 3/);
    await expect(means(rows, "blocks.0.attn.hook_pattern")).rejects.toThrow(HookPointError);
    await expect(means(rows, "blocks.7.hook_mlp_out")).rejects.toThrow(HookPointError);
    await expect(means(rows, hooks[0]!, { batchSize: 0 })).rejects.toThrow(ArgumentError);
    await expect(means(rows, hooks[0]!, { signal: AbortSignal.abort() })).rejects.toThrow(
      InterruptedError,
    );
  });
});
