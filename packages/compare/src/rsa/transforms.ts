import { ArgumentError, DataError } from "@penfield/core";
import { quantile, rankData } from "@penfield/stats";
import { labelsOf, makeRdms, type Rdms, squareRdm } from "./rdms.ts";

/**
 * RDMs with each row of values replaced; NaN stay where they are.
 *
 * @param from - RDMs, not changed.
 * @param change - Takes the values of an RDM that are there, and returns as many.
 */
function mapRows(from: Rdms, change: (values: Float64Array, k: number) => ArrayLike<number>): Rdms {
  const data = from.data.slice();
  for (let k = 0; k < from.nRdms; k++) {
    const row = data.subarray(k * from.nPairs, (k + 1) * from.nPairs);
    const present = row.filter((v) => !Number.isNaN(v));
    const changed = change(present, k);
    let at = 0;
    for (let p = 0; p < row.length; p++) if (!Number.isNaN(row[p]!)) row[p] = changed[at++]!;
  }
  return makeRdms(data, from.nRdms, labelsOf(from));
}

/**
 * Each RDM's dissimilarities as ranks from 1, equal ones sharing their mean rank.
 *
 * @example
 * rankRdms(rdms([[0.1, 0.5, 0.5]])).data.join(" ") // => "1 2.5 2.5"
 */
export const rankRdms = (from: Rdms): Rdms => mapRows(from, (values) => rankData(values));

/**
 * Square roots; negative dissimilarities (as crossnobis gives) become 0.
 *
 * @example
 * sqrtRdms(rdms([[4, -1, 9]])).data.join(" ") // => "2 0 3"
 */
export const sqrtRdms = (from: Rdms): Rdms =>
  mapRows(from, (values) => values.map((v) => Math.sqrt(Math.max(0, v))));

/**
 * Negative dissimilarities become 0.
 *
 * @example
 * positiveRdms(rdms([[4, -1, 9]])).data.join(" ") // => "4 0 9"
 */
export const positiveRdms = (from: Rdms): Rdms =>
  mapRows(from, (values) => values.map((v) => Math.max(0, v)));

/**
 * Each RDM scaled to 0..1. An RDM whose dissimilarities are all equal becomes NaN.
 *
 * @example
 * minmaxRdms(rdms([[2, 4, 6]])).data.join(" ") // => "0 0.5 1"
 */
export const minmaxRdms = (from: Rdms): Rdms =>
  mapRows(from, (values) => {
    let low = Number.POSITIVE_INFINITY;
    let high = Number.NEGATIVE_INFINITY;
    for (const v of values) {
      if (v < low) low = v;
      if (v > high) high = v;
    }
    return values.map((v) => (v - low) / (high - low));
  });

/**
 * Any function of the dissimilarities of one RDM at a time.
 *
 * @example
 * transformRdms(rdms([[1, 2, 3]]), (d) => d * d).data.join(" ") // => "1 4 9"
 */
export const transformRdms = (from: Rdms, change: (d: number) => number): Rdms =>
  mapRows(from, (values) => values.map((v) => change(v)));

/**
 * The geo-topological transform: small dissimilarities become 0 and large ones 1, linear between. What is
 * nearly the same and what is merely far no longer counts; the neighbourhoods remain.
 *
 *   0 below the quantile `low`, 1 above `high`, (d - q_low) / (q_high - q_low) between
 *
 * @param from - RDMs; quantiles are those of all of them together (NaN left out), as in rsatoolbox. For RDMs on different
 *   scales transform each alone, or rank first ({@link topologicalRdms}).
 * @param low - 0 to 1.
 * @param high - Above low.
 * @throws {ArgumentError} if the quantiles are out of order.
 * @throws {DataError} if both quantiles are the same value.
 *
 * Source: Lin & Kriegeskorte (2024), PNAS 121:e2317881121. Matches rsatoolbox.rdm.geotopological_transform.
 *
 * @example
 * geotopologicalRdms(rdms([[1, 2, 3, 4, 5, 6]]), 0.2, 0.8).data.join(" ") // => "0 0 0.3333333333333333 0.6666666666666666 1 1"
 */
export function geotopologicalRdms(from: Rdms, low: number, high: number): Rdms {
  checkQuantiles("geotopologicalRdms", low, high);
  const values = from.data.filter((v) => !Number.isNaN(v));
  const bottom = quantile(values, low);
  const top = quantile(values, high);
  if (bottom === top) {
    throw new DataError(
      `geotopologicalRdms: expected different dissimilarities at the quantiles ${low} and ${high}, got ${top} at both`,
    );
  }
  return transformRdms(from, (d) => clamp((d - bottom) / (top - bottom)));
}

