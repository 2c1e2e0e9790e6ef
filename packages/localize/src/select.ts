import { ArgumentError } from "@penfield/core";
import { rankData } from "@penfield/stats";
import type { UnitMap } from "./contrast.ts";
import { type UnitSet, unitSet } from "./unitSet.ts";

/** How many units, from where, and which come first. */
export interface SelectOptions {
  /** How many units: of the whole model, or of each layer with `scope: "per-layer"`. */
  readonly k?: number | undefined;
  /** Or how many per hundred, rounded down. Default 1 when `k` is not given. */
  readonly percent?: number | undefined;
  /** Rank the units of all layers together (`global`, default), or take k of each layer. */
  readonly scope?: "global" | "per-layer" | undefined;
  /** Equal values share a rank and are kept together, so that more than k may come out (`dense`, default), or exactly k, lower indices first (`exact`). */
  readonly ties?: "dense" | "exact" | undefined;
  /** Largest first (`positive`, default), smallest first (`negative`), or farthest from 0 first (`both`). */
  readonly direction?: "positive" | "negative" | "both" | undefined;
}

/**
 * The most selective units of a contrast.
 *
 * @param t - Values to rank, [nLayers, nUnits], such as `contrast(...).t`.
 * @param options.k - How many; or
 * @param options.percent - k = floor(percent / 100 * nUnits * nLayers). Default 1.
 * @param options.scope - `global` (default) or `per-layer` (k or percent of each layer).
 * @param options.ties - `dense` (default, as published): units whose dense rank is among the first k, so
 *   equal values at any place make room for more than k. `exact`: k units, of equal ones the lower index.
 * @param options.direction - `positive` (default, as published), `negative` or `both`.
 * @returns Units with a NaN come after all others (in `dense`, all as one rank). Nothing is cut off at 0 or by p:
 *   look at q for that.
 * @throws {ArgumentError} if both k and percent are given, none would be selected, or more than there are.
 *
 * Cost: O(n log n).
 * Source: AlKhamissi et al. (2025), released code: `np.unique(-t, return_inverse=True)`, rank < k.
 *
 * @example
 * selectUnits(unitMap(new Float64Array([0.5, 3, -4, 2]), 2, 2), { k: 2 }).indices.join(" ") // => "1 3"
 */
export function selectUnits(
  t: UnitMap,
  { k, percent, scope = "global", ties = "dense", direction = "positive" }: SelectOptions = {},
): UnitSet {
  const [nLayers, nUnits] = t.shape;
  oneOf("scope", scope, ["global", "per-layer"]);
  oneOf("ties", ties, ["dense", "exact"]);
  oneOf("direction", direction, ["positive", "negative", "both"]);
  const layersAtOnce = scope === "global" ? nLayers : 1;
  const count = countOf(k, percent, nUnits, layersAtOnce);
  // Smallest score first; -0 and 0 are equal to the comparison below.
  const score = t.data.map((v) =>
    direction === "negative" ? v : -(direction === "both" ? Math.abs(v) : v),
  );
  const chosen: number[] = [];
  for (let layer = 0; layer < nLayers; layer += layersAtOnce) {
    const start = layer * nUnits;
    const part = score.subarray(start, start + layersAtOnce * nUnits);
    for (const i of ties === "dense" ? firstRanks(part, count) : firstIndices(part, count)) {
      chosen.push(start + i);
    }
  }
  return unitSet(nLayers, nUnits, chosen);
}

function oneOf(what: string, value: string, allowed: readonly string[]): void {
  if (!allowed.includes(value)) {
    throw new ArgumentError(
      `selectUnits: expected ${what} to be one of ${allowed.join(", ")}, got ${value}`,
    );
  }
}

function countOf(
  k: number | undefined,
  percent: number | undefined,
  nUnits: number,
  nLayers: number,
): number {
  if (k !== undefined && percent !== undefined) {
    throw new ArgumentError("selectUnits: expected k or percent, got both");
  }
  const total = nUnits * nLayers;
  if (k !== undefined) {
    if (Number.isInteger(k) && k >= 1 && k <= total) return k;
    throw new ArgumentError(`selectUnits: expected k within 1..${total}, got ${k}`);
  }
  const share = percent ?? 1;
  // The order of the products is that of the published code: another one rounds differently.
  const count = Math.floor((share / 100) * nUnits * nLayers);
  if (count >= 1 && share <= 100) return count;
  throw new ArgumentError(
    `selectUnits: expected a percentage that gives 1 to ${total} units, got ${share} %, which is ${count}`,
    { hint: "Ask for a number of units with k." },
  );
}

/** Indices whose dense rank is among the first k; all NaN share the last rank. */
function firstRanks(score: Float64Array, k: number): number[] {
  const ranks = rankData(
    score.map((v) => (Number.isNaN(v) ? Number.POSITIVE_INFINITY : v)),
    "dense",
  );
  const kept: number[] = [];
  ranks.forEach((rank, i) => {
    if (rank <= k) kept.push(i);
  });
  return kept;
}

/** The k indices of the smallest scores; equal ones by index, NaN last. */
function firstIndices(score: Float64Array, k: number): number[] {
  const order = Array.from(score, (_, i) => i);
  const key = score.map((v) => (Number.isNaN(v) ? Number.POSITIVE_INFINITY : v));
  // Array sorting is stable, so equal keys stay in index order.
  order.sort((i, j) => (key[i]! < key[j]! ? -1 : key[i]! > key[j]! ? 1 : 0));
  return order.slice(0, k);
}
