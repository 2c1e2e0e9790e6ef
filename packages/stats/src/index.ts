export {
  type BlockOrderOptions,
  blockOrders,
  blockPermutationTest,
  suggestBlockLength,
} from "./blockPermutation.ts";
export {
  type BootstrapInterval,
  type BootstrapOptions,
  bootstrapInterval,
  pairedBootstrap,
} from "./bootstrap.ts";
export {
  type Cluster,
  type ClusterTest,
  type ClusterTestOptions,
  clusterTest,
  clusterTestTwoSamples,
  gridNeighbours,
  lineNeighbours,
  type Neighbours,
  spaceTimeNeighbours,
} from "./clusterPermutation.ts";
export { pearson, pearsonColumns, spearman } from "./correlation.ts";
export { mean, quantile, standardDeviation, variance } from "./descriptive.ts";
export {
  averageRanks,
  kendallTau,
  kendallTauA,
  kendallTauB,
  type Presorted,
  presort,
  type TauVariant,
} from "./kendall.ts";
export { benjaminiHochberg, bonferroni } from "./multiple.ts";
export {
  type PermutationResult,
  permutationP,
  rankP,
  signFlipTest,
  standardizeAgainst,
  type Tail,
  wilcoxonSignedRank,
} from "./permutation.ts";
export { rankData, type TieMethod } from "./rank.ts";
export { areaUnderRoc } from "./roc.ts";
export {
  logGamma,
  normalCdf,
  normalQuantile,
  regularizedIncompleteBeta,
  studentTP,
  studentTQuantile,
  studentTSurvival,
} from "./special.ts";
export {
  jointBootstrap,
  type RandomEffects,
  randomEffects,
  type SubjectSummary,
  summarizeSubjects,
} from "./subjects.ts";
export {
  cohenD,
  cohenDFromMoments,
  type UnitMoments,
  unitMoments,
  type WelchResult,
  welchFromMoments,
  welchT,
} from "./welch.ts";
