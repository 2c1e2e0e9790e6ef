import type { FloatArray } from "@penfield/core";
import type { Matrix } from "@penfield/linalg";

/** The number type that products are computed in. */
export type Precision = "float32" | "float64";

export const floats = (precision: Precision, length: number): FloatArray =>
  precision === "float32" ? new Float32Array(length) : new Float64Array(length);

/** The same numbers in a type; no copy if it is theirs. */
export function inPrecision({ data, nRows, nColumns }: Matrix, precision: Precision): Matrix {
  if (data instanceof Float32Array === (precision === "float32")) return { data, nRows, nColumns };
  const own = precision === "float32" ? Float32Array.from(data) : Float64Array.from(data);
  return { data: own, nRows, nColumns };
}

export const rowsOf = (n: number): Int32Array => Int32Array.from({ length: n }, (_, i) => i);

export const columnsOf = (from: number, to: number): Int32Array =>
  Int32Array.from({ length: to - from }, (_, i) => from + i);

/** Whether rows follow each other without a gap. */
const isRun = (rows: Int32Array): boolean =>
  rows.every((row, i) => i === 0 || row === rows[i - 1]! + 1);

/** Some rows; a view where they follow each other. */
export function pickRows<Data extends FloatArray>(
  { data, nColumns }: Matrix<Data>,
  rows: Int32Array,
): Matrix<Data> {
  const nRows = rows.length;
  if (nRows > 0 && isRun(rows)) {
    const view = data.subarray(rows[0]! * nColumns, (rows[0]! + nRows) * nColumns) as Data;
    return { data: view, nRows, nColumns };
  }
  const out = emptyLike(data, nRows * nColumns);
  for (let i = 0; i < nRows; i++) {
    out.set(data.subarray(rows[i]! * nColumns, (rows[i]! + 1) * nColumns), i * nColumns);
  }
  return { data: out, nRows, nColumns };
}

/** Some columns, copied. */
export function pickColumns<Data extends FloatArray>(
  { data, nRows, nColumns }: Matrix<Data>,
  columns: Int32Array,
): Matrix<Data> {
  const width = columns.length;
  const out = emptyLike(data, nRows * width);
  const run = isRun(columns);
  for (let i = 0; i < nRows; i++) {
    const at = i * nColumns;
    if (run && width > 0) {
      out.set(data.subarray(at + columns[0]!, at + columns[0]! + width), i * width);
    } else {
      for (let j = 0; j < width; j++) out[i * width + j] = data[at + columns[j]!]!;
    }
  }
  return { data: out, nRows, nColumns: width };
}

export function emptyLike<Data extends FloatArray>(data: Data, length: number): Data {
  return (
    data instanceof Float32Array ? new Float32Array(length) : new Float64Array(length)
  ) as Data;
}

/** Columns times factors, copied. */
export function scaledColumns(
  { data, nRows, nColumns }: Matrix,
  factors: Float64Array,
): Matrix<Float64Array> {
  const out = new Float64Array(data.length);
  for (let i = 0; i < nRows; i++) {
    for (let j = 0; j < nColumns; j++)
      out[i * nColumns + j] = data[i * nColumns + j]! * factors[j]!;
  }
  return { data: out, nRows, nColumns };
}
