import { open } from "node:fs/promises";
import { basename } from "node:path";
import { FormatError, fileError } from "@penfield/core";
import { type H5Entry, type H5Group, type H5Values, readHdf5 } from "@penfield/hdf5";
import { readBytes } from "../text.ts";
import { entryAt, h5Text } from "./h5Values.ts";
import { type ReadMatOptions, readMat5 } from "./mat5.ts";
import { type MatNumbers, type MatValue, toRowMajor } from "./matValue.ts";

const MAX_DEPTH = 40;

/**
 * Reads a MATLAB file of version 5 to 7.3, into the same values whatever the version. Of version 7.3, complex
 * numbers, tables, strings and objects are given as `unread`.
 *
 * @param path - The file.
 * @param options.variables - Only these; default all. Of a 7.3 file only their part is read from the disk.
 * @returns The variables by name; arrays row-major (`readMat5`).
 * @throws {FileError} if the file cannot be read.
 * @throws {FormatError} if it is no such file, or damaged.
 *
 * Source: as `readMat5`; version 7.3 is HDF5, its attributes as MATLAB writes them. Checked against h5py.
 */
export async function readMat(
  path: string,
  { name = basename(path), doing = "readMat", variables }: ReadMatOptions = {},
): Promise<ReadonlyMap<string, MatValue>> {
  if (!(await isHdf5(path, doing))) {
    return readMat5(await readBytes(path, doing), { name, doing, variables });
  }
  const paths = variables && [...variables.map((variable) => `/${variable}`), "/#refs#"];
  const tree = await readHdf5(path, { name, doing, paths });
  const found = new Map<string, MatValue>();
  for (const [key, entry] of tree.children) {
    if (key.startsWith("#") || (variables && !variables.includes(key))) continue;
    found.set(key, matValueOf({ tree, doing, name }, entry, 0));
  }
  return found;
}

