import { line as d3line, scaleLinear, scaleLog } from "d3";
import type { UnitRecord } from "../censuses/unitRecord.ts";
import { fixed, short, whole } from "../format.ts";
import { type Html, html } from "../html.ts";
import { axisBelow, box, type Exhibit, label, px, rule, WIDTH } from "./exhibit.ts";

const LEFT = 44;
const RIGHT = WIDTH - 8;
const TOP = 12;
const BOTTOM = 150;

/** How often a unit had which values: bars on a logarithmic scale, with the threshold above which it counts as active. */
export function histogramFigure({ name, histogram, threshold, statistics }: UnitRecord): Exhibit {
  const { low, high, counts } = histogram;
  const width = (high - low) / counts.length;
  const used = counts.flatMap((count, i) => (count > 0 ? [i] : []));
  const first = Math.max(0, (used[0] ?? 0) - 3);
  const last = Math.min(counts.length, (used.at(-1) ?? counts.length - 1) + 4);
  const edge = (i: number): number => low + i * width;
  const largest = Math.max(1, ...counts);
  const x = scaleLinear([edge(first), edge(last)], [LEFT, RIGHT]);
  const y = scaleLog([0.7, largest * 1.3], [BOTTOM, TOP]);
  const ticks = [1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9].filter((tick) => tick <= largest);
  const inside = threshold >= edge(first) && threshold <= edge(last);
  return {
    id: "histogram",
    title: "How often which value",
    description: `Histogram of the values of unit ${name}: from ${fixed(statistics.min)} to ${fixed(statistics.max)}, active above ${short(threshold)} on ${fixed(100 * statistics.frequency, 2)} percent of the tokens.`,
    caption: `Counts on a logarithmic scale. Dashed: above ${short(threshold)} the unit counts as active. Values beyond ${short(low)} and ${short(high)} stand in the outermost bars.`,
    drawing: {
      width: WIDTH,
      height: BOTTOM + 36,
      content: html`${ticks.map((tick) => [
        rule(LEFT, y(tick), RIGHT, y(tick), "grid"),
        label(LEFT - 5, y(tick) + 4, power(tick), { anchor: "end", kind: "tick" }),
      ])}<path class="bar" d="${bars(
        counts,
        first,
        last,
        (i) => x(edge(i)),
        (count) => y(count),
      )}"/>${inside && rule(x(threshold), TOP - 6, x(threshold), BOTTOM, "reference")}${axisBelow(
        x,
        {
          ticks: x.ticks(6),
          y: BOTTOM,
          from: LEFT,
          to: RIGHT,
          title: "value",
          write: (tick) => short(tick),
        },
      )}`,
    },
    numbers: {
      columns: ["from", "to", "count"],
      rows: counts
        .map((count, i) => [edge(i), edge(i + 1), count])
        .filter(([, , count]) => count! > 0),
    },
    nShown: 40,
  };
}

const power = (tick: number): string => (tick < 1e6 ? whole(tick) : `10^${Math.log10(tick)}`);

/** All bars as one path: 256 elements would weigh more than their picture. */
function bars(
  counts: readonly number[],
  first: number,
  last: number,
  x: (i: number) => number,
  y: (count: number) => number,
): string {
  const parts: string[] = [];
  for (let i = first; i < last; i++) {
    if (counts[i]! === 0) continue;
    parts.push(`M${px(x(i))} ${px(BOTTOM)}V${px(y(counts[i]!))}H${px(x(i + 1))}V${px(BOTTOM)}Z`);
  }
  return parts.join("");
}

