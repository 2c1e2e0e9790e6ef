export {
  type DescribeOptions,
  type Descriptions,
  describeUnits,
  type Floor,
  type Refusal,
  type UnitDescription,
} from "./describeUnits.ts";
export { partOfSpeechLabels } from "./labels.ts";
export { type OutputSide, outputSides } from "./outputSide.ts";
export { areaUnderRoc, type ObjectiveName, objectives } from "./rules/objectives.ts";
export { literalCount, parseRule, type Rule, ruleSentence } from "./rules/rule.ts";
export { createLexicon, type Lexicon, RuleText, runRule } from "./rules/ruleText.ts";
export type { RuleScores, TokenPlace } from "./scores.ts";
export { type DocumentSplits, keptDocuments, splitDocuments } from "./splits.ts";
