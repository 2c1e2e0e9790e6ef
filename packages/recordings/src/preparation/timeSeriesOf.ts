import { ShapeError, sha256, tensor } from "@penfield/core";
import type { RecordedEvent, Target, TimeSeries } from "../types.ts";

/** What is known of values that come from memory. */
export interface TimeSeriesValues {
  /** `[nTimes][nTargets]`. */
  readonly values: readonly (readonly number[])[];
  /** Hz; for fMRI 1 / TR. Default 1. */
  readonly samplingRate?: number | undefined;
  /** Default: none. */
  readonly events?: readonly RecordedEvent[] | undefined;
  /** The first sample of each run. Default: one run. */
  readonly runOnsets?: readonly number[] | undefined;
  /** Default: `t0`, `t1`, ... */
  readonly targets?: readonly Target[] | undefined;
  /** Default "values". */
  readonly name?: string | undefined;
  /** Whether the values are made up. Default false. */
  readonly simulated?: boolean | undefined;
}

/**
 * A time series from values in memory, for data that another program has read, for small data and for examples.
 *
 * @returns float64.
 * @throws {ShapeError} if the rows differ in length, or the targets are not as many as the columns.
 *
 * @example
 * timeSeriesOf({ values: [[1, 2], [3, 4], [5, 6]], samplingRate: 0.5 }).data.shape.join() // => "3,2"
 */
export function timeSeriesOf({
  values,
  samplingRate = 1,
  events = [],
  runOnsets,
  targets,
  name = "values",
  simulated = false,
}: TimeSeriesValues): TimeSeries {
  const nTargets = values[0]?.length ?? 0;
  const ragged = values.findIndex((row) => row.length !== nTargets);
  if (ragged >= 0 || (targets !== undefined && targets.length !== nTargets)) {
    throw new ShapeError(
      ragged >= 0
        ? `timeSeriesOf: expected rows of ${nTargets} values, got ${values[ragged]!.length} in row ${ragged}`
        : `timeSeriesOf: expected ${nTargets} targets, one per column, got ${targets!.length}`,
    );
  }
  const data = Float64Array.from(values.flat());
  return {
    name,
    simulated,
    data: tensor(data, ["time", "target"], [values.length, nTargets]),
    samplingRate,
    ...(runOnsets === undefined ? {} : { runOnsets }),
    events,
    targets: targets ?? Array.from({ length: nTargets }, (_, t) => ({ id: `t${t}` })),
    sha256: sha256(new Uint8Array(data.buffer)),
  };
}
