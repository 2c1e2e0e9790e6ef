import { lesionEffect, lesionExperiment, lesionOf, type TaskOutcome } from "@penfield/ablate";
import { type Activations, takeRows, throwIfAborted } from "@penfield/core";
import {
  contrast,
  crossValidate,
  selectUnits,
  type UnitMap,
  type UnitSet,
} from "@penfield/localize";
import { isSpikingOrganism } from "@penfield/organisms";
import type { NoteSection, Verdict } from "@penfield/report";
import { meanOverTime, type SpikingIntervention } from "@penfield/spiking";
import { mean } from "@penfield/stats";
import { lesionStore } from "../src/lesionStore.ts";
import type { Probe, ProbeContext, ProbeResult } from "../src/probe.ts";
import { rateTasks } from "../src/sections/dissociation.ts";
import { lesionSection } from "../src/sections/lesion.ts";
import { selectionSection, unitsSection } from "../src/sections/selection.ts";
import { softwareVersions } from "../src/software.ts";
import type { TaskRole } from "../src/tasks.ts";
import { alignmentVerdict, harmVerdict, selectivityVerdict } from "../src/verdicts.ts";
import { scopedStore } from "../src/workStore.ts";
import { describeActivity } from "./activity.ts";
import { alignRates } from "./alignment.ts";
import { rateMatchedRandom } from "./controls.ts";
import {
  type Branching,
  describeAvalanches,
  estimateBranching,
  recordActivity,
  steadyDrive,
} from "./dynamics.ts";
import { finishedParts } from "./finished.ts";
import { inputOf, openNetwork, type SpikingNetwork } from "./network.ts";
import { trialScorer } from "./scorer.ts";
import { makeTrials, selectTrials, TRIAL, type Trials } from "./task.ts";

const QUESTION =
  "Which units of a spiking network carry a remembered side through a delay, what does the network lose without them, and what becomes of its dynamics?";

const EXPECTATIONS = [
  "Units chosen on half of the trials stay selective for the remembered side on the other half.",
  "Silencing the selected units harms remembering more than silencing random units.",
  "Silencing the selected units spares reporting what is there.",
  "Silencing the selected units lowers the branching ratio more than silencing random units.",
  "The selected units predict the simulated recording better than random units.",
] as const;

/** A working memory in spikes: localized, silenced, and its dynamics before and after. */
export const spikingLesions: Probe = {
  id: "spiking-lesions",
  title: "Lesions of a spiking network",
  question: QUESTION,
  expectations: EXPECTATIONS,
  defaults: { model: "spiking-a", percent: 20, doses: [5, 10, 20, 40] },
  folder: "spiking-lesions",
  run,
};

/** The verdicts' word for the task in question is "language"; the report says "main". */
const ROLES: readonly TaskRole[] = ["language", "control"];
/** The end of the delay, when the pulses' own synaptic currents have died away. */
const LATE_DELAY = { from: TRIAL.responseStart - 30, to: TRIAL.responseStart };
const N_LOCALIZER = 400;
const N_RECORDED = 300;
/** The organisms were trained and tested on lower numbers, whatever the seed. */
const FIRST = { localizer: 1_000_000, tasks: 2_000_000, recording: 3_000_000 };

