import { type Linalg, type Matrix, symmetricEigen } from "@penfield/linalg";

/**
 * Ridge regression on one set of training stimuli, prepared so that any penalty and any targets cost
 * only products. With X = U diag(s) V^T (never formed), lambda = s^2 and k = min(n, p):
 *
 *   C = project Y,   coefficients(alpha) = expand diag(1 / (lambda + alpha)) C
 *
 *   p <= n: eigenvectors V of X^T X;   project = V^T X^T,  expand = V
 *   p >  n: eigenvectors U of X X^T;   project = U^T,      expand = X^T U
 */
export interface Spectrum {
  /** Never negative, [k]. */
  readonly lambda: Float64Array;
  /** [k, nTrain]. */
  readonly project: Matrix<Float64Array>;
  /** [p, k]; `other` stimuli times this are their scores. */
  readonly expand: (linalg: Linalg) => Promise<Matrix<Float64Array>>;
  /** Scores of other stimuli, [nOther, k], so that predictions are scores diag(1 / (lambda + alpha)) C. */
  readonly scoresOf: (other: Matrix<Float64Array>) => Promise<Matrix<Float64Array>>;
}

/** @param x - `[nTrain, p]`, already centred if there is an intercept. */
export async function spectrumOf(x: Matrix<Float64Array>, linalg: Linalg): Promise<Spectrum> {
  const wide = x.nColumns > x.nRows;
  const gram = await linalg.matmul(x, x, wide ? { transposeB: true } : { transposeA: true });
  const { values, vectors } = symmetricEigen(gram); // eigenvectors as rows
  // Rounding may leave an eigenvalue that is zero a little below it.
  const lambda = values.map((value) => Math.max(0, value));
  if (wide) {
    return {
      lambda,
      project: vectors,
      expand: () => linalg.matmul(x, vectors, { transposeA: true, transposeB: true }),
      scoresOf: async (other) =>
        linalg.matmul(await linalg.matmul(other, x, { transposeB: true }), vectors, {
          transposeB: true,
        }),
    };
  }
  return {
    lambda,
    project: await linalg.matmul(vectors, x, { transposeB: true }),
    expand: async () => transposed(vectors),
    scoresOf: (other) => linalg.matmul(other, vectors, { transposeB: true }),
  };
}

function transposed({ data, nRows, nColumns }: Matrix<Float64Array>): Matrix<Float64Array> {
  const out = new Float64Array(data.length);
  for (let i = 0; i < nRows; i++) {
    for (let j = 0; j < nColumns; j++) out[j * nRows + i] = data[i * nColumns + j]!;
  }
  return { data: out, nRows: nColumns, nColumns: nRows };
}
