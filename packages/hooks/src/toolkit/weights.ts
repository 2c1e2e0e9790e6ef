import { ArgumentError, HookPointError, ModelError } from "@penfield/core";
import { matrix } from "@penfield/linalg";
import {
  type DequantizedGraph,
  dequantize,
  dequantizeGraph,
  elementType,
  type GraphIndex,
  type GraphProto,
  indexGraph,
  inferElementTypes,
  inferRanks,
  intAttribute,
  makeNode,
} from "@penfield/onnx";
import { type HookKind, hookName } from "../hookPoint.ts";
import type { ModelConfig } from "../transformer/config.ts";
import type { ModelCore } from "../transformer/modelCore.ts";
import type { HookValues } from "../transformer/values.ts";
import { type CompositionMode, scoreComposition, scoreCopying } from "./composition.ts";
import { FactoredMatrix, transpose as turned } from "./factored.ts";
import { type Affine, type Linear, type PathStep, readPath, type Step } from "./path.ts";
import { findColumns, findProjection, type ProbeContext } from "./projection.ts";

/** Weights by TransformerLens' names. */
export type WeightName =
  | "W_E"
  | "W_pos"
  | "W_U"
  | "b_U"
  | "W_Q"
  | "b_Q"
  | "W_K"
  | "b_K"
  | "W_V"
  | "b_V"
  | "W_O"
  | "b_O"
  | "W_in"
  | "b_in"
  | "W_gate"
  | "b_gate"
  | "W_out"
  | "b_out";

/** Weights that end a branch, and the hook that each matrix reads from the other side. */
const WRITERS = new Set<string>(["W_O", "b_O", "W_out", "b_out"]);
const READERS: Readonly<Record<string, HookKind>> = {
  Q: "attn.hook_q",
  K: "attn.hook_k",
  V: "attn.hook_v",
  in: "mlp.hook_pre",
  gate: "mlp.hook_pre",
};

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

/** Which weights, in a model with several stacks of blocks. */
export interface WeightPlace {
  /** `encoder`, `decoder`, `text`, …; default the stack that makes the output. */
  readonly stack?: string | undefined;
  /** Those of cross attention (`cross_attn.*`) in place of self-attention. */
  readonly cross?: boolean | undefined;
}

/** A graph without quantised operators, and what is known of its tensors. */
interface ReadableGraph extends Pick<DequantizedGraph, "weights"> {
  readonly index: GraphIndex;
  readonly types: ReadonlyMap<string, number>;
  readonly ranks: ReadonlyMap<string, number>;
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
 * | `W_Q`, `b_Q` | [n_heads, d_model, d_head], [n_heads, d_head], per layer |
 * | `W_K`, `b_K`, `W_V`, `b_V` | the same with n_key_value_heads |
 * | `W_O`, `b_O` | [n_heads, d_head, d_model], [d_model], per layer |
 * | `W_in`, `b_in` | [d_model, d_mlp], [d_mlp], per layer |
 * | `W_gate`, `b_gate` | the same, in gated MLPs |
 * | `W_out`, `b_out` | [d_mlp, d_model], [d_model], per layer |
 *
 * Each matrix makes the values at its hook: `attn.hook_q` = x W_Q + b_Q where x is what the block's
 * norm gives; `mlp.hook_pre` = x W_in + b_in, or in a gated MLP x W_gate + b_gate, and then
 * `mlp.hook_pre_linear` = x W_in + b_in. Constants that multiply in between (OPT's 1 / sqrt(d_head)) are
 * part of the matrix; a norm in between (OLMo 2) is not. A multiplier or a norm between a branch's
 * matrix and the residual stream (Granite, Gemma 2) is not part of `W_O` and `W_out`.
 *
 * Quantised weights are widened: (code - zero point) times scale. In a model with several stacks of
 * blocks the weights are those of the stack that makes the output (the decoder), if no other is named.
 */
export class ModelWeights {
  readonly #core: ModelCore;
  readonly #cfg: ModelConfig;
  readonly #kept = new Map<string, Promise<unknown>>();
  #plain: ReadableGraph | undefined;

  constructor(core: ModelCore, cfg: ModelConfig) {
    this.#core = core;
    this.#cfg = cfg;
  }

  /**
   * A weight by name.
   *
   * @param layer - For all but `W_E`, `W_pos`, `W_U`, `b_U`; negative counts from the last.
   * @param place - Which of several stacks of blocks, and whether cross attention.
   * @throws {ModelError} if the model has none, or more than one matrix makes the hook's values.
   * @throws {HookPointError} if the model does not show the hook that the weight belongs to.
   * @throws {ArgumentError} for a layer or stack that does not exist.
   */
  async get(name: WeightName, layer?: number, place: WeightPlace = {}): Promise<HookValues> {
    if (WRITERS.has(name)) return this.#perLayer(name, this.layer(layer, place.stack), place);
    const part = name.slice(2);
    if (/^[Wb]_/.test(name) && Object.hasOwn(READERS, part)) {
      const reader = await this.#reader(part, this.layer(layer, place.stack), place);
      return name.startsWith("W_") ? reader.weight : reader.bias;
    }
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
          `ModelWeights: expected W_E, W_pos, W_U, b_U, or W_ or b_ with Q, K, V, O, in, gate or out, got ${JSON.stringify(name)}`,
        );
    }
  }

