import { ShapeError } from "@penfield/core";
import { type Matrix, matrix } from "@penfield/linalg";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { eigenvaluePositivity, scoreComposition } from "./composition.ts";
import { FactoredMatrix } from "./factored.ts";

const random = (nRows: number, nColumns: number, seed: number): Matrix<Float64Array> => {
  let state = seed * 48271 + 7;
  return matrix(
    Float64Array.from({ length: nRows * nColumns }, () => {
      state = (state * 16807 + 11) % 2147483647;
      return state / 1073741823.5 - 1;
    }),
    nRows,
    nColumns,
  );
};
/** One loop per axis. */
const naive = (a: Matrix, b: Matrix): Matrix<Float64Array> => {
  const out = new Float64Array(a.nRows * b.nColumns);
  for (let i = 0; i < a.nRows; i++)
    for (let j = 0; j < b.nColumns; j++)
      for (let k = 0; k < a.nColumns; k++)
        out[i * b.nColumns + j]! += a.data[i * a.nColumns + k]! * b.data[k * b.nColumns + j]!;
  return matrix(out, a.nRows, b.nColumns);
};
const difference = (a: Matrix, b: Matrix): number => {
  expect([a.nRows, a.nColumns]).toEqual([b.nRows, b.nColumns]);
  return Array.from(a.data).reduce((max, v, i) => Math.max(max, Math.abs(v - b.data[i]!)), 0);
};
const frobenius = (m: Matrix): number => Math.hypot(...m.data);
const sizes = fc.record({
  n: fc.integer({ min: 1, max: 9 }),
  m: fc.integer({ min: 1, max: 9 }),
  rank: fc.integer({ min: 1, max: 5 }),
  seed: fc.nat(10000),
});

describe("FactoredMatrix", () => {
  test("product, transpose, norm, products with others equal the naive ones", () => {
    fc.assert(
      fc.property(sizes, ({ n, m, rank, seed }) => {
        const f = new FactoredMatrix(random(n, rank, seed), random(rank, m, seed + 1));
        const whole = naive(f.a, f.b);
        expect([f.nRows, f.nColumns, f.rank]).toEqual([n, m, rank]);
        expect(difference(f.product(), whole)).toBeLessThan(1e-14 * rank * 10);
        expect(Math.abs(f.norm() - frobenius(whole))).toBeLessThan(1e-13 * 100);
        expect(f.transpose().product().data[0]).toBeCloseTo(whole.data[0]!, 12);
        for (const other of [1, 6]) {
          const g = new FactoredMatrix(random(m, other, seed + 2), random(other, 4, seed + 3));
          const both = f.matmul(g);
          expect(both.rank).toBe(Math.min(rank, other));
          expect(difference(both.product(), naive(whole, naive(g.a, g.b)))).toBeLessThan(1e-11);
        }
        const plain = random(m, 3, seed + 4);
        expect(difference(f.matmul(plain).product(), naive(whole, plain))).toBeLessThan(1e-12);
      }),
      { numRuns: 40 },
    );
  });

  test("svd: orthonormal vectors, descending values, the matrix back; their squares make the norm", () => {
    fc.assert(
      fc.property(sizes, ({ n, m, rank, seed }) => {
        const f = new FactoredMatrix(random(n, rank, seed), random(rank, m, seed + 1));
        const { u, s, v } = f.svd();
        const k = s.length;
        expect(k).toBeLessThanOrEqual(Math.min(n, m, rank));
        const scaled = matrix(
          Float64Array.from(u.data, (x, i) => x * s[i % k]!),
          n,
          k,
        );
        const vT = matrix(
          Float64Array.from(
            { length: v.data.length },
            (_, i) => v.data[(i % m) * k + Math.floor(i / m)]!,
          ),
          k,
          m,
        );
        expect(difference(naive(scaled, vT), naive(f.a, f.b))).toBeLessThan(1e-12);
        for (let i = 1; i < k; i++) expect(s[i - 1]!).toBeGreaterThanOrEqual(s[i]!);
        expect(Math.abs(Math.hypot(...s) - f.norm())).toBeLessThan(1e-12);
      }),
      { numRuns: 40 },
    );
  });

  test("eigenvalues: their sum is the trace, their squares' sum the trace of the square", () => {
    fc.assert(
      fc.property(sizes, ({ n, rank, seed }) => {
        const f = new FactoredMatrix(random(n, rank, seed), random(rank, n, seed + 1));
        const { real, imaginary } = f.eigenvalues();
        const trace = (m: Matrix): number =>
          Array.from({ length: n }, (_, i) => m.data[i * n + i]!).reduce((x, y) => x + y, 0);
        const whole = naive(f.a, f.b);
        expect(real.length).toBe(rank);
        expect(Math.abs(real.reduce((x, y) => x + y, 0) - trace(whole))).toBeLessThan(1e-11);
        const squares = real.reduce((x, v, i) => x + v * v - imaginary[i]! ** 2, 0);
        expect(Math.abs(squares - trace(naive(whole, whole)))).toBeLessThan(1e-10);
      }),
      { numRuns: 40 },
    );
  });

  test("sizes that do not fit, and eigenvalues of what is not square, are refused", () => {
    expect(() => new FactoredMatrix(random(2, 3, 1), random(2, 3, 1))).toThrow(ShapeError);
    const f = new FactoredMatrix(random(2, 1, 1), random(1, 3, 1));
    expect(() => f.eigenvalues()).toThrow(/expected a square matrix for eigenvalues, got 2 x 3/);
    expect(() => f.matmul(random(2, 2, 1))).toThrow(/got \[1, 3\] times \[2, 2\]/);
  });
});

