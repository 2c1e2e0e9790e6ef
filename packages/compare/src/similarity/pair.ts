import { type Activations, ArgumentError, DataError, ShapeError } from "@penfield/core";
import type { Matrix } from "@penfield/linalg";

/** A row-major float64 matrix. */
export type Dense = Matrix<Float64Array>;

/** Two representations of the same stimuli, checked. */
export interface Pair {
  /** `[n, p]`. */
  readonly x: Dense;
  /** `[n, q]`. */
  readonly y: Dense;
  /** How many stimuli. */
  readonly n: number;
}

/**
 * Checks two matrices of activations and takes them as float64: the same stimuli, at least
 * `minStimuli` of them, at least one unit each, finite values.
 */
export function pairOf(name: string, x: Activations, y: Activations, minStimuli = 2): Pair {
  checkSameStimuli(name, x, y);
  return { x: dense(name, x, minStimuli), y: dense(name, y, minStimuli), n: x.shape[0] };
}

/** Refuses unequal numbers of rows. */
export function checkSameStimuli(name: string, x: Activations, y: Activations): void {
  const [n, m] = [x.shape[0], y.shape[0]];
  if (n === m) return;
  throw new ShapeError(`${name}: expected the same stimuli in both, got ${n} and ${m} rows`, {
    hint: "Rows are matched by position: bring both to the same stimuli in the same order.",
  });
}

/** One matrix of activations, checked, as float64. No copy if it is float64 already. */
export function dense(name: string, x: Activations, minStimuli = 2): Dense {
  const [nRows, nColumns] = x.shape;
  if (nRows < minStimuli || nColumns < 1) {
    throw new ShapeError(
      `${name}: expected at least ${minStimuli} stimuli and 1 unit, got ${nRows} x ${nColumns}`,
    );
  }
  const at = firstNotFinite(x.data);
  if (at >= 0) {
    throw new DataError(
      `${name}: expected finite values, got ${x.data[at]} at stimulus ${Math.floor(at / nColumns)}, unit ${at % nColumns}`,
      { hint: "Leave out the stimuli or units that have no value." },
    );
  }
  const data = x.data instanceof Float64Array ? x.data : Float64Array.from(x.data);
  return { data, nRows, nColumns };
}

/** Where the first value is that is no number; -1 if there is none. */
function firstNotFinite(data: ArrayLike<number>): number {
  for (let i = 0; i < data.length; i++) if (!Number.isFinite(data[i])) return i;
  return -1;
}

/** The means of the columns, in two passes. */
export function columnMeans({ data, nRows, nColumns }: Dense): Float64Array {
  const means = new Float64Array(nColumns);
  for (let pass = 0; pass < 2; pass++) {
    const rest = new Float64Array(nColumns);
    for (let i = 0; i < nRows; i++) {
      for (let j = 0; j < nColumns; j++) rest[j]! += data[i * nColumns + j]! - means[j]!;
    }
    for (let j = 0; j < nColumns; j++) means[j]! += rest[j]! / nRows;
  }
  return means;
}

/** Every unit minus its mean over stimuli. Copy. */
export function centred(x: Dense, means: Float64Array = columnMeans(x)): Dense {
  const { data, nRows, nColumns } = x;
  const out = new Float64Array(data.length);
  for (let i = 0; i < nRows; i++) {
    for (let j = 0; j < nColumns; j++) {
      out[i * nColumns + j] = data[i * nColumns + j]! - means[j]!;
    }
  }
  return { data: out, nRows, nColumns };
}

/** The sum of products of entries. */
export function inner(a: Float64Array, b: Float64Array): number {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let i = 0;
  for (; i + 3 < a.length; i += 4) {
    s0 += a[i]! * b[i]!;
    s1 += a[i + 1]! * b[i + 1]!;
    s2 += a[i + 2]! * b[i + 2]!;
    s3 += a[i + 3]! * b[i + 3]!;
  }
  for (; i < a.length; i++) s0 += a[i]! * b[i]!;
  return s0 + s1 + (s2 + s3);
}

/** The root of the sum of squares. */
export function norm(a: Float64Array): number {
  let largest = 0;
  for (const value of a) largest = Math.max(largest, Math.abs(value));
  if (largest > 1e-140 && largest < 1e140) return Math.sqrt(inner(a, a));
  if (largest === 0) return 0;
  return largest * norm(a.map((value) => value / largest));
}

/** Columns of zeros added on the right. The same matrix if there are enough already. */
export function padded(x: Dense, nColumns: number): Dense {
  if (x.nColumns >= nColumns) return x;
  const data = new Float64Array(x.nRows * nColumns);
  for (let i = 0; i < x.nRows; i++) {
    data.set(x.data.subarray(i * x.nColumns, (i + 1) * x.nColumns), i * nColumns);
  }
  return { data, nRows: x.nRows, nColumns };
}

/** Refuses what is no whole number within limits. */
export function checkWhole(
  name: string,
  option: string,
  value: number,
  least: number,
  most: number = Number.MAX_SAFE_INTEGER,
): void {
  if (!Number.isInteger(value) || value < least || value > most) {
    const limit = most === Number.MAX_SAFE_INTEGER ? `at least ${least}` : `${least} to ${most}`;
    throw new ArgumentError(
      `${name}: expected ${option} to be a whole number, ${limit}, got ${value}`,
    );
  }
}

/** Refuses names outside a list. */
export function checkOneOf<T extends string>(
  name: string,
  option: string,
  value: T,
  allowed: readonly T[],
): void {
  if (!allowed.includes(value)) {
    throw new ArgumentError(
      `${name}: expected ${option} to be one of ${allowed.join(", ")}, got ${value}`,
    );
  }
}

/** Squared Euclidean distances between all rows, `[n, n]`, from a Gram matrix of centred rows. */
export function squaredDistancesFromGram(gram: Dense): Float64Array {
  const n = gram.nRows;
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      if (i === j) continue;
      const square = gram.data[i * n + i]! + gram.data[j * n + j]! - 2 * gram.data[i * n + j]!;
      out[i * n + j] = Math.max(0, square);
    }
  }
  return out;
}
