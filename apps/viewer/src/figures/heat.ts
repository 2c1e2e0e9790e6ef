import { interpolateCividis } from "d3";
import { fixed, short } from "../format.ts";
import { type Html, html } from "../html.ts";
import { type Exhibit, label, px, WIDTH } from "./exhibit.ts";

/** Numbers in rows and columns, to be drawn as colours. */
export interface Heat {
  /** `[nRows, nColumns]`; NaN stays blank. */
  readonly values: ArrayLike<number>;
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  readonly rowTitle: string;
  readonly columnTitle: string;
  /** What the colours stand for. */
  readonly keyTitle: string;
  /** Names below the columns, standing on end; otherwise their places. */
  readonly columnNames?: boolean;
  /** The first row at the bottom, as layers are drawn. */
  readonly upwards?: boolean;
  /** The ends of the colours; default: of the values. */
  readonly ends?: readonly [number, number];
  /** Of numbers in cells; default 2. */
  readonly decimals?: number;
}

/** Drawings show at most so many rows and columns; more are averaged in blocks. */
const MOST_CELLS = 96;
/** Up to so many rows and columns, every cell is a mark of its own that says what it is. */
const MOST_MARKS = 16;
/** Colours that the eye tells apart. */
const STEPS = 40;
const TOP = 34;
const LONGEST_HEIGHT = 620;

/** The smallest and largest finite value; [0, 1] without any. */
export function endsOf(values: ArrayLike<number>): readonly [number, number] {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let i = 0; i < values.length; i++) {
    const v = values[i]!;
    if (!Number.isFinite(v)) continue;
    low = Math.min(low, v);
    high = Math.max(high, v);
  }
  return low <= high ? [low, high] : [0, 1];
}

const cut = (text: string, length: number): string =>
  text.length > length ? `${text.slice(0, length - 1)}…` : text;

/** Characters of a name beside a row or below a column. */
const LONGEST_NAME = 15;
const FILE_ENDING = /\.(npy|npz|mat|safetensors)$/i;

/** Names cut where they still tell rows apart: at the end, else at the beginning, else in the middle; of files without the ending. */
export function shortNames(
  names: readonly string[],
  length: number = LONGEST_NAME,
): readonly string[] {
  const nDifferent = (some: readonly string[]): number => new Set(some).size;
  const stems = names.map((text) => text.replace(FILE_ENDING, ""));
  const bare = nDifferent(stems) === nDifferent(names) && !stems.includes("") ? stems : names;
  const half = Math.floor((length - 1) / 2);
  const ways = [
    (text: string) => cut(text, length),
    (text: string) => `…${text.slice(1 - length)}`,
    (text: string) => `${text.slice(0, half)}…${text.slice(-half)}`,
  ].map((shorten) => bare.map((text) => (text.length > length ? shorten(text) : text)));
  const most = Math.max(...ways.map(nDifferent));
  return ways.find((way) => nDifferent(way) === most)!;
}

/** Whether labels are numbers in order, such as those of layers. */
export const isCounted = (labels: readonly string[]): boolean =>
  labels.every((text, i) => text === String(i));

/** How far along the colours a value lies, in steps; -1 for none. */
function stepOf(value: number, [low, high]: readonly [number, number]): number {
  if (!Number.isFinite(value)) return -1;
  if (high <= low) return STEPS - 1;
  // Halved first: the difference of two huge numbers can be more than any number.
  const share = (value / 2 - low / 2) / (high / 2 - low / 2);
  return Math.round(Math.min(1, Math.max(0, share)) * (STEPS - 1));
}

const colour = (step: number): string => interpolateCividis(step / (STEPS - 1));

/** Averages blocks of cells, so that no side has more than `MOST_CELLS`. */
function reduced(
  values: ArrayLike<number>,
  nRows: number,
  nColumns: number,
): Averaged & { block: number } {
  const block = Math.max(1, Math.ceil(Math.max(nRows, nColumns) / MOST_CELLS));
  return { ...averaged(values, nRows, nColumns, block, block), block };
}

interface Averaged {
  readonly values: Float64Array;
  readonly nRows: number;
  readonly nColumns: number;
}

