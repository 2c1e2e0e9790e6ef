import { ArgumentError, DataError, ShapeError } from "@penfield/core";
import { choleskySolve, type Linalg, type Matrix, matrix, symmetricEigen } from "@penfield/linalg";
import { pairIndex, pairsOf } from "./rdms.ts";

/** The covariance of the pattern estimates of conditions: variances, or the full matrix. */
export type SigmaK = ArrayLike<number> | Matrix;

const isMatrix = (sigma: SigmaK): sigma is Matrix => "nRows" in sigma;

/**
 * sigmaK of some conditions. Of a condition taken twice only variances are defined: the copies then count as measured
 * independently, as they do without sigmaK.
 */
export function takeSigma(sigma: SigmaK, places: ArrayLike<number>): SigmaK {
  const m = places.length;
  if (!isMatrix(sigma)) return Float64Array.from({ length: m }, (_, i) => sigma[places[i]!]!);
  if (new Set(Array.from(places)).size < m) {
    throw new ArgumentError(
      "takeSigma: expected variances as sigmaK where conditions are drawn with repetition, got a full covariance",
      { hint: "The covariance of copies of one condition is not defined; draw RDMs instead." },
    );
  }
  const data = new Float64Array(m * m);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < m; j++)
      data[i * m + j] = sigma.data[places[i]! * sigma.nColumns + places[j]!]!;
  }
  return matrix(data, m, m);
}

/** RDMs as rows of numbers. */
export interface Rows {
  readonly data: Float64Array;
  readonly nRows: number;
  readonly nColumns: number;
}

/**
 * RDM vectors in a basis in which the errors of their entries are independent: the inner product of two rows is
 * x^T V^-1 y, with V = (C Sigma C^T)^2 elementwise and C the contrasts of pairs.
 *
 * The space of RDMs is that of symmetric matrices G on the conditions' differences, and V is G -> Sigma G Sigma
 * there. So x^T V^-1 y = tr(Gx S^-1 Gy S^-1), with G and S relative to condition 0, and V is never built. For Sigma = I it
 * is the inner product of the doubly centred matrices (linear CKA). Pairs that are missing take the values for which V^-1 x
 * vanishes there; that is the same as cutting V down.
 *
 * @param rows - `[k, nPairs]`; entries of missing pairs are ignored.
 * @param n - Conditions.
 * @param present - `[nPairs]`, 0 where missing; undefined if none is.
 * @param sigma - Default identity.
 * @param compat - With variances alone, rsatoolbox divides the centred matrix by sqrt(s_i s_j), which is another inner
 *   product than V^-1.
 */
export async function whitenedRows(
  linalg: Linalg,
  rows: Rows,
  n: number,
  present: Uint8Array | undefined,
  sigma: SigmaK | undefined,
  compat: "exact" | "rsatoolbox",
): Promise<Rows> {
  if (sigma === undefined) return centredRows(rows, n, present, undefined);
  const size = isMatrix(sigma) ? sigma.nRows : sigma.length;
  if (size !== n || (isMatrix(sigma) && sigma.nColumns !== n)) {
    throw new ShapeError(`compareRdms: expected a sigmaK of ${n} conditions, got ${size}`);
  }
  if (!isMatrix(sigma) && compat === "rsatoolbox") {
    return centredRows(rows, n, present, Array.from(sigma, checkVariance));
  }
  const relative = relativeCovariance(sigma, n);
  const root = await inverseRoot(linalg, relative);
  const complete = present ? await completed(linalg, rows, n, present, relative) : rows;
  const m = n - 1;
  const out = new Float64Array(rows.nRows * pairsOf(n));
  for (let k = 0; k < rows.nRows; k++) {
    const g = relativeGram(complete.data.subarray(k * rows.nColumns, (k + 1) * rows.nColumns), n);
    const turned = await linalg.matmul(await linalg.matmul(root, g), root);
    flatten(turned.data, m, out.subarray(k * pairsOf(n), (k + 1) * pairsOf(n)));
  }
  return { data: out, nRows: rows.nRows, nColumns: pairsOf(n) };
}

