import { inflateSync } from "node:zlib";
import { FormatError } from "@penfield/core";
import {
  type ByteView,
  bytesPer,
  byteView,
  failAt,
  int32,
  latin1,
  type NumberKind,
  need,
  numbers,
} from "./byteView.ts";
import { type MatNumbers, type MatValue, toRowMajor } from "./matValue.ts";

const HEADER_BYTES = 128;
const MAX_DEPTH = 40;
/** All that compressed variables may unfold to. */
const LARGEST_UNFOLDED_BYTES = 2 ** 32;

const MATRIX = 14;
const COMPRESSED = 15;
const STORED: Readonly<Record<number, NumberKind>> = {
  1: "int8",
  2: "uint8",
  3: "int16",
  4: "uint16",
  5: "int32",
  6: "uint32",
  7: "float32",
  9: "float64",
  12: "int64",
  13: "uint64",
};
const ENCODINGS: Readonly<Record<number, string>> = { 16: "utf-8", 17: "utf-16", 18: "utf-32" };

const CELL = 1;
const STRUCT = 2;
const OBJECT = 3;
const CHAR = 4;
const SPARSE = 5;
const FUNCTION = 16;
const OPAQUE = 17;
/** MATLAB's numeric classes: the name and the kind of numbers. */
const CLASSES: Readonly<Record<number, readonly [string, NumberKind]>> = {
  6: ["double", "float64"],
  7: ["single", "float32"],
  8: ["int8", "int8"],
  9: ["uint8", "uint8"],
  10: ["int16", "int16"],
  11: ["uint16", "uint16"],
  12: ["int32", "int32"],
  13: ["uint32", "uint32"],
  14: ["int64", "int64"],
  15: ["uint64", "uint64"],
};

/** Options of `readMat5` and `readMat`. */
export interface ReadMatOptions {
  /** How error messages call the file. */
  readonly name?: string | undefined;
  /** The function that error messages name. */
  readonly doing?: string | undefined;
  /** Only these; default all. */
  readonly variables?: readonly string[] | undefined;
}

/**
 * Reads the bytes of a MATLAB file of version 5, 6 or 7 (`save -v6`, `-v7`, and scipy's `savemat`): numbers of
 * all classes, complex ones, char, logical, sparse, cells, structs and old objects, compressed or not, in
 * either byte order. Function handles and opaque values (tables, strings, datetimes) are given as `unread`.
 *
 * @param bytes - The whole file.
 * @param options.variables - Only these; default all.
 * @returns The variables by name, in the file's order. Arrays are row-major: MATLAB's column-major order is
 *   turned, so `data[i * nColumns + j]` is MATLAB's `x(i + 1, j + 1)`.
 * @throws {FormatError} with the offset, if it is no such file (a version 7.3 file is for `readMat`; version 4
 *   is not read), is damaged, or promises more than its bytes hold.
 *
 * Cost: one pass; compressed variables are unfolded one at a time, to at most 4 GiB in all.
 * Source: "MAT-File Format" (MathWorks), level 5. Checked against scipy.io.loadmat.
 */
export function readMat5(
  bytes: Uint8Array,
  { name = "file.mat", doing = "readMat5", variables }: ReadMatOptions = {},
): ReadonlyMap<string, MatValue> {
  const littleEndian = checkHeader(bytes, { doing, file: name });
  const at = byteView(bytes, littleEndian, { doing, file: name });
  const found = new Map<string, MatValue>();
  const budget = { left: LARGEST_UNFOLDED_BYTES };
  const keep = (variable: string): boolean =>
    variable !== "" && (variables === undefined || variables.includes(variable));
  let offset = HEADER_BYTES;
  while (offset < bytes.length) {
    const element = readTag(at, offset);
    offset = element.next;
    if (element.type === COMPRESSED) {
      const inner = unfold(at, element, budget);
      const whole = readTag(inner, 0);
      if (whole.type === MATRIX) addVariable(found, inner, whole, keep);
    } else if (element.type === MATRIX) addVariable(found, at, element, keep);
  }
  return found;
}

