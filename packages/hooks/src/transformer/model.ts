import { readFile } from "node:fs/promises";
import { basename, dirname } from "node:path";
import {
  ArgumentError,
  DataError,
  fileError,
  float16ToNumber,
  HookPointError,
  ModelError,
  sha256,
  sha256File,
  TokenizerError,
} from "@penfield/core";
import {
  copyModel,
  decodeModel,
  externalizeWeights,
  externalLocations,
  externalWeight,
  type ModelProto,
  prune,
} from "@penfield/onnx";
import { type InferenceSession, Tensor } from "onnxruntime-node";
import { axesOf, type HookPoint, hookAliases, hookName, matchesHook } from "../hookPoint.ts";
import { type Intervention, type Slot, slotOf } from "../interventions.ts";
import { createTokenizer, type TextTokenizer } from "../tokenizer.ts";
import { compileFeeds, neutralFeeds } from "./compile.ts";
import { type PaddedBatch, padTokens, type TokenRows, textFeeds } from "./inputs.ts";
import { type Located, type LocatedHook, locate } from "./locate.ts";
import { normalizeGraph } from "./normalizeGraph.ts";
import {
  buildSessionModel,
  captureOutput,
  OUTPUT,
  type SessionPlan,
  TARGETS,
  TOKEN_LOG_PROBS,
} from "./plan.ts";
import { createSession, type RuntimeOptions, type Weights } from "./runtime.ts";
import { findModelFiles, readModelJson, type SourceOptions } from "./source.ts";
import { type IdentityCheck, verify } from "./verify.ts";

/** What is known of a model; names as in TransformerLens. */
export interface ModelConfig {
  readonly modelName: string;
  /** `model_type` of config.json; undefined for a bare .onnx file. */
  readonly modelType: string | undefined;
  readonly nLayers: number;
  readonly dModel: number;
  readonly nHeads: number | undefined;
  readonly nKeyValueHeads: number | undefined;
  readonly dHead: number | undefined;
  readonly dMlp: number | undefined;
  readonly dVocab: number | undefined;
  /** Longest input in tokens, if the model says. */
  readonly nCtx: number | undefined;
  readonly attentionDir: "causal" | "bidirectional";
  readonly gatedMlp: boolean;
  readonly parallelAttnMlp: boolean;
  /** True if a row's result depends on the other rows of its batch (dynamic int8 quantisation). */
  readonly batchDependent: boolean;
}

export interface OpenOptions extends SourceOptions, RuntimeOptions {
  /**
   * `full` (default): check that hooks leave the model bit-equal, and that each hook has an effect.
   * `identity`: only the first. `none`: neither.
   */
  readonly verify?: "full" | "identity" | "none" | undefined;
}

/** Values at one hook point, `[row, pos, unit]` (or what the hook's axes say), row-major. */
export interface HookValues {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

export interface RunRequest {
  readonly tokens: TokenRows;
  /** Hook points to return: names, aliases, patterns with `*`, or raw tensor names. */
  readonly capture?: readonly string[] | undefined;
  readonly interventions?: readonly Intervention[] | undefined;
  /**
   * Hook points that stay wired for zeroing and setting, whether or not something is done to them in
   * this run: runs with the same list share one compiled session, whichever units they silence.
   */
  readonly wired?: readonly string[] | undefined;
  /** What to return of the output: scores, log-probabilities of the next tokens, or nothing. */
  readonly head?: "logits" | "tokenLogProbs" | "none" | undefined;
  /** Start from these values at a hook point: nothing before it is computed. */
  readonly from?: { readonly hook: string; readonly values: HookValues } | undefined;
}

export interface RunResult {
  /** `[row, pos, vocab]` (an encoder: last hidden states). */
  readonly logits: HookValues | undefined;
  /**
   * `[row, pos]`: log-probability that the model gave to the token at `pos`, from those before it.
   * The first position of a row, and padding, hold 0.
   */
  readonly tokenLogProbs: HookValues | undefined;
  readonly cache: ReadonlyMap<string, HookValues>;
  readonly batch: PaddedBatch;
}

/** Sessions kept compiled; each holds its own packed copy of the weights. */
const MAX_SESSIONS = 6;
const MAX_SESSION_BYTES = 2 * 2 ** 30;

/** A transformer with hook points, run by onnxruntime. */
export class HookedModel {
  readonly cfg: ModelConfig;
  readonly hookPoints: readonly HookPoint[];
  readonly tokenizer: TextTokenizer | undefined;
  /** SHA-256 of the .onnx file. */
  readonly sha256: string;
  /** What the check at opening found. */
  readonly identity: IdentityCheck;

