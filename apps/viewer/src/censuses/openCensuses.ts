import { stat } from "node:fs/promises";
import { join } from "node:path";
import {
  type Census,
  type CensusHookMeta,
  type CensusMeta,
  openCensus,
  openTokenReader,
  openUnitNotes,
  type TokenReader,
  type UnitNoteKind,
  type UnitNotes,
  unitNoteKinds,
  unitNotesStamp,
} from "@penfield/localize/census-reader";
import { censusFolder, readMeta } from "./findCensus.ts";
import { PatternThread } from "./timedRegex.ts";
import { UnitIndex, UnitIndexMaker } from "./unitIndex.ts";

/** A census that the viewer has open. */
export interface OpenCensus {
  readonly id: string;
  /** "/censuses/ID". */
  readonly base: string;
  readonly folder: string;
  readonly meta: CensusMeta;
  readonly census: Census;
  readonly tokens: TokenReader;
  readonly notes: Readonly<Partial<Record<UnitNoteKind, UnitNotes>>>;
  readonly index: UnitIndex;
}

/** So many stay open; the one that was not used for longest is closed. */
const MAX_OPEN = 4;

/** Keeps the censuses open that are being looked at; one is read anew when its files have changed. */
export class OpenCensuses {
  readonly #folder: string;
  readonly #patterns = new PatternThread();
  readonly #open = new Map<
    string,
    { readonly stamp: string; readonly made: Promise<OpenCensus> }
  >();

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** @returns undefined if there is no such census. @throws {PenfieldError} if it cannot be read. */
  async get(id: string): Promise<OpenCensus | undefined> {
    const folder = await censusFolder(this.#folder, id);
    if (folder === undefined) return undefined;
    const { mtimeMs, size } = await stat(join(folder, "meta.json"));
    const stamp = `${mtimeMs}:${size} ${await unitNotesStamp(folder)}`;
    let found = this.#open.get(id);
    if (found?.stamp !== stamp) {
      if (found) closeLater(found.made);
      const made = openOne(id, folder, this.#patterns);
      found = { stamp, made };
      made.catch(() => {
        if (this.#open.get(id)?.made === made) this.#open.delete(id);
      });
    }
    // Last used, last in the map.
    this.#open.delete(id);
    this.#open.set(id, found);
    for (const [other, { made }] of this.#open) {
      if (this.#open.size <= MAX_OPEN) break;
      this.#open.delete(other);
      closeLater(made);
    }
    return found.made;
  }
}

/** Requests that are being answered still read. */
function closeLater(made: Promise<OpenCensus>): void {
  const close = async (): Promise<void> => {
    const { census, tokens, notes, index } = await made;
    await Promise.all([
      index.close(),
      census.close(),
      tokens.close(),
      ...Object.values(notes).map((note) => note.close()),
    ]);
  };
  setTimeout(() => void close().catch(() => {}), 10_000).unref();
}

async function openOne(id: string, folder: string, patterns: PatternThread): Promise<OpenCensus> {
  const meta = await readMeta(folder);
  const census = await openCensus(folder);
  const tokens = await openTokenReader(folder);
  const maker = new UnitIndexMaker(meta.nUnits);
  const notes: Partial<Record<UnitNoteKind, UnitNotes>> = {};
  for (const kind of unitNoteKinds) {
    const look =
      kind === "descriptions"
        ? maker.addDescription
        : kind === "classes"
          ? maker.addClass
          : undefined;
    const opened = await openUnitNotes(folder, kind, meta.nUnits, look);
    if (opened) notes[kind] = opened;
  }
  return {
    id,
    base: `/censuses/${encodeURIComponent(id)}`,
    folder,
    meta,
    census,
    tokens,
    notes,
    index: await UnitIndex.of(census, maker, notes.classes !== undefined, patterns),
  };
}

/** How addresses name a hook point: by its layer where no other one has the same, by its name otherwise. */
export function hookKey(meta: CensusMeta, hook: CensusHookMeta): string {
  const alone =
    hook.layer !== null && meta.hooks.filter(({ layer }) => layer === hook.layer).length === 1;
  return alone ? String(hook.layer) : hook.name;
}

export function hookOf(meta: CensusMeta, key: string): CensusHookMeta | undefined {
  return (
    meta.hooks.find(({ name }) => name === key) ??
    (/^\d{1,7}$/.test(key) ? meta.hooks.find(({ layer }) => layer === Number(key)) : undefined)
  );
}

/** "3.17": a unit as people write it. */
export function unitName(
  { meta, census }: Pick<OpenCensus, "meta" | "census">,
  unit: number,
): string {
  const { hook, index } = census.place(unit);
  return `${hookKey(meta, hook)}.${index}`;
}

/** The unit of "3.17" or "blocks.3.mlp.hook_post.17"; undefined if there is none. */
export function unitOf(meta: CensusMeta, name: string): number | undefined {
  const [, key, digits] = /^(.{1,200})\.(\d{1,9})$/.exec(name) ?? [];
  const hook = key === undefined ? undefined : hookOf(meta, key);
  const index = Number(digits);
  return hook && index < hook.nUnits ? hook.firstUnit + index : undefined;
}

export function unitAddress(
  open: Pick<OpenCensus, "meta" | "census" | "base">,
  unit: number,
): string {
  const { hook, index } = open.census.place(unit);
  return `${open.base}/units/${encodeURIComponent(hookKey(open.meta, hook))}/${index}`;
}
