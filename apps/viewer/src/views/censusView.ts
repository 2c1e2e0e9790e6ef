import type { Table } from "@penfield/report";
import { hookKey, type OpenCensus, unitAddress, unitName } from "../censuses/openCensuses.ts";
import type { Exhibit } from "../figures/exhibit.ts";
import { scoresFigure, type TypeCounts, typesFigure } from "../figures/units.ts";
import { fixed, short, whole } from "../format.ts";
import { type Html, html, type Part } from "../html.ts";
import { dataTable, figure, page } from "./parts.ts";

/** Types in the order of the index, then the units that are of none. */
export function typeCounts(open: OpenCensus): {
  readonly names: readonly string[];
  readonly layers: readonly TypeCounts[];
} {
  const { meta, index } = open;
  return {
    names: [...index.typeNames, "none"],
    layers: meta.hooks.map((hook) => ({
      name: layerName(open, hook),
      nUnits: hook.nUnits,
      counts: index.countTypes(hook),
    })),
  };
}

/** "layer 3" where that is all there is to say, the hook point otherwise. */
function layerName({ meta }: OpenCensus, hook: OpenCensus["meta"]["hooks"][number]): string {
  const key = hookKey(meta, hook);
  return /^\d+$/.test(key) ? `layer ${key}` : key;
}

/** Layers drawn; the table has all. */
const MAX_LAYERS = 64;

/** They stay the same as long as the census is open. */
const drawn = new WeakMap<OpenCensus, readonly Exhibit[]>();

export function censusFigures(open: OpenCensus): readonly Exhibit[] {
  const before = drawn.get(open);
  if (before) return before;
  const figures = drawFigures(open);
  drawn.set(open, figures);
  return figures;
}

function drawFigures(open: OpenCensus): readonly Exhibit[] {
  const { names, layers } = typeCounts(open);
  const { meta, index } = open;
  const scores = meta.hooks.slice(0, MAX_LAYERS).map((hook) => {
    const units = Array.from({ length: hook.nUnits }, (_, i) => hook.firstUnit + i);
    const numbers = (read: (unit: number) => number | null): number[] =>
      units.map(read).filter((value) => value !== null);
    return {
      name: layerName(open, hook),
      values: numbers((unit) => index.r(unit)),
      floors: numbers((unit) => index.floor(unit)),
    };
  });
  return [
    typesFigure(names, layers.slice(0, MAX_LAYERS)),
    ...(scores.some(({ values }) => values.length > 0) ? [scoresFigure(scores)] : []),
  ];
}

/** Layers in numbers. */
export function censusTable(open: OpenCensus): Table {
  const { meta, index } = open;
  return {
    columns: ["hook", "n_units", "n_described", "n_refused", ...index.typeNames, "none"],
    rows: meta.hooks.map((hook) => {
      const { described, refused } = index.countDescribed(hook);
      return [hook.name, hook.nUnits, described, refused, ...index.countTypes(hook)];
    }),
  };
}

/** The model card of a census: what was counted, on what, and what came out, by layer. */
export function censusPage(open: OpenCensus): string {
  const { meta, index, base, id, notes } = open;
  const { names, layers } = typeCounts(open);
  const described = index.countDescribed();
  const broken = Object.entries(notes).filter(([, { nBroken }]) => nBroken > 0);
  return page({
    title: `Units of ${meta.model.name}`,
    main: html`<h1>Units of ${meta.model.name}</h1>
<p class="about">${whole(meta.nUnits)} units at ${meta.hooks.length} hook ${meta.hooks.length === 1 ? "point" : "points"}, counted on ${whole(meta.nTokens)} tokens of ${whole(meta.nDocuments)} documents · census <code>${id}</code></p>
${searchForm(open)}
<nav aria-label="Census"><ul><li><a href="${base}/units">All units</a></li><li><a href="${base}/units?described=described&amp;sort=-r">Described units, the best first</a></li><li><a href="${base}/sets">Localized sets</a></li><li><a href="${base}/compare">Compare</a></li><li><a href="#card">Model and corpus</a></li></ul></nav>
${broken.map(([kind, { nBroken }]) => html`<p class="message">${kind}.jsonl: ${whole(nBroken)} ${nBroken === 1 ? "line is" : "lines are"} broken and left out.</p>`)}
<section aria-labelledby="layers"><h2 id="layers">What the units are</h2>
<p class="reading">${
      index.hasClasses
        ? "Types by the published definitions; a unit can be of several, and counts here by the first."
        : "This census has no classes.jsonl: only dead units (never active) and dense ones (active on more than half of the tokens) are told apart."
    } ${
      described.described + described.refused === 0
        ? "No unit was described."
        : `${whole(described.described)} of ${whole(described.described + described.refused)} units that were tried have a description that holds; ${whole(described.refused)} were refused one.`
    }</p>
<div class="figures">${censusFigures(open).map((exhibit) => figure(exhibit, base))}</div>
${dataTable(
  "Units by layer and type",
  [
    { title: "Layer" },
    { title: "Units", numeric: true },
    { title: "Described", numeric: true },
    ...names.map((name) => ({ title: name, numeric: true })),
  ],
  layers.slice(0, MAX_LAYERS).map(({ name, nUnits, counts }, i): Part[] => {
    const hook = meta.hooks[i]!;
    const address = `${base}/units?layer=${encodeURIComponent(hookKey(meta, hook))}`;
    const inLayer = index.countDescribed(hook).described;
    return [
      html`<a href="${address}">${name}</a>`,
      whole(nUnits),
      inLayer === 0
        ? "0"
        : html`<a href="${address}&amp;described=described&amp;sort=-r">${whole(inLayer)}</a>`,
      ...counts.map((count, t) =>
        count === 0
          ? "0"
          : html`<a href="${address}&amp;type=${encodeURIComponent(names[t]!)}">${whole(count)}</a>`,
      ),
    ];
  }),
)}${layers.length > MAX_LAYERS && html`<p>The first ${MAX_LAYERS} of ${layers.length} hook points; the .csv has all.</p>`}</section>
${card(open)}`,
  });
}

