import { ModelError, ShapeError } from "@penfield/core";
import { makeNode, makeTensor } from "./build.ts";
import { inferElementTypes } from "./elementTypes.ts";
import { type GraphIndex, indexGraph, intAttribute } from "./graphIndex.ts";
import { elementType, type GraphProto, type NodeProto } from "./proto.ts";

/**
 * A weight that a graph holds in few bits: the constants that it is made of, by name.
 *
 * - `affine`: (values - zeroPoint) times each of the scales; scales and zero points are one number,
 *   or one for each column.
 * - `blocks`: packed codes with a scale for each block of `blockSize` values, as MatMulNBits keeps
 *   them. `transposed`: the codes of one output lie together, and the weight is `[nInner, nOuter]`.
 */
export type QuantizedWeight =
  | {
      readonly kind: "affine";
      readonly values: string;
      readonly zeroPoint: string | undefined;
      readonly scales: readonly string[];
    }
  | {
      readonly kind: "blocks";
      readonly codes: string;
      readonly scales: string;
      readonly zeroPoints: string | undefined;
      /** For each input the block it belongs to, where they are not in order. */
      readonly groups: string | undefined;
      readonly layout: BlockLayout;
      readonly transposed: boolean;
    };

/** How `[nOuter, nInner]` codes are packed: blocks run along the inner axis. */
export interface BlockLayout {
  readonly bits: number;
  readonly blockSize: number;
  /** Undefined: known from the constants' shapes. */
  readonly nOuter: number | undefined;
  readonly nInner: number | undefined;
  /** Several codes in a byte, the lowest bits first; else one in each value. */
  readonly packed: boolean;
  readonly zeroPointsPacked: boolean;
  /** Where there are no zero points. */
  readonly defaultZeroPoint: number;
}

/** A graph in which quantised operators are plain ones again, for reading weights; it is not run. */
export interface DequantizedGraph {
  readonly graph: GraphProto;
  /** The weights that stand in the graph as empty initializers, by name. */
  readonly weights: ReadonlyMap<string, QuantizedWeight>;
}

/**
 * Writes quantised operators as the plain ones that they stand for, with the same names of tensors:
 * MatMulInteger with the scaling behind it, MatMulIntegerToFloat, DynamicQuantizeMatMul,
 * QLinearMatMul and MatMulNBits become MatMul and Add; look-ups in quantised tables become Gather; the
 * rounding of activations is left out. Weights behind DequantizeLinear are constants already.
 *
 * @returns A copy; the graph is not touched. Without quantised operators it has the same nodes.
 */
export function dequantizeGraph(graph: GraphProto): DequantizedGraph {
  const rewriter = new Rewriter(indexGraph(graph));
  return rewriter.rewrite();
}

class Rewriter {
  readonly #index: GraphIndex;
  readonly #types: ReadonlyMap<string, number>;
  readonly #weights = new Map<string, QuantizedWeight>();
  readonly #replaced = new Map<NodeProto, NodeProto[]>();

  constructor(index: GraphIndex) {
    this.#index = index;
    this.#types = inferElementTypes(index);
  }

