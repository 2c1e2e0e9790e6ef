import { DataError, ShapeError } from "@penfield/core";
import fc from "fast-check";
import { Matrix as MlMatrix } from "ml-matrix";
import { afterAll, describe, expect, test } from "vitest";
import { cholesky, solveTriangular } from "./cholesky.ts";
import { eigenvalues } from "./eigenvalues.ts";
import { createLinalg } from "./linalg.ts";
import { type Matrix, matrix, transpose } from "./matrix.ts";
import { polarFactor, polarFactors, polarSchedule } from "./polarFactor.ts";
import { qr } from "./qr.ts";
import { nuclearNorm, singularValues, svd } from "./svd.ts";
import { thinSvd } from "./thinSvd.ts";

const linalg = createLinalg({ threads: 1 });
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
const ml = (x: Matrix) => MlMatrix.from1DArray(x.nRows, x.nColumns, x.data);
const product = (a: Matrix, b: Matrix) => {
  const c = ml(a).mmul(ml(b));
  return matrix(Float64Array.from(c.to1DArray()), c.rows, c.columns);
};
/** n x p of rank r. */
const ofRank = (n: number, p: number, r: number, seed: number) =>
  product(filled(n, r, seed), filled(r, p, seed + 1));
const apart = (a: Matrix, b: Matrix): number => {
  expect([a.nRows, a.nColumns]).toEqual([b.nRows, b.nColumns]);
  let most = 0;
  for (let i = 0; i < a.data.length; i++) {
    const off = Math.abs(a.data[i]! - b.data[i]!);
    if (!(off <= most)) most = off;
  }
  return most;
};
const identity = (n: number) =>
  matrix(
    Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0)),
    n,
    n,
  );
const orthonormality = (q: Matrix) => apart(product(transpose(q), q), identity(q.nColumns));

const shapes = [
  { n: 1, p: 1, r: 1 },
  { n: 30, p: 30, r: 30 },
  { n: 50, p: 30, r: 30 },
  { n: 30, p: 50, r: 30 },
  { n: 40, p: 40, r: 11 },
  { n: 60, p: 35, r: 1 },
];

describe("svd, singularValues, nuclearNorm", () => {
  test.each(shapes)("$n x $p of rank $r against ml-matrix", async ({ n, p, r }) => {
    const a = ofRank(n, p, r, n + p);
    const { u, s, v } = await svd(a, linalg);
    const reference = thinSvd(a).s;
    const scale = reference[0]!;
    s.forEach((value, i) => {
      expect(Math.abs(value - reference[i]!)).toBeLessThan(2e-13 * scale);
    });
    expect(orthonormality(u)).toBeLessThan(1e-12);
    expect(orthonormality(v)).toBeLessThan(1e-12);
    const scaled = matrix(
      u.data.map((x, i) => x * s[i % s.length]!),
      u.nRows,
      u.nColumns,
    );
    expect(apart(product(scaled, transpose(v)), a)).toBeLessThan(1e-12 * scale);
    const only = await singularValues(a, linalg);
    only.forEach((value, i) => {
      expect(Math.abs(value - reference[i]!)).toBeLessThan(2e-13 * scale);
    });
    const total = reference.reduce((x, y) => x + y, 0);
    expect(Math.abs((await nuclearNorm(a, linalg)) - total)).toBeLessThan(1e-11 * total);
  });

  test("singular values over fourteen orders of magnitude", async () => {
    const n = 40;
    const left = qr(filled(n, n, 3)).q;
    const right = qr(filled(n, n, 4)).q;
    const planted = Float64Array.from({ length: n }, (_, i) => 10 ** ((-14 * i) / (n - 1)));
    const scaled = matrix(
      left.data.map((x, i) => x * planted[i % n]!),
      n,
      n,
    );
    const a = product(scaled, transpose(right));
    const s = await singularValues(a, linalg);
    s.forEach((value, i) => {
      expect(Math.abs(value - planted[i]!)).toBeLessThan(2e-14);
    });
    const total = planted.reduce((x, y) => x + y, 0);
    expect(Math.abs((await nuclearNorm(a, linalg)) - total)).toBeLessThan(1e-12 * total);
  });

  test("a zero matrix, and what is refused", async () => {
    const zero = matrix(new Float64Array(30 * 30), 30, 30);
    const { u, s } = await svd(zero, linalg);
    expect(Array.from(s)).toEqual(new Array(30).fill(0));
    expect(orthonormality(u)).toBeLessThan(1e-12);
    expect(await nuclearNorm(zero, linalg)).toBe(0);
    await expect(svd(matrix(new Float64Array(0), 0, 3), linalg)).rejects.toThrow(ShapeError);
    const nan = matrix(Float64Array.of(Number.NaN), 1, 1);
    await expect(singularValues(nan, linalg)).rejects.toThrow(DataError);
    await expect(nuclearNorm(nan, linalg)).rejects.toThrow(/got NaN in row 0, column 0/);
  });
});