function checkQuantiles(name: string, low: number, high: number): void {
  if (!(low >= 0 && low < high && high <= 1)) {
    throw new ArgumentError(`${name}: expected 0 <= low < high <= 1, got ${low} and ${high}`);
  }
}

const clamp = (v: number): number => Math.max(0, Math.min(1, v));

/**
 * Shortest paths along the graph of all pairs but the farthest: distance along the manifold.
 *
 * Each RDM is scaled to 0..1; the pairs at exactly 1 are left out.
 *
 * @param from - RDMs without NaN.
 * @returns Infinity between conditions that no path joins; NaN for an RDM that does not vary.
 * @throws {DataError} if an RDM has NaN.
 *
 * Cost: n^3 per RDM (Floyd-Warshall).
 * Source: Lin & Kriegeskorte (2024). As rsatoolbox.rdm.geodesic_transform, whose graph library also takes pairs at
 * exactly 0 for unconnected.
 *
 * @example
 * geodesicRdms(rdms([[1, 3, 2]])).data.join(" ") // => "0 0.5 0.5"
 */
export function geodesicRdms(
  from: Rdms,
  { compat = "exact" }: { compat?: "exact" | "rsatoolbox" } = {},
): Rdms {
  checkComplete("geodesicRdms", from);
  return mapRows(minmaxRdms(from), (values) => {
    if (values.length === 0) return values;
    return shortestPaths(
      values.map((v) => (v === 1 || (compat === "rsatoolbox" && v === 0) ? Infinity : v)),
    );
  });
}

/** Throws if a pair is missing. */
function checkComplete(name: string, { data, nPairs }: Rdms): void {
  const at = data.findIndex(Number.isNaN);
  if (at >= 0) {
    throw new DataError(
      `${name}: expected RDMs without NaN, got one in RDM ${Math.floor(at / nPairs)}`,
      {
        hint: "Leave the condition out with takeConditions.",
      },
    );
  }
}

/** Lengths of shortest paths between all pairs; Infinity where there is no edge, or no path. */
export function shortestPaths(edges: Float64Array): Float64Array {
  const square = squareRdm(edges);
  const n = square.nRows;
  const { data } = square;
  for (let k = 0; k < n; k++) {
    for (let i = 0; i < n; i++) {
      const first = data[i * n + k]!;
      if (first === Number.POSITIVE_INFINITY) continue;
      for (let j = 0; j < n; j++) {
        const through = first + data[k * n + j]!;
        if (through < data[i * n + j]!) data[i * n + j] = through;
      }
    }
  }
  const out = new Float64Array(edges.length);
  let at = 0;
  for (let i = 0; i < n; i++) for (let j = i + 1; j < n; j++) out[at++] = data[i * n + j]!;
  return out;
}

/** How dissimilarities become a mixture of geometry and topology. */
export type TopologicalTransform =
  | { readonly kind: "piecewise"; readonly low?: number; readonly high?: number }
  | { readonly kind: "sigmoid"; readonly slope?: number; readonly centre?: number };

/**
 * The geo-topological transform of topological RSA (tRSA): ranks scaled to 0..1, then thresholds or a soft step.
 *
 *   piecewise   0 below the quantile low of the ranks, 1 above high, linear between   (defaults .2 and .8)
 *   sigmoid     1 / (1 + exp(-slope (x - centre)))                (defaults 10 and .5)
 *
 * @param from - RDMs; each is transformed on its own.
 * @throws {ArgumentError} if low is not below high.
 *
 * Source: Lin & Kriegeskorte (2024), PNAS 121:e2317881121.
 *
 * @example
 * topologicalRdms(rdms([[1, 2, 3, 4, 5, 6]]), { kind: "piecewise" }).data.map((v) => Math.round(v * 100)).join(" ") // => "0 0 33 67 100 100"
 */
