import {
  cka,
  classicalMds,
  energyShapeDistances,
  gaussianResponses,
  gaussianShapeDistances,
  shapeDistances,
  type Trials,
  triangleCheck,
} from "@penfield/compare";
import { type Activations, createRng, sha256, tensor, throwIfAborted } from "@penfield/core";
import { createLinalg, type Linalg, type Matrix, matrix } from "@penfield/linalg";
import type {
  MatrixSection,
  NoteSection,
  RasterSection,
  ReportModel,
  Verdict,
} from "@penfield/report";
import { spikeRaster } from "@penfield/spiking";
import { benjaminiHochberg, mean, welchT } from "@penfield/stats";
import type { Probe, ProbeContext, ProbeResult } from "../src/probe.ts";
import { softwareVersions } from "../src/software.ts";
import { type GroupTest, takeNetworks, testGroups } from "./groups.ts";
import {
  commonGround,
  countSpikes,
  DT_SECONDS,
  type NoiseKind,
  type NoisyNetwork,
  noisyInput,
  noisyNetwork,
  SIZE,
  type Size,
} from "./networks.ts";

const QUESTION =
  "Can spiking networks whose mean responses are the same be told apart by their trial-to-trial noise, and by which measures?";

const EXPECTATIONS = [
  "The two kinds of networks answer alike on average: few of their units' mean counts differ.",
  "By mean responses, a network's nearest neighbour does not tell its kind of noise.",
  "By the Gaussian stochastic metric, it does.",
  "By the energy distance, it does.",
  "Two groups of networks with the same kind of noise are told apart by no measure.",
] as const;

/** Noise that means do not show, and stochastic shape metrics do. */
export const stochasticSpiking: Probe = {
  id: "stochastic-spiking",
  title: "Spiking networks that differ by their noise",
  question: QUESTION,
  expectations: EXPECTATIONS,
  defaults: {},
  ownModel: true,
  folder: "stochastic-spiking",
  run: (context) => runNetworks(context, SIZE),
};

/** The last is of the first's kind: what tells these two apart is chance. */
const GROUPS: readonly { readonly title: string; readonly kind: NoiseKind }[] = [
  { title: "private noise", kind: "private" },
  { title: "shared noise", kind: "shared" },
  { title: "private noise again", kind: "private" },
];
const LEVEL = 0.05;

interface Measured {
  readonly name: string;
  readonly title: string;
  readonly ofMeans: boolean;
  readonly metric: boolean;
  readonly distances: Matrix<Float64Array>;
  readonly kinds: GroupTest;
  readonly same: GroupTest;
}

/** The probe with networks of any size. */
export async function runNetworks(
  { settings, onProgress, signal }: ProbeContext,
  size: Size,
): Promise<ProbeResult> {
  const { nPerGroup } = size;
  const members = (...groups: number[]) => membersOf(nPerGroup, groups);
  const firstHalf = members(0, 1).map((i) => i < nPerGroup);
  const { seed } = settings;
  const { weights, stimuli } = commonGround(seed, size);
  const networks: NoisyNetwork[] = [];
  const trials: Trials[] = [];
  const total = GROUPS.length * nPerGroup;
  for (const { kind } of GROUPS) {
    for (let i = 0; i < nPerGroup; i++) {
      throwIfAborted(signal, "stochastic-spiking");
      const rng = createRng(seed, 6_000_001 + networks.length);
      const network = noisyNetwork(weights, kind, rng, size);
      trials.push(await countSpikes(network, noisyInput(stimuli, rng, size), size, signal));
      networks.push(network);
      onProgress?.({ stage: "running networks", done: networks.length, total, unit: "networks" });
    }
  }
  const linalg = createLinalg(settings.threads === undefined ? {} : { threads: settings.threads });
  try {
    const measured: Measured[] = [];
    for (const { name, title, ofMeans, metric, compute } of measures) {
      const distances = await compute(linalg, trials, (done, of) => {
        throwIfAborted(signal, "stochastic-spiking");
        onProgress?.({ stage: title, done, total: of, unit: "pairs" });
      });
      const test = (...groups: number[]) =>
        testGroups(takeNetworks(distances, members(...groups)), firstHalf);
      measured.push({
        name,
        title,
        ofMeans,
        metric,
        distances,
        kinds: test(0, 1),
        same: test(0, 2),
      });
    }
    return await report(networks, trials, measured, seed, stimuli, size);
  } finally {
    await linalg.dispose();
  }
}

/** Places of the networks of some groups. */
const membersOf = (nPerGroup: number, groups: readonly number[]): number[] =>
  groups.flatMap((g) => Array.from({ length: nPerGroup }, (_, i) => g * nPerGroup + i));

