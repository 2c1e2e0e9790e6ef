import {
  type Activations,
  ArgumentError,
  createRng,
  DataError,
  permutation,
  ShapeError,
  type Tensor,
  tensor,
} from "@penfield/core";
import { createLinalg, type Linalg, type Matrix, matrix, symmetricEigen } from "@penfield/linalg";
import { type BootstrapInterval, bootstrapInterval, rankP } from "@penfield/stats";

/** Rows of anything: predicted or measured patterns, `[nStimuli, nTargets]`. */
export type Patterns = Tensor<readonly [string, string]>;

/** What a prediction is held against a candidate by: 1 - Pearson's r, 1 - cosine, or the distance. */
export type MatchMetric = "correlation" | "cosine" | "euclidean";

/** Costs of candidates, `[nPredicted, nCandidates]`; lower is nearer. */
export type MatchCosts = Tensor<readonly ["stimulus", "candidate"]>;

/**
 * How far each prediction is from each candidate.
 *
 * @param predicted - `[nPredicted, nTargets]`, finite.
 * @param candidates - `[nCandidates, nTargets]`, finite.
 * @param options.metric - Default "correlation", 1 - r over targets.
 * @param options.linalg - Default: one made for this call.
 * @returns `[nPredicted, nCandidates]`; a pattern that does not vary (correlation) or is all zero (cosine) has cost 1.
 * @throws {ShapeError} if the numbers of targets differ. @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if the metric is unknown.
 *
 * Cost: one product [nPredicted, nTargets, nCandidates].
 *
 * @example
 * const costs = await matchCosts(activations([[1, 2, 3]]), activations([[2, 4, 6], [3, 2, 1]]));
 * Array.from(costs.data, (c) => c.toFixed(1)).join(" ") // => "0.0 2.0"
 */
export async function matchCosts(
  predicted: Patterns,
  candidates: Patterns,
  {
    metric = "correlation",
    linalg: given,
  }: { metric?: MatchMetric | undefined; linalg?: Linalg | undefined } = {},
): Promise<MatchCosts> {
  const name = "matchCosts";
  if (predicted.shape[1] !== candidates.shape[1]) {
    throw new ShapeError(
      `${name}: expected ${predicted.shape[1]} targets of candidates as of predictions, got ${candidates.shape[1]}`,
    );
  }
  if (metric !== "correlation" && metric !== "cosine" && metric !== "euclidean") {
    throw new ArgumentError(
      `${name}: expected metric correlation, cosine or euclidean, got ${metric}`,
    );
  }
  for (const { data, shape } of [predicted, candidates]) {
    const at = data.findIndex((value) => !Number.isFinite(value));
    if (at >= 0) {
      throw new DataError(
        `${name}: expected finite values, got ${data[at]} in row ${Math.floor(at / shape[1])}`,
      );
    }
  }
  const a = rowsAs(predicted, metric);
  const b = rowsAs(candidates, metric);
  const linalg = given ?? createLinalg();
  try {
    const { data } = await linalg.matmul(a, b, { transposeB: true });
    const [squaresA, squaresB] = [squaresOf(a), squaresOf(b)];
    const costs = data.map((value, i) => {
      if (metric !== "euclidean") return 1 - Math.max(-1, Math.min(1, value));
      const row = Math.floor(i / b.nRows);
      return Math.sqrt(Math.max(0, squaresA[row]! + squaresB[i % b.nRows]! - 2 * value));
    });
    return tensor(costs, ["stimulus", "candidate"], [a.nRows, b.nRows]);
  } finally {
    if (given === undefined) await linalg.dispose();
  }
}

