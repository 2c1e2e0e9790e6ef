export { cholesky, solveTriangular } from "./cholesky.ts";
export { choleskySolve } from "./choleskySolve.ts";
export { eigenSymmetric } from "./eigenSymmetric.ts";
export { type Eigenvalues, eigenvalues } from "./eigenvalues.ts";
export {
  createLinalg,
  type GraphArray,
  type LapackChoice,
  type Linalg,
  type MatmulOptions,
  type MatrixBatch,
  type ProductOptions,
} from "./linalg.ts";
export { type Matrix, matrix, matrixOf, transpose } from "./matrix.ts";
export type { Lapack } from "./openblas.ts";
export { type AlignedCross, alignedCross, polarFactor, polarFactors } from "./polarFactor.ts";
export { type Qr, qr } from "./qr.ts";
export { nuclearNorm, singularValues, svd } from "./svd.ts";
export { type SymmetricEigen, symmetricEigen } from "./symmetricEigen.ts";
export { type ThinSvd, thinSvd } from "./thinSvd.ts";
