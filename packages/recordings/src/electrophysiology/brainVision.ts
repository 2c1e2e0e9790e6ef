import { basename, dirname, extname, join } from "node:path";
import { FormatError, type LongWork, sha256File, tensor, throwIfAborted } from "@penfield/core";
import {
  bytesPer,
  byteView,
  failAt,
  type NumberKind,
  numbers,
  type Place,
} from "../containers/byteView.ts";
import { readLargeFile } from "../containers/largeFile.ts";
import type { RecordedEvent, TimeSeries } from "../types.ts";
import { type Channel, type ChannelOptions, pickChannels, targetsOf } from "./channels.ts";
import { sortedEvents } from "./triggers.ts";
import { siUnit } from "./units.ts";

const FORMATS: Readonly<Record<string, NumberKind>> = {
  INT_16: "int16",
  UINT_16: "uint16",
  INT_32: "int32",
  IEEE_FLOAT_32: "float32",
  IEEE_FLOAT_64: "float64",
};
const LARGEST_BYTES = 2 ** 32;
const LARGEST_CHANNELS = 100_000;

/** What a BrainVision header says. */
export interface BrainVisionHeader {
  readonly channels: readonly (Channel & {
    /** Stored values times this are in `unit`. */
    readonly scale: number;
  })[];
  /** Hz. */
  readonly samplingRate: number;
  readonly format: string;
  readonly isVectorized: boolean;
  /** As the header says; files may differ. */
  readonly nTimes: number | undefined;
  readonly dataFile: string;
  readonly markerFile: string | undefined;
}

/** Options of `loadBrainVision`. */
export interface LoadBrainVisionOptions extends ChannelOptions, LongWork {
  /** Default: the header's name. */
  readonly name?: string | undefined;
}

/**
 * Reads a BrainVision header (`.vhdr`): channels, units, resolutions, positions.
 *
 * Text is UTF-8 or, where it is not valid as such, Windows-1252. Positions are given in millimetres where they were
 * measured; idealized ones (radius 1) are left out.
 *
 * @param path - The header.
 * @throws {FileError} if it cannot be read.
 * @throws {FormatError} with the line, if it is no such header, or data are not binary numbers of 2, 4 or 8 bytes.
 *
 * Source: BrainVision Core Data Format 1.0.
 */
export async function readBrainVision(path: string): Promise<BrainVisionHeader> {
  return parseHeader(path, "readBrainVision");
}

/**
 * Loads a BrainVision recording: the header `.vhdr`, its data `.eeg` and its markers `.vmrk`. INT_16, INT_32 and floats,
 * multiplexed or vectorized. Volts are SI units (µV in the file become V), also µS; other units stay.
 *
 * @param path - The header; the other files lie beside it.
 * @param options - Which channels.
 * @returns `[nTimes, nTargets]`, float64. Events are markers as `Type/Description` (`Stimulus/S  1`),
 *   but for the segment that begins with the recording.
 * @throws {FileError} if the header or data cannot be read. A header that names no markers, or markers that are not there: no events.
 * @throws {FormatError} with line or offset, if a file is not as it should be.
 *
 * Cost: the data file in memory, and 8 bytes per sample and target.
 * Source: as `readBrainVision`. Values equal MNE-Python's `read_raw_brainvision` bit for bit.
 */
export async function loadBrainVision(
  path: string,
  options: LoadBrainVisionOptions = {},
): Promise<TimeSeries> {
  const doing = "loadBrainVision";
  const where = `${doing}: ${basename(path)}`;
  const header = await parseHeader(path, doing);
  const picks = pickChannels(header.channels, options, where);
  const dataPath = join(dirname(path), header.dataFile);
  const bytes = await readLargeFile(dataPath, doing);
  throwIfAborted(options.signal, doing);
  const { data, nTimes } = decode(header, bytes, picks, { doing, file: header.dataFile });
  const { targets, unit } = targetsOf(header.channels, picks);
  return {
    name: options.name ?? basename(path),
    simulated: false,
    targets,
    unit,
    sha256: await sha256File(dataPath),
    data: tensor(data, ["time", "target"], [nTimes, picks.length]),
    samplingRate: header.samplingRate,
    events: await readMarkers(path, header, doing),
  };
}