function checkVariance(value: number, i: number): number {
  if (value > 0) return value;
  throw new DataError(`compareRdms: expected variances above 0 in sigmaK, got ${value} at ${i}`);
}

/** A symmetric m x m matrix as m (m + 1) / 2 numbers with the same inner product. */
function flatten(square: Float64Array, m: number, out: Float64Array): void {
  let at = 0;
  for (let i = 0; i < m; i++) {
    out[at++] = square[i * m + i]!;
    for (let j = i + 1; j < m; j++) out[at++] = square[i * m + j]! * Math.SQRT2;
  }
}

/** -1/2 d without row and column effects: rows of the Gram matrix sum to zero over the pairs that are there. */
function centredRows(
  rows: Rows,
  n: number,
  present: Uint8Array | undefined,
  variances: readonly number[] | undefined,
): Rows {
  const nPairs = pairsOf(n);
  const sums = new Float64Array(n * rows.nRows);
  for (let k = 0; k < rows.nRows; k++) {
    let p = 0;
    for (let i = 0; i < n; i++) {
      for (let j = i + 1; j < n; j++, p++) {
        if (present && !present[p]) continue;
        const g = -0.5 * rows.data[k * nPairs + p]!;
        sums[i * rows.nRows + k]! += g;
        sums[j * rows.nRows + k]! += g;
      }
    }
  }
  const effects = present
    ? choleskySolve(effectMatrix(n, present), matrix(sums, n, rows.nRows)).data
    : fullEffects(sums, n, rows.nRows);
  const out = new Float64Array(rows.nRows * (nPairs + n));
  for (let k = 0; k < rows.nRows; k++) {
    const to = k * (nPairs + n);
    let p = 0;
    for (let i = 0; i < n; i++) {
      const own = effects[i * rows.nRows + k]!;
      out[to + nPairs + i] = -own / (variances?.[i] ?? 1);
      for (let j = i + 1; j < n; j++, p++) {
        if (present && !present[p]) continue;
        const both = (own + effects[j * rows.nRows + k]!) / 2;
        const scale = variances ? Math.sqrt(variances[i]! * variances[j]!) : 1;
        out[to + p] = (Math.SQRT2 * (-0.5 * rows.data[k * nPairs + p]! - both)) / scale;
      }
    }
  }
  return { data: out, nRows: rows.nRows, nColumns: nPairs + n };
}

/** (1 + m_i / 2) a_i + 1/2 sum of a_j over present pairs = sum of g_ij over them. */
function effectMatrix(n: number, present: Uint8Array): Matrix<Float64Array> {
  const data = new Float64Array(n * n);
  let p = 0;
  for (let i = 0; i < n; i++) {
    data[i * n + i]! += 1;
    for (let j = i + 1; j < n; j++, p++) {
      if (!present[p]) continue;
      data[i * n + i]! += 0.5;
      data[j * n + j]! += 0.5;
      data[i * n + j] = 0.5;
      data[j * n + i] = 0.5;
    }
  }
  return matrix(data, n, n);
}

function fullEffects(sums: Float64Array, n: number, nRows: number): Float64Array {
  const out = new Float64Array(sums.length);
  for (let k = 0; k < nRows; k++) {
    let total = 0;
    for (let i = 0; i < n; i++) total += sums[i * nRows + k]!;
    for (let i = 0; i < n; i++)
      out[i * nRows + k] = (sums[i * nRows + k]! - total / n / 2) * (2 / n);
  }
  return out;
}

/** Sigma of the differences to condition 0, `[n - 1, n - 1]`. */
export function relativeCovariance(sigma: SigmaK, n: number): Matrix<Float64Array> {
  const at = isMatrix(sigma)
    ? (i: number, j: number) => sigma.data[i * n + j]!
    : (i: number, j: number) => (i === j ? sigma[i]! : 0);
  const m = n - 1;
  const data = new Float64Array(m * m);
  for (let i = 1; i < n; i++) {
    for (let j = 1; j < n; j++) {
      data[(i - 1) * m + j - 1] = at(i, j) - at(i, 0) - at(0, j) + at(0, 0);
    }
  }
  return matrix(data, m, m);
}

