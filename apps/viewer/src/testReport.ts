import { createRng, type Rng } from "@penfield/core";
import type {
  AlignmentSection,
  DissociationSection,
  Estimate,
  LesionSection,
  LesionSet,
  LesionTask,
  MatrixSection,
  ModelComparisonSection,
  PointMap,
  RdmsSection,
  Report,
  ReportArray,
  SelectionSection,
  SimilaritySection,
  Table,
  UnitsSection,
} from "@penfield/report";

/** What writeReport takes. Made up, and never to be shown as a result. */
export interface TestReport {
  readonly report: Report;
  readonly arrays: Readonly<Record<string, ReportArray>>;
  readonly tables: Readonly<Record<string, Table>>;
  readonly maps?: Readonly<Record<string, Uint8Array>>;
}

const round = (x: number): number => Math.round(x * 1e4) / 1e4;

const about = (value: number, half: number): Estimate => ({
  value: round(value),
  interval: [round(value - half), round(value + half)],
});

const quantile = (sorted: readonly number[], p: number): number =>
  round(sorted[Math.min(sorted.length - 1, Math.floor(p * sorted.length))]!);

function selectionOf(nLayers: number, nUnits: number, rng: Rng) {
  const n = nLayers * nUnits;
  const k = Math.round(n / 100);
  const t = Float32Array.from({ length: n }, (_, i) => {
    const depth = Math.floor(i / nUnits) / Math.max(1, nLayers - 1);
    const gain = 1.5 + 5 * Math.exp(-(((depth - 0.65) / 0.2) ** 2));
    return 0.6 * gain + rng.normal() * gain;
  });
  const order = Array.from({ length: n }, (_, i) => i).sort((a, b) => t[b]! - t[a]!);
  const mask = new Uint8Array(n);
  for (const i of order.slice(0, k)) mask[i] = 1;
  const section: SelectionSection = {
    kind: "selection",
    id: "selection",
    title: "Which units respond to language",
    reading:
      "A unit is selected when sentences move it more than lists of nonwords do. If the selection is real, the same units still separate the two on sentences that did not choose them.",
    hook: "blocks.*.hook_resid_post",
    nLayers,
    nUnits,
    statistic: { name: "Welch t", magnitude: true, pooling: "last", maxTokens: 12 },
    selected: { k, percent: 1, scope: "global", nSelected: k },
    layers: Array.from({ length: nLayers }, (_, layer) => {
      const values = Array.from(t.subarray(layer * nUnits, (layer + 1) * nUnits)).sort(
        (a, b) => a - b,
      );
      const chosen = mask.subarray(layer * nUnits, (layer + 1) * nUnits);
      return {
        layer,
        nSelected: chosen.reduce((sum, one) => sum + one, 0),
        quantiles: {
          p5: quantile(values, 0.05),
          p25: quantile(values, 0.25),
          p50: quantile(values, 0.5),
          p75: quantile(values, 0.75),
          p95: quantile(values, 0.95),
          max: quantile(values, 1),
        },
        tMean: round(values.reduce((a, b) => a + b, 0) / nUnits),
        nSignificant: values.filter((value) => value > 3).length,
      };
    }),
    heldOut: {
      nSplits: 20,
      jaccard: about(0.61, 0.04),
      selectivity: about(1.34, 0.11),
      randomSelectivity: about(0.12, 0.06),
    },
    arrays: { t: "selection.t.npy", q: "selection.q.npy", mask: "selection.mask.npy" },
  };
  return { section, t, mask, order, k };
}

const doses = [0.25, 0.5, 1, 2, 5];

const tasks: readonly (LesionTask & { readonly fall: number; readonly randomFall: number })[] = [
  ["blimp", "Grammatical choice (BLiMP)", "language", "accuracy", 2680, 0.5, 0.803, 0.18, 0.012],
  ["agreement", "Subject–verb agreement", "language", "accuracy", 600, 0.5, 0.871, 0.24, 0.02],
  ["sums", "Sums of small numbers", "control", "accuracy", 400, 0.1, 0.412, 0.035, 0.02],
  ["copying", "Copying a list", "control", "accuracy", 400, null, 0.935, 0.05, 0.03],
  ["text", "Text of novels", "text", "loss", 12000, null, 3.412, -1.35, -0.06],
].map(([id, title, kind, metric, nItems, chance, baseline, fall, randomFall]) => ({
  id: id as string,
  title: title as string,
  kind: kind as LesionTask["kind"],
  metric: metric as LesionTask["metric"],
  higherIsBetter: metric === "accuracy",
  nItems: nItems as number,
  chance: chance as number | null,
  baseline: about(baseline as number, metric === "accuracy" ? 0.014 : 0.03),
  fall: fall as number,
  randomFall: randomFall as number,
}));

