import {
  type Activations,
  ArgumentError,
  DataError,
  type LongWork,
  numpyRandom,
  ShapeError,
  type Tensor,
  takeRows,
  tensor,
  throwIfAborted,
} from "@penfield/core";
import { createLinalg, type Linalg } from "@penfield/linalg";
import { pearsonColumns, quantile } from "@penfield/stats";
import { checkFolds, type Fold, sklearnGroupFolds, sklearnShuffleSplits } from "../folds.ts";
import { leastSquares } from "../regression/leastSquares.ts";
import { predict, type Responses, ridgePredictions } from "../regression/ridgeCv.ts";

/** The recipes that there are. */
export type BrainScoreRecipe = "pereira2018-shuffled" | "pereira2018-grouped" | "fedorenko2016";

/** One of them. */
export interface BrainScorePipeline {
  /** What it is, for a report. */
  readonly title: string;
  readonly regression: "ols" | "ridge-gcv";
  readonly split: "shuffled" | "grouped";
  /** What the groups of a grouped split are. */
  readonly groups: string | undefined;
}

/** Brain-Score Language's pipelines, by name. */
export const brainScoreRecipes: Readonly<Record<BrainScoreRecipe, BrainScorePipeline>> = {
  "pereira2018-shuffled": {
    title:
      "linear_pearsonr: least squares, 10 random 90/10 splits (until 2026; inflated by neighbours)",
    regression: "ols",
    split: "shuffled",
    groups: undefined,
  },
  "pereira2018-grouped": {
    title: "ridge_pearsonr: ridge with one leave-one-out penalty, 10 folds of whole stories",
    regression: "ridge-gcv",
    split: "grouped",
    groups: "story",
  },
  fedorenko2016: {
    title: "ridge_pearsonr: ridge with one leave-one-out penalty, 10 folds of whole sentences",
    regression: "ridge-gcv",
    split: "grouped",
    groups: "sentence_id",
  },
};

/** What a recipe needs beside the data. */
export interface BrainScoreOptions extends LongWork {
  readonly recipe: BrainScoreRecipe;
  /** The story (or sentence) of each stimulus, for recipes with grouped splits. */
  readonly groups?: ArrayLike<string | number> | undefined;
  /** The benchmark's ceiling, above 0. Default: none, and the score is the raw one. */
  readonly ceiling?: number | undefined;
  /** Splits instead of the recipe's own. */
  readonly folds?: readonly Fold[] | undefined;
  /** Default: one made for this call. */
  readonly linalg?: Linalg | undefined;
}

/** A score as Brain-Score gives it. */
export interface BrainScore {
  /** min(1, max(0, raw / ceiling)), or raw without a ceiling. */
  readonly score: number;
  /** Median over neuroids in each split, mean over splits. */
  readonly raw: number;
  /** Standard deviation over splits (ddof 0) over the root of their number. */
  readonly error: number;
  readonly ceiling: number | undefined;
  /** `[nSplits, nTargets]`. */
  readonly perSplit: Tensor<readonly ["split", "target"]>;
  readonly recipe: BrainScoreRecipe;
  /** What a reader must know; undefined if nothing. */
  readonly warning: string | undefined;
}

const ALPHAS: readonly number[] = [1e-3, 1e-2, 0.1, 1, 10, 100, 1000];

/**
 * A Brain-Score Language pipeline by name: for numbers that can be held against published ones. For a new analysis use
 * `encodingScore`, which gives each target its own penalty and says how sure a score is.
 *
 *   r = sum((p / (|p| + 1e-8)) (y / (|y| + 1e-8))) per neuroid; median over neuroids; mean over splits; over the ceiling; clipped
 *
 * @param x - Activations of the model's committed layer, `[nStimuli, nUnits]`, finite; passages given as context, in sorted order.
 * @param y - `[nStimuli, nTargets]`, finite, stimuli in the order of the assembly (random splits depend on it).
 * @param options - The recipe, and what it needs.
 * @throws {ShapeError} if sizes do not fit. @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if the recipe is unknown, groups are missing or the ceiling is not above 0.
 * @throws {InterruptedError} if the signal fires.
 *
 * Cost: one decomposition per split.
 * Source: brain-score/language: metrics/linear_predictivity, benchmarks/pereira2018 and fedorenko2016, utils/ceiling; Schrimpf et al.
 * (2021), PNAS 118:e2105646118. The splits are scikit-learn's own (`sklearnShuffleSplits`, `sklearnGroupFolds`).
 *
 * @example
 * const x = activations(Array.from({ length: 40 }, (_, i) => [Math.sin(i * i), Math.cos(3 * i)]));
 * const y = tensor(Float64Array.from({ length: 40 }, (_, i) => 2 * Math.sin(i * i)), ["stimulus", "target"], [40, 1]);
 * const { score, warning } = await brainScore(x, y, { recipe: "pereira2018-shuffled", ceiling: 0.5 });
 * [score, warning !== undefined] // => [1, true]
 */
