import { readFileSync } from "node:fs";
import { ArgumentError } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { unitMap } from "./contrast.ts";
import {
  complementRandom,
  layerMatchedRandom,
  leastSelective,
  percentileRange,
} from "./controls.ts";
import { multipleDemandStimuli } from "./multipleDemand.ts";
import { selectUnits } from "./select.ts";
import { intersect, perLayerCounts, unitSet } from "./unitSet.ts";

const golden = JSON.parse(
  readFileSync(new URL("../../../test/golden/numpyRandom.json", import.meta.url), "utf8"),
).localize as {
  t: number[][];
  top: Record<string, number[]>;
  bottom: number[];
  complement: Record<string, number[]>;
  range: { low: number; high: number; k: number; seed: number; units: number[] }[];
  hard: string[];
  easy: string[];
};
const goldenT = unitMap(Float64Array.from(golden.t.flat()), 6, 50);
const map = (values: number[], nLayers = 1) =>
  unitMap(Float64Array.from(values), nLayers, values.length / nLayers);
const chosen = (...args: Parameters<typeof selectUnits>) =>
  Array.from(selectUnits(...args).indices);

describe("selectUnits", () => {
  test("dense ties match numpy.unique on values with many ties", () => {
    for (const [k, units] of Object.entries(golden.top)) {
      expect(chosen(goldenT, { k: Number(k) })).toEqual(units);
    }
    expect(golden.top["30"]!.length).toBeGreaterThan(30);
  });

  test("exact ties give exactly k, lower indices first", () => {
    expect(chosen(map([1, 3, 3, 3, 2]), { k: 2, ties: "exact" })).toEqual([1, 2]);
    expect(chosen(map([1, 3, 3, 3, 2]), { k: 2, ties: "dense" })).toEqual([1, 2, 3, 4]);
    expect(chosen(goldenT, { k: 30, ties: "exact" }).length).toBe(30);
  });

  test("directions", () => {
    const t = map([0.5, -4, 3, -1]);
    expect(chosen(t, { k: 1 })).toEqual([2]);
    expect(chosen(t, { k: 1, direction: "negative" })).toEqual([1]);
    expect(chosen(t, { k: 2, direction: "both" })).toEqual([1, 2]);
    expect(chosen(map([0, -0, -1]), { k: 1 })).toEqual([0, 1]);
  });

  test("per layer: k of each", () => {
    const t = map([9, 8, 7, 1, 2, 3], 2);
    expect(chosen(t, { k: 2 })).toEqual([0, 1]);
    expect(chosen(t, { k: 2, scope: "per-layer" })).toEqual([0, 1, 4, 5]);
    expect(chosen(t, { percent: 34, scope: "per-layer" })).toEqual([0, 5]);
  });

  test("a percentage is rounded down as the published code rounds it", () => {
    const t = unitMap(
      Float64Array.from({ length: 12 * 768 }, (_, i) => i),
      12,
      768,
    );
    expect(chosen(t).length).toBe(92);
    expect(chosen(t, { percent: 0.125 }).length).toBe(11);
    // 0.07 * 100 is 7.000000000000001, (7 / 100) * 10 * 10 is the same: no unit is lost or won.
    expect(
      chosen(
        unitMap(
          new Float64Array(100).map((_, i) => i),
          10,
          10,
        ),
        { percent: 7 },
      ).length,
    ).toBe(7);
  });

  test("NaN comes last", () => {
    const t = map([Number.NaN, 1, Number.NaN, -5]);
    expect(chosen(t, { k: 2 })).toEqual([1, 3]);
    expect(chosen(t, { k: 2, direction: "negative" })).toEqual([1, 3]);
    expect(chosen(t, { k: 3 })).toEqual([0, 1, 2, 3]);
    expect(chosen(t, { k: 3, ties: "exact" })).toEqual([0, 1, 3]);
  });

  test("no unit left out has a larger t than one chosen", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: -5, max: 5 }), { minLength: 1 }),
        fc.constantFrom("dense" as const, "exact" as const),
        (values, ties) => {
          const k = Math.max(1, Math.floor(values.length / 3));
          const units = new Set(chosen(map(values), { k, ties }));
          const least = Math.min(...[...units].map((i) => values[i]!));
          values.forEach((value, i) => {
            if (!units.has(i)) expect(value).toBeLessThanOrEqual(least);
          });
          if (ties === "exact") expect(units.size).toBe(k);
          else expect(units.size).toBeGreaterThanOrEqual(k);
        },
      ),
    );
  });

  test.each([
    [{ k: 1, percent: 1 }, "selectUnits: expected k or percent, got both"],
    [{ k: 0 }, "selectUnits: expected k within 1..4, got 0"],
    [{ k: 5 }, "selectUnits: expected k within 1..4, got 5"],
    [{ k: 1.5 }, "selectUnits: expected k within 1..4, got 1.5"],
    [{ k: 3, scope: "per-layer" as const }, "selectUnits: expected k within 1..2, got 3"],
    [{ percent: 1 }, "expected a percentage that gives 1 to 4 units, got 1 %, which is 0"],
    [{ percent: 101 }, "got 101 %, which is 4"],
    [{ percent: Number.NaN }, "got NaN %"],
    [
      { k: 1, scope: "layer" as "global" },
      "expected scope to be one of global, per-layer, got layer",
    ],
    [{ k: 1, ties: "none" as "exact" }, "expected ties to be one of dense, exact, got none"],
    [
      { k: 1, direction: "up" as "both" },
      "expected direction to be one of positive, negative, both",
    ],
  ])("refuses %j", (options, message) => {
    const t = map([1, 2, 3, 4], 2);
    expect(() => selectUnits(t, options)).toThrow(ArgumentError);
    expect(() => selectUnits(t, options)).toThrow(message);
  });
});

