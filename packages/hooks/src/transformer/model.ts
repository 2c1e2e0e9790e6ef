import { readFile } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { fileError, HookPointError, sha256, sha256File, TokenizerError } from "@penfield/core";
import {
  decodeModel,
  externalizeWeights,
  externalLocations,
  type ModelProto,
} from "@penfield/onnx";
import { axesOf, type HookPoint, hookAliases, hookName, matchesHook } from "../hookPoint.ts";
import type { Intervention } from "../interventions.ts";
import { createTokenizer, type TextTokenizer } from "../tokenizer.ts";
import { ModelWeights } from "../toolkit/weights.ts";
import { describeModel, type ModelConfig } from "./config.ts";
import type { TokenRows } from "./inputs.ts";
import { locate } from "./locate.ts";
import { type HookValues, ModelCore, type RunRequest, type RunResult } from "./modelCore.ts";
import { normalizeGraph } from "./normalizeGraph.ts";
import type { RuntimeOptions, Weights } from "./runtime.ts";
import { findModelFiles, readModelJson, type SourceOptions } from "./source.ts";
import { type IdentityCheck, verify } from "./verify.ts";

export interface OpenOptions extends SourceOptions, RuntimeOptions {
  /**
   * `full` (default): check that hooks leave the model bit-equal, and that each hook has an effect.
   * `identity`: only the first. `none`: neither.
   */
  readonly verify?: "full" | "identity" | "none" | undefined;
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
    const { name = "model.onnx", config, tokenizer } = options;
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
    const located = locate(graph);
    const core = new ModelCore(model, graph, located, weights, options, config);
    try {
      const probe = await verify(core, options.verify ?? "full");
      const cfg = describeModel(parts.name, located, config, probe.shapes, probe.causal);
      // The checks' session can do everything and is larger than any that will be asked for.
      await core.dispose();
      core.nHeads = cfg.nHeads;
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
      const hookPoints = located.hooks.map((hook): HookPoint => {
        const name = hookName(hook.kind, hook.layer);
        return {
          name,
          kind: hook.kind,
          layer: hook.layer,
          aliases: hookAliases(hook.kind, hook.layer),
          tensor: hook.tensor,
          axes: axesOf[hook.kind],
          // The last axis of scores and patterns is the input's length, not a number of units.
          nUnits:
            axesOf[hook.kind].at(-1) === "src_pos" ? undefined : probe.shapes.get(name)?.at(-1),
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
    throw new HookPointError(
      `hookPoint: expected a hook point of ${this.cfg.modelName}, got ${JSON.stringify(name)}`,
      { hint: `It has blocks.0 to blocks.${this.cfg.nLayers - 1}; listHooks() names them all.` },
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
    if (from && this.hookPoint(from.hook).axes.length !== 3) {
      throw new HookPointError(
        `run: expected to start at a hook point with axes batch, pos and units, got ${from.hook}`,
        { hint: "Start at a hook_resid_* of the same block." },
      );
    }
    const wired = (request.wired ?? []).flatMap((wanted) => this.#captureNames(wanted));
    const neutral = new Map(wired.map((name) => [this.#writable(name), ["set"] as const]));
    return this.#core.run({ ...request, capture, interventions, from, neutral });
  }

  /** Runs the model and returns its output with the values at the hook points asked for. */
  async runWithCache(
    tokens: TokenRows,
    options: { namesFilter: string | readonly string[]; interventions?: readonly Intervention[] },
  ): Promise<{ logits: HookValues; cache: ReadonlyMap<string, HookValues> }> {
    const { namesFilter, interventions } = options;
    const capture = typeof namesFilter === "string" ? [namesFilter] : namesFilter;
    const { logits, cache } = await this.run({ tokens, capture, interventions });
    return { logits: logits!, cache };
  }

  /** Runs the model with interventions and returns its output. */
  async runWithInterventions(
    tokens: TokenRows,
    interventions: readonly Intervention[],
  ): Promise<HookValues> {
    return (await this.run({ tokens, interventions })).logits!;
  }

  /** Frees the compiled sessions. The model cannot be used afterwards. */
  async dispose(): Promise<void> {
    await this.#core.dispose();
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
    const hook = this.hookPoint(name);
    if (!hook.writable) {
      throw new HookPointError(
        `run: expected a writable hook point, got ${hook.name}: ${hook.reason}`,
      );
    }
    return hook.name;
  }
}

async function openTokenizer(folder: string): Promise<TextTokenizer | undefined> {
  const tokenizer = await readModelJson(folder, "tokenizer.json");
  if (!tokenizer) return undefined;
  return createTokenizer(tokenizer, (await readModelJson(folder, "tokenizer_config.json")) ?? {});
}
