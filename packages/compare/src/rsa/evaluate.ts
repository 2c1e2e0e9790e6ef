import {
  ArgumentError,
  createRng,
  DataError,
  type LongWork,
  type Rng,
  ShapeError,
  throwIfAborted,
} from "@penfield/core";
import type { Linalg } from "@penfield/linalg";
import { type CompareOptions, checkComparison, compareRdms } from "./compareRdms.ts";
import {
  covarianceOf,
  type Evaluation,
  type EvaluationDesign,
  modelVariances,
} from "./evaluation.ts";
import { callKey, keptNumbers, type Resumable } from "./kept.ts";
import { type ModelWeights, predictions, type RdmModel } from "./models.ts";
import { type Counts, type Sampled, type Scores, scoresOfDraws } from "./multiplicity.ts";
import { meanOf, noiseCeiling } from "./noiseCeiling.ts";
import { groupsOf } from "./observations.ts";
import { withLinalg } from "./products.ts";
import { checkSameConditions, type Label, type Rdms, takeRdms } from "./rdms.ts";

/** How models are judged. */
export interface EvaluateOptions extends CompareOptions {
  /** Weights of models that are not fixed, from other data ({@link fitModel}); undefined for fixed ones. */
  readonly weights?: readonly (ModelWeights | undefined)[] | undefined;
  /** Whose RDM each is, `[nRdms]`: drawn and left out together. Default: each its own. */
  readonly subjects?: ArrayLike<Label> | undefined;
}

/** Indices drawn with repetition: RDMs' subjects, conditions, or both. */
export interface Draw {
  readonly subjects?: ArrayLike<number> | undefined;
  readonly conditions?: ArrayLike<number> | undefined;
}

/** How scores are bootstrapped. */
export interface BootstrapModelsOptions extends EvaluateOptions, LongWork, Resumable {
  /** Generalize to new subjects, new conditions, or both (default). */
  readonly over?: "rdms" | "conditions" | "both" | undefined;
  /** Default 1000. */
  readonly nDraws?: number | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
  /** The draws themselves, in place of nDraws and seed. */
  readonly draws?: readonly Draw[] | undefined;
  /** Bootstrap the noise ceiling too. Default true. */
  readonly ceilings?: boolean | undefined;
}

/**
 * Scores of models on each subject's RDM, and their spread over subjects: inference to new subjects for
 * these conditions.
 *
 * @param models - Models of the same conditions; those that are not fixed need `weights` found on other data.
 * @param data - One RDM per subject.
 * @param options - The comparison.
 * @returns Evaluations `[1, nModels, nRdms]`; variances of the means, n / (n - 1) corrected; undefined with one RDM.
 * @throws {ShapeError} if conditions differ in number.
 * @throws {DataError} if they are called differently, or there are fewer than 3.
 *
 * Cost: one comparison of all models with all RDMs.
 * Source: Schütt et al. (2023), eLife 12:e82566. Matches rsatoolbox.inference.eval_fixed.
 *
 * @example
 * const data = rdms([[1, 2, 4], [1, 3, 3.5], [2, 3, 4]]);
 * const result = await evaluateModels(fixedModels(rdms([[1, 2, 3]], { names: ["ramp"] })), data);
 * result.means[0].toFixed(3) // => "0.976"
 */
export function evaluateModels(
  models: readonly RdmModel[],
  data: Rdms,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  const { method = "pearson" } = options;
  const predicted = predictedRdms("evaluateModels", models, data, options);
  return withLinalg(options.linalg, async (linalg) => {
    const inner = { ...options, method, linalg };
    const n = data.nRdms;
    const scores = new Float64Array(models.length * n);
    // One at a time only to be wrong in the reference's way when an RDM is zero.
    const parts =
      options.compat === "rsatoolbox" ? models.map((_, m) => [m]) : [[...models.keys()]];
    for (const part of parts) {
      const some = takeRdms(predicted, part);
      scores.set((await compareRdms(some, data, inner)).data, part[0]! * n);
    }
    const { lower, upper } = await noiseCeiling(data, inner);
    const bySubject = Array.from({ length: n }, (_, k) =>
      models.map((_model, m) => scores[m * n + k]!),
    );
    const covariance = covarianceOf(bySubject, models.length, 0).map((v) => v / n);
    return {
      design: "fixed",
      method,
      names: predicted.names,
      evaluations: scores,
      nSamples: 1,
      nParts: n,
      means: Float64Array.from(models, (_, m) => meanOf(scores.subarray(m * n, (m + 1) * n))),
      ceiling: { lower: Float64Array.of(lower), upper: Float64Array.of(upper) },
      variances:
        n < 2 ? undefined : modelVariances([covariance], models.length, false, { nRdms: n }),
      degreesOfFreedom: n - 1,
      nUndefined: 0,
    } satisfies Evaluation;
  });
}