/** Rows about their means and of length 1, of length 1, or as they are. */
function rowsAs({ data, shape: [n, p] }: Patterns, metric: MatchMetric): Matrix<Float64Array> {
  const out = Float64Array.from(data);
  if (metric === "euclidean") return matrix(out, n, p);
  for (let i = 0; i < n; i++) {
    const row = out.subarray(i * p, (i + 1) * p);
    let mean = 0;
    if (metric === "correlation") for (const value of row) mean += value / p;
    let square = 0;
    for (let j = 0; j < p; j++) {
      row[j]! -= mean;
      square += row[j]! ** 2;
    }
    // What rounding leaves of a constant is not variance.
    const scale = square > p * (p * Number.EPSILON * mean) ** 2 ? 1 / Math.sqrt(square) : 0;
    for (let j = 0; j < p; j++) row[j]! *= scale;
  }
  return matrix(out, n, p);
}

const squaresOf = ({ data, nRows, nColumns }: Matrix<Float64Array>): Float64Array =>
  Float64Array.from({ length: nRows }, (_, i) => {
    let sum = 0;
    for (let j = 0; j < nColumns; j++) sum += data[i * nColumns + j]! ** 2;
    return sum;
  });

/** How matches are counted, and what stands beside them. */
export interface MatchOptions {
  /** Default "correlation". */
  readonly metric?: MatchMetric | undefined;
  /** Sizes of lists to look for the right candidate in. Default 1, 5, 10. */
  readonly topK?: readonly number[] | undefined;
  /** How many pairs 2v2 looks at; drawn without repetition. Default: all. */
  readonly nPairs?: number | undefined;
  /** Shuffles of the candidates, for p. Default: no test. */
  readonly nDraws?: number | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
  /** Default: one made for this call. */
  readonly linalg?: Linalg | undefined;
}

/** How often predictions lead to the right stimulus. Prediction i belongs to candidate i. */
export interface MatchScore {
  /** Of two stimuli, both predictions together are nearer to the right than to the swapped ones; chance 0.5. */
  readonly twoVersusTwo: number;
  /** A prediction is nearer to its own than to another one; chance 0.5. */
  readonly oneVersusTwo: number;
  /** 1 - (mean number of nearer candidates) / (n - 1); chance 0.5. */
  readonly rankAccuracy: number;
  /** The share with the right candidate among the k nearest. */
  readonly topK: readonly {
    readonly k: number;
    readonly accuracy: number;
    readonly chance: number;
  }[];
  /** How many candidates are nearer than the right one, [n]; equally near ones do not count. */
  readonly ranks: Int32Array;
  /** One-sided, from shuffled candidates; undefined without a test. */
  readonly p:
    | {
        readonly twoVersusTwo: number;
        readonly oneVersusTwo: number;
        readonly rankAccuracy: number;
        readonly topK: readonly number[];
      }
    | undefined;
  readonly nStimuli: number;
  readonly nPairs: number;
}

/**
 * How well predicted patterns identify their stimuli: 2v2, 1v2, rank accuracy and retrieval among the top k, from one matrix
 * of costs.
 *
 *   2v2: c(i,i) + c(j,j) < c(i,j) + c(j,i), strictly: a tie is an error
 *
 * @param predicted - `[nStimuli, nTargets]`, each predicted by a model that has not seen it.
 * @param measured - `[nStimuli, nTargets]` in the same order: the candidates.
 * @param options - Metric, lists, pairs, shuffles.
 * @throws {ShapeError} if shapes differ or there are fewer than 2 stimuli. @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if an option is out of range.
 *
 * Shuffling candidates takes the predictions as they are; it is exact when each was made without its own stimulus, and says nothing
 * about neighbours that resemble each other.
 *
 * Cost: one product [nStimuli, nTargets, nStimuli]; O(nStimuli^2) per shuffle.
 * Source: Mitchell et al. (2008), Science 320:1191 (2v2); Pereira et al. (2018), Nature Communications 9:963 (rank accuracy).
 *
 * @example
 * const measured = activations([[1, 0, 0, 2], [0, 1, 0, 1], [0, 0, 3, 1]]);
 * const predicted = activations([[2, 0, 1, 4], [0, 2, 0, 1], [1, 0, 4, 1]]);
 * const { twoVersusTwo, topK } = await matchPredictions(predicted, measured, { topK: [1] });
 * [twoVersusTwo, topK[0].accuracy] // => [1, 1]
 */
