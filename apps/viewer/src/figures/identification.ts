import type { IdentificationSection } from "@penfield/report";
import { line as d3line, scaleLinear } from "d3";
import { fixed, short, withInterval } from "../format.ts";
import { html } from "../html.ts";
import { axisBelow, dot, type Exhibit, label, px, rule, span, WIDTH } from "./exhibit.ts";
import { heatDrawing } from "./heat.ts";

/** Rates of all methods, who was taken for whom, and rates at other amounts of data. */
export function identificationFigures(section: IdentificationSection): readonly Exhibit[] {
  return [
    ratesFigure(section),
    ...section.methods.map((method) => confusionFigure(section, method)),
    ...(["stimuli", "targets"] as const).flatMap((over) => {
      const drawn = curveFigure(section, over);
      return drawn ? [drawn] : [];
    }),
  ];
}

function ratesFigure({ id, methods, candidates, nBrains }: IdentificationSection): Exhibit {
  const guessing = 1 / candidates.length;
  const [left, right, top, line] = [130, WIDTH - 14, 20, 22];
  const bottom = top + methods.length * line;
  const x = scaleLinear([0, 1], [left, right]);
  return {
    id: `${id}-rates`,
    title: "How often the right candidate is named",
    description: methods.map(({ title, rate }) => `${title}: ${withInterval(rate)}.`).join(" "),
    caption: `Share of ${nBrains} simulated brains that were taken for the candidate they were made from, with intervals. Dashed: guessing.`,
    drawing: {
      width: WIDTH,
      height: bottom + 36,
      content: html`${rule(x(guessing), top, x(guessing), bottom, "chance")}${label(x(guessing), top - 6, "guessing", { anchor: "middle" })}${methods.map(
        ({ title, rate }, i) => {
          const y = top + (i + 0.5) * line;
          return html`${label(left - 6, y + 4, title.length > 21 ? `${title.slice(0, 20)}…` : title, { anchor: "end" })}${rate.interval && rule(x(rate.interval[0]), y, x(rate.interval[1]), y, "whisker localized")}${
            rate.value !== null &&
            dot(x(rate.value), y, 3.4, "point localized", `${title}: ${withInterval(rate)}`)
          }`;
        },
      )}${axisBelow(x, { ticks: x.ticks(5), y: bottom, from: left, to: right, title: "identification rate", write: short })}`,
    },
    numbers: {
      columns: ["method", "rate", "low", "high", "guessing"],
      rows: methods.map(({ name, rate }) => [
        name,
        rate.value,
        rate.interval?.[0] ?? null,
        rate.interval?.[1] ?? null,
        guessing,
      ]),
    },
  };
}

function confusionFigure(
  { id, candidates }: IdentificationSection,
  { name, title, confusion, rate }: IdentificationSection["methods"][number],
): Exhibit {
  const totals = confusion.map((row) => row.reduce((a, b) => a + b, 0));
  const shares = confusion.flatMap((row, i) =>
    row.map((n) => (totals[i] === 0 ? Number.NaN : n / totals[i]!)),
  );
  const { drawing } = heatDrawing({
    values: shares,
    rows: candidates,
    columns: candidates,
    rowTitle: "brain",
    columnTitle: "named, in the same order",
    keyTitle: "share of brains",
    ends: [0, 1],
  });
  const worst = confusion
    .flatMap((row, i) => row.map((n, j) => ({ n, i, j })))
    .filter(({ i, j }) => i !== j)
    .reduce((a, b) => (b.n > a.n ? b : a), { n: 0, i: 0, j: 0 });
  return {
    id: `${id}-confusion-${name}`,
    title: `${title}: who is taken for whom`,
    description: `Named right: ${withInterval(rate)}.${worst.n > 0 ? ` Most often mistaken: ${candidates[worst.i]} for ${candidates[worst.j]}, ${worst.n} times.` : " Never mistaken."}`,
    caption: "Each row: one candidate as the brain; columns: the candidate that scored highest.",
    drawing,
    numbers: {
      columns: ["brain", ...candidates.map((text, i) => `${i}: ${text}`)],
      rows: candidates.map((text, i) => [text, ...confusion[i]!]),
    },
  };
}

const KINDS = ["localized", "intact", "random", "least"];

function curveFigure(section: IdentificationSection, over: "stimuli" | "targets"): Exhibit | null {
  const curves = section.curves.filter((curve) => curve.over === over);
  if (curves.length === 0) return null;
  const [left, right, top, bottom] = [44, WIDTH - 14, 14, 176];
  const ns = curves.flatMap(({ points }) => points.map(({ n }) => n));
  const x = scaleLinear(span(ns), [left + 8, right - 8]);
  const y = scaleLinear([0, 1], [bottom, top]);
  const guessing = 1 / section.candidates.length;
  const titleOf = (name: string) => section.methods.find((m) => m.name === name)!.title;
  return {
    id: `${section.id}-${over}`,
    title: `Identification against the number of ${over}`,
    description: curves
      .map(
        ({ method, points }) =>
          `${titleOf(method)}: ${points.map(({ n, rate }) => `${n} ${over} ${fixed(rate.value)}`).join(", ")}.`,
      )
      .join(" "),
    caption: "Share of simulated brains named right. Dashed: guessing.",
    drawing: {
      width: WIDTH,
      height: bottom + 36,
      content: html`${y
        .ticks(5)
        .map((tick) => [
          rule(left, y(tick), right, y(tick), tick === 0 ? "zero" : "grid"),
          label(left - 5, y(tick) + 4, short(tick), { anchor: "end", kind: "tick" }),
        ])}${rule(left, y(guessing), right, y(guessing), "chance")}${curves.map(
        ({ method, points }, i) => {
          const kind = KINDS[i % KINDS.length]!;
          const known = points.filter(({ rate }) => rate.value !== null);
          const path = d3line<(typeof known)[0]>(
            ({ n }) => Number(px(x(n))),
            ({ rate }) => Number(px(y(rate.value!))),
          )(known);
          const last = known.at(-1);
          return html`<path class="line ${kind}" d="${path ?? ""}"/>${known.map(({ n, rate }) => [
            rate.interval &&
              rule(x(n), y(rate.interval[0]), x(n), y(rate.interval[1]), `whisker ${kind}`),
            dot(
              x(n),
              y(rate.value!),
              2.6,
              `point ${kind}`,
              `${titleOf(method)}, ${n}: ${withInterval(rate)}`,
            ),
          ])}${last && label(right - 4, y(last.rate.value!) - 6, titleOf(method), { anchor: "end" })}`;
        },
      )}${axisBelow(x, { ticks: [...new Set(ns)].sort((a, b) => a - b).slice(0, 8), y: bottom, from: left, to: right, title: `number of ${over}`, write: String })}`,
    },
    numbers: {
      columns: ["method", over, "rate", "low", "high"],
      rows: curves.flatMap(({ method, points }) =>
        points.map(({ n, rate }) => [
          method,
          n,
          rate.value,
          rate.interval?.[0] ?? null,
          rate.interval?.[1] ?? null,
        ]),
      ),
    },
  };
}
