import {
  copyModel,
  cutAt,
  elementType,
  exposeTensor,
  type ModelProto,
  makeNode,
  makeTensor,
  makeValueInfo,
  type NodeProto,
  prune,
  renameToOutput,
  rewire,
} from "@penfield/onnx";
import { axesOf } from "../hookPoint.ts";
import type { Slot } from "../interventions.ts";
import type { Located, LocatedHook } from "./locate.ts";

/** What one compiled session must be able to do. */
export interface SessionPlan {
  /** Hook names and the tensors to return under them. */
  readonly capture: ReadonlyMap<string, LocatedHook>;
  /** Hook names and what can be done to them. */
  readonly intervene: ReadonlyMap<
    string,
    { readonly hook: LocatedHook; readonly slots: readonly Slot[] }
  >;
  /** What is returned of the scores over the vocabulary. */
  readonly head: "logits" | "lastLogits" | "tokenLogProbs" | "none";
  /** Start in the middle: this hook's values are an input, and nothing before it is computed. */
  readonly from: { readonly name: string; readonly hook: LocatedHook } | undefined;
}

/** Name of the input that carries the tokens to be scored, and of the output with their log-probabilities. */
export const TARGETS = "penfield.targets";
export const TOKEN_LOG_PROBS = "penfield.token_log_probs";
export const LAST_POSITION = "penfield.last_position";
export const OUTPUT = "penfield.output";

/**
 * Builds the graph of a session: the model with hooks as declared by the plan, pruned to what the
 * plan asks for.
 *
 * Interventions at a tensor x become, for the slots asked for,
 *
 *   y = GatherElements(x, <hook>.src, axis 0)                    (patch)
 *   y = Where(<hook>.replace, <hook>.value, y)                   (set)
 *   y = y * <hook>.scale + <hook>.shift                          (affine)
 *
 * and every reader of x reads y. Neutral inputs leave the values bit for bit as they are, and patched
 * values arrive bit for bit. (What is kept must be the second branch of Where: onnxruntime turns -0
 * in the first into +0. For the same reason patches move values and do not choose between them.)
 */
export function buildSessionModel(
  model: ModelProto,
  located: Located,
  plan: SessionPlan,
): ModelProto {
  const copy = copyModel(model);
  const graph = copy.graph!;
  const outputs: string[] = [];

  addTokensShape(graph);
  graph.initializer.push(makeTensor(HEADS_TOGETHER, "int64", [3], [0, 0, -1]));

  // What stands for a tensor once hooks have been put behind it.
  const current = new Map<string, string>();
  if (plan.from) {
    const { hook, name } = plan.from;
    const dims = ["from_batch", "from_pos", "from_dim"];
    cutAt(graph, hook.tensor, makeValueInfo(name, "float32", dims));
    let at = name;
    const convert = (op: string, attributes: Record<string, bigint>, suffix: string): void => {
      const node = makeNode(op, [at], [`${name}::${suffix}`], attributes);
      rewire(graph, at, `${name}::${suffix}`);
      graph.node.push(node);
      at = `${name}::${suffix}`;
    };
    if (hook.flattened) convert("Flatten", { axis: 2n }, "flat");
    if (hook.type !== elementType.float32) convert("Cast", { to: BigInt(hook.type) }, "cast");
    current.set(hook.tensor, at);
  }
  for (const [name, { hook, slots }] of plan.intervene) {
    const from = current.get(hook.tensor) ?? hook.tensor;
    const { nodes, result } = hookNodes(name, from, hook, slots);
    for (const slot of slots) graph.input.push(...slotInputs(name, slot));
    rewire(graph, from, result);
    graph.node.push(...nodes);
    // A model may return the tensor itself: that output shows the change too.
    renameOutput(graph, from, result);
    current.set(hook.tensor, result);
  }
  for (const [name, hook] of plan.capture) {
    const output = captureOutput(name, hook);
    let tensor = current.get(hook.tensor) ?? hook.tensor;
    if (hook.flattened) {
      graph.node.push(makeNode("Reshape", [tensor, TOKENS_SHAPE], [`${output}::read`]));
      tensor = `${output}::read`;
    } else if (hook.layout === "bhpd" && axesOf[hook.kind][1] === "pos") {
      graph.node.push(makeNode("Transpose", [tensor], [`${output}::read`], { perm: SWAP }));
      tensor = `${output}::read`;
    }
    outputs.push(output);
    // Without a copy where the tensor can go out as it is; several names of one tensor need copies.
    const plain = hook.type === elementType.float32 && !tensor.endsWith("::read");
    if (plain && renameToOutput(graph, tensor, output, elementType.float32)) {
      current.set(hook.tensor, output);
      continue;
    }
    exposeTensor(graph, tensor, output, { type: elementType.float32, castFrom: hook.type });
  }
  const scores = located.logits ?? located.lastHiddenState;
  if (plan.head !== "none" && scores) {
    const type = graph.output.find((v) => v.name === scores)?.type?.value;
    const scoreType = type?.case === "tensorType" ? type.value.elemType : elementType.float32;
    if (plan.head === "logits" || plan.head === "lastLogits") {
      const last = plan.head === "lastLogits";
      const out = last ? keepLastPosition(graph, scores, located.unembedInput) : scores;
      exposeTensor(graph, out, OUTPUT, { type: elementType.float32, castFrom: scoreType });
      outputs.push(OUTPUT);
    } else {
      outputs.push(addTokenLogProbs(graph, scores));
    }
  }
  prune(graph, outputs);
  return copy;
}

