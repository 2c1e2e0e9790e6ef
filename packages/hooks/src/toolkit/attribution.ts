import { ArgumentError, ModelError } from "@penfield/core";
import { getActName } from "../hookPoint.ts";
import type { TokenRows } from "../transformer/inputs.ts";
import type { HookedModel } from "../transformer/model.ts";
import type { HookValues } from "../transformer/values.ts";
import {
  type ActivationCache,
  type ResidualStack,
  runWithActivationCache,
} from "./activationCache.ts";
import { FrozenPath } from "./path.ts";

/** Scores read off each layer: `logits` is `[layer, batch, pos, d_vocab]`; one `pos` if one was asked for. */
export interface LogitLens {
  /** `0_pre`, `0_mid`, …, `final_post`. */
  readonly labels: readonly string[];
  readonly logits: HookValues;
}

/**
 * The logit lens: the scores that the model would give if it stopped at each layer. The residual
 * stream goes through the model's own final norm, computed anew for each layer, and its unembedding.
 * The last layer's scores are the model's, bit for bit.
 *
 * For shares of a logit use `directLogitAttribution`, whose norm is frozen: a lens with a frozen norm
 * makes early layers look alike.
 *
 * @param options.includeMid - Also between attention and MLP; default false.
 * @param options.position - Only this position, for large vocabularies: scores of all layers, rows and
 *   positions are in memory at once. Negative ones count from the end of each row. Default: all.
 * @throws {ModelError} for models without logits.
 * @throws {ArgumentError} for a position outside a row.
 *
 * Cost: one forward pass, and the unembedding of each layer's tokens in one more run.
 * Source: nostalgebraist (2020), "interpreting GPT: the logit lens".
 *
 * @example
 * const model = await HookedModel.fromPretrained("test/fixtures/gpt2");
 * const { labels, logits } = await logitLens(model, [[5, 9, 7, 3]]);
 * labels // => ["0_pre", "1_pre", "final_post"]
 * logits.shape // => [3, 1, 4, 96]
 * await model.dispose();
 */
export async function logitLens(
  model: HookedModel,
  tokens: TokenRows,
  { includeMid = false, position }: { includeMid?: boolean; position?: number } = {},
): Promise<LogitLens> {
  const { cache } = await runWithActivationCache(model, tokens, {
    namesFilter: ["blocks.*.hook_resid_*"],
  });
  const { labels, values } = cache.accumulatedResid(undefined, { includeMid });
  const [nLayers, nRows, length, size] = values.shape as [number, number, number, number];
  const hook = getActName("resid_post", model.cfg.nLayers - 1);
  const places = tokens.map((row, r) => placeIn("logitLens", row, r, position));
  // After the last block places do not see each other: one of them can be run alone.
  const alone = position !== undefined;
  const nPlaces = alone ? 1 : length;
  const data = alone ? new Float32Array(nLayers * nRows * size) : values.data;
  for (let i = 0; alone && i < nLayers * nRows; i++) {
    const start = (i * length + places[i % nRows]!) * size;
    data.set(values.data.subarray(start, start + size), i * size);
  }
  const rows = alone ? tokens.map((row, r) => [row[places[r]!]!]) : tokens;
  const { logits } = await model.run({
    tokens: labels.flatMap(() => rows),
    from: { hook, values: { data, shape: [nLayers * nRows, nPlaces, size] } },
  });
  if (!logits || logits.shape.at(-1) !== model.cfg.dVocab) {
    throw new ModelError("logitLens: expected a model with logits, got one without", {
      hint: "Encoders have no unembedding.",
    });
  }
  return {
    labels,
    logits: { data: logits.data, shape: [nLayers, nRows, nPlaces, logits.shape.at(-1)!] },
  };
}

/** Shares of a logit, or of a difference of two: `values` is `[component, row]`, row-major. */
export interface DirectLogitAttribution {
  readonly labels: readonly string[];
  readonly values: Float64Array;
  readonly nRows: number;
  /** `[row]`: the logit, or the difference, as the model computed it (before a soft cap); what the shares add up to. */
  readonly total: Float64Array;
}

/**
 * Direct logit attribution: how much each component of the model adds to the logit of a token, or to
 * the difference of two logits, by what it writes to the residual stream directly.
 *
 *   logit = sum over components c of (norm'(c) . W_U[:, token]) + bias
 *
 * norm' is the final norm frozen at what it divides by in this run, so that the shares add up to the
 * logit. Norms and multipliers behind a branch (Gemma 2) are frozen too. Components are `embed`,
 * `pos_embed`, `0_attn_out`, `0_mlp_out`, …, `bias`; with `unit: "head"` each `attn_out` becomes
 * `L0H0`, `L0H1`, …, `0_attn_bias`; with `unit: "neuron"` each `mlp_out` becomes `L0N0`, …, `0_mlp_bias`.
 *
 * @param options.tokens - The answer: one for all rows, or one per row.
 * @param options.incorrectTokens - If given, the difference to the logit of these.
 * @param options.position - Where; negative ones count from the end; default the last real token of each row.
 * @throws {ModelError} where the residual stream is no sum, or weights are quantised in a way that is not read.
 * @throws {ArgumentError} for tokens outside the vocabulary or positions outside a row.
 *
 * Cost: one forward pass; then per row nLayers d_mlp d_model multiplications with `neuron`.
 * Source: Elhage et al. (2021), "A Mathematical Framework for Transformer Circuits".
 *
 * @example
 * const model = await HookedModel.fromPretrained("test/fixtures/gpt2");
 * const { labels, values, total } = await directLogitAttribution(model, [[5, 9, 7, 3]], {
 *   tokens: 11, incorrectTokens: 12, unit: "head",
 * });
 * labels.slice(0, 6) // => ["embed", "pos_embed", "L0H0", "L0H1", "L0H2", "0_attn_bias"]
 * Math.abs(values.reduce((a, b) => a + b) - total[0]) < 1e-4 // => true
 * await model.dispose();
 */