describe("composition", () => {
  const head = (d: number, rank: number, seed: number) => ({
    OV: new FactoredMatrix(random(d, rank, seed), random(rank, d, seed + 1)),
    QK: new FactoredMatrix(random(d, rank, seed + 2), random(rank, d, seed + 3)),
  });

  test.each(["Q", "K", "V"] as const)("%s: equals the formula on whole matrices", async (mode) => {
    const circuits = [0, 1, 2].map((l) => [0, 1].map((h) => head(7, 3, 100 * l + 10 * h)));
    const { data, shape } = await scoreComposition(mode, circuits);
    expect(shape).toEqual([3, 2, 3, 2]);
    let largest = 0;
    for (const [l1, h1, l2, h2] of [...new Array(36)].map((_, i) => [
      Math.floor(i / 12),
      Math.floor(i / 6) % 2,
      Math.floor(i / 2) % 3,
      i % 2,
    ])) {
      const got = data[((l1! * 2 + h1!) * 3 + l2!) * 2 + h2!]!;
      if (l1! >= l2!) {
        expect(got).toBe(0);
        continue;
      }
      const left = circuits[l1!]![h1!]!.OV.product();
      const { OV, QK } = circuits[l2!]![h2!]!;
      const right = (mode === "Q" ? QK : mode === "K" ? QK.transpose() : OV).product();
      const want = frobenius(naive(left, right)) / (frobenius(left) * frobenius(right));
      largest = Math.max(largest, Math.abs(got - want));
    }
    expect(largest).toBeLessThan(1e-7);
  });

  test("a head that reads what another writes scores 1; a head without weights 0", async () => {
    const unit = (d: number, at: number) =>
      matrix(
        Float64Array.from({ length: d }, (_, i) => (i === at ? 1 : 0)),
        d,
        1,
      );
    const outer = (from: number, to: number) =>
      new FactoredMatrix(unit(4, from), matrix(unit(4, to).data, 1, 4));
    const none = new FactoredMatrix(
      matrix(new Float64Array(4), 4, 1),
      matrix(new Float64Array(4), 1, 4),
    );
    const writes = { OV: outer(0, 2), QK: outer(0, 0) };
    const reads = { OV: outer(1, 1), QK: outer(3, 2) };
    const idle = { OV: none, QK: none };
    const { data } = await scoreComposition("K", [
      [writes, idle],
      [reads, idle],
    ]);
    // [0, 0, 1, 0] is the third of sixteen; all others are nothing.
    expect([...data].map((v) => Math.round(v * 1e12) / 1e12)).toEqual([
      ...[0, 0, 1, 0],
      ...new Array(12).fill(0),
    ]);
    const queries = await scoreComposition("Q", [[writes], [reads]]);
    expect(Math.max(...queries.data)).toBe(0);
    await expect(scoreComposition("X" as never, [])).rejects.toThrow(/expected Q, K or V, got "X"/);
  });

  test("eigenvalue positivity: copying 1, inverting -1, rotating or nothing 0", () => {
    const whole = (...values: number[]) =>
      new FactoredMatrix(
        matrix(Float64Array.from(values), 2, 2),
        matrix(Float64Array.of(1, 0, 0, 1), 2, 2),
      );
    expect(eigenvaluePositivity(whole(2, 0, 0, 5))).toBe(1);
    expect(eigenvaluePositivity(whole(-2, 0, 0, -5))).toBe(-1);
    expect(Math.abs(eigenvaluePositivity(whole(0, -1, 1, 0)))).toBeLessThan(1e-15);
    expect(eigenvaluePositivity(whole(0, 0, 0, 0))).toBe(0);
  });
});
