import { ArgumentError, DataError, ShapeError, type Tensor, tensor } from "@penfield/core";
import { checkCount, checkPositive, windowOf } from "./check.ts";

/** When one unit spiked, and over what time it was watched. Times are in seconds. */
export interface SpikeTrain {
  /** Ascending, in seconds, within [tStart, tStop]; equal times are kept (several spikes in one step). */
  readonly times: Float64Array;
  /** When recording began, in seconds. */
  readonly tStart: number;
  /** When recording ended, in seconds; after tStart. */
  readonly tStop: number;
  /** What looks like another unit of time than seconds; empty if nothing does. */
  readonly warnings: readonly string[];
}

/** Units watched over the same time. */
export interface Population {
  readonly trains: readonly SpikeTrain[];
  readonly tStart: number;
  readonly tStop: number;
}

/** Spikes per unit and time bin, `[nUnits, nBins]`. */
export type SpikeCounts = Tensor<readonly ["unit", "time"]>;

/**
 * A spike train from its times.
 *
 * @param times - In **seconds**, ascending, finite, within [tStart, tStop]. May be empty. Copied.
 * @param options.tStop - When recording ended, in seconds. Required: silence after the last spike is data.
 * @param options.tStart - When it began, in seconds. Default 0.
 * @param options.sort - Sort the times first. Default false: times out of order are an error, for they often
 *   are several units' times in one list.
 * @returns The train; `warnings` says if a mean rate above 1000 Hz or intervals of seconds make another unit likely.
 * @throws {ArgumentError} if tStop is not after tStart.
 * @throws {DataError} if a time is not finite, out of order or out of the window.
 *
 * Cost: O(n), O(n log n) to sort.
 *
 * @example
 * spikeTrain([0.1, 0.35, 0.4], { tStop: 1 }).times.length // => 3
 * const milliseconds = Array.from({ length: 20 }, (_, i) => 40 * i);
 * spikeTrain(milliseconds, { tStop: 800 }).warnings[0].slice(0, 24) // => "median interval 40.0 s b"
 */
export function spikeTrain(
  times: ArrayLike<number>,
  { tStart = 0, tStop, sort = false }: { tStart?: number; tStop: number; sort?: boolean },
): SpikeTrain {
  const name = "spikeTrain";
  checkWindow(name, tStart, tStop);
  const copy = Float64Array.from(times);
  const nan = copy.findIndex((t) => !Number.isFinite(t));
  if (nan >= 0) {
    throw new DataError(`${name}: expected finite times, got ${copy[nan]} at ${nan}`);
  }
  if (sort) copy.sort();
  for (let i = 1; i < copy.length; i++) {
    if (copy[i]! < copy[i - 1]!) {
      throw new DataError(
        `${name}: expected ascending times, got ${copy[i]} after ${copy[i - 1]} at ${i}`,
        { hint: "Pass sort: true if all of these are one unit's spikes." },
      );
    }
  }
  const outside = copy.findIndex((t) => t < tStart || t > tStop);
  if (outside >= 0) {
    throw new DataError(
      `${name}: expected times within ${windowOf({ tStart, tStop })}, got ${copy[outside]} at ${outside}`,
      { hint: "Times, tStart and tStop are in seconds: divide milliseconds by 1000." },
    );
  }
  return { times: copy, tStart, tStop, warnings: unlikelySeconds(copy, tStop - tStart) };
}

function checkWindow(name: string, tStart: number, tStop: number): void {
  if (!(Number.isFinite(tStart) && Number.isFinite(tStop) && tStop > tStart)) {
    throw new ArgumentError(
      `${name}: expected a recording that ends after it starts, got ${windowOf({ tStart, tStop })}`,
    );
  }
}

function unlikelySeconds(times: Float64Array, duration: number): string[] {
  const n = times.length;
  const rate = n / duration;
  if (n >= 2 && rate > 1000) {
    return [
      `mean rate ${rate.toPrecision(3)} Hz: are the times in seconds, and was the right dt used?`,
    ];
  }
  if (n < 10) return [];
  const intervals = Float64Array.from({ length: n - 1 }, (_, i) => times[i + 1]! - times[i]!);
  const median = intervals.sort()[(n - 1) >> 1]!;
  return median >= 5
    ? [
        `median interval ${median.toPrecision(3)} s between ${n} spikes: are the times in seconds? Divide milliseconds by 1000, steps by the sampling rate.`,
      ]
    : [];
}

