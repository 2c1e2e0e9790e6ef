import { FormatError } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  attribute,
  indexGraph,
  inferElementTypes,
  intAttribute,
  makeGraph,
  makeNode,
  makeTensor,
  makeValueInfo,
  type NodeProto,
  readsOf,
} from "./index.ts";

const graphOf = (nodes: readonly NodeProto[], more = {}) =>
  makeGraph({
    nodes,
    inputs: [makeValueInfo("x", "float32", ["n"])],
    outputs: [makeValueInfo("z", "float32")],
    ...more,
  });

describe("indexGraph", () => {
  const chain = [
    makeNode("Relu", ["x"], ["a"]),
    makeNode("Add", ["a", "w"], ["b"]),
    makeNode("Mul", ["a", "b"], ["c"]),
    makeNode("Neg", ["w"], ["v"]),
    makeNode("Sub", ["c", "v"], ["z"]),
  ];
  const initializers = [makeTensor("w", "float32", [1], [2])];

  test("makers, readers and constants, by hand", () => {
    const index = indexGraph(graphOf(chain, { initializers }));
    expect(index.order).toEqual([0, 3, 1, 2, 4]);
    expect([...index.rank]).toEqual([0, 2, 3, 1, 4]);
    expect(index.producer.get("c")).toBe(2);
    expect(index.consumers.get("a")).toEqual([1, 2]);
    expect(["w", "v", "x", "a", "z"].map((name) => index.isConstant(name))).toEqual([
      true,
      true,
      false,
      false,
      false,
    ]);
  });

  test("the order of the nodes in the file does not matter", () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(chain, { minLength: chain.length }), (nodes) => {
        const index = indexGraph(graphOf(nodes, { initializers }));
        const made = new Set(["x", "w"]);
        for (const number of index.order) {
          const node = nodes[number]!;
          expect(node.input.every((name) => made.has(name))).toBe(true);
          for (const name of node.output) made.add(name);
        }
        expect(made.size).toBe(7);
        expect(index.isConstant("v")).toBe(true);
      }),
    );
  });

  test("a weight that is also an input may change; random numbers are no constants", () => {
    const nodes = [
      makeNode("Neg", ["w"], ["v"]),
      makeNode("RandomNormal", [], ["r"]),
      makeNode("Constant", [], ["k"], { value_float: 1 }),
      makeNode("Add", ["k", "r"], ["z"]),
    ];
    const inputs = [makeValueInfo("w", "float32", [1])];
    const index = indexGraph(graphOf(nodes, { initializers, inputs }));
    expect(["w", "v", "r", "k", "z"].map((name) => index.isConstant(name))).toEqual([
      false,
      false,
      false,
      true,
      false,
    ]);
  });

  test("a cycle and a second producer are refused", () => {
    const cycle = [makeNode("Add", ["x", "b"], ["a"]), makeNode("Relu", ["a"], ["b"])];
    expect(() => indexGraph(graphOf(cycle))).toThrow(FormatError);
    expect(() => indexGraph(graphOf(cycle))).toThrow(/expected a graph without cycles/);
    const self = [makeNode("Add", ["x", "a"], ["a"])];
    expect(() => indexGraph(graphOf(self))).toThrow(/without cycles/);
    const twice = [makeNode("Relu", ["x"], ["a"]), makeNode("Neg", ["x"], ["a"])];
    expect(() => indexGraph(graphOf(twice))).toThrow(FormatError);
    expect(() => indexGraph(graphOf(twice))).toThrow(/expected one producer of a, got two/);
  });

  test("what a branch reads from outside counts as read by its node, at any depth", () => {
    const inner = makeGraph({
      nodes: [makeNode("Add", ["deep", "local"], ["p"])],
      inputs: [],
      outputs: [makeValueInfo("p", "float32")],
      initializers: [makeTensor("local", "float32", [1], [1])],
    });
    const outer = makeGraph({
      nodes: [
        makeNode("Relu", ["near"], ["local2"]),
        makeNode("If", ["local2"], ["q"], { else_branch: inner }),
      ],
      inputs: [],
      outputs: [makeValueInfo("through", "float32")],
    });
    const node = makeNode("If", ["flag"], ["z"], { else_branch: outer });
    expect(readsOf(node).sort()).toEqual(["deep", "flag", "near", "through"]);
    const nodes = [
      node,
      makeNode("Relu", ["x"], ["near"]),
      makeNode("Neg", ["x"], ["deep"]),
      makeNode("Abs", ["x"], ["through"]),
    ];
    const index = indexGraph(graphOf(nodes));
    expect(index.order.at(-1)).toBe(0);
    expect(index.consumers.get("deep")).toEqual([0]);
    expect(index.isConstant("z")).toBe(false);
  });
});

describe("attributes", () => {
  test("by name, or the operator's default", () => {
    const node = makeNode("Gather", ["x"], ["y"], { axis: -2n });
    expect(intAttribute(node, "axis", 0)).toBe(-2);
    expect(intAttribute(node, "other", 7)).toBe(7);
    expect(attribute(node, "other")).toBeUndefined();
  });
});

describe("inferElementTypes", () => {
  test.each([
    [makeNode("Add", ["x", "x"], ["y"]), 1],
    [makeNode("Equal", ["x", "x"], ["y"]), 9],
    [makeNode("Shape", ["x"], ["y"]), 7],
    [makeNode("ArgMax", ["x"], ["y"]), 7],
    [makeNode("Cast", ["x"], ["y"], { to: 10n }), 10],
    [makeNode("Where", ["flag", "half", "half"], ["y"]), 10],
    [makeNode("MatMulInteger", ["bytes", "bytes"], ["y"]), 6],
    [makeNode("DequantizeLinear", ["bytes", "x"], ["y"]), 1],
    [makeNode("QuantizeLinear", ["x", "x"], ["y"]), 2],
    [makeNode("QuantizeLinear", ["x", "x", "signed"], ["y"]), 3],
    [makeNode("Constant", [], ["y"], { value_int: 1n }), 7],
    [makeNode("Constant", [], ["y"], { value_floats: [1, 2] }), 1],
    [makeNode("Constant", [], ["y"], { value: makeTensor("", "float64", [1], [1]) }), 11],
    [makeNode("ConstantOfShape", ["sizes"], ["y"]), 1],
    [
      makeNode("ConstantOfShape", ["sizes"], ["y"], { value: makeTensor("", "int64", [1], [0]) }),
      7,
    ],
    [makeNode("Relu", ["unheard of"], ["y"]), undefined],
  ])("%#", (node, type) => {
    const inputs = [
      makeValueInfo("x", "float32"),
      makeValueInfo("half", "float16"),
      makeValueInfo("flag", "bool"),
      makeValueInfo("bytes", "uint8"),
      makeValueInfo("signed", "int8"),
      makeValueInfo("sizes", "int64"),
    ];
    const graph = makeGraph({ nodes: [node], inputs, outputs: [makeValueInfo("z", "float32")] });
    expect(inferElementTypes(indexGraph(graph)).get("y")).toBe(type);
  });

  test("each output of an operator has its own; declared types win", () => {
    const nodes = [
      makeNode("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
      makeNode("TopK", ["x", "k"], ["values", "places"]),
      makeNode("Relu", ["x"], ["z"]),
    ];
    const graph = graphOf(nodes, { outputs: [makeValueInfo("z", "float64")] });
    const types = inferElementTypes(indexGraph(graph));
    const names = ["q", "scale", "zero", "values", "places", "z"];
    expect(names.map((name) => types.get(name))).toEqual([2, 1, 2, 1, 7, 11]);
  });
});