  readonly #core: ModelCore;

  private constructor(
    core: ModelCore,
    parts: {
      cfg: ModelConfig;
      hookPoints: readonly HookPoint[];
      tokenizer: TextTokenizer | undefined;
      sha256: string;
      identity: IdentityCheck;
    },
  ) {
    this.#core = core;
    this.cfg = parts.cfg;
    this.hookPoints = parts.hookPoints;
    this.tokenizer = parts.tokenizer;
    this.sha256 = parts.sha256;
    this.identity = parts.identity;
  }

  /**
   * Opens a model: an .onnx file, a folder laid out like a hub repository, or a hub id.
   *
   * @throws {ModelError} if there is no such model, or it is no transformer.
   * @throws {TokenizerError} if the tokenizer belongs to another vocabulary.
   */
  static async fromPretrained(source: string, options: OpenOptions = {}): Promise<HookedModel> {
    const files = await findModelFiles(source, options);
    const { folder, onnxPath, name } = files;
    const config = folder ? await readModelJson(folder, "config.json") : undefined;
    const tokenizer = folder ? await openTokenizer(folder) : undefined;
    const bytes = await readFile(onnxPath).catch((cause) => {
      throw fileError("HookedModel", onnxPath, cause);
    });
    const model = decodeModel(bytes, basename(onnxPath));
    externalLocations(model); // refuses paths that leave the folder
    externalizeWeights(model, bytes, basename(onnxPath));
    const weights: Weights = { kind: "folder", folder: dirname(onnxPath) };
    const hash = await sha256File(onnxPath);
    return HookedModel.#build(model, weights, { name, config, tokenizer, hash, options });
  }

