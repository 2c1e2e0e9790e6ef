import { classicalMds, triangleCheck } from "@penfield/compare";
import {
  createRng,
  type OnProgress,
  PenfieldError,
  permutation,
  throwIfAborted,
} from "@penfield/core";
import type { Linalg } from "@penfield/linalg";
import type { MatrixSection, PointMap } from "@penfield/report";
import { type Item, type Measured, type PairMeasure, reorder } from "./measures.ts";
import type { ValueStore } from "./work.ts";

/** What every comparison of a command shares. */
export interface Comparing {
  readonly linalg: Linalg;
  readonly onProgress: OnProgress;
  readonly signal: AbortSignal;
  /** Keeps values, so that an interrupted command can go on. */
  readonly work: Pick<ValueStore, "getJson" | "putJson">;
  /** Whether a measure that cannot be computed is a warning and not an error. */
  readonly lenient: boolean;
  readonly warn: (text: string) => void;
}

/** The same, with what is kept under names of its own. */
export const scopedTo = (comparing: Comparing, scope: string): Comparing => ({
  ...comparing,
  work: {
    getJson: (key) => comparing.work.getJson(`${scope} ${key}`),
    putJson: (key, value) => comparing.work.putJson(`${scope} ${key}`, value),
  },
});

/** One value, kept and found again. */
async function measureOnce(
  measure: PairMeasure,
  x: Item,
  y: Item,
  key: string,
  { linalg, work, lenient, signal }: Comparing,
): Promise<Measured> {
  // Measures in plain arithmetic never let Ctrl-C through by themselves.
  await new Promise((resume) => setImmediate(resume));
  throwIfAborted(signal, "compare");
  const known = (await work.getJson(key)) as
    | { value: number | null; warnings: string[] }
    | undefined;
  if (known) return { value: known.value ?? Number.NaN, warnings: known.warnings };
  let measured: Measured;
  try {
    measured = await measure.compute(linalg, x, y);
  } catch (error) {
    if (!lenient || !(error instanceof PenfieldError)) throw error;
    const { name } = measure.info;
    measured = { value: Number.NaN, warnings: [`${name}: left out: ${error.message}`] };
  }
  // NaN is null in a file.
  await work.putJson(key, {
    ...measured,
    value: Number.isNaN(measured.value) ? null : measured.value,
  });
  return measured;
}

/** The orders of stimuli that floors are measured with. */
export function shuffledOrders(n: number, nDraws: number, seed: number): readonly Int32Array[] {
  const rng = createRng(seed);
  return Array.from({ length: nDraws }, () => Int32Array.from(permutation(n, rng)));
}

/** A measure of all rows with all columns. */
export interface MeasuredMatrix {
  /** `[nRows, nColumns]`. */
  readonly values: Float64Array;
  /** Mean over shuffles; undefined without any. */
  readonly floor: Float64Array | undefined;
  /** Every shuffle's value of each cell, `[nDraws][nRows, nColumns]`. */
  readonly draws: readonly Float64Array[];
}

/**
 * A measure of every row with every column, and the same with the columns' stimuli in random orders.
 *
 * @param same - Rows and columns are the same items: distances of an item with itself are 0 and not computed, and
 *   symmetric measures are computed once for each pair.
 */
export async function measureMatrix(
  measure: PairMeasure,
  rows: readonly Item[],
  columns: readonly Item[],
  same: boolean,
  orders: readonly Int32Array[],
  comparing: Comparing,
  progress: { done: number; readonly total: number; readonly unit: string },
): Promise<MeasuredMatrix> {
  const { info } = measure;
  const used = measure.shuffles ? orders : [];
  const fill = async (shuffled: readonly Item[], draw: number): Promise<Float64Array> => {
    const values = new Float64Array(rows.length * columns.length).fill(Number.NaN);
    // With stimuli shuffled, i with j is another pairing than j with i.
    const half = same && info.symmetric && draw < 0;
    for (let i = 0; i < rows.length; i++) {
      for (let j = half ? i : 0; j < columns.length; j++) {
        const at = i * columns.length + j;
        if (same && i === j && draw < 0 && info.larger === "less alike") values[at] = 0;
        else {
          const key = `${info.name} ${i} ${j} ${draw}`;
          const { value, warnings } = await measureOnce(
            measure,
            rows[i]!,
            shuffled[j]!,
            key,
            comparing,
          );
          values[at] = value;
          if (draw < 0) for (const text of warnings) comparing.warn(text);
        }
        if (half) values[j * columns.length + i] = values[at]!;
        progress.done++;
        comparing.onProgress({ stage: "comparing", ...progress });
      }
    }
    return values;
  };
  const values = await fill(columns, -1);
  const draws: Float64Array[] = [];
  for (const [draw, order] of used.entries()) {
    draws.push(
      await fill(
        columns.map((item) => reorder(item, order)),
        draw,
      ),
    );
  }
  const floor =
    draws.length === 0
      ? undefined
      : values.map((_, i) => draws.reduce((sum, draw) => sum + draw[i]!, 0) / draws.length);
  return { values, floor, draws };
}

/** How many values `measureMatrix` computes. */
export function countCells(
  measure: PairMeasure,
  nRows: number,
  nColumns: number,
  same: boolean,
  nDraws: number,
): number {
  const once = same && measure.info.symmetric ? (nRows * (nRows + 1)) / 2 : nRows * nColumns;
  return once + (measure.shuffles ? nDraws * nRows * nColumns : 0);
}

/** Items as points on a plane, from a matrix of a measure of all with all; why not, if it cannot be. */
export function mapOf(
  { info }: PairMeasure,
  values: Float64Array,
  n: number,
): { map: PointMap | null; triangle: MatrixSection["triangle"]; problem?: string } {
  const d = new Float64Array(n * n);
  const similar = info.larger === "more alike";
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      if (i === j) continue;
      const both = (values[i * n + j]! + values[j * n + i]!) / 2;
      d[i * n + j] = similar ? Math.max(0, 1 - both) : both;
    }
  }
  const none = { map: null, triangle: null };
  if (n < 3) return none;
  if (d.some((v) => !(v >= 0 && Number.isFinite(v)))) {
    return { ...none, problem: `${info.name}: no map, for a value is undefined or negative` };
  }
  const matrix = { data: d, nRows: n, nColumns: n };
  const { points, explained } = classicalMds(matrix);
  const { nViolations, nInequalities, worst } = triangleCheck(matrix);
  return {
    map: {
      distance: [
        similar ? "1 - measure" : "the measure itself",
        ...(info.symmetric ? [] : ["mean of both directions"]),
      ].join(", "),
      points: Array.from({ length: n }, (_, i) => [
        points.data[2 * i]! + 0,
        points.data[2 * i + 1]! + 0,
      ]),
      explained,
    },
    triangle: similar ? null : { nViolations, nInequalities, worst },
  };
}
