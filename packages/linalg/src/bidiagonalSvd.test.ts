import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { bidiagonalSvd, bidiagonalValues } from "./bidiagonalSvd.ts";
import { createLinalg } from "./linalg.ts";
import { type Matrix, matrix } from "./matrix.ts";
import { qr } from "./qr.ts";
import { solveBordered } from "./secular.ts";
import { singularValues, svd } from "./svd.ts";

const linalg = createLinalg({ threads: 1, lapack: "none" });
afterAll(() => linalg.dispose());

const random = (seed: number) => {
  let state = seed * 48271 + 1;
  return () => {
    state = (state * 16807 + 11) % 2147483647;
    return state / 1073741823.5 - 1;
  };
};
const filled = (n: number, p: number, seed: number) =>
  matrix(Float64Array.from({ length: n * p }, random(seed)), n, p);
const farthest = (values: Float64Array, from: (at: number) => number) =>
  values.reduce((most, v, at) => Math.max(most, Math.abs(v - from(at))), 0);
const unit = (n: number) => (at: number) => (at % (n + 1) === 0 ? 1 : 0);

/** Orthonormal factors that give the matrix back; ordered values, the same without vectors. */
async function check(a: Matrix<Float64Array>, planted?: Float64Array): Promise<void> {
  const { u, s, v } = await svd(a, linalg);
  const k = s.length;
  const size = Math.max(s[0]!, Number.MIN_VALUE);
  const tolerance = 2 * Math.max(a.nRows, a.nColumns) * Number.EPSILON;
  for (const q of [u, v]) {
    const gram = await linalg.matmul(q, q, { transposeA: true });
    expect(farthest(gram.data, unit(k))).toBeLessThanOrEqual(tolerance);
  }
  const scaled = matrix(
    u.data.map((x, at) => x * (s[at % k]! / size)),
    u.nRows,
    k,
  );
  const back = await linalg.matmul(scaled, v, { transposeB: true });
  expect(farthest(back.data, (at) => a.data[at]! / size)).toBeLessThanOrEqual(tolerance);
  s.forEach((value, i) => {
    expect(value).toBeGreaterThanOrEqual(0);
    if (i > 0) expect(value).toBeLessThanOrEqual(s[i - 1]!);
  });
  const only = await singularValues(a, linalg);
  expect(farthest(only, (i) => s[i]!)).toBeLessThanOrEqual(tolerance * size);
  if (planted) expect(farthest(s, (i) => planted[i]!)).toBeLessThanOrEqual(tolerance * size);
}

describe("svd by halves", () => {
  test.each([
    [25, 25],
    [64, 64],
    [131, 131],
    [200, 70],
    [61, 190],
    [300, 33],
  ])("random, %i x %i", (n, p) => check(filled(n, p, n + p)));

  const n = 110;
  const families: readonly (readonly [string, (i: number) => number])[] = [
    ["all equal", () => 1],
    ["two values", (i) => (i % 2 === 0 ? 1 : 1e-8)],
    ["fourteen orders of magnitude", (i) => 10 ** ((-14 * i) / (n - 1))],
    ["two hundred orders of magnitude", (i) => 10 ** ((-200 * i) / (n - 1))],
    ["differing by less than rounding", (i) => 1 + 1e-17 * i],
    ["a cluster", (i) => 1 + 1e-13 * i],
    ["half of them 0", (i) => Math.max(0, i - n / 2)],
    ["one large", (i) => (i === 0 ? 1 : 1e-9)],
  ];
  test.each(families)("planted values: %s", async (_, value) => {
    const planted = Float64Array.from({ length: n }, (_unused, i) => value(i))
      .sort()
      .reverse();
    const left = qr(filled(n, n, 3)).q;
    const scaled = matrix(
      left.data.map((x, at) => x * planted[at % n]!),
      n,
      n,
    );
    const a = await linalg.matmul(scaled, qr(filled(n, n, 4)).q, { transposeB: true });
    await check(a, planted);
  });

  const matrices: readonly (readonly [string, (i: number, j: number) => number])[] = [
    ["zero", () => 0],
    ["ones", () => 1],
    ["identity", (i, j) => (i === j ? 1 : 0)],
    ["tridiagonal", (i, j) => (Math.abs(i - j) < 2 ? 1 : 0)],
    ["graded downwards", (i, j) => (j === i || j === i + 1 ? 10 ** (-i / 4) : 0)],
    ["graded upwards", (i, j) => (j === i || j === i + 1 ? 10 ** ((i - n) / 4) : 0)],
    ["Kahan's", (i, j) => Math.sin(1.2) ** i * (i === j ? 1 : j > i ? -Math.cos(1.2) : 0)],
    ["a block, the rest 0", (i, j) => (i < 60 && j < 60 ? Math.sin(i * 60 + j * j) : 0)],
    ["columns over 300 orders of magnitude", (i, j) => Math.sin(i * n + j * j) * 1e-3 ** j],
    ["rows over 300 orders of magnitude", (i, j) => Math.sin(i * n + j * j) * 1e-3 ** i],
    ["huge", (i, j) => 1e300 * Math.sin(i * n + j * j)],
    ["tiny", (i, j) => 1e-300 * Math.sin(i * n + j * j)],
    ["few entries", (i, j) => ((i * 37 + j * 61) % 53 === 0 ? Math.sin(i + 2 * j) : 0)],
  ];
  test.each(matrices)("a matrix: %s", (_, entry) =>
    check(
      matrix(
        Float64Array.from({ length: n * n }, (_unused, at) => entry(Math.floor(at / n), at % n)),
        n,
        n,
      ),
    ),
  );
});

