import { ModelError } from "@penfield/core";
import { describe, expect, test } from "vitest";
import {
  type AttributeValue,
  type GraphProto,
  indexGraph,
  inlineIf,
  type ModelProto,
  makeGraph,
  makeModel,
  makeNode,
  makeTensor,
  makeValueInfo,
} from "./index.ts";

const branch = (op: string, inner: string, out: string): GraphProto =>
  makeGraph({
    nodes: [makeNode(op, ["x", `${inner}.w`], [inner]), makeNode("Relu", [inner], [out])],
    inputs: [],
    outputs: [makeValueInfo(out, "float32")],
    initializers: [makeTensor(`${inner}.w`, "float32", [1], [op === "Mul" ? 2 : 3])],
  });

const branches = (yes: GraphProto, no: GraphProto): Record<string, AttributeValue> =>
  Object.fromEntries([
    ["then_branch", yes],
    ["else_branch", no],
  ]);
/** As `optimum` merges decoders: the branches' outputs may be named as the outputs of the If. */
const merged = (outs: { yes: string; no: string }): ModelProto =>
  makeModel({
    nodes: [
      makeNode(
        "If",
        ["use_cache_branch"],
        ["logits"],
        branches(branch("Mul", "cached", outs.yes), branch("Add", "plain", outs.no)),
        "optimum::if",
      ),
    ],
    inputs: [
      makeValueInfo("x", "float32", ["n"]),
      makeValueInfo("past_key_values.0.key", "float32", ["n"]),
      makeValueInfo("use_cache_branch", "bool", [1]),
    ],
    outputs: [makeValueInfo("logits", "float32")],
  });
const wires = (model: ModelProto): string[] =>
  model.graph!.node.map((n) => `${n.input} ${n.opType} ${n.output}`);

describe("inlineIf", () => {
  test("takes the branch without a cache, its weights, and drops inputs that nobody reads", () => {
    const model = merged({ yes: "a", no: "b" });
    inlineIf(model);
    expect(wires(model)).toEqual(["x,plain.w Add plain", "plain Relu b", "b Identity logits"]);
    expect(model.graph!.initializer.map((t) => t.name)).toEqual(["plain.w"]);
    expect(model.graph!.input.map((v) => v.name)).toEqual(["x"]);
  });

  test("the other branch, if asked for", () => {
    const model = merged({ yes: "a", no: "b" });
    inlineIf(model, () => "then_branch");
    expect(wires(model)).toEqual(["x,cached.w Mul cached", "cached Relu a", "a Identity logits"]);
  });

  test("branches whose outputs are named as those of the If itself", () => {
    const model = merged({ yes: "logits", no: "logits" });
    inlineIf(model);
    expect(wires(model)).toEqual(["x,plain.w Add plain", "plain Relu logits"]);
    expect(indexGraph(model.graph!).producer.get("logits")).toBe(1);
  });

  test("an If inside a branch", () => {
    const inner = makeNode(
      "If",
      ["flag2"],
      ["mid"],
      branches(branch("Mul", "p", "p2"), branch("Add", "q", "q2")),
    );
    const outer = makeGraph({
      nodes: [inner, makeNode("Neg", ["mid"], ["end"])],
      inputs: [],
      outputs: [makeValueInfo("end", "float32")],
    });
    const model = makeModel({
      nodes: [makeNode("If", ["flag"], ["z"], branches(branch("Mul", "r", "r2"), outer))],
      inputs: ["x", "flag", "flag2"].map((name) => makeValueInfo(name, "float32", [1])),
      outputs: [makeValueInfo("z", "float32")],
    });
    inlineIf(model);
    expect(wires(model)).toEqual([
      "x,q.w Add q",
      "q Relu q2",
      "q2 Identity mid",
      "mid Neg end",
      "end Identity z",
    ]);
    expect(model.graph!.input.map((v) => v.name)).toEqual(["x"]);
  });

  test("a weight that branch and graph share is kept once", () => {
    const model = merged({ yes: "a", no: "b" });
    model.graph!.initializer.push(makeTensor("plain.w", "float32", [1], [3]));
    inlineIf(model);
    expect(model.graph!.initializer.map((t) => t.name)).toEqual(["plain.w"]);
  });

  test("names that clash, and a branch that is not there, are refused", () => {
    const model = merged({ yes: "a", no: "b" });
    model.graph!.node.push(makeNode("Neg", ["x"], ["plain"]));
    expect(() => inlineIf(model)).toThrow(ModelError);
    expect(() => inlineIf(merged({ yes: "a", no: "b" }), () => "then_branch")).not.toThrow();
    expect(() => inlineIf(model)).toThrow(
      /expected names inside optimum::if of its own, got plain/,
    );
    const empty = makeModel({
      nodes: [makeNode("If", ["x"], ["z"], {}, "hollow")],
      inputs: [makeValueInfo("x", "bool", [1])],
      outputs: [makeValueInfo("z", "float32")],
    });
    expect(() => inlineIf(empty)).toThrow(ModelError);
    expect(() => inlineIf(empty)).toThrow(/expected the branch else_branch in hollow, got none/);
  });
});
