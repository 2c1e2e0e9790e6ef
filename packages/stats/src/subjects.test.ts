import { ArgumentError, createRng, DataError, ShapeError } from "@penfield/core";
import { describe, expect, test } from "vitest";
import { blockOrders, blockPermutationTest, suggestBlockLength } from "./blockPermutation.ts";
import { pearson } from "./correlation.ts";
import { mean } from "./descriptive.ts";
import { jointBootstrap, randomEffects, summarizeSubjects } from "./subjects.ts";

describe("blockOrders", () => {
  test("keep blocks whole and runs apart", () => {
    const runs = [0, 0, 0, 0, 0, 1, 1, 1, 1];
    for (const order of blockOrders({ nItems: 9, blockLength: 2, nDraws: 20, seed: 1, runs })) {
      expect([...order].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
      expect([...order.slice(0, 5)].every((i) => i < 5)).toBe(true);
      for (const first of [0, 2, 5, 7]) {
        const at = order.indexOf(first);
        expect(order[at + 1]).toBe(first + 1);
      }
    }
  });

  test("slow noise is not taken for a correlation, as it is by exchanging single items", () => {
    const rng = createRng(3);
    const slow = () => {
      let level = 0;
      return Array.from({ length: 120 }, () => {
        level = 0.95 * level + rng.normal();
        return level;
      });
    };
    let blocks = 0;
    let single = 0;
    for (let i = 0; i < 40; i++) {
      const [x, y] = [slow(), slow()];
      const p = (blockLength: number) =>
        blockPermutationTest({
          nItems: 120,
          blockLength,
          nDraws: 99,
          statistic: (order) =>
            pearson(
              x,
              Array.from(order, (k) => y[k]!),
            ),
        }).p;
      if (p(20) <= 0.05) blocks++;
      if (p(1) <= 0.05) single++;
    }
    expect(blocks).toBeLessThan(10);
    expect(single).toBeGreaterThan(blocks);
    expect(suggestBlockLength(slow())).toBeGreaterThan(4);
  });

  test("refuses blocks that cannot change places", () => {
    expect(() => blockOrders({ nItems: 4, blockLength: 4 })).toThrow(ArgumentError);
    expect(() => blockOrders({ nItems: 4, blockLength: 1, runs: [1] })).toThrow(ShapeError);
  });
});

describe("summaries over subjects", () => {
  test("equal scipy's: t, its interval, Wilcoxon, sign flips", () => {
    // scipy 1.17.1 of [0.6, 0.7, 0.55, 0.65, 0.6, 0.48] against 0.5: ttest_1samp, wilcoxon(method="exact").
    const s = summarizeSubjects([0.6, 0.7, 0.55, 0.65, 0.6, 0.48], { null: 0.5 });
    expect(s.p).toBeCloseTo(0.027116013785024796, 12);
    expect(s.low).toBeCloseTo(0.5162860163081039, 12);
    expect(s.high).toBeCloseTo(0.6770473170252294, 12);
    expect(s.wilcoxonP).toBeCloseTo(0.0625, 12);
    expect(s.signFlipP).toBeCloseTo(4 / 64, 12);
    expect(summarizeSubjects([0.5, 0.5], { null: 0.5 })).toMatchObject({
      p: 1,
      low: 0.5,
      high: 0.5,
    });
    expect(() => summarizeSubjects([1])).toThrow(ShapeError);
  });

  test("random effects: a hand case", () => {
    // Q = 8, tau^2 = (8 - 1) / (2 - 1) = 7; equal weights.
    const r = randomEffects([0, 4], [1, 1]);
    expect(r.tauSquared).toBeCloseTo(7, 12);
    expect(r.mean).toBe(2);
    expect(r.iSquared).toBeCloseTo(7 / 8, 12);
    expect(r.standardError).toBeCloseTo(2, 12);
    expect([...randomEffects([1, 1], [1, 2]).weights]).toEqual([0.8, 0.2]);
    expect(() => randomEffects([1, 2], [1, 0])).toThrow(ArgumentError);
  });

  test("the joint bootstrap is wider than that over either alone", () => {
    const rng = createRng(2);
    const subject = Array.from({ length: 8 }, () => rng.normal());
    const item = Array.from({ length: 12 }, () => rng.normal());
    const interval = (both: boolean) =>
      jointBootstrap({
        nSubjects: 8,
        nStimuli: 12,
        nDraws: 300,
        statistic: (s, i) =>
          mean(Array.from(s, (k) => subject[k]!)) +
          (both ? mean(Array.from(i, (k) => item[k]!)) : 0),
      });
    const width = (b: { low: number; high: number }) => b.high - b.low;
    expect(width(interval(true))).toBeGreaterThan(1.1 * width(interval(false)));
    expect(() =>
      jointBootstrap({ nSubjects: 2, nStimuli: 2, statistic: () => Number.NaN }),
    ).toThrow(DataError);
  });
});
