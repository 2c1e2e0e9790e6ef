import type { ListedReport, Report, Section } from "@penfield/report";
import type { Shown } from "../answers.ts";
import type { ListedCensus } from "../censuses/findCensus.ts";
import { SET_NAMES } from "../figures/alignment.ts";
import { scoreText } from "../figures/modelComparison.ts";
import { fixed, pText, short, signed, whole } from "../format.ts";
import { type Html, html } from "../html.ts";
import { outcomeMark, page } from "./parts.ts";

/** The list of what is in the folder, or of what of it has a word in its name, title, question, kind or model. */
export function showList(
  listed: readonly ListedReport[],
  censuses: readonly ListedCensus[],
  folder: string,
  q: string,
): Shown {
  const wanted = q.trim().toLowerCase().slice(0, 200);
  const has = (texts: readonly string[]): boolean =>
    wanted === "" || texts.some((text) => text.toLowerCase().includes(wanted));
  const reports = listed.filter((item) =>
    "report" in item
      ? has([
          ...[item.name, item.report.title, item.report.question, item.report.kind],
          subject(item.report),
        ])
      : has([item.name]),
  );
  const units = censuses.filter((item) =>
    has([item.name, ...("meta" in item ? [item.meta.model.name] : [])]),
  );
  return {
    name: "reports",
    page: () => listPage(reports, folder, units, { q, nAll: listed.length + censuses.length }),
    json: () => ({
      reports: reports.map((item) =>
        "report" in item
          ? {
              name: item.name,
              address: `/reports/${encodeURIComponent(item.name)}`,
              title: item.report.title,
              kind: item.report.kind,
              model: item.report.model?.name ?? null,
              sha256: item.report.model?.sha256 ?? null,
              verdicts: item.report.verdicts,
            }
          : { name: item.name, error: item.error.message },
      ),
      censuses: units.map((item) =>
        "meta" in item
          ? {
              name: item.name,
              address: `/censuses/${encodeURIComponent(item.name)}`,
              model: item.meta.model.name,
              sha256: item.meta.model.sha256,
              nUnits: item.meta.nUnits,
              nTokens: item.meta.nTokens,
            }
          : { name: item.name, error: item.error.message },
      ),
    }),
    table: () => ({
      columns: [
        "what",
        "name",
        "address",
        "title",
        "kind",
        "model",
        "seen",
        "not_seen",
        "undecided",
      ],
      rows: [
        ...units.flatMap((item) =>
          "meta" in item
            ? [
                [
                  ...["census", item.name, `/censuses/${encodeURIComponent(item.name)}`],
                  ...[`Units of ${item.meta.model.name}`, "census", item.meta.model.name],
                  ...[null, null, null],
                ],
              ]
            : [],
        ),
        ...reports.flatMap((item) => {
          if (!("report" in item)) return [];
          const { title, kind, model, verdicts } = item.report;
          const count = (outcome: string): number =>
            verdicts.filter((one) => one.outcome === outcome).length;
          return [
            [
              ...["report", item.name, `/reports/${encodeURIComponent(item.name)}`],
              ...[title, kind, model?.name ?? null],
              ...[count("seen"), count("not seen"), count("undecided")],
            ],
          ];
        }),
      ],
    }),
    figures: () => [],
  };
}

/** From so many on, the list has a field to find something in it. */
const MANY = 6;

/** Every census and report of the folder, reports with their verdicts and main numbers; the unreadable ones with their errors. */
export function listPage(
  listed: readonly ListedReport[],
  folder: string,
  censuses: readonly ListedCensus[] = [],
  { q = "", nAll = 0 }: { readonly q?: string; readonly nAll?: number } = {},
): string {
  const readable = listed.filter((item) => "report" in item);
  const broken = [...listed, ...censuses].filter((item) => "error" in item);
  return page({
    title: "Reports",
    home: true,
    main: html`<h1>Reports</h1>
${
  (nAll >= MANY || q !== "") &&
  html`<form class="search" role="search" action="/" method="get"><label for="find">Find a report or a model</label> <input id="find" name="q" value="${q}" maxlength="200" autocomplete="off"> <button>Show</button>${q !== "" && html` <a href="/">All of them</a>`}</form>`
}${censusList(censuses)}${
  listed.length === 0
    ? censuses.length === 0 &&
      (
        q === ""
          ? html`<p>There are no reports in <code>${folder}</code> yet. An experiment writes one: <code>penfield run language-network</code>.</p>`
          : html`<p role="status">Nothing here has “${q}” in its name, title, question or model.</p>`
      )
    : html`<p class="about">${readable.length} ${readable.length === 1 ? "report" : "reports"} in <code>${folder}</code>${q !== "" && ` with “${q}”`}</p>`
}
${readable.map(({ name, report }) => card(name, report))}
${
  broken.length > 0 &&
  html`<section aria-labelledby="broken"><h2 id="broken">Cannot be read</h2>${broken.map(
    ({ name, error }) =>
      html`<article class="card"><h3>${name}</h3><p class="message">${error.message}</p>${error.hint && html`<p>${error.hint}</p>`}</article>`,
  )}</section>`
}
<p class="files"><a href="/index.json${q && `?q=${encodeURIComponent(q)}`}">.json</a> <a href="/index.csv${q && `?q=${encodeURIComponent(q)}`}">.csv</a></p>`,
  });
}

