import { makeNode, makeValueInfo } from "./build.ts";
import { indexGraph } from "./graphIndex.ts";
import type { GraphProto, ModelProto, NodeProto, ValueInfoProto } from "./proto.ts";

/** A copy of a protobuf message that keeps its defaults (they live on the prototype). */
function copyMessage<T extends object>(message: T, changes: Partial<T>): T {
  return Object.assign(Object.create(Object.getPrototypeOf(message)), message, changes);
}

/**
 * A copy of a model whose graph may be changed without touching the original. Weights and
 * attributes are shared; lists, and the names that nodes read and make, are copied.
 */
export function copyModel(model: ModelProto): ModelProto {
  const graph = model.graph!;
  return copyMessage(model, {
    graph: copyMessage(graph, {
      node: graph.node.map((node) =>
        copyMessage(node, { input: [...node.input], output: [...node.output] }),
      ),
      input: [...graph.input],
      output: [...graph.output],
      initializer: [...graph.initializer],
      valueInfo: [...graph.valueInfo],
    }),
    opsetImport: [...model.opsetImport],
  });
}

/** Adds a graph output that carries a tensor under another name; float16 and others are cast. */
export function exposeTensor(
  graph: GraphProto,
  tensor: string,
  as: string,
  { type, castFrom }: { type: number; castFrom?: number | undefined },
): void {
  const cast = castFrom !== undefined && castFrom !== type;
  graph.node.push(
    cast
      ? makeNode("Cast", [tensor], [as], { to: BigInt(type) })
      : makeNode("Identity", [tensor], [as]),
  );
  graph.output.push(makeValueInfo(as, type));
}

/**
 * Makes an inner tensor a graph output under another name, without a copy: the tensor itself is
 * renamed wherever it is made and read.
 *
 * @returns False, and nothing is changed, if the tensor is an input, a weight or an output already.
 */
export function renameToOutput(
  graph: GraphProto,
  tensor: string,
  as: string,
  type: number,
): boolean {
  if (!graph.node.some((node) => node.output.includes(tensor))) return false;
  if (graph.output.some((v) => v.name === tensor)) return false;
  for (const node of graph.node) {
    if (node.output.includes(tensor)) {
      node.output = node.output.map((name) => (name === tensor ? as : name));
    }
  }
  rewire(graph, tensor, as);
  graph.output.push(makeValueInfo(as, type));
  return true;
}

/**
 * Makes every reader of a tensor read another one instead.
 *
 * @param except - Nodes that go on reading the old one (those that compute the new one).
 * @param only - If given, the only nodes that are changed.
 */
export function rewire(
  graph: GraphProto,
  from: string,
  to: string,
  { except = [], only }: { except?: readonly NodeProto[]; only?: readonly NodeProto[] } = {},
): void {
  const spared = new Set(except);
  const chosen = only && new Set(only);
  for (const node of graph.node) {
    if (spared.has(node) || (chosen && !chosen.has(node))) continue;
    const at = node.input.indexOf(from);
    if (at >= 0) node.input = node.input.map((name) => (name === from ? to : name));
  }
}

/**
 * Turns an inner tensor into a graph input: everything that only served to compute it goes when the
 * graph is pruned.
 */
export function cutAt(graph: GraphProto, tensor: string, input: ValueInfoProto): void {
  for (const node of graph.node) {
    // The producer keeps its other outputs; this one gets a name that nobody reads.
    node.output = node.output.map((name) => (name === tensor ? `${tensor}::uncut` : name));
  }
  rewire(graph, tensor, input.name);
  graph.input.push(input);
}

/**
 * Leaves only what the named outputs need: nodes, weights, inputs and declarations; and puts the
 * nodes in an order that the runtime accepts.
 */
export function prune(graph: GraphProto, outputs: readonly string[]): void {
  const index = indexGraph(graph);
  const needed = new Set<number>();
  const names = new Set<string>();
  const stack = [...outputs];
  const readers = new Map<number, readonly string[]>();
  for (const [name, numbers] of index.consumers) {
    for (const number of numbers) {
      readers.set(number, [...(readers.get(number) ?? []), name]);
    }
  }
  while (stack.length > 0) {
    const name = stack.pop()!;
    if (names.has(name)) continue;
    names.add(name);
    const number = index.producer.get(name);
    if (number === undefined || needed.has(number)) continue;
    needed.add(number);
    stack.push(...(readers.get(number) ?? []));
  }
  graph.output = graph.output.filter((v) => outputs.includes(v.name));
  graph.node = index.order.filter((number) => needed.has(number)).map((n) => graph.node[n]!);
  graph.initializer = graph.initializer.filter((t) => names.has(t.name));
  graph.input = graph.input.filter((v) => names.has(v.name));
  const made = new Set(graph.node.flatMap((n) => n.output));
  graph.valueInfo = graph.valueInfo.filter((v) => made.has(v.name));
}
