import { ArgumentError, HookPointError, type LongWork, throwIfAborted } from "@penfield/core";
import { getActName, type HookPoint } from "../hookPoint.ts";
import type { Intervention } from "../interventions.ts";
import type { HookedModel } from "../transformer/model.ts";
import type { Metric } from "./metrics.ts";
import {
  blockOfRows,
  lengthOfPairs,
  meansOf,
  type PromptChunk,
  promptChunks,
  rowsInRun,
} from "./rows.ts";

/** Two sets of prompts that differ in what is to be found, and what is measured. */
export interface PatchingOptions extends LongWork {
  /** Prompts of one length. */
  readonly clean: readonly (readonly number[])[];
  /** As many prompts of the same length; `corrupted[i]` belongs to `clean[i]`. */
  readonly corrupted: readonly (readonly number[])[];
  readonly metric: Metric;
  /**
   * `denoising` (default): run the corrupted prompts and patch in values of the clean ones.
   * `noising`: the other way round.
   */
  readonly direction?: "denoising" | "noising" | undefined;
  /**
   * Rows in one run, the source rows included; default 128, fewer where a large vocabulary or long
   * prompts would take more than about 1 GB.
   */
  readonly batchSize?: number | undefined;
}

/**
 * An axis of a sweep; `dest_pos` (the same as `pos`) and `src_pos` are those of patterns and scores,
 * `component` that of sweeps which stack several activations.
 */
export type PatchAxis = "component" | "layer" | "pos" | "head_index" | "dest_pos" | "src_pos";

/** What came of a sweep; arrays are row-major over `shape`. */
export interface PatchingResult {
  readonly axes: readonly PatchAxis[];
  readonly shape: readonly number[];
  /** What the `component` axis counts, if there is one: `resid_pre`, `attn_out`, … */
  readonly labels?: readonly string[];
  /** The metric, averaged over prompts, with one place patched. */
  readonly values: Float64Array;
  /** (value - corrupted) / (clean - corrupted): 0 is the corrupted run, 1 the clean one. */
  readonly normalized: Float64Array;
  /** The metric of the clean prompts as they are. */
  readonly clean: number;
  /** The metric of the corrupted prompts as they are. */
  readonly corrupted: number;
  /** True if the numbers depend on `batchSize` (dynamic int8 quantisation). */
  readonly batchDependent: boolean;
}

/**
 * Activation patching: each place of an activation in turn takes its values from the other prompt, and
 * the metric is measured. All places of a batch are rows of one run; the values are moved between
 * rows inside the runtime, bit for bit, and the result equals patching one place at a time.
 *
 * @param options.activation - A short name: `resid_pre`, `resid_mid`, `resid_post`, `attn_out`, `mlp_out`,
 *   `z`, `q`, `k`, `v`, `pattern`, `attn_scores`, `post`, …
 * @param options.axes - What is swept: `["layer", "pos"]`, `["layer", "head_index"]`,
 *   `["layer", "pos", "head_index"]`, `["layer"]`, at patterns and scores also
 *   `["layer", "head_index", "dest_pos", "src_pos"]`. Axes that are absent are patched whole.
 * @throws {DataError} if prompts are missing, or differ in number or length.
 * @throws {HookPointError} if the model has no such activation, or it cannot be written.
 * @throws {ArgumentError} for axes that the activation does not have.
 * @throws {InterruptedError} if the signal fires.
 *
 * Cost: one session; (number of places + 1) nPrompts rows, and the source rows once per batch.
 * Source: Meng et al. (2022), arXiv 2202.05262; matches `patching.generic_activation_patch` of
 * TransformerLens.
 *
 * @example
 * const model = await HookedModel.fromPretrained("test/fixtures/gpt2");
 * const { shape, normalized } = await genericActivationPatch(model, {
 *   clean: [[5, 9, 7, 3]], corrupted: [[6, 9, 7, 3]],
 *   metric: logitDiff({ tokens: 11, incorrectTokens: 12 }),
 *   activation: "resid_pre", axes: ["layer", "pos"],
 * });
 * shape // => [2, 4]
 * normalized[0] // => 1
 * await model.dispose();
 */
