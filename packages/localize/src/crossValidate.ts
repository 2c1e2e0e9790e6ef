import {
  ArgumentError,
  createRng,
  permutation,
  type Rng,
  ShapeError,
  takeRows,
} from "@penfield/core";
import { mean, rankP } from "@penfield/stats";
import {
  type Contrast,
  checkSameUnits,
  contrastOfRows,
  flatten,
  inLayers,
  type LayerActivations,
  type UnitActivations,
  type UnitMap,
} from "./contrast.ts";
import {
  type EffectIntervals,
  type FoldMeasure,
  intervalsOverStimuli,
  meanDMeasure,
  meanEffect,
} from "./heldOutEffect.ts";
import { type SelectOptions, selectUnits } from "./select.ts";
import { jaccard, perLayerCounts, toMask, type UnitSet, unitSet } from "./unitSet.ts";

/** Units found on one half of the stimuli, measured on the other. */
export interface HeldOutFold {
  readonly units: UnitSet;
  /** Size-matched random units outside `units`, the first of the random sets. */
  readonly random: UnitSet;
  /** Welch's t of each unit of `units` on the held-out half, in their order. */
  readonly t: Float64Array;
  /** Cohen's d of each unit of `units` on the held-out half, in their order. */
  readonly d: Float64Array;
  /** Mean of `d`. */
  readonly meanD: number;
  /** Mean held-out d of each random set. */
  readonly randomMeanD: Float64Array;
}

/** One random division of the stimuli, used both ways. */
export interface LocalizerSplit {
  /** Agreement of the units found on either half. */
  readonly jaccard: number;
  /** What two random sets of these sizes agree on average. */
  readonly jaccardByChance: number;
  readonly folds: readonly [HeldOutFold, HeldOutFold];
}

/** How well a localizer holds on stimuli that it has not seen. */
export interface CrossValidation extends EffectIntervals {
  readonly splits: readonly LocalizerSplit[];
  /** Means over splits. */
  readonly jaccard: number;
  readonly jaccardByChance: number;
  /** Share of random sets whose mean held-out d (over folds and splits) reaches the selected units', counted with rankP. A random set keeps its units over folds. */
  readonly p: number;
}

/** How to divide and draw. */
export interface CrossValidateOptions extends SelectOptions {
  /** As in `contrast`. Default true. */
  readonly magnitude?: boolean | undefined;
  /** How many random divisions into halves. Default 5. */
  readonly nSplits?: number | undefined;
  /** Random units from the whole model (`complement`, default, as published) or as many of each layer (`layer-matched`). */
  readonly control?: "complement" | "layer-matched" | undefined;
  /** How many size-matched random sets per fold. Default 100. */
  readonly nRandomSets?: number | undefined;
  /** Bootstrap draws over stimuli. Default 1000. */
  readonly nDraws?: number | undefined;
  /** Default 0.95. */
  readonly level?: number | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
}

/**
 * Localizes on one half of the stimuli and measures on the other, both ways round, several times:
 * are these the same units, and do they keep their preference for stimuli that did not choose them?
 *
 * @param positiveActivations - [nPositive, nLayers, nUnits], nPositive >= 4.
 * @param negativeActivations - [nNegative, nLayers, nUnits], nNegative >= 4.
 * @param options - Selection as in `selectUnits` (default top 1 %); `magnitude` as in `contrast`; `nSplits`
 *   (5), `control` ("complement"), `nRandomSets` (100), `nDraws` (1000), `level` (0.95), `seed` (0).
 * @returns Agreement of the halves beside chance; the mean held-out Cohen's d of the selected units
 *   beside size-matched random ones, with intervals from resampling stimuli within each condition
 *   (the units stay those of the splits); and each split with its units and held-out t.
 *   In direction `negative`, d and t are negative for units that hold; in `both`, each unit's t and d are
 *   turned by the sign of its t on the half that chose it. A unit that is constant on a half counts there as d = 0.
 * @throws {ShapeError} if units differ or a condition has fewer than 4 stimuli.
 * @throws {ArgumentError} if an option is out of range or more than half of the model is selected.
 *
 * Cost: 2 nSplits contrasts, then O(nDraws nSplits nStimuli nSelected) for the intervals.
 * Source: the two-fold scheme of Kryvosheieva et al. (2025), arXiv 2512.03676, with controls and intervals added.
 *
 * @example
 * const rng = createRng(3);
 * const make = (shift) => tensor(Float64Array.from({ length: 40 * 20 }, (_, i) => rng.normal() + (i % 20 < 2 ? shift : 0)), ["stimulus", "layer", "unit"], [40, 2, 10]);
 * const result = crossValidate(make(3), make(0), { k: 2, magnitude: false, nSplits: 2, nDraws: 200 });
 * result.jaccard // => 1
 * result.selected.low > 2 && result.random.high < 1 // => true
 */
export function crossValidate(
  positiveActivations: UnitActivations,
  negativeActivations: UnitActivations,
  options: CrossValidateOptions = {},
): CrossValidation {
  const [positive, negative] = [inLayers(positiveActivations), inLayers(negativeActivations)];
  const { nSplits = 5, nRandomSets = 100, nDraws = 1000, level, seed = 0 } = options;
  checkSizes(positive, negative, { nSplits, nRandomSets });
  const rng = createRng(seed);
  const [, nLayers, nUnits] = positive.shape;
  const orders = Array.from({ length: nRandomSets }, () => permutation(nLayers * nUnits, rng));
  const splits: LocalizerSplit[] = [];
  const measures: FoldMeasure[] = [];
  for (let s = 0; s < nSplits; s++) {
    const drawn = drawSplit(positive, negative, options, { rng, orders });
    splits.push(drawn.split);
    measures.push(...drawn.measures);
  }
  const folds = splits.flatMap((split) => split.folds);
  const nulls = Float64Array.from({ length: nRandomSets }, (_, r) =>
    mean(folds.map((fold) => fold.randomMeanD[r]!)),
  );
  const intervals = intervalsOverStimuli(measures, {
    nPositive: positive.shape[0],
    nNegative: negative.shape[0],
    bootstrap: { nDraws, level, seed },
  });
  return {
    splits,
    jaccard: mean(splits.map((split) => split.jaccard)),
    jaccardByChance: mean(splits.map((split) => split.jaccardByChance)),
    ...intervals,
    p: rankP(mean(folds.map((fold) => fold.meanD)), nulls, {
      tail: options.direction === "negative" ? "less" : "greater",
    }),
  };
}

