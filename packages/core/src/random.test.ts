import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ArgumentError } from "./errors.ts";
import { numpyRandom } from "./numpyRandom.ts";
import { createRng, permutation, rngFromUint32, sampleWithoutReplacement } from "./random.ts";

/** The next 32-bit word of a generator, read off `below(2^32)`. */
const word = (rng: { below(bound: number): number }): string =>
  rng
    .below(2 ** 32)
    .toString(16)
    .padStart(8, "0");

describe("createRng", () => {
  test("is the reference pcg32 with seed 42, stream 54", () => {
    const rng = createRng(42, 54);
    expect(Array.from({ length: 6 }, () => word(rng))).toEqual([
      "a15c02b7",
      "7b47f409",
      "ba1d3330",
      "83d2f293",
      "bfa4784b",
      "cbed606e",
    ]);
  });

  test("equal seeds give equal streams, other seeds and other streams others", () => {
    const words = (seed: number, stream?: number) => {
      const rng = createRng(seed, stream);
      return Array.from({ length: 4 }, () => word(rng)).join(" ");
    };
    expect(words(7)).toBe(words(7));
    expect(new Set([words(7), words(8), words(-7), words(7, 1), words(7, 2)]).size).toBe(5);
  });

  test("uniform and normal have the moments they should", () => {
    const rng = createRng(1);
    const n = 20_000;
    const uniform = Array.from({ length: n }, () => rng.uniform());
    const normal = Array.from({ length: n }, () => rng.normal());
    const moment = (x: number[], k: number) => x.reduce((s, v) => s + v ** k, 0) / n;
    expect(Math.min(...uniform)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...uniform)).toBeLessThan(1);
    // Four standard errors of each.
    expect(Math.abs(moment(uniform, 1) - 0.5)).toBeLessThan(4 * Math.sqrt(1 / 12 / n));
    expect(Math.abs(moment(normal, 1))).toBeLessThan(4 / Math.sqrt(n));
    expect(Math.abs(moment(normal, 2) - 1)).toBeLessThan(4 * Math.sqrt(2 / n));
    expect(Math.abs(moment(normal, 4) - 3)).toBeLessThan(4 * Math.sqrt(96 / n));
  });

  test("below is uniform, also where 2^32 is no multiple of the bound", () => {
    const rng = createRng(2);
    const counts = new Int32Array(6);
    for (let i = 0; i < 12_000; i++) counts[rng.below(6)]!++;
    for (const count of counts)
      expect(Math.abs(count - 2000)).toBeLessThan(4 * Math.sqrt(12_000 * (5 / 36)));
    // A word in the uneven rest is thrown away: 2^32 - 1 for a bound of 3 is the last such word.
    const words = [0xffffffff, 5];
    expect(rngFromUint32(() => words.shift()!).below(3)).toBe(2);
    expect(createRng(1).below(1)).toBe(0);
  });

  test.each([0, -1, 1.5, 2 ** 32 + 1, Number.NaN])("below refuses the bound %d", (bound) => {
    expect(() => createRng(1).below(bound)).toThrow(ArgumentError);
    expect(() => createRng(1).below(bound)).toThrow(
      `below: expected a whole number in 1..2^32, got ${bound}`,
    );
  });

  test.each([0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 60])("refuses the seed %d", (seed) => {
    expect(() => createRng(seed)).toThrow(ArgumentError);
    expect(() => createRng(1, seed)).toThrow(
      "createRng: expected whole numbers for seed and stream",
    );
  });
});

describe("permutation and sampleWithoutReplacement", () => {
  test("hold each number once", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 50 }), fc.integer(), (n, seed) => {
        expect(Array.from(permutation(n, createRng(seed))).sort((a, b) => a - b)).toEqual(
          Array.from({ length: n }, (_, i) => i),
        );
        const k = Math.floor(n / 2);
        const sample = Array.from(sampleWithoutReplacement(n, k, createRng(seed)));
        expect(new Set(sample).size).toBe(k);
        expect(sample).toEqual([...sample].sort((a, b) => a - b));
      }),
    );
  });

  test("every order of three is about equally likely", () => {
    const rng = createRng(3);
    const counts = new Map<string, number>();
    for (let i = 0; i < 6000; i++) {
      const order = permutation(3, rng).join("");
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(6);
    for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(4 * 28.9);
  });

  test.each([5, -1, Number.NaN, 1.5])("cannot draw %d of 4", (k) => {
    expect(() => sampleWithoutReplacement(4, k, createRng(1))).toThrow(ArgumentError);
    expect(() => sampleWithoutReplacement(4, k, createRng(1))).toThrow(
      `sampleWithoutReplacement: expected k within 0..4, got ${k}`,
    );
  });
});

const golden = JSON.parse(
  readFileSync(new URL("../../../test/golden/numpyRandom.json", import.meta.url), "utf8"),
).core as {
  seed: number;
  permutation: number[];
  choice: number[];
  randint: number[];
  randintWide: number[];
  random: number[];
  mixed: [number, number, number[], number, number[], number];
}[];

describe.each(golden)("numpyRandom($seed) draws what numpy.random draws", (expected) => {
  const fresh = () => numpyRandom(expected.seed);
  const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

  test("permutation", () => {
    expect(Array.from(fresh().permutation(700))).toEqual(expected.permutation);
  });
  test("choice without replacement", () => {
    expect(fresh().choice(range(1000, 1300), 40)).toEqual(expected.choice);
  });
  test("randint", () => {
    const random = fresh();
    expect(expected.randint.map(() => random.randint(-5, 95))).toEqual(expected.randint);
    const wide = fresh();
    expect(expected.randintWide.map(() => wide.randint(0, 2 ** 32))).toEqual(expected.randintWide);
  });
  test("random_sample", () => {
    const random = fresh();
    expect(expected.random.map(() => random.random())).toEqual(expected.random);
  });
  test("all of them from one stream", () => {
    const random = fresh();
    expect([
      random.randint(100, 200),
      random.random(),
      Array.from(random.permutation(6)),
      random.randint(0, 2),
      random.choice(range(50, 60), 4),
      random.random(),
    ]).toEqual(expected.mixed);
  });
});

describe("numpyRandom refuses", () => {
  test.each([-1, 2 ** 32, 0.5, Number.NaN])("the seed %d", (seed) => {
    expect(() => numpyRandom(seed)).toThrow(ArgumentError);
    expect(() => numpyRandom(seed)).toThrow(
      `numpyRandom: expected a whole number in 0..2^32-1, got ${seed}`,
    );
  });
  test.each([
    [5, 5],
    [0, 2 ** 32 + 1],
    [0, Number.NaN],
    [0.5, 3],
  ])("randint(%d, %d)", (low, high) => {
    expect(() => numpyRandom(1).randint(low, high)).toThrow(ArgumentError);
    expect(() => numpyRandom(1).randint(low, high)).toThrow(/randint: expected whole numbers/);
  });
  test.each([4, -1, 1.5])("choice of %d out of 3", (k) => {
    expect(() => numpyRandom(1).choice([1, 2, 3], k)).toThrow(
      `choice: expected k within 0..3, got ${k}`,
    );
  });
});
