import { type Activations, ArgumentError } from "@penfield/core";
import type { Linalg } from "@penfield/linalg";
import {
  cknna,
  cycleKnn,
  knnJaccard,
  lcsKnn,
  mutualKnn,
  rankJaccard,
  rankSimilarity,
  secondOrderCosine,
} from "../neighbours/nearest.ts";
import {
  type Invariance,
  type MeasureInfo,
  type RepresentationMeasure,
  sampleWarning,
} from "../registry.ts";
import { riemannianKernelDistance } from "../shape/kernelMetrics.ts";
import {
  alignedCosine,
  normalizedBuresSimilarity,
  permutationProcrustes,
  procrustes,
} from "../shape/procrustes.ts";
import { shapeDistance } from "../shape/shapeMetric.ts";
import { ccaMean, ccaR2, plsSimilarity, pwcca, rvCoefficient, svcca } from "./cca.ts";
import { cka, ckaAngle, langeCka } from "./cka.ts";
import {
  concentricityDifference,
  distanceCorrelation,
  magnitudeDifference,
  rsmNormDifference,
  uniformityDifference,
} from "./distances.ts";
import { hardCorrelationMatch, pairwiseMatch, softMatching } from "./matching.ts";
import { eigenspaceOverlap, gulp, linearPredictivity } from "./regression.ts";
import { ssm } from "./ssm.ts";

type Compute = RepresentationMeasure["compute"];
type Details = Omit<MeasureInfo, "name" | "title" | "kind" | "family" | "larger">;

/** Stimuli in the same order in both, in any order: true of all measures of two matrices. */
const ROTATIONS: readonly Invariance[] = [
  "translation",
  "permutation",
  "rotation",
  "stimulus-order",
];
const SHAPES: readonly Invariance[] = [...ROTATIONS, "scaling"];
const MAPS: readonly Invariance[] = [...SHAPES, "linear"];
const ORDERS: readonly Invariance[] = ["translation", "permutation", "scaling", "stimulus-order"];

const products = {
  cost: "2 n (p^2 + q^2 + p q) or 2 n^2 (p + q), whichever is less",
  memory: "one p x q matrix, or two n x n",
};
const kernels = { cost: "2 n^2 (p + q)", memory: "two n x n matrices" };
const decompositions = {
  cost: "two singular value decompositions, n p^2 and n q^2",
  memory: "copies of the inputs",
};
const alignments = {
  cost: "2 n p q and the singular values of p x q",
  memory: "copies of the inputs and a p x q matrix",
};
const ofUnits = (factor: number, because: string) => ({
  minSample: (nUnits: number): number => Math.max(3, factor * nUnits + 1),
  minSampleRule: because,
});
const ofStimuli = (least: number, because: string) => ({
  minSample: (): number => least,
  minSampleRule: because,
});
const BIASED = ofUnits(1, "more stimuli than units: below, unrelated representations look alike");
const FULL = ofUnits(
  1,
  "more stimuli than units: with fewer, any two representations are perfectly related",
);
const UNBIASED = ofStimuli(
  20,
  "20 stimuli: defined from 4 on, but with few its own noise is larger than what it measures",
);
const FEW = ofStimuli(10, "10 stimuli: with fewer a single one decides");
const NEIGHBOURS = ofStimuli(
  100,
  "100 stimuli, ten times the 10 neighbours: below, neighbourhoods are the whole data",
);

const similarity = (
  name: string,
  title: string,
  family: MeasureInfo["family"],
  details: Details,
  compute: Compute,
): RepresentationMeasure => ({
  name,
  title,
  kind: "representation",
  family,
  larger: "more alike",
  ...details,
  compute,
});

const distance = (...args: Parameters<typeof similarity>): RepresentationMeasure => ({
  ...similarity(...args),
  larger: "less alike",
});

const plain = { metric: false, symmetric: true } as const;
const metric = { metric: true, symmetric: true } as const;

/** k for neighbours where a command line gives none: 10, or as many as there are. */
const k = (x: Activations): number => Math.max(1, Math.min(10, x.shape[0] - 1));

/**
 * Every measure of two matrices of activations, with what can be said about it beforehand. The command
 * line, the docs and the tests enumerate this.
 */
