import {
  type Activations,
  ArgumentError,
  DataError,
  ShapeError,
  takeColumns,
  throwIfAborted,
} from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import {
  meanOverRepeats,
  type NoiseCeiling,
  type Recording,
  splitHalfCeiling,
} from "@penfield/recordings";
import { type BootstrapInterval, bootstrapInterval, quantile, rankP } from "@penfield/stats";
import { type EncodingOptions, type EncodingScore, encodingScore } from "./encodingScore.ts";
import { positionLengthFloor } from "./floors/positionLengthFloor.ts";

/** What to compare, and how. */
export interface CompareUnitSetsOptions extends Omit<EncodingOptions, "ceiling"> {
  /** `[nStimuli, nUnits]`, its rows in the recording's order. */
  readonly features: Activations;
  readonly unitSets: {
    /** The units that a localizer chose. */
    readonly localized: ArrayLike<number>;
    /** Sets of as many units, drawn at random. */
    readonly random: readonly ArrayLike<number>[];
  };
  readonly recording: Recording;
  /** The texts in the recording's order, for the floor; without them there is none. */
  readonly stimuli?: Parameters<typeof positionLengthFloor>[0] | undefined;
  /** For the ceiling's splits and the bootstrap. Default 0. */
  readonly seed?: number | undefined;
  /** Default 2000. */
  readonly nDraws?: number | undefined;
  /** Default 0.95. */
  readonly level?: number | undefined;
}

/** How localized units stand among random ones, with floor and ceiling. */
export interface UnitSetComparison {
  readonly localized: EncodingScore;
  /** One per random set. */
  readonly random: readonly EncodingScore[];
  readonly all: EncodingScore;
  /** Position and length alone; undefined without texts. */
  readonly floor: EncodingScore | undefined;
  /** From repeats; undefined when the recording has one. */
  readonly ceiling: NoiseCeiling | undefined;
  /** Of the localized units' median score. */
  readonly interval: BootstrapInterval;
  /** Of the median over targets of (localized minus the mean of the random sets). */
  readonly advantage: BootstrapInterval;
  /** What the intervals resample; they do not speak about other stimuli or other subjects. */
  readonly resampled: "targets";
  /** How often a random set scores as high as the localized units; never below 1 / (1 + sets). */
  readonly p: number;
  /** Whether the recording was made up. */
  readonly simulated: boolean;
}

/**
 * Do localized units predict a brain better than as many random ones?
 *
 * Scores are medians over targets of held-out Pearson r with the mean over repeats (`encodingScore`, here
 * with units standardized unless asked otherwise), for the localized units, each random set, all
 * units, and position and length alone. With repeats every score is also given as a share of the noise
 * ceiling.
 *
 * @param options - What to compare, and how.
 * @throws {ShapeError} if the rows are not as many as the recording's, or a random set has another size.
 * @throws {ArgumentError} if there is no random set, a set is empty, or a unit is there twice or not at all.
 * @throws {DataError} if a value is not finite, or fewer than 2 targets vary.
 * @throws {InterruptedError} if the signal fires.
 *
 * Cost: that of `encodingScore` for (2 or 3) + random sets.
 * Source: AlKhamissi et al. (2025), NAACL, brain alignment of language units against random ones; the
 * floor, interval and rank are ours.
 */
export async function compareUnitSets(options: CompareUnitSetsOptions): Promise<UnitSetComparison> {
  const { features, unitSets, recording, stimuli, seed = 0, nDraws, level } = options;
  const { onProgress, signal } = options;
  checkSets(options);
  const y = meanOverRepeats(recording);
  const [nRepeats] = recording.data.shape;
  const ceiling = nRepeats > 1 ? splitHalfCeiling(recording, { seed }) : undefined;
  const own = options.linalg === undefined;
  const linalg = options.linalg ?? createLinalg();
  const total = unitSets.random.length + (stimuli ? 3 : 2);
  let done = 0;
  const score = async (x: Activations): Promise<EncodingScore> => {
    throwIfAborted(signal, "compareUnitSets");
    const result = await encodingScore(x, y, {
      ...options,
      standardize: options.standardize ?? true,
      ceiling: ceiling?.maximumCorrelation,
      onProgress: undefined,
      linalg,
    });
    onProgress?.({ stage: "scoring unit sets", done: ++done, total, unit: "sets" });
    return result;
  };
  try {
    const localized = await score(takeColumns(features, unitSets.localized));
    const random: EncodingScore[] = [];
    for (const set of unitSets.random) random.push(await score(takeColumns(features, set)));
    const all = await score(features);
    const floor = stimuli && (await score(positionLengthFloor(stimuli)));
    const targets = Int32Array.from(localized.perTarget.keys()).filter(
      (t) => !Number.isNaN(localized.perTarget[t]!),
    );
    if (targets.length < 2) {
      throw new DataError(
        `compareUnitSets: ${recording.name}: expected at least 2 targets that vary, got ${targets.length}`,
      );
    }
    const medianOver = (scoreOf: (target: number) => number) =>
      bootstrapInterval({
        nItems: targets.length,
        statistic: (indices) =>
          quantile(
            Array.from(indices, (i) => scoreOf(targets[i]!)),
            0.5,
          ),
        nDraws,
        level,
        seed,
      });
    const meanRandom = localized.perTarget.map(
      (_, t) => random.reduce((sum, { perTarget }) => sum + perTarget[t]!, 0) / random.length,
    );
    return {
      localized,
      random,
      all,
      floor,
      ceiling,
      interval: medianOver((t) => localized.perTarget[t]!),
      advantage: medianOver((t) => localized.perTarget[t]! - meanRandom[t]!),
      resampled: "targets",
      p: rankP(
        localized.median,
        random.map(({ median }) => median),
      ),
      simulated: recording.simulated,
    };
  } finally {
    if (own) await linalg.dispose();
  }
}

function checkSets({ features, unitSets, recording, stimuli }: CompareUnitSetsOptions): void {
  const nStimuli = recording.stimulusIds.length;
  if (features.shape[0] !== nStimuli || (stimuli && stimuli.length !== nStimuli)) {
    throw new ShapeError(
      `compareUnitSets: expected ${nStimuli} stimuli as in the recording, got ${features.shape[0]} rows${stimuli ? ` and ${stimuli.length} texts` : ""}`,
      { hint: "Bring them together with matchStimuli first." },
    );
  }
  const { localized, random } = unitSets;
  if (random.length === 0 || localized.length === 0) {
    throw new ArgumentError(
      `compareUnitSets: expected localized units and at least one random set, got ${localized.length} units and ${random.length} sets`,
    );
  }
  for (const set of [localized, ...random]) {
    if (set.length !== localized.length) {
      throw new ShapeError(
        `compareUnitSets: expected random sets of ${localized.length} units, got one of ${set.length}`,
      );
    }
    const units = new Set(Array.from(set));
    if (units.size !== set.length) {
      throw new ArgumentError("compareUnitSets: expected each unit once in a set, got one twice");
    }
    for (const unit of units) {
      if (!(Number.isInteger(unit) && unit >= 0 && unit < features.shape[1])) {
        throw new ArgumentError(
          `compareUnitSets: expected units within 0..${features.shape[1] - 1}, got ${unit}`,
        );
      }
    }
  }
}
