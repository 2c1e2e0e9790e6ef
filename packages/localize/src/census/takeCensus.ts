import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import {
  ArgumentError,
  DataError,
  FileError,
  fileError,
  InterruptedError,
  type LongWork,
  sha256,
  throwIfAborted,
  writeFileAtomic,
} from "@penfield/core";
import { type BatchDocument, makeBatch, mix, ngramKindsOf } from "./batch.ts";
import { type Census, openCensus } from "./census.ts";
import { CensusFiles, type Checkpoint } from "./checkpoint.ts";
import { CONTEXT_BYTES, contextKinds, rankedRecords, WINDOW } from "./contexts.ts";
import {
  CENSUS_VERSION,
  type CensusHookMeta,
  type CensusMeta,
  files,
  growing,
  quantileLevels,
  unitColumns,
} from "./format.ts";
import { HITTERS } from "./heavyHitters.ts";
import { momentsOf } from "./moments.ts";
import { SKETCH_BUCKETS, SKETCH_ERROR, sketchQuantile } from "./quantileSketch.ts";
import type { UnitSource } from "./source.ts";
import { hoyerFromMoments } from "./sparseness.ts";
import {
  addBatch,
  addHook,
  arraysOf,
  type CensusState,
  type ContextCounts,
  createState,
  HISTOGRAM_BARS,
} from "./state.ts";

/** A text of the corpus, as tokens. */
export interface CensusDocument {
  /** Default: its number. */
  readonly id?: string | undefined;
  readonly tokens: readonly number[];
}

export interface CensusOptions extends LongWork {
  /** A value above it counts as active; one number, or one for each hook by name. Default 0. */
  readonly threshold?: number | Readonly<Record<string, number>> | undefined;
  /** Range of the 256 bars; values outside are counted in the first and last. Default -10 to 15, as published. */
  readonly histogram?: readonly [low: number, high: number] | undefined;
  /** Contexts kept of each unit. Default: 20 top, 50 sampled, 10 near misses, 10 random. */
  readonly contexts?: Partial<ContextCounts> | undefined;
  /** Bins of sampled contexts by value; default 5. */
  readonly nBins?: number | undefined;
  /** Share of the documents whose values are kept whole, one byte each; default 1. */
  readonly keepShare?: number | undefined;
  /** Longest document; default what the model takes, or 1024. */
  readonly maxTokens?: number | undefined;
  /** Longer documents are refused (default) or `split` into `id#0`, `id#1`, ... */
  readonly longDocuments?: "refuse" | "split" | undefined;
  /** Tokens folded into the census at once, default 4096; a whole document at least. */
  readonly batchTokens?: number | undefined;
  /** Documents between two checkpoints, default 2000: what a crash of the process loses. A stop by `signal`, or an error, loses nothing that was folded in. */
  readonly checkpointDocuments?: number | undefined;
  /** Go on after the last checkpoint; a finished census of the same source and options is opened as it is. */
  readonly resume?: boolean | undefined;
  /** Chooses sampled contexts and kept documents; default 0. */
  readonly seed?: number | undefined;
  /** How many documents there are, for the estimate of `onProgress`; default an array's length. */
  readonly nDocuments?: number | undefined;
}

const ACTIVE_MEANS =
  "value > threshold; with threshold 0 the same as pre-activation > 0 for ReLU, GELU and SiLU, not in gated MLPs";

/** Position bins are one token wide up to this many tokens. */
const POSITION_BINS = 128;