export async function brainScore(
  x: Activations,
  y: Responses,
  options: BrainScoreOptions,
): Promise<BrainScore> {
  const name = "brainScore";
  const { ceiling, onProgress, signal } = options;
  const recipe = Object.hasOwn(brainScoreRecipes, options.recipe)
    ? brainScoreRecipes[options.recipe]
    : undefined;
  if (recipe === undefined) {
    throw new ArgumentError(
      `${name}: expected a recipe of ${Object.keys(brainScoreRecipes).join(", ")}, got ${options.recipe}`,
    );
  }
  if (ceiling !== undefined && !(ceiling > 0)) {
    throw new ArgumentError(`${name}: expected a ceiling above 0, got ${ceiling}`);
  }
  const [nStimuli, nTargets] = y.shape;
  if (x.shape[0] !== nStimuli) {
    throw new ShapeError(
      `${name}: expected as many stimuli in x as in y, got ${x.shape[0]} and ${nStimuli}`,
    );
  }
  const folds = foldsOf(name, recipe, options, nStimuli);
  const own = options.linalg === undefined;
  const linalg = options.linalg ?? createLinalg();
  const perSplit = new Float64Array(folds.length * nTargets);
  try {
    for (const [f, { train, test }] of folds.entries()) {
      throwIfAborted(signal, name);
      const [fitted, held] = [takeRows(x, train), takeRows(x, test)];
      const training = takeRows(y, train);
      const predicted =
        recipe.regression === "ols"
          ? await predict(await leastSquares(fitted, training, { linalg }), held, { linalg })
          : await ridgePredictions(fitted, training, held, {
              alphas: ALPHAS,
              folds: "leave-one-out",
              perTarget: false,
              precision: "float64",
              linalg,
            });
      perSplit.set(correlations(predicted, takeRows(y, test)), f * nTargets);
      onProgress?.({ stage: "scoring", done: f + 1, total: folds.length, unit: "splits" });
    }
  } finally {
    if (own) await linalg.dispose();
  }
  const medians = folds.map((_, f) =>
    quantile(perSplit.subarray(f * nTargets, (f + 1) * nTargets), 0.5),
  );
  const raw = medians.reduce((sum, value) => sum + value, 0) / medians.length;
  const variance = medians.reduce((sum, value) => sum + (value - raw) ** 2, 0) / medians.length;
  return {
    score: ceiling === undefined ? raw : Math.min(1, Math.max(0, raw / ceiling)),
    raw,
    error: Math.sqrt(variance / medians.length),
    ceiling,
    perSplit: tensor(perSplit, ["split", "target"], [folds.length, nTargets]),
    recipe: options.recipe,
    warning:
      recipe.split === "shuffled"
        ? "Splits are random: sentences of one passage are on both sides, which inflates scores (Feghhi et al. 2024)."
        : undefined,
  };
}

function foldsOf(
  name: string,
  recipe: BrainScorePipeline,
  { folds, groups }: BrainScoreOptions,
  nStimuli: number,
): readonly Fold[] {
  if (folds !== undefined) {
    checkFolds(name, folds, nStimuli);
    return folds;
  }
  if (recipe.split === "shuffled") return sklearnShuffleSplits(nStimuli);
  if (groups === undefined || groups.length !== nStimuli) {
    throw new ArgumentError(
      `${name}: expected the ${recipe.groups} of each of ${nStimuli} stimuli as groups, got ${groups?.length ?? "none"}`,
    );
  }
  return sklearnGroupFolds(groups, Math.min(10, new Set(Array.from(groups)).size));
}

