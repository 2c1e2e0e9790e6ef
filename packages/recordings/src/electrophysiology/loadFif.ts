import { basename } from "node:path";
import {
  ArgumentError,
  DataError,
  FormatError,
  type LongWork,
  sha256File,
  tensor,
  throwIfAborted,
} from "@penfield/core";
import type { RecordedEvent, TimedRecording, TimeSeries } from "../types.ts";
import { type ChannelOptions, pickChannels, targetsOf } from "./channels.ts";
import { repeatsOf } from "./epochs.ts";
import { type FifContent, type FifEvoked, type FifInfo, type FifRaw, readFif } from "./fif.ts";
import { tagNumbers } from "./fifTree.ts";
import { projectionBasis, takeOut } from "./projector.ts";
import { GAP, sortedEvents, triggerEvents } from "./triggers.ts";

/** Options of the functions that load FIF files. */
export interface LoadFifOptions extends ChannelOptions, LongWork {
  /** Whether projections that were not applied yet are applied. Default false. */
  readonly applyProjections?: boolean | undefined;
  /** Default: the file's name. */
  readonly name?: string | undefined;
}

/** Options of `loadFifRaw`. */
export interface LoadFifRawOptions extends LoadFifOptions {
  /**
   * The channel whose rises become events, or `none`. Default: the first of `STI 014`, `STI101`, `STI 101` that is
   * there, else the only channel of kind `stim`.
   */
  readonly trigger?: string | undefined;
}

/** Gaps are believed up to this many times the recorded time. */
const LARGEST_GAP_SHARE = 100;
const LARGEST_BYTES = 2 ** 32;

/**
 * Loads a continuous FIF recording, with all parts of a split one. Values are in SI units (V, T, T/m) as float64,
 * gaps are zeros (as in MNE) and an event `BAD_ACQ_SKIP`. Events are annotations and rises of the trigger channel. CTF compensation is not applied.
 *
 * @param path - The first file, `.fif` or `.fif.gz`.
 * @param options - Which channels, whether to apply projections, the trigger channel.
 * @returns `[nTimes, nTargets]`; positions in millimetres; targets without bad channels unless `keepBads`.
 * @throws {FileError | FormatError} as `readFif`; FormatError also if the file holds no raw data.
 * @throws {ArgumentError} if a channel is none of the file's.
 *
 * Cost: the files in memory, and 8 bytes per sample and target.
 * Source: values equal MNE-Python's `read_raw_fif(path).get_data()` bit for bit.
 */
export async function loadFifRaw(
  path: string,
  { trigger, ...options }: LoadFifRawOptions = {},
): Promise<TimeSeries> {
  const raw = await contentOf(path, "raw", "loadFifRaw", options);
  const where = `loadFifRaw: ${basename(path)}`;
  const { info, nSamples } = raw;
  const picks = pickChannels(info.channels, options, where);
  const triggerIndex = findTrigger(info, trigger, where);
  if (
    raw.nSkipped > LARGEST_GAP_SHARE * (nSamples - raw.nSkipped) ||
    nSamples * picks.length * 8 > LARGEST_BYTES
  ) {
    throw new FormatError(
      `${where}: expected at most ${LARGEST_BYTES} bytes of values and gaps of at most ${LARGEST_GAP_SHARE} times the data, got [${nSamples}, ${picks.length}] with ${raw.nSkipped} samples in gaps`,
      { hint: "Keep fewer channels." },
    );
  }
  const { data, triggers } = decode(raw, picks, triggerIndex, options);
  const { targets, unit } = targetsOf(info.channels, picks);
  return {
    name: options.name ?? basename(path),
    simulated: false,
    targets,
    unit,
    sha256: await sha256File(path),
    data: tensor(data, ["time", "target"], [nSamples, picks.length]),
    samplingRate: info.samplingRate,
    events: sortedEvents([
      ...annotationEvents(raw),
      ...gapEvents(raw),
      ...(triggers ? triggerEvents(triggers, info.samplingRate) : []),
    ]),
  };
}

type Kinds = FifContent["kind"];

async function contentOf<K extends Kinds>(
  path: string,
  kind: K,
  doing: string,
  { signal }: LongWork,
): Promise<Extract<FifContent, { kind: K }>> {
  const content = await readFif(path, { signal, doing });
  if (content.kind === kind) return content as Extract<FifContent, { kind: K }>;
  throw new FormatError(
    `${doing}: ${basename(path)}: expected a file with ${kind}, got one with ${content.kind}`,
    { hint: "readFif reads every kind of FIF file." },
  );
}

const USUAL_TRIGGERS = ["STI 014", "STI101", "STI 101"];

