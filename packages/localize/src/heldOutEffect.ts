import type { Activations } from "@penfield/core";
import {
  type BootstrapInterval,
  type BootstrapOptions,
  bootstrapInterval,
  cohenDFromMoments,
  type UnitMoments,
} from "@penfield/stats";
import type { UnitSet } from "./unitSet.ts";

/** The mean of effects, a unit without spread (NaN) counting as no effect. */
export function meanEffect(d: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < d.length; i++) sum += Number.isNaN(d[i]!) ? 0 : d[i]!;
  return sum / d.length;
}

/** How often each stimulus was drawn -> mean held-out d. */
type Measure = (counts: { positive: Int32Array; negative: Int32Array }) => number;

/** The effects of one fold, on any draw of stimuli. */
export interface FoldMeasure {
  readonly selected: Measure;
  readonly random: Measure;
}

/** Mean d of units on the held-out rows, each counted as often as it was drawn. */
export function meanDMeasure(
  pos: Activations,
  neg: Activations,
  rows: { positive: Int32Array; negative: Int32Array },
  units: UnitSet,
  sign: (index: number) => number,
  magnitude: boolean,
): Measure {
  const signs = Float64Array.from(units.indices, sign);
  const a = centredColumns(pos, rows.positive, units, magnitude);
  const b = centredColumns(neg, rows.negative, units, magnitude);
  return (counts) => {
    const momentsA = weightedMoments(a, rows.positive, counts.positive);
    const momentsB = weightedMoments(b, rows.negative, counts.negative);
    if (momentsA.n < 2 || momentsB.n < 2) return Number.NaN;
    return meanEffect(cohenDFromMoments(momentsA, momentsB).map((d, j) => signs[j]! * d));
  };
}

/** Values less their mean, so that weighted sums keep their digits, [nRows, nSelected]. */
interface CentredColumns {
  readonly centre: Float64Array;
  readonly values: Float64Array;
}

function centredColumns(
  x: Activations,
  rows: Int32Array,
  units: UnitSet,
  magnitude: boolean,
): CentredColumns {
  const nAll = x.shape[1];
  const at = (row: number, index: number): number => {
    const value = x.data[row * nAll + index]!;
    return magnitude ? Math.abs(value) : value;
  };
  const centre = Float64Array.from(units.indices, (index) => {
    let sum = 0;
    for (const row of rows) sum += at(row, index) - at(rows[0]!, index);
    return at(rows[0]!, index) + sum / rows.length;
  });
  const values = new Float64Array(rows.length * centre.length);
  rows.forEach((row, i) => {
    units.indices.forEach((index, j) => {
      values[i * centre.length + j] = at(row, index) - centre[j]!;
    });
  });
  return { centre, values };
}

function weightedMoments(
  { centre, values }: CentredColumns,
  rows: Int32Array,
  counts: Int32Array,
): UnitMoments {
  const nSelected = centre.length;
  const sum = new Float64Array(nSelected);
  const squares = new Float64Array(nSelected);
  let n = 0;
  for (let i = 0; i < rows.length; i++) {
    const weight = counts[rows[i]!]!;
    if (weight === 0) continue;
    n += weight;
    for (let j = 0; j < nSelected; j++) {
      const value = values[i * nSelected + j]!;
      sum[j]! += weight * value;
      squares[j]! += weight * value * value;
    }
  }
  return {
    n,
    mean: sum.map((s, j) => centre[j]! + s / n),
    variance: squares.map((s, j) => Math.max(0, s - (sum[j]! * sum[j]!) / n) / (n - 1)),
  };
}

/** Mean effects with their intervals, from the same draws. */
export interface EffectIntervals {
  /** Mean held-out d of the selected units, over folds and splits; interval over stimuli, units fixed. */
  readonly selected: BootstrapInterval;
  /** The same for size-matched random units. */
  readonly random: BootstrapInterval;
  /** Selected minus random, on the same draws. */
  readonly difference: BootstrapInterval;
}

/** The mean of the folds that a draw leaves at least 2 stimuli of each kind; NaN if it leaves none. */
function average(values: readonly number[]): number {
  const defined = values.filter((value) => !Number.isNaN(value));
  return defined.reduce((sum, value) => sum + value, 0) / defined.length;
}

/** Intervals of the mean effects over folds, from resampling stimuli within each condition. */
export function intervalsOverStimuli(
  measures: readonly FoldMeasure[],
  {
    nPositive,
    nNegative,
    bootstrap,
  }: { nPositive: number; nNegative: number; bootstrap: BootstrapOptions },
): EffectIntervals {
  const nItems = nPositive + nNegative;
  const strata = Uint8Array.from({ length: nItems }, (_, i) => (i < nPositive ? 0 : 1));
  const measureBoth = (indices: Int32Array): { selected: number; random: number } => {
    const counts = { positive: new Int32Array(nPositive), negative: new Int32Array(nNegative) };
    for (const i of indices) {
      if (i < nPositive) counts.positive[i]!++;
      else counts.negative[i - nPositive]!++;
    }
    return {
      selected: average(measures.map((measure) => measure.selected(counts))),
      random: average(measures.map((measure) => measure.random(counts))),
    };
  };
  // Equal seeds give equal draws, so the second and third interval reuse what the first has measured.
  const measured: { selected: number; random: number }[] = [];
  const interval = (read: (both: { selected: number; random: number }) => number) => {
    let call = 0;
    return bootstrapInterval({
      ...bootstrap,
      nItems,
      strata,
      statistic: (indices) => {
        measured[call] ??= measureBoth(indices);
        return read(measured[call++]!);
      },
    });
  };
  return {
    selected: interval((both) => both.selected),
    random: interval((both) => both.random),
    difference: interval((both) => both.selected - both.random),
  };
}
