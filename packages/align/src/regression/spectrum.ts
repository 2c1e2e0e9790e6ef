import { eigenSymmetric, type Linalg, type Matrix, transpose } from "@penfield/linalg";
import { inPrecision, type Precision, scaledColumns } from "./arrays.ts";
import { columnMeans, subtractRow } from "./columns.ts";

/**
 * Units over all stimuli, X = U diag(s) V^T, so that any penalty and any targets cost only products:
 *
 *   A = Y^T U,   coefficients(alpha)^T = A diag(s / (s^2 + alpha)) V^T
 *
 * from the eigenvectors of the smaller of X^T X and X X^T. Directions whose s^2 is rounding are left out (their
 * column of U and their s are 0).
 */
export interface Spectrum {
  /** `[nStimuli, nUnits]`, centred if there is an intercept. */
  readonly x: Matrix<Float64Array>;
  readonly xMeans: Float64Array;
  /** X X^T where there are more units than stimuli, else X^T X. */
  readonly gram: Matrix<Float64Array>;
  readonly wide: boolean;
  /** [k], k = min(nStimuli, nUnits). */
  readonly s: Float64Array;
  /** V, `[nUnits, k]`, where there are not more units than stimuli; else made when asked for. */
  readonly v: () => Promise<Matrix<Float64Array>>;
  /** U, `[nStimuli, k]`, in the working precision. */
  readonly u: Matrix;
}

/** @param x - `[nStimuli, nUnits]`; centred here, in place. */
export async function spectrumOf(
  x: Matrix<Float64Array>,
  intercept: boolean,
  precision: Precision,
  linalg: Linalg,
): Promise<Spectrum> {
  const xMeans = intercept ? columnMeans(x) : new Float64Array(x.nColumns);
  if (intercept) subtractRow(x, xMeans);
  const wide = x.nColumns > x.nRows;
  const gram = await linalg.matmul(x, x, wide ? { transposeB: true } : { transposeA: true });
  const { values, vectors } = await eigenSymmetric(gram, linalg); // eigenvectors as rows
  const least = values.length * Number.EPSILON * Math.max(0, values[0] ?? 0);
  const s = values.map((value) => (value > least ? Math.sqrt(value) : 0));
  const inverse = s.map((value) => (value === 0 ? 0 : 1 / value));
  const columns = transpose(vectors);
  if (wide) {
    const kept = inverse.map((value) => (value === 0 ? 0 : 1));
    const u = scaledColumns(columns, kept);
    const v = async () => {
      const product = await linalg.matmul(x, u, { transposeA: true });
      return scaledColumns(product, inverse);
    };
    return { x, xMeans, gram, wide, s, v, u: inPrecision(u, precision) };
  }
  const scores = await linalg.matmul(x, columns);
  for (let i = 0; i < scores.data.length; i++) scores.data[i]! *= inverse[i % inverse.length]!;
  const u = inPrecision(scores, precision);
  return { x, xMeans, gram, wide, s, v: async () => columns, u };
}

/** A diag(s / (s^2 + alpha)), a penalty per row of A, in place. */
export function shrinkRows(
  { data, nRows, nColumns }: Matrix,
  s: Float64Array,
  alphas: ArrayLike<number>,
): void {
  for (let t = 0; t < nRows; t++) {
    const alpha = alphas[t]!;
    for (let j = 0; j < nColumns; j++) {
      data[t * nColumns + j]! *= s[j] === 0 ? 0 : s[j]! / (s[j]! ** 2 + alpha);
    }
  }
}
