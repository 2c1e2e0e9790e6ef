import { type Activations, ArgumentError, DataError } from "@penfield/core";
import { type Linalg, type Matrix, matrix, matrixOf } from "@penfield/linalg";
import {
  centreColumns,
  centreRows,
  checkChannels,
  checkConditions,
  checkObservations,
  checkPrior,
  groupMeans,
  groupsOf,
  isUngrouped,
} from "./observations.ts";
import { type UsesLinalg, withLinalg } from "./products.ts";
import { type Label, makeRdms, pairIndex, pairsOf, type Rdms } from "./rdms.ts";

/** Dissimilarities that need no repetitions. */
export type RdmMethod = "euclidean" | "correlation" | "cosine" | "mahalanobis" | "poisson";

/** How an RDM is computed. */
export interface RdmOptions extends UsesLinalg {
  /** Default `correlation`. */
  readonly method?: RdmMethod | undefined;
  /** The condition of each observation; observations of one condition are averaged. Default: each its own. */
  readonly conditions?: ArrayLike<Label> | undefined;
  /** `[nChannels, nChannels]`, the inverse of the noise covariance, for `mahalanobis`. Default: identity. */
  readonly precision?: Matrix | undefined;
  /** Take each pattern's mean over channels off first. Default false. */
  readonly removeMean?: boolean | undefined;
  /** For `poisson`: the prior rate. Default 1. */
  readonly priorLambda?: number | undefined;
  /** For `poisson`: how many observations the prior counts for. Default 0.1. */
  readonly priorWeight?: number | undefined;
  /** The name of the RDM. */
  readonly name?: Label | undefined;
}

const METHODS: readonly string[] = ["euclidean", "correlation", "cosine", "mahalanobis", "poisson"];

/**
 * The dissimilarity of every pair of conditions.
 *
 *   euclidean     |x_i - x_j|^2 / P                      (squared, per channel)
 *   correlation   1 - r(x_i, x_j)                        over channels
 *   cosine        1 - x_i.x_j / (|x_i| |x_j|)
 *   mahalanobis   (x_i - x_j)^T S (x_i - x_j) / P,       S the noise precision
 *   poisson       sum (l_i - l_j)(log l_i - log l_j) / P,  l = (x + lambda w) / (1 + w)
 *
 * @param x - `[nObservations, nChannels]`, finite; float32 or float64, not changed.
 * @param options - What to compute.
 * @returns One RDM; conditions ascend by label. A pattern that does not vary over channels (correlation) or
 *   is all zero (cosine) has NaN with every other.
 * @throws {ShapeError} if there are no channels, or labels or precision do not fit.
 * @throws {DataError} if a value is not finite, there are fewer than 2 conditions, or (poisson) a rate with
 *   its prior is not above 0.
 * @throws {ArgumentError} if an option is out of range.
 *
 * Cost: one product, 2 n^2 P operations (half for correlation and cosine; plus 2 n P^2 for mahalanobis); memory: one float64 copy of the mean
 * patterns and one n x n matrix.
 * Source: Kriegeskorte, Mur & Bandettini (2008), Front Syst Neurosci 2:4; Walther et al. (2016), NeuroImage
 * 137:188-200; poisson: Schütt et al. (2023), eLife 12:e82566. Matches rsatoolbox.rdm.calc_rdm.
 *
 * @example
 * const x = activations([[0, 0], [3, 4], [6, 8]]);
 * (await calcRdm(x, { method: "euclidean" })).data.join(" ") // => "12.5 50 12.5"
 */
export function calcRdm(x: Activations, options: RdmOptions = {}): Promise<Rdms> {
  const { method = "correlation", conditions, name = method } = options;
  if (!METHODS.includes(method)) {
    throw new ArgumentError(`calcRdm: expected method ${METHODS.join(", ")}, got ${method}`, {
      hint: "crossnobis and poisson with cross-validation are functions of their own.",
    });
  }
  checkObservations("calcRdm", x);
  const groups = groupsOf("calcRdm", "conditions", conditions, x.shape[0]);
  checkConditions("calcRdm", groups.labels.length);
  const labels = { conditions: groups.labels, names: [name] };
  return withLinalg(options.linalg, async (linalg) => {
    const make = (data: Float64Array) => makeRdms(data, 1, labels);
    if (method === "correlation" || method === "cosine") {
      const patterns = isUngrouped(groups) ? matrixOf(x) : groupMeans(x, groups);
      const centred = method === "correlation" || options.removeMean === true;
      return make(await oneMinusCosine(linalg, patterns, centred));
    }
    const patterns = groupMeans(x, groups);
    if (options.removeMean) centreRows(patterns);
    return make(await dissimilarities(linalg, method, patterns, options));
  });
}

