import { ModelError, ShapeError } from "@penfield/core";
import type { ConvNode, GraphNode, NirArray, NirGraph, NirNode } from "./nir/nodes.ts";
import { isNeuron } from "./nir/nodes.ts";
import type { SimulationOptions } from "./simulate/options.ts";

/** A node that does something: anything but a graph, which only holds nodes. */
type PlainNode = Exclude<NirNode, GraphNode>;

/** More at one node than any machine runs, but than a damaged size may say. */
const MOST_UNITS = 2 ** 25;

interface Source {
  /** Place in `Network.nodes`. */
  readonly node: number;
  /** How often the file names this edge. */
  readonly count: number;
  /** Carries the value of the step before: a cycle is cut here. */
  readonly delayed: boolean;
}

export interface NetworkNode {
  /** `lif1`, and within a nested graph `block/lif1`. */
  readonly name: string;
  readonly node: PlainNode;
  readonly sources: readonly Source[];
  /** Of what comes in, and of what goes out; no axis for rows or time. */
  readonly inputShape: readonly number[];
  readonly shape: readonly number[];
  readonly nInputs: number;
  readonly nUnits: number;
}

/** Nodes that can be run whole, one after the other; those of a cycle step by step together. */
interface Group {
  readonly members: readonly number[];
  readonly cyclic: boolean;
}

/** A graph that was found to be runnable: names resolved, shapes known, cycles cut, order fixed. */
export interface Network {
  readonly nodes: readonly NetworkNode[];
  readonly groups: readonly Group[];
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  readonly delayedEdges: readonly (readonly [string, string])[];
  readonly warnings: readonly string[];
}

/**
 * Checks a graph and brings it into an order in which it can be run.
 *
 * Nested graphs are opened (`graph/node`), edges that are named several times count as often. A cycle is cut
 * where a depth-first walk from the inputs, in the order of the file, meets a node that it is still below.
 * A Delay of a step or more cuts its cycle by itself.
 *
 * @param dt - Seconds of a step: decides how many steps a Delay is.
 * @throws {ModelError} for an edge that names no node, a cycle without a neuron or a delay, a nested graph
 * with several inputs or outputs, a graph without input or output.
 * @throws {ShapeError} for shapes that disagree, with the node's name.
 */
