import {
  type CompareUnitSetsOptions,
  compareUnitSets,
  type EncodingScore,
  encodingScore,
  identify as identifyCandidates,
  ridgeMethod,
} from "@penfield/align";
import { type Activations, ArgumentError, takeColumns, takeRows, tensor } from "@penfield/core";
import { HookedModel } from "@penfield/hooks";
import { complementRandom, type LayerActivations, type UnitSet } from "@penfield/localize";
import { organismFolder } from "@penfield/organisms";
import {
  groupByStimulus,
  loadRecording,
  loadStimulusSet,
  matchStimuli,
  meanOverRepeats,
  type Recording,
  type StimulusSet,
  simulateRecording,
} from "@penfield/recordings";
import type { AlignmentSection, ReportStimuli } from "@penfield/report";
import { corpusFolder } from "./corpora.ts";
import type { ProbeContext } from "./probe.ts";
import { readUnitsOnce } from "./readUnits.ts";

/** A recording with, for each of its rows, the texts that were read in it. */
interface BrainData {
  readonly recording: Recording;
  readonly set: StimulusSet;
  /** Rows of `set` for each row of the recording. */
  readonly rows: readonly (readonly number[])[];
  /** Stimuli of one group are never on both sides of a split; undefined: contiguous folds. */
  readonly groups: readonly string[] | undefined;
  readonly warnings: readonly string[];
}

export interface Aligned {
  readonly section: AlignmentSection;
  readonly stimuli: readonly ReportStimuli[];
  readonly warnings: readonly string[];
}

/** Opens the recording that the settings name; without one, a simulated subject stands in. */
export async function openBrainData(context: ProbeContext): Promise<BrainData> {
  const { recordings, recordingStimuli, recordingKey, recordingGroups } = context.settings;
  if (recordings === undefined) return simulatedSubject(context);
  if (recordingStimuli === undefined) {
    throw new ArgumentError(
      "language-network: expected the stimuli of the recording, got only the recording",
      {
        hint: "Name them with --recording-stimuli.",
      },
    );
  }
  const set = await loadStimulusSet(recordingStimuli);
  const keys = set.stimuli.map(({ id, columns }) =>
    recordingKey === undefined ? id : (columns[recordingKey] ?? ""),
  );
  if (keys.includes("")) {
    const columns = Object.keys(set.stimuli[0]?.columns ?? {}).join(", ") || "none";
    throw new ArgumentError(
      `language-network: expected the column ${JSON.stringify(recordingKey)} in every stimulus of ${set.name}, got columns ${columns}`,
      {
        hint: "Name one of them with --recording-key, or leave it out to match by id.",
      },
    );
  }
  // A bare array has no names for its rows: they are those of the stimuli, in their order.
  const names = [...new Set(keys)];
  const recording = await loadRecording(
    recordings,
    recordings.toLowerCase().endsWith(".npy") ? { stimuli: names } : {},
  );
  const { setIndices, recordingIndices } = matchStimuli(names, recording);
  const rows: number[][] = Array.from({ length: recording.stimulusIds.length }, () => []);
  recordingIndices.forEach((row, i) => {
    const name = names[setIndices[i]!]!;
    rows[row] = keys.flatMap((key, stimulus) => (key === name ? [stimulus] : []));
  });
  const groups =
    recordingGroups === undefined
      ? undefined
      : groupsOf(rows, set, recordingGroups, recording.stimulusIds);
  return { recording, set, rows, groups, warnings: [] };
}

/** The group of each row of a recording: what the column says of its texts, which must agree. */
function groupsOf(
  rows: readonly (readonly number[])[],
  set: StimulusSet,
  column: string,
  names: readonly string[],
): string[] {
  return rows.map((texts, row) => {
    const values = new Set(texts.map((i) => set.stimuli[i]!.columns[column] ?? ""));
    const [value = ""] = values;
    if (values.size === 1 && value !== "") return value;
    throw new ArgumentError(
      `language-network: expected one value of the column ${JSON.stringify(column)} for each row of the recording, got ${value === "" ? "none" : [...values].join(", ")} for ${names[row]}`,
      {
        hint: "Name another column with --recording-groups, or leave it out for contiguous folds.",
      },
    );
  });
}

const SIMULATED_TARGETS = 60;

/**
 * A subject made of another network: targets are noisy random mixtures of the units of the other
 * model that ships with Penfield, reading the same prose. It shows what an alignment looks like when
 * a related network is the brain; it says nothing about brains.
 */
