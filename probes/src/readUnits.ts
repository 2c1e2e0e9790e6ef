import { tensor } from "@penfield/core";
import type { HookedModel } from "@penfield/hooks";
import { type LayerActivations, type ReadUnitsOptions, readUnits } from "@penfield/localize";
import type { ProbeContext } from "./probe.ts";
import { scopedStore } from "./workStore.ts";

/** Reads units for texts, or takes them from an interrupted run. */
export async function readUnitsOnce(
  model: HookedModel,
  texts: readonly string[],
  key: string,
  options: ReadUnitsOptions,
  { work: store, onProgress, signal }: ProbeContext,
): Promise<LayerActivations> {
  const work = scopedStore(store, [model.sha256, texts, options]);
  const known = await work.getArray(key);
  if (known?.shape.length === 3 && known.shape[0] === texts.length) {
    const [nTexts, nLayers, nUnits] = known.shape as [number, number, number];
    return tensor(known.data, ["stimulus", "layer", "unit"], [nTexts, nLayers, nUnits]);
  }
  const values = await readUnits(model, texts, { ...options, onProgress, signal });
  await work.putArray(key, values.data as Float32Array, values.shape);
  return values;
}
