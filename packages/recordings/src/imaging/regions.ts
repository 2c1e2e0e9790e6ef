import { extname } from "node:path";
import { DataError, FormatError } from "@penfield/core";
import { column, parseTable } from "../table.ts";
import { decodeText, readBytes } from "../text.ts";
import type { Target } from "../types.ts";

/** Names of an atlas' numbers: a table (TSV, CSV) or JSON file, or the names themselves. */
export type RegionLabels = string | Readonly<Record<string, string>>;

/**
 * Reads a label table: TSV or CSV with the columns `index` (or `value`, `id`, `label`) and `name` (or
 * `label`, `region`), or JSON `{"1": "IFG"}`.
 *
 * @throws {FormatError} if an index is not a whole number or is there twice, or the JSON is something else.
 * @throws {DataError} if the columns are not there.
 */
export async function readLabels(
  labels: RegionLabels,
  doing: string,
): Promise<ReadonlyMap<number, string>> {
  if (typeof labels !== "string") return fromPairs(Object.entries(labels), `${doing}: labels`);
  const text = decodeText(await readBytes(labels, doing), labels);
  if (extname(labels).toLowerCase() === ".json") {
    return fromPairs(jsonPairs(text, `${doing}: ${labels}`), `${doing}: ${labels}`);
  }
  const table = parseTable(text, { file: labels });
  const has = (name: string) => table.columns.includes(name);
  const index = ["index", "value", "id", "label"].find(has) ?? "index";
  const name = ["name", "label", "region"].find((n) => has(n) && n !== index) ?? "name";
  const keys = column(table, index, labels);
  const names = column(table, name, labels);
  return fromPairs(
    keys.map((key, row) => [key, names[row]!] as const),
    `${doing}: ${labels}`,
  );
}

function jsonPairs(text: string, where: string): readonly (readonly [string, string])[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new FormatError(`${where}: expected JSON, got ${(cause as Error).message}`, { cause });
  }
  const pairs = typeof value === "object" && value !== null ? Object.entries(value) : [];
  const bad = pairs.find(([, name]) => typeof name !== "string");
  if (pairs.length === 0 || Array.isArray(value) || bad) {
    throw new FormatError(
      `${where}: expected an object of names by number, got ${bad ? `${bad[0]}: ${JSON.stringify(bad[1])}` : text.slice(0, 40)}`,
      { hint: 'For example {"1": "IFG", "2": "MTG"}.' },
    );
  }
  return pairs as [string, string][];
}

function fromPairs(
  pairs: Iterable<readonly [string, string]>,
  where: string,
): ReadonlyMap<number, string> {
  const names = new Map<number, string>();
  for (const [key, name] of pairs) {
    const index = key.trim() === "" ? Number.NaN : Number(key);
    if (!Number.isInteger(index)) {
      throw new FormatError(
        `${where}: expected whole numbers as indices, got ${JSON.stringify(key)}`,
      );
    }
    if (names.has(index)) {
      throw new FormatError(`${where}: expected each index once, got ${index} twice`);
    }
    names.set(index, name);
  }
  if (names.size === 0) throw new DataError(`${where}: expected at least one label, got none`);
  return names;
}

/** The name of an atlas' number: that of the table, or the number itself; 0 and NaN are no region. */
export function regionName(
  value: number,
  names: ReadonlyMap<number, string> | undefined,
): string | undefined {
  if (value === 0 || Number.isNaN(value)) return undefined;
  return names?.get(value) ?? String(value);
}

/** One target per region; where a name stands for several numbers (left and right), the number joins it. */
export function regionTargets(
  values: readonly number[],
  nameOf: (value: number) => string | undefined,
  subject: string | undefined,
): readonly Target[] {
  const names = values.map((value) => nameOf(value) ?? String(value));
  return names.map((region, r) => ({
    id: names.indexOf(region) === names.lastIndexOf(region) ? region : `${region}_${values[r]}`,
    region,
    subject,
    kind: "region",
  }));
}