/**
 * What looks like a mix-up of seconds and milliseconds between a train and the time constant of a measure.
 *
 * @param train - Times in seconds.
 * @param seconds - A time constant, window or bin, meant to be in seconds.
 * @returns Sentences to show to the user: the train's own `warnings`, and whether the constant is longer than the
 *   recording or shorter than a microsecond. Empty if all looks right. Measures compute what they are told all the same.
 *
 * @example
 * warnAboutTimeUnits(spikeTrain([0.1, 0.5], { tStop: 2 }), 20)[0].slice(0, 36) // => "20 s is longer than the recording of"
 */
export function warnAboutTimeUnits(train: SpikeTrain, seconds: number): readonly string[] {
  const duration = train.tStop - train.tStart;
  const warnings = [...train.warnings];
  if (Number.isFinite(seconds) && seconds > duration) {
    warnings.push(
      `${seconds} s is longer than the recording of ${duration} s: is it in milliseconds? Divide by 1000.`,
    );
  }
  if (seconds > 0 && seconds < 1e-6) {
    warnings.push(`${seconds} s is shorter than a microsecond: was it divided by 1000 twice?`);
  }
  return warnings;
}

/**
 * Trains of units recorded together.
 *
 * @param trains - At least one, all over the same time.
 * @throws {ShapeError} if there is none or the times differ.
 *
 * @example
 * population([spikeTrain([0.2], { tStop: 1 }), spikeTrain([], { tStop: 1 })]).trains.length // => 2
 */
export function population(trains: readonly SpikeTrain[]): Population {
  const [first] = trains;
  if (!first) throw new ShapeError("population: expected at least one train, got none");
  const other = trains.find((t) => t.tStart !== first.tStart || t.tStop !== first.tStop);
  if (other) {
    throw new ShapeError(
      `population: expected trains recorded over the same time, got ${windowOf(first)} and ${windowOf(other)}`,
      { hint: "Cut them with sliceTrain(train, { tStart, tStop })." },
    );
  }
  return { trains, tStart: first.tStart, tStop: first.tStop };
}

/**
 * The part of a train within a time, both ends included.
 *
 * @param options - New ends in seconds, within the old ones.
 * @throws {ArgumentError} if they are out of the old ones or tStop is not after tStart.
 *
 * @example
 * sliceTrain(spikeTrain([0.1, 0.5, 0.9], { tStop: 1 }), { tStart: 0.4, tStop: 0.9 }).times.join(" ") // => "0.5 0.9"
 */
export function sliceTrain(
  train: SpikeTrain,
  { tStart, tStop }: { tStart: number; tStop: number },
): SpikeTrain {
  checkWindow("sliceTrain", tStart, tStop);
  if (tStart < train.tStart || tStop > train.tStop) {
    throw new ArgumentError(
      `sliceTrain: expected a part of ${windowOf(train)}, got ${windowOf({ tStart, tStop })}`,
    );
  }
  return spikeTrain(
    train.times.filter((t) => t >= tStart && t <= tStop),
    { tStart, tStop },
  );
}

/**
 * A train moved in time, window and all.
 *
 * @param seconds - Later by this much.
 *
 * @example
 * shiftTrain(spikeTrain([0.25], { tStop: 1 }), 2).tStart // => 2
 */
export function shiftTrain(train: SpikeTrain, seconds: number): SpikeTrain {
  const { times, tStart, tStop } = train;
  return spikeTrain(
    times.map((t) => t + seconds),
    { tStart: tStart + seconds, tStop: tStop + seconds },
  );
}

/**
 * Spikes captured step by step (0, 1 or more per step) as trains. A spike of step i is at i dt.
 *
 * @param steps - `[nSteps, nUnits]`, as a hook point of a spiking model gives them.
 * @param options.dtSeconds - Length of a step, in seconds.
 * @returns Trains over [0, nSteps dt]; a value of n is n spikes at one time.
 * @throws {ArgumentError} if dtSeconds is not above 0.
 * @throws {DataError} if a value is no whole number of 0 or more, such as a membrane potential.
 * @throws {ShapeError} if there are no steps or units.
 *
 * Cost: O(nSteps nUnits).
 *
 * @example
 * const spikes = tensor(Float32Array.of(0, 1, 1, 0, 0, 2), ["time", "unit"], [3, 2]);
 * populationFromSteps(spikes, { dtSeconds: 0.5 }).trains[1].times.join(" ") // => "0 1 1"
 */
