import type { FloatArray } from "@penfield/core";

/** A matrix by rows. */
interface Rows<Data extends FloatArray = FloatArray> {
  readonly data: Data;
  readonly nRows: number;
  readonly nColumns: number;
}

/**
 * What the regressions need of a `Linalg` of @penfield/linalg: give one for whole brains, where its products are many
 * times faster than the loops that serve without it.
 */
export interface MatrixProducts {
  matmul(
    a: Rows<Float64Array>,
    b: Rows,
    options?: { readonly transposeA?: boolean },
  ): Promise<{ readonly data: FloatArray }>;
}

/** Columns of equal length whose span is all that matters. */
export interface Basis {
  /** Orthonormal, each [n]. */
  readonly columns: readonly Float64Array[];
  /** Which of the given columns were not combinations of those before them. */
  readonly kept: readonly number[];
  /**
   * The given kept columns from the orthonormal ones: given_j = sum_k r[j][k] columns_k, lower triangular by rows.
   */
  readonly r: readonly (readonly number[])[];
}

/** A column is dependent if less than this share of its length is left when those before it are taken out. */
const DEPENDENT = 1e-9;

/**
 * Gram-Schmidt, each column twice ("twice is enough": Giraud et al. 2005), dependent columns left out.
 */
export function orthonormalBasis(given: readonly Float64Array[]): Basis {
  const columns: Float64Array[] = [];
  const kept: number[] = [];
  const r: number[][] = [];
  given.forEach((values, j) => {
    const rest = values.slice();
    const before = norm(rest);
    const weights = new Array<number>(columns.length).fill(0);
    for (let pass = 0; pass < 2; pass++) {
      columns.forEach((column, k) => {
        const weight = dot(column, rest);
        weights[k]! += weight;
        for (let i = 0; i < rest.length; i++) rest[i]! -= weight * column[i]!;
      });
    }
    const left = norm(rest);
    if (!(left > DEPENDENT * before)) return;
    for (let i = 0; i < rest.length; i++) rest[i]! /= left;
    columns.push(rest);
    kept.push(j);
    r.push([...weights, left]);
  });
  return { columns, kept, r };
}

export function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/** Scaled first, so that squares of tiny or huge values neither vanish nor overflow. */
function norm(values: Float64Array): number {
  const scale = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  if (scale === 0) return 0;
  return scale * Math.sqrt(values.reduce((sum, value) => sum + (value / scale) ** 2, 0));
}

/** What is left of columns when their part within a basis is taken away. Copies. */
export function residuals(
  columns: readonly Float64Array[],
  basis: readonly Float64Array[],
): Float64Array[] {
  return columns.map((values) => {
    const rest = values.slice();
    for (const column of basis) {
      const weight = dot(column, rest);
      for (let i = 0; i < rest.length; i++) rest[i]! -= weight * column[i]!;
    }
    return rest;
  });
}

/** Targets taken at once, so that a tile of sums stays in the processor's cache. */
const TILE = 512;

/** columns^T y for y `[n, nTargets]` by rows: `[nColumns, nTargets]`, float64. */
export async function crossProducts(
  columns: readonly Float64Array[],
  y: FloatArray,
  nTargets: number,
  products: MatrixProducts | undefined,
): Promise<Float64Array> {
  const n = y.length / nTargets;
  if (products !== undefined && columns.length > 0) {
    const { data } = await products.matmul(
      { data: stacked(columns), nRows: columns.length, nColumns: n },
      { data: Float64Array.from(y), nRows: n, nColumns: nTargets },
    );
    return Float64Array.from(data);
  }
  const out = new Float64Array(columns.length * nTargets);
  for (let from = 0; from < nTargets; from += TILE) {
    const to = Math.min(nTargets, from + TILE);
    for (let i = 0; i < n; i++) {
      for (let k = 0; k < columns.length; k++) {
        const weight = columns[k]![i]!;
        if (weight === 0) continue;
        for (let t = from; t < to; t++) out[k * nTargets + t]! += weight * y[i * nTargets + t]!;
      }
    }
  }
  return out;
}

/** y - columns weights, for weights `[nColumns, nTargets]`; float64. */
export async function withoutFit(
  columns: readonly Float64Array[],
  weights: Float64Array,
  y: FloatArray,
  nTargets: number,
  products: MatrixProducts | undefined,
): Promise<Float64Array> {
  const n = y.length / nTargets;
  const out = Float64Array.from(y);
  if (products !== undefined && columns.length > 0) {
    const { data } = await products.matmul(
      { data: stacked(columns), nRows: columns.length, nColumns: n },
      { data: weights, nRows: columns.length, nColumns: nTargets },
      { transposeA: true },
    );
    for (let i = 0; i < out.length; i++) out[i]! -= data[i]!;
    return out;
  }
  for (let from = 0; from < nTargets; from += TILE) {
    const to = Math.min(nTargets, from + TILE);
    for (let i = 0; i < n; i++) {
      for (let k = 0; k < columns.length; k++) {
        const value = columns[k]![i]!;
        if (value === 0) continue;
        for (let t = from; t < to; t++)
          out[i * nTargets + t]! -= value * weights[k * nTargets + t]!;
      }
    }
  }
  return out;
}

function stacked(columns: readonly Float64Array[]): Float64Array {
  const n = columns[0]!.length;
  const out = new Float64Array(columns.length * n);
  columns.forEach((column, k) => {
    out.set(column, k * n);
  });
  return out;
}
