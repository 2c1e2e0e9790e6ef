import { readSync } from "node:fs";
import { type FileHandle, open, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import {
  type Activations,
  ArgumentError,
  DataError,
  FormatError,
  fileError,
  HookPointError,
  PenfieldError,
  tensor,
} from "@penfield/core";
import { matchesHook } from "@penfield/hooks";
import { float16Table } from "./float16.ts";
import { bytesOf, checkNpy, HEADER_BYTES } from "./npyFile.ts";
import {
  INDEX,
  npyTypeOf,
  parseIndex,
  type Shard,
  type StoredHook,
  type StoreIndex,
  TEXTS,
} from "./storeIndex.ts";

export interface OpenActivationsOptions {
  /** Also of a run that is not finished: the rows up to the first shard that is missing. */
  readonly allowIncomplete?: boolean | undefined;
}

/** Rows of a store, `from` included, `to` not; by default all. */
export interface RowRange {
  readonly from?: number | undefined;
  readonly to?: number | undefined;
}

/** Where a row comes from. */
export interface RowPlace {
  /** The text's place in the corpus. */
  readonly text: number;
  readonly id: string;
  /** The token's place in the text; undefined for a mean over tokens. */
  readonly position: number | undefined;
}

/** Bytes that are read at once when columns are picked out. */
const CHUNK_BYTES = 4 * 2 ** 20;
/** A read of its own costs about as much as reading on for so many bytes. */
const SEEK_BYTES = 16 * 2 ** 10;

/**
 * Opens what `captureActivations` has written.
 *
 * @throws {FileError} if there is no such folder.
 * @throws {FormatError} if a file is not what the index says it is: type, sizes and length of each
 *   are checked, the values are not read.
 * @throws {DataError} if the run that wrote it has not finished (unless `allowIncomplete`).
 *
 * Cost: two small reads of every file; 16 bytes of memory for each text, and its id.
 */
export async function openActivations(
  folder: string,
  { allowIncomplete = false }: OpenActivationsOptions = {},
): Promise<ActivationStore> {
  const read = (name: string) =>
    readFile(join(folder, name), "utf8").catch((cause) => {
      throw fileError("openActivations", join(folder, name), cause);
    });
  const index = parseIndex(await read(INDEX), join(folder, INDEX));
  const texts = parseTexts(await read(TEXTS), index, join(folder, TEXTS));
  let nShards = 0;
  for (const shard of index.shards) {
    const path = join(folder, shard.folder);
    const there = await stat(path).then(
      (s) => s.isDirectory(),
      () => false,
    );
    if (!there) break;
    await checkShard(path, shard, index);
    nShards++;
  }
  if (nShards < index.shards.length && !allowIncomplete) {
    throw new DataError(
      `openActivations: ${folder}: expected ${index.shards.length} shards, got the first ${nShards}`,
      { hint: "Finish it (penfield capture --resume), or allow what is there." },
    );
  }
  return new ActivationStore(folder, index, texts, nShards);
}

interface Texts {
  readonly ids: readonly string[];
  /** Token at which each begins. `[nTexts + 1]`. */
  readonly starts: Float64Array;
}

function parseTexts(text: string, index: StoreIndex, file: string): Texts {
  const fail = (what: string): never => {
    throw new FormatError(`openActivations: ${file}: ${what}`, {
      hint: "The file was changed; capture again.",
    });
  };
  const lines = text.split("\n");
  if (lines.pop() !== "" || lines.length !== index.corpus.nTexts) {
    fail(`expected ${index.corpus.nTexts} lines, got ${lines.length}`);
  }
  const ids: string[] = [];
  const starts = new Float64Array(lines.length + 1);
  lines.forEach((line, i) => {
    let value: { id?: unknown; tokens?: unknown } | null = null;
    try {
      value = JSON.parse(line);
    } catch {}
    const { id, tokens } = value ?? {};
    if (typeof id !== "string" || !Number.isSafeInteger(tokens) || (tokens as number) < 1) {
      fail(`line ${i + 1}: expected an id and a number of tokens, got ${line.slice(0, 60)}`);
    }
    ids.push(id as string);
    starts[i + 1] = starts[i]! + (tokens as number);
  });
  for (const { texts, tokens, folder } of index.shards) {
    if (starts[texts[0]] === tokens[0] && starts[texts[1]] === tokens[1]) continue;
    fail(
      `expected the texts of ${folder} to have ${tokens[1] - tokens[0]} tokens, got ${starts[texts[1]]! - starts[texts[0]]!}`,
    );
  }
  return { ids, starts };
}

async function checkShard(path: string, shard: Shard, index: StoreIndex): Promise<void> {
  const nRows = shard.rows[1] - shard.rows[0];
  const type = npyTypeOf[index.options.dtype];
  const files = [
    ["tokens.npy", "<i4", [shard.tokens[1] - shard.tokens[0]]],
    ["rows.npy", "<i4", [nRows, 2]],
    ...index.hooks.map(({ file, nUnits }) => [file, type, [nRows, nUnits]] as const),
  ] as const;
  for (const [name, kind, shape] of files) {
    const file = join(path, name);
    await withFile(file, (handle) => checkNpy(handle, file, kind, shape));
  }
}

async function withFile<T>(path: string, use: (file: FileHandle) => Promise<T>): Promise<T> {
  try {
    const file = await open(path, "r");
    try {
      return await use(file);
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (cause instanceof PenfieldError) throw cause;
    throw fileError("openActivations", path, cause);
  }
}

/** Activations on disk; `openActivations` opens them. Nothing is held open between two reads. */
export class ActivationStore {
  readonly folder: string;
  readonly index: StoreIndex;
  /** Rows that can be read. */
  readonly nRows: number;
  /** Texts that can be read. */
  readonly nTexts: number;
  /** Whether the run that wrote it has finished. */
  readonly complete: boolean;
  readonly #ids: readonly string[];
  readonly #starts: Float64Array;
  readonly #shards: readonly Shard[];
  #halves: Float32Array | undefined;

  /** @internal */
  constructor(folder: string, index: StoreIndex, { ids, starts }: Texts, nShards: number) {
    this.folder = folder;
    this.index = index;
    this.#ids = ids;
    this.#starts = starts;
    this.#shards = index.shards.slice(0, nShards);
    this.nRows = this.#shards.at(-1)?.rows[1] ?? 0;
    this.nTexts = this.#shards.at(-1)?.texts[1] ?? 0;
    this.complete = nShards === index.shards.length;
  }

  /** Hook points that are stored, those that fit a pattern (`*` stands for anything). */
  listHooks(pattern = "*"): StoredHook[] {
    return this.index.hooks.filter(({ name }) => matchesHook(pattern, name));
  }

  /** A stored hook point. @throws {HookPointError} if it is not there. */
  hook(name: string): StoredHook {
    const found = this.index.hooks.find((hook) => hook.name === name);
    if (found) return found;
    throw new HookPointError(
      `ActivationStore: expected a hook point of the store, got ${JSON.stringify(name)}`,
      { hint: `It holds ${this.index.hooks.map((hook) => hook.name).join(", ")}.` },
    );
  }

  /**
   * The values of all units at some rows, `[rows, units]`, as float32.
   *
   * @throws {ArgumentError} for rows outside the store.
   *
   * Cost: reads these rows and no others; with float32 straight into the result.
   */
  async read(hook: string, range: RowRange = {}): Promise<Activations> {
    const { nUnits } = this.hook(hook);
    const [from, to] = this.#range(range);
    const out = new Float32Array((to - from) * nUnits);
    const width = bytesOf[npyTypeOf[this.index.options.dtype]];
    await this.#eachShard(hook, from, to, async (fd, first, end, rowOffset) => {
      const target = out.subarray((first - from) * nUnits, (end - from) * nUnits);
      const position = HEADER_BYTES + (first - rowOffset) * nUnits * width;
      const step = CHUNK_BYTES / width;
      for (let at = 0; at < target.length; at += step) {
        const part = target.subarray(at, at + step);
        this.#readValues(fd, part, position + at * width);
        await turn();
      }
    });
    return tensor(out, ["stimulus", "unit"], [to - from, nUnits]);
  }

  /**
   * The values of some units at some rows (by default all), `[rows, units.length]`, as float32.
   *
   * @param units - Places within the row, in the order wanted.
   * @throws {ArgumentError} for rows or units outside the store.
   *
   * Cost: the memory of the result and 4 MiB. Where the units lie close together in long rows, only
   * their part of each row is read; else rows are read whole, one after the other.
   */
  async readUnits(
    hook: string,
    units: ArrayLike<number>,
    range: RowRange = {},
  ): Promise<Activations> {
    const { nUnits } = this.hook(hook);
    const [from, to] = this.#range(range);
    for (let j = 0; j < units.length; j++) {
      const unit = units[j]!;
      if (Number.isInteger(unit) && unit >= 0 && unit < nUnits) continue;
      throw new ArgumentError(`readUnits: expected units within 0..${nUnits - 1}, got ${unit}`);
    }
    const nTaken = units.length;
    const out = new Float32Array((to - from) * nTaken);
    const width = bytesOf[npyTypeOf[this.index.options.dtype]];
    const spans = unitSpans(units, nUnits, width);
    await this.#eachShard(hook, from, to, async (fd, first, end, rowOffset) => {
      for (const [low, high] of spans) {
        const size = high - low;
        // Whole rows lie one after the other; parts of them do not, and are read row by row.
        const whole = size === nUnits;
        const step = Math.max(1, Math.floor(CHUNK_BYTES / (size * width)));
        const chunk = new Float32Array(step * size);
        for (let row = first; row < end; row += step) {
          const n = Math.min(step, end - row);
          const at = (r: number) => HEADER_BYTES + ((r - rowOffset) * nUnits + low) * width;
          if (whole) this.#readValues(fd, chunk.subarray(0, n * size), at(row));
          else {
            for (let i = 0; i < n; i++) {
              this.#readValues(fd, chunk.subarray(i * size, (i + 1) * size), at(row + i));
            }
          }
          for (let j = 0; j < nTaken; j++) {
            const unit = units[j]!;
            if (unit < low || unit >= high) continue;
            for (let i = 0; i < n; i++) {
              out[(row - from + i) * nTaken + j] = chunk[i * size + unit - low]!;
            }
          }
          await turn();
        }
      }
    });
    return tensor(out, ["stimulus", "unit"], [to - from, nTaken]);
  }

  /**
   * All rows of a hook point, some at a time: for sums over a store that does not fit into memory.
   *
   * @param options.rowsAtOnce - Default: as many as 4 MiB hold.
   */
  async *batches(
    hook: string,
    { rowsAtOnce, ...range }: RowRange & { readonly rowsAtOnce?: number | undefined } = {},
  ): AsyncGenerator<{ readonly from: number; readonly values: Activations }> {
    const { nUnits } = this.hook(hook);
    const [from, to] = this.#range(range);
    const step = rowsAtOnce ?? Math.max(1, Math.floor(CHUNK_BYTES / (4 * nUnits)));
    if (!(Number.isSafeInteger(step) && step >= 1)) {
      throw new ArgumentError(`batches: expected rowsAtOnce, a whole number from 1, got ${step}`);
    }
    for (let row = from; row < to; row += step) {
      yield {
        from: row,
        values: await this.read(hook, { from: row, to: Math.min(to, row + step) }),
      };
    }
  }

  /** The text and token of a row. @throws {ArgumentError} for a row outside the store. */
  place(row: number): RowPlace {
    const [at] = this.#range({ from: row, to: row + 1 });
    const { positions } = this.index.options;
    if (positions !== "all") {
      const length = this.#starts[at + 1]! - this.#starts[at]!;
      const position = positions === "last" ? length - 1 : undefined;
      return { text: at, id: this.#ids[at]!, position };
    }
    let low = 0;
    let high = this.nTexts;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.#starts[middle]! <= at) low = middle;
      else high = middle;
    }
    return { text: low, id: this.#ids[low]!, position: at - this.#starts[low]! };
  }

  /** The rows of a text. @throws {ArgumentError} for a text outside the store. */
  rowsOf(text: number): { readonly from: number; readonly to: number } {
    this.#checkText(text);
    return this.index.options.positions === "all"
      ? { from: this.#starts[text]!, to: this.#starts[text + 1]! }
      : { from: text, to: text + 1 };
  }

  /** The tokens of a text. @throws {ArgumentError} for a text outside the store. */
  async tokensOf(text: number): Promise<Int32Array> {
    this.#checkText(text);
    const shard = this.#shards.find(({ texts }) => text < texts[1])!;
    const start = this.#starts[text]!;
    const tokens = new Int32Array(this.#starts[text + 1]! - start);
    const path = join(this.folder, shard.folder, "tokens.npy");
    await withFile(path, async ({ fd }) => {
      const bytes = new Uint8Array(tokens.buffer);
      readFully(fd, bytes, HEADER_BYTES + 4 * (start - shard.tokens[0]), path);
    });
    return tokens;
  }

  #checkText(text: number): void {
    if (Number.isInteger(text) && text >= 0 && text < this.nTexts) return;
    throw new ArgumentError(
      `ActivationStore: expected a text within 0..${this.nTexts - 1}, got ${text}`,
    );
  }

  #range({ from = 0, to = this.nRows }: RowRange): [number, number] {
    const whole = Number.isInteger(from) && Number.isInteger(to);
    if (whole && from >= 0 && from <= to && to <= this.nRows) return [from, to];
    throw new ArgumentError(
      `ActivationStore: expected rows within 0..${this.nRows}, got ${from} to ${to}`,
    );
  }

  /** Calls `use` with the file, rows and first row of each shard that holds some of the rows. */
  async #eachShard(
    hook: string,
    from: number,
    to: number,
    use: (fd: number, first: number, end: number, rowOffset: number) => Promise<void>,
  ): Promise<void> {
    const { file } = this.hook(hook);
    for (const { rows, folder } of this.#shards) {
      const first = Math.max(from, rows[0]);
      const end = Math.min(to, rows[1]);
      if (first >= end) continue;
      await withFile(join(this.folder, folder, file), ({ fd }) => use(fd, first, end, rows[0]));
    }
  }

  /** Reads as many values as `out` holds. */
  #readValues(fd: number, out: Float32Array, position: number): void {
    if (this.index.options.dtype === "float32") {
      readFully(
        fd,
        new Uint8Array(out.buffer, out.byteOffset, out.byteLength),
        position,
        this.folder,
      );
      return;
    }
    const halves = new Uint16Array(out.length);
    readFully(fd, new Uint8Array(halves.buffer), position, this.folder);
    this.#halves ??= float16Table();
    for (let i = 0; i < out.length; i++) out[i] = this.#halves[halves[i]!]!;
  }
}

