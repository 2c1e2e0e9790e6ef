import { type Activations, ArgumentError, DataError, ShapeError } from "@penfield/core";
import { choleskySolve, type Linalg, type Matrix, matrix } from "@penfield/linalg";
import { kernelDistances, poissonRates } from "./calcRdm.ts";
import {
  centreColumns,
  centreRows,
  checkChannels,
  checkConditions,
  checkObservations,
  type Groups,
  groupsOf,
} from "./observations.ts";
import { type UsesLinalg, withLinalg } from "./products.ts";
import { type Label, makeRdms, pairsOf, type Rdms } from "./rdms.ts";

/** How a cross-validated RDM is computed. */
export interface CrossValidatedOptions extends UsesLinalg {
  /** The condition of each observation. */
  readonly conditions: ArrayLike<Label>;
  /**
   * The run (fold) of each observation. Default: the k-th observation of each condition is in run k, which needs
   * equally many of each.
   */
  readonly runs?: ArrayLike<Label> | undefined;
  readonly name?: Label | undefined;
}

/** How crossnobis is computed. */
export interface CrossnobisOptions extends CrossValidatedOptions {
  /**
   * `[nChannels, nChannels]`, the inverse of the noise covariance; or one per run, in ascending order of the runs'
   * labels (that of the run's mean patterns). Default: identity.
   */
  readonly precision?: Matrix | readonly Matrix[] | undefined;
  /** Take each pattern's mean over channels off first. Default false. */
  readonly removeMean?: boolean | undefined;
}

/** How the cross-validated Poisson dissimilarity is computed. */
export interface PoissonCvOptions extends CrossValidatedOptions {
  /** Default 1. */
  readonly priorLambda?: number | undefined;
  /** Default 0.1. */
  readonly priorWeight?: number | undefined;
  /** `rsatoolbox` returns the last run's RDM in place of the mean over runs. Default `exact`. */
  readonly compat?: "exact" | "rsatoolbox" | undefined;
}

/** Patterns by run. */
interface Folds {
  readonly groups: Groups;
  readonly runs: Groups;
  readonly nChannels: number;
  /** Sums over the observations of a condition in a run, `[nRuns, nConditions, nChannels]`. */
  readonly sums: Float64Array;
  /** How many these are, `[nRuns, nConditions]`. */
  readonly counts: Int32Array;
}

/**
 * The cross-validated Mahalanobis distance of every pair of conditions. Noise that runs do not share
 * cancels out: the expected distance of equal patterns is 0, and single values may be negative.
 *
 *   one precision:   mean over runs f of (a_i - a_j)^T S (b_i - b_j) / P,  b: means of run f, a: of all other runs
 *   one per run:     mean over pairs of runs f < g of (x_fi - x_fj)^T ((S_f^-1 + S_g^-1) / 2)^-1 (x_gi - x_gj) / P
 *
 * @param x - `[nObservations, nChannels]`, finite.
 * @param options - Conditions, runs and noise precision.
 * @returns One RDM; conditions ascend by label.
 * @throws {ShapeError} if labels or precisions do not fit.
 * @throws {DataError} if a value is not finite, there are fewer than 2 conditions or runs, a run lacks a condition,
 *   or a precision is not positive definite (several precisions).
 *
 * Cost: with R runs one product of 2 R n P^2 and one of 2 R n^2 P operations; several precisions R (R - 1) / 2 times a
 * Cholesky solution, P^3 / 3 + 2 n P^2 each. Memory: two float64 copies of the mean patterns by run.
 * Source: Nili et al. (2014), PLoS Comput Biol 10:e1003553; Walther et al. (2016), NeuroImage 137:188-200. Matches
 * rsatoolbox.rdm.calc_rdm(method="crossnobis").
 *
 * @example
 * const x = activations([[1, 0], [0, 1], [1, 0], [0, 1]]);
 * const cv = { conditions: ["a", "b", "a", "b"], runs: [1, 1, 2, 2] };
 * (await crossnobisRdm(x, cv)).data[0] // => 1
 */
export function crossnobisRdm(x: Activations, options: CrossnobisOptions): Promise<Rdms> {
  const name = "crossnobisRdm";
  const folds = foldsOf(name, x, options);
  const { precision, removeMean = false } = options;
  const nChannels = folds.nChannels;
  if (precision === undefined || "data" in precision) {
    if (precision) checkChannels(name, "a precision", precision, nChannels);
    return withLinalg(options.linalg, async (linalg) =>
      result(
        folds,
        await onePrecision(linalg, folds, precision, removeMean),
        options.name ?? "crossnobis",
      ),
    );
  }
  if (precision.length !== folds.runs.labels.length) {
    throw new ShapeError(
      `${name}: expected one precision per run (${folds.runs.labels.length}), got ${precision.length}`,
    );
  }
  for (const one of precision) checkChannels(name, "precisions", one, nChannels);
  return withLinalg(options.linalg, async (linalg) =>
    result(
      folds,
      await manyPrecisions(linalg, folds, precision, removeMean),
      options.name ?? "crossnobis",
    ),
  );
}

