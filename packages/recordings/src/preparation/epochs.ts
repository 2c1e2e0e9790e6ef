import { ArgumentError, DataError, ShapeError, type Tensor, tensor } from "@penfield/core";
import type { Recording, TimedRecording, TimeSeries } from "../types.ts";
import { butterworth, zeroPhase } from "./filter.ts";
import { checkedRuns, mapColumns } from "./series.ts";
import { type StimulusOf, stackRows, stimulusEvents, typeOf } from "./stackEvents.ts";

/** How epochs are cut. */
export interface EpochOptions {
  /** Seconds from the onset to the first sample; negative: before it. */
  readonly from: number;
  /** Seconds from the onset to the last sample, included. */
  readonly to: number;
  /** Default: the event's type. */
  readonly stimulusOf?: StimulusOf | undefined;
  /** Seconds `[first, last]`, both included: their mean is taken away from each target. Default: none. */
  readonly baseline?: readonly [first: number, last: number] | undefined;
  /**
   * Epochs in which a target's largest minus its smallest value is above this are left out: one number for all
   * targets, or one by kind of target (kinds that are not named are not looked at). In the series' unit. Default:
   * none.
   */
  readonly rejectPeakToPeak?: number | Readonly<Record<string, number>> | undefined;
  /** Samples that must not be part of an epoch, from `badSamples`: [nTimes], not 0 where bad. */
  readonly bad?: ArrayLike<number> | undefined;
  /**
   * Keep every so many-th sample, counted from the onset. Before, frequencies above 0.8 of the new Nyquist frequency
   * are filtered out (Butterworth of order 8, without delay). Default 1: all, unfiltered.
   */
  readonly decimate?: number | undefined;
}

/** Epochs, and those that were left out. */
export interface Epochs {
  /** `[nRepeats, nStimuli, nTargets, nTimes]`; NaN where a stimulus has fewer epochs than another. */
  readonly recording: TimedRecording;
  readonly nKept: number;
  /** Epochs left out, by reason. */
  readonly nRejected: {
    /** They reach out of their run. */
    readonly outside: number;
    /** They hold bad samples. */
    readonly bad: number;
    readonly peakToPeak: number;
  };
  /** How often each target was above the limit, by its id; only those that were. */
  readonly peakToPeakTargets: Readonly<Record<string, number>>;
  /** Stimuli none of whose epochs were kept; not in the recording. */
  readonly lostStimuli: readonly string[];
}

/**
 * Cuts a time series into epochs around events.
 *
 * Samples are those from round((onset + from) f) to round((onset + to) f), as MNE takes them.
 *
 * @param series - `[nTimes, nTargets]`, finite, with events.
 * @param options - How epochs are cut.
 * @returns The epochs, float64, and what was left out and why.
 * @throws {ArgumentError} if an option is out of range.
 * @throws {ShapeError} if there is not one mark per sample in `bad`.
 * @throws {DataError} if no event shows a stimulus, no epoch is left, or a value is not finite.
 *
 * Cost: a copy of the samples kept, and with `decimate` a filtered copy of the series.
 *
 * @example
 * const events = [{ onset: 1, duration: 0, type: "a" }, { onset: 3, duration: 0, type: "a" }];
 * const { recording } = epochs(timeSeriesOf({ values: [[1], [2], [4], [8], [9]], events }), { from: -1, to: 0 });
 * recording.data.shape.join() // => "2,1,1,2"
 * recording.data.data.join() // => "1,2,4,8"
 */
