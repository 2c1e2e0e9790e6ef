import { ArgumentError, DataError, type LongWork, throwIfAborted } from "@penfield/core";
import { getActName } from "../hookPoint.ts";
import type { Intervention } from "../interventions.ts";
import type { HookedModel } from "../transformer/model.ts";
import type { Metric } from "./metrics.ts";
import { normalize, writableHook } from "./patching.ts";
import {
  blockOfRows,
  lengthOfPairs,
  meansOf,
  type PromptChunk,
  promptChunks,
  rowsInRun,
} from "./rows.ts";

/**
 * Where a path begins: a head's output (`hook_z`), what an MLP adds, the residual stream before a
 * block, or the token embeddings. Without `positions` all of them.
 */
export type PathSender =
  | {
      readonly layer: number;
      readonly head: number;
      readonly positions?: readonly number[] | undefined;
    }
  | {
      readonly component: "mlp_out" | "resid_pre";
      readonly layer: number;
      readonly positions?: readonly number[] | undefined;
    }
  | { readonly component: "embed"; readonly positions?: readonly number[] | undefined };

/**
 * Where a path ends: what a head's queries, keys or values are computed from (for `k` and `v`,
 * `head` counts key-value heads), what an MLP reads, or the last residual stream.
 */
export type PathReceiver =
  | {
      readonly component: "q" | "k" | "v";
      readonly layer: number;
      readonly head: number;
      readonly positions?: readonly number[] | undefined;
    }
  | {
      readonly component: "mlp";
      readonly layer: number;
      readonly positions?: readonly number[] | undefined;
    }
  | { readonly component: "resid_post"; readonly positions?: readonly number[] | undefined };

/** Two sets of prompts, the ends of the paths, and what is measured. */
export interface PathPatchingOptions extends LongWork {
  /** Prompts of one length. */
  readonly clean: readonly (readonly number[])[];
  /** As many prompts of the same length; `corrupted[i]` belongs to `clean[i]`. */
  readonly corrupted: readonly (readonly number[])[];
  readonly metric: Metric;
  /** All are patched together. */
  readonly receivers: readonly PathReceiver[];
  /**
   * False (default): MLPs between sender and receivers compute anew, so paths through them count.
   * True: they are held too, and only the direct edges through the residual stream count.
   */
  readonly freezeMlps?: boolean | undefined;
  /**
   * `noising` (default): run the clean prompts, and let the sender's corrupted value through.
   * `denoising`: the other way round.
   */
  readonly direction?: "noising" | "denoising" | undefined;
  /** Rows in one run; default 128, fewer where they would not fit. Each sender takes two per prompt. */
  readonly batchSize?: number | undefined;
}

/** What came of patching paths; arrays have one entry per sender, row-major over `shape`. */
export interface PathPatchingResult {
  readonly axes: readonly ("layer" | "head_index" | "sender")[];
  readonly shape: readonly number[];
  /** The metric, averaged over prompts, with the paths from one sender patched. */
  readonly values: Float64Array;
  /** `values` less the metric of the prompts that are run (`noising`: the clean ones). */
  readonly effects: Float64Array;
  /** (value - corrupted) / (clean - corrupted): 0 is the corrupted run, 1 the clean one. */
  readonly normalized: Float64Array;
  readonly clean: number;
  readonly corrupted: number;
  /** True if the numbers depend on `batchSize` (dynamic int8 quantisation). */
  readonly batchDependent: boolean;
}

/**
 * Path patching: how much of a sender's influence on the output goes to the given receivers without
 * passing another attention head. Exact: nothing is linearised.
 *
 * Each sender takes three steps, which are rows of one run: (1) clean and corrupted prompts as they
 * are; (2) clean prompts in which every head's output is held at its clean value and the sender has
 * its corrupted one; (3) clean prompts in which the receivers read what they would have read in (2),
 * and everything else computes anew. The metric is that of (3).
 *
 * @throws {DataError} if prompts are missing, or differ in number or length, or there is no receiver.
 * @throws {HookPointError} if the model lacks a hook point that is needed (`hook_z` of every layer,
 *   those of sender and receivers), or it cannot be written.
 * @throws {ArgumentError} for heads or positions that do not exist.
 *
 * Cost: 4 rows per prompt through the model.
 * Source: Wang et al. (2022), arXiv 2211.00593; Goldowsky-Dill et al. (2023), arXiv 2304.05969.
 *
 * @example
 * const model = await HookedModel.fromPretrained("test/fixtures/gpt2");
 * const options = {
 *   clean: [[5, 9, 7, 3]], corrupted: [[6, 9, 7, 3]],
 *   metric: logitDiff({ tokens: 11, incorrectTokens: 12 }),
 *   receivers: [{ layer: 1, head: 0, component: "k" }],
 * };
 * const early = await pathPatch(model, { ...options, sender: { layer: 0, head: 2 } });
 * early.effects[0] !== 0 // => true
 * const late = await pathPatch(model, { ...options, sender: { layer: 1, head: 2 } });
 * late.effects[0] // => 0
 * await model.dispose();
 */
