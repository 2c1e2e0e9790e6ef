import type { Table } from "@penfield/report";
import { hookKey, type OpenCensus, unitAddress, unitName } from "../censuses/openCensuses.ts";
import type { Partners } from "../censuses/partners.ts";
import type { UnitRecord } from "../censuses/unitRecord.ts";
import type { Exhibit } from "../figures/exhibit.ts";
import { heatDrawing } from "../figures/heat.ts";
import { overlayFigure, typesFigure } from "../figures/units.ts";
import { fixed, short, whole } from "../format.ts";
import { type Html, html, type Part } from "../html.ts";
import { addressWith } from "../query.ts";
import { searchForm, typeCounts } from "./censusView.ts";
import { dataTable, figure, page } from "./parts.ts";
import { contextList, tokenCode } from "./tokens.ts";
import { scaleOf } from "./unitView.ts";

/** At most so many units side by side. */
export const MAX_COMPARED = 4;

/** What is compared: units of a census, and of another one beside it. */
export interface Comparison {
  readonly open: OpenCensus;
  readonly other: OpenCensus | undefined;
  /** Units of the first census that are like ones of the other, where its notes say so. */
  readonly partners?: Partners | undefined;
  /** Units of the first census, then of the second, each with its address. */
  readonly units: readonly { readonly record: UnitRecord; readonly address: string }[];
  /** The query of this page, for its twins. */
  readonly query: string;
  /** Names of the censuses that could stand beside. */
  readonly names: readonly string[];
}

export function compareFigures({ open, other, units, partners }: Comparison): readonly Exhibit[] {
  const byModel = [open, ...(other ? [other] : [])].map((own, i) => {
    const { names, layers } = typeCounts(own);
    return typesFigure(names, layers, {
      id: `types-${i}`,
      title: `Types of units of ${own.meta.model.name}`,
    });
  });
  return [
    ...(units.length > 0 ? [overlayFigure(units.map(({ record }) => record))] : []),
    ...(other ? byModel : []),
    ...(other && partners ? [partnersFigure(open, other, partners)] : []),
  ];
}

/** From this correlation on, two units count as alike: the level of Gurnee et al. for universal neurons, which is of the excess over a rotation. */
const ALIKE = 0.5;

/** In which layers the units of one model have partners in the other. */
function partnersFigure(a: OpenCensus, b: OpenCensus, { best }: Partners): Exhibit {
  const rows = a.meta.hooks.map((hook) => hookKey(a.meta, hook));
  const columns = b.meta.hooks.map((hook) => hookKey(b.meta, hook));
  const counts = new Float64Array(rows.length * columns.length);
  for (const { unit, other, r } of best) {
    if (r < ALIKE) break;
    const row = rows.indexOf(hookKey(a.meta, a.census.place(unit).hook));
    const column = columns.indexOf(hookKey(b.meta, b.census.place(other).hook));
    if (row >= 0 && column >= 0) counts[row * columns.length + column]!++;
  }
  const n = best.filter(({ r }) => r >= ALIKE).length;
  return {
    id: "partners",
    title: `Where units of ${a.meta.model.name} have a partner`,
    description: `${whole(n)} units with a partner of r ${ALIKE} or more, by the layers of both.`,
    caption: `Units whose most alike unit of the other model has r of at least ${ALIKE}, by the layers of both. Numbers are counts.`,
    drawing: heatDrawing({
      values: counts,
      ...{ rows, columns },
      rowTitle: a.meta.model.name,
      columnTitle: `layer of ${b.meta.model.name}`,
      keyTitle: "units",
      upwards: true,
      decimals: 0,
    }).drawing,
    numbers: {
      columns: ["layer", ...columns.map((name) => `layer ${name}`)],
      rows: rows.map((name, i) => [
        name,
        ...counts.subarray(i * columns.length, (i + 1) * columns.length),
      ]),
    },
  };
}

/** Pairs in the table. */
const N_PAIRS = 20;

