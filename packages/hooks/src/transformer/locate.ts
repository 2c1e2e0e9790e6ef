import { ModelError } from "@penfield/core";
import {
  attribute,
  elementType,
  type GraphIndex,
  indexGraph,
  inferElementTypes,
  inferRanks,
  type ModelProto,
  type NodeProto,
} from "@penfield/onnx";
import type { HookKind } from "../hookPoint.ts";

/** A tensor that a hook point names, as it was found in the graph. */
export interface LocatedHook {
  readonly kind: HookKind;
  readonly layer: number | undefined;
  readonly tensor: string;
  /** ONNX element type. */
  readonly type: number;
  /** Batch and position are one axis here: `[batch * pos, unit]`. */
  readonly flattened: boolean;
  /** How heads lie in a tensor with four axes: before the head's values, or before the positions. */
  readonly layout?: "bphd" | "bhpd" | undefined;
  readonly writable: boolean;
  readonly reason: string | undefined;
}

/** One block: what it reads from the residual stream and what it adds to it. */
interface Block {
  residPre: string;
  residMid: string | undefined;
  residPost: string;
  parallel: boolean;
  hasMlp: boolean;
}

/** A transformer as its graph shows it. */
export interface Located {
  readonly index: GraphIndex;
  readonly hooks: readonly LocatedHook[];
  readonly nLayers: number;
  readonly parallelAttnMlp: boolean;
  readonly gatedMlp: boolean;
  /** True where a norm stands between the residual sum and the next block (BERT). */
  readonly postNorm: boolean;
  /** Graph output with scores over the vocabulary, if the model has one. */
  readonly logits: string | undefined;
  /** What the last matrix before the logits reads, if it is `[batch, pos, unit]`. */
  readonly unembedInput: string | undefined;
  /** Graph output with the last hidden states of an encoder, if it has one. */
  readonly lastHiddenState: string | undefined;
  /** Nodes that make results depend on the other rows of a batch. */
  readonly batchDependent: number;
}

const FLOATS = new Set<number>([
  elementType.float32,
  elementType.float16,
  elementType.float64,
  elementType.bfloat16,
]);
const LINEAR = new Set([
  "MatMul",
  "Gemm",
  "FusedMatMul",
  "FusedGemm",
  "MatMulNBits",
  "MatMulInteger",
  "MatMulIntegerToFloat",
  "DynamicQuantizeMatMul",
  "QLinearMatMul",
]);
const FUSED_ATTENTION = new Set([
  "Attention",
  "MultiHeadAttention",
  "GroupQueryAttention",
  "DecoderMaskedMultiHeadAttention",
  "PackedMultiHeadAttention",
]);
const ACTIVATION = new Set([
  "Relu",
  "Gelu",
  "FastGelu",
  "BiasGelu",
  "QuickGelu",
  "Sigmoid",
  "Tanh",
  "Erf",
  "Silu",
  "Swish",
  "HardSwish",
  "Softplus",
  "Mish",
  "LeakyRelu",
  "Elu",
]);
const SHAPE_ONLY = new Set([
  "Reshape",
  "Cast",
  "Squeeze",
  "Unsqueeze",
  "Flatten",
  "Identity",
  "Dropout",
]);

const POINTWISE = new Set(["Add", "Mul", "Div", "Tanh", "Cast", "Identity"]);

/** A place where a branch is added to the residual stream. */
interface ResidualAdd {
  readonly skip: string;
  readonly branch: string;
  readonly sum: string;
  readonly node: NodeProto;
  readonly writers: readonly Writer[];
  /** The branch reads the state before its sibling was added. */
  readonly parallel: boolean;
}

/** The last weight matrix of a branch, and what kind of branch it ends. */
interface Writer {
  readonly node: NodeProto;
  readonly source: string;
  readonly kind: "attn" | "mlp";
  /** Nodes between the residual stream and the writer. */
  readonly inside: readonly number[];
}

/**
 * Finds a transformer's residual stream, attention and MLPs by the structure of its graph alone: a
 * residual sum is an Add one of whose operands is computed from the other through a weight matrix.
 * No architecture's names are used.
 *
 * @throws {ModelError} if the graph has no residual stream with attention in it; says what was
 *   found instead.
 *
 * Cost: each residual sum looks back as far as its own skip, so linear in the graph for stacked blocks.
 */
