import { basename } from "node:path";
import {
  autocorrelationFloor,
  type EncodingScore,
  encodingScore,
  randomFeatures,
  textFloor,
} from "@penfield/align";
import {
  type Activations,
  ArgumentError,
  DataError,
  type OnProgress,
  ShapeError,
  takeRows,
  tensor,
} from "@penfield/core";
import type { Linalg } from "@penfield/linalg";
import {
  groupByStimulus,
  meanOverRepeats,
  type NoiseCeiling,
  splitHalfCeiling,
} from "@penfield/recordings";
import { readNumbers } from "../compare/arrayFile.ts";
import type { Layers } from "../layers.ts";
import type { AlignSettings } from "./settings.ts";
import type { Subject, TextSide } from "./subjects.ts";

/** Activations that are held against the recording. */
export interface FeatureSet {
  readonly title: string;
  /** One row for each text, or for each row of the recording. */
  readonly matrix: Activations;
}

/** What a control reaches. */
interface FloorScore {
  readonly name: string;
  readonly perTarget: Float64Array;
}

/** Every feature set's scores of one subject. */
export interface SubjectScores {
  readonly subject: Subject;
  /** Undefined where there is one repeat. */
  readonly ceiling: NoiseCeiling | undefined;
  /** In the order of the feature sets. */
  readonly scores: readonly EncodingScore[];
  readonly floors: readonly FloorScore[];
  /** Of the recording's rows; undefined for contiguous folds. */
  readonly groups: readonly string[] | undefined;
  /** Feature sets by the rows of the recording. */
  readonly features: readonly Activations[];
  readonly warnings: readonly string[];
}

/** The activations files, each a feature set. */
export async function openFeatures(paths: readonly string[]): Promise<readonly FeatureSet[]> {
  const sets: FeatureSet[] = [];
  for (const path of paths) {
    const { data, shape, name } = await readNumbers("align", path);
    if (shape.length !== 2) {
      throw new ShapeError(
        `align: ${name}: expected [nStimuli, nUnits], got [${shape.join(", ")}]`,
      );
    }
    const [n, p] = shape as [number, number];
    sets.push({
      title: basename(name).replace(/\.(npy|npz|safetensors)(?=$|:)/, ""),
      matrix: tensor(data, ["stimulus", "unit"], [n, p]),
    });
  }
  return sets;
}

export const layerSets = ({ items }: Layers): readonly FeatureSet[] =>
  items.map(({ matrix }, layer) => ({ title: String(layer), matrix }));

interface Scoring {
  readonly settings: AlignSettings;
  readonly texts: TextSide | undefined;
  /** Layers of the same model without what it has learned. */
  readonly untrained: readonly FeatureSet[] | undefined;
  readonly linalg: Linalg;
  readonly onProgress: OnProgress;
  readonly signal: AbortSignal;
}