function lesionOf(nAll: number, rng: Rng): LesionSection {
  const reach = (dose: number): number => Math.sqrt(dose) / Math.sqrt(1.0);
  const value = (task: (typeof tasks)[0], set: LesionSet, dose: number): number => {
    const factor = { localized: 1, random: 0, "layer-matched": 0.28, "least-selective": -0.02 }[
      set
    ];
    const lost = (task.fall * factor + task.randomFall) * reach(dose);
    const floor = task.chance ?? 0;
    return task.metric === "loss"
      ? task.baseline.value! - lost
      : Math.max(floor, task.baseline.value! - Math.min(lost, task.baseline.value! - floor));
  };
  const noise = (task: (typeof tasks)[0]): number => (task.metric === "loss" ? 0.035 : 0.009);
  return {
    kind: "lesion",
    id: "lesion",
    title: "What the model loses without them",
    reading:
      "If these units do the job, silencing them must hurt language more than silencing as many random units does, and hurt other tasks less.",
    hook: "blocks.*.hook_resid_post",
    doses,
    mainDose: 1,
    tasks: tasks.map(({ fall, randomFall, ...task }) => task),
    curves: tasks.flatMap((task) =>
      (["localized", "random", "layer-matched", "least-selective"] as const).map((set) => ({
        task: task.id,
        set,
        points: doses.map((dose) => {
          const nDraws = set === "random" || set === "layer-matched" ? 20 : 0;
          const middle = value(task, set, dose);
          const draws = Array.from({ length: nDraws }, () =>
            round(middle + rng.normal() * noise(task) * reach(dose)),
          );
          return {
            dose,
            nUnits: Math.round((nAll * dose) / 100),
            value: about(middle, task.metric === "loss" ? 0.05 : 0.016),
            draws,
          };
        }),
      })),
    ),
    effects: doses.flatMap((dose) =>
      tasks.map((task) => {
        const effect = value(task, "localized", dose) - task.baseline.value!;
        const random = value(task, "random", dose) - task.baseline.value!;
        const sd = noise(task) * reach(dose);
        const z = (effect - random) / sd;
        return {
          task: task.id,
          dose,
          effect: about(effect, task.metric === "loss" ? 0.05 : 0.018),
          randomMean: round(random),
          randomSd: round(sd),
          z: round(z),
          p: Math.abs(z) > 3 ? 1 / 21 : 0.43,
          nRandom: 20,
        };
      }),
    ),
    groups: [
      "anaphor agreement",
      "argument structure",
      "binding",
      "control and raising",
      "determiner–noun agreement",
      "ellipsis",
      "filler–gap",
      "irregular forms",
      "island effects",
      "NPI licensing",
      "quantifiers",
      "subject–verb agreement",
    ].map((group) => {
      const baseline = 0.7 + 0.25 * rng.uniform();
      return {
        task: "blimp",
        group,
        nItems: 200,
        baseline: round(baseline),
        ablated: round(Math.max(0.45, baseline - 0.3 * rng.uniform())),
        randomMean: round(baseline - 0.02 * rng.uniform()),
      };
    }),
  };
}

const dissociation: DissociationSection = {
  kind: "dissociation",
  id: "dissociation",
  title: "Do different units do different jobs",
  reading:
    "Each row silences the units of one localizer. Jobs are apart if each row hurts its own task most; the interaction says by how much.",
  localizers: [
    { id: "language", title: "Language" },
    { id: "numbers", title: "Multiple demand" },
  ],
  tasks: [
    { id: "blimp", title: "Grammatical choice", metric: "accuracy", higherIsBetter: true },
    { id: "sums", title: "Sums of small numbers", metric: "accuracy", higherIsBetter: true },
    { id: "text", title: "Text of novels", metric: "loss", higherIsBetter: false },
  ],
  cells: [
    { localizer: "language", task: "blimp", effect: about(-0.192, 0.018) },
    { localizer: "language", task: "sums", effect: about(-0.055, 0.021) },
    { localizer: "language", task: "text", effect: about(1.41, 0.05) },
    { localizer: "numbers", task: "blimp", effect: about(-0.021, 0.016) },
    { localizer: "numbers", task: "sums", effect: about(-0.148, 0.026) },
    { localizer: "numbers", task: "text", effect: about(-0.02, 0.03) },
  ],
  interactions: [
    {
      a: "language",
      b: "numbers",
      taskA: "blimp",
      taskB: "sums",
      value: about(-0.264, 0.04),
      p: 0.0004,
    },
  ],
};