/** The Gram matrix of patterns less that of condition 0, from squared distances, `[n - 1, n - 1]`. */
export function relativeGram(d: ArrayLike<number>, n: number): Matrix<Float64Array> {
  const m = n - 1;
  const data = new Float64Array(m * m);
  for (let i = 1; i < n; i++) {
    const own = d[i - 1]!;
    data[(i - 1) * m + i - 1] = own;
    for (let j = i + 1; j < n; j++) {
      const g = (own + d[j - 1]! - d[pairIndex(n, i, j)]!) / 2;
      data[(i - 1) * m + j - 1] = g;
      data[(j - 1) * m + i - 1] = g;
    }
  }
  return matrix(data, m, m);
}

/** a^-1/2 of a positive definite matrix. */
async function inverseRoot(linalg: Linalg, a: Matrix): Promise<Matrix<Float64Array>> {
  const n = a.nRows;
  const { values, vectors } = symmetricEigen(a);
  if (!(values[n - 1]! > n * Number.EPSILON * values[0]!)) {
    throw new DataError(
      "compareRdms: expected a sigmaK that is positive definite on differences of conditions, got one that is not",
      { hint: "Estimate it from more runs, or add a little to its diagonal." },
    );
  }
  const scaled = vectors.data.map((v, i) => v / Math.sqrt(values[Math.floor(i / n)]!));
  return linalg.matmul(vectors, matrix(scaled, n, n), { transposeA: true });
}

/** Values of missing pairs for which V^-1 x vanishes there, by conjugate gradients. */
async function completed(
  linalg: Linalg,
  rows: Rows,
  n: number,
  present: Uint8Array,
  relative: Matrix<Float64Array>,
): Promise<Rows> {
  const m = n - 1;
  const identity = matrix(
    Float64Array.from({ length: m * m }, (_, i) => (i % (m + 1) === 0 ? 1 : 0)),
    m,
    m,
  );
  const inverse = choleskySolve(relative, identity);
  const missing = Array.from(present.keys()).filter((p) => !present[p]);
  const data = rows.data.slice();
  for (let k = 0; k < rows.nRows; k++) {
    const x = data.subarray(k * rows.nColumns, (k + 1) * rows.nColumns);
    for (const p of missing) x[p] = 0;
    const start = await applyInverse(linalg, inverse, x, n);
    const z = new Float64Array(x.length);
    const residual = Float64Array.from(missing, (p) => -start[p]!);
    let direction = residual.slice();
    let size = dot(residual, residual);
    const goal = size * 1e-28;
    for (let step = 0; step < 20 * missing.length + 100 && size > goal; step++) {
      z.fill(0);
      missing.forEach((p, i) => {
        z[p] = direction[i]!;
      });
      const applied = await applyInverse(linalg, inverse, z, n);
      const image = Float64Array.from(missing, (p) => applied[p]!);
      const length = size / dot(direction, image);
      missing.forEach((p, i) => {
        x[p]! += length * direction[i]!;
        residual[i]! -= length * image[i]!;
      });
      const next = dot(residual, residual);
      const turn = next / size;
      direction = direction.map((v, i) => residual[i]! + turn * v);
      size = next;
    }
  }
  return { ...rows, data };
}

const dot = (a: Float64Array, b: Float64Array): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
};

/** V^-1 x: to the Gram matrix, S^-1 G S^-1, and back by the adjoint. */
async function applyInverse(
  linalg: Linalg,
  inverse: Matrix<Float64Array>,
  x: Float64Array,
  n: number,
): Promise<Float64Array> {
  const m = n - 1;
  const g = relativeGram(x, n);
  const b = (await linalg.matmul(await linalg.matmul(inverse, g), inverse)).data;
  const out = new Float64Array(x.length);
  for (let i = 0; i < m; i++) {
    let sum = 0;
    for (let j = 0; j < m; j++) sum += b[i * m + j]!;
    out[i] = sum;
    for (let j = i + 1; j < m; j++) out[pairIndex(n, i + 1, j + 1)] = -b[i * m + j]!;
  }
  return out;
}
