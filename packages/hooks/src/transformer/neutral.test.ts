import { encodeModel, makeModel, makeNode, makeTensor, makeValueInfo } from "@penfield/onnx";
import { afterAll, beforeAll, expect, test } from "vitest";
import { HookedModel, type Intervention } from "../index.ts";

/** The smallest transformer whose embedding holds the numbers that arithmetic treats specially. */
const SPECIAL = [-0, Number.POSITIVE_INFINITY, Number.NaN, 1e-42];
const D = SPECIAL.length;

function tinyTransformer(): Uint8Array {
  const identity = Array.from({ length: D * D }, (_, i) => (i % (D + 1) === 0 ? 1 : 0));
  return encodeModel(
    makeModel({
      nodes: [
        makeNode("Gather", ["table", "input_ids"], ["embedded"]),
        makeNode("MatMul", ["embedded", "w"], ["q"]),
        makeNode("Transpose", ["embedded"], ["k"], { perm: [0n, 2n, 1n] }),
        makeNode("MatMul", ["q", "k"], ["scores"]),
        makeNode("Softmax", ["scores"], ["pattern"], { axis: -1n }),
        makeNode("MatMul", ["pattern", "embedded"], ["z"]),
        makeNode("MatMul", ["z", "w"], ["attn"]),
        makeNode("Add", ["embedded", "attn"], ["mid"]),
        makeNode("MatMul", ["mid", "w"], ["pre"]),
        makeNode("Relu", ["pre"], ["post"]),
        makeNode("MatMul", ["post", "w"], ["mlp"]),
        makeNode("Add", ["mid", "mlp"], ["out"]),
        makeNode("MatMul", ["out", "w"], ["logits"]),
      ],
      inputs: [makeValueInfo("input_ids", "int64", ["batch", "pos"])],
      outputs: [makeValueInfo("logits", "float32", ["batch", "pos", D])],
      initializers: [
        makeTensor("w", "float32", [D, D], identity),
        makeTensor(
          "table",
          "float32",
          [10, D],
          Array.from({ length: 10 }, (_, row) => (row === 0 ? SPECIAL : [1, 2, 3, row])).flat(),
        ),
      ],
    }),
  );
}

let model: HookedModel;
beforeAll(async () => {
  model = await HookedModel.fromBytes(tinyTransformer());
});
afterAll(() => model.dispose());

const bits = (values: Float32Array): Buffer => Buffer.from(values.slice().buffer);

test.each<Intervention["op"]>([
  { type: "zero" },
  { type: "patch", source: [1, 1] },
  { type: "scale", factor: 3 },
  { type: "add", value: 2 },
])("a row that is left alone keeps -0, infinity, NaN and denormals bit for bit: %o", async (op) => {
  const tokens = [[0], [1]];
  const { cache } = await model.run({
    tokens,
    capture: ["hook_embed"],
    interventions: [{ hook: "hook_embed", op, rows: [1] }],
  });
  const values = cache.get("hook_embed")!.data;
  expect(bits(values.subarray(0, D)).equals(bits(Float32Array.from(SPECIAL)))).toBe(true);
});

test("zeroing makes zeros of infinity and NaN", async () => {
  const { cache } = await model.run({
    tokens: [[0]],
    capture: ["hook_embed"],
    interventions: [{ hook: "hook_embed", op: { type: "zero" } }],
  });
  expect([...cache.get("hook_embed")!.data]).toEqual([0, 0, 0, 0]);
});