async function dissimilarities(
  linalg: Linalg,
  method: Exclude<RdmMethod, "correlation" | "cosine">,
  patterns: Matrix<Float64Array>,
  { precision, priorLambda = 1, priorWeight = 0.1 }: RdmOptions,
): Promise<Float64Array> {
  switch (method) {
    case "euclidean":
      return squaredDistances(linalg, patterns, undefined);
    case "mahalanobis":
      if (precision) checkChannels("calcRdm", "a precision", precision, patterns.nColumns);
      return squaredDistances(linalg, patterns, precision);
    case "poisson": {
      const rates = poissonRates("calcRdm", patterns, priorLambda, priorWeight);
      const logs = matrix(rates.data.map(Math.log), rates.nRows, rates.nColumns);
      const kernel = await linalg.matmul(rates, logs, { transposeB: true });
      return kernelDistances(kernel, rates.nColumns);
    }
  }
}

async function squaredDistances(
  linalg: Linalg,
  patterns: Matrix<Float64Array>,
  precision: Matrix | undefined,
): Promise<Float64Array> {
  centreColumns(patterns);
  const left = precision ? await linalg.matmul(patterns, precision) : patterns;
  const kernel = await linalg.matmul(left, patterns, { transposeB: true });
  return kernelDistances(kernel, patterns.nColumns);
}

/** (K_ii + K_jj - K_ij - K_ji) / P. */
export function kernelDistances(
  { data, nRows: n }: Matrix<Float64Array>,
  nChannels: number,
): Float64Array {
  const out = new Float64Array(pairsOf(n));
  let at = 0;
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) {
      const own = data[i * n + i]! + data[j * n + j]!;
      out[at++] = (own - data[i * n + j]! - data[j * n + i]!) / nChannels;
    }
  }
  return out;
}

/** Patterns are scaled and multiplied so many at a time: half of the products are never made, and no copy of all is. */
const TILE = 128;

async function oneMinusCosine(
  linalg: Linalg,
  patterns: Matrix,
  centred: boolean,
): Promise<Float64Array> {
  const n = patterns.nRows;
  const moments = momentsOf(patterns, centred);
  const out = new Float64Array(pairsOf(n));
  const size = Math.min(n, TILE) * patterns.nColumns;
  // Used again for every tile: fresh memory costs as much as what is written to it.
  const [first, second] = [new Float64Array(size), new Float64Array(n > TILE ? size : 0)];
  for (let top = 0; top < n; top += TILE) {
    const above = unitRows(patterns, moments, top, first);
    for (let left = top; left < n; left += TILE) {
      const beside = left === top ? above : unitRows(patterns, moments, left, second);
      const { data, nColumns } = await linalg.matmul(above, beside, { transposeB: true });
      for (let i = 0; i < above.nRows; i++) {
        const row = top + i;
        let at = pairIndex(n, row, Math.max(left, row + 1));
        for (let j = Math.max(0, row + 1 - left); j < nColumns; j++) {
          out[at++] = 1 - data[i * nColumns + j]!;
        }
      }
    }
  }
  return out;
}

/** What is taken off each pattern, and what it is then multiplied with to have the length 1. */
interface Moments {
  readonly means: Float64Array;
  /** NaN for a pattern without length. */
  readonly scales: Float64Array;
}

function momentsOf({ data, nRows, nColumns: p }: Matrix, centred: boolean): Moments {
  const means = new Float64Array(nRows);
  const scales = new Float64Array(nRows);
  for (let i = 0; i < nRows; i++) {
    const from = i * p;
    const to = from + p;
    if (centred) {
      // From the first value on: a pattern that does not vary is nothing, exactly.
      const first = data[from]!;
      let rest = 0;
      for (let at = from; at < to; at++) rest += data[at]! - first;
      means[i] = first + rest / p;
    }
    const mean = means[i]!;
    let square = 0;
    for (let at = from; at < to; at++) square += (data[at]! - mean) * (data[at]! - mean);
    scales[i] = square > 0 ? 1 / Math.sqrt(square) : Number.NaN;
  }
  return { means, scales };
}

function unitRows(
  { data, nRows, nColumns: p }: Matrix,
  { means, scales }: Moments,
  top: number,
  to: Float64Array,
): Matrix<Float64Array> {
  const rows = Math.min(TILE, nRows - top);
  const out = to.subarray(0, rows * p);
  for (let i = 0; i < rows; i++) {
    const mean = means[top + i]!;
    const scale = scales[top + i]!;
    const from = (top + i) * p;
    for (let j = 0; j < p; j++) out[i * p + j] = (data[from + j]! - mean) * scale;
  }
  return matrix(out, rows, p);
}

/** Rates with their prior: (x + lambda w) / (1 + w), all above 0. */
export function poissonRates(
  name: string,
  { data, nRows, nColumns }: Matrix<Float64Array>,
  priorLambda: number,
  priorWeight: number,
): Matrix<Float64Array> {
  checkPrior(name, "priorLambda", priorLambda);
  checkPrior(name, "priorWeight", priorWeight);
  const rates = data.map((x) => (x + priorLambda * priorWeight) / (1 + priorWeight));
  const at = rates.findIndex((rate) => rate <= 0);
  if (at >= 0) {
    throw new DataError(
      `${name}: expected counts or rates of at least 0, got ${data[at]} in condition ${Math.floor(at / nColumns)}, channel ${at % nColumns}`,
      { hint: "The Poisson dissimilarity is for spike counts; z-scored data need another one." },
    );
  }
  return matrix(rates, nRows, nColumns);
}
