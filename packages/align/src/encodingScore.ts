import {
  type Activations,
  ArgumentError,
  type LongWork,
  ShapeError,
  type Tensor,
  takeRows,
  tensor,
  throwIfAborted,
} from "@penfield/core";
import { createLinalg, type Linalg } from "@penfield/linalg";
import {
  type BootstrapInterval,
  benjaminiHochberg,
  blockOrders,
  bootstrapInterval,
  quantile,
} from "@penfield/stats";
import { describeFolds } from "./floors/describeFolds.ts";
import { checkFolds, contiguousFolds, type Fold, groupedFolds, shuffledFolds } from "./folds.ts";
import { checkFinite } from "./regression/columns.ts";
import { heldOutPredictor, type RegressorName } from "./regression/regressors.ts";
import type { Responses, RidgeOptions } from "./regression/ridgeCv.ts";

/** What a regressor of one's own is given besides the data. */
export interface RegressorContext extends LongWork {
  /** Folds inside the training set, for choosing what the regressor has to choose. */
  readonly innerFolds: readonly Fold[] | "leave-one-out";
  readonly linalg: Linalg;
}

/**
 * Anything that fits responses to activations and says what it expects for other stimuli.
 *
 * @param x - `[nTrain, nUnits]`.
 * @param y - `[nTrain, nTargets]`.
 * @param held - `[nHeld, nUnits]`.
 * @returns `[nHeld, nTargets]`.
 */
export type HeldOutPredictor = (
  x: Activations,
  y: Responses,
  held: Activations,
  context: RegressorContext,
) => Promise<Responses>;

/** How p-values of scores are made: blocks of measured stimuli change places within each held-out fold. */
export interface EncodingPermutation {
  /** Default 1000. */
  readonly nDraws?: number | undefined;
  /** How many neighbours stay together; 1 for stimuli that do not resemble their neighbours. Default 1. */
  readonly blockLength?: number | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
}

/** What is drawn again to say how sure a score is. */
export interface EncodingInterval {
  /** `targets` (default): other targets of this brain; `folds`: other stimuli; `subjects`: other people. */
  readonly over?: "targets" | "folds" | "subjects" | undefined;
  /** The subject of each target, for `subjects`. */
  readonly subjects?: ArrayLike<string | number> | undefined;
  /** Default 2000. */
  readonly nDraws?: number | undefined;
  /** Default 0.95. */
  readonly level?: number | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
}

/** How an encoding model is fitted and tested. */
export interface EncodingOptions extends Omit<RidgeOptions, "folds" | "intercept"> {
  /** How many outer folds, or the folds themselves. Default 5; with `split: "leave-one-group-out"` the number of groups. */
  readonly outerFolds?: number | readonly Fold[] | undefined;
  /**
   * How stimuli are held out. `contiguous`: blocks of neighbours; `grouped`: whole groups, several to a fold;
   * `leave-one-group-out`: each group (run, story, subject) in turn; `shuffled`: in random order, which the result warns of. Default
   * `grouped` if there are groups, else `contiguous`.
   */
  readonly split?: "contiguous" | "grouped" | "leave-one-group-out" | "shuffled" | undefined;
  /** Of shuffled folds. Default 0. */
  readonly seed?: number | undefined;
  /**
   * How many contiguous (or grouped) folds inside each training set choose the penalty, or
   * `leave-one-out`. Default 5.
   */
  readonly innerFolds?: number | "leave-one-out" | undefined;
  /** A label per stimulus; stimuli of one group are never on both sides of a split. */
  readonly groups?: ArrayLike<string | number> | undefined;
  /** Divide each unit by its standard deviation over the training stimuli. Default false. */
  readonly standardize?: boolean | undefined;
  /** What is fitted: the name of a regressor, or one of your own. Default `ridge`, with these options. */
  readonly regressor?: RegressorName | HeldOutPredictor | undefined;
  /** Of the regressors `principal-components` and `partial-least-squares`. */
  readonly components?: number | undefined;
  /**
   * The highest correlation that a model can reach, per target (`splitHalfCeiling`'s
   * maximumCorrelation); scores are also given as shares of it.
   */
  readonly ceiling?: ArrayLike<number> | undefined;
  /** Targets below this ceiling have no normalized score. Default 0.1. */
  readonly leastCeiling?: number | undefined;
  /** Test each target's score by permutation. Default: no test. */
  readonly permutation?: EncodingPermutation | undefined;
  /** How sure the median is. Default: no interval. */
  readonly interval?: EncodingInterval | undefined;
  /** Trivial models by name (position and length, autocorrelation), `[nStimuli, nUnits]`, scored in the same folds. */
  readonly floors?: Readonly<Record<string, Activations>> | undefined;
  /** Keep what was predicted for each stimulus while it was held out. Default false. */
  readonly keepPredictions?: boolean | undefined;
}

