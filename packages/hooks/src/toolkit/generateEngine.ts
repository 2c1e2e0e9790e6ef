import { HookPointError, ModelError, ShapeError } from "@penfield/core";
import type { Intervention } from "../interventions.ts";
import type { RunnableModel } from "../isolation/runnableModel.ts";
import { isFusedRead } from "../transformer/branchHooks.ts";
import type { ModelInput, ModelInputs, TokenRows } from "../transformer/inputs.ts";
import type { RunResult } from "../transformer/modelCore.ts";
import type { HookValues } from "../transformer/values.ts";
import {
  type GenerationIntervention,
  hookPointOf,
  interventionsOfRun,
  movesRows,
  positionKind,
} from "./generateInterventions.ts";

/** How new tokens are computed: with keys and values of the past, or all positions in every run. */
export type GenerationEngine = "cache" | "recompute";

/** What all runs of one call have in common. */
export interface EnginePlan {
  readonly model: RunnableModel;
  /** What the encoder reads, where the file holds encoder and decoder. */
  readonly encoderTokens: TokenRows | undefined;
  readonly inputs: ModelInputs["inputs"];
  readonly nPrompts: number;
  readonly interventions: readonly GenerationIntervention[];
  /** Names of hook points, patterns resolved. */
  readonly capture: readonly string[];
  readonly firstRow: number;
  /** The past's inputs and the outputs that become them; undefined: recompute. */
  readonly past: readonly PastPair[] | undefined;
}

/** A tensor of the past: as what it is read, and as what it is returned. */
interface PastPair {
  readonly input: string;
  readonly output: string;
}

/** Prompts of one length that are continued together. */
export interface Group {
  /** Which prompts. */
  readonly rows: readonly number[];
  readonly promptLength: number;
  /** Each row's prompt and new tokens. */
  readonly tokens: readonly (readonly number[])[];
  /** What the model returned for later runs. */
  readonly past: ReadonlyMap<string, ModelInput>;
}

/** What one run gives. */
export interface StepValues {
  /** `[row, 1, vocab]`: scores of the next token. */
  readonly logits: HookValues;
  /** For each row, values at the last position: the hook point's axes without batch and position. */
  readonly captured: readonly ReadonlyMap<string, HookValues>[];
  readonly past: ReadonlyMap<string, ModelInput>;
}

/** Scores of so many numbers are returned whole where that keeps results equal. */
const WHOLE_SCORES = 2 ** 24;

/** Runs the model for the next token of each row of a group. */
export async function runStep(plan: EnginePlan, group: Group): Promise<StepValues> {
  const { model, inputs, encoderTokens, past: pairs = [] } = plan;
  const { rows, promptLength, tokens, past } = group;
  const end = tokens[0]!.length;
  const start = pairs.length > 0 && end > promptLength ? end - 1 : 0;
  const both = isWholeEncoderDecoder(model);
  // A product of one row is another kernel than one of several, and rounds otherwise: a row must not
  // notice that the others are gone.
  const alone = rows.length === 1 && pairs.length === 0 && !model.cfg.batchDependent;
  const whole = both || (alone && end > 1 && end * (model.cfg.dVocab ?? 1) <= WHOLE_SCORES);
  const twice = alone && (!whole || end === 1 || encoderTokens?.[rows[0]!]?.length === 1);
  const inRun = twice ? [rows[0]!, rows[0]!] : rows;
  const read = (twice ? [tokens[0]!, tokens[0]!] : tokens).map((row) => row.slice(start));
  const span = { rows, promptLength, start, end };
  const interventions = interventionsOfRun(model, plan.interventions, span, plan.firstRow);
  const named: Record<string, ModelInput> = {
    ...takeInputs(inputs, inRun, plan.nPrompts),
    ...(start > 0 ? pastInputs(past, rows.length, end) : {}),
  };
  const encoder = encoderTokens && inRun.map((row) => encoderTokens[row]!);
  const result = await model.run({
    ...(both ? { decoderTokens: read } : { tokens: read }),
    ...(encoder ? { tokens: encoder } : {}),
    ...(Object.keys(named).length > 0 ? { inputs: named } : {}),
    interventions: twice ? interventions.map(forTwo) : interventions,
    capture: [...plan.capture, ...pairs.map(({ output }) => output)],
    head: whole ? "logits" : "lastLogits",
    ...(plan.capture.length > 0 && !both ? { reduce: "last" as const } : {}),
  });
  return {
    logits: lastScores(result, rows.length, model),
    captured: rows.map(
      (_, row) =>
        new Map(
          plan.capture.map((name) => [
            name,
            lastPosition(model, name, result.cache.get(name)!, row),
          ]),
        ),
    ),
    past: new Map(pairs.map(({ input, output }) => [input, result.cache.get(output)!])),
  };
}

