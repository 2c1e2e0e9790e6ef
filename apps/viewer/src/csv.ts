import type { Cell, Table } from "@penfield/report";

const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
/** How text begins that a spreadsheet would take for a formula and run. */
const FORMULA = /^[=+\-@\t\r]/;

/**
 * A table as a CSV file to download: RFC 4180, UTF-8, a header line, CRLF line ends.
 *
 * Numbers stand in their shortest exact form, absent values (NaN and Infinity too) as nothing at all, and text in
 * quotes wherever it could be taken for something else. Text that begins with = + - @, a tab or a carriage
 * return gets an apostrophe before it, so that a spreadsheet shows it and does not compute it; numbers
 * never do. The exact text is in the report's own files.
 */
export function csvText({ columns, rows }: Table): string {
  const lines = [columns, ...rows].map((row) => row.map(written).join(","));
  return [...lines, ""].join("\r\n");
}

function written(cell: Cell): string {
  if (cell === null) return "";
  if (typeof cell === "number") return Number.isFinite(cell) ? String(cell) : "";
  const text = FORMULA.test(cell) ? `'${cell}` : cell;
  const plain = text !== "" && !/[",\r\n]/.test(text) && !NUMBER.test(text);
  return plain ? text : `"${text.replaceAll('"', '""')}"`;
}