async function run(context: ProbeContext): Promise<ProbeResult> {
  const { settings, onProgress, signal } = context;
  const { seed } = settings;
  const network = await openNetwork(settings.model);
  const brain = await openNetwork(settings.model === "spiking-b" ? "spiking-a" : "spiking-b");
  const { model, nUnits } = network;
  const hooks = [network.spikes];

  // Which units.
  const localizer = makeTrials(N_LOCALIZER, seed, FIRST.localizer);
  const rates = await lateDelayRates(network, localizer);
  throwIfAborted(signal, "spiking-lesions");
  const side = (more: 0 | 1): Activations =>
    takeRows(
      rates,
      localizer.list.flatMap((trial, i) => (trial.more === more ? [i] : [])),
    );
  const [left, right] = [side(0), side(1)];
  const found = contrast(right, left, { magnitude: false });
  const strength: UnitMap = { ...found.t, data: found.t.data.map(Math.abs) };
  const k = Math.max(1, Math.floor((settings.percent / 100) * nUnits));
  const selected = selectUnits(strength, { k });
  const heldOut = crossValidate(right, left, { k, magnitude: false, direction: "both", seed });

  // What is lost.
  const perTask = settings.itemsPerGroup ?? 150;
  const trials = tasksOf(perTask, seed);
  const scorer = trialScorer(network, trials);
  const store = scopedStore(context.work, [
    model.sha256,
    trials.sha256,
    localizer.sha256,
    settings.percent,
    seed,
  ]);
  const finished = finishedParts(store);
  const experiment = await lesionExperiment(scorer, strength, {
    hooks,
    doses: settings.doses,
    mainDose: settings.percent,
    nRandom: settings.nRandom,
    nLayerMatched: 0,
    seed,
    store: lesionStore(store),
    onProgress,
    signal,
  });
  const rated = rateTasks(scorer.tasks, ROLES, experiment.baseline, seed);
  const meanRates = columnMeans(rates);
  const matched: UnitSet[] = Array.from({ length: settings.nRandom }, (_, i) =>
    rateMatchedRandom(selected, meanRates, seed + i),
  );
  const matchedOutcomes: (readonly TaskOutcome[])[] = [];
  for (const [i, set] of matched.entries()) {
    const score = () => scorer.score(lesionOf(set, hooks), { signal });
    matchedOutcomes.push(await finished.outcomes(`matched ${seed + i}`, score));
  }
  const main = experiment.runs.filter((r) => r.dose === experiment.mainDose);
  const localized = main.find((r) => r.set === "localized")!;
  const random = main.filter((r) => r.set === "random").map((r) => r.units);

  // The same sets, silenced only where they were chosen.
  const late = trialScorer(network, trials, LATE_DELAY);
  const lateRuns: LateRuns = {
    selected: await late.score(lesionOf(selected, hooks), { signal }),
    random: [],
    matched: [],
  };
  for (const kind of ["random", "matched"] as const) {
    for (const [i, set] of { random, matched }[kind].entries()) {
      const score = () => late.score(lesionOf(set, hooks), { signal });
      lateRuns[kind].push(await finished.outcomes(`late ${kind} ${seed + i}`, score));
    }
  }

  // What becomes of the dynamics.
  const drive = steadyDrive(seed);
  const record = (interventions: readonly SpikingIntervention[]) =>
    recordActivity(network, drive, interventions, signal);
  const intact = await record([]);
  const lesioned = await record(lesionOf(selected, hooks));
  const dynamics = {
    intact: estimateBranching(intact, true),
    localized: estimateBranching(lesioned, true),
    cut: estimateBranching(await record(network.withoutRecurrence), true),
    random: [] as Branching[],
  };
  for (const [i, set] of random.entries()) {
    const estimate = async () => estimateBranching(await record(lesionOf(set, hooks)), false);
    dynamics.random.push(await finished.branching(`random ${seed + i}`, estimate));
    onProgress?.({ stage: "dynamics", done: i + 1, total: random.length, unit: "lesions" });
  }

  // Beside another network.
  const recorded = makeTrials(N_RECORDED, seed, FIRST.recording);
  const aligned = await alignRates(
    await lateDelayRates(network, recorded),
    await lateDelayRates(brain, recorded),
    brain.name,
    recorded,
    selected,
    context,
  );

  const activity = await describeActivity(network, localizer, selected, lesionOf(selected, hooks));

  const { section: selection, arrays } = selectionSection(found, selected, heldOut, settings, {
    id: "selection",
    title: "Which units",
    reading: `Welch's t of each unit's rate in the last ${LATE_DELAY.to - LATE_DELAY.from} steps of the delay between trials with more pulses on the right (${right.shape[0]}) and on the left (${left.shape[0]}). The units whose t is farthest from 0, in either direction, are selected.`,
  });
  const { section: list, tables } = unitsSection(found, selected, heldOut, "mlp", {
    hook: network.spikes,
    bySize: true,
  });
  const lesion = lesionSection(experiment, scorer.tasks, ROLES, "mlp", seed);
  const verdicts: (Verdict | undefined)[] = [
    selectivityVerdict(EXPECTATIONS[0], heldOut),
    harmVerdict(EXPECTATIONS[1], experiment, rated, "language", "harmed", seed, "remembering"),
    harmVerdict(EXPECTATIONS[2], experiment, rated, "control", "spared", seed, "reporting"),
    dynamicsVerdict(EXPECTATIONS[3], dynamics),
    alignmentVerdict(EXPECTATIONS[4], aligned.section),
  ];
  const effects = matchedParagraph(
    experiment.baseline,
    localized.outcomes,
    matchedOutcomes,
    meanRates,
    { selected, matched, random },
    seed,
  );
  return {
    report: {
      schema: "penfield.report",
      version: 1,
      id: "spiking-lesions",
      kind: "spiking-lesions",
      title: `Lesions of ${network.name}`,
      question: QUESTION,
      intervals: { level: 0.95, method: "percentile bootstrap over items, 2000 draws" },
      model: {
        name: network.name,
        source: isSpikingOrganism(settings.model) ? settings.model : network.name,
        sha256: model.sha256,
        nLayers: 1,
        dModel: nUnits,
        // A spiking network has no vocabulary; its answers are the two sides.
        dVocab: 2,
        nParameters: network.nParameters,
      },
      software: softwareVersions(),
      seed,
      settings: {
        percent: settings.percent,
        doses: [...settings.doses],
        nRandom: settings.nRandom,
        dtSeconds: model.dt,
        hook: network.spikes,
        brain: brain.name,
        trialsPerTask: perTask,
      },
      stimuli: [
        stimuli("localizer", "localizer trials", localizer),
        stimuli("task", "trials of both tasks", trials),
        stimuli("recording stimuli", "recorded trials", recorded),
      ],
      warnings: [
        "A small network trained on a generated task: it shows what the analysis does with spikes, and says nothing about brains.",
        ...model.warnings,
        ...aligned.warnings,
      ],
      verdicts: verdicts.filter((v) => v !== undefined),
      sections: [
        {
          ...selection,
          hook: network.spikes,
          statistic: {
            ...selection.statistic,
            name: "Welch t",
            pooling: `mean over steps ${LATE_DELAY.from} to ${LATE_DELAY.to - 1}`,
            maxTokens: null,
          },
        },
        {
          ...lesion,
          hook: network.spikes,
          tasks: lesion.tasks.map((task) =>
            task.kind === "language" ? { ...task, kind: "main" as const } : task,
          ),
          reading:
            "Both tasks are done with no spike leaving the silenced units, for growing numbers of units. The grey band holds the random sets of the same size, drawn from all other units: a loss counts only where it leaves the band. Remembering needs what was shown before the delay, reporting does not.",
        },
        effects,
        lateSection(experiment.baseline, lateRuns, seed),
        dynamicsSection(dynamics, intact, lesioned, seed),
        aligned.section,
        aligned.geometry,
        ...activity.sections,
        {
          ...list,
          reading:
            "Each selected unit with its t on all trials (above 0: more for the right), and with its mean t on held-out halves in those splits whose other half selected it too, counted as positive where it has the same direction (empty where none did).",
        },
      ],
    },
    arrays: { ...arrays, ...activity.arrays },
    tables,
  };
}

