export {
  type ExplainableVariance,
  explainableVariance,
  type SignalAndNoise,
  signalAndNoise,
} from "./ceilings/explainableVariance.ts";
export {
  type ExtrapolatedCeiling,
  extrapolateCeiling,
  fitSaturation,
  type SaturationFit,
  type SubjectScores,
} from "./ceilings/extrapolate.ts";
export { leaveOneOutBounds, type RepeatBounds } from "./ceilings/leaveOneOut.ts";
export { type MeanResponses, meanOverRepeats } from "./ceilings/repeats.ts";
export { type NoiseCeiling, splitHalfCeiling } from "./ceilings/splitHalf.ts";
export {
  type InterSubjectOptions,
  type InterSubjectScore,
  interSubjectScores,
  stackSubjects,
} from "./ceilings/subjects.ts";
export {
  type Assembly,
  type AssemblyCoordinate,
  type LoadAssemblyOptions,
  loadAssembly,
  loadTimedAssembly,
  readAssembly,
} from "./containers/assembly.ts";
export { type ContainerOutline, inspectContainer } from "./containers/inspect.ts";
export { readMat } from "./containers/mat.ts";
export { type ReadMatOptions, readMat5 } from "./containers/mat5.ts";
export {
  type MatNumbers,
  type MatValue,
  matField,
  matNumber,
  matNumbers,
  matText,
} from "./containers/matValue.ts";
export { type LoadNpzOptions, loadNpzRecording, readNpz } from "./containers/npz.ts";
export {
  type LoadNwbOptions,
  loadNwb,
  type NwbFile,
  type NwbSeries,
  type NwbUnit,
  readNwb,
} from "./containers/nwb.ts";
export { type LoadParquetOptions, loadParquetRecording } from "./containers/parquet.ts";
export {
  type BrainVisionHeader,
  type LoadBrainVisionOptions,
  loadBrainVision,
  readBrainVision,
} from "./electrophysiology/brainVision.ts";
export type { ChannelOptions } from "./electrophysiology/channels.ts";
export {
  type EdfChannel,
  type EdfFile,
  type LoadEdfOptions,
  loadEdf,
  readEdf,
} from "./electrophysiology/edf.ts";
export {
  type EeglabEvent,
  type EeglabFile,
  type LoadEeglabEpochsOptions,
  type LoadEeglabOptions,
  loadEeglab,
  loadEeglabEpochs,
  readEeglab,
} from "./electrophysiology/eeglab.ts";
export {
  type FifAnnotation,
  type FifAnnotations,
  type FifBuffer,
  type FifChannel,
  type FifCompensation,
  type FifContent,
  type FifCovariance,
  type FifEpochs,
  type FifEvents,
  type FifEvoked,
  type FifEvokedSet,
  type FifInfo,
  type FifProjection,
  type FifProjections,
  type FifRaw,
  readFif,
} from "./electrophysiology/fif.ts";
export { inspectElectrophysiology, type RecordingOutline } from "./electrophysiology/inspect.ts";
export {
  type LoadFifEpochsOptions,
  type LoadFifEvokedOptions,
  type LoadFifOptions,
  type LoadFifRawOptions,
  loadFifEpochs,
  loadFifEvoked,
  loadFifRaw,
} from "./electrophysiology/loadFif.ts";
export { type FetchCorpusOptions, type FetchedCorpus, fetchCorpus } from "./fetchCorpus.ts";
export { evaluateFormula, type Formula, parseFormula } from "./formula.ts";
export {
  type BidsFile,
  type BidsName,
  type BidsQuery,
  type BidsSidecar,
  findBids,
  parseBidsName,
  readSidecar,
} from "./imaging/bids.ts";
export {
  type Confounds,
  type EventsTable,
  readConfounds,
  readEventsTable,
} from "./imaging/bidsTables.ts";
export {
  type CiftiMapsOptions,
  type CiftiMatrix,
  type CiftiOptions,
  type CiftiSeriesOptions,
  loadCiftiMaps,
  loadCiftiSeries,
  type ReadCiftiOptions,
  readCifti,
} from "./imaging/cifti.ts";
export type { CiftiAxis, CiftiModel, CiftiVolume } from "./imaging/ciftiAxes.ts";
export { type GiftiArray, type GiftiFile, readGifti } from "./imaging/gifti.ts";
export type { VolumeInput } from "./imaging/grid.ts";
export { type ImagingSummary, inspectImaging } from "./imaging/inspectImaging.ts";
export { type BidsRun, type LoadBidsRunOptions, loadBidsRun } from "./imaging/loadBidsRun.ts";
export { type NiftiImage, type ReadNiftiOptions, readNifti } from "./imaging/nifti.ts";
export type { NiftiDatatype, NiftiHeader } from "./imaging/niftiHeader.ts";
export type { RegionLabels } from "./imaging/regions.ts";
export {
  loadSurfaceMaps,
  loadSurfaceSeries,
  type SurfaceMapsOptions,
  type SurfaceOptions,
  type SurfaceSeriesOptions,
} from "./imaging/surface.ts";
export {
  loadVolumeMaps,
  loadVolumeSeries,
  type VolumeMapsOptions,
  type VolumeOptions,
  type VolumeSeriesOptions,
} from "./imaging/volume.ts";
export { encodeNifti, type WriteNiftiOptions, writeNifti } from "./imaging/writeNifti.ts";
export {
  type GroupedFeatures,
  groupByStimulus,
  matchStimuli,
  type StimulusMatch,
} from "./matchStimuli.ts";
export {
  activationsToTimeSeries,
  type ToTimeSeriesOptions,
} from "./preparation/activationsToTimeSeries.ts";
export { detrend, highPassCosines, zScoreRuns } from "./preparation/detrend.ts";
export {
  asTimed,
  averageRepeats,
  type EpochOptions,
  type Epochs,
  epochs,
  targetsAsTimes,
  timesAsTargets,
  windowMean,
} from "./preparation/epochs.ts";
export { eventAverages } from "./preparation/eventAverages.ts";
export {
  type BandOptions,
  bandFilter,
  butterworth,
  type FilterBand,
  type FilterSection,
  notchFilter,
  zeroPhase,
} from "./preparation/filter.ts";
export { type GlmOptions, glmBetas } from "./preparation/glmBetas.ts";
export {
  convolveFeatures,
  delayFeatures,
  type FeatureSeries,
  type GammaDifference,
  type HemodynamicOptions,
  type HemodynamicPart,
  type HemodynamicShape,
  hemodynamicRegressor,
  hemodynamicResponse,
  hemodynamicShapes,
  type RegressorEvent,
  type RegressorOptions,
} from "./preparation/hemodynamicResponse.ts";
export type { MatrixProducts } from "./preparation/leastSquares.ts";
export {
  type Cleaned,
  type ConfoundOptions,
  regressConfounds,
} from "./preparation/regressConfounds.ts";
export { resample } from "./preparation/resample.ts";
export {
  averageReference,
  badSamples,
  concatenateRuns,
  framewiseDisplacement,
  interpolateBad,
} from "./preparation/runs.ts";
export type { StimulusOf } from "./preparation/stackEvents.ts";
export { type TimeSeriesValues, timeSeriesOf } from "./preparation/timeSeriesOf.ts";
export {
  locateWords,
  onsetImpulses,
  type Pooling,
  poolRows,
  type Span,
  soundEnvelope,
  type TimedWord,
  timedWords,
  tokenOffsets,
  tokensOfWords,
  type WordSampling,
  wordsToSamples,
} from "./preparation/words.ts";
export { type LoadRecordingOptions, loadRecording, type RecordingAxis } from "./recording.ts";
export { type SimulateOptions, simulateRecording } from "./simulateRecording.ts";
export {
  type CorpusFile,
  type CorpusSource,
  type Loader,
  loaders,
  parseSource,
  readSource,
} from "./source.ts";
export {
  contrastSet,
  loadStimulusSet,
  type Stimulus,
  type StimulusContrast,
  type StimulusSet,
} from "./stimulusSet.ts";
export { evaluateSuite, parseSuite } from "./suite.ts";
export { type Delimiter, parseTable, type Table } from "./table.ts";
export {
  type ContinuationTask,
  loadTasks,
  type MinimalPairTask,
  type SuiteTask,
  type Task,
  type TextTask,
} from "./tasks.ts";
export type {
  RecordedEvent,
  Recording,
  RecordingInfo,
  Space,
  Target,
  TimedRecording,
  TimeSeries,
} from "./types.ts";
