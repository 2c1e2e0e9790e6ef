import { ModelError } from "@penfield/core";
import { attribute, type GraphIndex, intAttribute, type NodeProto } from "@penfield/onnx";

/** One operator on a way through the graph; `T` is how a constant is held: by name, or as its values. */
export type PathStep<T> =
  | {
      readonly kind: "linear";
      readonly weight: T;
      readonly bias: T | undefined;
      readonly transposed: boolean;
    }
  | { readonly kind: "add"; readonly value: T }
  | { readonly kind: "scale"; readonly value: T; readonly divide: boolean }
  | {
      readonly kind: "norm";
      readonly type: "LN" | "RMS";
      readonly epsilon: T | number;
      readonly weight: T | undefined;
      readonly bias: T | undefined;
    }
  /** Another activation is added (position vectors). */
  | { readonly kind: "sum"; readonly tensor: string }
  | { readonly kind: "tanh" };

const SAME_VALUES = new Set([
  "Reshape",
  "Cast",
  "Squeeze",
  "Unsqueeze",
  "Flatten",
  "Identity",
  "Dropout",
  "Slice",
]);

/**
 * The operators between two tensors, first to last: linear maps, constants added and multiplied, and
 * norms, fused or written out in primitive operators.
 *
 * @throws {ModelError} naming the first operator that is none of these.
 */
export function readPath(index: GraphIndex, from: string, to: string): PathStep<string>[] {
  const steps: PathStep<string>[] = [];
  let at = to;
  while (at !== from) {
    const number = index.producer.get(at);
    const node = number === undefined ? undefined : index.graph.node[number]!;
    const found = node && step(index, node, from);
    if (!found) {
      throw new ModelError(
        `readPath: expected linear maps, norms, constants and residual sums between ${from} and ${to}, got ${node?.opType ?? `the input ${at}`}`,
        {
          hint: "Weights that are multiplied in 8 or 4 bits (MatMulInteger, MatMulNBits) are not read; hooks still work.",
        },
      );
    }
    if (found.step) steps.unshift(found.step);
    at = found.input;
  }
  return steps;
}

interface Found {
  readonly input: string;
  readonly step?: PathStep<string>;
}

function step(index: GraphIndex, node: NodeProto, from: string): Found | undefined {
  const [a = "", b = "", c = ""] = node.input;
  const fixed = (name: string): boolean => index.isConstant(name);
  switch (node.opType) {
    case "MatMul":
      if (!fixed(b)) return undefined;
      return { input: a, step: { kind: "linear", weight: b, bias: undefined, transposed: false } };
    case "Gemm": {
      const plain = ["alpha", "beta"].every((name) => (attribute(node, name)?.f ?? 1) === 1);
      if (!fixed(b) || !plain || intAttribute(node, "transA", 0) !== 0) return undefined;
      const transposed = intAttribute(node, "transB", 0) === 1;
      return { input: a, step: { kind: "linear", weight: b, bias: c || undefined, transposed } };
    }
    case "LayerNormalization":
    case "SimplifiedLayerNormalization":
    case "RMSNormalization": {
      const type = node.opType === "LayerNormalization" ? "LN" : "RMS";
      const epsilon = attribute(node, "epsilon")?.f ?? 1e-5;
      return {
        input: a,
        step: { kind: "norm", type, epsilon, weight: b || undefined, bias: c || undefined },
      };
    }
    case "Tanh":
      return { input: a, step: { kind: "tanh" } };
    case "Add":
      if (fixed(a)) return { input: b, step: { kind: "add", value: a } };
      if (fixed(b)) return { input: a, step: { kind: "add", value: b } };
      if (comesFrom(index, a, from)) return { input: a, step: { kind: "sum", tensor: b } };
      if (comesFrom(index, b, from)) return { input: b, step: { kind: "sum", tensor: a } };
      return undefined;
    case "Mul":
      if (fixed(a)) return { input: b, step: { kind: "scale", value: a, divide: false } };
      if (fixed(b)) return { input: a, step: { kind: "scale", value: b, divide: false } };
      return primitiveNorm(index, a, b) ?? primitiveNorm(index, b, a);
    case "Div":
      if (fixed(b)) return { input: a, step: { kind: "scale", value: b, divide: true } };
      return primitiveNorm(index, a, b);
    default:
      return SAME_VALUES.has(node.opType) ? { input: a } : undefined;
  }
}

function comesFrom(index: GraphIndex, tensor: string, from: string): boolean {
  const seen = new Set<string>();
  const stack = [tensor];
  while (stack.length > 0) {
    const at = stack.pop()!;
    if (at === from) return true;
    const number = index.producer.get(at);
    if (number === undefined || seen.has(at)) continue;
    seen.add(at);
    const node = index.graph.node[number]!;
    if (node.opType !== "Shape") stack.push(...node.input);
  }
  return false;
}

