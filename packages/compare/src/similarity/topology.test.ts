import { readFileSync } from "node:fs";
import { ArgumentError, activations, createRng, ShapeError } from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { imd } from "./imd.ts";
import { type Bar, cycleBars } from "./persistence.ts";
import { rtd } from "./rtd.ts";

const linalg = createLinalg({ threads: 1 });
afterAll(() => linalg.dispose());

/** GUDHI and numpy; made by test/golden/make_topology.py. */
const golden = JSON.parse(
  readFileSync(new URL("../../../../test/golden/topology.json", import.meta.url), "utf8"),
) as { cases: { name: string; x: number[][]; y: number[][]; rtd: number; imd: number }[] };

describe.each(golden.cases)("against GUDHI and numpy: $name", ({ x, y, rtd: loops, imd: heat }) => {
  const [a, b] = [activations(x), activations(y)];

  test("RTD", async () => {
    expect(Math.abs((await rtd(linalg, a, b)) - loops)).toBeLessThan(1e-10 * loops);
  });

  test("IMD", async () => {
    expect(Math.abs((await imd(linalg, a, b)) - heat)).toBeLessThan(1e-8 * heat);
  });
});

/** The same by columns of the boundary matrix, from the textbook. */
function naiveBars(d: Float64Array, n: number): Bar[] {
  type Simplex = { readonly vertices: readonly number[]; readonly size: number };
  const length = (i: number, j: number) => d[i * n + j]!;
  const edges: Simplex[] = [];
  const triangles: Simplex[] = [];
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) {
      edges.push({ vertices: [i, j], size: length(i, j) });
      for (let k = 0; k < j; k++) {
        const size = Math.max(length(i, j), length(i, k), length(j, k));
        triangles.push({ vertices: [i, j, k], size });
      }
    }
  }
  edges.sort((p, q) => p.size - q.size);
  triangles.sort((p, q) => p.size - q.size);
  const placeOf = new Map(edges.map(({ vertices: [i, j] }, at) => [`${i} ${j}`, at]));
  const byLast = new Map<number, Set<number>>();
  const bars: Bar[] = [];
  for (const { vertices, size } of triangles) {
    const [i, j, k] = vertices as [number, number, number];
    const column = new Set([`${i} ${j}`, `${i} ${k}`, `${j} ${k}`].map((e) => placeOf.get(e)!));
    while (column.size > 0) {
      const last = Math.max(...column);
      const other = byLast.get(last);
      if (!other) {
        byLast.set(last, column);
        if (size > edges[last]!.size) bars.push({ birth: edges[last]!.size, death: size });
        break;
      }
      for (const e of other) if (!column.delete(e)) column.add(e);
    }
  }
  return bars;
}

const inOrder = (bars: readonly Bar[]) =>
  bars.map(({ birth, death }) => [birth, death]).sort((p, q) => p[0]! - q[0]! || p[1]! - q[1]!);

describe("cycleBars", () => {
  test("a square: one loop, from its sides to its diagonals", () => {
    const [s, l] = [1, Math.SQRT2];
    const d = Float64Array.of(0, s, l, s, s, 0, s, l, l, s, 0, s, s, l, s, 0);
    expect(cycleBars(d, 4)).toEqual([{ birth: 1, death: Math.SQRT2 }]);
  });

  test("a triangle, a pair, a point and nothing have none", () => {
    expect(cycleBars(Float64Array.of(0, 1, 1, 1, 0, 1, 1, 1, 0), 3)).toEqual([]);
    expect(cycleBars(Float64Array.of(0, 1, 1, 0), 2)).toEqual([]);
    expect(cycleBars(Float64Array.of(0), 1)).toEqual([]);
    expect(cycleBars(new Float64Array(0), 0)).toEqual([]);
  });

  test("are those of the boundary matrix, with many equal lengths and with none", () => {
    const length = fc.oneof(
      fc.integer({ min: 0, max: 4 }),
      fc.double({ min: 0, max: 4, noNaN: true }),
    );
    fc.assert(
      fc.property(
        fc.integer({ min: 3, max: 11 }),
        fc.array(length, { minLength: 55, maxLength: 55 }),
        (n, lengths) => {
          const d = new Float64Array(n * n);
          let at = 0;
          for (let i = 0; i < n; i++) {
            for (let j = 0; j < i; j++) d[i * n + j] = d[j * n + i] = lengths[at++]!;
          }
          expect(inOrder(cycleBars(d, n))).toEqual(inOrder(naiveBars(d, n)));
        },
      ),
    );
  });
});

describe("rtd and imd", () => {
  const rng = createRng(4);
  const random = (n: number, p: number) =>
    activations(Array.from({ length: n }, () => Array.from({ length: p }, () => rng.normal())));

  test("a loop that only one has: a square beside a line, by hand", async () => {
    // Distances of the square 1 and sqrt(2), of the line 1, 2 and 3; quantiles sqrt(2) and 2.5.
    const square = activations([
      [0, 0],
      [0, 1],
      [1, 1],
      [1, 0],
    ]);
    const line = activations([[0], [1], [2], [3]]);
    const value = await rtd(linalg, square, line);
    const [x, y] = [square, line].map(({ data, shape: [n, p] }) => {
      const d = Float64Array.from({ length: n * n }, (_, at) => {
        const [i, j] = [Math.floor(at / n), at % n];
        let sum = 0;
        for (let k = 0; k < p; k++) sum += (data[i * p + k]! - data[j * p + k]!) ** 2;
        return Math.sqrt(sum);
      });
      const sorted = d.toSorted();
      return d.map((v) => v / (sorted[13]! + (sorted[14]! - sorted[13]!) / 2));
    }) as [Float64Array, Float64Array];
    const one = (d: Float64Array, e: Float64Array) => {
      const both = new Float64Array(64);
      for (let i = 0; i < 4; i++) {
        for (let j = 0; j < 4; j++) {
          both[i * 8 + 4 + j] = both[(4 + i) * 8 + j] = d[i * 4 + j]!;
          both[(4 + i) * 8 + 4 + j] = Math.min(d[i * 4 + j]!, e[i * 4 + j]!);
        }
      }
      return naiveBars(both, 8).reduce((sum, { birth, death }) => sum + death - birth, 0);
    };
    expect(value).toBeCloseTo((one(x, y) + one(y, x)) / 2, 12);
    expect(value).toBeGreaterThan(0);
  });

  test("subsets: the same for the same seed; of all stimuli once if there are no more", async () => {
    const [x, y] = [random(30, 4), random(30, 4)];
    const some = { batch: 12, trials: 3 };
    expect(await rtd(linalg, x, y, some)).toBe(await rtd(linalg, x, y, some));
    expect(await rtd(linalg, x, y, some)).not.toBe(await rtd(linalg, x, y, { ...some, seed: 1 }));
    expect(await rtd(linalg, x, y, { batch: 30 })).toBe(await rtd(linalg, x, y));
  });

  test("stimuli that coincide are NaN, and what is refused", async () => {
    const same = activations(Array.from({ length: 8 }, () => [1, 2]));
    expect(await rtd(linalg, same, random(8, 2))).toBeNaN();
    const three = random(3, 2);
    expect(await rtd(linalg, three, three)).toBe(0);
    await expect(rtd(linalg, random(2, 2), random(2, 2))).rejects.toThrow(ShapeError);
    await expect(rtd(linalg, three, three, { batch: 2 })).rejects.toThrow(ArgumentError);
    await expect(imd(linalg, three, three, { k: 3 })).rejects.toThrow(ArgumentError);
    await expect(imd(linalg, three, random(4, 2))).rejects.toThrow(ShapeError);
  });
});
