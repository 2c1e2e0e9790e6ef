import { createRng, permutation } from "@penfield/core";
import { toMask, type UnitSet, unitSet } from "@penfield/localize";

/** Candidates among which each unit's match is drawn. */
const NEAREST = 3;

/**
 * A random set of other units with the set's firing rates: for each unit, in random order, one of the three unused units
 * outside the set whose rates are nearest.
 *
 * @param rates - One per unit.
 */
export function rateMatchedRandom(units: UnitSet, rates: ArrayLike<number>, seed: number): UnitSet {
  const free = new Set(Array.from(toMask(units)).flatMap((inside, i) => (inside ? [] : [i])));
  const rng = createRng(seed, 5_000_000);
  const chosen: number[] = [];
  for (const k of permutation(units.indices.length, rng)) {
    const rate = rates[units.indices[k]!]!;
    const near = [...free]
      .sort((a, b) => Math.abs(rates[a]! - rate) - Math.abs(rates[b]! - rate) || a - b)
      .slice(0, NEAREST);
    const match = near[rng.below(near.length)]!;
    free.delete(match);
    chosen.push(match);
  }
  return unitSet(units.nLayers, units.nUnits, chosen);
}