function checkHeader(bytes: Uint8Array, place: { doing: string; file: string }): boolean {
  const mark = bytes.length >= HEADER_BYTES ? String.fromCharCode(bytes[126]!, bytes[127]!) : "";
  const littleEndian = mark === "IM";
  const at = byteView(bytes, littleEndian, place);
  if (!littleEndian && mark !== "MI") {
    failAt(
      at,
      126,
      "the byte order mark of a MATLAB 5 file",
      bytes.length < HEADER_BYTES ? `a file of ${bytes.length} bytes` : JSON.stringify(mark),
      "Files of version 4 are not read: load them in MATLAB and save with -v7.",
    );
  }
  const version = at.view.getUint16(124, littleEndian);
  if (version !== 0x0100) {
    failAt(
      at,
      124,
      "version 0x100",
      `0x${version.toString(16)}`,
      version === 0x0200 ? "This is a version 7.3 file: readMat reads it." : undefined,
    );
  }
  return littleEndian;
}

interface Element {
  readonly type: number;
  /** Of the content. */
  readonly start: number;
  readonly length: number;
  /** Of the element after it. */
  readonly next: number;
}

function readTag(at: ByteView, offset: number): Element {
  need(at, offset, 8, "an element's tag");
  const first = at.view.getUint32(offset, at.littleEndian);
  const small = first >>> 16;
  if (small !== 0) {
    if (small > 4) failAt(at, offset, "at most 4 bytes in a small element", `${small}`);
    return { type: first & 0xffff, start: offset + 4, length: small, next: offset + 8 };
  }
  const length = at.view.getUint32(offset + 4, at.littleEndian);
  const start = offset + 8;
  need(at, start, length, "an element");
  // Elements begin at multiples of 8; compressed ones and what follows them do not.
  const next = first === COMPRESSED ? start + length : start + Math.ceil(length / 8) * 8;
  return { type: first, start, length, next };
}

function unfold(at: ByteView, element: Element, budget: { left: number }): ByteView {
  const packed = at.bytes.subarray(element.start, element.start + element.length);
  const limit = Math.min(budget.left, packed.length * 1100 + 1024, 2 ** 31 - 1);
  try {
    const bytes = inflateSync(packed, { maxOutputLength: limit });
    budget.left -= bytes.length;
    return byteView(bytes, at.littleEndian, {
      doing: at.doing,
      file: `${at.file} (unfolded from byte ${element.start})`,
    });
  } catch (cause) {
    throw new FormatError(
      `${at.doing}: ${at.file}: byte ${element.start}: expected compressed data, got ${(cause as Error).message}`,
      { hint: "The file is damaged or cut short; fetch it again.", cause },
    );
  }
}

function addVariable(
  found: Map<string, MatValue>,
  at: ByteView,
  element: Element,
  keep: (name: string) => boolean,
): void {
  const head = readHead(at, element);
  if (head && keep(head.name)) found.set(head.name, readMatrix(at, element, head, 0));
}

interface Head {
  readonly class: number;
  readonly isComplex: boolean;
  readonly isLogical: boolean;
  readonly shape: readonly number[];
  readonly count: number;
  readonly name: string;
  /** Of what follows the name. */
  readonly next: number;
  readonly end: number;
}

function readHead(at: ByteView, element: Element): Head | undefined {
  if (element.length === 0) return undefined;
  const end = element.start + element.length;
  const flags = part(at, element.start, end);
  const bits = int32(at, flags.start, "array flags");
  const head = {
    class: bits & 0xff,
    isComplex: (bits & 0x0800) !== 0,
    isLogical: (bits & 0x0200) !== 0,
    end,
  };
  if (head.class === OPAQUE) {
    const name = part(at, flags.next, end);
    const text = latin1(at, name.start, name.length, "a name");
    return { ...head, shape: [], count: 0, name: text, next: name.next };
  }
  const sizes = part(at, flags.next, end);
  const shape = Array.from(numbers(at, "int32", sizes.start, sizes.length >> 2, "sizes"));
  const count = shape.reduce((a, b) => a * b, 1);
  if (shape.length > 32 || shape.some((size) => size < 0) || !Number.isSafeInteger(count)) {
    failAt(at, sizes.start, "sizes of an array", `[${shape.slice(0, 33).join(", ")}]`);
  }
  const name = part(at, sizes.next, end);
  const text = latin1(at, name.start, name.length, "a name");
  return { ...head, shape, count, name: text, next: name.next };
}

/** An element that must lie within its parent. */
function part(at: ByteView, offset: number, end: number): Element {
  const element = readTag(at, offset);
  if (element.start + element.length > end) {
    failAt(at, offset, `an element that ends by byte ${end}`, `${element.length} bytes`);
  }
  return element;
}

