import { FormatError } from "./errors.ts";

/** An array as a .npy file holds it. */
export interface NpyArray {
  readonly data:
    | Float64Array
    | Float32Array
    | Int32Array
    | Uint32Array
    | Int16Array
    | Uint16Array
    | Int8Array
    | Uint8Array
    | BigInt64Array
    | BigUint64Array
    | string[];
  readonly shape: readonly number[];
}

const MAGIC = "\u0093NUMPY";
const HEADER =
  /^\{'descr': '([^']+)', 'fortran_order': (True|False), 'shape': \(([^)]*)\),? *\}\s*$/;

const readers: Record<string, { bytes: number; read: (buffer: ArrayBuffer) => NpyArray["data"] }> =
  {
    f8: { bytes: 8, read: (b) => new Float64Array(b) },
    f4: { bytes: 4, read: (b) => new Float32Array(b) },
    f2: { bytes: 2, read: (b) => Float32Array.from(new Uint16Array(b), float16ToNumber) },
    i8: { bytes: 8, read: (b) => new BigInt64Array(b) },
    u8: { bytes: 8, read: (b) => new BigUint64Array(b) },
    i4: { bytes: 4, read: (b) => new Int32Array(b) },
    u4: { bytes: 4, read: (b) => new Uint32Array(b) },
    i2: { bytes: 2, read: (b) => new Int16Array(b) },
    u2: { bytes: 2, read: (b) => new Uint16Array(b) },
    i1: { bytes: 1, read: (b) => new Int8Array(b) },
    u1: { bytes: 1, read: (b) => new Uint8Array(b) },
    b1: { bytes: 1, read: (b) => new Uint8Array(b) },
  };

/** IEEE half precision to a number; Node 20 has no Float16Array. */
export function float16ToNumber(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/**
 * Reads the bytes of a .npy file (format 1, 2 and 3): floats, integers, booleans (as 0/1) and
 * unicode strings; either byte order; column-major arrays are turned into row-major ones.
 *
 * @param bytes - The whole file.
 * @param name - How error messages call it.
 * @throws {FormatError} if the bytes are not such a file, or are fewer or more than its header promises.
 *
 * Source: NEP 1, numpy.lib.format.
 *
 * @example
 * readNpy(writeNpy(new Float32Array([1, 2, 3]), [3])).data[2] // => 3
 */
export function readNpy(bytes: Uint8Array, name = "array.npy"): NpyArray {
  const fail = (expected: string, got: string): never => {
    throw new FormatError(`readNpy: ${name}: expected ${expected}, got ${got}`);
  };
  const text = (from: number, to: number) =>
    Array.from(bytes.subarray(from, to), (c) => String.fromCharCode(c)).join("");
  if (bytes.length < 10 || text(0, 6) !== MAGIC) {
    fail("a .npy file", `${bytes.length} bytes that do not start with its magic number`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes[6]! < 1 || bytes[6]! > 3) fail("format version 1 to 3", `${bytes[6]}`);
  const wide = bytes[6]! >= 2;
  if (wide && bytes.length < 12) fail("a header", "the end of the file");
  const headerStart = wide ? 12 : 10;
  const headerLength = wide ? view.getUint32(8, true) : view.getUint16(8, true);
  const dataStart = headerStart + headerLength;
  if (dataStart > bytes.length || headerLength > 1 << 20) {
    fail(`a header of ${headerLength} bytes`, `a file of ${bytes.length}`);
  }
  const header = HEADER.exec(text(headerStart, dataStart));
  if (!header) {
    throw new FormatError(
      `readNpy: ${name}: expected a plain array, got the header ${JSON.stringify(text(headerStart, Math.min(dataStart, headerStart + 120)))}`,
      { hint: "Save it with numpy.save(file, array), not as an object or structured array." },
    );
  }
  const [, descr, fortran, sizes] = header as unknown as [string, string, string, string];
  const shape = sizes
    .split(",")
    .map((s) => s.trim())
    .filter((s) => s !== "")
    .map(Number);
  if (shape.some((n) => !Number.isSafeInteger(n) || n < 0)) fail("whole sizes", `(${sizes})`);
  const count = shape.reduce((a, b) => a * b, 1);
  const kind = /^([<>|=])([a-zA-Z])(\d+)$/.exec(descr);
  if (!kind) fail("a numeric or unicode type", descr);
  const [, order, letter, width] = kind as unknown as [string, string, string, string];
  const isText = letter === "U";
  const reader = readers[letter + width];
  if (isText ? Number(width) < 1 : !reader) fail("a numeric or unicode type", descr);
  const itemBytes = isText ? 4 * Number(width) : reader!.bytes;
  if (count * itemBytes !== bytes.length - dataStart) {
    fail(
      `${count} values of ${itemBytes} bytes`,
      `${bytes.length - dataStart} bytes after the header`,
    );
  }
  // Copy: the file's offset need not be aligned, and the result must not keep the file alive.
  // Not bytes.slice(): of a Node Buffer that is a view.
  const body = new Uint8Array(bytes.subarray(dataStart));
  const word = isText ? 4 : itemBytes;
  if (order === ">" && word > 1) swapBytes(body, word);
  const data = isText ? decodeStrings(body, count, Number(width), fail) : reader!.read(body.buffer);
  return { data: fortran === "True" ? toRowMajor(data, shape) : data, shape };
}

function swapBytes(body: Uint8Array, word: number): void {
  for (let i = 0; i < body.length; i += word) body.subarray(i, i + word).reverse();
}

function decodeStrings(
  body: Uint8Array,
  count: number,
  width: number,
  fail: (expected: string, got: string) => never,
): string[] {
  const points = new Uint32Array(body.buffer);
  const bad = points.find((p) => p > 0x10ffff);
  if (bad !== undefined) fail("unicode characters", `the code point ${bad}`);
  return Array.from({ length: count }, (_, i) => {
    let end = (i + 1) * width;
    // numpy pads with zeros on the right, and takes them off again.
    while (end > i * width && points[end - 1] === 0) end--;
    return Array.from(points.subarray(i * width, end), (p) => String.fromCodePoint(p)).join("");
  });
}

function toRowMajor<T extends NpyArray["data"]>(data: T, shape: readonly number[]): T {
  const out = data.slice() as T;
  const index = new Array<number>(shape.length).fill(0);
  const strides: number[] = [];
  shape.reduce((stride, size, axis) => {
    strides[axis] = stride;
    return stride * size;
  }, 1);
  let from = 0;
  for (let flat = 0; flat < data.length; flat++) {
    out[flat] = data[from]!;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis]!;
      if (++index[axis]! < shape[axis]!) break;
      from -= strides[axis]! * shape[axis]!;
      index[axis] = 0;
    }
  }
  return out;
}

