import {
  type Identification,
  type IdentifyMethod,
  identify,
  type Rate,
  ridgeMethod,
} from "@penfield/align";
import { calcRdm, cka, compareRdms } from "@penfield/compare";
import { type Activations, type OnProgress, tensor } from "@penfield/core";
import type { Linalg } from "@penfield/linalg";
import type { WorkStore } from "@penfield/probes";
import type { IdentificationSection } from "@penfield/report";
import type { FeatureSet, SubjectScores } from "./scores.ts";
import type { AlignSettings } from "./settings.ts";

/** As many targets as this stand for the recording: rates rise with targets, and cost with them. */
const MOST_TARGETS = 100;

/** Ways to compare a candidate with a brain, by the names of `penfield compare`. */
function methodsFor(
  groups: readonly string[] | undefined,
  { folds, innerFolds }: AlignSettings,
  linalg: Linalg,
): readonly IdentifyMethod[] {
  const outerFolds = groups ? Math.min(folds, new Set(groups).size) : folds;
  const asUnits = (y: { data: Activations["data"]; shape: readonly [number, number] }) =>
    tensor(y.data, ["stimulus", "unit"], y.shape);
  return [
    ridgeMethod({ groups, outerFolds, innerFolds, standardize: true, linalg }),
    {
      name: "linear-cka",
      title: "linear CKA, debiased",
      score: (x, y) => cka(linalg, x, asUnits(y), { estimator: "debiased" }),
    },
    {
      name: "rsa-spearman",
      title: "RSA, correlation and Spearman",
      score: async (x, y) => {
        const [a, b] = await Promise.all([
          calcRdm(x, { method: "correlation", linalg }),
          calcRdm(asUnits(y), { method: "correlation", linalg }),
        ]);
        const { data } = await compareRdms(a, b, { method: "spearman", linalg });
        return data[0]!;
      },
    },
  ];
}

/** The feature sets spread over all, the first and the last among them. */
function spreadOver<T>(all: readonly T[], n: number): readonly T[] {
  if (all.length <= n) return all;
  return Array.from({ length: n }, (_, i) => all[Math.round((i * (all.length - 1)) / (n - 1))]!);
}

/** If one of the feature sets were the brain, recorded like this, would the scores name it? */
export async function identificationSection(
  sets: readonly FeatureSet[],
  { subject, ceiling, groups, features }: SubjectScores,
  settings: AlignSettings,
  {
    linalg,
    work,
    onProgress,
    signal,
  }: {
    linalg: Linalg;
    work: WorkStore;
    onProgress: OnProgress;
    signal: AbortSignal;
  },
): Promise<IdentificationSection> {
  const [nRepeats, nStimuli, nTargets] = subject.recording.data.shape;
  const reliability = ceiling?.medianReliability;
  const noiseEstimated =
    settings.signalToNoise === undefined &&
    reliability !== undefined &&
    reliability > 0 &&
    reliability < 1;
  const signalToNoise =
    settings.signalToNoise ?? (noiseEstimated ? reliability / (1 - reliability) / nRepeats : 1);
  const all = sets.map(({ title }, i) => ({ name: title, features: features[i]! }));
  const candidates = spreadOver(all, settings.candidates);
  const used = Math.min(nTargets, MOST_TARGETS);
  const methods = methodsFor(groups, settings, linalg);
  const found = await identify({
    candidates,
    methods,
    nSimulations: settings.simulations,
    nTargets: used,
    nRepeats,
    signalToNoise,
    // Halves of the stimuli would break groups that are few; folds need some of each.
    stimulusCounts: [0.25, 0.5].map((share) => Math.round(share * nStimuli)).filter((n) => n >= 30),
    targetCounts: [Math.round(used / 4)].filter((n) => n >= 2 && n < used),
    seed: settings.seed,
    work,
    onProgress,
    signal,
  });
  return sectionOf(found, { nStimuli, nTargets: used, nRepeats, signalToNoise, noiseEstimated });
}

const estimate = ({ value, low, high }: Rate): { value: number; interval: [number, number] } => ({
  value,
  interval: [low, high],
});

function sectionOf(
  { candidates, nBrains, methods, curve, chance }: Identification,
  data: Pick<
    IdentificationSection,
    "nStimuli" | "nTargets" | "nRepeats" | "signalToNoise" | "noiseEstimated"
  >,
): IdentificationSection {
  const best = methods.reduce((a, b) => (b.rate.value > a.rate.value ? b : a));
  const full = { stimuli: data.nStimuli, targets: data.nTargets };
  return {
    kind: "identification",
    id: "identification",
    title: "Would we know?",
    reading: `Guessing names the right one in ${(100 * chance).toFixed(0)} % of cases; ${best.title} in ${(100 * best.rate.value).toFixed(0)} %. Where a rate is near guessing, the order of these candidates in the scores above says nothing.`,
    candidates,
    nBrains,
    ...data,
    methods: methods.map(({ name, title, rate, confusion }) => ({
      name,
      title,
      rate: estimate(rate),
      confusion,
    })),
    curves: methods.flatMap(({ name, rate }, m) =>
      (["stimuli", "targets"] as const).flatMap((over) => {
        const points = curve
          .filter((point) => point.over === over)
          .map(({ n, rates }) => ({ n, rate: estimate(rates[m]!) }));
        return points.length === 0
          ? []
          : [{ method: name, over, points: [...points, { n: full[over], rate: estimate(rate) }] }];
      }),
    ),
  };
}
