import {
  ArgumentError,
  createRng,
  DataError,
  type LongWork,
  type Rng,
  throwIfAborted,
} from "@penfield/core";
import type { Linalg } from "@penfield/linalg";
import { checkComparison, compareRdms } from "./compareRdms.ts";
import type { BootstrapModelsOptions } from "./evaluate.ts";
import { meansOf, shuffled } from "./evaluate.ts";
import { covarianceOf, type Evaluation, modelVariances } from "./evaluation.ts";
import { callKey, keptNumbers } from "./kept.ts";
import { type FitOptions, fitModel, predictRdm, type RdmModel } from "./models.ts";
import { ceilingOf, meanOf, type NoiseCeiling, poolRdms } from "./noiseCeiling.ts";
import { groupsOf } from "./observations.ts";
import { withLinalg } from "./products.ts";
import { checkSameConditions, type Label, type Rdms, takeConditions, takeRdms } from "./rdms.ts";
import { takeSigma } from "./whiten.ts";

/** Which subjects and conditions a model is fitted on, and which it is judged on; indices. */
export interface RdmFold {
  readonly trainSubjects: readonly number[];
  readonly testSubjects: readonly number[];
  readonly trainConditions: readonly number[];
  readonly testConditions: readonly number[];
}

/**
 * Folds over subjects crossed with folds over conditions.
 *
 * @param nSubjects - How many subjects.
 * @param nConditions - How many conditions.
 * @param options.kSubjects - Folds over subjects; 1: no split. Default by their number: 2 below 6, 3 below 12, 4 below 20, else 5.
 * @param options.kConditions - Folds over conditions; 1: no split. Default 2 below 12, 3 below 24, 4 below 40, else 5.
 * @param options.seed - Shuffles first; without it groups are consecutive.
 * @throws {ArgumentError} if there are more folds than things to split.
 *
 * Source: as rsatoolbox.inference.sets_k_fold.
 *
 * @example
 * rdmFolds(4, 6, { kSubjects: 2, kConditions: 2 })[0].testConditions.join(" ") // => "0 1 2"
 */
export function rdmFolds(
  nSubjects: number,
  nConditions: number,
  {
    kSubjects = defaultSubjectFolds(nSubjects),
    kConditions = defaultConditionFolds(nConditions),
    seed,
  }: { kSubjects?: number; kConditions?: number; seed?: number } = {},
): RdmFold[] {
  for (const [what, k, n] of [
    ["kSubjects", kSubjects, nSubjects],
    ["kConditions", kConditions, nConditions],
  ] as const) {
    if (!Number.isInteger(k) || k < 1 || k > n) {
      throw new ArgumentError(`rdmFolds: expected ${what} within 1..${n}, got ${k}`);
    }
  }
  const rng = seed === undefined ? undefined : createRng(seed);
  return foldsFrom(nSubjects, nConditions, kSubjects, kConditions, rng);
}

function foldsFrom(
  nSubjects: number,
  nConditions: number,
  kSubjects: number,
  kConditions: number,
  rng: Rng | undefined,
): RdmFold[] {
  return split(nSubjects, kSubjects, rng).flatMap((subjects) =>
    split(nConditions, kConditions, rng).map((conditions) => ({
      trainSubjects: subjects.train,
      testSubjects: subjects.test,
      trainConditions: conditions.train,
      testConditions: conditions.test,
    })),
  );
}

/** Consecutive groups; what is left over goes to the first groups, from the end. */
function split(n: number, k: number, rng: Rng | undefined): { train: number[]; test: number[] }[] {
  const order = shuffled(n, rng);
  const size = Math.floor(n / k);
  return Array.from({ length: k }, (_, g) => {
    const places = Array.from({ length: size }, (_x, i) => g * size + i);
    if (g < n % k) places.push(n - (g + 1));
    const test = places.map((i) => order[i]!);
    return { test, train: k === 1 ? test : order.filter((i) => !test.includes(i)) };
  });
}

