import type {
  AlignmentSection,
  DissociationSection,
  LesionSection,
  LesionTask,
  MatrixSection,
  ModelComparisonSection,
  NoteSection,
  RdmsSection,
  Section,
  SelectionSection,
  SimilaritySection,
  UnitsSection,
} from "@penfield/report";
import { layerScoresFigure, SET_NAMES, scoresFigure } from "../figures/alignment.ts";
import { matrixFigure } from "../figures/dissociation.ts";
import { drawCells, type Exhibit } from "../figures/exhibit.ts";
import { doseFigures } from "../figures/lesion.ts";
import {
  type MatrixMaps,
  matrixFigures,
  rdmFigures,
  similarityFigure,
  similarityNumbers,
} from "../figures/matrices.ts";
import { differencesFigure, modelsFigure } from "../figures/modelComparison.ts";
import type { FieldMaps } from "../figures/scoreMap.ts";
import {
  heldOutFigure,
  layersFigure,
  mapFigure,
  type SelectionMaps,
} from "../figures/selection.ts";
import {
  fixed,
  interval,
  probability,
  pText,
  short,
  signed,
  whole,
  withInterval,
} from "../format.ts";
import { type Html, html, type Part } from "../html.ts";
import {
  brainBody,
  brainExhibits,
  isBrainSection,
  recordingNotice,
  shuffledNotice,
} from "./brainSections.ts";
import { csvLink, dataTable, figure } from "./parts.ts";

/** What a section needs beside report.json: its arrays, or why they cannot be shown. */
export type SectionMaps =
  | SelectionMaps
  | MatrixMaps
  | FieldMaps
  | { readonly problem: string }
  | undefined;

/** Everything of a section that has numbers of its own, in the order of the page. */
export function sectionExhibits(section: Section, maps: SectionMaps): readonly Exhibit[] {
  if (isBrainSection(section)) {
    return brainExhibits(section, maps && "fields" in maps ? maps : undefined);
  }
  switch (section.kind) {
    case "selection":
      return [
        layersFigure(section),
        ...(maps && "t" in maps ? [mapFigure(section, maps)] : []),
        ...(section.heldOut.nSplits > 0 ? [heldOutFigure(section)] : []),
      ];
    case "lesion":
      return [
        ...doseFigures(section),
        effectsTable(section),
        ...(section.groups.length > 0 ? [groupsTable(section)] : []),
      ];
    case "dissociation":
      return [matrixFigure(section)];
    case "alignment": {
      const layers = layerScoresFigure(section);
      return [scoresFigure(section), ...(layers ? [layers] : [])];
    }
    case "similarity": {
      const drawn = similarityFigure(section);
      return [...(drawn ? [drawn] : []), similarityTable(section)];
    }
    case "matrix":
      return maps && "values" in maps ? matrixFigures(section, maps) : [];
    case "rdms":
      return maps && "values" in maps ? rdmFigures(section, maps) : [];
    case "model-comparison": {
      const differences = differencesFigure(section);
      return [modelsFigure(section), ...(differences ? [differences] : [])];
    }
    case "units":
    case "note":
      return [];
  }
}

/** The address of a unit's page, if there is one. */
export type UnitLinks = (layer: number, unit: number) => string | undefined;

/** A section of the page; `base` is the report's address. */
export function sectionView(
  section: Section,
  maps: SectionMaps,
  base: string,
  unitLinks: UnitLinks = () => undefined,
  /** Whether the page is of this section alone, and has its title already. */
  alone = false,
): Html {
  const title = html`<a class="quiet" href="${base}/sections/${encodeURIComponent(section.id)}">${section.title}</a>`;
  return html`<section id="section-${section.id}" aria-labelledby="heading-${section.id}">
<h2 id="heading-${section.id}"${alone && html` class="unseen"`}>${alone ? section.title : title}</h2>
${section.reading && html`<p class="reading">${section.reading}</p>`}
${sectionBody(section, maps, base, unitLinks)}
</section>`;
}

