import { z } from "zod";
import type { Report } from "./types.ts";

/** A name that is one path segment, without a leading dot. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;
const ARRAY_FILE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,94}\.npy$/;
const MAP_FILE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,90}\.nii\.gz$/;
const TABLE_FILE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,90}\.parquet$/;

const name = z.string().regex(NAME, "a name of letters, digits, dots, dashes and underscores");
const arrayFile = z.string().regex(ARRAY_FILE, "the plain name of a .npy file, without folders");
const tableFile = z
  .string()
  .regex(TABLE_FILE, "the plain name of a .parquet file, without folders");
const mapFile = z.string().regex(MAP_FILE, "the plain name of a .nii.gz file, without folders");
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, "64 hexadecimal digits");
const count = z.int().nonnegative();
const positive = z.int().positive();
const statistic = z.number().nullable();
const text = z.string().max(100_000, "at most 100000 characters");
const percent = z.number().min(0).max(100);

const estimate = z.strictObject({
  value: statistic,
  interval: z
    .tuple([z.number(), z.number()])
    .refine(([low, high]) => low <= high, "an interval whose low end is not above its high end")
    .nullable(),
});

const head = { id: name, title: text, reading: text };

const selection = z.strictObject({
  kind: z.literal("selection"),
  ...head,
  hook: text,
  nLayers: positive,
  nUnits: positive,
  statistic: z.strictObject({
    name: text,
    magnitude: z.boolean(),
    pooling: text,
    maxTokens: positive.nullable(),
  }),
  selected: z.strictObject({
    k: count,
    percent,
    scope: z.enum(["global", "per-layer"]),
    nSelected: count,
  }),
  layers: z.array(
    z.strictObject({
      layer: count,
      nSelected: count,
      quantiles: z.strictObject({
        p5: statistic,
        p25: statistic,
        p50: statistic,
        p75: statistic,
        p95: statistic,
        max: statistic,
      }),
      tMean: statistic,
      nSignificant: count,
    }),
  ),
  heldOut: z.strictObject({
    nSplits: count,
    jaccard: estimate,
    selectivity: estimate,
    randomSelectivity: estimate,
  }),
  arrays: z.strictObject({ t: arrayFile, q: arrayFile, mask: arrayFile }),
});

const metric = z.enum(["accuracy", "loss"]);

const lesion = z.strictObject({
  kind: z.literal("lesion"),
  ...head,
  hook: text,
  doses: z.array(z.number().positive().max(100)).min(1),
  mainDose: z.number().positive().max(100),
  tasks: z.array(
    z.strictObject({
      id: name,
      title: text,
      kind: z.enum(["language", "main", "control", "text"]),
      metric,
      higherIsBetter: z.boolean(),
      nItems: count,
      chance: z.number().nullable(),
      baseline: estimate,
    }),
  ),
  curves: z.array(
    z.strictObject({
      task: name,
      set: z.enum(["localized", "random", "layer-matched", "least-selective"]),
      points: z.array(
        z.strictObject({
          dose: percent,
          nUnits: count,
          value: estimate,
          draws: z.array(statistic),
        }),
      ),
    }),
  ),
  effects: z.array(
    z.strictObject({
      task: name,
      dose: percent,
      effect: estimate,
      randomMean: statistic,
      randomSd: statistic,
      z: statistic,
      p: statistic,
      nRandom: count,
    }),
  ),
  groups: z.array(
    z.strictObject({
      task: name,
      group: text,
      nItems: count,
      baseline: statistic,
      ablated: statistic,
      randomMean: statistic,
    }),
  ),
});

const dissociation = z.strictObject({
  kind: z.literal("dissociation"),
  ...head,
  localizers: z.array(z.strictObject({ id: name, title: text })),
  tasks: z.array(z.strictObject({ id: name, title: text, metric, higherIsBetter: z.boolean() })),
  cells: z.array(z.strictObject({ localizer: name, task: name, effect: estimate })),
  interactions: z.array(
    z.strictObject({
      a: name,
      b: name,
      taskA: name,
      taskB: name,
      value: estimate,
      p: statistic,
    }),
  ),
});

const recording = z.strictObject({
  name: text,
  simulated: z.boolean(),
  nStimuli: count,
  nTargets: count,
  nRepeats: count,
});
const folds = z.strictObject({
  n: positive,
  kind: z.enum(["contiguous", "grouped", "shuffled"]),
});

const alignment = z.strictObject({
  kind: z.literal("alignment"),
  ...head,
  recording,
  metric: text,
  folds,
  ceiling: estimate.nullable(),
  rows: z.array(
    z.strictObject({
      set: z.enum(["localized", "random", "all", "floor"]),
      nUnits: count,
      score: estimate,
      draws: z.array(statistic),
      normalized: statistic,
    }),
  ),
  p: statistic,
  layers: z.exactOptional(z.array(z.strictObject({ layer: count, score: estimate }))),
  identification: z.exactOptional(
    z.strictObject({
      rate: z.number().min(0).max(1),
      guessing: z.number().min(0).max(1),
      nCandidates: z.int().min(2),
      nBrains: positive,
      signalToNoise: z.number().nonnegative(),
      noiseEstimated: z.boolean(),
    }),
  ),
});

const measure = z.strictObject({
  name,
  title: text,
  larger: z.enum(["more alike", "less alike"]),
  metric: z.boolean(),
});

const similarity = z.strictObject({
  kind: z.literal("similarity"),
  ...head,
  items: z
    .array(
      z.strictObject({ title: text, nStimuli: positive, nUnits: positive, nRepeats: positive }),
    )
    .min(1),
  measures: z.array(measure),
  values: z.array(
    z.strictObject({
      measure: name,
      a: count,
      b: count,
      value: statistic,
      floor: z
        .strictObject({ mean: statistic, low: statistic, high: statistic, nDraws: positive })
        .nullable(),
    }),
  ),
});

const label = z.string().max(1000, "at most 1000 characters");
const axis = z.strictObject({ title: text, labels: z.array(label).min(1) });
const pointMap = z.strictObject({
  distance: text,
  points: z.array(z.tuple([z.number(), z.number()])),
  explained: statistic,
});

const matrix = z.strictObject({
  kind: z.literal("matrix"),
  ...head,
  measure,
  rows: axis,
  columns: axis,
  nStimuli: positive,
  array: arrayFile,
  floor: z.strictObject({ array: arrayFile, nDraws: positive }).nullable(),
  map: pointMap.nullable(),
  triangle: z
    .strictObject({ nViolations: count, nInequalities: count, worst: statistic })
    .nullable(),
});

const rdms = z.strictObject({
  kind: z.literal("rdms"),
  ...head,
  method: text,
  conditions: z.array(label).min(2),
  rdms: z.array(z.strictObject({ title: text, role: z.enum(["data", "model"]) })).min(1),
  array: arrayFile,
  map: pointMap.nullable(),
});

const tested = z.strictObject({ p: statistic, q: statistic });

const modelComparison = z.strictObject({
  kind: z.literal("model-comparison"),
  ...head,
  comparison: z.strictObject({ name, title: text }),
  design: text,
  generalizesTo: text,
  nSubjects: positive,
  nRdms: positive,
  nConditions: positive,
  nDraws: count,
  nUndefined: count,
  test: z.enum(["t", "bootstrap", "signed-rank"]).nullable(),
  fdr: z.number().positive().max(1),
  ceiling: z.strictObject({ lower: statistic, upper: statistic }).nullable(),
  models: z
    .array(
      z.strictObject({
        title: text,
        score: estimate,
        zero: tested,
        ceiling: tested,
        draws: z.array(statistic),
      }),
    )
    .min(1),
  pairs: z.array(
    z.strictObject({ a: count, b: count, difference: statistic, p: statistic, q: statistic }),
  ),
});

const scoreMap = z.strictObject({
  kind: z.literal("score-map"),
  ...head,
  recording,
  metric: text,
  estimator: text,
  folds,
  rows: axis,
  columns: axis,
  array: arrayFile,
  normalized: arrayFile.nullable(),
  p: arrayFile.nullable(),
  ceiling: z.array(statistic).nullable(),
  floors: z.array(z.strictObject({ title: label, values: z.array(statistic) })),
  subjects: z.strictObject({ labels: z.array(label).min(2), array: arrayFile }).nullable(),
});

const identification = z.strictObject({
  kind: z.literal("identification"),
  ...head,
  candidates: z.array(label).min(2).max(100),
  nBrains: positive,
  nStimuli: positive,
  nTargets: positive,
  nRepeats: positive,
  signalToNoise: z.number().nonnegative(),
  noiseEstimated: z.boolean(),
  methods: z
    .array(
      z.strictObject({
        name,
        title: text,
        rate: estimate,
        confusion: z.array(z.array(count)),
      }),
    )
    .min(1),
  curves: z.array(
    z.strictObject({
      method: name,
      over: z.enum(["stimuli", "targets"]),
      points: z.array(z.strictObject({ n: positive, rate: estimate })).min(1),
    }),
  ),
});

const timecourses = z.strictObject({
  kind: z.literal("timecourses"),
  ...head,
  x: label,
  y: label,
  nTimes: positive,
  times: arrayFile,
  series: z.array(z.strictObject({ title: label, group: label })).min(1),
  array: arrayFile,
  low: arrayFile.nullable(),
  high: arrayFile.nullable(),
  spans: z.array(z.strictObject({ series: count, from: z.number(), to: z.number(), p: statistic })),
  lines: z.array(z.strictObject({ title: label, value: z.number() })),
});

const raster = z.strictObject({
  kind: z.literal("raster"),
  ...head,
  trials: z.array(label).min(1),
  duration: z.number().positive(),
  nUnits: positive,
  nSpikes: count,
  array: arrayFile,
  groups: z.array(z.strictObject({ title: label, nUnits: positive })).min(1),
});

const rateMap = z.strictObject({
  kind: z.literal("rate-map"),
  ...head,
  measure: label,
  nUnits: positive,
  units: arrayFile,
  groups: z.array(z.strictObject({ title: label, nUnits: positive })).min(1),
  columns: z.discriminatedUnion("kind", [
    z.strictObject({
      kind: z.literal("time"),
      title: label,
      from: z.number(),
      to: z.number(),
      nBins: positive,
    }),
    z.strictObject({
      kind: z.literal("conditions"),
      title: label,
      labels: z.array(label).min(1),
    }),
  ]),
  maps: z.array(z.strictObject({ title: label })).min(1),
  array: arrayFile,
});

const brainMap = z.strictObject({
  kind: z.literal("brain-map"),
  ...head,
  shape: z.tuple([positive, positive, positive]),
  affine: z.array(z.number()).length(16),
  nTargets: positive,
  indices: arrayFile,
  array: arrayFile,
  maps: z.array(z.strictObject({ title: label, file: mapFile.nullable() })).min(1),
});

const units = z.strictObject({
  kind: z.literal("units"),
  ...head,
  table: tableFile,
  top: z.array(
    z.strictObject({
      rank: positive,
      layer: count,
      unit: count,
      t: statistic,
      q: statistic,
      d: statistic,
      heldOutT: statistic,
    }),
  ),
});

const note = z.strictObject({ kind: z.literal("note"), ...head, paragraphs: z.array(text) });

const model = z.strictObject({
  name: text,
  source: text,
  sha256,
  nLayers: positive,
  dModel: positive,
  nHeads: z.exactOptional(positive),
  dMlp: z.exactOptional(positive),
  dVocab: positive,
  nParameters: z.exactOptional(positive),
});

/** The form of report.json, version 1. The order of its keys is the order in the file. */
export const reportSchema: z.ZodType<Report> = z.strictObject({
  schema: z.literal("penfield.report"),
  version: z.literal(1),
  id: name,
  kind: name,
  title: text,
  question: text,
  intervals: z.strictObject({ level: z.literal(0.95), method: text }),
  model: z.exactOptional(model),
  comparedWith: z.exactOptional(z.array(model)),
  inputs: z.exactOptional(
    z.array(z.strictObject({ role: text, name: text, sha256, shape: z.array(count) })),
  ),
  software: z.strictObject({ penfield: text, node: text, onnxruntime: text }),
  seed: z.int(),
  settings: z.record(z.string(), z.json()),
  stimuli: z.array(
    z.strictObject({
      role: text,
      name: text,
      title: text,
      sha256,
      licence: text,
      nItems: count,
    }),
  ),
  warnings: z.array(text),
  verdicts: z.array(
    z.strictObject({
      expectation: text,
      outcome: z.enum(["seen", "not seen", "undecided"]),
      text,
    }),
  ),
  sections: z.array(
    z.discriminatedUnion("kind", [
      selection,
      lesion,
      dissociation,
      alignment,
      similarity,
      matrix,
      rdms,
      modelComparison,
      scoreMap,
      identification,
      timecourses,
      raster,
      rateMap,
      brainMap,
      units,
      note,
    ]),
  ),
});
