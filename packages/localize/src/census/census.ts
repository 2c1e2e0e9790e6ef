import { type FileHandle, open, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { ArgumentError, FileError, FormatError, fileError } from "@penfield/core";
import { type NgramKind, ngramTokens } from "./batch.ts";
import { type CensusContext, type ContextKind, contextKinds, readContext } from "./contexts.ts";
import {
  CENSUS_VERSION,
  type CensusHookMeta,
  type CensusMeta,
  files,
  type UnitColumn,
  unitColumns,
} from "./format.ts";
import type { TokenKind } from "./source.ts";

/** A place in the model: a hook point and the number of the unit there. */
export interface UnitPlace {
  readonly hook: CensusHookMeta;
  readonly index: number;
}

/** An n-gram on which a unit was active. */
export interface CensusNgram {
  readonly tokens: readonly number[];
  /** How often the unit was active there; too low by at most the `lost` of its kind. */
  readonly count: number;
}

/** Where the kept values belong. */
export interface KeptTokens {
  /** Number of each kept value's token among all tokens of the census. */
  readonly places: Uint32Array;
  /** The token itself. */
  readonly tokens: Uint32Array;
  /** Its document, and its place there. */
  readonly documents: Uint32Array;
  readonly positions: Uint32Array;
}

type FileName = keyof typeof files;

/**
 * Opens what `takeCensus` wrote.
 *
 * @throws {FileError} if there is no complete census.
 * @throws {FormatError} if a file has another size than `meta.json` promises.
 *
 * @example
 * import { mkdtemp } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 * const source = plantedSource({ words: ["a", "b"], units: [{ name: "b", active: (words, i) => words[i] === "b" }], misses: 0, falseAnswers: 0 });
 * const documents = Array.from({ length: 20 }, (_, d) => ({ tokens: [0, d % 2, 1 - (d % 2), d % 3 === 0 ? 1 : 0] }));
 * const census = await takeCensus(source, documents, `${await mkdtemp(join(tmpdir(), "census-"))}/planted`);
 * const opened = await openCensus(census.folder);
 * (await opened.statistics(0)).frequency.toFixed(4) // => "0.3375"
 * await Promise.all([census.close(), opened.close()]);
 */
export async function openCensus(folder: string): Promise<Census> {
  const path = join(folder, "meta.json");
  const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== "ENOENT") throw fileError("openCensus", path, cause);
    throw new FileError(`openCensus: ${folder}: expected a complete census, got no meta.json`, {
      hint: "Take it with takeCensus; an unfinished one goes on with resume.",
      cause,
    });
  });
  let meta: unknown;
  try {
    meta = JSON.parse(text);
  } catch (cause) {
    throw new FormatError(`openCensus: ${path}: expected JSON, got something else`, { cause });
  }
  checkMeta(meta, path);
  await checkSizes(folder, meta);
  return new Census(folder, meta);
}

/** The census of a model on disk. What belongs to one unit is read with one or a few reads, however many there are. */
export class Census {
  readonly folder: string;
  readonly meta: CensusMeta;
  readonly #handles = new Map<FileName, Promise<FileHandle>>();
  readonly #columns = new Map<string, Promise<Float32Array>>();
  #tokens: Promise<Uint32Array> | undefined;
  #starts: Promise<Uint32Array> | undefined;
  #kept: Promise<KeptTokens> | undefined;
  #words: Promise<readonly (string | null)[] | undefined> | undefined;
  #segments: Promise<Uint32Array> | undefined;

  constructor(folder: string, meta: CensusMeta) {
    this.folder = folder;
    this.meta = meta;
  }

  get nUnits(): number {
    return this.meta.nUnits;
  }

  /** Whether tokens are parts of a language or symbols of an input. */
  get tokenKind(): TokenKind {
    return this.meta.tokens ?? "language";
  }

  /** The hook point of a unit and its number there. @throws {ArgumentError} for a unit outside the census. */
  place(unit: number): UnitPlace {
    this.#check(unit);
    const hook = this.meta.hooks.findLast(({ firstUnit }) => firstUnit <= unit)!;
    return { hook, index: unit - hook.firstUnit };
  }

