import {
  ArgumentError,
  createRng,
  DataError,
  type LongWork,
  permutation,
  throwIfAborted,
} from "@penfield/core";
import { averageRanks, kendallTau, presort, rankP, type Tail } from "@penfield/stats";
import {
  type CompareOptions,
  checkComparison,
  compareRdms,
  lessMeans,
  type RdmComparison,
} from "./compareRdms.ts";
import { callKey, keptNumbers, type Resumable } from "./kept.ts";
import { ceilingOf, meanOf } from "./noiseCeiling.ts";
import { groupsOf } from "./observations.ts";
import { withLinalg } from "./products.ts";
import {
  checkSameConditions,
  type Label,
  makeRdms,
  pairIndex,
  type Rdms,
  rdmRow,
  takeConditions,
} from "./rdms.ts";

/** How conditions are shuffled. */
export interface PermutationTestOptions extends CompareOptions, LongWork, Resumable {
  /** Default 1000. */
  readonly nDraws?: number | undefined;
  /** Default "greater". */
  readonly tail?: Tail | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
}

/** How unusual the similarity of RDMs is. */
export interface RdmPermutationResult {
  /** Mean similarity of each model with the data, `[nModels]`. */
  readonly observed: Float64Array;
  /** `[nModels]`; never 0. */
  readonly p: Float64Array;
  /** The same against the largest of all models in each draw: holds the chance of any false discovery. */
  readonly pMax: Float64Array;
  /** `[nDraws, nModels]`. */
  readonly nulls: Float64Array;
}

/**
 * Are RDMs related? Conditions of the models are shuffled (rows and columns together), and the similarity
 * with the data is held against that.
 *
 * @param models - RDMs whose relation to the data is tested.
 * @param data - RDMs; similarities are averaged over them.
 * @param options - The comparison, how often to shuffle, and the tail. `bures-metric` is small for similar RDMs: take `less`.
 * @returns Similarities, their null distributions and p.
 * @throws As {@link compareRdms}; {DataError} if a similarity is not defined.
 *
 * Cost: cosine, pearson, spearman, rho-a: nDraws nModels m operations for m pairs; Kendall's nDraws nModels nRdms m log m; others nDraws
 * comparisons. With n conditions there are n! orders: 4 conditions can show no p below 1/24.
 * Source: Kriegeskorte et al. (2008), Front Syst Neurosci 2:4; Mantel (1967). rsatoolbox has none (issue 249).
 *
 * @example
 * const a = rdms([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]]);
 * (await rdmPermutationTest(a, a, { nDraws: 199 })).p[0] < 0.05 // => true
 */
export function rdmPermutationTest(
  models: Rdms,
  data: Rdms,
  options: PermutationTestOptions = {},
): Promise<RdmPermutationResult> {
  const name = "rdmPermutationTest";
  const { method = "pearson", nDraws = 1000, tail = "greater", seed = 0 } = options;
  checkComparison(name, method, options.compat);
  checkSameConditions(name, models, data);
  if (!Number.isSafeInteger(nDraws) || nDraws < 1) {
    throw new ArgumentError(`${name}: expected nDraws of at least 1, got ${nDraws}`);
  }
  const n = models.nConditions;
  return withLinalg(options.linalg, async (linalg) => {
    const similarity = async (from: Rdms): Promise<Float64Array> => {
      const { data: similar } = await compareRdms(from, data, { ...options, method, linalg });
      return Float64Array.from({ length: from.nRdms }, (_, m) =>
        meanOf(similar.subarray(m * data.nRdms, (m + 1) * data.nRdms)),
      );
    };
    const observed = await similarity(models);
    const undefined_ = observed.findIndex(Number.isNaN);
    if (undefined_ >= 0) {
      throw new DataError(
        `${name}: expected a similarity for model ${models.names[undefined_]}, got NaN`,
        { hint: "An RDM that is constant or all zero has none." },
      );
    }
    const fast = fastSimilarity(models, data, method);
    const rng = createRng(seed);
    const { sigmaK, compat } = options;
    const key = callKey(name, [models.data, data.data, [method, sigmaK, compat, seed]]);
    const nulls = await shuffledInParts(name, nDraws, models.nRdms, key, options, () => {
      const order = permutation(n, rng);
      return async () => (fast ? fast(order) : similarity(shuffledRdms(models, order)));
    });
    return { observed, ...pValues(observed, nulls, nDraws, tail), nulls };
  });
}

