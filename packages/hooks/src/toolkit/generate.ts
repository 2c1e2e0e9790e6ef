import {
  ArgumentError,
  createRng,
  type LongWork,
  ModelError,
  type Rng,
  throwIfAborted,
} from "@penfield/core";
import type { RunnableModel } from "../isolation/runnableModel.ts";
import type { TextTokenizer } from "../tokenizer.ts";
import type { TokenRows } from "../transformer/inputs.ts";
import type { HookValues } from "../transformer/values.ts";
import {
  capturedNames,
  checkPast,
  type EnginePlan,
  type GenerationEngine,
  type Group,
  runStep,
  takeInputRows,
} from "./generateEngine.ts";
import {
  checkInterventions,
  type GenerationIntervention,
  movesRows,
} from "./generateInterventions.ts";
import {
  checkPrompts,
  endsOfText,
  type GenerationPrompts,
  readPrompts,
  stopToken,
} from "./generatePrompts.ts";
import type { Metric } from "./metrics.ts";
import {
  checkSampling,
  drawToken,
  nextTokens,
  type SamplingOptions,
  tokenStatistics,
} from "./sampling.ts";

export interface GenerateOptions extends SamplingOptions, LongWork {
  /** At most so many new tokens for each prompt; default 20. */
  readonly maxNewTokens?: number | undefined;
  /** A row ends after one of these: ids, or texts that are one token. */
  readonly stopTokens?: readonly (number | string)[] | undefined;
  /**
   * End a row after a token that means the end of a text, as far as the tokenizer has one (default);
   * a model without a tokenizer has none: name it in `stopTokens`.
   */
  readonly stopAtEos?: boolean | undefined;
  /** Of drawing; default 0. Each prompt has its own stream of random numbers. */
  readonly seed?: number | undefined;
  /** Number of the first prompt among those that share a seed, if they are in several calls; default 0. */
  readonly firstRow?: number | undefined;
  /** What is changed, and when. */
  readonly interventions?: readonly GenerationIntervention[] | undefined;
  /** Hook points, by name, alias or pattern, whose values at the last position are kept for each new token. */
  readonly capture?: readonly string[] | undefined;
  /** A number from the scores of each next token; see `metrics`. Its position is the last. */
  readonly metric?: Metric | undefined;
  /** Keep the scores over the vocabulary for each new token; default false. */
  readonly keepLogits?: boolean | undefined;
  /** Begin texts with the beginning-of-text token; default what the tokenizer does by itself. */
  readonly prependBos?: boolean | undefined;
  /**
   * `true`: go on from past keys and values; `false`: compute all positions for each new token;
   * `auto` (default): the first where the file can.
   */
  readonly cache?: boolean | "auto" | undefined;
  /** Prompts in one run; default 32. */
  readonly batchSize?: number | undefined;
  /** Called for each new token. */
  readonly onToken?: ((token: GeneratedToken) => void) | undefined;
}

/** Why a row has ended. */
export type StopReason = "stopToken" | "maxNewTokens";

/** A new token of one prompt. */
export interface GeneratedToken {
  /** Which prompt. */
  readonly row: number;
  /** 0 for the first new token. */
  readonly step: number;
  /** Where it stands, counted from the first token of the prompt. */
  readonly position: number;
  readonly token: number;
  /** What it adds to the text; undefined without a tokenizer. Half a character is added with the other half. */
  readonly text: string | undefined;
  /** ln of the probability that the model gave to it, at temperature 1 and before topK and topP. */
  readonly logProb: number;
  /** Of the model's next token, in nats, of the same probabilities. */
  readonly entropy: number;
  readonly metric: number | undefined;
  /**
   * Values at the position before it, from which it was predicted, by hook point: their axes without
   * batch and position (a pattern: `[head_index, src_pos]`).
   */
  readonly captured: ReadonlyMap<string, HookValues>;
  /** Scores over the vocabulary, if kept. */
  readonly logits: Float32Array | undefined;
  /** Set on the row's last token. */
  readonly stopReason: StopReason | undefined;
}

