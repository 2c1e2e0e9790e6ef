import { DataError, type Rng, sampleWithoutReplacement } from "@penfield/core";

/** Of how many times as many of the nearest units random ones are drawn. */
const POOL = 3;

/**
 * Sets of random units of a hook, of the size of the one in question, each unit drawn from those whose size is nearest to that of the unit it stands
 * for.
 *
 * @param sizes - What units are matched on, `[nUnits]`.
 * @throws {DataError} if the hook has too few other units.
 */
export function matchedUnits(
  units: readonly number[],
  sizes: ArrayLike<number>,
  nSets: number,
  rng: Rng,
): number[][] {
  const own = new Set(units);
  const others = Array.from({ length: sizes.length }, (_, unit) => unit).filter(
    (unit) => !own.has(unit),
  );
  if (others.length < units.length || others.length === 0) {
    throw new DataError(
      `matchedUnits: expected at least ${Math.max(1, units.length)} other units at the hook, got ${others.length}`,
    );
  }
  const nearest = units.map((unit) =>
    [...others].sort(
      (a, b) => Math.abs(sizes[a]! - sizes[unit]!) - Math.abs(sizes[b]! - sizes[unit]!) || a - b,
    ),
  );
  if (units.length === 1) {
    // One unit: no random one twice.
    const pool = nearest[0]!.slice(0, POOL * nSets);
    const n = Math.min(nSets, pool.length);
    return Array.from(sampleWithoutReplacement(pool.length, n, rng), (i) => [pool[i]!]);
  }
  return Array.from({ length: nSets }, () => {
    const taken = new Set<number>();
    for (const list of nearest) {
      const free = list.filter((unit) => !taken.has(unit)).slice(0, POOL * nSets);
      taken.add(free[rng.below(free.length)]!);
    }
    return [...taken];
  });
}
