import {
  type Activations,
  ArgumentError,
  DataError,
  type LongWork,
  ShapeError,
  tensor,
} from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { benjaminiHochberg, blockOrders, pearson, rankP } from "@penfield/stats";
import { type EncodingOptions, type EncodingScore, encodingScore } from "../encodingScore.ts";
import type { Responses } from "../regression/ridgeCv.ts";

/** What may explain the misses of a model: one value per stimulus and feature. */
export type NamedFeatures = Readonly<Record<string, ArrayLike<number>>>;

/** How misses are looked at. */
export interface ResidualOptions extends LongWork {
  /** How the model is fitted; its `permutation` says which targets count. Default permutation: 500 draws. */
  readonly encoding?:
    | Omit<EncodingOptions, "keepPredictions" | "onProgress" | "signal">
    | undefined;
  /** Targets with q below this count. Default 0.05. */
  readonly level?: number | undefined;
  /** Properties of the stimuli (emotion, frequency, length): which of them go with large errors? */
  readonly features?: NamedFeatures | undefined;
  /** Shuffles for each feature's p. Default 1000. */
  readonly nDraws?: number | undefined;
  /** How many neighbouring stimuli stay together in these shuffles. Default 1. */
  readonly blockLength?: number | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
}

/** What one feature has to do with the misses. */
export interface FeatureOfMisses {
  readonly name: string;
  /** Pearson's r of the feature with the error, over stimuli; NaN if the feature does not vary. */
  readonly r: number;
  /** Two-sided, by shuffling blocks of stimuli; 1 if the feature does not vary. */
  readonly p: number;
  /** Over all features. */
  readonly q: number;
  /** The weight of the z-scored feature when all features explain the z-scored error together. */
  readonly weight: number;
  /** How much the mean held-out r of the significant targets rises when the feature joins the units. */
  readonly gain: number;
  /** Pearson's r of the feature with the error of the model that has it: what the feature leaves to explain. */
  readonly rOnceAdded: number;
}

/** What a model of a brain misses. */
export interface ResidualAnalysis {
  /** Mean squared error of each stimulus over the significant targets, each target's errors over its variance, [nStimuli]. */
  readonly errors: Float64Array;
  /** Stimuli from the worst predicted to the best; those that no fold held out are left out. */
  readonly ranking: Int32Array;
  /** Targets that the errors are taken over. */
  readonly targets: Int32Array;
  /** The model as it is. */
  readonly score: EncodingScore;
  /** In the order given. */
  readonly features: readonly FeatureOfMisses[];
}

/**
 * Where do a model and a brain part? The error of every stimulus while it was held out, over the targets that the model predicts at all;
 * and which property of the stimuli goes with large errors, and is gone from them once the model is given it.
 *
 *   error_i = mean over significant targets of (y_it - yHat_it)^2 / var(y_t)
 *
 * @param x - Activations, `[nStimuli, nUnits]`, finite.
 * @param y - Responses, `[nStimuli, nTargets]`, finite.
 * @param options - How the model is fitted, which features to look at.
 * @throws {DataError} if no target is significant, or a feature is not finite.
 * @throws {ShapeError} if sizes do not fit. @throws {ArgumentError} if an option is out of range. @throws {InterruptedError} if the signal fires.
 *
 * A feature that goes with large errors need not be what is missing: stimuli with a strong response have large errors of any model. A
 * gain, and no correlation left once it is added, say more.
 *
 * Cost: that of `encodingScore`, once and once more per feature.
 * Source: Zhou et al. (2024), Divergences between language models and human brains, NeurIPS.
 *
 * @example
 * const n = 60;
 * const emotion = Array.from({ length: n }, (_, i) => (i % 7 === 0 ? 1 : 0));
 * const x = activations(Array.from({ length: n }, (_, i) => [Math.sin(i * i), Math.cos(3 * i)]));
 * const y = tensor(Float64Array.from({ length: n }, (_, i) => 2 * Math.sin(i * i) + 2 * emotion[i] + 0.1 * Math.sin(7 * i)), ["stimulus", "target"], [n, 1]);
 * const { features, ranking } = await residualAnalysis(x, y, { features: { emotion }, nDraws: 99 });
 * [emotion[ranking[0]], features[0].r > 0.8, features[0].gain > 0] // => [1, true, true]
 */
