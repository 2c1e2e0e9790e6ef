import { FormatError, ModelError } from "@penfield/core";
import { describe, expect, test } from "vitest";
import {
  decodeModel,
  encodeModel,
  externalizeWeights,
  externalLocations,
  externalWeight,
  makeGraph,
  makeModel,
  makeNode,
  makeTensor,
  makeValueInfo,
  type TensorProto,
  tensorValues,
} from "./index.ts";

const large = Float32Array.from({ length: 400 }, (_, i) => Math.sin(i));
const larger = Float32Array.from({ length: 700 }, (_, i) => Math.cos(i));

function bytesWithWeights(): Uint8Array {
  const branch = makeGraph({
    nodes: [makeNode("Add", ["x", "inner"], ["z"])],
    inputs: [],
    outputs: [makeValueInfo("z", "float32")],
    initializers: [makeTensor("inner", "float32", [400], large)],
  });
  return encodeModel(
    makeModel({
      nodes: [
        makeNode("Constant", [], ["k"], { value: makeTensor("", "float32", [400], large) }),
        makeNode("If", ["flag"], ["y"], { else_branch: branch }),
      ],
      inputs: [makeValueInfo("x", "float32", [400]), makeValueInfo("flag", "bool", [1])],
      outputs: [makeValueInfo("y", "float32")],
      initializers: [
        makeTensor("small", "float32", [2], [1, 2]),
        makeTensor("large", "float32", [400], large),
        makeTensor("larger", "float32", [700], larger),
      ],
    }),
  );
}

/** A weight that says it lies outside. */
function elsewhere(entries: Record<string, string>): TensorProto {
  const tensor = makeTensor("w", "float32", [1], [1]);
  // Decoded from a model that was externalized, so that the messages are protobuf's own.
  const model = makeModel({
    nodes: [makeNode("Relu", ["w"], ["y"])],
    inputs: [],
    outputs: [makeValueInfo("y", "float32")],
    initializers: [makeTensor("w", "float32", [400], large)],
  });
  const bytes = encodeModel(model);
  const decoded = decodeModel(bytes);
  externalizeWeights(decoded, bytes, "a");
  const [weight] = decoded.graph!.initializer;
  const [first] = weight!.externalData;
  weight!.externalData = Object.entries(entries).map(([key, value]) =>
    Object.assign(Object.create(Object.getPrototypeOf(first)), first, { key, value }),
  );
  weight!.name = tensor.name;
  return weight!;
}

describe("externalizeWeights", () => {
  test("references point at the very bytes; small ones, constants and branches are copied", () => {
    const bytes = bytesWithWeights();
    const model = decodeModel(bytes);
    const total = externalizeWeights(model, bytes, "model.onnx");
    expect(total).toBe(4 * (400 + 700));
    const [small, a, b] = model.graph!.initializer;
    for (const [tensor, values] of [
      [a!, large],
      [b!, larger],
    ] as const) {
      const { location, offset, length } = externalWeight(tensor)!;
      expect([location, length, tensor.rawData.length]).toEqual([
        "model.onnx",
        values.byteLength,
        0,
      ]);
      const there = bytes.slice(offset, offset + length!);
      expect(new Float32Array(there.buffer)).toEqual(values);
    }
    expect(externalWeight(small!)).toBeUndefined();
    expect([...tensorValues(small!)]).toEqual([1, 2]);
    const inner = model.graph!.node[1]!.attribute[0]!.g!.initializer[0]!;
    const constant = model.graph!.node[0]!.attribute[0]!.t!;
    for (const tensor of [small!, inner, constant]) {
      expect(tensor.rawData.buffer).not.toBe(bytes.buffer);
    }
    expect(Float32Array.from(tensorValues(inner))).toEqual(large);
    // What goes to the runtime weighs kilobytes less, and is a model still.
    expect(encodeModel(model).length).toBeLessThan(bytes.length - total + 300);
    expect(externalLocations(decodeModel(encodeModel(model)))).toEqual(["model.onnx"]);
  });

  test("bytes that are a view into a larger buffer keep their own offsets", () => {
    const plain = bytesWithWeights();
    const shifted = new Uint8Array(plain.length + 64);
    shifted.set(plain, 64);
    const bytes = shifted.subarray(64);
    const model = decodeModel(bytes);
    externalizeWeights(model, bytes, "model.onnx");
    const { offset, length } = externalWeight(model.graph!.initializer[1]!)!;
    expect(new Float32Array(plain.slice(offset, offset + length!).buffer)).toEqual(large);
  });

  test("weights that already lie in other files stay there and are found", () => {
    const bytes = bytesWithWeights();
    const first = decodeModel(bytes);
    externalizeWeights(first, bytes, "model.onnx_data");
    const file = encodeModel(first);
    const model = decodeModel(file);
    expect(externalizeWeights(model, file, "model.onnx")).toBe(0);
    expect(externalLocations(model)).toEqual(["model.onnx_data"]);
  });
});

