import { ArgumentError, type FloatArray, ShapeError } from "@penfield/core";
import { expect, test } from "vitest";
import type { SpikingValues } from "./simulate/capture.ts";
import { membraneTraces, rateMap, spikeRaster } from "./timecourses.ts";

const values = (
  data: FloatArray,
  shape: SpikingValues["shape"],
  steps = { from: 0, every: 1 },
): SpikingValues => ({ data, shape, axes: ["row", "step", "unit"], steps, events: undefined });

// 2 rows of 4 steps of 2 units.
const spikes = values(Float64Array.of(0, 1, 0, 0, 1, 0, 1, 1, 0, 0, 0, 0, 0, 2, 1, 0), [2, 4, 2]);

test("a raster has each spike's row, time and unit", () => {
  const { data, ...rest } = spikeRaster(spikes, { dt: 0.5 });
  expect(Array.from(data)).toEqual([
    ...[0, 0.5, 1, 0, 1.5, 0, 0, 2, 0, 0, 2, 1],
    ...[1, 1.5, 1, 1, 2, 0],
  ]);
  expect(rest).toEqual({ nSpikes: 6, nUnits: 2, nRows: 2, durationSeconds: 2 });
});

test("rows are chosen, and called by their places", () => {
  const { data, nRows } = spikeRaster(spikes, { dt: 1, rows: [1] });
  expect(Array.from(data)).toEqual([0, 3, 1, 0, 4, 0]);
  expect(nRows).toBe(1);
});

test("events give the same raster as arrays", () => {
  const events: SpikingValues = {
    ...values(new Float64Array(0), [2, 4, 2]),
    events: {
      row: Int32Array.of(0, 0, 1, 0, 0, 1),
      step: Int32Array.of(0, 2, 2, 3, 3, 3),
      unit: Int32Array.of(1, 0, 1, 0, 1, 0),
      value: Float32Array.of(1, 1, 2, 1, 1, 1),
    },
  };
  expect(spikeRaster(events, { dt: 0.5 })).toEqual(spikeRaster(spikes, { dt: 0.5 }));
});

test("traces are rows by units, with the times of thinned captures", () => {
  const v = values(Float64Array.of(1, 2, 3, 4, 5, 6, 7, 8), [2, 2, 2], { from: 4, every: 3 });
  const { times, series, data } = membraneTraces(v, { dt: 0.1, rows: [1], units: [1, 0] });
  expect(Array.from(times, (t) => Number(t.toFixed(9)))).toEqual([0.5, 0.8]);
  expect(series).toEqual([
    { row: 1, unit: 1 },
    { row: 1, unit: 0 },
  ]);
  expect(Array.from(data)).toEqual([6, 8, 5, 7]);
});

test("rates are means over rows, in spikes per second", () => {
  const { times, data, nUnits } = rateMap(spikes, { dt: 0.5, binSteps: 2 });
  expect(Array.from(times)).toEqual([0.5, 1.5]);
  // Unit 0: none, then 3 in 2 rows of 1 s; unit 1: 1, then 3 (two at once).
  expect(Array.from(data)).toEqual([0, 1.5, 0.5, 1.5]);
  expect(nUnits).toBe(2);
});

test("what is not there is refused", () => {
  expect(() => spikeRaster(spikes, { dt: 0 })).toThrow(ArgumentError);
  expect(() => spikeRaster(spikes, { dt: 1, rows: [2] })).toThrow("rows within 0..1, got 2");
  expect(() => membraneTraces(spikes, { dt: 1, units: [-1] })).toThrow("units within 0..1, got -1");
  expect(() => rateMap(spikes, { dt: 1, binSteps: 5 })).toThrow("binSteps within 1..4");
  expect(() => rateMap({ ...spikes, data: new Float64Array(1) }, { dt: 1, binSteps: 1 })).toThrow(
    ShapeError,
  );
});
