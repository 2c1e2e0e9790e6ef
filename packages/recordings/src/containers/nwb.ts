import { basename } from "node:path";
import { DataError, FormatError, sha256File, tensor } from "@penfield/core";
import { type H5Array, type H5Entry, type H5Group, readHdf5 } from "@penfield/hdf5";
import type { RecordedEvent, Target, TimeSeries } from "../types.ts";
import { arrayAt, groupAt, h5Number, h5Numbers, h5Text, h5Texts } from "./h5Values.ts";

/** A series of an NWB file. */
export interface NwbSeries {
  /** Its place in the file: `/acquisition/eeg`. */
  readonly path: string;
  /** `ElectricalSeries`, `TimeSeries`, ... */
  readonly type: string;
  readonly shape: readonly number[];
  readonly unit: string | undefined;
  /** Hz, where samples are even by definition. */
  readonly samplingRate: number | undefined;
}

/** A unit that was sorted out of a recording. */
export interface NwbUnit {
  readonly id: string;
  /** When it spiked, in seconds of the session. */
  readonly times: Float64Array;
  /** Further columns of the table of units, as text. */
  readonly columns: Readonly<Record<string, string>>;
}

/** What an NWB file holds. */
export interface NwbFile {
  readonly version: string | undefined;
  readonly identifier: string | undefined;
  readonly description: string | undefined;
  readonly subject: string | undefined;
  readonly series: readonly NwbSeries[];
  /** Of all tables of intervals, in seconds of the session. */
  readonly events: readonly RecordedEvent[];
  readonly units: readonly NwbUnit[];
}

const SERIES_PLACES = ["/acquisition", "/processing", "/stimulus/presentation"];
const TABLE_PLACES = ["/intervals", "/units", "/general"];

/**
 * Reads what an NWB 2 file holds: series (without their samples), trials and other intervals as events, sorted units with
 * their spikes.
 *
 * @param path - The file; of large ones only tables are read.
 * @throws {FileError} if it cannot be read.
 * @throws {FormatError} if it is no HDF5 file, or no NWB file of version 2.
 *
 * Source: the NWB 2 format. Checked against h5py.
 */
export async function readNwb(path: string): Promise<NwbFile> {
  return describe(await open(path, "readNwb", []));
}

/** Options of `loadNwb`. */
export interface LoadNwbOptions {
  /** The path of a series, or its last part. Default: the only one with several channels, else the only one. */
  readonly series?: string | undefined;
  /** Default: the file's name. */
  readonly name?: string | undefined;
}

/**
 * Loads a series of an NWB 2 file. Values are `data * conversion (* channel_conversion) + offset`, in the unit that the file
 * names (SI for ElectricalSeries: volts). Events are trials and other intervals, from the first sample.
 *
 * @param path - The file; only the series that is wanted is read.
 * @param options - Which series.
 * @returns `[nTimes, nTargets]`, float64; electrodes as targets with region, and position in millimetres.
 * @throws {FileError | FormatError} as `readNwb`.
 * @throws {DataError} if there is no such series or several, samples are uneven in time, or it has more than two axes.
 */
export async function loadNwb(path: string, options: LoadNwbOptions = {}): Promise<TimeSeries> {
  const where = `loadNwb: ${basename(path)}`;
  const outline = await open(path, "loadNwb", []);
  const file = describe(outline);
  const chosen = chooseSeries(file.series, options.series, where);
  const tree = await open(path, "loadNwb", [chosen.path]);
  const group = groupAt(tree, chosen.path)!;
  const data = arrayAt(group, "data");
  const values = h5Numbers(data);
  if (!data || !values || data.shape.length > 2 || values.length === 0) {
    throw new DataError(
      `${where}: ${chosen.path}: expected samples [time] or [time, channel], got [${chosen.shape.join(", ")}]`,
    );
  }
  const [nTimes = 0, nTargets = 1] = data.shape;
  const { samplingRate, start } = timing(group, nTimes, `${where}: ${chosen.path}`);
  const { targets, gains } = electrodes(tree, group, chosen, nTargets);
  const offset = h5Number(data.attributes.get("offset")) ?? 0;
  const conversion = h5Number(data.attributes.get("conversion")) ?? 1;
  const out = new Float64Array(values.length);
  for (let i = 0; i < out.length; i++) {
    out[i] = values[i]! * conversion * (gains?.[i % nTargets] ?? 1) + offset;
  }
  return {
    name: options.name ?? basename(path),
    simulated: false,
    targets,
    unit: chosen.unit,
    sha256: await sha256File(path),
    data: tensor(out, ["time", "target"], [nTimes, nTargets]),
    samplingRate,
    events: file.events.map((event) => ({ ...event, onset: event.onset - start })),
  };
}

