import type { NodeProto } from "@penfield/onnx";
import { FUSED_ATTENTION, type GraphView, SHAPE_ONLY } from "./graphView.ts";

/** A place where a branch is added to a residual stream. */
interface ResidualAdd {
  readonly skip: string;
  readonly branch: string;
  readonly sum: string;
  readonly writers: readonly Writer[];
  /** The branch reads the state before its sibling was added. */
  readonly parallel: boolean;
}

/** The last weight matrix of a branch, and what kind of branch it ends. */
export interface Writer {
  readonly node: NodeProto;
  /** What the matrix reads, before quantisation and flattening. */
  readonly source: string;
  readonly kind: "attn" | "cross_attn" | "mlp";
  /** Nodes between the residual stream and the writer, in the order in which they run. */
  readonly inside: readonly number[];
}

/** One stack of blocks: a model has one, an encoder-decoder or a two-tower model two. */
export interface Stream {
  /** `encoder`, `decoder`, `text`, `vision`, `audio`; undefined where there is only one. */
  name: string | undefined;
  readonly adds: ResidualAdd[];
}

/**
 * Finds the residual streams of a graph: a residual sum is an Add one of whose operands is computed
 * from the other through a weight matrix; a stream is a chain of such sums with attention among their
 * branches.
 *
 * @returns Streams in the order of their names: an encoder before the decoder that reads it.
 */
export function findStreams(view: GraphView): Stream[] {
  const streams: (Stream & { readonly number: number; readonly reads: Set<number> })[] = [];
  const sums = new Map<string, ResidualAdd>();
  const hidden = view.hiddenStates();
  /** For each tensor the streams that it depends on. */
  const upstream = new Map<string, ReadonlySet<number>>();
  const dependsOn = (tensor: string): ReadonlySet<number> => upstream.get(tensor) ?? NONE;

  for (const number of view.index.order) {
    const node = view.node(number);
    const union = unionOf(node.input.map(dependsOn));
    const add = residualAdd(node);
    if (!add) {
      if (union.size > 0) for (const name of node.output) upstream.set(name, union);
      continue;
    }
    // A skip is the stream's last sum, or that sum's norm. This keeps apart the position biases
    // that some models add to every layer's attention scores.
    let own = streams.findIndex(({ adds }) => {
      const last = adds.at(-1)!.sum;
      return add.skip === last || isNormOf(view, add.skip, last);
    });
    if (own < 0) {
      own = streams.length;
      streams.push({ name: undefined, number: own, adds: [], reads: new Set() });
    }
    const stream = streams[own]!;
    stream.adds.push(add);
    for (const other of union) if (other !== own) stream.reads.add(other);
    sums.set(add.sum, add);
    upstream.set(add.sum, new Set([...union, own]));
  }
  const transformers = streams.filter(({ adds }) =>
    adds.some(({ writers }) => writers.some((w) => w.kind === "attn")),
  );
  const named = nameStreams(view, transformers);
  return named.sort((a, b) => (a.name ?? "").localeCompare(b.name ?? "")).sort(byReading);

  function residualAdd(node: NodeProto): ResidualAdd | undefined {
    if (node.opType !== "Add") return undefined;
    const operands = node.input.filter((n) => view.isActivation(n));
    if (operands.length !== 2 || operands[0] === operands[1]) return undefined;
    const [a, b] = operands as [string, string];
    for (const [skip, branch] of [
      [a, b],
      [b, a],
    ] as const) {
      if (!hidden.has(skip)) continue;
      const continued = streams.some(({ adds }) => {
        const last = adds.at(-1)!.sum;
        return skip === last || isNormOf(view, skip, last);
      });
      // A new stream comes from no other: what depends on one is its read-out, or a bias.
      if (!continued && (dependsOn(skip).size > 0 || dependsOn(branch).size > 0)) continue;
      // In a parallel block the branch reads the state before the sibling was added.
      const before = sums.get(skip)?.skip;
      const origins = [skip, codesOf(view, skip), before].filter((t) => t !== undefined);
      const origin = origins.find(
        (t) => view.rankOf(t) < view.rankOf(branch) && view.back(branch, t).met,
      );
      if (origin === undefined) continue;
      const { ends } = view.back(branch, origin, (n) => view.isLinear(n));
      const writers = ends
        .map((end) => describeWriter(view, view.node(end), origin))
        .filter((writer) => writer !== undefined);
      if (writers.length === 0) continue;
      return { skip, branch, sum: node.output[0]!, writers, parallel: origin === before };
    }
    return undefined;
  }
}