export function planNetwork(
  { root }: NirGraph,
  { dt, delayedEdges }: { dt: number } & Pick<Partial<SimulationOptions>, "delayedEdges">,
  name = "graph.nir",
): Network {
  const flat = flatten(root, "", name);
  const names = [...flat.nodes.keys()];
  const index = new Map(names.map((n, i) => [n, i]));
  const nodes = [...flat.nodes.values()];
  const warnings: string[] = [];
  const edges = countEdges(flat.edges.map(([a, b]) => [index.get(a)!, index.get(b)!] as const));
  const successors: number[][] = nodes.map(() => []);
  for (const { source, target } of edges) successors[source]!.push(target);
  for (const list of successors) list.sort((a, b) => a - b);

  refuseLoops(nodes, successors, names, dt, name);
  // What comes out of a Delay now went in before: within a cycle its inputs put nothing in order.
  const inCycle = new Set(
    groupsOf(successors, new Map(names.map((_, i) => [i, i])))
      .filter((group) => group.cyclic)
      .flatMap((group) => group.members),
  );
  const waits = nodes.map(
    (node, i) => node.type === "Delay" && inCycle.has(i) && leastSteps(node.delay, dt) >= 1,
  );
  const immediate = successors.map((list) => list.filter((target) => !waits[target]));
  const roots = nodes.flatMap((node, i) => (node.type === "Input" ? [i] : []));
  const cut = delayedEdges
    ? namedCuts(delayedEdges, index, edges, name)
    : backEdges(immediate, roots);
  const remaining = immediate.map((list, i) => list.filter((j) => !cut.has(key(i, j))));
  const order = topologicalOrder(remaining, names, name);
  const position = new Map(order.map((node, i) => [node, i]));

  const sourcesOf = nodes.map((_, target): Source[] =>
    edges
      .filter((edge) => edge.target === target)
      .map(({ source, count }) => ({
        node: source,
        count,
        delayed: cut.has(key(source, target)),
      })),
  );
  const groups = groupsOf(successors, position);
  const shapes = inferShapes({ nodes, names, sourcesOf, order, name, warnings });
  shapes.forEach(({ input, output }, i) => {
    const large = [input, output].find((shape) => sizeOf(shape) > MOST_UNITS);
    if (!large) return;
    throw new ModelError(
      `SpikingModel: ${name}: ${names[i]} (${nodes[i]!.type}): expected at most ${MOST_UNITS} values at a node, got ${show(large)}`,
      { hint: "The file's sizes may be damaged." },
    );
  });
  const network: Network = {
    nodes: nodes.map((node, i) => ({
      name: names[i]!,
      node,
      sources: sourcesOf[i]!,
      inputShape: shapes[i]!.input,
      shape: shapes[i]!.output,
      nInputs: sizeOf(shapes[i]!.input),
      nUnits: sizeOf(shapes[i]!.output),
    })),
    groups,
    inputs: topLevel(flat.topLevel, index, "Input", nodes),
    outputs: topLevel(flat.topLevel, index, "Output", nodes),
    delayedEdges: [...cut].map((k) => {
      const [a, b] = k.split(" ").map(Number) as [number, number];
      return [names[a]!, names[b]!] as const;
    }),
    warnings: [...warnings, ...timeWarnings(nodes, names, dt)],
  };
  if (network.inputs.length === 0) throw new ModelError(`SpikingModel: ${name}: has no Input`);
  if (network.outputs.length === 0) throw new ModelError(`SpikingModel: ${name}: has no Output`);
  return network;
}

const key = (source: number, target: number): string => `${source} ${target}`;
export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const show = (shape: readonly number[]): string => `[${shape.join(", ")}]`;

interface Flat {
  readonly nodes: Map<string, PlainNode>;
  readonly edges: (readonly [string, string])[];
  readonly topLevel: ReadonlySet<string>;
}

function flatten(graph: GraphNode, prefix: string, file: string): Flat {
  const nodes = new Map<string, PlainNode>();
  const edges: (readonly [string, string])[] = [];
  const inputOf = new Map<string, string>();
  const outputOf = new Map<string, string>();
  for (const [name, node] of graph.nodes) {
    const full = prefix + name;
    if (node.type !== "NIRGraph") {
      nodes.set(full, node);
      continue;
    }
    const inner = flatten(node, `${full}/`, file);
    for (const [innerName, innerNode] of inner.nodes) nodes.set(innerName, innerNode);
    edges.push(...inner.edges);
    for (const [type, into] of [
      ["Input", inputOf],
      ["Output", outputOf],
    ] as const) {
      const ports = [...node.nodes].filter(([, child]) => child.type === type);
      if (ports.length > 1) {
        throw new ModelError(
          `SpikingModel: ${file}: expected one ${type} in the nested graph ${full}, got ${ports.length}`,
          { hint: "Edges cannot say which of them they mean; open the nested graph when writing." },
        );
      }
      if (ports[0]) into.set(name, `${full}/${ports[0][0]}`);
    }
  }
  for (const [source, target] of graph.edges) {
    const dangling = [source, target].find((end) => !graph.nodes.has(end));
    if (dangling !== undefined) {
      throw new ModelError(
        `SpikingModel: ${file}: expected edges between nodes of ${prefix === "" ? "the graph" : prefix.slice(0, -1)}, got ${source} -> ${target}: there is no node ${JSON.stringify(dangling)}`,
        { hint: `Nodes there: ${[...graph.nodes.keys()].join(", ")}.` },
      );
    }
    const from =
      graph.nodes.get(source)!.type === "NIRGraph" ? outputOf.get(source) : prefix + source;
    const to = graph.nodes.get(target)!.type === "NIRGraph" ? inputOf.get(target) : prefix + target;
    if (from === undefined || to === undefined) {
      const [which, port] = from === undefined ? [source, "Output"] : [target, "Input"];
      throw new ModelError(
        `SpikingModel: ${file}: expected an ${port} in the nested graph ${prefix}${which}, got none`,
      );
    }
    if (prefix === "" && graph.nodes.get(target)!.type === "Input") {
      throw new ModelError(
        `SpikingModel: ${file}: expected no edge into the Input ${target}, got one from ${source}`,
      );
    }
    edges.push([from, to]);
  }
  return { nodes, edges, topLevel: new Set([...graph.nodes.keys()].map((n) => prefix + n)) };
}

