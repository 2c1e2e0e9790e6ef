import type { Table } from "@penfield/report";
import { hookKey, type OpenCensus, unitAddress, unitName } from "../censuses/openCensuses.ts";
import type { LocalizedSet } from "../censuses/reportLinks.ts";
import type { SortKey, TokenHit, UnitPageResult, UnitQuery } from "../censuses/unitIndex.ts";
import { box, drawSvg, type Exhibit, label, WIDTH } from "../figures/exhibit.ts";
import { fixed, whole } from "../format.ts";
import { type Html, html, type Part } from "../html.ts";
import { addressWith } from "../query.ts";
import { searchForm, unitRow } from "./censusView.ts";
import { dataTable, page } from "./parts.ts";
import { tokenCode } from "./tokens.ts";

/** Units on a page. */
export const PAGE_SIZE = 100;

/** The columns of the table; those with a key can be sorted by. */
const columns: readonly {
  readonly title: string;
  readonly key?: SortKey;
  readonly numeric: boolean;
  readonly wide?: boolean;
}[] = [
  { title: "Unit", key: "unit", numeric: false },
  { title: "Description", numeric: false, wide: true },
  { title: "r", key: "r", numeric: true },
  { title: "Floor", numeric: true },
  { title: "Types", numeric: false },
  { title: "Active", key: "frequency", numeric: true },
  { title: "Max", key: "max", numeric: true },
  { title: "Skew", key: "skewness", numeric: true },
  { title: "Kurtosis", key: "kurtosis", numeric: true },
];

async function numbers({ census }: OpenCensus) {
  const [frequency, max, skewness, kurtosis] = await Promise.all([
    census.column("frequency"),
    census.column("max"),
    census.column("skewness"),
    census.column("kurtosis"),
  ]);
  return { frequency, max, skewness, kurtosis };
}

/** The address of a query in its canonical form: only what differs from the defaults, always in this order. */
export function unitsAddress(open: OpenCensus, query: UnitQuery, suffix = ""): string {
  const { hook, type, described, set, q, how, inside, sort, descending, after } = query;
  return addressWith(`${open.base}/units${suffix}`, {
    layer: hook ? hookKey(open.meta, hook) : "",
    type: type ?? "",
    described: described ?? "",
    set: set?.name ?? "",
    q,
    how: how === "text" || q === "" ? "" : how,
    in: inside === "all" || q === "" ? "" : inside,
    sort: sort === "unit" && !descending ? "" : `${descending ? "-" : ""}${sort}`,
    after: after === undefined ? "" : unitName(open, after),
  });
}

/** How many of the units that fit are at which hook point. */
export function foundFigure(open: OpenCensus, byHook: readonly number[]): Exhibit {
  const { meta } = open;
  const most = Math.max(1, ...byHook);
  const rows = meta.hooks
    .map((hook, i) => ({ name: hookKey(meta, hook), n: byHook[i]!, nUnits: hook.nUnits }))
    .slice(0, MAX_BARS);
  const [left, right, line] = [84, WIDTH - 44, 16];
  return {
    id: "found",
    title: "Where the units that fit are",
    description: rows.map(({ name, n }) => `${name}: ${whole(n)}`).join(", "),
    caption: "Units that fit, by layer.",
    drawing: {
      width: WIDTH,
      height: 8 + rows.length * line,
      content: html`${rows.map(
        ({ name, n }, i) =>
          html`${label(left - 6, 14 + i * line, name.length > 13 ? `…${name.slice(-12)}` : name, { anchor: "end" })}${box(left, 5 + i * line, ((right - left) * n) / most, line - 5, "bar matched")}${label(left + ((right - left) * n) / most + 4, 14 + i * line, whole(n), { kind: "tick" })}`,
      )}`,
    },
    numbers: {
      columns: ["layer", "n_fit", "n_units"],
      rows: meta.hooks.map((hook, i) => [hookKey(meta, hook), byHook[i]!, hook.nUnits]),
    },
  };
}

const MAX_BARS = 64;

