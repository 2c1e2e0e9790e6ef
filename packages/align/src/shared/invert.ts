import { DataError } from "@penfield/core";
import { choleskySolve, type Matrix, matrix, symmetricEigen } from "@penfield/linalg";

/** The inverse of a small symmetric positive definite matrix, and the logarithm of its determinant. */
export function invertSymmetric(
  name: string,
  a: Matrix<Float64Array>,
): { readonly inverse: Matrix<Float64Array>; readonly logDeterminant: number } {
  const n = a.nRows;
  const identity = matrix(
    Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0)),
    n,
    n,
  );
  const { values } = symmetricEigen(a, { vectors: false });
  if (!(values[n - 1]! > 0)) {
    throw new DataError(
      `${name}: expected a shared response of full rank, got ${values.filter((v) => v > 0).length} of ${n} dimensions`,
      { hint: "Ask for fewer features." },
    );
  }
  return {
    inverse: choleskySolve(a, identity),
    logDeterminant: values.reduce((sum, value) => sum + Math.log(value), 0),
  };
}
