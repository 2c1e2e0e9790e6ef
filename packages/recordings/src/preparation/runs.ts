import { ArgumentError, DataError, ShapeError, sha256, type Tensor, tensor } from "@penfield/core";
import type { RecordedEvent, TimeSeries } from "../types.ts";
import { checkedRuns, runsFrom, withValues } from "./series.ts";

/**
 * Several runs as one series, with the first sample of each in `runOnsets` and events at the time of the whole.
 *
 * @param runs - With the same targets in the same order, at one rate; at least one.
 * @param options.name - Default: the first run's.
 * @returns float64. `simulated` if any run is; `sha256` is that of the runs' hashes.
 * @throws {ShapeError} if there is no run or the targets differ.
 * @throws {ArgumentError} if the rates differ.
 *
 * @example
 * const run = timeSeriesOf({ values: [[1], [2]], events: [{ onset: 1, duration: 0, type: "a" }] });
 * const both = concatenateRuns([run, run]);
 * both.runOnsets.join() // => "0,2"
 * both.events[1].onset // => 3
 */
export function concatenateRuns(
  runs: readonly TimeSeries[],
  { name }: { name?: string } = {},
): TimeSeries {
  const [first] = runs;
  if (first === undefined) {
    throw new ShapeError("concatenateRuns: expected at least one run, got none");
  }
  const nTargets = first.data.shape[1];
  runs.forEach((run, r) => {
    const other = run.targets.findIndex(({ id }, t) => id !== first.targets[t]?.id);
    if (run.targets.length !== first.targets.length || other >= 0) {
      throw new ShapeError(
        `concatenateRuns: expected the same targets in all runs, got ${run.targets.length} in run ${r} and ${first.targets.length} in run 0${other >= 0 ? `, first other target ${JSON.stringify(run.targets[other]!.id)}` : ""}`,
        { hint: "Take the targets that all runs have first." },
      );
    }
    if (Math.abs(run.samplingRate - first.samplingRate) > 1e-9 * first.samplingRate) {
      throw new ArgumentError(
        `concatenateRuns: expected one sampling rate, got ${first.samplingRate} Hz in run 0 and ${run.samplingRate} Hz in run ${r}`,
        { hint: "Bring them to one rate with resample." },
      );
    }
  });
  const nTimes = runs.reduce((sum, { data }) => sum + data.shape[0], 0);
  const data = new Float64Array(nTimes * nTargets);
  const runOnsets: number[] = [];
  const events: RecordedEvent[] = [];
  let at = 0;
  for (const run of runs) {
    data.set(run.data.data, at * nTargets);
    runOnsets.push(...(run.runOnsets ?? [0]).map((onset) => at + onset));
    const shift = at / first.samplingRate;
    events.push(...run.events.map((event) => ({ ...event, onset: event.onset + shift })));
    at += run.data.shape[0];
  }
  return {
    ...first,
    name: name ?? first.name,
    simulated: runs.some(({ simulated }) => simulated),
    data: tensor(data, ["time", "target"], [nTimes, nTargets]),
    runOnsets,
    events,
    sha256: sha256(new TextEncoder().encode(runs.map((run) => run.sha256).join(" "))),
  };
}

/**
 * EEG against the mean of its electrodes.
 *
 *   y_t - mean over the electrodes used
 *
 * @param series - `[nTimes, nTargets]`, finite.
 * @param options.kinds - Which kinds of target are electrodes; targets without a kind count. Default `eeg`. All
 *   others (`eog`, `stim`, ...) stay as they are.
 * @param options.exclude - Ids of bad electrodes: re-referenced, but not part of the mean.
 * @returns float64.
 * @throws {DataError} if a value is not finite or no electrode is left.
 *
 * @example
 * averageReference(timeSeriesOf({ values: [[1, 3], [2, 6]] })).data.data.join(" ") // => "-1 1 -2 2"
 */
export function averageReference(
  series: TimeSeries,
  {
    kinds = ["eeg"],
    exclude = [],
  }: { kinds?: readonly string[]; exclude?: readonly string[] } = {},
): TimeSeries {
  checkedRuns("averageReference", series);
  const [nTimes, nTargets] = series.data.shape;
  const electrodes = series.targets.flatMap(({ kind }, t) =>
    kind === undefined || kinds.includes(kind) ? [t] : [],
  );
  const used = electrodes.filter((t) => !exclude.includes(series.targets[t]!.id));
  if (used.length === 0) {
    throw new DataError(
      `averageReference: ${series.name}: expected electrodes of kind ${kinds.join(", ")}, got none that is not excluded`,
    );
  }
  const out = Float64Array.from(series.data.data);
  for (let i = 0; i < nTimes; i++) {
    const row = out.subarray(i * nTargets, (i + 1) * nTargets);
    const mean = used.reduce((sum, t) => sum + row[t]!, 0) / used.length;
    for (const t of electrodes) row[t]! -= mean;
  }
  return withValues(series, out);
}

/**
 * Which samples lie in segments that were marked as bad.
 *
 * @param series - With events of a duration.
 * @param options.isBad - Default: events whose type begins with "bad", as MNE's annotations do.
 * @param options.paddingSeconds - Taken off before and after each segment as well. Default 0.
 * @returns [nTimes], 1 where bad, 0 elsewhere.
 * @throws {ArgumentError} if the padding is negative.
 *
 * @example
 * const events = [{ onset: 1, duration: 2, type: "BAD_jump" }];
 * badSamples(timeSeriesOf({ values: [[1], [2], [3], [4]], events })).join("") // => "0110"
 */
