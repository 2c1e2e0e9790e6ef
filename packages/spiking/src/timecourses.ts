import { ArgumentError, ShapeError } from "@penfield/core";
import type { SpikingValues } from "./simulate/capture.ts";

/** When which unit spiked, as a report's raster holds it. */
export interface SpikeRaster {
  /** `[nSpikes, 3]`: place among the chosen rows, seconds, unit; ordered by row, then time. */
  readonly data: Float64Array;
  readonly nSpikes: number;
  readonly nUnits: number;
  readonly nRows: number;
  readonly durationSeconds: number;
}

/** Values over time, a line each, as a report's timecourses hold them. */
export interface Traces {
  /** Seconds at the end of each step, `[nTimes]`. */
  readonly times: Float64Array;
  /** What each line is of. */
  readonly series: readonly { readonly row: number; readonly unit: number }[];
  /** `[nSeries, nTimes]`. */
  readonly data: Float64Array;
}

/** Rates over time, units by bins. */
export interface RateMap {
  /** Seconds in the middle of each bin, `[nBins]`. */
  readonly times: Float64Array;
  /** Spikes per second, mean over rows, `[nUnits, nBins]`. */
  readonly data: Float64Array;
  readonly nUnits: number;
}

interface ChosenRows {
  /** Seconds of a step, as the model was opened with. */
  readonly dt: number;
  /** Default: all. */
  readonly rows?: readonly number[] | undefined;
}

/**
 * Captured spikes as a raster. As in NIRData, a spike of step t is at the time `(t + 1) dt`.
 *
 * @param spikes - Captured at `.spikes`, as an array or as events; several spikes of a step are one point.
 * @throws {ArgumentError} for rows that do not exist, or a dt that is not above 0.
 *
 * @example
 * const spikes = { data: Float64Array.of(0, 1, 1, 0), shape: [1, 2, 2], axes: ["row", "step", "unit"], steps: { from: 0, every: 1 }, events: undefined };
 * Array.from(spikeRaster(spikes, { dt: 0.5 }).data) // => [0, 0.5, 1, 0, 1, 0]
 */
export function spikeRaster(spikes: SpikingValues, { dt, rows }: ChosenRows): SpikeRaster {
  const { shape, steps, events } = spikes;
  const [nRows, nSteps, nUnits] = shape;
  const chosen = checked("spikeRaster", spikes, dt, rows);
  const lists = chosen.map((): [number, number][] => []);
  const placeOf = new Map(chosen.map((row, place) => [row, place]));
  if (events) {
    events.row.forEach((row, k) => {
      const place = placeOf.get(row);
      if (place !== undefined) lists[place]!.push([events.step[k]!, events.unit[k]!]);
    });
  } else {
    requireValues("spikeRaster", spikes);
    for (const [place, row] of chosen.entries()) {
      for (let t = 0; t < nSteps; t++) {
        for (let j = 0; j < nUnits; j++) {
          if (spikes.data[(row * nSteps + t) * nUnits + j] === 0) continue;
          lists[place]!.push([steps.from + t * steps.every, j]);
        }
      }
    }
  }
  const points = lists.flatMap((list, place) =>
    list.flatMap(([step, unit]) => [place, (step + 1) * dt, unit]),
  );
  return {
    data: Float64Array.from(points),
    nSpikes: points.length / 3,
    nUnits: events ? events.unit.reduce((most, unit) => Math.max(most, unit + 1), nUnits) : nUnits,
    nRows: rows === undefined ? nRows : chosen.length,
    durationSeconds: (steps.from + nSteps * steps.every) * dt,
  };
}

/**
 * Membranes (or whatever else was captured as an array) of chosen units, one line for each row and unit.
 *
 * @param values - Such as `.v`, `.vPre` or `.i`.
 * @param options.units - Places among the captured units; default: the first 8.
 * @throws {ArgumentError} for rows or units that do not exist; {ShapeError} for events.
 *
 * @example
 * const v = { data: Float64Array.of(0.1, 0.2, 0.3, 0.4), shape: [1, 2, 2], axes: ["row", "step", "unit"], steps: { from: 0, every: 1 }, events: undefined };
 * Array.from(membraneTraces(v, { dt: 1, units: [1] }).data) // => [0.2, 0.4]
 */
