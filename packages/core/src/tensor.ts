import { ShapeError } from "./errors.ts";

/** The number arrays that a tensor may hold: float32 for what a model gives, float64 for statistics. */
export type FloatArray = Float32Array | Float64Array;

/**
 * A dense row-major array whose axes have names, so that passing `["unit", "stimulus"]` where
 * `["stimulus", "unit"]` is wanted does not compile.
 */
export interface Tensor<Axes extends readonly string[] = readonly string[]> {
  readonly data: FloatArray;
  readonly axes: Axes;
  readonly shape: { readonly [K in keyof Axes]: number };
}

/** Values of units for stimuli, `[nStimuli, nUnits]`. */
export type Activations = Tensor<readonly ["stimulus", "unit"]>;

/**
 * Names the axes of an array. No copy: the tensor holds `data` itself.
 *
 * @param data - Values, row-major (last axis fastest).
 * @param axes - One name per axis.
 * @param shape - One size per axis; their product must be `data.length`.
 * @throws {ShapeError} if the sizes do not multiply to the number of values, are no whole numbers, or an axis has none.
 *
 * @example
 * tensor(new Float32Array(6), ["stimulus", "unit"], [2, 3]).shape[1] // => 3
 */
export function tensor<const Axes extends readonly string[]>(
  data: FloatArray,
  axes: Axes,
  shape: { readonly [K in keyof Axes]: number },
): Tensor<Axes> {
  const sizes = shape as readonly number[];
  const product = sizes.reduce((a, b) => a * b, 1);
  const whole = sizes.every((size) => Number.isSafeInteger(size) && size >= 0);
  if (!whole || sizes.length !== axes.length || product !== data.length) {
    throw new ShapeError(
      `tensor: expected ${axes.length} sizes (${axes.join(", ")}) that multiply to ${data.length}, got [${sizes.join(", ")}]`,
    );
  }
  return { data, axes, shape };
}

/**
 * Activations from rows of plain numbers, for small data and examples.
 *
 * @param rows - `[nStimuli][nUnits]`, all of the same length.
 * @returns A float64 copy, `[nStimuli, nUnits]`.
 * @throws {ShapeError} if the rows differ in length.
 *
 * @example
 * activations([[1, 2], [3, 4], [5, 6]]).shape[0] // => 3
 */
export function activations(rows: readonly (readonly number[])[]): Activations {
  const nUnits = rows[0]?.length ?? 0;
  const ragged = rows.findIndex((row) => row.length !== nUnits);
  if (ragged >= 0) {
    throw new ShapeError(
      `activations: expected rows of ${nUnits} values, got ${rows[ragged]!.length} in row ${ragged}`,
    );
  }
  return tensor(Float64Array.from(rows.flat()), ["stimulus", "unit"], [rows.length, nUnits]);
}

/**
 * The rows of a matrix named by their indices, in that order. Copy.
 *
 * @example
 * takeRows(activations([[1, 2], [3, 4], [5, 6]]), [2, 0]).data[0] // => 5
 */
export function takeRows<const Axes extends readonly [string, string]>(
  x: Tensor<Axes>,
  rows: ArrayLike<number>,
): Tensor<Axes> {
  const [nRows, nColumns] = x.shape as unknown as [number, number];
  const out =
    x.data instanceof Float32Array
      ? new Float32Array(rows.length * nColumns)
      : new Float64Array(rows.length * nColumns);
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!;
    if (!(Number.isInteger(row) && row >= 0 && row < nRows)) {
      throw new ShapeError(`takeRows: expected rows within 0..${nRows - 1}, got ${row}`);
    }
    out.set(x.data.subarray(row * nColumns, (row + 1) * nColumns), i * nColumns);
  }
  return {
    data: out,
    axes: x.axes,
    shape: [rows.length, nColumns] as unknown as { readonly [K in keyof Axes]: number },
  };
}

/**
 * The columns of a matrix named by their indices, in that order. Copy.
 *
 * @example
 * takeColumns(activations([[1, 2, 3], [4, 5, 6]]), [2, 0]).data[0] // => 3
 */
export function takeColumns<const Axes extends readonly [string, string]>(
  x: Tensor<Axes>,
  columns: ArrayLike<number>,
): Tensor<Axes> {
  const [nRows, nColumns] = x.shape as unknown as [number, number];
  const nTaken = columns.length;
  for (let j = 0; j < nTaken; j++) {
    const column = columns[j]!;
    if (!(Number.isInteger(column) && column >= 0 && column < nColumns)) {
      throw new ShapeError(
        `takeColumns: expected columns within 0..${nColumns - 1}, got ${column}`,
      );
    }
  }
  const out =
    x.data instanceof Float32Array
      ? new Float32Array(nRows * nTaken)
      : new Float64Array(nRows * nTaken);
  for (let i = 0; i < nRows; i++) {
    for (let j = 0; j < nTaken; j++) {
      out[i * nTaken + j] = x.data[i * nColumns + columns[j]!]!;
    }
  }
  return {
    data: out,
    axes: x.axes,
    shape: [nRows, nTaken] as unknown as { readonly [K in keyof Axes]: number },
  };
}
