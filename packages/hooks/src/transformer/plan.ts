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
import { FUSED_PATTERN, FUSED_SCORES } from "./branchHooks.ts";
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
  /** What becomes of the positions of what is returned. */
  readonly reduce?: PositionReduction | undefined;
  /** What is returned of the scores over the vocabulary. */
  readonly head: "logits" | "lastLogits" | "tokenLogProbs" | "none";
  /** Start in the middle: this hook's values are an input, and nothing before it is computed. */
  readonly from: { readonly name: string; readonly hook: LocatedHook } | undefined;
}

/**
 * What leaves the runtime of a captured tensor's positions: the mean over a row's tokens, its last
 * token, its largest values, or chosen positions; all of them if undefined.
 */
type PositionReduction = "mean" | "last" | "max" | "slice";

/**
 * Inputs that say which positions count; the first three with the hook's number of axes at the end
 * of their names.
 */
export const TOKEN_MASK = "penfield.token_mask";
export const TOKEN_COUNT = "penfield.token_count";
export const LAST_TOKEN = "penfield.last_token";
export const POSITIONS = "penfield.positions";

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
 *   y = Where(<hook>.projected, y - (y B) Bᵀ, y), B = <hook>.basis (project)
 *   y = y * <hook>.scale + <hook>.shift                          (affine)
 *   y = Where(<hook>.clamped, Min(Max(y, <hook>.min), <hook>.max), y) (clamp)
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

  addTokensShapes(graph);
  graph.initializer.push(
    makeTensor(HEADS_TOGETHER, "int64", [3], [0, 0, -1]),
    makeTensor(ONE, "int64", [1], [1]),
  );
  for (const hook of plan.capture.values()) returnFromFused(graph, hook);

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
      const shape = tokensShape(hook.stack);
      graph.node.push(makeNode("Reshape", [tensor, shape], [`${output}::read`]));
      tensor = `${output}::read`;
    } else if (hook.layout === "flat") {
      const shape = `${output}::heads`;
      if (hook.headsAs) graph.node.push(makeNode("Shape", [hook.headsAs], [shape]));
      else graph.initializer.push(makeTensor(shape, "int64", [4], [0, 0, hook.nHeads ?? 1, -1]));
      graph.node.push(makeNode("Reshape", [tensor, shape], [`${output}::read`]));
      tensor = `${output}::read`;
    } else if (hook.layout === "bphd" && axesOf(hook.kind).length === 3) {
      graph.node.push(makeNode("Reshape", [tensor, HEADS_TOGETHER], [`${output}::read`]));
      tensor = `${output}::read`;
    } else if (hook.layout === "routed") {
      graph.node.push(...inOneRow(tensor, `${output}::read`));
      tensor = `${output}::read::one_row`;
    } else if (hook.layout === "bhpd" && axesOf(hook.kind)[1] === "pos") {
      graph.node.push(makeNode("Transpose", [tensor], [`${output}::read`], { perm: SWAP }));
      tensor = `${output}::read`;
    }
    outputs.push(output);
    if (plan.reduce !== undefined && axesOf(hook.kind)[1] === "pos") {
      const opset = Number(model.opsetImport.find((o) => o.domain === "")?.version ?? 17n);
      const how = { reduce: plan.reduce, opset };
      const { nodes, result } = reducePositions(tensor, output, axesOf(hook.kind).length, how);
      graph.node.push(...nodes);
      tensor = result;
    }
    // Without a copy where the tensor can go out as it is; several names of one tensor need copies.
    const plain =
      hook.type === elementType.float32 && tensor === (current.get(hook.tensor) ?? hook.tensor);
    if (plain && renameToOutput(graph, tensor, output, elementType.float32)) {
      current.set(hook.tensor, output);
      continue;
    }
    exposeTensor(graph, tensor, output, { type: elementType.float32, castFrom: hook.type });
  }
  if (plan.reduce !== undefined) addPositionInputs(graph);
  const scores = located.output;
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

/** `[batch, head, pos, d_head]` to `[batch, pos, head, d_head]` and back. */
const SWAP = [0n, 2n, 1n, 3n];
/** `[batch, pos, head, d_head]` to `[batch, pos, head * d_head]`. */
const HEADS_TOGETHER = "penfield.heads_together";

