import { create } from "@bufbuild/protobuf";
import { ArgumentError } from "@penfield/core";
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  type GraphProto,
  GraphProtoSchema,
  type ModelProto,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  type TensorProto,
  TensorProtoSchema,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from "onnx-buf";
import { type ElementTypeName, elementType } from "./proto.ts";

/** An attribute's value: whole numbers go in as bigint or with `{ int }`, plain numbers are floats. */
export type AttributeValue =
  | number
  | bigint
  | string
  | readonly bigint[]
  | readonly number[]
  | TensorProto
  | GraphProto;

const utf8 = (text: string): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(text, "utf8"));
const types = AttributeProto_AttributeType;

function makeAttribute(name: string, value: AttributeValue) {
  const attribute = create(AttributeProtoSchema, { name });
  if (typeof value === "bigint") Object.assign(attribute, { type: types.INT, i: value });
  else if (typeof value === "number") Object.assign(attribute, { type: types.FLOAT, f: value });
  else if (typeof value === "string")
    Object.assign(attribute, { type: types.STRING, s: utf8(value) });
  else if (Array.isArray(value)) {
    const whole = typeof value[0] === "bigint";
    Object.assign(
      attribute,
      whole ? { type: types.INTS, ints: value } : { type: types.FLOATS, floats: value },
    );
  } else if ((value as GraphProto).$typeName === "onnx.GraphProto") {
    Object.assign(attribute, { type: types.GRAPH, g: value });
  } else Object.assign(attribute, { type: types.TENSOR, t: value });
  return attribute;
}

/**
 * A node.
 *
 * @param opType - The operator's name; `com.microsoft:Op` names another domain.
 *
 * @example
 * makeNode("Add", ["a", "b"], ["c"]).opType // => "Add"
 */
export function makeNode(
  opType: string,
  input: readonly string[],
  output: readonly string[],
  attributes: Record<string, AttributeValue> = {},
  name = "",
): NodeProto {
  const [operator, domain] = opType.split(":").reverse() as [string, string | undefined];
  return create(NodeProtoSchema, {
    opType: operator,
    domain: domain ?? "",
    input: [...input],
    output: [...output],
    name,
    attribute: Object.entries(attributes).map(([key, value]) => makeAttribute(key, value)),
  });
}

/**
 * A tensor with its values inside: a weight or a constant.
 *
 * @param data - The bits (no copy), or plain numbers for the types that hold them.
 * @throws {ArgumentError} for plain numbers as float16, bfloat16 or strings.
 */
export function makeTensor(
  name: string,
  type: ElementTypeName,
  dims: readonly number[],
  data: ArrayBufferView | readonly number[],
): TensorProto {
  const view = ArrayBuffer.isView(data) ? data : plainData(type, data);
  return create(TensorProtoSchema, {
    name,
    dataType: elementType[type],
    dims: dims.map(BigInt),
    rawData: new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset, view.byteLength),
  });
}

function plainData(type: ElementTypeName, values: readonly number[]): ArrayBufferView {
  switch (type) {
    case "int64":
      return BigInt64Array.from(values, (v) => BigInt(v));
    case "float64":
      return Float64Array.from(values);
    case "int32":
      return Int32Array.from(values);
    case "bool":
    case "uint8":
      return Uint8Array.from(values);
    case "int8":
      return Int8Array.from(values);
    case "float32":
      return Float32Array.from(values);
    default:
      throw new ArgumentError(`makeTensor: expected the bits of ${type} in an array, got numbers`);
  }
}

/** Declares a graph input or output; a size may be a name ("batch") where it is only known at run time. */
export function makeValueInfo(
  name: string,
  type: ElementTypeName | number,
  dims?: readonly (number | string)[],
): ValueInfoProto {
  const shape = dims && {
    dim: dims.map((size) =>
      typeof size === "number"
        ? { value: { case: "dimValue" as const, value: BigInt(size) } }
        : { value: { case: "dimParam" as const, value: size } },
    ),
  };
  return create(ValueInfoProtoSchema, {
    name,
    type: create(TypeProtoSchema, {
      value: {
        case: "tensorType",
        value: create(TypeProto_TensorSchema, {
          elemType: typeof type === "number" ? type : elementType[type],
          ...(shape ? { shape } : {}),
        }),
      },
    }),
  });
}

/** The parts of a graph, as `makeModel` takes them. */
export interface GraphParts {
  readonly nodes: readonly NodeProto[];
  readonly inputs: readonly ValueInfoProto[];
  readonly outputs: readonly ValueInfoProto[];
  readonly initializers?: readonly TensorProto[];
  readonly name?: string;
}

/** A graph, for the branches of an `If` or for `makeModel`. */
export function makeGraph({
  nodes,
  inputs,
  outputs,
  initializers = [],
  name = "graph",
}: GraphParts): GraphProto {
  return create(GraphProtoSchema, {
    name,
    node: [...nodes],
    input: [...inputs],
    output: [...outputs],
    initializer: [...initializers],
  });
}

/**
 * A whole model out of its parts, for tests and for the small graphs that Penfield runs as tools.
 *
 * @param opset - Version of the standard operators; 17 by default.
 */
export function makeModel(
  parts: GraphParts,
  { opset = 17, microsoft = false }: { opset?: number; microsoft?: boolean } = {},
): ModelProto {
  return create(ModelProtoSchema, {
    irVersion: 8n,
    producerName: "penfield",
    graph: makeGraph(parts),
    opsetImport: [
      { domain: "", version: BigInt(opset) },
      ...(microsoft ? [{ domain: "com.microsoft", version: 1n }] : []),
    ],
  });
}