  /** Opens a model from the bytes of a file, with its tokenizer if there is one. */
  static async fromBytes(
    bytes: Uint8Array,
    options: OpenOptions & {
      name?: string;
      config?: Record<string, unknown>;
      tokenizer?: TextTokenizer;
    } = {},
  ): Promise<HookedModel> {
    const { name = "model.onnx", config, tokenizer } = options;
    const model = decodeModel(bytes, name);
    externalizeWeights(model, bytes, name);
    const weights: Weights = { kind: "bytes", files: [{ path: name, data: bytes }] };
    return HookedModel.#build(model, weights, {
      name,
      config,
      tokenizer,
      hash: sha256(bytes),
      options,
    });
  }

  static async #build(
    model: ModelProto,
    weights: Weights,
    parts: {
      name: string;
      config: Record<string, unknown> | undefined;
      tokenizer: TextTokenizer | undefined;
      hash: string;
      options: OpenOptions;
    },
  ): Promise<HookedModel> {
    const { config, tokenizer, options } = parts;
    const graph = normalizeGraph(model);
    const located = locate(graph);
    const core = new ModelCore(model, graph, located, weights, options, config);
    try {
      const probe = await verify(core, options.verify ?? "full");
      const cfg = describeModel(parts.name, located, config, probe.shapes, probe.causal);
      // The checks' session can do everything and is larger than any that will be asked for.
      await core.dispose();
      core.nHeads = cfg.nHeads;
      core.padId = tokenizer?.padId ?? 0;
      if (tokenizer && cfg.dVocab !== undefined && tokenizer.vocabularySize > cfg.dVocab) {
        throw new TokenizerError(
          `HookedModel: expected a tokenizer of at most ${cfg.dVocab} tokens, got one of ${tokenizer.vocabularySize}`,
          {
            hint: "The tokenizer belongs to another model; put the right tokenizer.json beside config.json.",
          },
        );
      }
      core.nCtx = cfg.nCtx;
      const hookPoints = located.hooks.map((hook): HookPoint => {
        const name = hookName(hook.kind, hook.layer);
        return {
          name,
          kind: hook.kind,
          layer: hook.layer,
          aliases: hookAliases(hook.kind, hook.layer),
          tensor: hook.tensor,
          axes: axesOf[hook.kind],
          // The last axis of scores and patterns is the input's length, not a number of units.
          nUnits:
            axesOf[hook.kind].at(-1) === "src_pos" ? undefined : probe.shapes.get(name)?.at(-1),
          readable: true,
          writable: hook.writable,
          reason: hook.reason,
          verified: probe.verified.has(name),
        };
      });
      return new HookedModel(core, {
        cfg,
        hookPoints,
        tokenizer,
        sha256: parts.hash,
        identity: probe.identity,
      });
    } catch (error) {
      await core.dispose();
      throw error;
    }
  }

  /** Hook points whose name fits a pattern (`*` stands for anything); all of them without one. */
  listHooks(pattern = "*"): HookPoint[] {
    return this.hookPoints.filter((h) =>
      [h.name, ...h.aliases].some((name) => matchesHook(pattern, name)),
    );
  }

  /** The hook point with this name or alias. @throws {HookPointError} if there is none. */
  hookPoint(name: string): HookPoint {
    const found = this.hookPoints.find((h) => h.name === name || h.aliases.includes(name));
    if (found) return found;
    throw new HookPointError(
      `hookPoint: expected a hook point of ${this.cfg.modelName}, got ${JSON.stringify(name)}`,
      { hint: `It has blocks.0 to blocks.${this.cfg.nLayers - 1}; listHooks() names them all.` },
    );
  }

  /** The tokenizer. @throws {TokenizerError} if the model came without one. */
  requireTokenizer(): TextTokenizer {
    if (this.tokenizer) return this.tokenizer;
    throw new TokenizerError(`HookedModel: ${this.cfg.modelName} came without a tokenizer`, {
      hint: "Put tokenizer.json and tokenizer_config.json beside config.json.",
    });
  }

  /**
   * Runs the model once over a batch.
   *
   * @throws {HookPointError} for a hook that does not exist, or cannot be written.
   * @throws {DataError} for rows that are empty or longer than the context.
   */
  async run(request: RunRequest): Promise<RunResult> {
    const capture = (request.capture ?? []).flatMap((wanted) => this.#captureNames(wanted));
    const interventions = (request.interventions ?? []).map((i) => ({
      ...i,
      hook: this.#writable(i.hook),
    }));
    const from = request.from && {
      hook: this.hookPoint(request.from.hook).name,
      values: request.from.values,
    };
    const wired = (request.wired ?? []).flatMap((wanted) => this.#captureNames(wanted));
    const neutral = new Map(wired.map((name) => [this.#writable(name), ["set"] as const]));
    return this.#core.run({ ...request, capture, interventions, from, neutral });
  }

  /** Runs the model and returns its output with the values at the hook points asked for. */
  async runWithCache(
    tokens: TokenRows,
    options: { namesFilter: string | readonly string[]; interventions?: readonly Intervention[] },
  ): Promise<{ logits: HookValues; cache: ReadonlyMap<string, HookValues> }> {
    const { namesFilter, interventions } = options;
    const capture = typeof namesFilter === "string" ? [namesFilter] : namesFilter;
    const { logits, cache } = await this.run({ tokens, capture, interventions });
    return { logits: logits!, cache };
  }

  /** Runs the model with interventions and returns its output. */
  async runWithInterventions(
    tokens: TokenRows,
    interventions: readonly Intervention[],
  ): Promise<HookValues> {
    return (await this.run({ tokens, interventions })).logits!;
  }

  /** Frees the compiled sessions. The model cannot be used afterwards. */
  async dispose(): Promise<void> {
    await this.#core.dispose();
  }

  #captureNames(wanted: string): string[] {
    if (wanted.includes("*")) {
      const names = this.listHooks(wanted).map((h) => h.name);
      if (names.length > 0) return names;
    }
    const known = this.hookPoints.find((h) => h.name === wanted || h.aliases.includes(wanted));
    if (known) return [known.name];
    if (this.#core.hasTensor(wanted)) return [wanted];
    return [this.hookPoint(wanted).name];
  }

  #writable(name: string): string {
    const hook = this.hookPoint(name);
    if (!hook.writable) {
      throw new HookPointError(
        `run: expected a writable hook point, got ${hook.name}: ${hook.reason}`,
      );
    }
    return hook.name;
  }
}

/** A run whose hook names are already resolved. */
export interface CoreRequest extends Omit<RunRequest, "capture" | "interventions"> {
  readonly capture: readonly string[];
  readonly interventions: readonly Intervention[];
  /** Hooks that are wired with neutral inputs though nothing is done to them. */
  readonly neutral?: ReadonlyMap<string, readonly Slot[]>;
  /** Hooks that the session can return, if more than this run asks for. */
  readonly readable?: readonly string[];
}

/** The graph, its sessions, and one run: what stays when the user's view of a model is taken off. */
export class ModelCore {
  readonly original: ModelProto;
  readonly located: Located;
  nHeads: number | undefined;
  nCtx: number | undefined;
  padId = 0;
  readonly #graph: ModelProto;
  readonly #weights: Weights;
  readonly #weightBytes: number;
  readonly #options: RuntimeOptions;
  readonly #config: Record<string, unknown> | undefined;
  readonly #byName: ReadonlyMap<string, LocatedHook>;
  /** Compiled sessions by plan, oldest first. */
  readonly #sessions = new Map<string, Promise<InferenceSession>>();

  constructor(
    original: ModelProto,
    graph: ModelProto,
    located: Located,
    weights: Weights,
    options: RuntimeOptions,
    config: Record<string, unknown> | undefined,
  ) {
    this.original = original;
    this.#graph = graph;
    this.located = located;
    this.#weights = weights;
    this.#weightBytes = graph.graph!.initializer.reduce(
      (sum, t) => sum + (externalWeight(t)?.length ?? t.rawData.length),
      1,
    );
    this.#options = options;
    this.#config = config;
    this.#byName = new Map(located.hooks.map((h) => [hookName(h.kind, h.layer), h]));
  }

  get hookNames(): string[] {
    return [...this.#byName.keys()];
  }

  hasTensor(name: string): boolean {
    return this.located.index.producer.has(name);
  }

  #hook(name: string): LocatedHook {
    return (
      this.#byName.get(name) ?? {
        kind: "tensor",
        layer: undefined,
        tensor: name,
        type: 1,
        flattened: false,
        writable: false,
        reason: "raw tensors can be read",
      }
    );
  }

  isWritable(name: string): boolean {
    return this.#hook(name).writable;
  }

  /** The model as it came, without hooks: the measure of identity. */
  async runPlain(batch: PaddedBatch): Promise<HookValues> {
    const name = this.located.logits ?? this.located.lastHiddenState;
    if (!name) return { data: new Float32Array(0), shape: [0] };
    const plain = copyModel(this.original);
    prune(plain.graph!, [name]);
    const session = await createSession(plain, this.#weights, this.#options);
    try {
      const feeds = textFeeds(this.original, session.inputNames, batch, this.#cacheSizes());
      const output = (await runSession(session, feeds, [name]))[name]!;
      return toHookValues(output);
    } finally {
      await session.release();
    }
  }

  async run(request: CoreRequest): Promise<RunResult> {
    const { capture, interventions, from, head = "logits", neutral } = request;
    const batch = padTokens(request.tokens, this.padId);
    if (this.nCtx !== undefined && batch.length > this.nCtx) {
      const row = batch.lengths.indexOf(batch.length);
      throw new DataError(
        `run: expected at most ${this.nCtx} tokens, got ${batch.length} in row ${row}`,
        { hint: "Shorten the text, or set a token limit." },
      );
    }
    if (head === "tokenLogProbs" && !this.located.logits) {
      throw new ModelError("run: expected a language model with logits, got a model without them", {
        hint: "Tasks that score text need a causal language model.",
      });
    }
    const byHook = new Map<string, Intervention[]>();
    for (const i of interventions) byHook.set(i.hook, [...(byHook.get(i.hook) ?? []), i]);
    const slots = new Map<string, readonly Slot[]>(neutral);
    for (const [name, list] of byHook) {
      slots.set(
        name,
        [...new Set([...(slots.get(name) ?? []), ...list.map((i) => slotOf[i.op.type])])].sort(),
      );
    }
    const plan: SessionPlan = {
      capture: new Map(
        [...new Set([...(request.readable ?? []), ...capture])].map((name) => [
          name,
          this.#hook(name),
        ]),
      ),
      intervene: new Map(
        [...slots].map(([name, s]) => [name, { hook: this.#hook(name), slots: s }]),
      ),
      head,
      from: from && { name: `from.${from.hook}`, hook: this.#hook(from.hook) },
    };
    const session = await this.#session(plan);
    const feeds = textFeeds(this.#graph, session.inputNames, batch, this.#cacheSizes());
    if (from) {
      feeds[`from.${from.hook}`] = new Tensor("float32", from.values.data, [...from.values.shape]);
    }
    if (session.inputNames.includes(TARGETS)) feeds[TARGETS] = nextTokens(batch);
    for (const [name, needed] of slots) {
      for (const slot of needed) Object.assign(feeds, neutralFeeds(name, slot, batch.nRows));
      const list = byHook.get(name);
      if (list) {
        const nUnits = await this.#unitsAt(name, batch);
        const sizes = {
          nRows: batch.nRows,
          length: batch.length,
          nUnits,
          nHeads: this.#hook(name).kind === "attn.hook_z" ? this.nHeads : undefined,
        };
        Object.assign(feeds, compileFeeds(name, list, sizes));
      }
    }
    const wanted = new Map([...plan.capture].filter(([name]) => capture.includes(name)));
    const fetches = [...wanted].map(([name, hook]) => captureOutput(name, hook));
    const output = { logits: OUTPUT, tokenLogProbs: TOKEN_LOG_PROBS, none: "" }[head];
    if (session.outputNames.includes(output)) fetches.push(output);
    const result = await runSession(session, feeds, fetches);
    const cache = new Map(
      [...wanted].map(([name, hook]) => [name, toHookValues(result[captureOutput(name, hook)]!)]),
    );
    for (const [name, values] of cache) {
      const size = values.shape.at(-1);
      if (size !== undefined) this.#units.set(name, size);
    }
    return {
      logits: head === "logits" && result[OUTPUT] ? toHookValues(result[OUTPUT]) : undefined,
      tokenLogProbs:
        head === "tokenLogProbs" ? shiftLogProbs(result[TOKEN_LOG_PROBS]!, batch) : undefined,
      cache,
      batch,
    };
  }

  /** Sizes of hook points, learnt from what has been read. */
  readonly #units = new Map<string, number>();

  async #unitsAt(name: string, batch: PaddedBatch): Promise<number> {
    const known = this.#units.get(name);
    if (known !== undefined) return known;
    const one = [Array.from(batch.ids.subarray(0, 1), Number)];
    await this.run({ tokens: one, capture: [name], interventions: [], head: "none" });
    return this.#units.get(name)!;
  }

  async #session(plan: SessionPlan): Promise<InferenceSession> {
    const key = JSON.stringify([
      [...plan.capture.keys()].sort(),
      [...plan.intervene].map(([name, { slots }]) => [name, slots]).sort(),
      plan.head,
      plan.from?.name,
    ]);
    let session = this.#sessions.get(key);
    if (session) this.#sessions.delete(key);
    else {
      const oldest = this.#sessions.keys().next().value;
      const fits = Math.max(
        1,
        Math.min(MAX_SESSIONS, Math.floor(MAX_SESSION_BYTES / this.#weightBytes)),
      );
      if (this.#sessions.size >= fits && oldest !== undefined) {
        const old = this.#sessions.get(oldest)!;
        this.#sessions.delete(oldest);
        await (await old).release();
      }
      session = createSession(
        buildSessionModel(this.#graph, this.located, plan),
        this.#weights,
        this.#options,
      );
    }
    // Put back at the end: the order is that of last use. A failure is not kept.
    this.#sessions.set(key, session);
    return session.catch((error) => {
      this.#sessions.delete(key);
      throw error;
    });
  }

  #cacheSizes(): { nKeyValueHeads: number | undefined; dHead: number | undefined } {
    const { nHeads, nKeyValueHeads, dHead } = headSizes(this.#config);
    return { nKeyValueHeads: nKeyValueHeads ?? nHeads, dHead };
  }

  async dispose(): Promise<void> {
    const sessions = [...this.#sessions.values()];
    this.#sessions.clear();
    for (const session of sessions) {
      await session.then((s) => s.release()).catch(() => undefined);
    }
  }
}

async function runSession(
  session: InferenceSession,
  feeds: Record<string, Tensor>,
  fetches: readonly string[],
): Promise<Record<string, Tensor>> {
  try {
    return (await session.run(feeds, fetches)) as Record<string, Tensor>;
  } catch (cause) {
    throw new ModelError(`run: onnxruntime could not run the model: ${(cause as Error).message}`, {
      cause,
    });
  }
}

function toHookValues(output: Tensor): HookValues {
  const { data, dims } = output;
  if (data instanceof Float32Array) return { data, shape: dims };
  if (data instanceof Uint16Array) {
    return { data: Float32Array.from(data, float16ToNumber), shape: dims };
  }
  if (ArrayBuffer.isView(data)) {
    return { data: Float32Array.from(data as unknown as ArrayLike<number>), shape: dims };
  }
  throw new ModelError(`run: expected numbers, got a tensor of ${output.type}`);
}

/** At each position the token that comes next; the last position of a row scores nothing. */
function nextTokens({ ids, nRows, length }: PaddedBatch): Tensor {
  const targets = new BigInt64Array(nRows * length);
  for (let row = 0; row < nRows; row++) {
    targets.set(ids.subarray(row * length + 1, (row + 1) * length), row * length);
  }
  return new Tensor("int64", targets, [nRows, length]);
}

/** From "what comes next" at each position to "how likely was the token here". */
function shiftLogProbs(output: Tensor, { nRows, length, lengths }: PaddedBatch): HookValues {
  const next = output.data as Float32Array;
  const data = new Float32Array(nRows * length);
  for (let row = 0; row < nRows; row++) {
    for (let pos = 1; pos < lengths[row]!; pos++) {
      data[row * length + pos] = next[row * length + pos - 1]!;
    }
  }
  return { data, shape: [nRows, length] };
}

async function openTokenizer(folder: string): Promise<TextTokenizer | undefined> {
  const tokenizer = await readModelJson(folder, "tokenizer.json");
  if (!tokenizer) return undefined;
  return createTokenizer(tokenizer, (await readModelJson(folder, "tokenizer_config.json")) ?? {});
}

const number = (
  config: Record<string, unknown> | undefined,
  ...keys: string[]
): number | undefined => {
  for (const key of keys) {
    const value = config?.[key];
    if (typeof value === "number" && Number.isInteger(value) && value > 0) return value;
  }
  return undefined;
};

function headSizes(config: Record<string, unknown> | undefined) {
  const nHeads = number(config, "num_attention_heads", "n_head", "num_heads");
  const width = number(config, "hidden_size", "n_embd", "d_model");
  return {
    nHeads,
    nKeyValueHeads: number(config, "num_key_value_heads"),
    dHead: number(config, "head_dim") ?? (nHeads && width ? width / nHeads : undefined),
  };
}

function describeModel(
  name: string,
  located: Located,
  config: Record<string, unknown> | undefined,
  shapes: ReadonlyMap<string, readonly number[]>,
  causal: boolean,
): ModelConfig {
  const heads = headSizes(config);
  const pattern = shapes.get("blocks.0.attn.hook_pattern");
  const nHeads = heads.nHeads ?? (pattern?.length === 4 ? pattern[1] : undefined);
  const z = shapes.get("blocks.0.attn.hook_z")?.at(-1);
  const nCtx = number(config, "max_position_embeddings", "n_positions", "n_ctx");
  const dModel = shapes.get("blocks.0.hook_resid_post")?.at(-1);
  if (dModel === undefined)
    throw new ArgumentError("describeModel: the residual stream has no size");
  return {
    modelName: name,
    modelType: typeof config?.["model_type"] === "string" ? config["model_type"] : undefined,
    nLayers: located.nLayers,
    dModel,
    nHeads,
    nKeyValueHeads: heads.nKeyValueHeads ?? nHeads,
    dHead: heads.dHead ?? (z !== undefined && nHeads ? z / nHeads : undefined),
    dMlp: shapes.get("blocks.0.mlp.hook_post")?.at(-1),
    dVocab: located.logits ? shapes.get(OUTPUT)?.at(-1) : number(config, "vocab_size"),
    nCtx,
    attentionDir: causal ? "causal" : "bidirectional",
    gatedMlp: located.gatedMlp,
    parallelAttnMlp: located.parallelAttnMlp,
    batchDependent: located.batchDependent > 0,
  };
}