/** Whether the file holds encoder and decoder: its decoder's tokens are fed apart. */
export const isWholeEncoderDecoder = ({ cfg }: RunnableModel): boolean =>
  cfg.stacks.length > 1 && cfg.stacks.some(({ name }) => name === "decoder");

/** The second of two equal rows is not looked at. */
function forTwo(intervention: Intervention): Intervention {
  if (!movesRows(intervention)) return intervention;
  return { ...intervention, op: { type: "patch", source: [0, 0] } };
}

/** Some rows of what was given for all prompts; what was given once is for each. */
function takeInputs(
  inputs: ModelInputs["inputs"] = {},
  rows: readonly number[],
  nPrompts: number,
): Record<string, ModelInput> {
  return Object.fromEntries(
    Object.entries(inputs).map(([name, { data, shape }]) => {
      const [n = 1] = shape;
      if (shape.length < 2) return [name, { data, shape }];
      if (n !== nPrompts && n !== 1) {
        throw new ShapeError(
          `generate: ${name}: expected ${nPrompts} rows, one for each prompt, or 1, got ${n}`,
        );
      }
      const taken = n === 1 ? rows.map(() => 0) : rows;
      return [name, takeInputRows({ data, shape }, taken)];
    }),
  );
}

/** Rows along the first axis; a copy unless all are taken in order. */
export function takeInputRows({ data, shape }: ModelInput, rows: readonly number[]): ModelInput {
  const [n = 0] = shape;
  if (rows.length === n && rows.every((row, i) => row === i)) return { data, shape };
  const size = data.length / n;
  const taken = new (data.constructor as new (length: number) => Float32Array)(rows.length * size);
  rows.forEach((row, i) => {
    taken.set(data.subarray(row * size, (row + 1) * size) as Float32Array, i * size);
  });
  return { data: taken, shape: [rows.length, ...shape.slice(1)] };
}

/** All that is fed beside the new tokens: the past, and where the new tokens stand. */
function pastInputs(
  past: ReadonlyMap<string, ModelInput>,
  nRows: number,
  length: number,
): Record<string, ModelInput> {
  const last = BigInt(length - 1);
  return {
    ...Object.fromEntries(past),
    attention_mask: {
      data: new BigInt64Array(nRows * length).fill(1n),
      shape: [nRows, length],
    },
    position_ids: { data: new BigInt64Array(nRows).fill(last), shape: [nRows, 1] },
    cache_position: { data: new BigInt64Array([last]), shape: [1] },
  };
}

function lastScores({ logits }: RunResult, nRows: number, { cfg }: RunnableModel): HookValues {
  const [n = 0, length = 0, nTokens = 0] = logits?.shape ?? [];
  if (logits?.shape.length !== 3 || (cfg.dVocab !== undefined && nTokens !== cfg.dVocab)) {
    throw new ModelError(
      `generate: expected a model with scores over its vocabulary, got ${logits ? `an output of shape [${logits.shape.join(", ")}]` : "one without them"}`,
      { hint: "Text is generated by causal language models and decoders." },
    );
  }
  if (length === 1 && n === nRows) return logits;
  const data = new Float32Array(nRows * nTokens);
  for (let row = 0; row < nRows; row++) {
    const from = (row * length + length - 1) * nTokens;
    data.set(logits.data.subarray(from, from + nTokens), row * nTokens);
  }
  return { data, shape: [nRows, 1, nTokens] };
}

