import type { Cell, RateMapSection } from "@penfield/report";
import { scaleLinear } from "d3";
import { fixed, short } from "../format.ts";
import { type Html, html } from "../html.ts";
import { axisBelow, type Exhibit, label, px, WIDTH } from "./exhibit.ts";
import { averaged, key as colourKey, paths as colourPaths, endsOf } from "./heat.ts";
import type { FieldMaps } from "./scoreMap.ts";
import { bandsCaption, unitBands } from "./unitBands.ts";

const LEFT = 40;
const RIGHT = WIDTH - 12;
/** Below the key of the colours. */
const TOP = 28;
/** Drawn maps, rows and columns; more rows and columns are averaged, and the .csv has all. */
const MOST_MAPS = 8;
const MOST_ROWS = 128;
const MOST_COLUMNS = 128;
/** Room for names of conditions, which stand on end. */
const LONGEST_NAME = 15;

const cell = (value: number | undefined): Cell =>
  value !== undefined && Number.isFinite(value) ? value : null;

/** One picture for each map: units by time or by conditions, all in the same colours. */
export function rateMapFigures(section: RateMapSection, { fields }: FieldMaps): readonly Exhibit[] {
  const values = fields["array"]!;
  const size = section.nUnits * columnNames(section).length;
  const shown = section.maps.slice(0, MOST_MAPS);
  const all = Float64Array.from({ length: shown.length * size }, (_, i) => values[i]!);
  const ends = endsOf(all);
  return shown.map((_, m) =>
    mapFigure(section, m, all.subarray(m * size, (m + 1) * size), fields["units"]!, ends),
  );
}

/** What each column is called; of time its bin, from and to. */
function columnNames({ columns }: RateMapSection): readonly string[] {
  if (columns.kind === "conditions") return columns.labels;
  const { from, to, nBins } = columns;
  const edge = (i: number): string => short(from + ((to - from) * i) / nBins, 4);
  return Array.from({ length: nBins }, (_, i) => `${edge(i)} to ${edge(i + 1)}`);
}

function mapFigure(
  section: RateMapSection,
  m: number,
  values: Float64Array,
  units: ArrayLike<number>,
  ends: readonly [number, number],
): Exhibit {
  const { nUnits, groups, columns, maps, measure } = section;
  const names = columnNames(section);
  const n = names.length;
  const height = Math.min(420, Math.max(90, nUnits * 6));
  const { bands, bottom, marks } = unitBands(groups, {
    top: TOP,
    height,
    left: LEFT,
    right: RIGHT,
  });
  const perRow = Math.ceil(nUnits / MOST_ROWS);
  const perColumn = Math.ceil(n / MOST_COLUMNS);
  const unitHeight = height / nUnits;
  const labelStep = [1, 2, 5, 10, 20, 50, 100].find((step) => step * unitHeight >= 10) ?? 1000;
  const content = html`${colourKey(measure, ends, LEFT)}${bands.map((band) => {
    const small = averaged(
      values.subarray(band.firstUnit * n, (band.firstUnit + band.nUnits) * n),
      band.nUnits,
      n,
      perRow,
      perColumn,
    );
    const rowHeight = (band.bottom - band.top) / small.nRows;
    const rows = Array.from(
      { length: Math.ceil(band.nUnits / labelStep) },
      (_, i) => i * labelStep,
    );
    return html`${colourPaths({
      ...small,
      ends,
      left: LEFT,
      width: (RIGHT - LEFT) / small.nColumns,
      height: rowHeight,
      rowY: (row) => band.top + row * rowHeight,
    })}${rows.map((row) =>
      label(
        LEFT - 5,
        band.top + (row + 0.5) * unitHeight + 3.5,
        String(units[band.firstUnit + row]),
        { anchor: "end", kind: "tick" },
      ),
    )}`;
  })}${marks}${label(LEFT - 5, TOP - 6, "unit", { anchor: "end", kind: "tick" })}`;
  const below =
    columns.kind === "time" ? timeAxis(columns, bottom) : conditionAxis(columns, bottom);
  const [low, high] = endsOf(values);
  const peak = values.indexOf(high);
  const blocks = [
    ...(perRow > 1 ? [`${perRow} units`] : []),
    ...(perColumn > 1 ? [`${perColumn} columns`] : []),
  ];
  const groupOf = bands.flatMap((band, g) => Array(band.nUnits).fill(groups[g]!.title) as string[]);
  return {
    id: `${section.id}-${m}`,
    title: maps[m]!.title || section.title,
    description: `${nUnits} units by ${n} ${columns.kind === "time" ? "bins of time" : "conditions"}; ${measure} from ${fixed(low)} to ${fixed(high)}${peak < 0 ? "" : `, highest in unit ${units[Math.floor(peak / n)]}, ${names[peak % n]}`}.`,
    caption: `Each row is a unit${bandsCaption(groups)}.${maps.length > 1 ? " The colours mean the same in all maps." : ""}${blocks.length > 0 ? ` Cells are means over ${blocks.join(" and ")}; the .csv has all.` : ""}${m === MOST_MAPS - 1 && maps.length > MOST_MAPS ? ` The first ${MOST_MAPS} of ${maps.length} maps.` : ""}`,
    drawing: { width: WIDTH, height: below.bottom, content: html`${content}${below.content}` },
    numbers: {
      columns: ["unit", "group", ...distinct(names)],
      rows: Array.from({ length: nUnits }, (_, unit) => [
        cell(units[unit]),
        groupOf[unit]!,
        ...names.map((__, j) => cell(values[unit * n + j])),
      ]),
    },
    nShown: 24,
  };
}

interface Axis {
  readonly content: Html;
  readonly bottom: number;
}

function timeAxis(
  { title, from, to }: Extract<RateMapSection["columns"], { readonly kind: "time" }>,
  y: number,
): Axis {
  const x = scaleLinear([from, to], [LEFT, RIGHT]);
  const content = axisBelow(x, {
    ticks: x.ticks(6),
    y,
    from: LEFT,
    to: RIGHT,
    title,
    write: short,
  });
  return { content, bottom: y + 36 };
}

function conditionAxis(
  { title, labels }: Extract<RateMapSection["columns"], { readonly kind: "conditions" }>,
  y: number,
): Axis {
  const width = (RIGHT - LEFT) / labels.length;
  const cut = (text: string): string =>
    text.length > LONGEST_NAME ? `${text.slice(0, LONGEST_NAME - 1)}…` : text;
  const longest = Math.max(...labels.map((text) => cut(text).length));
  const flat = longest * 6 < width;
  const step = flat ? 1 : Math.ceil(11 / width);
  const room = flat ? 16 : 8 + 5.8 * longest;
  const content = html`${labels.map((text, j) => {
    const x = LEFT + (j + 0.5) * width;
    if (j % step !== 0) return html``;
    return flat
      ? label(x, y + 13, text, { anchor: "middle", kind: "tick" })
      : html`<text x="${px(x + 3.5)}" y="${px(y + 5)}" class="tick" text-anchor="end" transform="rotate(-90 ${px(x + 3.5)} ${px(y + 5)})">${cut(text)}</text>`;
  })}${label((LEFT + RIGHT) / 2, y + room + 14, title, { anchor: "middle" })}`;
  return { content, bottom: y + room + 22 };
}

function distinct(labels: readonly string[]): readonly string[] {
  const seen = new Set(["unit", "group"]);
  return labels.map((text, i) => {
    const name = seen.has(text) || text === "" ? `${text || "column"} (${i})` : text;
    seen.add(name);
    return name;
  });
}
