import type { Cell, MatrixSection, RdmsSection, SimilaritySection, Table } from "@penfield/report";
import { scaleLinear } from "d3";
import { fixed, short } from "../format.ts";
import { html } from "../html.ts";
import { axisBelow, dot, type Exhibit, label, rule, span, WIDTH } from "./exhibit.ts";
import { endsOf, heatDrawing, isCounted } from "./heat.ts";
import { mapFigure } from "./map.ts";

/** The arrays that matrices and RDMs are drawn from. */
export interface MatrixMaps {
  readonly values: ArrayLike<number>;
  readonly floor?: ArrayLike<number> | undefined;
}

const cell = (value: number | undefined): Cell =>
  value !== undefined && Number.isFinite(value) ? value : null;

/** Rows drawn as a page's table; the .csv has all. */
const SHOWN = 24;

/** A matrix of a measure, the same with stimuli shuffled on the same colours, and a map. */
export function matrixFigures(section: MatrixSection, maps: MatrixMaps): readonly Exhibit[] {
  const { measure, rows, columns, floor, map } = section;
  const upwards = isCounted(rows.labels) && isCounted(columns.labels);
  const ends = endsOf(maps.values);
  const one = (values: ArrayLike<number>, kind: "values" | "floor"): Exhibit => {
    const { drawing, block } = heatDrawing({
      values,
      rows: rows.labels,
      columns: columns.labels,
      rowTitle: upwards ? rows.title : "",
      columnTitle: columns.title,
      columnNames: true,
      keyTitle: measure.title,
      upwards,
      ends,
    });
    const [low, high] = endsOf(values);
    const shuffled = kind === "floor";
    return {
      id: `${section.id}-${kind}`,
      title: shuffled ? `${measure.title}, stimuli shuffled` : measure.title,
      description: `${rows.labels.length} rows (${rows.title}) and ${columns.labels.length} columns (${columns.title}); values from ${fixed(low)} to ${fixed(high)}${peak(section, values)}.`,
      caption: `${shuffled ? `${floor?.nDraws === 1 ? "One random order" : `Mean of ${floor?.nDraws} random orders`} of stimuli, on the colours of the other picture. ` : ""}Rows: ${rows.title}; columns: ${columns.title}. Larger is ${measure.larger}.${block > 1 ? ` Cells are means of ${block} × ${block} values.` : ""}`,
      drawing,
      numbers: {
        columns: [rows.title || "row", ...distinctNames(columns.labels, rows.title || "row")],
        rows: rows.labels.map((text, i) => [
          text,
          ...columns.labels.map((_, j) => cell(values[i * columns.labels.length + j])),
        ]),
      },
      nShown: SHOWN,
    };
  };
  return [
    one(maps.values, "values"),
    ...(maps.floor ? [one(maps.floor, "floor")] : []),
    ...(map ? [mapFigure(`${section.id}-map`, `Map of ${measure.title}`, map, rows.labels)] : []),
  ];
}

/** Where a matrix of two models' layers is largest, in words. */
function peak({ rows, columns, measure }: MatrixSection, values: ArrayLike<number>): string {
  const sign = measure.larger === "more alike" ? 1 : -1;
  let best = -1;
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i]!)) continue;
    if (rows === columns || rows.labels.join() === columns.labels.join()) {
      // Of things with themselves nothing is to be learned, unless rows and columns are other things.
      const n = columns.labels.length;
      if (rows.title === columns.title && i % n === Math.floor(i / n)) continue;
    }
    if (best < 0 || sign * values[i]! > sign * values[best]!) best = i;
  }
  if (best < 0) return "";
  const n = columns.labels.length;
  return `; most alike: ${rows.labels[Math.floor(best / n)]} and ${columns.labels[best % n]} with ${fixed(values[best]!)}`;
}

/** Names of a table's columns, each once. */
function distinctNames(labels: readonly string[], taken: string): readonly string[] {
  const seen = new Set([taken]);
  return labels.map((text) => {
    const plain = text === "" ? "(no name)" : text;
    let name = plain;
    for (let i = 2; seen.has(name); i++) name = `${plain} (${i})`;
    seen.add(name);
    return name;
  });
}

/** Pictures of more RDMs than this are left to the array's readers. */
const MOST_RDMS = 12;

