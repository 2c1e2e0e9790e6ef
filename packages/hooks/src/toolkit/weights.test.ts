import { existsSync, readFileSync } from "node:fs";
import { copyFile, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ArgumentError, ModelError } from "@penfield/core";
import {
  copyModel,
  decodeModel,
  dequantizeGraph,
  encodeModel,
  indexGraph,
  intAttribute,
  type ModelProto,
  makeModel,
  makeNode,
  makeTensor,
  makeValueInfo,
  type NodeProto,
  type TensorProto,
  tensorValues,
} from "@penfield/onnx";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import { directLogitAttribution, HookedModel, type HookValues, type WeightName } from "../index.ts";
import { normalizeGraph } from "../transformer/normalizeGraph.ts";
import { findProjection } from "./projection.ts";

const fixture = (path: string): string =>
  fileURLToPath(new URL(`../../../../test/fixtures/${path}`, import.meta.url));
const open = (name: string, file = "model"): Promise<HookedModel> =>
  HookedModel.fromPretrained(fixture(name), { file, threads: 1, verify: "none" });
const TOKENS = [
  [5, 9, 7, 3, 11],
  [2, 4, 6, 8, 10],
];
const largest = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((max, v) => Math.max(max, Math.abs(v)), 0);
const difference = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  expect(a.length).toBe(b.length);
  return Array.from(a).reduce((max, v, i) => Math.max(max, Math.abs(v - b[i]!)), 0);
};

/** x W + b for each row of x, with W `[heads, nIn, nOut]` or `[nIn, nOut]`, one loop per axis. */
function applied(x: Float32Array, w: HookValues, b: HookValues): Float64Array {
  const [nIn, nOut] = w.shape.slice(-2) as [number, number];
  const nHeads = w.shape.length === 3 ? w.shape[0]! : 1;
  const nRows = x.length / nIn;
  const y = new Float64Array(nRows * nHeads * nOut);
  for (let r = 0; r < nRows; r++)
    for (let h = 0; h < nHeads; h++)
      for (let o = 0; o < nOut; o++) {
        let sum = b.data[h * nOut + o]!;
        for (let i = 0; i < nIn; i++) sum += x[r * nIn + i]! * w.data[(h * nIn + i) * nOut + o]!;
        y[(r * nHeads + h) * nOut + o] = sum;
      }
  return y;
}

/** What the matrix before a hook reads, by its name in the graph. */
function inputOf(model: ModelProto, hook: string, tensor: string): string {
  const { graph } = dequantizeGraph(normalizeGraph(model).graph!);
  return findProjection(indexGraph(graph), hook, tensor).linear.input[0]!;
}

const families = [
  ...["gpt2", "llama", "phi3", "neox", "bloom", "modernbert", "opt", "gemma2", "gemma3", "qwen2"],
  ...["qwen3", "olmo2", "gptj", "gptneo", "mistral", "bert", "distilbert", "roberta"],
];
/** A norm stands between these matrices and their hooks. */
const normed = (name: string, part: string): boolean =>
  name === "olmo2" && (part === "Q" || part === "K");

describe.each(families)("matrices make the values at their hooks: %s", (name) => {
  test("x W + b is the hook", async () => {
    const model = await open(name);
    const proto = decodeModel(readFileSync(fixture(`${name}/model.onnx`)), "model.onnx");
    const gated = model.cfg.gatedMlp;
    const parts = [
      ...[["Q", "attn.hook_q"] as const, ["K", "attn.hook_k"] as const],
      ...[["V", "attn.hook_v"] as const, [gated ? "gate" : "in", "mlp.hook_pre"] as const],
      ...(gated ? [["in", "mlp.hook_pre_linear"] as const] : []),
    ];
    for (const layer of [0, 1]) {
      for (const [part, kind] of parts) {
        const hook = model.hookPoint(`blocks.${layer}.${kind}`);
        const raw = inputOf(proto, hook.name, hook.tensor);
        const { cache } = await model.run({ tokens: TOKENS, capture: [raw, hook.name] });
        const w = await model.weights.get(`W_${part}`, layer);
        const b = await model.weights.get(`b_${part}`, layer);
        const { nHeads, nKeyValueHeads, dModel, dHead, dMlp } = model.cfg;
        const heads = part === "Q" ? nHeads : nKeyValueHeads;
        const inHeads = kind.startsWith("attn");
        expect(w.shape).toEqual(inHeads ? [heads, dModel, dHead] : [dModel, dMlp]);
        expect(b.shape).toEqual(inHeads ? [heads, dHead] : [dMlp]);
        if (normed(name, part)) continue;
        const got = cache.get(hook.name)!;
        expect(difference(got.data, applied(cache.get(raw)!.data, w, b))).toBeLessThan(
          2e-6 * Math.max(1, largest(got.data)),
        );
      }
    }
    await model.dispose();
  });
});

