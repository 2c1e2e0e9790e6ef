import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createRng } from "@penfield/core";
import {
  copyModel,
  decodeModel,
  encodeModel,
  makeGraph,
  makeModel,
  makeNode,
  makeTensor,
  makeValueInfo,
  type NodeProto,
  type TensorProto,
} from "@penfield/onnx";
import { describe, expect, test } from "vitest";
import { HookedModel, type HookValues } from "../index.ts";

const D = 8;
const D_MLP = 12;
const VOCAB = 20;
const TOKENS = [
  [5, 9, 7, 3, 1],
  [2, 4, 6, 8],
];

/** Writes small transformers with random weights, one operator at a time. */
class Writer {
  readonly nodes: NodeProto[] = [];
  readonly weights: TensorProto[] = [];
  readonly #rng = createRng(7);
  #count = 0;

  step(op: string, inputs: string[], attributes = {}, nOutputs = 1): string[] {
    const name = `${op.split(":").at(-1)}_${this.#count++}`;
    const outputs = Array.from({ length: nOutputs }, (_, i) => (i === 0 ? name : `${name}.${i}`));
    this.nodes.push(makeNode(op, inputs, outputs, attributes));
    return outputs;
  }

  one(op: string, inputs: string[], attributes = {}): string {
    return this.step(op, inputs, attributes)[0]!;
  }

  constant(type: "float32" | "int64" | "int8", dims: number[], data: readonly number[]): string {
    const name = `w${this.weights.length}`;
    this.weights.push(makeTensor(name, type, dims, data));
    return name;
  }

