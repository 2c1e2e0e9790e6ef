import type { SelectionSection } from "@penfield/report";
import { greatest, scaleLinear } from "d3";
import { fixed, short, whole, withInterval } from "../format.ts";
import { type Html, html } from "../html.ts";
import {
  axisBelow,
  box,
  dot,
  type Exhibit,
  label,
  numbersOf,
  rule,
  span,
  WIDTH,
} from "./exhibit.ts";

/** The arrays of a selection section that the map draws, [nLayers * nUnits]. */
export interface SelectionMaps {
  readonly t: ArrayLike<number>;
  readonly mask: ArrayLike<number>;
}

const LEFT = 34;
const TOP = 30;

const rowHeight = ({ nLayers }: SelectionSection): number =>
  Math.min(24, Math.max(8, 400 / nLayers));

/** Layer numbers beside the rows, as many as have room. */
function layerNames(section: SelectionSection): Html {
  const height = rowHeight(section);
  const every = Math.ceil(11 / height);
  return html`${label(LEFT - 6, TOP - 9, "layer", { anchor: "end" })}${section.layers
    .filter(({ layer }) => layer % every === 0)
    .map(({ layer }) =>
      label(LEFT - 6, TOP + (layer + 0.5) * height + 4, layer, { anchor: "end", kind: "tick" }),
    )}`;
}

/** How t is spread over each layer's units, and how many of them were selected. */
export function layersFigure(section: SelectionSection): Exhibit {
  const height = rowHeight(section);
  const { layers } = section;
  const right = WIDTH - 92;
  const bottom = TOP + layers.length * height;
  const values = layers.flatMap(({ quantiles }) => Object.values(quantiles));
  const x = scaleLinear(span([0, ...values]), [LEFT + 4, right]).nice(5);
  const richest = greatest(layers, ({ nSelected }) => nSelected);
  const most = Math.max(1, richest?.nSelected ?? 0);
  const bar = scaleLinear([0, most], [0, 50]);
  const marks = layers.map(({ layer, quantiles: q, nSelected, tMean, nSignificant }) => {
    const middle = TOP + (layer + 0.5) * height;
    const half = Math.min(height * 0.32, 6);
    const told = `Layer ${layer}: median t ${fixed(q.p50, 2)}, mean ${fixed(tMean, 2)}, maximum ${fixed(q.max, 2)}; ${nSelected} selected, ${nSignificant} with q < 0.05`;
    return html`<g><title>${told}</title>${q.p5 !== null && q.p95 !== null && rule(x(q.p5), middle, x(q.p95), middle, "whisker")}${
      q.p25 !== null &&
      q.p75 !== null &&
      box(x(q.p25), middle - half, x(q.p75) - x(q.p25), 2 * half, "box")
    }${q.p50 !== null && rule(x(q.p50), middle - half, x(q.p50), middle + half, "median")}${
      q.max !== null && dot(x(q.max), middle, 1.8, "extreme")
    }${box(right + 14, middle - half, bar(nSelected), 2 * half, "bar-localized")}${
      height >= 11 &&
      label(right + 17 + bar(nSelected), middle + 4, nSelected, {
        kind: nSelected ? "tick" : "tick faint",
      })
    }</g>`;
  });
  return {
    id: `${section.id}-layers`,
    title: `${section.statistic.name} of the units of each layer, and how many were selected`,
    description: `${whole(section.selected.nSelected)} of ${whole(section.nLayers * section.nUnits)} units were selected${
      richest?.nSelected ? `; most of them, ${richest.nSelected}, in layer ${richest.layer}` : ""
    }.`,
    caption:
      "Line: 5th to 95th percentile of the layer's units; box: quartiles; tick: median; circle: maximum. Bars at the right: units selected.",
    drawing: {
      width: WIDTH,
      height: bottom + 36,
      content: html`${layerNames(section)}${x.ticks(5).map((tick) => rule(x(tick), TOP, x(tick), bottom, tick === 0 ? "zero" : "grid"))}${label(right + 14, TOP - 9, "selected", { kind: "label localized-text" })}${marks}${axisBelow(
        x,
        {
          ticks: x.ticks(5),
          y: bottom,
          from: LEFT + 4,
          to: right,
          title: `${section.statistic.name} of the contrast`,
          write: short,
        },
      )}`,
    },
    numbers: {
      columns: [
        "layer",
        "n_selected",
        "n_significant",
        "t_mean",
        "t_p5",
        "t_p25",
        "t_p50",
        "t_p75",
        "t_p95",
        "t_max",
      ],
      rows: layers.map(({ layer, nSelected, nSignificant, tMean, quantiles: q }) => [
        layer,
        nSelected,
        nSignificant,
        tMean,
        q.p5,
        q.p25,
        q.p50,
        q.p75,
        q.p95,
        q.max,
      ]),
    },
  };
}