describe("bidiagonal matrices", () => {
  test("by hand: [[3, 4], [0, 0]] has 5 and 0, also where the last entry is right of the last column", async () => {
    const values = bidiagonalValues(Float64Array.of(3, 0), Float64Array.of(4));
    expect(Array.from(values.sort(), (v) => Math.round(v * 1e12) / 1e12)).toEqual([0, 5]);
    const { values: wide, right } = await bidiagonalSvd(
      Float64Array.of(3),
      Float64Array.of(4),
      linalg,
    );
    expect(wide[0]).toBeCloseTo(5, 14);
    // What [3, 4] takes to 0.
    expect(3 * right[2]! + 4 * right[3]!).toBeCloseTo(0, 14);
  });

  test("any sizes and zeros: vectors are orthonormal, with one more that is taken to 0", async () => {
    const entry = fc.oneof(
      { weight: 3, arbitrary: fc.double({ min: -1, max: 1, noNaN: true }) },
      { weight: 1, arbitrary: fc.constantFrom(0, 1, -1, 1e-9, 1e-17, 1e-90) },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(entry, entry), { minLength: 1, maxLength: 70 }),
        async (list) => {
          const n = list.length;
          const d = Float64Array.from(list, ([a]) => a);
          const e = Float64Array.from(list, ([, b]) => b);
          const { values, left, right } = await bidiagonalSvd(d, e, linalg);
          const tolerance = 40 * Number.EPSILON * n;
          for (const [q, k] of [
            [left, n],
            [right, n + 1],
          ] as const) {
            const rows = matrix(q, k, k);
            const gram = await linalg.matmul(rows, rows, { transposeB: true });
            expect(farthest(gram.data, unit(k))).toBeLessThanOrEqual(tolerance);
          }
          for (let j = 0; j <= n; j++) {
            for (let i = 0; i < n; i++) {
              const image = d[i]! * right[j * (n + 1) + i]! + e[i]! * right[j * (n + 1) + i + 1]!;
              const expected = j < n ? values[j]! * left[j * n + i]! : 0;
              expect(Math.abs(image - expected)).toBeLessThanOrEqual(tolerance);
            }
          }
          const square = bidiagonalValues(d, e.subarray(0, n - 1)).sort();
          const inHalves = await bidiagonalSvd(d, Float64Array.from(e).fill(0, n - 1), linalg);
          expect(farthest(square, (i) => inHalves.values[i]!)).toBeLessThanOrEqual(tolerance);
        },
      ),
      { numRuns: 60 },
    );
  });
});

test("a bordered diagonal, by hand: [[1, 2], [0, 2]]", () => {
  const { values, left, right } = solveBordered(Float64Array.of(0, 2), Float64Array.of(1, 2));
  // The squares add up to 9, their product is 4.
  expect(values[0]! ** 2 + values[1]! ** 2).toBeCloseTo(9, 14);
  expect(values[0]! * values[1]!).toBeCloseTo(2, 14);
  for (let j = 0; j < 2; j++) {
    const [v0, v1] = [right[2 * j]!, right[2 * j + 1]!];
    expect(v0 + 2 * v1).toBeCloseTo(values[j]! * left[2 * j]!, 14);
    expect(2 * v1).toBeCloseTo(values[j]! * left[2 * j + 1]!, 14);
  }
});
