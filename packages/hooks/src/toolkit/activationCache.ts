import { ArgumentError, HookPointError, ModelError } from "@penfield/core";
import { getActName } from "../hookPoint.ts";
import type { Intervention } from "../interventions.ts";
import type { PaddedBatch, TokenRows } from "../transformer/inputs.ts";
import type { HookedModel } from "../transformer/model.ts";
import type { HookValues } from "../transformer/values.ts";
import { FrozenPath } from "./path.ts";

/** Vectors of the residual stream, one per component: `values` is `[component, batch, pos, d_model]`. */
export interface ResidualStack {
  readonly labels: readonly string[];
  readonly values: HookValues;
}

/** What `runWithActivationCache` reads if it is not told: all that the analysis functions need. */
const RESIDUAL_HOOKS = [
  "hook_embed",
  "blocks.*.hook_resid_*",
  "blocks.*.hook_attn_out",
  "blocks.*.hook_mlp_out",
  "blocks.*.attn.hook_z",
  "blocks.*.mlp.hook_post",
];

/**
 * Runs the model and returns its scores with an `ActivationCache`.
 *
 * @param options.namesFilter - Hooks to keep: names or patterns. Default: embeddings, the residual
 *   stream, what attention and MLPs add to it, heads' values and neurons.
 * @throws {HookPointError} for a hook that does not exist.
 *
 * Cost: one forward pass; the cache holds all values asked for in memory.
 *
 * @example
 * const model = await HookedModel.fromPretrained("test/fixtures/gpt2");
 * const { cache } = await runWithActivationCache(model, [[5, 9, 7, 3]]);
 * cache.get("resid_post", -1).shape; // => [1, 4, 24]
 * const { labels } = cache.accumulatedResid(-1, { includeMid: true });
 * labels // => ["0_pre", "0_mid", "1_pre", "1_mid", "final_post"]
 * await model.dispose();
 */
export async function runWithActivationCache(
  model: HookedModel,
  tokens: TokenRows,
  options: {
    namesFilter?: string | readonly string[];
    interventions?: readonly Intervention[];
  } = {},
): Promise<{ logits: HookValues; cache: ActivationCache }> {
  const { namesFilter, interventions } = options;
  const wanted = namesFilter === undefined ? RESIDUAL_HOOKS : [namesFilter].flat();
  const capture = wanted.filter(
    (name) => namesFilter !== undefined || model.listHooks(name).length > 0,
  );
  const { logits, cache, batch } = await model.run({ tokens, capture, interventions });
  return { logits: logits!, cache: new ActivationCache(model, cache, batch) };
}

/**
 * The values of one run, with TransformerLens' functions that take the residual stream apart.
 *
 * All components of a residual stream add up to it; where norms stand between blocks (BERT) they do
 * not, and these functions throw.
 */
export class ActivationCache {
  readonly model: HookedModel;
  readonly batch: PaddedBatch;
  readonly #values: ReadonlyMap<string, HookValues>;

  constructor(model: HookedModel, values: ReadonlyMap<string, HookValues>, batch: PaddedBatch) {
    this.model = model;
    this.batch = batch;
    this.#values = values;
  }

  get keys(): string[] {
    return [...this.#values.keys()];
  }

  has(name: string, layer?: number): boolean {
    return this.#values.has(this.#name(name, layer));
  }

  /**
   * The values at a hook: `get("blocks.5.attn.hook_q")`, an alias, or `get("q", 5)`; `get("q", -1)`
   * is the last layer's.
   *
   * @throws {HookPointError} if they were not read in this run.
   */
  get(name: string, layer?: number): HookValues {
    const full = this.#name(name, layer);
    const found = this.#values.get(full);
    if (found) return found;
    throw new HookPointError(
      `ActivationCache: expected a hook that was read, got ${JSON.stringify(full)}`,
      { hint: "Name it in namesFilter." },
    );
  }

  #name(name: string, layer: number | undefined): string {
    const full = layer === undefined ? name : getActName(name, this.model.weights.layer(layer));
    if (this.#values.has(full)) return full;
    const short = layer === undefined && name === "embed" ? getActName(name) : full;
    const hook = this.model.hookPoints.find((h) => h.name === short || h.aliases.includes(short));
    return hook?.name ?? short;
  }

  /** A number of layers as TransformerLens counts them: none or -1 means all of them. */
  #depth(layer: number | undefined): number {
    const { nLayers } = this.model.cfg;
    const depth = layer === undefined || layer === -1 ? nLayers : layer;
    if (!Number.isInteger(depth) || depth < 0 || depth > nLayers) {
      throw new ArgumentError(
        `ActivationCache: expected layers within 0..${nLayers}, or -1 for all, got ${layer}`,
      );
    }
    return depth;
  }