function decode(
  { channels, format, isVectorized, nTimes: told }: BrainVisionHeader,
  bytes: Uint8Array,
  picks: readonly number[],
  place: Place,
): { data: Float64Array; nTimes: number } {
  const at = byteView(bytes, true, place);
  const kind = FORMATS[format] as "int16" | "int32" | "float32" | "float64";
  const n = channels.length;
  const stored = Math.floor(bytes.length / (bytesPer(kind) * n));
  const nTimes = isVectorized ? (told ?? stored) : stored;
  if (nTimes < 1 || nTimes > stored || nTimes * picks.length * 8 > LARGEST_BYTES) {
    failAt(at, 0, `[${nTimes}, ${n}] values of ${format}`, `${bytes.length} bytes`);
  }
  const data = new Float64Array(nTimes * picks.length);
  const values = numbers(at, kind, 0, nTimes * n, "samples");
  const [perTime, perChannel] = isVectorized ? [1, nTimes] : [n, 1];
  picks.forEach((channel, k) => {
    const { scale } = channels[channel]!;
    let from = channel * perChannel;
    for (let t = 0; t < nTimes; t++) {
      data[t * picks.length + k] = values[from]! * scale;
      from += perTime;
    }
  });
  return { data, nTimes };
}

/** A section's lines `key=value`, with their line numbers. */
type Sections = ReadonlyMap<string, ReadonlyMap<string, { value: string; line: number }>>;

async function readSections(path: string, doing: string, first: RegExp): Promise<Sections> {
  const bytes = await readLargeFile(path, doing);
  const text = decodeHeader(bytes);
  const place = byteView(bytes, true, { doing, file: basename(path) });
  if (!first.test(text.slice(0, 100))) {
    failAt(place, 0, "a BrainVision header", "bytes that do not begin as one");
  }
  const sections = new Map<string, Map<string, { value: string; line: number }>>();
  let current: Map<string, { value: string; line: number }> | undefined;
  for (const [i, raw] of text.split(/\r\n|\n|\r/).entries()) {
    const line = raw.trim();
    const section = /^\[(.+)\]$/.exec(line);
    if (section) {
      const name = section[1]!.toLowerCase();
      // What follows is free text.
      if (name === "comment") break;
      current = new Map();
      sections.set(name, current);
      continue;
    }
    const equals = line.indexOf("=");
    if (!current || equals < 1 || line.startsWith(";")) continue;
    const value = line.slice(equals + 1).trim();
    current.set(line.slice(0, equals).trim().toLowerCase(), { value, line: i + 1 });
  }
  return sections;
}

function decodeHeader(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("windows-1252").decode(bytes);
  }
}

async function parseHeader(path: string, doing: string): Promise<BrainVisionHeader> {
  const sections = await readSections(path, doing, /^\uFEFF?Brain ?Vision/i);
  const entry = (section: string, key: string): string | undefined =>
    sections.get(section)?.get(key)?.value;
  const refuse = (section: string, key: string, expected: string): never => {
    const found = sections.get(section)?.get(key);
    const got = found ? JSON.stringify(found.value) : "nothing";
    const line = found ? `: line ${found.line}` : "";
    throw new FormatError(
      `${doing}: ${basename(path)}${line}: expected ${expected} (${key} in [${section}]), got ${got}`,
    );
  };
  const number = (key: string): number | undefined => {
    const value = entry("common infos", key);
    return value === undefined || value === "" ? undefined : Number(value);
  };
  if ((entry("common infos", "dataformat") ?? "BINARY").toUpperCase() !== "BINARY") {
    refuse("common infos", "dataformat", "BINARY data");
  }
  const format = (entry("binary infos", "binaryformat") ?? "").toUpperCase();
  if (FORMATS[format] === undefined) {
    refuse("binary infos", "binaryformat", `one of ${Object.keys(FORMATS).join(", ")}`);
  }
  const orientation = (entry("common infos", "dataorientation") ?? "").toUpperCase();
  if (orientation !== "MULTIPLEXED" && orientation !== "VECTORIZED") {
    refuse("common infos", "dataorientation", "MULTIPLEXED or VECTORIZED");
  }
  const nChannels = number("numberofchannels") ?? Number.NaN;
  if (!Number.isSafeInteger(nChannels) || nChannels < 1 || nChannels > LARGEST_CHANNELS) {
    refuse("common infos", "numberofchannels", `1 to ${LARGEST_CHANNELS} channels`);
  }
  const interval = number("samplinginterval") ?? Number.NaN;
  if (!(interval > 0 && interval < 1e12)) {
    refuse("common infos", "samplinginterval", "microseconds above 0");
  }
  const base = basename(path, extname(path));
  const file = (key: string): string | undefined => {
    const value = entry("common infos", key)?.replaceAll("$b", base);
    return value ? basename(value.replaceAll("\\", "/")) : undefined;
  };
  const nTimes = number("datapoints");
  return {
    channels: Array.from({ length: nChannels }, (_, i) => {
      const text = entry("channel infos", `ch${i + 1}`);
      if (text === undefined) return refuse("channel infos", `ch${i + 1}`, "a channel");
      const position = positionOf(entry("coordinates", `ch${i + 1}`));
      const channel = channelOf(text, position);
      if (Number.isFinite(channel.scale)) return channel;
      return refuse("channel infos", `ch${i + 1}`, "a resolution as a number");
    }),
    samplingRate: 1e6 / interval,
    format,
    isVectorized: orientation === "VECTORIZED",
    nTimes: Number.isSafeInteger(nTimes) && nTimes! > 0 ? nTimes : undefined,
    dataFile: file("datafile") ?? refuse("common infos", "datafile", "the name of the data file"),
    markerFile: file("markerfile"),
  };
}

