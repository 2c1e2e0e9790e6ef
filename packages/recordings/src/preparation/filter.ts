import { ArgumentError, DataError } from "@penfield/core";
import type { TimeSeries } from "../types.ts";
import { checkRate, mapColumns } from "./series.ts";

/** A second-order section of a digital filter: b0 + b1 z^-1 + b2 z^-2 over 1 + a1 z^-1 + a2 z^-2. */
export interface FilterSection {
  readonly b: readonly [number, number, number];
  readonly a: readonly [1, number, number];
}

/** What a Butterworth filter lets pass. Frequencies in Hz. */
export type FilterBand =
  | { readonly kind: "lowpass" | "highpass"; readonly cutoff: number }
  | {
      readonly kind: "bandpass" | "bandstop";
      readonly cutoff: readonly [low: number, high: number];
    };

/**
 * A digital Butterworth filter in second-order sections, by the bilinear transform with warped frequencies.
 *
 * @param band - What passes, in Hz, below half the sampling rate.
 * @param options.order - Of the prototype, 1..12; band filters have twice as many poles.
 * @param options.samplingRate - Hz.
 * @throws {ArgumentError} if a frequency or the order is out of range.
 *
 * Matches scipy.signal.butter(order, cutoff, btype, fs, output="sos") as a filter; its sections may be
 * in another order.
 *
 * @example
 * butterworth({ kind: "lowpass", cutoff: 10 }, { order: 4, samplingRate: 100 }).length // => 2
 */
export function butterworth(
  band: FilterBand,
  { order, samplingRate }: { order: number; samplingRate: number },
): readonly FilterSection[] {
  checkRate("butterworth", "samplingRate", samplingRate);
  if (!Number.isInteger(order) || order < 1 || order > 12) {
    throw new ArgumentError(`butterworth: expected an order within 1..12, got ${order}`);
  }
  const cutoffs: readonly number[] = typeof band.cutoff === "number" ? [band.cutoff] : band.cutoff;
  const within = cutoffs.every((hz) => hz > 0 && hz < samplingRate / 2);
  if (!within || (cutoffs.length === 2 && !(cutoffs[0]! < cutoffs[1]!))) {
    throw new ArgumentError(
      `butterworth: expected ascending frequencies between 0 and half the sampling rate (${samplingRate / 2} Hz), got ${cutoffs.join(", ")}`,
    );
  }
  // Analog frequencies at which the bilinear transform with s = 4 (z - 1) / (z + 1) comes out right.
  const warped = cutoffs.map((hz) => 4 * Math.tan((Math.PI * hz) / samplingRate));
  const prototype = Array.from({ length: order }, (_, k): Complex => {
    const angle = (Math.PI * (2 * k - order + 1)) / (2 * order);
    return [-Math.cos(angle), -Math.sin(angle)];
  });
  const analog = analogPoles(band.kind, prototype, warped);
  const poles = analog.map((p) => divide([4 + p[0], p[1]], [4 - p[0], -p[1]]));
  const numerators = numeratorsOf(band.kind, warped);
  const reference = referenceOf(band.kind, warped);
  return pairs(poles).map((pair) => {
    const [a1, a2] = denominator(pair);
    const section: FilterSection = {
      b: pair.length === 1 ? numerators.single : numerators.double,
      a: [1, a1, a2],
    };
    // Sections are scaled one by one to pass the reference frequency whole.
    const gain = 1 / magnitude(section, reference);
    return { ...section, b: section.b.map((value) => value * gain) as [number, number, number] };
  });
}

type Complex = readonly [re: number, im: number];

function divide([a, b]: Complex, [c, d]: Complex): Complex {
  const square = c * c + d * d;
  return [(a * c + b * d) / square, (b * c - a * d) / square];
}

function squareRoot([re, im]: Complex): Complex {
  const size = Math.hypot(re, im);
  const root = Math.sqrt((size + Math.abs(re)) / 2);
  if (root === 0) return [0, 0];
  const other = im / (2 * root);
  if (re >= 0) return [root, other];
  return [Math.abs(other), im < 0 ? -root : root];
}

/** The poles of the prototype moved to the band. */
function analogPoles(
  kind: FilterBand["kind"],
  prototype: readonly Complex[],
  [low, high = low]: readonly number[],
): readonly Complex[] {
  const inverse = (p: Complex, scale: number) => divide([scale, 0], p);
  if (kind === "lowpass") return prototype.map(([re, im]): Complex => [re * low!, im * low!]);
  if (kind === "highpass") return prototype.map((p) => inverse(p, low!));
  const half = (high! - low!) / 2;
  const centre = low! * high!; // squared
  return prototype.flatMap((p) => {
    const [re, im] = kind === "bandpass" ? ([p[0] * half, p[1] * half] as const) : inverse(p, half);
    const [rootRe, rootIm] = squareRoot([re * re - im * im - centre, 2 * re * im]);
    return [
      [re + rootRe, im + rootIm],
      [re - rootRe, im - rootIm],
    ] as const;
  });
}