/** Values of one row at its last position, of attention the last destination. */
function lastPosition(
  model: RunnableModel,
  name: string,
  { data, shape }: HookValues,
  row: number,
): HookValues {
  const axes = hookPointOf(model, name)!.axes;
  const axis = axes.includes("dest_pos") ? 2 : 1;
  const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  const outer = shape.slice(1, axis).reduce((a, b) => a * b, 1);
  const length = shape[axis]!;
  const values = new Float32Array(outer * inner);
  for (let i = 0; i < outer; i++) {
    const from = ((row * outer + i) * length + length - 1) * inner;
    values.set(data.subarray(from, from + inner), i * inner);
  }
  return { data: values, shape: [...shape.slice(1, axis), ...shape.slice(axis + 1)] };
}

/** Names of the hook points to capture. @throws {HookPointError} if one has no position of the tokens. */
export function capturedNames(model: RunnableModel, wanted: readonly string[]): string[] {
  const names = wanted.flatMap((name) => {
    const found = model.listHooks(name);
    return found.length > 0 ? found : [model.hookPoint(name)];
  });
  const wrong = names.find((point) => positionKind(point) !== "tokens");
  if (wrong) {
    throw new HookPointError(
      `generate: expected hook points whose positions are those of the tokens, got ${wrong.name}`,
      { hint: "Read the encoder's hook points with model.run; they are the same at every step." },
    );
  }
  return [...new Set(names.map(({ name }) => name))];
}

/** Whether the past works, or why not. */
export type PastCheck = { readonly pairs: readonly PastPair[] } | { readonly reason: string };

/**
 * Looks whether the file can go on from past keys and values: it must return them, read them, and give
 * the same scores with them as without.
 *
 * Cost: three runs of at most three tokens.
 */
export async function checkPast(plan: Omit<EnginePlan, "past">): Promise<PastCheck> {
  const { model, inputs, nPrompts } = plan;
  if (isWholeEncoderDecoder(model)) {
    return { reason: "the file holds encoder and decoder and takes no past" };
  }
  const fused = plan.capture.find((name) => isFusedRead(model.hookPoint(name).tensor));
  if (fused !== undefined) {
    return { reason: `${fused} is read from a fused operator, which shows it without a past only` };
  }
  const named = takeInputs(inputs, [0], nPrompts);
  const given = Object.keys(named).length > 0 ? { inputs: named } : {};
  const head = "lastLogits" as const;
  for (const style of ["", "decoder."]) {
    const pairs = Array.from({ length: model.cfg.nLayers }, (_, layer) =>
      ["key", "value"].map((part) => ({
        input: `past_key_values.${layer}.${style}${part}`,
        output: `present.${layer}.${style}${part}`,
      })),
    ).flat();
    const capture = pairs.map(({ output }) => output);
    let first: RunResult;
    try {
      first = await model.run({ tokens: [PROBE.slice(0, 2)], ...given, capture, head });
    } catch (error) {
      // No such output.
      if (error instanceof HookPointError) continue;
      throw error;
    }
    const full = await model.run({ tokens: [PROBE], ...given, capture, head });
    const past = new Map(pairs.map(({ input, output }) => [input, first.cache.get(output)!]));
    const all = { ...named, ...pastInputs(past, 1, PROBE.length) };
    const next = await model.run({ tokens: [PROBE.slice(2)], inputs: all, capture, head });
    const present = next.cache.get(capture[0]!)!;
    if (present.shape.at(-2) !== PROBE.length) {
      return { reason: "the file returns keys and values but does not read them" };
    }
    const [a, b] = [full.logits!.data, next.logits!.data];
    const largest = a.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    const difference = a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i]!)), 0);
    if (!(difference <= 0.01 * largest)) {
      return {
        reason: `scores with a past differ by ${difference.toPrecision(2)} from those without`,
      };
    }
    return { pairs };
  }
  return { reason: "the file returns no keys and values" };
}

/** Token ids that even a tiny vocabulary has. */
const PROBE: readonly number[] = [1, 3, 2];
