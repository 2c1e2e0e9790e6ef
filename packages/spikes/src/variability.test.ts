import { createRng, DataError, ShapeError } from "@penfield/core";
import { pearson } from "@penfield/stats";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { countCorrelation } from "./countCorrelation.ts";
import { poissonSample, poissonTrain, synchronousPopulation } from "./generate.ts";
import { binCounts, population, type SpikeTrain, spikeTrain } from "./spikeTrain.ts";
import { cv, cv2, fanoFactor, lv, lvr } from "./variability.ts";

const train = (...times: number[]): SpikeTrain => spikeTrain(times, { tStop: 1 });

describe("cv, cv2, lv, lvr", () => {
  test("a clock has none", () => {
    const clock = train(0, 0.125, 0.25, 0.375, 0.5);
    for (const measure of [cv, cv2, lv, lvr]) expect(measure(clock)).toBe(0);
  });

  test("by hand: intervals 1, 3, 2", () => {
    const t = spikeTrain([0, 1, 4, 6], { tStop: 10 });
    expect(cv(t)).toBeCloseTo(Math.sqrt(2 / 3) / 2, 14);
    expect(cv2(t)).toBeCloseTo((4 / 4 + 2 / 5) / 2, 14);
    expect(lv(t)).toBeCloseTo((3 * (4 / 16 + 1 / 25)) / 2, 14);
    const r = (0.25 * (1 + (4 * 0.5) / 4) + 0.04 * (1 + (4 * 0.5) / 5)) / 2;
    expect(lvr(t, { refractorySeconds: 0.5 })).toBeCloseTo(3 * r, 14);
    expect(lvr(t, { refractorySeconds: 0 })).toBeCloseTo(lv(t), 14);
  });

  test("a Poisson process has about 1", () => {
    const t = poissonTrain({ rateHertz: 20, tStop: 1000 }, createRng(1));
    for (const measure of [cv, cv2, lv]) expect(Math.abs(measure(t) - 1)).toBeLessThan(0.03);
  });

  test("too few spikes: NaN; two spikes have a cv of 0, which says nothing", () => {
    for (const few of [train(), train(0.5)]) {
      for (const measure of [cv, cv2, lv, lvr]) expect(measure(few)).toBeNaN();
    }
    expect(cv(train(0.1, 0.5))).toBe(0);
    for (const measure of [cv2, lv, lvr]) expect(measure(train(0.1, 0.5))).toBeNaN();
  });

  test("equal times: pairs of two intervals of 0 are left out; all at one time is NaN", () => {
    expect(cv2(train(0.1, 0.1, 0.1, 0.3))).toBe(2);
    expect(lv(train(0.1, 0.1, 0.1, 0.3))).toBe(3);
    for (const measure of [cv, cv2, lv, lvr]) expect(measure(train(0.1, 0.1, 0.1))).toBeNaN();
  });

  test("none depends on the scale of time (but lvr), and lv is within 0..3", () => {
    const ticks = fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 3, maxLength: 20 });
    fc.assert(
      fc.property(ticks, fc.constantFrom(0.25, 2, 64), (intervals, scale) => {
        let t = 0;
        const times = intervals.map((i) => (t += i));
        const a = spikeTrain(times, { tStop: 2000 });
        const b = spikeTrain(
          times.map((v) => v * scale),
          { tStop: 2000 * scale },
        );
        for (const measure of [cv, cv2, lv]) expect(measure(b)).toBeCloseTo(measure(a), 12);
        expect(lv(a)).toBeLessThanOrEqual(3);
        expect(cv2(a)).toBeLessThanOrEqual(2);
      }),
    );
  });

  test("refuses a negative refractory time", () => {
    expect(() => lvr(train(), { refractorySeconds: -1 })).toThrow(
      "lvr: expected refractorySeconds of 0 or more, got -1",
    );
  });
});

describe("fanoFactor", () => {
  test("1 for Poisson counts, 0 for equal ones, NaN for none", () => {
    const rng = createRng(2);
    const counts = Array.from({ length: 20_000 }, () => poissonSample(7, rng));
    expect(Math.abs(fanoFactor(counts) - 1)).toBeLessThan(0.03);
    expect(fanoFactor([4, 4, 4])).toBe(0);
    expect(fanoFactor([3])).toBe(0);
    expect(fanoFactor([0, 0])).toBeNaN();
  });

  test("refuses no trials and missing ones", () => {
    expect(() => fanoFactor([])).toThrow(ShapeError);
    expect(() => fanoFactor([1, Number.NaN])).toThrow(DataError);
    expect(() => fanoFactor([1, Number.NaN])).toThrow(
      "fanoFactor: expected finite counts, got NaN at 1",
    );
  });
});

describe("countCorrelation", () => {
  test("equals Pearson's r of the counts", () => {
    const units = synchronousPopulation(
      { nTrains: 4, rateHertz: 20, shared: 0.5, jitterSeconds: 0.01, tStop: 20 },
      createRng(4),
    );
    const { data, shape } = binCounts(units, { binSeconds: 0.05 });
    const rows = Array.from({ length: 4 }, (_, i) =>
      data.subarray(i * shape[1], (i + 1) * shape[1]),
    );
    const r = countCorrelation(units, { binSeconds: 0.05 });
    for (let i = 0; i < 4; i++) {
      for (let j = 0; j < 4; j++) {
        expect(r.data[i * 4 + j]).toBeCloseTo(pearson(rows[i]!, rows[j]!), 12);
      }
    }
    // Half of the spikes are shared, most of them within one bin.
    expect(r.data[1]).toBeGreaterThan(0.3);
    expect(r.data[1]).toBeLessThan(0.6);
  });

  test("silent units have NaN, also with themselves", () => {
    const r = countCorrelation(population([train(0.1), train()]), { binSeconds: 0.25 });
    expect(r.data[0]).toBe(1);
    expect(Array.from(r.data.slice(1))).toEqual([Number.NaN, Number.NaN, Number.NaN]);
  });

  test("refuses a single bin", () => {
    expect(() => countCorrelation(population([train()]), { binSeconds: 0.9 })).toThrow(
      "countCorrelation: expected at least 2 bins, got 1",
    );
  });
});