export function locate(model: ModelProto): Located {
  const index = indexGraph(model.graph!);
  const view = new GraphView(index);
  const adds = findResidualAdds(view);
  if (!adds.some((add) => add.writers.some((w) => w.kind === "attn"))) {
    const ops = [...new Set(model.graph!.node.map((n) => n.opType))];
    throw new ModelError(
      `locate: expected a transformer (attention and MLP branches added to a residual stream), got ${adds.length} residual sums and no attention among ${model.graph!.node.length} nodes (${ops.slice(0, 12).join(", ")}${ops.length > 12 ? ", …" : ""})`,
      { hint: "Penfield opens transformers; other networks have no hook points to find." },
    );
  }
  const hooks: LocatedHook[] = [];
  const ranks = inferRanks(index);
  const add = (
    kind: HookKind,
    layer: number | undefined,
    tensor: string,
    extra: HookExtra = {},
  ): void => {
    hooks.push({
      kind,
      layer,
      tensor,
      type: view.types.get(tensor) ?? elementType.float32,
      flattened: ranks.get(tensor) === 2,
      writable: true,
      reason: undefined,
      ...extra,
    });
  };

  const embed = view.embedding();
  if (embed) add("hook_embed", undefined, embed);
  const blocks: Block[] = [];
  let gatedMlp = false;
  for (const sum of adds) {
    const attn = sum.writers.find((w) => w.kind === "attn");
    const mlp = sum.writers.find((w) => w.kind === "mlp");
    const open = blocks.at(-1);
    // An MLP belongs to the block of the attention whose sum it adds to: to that sum itself, or,
    // where norms follow the sums (BERT), to its norm.
    const follows =
      !attn &&
      open?.hasMlp === false &&
      (open.residPost === sum.skip || isNormOf(view, sum.skip, open.residPost));
    // In a parallel block either branch may be added first.
    const continues = open !== undefined && (follows || sum.parallel);
    if (continues) {
      open.parallel = sum.parallel;
      if (!sum.parallel) open.residMid = open.residPost;
      open.residPost = sum.sum;
      open.hasMlp ||= mlp !== undefined;
    } else {
      blocks.push({
        residPre: sum.skip,
        residMid: undefined,
        residPost: sum.sum,
        parallel: attn !== undefined && mlp !== undefined,
        hasMlp: mlp !== undefined,
      });
    }
    const layer = blocks.length - 1;
    const both = attn !== undefined && mlp !== undefined;
    if (attn) {
      add("hook_attn_out", layer, both ? view.branchEnd(attn.node) : sum.branch);
      addAttention(view, attn, layer, ranks, add);
    }
    if (mlp) {
      add("hook_mlp_out", layer, both ? view.branchEnd(mlp.node) : sum.branch);
      gatedMlp = addMlp(view, mlp, layer, add) || gatedMlp;
    }
  }
  blocks.forEach((block, layer) => {
    add("hook_resid_pre", layer, block.residPre);
    if (block.residMid) add("hook_resid_mid", layer, block.residMid);
    add("hook_resid_post", layer, block.residPost);
  });
  return {
    index,
    hooks,
    nLayers: blocks.length,
    parallelAttnMlp: blocks.every((b) => b.parallel),
    gatedMlp,
    postNorm: blocks.length > 1 && blocks[1]!.residPre !== blocks[0]!.residPost,
    logits: view.outputNamed("logits"),
    unembedInput: unembedInput(view, ranks),
    lastHiddenState: view.outputNamed("last_hidden_state"),
    batchDependent: model.graph!.node.filter(
      (n) => n.opType === "DynamicQuantizeLinear" || n.opType === "DynamicQuantizeMatMul",
    ).length,
  };
}

/** Questions about a graph's flow of activations: float tensors that are not constants. */
class GraphView {
  readonly index: GraphIndex;
  readonly types: ReadonlyMap<string, number>;
  readonly #scales: ReadonlySet<string>;

  constructor(index: GraphIndex) {
    this.index = index;
    this.types = inferElementTypes(index);
    this.#scales = quantisationScales(index);
  }

  node(number: number): NodeProto {
    return this.index.graph.node[number]!;
  }

  producerOf(tensor: string): NodeProto | undefined {
    const number = this.index.producer.get(tensor);
    return number === undefined ? undefined : this.node(number);
  }

