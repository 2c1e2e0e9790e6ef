import { EigenvalueDecomposition, Matrix as MlMatrix } from "ml-matrix";
import { checkSquareFinite, type Matrix } from "./matrix.ts";

/** Eigenvalues of a matrix that need not be symmetric: they may be complex. */
export interface Eigenvalues {
  /** Real parts, by descending modulus, `[n]`. */
  readonly real: Float64Array;
  /** Imaginary parts; conjugate pairs stand side by side, the positive one first. */
  readonly imaginary: Float64Array;
}

/**
 * The eigenvalues of any square matrix. For small matrices; for symmetric ones `symmetricEigen` is
 * faster and gives the vectors too.
 *
 * @param a - `[n, n]`, finite.
 * @throws {ShapeError} if the matrix is not square.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: O(n^3) time: about 0.1 s for 128 x 128.
 * Source: ml-matrix (Hessenberg form and shifted QR, as in EISPACK).
 *
 * @example
 * const { real, imaginary } = eigenvalues(matrix(Float64Array.of(0, -2, 2, 0), 2, 2));
 * real.map(Math.abs).join(" ") // => "0 0"
 * imaginary.join(" ") // => "2 -2"
 */
export function eigenvalues(a: Matrix): Eigenvalues {
  checkSquareFinite("eigenvalues", a);
  const n = a.nRows;
  if (n === 0) return { real: new Float64Array(0), imaginary: new Float64Array(0) };
  const found = new EigenvalueDecomposition(MlMatrix.from1DArray(n, n, a.data), {
    assumeSymmetric: false,
  });
  const [real, imaginary] = [found.realEigenvalues, found.imaginaryEigenvalues];
  const modulus = real.map((v, i) => Math.hypot(v, imaginary[i]!));
  const order = real.map((_, i) => i).sort((i, j) => modulus[j]! - modulus[i]!);
  return {
    real: Float64Array.from(order, (i) => real[i]!),
    imaginary: Float64Array.from(order, (i) => imaginary[i]!),
  };
}