export async function matchPredictions(
  predicted: Patterns,
  measured: Patterns,
  options: MatchOptions = {},
): Promise<MatchScore> {
  const name = "matchPredictions";
  const n = predicted.shape[0];
  if (measured.shape[0] !== n || n < 2) {
    throw new ShapeError(
      `${name}: expected at least 2 stimuli, as many measured as predicted, got ${n} and ${measured.shape[0]}`,
    );
  }
  const { topK = [1, 5, 10], nPairs, nDraws, seed = 0 } = options;
  for (const k of topK) {
    if (Number.isInteger(k) && k >= 1) continue;
    throw new ArgumentError(`${name}: expected lists of a positive whole number, got ${k}`);
  }
  if (nDraws !== undefined && !(Number.isInteger(nDraws) && nDraws >= 1)) {
    throw new ArgumentError(`${name}: expected a positive whole number of draws, got ${nDraws}`);
  }
  const { data: costs } = await matchCosts(predicted, measured, options);
  const rng = createRng(seed);
  const pairs = pairsOf(name, n, nPairs, seed);
  const lists = topK.map((k) => Math.min(k, n));
  const identity = Int32Array.from({ length: n }, (_, i) => i);
  const observed = countMatches(costs, n, identity, pairs, lists);
  const nulls = Array.from({ length: nDraws ?? 0 }, () =>
    countMatches(costs, n, permutation(n, rng), pairs, lists),
  );
  const pOf = (value: (counts: Counts) => number): number =>
    rankP(value(observed) - 1e-12, nulls.map(value));
  return {
    twoVersusTwo: observed.twoVersusTwo,
    oneVersusTwo: observed.oneVersusTwo,
    rankAccuracy: observed.rankAccuracy,
    topK: topK.map((k, at) => ({ k, accuracy: observed.topK[at]!, chance: Math.min(1, k / n) })),
    ranks: observed.ranks,
    p:
      nDraws === undefined
        ? undefined
        : {
            twoVersusTwo: pOf((c) => c.twoVersusTwo),
            oneVersusTwo: pOf((c) => c.oneVersusTwo),
            rankAccuracy: pOf((c) => c.rankAccuracy),
            topK: topK.map((_, at) => pOf((c) => c.topK[at]!)),
          },
    nStimuli: n,
    nPairs: pairs.length,
  };
}

/** Pairs i < j as i n + j: all, or some drawn without repetition. */
function pairsOf(name: string, n: number, nPairs: number | undefined, seed: number): Int32Array {
  const all: number[] = [];
  for (let i = 0; i < n; i++) for (let j = i + 1; j < n; j++) all.push(i * n + j);
  if (nPairs === undefined) return Int32Array.from(all);
  if (!Number.isInteger(nPairs) || nPairs < 1 || nPairs > all.length) {
    throw new ArgumentError(`${name}: expected 1..${all.length} pairs, got ${nPairs}`);
  }
  // A stream of its own, so that asking for fewer pairs changes no shuffle.
  const order = permutation(all.length, createRng(seed, 77));
  return Int32Array.from(order.subarray(0, nPairs), (at) => all[at]!);
}

interface Counts {
  readonly twoVersusTwo: number;
  readonly oneVersusTwo: number;
  readonly rankAccuracy: number;
  readonly topK: readonly number[];
  readonly ranks: Int32Array;
}

/** @param own - Which candidate is taken for the right one of each prediction. */
function countMatches(
  costs: ArrayLike<number>,
  n: number,
  own: Int32Array,
  pairs: Int32Array,
  lists: readonly number[],
): Counts {
  const ranks = new Int32Array(n);
  let wins = 0;
  let nearer = 0;
  for (let i = 0; i < n; i++) {
    const right = costs[i * n + own[i]!]!;
    for (let j = 0; j < n; j++) {
      if (costs[i * n + j]! < right) ranks[i]!++;
      else if (costs[i * n + j]! > right) wins++;
    }
    nearer += ranks[i]!;
  }
  let both = 0;
  for (const pair of pairs) {
    const [i, j] = [Math.floor(pair / n), pair % n];
    const right = costs[i * n + own[i]!]! + costs[j * n + own[j]!]!;
    const swapped = costs[i * n + own[j]!]! + costs[j * n + own[i]!]!;
    if (right < swapped) both++;
  }
  return {
    twoVersusTwo: both / pairs.length,
    oneVersusTwo: wins / (n * (n - 1)),
    rankAccuracy: 1 - nearer / n / (n - 1),
    topK: lists.map((k) => ranks.reduce((sum, rank) => sum + (rank < k ? 1 : 0), 0) / n),
    ranks,
  };
}