  rewrite(): DequantizedGraph {
    const { graph } = this.#index;
    for (const node of graph.node) this.#visit(node);
    const placeholders = [...this.#weights.keys()].map((name) =>
      makeTensor(name, "float32", [0], []),
    );
    const copy = Object.assign(Object.create(Object.getPrototypeOf(graph)), graph, {
      node: graph.node.flatMap((node) => this.#replaced.get(node) ?? [node]),
      initializer: [...graph.initializer, ...placeholders],
    }) as GraphProto;
    return { graph: copy, weights: this.#weights };
  }

  #visit(node: NodeProto): void {
    const [a = "", b = "", c = "", d = "", e = "", f = "", g = ""] = node.input;
    const out = node.output[0] ?? "";
    switch (node.opType) {
      case "MatMulInteger": {
        const scaled = this.#scaledBy(out);
        if (!this.#fixed(b, d) || !scaled) return;
        this.#affine(scaled.end, a, { values: b, zeroPoint: d, scales: scaled.scales });
        return;
      }
      case "MatMulIntegerToFloat":
        if (!this.#fixed(b, d, f)) return;
        this.#affine(node, a, { values: b, zeroPoint: f, scales: [d] }, g);
        return;
      case "DynamicQuantizeMatMul":
        if (!this.#fixed(b, c, d)) return;
        this.#affine(node, a, { values: b, zeroPoint: d, scales: [c] }, e);
        return;
      case "QLinearMatMul":
        if (!this.#fixed(d, e, f)) return;
        this.#affine(node, a, { values: d, zeroPoint: f, scales: [e] });
        return;
      case "MatMulNBits":
        if (this.#fixed(b, c, d, e)) this.#blocks(node);
        return;
      case "GatherBlockQuantized":
        if (this.#fixed(a, c, d)) this.#lookUp(node);
        return;
      case "QuantizeLinear":
        if (!this.#fixed(a)) this.#replaced.set(node, [makeNode("Identity", [a], [out])]);
        return;
      case "DynamicQuantizeLinear":
        // Nobody reads its scales any more, but for operators that are not rewritten.
        this.#replaced.set(node, [makeNode("Identity", [a], [out])]);
        return;
      case "DequantizeLinear": {
        if (this.#fixed(a)) return;
        const gather = this.#producer(a);
        const [table = "", picks = ""] = gather?.input ?? [];
        if (gather?.opType === "Gather" && this.#fixed(table, b, c)) {
          const name = `${out}::table`;
          this.#weights.set(name, {
            kind: "affine",
            values: table,
            zeroPoint: c || undefined,
            scales: [b],
          });
          this.#replaced.set(node, [makeNode("Gather", [name, picks], [out])]);
        } else this.#replaced.set(node, [makeNode("Identity", [a], [out])]);
      }
    }
  }

  #producer(tensor: string): NodeProto | undefined {
    const number = this.#index.producer.get(tensor);
    return number === undefined ? undefined : this.#index.graph.node[number];
  }

  /** Whether all that are given (absent inputs are empty names) never change. */
  #fixed(...names: string[]): boolean {
    return names.every((name) => name === "" || this.#index.isConstant(name));
  }

  /** Puts a product with a plain weight in the place of the node that ends a quantised one. */
  #affine(
    end: NodeProto,
    input: string,
    { values, zeroPoint, scales }: { values: string; zeroPoint: string; scales: string[] },
    bias = "",
  ): void {
    const out = end.output[0]!;
    const name = `${out}::weight`;
    this.#weights.set(name, { kind: "affine", values, zeroPoint: zeroPoint || undefined, scales });
    this.#product(end, [input, name], bias);
  }

  #product(end: NodeProto, inputs: readonly string[], bias: string): void {
    const out = end.output[0]!;
    this.#replaced.set(
      end,
      bias
        ? [
            makeNode("MatMul", inputs, [`${out}::product`]),
            makeNode("Add", [`${out}::product`, bias], [out]),
          ]
        : [makeNode("MatMul", inputs, [out])],
    );
  }

  /**
   * The node that turns a product of whole numbers into floats: behind a Cast, multiplied with the
   * scale of the activations, which is computed, and that of the weights, which is constant.
   */
  #scaledBy(product: string): { end: NodeProto; scales: string[] } | undefined {
    let at = product;
    let dynamic = false;
    const scales: string[] = [];
    for (;;) {
      const readers = this.#index.consumers.get(at) ?? [];
      const reader = readers.length === 1 ? this.#index.graph.node[readers[0]!]! : undefined;
      if (reader?.opType === "Cast") at = reader.output[0]!;
      else if (reader?.opType === "Mul") {
        const other = reader.input[0] === at ? reader.input[1]! : reader.input[0]!;
        const factors = this.#factors(other);
        if (!factors) return undefined;
        dynamic ||= factors.dynamic;
        scales.push(...factors.constants);
        if (dynamic && scales.length > 0) return { end: reader, scales };
        at = reader.output[0]!;
      } else return undefined;
    }
  }

  #factors(tensor: string): { dynamic: boolean; constants: string[] } | undefined {
    if (this.#index.isConstant(tensor)) return { dynamic: false, constants: [tensor] };
    const node = this.#producer(tensor);
    if (node?.opType === "DynamicQuantizeLinear") return { dynamic: true, constants: [] };
    if (node?.opType !== "Mul") return undefined;
    const [a, b] = node.input.map((name) => this.#factors(name));
    return (
      a && b && { dynamic: a.dynamic || b.dynamic, constants: [...a.constants, ...b.constants] }
    );
  }

  #blocks(node: NodeProto): void {
    const [a = "", codes = "", scales = "", zeroPoints = "", groups = "", bias = ""] = node.input;
    const bits = intAttribute(node, "bits", 4);
    const name = `${node.output[0]}::weight`;
    this.#weights.set(name, {
      kind: "blocks",
      codes,
      scales,
      zeroPoints: zeroPoints || undefined,
      groups: groups || undefined,
      transposed: true,
      layout: {
        bits,
        blockSize: intAttribute(node, "block_size", 128),
        nOuter: intAttribute(node, "N", 0),
        nInner: intAttribute(node, "K", 0),
        packed: true,
        zeroPointsPacked: this.#types.get(zeroPoints) === elementType.uint8,
        defaultZeroPoint: 2 ** (bits - 1),
      },
    });
    this.#product(node, [a, name], bias);
  }

