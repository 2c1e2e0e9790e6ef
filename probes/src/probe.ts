import type { LongWork } from "@penfield/core";
import type { UnitKind } from "@penfield/localize";
import type { Report, ReportArray, Table } from "@penfield/report";
import type { WorkStore } from "./workStore.ts";

/** What a user may set; every probe reads what concerns it. */
export interface ProbeSettings {
  /** Folder, .onnx file or hub id; a model that ships with Penfield by its name. */
  readonly model: string;
  /** Which of several ONNX files of the model. */
  readonly file?: string | undefined;
  readonly units: UnitKind;
  readonly seed: number;
  /** Localizer stimuli: a folder or file; default: Penfield's own. */
  readonly stimuli?: string | undefined;
  /** Conditions of the stimuli to set against each other; default: what the set says. */
  readonly positive?: string | undefined;
  readonly negative?: string | undefined;
  /** Folders or files with tasks; default: Penfield's own. */
  readonly tasks: readonly string[];
  readonly recordings?: string | undefined;
  /** The stimuli that the recording was made with. */
  readonly recordingStimuli?: string | undefined;
  /** Column of the recording's stimuli that holds its row names; several stimuli of one name are averaged. */
  readonly recordingKey?: string | undefined;
  /** Column whose equal values (story, run) are never on both sides of a split; default: contiguous folds. */
  readonly recordingGroups?: string | undefined;
  readonly percent: number;
  readonly doses: readonly number[];
  readonly nRandom: number;
  readonly pooling: "last-token" | "mean";
  /** Tokens kept of each localizer stimulus; undefined: all. */
  readonly maxTokens: number | undefined;
  /** Compare the magnitudes of activations (published) or their signed values. */
  readonly magnitude: boolean;
  /** Items taken of each group of a task; undefined: all. */
  readonly itemsPerGroup: number | undefined;
  readonly scoring: "sum" | "mean";
  readonly prependBos: boolean | undefined;
  readonly threads: number | undefined;
}

export interface ProbeContext extends LongWork {
  readonly settings: ProbeSettings;
  /** Keeps finished parts, so that an interrupted run can go on. */
  readonly work: WorkStore;
}

/** A finished experiment: what goes into the report's folder. */
export interface ProbeResult {
  readonly report: Report;
  readonly arrays: Readonly<Record<string, ReportArray>>;
  readonly tables: Readonly<Record<string, Table>>;
}

/** A runnable experiment. */
export interface Probe {
  readonly id: string;
  readonly title: string;
  readonly question: string;
  /** What one expects to see, before it is run; verdicts judge these in order. */
  readonly expectations: readonly string[];
  /** Settings that differ from the general defaults. */
  readonly defaults: Partial<ProbeSettings>;
  /** The probe brings its own model: naming another makes no sense. */
  readonly ownModel?: true;
  /** Folder name of the probe, with its README. */
  readonly folder: string;
  run(context: ProbeContext): Promise<ProbeResult>;
}

/** The settings that hold when a user sets nothing. */
export const defaultSettings: ProbeSettings = {
  model: "organism-a",
  units: "resid",
  seed: 42,
  tasks: [],
  percent: 1,
  doses: [0.125, 0.25, 0.5, 1, 2],
  nRandom: 10,
  pooling: "last-token",
  maxTokens: 12,
  magnitude: true,
  itemsPerGroup: undefined,
  scoring: "sum",
  prependBos: undefined,
  threads: undefined,
};