const topLevel = (
  names: ReadonlySet<string>,
  index: ReadonlyMap<string, number>,
  type: string,
  nodes: readonly PlainNode[],
): number[] =>
  [...names].flatMap((name) => {
    const i = index.get(name);
    return i !== undefined && nodes[i]!.type === type ? [i] : [];
  });

interface Edge {
  readonly source: number;
  readonly target: number;
  readonly count: number;
}

function countEdges(pairs: readonly (readonly [number, number])[]): Edge[] {
  const counts = new Map<string, Edge>();
  for (const [source, target] of pairs) {
    const count = (counts.get(key(source, target))?.count ?? 0) + 1;
    counts.set(key(source, target), { source, target, count });
  }
  return [...counts.values()];
}

/** The fewest steps by which a Delay holds anything back. */
export const leastSteps = (delay: NirArray, dt: number): number =>
  delay.data.reduce((least, seconds) => Math.min(least, Math.round(seconds / dt)), Infinity);

function refuseLoops(
  nodes: readonly PlainNode[],
  successors: readonly (readonly number[])[],
  names: readonly string[],
  dt: number,
  file: string,
): void {
  const holds = nodes.map(
    (node) => isNeuron(node) || (node.type === "Delay" && leastSteps(node.delay, dt) >= 1),
  );
  const stateless = successors.map((list, i) => (holds[i] ? [] : list.filter((j) => !holds[j])));
  const [loop] = [...backEdges(stateless, [])];
  if (loop === undefined) return;
  const [from, to] = loop.split(" ").map(Number) as [number, number];
  const path = pathBetween(stateless, to, from).map((i) => names[i]);
  throw new ModelError(
    `SpikingModel: ${file}: expected a neuron or a delay in every cycle, got the algebraic loop ${[...path, names[to]].join(" -> ")}`,
    { hint: "Its values would depend on themselves within one step." },
  );
}

function pathBetween(
  successors: readonly (readonly number[])[],
  from: number,
  to: number,
): number[] {
  const before = new Map<number, number>([[from, -1]]);
  const queue = [from];
  for (const at of queue) {
    for (const next of successors[at]!) {
      if (before.has(next)) continue;
      before.set(next, at);
      queue.push(next);
    }
  }
  const path: number[] = [];
  for (let at = to; at !== -1; at = before.get(at)!) path.unshift(at);
  return path;
}

/** Edges that lead back to a node that the walk is still below. */
function backEdges(
  successors: readonly (readonly number[])[],
  roots: readonly number[],
): Set<string> {
  const state = new Uint8Array(successors.length);
  const found = new Set<string>();
  for (const root of [...roots, ...successors.keys()]) {
    if (state[root] !== 0) continue;
    const stack = [{ node: root, next: 0 }];
    state[root] = 1;
    while (stack.length > 0) {
      const top = stack.at(-1)!;
      const target = successors[top.node]![top.next++];
      if (target === undefined) {
        state[top.node] = 2;
        stack.pop();
      } else if (state[target] === 1) {
        found.add(key(top.node, target));
      } else if (state[target] === 0) {
        state[target] = 1;
        stack.push({ node: target, next: 0 });
      }
    }
  }
  return found;
}

