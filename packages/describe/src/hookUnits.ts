import { DataError } from "@penfield/core";
import type { Census } from "@penfield/localize";

/**
 * All units of the hooks that some units of a census are of, in that census or in another one.
 *
 * @throws {DataError} if the other census has none of the hooks.
 */
export function unitsOfHooks(
  census: Census,
  units: readonly number[],
  { other = census, caller }: { readonly other?: Census | undefined; readonly caller: string },
): number[] {
  const hooks = new Set(units.map((unit) => census.place(unit).hook.name));
  const found = other.meta.hooks
    .filter(({ name }) => hooks.has(name))
    .flatMap(({ firstUnit, nUnits }) => Array.from({ length: nUnits }, (_, i) => firstUnit + i));
  if (found.length > 0 || hooks.size === 0) return found;
  throw new DataError(
    `${caller}: expected a random model's census with ${[...hooks].join(", ")}, got ${other.meta.hooks.map(({ name }) => name).join(", ")}`,
  );
}
