import { stat } from "node:fs/promises";
import { ArgumentError } from "@penfield/core";
import type { InputRecording } from "@penfield/hooks";
import { isSpikingOrganism, spikingOrganismFolder } from "@penfield/organisms";
import {
  type OpenSpikingOptions,
  openSpiking,
  type PresetName,
  SpikingModel,
  StepModel,
} from "@penfield/spiking";
import { CHANNELS, makeTrials, TRIAL } from "../spiking-lesions/task.ts";

/** How a spiking network is opened; what is left out is in its `config.json`. */
export interface OpenSpikingSettings extends Pick<OpenSpikingOptions, "threads" | "untrained"> {
  readonly dt?: number | undefined;
  /** The name of a preset. */
  readonly preset?: string | undefined;
}

/** A spiking network, and what its input channels are called if that is known. */
export interface OpenedSpiking {
  readonly model: SpikingModel | StepModel;
  readonly channels: readonly string[] | undefined;
}

/** Whether a model is a spiking one by its name: one that ships with Penfield, or a `.nir` file. */
export const isSpikingName = (name: string): boolean =>
  isSpikingOrganism(name) || /\.nir$/i.test(name);

/**
 * Opens a spiking network: one that ships with Penfield by its name, a `.nir` file (which needs dt), a folder with `config.json`, or an `.onnx` file with one time step.
 *
 * @throws As `SpikingModel.fromNir`, `openSpiking` and `StepModel.fromOnnx`; {ArgumentError} for settings that a graph of one step does not have.
 */
export async function openSpikingModel(
  name: string,
  { dt, preset, threads, untrained }: OpenSpikingSettings = {},
): Promise<OpenedSpiking> {
  if (/\.onnx$/i.test(name)) {
    for (const [setting, value] of Object.entries({ dt, preset, untrained })) {
      if (value === undefined) continue;
      throw new ArgumentError(
        `openSpikingModel: ${name}: expected no ${setting} for a graph of one time step, got ${value}`,
        { hint: "Its steps are what the graph does; dt, preset and untrained are for NIR files." },
      );
    }
    return { model: await StepModel.fromOnnx(name, { threads }), channels: undefined };
  }
  // An unknown preset is refused where the model is opened, with the names of all.
  const options = { preset: preset as PresetName | undefined, threads, untrained };
  const folder = isSpikingOrganism(name) ? spikingOrganismFolder(name) : name;
  const isFolder = await stat(folder).then(
    (s) => s.isDirectory(),
    () => false,
  );
  if (!isFolder) {
    return {
      model: await SpikingModel.fromNir(name, { ...options, dt: dt! }),
      channels: undefined,
    };
  }
  const { model, config } = await openSpiking(folder, { ...options, dt });
  return { model, channels: config.channels };
}

/** The organisms were trained and tested on trials of lower numbers. */
const FIRST_TRIAL = 4_000_000;

/**
 * Trials of the task that the spiking networks of Penfield were trained on, made from a seed, as recordings: pulses left and right, a delay, then a cue.
 *
 * @throws {ArgumentError} if n is no whole number from 1.
 */
export function organismTrials(n: number, seed: number): InputRecording[] {
  if (!(Number.isSafeInteger(n) && n >= 1)) {
    throw new ArgumentError(`organismTrials: expected trials, a whole number from 1, got ${n}`);
  }
  const { list, pulses } = makeTrials(n, seed, FIRST_TRIAL);
  const size = TRIAL.nSteps * CHANNELS.length;
  return list.map(({ task, more }, i) => ({
    id: `${i} ${task}, more on the ${more === 0 ? "left" : "right"}`,
    data: pulses.subarray(i * size, (i + 1) * size),
    shape: [TRIAL.nSteps, CHANNELS.length],
  }));
}
