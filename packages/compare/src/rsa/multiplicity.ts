import { ArgumentError } from "@penfield/core";
import { type Linalg, matrix } from "@penfield/linalg";
import { kendallTau, type Presorted, presort } from "@penfield/stats";
import {
  type CompareOptions,
  compareRdms,
  presentPairs,
  type RdmComparison,
} from "./compareRdms.ts";
import { ceilingOf, meanOf, type NoiseCeiling } from "./noiseCeiling.ts";
import { type Rdms, rdmRow, takeConditions, takeRdms } from "./rdms.ts";
import { takeSigma } from "./whiten.ts";

/** How often each condition and each RDM was drawn. */
export interface Counts {
  /** `[nConditions]`; undefined if each once. */
  readonly conditions: Int32Array | undefined;
  /** `[nRdms]`; undefined if each once. */
  readonly rdms: Int32Array | undefined;
}

/** Scores of one draw. */
export interface Scores extends NoiseCeiling {
  /** The mean similarity of each model with the RDMs drawn, `[nModels]`. */
  readonly models: Float64Array;
}

/** Models and data whose scores under resampling are wanted. */
export interface Sampled {
  readonly models: Rdms;
  readonly data: Rdms;
  /** Whose RDM each of the data is, `[nRdms]`, from 0. */
  readonly subjects: Int32Array;
  readonly nSubjects: number;
  readonly options: CompareOptions & { readonly method: RdmComparison };
  /** Whether noise ceilings are wanted; else they are NaN. */
  readonly ceilings: boolean;
}

/**
 * Scores for draws with repetition of conditions and RDMs, without resampling a matrix: a condition drawn c times
 * gives its pairs with another, drawn d times, the weight c d, and pairs with itself the weight 0. Then
 *
 *   cosine, pearson, whitened    inner products are quadratic forms in the counts: one matrix product for all draws
 *   rank correlations            each RDM is sorted once; a prefix sum of weights gives the ranks of a draw
 *
 * Source: equal to the scores of the resampled matrices (Schütt et al. 2023, whose resampling this replaces).
 */
export async function scoresOfDraws(
  linalg: Linalg,
  sampled: Sampled,
  draws: readonly Counts[],
): Promise<Scores[]> {
  const { method, sigmaK } = sampled.options;
  const ranked = ["spearman", "rho-a", "tau-a", "tau-b"].includes(method);
  const present = presentPairs([sampled.models, sampled.data]);
  const whitened = method === "whitened-cosine" || method === "whitened-pearson";
  if (ranked) return rankedScores(sampled, present, draws);
  if (method === "cosine" || method === "pearson" || (whitened && !sigmaK && !present)) {
    return momentScores(linalg, sampled, present, draws);
  }
  return resampledScores(linalg, sampled, draws);
}

/** Pairs' weights: products of the conditions' counts; 0 where an RDM lacks the pair. */
function pairWeights(
  n: number,
  counts: Int32Array | undefined,
  present: Uint8Array | undefined,
  out: Float64Array,
): void {
  let p = 0;
  for (let i = 0; i < n; i++) {
    const own = counts ? counts[i]! : 1;
    for (let j = i + 1; j < n; j++, p++) {
      out[p] = present && !present[p] ? 0 : own * (counts ? counts[j]! : 1);
    }
  }
}

/** Models and data scaled to comparable size, 0 where a pair is missing, `[nModels + nRdms, nPairs]`. */
function scaledRows({ models, data, options }: Sampled, present: Uint8Array | undefined) {
  const total = models.nRdms + data.nRdms;
  const nPairs = data.nPairs;
  const centred = options.method === "pearson" || options.method === "whitened-pearson";
  const rows = new Float64Array(total * nPairs);
  for (let t = 0; t < total; t++) {
    const from = t < models.nRdms ? rdmRow(models, t) : rdmRow(data, t - models.nRdms);
    const to = rows.subarray(t * nPairs, (t + 1) * nPairs);
    let count = 0;
    let mean = 0;
    let first = Number.NaN;
    for (let p = 0; p < nPairs; p++) {
      if (present && !present[p]) continue;
      if (count++ === 0) first = from[p]!;
      mean += from[p]! - first;
    }
    const shift = centred ? first + mean / count : 0;
    let square = 0;
    for (let p = 0; p < nPairs; p++) {
      if (present && !present[p]) continue;
      to[p] = centred ? from[p]! - first - mean / count : from[p]! - shift;
      square += to[p]! * to[p]!;
    }
    const scale = square > 0 ? Math.sqrt(square / count) : 1;
    for (let p = 0; p < nPairs; p++) to[p]! /= scale;
  }
  return rows;
}