export function topologicalRdms(
  from: Rdms,
  transform: TopologicalTransform = { kind: "piecewise" },
): Rdms {
  const ranks = minmaxRdms(rankRdms(from));
  if (transform.kind === "piecewise") {
    const { low = 0.2, high = 0.8 } = transform;
    checkQuantiles("topologicalRdms", low, high);
    return mapRows(ranks, (values) => {
      if (values.length === 0) return values;
      const bottom = quantile(values, low);
      const top = quantile(values, high);
      // Where ties put both quantiles on one rank, what lies on it counts as near.
      return values.map((x) =>
        top > bottom ? clamp((x - bottom) / (top - bottom)) : Number(x > top),
      );
    });
  }
  const { slope = 10, centre = 0.5 } = transform;
  return transformRdms(ranks, (x) => 1 / (1 + Math.exp(-slope * (x - centre))));
}

/** Which pairs are edges of the graph whose shortest paths are taken. */
export type GeodesicGraph =
  /** The share `p` of shortest pairs. */
  | { readonly kind: "shortest"; readonly p: number }
  /** Pairs of which one is among the k nearest of the other. */
  | { readonly kind: "nearest"; readonly k: number };

/**
 * The geodesic transform of topological RSA: ranks, a graph of the short pairs, shortest paths, ranks again.
 *
 * @param from - RDMs; each is transformed on its own.
 * @param graph - Which pairs are joined.
 * @param options.compat - `reference` loses the pair of lowest rank (its edge has length 0) and, of `nearest`, takes the
 *   pair i < j only if j is near i, so that the graph depends on the order of conditions. Default `exact`.
 * @returns Ranks from 1; pairs that no path joins share the highest. NaN for an RDM that does not vary.
 * @throws {ArgumentError} if p is outside 0..1 or k is not within 1..nConditions - 1.
 * @throws {DataError} if an RDM has NaN.
 *
 * Cost: n^3 per RDM.
 * Source: Lin & Kriegeskorte (2024), PNAS 121:e2317881121; `reference`: their published code.
 *
 * @example
 * geodesicRankRdms(rdms([[1, 5, 6, 2, 4, 3]]), { kind: "shortest", p: 0.5 }).data.join(" ") // => "1 2.5 5.5 2.5 5.5 4"
 */
export function geodesicRankRdms(
  from: Rdms,
  graph: GeodesicGraph,
  { compat = "exact" }: { compat?: "exact" | "reference" } = {},
): Rdms {
  const n = from.nConditions;
  if (graph.kind === "shortest" ? !(graph.p >= 0 && graph.p <= 1) : !isWithin(graph.k, 1, n - 1)) {
    throw new ArgumentError(
      `geodesicRankRdms: expected ${graph.kind === "shortest" ? "p within 0..1" : `k within 1..${n - 1}`}, got ${graph.kind === "shortest" ? graph.p : graph.k}`,
    );
  }
  checkComplete("geodesicRankRdms", from);
  const oneWay = compat === "reference";
  const ranks = rankRdms(from);
  // Doubled ranks are whole numbers, whose sums are exact: paths of equal length stay tied.
  const lengths = oneWay ? minmaxRdms(ranks) : lessLeast(transformRdms(ranks, (rank) => 2 * rank));
  return mapRows(lengths, (values) => {
    if (values.every((v) => v === 0)) return values.map(() => Number.NaN);
    const edges =
      graph.kind === "shortest" ? below(values, graph.p) : nearest(values, graph.k, oneWay);
    return rankData(shortestPaths(oneWay ? edges.map((v) => (v === 0 ? Infinity : v)) : edges));
  });
}

const lessLeast = (from: Rdms): Rdms =>
  mapRows(from, (values) => {
    let least = Infinity;
    for (const v of values) if (v < least) least = v;
    return values.map((v) => v - least);
  });

const isWithin = (k: number, low: number, high: number): boolean =>
  Number.isInteger(k) && k >= low && k <= high;

function below(values: Float64Array, p: number): Float64Array {
  const longest = quantile(values, p);
  return values.map((v) => (v > longest ? Infinity : v));
}

/** Edges to the k nearest, of equally near ones those that come first. */
function nearest(values: Float64Array, k: number, oneWay: boolean): Float64Array {
  const { data, nRows: n } = squareRdm(values, Infinity);
  const isNear = Array.from({ length: n }, (_, i) => {
    const order = Array.from({ length: n }, (_, j) => j);
    order.sort((a, b) => data[i * n + a]! - data[i * n + b]! || a - b);
    return new Set(order.filter((j) => j !== i).slice(0, k));
  });
  const out = values.slice();
  let at = 0;
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++, at++) {
      if (!isNear[i]!.has(j) && (oneWay || !isNear[j]!.has(i))) out[at] = Infinity;
    }
  }
  return out;
}
