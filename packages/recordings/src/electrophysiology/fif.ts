import { basename, dirname, join } from "node:path";
import { FormatError, type LongWork, throwIfAborted } from "@penfield/core";
import { failAt, int32, latin1, need } from "../containers/byteView.ts";
import { readLargeFile } from "../containers/largeFile.ts";
import {
  blocksOf,
  type FifBlock,
  type FifTag,
  type FifTree,
  matrixSizes,
  namesOf,
  readFifTree,
  tagNumber,
  tagNumbers,
  tagOf,
  tagText,
} from "./fifTree.ts";

const BLOCK = {
  measInfo: 101,
  raw: 102,
  evoked: 104,
  aspect: 105,
  continuous: 112,
  channelInfo: 113,
  events: 115,
  reference: 118,
  shieldedRaw: 119,
  shieldedAspect: 120,
  projection: 313,
  projectionItem: 314,
  covariance: 355,
  badChannels: 359,
  mneEvents: 361,
  compensation: 371,
  epochs: 373,
  annotations: 3810,
  metadata: 3811,
} as const;
const TAG = {
  role: 115,
  fileNumber: 117,
  fileName: 118,
  nChannels: 200,
  samplingRate: 201,
  channel: 203,
  measuredAt: 204,
  comment: 206,
  nAverages: 207,
  first: 208,
  last: 209,
  aspect: 210,
  lowpass: 219,
  highpass: 223,
  nSamples: 228,
  firstTime: 229,
  name: 233,
  channelName: 258,
  buffer: 300,
  skip: 301,
  epoch: 302,
  projectionKind: 3411,
  projectionVectors: 3415,
  projectionChannels: 3417,
  rowNames: 3502,
  columnNames: 3503,
  nameList: 3507,
  covarianceKind: 3530,
  covarianceSize: 3531,
  covariance: 3532,
  covarianceDiagonal: 3533,
  covarianceFree: 3536,
  projectionActive: 3560,
  eventList: 3561,
  onset: 3568,
  end: 3569,
  compensationKind: 3580,
  compensationData: 3581,
} as const;
const ROLE_NEXT = 2;

const KINDS: Readonly<Record<number, string>> = {
  2: "eeg",
  3: "stim",
  102: "bio",
  201: "mcg",
  202: "eog",
  301: "ref_meg",
  302: "emg",
  402: "ecg",
  502: "misc",
  602: "resp",
  802: "seeg",
  803: "dbs",
  900: "syst",
  902: "ecog",
  910: "ias",
  920: "exci",
  1100: "fnirs",
  1200: "temperature",
  1300: "gsr",
  1400: "eyetrack",
};
const UNITS: Readonly<Record<number, string>> = {
  1: "m",
  3: "s",
  4: "A",
  5: "K",
  7: "rad",
  101: "Hz",
  107: "V",
  109: "Ω",
  110: "S",
  112: "T",
  114: "°C",
  201: "T/m",
  202: "Am",
  210: "px",
};
const ASPECTS: Readonly<Record<number, string>> = {
  100: "average",
  101: "standard error",
  102: "single",
  103: "subaverage",
  104: "alternating subaverage",
  105: "sample",
  106: "power density",
  200: "dipole wave",
  1100: "low internal interference",
  1101: "high internal interference",
  1102: "gate",
};

/** A channel as the file describes it. */
export interface FifChannel {
  readonly name: string;
  /** `mag`, `grad`, `eeg`, `ref_meg`, `eog`, `stim`, `misc`, ...; `kind 123` where FIF's number has no name here. */
  readonly kind: string;
  /** Of the values as they are given: `V`, `T`, `T/m`, ... */
  readonly unit: string | undefined;
  /** Millimetres; MEG in the coordinates of the device, EEG of the head. */
  readonly position: readonly [number, number, number] | undefined;
  readonly isBad: boolean;
  /** Stored values times `range * calibration` are in `unit`. */
  readonly range: number;
  readonly calibration: number;
}

/** A signal-space projection: directions that are to be taken out of the data. */
export interface FifProjection {
  readonly name: string;
  /** Whether it was applied before the file was written. */
  readonly isActive: boolean;
  readonly channels: readonly string[];
  /** [nVectors, nChannels], row-major. */
  readonly vectors: Float64Array;
  readonly nVectors: number;
}