/** Edges of |t|: below the first is what chance gives; the widest set that the data fill is taken. */
const EDGES = [
  [2, 4, 8],
  [2, 5, 15],
  [2, 8, 30],
  [2, 15, 100],
] as const;

function chooseEdges(t: ArrayLike<number>): readonly [number, number, number] {
  let largest = 0;
  for (let i = 0; i < t.length; i++) largest = Math.max(largest, Math.abs(t[i]!) || 0);
  return EDGES.find(([, , last]) => largest <= 3 * last) ?? EDGES.at(-1)!;
}

/** 0 (far below) .. 6 (far above); 3 is the middle; NaN is -1. */
function band(t: number, edges: readonly number[]): number {
  if (Number.isNaN(t)) return -1;
  const steps = edges.filter((edge) => Math.abs(t) >= edge).length;
  return 3 + Math.sign(t) * steps;
}

/** t of every unit: one row for each layer, units in order of t. Runs of one colour are one rectangle, so nothing is averaged. */
export function mapFigure(section: SelectionSection, { t, mask }: SelectionMaps): Exhibit {
  const { nLayers, nUnits } = section;
  const edges = chooseEdges(t);
  const height = rowHeight(section);
  const right = WIDTH - 14;
  const bottom = TOP + nLayers * height;
  const x = scaleLinear([0, nUnits], [LEFT + 4, right]);
  const counts: number[][] = [];
  const rows = section.layers.map(({ layer }) => {
    const units = Array.from({ length: nUnits }, (_, unit) => layer * nUnits + unit);
    // NaN last; every other one from high to low.
    units.sort((a, b) => (Number.isNaN(t[a]!) ? 1 : Number.isNaN(t[b]!) ? -1 : t[b]! - t[a]!));
    const y = TOP + layer * height;
    const inBand = new Array<number>(8).fill(0);
    for (const unit of units) inBand[band(t[unit]!, edges) + 1]!++;
    counts.push(inBand);
    const colours = runs(units.map((unit) => band(t[unit]!, edges)));
    const chosen = runs(units.map((unit) => (mask[unit] ? 1 : 0))).filter(({ value }) => value);
    const thick = Math.min(4, Math.max(2, height * 0.22));
    return html`<g>${colours.map(({ value, from, to }) =>
      box(x(from), y, x(to) - x(from), height - 1, value < 0 ? "none" : `shade-${value}`),
    )}${chosen.map(({ from, to }) =>
      box(x(from), y + height - 1 - thick, Math.max(x(to) - x(from), 0.8), thick, "chosen"),
    )}</g>`;
  });
  const [a, b, c] = edges;
  const names = [`< −${c}`, `−${c}`, `−${b}`, `±${a}`, `${b}`, `${c}`, `> ${c}`];
  const key = [0, 1, 2, 3, 4, 5, 6].map((shade) => {
    const at = LEFT + 62 + shade * 34;
    return [
      box(at, 4, 34, 8, `shade-${shade}`),
      shade === 3
        ? [
            label(at, 23, `−${a}`, { anchor: "middle", kind: "tick" }),
            label(at + 34, 23, a, { anchor: "middle", kind: "tick" }),
          ]
        : null,
      shade === 1 || shade === 2
        ? label(at, 23, names[shade], { anchor: "middle", kind: "tick" })
        : null,
      shade === 4 || shade === 5
        ? label(at + 34, 23, names[shade], { anchor: "middle", kind: "tick" })
        : null,
    ];
  });
  const percent = scaleLinear([0, 100], [LEFT + 4, right]);
  return {
    id: `${section.id}-map`,
    title: `${section.statistic.name} of every unit, sorted within its layer`,
    description: `Each row is a layer; its ${whole(nUnits)} units stand from the highest t at the left to the lowest at the right. Selected units are marked by a line under the row.`,
    caption:
      "Each row is one layer with all its units, highest t at the left. The line under a row marks the selected ones.",
    drawing: {
      width: WIDTH,
      height: bottom + 36,
      content: html`${layerNames(section)}${label(LEFT + 54, 12, "t", { anchor: "end" })}${key}${rows}${axisBelow(
        percent,
        {
          ticks: [0, 25, 50, 75, 100],
          y: bottom,
          from: LEFT + 4,
          to: right,
          title: "units of the layer, percent",
          write: (tick) => String(tick),
        },
      )}`,
    },
    numbers: {
      columns: [
        "layer",
        "units_without_t",
        `units_t_to_-${c}`,
        `units_t_-${c}_to_-${b}`,
        `units_t_-${b}_to_-${a}`,
        `units_t_-${a}_to_${a}`,
        `units_t_${a}_to_${b}`,
        `units_t_${b}_to_${c}`,
        `units_t_from_${c}`,
      ],
      rows: counts.map((inBand, layer) => [layer, ...inBand]),
    },
  };
}

