import { basename } from "node:path";
import { ArgumentError, DataError, UsageError } from "@penfield/core";
import type { Linalg } from "@penfield/linalg";
import {
  concatenateRuns,
  epochs,
  eventAverages,
  glmBetas,
  loadAssembly,
  loadBrainVision,
  loadEdf,
  loadEeglab,
  loadEeglabEpochs,
  loadFifEpochs,
  loadFifRaw,
  loadNpzRecording,
  loadParquetRecording,
  loadRecording,
  loadStimulusSet,
  loadVolumeMaps,
  loadVolumeSeries,
  matchStimuli,
  type Recording,
  readEeglab,
  readEventsTable,
  type StimulusSet,
  type TimedRecording,
  type TimeSeries,
  timesAsTargets,
} from "@penfield/recordings";
import type { AlignSettings } from "./settings.ts";

/** A subject's responses, one row per stimulus. */
export interface Subject {
  readonly name: string;
  readonly recording: Recording;
  /** Of epochs: the times that were made targets; undefined for one value per stimulus. */
  readonly timed: TimedRecording | undefined;
  /** What the reader of a report must know. */
  readonly warnings: readonly string[];
}

/** The texts, and which of them each row of a recording is. */
export interface TextSide {
  readonly set: StimulusSet;
  /** The name that each text answers to; several may have one name. */
  readonly keys: readonly string[];
  /** Each name once, in the set's order. */
  readonly names: readonly string[];
}

const isImage = (path: string): boolean => /\.(nii(\.gz)?|hdr|img)$/i.test(path);

export async function openTexts({ stimuli, key }: AlignSettings): Promise<TextSide | undefined> {
  if (stimuli === undefined) return undefined;
  const set = await loadStimulusSet(stimuli);
  const keys = set.stimuli.map(({ id, columns }) =>
    key === undefined ? id : (columns[key] ?? ""),
  );
  if (keys.includes("")) {
    const columns = Object.keys(set.stimuli[0]?.columns ?? {}).join(", ") || "none";
    throw new ArgumentError(
      `align: expected the column ${JSON.stringify(key)} in every stimulus of ${set.name}, got columns ${columns}`,
      { hint: "Name one of them with --key, or leave it out to match by id." },
    );
  }
  return { set, keys, names: [...new Set(keys)] };
}

/** Reads every subject's files. */
export async function openSubjects(
  settings: AlignSettings,
  texts: TextSide | undefined,
  linalg: Linalg,
  signal: AbortSignal,
): Promise<readonly Subject[]> {
  const subjects: Subject[] = [];
  for (const [s, files] of settings.recordings.entries()) {
    const read = await openSubject(files, settings.events[s], settings, texts, linalg, signal);
    subjects.push(texts === undefined ? read : onlyCommon(read, texts, settings));
  }
  const names = subjects.map(({ name }) => name);
  return subjects.map((subject, s) => {
    const same = names.indexOf(subject.name) !== names.lastIndexOf(subject.name);
    return same ? { ...subject, name: `${subject.name} (${s + 1})` } : subject;
  });
}

async function openSubject(
  files: readonly string[],
  events: readonly string[] | undefined,
  settings: AlignSettings,
  texts: TextSide | undefined,
  linalg: Linalg,
  signal: AbortSignal,
): Promise<Subject> {
  const [first] = files as [string, ...string[]];
  const name = basename(first).replace(/(\.nii)?\.[^.]+$/, "");
  if (isImage(first)) {
    const { recording, warnings } = await openImages(files, events, settings, linalg, signal);
    return { name, recording: { ...recording, name }, timed: undefined, warnings };
  }
  if (files.length > 1) {
    throw new ArgumentError(
      `align: expected one file per subject unless they are images, got ${files.length} beginning with ${first}`,
      { hint: "Repeat --recordings for each subject; commas part the runs of images." },
    );
  }
  const timed = await openTimed(first, events, settings, signal);
  if (timed) {
    const { recording, warnings } = timed;
    return { name, recording: timesAsTargets(recording), timed: recording, warnings };
  }
  const held = await openContainer(first);
  if (held) return { name, recording: { ...held, name }, timed: undefined, warnings: [] };
  // A bare array has no names for its rows: they are those of the stimuli, in their order.
  const recording = await loadRecording(first, {
    ...(/\.npy$/i.test(first) && texts ? { stimuli: texts.names } : {}),
    ...(settings.targets === undefined ? {} : { targets: settings.targets }),
    missing: settings.missingValues,
    name,
  });
  return {
    name,
    recording,
    timed: undefined,
    warnings:
      recording.nMasked === undefined || recording.nMasked === 0
        ? []
        : [`${name}: ${recording.nMasked} targets without values were left out.`],
  };
}

