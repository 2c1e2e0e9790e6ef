import { fileURLToPath } from "node:url";
import { ArgumentError, DataError, InterruptedError } from "@penfield/core";
import { HookedModel, type InterventionOp } from "@penfield/hooks";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ablationMap, type RowMetric } from "./index.ts";

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../test/fixtures/${name}`, import.meta.url));
const prompts = [
  [5, 9, 7, 3],
  [2, 4, 6, 8],
  [11, 12, 13, 14],
];
/** Score of token 1 minus that of token 2 at the last position. */
const metric: RowMetric = ({ data, shape }, rows) => {
  const [, length, vocab] = shape as [number, number, number];
  return rows.map(({ row }) => {
    const last = (row * length + length - 1) * vocab;
    return data[last + 1]! - data[last + 2]!;
  });
};

describe.each(["gpt2", "llama", "neox"])("ablationMap: %s", (name) => {
  let model: HookedModel;
  beforeAll(async () => {
    model = await HookedModel.fromPretrained(fixture(name), { verify: "none", threads: 1 });
  });
  afterAll(() => model.dispose());

  test.each([
    ["blocks.1.mlp.hook_post", { type: "zero" }],
    ["blocks.0.hook_attn_out", { type: "constant", value: 0.5 }],
    ["blocks.1.hook_resid_pre", { type: "zero" }],
  ] as [string, InterventionOp][])(
    "%s: equals lesions one by one, bit for bit",
    async (hook, op) => {
      const units = [0, 3, 7, 11, 19];
      const { baseline, effects, nUnits } = await ablationMap(model, prompts, {
        hook,
        op,
        units,
        metric,
        batchSize: 4,
      });
      expect(nUnits).toBe(5);
      for (const [p, prompt] of prompts.entries()) {
        const plain = await model.run({ tokens: [prompt] });
        const [base] = metric(plain.logits!, [{ row: 0, prompt: 0 }]);
        expect(baseline[p]).toBe(base);
        for (const [u, unit] of units.entries()) {
          const logits = await model.runWithInterventions([prompt], [{ hook, op, units: [unit] }]);
          const [value] = metric(logits, [{ row: 0, prompt: 0 }]);
          expect(effects[u * prompts.length + p], `unit ${unit} prompt ${p}`).toBe(value! - base!);
        }
      }
    },
  );
});

describe("ablationMap", () => {
  let model: HookedModel;
  beforeAll(async () => {
    model = await HookedModel.fromPretrained(fixture("gpt2"), { verify: "none", threads: 1 });
  });
  afterAll(() => model.dispose());
  const hook = "blocks.1.mlp.hook_post";

  test("all units by default, whatever the size of a batch", async () => {
    const run = (batchSize: number) => ablationMap(model, prompts, { hook, metric, batchSize });
    const [small, large] = [await run(7), await run(1000)];
    expect(small.nUnits).toBe(model.cfg.dMlp);
    expect(small.effects).toEqual(large.effects);
    expect(small.effects.some((effect) => effect !== 0)).toBe(true);
  });

  test("what cannot be mapped is refused", async () => {
    const run = (tokens: number[][], more: object = {}) =>
      ablationMap(model, tokens, { hook, metric, ...more });
    await expect(run([[1, 2], [3]])).rejects.toThrow(DataError);
    await expect(run([[1, 2], [3]])).rejects.toThrow(/prompts of one length, got lengths 2, 1/);
    await expect(run([])).rejects.toThrow(/got no prompt/);
    await expect(run(prompts, { batchSize: 0 })).rejects.toThrow(ArgumentError);
    await expect(run(prompts, { hook: "hook_embed" })).rejects.toThrow(
      /expected a hook point of a block, got "hook_embed"/,
    );
    await expect(run(prompts, { signal: AbortSignal.abort() })).rejects.toThrow(InterruptedError);
  });

  test("progress counts ablations", async () => {
    const seen: number[] = [];
    await ablationMap(model, prompts, {
      hook,
      metric,
      units: [1, 2],
      batchSize: 4,
      onProgress: ({ done, total }) => seen.push(done / total),
    });
    expect(seen).toEqual([4 / 6, 1]);
  });
});