/** Where in a document a unit is active: share of active tokens by position. */
export function positionFigure({ name, positions, statistics }: UnitRecord): Exhibit {
  const shares = positions.map(({ nActive, nTokens }) => nActive / nTokens);
  const end = positions.at(-1)?.to ?? 1;
  const x = scaleLinear([0, end], [LEFT, RIGHT]);
  const y = scaleLinear([0, Math.max(0.001, ...shares) * 1.05], [BOTTOM, TOP]);
  const steps = positions.flatMap(({ from, to }, i): [number, number][] => [
    [from, shares[i]!],
    [to, shares[i]!],
  ]);
  const path = d3line<[number, number]>(
    ([at]) => Number(px(x(at))),
    ([, share]) => Number(px(y(share))),
  )(steps);
  return {
    id: "positions",
    title: "Where in a document",
    description: `Share of tokens on which unit ${name} is active, by their position in the document; over all positions ${fixed(statistics.frequency)}.`,
    caption:
      "Share of active tokens at each position. Dashed: over all positions. Late positions have few tokens: see the numbers.",
    drawing: {
      width: WIDTH,
      height: BOTTOM + 36,
      content: html`${y
        .ticks(4)
        .map((tick) => [
          rule(LEFT, y(tick), RIGHT, y(tick), "grid"),
          label(LEFT - 5, y(tick) + 4, short(tick), { anchor: "end", kind: "tick" }),
        ])}<path class="line matched-solid" d="${path ?? ""}"/>${rule(LEFT, y(statistics.frequency), RIGHT, y(statistics.frequency), "reference")}${axisBelow(
        x,
        {
          ticks: x.ticks(6),
          y: BOTTOM,
          from: LEFT,
          to: RIGHT,
          title: "token of the document",
          write: (tick) => short(tick),
        },
      )}`,
    },
    numbers: {
      columns: ["from", "to", "n_tokens", "n_active", "share_active", "mean"],
      rows: positions.map(({ from, to, nTokens, nActive, mean }, i) => [
        from,
        to,
        nTokens,
        nActive,
        shares[i]!,
        mean,
      ]),
    },
    nShown: 40,
  };
}

/** How many units of each type a hook point has. */
export interface TypeCounts {
  readonly name: string;
  readonly nUnits: number;
  readonly counts: readonly number[];
}

const ROW = 24;

/** Kinds of types have colours of their own, the same in every figure; the table has the types themselves. */
const kindsOfTypes = ["dead", "detectors", "positional", "families", "dense", "dormant", "none"];

function colourOf(type: string): number {
  const own = kindsOfTypes.indexOf(type);
  return own >= 0 ? own : type.endsWith("-detector") ? 1 : 3;
}

/** Types of units by layer, as bars of equal length cut by shares. */
export function typesFigure(
  names: readonly string[],
  layers: readonly TypeCounts[],
  {
    id = "types",
    title = "Types of units by layer",
  }: { readonly id?: string; readonly title?: string } = {},
): Exhibit {
  const left = 84;
  const end = RIGHT - 10;
  const used = names.flatMap((_, i) => (layers.some(({ counts }) => counts[i]! > 0) ? [i] : []));
  const kinds = [...new Set(used.map((i) => colourOf(names[i]!)))];
  const legendTop = layers.length * ROW + TOP + 34;
  return {
    id,
    title,
    description: `Share of the units of each layer that are of each type, for ${layers.length} layers: ${used.map((i) => `${names[i]} ${whole(layers.reduce((sum, { counts }) => sum + counts[i]!, 0))}`).join(", ")}.`,
    caption:
      "Each unit counts once, by the first of its types. Detectors: of tokens, pairs, triples; families: one word in all spellings, a class of words, an initial letter. The table has every type.",
    drawing: {
      width: WIDTH,
      height: legendTop + Math.ceil(kinds.length / 2) * 18,
      content: html`${layers.map(({ name, nUnits, counts }, row) => {
        let at = left;
        const y = TOP + row * ROW;
        return html`${label(left - 6, y + 13, name.length > 13 ? `…${name.slice(-12)}` : name, { anchor: "end" })}${used.map(
          (i) => {
            const width = (counts[i]! / Math.max(1, nUnits)) * (end - left);
            if (width === 0) return "";
            const part = html`${box(at, y, width, ROW - 6, `type-${colourOf(names[i]!)}`, `${name}: ${counts[i]} ${names[i]}`)}${
              width > 24 &&
              label(at + width / 2, y + 13, String(counts[i]), {
                anchor: "middle",
                kind: "tick on-type",
              })
            }`;
            at += width;
            return part;
          },
        )}`;
      })}${axisBelow(scaleLinear([0, 100], [left, end]), {
        ticks: [0, 25, 50, 75, 100],
        y: TOP + layers.length * ROW,
        from: left,
        to: end,
        title: "",
        write: (tick) => `${tick} %`,
      })}${kinds.map((kind, place) => {
        const x = place % 2 === 0 ? 8 : WIDTH / 2 + 8;
        const y = legendTop + Math.floor(place / 2) * 18;
        return html`${box(x, y - 9, 11, 11, `type-${kind}`)}${label(x + 16, y, kindsOfTypes[kind]!)}`;
      })}`,
    },
    numbers: {
      columns: ["layer", "n_units", ...names.map((name) => name.replaceAll("-", "_"))],
      rows: layers.map(({ name, nUnits, counts }) => [name, nUnits, ...counts]),
    },
  };
}