/** Stretches of equal values. */
function runs(values: readonly number[]): { value: number; from: number; to: number }[] {
  const out: { value: number; from: number; to: number }[] = [];
  for (const [i, value] of values.entries()) {
    const last = out.at(-1);
    if (last && last.value === value) last.to = i + 1;
    else out.push({ value, from: i, to: i + 1 });
  }
  return out;
}

/** The selected units beside random ones, on stimuli that did not choose them. */
export function heldOutFigure(section: SelectionSection): Exhibit {
  const { selectivity, randomSelectivity, jaccard, nSplits } = section.heldOut;
  const rows = [
    { name: "selected units", kind: "localized", estimate: selectivity },
    { name: "random units", kind: "random", estimate: randomSelectivity },
  ];
  const left = 110;
  const right = WIDTH - 14;
  const x = scaleLinear(span([0, 0.1, ...rows.flatMap(({ estimate }) => numbersOf(estimate))]), [
    left,
    right,
  ]).nice(4);
  const bottom = 74;
  const marks = rows.map(({ name, kind, estimate }, i) => {
    const y = 20 + i * 32;
    return html`<g><title>${name}: ${withInterval(estimate)}</title>${label(left - 10, y + 4, name, { anchor: "end", kind: `label ${kind}-text` })}${
      estimate.interval &&
      rule(x(estimate.interval[0]), y, x(estimate.interval[1]), y, `whisker ${kind}`)
    }${estimate.value !== null && dot(x(estimate.value), y, 4, `point ${kind}`)}${
      estimate.value !== null &&
      label(x(estimate.value), y - 8, fixed(estimate.value, 2), { anchor: "middle", kind: "tick" })
    }</g>`;
  });
  return {
    id: `${section.id}-held-out`,
    title: "Selectivity on stimuli that did not choose the units",
    description: `Mean standardized difference ${withInterval(selectivity)} for the selected units, ${withInterval(randomSelectivity)} for random ones.`,
    caption: `Mean standardized difference of the contrast on the held-out half, ${nSplits} splits. The sets chosen on the two halves share ${withInterval(jaccard, (v) => fixed(v, 2))} of their units (Jaccard).`,
    drawing: {
      width: WIDTH,
      height: bottom + 36,
      content: html`${x.ticks(4).map((tick) => rule(x(tick), 6, x(tick), bottom, tick === 0 ? "zero" : "grid"))}${marks}${axisBelow(
        x,
        {
          ticks: x.ticks(4),
          y: bottom,
          from: left,
          to: right,
          title: "standardized difference",
          write: short,
        },
      )}`,
    },
    numbers: {
      columns: ["measure", "value", "low", "high"],
      rows: [
        ["selectivity_selected", selectivity],
        ["selectivity_random", randomSelectivity],
        ["jaccard", jaccard],
      ].map(([name, estimate]) => {
        const { value, interval } = estimate as typeof jaccard;
        return [name as string, value, interval?.[0] ?? null, interval?.[1] ?? null];
      }),
    },
  };
}
