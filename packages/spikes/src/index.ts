// Trains

// Criticality
export {
  type Avalanches,
  type CracklingNoise,
  cracklingNoise,
  findAvalanches,
  naiveBranchingRatio,
  sizeGivenDuration,
} from "./avalanches.ts";
export {
  type BranchingRatio,
  branchingRatio,
  regressionSlopes,
  type SlopeMethod,
} from "./branchingRatio.ts";
// Plasticity, read only
export {
  type SubspaceOverlap,
  subspaceOverlap,
  type WeightChange,
  weightChange,
} from "./checkpoints.ts";
// Variability and correlation
export { countCorrelation } from "./countCorrelation.ts";
// Dimensions
export {
  chooseFactors,
  type FactorAnalysis,
  factorAnalysis,
  participationRatio,
} from "./dimensionality.ts";
// Timescales and dynamics
export { type ExponentialFit, fitExponential } from "./exponentialFit.ts";
// Generators of known truth
export {
  avalancheActivity,
  binomialSample,
  branchingActivity,
  ornsteinUhlenbeck,
  type PoissonOptions,
  poissonSample,
  poissonTrain,
  subsampleCounts,
  synchronousPopulation,
} from "./generate.ts";
// Distances and synchrony
export { isiDistance } from "./isiDistance.ts";
export { type LyapunovSpectrum, lyapunovSpectrum } from "./lyapunov.ts";
export {
  fitPowerLaw,
  type PowerLawFit,
  type PowerLawOptions,
  powerLawAgainstExponential,
  powerLawP,
  samplePowerLaw,
} from "./powerLaw.ts";
export { type SpectralRadius, spectralRadius } from "./spectralRadius.ts";
export { spikeDistance } from "./spikeDistance.ts";
export {
  type SpikeSynchronizationOptions,
  spikeSynchronization,
  spikeSynchronizationOfMany,
} from "./spikeSynchronization.ts";
export {
  binCounts,
  interspikeIntervals,
  meanRate,
  type Population,
  population,
  populationFromSteps,
  type SpikeCounts,
  type SpikeTrain,
  shiftTrain,
  sliceTrain,
  spikeTrain,
  warnAboutTimeUnits,
} from "./spikeTrain.ts";
export { meanOverPairs, pairwise, spikeTrainRdm, type TrainDistance } from "./spikeTrainRdm.ts";
export { type StdpChange, type StdpRule, stdpChange, stdpChanges } from "./stdp.ts";
export { sttc } from "./sttc.ts";
export {
  autocorrelation,
  compareTimescales,
  estimateTimescale,
  type Timescale,
  type TimescaleComparison,
  type TimescaleOptions,
  type TimescalePart,
} from "./timescales.ts";
export { type VanRossumNormalization, type VanRossumOptions, vanRossum } from "./vanRossum.ts";
export { cv, cv2, fanoFactor, lv, lvr } from "./variability.ts";
export { victorPurpura } from "./victorPurpura.ts";
