import { DataError, ShapeError } from "@penfield/core";
import type { Linalg, Matrix } from "@penfield/linalg";
import { checkFolds, type Fold, groupedFolds, stratifiedFolds } from "../folds.ts";
import type { ClassifierOptions } from "./classifiers.ts";

/** How trials are parted, and what classifiers are fitted with. */
export interface TrialOptions extends ClassifierOptions {
  /**
   * How many stratified folds (contiguous pieces of each class), or the folds themselves. Default 5; with groups, each is
   * left out in turn.
   */
  readonly folds?: number | readonly Fold[] | undefined;
  /** A label per stimulus (its run); stimuli of one group are never on both sides. */
  readonly groups?: ArrayLike<string | number> | undefined;
  /** Divide each target (at each sample, if there are several) by its deviation over the training stimuli, about their mean. Default false. */
  readonly standardize?: boolean | undefined;
  /** Default: one made for this call. */
  readonly linalg?: Linalg | undefined;
}

/**
 * @param trials - `[nStimuli, ...]`.
 * @throws {ShapeError} if there is not one label, and one group's, for each trial. @throws {DataError} if a value is not finite.
 */
export function checkTrials(
  name: string,
  trials: { readonly data: Float32Array | Float64Array; readonly shape: readonly number[] },
  labels: ArrayLike<string | number>,
  groups: ArrayLike<string | number> | undefined,
): void {
  const n = trials.shape[0]!;
  for (const [what, list] of [
    ["labels", labels],
    ["group labels", groups],
  ] as const) {
    if (list !== undefined && list.length !== n) {
      throw new ShapeError(`${name}: expected ${n} ${what}, one per stimulus, got ${list.length}`);
    }
  }
  const at = trials.data.findIndex((value) => !Number.isFinite(value));
  if (at >= 0) {
    throw new DataError(
      `${name}: expected finite values, got ${trials.data[at]} at stimulus ${Math.floor((at * n) / trials.data.length)}`,
    );
  }
}

/** The folds asked for. @throws {ArgumentError} if they do not part the stimuli. */
export function trialFolds(
  name: string,
  labels: ArrayLike<string | number>,
  { folds, groups }: TrialOptions,
): readonly Fold[] {
  const made =
    folds !== undefined && typeof folds !== "number"
      ? folds
      : groups === undefined
        ? stratifiedFolds(labels, folds ?? 5)
        : groupedFolds(groups, folds);
  checkFolds(name, made, labels.length);
  return made;
}

/** @throws {DataError} if a fold's training stimuli lack a class. */
export function requireEveryClass(
  name: string,
  fold: number,
  trainLabels: Int32Array,
  classes: readonly (string | number)[],
): void {
  const missing = classes.find((_, c) => !trainLabels.includes(c));
  if (missing === undefined) return;
  throw new DataError(
    `${name}: expected every class among the stimuli fitted to in fold ${fold}, got none of ${missing}`,
    { hint: "Use fewer folds, or groups that hold every condition." },
  );
}

/** What columns are put about and divided by. */
export interface ColumnScale {
  readonly means: Float64Array;
  readonly factors: Float64Array;
}

/** Means and inverse deviations (over n, not n - 1) of columns; 0 for a column that does not vary. */
export function columnScale({ data, nRows, nColumns }: Matrix<Float64Array>): ColumnScale {
  const means = new Float64Array(nColumns);
  const squares = new Float64Array(nColumns);
  for (let i = 0; i < data.length; i++) means[i % nColumns]! += data[i]! / nRows;
  for (let i = 0; i < data.length; i++) {
    squares[i % nColumns]! += (data[i]! - means[i % nColumns]!) ** 2;
  }
  return {
    means,
    factors: squares.map((square, j) => {
      const deviation = Math.sqrt(square / nRows);
      return deviation > nRows * Number.EPSILON * Math.abs(means[j]!) ? 1 / deviation : 0;
    }),
  };
}

/** The matrix itself without a scale. */
export const scaled = (
  x: Matrix<Float64Array>,
  scale: ColumnScale | undefined,
): Matrix<Float64Array> =>
  scale === undefined
    ? x
    : {
        ...x,
        data: x.data.map(
          (value, i) => (value - scale.means[i % x.nColumns]!) * scale.factors[i % x.nColumns]!,
        ),
      };
