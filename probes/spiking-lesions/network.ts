import { basename } from "node:path";
import { ArgumentError, type FloatArray, FormatError } from "@penfield/core";
import { isSpikingOrganism, spikingOrganismFolder } from "@penfield/organisms";
import { openSpiking, type SpikingIntervention, type SpikingModel } from "@penfield/spiking";
import { CHANNELS, TRIAL, type Trials } from "./task.ts";

/** A spiking network that does the trials of task.ts. */
export interface SpikingNetwork {
  readonly name: string;
  readonly model: SpikingModel;
  /** Hook point of the population's spikes: "recurrent.spikes". */
  readonly spikes: string;
  readonly nUnits: number;
  readonly nParameters: number;
  /** Cuts every edge that carries the step before. */
  readonly withoutRecurrence: readonly SpikingIntervention[];
}

/**
 * Opens a network: a name of those that ship with Penfield, or a folder with `config.json` (file, dt, preset,
 * population) and the `.nir` file that it names.
 *
 * @throws {FileError} if a file cannot be read, {FormatError} if config.json is none.
 * @throws {ArgumentError} if the network does not have the task's 6 inputs and 2 outputs.
 */
export async function openNetwork(nameOrFolder: string): Promise<SpikingNetwork> {
  const folder = isSpikingOrganism(nameOrFolder)
    ? spikingOrganismFolder(nameOrFolder)
    : nameOrFolder;
  const {
    model,
    config: { population },
  } = await openSpiking(folder);
  if (population === undefined) {
    throw new FormatError("spiking-lesions: expected a text population in config.json, got none");
  }
  const { nodes, inputs, outputs } = model.network;
  const [nIn, nOut] = [nodes[inputs[0]!]!.nUnits, nodes[outputs[0]!]!.nUnits];
  if (inputs.length !== 1 || nIn !== CHANNELS.length || nOut !== 2) {
    throw new ArgumentError(
      `spiking-lesions: expected a network with ${CHANNELS.length} inputs (${CHANNELS.join(", ")}) and 2 outputs, got ${nIn} and ${nOut}`,
      { hint: "The trials are those of probes/spiking-lesions/task.ts." },
    );
  }
  const spikes = model.hookPoint(`${population}.spikes`);
  const nParameters = model
    .listHooks("*.weight")
    .reduce((sum, { name }) => sum + model.weights(name).data.length, 0);
  return {
    name: basename(folder),
    model,
    spikes: spikes.name,
    nUnits: spikes.nUnits!,
    nParameters,
    withoutRecurrence: nodes.flatMap((node) =>
      node.sources.flatMap(({ node: source, delayed }) =>
        delayed
          ? [{ hook: `${nodes[source]!.name}->${node.name}`, op: { type: "zero" } as const }]
          : [],
      ),
    ),
  };
}

/** The trials' pulses as an input, `[nTrials, 120, 6]`. */
export function inputOf(trials: Trials): { data: Uint8Array; shape: readonly number[] } {
  return { data: trials.pulses, shape: [trials.list.length, TRIAL.nSteps, CHANNELS.length] };
}

/**
 * Whether each trial is answered rightly: 1, 0, or 0.5 where both outputs are equal. The answer is the output with
 * the larger sum over the response.
 *
 * @param output - `[nTrials, 120, 2]`.
 */
export function judge(output: FloatArray, trials: Trials): Float64Array {
  return Float64Array.from(trials.list, ({ answer }, i) => {
    let right = 0;
    for (let t = TRIAL.responseStart; t < TRIAL.nSteps; t++) {
      const at = (i * TRIAL.nSteps + t) * 2;
      right += output[at + answer]! - output[at + 1 - answer]!;
    }
    return right > 0 ? 1 : right < 0 ? 0 : 0.5;
  });
}