const measures: readonly (Pick<Measured, "name" | "title" | "ofMeans" | "metric"> & {
  compute(
    linalg: Linalg,
    trials: readonly Trials[],
    onPair: (done: number, of: number) => void,
  ): Promise<Matrix<Float64Array>>;
})[] = [
  {
    name: "procrustes",
    title: "Procrustes distance of means",
    ofMeans: true,
    metric: true,
    compute: (linalg, trials, onPair) =>
      shapeDistances(linalg, trials.map(meansOf), { score: "euclidean", onPair }),
  },
  {
    name: "linear-cka",
    title: "1 - linear CKA of means",
    ofMeans: true,
    metric: false,
    async compute(linalg, trials, onPair) {
      const n = trials.length;
      const means = trials.map(meansOf);
      const data = new Float64Array(n * n);
      let done = 0;
      for (let a = 0; a < n; a++) {
        for (let b = a + 1; b < n; b++) {
          const d = Math.max(0, 1 - (await cka(linalg, means[a]!, means[b]!)));
          data[a * n + b] = d;
          data[b * n + a] = d;
          onPair(++done, (n * (n - 1)) / 2);
        }
      }
      return matrix(data, n, n);
    },
  },
  {
    name: "gaussian-shape",
    title: "Gaussian stochastic shape distance",
    ofMeans: false,
    metric: true,
    compute: (linalg, trials, onPair) =>
      gaussianShapeDistances(
        linalg,
        trials.map((t) => gaussianResponses(t)),
        { onPair },
      ),
  },
  {
    name: "energy-shape",
    title: "Energy stochastic shape distance",
    ofMeans: false,
    metric: true,
    compute: (linalg, trials, onPair) => energyShapeDistances(linalg, trials, { onPair }),
  },
];

/** Mean over repeats, `[nStimuli, nUnits]`. */
function meansOf({ data, nStimuli, nRepeats, nUnits }: Trials): Activations {
  const means = new Float64Array(nStimuli * nUnits);
  for (let k = 0; k < data.length; k++) {
    const stimulus = Math.floor(k / (nRepeats * nUnits));
    means[stimulus * nUnits + (k % nUnits)]! += data[k]! / nRepeats;
  }
  return tensor(means, ["stimulus", "unit"], [nStimuli, nUnits]);
}

/** Counts of a group's trials of one stimulus, units in the order of the weights. */
function pooled(
  networks: readonly NoisyNetwork[],
  trials: readonly Trials[],
  group: number,
  stimulus: number,
  { nPerGroup, nRepeats, nUnits }: Size,
): Activations {
  const data = new Float64Array(nPerGroup * nRepeats * nUnits);
  membersOf(nPerGroup, [group]).forEach((network, g) => {
    const { order } = networks[network]!;
    for (let r = 0; r < nRepeats; r++) {
      const from = (stimulus * nRepeats + r) * nUnits;
      const to = (g * nRepeats + r) * nUnits;
      order.forEach((place, unit) => {
        data[to + place] = trials[network]!.data[from + unit]!;
      });
    }
  });
  return tensor(data, ["stimulus", "unit"], [nPerGroup * nRepeats, nUnits]);
}

/** What was planted, as it came out. */
interface Truth {
  readonly nDiffering: number;
  readonly nMeans: number;
  /** Of each group: mean count, mean variance over repeats, mean correlation of pairs of units over repeats. */
  readonly groups: readonly {
    readonly count: number;
    readonly variance: number;
    readonly correlation: number;
  }[];
}

function truthOf(networks: readonly NoisyNetwork[], trials: readonly Trials[], size: Size): Truth {
  const { nPerGroup, nStimuli, nUnits } = size;
  const p = Array.from({ length: nStimuli }, (_, s) =>
    Array.from(
      welchT(pooled(networks, trials, 0, s, size), pooled(networks, trials, 1, s, size)).p,
    ),
  ).flat();
  return {
    nDiffering: benjaminiHochberg(p).filter((q) => q < LEVEL).length,
    nMeans: nStimuli * nUnits,
    groups: GROUPS.map((_, group) => {
      const each = membersOf(nPerGroup, [group]).map((i) => {
        const { means, covariances } = gaussianResponses(trials[i]!);
        const variances: number[] = [];
        const correlations: number[] = [];
        for (let s = 0; s < nStimuli; s++) {
          const at = (a: number, b: number) => covariances.data[(s * nUnits + a) * nUnits + b]!;
          for (let a = 0; a < nUnits; a++) {
            variances.push(at(a, a));
            for (let b = a + 1; b < nUnits; b++) {
              const scale = Math.sqrt(at(a, a) * at(b, b));
              if (scale > 0) correlations.push(at(a, b) / scale);
            }
          }
        }
        return [mean(means.data), mean(variances), mean(correlations)] as const;
      });
      const of = (k: 0 | 1 | 2) => mean(each.map((values) => values[k]));
      return { count: of(0), variance: of(1), correlation: of(2) };
    }),
  };
}