function alignmentOf(nLayers: number, nUnits: number, k: number, rng: Rng): AlignmentSection {
  return {
    kind: "alignment",
    id: "alignment",
    title: "Do they predict a recording better than other units",
    reading:
      "A score between the floor (sentence length and position alone) and the ceiling (what the recording's own noise allows) says how much of the response the units carry.",
    recording: {
      name: "Simulated language area",
      simulated: true,
      nStimuli: 240,
      nTargets: 40,
      nRepeats: 4,
    },
    metric: "Pearson r",
    folds: { n: 5, kind: "contiguous" },
    ceiling: about(0.62, 0.03),
    rows: [
      {
        set: "localized",
        nUnits: k,
        score: about(0.412, 0.031),
        draws: [],
        normalized: 0.665,
      },
      {
        set: "random",
        nUnits: k,
        score: about(0.301, 0.03),
        draws: Array.from({ length: 20 }, () => round(0.301 + rng.normal() * 0.018)),
        normalized: 0.485,
      },
      {
        set: "all",
        nUnits: nLayers * nUnits,
        score: about(0.437, 0.03),
        draws: [],
        normalized: 0.705,
      },
      { set: "floor", nUnits: 0, score: about(0.118, 0.034), draws: [], normalized: 0.19 },
    ],
    p: 0.0476,
    identification: {
      rate: 0.84,
      guessing: 0.2,
      nCandidates: 5,
      nBrains: 25,
      signalToNoise: 0.62,
      noiseEstimated: true,
    },
    layers: Array.from({ length: nLayers }, (_, layer) => ({
      layer,
      score: about(0.16 + 0.26 * Math.sin((Math.PI * (layer + 2)) / (nLayers + 5)), 0.03),
    })),
  };
}

