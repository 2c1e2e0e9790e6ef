import { ModelError } from "@penfield/core";
import {
  attribute,
  elementType,
  type GraphIndex,
  intAttribute,
  type ModelProto,
  makeModel,
  makeNode,
  makeTensor,
  makeValueInfo,
  type NodeProto,
  type NumericArray,
  prune,
  type TensorProto,
} from "@penfield/onnx";
import { Tensor } from "onnxruntime-node";
import { createSession } from "../transformer/runtime.ts";

/** One operator on the way from a matrix to the hook that shows a part of its product. */
type ProjectionStep =
  /** Values are moved: split, reshaped, turned. */
  | {
      readonly kind: "move";
      readonly node: NodeProto;
      readonly from: string;
      readonly to: string;
    }
  /** Values stay where they are: casts, norms, what rounds activations. */
  | { readonly kind: "stay"; readonly from: string; readonly to: string }
  | {
      readonly kind: "add" | "scale";
      readonly opType: string;
      readonly value: string;
      readonly from: string;
      readonly to: string;
    };

/** The matrix that makes the values at a hook, and the way from its product to the hook. */
export interface Projection {
  /** MatMul or Gemm with a constant weight. */
  readonly linear: NodeProto;
  readonly steps: readonly ProjectionStep[];
}

const MOVES = new Set([
  "Reshape",
  "Transpose",
  "Split",
  "Slice",
  "Gather",
  "Squeeze",
  "Unsqueeze",
  "Flatten",
]);
const STAYS = new Set(["Cast", "Identity", "Dropout", "Clip"]);
const NORMS = new Set([
  "LayerNormalization",
  "SimplifiedLayerNormalization",
  "RMSNormalization",
  "LpNormalization",
]);
const FLOATS = new Set<number>([elementType.float32, elementType.float16, elementType.float64]);
/** What is in a norm that is written out in single operators, and in nothing else that stands here. */
const AVERAGES = new Set(["ReduceMean", "ReduceSum", "ReduceL2", "ReduceSumSquare"]);

/**
 * Walks back from a hook's tensor to the one matrix that makes it. What a norm multiplies and adds
 * belongs to the norm.
 *
 * @throws {ModelError} naming the operator at which the way ends, or divides.
 */
export function findProjection(index: GraphIndex, hook: string, tensor: string): Projection {
  const fail = (got: string): never => {
    throw new ModelError(
      `ModelWeights: expected one matrix, and splits, biases and norms behind it, before ${hook}, got ${got}`,
      { hint: "The hook's values can be read, but no single weight makes them." },
    );
  };
  let steps: ProjectionStep[] = [];
  let to = tensor;
  for (;;) {
    const number = index.producer.get(to);
    if (number === undefined) return fail(`the input ${to}`);
    const node = index.graph.node[number]!;
    const { opType } = node;
    if (isLinear(index, node)) return { linear: node, steps };
    const [a = "", b = ""] = node.input;
    const changing = node.input.filter((name) => name !== "" && !index.isConstant(name));
    let step: ProjectionStep;
    if (MOVES.has(opType) && !index.isConstant(a)) step = { kind: "move", node, from: a, to };
    else if (STAYS.has(opType)) step = { kind: "stay", from: a, to };
    else if (changing.length === 1 && (opType === "Add" || opType === "Mul")) {
      const [from, value] = index.isConstant(a) ? [b, a] : [a, b];
      step = { kind: opType === "Add" ? "add" : "scale", opType, value, from, to };
    } else if (changing[0] === a && changing.length === 1 && (opType === "Sub" || opType === "Div"))
      step = { kind: opType === "Sub" ? "add" : "scale", opType, value: b, from: a, to };
    else {
      const from = NORMS.has(opType) ? a : beforeNorm(index, to);
      if (from === undefined) return fail(opType);
      step = { kind: "stay", from, to };
      // Whatever was found behind the norm is the norm's own weight and bias.
      steps = steps.map((s) =>
        s.kind === "add" || s.kind === "scale" ? { kind: "stay", from: s.from, to: s.to } : s,
      );
    }
    steps = [step, ...steps];
    to = step.from;
  }
}

function isLinear(index: GraphIndex, node: NodeProto): boolean {
  const [a = "", b = ""] = node.input;
  if (index.isConstant(a) || !index.isConstant(b)) return false;
  if (node.opType === "MatMul") return true;
  const plain = ["alpha", "beta"].every((name) => (attribute(node, name)?.f ?? 1) === 1);
  return node.opType === "Gemm" && plain && intAttribute(node, "transA", 0) === 0;
}