/** What a prompt has become. */
export interface GeneratedRow {
  /** The tokens that were continued. */
  readonly prompt: readonly number[];
  /** New tokens, the stop token included. */
  readonly tokens: readonly number[];
  /** The new text, the stop token left out; undefined without a tokenizer. */
  readonly text: string | undefined;
  /** For each new token, as in `GeneratedToken`. */
  readonly logProbs: readonly number[];
  readonly entropies: readonly number[];
  /** Undefined if no metric was asked for. */
  readonly metric: readonly number[] | undefined;
  /** By hook point one record for each new token. */
  readonly captured: ReadonlyMap<string, readonly HookValues[]>;
  /** Undefined unless kept. */
  readonly logits: readonly Float32Array[] | undefined;
  readonly stopReason: StopReason;
}

export interface Generation {
  /** One for each prompt, in their order. */
  readonly rows: readonly GeneratedRow[];
  readonly engine: GenerationEngine;
  /** Why all positions were computed for each token, if they were. */
  readonly engineReason: string | undefined;
}

/**
 * Continues prompts with a causal language model or a decoder, with interventions if any are given.
 *
 * The model is run once for each new token: run 0 reads the prompt, run s the new token s - 1. With
 * past keys and values each position is computed once; without, all of them in every run, and an
 * intervention acts at each position as it did the first time. Both give the same tokens but for
 * rounding (scores differ by about 1e-6 in float32).
 *
 * Prompts of one length are run together, without padding. Without a cache the result of a prompt is
 * the same, bit for bit, whatever other prompts are given; with one, up to rounding.
 *
 * @param model - Opened in this process or in one of its own.
 * @throws {DataError} before anything is run: no prompt, an empty one, tokens outside the vocabulary, or
 *   prompt and new tokens beyond the context.
 * @throws {ArgumentError} for options outside their ranges, and interventions at prompts, positions or
 *   runs that never are.
 * @throws {HookPointError} for hook points that are not there or cannot do what is asked.
 * @throws {ModelError} if the model has no scores over a vocabulary, is no causal one, or takes no past
 *   though `cache: true`.
 * @throws {TokenizerError} for texts if the model came without a tokenizer.
 * @throws {InterruptedError} if the signal fires, between two runs.
 *
 * Cost: for each length of prompts, maxNewTokens runs; with a cache, of one position each after the
 * first. With interventions and a cache each run is made twice, once to learn sizes.
 *
 * @example
 * const model = await HookedModel.fromPretrained("test/fixtures/gpt2");
 * const { rows, engine } = await generate(model, [[5, 9, 7], [3, 4]], { maxNewTokens: 4 });
 * rows.map(({ tokens }) => tokens.length) // => [4, 4]
 * engine // => "recompute"
 * await model.dispose();
 */
export async function generate(
  model: RunnableModel,
  prompts: GenerationPrompts,
  options: GenerateOptions = {},
): Promise<Generation> {
  const stream = generateStream(model, prompts, options);
  for (;;) {
    const next = await stream.next();
    if (next.done) return next.value;
  }
}

/**
 * As `generate`, token by token: for each run the new token of each of its rows. Ending the loop ends
 * the work; the model stays usable.
 *
 * @returns An iterator over tokens whose return value is what `generate` gives.
 * @throws as `generate`, when the first token is asked for.
 *
 * @example
 * const model = await HookedModel.fromPretrained("test/fixtures/gpt2");
 * const seen = [];
 * for await (const { row, step } of generateStream(model, [[5, 9], [3, 4]], { maxNewTokens: 2 })) {
 *   seen.push(`${row}.${step}`);
 * }
 * seen.join(" ") // => "0.0 1.0 0.1 1.1"
 * await model.dispose();
 */