  readersOf(tensor: string): NodeProto[] {
    return (this.index.consumers.get(tensor) ?? []).map((n) => this.node(n));
  }

  isActivation(tensor: string): boolean {
    if (tensor === "" || this.index.isConstant(tensor) || this.#scales.has(tensor)) return false;
    // Integer products of quantised layers carry activations too.
    const type = this.types.get(tensor) ?? elementType.float32;
    return FLOATS.has(type) || type === elementType.int32 || type === elementType.uint8;
  }

  /** Whether `to` is computed from `from` by way of no more than reshapes, masks, scales and casts. */
  reaches(to: string, from: string): boolean {
    const seen = new Set<string>();
    const stack = [to];
    while (stack.length > 0) {
      const tensor = stack.pop()!;
      if (tensor === from) return true;
      const node = this.producerOf(tensor);
      if (!node || seen.has(tensor) || this.rankOf(tensor) <= this.rankOf(from)) continue;
      seen.add(tensor);
      if (node.opType === "MatMul" || node.opType === "FusedMatMul") continue;
      stack.push(...this.activationInputs(node));
    }
    return false;
  }

  activationInputs(node: NodeProto): string[] {
    return [...new Set(node.input)].filter((name) => this.isActivation(name));
  }

  rankOf(tensor: string): number {
    const number = this.index.producer.get(tensor);
    return number === undefined ? -1 : this.index.rank[number]!;
  }

  isLinear(node: NodeProto): boolean {
    if (!LINEAR.has(node.opType)) return false;
    const weight = node.input[node.opType === "QLinearMatMul" ? 3 : 1];
    return weight !== undefined && this.index.isConstant(weight);
  }

  /**
   * Nodes on the way back from `from`, never going past `stop`; linears in `ends` end the walk.
   * `met` says whether `stop` was reached.
   */
  back(
    from: string,
    stop: string,
    endsAt: (node: NodeProto) => boolean = () => false,
  ): { met: boolean; nodes: number[]; ends: number[] } {
    const floor = this.rankOf(stop);
    const seen = new Set<number>();
    const nodes: number[] = [];
    const ends: number[] = [];
    let met = false;
    const stack = [from];
    while (stack.length > 0) {
      const tensor = stack.pop()!;
      if (tensor === stop) {
        met = true;
        continue;
      }
      const number = this.index.producer.get(tensor);
      if (number === undefined || seen.has(number) || this.index.rank[number]! <= floor) continue;
      seen.add(number);
      const node = this.node(number);
      if (endsAt(node)) {
        ends.push(number);
        continue;
      }
      nodes.push(number);
      stack.push(...this.activationInputs(node));
    }
    return { met, nodes, ends };
  }

  /** The tensor that a writer's product has become where its branch ends or meets another branch. */
  branchEnd(writer: NodeProto): string {
    let tensor = writer.output[0]!;
    for (;;) {
      const readers = this.readersOf(tensor).filter((n) => n.opType !== "Shape");
      const next = readers[0];
      if (readers.length !== 1 || next === undefined) return tensor;
      const alone = this.activationInputs(next).length === 1;
      if (!alone || this.isLinear(next)) return tensor;
      tensor = next.output[0]!;
    }
  }

  /** A linear's product after its bias and reshapes: what PyTorch's module returns. */
  linearOutput(linear: NodeProto): string {
    let tensor = linear.output[0]!;
    for (;;) {
      const readers = this.readersOf(tensor).filter((n) => n.opType !== "Shape");
      const next = readers.length === 1 ? readers[0] : undefined;
      if (!next) return tensor;
      const bias =
        (next.opType === "Add" || next.opType === "Mul") &&
        this.activationInputs(next).length === 1;
      if (!bias && !SHAPE_ONLY.has(next.opType)) return tensor;
      tensor = next.output[0]!;
    }
  }

  /** A linear's data input, before it is quantised or its batch and position are flattened into one axis. */
  linearInput(linear: NodeProto): string {
    let tensor = linear.input[0]!;
    const producer = this.producerOf(tensor);
    if (producer?.opType === "DynamicQuantizeLinear" || producer?.opType === "QuantizeLinear") {
      tensor = producer.input[0]!;
    }
    const flatten = this.producerOf(tensor);
    return linear.opType.endsWith("Gemm") && flatten?.opType === "Reshape"
      ? flatten.input[0]!
      : tensor;
  }

  /** Rows of a table of learnt vectors, picked by token, position or segment. */
  isLookUp(node: NodeProto): boolean {
    const [table = "", picks = ""] = node.input;
    return (
      (node.opType === "Gather" || node.opType === "GatherBlockQuantized") &&
      this.index.isConstant(table) &&
      this.isFloat(node.output[0]!) &&
      !this.index.isConstant(picks)
    );
  }

  isFloat(tensor: string): boolean {
    return FLOATS.has(this.types.get(tensor) ?? 0);
  }

  /** The look-up of token vectors: the one that reads the model's input_ids. */
  embedding(): string | undefined {
    const number = this.index.order.find((n) => {
      const node = this.node(n);
      if (!this.isLookUp(node)) return false;
      let picks = node.input[1]!;
      for (;;) {
        const producer = this.producerOf(picks);
        if (!producer || !SHAPE_ONLY.has(producer.opType)) return picks.endsWith("input_ids");
        picks = producer.input[0]!;
      }
    });
    return number === undefined ? undefined : this.node(number).output[0];
  }

  /** Tensors that learnt weights have gone into: hidden states, not masks or position codes. */
  hiddenStates(): ReadonlySet<string> {
    const hidden = new Set<string>();
    for (const number of this.index.order) {
      const node = this.node(number);
      const learnt =
        this.isLinear(node) ||
        this.isLookUp(node) ||
        node.opType === "Conv" ||
        this.activationInputs(node).some((name) => hidden.has(name));
      if (learnt) for (const name of node.output) hidden.add(name);
    }
    return hidden;
  }

  outputNamed(wanted: string): string | undefined {
    return this.index.graph.output.find((v) => v.name === wanted)?.name;
  }
}

/**
 * Scales and zero points that dynamic quantisation computes, and what is computed from them alone.
 * They come from activations but go past the weights: a walk that took them would leave its branch.
 */
function quantisationScales(index: GraphIndex): ReadonlySet<string> {
  const scales = new Set<string>();
  for (const number of index.order) {
    const { opType, input, output } = index.graph.node[number]!;
    const changing = input.filter((name) => name !== "" && !index.isConstant(name));
    if (opType === "DynamicQuantizeLinear") for (const name of output.slice(1)) scales.add(name);
    else if (changing.length > 0 && changing.every((name) => scales.has(name))) {
      for (const name of output) scales.add(name);
    }
  }
  return scales;
}

/** Walks back from the logits, through caps and biases, to the matrix that makes them. */
function unembedInput(view: GraphView, ranks: ReadonlyMap<string, number>): string | undefined {
  let tensor = view.outputNamed("logits") ?? "";
  for (;;) {
    const producer = view.producerOf(tensor);
    if (!producer) return undefined;
    if (view.isLinear(producer)) {
      const input = producer.input[0]!;
      return producer.opType === "MatMul" && ranks.get(input) === 3 ? input : undefined;
    }
    if (view.activationInputs(producer).length !== 1 || !POINTWISE.has(producer.opType))
      return undefined;
    tensor = view.activationInputs(producer)[0]!;
  }
}

function findResidualAdds(view: GraphView): ResidualAdd[] {
  const found: ResidualAdd[] = [];
  const sums = new Map<string, ResidualAdd>();
  const hidden = view.hiddenStates();
  // After the first sum the stream is known: a skip is the last sum, or its norm. This keeps apart
  // the position biases that some models add to every layer's attention scores.
  const inStream = (tensor: string): boolean => {
    const last = found.at(-1);
    return last === undefined || tensor === last.sum || isNormOf(view, tensor, last.sum);
  };
  for (const number of view.index.order) {
    const node = view.node(number);
    if (node.opType !== "Add") continue;
    const operands = node.input.filter((n) => view.isActivation(n));
    if (operands.length !== 2 || operands[0] === operands[1]) continue;
    const [a, b] = operands as [string, string];
    for (const [skip, branch] of [
      [a, b],
      [b, a],
    ] as const) {
      if (!hidden.has(skip) || !inStream(skip)) continue;
      // In a parallel block the branch reads the state before the sibling was added.
      const origins = [skip, sums.get(skip)?.skip].filter((t) => t !== undefined);
      const origin = origins.find(
        (t) => view.rankOf(t) < view.rankOf(branch) && view.back(branch, t).met,
      );
      if (origin === undefined) continue;
      const { ends } = view.back(branch, origin, (n) => view.isLinear(n));
      const writers = ends.map((end) => describeWriter(view, view.node(end), origin));
      if (writers.length === 0) continue;
      const sum = node.output[0]!;
      const residual = { skip, branch, sum, node, writers, parallel: origin !== skip };
      found.push(residual);
      sums.set(sum, residual);
      break;
    }
  }
  return found;
}

function describeWriter(view: GraphView, node: NodeProto, origin: string): Writer {
  const source = view.linearInput(node);
  const inside = view.back(source, origin).nodes;
  const attention = inside.some((n) => {
    const { opType, output } = view.node(n);
    if (FUSED_ATTENTION.has(opType)) return true;
    // Attention weights multiply values; the softmax of a router or a gate does not.
    return opType === "Softmax" && feedsProduct(view, output[0]!, inside);
  });
  return { node, source, kind: attention ? "attn" : "mlp", inside };
}

function feedsProduct(view: GraphView, softmax: string, inside: readonly number[]): boolean {
  let tensor = softmax;
  for (let step = 0; step < 8; step++) {
    const readers = view.readersOf(tensor).filter((n) => n.opType !== "Shape");
    const product = readers.find(
      (n) =>
        (n.opType === "MatMul" || n.opType === "Einsum" || n.opType === "FusedMatMul") &&
        !view.isLinear(n),
    );
    if (product) return inside.some((n) => view.node(n) === product);
    const next = readers.find(
      (n) => SHAPE_ONLY.has(n.opType) || n.opType === "Where" || n.opType === "Mul",
    );
    if (!next) return false;
    tensor = next.output[0]!;
  }
  return false;
}

function isNormOf(view: GraphView, tensor: string, sum: string): boolean {
  const { met, nodes } = view.back(tensor, sum);
  return met && !nodes.some((n) => view.isLinear(view.node(n)));
}

type HookExtra = Partial<Pick<LocatedHook, "writable" | "reason" | "layout">>;

type AddHook = (
  kind: HookKind,
  layer: number | undefined,
  tensor: string,
  extra?: HookExtra,
) => void;

function addAttention(
  view: GraphView,
  attn: Writer,
  layer: number,
  ranks: ReadonlyMap<string, number>,
  add: AddHook,
): void {
  add("attn.hook_z", layer, attn.source);
  const softmax = attn.inside
    .map((n) => view.node(n))
    .find((n) => n.opType === "Softmax" && feedsProduct(view, n.output[0]!, attn.inside));
  if (!softmax) return;
  const [scores, pattern] = [softmax.input[0]!, softmax.output[0]!];
  const products = attn.inside
    .map((n) => view.node(n))
    .filter((n) => (n.opType === "MatMul" || n.opType === "FusedMatMul") && !view.isLinear(n));
  const mixing = products.find((n) => view.reaches(n.input[0]!, pattern));
  const scoring = products.find((n) => n !== mixing && view.reaches(scores, n.output[0]!));
  const extra: HookExtra =
    ranks.get(pattern) === 4 || ranks.get(scoring?.output[0] ?? "") === 4
      ? { layout: "bhpd" }
      : {
          writable: false,
          reason:
            "writing needs batch and heads as axes of their own, which this graph does not show",
        };
  add("attn.hook_attn_scores", layer, scores, extra);
  // The tensor that multiplies the values: a NaN guard may stand between it and the softmax.
  add("attn.hook_pattern", layer, pattern, extra);
  if (!mixing || !scoring) return;
  const places = [
    ["attn.hook_q", scoring.input[0]!],
    ["attn.hook_k", scoring.input[1]!],
    ["attn.hook_v", mixing.input[1]!],
  ] as const;
  const found = places.map(([, operand]) => splitIntoHeads(view, operand));
  places.forEach(([kind], i) => {
    const { transpose, inner } = found[i] ?? {};
    if (!transpose) return;
    // Queries, keys and values that are turned together are told apart only afterwards (NeoX).
    const together = found.some((other, j) => j !== i && other?.transpose === transpose);
    if (!together) add(kind, layer, headsOf(view, transpose.input[0]!, ranks), { layout: "bphd" });
    else if (inner) add(kind, layer, inner, { layout: "bhpd" });
  });
}

/** Where a projection is first seen as heads: before a norm or a rotation that stands between. */
function headsOf(view: GraphView, tensor: string, ranks: ReadonlyMap<string, number>): string {
  let first = tensor;
  const seen = new Set<string>();
  const stack = [tensor];
  while (stack.length > 0) {
    const at = stack.pop()!;
    const node = view.producerOf(at);
    if (!node || seen.has(at) || view.isLinear(node)) continue;
    seen.add(at);
    const ofWeights = view.back(at, "", (n) => view.isLinear(n)).ends.length > 0;
    if (node.opType === "Reshape" && ranks.get(at) === 4 && ofWeights) {
      if (first === tensor || view.rankOf(at) < view.rankOf(first)) first = at;
    }
    stack.push(...view.activationInputs(node));
  }
  return first;
}

const SPLITS_HEADS = new Set(["0,2,1,3", "0,2,3,1"]);

/**
 * The transposition of `[batch, pos, head, d_head]` that an operand of attention comes from, and
 * the part of its result that the operand reads, if it reads a part.
 */
function splitIntoHeads(
  view: GraphView,
  operand: string,
): { transpose: NodeProto; inner: string | undefined } | undefined {
  const parts = new Map<NodeProto, string>();
  const found = new Set<NodeProto>();
  const seen = new Set<string>();
  const stack = [operand];
  while (stack.length > 0) {
    const tensor = stack.pop()!;
    const node = view.producerOf(tensor);
    if (!node || seen.has(tensor) || view.isLinear(node)) continue;
    seen.add(tensor);
    const perm = node.opType === "Transpose" ? (attribute(node, "perm")?.ints ?? []) : [];
    if (SPLITS_HEADS.has(perm.join(","))) {
      found.add(node);
      continue;
    }
    for (const input of view.activationInputs(node)) {
      const from = view.producerOf(input);
      if (from?.opType === "Transpose" && (node.opType === "Slice" || node.opType === "Split")) {
        parts.set(from, tensor);
      }
      stack.push(input);
    }
  }
  const [transpose, ...others] = found;
  return transpose && others.length === 0 ? { transpose, inner: parts.get(transpose) } : undefined;
}

/** Returns whether the MLP is gated. */
function addMlp(view: GraphView, mlp: Writer, layer: number, add: AddHook): boolean {
  add("mlp.hook_post", layer, mlp.source);
  const inside = new Set(mlp.inside);
  const pre = mlp.inside
    .filter((n) => view.isLinear(view.node(n)))
    .map((n) => view.linearOutput(view.node(n)))
    // Gate and input in one matrix (Phi-3, ModernBERT) are told apart after they are split.
    .flatMap((tensor) => halvesOf(view, tensor))
    .map((tensor) => ({ tensor, gate: reachesActivation(view, tensor, inside, mlp.source) }));
  const gates = pre.filter((p) => p.gate);
  const linears = pre.filter((p) => !p.gate);
  if (gates.length === 1 && pre.length <= 2) {
    add("mlp.hook_pre", layer, gates[0]!.tensor);
    const [linear] = linears;
    if (linear) add("mlp.hook_pre_linear", layer, linear.tensor);
  }
  return pre.length === 2 && linears.length === 1;
}

/** The two parts that a tensor is split into, or the tensor itself. */
function halvesOf(view: GraphView, tensor: string): string[] {
  const readers = view.readersOf(tensor).filter((n) => n.opType !== "Shape");
  const [first] = readers;
  if (readers.length === 1 && first?.opType === "Split" && first.output.length === 2) {
    return [...first.output];
  }
  if (readers.length === 2 && readers.every((n) => n.opType === "Slice")) {
    return readers.map((n) => n.output[0]!);
  }
  return [tensor];
}

function reachesActivation(
  view: GraphView,
  tensor: string,
  inside: ReadonlySet<number>,
  end: string,
): boolean {
  if (tensor === end) return false;
  return view.readersOf(tensor).some((reader) => {
    const number = view.index.producer.get(reader.output[0] ?? "");
    if (number === undefined || !inside.has(number)) return false;
    if (ACTIVATION.has(reader.opType)) return true;
    // Two factors meet: what comes after belongs to both.
    if (reader.output.includes(end) && reader.opType === "Mul") return false;
    return reachesActivation(view, reader.output[0]!, inside, end);
  });
}
