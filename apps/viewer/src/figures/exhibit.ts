import type { Estimate, Statistic, Table } from "@penfield/report";
import { extent } from "d3";
import { type Html, html, type Part } from "../html.ts";

/** Something to look at and the numbers that it shows; every exhibit can be had as .csv, and as .svg if it is drawn. */
export interface Exhibit {
  /** Unique in the report, part of its address. */
  readonly id: string;
  readonly title: string;
  /** What is to be seen, for those who cannot see it. */
  readonly description: string;
  /** How to read the marks. */
  readonly caption: string;
  readonly drawing: Drawing | null;
  readonly numbers: Table;
  /** How many rows of the numbers the page shows; the .csv has all. Default 200. */
  readonly nShown?: number;
}

interface Drawing {
  readonly width: number;
  readonly height: number;
  readonly content: Html;
}

/** Drawings are this wide: a phone shows them without shrinking the text. */
export const WIDTH = 344;

/** A coordinate, to a tenth of a pixel; what no axis can hold lies far outside. */
export function px(value: number): string {
  const inside = Number.isNaN(value) ? -1e5 : Math.min(1e5, Math.max(-1e5, value));
  return String(Math.round(inside * 10) / 10);
}

/** An estimate's numbers, for `span`. */
export const numbersOf = (estimate: Estimate | null): readonly Statistic[] =>
  estimate ? [estimate.value, ...(estimate.interval ?? [])] : [];

/** The smallest and the largest number, for an axis; [0, 1] without any. Numbers that no axis can hold do not count. */
export function span(values: readonly Statistic[]): readonly [number, number] {
  const [low, high] = extent(
    values.filter((value): value is number => value !== null && Math.abs(value) < 1e100),
  );
  return low === undefined || high === undefined ? [0, 1] : [low, high];
}

/** Of random draws, as the cells of a table: smallest, largest, how many. */
export function drawCells(draws: readonly Statistic[]): [Statistic, Statistic, number] {
  const [low = null, high = null] = extent(draws.filter((draw) => draw !== null));
  return [low, high, draws.length];
}

/** A drawing as an <svg> that names and describes itself. */
export function drawSvg({ id, title, description, drawing }: Exhibit, style?: string): Html {
  if (!drawing) return html``;
  const { width, height, content } = drawing;
  return html`<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" viewBox="0 0 ${width} ${px(height)}" width="${width}" height="${px(height)}" aria-labelledby="${id}-title ${id}-desc"><title id="${id}-title">${title}</title><desc id="${id}-desc">${description}</desc>${style && html`<style>${style}</style>`}${content}</svg>`;
}

/** Several drawings below each other, each under its title, as one. */
export function stackSvg(exhibits: readonly Exhibit[], style: string): string {
  const GAP = 40;
  let y = 0;
  const parts = exhibits.map((exhibit) => {
    const top = y + GAP - 12;
    y += GAP + exhibit.drawing!.height;
    return html`${label(4, top, exhibit.title, { kind: "heading" })}<g transform="translate(0 ${px(top + 12)})">${drawSvg(exhibit)}</g>`;
  });
  const width = Math.max(WIDTH, ...exhibits.map(({ drawing }) => drawing!.width));
  return html`<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 ${px(width)} ${px(y + 8)}" width="${px(width)}" height="${px(y + 8)}"><style>${style}</style>${parts}</svg>`
    .markup;
}

/** Text at a place; `anchor` is start, middle or end. */
export function label(
  x: number,
  y: number,
  content: Part,
  { anchor = "start", kind = "label" }: { anchor?: "start" | "middle" | "end"; kind?: string } = {},
): Html {
  return html`<text x="${px(x)}" y="${px(y)}" text-anchor="${anchor}" class="${kind}">${content}</text>`;
}

export function rule(x1: number, y1: number, x2: number, y2: number, kind: string): Html {
  return html`<line x1="${px(x1)}" y1="${px(y1)}" x2="${px(x2)}" y2="${px(y2)}" class="${kind}"/>`;
}

export function box(
  x: number,
  y: number,
  width: number,
  height: number,
  kind: string,
  title?: string,
): Html {
  return html`<rect x="${px(x)}" y="${px(y)}" width="${px(Math.max(width, 0))}" height="${px(Math.max(height, 0))}" class="${kind}">${title && html`<title>${title}</title>`}</rect>`;
}

export function dot(x: number, y: number, radius: number, kind: string, title?: string): Html {
  return html`<circle cx="${px(x)}" cy="${px(y)}" r="${radius}" class="${kind}">${title && html`<title>${title}</title>`}</circle>`;
}

/** Moves labels apart so that none stands on another, keeping their order, within a range. */
export function spread(
  places: readonly number[],
  gap: number,
  [low, high]: readonly [number, number],
): readonly number[] {
  const order = places.map((_, i) => i).sort((a, b) => places[a]! - places[b]!);
  const moved = [...places];
  let floor = low;
  for (const i of order) {
    moved[i] = Math.max(moved[i]!, floor);
    floor = moved[i]! + gap;
  }
  let ceiling = high;
  for (const i of order.reverse()) {
    moved[i] = Math.min(moved[i]!, ceiling);
    ceiling = moved[i]! - gap;
  }
  return moved;
}

/** Words in lines of at most about `length` characters. */
export function wrap(text: string, length: number): readonly string[] {
  const lines: string[] = [];
  for (const word of text.split(/\s+/)) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + word.length < length)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word.length > length + 3 ? `${word.slice(0, length + 1)}…` : word);
  }
  return lines;
}

/** A horizontal axis below a plot: line, ticks, numbers, title. */
export function axisBelow(
  scale: (value: number) => number,
  {
    ticks,
    y,
    from,
    to,
    title,
    write,
  }: {
    ticks: readonly number[];
    y: number;
    from: number;
    to: number;
    title: string;
    write: (tick: number) => string;
  },
): Html {
  return html`${rule(from, y, to, y, "axis")}${ticks.map((tick) => [
    rule(scale(tick), y, scale(tick), y + 4, "axis"),
    label(scale(tick), y + 15, write(tick), { anchor: "middle", kind: "tick" }),
  ])}${label((from + to) / 2, y + 30, title, { anchor: "middle" })}`;
}
