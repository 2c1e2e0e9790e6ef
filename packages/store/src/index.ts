export {
  ActivationStore,
  type OpenActivationsOptions,
  openActivations,
  type RowPlace,
  type RowRange,
} from "./activationStore.ts";
export { type CaptureOptions, type CaptureSummary, captureActivations } from "./capture.ts";
export { type Corpus, type CorpusItem, loadCorpus } from "./corpus.ts";
export { toFloat16 } from "./float16.ts";
export type { Positions, Shard, StoredHook, StoreIndex, StoreType } from "./storeIndex.ts";
