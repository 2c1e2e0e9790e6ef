import type { Intervention, InterventionOp } from "@penfield/hooks";
import { type UnitKind, type UnitSet, unitHook, unitsByLayer } from "@penfield/localize";

/**
 * The interventions that do one thing to every unit of a set, at every position.
 *
 * @param op - Default: silence (`zero`).
 *
 * @example
 * import { unitSet } from "@penfield/localize";
 * lesionOf(unitSet(2, 4, [1, 6]), "resid").map((i) => i.hook).join(" ") // => "blocks.0.hook_resid_post blocks.1.hook_resid_post"
 */
export function lesionOf(
  units: UnitSet,
  kind: UnitKind,
  op: InterventionOp = { type: "zero" },
): Intervention[] {
  return unitsByLayer(units).flatMap((chosen, layer): Intervention[] =>
    chosen.length === 0
      ? []
      : [
          kind === "heads"
            ? { hook: unitHook(kind, layer), op, heads: chosen }
            : { hook: unitHook(kind, layer), op, units: chosen },
        ],
  );
}

/** Every hook point that a lesion of this kind may touch, for `wired`. */
export function lesionHooks(kind: UnitKind, nLayers: number): string[] {
  return Array.from({ length: nLayers }, (_, layer) => unitHook(kind, layer));
}
