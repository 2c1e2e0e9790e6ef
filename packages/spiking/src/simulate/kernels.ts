import { DataError, type FloatArray } from "@penfield/core";
import {
  add,
  and,
  anyTrue,
  both,
  type Code,
  choose,
  compile,
  constant,
  demote,
  either,
  float32Lanes,
  float64Lanes,
  isZero,
  type Lanes,
  type Locals,
  load,
  loadInt,
  multiply,
  or,
  promoteLow,
  repeatWhile,
  shiftLeft,
  shiftRight,
  shuffle,
  store,
  storeInt,
  subtract,
  trailingZeros,
  type WasmFunction,
  wasmFunction,
  when,
  whileBelow,
} from "./wasm.ts";

export type Precision = "float64" | "float32";

/** Which units of each row are not 0: rows one after the other, units ascending. */
export interface Events {
  /** `[nRows + 1]`: where each row's units begin. */
  readonly start: Int32Array;
  /** `start[nRows]` of them are valid. */
  readonly index: Int32Array;
  /** All of them are 1. */
  readonly ones: boolean;
}

/** A matrix cut into strips of columns that a loop holds in registers, each strip `[nIn, width]`. */
export interface Strips {
  readonly nIn: number;
  readonly nOut: number;
  readonly data: FloatArray;
  /** First output of each strip, and its width in vectors. */
  readonly strips: readonly { readonly first: number; readonly vectors: number }[];
}

/** What each input adds to which outputs: those of input i from `start[i]` up to `start[i + 1]`. */
export interface WeightLists {
  readonly start: Int32Array;
  readonly target: Int32Array;
  readonly value: FloatArray;
}

/** How units with a threshold go from step to step. */
export interface FireRule {
  readonly strict: boolean;
  readonly subtracts: boolean;
}

/**
 * The innermost loops, in WebAssembly with SIMD, over arrays that lie in one memory. Sums of a step are in double precision
 * until they are stored, products with weights are added up in the precision of the run, input after input.
 */
export interface Kernels {
  /**
   * One row of units: `p = a v + k + c x`, threshold, reset. Units that spike are listed from `count` on.
   *
   * @returns The new count.
   */
  fire(
    rule: FireRule,
    records: Records,
    v: FloatArray,
    vFrom: number,
    x: FloatArray,
    xFrom: number,
    out: FloatArray,
    outFrom: number,
    n: number,
    index: Int32Array,
    count: number,
  ): number;
  /** One row of synapses: `i = ai i + ci x`; what drives the membrane (the new or the old i) goes to `drive`. */
  synapse(
    newCurrent: boolean,
    records: Records,
    i: FloatArray,
    from: number,
    x: FloatArray,
    xFrom: number,
    drive: Float64Array,
    n: number,
  ): void;
  /** Lists what is not 0 in rows from `first` on; true if all of it is 1. */
  scan(
    x: FloatArray,
    n: number,
    first: number,
    nRows: number,
    events: Pick<Events, "start" | "index">,
  ): boolean;
  /** `out = W x + b` for rows from `first` on, adding up the weights of listed inputs. */
  sum(
    weights: Strips,
    bias: FloatArray,
    x: FloatArray,
    out: FloatArray,
    first: number,
    nRows: number,
    events: Events,
  ): void;
  /** The same by lists of weights that are not 0; their targets are in bytes. */
  scatter(
    weights: WeightLists,
    nIn: number,
    nOut: number,
    bias: FloatArray,
    x: FloatArray,
    out: FloatArray,
    first: number,
    nRows: number,
    events: Events,
  ): void;
  copy(to: FloatArray, toFrom: number, from: FloatArray, start: number, n: number): void;
  /** `to += from`. */
  accumulate(to: FloatArray, toFrom: number, from: FloatArray, start: number, n: number): void;
}

/** Coefficients of units in the order in which a loop reads them; equal units share one record. */
export interface Records {
  readonly data: Float64Array;
  /** Bytes from one vector's record to the next. */
  readonly stride: number;
}