/** The table of units: filters, search, sorting and pages, all in the address. */
export async function unitsPage(
  open: OpenCensus,
  query: UnitQuery,
  found: UnitPageResult,
  sets: readonly LocalizedSet[],
): Promise<string> {
  const { meta, base } = open;
  const own = await numbers(open);
  const last = found.units.at(-1);
  const first = found.nBefore + 1;
  return page({
    title: `Units of ${meta.model.name}`,
    main: html`<h1>Units of <a href="${base}">${meta.model.name}</a></h1>
${filterForm(open, query, sets)}
${query.set && html`<p class="about">Of the set <a href="${sets.find(({ name }) => name === query.set?.name)?.address ?? base}">${query.set.name}</a>, which a report localized.</p>`}
<p class="about" role="status">${
      found.nFound === 0
        ? "No unit fits."
        : `${whole(found.nFound)} ${found.nFound === 1 ? "unit fits" : "units fit"}; ${whole(first)} to ${whole(found.nBefore + found.units.length)} are shown.`
    }${query.q && " Descriptions are searched, and for each unit the five tokens on which it is active most often."}</p>
${
  found.units.length > 0 &&
  dataTable(
    "Units",
    columns.map(({ key, ...column }) => ({
      ...column,
      title: key ? sortLink(open, query, column.title, key) : column.title,
    })),
    found.units.map((unit) =>
      unitRow(open, unit, own, highlighted(open.index.sentence(unit), query)),
    ),
  )
}
<p class="files">${query.after !== undefined && html`<a href="${unitsAddress(open, { ...query, after: undefined })}" rel="first">First page</a> `}${found.hasMore && last !== undefined && html`<a href="${unitsAddress(open, { ...query, after: last })}" rel="next">Next page</a> `}<a href="${unitsAddress(open, query, ".json")}">.json</a> <a href="${unitsAddress(open, query, ".csv")}">.csv</a> <a href="${unitsAddress(open, query, ".svg")}">.svg</a></p>
${
  found.nFound > 0 &&
  meta.hooks.length > 1 &&
  html`<details><summary>By layer</summary>${drawSvg(foundFigure(open, found.byHook))}<ul class="inline">${meta.hooks
    .map((hook, i) => ({ hook, n: found.byHook[i]! }))
    .filter(({ n }) => n > 0)
    .slice(0, MAX_BARS)
    .map(
      ({ hook, n }) =>
        html`<li><a href="${unitsAddress(open, { ...query, hook, after: undefined })}">${hookKey(meta, hook)}</a>: ${whole(n)}</li>`,
    )}</ul></details>`
}
<p class="fine">r: correlation of the description's prediction with the unit's values on documents that it was not made from. Floor: the same for another unit's description. Active: share of tokens.</p>`,
  });
}

/** A sentence with the words that were looked for. */
function highlighted(sentence: string, { q, how }: Pick<UnitQuery, "q" | "how">): Part {
  if (q === "" || how === "regex") return sentence;
  const lower = sentence.toLowerCase();
  const wanted = q.toLowerCase();
  // Where letters change in number with their case, places would not fit.
  if (lower.length !== sentence.length) return sentence;
  const parts: Part[] = [];
  let from = 0;
  for (let at = lower.indexOf(wanted); at >= 0; at = lower.indexOf(wanted, from)) {
    const to = at + wanted.length;
    parts.push(sentence.slice(from, at), html`<mark class="hit">${sentence.slice(at, to)}</mark>`);
    from = to;
  }
  return [...parts, sentence.slice(from)];
}

function sortLink(open: OpenCensus, query: UnitQuery, title: string, key: SortKey): Html {
  const isSorted = query.sort === key;
  // What is largest is what one looks for first; the unit's number counts up.
  const descending = isSorted ? !query.descending : key !== "unit";
  const address = unitsAddress(open, { ...query, sort: key, descending, after: undefined });
  return html`<a href="${address}">${title}${isSorted && html`&nbsp;<span aria-hidden="true">${query.descending ? "▼" : "▲"}</span><span class="unseen">${query.descending ? ", largest first" : ", smallest first"}</span>`}</a>`;
}

const option = (value: string, text: string, chosen: boolean): Html =>
  html`<option value="${value}"${chosen && html` selected`}>${text}</option>`;

function filterForm(
  open: OpenCensus,
  { hook, type, described, q, how, inside, sort, descending, set }: UnitQuery,
  sets: readonly LocalizedSet[],
): Html {
  const { meta, index, base } = open;
  return html`<form class="filters" role="search" action="${base}/units" method="get">
<label>Layer <select name="layer">${option("", "all", !hook)}${meta.hooks.slice(0, 200).map((one) => option(hookKey(meta, one), hookKey(meta, one), one === hook))}</select></label>
<label>Type <select name="type">${option("", "all", !type)}${[...index.typeNames, "none"].map((name) => option(name, name, name === type))}</select></label>
<label>Description <select name="described">${option("", "any", !described)}${["described", "refused", "not tried"].map((name) => option(name, name, name === described))}</select></label>
${(sets.length > 0 || set) && html`<label>Set <select name="set">${option("", "all", !set)}${sets.slice(0, 100).map(({ name }) => option(name, name, name === set?.name))}</select></label>`}
<span class="together"><label>Search <input name="q" value="${q}" maxlength="200" autocomplete="off"></label>
<label>as <select name="how">${option("text", "text", how === "text")}${option("regex", "regular expression", how === "regex")}</select></label>
<label>in <select name="in">${option("all", "descriptions and tokens", inside === "all")}${option("descriptions", "descriptions", inside === "descriptions")}${option("tokens", "tokens", inside === "tokens")}</select></label></span>
<input type="hidden" name="sort" value="${descending ? "-" : ""}${sort}"><button>Show</button></form>`;
}

