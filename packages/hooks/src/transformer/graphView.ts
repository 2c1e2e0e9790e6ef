import { ModelError } from "@penfield/core";
import {
  elementType,
  type GraphIndex,
  inferElementTypes,
  inferRanks,
  type NodeProto,
} from "@penfield/onnx";

/** Far above what real graphs need (a model of 80 layers: 10⁵ steps). */
const MAX_VISITS = 5e7;

const FLOATS = new Set<number>([
  elementType.float32,
  elementType.float16,
  elementType.float64,
  elementType.bfloat16,
]);
/** Integer products and codes of quantised layers carry activations too. */
const QUANTISED = new Set<number>([elementType.int32, elementType.uint8, elementType.int8]);
const QUANTISES = new Set(["DynamicQuantizeLinear", "QuantizeLinear", "DequantizeLinear"]);
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
export const FUSED_ATTENTION: ReadonlySet<string> = new Set([
  "Attention",
  "MultiHeadAttention",
  "GroupQueryAttention",
  "DecoderMaskedMultiHeadAttention",
  "PackedMultiHeadAttention",
]);
export const ACTIVATION: ReadonlySet<string> = new Set([
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
export const SHAPE_ONLY: ReadonlySet<string> = new Set([
  "Reshape",
  "Cast",
  "Squeeze",
  "Unsqueeze",
  "Flatten",
  "Identity",
  "Dropout",
  "QuantizeLinear",
  "DequantizeLinear",
]);

export const POINTWISE: ReadonlySet<string> = new Set([
  "Add",
  "Mul",
  "Div",
  "Tanh",
  "Cast",
  "Identity",
]);

/** Questions about a graph's flow of activations: float tensors that are not constants. */
export class GraphView {
  readonly index: GraphIndex;
  readonly types: ReadonlyMap<string, number>;
  readonly ranks: ReadonlyMap<string, number>;
  readonly #scales: ReadonlySet<string>;
  #visits = 0;

  constructor(index: GraphIndex) {
    this.index = index;
    this.types = inferElementTypes(index);
    this.ranks = inferRanks(index);
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
    return FLOATS.has(type) || QUANTISED.has(type);
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
      this.#count();
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

  /** Nodes that `to` is computed by and that depend on `from`, in the order in which they run. */
  between(from: string, to: string): number[] {
    const nodes = this.back(to, from).nodes.sort(
      (a, b) => this.index.rank[a]! - this.index.rank[b]!,
    );
    const reached = new Set([from]);
    return nodes.filter((number) => {
      const { input, output } = this.node(number);
      if (!input.some((name) => reached.has(name))) return false;
      for (const name of output) if (name) reached.add(name);
      return true;
    });
  }

  /** Every walk counts its steps: a file made to tangle them is refused, and cannot hang the process. */
  #count(): void {
    if (++this.#visits > MAX_VISITS) {
      throw new ModelError(
        `locate: expected a network whose branches can be told apart in ${MAX_VISITS} steps, got a graph of ${this.index.graph.node.length} nodes that needs more`,
        { hint: "The file may be damaged or made to be slow; fetch the model again." },
      );
    }
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
    for (;;) {
      const producer = this.producerOf(tensor);
      if (!producer || !QUANTISES.has(producer.opType) || this.index.isConstant(tensor)) break;
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
      (this.isFloat(node.output[0]!) || this.#isCode(table)) &&
      !this.index.isConstant(picks)
    );
  }

  /** Whether a table holds numbers in eight bits. */
  #isCode(table: string): boolean {
    const type = this.types.get(table);
    return type === elementType.uint8 || type === elementType.int8;
  }

  isFloat(tensor: string): boolean {
    return FLOATS.has(this.types.get(tensor) ?? 0);
  }

  /** The look-up of token vectors that a tensor is computed from: the one that reads token ids. */
  embedding(tensor: string): string | undefined {
    const lookUps = this.back(tensor, "").nodes.filter((number) => {
      const node = this.node(number);
      if (!this.isLookUp(node)) return false;
      let picks = node.input[1]!;
      for (;;) {
        const producer = this.producerOf(picks);
        if (!producer || !SHAPE_ONLY.has(producer.opType)) return picks.endsWith("input_ids");
        picks = producer.input[0]!;
      }
    });
    const [first] = lookUps.sort((a, b) => this.index.rank[a]! - this.index.rank[b]!);
    const found = first === undefined ? undefined : this.node(first).output[0]!;
    const reader = found === undefined ? undefined : this.readersOf(found)[0];
    return reader?.opType === "DequantizeLinear" ? reader.output[0] : found;
  }

  /** The graph inputs that a tensor is computed from, token ids included. */
  inputsOf(tensor: string): string[] {
    const seen = new Set<string>();
    const stack = [tensor];
    while (stack.length > 0) {
      const at = stack.pop()!;
      if (seen.has(at)) continue;
      this.#count();
      seen.add(at);
      stack.push(...(this.producerOf(at)?.input ?? []));
    }
    return this.index.graph.input.map((v) => v.name).filter((name) => seen.has(name));
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
        node.opType === "ConvInteger" ||
        node.opType === "EmbedLayerNormalization" ||
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
