/**
 * As much of an assembler for WebAssembly with SIMD as the loops of kernels.ts need: functions with named locals become
 * a module over one imported memory.
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
  ) => { readonly exports: Readonly<Record<string, (...values: number[]) => number>> };
};

/** Instructions, the operands of each before it. */
export type Code = readonly number[];

type LocalType = "i32" | "v128";
const TYPES: Readonly<Record<LocalType, number>> = { i32: 0x7f, v128: 0x7b };

type Operation = (...operands: readonly Code[]) => Code;
type Load = (address: Code, offset?: number) => Code;
type Store = (address: Code, value: Code, offset?: number) => Code;

/** The locals of a function by name. */
export interface Locals {
  readonly get: (name: string) => Code;
  readonly set: (name: string, value: Code) => Code;
  /** `name += by`. */
  readonly advance: (name: string, by: Code) => Code;
}

export interface WasmFunction {
  readonly name: string;
  readonly nParameters: number;
  readonly locals: readonly LocalType[];
  readonly returns: boolean;
  readonly code: Code;
}

/** A function whose parameters are all i32. */
export function wasmFunction(
  name: string,
  parameters: readonly string[],
  locals: Readonly<Record<string, LocalType>>,
  body: (locals: Locals) => Code,
  { returns = false }: { readonly returns?: boolean } = {},
): WasmFunction {
  const places = new Map([...parameters, ...Object.keys(locals)].map((key, i) => [key, i]));
  const place = (key: string): Code => {
    const found = places.get(key);
    if (found === undefined) throw new RangeError(`wasmFunction: ${name} has no local ${key}`);
    return [found];
  };
  const get = (key: string): Code => [0x20, ...place(key)];
  const set = (key: string, value: Code): Code => [...value, 0x21, ...place(key)];
  const advance = (key: string, by: Code): Code => set(key, add(get(key), by));
  return {
    name,
    nParameters: parameters.length,
    locals: Object.values(locals),
    returns,
    code: body({ get, set, advance }),
  };
}

const operation =
  (...bytes: number[]) =>
  (...operands: readonly Code[]): Code => [...operands.flat(), ...bytes];

export const constant = (value: number): Code => [0x41, ...signed(value)];
export const add: Operation = operation(0x6a);
export const subtract: Operation = operation(0x6b);
export const multiply: Operation = operation(0x6c);
export const and: Operation = operation(0x71);
export const or: Operation = operation(0x72);
export const shiftLeft: Operation = operation(0x74);
export const shiftRight: Operation = operation(0x76);
export const isZero: Operation = operation(0x45);
export const trailingZeros: Operation = operation(0x68);
const scalarLoad =
  (code: number): Load =>
  (address, offset = 0) => [...address, code, 2, ...unsigned(offset)];
const scalarStore =
  (code: number): Store =>
  (address, value, offset = 0) => [...address, ...value, code, 2, ...unsigned(offset)];
export const loadInt: Load = scalarLoad(0x28);
export const storeInt: Store = scalarStore(0x36);

/** As long as the address `name` is below `end`. */
export const whileBelow = (name: Code, end: Code, body: Code): Code => [
  ...[0x02, 0x40, 0x03, 0x40],
  ...[...name, ...end, 0x4f, 0x0d, 1],
  ...body,
  ...[0x0c, 0, 0x0b, 0x0b],
];
/** At least once, as long as what comes after is not 0. */
export const repeatWhile = (body: Code, condition: Code): Code => [
  ...[0x03, 0x40],
  ...body,
  ...condition,
  ...[0x0d, 0, 0x0b],
];
export const when = (condition: Code, body: Code): Code => [
  ...condition,
  ...[0x04, 0x40],
  ...body,
  0x0b,
];

const simd =
  (code: number) =>
  (...operands: readonly Code[]): Code => [...operands.flat(), 0xfd, ...unsigned(code)];
const memory =
  (code: number) =>
  (address: Code, offset = 0): Code => [
    ...address,
    0xfd,
    ...unsigned(code),
    2,
    ...unsigned(offset),
  ];

/** 16 bytes. */
export const load: Load = memory(0x00);
/** One number, in the first lane and 0 in the others. */
const loadFirst32 = memory(0x5c);
const loadFirst64 = memory(0x5d);
const splat32 = memory(0x09);
const splat64 = memory(0x0a);
export const store = (address: Code, value: Code, offset = 0): Code => [
  ...address,
  ...value,
  0xfd,
  0x0b,
  2,
  ...unsigned(offset),
];
const storeFirst =
  (code: number) =>
  (address: Code, value: Code, offset = 0): Code => [
    ...address,
    ...value,
    ...[0xfd, code, 2, ...unsigned(offset), 0],
  ];
