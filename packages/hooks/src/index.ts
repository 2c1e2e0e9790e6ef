export {
  getActName,
  type HookKind,
  type HookPoint,
  hookName,
  matchesHook,
} from "./hookPoint.ts";
export type { Intervention, InterventionOp } from "./interventions.ts";
export {
  IsolatedModel,
  type IsolatedOptions,
  openIsolated,
  type RunControl,
} from "./isolation/isolatedModel.ts";
export type { RunnableModel } from "./isolation/runnableModel.ts";
export type {
  InputRecording,
  InputRows,
  OutputValues,
  RecordingHook,
  RecordingModel,
  UnitChange,
} from "./recordingModel.ts";
export {
  createTokenizer,
  type EncodeOptions,
  type TextTokenizer,
  wordLevelTokenizer,
} from "./tokenizer.ts";
export {
  ActivationCache,
  type ResidualStack,
  runWithActivationCache,
} from "./toolkit/activationCache.ts";
export {
  type DirectLogitAttribution,
  directLogitAttribution,
  type LogitLens,
  logitLens,
} from "./toolkit/attribution.ts";
export {
  type Circuit,
  type CircuitEdge,
  type CircuitNode,
  circuitOf,
  circuitText,
  parseCircuit,
  readCircuit,
  writeCircuit,
} from "./toolkit/circuitFile.ts";
export {
  type CompletenessSubset,
  completeness,
  type Faithfulness,
  faithfulness,
  minimality,
  type NodeMinimality,
  type SubsetOptions,
} from "./toolkit/circuits.ts";
export {
  type CompositionMode,
  eigenvaluePositivity,
  headLabel,
  neuronLabel,
} from "./toolkit/composition.ts";
export {
  type DetectionOptions,
  detectHead,
  detectionPattern,
  type HeadName,
  type HeadScores,
  headScore,
  inductionScore,
  type RepeatedTokensOptions,
  repeatedRandomTokens,
} from "./toolkit/detectHead.ts";
export {
  type DiscoveredCircuit,
  type DiscoveryStep,
  discoverCircuit,
} from "./toolkit/discoverCircuit.ts";
export { FactoredMatrix, type FactoredSvd } from "./toolkit/factored.ts";
export {
  type AttributionPatchOptions,
  type AttributionPatchResult,
  attributionPatch,
  type DifferenceAxis,
  type FiniteDifferenceOptions,
  type FiniteDifferenceResult,
  finiteDifference,
} from "./toolkit/finiteDifference.ts";
export {
  type GeneratedRow,
  type GeneratedToken,
  type GenerateOptions,
  type Generation,
  generate,
  generateStream,
  type StopReason,
} from "./toolkit/generate.ts";
export type { GenerationEngine } from "./toolkit/generateEngine.ts";
export type { GenerationIntervention, GenerationWhen } from "./toolkit/generateInterventions.ts";
export type { GenerationPrompts } from "./toolkit/generatePrompts.ts";
export type { CircuitOptions } from "./toolkit/knockouts.ts";
export { type MeanActivation, meanActivation } from "./toolkit/meanActivation.ts";
export {
  type Answer,
  entropy,
  klDivergence,
  logitDiff,
  logProb,
  loss,
  type Metric,
  type MetricPlace,
  type MetricRow,
  metrics,
  perplexity,
  prob,
  type RankedToken,
  topK,
} from "./toolkit/metrics.ts";
export {
  genericActivationPatch,
  getActPatchAttnHeadAllPosEvery,
  getActPatchAttnHeadByPosEvery,
  getActPatchAttnHeadKAllPos,
  getActPatchAttnHeadKByPos,
  getActPatchAttnHeadOutAllPos,
  getActPatchAttnHeadOutByPos,
  getActPatchAttnHeadPatternAllPos,
  getActPatchAttnHeadPatternByPos,
  getActPatchAttnHeadPatternDestSrcPos,
  getActPatchAttnHeadQAllPos,
  getActPatchAttnHeadQByPos,
  getActPatchAttnHeadVAllPos,
  getActPatchAttnHeadVByPos,
  getActPatchAttnOut,
  getActPatchBlockEvery,
  getActPatchMlpOut,
  getActPatchResidMid,
  getActPatchResidPre,
  type PatchAxis,
  type PatchingOptions,
  type PatchingResult,
} from "./toolkit/patching.ts";
export {
  type PathPatchingOptions,
  type PathPatchingResult,
  type PathReceiver,
  type PathSender,
  pathPatch,
  pathPatchSweep,
} from "./toolkit/pathPatching.ts";
export {
  type FeatureAttribution,
  type FeatureClamp,
  featureLogitAttribution,
  loadSae,
  runWithSae,
  Sae,
  type SaeArchitecture,
  type SaeConfig,
  type SaeRun,
  type SaeRunOptions,
  type SaeWeights,
} from "./toolkit/sae.ts";
export { type NextTokens, nextTokens, type SamplingOptions } from "./toolkit/sampling.ts";
export type { FinalNorm, ModelWeights, WeightName, WeightPlace } from "./toolkit/weights.ts";
export type { ModelConfig, StackConfig } from "./transformer/config.ts";
export {
  type ModelInput,
  type ModelInputs,
  type PaddedBatch,
  padTokens,
  type TokenRows,
} from "./transformer/inputs.ts";
export {
  type CacheOptions,
  type FwdHook,
  HookedModel,
  type OpenOptions,
} from "./transformer/model.ts";
export type { RunRequest, RunResult } from "./transformer/modelCore.ts";
export type { RuntimeOptions } from "./transformer/runtime.ts";
export {
  cacheFolder,
  findModelFiles,
  type ModelFiles,
  type SourceOptions,
} from "./transformer/source.ts";
export type { HookValues } from "./transformer/values.ts";
export type { IdentityCheck } from "./transformer/verify.ts";