function readMatrix(at: ByteView, element: Element, head: Head, depth: number): MatValue {
  if (depth > MAX_DEPTH) {
    failAt(at, element.start, `values at most ${MAX_DEPTH} deep`, "deeper ones");
  }
  const numeric = CLASSES[head.class];
  if (numeric) return readNumbers(at, head, numeric);
  if (head.class === CHAR) return readChars(at, head);
  if (head.class === CELL) return readCells(at, head, depth);
  if (head.class === STRUCT || head.class === OBJECT) return readStructs(at, head, depth);
  if (head.class === SPARSE) return readSparse(at, head);
  if (head.class === FUNCTION) return { kind: "unread", reason: "function_handle" };
  if (head.class === OPAQUE) return { kind: "unread", reason: "opaque" };
  return failAt(at, element.start, "a MATLAB class from 1 to 17", `${head.class}`);
}

function readNumbers(
  at: ByteView,
  head: Head,
  [name, kind]: readonly [string, NumberKind],
): MatValue {
  const real = part(at, head.next, head.end);
  const data = toRowMajor(stored(at, real, kind, head.count), head.shape);
  if (head.isLogical) {
    const truth = Uint8Array.from(data as ArrayLike<number | bigint>, (v) => (v ? 1 : 0));
    return { kind: "logical", data: truth, shape: head.shape };
  }
  if (!head.isComplex) return { kind: "numbers", class: name, data, shape: head.shape };
  const second = stored(at, part(at, real.next, head.end), kind, head.count);
  const imaginary = toRowMajor(second, head.shape);
  return { kind: "numbers", class: name, data, imaginary, shape: head.shape };
}

/** Numbers are stored in the smallest kind that holds them, whatever their class. */
function stored(at: ByteView, element: Element, kind: NumberKind, count: number): MatNumbers {
  const from = STORED[element.type];
  if (!from) return failAt(at, element.start, "numbers", `an element of type ${element.type}`);
  const length = element.length / bytesPer(from);
  if (length !== count) failAt(at, element.start, `${count} numbers`, `${length}`);
  const data = numbers(at, from, element.start, count, "numbers");
  if (from === kind) return data;
  const values = data as ArrayLike<number | bigint>;
  switch (kind) {
    case "float64":
      return Float64Array.from(values, Number);
    case "float32":
      return Float32Array.from(values, Number);
    case "int8":
      return Int8Array.from(values, Number);
    case "uint8":
      return Uint8Array.from(values, Number);
    case "int16":
      return Int16Array.from(values, Number);
    case "uint16":
      return Uint16Array.from(values, Number);
    case "int32":
      return Int32Array.from(values, Number);
    case "uint32":
      return Uint32Array.from(values, Number);
    case "int64":
      return BigInt64Array.from(values, toBigInt);
    case "uint64":
      return BigUint64Array.from(values, toBigInt);
  }
}

const toBigInt = (value: number | bigint): bigint =>
  typeof value === "bigint" ? value : BigInt(Number.isFinite(value) ? Math.trunc(value) : 0);

function readChars(at: ByteView, head: Head): MatValue {
  const nRows = head.shape[0] ?? 0;
  const nColumns = nRows === 0 ? 0 : head.count / nRows;
  if (head.count === 0) return { kind: "text", rows: [], shape: head.shape };
  const element = part(at, head.next, head.end);
  const units = charsOf(at, element);
  if (units.length !== head.count) {
    failAt(at, element.start, `${head.count} characters`, `${units.length}`);
  }
  const rows = Array.from({ length: nRows }, (_, row) => {
    let text = "";
    for (let column = 0; column < nColumns; column++) text += units[column * nRows + row]!;
    return text;
  });
  return { kind: "text", rows, shape: head.shape };
}

/** UTF-16 units, one per character that MATLAB counts. */
function charsOf(at: ByteView, element: Element): string {
  const encoding = ENCODINGS[element.type];
  if (encoding === undefined) {
    const kind = STORED[element.type];
    if (!kind) return failAt(at, element.start, "text", `an element of type ${element.type}`);
    const length = Math.floor(element.length / bytesPer(kind));
    const codes = numbers(at, kind, element.start, length, "text") as ArrayLike<number | bigint>;
    return Array.from(codes, (code) => String.fromCharCode(Number(code))).join("");
  }
  const bytes = at.bytes.subarray(element.start, element.start + element.length);
  if (encoding === "utf-8") return new TextDecoder(encoding).decode(bytes);
  const kind = encoding === "utf-16" ? "uint16" : "uint32";
  const length = Math.floor(element.length / bytesPer(kind));
  const codes = numbers(at, kind, element.start, length, "text");
  return Array.from(codes, (code) => String.fromCharCode(code)).join("");
}

