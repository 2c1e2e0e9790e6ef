import { ArgumentError, ShapeError, type Tensor, tensor } from "@penfield/core";
import { matrix, matrixOf, symmetricEigen } from "@penfield/linalg";
import type { Responses } from "./ridgeCv.ts";
import { type RidgeScore, ridgeScores } from "./scores.ts";

/** A share of each feature space for each target. */
export type SpaceShares = Tensor<readonly ["space", "target"]>;

/**
 * How good predictions of each target are.
 *
 *   r2 = 1 - SSE / SST,   correlation = Pearson's r,   l2 = -mean squared error
 *
 * @param measured - `[nStimuli, nTargets]`.
 * @param predicted - `[nStimuli, nTargets]`.
 * @returns One value per target; higher is better; 0 for r2 and correlation where the target does not vary.
 * @throws {ShapeError} if shapes differ.
 *
 * @example
 * const y = tensor(Float64Array.of(1, 2, 3), ["stimulus", "target"], [3, 1]);
 * const yHat = tensor(Float64Array.of(1, 2, 4), ["stimulus", "target"], [3, 1]);
 * predictionScores(y, yHat, "r2")[0] // => 0.5
 */
export function predictionScores(
  measured: Responses,
  predicted: Responses,
  score: RidgeScore = "r2",
): Float64Array {
  checkShapes("predictionScores", measured, [predicted]);
  const out = new Float64Array(measured.shape[1]);
  ridgeScores[score](matrixOf(measured), matrixOf(predicted), out);
  return out;
}

/**
 * Scores as shares of what a noiseless model would reach.
 *
 * @param scores - One per target.
 * @param ceiling - The highest correlation that a model can reach, per target (`splitHalfCeiling`'s maximumCorrelation).
 * @param options.score - `correlation`: r / ceiling; `r2`: r2 / ceiling^2. Default `correlation`.
 * @param options.least - Targets below this ceiling have no share. Default 0.1.
 * @returns NaN where the ceiling is too low. Not clipped: noise can carry a share above 1.
 * @throws {ShapeError} if the numbers of targets differ.
 * @throws {ArgumentError} if `least` is not above 0.
 *
 * @example
 * shareOfCeiling([0.4, 0.1], [0.8, 0.05]).join(" ") // => "0.5 NaN"
 */
export function shareOfCeiling(
  scores: ArrayLike<number>,
  ceiling: ArrayLike<number>,
  {
    score = "correlation",
    least = 0.1,
  }: { score?: "correlation" | "r2" | undefined; least?: number | undefined } = {},
): Float64Array {
  if (scores.length !== ceiling.length) {
    throw new ShapeError(
      `shareOfCeiling: expected a ceiling for each of ${scores.length} targets, got ${ceiling.length}`,
    );
  }
  if (!(least > 0)) {
    throw new ArgumentError(`shareOfCeiling: expected least above 0, got ${least}`);
  }
  return Float64Array.from(scores, (value, t) => {
    const most = ceiling[t]!;
    if (!(most >= least)) return Number.NaN;
    return value / (score === "r2" ? most * most : most);
  });
}

/**
 * R2 of a sum of predictions, split among them by the product measure.
 *
 *   R2_k = (2 y p_k - p_k sum_j p_j) / y y
 *
 * @param measured - `[nStimuli, nTargets]`, less the means: the shares then sum to the R2 of the summed predictions.
 * @param parts - The prediction of each space, as from `predictBands`.
 * @returns `[nSpaces, nTargets]`; a share may be negative. NaN for a target of zeros.
 * @throws {ShapeError} if shapes differ.
 *
 * Source: Pratt (1987); Dupré la Tour et al. (2022). Matches himalaya's r2_score_split.
 *
 * @example
 * const y = tensor(Float64Array.of(-1, 1), ["stimulus", "target"], [2, 1]);
 * const half = tensor(Float64Array.of(-0.5, 0.5), ["stimulus", "target"], [2, 1]);
 * r2Split(y, [half, half]).data.join(" ") // => "0.5 0.5"
 */
export function r2Split(measured: Responses, parts: readonly Responses[]): SpaceShares {
  checkShapes("r2Split", measured, parts);
  const { total, product, withTotal, nTargets } = sums(measured, parts);
  const out = new Float64Array(parts.length * nTargets);
  parts.forEach((_, k) => {
    for (let t = 0; t < nTargets; t++) {
      out[k * nTargets + t] = (2 * product[k]![t]! - withTotal[k]![t]!) / total[t]!;
    }
  });
  return tensor(out, ["space", "target"], [parts.length, nTargets]);
}

function sums(measured: Responses, parts: readonly Responses[]) {
  const [n, nTargets] = measured.shape;
  const make = () => parts.map(() => new Float64Array(nTargets));
  const total = new Float64Array(nTargets);
  const [product, withTotal] = [make(), make()];
  for (let i = 0; i < n; i++) {
    for (let t = 0; t < nTargets; t++) {
      const y = measured.data[i * nTargets + t]!;
      total[t]! += y * y;
      let whole = 0;
      for (const part of parts) whole += part.data[i * nTargets + t]!;
      parts.forEach((part, k) => {
        const p = part.data[i * nTargets + t]!;
        product[k]![t]! += y * p;
        withTotal[k]![t]! += p * whole;
      });
    }
  }
  return { total, product, withTotal, nTargets };
}