  /** @throws {ModelError} where the blocks' outputs do not add up to the residual stream. */
  #additive(): void {
    if (this.model.weights.blocksAdd()) return;
    throw new ModelError(
      "ActivationCache: expected blocks that add to one residual stream, got norms between them",
      { hint: "Such a stream (BERT's) is no sum of what its layers wrote." },
    );
  }

  /**
   * The residual stream after each layer, up to the start of a layer.
   *
   * @param layer - How many layers; none or -1: all, ending with the last one's output.
   * @param options.includeMid - Also between attention and MLP (not in parallel blocks).
   * @returns `[component, batch, pos, d_model]`; labels `0_pre`, `0_mid`, `1_pre`, …, `final_post`.
   *
   * Matches `ActivationCache.accumulated_resid(layer, incl_mid)` of TransformerLens.
   */
  accumulatedResid(
    layer?: number,
    { includeMid = false }: { includeMid?: boolean } = {},
  ): ResidualStack {
    const depth = this.#depth(layer);
    const { nLayers } = this.model.cfg;
    const parts: [string, HookValues][] = [];
    for (let l = 0; l <= depth; l++) {
      if (l === nLayers) parts.push(["final_post", this.get("resid_post", nLayers - 1)]);
      else parts.push([`${l}_pre`, this.get("resid_pre", l)]);
      const mid = includeMid && l < depth && this.model.listHooks(getActName("resid_mid", l));
      if (mid && mid.length > 0) parts.push([`${l}_mid`, this.get("resid_mid", l)]);
    }
    return stack(parts);
  }

  /**
   * The residual stream at the start of a layer as the sum of what was written to it.
   *
   * @param layer - How many layers' writing; none or -1: all.
   * @param options.mode - `attn` or `mlp`: only these; `all` by default.
   * @param options.includeEmbeds - Token vectors (with the model's multiplier) and what is added to
   *   them: positions. Default true.
   * @returns `[component, batch, pos, d_model]`; labels `embed`, `pos_embed`, `0_attn_out`, `0_mlp_out`, …
   * @throws {ModelError} for models with norms between the blocks.
   *
   * Matches `ActivationCache.decompose_resid` of TransformerLens.
   */
  async decomposeResid(
    layer?: number,
    options: { mode?: "all" | "attn" | "mlp"; includeEmbeds?: boolean } = {},
  ): Promise<ResidualStack> {
    const { mode = "all", includeEmbeds = true } = options;
    if (!["all", "attn", "mlp"].includes(mode)) {
      throw new ArgumentError(`decomposeResid: expected mode all, attn or mlp, got ${mode}`);
    }
    this.#additive();
    const parts: [string, HookValues][] = includeEmbeds ? await this.#embeddings() : [];
    for (let l = 0; l < this.#depth(layer); l++) {
      for (const part of ["attn", "mlp"] as const) {
        const written = this.model.listHooks(getActName(`${part}_out`, l)).length > 0;
        if (!written || (mode !== "all" && mode !== part)) continue;
        parts.push([`${l}_${part}_out`, this.get(`${part}_out`, l)]);
      }
    }
    if (parts.length === 0) {
      throw new ArgumentError("decomposeResid: expected at least one component, got none");
    }
    return stack(parts);
  }

  async #embeddings(): Promise<[string, HookValues][]> {
    const start = this.get("resid_pre", 0);
    const known = await this.model.weights.embedding();
    if (!known?.positions) return [["embed", start]];
    const token = this.get("embed");
    const embed = token.data.map((v) => v * known.scale);
    const rest = start.data.map((v, i) => v - embed[i]!);
    return [
      ["embed", { data: embed, shape: start.shape }],
      ["pos_embed", { data: rest, shape: start.shape }],
    ];
  }

  /**
   * What each head added to the residual stream: its values through its part of W_O, and through
   * the norm or multiplier that the model puts behind (frozen at its value in this run).
   *
   *   result[h] = z[h] W_O[h]
   *
   * Biases belong to no head: they are in the remainder.
   *
   * @param layer - How many layers; none or -1: all.
   * @param options.includeRemainder - Adds `remainder`: the residual stream less all heads.
   * @returns `[component, batch, pos, d_model]`; labels `L0H0`, `L0H1`, …
   *
   * Matches `ActivationCache.stack_head_results` of TransformerLens.
   */
  stackHeadResults(
    layer?: number,
    options: { includeRemainder?: boolean } = {},
  ): Promise<ResidualStack> {
    return this.#units("attn", layer, options);
  }

  /**
   * What each MLP neuron added to the residual stream: its activation times its row of W_out (and
   * through the norm behind it, frozen).
   *
   * @param layer - How many layers; none or -1: all.
   * @param options.includeRemainder - Adds `remainder`: the residual stream less all neurons.
   * @returns `[component, batch, pos, d_model]`; labels `L0N0`, `L0N1`, …
   *
   * Cost: nLayers d_mlp vectors per token; `directLogitAttribution` needs no such stack.
   * Matches `ActivationCache.stack_neuron_results` of TransformerLens.
   */
  stackNeuronResults(
    layer?: number,
    options: { includeRemainder?: boolean } = {},
  ): Promise<ResidualStack> {
    return this.#units("mlp", layer, options);
  }

  async #units(
    part: "attn" | "mlp",
    layer: number | undefined,
    { includeRemainder = false }: { includeRemainder?: boolean },
  ): Promise<ResidualStack> {
    this.#additive();
    const depth = this.#depth(layer);
    const parts: [string, HookValues][] = [];
    for (let l = 0; l < depth; l++) {
      if (part === "mlp" && this.model.listHooks(getActName("post", l)).length === 0) continue;
      const { linear, after } = await this.model.weights.branch(part, l);
      const values = this.get(part === "attn" ? "z" : "post", l);
      const nUnits =
        part === "attn" ? (await this.model.weights.get("W_O", l)).shape[0]! : linear.nIn;
      const width = linear.nIn / nUnits;
      const [nRows, length] = values.shape as [number, number];
      const results = Array.from(
        { length: nUnits },
        () => new Float32Array(nRows * length * linear.nOut),
      );
      for (let token = 0; token < nRows * length; token++) {
        const x = values.data.subarray(token * linear.nIn, (token + 1) * linear.nIn);
        const shares = results.map((_, unit) => {
          const share = new Float64Array(linear.nOut);
          for (let i = unit * width; i < (unit + 1) * width; i++) {
            for (let o = 0; o < linear.nOut; o++) {
              share[o]! += x[i]! * linear.weight[i * linear.nOut + o]!;
            }
          }
          return share;
        });
        const total = Float64Array.from({ length: linear.nOut }, (_, o) =>
          shares.reduce((sum, share) => sum + share[o]!, linear.bias?.[o] ?? 0),
        );
        const path = new FrozenPath(after, total);
        shares.forEach((share, unit) => {
          results[unit]!.set(path.share(share), token * linear.nOut);
        });
      }
      const letter = part === "attn" ? "H" : "N";
      results.forEach((data, unit) => {
        parts.push([`L${l}${letter}${unit}`, { data, shape: [nRows, length, linear.nOut] }]);
      });
    }
    if (includeRemainder || parts.length === 0) {
      const { nLayers } = this.model.cfg;
      const end = depth === nLayers ? this.get("resid_post", -1) : this.get("resid_pre", depth);
      const rest = Float64Array.from(end.data);
      for (const [, { data }] of parts)
        data.forEach((v, i) => {
          rest[i]! -= v;
        });
      parts.push(["remainder", { data: Float32Array.from(rest), shape: end.shape }]);
    }
    return stack(parts);
  }

  /**
   * Divides each component by what the final norm divides by, after taking off its mean where the
   * norm does so (LN). The norm's weight and bias are not applied, as in TransformerLens, where they
   * are folded into W_U; `logitAttrs` takes them into account.
   *
   *   LN: (c - mean(c)) / sqrt(var(x) + eps)    RMS: c / sqrt(mean(x^2) + eps)
   *
   * @param options.recompute - x is each component itself; default: x is the final residual stream,
   *   so that the components still add up.
   *
   * Matches `ActivationCache.apply_ln_to_stack(layer=-1)` of TransformerLens.
   */
  async applyLnToStack(
    residuals: ResidualStack,
    { recompute = false }: { recompute?: boolean } = {},
  ): Promise<ResidualStack> {
    const { kind, epsilon } = await this.model.weights.finalNorm();
    const { data, shape } = residuals.values;
    const size = shape.at(-1)!;
    const perComponent = data.length / shape[0]!;
    const end = recompute ? undefined : this.get("resid_post", -1).data;
    const norm = [
      { kind: "norm", type: kind, epsilon, weight: undefined, bias: undefined },
    ] as const;
    const out = new Float32Array(data.length);
    for (let start = 0; start < data.length; start += size) {
      const x = Float64Array.from(data.subarray(start, start + size));
      const within = start % perComponent;
      const total = end ? Float64Array.from(end.subarray(within, within + size)) : x;
      out.set(new FrozenPath(norm, total).share(x), start);
    }
    return { labels: residuals.labels, values: { data: out, shape } };
  }

  /**
   * What each component adds to a token's logit, or to a difference of two logits, through the final
   * norm frozen at its value in this run.
   *
   * @param tokens - One answer for all rows, or one per row.
   * @param incorrectTokens - If given, the logits of these are taken off.
   * @returns `[component, batch, pos]`.
   * @throws {ArgumentError} for tokens outside the vocabulary, or not one per row.
   *
   * Matches `ActivationCache.logit_attrs` of TransformerLens on a model whose norm is folded. Biases
   * of the final norm and of the unembedding are in no component; `directLogitAttribution` lists them.
   */
  async logitAttrs(
    residuals: ResidualStack,
    tokens: number | readonly number[],
    incorrectTokens?: number | readonly number[],
  ): Promise<HookValues> {
    const { data, shape } = residuals.values;
    const [nComponents, nRows, length, size] = shape as [number, number, number, number];
    const out = new Float32Array(nComponents * nRows * length);
    for (let row = 0; row < nRows; row++) {
      for (let pos = 0; pos < length; pos++) {
        const { direction } = await this.logitDirection(row, pos, tokens, incorrectTokens);
        for (let c = 0; c < nComponents; c++) {
          const at = (c * nRows + row) * length + pos;
          let sum = 0;
          for (let i = 0; i < size; i++) sum += direction[i]! * data[at * size + i]!;
          out[at] = sum;
        }
      }
    }
    return { data: out, shape: [nComponents, nRows, length] };
  }

  /**
   * The direction d of the residual stream and the constant c with logit = d . x + c, x the last
   * residual stream at a place, under the norm's denominator in this run. Before a soft cap, if the
   * model has one.
   */
  async logitDirection(
    row: number,
    pos: number,
    tokens: number | readonly number[],
    incorrectTokens?: number | readonly number[],
  ): Promise<{ direction: Float64Array; constant: number }> {
    const { before, linear, after } = await this.model.weights.unembed();
    const end = this.get("resid_post", -1);
    const [nRows, length, size] = end.shape as [number, number, number];
    const flow = (row * length + pos) * size;
    const path = new FrozenPath(before, Float64Array.from(end.data.subarray(flow, flow + size)));
    const direction = new Float64Array(linear.nIn);
    let constant = 0;
    const pick = (wanted: number | readonly number[], sign: number): void => {
      const token = typeof wanted === "number" ? wanted : wanted[row];
      if (typeof wanted !== "number" && wanted.length !== nRows) {
        throw new ArgumentError(
          `logitAttrs: expected one token for each of ${nRows} rows, got ${wanted.length}`,
        );
      }
      if (token === undefined || !Number.isInteger(token) || token < 0 || token >= linear.nOut) {
        throw new ArgumentError(
          `logitAttrs: expected tokens within 0..${linear.nOut - 1}, got ${token}`,
        );
      }
      let gain = 1;
      let offset = linear.bias?.[token] ?? 0;
      for (const step of after) {
        if (step.kind === "norm")
          throw new ModelError("logitAttrs: a norm follows the unembedding");
        const value = step.value[step.value.length === 1 ? 0 : token]!;
        if (step.kind === "add") offset += value;
        else {
          gain *= value;
          offset *= value;
        }
      }
      for (let i = 0; i < linear.nIn; i++) {
        direction[i]! += sign * gain * linear.weight[i * linear.nOut + token]!;
      }
      constant += sign * offset;
    };
    pick(tokens, 1);
    if (incorrectTokens !== undefined) pick(incorrectTokens, -1);
    const own = path.constant(size);
    for (let i = 0; i < linear.nIn; i++) constant += direction[i]! * own[i]!;
    return { direction: path.pull(direction), constant };
  }
}

function stack(parts: readonly (readonly [string, HookValues])[]): ResidualStack {
  const [, first] = parts[0]!;
  const data = new Float32Array(parts.length * first.data.length);
  parts.forEach(([, values], i) => {
    data.set(values.data, i * first.data.length);
  });
  return {
    labels: parts.map(([label]) => label),
    values: { data, shape: [parts.length, ...first.shape] },
  };
}
