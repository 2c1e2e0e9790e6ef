import { createRng, ModelError, permutation, type Rng } from "@penfield/core";
import type { NirArray, NirGraph, NirNode } from "./nodes.ts";

/**
 * The same network with nothing learned: the entries of every weight matrix and kernel in another order. Biases, time constants and
 * thresholds stay. Copy.
 *
 * @throws {ModelError} if it has no weights.
 */
export function shuffleWeights({ root, version }: NirGraph, seed: number): NirGraph {
  if (!hasWeights(root)) {
    throw new ModelError("shuffleWeights: expected weight matrices, got none");
  }
  return { root: shuffled(root, createRng(seed)) as NirGraph["root"], version };
}

const hasWeights = (node: NirNode): boolean =>
  node.type === "NIRGraph" ? [...node.nodes.values()].some(hasWeights) : "weight" in node;

function shuffled(node: NirNode, rng: Rng): NirNode {
  if (node.type === "NIRGraph") {
    const nodes = Array.from(node.nodes, ([name, child]) => [name, shuffled(child, rng)] as const);
    return { ...node, nodes: new Map(nodes) };
  }
  return "weight" in node ? { ...node, weight: reordered(node.weight, rng) } : node;
}

function reordered({ data, shape }: NirArray, rng: Rng): NirArray {
  const order = permutation(data.length, rng);
  return { data: data.map((_, i) => data[order[i]!]!), shape };
}