/** x / sqrt(mean(x^2) + epsilon), with or without the mean taken off x first, in single operators. */
function primitiveNorm(index: GraphIndex, top: string, bottom: string): Found | undefined {
  const producer = (name: string): NodeProto | undefined => {
    const number = index.producer.get(name);
    return number === undefined ? undefined : index.graph.node[number]!;
  };
  const uncast = (name: string): string => {
    const node = producer(name);
    return node?.opType === "Cast" || node?.opType === "Identity" ? uncast(node.input[0]!) : name;
  };
  let at = bottom;
  let epsilon: string | number = 0;
  for (;;) {
    const node = producer(at);
    if (!node) return undefined;
    const [a = "", b = ""] = node.input;
    if (node.opType === "ReduceMean") {
      at = a;
      break;
    }
    if (["Cast", "Sqrt", "Reciprocal", "Identity"].includes(node.opType)) at = a;
    else if (node.opType === "Pow" && index.isConstant(b)) at = a;
    else if (node.opType === "Div" && index.isConstant(a)) at = b;
    else if (node.opType === "Add" && (index.isConstant(a) || index.isConstant(b))) {
      [at, epsilon] = index.isConstant(a) ? [b, a] : [a, b];
    } else return undefined;
  }
  const square = producer(uncast(at));
  const isSquare =
    (square?.opType === "Pow" && index.isConstant(square.input[1]!)) ||
    (square?.opType === "Mul" && square.input[0] === square.input[1]);
  if (!square || !isSquare) return undefined;
  const base = uncast(square.input[0]!);
  const none = { weight: undefined, bias: undefined };
  const sameSub = (x: string, y: string): boolean => {
    const [m, n] = [producer(x), producer(y)];
    return m?.opType === "Sub" && n?.opType === "Sub" && m.input.join() === n.input.join();
  };
  if (uncast(top) !== base && !sameSub(uncast(top), base)) return undefined;
  const sub = producer(base);
  if (sub?.opType === "Sub" && producer(uncast(sub.input[1]!))?.opType === "ReduceMean") {
    return { input: sub.input[0]!, step: { kind: "norm", type: "LN", epsilon, ...none } };
  }
  return { input: base, step: { kind: "norm", type: "RMS", epsilon, ...none } };
}

/** A linear map: `[nIn, nOut]` and what is added. */
export interface Linear {
  readonly kind: "linear";
  /** `[nIn, nOut]`, row-major. */
  readonly weight: Float32Array;
  readonly bias: Float32Array | undefined;
  readonly nIn: number;
  readonly nOut: number;
}

/** A step whose constants have been read; a value of one number stands for all places. */
export type Step =
  | Linear
  | { readonly kind: "add"; readonly value: Float32Array }
  | { readonly kind: "scale"; readonly value: Float32Array }
  | {
      readonly kind: "norm";
      readonly type: "LN" | "RMS";
      readonly epsilon: number;
      readonly weight: Float32Array | undefined;
      readonly bias: Float32Array | undefined;
    }
  | { readonly kind: "tanh" };

export type Affine = Exclude<Step, { kind: "tanh" } | { kind: "linear" }>;

const at = (values: Float32Array, i: number): number => values[values.length === 1 ? 0 : i]!;

/** What a norm divides by: sqrt(mean((x - centre)^2) + epsilon). */
function denominator(x: Float64Array, step: Affine & { kind: "norm" }): number {
  const centre = step.type === "LN" ? mean(x) : 0;
  let squares = 0;
  for (const v of x) squares += (v - centre) ** 2;
  return Math.sqrt(squares / x.length + step.epsilon);
}

function mean(x: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i]!;
  return sum / x.length;
}

/**
 * A way with its norms frozen at what they divide by for one total x: an affine map, whose linear
 * part can be applied to any share of x (`share`) and to directions backwards (`pull`).
 */
export class FrozenPath {
  readonly #steps: readonly Affine[];
  /** For each step the denominator, if it is a norm. */
  readonly #denominators: readonly number[];

  constructor(steps: readonly Affine[], total: Float64Array) {
    this.#steps = steps;
    let x = total;
    this.#denominators = steps.map((step) => {
      const s = step.kind === "norm" ? denominator(x, step) : 1;
      x = forward(x, step, s, true);
      return s;
    });
  }

  /** What becomes of a share of the total: the parts of a total add up, but for `constant`. */
  share(x: Float64Array): Float64Array {
    return this.#steps.reduce((y, step, i) => forward(y, step, this.#denominators[i]!, false), x);
  }

  /** What the way adds of its own: biases. */
  constant(size: number): Float64Array {
    let x = new Float64Array(size);
    this.#steps.forEach((step, i) => {
      x = forward(x, step, this.#denominators[i]!, true);
    });
    return x;
  }

  /** The direction d' with d' . x = d . share(x) for every x. */
  pull(direction: Float64Array): Float64Array {
    let d = direction;
    for (let i = this.#steps.length - 1; i >= 0; i--)
      d = backward(d, this.#steps[i]!, this.#denominators[i]!);
    return d;
  }
}

function forward(
  x: Float64Array,
  step: Affine,
  s: number,
  whole: boolean,
): Float64Array<ArrayBuffer> {
  switch (step.kind) {
    case "add":
      return Float64Array.from(x, (v, i) => (whole ? v + at(step.value, i) : v));
    case "scale":
      return Float64Array.from(x, (v, i) => v * at(step.value, i));
    case "norm": {
      const centre = step.type === "LN" ? mean(x) : 0;
      return Float64Array.from(x, (v, i) => {
        const y = ((v - centre) / s) * (step.weight ? at(step.weight, i) : 1);
        return whole && step.bias ? y + at(step.bias, i) : y;
      });
    }
  }
}

function backward(d: Float64Array, step: Affine, s: number): Float64Array {
  switch (step.kind) {
    case "add":
      return d;
    case "scale":
      return Float64Array.from(d, (v, i) => v * at(step.value, i));
    case "norm": {
      const { weight } = step;
      const scaled = weight ? Float64Array.from(d, (v, i) => v * at(weight, i)) : d;
      const centre = step.type === "LN" ? mean(scaled) : 0;
      return Float64Array.from(scaled, (v) => (v - centre) / s);
    }
  }
}
