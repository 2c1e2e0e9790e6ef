import { basename, dirname, extname, join } from "node:path";
import {
  DataError,
  FormatError,
  type LongWork,
  sha256File,
  tensor,
  throwIfAborted,
} from "@penfield/core";
import { byteView, failAt, numbers } from "../containers/byteView.ts";
import { readLargeFile } from "../containers/largeFile.ts";
import { readMat } from "../containers/mat.ts";
import { type MatValue, matNumber, matNumbers, matText } from "../containers/matValue.ts";
import type { RecordedEvent, TimedRecording, TimeSeries } from "../types.ts";
import { type Channel, type ChannelOptions, pickChannels, targetsOf } from "./channels.ts";
import { repeatsOf } from "./epochs.ts";
import { sortedEvents } from "./triggers.ts";

const MICROVOLT = 1e-6;
const LARGEST_BYTES = 2 ** 32;

/** An event of an EEGLAB file. */
export interface EeglabEvent extends RecordedEvent {
  /** From 0; undefined in continuous data. */
  readonly epoch: number | undefined;
  /** Seconds from the event that its epoch was cut around; in continuous data as `onset`. */
  readonly time: number;
}

/** What an EEGLAB file says about itself. */
export interface EeglabFile {
  readonly channels: readonly Channel[];
  /** Hz. */
  readonly samplingRate: number;
  readonly nEpochs: number;
  readonly nTimes: number;
  /** Seconds of an epoch's first sample from its event; 0 in continuous data. */
  readonly firstTime: number;
  readonly events: readonly EeglabEvent[];
}

interface Parsed extends EeglabFile {
  /** Microvolts, [nChannels, nTimes, nEpochs] with these steps between neighbours. */
  readonly data: ArrayLike<number>;
  readonly steps: readonly [channel: number, time: number, epoch: number];
  readonly dataPath: string;
}

/** Options of `loadEeglab`. */
export interface LoadEeglabOptions extends ChannelOptions, LongWork {
  /** Default: the file's name. */
  readonly name?: string | undefined;
}

/** Options of `loadEeglabEpochs`. */
export interface LoadEeglabEpochsOptions extends LoadEeglabOptions {
  /** The field of the time-locking event that names stimuli. Default `type`. */
  readonly stimuli?: string | undefined;
}

/**
 * Reads what an EEGLAB file (`.set`) says: channels, rate, epochs, events.
 *
 * @param path - The `.set`; a `.fdt` with the samples lies beside it.
 * @throws {FileError | FormatError} as `loadEeglab`.
 */
export async function readEeglab(path: string): Promise<EeglabFile> {
  const { channels, samplingRate, nEpochs, nTimes, firstTime, events } = await parse(
    path,
    "readEeglab",
  );
  return { channels, samplingRate, nEpochs, nTimes, firstTime, events };
}

/**
 * Loads a continuous EEGLAB recording (`.set`, with its `.fdt` if it has one). EEGLAB's microvolts become volts.
 *
 * @param path - The `.set`: MATLAB 5 to 7.3, with the struct `EEG` or its fields as variables.
 * @param options - Which channels.
 * @returns `[nTimes, nTargets]`, float64. Positions in millimetres, x to the right, y to the nose. Events have their
 *   further fields as columns.
 * @throws {FileError} if a file cannot be read.
 * @throws {FormatError} if it is no such file, or its parts do not fit each other.
 * @throws {DataError} if it is cut into epochs.
 *
 * Cost: the files in memory, and 8 bytes per sample and target.
 * Source: EEGLAB's data structures. Values equal MNE-Python's `read_raw_eeglab`.
 */
export async function loadEeglab(
  path: string,
  options: LoadEeglabOptions = {},
): Promise<TimeSeries> {
  const file = await parse(path, "loadEeglab");
  const where = `loadEeglab: ${basename(path)}`;
  if (file.nEpochs !== 1) {
    throw new DataError(`${where}: expected continuous data, got ${file.nEpochs} epochs`, {
      hint: "loadEeglabEpochs loads epochs.",
    });
  }
  const picks = pickChannels(file.channels, options, where);
  throwIfAborted(options.signal, "loadEeglab");
  const { data, steps, nTimes } = file;
  const out = new Float64Array(nTimes * picks.length);
  picks.forEach((channel, k) => {
    for (let t = 0; t < nTimes; t++) {
      out[t * picks.length + k] = data[channel * steps[0] + t * steps[1]]! * MICROVOLT;
    }
  });
  const { targets, unit } = targetsOf(file.channels, picks);
  return {
    name: options.name ?? basename(path),
    simulated: false,
    targets,
    unit,
    sha256: await sha256File(file.dataPath),
    data: tensor(out, ["time", "target"], [nTimes, picks.length]),
    samplingRate: file.samplingRate,
    events: sortedEvents(
      file.events.map(({ onset, duration, type, columns }) => ({ onset, duration, type, columns })),
    ),
  };
}