/**
 * Counts, in one pass over a corpus, what every unit of a source does: moments, quantiles, a histogram, how often it is
 * active and on which tokens, pairs and triples, at which positions, and the contexts of its highest values, of a sample
 * of its active ones, of tokens that should have made it active and did not, and of random places.
 *
 * The folder is complete once `meta.json` is there; `docs/census.md` says what each file holds. The same source,
 * documents and options give the same bytes, also after a resumed stop.
 *
 * @param source - `modelSource(model)`, or your own.
 * @param documents - An array, or anything that yields documents one by one; on resuming it must yield the same again.
 * @param folder - Must not exist or be empty, unless `resume` is set.
 * @throws {DataError} for a document without tokens, longer than `maxTokens`, or with a token outside the vocabulary, and for values
 *   that are not finite.
 * @throws {FileError} if the folder is in use, cannot be written, or holds a census of something else.
 * @throws {FormatError} if an unfinished census there was damaged; nothing of it is changed.
 * @throws {InterruptedError} if the signal has fired; all that was folded in by then is kept for `resume`, as it is where a document or the source fails.
 *
 * Cost: the source's own, and about 80 ns for each value on one core (measured on a busy machine). Memory: about 14 kB for each unit, and one batch's
 * values; it does not grow with the corpus. Disk: about 11 kB for each unit, and `keepShare` bytes for each value.
 *
 * @example
 * import { mkdtemp } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 * const source = plantedSource({ words: ["a", "b"], units: [{ name: "b", active: (words, i) => words[i] === "b" }], misses: 0, falseAnswers: 0 });
 * const documents = Array.from({ length: 20 }, (_, d) => ({ tokens: [0, d % 2, 1 - (d % 2), d % 3 === 0 ? 1 : 0] }));
 * const census = await takeCensus(source, documents, `${await mkdtemp(join(tmpdir(), "census-"))}/planted`);
 * [census.nUnits, census.meta.nTokens, (await census.ngrams(0, "token")).ngrams[0].count] // => [1, 80, 27]
 * await census.close();
 */
export async function takeCensus(
  source: UnitSource,
  documents: Iterable<CensusDocument> | AsyncIterable<CensusDocument>,
  folder: string,
  options: CensusOptions = {},
): Promise<Census> {
  const settings = readSettings(source, options);
  if (options.resume && (await isComplete(folder, identityOf(source, settings)))) {
    return openCensus(folder);
  }
  const work = await CensusWork.start(source, folder, settings, options.resume ?? false);
  const total =
    options.nDocuments ?? (Array.isArray(documents) ? documents.length : Number.POSITIVE_INFINITY);
  const { signal, onProgress, checkpointDocuments = 2000 } = options;
  let nRead = 0;
  let sinceCheckpoint = 0;
  try {
    for await (const document of documents) {
      throwIfAborted(signal, "takeCensus");
      work.add(checkedTokens(source, document, nRead, settings));
      nRead++;
      if (!work.full) continue;
      sinceCheckpoint += await work.fold();
      onProgress?.({ stage: "taking a census", done: nRead, total, unit: "documents" });
      if (sinceCheckpoint >= checkpointDocuments) {
        await work.checkpoint();
        sinceCheckpoint = 0;
      }
    }
    await work.fold();
    await work.finish();
    onProgress?.({ stage: "taking a census", done: nRead, total: nRead, unit: "documents" });
  } catch (error) {
    await work.keepWhatIsWhole(error);
    throw error;
  } finally {
    await work.close();
  }
  return openCensus(folder);
}

/** All options with their defaults, as numbers that can be compared and written down. */
interface Settings {
  readonly hooks: readonly CensusHookMeta[];
  readonly contexts: ContextCounts;
  readonly nBins: number;
  readonly keepShare: number;
  readonly maxTokens: number;
  readonly split: boolean;
  readonly batchTokens: number;
  readonly positionsPerBin: number;
  readonly nPositionBins: number;
  readonly seed: number;
}

