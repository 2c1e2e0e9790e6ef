import { DataError, FormatError, type Tensor, tensor } from "@penfield/core";
import { decodeText, readBytes } from "../text.ts";
import type { RecordedEvent } from "../types.ts";

interface TsvTable {
  readonly file: string;
  readonly columns: readonly string[];
  readonly rows: readonly { readonly cells: readonly string[]; readonly line: number }[];
}

/** BIDS' tables have tabs and no escapes: a backslash in a file's path is a backslash. */
async function readTsv(input: string | Uint8Array, doing: string): Promise<TsvTable> {
  const file = typeof input === "string" ? input : "table";
  const bytes = typeof input === "string" ? await readBytes(input, doing) : input;
  const [header, ...rows] = decodeText(bytes, file)
    .split("\n")
    .map((text, i) => ({ cells: text.split("\t").map((cell) => cell.trim()), line: i + 1, text }))
    .filter(({ text }) => text.trim() !== "");
  if (header === undefined || rows.length === 0) {
    throw new DataError(
      `${doing}: ${file}: expected a header and at least one row, got ${header ? "a header only" : "an empty file"}`,
    );
  }
  const columns = header.cells;
  const twice = columns.find((name, i) => columns.indexOf(name) !== i);
  if (twice !== undefined) {
    throw new FormatError(
      `${doing}: ${file}: line ${header.line}: expected each column once, got ${JSON.stringify(twice)} twice`,
    );
  }
  for (const { cells, line } of rows) {
    if (cells.length !== columns.length) {
      throw new FormatError(
        `${doing}: ${file}: line ${line}: expected ${columns.length} cells, apart by tabs, as in the header, got ${cells.length}`,
      );
    }
  }
  return { file, columns, rows };
}

const isMissing = (cell: string): boolean => cell === "n/a" || cell === "";

/** An events table, read. */
export interface EventsTable {
  /** In the file's order. */
  readonly events: readonly RecordedEvent[];
  /** All columns of the file. */
  readonly columns: readonly string[];
  /** How many durations are n/a; they are taken as 0. */
  readonly nUnknownDurations: number;
}

/**
 * Reads a BIDS `_events.tsv`: `onset` and `duration` in seconds, and any further columns, kept as text.
 *
 * @param input - The file, or its bytes.
 * @param options.typeColumn - What becomes the events' type. Default `trial_type`; where the file has no such
 *   column the type is "event".
 * @returns Events with their further columns; `n/a` stays `n/a` there.
 * @throws {FileError} if the file cannot be read.
 * @throws {DataError} if `onset`, `duration` or the given type column is missing, or there is no row.
 * @throws {FormatError} with the line, if an onset or duration is not a number, a duration is negative, or a
 *   row has more or fewer cells than the header.
 * Source: BIDS 1.10, task events.
 *
 * @example
 * const table = await readEventsTable(new TextEncoder().encode("onset\tduration\ttrial_type\n15\t22.5\tface\n"));
 * table.events[0].onset // => 15
 * table.events[0].type // => "face"
 */
export async function readEventsTable(
  input: string | Uint8Array,
  { typeColumn }: { typeColumn?: string | undefined } = {},
): Promise<EventsTable> {
  const doing = "readEventsTable";
  const { file, columns, rows } = await readTsv(input, doing);
  for (const name of ["onset", "duration", ...(typeColumn === undefined ? [] : [typeColumn])]) {
    if (!columns.includes(name)) {
      throw new DataError(
        `${doing}: ${file}: expected a column ${JSON.stringify(name)}, got the columns ${columns.join(", ")}`,
        { hint: "BIDS events are tables with tabs: onset, duration, trial_type." },
      );
    }
  }
  const at = (name: string): number => columns.indexOf(name);
  const typeAt = at(typeColumn ?? "trial_type");
  const others = columns
    .map((name, i) => ({ name, i }))
    .filter(({ name, i }) => name !== "onset" && name !== "duration" && i !== typeAt);
  let nUnknownDurations = 0;
  const events = rows.map(({ cells, line }): RecordedEvent => {
    const wrong = (expected: string, got: string): FormatError =>
      new FormatError(
        `${doing}: ${file}: line ${line}: expected ${expected}, got ${JSON.stringify(got)}`,
      );
    const seconds = (name: string): number => {
      const cell = cells[at(name)]!;
      const value = cell === "" ? Number.NaN : Number(cell);
      if (!Number.isFinite(value)) throw wrong(`${name} as a number of seconds`, cell);
      return value;
    };
    const isUnknown = isMissing(cells[at("duration")]!);
    if (isUnknown) nUnknownDurations++;
    const duration = isUnknown ? 0 : seconds("duration");
    if (duration < 0) throw wrong("a duration of at least 0", cells[at("duration")]!);
    return {
      onset: seconds("onset"),
      duration,
      type: typeAt < 0 ? "event" : cells[typeAt]!,
      columns:
        others.length === 0
          ? undefined
          : Object.fromEntries(others.map(({ name, i }) => [name, cells[i]!])),
    };
  });
  return { events, columns, nUnknownDurations };
}