function namedCuts(
  wanted: readonly (readonly [string, string])[],
  index: ReadonlyMap<string, number>,
  edges: readonly Edge[],
  file: string,
): Set<string> {
  const known = new Set(edges.map(({ source, target }) => key(source, target)));
  return new Set(
    wanted.map(([source, target]) => {
      const edge = key(index.get(source) ?? -1, index.get(target) ?? -1);
      if (!known.has(edge)) {
        throw new ModelError(
          `SpikingModel: ${file}: expected delayedEdges among the edges of the graph, got ${source} -> ${target}`,
        );
      }
      return edge;
    }),
  );
}

function topologicalOrder(
  successors: readonly (readonly number[])[],
  names: readonly string[],
  file: string,
): number[] {
  const waiting = new Int32Array(successors.length);
  for (const list of successors) for (const target of list) waiting[target]!++;
  const ready = [...successors.keys()].filter((i) => waiting[i] === 0);
  const order: number[] = [];
  for (const at of ready) {
    order.push(at);
    for (const target of successors[at]!) if (--waiting[target]! === 0) ready.push(target);
  }
  if (order.length < successors.length) {
    const stuck = names.filter((_, i) => waiting[i]! > 0);
    throw new ModelError(
      `SpikingModel: ${file}: expected delayedEdges that cut every cycle, got one left among ${stuck.join(", ")}`,
    );
  }
  return order;
}

/** Strongly connected parts in an order in which they can be run (Tarjan, without recursion). */
function groupsOf(
  successors: readonly (readonly number[])[],
  position: ReadonlyMap<number, number>,
): Group[] {
  const n = successors.length;
  const number = new Int32Array(n).fill(-1);
  const low = new Int32Array(n);
  const onStack = new Uint8Array(n);
  const stack: number[] = [];
  const groups: Group[] = [];
  let counter = 0;
  for (let root = 0; root < n; root++) {
    if (number[root] !== -1) continue;
    const calls = [{ node: root, next: 0 }];
    while (calls.length > 0) {
      const call = calls.at(-1)!;
      const { node } = call;
      if (call.next === 0) {
        number[node] = low[node] = counter++;
        stack.push(node);
        onStack[node] = 1;
      }
      const target = successors[node]![call.next++];
      if (target !== undefined) {
        if (number[target] === -1) calls.push({ node: target, next: 0 });
        else if (onStack[target]) low[node] = Math.min(low[node]!, number[target]!);
        continue;
      }
      calls.pop();
      const parent = calls.at(-1);
      if (parent) low[parent.node] = Math.min(low[parent.node]!, low[node]!);
      if (low[node] !== number[node]) continue;
      const members: number[] = [];
      for (let member = -1; member !== node; ) {
        member = stack.pop()!;
        onStack[member] = 0;
        members.push(member);
      }
      members.sort((a, b) => position.get(a)! - position.get(b)!);
      const cyclic = members.length > 1 || successors[node]!.includes(node);
      groups.push({ members, cyclic });
    }
  }
  return groups.reverse();
}

interface Shapes {
  readonly input: readonly number[];
  readonly output: readonly number[];
}

function inferShapes({
  nodes,
  names,
  sourcesOf,
  order,
  name: file,
  warnings,
}: {
  nodes: readonly PlainNode[];
  names: readonly string[];
  sourcesOf: readonly (readonly Source[])[];
  order: readonly number[];
  name: string;
  warnings: string[];
}): Shapes[] {
  const shapes: Shapes[] = new Array(nodes.length);
  for (const i of order) {
    const node = nodes[i]!;
    const at = `SpikingModel: ${file}: ${names[i]} (${node.type})`;
    const known = sourcesOf[i]!.filter((source) => shapes[source.node] !== undefined);
    const [first, ...rest] = known.map((source) => shapes[source.node]!.output);
    const other = rest.find((shape) => sizeOf(shape) !== sizeOf(first!));
    if (other) {
      throw new ShapeError(
        `${at}: expected sources of one shape, got ${show(first!)} and ${show(other)}`,
      );
    }
    if (sourcesOf[i]!.length === 0 && node.type !== "Input") {
      warnings.push(`${names[i]}: nothing leads to it; it gets zeros`);
    }
    shapes[i] = shapesOf(node, first, at, warnings, names[i]!);
  }
  // Edges that close a cycle could not be looked at before.
  sourcesOf.forEach((sources, i) => {
    for (const { node } of sources) {
      if (sizeOf(shapes[node]!.output) === sizeOf(shapes[i]!.input)) continue;
      throw new ShapeError(
        `SpikingModel: ${file}: ${names[i]} (${nodes[i]!.type}): expected ${show(shapes[i]!.input)}, got ${show(shapes[node]!.output)} from ${names[node]}`,
      );
    }
  });
  return shapes;
}