function findTrigger(info: FifInfo, name: string | undefined, where: string): number | undefined {
  if (name === "none") return undefined;
  const names = info.channels.map((channel) => channel.name);
  if (name !== undefined) {
    const index = names.indexOf(name);
    if (index >= 0) return index;
    throw new ArgumentError(`${where}: expected a channel as trigger, got ${JSON.stringify(name)}`);
  }
  const usual = USUAL_TRIGGERS.find((one) => names.includes(one));
  if (usual !== undefined) return names.indexOf(usual);
  const stim = info.channels.flatMap(({ kind }, i) => (kind === "stim" ? [i] : []));
  return stim.length === 1 ? stim[0] : undefined;
}

/** All channels of a sample are needed where projections are applied; else only those that are wanted. */
function decode(
  { info, buffers, trees, nSamples }: FifRaw,
  picks: readonly number[],
  triggerIndex: number | undefined,
  { applyProjections = false, signal, onProgress }: LoadFifOptions,
): { data: Float64Array; triggers: Float64Array | undefined } {
  const nChannels = info.channels.length;
  const scales = Float64Array.from(info.channels, (c) => c.range * c.calibration);
  const basis = applyProjections ? basisOf(info) : [];
  const data = new Float64Array(nSamples * picks.length);
  const triggers = triggerIndex === undefined ? undefined : new Float64Array(nSamples);
  const row = new Float64Array(nChannels);
  let sample = 0;
  for (const { tag, part, nSamples: n } of buffers) {
    throwIfAborted(signal, "loadFifRaw");
    const values = tag && tagNumbers(trees[part]!, tag);
    for (let t = 0; values && t < n; t++) {
      const from = t * nChannels;
      const to = (sample + t) * picks.length;
      if (triggers) triggers[sample + t] = values[from + triggerIndex!]! * scales[triggerIndex!]!;
      if (basis.length === 0) {
        for (let k = 0; k < picks.length; k++) {
          data[to + k] = values[from + picks[k]!]! * scales[picks[k]!]!;
        }
        continue;
      }
      for (let i = 0; i < nChannels; i++) row[i] = values[from + i]! * scales[i]!;
      for (const unit of basis) takeOut(row, unit);
      for (let k = 0; k < picks.length; k++) data[to + k] = row[picks[k]!]!;
    }
    sample += n;
    onProgress?.({ stage: "reading samples", done: sample, total: nSamples, unit: "samples" });
  }
  return { data, triggers };
}

const basisOf = ({ projections, channels }: FifInfo): Float64Array[] =>
  projectionBasis(
    projections.filter((projection) => !projection.isActive),
    channels,
  );

/** Onsets in the file count from its origin, or (without one) from the date of measurement. */
function annotationEvents({ info, annotations, firstSample }: FifRaw): RecordedEvent[] {
  const firstTime = firstSample / info.samplingRate;
  return annotations.map(({ onset, duration, text, origin }) => {
    let from = 0;
    if (info.measuredAt === undefined) from = firstTime;
    else if (origin !== undefined) from = firstTime - (origin - info.measuredAt);
    return { onset: onset - from, duration, type: text };
  });
}

function gapEvents({ buffers, info }: FifRaw): RecordedEvent[] {
  const events: RecordedEvent[] = [];
  let sample = 0;
  for (const { tag, nSamples } of buffers) {
    if (!tag) {
      const [onset, duration] = [sample / info.samplingRate, nSamples / info.samplingRate];
      events.push({ onset, duration, type: GAP });
    }
    sample += nSamples;
  }
  return events;
}

/** Options of `loadFifEpochs`. */
export interface LoadFifEpochsOptions extends LoadFifOptions {
  /** The column of the epochs' metadata that names stimuli. Default: the names of their events, else the codes. */
  readonly stimuli?: string | undefined;
}

/**
 * Loads a FIF file of epochs. Epochs of one stimulus become its repeats; NaN fills up where others have more.
 *
 * @param path - The file.
 * @param options - Which channels, projections, and what names a stimulus.
 * @returns `[nRepeats, nStimuli, nTargets, nTimes]`, float64, SI units.
 * @throws {FileError | FormatError} as `readFif`; FormatError also if the file holds no epochs.
 * @throws {DataError} if there are none, or no metadata although a column is asked for.
 *
 * Source: values equal MNE-Python's `read_epochs(path).get_data()` bit for bit.
 */
