import { readFileSync } from "node:fs";
import { ArgumentError, DataError, ShapeError, tensor } from "@penfield/core";
import { describe, expect, test } from "vitest";
import type { RecordedEvent } from "../types.ts";
import { eventAverages } from "./eventAverages.ts";
import { glmBetas } from "./glmBetas.ts";
import { hemodynamicRegressor } from "./hemodynamicResponse.ts";
import { timeSeriesOf } from "./timeSeriesOf.ts";

const golden = JSON.parse(
  readFileSync(new URL("../../../../test/golden/preparation.json", import.meta.url), "utf8"),
);

const event = (type: string, onset: number, duration = 1): RecordedEvent => ({
  type,
  onset,
  duration,
});

describe("glmBetas", () => {
  const { onsets, trSeconds, y, nuisance, together, separate } = golden.glm as {
    onsets: number[];
    trSeconds: number;
    y: number[][];
    nuisance: number[][];
    together: number[][];
    separate: number[][];
  };
  const series = timeSeriesOf({
    values: y,
    samplingRate: 1 / trSeconds,
    events: onsets.map((onset, i) => event(`s${i}`, onset)),
  });
  const trend = tensor(
    Float64Array.from(nuisance, (row) => row[1]!),
    ["time", "confound"],
    [nuisance.length, 1],
  );
  const options = { cutoffSeconds: Number.POSITIVE_INFINITY, confounds: trend };

  test.each([
    ["event", together],
    ["separate", separate],
  ] as const)("estimate %s: as numpy's least squares", async (estimate, expected) => {
    const recording = await glmBetas(series, { ...options, estimate });
    expect(recording.data.shape).toEqual([1, 12, 3]);
    expect(recording.stimulusIds[3]).toBe("s3");
    expected.flat().forEach((value, i) => {
      expect(recording.data.data[i]).toBeCloseTo(value, 9);
    });
  });

  test("the same by the products of another library", async () => {
    let calls = 0;
    const linalg = {
      async matmul(
        a: { data: Float64Array; nRows: number; nColumns: number },
        b: { data: Float32Array | Float64Array; nRows: number; nColumns: number },
        { transposeA = false } = {},
      ) {
        calls++;
        const [n, inner] = transposeA ? [a.nColumns, a.nRows] : [a.nRows, a.nColumns];
        const data = new Float64Array(n * b.nColumns);
        for (let i = 0; i < n; i++) {
          for (let k = 0; k < inner; k++) {
            const weight = transposeA ? a.data[k * n + i]! : a.data[i * inner + k]!;
            for (let j = 0; j < b.nColumns; j++) {
              data[i * b.nColumns + j]! += weight * b.data[k * b.nColumns + j]!;
            }
          }
        }
        return { data };
      },
    };
    const ours = await glmBetas(series, options);
    const theirs = await glmBetas(series, { ...options, linalg });
    expect(calls).toBe(3);
    ours.data.data.forEach((value, i) => {
      expect(theirs.data.data[i]).toBeCloseTo(value, 12);
    });
  });

  test("planted responses come back in every run, whatever drifts, bad samples and neighbours", async () => {
    const planted = [2, -1, 0.5];
    const events = [0, 1].flatMap((run) =>
      [0, 1, 2].flatMap((s) =>
        s === 2 && run === 1 ? [] : [event(`s${s}`, 240 * run + 20 + 60 * s, 3)],
      ),
    );
    const values = Array.from({ length: 240 }, (_, i) => [100 * (i < 120 ? 1 : 3)]);
    for (const { type, onset } of events) {
      const run = onset < 240 ? 0 : 1;
      const response = hemodynamicRegressor([{ onset: onset - 240 * run, duration: 3 }], {
        nTimes: 120,
        samplingRate: 0.5,
      });
      response.forEach((value, i) => {
        values[120 * run + i]![0]! += planted[Number(type[1])]! * value;
      });
    }
    for (let i = 0; i < 240; i++) values[i]![0]! += Math.cos((Math.PI * (2 * (i % 120) + 1)) / 240);
    values[50]![0] = 1e6;
    const bad = new Uint8Array(240);
    bad[50] = 1;
    const noisy = timeSeriesOf({ values, samplingRate: 0.5, events, runOnsets: [0, 120] });
    for (const estimate of ["event", "separate", "stimulus"] as const) {
      const { data, stimulusIds } = await glmBetas(noisy, { estimate, bad });
      expect(stimulusIds).toEqual(["s0", "s1", "s2"]);
      if (estimate === "separate") continue; // Unequal neighbours share one regressor there.
      planted.forEach((value, s) => {
        expect(data.data[s]).toBeCloseTo(value, 7);
      });
      expect(data.shape[0]).toBe(estimate === "event" ? 2 : 1);
      if (estimate === "event") expect(data.data[5]).toBeNaN();
    }
  });

  test("derivatives take up what comes late, as in one regression with all of them", async () => {
    const times = { nTimes: 150, samplingRate: 0.5 };
    const events = [event("a", 20), event("b", 90), event("a", 170)];
    const late = hemodynamicRegressor(
      events.map(({ onset }) => ({ onset: onset + 1, duration: 1 })),
      times,
    );
    const delayed = timeSeriesOf({
      values: Array.from(late, (value) => [value]),
      samplingRate: 0.5,
      events,
    });
    const plain = await glmBetas(delayed, { estimate: "stimulus" });
    const better = await glmBetas(delayed, {
      estimate: "stimulus",
      derivatives: ["time", "dispersion"],
    });
    // A second late: the response alone explains less of it.
    for (const s of [0, 1]) {
      expect(Math.abs(better.data.data[s]! - 1)).toBeLessThan(Math.abs(plain.data.data[s]! - 1));
      expect(better.data.data[s]).toBeCloseTo(1, 1);
    }
    await expect(
      glmBetas(delayed, { estimate: "separate", derivatives: ["time"] }),
    ).rejects.toThrow(ArgumentError);
  });

  test("refuses what cannot be estimated, and says which", async () => {
    const twice = { ...series, events: [event("a", 10), event("b", 10)] };
    await expect(glmBetas(twice)).rejects.toThrow('got "b" at 10 s');
    await expect(glmBetas({ ...series, events: [event("a", 500)] })).rejects.toThrow(DataError);
    await expect(glmBetas({ ...series, events: [] })).rejects.toThrow("got none of 0 events");
    await expect(glmBetas(series, { bad: [1] })).rejects.toThrow(ShapeError);
    // Nothing of the last one is seen.
    const late = new Uint8Array(64).fill(1, 50);
    await expect(
      glmBetas({ ...series, events: [event("a", 10), event("z", 126)] }, { bad: late }),
    ).rejects.toThrow('got "z" at 126 s');
    // @ts-expect-error: not a way to estimate
    await expect(glmBetas(series, { estimate: "all" })).rejects.toThrow(ArgumentError);
    const many = Array.from({ length: 64 }, (_, i) => event(`m${i}`, 2 * i));
    await expect(glmBetas({ ...series, events: many })).rejects.toThrow(
      "more samples than regressors",
    );
    const signal = AbortSignal.abort();
    await expect(glmBetas(series, { signal })).rejects.toThrow("interrupted");
  });
});

