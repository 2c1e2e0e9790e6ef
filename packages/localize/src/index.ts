export {
  type Contrast,
  contrast,
  type LayerActivations,
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
