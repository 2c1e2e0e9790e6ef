import { DataError, ShapeError } from "@penfield/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import { eigenvalues } from "./eigenvalues.ts";
import { matrix } from "./matrix.ts";

const random = (n: number, seed: number): Float64Array => {
  let state = seed * 48271 + 1;
  return Float64Array.from({ length: n * n }, () => {
    state = (state * 16807 + 11) % 2147483647;
    return state / 1073741823.5 - 1;
  });
};

test("a triangle's diagonal, and a quarter turn", () => {
  const { real, imaginary } = eigenvalues(
    matrix(Float64Array.of(1, 5, 7, 0, -4, 9, 0, 0, 2), 3, 3),
  );
  expect([...real].map((v) => Math.round(v * 1e9) / 1e9)).toEqual([-4, 2, 1]);
  expect([...imaginary].every((v) => v === 0)).toBe(true);
  const turn = eigenvalues(matrix(Float64Array.of(0, -1, 1, 0), 2, 2));
  expect([...turn.imaginary]).toEqual([1, -1]);
  expect(eigenvalues(matrix(new Float64Array(4), 2, 2)).real.join(" ")).toBe("0 0");
  expect(eigenvalues(matrix(new Float64Array(0), 0, 0)).real.length).toBe(0);
});

test("add up to the trace, their squares to the trace of the square, largest modulus first", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 24 }), fc.nat(1000), (n, seed) => {
      const a = random(n, seed);
      const { real, imaginary } = eigenvalues(matrix(a, n, n));
      let [trace, squares] = [0, 0];
      for (let i = 0; i < n; i++) {
        trace += a[i * n + i]!;
        for (let j = 0; j < n; j++) squares += a[i * n + j]! * a[j * n + i]!;
      }
      const sum = (values: Float64Array) => values.reduce((x, y) => x + y, 0);
      expect(Math.abs(sum(real) - trace)).toBeLessThan(1e-10 * n);
      expect(Math.abs(sum(imaginary))).toBeLessThan(1e-10 * n);
      const square = real.map((v, i) => v * v - imaginary[i]! ** 2);
      expect(Math.abs(sum(square) - squares)).toBeLessThan(1e-9 * n * n);
      const modulus = real.map((v, i) => Math.hypot(v, imaginary[i]!));
      for (let i = 1; i < n; i++) expect(modulus[i - 1]!).toBeGreaterThanOrEqual(modulus[i]!);
    }),
    { numRuns: 30 },
  );
});

test("refuses what is not square or not finite", () => {
  expect(() => eigenvalues(matrix(new Float64Array(6), 2, 3))).toThrow(ShapeError);
  expect(() => eigenvalues(matrix(Float64Array.of(1, Number.NaN, 0, 1), 2, 2))).toThrow(DataError);
});
