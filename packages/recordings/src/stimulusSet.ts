import { DataError } from "@penfield/core";
import { type Input, openInput } from "./input.ts";
import type { Loader } from "./source.ts";
import {
  falseBeliefStimuli,
  langlocStimuli,
  pereiraStimuli,
  stimuliFromTable,
  textStimuli,
} from "./stimulusLoaders.ts";
import { taskStimuli } from "./taskLoaders.ts";

/** One input item. */
export interface Stimulus {
  readonly id: string;
  readonly text: string;
  readonly condition?: string | undefined;
  /** Whatever else the set says about it, as text. */
  readonly columns: Readonly<Record<string, string>>;
}

/** Stimuli with what a report must say about them. */
export interface StimulusSet {
  readonly name: string;
  readonly title: string;
  readonly licence: string;
  /** Of the data file; of several files, of the list of their hashes and names. */
  readonly sha256: string;
  readonly citation?: string | undefined;
  /** The contrast that the set was made for. */
  readonly contrast?: { readonly positive: string; readonly negative: string } | undefined;
  readonly stimuli: readonly Stimulus[];
}

const readers: Record<Loader, (input: Input) => readonly Stimulus[]> = {
  "stimuli-tsv": stimuliFromTable,
  "langloc-csv": langlocStimuli,
  "false-belief-zip": falseBeliefStimuli,
  "pereira180-csv": pereiraStimuli,
  "text-jsonl": textStimuli,
  "blimp-jsonl": taskStimuli,
  "continuation-jsonl": taskStimuli,
  syntaxgym: taskStimuli,
};

const usualContrasts: Partial<Record<Loader, { positive: string; negative: string }>> = {
  "langloc-csv": { positive: "S", negative: "N" },
  "false-belief-zip": { positive: "belief", negative: "photo" },
};

/**
 * Reads a set of stimuli from a folder or a file: `stimuli.tsv`, the published language localizer
 * (CSV), the published false-belief localizer (zip), the sentences of Pereira et al. 2018, passages
 * (JSON Lines), and tasks (each good and bad text, or each condition, becomes a stimulus). The form is
 * what `source.json` says, or else is seen from the content.
 *
 * @param path - A folder, or one file.
 * @throws {FileError} if it cannot be read.
 * @throws {DataError} with file and line: nothing in it, a missing column, an empty text, an id twice.
 * @throws {FormatError} with file and line, if the content is not what its form promises.
 */
export async function loadStimulusSet(path: string): Promise<StimulusSet> {
  const input = await openInput(path, "loadStimulusSet");
  const stimuli = readers[input.loader](input);
  checkIds(stimuli, path);
  const { source } = input;
  return {
    name: input.name,
    title: source?.title ?? input.name,
    licence: source?.licence ?? "unknown",
    sha256: input.sha256,
    citation: source?.citation,
    contrast: source?.contrast ?? usualContrasts[input.loader],
    stimuli,
  };
}

function checkIds(stimuli: readonly Stimulus[], path: string): void {
  const seen = new Set<string>();
  for (const { id } of stimuli) {
    if (seen.has(id)) {
      throw new DataError(
        `loadStimulusSet: ${path}: expected each id once, got ${JSON.stringify(id)} twice`,
        { hint: "Give every stimulus an id of its own." },
      );
    }
    seen.add(id);
  }
}

/** The two sides of a contrast. */
export interface StimulusContrast {
  readonly positive: readonly Stimulus[];
  readonly negative: readonly Stimulus[];
  /** Where they stand in the set. */
  readonly positiveIndices: Int32Array;
  readonly negativeIndices: Int32Array;
  readonly conditions: { readonly positive: string; readonly negative: string };
}

/**
 * Splits a set into the condition of interest and its control.
 *
 * @param set - Stimuli with conditions.
 * @param positive - Condition of interest. Default: what the set says.
 * @param negative - Control condition. Default: what the set says.
 * @throws {DataError} if the set names no contrast and none is given, the two are the same, or a
 *   condition has fewer than 2 stimuli (a variance needs two).
 *
 * @example
 * const stimuli = ["a", "b", "c", "d"].map((id, i) => ({ id, text: id, condition: i < 2 ? "S" : "N", columns: {} }));
 * contrastSet({ name: "x", title: "x", licence: "MIT", sha256: "", stimuli }, "S", "N").negativeIndices.join() // => "2,3"
 */
export function contrastSet(
  set: StimulusSet,
  positive: string | undefined = set.contrast?.positive,
  negative: string | undefined = set.contrast?.negative,
): StimulusContrast {
  const counts = new Map<string, number>();
  for (const { condition = "(none)" } of set.stimuli) {
    counts.set(condition, (counts.get(condition) ?? 0) + 1);
  }
  const has = [...counts].map(([name, n]) => `${name} (${n})`).join(", ");
  if (positive === undefined || negative === undefined) {
    throw new DataError(
      `contrastSet: ${set.name}: expected two conditions to set against each other, got none named`,
      { hint: `Name two of the conditions of the set: ${has}.` },
    );
  }
  if (positive === negative) {
    throw new DataError(
      `contrastSet: ${set.name}: expected two different conditions, got ${JSON.stringify(positive)} twice`,
    );
  }
  for (const condition of [positive, negative]) {
    const n = counts.get(condition) ?? 0;
    if (n < 2) {
      throw new DataError(
        `contrastSet: ${set.name}: expected at least 2 stimuli of condition ${JSON.stringify(condition)}, got ${n}`,
        { hint: `The set has ${has}.` },
      );
    }
  }
  const indices = (condition: string): Int32Array =>
    Int32Array.from(
      set.stimuli.flatMap((stimulus, i) => (stimulus.condition === condition ? [i] : [])),
    );
  const positiveIndices = indices(positive);
  const negativeIndices = indices(negative);
  return {
    positive: Array.from(positiveIndices, (i) => set.stimuli[i]!),
    negative: Array.from(negativeIndices, (i) => set.stimuli[i]!),
    positiveIndices,
    negativeIndices,
    conditions: { positive, negative },
  };
}