/** The tensor that goes into a norm written out in single operators, if that is what makes `tensor`. */
function beforeNorm(index: GraphIndex, tensor: string): string | undefined {
  const rank = (name: string): number => index.rank[index.producer.get(name) ?? -1] ?? -1;
  let averages = false;
  let open = new Set([tensor]);
  for (;;) {
    // The latest of the open tensors is replaced by what it is made from.
    const latest = [...open].reduce((x, y) => (rank(y) > rank(x) ? y : x));
    const number = index.producer.get(latest);
    if (number === undefined) return undefined;
    const node = index.graph.node[number]!;
    if (latest !== tensor && isLinear(index, node)) return undefined;
    averages ||= AVERAGES.has(node.opType);
    open = new Set([...open].filter((name) => name !== latest));
    for (const name of node.input) if (name !== "" && !index.isConstant(name)) open.add(name);
    const [only] = open;
    if (open.size === 1) return averages ? only : undefined;
    if (open.size === 0) return undefined;
  }
}

/** Which columns of a matrix a hook shows, in the order of the hook's values. */
export interface Columns {
  /** For each value at the hook the column of the matrix that makes it. */
  readonly columns: Int32Array;
  /** What each is multiplied with on the way; undefined: with nothing. */
  readonly scale: Float32Array | undefined;
  /** What is added in all, the matrix's own bias included. */
  readonly bias: Float32Array;
  /** Sizes of the hook's tensor for one row and one position. */
  readonly shape: readonly number[];
}

/** What a probe of a projection must know of its graph. */
export interface ProbeContext {
  readonly index: GraphIndex;
  readonly types: ReadonlyMap<string, number>;
  readonly ranks: ReadonlyMap<string, number>;
  /** Where versions of operators come from. */
  readonly model: ModelProto;
  readonly dModel: number;
  /** The values of constants by name. */
  constants(names: readonly string[]): Promise<ReadonlyMap<string, NumericArray>>;
}

/**
 * Finds which column of a matrix lands where at a hook by running the graph between the two on the
 * numbers of the columns (exact in float32 below 2^24), so that no splitting need be understood:
 * halves, thirds, heads with their queries, keys and values side by side all come out.
 *
 * @param bias - The bias that the matrix's own operator adds, `[nOut]`.
 * @throws {ModelError} if what arrives are not numbers of columns.
 *
 * Cost: sessions of a few operators on one vector.
 */
export async function findColumns(
  context: ProbeContext,
  hook: string,
  projection: Projection,
  bias: Float32Array,
): Promise<Columns> {
  const { steps } = projection;
  const nOut = bias.length;
  const numbers = Float32Array.from({ length: nOut }, (_, i) => i + 1);
  const landed = await runSteps(context, hook, projection, new Set(), numbers);
  const columns = Int32Array.from(landed.data, (v) => v - 1);
  const wrong = landed.data.findIndex((v) => !(Number.isInteger(v) && v >= 1 && v <= nOut));
  if (wrong >= 0 || columns.length === 0) {
    throw new ModelError(
      `ModelWeights: expected columns of a matrix at ${hook}, got ${landed.data[wrong] ?? "nothing"}`,
    );
  }
  const scaled = steps.some((step) => step.kind === "scale");
  const added = steps.some((step) => step.kind === "add");
  const ones = new Float32Array(nOut).fill(1);
  return {
    columns,
    shape: landed.shape,
    scale: scaled
      ? (await runSteps(context, hook, projection, new Set(["scale"]), ones)).data
      : undefined,
    bias:
      scaled || added
        ? (await runSteps(context, hook, projection, new Set(["scale", "add"]), bias)).data
        : Float32Array.from(columns, (c) => bias[c]!),
  };
}

type StepKind = ProjectionStep["kind"];