function sectionBody(
  section: Section,
  maps: SectionMaps,
  base: string,
  unitLinks: UnitLinks,
): Part {
  const exhibits = sectionExhibits(section, maps);
  if (isBrainSection(section)) {
    return brainBody(section, exhibits, unreadable("The figures", maps), base);
  }
  switch (section.kind) {
    case "selection":
      return selectionBody(section, exhibits, maps, base);
    case "lesion":
      return lesionBody(section, exhibits, base);
    case "dissociation":
      return dissociationBody(section, exhibits, base);
    case "alignment":
      return alignmentBody(section, exhibits, base);
    case "similarity":
      return similarityBody(section, exhibits, base);
    case "matrix":
      return matrixBody(section, exhibits, maps, base);
    case "rdms":
      return rdmsBody(section, exhibits, maps, base);
    case "model-comparison":
      return modelComparisonBody(section, exhibits, base);
    case "units":
      return unitsBody(section, base, unitLinks);
    case "note":
      return noteBody(section);
  }
}

const figures = (exhibits: readonly Exhibit[], base: string): Html =>
  html`<div class="figures">${exhibits.filter(({ drawing }) => drawing).map((exhibit) => figure(exhibit, base))}</div>`;

const poolings: Readonly<Record<string, string>> = {
  last: "at the last token",
  "last-token": "at the last token",
  mean: "averaged over tokens",
};

function selectionBody(
  section: SelectionSection,
  exhibits: readonly Exhibit[],
  maps: SectionMaps,
  base: string,
): Html {
  const { selected, statistic, hook, nLayers, nUnits, heldOut } = section;
  const tokens =
    statistic.maxTokens === null ? "all tokens" : `first ${statistic.maxTokens} tokens`;
  const chosen = [
    `${short(selected.percent)} %`,
    selected.scope === "global" ? "over the whole model" : "in each layer",
    ...(selected.nSelected === selected.k ? [] : [`${whole(selected.k)} asked for`]),
  ];
  const measured = [
    `${statistic.name} of ${statistic.magnitude ? "activation magnitudes" : "activations"}`,
    poolings[statistic.pooling] ?? statistic.pooling,
    tokens,
  ];
  return html`<p>${whole(selected.nSelected)} of ${whole(nLayers * nUnits)} units selected (${chosen.join(", ")}) at <code>${hook}</code> by ${measured.join(", ")}.</p>
${heldOut.nSplits === 0 && html`<p class="notice">Whether the selection holds on other stimuli was not measured.</p>`}
${maps && "problem" in maps && html`<p class="message">The map of single units cannot be drawn: ${maps.problem}</p>`}
${figures(exhibits, base)}`;
}

/** What the localized set gives at a dose. */
function ablated(section: LesionSection, task: LesionTask, dose: number) {
  return section.curves
    .find((curve) => curve.task === task.id && curve.set === "localized")
    ?.points.find((point) => point.dose === dose)?.value;
}

function effectsTable(section: LesionSection): Exhibit {
  return {
    id: `${section.id}-effects`,
    title: "Change of every task at every dose",
    description: "",
    caption: "",
    drawing: null,
    numbers: {
      columns: [
        "task",
        "metric",
        "n_items",
        "dose_percent",
        "baseline",
        "effect",
        "low",
        "high",
        "random_mean",
        "random_sd",
        "n_random",
        "z",
        "p",
      ],
      rows: section.effects.map(({ task, dose, effect, randomMean, randomSd, nRandom, z, p }) => {
        const { metric, nItems, baseline } = section.tasks.find(({ id }) => id === task)!;
        return [
          task,
          metric,
          nItems,
          dose,
          baseline.value,
          effect.value,
          effect.interval?.[0] ?? null,
          effect.interval?.[1] ?? null,
          randomMean,
          randomSd,
          nRandom,
          z,
          p,
        ];
      }),
    },
  };
}

function groupsTable(section: LesionSection): Exhibit {
  return {
    id: `${section.id}-groups`,
    title: `Parts of the tasks at ${short(section.mainDose)} % silenced`,
    description: "",
    caption: "",
    drawing: null,
    numbers: {
      columns: ["task", "group", "n_items", "baseline", "ablated", "change", "random_mean"],
      rows: section.groups.map(({ task, group, nItems, baseline, ablated, randomMean }) => [
        task,
        group,
        nItems,
        baseline,
        ablated,
        difference(ablated, baseline),
        randomMean,
      ]),
    },
  };
}

const difference = (a: number | null, b: number | null): number | null =>
  a === null || b === null ? null : a - b;