/** Reads until the array is full; sizes were checked, so an early end means a file cut meanwhile. */
function readFully(fd: number, out: Uint8Array, position: number, name: string): void {
  for (let done = 0; done < out.length; ) {
    const n = readSync(fd, out, done, out.length - done, position + done);
    if (n === 0) {
      throw new FormatError(
        `ActivationStore: ${name}: expected ${out.length} bytes at ${position}, got the end of the file`,
        { hint: "The file was cut after it was opened." },
      );
    }
    done += n;
  }
}

/**
 * The parts of a row to be read for some units: neighbours together, whole rows where that is no more
 * work. Ranges of units, ascending.
 */
export function unitSpans(
  units: ArrayLike<number>,
  nUnits: number,
  width: number,
): (readonly [number, number])[] {
  const sorted = Array.from(units).sort((a, b) => a - b);
  const spans: [number, number][] = [];
  for (const unit of sorted) {
    const last = spans.at(-1);
    if (last && (unit - last[1]) * width <= SEEK_BYTES) last[1] = Math.max(last[1], unit + 1);
    else spans.push([unit, unit + 1]);
  }
  const bytes = spans.reduce((sum, [low, high]) => sum + (high - low) * width, 0);
  return bytes + spans.length * SEEK_BYTES < nUnits * width
    ? spans
    : units.length === 0
      ? []
      : [[0, nUnits]];
}