describe("externalWeight", () => {
  test("a place without offset or length starts at 0 and goes to the end", () => {
    expect(externalWeight(elsewhere({ location: "sub/weights.bin" }))).toEqual({
      location: "sub/weights.bin",
      offset: 0,
      length: undefined,
    });
  });

  test.each([
    "/etc/passwd",
    "../secrets.bin",
    "sub/../../secrets.bin",
    "..\\secrets.bin",
    "..",
    "",
  ])("a path that leaves the model's folder is refused: %s", (location) => {
    const weight = elsewhere({ location });
    expect(() => externalWeight(weight)).toThrow(FormatError);
    expect(() => externalWeight(weight)).toThrow(/expected a file beside the model for w, got/);
  });

  test.each([
    ["offset", "-8"],
    ["offset", "many"],
    ["length", "1.5"],
    ["length", "-1"],
  ])("a place that is no place is refused: %s %s", (key, value) => {
    const weight = elsewhere({ location: "weights.bin", [key]: value });
    expect(() => externalWeight(weight)).toThrow(FormatError);
  });
});

describe("tensorValues", () => {
  test.each([
    ["float32", [1.5, -2]],
    ["float64", [1e-300, -2]],
    ["int64", [2 ** 40, -3]],
    ["int32", [5, -6]],
    ["uint8", [0, 255]],
    ["bool", [0, 1]],
  ] as const)("raw bytes: %s", (type, values) => {
    expect([...tensorValues(makeTensor("w", type, [2], values))]).toEqual([...values]);
  });

  test("raw bytes: float16 and int8", () => {
    const half = makeTensor("w", "float16", [3], Uint16Array.of(0x3c00, 0xc100, 0x0001));
    expect([...tensorValues(half)]).toEqual([1, -2.5, 2 ** -24]);
    expect([...tensorValues(makeTensor("w", "int8", [2], Int8Array.of(-128, 127)))]).toEqual([
      -128, 127,
    ]);
  });

  test.each([
    ["float32", "floatData", [0.5, 2], [0.5, 2]],
    ["float64", "doubleData", [0.1], [0.1]],
    ["int64", "int64Data", [7n, -8n], [7, -8]],
    ["int32", "int32Data", [9, -9], [9, -9]],
    ["float16", "int32Data", [0x3c00, 0xc000], [1, -2]],
    ["bool", "int32Data", [1, 0], [1, 0]],
  ] as const)("typed fields: %s in %s", (type, field, stored, values) => {
    const tensor = makeTensor("w", type, [values.length], new Uint8Array(0));
    Object.assign(tensor, { [field]: stored });
    expect([...tensorValues(tensor)]).toEqual([...values]);
  });

  test("what cannot be read is refused", () => {
    expect(() => tensorValues(elsewhere({ location: "weights.bin" }))).toThrow(ModelError);
    const packed = makeTensor("w", "uint8", [2], [1, 2]);
    packed.dataType = 21;
    expect(() => tensorValues(packed)).toThrow(/expected a plain numeric type, got 21/);
    // Three bytes are no float32.
    const cut = makeTensor("w", "float32", [1], Uint8Array.of(1, 2, 3));
    expect(() => tensorValues(cut)).toThrow(FormatError);
  });
});