function effectRows(section: LesionSection, dose: number): Part[][] {
  return section.effects
    .filter((effect) => effect.dose === dose)
    .map(({ task: id, effect, randomMean, randomSd, nRandom, z, p }) => {
      const task = section.tasks.find((one) => one.id === id)!;
      const after = ablated(section, task, dose);
      return [
        html`${task.title}<small>${task.kind}, ${task.metric}${task.higherIsBetter ? "" : " (lower is better)"}, ${whole(task.nItems)} items</small>`,
        stacked(fixed(task.baseline.value), interval(task.baseline)),
        after ? stacked(fixed(after.value), interval(after)) : "–",
        stacked(html`<strong>${signed(effect.value)}</strong>`, interval(effect, signed)),
        stacked(`${signed(randomMean)} ± ${fixed(randomSd)}`, `${nRandom} sets`),
        fixed(z, 1),
        probability(p),
      ];
    });
}

/** A number above its interval. */
const stacked = (value: Part, below: Part): Html => html`${value}<small>${below}</small>`;

const effectColumns = [
  { title: "Task" },
  { title: "Intact", numeric: true },
  { title: "Silenced", numeric: true },
  { title: "Change", numeric: true },
  { title: html`Random change <small>mean ± sd</small>`, numeric: true },
  { title: "z", numeric: true },
  { title: "p", numeric: true },
] as const;

function lesionBody(section: LesionSection, exhibits: readonly Exhibit[], base: string): Html {
  const { mainDose } = section;
  const others = section.doses.filter((dose) => dose !== mainDose);
  const find = (name: string) => exhibits.find(({ id }) => id === `${section.id}-${name}`);
  const groups = find("groups");
  return html`<p>Units silenced at <code>${section.hook}</code>. Grey: random sets of the same size, from smallest to largest, and their mean. Vertical lines: intervals.</p>${figures(exhibits, base)}
<h3>What changed at ${short(mainDose)} % silenced</h3>
${dataTable(`Tasks with ${short(mainDose)} percent of the units silenced`, effectColumns, effectRows(section, mainDose))}
${
  others.length > 0 &&
  html`<details><summary>Other doses</summary>${others.map((dose) =>
    dataTable(
      `${short(dose)} percent of the units silenced`,
      effectColumns,
      effectRows(section, dose),
    ),
  )}</details>`
}
${csvLink(find("effects")!, base)}
${groups && html`<h3>${groups.title}</h3>${groupsView(section)}${csvLink(groups, base)}`}`;
}

function groupsView(section: LesionSection): Html {
  const several = new Set(section.groups.map(({ task }) => task)).size > 1;
  const name = (id: string) => section.tasks.find((task) => task.id === id)!.title;
  return dataTable(
    "Parts of the tasks",
    [
      { title: "Part" },
      ...(several ? [{ title: "Task" }] : []),
      ...["Items", "Intact", "Silenced", "Change", "Random mean"].map((title) => ({
        title,
        numeric: true,
      })),
    ],
    section.groups.map(({ task, group, nItems, baseline, ablated, randomMean }) => [
      group,
      ...(several ? [name(task)] : []),
      whole(nItems),
      fixed(baseline),
      fixed(ablated),
      html`<strong>${signed(difference(ablated, baseline))}</strong>`,
      fixed(randomMean),
    ]),
  );
}

function dissociationBody(
  section: DissociationSection,
  exhibits: readonly Exhibit[],
  base: string,
): Html {
  const localizer = (id: string) => section.localizers.find((one) => one.id === id)!.title;
  const task = (id: string) => section.tasks.find((one) => one.id === id)!.title;
  return html`${figures(exhibits, base)}${
    section.interactions.length > 0 &&
    html`<h3>Does the harm depend on whose units were silenced?</h3>${dataTable(
      "Interactions",
      [
        { title: "Units of" },
        { title: "on" },
        { title: "Interaction", numeric: true },
        { title: "p", numeric: true },
      ],
      section.interactions.map(({ a, b, taskA, taskB, value, p }) => [
        `${localizer(a)} against ${localizer(b)}`,
        `${task(taskA)} against ${task(taskB)}`,
        stacked(signed(value.value), interval(value, signed)),
        probability(p),
      ]),
    )}`
  }`;
}

