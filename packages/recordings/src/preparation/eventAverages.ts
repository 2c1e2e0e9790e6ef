import { ArgumentError, DataError } from "@penfield/core";
import type { Recording, TimeSeries } from "../types.ts";
import { checkedRuns } from "./series.ts";
import { recordingOf, type StimulusOf, stimulusEvents, typeOf } from "./stackEvents.ts";

/**
 * The mean of each target over a window after the onset of each event: block averages of fMRI, windows of MEG or EEG,
 * spike counts.
 *
 * @param series - `[nTimes, nTargets]`, finite, with events.
 * @param options.from - Seconds from an event's onset to the first sample of the window. For blocks of fMRI 4 to 6:
 *   the blood is late. Default 0.
 * @param options.to - Seconds from its onset to the end of the window, not included; or `duration`: as long as the
 *   event lasts, from `from` on (default).
 * @param options.stimulusOf - Default: the event's type.
 * @returns `[nRepeats, nStimuli, nTargets]`, float64: repeats in the order of time, NaN where a stimulus was shown
 *   less often than another.
 * @throws {ArgumentError} if the window is empty.
 * @throws {DataError} if no event shows a stimulus, a value is not finite, or a window has no sample or reaches out
 *   of its run (which).
 *
 * Source: block averages as in Haxby et al. (2001), Science 293:2425-2430.
 *
 * @example
 * const events = [{ onset: 1, duration: 2, type: "face" }];
 * eventAverages(timeSeriesOf({ values: [[0], [4], [6], [9]], events })).data.data.join() // => "5"
 */
export function eventAverages(
  series: TimeSeries,
  {
    from = 0,
    to = "duration",
    stimulusOf = typeOf,
  }: { from?: number; to?: number | "duration"; stimulusOf?: StimulusOf } = {},
): Recording {
  if (!Number.isFinite(from) || (to !== "duration" && !(to > from))) {
    throw new ArgumentError(
      `eventAverages: expected a window that ends after it begins, got ${from} to ${to}`,
    );
  }
  const runs = checkedRuns("eventAverages", series);
  const { samplingRate } = series;
  const nTargets = series.data.shape[1];
  const shown = stimulusEvents("eventAverages", series, stimulusOf);
  const rows = new Float64Array(shown.length * nTargets);
  // Samples at the border belong to the window that begins there; rounding must not move them.
  const sampleAt = (seconds: number) => Math.ceil(seconds * samplingRate - 1e-6);
  shown.forEach(({ event, stimulus }, e) => {
    const begin = sampleAt(event.onset + from);
    const end = sampleAt(event.onset + (to === "duration" ? from + event.duration : to));
    const at = sampleAt(event.onset);
    const run = runs.find((r) => at >= r.from && at < r.to);
    if (run === undefined || begin < run.from || end > run.to || end <= begin) {
      throw new DataError(
        `eventAverages: ${series.name}: expected samples within a run for ${JSON.stringify(stimulus)} at ${event.onset} s, got ${begin}..${end - 1} ${run ? `of run ${run.from}..${run.to - 1}` : "outside all runs"}`,
        { hint: "Shorten the window, or leave the event out with stimulusOf." },
      );
    }
    for (let i = begin; i < end; i++) {
      for (let t = 0; t < nTargets; t++) {
        rows[e * nTargets + t]! += series.data.data[i * nTargets + t]! / (end - begin);
      }
    }
  });
  return recordingOf(
    series,
    shown.map(({ stimulus }) => stimulus),
    rows,
  );
}