const result = ({ groups }: Folds, data: Float64Array, name: Label): Rdms =>
  makeRdms(data, 1, { conditions: groups.labels, names: [name] });

function foldsOf(name: string, x: Activations, options: CrossValidatedOptions): Folds {
  checkObservations(name, x);
  const [n, p] = x.shape;
  const groups = groupsOf(name, "conditions", options.conditions, n);
  checkConditions(name, groups.labels.length);
  const runs = groupsOf(name, "runs", options.runs ?? occurrences(name, groups), n);
  const nRuns = runs.labels.length;
  if (nRuns < 2) {
    throw new DataError(`${name}: expected at least 2 runs, got ${nRuns}`, {
      hint: "Without repetitions use calcRdm; its dissimilarities contain the noise.",
    });
  }
  const nConditions = groups.labels.length;
  const sums = new Float64Array(nRuns * nConditions * p);
  const counts = new Int32Array(nRuns * nConditions);
  for (let i = 0; i < n; i++) {
    const cell = runs.index[i]! * nConditions + groups.index[i]!;
    counts[cell]!++;
    for (let j = 0; j < p; j++) sums[cell * p + j]! += x.data[i * p + j]!;
  }
  const empty = counts.indexOf(0);
  if (empty >= 0) {
    throw new DataError(
      `${name}: expected every condition in every run, got none of ${groups.labels[empty % nConditions]} in run ${runs.labels[Math.floor(empty / nConditions)]}`,
      { hint: "unbalancedRdm takes such data." },
    );
  }
  return { groups, runs, nChannels: p, sums, counts };
}

function occurrences(name: string, groups: Groups): Int32Array {
  if (groups.counts.some((count) => count !== groups.counts[0])) {
    throw new DataError(
      `${name}: expected equally many observations of each condition when no runs are named, got ${Array.from(groups.counts).join(", ")}`,
      { hint: "Name the run of each observation." },
    );
  }
  const seen = new Int32Array(groups.labels.length);
  return groups.index.map((c) => seen[c]!++);
}

/** Mean patterns of run f, and of all runs but f, each `[nConditions, nChannels]`. */
function testAndTrain(
  { groups, nChannels: p, sums, counts }: Folds,
  f: number,
  total: { readonly sums: Float64Array; readonly counts: Int32Array },
): { test: Matrix<Float64Array>; train: Matrix<Float64Array> } {
  const n = groups.labels.length;
  const test = new Float64Array(n * p);
  const train = new Float64Array(n * p);
  for (let c = 0; c < n; c++) {
    const count = counts[f * n + c]!;
    const rest = total.counts[c]! - count;
    for (let j = 0; j < p; j++) {
      const sum = sums[(f * n + c) * p + j]!;
      test[c * p + j] = sum / count;
      train[c * p + j] = (total.sums[c * p + j]! - sum) / rest;
    }
  }
  return { test: matrix(test, n, p), train: matrix(train, n, p) };
}

function totals({ groups, runs, nChannels: p, sums, counts }: Folds): {
  sums: Float64Array;
  counts: Int32Array;
} {
  const n = groups.labels.length;
  const total = new Float64Array(n * p);
  const nObservations = new Int32Array(n);
  for (let f = 0; f < runs.labels.length; f++) {
    for (let i = 0; i < n * p; i++) total[i]! += sums[f * n * p + i]!;
    for (let c = 0; c < n; c++) nObservations[c]! += counts[f * n + c]!;
  }
  return { sums: total, counts: nObservations };
}

/**
 * Sum over runs of train_f S test_f^T as one product: runs stand side by side, `[n, R P]`. Taking the
 * channels' means off each side leaves every difference as it is, and spares digits.
 */
async function onePrecision(
  linalg: Linalg,
  folds: Folds,
  precision: Matrix | undefined,
  removeMean: boolean,
): Promise<Float64Array> {
  const n = folds.groups.labels.length;
  const p = folds.nChannels;
  const nRuns = folds.runs.labels.length;
  const total = totals(folds);
  const trains = new Float64Array(n * nRuns * p);
  const tests = new Float64Array(n * nRuns * p);
  for (let c = 0; c < n; c++) {
    for (let f = 0; f < nRuns; f++) {
      const from = (f * n + c) * p;
      const to = (c * nRuns + f) * p;
      const count = folds.counts[f * n + c]!;
      const rest = total.counts[c]! - count;
      for (let j = 0; j < p; j++) {
        const sum = folds.sums[from + j]!;
        tests[to + j] = sum / count;
        trains[to + j] = (total.sums[c * p + j]! - sum) / rest;
      }
    }
  }
  for (const side of [trains, tests]) {
    if (removeMean) centreRows(matrix(side, n * nRuns, p));
    centreColumns(matrix(side, n, nRuns * p));
  }
  const whitened = precision
    ? (await linalg.matmul(matrix(tests, n * nRuns, p), precision)).data
    : tests;
  const kernel = await linalg.matmul(matrix(trains, n, nRuns * p), matrix(whitened, n, nRuns * p), {
    transposeB: true,
  });
  return kernelDistances(kernel, p * nRuns);
}

