export { choleskySolve } from "./choleskySolve.ts";
export { type Eigenvalues, eigenvalues } from "./eigenvalues.ts";
export { createLinalg, type Linalg, type MatmulOptions } from "./linalg.ts";
export { type Matrix, matrix, matrixOf } from "./matrix.ts";
export { type SymmetricEigen, symmetricEigen } from "./symmetricEigen.ts";
export { type ThinSvd, thinSvd } from "./thinSvd.ts";