/**
 * Values of shuffles, `[nDraws, width]`, in parts between which work can be interrupted, reported and kept. What `next` draws
 * is drawn for kept parts too, so that later ones get theirs.
 */
async function shuffledInParts(
  name: string,
  nDraws: number,
  width: number,
  key: string,
  { onProgress, signal, keep }: LongWork & Resumable,
  next: () => () => Promise<ArrayLike<number>>,
): Promise<Float64Array> {
  const size = 64;
  const nulls = new Float64Array(nDraws * width);
  for (let start = 0; start < nDraws; start += size) {
    throwIfAborted(signal, name);
    onProgress?.({ stage: "shuffling", done: start, total: nDraws, unit: "draws" });
    // Work without a pause would never see a signal.
    await new Promise((resolve) => setImmediate(resolve));
    const work = Array.from({ length: Math.min(size, nDraws - start) }, next);
    const length = work.length * width;
    const part = await keptNumbers(keep, `${key} ${start}`, length, async () => {
      const made = new Float64Array(length);
      for (const [i, one] of work.entries()) made.set(await one(), i * width);
      return made;
    });
    nulls.set(part, start * width);
  }
  return nulls;
}

/** The same conditions' names, their patterns in another order. */
function shuffledRdms(from: Rdms, order: Int32Array): Rdms {
  return { ...takeConditions(from, order), conditions: from.conditions };
}

function pValues(observed: Float64Array, nulls: Float64Array, nDraws: number, tail: Tail) {
  const nModels = observed.length;
  const column = (m: number) =>
    Float64Array.from({ length: nDraws }, (_, d) => nulls[d * nModels + m]!);
  const extreme = Float64Array.from({ length: nDraws }, (_, d) => {
    const row = nulls.subarray(d * nModels, (d + 1) * nModels);
    return tail === "less"
      ? Math.min(...row)
      : Math.max(...(tail === "greater" ? row : row.map(Math.abs)));
  });
  // Rounding alone must not make an order that leaves the RDM as it is look smaller.
  const slack = 1e-12;
  const shift = tail === "less" ? slack : -slack;
  return {
    p: observed.map((v, m) => rankP(tail === "two-sided" ? v : v + shift, column(m), { tail })),
    pMax: observed.map((v) =>
      tail === "two-sided"
        ? rankP(Math.abs(v) - slack, extreme, { tail: "greater" })
        : rankP(v + shift, extreme, { tail }),
    ),
  };
}

/** For comparisons whose rows are only reordered by shuffling; undefined for others, or with missing pairs. */
function fastSimilarity(
  models: Rdms,
  data: Rdms,
  method: RdmComparison,
): ((order: Int32Array) => Float64Array) | undefined {
  const isKendall = method === "tau-a" || method === "tau-b";
  const isRow = ["cosine", "pearson", "spearman", "rho-a"].includes(method);
  if ((!isRow && !isKendall) || models.data.some(Number.isNaN) || data.data.some(Number.isNaN)) {
    return undefined;
  }
  const n = models.nConditions;
  const m = models.nPairs;
  const places = (order: Int32Array): Int32Array => {
    const out = new Int32Array(m);
    let p = 0;
    for (let i = 0; i < n; i++) {
      for (let j = i + 1; j < n; j++) {
        const a = order[i]!;
        const b = order[j]!;
        out[p++] = a < b ? pairIndex(n, a, b) : pairIndex(n, b, a);
      }
    }
    return out;
  };
  if (isKendall) {
    const variant = method === "tau-a" ? "a" : "b";
    const sort = (from: Rdms) =>
      Array.from({ length: from.nRdms }, (_, k) => presort(rdmRow(from, k)));
    const [left, right] = [sort(models), sort(data)];
    return (order) => {
      const to = places(order);
      return Float64Array.from(left, ({ dense, nDistinct }) => {
        const ranks = shuffledRanks(dense, nDistinct, to);
        return meanOf(right.map((y) => kendallTau(y, ranks, { variant })));
      });
    };
  }
  const left = unitRows(models, method);
  const mean = new Float64Array(m);
  const right = unitRows(data, method);
  for (let k = 0; k < data.nRdms; k++) {
    for (let p = 0; p < m; p++) mean[p]! += right[k * m + p]! / data.nRdms;
  }
  return (order) => {
    const to = places(order);
    const out = new Float64Array(models.nRdms);
    for (let k = 0; k < models.nRdms; k++) {
      let sum = 0;
      for (let p = 0; p < m; p++) sum += left[k * m + to[p]!]! * mean[p]!;
      out[k] = sum;
    }
    return out;
  };
}