export async function genericActivationPatch(
  model: HookedModel,
  options: PatchingOptions & { readonly activation: string; readonly axes: readonly PatchAxis[] },
): Promise<PatchingResult> {
  const { clean, corrupted, metric, activation, axes, direction = "denoising" } = options;
  const { signal, onProgress } = options;
  const name = "genericActivationPatch";
  const length = lengthOfPairs(clean, corrupted, name);
  if (direction !== "denoising" && direction !== "noising") {
    throw new ArgumentError(`${name}: expected direction denoising or noising, got ${direction}`);
  }
  const points = Array.from({ length: model.cfg.nLayers }, (_, layer) =>
    writableHook(model, getActName(activation, layer), name),
  );
  const hooks = points.map((point) => point.name);
  const shape = axes.map((axis) => sizeOf(model, activation, axis, length));
  const distinct = new Set(axes.map((axis) => (axis === "dest_pos" ? "pos" : axis)));
  if (axes[0] !== "layer" || distinct.size !== axes.length) {
    throw new ArgumentError(
      `${name}: expected axes that start with layer and do not repeat, got ${axes.join(", ")}`,
    );
  }
  const nPrompts = clean.length;
  const width = axes.some((axis) => axis === "head_index" || axis === "src_pos")
    ? valuesPerPosition(model, points[0]!, length)
    : 1;
  const batchSize = rowsInRun(model, length, width, options.batchSize, name);
  const [sources, targets] = direction === "denoising" ? [clean, corrupted] : [corrupted, clean];
  const nPlaces = shape.reduce((a, b) => a * b, 1);
  const places = Array.from({ length: nPlaces }, (_, i) => placeAt(i, axes, shape));
  // Every layer is wired in every batch, so that all batches share one session.
  const wired = hooks.map((hook) => ({ hook, rows: [] as number[] }));
  /** Blocks of rows: the source prompts, then the others once per place. `[block, prompt]`. */
  const run = async (
    some: readonly Place[],
    { start, end }: PromptChunk,
  ): Promise<readonly number[]> => {
    const n = end - start;
    const source = Array.from({ length: n * (1 + some.length) }, (_, row) => row % n);
    const op = { type: "patch", source } as const;
    const interventions: Intervention[] = [
      ...wired.map((w) => ({ ...w, op })),
      ...some.flatMap(({ layer, pos, dest_pos, src_pos, head_index }, i) => {
        if (layer === undefined) return [];
        const position = pos ?? dest_pos;
        return {
          hook: hooks[layer]!,
          op,
          rows: blockOfRows(i + 1, n),
          ...(position === undefined ? {} : { positions: [position] }),
          ...(src_pos === undefined ? {} : { units: [src_pos] }),
          ...(head_index === undefined ? {} : { heads: [head_index] }),
        };
      }),
    ];
    const own = targets.slice(start, end);
    const tokens = [...sources.slice(start, end), ...some.flatMap(() => own)];
    const { logits } = await model.run({ tokens, interventions });
    return metric(
      logits!,
      tokens.map((_, row) => ({ row, prompt: start + (row % n) })),
    );
  };
  const chunks = promptChunks(nPrompts, batchSize);
  // By place and prompt; the last two places are the prompts as they are.
  const each = new Float64Array((nPlaces + 2) * nPrompts);
  const put = (place: number, chunk: PromptChunk, values: readonly number[]): void => {
    each.set(values, place * nPrompts + chunk.start);
  };
  for (const [c, chunk] of chunks.entries()) {
    throwIfAborted(signal, name);
    const n = chunk.end - chunk.start;
    const plain = await run([{}], chunk);
    put(nPlaces, chunk, plain.slice(0, n));
    put(nPlaces + 1, chunk, plain.slice(n));
    const perRun = Math.max(1, Math.floor(batchSize / n) - 1);
    for (let start = 0; start < nPlaces; start += perRun) {
      throwIfAborted(signal, name);
      const some = places.slice(start, start + perRun);
      const values = await run(some, chunk);
      some.forEach((_, i) => {
        put(start + i, chunk, values.slice((i + 1) * n, (i + 2) * n));
      });
      onProgress?.({
        stage: `patching ${activation}`,
        done: Math.floor((c * nPlaces + start + some.length) / chunks.length),
        total: nPlaces,
        unit: "places",
      });
    }
  }
  const means = meansOf(each, nPrompts);
  const [from, to] = means.slice(nPlaces) as [number, number];
  const values = Float64Array.from(means.slice(0, nPlaces));
  const [cleanValue, corruptedValue] = direction === "denoising" ? [from, to] : [to, from];
  return {
    axes,
    shape,
    values,
    normalized: normalize(values, cleanValue, corruptedValue),
    clean: cleanValue,
    corrupted: corruptedValue,
    batchDependent: model.cfg.batchDependent,
  };
}

