import {
  type Activations,
  ArgumentError,
  ShapeError,
  takeRows,
  throwIfAborted,
} from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { quantile } from "@penfield/stats";
import { checkFolds, contiguousFolds, type Fold, groupedFolds } from "./folds.ts";
import { checkFinite } from "./regression/columns.ts";
import { type Responses, type RidgeOptions, ridgePredictions } from "./regression/ridgeCv.ts";

/** How an encoding model is fitted and tested. */
export interface EncodingOptions extends Omit<RidgeOptions, "folds" | "intercept"> {
  /** How many contiguous (or grouped) outer folds, or the folds themselves. Default 5. */
  readonly outerFolds?: number | readonly Fold[] | undefined;
  /**
   * How many contiguous (or grouped) folds inside each training set choose the penalty, or
   * `leave-one-out`. Default 5.
   */
  readonly innerFolds?: number | "leave-one-out" | undefined;
  /** A label per stimulus; stimuli of one group are never on both sides of a split. */
  readonly groups?: ArrayLike<string | number> | undefined;
  /** Divide each unit by its standard deviation over the training stimuli. Default false. */
  readonly standardize?: boolean | undefined;
  /**
   * The highest correlation that a model can reach, per target (`splitHalfCeiling`'s
   * maximumCorrelation); scores are also given as shares of it.
   */
  readonly ceiling?: ArrayLike<number> | undefined;
  /** Targets below this ceiling have no normalized score. Default 0.1. */
  readonly leastCeiling?: number | undefined;
}

/** How well units predict a recording that they were not fitted to. */
export interface EncodingScore {
  /** Pearson's r on held-out stimuli, the mean over outer folds, [nTargets]. */
  readonly perTarget: Float64Array;
  /** Over targets that have a score. */
  readonly median: number;
  readonly mean: number;
  /** r divided by the ceiling, NaN where that is too low; undefined without a ceiling. */
  readonly normalized:
    | { readonly perTarget: Float64Array; readonly median: number; readonly nUndefined: number }
    | undefined;
  /** Targets that vary in no outer fold; NaN in `perTarget` and left out of median and mean. */
  readonly nUndefined: number;
  readonly nFolds: number;
  /** How stimuli were held out; `given` folds may be shuffled, which a report must say. */
  readonly split: "contiguous" | "grouped" | "given";
}

/**
 * How well units predict a recording, on stimuli that neither the map nor its penalty has seen.
 *
 * Outer folds are held out in turn; inside the rest `ridgeCv` chooses each target's penalty and fits.
 * The score of a target is Pearson's r between prediction and measurement within each outer fold, averaged
 * over the folds in which the target varies; a prediction that does not vary scores 0.
 *
 * @param x - Activations, `[nStimuli, nUnits]`, finite.
 * @param y - Responses, `[nStimuli, nTargets]`, finite.
 * @param options - How the model is fitted and tested.
 * @throws {ShapeError} if sizes do not fit each other.
 * @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if an option is out of range, or a held-out fold has fewer than 3 stimuli.
 * @throws {InterruptedError} if the signal fires.
 *
 * Cost: outerFolds times that of `ridgeCv`.
 * Source: nested cross-validation as in Schrimpf et al. (2021), PNAS 118:e2105646118, with contiguous or
 * grouped instead of shuffled folds, since shuffling inflates scores over stimuli that resemble their
 * neighbours (Feghhi et al. 2024).
 */
export async function encodingScore(
  x: Activations,
  y: Responses,
  options: EncodingOptions = {},
): Promise<EncodingScore> {
  const { groups, standardize = false, innerFolds = 5, onProgress, signal } = options;
  const [nStimuli, nUnits] = x.shape;
  const nTargets = y.shape[1];
  if (nStimuli !== y.shape[0]) {
    throw new ShapeError(
      `encodingScore: expected as many stimuli in x as in y, got ${nStimuli} and ${y.shape[0]}`,
      { hint: "Bring them together with matchStimuli first." },
    );
  }
  checkFinite("encodingScore", "activations", x.data, nUnits);
  checkFinite("encodingScore", "responses", y.data, nTargets);
  const { folds, split } = outerFoldsOf(options, nStimuli);
  const own = options.linalg === undefined;
  const linalg = options.linalg ?? createLinalg();
  const sums = new Float64Array(nTargets);
  const counts = new Int32Array(nTargets);
  try {
    for (const [f, { train, test }] of folds.entries()) {
      throwIfAborted(signal, "encodingScore");
      const [fitted, held] = standardize ? scaled(x, train, test) : partsOf(x, train, test);
      const inner = innerFoldsOf(train, innerFolds, groups);
      const predicted = await ridgePredictions(fitted, takeRows(y, train), held, {
        ...options,
        onProgress: undefined,
        folds: inner,
        linalg,
      });
      addCorrelations(predicted, takeRows(y, test), sums, counts);
      onProgress?.({ stage: "scoring", done: f + 1, total: folds.length, unit: "folds" });
    }
  } finally {
    if (own) await linalg.dispose();
  }
  const perTarget = sums.map((sum, t) => sum / counts[t]!);
  return {
    perTarget,
    ...summary(perTarget),
    normalized: normalize(perTarget, options),
    nFolds: folds.length,
    split,
  };
}

/** The fewest stimuli that a correlation says anything about. */
const LEAST_HELD_OUT = 3;