export function populationFromSteps(
  steps: Tensor<readonly ["time", "unit"]>,
  { dtSeconds }: { dtSeconds: number },
): Population {
  const name = "populationFromSteps";
  checkPositive(name, "dtSeconds", dtSeconds);
  const [nSteps, nUnits] = steps.shape;
  if (nSteps === 0 || nUnits === 0) {
    throw new ShapeError(`${name}: expected steps and units, got [${nSteps}, ${nUnits}]`);
  }
  const times: number[][] = Array.from({ length: nUnits }, () => []);
  for (let i = 0; i < nSteps; i++) {
    for (let j = 0; j < nUnits; j++) {
      const count = steps.data[i * nUnits + j]!;
      if (count === 0) continue;
      if (!(Number.isInteger(count) && count > 0)) {
        throw new DataError(
          `${name}: expected numbers of spikes, got ${count} at step ${i}, unit ${j}`,
          { hint: "Capture the spikes of a node, not its membrane potential." },
        );
      }
      for (let k = 0; k < count; k++) times[j]!.push(i * dtSeconds);
    }
  }
  const tStop = nSteps * dtSeconds;
  return population(times.map((unit) => spikeTrain(unit, { tStop })));
}

/**
 * Spikes per bin.
 *
 * @param of - One train or a population.
 * @param options.binSeconds - Length of a bin. Bins start at tStart; a rest shorter than a bin is left out.
 * @param options.binary - 1 for any number of spikes. Default false.
 * @returns `[nUnits, nBins]`, float64. A time within 1e-8 bins below an edge counts as on it, so that times of
 *   whole steps fall where they should; a spike at the very end belongs to the last bin, if that ends there.
 * @throws {ArgumentError} if binSeconds is not above 0 or longer than the recording.
 *
 * Cost: O(nUnits nBins + spikes).
 *
 * @example
 * binCounts(spikeTrain([0.1, 0.2, 0.6], { tStop: 1 }), { binSeconds: 0.5 }).data.join(" ") // => "2 1"
 */
export function binCounts(
  of: SpikeTrain | Population,
  { binSeconds, binary = false }: { binSeconds: number; binary?: boolean },
): SpikeCounts {
  const name = "binCounts";
  checkPositive(name, "binSeconds", binSeconds);
  const trains = "trains" in of ? of.trains : [of];
  const duration = of.tStop - of.tStart;
  const nBins = Math.floor(duration / binSeconds + 1e-8);
  const reachesEnd = duration / binSeconds < nBins + 1e-8;
  if (nBins < 1) {
    throw new ArgumentError(
      `${name}: expected bins no longer than the recording (${duration} s), got ${binSeconds} s`,
      { hint: "binSeconds is in seconds." },
    );
  }
  checkCount(name, "number of bins", nBins * trains.length, 1);
  const data = new Float64Array(trains.length * nBins);
  trains.forEach(({ times }, unit) => {
    for (const t of times) {
      let bin = Math.floor((t - of.tStart) / binSeconds + 1e-8);
      if (t === of.tStop && reachesEnd) bin = nBins - 1;
      if (bin >= nBins) continue;
      if (binary) data[unit * nBins + bin] = 1;
      else data[unit * nBins + bin]! += 1;
    }
  });
  return tensor(data, ["unit", "time"], [trains.length, nBins]);
}

/**
 * Spikes per second.
 *
 * @example
 * meanRate(spikeTrain([0.1, 0.2, 0.6], { tStop: 2 })) // => 1.5
 */
export function meanRate({ times, tStart, tStop }: SpikeTrain): number {
  return times.length / (tStop - tStart);
}

/**
 * Times between spikes, in seconds.
 *
 * @returns `[n - 1]`; empty for fewer than two spikes.
 *
 * @example
 * interspikeIntervals(spikeTrain([0.25, 0.5, 1], { tStop: 2 })).join(" ") // => "0.25 0.5"
 */
export function interspikeIntervals({ times }: SpikeTrain): Float64Array {
  return Float64Array.from(
    { length: Math.max(0, times.length - 1) },
    (_, i) => times[i + 1]! - times[i]!,
  );
}
