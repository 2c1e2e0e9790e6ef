import { FormatError } from "@penfield/core";
import type { H5Array, H5Draft, H5Group } from "./hdf5Tree.ts";

const MAX_DEPTH = 24;
const MAX_VALUES = 2 ** 28;
const MAX_ENTRIES = 200_000;

const INTEGER = 0;
const FLOAT = 1;
const TEXT = 3;
const ENUM = 8;

/** The part of h5wasm that is used. */
export interface Library {
  readonly File: typeof import("h5wasm").File;
  readonly fs: {
    writeFile(path: string, bytes: Uint8Array): void;
    readFile(path: string): Uint8Array;
    unlink(path: string): void;
  };
}

export async function loadLibrary(): Promise<Library> {
  const h5 = await import("h5wasm");
  const module = await h5.ready;
  // Without it the HDF5 library prints its complaints itself.
  module.activate_throwing_error_handler();
  return { File: h5.File, fs: module.FS as unknown as Library["fs"] };
}

const PATH = "/file.h5";

/** Reads everything. The file lies in memory: links out of it lead nowhere. */
export function readFile({ File, fs }: Library, bytes: Uint8Array, name: string): H5Group {
  fs.writeFile(PATH, bytes);
  const file = new File(PATH, "r");
  try {
    return readGroup(file, name, "", { entries: 0, values: 0 }, 0);
  } finally {
    file.close();
    fs.unlink(PATH);
  }
}

export function writeFile({ File, fs }: Library, draft: H5Draft): Uint8Array<ArrayBuffer> {
  const file = new File(PATH, "w");
  writeGroup(file, draft);
  file.close();
  const bytes = new Uint8Array(fs.readFile(PATH));
  fs.unlink(PATH);
  return bytes;
}

interface Count {
  entries: number;
  values: number;
}

type Group = InstanceType<typeof import("h5wasm").Group>;
type Dataset = InstanceType<typeof import("h5wasm").Dataset>;

function readGroup(group: Group, name: string, path: string, count: Count, depth: number): H5Group {
  if (depth > MAX_DEPTH) {
    throw new FormatError(
      `readNir: ${name}: ${path}: expected groups at most ${MAX_DEPTH} deep, got deeper ones`,
    );
  }
  const children = new Map<string, H5Array | H5Group>();
  for (const key of group.keys()) {
    if (++count.entries > MAX_ENTRIES) {
      throw new FormatError(`readNir: ${name}: expected at most ${MAX_ENTRIES} entries, got more`);
    }
    const entry = group.get(key) as { type?: string } | null;
    const here = `${path}/${key}`;
    if (entry?.type === "Group") {
      children.set(key, readGroup(entry as unknown as Group, name, here, count, depth + 1));
    } else if (entry?.type === "Dataset") {
      children.set(key, readArray(entry as unknown as Dataset, name, here, count));
    } else {
      throw new FormatError(
        `readNir: ${name}: ${here}: expected a group or an array, got ${entry?.type ?? "a link that leads nowhere"}`,
      );
    }
  }
  return { kind: "group", children };
}

function readArray(dataset: Dataset, name: string, path: string, count: Count): H5Array {
  const { type, shape: sizes } = dataset.metadata;
  const shape = (sizes ?? []).map(Number);
  const length = shape.reduce((a, b) => a * b, 1);
  count.values += length;
  if (!Number.isSafeInteger(length) || count.values > MAX_VALUES) {
    throw new FormatError(
      `readNir: ${name}: ${path}: expected at most ${MAX_VALUES} values in all, got [${shape.join(", ")}]`,
    );
  }
  if (![INTEGER, FLOAT, TEXT, ENUM].includes(type)) {
    throw new FormatError(
      `readNir: ${name}: ${path}: expected numbers or text, got HDF5 type class ${type}`,
    );
  }
  const value = dataset.value as unknown;
  const list =
    value !== null && typeof value === "object" ? (value as ArrayLike<unknown>) : [value];
  if (list.length !== length) {
    throw new FormatError(
      `readNir: ${name}: ${path}: expected ${length} values, got ${list.length}`,
    );
  }
  if (type === TEXT) {
    const data = Array.from(list as ArrayLike<unknown>, String);
    return { kind: "array", data, shape };
  }
  const data =
    list instanceof Float32Array || list instanceof Float64Array
      ? list
      : Float64Array.from(list as ArrayLike<unknown>, Number);
  return { kind: "array", data, shape };
}

function writeGroup(group: Group, { attributes = {}, groups = {}, arrays = {} }: H5Draft): void {
  for (const [name, value] of Object.entries(attributes)) group.create_attribute(name, value);
  for (const [name, { data, shape, gzip = false }] of Object.entries(arrays)) {
    const sizes = shape ?? (typeof data === "string" ? [] : [data.length]);
    const compressed = gzip && sizes.length > 0 && !sizes.includes(0);
    group.create_dataset({
      name,
      data: data as Parameters<Group["create_dataset"]>[0]["data"],
      shape: [...sizes],
      ...(compressed
        ? { chunks: [...sizes], compression: "gzip" as const, compression_opts: 4 }
        : {}),
      ...(typeof data === "string" || Array.isArray(data) ? { dtype: "S" } : {}),
    });
  }
  for (const [name, draft] of Object.entries(groups)) writeGroup(group.create_group(name), draft);
}