export async function loadFifEpochs(
  path: string,
  { stimuli, ...options }: LoadFifEpochsOptions = {},
): Promise<TimedRecording> {
  const content = await contentOf(path, "epochs", "loadFifEpochs", options);
  const where = `loadFifEpochs: ${basename(path)}`;
  const { info, shape, events, metadata, times } = content;
  if (shape[0] === 0) throw new DataError(`${where}: expected epochs, got none`);
  if (stimuli !== undefined && metadata?.[0]?.[stimuli] === undefined) {
    const columns = Object.keys(metadata?.[0] ?? {}).join(", ");
    throw new DataError(
      `${where}: expected a column ${JSON.stringify(stimuli)} in the epochs' metadata, got ${columns || "no metadata"}`,
    );
  }
  const ids = Array.from({ length: shape[0] }, (_, i) => {
    if (stimuli !== undefined) return metadata?.[i]?.[stimuli] ?? "";
    const code = events.data[3 * i + 2]!;
    return events.names.get(code) ?? String(code);
  });
  return {
    ...(await trialsOf(path, where, content.data, shape, ids, info, options)),
    times,
  };
}

/** What epochs and evoked responses have in common: channels picked, projections applied, repeats of one stimulus together. */
async function trialsOf(
  path: string,
  where: string,
  data: Float64Array,
  shape: readonly [number, number, number],
  ids: readonly string[],
  info: FifInfo,
  options: LoadFifOptions,
): Promise<Omit<TimedRecording, "times">> {
  const picks = pickChannels(info.channels, options, where);
  const values = options.applyProjections ? projected(data, shape, info) : data;
  return {
    name: options.name ?? basename(path),
    simulated: false,
    ...targetsOf(info.channels, picks),
    sha256: await sha256File(path),
    ...repeatsOf(values, shape, ids, picks, where),
    samplingRate: info.samplingRate,
  };
}

function projected(
  data: Float64Array,
  [nEpochs, nChannels, nTimes]: readonly [number, number, number],
  info: FifInfo,
): Float64Array {
  const basis = basisOf(info);
  const out = data.slice();
  const column = new Float64Array(nChannels);
  for (let e = 0; e < nEpochs; e++) {
    for (let t = 0; t < nTimes; t++) {
      for (let c = 0; c < nChannels; c++) column[c] = data[(e * nChannels + c) * nTimes + t]!;
      for (const unit of basis) takeOut(column, unit);
      for (let c = 0; c < nChannels; c++) out[(e * nChannels + c) * nTimes + t] = column[c]!;
    }
  }
  return out;
}

/** Options of `loadFifEvoked`. */
export interface LoadFifEvokedOptions extends LoadFifOptions {
  /** Which aspect: `average` (default), `standard error`, ... */
  readonly aspect?: string | undefined;
}

/**
 * Loads the evoked responses of a FIF file: one stimulus per condition, one repeat.
 *
 * @param path - The file.
 * @param options - Which channels, projections and aspect.
 * @returns `[1, nConditions, nTargets, nTimes]`, float64, SI units; stimulus ids are the conditions' comments.
 * @throws {FileError | FormatError} as `readFif`; FormatError also if the file holds no evoked responses.
 * @throws {DataError} if none has that aspect, two have one comment, or they differ in times.
 *
 * Source: values equal MNE-Python's `read_evokeds(path)` bit for bit.
 */
export async function loadFifEvoked(
  path: string,
  { aspect = "average", ...options }: LoadFifEvokedOptions = {},
): Promise<TimedRecording> {
  const { info, evokeds } = await contentOf(path, "evoked", "loadFifEvoked", options);
  const where = `loadFifEvoked: ${basename(path)}`;
  const wanted = evokeds.filter((evoked) => evoked.aspect === aspect);
  const [first] = wanted;
  if (!first) {
    const aspects = [...new Set(evokeds.map((evoked) => evoked.aspect))].join(", ");
    throw new DataError(`${where}: expected responses of aspect ${aspect}, got ${aspects}`);
  }
  const ids = wanted.map(({ comment }) => comment);
  const same = ({ times, channels }: FifEvoked): boolean =>
    times.length === first.times.length &&
    channels.length === first.channels.length &&
    times.every((t, i) => t === first.times[i]);
  const other = wanted.find((evoked) => !same(evoked));
  if (other || new Set(ids).size !== ids.length) {
    throw new DataError(
      `${where}: expected responses with the same times and different comments, got ${ids.join(", ")}`,
      { hint: "readFif gives each of them." },
    );
  }
  const shape = [wanted.length, first.channels.length, first.times.length] as const;
  const all = new Float64Array(shape[0] * shape[1] * shape[2]);
  wanted.forEach(({ data }, k) => {
    all.set(data, k * shape[1] * shape[2]);
  });
  const { channels, times } = first;
  return {
    ...(await trialsOf(path, where, all, shape, ids, { ...info, channels }, options)),
    times,
  };
}
