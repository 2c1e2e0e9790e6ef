import { DataError, type Tensor } from "@penfield/core";

/**
 * Hoyer's sparseness, (sqrt(n) - sum|x| / sqrt(sum x^2)) / (sqrt(n) - 1): 1 where one value is not zero, 0 where all are
 * equally large. A vector of zeros has 0.
 *
 * @param values - Two or more.
 * @throws {DataError} for fewer.
 *
 * Source: Hoyer (2004), JMLR 5:1457-1469.
 *
 * @example
 * hoyerSparseness([0, 3, 0, 0]) // => 1
 * hoyerSparseness([2, -2, 2, 2]) // => 0
 */
export function hoyerSparseness(values: ArrayLike<number>): number {
  if (values.length < 2) {
    throw new DataError(`hoyerSparseness: expected two or more values, got ${values.length}`);
  }
  let sumAbs = 0;
  let square = 0;
  for (let i = 0; i < values.length; i++) {
    sumAbs += Math.abs(values[i]!);
    square += values[i]! ** 2;
  }
  return hoyerFromMoments(values.length, sumAbs / values.length, square / values.length);
}

/** Hoyer's sparseness from the means of |x| and x^2. */
export function hoyerFromMoments(n: number, meanAbs: number, meanSquare: number): number {
  if (n < 2 || meanSquare <= 0) return 0;
  const root = Math.sqrt(n);
  return Math.max(0, Math.min(1, (root - (root * meanAbs) / Math.sqrt(meanSquare)) / (root - 1)));
}

/** How silent the units of one layer are. */
export interface Dormancy {
  /** Each unit's mean |activation| over the layer's mean of it, `[nUnits]`. */
  readonly scores: Float64Array;
  /** Share of units whose score is at most `tau`. */
  readonly ratio: number;
}

/**
 * The dormant-neuron score of each unit of a layer, E|h| / mean over units of E|h|, and the share of units at or below
 * `tau`. In a layer that is silent altogether every unit is dormant.
 *
 * @param meanAbs - The mean |activation| of each unit of one layer.
 * @param options.tau - Default 0.025.
 * @throws {DataError} for a layer without units.
 *
 * Source: Sokar et al. (2023), ICML, The Dormant Neuron Phenomenon in Deep Reinforcement Learning, definition 3.1.
 *
 * @example
 * dormancy([0, 0, 0, 0, 5]).ratio // => 0.8
 */
export function dormancy(
  meanAbs: ArrayLike<number>,
  { tau = 0.025 }: { tau?: number | undefined } = {},
): Dormancy {
  const n = meanAbs.length;
  if (n === 0) throw new DataError("dormancy: expected at least one unit, got none");
  let sum = 0;
  for (let i = 0; i < n; i++) sum += meanAbs[i]!;
  const scores = Float64Array.from({ length: n }, (_, i) =>
    sum === 0 ? 0 : (meanAbs[i]! * n) / sum,
  );
  return { scores, ratio: scores.filter((score) => score <= tau).length / n };
}

/**
 * `dormancy` of activations, `[nStimuli, nUnits]`.
 *
 * @example
 * dormancyOf(activations([[1, 0, -1], [3, 0, 1]])).scores.join(" ") // => "2 0 1"
 */
export function dormancyOf(
  values: Tensor<readonly [string, string]>,
  options: { tau?: number | undefined } = {},
): Dormancy {
  const [nStimuli, nUnits] = values.shape;
  const meanAbs = new Float64Array(nUnits);
  for (let i = 0; i < values.data.length; i++) {
    meanAbs[i % nUnits]! += Math.abs(values.data[i]!) / nStimuli;
  }
  return dormancy(meanAbs, options);
}
