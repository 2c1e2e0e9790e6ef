import { fileURLToPath } from "node:url";
import {
  ArgumentError,
  DataError,
  HookPointError,
  InterruptedError,
  type Progress,
} from "@penfield/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  attributionPatch,
  finiteDifference,
  genericActivationPatch,
  HookedModel,
  logitDiff,
} from "../index.ts";
import { oneHeadModel } from "./testOneHead.ts";

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../../test/fixtures/${name}`, import.meta.url));
const clean = [[5, 9, 7, 3]];
const corrupted = [[5, 20, 7, 3]];
const metric = logitDiff({ tokens: 11, incorrectTokens: 12 });
const largest = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((max, v) => Math.max(max, Math.abs(v)), 0);
const sum = (values: ArrayLike<number>): number => Array.from(values).reduce((a, b) => a + b, 0);
/** Largest difference, as a share of the largest value. */
const distance = (got: ArrayLike<number>, want: ArrayLike<number>): number =>
  largest(Array.from(got, (v, i) => v - want[i]!)) / largest(want);

describe.each(["gpt2", "llama"])(
  "the last stream, whose gradient can be written down: %s",
  (name) => {
    let model: HookedModel;
    const hook = "blocks.1.hook_resid_post";
    beforeAll(async () => {
      model = await HookedModel.fromPretrained(fixture(name), { threads: 1, verify: "none" });
    });
    afterAll(() => model.dispose());

    /** d/dx of (W_U[:, 11] - W_U[:, 12]) . norm(x), by the chain rule, in float64. */
    const analytic = async (x: Float32Array): Promise<Float64Array> => {
      const { kind, epsilon, weight } = await model.weights.finalNorm();
      const { data, shape } = await model.weights.get("W_U");
      const [n, dVocab] = shape as [number, number];
      const g = Float64Array.from({ length: n }, (_, i) => {
        const row = i * dVocab;
        return weight[i]! * (data[row + 11]! - data[row + 12]!);
      });
      const mean = kind === "LN" ? sum(x) / n : 0;
      const scale = Math.sqrt(sum(Array.from(x, (v) => (v - mean) ** 2)) / n + epsilon);
      const y = Array.from(x, (v) => (v - mean) / scale);
      const gMean = kind === "LN" ? sum(g) / n : 0;
      const gy = sum(g.map((v, i) => v * y[i]!)) / n;
      return g.map((v, i) => (v - gMean - y[i]! * gy) / scale);
    };

    test("derivatives equal the analytic gradient; positions that are not read have none", async () => {
      const values = (await model.run({ tokens: clean, capture: [hook] })).cache.get(hook)!.data;
      const n = model.cfg.dModel;
      const want = await analytic(values.slice(3 * n));
      const got = await finiteDifference(model, clean, { hook, metric, axes: ["pos", "unit"] });
      expect([got.axes, got.shape]).toEqual([
        ["pos", "unit"],
        [4, n],
      ]);
      expect(got.derivatives.subarray(0, 3 * n).every((v) => v === 0)).toBe(true);
      expect(distance(got.derivatives.subarray(3 * n), want)).toBeLessThan(3e-4);
      got.attributions.forEach((v, i) => {
        expect(v).toBe(values[i]! * got.derivatives[i]! + 0);
      });
      const byUnit = await finiteDifference(model, clean, { hook, metric });
      expect(byUnit.shape).toEqual([n]);
      expect(distance(byUnit.derivatives, want)).toBeLessThan(1e-3);
      const products = want.map((v, i) => v * values[3 * n + i]!);
      expect(distance(byUnit.attributions, products)).toBeLessThan(2e-3);
      const byPosition = await finiteDifference(model, clean, { hook, metric, axes: ["pos"] });
      expect([...byPosition.derivatives.subarray(0, 3)]).toEqual([0, 0, 0]);
      expect(byPosition.derivatives[3]).toBeCloseTo(sum(want), 3);
    });
  },
);

describe.each(["gpt2", "llama", "neox", "gemma2"])("finite differences: %s", (name) => {
  let model: HookedModel;
  beforeAll(async () => {
    model = await HookedModel.fromPretrained(fixture(name), { threads: 1, verify: "none" });
  });
  afterAll(() => model.dispose());

  test("heads and positions are the sums of their units; several prompts the mean", async () => {
    const tokens = [...clean, [2, 4, 6, 8]];
    const hook = "blocks.0.attn.hook_z";
    const options = { hook, metric };
    const units = await finiteDifference(model, tokens, { ...options, axes: ["pos", "unit"] });
    const heads = await finiteDifference(model, tokens, {
      ...{ ...options, axes: ["pos", "head_index"] },
    });
    const { nHeads = 0, dHead = 0 } = model.cfg;
    expect(heads.shape).toEqual([4, nHeads]);
    for (const key of ["derivatives", "attributions"] as const) {
      const sums = Array.from({ length: 4 * nHeads }, (_, i) =>
        sum(units[key].subarray(i * dHead, (i + 1) * dHead)),
      );
      expect(distance(heads[key], sums), key).toBeLessThan(0.02);
    }
    const alone = await Promise.all(
      tokens.map((row) => finiteDifference(model, [row], { ...options, axes: ["head_index"] })),
    );
    const both = await finiteDifference(model, tokens, { ...options, axes: ["head_index"] });
    const mean = alone[0]!.attributions.map((v, i) => (v + alone[1]!.attributions[i]!) / 2);
    expect(distance(both.attributions, mean)).toBeLessThan(0.01);
    const few = await finiteDifference(model, tokens, {
      ...{ ...options, axes: ["head_index"], batchSize: 3 },
    });
    expect(few).toEqual(both);
  });

  test.each([
    ["blocks.1.hook_resid_pre", ["pos"]],
    ["blocks.0.attn.hook_z", ["head_index"]],
    ["blocks.0.hook_mlp_out", ["unit"]],
    ["blocks.1.mlp.hook_post", ["pos"]],
    ["hook_embed", ["pos"]],
  ] as const)("integrated attributions add up to the change: %s by %s", async (hook, axes) => {
    const options = { clean, corrupted, metric, hook, axes, nSteps: 16 };
    for (const direction of ["denoising", "noising"] as const) {
      const got = await attributionPatch(model, { ...options, direction });
      const [own, other] = direction === "denoising" ? [corrupted, clean] : [clean, corrupted];
      const logits = await model.runWithInterventions(
        [...own, ...other],
        [{ hook, op: { type: "patch", source: [1, 1] }, rows: [0] }],
      );
      const plain = await model.run({ tokens: own });
      expect(got.base).toBe(metric(plain.logits!, [{ row: 0, prompt: 0 }])[0]);
      expect(got.patched).toBe(metric(logits, [{ row: 0, prompt: 0 }])[0]);
      const change = got.patched - got.base;
      const scale = largest(got.attributions);
      expect(Math.abs(sum(got.attributions) - change)).toBeLessThan(0.01 * scale);
    }
  });

  test("to first order: the derivative along the change, and nothing where nothing changes", async () => {
    const hook = "blocks.0.hook_resid_pre";
    const options = { clean, corrupted, metric, hook };
    const got = await attributionPatch(model, { ...options, axes: ["pos", "unit"] });
    const { derivatives } = await finiteDifference(model, corrupted, {
      ...{ hook, metric, axes: ["pos", "unit"] },
    });
    const { data } = (
      await model.run({ tokens: [...clean, ...corrupted], capture: [hook] })
    ).cache.get(hook)!;
    const half = data.length / 2;
    const want = derivatives.map((v, i) => v * (data[i]! - data[half + i]!));
    expect(distance(got.attributions, want)).toBeLessThan(0.01);
    const n = model.cfg.dModel;
    got.attributions.forEach((v, i) => {
      if (Math.floor(i / n) !== 1) expect(v).toBe(0);
    });
    const byPosition = await attributionPatch(model, { ...options, axes: ["pos"] });
    expect(byPosition.attributions[1]).toBeCloseTo(sum(want), 3);
    const same = await attributionPatch(model, {
      ...{ clean, corrupted: clean, metric, hook, axes: ["pos"], nSteps: 2 },
    });
    expect([...same.attributions, same.patched - same.base]).toEqual([0, 0, 0, 0, 0]);
  });
});

describe("a model whose end is linear", () => {
  let model: HookedModel;
  beforeAll(async () => {
    const bytes = oneHeadModel(24, (name, nRows, i) => Math.sin(i + nRows + name.charCodeAt(0)));
    model = await HookedModel.fromBytes(bytes, { threads: 1 });
  });
  afterAll(() => model.dispose());

  test("there attribution patching is patching", async () => {
    for (const activation of ["attn_out", "resid_post"]) {
      const hook = `blocks.0.hook_${activation}`;
      const options = { clean, corrupted, metric };
      const exact = await genericActivationPatch(model, {
        ...{ ...options, activation, axes: ["layer", "pos"] },
      });
      const got = await attributionPatch(model, { ...options, hook, axes: ["pos"] });
      expect(exact.values[3]).not.toBe(exact.corrupted);
      exact.values.forEach((value, i) => {
        expect(got.attributions[i]).toBeCloseTo(value - exact.corrupted, 3);
      });
    }
  });
});

describe("long work and wrong input", () => {
  let model: HookedModel;
  beforeAll(async () => {
    model = await HookedModel.fromPretrained(fixture("gpt2"), { threads: 1, verify: "none" });
  });
  afterAll(() => model.dispose());

  test("reports progress, and stops between two runs", async () => {
    const hook = "blocks.0.hook_mlp_out";
    const options = { clean, corrupted, metric, hook, axes: ["pos"] as const, nSteps: 2 };
    const seen: Progress[] = [];
    await attributionPatch(model, { ...options, batchSize: 6, onProgress: (p) => seen.push(p) });
    expect(seen.map((p) => p.done)).toEqual([3, 6, 8]);
    expect(seen[0]).toEqual({ stage: "taking differences", done: 3, total: 8, unit: "places" });
    const stop = new AbortController();
    const stopped = finiteDifference(model, clean, {
      ...{ hook, metric, batchSize: 2, signal: stop.signal },
      onProgress: () => stop.abort(),
    });
    await expect(stopped).rejects.toThrow(InterruptedError);
  });

  test("several prompts: the mean of each, in one run or in parts", async () => {
    const more = { clean: [...clean, [2, 4, 6, 8]], corrupted: [...corrupted, [2, 5, 6, 8]] };
    const options = { metric, hook: "blocks.0.attn.hook_z", axes: ["head_index"] as const };
    const both = await attributionPatch(model, { ...options, ...more, nSteps: 2 });
    expect(await attributionPatch(model, { ...options, ...more, nSteps: 2, batchSize: 9 })).toEqual(
      both,
    );
    const alone = await Promise.all(
      [0, 1].map((i) =>
        attributionPatch(model, {
          ...{ ...options, clean: [more.clean[i]!], corrupted: [more.corrupted[i]!], nSteps: 2 },
        }),
      ),
    );
    expect(both.patched).toBe((alone[0]!.patched + alone[1]!.patched) / 2);
    const mean = both.attributions.map(
      (_, i) => (alone[0]!.attributions[i]! + alone[1]!.attributions[i]!) / 2,
    );
    // Each takes its own step.
    expect(distance(both.attributions, mean)).toBeLessThan(0.01);
  });

  test("a hook whose values are all zero has a step all the same", async () => {
    const { step } = await finiteDifference(model, clean, {
      ...{ hook: "blocks.0.hook_mlp_out", metric, axes: ["pos"], step: 0.5 },
    });
    expect(step).toBeGreaterThan(0);
  });

  test("prompts, hooks, axes and steps that do not fit", async () => {
    const hook = "blocks.0.hook_mlp_out";
    const take = (more: object, tokens: number[][] = clean) =>
      finiteDifference(model, tokens, { hook, metric, ...more });
    await expect(take({}, [])).rejects.toThrow(DataError);
    await expect(take({}, [[1], [1, 2]])).rejects.toThrow(
      /finiteDifference: expected prompts of one length, got lengths 1, 2/,
    );
    await expect(take({ hook: "blocks.5.hook_mlp_out" })).rejects.toThrow(HookPointError);
    await expect(take({ hook: "blocks.0.attn.hook_q" })).rejects.toThrow(
      /axes batch, pos and units/,
    );
    await expect(take({ axes: ["head_index"] })).rejects.toThrow(ArgumentError);
    await expect(take({ axes: ["unit", "pos"] })).rejects.toThrow(/got unit, pos at/);
    await expect(take({ axes: [] })).rejects.toThrow(/got none/);
    await expect(take({ step: 0 })).rejects.toThrow(/a step above 0, got 0/);
    await expect(take({ step: Number.NaN })).rejects.toThrow(ArgumentError);
    await expect(take({ batchSize: 0 })).rejects.toThrow(ArgumentError);
    const patch = (more: object) =>
      attributionPatch(model, { clean, corrupted, metric, hook, ...more });
    await expect(patch({ nSteps: -1 })).rejects.toThrow(/whole number from 0, got -1/);
    await expect(patch({ direction: "up" })).rejects.toThrow(ArgumentError);
    await expect(patch({ corrupted: [] })).rejects.toThrow(DataError);
  });
});