/** MATLAB writes 512 bytes of its own before HDF5's head; other writers of such files may not. */
export async function isHdf5(path: string, doing: string): Promise<boolean> {
  const head = new Uint8Array(520);
  try {
    const file = await open(path, "r");
    try {
      await file.read(head, 0, head.length, 0);
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw fileError(doing, path, cause);
  }
  return [0, 512].some((at) => String.fromCharCode(...head.subarray(at + 1, at + 4)) === "HDF");
}

interface Reading {
  readonly tree: H5Group;
  readonly doing: string;
  readonly name: string;
}

/** HDF5 shows MATLAB's sizes in the opposite order. */
const sizesOf = (shape: readonly number[]): readonly number[] => [...shape].reverse();

function matValueOf(reading: Reading, entry: H5Entry, depth: number): MatValue {
  if (depth > MAX_DEPTH) {
    throw new FormatError(
      `${reading.doing}: ${reading.name}: ${entry.path}: expected values at most ${MAX_DEPTH} deep, got deeper ones`,
    );
  }
  const kind = h5Text(entry.attributes.get("MATLAB_class")) ?? "";
  if (entry.kind === "unread") return { kind: "unread", reason: entry.reason };
  if (entry.kind === "group") return groupOf(reading, entry, depth);
  if (entry.attributes.has("MATLAB_empty") && flag(entry.attributes.get("MATLAB_empty"))) {
    return emptyOf(kind, Array.from(entry.data as ArrayLike<number | bigint>, Number));
  }
  const shape = sizesOf(entry.shape);
  if (entry.type === "reference") {
    const data = (entry.data as readonly string[]).map((path) => referred(reading, path, depth));
    return { kind: "cell", data: toRowMajor(data, shape), shape };
  }
  if (entry.type === "text") {
    return { kind: "text", rows: entry.data as readonly string[], shape };
  }
  if (entry.attributes.has("MATLAB_object_decode") || kind === "function_handle") {
    return { kind: "unread", reason: kind || "opaque" };
  }
  const data = toRowMajor(entry.data as MatNumbers, shape);
  if (kind === "char") return charsOf(data, shape);
  if (kind === "logical" || entry.type === "boolean") {
    return { kind: "logical", data: Uint8Array.from(data as ArrayLike<number>), shape };
  }
  const plain = { Float64Array: "double", Float32Array: "single" }[data.constructor.name];
  return { kind: "numbers", class: kind || plain || classOf(data), data, shape };
}

const classOf = (data: MatNumbers): string =>
  data.constructor.name
    .replace(/^Big/, "")
    .replace(/Array$/, "")
    .toLowerCase();

const flag = (values: H5Values | undefined): boolean =>
  values !== undefined && Number((values.data as ArrayLike<number | bigint>)[0]) !== 0;

function referred(reading: Reading, path: string, depth: number): MatValue {
  const entry = path === "" ? undefined : entryAt(reading.tree, path);
  return entry
    ? matValueOf(reading, entry, depth + 1)
    : { kind: "unread", reason: "a reference that leads nowhere" };
}

function emptyOf(kind: string, shape: readonly number[]): MatValue {
  if (kind === "char") return { kind: "text", rows: [], shape };
  if (kind === "cell") return { kind: "cell", data: [], shape };
  if (kind === "struct") return { kind: "struct", data: [], shape };
  if (kind === "logical") return { kind: "logical", data: new Uint8Array(0), shape };
  return { kind: "numbers", class: kind || "double", data: new Float64Array(0), shape };
}

function charsOf(data: MatNumbers, shape: readonly number[]): MatValue {
  const nRows = shape[0] ?? 0;
  const nColumns = nRows === 0 ? 0 : data.length / nRows;
  const codes = Array.from(data as ArrayLike<number>, (code) => String.fromCharCode(Number(code)));
  const rows = Array.from({ length: nRows }, (_, row) =>
    codes.slice(row * nColumns, (row + 1) * nColumns).join(""),
  );
  return { kind: "text", rows, shape };
}

function groupOf(reading: Reading, group: H5Group, depth: number): MatValue {
  const nRows = group.attributes.get("MATLAB_sparse");
  if (nRows) return sparseOf(reading, group, Number((nRows.data as ArrayLike<number | bigint>)[0]));
  const fields = [...group.children];
  // An array of structs holds, for each field, one reference per element; those arrays have no class of their own.
  const first = fields[0]?.[1];
  const isArray =
    first?.kind === "array" &&
    first.type === "reference" &&
    !first.attributes.has("MATLAB_class") &&
    first.data.length !== 0;
  if (!isArray) {
    const record = new Map(
      fields.map(([key, entry]) => [key, matValueOf(reading, entry, depth + 1)] as const),
    );
    return { kind: "struct", data: [record], shape: [1, 1] };
  }
  const shape = sizesOf(first.shape);
  const columns = fields.map(([key, entry]) => {
    const paths =
      entry.kind === "array" && entry.type === "reference" ? (entry.data as readonly string[]) : [];
    return [key, paths] as const;
  });
  const records = Array.from(
    { length: first.data.length },
    (_, k) =>
      new Map(columns.map(([key, paths]) => [key, referred(reading, paths[k] ?? "", depth)])),
  );
  return { kind: "struct", data: toRowMajor(records, shape), shape };
}

function sparseOf({ doing, name }: Reading, group: H5Group, nRows: number): MatValue {
  const part = (key: string): H5Entry | undefined => group.children.get(key);
  const numbers = (entry: H5Entry | undefined): ArrayLike<number | bigint> =>
    entry?.kind === "array" && entry.type !== "text" && entry.type !== "reference"
      ? (entry.data as ArrayLike<number | bigint>)
      : [];
  if (part("data")?.kind === "unread") {
    return { kind: "unread", reason: "complex sparse numbers" };
  }
  const columnStarts = Int32Array.from(numbers(part("jc")), Number);
  const rows = Int32Array.from(numbers(part("ir")), Number);
  const data = Float64Array.from(numbers(part("data")), Number);
  if ((columnStarts.at(-1) ?? 0) !== data.length || rows.length !== data.length) {
    throw new FormatError(
      `${doing}: ${name}: ${group.path}: expected as many rows as values of a sparse array, got ${rows.length} and ${data.length}`,
    );
  }
  const shape = [nRows, Math.max(0, columnStarts.length - 1)];
  return { kind: "sparse", rows, columnStarts, data, shape };
}
