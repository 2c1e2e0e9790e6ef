import { ShapeError } from "@penfield/core";
import { type Eigenvalues, eigenvalues, type Matrix, matrix, thinSvd } from "@penfield/linalg";

/** A singular value decomposition in which only what is not zero by construction is kept. */
export interface FactoredSvd {
  /** Left singular vectors as columns, `[nRows, rank]`. */
  readonly u: Matrix<Float64Array>;
  /** Singular values, descending, `[rank]`. */
  readonly s: Float64Array;
  /** Right singular vectors as columns, `[nColumns, rank]`. */
  readonly v: Matrix<Float64Array>;
}

/**
 * A matrix of low rank kept as the product of its factors, as TransformerLens' `FactoredMatrix`: a
 * head's circuits are `[d_model, d_model]` and of rank d_head, so that everything asked of them costs
 * d_head / d_model of what the product would. Vectors are rows: x goes to x a b.
 *
 * @example
 * import { matrix } from "@penfield/linalg";
 * const row = (...values) => matrix(Float64Array.from(values), 1, values.length);
 * const column = (...values) => matrix(Float64Array.from(values), values.length, 1);
 * const outer = new FactoredMatrix(column(1, 2), row(3, 4));
 * outer.product().data // => [3, 4, 6, 8]
 * outer.norm().toFixed(6) // => "11.180340"
 * outer.eigenvalues().real // => [11]
 * outer.svd().s.length // => 1
 */
export class FactoredMatrix {
  /** `[nRows, rank]` */
  readonly a: Matrix<Float64Array>;
  /** `[rank, nColumns]` */
  readonly b: Matrix<Float64Array>;

  /**
   * @param a - `[nRows, rank]`; numbers are widened to float64.
   * @param b - `[rank, nColumns]`
   * @throws {ShapeError} if the inner sizes differ.
   */
  constructor(a: Matrix, b: Matrix) {
    if (a.nColumns !== b.nRows) {
      throw new ShapeError(
        `FactoredMatrix: expected equal inner sizes, got [${a.nRows}, ${a.nColumns}] times [${b.nRows}, ${b.nColumns}]`,
      );
    }
    this.a = widened(a);
    this.b = widened(b);
  }

  get nRows(): number {
    return this.a.nRows;
  }

  get nColumns(): number {
    return this.b.nColumns;
  }

  /** The inner size: the rank cannot be larger. */
  get rank(): number {
    return this.a.nColumns;
  }

  /** (a b)^T. */
  transpose(): FactoredMatrix {
    return new FactoredMatrix(transpose(this.b), transpose(this.a));
  }

  /**
   * This matrix times another one, factored again: the smaller of the two inner sizes is kept.
   *
   * @throws {ShapeError} if the sizes do not fit.
   */
  matmul(right: FactoredMatrix | Matrix): FactoredMatrix {
    if (!(right instanceof FactoredMatrix)) {
      return new FactoredMatrix(this.a, multiply(this.b, widened(right)));
    }
    const middle = multiply(this.b, right.a);
    return this.rank <= right.rank
      ? new FactoredMatrix(this.a, multiply(middle, right.b))
      : new FactoredMatrix(multiply(this.a, middle), right.b);
  }

  /** The product itself, `[nRows, nColumns]`. Cost: nRows nColumns rank multiplications. */
  product(): Matrix<Float64Array> {
    return multiply(this.a, this.b);
  }

  /**
   * The Frobenius norm, from the factors' Gram matrices:
   *
   *   ‖a b‖² = sum of (aᵀa) ∘ (b bᵀ)
   */
  norm(): number {
    const left = multiply(transpose(this.a), this.a);
    const right = multiply(this.b, transpose(this.b));
    let sum = 0;
    for (let i = 0; i < left.data.length; i++) sum += left.data[i]! * right.data[i]!;
    // What rounding leaves of nothing may be below it.
    return Math.sqrt(Math.max(0, sum));
  }

  /**
   * The singular value decomposition, a b = u diag(s) vᵀ, from those of the factors and of the small
   * matrix between them. @throws {DataError} if a value is not finite.
   */
  svd(): FactoredSvd {
    const [a, b] = [thinSvd(this.a), thinSvd(this.b)];
    // a b = ua (sa vaᵀ ub sb) vbᵀ
    const middle = multiply(transpose(a.v), b.u);
    for (let i = 0; i < middle.nRows; i++) {
      for (let j = 0; j < middle.nColumns; j++) {
        middle.data[i * middle.nColumns + j]! *= a.s[i]! * b.s[j]!;
      }
    }
    const inner = thinSvd(middle);
    return { u: multiply(a.u, inner.u), s: inner.s, v: multiply(b.v, inner.v) };
  }

  /**
   * The eigenvalues that are not zero by construction: those of b a, `[rank]`, by descending modulus.
   *
   * @throws {ShapeError} if the matrix is not square.
   * @throws {DataError} if a value is not finite.
   */
  eigenvalues(): Eigenvalues {
    if (this.nRows !== this.nColumns) {
      throw new ShapeError(
        `FactoredMatrix: expected a square matrix for eigenvalues, got ${this.nRows} x ${this.nColumns}`,
      );
    }
    return eigenvalues(multiply(this.b, this.a));
  }
}

function widened(m: Matrix): Matrix<Float64Array> {
  const { data, nRows, nColumns } = m;
  return matrix(data instanceof Float64Array ? data : Float64Array.from(data), nRows, nColumns);
}

/** A copy with rows and columns exchanged. */
export function transpose({ data, nRows, nColumns }: Matrix): Matrix<Float64Array> {
  const out = new Float64Array(data.length);
  for (let i = 0; i < nRows; i++) {
    for (let j = 0; j < nColumns; j++) out[j * nRows + i] = data[i * nColumns + j]!;
  }
  return matrix(out, nColumns, nRows);
}

/** Small products, at once; large ones are for linalg's matmul. */
function multiply(a: Matrix, b: Matrix): Matrix<Float64Array> {
  if (a.nColumns !== b.nRows) {
    throw new ShapeError(
      `FactoredMatrix: expected equal inner sizes, got [${a.nRows}, ${a.nColumns}] times [${b.nRows}, ${b.nColumns}]`,
    );
  }
  const { nRows, nColumns: inner } = a;
  const { nColumns } = b;
  const out = new Float64Array(nRows * nColumns);
  for (let i = 0; i < nRows; i++) {
    for (let k = 0; k < inner; k++) {
      const factor = a.data[i * inner + k]!;
      if (factor === 0) continue;
      for (let j = 0; j < nColumns; j++) {
        out[i * nColumns + j]! += factor * b.data[k * nColumns + j]!;
      }
    }
  }
  return matrix(out, nRows, nColumns);
}