interface Numerators {
  readonly double: readonly [number, number, number];
  readonly single: readonly [number, number, number];
}

/** Zeros of the sections: at -1, 1, one of each, or on the circle at the centre of the stopped band. */
function numeratorsOf(kind: FilterBand["kind"], [low, high]: readonly number[]): Numerators {
  if (kind === "lowpass") return { double: [1, 2, 1], single: [1, 1, 0] };
  if (kind === "highpass") return { double: [1, -2, 1], single: [1, -1, 0] };
  if (kind === "bandpass") return { double: [1, 0, -1], single: [1, 0, 0] };
  const square = low! * high!;
  const cosine = (16 - square) / (16 + square);
  return { double: [1, -2 * cosine, 1], single: [1, 0, 0] };
}

/** A frequency that passes whole, as a point on the unit circle. */
function referenceOf(kind: FilterBand["kind"], [low, high]: readonly number[]): Complex {
  if (kind === "lowpass" || kind === "bandstop") return [1, 0];
  if (kind === "highpass") return [-1, 0];
  const angle = 2 * Math.atan(Math.sqrt(low! * high!) / 4);
  return [Math.cos(angle), Math.sin(angle)];
}

function magnitude({ a, b }: FilterSection, [re, im]: Complex): number {
  const square: Complex = [re * re - im * im, 2 * re * im];
  const size = ([c0, c1, c2]: readonly number[]) =>
    Math.hypot(c0! * square[0] + c1! * re + c2!, c0! * square[1] + c1! * im);
  return size(b) / size(a);
}

/** Conjugate pairs by one of the two; real poles two by two, an odd one alone. */
function pairs(poles: readonly Complex[]): readonly (readonly Complex[])[] {
  const isReal = ([re, im]: Complex) => Math.abs(im) <= 1e-12 * Math.max(1, Math.abs(re));
  const complex = poles.filter((p) => !isReal(p) && p[1] > 0);
  const real = poles.filter(isReal);
  const out: Complex[][] = complex.map((p) => [p, [p[0], -p[1]]]);
  for (let i = 0; i < real.length; i += 2) out.push(real.slice(i, i + 2));
  return out;
}

function denominator(pair: readonly Complex[]): readonly [number, number] {
  const [p, q] = pair;
  if (q === undefined) return [-p![0], 0];
  return [-(p![0] + q[0]), p![0] * q[0] - p![1] * q[1]];
}

/**
 * A signal filtered forwards and backwards, so that nothing is shifted in time. Each end is first extended by its own
 * mirror image turned about the end point.
 *
 * @param sections - From {@link butterworth}.
 * @param values - [n], more than three times the number of coefficients of the filter.
 * @returns A copy.
 * @throws {DataError} if the signal is too short.
 *
 * Matches scipy.signal.sosfiltfilt with its default padding.
 *
 * @example
 * const sections = butterworth({ kind: "highpass", cutoff: 1 }, { order: 2, samplingRate: 100 });
 * zeroPhase(sections, new Float64Array(50).fill(3)).every((v) => Math.abs(v) < 1e-9) // => true
 */
export function zeroPhase(sections: readonly FilterSection[], values: Float64Array): Float64Array {
  const n = values.length;
  const single = sections.filter(({ a, b }) => a[2] === 0 && b[2] === 0).length;
  const edge = 3 * (2 * sections.length + 1 - single);
  if (n <= edge) {
    throw new DataError(
      `zeroPhase: expected more than ${edge} samples for a filter of ${sections.length} sections, got ${n}`,
      { hint: "Use a lower order, or filter before cutting." },
    );
  }
  const extended = new Float64Array(n + 2 * edge);
  extended.set(values, edge);
  for (let i = 0; i < edge; i++) {
    extended[i] = 2 * values[0]! - values[edge - i]!;
    extended[edge + n + i] = 2 * values[n - 1]! - values[n - 2 - i]!;
  }
  runSections(sections, extended);
  extended.reverse();
  runSections(sections, extended);
  extended.reverse();
  return extended.slice(edge, edge + n);
}

/** In place, starting as if the first value had been there for ever. */
function runSections(sections: readonly FilterSection[], values: Float64Array): void {
  let level = values[0]!;
  for (const { a, b } of sections) {
    const gain = (b[0] + b[1] + b[2]) / (1 + a[1] + a[2]);
    let z1 = (b[2] - a[2] * gain) * level;
    let z0 = (b[1] - a[1] * gain) * level + z1;
    level *= gain;
    for (let i = 0; i < values.length; i++) {
      const x = values[i]!;
      const y = b[0] * x + z0;
      z0 = b[1] * x - a[1] * y + z1;
      z1 = b[2] * x - a[2] * y;
      values[i] = y;
    }
  }
}

