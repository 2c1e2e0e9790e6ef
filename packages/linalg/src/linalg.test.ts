import { ArgumentError, activations, ModelError, ShapeError } from "@penfield/core";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { createLinalg } from "./linalg.ts";
import { type Matrix, matrix, matrixOf } from "./matrix.ts";

const linalg = createLinalg();
afterAll(() => linalg.dispose());

const random = (seed: number) => {
  let state = seed * 2654435761 + 1;
  return () => {
    state = (state * 16807 + 11) % 2147483647;
    return state / 1073741823.5 - 1;
  };
};
const filled = (nRows: number, nColumns: number, seed: number) =>
  matrix(Float64Array.from({ length: nRows * nColumns }, random(seed)), nRows, nColumns);

function naive(a: Matrix, b: Matrix, transposeA: boolean, transposeB: boolean): Float64Array {
  const n = transposeA ? a.nColumns : a.nRows;
  const k = transposeA ? a.nRows : a.nColumns;
  const m = transposeB ? b.nRows : b.nColumns;
  const out = new Float64Array(n * m);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < m; j++) {
      for (let l = 0; l < k; l++) {
        const x = a.data[transposeA ? l * a.nColumns + i : i * a.nColumns + l]!;
        const y = b.data[transposeB ? j * b.nColumns + l : l * b.nColumns + j]!;
        out[i * m + j]! += x * y;
      }
    }
  }
  return out;
}

describe("matmul", () => {
  test("equals three loops, in float64 and float32, whatever is transposed", async () => {
    const size = fc.integer({ min: 1, max: 24 });
    await fc.assert(
      fc.asyncProperty(
        size,
        size,
        size,
        fc.boolean(),
        fc.boolean(),
        fc.boolean(),
        async (n, k, m, ta, tb, single) => {
          const a = ta ? filled(k, n, n + k) : filled(n, k, n + k);
          const b = tb ? filled(m, k, m) : filled(k, m, m);
          const to = (x: Matrix): Matrix =>
            single ? { ...x, data: Float32Array.from(x.data) } : x;
          const c = await linalg.matmul(to(a), to(b), { transposeA: ta, transposeB: tb });
          expect([c.nRows, c.nColumns]).toEqual([n, m]);
          expect(c.data).toBeInstanceOf(single ? Float32Array : Float64Array);
          const expected = naive(a, b, ta, tb);
          // k products of numbers below 1, each rounded once or twice.
          const tolerance = k * (single ? 2 ** -22 : 2 ** -51);
          expected.forEach((value, i) => {
            expect(Math.abs(c.data[i]! - value)).toBeLessThanOrEqual(tolerance);
          });
        },
      ),
      { numRuns: 60 },
    );
  });

  test("a factor in float64 makes the product float64", async () => {
    const a = matrixOf(activations([[1, 2]]));
    const b = matrix(Float32Array.of(3, 4), 2, 1);
    const c = await linalg.matmul(a, b);
    expect(c.data).toEqual(Float64Array.of(11));
  });

  test("into an array of the caller's, anywhere in a larger one, bit for bit the same", async () => {
    for (const single of [false, true]) {
      const as = (x: Matrix): Matrix => (single ? { ...x, data: Float32Array.from(x.data) } : x);
      const [a, b] = [as(filled(30, 70, 1)), as(filled(30, 50, 2))];
      const plain = await linalg.matmul(a, b, { transposeA: true });
      const room = (single ? new Float32Array(4000) : new Float64Array(4000)).fill(7);
      const out = room.subarray(13, 13 + 3500);
      // Factors from within larger arrays too.
      const held = as(matrix(new Float64Array(31 * 70), 31, 70));
      held.data.set(a.data, 70);
      const part = { ...a, data: held.data.subarray(70) };
      for (let i = 0; i < 2; i++) {
        const { data, nRows } = await linalg.matmul(part, b, { transposeA: true, out });
        expect(data).toBe(out);
        expect(nRows).toBe(70);
        expect(out).toEqual(plain.data);
      }
      expect(new Set([...room.subarray(0, 13), ...room.subarray(3513)])).toEqual(new Set([7]));
    }
    const nothing = matrix(new Float64Array(0), 2, 0);
    const out = Float64Array.of(1, 2, 3, 4);
    await linalg.matmul(nothing, nothing, { transposeB: true, out });
    expect(out).toEqual(new Float64Array(4));
  });

  test("into an array of the caller's nothing is left for the garbage collector", async () => {
    const a = filled(256, 4, 1);
    const out = new Float64Array(256 * 256);
    await linalg.matmul(a, a, { transposeB: true, out });
    const before = process.memoryUsage().arrayBuffers;
    // 100 times half a mebibyte.
    for (let i = 0; i < 100; i++) await linalg.matmul(a, a, { transposeB: true, out });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 * 2 ** 20);
    expect(out).toEqual((await linalg.matmul(a, a, { transposeB: true })).data);
  });

  test("refuses arrays for the product that it does not fit", async () => {
    const a = filled(2, 3, 1);
    const into = (out: Float32Array | Float64Array) =>
      linalg.matmul(a, a, { transposeB: true, out });
    await expect(into(new Float64Array(5))).rejects.toThrow(
      new ShapeError("matmul: expected out with 4 values, got 5"),
    );
    await expect(into(new Float32Array(4))).rejects.toThrow(ArgumentError);
  });

  test("products over nothing are zero", async () => {
    const c = await linalg.matmul(
      matrix(new Float64Array(0), 2, 0),
      matrix(new Float64Array(0), 0, 3),
    );
    expect(c).toEqual({ data: new Float64Array(6), nRows: 2, nColumns: 3 });
  });

  test("refuses sizes that do not fit, and work after dispose", async () => {
    const a = filled(2, 3, 1);
    await expect(linalg.matmul(a, a)).rejects.toThrow(
      new ShapeError("matmul: expected equal inner sizes, got [2, 3] times [2, 3]"),
    );
    expect(() => matrix(new Float64Array(5), 2, 3)).toThrow(ShapeError);
    const other = createLinalg({ threads: 1 });
    expect((await other.matmul(a, a, { transposeB: true })).nRows).toBe(2);
    await other.dispose();
    await other.dispose();
    await expect(other.matmul(a, a, { transposeB: true })).rejects.toThrow(ModelError);
  });
});
