export {
  type DelayDmd,
  type DelayDmdOptions,
  delayDmd,
  type Trajectories,
} from "./dynamics/dmd.ts";
export {
  type DsaOptions,
  dsa,
  eigenvalueDistance,
  type OperatorAlignment,
  type OperatorAlignmentOptions,
  operatorDistance,
} from "./dynamics/dsa.ts";
export { compareRdmPair, compareTrajectories, compareTrials } from "./flagged.ts";
export { measures } from "./measures.ts";
export {
  cknna,
  cycleKnn,
  knnJaccard,
  lcsKnn,
  mutualKnn,
  type Nearness,
  type NeighbourOptions,
  rankJaccard,
  rankSimilarity,
  secondOrderCosine,
} from "./neighbours/nearest.ts";
export {
  type Invariance,
  type MeasureInfo,
  type MeasureKind,
  type RdmComparisonMeasure,
  type RdmMeasure,
  type RepresentationMeasure,
  sampleWarning,
} from "./registry.ts";
export { calcRdm, type RdmMethod, type RdmOptions } from "./rsa/calcRdm.ts";
export {
  type CompareGroupsOptions,
  compareGroups,
  type GroupComparison,
} from "./rsa/compareGroups.ts";
export {
  type CompareOptions,
  compareRdms,
  RDM_COMPARISONS,
  type RdmComparison,
} from "./rsa/compareRdms.ts";
export {
  type BootstrapCrossValidationOptions,
  bootstrapCrossValidation,
  type CrossValidateOptions,
  crossValidateModels,
  type RdmFold,
  rdmFolds,
} from "./rsa/crossValidate.ts";
export {
  type CrossnobisOptions,
  type CrossValidatedOptions,
  crossnobisRdm,
  type PoissonCvOptions,
  poissonCvRdm,
} from "./rsa/crossValidated.ts";
export {
  type BootstrapModelsOptions,
  bootstrapModels,
  type Draw,
  dualBootstrap,
  type EvaluateOptions,
  evaluateModels,
} from "./rsa/evaluate.ts";
export type { Evaluation, EvaluationDesign, ModelVariances } from "./rsa/evaluation.ts";
export type { PartStore, Resumable } from "./rsa/kept.ts";
export { rdmComparisonMeasures, rdmMeasures } from "./rsa/measures.ts";
export {
  type FitOptions,
  fitModel,
  fixedModels,
  type ModelFitter,
  type ModelWeights,
  predictRdm,
  type RdmModel,
} from "./rsa/models.ts";
export {
  type ModelTest,
  type ModelTestResult,
  scoreIntervals,
  testModels,
} from "./rsa/modelTests.ts";
export { type MovieOptions, rdmMovie, type Timecourses } from "./rsa/movie.ts";
export {
  type CovarianceMethod,
  conditionCovariance,
  type NoiseOptions,
  noiseCovariance,
  noisePrecision,
} from "./rsa/noise.ts";
export {
  type NoiseCeiling,
  type NoiseCeilingOptions,
  noiseCeiling,
  poolRdms,
} from "./rsa/noiseCeiling.ts";
export { combinePartials, type RescaleMethod, rescalePartials } from "./rsa/partials.ts";
export {
  noiseCeilingTest,
  type PermutationTestOptions,
  type RdmPermutationResult,
  rdmPermutationTest,
} from "./rsa/permutationTest.ts";
export type { UsesLinalg } from "./rsa/products.ts";
export {
  categoricalRdm,
  concatRdms,
  condensedRdm,
  type Label,
  meanRdm,
  type RdmLabels,
  type Rdms,
  rdmRow,
  rdms,
  squareRdm,
  subsetConditions,
  takeConditions,
  takeRdms,
} from "./rsa/rdms.ts";
export {
  type SearchlightOptions,
  type Searchlights,
  searchlightRdms,
  surfaceSearchlights,
  volumeSearchlights,
} from "./rsa/searchlight.ts";
export {
  type GeodesicGraph,
  geodesicRankRdms,
  geodesicRdms,
  geotopologicalRdms,
  minmaxRdms,
  positiveRdms,
  rankRdms,
  sqrtRdms,
  type TopologicalTransform,
  topologicalRdms,
  transformRdms,
} from "./rsa/transforms.ts";
export {
  type UnbalancedMethod,
  type UnbalancedOptions,
  unbalancedRdm,
} from "./rsa/unbalanced.ts";
export type { SigmaK } from "./rsa/whiten.ts";
export { frechetMean } from "./shape/frechetMean.ts";
export {
  riemannianDistance,
  riemannianKernelDistance,
  squaredBures,
} from "./shape/kernelMetrics.ts";
export {
  classicalMds,
  kMedoids,
  type MdsEmbedding,
  type MedoidClusters,
  type NeighbourPrediction,
  predictFromNeighbours,
  type TriangleCheck,
  triangleCheck,
} from "./shape/metricSpace.ts";
export {
  alignedCosine,
  normalizedBuresSimilarity,
  type ProcrustesOptions,
  permutationProcrustes,
  procrustes,
} from "./shape/procrustes.ts";
export {
  createShapeMemory,
  fitShapeMetric,
  type ShapeAlignment,
  type ShapeGroup,
  type ShapeMemory,
  type ShapeMetricOptions,
  scoreShapes,
  shapeDistance,
  shapeDistances,
  transformShapes,
} from "./shape/shapeMetric.ts";
export { partialWhitening } from "./shape/whiten.ts";
export { type Assignment, assignment } from "./similarity/assignment.ts";
export {
  type CanonicalCorrelations,
  canonicalCorrelations,
  ccaMean,
  ccaR2,
  type PlsSimilarity,
  type Pwcca,
  plsSimilarity,
  pwcca,
  rvCoefficient,
  type Svcca,
  type SvccaOptions,
  svcca,
} from "./similarity/cca.ts";
export {
  type CkaOptions,
  cka,
  ckaAngle,
  type HsicEstimator,
  type HsicParts,
  hsic,
  type Kernel,
  langeCka,
  minibatchCka,
} from "./similarity/cka.ts";
export {
  concentricityDifference,
  distanceCorrelation,
  magnitudeDifference,
  rsmNormDifference,
  uniformityDifference,
} from "./similarity/distances.ts";
export { type HsicTest, hsicTest } from "./similarity/hsicTest.ts";
export { imd } from "./similarity/imd.ts";
export {
  hardCorrelationMatch,
  pairwiseMatch,
  type SoftMatching,
  softMatching,
} from "./similarity/matching.ts";
export { ckaMatrix, compareNetworks } from "./similarity/matrices.ts";
export {
  compareActivations,
  type MeasuredSimilarity,
  representationMeasures,
} from "./similarity/measures.ts";
export {
  eigenspaceOverlap,
  gulp,
  type LinearPredictivity,
  linearPredictivity,
} from "./similarity/regression.ts";
export { type RtdOptions, rtd } from "./similarity/rtd.ts";
export { type SsmPoint, ssm, ssmCurve } from "./similarity/ssm.ts";
export { type TransportPlan, uniformTransport } from "./similarity/transport.ts";
export type { Alternation, StochasticGroup } from "./stochastic/alternate.ts";
export {
  type EnergyAlignment,
  type EnergyScore,
  type EnergyShapeOptions,
  energyShapeDistance,
  energyShapeDistances,
  fitEnergyShape,
  scoreEnergyShape,
} from "./stochastic/energy.ts";
export {
  fitGaussianShape,
  type GaussianResponses,
  type GaussianShapeOptions,
  gaussianResponses,
  gaussianShapeDistance,
  gaussianShapeDistances,
  type PreparedGaussians,
  prepareGaussians,
  scoreGaussianShape,
  type Trials,
} from "./stochastic/gaussian.ts";
export { type GaussianProcess, gaussianProcessDistance } from "./stochastic/gaussianProcess.ts";
export { gaussianProcessOf } from "./stochastic/gaussianProcessOf.ts";
export {
  type DynamicsMeasure,
  dynamicsMeasures,
  type StochasticMeasure,
  stochasticMeasures,
} from "./stochastic/measures.ts";
export {
  type GeometryScoreOptions,
  geometryScore,
  relativeLivingTimes,
} from "./topology/geometryScore.ts";