  #lookUp(node: NodeProto): void {
    const [table = "", picks = "", scales = "", zeroPoints = ""] = node.input;
    // Rows are picked, and blocks run along them: the only way that tables of words are kept.
    if (intAttribute(node, "gather_axis", 0) !== 0) return;
    if (![1, -1].includes(intAttribute(node, "quantize_axis", 1))) return;
    const bits = intAttribute(node, "bits", 4);
    const packed = this.#types.get(table) === elementType.uint8;
    const name = `${node.output[0]}::table`;
    this.#weights.set(name, {
      kind: "blocks",
      codes: table,
      scales,
      zeroPoints: zeroPoints || undefined,
      groups: undefined,
      transposed: false,
      layout: {
        bits,
        blockSize: intAttribute(node, "block_size", 128),
        nOuter: undefined,
        nInner: undefined,
        packed,
        zeroPointsPacked: packed,
        defaultZeroPoint: packed ? 2 ** (bits - 1) : 0,
      },
    });
    this.#replaced.set(node, [makeNode("Gather", [name, picks], [...node.output])]);
  }
}

/** Numbers and their sizes, row-major. */
export interface NumericArray {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/**
 * The values of a quantised weight.
 *
 *   affine: w = (values - zeroPoint) scale          blocks: w = (code - zeroPoint[block]) scale[block]
 *
 * each rounded to float32 once per operation, as onnxruntime's own kernels do.
 *
 * @param read - Gives a constant of the graph as numbers (whole numbers up to 2^24 are exact).
 * @returns `[rows, columns]` as MatMul takes it, or the table.
 * @throws {ShapeError} if the constants' sizes do not fit each other.
 * @throws {ModelError} for bits other than 2, 4 and 8.
 *
 * Cost: one pass over the values.
 * Source: the operators' descriptions in onnx (DequantizeLinear) and onnxruntime (MatMulNBits, GatherBlockQuantized).
 */
export function dequantize(
  weight: QuantizedWeight,
  read: (name: string) => NumericArray,
): NumericArray {
  if (weight.kind === "affine") {
    const { data, shape } = read(weight.values);
    const columns = shape.at(-1) ?? 1;
    const each = (name: string): Float32Array => {
      const values = read(name).data;
      if (values.length === 1 || values.length === columns) return values;
      throw new ShapeError(
        `dequantize: expected one number or ${columns} in ${name}, got ${values.length}`,
      );
    };
    const zero = weight.zeroPoint === undefined ? new Float32Array(1) : each(weight.zeroPoint);
    const scales = weight.scales.map(each);
    const out = new Float32Array(data.length);
    for (let i = 0; i < data.length; i++) {
      const column = i % columns;
      let value = data[i]! - zero[zero.length === 1 ? 0 : column]!;
      for (const s of scales) value = Math.fround(value * s[s.length === 1 ? 0 : column]!);
      out[i] = value;
    }
    return { data: out, shape };
  }
  const { layout } = weight;
  const codes = read(weight.codes);
  const perByte = layout.packed ? 8 / layout.bits : 1;
  const nOuter = layout.nOuter ?? codes.shape[0]!;
  const nInner = layout.nInner ?? (codes.shape.at(-1) ?? 0) * perByte;
  const data = dequantizeBlocks(
    codes.data,
    read(weight.scales).data,
    weight.zeroPoints === undefined ? undefined : read(weight.zeroPoints).data,
    { ...layout, nOuter, nInner },
    weight.groups === undefined ? undefined : read(weight.groups).data,
  );
  if (!weight.transposed) return { data, shape: [nOuter, nInner] };
  const turned = new Float32Array(data.length);
  for (let n = 0; n < nOuter; n++) {
    for (let k = 0; k < nInner; k++) turned[k * nOuter + n] = data[n * nInner + k]!;
  }
  return { data: turned, shape: [nInner, nOuter] };
}

/** @returns `[nOuter, nInner]`. */
function dequantizeBlocks(
  codes: Float32Array,
  scales: Float32Array,
  zeroPoints: Float32Array | undefined,
  layout: BlockLayout & { nOuter: number; nInner: number },
  groups: Float32Array | undefined,
): Float32Array {
  const { bits, blockSize, nOuter, nInner, packed, zeroPointsPacked, defaultZeroPoint } = layout;
  if (![2, 4, 8].includes(bits)) {
    throw new ModelError(`dequantize: expected weights of 2, 4 or 8 bits, got ${bits}`);
  }
  const nBlocks = Math.ceil(nInner / blockSize);
  const perByte = 8 / bits;
  // The codes of one output fill whole blocks; a table's rows are as long as they are.
  const rowOfCodes = codes.length / nOuter;
  const expectedRow = packed ? Math.ceil(nInner / perByte) : nInner;
  const rowOfZeros = zeroPointsPacked ? Math.ceil(nBlocks / perByte) : nBlocks;
  const fits =
    nOuter > 0 &&
    blockSize > 0 &&
    Number.isInteger(rowOfCodes) &&
    rowOfCodes >= expectedRow &&
    scales.length >= nOuter * nBlocks &&
    (zeroPoints === undefined || zeroPoints.length >= nOuter * rowOfZeros) &&
    (groups === undefined || groups.length >= nInner);
  if (!fits) {
    throw new ShapeError(
      `dequantize: expected codes, scales and zero points for ${nOuter} x ${nInner} values in blocks of ${blockSize}, got ${codes.length}, ${scales.length} and ${zeroPoints?.length ?? "no"}`,
      { hint: "The model file may be damaged; fetch it again." },
    );
  }
  const mask = 2 ** bits - 1;
  const unpack = (values: Float32Array, start: number, i: number): number =>
    (values[start + Math.floor(i / perByte)]! >> (bits * (i % perByte))) & mask;
  const out = new Float32Array(nOuter * nInner);
  for (let n = 0; n < nOuter; n++) {
    for (let k = 0; k < nInner; k++) {
      const block = groups ? groups[k]! : Math.floor(k / blockSize);
      const code = packed ? unpack(codes, n * rowOfCodes, k) : codes[n * rowOfCodes + k]!;
      const zero =
        zeroPoints === undefined
          ? defaultZeroPoint
          : zeroPointsPacked
            ? unpack(zeroPoints, n * rowOfZeros, block)
            : zeroPoints[n * rowOfZeros + block]!;
      out[n * nInner + k] = Math.fround(code - zero) * scales[n * nBlocks + block]!;
    }
  }
  return out;
}