/** Asks for arrays; all are given at once, when it is known how much there is. */
export interface Arena {
  floats(n: number, use: (array: FloatArray) => void): void;
  doubles(n: number, use: (array: Float64Array) => void): void;
  ints(n: number, use: (array: Int32Array) => void): void;
}

const LIMIT = 3.5 * 2 ** 30;
/** Accumulators of a strip: with the factor, they fit into the registers of every machine. */
const MOST_VECTORS = 8;

/**
 * Kernels with a memory that holds the arrays asked for; new arrays are 0.
 *
 * @throws {DataError} if they need more than 3.5 GiB.
 */
export function makeKernels(precision: Precision, ask: (arena: Arena) => void): Kernels {
  const double = precision === "float64";
  const requests: ((buffer: ArrayBuffer) => void)[] = [];
  let size = 64;
  const reserve = (nBytes: number): number => {
    const at = size;
    // 16 bytes beyond the end may be read.
    size = Math.ceil((size + nBytes + 16) / 64) * 64;
    return at;
  };
  const doubles: Arena["doubles"] = (n, use) => {
    const at = reserve(8 * n);
    requests.push((buffer) => use(new Float64Array(buffer, at, n)));
  };
  ask({
    doubles,
    floats(n, use) {
      if (double) return doubles(n, use);
      const at = reserve(4 * n);
      requests.push((buffer) => use(new Float32Array(buffer, at, n)));
    },
    ints(n, use) {
      const at = reserve(4 * n);
      requests.push((buffer) => use(new Int32Array(buffer, at, n)));
    },
  });
  if (size > LIMIT) {
    throw new DataError(
      `run: expected a batch that fits into 3.5 GiB, got ${(size / 2 ** 30).toFixed(1)} GiB for one time step`,
      { hint: "Run fewer rows at a time." },
    );
  }
  const { buffer, exports } = modules[precision](size);
  for (const give of requests) give(buffer);
  return kernelsOf(exports, double ? float64Lanes : float32Lanes);
}

function kernelsOf(
  exports: Readonly<Record<string, (...values: number[]) => number>>,
  { n: lanes, bytes }: Lanes,
): Kernels {
  const own = bytes === 8;
  const fireBy = (rule: FireRule, wide: boolean) => exports[fireName(rule, wide)]!;
  const sums = Array.from({ length: MOST_VECTORS }, (_, k) => ({
    ones: exports[sumName(k + 1, true)]!,
    scaled: exports[sumName(k + 1, false)]!,
  }));
  const rowsOf = (
    name: "copy" | "accumulate",
    to: FloatArray,
    toFrom: number,
    from: FloatArray,
    start: number,
    n: number,
  ): void => {
    const at = to.byteOffset + toFrom * bytes;
    exports[name]!(
      at,
      from.byteOffset + start * bytes,
      at + (n - (n % lanes)) * bytes,
      at + n * bytes,
    );
  };
  return {
    fire(rule, { data, stride }, v, vFrom, x, xFrom, out, outFrom, n, index, count) {
      const wide = !own && x.BYTES_PER_ELEMENT === 8;
      const from = v.byteOffset + vFrom * bytes;
      const to = index.byteOffset;
      const end = fireBy(rule, wide)(
        from,
        x.byteOffset + xFrom * x.BYTES_PER_ELEMENT,
        out.byteOffset + outFrom * bytes,
        data.byteOffset,
        stride,
        from + (n - (n % lanes)) * bytes,
        from + n * bytes,
        to + 4 * count,
      );
      return ((end >>> 0) - to) / 4;
    },
    synapse(newCurrent, { data, stride }, i, from, x, xFrom, drive, n) {
      const at = i.byteOffset + from * bytes;
      exports[newCurrent ? "synapseNew" : "synapseOld"]!(
        at,
        x.byteOffset + xFrom * bytes,
        drive.byteOffset,
        data.byteOffset,
        stride,
        at + (n - (n % lanes)) * bytes,
        at + n * bytes,
      );
    },
    scan(x, n, first, nRows, { start, index }) {
      const from = start.byteOffset + 4 * first;
      return (
        exports["scan"]!(
          x.byteOffset + first * n * bytes,
          (n - (n % lanes)) * bytes,
          n * bytes,
          from,
          from + 4 * nRows,
          index.byteOffset,
        ) === 1
      );
    },
    sum({ nIn, nOut, data, strips }, bias, x, out, first, nRows, { start, index, ones }) {
      const from = start.byteOffset + 4 * first;
      let at = data.byteOffset;
      for (const { first: column, vectors } of strips) {
        const kernel = sums[vectors - 1]!;
        (ones ? kernel.ones : kernel.scaled)(
          at,
          from,
          from + 4 * nRows,
          index.byteOffset,
          bias.byteOffset + column * bytes,
          out.byteOffset + (first * nOut + column) * bytes,
          nOut * bytes,
          x.byteOffset + first * nIn * bytes,
          nIn * bytes,
        );
        at += nIn * vectors * 16;
      }
    },
    scatter(weights, nIn, nOut, bias, x, out, first, nRows, { start, index }) {
      const from = start.byteOffset + 4 * first;
      const outFrom = out.byteOffset + first * nOut * bytes;
      exports["scatter"]!(
        weights.start.byteOffset,
        weights.target.byteOffset,
        weights.value.byteOffset,
        from,
        from + 4 * nRows,
        index.byteOffset,
        bias.byteOffset,
        outFrom,
        (nOut - (nOut % lanes)) * bytes,
        nOut * bytes,
        x.byteOffset + first * nIn * bytes,
        nIn * bytes,
      );
    },
    copy: (to, toFrom, from, start, n) => rowsOf("copy", to, toFrom, from, start, n),
    accumulate: (to, toFrom, from, start, n) => rowsOf("accumulate", to, toFrom, from, start, n),
  };
}

