import { ArgumentError, createRng, DataError, type LongWork } from "@penfield/core";
import { quantile, rankP } from "@penfield/stats";
import { type CompareOptions, compareRdms } from "./compareRdms.ts";
import { bootstrapKey, inParts } from "./evaluate.ts";
import type { Resumable } from "./kept.ts";
import { predictions, type RdmModel } from "./models.ts";
import type { Counts, Scores } from "./multiplicity.ts";
import { meanOf } from "./noiseCeiling.ts";
import { groupsOf } from "./observations.ts";
import { withLinalg } from "./products.ts";
import { checkSameConditions, type Label, type Rdms } from "./rdms.ts";

/** How two groups are compared. */
export interface CompareGroupsOptions extends CompareOptions, LongWork, Resumable {
  /** Whose RDMs those of the first and second group are. Default: each its own. */
  readonly subjectsA?: ArrayLike<Label> | undefined;
  readonly subjectsB?: ArrayLike<Label> | undefined;
  /** Draw conditions too (the same for both groups). Default false. */
  readonly overConditions?: boolean | undefined;
  /** Default 1000. */
  readonly nDraws?: number | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
  /** Default 0.95. */
  readonly level?: number | undefined;
}

/** Differences between two groups, per model. */
export interface GroupComparison {
  readonly names: readonly Label[];
  /** Mean score in each group, `[nModels]`. */
  readonly meansA: Float64Array;
  readonly meansB: Float64Array;
  /** meansA - meansB. */
  readonly differences: Float64Array;
  /** Bootstrap interval of the difference, both groups' subjects drawn. */
  readonly low: Float64Array;
  readonly high: Float64Array;
  /** Two-sided: the share of draws on the other side of zero, twice, at least 1 / nDraws. */
  readonly pBootstrap: Float64Array;
  /** Two-sided: subjects exchanged between groups. For these conditions only. */
  readonly pPermutation: Float64Array;
}

/**
 * Do two groups of subjects (patients and controls, two species, two networks' seeds) differ in how well models predict
 * them?
 *
 * @param models - Fixed models.
 * @param a - RDMs of the first group.
 * @param b - RDMs of the second, of the same conditions.
 * @param options - The comparison and what is drawn.
 * @returns Differences of mean scores with intervals, and two p: none is corrected for the number of models.
 * @throws {DataError} with fewer than 2 subjects in a group, or other conditions.
 * @throws {ArgumentError} if a model is not fixed.
 * @throws {InterruptedError} if the signal fires; called again with the same `keep` it goes on, to the same bits.
 *
 * A group with noisier RDMs has lower scores for every model: compare noise ceilings, or differences between models, before
 * a difference is read as one of representation.
 *
 * Cost: that of two bootstraps.
 * Source: asked for in rsatoolbox issue 183; Efron & Tibshirani (1993), ch. 15-16.
 *
 * @example
 * const a = rdms([[1, 2, 3], [1, 2, 4], [1, 3, 4]]);
 * const b = rdms([[3, 2, 1], [4, 2, 1], [4, 3, 1]]);
 * const model = fixedModels(rdms([[1, 2, 3]]));
 * (await compareGroups(model, a, b, { nDraws: 100 })).differences[0] > 1.5 // => true
 */
