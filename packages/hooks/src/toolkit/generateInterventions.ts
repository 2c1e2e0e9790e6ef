import { ArgumentError, createRng, DataError, HookPointError } from "@penfield/core";
import type { HookPoint } from "../hookPoint.ts";
import type { Intervention } from "../interventions.ts";
import type { RunnableModel } from "../isolation/runnableModel.ts";

/**
 * When an intervention acts. The model is run once for each new token; run 0 reads the prompt, run s
 * reads the new token s - 1. Numbers are those of runs, and run 0 is that of all the prompt's
 * positions.
 *
 * - `all` (default): at every position, of the prompt and of new tokens.
 * - `prompt`: at the prompt's positions, which is `[0]`.
 * - `steps`: at the positions of new tokens.
 */
export type GenerationWhen = "all" | "prompt" | "steps" | readonly number[];

/**
 * An intervention and when it acts. Rows are prompts; positions are counted from the first token of
 * the prompt on and through the new tokens, whichever way the tokens are computed.
 */
export interface GenerationIntervention extends Intervention {
  readonly when?: GenerationWhen | undefined;
}

/** Rows and positions that one run of the model computes. */
export interface RunSpan {
  /** Which prompt each row of the run is. */
  readonly rows: readonly number[];
  readonly promptLength: number;
  /** First position, and the one after the last. */
  readonly start: number;
  readonly end: number;
}

/** How the positions of a hook point follow from those of the tokens that are continued. */
export type PositionKind =
  /** They are those of the tokens. */
  | "tokens"
  /** They are those of the encoder, the same in every run. */
  | "encoder"
  /** An expert's tokens, of which nobody knows in advance which they are. */
  | "routed";

/** What the positions at a hook point are. */
export function positionKind(hook: HookPoint | undefined): PositionKind {
  if (!hook) return "tokens";
  if (hook.kind.startsWith("mlp.experts.")) return "routed";
  const encoder = hook.stack !== undefined && ["encoder", "vision", "audio"].includes(hook.stack);
  return encoder || /^cross_attn\.hook_[kv]$/.test(hook.kind) ? "encoder" : "tokens";
}

/** The hook point of a name or alias; a tensor by its name in the file has none. */
export function hookPointOf(
  model: Pick<RunnableModel, "hookPoints">,
  name: string,
): HookPoint | undefined {
  return model.hookPoints.find((h) => h.name === name || h.aliases.includes(name));
}

/** Whether the units of a hook point are the positions that are looked at. */
const isAttention = (point: HookPoint | undefined): boolean => point?.axes.at(-1) === "src_pos";

/** Whether values come from other rows, so that all rows must be in every run. */
export const movesRows = ({ op }: Intervention): boolean =>
  op.type === "patch" || op.type === "resample";

const isActive = (when: GenerationWhen = "all", run: number): boolean => {
  if (when === "all") return true;
  if (when === "prompt") return run === 0;
  return when === "steps" ? run > 0 : when.includes(run);
};

const runOf = (position: number, promptLength: number): number =>
  Math.max(0, position - promptLength + 1);

/**
 * Refuses interventions that name what is never there.
 *
 * @throws {ArgumentError} for prompts, positions or runs that do not exist, positions that are never
 *   computed at the time asked for, or noise that would depend on how tokens are computed.
 * @throws {HookPointError} for a time or place at hook points whose positions are not the tokens'.
 * @throws {DataError} for patches between prompts of several lengths.
 */
