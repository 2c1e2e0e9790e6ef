import { basename } from "node:path";
import {
  ArgumentError,
  DataError,
  type LongWork,
  sha256File,
  tensor,
  throwIfAborted,
} from "@penfield/core";
import { type ByteView, byteView, failAt, latin1, need } from "../containers/byteView.ts";
import { readLargeFile } from "../containers/largeFile.ts";
import type { RecordedEvent, TimeSeries } from "../types.ts";
import { type Channel, type ChannelOptions, pickChannels, targetsOf } from "./channels.ts";
import { GAP, sortedEvents, triggerEvents } from "./triggers.ts";
import { siUnit } from "./units.ts";

const HEAD_BYTES = 256;
const LARGEST_BYTES = 2 ** 32;
/** Gaps are believed up to this many times the recorded time. */
const LARGEST_GAP_SHARE = 100;
/** BioSemi's triggers; the bits above are the amplifier's state. */
const TRIGGER_BITS = 0xffff;

/** A channel of an EDF or BDF file. */
export interface EdfChannel extends Channel {
  /** Hz. */
  readonly samplingRate: number;
  readonly samplesPerRecord: number;
  /** Values are `(digital * gain + offset) * scale`, in `unit`. */
  readonly gain: number;
  readonly offset: number;
  readonly scale: number;
}

/** What an EDF or BDF file says about itself. */
export interface EdfFile {
  readonly format: "EDF" | "EDF+C" | "EDF+D" | "BDF" | "BDF+C" | "BDF+D";
  /** Without those of annotations. */
  readonly channels: readonly EdfChannel[];
  readonly nRecords: number;
  readonly recordSeconds: number;
  /** Of each record's first sample, from that of the first, in seconds; [nRecords]. */
  readonly recordOnsets: Float64Array;
  readonly annotations: readonly RecordedEvent[];
  /** What is unusual about the file. */
  readonly notes: readonly string[];
}

interface Signal {
  readonly label: string;
  readonly unit: string;
  readonly physical: readonly [number, number];
  readonly digital: readonly [number, number];
  readonly samples: number;
  /** Of its first sample in a record, counted in samples of all channels. */
  readonly start: number;
}

interface Parsed extends EdfFile {
  readonly at: ByteView;
  readonly signals: readonly Signal[];
  /** Signals that are channels, as indices. */
  readonly sources: readonly number[];
  readonly headBytes: number;
  readonly sampleBytes: 2 | 3;
  readonly samplesPerRecord: number;
}

/**
 * Reads the head and the annotations of an EDF, EDF+, BDF or BDF+ file.
 *
 * @param path - The file.
 * @throws {FileError} if it cannot be read.
 * @throws {FormatError} with the offset, if it is no such file or holds no whole record.
 *
 * Source: Kemp et al. (1992), Kemp & Olivan (2003); BioSemi's description of BDF.
 */
export async function readEdf(path: string): Promise<EdfFile> {
  const { format, channels, nRecords, recordSeconds, recordOnsets, annotations, notes } =
    await parse(path, "readEdf");
  return { format, channels, nRecords, recordSeconds, recordOnsets, annotations, notes };
}

/** Options of `loadEdf`. */
export interface LoadEdfOptions extends ChannelOptions, LongWork {
  /**
   * Hz: channels of this rate are taken, others left out (`readEdf` names them). Default: the rate of most channels that
   * are wanted, the higher one if two have as many. Nothing is resampled.
   */
  readonly samplingRate?: number | undefined;
  /** The channel whose rises become events, or `none`. Default: `Status` or `Trigger`, in any case. */
  readonly trigger?: string | undefined;
  /** Which bits of the trigger channel count. Default the lower 16, which BioSemi uses. */
  readonly triggerBits?: number | undefined;
  /** Default: the file's name. */
  readonly name?: string | undefined;
}

