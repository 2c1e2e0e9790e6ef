import { readFileSync } from "node:fs";
import { ArgumentError, activations, DataError, ShapeError } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { pearson, pearsonColumns, spearman } from "./correlation.ts";
import { mean, quantile, standardDeviation, variance } from "./descriptive.ts";
import { rankData } from "./rank.ts";

const golden = JSON.parse(
  readFileSync(new URL("../../../test/golden/stats.json", import.meta.url), "utf8"),
);
const finite = fc.double({ min: -1e6, max: 1e6, noNaN: true });

describe("mean, variance, standardDeviation", () => {
  test("hand case", () => {
    expect(mean([1, 2, 6])).toBe(3);
    expect(variance([1, 2, 6])).toBe(7);
    expect(standardDeviation([1, 2, 6])).toBe(Math.sqrt(7));
    expect(variance(new Float32Array([2, 2, 2]))).toBe(0);
  });

  test("match numpy", () => {
    const { values, mean: m, variance: v } = golden.descriptive;
    expect(mean(values)).toBeCloseTo(m, 15);
    expect(variance(values)).toBeCloseTo(v, 14);
  });

  test("keep the digits of a small spread on a large mean", () => {
    const values = [1e9, 1e9 + 1, 1e9 + 2];
    expect(variance(values)).toBe(1);
    expect(mean([1e16, 1, -1e16])).toBeCloseTo(1 / 3, 15);
  });

  test("say what they cannot take", () => {
    expect(() => mean([])).toThrow(ShapeError);
    expect(() => mean([])).toThrow("mean: expected at least 1 values, got 0");
    expect(() => mean([1, Number.NaN])).toThrow(ArgumentError);
    expect(() => mean([1, Number.NaN])).toThrow("mean: expected finite values, got NaN at 1");
    expect(() => variance([1])).toThrow("variance: expected at least 2 values, got 1");
    expect(() => standardDeviation([1])).toThrow("standardDeviation: expected at least 2");
  });
});

describe("quantile", () => {
  test("equals numpy's to the last bit", () => {
    const { values, q, quantiles } = golden.descriptive;
    expect(q.map((at: number) => quantile(values, at))).toEqual(quantiles);
  });

  test("lies between the values, rises with q and does not change its input", () => {
    const unit = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(fc.array(finite, { minLength: 1 }), unit, unit, (values, q, r) => {
        const before = [...values];
        const [low, high] = [quantile(values, Math.min(q, r)), quantile(values, Math.max(q, r))];
        expect(low).toBeLessThanOrEqual(high);
        expect(low).toBeGreaterThanOrEqual(Math.min(...values));
        expect(high).toBeLessThanOrEqual(Math.max(...values));
        expect(values).toEqual(before);
      }),
    );
  });

  test("says what it cannot take", () => {
    expect(() => quantile([], 0.5)).toThrow(ShapeError);
    expect(() => quantile([1], 1.1)).toThrow("quantile: expected q within 0..1, got 1.1");
    expect(() => quantile([1, Number.POSITIVE_INFINITY], 1)).toThrow(ArgumentError);
  });
});

describe("rankData", () => {
  test.each(["average", "dense", "min"] as const)("%s matches scipy.stats.rankdata", (method) => {
    expect(Array.from(rankData(golden.rank.values, method))).toEqual(golden.rank[method]);
  });

  test("average ranks sum to n (n + 1) / 2 and keep the order", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 9 })), (values) => {
        const ranks = rankData(values);
        const n = values.length;
        expect(ranks.reduce((a, b) => a + b, 0)).toBe((n * (n + 1)) / 2);
        for (let i = 1; i < n; i++) {
          expect(Math.sign(ranks[i]! - ranks[i - 1]!)).toBe(Math.sign(values[i]! - values[i - 1]!));
        }
      }),
    );
  });

  test("takes infinities, empty lists, and not NaN", () => {
    const ends = [Number.POSITIVE_INFINITY, 0, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
    expect(Array.from(rankData(ends))).toEqual([3.5, 2, 1, 3.5]);
    expect(rankData([]).length).toBe(0);
    expect(() => rankData([1, Number.NaN])).toThrow("rankData: expected numbers, got NaN at 1");
    expect(() => rankData([1], "max" as "min")).toThrow(
      "rankData: expected method average, dense or min, got max",
    );
  });
});

describe("correlations", () => {
  const { x, y, coarse } = golden.correlation;

  test("match scipy", () => {
    expect(pearson(x, y)).toBeCloseTo(golden.correlation.pearson, 14);
    expect(spearman(x, y)).toBeCloseTo(golden.correlation.spearman, 14);
    expect(spearman(x, coarse)).toBeCloseTo(golden.correlation.spearmanTies, 14);
  });

  test("hand case and no variance", () => {
    expect(pearson([0, 1], [3, 5])).toBe(1);
    expect(pearson([1, 2, 3], [3, 1, 2])).toBeCloseTo(-0.5, 15);
    expect(pearson([1, 1, 1], [1, 2, 3])).toBeNaN();
    expect(pearson([0.1, 0.1, 0.1], [1, 2, 3])).toBeNaN();
    expect(spearman([1, 2, 3], [7, 7, 7])).toBeNaN();
  });

  test("stay within -1..1, and keep under shift and scale, also of tiny values", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(finite, finite), { minLength: 2 }), (pairs) => {
        const r = pearson(
          pairs.map(([a]) => a),
          pairs.map(([, b]) => b),
        );
        expect(Number.isNaN(r) || Math.abs(r) <= 1).toBe(true);
      }),
    );
    const tiny = (v: number[]): number[] => v.map((value) => value * 2 ** -300);
    expect(pearson(tiny(x), tiny(y))).toBeCloseTo(pearson(x, y), 13);
  });

  test("columns are those of pearson, in float64 also from float32", () => {
    const rows = x.map((v: number, i: number) => [v, y[i], 1]);
    const others = x.map((_: number, i: number) => [coarse[i], x[i], i]);
    const r = pearsonColumns(activations(rows), activations(others));
    expect(r[0]).toBeCloseTo(pearson(x, coarse), 15);
    expect(r[1]).toBeCloseTo(pearson(y, x), 15);
    expect(r[2]).toBeNaN();
  });

  test("say what they cannot take", () => {
    expect(() => pearson([1, 2], [1])).toThrow(ShapeError);
    expect(() => pearson([1], [1])).toThrow("pearson: expected at least 2 values, got 1");
    expect(() => spearman([1, 2], [1, Number.NaN])).toThrow("spearman: expected finite values");
    const two = activations([[1], [2]]);
    expect(() =>
      pearsonColumns(
        two,
        activations([
          [1, 2],
          [3, 4],
        ]),
      ),
    ).toThrow("pearsonColumns: expected equal shapes, got [2, 1] and [2, 2]");
    expect(() => pearsonColumns(two, activations([[1], [Number.NaN]]))).toThrow(DataError);
    expect(() => pearsonColumns(activations([[1]]), activations([[1]]))).toThrow(
      "pearsonColumns: expected at least 2 stimuli, got 1",
    );
  });
});
