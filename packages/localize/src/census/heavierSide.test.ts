import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ArgumentError, createRng, DataError, InterruptedError } from "@penfield/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import { heavierSide } from "./heavierSide.ts";
import { plantedSource } from "./planted.ts";
import type { UnitSource } from "./source.ts";
import { takeCensus } from "./takeCensus.ts";

/** Units whose values are those of a table by token. */
const tableSource = (table: readonly (readonly number[])[], bosId?: number): UnitSource => ({
  name: "table",
  sha256: "0",
  hooks: [
    { name: "one", layer: 3, nUnits: table[0]!.length },
    { name: "other", layer: 4, nUnits: 1 },
  ],
  vocabularySize: table.length,
  bosId,
  read: (rows) => {
    const tokens = rows.flat();
    return Promise.resolve([
      Float32Array.from(tokens.flatMap((token) => table[token]!)),
      Float32Array.from(tokens),
    ]);
  },
});

test("by hand: values 0, 0, 0, -4 have mean -1, deviation sqrt(3), and their heavier side below", async () => {
  const source = tableSource([
    [0, 7, 2],
    [-4, 7, 2],
  ]);
  const turned = await heavierSide(
    source,
    [
      [0, 0],
      [0, 1],
    ],
    { hooks: ["one"] },
  );
  expect(turned.hooks.map(({ name, layer }) => [name, layer])).toEqual([
    ["one", 3],
    ["other", 4],
    ["one:heavier-side", 3],
  ]);
  const [{ signs, means, deviations, of }] = turned.turned as [(typeof turned.turned)[0]];
  expect(of).toBe("one");
  expect(signs[0]).toBe(-1);
  expect([means[0], means[1]]).toEqual([-1, 7]);
  expect(deviations[0]).toBeCloseTo(Math.sqrt(3), 12);
  const [plain, other, sides] = await turned.read([[1, 0]]);
  expect([...plain!]).toEqual([-4, 7, 2, 0, 7, 2]);
  expect([...other!]).toEqual([1, 0]);
  // A unit that does not vary is 0.
  expect([...sides!].map((v) => v.toFixed(6))).toEqual(
    [3 / Math.sqrt(3), 0, 0, -1 / Math.sqrt(3), 0, 0].map((v) => v.toFixed(6)),
  );
});

test("turned values have mean 0, deviation 1 and no negative skewness, however many documents are read at once", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 1e6 }), async (seed) => {
      const rng = createRng(seed);
      const table = Array.from({ length: 20 }, () => [
        50 + rng.normal() ** 3,
        -Math.abs(rng.normal()),
      ]);
      const source = tableSource(table);
      const documents = Array.from({ length: 9 }, () =>
        Array.from({ length: 1 + rng.below(9) }, () => rng.below(20)),
      );
      const one = await heavierSide(source, documents, { hooks: ["one"], documentsPerRead: 1 });
      const all = await heavierSide(source, documents, { hooks: ["one"] });
      for (const key of ["means", "deviations"] as const) {
        all.turned[0]![key].forEach((value, u) => {
          expect(one.turned[0]![key][u]).toBeCloseTo(value, 9);
        });
      }
      const values = (await all.read(documents))[2]!;
      for (const u of [0, 1]) {
        const own = Array.from(values).filter((_, i) => i % 2 === u);
        const moment = (power: number) => own.reduce((sum, v) => sum + v ** power, 0) / own.length;
        if (all.turned[0]!.deviations[u] === 0) continue;
        expect(moment(1)).toBeCloseTo(0, 4);
        expect(moment(2)).toBeCloseTo(1, 4);
        expect(moment(3)).toBeGreaterThan(-1e-4);
      }
    }),
    { numRuns: 30 },
  );
});

test("a beginning-of-text token is left out, elsewhere it counts", async () => {
  const table = [[1000], [0], [2]];
  const without = await heavierSide(tableSource(table, 0), [[0, 1, 2]], { hooks: ["one"] });
  expect(without.turned[0]!.means[0]).toBe(1);
  const inside = await heavierSide(tableSource(table, 0), [[1, 0, 2]], { hooks: ["one"] });
  expect(inside.turned[0]!.means[0]).toBeCloseTo(334, 9);
});

test("a census finds on the heavier side what was planted below 0", async () => {
  const root = await mkdtemp(join(tmpdir(), "penfield-side-"));
  const units = [{ name: "b", active: (w: readonly string[], i: number) => w[i] === "b" }];
  const source = plantedSource({ words: ["a", "b"], units, misses: 0, falseAnswers: 0 });
  const negated = {
    ...source,
    read: async (rows: readonly (readonly number[])[]) =>
      (await source.read(rows)).map((values) => values.map((value) => -value)),
  };
  const rng = createRng(4);
  const rows = Array.from({ length: 60 }, () =>
    Array.from({ length: 20 }, () => Number(rng.uniform() < 0.05)),
  );
  const turned = await heavierSide(negated, rows.slice(0, 20));
  const documents = rows.map((tokens) => ({ tokens }));
  const census = await takeCensus(turned, documents, join(root, "census"), {
    threshold: { "planted:heavier-side": 2 },
  });
  const nB = rows.flat().filter((token) => token === 1).length;
  expect([...(await census.activeCounts())]).toEqual([0, nB]);
  expect((await census.ngrams(1, "token")).ngrams).toEqual([{ tokens: [1], count: nB }]);
  await census.close();
  await rm(root, { recursive: true });
});

test("errors, and another turning is another source", async () => {
  const source = tableSource([[0], [1], [5]]);
  await expect(heavierSide(source, [[0]], { hooks: ["none"] })).rejects.toThrow(
    new ArgumentError("heavierSide: expected one of one, other, got none"),
  );
  await expect(heavierSide(source, [])).rejects.toThrow(DataError);
  // It would never come to an end.
  await expect(heavierSide(source, [[0]], { documentsPerRead: 0 })).rejects.toThrow(ArgumentError);
  const stop = AbortSignal.abort();
  await expect(heavierSide(source, [[0]], { signal: stop })).rejects.toThrow(InterruptedError);
  const [a, b, c] = await Promise.all([
    heavierSide(source, [[0, 1]]),
    heavierSide(source, [[0, 1]]),
    heavierSide(source, [[0, 2]]),
  ]);
  expect(a.sha256).toBe(b.sha256);
  expect(a.sha256).not.toBe(c.sha256);
});