function shapesOf(
  node: PlainNode,
  given: readonly number[] | undefined,
  at: string,
  warnings: string[],
  name: string,
): Shapes {
  const unknown = (): never => {
    throw new ShapeError(
      `${at}: expected something to lead to it, got nothing its shape follows from`,
    );
  };
  const same = (own: readonly number[]): Shapes => {
    const single = sizeOf(own) === 1;
    if (given === undefined) return { input: own, output: own };
    if (single && sizeOf(given) !== 1) return { input: given, output: given };
    if (sizeOf(own) !== sizeOf(given)) {
      throw new ShapeError(`${at}: expected ${show(own)}, got ${show(given)}`);
    }
    return { input: given, output: own };
  };
  switch (node.type) {
    case "Input":
    case "Output": {
      if (given !== undefined && sizeOf(given) !== sizeOf(node.shape)) {
        throw new ShapeError(`${at}: expected ${show(node.shape)}, got ${show(given)}`);
      }
      if (given !== undefined && show(given) !== show(node.shape)) {
        warnings.push(`${name}: declared ${show(node.shape)}, is ${show(given)}`);
      }
      const shape = given ?? node.shape;
      return { input: shape, output: shape };
    }
    case "Affine":
    case "Linear": {
      const [nOut, nIn] = node.weight.shape.slice(-2) as [number, number];
      const lead = node.weight.shape.slice(0, -2);
      const outShape = [...lead, nOut];
      if (node.bias && ![nOut, sizeOf(outShape)].includes(node.bias.data.length)) {
        throw new ShapeError(
          `${at}: expected a bias for each of ${nOut} units, got ${show(node.bias.shape)}`,
        );
      }
      const input = given ?? [...lead, nIn];
      if (lead.length > 0) {
        if (sizeOf(input) === sizeOf([...lead, nIn])) return { input, output: outShape };
      } else if (sizeOf(input) === nIn) {
        return { input, output: [nOut] };
      } else if (input.at(-1) === nIn) {
        // As torch: all axes but the last are rows.
        return { input, output: [...input.slice(0, -1), nOut] };
      }
      throw new ShapeError(
        `${at}: expected ${show([...lead, nIn])} for a weight of ${show(node.weight.shape)}, got ${show(input)}`,
      );
    }
    case "Conv1d":
    case "Conv2d":
      return convShapes(node, given, at);
    case "SumPool2d":
    case "AvgPool2d": {
      const input = given ?? unknown();
      if (input.length !== 3) {
        throw new ShapeError(`${at}: expected [channels, height, width], got ${show(input)}`);
      }
      const [channels, ...image] = input as [number, number, number];
      const output = image.map((size, d) =>
        slots(size, node.kernel[d]!, node.stride[d]!, 2 * node.padding[d]!, 1),
      );
      refuseEmpty(output, at, input);
      return { input, output: [channels, ...output] };
    }
    case "Flatten": {
      const input = given ?? node.inputShape ?? unknown();
      if (node.inputShape && sizeOf(node.inputShape) !== sizeOf(input)) {
        throw new ShapeError(`${at}: expected ${show(node.inputShape)}, got ${show(input)}`);
      }
      const shape = node.inputShape ?? input;
      const start = node.startDim < 0 ? shape.length + node.startDim : node.startDim;
      const end = node.endDim < 0 ? shape.length + node.endDim : node.endDim;
      // A vector with the default start of 1 is flat already.
      if (start >= shape.length && shape.length === 1) return { input: shape, output: shape };
      if (start < 0 || end < start || end >= shape.length) {
        throw new ShapeError(
          `${at}: expected axes within ${show(shape)}, got ${node.startDim} to ${node.endDim}`,
        );
      }
      const output = [
        ...shape.slice(0, start),
        sizeOf(shape.slice(start, end + 1)),
        ...shape.slice(end + 1),
      ];
      return { input: shape, output };
    }
    case "Scale":
      return same(node.scale.shape);
    case "Threshold":
      return same(node.threshold.shape);
    case "Delay":
      return same(node.delay.shape);
    default: {
      const arrays = Object.values(node).filter((v): v is NirArray => typeof v === "object");
      const largest = arrays.reduce((a, b) => (b.data.length > a.data.length ? b : a));
      return same(largest.shape);
    }
  }
}

