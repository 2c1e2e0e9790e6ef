import { type EncodingOptions, encodingScore } from "../encodingScore.ts";
import type { IdentifyMethod } from "./identify.ts";

/**
 * Linear predictivity as a method of `identify`: the median over targets of the held-out correlation of a
 * ridge regression from the candidate's units.
 *
 * @param options - As of the analysis that the rate is to speak about; `groups` has a label for each of
 *   all stimuli.
 *
 * Cost: that of `encodingScore`.
 */
export function ridgeMethod({
  groups,
  ...options
}: Omit<EncodingOptions, "ceiling" | "outerFolds"> & {
  readonly outerFolds?: number | undefined;
} = {}): IdentifyMethod {
  return {
    name: "ridge",
    title: "ridge, held-out r",
    score: async (features, responses, stimuli) => {
      const own = groups && Array.from(stimuli, (i) => groups[i]!);
      const { median } = await encodingScore(features, responses, { ...options, groups: own });
      return median;
    },
  };
}
