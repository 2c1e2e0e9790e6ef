import { ArgumentError } from "@penfield/core";
import type { Intervention, InterventionOp } from "@penfield/hooks";
import { type UnitKind, type UnitSet, unitHook, unitsByLayer } from "@penfield/localize";

/**
 * The interventions that do one thing to every unit of a set, at every position.
 *
 * @param kind - Or the hook point of each layer: of a spiking network its populations' `.spikes`.
 * @param op - Default: silence (`zero`).
 *
 * @example
 * import { unitSet } from "@penfield/localize";
 * lesionOf(unitSet(2, 4, [1, 6]), "resid").map((i) => i.hook).join(" ") // => "blocks.0.hook_resid_post blocks.1.hook_resid_post"
 */
export function lesionOf(
  units: UnitSet,
  kind: UnitKind | readonly string[],
  op: InterventionOp = { type: "zero" },
): Intervention[] {
  return unitsByLayer(units).flatMap((chosen, layer): Intervention[] =>
    chosen.length === 0
      ? []
      : [
          kind === "heads"
            ? { hook: unitHook(kind, layer), op, heads: chosen }
            : { hook: hookOf(kind, layer), op, units: chosen },
        ],
  );
}

/** Every hook point that a lesion of this kind may touch, for `wired`. */
export function lesionHooks(kind: UnitKind | readonly string[], nLayers: number): string[] {
  return Array.from({ length: nLayers }, (_, layer) => hookOf(kind, layer));
}

function hookOf(kind: UnitKind | readonly string[], layer: number): string {
  if (typeof kind === "string") return unitHook(kind, layer);
  const hook = kind[layer];
  if (hook !== undefined) return hook;
  throw new ArgumentError(
    `lesionOf: expected a hook point for each layer, got ${kind.length} for layer ${layer}`,
  );
}
