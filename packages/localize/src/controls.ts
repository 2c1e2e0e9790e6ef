import { ArgumentError, createRng, numpyRandom, permutation } from "@penfield/core";
import { quantile } from "@penfield/stats";
import type { UnitMap } from "./contrast.ts";
import { selectUnits } from "./select.ts";
import { perLayerCounts, toMask, type UnitSet, unitSet } from "./unitSet.ts";

/** The flat indices, ascending, of the units that are not in the set. */
function outside(units: UnitSet): number[] {
  const indices: number[] = [];
  toMask(units).forEach((inside, i) => {
    if (inside === 0) indices.push(i);
  });
  return indices;
}

/**
 * Random units from outside a set, over the whole model, as the published random ablations drew them.
 *
 * Reproduces, unit for unit (numpy's legacy generator):
 *
 *     np.random.seed(seed)
 *     np.random.choice(np.flatnonzero(mask.ravel() == 0), size=k, replace=False)
 *
 * @param units - The set to stay out of.
 * @param k - How many; published: as many as the set has.
 * @param seed - 0 .. 2^32 - 1; published: 42, 43 and 44.
 * @throws {ArgumentError} if k is more than there are outside, or less than 1.
 *
 * These units lie in other layers than the set's: see {@link layerMatchedRandom} for a control that does not differ in depth.
 * Source: AlKhamissi et al. (2025), released code.
 *
 * @example
 * complementRandom(unitSet(2, 5, [0, 9]), 3, 42).indices.join(" ") // => "1 2 6"
 */
export function complementRandom(units: UnitSet, k: number, seed: number): UnitSet {
  const candidates = outside(units);
  checkDraw("complementRandom", k, candidates.length, "units outside the set");
  return unitSet(units.nLayers, units.nUnits, numpyRandom(seed).choice(candidates, k));
}

function checkDraw(name: string, k: number, most: number, where: string): void {
  if (!(Number.isInteger(k) && k >= 1 && k <= most)) {
    throw new ArgumentError(`${name}: expected k within 1..${most} (${where}), got ${k}`);
  }
}

/**
 * Random units from outside a set, as many in each layer as the set has there: a control that
 * differs from the set in nothing but the units.
 *
 * @param units - The set to match and stay out of.
 * @param seed - Any whole number.
 * @throws {ArgumentError} if a layer has too few units outside the set.
 *
 * @example
 * perLayerCounts(layerMatchedRandom(unitSet(2, 8, [0, 1, 12]), 7)).join(" ") // => "2 1"
 */
export function layerMatchedRandom(units: UnitSet, seed: number): UnitSet {
  const { nLayers, nUnits } = units;
  const mask = toMask(units);
  const rng = createRng(seed);
  const chosen: number[] = [];
  perLayerCounts(units).forEach((count, layer) => {
    if (2 * count > nUnits) {
      throw new ArgumentError(
        `layerMatchedRandom: expected at most half of each layer in the set, got ${count} of ${nUnits} units in layer ${layer}`,
        { hint: "Select fewer units, or use complementRandom." },
      );
    }
    let left = count;
    for (const unit of permutation(nUnits, rng)) {
      const index = layer * nUnits + unit;
      if (left === 0) break;
      if (mask[index] === 1) continue;
      chosen.push(index);
      left--;
    }
  });
  return unitSet(nLayers, nUnits, chosen);
}

/**
 * The k units at the other end of a contrast.
 *
 * @param t - [nLayers, nUnits].
 * @param k - How many ranks; equal values share one, so more units may come out.
 * @param options.by - `t` (default, as published with `--localize-range 0-0`): the smallest t, which are the units that prefer
 *   the control stimuli. `size`: those whose t is nearest to 0.
 * @throws {ArgumentError} if k is out of range.
 *
 * @example
 * leastSelective(unitMap(new Float64Array([0.5, 3, -4, 2]), 2, 2), 1).indices.join(" ") // => "2"
 * leastSelective(unitMap(new Float64Array([0.5, 3, -4, 2]), 2, 2), 1, { by: "size" }).indices.join(" ") // => "0"
 */
export function leastSelective(
  t: UnitMap,
  k: number,
  { by = "t" }: { by?: "t" | "size" } = {},
): UnitSet {
  if (by !== "t" && by !== "size") {
    throw new ArgumentError(`leastSelective: expected by to be t or size, got ${by}`);
  }
  const values = by === "size" ? { ...t, data: t.data.map(Math.abs) } : t;
  return selectUnits(values, { k, direction: "negative" });
}

/**
 * Random units whose t lies between two percentiles, as the published `--localize-range low-high` drew them.
 *
 * Reproduces, unit for unit (numpy's legacy generator and linear percentiles):
 *
 *     np.random.seed(seed)
 *     inside = (t >= np.percentile(t, low)) & (t <= np.percentile(t, high))
 *     np.random.choice(np.flatnonzero(inside), size=k, replace=False)
 *
 * @param t - [nLayers, nUnits]. Units with a NaN are left out, also of the percentiles (numpy would select none at all).
 * @param k - How many.
 * @param low - Percentile, 0..100.
 * @param high - Percentile, above `low`.
 * @param seed - 0 .. 2^32 - 1.
 * @throws {ArgumentError} if the percentiles are out of order or fewer than k units lie between them.
 *
 * @example
 * percentileRange(unitMap(new Float64Array([1, 2, 3, 4]), 2, 2), 2, 50, 100, 42).indices.join(" ") // => "2 3"
 */
export function percentileRange(
  t: UnitMap,
  k: number,
  low: number,
  high: number,
  seed: number,
): UnitSet {
  if (!(low >= 0 && low < high && high <= 100)) {
    throw new ArgumentError(
      `percentileRange: expected 0 <= low < high <= 100, got ${low} and ${high}`,
    );
  }
  const numbers = t.data.filter((v) => !Number.isNaN(v));
  const from = quantile(numbers, low / 100);
  const to = quantile(numbers, high / 100);
  const candidates: number[] = [];
  t.data.forEach((value, i) => {
    if (value >= from && value <= to) candidates.push(i);
  });
  checkDraw(
    "percentileRange",
    k,
    candidates.length,
    `units between percentiles ${low} and ${high}`,
  );
  return unitSet(t.shape[0], t.shape[1], numpyRandom(seed).choice(candidates, k));
}
