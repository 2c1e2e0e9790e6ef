import { readFile } from "node:fs/promises";
import { basename, dirname } from "node:path";
import {
  ArgumentError,
  fileError,
  HookPointError,
  ShapeError,
  sha256,
  sha256File,
  TokenizerError,
} from "@penfield/core";
import {
  decodeModel,
  encodeModel,
  externalizeWeights,
  externalLocations,
  type ModelProto,
  shuffleWeights,
} from "@penfield/onnx";
import {
  axesOf,
  type HookPoint,
  hookAliases,
  hookName,
  matchesHook,
  nearestNames,
} from "../hookPoint.ts";
import type { Intervention } from "../interventions.ts";
import { createTokenizer, type TextTokenizer } from "../tokenizer.ts";
import { ModelWeights } from "../toolkit/weights.ts";
import { describeModel, type ModelConfig } from "./config.ts";
import type { ModelInputs, TokenRows } from "./inputs.ts";
import { locate } from "./locate.ts";
import { ModelCore, type RunRequest, type RunResult } from "./modelCore.ts";
import { normalizeGraph } from "./normalizeGraph.ts";
import type { RuntimeOptions, Weights } from "./runtime.ts";
import { findModelFiles, readModelJson, type SourceOptions } from "./source.ts";
import type { HookValues } from "./values.ts";
import { type IdentityCheck, verify } from "./verify.ts";

export interface OpenOptions extends SourceOptions, RuntimeOptions {
  /**
   * `full` (default): check that hooks leave the model bit-equal, and that each hook has an effect.
   * `identity`: only the first. `none`: neither.
   */
  readonly verify?: "full" | "identity" | "none" | undefined;
  /**
   * `required` (default): a graph in which no transformer is found is refused. `optional`: it is
   * opened without hook points; its tensors can be read and changed by their names in the file.
   */
  readonly structure?: "required" | "optional" | undefined;
  /**
   * Opens the model with nothing learned: the entries of every weight matrix in another order, drawn from this seed
   * (`shuffleWeights` of @penfield/onnx). Its `sha256` is that of the changed file. Default: as it is.
   */
  readonly untrained?: number | undefined;
}

/** A transformer with hook points, run by onnxruntime. */
export class HookedModel {
  readonly cfg: ModelConfig;
  readonly hookPoints: readonly HookPoint[];
  readonly tokenizer: TextTokenizer | undefined;
  /** SHA-256 of the .onnx file. */
  readonly sha256: string;
  /** What the check at opening found. */
  readonly identity: IdentityCheck;
  /** The weights by TransformerLens' names; read when asked for. */
  readonly weights: ModelWeights;

  readonly #core: ModelCore;

  private constructor(
    core: ModelCore,
    parts: {
      cfg: ModelConfig;
      hookPoints: readonly HookPoint[];
      tokenizer: TextTokenizer | undefined;
      sha256: string;
      identity: IdentityCheck;
    },
  ) {
    this.#core = core;
    this.cfg = parts.cfg;
    this.hookPoints = parts.hookPoints;
    this.tokenizer = parts.tokenizer;
    this.sha256 = parts.sha256;
    this.identity = parts.identity;
    this.weights = new ModelWeights(core, parts.cfg);
  }

  /**
   * Opens a model: an .onnx file, a folder laid out like a hub repository, or a hub id.
   *
   * @throws {ModelError} if there is no such model, or it is no transformer.
   * @throws {TokenizerError} if the tokenizer belongs to another vocabulary.
   */
  static async fromPretrained(source: string, options: OpenOptions = {}): Promise<HookedModel> {
    const files = await findModelFiles(source, options);
    const { folder, onnxPath, name } = files;
    const config = folder ? await readModelJson(folder, "config.json") : undefined;
    const tokenizer = folder ? await openTokenizer(folder) : undefined;
    const bytes = await readFile(onnxPath).catch((cause) => {
      throw fileError("HookedModel", onnxPath, cause);
    });
    if (options.untrained !== undefined) {
      const other = decodeModel(bytes, basename(onnxPath));
      shuffleWeights(other, options.untrained);
      return HookedModel.fromBytes(encodeModel(other), {
        ...options,
        untrained: undefined,
        name: `${name}-untrained`,
        ...(config ? { config } : {}),
        ...(tokenizer ? { tokenizer } : {}),
      });
    }
    const model = decodeModel(bytes, basename(onnxPath));
    externalLocations(model); // refuses paths that leave the folder
    externalizeWeights(model, bytes, basename(onnxPath));
    const weights: Weights = { kind: "folder", folder: dirname(onnxPath) };
    const hash = await sha256File(onnxPath);
    return HookedModel.#build(model, weights, { name, config, tokenizer, hash, options });
  }

