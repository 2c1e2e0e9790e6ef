import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  copyModel,
  cutAt,
  encodeModel,
  exposeTensor,
  indexGraph,
  type ModelProto,
  makeGraph,
  makeModel,
  makeNode,
  makeTensor,
  makeValueInfo,
  prune,
  renameToOutput,
  rewire,
} from "./index.ts";

/** x -> a -> b -> z beside side -> other; the weight `u` only serves `other`. */
const build = (): ModelProto =>
  makeModel({
    nodes: [
      makeNode("Add", ["x", "w"], ["a"]),
      makeNode("Relu", ["a"], ["b"]),
      makeNode("Mul", ["b", "a"], ["z"]),
      makeNode("Add", ["side", "u"], ["other"]),
    ],
    inputs: [makeValueInfo("x", "float32", [2]), makeValueInfo("side", "float32", [2])],
    outputs: [makeValueInfo("z", "float32"), makeValueInfo("other", "float32")],
    initializers: [
      makeTensor("w", "float32", [2], [1, 2]),
      makeTensor("u", "float32", [2], [3, 4]),
    ],
  });
const wires = (model: ModelProto): string[] =>
  model.graph!.node.map((n) => `${n.input} ${n.opType} ${n.output}`);

describe("copyModel", () => {
  test("whatever is done to the copy, the original encodes to the same bytes", () => {
    const model = build();
    const before = encodeModel(model);
    const copy = copyModel(model);
    expect(Buffer.from(encodeModel(copy)).equals(before)).toBe(true);
    rewire(copy.graph!, "a", "x");
    cutAt(copy.graph!, "b", makeValueInfo("given", "float32"));
    exposeTensor(copy.graph!, "a", "seen", { type: 1 });
    prune(copy.graph!, ["z"]);
    copy.opsetImport.pop();
    expect(Buffer.from(encodeModel(model)).equals(before)).toBe(true);
  });
});

describe("rewire", () => {
  test("all readers, all but some, or only some", () => {
    const model = build();
    const [, relu, mul] = model.graph!.node;
    rewire(model.graph!, "a", "new");
    expect(wires(model).slice(1, 3)).toEqual(["new Relu b", "b,new Mul z"]);
    rewire(model.graph!, "new", "a", { except: [mul!] });
    expect(wires(model).slice(1, 3)).toEqual(["a Relu b", "b,new Mul z"]);
    rewire(model.graph!, "b", "c", { only: [relu!] });
    expect(wires(model)[2]).toBe("b,new Mul z");
    rewire(model.graph!, "b", "c", { only: [mul!] });
    expect(wires(model)[2]).toBe("c,new Mul z");
  });
});

