import { attribute, elementType, intAttribute, type NodeProto } from "@penfield/onnx";
import type { HookKind } from "../hookPoint.ts";
import { ACTIVATION, FUSED_ATTENTION, type GraphView, SHAPE_ONLY } from "./graphView.ts";
import type { LocatedHook } from "./locate.ts";
import { productWithValues, type Writer } from "./residualStreams.ts";

type HookExtra = Partial<
  Pick<LocatedHook, "writable" | "reason" | "layout" | "nHeads" | "headsAs" | "type" | "flattened">
>;

/** Takes down a hook of the block at hand. */
export type AddHook = (kind: HookKind, tensor: string, extra?: HookExtra) => void;

/** Adds the hooks inside an attention branch, self- or cross-attention alike. */
export function addAttention(view: GraphView, attn: Writer, add: AddHook): void {
  const place = attn.kind === "cross_attn" ? "cross_attn" : "attn";
  const inside = attn.inside.map((n) => view.node(n));
  const fused = inside.find((n) => FUSED_ATTENTION.has(n.opType));
  if (fused) {
    addFusedAttention(view, fused, attn, add);
    return;
  }
  // Some exporters go from heads to one axis for batch and position at once: heads are then apart.
  add(`${place}.hook_z`, attn.source, view.ranks.get(attn.source) === 4 ? { layout: "bphd" } : {});
  const softmax = inside.find(
    (n) => n.opType === "Softmax" && productWithValues(view, n.output[0]!, attn.inside),
  );
  if (!softmax) return;
  const [scores, pattern] = [softmax.input[0]!, softmax.output[0]!];
  const products = inside.filter(
    (n) => (n.opType === "MatMul" || n.opType === "FusedMatMul") && !view.isLinear(n),
  );
  const mixing = products.find((n) => view.reaches(n.input[0]!, pattern));
  const scoring = products.find((n) => n !== mixing && view.reaches(scores, n.output[0]!));
  const extra: HookExtra =
    view.ranks.get(pattern) === 4 || view.ranks.get(scoring?.output[0] ?? "") === 4
      ? { layout: "bhpd" }
      : {
          writable: false,
          reason:
            "writing needs batch and heads as axes of their own, which this graph does not show",
        };
  add(`${place}.hook_attn_scores`, scores, extra);
  // The tensor that multiplies the values: a NaN guard may stand between it and the softmax.
  add(`${place}.hook_pattern`, pattern, extra);
  if (!mixing || !scoring) return;
  const places = [
    [`${place}.hook_q`, scoring.input[0]!],
    [`${place}.hook_k`, scoring.input[1]!],
    [`${place}.hook_v`, mixing.input[1]!],
  ] as const;
  const found = places.map(([, operand]) => splitIntoHeads(view, operand));
  places.forEach(([kind], i) => {
    const { transpose, inner } = found[i] ?? {};
    if (!transpose) return;
    // Queries, keys and values that are turned together are told apart only afterwards (NeoX).
    const together = found.some((other, j) => j !== i && other?.transpose === transpose);
    if (!together) {
      const heads = headsOf(view, transpose.input[0]!);
      const projected = projectedBefore(view, heads);
      if (projected === undefined) add(kind, heads, { layout: "bphd" });
      else add(kind, projected, { layout: "flat", headsAs: heads });
    } else if (inner) add(kind, inner, { layout: "bhpd" });
  });
}

/** Number of query heads, and of key and value heads, that a fused operator says it has. */
function fusedHeads(node: NodeProto): { nHeads: number; nKeyValueHeads: number } {
  const nHeads = intAttribute(node, "num_heads", intAttribute(node, "q_num_heads", 1));
  return { nHeads, nKeyValueHeads: intAttribute(node, "kv_num_heads", nHeads) };
}

/**
 * Attention that is one operator: queries, keys and values are its inputs, as the projections made
 * them; scores and patterns are what the kernel itself can return.
 */
function addFusedAttention(view: GraphView, node: NodeProto, attn: Writer, add: AddHook): void {
  const place = attn.kind === "cross_attn" ? "cross_attn" : "attn";
  const { nHeads, nKeyValueHeads } = fusedHeads(node);
  add(`${place}.hook_z`, attn.source, { nHeads });
  if (node.opType === "Attention" && node.domain === "com.microsoft") return;
  const operands = [
    [`${place}.hook_q`, node.input[0] ?? "", nHeads],
    [`${place}.hook_k`, node.input[1] ?? "", nKeyValueHeads],
    [`${place}.hook_v`, node.input[2] ?? "", nKeyValueHeads],
  ] as const;
  for (const [kind, operand, heads] of operands) {
    const projected = projectionOf(view, operand);
    if (projected) add(kind, projected, { layout: "flat", nHeads: heads });
  }
  const reading: HookExtra = {
    type: view.types.get(node.input[0] ?? "") ?? elementType.float32,
    writable: false,
    reason: `made inside the fused operator ${node.opType}, which can return it but not take it`,
  };
  if (!RETURNS_SCORES.has(node.opType)) return;
  add(`${place}.hook_attn_scores`, `${node.output[0]}${FUSED_SCORES}`, reading);
  add(`${place}.hook_pattern`, `${node.output[0]}${FUSED_PATTERN}`, reading);
}