  /** The number of a unit in the census. @throws {ArgumentError} for a hook or unit outside it. */
  unitAt(hook: string, index: number): number {
    const found = this.hook(hook);
    if (Number.isInteger(index) && index >= 0 && index < found.nUnits)
      return found.firstUnit + index;
    throw new ArgumentError(`Census: expected a unit within 0..${found.nUnits - 1}, got ${index}`);
  }

  /** @throws {ArgumentError} for a hook that was not counted. */
  hook(name: string): CensusHookMeta {
    const found = this.meta.hooks.find((hook) => hook.name === name);
    if (found) return found;
    throw new ArgumentError(
      `Census: expected one of ${this.meta.hooks.map((hook) => hook.name).join(", ")}, got ${name}`,
    );
  }

  /** One statistic of all units, `[nUnits]`. */
  column(name: UnitColumn): Promise<Float32Array> {
    const at = unitColumns.indexOf(name);
    if (at < 0) {
      throw new ArgumentError(
        `Census: expected one of ${unitColumns.join(", ")}, got ${JSON.stringify(name)}`,
      );
    }
    let column = this.#columns.get(name);
    if (!column) {
      column = this.#floats("units", at * this.nUnits, this.nUnits);
      this.#columns.set(name, column);
    }
    return column;
  }

  /** All statistics of one unit. */
  async statistics(unit: number): Promise<Readonly<Record<UnitColumn, number>>> {
    this.#check(unit);
    const values = await Promise.all(
      unitColumns.map(async (name, c) => {
        const [value] = await this.#floats("units", c * this.nUnits + unit, 1);
        return [name, value!] as const;
      }),
    );
    return Object.fromEntries(values) as Record<UnitColumn, number>;
  }

  /** How many tokens each unit was active on, `[nUnits]`. */
  async activeCounts(): Promise<Float64Array> {
    return new Float64Array((await this.#read("active", 0, 8 * this.nUnits)).buffer);
  }

  /** Counts of the unit's values in the bars of its hook's range. */
  async histogram(unit: number): Promise<Uint32Array> {
    this.#check(unit);
    const size = this.meta.histogramBars;
    return this.#words32("histogram", unit * size, size);
  }

  /** For each position bin: tokens seen there, active ones of the unit, and the mean of its values. */
  async positions(
    unit: number,
  ): Promise<{ nTokens: Float64Array; nActive: Uint32Array; mean: Float32Array }> {
    this.#check(unit);
    const { nPositionBins: size } = this.meta;
    const [nTokens, nActive, mean] = await Promise.all([
      this.#read("positionTokens", 0, 8 * size),
      this.#words32("positionActive", unit * size, size),
      this.#floats("positionMean", unit * size, size),
    ]);
    return { nTokens: new Float64Array(nTokens.buffer), nActive, mean };
  }

  /** The n-grams on which the unit was active, the most frequent first, and by how much the counts may be too low. */
  async ngrams(
    unit: number,
    kind: NgramKind,
  ): Promise<{ readonly ngrams: readonly CensusNgram[]; readonly lost: number }> {
    this.#check(unit);
    const { ngramKinds, ngramsPerKind: size, vocabularySize } = this.meta;
    const k = ngramKinds.indexOf(kind);
    if (k < 0) {
      throw new ArgumentError(`Census: expected one of ${ngramKinds.join(", ")}, got ${kind}`);
    }
    const row = unit * ngramKinds.length + k;
    const [keys, counts, lost] = await Promise.all([
      this.#read("ngramKeys", 8 * row * size, 8 * size),
      this.#words32("ngramCounts", row * size, size),
      this.#words32("ngramLost", row, 1),
    ]);
    const ngrams: CensusNgram[] = [];
    new Float64Array(keys.buffer).forEach((key, i) => {
      if (key >= 0) {
        ngrams.push({ tokens: ngramTokens(kind, key, vocabularySize), count: counts[i]! });
      }
    });
    return { ngrams, lost: lost[0]! };
  }

  /** How often each token was seen, `[vocabularySize]`; or as the one before another. */
  tokenCounts(as: "token" | "previous" = "token"): Promise<Uint32Array> {
    const file = as === "token" ? "tokenCounts" : "previousCounts";
    return this.#words32(file, 0, this.meta.vocabularySize);
  }

  /** The contexts of a unit: the highest first; sampled ones by value; near misses and random ones as drawn. */
  async contexts(unit: number): Promise<Readonly<Record<ContextKind, readonly CensusContext[]>>> {
    this.#check(unit);
    const { contexts, contextBytes } = this.meta;
    const perUnit = contextKinds.reduce((sum, kind) => sum + contexts[kind], 0);
    const bytes = await this.#read(
      "contexts",
      unit * perUnit * contextBytes,
      perUnit * contextBytes,
    );
    let at = 0;
    const entries = contextKinds.map((kind) => {
      const found: CensusContext[] = [];
      for (let i = 0; i < contexts[kind]; i++, at += contextBytes) {
        const context = readContext(bytes.subarray(at, at + contextBytes));
        if (context) found.push(context);
      }
      return [kind, found] as const;
    });
    return Object.fromEntries(entries) as Record<ContextKind, CensusContext[]>;
  }

  /** The tokens of the whole corpus, `[nTokens]`, beginning-of-text tokens left out. */
  tokens(): Promise<Uint32Array> {
    this.#tokens ??= this.#words32("tokens", 0, this.meta.nTokens);
    return this.#tokens;
  }

  /** Where each document's tokens begin, and after the last one where they end, `[nDocuments + 1]`. */
  documentStarts(): Promise<Uint32Array> {
    this.#starts ??= this.#words32("starts", 0, this.meta.nDocuments + 1);
    return this.#starts;
  }

  /** The documents' names. */
  async documentIds(): Promise<readonly string[]> {
    const text = await readFile(join(this.folder, files.documents), "utf8");
    return text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => (JSON.parse(line) as { id: string }).id);
  }

