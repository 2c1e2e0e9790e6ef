import { DataError, ShapeError } from "@penfield/core";
import fc from "fast-check";
import { EigenvalueDecomposition, Matrix as MlMatrix, solve } from "ml-matrix";
import { describe, expect, test } from "vitest";
import { choleskySolve } from "./choleskySolve.ts";
import { type Matrix, matrix } from "./matrix.ts";
import { symmetricEigen } from "./symmetricEigen.ts";
import { thinSvd } from "./thinSvd.ts";

const random = (seed: number) => {
  let state = seed * 48271 + 1;
  return () => {
    state = (state * 16807 + 11) % 2147483647;
    return state / 1073741823.5 - 1;
  };
};
const filled = (n: number, m: number, seed: number) =>
  MlMatrix.from1DArray(n, m, Float64Array.from({ length: n * m }, random(seed)));
const ours = (x: MlMatrix) => matrix(Float64Array.from(x.to1DArray()), x.rows, x.columns);
const theirs = (x: Matrix) => MlMatrix.from1DArray(x.nRows, x.nColumns, x.data);
const largest = (x: MlMatrix) => Math.max(...x.to1DArray().map(Math.abs));

describe("symmetricEigen", () => {
  const symmetric = (n: number, seed: number) => {
    const x = filled(n, n, seed);
    return x.clone().add(x.transpose());
  };

  test("a 2 x 2 matrix by hand", () => {
    const { values, vectors } = symmetricEigen(matrix(Float64Array.of(2, 1, 1, 2), 2, 2));
    expect(values[0]).toBeCloseTo(3, 14);
    expect(values[1]).toBeCloseTo(1, 14);
    expect(Math.abs(vectors.data[0]! + vectors.data[1]!)).toBeCloseTo(Math.SQRT2, 14);
  });

  test("gives ml-matrix's values, orthonormal rows, and the matrix back", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.nat(1000), (n, seed) => {
        const a = symmetric(n, seed);
        const { values, vectors } = symmetricEigen(ours(a));
        const tolerance = 20 * n * Number.EPSILON * Math.max(1, largest(a));
        const reference = new EigenvalueDecomposition(a, { assumeSymmetric: true }).realEigenvalues
          .slice()
          .sort((x, y) => y - x);
        values.forEach((value, i) => {
          expect(Math.abs(value - reference[i]!)).toBeLessThanOrEqual(tolerance);
        });
        const v = theirs(vectors);
        expect(largest(v.mmul(v.transpose()).sub(MlMatrix.eye(n)))).toBeLessThanOrEqual(tolerance);
        const back = v
          .transpose()
          .mmul(MlMatrix.diag([...values]))
          .mmul(v);
        expect(largest(back.sub(a))).toBeLessThanOrEqual(tolerance);
        const only = symmetricEigen(ours(a), { vectors: false });
        only.values.forEach((value, i) => {
          expect(Math.abs(value - values[i]!)).toBeLessThanOrEqual(tolerance);
        });
        expect(only.vectors.data).toHaveLength(0);
      }),
      { numRuns: 40 },
    );
  });

  test.each([
    ["diagonal", [5, 0, 0, 0, -1, 0, 0, 0, 2], [5, 2, -1]],
    ["zero", new Array(9).fill(0), [0, 0, 0]],
    ["rank one", [1, 2, 3, 2, 4, 6, 3, 6, 9], [14, 0, 0]],
    ["equal values", [1, 0, 0, 0, 1, 0, 0, 0, 1], [1, 1, 1]],
    ["tiny", [2e-300, 1e-300, 0, 1e-300, 2e-300, 0, 0, 0, 1e-300], [3e-300, 1e-300, 1e-300]],
    ["huge", [2e300, 1e300, 0, 1e300, 2e300, 0, 0, 0, 1e300], [3e300, 1e300, 1e300]],
  ])("a %s matrix", (_, data, expected) => {
    const { values, vectors } = symmetricEigen(matrix(Float64Array.from(data), 3, 3));
    const scale = Math.max(...expected.map(Math.abs)) || 1;
    values.forEach((value, i) => {
      expect(value / scale).toBeCloseTo(expected[i]! / scale, 13);
    });
    const v = theirs(vectors);
    expect(largest(v.mmul(v.transpose()).sub(MlMatrix.eye(3)))).toBeLessThan(1e-14);
  });

  test("a matrix whose rotations are applied in several parts", () => {
    const n = 130;
    const a = symmetric(n, 9);
    const { values, vectors } = symmetricEigen(ours(a));
    const v = theirs(vectors);
    const tolerance = 20 * n * Number.EPSILON;
    expect(largest(v.mmul(v.transpose()).sub(MlMatrix.eye(n)))).toBeLessThan(tolerance);
    expect(
      largest(
        v
          .transpose()
          .mmul(MlMatrix.diag([...values]))
          .mmul(v)
          .sub(a),
      ),
    ).toBeLessThan(tolerance);
  });

  test("a larger matrix with eigenvalues over twelve orders of magnitude", () => {
    const n = 120;
    const { vectors } = symmetricEigen(ours(symmetric(n, 5)));
    const planted = Float64Array.from({ length: n }, (_, i) => 10 ** (6 - (12 * i) / (n - 1)));
    const v = theirs(vectors);
    const a = v
      .transpose()
      .mmul(MlMatrix.diag([...planted]))
      .mmul(v);
    const { values } = symmetricEigen(ours(a));
    values.forEach((value, i) => {
      expect(Math.abs(value - planted[i]!)).toBeLessThan(1e6 * n * Number.EPSILON);
    });
  });

  test("refuses other shapes and values that are not finite; nothing has no eigenvalues", () => {
    expect(() => symmetricEigen(matrix(new Float64Array(6), 2, 3))).toThrow(
      new ShapeError("symmetricEigen: expected a square matrix, got 2 x 3"),
    );
    expect(() => symmetricEigen(matrix(Float64Array.of(1, 0, Number.NaN, 1), 2, 2))).toThrow(
      new DataError("symmetricEigen: expected finite values, got NaN in row 1, column 0"),
    );
    expect(symmetricEigen(matrix(new Float64Array(0), 0, 0)).values).toHaveLength(0);
  });
});