/** What a fused operator's scores and patterns are called; they are tensors only where asked for. */
export const FUSED_SCORES = "::scores";
export const FUSED_PATTERN = "::pattern";
/** Whether a tensor is what a fused operator returns of its inside. */
export const isFusedRead = (tensor: string): boolean =>
  tensor.endsWith(FUSED_SCORES) || tensor.endsWith(FUSED_PATTERN);
const RETURNS_SCORES = new Set(["MultiHeadAttention", "GroupQueryAttention"]);

/** The projection's output that an operand comes from: before a rotation or a norm that stands between. */
function projectionOf(view: GraphView, operand: string): string | undefined {
  let tensor = operand;
  for (;;) {
    const node = view.producerOf(tensor);
    if (!node) return undefined;
    if (view.isLinear(node)) return tensor;
    const bias = node.opType === "Add" && view.activationInputs(node).length === 1;
    const inner = view.activationInputs(node);
    const from = view.producerOf(inner[0] ?? "");
    // The sum of a projection and its bias is the projection; so is a part of a packed one.
    if ((bias && from && view.isLinear(from)) || node.opType === "Split") return tensor;
    if (inner.length === 0) return undefined;
    tensor = inner[0]!;
  }
}

/** Where a projection is first seen as heads: before a norm or a rotation that stands between. */
function headsOf(view: GraphView, tensor: string): string {
  const found = { reshaped: tensor, selected: tensor };
  const earlier = (a: string, b: string) =>
    b === tensor || view.rankOf(a) < view.rankOf(b) ? a : b;
  const seen = new Set<string>();
  const stack = [tensor];
  while (stack.length > 0) {
    const at = stack.pop()!;
    const node = view.producerOf(at);
    if (!node || seen.has(at) || view.isLinear(node)) continue;
    seen.add(at);
    const ofWeights = view.back(at, "", (n) => view.isLinear(n)).ends.length > 0;
    if (view.ranks.get(at) === 4 && ofWeights) {
      if (node.opType === "Reshape") found.reshaped = earlier(at, found.reshaped);
      if (PICKS.has(node.opType)) found.selected = earlier(at, found.selected);
    }
    stack.push(...view.activationInputs(node));
  }
  // A packed projection is seen with heads before it is told apart: then by what picks its part.
  return found.reshaped === tensor ? found.selected : found.reshaped;
}

const PICKS = new Set(["Split", "Squeeze", "Gather"]);

/**
 * The projection's own output, if something else than its bias comes between it and the tensor with
 * heads (OPT scales queries, OLMo 2 normalises them): hooks are the projections.
 */
function projectedBefore(view: GraphView, heads: string): string | undefined {
  const { ends } = view.back(heads, "", (node) => view.isLinear(node));
  if (ends.length !== 1) return undefined;
  let at = view.node(ends[0]!).output[0]!;
  const step = (...ops: readonly string[]): void => {
    const readers = view.readersOf(at).filter((n) => n.opType !== "Shape");
    const [next] = readers;
    const alone = next !== undefined && view.activationInputs(next).length === 1;
    if (readers.length === 1 && alone && ops.includes(next.opType)) at = next.output[0]!;
  };
  // A product of integers becomes numbers by a cast and a scale.
  if (view.node(ends[0]!).opType === "MatMulInteger") {
    step("Cast");
    step("Mul");
  }
  step("QuantizeLinear");
  step("DequantizeLinear");
  step("Add");
  const rest = view.between(at, heads).map((n) => view.node(n).opType);
  // Of a packed matrix's output a part alone is the projection.
  if (rest.some((op) => SELECTS.has(op))) return undefined;
  return rest.every((op) => SHAPE_ONLY.has(op) || op === "Transpose") ? undefined : at;
}

const SELECTS = new Set(["Split", "Slice", "Gather"]);

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

/**
 * Adds the hooks of a mixture of experts: the router's scores, and each expert's neurons.
 *
 * @returns Whether the experts are gated.
 */
export function addExperts(view: GraphView, writers: readonly Writer[], add: AddHook): boolean {
  const isExpert = ({ inside }: Writer) => inside.some((n) => view.isLinear(view.node(n)));
  for (const { node } of writers.filter((w) => !isExpert(w))) {
    const scores = view.linearOutput(node);
    const softmax = view.readersOf(scores).find((n) => n.opType === "Softmax");
    // A single gate of a shared expert is no router.
    if (!softmax) continue;
    add("mlp.hook_gate", scores);
    add("mlp.hook_expert_weights", softmax.output[0]!);
  }
  let gated = false;
  // Exporters write experts one after the other: their numbers are their order in the file.
  const place = ({ node }: Writer) => view.index.producer.get(node.output[0]!)!;
  const experts = writers.filter(isExpert).sort((a, b) => place(a) - place(b));
  experts.forEach((expert, number) => {
    const routed = expert.inside.some((n) => view.node(n).opType === "Gather");
    gated =
      addMlp(view, expert, (kind, tensor, extra) =>
        add(kind.replace("mlp.", `mlp.experts.${number}.`) as HookKind, tensor, {
          ...extra,
          ...(routed ? { layout: "routed", flattened: false } : {}),
        }),
      ) || gated;
  });
  return gated;
}

/** Adds the hooks of an MLP; returns whether it is gated. */
export function addMlp(view: GraphView, mlp: Writer, add: AddHook): boolean {
  add("mlp.hook_post", mlp.source);
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
    add("mlp.hook_pre", gates[0]!.tensor);
    const [linear] = linears;
    if (linear) add("mlp.hook_pre_linear", linear.tensor);
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
