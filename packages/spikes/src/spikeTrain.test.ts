import { ArgumentError, DataError, ShapeError, tensor } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  binCounts,
  interspikeIntervals,
  meanRate,
  population,
  populationFromSteps,
  shiftTrain,
  sliceTrain,
  spikeTrain,
  warnAboutTimeUnits,
} from "./spikeTrain.ts";

describe("spikeTrain", () => {
  test("copies its times and keeps equal ones", () => {
    const times = Float64Array.of(0, 0.5, 0.5, 1);
    const train = spikeTrain(times, { tStop: 1 });
    times[0] = 0.3;
    expect(Array.from(train.times)).toEqual([0, 0.5, 0.5, 1]);
    expect(train).toMatchObject({ tStart: 0, tStop: 1, warnings: [] });
  });

  test("may be empty", () => {
    expect(spikeTrain([], { tStop: 1 }).times).toHaveLength(0);
  });

  test("sorts if asked to", () => {
    expect(Array.from(spikeTrain([0.3, 0.1], { tStop: 1, sort: true }).times)).toEqual([0.1, 0.3]);
  });

  test.each([
    [[0.3, 0.1], DataError, "spikeTrain: expected ascending times, got 0.1 after 0.3 at 1"],
    [[0.3, Number.NaN], DataError, "spikeTrain: expected finite times, got NaN at 1"],
    [[0.3, 1.5], DataError, "spikeTrain: expected times within [0, 1] s, got 1.5 at 1"],
    [[-0.1], DataError, "spikeTrain: expected times within [0, 1] s, got -0.1 at 0"],
  ])("refuses %j", (times, type, message) => {
    const make = () => spikeTrain(times, { tStop: 1 });
    expect(make).toThrow(type);
    expect(make).toThrow(message);
  });

  test.each([
    [1, 1],
    [0, -1],
    [0, Number.NaN],
    [0, Number.POSITIVE_INFINITY],
  ])("refuses a recording from %d to %d", (tStart, tStop) => {
    expect(() => spikeTrain([], { tStart, tStop })).toThrow(ArgumentError);
    expect(() => spikeTrain([], { tStart, tStop })).toThrow(
      `spikeTrain: expected a recording that ends after it starts, got [${tStart}, ${tStop}] s`,
    );
  });

  test("times in milliseconds are warned of, or said to be out of a window in seconds", () => {
    const milliseconds = Array.from({ length: 20 }, (_, i) => 40 * i + 3 * (i % 3));
    expect(spikeTrain(milliseconds, { tStop: 1000 }).warnings[0]).toContain("milliseconds");
    try {
      spikeTrain(milliseconds, { tStop: 1 });
      expect.unreachable();
    } catch (error) {
      expect((error as DataError).hint).toContain("divide milliseconds by 1000");
    }
  });

  test("rates above 1000 Hz are warned of", () => {
    const train = spikeTrain(
      Array.from({ length: 50 }, (_, i) => i * 1e-5),
      { tStop: 0.001 },
    );
    expect(train.warnings[0]).toContain("Hz");
    expect(warnAboutTimeUnits(train, 0.0005)).toEqual(train.warnings);
  });

  test("time constants that are longer than the recording or tiny are warned of", () => {
    const train = spikeTrain([0.5], { tStop: 2 });
    expect(warnAboutTimeUnits(train, 0.02)).toEqual([]);
    expect(warnAboutTimeUnits(train, 20)[0]).toContain("is it in milliseconds?");
    expect(warnAboutTimeUnits(train, 2e-8)[0]).toContain("shorter than a microsecond");
  });
});