function predictedRdms(
  name: string,
  models: readonly RdmModel[],
  data: Rdms,
  { weights, method = "pearson", compat }: EvaluateOptions,
): Rdms {
  checkComparison(name, method, compat);
  if (models.length === 0) throw new ShapeError(`${name}: expected at least one model, got none`);
  for (const model of models) checkSameConditions(name, model.rdms, data);
  if (data.nConditions < 3) {
    throw new DataError(`${name}: expected at least 3 conditions, got ${data.nConditions}`);
  }
  const unfitted = models.findIndex(({ kind }, m) => kind !== "fixed" && !weights?.[m]);
  if (unfitted >= 0) {
    throw new ArgumentError(
      `${name}: expected weights for the ${models[unfitted]!.kind} model ${models[unfitted]!.name}, got none`,
      { hint: "Fit it on other data with fitModel, or use crossValidateModels." },
    );
  }
  return predictions(
    models,
    models.map((_, m) => weights?.[m] ?? [1]),
  );
}

/**
 * Scores of models over draws with repetition of subjects, conditions or both: inference to new subjects, to new
 * conditions, or to both. Matrices are not resampled; counts of the draws weigh the pairs, with the same result.
 *
 * @param models - As {@link evaluateModels}.
 * @param data - One RDM or more per subject.
 * @param options - What is drawn and how often.
 * @returns Evaluations `[nDraws, nModels, 1]`, ceilings `[nDraws]`. Draws with fewer than three different conditions are NaN and
 *   counted. For inference to both, {@link dualBootstrap} corrects the variance, which here is too large.
 * @throws As {@link evaluateModels}; {ArgumentError} if draws are out of range, or for bures and Riemannian comparisons when
 *   conditions are drawn (their pairs would be missing).
 * @throws {InterruptedError} if the signal fires.
 *
 * Cost: cosine, pearson, whitened: 2 nDraws m (K (M + (K + 1) / 2) + ...) operations as one product, for m pairs, M models, K RDMs.
 * Spearman and rho-a: O(nDraws m (M + K) K). Kendall's: nDraws (M + 2 K) K times O(m log m).
 * Source: Schütt et al. (2023), eLife 12:e82566. Matches rsatoolbox.inference.eval_bootstrap, _pattern and _rdm.
 *
 * @example
 * const data = rdms([[1, 2, 4, 3, 5, 6], [1, 3, 3.5, 2, 6, 5], [2, 3, 4, 4, 5, 7]]);
 * const models = fixedModels(rdms([[1, 2, 3, 4, 5, 6]]));
 * const result = await bootstrapModels(models, data, { over: "rdms", nDraws: 200 });
 * result.degreesOfFreedom // => 2
 */
export function bootstrapModels(
  models: readonly RdmModel[],
  data: Rdms,
  options: BootstrapModelsOptions = {},
): Promise<Evaluation> {
  const name = "bootstrapModels";
  const { method = "pearson", over = "both", ceilings = true } = options;
  if (over !== "rdms" && over !== "conditions" && over !== "both") {
    throw new ArgumentError(`${name}: expected over rdms, conditions or both, got ${over}`);
  }
  const predicted = predictedRdms(name, models, data, options);
  const subjects = groupsOf(name, "subjects", options.subjects, data.nRdms);
  const nSubjects = subjects.labels.length;
  const draws = drawsOf(name, over, nSubjects, data.nConditions, options);
  const counts = draws.map((draw) => countsOf(name, draw, over, subjects.index, data.nConditions));
  return withLinalg(options.linalg, async (linalg) => {
    const sampled: Sampled = {
      models: predicted,
      data,
      subjects: subjects.index,
      nSubjects,
      options: { ...options, method },
      ceilings,
    };
    const key = bootstrapKey(name, sampled, [over, ceilings, draws]);
    const scores = await inParts(linalg, sampled, counts, options, key);
    const fixed = ceilings ? undefined : await noiseCeiling(data, { ...options, method, linalg });
    const usable = counts.map(isUsable);
    return bootstrapResult(predicted.names, method, over, scores, usable, fixed, {
      nRdms: nSubjects,
      nConditions: data.nConditions,
    });
  });
}

