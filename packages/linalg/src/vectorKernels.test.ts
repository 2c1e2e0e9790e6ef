import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { vectorKernels } from "./vectorKernels.ts";

/** Rounded once per operation, in any order: the sum of so many products of these sizes. */
const bound = (sizes: readonly number[]) =>
  sizes.reduce((sum, v) => sum + Math.abs(v), 0) * (sizes.length + 4) * Number.EPSILON +
  (sizes.length + 4) * Number.MIN_VALUE;
const same = (found: number, terms: readonly number[]) => {
  const expected = terms.reduce((sum, v) => sum + v, 0);
  if (!Number.isFinite(expected)) expect(found).toBe(expected);
  else expect(Math.abs(found - expected)).toBeLessThanOrEqual(bound(terms));
};

/** Even counts; gaps of any size between rows; entries from subnormal to large. */
const entry = fc.oneof(
  { weight: 6, arbitrary: fc.double({ min: -1e3, max: 1e3, noNaN: true }) },
  { weight: 1, arbitrary: fc.constantFrom(0, -0, 5e-324, -2.5e-310, 1e-200, 1e200) },
);
const layout = fc.record({
  count: fc.integer({ min: 0, max: 9 }).map((half) => 2 * half),
  gap: fc.integer({ min: 0, max: 3 }),
  before: fc.integer({ min: 0, max: 3 }),
  values: fc.array(entry, { minLength: 200, maxLength: 200 }),
});

/** Memory filled with the values; a place for each of the lengths, one after the other. */
function filledKernels(values: readonly number[], before: number, lengths: readonly number[]) {
  const total = lengths.reduce((sum, n) => sum + n, before);
  const kernels = vectorKernels(total + 2);
  for (let i = 0; i < total + 2; i++) kernels.memory[i] = values[i % values.length]!;
  let at = before;
  const places = lengths.map((n) => {
    const here = at;
    at += n;
    return here;
  });
  return { kernels, places, old: Float64Array.from(kernels.memory.subarray(0, total + 2)) };
}

/** Every number that is not in one of the ranges is as before. */
function untouched(
  memory: Float64Array,
  old: Float64Array,
  ranges: readonly (readonly [number, number])[],
): void {
  old.forEach((v, i) => {
    if (ranges.every(([from, n]) => i < from || i >= from + n)) expect(memory[i]).toBe(v);
  });
}

const rowsOf = (row: number, stride: number) => [0, 1, 2, 3].map((k) => row + k * stride);

describe("each loop against plain JavaScript", () => {
  test("fourRows", () => {
    fc.assert(
      fc.property(layout, ({ count, gap, before, values }) => {
        const stride = count + gap;
        const { kernels, places, old } = filledKernels(values, before, [
          4 * stride,
          count,
          count,
          4,
          4,
        ]);
        const [row, v, out, x, sums] = places as [number, number, number, number, number];
        const { memory } = kernels;
        kernels.fourRows(row, stride, v, out, count, x, sums);
        rowsOf(row, stride).forEach((r, k) => {
          const products = Array.from({ length: count }, (_, c) => old[r + c]! * old[v + c]!);
          same(memory[sums + k]!, [old[sums + k]!, ...products]);
        });
        for (let c = 0; c < count; c++) {
          const products = rowsOf(row, stride).map((r, k) => old[r + c]! * old[x + k]!);
          same(memory[out + c]!, [old[out + c]!, ...products]);
        }
        untouched(memory, old, [
          [out, count],
          [sums, 4],
        ]);
      }),
    );
  });

  test("fourDots", () => {
    fc.assert(
      fc.property(layout, ({ count, gap, before, values }) => {
        const stride = count + gap;
        const { kernels, places, old } = filledKernels(values, before, [4 * stride, count, 4]);
        const [row, v, sums] = places as [number, number, number];
        kernels.fourDots(row, stride, v, count, sums);
        rowsOf(row, stride).forEach((r, k) => {
          const products = Array.from({ length: count }, (_, c) => old[r + c]! * old[v + c]!);
          same(kernels.memory[sums + k]!, [old[sums + k]!, ...products]);
        });
        untouched(kernels.memory, old, [[sums, 4]]);
      }),
    );
  });

  test("addFour", () => {
    fc.assert(
      fc.property(layout, ({ count, gap, before, values }) => {
        const stride = count + gap;
        const { kernels, places, old } = filledKernels(values, before, [4 * stride, count, 4]);
        const [row, out, x] = places as [number, number, number];
        kernels.addFour(row, stride, out, count, x);
        for (let c = 0; c < count; c++) {
          const products = rowsOf(row, stride).map((r, k) => old[r + c]! * old[x + k]!);
          same(kernels.memory[out + c]!, [old[out + c]!, ...products]);
        }
        untouched(kernels.memory, old, [[out, count]]);
      }),
    );
  });

  test("subtractTwo", () => {
    fc.assert(
      fc.property(layout, ({ count, gap, before, values }) => {
        const stride = count + gap;
        const { kernels, places, old } = filledKernels(values, before, [
          count,
          2 * stride,
          2 * stride,
          4,
        ]);
        const [x, v, w, by] = places as [number, number, number, number];
        kernels.subtractTwo(x, v, w, stride, count, by);
        for (let c = 0; c < count; c++) {
          const products = [v, w, v + stride, w + stride].map(
            (from, k) => -old[by + k]! * old[from + c]!,
          );
          same(kernels.memory[x + c]!, [old[x + c]!, ...products]);
        }
        untouched(kernels.memory, old, [[x, count]]);
      }),
    );
  });

  test("dots", () => {
    fc.assert(
      fc.property(layout, ({ count, before, values }) => {
        const { kernels, places, old } = filledKernels(values, before, [count, count, count, 2]);
        const [x, v, w, to] = places as [number, number, number, number];
        kernels.dots(x, v, w, count, to);
        [v, w].forEach((from, k) => {
          const products = Array.from({ length: count }, (_, c) => old[x + c]! * old[from + c]!);
          same(kernels.memory[to + k]!, products);
        });
        untouched(kernels.memory, old, [[to, 2]]);
      }),
    );
  });
});

test("what is not a number stays where its row or column is", () => {
  const { memory, fourDots, addFour, dots } = vectorKernels(40);
  memory.fill(1, 0, 20);
  memory[5] = Number.NaN;
  fourDots(0, 4, 16, 4, 24);
  expect(Array.from(memory.subarray(24, 28))).toEqual([4, Number.NaN, 4, 4]);
  addFour(0, 4, 28, 4, 16);
  expect(Array.from(memory.subarray(28, 32))).toEqual([4, Number.NaN, 4, 4]);
  dots(16, 0, 4, 4, 32);
  expect(Array.from(memory.subarray(32, 34))).toEqual([4, Number.NaN]);
});

test("subnormal numbers are not taken for 0", () => {
  const { memory, dots } = vectorKernels(16);
  memory.set([5e-324, 2.5e-310, 1, 1]);
  dots(2, 0, 2, 2, 8);
  expect(memory[8]).toBe(5e-324 + 2.5e-310);
  expect(memory[9]).toBe(2);
});

test("memory starts as zeros and has room for what was asked", () => {
  const { memory } = vectorKernels(8193);
  expect(memory.length).toBeGreaterThanOrEqual(8193);
  expect(memory.every((v) => v === 0)).toBe(true);
});
