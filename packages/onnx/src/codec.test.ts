import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ArgumentError, FormatError, ModelError } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  decodeModel,
  encodeModel,
  externalizeWeights,
  indexGraph,
  inferElementTypes,
  inlineIf,
  makeModel,
  makeNode,
  makeTensor,
  makeValueInfo,
} from "./index.ts";

const fixtures = fileURLToPath(new URL("../../../test/fixtures/", import.meta.url));
const names = readdirSync(fixtures, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && existsSync(`${fixtures}${entry.name}/model.onnx`))
  .map((entry) => entry.name);
const read = (name: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(readFileSync(`${fixtures}${name}/model.onnx`));

describe("round trip", () => {
  test.each(names)("%s: decoded and encoded again, byte for byte", (name) => {
    const bytes = read(name);
    expect(Buffer.from(encodeModel(decodeModel(bytes))).equals(bytes)).toBe(true);
  });

  test("a model built here is decoded with every part it was built from", () => {
    const built = makeModel(
      {
        name: "parts",
        nodes: [
          makeNode("com.microsoft:Gelu", ["x"], ["y"], {
            whole: 3n,
            part: 0.5,
            text: "naïve",
            wholes: [1n, -2n],
            parts: [0.25, 4],
            weight: makeTensor("", "float32", [2], [1, 2]),
          }),
        ],
        inputs: [makeValueInfo("x", "float32", ["batch", 4])],
        outputs: [makeValueInfo("y", "float16")],
        initializers: [makeTensor("w", "int64", [2], [3, -4])],
      },
      { opset: 18, microsoft: true },
    );
    const { graph, opsetImport } = decodeModel(encodeModel(built));
    expect(opsetImport.map((o) => [o.domain, o.version])).toEqual([
      ["", 18n],
      ["com.microsoft", 1n],
    ]);
    const [node] = graph!.node;
    expect([node!.opType, node!.domain]).toEqual(["Gelu", "com.microsoft"]);
    const values = node!.attribute.map((a) => [
      a.name,
      a.i,
      a.f,
      Buffer.from(a.s).toString(),
      a.ints,
      a.floats,
      a.t?.dims,
    ]);
    expect(values).toEqual([
      ["whole", 3n, 0, "", [], [], undefined],
      ["part", 0n, 0.5, "", [], [], undefined],
      ["text", 0n, 0, "naïve", [], [], undefined],
      ["wholes", 0n, 0, "", [1n, -2n], [], undefined],
      ["parts", 0n, 0, "", [], [0.25, 4], undefined],
      ["weight", 0n, 0, "", [], [], [2n]],
    ]);
    expect(graph!.input[0]!.type!.value.case).toBe("tensorType");
  });
});

test("plain numbers are refused for types whose bits they are not", () => {
  expect(() => makeTensor("w", "float16", [1], [1])).toThrow(ArgumentError);
  expect(() => makeTensor("w", "float16", [1], [1])).toThrow(/expected the bits of float16/);
  expect([...makeTensor("w", "int8", [2], [-1, 2]).rawData]).toEqual([255, 2]);
});

describe("files that are no model", () => {
  test.each([
    ["a text", Buffer.from("This is a text, and no model at all.\n")],
    ["a web page", Buffer.from("<!doctype html><html><body>404</body></html>")],
    ["nothing", Buffer.alloc(0)],
    ["zeros", Buffer.alloc(100)],
  ])("%s", (_, bytes) => {
    expect(() => decodeModel(bytes, "strange.onnx")).toThrow(FormatError);
    expect(() => decodeModel(bytes, "strange.onnx")).toThrow(/strange\.onnx: expected an ONNX/);
  });

  test("a Git LFS pointer is named as what it is", () => {
    const pointer = Buffer.from("version https://git-lfs.github.com/spec/v1\noid sha256:00\n");
    expect(() => decodeModel(pointer)).toThrow(/got a Git LFS pointer/);
  });
});

/** Everything that is done to a stranger's file before the runtime sees it. */
function open(bytes: Uint8Array): void {
  try {
    const model = decodeModel(bytes);
    externalizeWeights(model, bytes, "model.onnx");
    inlineIf(model);
    inferElementTypes(indexGraph(model.graph!));
  } catch (error) {
    if (!(error instanceof FormatError || error instanceof ModelError)) throw error;
  }
}

describe("damaged files give our errors, or a model; never another exception", () => {
  // A small model with a branch, so that damage also hits nested graphs.
  const branch = (value: number) => ({
    nodes: [makeNode("Add", ["x", "b"], ["y"]), makeNode("Mul", ["y", "b"], ["z"])],
    inputs: [],
    outputs: [makeValueInfo("z", "float32")],
    initializers: [makeTensor("b", "float32", [1], [value])],
  });
  const small = encodeModel(
    makeModel({
      nodes: [
        makeNode("If", ["flag"], ["out"], {
          then_branch: makeModel(branch(1)).graph!,
          else_branch: makeModel(branch(2)).graph!,
        }),
        makeNode("Cast", ["out"], ["half"], { to: 10n }),
      ],
      inputs: [makeValueInfo("flag", "bool", [1]), makeValueInfo("x", "float32", ["n"])],
      outputs: [makeValueInfo("half", "float16")],
      initializers: [makeTensor("w", "float32", [400], new Float32Array(400))],
    }),
  );
  const gpt2 = read("gpt2");

  test("cut off anywhere", () => {
    for (let length = 0; length < small.length; length += length < 600 ? 1 : 97) {
      open(small.slice(0, length));
    }
    fc.assert(
      fc.property(fc.nat(gpt2.length - 1), (length) => open(gpt2.slice(0, length))),
      { numRuns: 60 },
    );
  });

  test("bytes changed anywhere", () => {
    const damage = (bytes: Uint8Array) =>
      fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 });
    const damaged = (bytes: Uint8Array, changes: readonly (readonly [number, number])[]) => {
      const copy = bytes.slice();
      for (const [at, value] of changes) copy[at] = value;
      return copy;
    };
    fc.assert(
      fc.property(damage(small.subarray(0, 700)), (changes) => open(damaged(small, changes))),
      { numRuns: 2000 },
    );
    fc.assert(
      fc.property(damage(gpt2.subarray(0, 60_000)), (changes) => open(damaged(gpt2, changes))),
      { numRuns: 150 },
    );
  });

  test("branches nested beyond any real model's depth end with our error", () => {
    let graph = makeModel(branch(1)).graph!;
    for (let depth = 0; depth < 300; depth++) {
      graph = makeModel({
        nodes: [makeNode("If", ["flag"], ["z"], { else_branch: graph })],
        inputs: [],
        outputs: [makeValueInfo("z", "float32")],
      }).graph!;
    }
    const model = makeModel({ nodes: [...graph.node], inputs: [], outputs: [...graph.output] });
    let bytes: Uint8Array;
    try {
      bytes = encodeModel(model);
    } catch (error) {
      expect(error).toBeInstanceOf(ModelError);
      return;
    }
    expect(() => decodeModel(bytes)).toThrow(FormatError);
  });
});