/** The positions of a tensor brought to what is asked for; the axis stays, with fewer places. */
function reducePositions(
  tensor: string,
  output: string,
  rank: number,
  { reduce, opset }: { reduce: PositionReduction; opset: number },
): { nodes: NodeProto[]; result: string } {
  const result = `${output}::read_${reduce}`;
  const at = (suffix: string) => `${output}::${reduce}_${suffix}`;
  const over = (op: string, input: string, from: string, to: string): NodeProto =>
    opset >= (op === "ReduceSum" ? 13 : 18)
      ? makeNode(op, [input, from], [to], { keepdims: 1n })
      : makeNode(op, [input], [to], { axes: [1n], keepdims: 1n });
  switch (reduce) {
    case "slice":
      return { nodes: [makeNode("Gather", [tensor, POSITIONS], [result], { axis: 1n })], result };
    case "mean": {
      // Where, not a product: padding may hold anything.
      const nodes = [
        makeNode("Where", [`${TOKEN_MASK}${rank}`, tensor, "penfield.zero"], [at("tokens")]),
        over("ReduceSum", at("tokens"), "penfield.pos_axis", at("sum")),
        makeNode("Div", [at("sum"), `${TOKEN_COUNT}${rank}`], [result]),
      ];
      return { nodes, result };
    }
    case "max": {
      const nodes = [
        makeNode("Where", [`${TOKEN_MASK}${rank}`, tensor, "penfield.lowest"], [at("tokens")]),
        over("ReduceMax", at("tokens"), "penfield.pos_axis", result),
      ];
      return { nodes, result };
    }
    case "last": {
      const nodes = [
        makeNode("Shape", [tensor], [at("shape")]),
        makeNode(
          "ScatterElements",
          [at("shape"), "penfield.pos_axis", "penfield.one"],
          [at("one")],
        ),
        makeNode("Expand", [`${LAST_TOKEN}${rank}`, at("one")], [at("index")]),
        makeNode("GatherElements", [tensor, at("index")], [result], { axis: 1n }),
      ];
      return { nodes, result };
    }
  }
}

/** Inputs that say which positions count, in the ranks that hooks have; pruned where none needs them. */
function addPositionInputs(graph: NonNullable<ModelProto["graph"]>): void {
  graph.input.push(makeValueInfo(POSITIONS, "int64", ["positions"]));
  for (const rank of [3, 4]) {
    const rest = Array.from({ length: rank - 2 }, (_, i) => `ones_${i}`);
    graph.input.push(
      makeValueInfo(`${TOKEN_MASK}${rank}`, "bool", ["mask_batch", "mask_pos", ...rest]),
      makeValueInfo(`${TOKEN_COUNT}${rank}`, "float32", ["mask_batch", "one", ...rest]),
      makeValueInfo(`${LAST_TOKEN}${rank}`, "int64", ["mask_batch", "one", ...rest]),
    );
  }
  graph.initializer.push(
    makeTensor("penfield.pos_axis", "int64", [1], [1]),
    makeTensor("penfield.one", "int64", [1], [1]),
    makeTensor("penfield.zero", "float32", [], [0]),
    makeTensor("penfield.lowest", "float32", [], [Number.NEGATIVE_INFINITY]),
  );
}

const tokensShape = (stack: string | undefined): string =>
  `penfield.tokens_shape.${stack === "decoder" ? "decoder" : "input"}`;

/** `[batch, pos, -1]`, for tensors in which batch and position are one axis; pruned where none needs it. */
function addTokensShapes(graph: NonNullable<ModelProto["graph"]>): void {
  const names = graph.input.map((v) => v.name).filter((name) => name.endsWith("input_ids"));
  const decoder = names.find((name) => name.startsWith("decoder"));
  const input = names.find((name) => name !== decoder) ?? decoder;
  graph.initializer.push(makeTensor("penfield.rest", "int64", [1], [-1]));
  for (const [stack, ids] of [
    ["encoder", input],
    ["decoder", decoder ?? input],
  ] as const) {
    if (ids === undefined) continue;
    const shape = `penfield.ids_shape.${stack}`;
    graph.node.push(
      makeNode("Shape", [ids], [shape]),
      makeNode("Concat", [shape, "penfield.rest"], [tokensShape(stack)], { axis: 0n }),
    );
  }
}

/**
 * Makes the scores or the pattern of a fused operator a tensor: a second operator beside the first
 * reads the same and returns them, so that what the model computes stays as it is.
 */