export async function directLogitAttribution(
  model: HookedModel,
  tokens: TokenRows,
  options: {
    tokens: number | readonly number[];
    incorrectTokens?: number | readonly number[];
    unit?: "component" | "head" | "neuron";
    position?: number;
  },
): Promise<DirectLogitAttribution> {
  const { unit = "component", incorrectTokens, position } = options;
  if (!["component", "head", "neuron"].includes(unit)) {
    throw new ArgumentError(
      `directLogitAttribution: expected unit component, head or neuron, got ${unit}`,
    );
  }
  const { cache } = await runWithActivationCache(model, tokens, {
    namesFilter: [
      "hook_embed",
      "blocks.*.hook_resid_*",
      "blocks.*.hook_attn_out",
      "blocks.*.hook_mlp_out",
      ...(unit === "head" ? ["blocks.*.attn.hook_z"] : []),
      ...(unit === "neuron" ? ["blocks.*.mlp.hook_post"] : []),
    ].filter((name) => model.listHooks(name).length > 0),
  });
  const written = await cache.decomposeResid();
  const labels: string[] = [];
  const rows: number[][] = [];
  const totals = new Float64Array(tokens.length);
  for (let row = 0; row < tokens.length; row++) {
    const pos = placeIn("directLogitAttribution", tokens[row]!, row, position);
    const { direction, constant } = await cache.logitDirection(
      row,
      pos,
      options.tokens,
      incorrectTokens,
    );
    const parts = await sharesAt(cache, written, row, pos, direction, unit);
    parts.push(["bias", constant]);
    if (row === 0) labels.push(...parts.map(([label]) => label));
    rows.push(parts.map(([, value]) => value));
    totals[row] = dot(direction, vectorAt(cache.get("resid_post", -1), row, pos)) + constant;
  }
  const values = Float64Array.from(labels.flatMap((_, c) => rows.map((shares) => shares[c]!)));
  return { labels, values, nRows: tokens.length, total: totals };
}

/** A position in a row of tokens; the last one if none is asked for. */
function placeIn(
  name: string,
  row: readonly number[],
  number: number,
  position: number | undefined,
): number {
  const wanted = position ?? -1;
  const place = wanted < 0 ? row.length + wanted : wanted;
  if (Number.isInteger(place) && place >= 0 && place < row.length) return place;
  throw new ArgumentError(
    `${name}: expected a position within 0..${row.length - 1}, got ${position} for row ${number}`,
  );
}

async function sharesAt(
  cache: ActivationCache,
  { labels, values }: ResidualStack,
  row: number,
  pos: number,
  direction: Float64Array,
  unit: "component" | "head" | "neuron",
): Promise<[string, number][]> {
  const [, nRows, length, size] = values.shape as [number, number, number, number];
  const parts: [string, number][] = [];
  for (const [c, label] of labels.entries()) {
    const start = ((c * nRows + row) * length + pos) * size;
    const whole = dot(direction, values.data.subarray(start, start + size));
    const match = /^(\d+)_(attn|mlp)_out$/.exec(label);
    const part = match?.[2] as "attn" | "mlp" | undefined;
    const split = (unit === "head" && part === "attn") || (unit === "neuron" && part === "mlp");
    if (!split || !part) parts.push([label, whole]);
    else parts.push(...(await unitShares(cache, part, Number(match![1]), row, pos, direction)));
  }
  return parts;
}

/** The shares of a branch's heads or neurons, and of its biases. */
async function unitShares(
  cache: ActivationCache,
  part: "attn" | "mlp",
  layer: number,
  row: number,
  pos: number,
  direction: Float64Array,
): Promise<[string, number][]> {
  const { weights } = cache.model;
  const { linear, after } = await weights.branch(part, layer);
  const { nIn, nOut, weight, bias } = linear;
  const nUnits = part === "attn" ? (await weights.get("W_O", layer)).shape[0]! : nIn;
  const x = vectorAt(cache.get(part === "attn" ? "z" : "post", layer), row, pos);
  const total = Float64Array.from({ length: nOut }, (_, o) => bias?.[o] ?? 0);
  for (let i = 0; i < nIn; i++) {
    for (let o = 0; o < nOut; o++) total[o]! += x[i]! * weight[i * nOut + o]!;
  }
  const path = new FrozenPath(after, total);
  const pulled = path.pull(direction);
  const shares = new Float64Array(nUnits);
  for (let i = 0; i < nIn; i++) {
    const along = dot(pulled, weight.subarray(i * nOut, (i + 1) * nOut));
    shares[Math.floor(i / (nIn / nUnits))]! += x[i]! * along;
  }
  const own = dot(direction, path.constant(nOut)) + (bias ? dot(pulled, bias) : 0);
  const letter = part === "attn" ? "H" : "N";
  return [
    ...Array.from(shares, (v, u): [string, number] => [`L${layer}${letter}${u}`, v]),
    [`${layer}_${part}_bias`, own],
  ];
}

function vectorAt({ data, shape }: HookValues, row: number, pos: number): Float32Array {
  const size = shape.at(-1)!;
  const start = (row * shape[1]! + pos) * size;
  return data.subarray(start, start + size);
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