/** A table by which reference channels are subtracted from others (CTF). Read and named, never applied. */
export interface FifCompensation {
  /** 1 to 3 is CTF's gradient order. */
  readonly order: number;
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  /** As stored, [nRows, nColumns]. */
  readonly data: Float64Array;
}

/** What a file says about the measurement. */
export interface FifInfo {
  readonly channels: readonly FifChannel[];
  /** Hz. */
  readonly samplingRate: number;
  /** Hz. */
  readonly lowpass: number | undefined;
  readonly highpass: number | undefined;
  /** Seconds since 1970, UTC. */
  readonly measuredAt: number | undefined;
  readonly bads: readonly string[];
  readonly projections: readonly FifProjection[];
  readonly compensations: readonly FifCompensation[];
}

/** Something marked in a recording. */
export interface FifAnnotation {
  /** Seconds, from `origin` if the file has one, else from the first sample. */
  readonly onset: number;
  readonly duration: number;
  readonly text: string;
  /** Seconds since 1970. */
  readonly origin: number | undefined;
}

/** A piece of a raw recording; without a tag it is a gap, which reads as zeros. */
export interface FifBuffer {
  readonly part: number;
  readonly tag: FifTag | undefined;
  readonly nSamples: number;
}

export interface FifRaw {
  readonly kind: "raw";
  readonly info: FifInfo;
  /** Number of the first sample since the system was started. */
  readonly firstSample: number;
  readonly nSamples: number;
  readonly buffers: readonly FifBuffer[];
  readonly annotations: readonly FifAnnotation[];
  /** Taken with internal active shielding and not cleaned of it. */
  readonly isShielded: boolean;
  /** Names of the files of a split recording. */
  readonly parts: readonly string[];
  /** How many samples lie in gaps. */
  readonly nSkipped: number;
  /** The bytes that `buffers` lie in. */
  readonly trees: readonly FifTree[];
}

export interface FifEvents {
  readonly kind: "events";
  /** [nEvents, 3]: sample (counted as `firstSample`), value before, value. */
  readonly data: Int32Array;
  readonly nEvents: number;
  /** Names of values, as far as the file has them. */
  readonly names: ReadonlyMap<number, string>;
}

export interface FifEpochs {
  readonly kind: "epochs";
  readonly info: FifInfo;
  /** [nEpochs, nChannels, nTimes]. */
  readonly data: Float64Array;
  readonly shape: readonly [number, number, number];
  /** Seconds from the event, [nTimes]. */
  readonly times: Float64Array;
  readonly events: FifEvents;
  /** One row per epoch, as text. */
  readonly metadata: readonly Readonly<Record<string, string>>[] | undefined;
}

export interface FifEvokedSet {
  readonly kind: "evoked";
  readonly info: FifInfo;
  readonly evokeds: readonly FifEvoked[];
}

export interface FifEvoked {
  readonly comment: string;
  /** `average`, `standard error`, ... */
  readonly aspect: string;
  readonly nAverages: number;
  readonly channels: readonly FifChannel[];
  /** [nChannels, nTimes]. */
  readonly data: Float64Array;
  /** Seconds from the event, [nTimes]. */
  readonly times: Float64Array;
}

export interface FifCovariance {
  readonly kind: "covariance";
  readonly names: readonly string[];
  /** [nChannels, nChannels], or [nChannels] if it is diagonal. */
  readonly data: Float64Array;
  readonly isDiagonal: boolean;
  /** Degrees of freedom. */
  readonly nFree: number | undefined;
  readonly bads: readonly string[];
  readonly projections: readonly FifProjection[];
}

export interface FifAnnotations {
  readonly kind: "annotations";
  readonly annotations: readonly FifAnnotation[];
}

export interface FifProjections {
  readonly kind: "projections";
  readonly projections: readonly FifProjection[];
}

/** What a FIF file holds, the largest thing if several. */
export type FifContent =
  | FifRaw
  | FifEpochs
  | FifEvokedSet
  | FifCovariance
  | FifEvents
  | FifAnnotations
  | FifProjections;