/** How often segments are found among candidates by a contrastive decoder's score. */
export interface SegmentIdentification {
  readonly topK: readonly {
    readonly k: number;
    readonly accuracy: number;
    /** k / candidates. */
    readonly chance: number;
    /** Resampled over segments. */
    readonly interval: BootstrapInterval;
  }[];
  /** How many candidates score higher, [nSegments]. */
  readonly ranks: Int32Array;
  /** Mean cross-entropy of the right candidate, nats: the contrastive loss. */
  readonly loss: number;
  /** The probability of the right candidate, [nSegments]. */
  readonly probabilities: Float64Array;
}

/**
 * Which stretch of speech (or image) was it? Scores of a contrastive decoder, candidates of length 1, predictions as they are.
 *
 *   s(i, o) = <z_i, y_o> / |y_o|,   p(o | i) = softmax over candidates,   loss = - mean log p(own | i)
 *
 * @param predicted - `[nSegments, nFeatures]`: channels times samples in one row.
 * @param candidates - `[nCandidates, nFeatures]`; none all zero.
 * @param options.own - Which candidate each segment is. Default: i for i.
 * @param options.topK - Default 1, 10.
 * @param options.level - Of the intervals. Default 0.95.
 * @param options.nDraws - Of the intervals. Default 1000.
 * @param options.seed - Default 0.
 * @param options.linalg - Default: one made for this call.
 * @throws {ShapeError} if sizes do not fit. @throws {DataError} if a candidate is all zero. @throws {ArgumentError} if an option is out of range.
 *
 * Cost: one product [nSegments, nFeatures, nCandidates].
 * Source: Defossez et al. (2023), Nature Machine Intelligence 5:1097 (their loss normalizes candidates only).
 *
 * @example
 * const { topK } = await segmentIdentification(activations([[3, 0], [0, 1]]), activations([[9, 1], [0, 2]]), { topK: [1] });
 * [topK[0].accuracy, topK[0].chance] // => [1, 0.5]
 */