describe.each(["bart", "t5"])("several stacks of blocks: %s", (name) => {
  test("x W + b is the hook in encoder, decoder and cross attention", async () => {
    const model = await open(name);
    const proto = decodeModel(readFileSync(fixture(`${name}/model.onnx`)), "model.onnx");
    const places = [
      { stack: "encoder" },
      { stack: "decoder" },
      { stack: "decoder", cross: true },
      { cross: true },
    ];
    for (const place of places) {
      for (const part of ["Q", "K", "V"] as const) {
        const kind = `${place.cross ? "cross_" : ""}attn.hook_${part.toLowerCase()}`;
        const hook = model.hookPoint(`${place.stack ?? "decoder"}.blocks.1.${kind}`);
        const raw = inputOf(proto, hook.name, hook.tensor);
        const given = { tokens: TOKENS, decoderTokens: TOKENS };
        const { cache } = await model.run({ ...given, capture: [raw, hook.name] });
        const w = await model.weights.get(`W_${part}`, 1, place);
        const b = await model.weights.get(`b_${part}`, -1, place);
        const got = cache.get(hook.name)!;
        expect(difference(got.data, applied(cache.get(raw)!.data, w, b))).toBeLessThan(
          2e-6 * Math.max(1, largest(got.data)),
        );
      }
    }
    const [encoder, decoder, cross] = await Promise.all(
      places.slice(0, 3).map((place) => model.weights.get("W_O", 0, place)),
    );
    expect(encoder!.shape).toEqual(cross!.shape);
    expect(difference(encoder!.data, decoder!.data)).toBeGreaterThan(0);
    expect(difference(cross!.data, decoder!.data)).toBeGreaterThan(0);
    expect(await model.weights.get("W_O", 0)).toEqual(decoder);
    await expect(model.weights.get("W_Q", 0, { stack: "vision" })).rejects.toThrow(
      /expected a stack among encoder, decoder, got "vision"/,
    );
    await expect(model.weights.get("W_Q", 0, { stack: "encoder", cross: true })).rejects.toThrow(
      /the model has no encoder.blocks.0.cross_attn.hook_q/,
    );
    await model.dispose();
  });
});

const NAMES: WeightName[] = ["W_Q", "W_K", "W_V", "W_O", "W_in", "W_out", "b_Q", "b_V"];

/** Largest difference that a kind of file may show, as a share of the layer's largest weight. */
const variants = { with_past: 0, ort_optimized: 0, fp16: 1e-3, int8_dynamic: 0.02, int8_qdq: 0.02 };