  /** Tokens as text; a token that has none, or was not seen, as `#17`. */
  async words(): Promise<(token: number) => string> {
    this.#words ??= readFile(join(this.folder, files.vocabulary), "utf8").then(
      (text) => JSON.parse(text) as (string | null)[],
      () => undefined,
    );
    const words = await this.#words;
    return (token) => words?.[token] ?? `#${token}`;
  }

  /** Where the kept values belong, `[nKeptTokens]`. */
  keptTokens(): Promise<KeptTokens> {
    this.#kept ??= this.#readKept();
    return this.#kept;
  }

  async #readKept(): Promise<KeptTokens> {
    const [places, all, starts] = await Promise.all([
      this.#words32("kept", 0, this.meta.nKeptTokens),
      this.tokens(),
      this.documentStarts(),
    ]);
    const documents = new Uint32Array(places.length);
    const positions = new Uint32Array(places.length);
    let document = 0;
    places.forEach((place, i) => {
      while (starts[document + 1]! <= place) document++;
      documents[i] = document;
      positions[i] = place - starts[document]!;
    });
    return { places, tokens: places.map((place) => all[place]!), documents, positions };
  }

  /**
   * The values of a unit on the kept documents, `[nKeptTokens]`, each off by at most 1/510 of the range of its part of
   * the corpus. Zeros are exact, and with threshold 0 so is which values are active.
   */
  async values(unit: number): Promise<Float32Array> {
    this.#check(unit);
    this.#segments ??= stat(join(this.folder, files.segments)).then(({ size }) =>
      this.#words32("segments", 0, size / 4),
    );
    const segments = await this.#segments;
    const out = new Float32Array(this.meta.nKeptTokens);
    let at = 0;
    for (let s = 0; s < segments.length; s++) {
      const size = segments[s]!;
      const [bytes, scales] = await Promise.all([
        this.#read("values", at * this.nUnits + unit * size, size),
        this.#floats("scales", 2 * (s * this.nUnits + unit), 2),
      ]);
      const [scale, zero] = scales as unknown as [number, number];
      for (let i = 0; i < size; i++) out[at + i] = (bytes[i]! - zero) * scale;
      at += size;
    }
    return out;
  }

  /** The values of neighbouring units of a hook on some of the kept tokens, `[nUnits, to - from]`. */
  async block(
    firstUnit: number,
    nUnits: number,
    { from = 0, to = this.meta.nKeptTokens }: { from?: number; to?: number } = {},
  ): Promise<Float32Array> {
    this.#check(firstUnit);
    this.#check(firstUnit + nUnits - 1);
    this.#segments ??= stat(join(this.folder, files.segments)).then(({ size }) =>
      this.#words32("segments", 0, size / 4),
    );
    const width = to - from;
    const out = new Float32Array(nUnits * width);
    let at = 0;
    for (const [s, size] of (await this.#segments).entries()) {
      const low = Math.max(from, at);
      const high = Math.min(to, at + size);
      if (low < high) {
        const [bytes, scales] = await Promise.all([
          this.#read("values", at * this.nUnits + firstUnit * size, nUnits * size),
          this.#floats("scales", 2 * (s * this.nUnits + firstUnit), 2 * nUnits),
        ]);
        for (let u = 0; u < nUnits; u++) {
          const scale = scales[2 * u]!;
          const zero = scales[2 * u + 1]!;
          for (let i = low; i < high; i++) {
            out[u * width + i - from] = (bytes[u * size + i - at]! - zero) * scale;
          }
        }
      }
      at += size;
    }
    return out;
  }

  /** Closes the files. */
  async close(): Promise<void> {
    const handles = [...this.#handles.values()];
    this.#handles.clear();
    for (const handle of handles) await (await handle).close();
  }

  #check(unit: number): void {
    if (Number.isInteger(unit) && unit >= 0 && unit < this.nUnits) return;
    throw new ArgumentError(`Census: expected a unit within 0..${this.nUnits - 1}, got ${unit}`);
  }

  async #floats(file: FileName, first: number, n: number): Promise<Float32Array> {
    return new Float32Array((await this.#read(file, 4 * first, 4 * n)).buffer);
  }

  async #words32(file: FileName, first: number, n: number): Promise<Uint32Array> {
    return new Uint32Array((await this.#read(file, 4 * first, 4 * n)).buffer);
  }

  async #read(file: FileName, position: number, n: number): Promise<Uint8Array<ArrayBuffer>> {
    const path = join(this.folder, files[file]);
    let handle = this.#handles.get(file);
    if (!handle) {
      handle = open(path, "r").catch((cause) => {
        this.#handles.delete(file);
        throw fileError("Census", path, cause);
      });
      this.#handles.set(file, handle);
    }
    const opened = await handle;
    const out = new Uint8Array(n);
    for (let done = 0; done < n; ) {
      const { bytesRead } = await opened.read(out, done, n - done, position + done);
      if (bytesRead === 0) {
        throw new FormatError(
          `Census: ${path}: expected ${n} bytes at ${position}, got the end of the file`,
        );
      }
      done += bytesRead;
    }
    return out;
  }
}

