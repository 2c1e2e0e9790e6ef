import { readSync } from "node:fs";
import { FormatError } from "@penfield/core";
import type { H5Attributes, H5Draft, H5Entry, H5Group, H5Numbers, H5Values } from "./hdf5Tree.ts";

const MAX_DEPTH = 24;
const MAX_VALUES = 2 ** 28;
const MAX_ENTRIES = 200_000;
/** What deflate can shrink to one byte, and room for a small file's fill values. */
const LARGEST_UNFOLDING = 1032;
const ROOM_BYTES = 2 ** 20;

const INTEGER = 0;
const FLOAT = 1;
const TEXT = 3;
const REFERENCE = 7;
const ENUM = 8;
const LIST = 9;
/** HDF5's type classes that are not read, in its order. */
const UNREAD: Readonly<Record<number, string>> = {
  2: "times",
  4: "bit fields",
  5: "opaque bytes",
  6: "compound values",
  10: "arrays in arrays",
};

type H5wasm = typeof import("h5wasm");
type Module = Awaited<H5wasm["ready"]>;
type Group = InstanceType<H5wasm["Group"]>;
type Dataset = InstanceType<H5wasm["Dataset"]>;
type Metadata = Dataset["metadata"];

/** A file in the library's own file system, as far as it is used. */
interface FileNode {
  usedBytes: number;
  stream_ops: object;
}

/** The part of h5wasm that is used. */
export interface Library {
  readonly File: H5wasm["File"];
  readonly module: Module;
  readonly fs: {
    writeFile(path: string, bytes: Uint8Array): void;
    readFile(path: string): Uint8Array;
    unlink(path: string): void;
    lookupPath(path: string): { node: FileNode };
  };
}

export async function loadLibrary(): Promise<Library> {
  const h5 = await import("h5wasm");
  const module = await h5.ready;
  // Without it the HDF5 library prints its complaints itself.
  module.activate_throwing_error_handler();
  return { File: h5.File, module, fs: module.FS as unknown as Library["fs"] };
}

const PATH = "/file.h5";

/** What is read, of which file. */
export interface ReadRequest {
  /** The bytes, or an open file of the system. */
  readonly source: Uint8Array | { readonly fd: number; readonly size: number };
  readonly doing: string;
  readonly name: string;
  readonly paths: readonly string[] | undefined;
  readonly slices: Readonly<Record<string, readonly (readonly [number, number])[]>>;
}

interface Reading extends Omit<ReadRequest, "source"> {
  readonly library: Library;
  readonly fileId: bigint;
  readonly fileBytes: number;
  entries: number;
  values: number;
}

/** Reads what was asked for. The library sees this one file only: links out of it lead nowhere. */
export function readFile(library: Library, request: ReadRequest): H5Group {
  const { source, ...rest } = request;
  const size = source instanceof Uint8Array ? source.length : source.size;
  if (source instanceof Uint8Array) library.fs.writeFile(PATH, source);
  else mountFile(library, source);
  const file = new library.File(PATH, "r");
  try {
    const reading: Reading = {
      ...rest,
      library,
      fileId: file.file_id,
      fileBytes: size,
      entries: 0,
      values: 0,
    };
    return readGroup(reading, file, "", 0);
  } finally {
    file.close();
    library.fs.unlink(PATH);
  }
}

/** Only the parts that the library asks for are read from the disk, when it asks for them. */
function mountFile({ fs }: Library, { fd, size }: { fd: number; size: number }): void {
  fs.writeFile(PATH, new Uint8Array(0));
  const { node } = fs.lookupPath(PATH);
  Object.defineProperty(node, "usedBytes", { get: () => size });
  node.stream_ops = {
    ...node.stream_ops,
    read: (_: unknown, buffer: Int8Array, offset: number, length: number, position: number) =>
      position >= size ? 0 : readSync(fd, buffer, offset, length, position),
  };
}

export function writeFile({ File, fs }: Library, draft: H5Draft): Uint8Array<ArrayBuffer> {
  const file = new File(PATH, "w");
  writeGroup(file, draft);
  file.close();
  const bytes = new Uint8Array(fs.readFile(PATH));
  fs.unlink(PATH);
  return bytes;
}

const fail = ({ doing, name }: Reading, path: string, words: string): never => {
  throw new FormatError(`${doing}: ${name}: ${path === "" ? "" : `${path}: `}${words}`);
};

function readGroup(reading: Reading, group: Group, path: string, depth: number): H5Group {
  if (depth > MAX_DEPTH) {
    fail(reading, path, `expected groups at most ${MAX_DEPTH} deep, got deeper ones`);
  }
  const children = new Map<string, H5Entry>();
  for (const key of group.keys()) {
    if (++reading.entries > MAX_ENTRIES) {
      fail(reading, "", `expected at most ${MAX_ENTRIES} entries, got more`);
    }
    children.set(key, readEntry(reading, group, key, `${path}/${key}`, depth));
  }
  return { kind: "group", path: path || "/", attributes: attributesOf(reading, group), children };
}

