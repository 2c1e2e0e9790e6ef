import {
  type Activations,
  createRng,
  sampleWithoutReplacement,
  takeColumns,
  takeRows,
} from "@penfield/core";
import type { Linalg } from "@penfield/linalg";
import { spearman } from "@penfield/stats";
import { checkOneOf, checkWhole, type Dense, norm, pairOf } from "./pair.ts";

/**
 * Similarity of similarity matrices: the rank correlation of the correlations between the patterns of
 * all pairs of stimuli.
 *
 *   spearman over i < j of (r(x_i, x_j), r(y_i, y_j))
 *
 * @param x - `[n, p]`, finite, n >= 3, p >= 2.
 * @param y - `[n, q]`, the same stimuli, q >= 2.
 * @returns -1 to 1; NaN if a pattern is constant over units, or all correlations are equal.
 * @throws {ShapeError} if the stimuli differ or are fewer than 3.
 * @throws {DataError} if a value is not finite.
 *
 * Cost: n^2 (p + q) operations and two sorts of n^2 / 2 values. Source: Shi, Shea-Brown & Buice (2019), NeurIPS. Matches ReSi's RSA with
 * correlation inside and Spearman outside.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0, 2], [0, 1, 5], [-1, -1, 3], [2, 1, 0]]);
 * (await ssm(linalg, x, x)).toFixed(9) // => "1.000000000"
 */
export async function ssm(linalg: Linalg, x: Activations, y: Activations): Promise<number> {
  const pair = pairOf("ssm", x, y, 3);
  const [a, b] = [
    await patternCorrelations(linalg, pair.x),
    await patternCorrelations(linalg, pair.y),
  ];
  return a && b ? spearman(a, b) : Number.NaN;
}

/** Correlations of all pairs of rows, upper triangle; undefined if a row is constant. */
async function patternCorrelations(linalg: Linalg, x: Dense): Promise<Float64Array | undefined> {
  const { nRows: n, nColumns: p } = x;
  const rows = Float64Array.from(x.data);
  for (let i = 0; i < n; i++) {
    const row = rows.subarray(i * p, (i + 1) * p);
    const before = norm(row);
    let mean = 0;
    for (const v of row) mean += v / p;
    for (let j = 0; j < p; j++) row[j]! -= mean;
    const size = norm(row);
    if (size <= 1e-14 * before) return undefined;
    for (let j = 0; j < p; j++) row[j]! /= size;
  }
  const unit = { data: rows, nRows: n, nColumns: p };
  const { data } = await linalg.matmul(unit, unit, { transposeB: true });
  const out = new Float64Array((n * (n - 1)) / 2);
  for (let i = 0, at = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) out[at++] = data[i * n + j]!;
  }
  return out;
}

/** SSM at one size of subsamples. */
export interface SsmPoint {
  readonly size: number;
  /** Over draws with a value. */
  readonly mean: number;
  /** Standard deviation over draws; NaN for one. */
  readonly sd: number;
  /** One per draw; NaN where SSM is not defined. */
  readonly values: Float64Array;
}

/**
 * How SSM depends on how many units, or stimuli, there are: recordings have few of both, and a value
 * that still rises with their number says little about the systems.
 *
 * @param x - `[n, p]`, finite.
 * @param y - `[n, q]`, the same stimuli.
 * @param options.sizes - How many to draw, ascending or not.
 * @param options.of - "x" (units of x, default), "y", "both" (as many of either) or "stimuli".
 * @param options.nDraws - Per size. Default 20.
 * @param options.seed - Default 0.
 * @throws {ShapeError} if the stimuli differ or are fewer than 3.
 * @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if a size is more than there are, or below 2 units or 3 stimuli.
 *
 * Cost: sizes times nDraws of {@link ssm}. Source: Shi, Shea-Brown & Buice (2019), NeurIPS.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0, 2], [0, 1, 5], [-1, -1, 3], [2, 1, 0]]);
 * (await ssmCurve(linalg, x, x, { sizes: [3], nDraws: 2 }))[0].mean.toFixed(9) // => "1.000000000"
 */
export async function ssmCurve(
  linalg: Linalg,
  x: Activations,
  y: Activations,
  {
    sizes,
    of = "x",
    nDraws = 20,
    seed = 0,
  }: {
    sizes: readonly number[];
    of?: "x" | "y" | "both" | "stimuli" | undefined;
    nDraws?: number | undefined;
    seed?: number | undefined;
  },
): Promise<SsmPoint[]> {
  const name = "ssmCurve";
  checkOneOf(name, "of", of, ["x", "y", "both", "stimuli"]);
  checkWhole(name, "nDraws", nDraws, 1);
  const { n, x: a, y: b } = pairOf(name, x, y, 3);
  const [p, q] = [a.nColumns, b.nColumns];
  const most = { x: p, y: q, both: Math.min(p, q), stimuli: n }[of];
  const rng = createRng(seed);
  const points: SsmPoint[] = [];
  for (const size of sizes) {
    checkWhole(name, "size", size, of === "stimuli" ? 3 : 2, most);
    const values = new Float64Array(nDraws);
    for (let draw = 0; draw < nDraws; draw++) {
      const units = (from: Activations, all: number) =>
        takeColumns(from, sampleWithoutReplacement(all, size, rng));
      if (of === "stimuli") {
        const chosen = sampleWithoutReplacement(n, size, rng);
        values[draw] = await ssm(linalg, takeRows(x, chosen), takeRows(y, chosen));
      } else {
        const left = of === "y" ? x : units(x, p);
        const right = of === "x" ? y : units(y, q);
        values[draw] = await ssm(linalg, left, right);
      }
    }
    points.push({ size, ...momentsOf(values), values });
  }
  return points;
}

function momentsOf(values: Float64Array): { mean: number; sd: number } {
  const used = values.filter((v) => !Number.isNaN(v));
  const mean = used.reduce((sum, v) => sum + v, 0) / used.length;
  const square = used.reduce((sum, v) => sum + (v - mean) ** 2, 0);
  return {
    mean: used.length === 0 ? Number.NaN : mean,
    sd: used.length < 2 ? Number.NaN : Math.sqrt(square / (used.length - 1)),
  };
}
