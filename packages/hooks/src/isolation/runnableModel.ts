import type { HookedModel } from "../transformer/model.ts";

/**
 * What an analysis needs of a model, wherever it runs: `HookedModel` in this process, `IsolatedModel`
 * in one of its own. A function that takes a `RunnableModel` works with both.
 */
export interface RunnableModel
  extends Pick<
    HookedModel,
    | "cfg"
    | "hookPoints"
    | "tokenizer"
    | "sha256"
    | "identity"
    | "listHooks"
    | "hookPoint"
    | "requireTokenizer"
    | "run"
    | "runWithCache"
    | "runWithInterventions"
    | "dispose"
  > {}