/** Only the ranks of the second argument of kendallTau are read. */
const shuffledRanks = (dense: Int32Array, nDistinct: number, to: Int32Array) => {
  const out = new Int32Array(dense.length);
  for (let p = 0; p < out.length; p++) out[p] = dense[to[p]!]!;
  return { order: out, dense: out, nDistinct };
};

function unitRows(from: Rdms, method: RdmComparison): Float64Array {
  const rows = { data: from.data.slice(), nRows: from.nRdms, nColumns: from.nPairs };
  const m = from.nPairs;
  for (let k = 0; k < from.nRdms; k++) {
    const row = rows.data.subarray(k * m, (k + 1) * m);
    if (method === "spearman" || method === "rho-a") row.set(averageRanks(presort(row)));
  }
  if (method !== "cosine") lessMeans(rows);
  for (let k = 0; k < from.nRdms; k++) {
    const row = rows.data.subarray(k * m, (k + 1) * m);
    const square = row.reduce((sum, v) => sum + v * v, 0);
    const scale = method === "rho-a" ? Math.sqrt(12 / (m ** 3 - m)) : 1 / Math.sqrt(square);
    for (let p = 0; p < m; p++) row[p]! *= scale;
  }
  return rows.data;
}

/**
 * Do subjects share anything? The lower noise ceiling against that of RDMs whose conditions are shuffled for each
 * subject on its own.
 *
 * @param data - RDMs of at least 2 subjects.
 * @param options - The comparison, whose RDM each is, and how often to shuffle.
 * @returns The observed lower ceiling, p and the null values.
 * @throws As {@link noiseCeiling}; {DataError} with fewer than 2 subjects, or if the ceiling is not defined.
 *
 * Cost: nDraws noise ceilings.
 * Source: asked for in rsatoolbox issue 332.
 *
 * @example
 * const data = rdms([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [1, 3, 2, 4, 6, 5, 7, 8, 10, 9], [2, 1, 3, 4, 5, 7, 6, 9, 8, 10]]);
 * (await noiseCeilingTest(data, { nDraws: 99 })).p // => 0.01
 */
export function noiseCeilingTest(
  data: Rdms,
  options: PermutationTestOptions & { readonly subjects?: ArrayLike<Label> | undefined } = {},
): Promise<{ readonly observed: number; readonly p: number; readonly nulls: Float64Array }> {
  const name = "noiseCeilingTest";
  const { method = "pearson", nDraws = 1000, seed = 0 } = options;
  const subjects = groupsOf(name, "subjects", options.subjects, data.nRdms);
  if (subjects.labels.length < 2) {
    throw new DataError(`${name}: expected at least 2 subjects, got ${subjects.labels.length}`);
  }
  return withLinalg(options.linalg, async (linalg) => {
    const lower = async (from: Rdms) =>
      (
        await ceilingOf(linalg, from, subjects.index, subjects.labels.length, {
          ...options,
          method,
          linalg,
        })
      ).lower;
    const observed = await lower(data);
    if (Number.isNaN(observed)) {
      throw new DataError(`${name}: expected a noise ceiling, got NaN`, {
        hint: "An RDM that is constant or all zero has none: leave it out.",
      });
    }
    const rng = createRng(seed);
    const { sigmaK, compat } = options;
    const key = callKey(name, [data.data, subjects.index, [method, sigmaK, compat, seed]]);
    const nulls = await shuffledInParts(name, nDraws, 1, key, options, () => {
      const orders = subjects.labels.map(() => permutation(data.nConditions, rng));
      return async () => {
        const shuffled = new Float64Array(data.data.length);
        for (let k = 0; k < data.nRdms; k++) {
          const one = makeRdms(rdmRow(data, k), 1);
          shuffled.set(takeConditions(one, orders[subjects.index[k]!]!).data, k * data.nPairs);
        }
        return [await lower({ ...data, data: shuffled })];
      };
    });
    return { observed, p: rankP(observed, nulls), nulls };
  });
}
