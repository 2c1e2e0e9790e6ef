import { existsSync } from "node:fs";
import { basename, extname } from "node:path";
import { FormatError } from "@penfield/core";
import { readNwb } from "../containers/nwb.ts";
import type { RecordedEvent } from "../types.ts";
import { loadBrainVision, readBrainVision } from "./brainVision.ts";
import type { Channel } from "./channels.ts";
import { loadEdf, readEdf } from "./edf.ts";
import { readEeglab } from "./eeglab.ts";
import { type FifContent, type FifInfo, readFif } from "./fif.ts";
import { loadFifRaw } from "./loadFif.ts";

/** What a file of recordings holds, in plain values that print and serialize as they are. */
export interface RecordingOutline {
  /** `FIF raw`, `EDF+C`, `BrainVision INT_16`, ... */
  readonly format: string;
  readonly channels: readonly {
    readonly name: string;
    readonly kind?: string | undefined;
    readonly unit?: string | undefined;
    readonly isBad?: boolean | undefined;
  }[];
  /** Hz. */
  readonly samplingRate?: number | undefined;
  /** Seconds; of epochs, of one. */
  readonly duration?: number | undefined;
  /** How many there are of each type. */
  readonly events: Readonly<Record<string, number>>;
  /** What a reader should know before using it. */
  readonly notes: readonly string[];
}

/**
 * Says what an electrophysiology file holds: FIF, EDF, BDF, BrainVision (`.vhdr`, or the `.eeg` or `.vmrk` beside it),
 * EEGLAB, NWB.
 *
 * @param path - The file; the format goes by its name.
 * @throws {FileError | FormatError} as the reader of its format; FormatError also for another ending.
 *
 * Cost: the file is read once or twice; nothing of its samples is kept.
 */
export async function inspectElectrophysiology(path: string): Promise<RecordingOutline> {
  const name = path.toLowerCase();
  if (/\.fif(\.gz)?$/.test(name)) return inspectFif(path);
  if (/\.(edf|bdf)$/.test(name)) return inspectEdf(path);
  if (/\.vhdr$/.test(name)) return inspectBrainVision(path);
  if (/\.(eeg|vmrk)$/.test(name)) {
    const header = path.slice(0, -extname(path).length);
    return inspectBrainVision(`${header}.vhdr`);
  }
  if (/\.(set|fdt)$/.test(name)) {
    const set = `${path.slice(0, -4)}.set`;
    return inspectEeglab(existsSync(set) ? set : path);
  }
  if (/\.nwb$/.test(name)) return inspectNwb(path);
  throw new FormatError(
    `inspectElectrophysiology: ${basename(path)}: expected .fif, .fif.gz, .edf, .bdf, .vhdr, .set or .nwb, got ${extname(path) || "no ending"}`,
    { hint: "inspectContainer says what .mat, .h5, .nc, .npz, .npy and .parquet files hold." },
  );
}

const plain = ({ name, kind, unit, isBad }: Channel): RecordingOutline["channels"][number] => ({
  name,
  ...(kind === undefined ? {} : { kind }),
  ...(unit === undefined ? {} : { unit }),
  ...(isBad ? { isBad } : {}),
});

function countsOf(events: readonly Pick<RecordedEvent, "type">[]): Record<string, number> {
  const counts: Record<string, number> = {};
  // A type may be called like a member of all objects.
  for (const { type } of events) counts[type] = Object.hasOwn(counts, type) ? counts[type]! + 1 : 1;
  return counts;
}

async function inspectFif(path: string): Promise<RecordingOutline> {
  const content = await readFif(path, { doing: "inspectElectrophysiology" });
  const format = `FIF ${content.kind}`;
  switch (content.kind) {
    case "raw": {
      const { info, nSamples } = content;
      const [first] = info.channels;
      const { events } = await loadFifRaw(path, { channels: [first!.name], keepBads: true });
      return {
        ...outlineOf(format, info, countsOf(events)),
        duration: nSamples / info.samplingRate,
        notes: [...notesOf(info), ...rawNotes(content)],
      };
    }
    case "epochs": {
      const { info, events, shape, metadata } = content;
      const types = Array.from({ length: events.nEvents }, (_, i) => {
        const code = events.data[3 * i + 2]!;
        return { type: events.names.get(code) ?? String(code) };
      });
      return {
        ...outlineOf(format, info, countsOf(types)),
        duration: shape[2] / info.samplingRate,
        notes: [
          `${shape[0]} epochs of ${shape[2]} samples from ${content.times[0]} s`,
          ...(metadata ? [`metadata: ${Object.keys(metadata[0] ?? {}).join(", ")}`] : []),
          ...notesOf(info),
        ],
      };
    }
    case "evoked": {
      const { info, evokeds } = content;
      return {
        ...outlineOf(format, info, {}),
        duration: evokeds[0]!.times.length / info.samplingRate,
        notes: [
          ...evokeds.map((e) => `${e.comment}: ${e.aspect} of ${e.nAverages}`),
          ...notesOf(info),
        ],
      };
    }
    case "covariance": {
      const { names, bads, nFree, isDiagonal } = content;
      return {
        format,
        channels: names.map((name) => (bads.includes(name) ? { name, isBad: true } : { name })),
        events: {},
        notes: [
          `${isDiagonal ? "diagonal, " : ""}${names.length} channels, ${nFree ?? "unknown"} degrees of freedom`,
        ],
      };
    }
    case "events": {
      const types = Array.from({ length: content.nEvents }, (_, i) => ({
        type: String(content.data[3 * i + 2]),
      }));
      return { format, channels: [], events: countsOf(types), notes: [] };
    }
    case "annotations": {
      const types = content.annotations.map(({ text }) => ({ type: text }));
      return { format, channels: [], events: countsOf(types), notes: [] };
    }
    case "projections":
      return {
        format,
        channels: [],
        events: {},
        notes: content.projections.map(({ name, nVectors }) => `${name}: ${nVectors} vectors`),
      };
  }
}