/** Epochs, or a continuous recording cut into them; undefined for other files. */
async function openTimed(
  file: string,
  events: readonly string[] | undefined,
  { window, eventKey }: AlignSettings,
  signal: AbortSignal,
): Promise<{ recording: TimedRecording; warnings: readonly string[] } | undefined> {
  if (/[-_]epo\.fif(\.gz)?$/i.test(file)) {
    return { recording: await loadFifEpochs(file, { signal }), warnings: [] };
  }
  if (/\.set$/i.test(file) && (await readEeglab(file)).nEpochs > 1) {
    return { recording: await loadEeglabEpochs(file, { signal }), warnings: [] };
  }
  const load = CONTINUOUS.find(([ending]) => ending.test(file))?.[1];
  if (!load) return undefined;
  if (window === undefined) {
    throw new UsageError(
      `align: ${basename(file)}: expected --window FROM,TO, the seconds around each event, got none`,
      { hint: "For example --window -0.1,0.6: a continuous recording is cut into epochs." },
    );
  }
  const series = await load(file, { signal });
  const table = events ? await readEventsTable(events[0]!, { typeColumn: eventKey }) : undefined;
  const [from, to] = window;
  const cut = epochs(table ? { ...series, events: table.events } : series, {
    from,
    to,
    ...(from < 0 ? { baseline: [from, 0] as const } : {}),
  });
  const { outside, bad } = cut.nRejected;
  return {
    recording: cut.recording,
    warnings: [
      ...(outside + bad > 0
        ? [
            `${basename(file)}: ${outside} events lie too near an end and ${bad} in bad stretches; ${cut.nKept} epochs were kept.`,
          ]
        : []),
      ...(cut.lostStimuli.length > 0
        ? [`${basename(file)}: no epoch is left of ${some(cut.lostStimuli)}.`]
        : []),
    ],
  };
}

/** Continuous recordings, by the end of their names. */
const CONTINUOUS: readonly (readonly [
  RegExp,
  (path: string, options: { signal: AbortSignal }) => Promise<TimeSeries>,
])[] = [
  [/\.fif(\.gz)?$/i, loadFifRaw],
  [/\.(edf|bdf)$/i, loadEdf],
  [/\.vhdr$/i, loadBrainVision],
  [/\.set$/i, loadEeglab],
];

/** Files that hold one value for each stimulus and target, with their names; undefined for other files. */
async function openContainer(file: string): Promise<Recording | undefined> {
  if (/\.nc4?$/i.test(file)) return loadAssembly(file);
  if (/\.npz$/i.test(file)) return loadNpzRecording(file);
  if (/\.parquet$/i.test(file)) return loadParquetRecording(file);
  return undefined;
}

/** Runs of images with events: a response to each stimulus by regression; without: one map per stimulus. */
async function openImages(
  files: readonly string[],
  events: readonly string[] | undefined,
  settings: AlignSettings,
  linalg: Linalg,
  signal: AbortSignal,
): Promise<{ recording: Recording; warnings: readonly string[] }> {
  const { mask, atlas, labels, trSeconds, response, eventKey } = settings;
  const volume = { mask, atlas, labels, aggregate: "voxel" as const, signal };
  if (events === undefined) {
    const recording = await loadVolumeMaps(files.length === 1 ? files[0]! : files, volume);
    return { recording, warnings: masked(recording) };
  }
  const runs = [];
  const warnings: string[] = [];
  for (const [i, file] of files.entries()) {
    const table = await readEventsTable(events[i]!, { typeColumn: eventKey });
    const series = await loadVolumeSeries(file, { ...volume, trSeconds, events: table.events });
    const [nTimes] = series.data.shape;
    const end = nTimes / series.samplingRate;
    const late = table.events.filter(({ onset }) => onset >= end).length;
    if (late === table.events.length) {
      throw new DataError(
        `align: ${basename(events[i]!)}: expected events within the ${end.toFixed(1)} s of ${basename(file)}, got ${late} after its end`,
        { hint: "Onsets are in seconds from the first volume; --tr sets the repetition time." },
      );
    }
    if (late > 0) {
      warnings.push(
        `${basename(file)}: ${late} of ${table.events.length} events begin after its last volume and play no part.`,
      );
    }
    warnings.push(...masked(series));
    runs.push({ ...series, events: table.events.filter(({ onset }) => onset < end) });
  }
  const series = runs.length === 1 ? runs[0]! : concatenateRuns(withCommonTargets(runs, warnings));
  const recording =
    response === "glm" ? await glmBetas(series, { linalg, signal }) : eventAverages(series);
  return { recording, warnings };
}

