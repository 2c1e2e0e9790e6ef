/**
 * `@penfield/localize/census-reader`: what it takes to read a census that is on disk. Nothing here loads a runtime of models.
 */
export type { NgramKind } from "./batch.ts";
export { Census, type CensusNgram, openCensus, type UnitPlace } from "./census.ts";
export type { UnitClass, UnitFamily, UnitType } from "./classify.ts";
export { type CensusContext, type ContextKind, contextKinds } from "./contexts.ts";
export {
  CENSUS_VERSION,
  type CensusHookMeta,
  type CensusMeta,
  files as censusFiles,
  quantileLevels,
  type UnitColumn,
  unitColumns,
} from "./format.ts";
export type { TokenKind } from "./source.ts";
export { openTokenReader, type TokenReader } from "./tokenReader.ts";
export {
  openUnitNotes,
  type UnitFacet,
  type UnitFacets,
  type UnitNeighbour,
  type UnitNeighbours,
  type UnitNoteKind,
  UnitNotes,
  type UnitWeights,
  unitNoteKinds,
  unitNotesStamp,
  writeUnitNotes,
} from "./unitNotes.ts";