const defaultConditionFolds = (n: number): number => (n < 12 ? 2 : n < 24 ? 3 : n < 40 ? 4 : 5);
const defaultSubjectFolds = (n: number): number =>
  n < 2 ? 1 : n < 6 ? 2 : n < 12 ? 3 : n < 20 ? 4 : 5;

/** How models are cross-validated. */
export interface CrossValidateOptions extends FitOptions, LongWork {
  readonly folds?: readonly RdmFold[] | undefined;
  readonly kSubjects?: number | undefined;
  readonly kConditions?: number | undefined;
  /** Shuffles before folds are made. Default 0. */
  readonly seed?: number | undefined;
  readonly subjects?: ArrayLike<Label> | undefined;
}

/**
 * Scores of models that are fitted: on some subjects and conditions, judged on others.
 *
 * @param models - Any kinds; fixed ones are judged on the same folds.
 * @param data - RDMs.
 * @param options - The comparison, the fitter and the folds.
 * @returns Evaluations `[1, nModels, nFolds]`, NaN for a fold with fewer than 3 conditions; one ceiling, averaged over folds.
 *   No variances: folds share data. {@link bootstrapCrossValidation} has them.
 * @throws As {@link evaluateModels} and {@link fitModel}.
 *
 * Cost: per fold and model one fit and one comparison.
 * Source: Storrs et al. (2021), J Cogn Neurosci 33:2044-2064; Schütt et al. (2023). Matches rsatoolbox.inference.crossval.
 *
 * @example
 * const data = rdms([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]]);
 * const cv = { kConditions: 2, kSubjects: 1 };
 * (await crossValidateModels(fixedModels(data), data, cv)).means.map(Math.round).join(" ") // => "1"
 */
export function crossValidateModels(
  models: readonly RdmModel[],
  data: Rdms,
  options: CrossValidateOptions = {},
): Promise<Evaluation> {
  const name = "crossValidateModels";
  const { method = "pearson", seed = 0 } = options;
  const subjects = prepare(name, models, data, options);
  const folds =
    options.folds ??
    rdmFolds(subjects.labels.length, data.nConditions, {
      seed,
      ...(options.kSubjects === undefined ? {} : { kSubjects: options.kSubjects }),
      ...(options.kConditions === undefined ? {} : { kConditions: options.kConditions }),
    });
  return withLinalg(options.linalg, async (linalg) => {
    const { scores, ceiling } = await overFolds(linalg, models, data, subjects.index, folds, {
      ...options,
      method,
    });
    return {
      design: "cross-validation",
      method,
      names: models.map((model) => model.name),
      evaluations: scores,
      nSamples: 1,
      nParts: folds.length,
      means: Float64Array.from(models, (_, m) =>
        meanDefined(scores.subarray(m * folds.length, (m + 1) * folds.length)),
      ),
      ceiling: { lower: Float64Array.of(ceiling.lower), upper: Float64Array.of(ceiling.upper) },
      variances: undefined,
      degreesOfFreedom: 0,
      nUndefined: 0,
    } satisfies Evaluation;
  });
}

function prepare(
  name: string,
  models: readonly RdmModel[],
  data: Rdms,
  { method = "pearson", compat, subjects }: CrossValidateOptions,
) {
  checkComparison(name, method, compat);
  if (models.length === 0) throw new DataError(`${name}: expected at least one model, got none`);
  for (const model of models) checkSameConditions(name, model.rdms, data);
  return groupsOf(name, "subjects", subjects, data.nRdms);
}

const meanDefined = (values: Float64Array): number =>
  meanOf(values.filter((v) => !Number.isNaN(v)));

