import { DataError, type FloatArray, ShapeError, type Tensor } from "@penfield/core";

/** A dense row-major matrix without axis names, for algebra. */
export interface Matrix<Data extends FloatArray = FloatArray> {
  readonly data: Data;
  readonly nRows: number;
  readonly nColumns: number;
}

/**
 * A matrix over an array. No copy.
 *
 * @throws {ShapeError} if the sizes do not multiply to the number of values.
 *
 * @example
 * matrix(Float64Array.of(1, 2, 3, 4, 5, 6), 2, 3).nColumns // => 3
 */
export function matrix<Data extends FloatArray>(
  data: Data,
  nRows: number,
  nColumns: number,
): Matrix<Data> {
  if (
    !Number.isInteger(nRows) ||
    !Number.isInteger(nColumns) ||
    nRows < 0 ||
    nColumns < 0 ||
    nRows * nColumns !== data.length
  ) {
    throw new ShapeError(
      `matrix: expected sizes that multiply to ${data.length}, got ${nRows} x ${nColumns}`,
    );
  }
  return { data, nRows, nColumns };
}

/**
 * A tensor with two axes as a matrix. No copy.
 *
 * @example
 * matrixOf(activations([[1, 2], [3, 4], [5, 6]])).nRows // => 3
 */
export function matrixOf(tensor: Tensor<readonly [string, string]>): Matrix {
  return matrix(tensor.data, tensor.shape[0], tensor.shape[1]);
}

/**
 * Rows as columns. Copy, float64.
 *
 * @example
 * transpose(matrix(Float64Array.of(1, 2, 3, 4, 5, 6), 2, 3)).data.join(" ") // => "1 4 2 5 3 6"
 */
export function transpose(a: Matrix): Matrix<Float64Array> {
  const { nRows, nColumns } = a;
  const data = new Float64Array(a.data.length);
  for (let i = 0; i < nRows; i++) {
    for (let j = 0; j < nColumns; j++) data[j * nRows + i] = a.data[i * nColumns + j]!;
  }
  return { data, nRows: nColumns, nColumns: nRows };
}

/** The values as float64; the same array if they are already. */
export function asFloat64(data: FloatArray): Float64Array {
  return data instanceof Float64Array ? data : Float64Array.from(data);
}

/** Refuses matrices that an algorithm would not come to an end on. */
export function checkSquareFinite(name: string, { data, nRows, nColumns }: Matrix): void {
  if (nRows !== nColumns) {
    throw new ShapeError(`${name}: expected a square matrix, got ${nRows} x ${nColumns}`);
  }
  checkFinite(name, data, nColumns);
}

export function checkFinite(name: string, data: FloatArray, nColumns: number): void {
  const at = firstNotFinite(data);
  if (at >= 0) {
    throw new DataError(
      `${name}: expected finite values, got ${data[at]} in row ${Math.floor(at / nColumns)}, column ${at % nColumns}`,
    );
  }
}

/** A plain loop: a callback per value would cost as much as a decomposition of the smallest matrices. */
function firstNotFinite(data: FloatArray): number {
  for (let i = 0; i < data.length; i++) if (!Number.isFinite(data[i])) return i;
  return -1;
}
