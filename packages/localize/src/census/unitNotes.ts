import { type FileHandle, open, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileError, writeFileAtomic } from "@penfield/core";

/**
 * What other analyses say about units, beside a census: one file `KIND.jsonl` in its folder, a line of JSON for each unit, with
 * the unit's number in the census as `unit`. Units may be left out.
 *
 * - `descriptions`: what `describeUnits` found;
 * - `classes`: what `classifyUnits` found;
 * - `weights`: `UnitWeights`, from `weightStatistics`;
 * - `neighbours`: `UnitNeighbours`, as from `compareUnits`;
 * - `facets`: `UnitFacets`, from `unitFacets`.
 */
export const unitNoteKinds = [
  "descriptions",
  "classes",
  "weights",
  "neighbours",
  "facets",
] as const;

export type UnitNoteKind = (typeof unitNoteKinds)[number];

/** Weight statistics of one unit, and the tokens whose scores it raises and lowers most. */
export interface UnitWeights {
  readonly unit: number;
  readonly inNorm: number;
  readonly outNorm: number;
  readonly cosInOut: number;
  readonly vocabularyVariance: number;
  readonly vocabularySkewness: number;
  readonly vocabularyKurtosis: number;
  readonly role: string | null;
  readonly top: readonly (readonly [token: number, score: number])[];
  readonly bottom: readonly (readonly [token: number, score: number])[];
}

/** Units that are like one unit, the nearest first. */
export interface UnitNeighbours {
  readonly unit: number;
  readonly neighbours: readonly UnitNeighbour[];
}

export interface UnitNeighbour {
  /** By what they are alike: the correlation of values, or the cosine of output weights. */
  readonly by: "activation" | "output-weights";
  /** Name of the folder of another census beside this one; absent: the same census. */
  readonly census?: string | undefined;
  /** Number in its census. */
  readonly unit: number;
  readonly r: number;
}

/** The kinds of contexts that one unit answers to, the one with the most contexts first. */
export interface UnitFacets {
  readonly unit: number;
  /** How well the kinds are parted, -1 to 1; null for a single one. */
  readonly silhouette: number | null;
  /** What all of them have in common, as `phrase` of a facet; null if nothing. */
  readonly common: string | null;
  readonly facets: readonly UnitFacet[];
}

export interface UnitFacet {
  /** `on 'bread' or 'butter'`: finishes "active ..."; null where its contexts have nothing in common that others have not. */
  readonly phrase: string | null;
  /** Words that set it off, the strongest first. */
  readonly words: readonly string[];
  /** Share of its contexts that the phrase holds for, and of the other facets' and random ones. */
  readonly share: number | null;
  readonly otherShare: number | null;
  readonly nContexts: number;
  /** Up to five, the highest first: where each begins among all tokens of the census, and the token it was chosen for, counted from there. */
  readonly contexts: readonly {
    readonly start: number;
    readonly peak: number;
    readonly value: number;
  }[];
}

/** No line of notes is as long; a longer one is a broken file. */
const MAX_LINE = 2 ** 20;
const BLOCK = 2 ** 20;

/**
 * Writes notes on units into the folder of a census, for `openUnitNotes` and the viewer.
 *
 * @throws {FileError} if the file cannot be written.
 */
export async function writeUnitNotes(
  folder: string,
  kind: UnitNoteKind,
  notes: readonly { readonly unit: number }[],
): Promise<void> {
  const text = notes.map((note) => `${JSON.stringify(note)}\n`).join("");
  await writeFileAtomic(join(folder, `${kind}.jsonl`), text);
}

/** Notes on the units of a census: where each stands is known, and it is read when asked for. */
export class UnitNotes {
  readonly #handle: FileHandle;
  readonly #starts: Float64Array;
  readonly #lengths: Uint32Array;
  /** Lines that are not JSON, or of no unit of the census. */
  readonly nBroken: number;
  readonly nUnits: number;

  /** @internal */
  constructor(handle: FileHandle, starts: Float64Array, lengths: Uint32Array, nBroken: number) {
    this.#handle = handle;
    this.#starts = starts;
    this.#lengths = lengths;
    this.nBroken = nBroken;
    this.nUnits = lengths.reduce((sum, length) => sum + (length > 0 ? 1 : 0), 0);
  }