/** Names a bootstrap by its data, models, comparison and draws. */
export function bootstrapKey(
  name: string,
  { models, data, subjects, options }: Sampled,
  more: readonly unknown[],
): string {
  const { method, sigmaK, compat } = options;
  return callKey(name, [models.data, data.data, subjects, [method, sigmaK, compat], ...more]);
}

/** Draws in parts, between which work can be interrupted, reported and kept. */
export async function inParts(
  linalg: Linalg,
  sampled: Sampled,
  counts: readonly Counts[],
  { onProgress, signal, keep }: LongWork & Resumable,
  key: string,
  { before = 0, total = counts.length }: { before?: number; total?: number } = {},
): Promise<Scores[]> {
  const size = 64;
  // Models, lower and upper ceiling of each draw.
  const width = sampled.models.nRdms + 2;
  const out: Scores[] = [];
  for (let start = 0; start < counts.length; start += size) {
    throwIfAborted(signal, "bootstrap");
    const some = counts.slice(start, start + size);
    const numbers = await keptNumbers(keep, `${key} ${start}`, some.length * width, async () => {
      const scores = await scoresOfDraws(linalg, sampled, some);
      return Float64Array.from(
        scores.flatMap(({ models, lower, upper }) => [...models, lower, upper]),
      );
    });
    for (let at = 0; at < numbers.length; at += width) {
      const models = numbers.slice(at, at + width - 2);
      out.push({ models, lower: numbers[at + width - 2]!, upper: numbers[at + width - 1]! });
    }
    // Work without a pause would never see a signal.
    await new Promise((resolve) => setImmediate(resolve));
    onProgress?.({ stage: "bootstrap", done: before + out.length, total, unit: "draws" });
  }
  return out;
}

function drawsOf(
  name: string,
  over: "rdms" | "conditions" | "both",
  nSubjects: number,
  nConditions: number,
  { draws, nDraws = 1000, seed = 0 }: BootstrapModelsOptions,
): readonly Draw[] {
  if (draws) return draws;
  if (!Number.isSafeInteger(nDraws) || nDraws < 2) {
    throw new ArgumentError(`${name}: expected nDraws of at least 2, got ${nDraws}`);
  }
  const rng = createRng(seed);
  const draw = (n: number) => Int32Array.from({ length: n }, () => rng.below(n));
  return Array.from({ length: nDraws }, () => {
    const subjects = over === "conditions" ? undefined : draw(nSubjects);
    return { subjects, conditions: over === "rdms" ? undefined : draw(nConditions) };
  });
}

function countsOf(
  name: string,
  draw: Draw,
  over: "rdms" | "conditions" | "both",
  subjects: Int32Array,
  nConditions: number,
): Counts {
  const tally = (indices: ArrayLike<number> | undefined, n: number, what: string): Int32Array => {
    const counts = new Int32Array(n);
    for (const i of Array.from(indices ?? [])) {
      if (!(Number.isInteger(i) && i >= 0 && i < n)) {
        throw new ArgumentError(`${name}: expected draws of ${what} within 0..${n - 1}, got ${i}`);
      }
      counts[i]!++;
    }
    if (indices === undefined || indices.length === 0) {
      throw new ArgumentError(`${name}: expected a draw of ${what}, got none`);
    }
    return counts;
  };
  const nSubjects = subjects.reduce((most, s) => Math.max(most, s + 1), 0);
  const bySubject = over === "conditions" ? undefined : tally(draw.subjects, nSubjects, "subjects");
  return {
    conditions: over === "rdms" ? undefined : tally(draw.conditions, nConditions, "conditions"),
    rdms: bySubject && Int32Array.from(subjects, (s) => bySubject[s]!),
  };
}

