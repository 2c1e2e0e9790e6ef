import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ArgumentError, HookPointError, ModelError } from "@penfield/core";
import {
  decodeModel,
  encodeModel,
  externalizeWeights,
  externalWeight,
  indexGraph,
  makeModel,
  makeNode,
  makeTensor,
  makeValueInfo,
  tensorValues,
} from "@penfield/onnx";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  directLogitAttribution,
  HookedModel,
  type HookValues,
  logitLens,
  runWithActivationCache,
} from "../index.ts";
import { FrozenPath, readPath } from "./path.ts";

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../../test/fixtures/${name}`, import.meta.url));
const TOKENS = [
  [5, 9, 7, 3, 11],
  [2, 4, 6, 8],
];
const open = (name: string): Promise<HookedModel> => {
  const [family, file] = name.split("/");
  return HookedModel.fromPretrained(fixture(family!), { file, threads: 1, verify: "none" });
};
const sum = (values: ArrayLike<number>): number => Array.from(values).reduce((a, b) => a + b, 0);
/** Components of a stack added up at each place. */
const added = ({ data, shape }: HookValues): Float64Array => {
  const size = data.length / shape[0]!;
  const total = new Float64Array(size);
  data.forEach((v, i) => {
    total[i % size]! += v;
  });
  return total;
};
/** Largest difference as a share of the largest value. */
const relative = (got: ArrayLike<number>, want: ArrayLike<number>): number => {
  const largest = Array.from(want).reduce((m, v) => Math.max(m, Math.abs(v)), 0);
  const off = Array.from(want).reduce((m, v, i) => Math.max(m, Math.abs(v - got[i]!)), 0);
  return off / largest;
};
/** The score that Gemma 2 caps: 30 atanh(y / 30). */
const uncap = (name: string, v: number): number =>
  name === "gemma2" ? 30 * Math.atanh(v / 30) : v;

const decoders = [
  "gpt2",
  "llama",
  "neox",
  "gemma2",
  "opt",
  "qwen2",
  "olmo2",
  "bloom",
  "gptj",
  "llama/with_past",
];

describe.each(decoders)("taking the residual stream apart: %s", (name) => {
  let model: HookedModel;
  beforeAll(async () => {
    model = await open(name);
  });
  afterAll(() => model.dispose());

  test.each(["component", "head", "neuron"] as const)(
    "direct logit attribution adds up to the difference of logits: %s",
    async (unit) => {
      const { logits } = await model.run({ tokens: TOKENS });
      const [length, vocabulary] = [5, 96];
      const answers = [
        [11, 12],
        [40, 3],
      ] as const;
      const got = await directLogitAttribution(model, TOKENS, {
        tokens: answers.map(([a]) => a),
        incorrectTokens: answers.map(([, b]) => b),
        unit,
      });
      expect(got.values.length).toBe(got.labels.length * 2);
      answers.forEach(([right, wrong], row) => {
        const at = (row * length + TOKENS[row]!.length - 1) * vocabulary;
        const score = (token: number) => uncap(name, logits!.data[at + token]!);
        const want = score(right) - score(wrong);
        const shares = got.labels.map((_, c) => got.values[c * 2 + row]!);
        const scale = Math.max(Math.abs(want), ...shares.map(Math.abs));
        expect(Math.abs(sum(shares) - want) / scale).toBeLessThan(1e-4);
        expect(Math.abs(got.total[row]! - want) / scale).toBeLessThan(1e-4);
      });
      const heads = got.labels.filter((label) => /^L0H\d+$/.test(label)).length;
      const neurons = got.labels.filter((label) => /^L0N\d+$/.test(label)).length;
      expect(heads).toBe(unit === "head" ? model.cfg.nHeads : 0);
      expect(neurons).toBe(unit === "neuron" ? model.cfg.dMlp : 0);
    },
  );

  test("one logit by itself, biases included", async () => {
    const { logits } = await model.run({ tokens: TOKENS });
    const got = await directLogitAttribution(model, TOKENS, { tokens: 17, position: 2 });
    const want = [0, 1].map((row) => uncap(name, logits!.data[(row * 5 + 2) * 96 + 17]!));
    want.forEach((value, row) => {
      const shares = got.labels.map((_, c) => got.values[c * 2 + row]!);
      const scale = Math.max(Math.abs(value), ...shares.map(Math.abs));
      expect(Math.abs(sum(shares) - value) / scale).toBeLessThan(1e-4);
    });
  });

  test("heads and neurons of one layer add up to their branch, through the path behind it", async () => {
    const all = await directLogitAttribution(model, TOKENS, { tokens: 17, unit: "component" });
    for (const [unit, part, letter] of [
      ["head", "attn", "H"],
      ["neuron", "mlp", "N"],
    ] as const) {
      const got = await directLogitAttribution(model, TOKENS, { tokens: 17, unit });
      for (const layer of [0, 1]) {
        const share = (label: RegExp, { labels, values }: typeof got) =>
          sum(labels.flatMap((l, c) => (label.test(l) ? [values[c * 2]!] : [])));
        const units = share(new RegExp(`^L${layer}${letter}|^${layer}_${part}_bias`), got);
        const whole = share(new RegExp(`^${layer}_${part}_out`), all);
        expect(Math.abs(units - whole)).toBeLessThan(1e-4 * Math.max(1, Math.abs(whole)));
      }
    }
  });

  test("decomposeResid adds up to the residual stream at each depth", async () => {
    const { cache } = await runWithActivationCache(model, TOKENS);
    for (const depth of [1, 2]) {
      const { values } = await cache.decomposeResid(depth);
      const want = depth === 2 ? cache.get("resid_post", 1) : cache.get("resid_pre", depth);
      expect(relative(added(values), want.data)).toBeLessThan(1e-5);
    }
    const parts = async (mode: "attn" | "mlp") =>
      (await cache.decomposeResid(-1, { mode, includeEmbeds: false })).labels;
    expect(await parts("attn")).toEqual(["0_attn_out", "1_attn_out"]);
    expect(await parts("mlp")).toEqual(["0_mlp_out", "1_mlp_out"]);
  });

  test("stacked heads and neurons and their remainder are the residual stream; logitAttrs is linear in them", async () => {
    const { cache } = await runWithActivationCache(model, [TOKENS[0]!]);
    const want = cache.get("resid_post", -1).data;
    for (const stack of [
      await cache.stackHeadResults(-1, { includeRemainder: true }),
      await cache.stackNeuronResults(undefined, { includeRemainder: true }),
    ]) {
      expect(stack.labels.at(-1)).toBe("remainder");
      expect(relative(added(stack.values), want)).toBeLessThan(1e-5);
    }
    const heads = await cache.stackHeadResults();
    expect(heads.labels.slice(0, 2)).toEqual(["L0H0", "L0H1"]);
    expect(heads.values.shape).toEqual([2 * model.cfg.nHeads!, 1, 5, model.cfg.dModel]);
    const attrs = await cache.logitAttrs(heads, 11, 12);
    const dla = await directLogitAttribution(model, [TOKENS[0]!], {
      tokens: 11,
      incorrectTokens: 12,
      unit: "head",
    });
    heads.labels.forEach((label, c) => {
      const there = dla.values[dla.labels.indexOf(label)]!;
      expect(Math.abs(attrs.data[c * 5 + 4]! - there)).toBeLessThan(
        1e-4 * Math.max(1, Math.abs(there)),
      );
    });
  });

  test("applyLnToStack: frozen, the parts add up to the normed whole; recomputed, each is normed by itself", async () => {
    const { cache } = await runWithActivationCache(model, [TOKENS[0]!]);
    const parts = await cache.decomposeResid();
    const whole = cache.accumulatedResid(-1);
    const last = whole.values.shape[0]! - 1;
    const frozen = added((await cache.applyLnToStack(parts)).values);
    const { values } = await cache.applyLnToStack(whole, { recompute: true });
    const size = values.data.length / values.shape[0]!;
    expect(relative(frozen, values.data.subarray(last * size))).toBeLessThan(1e-5);
    const { kind, epsilon } = await model.weights.finalNorm();
    const dim = model.cfg.dModel;
    const x = whole.values.data.subarray(0, dim);
    const mean = kind === "LN" ? sum(x) / dim : 0;
    const deviation = Math.sqrt(sum(x.map((v) => (v - mean) ** 2)) / dim + epsilon);
    const want = Array.from(x, (v) => (v - mean) / deviation);
    expect(relative(values.data.subarray(0, dim), want)).toBeLessThan(1e-5);
  });

  test("the lens: the last layer is the model's output bit for bit; each layer is W_U of its norm", async () => {
    const { logits } = await model.run({ tokens: TOKENS });
    const lens = await logitLens(model, TOKENS, { includeMid: true });
    const size = logits!.data.length;
    expect(lens.logits.data.subarray(-size)).toEqual(logits!.data);
    const one = await logitLens(model, TOKENS, { includeMid: true, position: -1 });
    const nLayers = lens.labels.length;
    expect(one.logits.shape).toEqual([nLayers, 2, 1, 96]);
    TOKENS.forEach((row, r) => {
      for (let l = 0; l < nLayers; l++) {
        const there = ((l * 2 + r) * 5 + row.length - 1) * 96;
        const want = lens.logits.data.subarray(there, there + 96);
        const got = one.logits.data.subarray((l * 2 + r) * 96, (l * 2 + r + 1) * 96);
        expect(relative(got, want)).toBeLessThan(1e-5);
      }
    });
    const { cache } = await runWithActivationCache(model, TOKENS);
    const stack = cache.accumulatedResid(undefined, { includeMid: true });
    expect(lens.labels).toEqual(stack.labels);
    const { kind, epsilon, weight, bias } = await model.weights.finalNorm();
    const [U, b] = [await model.weights.get("W_U"), await model.weights.get("b_U")];
    const dim = model.cfg.dModel;
    lens.labels.forEach((label, l) => {
      const place = l * 2 * 5 + 2;
      const x = stack.values.data.subarray(place * dim, (place + 1) * dim);
      const mean = kind === "LN" ? sum(x) / dim : 0;
      const deviation = Math.sqrt(sum(x.map((v) => (v - mean) ** 2)) / dim + epsilon);
      const normed = Array.from(x, (v, i) => ((v - mean) / deviation) * weight[i]! + bias[i]!);
      const want = Array.from({ length: 96 }, (_, t) =>
        normed.reduce((s, v, i) => s + v * U.data[i * 96 + t]!, b.data[t]!),
      );
      const got = lens.logits.data.subarray(place * 96, (place + 1) * 96);
      expect(
        relative(
          Array.from(got, (v) => uncap(name, v)),
          want,
        ),
        label,
      ).toBeLessThan(1e-4);
    });
  });
});

describe("weights", () => {
  test("a neuron's row and a head's rows of the weights are what the branch writes", async () => {
    for (const name of ["gpt2", "llama", "neox"]) {
      const model = await open(name);
      const { cache } = await runWithActivationCache(model, [TOKENS[0]!]);
      for (const [z, W, b, out] of [
        ["z", "W_O", "b_O", "attn_out"],
        ["post", "W_out", "b_out", "mlp_out"],
      ] as const) {
        const x = cache.get(z, 1).data;
        const [weight, bias] = [await model.weights.get(W, 1), await model.weights.get(b, -1)];
        const dim = model.cfg.dModel;
        const nIn = weight.data.length / dim;
        const want = Array.from({ length: dim }, (_, o) =>
          Array.from(x.subarray(0, nIn)).reduce(
            (s, v, i) => s + v * weight.data[i * dim + o]!,
            bias.data[o]!,
          ),
        );
        expect(relative(cache.get(out, 1).data.subarray(0, dim), want)).toBeLessThan(1e-5);
      }
      await model.dispose();
    }
  });

  test("are the file's own numbers", async () => {
    const model = await open("gpt2");
    const { graph } = decodeModel(new Uint8Array(readFileSync(`${fixture("gpt2")}/model.onnx`)));
    const stored = (part: string): number[] => {
      const tensor = graph!.initializer.find((t) => t.name.endsWith(part))!;
      expect(externalWeight(tensor)).toBeUndefined();
      return [...tensorValues(tensor)];
    };
    const read = async (...args: Parameters<typeof model.weights.get>) => [
      ...(await model.weights.get(...args)).data,
    ];
    expect(await read("W_E")).toEqual(stored("wte.weight"));
    expect(await read("W_pos")).toEqual(stored("wpe.weight"));
    expect(await read("W_O", 1)).toEqual(stored("h.1.attn.c_proj.weight"));
    expect(await read("b_O", 1)).toEqual(stored("h.1.attn.c_proj.bias"));
    expect(await read("W_out", -1)).toEqual(stored("h.1.mlp.c_proj.weight"));
    const norm = await model.weights.finalNorm();
    expect([norm.kind, ...norm.weight, ...norm.bias]).toEqual([
      "LN",
      ...stored("ln_f.weight"),
      ...stored("ln_f.bias"),
    ]);
    expect(norm.epsilon).toBeCloseTo(1e-5, 12);
    // The output matrix is tied: W_U is W_E turned.
    const [E, U] = [await read("W_E"), await read("W_U")];
    expect(U).toEqual(
      Array.from({ length: U.length }, (_, i) => E[(i % 96) * 24 + Math.floor(i / 96)]),
    );
    await model.dispose();
  });

  test("in a file beside the model, and turned in a Gemm, are the same", async () => {
    const folder = await mkdtemp(join(tmpdir(), "penfield-"));
    const bytes = new Uint8Array(readFileSync(`${fixture("gpt2")}/model.onnx`));
    const whole = decodeModel(bytes);
    const parts: Uint8Array[] = [];
    let offset = 0;
    for (const tensor of whole.graph!.initializer) {
      const raw = tensor.rawData.slice();
      if (raw.length < 1024) continue;
      // One of them is stored turned, as a linear layer of PyTorch is.
      if (tensor.name.endsWith("h.1.mlp.c_proj.weight")) {
        const [rows, columns] = tensor.dims.map(Number) as [number, number];
        const values = new Float32Array(raw.buffer);
        const turned = Float32Array.from(values, (_, i) => {
          return values[(i % rows) * columns + Math.floor(i / rows)]!;
        });
        raw.set(new Uint8Array(turned.buffer));
        tensor.dims = [BigInt(columns), BigInt(rows)];
        const gemm = whole.graph!.node.find((n) => n.input[1] === tensor.name)!;
        gemm.attribute = makeNode("Gemm", [], [], { transB: 1n }).attribute;
      }
      const moved = decodeModel(bytes);
      externalizeWeights(moved, bytes, "weights.bin");
      const like = moved.graph!.initializer.find((t) => t.name === tensor.name)!;
      const entries: Record<string, string> = {
        location: "weights.bin",
        offset: String(offset),
        length: String(raw.length),
      };
      for (const entry of like.externalData) entry.value = entries[entry.key]!;
      tensor.externalData = like.externalData;
      tensor.dataLocation = like.dataLocation;
      Reflect.deleteProperty(tensor, "rawData");
      parts.push(raw);
      offset += raw.length;
    }
    await writeFile(join(folder, "weights.bin"), Buffer.concat(parts));
    await writeFile(join(folder, "model.onnx"), encodeModel(whole));
    const config = readFileSync(`${fixture("gpt2")}/config.json`);
    await writeFile(join(folder, "config.json"), config);
    const moved = await HookedModel.fromPretrained(folder, { threads: 1, verify: "none" });
    const plain = await open("gpt2");
    for (const name of ["W_E", "W_pos", "W_U", "W_O", "W_out", "b_out"] as const) {
      const [a, b] = [await moved.weights.get(name, 1), await plain.weights.get(name, 1)];
      expect(a, name).toEqual(b);
    }
    await moved.dispose();
    await plain.dispose();
    await rm(folder, { recursive: true });
  });

  test("that are not there, and layers and names that do not exist", async () => {
    const model = await open("llama");
    await expect(model.weights.get("W_pos")).rejects.toThrow(ModelError);
    await expect(model.weights.get("W_O", 2)).rejects.toThrow(/a layer within 0..1, got 2/);
    await expect(model.weights.get("W_O")).rejects.toThrow(ArgumentError);
    await expect(model.weights.get("W_Z" as never)).rejects.toThrow(ArgumentError);
    await model.dispose();
    const bert = await open("bert");
    await expect(bert.weights.get("W_U")).rejects.toThrow(/expected a model with logits/);
    expect((await bert.weights.get("W_pos")).shape).toEqual([32, 24]);
    await expect(logitLens(bert, TOKENS)).rejects.toThrow(/expected a model with logits/);
    const { cache } = await runWithActivationCache(bert, TOKENS);
    await expect(cache.decomposeResid()).rejects.toThrow(/norms between them/);
    await bert.dispose();
  });
});

describe("a model whose numbers can be followed by hand", () => {
  // Two tokens, attention spread evenly over both (queries are 0), W_V = 1, W_O = 0.5 * 2, no norm, W_U = 1.
  const square = (name: string, a: number, b: number, c: number, d: number) =>
    makeTensor(name, "float32", [2, 2], [a, b, c, d]);
  const bytes = encodeModel(
    makeModel({
      nodes: [
        makeNode("Gather", ["E", "input_ids"], ["x"]),
        makeNode("MatMul", ["x", "Q"], ["q"]),
        makeNode("MatMul", ["x", "V"], ["v"]),
        makeNode("Transpose", ["v"], ["vT"], { perm: [0n, 2n, 1n] }),
        makeNode("MatMul", ["q", "vT"], ["scores"]),
        makeNode("Softmax", ["scores"], ["pattern"], { axis: -1n }),
        makeNode("MatMul", ["pattern", "v"], ["z"]),
        makeNode("MatMul", ["z", "O"], ["branch"]),
        makeNode("Add", ["x", "branch"], ["post"]),
        makeNode("MatMul", ["post", "U"], ["logits"]),
      ],
      initializers: [
        makeTensor("E", "float32", [12, 2], [1, 0, 0, 1, ...new Array<number>(20).fill(0)]),
        square("Q", 0, 0, 0, 0),
        square("V", 1, 0, 0, 1),
        makeTensor("O8", "int8", [2, 2], [2, 0, 0, 2]),
        makeTensor(
          "U",
          "float32",
          [2, 12],
          Array.from({ length: 24 }, (_, i) => Number(i % 13 === 0)),
        ),
      ],
      inputs: [makeValueInfo("input_ids", "int64", ["batch", "pos"])],
      outputs: [makeValueInfo("logits", "float32", ["batch", "pos", 12])],
    }),
  );

  test("shares of the logits, with a weight that is stored in 8 bits and dequantised", async () => {
    const whole = decodeModel(bytes);
    whole.graph!.initializer.push(makeTensor("O.scale", "float32", [], [0.5]));
    whole.graph!.node.push(makeNode("DequantizeLinear", ["O8", "O.scale"], ["O"]));
    const model = await HookedModel.fromBytes(encodeModel(whole), {
      threads: 1,
      config: { num_attention_heads: 1 },
    });
    expect([...(await model.weights.get("W_O", 0)).data]).toEqual([1, 0, 0, 1]);
    // Token 0 then token 1: each place receives half of both.
    const { logits } = await model.run({ tokens: [[0, 1]] });
    const two = (data: Float32Array) => [...data].filter((_, i) => i % 12 < 2);
    expect(two(logits!.data)).toEqual([1.5, 0.5, 0.5, 1.5]);
    const got = await directLogitAttribution(model, [[0, 1]], { tokens: 1, unit: "head" });
    expect(got.labels).toEqual(["embed", "L0H0", "0_attn_bias", "bias"]);
    expect([...got.values]).toEqual([1, 0.5, 0, 0]);
    expect([...got.total]).toEqual([1.5]);
    const difference = await directLogitAttribution(model, [[0, 1]], {
      tokens: 0,
      incorrectTokens: 1,
      position: 0,
    });
    expect([...difference.values]).toEqual([1, 0, 0]);
    const lens = await logitLens(model, [[0, 1]]);
    expect(two(lens.logits.data)).toEqual([1, 0, 0, 1, 1.5, 0.5, 0.5, 1.5]);
    await expect(model.weights.finalNorm()).rejects.toThrow(/no final norm/);
    await model.dispose();
  });
});

describe("ways that cannot be read", () => {
  test("name the operator that stands on them", () => {
    const graph = makeModel({
      nodes: [
        makeNode("MatMul", ["x", "W"], ["y"]),
        makeNode("Sigmoid", ["y"], ["z"]),
        makeNode("Add", ["z", "b"], ["out"]),
      ],
      initializers: [makeTensor("W", "float32", [1, 1], [1]), makeTensor("b", "float32", [1], [1])],
      inputs: [makeValueInfo("x", "float32", ["n", 1])],
      outputs: [makeValueInfo("out", "float32", ["n", 1])],
    }).graph!;
    const index = indexGraph(graph);
    expect(readPath(index, "x", "y").map((step) => step.kind)).toEqual(["linear"]);
    expect(() => readPath(index, "x", "out")).toThrow(/between x and out, got Sigmoid/);
    expect(() => readPath(index, "out", "y")).toThrow(/got the input x/);
  });

  test("float16: shares add up within its precision", async () => {
    const model = await open("gpt2/fp16");
    const { logits } = await model.run({ tokens: TOKENS });
    const { values, total } = await directLogitAttribution(model, TOKENS.slice(0, 1), {
      tokens: 7,
    });
    expect(Math.abs(sum(values) - logits!.data[4 * 96 + 7]!)).toBeLessThan(2e-2);
    expect(sum(values)).toBeCloseTo(total[0]!, 1);
    await model.dispose();
  });
});

describe("FrozenPath", () => {
  const total = Float64Array.from([3, -1, 4, 2]);
  const steps = [
    { kind: "scale", value: Float32Array.from([2]) },
    { kind: "add", value: Float32Array.from([1, 0, 0, 0]) },
    {
      kind: "norm",
      type: "LN",
      epsilon: 0,
      weight: Float32Array.from([1, 2, 3, 4]),
      bias: Float32Array.from([0, 0, 0, 1]),
    },
  ] as const;
  // 2 x + (1, 0, 0, 0) = (7, -2, 8, 4): mean 4.25, deviation sqrt(15.1875).
  const deviation = Math.sqrt((2.75 ** 2 + 6.25 ** 2 + 3.75 ** 2 + 0.25 ** 2) / 4);

  test("by hand", () => {
    const path = new FrozenPath(steps, total);
    const whole = path.share(total).map((v, i) => v + path.constant(4)[i]!);
    const want = [2.75 / deviation, -12.5 / deviation, 11.25 / deviation, 1 - 1 / deviation];
    whole.forEach((v, i) => {
      expect(v).toBeCloseTo(want[i]!, 12);
    });
  });

  test("pull is the transpose of share", () => {
    const path = new FrozenPath(steps, total);
    const [x, d] = [Float64Array.from([1, 0, -2, 0.5]), Float64Array.from([0.3, 1, -1, 2])];
    const dot = (a: Float64Array, b: Float64Array) => sum(a.map((v, i) => v * b[i]!));
    expect(dot(d, path.share(x))).toBeCloseTo(dot(path.pull(d), x), 12);
  });
});

describe("the cache", () => {
  test("answers to short names, layers from the end, full names and aliases", async () => {
    const model = await open("gpt2");
    const { cache, logits } = await runWithActivationCache(model, TOKENS, {
      namesFilter: ["blocks.1.attn.hook_q", "hook_embed"],
    });
    expect(logits.shape).toEqual([2, 5, 96]);
    expect(cache.keys.sort()).toEqual(["blocks.1.attn.hook_q", "hook_embed"]);
    expect(cache.get("q", -1)).toBe(cache.get("blocks.1.attn.hook_q"));
    expect(cache.get("blocks.1.attn.q.hook_out")).toBe(cache.get("q", 1));
    expect(cache.get("embed")).toBe(cache.get("hook_embed"));
    expect([cache.has("q", 1), cache.has("q", 0), cache.has("nothing")]).toEqual([
      true,
      false,
      false,
    ]);
    expect(() => cache.get("q", 0)).toThrow(HookPointError);
    expect(() => cache.get("q", 2)).toThrow(ArgumentError);
    await model.dispose();
  });

  test("wrong answers, positions, modes and depths are refused", async () => {
    const model = await open("gpt2");
    const dla = (options: object) =>
      directLogitAttribution(model, TOKENS, { tokens: 1, ...options });
    await expect(dla({ tokens: 96 })).rejects.toThrow(/tokens within 0..95, got 96/);
    await expect(dla({ tokens: [1] })).rejects.toThrow(/one token for each of 2 rows, got 1/);
    await expect(dla({ position: 4 })).rejects.toThrow(/within 0..3, got 4 for row 1/);
    await expect(logitLens(model, TOKENS, { position: -5 })).rejects.toThrow(
      /within 0..3, got -5 for row 1/,
    );
    await expect(dla({ unit: "layer" })).rejects.toThrow(/component, head or neuron/);
    const { cache } = await runWithActivationCache(model, TOKENS);
    expect(() => cache.accumulatedResid(3)).toThrow(/layers within 0..2/);
    await expect(cache.decomposeResid(-1, { mode: "x" as never })).rejects.toThrow(ArgumentError);
    await expect(cache.decomposeResid(0, { includeEmbeds: false })).rejects.toThrow(
      /at least one component/,
    );
    await model.dispose();
  });
});