/** Draws are worked on so many at a time. */
const BATCH = 256;

async function momentScores(
  linalg: Linalg,
  sampled: Sampled,
  present: Uint8Array | undefined,
  draws: readonly Counts[],
): Promise<Scores[]> {
  const { models, data, options } = sampled;
  const { nPairs, nConditions: n } = data;
  const total = models.nRdms + data.nRdms;
  const rows = scaledRows(sampled, present);
  const wanted = productPairs(models.nRdms, data.nRdms, sampled.ceilings);
  const width = wanted.length + total + 1;
  const products = new Float64Array(nPairs * width);
  for (let p = 0; p < nPairs; p++) {
    const at = p * width;
    for (let q = 0; q < wanted.length; q++) {
      const [s, t] = wanted[q]!;
      products[at + q] = rows[s * nPairs + p]! * rows[t * nPairs + p]!;
    }
    for (let t = 0; t < total; t++) products[at + wanted.length + t] = rows[t * nPairs + p]!;
    products[at + width - 1] = 1;
  }
  const whitened = options.method === "whitened-cosine" || options.method === "whitened-pearson";
  const squares = whitened ? sideBySide(rows, total, n) : undefined;
  const out: Scores[] = [];
  // Draws that differ in their RDMs alone have the same moments.
  const fixed = draws.every(({ conditions }) => conditions === undefined);
  const moments = async (some: readonly Counts[]) => {
    const weights = new Float64Array(some.length * nPairs);
    const counts = new Float64Array(some.length * n).fill(1);
    some.forEach(({ conditions }, d) => {
      pairWeights(n, conditions, present, weights.subarray(d * nPairs, (d + 1) * nPairs));
      if (conditions) counts.set(conditions, d * n);
    });
    const forms = await linalg.matmul(
      matrix(weights, some.length, nPairs),
      matrix(products, nPairs, width),
    );
    const sums = squares
      ? await linalg.matmul(matrix(counts, some.length, n), matrix(squares, n, n * total))
      : undefined;
    return some.map((_, d) =>
      innerProducts(
        options.method,
        wanted,
        total,
        forms.data.subarray(d * width, (d + 1) * width),
        counts.subarray(d * n, (d + 1) * n),
        sums?.data.subarray(d * n * total, (d + 1) * n * total),
      ),
    );
  };
  if (fixed) {
    const [inner] = await moments([{ conditions: undefined, rdms: undefined }]);
    return draws.map(({ rdms }) => fromInner(sampled, inner!, rdms));
  }
  for (let start = 0; start < draws.length; start += BATCH) {
    const some = draws.slice(start, start + BATCH);
    const inner = await moments(some);
    some.forEach(({ rdms }, d) => {
      out.push(fromInner(sampled, inner[d]!, rdms));
    });
  }
  return out;
}

/** Which inner products are needed: models with data, models with themselves, data with data. */
function productPairs(nModels: number, nRdms: number, ceilings: boolean): [number, number][] {
  const out: [number, number][] = [];
  for (let m = 0; m < nModels; m++) {
    out.push([m, m]);
    for (let k = 0; k < nRdms; k++) out.push([m, nModels + k]);
  }
  for (let k = 0; k < nRdms; k++) {
    for (let l = k; l < (ceilings ? nRdms : k + 1); l++) out.push([nModels + k, nModels + l]);
  }
  return out;
}

/** Square forms of all rows beside each other, `[n, n total]`: column i total + t is condition i of row t. */
function sideBySide(rows: Float64Array, total: number, n: number): Float64Array {
  const nPairs = rows.length / total;
  const out = new Float64Array(n * n * total);
  for (let t = 0; t < total; t++) {
    let p = t * nPairs;
    for (let i = 0; i < n; i++) {
      for (let j = i + 1; j < n; j++, p++) {
        out[i * n * total + j * total + t] = rows[p]!;
        out[j * n * total + i * total + t] = rows[p]!;
      }
    }
  }
  return out;
}

