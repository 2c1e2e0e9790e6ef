import { freemem } from "node:os";
import { DataError, HookPointError, ModelError } from "@penfield/core";
import {
  copyModel,
  elementType,
  exposeTensor,
  externalWeight,
  type ModelProto,
  prune,
} from "@penfield/onnx";
import { type InferenceSession, Tensor } from "onnxruntime-node";
import { axesOf, hookName } from "../hookPoint.ts";
import { type Intervention, type Slot, slotOf } from "../interventions.ts";
import { isFusedRead } from "./branchHooks.ts";
import { compileFeeds, type HookSizes, neutralFeeds } from "./compile.ts";
import { headSizes } from "./config.ts";
import {
  type FeedSource,
  type ModelInputs,
  modelFeeds,
  type PaddedBatch,
  padTokens,
  probeInputs,
} from "./inputs.ts";
import type { Located, LocatedHook } from "./locate.ts";
import {
  buildSessionModel,
  captureOutput,
  LAST_POSITION,
  OUTPUT,
  type SessionPlan,
  TARGETS,
  TOKEN_LOG_PROBS,
} from "./plan.ts";
import { createSession, type RuntimeOptions, type Weights } from "./runtime.ts";
import { SessionPool } from "./sessionPool.ts";
import {
  addPositionFeeds,
  clearPadding,
  type HookValues,
  nextTokens,
  runSession,
  shiftLogProbs,
  toHookValues,
} from "./values.ts";

export interface RunRequest extends ModelInputs {
  /** Hook points to return: names, aliases, patterns with `*`, or raw tensor names. */
  readonly capture?: readonly string[] | undefined;
  readonly interventions?: readonly Intervention[] | undefined;
  /**
   * Hook points that stay wired for zeroing and setting, whether or not something is done to them in
   * this run: runs with the same list share one compiled session, whichever units they silence.
   */
  readonly wired?: readonly string[] | undefined;
  /**
   * What to return of the output: scores (default), scores at each row's last token alone
   * (`[row, 1, vocab]`, much cheaper), log-probabilities of the next tokens, or nothing.
   */
  readonly head?: "logits" | "lastLogits" | "tokenLogProbs" | "none" | undefined;
  /** Start from these values at a hook point: nothing before it is computed. */
  readonly from?: { readonly hook: string; readonly values: HookValues } | undefined;
  /**
   * Bring the positions of what is returned together inside the runtime, so that the rest never
   * leaves it: `mean`, `max` over a row's real tokens, or its `last` token: `[row, 1, unit]`. Hook
   * points without a `pos` axis (scores, patterns) come whole.
   */
  readonly reduce?: "mean" | "max" | "last" | undefined;
  /** Only these positions of what is returned, in this order; negative ones count from the longest row's end. */
  readonly posSlice?: readonly number[] | undefined;
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

/** A run whose hook names are already resolved. */
export interface CoreRequest extends Omit<RunRequest, "capture" | "interventions"> {
  readonly capture: readonly string[];
  readonly interventions: readonly Intervention[];
  /** Hooks that are wired with neutral inputs though nothing is done to them. */
  readonly neutral?: ReadonlyMap<string, readonly Slot[]>;
  /** Hooks that the session can return, if more than this run asks for. */
  readonly readable?: readonly string[];
}

/** The sizes of inputs, rows left out: what the sizes of hook points follow from. */
function sizesOf({ tokens, decoderTokens, inputs = {} }: ModelInputs): string {
  const longest = (rows: ModelInputs["tokens"]): number =>
    rows?.reduce((most, row) => Math.max(most, row.length), 0) ?? 0;
  const named = Object.entries(inputs).map(([name, { shape }]) => [name, ...shape.slice(1)]);
  return JSON.stringify([longest(tokens), longest(decoderTokens), named]);
}

/** The graph, its sessions, and one run: what stays when the user's view of a model is taken off. */
export class ModelCore {
  readonly original: ModelProto;
  readonly located: Located;
  /** Attention heads of each stack, as its hook points show them; of the only one by config.json else. */
  nHeads: ReadonlyMap<string | undefined, number> = new Map();
  nCtx: number | undefined;
  dVocab: number | undefined;
  /** Numbers that one position needs at the widest place, as far as is known. */
  widest = 0;
  padId = 0;
  readonly #graph: ModelProto;
  readonly #weights: Weights;
  readonly #options: RuntimeOptions;
  readonly #config: Record<string, unknown> | undefined;
  readonly #byName: ReadonlyMap<string, LocatedHook>;
  readonly #pool: SessionPool;

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
    const weightBytes = graph.graph!.initializer.reduce(
      (sum, t) => sum + (externalWeight(t)?.length ?? t.rawData.length),
      0,
    );
    this.#pool = new SessionPool(options.prepack ? weightBytes : 0);
    this.#options = options;
    this.#config = config;
    this.#byName = new Map(located.hooks.map((h) => [hookName(h.kind, h.layer, h.stack), h]));
  }

