import {
  attribute,
  copyModel,
  elementType,
  type GraphProto,
  indexGraph,
  inferElementTypes,
  inlineIf,
  intAttribute,
  type ModelProto,
  makeNode,
  makeTensor,
  type NodeProto,
} from "@penfield/onnx";

/**
 * Brings a decoded export into the form that hooks are found in. What exporters and optimisers fuse
 * is taken apart as far as the hooks need tensors, and no further, so that the runtime's own kernels
 * still do the arithmetic:
 *
 * - branches of `If` are inlined (the one without a cache);
 * - skip-and-norm becomes the sum and the norm that it is, so that the residual stream is a tensor;
 * - attention over packed weights or packed inputs gets its queries, keys and values as tensors;
 * - biases that a fused operator adds to queries, keys, values and neurons are added before it.
 *
 * @returns A copy; the model is not touched.
 */
export function normalizeGraph(model: ModelProto): ModelProto {
  const copy = copyModel(model);
  inlineIf(copy);
  const graph = copy.graph!;
  const widths = productWidths(graph);
  const types = inferElementTypes(indexGraph(graph));
  graph.node = graph.node.flatMap((node) => {
    switch (node.opType) {
      case "SkipLayerNormalization":
      case "SkipSimplifiedLayerNormalization":
        return splitSkipNorm(node, types);
      case "EmbedLayerNormalization":
        return splitEmbedNorm(node, types);
      case "Attention":
        return unpackAttention(graph, node) ?? [node];
      case "MultiHeadAttention":
        return addBiasesBefore(graph, node, widths) ?? [node];
      case "GroupQueryAttention":
        return unpackGroupQuery(graph, node, widths) ?? [node];
      case "BiasGelu":
      case "FastGelu":
        return addBiasBeforeGelu(node) ?? [node];
      default:
        return [node];
    }
  });
  return copy;
}

/**
 * The sum becomes a tensor; the norm is still the operator's own, of the sum and a skip of zeros, so
 * that it is computed in the same way to the last bit.
 */
/**
 * The look-up of token vectors becomes a tensor, and where the sum of the look-ups goes into the
 * stream the norm becomes one of that sum.
 */
function splitEmbedNorm(node: NodeProto, types: ReadonlyMap<string, number>): NodeProto[] {
  const [ids = "", , table = "", , , gamma = "", beta = ""] = node.input;
  const [norm = "", mask = "", sum = ""] = node.output;
  const lookUp = makeNode("Gather", [table, ids], [`${norm}${LOOK_UP}`], { axis: 0n });
  if (sum === "") return [lookUp, node];
  const bare = makeNode(
    "com.microsoft:EmbedLayerNormalization",
    [...node.input],
    [`${norm}::fused`, mask, sum],
  );
  bare.attribute.push(...node.attribute);
  const epsilon = node.attribute.filter((a) => a.name === "epsilon");
  return [lookUp, bare, ...normOf(sum, norm, { gamma, beta, simplified: false, epsilon }, types)];
}

/** What the token vectors alone are called where one operator looks up, adds and normalises. */
export const LOOK_UP = "::token_vectors";

/** The operator's own norm of a tensor, with a skip of zeros. */
function normOf(
  sum: string,
  norm: string,
  parts: {
    gamma: string;
    beta: string;
    simplified: boolean;
    epsilon: readonly NodeProto["attribute"][number][];
  },
  types: ReadonlyMap<string, number>,
): NodeProto[] {
  const zero = makeTensor("", elementTypeName(types.get(parts.gamma)), [1], [0]);
  const bare = makeNode(
    `com.microsoft:Skip${parts.simplified ? "Simplified" : ""}LayerNormalization`,
    [sum, `${norm}::zeros`, parts.gamma, ...(parts.beta ? [parts.beta] : [])],
    [norm],
  );
  bare.attribute.push(...parts.epsilon);
  return [
    makeNode("Shape", [sum], [`${norm}::shape`]),
    makeNode("ConstantOfShape", [`${norm}::shape`], [`${norm}::zeros`], { value: zero }),
    bare,
  ];
}

function splitSkipNorm(node: NodeProto, types: ReadonlyMap<string, number>): NodeProto[] {
  const simplified = node.opType === "SkipSimplifiedLayerNormalization";
  const [input, skip, gamma] = node.input as [string, string, string];
  const beta = simplified ? "" : (node.input[3] ?? "");
  const bias = node.input[simplified ? 3 : 4] ?? "";
  const [norm] = node.output as [string];
  const sum = node.output[3] || `${norm}::sum`;
  // The bias belongs to the branch (`input`), so that what is added to the stream is one tensor.
  const branch = bias ? `${norm}::branch` : input;
  return [
    ...(bias ? [makeNode("Add", [input, bias], [branch])] : []),
    makeNode("Add", [branch, skip], [sum]),
    ...normOf(sum, norm, { gamma, beta, simplified, epsilon: node.attribute }, types),
  ];
}

const elementTypeName = (type: number | undefined): "float16" | "float32" =>
  type === elementType.float16 ? "float16" : "float32";

/** Width of what each product with weights makes, where the weights' own shape says so. */
function productWidths(graph: GraphProto): ReadonlyMap<string, number> {
  const shapes = new Map(graph.initializer.map((t) => [t.name, t.dims.map(Number)]));
  const widths = new Map<string, number>();
  for (const node of graph.node) {
    const [a = "", b = ""] = node.input;
    let width: number | undefined;
    if (node.opType === "MatMulNBits") width = intAttribute(node, "N", 0);
    else if (node.opType === "Gemm") {
      width = shapes.get(b)?.at(intAttribute(node, "transB", 0) === 1 ? 0 : -1);
    } else if (node.opType.startsWith("MatMul") || node.opType === "FusedMatMul") {
      width = shapes.get(b)?.at(-1);
    } else width = widths.get(a) ?? (node.opType === "Add" ? widths.get(b) : undefined);
    if (width === undefined || width === 0) continue;
    for (const name of node.output.slice(0, 1)) widths.set(name, width);
  }
  return widths;
}