function readSettings(source: UnitSource, options: CensusOptions): Settings {
  const { threshold = 0, histogram = [-10, 15], keepShare = 1, seed = 0 } = options;
  const { maxTokens = source.maxTokens ?? 1024, batchTokens = 4096, nBins = 5 } = options;
  const contexts = { top: 20, sampled: 50, nearMiss: 10, random: 10, ...options.contexts };
  for (const [name, value, low] of [
    ["maxTokens", maxTokens, 1],
    ["batchTokens", batchTokens, 1],
    ["nBins", nBins, 1],
    ["checkpointDocuments", options.checkpointDocuments ?? 1, 1],
    ...contextKinds.map((kind) => [`contexts.${kind}`, contexts[kind], 0] as const),
  ] as const) {
    if (Number.isSafeInteger(value) && value >= low) continue;
    throw new ArgumentError(
      `takeCensus: expected ${name}, a whole number from ${low}, got ${value}`,
    );
  }
  if (!(keepShare >= 0 && keepShare <= 1)) {
    throw new ArgumentError(`takeCensus: expected keepShare within 0..1, got ${keepShare}`);
  }
  if (!(histogram[0] < histogram[1])) {
    throw new ArgumentError(
      `takeCensus: expected a histogram from low to high, got ${histogram.join(" to ")}`,
    );
  }
  let firstUnit = 0;
  const hooks = source.hooks.map(({ name, layer, nUnits }): CensusHookMeta => {
    const own = typeof threshold === "number" ? threshold : (threshold[name] ?? 0);
    const hook = { name, layer: layer ?? null, nUnits, firstUnit, threshold: own, histogram };
    firstUnit += nUnits;
    return hook;
  });
  const positionsPerBin = Math.ceil(maxTokens / POSITION_BINS);
  return {
    hooks,
    contexts,
    nBins,
    keepShare,
    maxTokens,
    split: options.longDocuments === "split",
    batchTokens,
    positionsPerBin,
    nPositionBins: Math.ceil(maxTokens / positionsPerBin),
    seed,
  };
}

const unitsOf = ({ hooks }: Settings): number => hooks.reduce((sum, { nUnits }) => sum + nUnits, 0);

/** What must be equal for one census to go on with another's checkpoint. */
const identityOf = (source: UnitSource, settings: Settings): string =>
  sha256(
    JSON.stringify({
      ...{ source: [source.name, source.sha256], settings, CENSUS_VERSION },
      tokens: symbolsOnly(source),
    }),
  );

/** Nothing for a language, so that censuses of before there were symbols are gone on with. */
const symbolsOnly = ({ tokens }: UnitSource): CensusMeta["tokens"] =>
  tokens === "symbols" ? tokens : undefined;

/** Whether a folder holds a finished census of this source and these options. */
async function isComplete(folder: string, identity: string): Promise<boolean> {
  const text = await readFile(join(folder, "meta.json"), "utf8").catch(() => undefined);
  if (text === undefined) return false;
  try {
    return (JSON.parse(text) as Partial<CensusMeta> | null)?.identity === identity;
  } catch {
    return false;
  }
}

/** A document ready for a batch, with its name. */
interface Piece {
  readonly id: string;
  readonly tokens: readonly number[];
  readonly skip: number;
}

function checkedTokens(
  source: UnitSource,
  { id, tokens }: CensusDocument,
  index: number,
  { maxTokens, split }: Settings,
): Piece[] {
  const name = id ?? String(index);
  const wrong = tokens.find((t) => !(Number.isInteger(t) && t >= 0 && t < source.vocabularySize));
  if (wrong !== undefined) {
    throw new DataError(
      `takeCensus: ${name}: expected tokens within 0..${source.vocabularySize - 1}, got ${wrong}`,
    );
  }
  const nSkipped = (row: readonly number[]) =>
    source.bosId !== undefined && row[0] === source.bosId ? 1 : 0;
  if (tokens.length - nSkipped(tokens) < 1 || (tokens.length > maxTokens && !split)) {
    throw new DataError(
      `takeCensus: ${name}: expected 1 to ${maxTokens} tokens, got ${tokens.length - nSkipped(tokens)}`,
      {
        hint: 'Leave empty documents out; for long ones set longDocuments to "split" (--split), or maxTokens where they are cut (--max-tokens).',
      },
    );
  }
  if (tokens.length <= maxTokens) return [{ id: name, tokens, skip: nSkipped(tokens) }];
  return Array.from({ length: Math.ceil(tokens.length / maxTokens) }, (_, i) => {
    const part = tokens.slice(i * maxTokens, (i + 1) * maxTokens);
    return { id: `${name}#${i}`, tokens: part, skip: part.length > 1 ? nSkipped(part) : 0 };
  });
}