/** Values of several units on one scale: the share of tokens in each bar. */
export function overlayFigure(records: readonly UnitRecord[]): Exhibit {
  const lows = records.map(({ statistics }) => statistics.min);
  const highs = records.map(({ statistics }) => statistics.max);
  const x = scaleLinear([Math.min(0, ...lows), Math.max(1e-6, ...highs)], [LEFT, RIGHT]);
  const shares = records.map(({ histogram }) => {
    const n = histogram.counts.reduce((sum, count) => sum + count, 0);
    return histogram.counts.map((count) => count / Math.max(1, n));
  });
  const least = Math.min(...shares.flat().filter((share) => share > 0), 1e-3);
  const y = scaleLog([least * 0.7, 1.3], [BOTTOM, TOP]);
  const kinds = ["localized", "matched-solid", "least", "intact"] as const;
  const lines = records.map(({ histogram }, k): Html => {
    const { low, high, counts } = histogram;
    const width = (high - low) / counts.length;
    const points = counts.flatMap((count, i): [number, number][] =>
      count > 0 ? [[low + (i + 0.5) * width, shares[k]![i]!]] : [],
    );
    const path = d3line<[number, number]>(
      ([at]) => Number(px(x(at))),
      ([, share]) => Number(px(y(share))),
    )(points);
    return html`<path class="line ${kinds[k % 4]!}" d="${path ?? ""}"/>`;
  });
  return {
    id: "values",
    title: "Values on one scale",
    description: `Share of tokens by value, for ${records.map(({ name }) => name).join(", ")}.`,
    caption:
      "Share of tokens by value, logarithmic. The units' ranges may differ: the axis holds them all.",
    drawing: {
      width: WIDTH,
      height: BOTTOM + 36 + records.length * 16,
      content: html`${[1, 0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-6]
        .filter((tick) => tick >= least * 0.7)
        .map((tick) => [
          rule(LEFT, y(tick), RIGHT, y(tick), "grid"),
          label(LEFT - 5, y(tick) + 4, short(tick), { anchor: "end", kind: "tick" }),
        ])}${lines}${axisBelow(x, {
        ticks: x.ticks(6),
        y: BOTTOM,
        from: LEFT,
        to: RIGHT,
        title: "value",
        write: (tick) => short(tick),
      })}${records.map(({ model, name }, k) => {
        const at = BOTTOM + 46 + k * 16;
        return html`<path class="line ${kinds[k % 4]!}" d="M${LEFT} ${at - 4}h26"/>${label(LEFT + 32, at, `${model.name} ${name}`)}`;
      })}`,
    },
    numbers: {
      columns: ["model", "unit", "from", "to", "count"],
      rows: records.flatMap(({ model, name, histogram }) => {
        const { low, high, counts } = histogram;
        const width = (high - low) / counts.length;
        return counts.flatMap((count, i) =>
          count > 0 ? [[model.name, name, low + i * width, low + (i + 1) * width, count]] : [],
        );
      }),
    },
    nShown: 40,
  };
}

