import { FormatError } from "@penfield/core";
import type { AttributeProto, GraphProto, NodeProto } from "./proto.ts";

/** Who makes and who reads each tensor of a graph, and which tensors never change. */
export interface GraphIndex {
  readonly graph: GraphProto;
  /** Node numbers in an order in which every node comes after what it reads. */
  readonly order: readonly number[];
  /** Place of each node in `order`. */
  readonly rank: Int32Array;
  /** Tensor name -> number of the node that makes it. */
  readonly producer: ReadonlyMap<string, number>;
  /** Tensor name -> numbers of the nodes that read it, ascending (outer tensors read inside a branch count). */
  readonly consumers: ReadonlyMap<string, readonly number[]>;
  /** True for weights, constants, and all that is computed from them alone. */
  isConstant(tensor: string): boolean;
}

const RANDOM = new Set([
  "RandomNormal",
  "RandomUniform",
  "RandomNormalLike",
  "RandomUniformLike",
  "Multinomial",
  "Bernoulli",
]);

/** Tensors that a node reads, those that its branches take from outside included. */
export function readsOf(node: NodeProto): string[] {
  const branches = node.attribute.flatMap((a) => (a.g ? [a.g, ...a.graphs] : a.graphs));
  return [...node.input.filter((name) => name !== ""), ...branches.flatMap(outerReads)];
}

function outerReads(graph: GraphProto): string[] {
  const inner = new Set([
    ...graph.input.map((v) => v.name),
    ...graph.initializer.map((t) => t.name),
    ...graph.node.flatMap((n) => n.output),
  ]);
  return [...graph.node.flatMap(readsOf), ...graph.output.map((v) => v.name)].filter(
    (name) => !inner.has(name),
  );
}

/**
 * Indexes a graph. The nodes may be in any order.
 *
 * @throws {FormatError} if two nodes or weights make the same tensor, or the graph has a cycle.
 *
 * Cost: linear in nodes and edges.
 */
export function indexGraph(graph: GraphProto): GraphIndex {
  const producer = new Map<string, number>();
  const consumers = new Map<string, number[]>();
  const nodes = graph.node;
  nodes.forEach((node, number) => {
    for (const name of node.output) {
      if (name === "") continue;
      if (producer.has(name)) {
        throw new FormatError(`indexGraph: expected one producer of ${name}, got two`);
      }
      producer.set(name, number);
    }
  });
  const weights = new Set<string>();
  for (const { name } of graph.initializer) {
    if (weights.has(name) || producer.has(name)) {
      throw new FormatError(`indexGraph: expected one tensor called ${name}, got two`);
    }
    weights.add(name);
  }
  const waiting = new Int32Array(nodes.length);
  const reads = nodes.map((node) => [...new Set(readsOf(node))]);
  reads.forEach((names, number) => {
    for (const name of names) {
      const list = consumers.get(name);
      if (list) list.push(number);
      else consumers.set(name, [number]);
      if (producer.has(name)) waiting[number]!++;
    }
  });
  // Kahn's algorithm; nodes that are ready are taken in the file's order.
  const order: number[] = [];
  const ready = nodes.flatMap((_, number) => (waiting[number] === 0 ? [number] : []));
  for (let at = 0; at < ready.length; at++) {
    const number = ready[at]!;
    order.push(number);
    for (const name of new Set(nodes[number]!.output)) {
      for (const reader of consumers.get(name) ?? []) {
        if (--waiting[reader]! === 0) ready.push(reader);
      }
    }
  }
  if (order.length !== nodes.length) {
    throw new FormatError("indexGraph: expected a graph without cycles, got one");
  }
  const rank = new Int32Array(nodes.length);
  order.forEach((number, place) => {
    rank[number] = place;
  });

  const inputs = new Set(graph.input.map((v) => v.name));
  const constant = new Set([...weights].filter((name) => !inputs.has(name)));
  for (const number of order) {
    const node = nodes[number]!;
    if (RANDOM.has(node.opType)) continue;
    if (reads[number]!.every((name) => constant.has(name))) {
      for (const name of node.output) constant.add(name);
    }
  }
  return { graph, order, rank, producer, consumers, isConstant: (tensor) => constant.has(tensor) };
}

/** A node's attribute by name. */
export function attribute(node: NodeProto, name: string): AttributeProto | undefined {
  return node.attribute.find((a) => a.name === name);
}

/** A whole-number attribute, or the operator's default. */
export function intAttribute(node: NodeProto, name: string, fallback: number): number {
  const found = attribute(node, name);
  return found ? Number(found.i) : fallback;
}