/** A census being taken. */
class CensusWork {
  readonly #source: UnitSource;
  readonly #settings: Settings;
  readonly #files: CensusFiles;
  readonly #state: CensusState;
  readonly #randomRecords: Uint8Array;
  readonly #arrays: readonly ArrayBufferView[];
  readonly #nUnits: number;
  #waiting: Piece[] = [];
  #nWaiting = 0;
  /** Pieces folded in, and the hash of them all, batch after batch. */
  #nDone: number;
  #hash: string;
  /** Between two states that could be gone on from. */
  #changing = false;
  /** Pieces that a checkpoint holds already. */
  readonly #target: Checkpoint | undefined;
  #skipped = 0;

  private constructor(
    source: UnitSource,
    settings: Settings,
    state: CensusState,
    randomRecords: Uint8Array,
    files_: CensusFiles,
  ) {
    this.#source = source;
    this.#settings = settings;
    this.#files = files_;
    this.#nUnits = unitsOf(settings);
    this.#state = state;
    this.#randomRecords = randomRecords;
    this.#arrays = arraysOf(state, randomRecords);
    this.#target = files_.checkpoint;
    this.#nDone = 0;
    this.#hash = "";
  }

  static async start(
    source: UnitSource,
    folder: string,
    settings: Settings,
    resume: boolean,
  ): Promise<CensusWork> {
    const identity = identityOf(source, settings);
    const inside = await readdir(folder).catch((cause: NodeJS.ErrnoException): string[] => {
      if (cause.code === "ENOENT") return [];
      throw fileError("takeCensus", folder, cause);
    });
    const complete = inside.includes("meta.json");
    // A folder of something else may hold a file of the same name as one of a census.
    const begun = growing.every((name) => inside.includes(files[name]));
    if (inside.length > 0 && (!resume || complete || !begun)) {
      const what = complete ? ", and the census there is complete" : begun ? "" : ", no census";
      throw new FileError(
        `takeCensus: ${folder}: expected no such folder or an empty one, got ${inside.length} files${what}`,
        { hint: "Choose another folder, or set resume to go on with an unfinished census." },
      );
    }
    await mkdir(folder, { recursive: true }).catch((cause) => {
      throw fileError("takeCensus", folder, cause);
    });
    const nUnits = unitsOf(settings);
    const state = createState({
      nUnits,
      nPositionBins: settings.nPositionBins,
      vocabularySize: source.vocabularySize,
      nNgramKinds: ngramKindsOf(source.vocabularySize).length,
      contexts: settings.contexts,
    });
    const randomRecords = new Uint8Array(nUnits * settings.contexts.random * CONTEXT_BYTES);
    const opened = await CensusFiles.open(folder, identity, arraysOf(state, randomRecords));
    return new CensusWork(source, settings, state, randomRecords, opened);
  }

  get full(): boolean {
    return this.#nWaiting >= this.#settings.batchTokens;
  }