export function epochs(series: TimeSeries, options: EpochOptions): Epochs {
  const { from, to, stimulusOf = typeOf, decimate = 1, bad } = options;
  const runs = checkedRuns("epochs", series);
  const [nTimes, nTargets] = series.data.shape;
  const { samplingRate } = series;
  if (!(Number.isFinite(from) && Number.isFinite(to) && to >= from)) {
    throw new ArgumentError(`epochs: expected from before to, got ${from} and ${to}`);
  }
  if (!Number.isInteger(decimate) || decimate < 1) {
    throw new ArgumentError(`epochs: expected a positive whole decimate, got ${decimate}`);
  }
  if (bad !== undefined && bad.length !== nTimes) {
    throw new ShapeError(
      `epochs: ${series.name}: expected a mark for each of ${nTimes} samples in bad, got ${bad.length}`,
    );
  }
  const first = Math.round(from * samplingRate);
  const last = Math.round(to * samplingRate);
  const baseline = baselineSamples(options, first, last, samplingRate);
  const limits = limitsOf(series, options.rejectPeakToPeak);
  const { data } = decimate === 1 ? series.data : lowPassed(series, decimate).data;
  const kept = Array.from({ length: last - first + 1 }, (_, i) => first + i).filter(
    (sample) => sample % decimate === 0,
  );
  if (kept.length === 0) {
    throw new ArgumentError(
      `epochs: expected a sample between ${from} and ${to} s, got none of every ${decimate}`,
    );
  }
  const nRejected = { outside: 0, bad: 0, peakToPeak: 0 };
  const peakToPeakTargets: Record<string, number> = {};
  const shown = stimulusEvents("epochs", series, stimulusOf);
  const rows: Float64Array[] = [];
  const stimuli: string[] = [];
  for (const { event, stimulus } of shown) {
    const onset = Math.round(event.onset * samplingRate);
    const run = runs.find((r) => onset >= r.from && onset < r.to);
    if (run === undefined || onset + first < run.from || onset + last >= run.to) {
      nRejected.outside++;
      continue;
    }
    if (bad !== undefined && someBad(bad, onset + first, onset + last)) {
      nRejected.bad++;
      continue;
    }
    const large = aboveLimit(data, nTargets, onset + first, onset + last, limits);
    if (large.length > 0) {
      nRejected.peakToPeak++;
      for (const t of large) {
        const { id } = series.targets[t]!;
        peakToPeakTargets[id] = (peakToPeakTargets[id] ?? 0) + 1;
      }
      continue;
    }
    rows.push(epochOf(data, nTargets, onset, kept, baseline));
    stimuli.push(stimulus);
  }
  if (rows.length === 0) {
    throw new DataError(
      `epochs: ${series.name}: expected epochs, got none: of ${shown.length} events ${nRejected.outside} reach out of their run, ${nRejected.bad} hold bad samples, ${nRejected.peakToPeak} are above the limit`,
      { hint: "Limits are in the series' own unit: EEG is often in volts." },
    );
  }
  const width = nTargets * kept.length;
  const flat = new Float64Array(rows.length * width);
  rows.forEach((row, e) => {
    flat.set(row, e * width);
  });
  const stacked = stackRows(stimuli, flat, width);
  const { data: _, runOnsets: __, events: ___, ...info } = series;
  return {
    recording: {
      ...info,
      samplingRate: samplingRate / decimate,
      data: tensor(
        stacked.data,
        ["repeat", "stimulus", "target", "time"],
        [stacked.nRepeats, stacked.ids.length, nTargets, kept.length],
      ),
      stimulusIds: stacked.ids,
      times: Float64Array.from(kept, (sample) => sample / samplingRate),
    },
    nKept: rows.length,
    nRejected,
    peakToPeakTargets,
    lostStimuli: [...new Set(shown.map(({ stimulus }) => stimulus))].filter(
      (id) => !stacked.ids.includes(id),
    ),
  };
}

function baselineSamples(
  { baseline }: EpochOptions,
  first: number,
  last: number,
  samplingRate: number,
): readonly [number, number] | undefined {
  if (baseline === undefined) return undefined;
  const begin = Math.round(baseline[0] * samplingRate);
  const end = Math.round(baseline[1] * samplingRate);
  if (!(begin >= first && end <= last && end >= begin)) {
    throw new ArgumentError(
      `epochs: expected a baseline within the epoch, got ${baseline.join(" to ")} s`,
    );
  }
  return [begin, end];
}

function limitsOf({ targets }: TimeSeries, limit: EpochOptions["rejectPeakToPeak"]): Float64Array {
  const limits = Float64Array.from(targets, ({ kind }) =>
    typeof limit === "number" ? limit : (limit?.[kind ?? ""] ?? Number.POSITIVE_INFINITY),
  );
  const named = typeof limit === "object" ? Object.keys(limit) : [];
  const unknown = named.find((kind) => !targets.some((target) => target.kind === kind));
  if (unknown !== undefined || limits.some((value) => !(value > 0))) {
    throw new ArgumentError(
      `epochs: expected positive limits for kinds of target that are there, got ${JSON.stringify(limit)}`,
    );
  }
  return limits;
}