export async function* generateStream(
  model: RunnableModel,
  prompts: GenerationPrompts,
  options: GenerateOptions = {},
): AsyncGenerator<GeneratedToken, Generation, undefined> {
  const { signal, onProgress, onToken, metric, keepLogits = false } = options;
  const settings = checkOptions(model, options);
  const { maxNewTokens, batchSize, seed, firstRow } = settings;
  const { tokens, ...given } = readPrompts(model, prompts, options.prependBos);
  checkPrompts(model, tokens, maxNewTokens);
  const interventions = options.interventions ?? [];
  const lengths = tokens.map((row) => row.length);
  checkInterventions(model, interventions, lengths, maxNewTokens);
  throwIfAborted(signal, "generate");
  const shared = {
    ...{ model, interventions, firstRow, ...given, nPrompts: tokens.length },
    capture: capturedNames(model, options.capture ?? []),
  };
  const { past, reason } = await chooseEngine(shared, options.cache ?? "auto");
  const plan: EnginePlan = { ...shared, past };
  const rows = tokens.map((row, r) => openRow(row, model.tokenizer, createRng(seed, firstRow + r)));
  // Rows that lend values to others must be there to the end.
  const lockstep = interventions.some(movesRows);
  const size = lockstep ? tokens.length : model.cfg.batchDependent ? 1 : batchSize;
  const total = tokens.length * maxNewTokens;
  let done = 0;
  for (const members of groupsOf(tokens, given.encoderTokens, size)) {
    const promptLength = lengths[members[0]!]!;
    const starts = members.map((row) => tokens[row]!);
    let group: Group = { rows: members, promptLength, tokens: starts, past: new Map() };
    for (let step = 0; group.rows.length > 0; step++) {
      throwIfAborted(signal, "generate");
      const { logits, captured, past: returned } = await runStep(plan, group);
      const nTokens = logits.shape[2]!;
      const measured = metric?.(
        logits,
        group.rows.map((prompt, row) => ({ row, prompt })),
      );
      const news: GeneratedToken[] = [];
      const added = group.rows.map((row, i) => {
        const scores = logits.data.subarray(i * nTokens, (i + 1) * nTokens);
        const state = rows[row]!;
        const token = drawToken(nextTokens(scores, options), state.rng);
        if (state.stopReason !== undefined) return token;
        const stopped = settings.stops.has(token);
        if (stopped) state.stopReason = "stopToken";
        else if (step === maxNewTokens - 1) state.stopReason = "maxNewTokens";
        const found: GeneratedToken = {
          ...{ row, step, position: promptLength + step, token },
          text: state.addText(token, stopped, state.stopReason !== undefined),
          ...tokenStatistics(scores, token),
          metric: measured?.[i],
          captured: captured[i]!,
          logits: keepLogits ? scores.slice() : undefined,
          stopReason: state.stopReason,
        };
        state.tokens.push(found);
        news.push(found);
        return token;
      });
      const ended = (row: number): boolean => rows[row]!.stopReason !== undefined;
      const all = group.rows.every(ended);
      const kept = [...group.rows.keys()].filter(
        (i) => !all && (lockstep || !ended(group.rows[i]!)),
      );
      group = {
        promptLength,
        rows: kept.map((i) => group.rows[i]!),
        tokens: kept.map((i) => [...group.tokens[i]!, added[i]!]),
        past: new Map([...returned].map(([name, value]) => [name, takeInputRows(value, kept)])),
      };
      done += news.length;
      const saved = news.reduce((sum, t) => sum + (t.stopReason ? maxNewTokens - 1 - step : 0), 0);
      done += saved;
      onProgress?.({ stage: "generating", done, total, unit: "tokens" });
      for (const found of news) {
        onToken?.(found);
        yield found;
      }
    }
  }
  return {
    rows: rows.map((row) => closeRow(row, plan.capture, { metric: !!metric, keepLogits })),
    engine: past ? "cache" : "recompute",
    engineReason: reason,
  };
}

interface Settings {
  readonly maxNewTokens: number;
  readonly batchSize: number;
  readonly seed: number;
  readonly firstRow: number;
  readonly stops: ReadonlySet<number>;
}

function checkOptions(model: RunnableModel, options: GenerateOptions): Settings {
  const { maxNewTokens = 20, batchSize = 32, seed = 0, firstRow = 0, stopAtEos = true } = options;
  const whole = {
    maxNewTokens: [maxNewTokens, 1],
    batchSize: [batchSize, 1],
    firstRow: [firstRow, 0],
  };
  for (const [name, [value, least]] of Object.entries(whole)) {
    if (Number.isInteger(value) && value! >= least!) continue;
    throw new ArgumentError(`generate: expected ${name} of at least ${least}, got ${value}`);
  }
  if (!Number.isSafeInteger(seed)) {
    throw new ArgumentError(`generate: expected a whole number as seed, got ${seed}`);
  }
  if (![true, false, "auto", undefined].includes(options.cache)) {
    throw new ArgumentError(`generate: expected cache true, false or auto, got ${options.cache}`);
  }
  checkSampling(options, "generate");
  const named = (options.stopTokens ?? []).map((stop) => stopToken(model, stop));
  const ends = stopAtEos && model.tokenizer ? endsOfText(model.tokenizer) : [];
  return { maxNewTokens, batchSize, seed, firstRow, stops: new Set([...named, ...ends]) };
}