export async function residualAnalysis(
  x: Activations,
  y: Responses,
  options: ResidualOptions = {},
): Promise<ResidualAnalysis> {
  const name = "residualAnalysis";
  const { level = 0.05, features = {}, nDraws = 1000, blockLength = 1, seed = 0 } = options;
  const nStimuli = y.shape[0];
  const given = Object.entries(features);
  for (const [feature, values] of given) {
    if (values.length !== nStimuli) {
      throw new ShapeError(
        `${name}: expected ${nStimuli} values of ${feature}, one per stimulus, got ${values.length}`,
      );
    }
    const bad = Array.from(values).findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) {
      throw new DataError(
        `${name}: expected finite values of ${feature}, got ${values[bad]} for stimulus ${bad}`,
      );
    }
  }
  if (!(level > 0 && level <= 1)) {
    throw new ArgumentError(`${name}: expected a level within 0..1, got ${level}`);
  }
  const linalg = options.encoding?.linalg ?? createLinalg();
  try {
    const encoding: EncodingOptions = {
      permutation: { nDraws: 500, seed },
      ...options.encoding,
      keepPredictions: true,
      linalg,
      signal: options.signal,
    };
    const total = 1 + given.length;
    const report = (done: number): void =>
      options.onProgress?.({ stage: "fitting models", done, total, unit: "models" });
    const score = await encodingScore(x, y, encoding);
    report(1);
    const q = score.significance?.q ?? new Float64Array(y.shape[1]);
    const targets = Int32Array.from(q.keys()).filter(
      (t) => q[t]! < level && !Number.isNaN(score.perTarget[t]!),
    );
    if (targets.length === 0) {
      throw new DataError(
        `${name}: expected targets that the model predicts with q below ${level}, got none of ${y.shape[1]}`,
        { hint: "What a model misses means something where it predicts something." },
      );
    }
    const errors = errorsOf(y, score.predictions!, targets);
    const seen = Int32Array.from(errors.keys()).filter((i) => !Number.isNaN(errors[i]!));
    const about = Array.from(seen, (i) => errors[i]!);
    const columns = given.map(([, values]) => Array.from(seen, (i) => values[i]!));
    const weights = jointWeights(columns, about);
    const orders = blockOrders({ nItems: seen.length, blockLength, nDraws, seed });
    const made: Omit<FeatureOfMisses, "q">[] = [];
    for (const [f, [feature, values]] of given.entries()) {
      const column = columns[f]!;
      const r = pearson(column, about);
      const nulls = Number.isNaN(r)
        ? []
        : orders.map((order) =>
            Math.abs(
              pearson(
                Array.from(order, (i) => column[i]!),
                about,
              ),
            ),
          );
      const added = await encodingScore(withColumn(x, values), y, {
        ...encoding,
        permutation: undefined,
      });
      report(2 + f);
      const left = errorsOf(y, added.predictions!, targets);
      made.push({
        name: feature,
        r,
        p: Number.isNaN(r) ? 1 : rankP(Math.abs(r) * (1 - 1e-12), nulls),
        weight: weights[f]!,
        gain: meanOver(added.perTarget, targets) - meanOver(score.perTarget, targets),
        rOnceAdded: pearson(
          column,
          Array.from(seen, (i) => left[i]!),
        ),
      });
    }
    const adjusted = benjaminiHochberg(made.map(({ p }) => p));
    return {
      errors,
      ranking: seen.slice().sort((a, b) => errors[b]! - errors[a]!),
      targets,
      score,
      features: made.map((one, f) => ({ ...one, q: adjusted[f]! })),
    };
  } finally {
    if (options.encoding?.linalg === undefined) await linalg.dispose();
  }
}

