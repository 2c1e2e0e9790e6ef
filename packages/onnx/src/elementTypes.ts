import { attribute, type GraphIndex, intAttribute } from "./graphIndex.ts";
import { elementType, type NodeProto } from "./proto.ts";

const BOOLEAN = new Set([
  "Equal",
  "Greater",
  "GreaterOrEqual",
  "Less",
  "LessOrEqual",
  "Not",
  "And",
  "Or",
  "Xor",
  "IsNaN",
  "IsInf",
]);
const WHOLE = new Set(["Shape", "Size", "NonZero", "ArgMax", "ArgMin"]);
/** Operators whose output has the type of another input than the first. */
const TYPED_BY_INPUT: Record<string, number> = {
  Where: 1,
  DequantizeLinear: 1,
  EmbedLayerNormalization: 2,
  GatherBlockQuantized: 2,
};

/**
 * The element type of every tensor of a graph, as ONNX codes, from the declared inputs and weights
 * and each operator's rule. Files rarely declare them for inner tensors; an output must have one.
 */
export function inferElementTypes(index: GraphIndex): Map<string, number> {
  const { graph } = index;
  const types = new Map<string, number>();
  for (const tensor of graph.initializer) types.set(tensor.name, tensor.dataType);
  for (const value of [...graph.input, ...graph.output, ...graph.valueInfo]) {
    const type = value.type?.value;
    if (type?.case === "tensorType" && type.value.elemType) {
      types.set(value.name, type.value.elemType);
    }
  }
  for (const number of index.order) {
    const node = graph.node[number]!;
    node.output.forEach((name, place) => {
      if (name === "" || types.has(name)) return;
      const type = outputType(node, place, types);
      if (type !== undefined) types.set(name, type);
    });
  }
  return types;
}

function outputType(
  node: NodeProto,
  place: number,
  types: ReadonlyMap<string, number>,
): number | undefined {
  const { opType } = node;
  if (BOOLEAN.has(opType)) return elementType.bool;
  if (WHOLE.has(opType)) return elementType.int64;
  if (opType === "TopK" && place === 1) return elementType.int64;
  if (opType === "Cast") return intAttribute(node, "to", elementType.float32);
  if (opType === "MatMulInteger" || opType === "ConvInteger") return elementType.int32;
  if (opType === "DynamicQuantizeLinear") {
    return place === 1 ? elementType.float32 : elementType.uint8;
  }
  if (opType === "Constant") {
    if (attribute(node, "value_int") || attribute(node, "value_ints")) return elementType.int64;
    return attribute(node, "value")?.t?.dataType ?? elementType.float32;
  }
  if (opType === "ConstantOfShape") {
    return attribute(node, "value")?.t?.dataType ?? elementType.float32;
  }
  if (opType === "QuantizeLinear") return types.get(node.input[2] ?? "") ?? elementType.uint8;
  return types.get(node.input[TYPED_BY_INPUT[opType] ?? 0] ?? "");
}