/**
 * Loads EEGLAB epochs. An epoch's stimulus is its event nearest to time 0; epochs of one stimulus are its repeats, with
 * NaN where others have more.
 *
 * @param path - The `.set`.
 * @param options - Which channels, and which field of the event names stimuli.
 * @returns `[nRepeats, nStimuli, nTargets, nTimes]`, float64, volts.
 * @throws {FileError | FormatError} as `loadEeglab`.
 * @throws {DataError} if the data are continuous, or an epoch has no event or its event not that field.
 */
export async function loadEeglabEpochs(
  path: string,
  { stimuli = "type", ...options }: LoadEeglabEpochsOptions = {},
): Promise<TimedRecording> {
  const file = await parse(path, "loadEeglabEpochs");
  const where = `loadEeglabEpochs: ${basename(path)}`;
  const { channels, nEpochs, nTimes, steps, samplingRate, firstTime } = file;
  if (nEpochs === 1 && file.events.every(({ epoch }) => epoch === undefined)) {
    throw new DataError(`${where}: expected epochs, got continuous data`, {
      hint: "loadEeglab loads continuous data.",
    });
  }
  const ids = Array.from({ length: nEpochs }, (_, epoch) => {
    const event = lockingEvent(file.events, epoch);
    const id = stimuli === "type" ? event?.type : event?.columns?.[stimuli];
    if (id !== undefined) return id;
    throw new DataError(
      `${where}: expected an event with ${stimuli} in epoch ${epoch + 1}, got ${event ? Object.keys(event.columns ?? {}).join(", ") || "none" : "no event"}`,
    );
  });
  const picks = pickChannels(channels, options, where);
  throwIfAborted(options.signal, "loadEeglabEpochs");
  const shape = [nEpochs, picks.length, nTimes] as const;
  const data = new Float64Array(nEpochs * picks.length * nTimes);
  for (let epoch = 0; epoch < nEpochs; epoch++) {
    picks.forEach((channel, k) => {
      const from = channel * steps[0] + epoch * steps[2];
      const to = (epoch * picks.length + k) * nTimes;
      for (let t = 0; t < nTimes; t++) data[to + t] = file.data[from + t * steps[1]]! * MICROVOLT;
    });
  }
  const { targets, unit } = targetsOf(channels, picks);
  return {
    name: options.name ?? basename(path),
    simulated: false,
    targets,
    unit,
    sha256: await sha256File(file.dataPath),
    ...repeatsOf(
      data,
      shape,
      ids,
      picks.map((_, k) => k),
      where,
    ),
    samplingRate,
    times: Float64Array.from({ length: nTimes }, (_, t) => firstTime + t / samplingRate),
  };
}

/** The event nearest to time 0, the first of two. */
function lockingEvent(events: readonly EeglabEvent[], epoch: number): EeglabEvent | undefined {
  let best: EeglabEvent | undefined;
  for (const event of events) {
    if (event.epoch !== epoch) continue;
    if (!best || Math.abs(event.time) < Math.abs(best.time)) best = event;
  }
  return best;
}

const FIELDS = [
  "EEG",
  "nbchan",
  "trials",
  "pnts",
  "srate",
  "xmin",
  "data",
  "datfile",
  "chanlocs",
  "event",
];

async function parse(path: string, doing: string): Promise<Parsed> {
  const variables = await readMat(path, { doing, variables: FIELDS });
  const where = `${doing}: ${basename(path)}`;
  const whole = variables.get("EEG");
  const fields = whole?.kind === "struct" ? whole.data[0] : variables;
  const size = (name: string, least: number): number => {
    const value = matNumber(fields?.get(name));
    if (value !== undefined && Number.isSafeInteger(value) && value >= least) return value;
    throw new FormatError(
      `${where}: expected EEG.${name} as a whole number from ${least} on, got ${value ?? "none"}`,
      { hint: "An EEGLAB file holds a struct EEG, or its fields." },
    );
  };
  const nChannels = size("nbchan", 1);
  const nTimes = size("pnts", 1);
  const nEpochs = Math.max(1, size("trials", 0));
  const samplingRate = matNumber(fields?.get("srate")) ?? Number.NaN;
  if (!(samplingRate > 0)) {
    throw new FormatError(`${where}: expected EEG.srate above 0, got ${samplingRate}`);
  }
  if (nChannels * nTimes * nEpochs * 8 > LARGEST_BYTES) {
    throw new FormatError(
      `${where}: expected at most ${LARGEST_BYTES} bytes of samples, got [${nChannels}, ${nTimes}, ${nEpochs}]`,
    );
  }
  const firstTime = nEpochs > 1 ? (matNumber(fields?.get("xmin")) ?? 0) : 0;
  const shape = [nChannels, nTimes, nEpochs] as const;
  const timing = { samplingRate, nTimes, nEpochs, firstTime };
  // First: the number of channels is believed when their samples are there.
  const samples = await samplesOf(path, doing, fields?.get("data"), fields?.get("datfile"), shape);
  return {
    ...timing,
    ...samples,
    channels: channelsOf(fields?.get("chanlocs"), nChannels),
    events: eventsOf(fields?.get("event"), timing),
  };
}

