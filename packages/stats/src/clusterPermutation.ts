import { ArgumentError, createRng, permutation, ShapeError, type Tensor } from "@penfield/core";
import { checkCount, checkValues } from "./check.ts";
import type { Tail } from "./permutation.ts";
import { studentTQuantile } from "./special.ts";

/** For each point, the points next to it. */
export type Neighbours = readonly ArrayLike<number>[];

/** How a cluster test is made. */
export interface ClusterTestOptions {
  /**
   * Points with |t| above this belong to clusters. Default: the t with p = 0.05 by itself (two-sided for a
   * two-sided test, else one-sided).
   */
  readonly threshold?: number | undefined;
  /** Default "two-sided": clusters of either sign, each of one sign. */
  readonly tail?: Tail | undefined;
  /** Default: a line, each point next to the one before and the one after. */
  readonly neighbours?: Neighbours | undefined;
  /** How many random flips or orders, when there are more than can be enumerated. Default 1000. */
  readonly nDraws?: number | undefined;
  /** Up to this many flips all are looked at and p is exact. Default 8192. */
  readonly exactUpTo?: number | undefined;
  /** Default 0. */
  readonly seed?: number | undefined;
}

/** Neighbouring points that deviate in one direction. */
export interface Cluster {
  /** Ascending. */
  readonly points: Int32Array;
  /** The sum of t over its points. */
  readonly statistic: number;
  /** Corrected for all points: how often chance gave a cluster as strong anywhere. */
  readonly p: number;
}

/** Where there is an effect, as far as clusters can say. */
export interface ClusterTest {
  /** [nPoints]; NaN where no subject differs from another. */
  readonly t: Float64Array;
  readonly clusters: readonly Cluster[];
  /** 0 outside clusters, else the place of the cluster in `clusters` plus 1, [nPoints]. */
  readonly labels: Int32Array;
  /** The strongest cluster (its |sum of t|) of each flip or order, the observed one first if exact. */
  readonly nulls: Float64Array;
  readonly threshold: number;
  /** Whether all flips were looked at. */
  readonly exact: boolean;
}

/**
 * Neighbours on a line of n points: time samples, say.
 *
 * @example
 * lineNeighbours(3).map((near) => near.join("")).join(" ") // => "1 02 1"
 */
export function lineNeighbours(n: number): readonly Int32Array[] {
  return Array.from({ length: n }, (_, i) =>
    Int32Array.from([i - 1, i + 1].filter((j) => j >= 0 && j < n)),
  );
}

/**
 * Neighbours on a grid, each point next to four: train time by test time, or time by frequency.
 *
 * @returns One list per point, points in row-major order.
 *
 * @example
 * gridNeighbours(2, 2).map((near) => near.join("")).join(" ") // => "12 03 03 12"
 */
export function gridNeighbours(nRows: number, nColumns: number): readonly Int32Array[] {
  return Array.from({ length: nRows * nColumns }, (_, at) => {
    const column = at % nColumns;
    const near = [];
    if (at >= nColumns) near.push(at - nColumns);
    if (column > 0) near.push(at - 1);
    if (column < nColumns - 1) near.push(at + 1);
    if (at < (nRows - 1) * nColumns) near.push(at + nColumns);
    return Int32Array.from(near);
  });
}

/**
 * Neighbours of sensors at samples: a point is next to the same sensor one sample on, and to neighbouring
 * sensors at the same sample.
 *
 * @param sensors - For each sensor, the sensors next to it.
 * @param nTimes - How many samples.
 * @returns One list per point `sensor * nTimes + time`.
 *
 * @example
 * spaceTimeNeighbours([[1], [0]], 2).map((near) => near.join("")).join(" ") // => "12 03 03 12"
 */
