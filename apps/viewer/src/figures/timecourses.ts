import type { Cell, RasterSection, TimecoursesSection } from "@penfield/report";
import { line as d3line, scaleLinear } from "d3";
import { fixed, pText, short } from "../format.ts";
import { type Html, html } from "../html.ts";
import { axisBelow, box, type Exhibit, label, px, rule, span, WIDTH } from "./exhibit.ts";
import type { FieldMaps } from "./scoreMap.ts";
import { bandsCaption, unitBands } from "./unitBands.ts";

const LEFT = 48;
const RIGHT = WIDTH - 14;
const KINDS = ["localized", "intact", "matched", "least", "random"];
/** Drawn groups, series of a group, and points of a series; the .csv has all. */
const MOST_GROUPS = 12;
const MOST_SERIES = 12;
const MOST_POINTS = 300;

const cell = (value: number | undefined): Cell =>
  value !== undefined && Number.isFinite(value) ? value : null;

/** One picture for each group of series. */
export function timecourseFigures(
  section: TimecoursesSection,
  { fields }: FieldMaps,
): readonly Exhibit[] {
  const groups = [...new Set(section.series.map(({ group }) => group))].slice(0, MOST_GROUPS);
  const { nTimes } = section;
  const drawn = groups.flatMap((group) => membersOf(section, group).slice(0, MOST_SERIES));
  // All groups have the same axis, as they have the same measure.
  const ends = span([
    ...section.lines.map(({ value }) => value),
    ...drawn.flatMap((s) =>
      ["array", "low", "high"].flatMap((field) =>
        fields[field] ? finite(fields[field], s * nTimes, nTimes) : [],
      ),
    ),
  ]);
  return groups.map((group, g) => groupFigure(section, fields, group, g, ends));
}

/** Places of the series of a group. */
const membersOf = ({ series }: TimecoursesSection, group: string): number[] =>
  series.flatMap((one, s) => (one.group === group ? [s] : []));

function groupFigure(
  section: TimecoursesSection,
  fields: FieldMaps["fields"],
  group: string,
  place: number,
  ends: readonly [number, number],
): Exhibit {
  const { nTimes, series, spans, lines } = section;
  const times = fields["times"]!;
  const members = membersOf(section, group);
  const shown = members.slice(0, MOST_SERIES);
  const valueAt = (field: string, s: number, t: number) => fields[field]?.[s * nTimes + t];
  const key = shown.length > 1 ? 14 * Math.ceil(shown.length / 2) : 0;
  const [top, bottom] = [14 + key, 176 + key];
  const x = scaleLinear(span([times[0]!, times[nTimes - 1]!]), [LEFT, RIGHT]);
  const y = scaleLinear(ends, [bottom, top]).nice(5);
  const step = Math.max(1, Math.ceil(nTimes / MOST_POINTS));
  const path = (field: string, s: number): string =>
    d3line<number>(
      (t) => Number(px(x(times[t]!))),
      (t) => Number(px(y(valueAt(field, s, t)!))),
    ).defined((t) => Number.isFinite(valueAt(field, s, t)))(sampled(nTimes, step)) ?? "";
  const area = (s: number): string => {
    const back = sampled(nTimes, step)
      .reverse()
      .filter((t) => Number.isFinite(valueAt("high", s, t)));
    const low = path("low", s);
    return low === "" || back.length === 0
      ? ""
      : `${low}L${back.map((t) => `${px(x(times[t]!))},${px(y(valueAt("high", s, t)!))}`).join("L")}Z`;
  };
  const own = spans.filter((one) => shown.includes(one.series));
  const content = html`${y
    .ticks(5)
    .map((tick) => [
      rule(LEFT, y(tick), RIGHT, y(tick), tick === 0 ? "zero" : "grid"),
      label(LEFT - 5, y(tick) + 4, short(tick), { anchor: "end", kind: "tick" }),
    ])}${x.domain()[0]! < 0 && x.domain()[1]! > 0 && rule(x(0), top, x(0), bottom, "zero")}${lines.map(
    ({ title, value }) => [
      rule(LEFT, y(value), RIGHT, y(value), "chance"),
      label(RIGHT, y(value) - 4, title, { anchor: "end", kind: "tick" }),
    ],
  )}${own.map(({ series: s, from, to, p }) =>
    box(
      x(from),
      bottom - 4 - 4 * shown.indexOf(s),
      Math.max(1.5, x(to) - x(from)),
      3,
      `bar ${KINDS[shown.indexOf(s) % KINDS.length]}`,
      `${series[s]!.title}: ${short(from)} to ${short(to)}, ${pText(p)}`,
    ),
  )}${shown.map((s, i) => {
    const kind = KINDS[i % KINDS.length]!;
    return html`${fields["low"] && fields["high"] && html`<path class="band ${kind}" d="${area(s)}"/>`}<path class="line ${kind}" d="${path("array", s)}"><title>${series[s]!.title}</title></path>${
      shown.length > 1 && keyEntry(series[s]!.title, kind, i)
    }`;
  })}${axisBelow(x, { ticks: x.ticks(6), y: bottom, from: LEFT, to: RIGHT, title: section.x, write: short })}`;
  return {
    id: `${section.id}-${place}`,
    title: group || section.y,
    description: `${shown.map((s) => peakOf(section, fields, s)).join(" ")}${own.map(({ series: s, from, to, p }) => ` ${series[s]!.title}: ${short(from)} to ${short(to)}, ${pText(p)}.`).join("")}`,
    caption: `${section.y.slice(0, 1).toUpperCase()}${section.y.slice(1)}.${fields["low"] ? " Bands: intervals." : ""}${own.length > 0 ? " Bars at the bottom: spans that hold against chance." : ""}${members.length > shown.length ? ` The first ${shown.length} of ${members.length} series.` : ""}${step > 1 ? ` One sample in ${step} is drawn.` : ""}`,
    drawing: { width: WIDTH, height: bottom + 36, content },
    numbers: {
      columns: [
        "time",
        ...members.flatMap((s) => [
          `${s}: ${series[s]!.title}`,
          ...(fields["low"] ? [`${s}: low`, `${s}: high`] : []),
        ]),
      ],
      rows: Array.from({ length: nTimes }, (_, t) => [
        cell(times[t]),
        ...members.flatMap((s) => [
          cell(valueAt("array", s, t)),
          ...(fields["low"] ? [cell(valueAt("low", s, t)), cell(valueAt("high", s, t))] : []),
        ]),
      ]),
    },
    nShown: 24,
  };
}