function outerFoldsOf(
  { outerFolds = 5, groups }: EncodingOptions,
  nStimuli: number,
): { folds: readonly Fold[]; split: EncodingScore["split"] } {
  if (groups !== undefined && groups.length !== nStimuli) {
    throw new ShapeError(
      `encodingScore: expected ${nStimuli} group labels, one per stimulus, got ${groups.length}`,
    );
  }
  const folds =
    typeof outerFolds !== "number"
      ? outerFolds
      : groups === undefined
        ? contiguousFolds(nStimuli, outerFolds)
        : groupedFolds(groups, outerFolds);
  checkFolds("encodingScore", folds, nStimuli);
  const smallest = Math.min(...folds.map(({ test }) => test.length));
  if (smallest < LEAST_HELD_OUT) {
    throw new ArgumentError(
      `encodingScore: expected at least ${LEAST_HELD_OUT} stimuli in each held-out fold, got ${smallest}`,
      { hint: "Use fewer outer folds: a correlation over two stimuli is always 1 or -1." },
    );
  }
  const split = typeof outerFolds !== "number" ? "given" : groups ? "grouped" : "contiguous";
  return { folds, split };
}

function innerFoldsOf(
  train: Int32Array,
  innerFolds: number | "leave-one-out",
  groups: ArrayLike<string | number> | undefined,
): readonly Fold[] | "leave-one-out" {
  if (innerFolds === "leave-one-out") return innerFolds;
  if (groups === undefined) return contiguousFolds(train.length, innerFolds);
  const labels = Array.from(train, (i) => groups[i]!);
  return groupedFolds(labels, Math.min(innerFolds, new Set(labels).size));
}

const partsOf = (
  x: Activations,
  train: Int32Array,
  test: Int32Array,
): readonly [Activations, Activations] => [takeRows(x, train), takeRows(x, test)];

/** Both parts divided by the deviation of each unit over the first; a unit that does not vary stays. */
function scaled(
  x: Activations,
  train: Int32Array,
  test: Int32Array,
): readonly [Activations, Activations] {
  const nUnits = x.shape[1];
  const deviation = new Float64Array(nUnits);
  const mean = new Float64Array(nUnits);
  for (const i of train) {
    for (let u = 0; u < nUnits; u++) mean[u]! += x.data[i * nUnits + u]! / train.length;
  }
  for (const i of train) {
    for (let u = 0; u < nUnits; u++) deviation[u]! += (x.data[i * nUnits + u]! - mean[u]!) ** 2;
  }
  const scale = deviation.map((square, u) => {
    const value = Math.sqrt(square / train.length);
    // What rounding leaves of a constant is not variance.
    return value > 1e-14 * Math.abs(mean[u]!) ? 1 / value : 1;
  });
  const apply = (part: Activations): Activations => {
    const data = Float64Array.from(part.data);
    for (let i = 0; i < data.length; i++) data[i]! *= scale[i % nUnits]!;
    return { ...part, data };
  };
  const [fitted, held] = partsOf(x, train, test);
  return [apply(fitted), apply(held)];
}

/** Adds each target's correlation to its sum, if the target varies. */
function addCorrelations(
  predicted: Responses,
  measured: Responses,
  sums: Float64Array,
  counts: Int32Array,
): void {
  const [n, nTargets] = measured.shape;
  for (let t = 0; t < nTargets; t++) {
    let meanA = 0;
    let meanB = 0;
    for (let i = 0; i < n; i++) {
      meanA += predicted.data[i * nTargets + t]! / n;
      meanB += measured.data[i * nTargets + t]! / n;
    }
    let aa = 0;
    let bb = 0;
    let ab = 0;
    for (let i = 0; i < n; i++) {
      const a = predicted.data[i * nTargets + t]! - meanA;
      const b = measured.data[i * nTargets + t]! - meanB;
      aa += a * a;
      bb += b * b;
      ab += a * b;
    }
    // Rounding gives a constant a variance of about (eps mean)^2.
    if (bb <= n * (4 * Number.EPSILON * meanB) ** 2) continue;
    counts[t]!++;
    if (aa > n * (4 * Number.EPSILON * meanA) ** 2) {
      sums[t]! += ab / (Math.sqrt(aa) * Math.sqrt(bb));
    }
  }
}

function summary(perTarget: Float64Array): { median: number; mean: number; nUndefined: number } {
  const defined = perTarget.filter((r) => !Number.isNaN(r));
  return {
    median: defined.length === 0 ? Number.NaN : quantile(defined, 0.5),
    mean:
      defined.length === 0 ? Number.NaN : defined.reduce((sum, r) => sum + r, 0) / defined.length,
    nUndefined: perTarget.length - defined.length,
  };
}

function normalize(
  perTarget: Float64Array,
  { ceiling, leastCeiling = 0.1 }: EncodingOptions,
): EncodingScore["normalized"] {
  if (ceiling === undefined) return undefined;
  if (ceiling.length !== perTarget.length) {
    throw new ShapeError(
      `encodingScore: expected a ceiling for each of ${perTarget.length} targets, got ${ceiling.length}`,
    );
  }
  if (!(leastCeiling > 0)) {
    throw new ArgumentError(`encodingScore: expected leastCeiling above 0, got ${leastCeiling}`);
  }
  const shares = perTarget.map((r, t) =>
    ceiling[t]! >= leastCeiling ? r / ceiling[t]! : Number.NaN,
  );
  const { median, nUndefined } = summary(shares);
  return { perTarget: shares, median, nUndefined };
}