/**
 * The eight-bit codes that a tensor is decoded from, if others read them too: token vectors of a
 * quantised table, whose first block multiplies the codes themselves.
 */
export function codesOf(view: GraphView, tensor: string): string | undefined {
  const producer = view.producerOf(tensor);
  const codes = producer?.opType === "DequantizeLinear" ? producer.input[0] : undefined;
  return codes !== undefined && view.readersOf(codes).length > 1 ? codes : undefined;
}

const NONE: ReadonlySet<number> = new Set();

function unionOf(sets: readonly ReadonlySet<number>[]): ReadonlySet<number> {
  const full = sets.filter((s) => s.size > 0);
  const [first] = full;
  if (first === undefined) return NONE;
  return full.every((s) => s === first) ? first : new Set(full.flatMap((s) => [...s]));
}

const byReading = (a: Stream, b: Stream): number =>
  Number(a.name === "decoder") - Number(b.name === "decoder");

/** What kind of input a stream begins with, by the names that exporters agree on. */
const MODALITIES: readonly (readonly [RegExp, string])[] = [
  [/pixel|image/, "vision"],
  [/input_(values|features)|audio|mel/, "audio"],
  [/input_ids|text/, "text"],
];

function nameStreams(
  view: GraphView,
  streams: readonly (Stream & { readonly number: number; readonly reads: Set<number> })[],
): Stream[] {
  if (streams.length < 2) return [...streams];
  const read = new Set(streams.flatMap((s) => [...s.reads]));
  const taken = new Map<string, number>();
  return streams.map((stream) => {
    const inputs = view.inputsOf(stream.adds[0]!.skip).join(" ");
    const modality = MODALITIES.find(([pattern]) => pattern.test(inputs))?.[1] ?? "stack";
    const base = stream.reads.size > 0 ? "decoder" : read.has(stream.number) ? "encoder" : modality;
    const before = taken.get(base) ?? 0;
    taken.set(base, before + 1);
    return { name: before === 0 ? base : `${base}${before + 1}`, adds: stream.adds };
  });
}

/** Undefined if the matrix does not lie between the stream and the sum (it makes a bias or a code). */
function describeWriter(view: GraphView, node: NodeProto, origin: string): Writer | undefined {
  const source = view.linearInput(node);
  const inside = view.between(origin, source);
  if (source !== origin && inside.length === 0) return undefined;
  const within = new Set(inside);
  const fused = inside.map((n) => view.node(n)).find((n) => FUSED_ATTENTION.has(n.opType));
  if (fused) {
    const keys = fused.input[1];
    const own = !keys || keys === origin || within.has(view.index.producer.get(keys) ?? -1);
    return { node, source, inside, kind: own ? "attn" : "cross_attn" };
  }
  // Attention weights multiply values; the softmax of a router or a gate does not.
  for (const number of inside) {
    const { opType, output } = view.node(number);
    if (opType !== "Softmax") continue;
    const product = productWithValues(view, output[0]!, inside);
    if (!product) continue;
    const own = product.input.every(
      (name) => name === origin || within.has(view.index.producer.get(name) ?? -1),
    );
    return { node, source, inside, kind: own ? "attn" : "cross_attn" };
  }
  return { node, source, inside, kind: "mlp" };
}

/** The product in which attention weights meet values, if a softmax leads to one. */
export function productWithValues(
  view: GraphView,
  softmax: string,
  inside: readonly number[],
): NodeProto | undefined {
  let tensor = softmax;
  for (let step = 0; step < 8; step++) {
    const readers = view.readersOf(tensor).filter((n) => n.opType !== "Shape");
    const product = readers.find((n) => PRODUCT.has(n.opType) && !view.isLinear(n));
    if (product) return inside.some((n) => view.node(n) === product) ? product : undefined;
    const next = readers.find(
      (n) => SHAPE_ONLY.has(n.opType) || n.opType === "Where" || n.opType === "Mul",
    );
    if (!next) return undefined;
    tensor = next.output[0]!;
  }
  return undefined;
}

const PRODUCT = new Set(["MatMul", "Einsum", "FusedMatMul"]);

/** Whether a tensor is the norm of a sum: computed from it without a weight matrix. */
export function isNormOf(view: GraphView, tensor: string, sum: string): boolean {
  const { met, nodes } = view.back(tensor, sum);
  return met && !nodes.some((n) => view.isLinear(view.node(n)));
}
