import { readFileSync } from "node:fs";
import {
  type Activations,
  ArgumentError,
  activations,
  createRng,
  DataError,
  InterruptedError,
  ShapeError,
} from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { geometryScore, relativeLivingTimes } from "./geometryScore.ts";
import { witnessLoops } from "./witnessLoops.ts";

const linalg = createLinalg({ threads: 1 });
afterAll(() => linalg.dispose());

/** GUDHI; made by test/golden/make_geometry.py. */
const golden = JSON.parse(
  readFileSync(new URL("../../../../test/golden/geometry.json", import.meta.url), "utf8"),
) as {
  cases: {
    name: string;
    gamma: number;
    most: number;
    x: number[][];
    draws: number[][];
    times: number[][];
  }[];
};

describe.each(golden.cases)(
  "living times against GUDHI: $name",
  ({ x, draws, times, ...options }) => {
    test.each(draws.map((draw, k) => [k, draw, times[k]!] as const))(
      "draw %i",
      async (_, draw, expected) => {
        const found = await relativeLivingTimes(linalg, activations(x), {
          ...options,
          draws: [draw],
        });
        // Scales are as small as 1e-4 of the distances, whose digits they lose.
        found.forEach((v, i) => {
          expect(Math.abs(v - expected[i]!)).toBeLessThan(1e-9);
        });
      },
    );
  },
);

describe("witnessLoops", () => {
  const square = [0, 1, Math.SQRT2, 1].flatMap((_, i, row) =>
    row.map((_v, j) => row[(j - i + 4) % 4]!),
  );

  test("a square: its sides are witnessed at once, its diagonals by their ends", () => {
    const bars = witnessLoops(Float64Array.from(square), 4, 2);
    expect(bars).toHaveLength(1);
    expect(bars[0]!.birth).toBe(0);
    expect(bars[0]!.death).toBeCloseTo(Math.SQRT2 - 1, 14);
    expect(witnessLoops(Float64Array.from(square), 4, 0.3)).toEqual([{ birth: 0, death: 0.3 }]);
  });

  /** From the definition: what is in the complex at alpha, and its first Betti number by ranks. */
  function betti(d: Float64Array, m: number, alpha: number): number {
    const n = d.length / m;
    const isIn = (s: readonly number[]): boolean => {
      const parts = s.length > 1 ? s.map((v) => s.filter((w) => w !== v)) : [];
      if (!parts.every(isIn)) return false;
      return Array.from({ length: n }, (_, w) => d.subarray(w * m, (w + 1) * m)).some((row) => {
        const others = Array.from(row).filter((_v, v) => !s.includes(v));
        return Math.max(...s.map((v) => row[v]!)) <= Math.min(...others) + alpha;
      });
    };
    const all = Array.from({ length: m }, (_, v) => v);
    const vertices = all.filter((v) => isIn([v]));
    const edges = all.flatMap((a) => all.slice(a + 1).map((b) => [a, b] as const)).filter(isIn);
    const triangles = edges
      .flatMap(([a, b]) => all.slice(b + 1).map((c) => [a, b, c] as const))
      .filter(isIn);
    const column = (sides: readonly (readonly number[])[], of: readonly (readonly number[])[]) =>
      of.reduce((bits, one, i) => {
        return sides.some((s) => s.join() === one.join()) ? bits | (1n << BigInt(i)) : bits;
      }, 0n);
    const ends = edges.map((e) =>
      column(
        e.map((v) => [v]),
        vertices.map((v) => [v]),
      ),
    );
    const sides = triangles.map(([a, b, c]) =>
      column(
        [
          [a, b],
          [a, c],
          [b, c],
        ],
        edges,
      ),
    );
    return edges.length - rank(ends) - rank(sides);
  }

  function rank(columns: readonly bigint[]): number {
    const kept: bigint[] = [];
    for (let one of columns) {
      for (const other of kept) if ((one ^ other) < one) one ^= other;
      if (one > 0n) kept.push(one);
      kept.sort((a, b) => (a < b ? 1 : -1));
    }
    return kept.length;
  }

  test("as many loops at every scale as ranks of boundaries say, with many equal distances and with none", () => {
    const distance = fc.oneof(
      fc.integer({ min: 0, max: 4 }),
      fc.double({ min: 0, max: 4, noNaN: true }),
    );
    fc.assert(
      fc.property(
        fc.integer({ min: 4, max: 6 }),
        fc.array(distance, { minLength: 48, maxLength: 48 }),
        (m, values) => {
          const d = Float64Array.from(values.slice(0, m * 8));
          const bars = witnessLoops(d, m, 5);
          for (const alpha of [0.05, 0.51, 1.02, 2.03, 3.04]) {
            const alive = bars.filter(({ birth, death }) => birth <= alpha && alpha < death).length;
            expect(alive).toBe(betti(d, m, alpha));
          }
        },
      ),
      { numRuns: 40 },
    );
  });
});

