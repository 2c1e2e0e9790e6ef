import { attribute, type GraphIndex, intAttribute } from "./graphIndex.ts";
import { elementType, type NodeProto, type TensorProto } from "./proto.ts";
import { tensorValues } from "./weights.ts";

const BROADCAST = new Set([
  "Add",
  "Sub",
  "Mul",
  "Div",
  "Pow",
  "Where",
  "And",
  "Or",
  "Mod",
  "PRelu",
  "Equal",
  "Less",
  "Greater",
  "LessOrEqual",
  "GreaterOrEqual",
  "Max",
  "Min",
]);
const PRODUCT = new Set([
  "MatMul",
  "FusedMatMul",
  "MatMulInteger",
  "MatMulNBits",
  "DynamicQuantizeMatMul",
  "MatMulIntegerToFloat",
]);
const REDUCE = /^(Reduce|ArgM)/;

/**
 * How many axes each tensor of a graph has, as far as the operators' rules tell. Files rarely declare
 * inner tensors; a hook must know whether batch and position are still two axes.
 */
export function inferRanks(index: GraphIndex): ReadonlyMap<string, number> {
  const { graph } = index;
  const ranks = new Map<string, number>();
  const constants = new Map<string, TensorProto>(graph.initializer.map((t) => [t.name, t]));
  for (const tensor of graph.initializer) ranks.set(tensor.name, tensor.dims.length);
  for (const value of graph.input) {
    const type = value.type?.value;
    if (type?.case === "tensorType" && type.value.shape)
      ranks.set(value.name, type.value.shape.dim.length);
  }
  for (const number of index.order) {
    const node = graph.node[number]!;
    if (node.opType === "Constant") {
      const tensor = attribute(node, "value")?.t;
      if (tensor) constants.set(node.output[0]!, tensor);
    }
    const rank = outputRank(node, ranks, (shape) => lengthOf(shape, index, constants, ranks));
    if (rank !== undefined) for (const name of node.output) ranks.set(name, rank);
  }
  return ranks;
}

function outputRank(
  node: NodeProto,
  ranks: ReadonlyMap<string, number>,
  lengthOfShape: (shape: string) => number | undefined,
): number | undefined {
  const { opType, input } = node;
  const rank = (place: number): number | undefined => ranks.get(input[place] ?? "");
  const first = rank(0);
  const largest = (): number | undefined => {
    const all = input.filter((name) => name !== "").map((name) => ranks.get(name));
    return all.includes(undefined) ? undefined : Math.max(...(all as number[]));
  };
  if (BROADCAST.has(opType)) return largest();
  if (PRODUCT.has(opType)) {
    return opType.startsWith("MatMul") && opType !== "MatMulNBits"
      ? rank(1) === undefined || first === undefined
        ? first
        : Math.max(first, rank(1)!)
      : first;
  }
  if (REDUCE.test(opType)) {
    return intAttribute(node, "keepdims", 1) === 1 ? first : undefined;
  }
  switch (opType) {
    case "Gemm":
    case "Flatten":
      return 2;
    case "Shape":
    case "Range":
    case "NonZero":
      return opType === "NonZero" ? 2 : 1;
    case "Constant": {
      const value = attribute(node, "value")?.t;
      return value ? value.dims.length : attribute(node, "value_ints") ? 1 : 0;
    }
    case "EmbedLayerNormalization":
      return 3;
    case "Gather":
    case "GatherBlockQuantized":
      return first === undefined || rank(1) === undefined ? undefined : first - 1 + rank(1)!;
    case "Reshape":
    case "Expand":
    case "ConstantOfShape":
      return lengthOfShape(input[opType === "ConstantOfShape" ? 0 : 1] ?? "");
    case "Unsqueeze":
    case "Squeeze": {
      const axes = attribute(node, "axes")?.ints.length ?? lengthOfShape(input[1] ?? "");
      if (first === undefined || axes === undefined) return undefined;
      return opType === "Unsqueeze" ? first + axes : first - axes;
    }
    default:
      // Elementwise operators, norms, softmax, casts, splits, slices and transposes keep the rank.
      return first;
  }
}

/** How many numbers a shape tensor holds: the rank of what is made with it. */
function lengthOf(
  shape: string,
  index: GraphIndex,
  constants: ReadonlyMap<string, TensorProto>,
  ranks: ReadonlyMap<string, number>,
): number | undefined {
  const constant = constants.get(shape);
  if (constant) return constant.dims.length === 0 ? 1 : Number(constant.dims[0]);
  const number = index.producer.get(shape);
  if (number === undefined) return undefined;
  const { graph } = index;
  const node = graph.node[number]!;
  const inner = (name: string | undefined) => lengthOf(name ?? "", index, constants, ranks);
  switch (node.opType) {
    case "Constant":
      return attribute(node, "value_ints")?.ints.length;
    case "Shape": {
      const length = ranks.get(node.input[0] ?? "");
      if (length === undefined) return undefined;
      // From opset 15 on a part of the sizes can be asked for.
      const within = (at: number) => Math.min(Math.max(at < 0 ? length + at : at, 0), length);
      return within(intAttribute(node, "end", length)) - within(intAttribute(node, "start", 0));
    }
    case "Concat": {
      const parts = node.input.map(inner);
      return parts.includes(undefined) ? undefined : (parts as number[]).reduce((a, b) => a + b, 0);
    }
    case "Unsqueeze":
      return ranks.get(node.input[0] ?? "") === 0 ? 1 : undefined;
    case "Cast":
    case "Identity":
    case "Reshape":
      return inner(node.input[0]);
    case "Gather":
      return ranks.get(node.input[1] ?? "") === 1 ? inner(node.input[1]) : undefined;
    case "ConstantOfShape": {
      const [length, ...more] = numbersOf(constants.get(node.input[0] ?? ""));
      if (length !== undefined) return more.length === 0 ? length : undefined;
      // As long as another shape is: ConstantOfShape(Shape(shape)).
      const maker = graph.node[index.producer.get(node.input[0] ?? "") ?? -1];
      return maker?.opType === "Shape" ? inner(maker.input[0]) : undefined;
    }
    case "Slice":
      return slicedLength(inner(node.input[0]), node, constants);
    case "Where":
    case "Equal":
    case "Mul":
    case "Add":
    case "Sub":
    case "Div": {
      // Shapes that are compared or chosen from are equally long; single numbers go with any.
      const parts = node.input.map(inner).filter((length) => length !== undefined);
      return parts.length === 0 ? undefined : Math.max(...parts);
    }
    default:
      return undefined;
  }
}

/** The whole numbers of a small constant; none if there is no such constant. */
function numbersOf(tensor: TensorProto | undefined): number[] {
  return tensor?.dataType === elementType.int64 ? Array.from(tensorValues(tensor)) : [];
}

function slicedLength(
  length: number | undefined,
  { input }: NodeProto,
  constants: ReadonlyMap<string, TensorProto>,
): number | undefined {
  const part = (place: number) => numbersOf(constants.get(input[place] ?? ""))[0];
  const [start, end, step] = [part(1), part(2), input[4] ? part(4) : 1];
  if (length === undefined || start === undefined || end === undefined || step !== 1) {
    return undefined;
  }
  const within = (at: number) => Math.min(Math.max(at < 0 ? length + at : at, 0), length);
  return Math.max(0, within(end) - within(start));
}