/** Coefficients `[nCoefficients][n]` as records; one for all if all units are equal. */
export function recordsOf(
  precision: Precision,
  coefficients: readonly Float64Array[],
): { readonly values: Float64Array; readonly stride: number } {
  const { n: lanes } = precision === "float64" ? float64Lanes : float32Lanes;
  const n = coefficients[0]!.length;
  const equal = coefficients.every((c) => c.every((value) => Object.is(value, c[0])));
  const nRecords = equal ? 1 : Math.ceil(n / lanes);
  const width = coefficients.length * lanes;
  const values = new Float64Array(nRecords * width);
  coefficients.forEach((c, m) => {
    for (let j = 0; j < nRecords * lanes; j++) {
      const record = Math.floor(j / lanes);
      values[record * width + m * lanes + (j % lanes)] = c[Math.min(j, n - 1)] ?? 0;
    }
  });
  return { values, stride: equal ? 0 : 8 * width };
}

/**
 * A matrix `[nOut, nIn]` in strips; undefined if it has fewer outputs than a vector. The last strip overlaps the one
 * before, so that all are whole: what is computed twice is equal.
 */
export function stripsOf(
  precision: Precision,
  weight: FloatArray,
  nOut: number,
  nIn: number,
): Strips | undefined {
  const { n: lanes } = precision === "float64" ? float64Lanes : float32Lanes;
  if (nOut < lanes || nIn === 0) return undefined;
  const strips: { first: number; vectors: number }[] = [];
  for (let first = 0; first < nOut; ) {
    const vectors = Math.min(MOST_VECTORS, Math.max(1, Math.floor((nOut - first) / lanes)));
    strips.push({ first: Math.min(first, nOut - vectors * lanes), vectors });
    first += vectors * lanes;
  }
  const size = strips.reduce((sum, { vectors }) => sum + nIn * vectors * lanes, 0);
  const data = precision === "float64" ? new Float64Array(size) : new Float32Array(size);
  let at = 0;
  for (const { first, vectors } of strips) {
    const width = vectors * lanes;
    for (let j = 0; j < width; j++) {
      const row = (first + j) * nIn;
      for (let i = 0; i < nIn; i++) data[at + i * width + j] = weight[row + i]!;
    }
    at += nIn * width;
  }
  return { nIn, nOut, data, strips };
}