export async function segmentIdentification(
  predicted: Patterns,
  candidates: Patterns,
  {
    own,
    topK = [1, 10],
    level = 0.95,
    nDraws = 1000,
    seed = 0,
    linalg: given,
  }: {
    own?: ArrayLike<number> | undefined;
    topK?: readonly number[] | undefined;
    level?: number | undefined;
    nDraws?: number | undefined;
    seed?: number | undefined;
    linalg?: Linalg | undefined;
  } = {},
): Promise<SegmentIdentification> {
  const name = "segmentIdentification";
  const [n, p] = predicted.shape;
  const m = candidates.shape[0];
  if (candidates.shape[1] !== p || n < 2 || m < 2) {
    throw new ShapeError(
      `${name}: expected at least 2 segments and candidates of ${p} features, got [${predicted.shape.join(", ")}] and [${candidates.shape.join(", ")}]`,
    );
  }
  const rightOf = own ?? Int32Array.from({ length: n }, (_, i) => i);
  for (let i = 0; i < n; i++) {
    const right = rightOf[i];
    if (right !== undefined && Number.isInteger(right) && right >= 0 && right < m) continue;
    throw new ArgumentError(
      `${name}: expected the candidate of each of ${n} segments within 0..${m - 1}, got ${right} for ${i}`,
    );
  }
  for (const k of topK) {
    if (Number.isInteger(k) && k >= 1) continue;
    throw new ArgumentError(`${name}: expected lists of a positive whole number, got ${k}`);
  }
  const lengths = squaresOf(matrix(Float64Array.from(candidates.data), m, p)).map(Math.sqrt);
  const empty = lengths.findIndex((length) => !(length > 0));
  if (empty >= 0) {
    throw new DataError(`${name}: expected finite candidates that are not all zero, got ${empty}`);
  }
  const linalg = given ?? createLinalg();
  try {
    const { data } = await linalg.matmul(
      matrix(Float64Array.from(predicted.data), n, p),
      matrix(Float64Array.from(candidates.data), m, p),
      { transposeB: true },
    );
    const ranks = new Int32Array(n);
    const probabilities = new Float64Array(n);
    let loss = 0;
    for (let i = 0; i < n; i++) {
      const scores = Float64Array.from({ length: m }, (_, o) => data[i * m + o]! / lengths[o]!);
      const right = scores[rightOf[i]!]!;
      const most = scores.reduce((a, b) => Math.max(a, b));
      let sum = 0;
      for (const score of scores) {
        if (score > right) ranks[i]!++;
        sum += Math.exp(score - most);
      }
      probabilities[i] = Math.exp(right - most) / sum;
      loss += (Math.log(sum) - (right - most)) / n;
    }
    return {
      topK: topK.map((k) => {
        const hits = Float64Array.from(ranks, (rank) => (rank < k ? 1 : 0));
        const interval = bootstrapInterval({
          nItems: n,
          nDraws,
          level,
          seed,
          statistic: (indices) => {
            let sum = 0;
            for (const i of indices) sum += hits[i]!;
            return sum / indices.length;
          },
        });
        return { k, accuracy: interval.estimate, chance: Math.min(1, k / m), interval };
      }),
      ranks,
      loss,
      probabilities,
    };
  } finally {
    if (given === undefined) await linalg.dispose();
  }
}

/** How well the patterns of conditions in one half of the data identify those in the other. */
export interface SplitHalfIdentification {
  /** Over ordered pairs of conditions: r with its own is higher than with another; chance 0.5. */
  readonly accuracy: number;
  /** `[nConditions, nConditions]`: r of a condition in the first half with each in the second. */
  readonly correlations: Tensor<readonly ["condition", "condition"]>;
  /** r with itself less the mean r with others, [nConditions]. */
  readonly differences: Float64Array;
}

/**
 * Identification by split-half correlation: each condition's pattern in one half of the runs is held against all patterns in the
 * other half.
 *
 * @param first - `[nConditions, nTargets]`: mean patterns of one half (odd runs).
 * @param second - The same conditions in the other half.
 * @param options.center - Take the mean over conditions away from each target, in each half. Default true.
 * @param options.linalg - Default: one made for this call.
 * @throws {ShapeError} if shapes differ or there are fewer than 2 conditions. @throws {DataError} if a value is not finite.
 *
 * Source: Haxby et al. (2001), Science 293:2425.
 *
 * @example
 * const first = activations([[1, 0, 2], [0, 1, 5], [4, 3, 1]]);
 * (await splitHalfIdentification(first, first)).accuracy // => 1
 */
export async function splitHalfIdentification(
  first: Patterns,
  second: Patterns,
  { center = true, linalg }: { center?: boolean | undefined; linalg?: Linalg | undefined } = {},
): Promise<SplitHalfIdentification> {
  const [n, p] = first.shape;
  if (second.shape[0] !== n || second.shape[1] !== p || n < 2) {
    throw new ShapeError(
      `splitHalfIdentification: expected at least 2 conditions of one shape, got [${first.shape.join(", ")}] and [${second.shape.join(", ")}]`,
    );
  }
  const prepared = (x: Patterns): Patterns => {
    if (!center) return x;
    const means = new Float64Array(p);
    for (let i = 0; i < x.data.length; i++) means[i % p]! += x.data[i]! / n;
    return { ...x, data: Float64Array.from(x.data, (value, i) => value - means[i % p]!) };
  };
  const costs = await matchCosts(prepared(first), prepared(second), { linalg });
  const r = Float64Array.from(costs.data, (cost) => 1 - cost);
  let wins = 0;
  const differences = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    differences[i] = r[i * n + i]!;
    for (let j = 0; j < n; j++) {
      if (j === i) continue;
      if (r[i * n + i]! > r[i * n + j]!) wins++;
      differences[i]! -= r[i * n + j]! / (n - 1);
    }
  }
  return {
    accuracy: wins / (n * (n - 1)),
    correlations: tensor(r, ["condition", "condition"], [n, n]),
    differences,
  };
}

