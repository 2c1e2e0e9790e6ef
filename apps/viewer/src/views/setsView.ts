import type { Table } from "@penfield/report";
import { hookKey, type OpenCensus } from "../censuses/openCensuses.ts";
import type { LocalizedSet } from "../censuses/reportLinks.ts";
import type { Exhibit } from "../figures/exhibit.ts";
import { heatDrawing } from "../figures/heat.ts";
import { ABSENT, fixed, short, whole } from "../format.ts";
import { html, type Part } from "../html.ts";
import { searchForm } from "./censusView.ts";
import { dataTable, figure, page } from "./parts.ts";

/** Sets that are set beside each other. */
const MAX_SETS = 16;

const sizeByHook = ({ meta }: OpenCensus, { mask }: LocalizedSet): readonly number[] =>
  meta.hooks.map(({ firstUnit, nUnits }) =>
    mask.subarray(firstUnit, firstUnit + nUnits).reduce((sum, one) => sum + one, 0),
  );

/** Units in both, divided by units in either. */
function jaccard(a: Uint8Array, b: Uint8Array): number {
  let [both, either] = [0, 0];
  a.forEach((one, i) => {
    both += one & b[i]!;
    either += one | b[i]!;
  });
  return either === 0 ? Number.NaN : both / either;
}

export function setsFigures(open: OpenCensus, all: readonly LocalizedSet[]): readonly Exhibit[] {
  const sets = all.slice(0, MAX_SETS);
  if (sets.length === 0) return [];
  const keys = open.meta.hooks.map((hook) => hookKey(open.meta, hook));
  const sizes = sets.map((set) => sizeByHook(open, set));
  const names = sets.map(({ name }) => name);
  const sizeFigure: Exhibit = {
    id: "sizes",
    title: "Units of each set by layer",
    description: sets.map(({ name }, i) => `${name}: ${sizes[i]!.join(", ")}`).join("; "),
    caption: "How many units of each layer are in the set.",
    drawing: heatDrawing({
      values: sizes.flat(),
      rows: names,
      columns: keys,
      rowTitle: "set",
      columnTitle: "layer",
      keyTitle: "units",
      decimals: 0,
    }).drawing,
    numbers: {
      columns: ["set", ...keys.map((key) => `layer ${key}`)],
      rows: sets.map(({ name }, i) => [name, ...sizes[i]!]),
    },
  };
  if (sets.length < 2) return [sizeFigure];
  const overlap = sets.flatMap((a) => sets.map((b) => jaccard(a.mask, b.mask)));
  return [
    sizeFigure,
    {
      id: "overlap",
      title: "Overlap of the sets",
      description: sets
        .map(
          ({ name }, i) =>
            `${name}: ${sets.map((_, j) => short(overlap[i * sets.length + j]!)).join(", ")}`,
        )
        .join("; "),
      caption:
        "Units in both sets divided by units in either (Jaccard). Sets at different hook points share none.",
      drawing: heatDrawing({
        values: overlap,
        rows: names,
        columns: names,
        rowTitle: "set",
        columnTitle: "set",
        keyTitle: "Jaccard",
        columnNames: true,
        ends: [0, 1],
      }).drawing,
      numbers: {
        columns: ["set", ...names.map((name, i) => `${i + 1}: ${name}`)],
        rows: names.map((name, i) => [name, ...names.map((_, j) => overlap[i * sets.length + j]!)]),
      },
    },
  ];
}

/** Of each set and type: how many units, and how many chance would give. */
export function setsTable({ meta, index }: OpenCensus, sets: readonly LocalizedSet[]): Table {
  const names = [...index.typeNames, "none"];
  const has = (unit: number, t: number): boolean =>
    t === index.typeNames.length
      ? index.primary(unit) === undefined
      : index.primary(unit) === index.typeNames[t];
  const total = names.map((_, t) => {
    let n = 0;
    for (let unit = 0; unit < meta.nUnits; unit++) if (has(unit, t)) n++;
    return n;
  });
  return {
    columns: ["set", "n_units", "n_described", "type", "n_of_type", "expected"],
    rows: sets.slice(0, MAX_SETS).flatMap(({ name, mask, nUnits }) => {
      const units = Array.from(mask.keys()).filter((unit) => mask[unit] === 1);
      const described = units.filter((unit) => index.described(unit) === "described").length;
      return names.map((type, t) => [
        name,
        nUnits,
        described,
        type,
        units.filter((unit) => has(unit, t)).length,
        (nUnits * total[t]!) / meta.nUnits,
      ]);
    }),
  };
}

/** Sets of units that reports of this model localized: what they are, where, and how much they share. */
export function setsPage(open: OpenCensus, sets: readonly LocalizedSet[]): string {
  const { meta, base } = open;
  const { rows } = setsTable(open, sets);
  const shown = sets.slice(0, MAX_SETS);
  return page({
    title: `Localized sets of ${meta.model.name}`,
    above: [{ title: `Units of ${meta.model.name}`, address: base }],
    search: searchForm(open),
    main: html`<h1>Localized sets of ${meta.model.name}</h1>
${
  shown.length === 0
    ? html`<p>No report in this folder has a localizer at a hook point of this census. An experiment makes one, such as <code>penfield run language-network --units mlp</code>.</p>`
    : html`<p class="reading">Units that a localizer of a report selected. A set is of one model and one hook point; its page in the report says how it was chosen and whether it holds.</p>
${dataTable(
  "Localized sets",
  [
    { title: "Set", wide: true },
    { title: "Units", numeric: true },
    { title: "Of", numeric: true },
    { title: "Described", numeric: true },
    { title: "More often than in all units", wide: true },
    { title: "" },
  ],
  shown.map(({ name, title, address, nUnits, nCandidates }): Part[] => {
    const own = rows.filter((row) => row[0] === name);
    const more = own
      .map((row) => ({ type: String(row[3]), n: Number(row[4]), expected: Number(row[5]) }))
      .filter(({ type, n, expected }) => type !== "none" && n >= 3 && n > 2 * expected);
    return [
      html`<a href="${address}">${title}</a><small>${name}</small>`,
      whole(nUnits),
      whole(nCandidates),
      whole(Number(own[0]?.[2] ?? 0)),
      more.length === 0
        ? ABSENT
        : more
            .map(({ type, n, expected }) => `${type}: ${whole(n)} (chance ${fixed(expected, 1)})`)
            .join(", "),
      html`<a class="short" href="${base}/units?set=${encodeURIComponent(name)}">its units</a>`,
    ];
  }),
)}${sets.length > MAX_SETS && html`<p>The first ${MAX_SETS} of ${sets.length} sets.</p>`}
<p class="fine">Types that are found in a set at least three times and more than twice as often as chance would give; nothing was tested.</p>
<div class="figures">${setsFigures(open, sets).map((exhibit) => figure(exhibit, `${base}/sets`))}</div>`
}
<p class="files"><a href="${base}/sets.json">.json</a> <a href="${base}/sets.csv">.csv</a>${shown.length > 0 && html` <a href="${base}/sets.svg">.svg</a>`}</p>`,
  });
}
