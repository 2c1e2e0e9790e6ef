import { type Activations, ArgumentError } from "@penfield/core";
import { type Linalg, type Matrix, matrix } from "@penfield/linalg";
import {
  checkChannels,
  checkConditions,
  checkObservations,
  checkPrior,
  groupsOf,
} from "./observations.ts";
import { type UsesLinalg, withLinalg } from "./products.ts";
import { type Label, makeRdms, pairIndex, pairsOf, type Rdms } from "./rdms.ts";

/** Dissimilarities that unbalanced data can have; with runs they are cross-validated. */
export type UnbalancedMethod = "euclidean" | "correlation" | "mahalanobis" | "poisson";

/** How an RDM of unbalanced data is computed. */
export interface UnbalancedOptions extends UsesLinalg {
  /** Default `euclidean`. With `runs`, mahalanobis is crossnobis and poisson its cross-validated form. */
  readonly method?: UnbalancedMethod | undefined;
  readonly conditions: ArrayLike<Label>;
  /** If given, only observations of different runs are compared. */
  readonly runs?: ArrayLike<Label> | undefined;
  /** `[nChannels, nChannels]`, for mahalanobis. Default: identity. */
  readonly precision?: Matrix | undefined;
  /** Pairs of observations count by their number of channels (default) or equally. */
  readonly weighting?: "number" | "equal" | undefined;
  readonly priorLambda?: number | undefined;
  readonly priorWeight?: number | undefined;
  /**
   * With missing values, `rsatoolbox` divides the sums for a correlation by the number of all channels, and counts
   * all channels in a Mahalanobis distance; with `equal` weighting it adds an observation's similarity with itself
   * but not its weight (an integer division, 1 / 2 = 0); one condition that has nothing to compare makes all pairs NaN. A pattern of zeros is correlated perfectly with every other.
   * Otherwise both are the same. Default `exact`.
   */
  readonly compat?: "exact" | "rsatoolbox" | undefined;
  readonly name?: Label | undefined;
}

/**
 * The dissimilarity of every pair of conditions from all pairs of observations: conditions may have
 * different numbers of observations, runs may lack conditions, and values may be missing (NaN).
 *
 *   d_ij = s_ii + s_jj - 2 s_ij,   s_ij: mean similarity of observations of i with those of j
 *
 * Sums run over the channels that both observations have. An observation with itself counts half as much as two
 * different ones; with `runs`, observations of one run are not compared at all.
 *
 * @param x - `[nObservations, nChannels]`; NaN where missing.
 * @param options - Conditions and method.
 * @returns One RDM; conditions ascend by label; NaN for a pair with nothing to compare. The correlation of a
 *   pattern that does not vary is NaN.
 * @throws {ShapeError} if labels or precision do not fit.
 * @throws {DataError} if there are fewer than 2 conditions.
 * @throws {ArgumentError} if an option is out of range, or a value is infinite.
 *
 * Cost: one to four products of 2 N^2 P operations for N observations, in blocks of rows; Mahalanobis with missing values
 * one product per pair of patterns of missingness. Memory: O(N P) and blocks of 512 x N.
 * Source: Schütt et al. (2023), eLife 12:e82566. Matches rsatoolbox.rdm.calc_rdm_unbalanced.
 *
 * @example
 * const x = activations([[1, 0], [3, 0], [0, NaN]]);
 * (await unbalancedRdm(x, { conditions: ["a", "a", "b"] })).data.join(" ") // => "2"
 */
export function unbalancedRdm(x: Activations, options: UnbalancedOptions): Promise<Rdms> {
  const name = "unbalancedRdm";
  const { method = "euclidean", weighting = "number", compat = "exact" } = options;
  if (!["euclidean", "correlation", "mahalanobis", "poisson"].includes(method)) {
    throw new ArgumentError(
      `${name}: expected method euclidean, correlation, mahalanobis or poisson, got ${method}`,
    );
  }
  if (weighting !== "number" && weighting !== "equal") {
    throw new ArgumentError(`${name}: expected weighting number or equal, got ${weighting}`);
  }
  checkObservations(name, x, false);
  const infinite = x.data.findIndex((v) => Math.abs(v) === Number.POSITIVE_INFINITY);
  if (infinite >= 0) {
    throw new ArgumentError(`${name}: expected finite values or NaN, got ${x.data[infinite]}`);
  }
  const [n, p] = x.shape;
  const groups = groupsOf(name, "conditions", options.conditions, n);
  checkConditions(name, groups.labels.length);
  const runs = options.runs ? groupsOf(name, "runs", options.runs, n).index : undefined;
  if (options.precision) checkChannels(name, "a precision", options.precision, p);
  return withLinalg(options.linalg, async (linalg) => {
    const rows = await similarityRows(linalg, x, method, compat, options);
    const sums = new CellSums(groups.index, runs, groups.labels.length, weighting, compat);
    for (let start = 0; start < n; start += BLOCK) {
      sums.add(start, await rows(start, Math.min(n, start + BLOCK)));
    }
    return makeRdms(sums.dissimilarities(compat), 1, {
      conditions: groups.labels,
      names: [options.name ?? method],
    });
  });
}

