import { ArgumentError, DataError, ShapeError } from "@penfield/core";
import { symmetricEigen } from "@penfield/linalg";
import { checkWhole, type Dense } from "../similarity/pair.ts";

/** Checks a matrix of distances: square, finite, symmetric, zeros on the diagonal, none negative. */
function checkDistances(name: string, d: Dense, least = 1): number {
  const n = d.nRows;
  if (d.nColumns !== n || n < least) {
    throw new ShapeError(
      `${name}: expected a square matrix of at least ${least} networks, got ${d.nRows} x ${d.nColumns}`,
    );
  }
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      const v = d.data[i * n + j]!;
      const off = Math.abs(v - d.data[j * n + i]!);
      if (!(v >= 0 && Number.isFinite(v)) || off > 1e-9 * Math.max(1, v) || (i === j && v !== 0)) {
        throw new DataError(
          `${name}: expected finite distances, symmetric with zeros on the diagonal, got ${v} at ${i}, ${j}`,
          { hint: "Leave out networks whose distances are not defined." },
        );
      }
    }
  }
  return n;
}

/** Points whose distances are like those given. */
export interface MdsEmbedding {
  /** `[n, nDimensions]`, centred, by descending variance; each axis with its largest entry positive. */
  readonly points: Dense;
  /** Of the double-centred matrix, descending, `[n]`. Negative ones: the distances are not Euclidean. */
  readonly eigenvalues: Float64Array;
  /** The share of the absolute eigenvalues that the dimensions shown account for. */
  readonly explained: number;
}

/**
 * Classical multidimensional scaling: points in few dimensions whose distances approximate the given ones.
 *
 *   B = -H D^2 H / 2,  points = the leading eigenvectors of B times the roots of their eigenvalues
 *
 * @param distances - `[n, n]`, symmetric.
 * @param options.nDimensions - Default 2.
 * @returns Fewer dimensions are filled with zeros where eigenvalues are not positive.
 * @throws {ShapeError} if the matrix is not square.
 * @throws {DataError} if it is no matrix of distances.
 * @throws {ArgumentError} if nDimensions is no whole number above 0.
 *
 * Cost: an eigendecomposition of `[n, n]`. Source: Torgerson (1952), Psychometrika 17.
 *
 * @example
 * import { matrix } from "@penfield/linalg";
 * const line = matrix(Float64Array.of(0, 1, 3, 1, 0, 2, 3, 2, 0), 3, 3);
 * classicalMds(line, { nDimensions: 1 }).explained.toFixed(9) // => "1.000000000"
 */
export function classicalMds(
  distances: Dense,
  { nDimensions = 2 }: { nDimensions?: number | undefined } = {},
): MdsEmbedding {
  const n = checkDistances("classicalMds", distances);
  checkWhole("classicalMds", "nDimensions", nDimensions, 1);
  const b = distances.data.map((d) => (-d * d) / 2);
  const means = new Float64Array(n);
  let all = 0;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) means[i]! += b[i * n + j]! / n;
    all += means[i]! / n;
  }
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) b[i * n + j]! += all - means[i]! - means[j]!;
  }
  const { values, vectors } = symmetricEigen({ data: b, nRows: n, nColumns: n });
  const points = new Float64Array(n * nDimensions);
  let shown = 0;
  for (let k = 0; k < Math.min(n, nDimensions); k++) {
    const size = Math.sqrt(Math.max(0, values[k]!));
    shown += Math.max(0, values[k]!);
    const axis = vectors.data.subarray(k * n, (k + 1) * n);
    const largest = axis.reduce((most, v) => (Math.abs(v) > Math.abs(most) ? v : most), 0);
    const sign = largest < 0 ? -1 : 1;
    for (let i = 0; i < n; i++) points[i * nDimensions + k] = sign * size * axis[i]!;
  }
  const total = values.reduce((sum, v) => sum + Math.abs(v), 0);
  return {
    points: { data: points, nRows: n, nColumns: nDimensions },
    eigenvalues: values,
    explained: total === 0 ? Number.NaN : shown / total,
  };
}