/**
 * Loads an EDF, EDF+, BDF (24 bit) or BDF+ file. Volts are SI units (µV and mV in the file become V); other units
 * stay. Events are annotations and rises of the trigger channel.
 *
 * Where records of a discontinuous file leave gaps, the samples are zeros and an event `BAD_ACQ_SKIP` says so.
 *
 * @param path - The file.
 * @param options - Which channels, which rate, the trigger channel.
 * @returns `[nTimes, nTargets]`, float64; a trigger channel as its masked whole numbers.
 * @throws {FileError | FormatError} as `readEdf`.
 * @throws {ArgumentError} if a channel or rate is none of the file's.
 * @throws {DataError} if channels that are asked for by name differ in rate.
 *
 * Cost: the file in memory, and 8 bytes per sample and target.
 * Source: as `readEdf`. Values equal MNE-Python's `read_raw_edf` and `read_raw_bdf` bit for bit.
 */
export async function loadEdf(path: string, options: LoadEdfOptions = {}): Promise<TimeSeries> {
  const file = await parse(path, "loadEdf");
  const where = `loadEdf: ${basename(path)}`;
  const { channels, annotations } = file;
  const { triggerBits = TRIGGER_BITS } = options;
  const wanted = pickChannels(channels, options, where);
  const samplingRate = chooseRate(channels, wanted, options, where);
  const picks = wanted.filter((i) => channels[i]!.samplingRate === samplingRate);
  const starts = startsOf(file, samplingRate, picks.length, where);
  const perRecord = channels[picks[0]!]!.samplesPerRecord;
  const nTimes = starts.at(-1)! + perRecord;
  const data = new Float64Array(nTimes * picks.length);
  picks.forEach((i, k) => {
    throwIfAborted(options.signal, "loadEdf");
    const bits = channels[i]!.kind === "stim" ? triggerBits : undefined;
    decode(file, i, starts, data, picks.length, k, bits);
    options.onProgress?.({
      stage: "reading channels",
      done: k + 1,
      total: picks.length,
      unit: "channels",
    });
  });
  const { targets, unit } = targetsOf(channels, picks);
  return {
    name: options.name ?? basename(path),
    simulated: false,
    targets,
    unit,
    sha256: await sha256File(path),
    data: tensor(data, ["time", "target"], [nTimes, picks.length]),
    samplingRate,
    events: sortedEvents([...annotations, ...gapsOf(file), ...triggersOf(file, options, where)]),
  };
}

function chooseRate(
  channels: readonly EdfChannel[],
  wanted: readonly number[],
  { channels: named, samplingRate }: LoadEdfOptions,
  where: string,
): number {
  const counts = new Map<number, number>();
  for (const i of wanted) {
    const rate = channels[i]!.samplingRate;
    counts.set(rate, (counts.get(rate) ?? 0) + 1);
  }
  const rates = [...counts.keys()].join(", ");
  if (samplingRate !== undefined) {
    if (counts.has(samplingRate)) return samplingRate;
    throw new ArgumentError(`${where}: expected one of the rates ${rates} Hz, got ${samplingRate}`);
  }
  if (Array.isArray(named) && counts.size > 1) {
    throw new DataError(`${where}: expected channels of one rate, got ${rates} Hz`, {
      hint: "Load them one rate at a time: samplingRate chooses.",
    });
  }
  return [...counts].sort((a, b) => b[1] - a[1] || b[0] - a[0])[0]![0];
}

