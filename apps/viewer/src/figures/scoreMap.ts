import type { Cell, ScoreMapSection } from "@penfield/report";
import { scaleLinear } from "d3";
import { fixed, short } from "../format.ts";
import { html } from "../html.ts";
import { axisBelow, dot, type Exhibit, label, rule, span, WIDTH } from "./exhibit.ts";
import { endsOf, heatDrawing, isCounted } from "./heat.ts";

/** The arrays of a section, by the field that names them. */
export interface FieldMaps {
  readonly fields: Readonly<Record<string, ArrayLike<number>>>;
}

const cell = (value: number | undefined): Cell =>
  value !== undefined && Number.isFinite(value) ? value : null;

/** Feature sets by regions as colours, raw and divided by the ceiling; the best of each region; subjects. */
export function scoreMapFigures(
  section: ScoreMapSection,
  { fields }: FieldMaps,
): readonly Exhibit[] {
  const values = fields["array"]!;
  const { normalized, subjects } = fields;
  const best = bestOf(section, values);
  return [
    heat(section, "scores", section.metric, values, "Not divided by the ceiling."),
    ...(normalized
      ? [
          heat(
            section,
            "normalized",
            `${section.metric}, share of the ceiling`,
            normalized,
            "1 is what a noiseless model could reach; noise in the ceiling can push a share above it.",
          ),
        ]
      : []),
    columnsFigure(section, values, best),
    ...(subjects ? [subjectsFigure(section, subjects, best)] : []),
  ];
}

/** The row with the highest score in each column; -1 where none has one. */
export function bestOf(
  { rows, columns }: ScoreMapSection,
  values: ArrayLike<number>,
): readonly number[] {
  const n = columns.labels.length;
  return columns.labels.map((_, j) => {
    let best = -1;
    for (let i = 0; i < rows.labels.length; i++) {
      const value = values[i * n + j]!;
      if (Number.isFinite(value) && (best < 0 || value > values[best * n + j]!)) best = i;
    }
    return best;
  });
}

function heat(
  section: ScoreMapSection,
  kind: string,
  title: string,
  values: ArrayLike<number>,
  remark: string,
): Exhibit {
  const { rows, columns } = section;
  const n = columns.labels.length;
  const { drawing, block } = heatDrawing({
    values,
    rows: rows.labels,
    columns: columns.labels,
    rowTitle: rows.title,
    columnTitle: columns.title,
    keyTitle: title,
    upwards: isCounted(rows.labels),
    columnNames: true,
  });
  const [low, high] = endsOf(values);
  return {
    id: `${section.id}-${kind}`,
    title: `${title}: ${rows.title} by ${columns.title}`,
    description: `${rows.labels.length} rows (${rows.title}) and ${n} columns (${columns.title}); values from ${fixed(low)} to ${fixed(high)}.`,
    caption: `${remark}${isCounted(columns.labels) || n <= 30 ? "" : ` Columns: ${columns.title} in the order of the table.`}${block > 1 ? ` Cells are means of ${block} × ${block} values.` : ""}`,
    drawing,
    numbers: {
      columns: [rows.title || "row", ...distinct(columns.labels, rows.title || "row")],
      rows: rows.labels.map((text, i) => [
        text,
        ...columns.labels.map((_, j) => cell(values[i * n + j])),
      ]),
    },
    nShown: 48,
  };
}

function distinct(labels: readonly string[], taken: string): readonly string[] {
  const seen = new Set([taken]);
  return labels.map((text, i) => {
    const name = seen.has(text) || text === "" ? `${text || "column"} (${i})` : text;
    seen.add(name);
    return name;
  });
}

/** So many columns have room for a line of their own. */
const MOST_COLUMNS = 40;

