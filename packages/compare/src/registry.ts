import type { Activations } from "@penfield/core";
import type { Linalg } from "@penfield/linalg";
import type { ShapeMemory } from "./shape/shapeMetric.ts";

/** What a measure takes and gives. */
export type MeasureKind =
  /** Activations to a condensed RDM. */
  | "rdm"
  /** Two condensed RDMs to a number. */
  | "rdm-comparison"
  /** Two matrices of activations for the same stimuli to a number. */
  | "representation"
  /** Two arrays of repeated trials (or means and covariances) to a number. */
  | "stochastic"
  /** Two trajectories to a number. */
  | "dynamics";

/** Changes of a representation that leave the measure as it is. */
export type Invariance =
  /** The same number added to every value of a unit (for RDM comparisons: to every dissimilarity). */
  | "translation"
  /** All values times one positive number. */
  | "scaling"
  /** Units in another order. */
  | "permutation"
  /** Units turned or mirrored together. */
  | "rotation"
  /** Any invertible linear map of the units. */
  | "linear"
  /** Any strictly increasing map of the dissimilarities. */
  | "monotone"
  /** The same stimuli (conditions) in another order, in both representations. */
  | "stimulus-order";

/**
 * What can be said about a measure before it is computed. The command line, the docs and the tests
 * enumerate these: what an entry claims is tested.
 */
export interface MeasureInfo {
  /** As the command line spells it: `linear-cka`, `crossnobis`, `tau-a`. */
  readonly name: string;
  /** For people, such as "Linear CKA, unbiased". */
  readonly title: string;
  readonly kind: MeasureKind;
  /** Which docs page and group it belongs to. */
  readonly family: "rsa" | "cka" | "cca" | "shape" | "stochastic" | "neighbours" | "dynamics";
  /** Does a larger number mean more alike, or less? */
  readonly larger: "more alike" | "less alike";
  /** True if it satisfies the axioms of a distance: zero for equals, symmetric, triangle inequality. */
  readonly metric: boolean;
  readonly symmetric: boolean;
  readonly invariances: readonly Invariance[];
  /** In n stimuli (or conditions) and p, q units: "n^2 p time". */
  readonly cost: string;
  /** Beyond the inputs: "one n x n matrix". */
  readonly memory: string;
  /**
   * The least number of stimuli (or conditions) at which the measure means something for
   * representations of `nUnits` units. With fewer it is computed and flagged, or refused if it is not defined. Of
   * repeated responses it counts repeats, of trajectories times; a few ask for the number of rows too (default 1).
   */
  readonly minSample: (nUnits: number, nRows?: number) => number;
  /** `minSample` in words, and what goes wrong below it. */
  readonly minSampleRule: string;
  /**
   * What it gives if nothing varies: stimuli that all have the same values, an RDM of equal dissimilarities, trials that
   * are all alike, a state that stays. Either a number that means it, or NaN.
   */
  readonly withoutVariation: "defined" | "undefined";
  /** Where it was published. */
  readonly source: string;
}

/** A measure with two matrices of activations, in the form the command line calls. */
export interface RepresentationMeasure extends MeasureInfo {
  readonly kind: "representation";
  /** With a memory, shape distances prepare each representation once for many pairs. */
  readonly compute: (
    linalg: Linalg,
    x: Activations,
    y: Activations,
    memory?: ShapeMemory,
  ) => Promise<number>;
}

/** A measure that makes an RDM of one matrix of activations. */
export interface RdmMeasure extends MeasureInfo {
  readonly kind: "rdm";
}

/** A measure of two RDMs. */
export interface RdmComparisonMeasure extends MeasureInfo {
  readonly kind: "rdm-comparison";
}

/**
 * Says when a measure is given fewer stimuli than it needs to mean something.
 *
 * @param samples - What they are called: stimuli (default), conditions, repeats, times.
 * @param nRows - Stimuli or times of repeated responses.
 * @returns A sentence, or undefined if there are enough.
 *
 * @example
 * sampleWarning({ name: "cca", minSample: (p) => p + 1, minSampleRule: "more stimuli than units" }, 3, 10)
 * // => "cca: 3 stimuli are fewer than the 11 it needs with 10 units (more stimuli than units)"
 */
export function sampleWarning(
  { name, minSample, minSampleRule }: Pick<MeasureInfo, "name" | "minSample" | "minSampleRule">,
  nSamples: number,
  nUnits: number,
  samples = "stimuli",
  nRows = 1,
): string | undefined {
  const least = minSample(nUnits, nRows);
  if (nSamples >= least) return undefined;
  return `${name}: ${nSamples} ${samples} are fewer than the ${least} it needs with ${nUnits} units (${minSampleRule})`;
}
