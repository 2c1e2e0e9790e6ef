import type { FloatArray } from "@penfield/core";
import type { Matrix } from "@penfield/linalg";
import { floats, type Precision } from "./arrays.ts";

/** Some targets with their stimuli in a row, so that what is summed over stimuli lies together. */
export interface TargetBatch {
  /** `[nBatch, nStimuli]`, less the means. */
  readonly turned: Matrix;
  /** Over all stimuli; zeros without an intercept, [nBatch]. */
  readonly means: Float64Array;
}

/** Rows read at a time while turning: one line of the processor's cache in the output. */
const TILE = 16;

/** Some columns of responses `[nStimuli, nTargets]`, centred if there is an intercept. */
export function targetBatch(
  { data, nRows, nColumns }: Matrix,
  columns: Int32Array,
  intercept: boolean,
  precision: Precision,
): TargetBatch {
  const width = columns.length;
  const means = new Float64Array(width);
  if (intercept) {
    for (let i = 0; i < nRows; i++) {
      const at = i * nColumns;
      for (let t = 0; t < width; t++) means[t]! += data[at + columns[t]!]!;
    }
    for (let t = 0; t < width; t++) means[t]! /= nRows;
  }
  const turned = floats(precision, width * nRows);
  for (let top = 0; top < nRows; top += TILE) {
    const end = Math.min(nRows, top + TILE);
    for (let t = 0; t < width; t++) {
      const mean = means[t]!;
      const out = t * nRows;
      const column = columns[t]!;
      for (let i = top; i < end; i++) turned[out + i] = data[i * nColumns + column]! - mean;
    }
  }
  return { turned: { data: turned, nRows: width, nColumns: nRows }, means };
}

/** The mean of each row over some of its columns. */
export function meansOver({ data, nRows, nColumns }: Matrix, columns: Int32Array): Float64Array {
  const out = new Float64Array(nRows);
  for (let t = 0; t < nRows; t++) {
    let sum = 0;
    const at = t * nColumns;
    for (let c = 0; c < columns.length; c++) sum += data[at + columns[c]!]!;
    out[t] = sum / columns.length;
  }
  return out;
}

/** Takes a number away from each row, in place. */
export function subtractFromRows(
  { data, nRows, nColumns }: { data: FloatArray; nRows: number; nColumns: number },
  numbers: Float64Array,
): void {
  for (let t = 0; t < nRows; t++) {
    const number = numbers[t]!;
    if (number === 0) continue;
    for (let c = t * nColumns; c < (t + 1) * nColumns; c++) data[c]! -= number;
  }
}

/** Rows `[nRows, nColumns]` as columns of a wider array, from one of its columns on. */
export function turnInto(
  out: FloatArray,
  width: number,
  from: number,
  { data, nRows, nColumns }: Matrix,
  add?: Float64Array,
): void {
  for (let left = 0; left < nColumns; left += TILE) {
    const end = Math.min(nColumns, left + TILE);
    for (let t = 0; t < nRows; t++) {
      const extra = add?.[t] ?? 0;
      for (let c = left; c < end; c++) out[c * width + from + t] = data[t * nColumns + c]! + extra;
    }
  }
}