/** Pearson's r with a little added to both lengths, so that a neuroid that does not vary scores 0. */
function correlations(predicted: Responses, measured: Responses): Float64Array {
  const [n, nTargets] = measured.shape;
  const out = new Float64Array(nTargets);
  for (let t = 0; t < nTargets; t++) {
    let [meanA, meanB] = [0, 0];
    for (let i = 0; i < n; i++) {
      meanA += predicted.data[i * nTargets + t]! / n;
      meanB += measured.data[i * nTargets + t]! / n;
    }
    let [aa, bb, ab] = [0, 0, 0];
    for (let i = 0; i < n; i++) {
      const a = predicted.data[i * nTargets + t]! - meanA;
      const b = measured.data[i * nTargets + t]! - meanB;
      aa += a * a;
      bb += b * b;
      ab += a * b;
    }
    out[t] = ab / (Math.sqrt(aa) + 1e-8) / (Math.sqrt(bb) + 1e-8);
  }
  return out;
}

/** How consistent repeated recordings are with themselves, as Brain-Score Vision counts it. */
export interface InternalConsistency {
  /** Median over neuroids of the mean over splits. */
  readonly ceiling: number;
  /** Mean over splits, [nTargets]; NaN where a half does not vary. */
  readonly perTarget: Float64Array;
  readonly nSplits: number;
}

/**
 * Brain-Score Vision's ceiling: repeats are split into random halves, the halves' means are correlated over stimuli, and
 * each correlation is corrected to the length of the whole.
 *
 *   2 r / (1 + r)
 *
 * @param data - `[nRepeats, nStimuli, nTargets]`, at least 2 repeats and 3 stimuli, finite.
 * @param options.nSplits - Default 10.
 * @param options.seed - Of numpy's RandomState. Default 1, Brain-Score's.
 * @throws {ShapeError} if there are too few repeats or stimuli. @throws {DataError} if a value is not finite. @throws {ArgumentError} if nSplits is out of range.
 *
 * This is the reliability; a noiseless model reaches its root (`splitHalfCeiling`'s maximumCorrelation).
 * Source: brain-score/vision internal_consistency; Spearman (1910), Brown (1910).
 *
 * @example
 * const data = tensor(Float64Array.from({ length: 24 }, (_, i) => (i % 6) ** 2), ["repeat", "stimulus", "target"], [4, 6, 1]);
 * internalConsistency(data).ceiling.toFixed(3) // => "1.000"
 */
export function internalConsistency(
  data: Tensor<readonly ["repeat", "stimulus", "target"]>,
  { nSplits = 10, seed = 1 }: { nSplits?: number; seed?: number } = {},
): InternalConsistency {
  const name = "internalConsistency";
  const [nRepeats, nStimuli, nTargets] = data.shape;
  if (nRepeats < 2 || nStimuli < 3) {
    throw new ShapeError(
      `${name}: expected at least 2 repeats of 3 stimuli, got ${nRepeats} of ${nStimuli}`,
    );
  }
  if (!Number.isInteger(nSplits) || nSplits < 1) {
    throw new ArgumentError(`${name}: expected a positive whole number of splits, got ${nSplits}`);
  }
  if (!data.data.every(Number.isFinite)) {
    throw new DataError(`${name}: expected finite values, got some that are not`, {
      hint: "Take the repeats that all stimuli have.",
    });
  }
  const random = numpyRandom(seed);
  const size = nStimuli * nTargets;
  const perTarget = new Float64Array(nTargets);
  for (let split = 0; split < nSplits; split++) {
    const order = random.permutation(nRepeats);
    const half = Math.floor(nRepeats / 2);
    const meanOf = (repeats: Int32Array): Responses => {
      const mean = new Float64Array(size);
      for (const repeat of repeats) {
        for (let i = 0; i < size; i++) mean[i]! += data.data[repeat * size + i]! / repeats.length;
      }
      return tensor(mean, ["stimulus", "target"], [nStimuli, nTargets]);
    };
    const r = pearsonColumns(meanOf(order.slice(0, half)), meanOf(order.slice(half)));
    for (let t = 0; t < nTargets; t++) perTarget[t]! += (2 * r[t]!) / (1 + r[t]!) / nSplits;
  }
  const defined = perTarget.filter((value) => !Number.isNaN(value));
  return {
    ceiling: defined.length === 0 ? Number.NaN : quantile(defined, 0.5),
    perTarget,
    nSplits,
  };
}
