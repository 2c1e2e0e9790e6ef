import { encodeNifti, type Space } from "@penfield/recordings";
import type {
  BrainMapSection,
  IdentificationSection,
  Report,
  ReportArray,
  ReportModel,
  ScoreMapSection,
  Section,
  TimecoursesSection,
} from "@penfield/report";
import { emptyReport } from "../compare/record.ts";
import { type Columns, columnsOf, meanOf, medianOf } from "./columns.ts";
import { type FeatureSet, foldsOf, type SubjectScores } from "./scores.ts";
import type { AlignSettings } from "./settings.ts";
import type { TextSide } from "./subjects.ts";

/** What `penfield align` found, before it is written. */
export interface AlignResult {
  readonly settings: AlignSettings;
  readonly model: ReportModel | undefined;
  readonly texts: TextSide | undefined;
  readonly sets: readonly FeatureSet[];
  readonly subjects: readonly SubjectScores[];
  readonly identification: IdentificationSection | undefined;
}

/** Feature sets by columns: means over subjects of medians over targets. */
export interface ScoreTable {
  readonly columns: Columns;
  /** `[nSets, nColumns]`. */
  readonly values: Float64Array;
  readonly normalized: Float64Array | undefined;
  /** `[nSubjects, nSets, nColumns]`. */
  readonly bySubject: Float64Array;
  /** Of each column. */
  readonly ceiling: readonly number[] | undefined;
  readonly floors: readonly { readonly title: string; readonly values: readonly number[] }[];
}

export function scoreTable({ sets, subjects }: AlignResult): ScoreTable {
  const columns = columnsOf(subjects);
  const nColumns = columns.labels.length;
  const members = subjects.map(columns.members);
  const size = sets.length * nColumns;
  const bySubject = new Float64Array(subjects.length * size);
  const shares = new Float64Array(subjects.length * size);
  subjects.forEach(({ scores }, s) => {
    scores.forEach(({ perTarget, normalized }, i) => {
      members[s]!.forEach((of, j) => {
        const at = s * size + i * nColumns + j;
        bySubject[at] = medianOf(perTarget, of);
        shares[at] = normalized ? medianOf(normalized.perTarget, of) : Number.NaN;
      });
    });
  });
  const over = (values: Float64Array): Float64Array =>
    Float64Array.from({ length: size }, (_, at) =>
      meanOf(subjects.map((__, s) => values[s * size + at]!)),
    );
  const normalized = over(shares);
  const ceilings = columns.labels.map((_, j) =>
    meanOf(
      subjects.map(({ ceiling }, s) =>
        ceiling ? medianOf(ceiling.maximumCorrelation, members[s]![j]!) : Number.NaN,
      ),
    ),
  );
  const titles = subjects[0]!.floors.map(({ name }) => name);
  return {
    columns,
    values: over(bySubject),
    normalized: normalized.some((v) => Number.isFinite(v)) ? normalized : undefined,
    bySubject,
    ceiling: ceilings.some((v) => Number.isFinite(v)) ? ceilings : undefined,
    floors: titles.map((title, f) => ({
      title,
      values: columns.labels.map((_, j) =>
        meanOf(subjects.map(({ floors }, s) => medianOf(floors[f]!.perTarget, members[s]![j]!))),
      ),
    })),
  };
}

/** The feature set with the highest mean over columns. */
export function bestSet({ values, columns }: ScoreTable, nSets: number): number {
  const n = columns.labels.length;
  const means = Array.from({ length: nSets }, (_, i) =>
    meanOf(Array.from(values.subarray(i * n, (i + 1) * n))),
  );
  return means.reduce(
    (best, v, i) => (v > (means[best] ?? Number.NEGATIVE_INFINITY) || best < 0 ? i : best),
    0,
  );
}

const statistic = (value: number): number | null => (Number.isFinite(value) ? value : null);

const setName = (result: AlignResult, i: number): string =>
  result.model ? `layer ${result.sets[i]!.title}` : result.sets[i]!.title;