export function badSamples(
  series: TimeSeries,
  {
    isBad = ({ type }) => /^bad/i.test(type),
    paddingSeconds = 0,
  }: { isBad?: (event: RecordedEvent) => boolean; paddingSeconds?: number } = {},
): Uint8Array {
  if (!(paddingSeconds >= 0)) {
    throw new ArgumentError(`badSamples: expected paddingSeconds from 0, got ${paddingSeconds}`);
  }
  const { samplingRate } = series;
  const bad = new Uint8Array(series.data.shape[0]);
  for (const { onset, duration } of series.events.filter(isBad)) {
    const from = Math.ceil((onset - paddingSeconds) * samplingRate - 1e-6);
    const to = Math.ceil((onset + duration + paddingSeconds) * samplingRate - 1e-6);
    // A mark without a duration is at least its own sample.
    bad.fill(1, Math.max(0, from), Math.max(0, from + 1, to));
  }
  return bad;
}

/**
 * Head movement from one volume to the next: the sum of the changes of three translations and three rotations, these
 * as arcs on a sphere of 50 mm.
 *
 * @param motion - `[nTimes, 6]`: x, y, z in millimetres, then three angles in radians.
 * @param options.radiusMillimetres - Default 50.
 * @param options.runOnsets - The first sample of each run, which has displacement 0. Default: one run.
 * @returns [nTimes], millimetres. Volumes above 0.5 (and their neighbours) are usually given as `bad`.
 * @throws {ShapeError} if there are not six columns.
 *
 * Source: Power et al. (2012), NeuroImage 59:2142-2154.
 *
 * @example
 * const motion = tensor(Float64Array.of(0, 0, 0, 0, 0, 0, 1, 0, 0, 0.01, 0, 0), ["time", "confound"], [2, 6]);
 * framewiseDisplacement(motion).join(" ") // => "0 1.5"
 */
export function framewiseDisplacement(
  motion: Tensor<readonly ["time", "confound"]>,
  {
    radiusMillimetres = 50,
    runOnsets,
  }: { radiusMillimetres?: number; runOnsets?: readonly number[] } = {},
): Float64Array {
  const [nTimes, nColumns] = motion.shape;
  if (nColumns !== 6) {
    throw new ShapeError(
      `framewiseDisplacement: expected 3 translations and 3 rotations, got ${nColumns} columns`,
    );
  }
  const out = new Float64Array(nTimes);
  for (const { from, to } of runsFrom("framewiseDisplacement", nTimes, runOnsets)) {
    for (let i = from + 1; i < to; i++) {
      for (let c = 0; c < 6; c++) {
        const change = Math.abs(motion.data[i * 6 + c]! - motion.data[(i - 1) * 6 + c]!);
        out[i]! += c < 3 ? change : radiusMillimetres * change;
      }
    }
  }
  return out;
}

/**
 * A series whose bad samples are replaced by lines between the good ones beside them, so that a filter does not
 * spread them. In a regression rather leave them out (`bad` of `glmBetas`): made-up samples look certain.
 *
 * @param series - `[nTimes, nTargets]`; bad samples may be NaN.
 * @param bad - [nTimes], not 0 where bad.
 * @returns float64. Bad samples at the end of a run take the value of the nearest good one.
 * @throws {ShapeError} if there is not one mark per sample.
 * @throws {DataError} if a run has no good sample.
 *
 * Source: interpolation of censored volumes as in Power et al. (2014), NeuroImage 84:320-341, by lines.
 *
 * @example
 * interpolateBad(timeSeriesOf({ values: [[1], [99], [3]] }), [0, 1, 0]).data.data.join(" ") // => "1 2 3"
 */
export function interpolateBad(series: TimeSeries, bad: ArrayLike<number>): TimeSeries {
  const [nTimes, nTargets] = series.data.shape;
  if (bad.length !== nTimes) {
    throw new ShapeError(
      `interpolateBad: ${series.name}: expected a mark for each of ${nTimes} samples, got ${bad.length}`,
    );
  }
  const out = Float64Array.from(series.data.data);
  runsFrom("interpolateBad", nTimes, series.runOnsets).forEach(({ from, to }, r) => {
    const good: number[] = [];
    for (let i = from; i < to; i++) if (!bad[i]) good.push(i);
    if (good.length === 0) {
      throw new DataError(
        `interpolateBad: ${series.name}: expected a good sample in run ${r}, got none`,
      );
    }
    let next = 0;
    for (let i = from; i < to; i++) {
      while (next < good.length && good[next]! < i) next++;
      if (good[next] === i) continue;
      const right = good[next] ?? good.at(-1)!;
      const left = good[next - 1] ?? right;
      const share = right === left ? 0 : (i - left) / (right - left);
      for (let t = 0; t < nTargets; t++) {
        const low = out[left * nTargets + t]!;
        out[i * nTargets + t] = low + share * (out[right * nTargets + t]! - low);
      }
    }
  });
  return withValues(series, out);
}