async function open(path: string, doing: string, more: readonly string[]): Promise<H5Group> {
  const tree = await readHdf5(path, {
    doing,
    paths: [...TABLE_PLACES, "/identifier", "/session_description", "/nwb_version", ...more],
  });
  const version = versionOf(tree);
  if (version === undefined || !/^(NWB-)?2/.test(version)) {
    throw new FormatError(
      `${doing}: ${basename(path)}: expected an NWB file of version 2, got ${version ?? "an HDF5 file without nwb_version"}`,
    );
  }
  return tree;
}

const versionOf = (tree: H5Group): string | undefined =>
  h5Text(tree.attributes.get("nwb_version")) ?? h5Text(arrayAt(tree, "/nwb_version"));

function describe(tree: H5Group): NwbFile {
  return {
    version: versionOf(tree),
    identifier: h5Text(arrayAt(tree, "/identifier")),
    description: h5Text(arrayAt(tree, "/session_description")),
    subject: h5Text(arrayAt(tree, "/general/subject/subject_id")),
    series: SERIES_PLACES.flatMap((place) => {
      const group = groupAt(tree, place);
      return group ? seriesIn(group) : [];
    }),
    events: eventsOf(tree),
    units: unitsOf(tree),
  };
}

/** A series is a group with data and a way to tell its times. */
function seriesIn(group: H5Group): NwbSeries[] {
  const data = group.children.get("data");
  const times = group.children.get("timestamps") ?? group.children.get("starting_time");
  if (data && data.kind !== "group" && times) {
    const start = group.children.get("starting_time");
    return [
      {
        path: group.path,
        type: h5Text(group.attributes.get("neurodata_type")) ?? "TimeSeries",
        shape: data.shape,
        unit: h5Text(data.attributes.get("unit")),
        samplingRate: start && h5Number(start.attributes.get("rate")),
      },
    ];
  }
  return [...group.children.values()].flatMap((child: H5Entry) =>
    child.kind === "group" ? seriesIn(child) : [],
  );
}

function chooseSeries(
  all: readonly NwbSeries[],
  wanted: string | undefined,
  where: string,
): NwbSeries {
  const wide = all.filter(({ shape }) => shape.length === 2 && shape[1]! > 1);
  const found =
    wanted === undefined
      ? wide.length > 0
        ? wide
        : all
      : all.filter(({ path }) => path === wanted || path.endsWith(`/${wanted}`));
  if (found.length === 1) return found[0]!;
  throw new DataError(
    `${where}: expected one series${wanted === undefined ? "" : ` ${JSON.stringify(wanted)}`}, got ${found.length}; the file has ${all.map(({ path }) => path).join(", ") || "none"}`,
    { hint: "The option series names one by its path." },
  );
}

/** Timestamps may jitter by a hundredth of a step. */
const LARGEST_JITTER = 0.01;

function timing(
  group: H5Group,
  nTimes: number,
  where: string,
): { samplingRate: number; start: number } {
  const starting = arrayAt(group, "starting_time");
  const rate = starting && h5Number(starting.attributes.get("rate"));
  if (rate !== undefined && rate > 0) return { samplingRate: rate, start: h5Number(starting) ?? 0 };
  const stamps = h5Numbers(arrayAt(group, "timestamps"));
  if (!stamps || stamps.length !== nTimes || nTimes < 2) {
    throw new DataError(
      `${where}: expected a rate, or a timestamp for each of ${nTimes} samples, got ${stamps?.length ?? 0}`,
    );
  }
  const start = stamps[0]!;
  const step = (stamps[nTimes - 1]! - start) / (nTimes - 1);
  const odd = stamps.findIndex(
    (t, i) => !(Math.abs(t - start - i * step) <= LARGEST_JITTER * step),
  );
  if (!(step > 0) || odd >= 0) {
    throw new DataError(
      `${where}: expected even timestamps, ${step} s apart, got ${stamps[odd]} s at sample ${odd}`,
      { hint: "Resample the series to even times first." },
    );
  }
  return { samplingRate: 1 / step, start };
}

