import { readFileSync } from "node:fs";
import {
  type Activations,
  activations,
  createRng,
  DataError,
  ShapeError,
  tensor,
} from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cohenD, unitMoments, welchT } from "./welch.ts";

const golden = JSON.parse(
  readFileSync(new URL("../../../test/golden/stats.json", import.meta.url), "utf8"),
).welch as { a: number[][]; b: number[][]; t: number[]; p: number[] };

/** The definition, one unit at a time, with no care for rounding. */
function naiveT(a: number[], b: number[]): number {
  const mean = (x: number[]) => x.reduce((s, v) => s + v, 0) / x.length;
  const squared = (x: number[]) =>
    x.reduce((s, v) => s + (v - mean(x)) ** 2, 0) / (x.length - 1) / x.length;
  return (mean(a) - mean(b)) / Math.sqrt(squared(a) + squared(b));
}

const column = (x: number[][], j: number): number[] => x.map((row) => row[j]!);
const relative = (got: number, expected: number): number =>
  Math.abs(got - expected) / Math.abs(expected);

describe("welchT", () => {
  test("hand case: 1 2 3 against 4 6 8", () => {
    // Means 2 and 6, variances 1 and 4: t = -4 / sqrt(1/3 + 4/3), df = (5/3)^2 / ((1/9 + 16/9) / 2).
    const { t, df, p } = welchT(activations([[1], [2], [3]]), activations([[4], [6], [8]]));
    expect(t[0]).toBeCloseTo(-4 / Math.sqrt(5 / 3), 14);
    expect(df[0]).toBeCloseTo(50 / 17, 13);
    expect(p[0]).toBeCloseTo(0.0547868, 7);
  });

  test("matches scipy.stats.ttest_ind(equal_var=False), also on a mean 10000 times the spread", () => {
    const { t, p } = welchT(activations(golden.a), activations(golden.b));
    golden.t.forEach((expected, j) => {
      // The third unit has mean 1000 and sd 0.1: the input's own rounding is 1e4 eps of its spread.
      expect(relative(t[j]!, expected)).toBeLessThan(1e-10);
      expect(relative(p[j]!, golden.p[j]!)).toBeLessThan(1e-10);
    });
  });

  test("matches the definition", () => {
    const rng = createRng(5);
    const rows = (n: number) =>
      Array.from({ length: n }, () => [rng.normal(), rng.normal() * 3 + 1]);
    const a = rows(7);
    const b = rows(11);
    const { t } = welchT(activations(a), activations(b));
    for (const j of [0, 1]) expect(t[j]).toBeCloseTo(naiveT(column(a, j), column(b, j)), 12);
  });

  test("turns its sign when the groups change places, and keeps t under shift and scale", () => {
    const group = fc.array(fc.double({ min: -100, max: 100, noNaN: true }), {
      minLength: 3,
      maxLength: 12,
    });
    fc.assert(
      fc.property(group, group, (a, b) => {
        // On a grid, so that no spread is of the size of rounding errors.
        const grid = (x: number[]) => activations(x.map((v) => [Math.round(v * 8) / 8]));
        const moved = (x: number[]) =>
          activations(x.map((v) => [4 * (Math.round(v * 8) / 8) + 32]));
        const one = welchT(grid(a), grid(b));
        const other = welchT(grid(b), grid(a));
        const scaled = welchT(moved(a), moved(b));
        if (Number.isNaN(one.t[0]!)) {
          expect(other.t[0]).toBeNaN();
          return;
        }
        expect(other.t[0]! + one.t[0]!).toBe(0);
        expect(other.p[0]).toBe(one.p[0]);
        expect(Math.abs(scaled.t[0]! - one.t[0]!)).toBeLessThan(1e-9 * (1 + Math.abs(one.t[0]!)));
      }),
    );
  });

  test("a unit that varies in neither group has t NaN and p 1, whatever its values", () => {
    // 0.1 is no binary fraction: a mean by summing would leave a false spread of 1e-17.
    const a = activations(Array.from({ length: 7 }, () => [0.1, 5, 0.1]));
    const b = activations(Array.from({ length: 10 }, (_, i) => [0.1, 6, i / 10]));
    const { t, df, p } = welchT(a, b);
    expect([t[0], t[1], df[0]]).toEqual([Number.NaN, Number.NaN, Number.NaN]);
    expect([p[0], p[1]]).toEqual([1, 1]);
    expect(Number.isFinite(t[2]!)).toBe(true);
    expect(df[2]).toBeCloseTo(9, 12);
  });

  test("keeps tiny and huge variances apart", () => {
    const scaled = (s: number) =>
      welchT(activations([[1 * s], [2 * s], [3 * s]]), activations([[4 * s], [6 * s], [8 * s]]));
    expect(scaled(2 ** -400).df[0]).toBeCloseTo(50 / 17, 12);
    expect(scaled(2 ** 400).t[0]).toBeCloseTo(-4 / Math.sqrt(5 / 3), 12);
  });

  test("magnitude compares sizes: a unit driven below zero counts as active", () => {
    const a = activations([[-5], [-6], [-7]]);
    const b = activations([[0.5], [-0.5], [0.6]]);
    expect(welchT(a, b).t[0]).toBeLessThan(0);
    const size = welchT(a, b, { magnitude: true });
    const abs = (x: Activations) => tensor(x.data.map(Math.abs), x.axes, x.shape);
    expect(Array.from(size.t)).toEqual(Array.from(welchT(abs(a), abs(b)).t));
    expect(size.t[0]).toBeGreaterThan(0);
  });

  test("float32 input is summed in float64", () => {
    const data = Float32Array.from({ length: 2000 }, (_, i) => 1e6 + (i % 2));
    const { mean, variance } = unitMoments(tensor(data, ["stimulus", "unit"], [2000, 1]));
    expect(mean[0]).toBe(1e6 + 0.5);
    expect(variance[0]).toBeCloseTo((0.25 * 2000) / 1999, 12);
  });

  test("says what it cannot take", () => {
    const two = activations([
      [1, 2],
      [3, 4],
    ]);
    expect(() => welchT(two, activations([[1], [2]]))).toThrow(ShapeError);
    expect(() => welchT(two, activations([[1], [2]]))).toThrow(
      "welchT: expected the same units in both groups, got 2 and 1",
    );
    expect(() => welchT(activations([[1, 2]]), two)).toThrow(
      "welchT: expected at least 2 stimuli, got 1",
    );
    const broken = activations([
      [1, 2],
      [3, Number.NaN],
    ]);
    expect(() => welchT(two, broken)).toThrow(DataError);
    expect(() => welchT(two, broken)).toThrow(
      "welchT: expected finite activations, got NaN at stimulus 1, unit 1",
    );
    const infinite = activations([
      [Number.POSITIVE_INFINITY, 2],
      [3, 4],
    ]);
    expect(() => cohenD(infinite, two)).toThrow("got Infinity at stimulus 0, unit 0");
  });
});

describe("cohenD", () => {
  test("hand case", () => {
    // Means 6 and 2, variances 4 and 1.
    expect(cohenD(activations([[4], [6], [8]]), activations([[1], [2], [3]]))[0]).toBeCloseTo(
      4 / Math.sqrt(2.5),
      14,
    );
  });

  test("is t times sqrt(2 / n) for groups of equal size", () => {
    const a = golden.a.slice(0, 9);
    const b = golden.b.slice(0, 9);
    const { t } = welchT(activations(a), activations(b));
    cohenD(activations(a), activations(b)).forEach((d, j) => {
      expect(d).toBeCloseTo(t[j]! * Math.sqrt(2 / 9), 10);
    });
  });

  test("is NaN without any spread", () => {
    expect(cohenD(activations([[1], [1]]), activations([[2], [2]]))[0]).toBeNaN();
  });
});
