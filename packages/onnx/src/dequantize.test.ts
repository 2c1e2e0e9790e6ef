import { ModelError, ShapeError } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  dequantize,
  dequantizeGraph,
  indexGraph,
  makeGraph,
  makeNode,
  makeTensor,
  makeValueInfo,
  type NodeProto,
  type NumericArray,
  type QuantizedWeight,
  type TensorProto,
  tensorValues,
} from "./index.ts";

/** Reads constants from a list of tensors, as the runtime would. */
const reader =
  (tensors: readonly TensorProto[]) =>
  (name: string): NumericArray => {
    const tensor = tensors.find((t) => t.name === name)!;
    return { data: Float32Array.from(tensorValues(tensor)), shape: tensor.dims.map(Number) };
  };
const graphOf = (nodes: NodeProto[], initializers: TensorProto[]) =>
  makeGraph({
    nodes,
    initializers,
    inputs: [makeValueInfo("x", "float32", ["row", 2])],
    outputs: [makeValueInfo("y", "float32")],
  });
const ops = (nodes: readonly NodeProto[]) => nodes.map((node) => node.opType).join(" ");

describe("products in 8 bits", () => {
  const weights = [
    makeTensor("w", "int8", [2, 3], [10, -20, 30, 40, 50, -60]),
    makeTensor("z", "int8", [], [10]),
    makeTensor("s", "float32", [], [0.5]),
    makeTensor("s3", "float32", [3], [0.5, 0.25, 2]),
    makeTensor("z3", "int8", [3], [0, 10, -10]),
    makeTensor("b", "float32", [3], [1, 2, 3]),
    makeTensor("sx", "float32", [], [0.1]),
    makeTensor("zx", "uint8", [], [128]),
  ];
  const found = (nodes: NodeProto[]) => {
    const { graph, weights: all } = dequantizeGraph(graphOf(nodes, weights));
    const made = all.size === 1 ? dequantize([...all.values()][0]!, reader(weights)) : undefined;
    const index = indexGraph(graph);
    for (const name of all.keys()) expect(index.isConstant(name)).toBe(true);
    return { graph, made };
  };
  const dynamic = (combined: boolean): NodeProto[] => [
    makeNode("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
    makeNode("MatMulInteger", ["xq", "w", "xz", "z"], ["i"]),
    makeNode("Cast", ["i"], ["f"], { to: 1n }),
    ...(combined
      ? [makeNode("Mul", ["xs", "s"], ["ss"]), makeNode("Mul", ["f", "ss"], ["g"])]
      : [makeNode("Mul", ["f", "xs"], ["h"]), makeNode("Mul", ["s", "h"], ["g"])]),
    makeNode("Add", ["b", "g"], ["y"]),
  ];

  test.each([true, false])("MatMulInteger with its scales (multiplied first: %s)", (combined) => {
    const { graph, made } = found(dynamic(combined));
    // (10 - 10) 0.5, (-20 - 10) 0.5, ...
    expect([...made!.data]).toEqual([0, -15, 10, 15, 20, -35]);
    expect(made!.shape).toEqual([2, 3]);
    const product = graph.node.find((node) => node.output[0] === "g")!;
    expect(product.opType).toBe("MatMul");
    const input = graph.node.find((node) => node.output[0] === product.input[0])!;
    expect([input.opType, input.input[0]]).toEqual(["Identity", "x"]);
  });

  test("per column", () => {
    const nodes = dynamic(true);
    nodes[1]!.input[3] = "z3";
    nodes[3]!.input[1] = "s3";
    expect([...found(nodes).made!.data]).toEqual([5, -7.5, 80, 20, 10, -100]);
  });

  test("MatMulIntegerToFloat, DynamicQuantizeMatMul, QLinearMatMul", () => {
    const want = [0, -15, 10, 15, 20, -35];
    const toFloat = found([
      makeNode("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
      makeNode("com.microsoft:MatMulIntegerToFloat", ["xq", "w", "xs", "s", "xz", "z", "b"], ["y"]),
    ]);
    expect([...toFloat.made!.data]).toEqual(want);
    expect(ops(toFloat.graph.node)).toBe("Identity MatMul Add");
    const inOne = found([
      makeNode("com.microsoft:DynamicQuantizeMatMul", ["x", "w", "s", "z"], ["y"]),
    ]);
    expect([...inOne.made!.data]).toEqual(want);
    expect(ops(inOne.graph.node)).toBe("MatMul");
    const linear = found([
      makeNode("QuantizeLinear", ["x", "sx", "zx"], ["xq"]),
      makeNode("QLinearMatMul", ["xq", "sx", "zx", "w", "s", "z", "sx", "zx"], ["yq"]),
      makeNode("DequantizeLinear", ["yq", "sx", "zx"], ["y"]),
    ]);
    expect([...linear.made!.data]).toEqual(want);
    expect(ops(linear.graph.node)).toBe("Identity MatMul Identity");
  });

  test("rows of a table in 8 bits; weights behind DequantizeLinear stay as they are", () => {
    const table = found([
      makeNode("Gather", ["w", "x"], ["rows"]),
      makeNode("DequantizeLinear", ["rows", "s", "z"], ["y"]),
    ]);
    expect(ops(table.graph.node)).toBe("Gather Gather");
    expect([...table.made!.data]).toEqual([0, -15, 10, 15, 20, -35]);
    const constant = found([
      makeNode("DequantizeLinear", ["w", "s", "z"], ["wf"]),
      makeNode("MatMul", ["x", "wf"], ["y"]),
    ]);
    expect(ops(constant.graph.node)).toBe("DequantizeLinear MatMul");
    expect(constant.made).toBeUndefined();
  });

  test("a product that is read in another way stays what it is", () => {
    const odd = [...dynamic(true), makeNode("Relu", ["f"], ["other"])];
    const { graph, made } = found(odd);
    expect(made).toBeUndefined();
    expect(graph.node.some((node) => node.opType === "MatMulInteger")).toBe(true);
  });

  test("a graph without quantised operators comes out with its own nodes", () => {
    const graph = graphOf([makeNode("MatMul", ["x", "b"], ["y"])], weights);
    expect(dequantizeGraph(graph).graph.node).toEqual(graph.node);
  });

  test("scales that fit nothing are refused", () => {
    const weight: QuantizedWeight = {
      kind: "affine",
      values: "w",
      zeroPoint: undefined,
      scales: ["two"],
    };
    const read = reader([...weights, makeTensor("two", "float32", [2], [1, 2])]);
    expect(() => dequantize(weight, read)).toThrow(ShapeError);
    expect(() => dequantize(weight, read)).toThrow(/expected one number or 3 in two, got 2/);
  });
});

describe("blocks of few bits", () => {
  test("MatMulNBits in 4 bits by hand: low half of each byte first, 5 inputs in blocks of 4", () => {
    // Two outputs, blocks of 4: two blocks each, the second one with a single value.
    const codes = [0x21, 0x43, 0x05, 0x00, 0xf8, 0x9a, 0x0b, 0x00];
    const weights = [
      makeTensor("q", "uint8", [2, 2, 2], codes),
      makeTensor("s", "float32", [4], [1, 10, 100, 1000]),
      makeTensor("z", "uint8", [2], [0x31, 0x08]),
    ];
    const node = (zeros: boolean) =>
      makeNode("com.microsoft:MatMulNBits", zeros ? ["x", "q", "s", "z"] : ["x", "q", "s"], ["y"], {
        K: 5n,
        N: 2n,
        bits: 4n,
        block_size: 4n,
      });
    const values = (zeros: boolean) => {
      const { graph, weights: all } = dequantizeGraph(graphOf([node(zeros)], weights));
      expect(ops(graph.node)).toBe("MatMul");
      return dequantize(all.get("y::weight")!, reader(weights));
    };
    // [5 inputs, 2 outputs]; without zero points they are 8.
    expect(values(false).shape).toEqual([5, 2]);
    expect([...values(false).data]).toEqual([-7, 0, -6, 700, -5, 200, -4, 100, -30, 3000]);
    // Zero points 1 and 3 for the first output, 8 and 0 for the second.
    expect([...values(true).data]).toEqual([0, 0, 1, 700, 2, 200, 3, 100, 20, 11000]);
  });

  test("packing and unpacking, 2, 4 and 8 bits, any sizes", () => {
    const arbitrary = fc.record({
      bits: fc.constantFrom(2, 4, 8),
      blockSize: fc.constantFrom(4, 16, 32),
      nOuter: fc.integer({ min: 1, max: 5 }),
      nInner: fc.integer({ min: 1, max: 40 }),
      seed: fc.nat(1000),
      zeros: fc.constantFrom("none", "packed", "plain"),
    });
    fc.assert(
      fc.property(arbitrary, ({ bits, blockSize, nOuter, nInner, seed, zeros }) => {
        let state = seed + 1;
        const next = (n: number) => {
          state = (state * 48271) % 2147483647;
          return state % n;
        };
        const nBlocks = Math.ceil(nInner / blockSize);
        const code = Array.from({ length: nOuter * nInner }, () => next(2 ** bits));
        const zero = Array.from({ length: nOuter * nBlocks }, () => next(2 ** bits));
        const scale = Array.from({ length: nOuter * nBlocks }, () => next(100) / 64);
        const pack = (values: number[], perRow: number, bytes: number): number[] => {
          const out = new Array<number>(nOuter * bytes).fill(0);
          values.forEach((v, i) => {
            const [row, at] = [Math.floor(i / perRow), i % perRow];
            const byte = row * bytes + Math.floor((at * bits) / 8);
            out[byte]! += v * 2 ** ((at * bits) % 8);
          });
          return out;
        };
        const bytes = (nBlocks * blockSize * bits) / 8;
        const zeroBytes = Math.ceil((nBlocks * bits) / 8);
        const constants = new Map<string, number[]>([
          ["q", pack(code, nInner, bytes)],
          ["s", scale],
          ["z", zeros === "packed" ? pack(zero, nBlocks, zeroBytes) : zero],
        ]);
        const { data } = dequantize(
          {
            kind: "blocks",
            codes: "q",
            scales: "s",
            zeroPoints: zeros === "none" ? undefined : "z",
            groups: undefined,
            transposed: false,
            layout: {
              ...{ bits, blockSize, nOuter, nInner, packed: true },
              zeroPointsPacked: zeros === "packed",
              defaultZeroPoint: 2 ** (bits - 1),
            },
          },
          (name) => ({ data: Float32Array.from(constants.get(name)!), shape: [] }),
        );
        const want = code.map((c, i) => {
          const block = Math.floor(i / nInner) * nBlocks + Math.floor((i % nInner) / blockSize);
          const z = zeros === "none" ? 2 ** (bits - 1) : zero[block]!;
          return Math.fround((c - z) * scale[block]!);
        });
        expect([...data].map((v) => v + 0)).toEqual(want.map((v) => v + 0));
      }),
      { numRuns: 60 },
    );
  });

  test("damaged sizes and unknown bits are refused before anything is read past an end", () => {
    const weight = (more: object): QuantizedWeight => ({
      kind: "blocks",
      codes: "q",
      scales: "s",
      zeroPoints: undefined,
      groups: undefined,
      transposed: true,
      layout: {
        ...{ bits: 4, blockSize: 4, nOuter: 2, nInner: 8, packed: true },
        ...{ zeroPointsPacked: true, defaultZeroPoint: 8 },
        ...more,
      },
    });
    const read = (name: string) => ({ data: new Float32Array(name === "q" ? 8 : 4), shape: [8] });
    expect(dequantize(weight({}), read).shape).toEqual([8, 2]);
    for (const more of [{ nInner: 9 }, { nOuter: 3 }, { nOuter: 0 }, { blockSize: 0 }]) {
      expect(() => dequantize(weight(more), read)).toThrow(ShapeError);
    }
    expect(() => dequantize(weight({ bits: 3 }), read)).toThrow(ModelError);
  });
});
