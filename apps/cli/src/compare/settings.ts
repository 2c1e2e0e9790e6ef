import type { PairMeasure } from "./measures.ts";

/** What both forms of the verb are told. */
export interface CompareSettings {
  /** Undefined: what is usual. */
  readonly measures: readonly PairMeasure[] | undefined;
  readonly all: boolean;
  readonly known: readonly PairMeasure[];
  readonly rdmMethod: string;
  readonly shuffles: number | undefined;
  readonly seed: number;
  readonly threads: number | undefined;
  readonly resume: boolean;
  readonly json: boolean;
}