/**
 * Reads a FIF file (Elekta, MEGIN, MNE), plain or `.gz`: raw recordings (all parts of a split one), epochs, evoked responses
 * of every aspect, covariances, events, annotations, projections. Values are in SI units: volts, teslas, T/m.
 *
 * Projections are read and not applied here (`loadFifRaw` and its like can); CTF compensation is read and never applied.
 *
 * @param path - The first file; the names of further parts are in it.
 * @param options - A signal to stop between parts.
 * @throws {FileError} if a file cannot be read (also a further part).
 * @throws {FormatError} with the offset, if it is no FIF file, is damaged or cut short, has complex data, or nothing that is read.
 *
 * Cost: the file in memory; raw data are decoded by `loadFifRaw` only.
 * Source: the FIFF tag structure. Checked against MNE-Python 1.13.
 */
export async function readFif(
  path: string,
  { signal, doing = "readFif" }: LongWork & { readonly doing?: string | undefined } = {},
): Promise<FifContent> {
  const tree = readFifTree(await readLargeFile(path, doing), { doing, file: basename(path) });
  const has = (kind: number): boolean => blocksOf(tree.root, kind).length > 0;
  if (has(BLOCK.epochs)) return readEpochs(tree);
  if (has(BLOCK.evoked)) return readEvokeds(tree);
  if (has(BLOCK.raw) || has(BLOCK.continuous) || has(BLOCK.shieldedRaw)) {
    return readRaw(tree, path, signal, doing);
  }
  if (has(BLOCK.covariance)) return readCovariance(tree);
  const events = readEvents(tree);
  if (events) return events;
  if (has(BLOCK.annotations)) {
    return { kind: "annotations", annotations: readAnnotations(tree) };
  }
  if (has(BLOCK.projection)) {
    return { kind: "projections", projections: readProjections(tree, tree.root) };
  }
  const kinds = [...new Set(tree.root.blocks.map((block) => block.kind))].join(", ");
  throw new FormatError(
    `${doing}: ${basename(path)}: expected raw data, epochs, evoked responses, a covariance, events, annotations or projections, got blocks ${kinds || "(none)"}`,
  );
}

function readInfo(tree: FifTree): FifInfo {
  const [block] = blocksOf(tree.root, BLOCK.measInfo);
  if (!block) return failAt(tree.at, 0, "a block of measurement info", "none");
  const longNames = readLongNames(tree, block);
  const [badBlock] = blocksOf(block, BLOCK.badChannels);
  const bads = renamed(namesOf(badBlock && tagText(tree, badBlock, TAG.nameList)), longNames);
  const channels = readChannels(tree, block, bads);
  const samplingRate = tagNumber(tree, block, TAG.samplingRate);
  if (samplingRate === undefined || !(samplingRate > 0)) {
    failAt(tree.at, 0, "a sampling rate above 0", `${samplingRate}`);
  }
  const nChannels = tagNumber(tree, block, TAG.nChannels);
  if (nChannels !== channels.length || nChannels < 1) {
    failAt(tree.at, 0, `${nChannels} channels, 1 or more`, `${channels.length}`);
  }
  const date = tagOf(block, TAG.measuredAt);
  const [seconds, micro] = date ? tagNumbers(tree, date) : [];
  return {
    channels,
    samplingRate,
    lowpass: tagNumber(tree, block, TAG.lowpass),
    highpass: tagNumber(tree, block, TAG.highpass),
    measuredAt: seconds === undefined ? undefined : seconds + (micro ?? 0) / 1e6,
    bads,
    projections: readProjections(tree, block).map((projection) => ({
      ...projection,
      channels: renamed(projection.channels, longNames),
    })),
    compensations: blocksOf(block, BLOCK.compensation).map((one) => {
      const { rows, columns, ...rest } = readCompensation(tree, one);
      return { ...rest, rows: renamed(rows, longNames), columns: renamed(columns, longNames) };
    }),
  };
}

const renamed = (
  names: readonly string[],
  longNames: ReadonlyMap<string, string>,
): readonly string[] => names.map((name) => longNames.get(name) ?? name);

/**
 * Names of more than 15 letters stand in blocks of their own, one per channel; the channel's own entry has a short
 * one, by which lists of channels call it.
 */
