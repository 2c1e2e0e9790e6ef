import { numpyRandom } from "@penfield/core";

/** Stimuli of a localizer: those of interest and their control. */
export interface LocalizerStimuli {
  readonly positive: readonly string[];
  readonly negative: readonly string[];
}

/**
 * The sums of the multiple-demand localizer: 100 hard ones (numbers 100..199) against 100 easy ones
 * (1..19), each with its answer.
 *
 * With seed 42 these are the published stimuli, letter for letter: for either list
 * `np.random.seed(seed)`, then per sum `randint(low, high)` for a, for b, and `choice(["+", "-"])`.
 *
 * @param seed - 0 .. 2^32 - 1. Default 42.
 * @returns `positive` hard, `negative` easy.
 *
 * Source: AlKhamissi et al. (2025), released code.
 *
 * @example
 * multipleDemandStimuli().positive[0] // => "Question: Solve 151 + 192?\nAnswer: 343"
 */
export function multipleDemandStimuli(seed = 42): LocalizerStimuli {
  return { positive: sums(100, 200, seed), negative: sums(1, 20, seed) };
}

function sums(low: number, high: number, seed: number): string[] {
  const random = numpyRandom(seed);
  return Array.from({ length: 100 }, () => {
    const a = random.randint(low, high);
    const b = random.randint(low, high);
    // What np.random.choice(["+", "-"]) draws.
    const plus = random.randint(0, 2) === 0;
    return `Question: Solve ${a} ${plus ? "+" : "-"} ${b}?\nAnswer: ${plus ? a + b : a - b}`;
  });
}
