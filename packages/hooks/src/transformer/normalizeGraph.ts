import {
  attribute,
  copyModel,
  inlineIf,
  type ModelProto,
  makeNode,
  type NodeProto,
} from "@penfield/onnx";

/**
 * Brings a decoded export into the form that hooks are found in: branches of `If` inlined (the one
 * without a cache), fused skip-and-norm operators split into the sum and the norm that they are, so
 * that the residual stream is a tensor.
 *
 * @returns A copy; the model is not touched.
 */
export function normalizeGraph(model: ModelProto): ModelProto {
  const copy = copyModel(model);
  inlineIf(copy);
  const graph = copy.graph!;
  graph.node = graph.node.flatMap((node) => splitSkipNorm(node) ?? [node]);
  return copy;
}

function splitSkipNorm(node: NodeProto): NodeProto[] | undefined {
  const simplified = node.opType === "SkipSimplifiedLayerNormalization";
  if (!simplified && node.opType !== "SkipLayerNormalization") return undefined;
  const [input, skip, gamma] = node.input as [string, string, string];
  const beta = simplified ? "" : (node.input[3] ?? "");
  const bias = node.input[simplified ? 3 : 4] ?? "";
  const [norm] = node.output as [string];
  const sum = node.output[3] || `${norm}::sum`;
  const epsilon = attribute(node, "epsilon")?.f ?? 1e-12;
  const attributes = { axis: -1n, epsilon };
  // The bias belongs to the branch (`input`), so that what is added to the stream is one tensor.
  const branch = bias ? `${norm}::branch` : input;
  return [
    ...(bias ? [makeNode("Add", [input, bias], [branch])] : []),
    makeNode("Add", [branch, skip], [sum]),
    simplified
      ? makeNode("SimplifiedLayerNormalization", [sum, gamma], [norm], attributes)
      : makeNode("LayerNormalization", [sum, gamma, ...(beta ? [beta] : [])], [norm], attributes),
  ];
}