export function spaceTimeNeighbours(sensors: Neighbours, nTimes: number): readonly Int32Array[] {
  return Array.from({ length: sensors.length * nTimes }, (_, at) => {
    const time = at % nTimes;
    const sensor = Math.floor(at / nTimes);
    const near = Array.from(sensors[sensor]!, (other) => other * nTimes + time);
    if (time > 0) near.push(at - 1);
    if (time < nTimes - 1) near.push(at + 1);
    return Int32Array.from(near).sort();
  });
}

/**
 * Where do values over subjects differ from zero? Points are tested together: neighbours with a large t form a cluster,
 * its strength is the sum of their t, and chance is what flipping the signs of whole subjects gives as the strongest
 * cluster anywhere.
 *
 * @param data - `[nSubjects, nPoints]`, nSubjects >= 2, finite: differences, or scores less chance.
 * @param options - Threshold, neighbours, flips.
 * @returns A small p says that there is an effect somewhere. It does not say that the cluster's border is where the effect ends.
 * @throws {ShapeError} if there are fewer than 2 subjects, or not one list of neighbours per point.
 * @throws {ArgumentError} if a value is not finite or an option is out of range.
 *
 * A two-sided exact test looks at 2^(nSubjects - 1) flips (the others mirror them), a one-sided one at 2^nSubjects;
 * p is then the share of all of them, the observed one included. Drawn: (1 + #) / (1 + nDraws).
 *
 * Cost: O(nFlips nSubjects nPoints).
 * Source: Maris & Oostenveld (2007), J Neurosci Methods 164:177-190. t and clusters match MNE's
 * `permutation_cluster_1samp_test`. MNE's `n_permutations="all"` leaves one flip out at random, so its p are in steps of
 * 1 / (2^(n-1) - 1); here all flips are taken.
 *
 * @example
 * const rows = [0, 1, 2, 3, 4, 5].map((s) => [0.1 * (-1) ** s, 2 + 0.1 * s, 2 - 0.2 * s, 0.2 * (-1) ** s]);
 * const { clusters } = clusterTest(tensor(Float64Array.from(rows.flat()), ["subject", "point"], [6, 4]));
 * clusters.map(({ points, p }) => `${points.join(",")}: ${p}`).join() // => "1,2: 0.03125"
 */
export function clusterTest(
  data: Tensor<readonly [string, string]>,
  options: ClusterTestOptions = {},
): ClusterTest {
  const name = "clusterTest";
  const [nSubjects, nPoints] = data.shape;
  const plan = planOf(name, options, nSubjects - 1, nPoints);
  checkSubjects(name, data, 2);
  const squares = new Float64Array(nPoints);
  for (let i = 0; i < data.data.length; i++) squares[i % nPoints]! += data.data[i]! ** 2;
  const tOf = (signs: Int8Array, out: Float64Array): void => {
    out.fill(0);
    for (let s = 0; s < nSubjects; s++) {
      const at = s * nPoints;
      const sign = signs[s]!;
      for (let j = 0; j < nPoints; j++) out[j]! += sign * data.data[at + j]!;
    }
    for (let j = 0; j < nPoints; j++) {
      const mean = out[j]! / nSubjects;
      const rest = squares[j]! - nSubjects * mean * mean;
      out[j] = isNothing(rest, squares[j]!)
        ? Number.NaN
        : mean / Math.sqrt(rest / (nSubjects - 1) / nSubjects);
    }
  };
  const mirrored = plan.tail === "two-sided";
  const nAll = 2 ** (nSubjects - (mirrored ? 1 : 0));
  const exact = nAll <= plan.exactUpTo;
  const rng = createRng(plan.seed);
  const signs = new Int8Array(nSubjects).fill(1);
  return judge(plan, exact, exact ? nAll : plan.nDraws, (draw, out) => {
    for (let s = 0; s < nSubjects; s++) {
      // In a mirrored enumeration the last subject keeps its sign.
      signs[s] = draw < 0 ? 1 : (exact ? Math.floor(draw / 2 ** s) % 2 : rng.below(2)) ? -1 : 1;
    }
    tOf(signs, out);
  });
}

