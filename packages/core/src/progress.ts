/** A report of long work on its way. */
export interface Progress {
  /** What is being done, in the user's words: "reading activations". */
  readonly stage: string;
  /** How much of it is done, of `total`, in `unit`s. */
  readonly done: number;
  readonly total: number;
  readonly unit: string;
}

export type OnProgress = (progress: Progress) => void;

/** Options that every long-running function takes. */
export interface LongWork {
  readonly onProgress?: OnProgress | undefined;
  readonly signal?: AbortSignal | undefined;
}
