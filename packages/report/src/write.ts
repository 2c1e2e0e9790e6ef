import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { FormatError, fileError, type NpyArray, writeFolderAtomic, writeNpy } from "@penfield/core";
import { arrayShape, checkReport, reportFiles } from "./check.ts";
import { checkDestination } from "./destination.ts";
import { type Table, writeTable } from "./table.ts";
import type { Report } from "./types.ts";

/** Above this a report.json is neither written nor read: the numbers belong into arrays and tables. */
export const MAX_REPORT_BYTES: number = 16 * 2 ** 20;

/** An array to be kept beside a report. */
export interface ReportArray {
  readonly data: Exclude<NpyArray["data"], string[]>;
  readonly shape: readonly number[];
}

/**
 * The bytes of report.json: equal reports give equal bytes, whatever the order of their keys.
 *
 * Keys stand in the schema's order (settings: alphabetical), numbers in their shortest exact form.
 * NaN and Infinity become null; an interval with such an end becomes null as a whole.
 *
 * @throws {FormatError} naming the field, if the report does not fit the schema, contradicts itself, or
 *   is larger than 16 MiB.
 */
export function reportBytes(report: Report): Uint8Array {
  const checked = checkReport(tidy(report), "writeReport: report");
  const ordered = { ...checked, settings: sortKeys(checked.settings) };
  const bytes = new TextEncoder().encode(`${JSON.stringify(ordered, null, 1)}\n`);
  if (bytes.length > MAX_REPORT_BYTES) {
    throw new FormatError(
      `writeReport: report: expected at most ${MAX_REPORT_BYTES} bytes, got ${bytes.length}`,
      { hint: "Put long lists into arrays or tables." },
    );
  }
  return bytes;
}

/**
 * Writes a report's folder, whole or not at all: `report.json`, `arrays/*.npy`, `tables/*.parquet`,
 * `maps/*.nii.gz`.
 * Everything is checked before the first byte is written; same input, same bytes.
 *
 * @param folder - Must not exist, or be empty; `replace` allows an older report.
 * @param contents.arrays - By file name, exactly those that the report's sections name, in their sizes.
 * @param contents.tables - Likewise.
 * @param contents.maps - Likewise: the bytes of NIfTI files.
 * @throws {FormatError} naming the field or file that is wrong.
 * @throws {FileError} if the folder is in use or cannot be written.
 */
export async function writeReport(
  folder: string,
  {
    report,
    arrays = {},
    tables = {},
    maps = {},
  }: {
    readonly report: Report;
    readonly arrays?: Readonly<Record<string, ReportArray>>;
    readonly tables?: Readonly<Record<string, Table>>;
    readonly maps?: Readonly<Record<string, Uint8Array>>;
  },
  { replace = false }: { replace?: boolean } = {},
): Promise<void> {
  await checkDestination(folder, { replace });
  const files = new Map<string, Uint8Array>([["report.json", reportBytes(report)]]);
  for (const [name, { data, shape }] of Object.entries(arrays)) {
    checkShape(report, name, shape, "writeReport");
    files.set(`arrays/${name}`, writeNpy(data, shape));
  }
  for (const [name, table] of Object.entries(tables))
    files.set(`tables/${name}`, writeTable(table));
  for (const [name, bytes] of Object.entries(maps)) files.set(`maps/${name}`, bytes);
  checkFileList(reportFiles(report), [...files.keys()].slice(1));
  await writeFolderAtomic(
    folder,
    async (temporary) => {
      for (const [name, bytes] of files) {
        const path = join(temporary, name);
        try {
          await mkdir(join(path, ".."), { recursive: true });
          await writeFile(path, bytes);
        } catch (cause) {
          throw fileError("writeReport", path, cause);
        }
      }
    },
    { replace },
  );
}

function checkFileList(named: readonly string[], given: readonly string[]): void {
  const missing = named.find((file) => !given.includes(file));
  if (missing) {
    throw new FormatError(`writeReport: ${missing}: expected the file's content, got nothing`, {
      hint: "A section names this file; pass it in arrays, tables or maps.",
    });
  }
  const extra = given.find((file) => !named.includes(file));
  if (extra) {
    throw new FormatError(
      `writeReport: ${extra}: expected only files that the report names, got another`,
      { hint: "Name it in a section, or leave it out." },
    );
  }
}

/** Refuses an array whose sizes are not those that the report states for it. */
export function checkShape(
  report: Report,
  file: string,
  shape: readonly number[],
  where: string,
): void {
  const expected = arrayShape(report, file);
  if (expected && expected.join() !== shape.join()) {
    throw new FormatError(
      `${where}: arrays/${file}: expected the sizes [${expected.join(", ")}], got [${shape.join(", ")}]`,
    );
  }
}

/** Numbers as JSON can hold them; fields that are undefined are left out. */
function tidy(value: unknown, key = "", depth = 0): unknown {
  if (depth > 64) return value;
  if (typeof value === "number") return Number.isFinite(value) ? value + 0 : null;
  if (Array.isArray(value) || ArrayBuffer.isView(value)) {
    const items = Array.from(value as ArrayLike<unknown>, (item) => tidy(item, "", depth + 1));
    return key === "interval" && items.includes(null) ? null : items;
  }
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, inner]) => inner !== undefined)
      .map(([name, inner]) => [name, tidy(inner, name, depth + 1)]),
  );
}

function sortKeys(value: Report["settings"][string]): typeof value {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, sortKeys(inner)]),
  );
}
