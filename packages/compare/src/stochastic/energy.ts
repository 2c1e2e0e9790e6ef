import { ArgumentError, ShapeError } from "@penfield/core";
import type { Linalg, MatrixBatch } from "@penfield/linalg";
import { checkOneOf, checkWhole, type Dense, inner } from "../similarity/pair.ts";
import { alignTo, type StochasticGroup, stacked } from "./alternate.ts";
import { checkTrials, type Trials } from "./gaussian.ts";

export interface EnergyShapeOptions {
  /** Default "orthogonal". */
  readonly group?: StochasticGroup | undefined;
  /** At most so many. Default 100. */
  readonly iterations?: number | undefined;
  /** Stop when the mean distance of trials falls by less than this. Default 1e-6. */
  readonly tolerance?: number | undefined;
  /** "netrep": the last alignment is kept even if an earlier one was better. Default "exact": the best is. */
  readonly compat?: "exact" | "netrep" | undefined;
}

/** An alignment of trials. */
export interface EnergyAlignment {
  /** `[p, p]`: responses of y times this are aligned with x. */
  readonly transform: Dense;
  /** The mean distance of all pairs of trials of a stimulus, before and after each iteration. */
  readonly losses: readonly number[];
  readonly iterations: number;
  readonly converged: boolean;
}

/**
 * Aligns repeated responses of two networks so that trials of the same stimulus are near each other: the sum of
 * distances (not squared) of all pairs of trials is made small by weighted alignments, weights 1 / distance.
 *
 * @param x - `[n, r, p]` trials, finite, r >= 2.
 * @param y - The same stimuli, repeats and as many units.
 * @throws {ShapeError} if sizes differ or there is one repeat only.
 * @throws {DataError} if a value is not finite.
 * @throws {ArgumentError} if an option is out of range.
 *
 * Cost per iteration: n r^2 p operations; pairs of trials are never stacked (memory n r^2).
 * Source: Duong, Zhou, Nassar et al. (2023), ICLR. Matches netrep's EnergyStochasticMetric.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = { data: Float64Array.of(0, 0, 1, 0, 3, 0, 2, 1), nStimuli: 2, nRepeats: 2, nUnits: 2 };
 * (await fitEnergyShape(linalg, x, x, { group: "permutation" })).transform.data.join(" ") // => "1 0 0 1"
 */
export async function fitEnergyShape(
  linalg: Linalg,
  x: Trials,
  y: Trials,
  {
    group = "orthogonal",
    iterations = 100,
    tolerance = 1e-6,
    compat = "exact",
  }: EnergyShapeOptions = {},
): Promise<EnergyAlignment> {
  const name = "fitEnergyShape";
  checkOneOf(name, "group", group, ["orthogonal", "permutation", "identity"]);
  checkOneOf(name, "compat", compat, ["exact", "netrep"]);
  checkWhole(name, "iterations", iterations, 1);
  if (!(tolerance >= 0)) {
    throw new ArgumentError(`${name}: expected tolerance at least 0, got ${tolerance}`);
  }
  checkTrialPair(name, x, y);
  const { nStimuli: n, nRepeats: r } = x;
  let weights: Float64Array = new Float64Array(n * r * r).fill(1);
  let distances = await pairDistances(linalg, x, y);
  const losses = [mean(distances)];
  let transform = identity(x.nUnits);
  let best = { transform, loss: Number.POSITIVE_INFINITY };
  for (let i = 0; i < iterations; i++) {
    transform = await alignTo(linalg, await weightedCross(linalg, x, y, weights), group);
    distances = await pairDistances(linalg, x, await turned(linalg, y, transform));
    const loss = mean(distances);
    losses.push(loss);
    if (loss < best.loss) best = { transform, loss };
    weights = distances.map((d) => 1 / Math.max(d, LEAST_DISTANCE));
    if (losses[i]! - loss < tolerance) {
      const kept = compat === "netrep" ? transform : best.transform;
      return { transform: kept, losses, iterations: i + 1, converged: true };
    }
  }
  const kept = compat === "netrep" ? transform : best.transform;
  return { transform: kept, losses, iterations, converged: false };
}

