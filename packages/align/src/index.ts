export {
  type CompareUnitSetsOptions,
  compareUnitSets,
  type UnitSetComparison,
} from "./compareUnitSets.ts";
export {
  type ClassificationOptions,
  type ClassificationScore,
  classificationScore,
} from "./decoding/classificationScore.ts";
export {
  type ClassifierName,
  type ClassifierOptions,
  classifierNames,
} from "./decoding/classifiers.ts";
export {
  type LeaveTwoOut,
  leaveTwoOut,
  type MatchCosts,
  type MatchMetric,
  type MatchOptions,
  type MatchScore,
  matchCosts,
  matchPredictions,
  type Patterns,
  type SegmentIdentification,
  type SplitHalfIdentification,
  segmentIdentification,
  splitHalfIdentification,
} from "./decoding/matching.ts";
export type { TrialOptions } from "./decoding/trials.ts";
export {
  type EncodingInterval,
  type EncodingOptions,
  type EncodingPermutation,
  type EncodingScore,
  encodingScore,
  type HeldOutPredictor,
  type RegressorContext,
} from "./encodingScore.ts";
export {
  type AutocorrelationFloor,
  type AutocorrelationOptions,
  autocorrelationFeatures,
  autocorrelationFloor,
} from "./floors/autocorrelationFloor.ts";
export { describeFolds, type FoldDescription } from "./floors/describeFolds.ts";
export { positionLengthFloor } from "./floors/positionLengthFloor.ts";
export {
  type FloorMaterial,
  floorFeatures,
  projectFeatures,
  randomFeatures,
} from "./floors/randomFeatures.ts";
export {
  type FloorStimuli,
  type FrequencyOptions,
  textFloor,
  wordFrequencyFloor,
} from "./floors/textFloors.ts";
export {
  contiguousFolds,
  type Fold,
  groupedFolds,
  shuffledFolds,
  sklearnGroupFolds,
  sklearnShuffleSplits,
  stratifiedFolds,
} from "./folds.ts";
export {
  type Candidate,
  type Identification,
  type IdentificationPoint,
  type Identified,
  type IdentifyMethod,
  type IdentifyOptions,
  type IdentifyWork,
  identify,
  type Rate,
} from "./identify/identify.ts";
export { ridgeMethod } from "./identify/methods.ts";
export {
  type Behaviour,
  type DirectInterface,
  type DirectInterfaceOptions,
  directInterface,
  type InterfaceCell,
} from "./interface/directInterface.ts";
export {
  type BrainScore,
  type BrainScoreOptions,
  type BrainScorePipeline,
  type BrainScoreRecipe,
  brainScore,
  brainScoreRecipes,
  type InternalConsistency,
  internalConsistency,
} from "./recipes/brainScore.ts";
export {
  type AttentionEncoder,
  type AttentionEncoderOptions,
  type AttentionPredictions,
  predictAttention,
  type TokenActivations,
  trainAttentionEncoder,
} from "./regression/attentionEncoder.ts";
export {
  type BandedRidgeModel,
  type BandedRidgeOptions,
  bandedRidgeCv,
  predictBands,
} from "./regression/bandedRidge.ts";
export {
  type Kernel,
  type KernelRidgeModel,
  type KernelRidgeOptions,
  kernelRidgeCv,
  predictKernels,
} from "./regression/kernelRidge.ts";
export {
  type LeastSquaresOptions,
  leastSquares,
  principalComponentRegression,
} from "./regression/leastSquares.ts";
export { type NearestUnitModel, nearestUnit } from "./regression/nearestUnit.ts";
export {
  type PartialLeastSquaresOptions,
  partialLeastSquares,
} from "./regression/partialLeastSquares.ts";
export {
  heldOutPredictor,
  type Regressor,
  type RegressorName,
  type RegressorOptions,
  regressors,
} from "./regression/regressors.ts";
export {
  type LinearModel,
  predict,
  type Responses,
  type RidgeModel,
  type RidgeOptions,
  type RidgePenalties,
  ridgeCv,
  ridgePenalties,
  ridgePredictions,
} from "./regression/ridgeCv.ts";
export {
  npyTargets,
  type RidgeStreamOptions,
  type RidgeStreamResult,
  ridgeCvStream,
  type TargetSource,
} from "./regression/ridgeCvStream.ts";
export {
  correlationSplit,
  type JointScore,
  predictionScores,
  r2Split,
  relativeWeights,
  type SpaceShares,
  shareOfCeiling,
  type VarianceRegion,
  variancePartition,
} from "./regression/scoreSplits.ts";
export { type RidgeScore, ridgeScores } from "./regression/scores.ts";
export {
  type StackedOptions,
  type StackedPredictions,
  type StackingWeights,
  stackedRidge,
  stackingWeights,
} from "./regression/stacking.ts";
export { dirichletWeights, type WeightOptions } from "./regression/weightSearch.ts";
export {
  type FeatureOfMisses,
  type NamedFeatures,
  type ResidualAnalysis,
  type ResidualOptions,
  residualAnalysis,
} from "./residuals/residualAnalysis.ts";
export { type GpSrm, type GpSrmOptions, gpSrm } from "./shared/gpSrm.ts";
export {
  alignSubject,
  type EmbeddingConsistency,
  embeddingConsistency,
  hyperalign,
  orthogonalProcrustes,
  type Procrustes,
  projectToShared,
  type SegmentMatching,
  type SubjectMap,
  timeSegmentMatching,
} from "./shared/hyperalign.ts";
export {
  type Isc,
  type IscInterval,
  type IscMethod,
  type IscNull,
  type IscOptions,
  type IscSummary,
  type IscTest,
  type IscTestOptions,
  isc,
  iscBootstrap,
  iscGroupTest,
  iscTest,
  isfc,
} from "./shared/isc.ts";
export type { SubjectSeries } from "./shared/series.ts";
export {
  type DetSrm,
  detSrm,
  type SharedSpace,
  type Srm,
  type SrmOptions,
  srm,
} from "./shared/srm.ts";
export {
  predictResponse,
  type ResponseSeries,
  type StimulusSeries,
  type TemporalResponse,
  type TemporalResponseOptions,
  temporalResponse,
} from "./timeResolved/temporalResponse.ts";
export {
  type TimeDecoding,
  type TimeDecodingOptions,
  type TimeGeneralization,
  timeDecoding,
  timeGeneralization,
} from "./timeResolved/timeGeneralization.ts";
export {
  type EpochedResponses,
  type PeakLatency,
  peakLatency,
  type TimeResolvedEncoding,
  timeResolvedEncoding,
} from "./timeResolved/timeResolvedEncoding.ts";
