import { readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { DataError, fileError, ShapeError, UsageError } from "@penfield/core";
import type { InputRecording } from "@penfield/hooks";
import { isOrganism, isSpikingOrganism } from "@penfield/organisms";
import {
  isSpikingName,
  type OpenedSpiking,
  openSpikingModel,
  organismTrials,
} from "@penfield/probes";
import { readNumbers } from "./compare/arrayFile.ts";
import { numberOption, type Options, type Values } from "./options.ts";

const string = { type: "string" } as const;

/** What commands understand of a spiking network beside what they understand of a transformer. */
export const spikingOptions: Options = {
  recordings: string,
  dt: string,
  preset: string,
};

/** Options that only texts have. */
const TEXT_OPTIONS = ["corpus", "file", "split", "bos", "no-bos"];

/** Whether a command is about a spiking network: by its model's name, or by an option that only those have. */
export const isSpikingCommand = (
  name: string,
  values: Values,
  options: Options = spikingOptions,
): boolean =>
  isSpikingName(name) || Object.keys(options).some((option) => values[option] !== undefined);

/** Trials that stand in for recordings of the networks that ship with Penfield. */
const N_TRIALS = 400;

/**
 * Opens the spiking network that a command names, with its recordings: a file `[recording, step, ...]`, a folder of files `[step, ...]`, or for
 * the networks that ship with Penfield trials of their own task.
 */
export async function openRecordings(
  verb: string,
  name: string,
  values: Values,
  seed: number,
): Promise<OpenedSpiking & { readonly recordings: readonly InputRecording[] }> {
  if (isOrganism(name)) {
    throw new UsageError(`${verb}: expected a spiking network, got ${name}`, {
      hint: "--recordings, --dt and --preset are for spiking-a, spiking-b, a .nir file, or a folder with config.json; --recordings also for an .onnx file with one time step.",
    });
  }
  const wrong = TEXT_OPTIONS.find((option) => values[option] !== undefined);
  if (wrong) {
    throw new UsageError(`${verb}: expected --recordings of a spiking network, got --${wrong}`, {
      hint: "Its input is a recording, [recording, step, channel], and not text.",
    });
  }
  const path = values["recordings"] as string | undefined;
  if (path === undefined && !isSpikingOrganism(name)) {
    throw new UsageError(`${verb}: expected --recordings FILE or FOLDER, got none`, {
      hint: "A .npy file [recording, step, channel], or a folder of files [step, channel].",
    });
  }
  const opened = await openSpikingModel(name, {
    dt: numberOption(values, "dt"),
    preset: values["preset"] as string | undefined,
    threads: numberOption(values, "threads", { whole: true, min: 1, max: 256 }),
    untrained: values["untrained"] ? seed : undefined,
  });
  const recordings =
    path === undefined ? organismTrials(N_TRIALS, seed) : await readRecordings(verb, path);
  return { ...opened, recordings };
}

async function readRecordings(verb: string, path: string): Promise<InputRecording[]> {
  const info = await stat(path).catch((cause) => {
    throw fileError(verb, path, cause);
  });
  if (info.isDirectory()) {
    const files = (await readdir(path)).filter((file) => /\.(npy|npz|mat)$/i.test(file)).sort();
    if (files.length === 0) {
      throw new DataError(`${verb}: ${path}: expected .npy files [step, channel], got none`);
    }
    const found: InputRecording[] = [];
    for (const file of files) {
      const { data, shape } = await readNumbers(verb, join(path, file));
      found.push({ id: basename(file).replace(/\.\w+$/, ""), data, shape });
    }
    return found;
  }
  const { data, shape } = await readNumbers(verb, path);
  if (shape.length < 3) {
    throw new ShapeError(
      `${verb}: ${path}: expected [recording, step, channel], got [${shape.join(", ")}]`,
      { hint: "One recording alone: numpy.save(file, array[None])." },
    );
  }
  const size = shape.slice(1).reduce((a, b) => a * b, 1);
  return Array.from({ length: shape[0]! }, (_, i) => ({
    id: String(i),
    data: data.subarray(i * size, (i + 1) * size),
    shape: shape.slice(1),
  }));
}