describe.each(["gpt2", "llama", "phi3", "neox", "bloom", "qwen3", "modernbert", "opt", "gemma2"])(
  "other files of the same weights: %s",
  (name) => {
    for (const [file, tolerance] of Object.entries(variants)) {
      const path = fixture(`${name}/${file}.onnx`);
      test.skipIf(!existsSync(path))(
        `${file} (skipped where there is no such file)`,
        async ({ skip }) => {
          const plain = await open(name);
          const other = await open(name, file).catch((error: Error) => error);
          if (other instanceof Error) {
            await plain.dispose();
            skip(`its hooks are not found yet: ${other.message.slice(0, 80)}`);
            return;
          }
          if (other.cfg.nLayers !== 2 || !other.hookPoints.some((h) => h.kind === "attn.hook_q")) {
            await Promise.all([plain.dispose(), other.dispose()]);
            skip("its queries have no hook");
            return;
          }
          const want = await Promise.all(NAMES.map((n) => plain.weights.get(n, 1)));
          const scale = Math.max(...want.map(({ data }) => largest(data)));
          for (const [i, weight] of NAMES.entries()) {
            const got = await other.weights.get(weight, 1);
            expect(got.shape, weight).toEqual(want[i]!.shape);
            expect(difference(got.data, want[i]!.data), weight).toBeLessThanOrEqual(
              tolerance * scale,
            );
          }
          if (plain.cfg.dVocab !== undefined && plain.cfg.attentionDir === "causal") {
            const [u, v] = [await other.weights.get("W_U"), await plain.weights.get("W_U")];
            expect(difference(u.data, v.data)).toBeLessThanOrEqual(tolerance * largest(v.data));
            expect((await other.weights.finalNorm()).kind).toBe(
              (await plain.weights.finalNorm()).kind,
            );
          }
          const [embed, wanted] = [await other.weights.get("W_E"), await plain.weights.get("W_E")];
          expect(embed.shape).toEqual(wanted.shape);
          expect(difference(embed.data, wanted.data)).toBeLessThanOrEqual(
            tolerance * largest(wanted.data),
          );
          await Promise.all([plain.dispose(), other.dispose()]);
        },
      );
    }
  },
);

const builders = ["llama", "phi3", "qwen2", "qwen3", "gemma2", "gemma3", "mistral"];

describe.each(builders)(
  "files of onnxruntime's model builder, attention in one operator: %s",
  (name) => {
    const path = fixture(`${name}/builder_int4.onnx`);
    test.skipIf(!existsSync(path))(
      "4 bits are the float weights, rounded (skipped where there is no such file)",
      async ({ skip }) => {
        const folder = await mkdtemp(join(tmpdir(), "penfield-builder-"));
        const opened: HookedModel[] = [];
        try {
          await copyFile(fixture(`${name}/config.builder.json`), join(folder, "config.json"));
          for (const kind of ["fp32", "int4"]) {
            await copyFile(fixture(`${name}/builder_${kind}.onnx`), join(folder, `${kind}.onnx`));
            const model = await HookedModel.fromPretrained(folder, {
              ...{ file: kind, threads: 1, verify: "none" },
            }).catch((error: Error) => error);
            if (model instanceof Error) {
              skip(`it does not open yet: ${model.message.slice(0, 80)}`);
              return;
            }
            opened.push(model);
          }
          const [float, rounded] = opened as [HookedModel, HookedModel];
          const { nHeads, nKeyValueHeads, dModel, dHead, dMlp } = float.cfg;
          const shapes = {
            W_Q: [nHeads, dModel, dHead],
            W_K: [nKeyValueHeads, dModel, dHead],
            W_V: [nKeyValueHeads, dModel, dHead],
            W_O: [nHeads, dHead, dModel],
            W_in: [dModel, dMlp],
            W_gate: [dModel, dMlp],
            W_out: [dMlp, dModel],
          };
          for (const [weight, shape] of Object.entries(shapes)) {
            const [a, b] = await Promise.all(
              [float, rounded].map((model) => model.weights.get(weight as WeightName, 1)),
            );
            expect(a!.shape, weight).toEqual(shape);
            expect(b!.shape, weight).toEqual(shape);
            // Codes are -8 to 7 eighths of a block's largest value: that one may be off by a whole step.
            expect(difference(a!.data, b!.data), weight).toBeLessThan(0.126 * largest(a!.data));
            expect(difference(a!.data, b!.data), weight).toBeGreaterThan(0);
          }
          const [u, v] = await Promise.all(
            [float, rounded].map((model) => model.weights.get("W_U")),
          );
          expect(difference(u!.data, v!.data)).toBeLessThan(0.126 * largest(u!.data));
          const hook = "blocks.1.attn.hook_q";
          if (float.hookPoints.some((h) => h.name === hook)) {
            const raw = inputOf(
              decodeModel(await readFile(join(folder, "fp32.onnx")), "fp32"),
              hook,
              float.hookPoint(hook).tensor,
            );
            const { cache } = await float.run({ tokens: TOKENS, capture: [raw, hook] });
            const w = await float.weights.get("W_Q", 1);
            const want = applied(cache.get(raw)!.data, w, await float.weights.get("b_Q", 1));
            const got = cache.get(hook)!.data;
            expect(difference(got, want)).toBeLessThan(2e-6 * Math.max(1, largest(got)));
          }
        } finally {
          for (const model of opened) await model.dispose();
          await rm(folder, { recursive: true, force: true });
        }
      },
    );
  },
);