  /** Queues a document's pieces; those that the checkpoint holds are only compared with what they were then. */
  add(pieces: readonly Piece[]): void {
    for (const piece of pieces) {
      this.#waiting.push(piece);
      this.#nWaiting += piece.tokens.length;
    }
    const target = this.#target;
    if (!target || this.#skipped >= target.nDocuments) return;
    this.#skipped += pieces.length;
    const atEnd = this.#skipped >= target.nDocuments;
    if (!this.full && !atEnd) return;
    this.#hash = nextHash(this.#hash, this.#waiting);
    this.#nDone += this.#waiting.length;
    this.#waiting = [];
    this.#nWaiting = 0;
    if (atEnd && this.#hash !== target.hash) {
      throw new FileError(
        `takeCensus: expected the documents that the census was begun with, got others among the first ${target.nDocuments}`,
        { hint: "Give the same documents in the same order, or choose another folder." },
      );
    }
  }

  /** Folds the waiting documents in; returns how many. */
  async fold(): Promise<number> {
    const pieces = this.#waiting;
    if (pieces.length === 0) return 0;
    const { hooks, keepShare, seed, positionsPerBin } = this.#settings;
    const documents = pieces.map(
      ({ tokens, skip }, i): BatchDocument => ({
        tokens,
        skip,
        kept: mix(this.#nDone + i, seed + 1) < keepShare * 2 ** 32,
      }),
    );
    const values = await this.#source.read(
      documents.map(({ tokens }) => tokens),
      pieces.map(({ id }) => id),
    );
    const firstToken = this.#state.totals[0]!;
    const batch = makeBatch(documents, firstToken, this.#source.vocabularySize, seed);
    const nKept = batch.kept.length;
    const kept = {
      bytes: new Uint8Array(this.#nUnits * nKept),
      scales: new Float32Array(2 * this.#nUnits),
    };
    this.#changing = true;
    const fresh = addBatch(this.#state, batch, positionsPerBin);
    hooks.forEach(({ name, firstUnit, nUnits, threshold, histogram }, h) => {
      const expected = documents.reduce((sum, { tokens }) => sum + tokens.length, 0) * nUnits;
      if (values[h]?.length !== expected) {
        throw new DataError(
          `takeCensus: ${name}: expected ${expected} values from the source, got ${values[h]?.length}`,
        );
      }
      addHook(this.#state, batch, values[h]!, {
        name,
        firstUnit,
        nUnits,
        settings: { threshold, histogram },
        positionBin: positionsPerBin,
        fresh,
        randomRecords: this.#randomRecords,
        kept,
      });
    });
    this.#state.totals[0]! += batch.nTokens;
    await this.#files.append({
      tokens: Uint32Array.from(batch.tokens),
      starts: Uint32Array.from(batch.starts.subarray(0, -1), (start) => firstToken + start),
      documents: Buffer.from(pieces.map(({ id }) => `${JSON.stringify({ id })}\n`).join("")),
      kept: Uint32Array.from(batch.kept, (i) => firstToken + i),
      ...(nKept === 0
        ? {}
        : { segments: Uint32Array.of(nKept), values: kept.bytes, scales: kept.scales }),
    });
    this.#hash = nextHash(this.#hash, pieces);
    this.#nDone += pieces.length;
    this.#changing = false;
    this.#waiting = [];
    this.#nWaiting = 0;
    return pieces.length;
  }

  /** Writes down how far the work has come, if that is further than it was begun from. */
  async checkpoint(): Promise<void> {
    if (this.#nDone <= (this.#target?.nDocuments ?? 0)) return;
    await this.#files.save({ nDocuments: this.#nDone, hash: this.#hash }, this.#arrays);
  }

  async close(): Promise<void> {
    await this.#files.close();
  }

  /** After a stop or a fault: what was folded in is kept, if there is any; else the folder is left free for another try. */
  async keepWhatIsWhole(error: unknown): Promise<void> {
    if (!this.#changing && this.#nDone > 0) {
      await this.checkpoint().catch((cause) => {
        // The fault itself is what must be told; of a stop it is said that the work is kept.
        if (error instanceof InterruptedError) throw cause;
      });
    }
    if (!this.#files.hasCheckpoint) await this.#files.remove();
  }

  /** Writes what readers want to know from what was counted; `meta.json` last. */
  async finish(): Promise<void> {
    const [nTokens, nDocuments] = this.#state.totals as unknown as [number, number];
    if (nTokens === 0) throw new DataError("takeCensus: expected at least one document, got none");
    if (this.#target && this.#skipped < this.#target.nDocuments) {
      throw new FileError(
        `takeCensus: expected the ${this.#target.nDocuments} documents of the checkpoint and more, got ${this.#skipped}`,
      );
    }
    this.#changing = true;
    await this.#files.append({ starts: Uint32Array.of(nTokens) });
    const { folder } = this.#files;
    const write = (file: keyof typeof files, array: ArrayBufferView) =>
      writeFileAtomic(
        join(folder, files[file]),
        new Uint8Array(array.buffer, array.byteOffset, array.byteLength),
      );
    const state = this.#state;
    await write("units", this.#columns());
    await write("active", state.nActive);
    await write("histogram", state.histogram);
    await write("positionTokens", state.positionTokens);
    await write("positionActive", state.positionActive);
    await write("positionMean", this.#positionMeans());
    await write("tokenCounts", state.tokenCounts);
    await write("previousCounts", state.previousCounts);
    await this.#writeNgrams(write);
    await write("contexts", this.#contexts());
    const { vocabularySize, tokenText } = this.#source;
    if (tokenText) {
      const words = Array.from({ length: vocabularySize }, (_, token) =>
        state.tokenCounts[token]! > 0 ? tokenText(token) : null,
      );
      await writeFileAtomic(join(folder, files.vocabulary), JSON.stringify(words));
    }
    await this.#files.close();
    const { hooks, contexts, nBins, positionsPerBin, nPositionBins, seed, keepShare, batchTokens } =
      this.#settings;
    const meta: CensusMeta = {
      format: "penfield-census",
      version: CENSUS_VERSION,
      model: { name: this.#source.name, sha256: this.#source.sha256 },
      hooks,
      nUnits: this.#nUnits,
      nDocuments,
      nTokens,
      nKeptTokens: this.#files.sizeOf("kept") / 4,
      corpusSha256: this.#hash,
      identity: identityOf(this.#source, this.#settings),
      vocabularySize,
      tokens: symbolsOnly(this.#source),
      columns: unitColumns,
      histogramBars: HISTOGRAM_BARS,
      nPositionBins,
      positionsPerBin,
      contexts,
      contextBytes: CONTEXT_BYTES,
      window: WINDOW,
      nBins,
      ngramKinds: ngramKindsOf(vocabularySize),
      ngramsPerKind: HITTERS,
      quantileError: SKETCH_ERROR,
      seed,
      keepShare,
      batchTokens,
      activeMeans: ACTIVE_MEANS,
    };
    await writeFileAtomic(join(folder, "meta.json"), `${JSON.stringify(meta, undefined, 2)}\n`);
    for (const name of ["checkpoint.bin", "checkpoint.bin.partial"]) {
      await rm(join(folder, name), { force: true });
    }
  }

  #columns(): Float32Array {
    const state = this.#state;
    const [n, nDocuments] = state.totals as unknown as [number, number];
    const nUnits = this.#nUnits;
    const out = new Float32Array(unitColumns.length * nUnits);
    for (let unit = 0; unit < nUnits; unit++) {
      const moments = momentsOf(state.moments, unit, n);
      const [min, max] = [state.min[unit]!, state.max[unit]!];
      const meanAbs = state.sumAbs[unit]! / n;
      const nActive = state.nActive[unit]!;
      const sketch = state.sketch.subarray(unit * SKETCH_BUCKETS, (unit + 1) * SKETCH_BUCKETS);
      const row = [
        moments.mean,
        moments.variance,
        moments.skewness,
        moments.kurtosis,
        min,
        max,
        meanAbs,
        nActive / n,
        nActive === 0 ? 0 : state.sumActive[unit]! / nActive,
        hoyerFromMoments(n, meanAbs, moments.variance + moments.mean ** 2),
        state.nDocumentsActive[unit]! / nDocuments,
        ...quantileLevels.map((level) => sketchQuantile(sketch, level, min, max)),
      ];
      row.forEach((value, c) => {
        out[c * nUnits + unit] = value;
      });
    }
    return out;
  }

  #positionMeans(): Float32Array {
    const { positionSum, positionTokens } = this.#state;
    const nBins = positionTokens.length;
    return Float32Array.from(
      positionSum,
      (sum, i) => sum / Math.max(1, positionTokens[i % nBins]!),
    );
  }

  async #writeNgrams(
    write: (file: keyof typeof files, array: ArrayBufferView) => Promise<void>,
  ): Promise<void> {
    const { ngrams } = this.#state;
    const nKinds = ngrams.length;
    const keys = new Float64Array(this.#nUnits * nKinds * HITTERS).fill(-1);
    const counts = new Uint32Array(keys.length);
    const lost = new Uint32Array(this.#nUnits * nKinds);
    for (let unit = 0; unit < this.#nUnits; unit++) {
      ngrams.forEach((hitters, k) => {
        const from = unit * HITTERS;
        const to = (unit * nKinds + k) * HITTERS;
        Array.from({ length: hitters.used[unit]! }, (_, i) => i)
          .sort(
            (a, b) =>
              hitters.counts[from + b]! - hitters.counts[from + a]! ||
              hitters.keys[from + a]! - hitters.keys[from + b]!,
          )
          .forEach((place, rank) => {
            keys[to + rank] = hitters.keys[from + place]!;
            counts[to + rank] = hitters.counts[from + place]!;
          });
        lost[unit * nKinds + k] = hitters.lost[unit]!;
      });
    }
    await write("ngramKeys", keys);
    await write("ngramCounts", counts);
    await write("ngramLost", lost);
  }

  /** `[nUnits, top + sampled + nearMiss + random, CONTEXT_BYTES]`, each kind in the order that readers want. */
  #contexts(): Uint8Array {
    const { contexts, nBins } = this.#settings;
    const { top, sampled, nearMiss, random } = this.#state;
    const perUnit = contextKinds.reduce((sum, kind) => sum + contexts[kind], 0);
    const out = new Uint8Array(this.#nUnits * perUnit * CONTEXT_BYTES);
    const peakValue = (r: Uint8Array) => new DataView(r.buffer, r.byteOffset).getFloat32(4, true);
    const order = rankedRecords(random, 0).map(
      (r) => (r.byteOffset - random.records.byteOffset) / CONTEXT_BYTES,
    );
    for (let unit = 0; unit < this.#nUnits; unit++) {
      let at = unit * perUnit;
      const put = (records: readonly Uint8Array[], size: number) => {
        records.forEach((record, i) => {
          out.set(record, (at + i) * CONTEXT_BYTES);
        });
        at += size;
      };
      put(rankedRecords(top, unit), contexts.top);
      const chosen = rankedRecords(sampled, unit).sort((a, b) => peakValue(b) - peakValue(a));
      chosen.forEach((record, i) => {
        record[15] = nBins - 1 - Math.floor((i * nBins) / chosen.length);
      });
      put(chosen, contexts.sampled);
      put(rankedRecords(nearMiss, unit), contexts.nearMiss);
      const start = unit * contexts.random;
      put(
        order.map((slot) =>
          this.#randomRecords.subarray(
            (start + slot) * CONTEXT_BYTES,
            (start + slot + 1) * CONTEXT_BYTES,
          ),
        ),
        contexts.random,
      );
    }
    return out;
  }
}

/** Document after document, so that it does not matter how they fall into batches. */
const nextHash = (hash: string, pieces: readonly Piece[]): string =>
  pieces.reduce((before, { tokens }) => sha256(`${before} ${tokens.join(",")}`), hash);