const percent = (share: number): string => `${Math.round(100 * share)} %`;
/** Distances of some measures are a thousand times those of others. */
const short = (value: number): string => String(Number(value.toPrecision(3)));
const outcome = (seen: boolean): Verdict["outcome"] => (seen ? "seen" : "not seen");
const sayTest = ({ title }: Measured, { score, between, within, p }: GroupTest): string =>
  `${title}: ${percent(score)} of nearest neighbours are of the network's own group (p = ${p.toFixed(3)}; mean distance between groups ${short(between)}, within ${short(within)})`;

function verdictsOf(truth: Truth, measured: readonly Measured[], nTrials: number): Verdict[] {
  const { nDiffering, nMeans } = truth;
  const named = (name: string) => measured.find((m) => m.name === name)!;
  const verdict = (
    k: number,
    list: readonly Measured[],
    which: "kinds" | "same",
    good: (p: number) => boolean,
  ): Verdict => ({
    expectation: EXPECTATIONS[k]!,
    outcome: outcome(list.every((m) => good(m[which].p))),
    text: `${list.map((m) => sayTest(m, m[which])).join("; ")}.`,
  });
  const above = (p: number): boolean => p > LEVEL;
  const below = (p: number): boolean => p <= LEVEL;
  return [
    {
      expectation: EXPECTATIONS[0],
      outcome: outcome(nDiffering / nMeans <= LEVEL),
      text: `${nDiffering} of ${nMeans} mean counts differ between the kinds (Welch's t over ${nTrials} trials each, q < ${LEVEL}).`,
    },
    verdict(
      1,
      measured.filter((m) => m.ofMeans),
      "kinds",
      above,
    ),
    verdict(2, [named("gaussian-shape")], "kinds", below),
    verdict(3, [named("energy-shape")], "kinds", below),
    verdict(4, measured, "same", above),
  ];
}