describe("thinSvd", () => {
  test("gives orthonormal factors, descending values, and the matrix back, tall or wide", () => {
    const size = fc.integer({ min: 1, max: 15 });
    fc.assert(
      fc.property(size, size, fc.nat(1000), (n, p, seed) => {
        const a = filled(n, p, seed);
        const { u, s, v } = thinSvd(ours(a));
        const k = Math.min(n, p);
        expect([u.nRows, u.nColumns, s.length, v.nRows, v.nColumns]).toEqual([n, k, k, p, k]);
        const back = theirs(u)
          .mmul(MlMatrix.diag([...s]))
          .mmul(theirs(v).transpose());
        expect(largest(back.sub(a))).toBeLessThan(1e-13);
        for (const x of [theirs(u), theirs(v)]) {
          expect(largest(x.transpose().mmul(x).sub(MlMatrix.eye(k)))).toBeLessThan(1e-12);
        }
        expect([...s]).toEqual([...s].sort((x, y) => y - x));
        const squares = symmetricEigen(ours(a.transpose().mmul(a))).values;
        s.forEach((value, i) => {
          expect(value ** 2).toBeCloseTo(squares[i]!, 12);
        });
      }),
      { numRuns: 40 },
    );
  });

  test("refuses nothing and values that are not finite", () => {
    expect(() => thinSvd(matrix(new Float64Array(0), 0, 3))).toThrow(ShapeError);
    expect(() => thinSvd(matrix(Float64Array.of(1, Number.POSITIVE_INFINITY), 1, 2))).toThrow(
      DataError,
    );
  });
});

describe("choleskySolve", () => {
  test("gives ml-matrix's solution", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 25 }),
        fc.integer({ min: 1, max: 5 }),
        fc.nat(1000),
        (n, m, seed) => {
          const x = filled(n + 2, n, seed);
          const a = x.transpose().mmul(x).add(MlMatrix.eye(n));
          const b = filled(n, m, seed + 1);
          const solved = theirs(choleskySolve(ours(a), ours(b)));
          expect(largest(solved.sub(solve(a, b)))).toBeLessThan(1e-11);
        },
      ),
    );
  });

  test("refuses what it cannot factor", () => {
    const b = matrix(Float64Array.of(1, 2), 2, 1);
    const singular = matrix(Float64Array.of(1, 1, 1, 1), 2, 2);
    expect(() => choleskySolve(singular, b)).toThrow(DataError);
    expect(() => choleskySolve(singular, b)).toThrow("got one that is not at row 1");
    expect(() =>
      choleskySolve(matrix(Float64Array.of(-1), 1, 1), matrix(Float64Array.of(1), 1, 1)),
    ).toThrow("at row 0");
    expect(() => choleskySolve(singular, matrix(Float64Array.of(1), 1, 1))).toThrow(
      new ShapeError("choleskySolve: expected b with 2 rows, got 1"),
    );
  });
});
