import { basename } from "node:path";
import { DataError, FormatError, sha256File, type Tensor, tensor } from "@penfield/core";
import { type H5Array, readHdf5 } from "@penfield/hdf5";
import type { Recording, Target, TimedRecording } from "../types.ts";
import { h5Numbers, h5Text, h5Texts } from "./h5Values.ts";
import { checkFinite, presentationsToRepeats } from "./repeats.ts";

/** A coordinate: one value per place of its dimension. */
export interface AssemblyCoordinate {
  readonly dimension: string;
  readonly values: readonly string[];
  /** Where they are numbers. */
  readonly numbers: Float64Array | undefined;
}

/** An array with named dimensions and the coordinates along them, as xarray and BrainIO write it into netCDF-4. */
export interface Assembly {
  readonly name: string;
  readonly data: Float64Array | Float32Array;
  readonly dimensions: readonly string[];
  readonly shape: readonly number[];
  readonly coordinates: ReadonlyMap<string, AssemblyCoordinate>;
}

/**
 * Reads an assembly: the array of a netCDF-4 file that has coordinates, with its dimensions and their levels.
 *
 * @param path - The file.
 * @throws {FileError} if it cannot be read.
 * @throws {FormatError} if it is no HDF5 file, or has no array over named dimensions.
 *
 * Source: netCDF-4's dimension scales; BrainIO's assemblies. Checked against h5py.
 */
export async function readAssembly(path: string): Promise<Assembly> {
  return assemblyOf(path, "readAssembly");
}

/** Options of `loadAssembly` and `loadTimedAssembly`. */
export interface LoadAssemblyOptions {
  /** The coordinate that names stimuli. Default the first there is of `stimulus_id`, `image_id`, `stimulus_path`, `filename`. */
  readonly stimuli?: string | undefined;
  /** The coordinate that names targets. Default `neuroid_id`, else numbers. */
  readonly targets?: string | undefined;
  /** The coordinate that counts repeats of a stimulus. Default `repetition`, else the order of presentations. */
  readonly repeats?: string | undefined;
  /** Default: the file's name. */
  readonly name?: string | undefined;
}

/**
 * Loads an assembly of presentations by neuroids (or with one time bin) as a recording: repeats of a stimulus lie on the
 * axis of repeats. Targets take `region` and the like from the coordinates.
 *
 * @param path - A netCDF-4 file as BrainIO writes it.
 * @param options - Which coordinates name what.
 * @returns `[nRepeats, nStimuli, nTargets]`; NaN where a stimulus was not repeated so often.
 * @throws {FileError | FormatError} as `readAssembly`.
 * @throws {DataError} if no coordinate names stimuli, there are several time bins, or values are NaN or infinite.
 */
export async function loadAssembly(
  path: string,
  options: LoadAssemblyOptions = {},
): Promise<Recording> {
  const { nTimes, times: _times, data, ...rest } = await load(path, options, "loadAssembly");
  if (nTimes > 1) {
    throw new DataError(`loadAssembly: ${basename(path)}: expected one time bin, got ${nTimes}`, {
      hint: "loadTimedAssembly keeps the bins.",
    });
  }
  return { ...rest, data };
}

/**
 * Loads an assembly of presentations by neuroids by time bins. Time is the start of each bin
 * (`time_bin_start`, in milliseconds, as BrainIO writes it); bins must follow each other evenly.
 *
 * @param path - A netCDF-4 file as BrainIO writes it.
 * @param options - Which coordinates name what.
 * @returns `[nRepeats, nStimuli, nTargets, nTimes]`.
 * @throws As `loadAssembly`; DataError also if there are fewer than two bins, or they are uneven.
 */
export async function loadTimedAssembly(
  path: string,
  options: LoadAssemblyOptions = {},
): Promise<TimedRecording> {
  const { nTimes, times, data, ...rest } = await load(path, options, "loadTimedAssembly");
  const where = `loadTimedAssembly: ${basename(path)}`;
  if (nTimes < 2 || !times) {
    throw new DataError(`${where}: expected two or more time bins with their times, got ${nTimes}`);
  }
  const step = (times.at(-1)! - times[0]!) / (nTimes - 1);
  const uneven = times.some((t, i) => Math.abs(t - times[0]! - i * step) > 1e-3 * Math.abs(step));
  if (!(step > 0) || uneven) {
    throw new DataError(`${where}: expected even time bins, got ${Array.from(times.slice(0, 5))}`);
  }
  const [nRepeats, nStimuli, nValues] = data.shape;
  const shape = [nRepeats, nStimuli, nValues / nTimes, nTimes] as const;
  return {
    ...rest,
    data: tensor(data.data, ["repeat", "stimulus", "target", "time"], shape),
    samplingRate: 1 / step,
    times,
  };
}

async function assemblyOf(path: string, doing: string): Promise<Assembly> {
  const tree = await readHdf5(path, { doing });
  const arrays = [...tree.children.values()].filter(
    (entry): entry is H5Array => entry.kind === "array",
  );
  const isScale = (array: H5Array): boolean =>
    h5Text(array.attributes.get("CLASS")) === "DIMENSION_SCALE";
  const candidates = arrays
    .filter((array) => !isScale(array) && dimensionsOf(array) !== undefined && h5Numbers(array))
    .sort(
      (a, b) =>
        Number(b.attributes.has("coordinates")) - Number(a.attributes.has("coordinates")) ||
        b.shape.length - a.shape.length,
    );
  const [main] = candidates;
  if (!main) {
    throw new FormatError(
      `${doing}: ${basename(path)}: expected an array over named dimensions, got ${[...tree.children.keys()].join(", ") || "nothing"}`,
      { hint: "Assemblies are netCDF-4 files, as xarray and BrainIO write them." },
    );
  }
  const dimensions = dimensionsOf(main)!;
  const coordinates = new Map<string, AssemblyCoordinate>();
  for (const array of arrays) {
    const name = array.path.slice(1);
    const [dimension] = isScale(array) ? [name] : (dimensionsOf(array) ?? []);
    const axis = dimension === undefined ? -1 : dimensions.indexOf(dimension);
    if (array === main || dimension === undefined || axis < 0 || array.shape.length !== 1) continue;
    // A dimension without values of its own is there as zeros.
    if (h5Text(array.attributes.get("NAME"))?.startsWith("This is a netCDF dimension but not"))
      continue;
    const values = h5Texts(array);
    if (!values || values.length !== main.shape[axis]) continue;
    coordinates.set(name, { dimension, values, numbers: h5Numbers(array) });
  }
  const data = main.data instanceof Float32Array ? main.data : h5Numbers(main)!;
  return { name: main.path.slice(1), data, dimensions, shape: main.shape, coordinates };
}