/** The next value within a cell or struct. */
function child(
  at: ByteView,
  offset: number,
  end: number,
  depth: number,
): { value: MatValue; next: number } {
  const element = part(at, offset, end);
  if (element.type !== MATRIX) {
    failAt(at, offset, "an array", `an element of type ${element.type}`);
  }
  const head = readHead(at, element);
  const value: MatValue = head
    ? readMatrix(at, element, head, depth + 1)
    : { kind: "numbers", class: "double", data: new Float64Array(0), shape: [0, 0] };
  return { value, next: element.next };
}

/** Every value takes 8 bytes at least: a count that does not fit is not believed. */
function checkCount(at: ByteView, head: Head, count: number): void {
  if (count * 8 > head.end - head.next + 64) {
    failAt(at, head.next, `${count} values`, `${head.end - head.next} bytes`);
  }
}

function readCells(at: ByteView, head: Head, depth: number): MatValue {
  checkCount(at, head, head.count);
  const data: MatValue[] = [];
  let offset = head.next;
  for (let k = 0; k < head.count; k++) {
    const { value, next } = child(at, offset, head.end, depth);
    data.push(value);
    offset = next;
  }
  return { kind: "cell", data: toRowMajor(data, head.shape), shape: head.shape };
}

function readStructs(at: ByteView, head: Head, depth: number): MatValue {
  let offset = head.next;
  let className: string | undefined;
  if (head.class === OBJECT) {
    const element = part(at, offset, head.end);
    className = latin1(at, element.start, element.length, "a class name");
    offset = element.next;
  }
  const width = part(at, offset, head.end);
  const nameBytes = int32(at, width.start, "the length of field names");
  const list = part(at, width.next, head.end);
  if (nameBytes < 1 || nameBytes > 65536 || list.length % nameBytes !== 0) {
    failAt(at, list.start, `field names of ${nameBytes} bytes each`, `${list.length} bytes`);
  }
  const fields = Array.from({ length: list.length / nameBytes }, (_, k) =>
    latin1(at, list.start + k * nameBytes, nameBytes, "a field name"),
  );
  checkCount(at, head, head.count * Math.max(1, fields.length));
  offset = list.next;
  const data: ReadonlyMap<string, MatValue>[] = [];
  for (let k = 0; k < head.count; k++) {
    const record = new Map<string, MatValue>();
    for (const field of fields) {
      const { value, next } = child(at, offset, head.end, depth);
      record.set(field, value);
      offset = next;
    }
    data.push(record);
  }
  return { kind: "struct", data: toRowMajor(data, head.shape), shape: head.shape, className };
}

function readSparse(at: ByteView, head: Head): MatValue {
  const [nRows = 0, nColumns = 0] = head.shape;
  const rowElement = part(at, head.next, head.end);
  const columnElement = part(at, rowElement.next, head.end);
  const rows = numbers(at, "int32", rowElement.start, rowElement.length >> 2, "row indices");
  const starts = numbers(at, "int32", columnElement.start, columnElement.length >> 2, "columns");
  const count = starts.at(-1) ?? 0;
  const rises = starts.every((start, j) => start >= (starts[j - 1] ?? 0));
  if (starts.length !== nColumns + 1 || !rises || starts[0] !== 0 || count > rows.length) {
    failAt(at, columnElement.start, `${nColumns + 1} rising column starts`, "others");
  }
  const used = rows.slice(0, count);
  if (used.some((row) => row < 0 || row >= nRows)) {
    failAt(at, rowElement.start, `rows below ${nRows}`, "others");
  }
  const real = part(at, columnElement.next, head.end);
  const values = (element: Element): Float64Array => {
    const kind = STORED[element.type];
    if (!kind) return failAt(at, element.start, "numbers", `an element of type ${element.type}`);
    const length = Math.floor(element.length / bytesPer(kind));
    return stored(at, { ...element, length: length * bytesPer(kind) }, "float64", length).slice(
      0,
      count,
    ) as Float64Array;
  };
  const data = values(real);
  if (data.length !== count) failAt(at, real.start, `${count} numbers`, `${data.length}`);
  const sparse = { kind: "sparse", rows: used, columnStarts: starts, shape: head.shape } as const;
  if (!head.isComplex) return { ...sparse, data };
  return { ...sparse, data, imaginary: values(part(at, real.next, head.end)) };
}