  get hookNames(): string[] {
    return [...this.#byName.keys()];
  }

  /** Whether the file has such a tensor of numbers that is computed. */
  hasTensor(name: string): boolean {
    return this.located.index.producer.has(name);
  }

  /** When a hook's tensor is computed: of two hooks, the one with the lower number comes first. */
  rankOf(name: string): number {
    const { rank, producer } = this.located.index;
    const number = producer.get(this.#hook(name).tensor);
    return number === undefined ? -1 : rank[number]!;
  }

  /** Names of all tensors that are computed. */
  tensorNames(): string[] {
    return [...this.located.index.producer.keys()];
  }

  /** Inputs that tokens do not fill, made up, for a first look at the model. */
  probeInputs(nRows: number): ModelInputs["inputs"] {
    return probeInputs(this.original, this.#config, nRows);
  }

  /** Whether the model reads token ids. */
  get readsTokens(): boolean {
    return this.original.graph!.input.some((v) => v.name.endsWith("input_ids"));
  }

  /** The token that ends a text, as config.json names it. */
  get endOfText(): number | undefined {
    const text = this.#config?.["text_config"] as Record<string, unknown> | undefined;
    const id = text?.["eos_token_id"] ?? this.#config?.["eos_token_id"];
    return typeof id === "number" ? id : undefined;
  }

  #hook(name: string): LocatedHook {
    const known = this.#byName.get(name);
    if (known) return known;
    const type = this.located.types.get(name) ?? elementType.float32;
    const writable = FLOATS.has(type);
    return {
      kind: "tensor",
      layer: undefined,
      tensor: name,
      type,
      flattened: false,
      writable,
      reason: writable ? undefined : "its values are not floating-point numbers",
    };
  }

  isWritable(name: string): boolean {
    return this.#hook(name).writable;
  }

  #source({ tokens, decoderTokens, inputs = {} }: ModelInputs): FeedSource {
    const decoderBatch = decoderTokens && padTokens(decoderTokens, this.padId);
    const { nHeads, nKeyValueHeads, dHead } = headSizes(this.#config);
    const [firstInput] = Object.values(inputs);
    const nRows = firstInput?.shape[0] ?? decoderBatch?.nRows ?? 0;
    if (!tokens && Object.keys(inputs).length === 0 && !decoderBatch) {
      throw new DataError("run: expected tokens or inputs, got neither", {
        hint: `The model reads ${this.original.graph!.input.map((v) => v.name).join(", ")}.`,
      });
    }
    const none = new BigInt64Array(0);
    const empty: PaddedBatch = { nRows, length: 0, ids: none, mask: none, lengths: [] };
    const batch = tokens ? padTokens(tokens, this.padId) : empty;
    return { batch, decoderBatch, inputs, nKeyValueHeads: nKeyValueHeads ?? nHeads, dHead };
  }

  /** The model as it came, without hooks: its outputs are the measure of identity. */
  async runPlain(inputs: ModelInputs): Promise<ReadonlyMap<string, HookValues>> {
    const names = this.located.outputs;
    if (names.length === 0) return new Map();
    const plain = copyModel(this.original);
    prune(plain.graph!, names);
    const session = await createSession(plain, this.#weights, this.#options);
    try {
      const feeds = modelFeeds(this.original, session.inputNames, this.#source(inputs));
      const result = await runSession(session, feeds, names);
      return new Map(names.map((name) => [name, toHookValues(result[name]!)]));
    } finally {
      await session.release();
    }
  }

  /** Values of weights and of what is computed from weights alone, as the runtime sees them. */
  async constants(names: readonly string[]): Promise<ReadonlyMap<string, HookValues>> {
    if (names.length === 0) return new Map();
    const copy = copyModel(this.#graph);
    const outputs = names.map((_, i) => `constant::${i}`);
    names.forEach((name, i) => {
      // 0 is no type: whatever it is, it is cast.
      exposeTensor(copy.graph!, name, outputs[i]!, { type: elementType.float32, castFrom: 0 });
    });
    prune(copy.graph!, outputs);
    const session = await createSession(copy, this.#weights, this.#options);
    try {
      const result = await runSession(session, {}, outputs);
      return new Map(names.map((name, i) => [name, toHookValues(result[outputs[i]!]!)]));
    } finally {
      await session.release();
    }
  }

  async run(request: CoreRequest): Promise<RunResult> {
    const source = this.#source(request);
    this.#check(request, source);
    // Sizes that are not known yet are looked up first, with a run of their own.
    if (request.interventions.some(({ hook }) => !this.#knownShape(hook, request))) {
      await this.#lookAtSizes(request);
    }
    const plan = this.#plan(request);
    const { session, release } = await this.#pool.hold(planKey(plan), () =>
      createSession(
        buildSessionModel(this.#graph, this.located, plan),
        this.#weights,
        this.#options,
      ),
    );
    try {
      const feeds = this.#feeds(request, source, plan, session.inputNames);
      return await this.#runPlanned(request, source.batch, plan, { session, feeds });
    } finally {
      release();
    }
  }

  /** What can be known to fail before anything is compiled or run. */
  #check(request: CoreRequest, source: FeedSource): void {
    const { batch } = source;
    this.#checkMemory(source, request);
    const vocabulary = this.dVocab;
    const outside = vocabulary === undefined ? -1 : batch.ids.findIndex((id) => id >= vocabulary);
    if (outside >= 0) {
      throw new DataError(
        `run: expected token ids below ${vocabulary}, got ${batch.ids[outside]} in row ${Math.floor(outside / batch.length)}`,
        { hint: "The tokens come from another model's tokenizer." },
      );
    }
    if (this.nCtx !== undefined && batch.length > this.nCtx) {
      const row = batch.lengths.indexOf(batch.length);
      throw new DataError(
        `run: expected at most ${this.nCtx} tokens, got ${batch.length} in row ${row}`,
        { hint: "Shorten the text, or set a token limit." },
      );
    }
    if (request.head === "tokenLogProbs" && !this.located.logits) {
      throw new ModelError("run: expected a language model with logits, got a model without them", {
        hint: "Tasks that score text need a causal language model.",
      });
    }
  }

  #plan(request: CoreRequest): SessionPlan {
    const { capture, interventions, from, head = "logits", neutral, posSlice } = request;
    const slots = new Map<string, readonly Slot[]>(neutral);
    for (const { hook, op } of interventions) {
      slots.set(hook, [...new Set([...(slots.get(hook) ?? []), slotOf[op.type]])].sort());
    }
    const readable = [...new Set([...(request.readable ?? []), ...capture])];
    return {
      capture: new Map(readable.map((name) => [name, this.#hook(name)])),
      intervene: new Map(
        [...slots].map(([name, s]) => [name, { hook: this.#hook(name), slots: s }]),
      ),
      reduce: request.reduce ?? (posSlice ? "slice" : undefined),
      head,
      from: from && { name: `from.${from.hook}`, hook: this.#hook(from.hook) },
    };
  }

  #feeds(
    request: CoreRequest,
    source: FeedSource,
    plan: SessionPlan,
    names: readonly string[],
  ): Record<string, Tensor> {
    const { interventions, from, posSlice } = request;
    const { batch } = source;
    const feeds = modelFeeds(this.#graph, names, source);
    if (from) {
      feeds[`from.${from.hook}`] = new Tensor("float32", from.values.data, [...from.values.shape]);
    }
    if (names.includes(TARGETS)) feeds[TARGETS] = nextTokens(batch);
    if (names.includes(LAST_POSITION)) {
      const last = BigInt64Array.from(batch.lengths, (length) => BigInt(length - 1));
      feeds[LAST_POSITION] = new Tensor("int64", last, [batch.nRows, 1, 1]);
    }
    if (plan.reduce) addPositionFeeds(feeds, names, batch, posSlice);
    const byHook = new Map<string, Intervention[]>();
    for (const intervention of interventions) {
      const list = byHook.get(intervention.hook);
      if (list) list.push(intervention);
      else byHook.set(intervention.hook, [intervention]);
    }
    for (const [name, { slots }] of plan.intervene) {
      const list = byHook.get(name);
      const basis = slots.includes("project");
      const sizes = list || basis ? this.#sizesAt(name, request, source) : undefined;
      for (const slot of slots) {
        Object.assign(feeds, neutralFeeds(name, slot, batch.nRows, sizes?.nUnits));
      }
      if (list) Object.assign(feeds, compileFeeds(name, list, sizes!));
    }
    return feeds;
  }

  async #runPlanned(
    request: CoreRequest,
    batch: PaddedBatch,
    plan: SessionPlan,
    { session, feeds }: { session: InferenceSession; feeds: Record<string, Tensor> },
  ): Promise<RunResult> {
    const asked = new Set(request.capture);
    const wanted = [...plan.capture].filter(([name]) => asked.has(name));
    const fetches = wanted.map(([name, hook]) => captureOutput(name, hook));
    const output = OUTPUT_OF[plan.head];
    if (session.outputNames.includes(output)) fetches.push(output);
    const result = await runSession(session, feeds, fetches);
    const cache = new Map(
      wanted.map(([name, hook]) => {
        const values = toHookValues(result[captureOutput(name, hook)]!);
        // A fused operator leaves whatever was in memory where padding is attended to.
        if (isFusedRead(hook.tensor)) clearPadding(values, batch, request);
        return [name, values];
      }),
    );
    for (const [name, { shape }] of plan.reduce === undefined ? cache : []) {
      this.#shapes.set(name, shape);
      this.#shapesBySizes.set(`${name} ${sizesOf(request)}`, shape);
    }
    const scored = plan.head === "tokenLogProbs";
    return {
      logits: output === OUTPUT && result[OUTPUT] ? toHookValues(result[OUTPUT]) : undefined,
      tokenLogProbs: scored ? shiftLogProbs(result[TOKEN_LOG_PROBS]!, batch) : undefined,
      cache,
      batch,
    };
  }

  /** Shapes of hook points, learnt from what has been read. */
  readonly #shapes = new Map<string, readonly number[]>();

  /** The same for inputs of certain sizes, where they are not tokens alone. */
  readonly #shapesBySizes = new Map<string, readonly number[]>();

  /** Whether all positions of a hook point are the tokens of the batch. */
  #followsTokens(name: string, { tokens, inputs, decoderTokens }: ModelInputs): boolean {
    const { kind, stack, layout } = this.#hook(name);
    return (
      tokens !== undefined &&
      Object.keys(inputs ?? {}).every((input) => CONTINUES.test(input)) &&
      !decoderTokens &&
      stack === undefined &&
      kind !== "tensor" &&
      layout !== "routed"
    );
  }

  #knownShape(name: string, request: ModelInputs): readonly number[] | undefined {
    return this.#followsTokens(name, request)
      ? this.#shapes.get(name)
      : this.#shapesBySizes.get(`${name} ${sizesOf(request)}`);
  }

  async #lookAtSizes(request: CoreRequest): Promise<void> {
    const { tokens, decoderTokens, inputs } = request;
    const names = [...new Set(request.interventions.map((i) => i.hook))];
    // What a hook has for one token says enough where all positions are tokens.
    const simple = names.every((name) => this.#followsTokens(name, request));
    const look = simple ? { tokens: [tokens![0]!.slice(0, 1)] } : { tokens, decoderTokens, inputs };
    await this.run({ ...look, capture: names, interventions: [], head: "none" });
  }

  #sizesAt(name: string, request: ModelInputs, source: FeedSource): HookSizes {
    const { batch } = source;
    const { kind, layout, stack, nHeads } = this.#hook(name);
    const simple = this.#followsTokens(name, request);
    const shape = this.#knownShape(name, request) ?? this.#shapes.get(name)!;
    const axes = kind === "tensor" ? ["batch", "pos", "unit"] : axesOf(kind);
    if (shape.length !== axes.length) {
      throw new HookPointError(
        `run: ${name}: expected a tensor with the axes ${axes.join(", ")}, got one of shape [${shape.join(", ")}]`,
        { hint: "Tensors by their names in the file can be changed if they have three axes." },
      );
    }
    const nRows = layout === "routed" ? 1 : batch.nRows;
    const last = shape.at(-1)!;
    const positions = axes.length === 3 || axes[1] === "pos" ? shape[1]! : shape[2]!;
    const length = simple ? batch.length : positions;
    if (!axes.includes("head_index")) {
      const ofZ = kind === "attn.hook_z" || kind === "cross_attn.hook_z";
      return {
        nRows,
        length,
        nUnits: last,
        nHeads: ofZ ? (nHeads ?? this.nHeads.get(stack)) : undefined,
      };
    }
    // The sources of a pattern are as many as this batch is long, whatever was read before.
    const heads = shape[axes.indexOf("head_index")]!;
    // Before them may come those of a past that the run continues.
    const sources = request.inputs?.["attention_mask"]?.shape[1] ?? batch.length;
    const perHead = axes.at(-1) === "src_pos" && simple ? sources : last;
    return { nRows, length, nUnits: heads * perHead, nHeads: heads, unitsWithinHeads: true };
  }

  /** Refuses a batch that cannot fit, before anything is run. */
  #checkMemory({ batch, decoderBatch }: FeedSource, request: CoreRequest): void {
    const { nRows } = batch;
    const length = Math.max(batch.length, decoderBatch?.length ?? 0);
    if (nRows === 0 || length === 0) return;
    const { head = "logits", reduce, posSlice } = request;
    const kept = reduce || posSlice ? 0 : length;
    const captured = request.capture.reduce((sum, name) => {
      const shape = this.#shapes.get(name);
      const attention = axesOf(this.#hook(name).kind).at(-1) === "src_pos";
      if (!shape) return sum;
      return sum + (attention ? shape[1]! * length : shape.slice(2).reduce((a, b) => a * b, 1));
    }, 0);
    const scores = head === "logits" ? 1 : head === "tokenLogProbs" ? 2 : 0;
    const perPosition = this.widest + Math.max(0, ...this.nHeads.values()) * 3 * length;
    const perRow =
      4 * (kept * captured + length * (perPosition + scores * (this.dVocab ?? 0)) + length);
    const limit = this.#options.memoryLimit ?? availableMemory();
    if (nRows * perRow <= limit) return;
    const fits = Math.floor(limit / perRow);
    const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
    throw new DataError(
      `run: expected a batch that fits into ${gib(limit)} of memory, got ${nRows} rows of ${length} tokens that need about ${gib(nRows * perRow)}`,
      {
        hint:
          fits > 0
            ? `${fits} rows fit; capture fewer hook points or reduce positions for more.`
            : "Not even one row fits; shorten it, or capture fewer hook points.",
      },
    );
  }

  dispose(): Promise<void> {
    return this.#pool.dispose();
  }
}

const OUTPUT_OF = {
  logits: OUTPUT,
  lastLogits: OUTPUT,
  tokenLogProbs: TOKEN_LOG_PROBS,
  none: "",
} as const;

/** Runs whose plans have the same key share a session. */
function planKey({ capture, intervene, head, reduce, from }: SessionPlan): string {
  const slots = [...intervene].map(([name, { slots }]) => [name, slots]).sort();
  return JSON.stringify([[...capture.keys()].sort(), slots, head, reduce, from?.name]);
}

const FLOATS = new Set<number>([elementType.float32, elementType.float16, elementType.float64]);

/** Memory that a run may take: what the machine has free now, with a tenth left to others. */
function availableMemory(): number {
  const free =
    typeof process.availableMemory === "function" ? process.availableMemory() : freemem();
  return 0.9 * free;
}

/**
 * Inputs of a run that goes on from a past of its own: the positions of its hooks are still its
 * tokens. A past of the encoder has the encoder's.
 */
const CONTINUES =
  /^(past_key_values\.(?!\d+\.encoder\.)|past_(?!key_values)|attention_mask$|position_ids$|cache_position$)/;