export function pathPatch(
  model: HookedModel,
  options: PathPatchingOptions & { readonly sender: PathSender },
): Promise<PathPatchingResult> {
  const { sender, ...rest } = options;
  return patchPaths(model, { ...rest, senders: [sender] }, "pathPatch");
}

/**
 * Path patching from many senders, one at a time, to the same receivers.
 *
 * @param options.senders - `heads` (default): every head, `[nLayers, nHeads]`. `mlps`: every MLP,
 *   `[nLayers]`. Or a list.
 * @throws as `pathPatch`, and {InterruptedError} if the signal fires.
 *
 * Cost: 2 rows per sender and prompt, and 2 more per prompt in each batch.
 */
export function pathPatchSweep(
  model: HookedModel,
  options: PathPatchingOptions & {
    readonly senders?: "heads" | "mlps" | readonly PathSender[] | undefined;
  },
): Promise<PathPatchingResult> {
  return patchPaths(model, options, "pathPatchSweep");
}

/** Where something is patched, without what is done there. */
type End = Pick<Intervention, "hook" | "heads" | "positions">;

async function patchPaths(
  model: HookedModel,
  options: PathPatchingOptions & {
    readonly senders?: "heads" | "mlps" | readonly PathSender[] | undefined;
  },
  name: string,
): Promise<PathPatchingResult> {
  const { clean, corrupted, metric, direction = "noising", signal, onProgress } = options;
  const length = lengthOfPairs(clean, corrupted, name);
  if (direction !== "denoising" && direction !== "noising") {
    throw new ArgumentError(`${name}: expected direction denoising or noising, got ${direction}`);
  }
  if (options.receivers.length === 0) {
    throw new DataError(`${name}: expected at least one receiver, got none`);
  }
  const { senders, axes, shape } = listSenders(model, options.senders ?? "heads", name);
  const { nLayers } = model.cfg;
  const layers = Array.from({ length: nLayers }, (_, layer) => layer);
  const kinds = options.freezeMlps ? ["z", "mlp_out"] : ["z"];
  const frozen = kinds.flatMap((kind) =>
    layers.map((layer) => writableHook(model, getActName(kind, layer), name).name),
  );
  const ends = senders.map((sender) => senderEnd(model, sender, length, name));
  const receivers = options.receivers.map((r) => receiverEnd(model, r, length, name));
  // Wired in every batch, so that all batches share one session.
  const wired = [...new Set(ends.map((end) => end.hook))];
  const nPrompts = clean.length;
  const batchSize = rowsInRun(model, length, model.cfg.dModel, options.batchSize, name);
  const [base, source] = direction === "noising" ? [clean, corrupted] : [corrupted, clean];

  /**
   * Blocks of rows: base, source, then for each sender the held run and the final one. Returns the
   * metric of base, source and final ones, `[block, prompt]`.
   */
  const run = async (
    some: readonly End[],
    { start, end }: PromptChunk,
  ): Promise<readonly number[]> => {
    const n = end - start;
    const nBlocks = 2 + 2 * some.length;
    const held = (i: number): number => 2 + 2 * i;
    /** Rows of some blocks take their values from another block; all others from themselves. */
    const takeFrom = (blockOf: (block: number) => number) => ({
      type: "patch" as const,
      source: Array.from({ length: nBlocks * n }, (_, row) => {
        const block = Math.floor(row / n);
        return blockOf(block) * n + (row % n);
      }),
    });
    const isHeld = (block: number): boolean => block >= 2 && block % 2 === 0;
    const fromBase = takeFrom((block) => (isHeld(block) ? 0 : block));
    const fromSource = takeFrom((block) => (isHeld(block) ? 1 : block));
    const fromHeld = takeFrom((block) => (block >= 3 && !isHeld(block) ? block - 1 : block));
    const interventions: Intervention[] = [
      ...frozen.map((hook) => ({ hook, op: fromBase })),
      ...wired.map((hook) => ({ hook, op: fromSource, rows: [] })),
      ...some.map((end, i) => ({ ...end, op: fromSource, rows: blockOfRows(held(i), n) })),
      ...receivers.flatMap((end) =>
        some.map((_, i) => ({ ...end, op: fromHeld, rows: blockOfRows(held(i) + 1, n) })),
      ),
    ];
    const tokens = Array.from({ length: nBlocks }, (_, block) =>
      (block === 1 ? source : base).slice(start, end),
    );
    const { logits } = await model.run({ tokens: tokens.flat(), interventions });
    const read = [0, 1, ...some.map((_, i) => held(i) + 1)];
    const rows = read.flatMap((block) =>
      blockOfRows(block, n).map((row, i) => ({ row, prompt: start + i })),
    );
    return metric(logits!, rows);
  };

  const chunks = promptChunks(nPrompts, batchSize);
  const size = senders.length * nPrompts;
  // By sender and prompt; base and source as they are in the same batch.
  const [finals, bases, others] = [0, 1, 2].map(() => new Float64Array(size)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  for (const [c, chunk] of chunks.entries()) {
    const n = chunk.end - chunk.start;
    const perRun = Math.max(1, Math.floor((batchSize / n - 2) / 2));
    for (let start = 0; start < senders.length; start += perRun) {
      throwIfAborted(signal, name);
      const some = ends.slice(start, start + perRun);
      const got = await run(some, chunk);
      some.forEach((_, i) => {
        const at = (start + i) * nPrompts + chunk.start;
        bases.set(got.slice(0, n), at);
        others.set(got.slice(n, 2 * n), at);
        finals.set(got.slice((i + 2) * n, (i + 3) * n), at);
      });
      onProgress?.({
        stage: "patching paths",
        done: Math.floor((c * senders.length + start + some.length) / chunks.length),
        total: senders.length,
        unit: "senders",
      });
    }
  }
  const values = Float64Array.from(meansOf(finals, nPrompts));
  const own = meansOf(bases, nPrompts);
  const effects = values.map((value, i) => value - own[i]!);
  const [from, to] = [own[0]!, meansOf(others, nPrompts)[0]!];
  const [cleanValue, corruptedValue] = direction === "noising" ? [from, to] : [to, from];
  return {
    axes,
    shape,
    values,
    effects,
    normalized: normalize(values, cleanValue, corruptedValue),
    clean: cleanValue,
    corrupted: corruptedValue,
    batchDependent: model.cfg.batchDependent,
  };
}

function listSenders(
  model: HookedModel,
  wanted: "heads" | "mlps" | readonly PathSender[],
  name: string,
): Pick<PathPatchingResult, "axes" | "shape"> & { readonly senders: readonly PathSender[] } {
  const { nLayers, nHeads = 0 } = model.cfg;
  const layers = Array.from({ length: nLayers }, (_, layer) => layer);
  if (wanted === "mlps") {
    const senders = layers.map((layer) => ({ component: "mlp_out" as const, layer }));
    return { senders, axes: ["layer"], shape: [nLayers] };
  }
  if (wanted === "heads") {
    const senders = layers.flatMap((layer) =>
      Array.from({ length: nHeads }, (_, head) => ({ layer, head })),
    );
    return { senders, axes: ["layer", "head_index"], shape: [nLayers, nHeads] };
  }
  if (!Array.isArray(wanted)) {
    throw new ArgumentError(`${name}: expected senders heads, mlps or a list, got ${wanted}`);
  }
  if (wanted.length === 0) {
    throw new DataError(`${name}: expected at least one sender, got none`);
  }
  return { senders: wanted, axes: ["sender"], shape: [wanted.length] };
}

function senderEnd(model: HookedModel, sender: PathSender, length: number, name: string): End {
  const { positions } = sender;
  if ("head" in sender) {
    const point = writableHook(model, getActName("z", sender.layer), name);
    return place(point.name, sender.head, model.cfg.nHeads, positions, length, name);
  }
  const { component } = sender;
  if (!["mlp_out", "resid_pre", "embed"].includes(component)) {
    throw new ArgumentError(
      `${name}: expected a sender with a head, or component mlp_out, resid_pre or embed, got ${component}`,
    );
  }
  const layer = "layer" in sender ? sender.layer : undefined;
  const point = writableHook(model, getActName(component, layer), name);
  return place(point.name, undefined, undefined, positions, length, name);
}

function receiverEnd(
  model: HookedModel,
  receiver: PathReceiver,
  length: number,
  name: string,
): End {
  const { component, positions } = receiver;
  const at = (short: string, layer: number) =>
    writableHook(model, getActName(short, layer), name).name;
  switch (component) {
    case "q":
    case "k":
    case "v": {
      const { nHeads, nKeyValueHeads } = model.cfg;
      const n = component === "q" ? nHeads : nKeyValueHeads;
      return place(at(component, receiver.layer), receiver.head, n, positions, length, name);
    }
    case "mlp":
      // What an MLP adds is a function of what it reads: taking over the one is taking over the other.
      return place(at("mlp_out", receiver.layer), undefined, undefined, positions, length, name);
    case "resid_post": {
      const last = at("resid_post", model.cfg.nLayers - 1);
      return place(last, undefined, undefined, positions, length, name);
    }
    default:
      throw new ArgumentError(
        `${name}: expected a receiver with component q, k, v, mlp or resid_post, got ${component}`,
      );
  }
}

function place(
  hook: string,
  head: number | undefined,
  nHeads: number | undefined,
  positions: readonly number[] | undefined,
  length: number,
  name: string,
): End {
  const within = (value: number, n: number): boolean =>
    Number.isInteger(value) && value >= 0 && value < n;
  if (head !== undefined && !within(head, nHeads ?? 0)) {
    throw new ArgumentError(
      `${name}: expected a head within 0..${(nHeads ?? 0) - 1} at ${hook}, got ${head}`,
    );
  }
  const outside = positions?.find((position) => !within(position, length));
  if (outside !== undefined) {
    throw new ArgumentError(`${name}: expected positions within 0..${length - 1}, got ${outside}`);
  }
  return {
    hook,
    ...(head === undefined ? {} : { heads: [head] }),
    ...(positions === undefined ? {} : { positions }),
  };
}