/** Distances below this weigh as much as this. */
const LEAST_DISTANCE = 1e-12;

function checkTrialPair(name: string, x: Trials, y: Trials): void {
  checkTrials(name, x, 2);
  checkTrials(name, y, 2);
  if (x.nStimuli !== y.nStimuli || x.nRepeats !== y.nRepeats || x.nUnits !== y.nUnits) {
    throw new ShapeError(
      `${name}: expected arrays of one shape, got ${x.nStimuli} x ${x.nRepeats} x ${x.nUnits} and ${y.nStimuli} x ${y.nRepeats} x ${y.nUnits}`,
    );
  }
}

function identity(n: number): Dense {
  const data = new Float64Array(n * n);
  for (let i = 0; i < n; i++) data[i * n + i] = 1;
  return { data, nRows: n, nColumns: n };
}

const batchOf = ({ data, nStimuli, nRepeats, nUnits }: Trials): MatrixBatch => ({
  data,
  count: nStimuli,
  nRows: nRepeats,
  nColumns: nUnits,
});

async function turned(linalg: Linalg, y: Trials, t: Dense): Promise<Trials> {
  return { ...y, data: (await linalg.matmul(stacked(batchOf(y)), t)).data };
}

/** sum over stimuli and pairs (a, b) of w_ab y_b^T x_a, as Y^T (W^T X). */
async function weightedCross(
  linalg: Linalg,
  x: Trials,
  y: Trials,
  weights: Float64Array,
): Promise<Dense> {
  const r = x.nRepeats;
  const w = { data: weights, count: x.nStimuli, nRows: r, nColumns: r };
  const mixed = await linalg.batchMatmul(w, batchOf(x), { transposeA: true });
  return linalg.matmul(stacked(batchOf(y)), stacked(mixed), { transposeA: true });
}

/** Up to this many units, differences are as fast as a product, and exact. */
const FEW_UNITS = 8;

/** Distances of all trials of x and y of each stimulus, `[n, r, r]`. */
async function pairDistances(linalg: Linalg, x: Trials, y: Trials): Promise<Float64Array> {
  const { nStimuli: n, nRepeats: r, nUnits: p } = x;
  const out = new Float64Array(n * r * r);
  const direct = (a: number, b: number): number => {
    let sum = 0;
    for (let j = 0; j < p; j++) {
      const off = x.data[a * p + j]! - y.data[b * p + j]!;
      sum += off * off;
    }
    return Math.sqrt(sum);
  };
  const products =
    p > FEW_UNITS
      ? (await linalg.batchMatmul(batchOf(x), batchOf(y), { transposeB: true })).data
      : undefined;
  const [xSquares, ySquares] = products ? [squares(x), squares(y)] : [];
  for (let i = 0; i < n; i++) {
    for (let a = 0; a < r; a++) {
      for (let b = 0; b < r; b++) {
        const at = (i * r + a) * r + b;
        if (products) {
          const size = xSquares![i * r + a]! + ySquares![i * r + b]!;
          const square = size - 2 * products[at]!;
          // Where little is left of large squares, the digits are in the differences.
          out[at] = square > 1e-4 * size ? Math.sqrt(square) : direct(i * r + a, i * r + b);
        } else out[at] = direct(i * r + a, i * r + b);
      }
    }
  }
  return out;
}

function squares({ data, nStimuli, nRepeats, nUnits }: Trials): Float64Array {
  return Float64Array.from({ length: nStimuli * nRepeats }, (_, i) => {
    const row = data.subarray(i * nUnits, (i + 1) * nUnits);
    return inner(row, row);
  });
}

function mean(values: Float64Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}