  /** The note on a unit; undefined if there is none. */
  async read(unit: number): Promise<unknown> {
    const length = this.#lengths[unit];
    if (!length) return undefined;
    const bytes = Buffer.alloc(length);
    const { bytesRead } = await this.#handle.read(bytes, 0, length, this.#starts[unit]!);
    try {
      return JSON.parse(bytes.toString("utf8", 0, bytesRead)) as unknown;
    } catch {
      // The file was changed since it was opened.
      return undefined;
    }
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/** What is looked at of a note when its file is opened, and must not be trusted in its form. */
type SeenNote = { readonly unit: number } & Readonly<Record<string, unknown>>;

/**
 * Reads where the notes on each unit stand, one block at a time.
 *
 * @param look - Gets each note's unit, and all of its fields from descriptions; from classes `types` and `primary`. Lines of the other
 *   kinds, and of classes, that begin as ours do are not read further than that.
 * @returns undefined if the folder holds no notes of this kind.
 * @throws {FileError} if the file cannot be read.
 *
 * Cost: one pass over the file; 12 bytes of memory for each unit.
 */
export async function openUnitNotes(
  folder: string,
  kind: UnitNoteKind,
  nUnits: number,
  look: (note: SeenNote) => void = () => {},
): Promise<UnitNotes | undefined> {
  const path = join(folder, `${kind}.jsonl`);
  const handle = await open(path, "r").catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") return undefined;
    throw fileError("openUnitNotes", path, cause);
  });
  if (!handle) return undefined;
  const starts = new Float64Array(nUnits);
  const lengths = new Uint32Array(nUnits);
  let nBroken = 0;
  const add = (line: Buffer, start: number) => {
    if (line.length === 0) return;
    const note = noteOf(line, kind, nUnits);
    if (!note) nBroken++;
    else {
      starts[note.unit] = start;
      lengths[note.unit] = line.length;
      look(note);
    }
  };
  try {
    // One buffer for all blocks: what is left of a line moves to its front, and the next block follows it.
    const buffer = Buffer.alloc(MAX_LINE + BLOCK);
    let nLeft = 0;
    let position = 0;
    for (;;) {
      const { bytesRead } = await handle.read(buffer, nLeft, BLOCK, position);
      if (bytesRead === 0) break;
      const size = nLeft + bytesRead;
      const first = position - nLeft;
      let from = 0;
      for (;;) {
        const end = buffer.indexOf(10, from);
        if (end < 0 || end >= size) break;
        add(buffer.subarray(from, end), first + from);
        from = end + 1;
      }
      buffer.copyWithin(0, from, size);
      nLeft = size - from;
      position += bytesRead;
      if (nLeft > MAX_LINE) {
        // Not lines of notes at all: what follows is not looked at.
        nBroken++;
        nLeft = 0;
        break;
      }
    }
    add(buffer.subarray(0, nLeft), position - nLeft);
    return new UnitNotes(handle, starts, lengths, nBroken);
  } catch (cause) {
    await handle.close();
    throw fileError("openUnitNotes", path, cause);
  }
}

/** How lines begin that `JSON.stringify` wrote. */
const beginnings: Partial<Record<UnitNoteKind, RegExp>> = {
  classes: /^\{"unit":(\d{1,9}),"types":(\[[^\]]*\])(?:,"primary":("[^"\\]*"))?[,}]/,
  weights: /^\{"unit":(\d{1,9}),/,
  neighbours: /^\{"unit":(\d{1,9}),/,
  facets: /^\{"unit":(\d{1,9}),/,
};
const BEGINNING_BYTES = 400;
const CLOSING_BRACE = 125;

function noteOf(line: Buffer, kind: UnitNoteKind, nUnits: number): SeenNote | undefined {
  try {
    const note = beginningOf(line, kind) ?? (JSON.parse(line.toString("utf8")) as SeenNote);
    const { unit } = note;
    return Number.isInteger(unit) && unit >= 0 && unit < nUnits ? note : undefined;
  } catch {
    return undefined;
  }
}

/** The first fields of a note: reading all of 100 000 long lines would take seconds. */
function beginningOf(line: Buffer, kind: UnitNoteKind): SeenNote | undefined {
  if (line.at(-1) !== CLOSING_BRACE) return undefined;
  const match = beginnings[kind]?.exec(line.toString("latin1", 0, BEGINNING_BYTES));
  if (!match) return undefined;
  const [, unit, types, primary] = match;
  return {
    unit: Number(unit),
    ...(types !== undefined && { types: JSON.parse(types) as unknown }),
    ...(primary !== undefined && { primary: JSON.parse(primary) as unknown }),
  };
}

/** When and how long each kind of notes was written: changes where a file does. */
export async function unitNotesStamp(folder: string): Promise<string> {
  const stamps = await Promise.all(
    unitNoteKinds.map((kind) =>
      stat(join(folder, `${kind}.jsonl`)).then(
        ({ mtimeMs, size }) => `${mtimeMs}:${size}`,
        () => "",
      ),
    ),
  );
  return stamps.join(" ");
}
