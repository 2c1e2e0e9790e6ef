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
  type CompareOptions,
  compareRdms,
  RDM_COMPARISONS,
  type RdmComparison,
} from "./rsa/compareRdms.ts";
export {
  type CrossnobisOptions,
  type CrossValidatedOptions,
  crossnobisRdm,
  type PoissonCvOptions,
  poissonCvRdm,
} from "./rsa/crossValidated.ts";
export { type MovieOptions, rdmMovie, type Timecourses } from "./rsa/movie.ts";
export {
  type CovarianceMethod,
  conditionCovariance,
  type NoiseOptions,
  noiseCovariance,
  noisePrecision,
} from "./rsa/noise.ts";
export { combinePartials, type RescaleMethod, rescalePartials } from "./rsa/partials.ts";
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
