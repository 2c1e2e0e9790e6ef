/**
 * Products of short rows of float32 in WebAssembly, summed in float64, four at a time: what scoring of penalties spends its time in, and
 * five times as fast there as a loop. The module is put together here, instruction by instruction, as those of linalg are.
 *
 * Source: WebAssembly Core Specification 2.0, 5 (binary format).
 */

/** What is used of WebAssembly, which is not part of ECMAScript's types. */
declare const WebAssembly: {
  readonly Memory: new (size: { readonly initial: number }) => { readonly buffer: ArrayBuffer };
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (
    module: object,
    imports: Readonly<Record<string, Readonly<Record<string, object>>>>,
  ) => { readonly exports: Readonly<Record<string, (...at: number[]) => void>> };
};

/** Rows of one length in memory, and their products. */
interface RowProducts {
  /** Writes a row; the rest of its room stays 0. */
  set(row: number, values: Float32Array): void;
  /** sums[4 g + i] = row times row 4 g + i, for four rows g. */
  four(row: number, g: number): void;
  /** Where sums are written, one for each row. */
  readonly sums: Float64Array;
}

/** Makes room for rows, or gives again the room of before where it fits: memories of WebAssembly are dear to make. */
export type RowRoom = (nRows: number, length: number) => RowProducts;

export function rowRoom(): RowRoom {
  let last:
    | { readonly nRows: number; readonly length: number; readonly room: RowProducts }
    | undefined;
  return (nRows, length) => {
    if (last === undefined || last.length !== length || last.nRows < nRows) {
      last = { nRows, length, room: rowProducts(nRows, length) };
    }
    return last.room;
  };
}

/** Room for rows of `length` values; their number is rounded up to four. */
function rowProducts(nRows: number, length: number): RowProducts {
  const room = 4 * Math.ceil(nRows / 4);
  const stride = 4 * Math.ceil(length / 4);
  const bytes = 4 * room * stride;
  const memory = new WebAssembly.Memory({ initial: Math.ceil((bytes + 8 * room) / 65536) });
  const { exports } = new WebAssembly.Instance(compiled, { m: { m: memory } });
  const rows = new Float32Array(memory.buffer, 0, room * stride);
  const dots = exports["dots"]!;
  return {
    set: (row, values) => rows.set(values, row * stride),
    four: (row, g) => {
      const a = 4 * row * stride;
      dots(a, a + 4 * stride, 16 * g * stride, 4 * stride, bytes + 32 * g);
    },
    sums: new Float64Array(memory.buffer, bytes, room),
  };
}

type Code = readonly number[];

const I32 = 0x7f;
const V128 = 0x7b;
const [A, END, B0, STRIDE, OUT, B1, B2, B3] = [0, 1, 2, 3, 4, 5, 6, 7];
const VALUE = 8;
const TOTALS: readonly number[] = [9, 10, 11, 12];
const ROWS: readonly number[] = [B0, B1, B2, B3];
const get = (local: number): Code => [0x20, local];
const set = (local: number, value: Code): Code => [...value, 0x21, local];
const plus = (a: Code, b: Code): Code => [...a, ...b, 0x6a];
/** Two float32 from an address, as float64. */
const load = (address: number, offset: number): Code => [
  ...[...get(address), 0xfd, 0x5d, 2, offset],
  ...[0xfd, 0x5f],
];
const add = (a: Code, b: Code): Code => [...a, ...b, 0xfd, 0xf0, 1];
const multiply = (a: Code, b: Code): Code => [...a, ...b, 0xfd, 0xf2, 1];
/** The sum of both lanes. */
const across = (local: number): Code => [
  ...[...get(local), 0xfd, 0x21, 0],
  ...[...get(local), 0xfd, 0x21, 1, 0xa0],
];

function dotsCode(): Code {
  const two = (offset: number): Code => [
    ...set(VALUE, load(A, offset)),
    ...ROWS.flatMap((row, k) =>
      set(TOTALS[k]!, add(get(TOTALS[k]!), multiply(get(VALUE), load(row, offset)))),
    ),
  ];
  const advance = [A, ...ROWS].flatMap((p) => set(p, plus(get(p), [0x41, 16])));
  return [
    ...[B1, B2, B3].flatMap((row, k) => set(row, plus(get(ROWS[k]!), get(STRIDE)))),
    ...[0x02, 0x40, 0x03, 0x40], // block, loop
    ...[...get(A), ...get(END), 0x4f, 0x0d, 1],
    ...[...two(0), ...two(8), ...advance],
    ...[0x0c, 0, 0x0b, 0x0b],
    ...TOTALS.flatMap((total, k) => [...get(OUT), ...across(total), 0x39, 3, 8 * k]),
  ];
}

/** Counts come before what they count, lengths before bytes. */
function moduleBytes(): Uint8Array<ArrayBuffer> {
  const text = (s: string): Code => [s.length, ...new TextEncoder().encode(s)];
  const sized = (bytes: Code): Code => [...unsigned(bytes.length), ...bytes];
  const section = (id: number, part: Code): Code => [id, ...sized([1, ...part])];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [0x60, 5, I32, I32, I32, I32, I32, 0]),
    ...section(2, [...text("m"), ...text("m"), 0x02, 0, 1]),
    ...section(3, [0]),
    ...section(7, [...text("dots"), 0, 0]),
    ...section(10, sized([2, 3, I32, 5, V128, ...dotsCode(), 0x0b])),
  ]);
}

/** LEB128. */
function unsigned(value: number): Code {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >> 7)];
}

const compiled = new WebAssembly.Module(moduleBytes());
