import { ArgumentError, DataError } from "@penfield/core";
import { type Linalg, type Matrix, matrix } from "@penfield/linalg";
import { averageRanks, kendallTau, presort } from "@penfield/stats";
import {
  type BuresFactor,
  buresFactor,
  fidelity,
  riemannianDistance,
  riemannianFrame,
} from "./kernels.ts";
import { type UsesLinalg, withLinalg } from "./products.ts";
import { checkSameConditions, type Rdms, rdmRow } from "./rdms.ts";
import { type Rows, type SigmaK, whitenedRows } from "./whiten.ts";

/** How alike two RDMs are. */
export type RdmComparison =
  | "cosine"
  | "pearson"
  | "spearman"
  | "tau-a"
  | "tau-b"
  | "rho-a"
  | "whitened-cosine"
  | "whitened-pearson"
  | "bures"
  | "bures-metric"
  | "neg-riemannian";

export const RDM_COMPARISONS: readonly RdmComparison[] = [
  "cosine",
  "pearson",
  "spearman",
  "tau-a",
  "tau-b",
  "rho-a",
  "whitened-cosine",
  "whitened-pearson",
  "bures",
  "bures-metric",
  "neg-riemannian",
];

/** How RDMs are compared. */
export interface CompareOptions extends UsesLinalg {
  /** Default `pearson`. */
  readonly method?: RdmComparison | undefined;
  /**
   * For the whitened and Riemannian comparisons: variances of the conditions' estimates, or their full covariance
   * ({@link conditionCovariance}). Default: equal and independent.
   */
  readonly sigmaK?: SigmaK | undefined;
  /**
   * `rsatoolbox` gives 0 for an RDM that is all zero (or constant, for correlations) and then mixes up the values of the
   * others; with variances alone it whitens by another inner product; Gram matrices keep their negative eigenvalues in the
   * traces of Bures comparisons, whose cosine may then be above 1 and whose square negative. Default `exact`.
   */
  readonly compat?: "exact" | "rsatoolbox" | undefined;
}

/**
 * How alike each RDM of one set is to each of another.
 *
 *   cosine             x.y / |x||y|
 *   pearson, spearman  correlation of dissimilarities, or of their ranks
 *   tau-a, tau-b       Kendall's; tau-a and rho-a do not favour models that predict ties
 *   rho-a              12 / (m^3 - m) sum (r_x - mean)(r_y - mean): Spearman's under random tie-breaking
 *   whitened-cosine    x^T V^-1 y / sqrt(x^T V^-1 x  y^T V^-1 y),  V the covariance of RDM entries given sigmaK
 *   whitened-pearson   the same after taking each RDM's mean off
 *   bures              sum sqrt(eig(A^1/2 B A^1/2)) / sqrt(tr A tr B),  A, B: -d / 2 doubly centred, without negative eigenvalues
 *   bures-metric       tr A + tr B - 2 sum sqrt(eig(...)), the squared Bures distance
 *   neg-riemannian     minus the least affine-invariant distance of exp(t0) G1 + exp(t1) Sigma to G2
 *
 * @param a - RDMs, the rows of the result (models, say).
 * @param b - RDMs of the same conditions, its columns. For `neg-riemannian` these are G2.
 * @param options - What to compute.
 * @returns `[a.nRdms, b.nRdms]`. Pairs of conditions that any RDM lacks (NaN) are left out of all. NaN where a comparison
 *   is not defined: an RDM that is all zero, or constant where a correlation is taken; tau-a and rho-a of a constant RDM
 *   are 0. Of `neg-riemannian`: a G2 that is not positive definite (fewer channels than conditions, or a cross-validated RDM).
 * @throws {ShapeError} if the conditions or sigmaK do not fit.
 * @throws {DataError} if there are fewer than 3 conditions, no pair is left, a method that needs all pairs lacks one, the
 *   conditions are named differently, or sigmaK is not positive definite.
 * @throws {ArgumentError} if an option is out of range.
 *
 * Cost: each RDM is centred, ranked or whitened once; then one product, 2 k1 k2 m operations for m pairs. Kendall's
 * O(m log m) per pair of RDMs; bures two products and an eigenvalue problem of size n per pair; Riemannian about 75 of these.
 * Source: Kriegeskorte et al. (2008); Nili et al. (2014) tau-a; Schütt et al. (2023), eLife 12:e82566 rho-a; Diedrichsen
 * et al. (2021), Neurons Behav Data Anal Theory 5(3) whitened; Shahbazi et al. (2021), NeuroImage 239:118271 Riemannian.
 * Matches rsatoolbox.rdm.compare, where that is right.
 *
 * @example
 * const a = rdms([[1, 2, 3], [3, 2, 1]]);
 * (await compareRdms(a, rdms([[1, 2, 4]]))).data.map((r) => Math.round(r * 1000) / 1000).join(" ") // => "0.982 -0.982"
 */