function checkMeta(json: unknown, path: string): asserts json is CensusMeta {
  const meta = (typeof json === "object" && json !== null ? json : {}) as Partial<CensusMeta>;
  if (meta.format !== "penfield-census" || meta.version !== CENSUS_VERSION) {
    throw new FormatError(
      `openCensus: ${path}: expected penfield-census version ${CENSUS_VERSION}, got ${meta.format} ${meta.version}`,
    );
  }
  const isSize = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
  const sizes = [
    ...(["nUnits", "nDocuments", "nTokens", "nKeptTokens", "vocabularySize"] as const),
    ...(["histogramBars", "nPositionBins", "positionsPerBin", "contextBytes", "nBins"] as const),
    "ngramsPerKind",
  ] as const;
  const wrong =
    sizes.find((name) => !isSize(meta[name])) ??
    (["hooks", "columns", "ngramKinds"] as const).find((name) => !Array.isArray(meta[name])) ??
    (contextKinds.every((kind) => isSize(meta.contexts?.[kind])) ? undefined : "contexts") ??
    (typeof meta.model?.sha256 === "string" ? undefined : "model") ??
    ([undefined, "language", "symbols"].includes(meta.tokens) ? undefined : "tokens");
  if (wrong !== undefined) {
    throw new FormatError(
      `openCensus: ${path}: expected ${wrong} as a census has it, got ${JSON.stringify(meta[wrong])}`,
    );
  }
  let firstUnit = 0;
  for (const hook of meta.hooks!) {
    if (typeof hook?.name !== "string" || hook.firstUnit !== firstUnit || !isSize(hook.nUnits)) {
      throw new FormatError(
        `openCensus: ${path}: expected hooks whose units follow one another, got ${JSON.stringify(hook)}`,
      );
    }
    firstUnit += hook.nUnits;
  }
  if (firstUnit !== meta.nUnits) {
    throw new FormatError(
      `openCensus: ${path}: expected hooks of ${meta.nUnits} units, got ${firstUnit}`,
    );
  }
}