function readEntry(
  reading: Reading,
  group: Group,
  key: string,
  path: string,
  depth: number,
): H5Entry {
  const entry = group.get(key) as { type?: string } | null;
  if (entry?.type === "Group") {
    return readGroup(reading, entry as unknown as Group, path, depth + 1);
  }
  if (entry?.type === "Dataset") return readArray(reading, entry as unknown as Dataset, path);
  const reason = entry?.type === "Datatype" ? "a named type" : "a link that leads nowhere";
  return { kind: "unread", path, attributes: new Map(), type: undefined, shape: [], reason };
}

function readArray(reading: Reading, dataset: Dataset, path: string): H5Entry {
  const { metadata } = dataset;
  const attributes = attributesOf(reading, dataset);
  const shape = (metadata.shape ?? [0]).map(Number);
  const foreign = unreadReason(metadata);
  const reason = foreign ?? (wanted(reading, path) ? undefined : "not asked for");
  if (reason !== undefined) {
    const type = foreign === undefined ? typeOf(metadata) : undefined;
    return { kind: "unread", path, attributes, type, shape, reason };
  }
  const ranges = reading.slices[path];
  if (ranges) checkRanges(reading, path, ranges, shape);
  const sizes = ranges ? ranges.map(([from, to]) => to - from) : shape;
  const length = sizes.reduce((a, b) => a * b, 1);
  countValues(reading, path, sizes, length, metadata.size);
  if (length === 0) {
    const values = valuesOf(reading, metadata, [], sizes);
    return { kind: "array", path, attributes, ...values };
  }
  const value = ranges ? dataset.slice(ranges.map(([from, to]) => [from, to])) : dataset.value;
  const values = valuesOf(reading, metadata, listOf(value), sizes);
  const got = values.lengths?.length ?? values.data.length;
  if (got !== length) fail(reading, path, `expected ${length} values, got ${got}`);
  return { kind: "array", path, attributes, ...values };
}

const wanted = ({ paths }: Reading, path: string): boolean =>
  paths === undefined || paths.some((p) => p === path || p === "/" || path.startsWith(`${p}/`));

function checkRanges(
  reading: Reading,
  path: string,
  ranges: readonly (readonly [number, number])[],
  shape: readonly number[],
): void {
  const fits = ranges.every(
    ([from, to], k) =>
      Number.isSafeInteger(from) &&
      Number.isSafeInteger(to) &&
      from >= 0 &&
      from <= to &&
      to <= shape[k]!,
  );
  if (ranges.length === shape.length && fits) return;
  const words = ranges.map((range) => range.join(" to ")).join(", ");
  fail(reading, path, `expected ranges within [${shape.join(", ")}], got ${words}`);
}

/** A head may promise more than there is: nothing is allocated that the file's bytes cannot unfold to. */
function countValues(
  reading: Reading,
  path: string,
  sizes: readonly number[],
  length: number,
  bytesEach: number,
): void {
  reading.values += length;
  if (!Number.isSafeInteger(length) || reading.values > MAX_VALUES) {
    fail(
      reading,
      path,
      `expected at most ${MAX_VALUES} values in all, got [${sizes.join(", ")}]; read fewer arrays, or slices`,
    );
  }
  const most = reading.fileBytes * LARGEST_UNFOLDING + ROOM_BYTES;
  if (length * bytesEach > most) {
    fail(
      reading,
      path,
      `expected at most ${most} bytes of values in a file of ${reading.fileBytes}, got [${sizes.join(", ")}] of ${bytesEach} bytes each`,
    );
  }
}

function unreadReason(metadata: Metadata): string | undefined {
  const { type, size } = metadata;
  if (type === INTEGER || type === ENUM) {
    return [1, 2, 4, 8].includes(size) ? undefined : `integers of ${size} bytes`;
  }
  if (type === FLOAT) return size === 4 || size === 8 ? undefined : `floats of ${size} bytes`;
  if (type === REFERENCE) return metadata.ref_type === "region" ? "regions" : undefined;
  if (type === TEXT) return undefined;
  if (type !== LIST || !metadata.vlen_type) return UNREAD[type] ?? `HDF5's type class ${type}`;
  const inner = metadata.vlen_type.type;
  return inner === LIST || inner === TEXT
    ? "lists of lists or of text"
    : unreadReason(metadata.vlen_type);
}

const listOf = (value: unknown): ArrayLike<unknown> =>
  value !== null && typeof value === "object" && "length" in value
    ? (value as ArrayLike<unknown>)
    : [value];

