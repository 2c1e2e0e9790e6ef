import type { NgramKind } from "./batch.ts";
import type { TokenKind } from "./source.ts";
import type { ContextCounts } from "./state.ts";

export const CENSUS_VERSION = 1;

/** Columns of `units.f32`, `[nColumns, nUnits]`; the last are quantiles, at what their names say. */
export const unitColumns = [
  "mean",
  "variance",
  "skewness",
  "kurtosis",
  "min",
  "max",
  "meanAbs",
  "frequency",
  "meanActive",
  "hoyer",
  "documentShare",
  "q0.001",
  "q0.01",
  "q0.05",
  "q0.1",
  "q0.25",
  "q0.5",
  "q0.75",
  "q0.9",
  "q0.95",
  "q0.99",
  "q0.999",
] as const;

export type UnitColumn = (typeof unitColumns)[number];

/** Levels of the quantile columns, in their order. */
export const quantileLevels: readonly number[] = unitColumns
  .filter((name) => /^q\d/.test(name))
  .map((name) => Number(name.slice(1)));

/** A hook point in a census: its units are `firstUnit` to `firstUnit` + `nUnits` - 1. */
export interface CensusHookMeta {
  readonly name: string;
  readonly layer: number | null;
  readonly nUnits: number;
  readonly firstUnit: number;
  /** A value above it counts as active. */
  readonly threshold: number;
  readonly histogram: readonly [low: number, high: number];
}

/** `meta.json`: what the files of a census hold. Written last: where it is, the census is complete. */
export interface CensusMeta {
  readonly format: "penfield-census";
  readonly version: number;
  readonly model: { readonly name: string; readonly sha256: string };
  readonly hooks: readonly CensusHookMeta[];
  readonly nUnits: number;
  readonly nDocuments: number;
  readonly nTokens: number;
  readonly nKeptTokens: number;
  /** Of the documents' tokens, in their order. */
  readonly corpusSha256: string;
  /** Of the source and the options: a census is only resumed with the same ones. */
  readonly identity: string;
  readonly vocabularySize: number;
  /** Left out where it is `language`, as in all censuses of before there were symbols; `Census.tokenKind` has it always. */
  readonly tokens?: TokenKind | undefined;
  readonly columns: readonly string[];
  readonly histogramBars: number;
  readonly nPositionBins: number;
  readonly positionsPerBin: number;
  readonly contexts: ContextCounts;
  readonly contextBytes: number;
  readonly window: number;
  /** Bins into which the sampled contexts fall by their value, equally many in each. */
  readonly nBins: number;
  readonly ngramKinds: readonly NgramKind[];
  readonly ngramsPerKind: number;
  /** How far quantiles may be off. */
  readonly quantileError: { readonly relative: number; readonly absolute: number };
  readonly seed: number;
  readonly keepShare: number;
  readonly batchTokens: number;
  readonly activeMeans: string;
}

/** The little-endian arrays of a census. */
export const files = {
  units: "units.f32",
  active: "active.f64",
  histogram: "histogram.u32",
  positionTokens: "positionTokens.f64",
  positionActive: "positionActive.u32",
  positionMean: "positionMean.f32",
  tokenCounts: "tokenCounts.u32",
  previousCounts: "previousCounts.u32",
  ngramKeys: "ngramKeys.f64",
  ngramCounts: "ngramCounts.u32",
  ngramLost: "ngramLost.u32",
  contexts: "contexts.bin",
  tokens: "tokens.u32",
  starts: "documents.u32",
  documents: "documents.jsonl",
  kept: "keptTokens.u32",
  segments: "segments.u32",
  values: "values.u8",
  scales: "scales.f32",
  vocabulary: "vocabulary.json",
} as const;

/** Those that grow while the corpus is read. */
export const growing = [
  "tokens",
  "starts",
  "documents",
  "kept",
  "segments",
  "values",
  "scales",
] as const;