const fireName = ({ strict, subtracts }: FireRule, wide: boolean): string =>
  `fire${strict ? "Above" : "From"}${subtracts ? "Subtract" : "Set"}${wide ? "Wide" : ""}`;
const sumName = (vectors: number, ones: boolean): string => `${ones ? "ones" : "scaled"}${vectors}`;

const range = (from: number, n: number): number[] => Array.from({ length: n }, (_, i) => from + i);
const HIGH = [...range(8, 8), ...range(8, 8)];
const LOW_HALVES = [...range(0, 8), ...range(16, 8)];
/** The first half of each 64-bit mask. */
const NARROW_MASKS = [0, 8, 16, 24].flatMap((at) => range(at, 4));

/** Two float32 as float64. */
const widen = (vector: Code, high: boolean): Code =>
  promoteLow(high ? shuffle(vector, vector, HIGH) : vector);

const f64 = float64Lanes;

/** Writes the numbers of the set lanes of `bits`, counted from `unit`, to `index`. */
const list = ({ get, set, advance }: Locals): Code =>
  when(
    get("bits"),
    repeatWhile(
      [
        ...storeInt(get("index"), add(get("unit"), trailingZeros(get("bits")))),
        ...advance("index", constant(4)),
        ...set("bits", and(get("bits"), subtract(get("bits"), constant(1)))),
      ],
      get("bits"),
    ),
  );

/** The coefficient `m` of the lanes 2 `half` and 2 `half` + 1. */
const coefficient =
  ({ get }: Locals, { n }: Lanes) =>
  (m: number, half: number): Code =>
    load(get("record"), 8 * n * m + 16 * half);

/** The same of one lane, where rows end. */
const lastCoefficient =
  ({ get }: Locals, { n }: Lanes) =>
  (m: number): Code =>
    f64.loadFirst(get("record"), 8 * n * m);

function fireFunction(lanes: Lanes, rule: FireRule, wide: boolean): WasmFunction {
  const { strict, subtracts } = rule;
  const narrow = lanes.bytes === 4;
  const halves = narrow ? [0, 1] : [0];
  const xBytes = wide ? 8 : lanes.bytes;
  return wasmFunction(
    fireName(rule, wide),
    ["v", "x", "out", "record", "stride", "end", "last", "index"],
    {
      unit: "i32",
      bits: "i32",
      old: "v128",
      drive: "v128",
      p0: "v128",
      p1: "v128",
      m0: "v128",
      m1: "v128",
      mask: "v128",
    },
    (locals) => {
      const { get, set, advance } = locals;
      const of = coefficient(locals, lanes);
      const one = lastCoefficient(locals, lanes);
      const membrane = (a: Code, v: Code, k: Code, c: Code, x: Code): Code =>
        f64.add(f64.add(f64.multiply(a, v), k), f64.multiply(c, x));
      const above = strict ? f64.greater : f64.greaterOrEqual;
      const after = (p: Code, reset: Code, m: Code): Code =>
        choose(subtracts ? f64.subtract(p, reset) : reset, p, m);
      const old = (half: number): Code => (narrow ? widen(get("old"), half === 1) : get("old"));
      const drive = (half: number): Code => {
        if (wide) return load(get("x"), 16 * half);
        return narrow ? widen(get("drive"), half === 1) : get("drive");
      };
      const reset = (half: number): Code => after(get(`p${half}`), of(4, half), get(`m${half}`));
      const blocks = whileBelow(get("v"), get("end"), [
        ...set("old", load(get("v"))),
        ...(wide ? [] : set("drive", load(get("x")))),
        ...halves.flatMap((h) => [
          ...set(`p${h}`, membrane(of(0, h), old(h), of(1, h), of(2, h), drive(h))),
          ...set(`m${h}`, above(get(`p${h}`), of(3, h))),
        ]),
        ...store(
          get("v"),
          narrow ? shuffle(demote(reset(0)), demote(reset(1)), LOW_HALVES) : reset(0),
        ),
        ...set("mask", narrow ? shuffle(get("m0"), get("m1"), NARROW_MASKS) : get("m0")),
        ...store(get("out"), both(get("mask"), lanes.all(1))),
        ...set("bits", lanes.bits(get("mask"))),
        ...list(locals),
        ...advance("v", constant(16)),
        ...advance("x", constant(xBytes * lanes.n)),
        ...advance("out", constant(16)),
        ...advance("unit", constant(lanes.n)),
        ...advance("record", get("stride")),
      ]);
      const wideValue = (value: Code): Code => (narrow ? promoteLow(value) : value);
      const x = wide ? f64.loadFirst(get("x")) : wideValue(lanes.loadFirst(get("x")));
      const stored = after(get("p0"), one(4), get("m0"));
      const rest = whileBelow(get("v"), get("last"), [
        ...set("p0", membrane(one(0), wideValue(lanes.loadFirst(get("v"))), one(1), one(2), x)),
        ...set("m0", above(get("p0"), one(3))),
        ...lanes.storeFirst(get("v"), narrow ? demote(stored) : stored),
        // Of a 64-bit mask either half is the 32-bit one.
        ...lanes.storeFirst(get("out"), both(get("m0"), lanes.all(1))),
        ...set("bits", and(f64.bits(get("m0")), constant(1))),
        ...list(locals),
        ...advance("v", constant(lanes.bytes)),
        ...advance("x", constant(xBytes)),
        ...advance("out", constant(lanes.bytes)),
        ...advance("unit", constant(1)),
        ...advance("record", constant(8)),
      ]);
      return [...blocks, ...rest, ...get("index")];
    },
    { returns: true },
  );
}