function readLongNames(tree: FifTree, block: FifBlock): ReadonlyMap<string, string> {
  const tags = block.tags.filter((tag) => tag.kind === TAG.channel);
  const blocks = block.blocks.filter((child) => child.kind === BLOCK.channelInfo);
  if (blocks.length !== tags.length) return new Map();
  const pairs = tags.flatMap((tag, i): [string, string][] => {
    need(tree.at, tag.start, 96, "a channel");
    const long = tagText(tree, blocks[i]!, TAG.channelName);
    return long ? [[latin1(tree.at, tag.start + 80, 16, "a name"), long]] : [];
  });
  return new Map(pairs);
}

function readChannels(tree: FifTree, block: FifBlock, bads: readonly string[]): FifChannel[] {
  const { at } = tree;
  const tags = block.tags.filter((tag) => tag.kind === TAG.channel);
  const longNames = readLongNames(tree, block);
  return tags.map((tag) => {
    need(at, tag.start, 96, "a channel");
    const float = (k: number): number => at.view.getFloat32(tag.start + k);
    const short = latin1(at, tag.start + 80, 16, "a name");
    const name = longNames.get(short) ?? short;
    const code = int32(at, tag.start + 8, "a channel");
    const unit = int32(at, tag.start + 72, "a channel");
    const position = [24, 28, 32].map((k) => 1000 * float(k)) as [number, number, number];
    const placed = position.every(Number.isFinite) && position.some((x) => x !== 0);
    return {
      name,
      kind: code === 1 ? (unit === 201 ? "grad" : "mag") : (KINDS[code] ?? `kind ${code}`),
      unit: UNITS[unit],
      position: placed ? position : undefined,
      isBad: bads.includes(name),
      range: float(12),
      calibration: float(16),
    };
  });
}

function readProjections(tree: FifTree, block: FifBlock): FifProjection[] {
  const [all] = blocksOf(block, BLOCK.projection);
  if (!all) return [];
  return blocksOf(all, BLOCK.projectionItem).map((item) => {
    const channels = namesOf(tagText(tree, item, TAG.projectionChannels));
    const tag = tagOf(item, TAG.projectionVectors);
    if (!tag) return failAt(tree.at, 0, "vectors of a projection", "none");
    const vectors = Float64Array.from(tagNumbers(tree, tag));
    const nVectors = channels.length === 0 ? 0 : vectors.length / channels.length;
    if (!Number.isInteger(nVectors)) {
      failAt(tree.at, tag.start, `vectors over ${channels.length} channels`, `${vectors.length}`);
    }
    const [rows, columns] = matrixSizes(tree.at, tag);
    const turned = rows === channels.length && columns === nVectors && rows !== columns;
    return {
      name: tagText(tree, item, TAG.comment) ?? tagText(tree, item, TAG.name) ?? "",
      isActive: tagNumber(tree, item, TAG.projectionActive) === 1,
      channels,
      vectors: turned ? transposed(vectors, channels.length, nVectors) : vectors,
      nVectors,
    };
  });
}

function transposed(x: Float64Array, nRows: number, nColumns: number): Float64Array {
  const out = new Float64Array(x.length);
  for (let i = 0; i < nRows; i++) {
    for (let j = 0; j < nColumns; j++) out[j * nRows + i] = x[i * nColumns + j]!;
  }
  return out;
}

/** CTF's own codes spell G1BR, G2BR, G3BR. */
const CTF_ORDERS: Readonly<Record<number, number>> = {
  1194410578: 1,
  1194476114: 2,
  1194541650: 3,
};

function readCompensation(tree: FifTree, block: FifBlock): FifCompensation {
  const matrix = [block, ...block.blocks].find((b) => tagOf(b, TAG.compensationData));
  const tag = matrix && tagOf(matrix, TAG.compensationData);
  const kind = tagNumber(tree, block, TAG.compensationKind) ?? 0;
  return {
    order: CTF_ORDERS[kind] ?? kind,
    rows: namesOf(matrix && tagText(tree, matrix, TAG.rowNames)),
    columns: namesOf(matrix && tagText(tree, matrix, TAG.columnNames)),
    data: tag ? Float64Array.from(tagNumbers(tree, tag)) : new Float64Array(0),
  };
}

