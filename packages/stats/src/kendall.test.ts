import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { averageRanks, kendallTau, kendallTauA, kendallTauB, presort } from "./kendall.ts";
import { wilcoxonSignedRank } from "./permutation.ts";
import { rankData } from "./rank.ts";
import { studentTP, studentTQuantile } from "./special.ts";

/** Every pair, by the definition. */
function naive(x: readonly number[], y: readonly number[]): { a: number; b: number } {
  let difference = 0;
  let tiesX = 0;
  let tiesY = 0;
  let all = 0;
  for (let i = 0; i < x.length; i++) {
    for (let j = i + 1; j < x.length; j++) {
      difference += Math.sign(x[i]! - x[j]!) * Math.sign(y[i]! - y[j]!);
      tiesX += Number(x[i] === x[j]);
      tiesY += Number(y[i] === y[j]);
      all++;
    }
  }
  return { a: difference / all, b: difference / Math.sqrt((all - tiesX) * (all - tiesY)) };
}

const lists = fc
  .integer({ min: 2, max: 25 })
  .chain((n) =>
    fc.tuple(
      fc.array(fc.integer({ min: 0, max: 8 }), { minLength: n, maxLength: n }),
      fc.array(fc.integer({ min: 0, max: 8 }), { minLength: n, maxLength: n }),
      fc.array(fc.integer({ min: 0, max: 3 }), { minLength: n, maxLength: n }),
    ),
  );

describe("Kendall's tau", () => {
  test("equals the definition, ties and all", () => {
    fc.assert(
      fc.property(lists, ([x, y]) => {
        const { a, b } = naive(x, y);
        expect(kendallTauA(x, y)).toBeCloseTo(a, 12);
        if (Number.isNaN(b)) expect(kendallTauB(x, y)).toBeNaN();
        else expect(kendallTauB(x, y)).toBeCloseTo(b, 12);
      }),
    );
  });

  test("weights are repetitions", () => {
    fc.assert(
      fc.property(lists, ([x, y, weights]) => {
        const repeat = (v: readonly number[]) =>
          v.flatMap((a, i) => new Array<number>(weights[i]!).fill(a));
        if (repeat(x).length < 2) return;
        const { a, b } = naive(repeat(x), repeat(y));
        expect(kendallTau(presort(x), presort(y), { variant: "a", weights })).toBeCloseTo(a, 12);
        const got = kendallTau(presort(x), presort(y), { weights });
        if (Number.isNaN(b)) expect(got).toBeNaN();
        else expect(got).toBeCloseTo(b, 12);
      }),
    );
  });

  test("presorting keeps order, ranks and infinities", () => {
    const x = [3, Number.POSITIVE_INFINITY, -1, 3, 0, -0, Number.NEGATIVE_INFINITY];
    const { order, dense, nDistinct } = presort(x);
    expect(Array.from(order)).toEqual([6, 2, 4, 5, 0, 3, 1]);
    expect(Array.from(dense)).toEqual([4, 5, 2, 4, 3, 3, 1]);
    expect(nDistinct).toBe(5);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -5, max: 5 })), (v) => {
        expect(averageRanks(presort(v))).toEqual(rankData(v));
      }),
    );
  });

  test("refuses what it cannot rank", () => {
    expect(() => presort([1, Number.NaN])).toThrow("expected numbers, got NaN at 1");
    expect(() => kendallTau(presort([1, 2]), presort([1, 2, 3]))).toThrow(
      "expected 2 values and weights, got 3",
    );
    expect(() => kendallTauA([1], [1])).toThrow("at least 2");
    expect(kendallTau(presort([1]), presort([1]), { variant: "a" })).toBeNaN();
  });
});

describe("studentTQuantile", () => {
  test("is the inverse of the two-sided p", () => {
    for (const df of [1, 2, 4.5, 30, 1000]) {
      for (const p of [0.001, 0.05, 0.3, 0.9]) {
        expect(studentTP(studentTQuantile(p / 2, df), df)).toBeCloseTo(p, 12);
        expect(studentTQuantile(1 - p / 2, df) / studentTQuantile(p / 2, df)).toBeCloseTo(-1, 10);
      }
    }
    // scipy.stats.t.ppf(0.975, 4)
    expect(studentTQuantile(0.975, 4)).toBeCloseTo(2.7764451051977987, 12);
    expect(studentTQuantile(0.5, 3)).toBe(0);
    expect(studentTQuantile(0, 3)).toBe(Number.NEGATIVE_INFINITY);
    expect(() => studentTQuantile(2, 3)).toThrow("p within 0..1");
    expect(() => studentTQuantile(0.5, 0)).toThrow("df above 0");
  });
});

describe("wilcoxonSignedRank as scipy does it", () => {
  test("exact without zeros, normal with one", () => {
    const plain = [1.2, -0.3, 2.2, 0.9, 1.7];
    expect(wilcoxonSignedRank(plain, { method: "scipy" }).p).toBeCloseTo(
      wilcoxonSignedRank(plain).p,
      12,
    );
    // scipy 1.10.1: wilcoxon([-.1952, 0, -.0095, .1048]).pvalue
    expect(wilcoxonSignedRank([-0.1952, 0, -0.0095, 0.1048], { method: "scipy" }).p).toBeCloseTo(
      0.5929800980174267,
      12,
    );
    expect(() => wilcoxonSignedRank([1], { method: "normal" as never })).toThrow("exact or scipy");
  });
});
