import { ArgumentError, DataError, type FloatArray, ShapeError, tensor } from "@penfield/core";
import type { TimeSeries } from "../types.ts";

/** A range of samples, `to` not included. */
export interface Run {
  readonly from: number;
  readonly to: number;
}

/** The runs of `nTimes` samples that start at `runOnsets`. */
export function runsFrom(
  name: string,
  nTimes: number,
  runOnsets: readonly number[] = [0],
): readonly Run[] {
  const ascending = runOnsets.every(
    (onset, i) =>
      Number.isInteger(onset) && onset < nTimes && (i === 0 || onset > runOnsets[i - 1]!),
  );
  if (!ascending || runOnsets[0] !== 0) {
    throw new ArgumentError(
      `${name}: expected run onsets that ascend from 0 and lie below ${nTimes}, got ${runOnsets.join(", ")}`,
    );
  }
  return runOnsets.map((from, i) => ({ from, to: runOnsets[i + 1] ?? nTimes }));
}

/** The runs of a series that can be computed with: finite, at a positive rate. */
export function checkedRuns(name: string, series: TimeSeries): readonly Run[] {
  const { data, samplingRate } = series;
  const [nTimes, nTargets] = data.shape;
  if (nTimes < 1 || nTargets < 1) {
    throw new ShapeError(
      `${name}: ${series.name}: expected samples and targets, got [${nTimes}, ${nTargets}]`,
    );
  }
  checkRate(name, "samplingRate", samplingRate);
  const bad = data.data.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) {
    throw new DataError(
      `${name}: ${series.name}: expected finite values, got ${data.data[bad]} at sample ${Math.floor(bad / nTargets)}, target ${JSON.stringify(series.targets[bad % nTargets]?.id)}`,
      { hint: "Leave out targets that were not measured; interpolateBad fills bad samples." },
    );
  }
  return runsFrom(name, nTimes, series.runOnsets);
}

export function checkRate(name: string, what: string, value: number): void {
  if (!(value > 0 && Number.isFinite(value))) {
    throw new ArgumentError(`${name}: expected a positive ${what} in Hz, got ${value}`);
  }
}

/** The series with other values of the same shape. */
export function withValues(series: TimeSeries, data: FloatArray): TimeSeries {
  return { ...series, data: tensor(data, ["time", "target"], series.data.shape) };
}

/** Values in one column over a run, float64. */
export function columnOf(
  data: FloatArray,
  nColumns: number,
  column: number,
  { from, to }: Run,
): Float64Array {
  const out = new Float64Array(to - from);
  for (let i = from; i < to; i++) out[i - from] = data[i * nColumns + column]!;
  return out;
}

/** Every column of every run put through `change`, which keeps its length. */
export function mapColumns(
  name: string,
  series: TimeSeries,
  change: (values: Float64Array, run: Run) => Float64Array,
): TimeSeries {
  const runs = checkedRuns(name, series);
  const { data, shape } = series.data;
  const nTargets = shape[1];
  const out = new Float64Array(data.length);
  for (const run of runs) {
    for (let t = 0; t < nTargets; t++) {
      const changed = change(columnOf(data, nTargets, t, run), run);
      for (let i = run.from; i < run.to; i++) out[i * nTargets + t] = changed[i - run.from]!;
    }
  }
  return withValues(series, out);
}
