import { readFileSync } from "node:fs";
import { ArgumentError, createRng, DataError, ShapeError } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bootstrapInterval, pairedBootstrap } from "./bootstrap.ts";
import { pearson } from "./correlation.ts";
import { benjaminiHochberg, bonferroni } from "./multiple.ts";
import {
  permutationP,
  rankP,
  signFlipTest,
  standardizeAgainst,
  wilcoxonSignedRank,
} from "./permutation.ts";

const golden = JSON.parse(
  readFileSync(new URL("../../../test/golden/stats.json", import.meta.url), "utf8"),
);
const pValue = fc.double({ min: 0, max: 1, noNaN: true });
const meanAt = (values: readonly number[]) => (indices: Int32Array) =>
  indices.reduce((sum, i) => sum + values[i]!, 0) / indices.length;

describe("benjaminiHochberg", () => {
  test("hand case: the example of the 1995 paper keeps four", () => {
    const p = [
      0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.324, 0.4262, 0.5719,
      0.6528, 0.759, 1,
    ];
    expect(benjaminiHochberg(p).filter((q) => q <= 0.05).length).toBe(4);
  });

  test("matches the definition: the least m p / rank among those at least as large", () => {
    fc.assert(
      fc.property(fc.array(pValue), (p) => {
        const q = benjaminiHochberg(p);
        p.forEach((value, i) => {
          let least = 1;
          for (const other of p) {
            if (other < value) continue;
            const rank = p.filter((each) => each <= other).length;
            least = Math.min(least, (other * p.length) / rank);
          }
          expect(Math.abs(q[i]! - least)).toBeLessThanOrEqual(1e-15);
        });
      }),
    );
  });

  test("refuses NaN and what is no probability", () => {
    expect(() => benjaminiHochberg([0.1, Number.NaN])).toThrow(ArgumentError);
    expect(() => benjaminiHochberg([0.1, Number.NaN])).toThrow(
      "benjaminiHochberg: expected p-values within 0..1, got NaN at 1",
    );
    expect(() => bonferroni([1.1])).toThrow("bonferroni: expected p-values within 0..1, got 1.1");
    expect(benjaminiHochberg([]).length).toBe(0);
  });

  test("is never above Bonferroni and never below p", () => {
    fc.assert(
      fc.property(fc.array(pValue), (p) => {
        const strict = bonferroni(p);
        benjaminiHochberg(p).forEach((q, i) => {
          expect(q).toBeGreaterThanOrEqual(p[i]!);
          expect(q).toBeLessThanOrEqual(strict[i]!);
        });
      }),
    );
  });
});