/** RDMs as pictures, and the conditions on a map. */
export function rdmFigures(section: RdmsSection, { values }: MatrixMaps): readonly Exhibit[] {
  const { conditions, rdms, map } = section;
  const n = conditions.length;
  const nPairs = (n * (n - 1)) / 2;
  const pictures = rdms.slice(0, MOST_RDMS).map(({ title, role }, k): Exhibit => {
    const square = new Float64Array(n * n);
    const pairs: Cell[][] = [];
    let at = k * nPairs;
    for (let i = 0; i < n; i++) {
      for (let j = i + 1; j < n; j++) {
        const value = values[at++]!;
        square[i * n + j] = value;
        square[j * n + i] = value;
        pairs.push([conditions[i]!, conditions[j]!, cell(value)]);
      }
    }
    const own = endsOf(Array.from({ length: nPairs }, (_, i) => values[k * nPairs + i]!));
    // The diagonal says nothing; it is drawn as the least dissimilar.
    for (let i = 0; i < n; i++) square[i * n + i] = own[0];
    const { drawing, block } = heatDrawing({
      values: square,
      rows: conditions,
      columns: conditions,
      rowTitle: "",
      columnTitle: "condition",
      columnNames: true,
      keyTitle: "dissimilarity",
      ends: own,
    });
    return {
      id: `${section.id}-${k}`,
      title: `${title} (${role})`,
      description: `Dissimilarities of ${n} conditions, from ${fixed(own[0])} to ${fixed(own[1])}.`,
      caption: `${role === "model" ? "Model" : "Data"} RDM; colours from its own lowest to its own highest dissimilarity.${block > 1 ? ` Cells are means of ${block} × ${block} values.` : ""}`,
      drawing,
      numbers: { columns: ["condition_a", "condition_b", "dissimilarity"], rows: pairs },
      nShown: SHOWN,
    };
  });
  return [
    ...pictures,
    ...(map ? [mapFigure(`${section.id}-map`, "Map of the conditions", map, conditions)] : []),
  ];
}

/** Values beside what shuffled stimuli give, of measures for which larger is more alike. */
export function similarityFigure(section: SimilaritySection): Exhibit | null {
  const { values, measures, items } = section;
  if (items.length !== 2) return null;
  const rows = values
    .map((value) => ({ ...value, info: measures.find(({ name }) => name === value.measure)! }))
    .filter(
      ({ info, value, floor }) =>
        info.larger === "more alike" && value !== null && Math.abs(value) <= 2 && floor !== null,
    );
  if (rows.length === 0) return null;
  const left = 136;
  const right = WIDTH - 14;
  const top = 20;
  const step = 19;
  const bottom = top + rows.length * step;
  const x = scaleLinear(
    span([0, 1, ...rows.flatMap(({ value, floor }) => [value, floor!.low, floor!.high])]),
    [left, right],
  ).nice(5);
  const marks = rows.map(({ info, a, value, floor }, i) => {
    const middle = top + (i + 0.5) * step;
    const way = rows.some((other) => other.measure === info.name && other.a !== a)
      ? a === 0
        ? " →"
        : " ←"
      : "";
    const shown = info.name.length > 19 ? `${info.name.slice(0, 18)}…` : info.name;
    return html`<g><title>${info.title}: ${fixed(value)}; shuffled ${fixed(floor!.mean)}</title>${label(left - 8, middle + 4, `${shown}${way}`, { anchor: "end", kind: "tick" })}${
      floor!.low !== null &&
      floor!.high !== null &&
      rule(x(floor!.low), middle, x(floor!.high), middle, "whisker random")
    }${floor!.mean !== null && dot(x(floor!.mean), middle, 3, "point random")}${dot(x(value!), middle, 3.6, "point localized")}</g>`;
  });
  return {
    id: `${section.id}-values`,
    title: "Each measure beside its value with stimuli shuffled",
    description: rows
      .map(
        ({ measure, value, floor }) => `${measure} ${fixed(value)}, shuffled ${fixed(floor!.mean)}`,
      )
      .join("; "),
    caption:
      "Orange: the value; grey: mean and range with the stimuli of the second representation in random order. Only measures for which larger is more alike; the table has all.",
    drawing: {
      width: WIDTH,
      height: bottom + 36,
      content: html`${x.ticks(5).map((tick) => rule(x(tick), top, x(tick), bottom, tick === 0 ? "zero" : "grid"))}${marks}${axisBelow(
        x,
        { ticks: x.ticks(5), y: bottom, from: left, to: right, title: "value", write: short },
      )}`,
    },
    numbers: similarityNumbers(section),
  };
}

/** Every value of the section. */
export function similarityNumbers({ items, measures, values }: SimilaritySection): Table {
  return {
    columns: [
      "measure",
      "a",
      "b",
      "value",
      "larger_is",
      "shuffled_mean",
      "shuffled_low",
      "shuffled_high",
      "n_shuffles",
    ],
    rows: values.map(({ measure, a, b, value, floor }): Cell[] => [
      measure,
      items[a]!.title,
      items[b]!.title,
      value,
      measures.find(({ name }) => name === measure)!.larger,
      floor?.mean ?? null,
      floor?.low ?? null,
      floor?.high ?? null,
      floor?.nDraws ?? null,
    ]),
  };
}