describe("polarFactor", () => {
  test.each(shapes)(
    "$n x $p of rank $r: orthonormal, nuclear norm reached",
    async ({ n, p, r }) => {
      const a = ofRank(n, p, r, 3 * n + p);
      const w = await polarFactor(a, linalg);
      const s = thinSvd(a).s;
      expect(orthonormality(n >= p ? w : transpose(w))).toBeLessThan(1e-12);
      const reached = a.data.reduce((sum, v, i) => sum + v * w.data[i]!, 0);
      const total = s.reduce((x, y) => x + y, 0);
      expect(Math.abs(reached - total)).toBeLessThan(1e-12 * total);
    },
  );

  test("of a batch, as one by one", async () => {
    const one = filled(8, 7, 1);
    const two = ofRank(8, 7, 3, 9);
    const batch = {
      data: Float64Array.from([...one.data, ...two.data]),
      count: 2,
      nRows: 8,
      nColumns: 7,
    };
    const { data } = await polarFactors(batch, linalg);
    expect(apart(matrix(data.slice(0, 56), 8, 7), await polarFactor(one, linalg))).toBeLessThan(
      1e-13,
    );
    expect(orthonormality(matrix(data.slice(56), 8, 7))).toBeLessThan(1e-13);
  });

  test("an orthogonal matrix is its own factor; entries of any size", async () => {
    const q = qr(filled(20, 20, 5)).q;
    expect(apart(await polarFactor(q, linalg), q)).toBeLessThan(1e-14);
    for (const scale of [1e200, 1e-200]) {
      const scaled = matrix(
        q.data.map((x) => scale * x),
        20,
        20,
      );
      expect(apart(await polarFactor(scaled, linalg), q)).toBeLessThan(1e-14);
    }
  });

  test("the schedule takes every value of its interval to 1, and smaller ones up but not past", () => {
    const steps = polarSchedule(1e-7);
    const through = (x: number) =>
      steps.reduce((y, [a, b, c]) => y * (a + b * y ** 2 + c * y ** 4), x);
    fc.assert(
      fc.property(fc.double({ min: -7, max: 0, noNaN: true }), (exponent) => {
        expect(Math.abs(through(10 ** exponent) - 1)).toBeLessThan(1e-14);
      }),
    );
    expect(through(1e-12)).toBeGreaterThan(1e-12);
    expect(through(1e-12)).toBeLessThan(1);
  });

  test("refuses nothing and NaN", async () => {
    await expect(polarFactor(matrix(new Float64Array(0), 0, 0), linalg)).rejects.toThrow(
      ShapeError,
    );
    const nan = matrix(new Float64Array(100).fill(Number.NaN), 10, 10);
    await expect(polarFactor(nan, linalg)).rejects.toThrow(DataError);
  });
});

