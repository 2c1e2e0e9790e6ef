import { createRng } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type DissociationCell,
  doubleDissociation,
  lesionEffect,
  meanWithInterval,
} from "./index.ts";

const signs = { taskA: -1, taskB: -1 } as const;

describe("meanWithInterval", () => {
  test("by hand, and without an interval for one item or none", () => {
    expect(meanWithInterval([3])).toEqual({ value: 3, interval: null });
    expect(meanWithInterval([])).toEqual({ value: Number.NaN, interval: null });
    const { value, interval } = meanWithInterval([0, 1, 2, 3]);
    expect(value).toBe(1.5);
    expect(interval![0]).toBeLessThan(1.5);
    expect(interval![1]).toBeGreaterThan(1.5);
  });

  test("the interval holds the mean, lies within the values, and depends on the seed alone", () => {
    const values = fc.array(fc.integer({ min: -50, max: 50 }), { minLength: 2, maxLength: 30 });
    fc.assert(
      fc.property(values, fc.nat(1000), (list, seed) => {
        const { value, interval } = meanWithInterval(list, seed);
        const [low, high] = interval!;
        expect(low).toBeGreaterThanOrEqual(Math.min(...list) - 1e-12);
        expect(high).toBeLessThanOrEqual(Math.max(...list) + 1e-12);
        expect(low).toBeLessThanOrEqual(high);
        expect(value).toBeCloseTo(list.reduce((a, b) => a + b, 0) / list.length, 12);
        expect(meanWithInterval(list, seed)).toEqual({ value, interval });
      }),
      { numRuns: 30 },
    );
  });
});

describe("lesionEffect", () => {
  test("by hand", () => {
    const baseline = [1, 1, 1, 0];
    const random = [
      [1, 1, 0, 0],
      [1, 1, 1, 0],
      [0, 0, 1, 0],
      [1, 1, 1, 1],
    ];
    const found = lesionEffect(baseline, [0, 0, 1, 0], random, true);
    expect(found.effect.value).toBe(-0.5);
    // Random effects: -0.25, 0, -0.5, 0.25; one of four is as harmful.
    expect(found.randomMean).toBe(-0.125);
    expect(found.randomSd).toBeCloseTo(Math.sqrt((0.125 ** 2 * 2 + 0.375 ** 2 * 2) / 3), 12);
    expect(found.z).toBeCloseTo((-0.5 + 0.125) / found.randomSd, 12);
    expect(found.p).toBe(2 / 5);
    expect(found.nRandom).toBe(4);
  });

  test("for a loss, harm is a rise: mirrored values give mirrored results", () => {
    const value = fc.integer({ min: -20, max: 20 });
    const row = fc.array(value, { minLength: 5, maxLength: 5 });
    fc.assert(
      fc.property(row, row, fc.array(row, { minLength: 2, maxLength: 6 }), (base, hit, random) => {
        const minus = (x: number[]) => x.map((v) => -v);
        const up = lesionEffect(base, hit, random, true);
        const down = lesionEffect(minus(base), minus(hit), random.map(minus), false);
        expect(down.p).toBe(up.p);
        expect(down.effect.value).toBeCloseTo(-up.effect.value, 12);
        if (Number.isFinite(up.z)) expect(down.z).toBeCloseTo(-up.z, 9);
        const harmful = random.filter(
          (r) => r.reduce((a, b) => a + b, 0) <= hit.reduce((a, b) => a + b, 0),
        ).length;
        expect(up.p).toBeCloseTo((1 + harmful) / (1 + random.length), 12);
      }),
      { numRuns: 40 },
    );
  });

  test("random sets that do exactly as much harm count, whatever is subtracted", () => {
    // 0.1 of accuracy is lost from 0.8 everywhere; 0.7 - 0.8 in floating point is a little more.
    const items = (right: number) => Array.from({ length: 10 }, (_, i) => (i < right ? 1 : 0));
    const shuffled = [...items(7)].reverse();
    expect(lesionEffect(items(8), items(7), [shuffled, shuffled], true).p).toBe(1);
  });

  test("without random sets, or with sets that do not vary, there is nothing to compare with", () => {
    const none = lesionEffect([1, 1], [0, 0], [], true);
    expect([none.effect.value, none.randomMean, none.randomSd, none.z, none.p]).toEqual([
      -1,
      Number.NaN,
      Number.NaN,
      Number.NaN,
      Number.NaN,
    ]);
    const same = lesionEffect(
      [1, 1],
      [0, 1],
      [
        [1, 1],
        [1, 1],
        [1, 1],
      ],
      true,
    );
    expect([same.randomSd, same.z, same.p]).toEqual([0, Number.NaN, 0.25]);
    const nothing = lesionEffect(
      [1, 0],
      [1, 0],
      [
        [1, 0],
        [1, 0],
      ],
      true,
    );
    expect([nothing.effect.value, nothing.p]).toEqual([0, 1]);
  });
});