describe("controls", () => {
  const top = selectUnits(goldenT, { k: 9 });

  test.each(Object.entries(golden.complement))(
    "complementRandom with seed %s is numpy's draw, unit for unit",
    (seed, units) => {
      const random = complementRandom(top, top.indices.length, Number(seed));
      expect(Array.from(random.indices)).toEqual(units);
      expect(intersect(random, top).indices.length).toBe(0);
    },
  );

  test.each(golden.range)("percentileRange $low to $high is numpy's draw", (range) => {
    const { low, high, k, seed, units } = range;
    expect(Array.from(percentileRange(goldenT, k, low, high, seed).indices)).toEqual(units);
  });

  test("percentileRange leaves NaN out", () => {
    const t = map([Number.NaN, 1, 2, 3, Number.NaN]);
    expect(Array.from(percentileRange(t, 3, 0, 100, 1).indices)).toEqual([1, 2, 3]);
  });

  test("leastSelective is the published bottom k, or the smallest in size", () => {
    expect(Array.from(leastSelective(goldenT, 9).indices)).toEqual(golden.bottom);
    const t = map([0.5, 3, -4, -0.2]);
    expect(Array.from(leastSelective(t, 2, { by: "size" }).indices)).toEqual([0, 3]);
  });

  test("layerMatchedRandom has as many in each layer, none of the set, and follows its seed", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 299 }), { maxLength: 20 }),
        fc.integer(),
        (indices, seed) => {
          const units = unitSet(6, 50, indices);
          const random = layerMatchedRandom(units, seed);
          expect(perLayerCounts(random)).toEqual(perLayerCounts(units));
          expect(intersect(random, units).indices.length).toBe(0);
          expect(layerMatchedRandom(units, seed)).toEqual(random);
        },
      ),
    );
  });

  test("layerMatchedRandom reaches every unit outside about equally often", () => {
    const units = unitSet(1, 10, [0, 1]);
    const counts = new Int32Array(10);
    for (let seed = 0; seed < 2000; seed++) {
      for (const i of layerMatchedRandom(units, seed).indices) counts[i]!++;
    }
    expect(Array.from(counts.subarray(0, 2))).toEqual([0, 0]);
    // 2 of 8 in each of 2000: 500 each, sd 19.4.
    for (const count of counts.subarray(2)) expect(Math.abs(count - 500)).toBeLessThan(4 * 19.4);
  });

  test("say what they cannot take", () => {
    const most = unitSet(1, 4, [0, 1, 2]);
    expect(() => complementRandom(most, 2, 42)).toThrow(ArgumentError);
    expect(() => complementRandom(most, 2, 42)).toThrow(
      "complementRandom: expected k within 1..1 (units outside the set), got 2",
    );
    expect(() => complementRandom(most, 1, -1)).toThrow("numpyRandom: expected a whole number");
    expect(() => layerMatchedRandom(most, 1)).toThrow(
      "layerMatchedRandom: expected at most half of each layer in the set, got 3 of 4 units in layer 0",
    );
    expect(() => percentileRange(goldenT, 1, 50, 50, 42)).toThrow(
      "percentileRange: expected 0 <= low < high <= 100, got 50 and 50",
    );
    expect(() => percentileRange(goldenT, 300, 10, 11, 42)).toThrow(
      "units between percentiles 10 and 11), got 300",
    );
    expect(() => leastSelective(goldenT, 1, { by: "p" as "t" })).toThrow(
      "leastSelective: expected by to be t or size, got p",
    );
  });
});

test("multipleDemandStimuli are the published ones, letter for letter", () => {
  expect(multipleDemandStimuli()).toEqual({ positive: golden.hard, negative: golden.easy });
  expect(multipleDemandStimuli(43).positive).not.toEqual(golden.hard);
});