function readAnnotations(tree: FifTree): FifAnnotation[] {
  const [block] = blocksOf(tree.root, BLOCK.annotations);
  if (!block) return [];
  const list = (kind: number): ArrayLike<number> => {
    const tag = tagOf(block, kind);
    return tag && tag.size > 0 ? tagNumbers(tree, tag) : [];
  };
  const onsets = list(TAG.onset);
  const ends = list(TAG.end);
  const texts = namesOf(tagText(tree, block, TAG.comment));
  if (ends.length !== onsets.length || texts.length !== onsets.length) {
    failAt(
      tree.at,
      0,
      `as many ends and texts as onsets of annotations, ${onsets.length}`,
      `${ends.length} and ${texts.length}`,
    );
  }
  const [seconds, micro] = Array.from(list(TAG.measuredAt));
  const origin = seconds === undefined ? undefined : seconds + (micro ?? 0) / 1e6;
  return Array.from(onsets, (onset, i) => ({
    onset,
    duration: ends[i]! - onset,
    text: texts[i]!,
    origin,
  }));
}

function readEvents(tree: FifTree): FifEvents | undefined {
  const blocks = [...blocksOf(tree.root, BLOCK.mneEvents), ...blocksOf(tree.root, BLOCK.events)];
  const block = blocks.find((one) => tagOf(one, TAG.eventList));
  const tag = block && tagOf(block, TAG.eventList);
  if (!tag) return undefined;
  const data = Int32Array.from(tagNumbers(tree, tag));
  if (data.length % 3 !== 0) failAt(tree.at, tag.start, "events of 3 numbers", `${data.length}`);
  const names = new Map<number, string>();
  for (const pair of (tagText(tree, block, TAG.comment) ?? "").split(";")) {
    const split = pair.lastIndexOf(":");
    const value = Number(pair.slice(split + 1));
    if (split > 0 && Number.isInteger(value)) names.set(value, pair.slice(0, split));
  }
  return { kind: "events", data, nEvents: data.length / 3, names };
}

function readCovariance(tree: FifTree): FifCovariance {
  const [block] = blocksOf(tree.root, BLOCK.covariance) as [FifBlock];
  const size = tagNumber(tree, block, TAG.covarianceSize) ?? 0;
  const full = tagOf(block, TAG.covariance);
  const tag = full ?? tagOf(block, TAG.covarianceDiagonal);
  if (!tag) return failAt(tree.at, 0, "values of a covariance", "none");
  const values = Float64Array.from(tagNumbers(tree, tag));
  const expected = full ? (size * (size + 1)) / 2 : size;
  if (values.length !== expected) {
    failAt(tree.at, tag.start, `${expected} values of a covariance`, `${values.length}`);
  }
  const [badBlock] = blocksOf(block, BLOCK.badChannels);
  return {
    kind: "covariance",
    names: namesOf(tagText(tree, block, TAG.rowNames)),
    data: full ? symmetric(values, size) : values,
    isDiagonal: !full,
    nFree: tagNumber(tree, block, TAG.covarianceFree),
    bads: namesOf(badBlock && tagText(tree, badBlock, TAG.nameList)),
    projections: readProjections(tree, block),
  };
}

/** The lower triangle is stored, row by row. */
function symmetric(triangle: Float64Array, n: number): Float64Array {
  const out = new Float64Array(n * n);
  let k = 0;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      out[i * n + j] = triangle[k]!;
      out[j * n + i] = triangle[k++]!;
    }
  }
  return out;
}

function readEpochs(tree: FifTree): FifEpochs {
  const info = readInfo(tree);
  const [block] = blocksOf(tree.root, BLOCK.epochs) as [FifBlock];
  const events = readEvents(tree) ?? {
    kind: "events" as const,
    data: new Int32Array(0),
    nEvents: 0,
    names: new Map<number, string>(),
  };
  const first = tagNumber(tree, block, TAG.first);
  const last = tagNumber(tree, block, TAG.last);
  const tag = tagOf(block, TAG.epoch);
  if (first === undefined || last === undefined || !tag) {
    return failAt(tree.at, 0, "first sample, last sample and data of epochs", "others");
  }
  const shape = [events.nEvents, info.channels.length, last - first + 1] as const;
  const data = Float64Array.from(tagNumbers(tree, tag));
  if (data.length !== shape[0] * shape[1] * shape[2]) {
    failAt(tree.at, tag.start, `[${shape.join(", ")}] values of epochs`, `${data.length}`);
  }
  scaleRows(data, info.channels, shape[2]);
  return {
    kind: "epochs",
    info,
    data,
    shape,
    times: timesOf(first, shape[2], info.samplingRate),
    events,
    metadata: readMetadata(tree),
  };
}

