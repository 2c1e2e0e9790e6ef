import {
  type Activations,
  ArgumentError,
  DataError,
  type FloatArray,
  ShapeError,
} from "@penfield/core";
import { type Matrix, matrix } from "@penfield/linalg";
import type { Label } from "./rdms.ts";

/** Which observations belong together. */
export interface Groups {
  /** Each label once, ascending: numbers by size, before strings by code unit (as numpy sorts each). */
  readonly labels: readonly Label[];
  /** Which label an observation has, `[nObservations]`. */
  readonly index: Int32Array;
  /** How many observations have it, `[nLabels]`. */
  readonly counts: Int32Array;
}

const ascending = (a: Label, b: Label): number => {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a === "number") return -1;
  if (typeof b === "number") return 1;
  return a < b ? -1 : a > b ? 1 : 0;
};

/** Observations by label; each on its own if there are no labels. */
export function groupsOf(
  name: string,
  what: string,
  labels: ArrayLike<Label> | undefined,
  n: number,
): Groups {
  if (labels === undefined) {
    const index = Int32Array.from({ length: n }, (_, i) => i);
    return { labels: Array.from(index), index, counts: new Int32Array(n).fill(1) };
  }
  if (labels.length !== n) {
    throw new ShapeError(
      `${name}: expected a label of ${what} for each of ${n} observations, got ${labels.length}`,
    );
  }
  const sorted = [...new Set(Array.from(labels))].sort(ascending);
  const place = new Map(sorted.map((label, i) => [label, i]));
  const index = Int32Array.from({ length: n }, (_, i) => place.get(labels[i]!)!);
  const counts = new Int32Array(sorted.length);
  for (const i of index) counts[i]!++;
  return { labels: sorted, index, counts };
}

/** The sum over the observations of each group, `[nGroups, nChannels]`, in float64. */
function groupSums(x: Activations, groups: Groups): Float64Array {
  const [n, p] = x.shape;
  const sums = new Float64Array(groups.labels.length * p);
  for (let i = 0; i < n; i++) {
    const at = groups.index[i]! * p;
    for (let j = 0; j < p; j++) sums[at + j]! += x.data[i * p + j]!;
  }
  return sums;
}

/** Is every observation the one of its group, in their order? */
export const isUngrouped = ({ labels, index }: Groups): boolean =>
  labels.length === index.length && index.every((label, i) => label === i);

/** The mean of each group, `[nGroups, nChannels]`, in float64. */
export function groupMeans(x: Activations, groups: Groups): Matrix<Float64Array> {
  const p = x.shape[1];
  const means = groupSums(x, groups);
  groups.counts.forEach((count, c) => {
    for (let j = 0; j < p; j++) means[c * p + j]! /= count;
  });
  return matrix(means, groups.labels.length, p);
}

/** Takes each row's mean off, in place; a row that does not vary becomes exact zeros. */
export function centreRows({ data, nRows, nColumns }: Matrix<Float64Array>): void {
  for (let i = 0; i < nRows; i++) {
    const row = data.subarray(i * nColumns, (i + 1) * nColumns);
    const first = row[0]!;
    let rest = 0;
    for (let j = 0; j < nColumns; j++) rest += row[j]! - first;
    const mean = first + rest / nColumns;
    for (let j = 0; j < nColumns; j++) row[j]! -= mean;
  }
}

/** Takes each column's mean off, in place: distances stay, and products lose no digits to a common offset. */
export function centreColumns({ data, nRows, nColumns }: Matrix<Float64Array>): void {
  const means = new Float64Array(nColumns);
  for (let i = 0; i < nRows; i++) {
    for (let j = 0; j < nColumns; j++) means[j]! += data[i * nColumns + j]!;
  }
  for (let j = 0; j < nColumns; j++) means[j]! /= nRows;
  for (let i = 0; i < nRows; i++) {
    for (let j = 0; j < nColumns; j++) data[i * nColumns + j]! -= means[j]!;
  }
}

/** Throws unless there are observations and channels, all finite. */
export function checkObservations(name: string, x: Activations, finite = true): void {
  const [n, p] = x.shape;
  if (n < 1 || p < 1) {
    throw new ShapeError(`${name}: expected observations and channels, got ${n} x ${p}`);
  }
  if (!finite) return;
  const at = firstNotFinite(x.data);
  if (at >= 0) {
    throw new DataError(
      `${name}: expected finite values, got ${x.data[at]} at observation ${Math.floor(at / p)}, channel ${at % p}`,
      { hint: "unbalancedRdm leaves missing values out, pair by pair." },
    );
  }
}

/** A plain loop: a call per value would take as long as some of the work. */
function firstNotFinite(data: FloatArray): number {
  // What is not finite leaves NaN of its difference with itself, and sums keep it.
  const size = 4096;
  for (let from = 0; from < data.length; from += size) {
    const to = Math.min(data.length, from + size);
    let sum = 0;
    for (let i = from; i < to; i++) sum += data[i]! - data[i]!;
    if (sum !== 0) {
      for (let i = from; i < to; i++) if (!Number.isFinite(data[i])) return i;
    }
  }
  return -1;
}

/** Throws unless there are at least `least` conditions. */
export function checkConditions(name: string, n: number, least = 2): void {
  if (n < least) {
    throw new DataError(`${name}: expected at least ${least} conditions, got ${n}`);
  }
}

/** Throws unless a matrix is [p, p]. */
export function checkChannels(name: string, what: string, a: Matrix, p: number): void {
  if (a.nRows !== p || a.nColumns !== p) {
    throw new ShapeError(
      `${name}: expected ${what} of ${p} x ${p} channels, got ${a.nRows} x ${a.nColumns}`,
    );
  }
}

/** Throws unless a prior is above 0. */
export function checkPrior(name: string, what: string, value: number): void {
  if (!(value > 0 && Number.isFinite(value))) {
    throw new ArgumentError(`${name}: expected ${what} above 0, got ${value}`);
  }
}
