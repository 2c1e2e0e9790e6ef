import {
  ArgumentError,
  DataError,
  type LongWork,
  type Tensor,
  tensor,
  throwIfAborted,
} from "@penfield/core";
import { createLinalg, type Matrix, matrix } from "@penfield/linalg";
import { areaUnderRoc } from "@penfield/stats";
import { fitClassifier } from "../decoding/classifiers.ts";
import {
  checkTrials,
  columnScale,
  requireEveryClass,
  scaled,
  type TrialOptions,
  trialFolds,
} from "../decoding/trials.ts";
import type { EpochedResponses } from "./timeResolvedEncoding.ts";

/** How classifiers are fitted and tested over time. */
export interface TimeDecodingOptions extends TrialOptions, LongWork {
  /** `area`: under the ROC curve, two classes only, its default; `accuracy`: the default for more. */
  readonly score?: "area" | "accuracy" | undefined;
}

/** What can be read from each sample, by a classifier fitted to each sample. */
export interface TimeGeneralization {
  /** Mean over folds, `[nTimes, nTimes]`: fitted at the row's sample, tested at the column's. */
  readonly scores: Tensor<readonly ["train", "test"]>;
  /** `[nFolds, nTimes, nTimes]`; NaN where an area has one class only. */
  readonly perFold: Tensor<readonly ["fold", "train", "test"]>;
  /** Fitted and tested at the same sample, [nTimes]. */
  readonly diagonal: Float64Array;
  readonly chance: number;
}

/** What can be read from each sample. */
export interface TimeDecoding {
  /** Mean over folds, [nTimes]. */
  readonly scores: Float64Array;
  /** `[nFolds, nTimes]`. */
  readonly perFold: Tensor<readonly ["fold", "time"]>;
  readonly chance: number;
}

/**
 * Temporal generalization: a classifier fitted at one sample is tested at all others. A square says that a code is stable, a
 * diagonal that it changes, off-diagonal islands that it comes back.
 *
 * @param x - `[nStimuli, nTargets, nTimes]`, finite.
 * @param labels - The class of each stimulus, at least two classes.
 * @param options - Classifier (lda is quickest for few sensors), folds, score.
 * @throws {ShapeError} if sizes do not fit. @throws {DataError} if a value is not finite or a training set lacks a class.
 * @throws {ArgumentError} if an option is out of range. @throws {InterruptedError} if the signal fires.
 *
 * Subjects' matrices, less chance, can go to `clusterTest` with `gridNeighbours(nTimes, nTimes)`.
 *
 * Cost: nFolds nTimes fits, and as many products [nHeld nTimes, nTargets].
 * Source: King & Dehaene (2014), Trends in Cognitive Sciences 18:203. Matches MNE's GeneralizingEstimator.
 *
 * @example
 * const x = tensor(Float64Array.from({ length: 80 }, (_, i) => Math.sin(i * i) * 0.1 + (i % 2 ? 0 : Math.floor(i / 4) % 2)), ["stimulus", "target", "time"], [20, 2, 2]);
 * const labels = Array.from({ length: 20 }, (_, i) => i % 2);
 * const { diagonal, chance } = await timeGeneralization(x, labels, { classifier: "lda" });
 * [diagonal[0], chance] // => [1, 0.5]
 */
export async function timeGeneralization(
  x: EpochedResponses,
  labels: ArrayLike<string | number>,
  options: TimeDecodingOptions = {},
): Promise<TimeGeneralization> {
  const nTimes = x.shape[2];
  const { perFold, nFolds, chance } = await decodeOverTime(
    "timeGeneralization",
    x,
    labels,
    options,
    false,
  );
  const scores = averageOver(perFold, nFolds, nTimes * nTimes);
  return {
    scores: tensor(scores, ["train", "test"], [nTimes, nTimes]),
    perFold: tensor(perFold, ["fold", "train", "test"], [nFolds, nTimes, nTimes]),
    diagonal: Float64Array.from({ length: nTimes }, (_, i) => scores[i * nTimes + i]!),
    chance,
  };
}

/**
 * Decoding at every sample: a classifier is fitted and tested at each.
 *
 * @param x - `[nStimuli, nTargets, nTimes]`, finite.
 * @param labels - The class of each stimulus.
 * @param options - As for {@link timeGeneralization}.
 * @throws As {@link timeGeneralization}.
 *
 * Cost: nFolds nTimes fits. Matches MNE's SlidingEstimator.
 *
 * @example
 * const x = tensor(Float64Array.from({ length: 80 }, (_, i) => Math.sin(i * i) * 0.1 + (i % 2 ? 0 : Math.floor(i / 4) % 2)), ["stimulus", "target", "time"], [20, 2, 2]);
 * const labels = Array.from({ length: 20 }, (_, i) => i % 2);
 * (await timeDecoding(x, labels, { classifier: "lda" })).scores[0] // => 1
 */
export async function timeDecoding(
  x: EpochedResponses,
  labels: ArrayLike<string | number>,
  options: TimeDecodingOptions = {},
): Promise<TimeDecoding> {
  const nTimes = x.shape[2];
  const { perFold, nFolds, chance } = await decodeOverTime(
    "timeDecoding",
    x,
    labels,
    options,
    true,
  );
  return {
    scores: averageOver(perFold, nFolds, nTimes),
    perFold: tensor(perFold, ["fold", "time"], [nFolds, nTimes]),
    chance,
  };
}