/** Runs the steps behind a matrix on one vector; of constants only those of the kinds named take part. */
async function runSteps(
  context: ProbeContext,
  hook: string,
  { linear, steps }: Projection,
  live: ReadonlySet<StepKind>,
  values: Float32Array,
): Promise<NumericArray> {
  const { index, types, ranks, model, dModel } = context;
  const start = linear.output[0]!;
  const dims = [...Array.from({ length: (ranks.get(start) ?? 3) - 1 }, () => 1), values.length];
  if (steps.length === 0) return { data: values, shape: dims };
  const onTheWay = new Set([start, ...steps.map((step) => step.to)]);
  const own = (name: string): string => (onTheWay.has(name) ? `way::${name}` : name);
  const nodes: NodeProto[] = [];
  const made = new Set<string>();
  /** Constants that steps read beside the values, and those that they calculate with. */
  const sizes = new Set<string>();
  const factors = new Set<string>();
  const stand: TensorProto[] = [];

  const takeAlong = (name: string): void => {
    if (name === "" || made.has(name) || onTheWay.has(name)) return;
    if (index.isConstant(name)) {
      sizes.add(name);
      return;
    }
    const number = index.producer.get(name);
    const node = number === undefined ? undefined : index.graph.node[number]!;
    if (!node) {
      throw new ModelError(
        `ModelWeights: expected sizes that come from shapes on the way to ${hook}, got ${name}`,
      );
    }
    for (const output of node.output) made.add(output);
    const [source = ""] = node.input;
    if (node.opType === "Shape" && !onTheWay.has(source)) {
      // One row with one token, whatever stands there.
      const like = Array.from({ length: ranks.get(source) ?? 3 }, () => 1);
      if (FLOATS.has(types.get(source) ?? elementType.float32)) like[like.length - 1] = dModel;
      const size = like.reduce((a, b) => a * b, 1);
      stand.push(makeTensor(`${name}::like`, "float32", like, new Float32Array(size)));
      nodes.push(copyNode(node, (at) => (at === source ? `${name}::like` : at)));
      return;
    }
    for (const input of node.input) takeAlong(input);
    nodes.push(copyNode(node, own));
  };
  for (const step of steps) {
    if (step.kind === "move") {
      for (const input of step.node.input) if (input !== step.from) takeAlong(input);
      nodes.push(copyNode(step.node, own));
    } else if (step.kind !== "stay" && live.has(step.kind)) {
      factors.add(step.value);
      const inputs = [own(step.from), `factor::${step.value}`];
      nodes.push(makeNode(step.opType, inputs, [own(step.to)]));
    } else nodes.push(makeNode("Identity", [own(step.from)], [own(step.to)]));
  }
  const read = await context.constants([...new Set([...sizes, ...factors])]);
  const end = own(steps.at(-1)!.to);
  const probe = makeModel({
    nodes,
    initializers: [
      ...stand,
      ...[...sizes].map((name) => makeConstant(name, types.get(name), read.get(name)!)),
      ...[...factors].map((name) => {
        const { data, shape } = read.get(name)!;
        return makeTensor(`factor::${name}`, "float32", shape, data);
      }),
    ],
    inputs: [makeValueInfo(own(start), "float32")],
    outputs: [makeValueInfo(end, "float32")],
  });
  probe.irVersion = model.irVersion;
  probe.opsetImport = model.opsetImport;
  prune(probe.graph!, [end]);
  const session = await createSession(probe, { kind: "bytes", files: [] }, { threads: 1 });
  try {
    const output = await session.run({ [own(start)]: new Tensor("float32", values, dims) });
    const { data, dims: shape } = output[end]!;
    return { data: data as Float32Array, shape };
  } catch (cause) {
    throw new ModelError(
      `ModelWeights: onnxruntime could not run the way to ${hook}: ${(cause as Error).message}`,
      { cause },
    );
  } finally {
    await session.release();
  }
}

function copyNode(node: NodeProto, rename: (name: string) => string): NodeProto {
  return Object.assign(Object.create(Object.getPrototypeOf(node)), node, {
    input: node.input.map(rename),
    output: node.output.map(rename),
  }) as NodeProto;
}

const LARGEST = 2n ** 63n - 1n;

/** A constant in its own type again; "to the end" comes as a number beyond all whole ones. */
function makeConstant(
  name: string,
  type: number | undefined,
  { data, shape }: NumericArray,
): TensorProto {
  switch (type) {
    case elementType.int64: {
      const whole = BigInt64Array.from(data, (v) => {
        const value = BigInt(Math.trunc(v));
        return value > LARGEST ? LARGEST : value < -LARGEST ? -LARGEST : value;
      });
      return makeTensor(name, "int64", shape, whole);
    }
    case elementType.int32: {
      const limit = 2 ** 31 - 1;
      const whole = Int32Array.from(data, (v) => Math.max(-limit, Math.min(limit, v)));
      return makeTensor(name, "int32", shape, whole);
    }
    case elementType.bool:
      return makeTensor(name, "bool", shape, Uint8Array.from(data));
    default:
      return makeTensor(name, "float32", shape, data);
  }
}
