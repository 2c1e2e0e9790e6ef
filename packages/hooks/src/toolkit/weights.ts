import { ArgumentError, HookPointError, ModelError } from "@penfield/core";
import type { HookKind } from "../hookPoint.ts";
import type { ModelConfig } from "../transformer/config.ts";
import type { HookValues, ModelCore } from "../transformer/modelCore.ts";
import { type Affine, type Linear, type PathStep, readPath, type Step } from "./path.ts";

/** Weights by TransformerLens' names. */
export type WeightName = "W_E" | "W_pos" | "W_U" | "b_U" | "W_O" | "b_O" | "W_out" | "b_out";

const PER_LAYER = new Set<string>(["W_O", "b_O", "W_out", "b_out"]);

/** The norm between the residual stream and the unembedding. */
export interface FinalNorm {
  /** LayerNorm takes the mean off first; RMS does not. */
  readonly kind: "LN" | "RMS";
  readonly epsilon: number;
  /** `[d_model]`; ones where the norm has none. Gemma's 1 + w is one number here. */
  readonly weight: Float32Array;
  /** `[d_model]`; zeros where the norm has none. */
  readonly bias: Float32Array;
}

/** How a branch writes: its last matrix, then what is done to the product before it is added. */
export interface BranchWeights {
  readonly linear: Linear;
  readonly after: readonly Affine[];
}

/** How scores come from the residual stream. */
export interface UnembedWeights {
  readonly before: readonly Affine[];
  readonly linear: Linear;
  /** After the matrix, before a soft cap: biases and multipliers. */
  readonly after: readonly Affine[];
  /** Scores are capped by a tanh after all of this (Gemma 2). */
  readonly capped: boolean;
}

/**
 * The weights of a model by TransformerLens' names, found by the structure of the graph and read by
 * the runtime itself, so that transposed, cast, folded, external and dequantised weights are all
 * one. Each is read when it is first asked for, and kept. Nothing is folded or centered.
 *
 * | name | shape |
 * |---|---|
 * | `W_E` | [d_vocab, d_model] |
 * | `W_pos` | [n_ctx, d_model], as stored (OPT stores two places more) |
 * | `W_U`, `b_U` | [d_model, d_vocab], [d_vocab] |
 * | `W_O`, `b_O` | [n_heads, d_head, d_model], [d_model], per layer |
 * | `W_out`, `b_out` | [d_mlp, d_model], [d_model], per layer |
 *
 * A multiplier or a norm between a branch's matrix and the residual stream (Granite, Gemma 2) is not
 * part of `W_O` and `W_out`.
 */
export class ModelWeights {
  readonly #core: ModelCore;
  readonly #cfg: ModelConfig;
  readonly #kept = new Map<string, Promise<unknown>>();

  constructor(core: ModelCore, cfg: ModelConfig) {
    this.#core = core;
    this.#cfg = cfg;
  }

  /**
   * A weight by name.
   *
   * @param layer - For `W_O`, `b_O`, `W_out`, `b_out`; negative counts from the last.
   * @throws {ModelError} if the model has none, or it is quantised in a way that is not read
   *   (MatMulInteger, MatMulNBits).
   * @throws {ArgumentError} for a layer that does not exist.
   */
  async get(name: WeightName, layer?: number): Promise<HookValues> {
    if (PER_LAYER.has(name)) return this.#perLayer(name, this.layer(layer));
    switch (name) {
      case "W_E":
        return this.#table(await this.#embedTable());
      case "W_pos":
        return this.#table(await this.#positionTable());
      case "W_U": {
        const { linear } = await this.unembed();
        return { data: linear.weight, shape: [linear.nIn, linear.nOut] };
      }
      case "b_U": {
        const { linear, after } = await this.unembed();
        return { data: addedTo(linear, after), shape: [linear.nOut] };
      }
      default:
        throw new ArgumentError(
          `ModelWeights: expected W_E, W_pos, W_U, b_U, W_O, b_O, W_out or b_out, got ${JSON.stringify(name)}`,
        );
    }
  }

