export {
  leaveOneOutBounds,
  meanOverRepeats,
  type NoiseCeiling,
  type RepeatBounds,
  splitHalfCeiling,
} from "./ceiling.ts";
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
export { type FetchCorpusOptions, type FetchedCorpus, fetchCorpus } from "./fetchCorpus.ts";
export { evaluateFormula, type Formula, parseFormula } from "./formula.ts";
export {
  type GroupedFeatures,
  groupByStimulus,
  matchStimuli,
  type StimulusMatch,
} from "./matchStimuli.ts";
export { type LoadRecordingOptions, loadRecording } from "./recording.ts";
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
