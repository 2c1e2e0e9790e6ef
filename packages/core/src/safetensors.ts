import { FormatError } from "./errors.ts";
import { float16ToNumber } from "./npy.ts";

/** One array of a safetensors file. */
export interface SafeTensor {
  /** Values; half precision is widened to float32, 64-bit integers stay as they are. */
  readonly data: Float32Array | Float64Array | Int32Array | BigInt64Array | Int8Array | Uint8Array;
  readonly shape: readonly number[];
  /** The type in the file: "F32", "BF16", … */
  readonly dtype: string;
}

/** What a safetensors file holds. */
export interface Safetensors {
  readonly tensors: ReadonlyMap<string, SafeTensor>;
  /** The file's own free text, by key. */
  readonly metadata: Readonly<Record<string, string>>;
}

const bfloat16 = (halves: Uint16Array): Float32Array => {
  const bits = Uint32Array.from(halves, (half) => half << 16);
  return new Float32Array(bits.buffer);
};

const readers: Record<string, { bytes: number; read: (b: ArrayBuffer) => SafeTensor["data"] }> = {
  F64: { bytes: 8, read: (b) => new Float64Array(b) },
  F32: { bytes: 4, read: (b) => new Float32Array(b) },
  F16: { bytes: 2, read: (b) => Float32Array.from(new Uint16Array(b), float16ToNumber) },
  BF16: { bytes: 2, read: (b) => bfloat16(new Uint16Array(b)) },
  I64: { bytes: 8, read: (b) => new BigInt64Array(b) },
  I32: { bytes: 4, read: (b) => new Int32Array(b) },
  I8: { bytes: 1, read: (b) => new Int8Array(b) },
  U8: { bytes: 1, read: (b) => new Uint8Array(b) },
  BOOL: { bytes: 1, read: (b) => new Uint8Array(b) },
};

const isWhole = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0;

/**
 * Reads a safetensors file: the format in which dictionaries (SAEs, transcoders) and weights are
 * published. Nothing is allocated beyond what the bytes hold.
 *
 * @param bytes - The whole file.
 * @param name - How error messages call it.
 * @throws {FormatError} if the header is cut off, is not JSON, or names places outside the file, or
 *   a type that is not read.
 *
 * Source: the format's description in huggingface/safetensors.
 */
export function readSafetensors(bytes: Uint8Array, name = "safetensors"): Safetensors {
  const fail = (rule: string, got: string): never => {
    throw new FormatError(`readSafetensors: ${name}: expected ${rule}, got ${got}`, {
      hint: "The file may be cut off or of another format; fetch it again.",
    });
  };
  if (bytes.length < 8) fail("a header of at least 8 bytes", `${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getBigUint64(0, true);
  if (length > BigInt(bytes.length - 8)) {
    fail(`a header within the file's ${bytes.length} bytes`, `one of ${length} bytes`);
  }
  const start = 8 + Number(length);
  let header: Record<string, unknown> = {};
  try {
    const parsed: unknown = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)));
    if (typeof parsed !== "object" || parsed === null) throw new SyntaxError("not an object");
    header = parsed as Record<string, unknown>;
  } catch (cause) {
    fail("a header in JSON", (cause as Error).message);
  }
  const tensors = new Map<string, SafeTensor>();
  const metadata: Record<string, string> = {};
  for (const [key, value] of Object.entries(header)) {
    if (key === "__metadata__") {
      for (const [k, v] of Object.entries(value as object)) metadata[k] = String(v);
      continue;
    }
    const { dtype, shape, data_offsets: offsets } = (value ?? {}) as Record<string, unknown>;
    const reader = typeof dtype === "string" ? readers[dtype] : undefined;
    if (!reader) return fail(`a type among ${Object.keys(readers).join(", ")}`, String(dtype));
    if (!Array.isArray(shape) || !shape.every(isWhole)) return fail("a shape", String(shape));
    const [from, to] = Array.isArray(offsets) ? (offsets as unknown[]) : [];
    const needed = shape.reduce((product: number, size: number) => product * size, reader.bytes);
    if (!isWhole(from) || !isWhole(to) || to - from !== needed || start + to > bytes.length) {
      return fail(
        `${needed} bytes within the file for ${key}`,
        `the places ${String(from)} to ${String(to)} of ${bytes.length - start}`,
      );
    }
    const copy = new Uint8Array(bytes.subarray(start + from, start + to)).buffer;
    tensors.set(key, { data: reader.read(copy), shape: shape as number[], dtype: dtype as string });
  }
  return { tensors, metadata };
}

/**
 * The bytes of a safetensors file with float32 arrays, in the order given.
 *
 * @example
 * readSafetensors(writeSafetensors({ w: { data: new Float32Array([1, 2]), shape: [2] } })).tensors.get("w").shape // => [2]
 */
export function writeSafetensors(
  tensors: Readonly<Record<string, { data: Float32Array; shape: readonly number[] }>>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  let at = 0;
  const entries = Object.entries(tensors).map(([key, { data, shape }]) => {
    const place = { dtype: "F32", shape, data_offsets: [at, at + data.byteLength] };
    at += data.byteLength;
    return [key, place] as const;
  });
  const fields = Object.keys(metadata).length > 0 ? { __metadata__: metadata } : {};
  let header = JSON.stringify({ ...fields, ...Object.fromEntries(entries) });
  // The arrays begin at a multiple of 8.
  header += " ".repeat((8 - (Buffer.byteLength(header) % 8)) % 8);
  const head = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + head.length + at);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(head.length), true);
  bytes.set(head, 8);
  let offset = 8 + head.length;
  for (const { data } of Object.values(tensors)) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), offset);
    offset += data.byteLength;
  }
  return bytes;
}