function censusList(censuses: readonly ListedCensus[]): Html {
  const readable = censuses.filter((item) => "meta" in item);
  return html`${
    readable.length > 0 &&
    html`<section aria-labelledby="censuses"><h2 id="censuses">Units of models</h2>${readable.map(
      ({ name, meta }) =>
        html`<article class="card"><h3><a href="/censuses/${encodeURIComponent(name)}">Units of ${meta.model.name}</a></h3><p class="about">${whole(meta.nUnits)} units at ${meta.hooks.length} hook points, ${whole(meta.nTokens)} tokens · <code>${name}</code></p></article>`,
    )}</section><h2>Experiments</h2>`
  }`;
}

function card(name: string, report: Report): Html {
  const numbers = report.sections.flatMap(mainNumbers);
  return html`<article class="card"><h2><a href="/reports/${encodeURIComponent(name)}">${report.title}</a></h2>
<p class="question">${report.question}</p>
<p class="about">${subject(report)} · ${report.kind} · <code>${name}</code></p>
${
  report.verdicts.length > 0 &&
  html`<ul class="verdicts">${report.verdicts.map(({ outcome, expectation }) => html`<li>${outcomeMark(outcome)}<p>${expectation}</p></li>`)}</ul>`
}
${numbers.length > 0 && html`<dl class="numbers">${numbers.map(([what, value]) => html`<div><dt>${what}</dt><dd>${value}</dd></div>`)}</dl>`}</article>`;
}

/** The model or models that were run, or the files that were read. */
function subject({ model, comparedWith = [], inputs = [] }: Report): string {
  const names = [...(model ? [model] : []), ...comparedWith, ...inputs].map(({ name }) => name);
  return names.length > 4
    ? `${names.slice(0, 3).join(", ")} and ${names.length - 3} more`
    : names.join(", ") || "no model";
}

/** The few numbers by which a reader tells reports apart. */
function mainNumbers(section: Section): readonly (readonly [string, string])[] {
  switch (section.kind) {
    case "selection": {
      const { selectivity, randomSelectivity, nSplits } = section.heldOut;
      const held = `${fixed(selectivity.value, 2)} (random ${fixed(randomSelectivity.value, 2)})`;
      return [
        [
          "Units selected",
          `${whole(section.selected.nSelected)} of ${whole(section.nLayers * section.nUnits)}`,
        ],
        ["Held-out selectivity", nSplits > 0 ? held : "not measured"],
      ];
    }
    case "lesion":
      return section.effects
        .filter(({ dose }) => dose === section.mainDose)
        .slice(0, 4)
        .map(({ task: id, effect, randomMean }) => {
          const task = section.tasks.find((one) => one.id === id)!;
          return [
            `${task.title}, ${short(section.mainDose)} % silenced`,
            `${signed(effect.value)} (random ${signed(randomMean)})`,
          ];
        });
    case "dissociation":
      return section.interactions
        .slice(0, 1)
        .map(({ value, p }) => ["Interaction", `${signed(value.value)}, ${pText(p)}`]);
    case "alignment":
      return [
        [
          `${section.metric}${section.recording.simulated ? " (simulated recording)" : ""}`,
          section.rows
            .map(({ set, score }) => `${SET_NAMES[set]} ${fixed(score.value)}`)
            .concat(section.ceiling ? [`ceiling ${fixed(section.ceiling.value)}`] : [])
            .join(", "),
        ],
      ];
    case "similarity":
      return section.values.slice(0, 4).map(({ measure, a, b, value, floor }) => {
        const { title } = section.measures.find(({ name }) => name === measure)!;
        const pair = `${section.items[a]!.title}, ${section.items[b]!.title}`;
        return [
          `${title}: ${pair}`,
          `${fixed(value)}${floor ? ` (shuffled ${fixed(floor.mean)})` : ""}`,
        ];
      });
    case "matrix":
      return [
        [
          section.measure.title,
          `${section.rows.labels.length} × ${section.columns.labels.length} values`,
        ],
      ];
    case "rdms":
      return [["RDMs", `${section.rdms.length} of ${whole(section.conditions.length)} conditions`]];
    case "model-comparison":
      return [
        ...section.models
          .slice(0, 4)
          .map((model): [string, string] => [model.title, scoreText(model)]),
        ...(section.ceiling
          ? [
              [
                "Noise ceiling",
                `${fixed(section.ceiling.lower, 2)} to ${fixed(section.ceiling.upper, 2)}`,
              ] as const,
            ]
          : []),
      ];
    case "score-map":
      return [
        [
          `${section.metric}${section.recording.simulated ? " (simulated recording)" : ""}`,
          `${section.rows.labels.length} × ${section.columns.labels.length}: ${section.rows.title} by ${section.columns.title}`,
        ],
      ];
    case "identification":
      return section.methods
        .slice(0, 4)
        .map(({ title, rate }): [string, string] => [
          `Identification, ${title}`,
          `${fixed(rate.value, 2)} (guessing ${fixed(1 / section.candidates.length, 2)})`,
        ]);
    case "timecourses":
      return [["Over time", `${section.series.length} series of ${section.y}`]];
    case "raster":
      return [["Spikes", `${whole(section.nSpikes)} of ${whole(section.nUnits)} units`]];
    case "rate-map":
      return [["Rates", `${whole(section.nUnits)} units, ${section.measure}`]];
    case "brain-map":
      return [["Maps", `${section.maps.length} of ${whole(section.nTargets)} voxels`]];
    case "units":
    case "note":
      return [];
  }
}
