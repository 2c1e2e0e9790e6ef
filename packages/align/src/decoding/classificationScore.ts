import {
  ArgumentError,
  createRng,
  DataError,
  type LongWork,
  permutation,
  type Tensor,
  tensor,
  throwIfAborted,
} from "@penfield/core";
import { createLinalg, type Linalg, type Matrix, matrix } from "@penfield/linalg";
import { areaUnderRoc, type BootstrapInterval, bootstrapInterval, rankP } from "@penfield/stats";
import type { Fold } from "../folds.ts";
import { fitClassifier } from "./classifiers.ts";
import type { Patterns } from "./matching.ts";
import {
  checkTrials,
  columnScale,
  requireEveryClass,
  scaled,
  type TrialOptions,
  trialFolds,
} from "./trials.ts";

/** How a classifier is tested. */
export interface ClassificationOptions extends TrialOptions, LongWork {
  /** How often labels are shuffled (within groups) and everything is fitted anew, for p. Default: no test. */
  readonly nDraws?: number | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
}

/** How often a classifier names the class of stimuli that it was not fitted to. */
export interface ClassificationScore {
  /** Mean over folds. */
  readonly accuracy: number;
  readonly perFold: Float64Array;
  /** 1 / classes. */
  readonly chance: number;
  /** Of the mean, resampled over folds. */
  readonly interval: BootstrapInterval;
  /** In order of first appearance. */
  readonly classes: readonly (string | number)[];
  /** How many stimuli of the row's class were taken for the column's, `[nClasses, nClasses]`. */
  readonly confusion: Tensor<readonly ["class", "chosen"]>;
  /** The choice for each stimulus, as its place in `classes`; -1 if no fold held it out, [nStimuli]. */
  readonly predictions: Int32Array;
  /** Two classes only: area under the ROC curve for the second, mean over folds that hold both. */
  readonly areaUnderRoc: number | undefined;
  /** (1 + #{shuffled >= accuracy}) / (1 + nDraws); undefined without a test. */
  readonly p: number | undefined;
}

/**
 * Which of k conditions was it? A linear classifier, fitted to some runs and asked about others.
 *
 * @param x - `[nStimuli, nTargets]`, finite: one pattern per trial or block.
 * @param labels - The class of each stimulus, at least two classes, each in every training set.
 * @param options - Classifier, folds, test.
 * @throws {ShapeError} if sizes do not fit. @throws {DataError} if a value is not finite or a training set lacks a class.
 * @throws {ArgumentError} if an option is out of range. @throws {InterruptedError} if the signal fires.
 *
 * Cost: per fold one decomposition of [nTrain, nTrain] if there are more targets than stimuli, then a fit in that space; all of it
 * nDraws + 1 times.
 * Source: Haxby et al. (2001), Science 293:2425; Pereira, Mitchell & Botvinick (2009), NeuroImage 45:S199. Classifiers match
 * scikit-learn's LinearSVC, RidgeClassifier, LogisticRegression and LinearDiscriminantAnalysis(lsqr).
 *
 * @example
 * const x = activations(Array.from({ length: 12 }, (_, i) => [(i % 3 === 0 ? 4 : 0) + Math.sin(i), (i % 3 === 1 ? 4 : 0) + Math.cos(i)]));
 * const labels = Array.from({ length: 12 }, (_, i) => ["face", "house", "cat"][i % 3]);
 * const runs = Array.from({ length: 12 }, (_, i) => Math.floor(i / 3));
 * const { accuracy, chance } = await classificationScore(x, labels, { groups: runs, cost: 1 });
 * [accuracy, chance.toFixed(2)] // => [1, "0.33"]
 */
