import { ModelError } from "@penfield/core";
import { describe, expect, test } from "vitest";
import {
  encodeModel,
  makeModel,
  makeNode,
  makeTensor,
  makeValueInfo,
  shuffleWeights,
  tensorValues,
} from "./index.ts";

const sorted = (values: ArrayLike<number>): number[] =>
  Array.from(values, Number).sort((a, b) => a - b);
const make = () =>
  makeModel({
    nodes: [
      makeNode("Gather", ["table", "ids"], ["x"]),
      makeNode("Mul", ["x", "norm"], ["n"]),
      makeNode("Transpose", ["w"], ["wt"]),
      makeNode("MatMul", ["n", "wt"], ["m"]),
      makeNode("DequantizeLinear", ["q", "scale"], ["d"]),
      makeNode("MatMul", ["m", "d"], ["y0"]),
      makeNode("Add", ["y0", "mask"], ["y"]),
    ],
    inputs: [makeValueInfo("ids", "int64", ["batch"])],
    outputs: [makeValueInfo("y", "float32")],
    initializers: [
      makeTensor(
        "table",
        "float32",
        [5, 4],
        Array.from({ length: 20 }, (_, i) => i),
      ),
      makeTensor("norm", "float32", [4], [1, 2, 3, 4]),
      makeTensor(
        "w",
        "float32",
        [4, 4],
        Array.from({ length: 16 }, (_, i) => 100 + i),
      ),
      makeTensor(
        "q",
        "int8",
        [4, 4],
        Array.from({ length: 16 }, (_, i) => i - 8),
      ),
      makeTensor("scale", "float32", [], [0.1]),
      makeTensor(
        "mask",
        "float32",
        [4, 4],
        Array.from({ length: 16 }, (_, i) => -i),
      ),
    ],
  });
const values = (model: ReturnType<typeof make>, name: string) =>
  tensorValues(model.graph!.initializer.find((one) => one.name === name)!);

describe("shuffleWeights", () => {
  test("matrices keep their entries and lose their order; norms and masks stay", () => {
    const [before, after] = [make(), make()];
    expect(shuffleWeights(after, 3)).toBe(3);
    for (const name of ["table", "w", "q"]) {
      expect(sorted(values(after, name) as ArrayLike<number>)).toEqual(
        sorted(values(before, name) as ArrayLike<number>),
      );
      expect(values(after, name)).not.toEqual(values(before, name));
    }
    for (const name of ["norm", "scale", "mask"]) {
      expect(values(after, name)).toEqual(values(before, name));
    }
  });

  test("one seed, one model", () => {
    const bytes = (seed: number) => {
      const model = make();
      shuffleWeights(model, seed);
      return Buffer.from(encodeModel(model));
    };
    expect(bytes(1).equals(bytes(1))).toBe(true);
    expect(bytes(1).equals(bytes(2))).toBe(false);
  });

  test("a model without matrices is refused", () => {
    const bare = makeModel({
      nodes: [makeNode("Relu", ["x"], ["y"])],
      inputs: [makeValueInfo("x", "float32", [2])],
      outputs: [makeValueInfo("y", "float32")],
    });
    expect(() => shuffleWeights(bare)).toThrow(ModelError);
  });
});