  /** Opens a model from the bytes of a file, with its tokenizer if there is one. */
  static async fromBytes(
    bytes: Uint8Array,
    options: OpenOptions & {
      name?: string;
      config?: Record<string, unknown>;
      tokenizer?: TextTokenizer;
    } = {},
  ): Promise<HookedModel> {
    const { name = "model.onnx", config, tokenizer, untrained } = options;
    if (untrained !== undefined) {
      const other = decodeModel(bytes, name);
      shuffleWeights(other, untrained);
      return HookedModel.fromBytes(encodeModel(other), { ...options, untrained: undefined });
    }
    const model = decodeModel(bytes, name);
    externalizeWeights(model, bytes, name);
    const weights: Weights = { kind: "bytes", files: [{ path: name, data: bytes }] };
    return HookedModel.#build(model, weights, {
      name,
      config,
      tokenizer,
      hash: sha256(bytes),
      options,
    });
  }

  static async #build(
    model: ModelProto,
    weights: Weights,
    parts: {
      name: string;
      config: Record<string, unknown> | undefined;
      tokenizer: TextTokenizer | undefined;
      hash: string;
      options: OpenOptions;
    },
  ): Promise<HookedModel> {
    const { config, tokenizer, options } = parts;
    const graph = normalizeGraph(model);
    const located = locate(graph, { structure: options.structure });
    const core = new ModelCore(model, graph, located, weights, options, config);
    try {
      const probe = await verify(core, options.verify ?? "full");
      const cfg = describeModel(parts.name, located, config, probe.shapes, probe.causal);
      // The checks' session can do everything and is larger than any that will be asked for.
      await core.dispose();
      core.nHeads = new Map(
        cfg.stacks.flatMap(({ name, nHeads }) => (nHeads === undefined ? [] : [[name, nHeads]])),
      );
      core.padId = tokenizer?.padId ?? 0;
      if (tokenizer && cfg.dVocab !== undefined && tokenizer.vocabularySize > cfg.dVocab) {
        throw new TokenizerError(
          `HookedModel: expected a tokenizer of at most ${cfg.dVocab} tokens, got one of ${tokenizer.vocabularySize}`,
          {
            hint: "The tokenizer belongs to another model; put the right tokenizer.json beside config.json.",
          },
        );
      }
      core.nCtx = cfg.nCtx;
      core.dVocab = cfg.dVocab;
      core.widest = 2 * (cfg.dMlp ?? 0) + 6 * cfg.dModel;
      const hookPoints = located.hooks.map((hook): HookPoint => {
        const name = hookName(hook.kind, hook.layer, hook.stack);
        return {
          name,
          kind: hook.kind,
          layer: hook.layer,
          stack: hook.stack,
          aliases: hookAliases(hook.kind, hook.layer, hook.stack),
          tensor: hook.tensor,
          axes: axesOf(hook.kind),
          // The last axis of scores and patterns is the input's length, not a number of units.
          nUnits:
            axesOf(hook.kind).at(-1) === "src_pos" ? undefined : probe.shapes.get(name)?.at(-1),
          readable: true,
          writable: hook.writable,
          reason: hook.reason,
          verified: probe.verified.has(name),
        };
      });
      return new HookedModel(core, {
        cfg,
        hookPoints,
        tokenizer,
        sha256: parts.hash,
        identity: probe.identity,
      });
    } catch (error) {
      await core.dispose();
      throw error;
    }
  }

  /** Hook points whose name fits a pattern (`*` stands for anything); all of them without one. */
  listHooks(pattern = "*"): HookPoint[] {
    return this.hookPoints.filter((h) =>
      [h.name, ...h.aliases].some((name) => matchesHook(pattern, name)),
    );
  }

  /** The hook point with this name or alias. @throws {HookPointError} if there is none. */
  hookPoint(name: string): HookPoint {
    const found = this.hookPoints.find((h) => h.name === name || h.aliases.includes(name));
    if (found) return found;
    const known = this.hookPoints.flatMap((h) => [h.name, ...h.aliases]);
    const near = nearestNames(name, known.length > 0 ? known : this.#core.tensorNames());
    const stacks = this.cfg.stacks.map(
      (s) => `${s.name ? `${s.name}.` : ""}blocks.0 to ${s.nLayers - 1}`,
    );
    throw new HookPointError(
      `hookPoint: expected a hook point of ${this.cfg.modelName}, got ${JSON.stringify(name)}`,
      {
        hint: `${near.length > 0 ? `Did you mean ${near.join(" or ")}? ` : ""}It has ${stacks.join(", ") || "tensors by their names in the file"}; listHooks() names them all.`,
      },
    );
  }

  /** The tokenizer. @throws {TokenizerError} if the model came without one. */
  requireTokenizer(): TextTokenizer {
    if (this.tokenizer) return this.tokenizer;
    throw new TokenizerError(`HookedModel: ${this.cfg.modelName} came without a tokenizer`, {
      hint: "Put tokenizer.json and tokenizer_config.json beside config.json.",
    });
  }

  /**
   * Runs the model once over a batch.
   *
   * @throws {HookPointError} for a hook that does not exist, or cannot be written.
   * @throws {DataError} for rows that are empty or longer than the context.
   */
  async run(request: RunRequest): Promise<RunResult> {
    const capture = (request.capture ?? []).flatMap((wanted) => this.#captureNames(wanted));
    const interventions = (request.interventions ?? []).map((i) => ({
      ...i,
      hook: this.#writable(i.hook),
    }));
    const from = request.from && {
      hook: this.hookPoint(request.from.hook).name,
      values: request.from.values,
    };
    if (from) this.#withPlainAxes(from.hook, "run");
    const wired = (request.wired ?? []).flatMap((wanted) => this.#captureNames(wanted));
    const neutral = new Map(wired.map((name) => [this.#writable(name), ["set"] as const]));
    return this.#core.run({ ...request, capture, interventions, from, neutral });
  }

  /**
   * Runs the model and returns its output with the values at the hook points asked for.
   *
   * `stopAtLayer`: nothing from that block on is computed, there is no output, and hook points from
   * there on are left out. `reduce` and `posSlice`: see `RunRequest`.
   */
  async runWithCache(
    input: TokenRows | ModelInputs,
    options: CacheOptions,
  ): Promise<{ logits: HookValues; cache: ReadonlyMap<string, HookValues> }> {
    const { namesFilter, interventions, stopAtLayer, reduce, posSlice } = options;
    const wanted = typeof namesFilter === "string" ? [namesFilter] : namesFilter;
    const stop = this.#layerNumber(stopAtLayer);
    const capture =
      stop === undefined
        ? wanted
        : wanted
            .flatMap((name) => this.#captureNames(name))
            .filter((name) => this.#comesBefore(name, stop));
    const { logits, cache } = await this.run({
      ...asInputs(input),
      capture,
      interventions,
      reduce,
      posSlice,
      ...(stop === undefined ? {} : { head: "none" }),
    });
    return { logits: logits ?? { data: new Float32Array(0), shape: [0] }, cache };
  }

  /** Runs the model with interventions and returns its output. */
  async runWithInterventions(
    input: TokenRows | ModelInputs,
    interventions: readonly Intervention[],
  ): Promise<HookValues> {
    return (await this.run({ ...asInputs(input), interventions })).logits!;
  }

  /**
   * Runs the model with functions that change values at hook points: what interventions as data
   * cannot express. At each hook point, in the order of the graph, the model is run up to there, the
   * function gets the values and may change them or return others, and the run goes on from them.
   *
   * Slower than interventions: one more run for each hook point. Hook points must have the axes
   * batch, pos and units.
   */
  async runWithHooks(
    input: TokenRows | ModelInputs,
    { fwdHooks, ...rest }: { fwdHooks: readonly FwdHook[] } & Pick<RunRequest, "capture" | "head">,
  ): Promise<RunResult> {
    const places = new Map(this.hookPoints.map((h, i) => [h.name, i]));
    for (const [name] of fwdHooks) this.#withPlainAxes(name, "runWithHooks");
    const hooks = fwdHooks
      .map(([name, change]) => ({ name: this.#writable(name), change }))
      .map((hook) => ({ ...hook, rank: this.#core.rankOf(hook.name) }))
      // One tensor may be two hook points: the end of a block is the beginning of the next.
      .sort((a, b) => a.rank - b.rank || places.get(a.name)! - places.get(b.name)!);
    const inputs = asInputs(input);
    // Later hooks see what earlier ones have changed: each change is put in place of the values.
    const changed: Intervention[] = [];
    for (const { name, change } of hooks) {
      const { cache } = await this.run({
        ...inputs,
        capture: [name],
        interventions: changed,
        head: "none",
      });
      const values = cache.get(name)!;
      const result = change(values, { name }) ?? values;
      const [nRows = 0, length = 0] = values.shape;
      if (result.data.length !== values.data.length || values.shape.length !== 3) {
        throw new ShapeError(
          `runWithHooks: ${name}: expected [${values.shape.join(", ")}], got ${result.data.length} values`,
        );
      }
      const nUnits = values.shape[2]!;
      for (let row = 0; row < nRows; row++) {
        for (let pos = 0; pos < length; pos++) {
          const start = (row * length + pos) * nUnits;
          changed.push({
            hook: name,
            op: { type: "mean", values: result.data.subarray(start, start + nUnits) },
            rows: [row],
            positions: [pos],
          });
        }
      }
    }
    return this.run({ ...inputs, ...rest, interventions: changed });
  }

  /** Frees the compiled sessions. The model cannot be used afterwards. */
  async dispose(): Promise<void> {
    await this.#core.dispose();
  }

  /** @throws {HookPointError} if a hook point has other axes than batch, pos and units. */
  #withPlainAxes(name: string, caller: string): void {
    const { axes } = this.hookPoint(name);
    if (axes.length === 3 && axes[1] === "pos") return;
    throw new HookPointError(
      `${caller}: expected a hook point with axes batch, pos and units, got ${name} with ${axes.join(", ")}`,
      { hint: "Take a hook_resid_*, hook_z or mlp.hook_post of the same block." },
    );
  }

  #layerNumber(layer: number | undefined): number | undefined {
    if (layer === undefined) return undefined;
    const number = layer < 0 ? this.cfg.nLayers + layer : layer;
    if (Number.isInteger(number) && number >= 0 && number <= this.cfg.nLayers) return number;
    throw new ArgumentError(
      `runWithCache: expected stopAtLayer within ${-this.cfg.nLayers}..${this.cfg.nLayers}, got ${layer}`,
    );
  }

  #comesBefore(name: string, stop: number): boolean {
    const hook = this.hookPoints.find((h) => h.name === name);
    return (
      hook === undefined ||
      hook.layer === undefined ||
      hook.layer < stop ||
      (hook.layer === stop && hook.kind === "hook_resid_pre")
    );
  }

  #captureNames(wanted: string): string[] {
    if (wanted.includes("*")) {
      const names = this.listHooks(wanted).map((h) => h.name);
      if (names.length > 0) return names;
    }
    const known = this.hookPoints.find((h) => h.name === wanted || h.aliases.includes(wanted));
    if (known) return [known.name];
    if (this.#core.hasTensor(wanted)) return [wanted];
    return [this.hookPoint(wanted).name];
  }

  #writable(name: string): string {
    const known = this.hookPoints.some((h) => h.name === name || h.aliases.includes(name));
    if (!known && this.#core.hasTensor(name)) {
      if (this.#core.isWritable(name)) return name;
      throw new HookPointError(
        `run: expected a tensor of floating-point numbers, got ${name} of another type`,
      );
    }
    const hook = this.hookPoint(name);
    if (!hook.writable) {
      throw new HookPointError(
        `run: expected a writable hook point, got ${hook.name}: ${hook.reason}`,
      );
    }
    return hook.name;
  }
}

/** What `runWithCache` returns, and how much is computed for it. */
export interface CacheOptions extends Pick<RunRequest, "reduce" | "posSlice" | "interventions"> {
  /** Hook points by name, alias, pattern with `*`, or tensor names. */
  readonly namesFilter: string | readonly string[];
  readonly stopAtLayer?: number | undefined;
}

/** A hook point and what is done there: change `values.data`, or return other values. */
export type FwdHook = readonly [
  name: string,
  change: (values: HookValues, hook: { readonly name: string }) => HookValues | undefined,
];

const asInputs = (input: TokenRows | ModelInputs): ModelInputs =>
  Array.isArray(input) ? { tokens: input as TokenRows } : (input as ModelInputs);

async function openTokenizer(folder: string): Promise<TextTokenizer | undefined> {
  const tokenizer = await readModelJson(folder, "tokenizer.json");
  if (!tokenizer) return undefined;
  return createTokenizer(tokenizer, (await readModelJson(folder, "tokenizer_config.json")) ?? {});
}