/** A report with every kind of section, of the size of a small published model. */
export function makeTestReport({
  id = "language-network",
  nLayers = 30,
  nUnits = 576,
  seed = 7,
}: {
  readonly id?: string;
  readonly nLayers?: number;
  readonly nUnits?: number;
  readonly seed?: number;
} = {}): TestReport {
  const rng = createRng(seed);
  const { section: selection, t, mask, order, k } = selectionOf(nLayers, nUnits, rng);
  const rows = order.slice(0, k).map((index, i) => ({
    rank: i + 1,
    layer: Math.floor(index / nUnits),
    unit: index % nUnits,
    t: round(t[index]!),
    q: 10 ** -(t[index]! / 2),
    d: round(t[index]! / 8),
    heldOutT: round(t[index]! * 0.8 + rng.normal()),
  }));
  const units: UnitsSection = {
    kind: "units",
    id: "units",
    title: "The selected units",
    reading:
      "The first by t; held-out t comes from the half of the stimuli that did not choose the unit.",
    table: "units.parquet",
    top: rows.slice(0, 15),
  };
  const report: Report = {
    schema: "penfield.report",
    version: 1,
    id,
    kind: "language-network",
    title: "A language network in a made-up model",
    question:
      "Are there units that respond to language, does the model need them for language, and for language only?",
    intervals: {
      level: 0.95,
      method: "percentile bootstrap over items, 1000 samples",
    },
    model: {
      name: "made-up/small-135M",
      source: "test fixture",
      sha256: "0123456789abcdef".repeat(4),
      nLayers,
      dModel: nUnits,
      nHeads: 9,
      dMlp: 1536,
      dVocab: 49152,
      nParameters: 134515008,
    },
    software: { penfield: "0.1.0", node: "20.20.2", onnxruntime: "1.30.0" },
    seed,
    settings: {
      localizer: { percent: 1, magnitude: true, pooling: "last", maxTokens: 12 },
      lesion: { method: "zero", doses, nRandom: 20 },
      batchSize: 16,
    },
    stimuli: [
      {
        role: "localizer",
        name: "sentences-nonwords",
        title: "Sentences and lists of nonwords",
        sha256: "ab".repeat(32),
        licence: "CC0-1.0",
        nItems: 240,
      },
      {
        role: "task",
        name: "blimp",
        title: "BLiMP: the benchmark of linguistic minimal pairs",
        sha256: "cd".repeat(32),
        licence: "CC-BY-4.0",
        nItems: 2680,
      },
    ],
    warnings: [
      "With 20 random sets, p cannot be below 1/21 = 0.048.",
      "The recording is simulated: it tests the method, not the model.",
    ],
    verdicts: [
      {
        expectation:
          "Silencing the selected 1 % hurts grammatical choice more than random units do",
        outcome: "seen",
        text: "Accuracy fell from 0.803 to 0.611 (−0.192 [−0.210, −0.174]); with random sets of the same size it fell by 0.012 ± 0.009.",
      },
      {
        expectation: "Sums are spared",
        outcome: "undecided",
        text: "Accuracy fell by 0.055 [0.034, 0.076]; random sets, by 0.020 ± 0.009.",
      },
      {
        expectation: "Later layers hold most of the selected units",
        outcome: "not seen",
        text: "Most lie in layers 14 to 24 of 30.",
      },
    ],
    sections: [
      selection,
      lesionOf(nLayers * nUnits, rng),
      dissociation,
      alignmentOf(nLayers, nUnits, k, rng),
      units,
      {
        kind: "note",
        id: "notes",
        title: "Notes",
        reading: "",
        paragraphs: ["Every number of this report is made up by a test fixture."],
      },
    ],
  };
  const shape = [nLayers, nUnits];
  return {
    report,
    arrays: {
      "selection.t.npy": { data: t, shape },
      "selection.q.npy": { data: t.map((value) => 10 ** -(Math.abs(value) / 2)), shape },
      "selection.mask.npy": { data: mask, shape },
    },
    tables: {
      "units.parquet": {
        columns: ["rank", "layer", "unit", "t", "q", "d", "held_out_t"],
        rows: rows.map((row) => Object.values(row)),
      },
    },
  };
}

