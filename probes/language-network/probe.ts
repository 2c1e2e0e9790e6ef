import {
  createScorer,
  lesionExperiment,
  lesionHooks,
  lesionOf,
  type TaskSummary,
} from "@penfield/ablate";
import { DataError } from "@penfield/core";
import {
  contrast,
  crossValidate,
  multipleDemandStimuli,
  selectUnits,
  type UnitKind,
} from "@penfield/localize";
import { contrastSet, loadStimulusSet } from "@penfield/recordings";
import type { Section, Verdict } from "@penfield/report";
import { alignUnits, openBrainData } from "../src/alignment.ts";
import { corpusFolder } from "../src/corpora.ts";
import { lesionStore } from "../src/lesionStore.ts";
import { describeForReport, openModel } from "../src/openModel.ts";
import type { Probe, ProbeContext, ProbeResult } from "../src/probe.ts";
import { readUnitsOnce } from "../src/readUnits.ts";
import { dissociationSection, type RatedTasks, rateTasks } from "../src/sections/dissociation.ts";
import { lesionSection } from "../src/sections/lesion.ts";
import { selectionSection, unitsSection } from "../src/sections/selection.ts";
import { softwareVersions } from "../src/software.ts";
import { gatherTasks } from "../src/tasks.ts";
import { alignmentVerdict, harmVerdict, selectivityVerdict, textVerdict } from "../src/verdicts.ts";
import { scopedStore } from "../src/workStore.ts";

const QUESTION =
  "Which units of the model answer to sentences more than to strings of non-words, what does the model lose without them, and do they match a brain better than other units?";

const EXPECTATIONS = [
  "Units chosen on half of the stimuli stay selective on the other half.",
  "Silencing the selected units harms language tasks more than silencing random units.",
  "Silencing the selected units makes running text less predictable than silencing random units.",
  "Silencing the selected units spares control tasks.",
  "The selected units predict the recording better than random units.",
] as const;

/** The language network of a transformer: localized, silenced, and set beside a brain. */
export const languageNetwork: Probe = {
  id: "language-network",
  title: "The language network of a transformer",
  question: QUESTION,
  expectations: EXPECTATIONS,
  defaults: {},
  folder: "language-network",
  run,
};

/** Told apart in a list of reports; residual coordinates are the published choice. */
const UNIT_NAMES: Record<UnitKind, string> = {
  resid: "",
  mlp: " (MLP neurons)",
  heads: " (attention heads)",
};

