import type { SelectionSection } from "@penfield/report";
import { scaleLinear, scaleLog } from "d3";
import { short, whole } from "../format.ts";
import { html } from "../html.ts";
import type { Chosen, LocalizerArrays } from "../reports/localizer.ts";
import { axisBelow, type Exhibit, label, px, rule, span, WIDTH } from "./exhibit.ts";

const LEFT = 48;
const RIGHT = WIDTH - 10;
const TOP = 14;
const BOTTOM = 190;
const N_BARS = 60;
/** Below this all q are alike. */
const LEAST_Q = 1e-16;

/** How t is spread over all units, and which part of it is taken. */
export function spreadFigure(
  section: SelectionSection,
  { t }: LocalizerArrays,
  { mask, threshold, units }: Chosen,
): Exhibit {
  const [low, high] = finiteSpan(t);
  const width = (high - low) / N_BARS || 1;
  const all = new Array<number>(N_BARS).fill(0);
  const taken = new Array<number>(N_BARS).fill(0);
  for (let i = 0; i < t.length; i++) {
    if (!Number.isFinite(t[i]!)) continue;
    const bar = Math.min(N_BARS - 1, Math.max(0, Math.floor((t[i]! - low) / width)));
    all[bar]!++;
    if (mask[i] === 1) taken[bar]!++;
  }
  const most = Math.max(1, ...all);
  const x = scaleLinear([low, high], [LEFT, RIGHT]);
  const y = scaleLog([0.7, most * 1.3], [BOTTOM, TOP]);
  const bars = (counts: readonly number[]): string =>
    counts
      .map((count, i) =>
        count === 0
          ? ""
          : `M${px(x(low + i * width))} ${BOTTOM}V${px(y(count))}H${px(x(low + (i + 1) * width))}V${BOTTOM}Z`,
      )
      .join("");
  return {
    id: `${section.id}-spread`,
    title: `${section.statistic.name} of all units, and those taken`,
    description: `Histogram of ${section.statistic.name} of ${whole(t.length)} units, from ${short(low)} to ${short(high)}; ${whole(units.length)} are taken.`,
    caption: `Counts on a logarithmic scale. Grey: all units; orange: those taken.${threshold.t === undefined ? "" : " Dashed: the threshold of t."}`,
    drawing: {
      width: WIDTH,
      height: BOTTOM + 36,
      content: html`${[1, 10, 100, 1e3, 1e4, 1e5, 1e6]
        .filter((tick) => tick <= most)
        .map((tick) => [
          rule(LEFT, y(tick), RIGHT, y(tick), "grid"),
          label(LEFT - 5, y(tick) + 4, whole(tick), { anchor: "end", kind: "tick" }),
        ])}<path class="bar random" d="${bars(all)}"/><path class="bar localized" d="${bars(taken)}"/>${
        threshold.t !== undefined &&
        threshold.t >= low &&
        threshold.t <= high &&
        rule(x(threshold.t), TOP - 6, x(threshold.t), BOTTOM, "reference")
      }${axisBelow(x, { ticks: x.ticks(6), y: BOTTOM, from: LEFT, to: RIGHT, title: section.statistic.name, write: short })}`,
    },
    numbers: {
      columns: ["from", "to", "n_units", "n_taken"],
      rows: all.map((count, i) => [low + i * width, low + (i + 1) * width, count, taken[i]!]),
    },
    nShown: 60,
  };
}

const N_COLUMNS = 56;
const N_ROWS = 36;

