import type { ScoreMapSection, Statistic } from "@penfield/report";
import { line as d3line, scaleLinear } from "d3";
import { fixed, short } from "../format.ts";
import { html } from "../html.ts";
import { axisBelow, dot, type Exhibit, label, px, rule, span, WIDTH } from "./exhibit.ts";
import type { FieldMaps } from "./scoreMap.ts";

const LEFT = 44;
const RIGHT = WIDTH - 60;
const TOP = 14;
const BOTTOM = 190;

/** One column of a score map (a region): every feature set in order, beside floors, ceiling and single subjects. */
export function regionFigure(
  section: ScoreMapSection,
  { fields }: FieldMaps,
  column: number,
): Exhibit {
  const { rows, columns, ceiling, floors, metric } = section;
  const n = columns.labels.length;
  const at = (values: ArrayLike<number> | undefined, i: number): Statistic => {
    const value = values?.[i];
    return value !== undefined && Number.isFinite(value) ? value : null;
  };
  const scores = rows.labels.map((_, i) => at(fields["array"], i * n + column));
  const shares = rows.labels.map((_, i) => at(fields["normalized"], i * n + column));
  const ps = rows.labels.map((_, i) => at(fields["p"], i * n + column));
  const subjects = (section.subjects?.labels ?? []).map((title, s) => ({
    title,
    scores: rows.labels.map((_, i) =>
      at(fields["subjects"], s * rows.labels.length * n + i * n + column),
    ),
  }));
  const limit = ceiling?.[column] ?? null;
  const low = floors.map(({ title, values }) => ({ title, value: values[column] ?? null }));
  const x = scaleLinear([0, Math.max(1, rows.labels.length - 1)], [LEFT + 8, RIGHT - 8]);
  const y = scaleLinear(
    span([
      0,
      limit,
      ...scores,
      ...low.map(({ value }) => value),
      ...subjects.flatMap((one) => one.scores),
    ]),
    [BOTTOM, TOP],
  ).nice(5);
  const path = d3line<Statistic>(
    (_, i) => Number(px(x(i))),
    (score) => Number(px(y(score!))),
  ).defined((score) => score !== null)([...scores]);
  const every = [1, 2, 5, 10, 20, 50].find((step) => rows.labels.length / step <= 12) ?? 100;
  const name = columns.labels[column]!;
  return {
    id: `${section.id}-region`,
    title: `${name}: ${metric} of each ${rows.title}`,
    description: `${name}: ${rows.labels.map((text, i) => `${text} ${fixed(scores[i]!)}`).join(", ")}${limit === null ? "" : `; ceiling ${fixed(limit)}`}.`,
    caption: `Line: ${subjects.length > 1 ? "over all subjects; small dots: single subjects" : "the scores"}.${limit === null ? " No ceiling could be estimated." : " Dashed: the ceiling."}${low.length > 0 ? ` Dotted: floors (${low.map(({ title }) => title).join(", ")}).` : " No floor was measured."}`,
    drawing: {
      width: WIDTH,
      height: BOTTOM + 36,
      content: html`${y
        .ticks(5)
        .map((tick) => [
          rule(LEFT, y(tick), RIGHT, y(tick), tick === 0 ? "zero" : "grid"),
          label(LEFT - 5, y(tick) + 4, short(tick), { anchor: "end", kind: "tick" }),
        ])}${low.map(({ value }) => value !== null && rule(LEFT, y(value), RIGHT, y(value), "chance"))}${
        limit !== null && [
          rule(LEFT, y(limit), RIGHT, y(limit), "reference"),
          label(RIGHT + 4, y(limit) + 4, "ceiling"),
        ]
      }${subjects.map(({ title, scores: own }) =>
        own.map(
          (score, i) =>
            score !== null &&
            dot(
              x(i),
              y(score),
              1.8,
              "point random",
              `${title}, ${rows.labels[i]}: ${fixed(score)}`,
            ),
        ),
      )}<path class="line localized" d="${path ?? ""}"/>${scores.map(
        (score, i) =>
          score !== null &&
          dot(x(i), y(score), 3, "point localized", `${rows.labels[i]}: ${fixed(score)}`),
      )}${axisBelow(x, {
        ticks: rows.labels.map((_, i) => i).filter((i) => i % every === 0),
        ...{ y: BOTTOM, from: LEFT, to: RIGHT, title: rows.title },
        write: (i) => (rows.labels[i]!.length > 8 ? String(i + 1) : rows.labels[i]!),
      })}`,
    },
    numbers: {
      columns: [
        rows.title || "row",
        "score",
        "share_of_ceiling",
        "p",
        "ceiling",
        ...low.map(({ title }, i) => `floor ${i + 1}: ${title}`),
        ...subjects.map(({ title }, i) => `subject ${i + 1}: ${title}`),
      ],
      rows: rows.labels.map((text, i) => [
        text,
        scores[i]!,
        shares[i]!,
        ps[i]!,
        limit,
        ...low.map(({ value }) => value),
        ...subjects.map(({ scores: own }) => own[i]!),
      ]),
    },
    nShown: 100,
  };
}