/** A report with every kind of section that comparisons write: similarities, layers, RDMs, models. */
export function makeComparisonReport({
  nConditions = 24,
  nLayers = 12,
  seed = 3,
}: {
  readonly nConditions?: number;
  readonly nLayers?: number;
  readonly seed?: number;
} = {}): TestReport {
  const rng = createRng(seed);
  const { report } = makeTestReport({ nLayers: 2, nUnits: 20 });
  const point = (): [number, number] => [round(rng.normal()), round(rng.normal())];
  const map = (n: number): PointMap => ({
    distance: "1 - measure",
    points: Array.from({ length: n }, point),
    explained: 0.64,
  });
  const networks = ["network 1", "network 2", "a network with a long name, trained longer", "4"];
  const similarity: SimilaritySection = {
    kind: "similarity",
    id: "similarity",
    title: "How alike they are",
    reading: "Beside each value stands what shuffled stimuli give.",
    items: networks.slice(0, 2).map((title) => ({ title, nStimuli: 200, nUnits: 64, nRepeats: 1 })),
    measures: [
      { name: "linear-cka", title: "Linear CKA", larger: "more alike", metric: false },
      { name: "pwcca", title: "Projection-weighted CCA", larger: "more alike", metric: false },
      { name: "shape", title: "Shape distance", larger: "less alike", metric: true },
    ],
    values: [
      {
        measure: "linear-cka",
        a: 0,
        b: 1,
        value: 0.71,
        floor: { mean: 0.2, low: 0.15, high: 0.24, nDraws: 5 },
      },
      {
        measure: "pwcca",
        a: 0,
        b: 1,
        value: 0.62,
        floor: { mean: 0.31, low: 0.3, high: 0.34, nDraws: 5 },
      },
      {
        measure: "pwcca",
        a: 1,
        b: 0,
        value: 0.6,
        floor: { mean: 0.3, low: 0.29, high: 0.33, nDraws: 5 },
      },
      { measure: "shape", a: 0, b: 1, value: 0.8, floor: null },
    ],
  };
  const layerLabels = Array.from({ length: nLayers }, (_, i) => String(i));
  const alike = (n: number, m: number): Float64Array =>
    Float64Array.from({ length: n * m }, (_, at) => {
      const [i, j] = [Math.floor(at / m) / n, (at % m) / m];
      return round(Math.exp(-4 * (i - j) ** 2) - 0.1 * rng.uniform());
    });
  const layers: MatrixSection = {
    kind: "matrix",
    id: "layers",
    title: "Layers of two models",
    reading: "Each cell sets a layer beside a layer.",
    measure: similarity.measures[0]!,
    rows: { title: "layer of model A", labels: layerLabels },
    columns: { title: "layer of model B", labels: layerLabels },
    nStimuli: 200,
    array: "layers.npy",
    floor: { array: "layers-floor.npy", nDraws: 2 },
    map: null,
    triangle: null,
  };
  const axis = { title: "network", labels: networks };
  const pairs: MatrixSection = {
    kind: "matrix",
    id: "networks",
    title: "Networks with each other",
    reading: "",
    measure: similarity.measures[2]!,
    rows: axis,
    columns: axis,
    nStimuli: 200,
    array: "networks.npy",
    floor: null,
    map: map(4),
    triangle: { nViolations: 0, nInequalities: 12, worst: -0.1 },
  };
  const conditions = Array.from({ length: nConditions }, (_, i) => `stimulus ${i}`);
  const nPairs = (nConditions * (nConditions - 1)) / 2;
  const rdms: RdmsSection = {
    kind: "rdms",
    id: "rdms",
    title: "The RDMs",
    reading: "Each picture has colours of its own.",
    method: "correlation",
    conditions,
    rdms: [
      { title: "subject 1", role: "data" },
      { title: "subject 2", role: "data" },
      { title: "category", role: "model" },
    ],
    array: "rdms.npy",
    map: map(nConditions),
  };
  const models: ModelComparisonSection = {
    kind: "model-comparison",
    id: "models",
    title: "Which model predicts best",
    reading: "",
    comparison: { name: "rho-a", title: "Spearman correlation under random tie-breaking" },
    design: "Bootstrap over subjects and conditions, 1000 draws",
    generalizesTo: "new subjects and new conditions",
    nSubjects: 2,
    nRdms: 2,
    nConditions,
    nDraws: 1000,
    nUndefined: 3,
    test: "t",
    fdr: 0.05,
    ceiling: { lower: 0.52, upper: 0.61 },
    models: [
      ["category", 0.51, 0.06, 0.0001, 0.61],
      ["the last layer of a large network", 0.33, 0.05, 0.0004, 0.001],
      ["pixels", -0.02, 0.08, 0.61, 0.0001],
    ].map(([title, value, half, zero, ceiling]) => ({
      title: title as string,
      score: about(value as number, half as number),
      zero: { p: zero as number, q: zero as number },
      ceiling: { p: ceiling as number, q: ceiling as number },
      draws: [round((value as number) + 0.03), round((value as number) - 0.03)],
    })),
    pairs: [
      { a: 0, b: 1, difference: 0.18, p: 0.01, q: 0.015 },
      { a: 0, b: 2, difference: 0.53, p: 0.0001, q: 0.0003 },
      { a: 1, b: 2, difference: 0.35, p: 0.2, q: 0.2 },
    ],
  };
  const { model, ...rest } = report;
  return {
    report: {
      ...rest,
      id: "comparison",
      kind: "rsa",
      title: "Made-up comparisons",
      comparedWith: [model!],
      inputs: [
        { role: "data", name: "subject 1.npy", sha256: "ef".repeat(32), shape: [24, 100] },
        { role: "model", name: "category.npy", sha256: "ef".repeat(32), shape: [24, 24] },
      ],
      sections: [models, rdms, layers, pairs, similarity],
    },
    arrays: {
      "layers.npy": { data: alike(nLayers, nLayers), shape: [nLayers, nLayers] },
      "layers-floor.npy": {
        data: Float64Array.from({ length: nLayers ** 2 }, () => round(0.1 * rng.uniform())),
        shape: [nLayers, nLayers],
      },
      "networks.npy": { data: alike(4, 4).map((v) => 1 - v), shape: [4, 4] },
      "rdms.npy": {
        data: Float64Array.from({ length: 3 * nPairs }, (_, i) =>
          i === 5 ? Number.NaN : round(rng.uniform()),
        ),
        shape: [3, nPairs],
      },
    },
    tables: {},
  };
}
