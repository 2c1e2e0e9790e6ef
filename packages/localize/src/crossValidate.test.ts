import { ArgumentError, createRng, ShapeError, takeRows, tensor } from "@penfield/core";
import { mean } from "@penfield/stats";
import { describe, expect, test } from "vitest";
import { contrast, flatten, type LayerActivations } from "./contrast.ts";
import { crossValidate } from "./crossValidate.ts";
import { unitSet } from "./unitSet.ts";

const N_LAYERS = 3;
const N_UNITS = 40;

/** Noise, with the first `nPlanted` units of the middle layer shifted. */
function stimuli(n: number, seed: number, shift = 0, nPlanted = 6): LayerActivations {
  const rng = createRng(seed);
  const all = N_LAYERS * N_UNITS;
  return tensor(
    Float32Array.from({ length: n * all }, (_, i) => {
      const unit = (i % all) - N_UNITS;
      return rng.normal() + (unit >= 0 && unit < nPlanted ? shift : 0);
    }),
    ["stimulus", "layer", "unit"],
    [n, N_LAYERS, N_UNITS],
  );
}

const quick = { k: 6, magnitude: false, nDraws: 200, nSplits: 3, nRandomSets: 39 } as const;

describe("crossValidate", () => {
  test("finds planted units again, and their size, and no effect in random ones", () => {
    const result = crossValidate(stimuli(60, 1, 2), stimuli(50, 2), quick);
    expect(result.jaccard).toBe(1);
    expect(result.jaccardByChance).toBeCloseTo(0.3 / 11.7, 12);
    for (const { folds } of result.splits) {
      for (const fold of folds) {
        expect(fold.units).toEqual(unitSet(N_LAYERS, N_UNITS, [40, 41, 42, 43, 44, 45]));
        expect(Math.min(...fold.t)).toBeGreaterThan(3);
      }
    }
    expect(result.selected.low).toBeLessThan(2);
    expect(result.selected.high).toBeGreaterThan(2);
    expect(Math.abs(result.random.estimate)).toBeLessThan(0.3);
    expect(result.difference.low).toBeGreaterThan(1.4);
    expect(result.p).toBe(1 / 40);
  });

  test("finds nothing in noise: held-out effects around zero, agreement by chance", () => {
    const estimates: number[] = [];
    const overlaps: number[] = [];
    let significant = 0;
    for (let seed = 0; seed < 30; seed++) {
      const result = crossValidate(stimuli(20, 100 + seed), stimuli(20, 200 + seed), {
        ...quick,
        nDraws: 2,
        seed,
      });
      estimates.push(result.selected.estimate);
      overlaps.push(result.jaccard);
      if (result.p <= 0.1) significant++;
    }
    // On the half that chose them, the top 6 of 120 have d around 0.9 in pure noise.
    const se = Math.sqrt(estimates.reduce((s, v) => s + v * v, 0)) / estimates.length;
    expect(Math.abs(mean(estimates))).toBeLessThan(4 * se);
    expect(Math.abs(mean(overlaps) - 0.3 / 11.7)).toBeLessThan(0.03);
    // A tenth of 30 is 3; binomially, 9 or more come once in a thousand.
    expect(significant).toBeLessThan(9);
  });

  test("the means are those of the folds, and the folds those of a contrast on the other half", () => {
    const positive = stimuli(10, 3, 1);
    const negative = stimuli(11, 4);
    const result = crossValidate(positive, negative, { ...quick, nSplits: 2 });
    const folds = result.splits.flatMap((split) => split.folds);
    expect(result.selected.estimate).toBeCloseTo(mean(folds.map((f) => f.meanD)), 12);
    expect(result.random.estimate).toBeCloseTo(mean(folds.map((f) => f.randomMeanD[0]!)), 12);
    expect(result.difference.estimate).toBeCloseTo(
      result.selected.estimate - result.random.estimate,
      12,
    );
    for (const fold of folds) {
      expect(fold.meanD).toBeCloseTo(mean(fold.d), 12);
      expect(fold.t.length).toBe(fold.units.indices.length);
      expect(fold.random.indices.length).toBe(fold.units.indices.length);
    }
  });

  test("held-out t is the contrast of the other half", () => {
    const positive = stimuli(4, 5, 1);
    const negative = stimuli(4, 6);
    const result = crossValidate(positive, negative, { ...quick, nSplits: 1 });
    const { folds } = result.splits[0]!;
    // Try the 6 x 6 ways to halve; one of them must be the one that was drawn.
    const pairs = [
      [0, 1],
      [0, 2],
      [0, 3],
      [1, 2],
      [1, 3],
      [2, 3],
    ];
    const part = (x: LayerActivations, rows: number[]): LayerActivations =>
      tensor(
        takeRows(flatten(x), rows).data,
        ["stimulus", "layer", "unit"],
        [2, N_LAYERS, N_UNITS],
      );
    const matches = pairs.flatMap((p) =>
      pairs.filter((q) => {
        const { t } = contrast(part(positive, p), part(negative, q), { magnitude: false });
        return folds[0].units.indices.every((unit, i) => t.data[unit] === folds[0].t[i]);
      }),
    );
    expect(matches.length).toBe(1);
  });

  test("other directions: units that prefer the control, and either", () => {
    const negative = crossValidate(stimuli(40, 7, -2), stimuli(40, 8), {
      ...quick,
      direction: "negative",
    });
    expect(negative.jaccard).toBe(1);
    expect(negative.selected.high).toBeLessThan(-1);
    expect(negative.p).toBe(1 / 40);
    const both = crossValidate(stimuli(40, 7, -2), stimuli(40, 8), { ...quick, direction: "both" });
    expect(both.jaccard).toBe(1);
    expect(both.selected.low).toBeGreaterThan(1);
    expect(both.p).toBe(1 / 40);
  });

  test("layer-matched random units lie in the layers of the selected ones", () => {
    const result = crossValidate(stimuli(30, 1, 3), stimuli(30, 2), {
      ...quick,
      control: "layer-matched",
    });
    for (const i of result.splits[0]!.folds[0].random.indices) {
      expect(Math.floor(i / N_UNITS)).toBe(1);
    }
  });

  test("equal seeds give equal results", () => {
    const run = (seed: number) =>
      crossValidate(stimuli(12, 1, 1), stimuli(12, 2), { ...quick, seed });
    expect(run(5)).toEqual(run(5));
    expect(run(5).selected).not.toEqual(run(6).selected);
  });

  test("a unit that is constant counts as no effect", () => {
    const values = (factor: number) =>
      Float64Array.from({ length: 32 }, (_, i) => (i % 4 === 0 ? factor * i : 1));
    const make = (factor: number) =>
      tensor(values(factor), ["stimulus", "layer", "unit"], [8, 1, 4]);
    const result = crossValidate(make(1), make(0.5), {
      ...quick,
      k: 2,
      ties: "exact",
      nSplits: 1,
    });
    const fold = result.splits[0]!.folds[0];
    expect(fold.d[1]).toBeNaN();
    expect(fold.meanD).toBe(fold.d[0]! / 2);
    expect(fold.randomMeanD.every((d) => d === 0)).toBe(true);
    expect(result.random).toMatchObject({ estimate: 0, low: 0, high: 0 });
  });

  test("says what it cannot take", () => {
    const x = stimuli(8, 1);
    expect(() => crossValidate(stimuli(3, 1), x, quick)).toThrow(ShapeError);
    expect(() => crossValidate(stimuli(3, 1), x, quick)).toThrow(
      "crossValidate: expected at least 4 stimuli of each kind to halve, got 3 and 8",
    );
    expect(() => crossValidate(x, x, { ...quick, nSplits: 0 })).toThrow(ArgumentError);
    expect(() => crossValidate(x, x, { ...quick, nSplits: 0 })).toThrow(
      "crossValidate: expected nSplits of at least 1, got 0",
    );
    expect(() => crossValidate(x, x, { ...quick, control: "x" as "complement" })).toThrow(
      "crossValidate: expected control complement or layer-matched, got x",
    );
    expect(() => crossValidate(x, stimuli(8, 2), { ...quick, k: 61 })).toThrow(
      "crossValidate: expected as many units outside the selection as in it, got 61 selected of 120",
    );
  });
});