/** Held-out correlations of descriptions, layer by layer, above their floor. */
export function scoresFigure(
  layers: readonly {
    readonly name: string;
    readonly values: readonly number[];
    readonly floors: readonly number[];
  }[],
): Exhibit {
  const left = 84;
  const end = RIGHT - 34;
  const rows = layers.map(({ name, values, floors }) => ({
    name,
    n: values.length,
    quantiles: QUANTILES.map((p) => quantileOf(values, p)),
    floor: quantileOf(floors, 0.95),
  }));
  const all = rows.flatMap(({ quantiles, floor }) => [...quantiles, floor]);
  const x = scaleLinear([Math.min(0, ...all.filter((value) => value !== null)), 1], [left, end]);
  const bottom = TOP + 14 + layers.length * ROW;
  return {
    id: "scores",
    title: "How well descriptions hold, by layer",
    description: rows
      .map(
        ({ name, n, quantiles, floor }) =>
          `${name}: median ${fixed(quantiles[2]!, 2)} of ${whole(n)} units, floor ${fixed(floor, 2)}`,
      )
      .join("; "),
    caption:
      "Held-out correlation of all descriptions that were tried, refused ones too. Line: 5th to 95th percentile; box: quartiles; tick: median. Dashed: 95 % of the floors (rules of other units) lie below. At the right: how many.",
    drawing: {
      width: WIDTH,
      height: bottom + 36,
      content: html`${label(RIGHT, TOP + 2, "units", { anchor: "end", kind: "tick" })}${x.ticks(5).map((tick) => rule(x(tick), TOP + 8, x(tick), bottom, tick === 0 ? "zero" : "grid"))}${rows.map(
        ({ name, n, quantiles: [p5, p25, p50, p75, p95], floor }, row) => {
          const y = TOP + 14 + (row + 0.5) * ROW;
          return html`<g><title>${`${name}: median ${fixed(p50!, 2)}, ${n} units`}</title>${label(left - 6, y + 4, name.length > 13 ? `…${name.slice(-12)}` : name, { anchor: "end" })}${label(RIGHT, y + 4, whole(n), { anchor: "end", kind: "tick" })}${
            n > 0 &&
            html`${rule(x(p5!), y, x(p95!), y, "whisker")}${box(x(p25!), y - 6, x(p75!) - x(p25!), 12, "box")}${rule(x(p50!), y - 6, x(p50!), y + 6, "median")}`
          }${floor !== null && rule(x(floor), y - 9, x(floor), y + 9, "reference")}</g>`;
        },
      )}${axisBelow(x, {
        ticks: x.ticks(5),
        ...{ y: bottom, from: left, to: end, title: "held-out r" },
        write: (tick) => short(tick),
      })}`,
    },
    numbers: {
      columns: ["layer", "n_tried", "r_p5", "r_p25", "r_p50", "r_p75", "r_p95", "floor_p95"],
      rows: rows.map(({ name, n, quantiles, floor }) => [name, n, ...quantiles, floor]),
    },
  };
}

const QUANTILES = [0.05, 0.25, 0.5, 0.75, 0.95];

/** By linear interpolation; null without values. */
function quantileOf(values: readonly number[], p: number): number | null {
  if (values.length === 0) return null;
  const sorted = Float64Array.from(values).sort();
  const at = p * (sorted.length - 1);
  const low = sorted[Math.floor(at)]!;
  return low + (at % 1) * (sorted[Math.ceil(at)]! - low);
}
