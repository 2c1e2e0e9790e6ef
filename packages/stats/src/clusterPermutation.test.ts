import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ArgumentError, createRng, readNpy, ShapeError, tensor } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  clusterTest,
  clusterTestTwoSamples,
  gridNeighbours,
  lineNeighbours,
} from "./clusterPermutation.ts";
import { mean, standardDeviation } from "./descriptive.ts";
import { signFlipTest } from "./permutation.ts";

const golden = fileURLToPath(new URL("../../../../shared/golden/encoding/stats/", import.meta.url));
const points = (values: readonly number[][]) =>
  tensor(
    Float64Array.from(values.flat()),
    ["subject", "point"],
    [values.length, values[0]!.length],
  );
const noise = (n: number, m: number, seed: number, effect = (_: number) => 0) => {
  const rng = createRng(seed);
  return points(
    Array.from({ length: n }, () => Array.from({ length: m }, (_, j) => rng.normal() + effect(j))),
  );
};

describe("clusterTest", () => {
  test.skipIf(!existsSync(golden))("against MNE, ../shared/golden (skipped when absent)", () => {
    const read = (name: string) => {
      const { data, shape } = readNpy(readFileSync(`${golden}${name}.npy`));
      return { data: Float64Array.from(data as ArrayLike<number | bigint>, Number), shape };
    };
    const { data, shape } = read("data");
    const result = clusterTest(tensor(data, ["subject", "point"], [shape[0]!, shape[1]!]), {
      threshold: 2.365,
    });
    read("t_obs").data.forEach((t, j) => {
      expect(result.t[j]).toBeCloseTo(t, 10);
    });
    expect([...result.labels]).toEqual([...read("cluster_label").data]);
    expect(result.exact).toBe(true);
    expect(result.nulls.length).toBe(128);
    // MNE leaves one of the 128 flips out at random; all that it has are among ours.
    const theirs = [...read("H0").data].map(Math.abs).sort((a, b) => a - b);
    const ours = [...result.nulls].sort((a, b) => a - b);
    const missing: number[] = [];
    let at = 0;
    for (const value of ours) {
      if (Math.abs((theirs[at] ?? Number.NaN) - value) < 1e-9) at++;
      else missing.push(value);
    }
    expect(at).toBe(127);
    expect(missing.length).toBe(1);
  });

  test("one point is the exact sign-flip test of t", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: -50, max: 50 }), { minLength: 3, maxLength: 7 }),
        (values) => {
          fc.pre(standardDeviation(values) > 0 && Math.abs(mean(values)) > 0.5);
          const { clusters } = clusterTest(points(values.map((v) => [v])), { threshold: 1e-9 });
          expect(clusters[0]!.p).toBeCloseTo(signFlipTest(values).p, 12);
        },
      ),
    );
  });

  test("finds a planted effect and where it is; noise gives few", () => {
    const { clusters } = clusterTest(noise(12, 40, 1, (j) => (j >= 10 && j < 20 ? 2 : 0)));
    const best = clusters.reduce((a, b) => (b.p < a.p ? b : a));
    expect(best.p).toBeLessThan(0.01);
    expect(best.points[0]).toBeGreaterThanOrEqual(9);
    let falseAlarms = 0;
    for (let seed = 0; seed < 60; seed++) {
      const found = clusterTest(noise(8, 20, 100 + seed)).clusters;
      if (found.some(({ p }) => p <= 0.05)) falseAlarms++;
    }
    // 60 chances of 5 %: 3 expected, more than 9 in one of 2000 such tests.
    expect(falseAlarms).toBeLessThanOrEqual(9);
  });

  test("on a grid, diagonal points are not neighbours", () => {
    const data = noise(9, 4, 3, (j) => (j === 0 || j === 3 ? 5 : 0));
    const grid = clusterTest(data, { neighbours: gridNeighbours(2, 2) });
    expect(grid.clusters.map((c) => [...c.points])).toEqual([[0], [3]]);
    const full = clusterTest(data, { neighbours: [[3], [], [], [0]] });
    expect(full.clusters.map((c) => [...c.points])).toEqual([[0, 3]]);
    expect(lineNeighbours(1).map((n) => n.length)).toEqual([0]);
  });

  test("one-sided tests look one way; drawn flips are never 0", () => {
    const data = noise(8, 10, 5, (j) => (j < 3 ? -3 : 0));
    expect(clusterTest(data, { tail: "greater" }).clusters.every((c) => c.statistic > 0)).toBe(
      true,
    );
    const { clusters, exact } = clusterTest(data, { tail: "less", exactUpTo: 0, nDraws: 49 });
    expect(exact).toBe(false);
    // One flip in 256 is the observed one, so a draw or two of 49 may be.
    expect(clusters[0]!.p).toBeGreaterThanOrEqual(0.02);
    expect(clusters[0]!.p).toBeLessThan(0.1);
  });

  test("a point where nobody differs has t = NaN and no cluster", () => {
    const { t, clusters } = clusterTest(
      points([
        [0, 1],
        [0, 1],
        [0, 1],
      ]),
    );
    expect([...t]).toEqual([Number.NaN, Number.NaN]);
    expect(clusters).toEqual([]);
  });

  test("refuses what does not fit", () => {
    const data = noise(5, 3, 1);
    expect(() => clusterTest(noise(1, 3, 1))).toThrow(ShapeError);
    expect(() => clusterTest(data, { neighbours: [[1]] })).toThrow(ShapeError);
    expect(() => clusterTest(data, { neighbours: [[9], [], []] })).toThrow(
      "expected neighbours within 0..2, got 9 for point 0",
    );
    expect(() => clusterTest(data, { threshold: 0 })).toThrow(ArgumentError);
    expect(() => clusterTest(data, { tail: "up" as never })).toThrow(ArgumentError);
    expect(() =>
      clusterTest(
        points([
          [1, Number.NaN],
          [1, 1],
        ]),
      ),
    ).toThrow(ArgumentError);
  });
});

describe("clusterTestTwoSamples", () => {
  test("t is that of two samples, and a difference is found", () => {
    const a = noise(9, 30, 7, (j) => (j < 6 ? 2.5 : 0));
    const b = noise(11, 30, 8);
    const { t, clusters } = clusterTestTwoSamples(a, b, { nDraws: 199 });
    const column = (x: typeof a, j: number) =>
      Array.from({ length: x.shape[0] }, (_, i) => x.data[i * 30 + j]!);
    const [x, y] = [column(a, 4), column(b, 4)];
    const pooled = (8 * standardDeviation(x) ** 2 + 10 * standardDeviation(y) ** 2) / 18;
    expect(t[4]).toBeCloseTo((mean(x) - mean(y)) / Math.sqrt(pooled * (1 / 9 + 1 / 11)), 10);
    expect(Math.min(...clusters.map(({ p }) => p))).toBe(0.005);
    expect(() => clusterTestTwoSamples(a, noise(4, 3, 1))).toThrow(ShapeError);
  });
});
