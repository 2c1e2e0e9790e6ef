import { readFileSync } from "node:fs";
import { ArgumentError, tensor } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  convolveFeatures,
  delayFeatures,
  hemodynamicRegressor,
  hemodynamicResponse,
  hemodynamicShapes,
} from "./hemodynamicResponse.ts";

const golden = JSON.parse(
  readFileSync(new URL("../../../../test/golden/preparation.json", import.meta.url), "utf8"),
);
const worst = (got: ArrayLike<number>, expected: readonly number[]): number =>
  Math.max(...expected.map((value, i) => Math.abs(value - got[i]!)));

describe("against nilearn", () => {
  test.each(["spm", "glover"] as const)("%s and its derivatives", (shape) => {
    const options = { stepSeconds: 2 / 8 };
    expect(worst(hemodynamicResponse({ ...options, shape }), golden.hrf[shape])).toBeLessThan(
      1e-14,
    );
    expect(
      worst(
        hemodynamicResponse({ ...options, shape, part: "time" }),
        golden.hrf[`${shape}_time_derivative`],
      ),
    ).toBeLessThan(1e-12);
    // nilearn takes the undershoot's dispersion as 1 here, whatever the shape.
    const own = { ...hemodynamicShapes[shape], undershootDispersion: 1 };
    expect(
      worst(
        hemodynamicResponse({ ...options, shape: own, part: "dispersion" }),
        golden.hrf[`${shape}_dispersion_derivative`],
      ),
    ).toBeLessThan(1e-12);
  });

  test.each(["spm", "glover"] as const)("regressors of events, %s", (shape) => {
    const { onsets, durations, trSeconds, values } = golden.regressors;
    const events = onsets.map((onset: number, i: number) => ({ onset, duration: durations[i] }));
    const options = { nTimes: 60, samplingRate: 1 / trSeconds, shape };
    expect(
      worst(
        hemodynamicRegressor(events, options),
        values[shape].map((row: number[]) => row[0]),
      ),
    ).toBeLessThan(1e-13);
  });
});

describe("hemodynamicRegressor", () => {
  test("is additive over events, linear in amplitude, and shifts with the onset", () => {
    const options = { nTimes: 40, samplingRate: 0.5 };
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 20 }),
        fc.integer({ min: 0, max: 20 }),
        fc.double({ min: -3, max: 3, noNaN: true }),
        (a, b, amplitude) => {
          const one = (sample: number) =>
            hemodynamicRegressor([{ onset: 2 * sample, duration: 2 }], options);
          const both = hemodynamicRegressor(
            [
              { onset: 2 * a, duration: 2 },
              { onset: 2 * b, duration: 2, amplitude },
            ],
            options,
          );
          const [first, second] = [one(a), one(b)];
          both.forEach((value, i) => {
            expect(value).toBeCloseTo(first[i]! + amplitude * second[i]!, 12);
          });
          expect(one(a + 5)[a + 8]).toBeCloseTo(first[a + 3]!, 12);
        },
      ),
      { numRuns: 30 },
    );
  });

  test("an event long before the first sample has no effect, one just before has", () => {
    const options = { nTimes: 10, samplingRate: 0.5 };
    expect(hemodynamicRegressor([{ onset: -60, duration: 1 }], options).every((v) => v === 0)).toBe(
      true,
    );
    expect(hemodynamicRegressor([{ onset: -4, duration: 1 }], options)[0]).toBeGreaterThan(0);
  });

  test("refuses what is no time", () => {
    const options = { nTimes: 10, samplingRate: 0.5 };
    expect(() => hemodynamicRegressor([{ onset: Number.NaN, duration: 1 }], options)).toThrow(
      ArgumentError,
    );
    expect(() => hemodynamicRegressor([], { ...options, samplingRate: 0 })).toThrow(ArgumentError);
    expect(() => hemodynamicResponse({ stepSeconds: 40 })).toThrow("expected a step well below 32");
    // @ts-expect-error: no such shape
    expect(() => hemodynamicResponse({ stepSeconds: 1, shape: "boxcar" })).toThrow(ArgumentError);
  });
});

describe("convolveFeatures", () => {
  test("an impulse gives the response itself, and nothing crosses into the next run", () => {
    const data = new Float64Array(600);
    data[290] = 1;
    const features = tensor(data, ["time", "unit"], [600, 1]);
    const kernel = hemodynamicResponse({ stepSeconds: 0.1 });
    const whole = convolveFeatures(features, { samplingRate: 10 });
    expect(worst(whole.data.subarray(290, 600), [...kernel.subarray(0, 310)])).toBeLessThan(1e-15);
    const parted = convolveFeatures(features, {
      samplingRate: 10,
      every: 20,
      runOnsets: [0, 300],
    });
    expect(parted.shape).toEqual([30, 1]);
    expect([...parted.data.subarray(15)].every((value) => value === 0)).toBe(true);
    expect(() =>
      convolveFeatures(features, { samplingRate: 10, every: 7, runOnsets: [0, 300] }),
    ).toThrow(ArgumentError);
  });
});

describe("delayFeatures", () => {
  const x = tensor(Float64Array.of(1, 2, 3, 4), ["time", "unit"], [4, 1]);
  test("by hand: zeros, the other end, and borders of runs", () => {
    expect(delayFeatures(x, { delays: [-1, 2] }).data.join()).toBe("2,0,3,0,4,1,0,2");
    expect(delayFeatures(x, { delays: [-1, 2], circular: true }).data.join()).toBe(
      "2,3,3,4,4,1,1,2",
    );
    expect(delayFeatures(x, { delays: [1], runOnsets: [0, 2] }).data.join()).toBe("0,1,0,3");
    expect(delayFeatures(x).shape).toEqual([4, 4]);
  });

  test("refuses delays that are no samples and runs out of order", () => {
    expect(() => delayFeatures(x, { delays: [0.5] })).toThrow(ArgumentError);
    expect(() => delayFeatures(x, { delays: [] })).toThrow("got none");
    expect(() => delayFeatures(x, { runOnsets: [0, 4] })).toThrow(ArgumentError);
  });
});
