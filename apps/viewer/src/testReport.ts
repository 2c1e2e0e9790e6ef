import { createRng, type Rng } from "@penfield/core";
import type {
  AlignmentSection,
  DissociationSection,
  Estimate,
  LesionSection,
  LesionSet,
  LesionTask,
  Report,
  ReportArray,
  SelectionSection,
  Table,
  UnitsSection,
} from "@penfield/report";

/** What writeReport takes. Made up, and never to be shown as a result. */
export interface TestReport {
  readonly report: Report;
  readonly arrays: Readonly<Record<string, ReportArray>>;
  readonly tables: Readonly<Record<string, Table>>;
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