test.each(["int8_dynamic", "int8_qdq"])(
  "shares of a logit add up as far as rounded activations let them: %s",
  async (file) => {
    for (const name of ["gpt2", "llama", "phi3"]) {
      const model = await open(name, file);
      const answers = { tokens: 11, incorrectTokens: 12, unit: "head" } as const;
      const { values, total } = await directLogitAttribution(model, [TOKENS[0]!], answers);
      const { logits } = await model.run({ tokens: [TOKENS[0]!] });
      const last = logits!.data.subarray(4 * 96);
      const off = Math.max(
        Math.abs(values.reduce((a, b) => a + b) - total[0]!),
        Math.abs(last[11]! - last[12]! - total[0]!),
      );
      expect(off).toBeLessThan(0.05 * largest(values));
      await model.dispose();
    }
  },
);

/** What a quantising rewrite puts in the place of a product of `[rows, columns]` weights. */
type Rewrite = (
  node: NodeProto,
  weight: { name: string; values: Float32Array; rows: number; columns: number },
) => { nodes: NodeProto[]; initializers: TensorProto[]; dequantized: Float32Array };

/** A fixture with all its products of plain weights quantised, and the weights that it then has. */
function quantized(
  name: string,
  rewrite: Rewrite,
): { bytes: Uint8Array; weights: Map<string, Float32Array> } {
  const model = copyModel(decodeModel(readFileSync(fixture(`${name}/model.onnx`)), "model.onnx"));
  const graph = model.graph!;
  const constants = new Map(graph.initializer.map((t) => [t.name, t]));
  const weights = new Map<string, Float32Array>();
  graph.node = graph.node.flatMap((node) => {
    const tensor = constants.get(node.input[1] ?? "");
    if (node.opType !== "MatMul" || tensor?.dims.length !== 2) return [node];
    const [rows, columns] = tensor.dims.map(Number) as [number, number];
    const values = Float32Array.from(tensorValues(tensor));
    const made = rewrite(node, { name: tensor.name, values, rows, columns });
    graph.initializer.push(...made.initializers);
    weights.set(node.output[0]!, made.dequantized);
    return made.nodes;
  });
  model.opsetImport = [
    ...model.opsetImport.filter((o) => o.domain !== "com.microsoft"),
    ...makeModel({ nodes: [], inputs: [], outputs: [] }, { microsoft: true }).opsetImport.slice(1),
  ];
  return { bytes: encodeModel(model), weights };
}

/** 4 or 8 bits in blocks of 16 inputs, with zero points or without; 24 inputs fill a block and a half. */
const inBlocks =
  (bits: 4 | 8, zeroPoints: boolean): Rewrite =>
  (node, { values, rows, columns }) => {
    const size = 16;
    const nBlocks = Math.ceil(rows / size);
    const top = 2 ** bits - 1;
    const scales = new Float32Array(columns * nBlocks);
    const zeros = new Uint8Array(columns * Math.ceil((nBlocks * bits) / 8));
    const codes = new Uint8Array((columns * nBlocks * size * bits) / 8);
    const dequantized = new Float32Array(values.length);
    const put = (into: Uint8Array, perRow: number, row: number, i: number, code: number): void => {
      into[row * perRow + Math.floor((i * bits) / 8)]! += code * 2 ** ((i * bits) % 8);
    };
    for (let c = 0; c < columns; c++) {
      for (let block = 0; block < nBlocks; block++) {
        const inside = Array.from({ length: size }, (_, i) => block * size + i).filter(
          (i) => i < rows,
        );
        const column = inside.map((i) => values[i * columns + c]!);
        const [low, high] = [Math.min(0, ...column), Math.max(0, ...column)];
        const zero = zeroPoints ? Math.round((top * -low) / (high - low)) : 2 ** (bits - 1);
        const scale = Math.fround(
          zeroPoints ? (high - low) / top : largest(column) / (2 ** (bits - 1) - 1),
        );
        scales[c * nBlocks + block] = scale;
        if (zeroPoints) put(zeros, Math.ceil((nBlocks * bits) / 8), c, block, zero);
        for (const i of inside) {
          const code = Math.min(
            top,
            Math.max(0, Math.round(values[i * columns + c]! / scale) + zero),
          );
          put(codes, (nBlocks * size * bits) / 8, c, i, code);
          dequantized[i * columns + c] = Math.fround((code - zero) * scale);
        }
      }
    }
    const name = node.output[0]!;
    const inputs = [node.input[0]!, `${name}.q`, `${name}.s`];
    if (zeroPoints) inputs.push(`${name}.z`);
    return {
      dequantized,
      nodes: [
        makeNode("com.microsoft:MatMulNBits", inputs, [name], {
          K: BigInt(rows),
          N: BigInt(columns),
          bits: BigInt(bits),
          block_size: BigInt(size),
        }),
      ],
      initializers: [
        makeTensor(`${name}.q`, "uint8", [columns, nBlocks, (size * bits) / 8], codes),
        makeTensor(`${name}.s`, "float32", [columns * nBlocks], scales),
        ...(zeroPoints ? [makeTensor(`${name}.z`, "uint8", [zeros.length], zeros)] : []),
      ],
    };
  };