export function compareGroups(
  models: readonly RdmModel[],
  a: Rdms,
  b: Rdms,
  options: CompareGroupsOptions = {},
): Promise<GroupComparison> {
  const name = "compareGroups";
  const {
    method = "pearson",
    nDraws = 1000,
    seed = 0,
    level = 0.95,
    overConditions = false,
  } = options;
  checkSameConditions(name, a, b);
  for (const model of models) {
    checkSameConditions(name, model.rdms, a);
    if (model.kind !== "fixed") {
      throw new ArgumentError(`${name}: expected fixed models, got ${model.kind} ${model.name}`, {
        hint: "Fit it on other data, and make a fixed model of predictRdm.",
      });
    }
  }
  if (!Number.isSafeInteger(nDraws) || nDraws < 2) {
    throw new ArgumentError(`${name}: expected nDraws of at least 2, got ${nDraws}`);
  }
  const groups = [
    { data: a, subjects: groupsOf(name, "subjectsA", options.subjectsA, a.nRdms) },
    { data: b, subjects: groupsOf(name, "subjectsB", options.subjectsB, b.nRdms) },
  ];
  for (const { subjects } of groups) {
    if (subjects.labels.length < 2) {
      throw new DataError(
        `${name}: expected at least 2 subjects in each group, got ${subjects.labels.length}`,
      );
    }
  }
  const predicted = predictions(models);
  const nModels = models.length;
  return withLinalg(options.linalg, async (linalg) => {
    const rng = createRng(seed);
    const n = a.nConditions;
    const tally = (size: number): Int32Array => {
      const counts = new Int32Array(size);
      for (let i = 0; i < size; i++) counts[rng.below(size)]!++;
      return counts;
    };
    const draws: Counts[][] = [[], []];
    while (draws[0]!.length < nDraws) {
      const conditions = overConditions ? tally(n) : undefined;
      if (conditions && conditions.filter((c) => c > 0).length < 3) continue;
      groups.forEach(({ subjects }, g) => {
        const bySubject = tally(subjects.labels.length);
        draws[g]!.push({ conditions, rdms: Int32Array.from(subjects.index, (s) => bySubject[s]!) });
      });
    }
    const inner = { ...options, method, linalg };
    const drawn: Scores[][] = [];
    const bySubject: Float64Array[][] = [];
    for (const [g, { data, subjects }] of groups.entries()) {
      const sampled = {
        models: predicted,
        data,
        subjects: subjects.index,
        nSubjects: subjects.labels.length,
        options: inner,
        ceilings: false,
      };
      const key = bootstrapKey(name, sampled, [draws[g]]);
      const done = { before: g * nDraws, total: 2 * nDraws };
      drawn.push(await inParts(linalg, sampled, draws[g]!, options, key, done));
      const { data: scores } = await compareRdms(predicted, data, inner);
      bySubject.push(
        models.map((_, m) =>
          Float64Array.from(subjects.labels, (_label, s) =>
            meanOf(
              scores
                .subarray(m * data.nRdms, (m + 1) * data.nRdms)
                .filter((_score, k) => subjects.index[k] === s),
            ),
          ),
        ),
      );
    }
    const [meansA, meansB] = bySubject.map((rows) => Float64Array.from(rows, meanOf));
    const differences = meansA!.map((v, m) => v - meansB![m]!);
    const spread = models.map((_, m) =>
      Float64Array.from(
        { length: nDraws },
        (_d, d) => drawn[0]![d]!.models[m]! - drawn[1]![d]!.models[m]!,
      ),
    );
    const low = new Float64Array(nModels).fill(Number.NaN);
    const high = new Float64Array(nModels).fill(Number.NaN);
    const pBootstrap = new Float64Array(nModels).fill(Number.NaN);
    const pPermutation = new Float64Array(nModels).fill(Number.NaN);
    for (let m = 0; m < nModels; m++) {
      if (spread[m]!.some(Number.isNaN)) continue;
      low[m] = quantile(spread[m]!, (1 - level) / 2);
      high[m] = quantile(spread[m]!, (1 + level) / 2);
      const below = spread[m]!.filter((v) => v <= 0).length;
      const above = spread[m]!.filter((v) => v >= 0).length;
      pBootstrap[m] = Math.min(1, (2 * (1 + Math.min(below, above))) / (1 + nDraws));
      const all = [...bySubject[0]![m]!, ...bySubject[1]![m]!];
      const nA = bySubject[0]![m]!.length;
      const nulls = Float64Array.from({ length: nDraws }, () => exchanged(all, nA, rng));
      // Sums in another order differ in their last bits; those are ties.
      pPermutation[m] = rankP(Math.abs(differences[m]!) - 1e-12, nulls.map(Math.abs));
    }
    return {
      names: predicted.names,
      meansA: meansA!,
      meansB: meansB!,
      differences,
      low,
      high,
      pBootstrap,
      pPermutation,
    };
  });
}

function exchanged(all: readonly number[], nA: number, rng: { below(n: number): number }): number {
  const order = [...all];
  for (let i = order.length - 1; i > 0; i--) {
    const j = rng.below(i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return meanOf(order.slice(0, nA)) - meanOf(order.slice(nA));
}