describe("bootstrapInterval", () => {
  const { values, bca, percentile } = golden.bootstrap;
  const spread = percentile[1] - percentile[0];

  // The ends of an interval from 10000 draws lie within about 3 % of its width of the true ones.
  test.each([
    ["percentile", percentile],
    ["bca", bca],
  ] as const)("%s matches scipy.stats.bootstrap", (method, [low, high]) => {
    const interval = bootstrapInterval({
      nItems: values.length,
      statistic: meanAt(values),
      nDraws: 10_000,
      seed: 3,
      method,
    });
    expect(Math.abs(interval.low - low)).toBeLessThan(0.03 * spread);
    expect(Math.abs(interval.high - high)).toBeLessThan(0.03 * spread);
    expect(interval.estimate).toBeCloseTo(meanAt(values)(Int32Array.from(values, (_, i) => i)), 14);
  });

  test("covers the true mean about as often as it says", () => {
    const rng = createRng(11);
    let covered = 0;
    for (let trial = 0; trial < 200; trial++) {
      const sample = Array.from({ length: 40 }, () => rng.normal());
      const { low, high } = bootstrapInterval({
        nItems: 40,
        statistic: meanAt(sample),
        nDraws: 300,
        level: 0.9,
        seed: trial,
      });
      if (low <= 0 && high >= 0) covered++;
    }
    // 0.9 of 200, with 3.5 standard errors, and a little less as the percentile method is narrow.
    expect(covered / 200).toBeGreaterThan(0.81);
    expect(covered / 200).toBeLessThan(0.975);
  });

  test("gives the same interval for the same seed, another for another", () => {
    const run = (seed: number) =>
      bootstrapInterval({ nItems: values.length, statistic: meanAt(values), nDraws: 100, seed });
    expect(run(1)).toEqual(run(1));
    expect(run(1).low).not.toBe(run(2).low);
  });

  test("resamples within strata", () => {
    const strata = ["a", "b", "a", "b", "b"];
    const counts = new Set<string>();
    bootstrapInterval({
      nItems: 5,
      strata,
      nDraws: 50,
      statistic: (indices) => {
        counts.add(
          Array.from(indices, (i) => strata[i])
            .sort()
            .join(""),
        );
        return indices[0]!;
      },
    });
    expect([...counts]).toEqual(["aabbb"]);
  });

  test("an interval of values that are all the same has no width", () => {
    for (const method of ["percentile", "bca"] as const) {
      const interval = bootstrapInterval({ nItems: 5, statistic: () => 2, nDraws: 50, method });
      expect(interval).toMatchObject({ estimate: 2, low: 2, high: 2, standardError: 0 });
    }
  });

  test("counts draws in which the statistic is undefined, and gives up when most are", () => {
    const x = [1, 1, 1, 2];
    const y = [1, 2, 3, 4];
    const interval = bootstrapInterval({
      nItems: 4,
      nDraws: 400,
      statistic: (i) =>
        pearson(
          Array.from(i, (j) => x[j]!),
          Array.from(i, (j) => y[j]!),
        ),
    });
    // All draws without the last item, or of it alone: (3/4)^4 + (1/4)^4 = 0.32.
    expect(interval.nUndefined / 400).toBeGreaterThan(0.2);
    expect(interval.nUndefined / 400).toBeLessThan(0.45);
    const fragile = (indices: Int32Array) =>
      new Set(indices).size === indices.length ? 1 : Number.NaN;
    const call = () => bootstrapInterval({ nItems: 6, statistic: fragile });
    expect(call).toThrow(DataError);
    expect(call).toThrow(/got NaN in \d+ of 2000 draws/);
  });

  test.each([
    [{ nItems: 1 }, ArgumentError, "expected nItems to be a whole number of at least 2, got 1"],
    [{ nDraws: 0 }, ArgumentError, "expected nDraws to be a whole number of at least 1, got 0"],
    [{ level: 95 }, ArgumentError, "expected level between 0 and 1, got 95"],
    [{ method: "t" as "bca" }, ArgumentError, "expected method percentile or bca, got t"],
    [{ strata: [1, 2] }, ShapeError, "expected 4 strata labels, got 2"],
    [
      { statistic: () => Number.NaN },
      DataError,
      "expected a finite statistic of all items, got NaN",
    ],
  ])("refuses %j", (options, kind, message) => {
    const call = () => bootstrapInterval({ nItems: 4, statistic: () => 1, ...options });
    expect(call).toThrow(kind);
    expect(call).toThrow(message);
  });

  test("paired: what items share cancels out", () => {
    const rng = createRng(2);
    const base = Array.from({ length: 30 }, () => 100 * rng.normal());
    const { estimate, low, high } = pairedBootstrap(
      base.map((v) => v + 1 + 0.1 * rng.normal()),
      base,
    );
    expect(estimate).toBeCloseTo(1, 1);
    expect(low).toBeGreaterThan(0.9);
    expect(high).toBeLessThan(1.1);
    expect(() => pairedBootstrap([1, 2], [1])).toThrow(ShapeError);
  });
});

describe("rankP", () => {
  test("hand cases", () => {
    expect(rankP(5, [1, 2, 3])).toBe(0.25);
    expect(rankP(2, [1, 2, 3])).toBe(0.75);
    expect(rankP(0, [1, 2, 3], { tail: "less" })).toBe(0.25);
    expect(rankP(5, [1, 2, 3], { tail: "two-sided" })).toBe(0.5);
    expect(rankP(2, [1, 2, 3], { tail: "two-sided" })).toBe(1);
  });

  test("is uniform when the value is one of the null values", () => {
    const rng = createRng(4);
    let below = 0;
    for (let i = 0; i < 1000; i++) {
      const values = Array.from({ length: 20 }, () => rng.normal());
      if (rankP(values[0]!, values.slice(1)) <= 0.2) below++;
    }
    expect(Math.abs(below / 1000 - 0.2)).toBeLessThan(4 * Math.sqrt((0.2 * 0.8) / 1000));
  });

  test("refuses NaN, no null values and other tails", () => {
    expect(() => rankP(1, [])).toThrow("rankP: expected at least 1 null values, got 0");
    expect(() => rankP(Number.NaN, [1])).toThrow("rankP: expected a number, got NaN");
    expect(() => rankP(1, [Number.NaN])).toThrow(
      "rankP: expected finite null values, got NaN at 0",
    );
    expect(() => rankP(1, [1], { tail: "left" as "less" })).toThrow(
      "rankP: expected tail greater, less or two-sided, got left",
    );
  });
});

