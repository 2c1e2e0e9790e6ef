import { createRng } from "@penfield/core";
import type {
  BrainMapSection,
  Estimate,
  IdentificationSection,
  RasterSection,
  RateMapSection,
  ScoreMapSection,
  TimecoursesSection,
} from "@penfield/report";
import { makeTestReport, type TestReport } from "./testReport.ts";

const round = (value: number): number => Math.round(value * 1e4) / 1e4;

/** Bins of the map of rates. */
const N_BINS = 10;

/** A report with every kind of section about recordings and time. */
export function makeBrainReport({
  nLayers = 12,
  nTimes = 400,
  seed = 5,
}: {
  readonly nLayers?: number;
  readonly nTimes?: number;
  readonly seed?: number;
} = {}): TestReport {
  const rng = createRng(seed);
  const { report } = makeTestReport({ nLayers: 2, nUnits: 20 });
  const recording = {
    name: "four subjects",
    simulated: true,
    nStimuli: 384,
    nTargets: 1200,
    nRepeats: 2,
  };
  const regions = ["IFG", "MFG", "AntTemp", "PostTemp", "AngG", "a region with a long name"];
  const subjects = ["01", "02", "03", "04"];
  const score = (i: number, j: number): number =>
    round(0.3 * Math.exp(-(((i - nLayers * 0.6) / 4) ** 2)) * (1 - 0.1 * j) + 0.02 * rng.normal());
  const table = Float64Array.from({ length: nLayers * 6 }, (_, at) =>
    score(Math.floor(at / 6), at % 6),
  );
  table[3] = Number.NaN;
  const scores: ScoreMapSection = {
    kind: "score-map",
    id: "scores",
    title: "How well each layer predicts each region",
    reading: "Brighter is better.",
    recording,
    metric: "median Pearson r",
    estimator: "ridge, a penalty per target",
    folds: { n: 5, kind: "grouped" },
    rows: { title: "layer", labels: Array.from({ length: nLayers }, (_, i) => String(i)) },
    columns: { title: "region", labels: regions },
    array: "scores.npy",
    normalized: "scores-normalized.npy",
    p: null,
    ceiling: [0.45, 0.5, 0.41, 0.38, null, 0.3],
    floors: [
      { title: "position and length", values: [0.05, 0.04, 0.06, 0.02, null, 0.01] },
      { title: "untrained weights", values: [0.11, 0.1, 0.12, 0.09, 0.1, 0.08] },
    ],
    subjects: { labels: subjects, array: "scores-subjects.npy" },
  };
  const rate = (value: number): Estimate => ({
    value,
    interval: [round(Math.max(0, value - 0.12)), round(Math.min(1, value + 0.12))],
  });
  const identification: IdentificationSection = {
    kind: "identification",
    id: "identification",
    title: "Would we know?",
    reading: "",
    candidates: ["layer 2", "layer 6", "layer 10"],
    nBrains: 60,
    nStimuli: 384,
    nTargets: 1200,
    nRepeats: 2,
    signalToNoise: 0.4,
    noiseEstimated: true,
    methods: [
      {
        name: "ridge",
        title: "ridge",
        rate: rate(0.7),
        confusion: [
          [12, 8, 0],
          [4, 14, 2],
          [0, 4, 16],
        ],
      },
      {
        name: "linear-cka",
        title: "linear CKA",
        rate: rate(0.9),
        confusion: [
          [18, 2, 0],
          [1, 18, 1],
          [0, 2, 18],
        ],
      },
    ],
    curves: [
      {
        method: "ridge",
        over: "stimuli",
        points: [48, 96, 192, 384].map((n, i) => ({ n, rate: rate(round(0.4 + 0.1 * i)) })),
      },
      {
        method: "linear-cka",
        over: "stimuli",
        points: [48, 96, 192, 384].map((n, i) => ({ n, rate: rate(round(0.5 + 0.12 * i)) })),
      },
    ],
  };
  const times = Float64Array.from({ length: nTimes }, (_, t) => -0.2 + (t * 1.2) / nTimes);
  const wave = (s: number): Float64Array =>
    times.map((t) => round(Math.exp(-(((t - 0.2 * (s + 1)) / 0.08) ** 2)) + 0.05 * rng.normal()));
  const waves = [wave(0), wave(1), wave(2)];
  const courses: TimecoursesSection = {
    kind: "timecourses",
    id: "time",
    title: "When",
    reading: "",
    x: "time from word onset (s)",
    y: "Pearson r",
    nTimes,
    times: "time-axis.npy",
    series: [
      { title: "left temporal", group: "gradiometers" },
      { title: "right temporal", group: "gradiometers" },
      { title: "all", group: "magnetometers" },
    ],
    array: "time-values.npy",
    low: "time-low.npy",
    high: "time-high.npy",
    spans: [
      { series: 0, from: 0.12, to: 0.3, p: 0.008 },
      { series: 1, from: 0.32, to: 0.5, p: 0.04 },
    ],
    lines: [{ title: "chance", value: 0 }],
  };
  const nSpikes = 900;
  const raster: RasterSection = {
    kind: "raster",
    id: "raster",
    title: "Spikes",
    reading: "",
    trials: ["left", "right"],
    duration: 0.5,
    nUnits: 60,
    nSpikes,
    array: "raster.npy",
    groups: [
      { title: "excit.", nUnits: 48 },
      { title: "inhib.", nUnits: 12 },
    ],
  };
  const spikes = new Float64Array(nSpikes * 3);
  for (let i = 0; i < nSpikes; i++) {
    spikes.set([i % 2, round(0.5 * rng.uniform()), rng.below(60)], 3 * i);
  }
  const rates: RateMapSection = {
    kind: "rate-map",
    id: "rates",
    title: "Rates",
    reading: "",
    measure: "spikes/s",
    nUnits: 60,
    units: "rates-units.npy",
    groups: raster.groups,
    columns: {
      ...{ kind: "time", title: "time from the beginning of the trial (s)" },
      ...{ from: 0, to: 0.5, nBins: N_BINS },
    },
    maps: raster.trials.map((title) => ({ title })),
    array: "rates.npy",
  };
  const [nx, ny, nz] = [20, 24, 12];
  const voxels: number[] = [];
  for (let k = 1; k < nz; k++) {
    for (let j = 0; j < ny; j++) {
      for (let i = 0; i < nx; i++) {
        const far = ((i - 10) / 9) ** 2 + ((j - 12) / 11) ** 2 + ((k - 6) / 6) ** 2;
        if (far < 1) voxels.push(i + nx * (j + ny * k));
      }
    }
  }
  const map: BrainMapSection = {
    kind: "brain-map",
    id: "map",
    title: "Where",
    reading: "",
    shape: [nx, ny, nz],
    affine: [3, 0, 0, -30, 0, 3, 0, -36, 0, 0, 3, -18, 0, 0, 0, 1],
    nTargets: voxels.length,
    indices: "map-indices.npy",
    array: "map-values.npy",
    maps: [{ title: "r of layer 6", file: "r.nii.gz" }],
  };
  const n = voxels.length;
  return {
    report: {
      ...report,
      id: "brain",
      kind: "align",
      title: "A made-up recording",
      sections: [scores, identification, courses, map, raster, rates],
    },
    arrays: {
      "scores.npy": { data: table, shape: [nLayers, 6] },
      "scores-normalized.npy": { data: table.map((v) => round(v / 0.45)), shape: [nLayers, 6] },
      "scores-subjects.npy": {
        data: Float64Array.from({ length: 4 * table.length }, (_, i) =>
          round(table[i % table.length]! + 0.04 * rng.normal()),
        ),
        shape: [4, table.length],
      },
      "time-axis.npy": { data: times, shape: [1, nTimes] },
      "time-values.npy": { data: joined(waves), shape: [3, nTimes] },
      "time-low.npy": { data: joined(waves).map((v) => v - 0.1), shape: [3, nTimes] },
      "time-high.npy": { data: joined(waves).map((v) => v + 0.1), shape: [3, nTimes] },
      "raster.npy": { data: spikes, shape: [nSpikes, 3] },
      "rates-units.npy": { data: Float64Array.from({ length: 60 }, (_, u) => u), shape: [1, 60] },
      "rates.npy": { data: ratesOf(spikes), shape: [2, 60 * N_BINS] },
      "map-indices.npy": { data: Int32Array.from(voxels), shape: [1, n] },
      "map-values.npy": {
        data: Float64Array.from(voxels, (v) => round(Math.sin(v / 50) + 0.2 * rng.normal())),
        shape: [1, n],
      },
    },
    tables: {},
    maps: { "r.nii.gz": new Uint8Array([31, 139]) },
  };
}

function joined(parts: readonly Float64Array[]): Float64Array {
  const out = new Float64Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Spikes a second of 60 units in bins of 50 ms, for two trials. A unit that was not recorded in the second one is blank there. */
function ratesOf(spikes: Float64Array): Float64Array {
  const out = new Float64Array(2 * 60 * N_BINS);
  for (let i = 0; i < spikes.length; i += 3) {
    const [trial, seconds, unit] = spikes.subarray(i, i + 3) as unknown as [number, number, number];
    const bin = Math.min(N_BINS - 1, Math.floor(seconds / 0.05));
    out[(trial * 60 + unit) * N_BINS + bin]! += 20;
  }
  return out.fill(Number.NaN, (60 + 7) * N_BINS, (60 + 8) * N_BINS);
}