export function membraneTraces(
  values: SpikingValues,
  { dt, rows, units }: ChosenRows & { readonly units?: readonly number[] | undefined },
): Traces {
  const { data, shape, steps } = values;
  const [, nSteps, nUnits] = shape;
  const chosen = checked("membraneTraces", values, dt, rows);
  requireValues("membraneTraces", values);
  const some = units ?? Array.from({ length: Math.min(8, nUnits) }, (_, j) => j);
  requireWithin("membraneTraces", "units", some, nUnits);
  const series = chosen.flatMap((row) => some.map((unit) => ({ row, unit })));
  const lines = new Float64Array(series.length * nSteps);
  series.forEach(({ row, unit }, s) => {
    for (let t = 0; t < nSteps; t++) {
      lines[s * nSteps + t] = data[(row * nSteps + t) * nUnits + unit]!;
    }
  });
  return {
    times: Float64Array.from({ length: nSteps }, (_, t) => (steps.from + t * steps.every + 1) * dt),
    series,
    data: lines,
  };
}

/**
 * How often each unit spikes in the course of a trial: mean over rows in bins of steps.
 *
 * @param spikes - Captured at `.spikes` in every step, as an array.
 * @param options.binSteps - A last bin that is not full is left out.
 * @throws {ArgumentError} for rows that do not exist, bins of no whole number of steps or longer than the
 * recording, or spikes of some steps only; {ShapeError} for events.
 *
 * @example
 * const spikes = { data: Float64Array.of(0, 1, 1, 1), shape: [1, 2, 2], axes: ["row", "step", "unit"], steps: { from: 0, every: 1 }, events: undefined };
 * Array.from(rateMap(spikes, { dt: 0.1, binSteps: 2 }).data) // => [5, 10]
 */
export function rateMap(
  spikes: SpikingValues,
  { dt, rows, binSteps }: ChosenRows & { readonly binSteps: number },
): RateMap {
  const { data, shape, steps } = spikes;
  const [, nSteps, nUnits] = shape;
  const chosen = checked("rateMap", spikes, dt, rows);
  requireValues("rateMap", spikes);
  if (!Number.isInteger(binSteps) || binSteps < 1 || binSteps > nSteps || steps.every !== 1) {
    throw new ArgumentError(
      `rateMap: expected binSteps within 1..${nSteps} and every step captured, got ${binSteps} and every ${steps.every}`,
    );
  }
  const nBins = Math.floor(nSteps / binSteps);
  const rates = new Float64Array(nUnits * nBins);
  const each = 1 / (chosen.length * binSteps * dt);
  for (const row of chosen) {
    for (let t = 0; t < nBins * binSteps; t++) {
      const bin = Math.floor(t / binSteps);
      for (let j = 0; j < nUnits; j++) {
        rates[j * nBins + bin]! += each * data[(row * nSteps + t) * nUnits + j]!;
      }
    }
  }
  return {
    times: Float64Array.from(
      { length: nBins },
      (_, bin) => (steps.from + (bin + 0.5) * binSteps) * dt,
    ),
    data: rates,
    nUnits,
  };
}

function checked(
  name: string,
  { shape }: SpikingValues,
  dt: number,
  rows: readonly number[] | undefined,
): readonly number[] {
  if (!(dt > 0)) throw new ArgumentError(`${name}: expected dt above 0, got ${dt}`);
  const chosen = rows ?? Array.from({ length: shape[0] }, (_, row) => row);
  requireWithin(name, "rows", chosen, shape[0]);
  return chosen;
}

function requireWithin(name: string, what: string, chosen: readonly number[], n: number): void {
  const wrong = chosen.find((i) => !(Number.isInteger(i) && i >= 0 && i < n));
  if (wrong === undefined) return;
  throw new ArgumentError(`${name}: expected ${what} within 0..${n - 1}, got ${wrong}`);
}

function requireValues(name: string, { data, shape, events }: SpikingValues): void {
  const [nRows, nSteps, nUnits] = shape;
  if (!events && data.length === nRows * nSteps * nUnits) return;
  throw new ShapeError(
    `${name}: expected ${nRows * nSteps * nUnits} values, got ${events ? "events" : data.length}`,
    { hint: "Capture without as: events." },
  );
}