const slots = (size: number, kernel: number, stride: number, padding: number, dilation: number) =>
  Math.floor((size + padding - dilation * (kernel - 1) - 1) / stride) + 1;

function refuseEmpty(output: readonly number[], at: string, input: readonly number[]): void {
  if (output.some((size) => size < 1)) {
    throw new ShapeError(
      `${at}: expected an input at least as large as the kernel, got ${show(input)}`,
    );
  }
}

function convShapes(node: ConvNode, given: readonly number[] | undefined, at: string): Shapes {
  const [nOut, perGroup, ...kernel] = node.weight.shape as [number, number, ...number[]];
  const channels = perGroup * node.groups;
  const declared = node.inputShape && [channels, ...node.inputShape];
  const input = given ?? declared;
  const plain = node.type === "Conv1d" ? "[channels, length]" : "[channels, height, width]";
  if (input === undefined || input.length !== kernel.length + 1) {
    throw new ShapeError(`${at}: expected ${plain}, got ${input ? show(input) : "no shape"}`);
  }
  if (input[0] !== channels) {
    throw new ShapeError(
      `${at}: expected ${channels} channels for a weight of ${show(node.weight.shape)} in ${node.groups} groups, got ${show(input)}`,
    );
  }
  if (declared && show(declared) !== show(input)) {
    throw new ShapeError(
      `${at}: expected ${show(declared)} as its input_shape says, got ${show(input)}`,
    );
  }
  const offset = 2 - kernel.length;
  const output = kernel.map((size, d) =>
    node.padding === "same"
      ? input[d + 1]!
      : slots(
          input[d + 1]!,
          size,
          node.stride[d + offset]!,
          2 * node.padding[d + offset]!,
          node.dilation[d + offset]!,
        ),
  );
  refuseEmpty(output, at, input);
  return { input, output: [nOut, ...output] };
}

/** Steps that are coarse beside a time constant, with the numbers. */
function timeWarnings(nodes: readonly PlainNode[], names: readonly string[], dt: number): string[] {
  return nodes.flatMap((node, i) => {
    const taus: (readonly [string, NirArray])[] =
      node.type === "LIF" || node.type === "LI"
        ? [["tau", node.tau]]
        : node.type === "CubaLIF" || node.type === "CubaLI"
          ? [
              ["tau_syn", node.tauSyn],
              ["tau_mem", node.tauMem],
            ]
          : [];
    const coarse = taus.flatMap(([what, { data }]) => {
      const least = data.reduce((a, b) => Math.min(a, b), Infinity);
      return dt > least ? [`${names[i]}: dt = ${dt} is larger than ${what} = ${least}`] : [];
    });
    if (node.type !== "Delay") return coarse;
    const off = node.delay.data.find((d) => Math.abs(d / dt - Math.round(d / dt)) > 1e-6);
    return off === undefined
      ? coarse
      : [`${names[i]}: a delay of ${off} is no whole number of steps of ${dt}; it is rounded`];
  });
}
