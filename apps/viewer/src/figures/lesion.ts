import type { DoseCurve, LesionSection, LesionSet, LesionTask } from "@penfield/report";
import { line as d3line, scaleLinear, scaleLog } from "d3";
import { fixed, short, whole } from "../format.ts";
import { type Html, html } from "../html.ts";
import {
  box,
  dot,
  drawCells,
  type Exhibit,
  label,
  numbersOf,
  px,
  rule,
  span,
  spread,
  WIDTH,
} from "./exhibit.ts";

const LEFT = 40;
const RIGHT = WIDTH - 102;
const TOP = 12;
const BOTTOM = 190;

/** What readers see for each set of units, most important last so that it is drawn on top. */
const SETS: readonly { readonly set: LesionSet; readonly kind: string; readonly name: string }[] = [
  { set: "random", kind: "random", name: "random" },
  { set: "least-selective", kind: "least", name: "least selective" },
  { set: "layer-matched", kind: "matched", name: "layer-matched" },
  { set: "localized", kind: "localized", name: "localized" },
];

/** One figure for each task that has curves: what silencing more and more units does. */
export function doseFigures(section: LesionSection): readonly Exhibit[] {
  return section.tasks.flatMap((task) => {
    const curves = section.curves.filter((curve) => curve.task === task.id);
    return curves.length === 0 ? [] : [doseFigure(section, task, curves)];
  });
}

function doseFigure(
  section: LesionSection,
  task: LesionTask,
  curves: readonly DoseCurve[],
): Exhibit {
  const x = doseScale(section.doses);
  const y = valueScale(task, curves);
  const order = SETS.flatMap((look) => {
    const curve = curves.find(({ set }) => set === look.set);
    return curve ? [{ ...look, curve }] : [];
  });
  const main = curves.find(({ set }) => set === "localized");
  const at = main?.points.find(({ dose }) => dose === section.mainDose);
  return {
    id: `${section.id}-dose-${task.id}`,
    title: task.title,
    description: `What happens as more units are silenced: ${task.metric} is ${fixed(task.baseline.value)} with nothing silenced${
      at
        ? ` and ${fixed(at.value.value)} with the ${short(section.mainDose)} percent most selective units silenced`
        : ""
    }.`,
    caption: `${whole(task.nItems)} items; ${task.higherIsBetter ? "higher" : "lower"} is better.${
      y.domain()[0]! > 0 ? " The vertical axis does not start at 0." : ""
    }`,
    drawing: {
      width: WIDTH,
      height: BOTTOM + 36,
      content: html`${valueAxis(y, task)}${doseAxis(x, section.doses)}${band(
        order.find(({ set }) => set === "random")?.curve,
        x,
        y,
      )}${references(y, task)}${order.map(({ kind, curve, set }) => lines(curve, kind, set === "localized", x, y))}${baselineMark(
        task,
        y,
      )}${endLabels(order, task, y)}`,
    },
    numbers: {
      columns: [
        "set",
        "dose_percent",
        "n_units",
        "value",
        "low",
        "high",
        "draws_min",
        "draws_max",
        "n_draws",
      ],
      rows: [
        [
          "baseline",
          0,
          0,
          task.baseline.value,
          task.baseline.interval?.[0] ?? null,
          task.baseline.interval?.[1] ?? null,
          null,
          null,
          0,
        ],
        ...[...order].reverse().flatMap(({ curve, set }) =>
          curve.points.map(({ dose, nUnits, value, draws }) => {
            const [low = null, high = null] = value.interval ?? [];
            return [set, dose, nUnits, value.value, low, high, ...drawCells(draws)];
          }),
        ),
      ],
    },
  };
}

type Scale = (value: number) => number;

const ZERO = LEFT + 12;

/** Doses by their logarithm when they span more than a factor of 8; dose 0 stands apart at the left. */
function doseScale(doses: readonly number[]): Scale {
  const first = doses[0]!;
  const last = doses.at(-1)!;
  if (first === last) return () => (ZERO + RIGHT) / 2;
  return last / first > 8
    ? scaleLog([first, last], [ZERO + 34, RIGHT - 8])
    : scaleLinear([0, last], [ZERO, RIGHT - 8]);
}

function valueScale(task: LesionTask, curves: readonly DoseCurve[]) {
  const values = curves.flatMap(({ points }) =>
    points.flatMap(({ value, draws }) => [...numbersOf(value), ...draws]),
  );
  const [low, high] = span([...values, ...numbersOf(task.baseline), task.chance]);
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  const inside = (value: number) =>
    task.metric === "accuracy" && low >= 0 && high <= 1 ? Math.min(1, Math.max(0, value)) : value;
  return scaleLinear([inside(low - room), inside(high + room)], [BOTTOM, TOP]);
}

function valueAxis(y: ReturnType<typeof valueScale>, task: LesionTask): Html {
  const ticks = y.ticks(5);
  const write = y.tickFormat(5);
  return html`${ticks.map((tick) => [
    rule(LEFT, y(tick), RIGHT, y(tick), "grid"),
    label(LEFT - 5, y(tick) + 4, write(tick).replace("-", "−"), { anchor: "end", kind: "tick" }),
  ])}<text class="label" text-anchor="middle" transform="translate(9 ${px((TOP + BOTTOM) / 2)}) rotate(-90)">${
    task.metric === "loss" ? "loss, nats per token" : "accuracy"
  }</text>`;
}