async function simulatedSubject(context: ProbeContext): Promise<BrainData> {
  const prose = await loadStimulusSet(corpusFolder("prose"));
  const stimuli = prose.stimuli.flatMap(({ id, text }) =>
    sentencesOf(text).map((sentence, i) => ({
      id: `${id}.${i + 1}`,
      text: sentence,
      columns: { passage: id },
    })),
  );
  const set: StimulusSet = {
    ...prose,
    name: "prose-sentences",
    title: `${prose.title}, sentence by sentence`,
    stimuli,
  };
  const { seed, model: name } = context.settings;
  const other = name === "organism-b" ? "organism-a" : "organism-b";
  const brain = await HookedModel.fromPretrained(organismFolder(other), {
    verify: "none",
    threads: context.settings.threads,
  });
  try {
    const units = await readUnitsOnce(
      brain,
      stimuli.map((s) => s.text),
      "simulated subject",
      {},
      context,
    );
    const recording = simulateRecording(
      flat(units),
      stimuli.map((s) => s.id),
      {
        nTargets: SIMULATED_TARGETS,
        nRepeats: 2,
        signalToNoise: 1,
        seed,
        name: `simulated-from-${other}`,
      },
    );
    return {
      recording,
      set,
      rows: stimuli.map((_, i) => [i]),
      groups: stimuli.map((s) => s.columns.passage),
      warnings: [
        `No recording was given: the "brain" is simulated from ${other}, another network that ships with Penfield. It says nothing about brains; give one with --recordings.`,
      ],
    };
  } finally {
    await brain.dispose();
  }
}

/** Sentences end at a full stop, question or exclamation mark before a space. */
function sentencesOf(text: string): string[] {
  return text.split(/(?<=[.!?])\s+/).filter((s) => s.trim() !== "");
}

/** Layers side by side. */
function flat({ data, shape: [nStimuli, nLayers, nUnits] }: LayerActivations): Activations {
  return tensor(data, ["stimulus", "unit"], [nStimuli, nLayers * nUnits]);
}

/** How well the selected units predict a recording, beside random units, a floor and a ceiling. */
export async function alignUnits(
  model: HookedModel,
  selected: UnitSet,
  brain: BrainData,
  context: ProbeContext,
): Promise<Aligned> {
  const { settings, onProgress, signal } = context;
  const { recording, set, rows, groups, warnings } = brain;
  const reading = {
    units: settings.units,
    pooling: settings.pooling,
    prependBos: settings.prependBos,
  };
  const all = flat(
    await readUnitsOnce(
      model,
      set.stimuli.map((s) => s.text),
      "recording",
      reading,
      context,
    ),
  );
  // Several texts of one row are averaged; rows without their own average are taken as they are.
  const order = rows.flat();
  const owner = rows.flatMap((texts, row) => texts.map(() => recording.stimulusIds[row]!));
  const { features } = groupByStimulus(takeRows(all, order), owner);
  const random = Array.from({ length: settings.nRandom }, (_, i) =>
    complementRandom(selected, selected.indices.length, settings.seed + i),
  );
  const options: CompareUnitSetsOptions = {
    features,
    unitSets: { localized: selected.indices, random: random.map((r) => r.indices) },
    recording,
    stimuli: rows.map((texts) => texts.map((i) => set.stimuli[i]!)),
    groups,
    seed: settings.seed,
    onProgress,
    signal,
  };
  const result = await compareUnitSets(options);
  const layers: { layer: number; score: { value: number; interval: null } }[] = [];
  for (let layer = 0; layer < selected.nLayers; layer++) {
    const units = Array.from({ length: selected.nUnits }, (_, i) => layer * selected.nUnits + i);
    const score = await encodingScore(takeColumns(features, units), meanOverRepeats(recording), {
      groups,
      standardize: true,
      signal,
    });
    layers.push({ layer, score: { value: score.median, interval: null } });
    onProgress?.({
      stage: "scoring layers",
      done: layer + 1,
      total: selected.nLayers,
      unit: "layers",
    });
  }
  const identification = await identify(options, result.ceiling?.medianReliability, context);
  const plain = (score: EncodingScore) => ({ value: score.median, interval: null });
  const draws = result.random.map((score) => score.median);
  const normalized = (score: EncodingScore): number | null => score.normalized?.median ?? null;
  const [nRepeats, nStimuli, nTargets] = recording.data.shape;
  const nUnits = selected.indices.length;
  const { localized, ceiling, interval } = result;
  return {
    section: {
      kind: "alignment",
      id: "alignment",
      title: recording.simulated ? "Against a simulated recording" : "Against a recording",
      reading: `Ridge regression from units to each target, scored on ${groups ? "held-out groups of" : "held-out stretches of"} stimuli. The floor knows only the position and length of a stimulus. The interval resamples targets: it does not speak about other stimuli or subjects.`,
      recording: {
        name: recording.name,
        simulated: recording.simulated,
        nStimuli,
        nTargets,
        nRepeats,
      },
      metric: "median over targets of held-out Pearson r",
      folds: { n: localized.nFolds, kind: groups ? "grouped" : "contiguous" },
      ceiling: ceiling ? { value: ceiling.medianMaximumCorrelation, interval: null } : null,
      rows: [
        {
          set: "localized",
          nUnits,
          score: { value: interval.estimate, interval: [interval.low, interval.high] },
          draws: [],
          normalized: normalized(localized),
        },
        {
          set: "random",
          nUnits,
          score: { value: draws.reduce((a, b) => a + b, 0) / draws.length, interval: null },
          draws,
          normalized: meanNormalized(result.random),
        },
        {
          set: "all",
          nUnits: features.shape[1],
          score: plain(result.all),
          draws: [],
          normalized: normalized(result.all),
        },
        ...(result.floor
          ? [
              {
                set: "floor" as const,
                nUnits: 3,
                score: plain(result.floor),
                draws: [],
                normalized: normalized(result.floor),
              },
            ]
          : []),
      ],
      p: result.p,
      layers,
      identification,
    },
    stimuli: [
      {
        role: "recording stimuli",
        name: set.name,
        title: set.title,
        sha256: set.sha256,
        licence: set.licence,
        nItems: set.stimuli.length,
      },
      {
        role: "recording",
        name: recording.name,
        title: recording.simulated ? "Simulated subject" : recording.name,
        sha256: recording.sha256,
        licence: recording.simulated ? "MIT" : "unknown",
        nItems: nStimuli,
      },
    ],
    warnings: [...warnings, ...leftOut(localized, nTargets)],
  };
}

