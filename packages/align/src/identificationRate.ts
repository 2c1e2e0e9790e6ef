import {
  type Activations,
  ArgumentError,
  createRng,
  type LongWork,
  ShapeError,
  throwIfAborted,
} from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { meanOverRepeats, simulateRecording } from "@penfield/recordings";
import { type EncodingOptions, encodingScore } from "./encodingScore.ts";

/** Which models could be the brain, and how much of it would be recorded. */
export interface IdentificationOptions extends LongWork {
  /** At least 2; `[nStimuli, nUnits]` each, over the same stimuli. */
  readonly candidates: readonly { readonly name: string; readonly features: Activations }[];
  /** How many simulated recordings of each candidate. Default 10. */
  readonly nSimulations?: number | undefined;
  /** As in the recording at hand. Default 50. */
  readonly nTargets?: number | undefined;
  /** As in the recording at hand. Default 1. */
  readonly nRepeats?: number | undefined;
  /**
   * Variance of the signal over that of the noise in one repeat. From a reliability R of the mean of n
   * repeats: R / (1 - R) / n. Default 1.
   */
  readonly signalToNoise?: number | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
  /** How candidates are scored; the same as in the analysis that the rate is to speak about. */
  readonly encoding?: Omit<EncodingOptions, "ceiling" | "onProgress" | "signal"> | undefined;
}

/** How far a score can be trusted to name the right model. */
export interface Identification {
  /** The share of simulated brains that were taken for the candidate they were made from. */
  readonly rate: number;
  /** What guessing gives: 1 / candidates. */
  readonly chance: number;
  /** confusion[i][j]: how often candidate j scored highest when candidate i was the brain. */
  readonly confusion: readonly (readonly number[])[];
  readonly names: readonly string[];
  readonly nSimulations: number;
}

/**
 * If we got it right, would we know? Each candidate in turn is the brain (`simulateRecording`, random
 * mixtures of all its units plus noise), all candidates are scored against it, and it is counted how often the
 * right one scores highest (median over targets; the first of equal ones).
 *
 * A low rate means that a ranking of these candidates by this score, on this many stimuli and this much noise, says
 * little. A high rate is an upper bound: a real brain is none of the candidates.
 *
 * @param options - Which models, and how much data.
 * @throws {ArgumentError} if there are fewer than 2 candidates or an option is out of range.
 * @throws {ShapeError} if candidates differ in their number of stimuli.
 * @throws {InterruptedError} if the signal fires.
 *
 * Cost: candidates^2 nSimulations times that of `encodingScore`.
 * Source: Han, Poggio & Cheung (2023), System identification of neural systems: if we got it right, would we know?, ICML.
 */
export async function identificationRate({
  candidates,
  nSimulations = 10,
  nTargets = 50,
  nRepeats = 1,
  signalToNoise = 1,
  seed = 0,
  encoding = {},
  onProgress,
  signal,
}: IdentificationOptions): Promise<Identification> {
  if (candidates.length < 2) {
    throw new ArgumentError(
      `identificationRate: expected at least 2 candidates, got ${candidates.length}`,
    );
  }
  if (!Number.isInteger(nSimulations) || nSimulations < 1) {
    throw new ArgumentError(
      `identificationRate: expected a positive whole number of simulations, got ${nSimulations}`,
    );
  }
  const counts = candidates.map(({ features }) => features.shape[0]);
  if (new Set(counts).size > 1) {
    throw new ShapeError(
      `identificationRate: expected equally many stimuli for all candidates, got ${counts.join(", ")}`,
    );
  }
  const ids = Array.from({ length: counts[0]! }, (_, i) => String(i));
  const own = encoding.linalg === undefined;
  const linalg = encoding.linalg ?? createLinalg();
  const seeds = createRng(seed);
  const confusion = candidates.map(() => candidates.map(() => 0));
  const total = candidates.length * nSimulations;
  try {
    for (let s = 0; s < nSimulations; s++) {
      for (const [truth, { features }] of candidates.entries()) {
        const y = meanOverRepeats(
          simulateRecording(features, ids, {
            nTargets,
            nRepeats,
            signalToNoise,
            seed: seeds.below(2 ** 31),
          }),
        );
        let best = Number.NEGATIVE_INFINITY;
        let picked = 0;
        for (const [c, candidate] of candidates.entries()) {
          throwIfAborted(signal, "identificationRate");
          const { median } = await encodingScore(candidate.features, y, { ...encoding, linalg });
          if (median > best) {
            best = median;
            picked = c;
          }
        }
        confusion[truth]![picked]!++;
        onProgress?.({
          stage: "simulating brains",
          done: s * candidates.length + truth + 1,
          total,
          unit: "brains",
        });
      }
    }
  } finally {
    if (own) await linalg.dispose();
  }
  return {
    rate: confusion.reduce((sum, row, i) => sum + row[i]!, 0) / total,
    chance: 1 / candidates.length,
    confusion,
    names: candidates.map(({ name }) => name),
    nSimulations,
  };
}