/** Mean rate of each unit in the late delay, in spikes per step, `[nTrials, nUnits]`. */
function lateDelayRates({ model, spikes }: SpikingNetwork, trials: Trials): Promise<Activations> {
  return meanOverTime(model, inputOf(trials), { hook: { hook: spikes, ...LATE_DELAY } });
}

/** As many trials of each task. */
function tasksOf(perTask: number, seed: number): Trials {
  for (let n = 3 * perTask; ; n *= 2) {
    const all = makeTrials(n, seed, FIRST.tasks);
    const some = (["remember", "report"] as const).map((task) =>
      all.list.flatMap((trial, i) => (trial.task === task ? [i] : [])).slice(0, perTask),
    );
    if (some.every((list) => list.length === perTask)) return selectTrials(all, some.flat());
  }
}

function columnMeans({ data, shape: [nRows, nColumns] }: Activations): Float64Array {
  const means = new Float64Array(nColumns);
  for (let i = 0; i < nRows; i++) {
    for (let j = 0; j < nColumns; j++) means[j]! += data[i * nColumns + j]! / nRows;
  }
  return means;
}

const stimuli = (role: string, name: string, trials: Trials) => ({
  role,
  name,
  title: `${name}, made from the seed`,
  sha256: trials.sha256,
  licence: "MIT",
  nItems: trials.list.length,
});

interface Dynamics {
  readonly intact: Branching;
  readonly localized: Branching;
  readonly cut: Branching;
  readonly random: readonly Branching[];
}

const ratio = ({ m, interval }: Branching): string =>
  Number.isNaN(m)
    ? "undefined"
    : `${m.toFixed(4)}${interval ? ` (95 % ${interval[0].toFixed(4)} to ${interval[1].toFixed(4)})` : ""}`;

/** Does the lesion lower the branching ratio more than random lesions do? */
function dynamicsVerdict(expectation: string, dynamics: Dynamics): Verdict {
  const { intact, localized, cut, random } = dynamics;
  const ms = random.map(({ m }) => m);
  const text = `The branching ratio is ${ratio(intact)} intact, ${ratio(localized)} without the selected units, ${mean(ms).toFixed(4)} (${Math.min(...ms).toFixed(4)} to ${Math.max(...ms).toFixed(4)}) without random units, and ${ratio(cut)} with the recurrent weights cut.`;
  const sound = [intact, localized, ...random].every(
    ({ m, warnings }) => !Number.isNaN(m) && warnings.length === 0,
  );
  const asLow = ms.filter((m) => m <= localized.m).length;
  const falls = localized.m < intact.m;
  const outcome =
    !falls || asLow > ms.length / 4 ? "not seen" : sound && asLow === 0 ? "seen" : "undecided";
  return { expectation, outcome, text };
}

