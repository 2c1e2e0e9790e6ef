import { DataError, ShapeError } from "@penfield/core";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { eigenSymmetric } from "./eigenSymmetric.ts";
import { createLinalg } from "./linalg.ts";
import { type Matrix, matrix } from "./matrix.ts";
import { solveSecular } from "./secular.ts";
import { symmetricEigen } from "./symmetricEigen.ts";

const linalg = createLinalg({ threads: 1 });
afterAll(() => linalg.dispose());

const random = (seed: number) => {
  let state = seed * 48271 + 1;
  return () => {
    state = (state * 16807 + 11) % 2147483647;
    return state / 1073741823.5 - 1;
  };
};

function symmetric(n: number, entry: (i: number, j: number) => number): Matrix<Float64Array> {
  const data = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      data[i * n + j] = entry(i, j);
      data[j * n + i] = data[i * n + j]!;
    }
  }
  return matrix(data, n, n);
}

const largest = (values: Float64Array) =>
  values.reduce((most, v) => Math.max(most, Math.abs(v)), 0);

/** Values as the plain code gives them; orthonormal rows that are eigenvectors. */
async function check(a: Matrix<Float64Array>): Promise<void> {
  const n = a.nRows;
  const { values, vectors } = await eigenSymmetric(a, linalg);
  const reference = symmetricEigen(a, { vectors: false }).values;
  const scale = Math.max(largest(reference), Number.MIN_VALUE);
  const tolerance = 4 * n * Number.EPSILON;
  expect(largest(values.map((v, i) => v - reference[i]!))).toBeLessThanOrEqual(tolerance * scale);
  const only = (await eigenSymmetric(a, linalg, { vectors: false })).values;
  expect(largest(only.map((v, i) => v - reference[i]!))).toBeLessThanOrEqual(tolerance * scale);
  const gram = await linalg.matmul(vectors, vectors, { transposeB: true });
  expect(largest(gram.data.map((v, at) => v - (at % (n + 1) === 0 ? 1 : 0)))).toBeLessThanOrEqual(
    tolerance,
  );
  const turned = await linalg.matmul(vectors, a);
  const residual = turned.data.map((v, at) => v - values[Math.floor(at / n)]! * vectors.data[at]!);
  expect(largest(residual)).toBeLessThanOrEqual(tolerance * scale);
}

describe("eigenSymmetric", () => {
  test.each([40, 96, 97, 160, 231])("a random matrix, n = %i", async (n) => {
    const next = random(n);
    await check(symmetric(n, () => next()));
  });

  const uniform = random(7);
  const factors = Float64Array.from({ length: 160 * 3 }, () => uniform());
  test.each([
    ["zeros", 120, () => 0],
    ["ones", 130, () => 1],
    ["repeated values", 150, (i: number, j: number) => (i === j ? i % 3 : 0)],
    ["the identity", 100, (i: number, j: number) => (i === j ? 1 : 0)],
    ["a second difference", 128, (i: number, j: number) => (i === j ? 2 : i === j + 1 ? -1 : 0)],
    [
      "Wilkinson's pairs",
      201,
      (i: number, j: number) => (i === j ? Math.abs(i - 100) : i === j + 1 ? 1 : 0),
    ],
    ["grading downwards", 140, (i: number, j: number) => uniform() * 10 ** (-(i + j) / 20)],
    ["grading upwards", 140, (i: number, j: number) => uniform() * 10 ** ((i + j) / 20 - 14)],
    [
      "rank three",
      160,
      (i: number, j: number) =>
        [0, 1, 2].reduce((sum, k) => sum + factors[i * 3 + k]! * factors[j * 3 + k]!, 0),
    ],
    ["tiny entries", 110, (i: number, j: number) => 1e-300 * (i === j ? i : 1)],
    ["huge entries", 110, (i: number, j: number) => 1e300 * (i === j ? 1 : 0.001)],
  ] as const)("%s", async (_, n, entry) => {
    await check(symmetric(n, entry));
  });

  test("reads the lower triangle only; refuses other shapes and NaN", async () => {
    const next = random(3);
    const a = symmetric(100, () => next());
    const half = Float64Array.from(a.data, (v, at) => (at % 100 > Math.floor(at / 100) ? 9 : v));
    const { values } = await eigenSymmetric(matrix(half, 100, 100), linalg, { vectors: false });
    const whole = await eigenSymmetric(a, linalg, { vectors: false });
    expect(Array.from(values)).toEqual(Array.from(whole.values));
    await expect(eigenSymmetric(matrix(new Float64Array(200), 100, 2), linalg)).rejects.toThrow(
      ShapeError,
    );
    a.data[5] = Number.NaN;
    await expect(eigenSymmetric(a, linalg)).rejects.toThrow(DataError);
  });
});

test("the secular equation: values interlace, vectors are orthonormal", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), fc.nat(1e6), (k, seed) => {
      const next = random(seed);
      let at = 0;
      const d = Float64Array.from({ length: k }, () => {
        at += 10 ** (-6 * Math.abs(next()));
        return at;
      });
      const z = Float64Array.from({ length: k }, () => next() + (next() > 0 ? 0.01 : -0.01));
      const rho = Math.abs(next()) + 1e-3;
      const { values, vectors } = solveSecular(d, z, rho);
      const dense = symmetric(k, (i, j) => rho * z[i]! * z[j]! + (i === j ? d[i]! : 0));
      const reference = symmetricEigen(dense, { vectors: false }).values;
      values.forEach((v, i) => {
        expect(v).toBeGreaterThanOrEqual(d[i]!);
        if (i + 1 < k) expect(v).toBeLessThanOrEqual(d[i + 1]!);
        expect(Math.abs(v - reference[k - 1 - i]!)).toBeLessThan(1e-13 * reference[0]!);
      });
      for (let i = 0; i < k; i++) {
        for (let j = 0; j <= i; j++) {
          let sum = 0;
          for (let r = 0; r < k; r++) sum += vectors[i * k + r]! * vectors[j * k + r]!;
          expect(Math.abs(sum - (i === j ? 1 : 0))).toBeLessThan(1e-13);
        }
      }
    }),
    { numRuns: 200 },
  );
});