export async function classificationScore(
  x: Patterns,
  labels: ArrayLike<string | number>,
  options: ClassificationOptions = {},
): Promise<ClassificationScore> {
  const name = "classificationScore";
  const { groups, nDraws, seed = 0, onProgress, signal } = options;
  checkTrials(name, x, labels, groups);
  const classes = [...new Set(Array.from(labels))];
  if (classes.length < 2) {
    throw new DataError(`${name}: expected at least 2 classes, got ${classes.length}`);
  }
  if (nDraws !== undefined && !(Number.isInteger(nDraws) && nDraws >= 1)) {
    throw new ArgumentError(`${name}: expected a positive whole number of draws, got ${nDraws}`);
  }
  const indices = Int32Array.from(labels as ArrayLike<never>, (label) => classes.indexOf(label));
  const folds = trialFolds(name, labels, options);
  if (folds.length < 2) throw new ArgumentError(`${name}: expected at least 2 folds, got 1`);
  const own = options.linalg === undefined;
  const linalg = options.linalg ?? createLinalg();
  try {
    const observed = await runFolds(name, x, indices, classes, folds, options, linalg);
    const rng = createRng(seed);
    const nulls: number[] = [];
    for (let draw = 0; draw < (nDraws ?? 0); draw++) {
      throwIfAborted(signal, name);
      const shuffled = shuffledWithin(indices, groups, rng);
      const drawn = await runFolds(name, x, shuffled, classes, folds, options, linalg);
      nulls.push(meanOf(drawn.perFold));
      onProgress?.({ stage: "shuffling labels", done: draw + 1, total: nDraws!, unit: "draws" });
    }
    const accuracy = meanOf(observed.perFold);
    return {
      ...observed,
      accuracy,
      chance: 1 / classes.length,
      interval: bootstrapInterval({
        nItems: folds.length,
        seed,
        statistic: (drawn) =>
          drawn.reduce((sum, f) => sum + observed.perFold[f]!, 0) / drawn.length,
      }),
      classes,
      p: nDraws === undefined ? undefined : rankP(accuracy - 1e-12, nulls),
    };
  } finally {
    if (own) await linalg.dispose();
  }
}

const meanOf = (values: Float64Array): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** Labels in another order, each within its group, so that every run keeps its conditions. */
function shuffledWithin(
  labels: Int32Array,
  groups: ArrayLike<string | number> | undefined,
  rng: ReturnType<typeof createRng>,
): Int32Array {
  const members = new Map<string | number, number[]>();
  for (let i = 0; i < labels.length; i++) {
    const group = groups?.[i] ?? 0;
    members.set(group, [...(members.get(group) ?? []), i]);
  }
  const out = labels.slice();
  for (const places of members.values()) {
    const order = permutation(places.length, rng);
    places.forEach((place, k) => {
      out[place] = labels[places[order[k]!]!]!;
    });
  }
  return out;
}

function rowsOf(x: Patterns, rows: Int32Array): Matrix<Float64Array> {
  const p = x.shape[1];
  const data = new Float64Array(rows.length * p);
  rows.forEach((row, i) => {
    data.set(x.data.subarray(row * p, (row + 1) * p), i * p);
  });
  return matrix(data, rows.length, p);
}

async function runFolds(
  name: string,
  x: Patterns,
  labels: Int32Array,
  classes: readonly (string | number)[],
  folds: readonly Fold[],
  options: ClassificationOptions,
  linalg: Linalg,
): Promise<Pick<ClassificationScore, "perFold" | "confusion" | "predictions" | "areaUnderRoc">> {
  const k = classes.length;
  const confusion = new Float64Array(k * k);
  const predictions = new Int32Array(labels.length).fill(-1);
  const perFold = new Float64Array(folds.length);
  const areas: number[] = [];
  for (const [f, { train, test }] of folds.entries()) {
    throwIfAborted(options.signal, name);
    const own = train.map((i) => labels[i]!);
    requireEveryClass(name, f, own, classes);
    const fitted = rowsOf(x, train);
    const scale = options.standardize ? columnScale(fitted) : undefined;
    const decide = await fitClassifier(name, scaled(fitted, scale), own, k, options, linalg);
    const { data } = await decide(scaled(rowsOf(x, test), scale));
    let right = 0;
    test.forEach((i, at) => {
      const row = data.subarray(at * k, (at + 1) * k);
      const chosen = row.indexOf(row.reduce((a, b) => Math.max(a, b)));
      predictions[i] = chosen;
      confusion[labels[i]! * k + chosen]!++;
      if (chosen === labels[i]) right++;
    });
    perFold[f] = right / test.length;
    if (k === 2) {
      const scores = Float64Array.from(test, (_, at) => data[at * 2 + 1]!);
      const area = areaUnderRoc(
        scores,
        Array.from(test, (i) => labels[i] === 1),
      );
      if (!Number.isNaN(area)) areas.push(area);
    }
  }
  return {
    perFold,
    confusion: tensor(confusion, ["class", "chosen"], [k, k]),
    predictions,
    areaUnderRoc:
      areas.length === 0 ? undefined : areas.reduce((sum, area) => sum + area, 0) / areas.length,
  };
}