function checkSizes(
  positive: LayerActivations,
  negative: LayerActivations,
  counts: { nSplits: number; nRandomSets: number },
): void {
  checkSameUnits("crossValidate", positive, negative);
  const [nPositive] = positive.shape;
  const [nNegative] = negative.shape;
  if (nPositive < 4 || nNegative < 4) {
    throw new ShapeError(
      `crossValidate: expected at least 4 stimuli of each kind to halve, got ${nPositive} and ${nNegative}`,
    );
  }
  for (const [what, count] of Object.entries(counts)) {
    if (!Number.isSafeInteger(count) || count < 1) {
      throw new ArgumentError(`crossValidate: expected ${what} of at least 1, got ${count}`);
    }
  }
}

type Halves = readonly [Int32Array, Int32Array];

function halve(n: number, rng: Rng): Halves {
  const order = permutation(n, rng);
  const middle = Math.floor(n / 2);
  return [order.slice(0, middle).sort(), order.slice(middle).sort()];
}

function drawSplit(
  positive: LayerActivations,
  negative: LayerActivations,
  options: CrossValidateOptions,
  { rng, orders }: { rng: Rng; orders: readonly Int32Array[] },
): { split: LocalizerSplit; measures: FoldMeasure[] } {
  const { magnitude = true } = options;
  const [nPositive, nLayers, nUnits] = positive.shape;
  const pos = flatten(positive);
  const neg = flatten(negative);
  const posHalves = halve(nPositive, rng);
  const negHalves = halve(negative.shape[0], rng);
  const onHalf = (half: 0 | 1): Contrast =>
    contrastOfRows(takeRows(pos, posHalves[half]), takeRows(neg, negHalves[half]), {
      nLayers,
      nUnits,
      magnitude,
    });
  const contrasts = [onHalf(0), onHalf(1)] as const;
  const measures: FoldMeasure[] = [];
  const fold = (found: 0 | 1, heldOut: 0 | 1): HeldOutFold => {
    const units = selectUnits(contrasts[found].t, options);
    const randomSets = orders.map((order) => firstOutside(units, order, options.control));
    // In "both", a unit is expected to differ again in the direction in which it differed first.
    const sign = (i: number): number =>
      options.direction === "both" ? Math.sign(contrasts[found].t.data[i]!) : 1;
    const of = (map: UnitMap, set: UnitSet): Float64Array =>
      Float64Array.from(set.indices, (i) => sign(i) * map.data[i]!);
    const { t, d } = contrasts[heldOut];
    const random = randomSets[0]!;
    const rows = { positive: posHalves[heldOut], negative: negHalves[heldOut] };
    measures.push({
      selected: meanDMeasure(pos, neg, rows, units, sign, magnitude),
      random: meanDMeasure(pos, neg, rows, random, sign, magnitude),
    });
    const selectedD = of(d, units);
    return {
      units,
      random,
      t: of(t, units),
      d: selectedD,
      meanD: meanEffect(selectedD),
      randomMeanD: Float64Array.from(randomSets, (set) => meanEffect(of(d, set))),
    };
  };
  const folds = [fold(0, 1), fold(1, 0)] as const;
  return {
    split: {
      jaccard: jaccard(folds[0].units, folds[1].units),
      jaccardByChance: chanceJaccard(folds[0].units, folds[1].units),
      folds,
    },
    measures,
  };
}

/**
 * The first units of an order that are not in the set: as many as it has, or as many in each layer. Following
 * one order in all folds makes a random set as stable over folds as the selected units can be; fresh
 * sets per fold would average out and make p too small.
 */
function firstOutside(
  units: UnitSet,
  order: Int32Array,
  control: "complement" | "layer-matched" = "complement",
): UnitSet {
  if (control !== "complement" && control !== "layer-matched") {
    throw new ArgumentError(
      `crossValidate: expected control complement or layer-matched, got ${control}`,
    );
  }
  const { nLayers, nUnits } = units;
  const taken = toMask(units);
  const wanted =
    control === "complement" ? Int32Array.of(units.indices.length) : perLayerCounts(units);
  const chosen: number[] = [];
  for (const index of order) {
    const layer = control === "complement" ? 0 : Math.floor(index / nUnits);
    if (taken[index] === 1 || wanted[layer] === 0) continue;
    chosen.push(index);
    wanted[layer]!--;
  }
  if (chosen.length < units.indices.length) {
    throw new ArgumentError(
      `crossValidate: expected as many units outside the selection as in it${control === "complement" ? "" : ", in each layer"}, got ${units.indices.length} selected of ${nLayers * nUnits}`,
      { hint: "Select fewer units." },
    );
  }
  return unitSet(nLayers, nUnits, chosen);
}

function chanceJaccard(a: UnitSet, b: UnitSet): number {
  const both = (a.indices.length * b.indices.length) / (a.nLayers * a.nUnits);
  return both / (a.indices.length + b.indices.length - both);
}
