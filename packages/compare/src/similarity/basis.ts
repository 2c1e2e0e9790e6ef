import { type Linalg, svd } from "@penfield/linalg";
import { centred, type Dense } from "./pair.ts";

/** An orthonormal basis of what the columns of a matrix span. */
export interface Basis {
  /** `[n, rank]`, orthonormal columns, by descending singular value. */
  readonly u: Dense;
  /** `[rank]`. */
  readonly s: Float64Array;
  readonly rank: number;
  /** The largest singular value, also if the rank is 0. */
  readonly largest: number;
}

/** The left singular vectors of the values that are more than rounding (numpy's `matrix_rank` rule). */
export async function basisOf(linalg: Linalg, x: Dense): Promise<Basis> {
  const { u, s } = await svd(x, linalg);
  const largest = s[0]!;
  const least = largest * Math.max(x.nRows, x.nColumns) * Number.EPSILON;
  let rank = 0;
  while (rank < s.length && s[rank]! > least) rank++;
  return { u: firstColumns(u, rank), s: s.slice(0, rank), rank, largest };
}

/**
 * The basis of the columns after centring. Centring leaves rounding where units are constant, which is
 * told apart from values by the size of the values themselves.
 */
export async function centredBasis(linalg: Linalg, x: Dense): Promise<Basis> {
  const basis = await basisOf(linalg, centred(x));
  let size = 0;
  for (const value of x.data) size = Math.max(size, Math.abs(value));
  const least = size * Math.sqrt(x.nRows) * 8 * Number.EPSILON;
  let rank = 0;
  while (rank < basis.rank && basis.s[rank]! > least) rank++;
  return { ...basis, u: firstColumns(basis.u, rank), s: basis.s.slice(0, rank), rank };
}

export function firstColumns({ data, nRows, nColumns }: Dense, k: number): Dense {
  if (k === nColumns) return { data, nRows, nColumns };
  const out = new Float64Array(nRows * k);
  for (let i = 0; i < nRows; i++) {
    out.set(data.subarray(i * nColumns, i * nColumns + k), i * k);
  }
  return { data: out, nRows, nColumns: k };
}
