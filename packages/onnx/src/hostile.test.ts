import { FormatError, PenfieldError } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  decodeModel,
  encodeModel,
  indexGraph,
  makeModel,
  makeNode,
  makeTensor,
  makeValueInfo,
} from "./index.ts";

const chain = (length: number) =>
  makeModel({
    nodes: Array.from({ length }, (_, i) => makeNode("Relu", [`t${i}`], [`t${i + 1}`])),
    inputs: [makeValueInfo("t0", "float32", ["n"])],
    outputs: [makeValueInfo(`t${length}`, "float32")],
  });

describe("files made to do harm", () => {
  test("a million operators in a small file are refused before they are decoded", () => {
    // One node of a few bytes, again and again, written without our own encoder's help.
    const node = [0x0a, 0x06, 0x0a, 0x01, 0x61, 0x12, 0x01, 0x62];
    const graph = new Uint8Array(node.length * 1_000_000);
    for (let i = 0; i < graph.length; i++) graph[i] = node[i % node.length]!;
    const length: number[] = [];
    for (let rest = graph.length; ; rest = Math.floor(rest / 128)) {
      length.push(rest >= 128 ? (rest % 128) + 128 : rest);
      if (rest < 128) break;
    }
    const bytes = Buffer.concat([Buffer.from([0x3a, ...length]), graph]);
    expect(() => decodeModel(bytes)).toThrow(FormatError);
    expect(() => decodeModel(bytes)).toThrow(
      /expected at most 200000 operators, got 200001 or more/,
    );
  });

  test("a long chain that is allowed is decoded and put in order without running out of stack", () => {
    const model = decodeModel(encodeModel(chain(20_000)));
    expect(indexGraph(model.graph!).order).toHaveLength(20_000);
  });

  test("cycles, two makers of one tensor, two weights of one name", () => {
    const graph = (...nodes: ReturnType<typeof makeNode>[]) =>
      makeModel({ nodes, inputs: [], outputs: [makeValueInfo("a", "float32")] }).graph!;
    expect(() =>
      indexGraph(graph(makeNode("Relu", ["a"], ["b"]), makeNode("Relu", ["b"], ["a"]))),
    ).toThrow(/without cycles/);
    expect(() =>
      indexGraph(graph(makeNode("Relu", ["x"], ["a"]), makeNode("Relu", ["y"], ["a"]))),
    ).toThrow(/one producer of a/);
    const twice = graph(makeNode("Relu", ["w"], ["a"]));
    twice.initializer.push(
      makeTensor("w", "float32", [1], [1]),
      makeTensor("w", "float32", [1], [2]),
    );
    expect(() => indexGraph(twice)).toThrow(/one tensor called w, got two/);
    const both = graph(makeNode("Relu", ["x"], ["a"]));
    both.initializer.push(makeTensor("a", "float32", [1], [1]));
    expect(() => indexGraph(both)).toThrow(FormatError);
  });

  test("whatever is cut off or flipped, decoding gives a model or an error of ours, and soon", () => {
    const whole = encodeModel(
      makeModel({
        nodes: [makeNode("MatMul", ["x", "w"], ["y"])],
        inputs: [makeValueInfo("x", "float32", ["batch", 4])],
        outputs: [makeValueInfo("y", "float32")],
        initializers: [
          makeTensor(
            "w",
            "float32",
            [4, 4],
            Array.from({ length: 16 }, (_, i) => i),
          ),
        ],
      }),
    );
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.nat(255), fc.boolean(), (at, byte, cut) => {
        const bytes = cut ? whole.slice(0, at) : whole.slice();
        if (!cut) bytes[at] = byte;
        try {
          indexGraph(decodeModel(bytes).graph!);
        } catch (error) {
          expect(error).toBeInstanceOf(PenfieldError);
        }
      }),
      { numRuns: 500 },
    );
  });
});
