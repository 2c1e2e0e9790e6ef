import type { RdmsSection } from "@penfield/report";
import { scaleLinear } from "d3";
import { fixed, short, whole } from "../format.ts";
import { html } from "../html.ts";
import { axisBelow, type Exhibit, label, px, rule, WIDTH } from "./exhibit.ts";
import { heatDrawing, isCounted } from "./heat.ts";

/** Two RDMs of a section, by their places. */
export interface RdmPair {
  readonly a: number;
  readonly b: number;
}

/** How two RDMs agree over the pairs of conditions that both have. */
export interface Agreement {
  readonly nPairs: number;
  readonly pearson: number | null;
  readonly spearman: number | null;
}

interface Pairs {
  readonly x: readonly number[];
  readonly y: readonly number[];
  readonly rows: readonly number[];
  readonly columns: readonly number[];
}

function pairsOf({ conditions }: RdmsSection, values: ArrayLike<number>, { a, b }: RdmPair): Pairs {
  const n = conditions.length;
  const size = (n * (n - 1)) / 2;
  const out = {
    x: [] as number[],
    y: [] as number[],
    rows: [] as number[],
    columns: [] as number[],
  };
  let k = 0;
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++, k++) {
      const [u, v] = [values[a * size + k]!, values[b * size + k]!];
      // What no axis can hold cannot be compared either.
      if (!(Math.abs(u) < 1e100 && Math.abs(v) < 1e100)) continue;
      out.x.push(u);
      out.y.push(v);
      out.rows.push(i);
      out.columns.push(j);
    }
  }
  return out;
}

/** Ranks from 1, ties sharing their mean. */
function ranksOf(values: readonly number[]): Float64Array {
  const order = Array.from(values.keys()).sort((i, j) => values[i]! - values[j]!);
  const ranks = new Float64Array(values.length);
  for (let from = 0; from < order.length; ) {
    let to = from + 1;
    while (to < order.length && values[order[to]!] === values[order[from]!]) to++;
    for (let i = from; i < to; i++) ranks[order[i]!] = (from + 1 + to) / 2;
    from = to;
  }
  return ranks;
}

function pearsonOf(x: ArrayLike<number>, y: ArrayLike<number>): number | null {
  const n = x.length;
  let [mx, my] = [0, 0];
  for (let i = 0; i < n; i++) {
    mx += x[i]! / n;
    my += y[i]! / n;
  }
  let [xx, yy, xy] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    const [u, v] = [x[i]! - mx, y[i]! - my];
    xx += u * u;
    yy += v * v;
    xy += u * v;
  }
  const r = xy / Math.sqrt(xx * yy);
  return n >= 3 && Number.isFinite(r) ? r : null;
}

export function agreementOf(
  section: RdmsSection,
  values: ArrayLike<number>,
  pair: RdmPair,
): Agreement {
  const { x, y } = pairsOf(section, values, pair);
  return {
    nPairs: x.length,
    pearson: pearsonOf(x, y),
    spearman: pearsonOf(ranksOf(x), ranksOf(y)),
  };
}

const N_CELLS = 40;
const [LEFT, RIGHT, TOP, BOTTOM] = [48, WIDTH - 10, 14, 300];