/** At least three different conditions. */
const isUsable = ({ conditions }: Counts): boolean =>
  !conditions || conditions.reduce((sum, c) => sum + Number(c > 0), 0) >= 3;

function bootstrapResult(
  names: readonly Label[],
  method: string,
  over: "rdms" | "conditions" | "both",
  scores: readonly Scores[],
  usable: readonly boolean[],
  fixedCeiling: { lower: number; upper: number } | undefined,
  { nRdms, nConditions }: { nRdms: number; nConditions: number },
): Evaluation {
  const nModels = names.length;
  const evaluations = new Float64Array(scores.length * nModels).fill(Number.NaN);
  const lower = new Float64Array(scores.length).fill(Number.NaN);
  const upper = new Float64Array(scores.length).fill(Number.NaN);
  const rows: number[][] = [];
  // A draw that leaves one model constant says nothing of its difference from the others. A model
  // that is never defined does not take the others with it.
  const defined = names.map((_, m) =>
    scores.some(({ models }, d) => usable[d] && !Number.isNaN(models[m])),
  );
  const valid = scores.map(
    ({ models }, d) =>
      usable[d] === true && [...models].every((v, m) => !defined[m] || !Number.isNaN(v)),
  );
  scores.forEach((one, d) => {
    if (!valid[d]) return;
    evaluations.set(one.models, d * nModels);
    lower[d] = one.lower;
    upper[d] = one.upper;
    const row = fixedCeiling ? [...one.models] : [...one.models, one.lower, one.upper];
    if (row.every((v, i) => defined[i] === false || Number.isFinite(v))) rows.push(row);
  });
  const withCeiling = fixedCeiling === undefined;
  const sources =
    over === "rdms" ? { nRdms } : over === "conditions" ? { nConditions } : { nRdms, nConditions };
  const smallest = Math.min(sources.nRdms ?? Infinity, sources.nConditions ?? Infinity);
  const design: EvaluationDesign =
    over === "rdms"
      ? "bootstrap-rdms"
      : over === "conditions"
        ? "bootstrap-conditions"
        : "bootstrap";
  return {
    design,
    method,
    names,
    evaluations,
    nSamples: scores.length,
    nParts: 1,
    means: meansOf(evaluations, nModels, 1),
    ceiling: fixedCeiling
      ? { lower: Float64Array.of(fixedCeiling.lower), upper: Float64Array.of(fixedCeiling.upper) }
      : { lower, upper },
    variances:
      rows.length < 2 || smallest < 2
        ? undefined
        : modelVariances([covarianceOf(rows, rows[0]!.length, 1)], nModels, withCeiling, sources),
    degreesOfFreedom: smallest - 1,
    nUndefined: valid.filter((ok) => !ok).length,
  };
}

/** Means over parts and over the samples in which any model has a score. */
export function meansOf(evaluations: Float64Array, nModels: number, nParts: number): Float64Array {
  const size = nModels * nParts;
  const sums = new Float64Array(nModels);
  let n = 0;
  for (let start = 0; start < evaluations.length; start += size) {
    if (evaluations.subarray(start, start + size).every(Number.isNaN)) continue;
    n++;
    for (let i = 0; i < size; i++)
      sums[Math.floor(i / nParts)]! += evaluations[start + i]! / nParts;
  }
  return sums.map((sum) => sum / n);
}

/**
 * Scores over draws of both subjects and conditions, with a variance that is neither too large nor too small: each
 * draw is also scored with its subjects alone and its conditions alone, and the three variances are combined.
 *
 * @param models - As {@link evaluateModels}.
 * @param data - RDMs of at least 2 subjects.
 * @param options - As {@link bootstrapModels}, without `over`.
 * @returns Evaluations and ceilings `[nDraws, nModels, 3]`: both, subjects alone, conditions alone. Draws with fewer than three
 *   different conditions, or that leave a model without variation, are NaN and counted.
 * @throws As {@link bootstrapModels}; {DataError} with fewer than 2 subjects.
 *
 * Cost: three times bootstrapModels.
 * Source: Schütt et al. (2023), eLife 12:e82566. Matches rsatoolbox.inference.eval_dual_bootstrap without cross-validation; with
 * fitted models see {@link bootstrapCrossValidation}.
 *
 * @example
 * const data = rdms([[1, 2, 4, 3, 5, 6], [1, 3, 3.5, 2, 6, 5], [2, 3, 4, 4, 5, 7]]);
 * const models = fixedModels(rdms([[1, 2, 3, 4, 5, 6]]));
 * (await dualBootstrap(models, data, { nDraws: 50 })).nParts // => 3
 */