function synapseFunction(lanes: Lanes, newCurrent: boolean): WasmFunction {
  const narrow = lanes.bytes === 4;
  const halves = narrow ? [0, 1] : [0];
  return wasmFunction(
    newCurrent ? "synapseNew" : "synapseOld",
    ["i", "x", "drive", "record", "stride", "end", "last"],
    { old: "v128", input: "v128", n0: "v128", n1: "v128" },
    (locals) => {
      const { get, set, advance } = locals;
      const of = coefficient(locals, lanes);
      const one = lastCoefficient(locals, lanes);
      const wide = (name: string, half: number): Code =>
        narrow ? widen(get(name), half === 1) : get(name);
      const next = (ai: Code, i: Code, ci: Code, x: Code): Code =>
        f64.add(f64.multiply(ai, i), f64.multiply(ci, x));
      const blocks = whileBelow(get("i"), get("end"), [
        ...set("old", load(get("i"))),
        ...set("input", load(get("x"))),
        ...halves.flatMap((h) => [
          ...set(`n${h}`, next(of(0, h), wide("old", h), of(1, h), wide("input", h))),
          ...store(get("drive"), newCurrent ? get(`n${h}`) : wide("old", h), 16 * h),
        ]),
        ...store(
          get("i"),
          narrow ? shuffle(demote(get("n0")), demote(get("n1")), LOW_HALVES) : get("n0"),
        ),
        ...advance("i", constant(16)),
        ...advance("x", constant(16)),
        ...advance("drive", constant(8 * lanes.n)),
        ...advance("record", get("stride")),
      ]);
      const value = (name: string): Code => {
        const first = lanes.loadFirst(get(name));
        return narrow ? promoteLow(first) : first;
      };
      const rest = whileBelow(get("i"), get("last"), [
        ...set("old", value("i")),
        ...set("n0", next(one(0), get("old"), one(1), value("x"))),
        ...f64.storeFirst(get("drive"), newCurrent ? get("n0") : get("old")),
        ...lanes.storeFirst(get("i"), narrow ? demote(get("n0")) : get("n0")),
        ...advance("i", constant(lanes.bytes)),
        ...advance("x", constant(lanes.bytes)),
        ...advance("drive", constant(8)),
        ...advance("record", constant(8)),
      ]);
      return [...blocks, ...rest];
    },
  );
}