/** Voxels that every run has: one that is constant in a single run is left out of all. */
function withCommonTargets(runs: readonly TimeSeries[], warnings: string[]): TimeSeries[] {
  const [first, ...others] = runs.map(({ targets }) => new Set(targets.map(({ id }) => id)));
  const common = new Set([...first!].filter((id) => others.every((ids) => ids.has(id))));
  if (runs.every(({ targets }) => targets.length === common.size)) return [...runs];
  warnings.push(`Only the ${common.size} voxels that vary in every run are scored.`);
  return runs.map((run) => {
    const keep = run.targets.flatMap(({ id }, t) => (common.has(id) ? [t] : []));
    const [nTimes, nTargets] = run.data.shape;
    const data = run.data.data.slice(0, nTimes * keep.length);
    for (let i = 0; i < nTimes; i++) {
      keep.forEach((t, at) => {
        data[i * keep.length + at] = run.data.data[i * nTargets + t]!;
      });
    }
    const { space } = run;
    return {
      ...run,
      targets: keep.map((t) => run.targets[t]!),
      data: { ...run.data, data, shape: [nTimes, keep.length] },
      ...(space
        ? { space: { ...space, indices: Int32Array.from(keep, (t) => space.indices[t]!) } }
        : {}),
    };
  });
}

function masked({ name, nMasked = 0 }: { name: string; nMasked?: number | undefined }): string[] {
  return nMasked === 0
    ? []
    : [`${name}: ${nMasked} voxels that never vary or hold NaN were left out.`];
}

/** Rows of a recording that have a text; which ones have none, and which texts no row. */
function onlyCommon(subject: Subject, texts: TextSide, { allowMissing }: AlignSettings): Subject {
  const { recording } = subject;
  const { recordingIndices, notRecorded, notInSet } = matchStimuli(texts.names, recording, {
    allowMissing,
  });
  if (notRecorded.length + notInSet.length === 0) return subject;
  const rows = Int32Array.from(recordingIndices);
  return {
    ...subject,
    recording: takeStimuli(recording, rows),
    warnings: [
      ...subject.warnings,
      `${subject.name}: ${rows.length} stimuli are scored; ${notInSet.length} recorded ones have no text (${some(notInSet)}), ${notRecorded.length} texts were not recorded (${some(notRecorded)}).`,
    ],
  };
}

const some = (names: readonly string[]): string =>
  names.length === 0 ? "-" : `${names.slice(0, 3).join(", ")}${names.length > 3 ? ", ..." : ""}`;

function takeStimuli(recording: Recording, rows: Int32Array): Recording {
  const { data, shape, ...rest } = recording.data;
  const [nRepeats, nStimuli, nTargets] = shape;
  const kept = data.slice(0, nRepeats * rows.length * nTargets);
  for (let r = 0; r < nRepeats; r++) {
    rows.forEach((row, i) => {
      const from = (r * nStimuli + row) * nTargets;
      kept.set(data.subarray(from, from + nTargets), (r * rows.length + i) * nTargets);
    });
  }
  return {
    ...recording,
    data: { ...rest, data: kept, shape: [nRepeats, rows.length, nTargets] },
    stimulusIds: Array.from(rows, (row) => recording.stimulusIds[row]!),
  };
}