/** Name of the graph output that carries a captured hook; a raw tensor cannot go by its own name. */
export function captureOutput(name: string, hook: LocatedHook): string {
  return name === hook.tensor ? `captured::${name}` : name;
}

const TOKENS_SHAPE = "penfield.tokens_shape";
/** `[batch, pos, head, d_head]` to `[batch, pos, head * d_head]`. */
const HEADS_TOGETHER = "penfield.heads_together";
/** `[batch, head, pos, d_head]` to `[batch, pos, head, d_head]` and back. */
const SWAP = [0n, 2n, 1n, 3n];

/** `[batch, pos, -1]`, for tensors in which batch and position are one axis; pruned where none needs it. */
function addTokensShape(graph: NonNullable<ModelProto["graph"]>): void {
  const ids = graph.input.find((v) => v.name.endsWith("input_ids"))?.name;
  if (!ids) return;
  graph.initializer.push(makeTensor("penfield.rest", "int64", [1], [-1]));
  graph.node.push(
    makeNode("Shape", [ids], ["penfield.ids_shape"]),
    makeNode("Concat", ["penfield.ids_shape", "penfield.rest"], [TOKENS_SHAPE], { axis: 0n }),
  );
}

function hookNodes(
  name: string,
  tensor: string,
  { type, flattened, layout }: LocatedHook,
  slots: readonly Slot[],
): { nodes: NodeProto[]; result: string } {
  const nodes: NodeProto[] = [];
  const float32 = type === elementType.float32;
  let at = tensor;
  const step = (op: string, inputs: string[], suffix: string, attributes = {}): void => {
    const output = `${name}::${suffix}`;
    nodes.push(makeNode(op, inputs, [output], attributes));
    at = output;
  };
  if (flattened) step("Reshape", [at, TOKENS_SHAPE], "rows");
  if (layout === "bhpd") step("Transpose", [at], "by_position", { perm: SWAP });
  const perHead = at;
  if (layout) step("Reshape", [at, HEADS_TOGETHER], "heads_together");
  if (!float32) step("Cast", [at], "float32", { to: BigInt(elementType.float32) });
  if (slots.includes("patch")) {
    // For each value the row that it comes from; sizes of 1 are broadcast.
    nodes.push(
      makeNode("Shape", [at], [`${name}::shape`]),
      makeNode("Expand", [`${name}.src`, `${name}::shape`], [`${name}::rows_from`]),
    );
    step("GatherElements", [at, `${name}::rows_from`], "patched", { axis: 0n });
  }
  if (slots.includes("set")) step("Where", [`${name}.replace`, `${name}.value`, at], "set");
  if (slots.includes("affine")) {
    step("Mul", [at, `${name}.scale`], "scaled");
    step("Add", [at, `${name}.shift`], "shifted");
  }
  if (!float32) step("Cast", [at], "hooked", { to: BigInt(type) });
  if (flattened) {
    nodes.push(makeNode("Shape", [tensor], [`${name}::flat_shape`]));
    step("Reshape", [at, `${name}::flat_shape`], "flat");
  }
  if (layout) {
    nodes.push(makeNode("Shape", [perHead], [`${name}::head_shape`]));
    step("Reshape", [at, `${name}::head_shape`], "heads_apart");
  }
  if (layout === "bhpd") step("Transpose", [at], "by_head", { perm: SWAP });
  return { nodes, result: at };
}

