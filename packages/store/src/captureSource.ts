import type { EncodedCorpus } from "./encode.ts";
import type { StoredHook, StoreIndex } from "./storeIndex.ts";

/** Values at a hook point: `[text, token, ...]`, tokens padded to the longest; of last tokens alone `[text, ...]`. */
export interface RunValues {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** What is captured: a model with everything that it is to run. */
export interface CaptureSource {
  readonly model: StoreIndex["model"];
  readonly corpus: EncodedCorpus;
  readonly hooks: readonly StoredHook[];
  /** What tokens are called in a report of progress. */
  readonly unit: string;
  /** Texts may not share a run. */
  readonly alone: boolean;
  /** Runs some texts, by their places in the corpus. */
  run(texts: readonly number[], last: boolean): Promise<ReadonlyMap<string, RunValues>>;
}