async function parse(path: string, doing: string): Promise<Parsed> {
  const bytes = await readLargeFile(path, doing);
  const at = byteView(bytes, true, { doing, file: basename(path) });
  const isBdf = bytes[0] === 0xff && latin1(at, 1, 7, "the head") === "BIOSEMI";
  if (!isBdf && latin1(at, 0, 8, "the head").trim() !== "0") {
    failAt(at, 0, "an EDF or BDF file", "bytes that do not begin as one");
  }
  need(at, 0, HEAD_BYTES, "the head");
  const headBytes = whole(at, 184, 8, "the length of the head");
  const nSignals = whole(at, 252, 4, "the number of signals");
  if (nSignals < 1 || headBytes !== HEAD_BYTES * (nSignals + 1)) {
    failAt(at, 184, `a head of 256 (${nSignals} + 1) bytes`, `${headBytes}`);
  }
  need(at, 0, headBytes, "the head");
  const { signals, samplesPerRecord } = readSignals(at, nSignals);
  const sampleBytes = isBdf ? 3 : 2;
  const notes: string[] = [];
  const recordBytes = samplesPerRecord * sampleBytes;
  const stored = Math.floor((bytes.length - headBytes) / recordBytes);
  const told = decimal(at, 236, 8, "the number of records");
  const nRecords = told >= 0 ? Math.min(told, stored) : stored;
  if (!(nRecords >= 1)) failAt(at, headBytes, `${told} records`, `${stored} whole ones`);
  if (told !== stored) notes.push(`the head promises ${told} records, the file has ${stored}`);
  const isAnnotations = ({ label }: Signal): boolean => /^[EB]DF Annotations$/.test(label);
  const sources = signals.flatMap((signal, i) => (isAnnotations(signal) ? [] : [i]));
  let recordSeconds = decimal(at, 244, 8, "the length of a record");
  if (recordSeconds === 0 && sources.length === 0) recordSeconds = 1;
  if (!(recordSeconds > 0)) failAt(at, 244, "records longer than 0 s", `${recordSeconds}`);
  const channels = sources.map((i) => channelOf(at, signals[i]!, i, nSignals, recordSeconds));
  const head = { at, signals, headBytes, sampleBytes, samplesPerRecord, nRecords } as const;
  const reserved = latin1(at, 192, 44, "the head");
  const lists = signals.filter(isAnnotations);
  const plus = reserved.startsWith(`${isBdf ? "BDF" : "EDF"}+D`)
    ? "+D"
    : lists.length > 0
      ? "+C"
      : "";
  const { annotations, onsets } = readAnnotations(head, lists, recordSeconds, plus === "+D");
  const rates = new Map<number, string[]>();
  for (const { samplingRate, name } of channels) {
    rates.set(samplingRate, [...(rates.get(samplingRate) ?? []), name]);
  }
  if (rates.size > 1) {
    for (const [rate, names] of rates) notes.push(`${rate} Hz: ${names.join(", ")}`);
  }
  return {
    ...head,
    format: `${isBdf ? "BDF" : "EDF"}${plus}`,
    channels,
    sources,
    recordSeconds,
    recordOnsets: onsets,
    annotations,
    notes,
  };
}

function decimal(at: ByteView, offset: number, length: number, what: string): number {
  const text = latin1(at, offset, length, what).trim().replace(",", ".");
  const value = text === "" ? Number.NaN : Number(text);
  if (!Number.isFinite(value)) failAt(at, offset, `${what} as a number`, JSON.stringify(text));
  return value;
}

function whole(at: ByteView, offset: number, length: number, what: string): number {
  const value = decimal(at, offset, length, what);
  if (!Number.isSafeInteger(value) || value < 0) {
    failAt(at, offset, `${what} as a whole number`, `${value}`);
  }
  return value;
}