type Samples = Pick<Parsed, "data" | "steps" | "dataPath">;

async function samplesOf(
  path: string,
  doing: string,
  value: MatValue | undefined,
  datfile: MatValue | undefined,
  [nChannels, nTimes, nEpochs]: readonly [number, number, number],
): Promise<Samples> {
  const count = nChannels * nTimes * nEpochs;
  const own = value?.kind === "numbers" && value.data.length > 0 ? matNumbers(value) : undefined;
  if (own) {
    if (own.length !== count) {
      throw new FormatError(
        `${doing}: ${basename(path)}: expected EEG.data as [${nChannels}, ${nTimes}, ${nEpochs}], got ${own.length} values`,
      );
    }
    // Row-major [channel, time, epoch].
    return { data: own, steps: [nTimes * nEpochs, nEpochs, 1], dataPath: path };
  }
  const name = matText(value) || matText(datfile);
  const file = name ? basename(name.replaceAll("\\", "/")) : "";
  if (extname(file).toLowerCase() !== ".fdt") {
    throw new FormatError(
      `${doing}: ${basename(path)}: expected samples, or the name of a .fdt file, got ${JSON.stringify(file)}`,
    );
  }
  // Renamed files keep the old name inside: the .fdt beside it counts then.
  const beside = join(dirname(path), `${basename(path, extname(path))}.fdt`);
  const named = join(dirname(path), file);
  const dataPath = await readLargeFile(named, doing).then(
    (bytes) => ({ bytes, path: named }),
    async (cause) => {
      if (beside === named) throw cause;
      return { bytes: await readLargeFile(beside, doing), path: beside };
    },
  );
  const at = byteView(dataPath.bytes, true, { doing, file: basename(dataPath.path) });
  if (dataPath.bytes.length !== 4 * count) {
    const expected = `4 bytes for each of [${nChannels}, ${nTimes}, ${nEpochs}] samples`;
    failAt(at, 0, expected, `${dataPath.bytes.length} bytes`);
  }
  const data = numbers(at, "float32", 0, count, "samples");
  return { data, steps: [1, nChannels, nChannels * nTimes], dataPath: dataPath.path };
}

function channelsOf(value: MatValue | undefined, n: number): Channel[] {
  const places = value?.kind === "struct" ? value.data : [];
  return Array.from({ length: n }, (_, i): Channel => {
    const place = places[i];
    const [x, y, z] = ["X", "Y", "Z"].map((axis) => matNumber(place?.get(axis)));
    const type = matText(place?.get("type"))?.toLowerCase();
    const known = x !== undefined && y !== undefined && z !== undefined;
    return {
      name: matText(place?.get("labels")) || `channel ${i + 1}`,
      kind: type || "eeg",
      unit: "V",
      // EEGLAB's x points to the nose and its y to the left ear.
      position: known ? [-y, x, z] : undefined,
    };
  });
}

/** Latencies count samples from 1, through all epochs. */
function eventsOf(
  value: MatValue | undefined,
  {
    samplingRate,
    nTimes,
    nEpochs,
    firstTime,
  }: Pick<EeglabFile, "samplingRate" | "nTimes" | "nEpochs" | "firstTime">,
): EeglabEvent[] {
  const records = value?.kind === "struct" ? value.data : [];
  return records.flatMap((record): EeglabEvent[] => {
    const latency = matNumber(record.get("latency"));
    if (latency === undefined) return [];
    const number = matNumber(record.get("epoch"));
    const told = number === undefined ? undefined : number - 1;
    const epoch = nEpochs > 1 ? (told ?? Math.floor((latency - 1) / nTimes)) : told;
    const within = latency - 1 - (epoch ?? 0) * nTimes;
    const columns = Object.fromEntries(
      [...record].flatMap(([key, field]) => {
        const text = cellText(field);
        return text === undefined || key === "latency" || key === "duration" ? [] : [[key, text]];
      }),
    );
    return [
      {
        onset: (latency - 1) / samplingRate,
        duration: (matNumber(record.get("duration")) || 0) / samplingRate,
        type: columns["type"] ?? "",
        columns,
        epoch,
        time: within / samplingRate + firstTime,
      },
    ];
  });
}

function cellText(value: MatValue): string | undefined {
  const number = matNumber(value);
  return number === undefined ? matText(value) : String(number);
}
