import { type FileHandle, mkdir, open, readdir, readFile, rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import {
  ArgumentError,
  DataError,
  FileError,
  fileError,
  HookPointError,
  type LongWork,
  PenfieldError,
  throwIfAborted,
  writeFileAtomic,
  writeFolderAtomic,
} from "@penfield/core";
import type { HookPoint, InputRecording, RecordingModel, RunnableModel } from "@penfield/hooks";
import type { CaptureSource, RunValues } from "./captureSource.ts";
import type { Corpus } from "./corpus.ts";
import { type EncodedCorpus, encodeCorpus } from "./encode.ts";
import { LARGEST_FLOAT16, toFloat16 } from "./float16.ts";
import { bytesOf, HEADER_BYTES, type NpyType, npyHeader, writeAt } from "./npyFile.ts";
import { recordedSource } from "./recordedSource.ts";
import {
  differences,
  hookFile,
  INDEX,
  npyTypeOf,
  type Positions,
  parseIndex,
  type Shard,
  type StoredHook,
  type StoreIndex,
  type StoreType,
  shardFolder,
  TEXTS,
} from "./storeIndex.ts";

export interface CaptureOptions extends LongWork {
  /** Names, aliases or patterns with `*`. A pattern passes over hook points without one value per unit and token. */
  readonly hooks: string | readonly string[];
  /** Default `all`. */
  readonly positions?: Positions | undefined;
  /** Default `float32`. */
  readonly dtype?: StoreType | undefined;
  /** Keep only so many tokens from the start of each text. */
  readonly maxTokens?: number | undefined;
  /** Put the beginning-of-text token first; default: as the tokenizer does by itself. */
  readonly prependBos?: boolean | undefined;
  /**
   * Of texts longer than the model's context: `refuse` (default), or `split` into pieces, each a text
   * of its own (`id#0`, `id#1`, ...) that knows nothing of the one before.
   */
  readonly longTexts?: "refuse" | "split" | undefined;
  /** Tokens, padding included, in one run of the model; default 2048. */
  readonly batchTokens?: number | undefined;
  /** Captured values that are in memory at once, in bytes (one text's at least); default 64 MiB. */
  readonly bufferBytes?: number | undefined;
  /** Bytes of a shard's values; what a killed run loses at most. Default 256 MiB. */
  readonly shardBytes?: number | undefined;
  /** Tokens that a shard is computed from, at most; default 65536. */
  readonly shardTokens?: number | undefined;
  /** Go on with what an interrupted run left in the folder. */
  readonly resume?: boolean | undefined;
}

/** What was captured. */
export interface CaptureSummary {
  readonly folder: string;
  readonly hooks: readonly string[];
  readonly nTexts: number;
  readonly nTokens: number;
  readonly nRows: number;
  /** Of all files with values. */
  readonly bytes: number;
  readonly nShards: number;
  /** Those that were there already. */
  readonly nResumed: number;
}

/** Bytes that can be written to where a folder lies, and are not the administrator's. */
export type FreeBytes = (folder: string) => Promise<number>;

const freeBytes: FreeBytes = async (folder) => {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
};

/** Left free on the disk: names, and what others write meanwhile. */
const SPARE_BYTES = 16 * 2 ** 20;

/**
 * Streams a corpus through a model and writes the values at hook points to a folder that numpy opens:
 * `index.json`, `texts.jsonl`, and per shard one `.npy` for each hook point, `[rows, units]`.
 *
 * Of a spiking network (`SpikingModel`, or anything with its hooks) recordings are captured: a recording stands for a text, a time step for a
 * token; its "token" is the number of input channels that are active.
 *
 * Texts of similar length are run together; on disk they stand in the corpus' order. A shard appears
 * whole or not at all, so a killed run goes on (`resume`) at the first shard that is missing, and ends
 * with the same bytes as one that was not.
 *
 * @param corpus - Texts, rows of tokens, or items with ids; `loadCorpus` reads one from disk. Of a spiking network recordings `[step, ...]`.
 * @param folder - Must not exist or be empty, unless `resume`.
 * @throws {HookPointError} for a hook point that does not exist, or has no value per unit and token.
 * @throws {DataError} for a text without tokens or longer than the context; with float16 for values beyond 65504.
 * @throws {ShapeError} for recordings of different channels; {ArgumentError} for options that only texts have.
 * @throws {FileError} if the folder is in use, belongs to another model, corpus or options, or the
 *   disk has no room for it: that is found out before the first run.
 * @throws {InterruptedError} if the signal fires; finished shards are kept.
 *
 * Cost: one forward pass without the output's head; memory for one batch's values (`bufferBytes`) and
 * 4 bytes for each token of the corpus, whatever its length. Each value is written once.
 */
export function captureActivations(
  model: RunnableModel,
  corpus: Corpus,
  folder: string,
  options: CaptureOptions,
): Promise<CaptureSummary>;
export function captureActivations(
  model: RecordingModel,
  recordings: readonly InputRecording[],
  folder: string,
  options: CaptureOptions,
): Promise<CaptureSummary>;
export function captureActivations(
  model: RunnableModel | RecordingModel,
  corpus: Corpus | readonly InputRecording[],
  folder: string,
  options: CaptureOptions,
): Promise<CaptureSummary> {
  return capture(model, corpus, folder, options, freeBytes);
}

/** `captureActivations` on a disk that is asked for its room by `free`. */
export async function capture(
  model: RunnableModel | RecordingModel,
  corpus: Corpus | readonly InputRecording[],
  folder: string,
  options: CaptureOptions,
  free: FreeBytes,
): Promise<CaptureSummary> {
  const settings = completeOptions(options);
  const source =
    "cfg" in model
      ? await textSource(model, corpus as Corpus, options)
      : recordedSource(model, corpus as readonly InputRecording[], options);
  const { hooks } = source;
  const index = makeIndex(source, settings);
  await claim(folder, index, source.corpus, options.resume ?? false);
  const there = new Set(await readdir(folder));
  const missing = index.shards.filter((shard) => !there.has(shard.folder));
  await checkRoom(folder, index, missing, free);
  const total = missing.reduce((sum, { tokens: [from, to] }) => sum + to - from, 0);
  let done = 0;
  const report = (tokens: number) => {
    done += tokens;
    options.onProgress?.({ stage: "capturing activations", done, total, unit: source.unit });
  };
  report(0);
  for (const shard of missing) {
    throwIfAborted(options.signal, "capture");
    try {
      await writeFolderAtomic(join(folder, shard.folder), (temporary) =>
        fillShard(source, index, shard, temporary, report, options.signal),
      );
    } catch (cause) {
      if (cause instanceof PenfieldError) throw cause;
      if ((cause as NodeJS.ErrnoException).code === undefined) throw cause;
      throw fileError("capture", folder, cause);
    }
  }
  const { nTexts, nTokens } = index.corpus;
  return {
    folder,
    hooks: hooks.map(({ name }) => name),
    nTexts,
    nTokens,
    nRows: index.nRows,
    bytes: index.shards.reduce((sum, shard) => sum + shardSize(index, shard), 0),
    nShards: index.shards.length,
    nResumed: index.shards.length - missing.length,
  };
}

/** A transformer with texts. */
async function textSource(
  model: RunnableModel,
  texts: Corpus,
  options: CaptureOptions,
): Promise<CaptureSource> {
  const points = chooseHooks(model, options.hooks);
  const corpus = await encodeCorpus(model, texts, options);
  return {
    model: { name: model.cfg.modelName, sha256: model.sha256 },
    corpus,
    hooks: await measure(model, points, corpus),
    unit: "tokens",
    // A row of a dynamically quantised model depends on its batch.
    alone: model.cfg.batchDependent,
    async run(rows, last) {
      const { cache } = await model.run({
        tokens: rows.map((text) =>
          Array.from(corpus.tokens.subarray(corpus.starts[text]!, corpus.starts[text + 1]!)),
        ),
        capture: points.map(({ name }) => name),
        head: "none",
        // What is not stored stays in the runtime.
        reduce: last ? "last" : undefined,
      });
      return cache;
    },
  };
}

function completeOptions(options: CaptureOptions): StoreIndex["options"] {
  const whole = {
    batchTokens: 2048,
    bufferBytes: 2 ** 26,
    shardBytes: 2 ** 28,
    shardTokens: 65536,
  };
  const numbers = { ...whole };
  for (const name of Object.keys(whole) as (keyof typeof whole)[]) {
    numbers[name] = options[name] ?? whole[name];
  }
  for (const [name, value] of Object.entries({ ...numbers, maxTokens: options.maxTokens ?? 1 })) {
    if (Number.isSafeInteger(value) && value >= 1) continue;
    throw new ArgumentError(`capture: ${name}: expected a whole number from 1, got ${value}`);
  }
  const { positions = "all", dtype = "float32", longTexts = "refuse" } = options;
  const choices = [
    ["positions", positions, ["all", "last", "mean"]],
    ["dtype", dtype, ["float32", "float16"]],
    ["longTexts", longTexts, ["refuse", "split"]],
  ] as const;
  for (const [name, value, allowed] of choices) {
    if ((allowed as readonly string[]).includes(value)) continue;
    throw new ArgumentError(
      `capture: ${name}: expected ${allowed.join(", ")}, got ${JSON.stringify(value)}`,
    );
  }
  return {
    positions,
    dtype,
    maxTokens: options.maxTokens ?? null,
    prependBos: options.prependBos ?? null,
    longTexts,
    ...numbers,
  };
}

/** The hook points asked for, in the model's order. */
function chooseHooks(model: RunnableModel, wanted: string | readonly string[]): HookPoint[] {
  const stored = ({ axes }: HookPoint) =>
    axes[0] === "batch" && axes[1] === "pos" && axes.length > 2;
  const names = new Set<string>();
  for (const name of typeof wanted === "string" ? [wanted] : wanted) {
    if (!name.includes("*")) {
      const point = model.hookPoint(name);
      if (!stored(point)) {
        throw new HookPointError(
          `capture: expected a hook point with axes batch, pos and units, got ${point.name} with ${point.axes.join(", ")}`,
          { hint: "Scores and patterns have a value for every pair of tokens; run() gives them." },
        );
      }
      names.add(point.name);
      continue;
    }
    const found = model.listHooks(name).filter(stored);
    if (found.length === 0) {
      throw new HookPointError(
        `capture: expected hook points with axes batch, pos and units, got none that fits ${JSON.stringify(name)}`,
        { hint: "listHooks() (penfield hooks) names them all." },
      );
    }
    for (const point of found) names.add(point.name);
  }
  if (names.size === 0) {
    throw new HookPointError("capture: expected at least one hook point, got none");
  }
  return model.hookPoints.filter(({ name }) => names.has(name));
}

/** How many values each hook point has for a token, seen by running one. */
async function measure(
  model: RunnableModel,
  points: readonly HookPoint[],
  { tokens }: EncodedCorpus,
): Promise<StoredHook[]> {
  const capture = points.map(({ name }) => name);
  const { cache } = await model.run({ tokens: [[tokens[0]!]], capture, head: "none" });
  return points.map(({ name, axes }) => {
    const shape = cache.get(name)!.shape.slice(2);
    const nUnits = shape.reduce((a, b) => a * b, 1);
    return { name, axes: axes.slice(2), shape, nUnits, file: hookFile(name) };
  });
}

const unitsPerRow = (hooks: readonly StoredHook[]): number =>
  hooks.reduce((sum, { nUnits }) => sum + nUnits, 0);

function makeIndex(
  { model, hooks, corpus: { ids, starts, tokens, sha256 } }: CaptureSource,
  options: StoreIndex["options"],
): StoreIndex {
  const { positions, dtype, shardBytes, shardTokens } = options;
  const rowBytes = unitsPerRow(hooks) * bytesOf[npyTypeOf[dtype]];
  const rowAt = (text: number) => (positions === "all" ? starts[text]! : text);
  const shards: Shard[] = [];
  for (let from = 0; from < ids.length; ) {
    let to = from + 1;
    while (
      to < ids.length &&
      (rowAt(to + 1) - rowAt(from)) * rowBytes <= shardBytes &&
      starts[to + 1]! - starts[from]! <= shardTokens
    ) {
      to++;
    }
    shards.push({
      folder: shardFolder(shards.length),
      texts: [from, to],
      rows: [rowAt(from), rowAt(to)],
      tokens: [starts[from]!, starts[to]!],
    });
    from = to;
  }
  return {
    format: "penfield-activations",
    version: 1,
    model,
    hooks: [...hooks],
    corpus: { sha256, nTexts: ids.length, nTokens: tokens.length },
    options,
    nRows: rowAt(ids.length),
    shards,
  };
}

/** Bytes of a shard's files. */
function shardSize(index: StoreIndex, { rows, tokens }: Shard): number {
  const nRows = rows[1] - rows[0];
  const values = nRows * unitsPerRow(index.hooks) * bytesOf[npyTypeOf[index.options.dtype]];
  const others = 4 * (tokens[1] - tokens[0]) + 8 * nRows;
  return values + others + HEADER_BYTES * (index.hooks.length + 2);
}

/** Makes the folder ours: new, or an interrupted run of the very same. */
async function claim(
  folder: string,
  index: StoreIndex,
  { ids, starts }: EncodedCorpus,
  resume: boolean,
): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    const all = await readdir(folder);
    const inside = all.filter((name) => !PARTIAL.test(name));
    const known = inside.includes(INDEX);
    if (known && resume) {
      const old = parseIndex(await readFile(join(folder, INDEX), "utf8"), join(folder, INDEX));
      const parts = differences(old, index);
      if (parts.length > 0) {
        throw new FileError(
          `capture: ${folder}: expected a store of this model, corpus and options, got ${parts.join(", ")}`,
          { hint: "Choose another folder with --out, or repeat the options it was begun with." },
        );
      }
    } else if (inside.length > 0) {
      throw new FileError(
        `capture: ${folder}: expected no such folder or an empty one, got ${known ? "a store of activations" : `${inside.length} entries`}`,
        {
          hint: known
            ? "Go on with it with --resume, or choose another folder with --out."
            : "Choose another folder with --out.",
        },
      );
    } else await writeFileAtomic(join(folder, INDEX), `${JSON.stringify(index, null, 1)}\n`);
    await clearLeftovers(folder, all);
    if (!inside.includes(TEXTS)) {
      const lines = ids.map((id, i) => JSON.stringify({ id, tokens: starts[i + 1]! - starts[i]! }));
      await writeFileAtomic(join(folder, TEXTS), `${lines.join("\n")}\n`);
    }
  } catch (cause) {
    if (cause instanceof PenfieldError) throw cause;
    throw fileError("capture", folder, cause);
  }
}