export function checkInterventions(
  model: Pick<RunnableModel, "hookPoints">,
  interventions: readonly GenerationIntervention[],
  promptLengths: readonly number[],
  maxNewTokens: number,
): void {
  const fail = (hook: string, rule: string, got: unknown, hint?: string): never => {
    throw new ArgumentError(`generate: ${hook}: expected ${rule}, got ${got}`, { hint });
  };
  for (const { hook, op, when = "all", rows, positions, units } of interventions) {
    if (typeof when !== "string") {
      const wrong = when.find((r) => !Number.isInteger(r) || r < 0 || r >= maxNewTokens);
      if (wrong !== undefined) fail(hook, `runs within 0..${maxNewTokens - 1}`, wrong);
    } else if (!["all", "prompt", "steps"].includes(when)) {
      fail(hook, "when to be all, prompt, steps or numbers of runs", when);
    }
    const chosen = rows === undefined ? [...promptLengths.keys()] : Array.from(rows);
    const outside = chosen.find((r) => promptLengths[r] === undefined);
    if (outside !== undefined) fail(hook, `rows within 0..${promptLengths.length - 1}`, outside);
    const point = hookPointOf(model, hook);
    const kind = positionKind(point);
    if (kind !== "tokens" && (when !== "all" || (kind === "routed" && positions !== undefined))) {
      throw new HookPointError(
        `generate: expected ${hook} without ${when === "all" ? "positions" : "when"}, got ${when === "all" ? "some" : JSON.stringify(when)}`,
        {
          hint: `The positions of this hook point are ${kind === "encoder" ? "the encoder's" : "those of routed tokens"}, not those of the tokens that are continued.`,
        },
      );
    }
    if (op.type === "noise" && (kind === "routed" || isAttention(point))) {
      fail(
        hook,
        "noise where the number of values stays the same from run to run",
        point?.kind,
        "Add noise at hook_q or hook_k instead.",
      );
    }
    if (movesRows({ hook, op }) && new Set(promptLengths).size > 1) {
      throw new DataError(
        `generate: ${hook}: expected prompts of one length with ${op.type}, got lengths ${[...new Set(promptLengths)].join(", ")}`,
        { hint: "Values move between the same positions of prompts." },
      );
    }
    if (kind !== "tokens") continue;
    for (const [what, places] of [
      ["positions", positions],
      ["units (sources)", isAttention(point) ? units : undefined],
    ] as const) {
      for (const row of chosen) {
        const nComputed = promptLengths[row]! + maxNewTokens - 1;
        const wrong = Array.from(places ?? []).find(
          (p) => !Number.isInteger(p) || p < 0 || p >= nComputed,
        );
        if (wrong === undefined) continue;
        fail(
          hook,
          `${what} within 0..${nComputed - 1} for prompt ${row}`,
          wrong,
          `The prompt has ${promptLengths[row]} tokens, and of ${maxNewTokens} new ones the last is not read.${chosen.length > 1 ? " Name the prompts meant with rows." : ""}`,
        );
      }
    }
    if (positions === undefined) continue;
    const acts = chosen.some((row) =>
      Array.from(positions).some((p) => isActive(when, runOf(p, promptLengths[row]!))),
    );
    if (!acts && positions.length > 0) {
      fail(
        hook,
        `positions that are computed when it acts (${typeof when === "string" ? when : `runs ${when.join(", ")}`})`,
        `positions ${Array.from(positions).join(", ")}`,
        "The prompt's positions are computed in run 0, that of new token s in run s + 1.",
      );
    }
  }
}

/**
 * The interventions of one run: rows and positions as that run counts them, and only those that act
 * at a position which the run computes. A position is changed in the same way in every run that
 * computes it, so that computing it again changes nothing.
 */
export function interventionsOfRun(
  model: Pick<RunnableModel, "hookPoints">,
  interventions: readonly GenerationIntervention[],
  span: RunSpan,
  firstRow: number,
): Intervention[] {
  const { rows, promptLength, start, end } = span;
  return interventions.flatMap(({ when, ...intervention }): Intervention[] => {
    const { op } = intervention;
    const point = hookPointOf(model, intervention.hook);
    const kind = positionKind(point);
    const here =
      intervention.rows &&
      Array.from(intervention.rows).flatMap((row) => {
        const local = rows.indexOf(row);
        return local < 0 ? [] : [local];
      });
    if (here?.length === 0) return [];
    const placed: Intervention = {
      ...intervention,
      ...(here ? { rows: here } : {}),
      // Sources that are not there yet cannot be looked at either.
      ...(isAttention(point) && intervention.units
        ? { units: Array.from(intervention.units).filter((source) => source < end) }
        : {}),
    };
    if (kind !== "tokens") {
      return op.type === "noise" ? noiseOfRows(placed, op, rows, firstRow) : [placed];
    }
    const range = Array.from({ length: end - start }, (_, i) => start + i);
    const wanted = intervention.positions && new Set(Array.from(intervention.positions));
    const acting = range.filter(
      (p) => isActive(when, runOf(p, promptLength)) && (wanted?.has(p) ?? true),
    );
    if (acting.length === 0) return [];
    if (op.type === "noise") {
      // Drawn for each prompt and position apart, so that it does not matter what else is in the run.
      return (here ?? [...rows.keys()]).flatMap((row) =>
        acting.map((p) => ({
          ...placed,
          op: { ...op, seed: seedAt(op.seed, firstRow + rows[row]!, p) },
          rows: [row],
          positions: [p - start],
        })),
      );
    }
    // All positions alike need no list: one value is broadcast over them.
    if (acting.length === range.length && wanted === undefined) return [placed];
    return [{ ...placed, positions: acting.map((p) => p - start) }];
  });
}

function noiseOfRows(
  intervention: Intervention,
  op: Extract<Intervention["op"], { type: "noise" }>,
  rows: readonly number[],
  firstRow: number,
): Intervention[] {
  return Array.from(intervention.rows ?? rows.keys(), (row) => ({
    ...intervention,
    op: { ...op, seed: seedAt(op.seed, firstRow + rows[row]!, 0) },
    rows: [row],
  }));
}

const seedAt = (seed: number, row: number, position: number): number =>
  createRng(seed, row * 2 ** 24 + position).below(2 ** 32);
