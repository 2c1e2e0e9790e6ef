import { float16ToNumber } from "@penfield/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import { float16Table, toFloat16 } from "./float16.ts";

const one = (value: number): number => toFloat16(new Float32Array([value]))[0]!;

test("cases by hand: numpy.float16's bits", () => {
  const cases: [number, number][] = [
    [0, 0],
    [-0, 0x8000],
    [1, 0x3c00],
    [-2, 0xc000],
    [65504, 0x7bff],
    [65519.996, 0x7bff],
    [65520, 0x7c00],
    [1e30, 0x7c00],
    [-1e30, 0xfc00],
    [2 ** -14, 0x0400],
    [2 ** -24, 0x0001],
    [2 ** -25, 0x0000], // a tie: to the even one
    [1.5 * 2 ** -24, 0x0002], // a tie: to the even one
    [2 ** -25 * 1.0001, 0x0001],
    [2 ** -26, 0x0000],
    [1 + 2 ** -11, 0x3c00], // a tie
    [1 + 3 * 2 ** -11, 0x3c02], // a tie
    [Number.POSITIVE_INFINITY, 0x7c00],
    [Number.NaN, 0x7e00],
  ];
  for (const [value, bits] of cases) {
    expect(one(value), String(value)).toBe(bits);
  }
});

test("every half precision number comes back", () => {
  const table = float16Table();
  const back = toFloat16(table);
  for (let bits = 0; bits < 1 << 16; bits++) {
    expect(table[bits]).toBe(float16ToNumber(bits));
    if (!Number.isNaN(table[bits])) expect(back[bits], String(bits)).toBe(bits);
  }
});

test("any number goes to the nearest, a tie to the even one", () => {
  // The positive finite ones, in order; what a search finds is the reference.
  const values = Array.from({ length: 0x7c00 }, (_, bits) => float16ToNumber(bits));
  const nearest = (x: number): number => {
    let low = 0;
    let high = values.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (values[middle]! <= x) low = middle;
      else high = middle;
    }
    const [below, above] = [x - values[low]!, values[high]! - x];
    if (below !== above) return below < above ? low : high;
    return low % 2 === 0 ? low : high;
  };
  const float = fc.float({ min: 0, max: 65504, noNaN: true });
  const small = fc.float({ min: 0, max: Math.fround(2 ** -13), noNaN: true });
  fc.assert(
    fc.property(fc.oneof(float, small), (x) => {
      expect(one(x)).toBe(nearest(x));
      expect(one(-x)).toBe(nearest(x) | 0x8000);
    }),
    { numRuns: 2000 },
  );
});