/** Candidates and brains are few: the rate is a warning, not a measurement of its own. */
const N_RIVALS = 4;
const N_SIMULATIONS = 5;
const MOST_TARGETS = 50;

/** If one of the unit sets were the brain, recorded like this, would the score name it? */
export async function identify(
  { features, unitSets, recording, groups }: CompareUnitSetsOptions,
  reliability: number | undefined,
  { settings, onProgress, signal }: ProbeContext,
): Promise<NonNullable<AlignmentSection["identification"]>> {
  const sets = [unitSets.localized, ...unitSets.random.slice(0, N_RIVALS)];
  const [nRepeats, , nTargets] = recording.data.shape;
  const noiseEstimated = reliability !== undefined && reliability > 0 && reliability < 1;
  const signalToNoise = noiseEstimated ? reliability / (1 - reliability) / nRepeats : 1;
  const { chance, methods } = await identifyCandidates({
    candidates: sets.map((units, i) => ({
      name: i === 0 ? "localized" : `random ${i}`,
      features: takeColumns(features, units),
    })),
    nSimulations: N_SIMULATIONS,
    nTargets: Math.min(nTargets, MOST_TARGETS),
    nRepeats,
    signalToNoise,
    seed: settings.seed,
    methods: [ridgeMethod({ groups, standardize: true })],
    onProgress,
    signal,
  });
  return {
    rate: methods[0]!.rate.value,
    guessing: chance,
    nCandidates: sets.length,
    nBrains: sets.length * N_SIMULATIONS,
    signalToNoise,
    noiseEstimated,
  };
}

export function meanNormalized(scores: readonly EncodingScore[]): number | null {
  const values = scores.flatMap(({ normalized }) => (normalized ? [normalized.median] : []));
  return values.length === 0 ? null : values.reduce((a, b) => a + b, 0) / values.length;
}

/** The normalized scores are medians over fewer targets than the scores: say so. */
export function leftOut({ normalized }: EncodingScore, nTargets: number): string[] {
  return normalized && normalized.nUndefined > 0
    ? [
        `${normalized.nUndefined} of ${nTargets} targets have too low a noise ceiling to be divided by it; scores as shares of the ceiling leave them out.`,
      ]
    : [];
}
