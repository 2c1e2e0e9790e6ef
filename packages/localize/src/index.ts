export type { NgramKind } from "./census/batch.ts";
export {
  Census,
  type CensusNgram,
  type KeptTokens,
  openCensus,
  type UnitPlace,
} from "./census/census.ts";
export {
  type ClassifyOptions,
  type Coverage,
  classifyUnits,
  type TokenLabels,
  type UnitClass,
  type UnitFamily,
  type UnitType,
  unitTypes,
} from "./census/classify.ts";
export type { CensusContext, ContextKind } from "./census/contexts.ts";
export type { FacetName } from "./census/facetNames.ts";
export {
  type Facet,
  type FacetOptions,
  type Facets,
  facetsOf,
  unitFacets,
} from "./census/facets.ts";
export { spellingOf, type TokenFamily, tokenFamilies } from "./census/families.ts";
export type { CensusHookMeta, CensusMeta, UnitColumn } from "./census/format.ts";
export {
  type HeavierSideOptions,
  type HeavierSideSource,
  heavierSide,
  type TurnedHook,
} from "./census/heavierSide.ts";
export { topicLabels } from "./census/labels.ts";
export { type GroupCounts, logOddsZ } from "./census/logOdds.ts";
export {
  adjustedRandIndex,
  balancedKMeans,
  coactivation,
  modularity,
  type Partition,
  partitionUnits,
} from "./census/partition.ts";
export { type PlantedOptions, type PlantedUnit, plantedSource } from "./census/planted.ts";
export {
  circularShiftP,
  type PositionalInformation,
  positionalInformation,
} from "./census/positional.ts";
export { type ByteScale, byteScale } from "./census/quantize.ts";
export {
  type CensusHook,
  type ModelSourceOptions,
  modelSource,
  type TokenKind,
  type UnitSource,
} from "./census/source.ts";
export { type Dormancy, dormancy, dormancyOf, hoyerSparseness } from "./census/sparseness.ts";
export {
  type SpikingSource,
  type SpikingSourceOptions,
  type SymbolWindow,
  spikingSource,
} from "./census/spikingSource.ts";
export type { ContextCounts } from "./census/state.ts";
export { type CensusDocument, type CensusOptions, takeCensus } from "./census/takeCensus.ts";
export type { UnitFacet, UnitFacets } from "./census/unitNotes.ts";
export {
  type CompareUnitsOptions,
  censusBlocks,
  compareUnits,
  type UnitBlock,
  type UnitComparison,
  type UniversalUnits,
  universalUnits,
} from "./census/universality.ts";
export {
  type OutputRole,
  outputRoles,
  type WeightStatistics,
  type WeightStatisticsOptions,
  weightStatistics,
} from "./census/weightStatistics.ts";
export {
  type Contrast,
  contrast,
  type LayerActivations,
  type UnitActivations,
  type UnitMap,
  unitMap,
} from "./contrast.ts";
export {
  complementRandom,
  layerMatchedRandom,
  leastSelective,
  percentileRange,
} from "./controls.ts";
export {
  type CrossValidateOptions,
  type CrossValidation,
  crossValidate,
  type HeldOutFold,
  type LocalizerSplit,
} from "./crossValidate.ts";
export type { EffectIntervals } from "./heldOutEffect.ts";
export { type LocalizerStimuli, multipleDemandStimuli } from "./multipleDemand.ts";
export {
  batchesByLength,
  type ReadUnitsOptions,
  readUnits,
  type UnitKind,
  unitHook,
  unitKinds,
} from "./readUnits.ts";
export { type SelectOptions, selectUnits } from "./select.ts";
export {
  difference,
  fromMask,
  intersect,
  jaccard,
  perLayerCounts,
  toMask,
  type UnitSet,
  union,
  unitSet,
  unitsByLayer,
} from "./unitSet.ts";