/** Groups around networks that stand for them. */
export interface MedoidClusters {
  /** The networks in the middle of the clusters, ascending, `[k]`. */
  readonly medoids: Int32Array;
  /** For each network the cluster it is in, as a place in `medoids`. */
  readonly clusters: Int32Array;
  /** The sum of distances to medoids. */
  readonly cost: number;
}

/**
 * k-medoids: groups of networks, each around the member that is nearest to the others in it.
 *
 * Starts greedily and swaps medoids with others while that helps; no random numbers.
 *
 * @param distances - `[n, n]`, symmetric.
 * @param k - How many clusters, 1 to n.
 * @throws {ShapeError} if the matrix is not square.
 * @throws {DataError} if it is no matrix of distances.
 * @throws {ArgumentError} if k is out of range.
 *
 * Cost: O(k n^2) per swap. Source: Kaufman & Rousseeuw (1990), Finding Groups in Data, ch. 2 (PAM). A local optimum.
 *
 * @example
 * import { matrix } from "@penfield/linalg";
 * const line = matrix(Float64Array.of(0, 1, 9, 1, 0, 8, 9, 8, 0), 3, 3);
 * kMedoids(line, 2).clusters.join(" ") // => "0 0 1"
 */
export function kMedoids(distances: Dense, k: number): MedoidClusters {
  const n = checkDistances("kMedoids", distances);
  checkWhole("kMedoids", "k", k, 1, n);
  const d = distances.data;
  const costOf = (medoids: readonly number[]): number => {
    let sum = 0;
    for (let i = 0; i < n; i++) {
      let least = Number.POSITIVE_INFINITY;
      for (const m of medoids) least = Math.min(least, d[i * n + m]!);
      sum += least;
    }
    return sum;
  };
  let medoids: number[] = [];
  for (let step = 0; step < k; step++) {
    medoids = bestOf(
      Array.from({ length: n }, (_, i) => [...medoids, i]).filter(
        (m) => new Set(m).size === m.length,
      ),
      costOf,
    ).medoids;
  }
  let cost = costOf(medoids);
  for (;;) {
    const swaps = medoids.flatMap((_, at) =>
      Array.from({ length: n }, (_, i) => i)
        .filter((i) => !medoids.includes(i))
        .map((i) => medoids.map((m, place) => (place === at ? i : m))),
    );
    if (swaps.length === 0) break;
    const best = bestOf(swaps, costOf);
    if (!(best.cost < cost - 1e-12 * Math.max(1, cost))) break;
    ({ medoids, cost } = best);
  }
  medoids.sort((a, b) => a - b);
  const clusters = Int32Array.from({ length: n }, (_, i) => {
    let nearest = 0;
    medoids.forEach((m, c) => {
      if (d[i * n + m]! < d[i * n + medoids[nearest]!]!) nearest = c;
    });
    return nearest;
  });
  return { medoids: Int32Array.from(medoids), clusters, cost };
}

function bestOf(
  candidates: readonly (readonly number[])[],
  costOf: (medoids: readonly number[]) => number,
): { medoids: number[]; cost: number } {
  let best = { medoids: [...candidates[0]!], cost: costOf(candidates[0]!) };
  for (const medoids of candidates.slice(1)) {
    const cost = costOf(medoids);
    if (cost < best.cost) best = { medoids: [...medoids], cost };
  }
  return best;
}

/** How well networks' neighbours tell an attribute. */
export interface NeighbourPrediction<Value> {
  /** For each network what its neighbours say. */
  readonly predicted: readonly Value[];
  /** Share right for labels; 1 - residual over total sum of squares for numbers. */
  readonly score: number;
}

/**
 * Predicts an attribute of each network from the networks nearest to it, itself left out: labels by
 * majority, numbers by the mean.
 *
 * @param distances - `[n, n]`, symmetric, n >= 2.
 * @param values - One label or number per network.
 * @param options.k - How many neighbours. Default 1.
 * @returns Ties of labels go to the one whose neighbour is nearest. The score of numbers that are all equal is NaN.
 * @throws {ShapeError} if there are not as many values as networks.
 * @throws {DataError} if it is no matrix of distances.
 * @throws {ArgumentError} if k is out of range.
 *
 * Cost: n sorts. Source: Williams et al. (2021), NeurIPS, sec. 3 (predicting attributes of architectures from distances).
 *
 * @example
 * import { matrix } from "@penfield/linalg";
 * const line = matrix(Float64Array.of(0, 1, 9, 9, 1, 0, 9, 9, 9, 9, 0, 1, 9, 9, 1, 0), 4, 4);
 * predictFromNeighbours(line, ["a", "a", "b", "b"]).score // => 1
 */