  async #perLayer(name: string, layer: number): Promise<HookValues> {
    const attn = name.endsWith("_O");
    const { linear, after } = await this.branch(attn ? "attn" : "mlp", layer);
    const { nIn, nOut, weight } = linear;
    if (name.startsWith("b_")) return { data: addedTo(linear, after), shape: [nOut] };
    if (!attn) return { data: weight, shape: [nIn, nOut] };
    const { nHeads } = this.#cfg;
    if (nHeads === undefined || nIn % nHeads !== 0) {
      throw new ModelError(
        `ModelWeights: expected a number of heads that divides ${nIn}, got ${nHeads}`,
        { hint: "Put config.json beside the model." },
      );
    }
    return { data: weight, shape: [nHeads, nIn / nHeads, nOut] };
  }

  /** The norm before the unembedding. @throws {ModelError} if there is none. */
  async finalNorm(): Promise<FinalNorm> {
    const { before } = await this.unembed();
    const place = before.findIndex((step) => step.kind === "norm");
    const norm = before[place];
    if (norm?.kind !== "norm") throw new ModelError("ModelWeights: the model has no final norm");
    const { dModel } = this.#cfg;
    const weight = Float32Array.from({ length: dModel }, (_, i) => norm.weight?.[i] ?? 1);
    const bias = Float32Array.from({ length: dModel }, (_, i) => norm.bias?.[i] ?? 0);
    for (const step of before.slice(place + 1)) {
      for (let i = 0; i < dModel; i++) {
        const value = step.kind === "norm" ? 1 : step.value[step.value.length === 1 ? 0 : i]!;
        if (step.kind === "add") bias[i]! += value;
        if (step.kind !== "scale") continue;
        weight[i]! *= value;
        bias[i]! *= value;
      }
    }
    return { kind: norm.type, epsilon: norm.epsilon, weight, bias };
  }

  /** The matrix that a branch ends with and what follows it; for analysis functions. */
  branch(part: "attn" | "mlp", layer: number): Promise<BranchWeights> {
    return this.#keep(`${part} ${layer}`, async () => {
      const from = this.#tensor(part === "attn" ? "attn.hook_z" : "mlp.hook_post", layer);
      const to = this.#tensor(part === "attn" ? "hook_attn_out" : "hook_mlp_out", layer);
      const [first, ...after] = await this.#read(readPath(this.#core.located.index, from, to));
      if (first?.kind !== "linear") {
        throw new ModelError(`ModelWeights: expected a matrix after ${from}, got ${first?.kind}`);
      }
      return { linear: first, after: affine(after) };
    });
  }

  /** How scores come from the last residual stream; for analysis functions. */
  unembed(): Promise<UnembedWeights> {
    return this.#keep("unembed", async () => {
      const { located } = this.#core;
      if (!located.logits) {
        throw new ModelError("ModelWeights: expected a model with logits, got one without", {
          hint: "Encoders have no unembedding.",
        });
      }
      const from = this.#tensor("hook_resid_post", located.nLayers - 1);
      const steps = await this.#read(readPath(located.index, from, located.logits));
      const place = steps.findIndex((step) => step.kind === "linear");
      const cap = steps.findIndex((step) => step.kind === "tanh");
      const linear = steps[place];
      if (linear?.kind !== "linear") {
        throw new ModelError("ModelWeights: expected one matrix before the logits, got none");
      }
      const end = cap < 0 ? steps.length : steps[cap - 1]?.kind === "scale" ? cap - 1 : cap;
      return {
        before: affine(steps.slice(0, place)),
        linear,
        after: affine(steps.slice(place + 1, end)),
        capped: cap >= 0,
      };
    });
  }

  /**
   * What the token vectors go through before the first block: multipliers, and whether position
   * vectors are added. Undefined where a norm follows them, so that they cannot be told apart.
   */
  async embedding(): Promise<{ scale: number; positions: boolean } | undefined> {
    const { located } = this.#core;
    const embed = located.hooks.find((h) => h.kind === "hook_embed")?.tensor;
    if (!embed) return undefined;
    const path = readPath(located.index, embed, this.#tensor("hook_resid_pre", 0));
    if (path.some((s) => s.kind !== "scale" && s.kind !== "sum" && s.kind !== "add"))
      return undefined;
    const scaled = await this.#read(path.filter((s) => s.kind === "scale"));
    const scale = affine(scaled).reduce((f, s) => f * (s.kind === "scale" ? s.value[0]! : 1), 1);
    return { scale, positions: path.some((s) => s.kind !== "scale") };
  }

  /** Whether each block starts with the sum that the one before it ended with: no norm between. */
  blocksAdd(): boolean {
    const { index, nLayers } = this.#core.located;
    for (let l = 1; l < nLayers; l++) {
      try {
        const [from, to] = [
          this.#tensor("hook_resid_post", l - 1),
          this.#tensor("hook_resid_pre", l),
        ];
        if (readPath(index, from, to).length > 0) return false;
      } catch {
        return false;
      }
    }
    return true;
  }

  /** A layer's number; negative ones count from the last. */
  layer(layer: number | undefined): number {
    const { nLayers } = this.#cfg;
    const number = layer !== undefined && layer < 0 ? nLayers + layer : layer;
    if (number === undefined || !Number.isInteger(number) || number < 0 || number >= nLayers) {
      throw new ArgumentError(
        `ModelWeights: expected a layer within 0..${nLayers - 1}, got ${layer}`,
      );
    }
    return number;
  }

  #tensor(kind: HookKind, layer: number): string {
    const hook = this.#core.located.hooks.find((h) => h.kind === kind && h.layer === layer);
    if (hook) return hook.tensor;
    throw new HookPointError(`ModelWeights: the model has no blocks.${layer}.${kind}`);
  }

  async #embedTable(): Promise<string> {
    const { index, hooks } = this.#core.located;
    const embed = hooks.find((h) => h.kind === "hook_embed")?.tensor;
    const number = embed === undefined ? undefined : index.producer.get(embed);
    if (number === undefined) throw new ModelError("ModelWeights: no token vectors were found");
    return index.graph.node[number]!.input[0]!;
  }

  async #positionTable(): Promise<string> {
    const { index, hooks } = this.#core.located;
    const embed = hooks.find((h) => h.kind === "hook_embed")!.tensor;
    const path = readPath(index, embed, this.#tensor("hook_resid_pre", 0));
    const tables = path.flatMap((step) => {
      let at = step.kind === "sum" ? step.tensor : "";
      for (;;) {
        const number = index.producer.get(at);
        if (number === undefined) return [];
        const node = index.graph.node[number]!;
        const table = node.input[0] ?? "";
        if (node.opType === "Gather" && index.isConstant(table)) return [table];
        at = table;
      }
    });
    // Token types are looked up too, in a table of two rows or so.
    const rows = (name: string) =>
      Number(index.graph.initializer.find((t) => t.name === name)?.dims[0] ?? 0);
    const [longest] = tables.sort((a, b) => rows(b) - rows(a));
    if (longest !== undefined) return longest;
    throw new ModelError("ModelWeights: the model has no W_pos: no position vectors are added", {
      hint: "Models with rotary or relative positions have none.",
    });
  }

  #table(name: string): Promise<HookValues> {
    return this.#keep(`table ${name}`, async () => (await this.#core.constants([name])).get(name)!);
  }

  /** Reads the constants of a path, all in one go. */
  async #read(path: readonly PathStep<string>[]): Promise<Step[]> {
    const names = path.flatMap((step) => {
      const { weight, bias, value, epsilon } = step as Record<string, unknown>;
      return [weight, bias, value, epsilon].filter((name) => typeof name === "string");
    });
    const read = await this.#core.constants([...new Set(names)]);
    const flat = (name: string): Float32Array => read.get(name)!.data;
    const maybe = (name: string | undefined) => (name === undefined ? undefined : flat(name));
    const resolve = (step: PathStep<string>): Step => {
      switch (step.kind) {
        case "linear": {
          const { data, shape } = read.get(step.weight)!;
          const [rows, columns] = shape.slice(-2) as [number, number];
          return {
            kind: "linear",
            weight: step.transposed ? transpose(data, rows, columns) : data,
            bias: maybe(step.bias),
            nIn: step.transposed ? columns : rows,
            nOut: step.transposed ? rows : columns,
          };
        }
        case "add":
          return { kind: "add", value: flat(step.value) };
        case "scale": {
          const value = flat(step.value);
          return { kind: "scale", value: step.divide ? value.map((v) => 1 / v) : value };
        }
        case "norm": {
          const epsilon = typeof step.epsilon === "number" ? step.epsilon : flat(step.epsilon)[0]!;
          return {
            kind: "norm",
            type: step.type,
            epsilon,
            weight: maybe(step.weight),
            bias: maybe(step.bias),
          };
        }
        case "tanh":
          return step;
        case "sum":
          throw new ModelError(
            `ModelWeights: expected a way of one branch, got ${step.tensor} added`,
          );
      }
    };
    return path.map(resolve);
  }

  #keep<T>(key: string, make: () => Promise<T>): Promise<T> {
    const kept = this.#kept.get(key) as Promise<T> | undefined;
    if (kept) return kept;
    const made = make();
    this.#kept.set(key, made);
    made.catch(() => this.#kept.delete(key));
    return made;
  }
}

function affine(steps: readonly Step[]): Affine[] {
  return steps.map((step) => {
    if (step.kind !== "linear" && step.kind !== "tanh") return step;
    throw new ModelError(`ModelWeights: expected constants and norms, got another ${step.kind}`);
  });
}

/** The bias of a linear map, whether it is its own or added in the next operator. */
function addedTo(linear: Linear, after: readonly Affine[]): Float32Array {
  const bias = Float32Array.from({ length: linear.nOut }, (_, i) => linear.bias?.[i] ?? 0);
  const next = after[0];
  if (next?.kind !== "add") return bias;
  return bias.map((v, i) => v + next.value[next.value.length === 1 ? 0 : i]!);
}

function transpose(data: Float32Array, rows: number, columns: number): Float32Array {
  const turned = new Float32Array(data.length);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) turned[c * rows + r] = data[r * columns + c]!;
  }
  return turned;
}