function doseAxis(x: Scale, doses: readonly number[]): Html {
  const apart = x(doses[0]!) > ZERO + 20 && doses.length > 1 && doses.at(-1)! / doses[0]! > 8;
  let free = ZERO + 12;
  const ticks = doses.map((dose) => {
    const at = x(dose);
    const text = short(dose);
    const half = text.length * 3.2;
    const fits = at - half > free;
    if (fits) free = at + half + 3;
    return [
      rule(at, BOTTOM, at, BOTTOM + 4, "axis"),
      fits && label(at, BOTTOM + 15, text, { anchor: "middle", kind: "tick" }),
    ];
  });
  const line = apart
    ? [
        rule(LEFT, BOTTOM, ZERO + 13, BOTTOM, "axis"),
        rule(ZERO + 11, BOTTOM + 4, ZERO + 15, BOTTOM - 4, "axis"),
        rule(ZERO + 16, BOTTOM + 4, ZERO + 20, BOTTOM - 4, "axis"),
        rule(ZERO + 18, BOTTOM, RIGHT, BOTTOM, "axis"),
      ]
    : rule(LEFT, BOTTOM, RIGHT, BOTTOM, "axis");
  return html`${line}${rule(ZERO, BOTTOM, ZERO, BOTTOM + 4, "axis")}${label(ZERO, BOTTOM + 15, "0", { anchor: "middle", kind: "tick" })}${ticks}${label((LEFT + RIGHT) / 2, BOTTOM + 30, `units silenced, percent${apart ? " (log)" : ""}`, { anchor: "middle" })}`;
}

function references(y: Scale, { baseline, chance }: LesionTask): Html {
  return html`${baseline.value !== null && rule(LEFT, y(baseline.value), RIGHT, y(baseline.value), "reference")}${
    chance !== null && rule(LEFT, y(chance), RIGHT, y(chance), "chance")
  }`;
}

/** From the smallest to the largest random draw at each dose. */
function band(curve: DoseCurve | undefined, x: Scale, y: Scale): Html {
  const ends = (curve?.points ?? []).flatMap(({ dose, draws }) => {
    const [low, high] = drawCells(draws);
    return low === null || high === null ? [] : [{ at: x(dose), top: y(high), bottom: y(low) }];
  });
  if (ends.length === 0) return html``;
  if (ends.length === 1) {
    const [{ at, top, bottom }] = ends as [(typeof ends)[0]];
    return box(at - 6, top, 12, Math.max(bottom - top, 1), "band");
  }
  const corners = [
    ...ends.map(({ at, top }) => `${px(at)},${px(top)}`),
    ...[...ends].reverse().map(({ at, bottom }) => `${px(at)},${px(bottom)}`),
  ];
  return html`<polygon class="band" points="${corners.join(" ")}"><title>random sets, smallest to largest</title></polygon>`;
}

function lines({ points }: DoseCurve, kind: string, heavy: boolean, x: Scale, y: Scale): Html {
  const known = points.flatMap(({ dose, nUnits, value }) =>
    value.value === null ? [] : [{ dose, nUnits, value: value.value, interval: value.interval }],
  );
  const path = d3line<(typeof known)[0]>(
    ({ dose }) => Number(px(x(dose))),
    ({ value }) => Number(px(y(value))),
  )(known);
  const marks = known.map(({ dose, nUnits, value, interval }) => [
    heavy && interval && rule(x(dose), y(interval[0]), x(dose), y(interval[1]), `whisker ${kind}`),
    (heavy || known.length === 1) &&
      dot(
        x(dose),
        y(value),
        heavy ? 3.2 : 2.2,
        `point ${kind}`,
        `${short(dose)} percent (${nUnits} units): ${fixed(value)}`,
      ),
  ]);
  return html`${known.length > 1 && html`<path class="line ${kind}" d="${path ?? ""}"/>`}${marks}`;
}

function baselineMark({ baseline }: LesionTask, y: Scale): Html {
  if (baseline.value === null) return html``;
  const { value, interval } = baseline;
  return html`${interval && rule(ZERO, y(interval[0]), ZERO, y(interval[1]), "whisker intact")}${dot(ZERO, y(value), 3.2, "point intact", `intact: ${fixed(value)}`)}`;
}

/** Names at the ends of the lines, moved apart. */
function endLabels(
  order: readonly { readonly kind: string; readonly name: string; readonly curve: DoseCurve }[],
  { baseline, chance }: LesionTask,
  y: Scale,
): Html {
  const ends = [
    ...order.map(({ kind, name, curve }) => ({
      kind: `${kind}-text`,
      name,
      value: curve.points.findLast(({ value }) => value.value !== null)?.value.value ?? null,
    })),
    { kind: "", name: "intact", value: baseline.value },
    { kind: "faint", name: "chance", value: chance },
  ].filter((end): end is { kind: string; name: string; value: number } => end.value !== null);
  const places = spread(
    ends.map(({ value }) => y(value)),
    12,
    [TOP, BOTTOM],
  );
  return html`${ends.map(({ kind, name, value }, i) => {
    const moved = Math.abs(places[i]! - y(value)) > 3;
    return [
      moved && rule(RIGHT + 2, y(value), RIGHT + 8, places[i]!, "leader"),
      label(RIGHT + 10, places[i]! + 4, name, { kind: `label ${kind}` }),
    ];
  })}`;
}
