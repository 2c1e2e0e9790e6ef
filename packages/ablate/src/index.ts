export {
  type AblateInputOptions,
  type AblateOptions,
  type AblateResult,
  ablate,
  resampleRows,
} from "./ablate.ts";
export {
  type AblationMapInputOptions,
  type AblationMapOptions,
  ablationMap,
  type RowMetric,
} from "./ablationMap.ts";
export {
  type DissociationCell,
  type DoubleDissociation,
  doubleDissociation,
  type Estimated,
  type LesionEffect,
  lesionEffect,
  meanWithInterval,
} from "./effects.ts";
export {
  DOSES,
  type LesionExperiment,
  type LesionExperimentOptions,
  type LesionRun,
  type LesionStore,
  lesionExperiment,
  type SetKind,
} from "./experiment.ts";
export { lesionHooks, lesionOf } from "./lesion.ts";
export {
  createScorer,
  type Scorer,
  type ScorerOptions,
  type TaskOutcome,
  type TaskSummary,
} from "./scorer.ts";
export type { InputModel, OutputMetric } from "./stimuli.ts";
