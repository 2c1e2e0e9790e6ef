import { fileURLToPath } from "node:url";
import { HookPointError, ModelError } from "@penfield/core";
import { encodeModel, makeModel, makeNode, makeTensor, makeValueInfo } from "@penfield/onnx";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HookedModel, type Intervention } from "../index.ts";

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../../test/fixtures/${name}`, import.meta.url));
const LENGTH = 7;
/** Two rows, the second shorter. */
const ROWS = [
  [54, 7, 81, 33, 2, 60, 19],
  [5, 90, 41, 12, 77],
];

const sameBits = (a: Float32Array, b: Float32Array): boolean =>
  Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(
    Buffer.from(b.buffer, b.byteOffset, b.byteLength),
  );
/** A plain one, one with grouped heads and gates, one with parallel branches; the contract is tested on all. */
const causal = ["gpt2", "llama", "neox"];

describe.each(causal)("causal model: %s", (name) => {
  let model: HookedModel;
  const rows = [ROWS[0]!];
  beforeAll(async () => {
    model = await HookedModel.fromPretrained(fixture(name), { threads: 1, verify: "none" });
  });
  afterAll(() => model.dispose());
  const lesion: Intervention = {
    hook: "blocks.0.mlp.hook_post",
    op: { type: "zero" },
    units: [1, 4],
    positions: [3],
  };

  test("a lesion at a position leaves all that came before it untouched, bit for bit", async () => {
    const plain = await model.runWithCache(rows, { namesFilter: "blocks.*.hook_resid_*" });
    const ablated = await model.runWithCache(rows, {
      namesFilter: "blocks.*.hook_resid_*",
      interventions: [lesion],
    });
    const vocab = model.cfg.dVocab!;
    expect(
      sameBits(
        plain.logits.data.subarray(0, 3 * vocab),
        ablated.logits.data.subarray(0, 3 * vocab),
      ),
    ).toBe(true);
    expect(
      sameBits(plain.logits.data.subarray(3 * vocab), ablated.logits.data.subarray(3 * vocab)),
    ).toBe(false);
    const pre = "blocks.0.hook_resid_pre";
    expect(sameBits(plain.cache.get(pre)!.data, ablated.cache.get(pre)!.data)).toBe(true);
  });

  test("batched lesions equal lesions one by one, and those from the middle of the model, bit for bit", async () => {
    const units = [0, 3, 7, 12];
    const hook = "blocks.1.mlp.hook_post";
    const one: Float32Array[] = [];
    for (const unit of units) {
      one.push(
        (
          await model.runWithInterventions(rows, [{ hook, op: { type: "zero" }, units: [unit] }])
        ).data.slice(),
      );
    }
    const tokens = units.map(() => rows[0]!);
    const interventions = units.map(
      (unit, row): Intervention => ({ hook, op: { type: "zero" }, units: [unit], rows: [row] }),
    );
    const batched = await model.runWithInterventions(tokens, interventions);
    const size = one[0]!.length;
    units.forEach((_, row) => {
      expect(sameBits(batched.data.subarray(row * size, (row + 1) * size), one[row]!)).toBe(true);
    });
    const from = "blocks.1.hook_resid_pre";
    const { cache } = await model.runWithCache(rows, { namesFilter: from });
    const { data, shape } = cache.get(from)!;
    const tiled = new Float32Array(data.length * units.length);
    for (let row = 0; row < units.length; row++) tiled.set(data, row * data.length);
    const values = { data: tiled, shape: [units.length, shape[1]!, shape[2]!] };
    const suffix = await model.run({ tokens, interventions, from: { hook: from, values } });
    expect(sameBits(suffix.logits!.data, batched.data)).toBe(true);
  });

  test("patching every position from another row gives that row's output; patching an untouched one changes nothing", async () => {
    const clean = rows[0]!;
    const corrupted = [...clean];
    corrupted[4] = (clean[4]! % 90) + 2;
    const tokens = [clean, corrupted, corrupted, corrupted];
    const hook = "blocks.1.hook_resid_pre";
    const source = [0, 1, 0, 0];
    const out = await model.runWithInterventions(tokens, [
      { hook, op: { type: "patch", source }, rows: [2] },
      { hook, op: { type: "patch", source }, rows: [3], positions: [1, 2] },
    ]);
    const size = out.data.length / 4;
    const row = (r: number) => out.data.subarray(r * size, (r + 1) * size);
    expect(sameBits(row(2), row(0))).toBe(true);
    expect(sameBits(row(3), row(1))).toBe(true);
    expect(sameBits(row(0), row(1))).toBe(false);
  });

  test("ablation algebra", async () => {
    const plain = await model.run({ tokens: rows, capture: ["blocks.1.hook_resid_post"] });
    const neutral: Intervention[] = [
      { hook: "blocks.1.hook_resid_post", op: { type: "add", value: 0 } },
      { hook: "blocks.1.hook_mlp_out", op: { type: "scale", factor: 1 } },
      { hook: "blocks.0.hook_resid_post", op: { type: "resample", source: [0] } },
      { hook: "blocks.0.attn.hook_z", op: { type: "noise", standardDeviation: 0, seed: 1 } },
    ];
    for (const intervention of neutral) {
      const out = await model.runWithInterventions(rows, [intervention]);
      expect(sameBits(out.data, plain.logits!.data), intervention.op.type).toBe(true);
    }
    const zero = (units: number[]): Intervention => ({
      hook: "blocks.0.mlp.hook_post",
      op: { type: "zero" },
      units,
    });
    const ab = await model.runWithInterventions(rows, [zero([1]), zero([2])]);
    const ba = await model.runWithInterventions(rows, [zero([2]), zero([1])]);
    expect(sameBits(ab.data, ba.data)).toBe(true);
    // The mean over a set of one equals the values themselves.
    const hook = "blocks.0.hook_mlp_out";
    const single = [[rows[0]![0]!]];
    const { cache, logits } = await model.runWithCache(single, { namesFilter: hook });
    const mean = await model.runWithInterventions(single, [
      { hook, op: { type: "mean", values: cache.get(hook)!.data } },
    ]);
    expect(sameBits(mean.data, logits.data)).toBe(true);
  });

  test("zeroing wins over infinity", async () => {
    const bad: Intervention = {
      hook: "blocks.0.hook_attn_out",
      op: { type: "constant", value: Number.POSITIVE_INFINITY },
      units: [3],
    };
    const broken = await model.runWithInterventions(rows, [bad]);
    expect(broken.data.some(Number.isNaN)).toBe(true);
    const healed = await model.runWithInterventions(rows, [
      bad,
      { hook: "blocks.0.hook_attn_out", op: { type: "zero" }, units: [3] },
    ]);
    const zeroed = await model.runWithInterventions(rows, [
      { hook: "blocks.0.hook_attn_out", op: { type: "zero" }, units: [3] },
    ]);
    expect(sameBits(healed.data, zeroed.data)).toBe(true);
  });

  test("real tokens do not see padding or the rest of the batch", async () => {
    const short = rows[0]!.slice(0, 4);
    const alone = await model.run({ tokens: [short] });
    const padded = await model.run({ tokens: [rows[0]!, short] });
    const vocab = model.cfg.dVocab!;
    const size = LENGTH * vocab;
    const other = alone.logits!.data.map((v, i) => v - padded.logits!.data[size + i]!);
    expect(Math.max(...other.map(Math.abs))).toBeLessThan(1e-5);
  });

  test("log-probabilities of tokens equal the log-softmax of the logits", async () => {
    const tokens = ROWS;
    const { logits } = await model.run({ tokens });
    const { tokenLogProbs } = await model.run({ tokens, head: "tokenLogProbs" });
    const vocab = model.cfg.dVocab!;
    tokens.forEach((row, r) => {
      expect(tokenLogProbs!.data[r * LENGTH]).toBe(0);
      for (let pos = 1; pos < row.length; pos++) {
        const scores = logits!.data.subarray(
          (r * LENGTH + pos - 1) * vocab,
          (r * LENGTH + pos) * vocab,
        );
        const max = Math.max(...scores);
        const total = max + Math.log(scores.reduce((sum, s) => sum + Math.exp(s - max), 0));
        expect(tokenLogProbs!.data[r * LENGTH + pos]).toBeCloseTo(scores[row[pos]!]! - total, 4);
      }
    });
  });

  test("the last position alone has the logits that it has among all, bit for bit", async () => {
    const tokens = ROWS;
    const all = (await model.run({ tokens })).logits!;
    const last = (await model.run({ tokens, head: "lastLogits" })).logits!;
    const vocab = model.cfg.dVocab!;
    expect(last.shape).toEqual([2, 1, vocab]);
    tokens.forEach((row, r) => {
      const at = (r * LENGTH + row.length - 1) * vocab;
      const want = all.data.subarray(at, at + vocab);
      expect(sameBits(last.data.subarray(r * vocab, (r + 1) * vocab), want)).toBe(true);
    });
  });

  test("sizes are read off the graph and the configuration", () => {
    const grouped = /llama|phi3|gemma|mistral|qwen|olmo/.test(name);
    expect(model.cfg).toMatchObject({
      nLayers: 2,
      dModel: 24,
      attentionDir: "causal",
      dVocab: 96,
      nCtx: name === "bloom" ? undefined : 32,
      batchDependent: false,
      parallelAttnMlp: name === "neox",
      gatedMlp: grouped,
      nHeads: grouped ? 4 : 3,
      nKeyValueHeads: grouped ? 2 : 3,
    });
  });
});

describe("errors", () => {
  test("no such model", async () => {
    await expect(HookedModel.fromPretrained("no-such-model")).rejects.toThrow(
      /expected a model, got "no-such-model"/,
    );
  });

  test("a graph without attention is refused with what was found", async () => {
    const model = makeModel({
      nodes: [makeNode("MatMul", ["x", "w"], ["y"]), makeNode("Relu", ["y"], ["z"])],
      inputs: [makeValueInfo("x", "float32", ["n", 2])],
      outputs: [makeValueInfo("z", "float32")],
      initializers: [makeTensor("w", "float32", [2, 2], [1, 0, 0, 1])],
    });
    const opening = HookedModel.fromBytes(encodeModel(model));
    await expect(opening).rejects.toThrow(ModelError);
    await expect(opening).rejects.toThrow(
      /expected a transformer.*got 2 nodes \(MatMul, Relu\) without an attention branch.*products with weights: y/,
    );
  });

  test("unknown hooks, places outside a hook, rows that do not fit", async () => {
    const model = await HookedModel.fromPretrained(fixture("gpt2"), { verify: "none" });
    const tokens = [[1, 2, 3]];
    const lesion = (hook: string, more = {}): Promise<unknown> =>
      model.runWithInterventions(tokens, [{ hook, op: { type: "zero" }, ...more }]);
    await expect(lesion("blocks.9.hook_resid_post")).rejects.toThrow(HookPointError);
    await expect(lesion("blocks.0.hook_mlp_out", { units: [24] })).rejects.toThrow(
      /units within 0..23, got 24/,
    );
    await expect(lesion("blocks.0.hook_mlp_out", { heads: [0] })).rejects.toThrow(/with heads/);
    await expect(lesion("blocks.0.attn.hook_z", { heads: [3] })).rejects.toThrow(
      /heads within 0..2/,
    );
    await expect(model.run({ tokens: [[1], []] })).rejects.toThrow(/got none in row 1/);
    await expect(model.run({ tokens: [Array(33).fill(1)] })).rejects.toThrow(
      /at most 32 tokens, got 33 in row 0/,
    );
    await model.dispose();
  });
});

describe("names", () => {
  test("aliases and raw tensors mean the same places", async () => {
    const model = await HookedModel.fromPretrained(fixture("gpt2"), { verify: "none" });
    expect(model.hookPoint("blocks.1.hook_out").name).toBe("blocks.1.hook_resid_post");
    const { tensor } = model.hookPoint("blocks.1.hook_resid_post");
    const { cache } = await model.run({ tokens: [[1, 2]], capture: ["blocks.1.hook_out", tensor] });
    expect(sameBits(cache.get(tensor)!.data, cache.get("blocks.1.hook_resid_post")!.data)).toBe(
      true,
    );
    await model.dispose();
  });
});
