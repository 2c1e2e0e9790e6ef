import { FormatError } from "@penfield/core";

/** Where a reader is, for its errors. */
export interface Place {
  /** The public function. */
  readonly doing: string;
  /** How errors call the file. */
  readonly file: string;
}

/** Bytes that cannot be read past their end: every error names the offset. */
export interface ByteView extends Place {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly littleEndian: boolean;
}

export function byteView(bytes: Uint8Array, littleEndian: boolean, place: Place): ByteView {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { bytes, view, littleEndian, doing: place.doing, file: place.file };
}

export function failAt(
  { doing, file }: Place,
  offset: number,
  expected: string,
  got: string,
  hint?: string,
): never {
  throw new FormatError(`${doing}: ${file}: byte ${offset}: expected ${expected}, got ${got}`, {
    hint,
  });
}

/** Makes sure that `length` bytes are there. */
export function need(at: ByteView, offset: number, length: number, what: string): void {
  if (length >= 0 && offset >= 0 && offset + length <= at.bytes.length) return;
  const left = Math.max(0, at.bytes.length - offset);
  failAt(
    at,
    offset,
    `${length} bytes of ${what}`,
    `${left}`,
    "The file is damaged or cut short; fetch it again.",
  );
}

export function int32(at: ByteView, offset: number, what: string): number {
  need(at, offset, 4, what);
  return at.view.getInt32(offset, at.littleEndian);
}

/** Bytes as Latin-1, in which every byte is a character, up to the first 0. */
export function latin1(at: ByteView, offset: number, length: number, what: string): string {
  need(at, offset, length, what);
  const text = Buffer.from(at.bytes.buffer, at.bytes.byteOffset + offset, length).toString(
    "latin1",
  );
  const end = text.indexOf("\0");
  return end < 0 ? text : text.slice(0, end);
}

/** The array that holds numbers of each kind that files hold. */
interface Arrays {
  readonly int8: Int8Array<ArrayBuffer>;
  readonly uint8: Uint8Array<ArrayBuffer>;
  readonly int16: Int16Array<ArrayBuffer>;
  readonly uint16: Uint16Array<ArrayBuffer>;
  readonly int32: Int32Array<ArrayBuffer>;
  readonly uint32: Uint32Array<ArrayBuffer>;
  readonly int64: BigInt64Array<ArrayBuffer>;
  readonly uint64: BigUint64Array<ArrayBuffer>;
  readonly float32: Float32Array<ArrayBuffer>;
  readonly float64: Float64Array<ArrayBuffer>;
}

export type NumberKind = keyof Arrays;

const KINDS: Readonly<
  Record<NumberKind, readonly [new (buffer: ArrayBuffer) => Arrays[NumberKind], number]>
> = {
  int8: [Int8Array, 1],
  uint8: [Uint8Array, 1],
  int16: [Int16Array, 2],
  uint16: [Uint16Array, 2],
  int32: [Int32Array, 4],
  uint32: [Uint32Array, 4],
  int64: [BigInt64Array, 8],
  uint64: [BigUint64Array, 8],
  float32: [Float32Array, 4],
  float64: [Float64Array, 8],
};

export const bytesPer = (kind: NumberKind): number => KINDS[kind][1];

const HOST_IS_LITTLE = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/** `length` numbers from `offset` on, in the file's byte order; a copy. */
export function numbers<K extends NumberKind>(
  at: ByteView,
  kind: K,
  offset: number,
  length: number,
  what: string,
): Arrays[K] {
  const [Numbers, size] = KINDS[kind];
  need(at, offset, length * size, what);
  // Not slice: of a Buffer it is no copy.
  const own = new Uint8Array(length * size);
  own.set(at.bytes.subarray(offset, offset + own.length));
  if (size > 1 && at.littleEndian !== HOST_IS_LITTLE) swapBytes(own, size);
  return new Numbers(own.buffer) as Arrays[K];
}

function swapBytes(bytes: Uint8Array, size: number): void {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (size === 2) buffer.swap16();
  else if (size === 4) buffer.swap32();
  else buffer.swap64();
}
