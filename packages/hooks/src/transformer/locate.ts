import { ModelError } from "@penfield/core";
import { elementType, type GraphIndex, indexGraph, type ModelProto } from "@penfield/onnx";
import type { HookKind } from "../hookPoint.ts";
import { addAttention, addExperts, addMlp } from "./branchHooks.ts";
import { GraphView, POINTWISE } from "./graphView.ts";
import { LOOK_UP } from "./normalizeGraph.ts";
import { codesOf, findStreams, isNormOf, type Stream } from "./residualStreams.ts";

/** A tensor that a hook point names, as it was found in the graph. */
export interface LocatedHook {
  readonly kind: HookKind;
  readonly layer: number | undefined;
  /** Which of several stacks of blocks; undefined in a model with one. */
  readonly stack?: string | undefined;
  readonly tensor: string;
  /** ONNX element type. */
  readonly type: number;
  /** Batch and position are one axis here: `[batch * pos, unit]`. */
  readonly flattened: boolean;
  /**
   * How heads lie in the tensor: as an axis before the head's values, as one before the positions,
   * or one after the other on the last axis. `routed`: `[token, unit]` of the tokens that an expert
   * was sent, from the whole batch.
   */
  readonly layout?: "bphd" | "bhpd" | "flat" | "routed" | undefined;
  /** How many heads, where the operator itself says. */
  readonly nHeads?: number | undefined;
  /** A tensor `[batch, pos, head, d_head]` of the sizes that a flat one is to be seen in. */
  readonly headsAs?: string | undefined;
  readonly writable: boolean;
  readonly reason: string | undefined;
}

/** One block: what it reads from the residual stream and what it adds to it. */
interface Block {
  residPre: string;
  residMid: string | undefined;
  residMidCross: string | undefined;
  residPost: string;
  parallel: boolean;
  hasMlp: boolean;
}

/** One stack of blocks. */
interface LocatedStack {
  readonly name: string | undefined;
  readonly nLayers: number;
  readonly parallelAttnMlp: boolean;
  readonly gatedMlp: boolean;
  /** True where a norm stands between the residual sum and the next block (BERT). */
  readonly postNorm: boolean;
}

/** A transformer as its graph shows it. */
export interface Located {
  readonly index: GraphIndex;
  readonly types: ReadonlyMap<string, number>;
  readonly hooks: readonly LocatedHook[];
  /** One, or the encoder and the decoder, or one for each tower. */
  readonly stacks: readonly LocatedStack[];
  /** The stack whose blocks make the output: the only one, the decoder, or the first. */
  readonly main: LocatedStack;
  /** Graph output with scores over the vocabulary, if the model has one. */
  readonly logits: string | undefined;
  /** What the last matrix before the logits reads, if it is `[batch, pos, unit]`. */
  readonly unembedInput: string | undefined;
  /** The output that a run returns: the logits, the last hidden states, or the first output of numbers. */
  readonly output: string | undefined;
  /** All outputs that are numbers, caches of keys and values left out. */
  readonly outputs: readonly string[];
  /** Nodes that make results depend on the other rows of a batch. */
  readonly batchDependent: number;
  /** Why no hook points were found, if none were. */
  readonly missing: string | undefined;
}

/**
 * Finds a transformer's residual streams, attention and MLPs by the structure of its graph alone. No
 * architecture's names are used.
 *
 * @param structure - `optional`: a graph without such a structure is returned without hook points.
 * @throws {ModelError} if the graph has no residual stream with attention in it; says what was
 *   expected, and which tensors came nearest.
 *
 * Cost: each residual sum looks back as far as its own skip, so linear in the graph for stacked blocks.
 */
export function locate(
  model: ModelProto,
  { structure = "required" }: { structure?: "required" | "optional" | undefined } = {},
): Located {
  const index = indexGraph(model.graph!);
  const view = new GraphView(index);
  const streams = findStreams(view);
  const missing = streams.length === 0 ? whatIsMissing(view) : undefined;
  if (missing !== undefined && structure === "required") {
    throw new ModelError(`locate: ${missing}`, {
      hint: 'Open it with structure: "optional" to read and change tensors by their names in the file.',
    });
  }
  const hooks: LocatedHook[] = [];
  const stacks = streams.map((stream) => locateStack(view, stream, hooks));
  const outputs = outputsOf(view);
  const logits = outputs.find((name) => name === "logits");
  const lastHidden = outputs.find((name) => name === "last_hidden_state");
  const main = stacks.find((s) => s.name === "decoder") ?? stacks[0] ?? NO_STACK;
  return {
    index,
    types: view.types,
    hooks,
    stacks,
    main,
    logits,
    unembedInput: unembedInput(view, logits),
    output: logits ?? lastHidden ?? outputs[0],
    outputs,
    batchDependent: model.graph!.node.filter(
      (n) => n.opType === "DynamicQuantizeLinear" || n.opType === "DynamicQuantizeMatMul",
    ).length,
    missing,
  };
}

const NO_STACK: LocatedStack = {
  name: undefined,
  nLayers: 0,
  parallelAttnMlp: false,
  gatedMlp: false,
  postNorm: false,
};

