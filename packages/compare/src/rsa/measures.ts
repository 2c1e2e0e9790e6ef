import type { Invariance, RdmComparisonMeasure, RdmMeasure } from "../registry.ts";
import { RDM_COMPARISONS, type RdmComparison } from "./compareRdms.ts";

const rdm = (
  entry: Omit<
    RdmMeasure,
    "kind" | "family" | "larger" | "symmetric" | "memory" | "withoutVariation"
  > &
    Partial<Pick<RdmMeasure, "memory">>,
): RdmMeasure => ({
  kind: "rdm",
  family: "rsa",
  larger: "less alike",
  symmetric: true,
  memory: "a float64 copy of the mean patterns and one n x n matrix",
  // Equal patterns have distance 0; a single pattern of zeros (or of one value, for correlations) has none.
  withoutVariation: "defined",
  ...entry,
});

const CROSS_VALIDATED = (): number => 2;
const RUNS_RULE =
  "two conditions in two runs; with fewer runs there is nothing to hold a run against";

/** Every way to make an RDM. Units are channels; the sample is the number of conditions. */
export const rdmMeasures: readonly RdmMeasure[] = [
  rdm({
    name: "euclidean",
    title: "Squared Euclidean distance per channel",
    metric: false,
    invariances: ["translation", "permutation", "rotation", "stimulus-order"],
    cost: "2 n^2 P operations",
    minSample: () => 2,
    minSampleRule: "two conditions; noise adds to every distance",
    source: "Kriegeskorte, Mur & Bandettini (2008)",
  }),
  rdm({
    name: "correlation",
    title: "1 - Pearson correlation over channels",
    metric: false,
    invariances: ["scaling", "permutation", "stimulus-order"],
    cost: "2 n^2 P operations",
    minSample: () => 2,
    minSampleRule: "two conditions; patterns must vary over at least 3 channels to mean anything",
    source: "Kriegeskorte, Mur & Bandettini (2008)",
  }),
  rdm({
    name: "cosine",
    title: "1 - cosine over channels",
    metric: false,
    invariances: ["scaling", "permutation", "rotation", "stimulus-order"],
    cost: "2 n^2 P operations",
    minSample: () => 2,
    minSampleRule: "two conditions",
    source: "Kriegeskorte & Kievit (2013), Trends Cogn Sci 17:401-412",
  }),
  rdm({
    name: "mahalanobis",
    title: "Squared Mahalanobis distance per channel",
    metric: false,
    // With the full noise covariance of the same channels.
    invariances: ["translation", "linear", "stimulus-order"],
    cost: "2 n^2 P + 2 n P^2 operations",
    minSample: (nUnits) => nUnits + 2,
    minSampleRule:
      "residuals more than channels for a full noise covariance; shrinkage needs fewer",
    source: "Walther et al. (2016), NeuroImage 137:188-200",
  }),
  rdm({
    name: "crossnobis",
    title: "Cross-validated squared Mahalanobis distance per channel",
    metric: false,
    invariances: ["translation", "linear", "stimulus-order"],
    cost: "2 R n P^2 + 2 R n^2 P operations for R runs",
    memory: "two float64 copies of the mean patterns by run",
    minSample: CROSS_VALIDATED,
    minSampleRule: RUNS_RULE,
    source: "Walther et al. (2016), NeuroImage 137:188-200",
  }),
  rdm({
    name: "poisson",
    title: "Symmetrized Kullback-Leibler divergence of Poisson rates per channel",
    metric: false,
    invariances: ["permutation", "stimulus-order"],
    cost: "2 n^2 P operations",
    minSample: () => 2,
    minSampleRule: "two conditions; counts, not z-scores",
    source: "Schütt et al. (2023), eLife 12:e82566",
  }),
  rdm({
    name: "poisson-cv",
    title: "Cross-validated Poisson divergence per channel",
    metric: false,
    invariances: ["permutation", "stimulus-order"],
    cost: "2 R n^2 P operations for R runs",
    memory: "two float64 copies of the mean patterns of a run",
    minSample: CROSS_VALIDATED,
    minSampleRule: RUNS_RULE,
    source: "Schütt et al. (2023), eLife 12:e82566",
  }),
];

const LINEAR: readonly Invariance[] = ["scaling", "stimulus-order"];
const SHIFTED: readonly Invariance[] = ["translation", "scaling", "stimulus-order"];
const RANKED: readonly Invariance[] = ["translation", "scaling", "monotone", "stimulus-order"];