  random(dims: number[], scale = 0.4, mean = 0): string {
    const n = dims.reduce((a, b) => a * b, 1);
    const data = Array.from({ length: n }, () => mean + scale * this.#rng.normal());
    return this.constant("float32", dims, data);
  }

  embed(): string {
    return this.one("Gather", [this.random([VOCAB, D], 1), "input_ids"]);
  }

  norm(x: string): string {
    const inputs = [x, this.random([D], 0.1, 1), this.random([D], 0.1)];
    return this.one("LayerNormalization", inputs, { axis: -1n });
  }

  linear(x: string, from: number, to: number): string {
    return this.one("MatMul", [x, this.random([from, to])]);
  }

  /** -1e9 above the diagonal. */
  mask(): string {
    const shape = this.one("Shape", ["input_ids"]);
    const length = this.one("Gather", [shape, this.constant("int64", [1], [1])]);
    const square = this.one("Concat", [length, length], { axis: 0n });
    const full = this.one("Expand", [this.constant("float32", [1], [-1e9]), square]);
    return this.one("Trilu", [full, this.constant("int64", [], [1])], { upper: 1n });
  }

  attention(x: string, mask: string): string {
    const [q, k, v] = [0, 1, 2].map(() => this.linear(x, D, D)) as [string, string, string];
    const turned = this.one("Transpose", [k], { perm: [0n, 2n, 1n] });
    const scores = this.one("Add", [this.one("MatMul", [q, turned]), mask]);
    const pattern = this.one("Softmax", [scores], { axis: -1n });
    return this.linear(this.one("MatMul", [pattern, v]), D, D);
  }

  mlp(x: string): string {
    return this.linear(this.one("Relu", [this.linear(x, D, D_MLP)]), D_MLP, D);
  }

  finish(x: string, { microsoft = false } = {}): Uint8Array {
    this.nodes.push(makeNode("MatMul", [x, this.random([D, VOCAB])], ["logits"]));
    return encodeModel(
      makeModel(
        {
          nodes: this.nodes,
          initializers: this.weights,
          inputs: [makeValueInfo("input_ids", "int64", ["batch", "pos"])],
          outputs: [makeValueInfo("logits", "float32", ["batch", "pos", VOCAB])],
        },
        { opset: 17, microsoft },
      ),
    );
  }
}

/** Linear layers as dynamic int8 quantisation writes them. */
class QuantizedWriter extends Writer {
  override linear(x: string, from: number, to: number): string {
    const rng = createRng(from * 100 + to + this.weights.length);
    const whole = Array.from({ length: from * to }, () => rng.below(255) - 127);
    const weight = this.constant("int8", [from, to], whole);
    const [q, scale, zero] = this.step("DynamicQuantizeLinear", [x], {}, 3) as [
      string,
      string,
      string,
    ];
    const product = this.one("MatMulInteger", [q, weight, zero, this.constant("int8", [], [0])]);
    const float = this.one("Cast", [product], { to: 1n });
    const both = this.one("Mul", [scale, this.constant("float32", [], [0.004])]);
    return this.one("Add", [this.one("Mul", [float, both]), this.random([to], 0.1)]);
  }
}

const open = (bytes: Uint8Array): Promise<HookedModel> =>
  HookedModel.fromBytes(bytes, { threads: 1 });
const bits = ({ data }: HookValues): Buffer =>
  Buffer.from(data.buffer, data.byteOffset, data.byteLength);
const add = (a: HookValues, b: HookValues): HookValues => ({
  data: a.data.map((v, i) => Math.fround(v + b.data[i]!)),
  shape: a.shape,
});
const sequential = (layer: number): string[] =>
  [
    "hook_attn_out",
    "attn.hook_z",
    "attn.hook_attn_scores",
    "attn.hook_pattern",
    "hook_mlp_out",
    "mlp.hook_post",
    "mlp.hook_pre",
    "hook_resid_pre",
    "hook_resid_mid",
    "hook_resid_post",
  ]
    .map((kind) => `blocks.${layer}.${kind}`)
    .sort();
const hooksOf = (model: HookedModel, layer: number): string[] =>
  model
    .listHooks(`blocks.${layer}.*`)
    .map((h) => h.name)
    .sort();

/** Reads the residual stream of a sequential pre-norm model and checks its sums bit for bit. */
async function expectResidualIdentities(model: HookedModel): Promise<void> {
  for (const tokens of model.cfg.batchDependent ? TOKENS.map((row) => [row]) : [TOKENS]) {
    const { cache } = await model.runWithCache(tokens, { namesFilter: "blocks.*" });
    for (let layer = 0; layer < model.cfg.nLayers; layer++) {
      const at = (kind: string) => cache.get(`blocks.${layer}.${kind}`)!;
      const mid = add(at("hook_resid_pre"), at("hook_attn_out"));
      expect(bits(mid).equals(bits(at("hook_resid_mid")))).toBe(true);
      const post = add(mid, at("hook_mlp_out"));
      expect(bits(post).equals(bits(at("hook_resid_post")))).toBe(true);
      const next = cache.get(`blocks.${layer + 1}.hook_resid_pre`);
      if (next) expect(bits(next).equals(bits(at("hook_resid_post")))).toBe(true);
    }
  }
}

const allVerified = (model: HookedModel): void => {
  const unseen = model.hookPoints.filter((h) => h.writable && !h.verified).map((h) => h.name);
  expect(unseen).toEqual([]);
};

describe("fused skip and norm", () => {
  test.each([
    ["SkipLayerNormalization", true],
    ["SkipLayerNormalization", false],
    ["SkipSimplifiedLayerNormalization", true],
    ["SkipSimplifiedLayerNormalization", false],
  ] as const)("%s (bias: %s) is split into the sum and the norm", async (op, bias) => {
    const w = new Writer();
    const mask = w.mask();
    let stream = w.embed();
    let normed = w.norm(stream);
    const skipNorm = (branch: string): void => {
      const inputs = [branch, stream, w.random([D], 0.1, 1)];
      if (op === "SkipLayerNormalization") inputs.push(w.random([D], 0.1));
      if (bias) inputs.push(w.random([D], 0.3));
      const outputs = w.step(`com.microsoft:${op}`, inputs, { epsilon: 1e-5 }, 4);
      // Mean and inverse deviation are not asked for, as in files that the optimizer writes.
      w.nodes.at(-1)!.output = [outputs[0]!, "", "", outputs[3]!];
      [normed, stream] = [outputs[0]!, outputs[3]!];
    };
    for (let layer = 0; layer < 2; layer++) {
      skipNorm(w.attention(normed, mask));
      skipNorm(w.mlp(normed));
    }
    const model = await open(w.finish(normed, { microsoft: true }));
    expect(model.cfg.nLayers).toBe(2);
    for (const layer of [0, 1]) expect(hooksOf(model, layer)).toEqual(sequential(layer));
    // The plain model is run as it came, with the fused operators.
    expect(model.identity.maxAbsDifference).toBeLessThan(1e-5);
    await expectResidualIdentities(model);
    allVerified(model);
    await model.dispose();
  });

  test("whose sum nobody asked for, as after norms that follow the sums (BERT)", async () => {
    const w = new Writer();
    const mask = w.mask();
    let stream = w.norm(w.embed());
    const skipNorm = (branch: string): void => {
      const inputs = [branch, stream, w.random([D], 0.1, 1), w.random([D], 0.1)];
      stream = w.one("com.microsoft:SkipLayerNormalization", inputs, { epsilon: 1e-12 });
    };
    for (let layer = 0; layer < 2; layer++) {
      skipNorm(w.attention(stream, mask));
      skipNorm(w.mlp(stream));
    }
    const model = await open(w.finish(stream, { microsoft: true }));
    expect(model.cfg.nLayers).toBe(2);
    expect(hooksOf(model, 1)).toEqual(sequential(1));
    expect(model.identity.maxAbsDifference).toBeLessThan(1e-5);
    allVerified(model);
    await model.dispose();
  });
});

describe("other ways to write a block", () => {
  const preNorm = (w: Writer): Uint8Array => {
    const mask = w.mask();
    let stream = w.embed();
    for (let layer = 0; layer < 2; layer++) {
      stream = w.one("Add", [stream, w.attention(w.norm(stream), mask)]);
      stream = w.one("Add", [w.mlp(w.norm(stream)), stream]);
    }
    return w.finish(w.norm(stream));
  };

  test("plain, for comparison", async () => {
    const model = await open(preNorm(new Writer()));
    for (const layer of [0, 1]) expect(hooksOf(model, layer)).toEqual(sequential(layer));
    expect(model.cfg).toMatchObject({ nLayers: 2, batchDependent: false, dMlp: D_MLP });
    expect(model.identity).toEqual({ state: "exact", maxAbsDifference: 0 });
    await expectResidualIdentities(model);
    await model.dispose();
  });

  test("quantised dynamically: same blocks, and rows that depend on their batch", async () => {
    const model = await open(preNorm(new QuantizedWriter()));
    expect(model.cfg).toMatchObject({
      nLayers: 2,
      batchDependent: true,
      parallelAttnMlp: false,
      dMlp: D_MLP,
    });
    for (const layer of [0, 1]) expect(hooksOf(model, layer)).toEqual(sequential(layer));
    expect(model.identity).toEqual({ state: "exact", maxAbsDifference: 0 });
    await expectResidualIdentities(model);
    allVerified(model);
    // The values before quantisation are what is read and changed; after its scale, before its bias.
    const { cache } = await model.runWithCache([TOKENS[0]!], { namesFilter: "blocks.0.mlp.*" });
    const [pre, post] = ["pre", "post"].map((kind) => cache.get(`blocks.0.mlp.hook_${kind}`)!);
    expect([...post!.data]).toEqual(Array.from(pre!.data, (v) => Math.max(0, v)));
    await model.dispose();
  });

  test("branches that are normed before they are added (Gemma 2, OLMo 2)", async () => {
    const w = new Writer();
    const mask = w.mask();
    let stream = w.embed();
    const added: string[] = [];
    for (let layer = 0; layer < 2; layer++) {
      for (const branch of [(x: string) => w.attention(x, mask), (x: string) => w.mlp(x)]) {
        added.push(w.norm(branch(w.norm(stream))));
        stream = w.one("Add", [stream, added.at(-1)!]);
      }
    }
    const model = await open(w.finish(w.norm(stream)));
    for (const layer of [0, 1]) expect(hooksOf(model, layer)).toEqual(sequential(layer));
    const tensors = [0, 1].flatMap((layer) =>
      ["attn", "mlp"].map((part) => model.hookPoint(`blocks.${layer}.hook_${part}_out`).tensor),
    );
    expect(tensors).toEqual(added);
    await expectResidualIdentities(model);
    allVerified(model);
    await model.dispose();
  });

  test.each(["attention", "MLP"])(
    "attention and MLP side by side, %s added first",
    async (first) => {
      const w = new Writer();
      const mask = w.mask();
      let stream = w.embed();
      const added: string[][] = [];
      for (let layer = 0; layer < 2; layer++) {
        const normed = w.norm(stream);
        const [attn, mlp] = [w.attention(normed, mask), w.mlp(normed)];
        added.push([attn, mlp]);
        const [one, other] = first === "MLP" ? [mlp, attn] : [attn, mlp];
        stream = w.one("Add", [w.one("Add", [stream, one]), other]);
      }
      const model = await open(w.finish(w.norm(stream)));
      expect(model.cfg).toMatchObject({ nLayers: 2, parallelAttnMlp: true });
      const { cache } = await model.runWithCache(TOKENS, { namesFilter: "blocks.*" });
      for (const layer of [0, 1]) {
        expect(hooksOf(model, layer).sort()).toEqual(
          sequential(layer)
            .filter((name) => !name.endsWith("resid_mid"))
            .sort(),
        );
        const at = (kind: string) => cache.get(`blocks.${layer}.${kind}`)!;
        const tensors = ["hook_attn_out", "hook_mlp_out"].map(
          (kind) => model.hookPoint(`blocks.${layer}.${kind}`).tensor,
        );
        expect(tensors).toEqual(added[layer]);
        const order = ["hook_attn_out", "hook_mlp_out"];
        if (first === "MLP") order.reverse();
        const post = order.reduce((sum, kind) => add(sum, at(kind)), at("hook_resid_pre"));
        expect(bits(post).equals(bits(at("hook_resid_post")))).toBe(true);
      }
      allVerified(model);
      await model.dispose();
    },
  );
});

describe("a merged decoder: the whole network inside If(use_cache_branch)", () => {
  const path = fileURLToPath(new URL("../../../../test/fixtures/gpt2/model.onnx", import.meta.url));

  test.each([
    ["named as those of the If", "logits"],
    ["with names of their own", "inner_logits"],
  ])("outputs of the branches %s", async (_, inner) => {
    const bytes = readFileSync(path);
    const plain = await open(bytes);
    const whole = copyModel(decodeModel(bytes));
    const graph = whole.graph!;
    const rename = (name: string): string => (name === "logits" ? inner : name);
    const branch = () =>
      makeGraph({
        nodes: graph.node.map((node) =>
          Object.assign(Object.create(Object.getPrototypeOf(node)), node, {
            output: node.output.map(rename),
            input: node.input.map(rename),
          }),
        ),
        inputs: [],
        outputs: [makeValueInfo(inner, "float32")],
        name: "branch",
      });
    const attributes = Object.fromEntries([
      ["then_branch", branch()],
      ["else_branch", branch()],
    ]);
    graph.node = [makeNode("If", ["use_cache_branch"], ["logits"], attributes, "optimum::if")];
    graph.output = graph.output.filter((v) => v.name === "logits");
    graph.valueInfo = [];
    graph.input.push(makeValueInfo("use_cache_branch", "bool", [1]));
    const merged = await open(encodeModel(whole));
    expect(merged.hookPoints.map((h) => h.name)).toEqual(plain.hookPoints.map((h) => h.name));
    expect(merged.identity).toEqual({ state: "exact", maxAbsDifference: 0 });
    const [a, b] = [await plain.run({ tokens: TOKENS }), await merged.run({ tokens: TOKENS })];
    expect(bits(a.logits!).equals(bits(b.logits!))).toBe(true);
    await plain.dispose();
    await merged.dispose();
  });
});