/** How well units predict a recording that they were not fitted to. */
export interface EncodingScore {
  /** Pearson's r on held-out stimuli, the mean over outer folds, [nTargets]. */
  readonly perTarget: Float64Array;
  /** 1 - SSE / SST on held-out stimuli, the mean over the same folds, [nTargets]; below 0 for worse than the fold's mean. */
  readonly r2PerTarget: Float64Array;
  /** r of each fold, NaN where a target does not vary in it. */
  readonly perFold: Tensor<readonly ["fold", "target"]>;
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
  readonly split: "contiguous" | "grouped" | "shuffled" | "given";
  /** Of each target, one-sided, with their Benjamini-Hochberg q; 1 where there is no score. Undefined without a test. */
  readonly significance:
    | {
        readonly p: Float64Array;
        readonly q: Float64Array;
        /** Targets with q < 0.05. */
        readonly nSignificant: number;
        /** How unusual the median over targets is. */
        readonly medianP: number;
      }
    | undefined;
  /** Of the median over targets. */
  readonly interval: BootstrapInterval | undefined;
  /** What the trivial models score, in the order given. */
  readonly floors: readonly {
    readonly name: string;
    readonly perTarget: Float64Array;
    readonly median: number;
    readonly mean: number;
  }[];
  /** What was predicted for each stimulus while it was held out; NaN for one that no fold held out. If asked for. */
  readonly predictions: Responses | undefined;
  /** What a reader must know, in sentences: shuffled folds over neighbours, targets without a score. */
  readonly warnings: readonly string[];
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
 * @param options - How the model is fitted and tested, and what stands beside its score.
 * @throws {ShapeError} if sizes do not fit each other.
 * @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if an option is out of range, or a held-out fold has fewer than 3 stimuli.
 * @throws {InterruptedError} if the signal fires.
 *
 * p of a target: predictions stay, blocks of measurements change places within each held-out fold, and
 * p = (1 + #{null >= r}) / (1 + nDraws) (the map is not fitted anew).
 *
 * Cost: outerFolds times that of `ridgeCv`, for x and each floor; a test nDraws nStimuli nTargets operations.
 * Source: nested cross-validation as in Schrimpf et al. (2021), PNAS 118:e2105646118, with contiguous or
 * grouped instead of shuffled folds, since shuffling inflates scores over stimuli that resemble their
 * neighbours (Feghhi et al. 2024).
 *
 * @example
 * const x = activations(Array.from({ length: 30 }, (_, i) => [Math.sin(i * i), Math.cos(3 * i)]));
 * const y = tensor(Float64Array.from({ length: 30 }, (_, i) => Math.sin(i * i) + 0.1 * Math.cos(i)), ["stimulus", "target"], [30, 1]);
 * const score = await encodingScore(x, y, { outerFolds: 3, permutation: { nDraws: 99 }, interval: { over: "folds" } });
 * [score.split, score.perTarget[0] > 0.9, score.significance.p[0]] // => ["contiguous", true, 0.01]
 */
export async function encodingScore(
  x: Activations,
  y: Responses,
  options: EncodingOptions = {},
): Promise<EncodingScore> {
  const { onProgress, signal } = options;
  const floors = Object.entries(options.floors ?? {});
  const [nStimuli, nTargets] = y.shape;
  for (const [name, features] of [["x", x], ...floors] as const) {
    if (nStimuli !== features.shape[0]) {
      throw new ShapeError(
        `encodingScore: expected as many stimuli in ${name} as in y, got ${features.shape[0]} and ${nStimuli}`,
        { hint: "Bring them together with matchStimuli first." },
      );
    }
    checkFinite("encodingScore", "activations", features.data, features.shape[1]);
  }
  checkFinite("encodingScore", "responses", y.data, nTargets);
  const { folds, split } = outerFoldsOf(options, nStimuli);
  checkSubjectsOf(options, nTargets);
  const own = options.linalg === undefined;
  const linalg = options.linalg ?? createLinalg();
  const total = folds.length * (1 + floors.length);
  const report = (done: number): void =>
    onProgress?.({ stage: "scoring", done, total, unit: "folds" });
  try {
    const held: HeldOutFold[] = [];
    for (const [f, fold] of folds.entries()) {
      throwIfAborted(signal, "encodingScore");
      held.push(await predictFold(x, y, fold, options, linalg));
      report(f + 1);
    }
    const scores = averaged(held, nTargets);
    const scored: { name: string; perTarget: Float64Array; median: number; mean: number }[] = [];
    for (const [at, [name, features]] of floors.entries()) {
      const floor: HeldOutFold[] = [];
      for (const [f, fold] of folds.entries()) {
        throwIfAborted(signal, "encodingScore");
        floor.push(await predictFold(features, y, fold, options, linalg));
        report((at + 1) * folds.length + f + 1);
      }
      const { perTarget } = averaged(floor, nTargets);
      const { median, mean } = summary(perTarget);
      scored.push({ name, perTarget, median, mean });
    }
    const { perTarget } = scores;
    const told = summary(perTarget);
    return {
      ...scores,
      ...told,
      normalized: normalize(perTarget, options),
      nFolds: folds.length,
      split,
      significance: options.permutation && significanceOf(held, perTarget, options.permutation),
      interval: options.interval && intervalOf(scores, options.interval),
      floors: scored,
      predictions: options.keepPredictions ? gathered(held, nStimuli, nTargets) : undefined,
      warnings: warningsOf(folds, nStimuli, options.groups, told.nUndefined, nTargets),
    };
  } finally {
    if (own) await linalg.dispose();
  }
}

/** What one outer fold gives. */
interface HeldOutFold {
  readonly test: Int32Array;
  readonly predicted: Responses;
  readonly measured: Responses;
  readonly scores: FoldScore;
}

async function predictFold(
  x: Activations,
  y: Responses,
  { train, test }: Fold,
  options: EncodingOptions,
  linalg: Linalg,
): Promise<HeldOutFold> {
  const { standardize = false, innerFolds = 5, groups, regressor = "ridge" } = options;
  const [fitted, held] = standardize ? scaled(x, train, test) : partsOf(x, train, test);
  const inner = innerFoldsOf(train, innerFolds, groups);
  const training = takeRows(y, train);
  const predict = typeof regressor === "string" ? heldOutPredictor(regressor, options) : regressor;
  const predicted = await predict(fitted, training, held, {
    innerFolds: inner,
    linalg,
    signal: options.signal,
  });
  const measured = takeRows(y, test);
  if (predicted.shape[0] !== test.length || predicted.shape[1] !== y.shape[1]) {
    throw new ShapeError(
      `encodingScore: expected predictions of [${measured.shape.join(", ")}] of the regressor, got [${predicted.shape.join(", ")}]`,
    );
  }
  return { test, predicted, measured, scores: foldScore(predicted, measured) };
}

/** The fewest stimuli that a correlation says anything about. */
const LEAST_HELD_OUT = 3;

function outerFoldsOf(
  { outerFolds, groups, split: wanted, seed = 0 }: EncodingOptions,
  nStimuli: number,
): { folds: readonly Fold[]; split: EncodingScore["split"] } {
  if (groups !== undefined && groups.length !== nStimuli) {
    throw new ShapeError(
      `encodingScore: expected ${nStimuli} group labels, one per stimulus, got ${groups.length}`,
    );
  }
  const kind = wanted ?? (groups === undefined ? "contiguous" : "grouped");
  if (!["contiguous", "grouped", "leave-one-group-out", "shuffled"].includes(kind)) {
    throw new ArgumentError(
      `encodingScore: expected split contiguous, grouped, leave-one-group-out or shuffled, got ${kind}`,
    );
  }
  const grouped = kind === "grouped" || kind === "leave-one-group-out";
  if (grouped && groups === undefined) {
    throw new ArgumentError(`encodingScore: expected groups for split ${kind}, got none`);
  }
  const given = outerFolds !== undefined && typeof outerFolds !== "number";
  const made = (): readonly Fold[] => {
    if (given) return outerFolds;
    if (kind === "leave-one-group-out") return groupedFolds(groups!);
    const k = outerFolds ?? 5;
    if (Number.isInteger(k) && k > nStimuli) {
      throw new ArgumentError(
        `encodingScore: expected at most ${nStimuli} outer folds of ${nStimuli} stimuli, got ${k}`,
      );
    }
    if (kind === "grouped") return groupedFolds(groups!, k);
    return kind === "shuffled" ? shuffledFolds(nStimuli, k, seed) : contiguousFolds(nStimuli, k);
  };
  const folds = made();
  checkFolds("encodingScore", folds, nStimuli);
  const smallest = Math.min(...folds.map(({ test }) => test.length));
  if (smallest < LEAST_HELD_OUT) {
    throw new ArgumentError(
      `encodingScore: expected at least ${LEAST_HELD_OUT} stimuli in each held-out fold, got ${smallest}`,
      { hint: "Use fewer outer folds: a correlation over two stimuli is always 1 or -1." },
    );
  }
  return { folds, split: given ? "given" : grouped ? "grouped" : (kind as "contiguous") };
}

function checkSubjectsOf({ interval }: EncodingOptions, nTargets: number): void {
  if (interval?.over === "subjects" && interval.subjects?.length !== nTargets) {
    throw new ShapeError(
      `encodingScore: expected the subject of each of ${nTargets} targets for an interval over subjects, got ${interval.subjects?.length ?? "none"}`,
    );
  }
}

function innerFoldsOf(
  train: Int32Array,
  innerFolds: number | "leave-one-out",
  groups: ArrayLike<string | number> | undefined,
): readonly Fold[] | "leave-one-out" {
  if (innerFolds === "leave-one-out") return innerFolds;
  if (groups === undefined) return contiguousFolds(train.length, innerFolds);
  const labels = Array.from(train, (i) => groups[i]!);
  const nGroups = new Set(labels).size;
  // A single group left to fit cannot be held out whole; its blocks can.
  return nGroups < 2
    ? contiguousFolds(train.length, innerFolds)
    : groupedFolds(labels, Math.min(innerFolds, nGroups));
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

/** Of one fold, [nTargets] each; NaN where the target does not vary. */
interface FoldScore {
  readonly r: Float64Array;
  readonly r2: Float64Array;
}

function foldScore(predicted: Responses, measured: Responses): FoldScore {
  const [n, nTargets] = measured.shape;
  const r = new Float64Array(nTargets).fill(Number.NaN);
  const r2 = new Float64Array(nTargets).fill(Number.NaN);
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
    let error = 0;
    for (let i = 0; i < n; i++) {
      const a = predicted.data[i * nTargets + t]! - meanA;
      const b = measured.data[i * nTargets + t]! - meanB;
      aa += a * a;
      bb += b * b;
      ab += a * b;
      error += (predicted.data[i * nTargets + t]! - measured.data[i * nTargets + t]!) ** 2;
    }
    // Rounding gives a constant a variance of about (eps mean)^2.
    if (bb <= n * (4 * Number.EPSILON * meanB) ** 2) continue;
    r[t] = aa > n * (4 * Number.EPSILON * meanA) ** 2 ? ab / (Math.sqrt(aa) * Math.sqrt(bb)) : 0;
    r2[t] = 1 - error / bb;
  }
  return { r, r2 };
}

function averaged(
  held: readonly HeldOutFold[],
  nTargets: number,
): Pick<EncodingScore, "perTarget" | "r2PerTarget" | "perFold"> {
  const perFold = new Float64Array(held.length * nTargets);
  held.forEach(({ scores }, f) => {
    perFold.set(scores.r, f * nTargets);
  });
  const over = (values: readonly Float64Array[]): Float64Array =>
    Float64Array.from({ length: nTargets }, (_, t) => {
      const defined = values.map((row) => row[t]!).filter((value) => !Number.isNaN(value));
      return defined.reduce((sum, value) => sum + value, 0) / defined.length;
    });
  return {
    perTarget: over(held.map(({ scores }) => scores.r)),
    r2PerTarget: over(held.map(({ scores }) => scores.r2)),
    perFold: tensor(perFold, ["fold", "target"], [held.length, nTargets]),
  };
}

/** Columns about their means and of length 1; zero where a column does not vary. */
function unitColumns({ data, shape: [n, nTargets] }: Responses): Float64Array {
  const out = Float64Array.from(data);
  for (let t = 0; t < nTargets; t++) {
    let mean = 0;
    for (let i = 0; i < n; i++) mean += out[i * nTargets + t]! / n;
    let square = 0;
    for (let i = 0; i < n; i++) {
      out[i * nTargets + t]! -= mean;
      square += out[i * nTargets + t]! ** 2;
    }
    const scale = square > n * (4 * Number.EPSILON * mean) ** 2 ? 1 / Math.sqrt(square) : 0;
    for (let i = 0; i < n; i++) out[i * nTargets + t]! *= scale;
  }
  return out;
}

function significanceOf(
  held: readonly HeldOutFold[],
  perTarget: Float64Array,
  { nDraws = 1000, blockLength = 1, seed = 0 }: EncodingPermutation,
): EncodingScore["significance"] {
  const nTargets = perTarget.length;
  const counts = perTarget.map(
    (_, t) => held.filter(({ scores }) => !Number.isNaN(scores.r[t]!)).length,
  );
  const units = held.map(({ predicted, measured }, f) => ({
    predicted: unitColumns(predicted),
    measured: unitColumns(measured),
    orders: blockOrders({ nItems: measured.shape[0], blockLength, nDraws, seed: seed + f }),
  }));
  const atLeast = new Float64Array(nTargets).fill(1);
  const drawn = new Float64Array(nTargets);
  const { median } = summary(perTarget);
  let mediansAtLeast = 1;
  for (let draw = 0; draw < nDraws; draw++) {
    drawn.fill(0);
    for (const { predicted, measured, orders } of units) {
      const order = orders[draw]!;
      for (let i = 0; i < order.length; i++) {
        const a = i * nTargets;
        const b = order[i]! * nTargets;
        for (let t = 0; t < nTargets; t++) drawn[t]! += predicted[a + t]! * measured[b + t]!;
      }
    }
    for (let t = 0; t < nTargets; t++) {
      drawn[t]! /= counts[t]!;
      if (drawn[t]! >= perTarget[t]! - 1e-14) atLeast[t]!++;
    }
    if (summary(drawn).median >= median - 1e-14) mediansAtLeast++;
  }
  const p = atLeast.map((count, t) => (counts[t] === 0 ? 1 : count / (1 + nDraws)));
  const q = benjaminiHochberg(p);
  return {
    p,
    q,
    nSignificant: q.filter((value) => value < 0.05).length,
    medianP: Number.isNaN(median) ? 1 : mediansAtLeast / (1 + nDraws),
  };
}

function intervalOf(
  { perTarget, perFold }: Pick<EncodingScore, "perTarget" | "perFold">,
  { over = "targets", subjects, ...draws }: EncodingInterval,
): BootstrapInterval {
  const nTargets = perTarget.length;
  const medianOf = (values: Float64Array): number => summary(values).median;
  if (over === "targets") {
    const defined = perTarget.filter((r) => !Number.isNaN(r));
    return bootstrapInterval({
      ...draws,
      nItems: defined.length,
      statistic: (indices) => medianOf(Float64Array.from(indices, (t) => defined[t]!)),
    });
  }
  if (over === "folds") {
    return bootstrapInterval({
      ...draws,
      nItems: perFold.shape[0],
      statistic: (indices) =>
        medianOf(
          perTarget.map((_, t) => {
            let sum = 0;
            let count = 0;
            for (const f of indices) {
              const r = perFold.data[f * nTargets + t]!;
              if (Number.isNaN(r)) continue;
              sum += r;
              count++;
            }
            return sum / count;
          }),
        ),
    });
  }
  if (over !== "subjects") {
    throw new ArgumentError(
      `encodingScore: expected an interval over targets, folds or subjects, got ${over}`,
    );
  }
  const labels = [...new Set(Array.from(subjects!))];
  const medians = labels
    .map((label) => medianOf(perTarget.filter((_, t) => subjects![t] === label)))
    .filter((median) => !Number.isNaN(median));
  return bootstrapInterval({
    ...draws,
    nItems: medians.length,
    statistic: (indices) => indices.reduce((sum, s) => sum + medians[s]!, 0) / indices.length,
  });
}

function gathered(held: readonly HeldOutFold[], nStimuli: number, nTargets: number): Responses {
  const data = new Float64Array(nStimuli * nTargets).fill(Number.NaN);
  for (const { test, predicted } of held) {
    for (const [i, stimulus] of test.entries()) {
      data.set(predicted.data.subarray(i * nTargets, (i + 1) * nTargets), stimulus * nTargets);
    }
  }
  return tensor(data, ["stimulus", "target"], [nStimuli, nTargets]);
}

function warningsOf(
  folds: readonly Fold[],
  nStimuli: number,
  groups: EncodingOptions["groups"],
  nUndefined: number,
  nTargets: number,
): string[] {
  const { warning } = describeFolds(folds, { nStimuli, groups });
  const warnings = warning === undefined ? [] : [warning];
  if (nUndefined > 0) {
    warnings.push(
      `${nUndefined} of ${nTargets} targets vary in no held-out fold and have no score.`,
    );
  }
  return warnings;
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