describe("parts of trains", () => {
  const train = spikeTrain([0.1, 0.5, 0.9], { tStop: 1 });

  test("slices hold both ends", () => {
    const part = sliceTrain(train, { tStart: 0.1, tStop: 0.5 });
    expect(Array.from(part.times)).toEqual([0.1, 0.5]);
    expect(part).toMatchObject({ tStart: 0.1, tStop: 0.5 });
    expect(() => sliceTrain(train, { tStart: 0.5, tStop: 2 })).toThrow(
      "sliceTrain: expected a part of [0, 1] s, got [0.5, 2] s",
    );
  });

  test("shifts move the window along", () => {
    expect(shiftTrain(train, 0.5)).toMatchObject({ tStart: 0.5, tStop: 1.5 });
  });

  test("rates and intervals", () => {
    expect(meanRate(train)).toBe(3);
    expect(interspikeIntervals(train)[0]).toBeCloseTo(0.4, 15);
    expect(interspikeIntervals(spikeTrain([], { tStop: 1 }))).toHaveLength(0);
    expect(interspikeIntervals(spikeTrain([0.2], { tStop: 1 }))).toHaveLength(0);
  });
});

describe("population", () => {
  test("is of one time", () => {
    expect(() => population([])).toThrow(ShapeError);
    expect(() => population([spikeTrain([], { tStop: 1 }), spikeTrain([], { tStop: 2 })])).toThrow(
      "population: expected trains recorded over the same time, got [0, 1] s and [0, 2] s",
    );
  });

  test("from steps: several spikes per step are kept", () => {
    const steps = tensor(Float32Array.of(0, 1, 3, 0), ["time", "unit"], [2, 2]);
    const { trains, tStop } = populationFromSteps(steps, { dtSeconds: 0.001 });
    expect(trains.map(({ times }) => Array.from(times))).toEqual([[0.001, 0.001, 0.001], [0]]);
    expect(tStop).toBe(0.002);
  });

  test("from steps: a membrane potential is refused", () => {
    const v = tensor(Float32Array.of(0, 0.25), ["time", "unit"], [1, 2]);
    expect(() => populationFromSteps(v, { dtSeconds: 0.001 })).toThrow(
      "populationFromSteps: expected numbers of spikes, got 0.25 at step 0, unit 1",
    );
    expect(() => populationFromSteps(v, { dtSeconds: 0 })).toThrow(ArgumentError);
    const none = tensor(new Float32Array(0), ["time", "unit"], [0, 2]);
    expect(() => populationFromSteps(none, { dtSeconds: 1 })).toThrow(ShapeError);
  });
});

describe("binCounts", () => {
  test("steps that are whole numbers of bins fall into their own bin, for any dt", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 400 }), fc.integer({ min: 1, max: 999 }), (n, dt) => {
        const dtSeconds = dt / 10_000;
        const steps = tensor(new Float32Array(n).fill(1), ["time", "unit"], [n, 1]);
        const counts = binCounts(populationFromSteps(steps, { dtSeconds }), {
          binSeconds: dtSeconds,
        });
        expect(Array.from(counts.data)).toEqual(new Array(n).fill(1));
      }),
      { numRuns: 50 },
    );
  });

  test("a spike at the very end counts in the last bin; a rest shorter than a bin does not", () => {
    expect(Array.from(binCounts(spikeTrain([1], { tStop: 1 }), { binSeconds: 0.5 }).data)).toEqual([
      0, 1,
    ]);
    expect(
      Array.from(binCounts(spikeTrain([0.95, 1], { tStop: 1 }), { binSeconds: 0.4 }).data),
    ).toEqual([0, 0]);
  });

  test("binary and late starts", () => {
    const train = spikeTrain([5.1, 5.2, 5.9], { tStart: 5, tStop: 6 });
    expect(Array.from(binCounts(train, { binSeconds: 0.5 }).data)).toEqual([2, 1]);
    expect(Array.from(binCounts(train, { binSeconds: 0.5, binary: true }).data)).toEqual([1, 1]);
  });

  test("refuses bins longer than the recording", () => {
    expect(() => binCounts(spikeTrain([], { tStop: 1 }), { binSeconds: 20 })).toThrow(
      "binCounts: expected bins no longer than the recording (1 s), got 20 s",
    );
    expect(() => binCounts(spikeTrain([], { tStop: 1 }), { binSeconds: 0 })).toThrow(ArgumentError);
  });
});
