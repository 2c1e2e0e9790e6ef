import { ArgumentError, createRng, DataError, ShapeError } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { branchingRatio, regressionSlopes } from "./branchingRatio.ts";
import { fitExponential } from "./exponentialFit.ts";
import { branchingActivity, subsampleCounts } from "./generate.ts";

describe("fitExponential", () => {
  const lags = Array.from({ length: 40 }, (_, i) => i + 1);

  test("finds the curve that values were made from", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.7, max: 60, noNaN: true }),
        fc.double({ min: 0.1, max: 3, noNaN: true }),
        fc.double({ min: -1, max: 1, noNaN: true }),
        (tau, amplitude, offset) => {
          const plain = lags.map((k) => amplitude * Math.exp(-k / tau));
          const fit = fitExponential(lags, plain);
          expect(Math.abs(fit.tau / tau - 1)).toBeLessThan(1e-6);
          expect(fit.offset).toBe(0);
          const shifted = fitExponential(
            lags,
            plain.map((v) => v + offset),
            { offset: true },
          );
          expect(Math.abs(shifted.tau / tau - 1)).toBeLessThan(1e-3);
          expect(Math.abs(shifted.offset - offset)).toBeLessThan(1e-3 * (1 + amplitude));
        },
      ),
      { numRuns: 40 },
    );
  });

  test("values that do not decay are said to lie at the bound", () => {
    expect(fitExponential(lags, new Array(40).fill(1)).atBound).toBe(true);
    const values = lags.map((k) => 0.5 * Math.exp(-k / 8));
    expect(fitExponential(lags, values).atBound).toBe(false);
  });

  test("refuses too few lags and missing values", () => {
    expect(() => fitExponential([1, 2], [1, 1])).toThrow(
      "fitExponential: expected at least 3 lags and as many values, got 2 and 2",
    );
    expect(() => fitExponential([1, 2, 3], [1, Number.NaN, 1])).toThrow(DataError);
  });
});

describe("regressionSlopes", () => {
  test("both methods agree for one trial", () => {
    const activity = branchingActivity({ m: 0.8, drive: 10, nSteps: 500 }, createRng(1));
    const together = regressionSlopes([activity], { kMax: 5 });
    const apart = regressionSlopes([activity], { kMax: 5, method: "trialSeparated" });
    expect(Array.from(apart)).toEqual(Array.from(together));
  });

  test("trials of different rates: only trialSeparated leaves them out", () => {
    const rng = createRng(2);
    const trials = [5, 50].map((drive) => branchingActivity({ m: 0.5, drive, nSteps: 5000 }, rng));
    expect(regressionSlopes(trials, { kMax: 3 })[2]).toBeGreaterThan(0.8);
    expect(regressionSlopes(trials, { kMax: 3, method: "trialSeparated" })[2]).toBeLessThan(0.2);
  });

  test("does not depend on the scale of activity", () => {
    const a = branchingActivity({ m: 0.8, drive: 10, nSteps: 300 }, createRng(3));
    const r = regressionSlopes([a], { kMax: 4 });
    const scaled = regressionSlopes([a.map((v) => 3 * v + 7)], { kMax: 4 });
    for (let k = 0; k < 4; k++) expect(scaled[k]).toBeCloseTo(r[k]!, 12);
  });

  test.each([
    [[], ShapeError, "regressionSlopes: expected at least one trial, got none"],
    [
      [[1, 2, 3]],
      ShapeError,
      "regressionSlopes: expected trials of at least kMax + 2 = 4 steps, got 3",
    ],
    [[[2, 2, 2, 2]], DataError, "regressionSlopes: expected activity that varies, got a constant"],
    [
      [[1, Number.NaN, 2, 3]],
      DataError,
      "regressionSlopes: expected finite activity, got NaN at 1",
    ],
  ])("refuses %j", (trials, type, message) => {
    expect(() => regressionSlopes(trials, { kMax: 2 })).toThrow(type);
    expect(() => regressionSlopes(trials, { kMax: 2 })).toThrow(message);
  });
});

describe("branchingRatio", () => {
  test("5 % of a network: 0.98 +- 0.01 where the naive estimate is near 0.55", () => {
    const rng = createRng(1);
    const all = branchingActivity({ m: 0.98, drive: 2, nSteps: 100_000 }, rng);
    const seen = subsampleCounts(all, 0.05, rng);
    const { m, naive, warnings } = branchingRatio([seen], { kMax: 150 });
    expect(Math.abs(m - 0.98)).toBeLessThan(0.01);
    // In theory r_1 = m b with b = s v / (s v + 1 - s), v = 1 / (1 - m^2) the variance over the mean.
    const v = 1 / (1 - 0.98 ** 2);
    const expected = (0.98 * 0.05 * v) / (0.05 * v + 0.95);
    expect(Math.abs(naive - expected)).toBeLessThan(0.02);
    expect(warnings).toEqual([]);
  });

  test("tau is in seconds", () => {
    const activity = branchingActivity({ m: 0.9, drive: 10, nSteps: 20_000 }, createRng(5));
    const { m, tauSeconds } = branchingRatio([activity], { kMax: 30, dtSeconds: 0.004 });
    expect(tauSeconds).toBeCloseTo(-0.004 / Math.log(m), 12);
    expect(Math.abs(m - 0.9)).toBeLessThan(0.02);
  });

  test("short trials, short lags and slopes without decay are warned of", () => {
    const activity = branchingActivity({ m: 0.98, drive: 2, nSteps: 300 }, createRng(6));
    const short = branchingRatio([activity], { kMax: 10 });
    expect(short.warnings.join(" ")).toContain("biased low");
    const ramp = Float64Array.from({ length: 200 }, (_, t) => t);
    const { warnings } = branchingRatio([ramp], { kMax: 10 });
    expect(warnings[0]).toContain("m cannot be trusted");
    expect(warnings.join(" ")).toContain("larger kMax");
  });

  test("refuses a dt of 0 and an unknown method", () => {
    expect(() => branchingRatio([[1, 2]], { kMax: 3, dtSeconds: 0 })).toThrow(ArgumentError);
    const method = "pooled" as "stationaryMean";
    expect(() => branchingRatio([[1, 2]], { kMax: 3, method })).toThrow(
      "regressionSlopes: expected method stationaryMean or trialSeparated, got pooled",
    );
  });
});