  /**
   * A head's output-value circuit W_V W_O, `[d_model, d_model]`: what it writes for what it looks at.
   * With fewer key-value heads than heads, W_V of the one that the head shares.
   *
   * @throws {ArgumentError} for a layer or head that does not exist.
   */
  async OV(layer: number, head: number): Promise<FactoredMatrix> {
    const [v, o] = await Promise.all([this.get("W_V", layer), this.get("W_O", layer)]);
    const nHeads = o.shape[0]!;
    const h = this.#head(head, nHeads);
    return new FactoredMatrix(slab(v, sharedHead(h, nHeads, v.shape[0]!)), slab(o, h));
  }

  /**
   * A head's query-key circuit W_Q W_Kᵀ, `[d_model, d_model]`: queries' side first. Without biases,
   * without the division by sqrt(d_head), and, in models with rotary positions, without the rotation:
   * it is then what the head asks of a source at its own place.
   *
   * @throws {ArgumentError} for a layer or head that does not exist.
   */
  async QK(layer: number, head: number): Promise<FactoredMatrix> {
    const [q, k] = await Promise.all([this.get("W_Q", layer), this.get("W_K", layer)]);
    const nHeads = q.shape[0]!;
    const h = this.#head(head, nHeads);
    const key = slab(k, sharedHead(h, nHeads, k.shape[0]!));
    return new FactoredMatrix(slab(q, h), turned(key));
  }

