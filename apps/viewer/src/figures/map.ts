import type { PointMap } from "@penfield/report";
import { extent } from "d3";
import { fixed } from "../format.ts";
import { html } from "../html.ts";
import { dot, type Exhibit, label, rule, spread, WIDTH } from "./exhibit.ts";
import { shortNames } from "./heat.ts";

/** More points than this, and their names are in the table alone. */
const MOST_NAMES = 40;
const EDGE = 16;
const SIDE = WIDTH - 2 * EDGE;

/** Things as points whose distances are like those of the measure. Both axes have one scale. */
export function mapFigure(
  id: string,
  title: string,
  { points, distance, explained }: PointMap,
  labels: readonly string[],
): Exhibit {
  const axis = (k: 0 | 1): [number, number] => {
    const [low = 0, high = 0] = extent(points, (point) => point[k]);
    return [low, high];
  };
  const [[left, right], [low, high]] = [axis(0), axis(1)];
  // Halved: the width of two huge numbers can be more than any number.
  const widest = Math.max(right / 2 - left / 2, high / 2 - low / 2) * 2;
  const size = widest > 0 && Number.isFinite(widest) ? SIDE / widest : 0;
  const tall = Math.min(SIDE, Math.max(120, (high - low) * size));
  const x = (v: number): number => WIDTH / 2 + (v - (left / 2 + right / 2)) * size;
  const y = (v: number): number => EDGE + tall / 2 - (v - (low / 2 + high / 2)) * size;
  const named = points.length <= MOST_NAMES;
  const places = spread(
    points.map((point) => y(point[1]) + 3.5),
    points.length > 24 ? 7 : 11,
    [EDGE, EDGE + tall + 8],
  );
  const texts = shortNames(labels, 22);
  const marks = points.map((point, i) => {
    const [cx, cy] = [x(point[0]), y(point[1])];
    const text = labels[i]!;
    const short = texts[i]!;
    const toLeft = cx + 8 + short.length * 6 > WIDTH;
    const at = cx + (toLeft ? -8 : 8);
    const far = Math.abs(places[i]! - 3.5 - cy) > 7;
    return html`${named && far && rule(cx, cy, at, places[i]! - 3.5, "leader")}${dot(cx, cy, 3.4, "point matched", `${text}: ${fixed(point[0])}, ${fixed(point[1])}`)}${
      named && label(at, places[i]!, short, { anchor: toLeft ? "end" : "start", kind: "tick" })
    }`;
  });
  const share =
    explained !== null && explained >= 0 && explained <= 1
      ? `${Math.round(100 * explained)} %`
      : "an unknown share";
  return {
    id,
    title,
    description: `${points.length} points; ${named ? labels.map((text, i) => `${text} at ${fixed(points[i]![0], 2)}, ${fixed(points[i]![1], 2)}`).join("; ") : "their places are in the table"}.`,
    caption: `Classical multidimensional scaling; distance: ${distance}. The plane shows ${share} of the eigenvalues. Turning or mirroring it changes nothing; axes have no names.${named ? "" : " Names are in the table."}`,
    drawing: {
      width: WIDTH,
      height: tall + 2 * EDGE,
      content: html`${rule(EDGE, y(0), WIDTH - EDGE, y(0), "grid")}${rule(x(0), EDGE, x(0), EDGE + tall, "grid")}${marks}`,
    },
    numbers: {
      columns: ["name", "x", "y"],
      rows: points.map(([a, b], i) => [labels[i]!, a, b]),
    },
    nShown: 40,
  };
}