function alignmentBody(
  section: AlignmentSection,
  exhibits: readonly Exhibit[],
  base: string,
): Html {
  const { recording, folds, ceiling, rows, p, identification } = section;
  return html`${recordingNotice(recording)}<p>${recording.name}: ${whole(recording.nStimuli)} stimuli, ${whole(recording.nTargets)} targets, ${recording.nRepeats} ${
    recording.nRepeats === 1 ? "repeat" : "repeats"
  }. ${folds.n} ${folds.kind} folds. ${ceiling ? `Ceiling ${withInterval(ceiling)}.` : "No ceiling could be estimated."} ${p !== null && `Localized above random: ${pText(p)}.`}</p>${shuffledNotice(folds)}${
    identification !== undefined &&
    html`<p>Would we know? When each of ${identification.nCandidates} unit sets in turn is made the brain, with this much data and ${identification.noiseEstimated ? "its noise" : `noise assumed (signal to noise ${fixed(identification.signalToNoise)})`}, the score names the right one for ${Math.round(100 * identification.rate)} % of ${identification.nBrains} simulated brains (guessing: ${Math.round(100 * identification.guessing)} %).</p>`
  }${figures(exhibits, base)}${dataTable(
    "Scores",
    [
      { title: "Units" },
      { title: "Number", numeric: true },
      { title: section.metric, numeric: true },
      { title: "Share of ceiling", numeric: true },
      { title: html`Random draws <small>smallest to largest</small>`, numeric: true },
    ],
    rows.map(({ set, nUnits, score, normalized, draws }) => {
      const [low, high, n] = drawCells(draws);
      return [
        SET_NAMES[set],
        whole(nUnits),
        stacked(fixed(score.value), interval(score)),
        fixed(normalized, 2),
        low === null ? "" : stacked(`${fixed(low)} to ${fixed(high)}`, `${n} sets`),
      ];
    }),
  )}`;
}

const measureTraits = ({ larger, metric }: MatrixSection["measure"]): string =>
  `larger is ${larger}${metric ? ", a metric" : ""}`;

function similarityTable(section: SimilaritySection): Exhibit {
  return {
    id: `${section.id}-table`,
    title: "Every measure of every pair",
    description: "",
    caption: "",
    drawing: null,
    numbers: similarityNumbers(section),
  };
}

/** The page shows so many values; the .csv has all. */
const MAX_VALUES = 200;

function similarityBody(
  section: SimilaritySection,
  exhibits: readonly Exhibit[],
  base: string,
): Html {
  const { items, measures, values } = section;
  const title = (i: number): string => items[i]!.title;
  const rows = values.slice(0, MAX_VALUES);
  const floors = values.some(({ floor }) => floor !== null);
  return html`${dataTable(
    "Representations",
    [
      { title: "Representation" },
      { title: "Stimuli", numeric: true },
      { title: "Units", numeric: true },
      { title: "Repeats", numeric: true },
    ],
    items.map(({ title: name, nStimuli, nUnits, nRepeats }) => [
      name,
      whole(nStimuli),
      whole(nUnits),
      whole(nRepeats),
    ]),
  )}${figures(exhibits, base)}<h3>Values</h3>${dataTable(
    "Every measure of every pair",
    [
      { title: "Measure" },
      { title: "Of" },
      { title: "Value", numeric: true },
      ...(floors
        ? [
            {
              title: html`Stimuli shuffled <small>mean, smallest to largest</small>`,
              numeric: true,
            },
          ]
        : []),
    ],
    rows.map(({ measure, a, b, value, floor }) => {
      const info = measures.find(({ name }) => name === measure)!;
      return [
        html`${info.title}<small>${info.name}: ${measureTraits(info)}</small>`,
        `${title(a)}, ${title(b)}`,
        html`<strong>${fixed(value)}</strong>`,
        ...(floors
          ? [
              floor === null
                ? ""
                : stacked(
                    fixed(floor.mean),
                    floor.low === null ? "" : `${fixed(floor.low)} to ${fixed(floor.high)}`,
                  ),
            ]
          : []),
      ];
    }),
  )}${values.length > MAX_VALUES && html`<p>The first ${MAX_VALUES} of ${values.length} values; the .csv has all.</p>`}${csvLink(exhibits.at(-1)!, base)}`;
}

const unreadable = (what: string, maps: SectionMaps): Part =>
  maps &&
  "problem" in maps &&
  html`<p class="message">${what} cannot be drawn: ${maps.problem}</p>`;

function matrixBody(
  section: MatrixSection,
  exhibits: readonly Exhibit[],
  maps: SectionMaps,
  base: string,
): Html {
  const { measure, nStimuli, floor, triangle } = section;
  return html`<p>${measure.title} (<code>${measure.name}</code>: ${measureTraits(measure)}), ${whole(nStimuli)} stimuli.${
    floor === null && " Not measured with stimuli shuffled: there is no floor to hold it against."
  }${
    triangle !== null &&
    ` The triangle inequality fails in ${whole(triangle.nViolations)} of ${whole(triangle.nInequalities)} cases.`
  }</p>${unreadable("The matrix", maps)}${figures(exhibits, base)}`;
}