function pairs(open: OpenCensus, other: OpenCensus, { best, nNoted }: Partners): Html {
  const n = best.filter(({ r }) => r >= ALIKE).length;
  const seen = new Set<number>();
  const shown: Partners["best"][number][] = [];
  for (const pair of best) {
    if (shown.length === N_PAIRS) break;
    if (!seen.has(pair.other)) shown.push(pair);
    seen.add(pair.other);
  }
  return html`<h2>Units that both have</h2><p class="reading">Correlation of a unit's values with those of the most alike unit of the other model, on the same tokens. ${whole(n)} of ${whole(open.meta.nUnits)} units have a partner with r of at least ${ALIKE}; ${whole(nNoted)} have notes on partners at all. In the table each unit of the other model stands once. Two models of random weights have alike units too: see the floor in the docs of the census.</p>${dataTable(
    "Units that are most alike",
    [
      { title: html`<span class="name">${open.meta.model.name}</span>` },
      { title: html`<span class="name">${other.meta.model.name}</span>` },
      { title: "r", numeric: true },
      { title: "Description of the first", wide: true },
      { title: "Description of the second", wide: true },
      { title: "" },
    ],
    shown.map(({ unit, other: partner, r }): Part[] => {
      const [n1, m1] = [unitName(open, unit), unitName(other, partner)];
      const address = addressWith(`${open.base}/compare`, { n: n1, with: other.id, m: m1 });
      return [
        html`<a href="${unitAddress(open, unit)}">${n1}</a>`,
        html`<a href="${unitAddress(other, partner)}">${m1}</a>`,
        fixed(r, 3),
        open.index.sentence(unit) || "–",
        other.index.sentence(partner) || "–",
        html`<a class="short" href="${address}">side by side</a>`,
      ];
    }),
  )}`;
}

/** Units side by side, or two models. */
export function comparePage(comparison: Comparison): string {
  const { open, other, units, query, names, partners } = comparison;
  const { base, meta } = open;
  const twin = (form: string): string => `${base}/compare.${form}${query && `?${query}`}`;
  const figures = compareFigures(comparison);
  return page({
    above: [{ title: `Units of ${meta.model.name}`, address: base }],
    search: searchForm(open),
    title: `Compare units of ${meta.model.name}`,
    main: html`<h1>Compare units of <a href="${base}">${meta.model.name}</a>${other && html` and <a href="${other.base}">${other.meta.model.name}</a>`}</h1>
${form(comparison, names)}
${
  units.length === 0 && !other
    ? html`<p>Name up to ${MAX_COMPARED} units, as layer.unit with commas between them, or another census, or both.</p>`
    : ""
}
${other && models(open, other)}
${figures.length > 0 && html`<div class="figures">${figures.map((exhibit) => figure(exhibit, `${base}/compare`, query))}</div>`}
${units.length > 0 && html`${table(units)}<div class="beside">${units.map(column)}</div>`}
${other && partners && pairs(open, other, partners)}${
  other &&
  !partners &&
  html`<p class="reading">Which units the two models share is not known here: <code>penfield census --beside</code> writes it (neighbours.jsonl) into the folder of the census that it takes.</p>`
}
<p class="files"><a href="${twin("json")}">.json</a> <a href="${twin("csv")}">.csv</a>${figures.length > 0 && html` <a href="${twin("svg")}">.svg</a>`}</p>`,
  });
}

function form({ open, other, units }: Comparison, names: readonly string[]): Html {
  const list = (census: string) =>
    units
      .filter(({ record }) => record.census === census)
      .map(({ record }) => record.name)
      .join(",");
  return html`<form class="filters" action="${open.base}/compare" method="get">
<label>Units of ${open.meta.model.name} <input name="n" value="${list(open.id)}" maxlength="400" autocomplete="off"></label>
<label>beside <select name="with"><option value="">no other census</option>${names.filter((name) => name !== open.id).map((name) => html`<option value="${name}"${name === other?.id && html` selected`}>${name}</option>`)}</select></label>
<label>its units <input name="m" value="${other ? list(other.id) : ""}" maxlength="400" autocomplete="off"></label>
<button>Compare</button></form>`;
}

