export {
  type CompareUnitSetsOptions,
  compareUnitSets,
  type UnitSetComparison,
} from "./compareUnitSets.ts";
export { type EncodingOptions, type EncodingScore, encodingScore } from "./encodingScore.ts";
export { contiguousFolds, type Fold, groupedFolds } from "./folds.ts";
export {
  type Identification,
  type IdentificationOptions,
  identificationRate,
} from "./identificationRate.ts";
export { positionLengthFloor } from "./positionLengthFloor.ts";
export {
  predict,
  type Responses,
  type RidgeModel,
  type RidgeOptions,
  ridgeCv,
} from "./regression/ridgeCv.ts";
export { type RidgeScore, ridgeScores } from "./regression/scores.ts";
