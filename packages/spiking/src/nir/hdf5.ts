import { FormatError } from "@penfield/core";

/** A typed array, text, or a list of texts, with its sizes; a scalar has none. */
export interface H5Array {
  readonly kind: "array";
  readonly data: ArrayLike<number> | readonly string[];
  readonly shape: readonly number[];
}

export interface H5Group {
  readonly kind: "group";
  readonly children: ReadonlyMap<string, H5Array | H5Group>;
}

/** What is written: groups with attributes, and arrays. */
export interface H5Draft {
  readonly attributes?: Readonly<Record<string, string | number>>;
  readonly groups?: Readonly<Record<string, H5Draft>>;
  readonly arrays?: Readonly<
    Record<
      string,
      {
        readonly data:
          | Float32Array
          | Float64Array
          | Int32Array
          | BigInt64Array
          | Uint8Array
          | string
          | readonly string[];
        readonly shape?: readonly number[];
        readonly gzip?: boolean;
      }
    >
  >;
}

const MAGIC = [0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a];
const MAX_DEPTH = 24;
const MAX_VALUES = 2 ** 28;
const MAX_ENTRIES = 200_000;

const INTEGER = 0;
const FLOAT = 1;
const TEXT = 3;
const ENUM = 8;

interface Library {
  readonly File: typeof import("h5wasm").File;
  readonly fs: {
    writeFile(path: string, bytes: Uint8Array): void;
    readFile(path: string): Uint8Array;
    unlink(path: string): void;
  };
}

/** Loaded when the first file is opened: 15 MB of WebAssembly that nobody else should wait for. */
async function library(): Promise<Library> {
  const h5 = await import("h5wasm");
  const module = await h5.ready;
  // Without it the HDF5 library prints its complaints itself.
  module.activate_throwing_error_handler();
  return { File: h5.File, fs: module.FS as unknown as Library["fs"] };
}

/**
 * Reads everything under one group of an HDF5 file. The file is read from memory: links out of it
 * lead nowhere.
 *
 * @throws {FormatError} if the bytes are no HDF5 file, or a damaged one.
 */
export async function readHdf5(bytes: Uint8Array, name: string): Promise<H5Group> {
  checkSuperblock(bytes, name);
  const { File, fs } = await library();
  const path = `/${fileName()}`;
  fs.writeFile(path, bytes);
  let file: InstanceType<Library["File"]> | undefined;
  try {
    file = new File(path, "r");
    return readGroup(file, name, "", { entries: 0, values: 0 }, 0);
  } catch (cause) {
    if (cause instanceof FormatError) throw cause;
    throw new FormatError(
      `readNir: ${name}: expected a whole HDF5 file, got one that cannot be read: ${wordsOf(cause)}`,
      { hint: "The file is damaged; write or fetch it again.", cause },
    );
  } finally {
    quietly(() => file?.close());
    quietly(() => fs.unlink(path));
  }
}

/** The bytes of an HDF5 file with these groups and arrays. */
export async function writeHdf5(draft: H5Draft): Promise<Uint8Array> {
  const { File, fs } = await library();
  const path = `/${fileName()}`;
  try {
    const file = new File(path, "w");
    try {
      writeGroup(file, draft);
    } finally {
      file.close();
    }
    return new Uint8Array(fs.readFile(path));
  } finally {
    quietly(() => fs.unlink(path));
  }
}

const fileName = (): string => `${globalThis.crypto.randomUUID()}.h5`;

function quietly(close: () => void): void {
  try {
    close();
  } catch {
    // What went wrong has been said.
  }
}

const wordsOf = (cause: unknown): string =>
  String((cause as Error)?.message ?? cause)
    .split("\n")[0]!
    .slice(0, 200);

function checkSuperblock(bytes: Uint8Array, name: string): void {
  if (bytes.length < 48 || MAGIC.some((byte, i) => bytes[i] !== byte)) {
    throw new FormatError(
      `readNir: ${name}: expected an HDF5 file, got ${bytes.length} bytes that do not begin as one`,
      { hint: "NIR graphs are written by nir.write(); the file may be of another format." },
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = bytes[8]!;
  const offsetBytes = version < 2 ? bytes[13] : bytes[9];
  if (version > 3 || offsetBytes !== 8) return;
  const base = version < 2 ? (version === 1 ? 28 : 24) : 12;
  const end = Number(view.getBigUint64(base + 16, true));
  if (end > bytes.length) {
    throw new FormatError(
      `readNir: ${name}: expected ${end} bytes, as its head says, got ${bytes.length}`,
      { hint: "The file is cut short; write or fetch it again." },
    );
  }
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
