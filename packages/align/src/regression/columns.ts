import { DataError, type FloatArray, type Tensor } from "@penfield/core";
import { type Matrix, matrix } from "@penfield/linalg";

/** Some rows and a range of columns, as float64. Copy. */
export function block(
  { data, shape }: Tensor<readonly [string, string]>,
  rows: ArrayLike<number>,
  from = 0,
  to: number = shape[1],
): Matrix<Float64Array> {
  const width = to - from;
  const out = new Float64Array(rows.length * width);
  for (let i = 0; i < rows.length; i++) {
    const start = rows[i]! * shape[1];
    out.set(data.subarray(start + from, start + to), i * width);
  }
  return matrix(out, rows.length, width);
}

export function columnMeans({ data, nRows, nColumns }: Matrix): Float64Array {
  const means = new Float64Array(nColumns);
  for (let i = 0; i < nRows; i++) {
    for (let j = 0; j < nColumns; j++) means[j]! += data[i * nColumns + j]!;
  }
  return means.map((sum) => sum / nRows);
}

/** Takes a row away from every row, in place. */
export function subtractRow(
  { data, nRows, nColumns }: Matrix<Float64Array>,
  row: ArrayLike<number>,
): void {
  for (let i = 0; i < nRows; i++) {
    for (let j = 0; j < nColumns; j++) data[i * nColumns + j]! -= row[j]!;
  }
}

export function checkFinite(name: string, what: string, data: FloatArray, nColumns: number): void {
  let bad = 0;
  let first = -1;
  for (let i = 0; i < data.length; i++) {
    if (Number.isFinite(data[i])) continue;
    if (bad++ === 0) first = i;
  }
  if (bad > 0) {
    throw new DataError(
      `${name}: expected finite ${what}, got ${bad} that are not, first ${data[first]} in row ${Math.floor(first / nColumns)}, column ${first % nColumns}`,
    );
  }
}