/** What the energy distance of aligned trials is. */
export interface EnergyScore {
  /** The root of `squared`; 0 if that is negative. */
  readonly distance: number;
  /** E|x - y| - (E|x - x'| + E|y - y'|) / 2: estimated without bias, so it can be below 0 for networks that do not differ. */
  readonly squared: number;
}

/**
 * The energy distance of the trials of two networks under a transformation of y's units, averaged
 * over stimuli.
 *
 *   sqrt(max(0, E|x - y T| - (E|x - x'| + E|y - y'|) / 2))
 *
 * E|x - y| is over all r^2 pairs of trials, E|x - x'| over the r (r - 1) / 2 pairs of different ones.
 *
 * @param transform - `[p, p]`, as fitted to these or other stimuli.
 * @throws As {@link fitEnergyShape}.
 *
 * Cost: 3 n r^2 p operations. Source: Szekely & Rizzo (2013), J. Stat. Plan. Inference 143.
 *
 * @example
 * import { createLinalg, matrix } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = { data: Float64Array.of(0, 1, 0, 1), nStimuli: 2, nRepeats: 2, nUnits: 1 };
 * const y = { ...x, data: Float64Array.of(5, 6, 5, 6) };
 * (await scoreEnergyShape(linalg, x, y, matrix(Float64Array.of(1), 1, 1))).squared // => 4
 */
export async function scoreEnergyShape(
  linalg: Linalg,
  x: Trials,
  y: Trials,
  transform: Dense,
): Promise<EnergyScore> {
  checkTrialPair("scoreEnergyShape", x, y);
  const aligned = await turned(linalg, y, transform);
  const between = mean(await pairDistances(linalg, x, aligned));
  const within = async (t: Trials): Promise<number> => {
    const { nRepeats: r } = t;
    // Pairs of a trial with itself are 0 and only counted.
    return (mean(await pairDistances(linalg, t, t)) * r) / (r - 1);
  };
  const squared = between - ((await within(x)) + (await within(aligned))) / 2;
  return { distance: Math.sqrt(Math.max(0, squared)), squared };
}

/**
 * The energy stochastic shape distance: {@link fitEnergyShape}, then {@link scoreEnergyShape}.
 *
 * @throws As {@link fitEnergyShape}.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = { data: Float64Array.of(0, 0, 1, 0, 3, 0, 2, 1), nStimuli: 2, nRepeats: 2, nUnits: 2 };
 * (await energyShapeDistance(linalg, x, x)).distance // => 0
 */
export async function energyShapeDistance(
  linalg: Linalg,
  x: Trials,
  y: Trials,
  options: EnergyShapeOptions = {},
): Promise<EnergyAlignment & EnergyScore> {
  const fitted = await fitEnergyShape(linalg, x, y, options);
  return { ...fitted, ...(await scoreEnergyShape(linalg, x, y, fitted.transform)) };
}

/**
 * Energy stochastic shape distances of all pairs of networks.
 *
 * @returns `[k, k]`, symmetric, zeros on the diagonal.
 * @throws As {@link fitEnergyShape}.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = { data: Float64Array.of(0, 0, 1, 0, 3, 0, 2, 1), nStimuli: 2, nRepeats: 2, nUnits: 2 };
 * (await energyShapeDistances(linalg, [x, x])).data.join(" ") // => "0 0 0 0"
 */
export async function energyShapeDistances(
  linalg: Linalg,
  networks: readonly Trials[],
  options: EnergyShapeOptions & {
    /** Called after each pair with how many of how many are done. */
    readonly onPair?: ((done: number, of: number) => void) | undefined;
  } = {},
): Promise<Dense> {
  const k = networks.length;
  const data = new Float64Array(k * k);
  let done = 0;
  for (let i = 0; i < k; i++) {
    for (let j = i + 1; j < k; j++) {
      const { distance } = await energyShapeDistance(linalg, networks[i]!, networks[j]!, options);
      data[i * k + j] = distance;
      data[j * k + i] = distance;
      options.onPair?.(++done, (k * (k - 1)) / 2);
    }
  }
  return { data, nRows: k, nColumns: k };
}
