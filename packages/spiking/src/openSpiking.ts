import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { FormatError, fileError } from "@penfield/core";
import { type OpenSpikingOptions, SpikingModel } from "./model.ts";
import { type PresetName, presets } from "./simulate/options.ts";

/** What `config.json` beside a `.nir` file says: how the network is to be run, and what its ends are called. */
export interface SpikingConfig {
  /** The `.nir` file, in the same folder. */
  readonly file: string;
  readonly dt: number | undefined;
  readonly preset: PresetName | undefined;
  /** The node that is looked at by default. */
  readonly population: string | undefined;
  /** Names of the input channels, in their order. */
  readonly channels: readonly string[] | undefined;
}

/**
 * Opens a folder with a spiking network: `config.json` (`file`, and `dt`, `preset`, `population`, `channels` if it has them), as the networks that ship with Penfield
 * have it, and the `.nir` file that it names.
 *
 * @param options - What is given here goes before what the file says.
 * @throws {FileError} if a file cannot be read, {FormatError} if `config.json` is none; else as `SpikingModel.fromNir`.
 *
 * @example
 * const { model, config } = await openSpiking("packages/organisms/models/spiking-a");
 * [model.dt, config.population, config.channels[0]].join() // => "0.005,recurrent,left"
 */
export async function openSpiking(
  folder: string,
  options: Omit<OpenSpikingOptions, "dt"> & { readonly dt?: number | undefined } = {},
): Promise<{ readonly model: SpikingModel; readonly config: SpikingConfig }> {
  const path = join(folder, "config.json");
  const text = await readFile(path, "utf8").catch((cause) => {
    throw fileError("openSpiking", path, cause);
  });
  const config = parseConfig(text, path);
  const model = await SpikingModel.fromNir(join(folder, config.file), {
    ...options,
    // Without one it is refused, with advice.
    dt: (options.dt ?? config.dt)!,
    preset: options.preset ?? config.preset,
  });
  return { model, config };
}

function parseConfig(text: string, path: string): SpikingConfig {
  let value: Readonly<Record<string, unknown>>;
  try {
    value = (JSON.parse(text) ?? {}) as typeof value;
  } catch (cause) {
    throw new FormatError(`openSpiking: ${path}: expected JSON, got something else`, { cause });
  }
  const isText = (one: unknown): one is string => typeof one === "string" && one !== "";
  const read = <T>(key: string, is: (one: unknown) => one is T, expected: string): T => {
    const one = value[key];
    if (is(one)) return one;
    throw new FormatError(
      `openSpiking: ${path}: ${key}: expected ${expected}, got ${JSON.stringify(one) ?? "nothing"}`,
    );
  };
  const optional = <T>(
    key: string,
    is: (one: unknown) => one is T,
    expected: string,
  ): T | undefined => (value[key] === undefined ? undefined : read(key, is, expected));
  return {
    // A plain name: a config from somewhere else must not reach files outside of its folder.
    file: read(
      "file",
      (one): one is string => isText(one) && basename(one) === one && !one.includes("\\"),
      "the name of a file in the same folder",
    ),
    dt: optional(
      "dt",
      (one): one is number => typeof one === "number" && one > 0,
      "seconds above 0",
    ),
    preset: optional(
      "preset",
      (one): one is PresetName => isText(one) && Object.hasOwn(presets, one),
      Object.keys(presets).join(", "),
    ),
    population: optional("population", isText, "the name of a node"),
    channels: optional(
      "channels",
      (one): one is string[] => Array.isArray(one) && one.length > 0 && one.every(isText),
      "names of channels",
    ),
  };
}
