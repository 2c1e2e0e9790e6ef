/**
 * Loops over vectors in WebAssembly with SIMD, two numbers at a time: what tridiagonalization and bidiagonalization spend their time in.
 * The module is put together here, instruction by instruction, as ONNX graphs are in graphModel.ts.
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

/** Places are in numbers, not bytes, from the start of `memory`; counts must be even. */
export interface VectorKernels {
  readonly memory: Float64Array;
  /**
   * Four rows of a symmetric matrix, `stride` apart, for both places of their entries:
   *
   *   sums[0..3] += rows v,   out += rows^T x[0..3]
   */
  readonly fourRows: (
    row: number,
    stride: number,
    v: number,
    out: number,
    count: number,
    x: number,
    sums: number,
  ) => void;
  /** sums[0..3] += rows v, for four rows that are `stride` apart. */
  readonly fourDots: (row: number, stride: number, v: number, count: number, sums: number) => void;
  /** out += rows^T x[0..3], for four rows that are `stride` apart. */
  readonly addFour: (row: number, stride: number, out: number, count: number, x: number) => void;
  /** x -= by[0] v + by[1] w + by[2] v' + by[3] w', v' and w' `stride` after v and w. */
  readonly subtractTwo: (
    x: number,
    v: number,
    w: number,
    stride: number,
    count: number,
    by: number,
  ) => void;
  /** to[0] = v x, to[1] = w x. */
  readonly dots: (x: number, v: number, w: number, count: number, to: number) => void;
}

/** What the last decomposition has given back. */
const spare: { kernels: VectorKernels | undefined } = { kernels: undefined };
/** Larger memories are left to the collector: 64 MiB. */
const MOST_SPARE = 2 ** 23;

/**
 * As `vectorKernels`, with the memory of an earlier decomposition if one is free: the collector does not see how large such memories
 * are, and hundreds of decompositions in a row would make it run for each. The memory may be larger than asked for.
 */
export function borrowKernels(size: number): VectorKernels {
  const { kernels } = spare;
  if (!kernels || kernels.memory.length < size) return vectorKernels(size);
  spare.kernels = undefined;
  kernels.memory.fill(0, 0, size);
  return kernels;
}

/** Gives a memory back; nothing may look into it any more. */
export function returnKernels(kernels: VectorKernels): void {
  const { length } = kernels.memory;
  if (length <= MOST_SPARE && length > (spare.kernels?.memory.length ?? 0)) spare.kernels = kernels;
}

/** Memory for `size` numbers, all 0, and the loops over it. */
export function vectorKernels(size: number): VectorKernels {
  const memory = new WebAssembly.Memory({ initial: Math.ceil((size * 8) / 65536) });
  const { exports } = new WebAssembly.Instance(compiled, { m: { m: memory } });
  const { fourRows, fourDots, addFour, subtractTwo, dots } = exports;
  return {
    memory: new Float64Array(memory.buffer),
    fourRows: (row, stride, v, out, count, x, sums) =>
      fourRows!(8 * row, 8 * stride, 8 * v, 8 * out, 8 * (v + count), 8 * x, 8 * sums),
    fourDots: (row, stride, v, count, sums) =>
      fourDots!(8 * row, 8 * stride, 8 * v, 8 * (v + count), 8 * sums),
    addFour: (row, stride, out, count, x) =>
      addFour!(8 * row, 8 * stride, 8 * out, 8 * (out + count), 8 * x),
    subtractTwo: (x, v, w, stride, count, by) =>
      subtractTwo!(8 * x, 8 * v, 8 * w, 8 * stride, 8 * (x + count), 8 * by),
    dots: (x, v, w, count, to) => dots!(8 * x, 8 * v, 8 * w, 8 * (x + count), 8 * to),
  };
}

type Code = readonly number[];

const I32 = 0x7f;
const V128 = 0x7b;
const get = (local: number): Code => [0x20, local];
const set = (local: number, value: Code): Code => [...value, 0x21, local];
const plus = (a: Code, b: Code): Code => [...a, ...b, 0x6a];
/** Two numbers from an address. */
const load = (address: number, offset = 0): Code => [...get(address), 0xfd, 0x00, 3, offset];
/** One number, twice. */
const twice = (address: number, offset: number): Code => [...get(address), 0xfd, 0x0a, 3, offset];
const store = (address: number, value: Code, offset = 0): Code => [
  ...get(address),
  ...value,
  0xfd,
  0x0b,
  3,
  offset,
];
const add = (a: Code, b: Code): Code => [...a, ...b, 0xfd, 0xf0, 1];
const subtract = (a: Code, b: Code): Code => [...a, ...b, 0xfd, 0xf1, 1];
const multiply = (a: Code, b: Code): Code => [...a, ...b, 0xfd, 0xf2, 1];
const advance = (address: number): Code => set(address, plus(get(address), [0x41, 16]));
/** Until `address` is at `end`. */
const whileBelow = (address: number, end: number, body: Code): Code => [
  ...[0x02, 0x40, 0x03, 0x40],
  ...[...get(address), ...get(end), 0x4f, 0x0d, 1],
  ...body,
  ...[0x0c, 0, 0x0b, 0x0b],
];
/** The sum of both lanes, as a float64. */
const across = (local: number): Code => [
  ...[...get(local), 0xfd, 0x21, 0],
  ...[...get(local), 0xfd, 0x21, 1, 0xa0],
];
const storeOne = (address: number, offset: number, value: Code): Code => [
  ...get(address),
  ...value,
  ...[0x39, 3, offset],
];
const loadOne = (address: number, offset: number): Code => [...get(address), 0x2b, 3, offset];

