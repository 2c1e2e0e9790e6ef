import { FormatError } from "@penfield/core";

/** What a cell holds; null is an absent value. */
export type Cell = string | number | null;

/** Columns with names, and rows of as many cells. */
export interface Table {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
}

const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

/**
 * A table as the bytes of a CSV file: RFC 4180, UTF-8, a header line, CRLF line ends.
 *
 * Numbers are written in their shortest exact form, NaN and Infinity as an absent value, absent
 * values as nothing at all, and text in quotes wherever it could be taken for something else, so that
 * `readTable` gives back what was written. This function is the one place that would change
 * if tables became Parquet.
 *
 * @throws {FormatError} if column names repeat or are empty, or a row has another number of cells.
 *
 * @example
 * new TextDecoder().decode(writeTable({ columns: ["unit", "t"], rows: [[7, 2.5]] })) // => "unit,t\r\n7,2.5\r\n"
 */
export function writeTable({ columns, rows }: Table): Uint8Array {
  checkColumns(columns, "writeTable");
  const lines = rows.map((row, i) => {
    if (row.length !== columns.length) {
      throw new FormatError(
        `writeTable: row ${i}: expected ${columns.length} cells, got ${row.length}`,
      );
    }
    return row.map(written).join(",");
  });
  return new TextEncoder().encode([columns.map(written).join(","), ...lines, ""].join("\r\n"));
}

function written(cell: Cell): string {
  if (cell === null) return "";
  if (typeof cell === "number") return Number.isFinite(cell) ? String(cell) : "";
  const plain = cell !== "" && !/[",\r\n]/.test(cell) && !NUMBER.test(cell);
  return plain ? cell : `"${cell.replaceAll('"', '""')}"`;
}

/**
 * Reads a CSV file as `writeTable` writes it; LF line ends are taken too.
 *
 * An unquoted cell that looks like a number is a number, an unquoted empty one is null, every other
 * one is text.
 *
 * @param name - How error messages call it.
 * @throws {FormatError} with the line, if quotes do not close or a row has another number of cells.
 *
 * @example
 * readTable(new TextEncoder().encode('a,b\n1,"x, y"\n')).rows[0] // => [1, "x, y"]
 */
export function readTable(bytes: Uint8Array, name = "table.csv"): Table {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new FormatError(`readTable: ${name}: expected UTF-8 text, got other bytes`, { cause });
  }
  const lines: Cell[][] = [];
  let row: Cell[] = [];
  let line = 1;
  const fail = (expected: string, got: string): never => {
    throw new FormatError(`readTable: ${name}: line ${line}: expected ${expected}, got ${got}`);
  };
  // One cell, quoted or plain, and what ends it.
  const cell = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/y;
  while (cell.lastIndex < text.length || row.length > 0) {
    const start = cell.lastIndex;
    const match = cell.exec(text);
    if (!match) {
      const got = JSON.stringify(text.slice(start, start + 20));
      throw new FormatError(
        `readTable: ${name}: line ${line}: expected a cell with closed quotes, got ${got}`,
      );
    }
    const [whole, quoted, plain = "", end] = match;
    row.push(quoted === undefined ? readPlain(plain) : quoted.replaceAll('""', '"'));
    if (end !== ",") {
      const width = lines[0]?.length ?? row.length;
      if (row.length !== width) fail(`${width} cells`, String(row.length));
      lines.push(row);
      row = [];
    }
    line += whole.split("\n").length - 1;
    if (end === "") break;
  }
  const [columns, ...rows] = lines;
  if (!columns) return fail("a header", "an empty file");
  const names = columns.map((column) => (column === null ? "" : String(column)));
  checkColumns(names, `readTable: ${name}`);
  return { columns: names, rows };
}

const readPlain = (text: string): Cell =>
  text === "" ? null : NUMBER.test(text) && Number.isFinite(Number(text)) ? Number(text) : text;

function checkColumns(columns: readonly string[], where: string): void {
  if (columns.length === 0 || columns.includes("") || new Set(columns).size < columns.length) {
    throw new FormatError(
      `${where}: expected column names, each of them once, got ${JSON.stringify(columns).slice(0, 200)}`,
    );
  }
}