/**
 * Pearson's r of a sum of predictions, split among them.
 *
 *   r_k = cov(y, p_k) / (sd(y) sd(sum_j p_j))
 *
 * @param measured - `[nStimuli, nTargets]`.
 * @param parts - The prediction of each space.
 * @returns `[nSpaces, nTargets]`; sums to r over spaces; a deviation of 0 counts as 1.
 * @throws {ShapeError} if shapes differ.
 *
 * Source: matches himalaya's correlation_score_split.
 *
 * @example
 * const y = tensor(Float64Array.of(-1, 1), ["stimulus", "target"], [2, 1]);
 * const part = tensor(Float64Array.of(-3, 3), ["stimulus", "target"], [2, 1]);
 * correlationSplit(y, [part, part]).data.join(" ") // => "0.5 0.5"
 */
export function correlationSplit(measured: Responses, parts: readonly Responses[]): SpaceShares {
  checkShapes("correlationSplit", measured, parts);
  const [n, nTargets] = measured.shape;
  const out = new Float64Array(parts.length * nTargets);
  for (let t = 0; t < nTargets; t++) {
    const y = centredColumn(measured, t);
    const columns = parts.map((part) => centredColumn(part, t));
    const whole = y.map((_, i) => columns.reduce((sum, column) => sum + column[i]!, 0));
    const deviation = (x: Float64Array) => Math.sqrt(dot(x, x) / n) || 1;
    const scale = n * deviation(y) * deviation(whole);
    columns.forEach((column, k) => {
      out[k * nTargets + t] = dot(y, column) / scale;
    });
  }
  return tensor(out, ["space", "target"], [parts.length, nTargets]);
}

/**
 * R2 of a sum of predictions, split among them by relative weights: predictions are replaced by the nearest uncorrelated
 * ones, which share what spaces have in common without negative shares.
 *
 * @param measured - `[nStimuli, nTargets]`, less the means.
 * @param parts - The prediction of each space.
 * @returns `[nSpaces, nTargets]`; sums to the R2 of the summed predictions. NaN where no space predicts anything.
 * @throws {ShapeError} if shapes differ.
 *
 * Cost: one eigendecomposition of `[nSpaces, nSpaces]` per target.
 * Source: Johnson (2000), Multivariate Behavioral Research 35. Matches himalaya's r2_score_split_svd.
 *
 * @example
 * const y = tensor(Float64Array.of(-1, 1, -1, 1), ["stimulus", "target"], [4, 1]);
 * const part = tensor(Float64Array.of(-0.5, 0.5, -0.5, 0.5), ["stimulus", "target"], [4, 1]);
 * Array.from(relativeWeights(y, [part, part]).data).map((v) => v.toFixed(2)).join(" ") // => "0.50 0.50"
 */
export function relativeWeights(measured: Responses, parts: readonly Responses[]): SpaceShares {
  checkShapes("relativeWeights", measured, parts);
  const [n, nTargets] = measured.shape;
  const count = parts.length;
  const whole = tensor(
    Float64Array.from({ length: n * nTargets }, (_, i) =>
      parts.reduce((sum, { data }) => sum + data[i]!, 0),
    ),
    ["stimulus", "target"],
    [n, nTargets],
  );
  const r2 = predictionScores(measured, whole, "r2");
  const out = new Float64Array(count * nTargets);
  for (let t = 0; t < nTargets; t++) {
    const columns = parts.map((part) => column(part, t));
    const gram = new Float64Array(count * count);
    for (let k = 0; k < count; k++) {
      for (let j = 0; j < count; j++) gram[k * count + j] = dot(columns[k]!, columns[j]!);
    }
    const norms = columns.map((values) => Math.sqrt(dot(values, values)) || 1);
    const withWhole = columns.map((_, k) =>
      columns.reduce((sum, _c, j) => sum + gram[k * count + j]!, 0),
    );
    const { root, inverse } = roots(gram, count);
    const shares = columns.map((_, k) => {
      let share = 0;
      for (let j = 0; j < count; j++) {
        let beta = 0;
        for (let l = 0; l < count; l++) beta += inverse[j * count + l]! * withWhole[l]!;
        share += ((root[k * count + j]! / norms[j]!) * beta) ** 2;
      }
      return share;
    });
    const sum = shares.reduce((a, b) => a + b, 0);
    shares.forEach((share, k) => {
      out[k * nTargets + t] = (share / sum) * r2[t]!;
    });
  }
  return tensor(out, ["space", "target"], [count, nTargets]);
}