/** Which frequencies stay. */
export interface BandOptions {
  /** Hz; slower changes go. Default: none do. */
  readonly highPass?: number | undefined;
  /** Hz; faster changes go. Default: none do. */
  readonly lowPass?: number | undefined;
  /** Of the Butterworth prototype. Default 4. */
  readonly order?: number | undefined;
}

/**
 * A high-pass, low-pass or band-pass filter over each target, run by run, without delay.
 *
 * Butterworth, forwards and backwards: at the cutoff the amplitude is halved (-6 dB), not -3 dB.
 *
 * @param series - `[nTimes, nTargets]`, finite.
 * @param options.highPass - Hz.
 * @param options.lowPass - Hz. With both, one band-pass filter.
 * @param options.order - Default 4.
 * @returns float64. Without a high-pass the mean stays.
 * @throws {ArgumentError} if neither is given, or a frequency is out of range.
 * @throws {DataError} if a value is not finite, or a run is too short.
 *
 * Cost: O(order nTimes nTargets).
 * Matches scipy.signal.sosfiltfilt(scipy.signal.butter(order, ..., output="sos"), x, axis=0).
 *
 * @example
 * const series = timeSeriesOf({ values: Array.from({ length: 100 }, (_, i) => [5 + Math.sin(i)]), samplingRate: 10 });
 * Math.abs(bandFilter(series, { lowPass: 0.2 }).data.data[50] - 5) < 0.01 // => true
 */
export function bandFilter(
  series: TimeSeries,
  { highPass, lowPass, order = 4 }: BandOptions,
): TimeSeries {
  const band: FilterBand | undefined =
    highPass !== undefined && lowPass !== undefined
      ? { kind: "bandpass", cutoff: [highPass, lowPass] }
      : highPass !== undefined
        ? { kind: "highpass", cutoff: highPass }
        : lowPass !== undefined
          ? { kind: "lowpass", cutoff: lowPass }
          : undefined;
  if (band === undefined) {
    throw new ArgumentError("bandFilter: expected highPass, lowPass or both, got neither");
  }
  const sections = butterworth(band, { order, samplingRate: series.samplingRate });
  return mapColumns("bandFilter", series, (values) => zeroPhase(sections, values));
}

/**
 * Single frequencies, such as those of the mains and its multiples, taken out of each target, run by run.
 *
 *   b = g [1, -2 cos w, 1],  a = [1, -2 g cos w, 2 g - 1],  g = 1 / (1 + tan(w / (2 Q)))
 *
 * forwards and backwards; the width of the notch is frequency / Q.
 *
 * @param series - `[nTimes, nTargets]`, finite.
 * @param options.frequencies - Hz, such as `[50, 100, 150]`.
 * @param options.quality - Q. Default 30.
 * @returns float64.
 * @throws {ArgumentError} if a frequency is not between 0 and half the sampling rate, or Q not positive.
 * @throws {DataError} if a value is not finite, or a run is too short.
 *
 * Matches scipy.signal.iirnotch, run by sosfiltfilt.
 *
 * @example
 * const hum = timeSeriesOf({ values: Array.from({ length: 500 }, (_, i) => [Math.sin((2 * Math.PI * 50 * i) / 250)]), samplingRate: 250 });
 * Math.abs(notchFilter(hum, { frequencies: [50] }).data.data[250]) < 0.02 // => true
 */
export function notchFilter(
  series: TimeSeries,
  { frequencies, quality = 30 }: { frequencies: readonly number[]; quality?: number },
): TimeSeries {
  const { samplingRate } = series;
  if (!(quality > 0)) {
    throw new ArgumentError(`notchFilter: expected a positive quality, got ${quality}`);
  }
  const filters = frequencies.map((hz): FilterSection => {
    if (!(hz > 0 && hz < samplingRate / 2)) {
      throw new ArgumentError(
        `notchFilter: expected frequencies between 0 and half the sampling rate (${samplingRate / 2} Hz), got ${hz}`,
      );
    }
    const w = (2 * Math.PI * hz) / samplingRate;
    const gain = 1 / (1 + Math.tan(w / quality / 2));
    const middle = -2 * gain * Math.cos(w);
    return { b: [gain, middle, gain], a: [1, middle, 2 * gain - 1] };
  });
  return mapColumns("notchFilter", series, (values) =>
    filters.reduce((rest, section) => zeroPhase([section], rest), values),
  );
}