/** Means over blocks of rows and columns, of the finite values; NaN where a block has none. */
export function averaged(
  values: ArrayLike<number>,
  nRows: number,
  nColumns: number,
  perRow: number,
  perColumn: number,
): Averaged {
  const [r, c] = [Math.ceil(nRows / perRow), Math.ceil(nColumns / perColumn)];
  const sums = new Float64Array(r * c);
  const counts = new Float64Array(r * c);
  for (let i = 0; i < nRows; i++) {
    for (let j = 0; j < nColumns; j++) {
      const v = values[i * nColumns + j]!;
      if (!Number.isFinite(v)) continue;
      const at = Math.floor(i / perRow) * c + Math.floor(j / perColumn);
      sums[at]! += v;
      counts[at]!++;
    }
  }
  return { values: sums.map((sum, i) => sum / counts[i]!), nRows: r, nColumns: c };
}

/** A name that was cut, with the whole of it for who points at it: cells of large matrices cannot say it. */
const whole = (name: string, shown: string, drawn: Html): Html =>
  name === shown ? drawn : html`<g><title>${name}</title>${drawn}</g>`;

/** A matrix as a picture, with its key and as many labels as have room; and what was averaged, if anything. */
export function heatDrawing(heat: Heat): {
  readonly drawing: NonNullable<Exhibit["drawing"]>;
  readonly block: number;
} {
  const { rows, columns, upwards = false } = heat;
  const ends = heat.ends ?? endsOf(heat.values);
  const small = reduced(heat.values, rows.length, columns.length);
  const { block, nRows, nColumns } = small;
  const counted = isCounted(columns);
  const rowTexts = shortNames(rows);
  const columnTexts = shortNames(columns);
  const longest = Math.max(...rowTexts.map((text) => text.length));
  const left = Math.min(104, 18 + longest * 6);
  const width = Math.min((WIDTH - left - 12) / nColumns, 40);
  const height = Math.min(width, LONGEST_HEIGHT / nRows);
  const bottom = TOP + nRows * height;
  const rowY = (i: number): number => (upwards ? bottom - (i + 1) * height : TOP + i * height);
  const every = (size: number, room: number): number =>
    [1, 2, 5, 10, 20, 50].find((step) => step * size >= room) ?? 100;
  const rowStep = every(height, 11);
  const upright = heat.columnNames === true && !counted;
  const columnStep = every(width, counted ? 18 : upright ? 11 : 20);
  const rowNames = Array.from({ length: nRows }, (_, i) => i)
    .filter((i) => i % rowStep === 0)
    .map((i) =>
      whole(
        rows[i * block]!,
        rowTexts[i * block]!,
        label(left - 5, rowY(i) + height / 2 + 3.5, rowTexts[i * block]!, {
          anchor: "end",
          kind: "tick",
        }),
      ),
    );
  const below = upright ? 8 + 5.6 * Math.max(...columnTexts.map((text) => text.length)) : 14;
  const columnNames = Array.from({ length: nColumns }, (_, j) => j)
    .filter((j) => j % columnStep === 0)
    .map((j) => {
      const x = left + (j + 0.5) * width;
      if (upright) {
        const text = columnTexts[j * block]!;
        return whole(
          columns[j * block]!,
          text,
          html`<text x="${px(x + 3.5)}" y="${px(bottom + 5)}" class="tick" text-anchor="end" transform="rotate(-90 ${px(x + 3.5)} ${px(bottom + 5)})">${text}</text>`,
        );
      }
      return label(x, bottom + 13, counted ? columns[j * block]! : j * block + 1, {
        anchor: "middle",
        kind: "tick",
      });
    });
  const content = html`${key(heat.keyTitle, ends, left)}${rowNames}${columnNames}${label(
    left + (nColumns * width) / 2,
    bottom + below + 14,
    heat.columnTitle,
    { anchor: "middle" },
  )}${label(left - 5, TOP - 7, heat.rowTitle, { anchor: left > 60 ? "end" : "start" })}${
    nRows <= MOST_MARKS && nColumns <= MOST_MARKS
      ? marks({
          ...small,
          rows,
          columns,
          ends,
          left,
          width,
          height,
          rowY,
          decimals: heat.decimals ?? 2,
        })
      : paths({ ...small, ends, left, width, height, rowY })
  }`;
  return { drawing: { width: WIDTH, height: bottom + below + 22, content }, block };
}