/** Of each region the best feature set, the floors and the ceiling, on one line. */
function columnsFigure(
  section: ScoreMapSection,
  values: ArrayLike<number>,
  best: readonly number[],
): Exhibit {
  const { rows, columns, ceiling, floors, metric } = section;
  const n = columns.labels.length;
  const top = best.map((row, j) => (row < 0 ? null : cell(values[row * n + j])) as number | null);
  const shown = columns.labels.slice(0, MOST_COLUMNS);
  const [left, right, above, line] = [104, WIDTH - 14, 22, 19];
  const bottom = above + shown.length * line;
  const x = scaleLinear(
    span([0, ...top, ...(ceiling ?? []), ...floors.flatMap((floor) => floor.values)]),
    [left, right],
  ).nice(5);
  const marks = shown.map((name, j) => {
    const y = above + (j + 0.5) * line;
    const limit = ceiling?.[j] ?? null;
    return html`${label(left - 6, y + 4, name.length > 15 ? `${name.slice(0, 14)}…` : name, { anchor: "end" })}${rule(left, y, right, y, "grid")}${floors.map(
      ({ title, values: own }) =>
        own[j] !== null &&
        own[j] !== undefined &&
        dot(x(own[j]), y, 2.4, "point random", `${title}: ${fixed(own[j])}`),
    )}${limit !== null && rule(x(limit), y - 7, x(limit), y + 7, "reference")}${
      top[j] !== null &&
      dot(
        x(top[j]!),
        y,
        3.4,
        "point localized",
        `${name}: ${rows.title} ${rows.labels[best[j]!]}, ${fixed(top[j]!)}`,
      )
    }`;
  });
  return {
    id: `${section.id}-best`,
    title: n === 1 ? `The best ${rows.title}` : `The best ${rows.title} of each ${columns.title}`,
    description: shown
      .map((name, j) =>
        top[j] === null
          ? `${name}: none.`
          : `${name}: ${rows.labels[best[j]!]}, ${fixed(top[j]!)}.`,
      )
      .join(" "),
    caption: `Large dots: the best feature set, chosen on the same data, so slightly too high. Grey dots: floors (${floors.map(({ title }) => title).join(", ") || "none measured"}).${ceiling ? " Dashes: the ceiling." : ""}${n > MOST_COLUMNS ? ` The first ${MOST_COLUMNS} of ${n}.` : ""}`,
    drawing: {
      width: WIDTH,
      height: bottom + 36,
      content: html`${rule(x(0), above, x(0), bottom, "zero")}${marks}${axisBelow(x, {
        ticks: x.ticks(5),
        y: bottom,
        from: left,
        to: right,
        title: metric,
        write: short,
      })}`,
    },
    numbers: {
      columns: [
        "column",
        "best",
        "score",
        "ceiling",
        ...distinct(
          floors.map((f) => f.title),
          "column",
        ),
      ],
      rows: columns.labels.map((name, j) => [
        name,
        best[j]! < 0 ? null : rows.labels[best[j]!]!,
        top[j]!,
        ceiling?.[j] ?? null,
        ...floors.map((floor) => floor.values[j] ?? null),
      ]),
    },
  };
}

/** The best feature set's score of each subject, as dots. */
function subjectsFigure(
  section: ScoreMapSection,
  scores: ArrayLike<number>,
  best: readonly number[],
): Exhibit {
  const { rows, columns, metric } = section;
  const names = section.subjects!.labels;
  const n = columns.labels.length;
  const size = rows.labels.length * n;
  const shown = columns.labels.slice(0, MOST_COLUMNS);
  const at = (s: number, j: number): number | null =>
    best[j]! < 0 ? null : (cell(scores[s * size + best[j]! * n + j]) as number | null);
  const [left, right, above, line] = [104, WIDTH - 14, 14, 19];
  const bottom = above + shown.length * line;
  const all = names.flatMap((_, s) => columns.labels.map((__, j) => at(s, j)));
  const x = scaleLinear(span([0, ...all]), [left, right]).nice(5);
  return {
    id: `${section.id}-subjects`,
    title: "Every subject",
    description: `${names.length} subjects, scores from ${fixed(span(all)[0])} to ${fixed(span(all)[1])}.`,
    caption: `One dot for each subject, of the feature set that is best over all. ${metric}.`,
    drawing: {
      width: WIDTH,
      height: bottom + 36,
      content: html`${rule(x(0), above, x(0), bottom, "zero")}${shown.map((name, j) => {
        const y = above + (j + 0.5) * line;
        return html`${label(left - 6, y + 4, name.length > 15 ? `${name.slice(0, 14)}…` : name, { anchor: "end" })}${rule(left, y, right, y, "grid")}${names.map(
          (subject, s) => {
            const value = at(s, j);
            return (
              value !== null &&
              dot(x(value), y, 3, "point intact", `${subject}, ${name}: ${fixed(value)}`)
            );
          },
        )}`;
      })}${axisBelow(x, { ticks: x.ticks(5), y: bottom, from: left, to: right, title: metric, write: short })}`,
    },
    numbers: {
      columns: ["subject", "column", "feature_set", "score"],
      rows: names.flatMap((subject, s) =>
        columns.labels.map((name, j) => [
          subject,
          name,
          best[j]! < 0 ? null : rows.labels[best[j]!]!,
          at(s, j),
        ]),
      ),
    },
  };
}