/** Two RDMs against each other: each pair of conditions by both dissimilarities, and where their ranks part. */
export function rdmPairFigures(
  section: RdmsSection,
  values: ArrayLike<number>,
  pair: RdmPair,
): readonly Exhibit[] {
  const { conditions, rdms } = section;
  const [titleA, titleB] = [rdms[pair.a]!.title, rdms[pair.b]!.title];
  const { x, y, rows, columns } = pairsOf(section, values, pair);
  const { pearson, spearman, nPairs } = agreementOf(section, values, pair);
  if (nPairs === 0) return [];
  const ends = (list: readonly number[]): [number, number] => {
    let [low, high] = [list[0]!, list[0]!];
    for (const value of list) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    return low < high ? [low, high] : [low - 0.5, high + 0.5];
  };
  const across = scaleLinear(ends(x), [LEFT, RIGHT]);
  const up = scaleLinear(ends(y), [BOTTOM, TOP]);
  const counts = new Uint32Array(N_CELLS * N_CELLS);
  const [w, h] = [(RIGHT - LEFT) / N_CELLS, (BOTTOM - TOP) / N_CELLS];
  const cell = (place: number, size: number): number =>
    Math.min(N_CELLS - 1, Math.max(0, Math.floor(place / size)));
  x.forEach((u, i) => {
    counts[cell(BOTTOM - up(y[i]!), h) * N_CELLS + cell(across(u) - LEFT, w)]!++;
  });
  const most = Math.log1p(counts.reduce((best, count) => Math.max(best, count), 1));
  const [ranksX, ranksY] = [ranksOf(x), ranksOf(y)];
  const n = conditions.length;
  const difference = new Float64Array(n * n).fill(Number.NaN);
  rows.forEach((i, k) => {
    const by = (ranksX[k]! - ranksY[k]!) / nPairs;
    difference[i * n + columns[k]!] = by;
    difference[columns[k]! * n + i] = by;
  });
  const { drawing, block } = heatDrawing({
    values: difference,
    rows: conditions,
    columns: isCounted(conditions) ? conditions : conditions.map((_, i) => String(i)),
    rowTitle: "",
    columnTitle: "condition",
    keyTitle: "difference of ranks",
    ends: [-1, 1],
  });
  const said = `Pearson r ${fixed(pearson)}, Spearman r ${fixed(spearman)}, over ${whole(nPairs)} pairs of conditions`;
  return [
    {
      id: `${section.id}-scatter`,
      title: `${titleA} against ${titleB}`,
      description: `${said}.`,
      caption: `${said}; pairs are not independent, so this is no test. The darker, the more pairs.`,
      drawing: {
        width: WIDTH,
        height: BOTTOM + 36,
        content: html`${up
          .ticks(5)
          .map((tick) => [
            rule(LEFT, up(tick), RIGHT, up(tick), "grid"),
            label(LEFT - 5, up(tick) + 4, short(tick), { anchor: "end", kind: "tick" }),
          ])}${Array.from(
          counts,
          (count, at) =>
            count > 0 &&
            html`<rect x="${px(LEFT + (at % N_CELLS) * w)}" y="${px(BOTTOM - (Math.floor(at / N_CELLS) + 1) * h)}" width="${px(w)}" height="${px(h)}" class="bar matched" opacity="${(0.3 + 0.7 * (Math.log1p(count) / most)).toFixed(2)}"/>`,
        )}${axisBelow(across, { ticks: across.ticks(5), y: BOTTOM, from: LEFT, to: RIGHT, title: titleA.slice(0, 48), write: short })}${label(4, 10, titleB.slice(0, 48))}`,
      },
      numbers: {
        columns: ["condition_a", "condition_b", "first", "second"],
        rows: rows.map((i, k) => [conditions[i]!, conditions[columns[k]!]!, x[k]!, y[k]!]),
      },
      nShown: 40,
    },
    {
      id: `${section.id}-difference`,
      title: "Where their ranks part",
      description: `Rank of each dissimilarity in ${titleA} minus its rank in ${titleB}, as shares of all ranks.`,
      caption: `Ranks of dissimilarities in ${titleA} minus those in ${titleB}, as shares of all ranks: above 0 the first tells the two conditions further apart.${block > 1 ? ` Cells are means of ${block} × ${block} values.` : ""}`,
      drawing,
      numbers: {
        columns: ["condition_a", "condition_b", "rank_first", "rank_second", "difference"],
        rows: rows.map((i, k) => [
          conditions[i]!,
          conditions[columns[k]!]!,
          ranksX[k]!,
          ranksY[k]!,
          (ranksX[k]! - ranksY[k]!) / nPairs,
        ]),
      },
      nShown: 40,
    },
  ];
}
