import type { ModelComparisonSection } from "@penfield/report";
import { scaleLinear } from "d3";
import { fixed, interval, short, signed, withInterval } from "../format.ts";
import { html } from "../html.ts";
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
  wrap,
} from "./exhibit.ts";

const isBelow = (q: number | null, fdr: number): boolean => q !== null && q < fdr;

/** Whether a model cannot be told apart from the lower noise ceiling. */
const atCeiling = ({ ceiling }: ModelComparisonSection["models"][0], fdr: number): boolean =>
  ceiling.q !== null && ceiling.q >= fdr;

/** Each model's score with its interval, between zero and the noise ceiling. */
export function modelsFigure(section: ModelComparisonSection): Exhibit {
  const { models, ceiling, comparison, fdr } = section;
  const left = 112;
  const right = WIDTH - 66;
  const top = 26;
  const step = 34;
  const bottom = top + models.length * step;
  const bounds = [ceiling?.lower ?? null, ceiling?.upper ?? null];
  const values = models.flatMap(({ score, draws }) => [...numbersOf(score), ...draws]);
  const x = scaleLinear(span([0, 0.05, ...values, ...bounds]), [left, right]).nice(4);
  const marks = models.map(({ title, score, zero, draws, ...model }, i) => {
    const y = top + (i + 0.5) * step;
    const above = isBelow(zero.q, fdr) && (score.value ?? 0) > 0;
    const lines = wrap(title, 15).slice(0, 2);
    const told = `${title}: ${withInterval(score)}${above ? ", above zero" : ""}`;
    const { value } = score;
    return html`<g><title>${told}</title>${lines.map((text, line) =>
      label(left - 8, y + 4 + (line - (lines.length - 1) / 2) * 12, text, { anchor: "end" }),
    )}${
      value !== null &&
      box(
        Math.min(x(0), x(value)),
        y - 8,
        Math.abs(x(value) - x(0)),
        16,
        above ? "bar" : "bar open",
      )
    }${draws
      .slice(0, 100)
      .map(
        (draw, j) => draw !== null && dot(x(draw), y + ((j * 7) % 9) - 4, 1.8, "draw"),
      )}${score.interval && rule(x(score.interval[0]), y, x(score.interval[1]), y, "whisker intact")}${
      value !== null && label(WIDTH - 2, y + 4, fixed(value, 2), { anchor: "end", kind: "tick" })
    }${above && label(right + 10, y + 8, "∗", { anchor: "middle", kind: "cell" })}${
      atCeiling({ title, score, zero, draws, ...model }, fdr) &&
      label(right + 21, y + 4, "◆", { anchor: "middle", kind: "tick" })
    }</g>`;
  });
  const [lower, upper] = bounds as [number | null, number | null];
  return {
    id: `${section.id}-models`,
    title: `How well each model predicts the data RDMs (${comparison.title})`,
    description: `${models.map(({ title, score }) => `${title} ${withInterval(score)}`).join("; ")}${lower !== null && upper !== null ? `; noise ceiling ${fixed(lower)} to ${fixed(upper)}` : ""}.`,
    caption: `Bars: mean score; lines: intervals; dots: single RDMs. ∗ and a filled bar: above zero (false discovery rate ${short(fdr)}). ◆: cannot be told apart from the lower noise ceiling.${lower === null ? "" : " Grey band: the noise ceiling."}`,
    drawing: {
      width: WIDTH,
      height: bottom + 36,
      content: html`${
        lower !== null &&
        upper !== null && [
          box(x(lower), top - 6, Math.max(1.5, x(upper) - x(lower)), bottom - top + 6, "band"),
          label(Math.min(Math.max(x(upper), left + 80), right + 14), top - 12, "noise ceiling", {
            anchor: "end",
          }),
        ]
      }${x.ticks(4).map((tick) => rule(x(tick), top, x(tick), bottom, tick === 0 ? "zero" : "grid"))}${marks}${axisBelow(
        x,
        {
          ticks: x.ticks(4),
          y: bottom,
          from: left,
          to: right,
          title: comparison.title,
          write: short,
        },
      )}`,
    },
    numbers: {
      columns: [
        "model",
        "score",
        "low",
        "high",
        "p_zero",
        "q_zero",
        "p_ceiling",
        "q_ceiling",
        "ceiling_lower",
        "ceiling_upper",
      ],
      rows: models.map(({ title, score, zero, ceiling: at }) => [
        title,
        score.value,
        score.interval?.[0] ?? null,
        score.interval?.[1] ?? null,
        zero.p,
        zero.q,
        at.p,
        at.q,
        lower,
        upper,
      ]),
    },
  };
}