/** 8 bits, one scale and zero point per column, as onnxruntime's dynamic quantisation writes them. */
const dynamic: Rewrite = (node, { values, rows, columns }) => {
  const scales = new Float32Array(columns);
  const zeros = Int8Array.from({ length: columns }, (_, c) => (c % 7) - 3);
  for (let c = 0; c < columns; c++) {
    for (let r = 0; r < rows; r++) {
      scales[c] = Math.max(scales[c]!, Math.abs(values[r * columns + c]!) / 120);
    }
  }
  const codes = Int8Array.from(
    values,
    (v, i) => Math.round(v / scales[i % columns]!) + zeros[i % columns]!,
  );
  const name = node.output[0]!;
  return {
    dequantized: Float32Array.from(
      codes,
      (code, i) => (code - zeros[i % columns]!) * scales[i % columns]!,
    ),
    nodes: [
      makeNode(
        "DynamicQuantizeLinear",
        [node.input[0]!],
        [`${name}.x`, `${name}.xs`, `${name}.xz`],
      ),
      makeNode(
        "MatMulInteger",
        [`${name}.x`, `${name}.q`, `${name}.xz`, `${name}.z`],
        [`${name}.i`],
      ),
      makeNode("Cast", [`${name}.i`], [`${name}.f`], { to: 1n }),
      makeNode("Mul", [`${name}.xs`, `${name}.s`], [`${name}.xs.s`]),
      makeNode("Mul", [`${name}.f`, `${name}.xs.s`], [name]),
    ],
    initializers: [
      makeTensor(`${name}.q`, "int8", [rows, columns], codes),
      makeTensor(`${name}.s`, "float32", [columns], scales),
      makeTensor(`${name}.z`, "int8", [columns], zeros),
    ],
  };
};

/** Weights behind a DequantizeLinear with one scale per column. */
const behindDequantize: Rewrite = (node, weight) => {
  const { dequantized, initializers } = dynamic(node, weight);
  const name = node.output[0]!;
  return {
    dequantized,
    initializers,
    nodes: [
      makeNode("DequantizeLinear", [`${name}.q`, `${name}.s`, `${name}.z`], [`${name}.w`], {
        axis: 1n,
      }),
      makeNode("MatMul", [node.input[0]!, `${name}.w`], [name]),
    ],
  };
};

const kinds: [string, Rewrite][] = [
  ["MatMulNBits, 4 bits", inBlocks(4, false)],
  ["MatMulNBits, 4 bits with zero points", inBlocks(4, true)],
  ["MatMulNBits, 8 bits", inBlocks(8, false)],
  ["MatMulNBits, 8 bits with zero points", inBlocks(8, true)],
  ["MatMulInteger per column", dynamic],
  ["DequantizeLinear per column", behindDequantize],
];