const CONTRIB_ATTENTION = "com.microsoft:Attention";

/** Attention over one packed matrix of weights -> product, bias, split, attention. */
function unpackAttention(graph: GraphProto, node: NodeProto): NodeProto[] | undefined {
  if (node.domain !== "com.microsoft") return undefined;
  const [input = "", weights = "", bias = "", mask = "", past = "", position = ""] = node.input;
  const width = Number(graph.initializer.find((t) => t.name === weights)?.dims.at(-1) ?? 0);
  const sizes = attribute(node, "qkv_hidden_sizes")?.ints.map(Number) ?? [];
  const parts = sizes.length === 3 ? sizes : [width / 3, width / 3, width / 3];
  const rotary = intAttribute(node, "do_rotary", 0) !== 0;
  // With a cache in one tensor, or a rotation inside, the operator has no counterpart.
  if (width === 0 || past !== "" || rotary) return undefined;
  const [z = "", present = ""] = node.output;
  // What it returns for a cache is still its own.
  const cache =
    present === "" ? undefined : makeNode(CONTRIB_ATTENTION, node.input, [`${z}::fused`, present]);
  cache?.attribute.push(...node.attribute);
  const shape = `${z}::parts`;
  graph.initializer.push(makeTensor(shape, "int64", [3], parts));
  const product = `${z}::packed`;
  const packed = bias ? `${z}::packed_with_bias` : product;
  const names = ["q", "k", "v"].map((part) => `${z}::${part}`);
  const fused = makeNode(
    "com.microsoft:MultiHeadAttention",
    [...names, "", mask, position].slice(0, position ? 6 : mask ? 5 : 3),
    [z],
  );
  const kept = new Set(["num_heads", "unidirectional", "mask_filter_value", "scale"]);
  fused.attribute.push(...node.attribute.filter((a) => kept.has(a.name)));
  return [
    makeNode("MatMul", [input, weights], [product]),
    ...(bias ? [makeNode("Add", [product, bias], [packed])] : []),
    makeNode("Split", [packed, shape], names, { axis: -1n }),
    fused,
    ...(cache ? [cache] : []),
  ];
}

/** The operator's own bias of queries, keys and values -> three sums before it. */
function addBiasesBefore(
  graph: GraphProto,
  node: NodeProto,
  widths: ReadonlyMap<string, number>,
): NodeProto[] | undefined {
  const bias = node.input[3] ?? "";
  if (bias === "") return undefined;
  const operands = node.input.slice(0, 3);
  const sizes = operands.map((name) => widths.get(name));
  // Keys and values that come as heads, or packed, take their bias inside.
  if (operands.some((name) => !name) || sizes.includes(undefined)) return undefined;
  const [z] = node.output as [string];
  const shape = `${z}::bias_parts`;
  graph.initializer.push(makeTensor(shape, "int64", [3], sizes as number[]));
  const parts = ["q", "k", "v"].map((part) => `${z}::bias_${part}`);
  const sums = ["q", "k", "v"].map((part) => `${z}::${part}`);
  const inputs = [...node.input];
  inputs.splice(0, 4, ...sums, "");
  const bare = makeNode("com.microsoft:MultiHeadAttention", inputs, node.output);
  bare.attribute.push(...node.attribute);
  return [
    makeNode("Split", [bias, shape], parts, { axis: 0n }),
    ...operands.map((name, i) => makeNode("Add", [name, parts[i]!], [sums[i]!])),
    bare,
  ];
}

/** Queries, keys and values in one input -> three. */
function unpackGroupQuery(
  graph: GraphProto,
  node: NodeProto,
  widths: ReadonlyMap<string, number>,
): NodeProto[] | undefined {
  const [packed = "", key = "", value = "", ...rest] = node.input;
  const width = widths.get(packed);
  if (key !== "" || value !== "" || width === undefined) return undefined;
  const nHeads = intAttribute(node, "num_heads", 1);
  const nKeyValueHeads = intAttribute(node, "kv_num_heads", nHeads);
  const dHead = width / (nHeads + 2 * nKeyValueHeads);
  if (!Number.isInteger(dHead)) return undefined;
  const [z] = node.output as [string];
  const shape = `${z}::parts`;
  const sizes = [nHeads * dHead, nKeyValueHeads * dHead, nKeyValueHeads * dHead];
  graph.initializer.push(makeTensor(shape, "int64", [3], sizes));
  const names = ["q", "k", "v"].map((part) => `${z}::${part}`);
  const unpacked = makeNode(
    "com.microsoft:GroupQueryAttention",
    [...names, ...rest],
    [...node.output],
  );
  unpacked.attribute.push(...node.attribute);
  return [makeNode("Split", [packed, shape], names, { axis: -1n }), unpacked];
}

function addBiasBeforeGelu(node: NodeProto): NodeProto[] | undefined {
  const [input = "", bias = ""] = node.input;
  if (bias === "") return undefined;
  const [output] = node.output as [string];
  const sum = `${output}::pre`;
  const gelu = node.opType === "BiasGelu" ? "com.microsoft:Gelu" : "com.microsoft:FastGelu";
  return [makeNode("Add", [input, bias], [sum]), makeNode(gelu, [sum], [output])];
}