const KINDS: readonly (readonly [RegExp, string])[] = [
  [/^[HV]?EOG/i, "eog"],
  [/^(ECG|EKG)/i, "ecg"],
  [/^EMG/i, "emg"],
];

/** "name,reference,resolution,unit"; without a unit it is microvolts, without a resolution 1. */
function channelOf(
  text: string,
  position: readonly [number, number, number] | undefined,
): BrainVisionHeader["channels"][number] {
  const [rawName = "", , resolution = "", unit = ""] = text.split(",");
  const name = rawName.replaceAll("\\1", ",");
  const si = siUnit(unit === "" ? "µV" : unit);
  const known = KINDS.find(([pattern]) => pattern.test(name))?.[1];
  const value = resolution.trim() === "" ? 1 : Number(resolution);
  return {
    name,
    kind: known ?? (si.unit === "V" ? "eeg" : "misc"),
    unit: si.unit,
    position,
    scale: value * si.scale,
  };
}

/** "radius,theta,phi": millimetres and degrees. */
function positionOf(text: string | undefined): [number, number, number] | undefined {
  const [radius, theta, phi] = (text ?? "").split(",").map(Number);
  const all = [radius, theta, phi].every((value) => Number.isFinite(value));
  if (!all || radius === 0 || radius === 1) return undefined;
  const [polar, azimuth] = [(theta! * Math.PI) / 180, (phi! * Math.PI) / 180];
  return [
    radius! * Math.sin(polar) * Math.cos(azimuth),
    radius! * Math.sin(polar) * Math.sin(azimuth),
    radius! * Math.cos(polar),
  ];
}

/** Lines "Mk1=Type,Description,Position,Size,Channel"; positions count from 1. */
async function readMarkers(
  path: string,
  { markerFile, samplingRate }: BrainVisionHeader,
  doing: string,
): Promise<RecordedEvent[]> {
  if (markerFile === undefined) return [];
  const markerPath = join(dirname(path), markerFile);
  const sections = await readSections(markerPath, doing, /^\uFEFF?Brain ?Vision/i).catch(
    (error) => {
      if (error?.cause?.code === "ENOENT") return undefined;
      throw error;
    },
  );
  const events: RecordedEvent[] = [];
  for (const [key, { value, line }] of sections?.get("marker infos") ?? []) {
    if (!/^mk\d+$/.test(key)) continue;
    const [type = "", description = "", position = "", size = ""] = value.split(",");
    const sample = Number(position);
    if (!Number.isSafeInteger(sample) || sample < 1) {
      throw new FormatError(
        `${doing}: ${markerFile}: line ${line}: expected a marker's position from 1 on, got ${JSON.stringify(position)}`,
      );
    }
    // Every recording begins with a segment.
    if (type === "New Segment" && sample === 1) continue;
    events.push({
      onset: (sample - 1) / samplingRate,
      duration: (Number(size) || 0) / samplingRate,
      type: `${type}/${description}`.replaceAll("\\1", ","),
    });
  }
  return sortedEvents(events);
}