/** Inner products `[total, total]` (those wanted), and the squared sizes by which a pool divides. */
interface Inner {
  readonly products: Float64Array;
  readonly poolSquares: Float64Array;
  readonly total: number;
}

function innerProducts(
  method: RdmComparison,
  wanted: readonly [number, number][],
  total: number,
  forms: Float64Array,
  counts: Float64Array,
  sums: Float64Array | undefined,
): Inner {
  const linear = forms.subarray(wanted.length, wanted.length + total);
  const weight = forms[forms.length - 1]!;
  const centred = method === "pearson" || method === "whitened-pearson";
  const products = new Float64Array(total * total).fill(Number.NaN);
  const poolSquares = new Float64Array(total);
  const effects = sums ? effectsOf(sums, linear, weight, counts, total, centred) : undefined;
  wanted.forEach(([s, t], q) => {
    let value = forms[q]! - (centred ? (linear[s]! * linear[t]!) / weight : 0);
    // What rounding leaves of a constant is nothing.
    if (s === t && value <= 1e-13 * forms[q]!) value = 0;
    if (s === t) poolSquares[s] = value / weight;
    if (effects) value = (value + crossEffect(effects, counts, s, t, total)) / 2;
    products[s * total + t] = value;
    products[t * total + s] = value;
  });
  return { products, poolSquares, total };
}

interface Effects {
  /** Sums of a row's dissimilarities over the conditions drawn, `[n, total]`. */
  readonly sums: Float64Array;
  /** What is taken off each condition's row and column, `[n, total]`. */
  readonly effects: Float64Array;
}

/**
 * Row and column effects of the Gram matrix of a draw: (1 + n / 2 - c_u) a_u + s / 2 = b_u, with s = sum c a and
 * b_u = -1/2 sum over v of c_v d_uv. One unknown, s, decides all.
 */
function effectsOf(
  rowSums: Float64Array,
  linear: Float64Array,
  weight: number,
  counts: Float64Array,
  total: number,
  centred: boolean,
): Effects {
  const n = counts.length;
  let drawn = 0;
  for (const c of counts) drawn += c;
  const sums = rowSums.slice();
  const effects = new Float64Array(n * total);
  for (let t = 0; t < total; t++) {
    const mean = centred ? linear[t]! / weight : 0;
    let above = 0;
    let below = 1;
    let alone = -1;
    for (let u = 0; u < n; u++) {
      const c = counts[u]!;
      if (c === 0) continue;
      const sum = sums[u * total + t]! - mean * (drawn - c);
      sums[u * total + t] = sum;
      const own = 1 + drawn / 2 - c;
      if (own === 0) {
        alone = u;
        continue;
      }
      above += (c * -0.5 * sum) / own;
      below += (0.5 * c) / own;
    }
    // A condition drawn 1 + n / 2 times decides s by itself.
    const s = alone < 0 ? above / below : -sums[alone * total + t]!;
    let others = 0;
    for (let u = 0; u < n; u++) {
      const c = counts[u]!;
      if (c === 0 || u === alone) continue;
      const a = (-0.5 * sums[u * total + t]! - s / 2) / (1 + drawn / 2 - c);
      effects[u * total + t] = a;
      others += c * a;
    }
    if (alone >= 0) effects[alone * total + t] = (s - others) / counts[alone]!;
  }
  return { sums, effects };
}

function crossEffect(
  { sums, effects }: Effects,
  counts: Float64Array,
  s: number,
  t: number,
  total: number,
): number {
  let out = 0;
  for (let u = 0; u < counts.length; u++) {
    if (counts[u] !== 0) out += counts[u]! * effects[u * total + t]! * sums[u * total + s]!;
  }
  return out;
}