/**
 * Where do two groups of subjects differ? As {@link clusterTest}, with t of two samples (pooled variance) and group labels
 * that change places.
 *
 * @param a - `[nSubjectsA, nPoints]`, at least 2 subjects.
 * @param b - `[nSubjectsB, nPoints]`, other subjects.
 * @param options - As {@link clusterTest}; orders are always drawn.
 * @throws {ShapeError} if the groups differ in their points or are too small.
 * @throws {ArgumentError} if a value is not finite or an option is out of range.
 *
 * Cost: O(nDraws nSubjects nPoints).
 * Source: Maris & Oostenveld (2007), J Neurosci Methods 164:177-190.
 *
 * @example
 * const group = (level) => tensor(Float64Array.from({ length: 24 }, (_, i) => (i % 3 === 1 ? level : 0) + Math.sin(i + level)), ["subject", "point"], [8, 3]);
 * clusterTestTwoSamples(group(4), group(0), { nDraws: 99 }).clusters[0].points.join() // => "1"
 */
export function clusterTestTwoSamples(
  a: Tensor<readonly [string, string]>,
  b: Tensor<readonly [string, string]>,
  options: ClusterTestOptions = {},
): ClusterTest {
  const name = "clusterTestTwoSamples";
  const [nA, nPoints] = a.shape;
  const nB = b.shape[0];
  if (b.shape[1] !== nPoints) {
    throw new ShapeError(`${name}: expected ${nPoints} points in b as in a, got ${b.shape[1]}`);
  }
  const n = nA + nB;
  const plan = planOf(name, options, n - 2, nPoints);
  checkSubjects(name, a, 2);
  checkSubjects(name, b, 2);
  const all = new Float64Array(n * nPoints);
  all.set(a.data);
  all.set(b.data, nA * nPoints);
  const squares = new Float64Array(nPoints);
  const totals = new Float64Array(nPoints);
  for (let i = 0; i < all.length; i++) {
    squares[i % nPoints]! += all[i]! ** 2;
    totals[i % nPoints]! += all[i]!;
  }
  const rng = createRng(plan.seed);
  const identity = Int32Array.from({ length: n }, (_, i) => i);
  return judge(plan, false, plan.nDraws, (draw, out) => {
    const order = draw < 0 ? identity : permutation(n, rng);
    out.fill(0);
    for (let i = 0; i < nA; i++) {
      const at = order[i]! * nPoints;
      for (let j = 0; j < nPoints; j++) out[j]! += all[at + j]!;
    }
    for (let j = 0; j < nPoints; j++) {
      const meanA = out[j]! / nA;
      const meanB = (totals[j]! - out[j]!) / nB;
      const rest = squares[j]! - nA * meanA * meanA - nB * meanB * meanB;
      out[j] = isNothing(rest, squares[j]!)
        ? Number.NaN
        : (meanA - meanB) / Math.sqrt((rest / (n - 2)) * (1 / nA + 1 / nB));
    }
  });
}

/** What rounding leaves of a variance that is zero. */
const isNothing = (rest: number, square: number): boolean => !(rest > 1e-13 * square);

interface Plan {
  readonly tail: Tail;
  readonly threshold: number;
  readonly neighbours: Neighbours;
  readonly nDraws: number;
  readonly exactUpTo: number;
  readonly seed: number;
  readonly nPoints: number;
}