export function compareRdms(
  a: Rdms,
  b: Rdms,
  options: CompareOptions = {},
): Promise<Matrix<Float64Array>> {
  const { method = "pearson", compat = "exact" } = options;
  checkComparison("compareRdms", method, compat);
  checkSameConditions("compareRdms", a, b);
  if (a.nConditions < 3) {
    throw new DataError(`compareRdms: expected at least 3 conditions, got ${a.nConditions}`);
  }
  const present = presentPairs([a, b]);
  return withLinalg(options.linalg, async (linalg) => {
    if (isRowMethod(method)) {
      const first = await comparableRows(linalg, a, present, { ...options, method, compat });
      const second =
        a === b ? first : await comparableRows(linalg, b, present, { ...options, method, compat });
      const product = await linalg.matmul(toMatrix(first), toMatrix(second), { transposeB: true });
      return compat === "rsatoolbox" && method !== "rho-a"
        ? misplaced(product, first, second)
        : product;
    }
    return pairwise(linalg, a, b, present, { method, sigmaK: options.sigmaK, compat });
  });
}

/** What rsatoolbox makes of a zero row: the values of the others, taken from the start again for each place. */
function misplaced(product: Matrix<Float64Array>, a: Rows, b: Rows): Matrix<Float64Array> {
  const hasValue = ({ data, nRows, nColumns }: Rows) =>
    Array.from({ length: nRows }, (_, k) =>
      data.subarray(k * nColumns, (k + 1) * nColumns).some((v) => v !== 0),
    );
  const [rows, columns] = [hasValue(a), hasValue(b)];
  if (!rows.includes(false) && !columns.includes(false)) return product;
  const isDefined = (i: number) => rows[Math.floor(i / b.nRows)]! && columns[i % b.nRows]!;
  const values = product.data.filter((_, i) => isDefined(i));
  const data = product.data.map((_, i) => (isDefined(i) ? values[i % values.length]! : 0));
  return { ...product, data };
}

const toMatrix = ({ data, nRows, nColumns }: Rows) => matrix(data, nRows, nColumns);

/** Throws unless a comparison and its compat are known. */
export function checkComparison(name: string, method: RdmComparison, compat = "exact"): void {
  if (!RDM_COMPARISONS.includes(method)) {
    throw new ArgumentError(
      `${name}: expected method ${RDM_COMPARISONS.join(", ")}, got ${method}`,
    );
  }
  if (compat !== "exact" && compat !== "rsatoolbox") {
    throw new ArgumentError(`${name}: expected compat exact or rsatoolbox, got ${compat}`);
  }
}

/** Methods whose value is the inner product of two rows, each made of one RDM. */
export type RowMethod =
  | "cosine"
  | "pearson"
  | "spearman"
  | "rho-a"
  | "whitened-cosine"
  | "whitened-pearson";

export const isRowMethod = (method: RdmComparison): method is RowMethod =>
  !["tau-a", "tau-b", "bures", "bures-metric", "neg-riemannian"].includes(method);

/** `[nPairs]`, 0 where any RDM lacks the pair; undefined if none does. */
export function presentPairs(sets: readonly Rdms[]): Uint8Array | undefined {
  const nPairs = sets[0]!.nPairs;
  let present: Uint8Array | undefined;
  for (const { data } of sets) {
    for (let i = 0; i < data.length; i++) {
      if (!Number.isNaN(data[i]!)) continue;
      present ??= new Uint8Array(nPairs).fill(1);
      present[i % nPairs] = 0;
    }
  }
  if (present && !present.includes(1)) {
    throw new DataError("compareRdms: expected a pair of conditions that all RDMs have, got none");
  }
  return present;
}

/** The values of the pairs that are there, of every RDM. */
export function presentRows(from: Rdms, present: Uint8Array | undefined): Rows {
  if (!present) return { data: from.data.slice(), nRows: from.nRdms, nColumns: from.nPairs };
  const places = Array.from(present.keys()).filter((p) => present[p]);
  const data = new Float64Array(from.nRdms * places.length);
  for (let k = 0; k < from.nRdms; k++) {
    for (let i = 0; i < places.length; i++) {
      data[k * places.length + i] = from.data[k * from.nPairs + places[i]!]!;
    }
  }
  return { data, nRows: from.nRdms, nColumns: places.length };
}

/**
 * Each RDM as a row of unit length (rho-a: of its own scale), so that the similarity of two is their inner
 * product. A row that has no direction is NaN, or zeros with compat rsatoolbox.
 */
export async function comparableRows(
  linalg: Linalg,
  from: Rdms,
  present: Uint8Array | undefined,
  {
    method,
    sigmaK,
    compat,
  }: { method: RowMethod; sigmaK?: SigmaK | undefined; compat: "exact" | "rsatoolbox" },
): Promise<Rows> {
  let rows = presentRows(from, present);
  const m = rows.nColumns;
  if (method === "spearman" || method === "rho-a") {
    for (let k = 0; k < rows.nRows; k++) {
      rows.data.set(averageRanks(presort(rows.data.subarray(k * m, (k + 1) * m))), k * m);
    }
  }
  if (method !== "cosine" && method !== "whitened-cosine") lessMeans(rows);
  if (method === "rho-a") {
    const scale = Math.sqrt(12 / (m ** 3 - m));
    for (let i = 0; i < rows.data.length; i++) rows.data[i]! *= scale;
    return rows;
  }
  if (method === "whitened-cosine" || method === "whitened-pearson") {
    const full = present ? spread(rows, present) : rows;
    rows = await whitenedRows(linalg, full, from.nConditions, present, sigmaK, compat);
  }
  // With a full covariance rsatoolbox divides by zero, too.
  const isFull = sigmaK !== undefined && "nRows" in sigmaK && method.startsWith("whitened");
  normalize(rows, compat === "exact" || isFull ? Number.NaN : 0);
  return rows;
}