/** The report and its files. */
export function alignReport(
  result: AlignResult,
  table: ScoreTable,
  folder: string,
): {
  report: Report;
  arrays: Record<string, ReportArray>;
  maps: Record<string, Uint8Array>;
} {
  const { settings, model, texts, subjects, identification } = result;
  const arrays: Record<string, ReportArray> = {};
  const maps: Record<string, Uint8Array> = {};
  const sections: Section[] = [scoreSection(result, table, arrays)];
  if (identification) sections.push(identification);
  const timed = timeSection(result, table, arrays);
  if (timed) sections.push(timed);
  const mapped = mapSection(result, table, arrays, maps);
  if (mapped) sections.push(mapped);
  const names = subjects.map(({ subject }) => subject.name);
  return {
    arrays,
    maps,
    report: {
      ...emptyReport("align", folder),
      title: `${model?.name ?? "Given features"} beside ${names.length === 1 ? names[0] : `${names.length} subjects`}`,
      question: `How well do ${model ? `the layers of ${model.name}` : "the given features"} predict the recorded responses, and could such scores tell models apart?`,
      intervals: {
        level: 0.95,
        method:
          "scores: none in tables (medians over targets, means over subjects); identification: Wilson, over simulated brains",
      },
      ...(model ? { model } : {}),
      inputs: subjects.map(({ subject }) => ({
        role: "recording",
        name: subject.name,
        sha256: subject.recording.sha256,
        shape: [...subject.recording.data.shape],
      })),
      seed: settings.seed,
      settings: settingsRecord(settings),
      stimuli: texts
        ? [
            {
              role: "stimuli",
              name: texts.set.name,
              title: texts.set.title,
              sha256: texts.set.sha256,
              licence: texts.set.licence,
              nItems: texts.set.stimuli.length,
            },
          ]
        : [],
      warnings: alignWarnings(result),
      verdicts: [],
      sections: sections.map((section) => ({ ...section })),
    },
  };
}

function settingsRecord(settings: AlignSettings): Report["settings"] {
  const {
    model: _,
    recordings: __,
    features: ___,
    events,
    json: ____,
    resume: _____,
    ...rest
  } = settings;
  return Object.fromEntries(
    Object.entries({ ...rest, events: events.length > 0 }).map(([key, value]) => [
      key,
      // Paths of the user's machine are of no use to the report's readers.
      typeof value === "string" && /[\\/]/.test(value)
        ? value.replace(/^.*[\\/]/, "")
        : (value ?? null),
    ]),
  );
}

/** What to know before believing a number. */
export function alignWarnings(result: AlignResult): string[] {
  const { subjects, sets, identification, settings } = result;
  return [
    ...subjects.flatMap(({ subject, warnings }) => [...subject.warnings, ...warnings]),
    ...subjects.flatMap(({ subject, ceiling }) =>
      ceiling
        ? ceiling.undefinedReason
          ? [`No ceiling: ${ceiling.undefinedReason}.`]
          : []
        : [
            `${subject.name}: each stimulus was recorded once, so there is no ceiling: nobody can say how much of the responses could be predicted.`,
          ],
    ),
    ...(settings.floors
      ? []
      : ["Floors were not wanted (--no-floors): what trivial features reach is not known."]),
    ...(identification || sets.length < 2
      ? []
      : [
          "Whether scores like these could tell the feature sets apart was not measured; --identify does.",
        ]),
    ...(subjects.some(({ subject }) => subject.recording.simulated)
      ? ["A recording is simulated: its scores say nothing about brains."]
      : []),
  ];
}

function scoreSection(
  result: AlignResult,
  table: ScoreTable,
  arrays: Record<string, ReportArray>,
): ScoreMapSection {
  const { subjects, sets, model, settings } = result;
  const { columns, values, normalized, bySubject, ceiling, floors } = table;
  const shape = [sets.length, columns.labels.length];
  arrays["scores.npy"] = { data: values, shape };
  if (normalized) arrays["scores-normalized.npy"] = { data: normalized, shape };
  const single = subjects.length === 1 ? subjects[0]! : undefined;
  if (subjects.length > 1) {
    arrays["scores-subjects.npy"] = {
      data: bySubject,
      shape: [subjects.length, sets.length * columns.labels.length],
    };
  }
  const p = single && columns.labels.length === 1 && settings.permutations > 0;
  if (p) {
    arrays["scores-p.npy"] = {
      data: Float64Array.from(single.scores, (s) => s.significance?.medianP ?? Number.NaN),
      shape,
    };
  }
  const best = bestSet(table, sets.length);
  const [nRepeats] = subjects[0]!.subject.recording.data.shape;
  return {
    kind: "score-map",
    id: "scores",
    title: `How well ${model ? "each layer" : "each feature set"} predicts the responses`,
    reading: `${setName(result, best)} is highest over all; it was chosen on the same data. Held out were ${foldsOf(subjects[0]!).kind} folds.`,
    recording: {
      name: subjects.length === 1 ? subjects[0]!.subject.name : `${subjects.length} subjects`,
      simulated: subjects.some(({ subject }) => subject.recording.simulated),
      nStimuli: subjects[0]!.subject.recording.data.shape[1],
      nTargets: subjects.reduce((sum, { subject }) => sum + subject.recording.data.shape[2], 0),
      nRepeats,
    },
    metric: "median Pearson r",
    estimator: "ridge with a penalty for each target, units z-scored",
    folds: foldsOf(subjects[0]!),
    rows: { title: model ? "layer" : "feature set", labels: sets.map(({ title }) => title) },
    columns: { title: columns.title, labels: columns.labels },
    array: "scores.npy",
    normalized: normalized ? "scores-normalized.npy" : null,
    p: p ? "scores-p.npy" : null,
    ceiling: ceiling ? ceiling.map(statistic) : null,
    floors: floors.map(({ title, values: of }) => ({ title, values: of.map(statistic) })),
    subjects:
      subjects.length > 1
        ? { labels: subjects.map(({ subject }) => subject.name), array: "scores-subjects.npy" }
        : null,
  };
}