  /**
   * How strongly each later head can read, as queries, keys or values, what each earlier one writes:
   * ‖OV₁ R₂‖ / (‖OV₁‖ ‖R₂‖), TransformerLens' `all_composition_scores`.
   *
   * @returns `[n_layers, n_heads, n_layers, n_heads]`, the earlier head first; 0 where the second head is
   *   not in a later layer. Norms between the blocks are not folded in.
   */
  async compositionScores(mode: CompositionMode): Promise<HookValues> {
    const circuits = await this.#circuits(async (layer, head) => ({
      OV: await this.OV(layer, head),
      QK: await this.QK(layer, head),
    }));
    return scoreComposition(mode, circuits);
  }

  /**
   * For each head whether it copies: the eigenvalue positivity Σλ / Σ|λ| of W_E OV W_U, from -1 to 1.
   * Norms are not folded in, position vectors left out.
   *
   * @returns `[n_layers, n_heads]`
   */
  async copyingScores(): Promise<HookValues> {
    const circuits = await this.#circuits((layer, head) => this.OV(layer, head));
    return scoreCopying(circuits, await this.get("W_E"), await this.get("W_U"));
  }

  async #circuits<T>(make: (layer: number, head: number) => Promise<T>): Promise<T[][]> {
    const layers: T[][] = [];
    for (let layer = 0; layer < this.#cfg.nLayers; layer++) {
      const nHeads = (await this.get("W_O", layer)).shape[0]!;
      const heads: T[] = [];
      for (let head = 0; head < nHeads; head++) heads.push(await make(layer, head));
      layers.push(heads);
    }
    return layers;
  }

  #head(head: number, nHeads: number): number {
    if (Number.isInteger(head) && head >= 0 && head < nHeads) return head;
    throw new ArgumentError(`ModelWeights: expected a head within 0..${nHeads - 1}, got ${head}`);
  }

  /** The matrix and bias that make the values at a hook, in the hook's own order. */
  #reader(
    part: string,
    layer: number,
    { stack = this.#core.located.main.name, cross = false }: WeightPlace,
  ): Promise<{ weight: HookValues; bias: HookValues }> {
    const gated = this.#find("mlp.hook_pre_linear", layer, stack) !== undefined;
    if (part === "gate" && !gated) {
      throw new ModelError("ModelWeights: the model has no W_gate: its MLPs are not gated", {
        hint: "W_in is what their neurons read.",
      });
    }
    const own = part === "in" && gated ? "mlp.hook_pre_linear" : READERS[part]!;
    const heads = own.startsWith("attn.");
    const kind = cross && heads ? (`cross_${own}` as HookKind) : own;
    return this.#keep(`${kind} ${layer} ${stack}`, async () => {
      const name = hookName(kind, layer, stack);
      const { index } = this.#dequantized();
      const projection = findProjection(index, name, this.#tensor(kind, layer, stack));
      const { linear } = projection;
      const [, weightName = "", biasName = ""] = linear.input;
      const read = await this.#constants(biasName ? [weightName, biasName] : [weightName]);
      const { data, shape } = read.get(weightName)!;
      const flipped = linear.opType === "Gemm" && intAttribute(linear, "transB", 0) === 1;
      const [rows, columns] = shape.slice(-2) as [number, number];
      const [nIn, nOut] = flipped ? [columns, rows] : [rows, columns];
      const ownBias = biasName ? read.get(biasName)!.data : new Float32Array(1);
      const bias = Float32Array.from(
        { length: nOut },
        (_, i) => ownBias[ownBias.length === 1 ? 0 : i]!,
      );
      const found = await findColumns(this.#probeContext(), name, projection, bias);
      const nColumns = found.columns.length;
      const nHeads = heads ? this.#headsOf(part, nColumns, found.shape) : 1;
      const dHead = nColumns / nHeads;
      const weight = new Float32Array(nIn * nColumns);
      found.columns.forEach((column, c) => {
        const scale = found.scale?.[c] ?? 1;
        const start = Math.floor(c / dHead) * nIn * dHead + (c % dHead);
        for (let i = 0; i < nIn; i++) {
          const value = data[flipped ? column * nIn + i : i * nOut + column]!;
          weight[start + i * dHead] = value * scale;
        }
      });
      return {
        weight: { data: weight, shape: heads ? [nHeads, nIn, dHead] : [nIn, nColumns] },
        bias: { data: found.bias, shape: heads ? [nHeads, dHead] : [nColumns] },
      };
    });
  }

  /** How many heads the values of one token at q, k or v fall into. */
  #headsOf(part: string, nValues: number, shape: readonly number[]): number {
    const { nHeads, nKeyValueHeads } = this.#cfg;
    const count =
      shape.length === 4 ? nValues / shape.at(-1)! : part === "Q" ? nHeads : nKeyValueHeads;
    if (count !== undefined && Number.isInteger(nValues / count)) return count;
    throw new ModelError(
      `ModelWeights: expected a number of heads that divides ${nValues}, got ${count}`,
      { hint: "Put config.json beside the model." },
    );
  }

  /** The graph as it is read for weights: quantised operators as the plain ones they stand for. */
  #dequantized(): ReadableGraph {
    if (!this.#plain) {
      const { graph, weights } = dequantizeGraph(withPlainNorms(this.#core.located.index));
      const index = indexGraph(graph);
      this.#plain = { index, weights, types: inferElementTypes(index), ranks: inferRanks(index) };
    }
    return this.#plain;
  }

  #probeContext(): ProbeContext {
    return {
      ...this.#dequantized(),
      model: this.#core.original,
      dModel: this.#cfg.dModel,
      constants: (names) => this.#constants(names),
    };
  }

  /** Values of constants, those that stand for quantised weights included. */
  async #constants(names: readonly string[]): Promise<ReadonlyMap<string, HookValues>> {
    const { weights } = this.#dequantized();
    const parts = names.flatMap((name) => {
      const weight = weights.get(name);
      if (!weight) return [name];
      return weight.kind === "affine"
        ? [weight.values, weight.zeroPoint, ...weight.scales]
        : [weight.codes, weight.scales, weight.zeroPoints, weight.groups];
    });
    const wanted = parts.filter((name) => name !== undefined);
    const read = await this.#core.constants([...new Set(wanted)]);
    return new Map(
      names.map((name) => {
        const weight = weights.get(name);
        return [name, weight ? dequantize(weight, (part) => read.get(part)!) : read.get(name)!];
      }),
    );
  }

  async #perLayer(name: string, layer: number, place: WeightPlace): Promise<HookValues> {
    const attn = name.endsWith("_O");
    const { linear, after } = await this.branch(attn ? "attn" : "mlp", layer, place);
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
  branch(
    part: "attn" | "mlp",
    layer: number,
    { stack = this.#core.located.main.name, cross = false }: WeightPlace = {},
  ): Promise<BranchWeights> {
    const [source, end]: [HookKind, HookKind] =
      part === "mlp"
        ? ["mlp.hook_post", "hook_mlp_out"]
        : cross
          ? ["cross_attn.hook_z", "hook_cross_attn_out"]
          : ["attn.hook_z", "hook_attn_out"];
    return this.#keep(`${end} ${layer} ${stack}`, async () => {
      const from = this.#tensor(source, layer, stack);
      const to = this.#tensor(end, layer, stack);
      const [first, ...after] = await this.#read(readPath(this.#dequantized().index, from, to));
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
      const from = this.#tensor("hook_resid_post", located.main.nLayers - 1);
      const steps = await this.#read(readPath(this.#dequantized().index, from, located.logits));
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
    const embed = this.#find("hook_embed", undefined);
    if (!embed) return undefined;
    const path = readPath(this.#dequantized().index, embed, this.#tensor("hook_resid_pre", 0));
    if (path.some((s) => s.kind !== "scale" && s.kind !== "sum" && s.kind !== "add"))
      return undefined;
    const scaled = await this.#read(path.filter((s) => s.kind === "scale"));
    const scale = affine(scaled).reduce((f, s) => f * (s.kind === "scale" ? s.value[0]! : 1), 1);
    return { scale, positions: path.some((s) => s.kind !== "scale") };
  }

  /** Whether each block starts with the sum that the one before it ended with: no norm between. */
  blocksAdd(): boolean {
    const { nLayers } = this.#core.located.main;
    const { index } = this.#dequantized();
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
  layer(layer: number | undefined, stack?: string): number {
    const { stacks, main } = this.#core.located;
    const chosen = stack === undefined ? main : stacks.find((s) => s.name === stack);
    if (!chosen) {
      throw new ArgumentError(
        `ModelWeights: expected a stack among ${stacks.map((s) => s.name ?? "(the only one, without a name)").join(", ")}, got ${JSON.stringify(stack)}`,
      );
    }
    const { nLayers } = chosen;
    const number = layer !== undefined && layer < 0 ? nLayers + layer : layer;
    if (number === undefined || !Number.isInteger(number) || number < 0 || number >= nLayers) {
      throw new ArgumentError(
        `ModelWeights: expected a layer within 0..${nLayers - 1}, got ${layer}`,
      );
    }
    return number;
  }

  /** A hook's tensor; in a model with several stacks of blocks, of the one that makes the output. */
  #find(
    kind: HookKind,
    layer: number | undefined,
    stack: string | undefined = this.#core.located.main.name,
  ): string | undefined {
    const { hooks } = this.#core.located;
    return hooks.find((h) => h.kind === kind && h.layer === layer && h.stack === stack)?.tensor;
  }

  #tensor(kind: HookKind, layer: number, stack?: string): string {
    const tensor = this.#find(kind, layer, stack);
    if (tensor !== undefined) return tensor;
    const name = hookName(kind, layer, stack ?? this.#core.located.main.name);
    throw new HookPointError(`ModelWeights: the model has no ${name}`);
  }

  async #embedTable(): Promise<string> {
    const { index } = this.#dequantized();
    const embed = this.#find("hook_embed", undefined);
    // A table in 8 bits whose rows are widened after the look-up has no hook in some exports.
    const number =
      embed === undefined ? lookUpOfTokens(this.#dequantized()) : index.producer.get(embed);
    if (number === undefined) throw new ModelError("ModelWeights: no token vectors were found");
    return index.graph.node[number]!.input[0]!;
  }

  async #positionTable(): Promise<string> {
    const { index } = this.#dequantized();
    const embed = this.#find("hook_embed", undefined);
    if (embed === undefined) throw new ModelError("ModelWeights: no token vectors were found");
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
    return this.#keep(`table ${name}`, async () => (await this.#constants([name])).get(name)!);
  }

  /** Reads the constants of a path, all in one go. */
  async #read(path: readonly PathStep<string>[]): Promise<Step[]> {
    const names = path.flatMap((step) => {
      const { weight, bias, value, epsilon } = step as Record<string, unknown>;
      return [weight, bias, value, epsilon].filter((name) => typeof name === "string");
    });
    const read = await this.#constants([...new Set(names)]);
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

/** A fused norm whose skip is made of zeros is the norm alone, and is read as that. */
function withPlainNorms({ graph, producer }: GraphIndex): GraphProto {
  const node = graph.node.map((fused) => {
    const simplified = fused.opType === "SkipSimplifiedLayerNormalization";
    if (!simplified && fused.opType !== "SkipLayerNormalization") return fused;
    const [sum = "", zeros = "", gamma = "", beta = ""] = fused.input;
    const maker = graph.node[producer.get(zeros) ?? -1];
    if (maker?.opType !== "ConstantOfShape") return fused;
    const norm = makeNode(
      simplified ? "SimplifiedLayerNormalization" : "LayerNormalization",
      simplified || beta === "" ? [sum, gamma] : [sum, gamma, beta],
      [fused.output[0]!],
    );
    norm.attribute.push(...fused.attribute);
    return norm;
  });
  return Object.assign(Object.create(Object.getPrototypeOf(graph)), graph, { node }) as GraphProto;
}

/** The node that picks token vectors: rows of a table of floats by input_ids. */
function lookUpOfTokens({ index, types }: ReadableGraph): number | undefined {
  const producer = (tensor: string) => {
    const number = index.producer.get(tensor);
    return number === undefined ? undefined : index.graph.node[number];
  };
  return index.order.find((number) => {
    const { opType, input, output } = index.graph.node[number]!;
    const [table = "", picks = ""] = input;
    const type = types.get(output[0]!);
    const floats = type === elementType.float32 || type === elementType.float16;
    if (opType !== "Gather" || !index.isConstant(table) || !floats) return false;
    let at = picks;
    for (;;) {
      const node = producer(at);
      if (node?.opType !== "Reshape" && node?.opType !== "Cast") return at.endsWith("input_ids");
      at = node.input[0]!;
    }
  });
}

/** One head's matrix out of `[n_heads, rows, columns]`. */
function slab({ data, shape }: HookValues, head: number) {
  const [, nRows, nColumns] = shape as [number, number, number];
  const size = nRows * nColumns;
  return matrix(data.subarray(head * size, (head + 1) * size), nRows, nColumns);
}

/** The key-value head that a query head uses. */
function sharedHead(head: number, nHeads: number, nKeyValueHeads: number): number {
  return Math.floor(head / (nHeads / nKeyValueHeads));
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