/** The symmetric square root of a Gram matrix and its inverse, on what is not rounding. */
function roots(gram: Float64Array, n: number): { root: Float64Array; inverse: Float64Array } {
  const { values, vectors } = symmetricEigen(matrix(gram, n, n));
  const root = new Float64Array(n * n);
  const inverse = new Float64Array(n * n);
  const least = n * Number.EPSILON * Math.max(0, values[0]!);
  for (let d = 0; d < n; d++) {
    if (!(values[d]! > least)) continue;
    const s = Math.sqrt(values[d]!);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) {
        const product = vectors.data[d * n + i]! * vectors.data[d * n + j]!;
        root[i * n + j]! += s * product;
        inverse[i * n + j]! += product / s;
      }
    }
  }
  return { root, inverse };
}

/** What a model of some feature spaces together explains. */
export interface JointScore {
  /** Which spaces, by number from 0. */
  readonly spaces: readonly number[];
  /** Held-out R2 of each target, [nTargets]. */
  readonly r2: ArrayLike<number>;
}

/** A region of the partition: what exactly these spaces have in common and no other explains. */
export interface VarianceRegion {
  readonly spaces: readonly number[];
  readonly share: Float64Array;
}

/**
 * Classical variance partition: what each feature space explains alone, and what each group of spaces shares.
 *
 *   two spaces:  unique_A = R2_AB - R2_B,   shared = R2_A + R2_B - R2_AB
 *
 * and by inclusion and exclusion for more. Needs a model for every combination of spaces. A region may be negative: of noise, or
 * because spaces help each other.
 *
 * @param scores - R2 of every combination of the spaces, 3 for two spaces and 7 for three.
 * @returns A region for every combination, in the order of the scores; their shares sum to the R2 of all spaces.
 * @throws {ArgumentError} if a combination is missing or there twice.
 * @throws {ShapeError} if numbers of targets differ.
 *
 * Source: Borcard, Legendre & Drapeau (1992), Ecology 73; Lescroart, Stansbury & Gallant (2015), Front Comput Neurosci 9:135.
 *
 * @example
 * const regions = variancePartition([
 *   { spaces: [0], r2: [0.3] },
 *   { spaces: [1], r2: [0.4] },
 *   { spaces: [0, 1], r2: [0.5] },
 * ]);
 * regions.map(({ spaces, share }) => `${spaces.join("+")}: ${share[0].toFixed(1)}`).join(", ") // => "0: 0.1, 1: 0.2, 0+1: 0.2"
 */
export function variancePartition(scores: readonly JointScore[]): readonly VarianceRegion[] {
  const nSpaces = 1 + Math.max(-1, ...scores.flatMap(({ spaces }) => spaces));
  const full = 2 ** nSpaces - 1;
  const byMask = new Map<number, ArrayLike<number>>();
  for (const { spaces, r2 } of scores) byMask.set(maskOf(spaces), r2);
  if (nSpaces < 1 || byMask.size !== full || scores.length !== full || byMask.has(0)) {
    throw new ArgumentError(
      `variancePartition: expected one score for each of ${full} combinations of ${nSpaces} spaces, got ${scores.length} for ${byMask.size}`,
    );
  }
  const nTargets = scores[0]!.r2.length;
  if (scores.some(({ r2 }) => r2.length !== nTargets)) {
    throw new ShapeError(
      `variancePartition: expected ${nTargets} targets everywhere, got ${scores.map(({ r2 }) => r2.length).join(", ")}`,
    );
  }
  return scores.map(({ spaces }) => {
    const own = maskOf(spaces);
    const share = new Float64Array(nTargets);
    // All subsets of this combination, joined with all other spaces.
    for (let subset = own; ; subset = (subset - 1) & own) {
      const joint = byMask.get((full & ~own) | subset);
      const sign = bits(subset) % 2 === 1 ? 1 : -1;
      if (joint) for (let t = 0; t < nTargets; t++) share[t]! += sign * joint[t]!;
      if (subset === 0) break;
    }
    return { spaces, share };
  });
}

const maskOf = (spaces: readonly number[]): number =>
  spaces.reduce((mask, space) => mask | (1 << space), 0);
const bits = (mask: number): number => (mask === 0 ? 0 : (mask & 1) + bits(mask >> 1));

const dot = (a: Float64Array, b: Float64Array): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
};

function column({ data, shape }: Responses, t: number): Float64Array {
  return Float64Array.from({ length: shape[0] }, (_, i) => data[i * shape[1] + t]!);
}

function centredColumn(responses: Responses, t: number): Float64Array {
  const values = column(responses, t);
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  return values.map((value) => value - mean);
}

export function checkShapes(name: string, measured: Responses, parts: readonly Responses[]): void {
  const [n, nTargets] = measured.shape;
  const wrong = parts.find(({ shape }) => shape[0] !== n || shape[1] !== nTargets);
  if (parts.length === 0 || wrong) {
    throw new ShapeError(
      `${name}: expected predictions of ${n} x ${nTargets}, got ${wrong ? wrong.shape.join(" x ") : "none"}`,
    );
  }
}