export function dualBootstrap(
  models: readonly RdmModel[],
  data: Rdms,
  options: Omit<BootstrapModelsOptions, "over" | "ceilings"> = {},
): Promise<Evaluation> {
  const name = "dualBootstrap";
  const { method = "pearson" } = options;
  const predicted = predictedRdms(name, models, data, options);
  const subjects = groupsOf(name, "subjects", options.subjects, data.nRdms);
  const nSubjects = subjects.labels.length;
  if (nSubjects < 2) {
    throw new DataError(`${name}: expected at least 2 subjects, got ${nSubjects}`, {
      hint: "With one subject, draw conditions alone with bootstrapModels.",
    });
  }
  const draws = drawsOf(name, "both", nSubjects, data.nConditions, options);
  const both = draws.map((draw) => countsOf(name, draw, "both", subjects.index, data.nConditions));
  const usable = both.map(isUsable);
  const kinds: Counts[][] = [
    both,
    both.map(({ rdms }) => ({ conditions: undefined, rdms })),
    both.map(({ conditions }) => ({ conditions, rdms: undefined })),
  ];
  return withLinalg(options.linalg, async (linalg) => {
    const sampled: Sampled = {
      models: predicted,
      data,
      subjects: subjects.index,
      nSubjects,
      options: { ...options, method },
      ceilings: true,
    };
    const key = bootstrapKey(name, sampled, [draws]);
    const scores: Scores[][] = [];
    for (const [kind, counts] of kinds.entries()) {
      const progress = { before: kind * draws.length, total: kinds.length * draws.length };
      scores.push(await inParts(linalg, sampled, counts, options, `${key} ${kind}`, progress));
    }
    return dualResult(predicted.names, method, scores, usable, nSubjects, data.nConditions);
  });
}

function dualResult(
  names: readonly Label[],
  method: string,
  scores: readonly (readonly Scores[])[],
  usable: readonly boolean[],
  nRdms: number,
  nConditions: number,
): Evaluation {
  const nModels = names.length;
  const nSamples = usable.length;
  const evaluations = new Float64Array(nSamples * nModels * 3).fill(Number.NaN);
  const lower = new Float64Array(nSamples * 3).fill(Number.NaN);
  const upper = new Float64Array(nSamples * 3).fill(Number.NaN);
  // As in bootstrapModels: a draw counts if all models that ever have a score have one, in all three ways.
  const has = (d: number, m: number): boolean =>
    usable[d] === true && scores.every((kind) => !Number.isNaN(kind[d]!.models[m]!));
  const defined = names.map((_, m) => usable.some((_ok, d) => has(d, m)));
  const valid = usable.map(
    (ok, d) => ok && defined.every((isDefined, m) => !isDefined || has(d, m)),
  );
  const covariances = scores.map((kind, part) => {
    const rows: number[][] = [];
    kind.forEach((one, d) => {
      if (!valid[d]) return;
      one.models.forEach((score, m) => {
        evaluations[(d * nModels + m) * 3 + part] = score;
      });
      lower[d * 3 + part] = one.lower;
      upper[d * 3 + part] = one.upper;
      rows.push([...one.models, one.lower, one.upper]);
    });
    return covarianceOf(rows, nModels + 2, 1);
  });
  return {
    design: "dual-bootstrap",
    method,
    names,
    evaluations,
    nSamples,
    nParts: 3,
    means: meansOf(evaluations, nModels, 3),
    ceiling: { lower, upper },
    variances: modelVariances(covariances, nModels, true, { nRdms, nConditions }),
    degreesOfFreedom: Math.min(nRdms, nConditions) - 1,
    nUndefined: valid.filter((ok) => !ok).length,
  };
}

/** A shuffled copy, or the same order without a generator. */
export function shuffled(n: number, rng: Rng | undefined): number[] {
  const order = Array.from({ length: n }, (_, i) => i);
  if (!rng) return order;
  for (let i = n - 1; i > 0; i--) {
    const j = rng.below(i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