/** (value - corrupted) / (clean - corrupted); + 0 turns -0 into 0. */
export function normalize(values: Float64Array, clean: number, corrupted: number): Float64Array {
  return values.map((v) => (v - corrupted) / (clean - corrupted) + 0);
}

/** The hook point of this name. @throws {HookPointError} if there is none, or it cannot be written. */
export function writableHook(model: HookedModel, hook: string, name: string): HookPoint {
  const point = model.hookPoint(hook);
  if (point.writable) return point;
  throw new HookPointError(
    `${name}: expected a writable hook point, got ${point.name}: ${point.reason}`,
  );
}

type Place = Partial<Record<PatchAxis, number>>;

function placeAt(flat: number, axes: readonly PatchAxis[], shape: readonly number[]): Place {
  const place: Place = {};
  let rest = flat;
  for (let a = axes.length - 1; a >= 0; a--) {
    place[axes[a]!] = rest % shape[a]!;
    rest = Math.floor(rest / shape[a]!);
  }
  return place;
}

const PATTERNS: readonly string[] = ["pattern", "attn_scores"];
const WITH_HEADS: readonly string[] = ["z", "q", "k", "v", ...PATTERNS];

function sizeOf(model: HookedModel, activation: string, axis: PatchAxis, length: number): number {
  const { nLayers, nHeads, nKeyValueHeads } = model.cfg;
  if (axis === "layer") return nLayers;
  if (axis === "pos") return length;
  if ((axis === "dest_pos" || axis === "src_pos") && PATTERNS.includes(activation)) return length;
  const heads = ["k", "v"].includes(activation) ? nKeyValueHeads : nHeads;
  if (axis === "head_index" && WITH_HEADS.includes(activation) && heads !== undefined) return heads;
  throw new ArgumentError(
    `genericActivationPatch: expected axes layer, pos, (at z, q, k, v, pattern, attn_scores) head_index and (at pattern, attn_scores) dest_pos and src_pos, got ${axis} at ${activation}`,
  );
}

/** How many values lie at one position of a hook point: all heads' together. */
function valuesPerPosition(model: HookedModel, point: HookPoint, length: number): number {
  const { nHeads = 1, dModel } = model.cfg;
  if (point.axes.at(-1) === "src_pos") return nHeads * length;
  return (point.nUnits ?? dModel) * (point.axes.includes("head_index") ? nHeads : 1);
}

/** Patches the residual stream before each block at each position: `[nLayers, pos]`. */
export function getActPatchResidPre(
  model: HookedModel,
  options: PatchingOptions,
): Promise<PatchingResult> {
  return genericActivationPatch(model, { ...options, activation: "resid_pre", axes: BY_POSITION });
}