function returnFromFused(
  graph: NonNullable<ModelProto["graph"]>,
  { tensor, type }: LocatedHook,
): void {
  const pattern = tensor.endsWith(FUSED_PATTERN);
  if (!pattern && !tensor.endsWith(FUSED_SCORES)) return;
  const made = tensor.slice(0, -(pattern ? FUSED_PATTERN : FUSED_SCORES).length);
  const node = graph.node.find((n) => n.output[0] === made);
  if (!node) return;
  const grouped = node.opType === "GroupQueryAttention";
  const scores = pattern && !grouped ? `${tensor}::scores` : tensor;
  const twin = makeNode(
    `com.microsoft:${node.opType}`,
    [...node.input],
    [`${tensor}::z`, `${tensor}::k`, `${tensor}::v`, scores],
    grouped ? { qk_output: pattern ? 2n : 1n } : {},
  );
  twin.attribute.push(...node.attribute.filter((a) => a.name !== "qk_output"));
  graph.node.push(twin);
  // The operator's rules do not say of which type its scores are.
  graph.valueInfo.push(makeValueInfo(scores, type));
  if (scores !== tensor) graph.node.push(makeNode("Softmax", [scores], [tensor], { axis: -1n }));
}

const ONE = "penfield.one_row";

/** `[token, unit]` to `[1, token, unit]`. */
function inOneRow(tensor: string, name: string): NodeProto[] {
  // An expert that no token was sent to has none: 0 is its number of tokens, not "as before".
  return [
    makeNode("Shape", [tensor], [`${name}::routed_shape`]),
    makeNode("Concat", [ONE, `${name}::routed_shape`], [`${name}::row_shape`], { axis: 0n }),
    makeNode("Reshape", [tensor, `${name}::row_shape`], [`${name}::one_row`], { allowzero: 1n }),
  ];
}

function hookNodes(
  name: string,
  tensor: string,
  { type, flattened, layout, stack }: LocatedHook,
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
  if (flattened) step("Reshape", [at, tokensShape(stack)], "rows");
  if (layout === "routed") {
    nodes.push(...inOneRow(at, name));
    at = `${name}::one_row`;
  }
  if (layout === "bhpd") step("Transpose", [at], "by_position", { perm: SWAP });
  const perHead = at;
  const apart = layout === "bphd" || layout === "bhpd";
  if (apart) step("Reshape", [at, HEADS_TOGETHER], "heads_together");
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
  if (slots.includes("project")) {
    // x - (x B) Bᵀ where it is asked for; what is kept is again the second branch of Where.
    nodes.push(
      makeNode("MatMul", [at, `${name}.basis`], [`${name}::coordinates`]),
      makeNode("Transpose", [`${name}.basis`], [`${name}::basis_t`], { perm: [0n, 2n, 1n] }),
      makeNode("MatMul", [`${name}::coordinates`, `${name}::basis_t`], [`${name}::part`]),
      makeNode("Sub", [at, `${name}::part`], [`${name}::rest`]),
    );
    step("Where", [`${name}.projected`, `${name}::rest`, at], "projected_out");
  }
  if (slots.includes("affine")) {
    step("Mul", [at, `${name}.scale`], "scaled");
    step("Add", [at, `${name}.shift`], "shifted");
  }
  if (slots.includes("clamp")) {
    nodes.push(
      makeNode("Max", [at, `${name}.min`], [`${name}::not_below`]),
      makeNode("Min", [`${name}::not_below`, `${name}.max`], [`${name}::within`]),
    );
    step("Where", [`${name}.clamped`, `${name}::within`, at], "clamped_to");
  }
  if (!float32) step("Cast", [at], "hooked", { to: BigInt(type) });
  if (flattened || layout === "routed") {
    nodes.push(makeNode("Shape", [tensor], [`${name}::flat_shape`]));
    const zeros = layout === "routed" ? { allowzero: 1n } : {};
    step("Reshape", [at, `${name}::flat_shape`], "flat", zeros);
  }
  if (apart) {
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
    case "clamp":
      return [input("min", "float32"), input("max", "float32"), input("clamped", "bool")];
    case "project":
      return [input("basis", "float32"), input("projected", "bool")];
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
  graph.input.push(
    makeValueInfo(TARGETS, "int64", ["targets_batch", "targets_pos", "targets_one"]),
  );
  graph.node.push(
    makeNode("Cast", [logits], ["penfield.logits"], { to: BigInt(elementType.float32) }),
    makeNode("LogSoftmax", ["penfield.logits"], ["penfield.log_probs"], { axis: -1n }),
    makeNode("GatherElements", ["penfield.log_probs", TARGETS], [TOKEN_LOG_PROBS], { axis: -1n }),
  );
  graph.output.push(makeValueInfo(TOKEN_LOG_PROBS, "float32"));
  return TOKEN_LOG_PROBS;
}
