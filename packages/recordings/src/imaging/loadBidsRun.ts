import { ArgumentError, DataError, ShapeError } from "@penfield/core";
import type { RecordedEvent, TimeSeries } from "../types.ts";
import { type BidsName, inherited, parseBidsName, rawPath, readSidecar } from "./bids.ts";
import { type Confounds, readConfounds, readEventsTable } from "./bidsTables.ts";
import { type CiftiSeriesOptions, loadCiftiSeries } from "./cifti.ts";
import { inspectImaging } from "./inspectImaging.ts";
import { loadSurfaceSeries, type SurfaceSeriesOptions } from "./surface.ts";
import { loadVolumeSeries, type VolumeSeriesOptions } from "./volume.ts";

/** What `loadBidsRun` may be told. */
export interface LoadBidsRunOptions {
  /** How the image is read: as for `loadVolumeSeries`, `loadSurfaceSeries` or `loadCiftiSeries`, by its kind. */
  readonly volume?: Omit<VolumeSeriesOptions, "trSeconds" | "events"> | undefined;
  readonly surface?: Omit<SurfaceSeriesOptions, "trSeconds" | "events"> | undefined;
  readonly cifti?: Omit<CiftiSeriesOptions, "trSeconds" | "events"> | undefined;
  /** Seconds; settles what sidecar and header disagree on. Default: both, if they agree. */
  readonly trSeconds?: number | undefined;
  /** The events table; null: none. Default: the run's `_events.tsv`, where there is one. */
  readonly events?: string | null | undefined;
  /** Column of the events that becomes their type. Default `trial_type`. */
  readonly typeColumn?: string | undefined;
  /** Columns or patterns of the run's confounds table. Default: no confounds are read. */
  readonly confounds?: readonly string[] | undefined;
}

/** A run of a BIDS data set. */
export interface BidsRun extends TimeSeries {
  /** Of the same samples, if they were asked for. */
  readonly confounds: Confounds | undefined;
  /** Events that begin after the last sample has ended; they are among `events`. */
  readonly nLateEvents: number;
  /** Events before the first sample. */
  readonly nEarlyEvents: number;
  /** What was read, by role. */
  readonly files: {
    readonly image: string;
    readonly mask: string | undefined;
    readonly sidecars: readonly string[];
    readonly events: string | undefined;
    readonly confounds: string | undefined;
  };
}

/** TRs agree to the precision that headers are written with. */
const LARGEST_TR_DIFFERENCE_SECONDS = 1e-3;

/** Entities that a raw recording has; derivatives add others (space, desc, res, hemi). */
const RAW_ENTITIES = ["sub", "ses", "task", "acq", "ce", "rec", "dir", "run", "mod"];

/**
 * Reads one run of a BIDS data set: the image, its TR from sidecar and header, its events and confounds.
 *
 * The files beside the image are found by its name: the sidecars with inheritance, `_events.tsv` in the same
 * data set or, for a derivative, in the raw one; `_desc-confounds_timeseries.tsv` (or `_regressors.tsv`); and
 * for volumes without a mask or atlas the `_desc-brain_mask` of the same space. `files` says what was used.
 *
 * @param path - `..._bold.nii.gz`, `..._bold.func.gii` or `..._bold.dtseries.nii`, with a BIDS name.
 * @throws {FileError} if a file cannot be read. {FormatError} if one is damaged.
 * @throws {DataError} if sidecar and header have TRs that differ by more than 1 ms (with both), no TR is known, or
 *   the confounds asked for are not there.
 * @throws {ShapeError} if the confounds have another number of samples.
 * @throws {ArgumentError} if the name is not a BIDS name of a kind that can be read.
 *
 * Cost: that of the image's reader.
 *
 * @example
 * const run = await loadBidsRun("study/sub-01/func/sub-01_task-words_bold.nii.gz", { confounds: ["trans_*", "rot_*"] });
 * console.log(run.data.shape, run.events.length, run.nLateEvents, run.files);
 */