/** Patches the residual stream between attention and MLP: `[nLayers, pos]`. Not in parallel blocks. */
export function getActPatchResidMid(
  model: HookedModel,
  options: PatchingOptions,
): Promise<PatchingResult> {
  return genericActivationPatch(model, { ...options, activation: "resid_mid", axes: BY_POSITION });
}

/** Patches what each attention layer adds: `[nLayers, pos]`. */
export function getActPatchAttnOut(
  model: HookedModel,
  options: PatchingOptions,
): Promise<PatchingResult> {
  return genericActivationPatch(model, { ...options, activation: "attn_out", axes: BY_POSITION });
}

/** Patches what each MLP adds: `[nLayers, pos]`. */
export function getActPatchMlpOut(
  model: HookedModel,
  options: PatchingOptions,
): Promise<PatchingResult> {
  return genericActivationPatch(model, { ...options, activation: "mlp_out", axes: BY_POSITION });
}

/** Patches each head's output (`hook_z`) at all positions: `[nLayers, nHeads]`. */
export function getActPatchAttnHeadOutAllPos(
  model: HookedModel,
  options: PatchingOptions,
): Promise<PatchingResult> {
  const axes = ["layer", "head_index"] as const;
  return genericActivationPatch(model, { ...options, activation: "z", axes });
}

/** Patches each head's output (`hook_z`) at each position: `[nLayers, pos, nHeads]`. */
export function getActPatchAttnHeadOutByPos(
  model: HookedModel,
  options: PatchingOptions,
): Promise<PatchingResult> {
  const axes = ["layer", "pos", "head_index"] as const;
  return genericActivationPatch(model, { ...options, activation: "z", axes });
}

/** Patches each head's queries (`hook_q`) at all positions: `[nLayers, nHeads]`. */
export function getActPatchAttnHeadQAllPos(
  model: HookedModel,
  options: PatchingOptions,
): Promise<PatchingResult> {
  return genericActivationPatch(model, { ...options, activation: "q", axes: BY_HEAD });
}

/** Patches each head's queries (`hook_q`) at each position: `[nLayers, pos, nHeads]`. */
export function getActPatchAttnHeadQByPos(
  model: HookedModel,
  options: PatchingOptions,
): Promise<PatchingResult> {
  const axes = BY_POSITION_AND_HEAD;
  return genericActivationPatch(model, { ...options, activation: "q", axes });
}

/** Patches each head's keys (`hook_k`) at all positions: `[nLayers, nKeyValueHeads]`. */
export function getActPatchAttnHeadKAllPos(
  model: HookedModel,
  options: PatchingOptions,
): Promise<PatchingResult> {
  return genericActivationPatch(model, { ...options, activation: "k", axes: BY_HEAD });
}

/** Patches each head's keys (`hook_k`) at each position: `[nLayers, pos, nKeyValueHeads]`. */
export function getActPatchAttnHeadKByPos(
  model: HookedModel,
  options: PatchingOptions,
): Promise<PatchingResult> {
  const axes = BY_POSITION_AND_HEAD;
  return genericActivationPatch(model, { ...options, activation: "k", axes });
}

/** Patches each head's values (`hook_v`) at all positions: `[nLayers, nKeyValueHeads]`. */
export function getActPatchAttnHeadVAllPos(
  model: HookedModel,
  options: PatchingOptions,
): Promise<PatchingResult> {
  return genericActivationPatch(model, { ...options, activation: "v", axes: BY_HEAD });
}

/** Patches each head's values (`hook_v`) at each position: `[nLayers, pos, nKeyValueHeads]`. */
export function getActPatchAttnHeadVByPos(
  model: HookedModel,
  options: PatchingOptions,
): Promise<PatchingResult> {
  const axes = BY_POSITION_AND_HEAD;
  return genericActivationPatch(model, { ...options, activation: "v", axes });
}