/** Names that files and folders have while they are written; the number is the process'. */
const PARTIAL = /^\.(?:shard-\d+|texts\.jsonl|index\.json)\.(\d+)\.[0-9a-f]+\.partial$/;

/** Removes what a killed run was writing; what a living process writes is left alone. */
async function clearLeftovers(folder: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const pid = Number(PARTIAL.exec(name)?.[1]);
    if (Number.isNaN(pid) || (pid !== process.pid && isAlive(pid))) continue;
    await rm(join(folder, name), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

async function checkRoom(
  folder: string,
  index: StoreIndex,
  missing: readonly Shard[],
  free: FreeBytes,
): Promise<void> {
  const needed = missing.reduce((sum, shard) => sum + shardSize(index, shard), 0);
  const room = Math.max(0, (await free(folder)) - SPARE_BYTES);
  if (needed <= room) return;
  const tokens = missing.reduce((sum, { tokens: [from, to] }) => sum + to - from, 0);
  const fitting = Math.floor((tokens * room) / needed);
  throw new FileError(
    `capture: ${folder}: expected room for ${megabytes(needed)}, got ${megabytes(room)}`,
    {
      hint: `About ${fitting} of ${tokens} tokens fit. Store fewer texts or hook points${
        index.options.dtype === "float32" ? ", float16 (half the bytes)" : ""
      }${index.options.positions === "all" ? ", or one position per text" : ""}, or choose another disk.`,
    },
  );
}

const megabytes = (bytes: number): string => `${Math.ceil(bytes / 1e6)} MB`;

/** Runs the texts of a shard and writes their values to where they belong. */
async function fillShard(
  source: CaptureSource,
  index: StoreIndex,
  shard: Shard,
  folder: string,
  report: (tokens: number) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { corpus } = source;
  const { positions, dtype } = index.options;
  const type = npyTypeOf[dtype];
  const lengthOf = (text: number) => corpus.starts[text + 1]! - corpus.starts[text]!;
  const [firstRow, endRow] = shard.rows;
  const nRows = endRow - firstRow;
  const files = new Map<string, FileHandle>();
  const create = async (name: string, kind: NpyType, shape: readonly number[]) => {
    const file = await open(join(folder, name), "wx");
    files.set(name, file);
    await writeAt(file, npyHeader(kind, shape), 0);
    return file;
  };
  try {
    await writeTokens(corpus, shard, positions, create);
    for (const { file, nUnits } of index.hooks) await create(file, type, [nRows, nUnits]);
    for (const texts of batches(corpus, shard, index, source.alone)) {
      throwIfAborted(signal, "capture");
      // Means are taken here, in float64.
      const values = await source.run(texts, positions === "last");
      for (const { name, nUnits, file } of index.hooks) {
        const rowBytes = nUnits * bytesOf[type];
        for (const [row, text] of texts.entries()) {
          const own = select(values.get(name)!, row, lengthOf(text), nUnits, positions);
          const at = (positions === "all" ? corpus.starts[text]! : text) - firstRow;
          const bytes = pack(own, dtype, name, corpus.ids[text]!);
          await writeAt(files.get(file)!, bytes, HEADER_BYTES + at * rowBytes);
        }
      }
      report(texts.reduce((sum, text) => sum + lengthOf(text), 0));
    }
    for (const file of files.values()) await file.sync();
  } finally {
    for (const file of files.values()) await file.close();
  }
}

/** `tokens.npy`: of the shard's texts; `rows.npy`: text and position of each row, -1 for a mean. */
async function writeTokens(
  { tokens, starts }: EncodedCorpus,
  shard: Shard,
  positions: Positions,
  create: (name: string, type: NpyType, shape: readonly number[]) => Promise<FileHandle>,
): Promise<void> {
  const bytes = (values: Int32Array) =>
    new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const own = tokens.subarray(...shard.tokens);
  await writeAt(await create("tokens.npy", "<i4", [own.length]), bytes(own), HEADER_BYTES);
  const nRows = shard.rows[1] - shard.rows[0];
  const rows = new Int32Array(2 * nRows);
  let at = 0;
  for (let text = shard.texts[0]; text < shard.texts[1]; text++) {
    const length = starts[text + 1]! - starts[text]!;
    const [from, to] = positions === "all" ? [0, length] : [length - 1, length];
    for (let position = from; position < to; position++) {
      rows[at++] = text;
      rows[at++] = positions === "mean" ? -1 : position;
    }
  }
  await writeAt(await create("rows.npy", "<i4", [nRows, 2]), bytes(rows), HEADER_BYTES);
}

/** The texts of a shard, those of similar length together, as many at once as memory allows. */
function batches(
  { starts }: EncodedCorpus,
  { texts: [from, to] }: Shard,
  { hooks, options }: StoreIndex,
  alone: boolean,
): number[][] {
  const { batchTokens, bufferBytes, positions } = options;
  const mostValues = bufferBytes / (4 * unitsPerRow(hooks));
  const length = (text: number) => starts[text + 1]! - starts[text]!;
  const fits = (n: number, longest: number) =>
    n * longest <= batchTokens && n * (positions === "last" ? 1 : longest) <= mostValues;
  const order = Array.from({ length: to - from }, (_, i) => from + i);
  order.sort((a, b) => length(a) - length(b) || a - b);
  const out: number[][] = [];
  for (const text of order) {
    const last = out.at(-1);
    // Ascending lengths: the one to be added is the longest of its batch.
    if (last && !alone && fits(last.length + 1, length(text))) last.push(text);
    else out.push([text]);
  }
  return out;
}

/** The values of one row of a batch at the places asked for, `[places, nUnits]`. View, but for means. */
function select(
  { data, shape }: RunValues,
  row: number,
  nTokens: number,
  nUnits: number,
  positions: Positions,
): Float32Array {
  const length = shape[1]!;
  if (positions === "last") return data.subarray(row * nUnits, (row + 1) * nUnits);
  const start = row * length * nUnits;
  const end = start + nTokens * nUnits;
  if (positions === "all") return data.subarray(start, end);
  const sums = new Float64Array(nUnits);
  for (let i = start; i < end; ) {
    for (let unit = 0; unit < nUnits; unit++) sums[unit]! += data[i++]!;
  }
  return Float32Array.from(sums, (sum) => sum / nTokens);
}

function pack(values: Float32Array, dtype: StoreType, hook: string, id: string): Uint8Array {
  if (dtype === "float32") {
    return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  }
  const half = toFloat16(values);
  const lost = half.findIndex(
    (bits, i) => (bits & 0x7fff) === 0x7c00 && Number.isFinite(values[i]!),
  );
  if (lost >= 0) {
    throw new DataError(
      `capture: ${hook}: expected values within ${LARGEST_FLOAT16} for float16, got ${values[lost]} in text ${id}`,
      { hint: "Store float32 (--dtype float32)." },
    );
  }
  return new Uint8Array(half.buffer, half.byteOffset, half.byteLength);
}