const meanOver = (values: Float64Array, targets: Int32Array): number =>
  targets.reduce((sum, t) => sum + values[t]!, 0) / targets.length;

/** NaN for a stimulus that no fold held out. */
function errorsOf(y: Responses, predicted: Responses, targets: Int32Array): Float64Array {
  const [nStimuli, nTargets] = y.shape;
  const errors = new Float64Array(nStimuli);
  for (const t of targets) {
    let mean = 0;
    for (let i = 0; i < nStimuli; i++) mean += y.data[i * nTargets + t]! / nStimuli;
    let variance = 0;
    for (let i = 0; i < nStimuli; i++) {
      variance += (y.data[i * nTargets + t]! - mean) ** 2 / nStimuli;
    }
    for (let i = 0; i < nStimuli; i++) {
      const at = i * nTargets + t;
      errors[i]! += (y.data[at]! - predicted.data[at]!) ** 2 / variance / targets.length;
    }
  }
  return errors;
}

/** The units and the feature, scaled to the largest deviation among the units so that one penalty suits both. */
function withColumn(x: Activations, values: ArrayLike<number>): Activations {
  const [n, p] = x.shape;
  const deviationOf = (at: (i: number) => number): number => {
    let mean = 0;
    for (let i = 0; i < n; i++) mean += at(i) / n;
    let square = 0;
    for (let i = 0; i < n; i++) square += (at(i) - mean) ** 2 / n;
    return Math.sqrt(square);
  };
  let largest = 0;
  for (let j = 0; j < p; j++)
    largest = Math.max(
      largest,
      deviationOf((i) => x.data[i * p + j]!),
    );
  const own = deviationOf((i) => values[i]!);
  const scale = own === 0 || largest === 0 ? 1 : largest / own;
  const data = new Float64Array(n * (p + 1));
  for (let i = 0; i < n; i++) {
    data.set(x.data.subarray(i * p, (i + 1) * p), i * (p + 1));
    data[i * (p + 1) + p] = values[i]! * scale;
  }
  return tensor(data, ["stimulus", "unit"], [n, p + 1]);
}

/** Weights of z-scored features that explain z-scored values together, by Gram-Schmidt; 0 for one that adds nothing. */
function jointWeights(
  columns: readonly (readonly number[])[],
  values: readonly number[],
): Float64Array {
  const z = (list: readonly number[]): number[] => {
    const mean = list.reduce((sum, value) => sum + value, 0) / list.length;
    const deviation = Math.sqrt(list.reduce((sum, v) => sum + (v - mean) ** 2, 0) / list.length);
    return list.map((value) =>
      deviation > 1e-14 * Math.abs(mean) ? (value - mean) / deviation : 0,
    );
  };
  const dot = (a: readonly number[], b: readonly number[]): number =>
    a.reduce((sum, value, i) => sum + value * b[i]!, 0);
  const target = z(values);
  const features = columns.map(z);
  const basis: number[][] = [];
  const r: number[][] = [];
  for (const feature of features) {
    let rest = feature;
    const above = basis.map((direction) => {
      const along = dot(direction, rest);
      rest = rest.map((value, i) => value - along * direction[i]!);
      return along;
    });
    const length = Math.sqrt(dot(rest, rest));
    const counts = length > 1e-10 * Math.sqrt(values.length);
    basis.push(counts ? rest.map((value) => value / length) : rest.map(() => 0));
    r.push([...above, counts ? length : 0]);
  }
  const weights = new Float64Array(features.length);
  for (let f = features.length - 1; f >= 0; f--) {
    let value = dot(basis[f]!, target);
    for (let g = f + 1; g < features.length; g++) value -= r[g]![f]! * weights[g]!;
    weights[f] = r[f]![f]! > 0 ? value / r[f]![f]! : 0;
  }
  return weights;
}
