import { DataError, float16ToNumber, ModelError } from "@penfield/core";
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
import { compileFeeds, type HookSizes, neutralFeeds } from "./compile.ts";
import { headSizes } from "./config.ts";
import { type PaddedBatch, padTokens, type TokenRows, textFeeds } from "./inputs.ts";
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
  /**
   * What to return of the output: scores (default), scores at each row's last token alone
   * (`[row, 1, vocab]`, much cheaper), log-probabilities of the next tokens, or nothing.
   */
  readonly head?: "logits" | "lastLogits" | "tokenLogProbs" | "none" | undefined;
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
  dVocab: number | undefined;
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
    const { capture, interventions, from, head = "logits", neutral } = request;
    const batch = padTokens(request.tokens, this.padId);
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
    if (session.inputNames.includes(LAST_POSITION)) {
      const last = BigInt64Array.from(batch.lengths, (length) => BigInt(length - 1));
      feeds[LAST_POSITION] = new Tensor("int64", last, [batch.nRows, 1, 1]);
    }
    for (const [name, needed] of slots) {
      for (const slot of needed) Object.assign(feeds, neutralFeeds(name, slot, batch.nRows));
      const list = byHook.get(name);
      if (list) {
        const sizes = {
          nRows: batch.nRows,
          length: batch.length,
          ...(await this.#unitsAt(name, batch)),
        };
        Object.assign(feeds, compileFeeds(name, list, sizes));
      }
    }
    const wanted = new Map([...plan.capture].filter(([name]) => capture.includes(name)));
    const fetches = [...wanted].map(([name, hook]) => captureOutput(name, hook));
    const output = {
      logits: OUTPUT,
      lastLogits: OUTPUT,
      tokenLogProbs: TOKEN_LOG_PROBS,
      none: "",
    }[head];
    if (session.outputNames.includes(output)) fetches.push(output);
    const result = await runSession(session, feeds, fetches);
    const cache = new Map(
      [...wanted].map(([name, hook]) => [name, toHookValues(result[captureOutput(name, hook)]!)]),
    );
    for (const [name, values] of cache) this.#shapes.set(name, values.shape);
    return {
      logits: output === OUTPUT && result[OUTPUT] ? toHookValues(result[OUTPUT]) : undefined,
      tokenLogProbs:
        head === "tokenLogProbs" ? shiftLogProbs(result[TOKEN_LOG_PROBS]!, batch) : undefined,
      cache,
      batch,
    };
  }

  /** Shapes of hook points, learnt from what has been read. */
  readonly #shapes = new Map<string, readonly number[]>();

  async #unitsAt(
    name: string,
    batch: PaddedBatch,
  ): Promise<Pick<HookSizes, "nUnits" | "nHeads" | "unitsWithinHeads">> {
    if (!this.#shapes.has(name)) {
      const one = [Array.from(batch.ids.subarray(0, 1), Number)];
      await this.run({ tokens: one, capture: [name], interventions: [], head: "none" });
    }
    const shape = this.#shapes.get(name)!;
    const { kind, layout } = this.#hook(name);
    const last = shape.at(-1)!;
    if (!layout) {
      return { nUnits: last, nHeads: kind === "attn.hook_z" ? this.nHeads : undefined };
    }
    // The sources of a pattern are as many as this batch is long, whatever was read before.
    const nHeads = shape[axesOf[kind].indexOf("head_index")]!;
    const perHead = axesOf[kind].at(-1) === "src_pos" ? batch.length : last;
    return { nUnits: nHeads * perHead, nHeads, unitsWithinHeads: true };
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
