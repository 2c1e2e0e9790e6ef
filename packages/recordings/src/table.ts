import { DataError, FormatError } from "@penfield/core";

/** A table as text: every cell is a string, so that ids such as "nan", "null" or "007" stay what they are. */
export interface Table {
  readonly columns: readonly string[];
  /** One array of cells per row, as many as there are columns. */
  readonly rows: readonly (readonly string[])[];
  /** The line of the file on which each row starts, counted from 1. */
  readonly lines: readonly number[];
}

/** What separates the cells of a table. */
export type Delimiter = "tab" | "comma" | "space";

/**
 * Reads a table with a header line. Cells are never turned into numbers or missing values here.
 *
 * Tab-separated: in a cell `\n`, `\t` and `\\` stand for a line break, a tab and a backslash.
 * Comma-separated: cells may be quoted, with `""` for a quote (RFC 4180). Space-separated: runs of
 * spaces or tabs part the cells.
 *
 * @param text - The whole file, line ends "\n".
 * @param options.file - How error messages call it.
 * @param options.delimiter - Default: tab if the header has one, else comma if it has one, else space.
 * @throws {DataError} if there is no row below the header.
 * @throws {FormatError} with the line, if a row has more or fewer cells than the header, a quoted cell
 *   does not end, or two columns have one name.
 *
 * @example
 * parseTable("id,text\na,\"one, two\"\n").rows[0][1] // => "one, two"
 */
export function parseTable(
  text: string,
  { file = "table", delimiter }: { file?: string; delimiter?: Delimiter | undefined } = {},
): Table {
  const header = text.slice(0, text.indexOf("\n") < 0 ? text.length : text.indexOf("\n"));
  const kind =
    delimiter ?? (header.includes("\t") ? "tab" : header.includes(",") ? "comma" : "space");
  const records = kind === "comma" ? quotedRecords(text, file) : plainRecords(text, kind);
  const [first, ...rest] = records;
  if (first === undefined || rest.length === 0) {
    throw new DataError(
      `parseTable: ${file}: expected a header and at least one row, got ${first === undefined ? "an empty file" : "a header only"}`,
    );
  }
  const columns = first.cells.map((name) => name.trim());
  const twice = columns.find((name, i) => columns.indexOf(name) !== i);
  if (twice !== undefined) {
    throw new FormatError(
      `parseTable: ${file}: line ${first.line}: expected each column once, got ${JSON.stringify(twice)} twice`,
    );
  }
  for (const { cells, line } of rest) {
    if (cells.length !== columns.length) {
      throw new FormatError(
        `parseTable: ${file}: line ${line}: expected ${columns.length} cells as in the header, got ${cells.length}`,
        kind === "tab" ? { hint: "Write a tab inside a cell as \\t, a line break as \\n." } : {},
      );
    }
  }
  return { columns, rows: rest.map((r) => r.cells), lines: rest.map((r) => r.line) };
}

/** The cells of the named column. */
export function column(table: Table, name: string, file: string): readonly string[] {
  const at = table.columns.indexOf(name);
  if (at < 0) {
    throw new DataError(
      `${file}: expected a column ${JSON.stringify(name)}, got the columns ${table.columns.slice(0, 8).join(", ")}${table.columns.length > 8 ? ", ..." : ""}`,
    );
  }
  return table.rows.map((cells) => cells[at]!);
}

interface TextRecord {
  readonly cells: readonly string[];
  readonly line: number;
}

function plainRecords(text: string, kind: "tab" | "space"): readonly TextRecord[] {
  const split =
    kind === "tab"
      ? (line: string) => line.split("\t").map(unescapeCell)
      : (line: string) => line.trim().split(/[ \t]+/);
  return text
    .split("\n")
    .map((line, i) => ({ text: line, line: i + 1 }))
    .filter(({ text }) => text.trim() !== "")
    .map(({ text, line }) => ({ cells: split(text), line }));
}

const ESCAPES: Record<string, string> = { n: "\n", t: "\t", "\\": "\\" };

function unescapeCell(cell: string): string {
  return cell.replace(/\\([nt\\])/g, (_, letter: string) => ESCAPES[letter]!);
}

function quotedRecords(text: string, file: string): readonly TextRecord[] {
  const records: TextRecord[] = [];
  let cells: string[] = [];
  let line = 1;
  let start = 1;
  let at = 0;
  while (at < text.length) {
    let cell: string;
    if (text[at] === '"') {
      const closed = closingQuote(text, at);
      if (closed < 0) {
        throw new FormatError(
          `parseTable: ${file}: line ${line}: expected a closing quote, got the end of the file`,
        );
      }
      const raw = text.slice(at + 1, closed);
      line += raw.split("\n").length - 1;
      cell = raw.replaceAll('""', '"');
      at = closed + 1;
      if (at < text.length && text[at] !== "," && text[at] !== "\n") {
        throw new FormatError(
          `parseTable: ${file}: line ${line}: expected a comma after a quoted cell, got ${JSON.stringify(text[at])}`,
        );
      }
    } else {
      let end = at;
      while (end < text.length && text[end] !== "," && text[end] !== "\n") end++;
      cell = text.slice(at, end);
      at = end;
    }
    cells.push(cell);
    if (text[at] === ",") {
      at++;
      // A comma at the very end of the file or line leaves one more, empty cell.
      if (at < text.length) continue;
      cells.push("");
    }
    if (cells.length > 1 || cells[0]!.trim() !== "") records.push({ cells, line: start });
    cells = [];
    at++;
    line++;
    start = line;
  }
  return records;
}

function closingQuote(text: string, opening: number): number {
  let at = text.indexOf('"', opening + 1);
  while (at >= 0 && text[at + 1] === '"') at = text.indexOf('"', at + 2);
  return at;
}