/** How well a map from x to y tells two stimuli apart that it was not fitted to. */
export interface LeaveTwoOut {
  /** Share of pairs; chance 0.5. */
  readonly accuracy: number;
  readonly nPairs: number;
  /** Shuffled stimuli of y, fitted anew; undefined without a test. */
  readonly p: number | undefined;
}

/**
 * Leave-two-out 2v2: for every pair of stimuli, ridge regression is fitted to all others, predicts both, and the pair counts if
 * predictions are nearer to the right than to the swapped measurements. Fits are not repeated: with a fixed penalty
 * what a model without two stimuli predicts follows from the hat matrix H of all stimuli.
 *
 *   residuals without S = (I - H_SS)^-1 (y - H y)_S,   H = 11^T / n + Xc (Xc^T Xc + alpha I)^-1 Xc^T
 *
 * @param x - `[nStimuli, nUnits]`, finite, at least 4 stimuli.
 * @param y - `[nStimuli, nTargets]`, finite, at least 2 targets.
 * @param options.alpha - The penalty, above 0. Default 1.
 * @param options.metric - Default "correlation".
 * @param options.nPairs - Default: all.
 * @param options.nDraws - Shuffles for p. Default: no test.
 * @param options.seed - Default 0.
 * @param options.linalg - Default: one made for this call.
 * @throws {ShapeError} if sizes do not fit. @throws {DataError} if a value is not finite. @throws {ArgumentError} if an option is out of range.
 *
 * Cost: one decomposition of [nStimuli, nStimuli], then O(nTargets) per pair.
 * Source: Mitchell et al. (2008), Science 320:1191.
 *
 * @example
 * const x = activations(Array.from({ length: 12 }, (_, i) => [Math.sin(i), Math.cos(2 * i)]));
 * const y = activations(Array.from({ length: 12 }, (_, i) => [Math.sin(i), Math.cos(2 * i), 2 * Math.sin(i)]));
 * (await leaveTwoOut(x, y, { alpha: 0.01 })).accuracy // => 1
 */