function readSignals(
  at: ByteView,
  n: number,
): { signals: readonly Signal[]; samplesPerRecord: number } {
  // Fields stand signal by signal within each: 16 for labels, then 80, 8, 8, 8, 8, 8, 80, 8, 32.
  const place = (before: number, width: number, i: number): number =>
    HEAD_BYTES + before * n + width * i;
  const number = (before: number, i: number, what: string): number =>
    decimal(at, place(before, 8, i), 8, what);
  let start = 0;
  const signals = Array.from({ length: n }, (_, i): Signal => {
    const samples = whole(at, place(216, 8, i), 8, "samples per record");
    const signal = {
      label: latin1(at, place(0, 16, i), 16, "a label").trim(),
      unit: latin1(at, place(96, 8, i), 8, "a unit").trim(),
      physical: [number(104, i, "physical minimum"), number(112, i, "physical maximum")],
      digital: [number(120, i, "digital minimum"), number(128, i, "digital maximum")],
      samples,
      start,
    } as const;
    start += samples;
    return signal;
  });
  if (start < 1) failAt(at, place(216, 8, 0), "samples in a record", "none");
  return { signals, samplesPerRecord: start };
}

const KINDS: readonly (readonly [RegExp, string])[] = [
  [/^(status|trigger)$/i, "stim"],
  [/^EEG /i, "eeg"],
  [/^EOG( |$)/i, "eog"],
  [/^(ECG|EKG)( |$)/i, "ecg"],
  [/^EMG( |$)/i, "emg"],
  [/^SEEG( |$)/i, "seeg"],
  [/^ECOG( |$)/i, "ecog"],
  [/^DBS( |$)/i, "dbs"],
  [/^RESP( |$)/i, "resp"],
  [/^TEMP( |$)/i, "temperature"],
];

function channelOf(
  at: ByteView,
  { label, unit, physical, digital, samples }: Signal,
  i: number,
  n: number,
  recordSeconds: number,
): EdfChannel {
  const range = digital[1] - digital[0];
  if (range === 0 || samples === 0) {
    const where = HEAD_BYTES + 120 * n + 8 * i;
    failAt(at, where, `a digital range and samples of ${label}`, `${range} and ${samples}`);
  }
  const gain = (physical[1] - physical[0]) / range;
  const si = siUnit(unit);
  const known = KINDS.find(([pattern]) => pattern.test(label))?.[1];
  const kind = known ?? (si.unit === "V" || si.unit === undefined ? "eeg" : "misc");
  return {
    name: label,
    kind,
    unit: kind === "stim" ? undefined : si.unit,
    samplingRate: samples / recordSeconds,
    samplesPerRecord: samples,
    gain,
    offset: physical[0] - digital[0] * gain,
    scale: si.scale,
  };
}

type Head = Pick<Parsed, "at" | "headBytes" | "sampleBytes" | "samplesPerRecord" | "nRecords">;

const sampleAt = (
  { headBytes, sampleBytes, samplesPerRecord }: Head,
  record: number,
  sample: number,
): number => headBytes + (record * samplesPerRecord + sample) * sampleBytes;

/** Lists of "+onset[\x15duration]\x14text\x14text\x14\0"; a record's first one has its onset and an empty text. */
function readAnnotations(
  head: Head,
  lists: readonly Signal[],
  recordSeconds: number,
  isDiscontinuous: boolean,
): { annotations: RecordedEvent[]; onsets: Float64Array } {
  const { at, nRecords, sampleBytes } = head;
  const annotations: RecordedEvent[] = [];
  const onsets = Float64Array.from({ length: nRecords }, (_, r) => r * recordSeconds);
  let origin = 0;
  for (let record = 0; record < nRecords; record++) {
    lists.forEach(({ start: first, samples }, list) => {
      const from = sampleAt(head, record, first);
      const bytes = at.bytes.subarray(from, from + samples * sampleBytes);
      const text = decodeList(bytes);
      text.split("\0").forEach((entry, k) => {
        const [time, ...texts] = entry.split("\x14") as [string, ...string[]];
        const [start = "", length = "0"] = time.split("\x15");
        if (texts.length === 0 || !/^[+-]\d+(\.\d*)?$/.test(start)) return;
        const onset = Number(start);
        if (list === 0 && k === 0 && texts[0] === "") {
          if (record === 0) origin = onset;
          if (isDiscontinuous) onsets[record] = onset - origin;
        }
        for (const type of texts) {
          if (type === "") continue;
          annotations.push({ onset: onset - origin, duration: Number(length) || 0, type });
        }
      });
    });
  }
  return { annotations, onsets };
}