async function report(
  networks: readonly NoisyNetwork[],
  trials: readonly Trials[],
  measured: readonly Measured[],
  seed: number,
  stimuli: Float64Array,
  size: Size,
): Promise<ProbeResult> {
  const { nPerGroup } = size;
  const truth = truthOf(networks, trials, size);
  // Networks of one kind are counted through: the second group with private noise goes on where the first ends.
  const labels = GROUPS.flatMap(({ kind }, g) => {
    const before = GROUPS.slice(0, g).filter((group) => group.kind === kind).length * nPerGroup;
    return Array.from({ length: nPerGroup }, (_, i) => `${kind} ${before + i + 1}`);
  });
  const { section: raster, data: dots } = await rasterOf(networks, stimuli, seed, size);
  const models = GROUPS.map(({ title }, g): ReportModel => {
    const own = networks.slice(g * nPerGroup, (g + 1) * nPerGroup);
    return {
      name: `${nPerGroup} networks with ${title}`,
      source: `built by the probe, seed ${seed}; the hash is of those of all ${nPerGroup}`,
      sha256: sha256(own.map(({ model }) => model.sha256).join(" ")),
      nLayers: 1,
      dModel: size.nUnits,
      // A spiking network has no vocabulary.
      dVocab: 1,
    };
  });
  const matrices = measured.map(({ name, title, metric, distances }): MatrixSection => {
    const { points, explained } = classicalMds(distances);
    const triangle = metric ? triangleCheck(distances) : undefined;
    const axis = { title: "network", labels };
    return {
      kind: "matrix",
      id: `matrix-${name}`,
      title: `${title}, all pairs`,
      reading: `The map places alike networks near each other; only distances mean something in it. Private ${nPerGroup + 1} to ${2 * nPerGroup} are the second group with private noise.${name === "energy-shape" ? " Squared distances are estimated without bias: within noise they fall below 0, which counts as 0, and then the triangle inequality fails." : ""}`,
      measure: { name, title, larger: "less alike", metric },
      rows: axis,
      columns: axis,
      nStimuli: size.nStimuli,
      array: `${name}.npy`,
      floor: null,
      map: {
        distance: "the measure itself",
        points: labels.map((_, i) => [points.data[2 * i]!, points.data[2 * i + 1]!] as const),
        explained,
      },
      triangle: triangle
        ? {
            nViolations: triangle.nViolations,
            nInequalities: triangle.nInequalities,
            worst: triangle.worst,
          }
        : null,
    };
  });
  const tests: NoteSection = {
    kind: "note",
    id: "neighbours",
    title: "What nearest neighbours tell",
    reading: `Each network is left out and its nearest neighbour asked for its group; p is the share of all ${measured[0]!.kinds.nDivisions} divisions of ${2 * nPerGroup} networks into two groups of ${nPerGroup} that do as well.`,
    paragraphs: [
      ...measured.map((m) => `Private against shared noise. ${sayTest(m, m.kinds)}.`),
      ...measured.map((m) => `Private noise against private noise. ${sayTest(m, m.same)}.`),
    ],
  };
  const planted: NoteSection = {
    kind: "note",
    id: "planted",
    title: "What was planted",
    reading:
      "Each unit by itself behaves alike in all networks; only what units have in common differs. Means over networks, stimuli, and units or pairs of units.",
    paragraphs: truth.groups.map(
      ({ count, variance, correlation }, g) =>
        `${GROUPS[g]!.title}: ${count.toFixed(2)} spikes per trial, variance over repeats ${variance.toFixed(2)}, correlation of two units over repeats ${correlation.toFixed(3)}.`,
    ),
  };
  return {
    report: {
      schema: "penfield.report",
      version: 1,
      id: "stochastic-spiking",
      kind: "stochastic-spiking",
      title: "Spiking networks that differ by their noise",
      question: QUESTION,
      intervals: { level: 0.95, method: "none: exact permutation tests" },
      model: models[0]!,
      comparedWith: models.slice(1),
      software: softwareVersions(),
      seed,
      settings: {
        networksPerGroup: nPerGroup,
        nUnits: size.nUnits,
        nRepeats: size.nRepeats,
        nSteps: size.nSteps,
        dtSeconds: DT_SECONDS,
        unitsPerSharedSource: size.nShared,
      },
      stimuli: [
        {
          role: "stimuli",
          name: "features",
          title: `features of ${size.nStimuli} stimuli, made from the seed`,
          sha256: sha256(new Uint8Array(stimuli.buffer)),
          licence: "MIT",
          nItems: size.nStimuli,
        },
      ],
      warnings: [
        "Networks made by hand with a known difference: it shows what the measures see, and says nothing about brains or trained networks.",
      ],
      verdicts: verdictsOf(truth, measured, nPerGroup * size.nRepeats),
      sections: [planted, tests, ...matrices, raster],
    },
    arrays: {
      ...Object.fromEntries(
        measured.map(({ name, distances: { data, nRows, nColumns } }) => [
          `${name}.npy`,
          { data: Float64Array.from(data), shape: [nRows, nColumns] },
        ]),
      ),
      "raster.npy": { data: dots, shape: [dots.length / 3, 3] },
    },
    tables: {},
  };
}

/** One trial of the same stimulus in a network of each kind, units in the order of the weights. */
async function rasterOf(
  networks: readonly NoisyNetwork[],
  stimuli: Float64Array,
  seed: number,
  size: Size,
): Promise<{ readonly section: RasterSection; readonly data: Float64Array }> {
  const points: number[] = [];
  const shown = [0, size.nPerGroup];
  const { nPerGroup, nUnits, nShared, nSteps } = size;
  const { data, shape } = noisyInput(stimuli, createRng(seed, 6_000_100), {
    ...size,
    nStimuli: 1,
    nRepeats: 1,
  });
  const one = { data, shape };
  for (const [trial, i] of shown.entries()) {
    const { model, order } = networks[i]!;
    const { cache } = await model.run({ input: one, capture: ["units.spikes"] });
    const { data: dots } = spikeRaster(cache.get("units.spikes")!, { dt: DT_SECONDS });
    for (let k = 0; k < dots.length; k += 3) points.push(trial, dots[k + 1]!, order[dots[k + 2]!]!);
  }
  return {
    section: {
      kind: "raster",
      id: "raster",
      title: "One trial of each kind",
      reading:
        "The same stimulus in a network with private and in one with shared noise. Units of a group share a source of noise in the second.",
      trials: shown.map((i) => GROUPS[i / nPerGroup]!.title),
      duration: nSteps * DT_SECONDS,
      nUnits,
      nSpikes: points.length / 3,
      array: "raster.npy",
      groups: Array.from({ length: nUnits / nShared }, (_, g) => ({
        title: `units ${g * nShared} to ${(g + 1) * nShared - 1}`,
        nUnits: nShared,
      })),
    },
    data: Float64Array.from(points),
  };
}
