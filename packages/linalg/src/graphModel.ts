/**
 * The bytes of small ONNX models, written field by field: ONNX is protobuf, and this much of it
 * needs no library.
 *
 * Field numbers: onnx.proto (IR version 8, operator set 13).
 */
export interface GraphNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly output: string;
  /** Whole-number attributes: one number, or a list of them. */
  readonly attributes?: Readonly<Record<string, number | readonly number[]>>;
}

export interface GraphSpec {
  readonly elementType: "float32" | "float64";
  readonly inputs: Readonly<Record<string, readonly string[]>>;
  readonly outputs: Readonly<Record<string, readonly string[]>>;
  readonly nodes: readonly GraphNode[];
  /** Scalars of the element type. */
  readonly scalars?: Readonly<Record<string, number>>;
  /** Lists of int64, such as axes. */
  readonly lists?: Readonly<Record<string, readonly number[]>>;
}

export function graphModel(spec: GraphSpec): Uint8Array {
  const type = TYPE[spec.elementType];
  const graph = concat([
    ...spec.nodes.map((node) => bytesField(1, nodeBytes(node))),
    textField(2, "penfield"),
    ...Object.entries(spec.scalars ?? {}).map(([name, value]) =>
      bytesField(5, tensorBytes(name, type, [], scalarBytes(spec.elementType, value))),
    ),
    ...Object.entries(spec.lists ?? {}).map(([name, values]) =>
      bytesField(
        5,
        tensorBytes(
          name,
          TYPE.int64,
          [values.length],
          rawBytes(BigInt64Array.from(values, (v) => BigInt(v))),
        ),
      ),
    ),
    ...Object.entries(spec.inputs).map(([name, axes]) =>
      bytesField(11, valueBytes(name, type, axes)),
    ),
    ...Object.entries(spec.outputs).map(([name, axes]) =>
      bytesField(12, valueBytes(name, type, axes)),
    ),
  ]);
  return concat([numberField(1, 8), bytesField(7, graph), bytesField(8, numberField(2, 13))]);
}

/** `c = Gemm(a, b)`, either factor transposed. */
export function gemmModel(
  elementType: "float32" | "float64",
  { transposeA, transposeB }: { transposeA: boolean; transposeB: boolean },
): Uint8Array {
  return graphModel({
    elementType,
    inputs: { a: ["aRows", "aColumns"], b: ["bRows", "bColumns"] },
    outputs: { c: ["cRows", "cColumns"] },
    nodes: [
      {
        op: "Gemm",
        inputs: ["a", "b"],
        output: "c",
        attributes: { transA: transposeA ? 1 : 0, transB: transposeB ? 1 : 0 },
      },
    ],
  });
}

const TYPE = { float32: 1, float64: 11, int64: 7 } as const;
const ATTRIBUTE_INT = 2;
const ATTRIBUTE_INTS = 7;

function nodeBytes({ op, inputs, output, attributes = {} }: GraphNode): Uint8Array {
  return concat([
    ...inputs.map((name) => textField(1, name)),
    textField(2, output),
    textField(4, op),
    ...Object.entries(attributes).map(([name, value]) =>
      bytesField(
        5,
        typeof value === "number"
          ? concat([textField(1, name), numberField(3, value), numberField(20, ATTRIBUTE_INT)])
          : concat([
              textField(1, name),
              ...value.map((v) => numberField(8, v)),
              numberField(20, ATTRIBUTE_INTS),
            ]),
      ),
    ),
  ]);
}

function valueBytes(name: string, type: number, axes: readonly string[]): Uint8Array {
  const shape = concat(axes.map((axis) => bytesField(1, textField(2, axis))));
  const tensorType = concat([numberField(1, type), bytesField(2, shape)]);
  return concat([textField(1, name), bytesField(2, bytesField(1, tensorType))]);
}

function tensorBytes(
  name: string,
  type: number,
  dims: readonly number[],
  raw: Uint8Array,
): Uint8Array {
  return concat([
    ...dims.map((d) => numberField(1, d)),
    numberField(2, type),
    textField(8, name),
    bytesField(9, raw),
  ]);
}

function scalarBytes(elementType: "float32" | "float64", value: number): Uint8Array {
  return rawBytes(elementType === "float32" ? Float32Array.of(value) : Float64Array.of(value));
}

function rawBytes({ buffer }: { readonly buffer: ArrayBufferLike }): Uint8Array {
  return new Uint8Array(buffer);
}

const WIRE_NUMBER = 0;
const WIRE_BYTES = 2;

function numberField(field: number, value: number): Uint8Array {
  return Uint8Array.from([...varint(field * 8 + WIRE_NUMBER), ...varint(value)]);
}

function bytesField(field: number, bytes: Uint8Array): Uint8Array {
  return concat([
    Uint8Array.from([...varint(field * 8 + WIRE_BYTES), ...varint(bytes.length)]),
    bytes,
  ]);
}

function textField(field: number, text: string): Uint8Array {
  return bytesField(field, new TextEncoder().encode(text));
}

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) + 128, ...varint(Math.floor(value / 128))];
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