describe("eventAverages", () => {
  const values = Array.from({ length: 12 }, (_, i) => [i, -i]);
  test("by hand: repeats by stimulus, shifted, NaN where one was shown less often", () => {
    const events = [event("a", 0, 2), event("b", 2, 2), event("a", 5, 2), event("rest", 9, 9)];
    const series = timeSeriesOf({ values, events });
    const { data, stimulusIds } = eventAverages(series, {
      from: 1,
      stimulusOf: ({ type }) => (type === "rest" ? undefined : type),
    });
    expect(stimulusIds).toEqual(["a", "b"]);
    expect([...data.data]).toEqual([1.5, -1.5, 3.5, -3.5, 6.5, -6.5, Number.NaN, Number.NaN]);
    expect(eventAverages(series, { to: 1 }).data.data[0]).toBe(0);
  });

  test("a window that has no sample or leaves its run is refused by name", () => {
    const at = (onset: number, duration: number) =>
      timeSeriesOf({ values, events: [event("x", onset, duration)], runOnsets: [0, 6] });
    expect(() => eventAverages(at(4, 4))).toThrow('for "x" at 4 s, got 4..7 of run 0..5');
    expect(() => eventAverages(at(40, 1))).toThrow("outside all runs");
    expect(() => eventAverages(at(3, 0))).toThrow(DataError);
    expect(() => eventAverages(at(3, 1), { from: 2, to: 1 })).toThrow(ArgumentError);
  });
});
