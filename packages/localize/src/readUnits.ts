import { DataError, type LongWork, tensor, throwIfAborted } from "@penfield/core";
import type { HookedModel, HookValues } from "@penfield/hooks";
import type { LayerActivations } from "./contrast.ts";

/**
 * What counts as a unit:
 *
 * - `resid`: a coordinate of the residual stream after a block (the published language network);
 * - `mlp`: an MLP neuron;
 * - `heads`: an attention head, its value being the length of its mixed-value vector.
 */
export type UnitKind = "resid" | "mlp" | "heads";

export const unitKinds: readonly UnitKind[] = ["resid", "mlp", "heads"];

const hooks: Record<UnitKind, string> = {
  resid: "hook_resid_post",
  mlp: "mlp.hook_post",
  heads: "attn.hook_z",
};

/** The hook point where a kind of unit of one layer lies. */
export function unitHook(kind: UnitKind, layer: number): string {
  return `blocks.${layer}.${hooks[kind]}`;
}

export interface ReadUnitsOptions extends LongWork {
  /** Default `resid`. */
  readonly units?: UnitKind | undefined;
  /** One value per text: at its last token (default), or the mean over its tokens. */
  readonly pooling?: "last-token" | "mean" | undefined;
  /** Keep only so many tokens from the start; the published language localizer keeps 12. */
  readonly maxTokens?: number | undefined;
  /** Put the beginning-of-text token first; default: as the tokenizer does by itself. */
  readonly prependBos?: boolean | undefined;
  /** Tokens, padding included, in one run of the model; default 2048. */
  readonly batchTokens?: number | undefined;
}

/**
 * Reads the value of every unit of every layer for each text.
 *
 * @param texts - One or more texts.
 * @returns `[nTexts, nLayers, nUnits]`, float32.
 * @throws {DataError} for a text that gives no token, or is longer than the model's context.
 * @throws {TokenizerError} if the model came without a tokenizer.
 *
 * Cost: one forward pass over all tokens; texts of similar length share a batch; nothing but the
 * pooled values is kept.
 */
export async function readUnits(
  model: HookedModel,
  texts: readonly string[],
  options: ReadUnitsOptions = {},
): Promise<LayerActivations> {
  const {
    units = "resid",
    pooling = "last-token",
    maxTokens,
    prependBos,
    batchTokens = 2048,
  } = options;
  const tokenizer = model.requireTokenizer();
  const rows = texts.map((text) => tokenizer.encode(text, { maxTokens, prependBos }));
  const { nCtx = Number.POSITIVE_INFINITY, nLayers, nHeads = 1 } = model.cfg;
  rows.forEach((row, i) => {
    if (row.length >= 1 && row.length <= nCtx) return;
    throw new DataError(
      `readUnits: expected 1 to ${nCtx} tokens, got ${row.length} for ${JSON.stringify(texts[i]!.slice(0, 60))}`,
      { hint: "Shorten the text, or set maxTokens." },
    );
  });
  const names = Array.from({ length: nLayers }, (_, layer) => unitHook(units, layer));
  const width = model.hookPoint(names[0]!).nUnits!;
  const nUnits = units === "heads" ? nHeads : width;
  const data = new Float32Array(texts.length * nLayers * nUnits);
  let done = 0;
  for (const batch of batchesByLength(rows, batchTokens)) {
    throwIfAborted(options.signal, "readUnits");
    const tokens = batch.map((i) => rows[i]!);
    const { cache } = await model.run({ tokens, capture: names, head: "none" });
    names.forEach((name, layer) => {
      const values = cache.get(name)!;
      batch.forEach((text, row) => {
        const at = (text * nLayers + layer) * nUnits;
        pool(
          values,
          row,
          tokens[row]!.length,
          pooling,
          units === "heads",
          data.subarray(at, at + nUnits),
        );
      });
    });
    done += batch.length;
    options.onProgress?.({ stage: "reading units", done, total: texts.length, unit: "texts" });
  }
  return tensor(data, ["stimulus", "layer", "unit"], [texts.length, nLayers, nUnits]);
}

/**
 * Groups rows of tokens so that a batch holds at most `batchTokens` tokens with its padding (one
 * row at least); rows of equal length come together. Indices into `rows`.
 */
export function batchesByLength(
  rows: readonly (readonly number[])[],
  batchTokens: number,
): number[][] {
  const order = rows.map((_, i) => i).sort((a, b) => rows[a]!.length - rows[b]!.length || a - b);
  const batches: number[][] = [];
  for (const i of order) {
    const open = batches.at(-1);
    // Ascending lengths: the row to be added is the longest of its batch.
    if (open && (open.length + 1) * rows[i]!.length <= batchTokens) open.push(i);
    else batches.push([i]);
  }
  return batches;
}

/** One value per unit from the values of a row's tokens. */
function pool(
  { data, shape }: HookValues,
  row: number,
  nTokens: number,
  pooling: "last-token" | "mean",
  heads: boolean,
  out: Float32Array,
): void {
  const [, length, width] = shape as [number, number, number];
  const first = pooling === "last-token" ? nTokens - 1 : 0;
  const perUnit = width / out.length;
  const sums = new Float64Array(out.length);
  for (let pos = first; pos < nTokens; pos++) {
    const start = (row * length + pos) * width;
    for (let unit = 0; unit < out.length; unit++) {
      if (!heads) {
        sums[unit]! += data[start + unit]!;
        continue;
      }
      let square = 0;
      for (let i = 0; i < perUnit; i++) square += data[start + unit * perUnit + i]! ** 2;
      sums[unit]! += Math.sqrt(square);
    }
  }
  for (let unit = 0; unit < out.length; unit++) out[unit] = sums[unit]! / (nTokens - first);
}