const outlineOf = (
  format: string,
  info: FifInfo,
  events: Record<string, number>,
): Omit<RecordingOutline, "notes"> => ({
  format,
  channels: info.channels.map(plain),
  samplingRate: info.samplingRate,
  events,
});

function notesOf({ projections, compensations, bads, lowpass, highpass }: FifInfo): string[] {
  const active = projections.filter(({ isActive }) => isActive).length;
  return [
    ...(highpass === undefined || lowpass === undefined
      ? []
      : [`filtered ${highpass} to ${lowpass} Hz`]),
    ...(bads.length > 0 ? [`bad channels: ${bads.join(", ")}`] : []),
    ...(projections.length > 0
      ? [`${projections.length} projections, ${active} of them applied`]
      : []),
    ...(compensations.length > 0
      ? [`${compensations.length} CTF compensation tables, read but never applied here`]
      : []),
  ];
}

function rawNotes({ isShielded, parts, nSkipped }: Extract<FifContent, { kind: "raw" }>): string[] {
  return [
    ...(parts.length > 1 ? [`in ${parts.length} parts: ${parts.join(", ")}`] : []),
    ...(nSkipped > 0 ? [`${nSkipped} samples in gaps, given as zeros`] : []),
    ...(isShielded ? ["taken with internal active shielding: clean it before use"] : []),
  ];
}

async function inspectEdf(path: string): Promise<RecordingOutline> {
  const { format, channels, nRecords, recordSeconds, recordOnsets, annotations, notes } =
    await readEdf(path);
  const base = { format, channels: channels.map(plain), notes };
  const duration = (recordOnsets.at(-1) ?? 0) + recordSeconds;
  // Some files hold annotations only.
  const [first] = channels;
  if (!first) return { ...base, duration: nRecords * recordSeconds, events: countsOf(annotations) };
  const { events } = await loadEdf(path, {
    channels: [first.name],
    samplingRate: first.samplingRate,
  });
  const rates = new Map<number, number>();
  for (const { samplingRate } of channels) {
    rates.set(samplingRate, (rates.get(samplingRate) ?? 0) + 1);
  }
  const [[samplingRate]] = [...rates].sort((a, b) => b[1] - a[1] || b[0] - a[0]) as [
    [number, number],
  ];
  return { ...base, samplingRate, duration, events: countsOf(events) };
}

async function inspectBrainVision(path: string): Promise<RecordingOutline> {
  const { channels, format, samplingRate } = await readBrainVision(path);
  const { data, events } = await loadBrainVision(path, { channels: [channels[0]!.name] });
  return {
    format: `BrainVision ${format}`,
    channels: channels.map(plain),
    samplingRate,
    duration: data.shape[0] / samplingRate,
    events: countsOf(events),
    notes: [],
  };
}

async function inspectEeglab(path: string): Promise<RecordingOutline> {
  const { channels, samplingRate, nEpochs, nTimes, firstTime, events } = await readEeglab(path);
  return {
    format: nEpochs > 1 ? "EEGLAB epochs" : "EEGLAB",
    channels: channels.map(plain),
    samplingRate,
    duration: nTimes / samplingRate,
    events: countsOf(events),
    notes: nEpochs > 1 ? [`${nEpochs} epochs of ${nTimes} samples from ${firstTime} s`] : [],
  };
}

async function inspectNwb(path: string): Promise<RecordingOutline> {
  const { version, series, events, units, subject } = await readNwb(path);
  const [only] = series.length === 1 ? series : [];
  const rate = only?.samplingRate;
  return {
    format: `NWB ${version}`,
    channels: series.map(({ path: name, type, unit }) => plain({ name, kind: type, unit })),
    samplingRate: rate,
    duration: rate === undefined ? undefined : only!.shape[0]! / rate,
    events: countsOf(events),
    notes: [
      ...series.map(({ path: name, shape }) => `${name}: [${shape.join(", ")}]`),
      ...(units.length > 0 ? [`${units.length} sorted units`] : []),
      ...(subject === undefined ? [] : [`subject ${subject}`]),
    ],
  };
}