function planOf(
  name: string,
  {
    threshold,
    tail = "two-sided",
    neighbours,
    nDraws = 1000,
    exactUpTo = 8192,
    seed = 0,
  }: ClusterTestOptions,
  df: number,
  nPoints: number,
): Plan {
  if (tail !== "greater" && tail !== "less" && tail !== "two-sided") {
    throw new ArgumentError(`${name}: expected tail greater, less or two-sided, got ${tail}`);
  }
  checkCount(name, "nDraws", nDraws, 1);
  checkCount(name, "exactUpTo", exactUpTo, 0);
  checkCount(name, "nPoints", nPoints, 1);
  if (threshold !== undefined && !(threshold > 0 && Number.isFinite(threshold))) {
    throw new ArgumentError(`${name}: expected a threshold above 0, got ${threshold}`);
  }
  if (neighbours !== undefined && neighbours.length !== nPoints) {
    throw new ShapeError(
      `${name}: expected a list of neighbours for each of ${nPoints} points, got ${neighbours.length}`,
    );
  }
  for (const [point, near] of (neighbours ?? []).entries()) {
    for (let k = 0; k < near.length; k++) {
      if (Number.isInteger(near[k]) && near[k]! >= 0 && near[k]! < nPoints) continue;
      throw new ArgumentError(
        `${name}: expected neighbours within 0..${nPoints - 1}, got ${near[k]} for point ${point}`,
      );
    }
  }
  return {
    tail,
    threshold:
      threshold ??
      (df < 1 ? Number.NaN : studentTQuantile(tail === "two-sided" ? 0.975 : 0.95, df)),
    neighbours: neighbours ?? lineNeighbours(nPoints),
    nDraws,
    exactUpTo,
    seed,
    nPoints,
  };
}

function checkSubjects(name: string, data: Tensor<readonly [string, string]>, least: number): void {
  if (data.shape[0] < least) {
    throw new ShapeError(`${name}: expected at least ${least} subjects, got ${data.shape[0]}`);
  }
  checkValues(name, data.data, 1);
}

/** @param fill - Writes t of a draw, or of the data as they are (draw -1). */
function judge(
  plan: Plan,
  exact: boolean,
  nDraws: number,
  fill: (draw: number, out: Float64Array) => void,
): ClusterTest {
  const t = new Float64Array(plan.nPoints);
  fill(-1, t);
  const found = findClusters(t, plan);
  const drawn = new Float64Array(plan.nPoints);
  const nulls = new Float64Array(nDraws);
  for (let draw = 0; draw < nDraws; draw++) {
    fill(draw, drawn);
    nulls[draw] = strongest(findClusters(drawn, plan));
  }
  const labels = new Int32Array(plan.nPoints);
  const clusters = found.map(({ points, statistic }, c) => {
    for (const point of points) labels[point] = c + 1;
    // Equal sums in another order differ in their last bits.
    const least = Math.abs(statistic) * (1 - 1e-12);
    const count = nulls.reduce((sum, value) => sum + (value >= least ? 1 : 0), 0);
    return {
      points: Int32Array.from(points).sort(),
      statistic,
      p: exact ? count / nDraws : (1 + count) / (1 + nDraws),
    };
  });
  return { t, clusters, labels, nulls, threshold: plan.threshold, exact };
}

interface Found {
  readonly points: readonly number[];
  readonly statistic: number;
}

const strongest = (clusters: readonly Found[]): number =>
  clusters.reduce((most, { statistic }) => Math.max(most, Math.abs(statistic)), 0);

/** Clusters in the order of their first points. */
function findClusters(t: Float64Array, { tail, threshold, neighbours }: Plan): Found[] {
  const sideOf = (value: number): number =>
    value > threshold && tail !== "less" ? 1 : value < -threshold && tail !== "greater" ? -1 : 0;
  const seen = new Uint8Array(t.length);
  const found: Found[] = [];
  for (let start = 0; start < t.length; start++) {
    const side = sideOf(t[start]!);
    if (side === 0 || seen[start]) continue;
    seen[start] = 1;
    const points = [start];
    let statistic = 0;
    for (let at = 0; at < points.length; at++) {
      const point = points[at]!;
      statistic += t[point]!;
      const near = neighbours[point]!;
      for (let k = 0; k < near.length; k++) {
        const other = near[k]!;
        if (seen[other] || sideOf(t[other]!) !== side) continue;
        seen[other] = 1;
        points.push(other);
      }
    }
    found.push({ points, statistic });
  }
  return found;
}