async function checkSizes(folder: string, meta: CensusMeta): Promise<void> {
  const { nUnits, nTokens, nDocuments, nKeptTokens, vocabularySize, ngramsPerKind } = meta;
  const nKinds = meta.ngramKinds.length;
  const perUnit = contextKinds.reduce((sum, kind) => sum + meta.contexts[kind], 0);
  const sizes: Partial<Record<FileName, number>> = {
    units: 4 * meta.columns.length * nUnits,
    active: 8 * nUnits,
    histogram: 4 * meta.histogramBars * nUnits,
    positionTokens: 8 * meta.nPositionBins,
    positionActive: 4 * meta.nPositionBins * nUnits,
    positionMean: 4 * meta.nPositionBins * nUnits,
    tokenCounts: 4 * vocabularySize,
    previousCounts: 4 * vocabularySize,
    ngramKeys: 8 * nUnits * nKinds * ngramsPerKind,
    ngramCounts: 4 * nUnits * nKinds * ngramsPerKind,
    ngramLost: 4 * nUnits * nKinds,
    contexts: nUnits * perUnit * meta.contextBytes,
    tokens: 4 * nTokens,
    starts: 4 * (nDocuments + 1),
    kept: 4 * nKeptTokens,
    values: nUnits * nKeptTokens,
  };
  for (const [name, expected] of Object.entries(sizes)) {
    const path = join(folder, files[name as FileName]);
    const { size } = await stat(path).catch((cause) => {
      throw fileError("openCensus", path, cause);
    });
    if (size !== expected) {
      throw new FormatError(`openCensus: ${path}: expected ${expected} bytes, got ${size}`, {
        hint: "The file was cut or exchanged; take the census again.",
      });
    }
  }
  if (nKeptTokens > 0) await checkSegments(folder, nUnits, nKeptTokens);
}

/** The parts in which values were kept must make up all of them. */
async function checkSegments(folder: string, nUnits: number, nKeptTokens: number): Promise<void> {
  const path = join(folder, files.segments);
  const bytes = await readFile(path).catch((cause) => {
    throw fileError("openCensus", path, cause);
  });
  const segments = new Uint32Array(new Uint8Array(bytes).buffer.slice(0, bytes.length & ~3));
  const total = segments.reduce((sum, size) => sum + size, 0);
  const scales = await stat(join(folder, files.scales)).catch((cause) => {
    throw fileError("openCensus", join(folder, files.scales), cause);
  });
  if (total === nKeptTokens && scales.size === 8 * nUnits * segments.length) return;
  throw new FormatError(
    `openCensus: ${path}: expected parts of ${nKeptTokens} kept tokens with their scales, got ${total} in ${segments.length} parts and ${scales.size} bytes of scales`,
    { hint: "The file was cut or exchanged; take the census again." },
  );
}