function valuesOf(
  reading: Reading,
  metadata: Metadata,
  list: ArrayLike<unknown>,
  shape: readonly number[],
): H5Values {
  const { type } = metadata;
  if (type === LIST) {
    const lists = Array.from(list, listOf);
    const inner = metadata.vlen_type!;
    const parts = lists.map((part) => valuesOf(reading, inner, part, [part.length]));
    const flat = parts.flatMap((part) => Array.from(part.data as ArrayLike<unknown>));
    const values = valuesFrom(reading, inner, flat, shape);
    return { ...values, lengths: lists.map((part) => part.length) };
  }
  return valuesFrom(reading, metadata, list, shape);
}

function valuesFrom(
  reading: Reading,
  metadata: Metadata,
  list: ArrayLike<unknown>,
  shape: readonly number[],
): H5Values {
  const type = typeOf(metadata);
  if (type === "text") return { type, data: Array.from(list, String), shape };
  if (type === "reference") {
    return { type, data: Array.from(list, (r) => pathOf(reading, r)), shape };
  }
  const data = numbersOf(metadata, list);
  if (type !== "enum") return { type, data, shape };
  return { type, data, shape, members: { ...metadata.enum_type?.members } };
}

function typeOf({ type, vlen_type: inner, enum_type: names }: Metadata): H5Values["type"] {
  if (type === LIST && inner) return typeOf(inner);
  if (type === TEXT) return "text";
  if (type === REFERENCE) return "reference";
  if (type === FLOAT) return "float";
  if (type !== ENUM) return "integer";
  const { FALSE: no, TRUE: yes } = names?.members ?? {};
  return names?.nmembers === 2 && no === 0 && yes === 1 ? "boolean" : "enum";
}

/** The path of what a reference means; h5wasm gives references as bytes. */
function pathOf({ library, fileId }: Reading, reference: unknown): string {
  if (typeof reference === "string") return reference;
  const bytes = (reference as { ref_data: Uint8Array }).ref_data;
  if (bytes.every((byte) => byte === 0)) return "";
  return library.module.get_referenced_name(fileId, bytes, true);
}

/** In the file's own kind of number; scalars come as plain ones. */
function numbersOf({ type, size, signed }: Metadata, list: ArrayLike<unknown>): H5Numbers {
  if (ArrayBuffer.isView(list)) return list as unknown as H5Numbers;
  const plain = list as ArrayLike<number>;
  if (type === FLOAT) return size === 4 ? Float32Array.from(plain) : Float64Array.from(plain);
  const whole = list as ArrayLike<bigint>;
  if (size === 8) return signed ? BigInt64Array.from(whole) : BigUint64Array.from(whole);
  if (size === 4) return signed ? Int32Array.from(plain) : Uint32Array.from(plain);
  if (size === 2) return signed ? Int16Array.from(plain) : Uint16Array.from(plain);
  return signed ? Int8Array.from(plain) : Uint8Array.from(plain);
}

function attributesOf(reading: Reading, object: Group | Dataset): H5Attributes {
  const found = new Map<string, H5Values>();
  for (const [name, attribute] of Object.entries(object.attrs)) {
    if (++reading.entries > MAX_ENTRIES) {
      fail(reading, "", `expected at most ${MAX_ENTRIES} entries, got more`);
    }
    const { metadata } = attribute;
    if (unreadReason(metadata) !== undefined) continue;
    const shape = (metadata.shape ?? [0]).map(Number);
    const length = shape.reduce((a, b) => a * b, 1);
    countValues(reading, `${object.path} ${name}`, shape, length, metadata.size);
    const list = length === 0 ? [] : listOf(attribute.value);
    found.set(name, valuesOf(reading, metadata, list, shape));
  }
  return found;
}

function writeGroup(group: Group, { attributes = {}, groups = {}, arrays = {} }: H5Draft): void {
  for (const [name, value] of Object.entries(attributes)) group.create_attribute(name, value);
  for (const [name, { data, shape, gzip = false, attributes: own = {} }] of Object.entries(
    arrays,
  )) {
    const sizes = shape ?? (typeof data === "string" ? [] : [data.length]);
    const compressed = gzip && sizes.length > 0 && !sizes.includes(0);
    const dataset = group.create_dataset({
      name,
      data: data as Parameters<Group["create_dataset"]>[0]["data"],
      shape: [...sizes],
      ...(compressed
        ? { chunks: [...sizes], compression: "gzip" as const, compression_opts: 4 }
        : {}),
      ...(typeof data === "string" || Array.isArray(data) ? { dtype: "S" } : {}),
    });
    for (const [key, value] of Object.entries(own)) dataset.create_attribute(key, value);
  }
  for (const [name, draft] of Object.entries(groups)) writeGroup(group.create_group(name), draft);
}