function dynamicsSection(
  dynamics: Dynamics,
  intact: Parameters<typeof describeAvalanches>[0],
  lesioned: Parameters<typeof describeAvalanches>[0],
  seed: number,
): NoteSection {
  const line = (name: string, b: Branching): string =>
    `${name}: branching ratio ${ratio(b)}, timescale ${b.tauSteps.toFixed(1)} steps; the usual estimate (one step) ${b.naive.toFixed(3)}; ${b.spikesPerStep.toFixed(2)} spikes per step.${b.warnings.length > 0 ? ` ${b.warnings.join(" ")}` : ""}`;
  return {
    kind: "note",
    id: "dynamics",
    title: "The dynamics before and after",
    reading:
      "10 recordings of 2800 steps under a weak and steady drive of both sides. The branching ratio is estimated from the decay of the regression of activity on activity up to 100 steps before (multistep regression), which units that are not counted do not bias; its interval is a jackknife over recordings. Synapses alone make activity outlast its cause: the network with its recurrent weights cut says how much.",
    paragraphs: [
      line("Intact", dynamics.intact),
      line("Selected units silenced", dynamics.localized),
      ...dynamics.random.slice(0, 3).map((b, i) => line(`Random units silenced, set ${i + 1}`, b)),
      line("Recurrent weights cut", dynamics.cut),
      `Avalanches, intact: ${describeAvalanches(intact, seed)}`,
      `Avalanches, selected units silenced: ${describeAvalanches(lesioned, seed)}`,
    ],
  };
}

interface LateRuns {
  readonly selected: readonly TaskOutcome[];
  readonly random: (readonly TaskOutcome[])[];
  readonly matched: (readonly TaskOutcome[])[];
}

const points = (value: number): string => (100 * value).toFixed(1);

/** Holding a memory, apart from making it: lesions that begin when the pulses are over. */
function lateSection(
  baseline: readonly TaskOutcome[],
  { selected, random, matched }: LateRuns,
  seed: number,
): NoteSection {
  return {
    kind: "note",
    id: "late-delay",
    title: "Silenced in the late delay alone",
    reading: `Change in accuracy at the main dose when the sets are silenced from step ${LATE_DELAY.from} to ${LATE_DELAY.to - 1} only: units that take in the pulses, or give the answer, are free to do so. No expectation was stated for this: it was added after the first run.`,
    paragraphs: baseline.map(({ task, values }, k) => {
      const beside = (sets: LateRuns["random"]) =>
        lesionEffect(
          values,
          selected[k]!.values,
          sets.map((outcomes) => outcomes[k]!.values),
          true,
          seed,
        );
      const [r, m] = [beside(random), beside(matched)];
      const interval = r.effect.interval
        ? ` (95 % interval ${points(r.effect.interval[0])} to ${points(r.effect.interval[1])})`
        : "";
      return `${task}: ${points(r.effect.value)} points with the selected units${interval}, ${points(r.randomMean)} ± ${points(r.randomSd)} with ${r.nRandom} random sets (p = ${r.p.toFixed(3)}), ${points(m.randomMean)} ± ${points(m.randomSd)} with rate-matched ones (p = ${m.p.toFixed(3)}).`;
    }),
  };
}

/** Selective units may merely be busy ones: the same comparison with sets of the same rates. */
function matchedParagraph(
  baseline: readonly TaskOutcome[],
  lesioned: readonly TaskOutcome[],
  matchedOutcomes: readonly (readonly TaskOutcome[])[],
  rates: Float64Array,
  sets: { selected: UnitSet; matched: readonly UnitSet[]; random: readonly UnitSet[] },
  seed: number,
): NoteSection {
  const rateOf = ({ indices }: UnitSet): number => mean(Array.from(indices, (i) => rates[i]!));
  const lines = baseline.map(({ task, values }, k) => {
    const { effect, randomMean, randomSd, nRandom, p } = lesionEffect(
      values,
      lesioned[k]!.values,
      matchedOutcomes.map((outcomes) => outcomes[k]!.values),
      true,
      seed,
    );
    return `${task}: ${points(effect.value)} points with the selected units, ${points(randomMean)} ± ${points(randomSd)} with ${nRandom} rate-matched sets (p = ${p.toFixed(3)}).`;
  });
  return {
    kind: "note",
    id: "rate-matched",
    title: "Are they merely the busy ones?",
    reading:
      "Change in accuracy at the main dose, beside random sets of other units that are matched to the selected ones in rate, unit by unit, as far as the others allow.",
    paragraphs: [
      ...lines,
      `In the late delay the selected units spike on ${points(rateOf(sets.selected))} % of steps, rate-matched ones on ${points(mean(sets.matched.map(rateOf)))} %, random ones on ${points(mean(sets.random.map(rateOf)))} %.`,
    ],
  };
}