function rdmsBody(
  section: RdmsSection,
  exhibits: readonly Exhibit[],
  maps: SectionMaps,
  base: string,
): Html {
  const { rdms, conditions, method } = section;
  const count = (role: "data" | "model"): number => rdms.filter((rdm) => rdm.role === role).length;
  const drawn = exhibits.length - (section.map ? 1 : 0);
  return html`<p>${count("data")} data and ${count("model")} model RDMs of ${whole(conditions.length)} conditions; dissimilarity: ${method}.${
    drawn > 0 &&
    drawn < rdms.length &&
    ` The first ${drawn} of ${rdms.length} are drawn; the array has all.`
  }</p>${unreadable("The RDMs", maps)}${figures(exhibits, base)}`;
}

function modelComparisonBody(
  section: ModelComparisonSection,
  exhibits: readonly Exhibit[],
  base: string,
): Html {
  const { comparison, design, generalizesTo, nSubjects, nRdms, nConditions, test } = section;
  const { ceiling, fdr, models, pairs, nUndefined } = section;
  return html`<p>${nRdms} data RDMs of ${nSubjects} ${nSubjects === 1 ? "subject" : "subjects"}, ${whole(nConditions)} conditions; ${comparison.title} (<code>${comparison.name}</code>). ${design}: it speaks about ${generalizesTo}. ${
    ceiling === null
      ? "No noise ceiling could be estimated."
      : `Noise ceiling ${fixed(ceiling.lower)} to ${fixed(ceiling.upper)}.`
  }${nUndefined > 0 && ` ${whole(nUndefined)} draws could not be scored.`}</p>${
    test === null &&
    html`<p class="notice">Nothing was tested: there is one RDM, and nothing was drawn.</p>`
  }${figures(exhibits, base)}<h3>Models</h3>${dataTable(
    "Models",
    [
      { title: "Model" },
      { title: comparison.title, numeric: true },
      { title: html`Above zero <small>p, q</small>`, numeric: true },
      { title: html`Against the lower ceiling <small>p, q</small>`, numeric: true },
    ],
    models.map(({ title, score, zero, ceiling: at }) => [
      title,
      stacked(fixed(score.value), interval(score)),
      stacked(probability(zero.p), `q ${probability(zero.q)}`),
      stacked(probability(at.p), `q ${probability(at.q)}`),
    ]),
  )}${
    pairs.length > 0 &&
    html`<h3>Differences</h3>${dataTable(
      "Differences of models",
      [
        { title: "Models" },
        { title: "Difference", numeric: true },
        { title: "p", numeric: true },
        { title: `q (rate ${short(fdr)})`, numeric: true },
      ],
      pairs
        .slice(0, MAX_VALUES)
        .map(({ a, b, difference: by, p, q }) => [
          `${models[a]!.title} minus ${models[b]!.title}`,
          signed(by),
          probability(p),
          probability(q),
        ]),
    )}`
  }`;
}

/** The page shows so many units; the table file has all. */
const MAX_TOP = 50;

function unitsBody(section: UnitsSection, base: string, unitLinks: UnitLinks): Html {
  const top = section.top.slice(0, MAX_TOP);
  return html`${dataTable(
    `The first ${top.length} units`,
    ["Rank", "Layer", "Unit", "t", "q", "d", "t held out"].map((title) => ({
      title,
      numeric: true,
    })),
    top.map(({ rank, layer, unit, t, q, d, heldOutT }) => [
      rank,
      layer,
      linked(unit, unitLinks(layer, unit)),
      fixed(t, 2),
      probability(q),
      fixed(d, 2),
      fixed(heldOutT, 2),
    ]),
  )}<p class="files"><a href="${base}/tables/${section.table.replace(/\.parquet$/, ".csv")}">All selected units as .csv</a> <a href="${base}/files/tables/${section.table}">.parquet</a></p>`;
}

const linked = (unit: number, address: string | undefined): Part =>
  address === undefined ? unit : html`<a href="${address}">${unit}</a>`;

function noteBody({ paragraphs }: NoteSection): Html {
  return html`${paragraphs.map((paragraph) => html`<p>${paragraph}</p>`)}`;
}
