import { createScorer, lesionExperiment } from "@penfield/ablate";
import { sha256 } from "@penfield/core";
import { HookedModel } from "@penfield/hooks";
import {
  contrast,
  crossValidate,
  intersect,
  readUnits,
  selectUnits,
  unitSet,
} from "@penfield/localize";
import type { Task } from "@penfield/recordings";
import type { Verdict } from "@penfield/report";
import type { Probe, ProbeContext, ProbeResult } from "../src/probe.ts";
import { rateTasks } from "../src/sections/dissociation.ts";
import { lesionSection } from "../src/sections/lesion.ts";
import { selectionSection, unitsSection } from "../src/sections/selection.ts";
import { softwareVersions } from "../src/software.ts";
import type { TaskRole } from "../src/tasks.ts";
import { harmVerdict, selectivityVerdict } from "../src/verdicts.ts";
import { plantedModel } from "./plantedModel.ts";

const QUESTION =
  "If a model's language circuit is known because we put it there, does the analysis find it, and does silencing it break what it should and nothing else?";

const EXPECTATIONS = [
  "Every planted unit is found, and no other.",
  "Units chosen on half of the stimuli stay selective on the other half.",
  "Silencing the selected units harms agreement more than silencing random units.",
  "Silencing the selected units spares the series.",
] as const;

/** The main experiment on a model whose language circuit is known. */
export const plantedCircuit: Probe = {
  id: "planted-circuit",
  title: "A planted language circuit",
  question: QUESTION,
  expectations: EXPECTATIONS,
  // 6 coordinates after each of 4 blocks: 24 of 640 units are the whole truth.
  defaults: { percent: 3.75, doses: [0.5, 1, 2, 3.75], maxTokens: undefined },
  ownModel: true,
  folder: "planted-circuit",
  run,
};

const ROLES: readonly TaskRole[] = ["language", "control"];

async function run({ settings, onProgress, signal }: ProbeContext): Promise<ProbeResult> {
  const { seed } = settings;
  const truth = plantedModel(seed);
  const model = await HookedModel.fromBytes(truth.bytes, {
    name: "planted",
    config: truth.config,
    tokenizer: truth.tokenizer,
  });
  try {
    const tasks: Task[] = [
      {
        kind: "minimal-pairs",
        id: "agreement",
        title: "Subject-verb agreement",
        items: truth.agreement.map((item) => ({ ...item, group: "agreement" })),
      },
      {
        kind: "continuation",
        id: "series",
        title: "The next symbol of a series",
        items: truth.series,
      },
    ];
    const reading = { pooling: "last-token" as const, maxTokens: undefined, onProgress, signal };
    const pos = await readUnits(model, truth.sentences, reading);
    const neg = await readUnits(model, truth.nonwords, reading);
    const found = contrast(pos, neg);
    const units = truth.planted.flatMap((i) =>
      Array.from({ length: truth.nLayers }, (_, l) => l * truth.dModel + i),
    );
    const known = unitSet(truth.nLayers, truth.dModel, units);
    const k = known.indices.length;
    const selected = selectUnits(found.t, { k });
    const heldOut = crossValidate(pos, neg, { k, seed });
    const scorer = createScorer(model, tasks, { prependBos: false });
    const experiment = await lesionExperiment(scorer, found.t, {
      doses: settings.doses,
      mainDose: settings.doses.includes(settings.percent)
        ? settings.percent
        : Math.max(...settings.doses),
      nRandom: settings.nRandom,
      seed,
      onProgress,
      signal,
    });
    const rated = rateTasks(scorer.tasks, ROLES, experiment.baseline, seed);
    const hits = intersect(selected, known).indices.length;
    const recall: Verdict = {
      expectation: EXPECTATIONS[0],
      outcome: hits === k && selected.indices.length === k ? "seen" : "not seen",
      text: `${hits} of ${k} planted units are among the ${selected.indices.length} selected (recall ${(hits / k).toFixed(3)}).`,
    };
    const { section, arrays } = selectionSection(found, selected, heldOut, settings, {
      id: "selection",
      title: "Which units",
      reading: `Welch's t of each unit between sentences (${truth.sentences.length}) and non-words (${truth.nonwords.length}). The planted coordinates are ${truth.planted.join(", ")} after every block.`,
    });
    const { section: list, tables } = unitsSection(found, selected, heldOut, "resid");
    const verdicts = [
      recall,
      selectivityVerdict(EXPECTATIONS[1], heldOut),
      harmVerdict(EXPECTATIONS[2], experiment, rated, "language", "harmed", seed),
      harmVerdict(EXPECTATIONS[3], experiment, rated, "control", "spared", seed),
    ];
    const stimuli = (role: string, name: string, value: readonly unknown[]) => ({
      role,
      name,
      title: `${name} of the planted model, seed ${seed}`,
      sha256: sha256(JSON.stringify(value)),
      licence: "MIT",
      nItems: value.length,
    });
    return {
      report: {
        schema: "penfield.report",
        version: 1,
        id: "planted-circuit",
        kind: "planted-circuit",
        title: "A planted language circuit",
        question: QUESTION,
        intervals: { level: 0.95, method: "percentile bootstrap over items, 2000 draws" },
        model: {
          name: "planted",
          source: `built by the probe, seed ${seed}`,
          sha256: model.sha256,
          nLayers: truth.nLayers,
          dModel: truth.dModel,
          dVocab: model.cfg.dVocab ?? 1,
        },
        software: softwareVersions(),
        seed,
        settings: {
          percent: settings.percent,
          doses: [...settings.doses],
          nRandom: settings.nRandom,
          planted: [...truth.planted],
        },
        stimuli: [
          stimuli("localizer", "sentences and non-words", [...truth.sentences, ...truth.nonwords]),
          stimuli("language task", "agreement", truth.agreement),
          stimuli("control task", "series", truth.series),
        ],
        warnings: [
          "The model is built by hand: it shows that the analysis finds what is there, not what is in trained models.",
        ],
        verdicts: verdicts.filter((v) => v !== undefined),
        sections: [section, lesionSection(experiment, scorer.tasks, ROLES, "resid", seed), list],
      },
      arrays,
      tables,
    };
  } finally {
    await model.dispose();
  }
}