describe("doubleDissociation", () => {
  test("by hand", () => {
    const a = { taskA: [0, 0], taskB: [1, 1] };
    const b = { taskA: [1, 1], taskB: [0, 1] };
    const random = [
      { taskA: [1, 1], taskB: [1, 1] },
      { taskA: [1, 0], taskB: [1, 1] },
    ];
    const { interaction, p, nNull } = doubleDissociation(a, b, random, signs);
    // A's units cost task A 1 more than B's do; task B, half less: 1 + 0.5.
    expect(interaction.value).toBe(1.5);
    // The pairs of random sets give -0.5 and 0.5.
    expect([p, nNull]).toEqual([1 / 3, 2]);
  });

  const cell = (
    rng: ReturnType<typeof createRng>,
    onA: number,
    onB: number,
    nItems = 20,
  ): DissociationCell => ({
    taskA: Float64Array.from({ length: nItems }, () => onA + 0.3 * rng.normal()),
    taskB: Float64Array.from({ length: nItems }, () => onB + 0.3 * rng.normal()),
  });

  test("one that was planted is found; swapped localizers give the opposite", () => {
    fc.assert(
      fc.property(fc.nat(10_000), (seed) => {
        const rng = createRng(seed);
        const [a, b] = [cell(rng, 0, 1), cell(rng, 1, 0)];
        const random = Array.from({ length: 6 }, () => cell(rng, 0.9, 0.9));
        const found = doubleDissociation(a, b, random, signs);
        expect(found.nNull).toBe(30);
        expect(found.p).toBe(1 / 31);
        expect(found.interaction.interval![0]).toBeGreaterThan(0);
        const swapped = doubleDissociation(b, a, random, signs);
        expect(swapped.interaction.value).toBeCloseTo(-found.interaction.value, 12);
        expect(swapped.p).toBe(1);
        // Counted as losses, the same numbers mean the opposite.
        const losses = doubleDissociation(a, b, random, { taskA: 1, taskB: 1 });
        expect(losses.interaction.value).toBeCloseTo(-found.interaction.value, 12);
      }),
      { numRuns: 15 },
    );
  });

  test("a single dissociation is not called double: harm to both tasks cancels", () => {
    const rng = createRng(1);
    const a = cell(rng, 0, 0);
    const b = cell(rng, 1, 1);
    const random = Array.from({ length: 8 }, () => cell(rng, 0.9, 0.9));
    const { interaction } = doubleDissociation(a, b, random, signs);
    expect(Math.abs(interaction.value)).toBeLessThan(0.3);
    expect(interaction.interval![0]).toBeLessThan(0);
  });

  test("where nothing is to be found, p is spread over its range", () => {
    const p = Array.from({ length: 150 }, (_, seed) => {
      const rng = createRng(seed);
      const cells = Array.from({ length: 10 }, () => cell(rng, 1, 1, 6));
      return doubleDissociation(cells[0]!, cells[1]!, cells.slice(2), signs, seed).p;
    });
    const share = (below: number) => p.filter((value) => value <= below).length / p.length;
    // 150 draws: three standard errors of a share of 0.1 are 0.073, of 0.5 are 0.12.
    expect(share(0.1)).toBeLessThan(0.175);
    expect(share(0.1)).toBeGreaterThan(0.03);
    expect(share(0.5)).toBeGreaterThan(0.38);
    expect(share(0.5)).toBeLessThan(0.62);
  });

  test("pairs of random sets that dissociate exactly as much count", () => {
    // 0.3 - 0.1 and 0.2 - 0 differ in floating point; as interactions they are equal.
    const items = (right: number) => Array.from({ length: 10 }, (_, i) => (i < right ? 1 : 0));
    const [a, b] = [
      { taskA: items(5), taskB: items(5) },
      { taskA: items(8), taskB: items(6) },
    ];
    const random = [
      { taskA: items(5), taskB: items(5) },
      { taskA: items(7), taskB: items(5) },
    ];
    expect(doubleDissociation(a, b, random, signs).p).toBe(2 / 3);
  });

  test("without random sets there is no p", () => {
    const rng = createRng(2);
    const { p, nNull } = doubleDissociation(cell(rng, 0, 1), cell(rng, 1, 0), [], signs);
    expect([p, nNull]).toEqual([Number.NaN, 0]);
  });
});
