import { byteScale, toByte } from "./quantize.ts";

/** Tokens in a context, and how many of them stand before the one it was chosen for. */
export const WINDOW = 32;
const BEFORE = 21;

/** Bytes of a context on disk: start u32, value f32, scale f32, zero u8, peak u8, length u8, bin u8, 32 bytes. */
export const CONTEXT_BYTES: number = 16 + WINDOW;

/** What contexts are kept for, in the order in which they stand on disk. */
export const contextKinds = ["top", "sampled", "nearMiss", "random"] as const;

export type ContextKind = (typeof contextKinds)[number];

/** A stretch of a document with the values of one unit. */
export interface CensusContext {
  /** Where its first token stands among all tokens of the census. */
  readonly start: number;
  /** The token that it was chosen for, counted from the first. */
  readonly peak: number;
  /** The value there, as the model gave it. */
  readonly value: number;
  /** Of sampled contexts: which of the quantile bins of the active values, 0 the lowest. */
  readonly bin: number;
  /** The values of its tokens, each off by at most `error`; zeros are exact. */
  readonly values: Float32Array;
  readonly error: number;
}

/** Where a batch stands, as far as contexts need it. */
export interface ContextPlaces {
  /** Number of the first token of the batch among all of the census. */
  readonly firstToken: number;
  /** First token of each token's document and the one after its last, within the batch. */
  readonly documentStart: Int32Array;
  readonly documentEnd: Int32Array;
}

/** Writes the context around a token in its form on disk. */
export function writeContext(
  out: Uint8Array,
  values: Float32Array,
  at: number,
  { firstToken, documentStart, documentEnd }: ContextPlaces,
): void {
  const first = documentStart[at]!;
  const end = documentEnd[at]!;
  const start = Math.max(first, Math.min(at - BEFORE, end - WINDOW));
  const length = Math.min(WINDOW, end - start);
  let min = 0;
  let max = 0;
  for (let i = start; i < start + length; i++) {
    const value = values[i]!;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  const scale = byteScale(min, max);
  const view = new DataView(out.buffer, out.byteOffset, CONTEXT_BYTES);
  view.setUint32(0, firstToken + start, true);
  view.setFloat32(4, values[at]!, true);
  view.setFloat32(8, scale.scale, true);
  out[12] = scale.zero;
  out[13] = at - start;
  out[14] = length;
  out[15] = 0;
  for (let i = 0; i < length; i++) out[16 + i] = toByte(values[start + i]!, scale);
  out.fill(0, 16 + length, CONTEXT_BYTES);
}

/** Reads what `writeContext` wrote; undefined for a place that was not filled. */
export function readContext(bytes: Uint8Array): CensusContext | undefined {
  const length = bytes[14]!;
  if (length === 0) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, CONTEXT_BYTES);
  const scale = view.getFloat32(8, true);
  const zero = bytes[12]!;
  return {
    start: view.getUint32(0, true),
    peak: bytes[13]!,
    value: view.getFloat32(4, true),
    bin: bytes[15]!,
    values: Float32Array.from({ length }, (_, i) => (bytes[16 + i]! - zero) * scale),
    error: scale / 2,
  };
}

/**
 * The contexts of many units with the highest keys, a fixed number for each. A key that equals the lowest does not
 * take its place.
 */
export interface ContextKeeper {
  readonly size: number;
  /** `[nUnits, size]` */
  readonly keys: Float64Array;
  readonly used: Uint32Array;
  /** `[nUnits, size]`: the token that each context was chosen for. */
  readonly tokens: Int32Array;
  /** Place of the unit's lowest key, once all places are taken. */
  readonly lowest: Uint32Array;
  /** `[nUnits, size, CONTEXT_BYTES]` */
  readonly records: Uint8Array;
}

export function createKeeper(nUnits: number, size: number): ContextKeeper {
  return {
    size,
    keys: new Float64Array(nUnits * size),
    used: new Uint32Array(nUnits),
    tokens: new Int32Array(nUnits * size),
    lowest: new Uint32Array(nUnits),
    records: new Uint8Array(nUnits * size * CONTEXT_BYTES),
  };
}

/** What a key must pass to be kept. */
export function keyToBeat({ size, keys, used, lowest }: ContextKeeper, unit: number): number {
  return used[unit]! < size ? Number.NEGATIVE_INFINITY : keys[unit * size + lowest[unit]!]!;
}

/** Takes the place of the lowest key, or a free one, and returns the bytes to write the context to. */
export function takePlace(
  keeper: ContextKeeper,
  unit: number,
  key: number,
  token: number,
): Uint8Array {
  const { size, keys, used, lowest, tokens, records } = keeper;
  const start = unit * size;
  const place = used[unit]! < size ? used[unit]!++ : lowest[unit]!;
  keys[start + place] = key;
  tokens[start + place] = token;
  if (used[unit] === size) {
    let low = 0;
    for (let i = 1; i < size; i++) if (keys[start + i]! < keys[start + low]!) low = i;
    lowest[unit] = low;
  }
  const at = (start + place) * CONTEXT_BYTES;
  return records.subarray(at, at + CONTEXT_BYTES);
}

/** The places of a unit in the order of their keys, the highest first; of equal ones the earlier token. */
export function rankedRecords(
  { size, keys, used, records }: ContextKeeper,
  unit: number,
): Uint8Array[] {
  const start = unit * size;
  const record = (i: number) =>
    records.subarray((start + i) * CONTEXT_BYTES, (start + i + 1) * CONTEXT_BYTES);
  const token = (i: number) => {
    const bytes = record(i);
    return (
      new DataView(bytes.buffer, bytes.byteOffset, CONTEXT_BYTES).getUint32(0, true) + bytes[13]!
    );
  };
  return Array.from({ length: used[unit]! }, (_, i) => i)
    .sort((a, b) => keys[start + b]! - keys[start + a]! || token(a) - token(b))
    .map(record);
}
