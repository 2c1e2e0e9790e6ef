import { ArgumentError, DataError, type LongWork, throwIfAborted } from "@penfield/core";
import { getActName } from "../hookPoint.ts";
import type { Intervention } from "../interventions.ts";
import type { HookedModel } from "../transformer/model.ts";
import type { Metric } from "./metrics.ts";

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
  /** Rows in one run, the source rows included; default 128, fewer for large vocabularies. */
  readonly batchSize?: number | undefined;
}

/** An axis of a sweep. */
export type PatchAxis = "layer" | "pos" | "head_index";

/** What came of a sweep; arrays are row-major over `shape`. */
export interface PatchingResult {
  readonly axes: readonly PatchAxis[];
  readonly shape: readonly number[];
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

/** Scores of a run in memory at once: 256 MB. */
const MAX_SCORES = 2 ** 26;

/**
 * Activation patching: each place of an activation in turn takes its values from the other prompt, and
 * the metric is measured. All places of a batch are rows of one run; the values are moved between
 * rows inside the runtime, bit for bit, and the result equals patching one place at a time.
 *
 * @param options.activation - A short name: `resid_pre`, `resid_mid`, `resid_post`, `attn_out`, `mlp_out`,
 *   `z`, `q`, `k`, `v`, `pattern`, `attn_scores`, `post`, …
 * @param options.axes - What is swept: `["layer", "pos"]`, `["layer", "head_index"]`,
 *   `["layer", "pos", "head_index"]` or `["layer"]`. Axes that are absent are patched whole. At patterns
 *   and scores `pos` is the destination.
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
  const length = checkPrompts(clean, corrupted);
  if (direction !== "denoising" && direction !== "noising") {
    throw new ArgumentError(
      `genericActivationPatch: expected direction denoising or noising, got ${direction}`,
    );
  }
  const { nLayers, dVocab = 1, batchDependent } = model.cfg;
  const hooks = Array.from(
    { length: nLayers },
    (_, l) => model.hookPoint(getActName(activation, l)).name,
  );
  const shape = axes.map((axis) => sizeOf(model, activation, axis, length));
  if (axes[0] !== "layer" || new Set(axes).size !== axes.length) {
    throw new ArgumentError(
      `genericActivationPatch: expected axes that start with layer and do not repeat, got ${axes.join(", ")}`,
    );
  }
  const nPrompts = clean.length;
  const fits = Math.max(1, Math.floor(MAX_SCORES / (length * dVocab)));
  const { batchSize = Math.min(128, fits) } = options;
  if (!Number.isInteger(batchSize) || batchSize < 1) {
    throw new ArgumentError(
      `genericActivationPatch: expected a batch of at least 1 row, got ${batchSize}`,
    );
  }
  const [sources, targets] = direction === "denoising" ? [clean, corrupted] : [corrupted, clean];
  const nPlaces = shape.reduce((a, b) => a * b, 1);
  const places = Array.from({ length: nPlaces }, (_, i) => placeAt(i, axes, shape));
  // Every layer is wired in every batch, so that all batches share one session.
  const wired = hooks.map((hook) => ({ hook, rows: [] as number[] }));
  const run = async (some: readonly Place[]): Promise<number[]> => {
    const nRows = nPrompts * (1 + some.length);
    const source = Array.from({ length: nRows }, (_, row) => row % nPrompts);
    const op = { type: "patch", source } as const;
    const interventions: Intervention[] = [
      ...wired.map((w) => ({ ...w, op })),
      ...some.flatMap(({ layer, pos, head_index }, i) =>
        layer === undefined
          ? []
          : {
              hook: hooks[layer]!,
              op,
              rows: Array.from({ length: nPrompts }, (_, p) => (i + 1) * nPrompts + p),
              ...(pos === undefined ? {} : { positions: [pos] }),
              ...(head_index === undefined ? {} : { heads: [head_index] }),
            },
      ),
    ];
    const tokens = [...sources, ...some.flatMap(() => targets)];
    const { logits } = await model.run({ tokens, interventions });
    const rows = tokens.map((_, row) => ({ row, prompt: row % nPrompts }));
    const values = metric(logits!, rows);
    return Array.from({ length: 1 + some.length }, (_, i) => {
      const own = values.slice(i * nPrompts, (i + 1) * nPrompts);
      return own.reduce((a, b) => a + b, 0) / nPrompts;
    });
  };
  throwIfAborted(signal, "genericActivationPatch");
  const [from, to] = (await run([{}])) as [number, number];
  const values = new Float64Array(nPlaces);
  const perRun = Math.max(1, Math.floor(batchSize / nPrompts) - 1);
  for (let start = 0; start < nPlaces; start += perRun) {
    throwIfAborted(signal, "genericActivationPatch");
    const some = places.slice(start, start + perRun);
    values.set((await run(some)).slice(1), start);
    onProgress?.({
      stage: `patching ${activation}`,
      done: start + some.length,
      total: nPlaces,
      unit: "places",
    });
  }
  const [cleanValue, corruptedValue] = direction === "denoising" ? [from, to] : [to, from];
  // + 0 turns -0 into 0.
  const normalized = values.map((v) => (v - corruptedValue) / (cleanValue - corruptedValue) + 0);
  return {
    axes,
    shape,
    values,
    normalized,
    clean: cleanValue,
    corrupted: corruptedValue,
    batchDependent,
  };
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

function sizeOf(model: HookedModel, activation: string, axis: PatchAxis, length: number): number {
  const { nLayers, nHeads, nKeyValueHeads } = model.cfg;
  if (axis === "layer") return nLayers;
  if (axis === "pos") return length;
  const heads = ["k", "v"].includes(activation) ? nKeyValueHeads : nHeads;
  const hasHeads = ["z", "q", "k", "v", "pattern", "attn_scores"].includes(activation);
  if (axis === "head_index" && hasHeads && heads !== undefined) return heads;
  throw new ArgumentError(
    `genericActivationPatch: expected axes layer, pos and (at z, q, k, v, pattern, attn_scores) head_index, got ${axis} at ${activation}`,
  );
}

function checkPrompts(
  clean: readonly (readonly number[])[],
  corrupted: readonly (readonly number[])[],
): number {
  const lengths = [...new Set([...clean, ...corrupted].map((row) => row.length))];
  if (clean.length === 0 || clean.length !== corrupted.length || lengths.length !== 1) {
    throw new DataError(
      `genericActivationPatch: expected as many corrupted prompts as clean ones, all of one length, got ${clean.length} clean, ${corrupted.length} corrupted, lengths ${lengths.join(", ")}`,
      { hint: "Positions correspond only between prompts of one length." },
    );
  }
  return lengths[0]!;
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

const BY_POSITION = ["layer", "pos"] as const;