/** Names of the scales that an array's axes are attached to. */
function dimensionsOf(array: H5Array): readonly string[] | undefined {
  const list = array.attributes.get("DIMENSION_LIST");
  if (list?.type !== "reference" || !list.lengths || list.lengths.length !== array.shape.length) {
    return undefined;
  }
  let at = 0;
  const names = list.lengths.map((length) => {
    const path = (list.data as readonly string[])[at];
    at += length;
    return path?.slice(path.lastIndexOf("/") + 1);
  });
  return names.every((name): name is string => Boolean(name)) ? names : undefined;
}

const STIMULI = ["stimulus_id", "image_id", "stimulus_path", "filename"];

interface Loaded extends Omit<Recording, "data"> {
  /** [nRepeats, nStimuli, nTargets * nTimes]. */
  readonly data: Tensor<readonly ["repeat", "stimulus", "target"]>;
  readonly nTimes: number;
  readonly times: Float64Array | undefined;
}

async function load(
  path: string,
  { stimuli, targets, repeats, name }: LoadAssemblyOptions,
  doing: string,
): Promise<Loaded> {
  const assembly = await assemblyOf(path, doing);
  const where = `${doing}: ${basename(path)}`;
  const { coordinates, dimensions } = assembly;
  const key = stimuli ?? STIMULI.find((one) => coordinates.has(one));
  const named = key === undefined ? undefined : coordinates.get(key);
  if (!named || dimensions.length < 2 || dimensions.length > 3) {
    throw new DataError(
      `${where}: expected presentations by neuroids (by time bins) with a coordinate that names stimuli, got [${dimensions.join(", ")}] with ${[...coordinates.keys()].join(", ") || "none"}`,
      { hint: "The option stimuli names the coordinate." },
    );
  }
  const presentation = named.dimension;
  const timeBin = dimensions.length === 3 ? dimensions.find((d) => /^time/.test(d)) : undefined;
  const neuroid = dimensions.find((d) => d !== presentation && d !== timeBin)!;
  const order = [presentation, neuroid, ...(timeBin ? [timeBin] : [])];
  if (order.length !== dimensions.length) {
    throw new DataError(
      `${where}: expected a dimension of time bins beside ${presentation} and ${neuroid}, got ${dimensions.join(", ")}`,
    );
  }
  const data = reordered(assembly, order);
  const size = (d: string): number => assembly.shape[dimensions.indexOf(d)]!;
  const nTimes = timeBin ? size(timeBin) : 1;
  const nValues = size(neuroid) * nTimes;
  checkFinite(data, nValues, where);
  const counted = coordinates.get(repeats ?? "repetition");
  if (repeats !== undefined && !counted) {
    throw new DataError(`${where}: expected a coordinate ${repeats}, got none`);
  }
  const starts = timeBin
    ? (coordinates.get("time_bin_start") ?? coordinates.get(timeBin))?.numbers
    : undefined;
  return {
    name: name ?? basename(path),
    simulated: false,
    sha256: await sha256File(path),
    targets: targetsOf(assembly, neuroid, size(neuroid), targets),
    ...presentationsToRepeats(
      {
        data,
        nValues,
        ids: named.values,
        repeats: counted?.dimension === presentation ? counted.values : undefined,
      },
      where,
    ),
    nTimes,
    times: starts?.map((milliseconds) => milliseconds / 1000),
  };
}

/** The array with its axes in another order. */
function reordered(
  { data, dimensions, shape }: Assembly,
  order: readonly string[],
): ArrayLike<number> {
  if (order.every((d, i) => d === dimensions[i])) return data;
  const strides = dimensions.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1));
  const axes = order.map((d) => dimensions.indexOf(d));
  const sizes = axes.map((axis) => shape[axis]!);
  const out = data.slice();
  const index = sizes.map(() => 0);
  for (let flat = 0; flat < out.length; flat++) {
    let from = 0;
    for (let k = 0; k < axes.length; k++) from += index[k]! * strides[axes[k]!]!;
    out[flat] = data[from]!;
    for (let k = sizes.length - 1; k >= 0; k--) {
      if (++index[k]! < sizes[k]!) break;
      index[k] = 0;
    }
  }
  return out;
}

function targetsOf(
  { coordinates }: Assembly,
  neuroid: string,
  n: number,
  key = "neuroid_id",
): Target[] {
  const of = (name: string): readonly string[] | undefined => {
    const found = coordinates.get(name);
    return found?.dimension === neuroid ? found.values : undefined;
  };
  const ids = of(key);
  const regions = of("region");
  const subjects = of("subject") ?? of("animal");
  return Array.from({ length: n }, (_, i) => ({
    id: ids?.[i] ?? `t${i}`,
    region: regions?.[i],
    subject: subjects?.[i],
  }));
}
