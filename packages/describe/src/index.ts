export {
  type DescribeOptions,
  type Descriptions,
  describeUnits,
  type Floor,
  type Refusal,
  type UnitDescription,
} from "./describeUnits.ts";
export type { AnswerToken } from "./explainers/answers.ts";
export {
  type ChatAnswer,
  type ChatCounts,
  type ChatExplainer,
  type ChatExplainerOptions,
  type ChatModel,
  type ChatRequest,
  chatExplainer,
  type FailureKind,
} from "./explainers/chat.ts";
export {
  activationLevel,
  type Evidence,
  type EvidenceContext,
  type EvidenceOptions,
  gatherEvidence,
  type TextWindow,
  type UnitIdentity,
  unitIdentity,
  type WindowText,
  type WindowTextOptions,
  windowText,
} from "./explainers/evidence.ts";
export type {
  AskOptions,
  Explainer,
  Explanation,
  Judge,
  JudgeContext,
  JudgeQuestion,
} from "./explainers/explainer.ts";
export {
  type ExplainedUnit,
  type ExplainedUnits,
  type ExplainUnitsOptions,
  explainUnits,
  type JudgeFloor,
} from "./explainers/explainUnits.ts";
export {
  type JudgeQuestionOptions,
  type JudgeQuestions,
  type JudgeScores,
  judgeQuestions,
  scoreText,
} from "./explainers/judgeScores.ts";
export {
  type LocalTextModel,
  type LocalTextModelOptions,
  localTextModel,
  surprisalJudge,
} from "./explainers/localTextModel.ts";
export {
  type OpenaiCompatible,
  type OpenaiCompatibleOptions,
  openaiCompatible,
  type Usage,
} from "./explainers/openaiCompatible.ts";
export { type Prompt, type PromptName, promptFolder, readPrompt } from "./explainers/prompts.ts";
export {
  type RecordedText,
  type RecordingSource,
  type RecordingSourceOptions,
  recordingSource,
} from "./explainers/recordingSource.ts";
export {
  type LensText,
  type SecondOrderLens,
  type SecondOrderLensOptions,
  secondOrderLens,
} from "./explainers/secondOrderLens.ts";
export {
  type InterchangeEffect,
  type InterchangeOptions,
  type InterchangePair,
  type InterchangeScores,
  interchangeIntervention,
} from "./interventions/interchange.ts";
export {
  type OutputEffect,
  type OutputEffectOptions,
  type OutputScore,
  outputEffect,
  outputScore,
} from "./interventions/outputEffect.ts";
export {
  type SecondOrderOptions,
  secondOrderEffects,
} from "./interventions/secondOrderEffects.ts";
export { partOfSpeechLabels } from "./labels.ts";
export {
  type OutputSide,
  type OutputSideScore,
  type OutputSideScoreOptions,
  outputSides,
  scoreOutputSide,
} from "./outputSide.ts";
export { type ObjectiveName, objectives } from "./rules/objectives.ts";
export { literalCount, parseRule, type Rule, ruleSentence } from "./rules/rule.ts";
export { createLexicon, type Lexicon, RuleText, runRule } from "./rules/ruleText.ts";
export type { RuleFit, RuleScores, TokenPlace } from "./scores.ts";
export { type DocumentSplits, keptDocuments, splitDocuments } from "./splits.ts";
