import { ModelError } from "@penfield/core";
import { makeNode } from "./build.ts";
import { attribute } from "./graphIndex.ts";
import type { GraphProto, ModelProto, NodeProto } from "./proto.ts";

/**
 * Replaces every `If` of the main graph by one of its branches, so that tensors inside it can be
 * read: the older merged decoders (`decoder_model_merged.onnx`) wrap the whole network in
 * `If(use_cache_branch)`.
 *
 * @param model - Changed in place.
 * @param choose - Which branch a node takes; by default the `else` branch, the one without a cache.
 * @throws {ModelError} if an `If` has no such branch, or names inside clash with names outside.
 */
export function inlineIf(
  model: ModelProto,
  choose: (node: NodeProto) => "then_branch" | "else_branch" = () => "else_branch",
): void {
  const graph = model.graph!;
  // A branch may hold an If again: go on until none is left.
  while (graph.node.some((node) => node.opType === "If")) {
    graph.node = graph.node.flatMap((node) => {
      if (node.opType !== "If") return [node];
      const branch = attribute(node, choose(node))?.g;
      if (!branch) {
        throw new ModelError(
          `inlineIf: expected the branch ${choose(node)} in ${node.name}, got none`,
        );
      }
      return inlined(graph, node, branch);
    });
  }
  const read = new Set([...graph.node.flatMap((n) => n.input), ...graph.output.map((v) => v.name)]);
  graph.input = graph.input.filter((v) => read.has(v.name));
}

function inlined(graph: GraphProto, node: NodeProto, branch: GraphProto): NodeProto[] {
  const weights = new Set(graph.initializer.map((t) => t.name));
  for (const tensor of branch.initializer) {
    if (!weights.has(tensor.name)) graph.initializer.push(tensor);
  }
  graph.valueInfo.push(...branch.valueInfo);
  const outside = new Set(graph.node.filter((n) => n !== node).flatMap((n) => n.output));
  const clash = branch.node.flatMap((n) => n.output).find((name) => name && outside.has(name));
  if (clash) {
    throw new ModelError(
      `inlineIf: expected names inside ${node.name} of its own, got ${clash} twice`,
    );
  }
  // Outputs of the If get their outer names by one Identity each; the runtime removes those. Merged
  // decoders name both alike: then the branch's node makes the outer tensor itself.
  const names = branch.output.map((value, place) => {
    const name = node.output[place];
    return name && name !== value.name ? makeNode("Identity", [value.name], [name]) : undefined;
  });
  return [...branch.node, ...names.filter((n) => n !== undefined)];
}