/** The colours from the lowest to the highest value. */
export function key(title: string, [low, high]: readonly [number, number], left: number): Html {
  const right = WIDTH - 12;
  const from = Math.max(left, right - 150);
  const step = (right - from) / 20;
  return html`${Array.from(
    { length: 20 },
    (_, i) =>
      html`<rect x="${px(from + i * step)}" y="4" width="${px(step + 0.3)}" height="7" fill="${interpolateCividis(i / 19)}"/>`,
  )}${label(from, 22, short(low), { kind: "tick" })}${label(right, 22, short(high), { anchor: "end", kind: "tick" })}${label(
    from - 6,
    12,
    cut(title, 24),
    { anchor: "end" },
  )}`;
}

interface Grid {
  readonly values: Float64Array;
  readonly nRows: number;
  readonly nColumns: number;
  readonly ends: readonly [number, number];
  readonly left: number;
  readonly width: number;
  readonly height: number;
  readonly rowY: (row: number) => number;
}

/** One rectangle for each cell, with its numbers as a title and, where there is room, in it. */
function marks(
  grid: Grid & { rows: readonly string[]; columns: readonly string[]; decimals: number },
): Html {
  const { values, nRows, nColumns, ends, left, width, height, rowY, rows, columns, decimals } =
    grid;
  const written = width >= 27 && height >= 14;
  const upwards = nRows > 1 && rowY(1) < rowY(0);
  return html`<g data-columns="${nColumns}"${upwards && html` data-upwards="1"`} shape-rendering="crispEdges">${Array.from(
    { length: nRows * nColumns },
    (_, at) => {
      const [i, j] = [Math.floor(at / nColumns), at % nColumns];
      const value = values[at]!;
      const step = stepOf(value, ends);
      const [x, y] = [left + j * width, rowY(i)];
      const told = `${rows[i]}, ${columns[j]}: ${Number.isFinite(value) ? fixed(value, Math.min(3, 10 * decimals)) : "not defined"}`;
      const look = step < 0 ? html`class="none"` : html`fill="${colour(step)}"`;
      return html`<rect x="${px(x)}" y="${px(y)}" width="${px(width)}" height="${px(height)}" ${look}><title>${told}</title></rect>${
        written &&
        step >= 0 &&
        Math.abs(value) < 1000 &&
        label(x + width / 2, y + height / 2 + 3.5, fixed(value, decimals), {
          anchor: "middle",
          kind: `tick ${step < STEPS * 0.55 ? "on-dark" : "on-light"}`,
        })
      }`;
    },
  )}</g>`;
}

/** One path for each colour: a large matrix stays a small page. */
export function paths({ values, nRows, nColumns, ends, left, width, height, rowY }: Grid): Html {
  const parts = new Map<number, string[]>();
  for (let i = 0; i < nRows; i++) {
    for (let j = 0; j < nColumns; ) {
      const step = stepOf(values[i * nColumns + j]!, ends);
      let end = j + 1;
      while (end < nColumns && stepOf(values[i * nColumns + end]!, ends) === step) end++;
      if (step >= 0) {
        const run = `M${j} ${i}h${end - j}v1H${j}z`;
        const list = parts.get(step);
        if (list) list.push(run);
        else parts.set(step, [run]);
      }
      j = end;
    }
  }
  const upwards = nRows > 1 && rowY(1) < rowY(0);
  const y = upwards ? rowY(0) + height : rowY(0);
  const scale = `${width.toFixed(4)} ${(upwards ? -height : height).toFixed(4)}`;
  return html`<g transform="translate(${px(left)} ${px(y)}) scale(${scale})" shape-rendering="crispEdges">${[
    ...parts,
  ].map(([step, runs]) => html`<path fill="${colour(step)}" d="${runs.join("")}"/>`)}</g>`;
}
