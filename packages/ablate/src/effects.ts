import { createRng } from "@penfield/core";
import { bootstrapInterval, mean, rankP, standardizeAgainst } from "@penfield/stats";

/** A number with its 95 % interval. */
export interface Estimated {
  readonly value: number;
  readonly interval: readonly [number, number] | null;
}

/** What a lesion did to a task, beside what random lesions of the same size did. */
export interface LesionEffect {
  /** Mean with the lesion minus mean without, over items; interval by bootstrap over items. */
  readonly effect: Estimated;
  /** Of the random lesions' effects. */
  readonly randomMean: number;
  readonly randomSd: number;
  /** How many standard deviations of the random effects the effect lies from their mean; NaN if they do not vary. */
  readonly z: number;
  /** (1 + random lesions at least as harmful) / (1 + random lesions). */
  readonly p: number;
  readonly nRandom: number;
}

/**
 * The mean over items with its interval by bootstrap over items (percentile, 2000 draws); no
 * interval for one item.
 *
 * @example
 * meanWithInterval([1, 1, 1]).interval // => [1, 1]
 */
export function meanWithInterval(values: ArrayLike<number>, seed = 0): Estimated {
  if (values.length < 2) return { value: values[0] ?? Number.NaN, interval: null };
  const { estimate, low, high } = bootstrapInterval({
    nItems: values.length,
    seed,
    statistic: (indices) => {
      let sum = 0;
      for (const i of indices) sum += values[i]!;
      return sum / indices.length;
    },
  });
  return { value: estimate, interval: [low, high] };
}

/**
 * Sets a lesion's effect on a task beside those of random lesions of the same size.
 *
 * @param baseline - Item values without a lesion.
 * @param lesioned - Item values with it, same items.
 * @param random - Item values with each random lesion.
 * @param higherIsBetter - Whether harm is a fall (accuracy) or a rise (loss).
 *
 * @example
 * lesionEffect([1, 1, 1, 1], [0, 0, 1, 0], [[1, 1, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]], true).p // => 0.25
 */
export function lesionEffect(
  baseline: ArrayLike<number>,
  lesioned: ArrayLike<number>,
  random: readonly ArrayLike<number>[],
  higherIsBetter: boolean,
  seed = 0,
): LesionEffect {
  // All effects are computed alike, so that equal ones are equal to the last bit and tie in the rank.
  const changeOf = (values: ArrayLike<number>): Float64Array =>
    Float64Array.from(values, (value, i) => value - baseline[i]!);
  const effect = meanWithInterval(changeOf(lesioned), seed);
  const nulls = random.map((values) => mean(changeOf(values)));
  const standard = nulls.length > 1 ? standardizeAgainst(effect.value, nulls) : undefined;
  return {
    effect,
    randomMean: nulls.length > 0 ? mean(nulls) : Number.NaN,
    randomSd: standard?.sd ?? Number.NaN,
    z: standard?.z ?? Number.NaN,
    p:
      nulls.length > 0
        ? rankP(effect.value, nulls, { tail: higherIsBetter ? "less" : "greater" })
        : Number.NaN,
    nRandom: nulls.length,
  };
}

const sum = (values: Float64Array): number => values.reduce((total, v) => total + v, 0);

/** The item values of one lesion on the two tasks of a dissociation. */
export interface DissociationCell {
  readonly taskA: ArrayLike<number>;
  readonly taskB: ArrayLike<number>;
}

export interface DoubleDissociation {
  /**
   * (harm of A's units to task A - to task B) - (harm of B's units to task A - to task B), where harm
   * is counted in each task's own metric; above 0: each lesion harms its own task more.
   */
  readonly interaction: Estimated;
  /** Rank of the interaction among those of all ordered pairs of random lesions. */
  readonly p: number;
  readonly nNull: number;
}

/**
 * Tests whether two lesions dissociate two tasks both ways.
 *
 * @param a - Item values with the units of localizer A silenced; `b` - of localizer B.
 * @param random - With random sets silenced; their pairs give the null distribution.
 * @param harmSign - For each task -1 if higher is better, else 1.
 */
export function doubleDissociation(
  a: DissociationCell,
  b: DissociationCell,
  random: readonly DissociationCell[],
  harmSign: { readonly taskA: 1 | -1; readonly taskB: 1 | -1 },
  seed = 0,
): DoubleDissociation {
  // (a - b) on task A minus (a - b) on task B: the baseline cancels item by item.
  const contrastOf = (x: DissociationCell, y: DissociationCell) => ({
    taskA: Float64Array.from(x.taskA, (v, i) => harmSign.taskA * (v - y.taskA[i]!)),
    taskB: Float64Array.from(x.taskB, (v, i) => harmSign.taskB * (v - y.taskB[i]!)),
  });
  // mean(task A) - mean(task B) with one rounding: accuracies that tie are equal to the last bit.
  const value = (x: DissociationCell, y: DissociationCell): number => {
    const { taskA, taskB } = contrastOf(x, y);
    const [nA, nB] = [taskA.length, taskB.length];
    return (sum(taskA) * nB - sum(taskB) * nA) / (nA * nB);
  };
  const observed = contrastOf(a, b);
  const estimate = value(a, b);
  const rng = createRng(seed);
  const resampled = (values: Float64Array): number => {
    let sum = 0;
    for (let i = 0; i < values.length; i++) sum += values[rng.below(values.length)]!;
    return sum / values.length;
  };
  const draws = Float64Array.from(
    { length: 2000 },
    () => resampled(observed.taskA) - resampled(observed.taskB),
  ).sort();
  const nulls = random.flatMap((x, i) => random.flatMap((y, j) => (i === j ? [] : [value(x, y)])));
  return {
    interaction: { value: estimate, interval: [draws[49]!, draws[1949]!] },
    p: nulls.length > 0 ? rankP(estimate, nulls, { tail: "greater" }) : Number.NaN,
    nNull: nulls.length,
  };
}
