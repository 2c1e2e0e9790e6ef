import { fileURLToPath } from "node:url";
import { ArgumentError, HookPointError, InterruptedError } from "@penfield/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type CircuitNode,
  circuitOf,
  discoverCircuit,
  faithfulness,
  HookedModel,
  logitDiff,
} from "../index.ts";

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../../test/fixtures/${name}`, import.meta.url));
const tokens = [
  [5, 9, 7, 3],
  [6, 1, 7, 3],
];
const reference = [
  [2, 4, 6, 8],
  [11, 12, 13, 14],
];
const metric = logitDiff({ tokens: 11, incorrectTokens: 12 });

describe.each(["gpt2", "llama"])("discoverCircuit: %s", (name) => {
  let model: HookedModel;
  beforeAll(async () => {
    model = await HookedModel.fromPretrained(fixture(name), { threads: 1, verify: "none" });
  });
  afterAll(() => model.dispose());
  const options = { tokens, reference, metric };

  test.each([0.01, 0.04])(
    "threshold %d: equals trying one part after the other, whatever the batch",
    async (threshold) => {
      const got = await discoverCircuit(model, { ...options, threshold });
      const hooks = ["blocks.*.attn.hook_z", "blocks.*.hook_mlp_out"];
      const F = async (nodes: readonly CircuitNode[]) =>
        faithfulness(model, circuitOf(model, nodes), { ...options, hooks });
      let left = [1, 0].flatMap((layer): CircuitNode[] => [
        { hook: `blocks.${layer}.hook_mlp_out` },
        ...Array.from({ length: model.cfg.nHeads! }, (_, i) => ({
          hook: `blocks.${layer}.attn.hook_z`,
          head: model.cfg.nHeads! - 1 - i,
        })),
      ]);
      expect(got.steps.map((step) => step.node)).toEqual(left);
      let before = await F(left);
      for (const node of [...left]) {
        const after = await F(left.filter((other) => other !== node));
        const kept = !(after.gap - before.gap < threshold);
        const step = got.steps.find((s) => JSON.stringify(s.node) === JSON.stringify(node))!;
        expect([step.value, step.kept]).toEqual([after.circuit, kept]);
        if (kept) continue;
        left = left.filter((other) => other !== node);
        before = after;
      }
      expect(got.circuit.nodes).toEqual([...left].reverse());
      expect(left.length).toBeGreaterThan(0);
      expect(left.length).toBeLessThan(got.steps.length);
      expect([got.value, got.model]).toEqual([before.circuit, before.model]);
      const small = await discoverCircuit(model, { ...options, threshold, batchSize: 1 });
      expect(small).toEqual(got);
    },
  );

  test("nothing is worth keeping, or everything; parts that are given", async () => {
    const none = await discoverCircuit(model, { ...options, threshold: Number.POSITIVE_INFINITY });
    expect(none.circuit.nodes).toEqual([]);
    const all = await discoverCircuit(model, { ...options, threshold: Number.NEGATIVE_INFINITY });
    expect([all.circuit.nodes.length, all.value]).toEqual([all.steps.length, all.model]);
    const nodes = [{ hook: "blocks.0.mlp.hook_post", units: [1, 2] }];
    const given = await discoverCircuit(model, { ...options, nodes, threshold: -1e9 });
    expect(given.circuit.nodes).toEqual(nodes);
  });
});

test("progress, interruption, wrong input", async () => {
  const model = await HookedModel.fromPretrained(fixture("gpt2"), { threads: 1, verify: "none" });
  const options = { tokens, metric, threshold: 0 };
  const seen: number[] = [];
  await discoverCircuit(model, {
    ...{ ...options, threshold: 1e9 },
    onProgress: ({ done, total }) => seen.push(done / total),
  });
  expect(seen).toEqual([0.5, 1]);
  const stop = new AbortController();
  const stopped = discoverCircuit(model, {
    ...{ ...options, signal: stop.signal },
    onProgress: () => stop.abort(),
  });
  await expect(stopped).rejects.toThrow(InterruptedError);
  await expect(discoverCircuit(model, { ...options, threshold: Number.NaN })).rejects.toThrow(
    ArgumentError,
  );
  const nodes = [{ hook: "blocks.8.hook_mlp_out" }];
  await expect(discoverCircuit(model, { ...options, nodes })).rejects.toThrow(HookPointError);
  await model.dispose();
});