/** Cosines, and those with pools, from inner products. */
function fromInner(
  { models, data, subjects, nSubjects, ceilings, options }: Sampled,
  { products, poolSquares, total }: Inner,
  counts: Int32Array | undefined,
): Scores {
  const nModels = models.nRdms;
  const ofZero = options.compat === "rsatoolbox" ? 0 : Number.NaN;
  const at = (s: number, t: number) => products[s * total + t]!;
  const cosine = (product: number, a: number, b: number) =>
    a > 0 && b > 0 ? product / Math.sqrt(a) / Math.sqrt(b) : ofZero;
  const scores = Float64Array.from({ length: nModels }, (_, m) => {
    let sum = 0;
    let weight = 0;
    for (let k = 0; k < data.nRdms; k++) {
      const count = counts ? counts[k]! : 1;
      if (count === 0) continue;
      const d = nModels + k;
      sum += count * cosine(at(m, d), at(m, m), at(d, d));
      weight += count;
    }
    return sum / weight;
  });
  if (!ceilings) return { models: scores, lower: Number.NaN, upper: Number.NaN };
  const used = Array.from({ length: data.nRdms }, (_, k) => k).filter((k) => !counts || counts[k]);
  const share = (k: number) => (counts ? counts[k]! : 1) / Math.sqrt(poolSquares[nModels + k]!);
  const withPool = (pool: readonly number[], i: number): number => {
    let product = 0;
    let square = 0;
    for (const k of pool) {
      product += share(k) * at(nModels + k, nModels + i);
      for (const l of pool) square += share(k) * share(l) * at(nModels + k, nModels + l);
    }
    return cosine(product, square, at(nModels + i, nModels + i));
  };
  return { models: scores, ...ceilingFrom(used, subjects, nSubjects, counts, withPool) };
}

/** Both bounds, given the similarity of the pool of some RDMs with one. */
function ceilingFrom(
  used: readonly number[],
  subjects: Int32Array,
  nSubjects: number,
  counts: Int32Array | undefined,
  withPool: (pool: readonly number[], i: number) => number,
): NoiseCeiling {
  const over = (list: readonly number[], pool: readonly number[]): number => {
    let sum = 0;
    let total = 0;
    for (const k of list) {
      const count = counts ? counts[k]! : 1;
      sum += count * withPool(pool, k);
      total += count;
    }
    return sum / total;
  };
  const own = Array.from({ length: nSubjects }, (_, s) => used.filter((k) => subjects[k] === s));
  const drawn = own.filter((list) => list.length > 0);
  if (drawn.length < 2) {
    const both = over(used, used);
    return { lower: both, upper: both };
  }
  let lower = 0;
  let upper = 0;
  for (const list of drawn) {
    const others = used.filter((k) => !list.includes(k));
    lower += over(list, others) / drawn.length;
    upper += over(list, used) / drawn.length;
  }
  return { lower, upper };
}

function rankedScores(
  sampled: Sampled,
  present: Uint8Array | undefined,
  draws: readonly Counts[],
): Scores[] {
  const { models, data } = sampled;
  const { nPairs, nConditions } = data;
  const sorted = [models, data].flatMap((from) =>
    Array.from({ length: from.nRdms }, (_, t) =>
      // A missing pair has the weight 0; any number will do for its place.
      presort(rdmRow(from, t).map((v) => (Number.isNaN(v) ? 0 : v))),
    ),
  );
  const all = new Float64Array(nPairs);
  return draws.map(({ conditions, rdms }) => {
    pairWeights(nConditions, conditions, present, all);
    return rankedDraw(sampled, sorted, all, rdms);
  });
}

