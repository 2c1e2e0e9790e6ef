import { ArgumentError, ShapeError } from "@penfield/core";
import type { Linalg } from "@penfield/linalg";
import type { Trajectories } from "./dynamics/dmd.ts";
import { type MeasureInfo, sampleWarning } from "./registry.ts";
import { compareRdms, RDM_COMPARISONS } from "./rsa/compareRdms.ts";
import { rdmComparisonMeasures } from "./rsa/measures.ts";
import type { Rdms } from "./rsa/rdms.ts";
import type { MeasuredSimilarity } from "./similarity/measures.ts";
import type { Trials } from "./stochastic/gaussian.ts";
import { dynamicsMeasures, stochasticMeasures } from "./stochastic/measures.ts";

/** Below this many stimuli, or times, nothing is like or unlike anything. */
const LEAST = 3;

/**
 * A measure of repeated responses by its name, with what to know before believing it.
 *
 * @param name - Of {@link stochasticMeasures}.
 * @param x - `[n stimuli, r repeats, p units]`, finite, n >= 3, r >= 2.
 * @param y - The same stimuli.
 * @returns `warnings` says when there are fewer repeats than the measure needs, and why a value is NaN.
 * @throws {ArgumentError} if there is no such measure.
 * @throws {ShapeError} if there are fewer than 3 stimuli; as the measure: one repeat, other stimuli or units.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: that of the measure.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = { data: Float64Array.of(1, 3, 0, 0, 2, 5), nStimuli: 3, nRepeats: 2, nUnits: 1 };
 * (await compareTrials(linalg, "energy-shape", x, x)).warnings.length // => 1
 */
export async function compareTrials(
  linalg: Linalg,
  name: string,
  x: Trials,
  y: Trials,
): Promise<MeasuredSimilarity> {
  const measure = known("compareTrials", stochasticMeasures, name);
  checkLeast(name, "stimuli", Math.min(x.nStimuli, y.nStimuli));
  const value = await measure.compute(linalg, x, y);
  const nRepeats = Math.min(x.nRepeats, y.nRepeats);
  return flagged(measure, value, nRepeats, Math.max(x.nUnits, y.nUnits), "repeats", x.nStimuli);
}

/**
 * A measure of trajectories by its name, with what to know before believing it.
 *
 * @param name - Of {@link dynamicsMeasures}.
 * @param x - `[nTrials, nTimes, nUnits]`, finite, at least 3 times.
 * @param y - Times, trials and units may be others.
 * @returns `warnings` says when there are fewer times than the measure needs, and why a value is NaN.
 * @throws {ArgumentError} if there is no such measure.
 * @throws {ShapeError} if there are fewer than 3 times.
 * @throws As the measure.
 *
 * Cost: that of the measure.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const decay = { data: Float64Array.of(8, 4, 2, 1), nTrials: 1, nTimes: 4, nUnits: 1 };
 * (await compareTrajectories(linalg, "dsa", decay, decay)).warnings.length // => 0
 */
export async function compareTrajectories(
  linalg: Linalg,
  name: string,
  x: Trajectories,
  y: Trajectories,
): Promise<MeasuredSimilarity> {
  const measure = known("compareTrajectories", dynamicsMeasures, name);
  const nTimes = Math.min(x.nTimes, y.nTimes);
  checkLeast(name, "times", nTimes);
  const value = await measure.compute(linalg, x, y);
  return flagged(measure, value, nTimes, Math.max(x.nUnits, y.nUnits), "times");
}

/**
 * A comparison of two RDMs by its name, with what to know before believing it.
 *
 * @param name - Of {@link rdmComparisonMeasures}: `rdm-pearson`.
 * @param x - One RDM of at least 3 conditions.
 * @param y - One RDM of the same conditions.
 * @returns `warnings` counts the pairs that an RDM lacks (they are left out of both), names an RDM that is constant, and says why
 *   a value is NaN: also if no pair is in both.
 * @throws {ArgumentError} if there is no such comparison, or there is more than one RDM.
 * @throws As {@link compareRdms}.
 *
 * Cost: that of the comparison.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const a = rdms([[1, 2, 3, 4, 5, NaN]]);
 * (await compareRdmPair(linalg, "rdm-pearson", a, rdms([[1, 2, 3, 4, 5, 6]]))).warnings.length // => 1
 */
export async function compareRdmPair(
  linalg: Linalg,
  name: string,
  x: Rdms,
  y: Rdms,
): Promise<MeasuredSimilarity> {
  const measure = known("compareRdmPair", rdmComparisonMeasures, name);
  if (x.nRdms !== 1 || y.nRdms !== 1) {
    throw new ArgumentError(
      `compareRdmPair: expected one RDM each, got ${x.nRdms} and ${y.nRdms}; use compareRdms`,
    );
  }
  const method = RDM_COMPARISONS.find((one) => `rdm-${one}` === measure.name)!;
  const isShared = x.data.some((v, i) => !Number.isNaN(v) && !Number.isNaN(y.data[i] ?? NaN));
  const isSameSize = x.nConditions === y.nConditions;
  const value =
    isShared || !isSameSize ? (await compareRdms(x, y, { method, linalg })).data[0]! : Number.NaN;
  const { warnings } = flagged(measure, value, x.nConditions, 1, "conditions");
  return {
    value,
    warnings: [...warnings, ...rdmWarnings(name, "x", x), ...rdmWarnings(name, "y", y)],
  };
}

function rdmWarnings(name: string, which: string, { data }: Rdms): string[] {
  const present = data.filter((v) => !Number.isNaN(v));
  const absent = data.length - present.length;
  const warnings: string[] = [];
  if (absent > 0) {
    warnings.push(
      `${name}: ${which} has ${absent} of ${data.length} dissimilarities that are undefined (constant or all-zero patterns, or pairs not measured), left out of both`,
    );
  }
  if (present.length > 0 && present.every((v) => v === present[0])) {
    warnings.push(
      `${name}: ${which} has dissimilarities that are all ${present[0]}: it says nothing`,
    );
  }
  return warnings;
}

function known<T extends MeasureInfo>(verb: string, measures: readonly T[], name: string): T {
  const measure = measures.find((one) => one.name === name);
  if (measure) return measure;
  throw new ArgumentError(`${verb}: expected a known measure, got ${name}`, {
    hint: `Known are ${measures.map((one) => one.name).join(", ")}.`,
  });
}

function checkLeast(name: string, what: string, n: number): void {
  if (n < LEAST) throw new ShapeError(`${name}: expected at least ${LEAST} ${what}, got ${n}`);
}

function flagged(
  measure: MeasureInfo,
  value: number,
  n: number,
  nUnits: number,
  what: string,
  nRows?: number,
): MeasuredSimilarity {
  const few = sampleWarning(measure, n, nUnits, what, nRows);
  const warnings = few ? [few] : [];
  if (Number.isNaN(value)) {
    warnings.push(
      `${measure.name}: not defined for these data: constant or all-zero patterns, or too few (needs ${measure.minSampleRule})`,
    );
  }
  return { value, warnings };
}