describe("geometryScore", () => {
  const rng = createRng(3);
  const cloud = (n: number, p: number): Activations =>
    activations(Array.from({ length: n }, () => Array.from({ length: p }, () => rng.normal())));
  const ring = (n: number): Activations =>
    activations(Array.from({ length: n }, (_, i) => [Math.cos(i), Math.sin(i)]));

  test("by hand: a square has a loop for .293 of the scales, a line never", async () => {
    const square = activations([
      [0, 0],
      [0, 1],
      [1, 1],
      [1, 0],
    ]);
    const line = activations([[0], [1], [2], [3]]);
    const times = await relativeLivingTimes(linalg, square, { gamma: 1, most: 3 });
    const share = (Math.SQRT2 - 1) / Math.SQRT2;
    expect(times[0]).toBeCloseTo(1 - share, 12);
    expect(times[1]).toBeCloseTo(share, 12);
    expect([...(await relativeLivingTimes(linalg, line, { gamma: 1, most: 3 }))]).toEqual([
      1, 0, 0,
    ]);
    expect(await geometryScore(linalg, square, line, { gamma: 1 })).toBeCloseTo(2 * share ** 2, 12);
  });

  test("a ring is told from a cloud; shares of all scales; the same seed, the same score", async () => {
    const options = { landmarks: 20, gamma: 0.125, nDraws: 10 } as const;
    const [x, y] = [ring(80), cloud(80, 2)];
    const times = await relativeLivingTimes(linalg, x, options);
    expect(times.reduce((sum, v) => sum + v, 0)).toBeCloseTo(1, 12);
    expect(times[1]).toBeGreaterThan(0.5);
    const score = await geometryScore(linalg, x, y, options);
    expect(score).toBeGreaterThan(0.05);
    expect(score).toBeLessThanOrEqual(2);
    expect(await geometryScore(linalg, x, y, options)).toBe(score);
    expect(await geometryScore(linalg, y, x, options)).toBe(score);
    expect(await geometryScore(linalg, x, y, { ...options, seed: 1 })).not.toBe(score);
    expect(await geometryScore(linalg, x, x, options)).toBe(0);
  });

  test("turned, moved and scaled clouds have the loops that they had", async () => {
    const x = cloud(60, 2);
    const turned = activations(
      Array.from({ length: 60 }, (_, i) => {
        const [a, b] = [x.data[2 * i]!, x.data[2 * i + 1]!];
        return [7 + 3 * (0.6 * a - 0.8 * b), 3 * (0.8 * a + 0.6 * b) - 2];
      }),
    );
    const options = { landmarks: 20, gamma: 0.1, nDraws: 5 } as const;
    const times = await relativeLivingTimes(linalg, x, options);
    expect(times.filter((v) => v > 0).length).toBeGreaterThan(2);
    (await relativeLivingTimes(linalg, turned, options)).forEach((v, i) => {
      expect(v).toBeCloseTo(times[i]!, 10);
    });
  });

  test("all stimuli are landmarks once if there are no more", async () => {
    const x = cloud(30, 3);
    const all = await relativeLivingTimes(linalg, x, { gamma: 0.1 });
    const named = Array.from({ length: 30 }, (_, i) => i);
    expect(await relativeLivingTimes(linalg, x, { gamma: 0.1, draws: [named] })).toEqual(all);
    expect(await relativeLivingTimes(linalg, x, { gamma: 0.1, landmarks: 30, nDraws: 7 })).toEqual(
      all,
    );
  });

  test("stimuli that are all alike: NaN; what is refused; interrupted", async () => {
    const alike = activations(Array.from({ length: 8 }, () => [1, 2]));
    expect(await geometryScore(linalg, alike, cloud(8, 2))).toBeNaN();
    const x = cloud(8, 2);
    await expect(geometryScore(linalg, x, cloud(9, 2))).rejects.toThrow(ShapeError);
    await expect(relativeLivingTimes(linalg, cloud(2, 2))).rejects.toThrow(ShapeError);
    await expect(
      relativeLivingTimes(linalg, activations([[1], [2], [Number.NaN]])),
    ).rejects.toThrow(DataError);
    for (const options of [
      { landmarks: 2 },
      { gamma: 0 },
      { gamma: Number.POSITIVE_INFINITY },
      { most: 0 },
      { nDraws: 0 },
      { draws: [] },
      { draws: [[0, 1]] },
      { draws: [[0, 1, 8]] },
    ]) {
      await expect(relativeLivingTimes(linalg, x, options)).rejects.toThrow(ArgumentError);
    }
    const signal = AbortSignal.abort();
    await expect(relativeLivingTimes(linalg, x, { signal })).rejects.toThrow(InterruptedError);
  });
});
