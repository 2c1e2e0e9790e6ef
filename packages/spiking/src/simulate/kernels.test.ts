import type { FloatArray } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Kernels, makeKernels, type Precision, recordsOf, stripsOf } from "./kernels.ts";

const precisions = ["float64", "float32"] as const;

/** Arrays with the given values where kernels find them. */
function place(
  precision: Precision,
  floats: Readonly<Record<string, readonly number[]>>,
  ints: Readonly<Record<string, readonly number[]>> = {},
  doubles: Readonly<Record<string, ArrayLike<number>>> = {},
): {
  kernels: Kernels;
  f: Record<string, FloatArray>;
  i: Record<string, Int32Array>;
  d: Record<string, Float64Array>;
} {
  const [f, i, d] = [{}, {}, {}] as [
    Record<string, FloatArray>,
    Record<string, Int32Array>,
    Record<string, Float64Array>,
  ];
  const kernels = makeKernels(precision, (arena) => {
    for (const [name, values] of Object.entries(floats)) {
      arena.floats(values.length, (array) => {
        array.set(values);
        f[name] = array;
      });
    }
    for (const [name, values] of Object.entries(ints)) {
      arena.ints(values.length, (array) => {
        array.set(values);
        i[name] = array;
      });
    }
    for (const [name, values] of Object.entries(doubles)) {
      arena.doubles(values.length, (array) => {
        array.set(values);
        d[name] = array;
      });
    }
  });
  return { kernels, f, i, d };
}

const round = (precision: Precision, value: number): number =>
  precision === "float32" ? Math.fround(value) : value;
const number = fc.double({ min: -3, max: 3, noNaN: true });
const numbers = (n: number) => fc.array(number, { minLength: n, maxLength: n });

