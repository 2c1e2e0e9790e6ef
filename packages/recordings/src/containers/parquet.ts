import { basename } from "node:path";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { DataError, FormatError, fileError, sha256File } from "@penfield/core";
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import type { Recording } from "../types.ts";
import { checkFinite, presentationsToRepeats } from "./repeats.ts";

const LARGEST_VALUES = 2 ** 28;

/** Options of `loadParquetRecording`. */
export interface LoadParquetOptions {
  /** The column that names stimuli. Default `stimulus_id`, else `id`, else the first column of text. */
  readonly stimuli?: string | undefined;
  /** Columns that are targets. Default: all columns of numbers but that of stimuli. */
  readonly targets?: readonly string[] | undefined;
  /** Default: the file's name. */
  readonly name?: string | undefined;
}

/**
 * Loads a recording from a Parquet table: a column of stimulus ids and one column per target. Rows of one stimulus
 * become its repeats. Uncompressed, Snappy, gzip and Brotli.
 *
 * @param path - The file.
 * @param options - Which columns.
 * @returns `[nRepeats, nStimuli, nTargets]`, float64.
 * @throws {FileError} if it cannot be read.
 * @throws {FormatError} if it is no Parquet file, or damaged.
 * @throws {DataError} if there is no such column, or values are missing, NaN or infinite.
 *
 * Source: the Parquet format, read by hyparquet.
 */
export async function loadParquetRecording(
  path: string,
  { stimuli, targets, name }: LoadParquetOptions = {},
): Promise<Recording> {
  const where = `loadParquetRecording: ${basename(path)}`;
  const file = await asyncBufferFromFile(path).catch((cause) => {
    throw fileError("loadParquetRecording", path, cause);
  });
  const { nRows, columns } = await outlineOf(file, where);
  const id =
    stimuli ??
    ["stimulus_id", "id"].find((one) => columns.has(one)) ??
    [...columns].find(([, kind]) => kind === "text")?.[0];
  const wanted =
    targets ??
    [...columns].flatMap(([key, kind]) => (kind === "numbers" && key !== id ? [key] : []));
  const missing = [id ?? "id", ...wanted].find((key) => !columns.has(key));
  if (id === undefined || missing !== undefined || wanted.length === 0) {
    throw new DataError(
      `${where}: expected a column of stimulus ids and columns of numbers, got ${[...columns.keys()].join(", ")}`,
      { hint: "The options stimuli and targets name them." },
    );
  }
  if (nRows < 1 || nRows * wanted.length > LARGEST_VALUES) {
    throw new FormatError(
      `${where}: expected up to ${LARGEST_VALUES} values, got [${nRows}, ${wanted.length}]`,
    );
  }
  const rows = await parsed(where, () =>
    parquetReadObjects({ file, columns: [id, ...wanted], compressors: { GZIP, BROTLI } }),
  );
  const data = new Float64Array(rows.length * wanted.length);
  rows.forEach((row, i) => {
    wanted.forEach((key, k) => {
      const value: unknown = row[key];
      const isNumber = typeof value === "number" || typeof value === "bigint";
      data[i * wanted.length + k] = isNumber ? Number(value) : Number.NaN;
    });
  });
  checkFinite(data, wanted.length, where);
  return {
    name: name ?? basename(path),
    simulated: false,
    sha256: await sha256File(path),
    targets: wanted.map((key) => ({ id: key })),
    ...presentationsToRepeats(
      { data, nValues: wanted.length, ids: rows.map((row) => String(row[id])) },
      where,
    ),
  };
}

const GZIP = (bytes: Uint8Array, length: number): Uint8Array =>
  gunzipSync(bytes, { maxOutputLength: length });
const BROTLI = (bytes: Uint8Array, length: number): Uint8Array =>
  brotliDecompressSync(bytes, { maxOutputLength: length });

type Buffer = Awaited<ReturnType<typeof asyncBufferFromFile>>;

/** Rows and columns of a table, without its values. */
export async function outlineOf(
  file: Buffer,
  where: string,
): Promise<{ nRows: number; columns: ReadonlyMap<string, "numbers" | "text" | "other"> }> {
  const metadata = await parsed(where, () => parquetMetadataAsync(file));
  const columns = new Map<string, "numbers" | "text" | "other">();
  for (const {
    name,
    type,
    num_children: nChildren,
    logical_type: logical,
    converted_type: converted,
  } of metadata.schema.slice(1)) {
    if (nChildren) continue;
    const isText = converted === "UTF8" || logical?.type === "STRING";
    const isPlain = converted === undefined || /^U?INT_/.test(converted);
    const isNumber = type !== undefined && /^(INT32|INT64|FLOAT|DOUBLE)$/.test(type) && isPlain;
    columns.set(name, isText ? "text" : isNumber ? "numbers" : "other");
  }
  return { nRows: Number(metadata.num_rows), columns };
}

/** The parser's own complaints as ours. */
async function parsed<T>(where: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    throw new FormatError(`${where}: expected a Parquet file, got ${(cause as Error).message}`, {
      hint: "The file may be damaged, cut short, or compressed in another way.",
      cause,
    });
  }
}
