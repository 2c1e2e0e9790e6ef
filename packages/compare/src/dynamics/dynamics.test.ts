import { ArgumentError, createRng, DataError, ShapeError } from "@penfield/core";
import { createLinalg, eigenvalues, qr } from "@penfield/linalg";
import { afterAll, describe, expect, test } from "vitest";
import { delayDmd } from "./dmd.ts";
import { dsa, eigenvalueDistance, operatorDistance } from "./dsa.ts";

const linalg = createLinalg({ threads: 1 });
afterAll(() => linalg.dispose());

const matrix = (n: number, ...values: number[]) => ({
  data: Float64Array.from(values),
  nRows: n,
  nColumns: n,
});

/** States of a linear system without noise, from `nTrials` starts. */
function run(a: readonly number[], nTrials: number, nTimes: number, seed: number) {
  const n = Math.sqrt(a.length);
  const rng = createRng(seed);
  const data = new Float64Array(nTrials * nTimes * n);
  for (let trial = 0; trial < nTrials; trial++) {
    for (let i = 0; i < n; i++) data[trial * nTimes * n + i] = rng.normal();
    for (let t = 1; t < nTimes; t++) {
      const at = (trial * nTimes + t) * n;
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < n; j++) data[at + i]! += a[i * n + j]! * data[at - n + j]!;
      }
    }
  }
  return { data, nTrials, nTimes, nUnits: n };
}

const spiral = [
  0.9 * Math.cos(0.4),
  -0.9 * Math.sin(0.4),
  0.9 * Math.sin(0.4),
  0.9 * Math.cos(0.4),
];

describe("delayDmd", () => {
  test("finds the eigenvalues of a linear system, from one trial or several, with delays", async () => {
    for (const [nTrials, delays] of [
      [1, 1],
      [3, 1],
      [2, 3],
    ] as const) {
      const { operator, explained, rank } = await delayDmd(linalg, run(spiral, nTrials, 20, 1), {
        delays,
        lambda: 0,
      });
      expect(rank).toBe(2);
      expect(explained).toBeCloseTo(1, 12);
      const { real, imaginary } = eigenvalues(operator);
      expect(real[0]).toBeCloseTo(0.9 * Math.cos(0.4), 9);
      expect(imaginary[0]).toBeCloseTo(0.9 * Math.sin(0.4), 9);
    }
  });

  test("several steps ahead, and a rank chosen by variance", async () => {
    const trajectories = run([0.5, 0, 0, 0.25], 4, 12, 2);
    const { operator } = await delayDmd(linalg, trajectories, { stepsAhead: 2, lambda: 0 });
    const { real } = eigenvalues(operator);
    expect(real[0]).toBeCloseTo(0.25, 9);
    expect(real[1]).toBeCloseTo(0.0625, 9);
    expect((await delayDmd(linalg, trajectories, { variance: 0.5 })).rank).toBe(1);
  });

  test("what is refused", async () => {
    const short = run(spiral, 1, 3, 1);
    await expect(delayDmd(linalg, short, { delays: 4 })).rejects.toThrow(ShapeError);
    await expect(delayDmd(linalg, short, { delays: 3 })).rejects.toThrow(ShapeError);
    await expect(delayDmd(linalg, short, { rank: 0 })).rejects.toThrow(ArgumentError);
    await expect(delayDmd(linalg, { ...short, data: new Float64Array(6) })).rejects.toThrow(
      "delayDmd: expected trajectories, got zeros",
    );
    await expect(
      delayDmd(linalg, { ...short, data: new Float64Array(6).fill(Number.NaN) }),
    ).rejects.toThrow(DataError);
    await expect(delayDmd(linalg, { ...short, nTimes: 4 })).rejects.toThrow(ShapeError);
  });
});

describe("operatorDistance", () => {
  test("an operator in a turned or mirrored basis is no distance", async () => {
    const rng = createRng(3);
    const normals = () => Float64Array.from({ length: 16 }, () => rng.normal());
    const a = { data: normals(), nRows: 4, nColumns: 4 };
    const c = qr({ data: normals(), nRows: 4, nColumns: 4 }).q;
    const b = await linalg.matmul(await linalg.matmul(c, a), c, { transposeB: true });
    const { distance, transform } = await operatorDistance(linalg, a, b, { score: "euclidean" });
    expect(distance).toBeLessThan(1e-4);
    const identity = await linalg.matmul(transform, transform, { transposeB: true });
    expect(identity.data[0]).toBeCloseTo(1, 12);
    const again = await operatorDistance(linalg, a, b, { score: "euclidean" });
    expect(again.distance).toBe(distance);
  });

  test("of one number each, by hand", async () => {
    expect((await operatorDistance(linalg, matrix(1, 2), matrix(1, 5))).distance).toBe(0);
    const apart = await operatorDistance(linalg, matrix(1, 2), matrix(1, 5), {
      score: "euclidean",
    });
    expect(apart.distance).toBe(3);
    await expect(operatorDistance(linalg, matrix(1, 2), matrix(2, 1, 0, 0, 1))).rejects.toThrow(
      ArgumentError,
    );
  });
});

describe("eigenvalueDistance and dsa", () => {
  test("by hand, with sets of different size", () => {
    expect(eigenvalueDistance(matrix(1, 2), matrix(2, 2, 0, 0, 1))).toBeCloseTo(0.5, 12);
    const quarter = matrix(2, 0, -1, 1, 0);
    expect(eigenvalueDistance(quarter, matrix(2, 0, -2, 2, 0))).toBeCloseTo(1, 12);
  });

  test("tells systems apart, not the coordinates they are seen in", async () => {
    const x = run(spiral, 2, 25, 1);
    const mirrored = { ...x, data: x.data.map((v, i) => (i % 2 === 0 ? -v : v)) };
    expect(await dsa(linalg, x, mirrored)).toBeLessThan(1e-5);
    const other = run([0.9, 0, 0, 0.4], 2, 25, 1);
    expect(await dsa(linalg, x, other)).toBeGreaterThan(0.2);
    expect(await dsa(linalg, x, other, { score: "wasserstein" })).toBeGreaterThan(0.05);
    await expect(dsa(linalg, x, other, { score: "x" as never })).rejects.toThrow(ArgumentError);
  });
});
