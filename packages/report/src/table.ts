import { FormatError } from "@penfield/core";
import { parquetRead } from "hyparquet";
import { type ColumnSource, parquetWriteBuffer } from "hyparquet-writer";
import { checkParquet } from "./parquet.ts";

/** What a cell holds; null is an absent value. */
export type Cell = string | number | null;

/** Columns with names, and rows of as many cells; the cells of a column are all text or all numbers. */
export interface Table {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
}

/** So many cells at most: what a hostile file can make a reader allocate. */
const MAX_CELLS = 2 ** 24;

/** Text that no UTF-8 can hold: half of a surrogate pair. */
const HALF_PAIR = /\p{Surrogate}/u;

/**
 * A table as the bytes of a Parquet file. Equal tables give equal bytes; there is no timestamp.
 *
 * A column of text is written as UTF8. A column of numbers is INT32 if all are whole and fit, INT64 if
 * all are whole and exact (up to 2^53 - 1), and DOUBLE otherwise; -0 counts as not whole, so that it
 * stays -0. NaN and Infinity become null, as everywhere in a report. A column without any value
 * (all null, or no rows) is DOUBLE. Every column may hold nulls. One row group, plain encoding,
 * no compression: any reader opens it, and nothing in it can unfold.
 *
 * @throws {FormatError} if column names repeat or are empty, a row has another number of cells, a column
 *   holds both text and numbers, text is not well-formed Unicode, or there are more than 2^24 cells.
 *
 * Source: the Apache Parquet format, https://parquet.apache.org/docs/file-format/.
 *
 * @example
 * new TextDecoder().decode(writeTable({ columns: ["unit", "t"], rows: [[7, 2.5]] }).slice(0, 4)) // => "PAR1"
 */
export function writeTable({ columns, rows }: Table): Uint8Array {
  checkColumns(columns, "writeTable");
  checkSize(rows.length, columns.length, "writeTable");
  for (const [i, row] of rows.entries()) {
    if (row.length !== columns.length) {
      throw new FormatError(
        `writeTable: row ${i}: expected ${columns.length} cells, got ${row.length}`,
      );
    }
  }
  const columnData = columns.map((name, c) =>
    typedColumn(
      name,
      rows.map((row) => row[c]!),
    ),
  );
  const bytes = new Uint8Array(
    parquetWriteBuffer({
      columnData,
      codec: "UNCOMPRESSED",
      statistics: false,
      rowGroupSize: Math.max(rows.length, 1),
      createdBy: "penfield",
    }),
  );
  checkParquet(bytes, "writeTable");
  return bytes;
}

function typedColumn(name: string, cells: readonly Cell[]): ColumnSource {
  const data = cells.map((cell) =>
    typeof cell === "number" && !Number.isFinite(cell) ? null : cell,
  );
  const common = { name, nullable: true, encoding: "PLAIN", offsetIndex: false } as const;
  const values = data.filter((cell) => cell !== null);
  const texts = values.filter((cell) => typeof cell === "string");
  if (texts.length > 0) {
    if (texts.length < values.length) {
      throw new FormatError(
        `writeTable: column ${JSON.stringify(name)}: expected only text or only numbers, got both`,
      );
    }
    if (texts.some((text) => HALF_PAIR.test(text))) {
      throw new FormatError(
        `writeTable: column ${JSON.stringify(name)}: expected well-formed Unicode, got half of a surrogate pair`,
      );
    }
    return { ...common, type: "STRING", data };
  }
  const numbers = values as number[];
  const all = (test: (x: number) => boolean) => numbers.length > 0 && numbers.every(test);
  if (all((x) => Object.is(x | 0, x))) return { ...common, type: "INT32", data };
  if (all((x) => Number.isSafeInteger(x) && !Object.is(x, -0))) {
    return { ...common, type: "INT64", data: data.map((x) => (x === null ? null : BigInt(x))) };
  }
  return { ...common, type: "DOUBLE", data };
}

/**
 * Reads a Parquet file as `writeTable` writes it: what was written comes back exactly, -0 included.
 *
 * The file is not trusted: its layout and every size in it are checked before anything is decoded, and
 * a file of another layout (compressed, nested, of other types) is refused although it may be
 * good Parquet.
 *
 * @param name - How error messages call it.
 * @throws {FormatError} if it is not such a file, is damaged, or has more than 2^24 cells.
 *
 * @example
 * (await readTable(writeTable({ columns: ["unit", "hook"], rows: [[7, "mlp"]] }))).rows[0] // => [7, "mlp"]
 */
export async function readTable(bytes: Uint8Array, name = "table.parquet"): Promise<Table> {
  const where = `readTable: ${name}`;
  const { columns, nRows } = checkParquet(bytes, where, (rows, cells) =>
    checkSize(rows, cells, where),
  );
  checkColumns(columns, where);
  const rows = await decode(bytes, where);
  if (rows.length !== nRows) {
    throw new FormatError(`${where}: expected ${nRows} rows, got ${rows.length}`);
  }
  return {
    columns,
    rows: rows.map((row) => columns.map((_, c) => readCell(row[c], where))),
  };
}

async function decode(bytes: Uint8Array, where: string): Promise<readonly unknown[][]> {
  const buffer = bytes.slice().buffer;
  const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let rows: readonly unknown[][] = [];
  try {
    await parquetRead({
      file: { byteLength: buffer.byteLength, slice: (start, end) => buffer.slice(start, end) },
      geoparquet: false,
      parsers: { stringFromBytes: (text) => utf8.decode(text) },
      onComplete: (read) => {
        rows = read;
      },
    });
  } catch (cause) {
    const { message } = cause as Error;
    throw new FormatError(`${where}: expected a sound Parquet file, got: ${message}`, { cause });
  }
  return rows;
}

function readCell(cell: unknown, where: string): Cell {
  if (cell === null || typeof cell === "string") return cell;
  const number = typeof cell === "bigint" ? Number(cell) : cell;
  const exact = typeof cell !== "bigint" || Number.isSafeInteger(number);
  if (typeof number === "number" && Number.isFinite(number) && exact) return number;
  throw new FormatError(
    `${where}: expected text, finite exact numbers and nulls, got ${String(cell)}`,
  );
}

function checkColumns(columns: readonly string[], where: string): void {
  // A byte order mark at the start of a name would be lost in reading.
  const odd = (name: string) => name === "" || name.startsWith("\ufeff") || HALF_PAIR.test(name);
  if (columns.length === 0 || columns.some(odd) || new Set(columns).size < columns.length) {
    throw new FormatError(
      `${where}: expected column names, each of them once, got ${JSON.stringify(columns).slice(0, 200)}`,
    );
  }
}

function checkSize(nRows: number, nColumns: number, where: string): void {
  if (nRows * nColumns > MAX_CELLS) {
    throw new FormatError(
      `${where}: expected at most ${MAX_CELLS} cells, got ${nRows} rows of ${nColumns}`,
    );
  }
}