export async function leaveTwoOut(
  x: Activations,
  y: Patterns,
  {
    alpha = 1,
    metric = "correlation",
    nPairs,
    nDraws,
    seed = 0,
    linalg: given,
  }: {
    alpha?: number | undefined;
    metric?: MatchMetric | undefined;
    nPairs?: number | undefined;
    nDraws?: number | undefined;
    seed?: number | undefined;
    linalg?: Linalg | undefined;
  } = {},
): Promise<LeaveTwoOut> {
  const name = "leaveTwoOut";
  const n = x.shape[0];
  const nTargets = y.shape[1];
  if (y.shape[0] !== n || n < 4 || nTargets < 2) {
    throw new ShapeError(
      `${name}: expected at least 4 stimuli of x and y, and 2 targets, got [${x.shape.join(", ")}] and [${y.shape.join(", ")}]`,
    );
  }
  if (!(alpha > 0 && Number.isFinite(alpha))) {
    throw new ArgumentError(`${name}: expected a penalty above 0, got ${alpha}`);
  }
  const pairs = pairsOf(name, n, nPairs, seed);
  const linalg = given ?? createLinalg();
  try {
    const hat = await hatMatrix(name, x, alpha, linalg);
    const score = async (order: Int32Array | undefined): Promise<number> => {
      const rows = order ?? Int32Array.from({ length: n }, (_, i) => i);
      const measured = new Float64Array(n * nTargets);
      rows.forEach((from, to) => {
        measured.set(y.data.subarray(from * nTargets, (from + 1) * nTargets), to * nTargets);
      });
      const fitted = await linalg.matmul(hat, matrix(measured, n, nTargets));
      const residuals = fitted.data.map((value, i) => measured[i]! - value);
      let right = 0;
      for (const pair of pairs) {
        const [i, j] = [Math.floor(pair / n), pair % n];
        const [a, b, c] = [
          1 - hat.data[i * n + i]!,
          -hat.data[i * n + j]!,
          1 - hat.data[j * n + j]!,
        ];
        const determinant = a * c - b * b;
        const predictedI = new Float64Array(nTargets);
        const predictedJ = new Float64Array(nTargets);
        for (let t = 0; t < nTargets; t++) {
          const ei = residuals[i * nTargets + t]!;
          const ej = residuals[j * nTargets + t]!;
          predictedI[t] = measured[i * nTargets + t]! - (c * ei - b * ej) / determinant;
          predictedJ[t] = measured[j * nTargets + t]! - (a * ej - b * ei) / determinant;
        }
        const [trueI, trueJ] = [i, j].map((s) =>
          measured.subarray(s * nTargets, (s + 1) * nTargets),
        );
        const cost = (p: Float64Array, q: Float64Array): number => costOf(p, q, metric);
        const own = cost(predictedI, trueI!) + cost(predictedJ, trueJ!);
        if (own < cost(predictedI, trueJ!) + cost(predictedJ, trueI!)) right++;
      }
      return right / pairs.length;
    };
    const accuracy = await score(undefined);
    const rng = createRng(seed);
    const nulls: number[] = [];
    for (let draw = 0; draw < (nDraws ?? 0); draw++) nulls.push(await score(permutation(n, rng)));
    return {
      accuracy,
      nPairs: pairs.length,
      p: nDraws === undefined ? undefined : rankP(accuracy - 1e-12, nulls),
    };
  } finally {
    if (given === undefined) await linalg.dispose();
  }
}

function costOf(a: Float64Array, b: Float64Array, metric: MatchMetric): number {
  const n = a.length;
  let [meanA, meanB] = [0, 0];
  if (metric === "correlation") {
    for (let i = 0; i < n; i++) {
      meanA += a[i]! / n;
      meanB += b[i]! / n;
    }
  }
  let [aa, bb, ab] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    aa += (a[i]! - meanA) ** 2;
    bb += (b[i]! - meanB) ** 2;
    ab += (a[i]! - meanA) * (b[i]! - meanB);
  }
  if (metric === "euclidean") return Math.sqrt(Math.max(0, aa + bb - 2 * ab));
  return aa === 0 || bb === 0 ? 1 : 1 - ab / Math.sqrt(aa * bb);
}

/** What multiplies y to give fitted values, intercept included, [n, n]. */
async function hatMatrix(
  name: string,
  x: Activations,
  alpha: number,
  linalg: Linalg,
): Promise<Matrix<Float64Array>> {
  const [n, p] = x.shape;
  const means = new Float64Array(p);
  for (let i = 0; i < x.data.length; i++) {
    if (!Number.isFinite(x.data[i])) {
      throw new DataError(
        `${name}: expected finite activations, got ${x.data[i]} in row ${Math.floor(i / p)}`,
      );
    }
    means[i % p]! += x.data[i]! / n;
  }
  const centred = matrix(
    Float64Array.from(x.data, (value, i) => value - means[i % p]!),
    n,
    p,
  );
  const gram = await linalg.matmul(centred, centred, { transposeB: true });
  const { values, vectors } = symmetricEigen(gram);
  const shrunk = vectors.data.map((value, i) => {
    const lambda = Math.max(0, values[Math.floor(i / n)]!);
    return (value * lambda) / (lambda + alpha);
  });
  const hat = await linalg.matmul(vectors, matrix(shrunk, n, n), { transposeA: true });
  for (let i = 0; i < hat.data.length; i++) hat.data[i]! += 1 / n;
  return hat;
}