const BLOCK = 512;

/** Similarities and weights of some observations with all, `[stop - start, n]` each. */
interface Similarities {
  readonly values: Float64Array;
  readonly weights: Float64Array;
}

/** Adds up similarities and weights by pair of conditions. */
class CellSums {
  readonly #values: Float64Array;
  readonly #weights: Float64Array;
  readonly #conditions: Int32Array;
  readonly #runs: Int32Array | undefined;
  readonly #n: number;
  readonly #equal: boolean;
  /** How much an observation with itself adds to the weight. */
  readonly #ownWeight: number;

  constructor(
    conditions: Int32Array,
    runs: Int32Array | undefined,
    n: number,
    weighting: "number" | "equal",
    compat: "exact" | "rsatoolbox",
  ) {
    this.#conditions = conditions;
    this.#runs = runs;
    this.#n = n;
    this.#equal = weighting === "equal";
    this.#ownWeight = this.#equal && compat === "rsatoolbox" ? 0 : 0.5;
    this.#values = new Float64Array(n + pairsOf(n));
    this.#weights = new Float64Array(n + pairsOf(n));
  }

  add(start: number, { values, weights }: Similarities): void {
    const nObservations = this.#conditions.length;
    const stop = start + values.length / nObservations;
    for (let i = start; i < stop; i++) {
      for (let j = i; j < nObservations; j++) {
        // An observation is always in its own run.
        if (this.#runs && this.#runs[i] === this.#runs[j]) continue;
        const at = (i - start) * nObservations + j;
        const weight = weights[at]!;
        if (!(weight > 0)) continue;
        const cell = this.#cell(this.#conditions[i]!, this.#conditions[j]!);
        const share = i === j ? 0.5 : 1;
        this.#values[cell]! += (share * values[at]!) / (this.#equal ? weight : 1);
        this.#weights[cell]! += (i === j ? this.#ownWeight : 1) * (this.#equal ? 1 : weight);
      }
    }
  }

  #cell(a: number, b: number): number {
    if (a === b) return a;
    return this.#n + pairIndex(this.#n, Math.min(a, b), Math.max(a, b));
  }

  dissimilarities(compat: "exact" | "rsatoolbox"): Float64Array {
    const n = this.#n;
    const means = this.#values.map((v, i) =>
      this.#weights[i]! > 0 ? v / this.#weights[i]! : Number.NaN,
    );
    const out = new Float64Array(pairsOf(n));
    if (compat === "rsatoolbox" && means.subarray(0, n).some(Number.isNaN)) {
      return out.fill(Number.NaN);
    }
    let at = 0;
    for (let i = 0; i < n; i++) {
      for (let j = i + 1; j < n; j++, at++) out[at] = means[i]! + means[j]! - 2 * means[n + at]!;
    }
    return out;
  }
}

type Rows = (start: number, stop: number) => Promise<Similarities>;

async function similarityRows(
  linalg: Linalg,
  x: Activations,
  method: UnbalancedMethod,
  compat: "exact" | "rsatoolbox",
  options: UnbalancedOptions,
): Promise<Rows> {
  const [n, p] = x.shape;
  const present = Float64Array.from(x.data, (v) => (Number.isNaN(v) ? 0 : 1));
  const filled = Float64Array.from(x.data, (v) => (Number.isNaN(v) ? 0 : v));
  const rowsOf = (data: Float64Array, start: number, stop: number) =>
    matrix(data.subarray(start * p, stop * p), stop - start, p);
  const withAll = async (left: Float64Array, right: Float64Array, start: number, stop: number) =>
    (await linalg.matmul(rowsOf(left, start, stop), matrix(right, n, p), { transposeB: true }))
      .data;
  const weights = (start: number, stop: number) => withAll(present, present, start, stop);

  if (method === "euclidean" || (method === "mahalanobis" && !options.precision)) {
    return async (start, stop) => ({
      values: await withAll(filled, filled, start, stop),
      weights: await weights(start, stop),
    });
  }
  if (method === "mahalanobis") {
    return mahalanobisRows(linalg, filled, present, [n, p], options.precision!, compat);
  }
  if (method === "poisson") {
    const { priorLambda = 1, priorWeight = 0.1 } = options;
    checkPrior("unbalancedRdm", "priorLambda", priorLambda);
    checkPrior("unbalancedRdm", "priorWeight", priorWeight);
    const low = filled.findIndex((v) => v + priorLambda * priorWeight <= 0);
    if (low >= 0) {
      throw new ArgumentError(
        `unbalancedRdm: expected counts or rates of at least 0, got ${filled[low]}`,
      );
    }
    const rates = filled.map((v, i) =>
      present[i] ? (v + priorLambda * priorWeight) / (1 + priorWeight) : 0,
    );
    const logs = rates.map((v, i) => (present[i] ? Math.log(v) : 0));
    const own = rates.map((v, i) => v * logs[i]!);
    // s = 1/2 sum over shared channels of (l_j - l_i)(log l_i - log l_j)
    return async (start, stop) => {
      const cross = await withAll(rates, logs, start, stop);
      const back = await withAll(logs, rates, start, stop);
      const ownI = await withAll(own, present, start, stop);
      const ownJ = await withAll(present, own, start, stop);
      return {
        values: cross.map((v, i) => (v + back[i]! - ownI[i]! - ownJ[i]!) / 2),
        weights: await weights(start, stop),
      };
    };
  }
  return correlationRows(filled, present, p, compat, withAll, weights);
}