function scanFunction(lanes: Lanes): WasmFunction {
  return wasmFunction(
    "scan",
    ["x", "blockBytes", "rowBytes", "row", "rowsEnd", "list"],
    {
      index: "i32",
      unit: "i32",
      bits: "i32",
      blockEnd: "i32",
      rowEnd: "i32",
      value: "v128",
      active: "v128",
      odd: "v128",
    },
    (locals) => {
      const { get, set, advance } = locals;
      const look = (value: Code, nBytes: number, nUnits: number): Code => [
        ...set("value", value),
        ...set("active", lanes.notEqual(get("value"), lanes.all(0))),
        ...set("bits", lanes.bits(get("active"))),
        ...when(get("bits"), [
          ...set(
            "odd",
            either(get("odd"), both(get("active"), lanes.notEqual(get("value"), lanes.all(1)))),
          ),
          ...list(locals),
        ]),
        ...advance("x", constant(nBytes)),
        ...advance("unit", constant(nUnits)),
      ];
      return [
        ...set("index", add(get("list"), shiftLeft(loadInt(get("row")), constant(2)))),
        ...whileBelow(get("row"), get("rowsEnd"), [
          ...set("unit", constant(0)),
          ...set("blockEnd", add(get("x"), get("blockBytes"))),
          ...set("rowEnd", add(get("x"), get("rowBytes"))),
          ...whileBelow(get("x"), get("blockEnd"), look(load(get("x")), 16, lanes.n)),
          ...whileBelow(get("x"), get("rowEnd"), look(lanes.loadFirst(get("x")), lanes.bytes, 1)),
          ...storeInt(get("row"), shiftRight(subtract(get("index"), get("list")), constant(2)), 4),
          ...advance("row", constant(4)),
        ]),
        ...isZero(or(anyTrue(get("odd")), constant(0))),
      ];
    },
    { returns: true },
  );
}

function sumFunction(lanes: Lanes, vectors: number, ones: boolean): WasmFunction {
  const all = range(0, vectors);
  return wasmFunction(
    sumName(vectors, ones),
    ["strip", "row", "rowsEnd", "list", "bias", "out", "outStride", "x", "xStride"],
    {
      at: "i32",
      end: "i32",
      w: "i32",
      unit: "i32",
      ...Object.fromEntries(all.map((k) => [`s${k}`, "v128" as const])),
      factor: "v128",
    },
    ({ get, set, advance }) => {
      const place = (offset: number): Code =>
        add(get("list"), shiftLeft(loadInt(get("row"), offset), constant(2)));
      const shift = Math.log2(lanes.bytes);
      return whileBelow(get("row"), get("rowsEnd"), [
        ...set("at", place(0)),
        ...set("end", place(4)),
        ...all.flatMap((k) => set(`s${k}`, load(get("bias"), 16 * k))),
        ...whileBelow(get("at"), get("end"), [
          ...set("unit", loadInt(get("at"))),
          ...set("w", add(get("strip"), multiply(get("unit"), constant(16 * vectors)))),
          ...(ones
            ? []
            : set("factor", lanes.splat(add(get("x"), shiftLeft(get("unit"), constant(shift)))))),
          ...all.flatMap((k) => {
            const weight = load(get("w"), 16 * k);
            const part = ones ? weight : lanes.multiply(get("factor"), weight);
            return set(`s${k}`, lanes.add(get(`s${k}`), part));
          }),
          ...advance("at", constant(4)),
        ]),
        ...all.flatMap((k) => store(get("out"), get(`s${k}`), 16 * k)),
        ...advance("row", constant(4)),
        ...advance("out", get("outStride")),
        ...advance("x", get("xStride")),
      ]);
    },
  );
}

