import { createRng } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { makeRdms, type Rdms, rdmRow, rdms, takeConditions } from "./rdms.ts";
import {
  geodesicRankRdms,
  geodesicRdms,
  geotopologicalRdms,
  minmaxRdms,
  positiveRdms,
  rankRdms,
  shortestPaths,
  sqrtRdms,
  topologicalRdms,
  transformRdms,
} from "./transforms.ts";

const NaN_ = Number.NaN;
const values = (from: Rdms) => Array.from(from.data);

function random(k: number, n: number, seed: number): Rdms {
  const rng = createRng(seed);
  return makeRdms(
    Float64Array.from({ length: (k * n * (n - 1)) / 2 }, () => rng.uniform()),
    k,
  );
}

describe("transforms", () => {
  test("by hand, NaN in place", () => {
    const x = rdms([[4, NaN_, -1, 9, 0, 9]]);
    expect(values(rankRdms(x))).toEqual([3, NaN_, 1, 4.5, 2, 4.5]);
    expect(values(sqrtRdms(x))).toEqual([2, NaN_, 0, 3, 0, 3]);
    expect(values(positiveRdms(x))).toEqual([4, NaN_, 0, 9, 0, 9]);
    expect(values(minmaxRdms(x))).toEqual([0.5, NaN_, 0, 1, 0.1, 1]);
    expect(values(transformRdms(x, (d) => -d))[0]).toBe(-4);
    expect(values(x)[0]).toBe(4);
  });

  test("each RDM is transformed on its own, but for joint quantiles", () => {
    const x = rdms([
      [1, 2, 3],
      [10, 20, 30],
    ]);
    expect(values(minmaxRdms(x))).toEqual([0, 0.5, 1, 0, 0.5, 1]);
    expect(values(topologicalRdms(x)).map((v) => Math.round(v * 1e12) / 1e12)).toEqual([
      0, 0.5, 1, 0, 0.5, 1,
    ]);
    const joint = geotopologicalRdms(x, 0.2, 0.8);
    // Quantiles of 1 2 3 10 20 30: 2 and 20.
    expect(values(joint)).toEqual([0, 0, 1 / 18, 8 / 18, 1, 1]);
  });

  test("the geo-topological transform does not see scale, nor what lies beyond its thresholds", () => {
    fc.assert(
      fc.property(fc.integer(), fc.double({ min: 0.1, max: 9, noNaN: true }), (seed, scale) => {
        const x = random(1, 6, seed);
        const once = geotopologicalRdms(x, 0.2, 0.8);
        const scaled = geotopologicalRdms(
          transformRdms(x, (d) => scale * d),
          0.2,
          0.8,
        );
        once.data.forEach((v, i) => {
          expect(scaled.data[i]).toBeCloseTo(v, 10);
          expect(v >= 0 && v <= 1).toBe(true);
        });
      }),
      { numRuns: 30 },
    );
    const sigmoid = topologicalRdms(random(1, 6, 1), { kind: "sigmoid" });
    expect(sigmoid.data.every((v) => v > 0 && v < 1)).toBe(true);
  });

  test("shortest paths obey the triangle inequality and are no longer than edges", () => {
    const x = random(1, 7, 3);
    const paths = makeRdms(shortestPaths(x.data), 1);
    expect(paths.data.every((v, i) => v <= x.data[i]! + 1e-15)).toBe(true);
    const d = (i: number, j: number) => (i === j ? 0 : takeConditions(paths, [i, j]).data[0]!);
    for (let i = 0; i < 7; i++) {
      for (let j = 0; j < 7; j++) {
        for (let k = 0; k < 7; k++) expect(d(i, k)).toBeLessThanOrEqual(d(i, j) + d(j, k) + 1e-14);
      }
    }
  });

  test("geodesics do not depend on the order of conditions (those of the reference do)", () => {
    const order = [4, 2, 0, 5, 1, 3];
    const x = random(1, 6, 9);
    for (const graph of [
      { kind: "shortest", p: 0.5 },
      { kind: "nearest", k: 2 },
    ] as const) {
      const a = takeConditions(geodesicRankRdms(x, graph), order);
      expect(values(geodesicRankRdms(takeConditions(x, order), graph))).toEqual(values(a));
    }
    const nearest = { kind: "nearest", k: 2 } as const;
    const ofReference = (from: Rdms) =>
      values(geodesicRankRdms(from, nearest, { compat: "reference" }))
        .sort()
        .join();
    const differ = [1, 2, 3, 4, 5].filter((seed) => {
      const one = random(1, 6, seed);
      return ofReference(one) !== ofReference(takeConditions(one, order));
    });
    expect(differ.length).toBeGreaterThan(0);
  });

  test("geodesics of conditions that nothing joins are infinite, or tied for last", () => {
    // Two groups of two, far from each other.
    const x = rdms([[1, 9, 9, 9, 9, 2]]);
    expect(values(geodesicRdms(x))).toEqual([0, Infinity, Infinity, Infinity, Infinity, 0.125]);
    expect(values(geodesicRankRdms(x, { kind: "shortest", p: 0.2 }))).toEqual([
      1, 4.5, 4.5, 4.5, 4.5, 2,
    ]);
  });

  test("flags constant RDMs and refuses gaps", () => {
    const flat = rdms([[2, 2, 2]]);
    expect(values(minmaxRdms(flat)).every(Number.isNaN)).toBe(true);
    expect(values(geodesicRdms(flat)).every(Number.isNaN)).toBe(true);
    expect(values(geodesicRankRdms(flat, { kind: "nearest", k: 1 })).every(Number.isNaN)).toBe(
      true,
    );
    expect(values(topologicalRdms(flat)).every(Number.isNaN)).toBe(true);
    expect(() => geotopologicalRdms(flat, 0.2, 0.8)).toThrow("got 2 at both");
    expect(() => geotopologicalRdms(flat, 0.8, 0.2)).toThrow("0 <= low < high <= 1");
    const gap = rdms([[1, NaN_, 3]]);
    expect(() => geodesicRdms(gap)).toThrow("without NaN, got one in RDM 0");
    expect(() => geodesicRankRdms(gap, { kind: "nearest", k: 1 })).toThrow("without NaN");
    expect(() => geodesicRankRdms(flat, { kind: "nearest", k: 3 })).toThrow("k within 1..2, got 3");
    expect(() => geodesicRankRdms(flat, { kind: "shortest", p: 2 })).toThrow(
      "p within 0..1, got 2",
    );
    expect(rdmRow(gap, 0)[0]).toBe(1);
  });
});