describe.each(kinds)("quantised weights: %s", (kind, rewrite) => {
  test("come out as worked out by hand, in every part of a block", async ({ skip }) => {
    const { bytes, weights } = quantized("llama", rewrite);
    const model = await HookedModel.fromBytes(bytes, { threads: 1, verify: "none", name: "llama" });
    if (model.cfg.nLayers !== 2) {
      await model.dispose();
      skip("its blocks are not found");
      return;
    }
    const { graph } = decodeModel(bytes, "llama");
    const index = indexGraph(graph!);
    const products = new Set(weights.keys());
    /** The quantised product that a hook's values come from. */
    const before = (hook: string): string => {
      let at = model.hookPoint(hook).tensor;
      while (!products.has(at)) at = graph!.node[index.producer.get(at)!]!.input[0]!;
      return at;
    };
    for (const layer of [0, 1]) {
      const at = `blocks.${layer}`;
      for (const [name, hook] of [
        ["W_Q", `${at}.attn.hook_q`],
        ["W_K", `${at}.attn.hook_k`],
        ["W_V", `${at}.attn.hook_v`],
        ["W_gate", `${at}.mlp.hook_pre`],
        ["W_in", `${at}.mlp.hook_pre_linear`],
      ] as const) {
        const { data, shape } = await model.weights.get(name, layer);
        const [nIn, nOut] = shape.slice(-2) as [number, number];
        const nHeads = shape.length === 3 ? shape[0]! : 1;
        const want = weights.get(before(hook))!;
        const turned = Float32Array.from(data, (_, i) => {
          const [h, r, c] = [Math.floor(i / (nIn * nOut)), Math.floor(i / nOut) % nIn, i % nOut];
          return want[r * nHeads * nOut + h * nOut + c]!;
        });
        expect(difference(data, turned), `${name} ${layer}`).toBe(0);
      }
      for (const [name, hook] of [
        ["W_O", `${at}.hook_attn_out`],
        ["W_out", `${at}.hook_mlp_out`],
      ] as const) {
        const { data } = await model.weights.get(name, layer);
        expect(difference(data, weights.get(before(hook))!), `${name} ${layer}`).toBe(0);
      }
    }
    // The logits are the output of a quantised product too (in Llama's case the last one).
    const unembed = await model.weights.get("W_U");
    expect(unembed.shape).toEqual([24, 96]);
    if (!kind.startsWith("MatMulInteger")) {
      const answers = { tokens: 11, incorrectTokens: 12, unit: "head" } as const;
      const { values, total } = await directLogitAttribution(model, [TOKENS[0]!], answers);
      const sum = values.reduce((a, b) => a + b);
      expect(Math.abs(sum - total[0]!)).toBeLessThan(1e-4 * Math.max(1, Math.abs(total[0]!)));
      const { logits } = await model.run({ tokens: [TOKENS[0]!] });
      const last = logits!.data.subarray(4 * 96);
      expect(Math.abs(last[11]! - last[12]! - total[0]!)).toBeLessThan(1e-4);
    }
    await model.dispose();
  });
});