const finite = (values: ArrayLike<number>, from: number, n: number): number[] => {
  const out: number[] = [];
  for (let i = from; i < from + n; i++) if (Number.isFinite(values[i])) out.push(values[i]!);
  return out;
};

const sampled = (n: number, step: number): number[] =>
  Array.from({ length: Math.ceil(n / step) }, (_, i) => i * step);

function keyEntry(title: string, kind: string, i: number): Html {
  const [x, y] = [LEFT + (i % 2) * 146, 8 + 14 * Math.floor(i / 2)];
  const text = title.length > 20 ? `${title.slice(0, 19)}…` : title;
  return html`<path class="line ${kind}" d="M${x} ${y}h16"/>${label(x + 20, y + 4, text)}`;
}

function peakOf(
  { nTimes, series, x }: TimecoursesSection,
  fields: FieldMaps["fields"],
  s: number,
): string {
  let best = -1;
  for (let t = 0; t < nTimes; t++) {
    const value = fields["array"]![s * nTimes + t]!;
    if (Number.isFinite(value) && (best < 0 || value > fields["array"]![s * nTimes + best]!)) {
      best = t;
    }
  }
  return best < 0
    ? `${series[s]!.title}: no values.`
    : `${series[s]!.title}: highest ${fixed(fields["array"]![s * nTimes + best]!)} at ${short(fields["times"]![best]!)} (${x}).`;
}

/** Drawn spikes of a trial, and drawn trials; the array has all. */
const MOST_SPIKES = 4000;
const MOST_TRIALS = 6;

/** One raster for each trial: a dash for a spike, units in the order of their groups. */
export function rasterFigures(section: RasterSection, { fields }: FieldMaps): readonly Exhibit[] {
  const { trials, nSpikes, nUnits, duration, groups } = section;
  const spikes = fields["array"]!;
  return trials.slice(0, MOST_TRIALS).map((trial, k): Exhibit => {
    const own: (readonly [time: number, unit: number])[] = [];
    for (let i = 0; i < nSpikes; i++) {
      const unit = spikes[3 * i + 2]!;
      if (spikes[3 * i] === k && unit >= 0 && unit < nUnits) own.push([spikes[3 * i + 1]!, unit]);
    }
    const height = Math.min(260, Math.max(120, nUnits * 2.2));
    const top = 8;
    const { bands, bottom, marks } = unitBands(groups, { top, height, left: LEFT, right: RIGHT });
    const x = scaleLinear([0, duration], [LEFT, RIGHT]);
    const drawn = own.slice(0, MOST_SPIKES);
    // One path: a dash as high as a unit's row.
    const row = height / nUnits;
    const dash = Math.max(0.8, row * 0.8);
    const path = drawn
      .map(([time, unit]) => {
        const { firstUnit, top: above } = bands.findLast((band) => band.firstUnit <= unit)!;
        return `M${px(x(time))} ${px(above + (unit - firstUnit + 0.1) * row)}v${px(dash)}`;
      })
      .join("");
    return {
      id: `${section.id}-${k}`,
      title: trial,
      description: `${own.length} spikes of ${nUnits} units in ${short(duration)} s: ${short(own.length / nUnits / duration)} per unit and second.`,
      caption: `Each mark is a spike, each row a unit${bandsCaption(groups)}.${own.length > drawn.length ? ` The first ${drawn.length} of ${own.length} spikes.` : ""}`,
      drawing: {
        width: WIDTH,
        height: bottom + 36,
        content: html`${marks}${bands.map((band) => rule(LEFT, band.top, LEFT, band.bottom, "axis"))}${label(LEFT - 5, bands[0]!.top + 8, "units", { anchor: "end", kind: "tick" })}<path class="spikes" d="${path}"/>${axisBelow(x, { ticks: x.ticks(6), y: bottom, from: LEFT, to: RIGHT, title: "time (s)", write: short })}`,
      },
      numbers: { columns: ["time", "unit"], rows: own.map(([time, unit]) => [time, unit]) },
      nShown: 24,
    };
  });
}