const vectorOf = (bytes: ArrayBufferLike): Code => [0xfd, 0x0c, ...new Uint8Array(bytes)];
/** Bytes of two vectors, the second's counted from 16. */
export const shuffle = (a: Code, b: Code, lanes: readonly number[]): Code => [
  ...a,
  ...b,
  ...[0xfd, 0x0d],
  ...lanes,
];
export const both: Operation = simd(0x4e);
export const either: Operation = simd(0x50);
/** `a` where the mask is set, else `b`. */
export const choose: Operation = simd(0x52);
export const anyTrue: Operation = simd(0x53);
export const demote: Operation = simd(0x5e);
export const promoteLow: Operation = simd(0x5f);

/** Instructions for vectors of float32 or float64. */
export interface Lanes {
  /** Numbers in a vector. */
  readonly n: number;
  readonly bytes: number;
  readonly add: Operation;
  readonly subtract: Operation;
  readonly multiply: Operation;
  readonly greater: Operation;
  readonly greaterOrEqual: Operation;
  readonly notEqual: Operation;
  /** A bit for each lane. */
  readonly bits: Operation;
  readonly splat: Load;
  /** Of single numbers. */
  readonly loadOne: Load;
  readonly storeOne: Store;
  readonly addOne: Operation;
  readonly multiplyOne: Operation;
  /** The first lane as a single number. */
  readonly firstOf: Operation;
  readonly loadFirst: Load;
  readonly storeFirst: Store;
  readonly all: (value: number) => Code;
}

export const float32Lanes: Lanes = {
  n: 4,
  bytes: 4,
  add: simd(0xe4),
  subtract: simd(0xe5),
  multiply: simd(0xe6),
  greater: simd(0x44),
  greaterOrEqual: simd(0x46),
  notEqual: simd(0x42),
  bits: simd(0xa4),
  splat: splat32,
  loadOne: scalarLoad(0x2a),
  storeOne: scalarStore(0x38),
  addOne: operation(0x92),
  multiplyOne: operation(0x94),
  firstOf: operation(0xfd, 0x1f, 0),
  loadFirst: loadFirst32,
  storeFirst: storeFirst(0x5a),
  all: (value) => vectorOf(new Float32Array(4).fill(value).buffer),
};

export const float64Lanes: Lanes = {
  n: 2,
  bytes: 8,
  add: simd(0xf0),
  subtract: simd(0xf1),
  multiply: simd(0xf2),
  greater: simd(0x4a),
  greaterOrEqual: simd(0x4c),
  notEqual: simd(0x48),
  bits: simd(0xc4),
  splat: splat64,
  loadOne: scalarLoad(0x2b),
  storeOne: scalarStore(0x39),
  addOne: operation(0xa0),
  multiplyOne: operation(0xa2),
  firstOf: operation(0xfd, 0x21, 0),
  loadFirst: loadFirst64,
  storeFirst: storeFirst(0x5b),
  all: (value) => vectorOf(new Float64Array(2).fill(value).buffer),
};

/** Compiled functions, to be given a memory. */
export function compile(functions: readonly WasmFunction[]): (nBytes: number) => {
  readonly buffer: ArrayBuffer;
  readonly exports: Readonly<Record<string, (...values: number[]) => number>>;
} {
  const compiled = new WebAssembly.Module(moduleBytes(functions));
  return (nBytes) => {
    const memory = new WebAssembly.Memory({ initial: Math.ceil(nBytes / 65536) });
    const { exports } = new WebAssembly.Instance(compiled, { m: { m: memory } });
    return { buffer: memory.buffer, exports };
  };
}

/** Counts come before what they count, lengths before bytes. */
function moduleBytes(functions: readonly WasmFunction[]): Uint8Array {
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
      functions.map(({ nParameters, returns }) => [
        ...[0x60, nParameters, ...new Array<number>(nParameters).fill(TYPES.i32)],
        ...(returns ? [1, TYPES.i32] : [0]),
      ]),
    ),
    ...section(2, [[...text("m"), ...text("m"), 0x02, 0, 1]]),
    ...section(
      3,
      functions.map((_, i) => unsigned(i)),
    ),
    ...section(
      7,
      functions.map(({ name }, i) => [...text(name), 0, ...unsigned(i)]),
    ),
    ...section(
      10,
      functions.map(({ locals, code }) =>
        sized([
          ...unsigned(locals.length),
          ...locals.flatMap((type) => [1, TYPES[type]]),
          ...code,
          0x0b,
        ]),
      ),
    ),
  ]);
}

/** LEB128. */
function unsigned(value: number): Code {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

function signed(value: number): Code {
  return value >= -64 && value < 64
    ? [value & 0x7f]
    : [(value & 0x7f) | 0x80, ...signed(value >> 7)];
}