/** Scores every feature set, and the floors, against one subject. */
export async function scoreSubject(
  subject: Subject,
  sets: readonly FeatureSet[],
  { settings, texts, untrained, linalg, onProgress, signal }: Scoring,
): Promise<SubjectScores> {
  const { recording } = subject;
  const [nRepeats] = recording.data.shape;
  const rows = texts && rowsOf(recording.stimulusIds, texts);
  const groups = rows && groupsOf(rows, texts, settings.groups, recording.stimulusIds);
  const ceiling = nRepeats > 1 ? splitHalfCeiling(recording, { seed: settings.seed }) : undefined;
  const responses = meanOverRepeats(recording);
  const features = sets.map((set) =>
    featuresOf(set, rows, texts?.keys.length, recording.stimulusIds),
  );
  const nUnits = features[0]!.shape[1];
  const floors: Record<string, Activations> = settings.floors
    ? {
        ...(rows
          ? {
              "position, length and word frequency": textFloor(
                rows.map((of) => of.map((i) => texts.set.stimuli[i]!)),
              ),
            }
          : {}),
        "random features": randomFeatures(responses.shape[0], nUnits, { seed: settings.seed }),
      }
    : {};
  const scores: EncodingScore[] = [];
  const warnings = new Set<string>();
  for (const [i, x] of features.entries()) {
    const score = await encodingScore(x, responses, {
      linalg,
      outerFolds:
        groups && settings.split !== "contiguous" ? foldCount(groups, settings) : settings.folds,
      ...(settings.split === undefined ? {} : { split: settings.split }),
      innerFolds: settings.innerFolds,
      seed: settings.seed,
      groups,
      standardize: true,
      ceiling: ceiling?.maximumCorrelation,
      ...(settings.permutations > 0
        ? { permutation: { nDraws: settings.permutations, seed: settings.seed } }
        : {}),
      interval: { over: "targets", seed: settings.seed },
      // The floors are the same for every feature set.
      ...(i === 0 ? { floors } : {}),
      signal,
    });
    for (const text of score.warnings) warnings.add(`${subject.name}: ${text}`);
    scores.push(score);
    onProgress({
      stage: `scoring ${subject.name}`,
      done: i + 1,
      total: features.length,
      unit: "feature sets",
    });
  }
  const trivial: FloorScore[] = [...scores[0]!.floors];
  if (settings.floors) {
    const options = {
      linalg,
      outerFolds:
        groups && settings.split !== "contiguous" ? foldCount(groups, settings) : settings.folds,
      ...(settings.split === undefined ? {} : { split: settings.split }),
      innerFolds: settings.innerFolds,
      seed: settings.seed,
      groups,
      signal,
    };
    const order = await autocorrelationFloor(responses, options);
    trivial.push({ name: "neighbourhood alone", perTarget: order.perTarget });
    const layers: EncodingScore[] = [];
    for (const set of untrained ?? []) {
      const x = featuresOf(set, rows, texts?.keys.length, recording.stimulusIds);
      layers.push(await encodingScore(x, responses, { ...options, standardize: true }));
    }
    if (layers.length > 0) {
      const best = layers.reduce((a, b) => (b.median > a.median ? b : a));
      trivial.push({ name: "untrained weights, best layer", perTarget: best.perTarget });
    }
  }
  return {
    subject,
    ceiling,
    scores,
    floors: trivial,
    groups,
    features,
    warnings: [...warnings],
  };
}

/** With fewer groups than folds, each group is a fold. */
function foldCount(groups: readonly string[], { folds, split }: AlignSettings): number {
  const n = new Set(groups).size;
  if (split === "shuffled") return folds;
  if (n < 2) {
    throw new DataError(`align: expected at least 2 groups of stimuli to hold out, got ${n}`, {
      hint: "Name another column with --groups, or leave it out for contiguous folds.",
    });
  }
  return Math.min(folds, n);
}

/** The texts of each row of a recording. */
function rowsOf(ids: readonly string[], { keys }: TextSide): readonly (readonly number[])[] {
  const places = new Map<string, number[]>();
  keys.forEach((key, i) => {
    const list = places.get(key);
    if (list) list.push(i);
    else places.set(key, [i]);
  });
  return ids.map((id) => places.get(id) ?? []);
}

function groupsOf(
  rows: readonly (readonly number[])[],
  { set }: TextSide,
  column: string | undefined,
  names: readonly string[],
): readonly string[] | undefined {
  if (column === undefined) return undefined;
  return rows.map((texts, row) => {
    const values = new Set(texts.map((i) => set.stimuli[i]!.columns[column] ?? ""));
    const [value = ""] = values;
    if (values.size === 1 && value !== "") return value;
    throw new ArgumentError(
      `align: expected one value of the column ${JSON.stringify(column)} for each row of the recording, got ${value === "" ? "none" : [...values].join(", ")} for ${names[row]}`,
      { hint: "Name another column with --groups, or leave it out for contiguous folds." },
    );
  });
}

/**
 * A feature set by the rows of a recording: rows are those of the texts (several of one row are averaged),
 * or else of the recording itself.
 */
function featuresOf(
  { matrix, title }: FeatureSet,
  rows: readonly (readonly number[])[] | undefined,
  nTexts: number | undefined,
  ids: readonly string[],
): Activations {
  const [n] = matrix.shape;
  if (rows === undefined || n !== nTexts) {
    if (n === ids.length) return matrix;
    const expected = nTexts === undefined ? `${ids.length}` : `${nTexts} texts or ${ids.length}`;
    throw new ShapeError(
      `align: ${title}: expected a row for each of ${expected} stimuli of the recording, got ${n}`,
    );
  }
  const owner = rows.flatMap((texts, row) => texts.map(() => ids[row]!));
  return groupByStimulus(takeRows(matrix, rows.flat()), owner).features;
}

/** How stimuli were held out, for a report. */
export function foldsOf({ scores }: SubjectScores): {
  n: number;
  kind: "contiguous" | "grouped" | "shuffled";
} {
  const { nFolds, split } = scores[0]!;
  return { n: nFolds, kind: split === "given" ? "contiguous" : split };
}