/** Patches each head's whole attention pattern: `[nLayers, nHeads]`. */
export function getActPatchAttnHeadPatternAllPos(
  model: HookedModel,
  options: PatchingOptions,
): Promise<PatchingResult> {
  return genericActivationPatch(model, { ...options, activation: "pattern", axes: BY_HEAD });
}

/** Patches what each destination attends to, head by head: `[nLayers, nHeads, dest_pos]`. */
export function getActPatchAttnHeadPatternByPos(
  model: HookedModel,
  options: PatchingOptions,
): Promise<PatchingResult> {
  const axes = ["layer", "head_index", "dest_pos"] as const;
  return genericActivationPatch(model, { ...options, activation: "pattern", axes });
}

/**
 * Patches each entry of each head's attention pattern: `[nLayers, nHeads, dest_pos, src_pos]`. A
 * patched row no longer sums to 1. Cost: nLayers nHeads pos^2 rows per prompt.
 */
export function getActPatchAttnHeadPatternDestSrcPos(
  model: HookedModel,
  options: PatchingOptions,
): Promise<PatchingResult> {
  const axes = ["layer", "head_index", "dest_pos", "src_pos"] as const;
  return genericActivationPatch(model, { ...options, activation: "pattern", axes });
}

/** Stacks the sweeps of `resid_pre`, `attn_out` and `mlp_out`: `[3, nLayers, pos]`. */
export function getActPatchBlockEvery(
  model: HookedModel,
  options: PatchingOptions,
): Promise<PatchingResult> {
  return stacked(model, options, ["resid_pre", "attn_out", "mlp_out"], BY_POSITION);
}

/**
 * Stacks the sweeps of every head's `z`, `q`, `k`, `v` and `pattern`: `[5, nLayers, nHeads]`. Where
 * heads share keys and values, the columns of `k` and `v` beyond nKeyValueHeads hold NaN.
 */
export function getActPatchAttnHeadAllPosEvery(
  model: HookedModel,
  options: PatchingOptions,
): Promise<PatchingResult> {
  return stacked(model, options, ["z", "q", "k", "v", "pattern"], BY_HEAD);
}

/** The same by position (of patterns, by destination): `[5, nLayers, pos, nHeads]`. */
export function getActPatchAttnHeadByPosEvery(
  model: HookedModel,
  options: PatchingOptions,
): Promise<PatchingResult> {
  return stacked(model, options, ["z", "q", "k", "v", "pattern"], BY_POSITION_AND_HEAD);
}

const BY_POSITION = ["layer", "pos"] as const;
const BY_HEAD = ["layer", "head_index"] as const;
const BY_POSITION_AND_HEAD = ["layer", "pos", "head_index"] as const;

/** Sweeps one after the other; the first has the largest last axis, and shorter ones end in NaN. */
async function stacked(
  model: HookedModel,
  options: PatchingOptions,
  activations: readonly string[],
  axes: readonly PatchAxis[],
): Promise<PatchingResult> {
  // What cannot be written is found out before the first run.
  for (const activation of activations) {
    for (let layer = 0; layer < model.cfg.nLayers; layer++) {
      writableHook(model, getActName(activation, layer), "genericActivationPatch");
    }
  }
  const sweeps: PatchingResult[] = [];
  for (const activation of activations) {
    sweeps.push(await genericActivationPatch(model, { ...options, activation, axes }));
  }
  const [first] = sweeps as [PatchingResult];
  const width = first.shape.at(-1)!;
  const size = first.values.length;
  const values = new Float64Array(size * sweeps.length).fill(Number.NaN);
  sweeps.forEach((sweep, s) => {
    const own = sweep.shape.at(-1)!;
    sweep.values.forEach((value, i) => {
      values[s * size + Math.floor(i / own) * width + (i % own)] = value;
    });
  });
  return {
    ...first,
    axes: ["component", ...axes],
    shape: [sweeps.length, ...first.shape],
    labels: activations,
    values,
    normalized: normalize(values, first.clean, first.corrupted),
  };
}