async function run(context: ProbeContext): Promise<ProbeResult> {
  const { settings, onProgress, signal, work } = context;
  const { seed, units } = settings;
  // Everything that can be wrong with the input is found before the model is run.
  const set = await loadStimulusSet(settings.stimuli ?? corpusFolder("language-localizer"));
  const { positive, negative, conditions } = contrastSet(set, settings.positive, settings.negative);
  const taskPaths =
    settings.tasks.length > 0
      ? settings.tasks
      : ["minimal-pairs", "control-tasks", "prose"].map(corpusFolder);
  const { tasks, stimuli: taskStimuli } = await gatherTasks(taskPaths, {
    itemsPerGroup: settings.itemsPerGroup,
    seed,
  });
  if (tasks.length === 0)
    throw new DataError("language-network: expected at least one task, got none");
  const roles = tasks.map((t) => t.role);
  const brain = await openBrainData(context);

  const model = await openModel(context);
  try {
    const scorer = createScorer(
      model,
      tasks.map((t) => t.task),
      { scoring: settings.scoring, prependBos: settings.prependBos },
    );
    const reading = {
      units,
      pooling: settings.pooling,
      maxTokens: settings.maxTokens,
      prependBos: settings.prependBos,
    };
    const texts = [...positive, ...negative].map((s) => s.text);
    const all = await readUnitsOnce(model, texts, "localizer", reading, context);
    const [, nLayers, nUnits] = all.shape;
    const size = nLayers * nUnits;
    const split = positive.length * size;
    const half = (data: typeof all.data, n: number) =>
      ({ data, axes: all.axes, shape: [n, nLayers, nUnits] }) as typeof all;
    const pos = half(all.data.subarray(0, split), positive.length);
    const neg = half(all.data.subarray(split), negative.length);
    const found = contrast(pos, neg, { magnitude: settings.magnitude });
    const k = Math.max(1, Math.floor((settings.percent / 100) * size));
    const selected = selectUnits(found.t, { k });
    onProgress?.({
      stage: "cross-validating the localizer",
      done: 0,
      total: 1,
      unit: "localizers",
    });
    const heldOut = crossValidate(pos, neg, { k, magnitude: settings.magnitude, seed });

    const store = lesionStore(
      scopedStore(work, [
        model.sha256,
        tasks,
        found.t.data.join(),
        settings.scoring,
        settings.prependBos ?? null,
      ]),
    );
    const experiment = await lesionExperiment(scorer, found.t, {
      kind: units,
      doses: settings.doses,
      mainDose: settings.percent,
      nRandom: settings.nRandom,
      seed,
      store,
      onProgress,
      signal,
    });

    const rated = rateTasks(scorer.tasks, roles, experiment.baseline, seed);

    // A second localizer, for other work than language: hard sums against easy ones.
    const sums = multipleDemandStimuli(42);
    const demand = await readUnitsOnce(
      model,
      [...sums.positive, ...sums.negative],
      "multiple-demand",
      { units, pooling: "mean", prependBos: settings.prependBos },
      context,
    );
    const demandSplit = sums.positive.length * size;
    const demandT = contrast(
      half(demand.data.subarray(0, demandSplit), sums.positive.length),
      half(demand.data.subarray(demandSplit), sums.negative.length),
      { magnitude: settings.magnitude },
    ).t;
    const demandUnits = selectUnits(demandT, {
      k: experiment.runs.find((r) => r.set === "localized" && r.dose === experiment.mainDose)!.units
        .indices.length,
    });
    const demandOutcomes =
      (await store.get(`multiple-demand-${experiment.mainDose}`)) ??
      (await scorer.score(lesionOf(demandUnits, units), {
        wired: lesionHooks(units, nLayers),
        signal,
        onProgress,
      }));
    await store.put(`multiple-demand-${experiment.mainDose}`, demandOutcomes);

    const aligned = await alignUnits(model, selected, brain, context);

    const { section: selection, arrays } = selectionSection(found, selected, heldOut, settings, {
      id: "selection",
      title: "Which units",
      reading: `Welch's t of each unit between ${conditions.positive} (${positive.length}) and ${conditions.negative} (${negative.length}), ${settings.magnitude ? "on magnitudes of activations" : "on signed activations"}. The units with the largest t over all layers are selected.`,
    });
    const { section: unitList, tables } = unitsSection(found, selected, heldOut, units);
    const dissociation = dissociationSection(
      experiment,
      { id: "multiple-demand", title: "Multiple-demand units", outcomes: demandOutcomes },
      rated,
      seed,
    );
    const sections: Section[] = [
      selection,
      lesionSection(experiment, scorer.tasks, roles, units, seed),
      ...(dissociation ? [dissociation] : []),
      aligned.section,
      unitList,
    ];
    const verdicts: (Verdict | undefined)[] = [
      selectivityVerdict(EXPECTATIONS[0], heldOut),
      harmVerdict(EXPECTATIONS[1], experiment, rated, "language", "harmed", seed),
      textVerdict(EXPECTATIONS[2], experiment, roles, seed),
      harmVerdict(EXPECTATIONS[3], experiment, rated, "control", "spared", seed),
      alignmentVerdict(EXPECTATIONS[4], aligned.section),
    ];
    const identity = model.identity;
    return {
      report: {
        schema: "penfield.report",
        version: 1,
        id: "language-network",
        kind: "language-network",
        title: `The language network of ${model.cfg.modelName}${UNIT_NAMES[units]}`,
        question: QUESTION,
        intervals: { level: 0.95, method: "percentile bootstrap over items, 2000 draws" },
        model: describeForReport(model, settings),
        software: softwareVersions(),
        seed,
        settings: settingsForReport(settings, {
          identity: identity.state,
          textsScored: scorer.nTexts,
          tokensScored: scorer.nTokens,
        }),
        stimuli: [
          {
            role: "localizer",
            name: set.name,
            title: set.title,
            sha256: set.sha256,
            licence: set.licence,
            nItems: set.stimuli.length,
          },
          ...taskStimuli,
          ...aligned.stimuli,
        ],
        warnings: warningsFor(model.cfg.batchDependent, identity, selected.indices.length, [
          ...atChance(scorer.tasks, rated),
          ...aligned.warnings,
        ]),
        verdicts: verdicts.filter((v) => v !== undefined),
        sections,
      },
      arrays,
      tables,
    };
  } finally {
    await model.dispose();
  }
}

/** Paths of the user's machine do not go into reports: the stimuli's names and hashes do. */
function settingsForReport(
  settings: ProbeContext["settings"],
  more: Record<string, string | number>,
): ProbeResult["report"]["settings"] {
  const {
    units,
    percent,
    doses,
    nRandom,
    pooling,
    maxTokens,
    magnitude,
    itemsPerGroup,
    scoring,
    prependBos,
    threads,
  } = settings;
  return {
    units,
    percent,
    doses: [...doses],
    nRandom,
    pooling,
    maxTokens: maxTokens ?? null,
    magnitude,
    itemsPerGroup: itemsPerGroup ?? null,
    scoring,
    prependBos: prependBos ?? null,
    threads: threads ?? null,
    ...more,
  };
}

function warningsFor(
  batchDependent: boolean,
  identity: { state: string; maxAbsDifference: number },
  nSelected: number,
  more: readonly string[],
): string[] {
  return [
    ...(identity.state === "close"
      ? [
          `With hooks in place the model's output differs from the plain model's by up to ${identity.maxAbsDifference.toExponential(1)}; all results, the baseline included, come from the hooked model.`,
        ]
      : []),
    ...(batchDependent
      ? [
          "The model quantises activations dynamically: a text's result depends slightly on the others in its batch.",
        ]
      : []),
    ...(nSelected < 5
      ? [`Only ${nSelected} units are selected: results depend on each of them.`]
      : []),
    ...more,
  ];
}

/** Names the tasks that no verdict counts. */
function atChance(tasks: readonly TaskSummary[], { able }: RatedTasks): string[] {
  const names = tasks.filter((_, i) => !able[i]).map((task) => task.title);
  return names.length === 0
    ? []
    : [
        `The intact model does not do these tasks better than by guessing, so they have no say in the verdicts: ${names.join("; ")}.`,
      ];
}