function lowPassed(series: TimeSeries, decimate: number): TimeSeries {
  const sections = butterworth(
    { kind: "lowpass", cutoff: (0.8 * series.samplingRate) / decimate / 2 },
    { order: 8, samplingRate: series.samplingRate },
  );
  return mapColumns("epochs", series, (values) => zeroPhase(sections, values));
}

function someBad(bad: ArrayLike<number>, from: number, to: number): boolean {
  for (let i = from; i <= to; i++) if (bad[i]) return true;
  return false;
}

/** Targets whose range within an epoch is above their limit. */
function aboveLimit(
  data: ArrayLike<number>,
  nTargets: number,
  from: number,
  to: number,
  limits: Float64Array,
): readonly number[] {
  const above: number[] = [];
  limits.forEach((limit, t) => {
    if (limit === Number.POSITIVE_INFINITY) return;
    let low = Number.POSITIVE_INFINITY;
    let high = Number.NEGATIVE_INFINITY;
    for (let i = from; i <= to; i++) {
      const value = data[i * nTargets + t]!;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    if (high - low > limit) above.push(t);
  });
  return above;
}

/** `[nTargets, nKept]`. */
function epochOf(
  data: ArrayLike<number>,
  nTargets: number,
  onset: number,
  kept: readonly number[],
  baseline: readonly [number, number] | undefined,
): Float64Array {
  const out = new Float64Array(nTargets * kept.length);
  for (let t = 0; t < nTargets; t++) {
    let level = 0;
    if (baseline !== undefined) {
      const [begin, end] = baseline;
      for (let i = begin; i <= end; i++) level += data[(onset + i) * nTargets + t]!;
      level /= end - begin + 1;
    }
    kept.forEach((sample, k) => {
      out[t * kept.length + k] = data[(onset + sample) * nTargets + t]! - level;
    });
  }
  return out;
}

/**
 * The mean over a window of time, target by target: epochs as a recording with one value per stimulus.
 *
 * @param timed - Epochs.
 * @param window - Seconds from the onset, first and last included.
 * @returns `[nRepeats, nStimuli, nTargets]`, float64; repeats that are not there stay NaN.
 * @throws {ArgumentError} if no sample lies in the window.
 *
 * @example
 * const timed = epochs(timeSeriesOf({ values: [[1], [3]], events: [{ onset: 0, duration: 0, type: "a" }] }), { from: 0, to: 1 });
 * windowMean(timed.recording, [0, 1]).data.data.join() // => "2"
 */
export function windowMean(
  timed: TimedRecording,
  [first, last]: readonly [first: number, last: number],
): Recording {
  const half = 1e-6 / timed.samplingRate;
  const inside = timesWhere(timed, (time) => time >= first - half && time <= last + half);
  if (inside.length === 0) {
    throw new ArgumentError(
      `windowMean: ${timed.name}: expected a window within ${timed.times[0]} to ${timed.times.at(-1)} s, got ${first} to ${last}`,
    );
  }
  const [nRepeats, nStimuli, nTargets, nTimes] = timed.data.shape;
  const out = new Float64Array(nRepeats * nStimuli * nTargets);
  for (let row = 0; row < out.length; row++) {
    for (const i of inside) out[row]! += timed.data.data[row * nTimes + i]! / inside.length;
  }
  const { times: _, samplingRate: __, ...info } = timed;
  return {
    ...info,
    data: tensor(out, ["repeat", "stimulus", "target"], [nRepeats, nStimuli, nTargets]),
  };
}

const timesWhere = ({ times }: TimedRecording, keep: (time: number) => boolean): number[] =>
  Array.from(times.keys()).filter((i) => keep(times[i]!));

/**
 * Epochs with every target at every time as a target of its own, `id@seconds`: for decoding from patterns in space
 * and time, and for encoding models over many times at once. `targetsAsTimes` turns results back.
 *
 * @returns `[nRepeats, nStimuli, nTargets x nTimes]`, no copy: times of one target together.
 *
 * @example
 * const timed = epochs(timeSeriesOf({ values: [[1], [3]], events: [{ onset: 0, duration: 0, type: "a" }] }), { from: 0, to: 1 });
 * timesAsTargets(timed.recording).targets[1].id // => "t0@1"
 */
export function timesAsTargets(timed: TimedRecording): Recording {
  const [nRepeats, nStimuli, nTargets, nTimes] = timed.data.shape;
  const { times, samplingRate: _, space: __, ...info } = timed;
  return {
    ...info,
    data: tensor(
      timed.data.data,
      ["repeat", "stimulus", "target"],
      [nRepeats, nStimuli, nTargets * nTimes],
    ),
    targets: timed.targets.flatMap((target) =>
      Array.from(times, (time) => ({ ...target, id: `${target.id}@${Number(time.toFixed(6))}` })),
    ),
  };
}

/**
 * Values for each target at each time (scores, ceilings) as a matrix.
 *
 * @param values - [nTargets x nTimes], in the order of `timesAsTargets`.
 * @param timed - The epochs that they belong to.
 * @returns `[nTargets, nTimes]`, no copy.
 * @throws {ShapeError} if there are not as many values.
 *
 * @example
 * const timed = epochs(timeSeriesOf({ values: [[1], [3]], events: [{ onset: 0, duration: 0, type: "a" }] }), { from: 0, to: 1 });
 * targetsAsTimes(Float64Array.of(0.1, 0.2), timed.recording).shape.join() // => "1,2"
 */
export function targetsAsTimes(
  values: Float64Array,
  timed: TimedRecording,
): Tensor<readonly ["target", "time"]> {
  const [, , nTargets, nTimes] = timed.data.shape;
  if (values.length !== nTargets * nTimes) {
    throw new ShapeError(
      `targetsAsTimes: expected ${nTargets} x ${nTimes} values, got ${values.length}`,
    );
  }
  return tensor(values, ["target", "time"], [nTargets, nTimes]);
}

/**
 * One value per stimulus and target as epochs of one sample, so that functions over time take it.
 *
 * @param recording - `[nRepeats, nStimuli, nTargets]`.
 * @param options.time - Seconds from the onset. Default 0.
 * @returns No copy.
 *
 * @example
 * const recording = eventAverages(timeSeriesOf({ values: [[1], [3]], events: [{ onset: 0, duration: 2, type: "a" }] }));
 * asTimed(recording).data.shape.join() // => "1,1,1,1"
 */
export function asTimed(
  recording: Recording,
  { time = 0 }: { time?: number } = {},
): TimedRecording {
  return {
    ...recording,
    data: tensor(
      recording.data.data,
      ["repeat", "stimulus", "target", "time"],
      [...recording.data.shape, 1],
    ),
    samplingRate: 1,
    times: Float64Array.of(time),
  };
}

/**
 * The mean over the repeats that are there: evoked responses.
 *
 * @param timed - Epochs; NaN for repeats that are not there.
 * @returns One repeat, float64.
 *
 * @example
 * const events = [0, 1].map((onset) => ({ onset, duration: 0, type: "a" }));
 * averageRepeats(epochs(timeSeriesOf({ values: [[1], [3]], events }), { from: 0, to: 0 }).recording).data.data.join() // => "2"
 */
export function averageRepeats(timed: TimedRecording): TimedRecording {
  const [nRepeats, nStimuli, nTargets, nTimes] = timed.data.shape;
  const size = nStimuli * nTargets * nTimes;
  const out = new Float64Array(size);
  const counts = new Int32Array(size);
  for (let r = 0; r < nRepeats; r++) {
    for (let i = 0; i < size; i++) {
      const value = timed.data.data[r * size + i]!;
      if (Number.isNaN(value)) continue;
      out[i]! += value;
      counts[i]!++;
    }
  }
  for (let i = 0; i < size; i++) out[i]! /= counts[i]!;
  return {
    ...timed,
    data: tensor(out, ["repeat", "stimulus", "target", "time"], [1, nStimuli, nTargets, nTimes]),
  };
}