const timesOf = (first: number, n: number, rate: number): Float64Array =>
  Float64Array.from({ length: n }, (_, i) => (first + i) / rate);

/** Averages and epochs are stored in units of the calibration; the range belongs to the amplifier's integers. */
function scaleRows(data: Float64Array, channels: readonly FifChannel[], nTimes: number): void {
  for (let row = 0; row * nTimes < data.length; row++) {
    const scale = channels[row % channels.length]!.calibration;
    for (let t = row * nTimes; t < (row + 1) * nTimes; t++) data[t]! *= scale;
  }
}

function readMetadata(tree: FifTree): Readonly<Record<string, string>>[] | undefined {
  const [block] = blocksOf(tree.root, BLOCK.metadata);
  const text = block && tagText(tree, block, TAG.comment);
  if (!text) return undefined;
  try {
    const rows = JSON.parse(text) as Record<string, unknown>[];
    return rows.map((row) =>
      Object.fromEntries(Object.entries(row).map(([key, value]) => [key, String(value ?? "")])),
    );
  } catch (cause) {
    throw new FormatError(
      `${tree.at.doing}: ${tree.at.file}: expected metadata as JSON rows, got ${(cause as Error).message}`,
      { cause },
    );
  }
}

function readEvokeds(tree: FifTree): FifEvokedSet {
  const info = readInfo(tree);
  const evokeds = blocksOf(tree.root, BLOCK.evoked).flatMap((block) => {
    const own = readChannels(tree, block, info.bads);
    const channels = own.length > 0 ? own : info.channels;
    const aspects = [...blocksOf(block, BLOCK.aspect), ...blocksOf(block, BLOCK.shieldedAspect)];
    return aspects.map((aspect) => readEvoked(tree, info, channels, block, aspect));
  });
  if (evokeds.length === 0) failAt(tree.at, 0, "aspects of evoked responses", "none");
  return { kind: "evoked", info, evokeds };
}

function readEvoked(
  tree: FifTree,
  info: FifInfo,
  channels: readonly FifChannel[],
  block: FifBlock,
  aspect: FifBlock,
): FifEvoked {
  const rate = tagNumber(tree, block, TAG.samplingRate) ?? info.samplingRate;
  const tags = aspect.tags.filter((tag) => tag.kind === TAG.epoch);
  // One matrix, or (old) one vector per channel.
  const parts = tags.map((tag) => tagNumbers(tree, tag));
  const nValues = parts.reduce((sum, part) => sum + part.length, 0);
  const first = tagNumber(tree, block, TAG.first);
  const last = tagNumber(tree, block, TAG.last);
  const firstTime = tagNumber(tree, block, TAG.firstTime);
  const nSamples = tagNumber(tree, block, TAG.nSamples);
  const nTimes = nSamples ?? (first === undefined || last === undefined ? -1 : last - first + 1);
  if (nTimes < 0 || nValues !== nTimes * channels.length) {
    const where = tags[0]?.start ?? 0;
    failAt(tree.at, where, `[${channels.length}, ${nTimes}] values of a response`, `${nValues}`);
  }
  const data = new Float64Array(nValues);
  let offset = 0;
  for (const part of parts) {
    data.set(part, offset);
    offset += part.length;
  }
  scaleRows(data, channels, nTimes);
  const times =
    firstTime !== undefined && nSamples !== undefined
      ? Float64Array.from({ length: nTimes }, (_, i) => firstTime + i / rate)
      : timesOf(first ?? 0, nTimes, rate);
  const kind = tagNumber(tree, aspect, TAG.aspect) ?? 100;
  return {
    comment: tagText(tree, aspect, TAG.comment) ?? tagText(tree, block, TAG.comment) ?? "",
    aspect: ASPECTS[kind] ?? `aspect ${kind}`,
    nAverages: tagNumber(tree, aspect, TAG.nAverages) ?? 1,
    channels,
    data,
    times,
  };
}