async function chooseEngine(
  plan: Omit<EnginePlan, "past">,
  cache: boolean | "auto",
): Promise<{ past: EnginePlan["past"]; reason: string | undefined }> {
  if (cache === false) return { past: undefined, reason: "asked for" };
  if (cache === "auto" && plan.model.cfg.batchDependent) {
    return { past: undefined, reason: "its scale follows from all tokens of a run (dynamic int8)" };
  }
  const check = await checkPast(plan);
  if ("pairs" in check) return { past: check.pairs, reason: undefined };
  if (cache === "auto") return { past: undefined, reason: check.reason };
  throw new ModelError(
    `generate: expected a file that goes on from past keys and values, got ${plan.model.cfg.modelName}: ${check.reason}`,
    { hint: "Open decoder_with_past or an export with past_key_values, or leave cache out." },
  );
}

/** Prompts of one length (and with texts of one length for the encoder), at most `size` together. */
function groupsOf(tokens: TokenRows, encoder: TokenRows | undefined, size: number): number[][] {
  const byLength = new Map<string, number[]>();
  tokens.forEach((row, r) => {
    const key = `${row.length} ${encoder?.[r]?.length}`;
    byLength.set(key, [...(byLength.get(key) ?? []), r]);
  });
  return [...byLength.values()].flatMap((rows) =>
    Array.from({ length: Math.ceil(rows.length / size) }, (_, i) =>
      rows.slice(i * size, (i + 1) * size),
    ),
  );
}

/** A row on its way. */
interface OpenRow {
  readonly prompt: readonly number[];
  readonly tokens: GeneratedToken[];
  readonly rng: Rng;
  stopReason: StopReason | undefined;
  addText(token: number, isStop: boolean, isLast: boolean): string | undefined;
}

function openRow(
  prompt: readonly number[],
  tokenizer: TextTokenizer | undefined,
  rng: Rng,
): OpenRow {
  const news: number[] = [];
  const before = tokenizer?.decode(prompt) ?? "";
  let shown = 0;
  return {
    prompt,
    tokens: [],
    rng,
    stopReason: undefined,
    addText(token, isStop, isLast) {
      if (!tokenizer) return undefined;
      if (!isStop) news.push(token);
      // With the prompt before it: tokenizers drop the space that a text begins with.
      const whole = tokenizer.decode([...prompt, ...news]);
      const text = whole.startsWith(before) ? whole.slice(before.length) : tokenizer.decode(news);
      // A character may take several tokens; until it is whole, it is shown as U+FFFD.
      const end = isLast ? text.length : text.replace(/\uFFFD+$/, "").length;
      const piece = text.slice(shown, end);
      shown = Math.max(shown, end);
      return piece;
    },
  };
}

function closeRow(
  { prompt, tokens, stopReason }: OpenRow,
  capture: readonly string[],
  { metric, keepLogits }: { metric: boolean; keepLogits: boolean },
): GeneratedRow {
  const texts = tokens.map(({ text }) => text);
  return {
    prompt,
    tokens: tokens.map(({ token }) => token),
    text: texts[0] === undefined ? undefined : texts.join(""),
    logProbs: tokens.map(({ logProb }) => logProb),
    entropies: tokens.map(({ entropy }) => entropy),
    metric: metric ? tokens.map((t) => t.metric ?? Number.NaN) : undefined,
    captured: new Map(capture.map((name) => [name, tokens.map((t) => t.captured.get(name)!)])),
    logits: keepLogits ? tokens.map((t) => t.logits!) : undefined,
    stopReason: stopReason ?? "maxNewTokens",
  };
}