/** t against q: a volcano, as density, so that a million units are as small a picture as a hundred. */
export function volcanoFigure(
  section: SelectionSection,
  { t, q }: LocalizerArrays,
  { mask, threshold }: Chosen,
): Exhibit {
  const [low, high] = finiteSpan(t);
  let top = 2;
  for (let i = 0; i < q.length; i++) {
    if (q[i]! >= 0) top = Math.max(top, -Math.log10(Math.max(q[i]!, LEAST_Q)));
  }
  const x = scaleLinear([low, high], [LEFT, RIGHT]);
  const y = scaleLinear([0, top], [BOTTOM, TOP]);
  const counts = new Uint32Array(N_COLUMNS * N_ROWS);
  const taken = new Uint32Array(N_COLUMNS * N_ROWS);
  for (let i = 0; i < t.length; i++) {
    if (!Number.isFinite(t[i]!) || !(q[i]! >= 0)) continue;
    const column = placeIn((t[i]! - low) / (high - low || 1), N_COLUMNS);
    const row = placeIn(-Math.log10(Math.max(q[i]!, LEAST_Q)) / top, N_ROWS);
    counts[row * N_COLUMNS + column]!++;
    if (mask[i] === 1) taken[row * N_COLUMNS + column]!++;
  }
  const most = Math.log1p(counts.reduce((best, count) => Math.max(best, count), 1));
  const [w, h] = [(RIGHT - LEFT) / N_COLUMNS, (BOTTOM - TOP) / N_ROWS];
  const cells = Array.from(counts, (count, at) => {
    if (count === 0) return "";
    const [row, column] = [Math.floor(at / N_COLUMNS), at % N_COLUMNS];
    const kind = taken[at]! * 2 >= count ? "localized" : "random";
    const opacity = (0.35 + 0.65 * (Math.log1p(count) / most)).toFixed(2);
    return html`<rect x="${px(LEFT + column * w)}" y="${px(BOTTOM - (row + 1) * h)}" width="${px(w)}" height="${px(h)}" class="bar ${kind}" opacity="${opacity}"/>`;
  });
  const line = threshold.q === undefined ? 0.05 : Math.max(threshold.q, LEAST_Q);
  return {
    id: `${section.id}-volcano`,
    title: `${section.statistic.name} against q`,
    description: `Units by ${section.statistic.name} and by the false discovery rate at which they would be found.`,
    caption: `The darker, the more units; orange: where at least half of them are taken. Dashed: ${[...(threshold.t === undefined ? [] : ["the threshold of t"]), threshold.q === undefined ? "q = 0.05" : "the threshold of q"].join(", ")}. q below 10⁻¹⁶ stands at the top.`,
    drawing: {
      width: WIDTH,
      height: BOTTOM + 36,
      content: html`${y
        .ticks(5)
        .map((tick) => [
          rule(LEFT, y(tick), RIGHT, y(tick), "grid"),
          label(LEFT - 5, y(tick) + 4, short(tick), { anchor: "end", kind: "tick" }),
        ])}${cells}${-Math.log10(line) <= top && rule(LEFT, y(-Math.log10(line)), RIGHT, y(-Math.log10(line)), "reference")}${
        threshold.t !== undefined &&
        threshold.t >= low &&
        threshold.t <= high &&
        rule(x(threshold.t), TOP, x(threshold.t), BOTTOM, "reference")
      }${label(4, 10, "−log10 q")}${axisBelow(x, { ticks: x.ticks(6), y: BOTTOM, from: LEFT, to: RIGHT, title: section.statistic.name, write: short })}`,
    },
    numbers: {
      columns: ["t_from", "t_to", "minus_log10_q_from", "minus_log10_q_to", "n_units", "n_taken"],
      rows: Array.from(counts).flatMap((count, at) => {
        if (count === 0) return [];
        const [row, column] = [Math.floor(at / N_COLUMNS), at % N_COLUMNS];
        const [dt, dq] = [(high - low) / N_COLUMNS, top / N_ROWS];
        return [
          [low + column * dt, low + (column + 1) * dt, row * dq, (row + 1) * dq, count, taken[at]!],
        ];
      }),
    },
    nShown: 40,
  };
}

const placeIn = (share: number, n: number): number =>
  Math.min(n - 1, Math.max(0, Math.floor(share * n)));

function finiteSpan(values: ArrayLike<number>): readonly [number, number] {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (!(Math.abs(value) < 1e100)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return low < high ? [low, high] : span([low, low + 1].filter(Number.isFinite));
}

/** How many units of each layer are taken. */
export function takenFigure(section: SelectionSection, { byLayer }: Chosen): Exhibit {
  const most = Math.max(1, ...byLayer);
  const n = byLayer.length;
  const x = scaleLinear([-0.5, n - 0.5], [LEFT, RIGHT]);
  const y = scaleLinear([0, most], [BOTTOM, TOP]).nice(4);
  const width = Math.max(1, (RIGHT - LEFT) / n - 2);
  return {
    id: `${section.id}-taken`,
    title: "Units taken of each layer",
    description: `Of ${n} layers: ${byLayer.slice(0, 60).join(", ")} units.`,
    caption: `Of ${whole(section.nUnits)} units in each layer.`,
    drawing: {
      width: WIDTH,
      height: BOTTOM + 36,
      content: html`${y
        .ticks(4)
        .filter(Number.isInteger)
        .map((tick) => [
          rule(LEFT, y(tick), RIGHT, y(tick), "grid"),
          label(LEFT - 5, y(tick) + 4, whole(tick), { anchor: "end", kind: "tick" }),
        ])}${byLayer.map(
        (count, layer) =>
          count > 0 &&
          html`<rect x="${px(x(layer) - width / 2)}" y="${px(y(count))}" width="${px(width)}" height="${px(BOTTOM - y(count))}" class="bar localized"><title>layer ${layer}: ${count}</title></rect>`,
      )}${axisBelow(x, {
        ticks: x.ticks(Math.min(n, 8)).filter((tick) => Number.isInteger(tick) && tick < n),
        ...{ y: BOTTOM, from: LEFT, to: RIGHT, title: "layer", write: String },
      })}`,
    },
    numbers: { columns: ["layer", "n_taken"], rows: byLayer.map((count, layer) => [layer, count]) },
  };
}
