import { DataError, FormatError } from "@penfield/core";

/** One object of a JSON Lines file, and where it stands. */
export interface JsonLine {
  readonly value: Readonly<Record<string, unknown>>;
  /** Counted from 1. */
  readonly line: number;
}

/**
 * Reads a file with one JSON object a line; blank lines are skipped.
 *
 * @throws {FormatError} with the line, if one is not a JSON object.
 * @throws {DataError} if there is none.
 */
export function parseJsonLines(text: string, file: string): readonly JsonLine[] {
  const out: JsonLine[] = [];
  text.split("\n").forEach((raw, i) => {
    if (raw.trim() === "") return;
    let value: unknown;
    try {
      value = JSON.parse(raw);
    } catch (cause) {
      throw new FormatError(
        `parseJsonLines: ${file}: line ${i + 1}: expected a JSON object, got ${JSON.stringify(raw.slice(0, 60))}`,
        { cause },
      );
    }
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new FormatError(
        `parseJsonLines: ${file}: line ${i + 1}: expected a JSON object, got ${JSON.stringify(value)?.slice(0, 60)}`,
      );
    }
    out.push({ value: value as Record<string, unknown>, line: i + 1 });
  });
  if (out.length === 0) {
    throw new DataError(`parseJsonLines: ${file}: expected at least one object, got an empty file`);
  }
  return out;
}

/** The text under a key of a line. */
export function textOf({ value, line }: JsonLine, key: string, file: string): string {
  const text = value[key];
  if (typeof text !== "string" || text.trim() === "") {
    throw new DataError(
      `${file}: line ${line}: expected a text under ${JSON.stringify(key)}, got ${text === undefined ? "no such key" : JSON.stringify(text)}`,
    );
  }
  return text;
}
