import { compareUnitSets, encodingScore } from "@penfield/align";
import { type Activations, tensor } from "@penfield/core";
import { complementRandom, type UnitSet } from "@penfield/localize";
import { meanOverRepeats, simulateRecording } from "@penfield/recordings";
import type { AlignmentSection, NoteSection } from "@penfield/report";
import { identify, leftOut, meanNormalized } from "../src/alignment.ts";
import type { ProbeContext } from "../src/probe.ts";
import { geometrySection } from "./geometry.ts";
import type { Trials } from "./task.ts";

const N_TARGETS = 60;

/**
 * How well the selected units' rates predict another network's on the same trials, beside random units, the trials' pulse counts
 * (floor) and the recording's own repeats (ceiling).
 *
 * @param own - Rates in the delay, `[nTrials, nUnits]`; `other` - of the network that stands for a brain.
 */
export async function alignRates(
  own: Activations,
  other: Activations,
  otherName: string,
  trials: Trials,
  selected: UnitSet,
  context: ProbeContext,
): Promise<{ section: AlignmentSection; geometry: NoteSection; warnings: readonly string[] }> {
  const { settings, onProgress, signal } = context;
  const { seed } = settings;
  const recording = simulateRecording(
    other,
    trials.list.map((_, i) => `trial-${i}`),
    {
      nTargets: N_TARGETS,
      nRepeats: 2,
      signalToNoise: 1,
      seed,
      name: `simulated-from-${otherName}`,
    },
  );
  const random = Array.from(
    { length: settings.nRandom },
    (_, i) => complementRandom(selected, selected.indices.length, seed + i).indices,
  );
  const options = {
    features: own,
    unitSets: { localized: selected.indices, random },
    recording,
    seed,
    onProgress,
    signal,
  };
  const result = await compareUnitSets(options);
  const counts = tensor(
    Float64Array.from(trials.list.flatMap(({ count }) => count)),
    ["stimulus", "unit"],
    [trials.list.length, 2],
  );
  const floor = await encodingScore(counts, meanOverRepeats(recording), {
    standardize: true,
    ceiling: result.ceiling?.maximumCorrelation,
    signal,
  });
  const identification = await identify(options, result.ceiling?.medianReliability, context);
  const draws = result.random.map(({ median }) => median);
  const row = (
    set: "all" | "floor",
    nUnits: number,
    { median, normalized }: typeof floor,
  ): AlignmentSection["rows"][number] => ({
    set,
    nUnits,
    score: { value: median, interval: null },
    draws: [],
    normalized: normalized?.median ?? null,
  });
  const { localized, ceiling, interval } = result;
  return {
    section: {
      kind: "alignment",
      id: "alignment",
      title: "Against a simulated recording",
      reading:
        "Ridge regression from units' rates in the late delay to each target, scored on held-out stretches of trials. The targets are noisy mixtures of another network's units on the same trials. The floor knows only how many pulses each side had. The interval resamples targets: it does not speak about other trials or networks.",
      recording: {
        name: recording.name,
        simulated: true,
        nStimuli: trials.list.length,
        nTargets: N_TARGETS,
        nRepeats: 2,
      },
      metric: "median over targets of held-out Pearson r",
      folds: { n: localized.nFolds, kind: "contiguous" },
      ceiling: ceiling ? { value: ceiling.medianMaximumCorrelation, interval: null } : null,
      rows: [
        {
          set: "localized",
          nUnits: selected.indices.length,
          score: { value: interval.estimate, interval: [interval.low, interval.high] },
          draws: [],
          normalized: localized.normalized?.median ?? null,
        },
        {
          set: "random",
          nUnits: selected.indices.length,
          score: { value: draws.reduce((a, b) => a + b, 0) / draws.length, interval: null },
          draws,
          normalized: meanNormalized(result.random),
        },
        row("all", own.shape[1], result.all),
        row("floor", 2, floor),
      ],
      p: result.p,
      identification,
    },
    geometry: geometrySection(own, counts, recording, selected, random),
    warnings: [
      `The "brain" is simulated from ${otherName}, another network that ships with Penfield, trained on the same task. It says nothing about brains.`,
      ...leftOut(localized, N_TARGETS),
    ],
  };
}
