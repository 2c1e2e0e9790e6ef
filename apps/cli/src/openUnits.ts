import type { OnProgress } from "@penfield/core";
import { HookedModel } from "@penfield/hooks";
import { modelPath } from "./shipped.ts";

/** Opens the model whose units are counted or described. Identity is not checked: nothing is changed in it. */
export const openUnits = (
  name: string,
  options: {
    readonly file: string | undefined;
    readonly threads: number | undefined;
    readonly untrained?: number | undefined;
  },
  onProgress: OnProgress,
): Promise<HookedModel> =>
  HookedModel.fromPretrained(modelPath(name), { ...options, verify: "none", onProgress });