function slotInputs(name: string, slot: Slot) {
  const dims = (part: string) => ["batch", "pos", "dim"].map((axis) => `${name}.${part}.${axis}`);
  const input = (part: string, type: "float32" | "bool") =>
    makeValueInfo(`${name}.${part}`, type, dims(part));
  switch (slot) {
    case "patch":
      return [makeValueInfo(`${name}.src`, "int64", dims("src"))];
    case "set":
      return [input("replace", "bool"), input("value", "float32")];
    case "affine":
      return [input("scale", "float32"), input("shift", "float32")];
  }
}

function renameOutput(graph: NonNullable<ModelProto["graph"]>, from: string, to: string): void {
  if (!graph.output.some((v) => v.name === from)) return;
  // The producer keeps making the plain tensor under a private name; the output is the hooked one.
  const plain = `${from}::plain`;
  for (const node of graph.node) {
    node.output = node.output.map((n) => (n === from ? plain : n));
    node.input = node.input.map((n) => (n === from ? plain : n));
  }
  graph.node.push(makeNode("Identity", [to], [from]));
}

/**
 * Leaves one position of each row, before the matrix over the vocabulary where that can be: most of a
 * short run's time goes into scores that nobody reads.
 */
function keepLastPosition(
  graph: NonNullable<ModelProto["graph"]>,
  scores: string,
  unembedInput: string | undefined,
): string {
  const from = unembedInput ?? scores;
  const picked = "penfield.last";
  graph.input.push(makeValueInfo(LAST_POSITION, "int64", ["last_batch", "last_one", "last_unit"]));
  graph.initializer.push(
    makeTensor("penfield.one_one", "int64", [2], [1, 1]),
    makeTensor("penfield.third_axis", "int64", [1], [2]),
  );
  const nodes = [
    makeNode("Shape", [from], ["penfield.all_shape"]),
    makeNode("Gather", ["penfield.all_shape", "penfield.third_axis"], ["penfield.width"], {
      axis: 0n,
    }),
    makeNode("Concat", ["penfield.one_one", "penfield.width"], ["penfield.last_shape"], {
      axis: 0n,
    }),
    makeNode("Expand", [LAST_POSITION, "penfield.last_shape"], ["penfield.last_index"]),
    makeNode("GatherElements", [from, "penfield.last_index"], [picked], { axis: 1n }),
  ];
  // Only the matrix reads the one position; a shape that is taken elsewhere stays that of all.
  if (unembedInput !== undefined) {
    rewire(graph, from, picked, { only: graph.node.filter((node) => node.opType === "MatMul") });
  }
  graph.node.push(...nodes);
  return unembedInput === undefined ? picked : scores;
}

/** log softmax(logits)[target] for each position, in the graph: scores never leave the runtime whole. */
function addTokenLogProbs(graph: NonNullable<ModelProto["graph"]>, logits: string): string {
  graph.input.push(makeValueInfo(TARGETS, "int64", ["targets_batch", "targets_pos"]));
  graph.initializer.push(makeTensor("penfield.last_axis", "int64", [1], [-1]));
  graph.node.push(
    makeNode("Cast", [logits], ["penfield.logits"], { to: BigInt(elementType.float32) }),
    makeNode("LogSoftmax", ["penfield.logits"], ["penfield.log_probs"], { axis: -1n }),
    makeNode("Unsqueeze", [TARGETS, "penfield.last_axis"], ["penfield.target_index"]),
    makeNode(
      "GatherElements",
      ["penfield.log_probs", "penfield.target_index"],
      ["penfield.picked"],
      {
        axis: -1n,
      },
    ),
    makeNode("Squeeze", ["penfield.picked", "penfield.last_axis"], [TOKEN_LOG_PROBS]),
  );
  graph.output.push(makeValueInfo(TOKEN_LOG_PROBS, "float32"));
  return TOKEN_LOG_PROBS;
}