test("permutationP counts shuffled statistics and refuses undefined ones", () => {
  const x = [1, 2, 3, 4, 5, 6, 7, 8];
  const result = permutationP({ nItems: 8, statistic: (order) => pearson(x, order), nDraws: 99 });
  expect(result.observed).toBeCloseTo(1, 14);
  expect(result.nulls.length).toBe(99);
  expect(result.p).toBe(0.01);
  expect(() => permutationP({ nItems: 3, statistic: () => Number.NaN })).toThrow(DataError);
  expect(() => permutationP({ nItems: 3, statistic: () => Number.NaN })).toThrow(
    "permutationP: expected a finite statistic, got NaN",
  );
});

test("permutationP counts values that differ by rounding alone as ties", () => {
  const x = [0.1, 0.2, 0.3, 0.7, 1.1];
  const sum = (order: Int32Array) => order.reduce((total, i) => total + x[i]!, 0);
  for (const tail of ["greater", "less", "two-sided"] as const) {
    expect(permutationP({ nItems: 5, statistic: sum, nDraws: 99, tail }).p).toBe(1);
  }
});

test("standardizeAgainst", () => {
  expect(standardizeAgainst(7, [1, 3])).toEqual({ mean: 2, sd: Math.SQRT2, z: 5 / Math.SQRT2 });
  expect(standardizeAgainst(7, [2, 2, 2]).z).toBeNaN();
  expect(() => standardizeAgainst(1, [2])).toThrow(
    "standardizeAgainst: expected at least 2 null values, got 1",
  );
});

describe("signFlipTest", () => {
  test("hand case: only the observed signs and their opposite are as extreme", () => {
    expect(signFlipTest([1, 2, 4])).toEqual({ mean: 7 / 3, p: 0.25, exact: true, nFlips: 8 });
    expect(signFlipTest([1, 2, 4], { tail: "greater" }).p).toBe(0.125);
    expect(signFlipTest([1, 2, 4], { tail: "less" }).p).toBe(1);
    expect(signFlipTest([0, 0]).p).toBe(1);
  });

  test("counts sums that differ by rounding alone as ties", () => {
    // 0.1 + 0.2 - 0.3 is 5.6e-17, -0.1 - 0.2 + 0.3 is -5.6e-17: both are the observed 0.
    expect(signFlipTest([0.1, 0.2, -0.3], { tail: "greater" }).p).toBe(5 / 8);
  });

  test("draws when there are too many to enumerate, near the exact value", () => {
    const rng = createRng(8);
    const values = Array.from({ length: 16 }, () => rng.normal() + 0.3);
    const exact = signFlipTest(values);
    const drawn = signFlipTest([...values, 0], { nDraws: 20_000, seed: 1 });
    expect(exact.exact).toBe(true);
    expect(drawn.exact).toBe(false);
    // A difference of 0 changes no sum, so the two p agree up to Monte Carlo error.
    expect(Math.abs(drawn.p - exact.p)).toBeLessThan(4 * Math.sqrt((exact.p * 1) / 20_000));
  });

  test("refuses nothing at all", () => {
    expect(() => signFlipTest([])).toThrow("signFlipTest: expected at least 1 differences, got 0");
  });
});

describe("wilcoxonSignedRank", () => {
  test("matches scipy.stats.wilcoxon(method='exact')", () => {
    const { values, statistic, p } = golden.wilcoxon;
    expect(wilcoxonSignedRank(values).statistic).toBe(statistic);
    expect(wilcoxonSignedRank(values).p).toBeCloseTo(p, 14);
  });

  test("equals the enumeration of all signs, with ties", () => {
    const magnitudes = [1, 1, 2, 3, 3, 3];
    const ranks = [1.5, 1.5, 3, 5, 5, 5];
    const signs = [1, -1, 1, 1, 1, -1];
    const sum = (s: readonly number[]) => s.reduce((w, v, i) => w + (v > 0 ? ranks[i]! : 0), 0);
    const smaller = Math.min(sum(signs), 21 - sum(signs));
    let count = 0;
    for (let flip = 0; flip < 64; flip++) {
      if (sum(ranks.map((_, i) => ((flip >> i) & 1 ? 1 : -1))) <= smaller) count++;
    }
    const got = wilcoxonSignedRank(magnitudes.map((m, i) => m * signs[i]!));
    expect(got.statistic).toBe(smaller);
    expect(got.p).toBeCloseTo(Math.min(1, (2 * count) / 64), 14);
  });

  test("leaves out zeros, and needs something else", () => {
    expect(wilcoxonSignedRank([0, 1, 2]).nUsed).toBe(2);
    expect(() => wilcoxonSignedRank([0, 0])).toThrow(DataError);
    expect(() => wilcoxonSignedRank([0, 0])).toThrow(
      "wilcoxonSignedRank: expected 1 to 200 differences other than zero, got 0",
    );
  });
});
