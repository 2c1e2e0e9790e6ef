import {
  type JsonValue,
  type Report,
  type ReportInput,
  type ReportModel,
  reportFiles,
  type Section,
} from "@penfield/report";
import type { ListedCensus } from "../censuses/findCensus.ts";
import { hookKey } from "../censuses/openCensuses.ts";
import type { Exhibit } from "../figures/exhibit.ts";
import { whole } from "../format.ts";
import { type Html, html, type Part } from "../html.ts";
import { dataTable, figure, outcomeMark, page } from "./parts.ts";
import { type SectionMaps, sectionView, type UnitLinks } from "./sections.ts";

/** One report: verdicts, sections, and where every number comes from. */
export function reportPage(
  report: Report,
  maps: ReadonlyMap<string, SectionMaps>,
  base: string,
  censuses: readonly ListedCensus[] = [],
): string {
  const simulated = report.sections.some(
    (section) => section.kind === "alignment" && section.recording.simulated,
  );
  return page({
    title: report.title,
    main: html`<h1>${report.title}</h1>
<p class="question">${report.question}</p>
<p class="about">${about(report)}${simulated && html` <strong>The recording is simulated.</strong>`}</p>
${verdicts(report)}
${
  report.warnings.length > 0 &&
  html`<section class="notice" aria-labelledby="warnings"><h2 id="warnings">Before you believe a number</h2><ul>${report.warnings.map((warning) => html`<li>${warning}</li>`)}</ul></section>`
}
<nav aria-label="Sections"><ul>${report.sections.map(({ id, title }) => html`<li><a href="#section-${id}">${title}</a></li>`)}<li><a href="#provenance">Where it comes from</a></li>${twins(
      base,
      report.sections.some(({ kind }) => kind !== "units" && kind !== "note"),
    )}</ul></nav>
${report.sections.map((section) => sectionView(section, maps.get(section.id), base, unitLinks(report, censuses)))}
${provenance(report, base)}`,
  });
}

/** The same as data, as a table, and the figures alone. */
const twins = (address: string, hasFigures: boolean, query = ""): Html =>
  html`${["json", "csv", ...(hasFigures ? ["svg"] : [])].map((form) => html`<li><a href="${address}.${form}${query && `?${query}`}">.${form}</a></li>`)}`;

/** One section by itself, with what only a page of its own has room for. */
export function sectionPage(
  report: Report,
  section: Section,
  maps: SectionMaps,
  {
    base,
    address,
    query,
    links,
    hasFigures,
    region,
    more,
  }: {
    readonly base: string;
    readonly address: string;
    readonly query: string;
    readonly links: UnitLinks;
    readonly hasFigures: boolean;
    /** One column of a score map. */
    readonly region?: Exhibit | undefined;
    readonly more?: Part;
  },
): string {
  const { sections } = report;
  const at = sections.findIndex(({ id }) => id === section.id);
  const beside = (step: number, rel: string, sign: (title: string) => string): Part => {
    const other = sections[at + step];
    return (
      other &&
      html`<li><a href="${base}/sections/${encodeURIComponent(other.id)}" rel="${rel}">${sign(other.title)}</a></li>`
    );
  };
  const simulated = "recording" in section && section.recording.simulated;
  return page({
    title: `${section.title} · ${report.title}`,
    above: [{ title: report.title, address: base }],
    main: html`<h1>${section.title}</h1>
<p class="about">${about(report)}${simulated && html` <strong>The recording is simulated.</strong>`}</p>
<nav aria-label="Sections"><ul>${beside(-1, "prev", (title) => `← ${title}`)}${beside(1, "next", (title) => `${title} →`)}<li><a href="${base}#section-${section.id}">In the report</a></li>${twins(address, hasFigures, query)}</ul></nav>
${region && html`<div class="figures one">${figure(region, address, query)}</div>`}${
  section.kind === "score-map" &&
  html`<p>One by one: ${section.columns.labels
    .slice(0, MAX_LINKS)
    .map(
      (name, i) =>
        html`${i > 0 && ", "}<a href="${address}?column=${encodeURIComponent(name)}">${name}</a>`,
    )}${section.columns.labels.length > MAX_LINKS && `, and ${section.columns.labels.length - MAX_LINKS} more`}.</p>`
}
${sectionView(section, maps, base, links, true)}
${more}`,
  });
}

/** Columns of a score map that are named one by one. */
const MAX_LINKS = 200;

/** The page of a unit, where there is a census of the report's model at the hook point of its localizer. */
export function unitLinks(report: Report, censuses: readonly ListedCensus[]): UnitLinks {
  const pattern = report.sections.find((section) => section.kind === "selection")?.hook;
  const listed = censuses.find(
    (item) => "meta" in item && item.meta.model.sha256 === report.model?.sha256,
  );
  if (pattern === undefined || !listed || !("meta" in listed)) return () => undefined;
  return (layer, unit) => {
    const name = pattern.replace("*", String(layer));
    const hook = listed.meta.hooks.find((one) => one.name === name);
    return hook && unit < hook.nUnits
      ? `/censuses/${encodeURIComponent(listed.name)}/units/${encodeURIComponent(hookKey(listed.meta, hook))}/${unit}`
      : undefined;
  };
}