function rankedDraw(
  { models, data, subjects, nSubjects, options, ceilings }: Sampled,
  sorted: readonly Presorted[],
  all: Float64Array,
  counts: Int32Array | undefined,
): Scores {
  const nModels = models.nRdms;
  const { method } = options;
  const { kept, weights, total } = positive(all);
  const used = Array.from({ length: data.nRdms }, (_, k) => k).filter((k) => !counts || counts[k]);
  const isTau = method === "tau-a" || method === "tau-b";
  const variant = method === "tau-a" ? "a" : "b";
  const ofZero = options.compat === "rsatoolbox" ? 0 : Number.NaN;
  const roots = weights.map(Math.sqrt);
  /** Ranks as a vector of which inner products are correlations. */
  const direction = (twice: Float64Array): Float64Array => {
    const out = new Float64Array(twice.length);
    let square = 0;
    for (let p = 0; p < out.length; p++) {
      const value = roots[p]! * (twice[p]! - total - 1);
      out[p] = value;
      square += value * value;
    }
    // Doubled ranks make squares four times as large.
    const scale =
      method === "rho-a"
        ? Math.sqrt(3 / (total ** 3 - total))
        : square > 0
          ? 1 / Math.sqrt(square)
          : ofZero;
    for (let p = 0; p < out.length; p++) out[p]! *= scale;
    return out;
  };
  const needsRanks = (t: number): boolean =>
    t < nModels ? !isTau : (!isTau || ceilings) && (!counts || counts[t - nModels]! > 0);
  const scratch = new Float64Array(all.length);
  const twice = sorted.map((one, t) =>
    needsRanks(t) ? twiceRanks(one, all, kept, scratch) : undefined,
  );
  const directions = isTau ? [] : twice.map((ranks) => ranks && direction(ranks));
  const score = (m: number, k: number): number =>
    isTau
      ? kendallTau(sorted[m]!, sorted[nModels + k]!, { variant, weights: all })
      : dot(directions[m]!, directions[nModels + k]!);
  const scores = Float64Array.from({ length: nModels }, (_, m) => {
    let sum = 0;
    let weight = 0;
    for (const k of used) {
      const count = counts ? counts[k]! : 1;
      sum += count * score(m, k);
      weight += count;
    }
    return sum / weight;
  });
  if (!ceilings) return { models: scores, lower: Number.NaN, upper: Number.NaN };
  const added = (sum: Float64Array, rdms: readonly number[], sign: number): Float64Array => {
    for (const k of rdms) {
      const count = sign * (counts ? counts[k]! : 1);
      const row = twice[nModels + k]!;
      for (let p = 0; p < sum.length; p++) sum[p]! += count * row[p]!;
    }
    return sum;
  };
  const whole = added(new Float64Array(kept.length), used, 1);
  // Sums of whole numbers are exact, so that of nearly all is that of all less the others.
  const poolSum = (pool: readonly number[]): Float64Array => {
    const left = used.filter((k) => !pool.includes(k));
    return left.length < pool.length
      ? added(whole.slice(), left, -1)
      : added(new Float64Array(kept.length), pool, 1);
  };
  const pools = new Map<string, Float64Array | Presorted>();
  const withPool = (pool: readonly number[], i: number): number => {
    const key = pool.join();
    let ready = pools.get(key);
    if (!ready) {
      const sum = poolSum(pool);
      ready = isTau ? presort(spreadOver(sum, kept, all.length)) : direction(ofWhole(sum, weights));
      pools.set(key, ready);
    }
    return "order" in ready
      ? kendallTau(ready, sorted[nModels + i]!, { variant, weights: all })
      : dot(ready, directions[nModels + i]!);
  };
  return { models: scores, ...ceilingFrom(used, subjects, nSubjects, counts, withPool) };
}

function dot(a: Float64Array, b: Float64Array): number {
  const n = a.length;
  let [even, odd] = [0, 0];
  let i = 0;
  // Two sums need not wait for each other.
  for (; i + 1 < n; i += 2) {
    even += a[i]! * b[i]!;
    odd += a[i + 1]! * b[i + 1]!;
  }
  return i < n ? even + odd + a[i]! * b[i]! : even + odd;
}

/** The pairs whose weight is above 0. */
function positive(all: Float64Array): { kept: Int32Array; weights: Float64Array; total: number } {
  const kept = new Int32Array(all.length);
  let n = 0;
  let total = 0;
  for (let p = 0; p < all.length; p++) {
    if (!(all[p]! > 0)) continue;
    kept[n++] = p;
    total += all[p]!;
  }
  const weights = new Float64Array(n);
  for (let i = 0; i < n; i++) weights[i] = all[kept[i]!]!;
  return { kept: kept.subarray(0, n), weights, total };
}

function spreadOver(values: Float64Array, kept: Int32Array, n: number): Float64Array {
  const out = new Float64Array(n);
  for (let i = 0; i < kept.length; i++) out[kept[i]!] = values[i]!;
  return out;
}

/** Twice the mean ranks of the pairs kept, each pair counting as often as it weighs. */
function twiceRanks(
  { order, dense, nDistinct }: Presorted,
  all: Float64Array,
  kept: Int32Array,
  scratch: Float64Array,
): Float64Array {
  let before = 0;
  const untied = nDistinct === order.length;
  for (let k = 0; k < order.length && untied; k++) {
    const p = order[k]!;
    const weight = all[p]!;
    scratch[p] = 2 * before + weight + 1;
    before += weight;
  }
  for (let start = 0; start < order.length && !untied; ) {
    const rank = dense[order[start]!]!;
    let stop = start;
    let group = 0;
    while (stop < order.length && dense[order[stop]!] === rank) group += all[order[stop++]!]!;
    const twice = 2 * before + group + 1;
    for (let k = start; k < stop; k++) scratch[order[k]!] = twice;
    before += group;
    start = stop;
  }
  const out = new Float64Array(kept.length);
  for (let i = 0; i < out.length; i++) out[i] = scratch[kept[i]!]!;
  return out;
}