const averageOver = (perFold: Float64Array, nFolds: number, size: number): Float64Array =>
  Float64Array.from({ length: size }, (_, i) => {
    let sum = 0;
    let count = 0;
    for (let f = 0; f < nFolds; f++) {
      const value = perFold[f * size + i]!;
      if (Number.isNaN(value)) continue;
      sum += value;
      count++;
    }
    return sum / count;
  });

async function decodeOverTime(
  name: string,
  x: EpochedResponses,
  labels: ArrayLike<string | number>,
  options: TimeDecodingOptions,
  sameSample: boolean,
): Promise<{ perFold: Float64Array; nFolds: number; chance: number }> {
  const { groups, onProgress, signal } = options;
  const nTimes = x.shape[2];
  checkTrials(name, x, labels, groups);
  const classes = [...new Set(Array.from(labels))].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  const score = options.score ?? (classes.length === 2 ? "area" : "accuracy");
  if (classes.length < 2 || (score === "area" && classes.length !== 2)) {
    throw new DataError(
      `${name}: expected ${score === "area" ? "2" : "at least 2"} classes for ${score}, got ${classes.length}`,
    );
  }
  if (score !== "area" && score !== "accuracy") {
    throw new ArgumentError(`${name}: expected score area or accuracy, got ${score}`);
  }
  const indices = Int32Array.from(labels as ArrayLike<never>, (label) => classes.indexOf(label));
  const folds = trialFolds(name, labels, options);
  const own = options.linalg === undefined;
  const linalg = options.linalg ?? createLinalg();
  const width = sameSample ? 1 : nTimes;
  const perFold = new Float64Array(folds.length * nTimes * width);
  try {
    for (const [f, { train, test }] of folds.entries()) {
      const trainLabels = train.map((i) => indices[i]!);
      requireEveryClass(name, f, trainLabels, classes);
      const everywhere = sameSample ? undefined : allSamplesOf(x, test);
      for (let time = 0; time < nTimes; time++) {
        throwIfAborted(signal, name);
        const fitted = sampleOf(x, train, time);
        const scale = options.standardize ? columnScale(fitted) : undefined;
        const decide = await fitClassifier(
          name,
          scaled(fitted, scale),
          trainLabels,
          classes.length,
          options,
          linalg,
        );
        const held = everywhere ?? sampleOf(x, test, time);
        const { data } = await decide(scaled(held, scale));
        for (let other = 0; other < width; other++) {
          const from = (i: number): number => i * width + other;
          perFold[(f * nTimes + time) * width + other] = scoreAt(
            data,
            from,
            test,
            indices,
            classes.length,
            score,
          );
        }
      }
      onProgress?.({
        stage: "decoding over time",
        done: f + 1,
        total: folds.length,
        unit: "folds",
      });
    }
  } finally {
    if (own) await linalg.dispose();
  }
  return {
    perFold,
    nFolds: folds.length,
    chance: score === "area" ? 0.5 : 1 / classes.length,
  };
}

/** [nRows, nTargets] at one sample. */
function sampleOf(x: EpochedResponses, rows: Int32Array, time: number): Matrix<Float64Array> {
  const [, nTargets, nTimes] = x.shape;
  const data = Float64Array.from(
    { length: rows.length * nTargets },
    (_, i) =>
      x.data[(rows[Math.floor(i / nTargets)]! * nTargets + (i % nTargets)) * nTimes + time]!,
  );
  return matrix(data, rows.length, nTargets);
}

/** [nRows nTimes, nTargets]. */
function allSamplesOf(x: EpochedResponses, rows: Int32Array): Matrix<Float64Array> {
  const [, nTargets, nTimes] = x.shape;
  const data = new Float64Array(rows.length * nTimes * nTargets);
  rows.forEach((row, i) => {
    for (let t = 0; t < nTargets; t++) {
      for (let time = 0; time < nTimes; time++) {
        data[(i * nTimes + time) * nTargets + t] = x.data[(row * nTargets + t) * nTimes + time]!;
      }
    }
  });
  return matrix(data, rows.length * nTimes, nTargets);
}

/** @param rowOf - Where the decision about the i-th held-out stimulus lies. */
function scoreAt(
  decisions: Float64Array,
  rowOf: (i: number) => number,
  test: Int32Array,
  labels: Int32Array,
  nClasses: number,
  score: "area" | "accuracy",
): number {
  if (score === "area") {
    return areaUnderRoc(
      Float64Array.from(test, (_, i) => decisions[rowOf(i) * 2 + 1]! - decisions[rowOf(i) * 2]!),
      Array.from(test, (stimulus) => labels[stimulus] === 1),
    );
  }
  let right = 0;
  test.forEach((stimulus, i) => {
    const row = decisions.subarray(rowOf(i) * nClasses, (rowOf(i) + 1) * nClasses);
    if (row.indexOf(row.reduce((a, b) => Math.max(a, b))) === labels[stimulus]) right++;
  });
  return right / test.length;
}