describe.each(precisions)("in %s", (precision) => {
  const r = (value: number) => round(precision, value);
  const stored = (values: readonly number[]) => values.map(r);

  test("units fire as the equation says, to the last bit, whatever their number", () => {
    fc.assert(
      fc.property(
        fc
          .integer({ min: 1, max: 13 })
          .chain((n) => fc.tuple(...Array.from({ length: 7 }, () => numbers(n)))),
        fc.boolean(),
        fc.boolean(),
        fc.boolean(),
        fc.boolean(),
        (lists, strict, subtracts, wide, equal) => {
          const [v, x, ...rest] = lists as number[][];
          const n = v!.length;
          const coefficients = rest.map((c) =>
            Float64Array.from(c, (value) => (equal ? c[0]! : value)),
          );
          const [a, k, c, theta, reset] = coefficients as [
            Float64Array,
            Float64Array,
            Float64Array,
            Float64Array,
            Float64Array,
          ];
          const { values, stride } = recordsOf(precision, coefficients);
          const { kernels, f, i, d } = place(
            precision,
            { v: v!, x: x!, out: new Array(n).fill(7) },
            { index: new Array(n + 2).fill(-1) },
            { records: values, wide: x! },
          );
          const drive = wide ? d["wide"]! : f["x"]!;
          const spikes: number[] = [];
          const after = stored(v!).map((old, j) => {
            const p = a[j]! * old + k[j]! + c[j]! * drive[j]!;
            if (!(strict ? p > theta[j]! : p >= theta[j]!)) return r(p);
            spikes.push(j);
            return r(subtracts ? p - reset[j]! : reset[j]!);
          });
          const records = { data: d["records"]!, stride };
          const rule = { strict, subtracts };
          const count = kernels.fire(
            rule,
            records,
            f["v"]!,
            0,
            drive,
            0,
            f["out"]!,
            0,
            n,
            i["index"]!,
            2,
          );
          expect(Array.from(i["index"]!.subarray(2, count))).toEqual(spikes);
          expect(Array.from(f["v"]!)).toEqual(after);
          expect(Array.from(f["out"]!)).toEqual(after.map((_, j) => (spikes.includes(j) ? 1 : 0)));
        },
      ),
    );
  });

  test("a unit at its threshold fires only where the rule says so", () => {
    const { values, stride } = recordsOf(
      precision,
      [1, 0, 1, 1, 0].map((v) => Float64Array.of(v, v, v)),
    );
    for (const strict of [true, false]) {
      const { kernels, f, i, d } = place(
        precision,
        { v: [0, 0, 0], x: [1, 1, 1], out: [0, 0, 0] },
        { index: [0, 0, 0] },
        { records: values },
      );
      const records = { data: d["records"]!, stride };
      const rule = { strict, subtracts: false };
      expect(
        kernels.fire(rule, records, f["v"]!, 0, f["x"]!, 0, f["out"]!, 0, 3, i["index"]!, 0),
      ).toBe(strict ? 0 : 3);
    }
  });

  test("synapses", () => {
    fc.assert(
      fc.property(
        fc
          .integer({ min: 1, max: 9 })
          .chain((n) => fc.tuple(...Array.from({ length: 4 }, () => numbers(n)))),
        fc.boolean(),
        (lists, newCurrent) => {
          const [current, x, ai, ci] = lists as [number[], number[], number[], number[]];
          const { values, stride } = recordsOf(precision, [
            Float64Array.from(ai),
            Float64Array.from(ci),
          ]);
          const { kernels, f, d } = place(
            precision,
            { current, x },
            {},
            { records: values, drive: new Float64Array(x.length) },
          );
          const before = Array.from(f["current"]!);
          const next = before.map((old, j) => ai[j]! * old + ci[j]! * f["x"]![j]!);
          const records = { data: d["records"]!, stride };
          kernels.synapse(newCurrent, records, f["current"]!, 0, f["x"]!, 0, d["drive"]!, x.length);
          expect(Array.from(f["current"]!)).toEqual(next.map(r));
          expect(Array.from(d["drive"]!)).toEqual(newCurrent ? next : before);
        },
      ),
    );
  });

  test("what is not 0 is listed, and products are sums in the order of inputs", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 11 }),
        fc.integer({ min: 1, max: 75 }),
        fc.integer({ min: 1, max: 4 }),
        fc.infiniteStream(number),
        fc.infiniteStream(fc.constantFrom(0, 0, 0, 1, 1, 0.5)),
        fc.boolean(),
        (nIn, nOut, nRows, values, inputs, ones) => {
          const take = (n: number) =>
            Array.from({ length: n }, () => values.next().value as number);
          const weight = take(nOut * nIn).map(r);
          const bias = take(nOut).map(r);
          const x = Array.from({ length: nRows * nIn }, () => {
            const value = inputs.next().value as number;
            return ones && value !== 0 ? 1 : value;
          });
          const own =
            precision === "float64" ? Float64Array.from(weight) : Float32Array.from(weight);
          const strips = stripsOf(precision, own, nOut, nIn);
          const lists = { start: [0], target: [] as number[], value: [] as number[] };
          for (let i = 0; i < nIn; i++) {
            for (let j = 0; j < nOut; j++) {
              lists.target.push(j * own.BYTES_PER_ELEMENT);
              lists.value.push(weight[j * nIn + i]!);
            }
            lists.start.push(lists.target.length);
          }
          const { kernels, f, i } = place(
            precision,
            {
              x,
              bias,
              strips: Array.from(strips?.data ?? []),
              value: lists.value,
              byStrips: new Array(nRows * nOut).fill(9),
              byLists: new Array(nRows * nOut).fill(9),
            },
            {
              start: new Array(nRows + 1).fill(0),
              index: new Array(nRows * nIn).fill(0),
              starts: lists.start,
              targets: lists.target,
            },
          );
          const events = { start: i["start"]!, index: i["index"]! };
          const allOnes = kernels.scan(f["x"]!, nIn, 0, nRows, events);
          const active = Array.from({ length: nRows }, (_, row) =>
            Array.from({ length: nIn }, (_, k) => k).filter((k) => x[row * nIn + k] !== 0),
          );
          expect(Array.from(events.index.subarray(0, events.start[nRows]))).toEqual(active.flat());
          expect(allOnes).toBe(x.every((v) => v === 0 || v === 1));
          const expected = active.flatMap((units, row) =>
            bias.map((b, j) =>
              units.reduce((sum, k) => r(sum + r(r(x[row * nIn + k]!) * weight[j * nIn + k]!)), b),
            ),
          );
          if (strips) {
            const placed = { ...strips, data: f["strips"]! };
            for (const known of allOnes ? [true, false] : [false]) {
              kernels.sum(placed, f["bias"]!, f["x"]!, f["byStrips"]!, 0, nRows, {
                ...events,
                ones: known,
              });
              expect(Array.from(f["byStrips"]!)).toEqual(expected);
            }
          }
          const placed = { start: i["starts"]!, target: i["targets"]!, value: f["value"]! };
          const list = { ...events, ones: allOnes };
          kernels.scatter(placed, nIn, nOut, f["bias"]!, f["x"]!, f["byLists"]!, 0, nRows, list);
          expect(Array.from(f["byLists"]!)).toEqual(expected);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("rows are copied and added, and nothing beside them", () => {
    const { kernels, f } = place(precision, {
      to: [9, 1, 2, 3, 4, 5, 9],
      from: [0.5, 1.5, 2.5, 3.5, 4.5],
    });
    kernels.accumulate(f["to"]!, 1, f["from"]!, 0, 5);
    expect(Array.from(f["to"]!)).toEqual([9, 1.5, 3.5, 5.5, 7.5, 9.5, 9]);
    kernels.copy(f["to"]!, 2, f["from"]!, 1, 3);
    expect(Array.from(f["to"]!)).toEqual([9, 1.5, 1.5, 2.5, 3.5, 9.5, 9]);
  });
});

test("a batch that does not fit is refused", () => {
  expect(() => makeKernels("float64", (arena) => arena.floats(2 ** 29, () => undefined))).toThrow(
    "run: expected a batch that fits into 3.5 GiB, got 4.0 GiB for one time step",
  );
});