/** Regressors of no interest, one row per sample. */
export interface Confounds {
  readonly names: readonly string[];
  /** `[nTimes, nConfounds]`, float64. */
  readonly data: Tensor<readonly ["time", "confound"]>;
  /** Columns whose first value was n/a (derivatives have none there) and is 0 here. */
  readonly zeroedFirst: readonly string[];
}

const MOTION = ["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"] as const;

/**
 * Reads columns of a confounds table (fMRIPrep's `_desc-confounds_timeseries.tsv`, or any table of numbers
 * with tabs and a header).
 *
 * @param input - The file, or its bytes.
 * @param options.columns - Names, or patterns with `*` and `?`, such as `a_comp_cor_0*`; in this order, each
 *   column once. Default: the six motion parameters.
 * @returns An n/a in the first row becomes 0, as derivatives have no value there; `zeroedFirst` says where.
 * @throws {FileError} if the file cannot be read.
 * @throws {DataError} if a name or pattern matches no column, or a value is n/a after the first row.
 * @throws {FormatError} with line and column, if a cell is not a number.
 *
 * @example
 * const table = new TextEncoder().encode("rot_x\tfd\n0.5\tn/a\n0.25\t1\n");
 * const { data, zeroedFirst } = await readConfounds(table, { columns: ["*"] });
 * data.data // => [0.5, 0, 0.25, 1]
 * zeroedFirst // => ["fd"]
 */
export async function readConfounds(
  input: string | Uint8Array,
  { columns: patterns = MOTION }: { columns?: readonly string[] | undefined } = {},
): Promise<Confounds> {
  const doing = "readConfounds";
  const { file, columns, rows } = await readTsv(input, doing);
  const names = [...new Set(patterns.flatMap((pattern) => matching(pattern, columns, file)))];
  const zeroedFirst: string[] = [];
  const data = new Float64Array(rows.length * names.length);
  names.forEach((name, c) => {
    const at = columns.indexOf(name);
    rows.forEach(({ cells, line }, t) => {
      const cell = cells[at]!;
      const where = `${doing}: ${file}: line ${line}, column ${JSON.stringify(name)}`;
      if (isMissing(cell)) {
        if (t > 0) {
          throw new DataError(`${where}: expected a number, got n/a`, {
            hint: "Only the first sample of a derivative may be missing; leave the column out.",
          });
        }
        zeroedFirst.push(name);
        return;
      }
      const value = Number(cell);
      if (!Number.isFinite(value)) {
        throw new FormatError(`${where}: expected a number, got ${JSON.stringify(cell)}`);
      }
      data[t * names.length + c] = value;
    });
  });
  return {
    names,
    data: tensor(data, ["time", "confound"], [rows.length, names.length]),
    zeroedFirst,
  };
}

function matching(pattern: string, columns: readonly string[], file: string): readonly string[] {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replace(/\*+/g, ".*")
    .replace(/\?/g, ".");
  const found = columns.filter((name) => new RegExp(`^${source}$`).test(name));
  if (found.length === 0) {
    throw new DataError(
      `readConfounds: ${file}: expected a column that matches ${JSON.stringify(pattern)}, got ${columns.slice(0, 12).join(", ")}${columns.length > 12 ? `, ... (${columns.length})` : ""}`,
    );
  }
  return found;
}