function correlationRows(
  filled: Float64Array,
  present: Float64Array,
  p: number,
  compat: "exact" | "rsatoolbox",
  withAll: (l: Float64Array, r: Float64Array, start: number, stop: number) => Promise<Float64Array>,
  weightsOf: (start: number, stop: number) => Promise<Float64Array>,
): Rows {
  // Rows less their own mean: correlations stay, digits are spared. rsatoolbox's rule for missing
  // values is no correlation and depends on the mean.
  const centred = compat === "exact" ? lessRowMeans(filled, present, p) : filled;
  const squared = centred.map((v) => v * v);
  return async (start, stop) => {
    const weights = await weightsOf(start, stop);
    const products = await withAll(centred, centred, start, stop);
    const sumI = await withAll(centred, present, start, stop);
    const sumJ = await withAll(present, centred, start, stop);
    const squareI = await withAll(squared, present, start, stop);
    const squareJ = await withAll(present, squared, start, stop);
    const values = products.map((product, i) => {
      const count = compat === "exact" ? weights[i]! : p;
      const varianceI = squareI[i]! - (sumI[i]! * sumI[i]!) / count;
      const varianceJ = squareJ[i]! - (sumJ[i]! * sumJ[i]!) / count;
      const varies = varianceI > 1e-14 * squareI[i]! && varianceJ > 1e-14 * squareJ[i]!;
      // rsatoolbox takes a pattern of zeros for perfectly correlated with everything.
      const isZero = compat === "rsatoolbox" && (squareI[i] === 0 || squareJ[i] === 0);
      const r = isZero
        ? 1
        : varies
          ? (product - (sumI[i]! * sumJ[i]!) / count) / Math.sqrt(varianceI) / Math.sqrt(varianceJ)
          : Number.NaN;
      return (r * count) / 2;
    });
    return { values, weights };
  };
}

function lessRowMeans(filled: Float64Array, present: Float64Array, p: number): Float64Array {
  const out = filled.slice();
  for (let start = 0; start < out.length; start += p) {
    let first = Number.NaN;
    let rest = 0;
    let count = 0;
    for (let i = start; i < start + p; i++) {
      if (!present[i]) continue;
      if (count++ === 0) first = out[i]!;
      rest += out[i]! - first;
    }
    const mean = first + rest / count;
    for (let i = start; i < start + p; i++) if (present[i]) out[i]! -= mean;
  }
  return out;
}

/** The precision is cut down to the channels that both observations have. */
async function mahalanobisRows(
  linalg: Linalg,
  filled: Float64Array,
  present: Float64Array,
  [n, p]: [number, number],
  precision: Matrix,
  compat: "exact" | "rsatoolbox",
): Promise<Rows> {
  const kinds = missingness(present, n, p);
  const all = matrix(filled, n, p);
  return async (start, stop) => {
    const values = new Float64Array((stop - start) * n);
    const weights = new Float64Array((stop - start) * n);
    const block = matrix(filled.subarray(start * p, stop * p), stop - start, p);
    for (const a of kinds.masks.keys()) {
      const rows = range(start, stop).filter((i) => kinds.of[i] === a);
      if (rows.length === 0) continue;
      for (const b of kinds.masks.keys()) {
        const shared = kinds.masks[a]!.map((v, j) => v * kinds.masks[b]![j]!);
        const left = matrix(
          block.data.map((v, i) => v * shared[i % p]!),
          stop - start,
          p,
        );
        const turned = await linalg.matmul(left, precision);
        for (let i = 0; i < turned.data.length; i++) turned.data[i]! *= shared[i % p]!;
        const products = (await linalg.matmul(turned, all, { transposeB: true })).data;
        const count = compat === "exact" ? shared.reduce((sum, v) => sum + v, 0) : p;
        for (const i of rows) {
          for (let j = 0; j < n; j++) {
            if (kinds.of[j] !== b) continue;
            values[(i - start) * n + j] = products[(i - start) * n + j]!;
            weights[(i - start) * n + j] = count;
          }
        }
      }
    }
    return { values, weights };
  };
}

const range = (start: number, stop: number): number[] =>
  Array.from({ length: stop - start }, (_, i) => start + i);

/** The different patterns of missing channels, and which each observation has. */
function missingness(
  present: Float64Array,
  n: number,
  p: number,
): { masks: Float64Array[]; of: Int32Array } {
  const masks: Float64Array[] = [];
  const seen = new Map<string, number>();
  const of = Int32Array.from({ length: n }, (_, i) => {
    const mask = present.slice(i * p, (i + 1) * p);
    const key = mask.join("");
    let kind = seen.get(key);
    if (kind === undefined) {
      kind = masks.push(mask) - 1;
      seen.set(key, kind);
    }
    return kind;
  });
  return { masks, of };
}