describe("cutAt and prune", () => {
  test("an inner tensor becomes an input, and what made it goes", () => {
    const model = build();
    cutAt(model.graph!, "a", makeValueInfo("given", "float32", [2]));
    prune(model.graph!, ["z"]);
    expect(wires(model)).toEqual(["given Relu b", "b,given Mul z"]);
    expect(model.graph!.input.map((v) => v.name)).toEqual(["given"]);
    expect(model.graph!.initializer).toEqual([]);
  });

  test("a producer with several outputs keeps the others", () => {
    const model = makeModel({
      nodes: [makeNode("Split", ["x"], ["p", "q"]), makeNode("Add", ["p", "q"], ["z"])],
      inputs: [makeValueInfo("x", "float32", [2])],
      outputs: [makeValueInfo("z", "float32")],
    });
    cutAt(model.graph!, "p", makeValueInfo("given", "float32", [1]));
    prune(model.graph!, ["z"]);
    expect(wires(model)).toEqual(["x Split p::uncut,q", "given,q Add z"]);
    expect(model.graph!.input.map((v) => v.name)).toEqual(["x", "given"]);
  });

  test("what no output needs is dropped, weights and inputs and declarations too", () => {
    const model = build();
    model.graph!.valueInfo.push(makeValueInfo("a", "float32"), makeValueInfo("gone", "float32"));
    prune(model.graph!, ["z"]);
    expect(model.graph!.output.map((v) => v.name)).toEqual(["z"]);
    expect(model.graph!.input.map((v) => v.name)).toEqual(["x"]);
    expect(model.graph!.initializer.map((t) => t.name)).toEqual(["w"]);
    expect(model.graph!.valueInfo.map((v) => v.name)).toEqual(["a"]);
  });

  test("what branches read from outside is kept", () => {
    const branch = makeGraph({
      nodes: [makeNode("Add", ["a", "u"], ["inner"])],
      inputs: [],
      outputs: [makeValueInfo("inner", "float32")],
    });
    const model = makeModel({
      nodes: [
        makeNode("If", ["flag"], ["z"], { else_branch: branch }),
        makeNode("Relu", ["x"], ["a"]),
        makeNode("Neg", ["x"], ["b"]),
      ],
      inputs: [makeValueInfo("x", "float32", [1]), makeValueInfo("flag", "bool", [1])],
      outputs: [makeValueInfo("z", "float32")],
      initializers: [makeTensor("u", "float32", [1], [1])],
    });
    prune(model.graph!, ["z"]);
    expect(model.graph!.node.map((n) => n.opType)).toEqual(["Relu", "If"]);
    expect(model.graph!.initializer.map((t) => t.name)).toEqual(["u"]);
    expect(model.graph!.input).toHaveLength(2);
  });

  test("any graph: exactly the ancestors of the outputs are left, in an order that runs", () => {
    // Node i makes t{i} from one or two earlier tensors.
    const graphs = fc
      .integer({ min: 1, max: 12 })
      .chain((n) =>
        fc.tuple(
          fc.tuple(
            ...Array.from({ length: n }, (_, i) =>
              fc.tuple(fc.integer({ min: -1, max: i - 1 }), fc.integer({ min: -1, max: i - 1 })),
            ),
          ),
          fc.nat(n - 1),
        ),
      );
    const name = (i: number): string => (i < 0 ? "x" : `t${i}`);
    fc.assert(
      fc.property(graphs, ([reads, wanted]) => {
        const graph = makeGraph({
          nodes: reads.map(([a, b], i) => makeNode("Add", [name(a), name(b)], [name(i)])).reverse(),
          inputs: [makeValueInfo("x", "float32", [1])],
          outputs: [makeValueInfo(name(wanted), "float32")],
        });
        const ancestors = new Set<number>();
        const visit = (i: number): void => {
          if (i < 0 || ancestors.has(i)) return;
          ancestors.add(i);
          reads[i]!.forEach(visit);
        };
        visit(wanted);
        prune(graph, [name(wanted)]);
        expect(new Set(graph.node.map((n) => n.output[0]))).toEqual(
          new Set([...ancestors].map(name)),
        );
        expect(indexGraph(graph).order).toEqual(graph.node.map((_, i) => i));
      }),
    );
  });
});

describe("exposeTensor", () => {
  test("under another name, cast where the type differs", () => {
    const model = build();
    exposeTensor(model.graph!, "a", "same", { type: 1, castFrom: 1 });
    exposeTensor(model.graph!, "b", "cast", { type: 1, castFrom: 10 });
    expect(wires(model).slice(4)).toEqual(["a Identity same", "b Cast cast"]);
    expect(model.graph!.node.at(-1)!.attribute[0]!.i).toBe(1n);
    expect(model.graph!.output.map((v) => v.name)).toEqual(["z", "other", "same", "cast"]);
  });
});

describe("renameToOutput", () => {
  const graph = () =>
    makeGraph({
      nodes: [makeNode("Relu", ["x"], ["y"]), makeNode("Add", ["y", "y"], ["z"])],
      inputs: [makeValueInfo("x", "float32", ["n"])],
      outputs: [makeValueInfo("z", "float32")],
    });

  test("an inner tensor goes out under another name, without a copy", () => {
    const g = graph();
    expect(renameToOutput(g, "y", "seen", 1)).toBe(true);
    expect(g.node.map((n) => [n.opType, n.input, n.output])).toEqual([
      ["Relu", ["x"], ["seen"]],
      ["Add", ["seen", "seen"], ["z"]],
    ]);
    expect(g.output.map((v) => v.name)).toEqual(["z", "seen"]);
  });

  test.each(["x", "z", "nothing"])("%s, which cannot be renamed, stays as it is", (name) => {
    const g = graph();
    expect(renameToOutput(g, name, "seen", 1)).toBe(false);
    expect(g.output.map((v) => v.name)).toEqual(["z"]);
    expect(g.node.flatMap((n) => n.output)).toEqual(["y", "z"]);
  });
});