/** Which models differ: row minus column. */
export function differencesFigure(section: ModelComparisonSection): Exhibit | null {
  const { models, pairs, fdr } = section;
  if (models.length < 2 || models.length > 20) return null;
  const left = 112;
  const size = Math.min(46, (WIDTH - left - 8) / models.length);
  const top = 24;
  const largest = Math.max(1e-12, ...pairs.map(({ difference }) => Math.abs(difference ?? 0)));
  const find = (a: number, b: number) => {
    const pair = pairs.find((one) => one.a === a && one.b === b);
    if (pair) return pair;
    const other = pairs.find((one) => one.a === b && one.b === a);
    return other && { ...other, difference: other.difference === null ? null : -other.difference };
  };
  const cells = models.flatMap((row, a) =>
    models.map((column, b) => {
      const [x, y] = [left + b * size, top + a * size];
      const pair = a === b ? undefined : find(a, b);
      if (!pair || pair.difference === null) return box(x, y, size - 2, size - 2, "none");
      const differs = isBelow(pair.q, fdr);
      const share = Math.max(-1, Math.min(1, pair.difference / largest));
      const strength = differs ? Math.max(1, Math.round(Math.abs(share) * 3)) : 0;
      const shade = 3 + Math.sign(pair.difference) * strength;
      const told = `${row.title} minus ${column.title}: ${signed(pair.difference)}${differs ? "" : ", not told apart"}`;
      return [
        box(x, y, size - 2, size - 2, `shade-${shade}`, told),
        size >= 26 &&
          label(x + size / 2 - 1, y + size / 2 + 3, differs ? signed(pair.difference, 2) : "≈", {
            anchor: "middle",
            kind: `tick on-${shade}`,
          }),
      ];
    }),
  );
  const cut = (text: string): string => (text.length > 17 ? `${text.slice(0, 16)}…` : text);
  return {
    id: `${section.id}-differences`,
    title: "Which models can be told apart",
    description: pairs
      .map(
        ({ a, b, difference, q }) =>
          `${models[a]!.title} minus ${models[b]!.title} ${signed(difference)}, q ${fixed(q)}`,
      )
      .join("; "),
    caption: `Row minus column. Orange: the row scores higher; blue: lower; ≈: cannot be told apart at a false discovery rate of ${short(fdr)}.`,
    drawing: {
      width: WIDTH,
      height: top + models.length * size + 6,
      content: html`${models.map(({ title }, i) => [
        label(left - 8, top + (i + 0.5) * size + 3, `${cut(title)} ${i + 1}`, {
          anchor: "end",
          kind: "tick",
        }),
        label(left + (i + 0.5) * size - 1, top - 7, i + 1, { anchor: "middle", kind: "tick" }),
      ])}${cells}`,
    },
    numbers: {
      columns: ["model_a", "model_b", "difference", "p", "q"],
      rows: pairs.map(({ a, b, difference, p, q }) => [
        models[a]!.title,
        models[b]!.title,
        difference,
        p,
        q,
      ]),
    },
  };
}

/** "0.41 [0.35, 0.47]" for lists. */
export const scoreText = ({ score }: ModelComparisonSection["models"][0]): string =>
  `${fixed(score.value, 2)} ${interval(score, (v) => fixed(v, 2))}`.trim();