/** Of epochs: the score at each time, of the best feature set, by region or kind of sensor. */
function timeSection(
  result: AlignResult,
  table: ScoreTable,
  arrays: Record<string, ReportArray>,
): TimecoursesSection | undefined {
  const [first] = result.subjects;
  const timed = first?.subject.timed;
  if (!first || !timed) return undefined;
  const nTimes = timed.times.length;
  const best = bestSet(table, result.sets.length);
  const kinds = [...new Set(timed.targets.map(({ region, kind }) => region ?? kind ?? "all"))];
  const rows = [
    { title: setName(result, best), perTarget: first.scores[best]!.perTarget },
    ...first.floors.map(({ name, perTarget }) => ({ title: name, perTarget })),
  ];
  const series = kinds.flatMap((kind) => rows.map(({ title }) => ({ title, group: kind })));
  const values = new Float64Array(series.length * nTimes);
  kinds.forEach((kind, k) => {
    const sensors = timed.targets.flatMap((target, t) =>
      (target.region ?? target.kind ?? "all") === kind ? [t] : [],
    );
    rows.forEach(({ perTarget }, r) => {
      for (let t = 0; t < nTimes; t++) {
        values[(k * rows.length + r) * nTimes + t] = meanOf(
          sensors.map((s) => perTarget[s * nTimes + t]!),
        );
      }
    });
  });
  arrays["time.npy"] = { data: timed.times, shape: [1, nTimes] };
  arrays["time-scores.npy"] = { data: values, shape: [series.length, nTimes] };
  return {
    kind: "timecourses",
    id: "time",
    title: "When the responses are predicted",
    reading: `Mean over sensors of the held-out r at each time, of ${setName(result, best)} and of the floors; ${first.subject.name}.`,
    x: "time from onset (s)",
    y: "Pearson r",
    nTimes,
    times: "time.npy",
    series,
    array: "time-scores.npy",
    low: null,
    high: null,
    spans: [],
    lines: [{ title: "chance", value: 0 }],
  };
}

/** Of volumes: the best feature set's score in every voxel, as slices and as NIfTI. */
function mapSection(
  result: AlignResult,
  table: ScoreTable,
  arrays: Record<string, ReportArray>,
  maps: Record<string, Uint8Array>,
): BrainMapSection | undefined {
  const [first] = result.subjects;
  const space = first?.subject.recording.space;
  if (!first || space?.kind !== "volume") return undefined;
  const best = bestSet(table, result.sets.length);
  const { perTarget } = first.scores[best]!;
  const file = "scores-r.nii.gz";
  maps[file] = encodeNifti(volumeOf(perTarget, space), {
    shape: space.shape,
    affine: space.affine,
    description: "held-out Pearson r",
  });
  const n = perTarget.length;
  arrays["map-voxels.npy"] = { data: space.indices, shape: [1, n] };
  arrays["map-r.npy"] = { data: perTarget, shape: [1, n] };
  return {
    kind: "brain-map",
    id: "map",
    title: "Where the responses are predicted",
    reading: `Held-out r of ${setName(result, best)} in each voxel of ${first.subject.name}.`,
    shape: space.shape,
    affine: [...space.affine],
    nTargets: n,
    indices: "map-voxels.npy",
    array: "map-r.npy",
    maps: [{ title: `r of ${setName(result, best)}`, file }],
  };
}

/** A value for every voxel of the volume; NaN where there is no target. */
function volumeOf(
  values: ArrayLike<number>,
  { shape, indices }: Space & { kind: "volume" },
): Float64Array {
  const volume = new Float64Array(shape[0] * shape[1] * shape[2]).fill(Number.NaN);
  indices.forEach((voxel, t) => {
    volume[voxel] = values[t]!;
  });
  return volume;
}