/** What the numbers are of: models, or files. */
function about({ model, comparedWith = [], inputs = [] }: Report): Part {
  const models = [...(model ? [model] : []), ...comparedWith];
  if (models.length > 0) {
    return models.map(
      ({ name, nLayers, dModel, nParameters }, i) =>
        html`${i > 0 && " "}${name}, ${nLayers} layers of ${whole(dModel)}${nParameters !== undefined && `, ${whole(nParameters)} parameters`}.`,
    );
  }
  return inputs.length === 0
    ? "No model was run."
    : `${inputs.length} ${inputs.length === 1 ? "file" : "files"} of numbers; no model was run.`;
}

function verdicts({ verdicts: all, intervals }: Report): Html {
  return html`<section aria-labelledby="verdicts"><h2 id="verdicts">What was expected, and what was seen</h2>${
    all.length === 0
      ? html`<p>No expectation was stated before the run.</p>`
      : html`<ul class="verdicts">${all.map(
          ({ expectation, outcome, text }) =>
            html`<li>${outcomeMark(outcome)}<div><p class="expectation">${expectation}</p><p>${text}</p></div></li>`,
        )}</ul>`
  }<p class="fine">${
    intervals.method.startsWith("none: ")
      ? `No intervals were computed: ${intervals.method.slice("none: ".length)}.`
      : `Brackets hold ${intervals.level * 100} % intervals: ${intervals.method}.`
  }</p></section>`;
}

function provenance(report: Report, base: string): Html {
  const { model, comparedWith = [], inputs = [], software, stimuli, seed, settings } = report;
  const files = reportFiles(report);
  const rows: [string, string | Html | number][] = [
    ...[...(model ? [model] : []), ...comparedWith].flatMap(modelRows),
    ["Penfield", software.penfield],
    ["Node", software.node],
    ["onnxruntime", software.onnxruntime],
    ["Seed", String(seed)],
    ["Experiment", report.kind],
    ["Report", report.id],
  ];
  return html`<section id="provenance" aria-labelledby="heading-provenance"><h2 id="heading-provenance">Where it comes from</h2>
<div class="columns"><div><h3>Model and software</h3>${definitions(rows)}</div>
<div><h3>Settings</h3>${
    Object.keys(settings).length === 0 ? html`<p>None.</p>` : definitions(flatten(settings))
  }</div></div>
${inputs.length > 0 && inputsTable(inputs)}<h3>Stimuli</h3>${
    stimuli.length === 0
      ? html`<p>None are named.</p>`
      : dataTable(
          "Stimuli",
          [
            { title: "Set" },
            { title: "Used as" },
            { title: "Items", numeric: true },
            { title: "Licence" },
            { title: "SHA-256" },
          ],
          stimuli.map(({ role, name, title, sha256, licence, nItems }) => [
            html`${title}<small>${name}</small>`,
            role,
            whole(nItems),
            licence,
            html`<code title="${sha256}">${sha256.slice(0, 12)}…</code>`,
          ]),
        )
  }
<h3>Files</h3><ul class="files"><li><a href="${base}/report.json">report.json</a></li>${files.map((file) => html`<li><a href="${base}/files/${file}">${file}</a></li>`)}</ul></section>`;
}

function modelRows(model: ReportModel): [string, string | Html | number][] {
  return [
    ["Model", model.name],
    ["Source", model.source],
    ["SHA-256", html`<code>${model.sha256}</code>`],
    [
      "Size",
      [
        `${model.nLayers} layers`,
        `width ${whole(model.dModel)}`,
        model.nHeads !== undefined && `${model.nHeads} heads`,
        model.dMlp !== undefined && `MLP ${whole(model.dMlp)}`,
        `vocabulary ${whole(model.dVocab)}`,
      ]
        .filter(Boolean)
        .join(", "),
    ],
  ];
}

function inputsTable(inputs: readonly ReportInput[]): Html {
  return html`<h3>Files of numbers</h3>${dataTable(
    "Files of numbers",
    [{ title: "File" }, { title: "Used as" }, { title: "Sizes" }, { title: "SHA-256" }],
    inputs.map(({ name, role, shape, sha256 }) => [
      name,
      role,
      shape.join(" × "),
      html`<code title="${sha256}">${sha256.slice(0, 12)}…</code>`,
    ]),
  )}`;
}

const definitions = (rows: readonly (readonly [string, string | Html | number])[]): Html =>
  html`<dl>${rows.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;

/** Nested settings as one line each: "localizer.k". */
function flatten(settings: Readonly<Record<string, JsonValue>>, prefix = ""): [string, string][] {
  return Object.entries(settings).flatMap(([key, value]): [string, string][] => {
    const nested = typeof value === "object" && value !== null && !Array.isArray(value);
    if (nested && Object.keys(value).length > 0) {
      return flatten(value as Readonly<Record<string, JsonValue>>, `${prefix}${key}.`);
    }
    const text = typeof value === "string" ? value : JSON.stringify(value);
    return [[prefix + key, text.length > 300 ? `${text.slice(0, 300)}…` : text]];
  });
}
