import { lstat, readdir, readFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import {
  ArgumentError,
  FormatError,
  fileError,
  type NpyArray,
  PenfieldError,
  readNpy,
} from "@penfield/core";
import { checkReport, reportFiles } from "./check.ts";
import { readTable, type Table } from "./table.ts";
import type { Report } from "./types.ts";
import { checkShape, MAX_REPORT_BYTES } from "./write.ts";

const MAX_FILE_BYTES = 2 ** 30;

/**
 * Reads a report's `report.json` and makes sure that the files it names are there.
 *
 * Nothing in the folder is trusted: sizes and depth are limited, every field is checked, file names
 * cannot lead out of the folder, and symbolic links are refused.
 *
 * @throws {FormatError} naming the field or file that is wrong.
 * @throws {FileError} if the folder or its report.json cannot be read.
 */
export async function readReport(folder: string): Promise<Report> {
  const path = join(folder, "report.json");
  const bytes = await readPlainFile(path, MAX_REPORT_BYTES);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    const { message } = cause as Error;
    throw new FormatError(`readReport: ${path}: expected JSON in UTF-8, got: ${message}`, {
      cause,
      hint: "The file is damaged or was cut short; run the experiment again.",
    });
  }
  const report = checkReport(value, `readReport: ${path}`);
  for (const file of reportFiles(report)) {
    await checkPlainFolder(dirname(join(folder, file)));
    await checkPlainFile(join(folder, file), MAX_FILE_BYTES);
  }
  return report;
}

/**
 * Reads one of the arrays that a report names.
 *
 * @param name - As in the section, e.g. "selection.t.npy".
 * @throws {ArgumentError} if the report does not name it.
 * @throws {FormatError} if it is not a .npy file of the sizes that the report states.
 */
export async function readReportArray(
  folder: string,
  report: Report,
  name: string,
): Promise<NpyArray> {
  const path = namedFile(folder, report, `arrays/${name}`, "readReportArray");
  const array = readNpy(await readPlainFile(path, MAX_FILE_BYTES), path);
  checkShape(report, name, array.shape, `readReportArray: ${folder}`);
  return array;
}

/**
 * Reads one of the tables that a report names.
 *
 * @param name - As in the section, e.g. "units.parquet".
 * @throws {ArgumentError} if the report does not name it.
 * @throws {FormatError} if it is not such a table.
 */
export async function readReportTable(
  folder: string,
  report: Report,
  name: string,
): Promise<Table> {
  const path = namedFile(folder, report, `tables/${name}`, "readReportTable");
  return readTable(await readPlainFile(path, MAX_FILE_BYTES), path);
}

function namedFile(folder: string, report: Report, file: string, where: string): string {
  const files = reportFiles(report);
  if (!files.includes(file)) {
    throw new ArgumentError(
      `${where}: expected one of ${files.join(", ") || "no files"}, got ${file.slice(0, 200)}`,
    );
  }
  return join(folder, file);
}

/** One folder that holds a report, or should. */
export type ListedReport =
  | { readonly name: string; readonly folder: string; readonly report: Report }
  | { readonly name: string; readonly folder: string; readonly error: PenfieldError };

/**
 * The reports in a folder, by name. One that cannot be read is listed with its error and hides no other.
 *
 * Folders that are still being written (".….partial") and other hidden ones are passed over, and so are
 * folders that hold nothing of a report. A folder that is itself a report is a list of one.
 *
 * @throws {FileError} if the folder cannot be read.
 */
export async function listReports(folder: string): Promise<readonly ListedReport[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((cause) => {
    throw fileError("listReports", folder, cause);
  });
  if (entries.some(({ name }) => name === "report.json")) return [await readListed(folder)];
  const folders = entries
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith("."))
    .map(({ name }) => join(folder, name))
    .sort((a, b) => (a < b ? -1 : 1));
  const listed: ListedReport[] = [];
  for (const path of folders) if (await looksLikeReport(path)) listed.push(await readListed(path));
  return listed;
}

async function looksLikeReport(folder: string): Promise<boolean> {
  const names = await readdir(folder).catch(() => ["report.json"]);
  return ["report.json", "arrays", "tables"].some((name) => names.includes(name));
}

async function readListed(folder: string): Promise<ListedReport> {
  const name = basename(resolve(folder));
  try {
    return { name, folder, report: await readReport(folder) };
  } catch (error) {
    const known = error instanceof PenfieldError;
    return { name, folder, error: known ? error : fileError("listReports", folder, error) };
  }
}

const NOT_PLAIN = "A report's files are files in its own folder, not links.";

/** A link in place of `arrays/` would lead out of the report as well as one in place of a file. */
async function checkPlainFolder(path: string): Promise<void> {
  const state = await lstat(path).catch((cause) => {
    throw fileError("readReport", path, cause);
  });
  if (!state.isDirectory()) {
    throw new FormatError(`readReport: ${path}: expected a plain folder, got something else`, {
      hint: NOT_PLAIN,
    });
  }
}

async function checkPlainFile(path: string, limit: number): Promise<void> {
  const state = await lstat(path).catch((cause) => {
    throw fileError("readReport", path, cause);
  });
  if (!state.isFile()) {
    throw new FormatError(`readReport: ${path}: expected a plain file, got something else`, {
      hint: NOT_PLAIN,
    });
  }
  if (state.size > limit) {
    throw new FormatError(
      `readReport: ${path}: expected at most ${limit} bytes, got ${state.size}`,
    );
  }
}

async function readPlainFile(path: string, limit: number): Promise<Uint8Array> {
  await checkPlainFile(path, limit);
  return readFile(path).catch((cause) => {
    throw fileError("readReport", path, cause);
  });
}