describe("qr", () => {
  test.each(shapes)("$n x $p of rank $r", ({ n, p, r }) => {
    const a = ofRank(n, p, r, 7 * n + p);
    const { q, r: upper } = qr(a);
    expect(orthonormality(q)).toBeLessThan(1e-13);
    expect(apart(product(q, upper), a)).toBeLessThan(1e-13 * 30);
    for (let i = 0; i < upper.nRows; i++) {
      expect(upper.data[i * p + i]!).toBeGreaterThanOrEqual(0);
      for (let j = 0; j < i; j++) expect(upper.data[i * p + j]).toBe(0);
    }
  });

  test("zeros, and what is refused", () => {
    const { q, r } = qr(matrix(new Float64Array(6), 3, 2));
    expect(orthonormality(q)).toBe(0);
    expect(Array.from(r.data)).toEqual([0, 0, 0, 0]);
    expect(() => qr(matrix(new Float64Array(0), 0, 2))).toThrow(ShapeError);
    expect(() => qr(matrix(Float64Array.of(Number.POSITIVE_INFINITY), 1, 1))).toThrow(DataError);
  });
});

describe("cholesky and solveTriangular", () => {
  test.each([1, 5, 64, 150])("n = %i", async (n) => {
    const x = filled(n + 5, n, n);
    const a = product(transpose(x), x);
    const l = await cholesky(a, linalg);
    expect(apart(product(l, transpose(l)), a)).toBeLessThan(1e-12 * n);
    for (let i = 0; i < n; i++) {
      for (let j = i + 1; j < n; j++) expect(l.data[i * n + j]).toBe(0);
    }
    const b = filled(n, 3, 2);
    const forward = await solveTriangular(l, b, linalg);
    expect(apart(product(l, forward), b)).toBeLessThan(1e-10);
    const back = await solveTriangular(l, b, linalg, { transpose: true });
    expect(apart(product(transpose(l), back), b)).toBeLessThan(1e-10);
  });

  test("what is refused", async () => {
    const singular = matrix(Float64Array.of(1, 1, 1, 1), 2, 2);
    await expect(cholesky(singular, linalg)).rejects.toThrow(
      "cholesky: expected a positive definite matrix, got one that is not at row 1",
    );
    const l = matrix(Float64Array.of(0, 0, 1, 1), 2, 2);
    await expect(solveTriangular(l, filled(2, 1, 1), linalg)).rejects.toThrow(DataError);
    await expect(solveTriangular(singular, filled(3, 1, 1), linalg)).rejects.toThrow(ShapeError);
  });
});

describe("eigenvalues", () => {
  test("a rotation, a triangle, a companion matrix", () => {
    const c = Math.cos(0.3);
    const s = Math.sin(0.3);
    const turn = eigenvalues(matrix(Float64Array.of(c, -s, s, c), 2, 2));
    expect(turn.real[0]).toBeCloseTo(c, 14);
    expect(turn.imaginary[0]).toBeCloseTo(s, 14);
    expect(turn.imaginary[1]).toBeCloseTo(-s, 14);
    const triangle = eigenvalues(matrix(Float64Array.of(1, 5, 0, -3), 2, 2));
    expect(Array.from(triangle.real, (v) => Math.round(v * 1e9) / 1e9)).toEqual([-3, 1]);
    // x^3 = 1
    const roots = eigenvalues(matrix(Float64Array.of(0, 0, 1, 1, 0, 0, 0, 1, 0), 3, 3));
    roots.real.forEach((re, i) => {
      expect(Math.hypot(re, roots.imaginary[i]!)).toBeCloseTo(1, 13);
    });
    expect(() => eigenvalues(matrix(new Float64Array(2), 1, 2))).toThrow(ShapeError);
  });
});

describe("batchMatmul", () => {
  test("pairs of products, plain and transposed", async () => {
    const a = { data: filled(6, 4, 1).data, count: 2, nRows: 3, nColumns: 4 };
    const b = { data: filled(6, 4, 2).data, count: 2, nRows: 3, nColumns: 4 };
    const { data, nRows, nColumns } = await linalg.batchMatmul(a, b, { transposeB: true });
    expect([nRows, nColumns]).toEqual([3, 3]);
    const second = product(
      matrix(a.data.slice(12), 3, 4),
      transpose(matrix(b.data.slice(12), 3, 4)),
    );
    expect(apart(matrix(data.slice(9), 3, 3), second)).toBeLessThan(1e-15);
    const gram = await linalg.batchMatmul(a, b, { transposeA: true });
    expect([gram.nRows, gram.nColumns]).toEqual([4, 4]);
    await expect(linalg.batchMatmul(a, b)).rejects.toThrow(ShapeError);
  });
});