/** A page of the table as numbers. */
export async function unitsTable(open: OpenCensus, units: readonly number[]): Promise<Table> {
  const { index, census } = open;
  const own = await numbers(open);
  return {
    columns: [
      ...["unit", "hook", "index", "description", "state", "r", "floor", "types"],
      ...["frequency", "max", "skewness", "kurtosis"],
    ],
    rows: units.map((unit) => {
      const { hook, index: place } = census.place(unit);
      return [
        unitName(open, unit),
        hook.name,
        place,
        index.sentence(unit) || null,
        index.described(unit),
        index.r(unit),
        index.floor(unit),
        index.types(unit).join(" "),
        own.frequency[unit]!,
        own.max[unit]!,
        own.skewness[unit]!,
        own.kurtosis[unit]!,
      ];
    }),
  };
}

/** What a search found: units by their descriptions, and by their tokens. */
export interface SearchResult {
  readonly q: string;
  readonly how: "text" | "regex";
  readonly descriptions: readonly number[];
  /** How many descriptions hold it. */
  readonly nFound: number;
  readonly tokens: readonly TokenHit[];
}

export async function searchPage(
  open: OpenCensus,
  { q, how, descriptions, nFound, tokens }: SearchResult,
  word: (token: number) => string,
): Promise<string> {
  const { base, meta, index } = open;
  const own = await numbers(open);
  const all = `${base}/units?q=${encodeURIComponent(q)}${how === "regex" ? "&how=regex" : ""}`;
  const query = `q=${encodeURIComponent(q)}${how === "regex" ? "&how=regex" : ""}`;
  return page({
    title: `${q || "Search"} · units of ${meta.model.name}`,
    main: html`<h1>Units of <a href="${base}">${meta.model.name}</a>${q && html` by “${q}”`}</h1>
${searchForm(open, q)}
${
  q === ""
    ? html`<p>Type a word: units are found by their descriptions, and by the tokens on which they are active most often.</p>`
    : html`<section aria-labelledby="by-description"><h2 id="by-description">In descriptions</h2>${how === "text" && descriptions.length > 0 && html`<p class="reading">Those with the word itself first, then with a word that begins like it, then the rest; in each group the best supported first.</p>`}${
        descriptions.length === 0
          ? html`<p>No description holds it.</p>`
          : dataTable(
              "Units by their descriptions",
              columns.map(({ key: _, ...column }) => column),
              descriptions.map((unit) =>
                unitRow(open, unit, own, highlighted(index.sentence(unit), { q, how })),
              ),
            )
      }${nFound > descriptions.length && html`<p>The first ${descriptions.length} of ${whole(nFound)}; the <a href="${all}&amp;in=descriptions">table</a> has all.</p>`}</section>
<section aria-labelledby="by-token"><h2 id="by-token">Active on such tokens</h2><p class="reading">Of each unit, the five tokens are searched on which it is active most often. Share: of its active tokens.</p>${
        tokens.length === 0
          ? html`<p>No unit has such a token among its first five.</p>`
          : dataTable(
              "Units by their tokens",
              [
                { title: "Unit" },
                { title: "Token" },
                { title: "Share", numeric: true },
                { title: "Active", numeric: true },
                { title: "Description", wide: true },
              ],
              tokens.map(({ unit, token, share }): Part[] => [
                html`<a href="${unitAddress(open, unit)}">${unitName(open, unit)}</a>`,
                tokenCode(word(token)),
                fixed(share, 3),
                fixed(own.frequency[unit]!, 4),
                index.sentence(unit) || "–",
              ]),
            )
      }</section>
<p class="files"><a href="${all}">All of them as a table</a> <a href="${base}/search.json?${query}">.json</a> <a href="${base}/search.csv?${query}">.csv</a></p>`
}`,
  });
}