function fourRowsCode(): Code {
  const [row, stride, v, out, end, x, sums] = [0, 1, 2, 3, 4, 5, 6];
  const rows = [row, 7, 8, 9];
  const totals = [10, 11, 12, 13];
  const factors = [14, 15, 16, 17];
  const entries = [18, 19, 20, 21];
  const here = 22;
  const parts = entries.map((entry, k) => multiply(get(entry), get(factors[k]!)));
  return [
    ...rows.slice(1).flatMap((r, k) => set(r, plus(get(rows[k]!), get(stride)))),
    ...factors.flatMap((f, k) => set(f, twice(x, 8 * k))),
    ...whileBelow(v, end, [
      ...set(here, load(v)),
      ...entries.flatMap((entry, k) => set(entry, load(rows[k]!))),
      ...totals.flatMap((t, k) => set(t, add(get(t), multiply(get(entries[k]!), get(here))))),
      ...store(out, add(load(out), add(add(parts[0]!, parts[1]!), add(parts[2]!, parts[3]!)))),
      ...[...rows, v, out].flatMap(advance),
    ]),
    ...totals.flatMap((t, k) =>
      storeOne(sums, 8 * k, [...loadOne(sums, 8 * k), ...across(t), 0xa0]),
    ),
  ];
}

function fourDotsCode(): Code {
  const [row, stride, v, end, sums] = [0, 1, 2, 3, 4];
  const rows = [row, 5, 6, 7];
  const totals = [8, 9, 10, 11];
  const here = 12;
  return [
    ...rows.slice(1).flatMap((r, k) => set(r, plus(get(rows[k]!), get(stride)))),
    ...whileBelow(v, end, [
      ...set(here, load(v)),
      ...totals.flatMap((t, k) => set(t, add(get(t), multiply(load(rows[k]!), get(here))))),
      ...[...rows, v].flatMap(advance),
    ]),
    ...totals.flatMap((t, k) =>
      storeOne(sums, 8 * k, [...loadOne(sums, 8 * k), ...across(t), 0xa0]),
    ),
  ];
}

function addFourCode(): Code {
  const [row, stride, out, end, x] = [0, 1, 2, 3, 4];
  const rows = [row, 5, 6, 7];
  const factors = [8, 9, 10, 11];
  const parts = rows.map((r, k) => multiply(load(r), get(factors[k]!)));
  return [
    ...rows.slice(1).flatMap((r, k) => set(r, plus(get(rows[k]!), get(stride)))),
    ...factors.flatMap((f, k) => set(f, twice(x, 8 * k))),
    ...whileBelow(out, end, [
      ...store(out, add(load(out), add(add(parts[0]!, parts[1]!), add(parts[2]!, parts[3]!)))),
      ...[...rows, out].flatMap(advance),
    ]),
  ];
}

function subtractTwoCode(): Code {
  const [x, v, w, stride, end, by] = [0, 1, 2, 3, 4, 5];
  const [nextV, nextW] = [6, 7];
  const factors = [8, 9, 10, 11];
  const parts = [v, w, nextV, nextW].map((at, k) => multiply(load(at), get(factors[k]!)));
  return [
    ...set(nextV, plus(get(v), get(stride))),
    ...set(nextW, plus(get(w), get(stride))),
    ...factors.flatMap((f, k) => set(f, twice(by, 8 * k))),
    ...whileBelow(x, end, [
      ...store(x, subtract(load(x), add(add(parts[0]!, parts[1]!), add(parts[2]!, parts[3]!)))),
      ...[x, v, w, nextV, nextW].flatMap(advance),
    ]),
  ];
}

function dotsCode(): Code {
  const [x, v, w, end, to] = [0, 1, 2, 3, 4];
  const [byV, byW] = [5, 6];
  return [
    ...whileBelow(x, end, [
      ...set(byV, add(get(byV), multiply(load(v), load(x)))),
      ...set(byW, add(get(byW), multiply(load(w), load(x)))),
      ...[x, v, w].flatMap(advance),
    ]),
    ...storeOne(to, 0, across(byV)),
    ...storeOne(to, 8, across(byW)),
  ];
}

/** Counts come before what they count, lengths before bytes. */
function moduleBytes(): Uint8Array<ArrayBuffer> {
  const functions = [
    { name: "fourRows", parameters: 7, addresses: 3, vectors: 13, code: fourRowsCode() },
    { name: "fourDots", parameters: 5, addresses: 3, vectors: 5, code: fourDotsCode() },
    { name: "addFour", parameters: 5, addresses: 3, vectors: 4, code: addFourCode() },
    { name: "subtractTwo", parameters: 6, addresses: 2, vectors: 4, code: subtractTwoCode() },
    { name: "dots", parameters: 5, addresses: 0, vectors: 2, code: dotsCode() },
  ];
  const text = (s: string): Code => [s.length, ...new TextEncoder().encode(s)];
  const sized = (bytes: Code): Code => [...unsigned(bytes.length), ...bytes];
  const section = (id: number, parts: readonly Code[]): Code => [
    id,
    ...sized([...unsigned(parts.length), ...parts.flat()]),
  ];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(
      1,
      functions.map(({ parameters }) => [0x60, parameters, ...Array(parameters).fill(I32), 0]),
    ),
    ...section(2, [[...text("m"), ...text("m"), 0x02, 0, 1]]),
    ...section(
      3,
      functions.map((_, i) => [i]),
    ),
    ...section(
      7,
      functions.map(({ name }, i) => [...text(name), 0, i]),
    ),
    ...section(
      10,
      functions.map(({ addresses, vectors, code }) =>
        sized([2, addresses, I32, vectors, V128, ...code, 0x0b]),
      ),
    ),
  ]);
}

/** LEB128. */
function unsigned(value: number): Code {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >> 7)];
}

const compiled = new WebAssembly.Module(moduleBytes());