/** Rows of all pairs again, with 0 where one is missing. */
function spread(rows: Rows, present: Uint8Array): Rows {
  const data = new Float64Array(rows.nRows * present.length);
  for (let k = 0; k < rows.nRows; k++) {
    let at = k * rows.nColumns;
    for (let p = 0; p < present.length; p++) {
      if (present[p]) data[k * present.length + p] = rows.data[at++]!;
    }
  }
  return { data, nRows: rows.nRows, nColumns: present.length };
}

/** Takes each row's mean off, in place; a constant row becomes exact zeros. */
export function lessMeans({ data, nRows, nColumns }: Rows): void {
  for (let k = 0; k < nRows; k++) {
    const row = data.subarray(k * nColumns, (k + 1) * nColumns);
    const first = row[0]!;
    let rest = 0;
    for (let i = 0; i < nColumns; i++) rest += row[i]! - first;
    rest /= nColumns;
    for (let i = 0; i < nColumns; i++) row[i] = row[i]! - first - rest;
  }
}

function normalize({ data, nRows, nColumns }: Rows, ofZero: number): void {
  for (let k = 0; k < nRows; k++) {
    const row = data.subarray(k * nColumns, (k + 1) * nColumns);
    let square = 0;
    for (let i = 0; i < nColumns; i++) square += row[i]! * row[i]!;
    if (square === 0) row.fill(ofZero);
    else {
      const norm = Math.sqrt(square);
      for (let i = 0; i < nColumns; i++) row[i]! /= norm;
    }
  }
}

async function pairwise(
  linalg: Linalg,
  a: Rdms,
  b: Rdms,
  present: Uint8Array | undefined,
  {
    method,
    sigmaK,
    compat,
  }: {
    readonly method: Exclude<RdmComparison, RowMethod>;
    readonly sigmaK: SigmaK | undefined;
    readonly compat: "exact" | "rsatoolbox";
  },
): Promise<Matrix<Float64Array>> {
  const out = matrix(new Float64Array(a.nRdms * b.nRdms), a.nRdms, b.nRdms);
  if (method === "tau-a" || method === "tau-b") {
    const sorted = (from: Rdms) => {
      const { data, nColumns } = presentRows(from, present);
      return Array.from({ length: from.nRdms }, (_, k) =>
        presort(data.subarray(k * nColumns, (k + 1) * nColumns)),
      );
    };
    const variant = method === "tau-a" ? "a" : "b";
    const first = sorted(a);
    const second = a === b ? first : sorted(b);
    first.forEach((x, i) => {
      second.forEach((y, j) => {
        out.data[i * b.nRdms + j] = kendallTau(x, y, { variant });
      });
    });
    return out;
  }
  if (present) {
    throw new DataError(`compareRdms: ${method}: expected all pairs of conditions, got NaN`, {
      hint: "It compares Gram matrices, which need every pair. Leave conditions out with takeConditions.",
    });
  }
  if (![a, b].every(({ data }) => data.every(Number.isFinite))) {
    throw new DataError(`compareRdms: ${method}: expected finite dissimilarities, got infinite`);
  }
  for (let j = 0; j < b.nRdms; j++) {
    const right = rdmRow(b, j);
    if (method === "neg-riemannian") {
      const frame = await riemannianFrame(linalg, right, b.nConditions, sigmaK);
      for (let i = 0; i < a.nRdms; i++) {
        out.data[i * b.nRdms + j] = frame
          ? -(await riemannianDistance(linalg, rdmRow(a, i), a.nConditions, frame))
          : Number.NaN;
      }
    }
  }
  if (method === "neg-riemannian") return out;
  const factors = async (set: Rdms): Promise<BuresFactor[]> => {
    const all: BuresFactor[] = [];
    for (let k = 0; k < set.nRdms; k++) {
      all.push(await buresFactor(linalg, rdmRow(set, k), compat === "rsatoolbox"));
    }
    return all;
  };
  const first = await factors(a);
  const second = a === b ? first : await factors(b);
  for (const [i, x] of first.entries()) {
    for (const [j, y] of second.entries()) {
      const shared = await fidelity(linalg, x, y);
      // A trace that rounding alone makes other than 0 has no direction either.
      const scale = x.trace * y.trace;
      out.data[i * b.nRdms + j] =
        method === "bures-metric"
          ? x.trace + y.trace - 2 * shared
          : scale > 0
            ? shared / Math.sqrt(scale)
            : Number.NaN;
    }
  }
  return out;
}
