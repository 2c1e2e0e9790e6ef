import type { AlignmentSection } from "@penfield/report";
import { line as d3line, scaleLinear } from "d3";
import { fixed, short, whole, withInterval } from "../format.ts";
import { html } from "../html.ts";
import {
  axisBelow,
  box,
  dot,
  drawCells,
  type Exhibit,
  label,
  numbersOf,
  px,
  rule,
  span,
  WIDTH,
} from "./exhibit.ts";

/** How readers know the sets. */
export const SET_NAMES: Readonly<Record<AlignmentSection["rows"][number]["set"], string>> = {
  localized: "localized units",
  random: "random units",
  all: "all units",
  floor: "floor",
};

/** Scores of the sets between the floor and the ceiling. */
export function scoresFigure(section: AlignmentSection): Exhibit {
  const { rows, ceiling, metric, recording } = section;
  const floor = rows.find(({ set }) => set === "floor")?.score.value ?? null;
  const left = 114;
  const right = WIDTH - 14;
  const top = 24;
  const step = 38;
  const bottom = top + rows.length * step;
  const values = rows.flatMap(({ score, draws }) => [...numbersOf(score), ...draws]);
  const x = scaleLinear(span([0, 0.01, ...values, ...numbersOf(ceiling)]), [left, right]).nice(5);
  const marks = rows.map(({ set, nUnits, score, draws }, i) => {
    const y = top + (i + 0.5) * step;
    const kind = set === "localized" ? "localized" : set === "random" ? "random" : "intact";
    return html`<g><title>${SET_NAMES[set]}: ${withInterval(score)}</title>${label(left - 10, y, SET_NAMES[set], { anchor: "end", kind: `label ${kind}-text` })}${
      nUnits > 0 &&
      label(left - 10, y + 12, `n = ${whole(nUnits)}`, { anchor: "end", kind: "tick faint" })
    }${draws.map(
      (draw, j) => draw !== null && dot(x(draw), y + 8 + ((j * 7) % 5) - 2, 2, "draw"),
    )}${score.interval && rule(x(score.interval[0]), y, x(score.interval[1]), y, `whisker ${kind}`)}${
      score.value !== null && dot(x(score.value), y, 4, `point ${kind}`)
    }${score.value !== null && label(x(score.value), y - 8, fixed(score.value), { anchor: "middle", kind: "tick" })}</g>`;
  });
  const limit = ceiling?.value ?? null;
  return {
    id: `${section.id}-scores`,
    title: `How well each set of units predicts ${recording.name}`,
    description: `${metric}: ${rows.map(({ set, score }) => `${SET_NAMES[set]} ${withInterval(score)}`).join("; ")}${ceiling ? `; ceiling ${withInterval(ceiling)}` : ""}.`,
    caption: `${metric}, ${section.folds.n} ${section.folds.kind} folds. Small dots: single random sets.${ceiling ? " Grey at the right: the noise ceiling with its interval." : ""}`,
    drawing: {
      width: WIDTH,
      height: bottom + 36,
      content: html`${x.ticks(5).map((tick) => rule(x(tick), top, x(tick), bottom, tick === 0 ? "zero" : "grid"))}${
        ceiling?.interval &&
        box(
          x(ceiling.interval[0]),
          top,
          x(ceiling.interval[1]) - x(ceiling.interval[0]),
          bottom - top,
          "band",
        )
      }${limit !== null && [rule(x(limit), top, x(limit), bottom, "reference"), label(Math.min(x(limit), right - 30), top - 8, `ceiling ${fixed(limit)}`, { anchor: "middle" })]}${
        floor !== null && rule(x(floor), top, x(floor), bottom, "chance")
      }${marks}${axisBelow(x, {
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
        "set",
        "n_units",
        "score",
        "low",
        "high",
        "normalized",
        "draws_min",
        "draws_max",
        "n_draws",
      ],
      rows: rows.map(({ set, nUnits, score, normalized, draws }) => {
        return [
          set,
          nUnits,
          score.value,
          score.interval?.[0] ?? null,
          score.interval?.[1] ?? null,
          normalized,
          ...drawCells(draws),
        ];
      }),
    },
  };
}

/** The score of each layer, where the section has them. */
export function layerScoresFigure(section: AlignmentSection): Exhibit | null {
  const { layers = [], metric, ceiling } = section;
  if (layers.length === 0) return null;
  const [left, right, top, bottom] = [44, WIDTH - 14, 14, 176];
  const x = scaleLinear(span(layers.map(({ layer }) => layer)), [left + 8, right - 4]);
  const values = layers.flatMap(({ score }) => numbersOf(score));
  const y = scaleLinear(span([0, 0.01, ...values, ...numbersOf(ceiling)]), [bottom, top]).nice(5);
  const known = layers.filter(({ score }) => score.value !== null);
  const path = d3line<(typeof known)[0]>(
    ({ layer }) => Number(px(x(layer))),
    ({ score }) => Number(px(y(score.value!))),
  )(known);
  const best = known.reduce<(typeof known)[0] | undefined>(
    (top, one) => (top && top.score.value! >= one.score.value! ? top : one),
    undefined,
  );
  return {
    id: `${section.id}-layers`,
    title: "Score of each layer",
    description: best
      ? `The best layer is ${best.layer} with ${withInterval(best.score)}.`
      : "No layer has a score.",
    caption: `${metric} of all units of a layer, with intervals.`,
    drawing: {
      width: WIDTH,
      height: bottom + 36,
      content: html`${y
        .ticks(5)
        .map((tick) => [
          rule(left, y(tick), right, y(tick), tick === 0 ? "zero" : "grid"),
          label(left - 5, y(tick) + 4, short(tick), { anchor: "end", kind: "tick" }),
        ])}${ceiling?.value != null && [rule(left, y(ceiling.value), right, y(ceiling.value), "reference"), label(right, y(ceiling.value) - 5, "ceiling", { anchor: "end" })]}<path class="line intact" d="${path ?? ""}"/>${known.map(
        ({ layer, score }) => [
          score.interval &&
            rule(x(layer), y(score.interval[0]), x(layer), y(score.interval[1]), "whisker intact"),
          dot(
            x(layer),
            y(score.value!),
            2.6,
            "point intact",
            `layer ${layer}: ${withInterval(score)}`,
          ),
        ],
      )}${axisBelow(x, {
        ticks: x.ticks(Math.min(8, layers.length)).filter(Number.isInteger),
        y: bottom,
        from: left,
        to: right,
        title: "layer",
        write: String,
      })}`,
    },
    numbers: {
      columns: ["layer", "score", "low", "high"],
      rows: layers.map(({ layer, score }) => [
        layer,
        score.value,
        score.interval?.[0] ?? null,
        score.interval?.[1] ?? null,
      ]),
    },
  };
}