async function manyPrecisions(
  linalg: Linalg,
  folds: Folds,
  precisions: readonly Matrix[],
  removeMean: boolean,
): Promise<Float64Array> {
  const n = folds.groups.labels.length;
  const p = folds.nChannels;
  const total = totals(folds);
  const means = folds.runs.labels.map((_, f) => {
    const { test } = testAndTrain(folds, f, total);
    if (removeMean) centreRows(test);
    centreColumns(test);
    return test;
  });
  const identity = identityMatrix(p);
  const covariances = precisions.map((one) => choleskySolve(one, identity));
  const sum = new Float64Array(pairsOf(n));
  let nPairs = 0;
  for (let f = 0; f < means.length; f++) {
    for (let g = f + 1; g < means.length; g++, nPairs++) {
      const both = covariances[f]!.data.map((v, i) => (v + covariances[g]!.data[i]!) / 2);
      const solved = choleskySolve(matrix(both, p, p), transposed(means[g]!)); // [P, n]
      const distances = kernelDistances(await linalg.matmul(means[f]!, solved), p);
      for (let i = 0; i < sum.length; i++) sum[i]! += distances[i]!;
    }
  }
  return sum.map((v) => v / nPairs);
}

export function identityMatrix(n: number): Matrix<Float64Array> {
  const data = new Float64Array(n * n);
  for (let i = 0; i < n; i++) data[i * n + i] = 1;
  return matrix(data, n, n);
}

function transposed({ data, nRows, nColumns }: Matrix): Matrix<Float64Array> {
  const out = new Float64Array(data.length);
  for (let i = 0; i < nRows; i++) {
    for (let j = 0; j < nColumns; j++) out[j * nRows + i] = data[i * nColumns + j]!;
  }
  return matrix(out, nColumns, nRows);
}

/**
 * The cross-validated Poisson dissimilarity (symmetrized Kullback-Leibler divergence) of every pair of
 * conditions.
 *
 *   mean over runs f of (K_ii + K_jj - K_ij - K_ji) / P,  K = a log(b)^T,  with priors as in calcRdm
 *
 * @param x - `[nObservations, nChannels]`, counts or rates, at least 0.
 * @param options - Conditions, runs and prior.
 * @returns One RDM; conditions ascend by label.
 * @throws {ShapeError} if labels do not fit.
 * @throws {DataError} if a value is not finite or negative, there are fewer than 2 conditions or runs, or a run
 *   lacks a condition.
 * @throws {ArgumentError} if an option is out of range.
 *
 * Cost: one product of 2 R n^2 P operations.
 * Source: Schütt et al. (2023), eLife 12:e82566. rsatoolbox returns the last run alone (its loop overwrites the
 * RDM); `compat: "rsatoolbox"` gives that.
 *
 * @example
 * const x = activations([[4, 0], [0, 4], [4, 0], [0, 4]]);
 * const cv = { conditions: ["a", "b", "a", "b"], runs: [1, 1, 2, 2] };
 * (await poissonCvRdm(x, cv)).data[0].toFixed(4) // => "13.5039"
 */
export function poissonCvRdm(x: Activations, options: PoissonCvOptions): Promise<Rdms> {
  const name = "poissonCvRdm";
  const { priorLambda = 1, priorWeight = 0.1, compat = "exact" } = options;
  if (compat !== "exact" && compat !== "rsatoolbox") {
    throw new ArgumentError(`${name}: expected compat exact or rsatoolbox, got ${compat}`);
  }
  const folds = foldsOf(name, x, options);
  const n = folds.groups.labels.length;
  const total = totals(folds);
  const nRuns = folds.runs.labels.length;
  const used = compat === "exact" ? nRuns : 1;
  return withLinalg(options.linalg, async (linalg) => {
    const sum = new Float64Array(pairsOf(n));
    for (let f = nRuns - used; f < nRuns; f++) {
      const { test, train } = testAndTrain(folds, f, total);
      const rates = poissonRates(name, train, priorLambda, priorWeight);
      const logs = poissonRates(name, test, priorLambda, priorWeight).data.map(Math.log);
      const kernel = await linalg.matmul(rates, matrix(logs, n, folds.nChannels), {
        transposeB: true,
      });
      const distances = kernelDistances(kernel, folds.nChannels);
      for (let i = 0; i < sum.length; i++) sum[i]! += distances[i]! / used;
    }
    return result(folds, sum, options.name ?? "poisson-cv");
  });
}