const BYTES: Readonly<Record<number, number>> = { 2: 2, 3: 4, 4: 4, 5: 8, 16: 2 };
const MAX_PARTS = 1000;

async function readRaw(
  first: FifTree,
  path: string,
  signal: AbortSignal | undefined,
  doing: string,
): Promise<FifRaw> {
  const info = readInfo(first);
  const trees: FifTree[] = [first];
  const parts = [path];
  let start: number | undefined;
  const buffers: FifBuffer[] = [];
  let isShielded = false;
  for (let part = 0; part < trees.length; part++) {
    throwIfAborted(signal, doing);
    const tree = trees[part]!;
    const found = partOf(tree, part, info.channels.length);
    start ??= found.firstSample;
    isShielded ||= found.isShielded;
    buffers.push(...found.buffers);
    const next = nextPart(tree, parts.at(-1)!);
    if (next === undefined) continue;
    if (parts.includes(next) || parts.length >= MAX_PARTS) {
      failAt(tree.at, 0, "a next part that was not read before", basename(next));
    }
    const bytes = await readLargeFile(next, doing);
    const following = readFifTree(bytes, { doing, file: basename(next) });
    const names = readInfo(following).channels;
    if (names.some(({ name }, i) => name !== info.channels[i]?.name)) {
      failAt(following.at, 0, "the channels of the first part", "others");
    }
    trees.push(following);
    parts.push(next);
  }
  const sum = (list: readonly FifBuffer[]): number =>
    list.reduce((total, { nSamples }) => total + nSamples, 0);
  return {
    kind: "raw",
    info,
    firstSample: start ?? 0,
    nSamples: sum(buffers),
    buffers,
    annotations: readAnnotations(first),
    isShielded,
    parts: parts.map((part) => basename(part)),
    nSkipped: sum(buffers.filter((buffer) => buffer.tag === undefined)),
    trees,
  };
}

/** All samples of one file, gaps included. */
function partOf(
  tree: FifTree,
  part: number,
  nChannels: number,
): { firstSample: number; buffers: FifBuffer[]; isShielded: boolean } {
  const kinds = [BLOCK.raw, BLOCK.continuous, BLOCK.shieldedRaw];
  const block = kinds.map((kind) => blocksOf(tree.root, kind)[0]).find(Boolean);
  if (!block) return failAt(tree.at, 0, "raw data", "none");
  let firstSample = tagNumber(tree, block, TAG.first) ?? 0;
  const buffers: FifBuffer[] = [];
  let skip = 0;
  for (const tag of block.tags) {
    if (tag.kind === TAG.skip) skip = int32(tree.at, tag.start, "a skip");
    if (tag.kind !== TAG.buffer) continue;
    const bytes = BYTES[tag.type];
    if (bytes === undefined) {
      failAt(tree.at, tag.start, "data of type 2, 3, 4, 5 or 16", `type ${tag.type}`);
    }
    const nSamples = Math.floor(tag.size / (bytes * nChannels));
    // Skips count buffers. One before the first buffer moves the start.
    if (skip < 0 || skip * nSamples > 2 ** 31) {
      failAt(tree.at, tag.start, "a skip of 0 or more", `${skip} times ${nSamples} samples`);
    }
    if (skip > 0 && buffers.length === 0) firstSample += skip * nSamples;
    else if (skip > 0) buffers.push({ part, tag: undefined, nSamples: skip * nSamples });
    skip = 0;
    buffers.push({ part, tag, nSamples });
  }
  return { firstSample, buffers, isShielded: block.kind === BLOCK.shieldedRaw };
}

function nextPart(tree: FifTree, path: string): string | undefined {
  for (const block of blocksOf(tree.root, BLOCK.reference)) {
    if (tagNumber(tree, block, TAG.role) !== ROLE_NEXT) continue;
    const name = tagText(tree, block, TAG.fileName);
    // Only the name counts: a recording's parts lie in one folder.
    if (name) return join(dirname(path), basename(name));
    const number = tagNumber(tree, block, TAG.fileNumber);
    if (number !== undefined) {
      return path.replace(/(-\d+)?(\.fif(\.gz)?)$/, `-${number}$2`);
    }
  }
  return undefined;
}
