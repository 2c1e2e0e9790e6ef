import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { OpenCensus } from "./openCensuses.ts";
import { fieldsOf, listOf, numberOf } from "./untrusted.ts";

/** A unit and the one of another model that is most like it, by the correlation of their values on the same texts. */
interface Partner {
  readonly unit: number;
  readonly other: number;
  readonly r: number;
}

/** Partners of one census's units in another census, from its `neighbours.jsonl`. */
export interface Partners {
  /** From the most alike. */
  readonly best: readonly Partner[];
  /** Units that have notes at all. */
  readonly nNoted: number;
}

/** A larger file of notes is not read through for a page. */
const MAX_BYTES = 2 ** 29;

const known = new WeakMap<OpenCensus, Map<string, Promise<Partners | undefined>>>();

/** Read once, and kept as long as the census is open. @returns undefined without notes on the other census. */
export function partnersOf(open: OpenCensus, other: OpenCensus): Promise<Partners | undefined> {
  const own = known.get(open) ?? new Map<string, Promise<Partners | undefined>>();
  known.set(open, own);
  const key = `${other.id}/${other.meta.nUnits}`;
  let found = own.get(key);
  if (!found) {
    found = read(open, other);
    // A file that went away or cannot be read has no partners; the unit's pages say what is wrong.
    found.catch(() => own.delete(key));
    own.set(key, found);
  }
  return found.catch(() => undefined);
}

async function read(open: OpenCensus, other: OpenCensus): Promise<Partners | undefined> {
  if (!open.notes.neighbours) return undefined;
  const path = join(open.folder, "neighbours.jsonl");
  if ((await stat(path)).size > MAX_BYTES) return undefined;
  const best: Partner[] = [];
  let nNoted = 0;
  for await (const line of createInterface({ input: createReadStream(path) })) {
    const note = parsed(line);
    const unit = numberOf(note["unit"]);
    if (!isUnit(unit, open.meta.nUnits)) continue;
    nNoted++;
    let own: Partner | undefined;
    for (const item of listOf(note["neighbours"], 100)) {
      const { by, census, unit: at, r } = fieldsOf(item);
      const [place, value] = [numberOf(at), numberOf(r)];
      if (by !== "activation" || census !== other.id || value === null) continue;
      if (!isUnit(place, other.meta.nUnits) || (own && own.r >= value)) continue;
      own = { unit, other: place, r: value };
    }
    if (own) best.push(own);
  }
  if (best.length === 0) return undefined;
  return { best: best.sort((a, b) => b.r - a.r || a.unit - b.unit), nNoted };
}

const isUnit = (unit: number | null, nUnits: number): unit is number =>
  unit !== null && Number.isInteger(unit) && unit >= 0 && unit < nUnits;

function parsed(line: string): ReturnType<typeof fieldsOf> {
  try {
    return fieldsOf(JSON.parse(line));
  } catch {
    return {};
  }
}
