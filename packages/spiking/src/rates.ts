import { type Activations, ArgumentError, tensor } from "@penfield/core";
import type { SpikingIntervention } from "./interventions.ts";
import type { SpikingCapture, SpikingInputs, SpikingModel } from "./model.ts";

/**
 * One value per row and unit: the mean over time steps of what a hook point shows. At `.spikes` that is the
 * rate in spikes per step. Rows are stimuli: this is what `localize` and `compare` take.
 *
 * @param input - `[row, step, ...]`, a stimulus in each row.
 * @param options.hook - A hook point, or a capture with `units`, `from`, `to`.
 * @returns `[nStimuli, nUnits]`, float64.
 * @throws {ArgumentError} if no step is left to average over.
 *
 * Cost: one run; the capture is held whole.
 */
export async function meanOverTime(
  model: Pick<SpikingModel, "run">,
  input: SpikingInputs,
  {
    hook,
    interventions,
  }: {
    readonly hook: string | Omit<SpikingCapture, "as">;
    readonly interventions?: readonly SpikingIntervention[];
  },
): Promise<Activations> {
  const { cache } = await model.run({ input, capture: [hook], interventions });
  if (cache.size !== 1) {
    throw new ArgumentError(
      `meanOverTime: expected one hook point, got ${[...cache.keys()].join(", ")}`,
    );
  }
  const { data, shape } = cache.values().next().value!;
  const [nRows, nSteps, nUnits] = shape;
  if (nSteps === 0)
    throw new ArgumentError("meanOverTime: expected steps to average over, got none");
  const means = new Float64Array(nRows * nUnits);
  for (let row = 0; row < nRows; row++) {
    for (let t = 0; t < nSteps; t++) {
      for (let j = 0; j < nUnits; j++) {
        means[row * nUnits + j]! += data[(row * nSteps + t) * nUnits + j]! / nSteps;
      }
    }
  }
  return tensor(means, ["stimulus", "unit"], [nRows, nUnits]);
}
