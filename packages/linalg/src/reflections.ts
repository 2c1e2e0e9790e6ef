import type { Linalg } from "./linalg.ts";
import { matrix } from "./matrix.ts";

/** Reflections I - tau v v^T of some neighbouring columns, the first one leftmost in their product. */
export interface Panel {
  /** [count, n], one v per row; zeros before `start`. */
  readonly v: Float64Array;
  readonly tau: Float64Array;
  readonly start: number;
}

/** Entries of matrices scaled to 1 whose squares sum to less than this are nothing but rounding; their squares may have lost digits. */
const NOTHING = 1e-200;

/**
 * Fills v so that I - tau v v^T leaves of x, from `start`, only its first entry, which becomes `head`.
 * Tau is 0 if there is nothing to do.
 */
export function reflection(
  x: Float64Array,
  start: number,
  n: number,
  v: Float64Array,
): { readonly tau: number; readonly head: number } {
  const first = x[start]!;
  let rest = 0;
  for (let r = start + 1; r < n; r++) rest += x[r]! * x[r]!;
  if (rest < NOTHING) return { tau: 0, head: first };
  const length = Math.sqrt(first * first + rest);
  const head = first >= 0 ? -length : length;
  for (let r = start + 1; r < n; r++) v[r] = x[r]!;
  v[start] = first - head;
  return { tau: 2 / (rest + v[start]! * v[start]!), head };
}

/** Reflections applied by one pair of products. */
const TOGETHER = 64;

/** z, `[n, nColumns]`, becomes H_1 H_2 ... z, in place: the panels from the last to the first. */
export async function reflectBack(
  z: Float64Array,
  nColumns: number,
  panels: readonly Panel[],
  linalg: Linalg,
): Promise<void> {
  const n = z.length / nColumns;
  for (let last = panels.length; last > 0; ) {
    let first = last - 1;
    let width = panels[first]!.tau.length;
    while (first > 0 && width + panels[first - 1]!.tau.length <= TOGETHER) {
      width += panels[--first]!.tau.length;
    }
    const { start } = panels[first]!;
    const m = n - start;
    const v = new Float64Array(width * m);
    const tau = new Float64Array(width);
    let row = 0;
    for (const panel of panels.slice(first, last)) {
      for (let p = 0; p < panel.tau.length; p++, row++) {
        v.set(panel.v.subarray(p * n + start, (p + 1) * n), row * m);
        tau[row] = panel.tau[p]!;
      }
    }
    last = first;
    const rows = matrix(v, width, m);
    const t = matrix(await compact(v, tau, m, linalg), width, width);
    const rest = z.subarray(start * nColumns);
    const inner = await linalg.matmul(rows, matrix(rest, m, nColumns));
    const { data } = await linalg.matmul(rows, await linalg.matmul(t, inner), {
      transposeA: true,
    });
    for (let i = 0; i < rest.length; i++) rest[i]! -= data[i]!;
  }
}

/** T of the product of reflections, H_1 H_2 ... = I - V T V^T, upper triangular. */
async function compact(
  v: Float64Array,
  tau: Float64Array,
  n: number,
  linalg: Linalg,
): Promise<Float64Array> {
  const k = tau.length;
  const rows = matrix(v, k, n);
  const products = (await linalg.matmul(rows, rows, { transposeB: true })).data;
  const t = new Float64Array(k * k);
  for (let j = 0; j < k; j++) {
    for (let i = 0; i < j; i++) {
      let sum = 0;
      for (let p = i; p < j; p++) sum += t[i * k + p]! * products[p * k + j]!;
      t[i * k + j] = -tau[j]! * sum;
    }
    t[j * k + j] = tau[j]!;
  }
  return t;
}