/** Scores `[nModels, nFolds]` and the ceiling over folds. */
async function overFolds(
  linalg: Linalg,
  models: readonly RdmModel[],
  data: Rdms,
  subjects: ArrayLike<number>,
  folds: readonly RdmFold[],
  options: CrossValidateOptions,
  drawn?: readonly number[],
): Promise<{ scores: Float64Array; ceiling: NoiseCeiling }> {
  const inner = { ...options, linalg };
  const { method = "pearson", sigmaK } = options;
  const sigmaOf = (places: readonly number[]) =>
    sigmaK && { sigmaK: takeSigma(sigmaK, drawn ? places.map((i) => drawn[i]!) : places) };
  const scores = new Float64Array(models.length * folds.length).fill(Number.NaN);
  const lower: number[] = [];
  const upper: number[] = [];
  const pooled = poolRdms(data, method);
  for (const [f, fold] of folds.entries()) {
    throwIfAborted(options.signal, "crossValidateModels");
    const rowsOf = (wanted: readonly number[]) =>
      Array.from({ length: data.nRdms }, (_, k) => k).filter((k) => wanted.includes(subjects[k]!));
    const train = takeConditions(takeRdms(data, rowsOf(fold.trainSubjects)), fold.trainConditions);
    const test = takeConditions(takeRdms(data, rowsOf(fold.testSubjects)), fold.testConditions);
    const different = (places: readonly number[]) =>
      new Set(drawn ? places.map((i) => drawn[i]) : places).size;
    const small = different(fold.trainConditions) < 3 || different(fold.testConditions) < 3;
    if (train.nRdms === 0 || test.nRdms === 0 || small) continue;
    for (const [m, model] of models.entries()) {
      const ofDraw = drawn ? takeConditions(model.rdms, drawn) : model.rdms;
      const fitted = { ...model, rdms: takeConditions(ofDraw, fold.trainConditions) };
      const judged = { ...model, rdms: takeConditions(ofDraw, fold.testConditions) };
      const weights = await fitModel(fitted, train, {
        ...inner,
        ...sigmaOf(fold.trainConditions),
      });
      const { data: similar } = await compareRdms(predictRdm(judged, weights), test, {
        ...inner,
        ...sigmaOf(fold.testConditions),
      });
      scores[m * folds.length + f] = meanOf(similar);
    }
    const seen = takeConditions(takeRdms(data, rowsOf(fold.trainSubjects)), fold.testConditions);
    const forTest = { ...inner, ...sigmaOf(fold.testConditions) };
    const compared = async (pool: Rdms) => meanOf((await compareRdms(pool, test, forTest)).data);
    lower.push(await compared(poolRdms(seen, method)));
    upper.push(await compared(takeConditions(pooled, fold.testConditions)));
  }
  return { scores, ceiling: { lower: meanOf(lower), upper: meanOf(upper) } };
}

/** How cross-validation is bootstrapped. */
export interface BootstrapCrossValidationOptions
  extends CrossValidateOptions,
    Pick<BootstrapModelsOptions, "over" | "nDraws" | "draws" | "keep"> {
  /** How often each draw is cross-validated with folds of its own: 2 or more tell the folds' variance from the draws'. Default 2. */
  readonly nRepeats?: number | undefined;
}

/**
 * Scores of fitted models over draws of subjects, conditions or both, each cross-validated: inference for flexible models.
 * The variance that the choice of folds adds is taken off:
 *
 *   V = (n Var(mean of n repeats) - mean Var(one repeat)) / (n - 1)
 *
 * @param models - Any kinds.
 * @param data - RDMs.
 * @param options - As {@link crossValidateModels} and {@link bootstrapModels}. Default folds are those for 1 - 1/e of the subjects and
 *   conditions, as many as a draw has different ones of.
 * @returns Evaluations `[nDraws, nModels, 1]`: means over folds and repeats. Draws with fewer different subjects than folds, or fewer
 *   than 3 different conditions per fold, are NaN and counted; so are those in which a model cannot be fitted.
 * @throws As {@link crossValidateModels}.
 *
 * Cost: nDraws nRepeats times crossValidateModels.
 * Source: Schütt et al. (2023), eLife 12:e82566. As rsatoolbox.inference.bootstrap_crossval.
 *
 * @example
 * const data = rdms([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], [2, 1, 3, 5, 4, 6, 8, 7, 9, 10, 12, 11, 13, 15, 14]]);
 * const result = await bootstrapCrossValidation(fixedModels(data), data, { kConditions: 1, nDraws: 5, over: "rdms" });
 * result.design // => "bootstrap-cross-validation"
 */