export const representationMeasures: readonly RepresentationMeasure[] = [
  similarity(
    "linear-cka",
    "Linear CKA",
    "cka",
    { ...plain, ...products, ...BIASED, invariances: SHAPES, source: "Kornblith et al. 2019" },
    (l, x, y) => cka(l, x, y),
  ),
  similarity(
    "linear-cka-unbiased",
    "Linear CKA, unbiased",
    "cka",
    {
      ...plain,
      ...products,
      ...UNBIASED,
      invariances: SHAPES,
      source: "Song et al. 2012; Kornblith et al. 2019",
    },
    (l, x, y) => cka(l, x, y, { estimator: "unbiased" }),
  ),
  similarity(
    "rbf-cka",
    "RBF CKA, width from the median distance",
    "cka",
    { ...plain, ...kernels, ...BIASED, invariances: SHAPES, source: "Kornblith et al. 2019" },
    (l, x, y) => cka(l, x, y, { kernel: { type: "rbf" } }),
  ),
  similarity(
    "rbf-cka-unbiased",
    "RBF CKA, unbiased",
    "cka",
    { ...plain, ...kernels, ...UNBIASED, invariances: SHAPES, source: "Song et al. 2012" },
    (l, x, y) => cka(l, x, y, { kernel: { type: "rbf" }, estimator: "unbiased" }),
  ),
  distance(
    "cka-angle",
    "Angle of linear CKA",
    "cka",
    { ...metric, ...products, ...BIASED, invariances: SHAPES, source: "Williams et al. 2021" },
    (l, x, y) => ckaAngle(l, x, y),
  ),
  similarity(
    "lange-cka",
    "CKA with the diagonal left out",
    "cka",
    { ...plain, ...kernels, ...UNBIASED, invariances: SHAPES, source: "Lange et al. 2023" },
    langeCka,
  ),
  similarity(
    "rv",
    "RV coefficient",
    "cka",
    { ...plain, ...products, ...BIASED, invariances: SHAPES, source: "Robert & Escoufier 1976" },
    rvCoefficient,
  ),
  similarity(
    "distance-correlation",
    "Distance correlation",
    "cka",
    { ...plain, ...kernels, ...BIASED, invariances: SHAPES, source: "Szekely et al. 2007" },
    distanceCorrelation,
  ),
  similarity(
    "cca",
    "Mean canonical correlation",
    "cca",
    { ...plain, ...decompositions, ...FULL, invariances: MAPS, source: "Hotelling 1936" },
    ccaMean,
  ),
  similarity(
    "cca-r2",
    "Mean squared canonical correlation",
    "cca",
    { ...plain, ...decompositions, ...FULL, invariances: MAPS, source: "Kornblith et al. 2019" },
    (l, x, y) => ccaR2(l, x, y),
  ),
  similarity(
    "svcca",
    "SVCCA, components that explain 99 %",
    "cca",
    { ...plain, ...decompositions, ...FULL, invariances: SHAPES, source: "Raghu et al. 2017" },
    async (l, x, y) => (await svcca(l, x, y)).mean,
  ),
  similarity(
    "pwcca",
    "Projection-weighted CCA",
    "cca",
    {
      ...plain,
      ...decompositions,
      ...FULL,
      symmetric: false,
      invariances: SHAPES.filter((i) => i !== "rotation"),
      source: "Morcos et al. 2018",
    },
    async (l, x, y) => (await pwcca(l, x, y)).pwcca,
  ),
  similarity(
    "pls",
    "Partial least squares",
    "cca",
    { ...plain, ...alignments, ...BIASED, invariances: SHAPES, source: "Wegelin 2000" },
    async (l, x, y) => (await plsSimilarity(l, x, y)).mean,
  ),
  similarity(
    "linear-regression",
    "Linear regression, x from y",
    "cca",
    {
      ...plain,
      ...decompositions,
      ...FULL,
      symmetric: false,
      invariances: SHAPES,
      source: "Kornblith et al. 2019",
    },
    async (l, x, y) => (await linearPredictivity(l, x, y)).xFromY,
  ),
  distance(
    "gulp",
    "GULP, ridge 0.1",
    "cca",
    {
      ...plain,
      ...decompositions,
      ...FULL,
      invariances: SHAPES,
      source: "Boix-Adsera et al. 2022",
    },
    (l, x, y) => gulp(l, x, y, { lambda: 0.1 }),
  ),
  similarity(
    "eigenspace-overlap",
    "Eigenspace overlap",
    "cca",
    {
      ...plain,
      ...decompositions,
      ...FULL,
      invariances: MAPS.filter((i) => i !== "translation"),
      source: "May et al. 2019",
    },
    eigenspaceOverlap,
  ),
  distance(
    "shape",
    "Shape distance, rotations (Procrustes angle)",
    "shape",
    { ...metric, ...alignments, ...BIASED, invariances: SHAPES, source: "Williams et al. 2021" },
    (l, x, y) => shapeDistance(l, x, y),
  ),
  distance(
    "shape-half",
    "Shape distance, half whitened",
    "shape",
    {
      ...metric,
      ...alignments,
      ...FULL,
      invariances: ROTATIONS,
      source: "Williams et al. 2021",
    },
    (l, x, y) => shapeDistance(l, x, y, { alpha: 0.5 }),
  ),
  distance(
    "shape-linear",
    "Shape distance, linear maps (CCA angle)",
    "shape",
    { ...metric, ...alignments, ...FULL, invariances: MAPS, source: "Williams et al. 2021" },
    (l, x, y) => shapeDistance(l, x, y, { group: "linear" }),
  ),
  distance(
    "shape-permutation",
    "Shape distance, orders of units",
    "shape",
    {
      ...metric,
      ...FEW,
      cost: "2 n m^2 and a linear assignment of m units, m = max(p, q)",
      memory: "a matrix m x m",
      invariances: ORDERS,
      source: "Williams et al. 2021",
    },
    (l, x, y) => shapeDistance(l, x, y, { group: "permutation" }),
  ),
  distance(
    "procrustes",
    "Procrustes distance, size and shape",
    "shape",
    {
      ...metric,
      ...alignments,
      ...BIASED,
      invariances: ROTATIONS,
      source: "Schonemann 1966; Ding et al. 2021",
    },
    (l, x, y) => procrustes(l, x, y),
  ),
  distance(
    "procrustes-normalized",
    "Procrustes distance of unit size",
    "shape",
    {
      ...metric,
      ...alignments,
      ...BIASED,
      invariances: SHAPES,
      source: "Schonemann 1966; Ding et al. 2021",
    },
    (l, x, y) => procrustes(l, x, y, { normalize: true }),
  ),
  distance(
    "procrustes-permutation",
    "Procrustes distance, orders of units",
    "shape",
    {
      ...metric,
      ...FEW,
      cost: "2 n m^2 and a linear assignment of m units, m = max(p, q)",
      memory: "a matrix m x m",
      invariances: ["permutation", "stimulus-order"],
      source: "Williams et al. 2021",
    },
    (l, x, y) => permutationProcrustes(l, x, y),
  ),
  similarity(
    "nbs",
    "Normalized Bures similarity",
    "shape",
    { ...plain, ...alignments, ...BIASED, invariances: SHAPES, source: "Tang et al. 2020" },
    normalizedBuresSimilarity,
  ),
  similarity(
    "aligned-cosine",
    "Cosine of patterns after rotation",
    "shape",
    {
      ...plain,
      ...alignments,
      ...BIASED,
      invariances: ["permutation", "rotation", "scaling", "stimulus-order"],
      source: "Hamilton et al. 2016",
    },
    (l, x, y) => alignedCosine(l, x, y),
  ),
  distance(
    "riemannian",
    "Riemannian distance of kernels, ridge 0.1",
    "shape",
    {
      ...metric,
      ...FEW,
      cost: "2 n^2 (p + q) and 5 n^3",
      memory: "five n x n matrices",
      invariances: SHAPES,
      source: "Shahbazi et al. 2021",
    },
    (l, x, y) => riemannianKernelDistance(l, x, y),
  ),
  similarity(
    "hard-match",
    "Correlation of units matched one to one",
    "shape",
    {
      ...plain,
      ...FEW,
      cost: "2 n p q and a linear assignment",
      memory: "a p x q matrix",
      invariances: ORDERS,
      source: "Li et al. 2015",
    },
    hardCorrelationMatch,
  ),
  similarity(
    "pairwise-match",
    "Correlation of each unit with its best partner",
    "shape",
    {
      ...plain,
      ...FEW,
      cost: "2 n p q",
      memory: "a p x q matrix",
      invariances: ORDERS,
      source: "Li et al. 2015",
    },
    async (l, x, y) => (await pairwiseMatch(l, x, y)).mean,
  ),
  distance(
    "soft-matching",
    "Soft matching distance",
    "shape",
    {
      ...metric,
      ...FEW,
      cost: "2 n p q and an optimal transport, (p + q) p q or so",
      memory: "three p x q matrices",
      invariances: ORDERS,
      source: "Khosla & Williams 2024",
    },
    async (l, x, y) => (await softMatching(l, x, y)).distance,
  ),
  similarity(
    "mutual-knn",
    "Mutual nearest neighbours, k = 10",
    "neighbours",
    {
      ...plain,
      ...kernels,
      ...NEIGHBOURS,
      invariances: ["permutation", "rotation", "scaling", "stimulus-order"],
      source: "Huh et al. 2024",
    },
    (l, x, y) => mutualKnn(l, x, y, { k: k(x) }),
  ),
  similarity(
    "cycle-knn",
    "Cycle consistency of neighbours, k = 10",
    "neighbours",
    {
      ...plain,
      ...kernels,
      ...NEIGHBOURS,
      symmetric: false,
      invariances: ["permutation", "rotation", "scaling", "stimulus-order"],
      source: "Huh et al. 2024",
    },
    (l, x, y) => cycleKnn(l, x, y, { k: k(x) }),
  ),
  similarity(
    "lcs-knn",
    "Longest common subsequence of neighbours, k = 10",
    "neighbours",
    {
      ...plain,
      ...kernels,
      ...NEIGHBOURS,
      invariances: ["permutation", "rotation", "scaling", "stimulus-order"],
      source: "Huh et al. 2024",
    },
    (l, x, y) => lcsKnn(l, x, y, { k: k(x) }),
  ),
  similarity(
    "cknna",
    "CKA among mutual neighbours, k = 10",
    "neighbours",
    {
      ...plain,
      ...kernels,
      ...NEIGHBOURS,
      symmetric: false,
      invariances: ["permutation", "rotation", "stimulus-order"],
      source: "Huh et al. 2024",
    },
    (l, x, y) => cknna(l, x, y, { k: k(x) }),
  ),
  similarity(
    "knn-jaccard",
    "Jaccard similarity of neighbourhoods, k = 10",
    "neighbours",
    {
      ...plain,
      ...kernels,
      ...NEIGHBOURS,
      invariances: ["permutation", "rotation", "scaling", "stimulus-order"],
      source: "Wang et al. 2022",
    },
    (l, x, y) => knnJaccard(l, x, y, { k: k(x) }),
  ),
  similarity(
    "rank-similarity",
    "Rank similarity of neighbours, k = 10",
    "neighbours",
    {
      ...plain,
      ...kernels,
      ...NEIGHBOURS,
      invariances: ["permutation", "rotation", "scaling", "stimulus-order"],
      source: "Wang et al. 2022",
    },
    (l, x, y) => rankSimilarity(l, x, y, { k: k(x) }),
  ),
  similarity(
    "rank-jaccard",
    "Joint rank and Jaccard similarity, k = 10",
    "neighbours",
    {
      ...plain,
      ...kernels,
      ...NEIGHBOURS,
      invariances: ["permutation", "rotation", "scaling", "stimulus-order"],
      source: "Wang et al. 2022",
    },
    (l, x, y) => rankJaccard(l, x, y, { k: k(x) }),
  ),
  similarity(
    "second-order-cosine",
    "Second-order cosine similarity, k = 10",
    "neighbours",
    {
      ...plain,
      ...kernels,
      ...NEIGHBOURS,
      invariances: ["permutation", "rotation", "scaling", "stimulus-order"],
      source: "Hamilton et al. 2016",
    },
    (l, x, y) => secondOrderCosine(l, x, y, { k: k(x) }),
  ),
  similarity(
    "ssm",
    "Similarity of similarity matrices",
    "rsa",
    {
      ...plain,
      ...kernels,
      ...FEW,
      invariances: ["permutation", "scaling", "stimulus-order"],
      source: "Shi et al. 2019",
    },
    ssm,
  ),
  distance(
    "rsm-norm-difference",
    "Norm of the difference of distance matrices",
    "rsa",
    {
      ...plain,
      ...FEW,
      cost: "2 n^2 (p + q) and the eigenvalues of n x n",
      memory: "three n x n matrices",
      invariances: ROTATIONS,
      source: "Yin & Shen 2018",
    },
    rsmNormDifference,
  ),
  distance(
    "magnitude-difference",
    "Difference of the lengths of mean patterns",
    "rsa",
    {
      ...plain,
      ...FEW,
      cost: "n (p + q)",
      memory: "none",
      invariances: ["permutation", "rotation", "stimulus-order"],
      source: "Klabunde et al. 2023",
    },
    async (_, x, y) => magnitudeDifference(x, y),
  ),
  distance(
    "uniformity-difference",
    "Difference of uniformity",
    "rsa",
    { ...plain, ...kernels, ...FEW, invariances: ROTATIONS, source: "Wang & Isola 2020" },
    uniformityDifference,
  ),
  distance(
    "concentricity-difference",
    "Difference of concentricity",
    "rsa",
    {
      ...plain,
      ...FEW,
      cost: "n (p + q)",
      memory: "none",
      invariances: ["permutation", "rotation", "scaling", "stimulus-order"],
      source: "Klabunde et al. 2023",
    },
    async (_, x, y) => concentricityDifference(x, y),
  ),
];