export async function loadBidsRun(
  path: string,
  options: LoadBidsRunOptions = {},
): Promise<BidsRun> {
  const doing = "loadBidsRun";
  const name = parseBidsName(path);
  const kind = name && KINDS.find(({ ending }) => ending.test(name.extension))?.kind;
  if (name === undefined || kind === undefined) {
    throw new ArgumentError(
      `${doing}: path: expected a BIDS name such as sub-01_task-rest_bold.nii.gz (.func.gii, .dtseries.nii, .ptseries.nii), got ${JSON.stringify(path)}`,
    );
  }
  const sidecar = await readSidecar(path);
  const trSeconds = await agreedTr(path, kind, sidecar.values["RepetitionTime"], options);
  const eventsFile =
    options.events === undefined
      ? await nearest(path, only(name, RAW_ENTITIES), "events")
      : (options.events ?? undefined);
  const { typeColumn } = options;
  const events: readonly RecordedEvent[] = eventsFile
    ? (await readEventsTable(eventsFile, { typeColumn })).events
    : [];
  const given = { subject: name.entities["sub"], trSeconds, events };
  let series: TimeSeries;
  let mask: string | undefined;
  if (kind === "volume") {
    const { volume } = options;
    mask =
      volume?.mask === undefined && volume?.atlas === undefined
        ? await brainMask(path, name)
        : undefined;
    series = await loadVolumeSeries(path, { mask, ...given, ...volume });
  } else if (kind === "surface") {
    series = await loadSurfaceSeries(path, {
      ...given,
      ...options.surface,
      trSeconds: tr(trSeconds, path),
    });
  } else {
    series = await loadCiftiSeries(path, { ...given, ...options.cifti });
  }
  const nTimes = series.data.shape[0];
  const end = nTimes / series.samplingRate;
  const confoundsFile = options.confounds && (await confoundsOf(path, name));
  const confounds =
    confoundsFile && (await readConfounds(confoundsFile, { columns: options.confounds }));
  if (confounds && confounds.data.shape[0] !== nTimes) {
    throw new ShapeError(
      `${doing}: ${confoundsFile}: expected ${nTimes} rows, one per sample of ${path}, got ${confounds.data.shape[0]}`,
    );
  }
  return {
    ...series,
    confounds: confounds || undefined,
    nLateEvents: events.filter(({ onset }) => onset >= end).length,
    nEarlyEvents: events.filter(({ onset }) => onset < 0).length,
    files: {
      image: path,
      mask: mask ?? (typeof options.volume?.mask === "string" ? options.volume.mask : undefined),
      sidecars: sidecar.files,
      events: eventsFile,
      confounds: confoundsFile,
    },
  };
}

const KINDS = [
  { ending: /^\.[dp]tseries\.nii$/, kind: "cifti" },
  { ending: /^\.nii(\.gz)?$/, kind: "volume" },
  { ending: /^(\.[a-z]+)?\.gii(\.gz)?$/, kind: "surface" },
] as const;

function tr(seconds: number | undefined, path: string): number {
  if (seconds !== undefined) return seconds;
  throw new DataError(`loadBidsRun: ${path}: expected RepetitionTime in a sidecar, got none`, {
    hint: "GIFTI has no agreed place for the TR: give it as trSeconds.",
  });
}

async function agreedTr(
  path: string,
  kind: (typeof KINDS)[number]["kind"],
  stated: unknown,
  { trSeconds }: LoadBidsRunOptions,
): Promise<number | undefined> {
  if (trSeconds !== undefined) return trSeconds;
  if (stated !== undefined && !(typeof stated === "number" && stated > 0)) {
    throw new DataError(
      `loadBidsRun: ${path}: expected RepetitionTime in seconds, got ${JSON.stringify(stated)}`,
    );
  }
  // GIFTI has no agreed place for it.
  const own = kind === "surface" ? undefined : (await inspectImaging(path)).tr;
  if (
    stated !== undefined &&
    own !== undefined &&
    !(Math.abs(stated - own) <= LARGEST_TR_DIFFERENCE_SECONDS)
  ) {
    throw new DataError(
      `loadBidsRun: ${path}: expected the header's TR to be the sidecar's RepetitionTime, ${stated} s, got ${own} s`,
      { hint: "Find out which is right and give it as trSeconds." },
    );
  }
  return stated ?? own;
}

const only = (name: BidsName, keys: readonly string[]): BidsName => ({
  ...name,
  entities: Object.fromEntries(Object.entries(name.entities).filter(([key]) => keys.includes(key))),
});

/** The most specific table of this suffix, in the file's own data set or the raw one. */
async function nearest(path: string, name: BidsName, suffix: string): Promise<string | undefined> {
  for (const place of [path, rawPath(path)]) {
    if (place === undefined) continue;
    const found = await inherited(place, { ...name, suffix, extension: ".tsv" });
    if (found.length > 0) return found.at(-1);
  }
  return undefined;
}

async function confoundsOf(path: string, name: BidsName): Promise<string> {
  const raw = only(name, RAW_ENTITIES);
  const wanted = { ...raw, entities: { ...raw.entities, desc: "confounds" } };
  for (const suffix of ["timeseries", "regressors"]) {
    const found = await inherited(path, { ...wanted, suffix, extension: ".tsv" });
    if (found.length > 0) return found.at(-1)!;
  }
  throw new DataError(
    `loadBidsRun: ${path}: expected the run's _desc-confounds_timeseries.tsv beside it, got none`,
    { hint: "Read another table with readConfounds." },
  );
}

async function brainMask(path: string, name: BidsName): Promise<string | undefined> {
  const entities: Readonly<Record<string, string>> = { ...name.entities, desc: "brain" };
  for (const extension of [".nii.gz", ".nii"]) {
    const found = await inherited(path, { entities, suffix: "mask", extension });
    const own = found.filter((file) => {
      const parsed = parseBidsName(file)!;
      // A mask of another space, or of no stated one, may lie elsewhere.
      return (
        parsed.entities["space"] === name.entities["space"] && parsed.entities["desc"] === "brain"
      );
    });
    const file = own.at(-1);
    if (file !== undefined) return file;
  }
  return undefined;
}