export function bootstrapCrossValidation(
  models: readonly RdmModel[],
  data: Rdms,
  options: BootstrapCrossValidationOptions = {},
): Promise<Evaluation> {
  const name = "bootstrapCrossValidation";
  const { method = "pearson", over = "both", nDraws = 1000, nRepeats = 2, seed = 0 } = options;
  const subjects = prepare(name, models, data, options);
  const nSubjects = subjects.labels.length;
  const n = data.nConditions;
  const share = 1 - 1 / Math.E;
  const {
    kSubjects = nSubjects === 1 ? 1 : defaultSubjectFolds(share * nSubjects),
    kConditions = defaultConditionFolds(share * n),
  } = options;
  if (!Number.isInteger(nRepeats) || nRepeats < 1) {
    throw new ArgumentError(`${name}: expected nRepeats of at least 1, got ${nRepeats}`);
  }
  const rng = createRng(seed);
  const draws =
    options.draws ??
    Array.from({ length: nDraws }, () => ({
      subjects: Array.from({ length: nSubjects }, () => rng.below(nSubjects)),
      conditions: Array.from({ length: n }, () => rng.below(n)),
    }));
  return withLinalg(options.linalg, async (linalg) => {
    const means: number[][] = [];
    const single: number[][][] = Array.from({ length: nRepeats }, () => []);
    const nModels = models.length;
    const evaluations = new Float64Array(draws.length * nModels).fill(Number.NaN);
    const lower = new Float64Array(draws.length).fill(Number.NaN);
    const upper = new Float64Array(draws.length).fill(Number.NaN);
    const scored: { readonly d: number; readonly repeats: readonly number[][] }[] = [];
    const { sigmaK, compat, fitter, ridge } = options;
    const key = callKey(name, [
      models.map(({ kind, rdms }) => [kind, rdms.data]),
      [data.data, subjects.index, draws],
      [method, over, sigmaK, compat, fitter, ridge, kSubjects, kConditions, nRepeats, seed],
    ]);
    for (const [d, draw] of draws.entries()) {
      throwIfAborted(options.signal, name);
      options.onProgress?.({ stage: "bootstrap", done: d, total: draws.length, unit: "draws" });
      const rows = over === "conditions" ? undefined : Array.from(draw.subjects ?? []);
      const places = over === "rdms" ? undefined : Array.from(draw.conditions ?? []);
      const different = [...new Set(rows ?? subjects.labels.keys())];
      const conditions = [...new Set(places ?? Array.from({ length: n }, (_, i) => i))];
      if (different.length < kSubjects || conditions.length < 3 * kConditions) continue;
      // Folds are drawn also for what was kept, so that later draws get theirs.
      const folds = Array.from({ length: nRepeats }, () =>
        foldsFrom(different.length, conditions.length, kSubjects, kConditions, rng),
      );
      const width = nModels + 2;
      const scores = await keptNumbers(options.keep, `${key} ${d}`, nRepeats * width, async () => {
        const all: number[] = [];
        for (const some of folds)
          all.push(...(await oneRepeat(different, conditions, rows, places, some)));
        return Float64Array.from(all);
      });
      scored.push({
        d,
        repeats: folds.map((_, r) => Array.from(scores.subarray(r * width, (r + 1) * width))),
      });
    }
    // A model that never has a score does not take the others with it.
    const defined = Array.from({ length: nModels + 2 }, (_, m) =>
      scored.some(({ repeats }) => repeats.every((row) => Number.isFinite(row[m]))),
    );
    for (const { d, repeats } of scored) {
      const isValid = repeats.every((row) =>
        row.every((v, m) => !defined[m] || Number.isFinite(v)),
      );
      if (!isValid || !defined.includes(true)) continue;
      repeats.forEach((row, r) => {
        single[r]!.push(row);
      });
      const mean = repeats[0]!.map((_, i) => meanOf(repeats.map((row) => row[i]!)));
      means.push(mean);
      evaluations.set(mean.slice(0, nModels), d * nModels);
      lower[d] = mean[nModels]!;
      upper[d] = mean[nModels + 1]!;
    }

    /** Scores of models, and both ceilings, of one draw with new folds. */
    async function oneRepeat(
      different: number[],
      conditions: number[],
      rows: number[] | undefined,
      places: number[] | undefined,
      drawnFolds: ReturnType<typeof foldsFrom>,
    ): Promise<number[]> {
      // Copies of one condition or subject stay in one fold.
      const drawn = places
        ? [...places].sort((a, b) => a - b)
        : Array.from({ length: n }, (_, i) => i);
      const rdmRows = Array.from({ length: data.nRdms }, (_, k) => k).flatMap((k) => {
        const s = subjects.index[k]!;
        return new Array<number>(rows ? rows.filter((v) => v === s).length : 1).fill(k);
      });
      const sample = takeRdms(places ? takeConditions(data, drawn) : data, rdmRows);
      const ofSample = rdmRows.map((k) => different.indexOf(subjects.index[k]!));
      const folds = drawnFolds.map((fold) => ({
        ...fold,
        trainConditions: copies(fold.trainConditions, conditions, drawn),
        testConditions: copies(fold.testConditions, conditions, drawn),
      }));
      const inner = { ...options, method };
      const result = await overFolds(linalg, models, sample, ofSample, folds, inner, drawn).catch(
        (cause: unknown) => {
          // Conditions that are drawn may leave a model's RDMs alike, which on all of them differ: such a draw says nothing.
          if (cause instanceof DataError) return undefined;
          throw cause;
        },
      );
      if (!result) return new Array<number>(models.length + 2).fill(Number.NaN);
      const nFolds = folds.length;
      const scores = models.map((_, m) =>
        meanDefined(result.scores.subarray(m * nFolds, (m + 1) * nFolds)),
      );
      const bounds =
        kSubjects > 1 || kConditions > 1
          ? result.ceiling
          : await ceilingOf(linalg, sample, ofSample, different.length, {
              ...inner,
              ...(inner.sigmaK ? { sigmaK: takeSigma(inner.sigmaK, drawn) } : {}),
            });
      return [...scores, bounds.lower, bounds.upper];
    }

    return {
      design: "bootstrap-cross-validation",
      method,
      names: models.map((model) => model.name),
      evaluations,
      nSamples: draws.length,
      nParts: 1,
      means: meansOf(evaluations, nModels, 1),
      ceiling: { lower, upper },
      variances: correctedVariances(means, single, nModels, over, nSubjects, n),
      degreesOfFreedom:
        Math.min(over === "conditions" ? Infinity : nSubjects, over === "rdms" ? Infinity : n) - 1,
      nUndefined: draws.length - means.length,
    } satisfies Evaluation;
  });
}

/** The places in a draw of all copies of some of its different conditions. */
const copies = (
  wanted: readonly number[],
  conditions: readonly number[],
  drawn: readonly number[],
): number[] => {
  const labels = new Set(wanted.map((i) => conditions[i]!));
  return drawn.flatMap((label, place) => (labels.has(label) ? [place] : []));
};

function correctedVariances(
  means: readonly number[][],
  single: readonly number[][][],
  nModels: number,
  over: "rdms" | "conditions" | "both",
  nRdms: number,
  nConditions: number,
) {
  if (means.length < 2) return undefined;
  const size = nModels + 2;
  const ofMean = covarianceOf(means, size, 1);
  const n = single.length;
  const ofOne = new Float64Array(size * size);
  for (const rows of single) {
    covarianceOf(rows, size, 1).forEach((v, i) => {
      ofOne[i]! += v / n;
    });
  }
  const corrected = n < 2 ? ofMean : ofMean.map((v, i) => (n * v - ofOne[i]!) / (n - 1));
  return modelVariances([corrected], nModels, true, {
    nRdms: over === "conditions" ? undefined : nRdms,
    nConditions: over === "rdms" ? undefined : nConditions,
  });
}