function scatterFunction(lanes: Lanes): WasmFunction {
  return wasmFunction(
    "scatter",
    [
      ...["starts", "targets", "values", "row", "rowsEnd", "list", "bias"],
      ...["out", "blockBytes", "rowBytes", "x", "xStride"],
    ],
    {
      at: "i32",
      end: "i32",
      unit: "i32",
      target: "i32",
      value: "i32",
      last: "i32",
      to: "i32",
      from: "i32",
      factor: "v128",
    },
    ({ get, set, advance }) => {
      const shift = Math.log2(lanes.bytes);
      const place = (offset: number): Code =>
        add(get("list"), shiftLeft(loadInt(get("row"), offset), constant(2)));
      const bound = (offset: number): Code =>
        loadInt(add(get("starts"), shiftLeft(get("unit"), constant(2))), offset);
      const sum = add(get("out"), loadInt(get("target")));
      return whileBelow(get("row"), get("rowsEnd"), [
        ...set("to", get("out")),
        ...set("from", get("bias")),
        ...copyRow({ get, set, advance }, lanes, (_, from) => from, [
          add(get("out"), get("blockBytes")),
          add(get("out"), get("rowBytes")),
        ]),
        ...set("at", place(0)),
        ...set("end", place(4)),
        ...whileBelow(get("at"), get("end"), [
          ...set("unit", loadInt(get("at"))),
          ...set("factor", lanes.splat(add(get("x"), shiftLeft(get("unit"), constant(shift))))),
          ...set("target", add(get("targets"), shiftLeft(bound(0), constant(2)))),
          ...set("last", add(get("targets"), shiftLeft(bound(4), constant(2)))),
          ...set("value", add(get("values"), shiftLeft(bound(0), constant(shift)))),
          ...whileBelow(get("target"), get("last"), [
            ...lanes.storeOne(
              sum,
              lanes.addOne(
                lanes.loadOne(sum),
                lanes.multiplyOne(lanes.firstOf(get("factor")), lanes.loadOne(get("value"))),
              ),
            ),
            ...advance("target", constant(4)),
            ...advance("value", constant(lanes.bytes)),
          ]),
          ...advance("at", constant(4)),
        ]),
        ...advance("row", constant(4)),
        ...advance("out", get("rowBytes")),
        ...advance("x", get("xStride")),
      ]);
    },
  );
}

/** From `to` up to the ends of whole vectors and of the row, what comes of the values at `to` and `from`. */
function copyRow(
  { get, advance }: Locals,
  lanes: Lanes,
  value: (to: Code, from: Code) => Code,
  [blockEnd, rowEnd]: readonly [Code, Code],
): Code {
  const step = (nBytes: number): Code => [
    ...advance("to", constant(nBytes)),
    ...advance("from", constant(nBytes)),
  ];
  return [
    ...whileBelow(get("to"), blockEnd, [
      ...store(get("to"), value(load(get("to")), load(get("from")))),
      ...step(16),
    ]),
    ...whileBelow(get("to"), rowEnd, [
      ...lanes.storeFirst(
        get("to"),
        value(lanes.loadFirst(get("to")), lanes.loadFirst(get("from"))),
      ),
      ...step(lanes.bytes),
    ]),
  ];
}

const copyFunction = (lanes: Lanes): WasmFunction =>
  wasmFunction("copy", ["to", "from", "end", "last"], {}, (locals) =>
    copyRow(locals, lanes, (_, from) => from, [locals.get("end"), locals.get("last")]),
  );

const accumulateFunction = (lanes: Lanes): WasmFunction =>
  wasmFunction("accumulate", ["to", "from", "end", "last"], {}, (locals) =>
    copyRow(locals, lanes, lanes.add, [locals.get("end"), locals.get("last")]),
  );

function functionsFor(lanes: Lanes): WasmFunction[] {
  const rules = [true, false].flatMap((strict) =>
    [true, false].map((subtracts) => ({ strict, subtracts })),
  );
  const widths = lanes.bytes === 4 ? [false, true] : [false];
  return [
    ...widths.flatMap((wide) => rules.map((rule) => fireFunction(lanes, rule, wide))),
    synapseFunction(lanes, true),
    synapseFunction(lanes, false),
    scanFunction(lanes),
    ...[true, false].flatMap((ones) =>
      range(1, MOST_VECTORS).map((vectors) => sumFunction(lanes, vectors, ones)),
    ),
    scatterFunction(lanes),
    copyFunction(lanes),
    accumulateFunction(lanes),
  ];
}

const modules = {
  float32: compile(functionsFor(float32Lanes)),
  float64: compile(functionsFor(float64Lanes)),
} as const;