/** UTF-8, as EDF+ says; files that do not keep to it are Latin-1. */
function decodeList(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return Buffer.from(bytes).toString("latin1");
  }
}

/** The first sample of each record, gaps counted. */
function startsOf(file: Parsed, rate: number, nTargets: number, where: string): Float64Array {
  const { recordOnsets, recordSeconds, nRecords, at, headBytes } = file;
  const perRecord = Math.round(rate * recordSeconds);
  const starts = recordOnsets.map((onset) => Math.round(onset * rate));
  const bad = starts.findIndex((start, r) => r > 0 && start < starts[r - 1]! + perRecord);
  if (bad >= 0) {
    failAt(at, headBytes, "records one after the other", `record ${bad} at ${recordOnsets[bad]} s`);
  }
  const nTimes = starts.at(-1)! + perRecord;
  if (
    nTimes > (LARGEST_GAP_SHARE + 1) * nRecords * perRecord ||
    nTimes * nTargets * 8 > LARGEST_BYTES
  ) {
    failAt(
      at,
      headBytes,
      `values below ${LARGEST_BYTES} bytes, gaps at most ${LARGEST_GAP_SHARE} times the data`,
      `[${nTimes}, ${nTargets}] of ${nRecords * perRecord} recorded samples (${where})`,
      "Keep fewer channels.",
    );
  }
  return starts;
}

function gapsOf({ recordOnsets, recordSeconds }: EdfFile): RecordedEvent[] {
  const gaps: RecordedEvent[] = [];
  for (let r = 1; r < recordOnsets.length; r++) {
    const onset = recordOnsets[r - 1]! + recordSeconds;
    const duration = recordOnsets[r]! - onset;
    if (duration > 1e-6 * recordSeconds) gaps.push({ onset, duration, type: GAP });
  }
  return gaps;
}

function decode(
  file: Parsed,
  channel: number,
  starts: ArrayLike<number>,
  out: Float64Array,
  stride: number,
  column: number,
  /** Given for triggers: these bits of the stored numbers. */
  bits: number | undefined,
): void {
  const { gain, offset, scale, samplesPerRecord } = file.channels[channel]!;
  const { start } = file.signals[file.sources[channel]!]!;
  const { bytes } = file.at;
  for (let record = 0; record < file.nRecords; record++) {
    let from = sampleAt(file, record, start);
    let to = starts[record]! * stride + column;
    for (let k = 0; k < samplesPerRecord; k++) {
      const low = bytes[from]! | (bytes[from + 1]! << 8);
      const digital =
        file.sampleBytes === 2 ? (low << 16) >> 16 : ((low | (bytes[from + 2]! << 16)) << 8) >> 8;
      out[to] = bits === undefined ? (digital * gain + offset) * scale : digital & bits;
      from += file.sampleBytes;
      to += stride;
    }
  }
}

function triggersOf(
  file: Parsed,
  { trigger, triggerBits = TRIGGER_BITS }: LoadEdfOptions,
  where: string,
): RecordedEvent[] {
  if (trigger === "none") return [];
  const { channels } = file;
  const index = channels.findIndex(({ name, kind }) =>
    trigger === undefined ? kind === "stim" : name === trigger,
  );
  if (index < 0) {
    if (trigger === undefined) return [];
    throw new ArgumentError(
      `${where}: expected a channel as trigger, got ${JSON.stringify(trigger)}`,
    );
  }
  const { samplingRate, samplesPerRecord } = channels[index]!;
  const starts = startsOf(file, samplingRate, 1, where);
  const values = new Float64Array(starts.at(-1)! + samplesPerRecord);
  decode(file, index, starts, values, 1, 0, triggerBits);
  return triggerEvents(values, samplingRate);
}