function locateStack(view: GraphView, stream: Stream, hooks: LocatedHook[]): LocatedStack {
  type Extra = Partial<LocatedHook>;
  const add = (kind: HookKind, layer: number | undefined, tensor: string, extra: Extra = {}) => {
    const codes = codesOf(view, tensor) !== undefined;
    hooks.push({
      kind,
      layer,
      stack: stream.name,
      tensor,
      type: view.types.get(tensor) ?? elementType.float32,
      flattened: view.ranks.get(tensor) === 2,
      writable: !codes,
      reason: codes
        ? "the first block reads the token vectors as eight-bit codes, past this tensor"
        : undefined,
      ...extra,
    });
  };
  const embed = view.embedding(stream.adds[0]!.skip);
  const fusedEmbed = view
    .back(stream.adds[0]!.skip, "")
    .nodes.map((n) => view.node(n))
    .find((n) => n.opType === "EmbedLayerNormalization");
  if (embed) add("hook_embed", undefined, embed);
  else if (fusedEmbed) {
    const norm = fusedEmbed.output[0]!.replace(/::fused$/, "");
    add("hook_embed", undefined, `${norm}${LOOK_UP}`, {
      writable: false,
      reason: "looked up inside the fused operator EmbedLayerNormalization",
    });
  }
  const blocks: Block[] = [];
  let gatedMlp = false;
  for (const sum of stream.adds) {
    const attn = sum.writers.find((w) => w.kind === "attn");
    const cross = sum.writers.find((w) => w.kind === "cross_attn");
    const mlp = sum.writers.find((w) => w.kind === "mlp");
    const open = blocks.at(-1);
    // An MLP belongs to the block of the attention whose sum it adds to: to that sum itself, or,
    // where norms follow the sums (BERT), to its norm. So does a cross-attention.
    const follows =
      !attn &&
      open?.hasMlp === false &&
      (open.residPost === sum.skip || isNormOf(view, sum.skip, open.residPost));
    // In a parallel block either branch may be added first.
    if (open !== undefined && (follows || sum.parallel)) {
      open.parallel = sum.parallel;
      if (!sum.parallel) {
        if (open.residMid === undefined) open.residMid = open.residPost;
        if (cross) open.residMidCross = sum.sum;
      }
      open.residPost = sum.sum;
      open.hasMlp ||= mlp !== undefined;
    } else {
      blocks.push({
        residPre: sum.skip,
        residMid: undefined,
        residMidCross: undefined,
        residPost: sum.sum,
        parallel: attn !== undefined && mlp !== undefined,
        hasMlp: mlp !== undefined,
      });
    }
    const layer = blocks.length - 1;
    const here = (kind: HookKind, tensor: string, extra?: Extra) => add(kind, layer, tensor, extra);
    const several = sum.writers.length > 1 && (attn !== undefined || cross !== undefined);
    const added = (node: (typeof sum.writers)[number]["node"]): string =>
      several ? view.branchEnd(node) : sum.branch;
    if (attn) {
      here("hook_attn_out", added(attn.node));
      addAttention(view, attn, here);
    }
    if (cross) {
      here("hook_cross_attn_out", added(cross.node));
      addAttention(view, cross, here);
    }
    if (mlp) {
      const writers = sum.writers.filter((w) => w.kind === "mlp");
      const mixture = writers.length > 1;
      here("hook_mlp_out", mixture ? sum.branch : added(mlp.node));
      const gated = mixture ? addExperts(view, writers, here) : addMlp(view, mlp, here);
      gatedMlp = gated || gatedMlp;
    }
  }
  blocks.forEach((block, layer) => {
    add("hook_resid_pre", layer, block.residPre);
    if (block.residMid) add("hook_resid_mid", layer, block.residMid);
    if (block.residMidCross && block.residMidCross !== block.residPost) {
      add("hook_resid_mid_cross", layer, block.residMidCross);
    }
    add("hook_resid_post", layer, block.residPost);
  });
  return {
    name: stream.name,
    nLayers: blocks.length,
    parallelAttnMlp: blocks.every((b) => b.parallel),
    gatedMlp,
    postNorm: blocks.length > 1 && blocks[1]!.residPre !== blocks[0]!.residPost,
  };
}

/** Outputs that are numbers and not caches. */
function outputsOf(view: GraphView): string[] {
  return view.index.graph.output
    .map((v) => v.name)
    .filter((name) => view.isFloat(name) && !/^present[._]|past_key|_key_value/.test(name));
}

/** Walks back from the logits, through caps and biases, to the matrix that makes them. */
function unembedInput(view: GraphView, logits: string | undefined): string | undefined {
  let tensor = logits ?? "";
  for (;;) {
    const producer = view.producerOf(tensor);
    if (!producer) return undefined;
    if (view.isLinear(producer)) {
      const input = producer.input[0]!;
      return producer.opType === "MatMul" && view.ranks.get(input) === 3 ? input : undefined;
    }
    if (view.activationInputs(producer).length !== 1 || !POINTWISE.has(producer.opType))
      return undefined;
    tensor = view.activationInputs(producer)[0]!;
  }
}

/** In words: which structure was looked for, and the tensors that came nearest to it. */
function whatIsMissing(view: GraphView): string {
  const { node } = view.index.graph;
  const some = (names: readonly string[]): string =>
    names.length === 0
      ? "none"
      : `${names.slice(0, 3).join(", ")}${names.length > 3 ? ` and ${names.length - 3} more` : ""}`;
  const sums = node.filter((n) => {
    const operands = n.opType === "Add" ? n.input.filter((name) => view.isActivation(name)) : [];
    return operands.length === 2 && operands[0] !== operands[1];
  });
  const softmaxes = node.filter((n) => n.opType === "Softmax");
  const linears = node.filter((n) => view.isLinear(n));
  const ops = [...new Set(node.map((n) => n.opType))];
  const names = (nodes: typeof node) => some(nodes.map((n) => n.output[0]!));
  return (
    `expected a transformer (attention and MLP branches added to a residual stream), got ${node.length} nodes (${ops.slice(0, 12).join(", ")}${ops.length > 12 ? ", …" : ""}) ` +
    `without an attention branch that is added to what it reads. Nearest: sums of two activations: ${names(sums)}; softmax: ${names(softmaxes)}; products with weights: ${names(linears)}`
  );
}