/** Two models in numbers, layer by layer. */
function models(a: OpenCensus, b: OpenCensus): Html {
  const total = (open: OpenCensus): Part[] => {
    const { described, refused } = open.index.countDescribed();
    return [
      whole(open.meta.nUnits),
      whole(open.meta.nTokens),
      described + refused === 0
        ? "not tried"
        : `${whole(described)} of ${whole(described + refused)}`,
    ];
  };
  const same = a.meta.corpusSha256 === b.meta.corpusSha256;
  return html`<h2>The models</h2>${!same && html`<p class="notice">The two censuses are of different texts: what differs may be the texts.</p>`}${dataTable(
    "The models",
    [
      { title: "Model" },
      { title: "Units", numeric: true },
      { title: "Tokens", numeric: true },
      { title: "Described, of those tried", numeric: true },
    ],
    [a, b].map((open) => [
      html`<a href="${open.base}">${open.meta.model.name}</a>`,
      ...total(open),
    ]),
  )}`;
}

function table(units: Comparison["units"]): Html {
  const rows: [string, (record: UnitRecord) => Part][] = [
    [
      "description",
      ({ description }) =>
        description === null
          ? "–"
          : description.refusal === null
            ? description.sentence
            : `no reliable description: ${description.refusal}`,
    ],
    ["held-out r", ({ description }) => fixed(description?.r ?? null, 2)],
    ["floor: another unit's rule", ({ description }) => fixed(description?.otherRuleR ?? null, 2)],
    ["types", ({ types }) => types.join(", ") || "–"],
    ["share of tokens active", ({ statistics }) => short(statistics.frequency)],
    ["max", ({ statistics }) => fixed(statistics.max, 2)],
    ["mean", ({ statistics }) => short(statistics.mean)],
    ["skewness", ({ statistics }) => fixed(statistics.skewness, 1)],
    ["kurtosis", ({ statistics }) => fixed(statistics.kurtosis, 1)],
    ["Hoyer sparseness", ({ statistics }) => fixed(statistics.hoyer, 2)],
    [
      "raises",
      ({ weights }) =>
        weights
          ? weights.top.slice(0, 5).map(([token], i) => [i > 0 && " ", tokenCode(token)])
          : "–",
    ],
  ];
  return html`<h2>Side by side</h2>${dataTable(
    "Units side by side",
    [
      { title: "Of the unit" },
      ...units.map(({ record, address }) => ({
        title: html`<a href="${address}">${record.model.name} ${record.name}</a>`,
      })),
    ],
    rows.map(([name, read]) => [name, ...units.map(({ record }) => read(record))]),
  )}`;
}

function column({ record, address }: Comparison["units"][number]): Html {
  return html`<section aria-label="${`${record.model.name} ${record.name}`}"><h3><a href="${address}">${record.model.name} ${record.name}</a></h3>${
    record.contexts.top.length === 0
      ? html`<p>Never active.</p>`
      : contextList(record.contexts.top.slice(0, 6), scaleOf(record))
  }</section>`;
}

/** Numbers of the units, one row each; of two models without units, their layers. */
export function compareTable({ open, other, units }: Comparison): Table {
  if (units.length > 0) {
    return {
      columns: [
        "model",
        "unit",
        "hook",
        "description",
        "refusal",
        "r",
        "floor",
        "types",
        ...Object.keys(units[0]!.record.statistics),
      ],
      rows: units.map(({ record: { model, name, hook, description, types, statistics } }) => [
        model.name,
        name,
        hook,
        description?.sentence ?? null,
        description?.refusal ?? null,
        description?.r ?? null,
        description?.otherRuleR ?? null,
        types.join(" "),
        ...Object.values(statistics),
      ]),
    };
  }
  return {
    columns: ["model", "layer", "n_units", "n_described", "type", "n_of_type"],
    rows: [open, ...(other ? [other] : [])].flatMap((own) => {
      const { names, layers } = typeCounts(own);
      return layers.flatMap(({ nUnits, counts }, l) =>
        names.map((name, t) => [
          own.meta.model.name,
          hookKey(own.meta, own.meta.hooks[l]!),
          nUnits,
          own.index.countDescribed(own.meta.hooks[l]!).described,
          name,
          counts[t]!,
        ]),
      );
    }),
  };
}