const details: Record<
  RdmComparison,
  Pick<RdmComparisonMeasure, "title" | "invariances" | "cost" | "source"> &
    Partial<
      Pick<
        RdmComparisonMeasure,
        "larger" | "symmetric" | "memory" | "minSampleRule" | "withoutVariation"
      >
    >
> = {
  cosine: {
    title: "Cosine of dissimilarities",
    invariances: LINEAR,
    cost: "2 k1 k2 m operations for m pairs of conditions",
    withoutVariation: "defined",
    source: "Diedrichsen & Kriegeskorte (2017), PLoS Comput Biol 13:e1005508",
  },
  pearson: {
    title: "Pearson correlation of dissimilarities",
    invariances: SHIFTED,
    cost: "2 k1 k2 m operations",
    source: "Kriegeskorte, Mur & Bandettini (2008)",
  },
  spearman: {
    title: "Spearman correlation of dissimilarities",
    invariances: RANKED,
    cost: "(k1 + k2) m log m + 2 k1 k2 m operations",
    source: "Kriegeskorte, Mur & Bandettini (2008)",
  },
  "tau-a": {
    title: "Kendall's tau-a of dissimilarities",
    invariances: RANKED,
    cost: "k1 k2 m log m operations",
    withoutVariation: "defined",
    source: "Nili et al. (2014), PLoS Comput Biol 10:e1003553",
  },
  "tau-b": {
    title: "Kendall's tau-b of dissimilarities",
    invariances: RANKED,
    cost: "k1 k2 m log m operations",
    source: "Kendall (1945), Biometrika 33:239-251",
  },
  "rho-a": {
    title: "Spearman correlation under random tie-breaking",
    invariances: RANKED,
    cost: "(k1 + k2) m log m + 2 k1 k2 m operations",
    withoutVariation: "defined",
    source: "Schütt et al. (2023), eLife 12:e82566",
  },
  "whitened-cosine": {
    title: "Cosine of dissimilarities, whitened by their covariance (linear CKA)",
    invariances: LINEAR,
    cost: "(k1 + k2) n^2 + 2 k1 k2 m operations; with a full sigmaK 4 n^3 per RDM",
    withoutVariation: "defined",
    source: "Diedrichsen et al. (2021), Neurons Behav Data Anal Theory 5(3)",
  },
  "whitened-pearson": {
    title: "Correlation of dissimilarities, whitened by their covariance",
    invariances: SHIFTED,
    cost: "as whitened-cosine",
    source: "Diedrichsen et al. (2021), Neurons Behav Data Anal Theory 5(3)",
  },
  bures: {
    title: "Bures similarity of Gram matrices (fidelity)",
    invariances: LINEAR,
    cost: "one eigenvalue problem and two products of size n per pair of RDMs",
    memory: "one n x n matrix per RDM of the second set",
    withoutVariation: "defined",
    source: "Harvey, Larsen & Williams (2024), UniReps (PMLR 243)",
  },
  "bures-metric": {
    title: "Squared Bures distance of Gram matrices",
    larger: "less alike",
    invariances: ["stimulus-order"],
    cost: "as bures",
    memory: "one n x n matrix per RDM of the second set",
    withoutVariation: "defined",
    source: "Harvey, Larsen & Williams (2024), UniReps (PMLR 243)",
  },
  "neg-riemannian": {
    title: "Negative affine-invariant distance of Gram matrices, noise fitted",
    symmetric: false,
    // Of the first RDM: a constant more is what the fitted noise adds.
    invariances: SHIFTED,
    cost: "about 75 eigenvalue problems of size n per pair of RDMs",
    memory: "two n x n matrices",
    minSampleRule:
      "three conditions, and more channels than conditions: the second Gram matrix must be positive definite",
    withoutVariation: "defined",
    source: "Shahbazi et al. (2021), NeuroImage 239:118271",
  },
};

/** Every way to compare RDMs. The sample is the number of conditions. */
export const rdmComparisonMeasures: readonly RdmComparisonMeasure[] = RDM_COMPARISONS.map(
  (name) => ({
    name: `rdm-${name}`,
    kind: "rdm-comparison",
    family: "rsa",
    larger: "more alike",
    // Of these only the root of bures-metric satisfies the triangle inequality.
    metric: false,
    symmetric: true,
    memory: "the RDMs and one row of their size each",
    minSample: () => 3,
    minSampleRule:
      "three conditions to be defined; with fewer than about 10 (45 pairs) chance is too close to everything",
    // A correlation with what does not vary; order alone is 0 there, by definition.
    withoutVariation: "undefined",
    ...details[name],
  }),
);