/** A measure's value and what to know before believing it. */
export interface MeasuredSimilarity {
  readonly value: number;
  /** Empty if there is nothing to say. */
  readonly warnings: readonly string[];
}

/**
 * Computes a measure by its name, and says when the data are too few for it or it came out undefined.
 *
 * @param name - Of {@link representationMeasures}.
 * @param x - `[n, p]`, finite.
 * @param y - `[n, q]`, the same stimuli.
 * @returns `value` NaN is always explained by a warning.
 * @throws {ArgumentError} if there is no such measure.
 * @throws As the measure.
 *
 * @example
 * import { createLinalg } from "@penfield/linalg";
 * const linalg = createLinalg();
 * const x = activations([[1, 0], [0, 1], [-1, -1], [2, 1], [0, 3]]);
 * (await compareActivations(linalg, "linear-cka", x, x)).value.toFixed(9) // => "1.000000000"
 */
export async function compareActivations(
  linalg: Linalg,
  name: string,
  x: Activations,
  y: Activations,
): Promise<MeasuredSimilarity> {
  const measure = representationMeasures.find((m) => m.name === name);
  if (!measure) {
    throw new ArgumentError(`compareActivations: expected a known measure, got ${name}`, {
      hint: `Known are ${representationMeasures.map((m) => m.name).join(", ")}.`,
    });
  }
  const value = await measure.compute(linalg, x, y);
  const warnings: string[] = [];
  const nUnits = Math.max(x.shape[1], y.shape[1]);
  const few = sampleWarning(measure, x.shape[0], nUnits);
  if (few) warnings.push(few);
  for (const [which, m] of [
    ["x", x],
    ["y", y],
  ] as const) {
    const found = degeneracies(m);
    if (found) warnings.push(`${name}: ${which} has ${found}`);
  }
  if (Number.isNaN(value)) {
    warnings.push(
      `${name}: not defined for these data (a representation or pattern without variation, or a normalizer that is not positive)`,
    );
  }
  return { value, warnings };
}

/** Constant units and patterns of zeros, counted. */
function degeneracies({ data, shape: [n, p] }: Activations): string | undefined {
  let constant = 0;
  for (let j = 0; j < p; j++) {
    let same = true;
    for (let i = 1; i < n && same; i++) same = data[i * p + j] === data[j];
    if (same) constant++;
  }
  let zeros = 0;
  for (let i = 0; i < n; i++) {
    let all = true;
    for (let j = 0; j < p && all; j++) all = data[i * p + j] === 0;
    if (all) zeros++;
  }
  const parts = [
    constant > 0 ? `${constant} of ${p} units that do not vary` : "",
    zeros > 0 ? `${zeros} of ${n} patterns that are all zeros` : "",
  ].filter((part) => part !== "");
  return parts.length === 0 ? undefined : parts.join(" and ");
}