describe("blocks of few bits against onnxruntime", () => {
  test.each([4, 8] as const)("MatMulNBits with %d bits on the identity matrix", async (bits) => {
    for (const zeroPoints of [false, true]) {
      const [rows, columns] = [40, 5];
      const values = Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i * 1.7));
      const node = makeNode("MatMul", ["x", "w"], ["y"]);
      const made = inBlocks(bits, zeroPoints)(node, { name: "w", values, rows, columns });
      const model = makeModel(
        {
          nodes: made.nodes,
          initializers: made.initializers,
          inputs: [makeValueInfo("x", "float32", [rows, rows])],
          outputs: [makeValueInfo("y", "float32")],
        },
        { microsoft: true },
      );
      expect(intAttribute(made.nodes[0]!, "bits", 0)).toBe(bits);
      const session = await InferenceSession.create(encodeModel(model), { logSeverityLevel: 3 });
      const identity = new Float32Array(rows * rows);
      for (let i = 0; i < rows; i++) identity[i * rows + i] = 1;
      const { y } = await session.run({ x: new Tensor("float32", identity, [rows, rows]) });
      expect(difference(y!.data as Float32Array, made.dequantized)).toBe(0);
      await session.release();
    }
  });

  test("rows of a table: GatherBlockQuantized", async () => {
    const { dequantize } = await import("@penfield/onnx");
    const [rows, columns, size] = [6, 32, 16];
    const codes = Uint8Array.from({ length: (rows * columns) / 2 }, (_, i) => (i * 37) % 256);
    const scales = Float32Array.from({ length: rows * 2 }, (_, i) => (i + 1) / 8);
    const zeros = Uint8Array.from({ length: rows }, (_, i) => (i * 53) % 256);
    for (const withZeros of [false, true]) {
      const initializers = [
        makeTensor("q", "uint8", [rows, columns / 2], codes),
        makeTensor("s", "float32", [rows, 2], scales),
        makeTensor("z", "uint8", [rows, 1], zeros),
      ];
      const inputs = withZeros ? ["q", "ids", "s", "z"] : ["q", "ids", "s"];
      const model = makeModel(
        {
          nodes: [
            makeNode("com.microsoft:GatherBlockQuantized", inputs, ["y"], {
              gather_axis: 0n,
              quantize_axis: 1n,
              bits: 4n,
              block_size: BigInt(size),
            }),
          ],
          initializers,
          inputs: [makeValueInfo("ids", "int64", [rows])],
          outputs: [makeValueInfo("y", "float32")],
        },
        { microsoft: true },
      );
      const session = await InferenceSession.create(encodeModel(model), { logSeverityLevel: 3 });
      const ids = BigInt64Array.from({ length: rows }, (_, i) => BigInt(i));
      const { y } = await session.run({ ids: new Tensor("int64", ids, [rows]) });
      const { weights } = dequantizeGraph(model.graph!);
      const table = dequantize(weights.get("y::table")!, (name) => {
        const tensor = initializers.find((t) => t.name === name)!;
        return { data: Float32Array.from(tensorValues(tensor)), shape: tensor.dims.map(Number) };
      });
      expect(table.shape).toEqual([rows, columns]);
      expect(difference(y!.data as Float32Array, table.data)).toBe(0);
      await session.release();
    }
  });
});

describe("what cannot be had is said", () => {
  test("W_gate without a gate, layers and names that do not exist", async () => {
    const model = await open("gpt2");
    await expect(model.weights.get("W_gate", 0)).rejects.toThrow(ModelError);
    await expect(model.weights.get("W_gate", 0)).rejects.toThrow(/MLPs are not gated/);
    await expect(model.weights.get("W_Q", 2)).rejects.toThrow(/a layer within 0..1, got 2/);
    await expect(model.weights.get("W_Q")).rejects.toThrow(ArgumentError);
    await expect(model.weights.get("W_q" as never, 0)).rejects.toThrow(/got "W_q"/);
    await expect(model.weights.get("x_Q" as never, 0)).rejects.toThrow(ArgumentError);
    expect((await model.weights.get("W_Q", -1)).data).toBe(
      (await model.weights.get("W_Q", 1)).data,
    );
    await model.dispose();
  });

  test("a matrix that does not stand alone: the operator is named", () => {
    const weight = (name: string) => makeTensor(name, "float32", [2, 2], [1, 2, 3, 4]);
    const graph = (nodes: NodeProto[]) =>
      makeModel({
        nodes,
        initializers: [weight("A"), weight("B")],
        inputs: [makeValueInfo("x", "float32", [1, 2])],
        outputs: [makeValueInfo("y", "float32")],
      }).graph!;
    const two = graph([
      makeNode("MatMul", ["x", "A"], ["a"]),
      makeNode("MatMul", ["x", "B"], ["b"]),
      makeNode("Add", ["a", "b"], ["y"]),
    ]);
    expect(() => findProjection(indexGraph(two), "blocks.0.attn.hook_q", "y")).toThrow(
      /expected one matrix, .* before blocks.0.attn.hook_q, got Add/,
    );
    const none = graph([makeNode("Transpose", ["x"], ["y"])]);
    expect(() => findProjection(indexGraph(none), "q", "y")).toThrow(/got the input x/);
    const bent = graph([makeNode("MatMul", ["x", "A"], ["a"]), makeNode("Relu", ["a"], ["y"])]);
    expect(() => findProjection(indexGraph(bent), "q", "y")).toThrow(/got Relu/);
  });
});