/** The field by which a reader looks for a word, on every page of a census. */
export function searchForm({ base }: OpenCensus, q = ""): Html {
  return html`<form class="search" role="search" action="${base}/search" method="get"><label for="find">Find units by a word</label> <input id="find" name="q" value="${q}" maxlength="200" autocomplete="off"> <button>Search</button></form>`;
}

function card(open: OpenCensus): Html {
  const { meta, base, notes } = open;
  const { model, contexts, quantileError } = meta;
  const rows: [string, Part][] = [
    ["Model", model.name],
    ["SHA-256", html`<code>${model.sha256}</code>`],
    [
      "Hook points",
      meta.hooks.slice(0, 40).map(({ name }, i) => html`${i > 0 && ", "}<code>${name}</code>`),
    ],
    [
      "Active means",
      `${meta.activeMeans} (thresholds ${[...new Set(meta.hooks.map(({ threshold }) => short(threshold)))].slice(0, 10).join(", ")})`,
    ],
    [
      "Corpus",
      `${whole(meta.nDocuments)} documents, ${whole(meta.nTokens)} tokens, SHA-256 ${meta.corpusSha256.slice(0, 16)}…`,
    ],
    ["Left out", "the beginning-of-text token of each document"],
    [
      "Kept whole",
      `${whole(meta.nKeptTokens)} tokens (share of documents ${short(meta.keepShare)})`,
    ],
    ["Vocabulary", `${whole(meta.vocabularySize)} tokens`],
    [
      "Contexts of a unit",
      `${contexts.top} highest, ${contexts.sampled} sampled in ${meta.nBins} bins, ${contexts.nearMiss} near misses, ${contexts.random} random; ${meta.window} tokens each`,
    ],
    ["Quantiles off by at most", `${short(100 * quantileError.relative)} % of the value`],
    ["Seed", String(meta.seed)],
    ["Format", `penfield-census ${meta.version}`],
  ];
  const found = Object.entries(notes).map(
    ([kind, { nUnits }]) => `${kind}.jsonl (${whole(nUnits)} units)`,
  );
  return html`<section id="card" aria-labelledby="heading-card"><h2 id="heading-card">Model and corpus</h2><dl>${rows.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}<div><dt>Notes on units</dt><dd>${found.length === 0 ? "none" : found.join(", ")}</dd></div></dl>
<p class="files"><a href="${base}.json">.json</a> <a href="${base}.csv">layers as .csv</a> <a href="${base}.svg">figures as .svg</a></p></section>`;
}

/** The numbers by which a list of units is read; `said` stands for its sentence. */
export function unitRow(
  open: OpenCensus,
  unit: number,
  columns: {
    readonly frequency: Float32Array;
    readonly max: Float32Array;
    readonly skewness: Float32Array;
    readonly kurtosis: Float32Array;
  },
  said: Part = open.index.sentence(unit),
): Part[] {
  const { index } = open;
  const state = index.described(unit);
  return [
    html`<a href="${unitAddress(open, unit)}">${unitName(open, unit)}</a>`,
    state === "described"
      ? said
      : html`<span class="soft">${state === "refused" ? "no reliable description" : "–"}</span>`,
    fixed(index.r(unit), 2),
    fixed(index.floor(unit), 2),
    index.types(unit).join(", "),
    fixed(columns.frequency[unit]!, 4),
    fixed(columns.max[unit]!, 2),
    fixed(columns.skewness[unit]!, 1),
    fixed(columns.kurtosis[unit]!, 1),
  ];
}