const descriptions = new Map<unknown, string>([
  [Float64Array, "<f8"],
  [Float32Array, "<f4"],
  [Int32Array, "<i4"],
  [Uint32Array, "<u4"],
  [Int16Array, "<i2"],
  [Uint16Array, "<u2"],
  [Int8Array, "|i1"],
  [Uint8Array, "|u1"],
  [BigInt64Array, "<i8"],
  [BigUint64Array, "<u8"],
]);

/**
 * The bytes of a .npy file (format 1.0, row-major, little-endian) that numpy.load opens.
 *
 * @param data - A typed array; its type decides the file's type.
 * @param shape - Sizes that multiply to its length.
 *
 * @example
 * writeNpy(new Uint8Array([1, 0]), [2]).length // => 130
 */
export function writeNpy(
  data: Exclude<NpyArray["data"], string[]>,
  shape: readonly number[],
): Uint8Array {
  const whole = shape.every((size) => Number.isSafeInteger(size) && size >= 0);
  if (!whole || shape.reduce((a, b) => a * b, 1) !== data.length) {
    throw new FormatError(
      `writeNpy: expected sizes that multiply to ${data.length}, got [${shape.join(", ")}]`,
    );
  }
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const dictionary = `{'descr': '${descriptions.get(data.constructor)}', 'fortran_order': False, 'shape': (${sizes}), }`;
  const padded = Math.ceil((10 + dictionary.length + 1) / 64) * 64 - 10;
  const header = `${dictionary.padEnd(padded - 1)}\n`;
  const out = new Uint8Array(10 + padded + data.byteLength);
  out.set(Uint8Array.from(MAGIC, (c) => c.charCodeAt(0)));
  out[6] = 1;
  new DataView(out.buffer).setUint16(8, padded, true);
  out.set(
    Uint8Array.from(header, (c) => c.charCodeAt(0)),
    10,
  );
  out.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), 10 + padded);
  return out;
}