export function predictFromNeighbours<Value extends string | number>(
  distances: Dense,
  values: readonly Value[],
  { k = 1 }: { k?: number | undefined } = {},
): NeighbourPrediction<Value> {
  const name = "predictFromNeighbours";
  const n = checkDistances(name, distances, 2);
  checkWhole(name, "k", k, 1, n - 1);
  if (values.length !== n) {
    throw new ShapeError(`${name}: expected ${n} values, got ${values.length}`);
  }
  const numeric = values.every((v) => typeof v === "number");
  if (numeric && values.some((v) => !Number.isFinite(v))) {
    throw new ArgumentError(`${name}: expected finite values, got ${values.join(", ")}`);
  }
  const predicted = values.map((_, i) => {
    const nearest = Array.from({ length: n }, (_, j) => j)
      .filter((j) => j !== i)
      .sort((a, b) => distances.data[i * n + a]! - distances.data[i * n + b]! || a - b)
      .slice(0, k)
      .map((j) => values[j]!);
    if (numeric) return (sum(nearest as number[]) / k) as Value;
    const votes = (v: Value) => nearest.filter((other) => other === v).length;
    return nearest.reduce((best, v) => (votes(v) > votes(best) ? v : best));
  });
  if (!numeric) {
    return { predicted, score: predicted.filter((v, i) => v === values[i]).length / n };
  }
  const numbers = values as readonly number[];
  const mean = sum(numbers) / n;
  const left = sum(numbers.map((v, i) => (v - (predicted[i] as number)) ** 2));
  const all = sum(numbers.map((v) => (v - mean) ** 2));
  return { predicted, score: all === 0 ? Number.NaN : 1 - left / all };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, v) => total + v, 0);
}

/** How a matrix of distances keeps the triangle inequality. */
export interface TriangleCheck {
  /** How many of the n (n - 1) (n - 2) / 2 inequalities d(i, j) <= d(i, k) + d(k, j) fail. */
  readonly nViolations: number;
  readonly nInequalities: number;
  /** The greatest d(i, j) - d(i, k) - d(k, j); negative or 0 if none fails. -Infinity for fewer than 3 networks. */
  readonly worst: number;
}

/**
 * Checks the triangle inequality for all triples: a measure that is a metric keeps it.
 *
 * @param distances - `[n, n]`, symmetric.
 * @param options.tolerance - What exceeds by no more is rounding. Default 1e-9 of the largest distance.
 * @throws {ShapeError} if the matrix is not square.
 * @throws {DataError} if it is no matrix of distances.
 *
 * Cost: n^3 / 2 comparisons.
 *
 * @example
 * import { matrix } from "@penfield/linalg";
 * triangleCheck(matrix(Float64Array.of(0, 1, 3, 1, 0, 1, 3, 1, 0), 3, 3)).worst // => 1
 */
export function triangleCheck(
  distances: Dense,
  { tolerance }: { tolerance?: number | undefined } = {},
): TriangleCheck {
  const n = checkDistances("triangleCheck", distances);
  const d = distances.data;
  const slack = tolerance ?? 1e-9 * d.reduce((most, v) => Math.max(most, v), 0);
  let worst = Number.NEGATIVE_INFINITY;
  let nViolations = 0;
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) {
      for (let k = 0; k < n; k++) {
        if (k === i || k === j) continue;
        const over = d[i * n + j]! - d[i * n + k]! - d[k * n + j]!;
        worst = Math.max(worst, over);
        if (over > slack) nViolations++;
      }
    }
  }
  return { nViolations, nInequalities: (n * (n - 1) * (n - 2)) / 2, worst };
}
