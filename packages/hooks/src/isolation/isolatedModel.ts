import { HookPointError, TokenizerError } from "@penfield/core";
import { type HookPoint, matchesHook } from "../hookPoint.ts";
import { createTokenizer, type TextTokenizer } from "../tokenizer.ts";
import type { ModelConfig } from "../transformer/config.ts";
import type { HookedModel, OpenOptions } from "../transformer/model.ts";
import type { RunRequest, RunResult } from "../transformer/modelCore.ts";
import { findModelFiles, readModelJson } from "../transformer/source.ts";
import type { IdentityCheck } from "../transformer/verify.ts";
import type { Description } from "./messages.ts";
import { ModelProcess } from "./modelProcess.ts";
import type { RunnableModel } from "./runnableModel.ts";

export interface IsolatedOptions extends OpenOptions {
  /** Stops the opening. */
  readonly signal?: AbortSignal | undefined;
  /** Of a model given as bytes: how messages and reports call it. */
  readonly name?: string | undefined;
  /** Of a model given as bytes: its config.json. */
  readonly config?: Record<string, unknown> | undefined;
  /** Of a model given as bytes: it stays in this process. */
  readonly tokenizer?: TextTokenizer | undefined;
}

/** How one run is controlled from outside. */
export interface RunControl {
  /**
   * Ends the run at once, by ending the process that is at it. The next call starts a new one, which
   * opens the model again.
   */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Opens a model in a process of its own, so that this process goes on while it computes, a run can be
 * stopped in its middle, and a crash of the runtime is an error like any other.
 *
 * Results are those of `HookedModel`, bit for bit. Runs wait in line and are carried out one after
 * the other. The tokenizer is in this process. The child ends with this process, and does not keep it
 * from ending.
 *
 * @param source - An .onnx file, a folder laid out like a hub repository, a hub id, or a file's bytes.
 * @throws {PenfieldError} what `HookedModel.fromPretrained` throws.
 * @throws {ModelError} if the process ends before the model is open.
 * @throws {InterruptedError} if `options.signal` fires.
 *
 * Cost: starting takes about half a second more than in this process (from source, 1 to 3 s). Requests and results are
 * copied: of each array, one copy is in the child and one here.
 */
export async function openIsolated(
  source: string | Uint8Array,
  options: IsolatedOptions = {},
): Promise<IsolatedModel> {
  const { signal, onProgress, tokenizer: given, ...plain } = options;
  const command = {
    source,
    options: plain,
    tokenizer: given && { vocabularySize: given.vocabularySize, padId: given.padId },
  };
  const process = new ModelProcess(command, onProgress);
  try {
    const description = await process.open(signal);
    // The child has fetched what had to be fetched.
    const tokenizer = typeof source === "string" ? await tokenizerOf(source, plain) : given;
    return new IsolatedModel(process, description, tokenizer);
  } catch (error) {
    await process.dispose();
    throw error;
  }
}

async function tokenizerOf(
  source: string,
  options: OpenOptions,
): Promise<TextTokenizer | undefined> {
  const { folder } = await findModelFiles(source, options);
  const json = folder && (await readModelJson(folder, "tokenizer.json"));
  if (!folder || !json) return undefined;
  return createTokenizer(json, (await readModelJson(folder, "tokenizer_config.json")) ?? {});
}

/** A model in a process of its own; `openIsolated` makes it. */
export class IsolatedModel implements RunnableModel {
  readonly cfg: ModelConfig;
  readonly hookPoints: readonly HookPoint[];
  readonly tokenizer: TextTokenizer | undefined;
  /** SHA-256 of the .onnx file. */
  readonly sha256: string;
  /** What the check at opening found. */
  readonly identity: IdentityCheck;
  readonly #process: ModelProcess;

  /** @internal */
  constructor(
    process: ModelProcess,
    description: Description,
    tokenizer: TextTokenizer | undefined,
  ) {
    this.#process = process;
    this.cfg = description.cfg;
    this.hookPoints = description.hookPoints;
    this.sha256 = description.sha256;
    this.identity = description.identity;
    this.tokenizer = tokenizer;
  }

  /** The system's number of the process; undefined while none is running. */
  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** As `HookedModel.listHooks`. */
  listHooks(pattern = "*"): HookPoint[] {
    return this.hookPoints.filter((h) =>
      [h.name, ...h.aliases].some((name) => matchesHook(pattern, name)),
    );
  }

  /** As `HookedModel.hookPoint`. @throws {HookPointError} if there is none. */
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
   * As `HookedModel.run`.
   *
   * @throws {ModelError} if the process ends meanwhile; those who wait in line get the same error.
   * @throws {InterruptedError} if `control.signal` fires; those who wait in line are not touched.
   * @throws {ArgumentError} if the request holds what cannot be sent, such as a function.
   */
  run(request: RunRequest, control: RunControl = {}): Promise<RunResult> {
    return this.#process.request("run", [request], control.signal) as Promise<RunResult>;
  }

  /** As `HookedModel.runWithCache`; errors as of `run`. */
  runWithCache(
    tokens: Parameters<HookedModel["runWithCache"]>[0],
    options: Parameters<HookedModel["runWithCache"]>[1],
    control: RunControl = {},
  ): ReturnType<HookedModel["runWithCache"]> {
    return this.#process.request("runWithCache", [tokens, options], control.signal) as ReturnType<
      HookedModel["runWithCache"]
    >;
  }

  /** As `HookedModel.runWithInterventions`; errors as of `run`. */
  runWithInterventions(
    tokens: Parameters<HookedModel["runWithInterventions"]>[0],
    interventions: Parameters<HookedModel["runWithInterventions"]>[1],
    control: RunControl = {},
  ): ReturnType<HookedModel["runWithInterventions"]> {
    return this.#process.request(
      "runWithInterventions",
      [tokens, interventions],
      control.signal,
    ) as ReturnType<HookedModel["runWithInterventions"]>;
  }

  /** Ends the process. What is under way is rejected with a ModelError, and so is every later call. */
  dispose(): Promise<void> {
    return this.#process.dispose();
  }
}