/** The same of whole numbers from 0, sorted by their digits: that is far quicker than by comparisons. */
function ofWhole(values: Float64Array, weights: Float64Array): Float64Array {
  const n = values.length;
  let largest = 0;
  for (let i = 0; i < n; i++) if (values[i]! > largest) largest = values[i]!;
  if (largest >= 2 ** 31) {
    const kept = Int32Array.from(values.keys());
    return twiceRanks(presort(values), weights, kept, new Float64Array(n));
  }
  const keys = Int32Array.from(values);
  let order = new Int32Array(n);
  let next = new Int32Array(n);
  for (let i = 0; i < n; i++) order[i] = i;
  const starts = new Int32Array(DIGIT + 1);
  for (let shift = 0; 2 ** shift <= largest; shift += DIGIT_BITS) {
    starts.fill(0);
    for (let i = 0; i < n; i++) starts[((keys[i]! >> shift) & (DIGIT - 1)) + 1]!++;
    for (let d = 0; d < DIGIT; d++) starts[d + 1]! += starts[d]!;
    for (let i = 0; i < n; i++) {
      const at = order[i]!;
      next[starts[(keys[at]! >> shift) & (DIGIT - 1)]!++] = at;
    }
    [order, next] = [next, order];
  }
  const out = new Float64Array(n);
  let before = 0;
  for (let start = 0; start < n; ) {
    const value = keys[order[start]!]!;
    let stop = start;
    let group = 0;
    while (stop < n && keys[order[stop]!] === value) group += weights[order[stop++]!]!;
    for (let k = start; k < stop; k++) out[order[k]!] = 2 * before + group + 1;
    before += group;
    start = stop;
  }
  return out;
}

/** Bits of a digit, and how many digits there are. */
const DIGIT_BITS = 9;
const DIGIT = 1 << DIGIT_BITS;

/** The same scores by the definition: resampled matrices, compared. For every method that allows missing pairs. */
export async function resampledScores(
  linalg: Linalg,
  { models, data, subjects, options, ceilings }: Sampled,
  draws: readonly Counts[],
): Promise<Scores[]> {
  const out: Scores[] = [];
  for (const { conditions, rdms } of draws) {
    const repeated = conditions?.some((c) => c > 1);
    const needsAll = ["bures", "bures-metric", "neg-riemannian"].includes(options.method);
    if (repeated && needsAll) {
      throw new ArgumentError(
        `bootstrap: expected a method that allows missing pairs, got ${options.method}`,
        {
          hint: "Conditions drawn twice leave their pair undefined; draw RDMs instead, or use another comparison.",
        },
      );
    }
    const places = conditions ? repeat(conditions) : undefined;
    const rows = rdms ? repeat(rdms) : Int32Array.from({ length: data.nRdms }, (_, k) => k);
    const model = places ? takeConditions(models, places) : models;
    const sample = takeRdms(places ? takeConditions(data, places) : data, rows);
    const options_ = {
      ...options,
      linalg,
      ...(places && options.sigmaK ? { sigmaK: takeSigma(options.sigmaK, places) } : {}),
    };
    const similar = await compareRdms(model, sample, options_);
    const scores = Float64Array.from({ length: models.nRdms }, (_, m) =>
      meanOf(similar.data.subarray(m * rows.length, (m + 1) * rows.length)),
    );
    const drawn = [...new Set(Array.from(rows, (k) => subjects[k]!))];
    const index = Int32Array.from(rows, (k) => drawn.indexOf(subjects[k]!));
    const bounds = ceilings
      ? await ceilingOf(linalg, sample, index, drawn.length, options_)
      : { lower: Number.NaN, upper: Number.NaN };
    out.push({ models: scores, ...bounds });
  }
  return out;
}

/** 2, 0, 1 as 0, 0, 2. */
function repeat(counts: Int32Array): Int32Array {
  return Int32Array.from(
    Array.from(counts).flatMap((count, i) => new Array<number>(count).fill(i)),
  );
}
