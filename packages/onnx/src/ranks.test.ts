import { describe, expect, test } from "vitest";
import { indexGraph, inferRanks, makeModel, makeNode, makeTensor, makeValueInfo } from "./index.ts";

const ranksOf = (nodes: ReturnType<typeof makeNode>[]) => {
  const model = makeModel({
    nodes,
    inputs: [makeValueInfo("x", "float32", ["batch", "pos", 24])],
    outputs: [makeValueInfo("y", "float32")],
    initializers: [
      makeTensor("heads", "int64", [2], [4, 6]),
      makeTensor("minus", "int64", [1], [-1]),
      makeTensor("zero", "int64", [1], [0]),
      makeTensor("two", "int64", [1], [2]),
      makeTensor("four", "int64", [1], [4]),
    ],
  });
  return inferRanks(indexGraph(model.graph!));
};

describe("ranks", () => {
  test("a shape put together from parts of another: by slicing, and by Shape's own start and end", () => {
    const ranks = ranksOf([
      makeNode("Shape", ["x"], ["all"]),
      makeNode("Slice", ["all", "zero", "two", "zero"], ["first"]),
      makeNode("Concat", ["first", "heads"], ["four_sizes"], { axis: 0n }),
      makeNode("Reshape", ["x", "four_sizes"], ["by_slice"]),
      makeNode("Shape", ["x"], ["batch"], { start: 0n, end: 1n }),
      makeNode("Shape", ["x"], ["rest"], { start: -1n }),
      makeNode("Concat", ["batch", "minus", "rest"], ["three_sizes"], { axis: 0n }),
      makeNode("Reshape", ["x", "three_sizes"], ["y"]),
    ]);
    expect(ranks.get("by_slice")).toBe(4);
    expect(ranks.get("y")).toBe(3);
  });

  test("an expansion to a shape that is chosen by Where, as exporters write it", () => {
    const ranks = ranksOf([
      makeNode("ConstantOfShape", ["four"], ["ones"]),
      makeNode("Equal", ["ones", "minus"], ["open"]),
      makeNode("Where", ["open", "ones", "ones"], ["sizes"]),
      makeNode("Expand", ["x", "sizes"], ["y"]),
    ]);
    expect(ranks.get("y")).toBe(4);
  });

  test("what cannot be told is not guessed", () => {
    const ranks = ranksOf([
      makeNode("Unknown", ["x"], ["sizes"]),
      makeNode("Slice", ["sizes", "x", "x"], ["part"]),
      makeNode("Reshape", ["x", "part"], ["y"]),
    ]);
    expect(ranks.get("y")).toBeUndefined();
  });
});