function electrodes(
  tree: H5Group,
  group: H5Group,
  { path, type }: NwbSeries,
  nTargets: number,
): { targets: Target[]; gains: Float64Array | undefined } {
  const name = path.slice(path.lastIndexOf("/") + 1);
  const rows = h5Numbers(arrayAt(group, "electrodes"));
  const table = groupAt(tree, "/general/extracellular_ephys/electrodes");
  const column = (key: string): H5Array | undefined => table && arrayAt(table, key);
  const ids = h5Texts(column("id"));
  const labels = h5Texts(column("label")) ?? h5Texts(column("channel_name"));
  const regions = h5Texts(column("location"));
  const places = ["x", "y", "z"].map((axis) => h5Numbers(column(axis)));
  const targets = Array.from({ length: nTargets }, (_, i): Target => {
    const row = rows?.length === nTargets ? rows[i]! : undefined;
    if (row === undefined) return { id: nTargets === 1 ? name : `${name} ${i}` };
    // Micrometres in the file.
    const position = places.map((place) => (place?.[row] ?? Number.NaN) / 1000);
    return {
      id: labels?.[row] || (ids?.[row] ?? String(row)),
      region: regions?.[row],
      kind: type === "ElectricalSeries" ? "electrode" : undefined,
      position: position.every(Number.isFinite)
        ? (position as [number, number, number])
        : undefined,
    };
  });
  const gains = h5Numbers(arrayAt(group, "channel_conversion"));
  return { targets, gains: gains?.length === nTargets ? gains : undefined };
}

/** Columns of a table that have one value per row, as text. */
function plainColumns(
  table: H5Group,
  nRows: number,
  leaveOut: readonly string[],
): Map<string, readonly string[]> {
  const columns = new Map<string, readonly string[]>();
  for (const [key, entry] of table.children) {
    if (leaveOut.includes(key) || key.endsWith("_index") || table.children.has(`${key}_index`))
      continue;
    if (entry.kind !== "array" || entry.shape.length !== 1) continue;
    const values = h5Texts(entry);
    if (values?.length === nRows) columns.set(key, values);
  }
  return columns;
}

const rowOf = (
  columns: ReadonlyMap<string, readonly string[]>,
  row: number,
): Record<string, string> =>
  Object.fromEntries([...columns].map(([key, values]) => [key, values[row]!]));

function eventsOf(tree: H5Group): RecordedEvent[] {
  const events: RecordedEvent[] = [];
  for (const [name, table] of groupAt(tree, "/intervals")?.children ?? []) {
    if (table.kind !== "group") continue;
    const starts = h5Numbers(arrayAt(table, "start_time"));
    const stops = h5Numbers(arrayAt(table, "stop_time"));
    if (!starts || stops?.length !== starts.length) continue;
    const columns = plainColumns(table, starts.length, ["id", "start_time", "stop_time"]);
    starts.forEach((onset, row) => {
      const duration = Math.max(0, stops[row]! - onset) || 0;
      events.push({ onset, duration, type: name, columns: rowOf(columns, row) });
    });
  }
  return events.sort((a, b) => a.onset - b.onset);
}

/** Spikes of all units stand in one list; an index says where each unit's end. */
function unitsOf(tree: H5Group): NwbUnit[] {
  const table = groupAt(tree, "/units");
  const times = table && h5Numbers(arrayAt(table, "spike_times"));
  const ends = table && h5Numbers(arrayAt(table, "spike_times_index"));
  if (!table || !times || !ends) return [];
  const wrong = ends.findIndex((end, i) => end < (ends[i - 1] ?? 0) || end > times.length);
  if (wrong >= 0) {
    throw new FormatError(
      `readNwb: /units/spike_times_index: expected rising ends up to ${times.length}, got ${ends[wrong]} at ${wrong}`,
    );
  }
  const ids = h5Texts(arrayAt(table, "id"));
  const columns = plainColumns(table, ends.length, ["id"]);
  return Array.from(ends, (end, i) => ({
    id: ids?.[i] ?? String(i),
    times: times.slice(ends[i - 1] ?? 0, end),
    columns: rowOf(columns, i),
  }));
}
