import { type Activations, ArgumentError, createRng, ShapeError } from "@penfield/core";
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
import { type ShapeMemory, shapeDistance } from "../shape/shapeMetric.ts";
import { geometryScore } from "../topology/geometryScore.ts";
import { ccaMean, ccaR2, plsSimilarity, pwcca, rvCoefficient, svcca } from "./cca.ts";
import { cka, ckaAngle, langeCka } from "./cka.ts";
import {
  concentricityDifference,
  distanceCorrelation,
  magnitudeDifference,
  rsmNormDifference,
  uniformityDifference,
} from "./distances.ts";
import { imd } from "./imd.ts";
import { hardCorrelationMatch, pairwiseMatch, softMatching } from "./matching.ts";
import { checkSameStimuli } from "./pair.ts";
import { eigenspaceOverlap, gulp, linearPredictivity } from "./regression.ts";
import { rtd } from "./rtd.ts";
import { ssm } from "./ssm.ts";

type Details = Omit<
  MeasureInfo,
  "name" | "title" | "kind" | "family" | "larger" | "withoutVariation"
>;

/** Stimuli in the same order in both, in any order: true of all measures of two matrices. */
const ROTATIONS: readonly Invariance[] = [
  "translation",
  "permutation",
  "rotation",
  "stimulus-order",
];
const SHAPES: readonly Invariance[] = [...ROTATIONS, "scaling"];
const MAPS: readonly Invariance[] = [...SHAPES, "linear"];
const PATTERNS: readonly Invariance[] = ["permutation", "rotation", "scaling", "stimulus-order"];
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
const assignments = {
  cost: "2 n m^2 and a linear assignment of m units, m = max(p, q)",
  memory: "a matrix m x m",
};
const passes = { cost: "n (p + q)", memory: "none" };
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
const LOOPS = ofStimuli(
  50,
  "50 stimuli: with fewer there are hardly any loops, and their number grows with that of stimuli",
);
const WITNESSES = ofStimuli(
  500,
  "500 stimuli: with fewer, 64 landmarks have too few witnesses, and loops are gaps between stimuli",
);
const NEIGHBOURS = ofStimuli(
  100,
  "100 stimuli, ten times the 10 neighbours: below, neighbourhoods are the whole data",
);

const symmetric = { metric: false, symmetric: true } as const;
const directed = { metric: false, symmetric: false } as const;
const metric = { metric: true, symmetric: true } as const;

/** Name, title, source, how it is computed, and in what it differs from the others of its table. */
type Row = readonly [
  name: string,
  title: string,
  source: string,
  compute: RepresentationMeasure["compute"],
  differs?: Partial<Details>,
];

/** Measures of a family that share what is said about them. */
const table = (
  family: MeasureInfo["family"],
  larger: MeasureInfo["larger"],
  shared: Omit<Details, "source">,
  rows: readonly Row[],
): readonly RepresentationMeasure[] =>
  rows.map(([name, title, source, compute, differs]) => {
    const info = {
      name,
      title,
      kind: "representation" as const,
      family,
      larger,
      withoutVariation: SIZES.includes(name) ? ("defined" as const) : ("undefined" as const),
      ...shared,
      source,
      ...differs,
    };
    return { ...info, compute: guarded(info, compute) };
  });

/** Of a representation in which all stimuli are alike these still say what they say: it has a size, or a direction. */
const SIZES: readonly string[] = [
  "procrustes",
  "procrustes-permutation",
  "eigenspace-overlap",
  "aligned-cosine",
  "rsm-norm-difference",
  "magnitude-difference",
  "uniformity-difference",
  "concentricity-difference",
];

/** Below this many stimuli nothing is like or unlike anything. */
const LEAST_STIMULI = 3;

/**
 * The measure, with what is true of all of them: fewer than three stimuli are refused; stimuli that are all alike are
 * NaN unless the measure has a meaning there; numbers whose squares no float64 holds are brought to size first, where
 * size makes no difference.
 */
function guarded(
  { name, invariances, withoutVariation }: MeasureInfo,
  compute: RepresentationMeasure["compute"],
): RepresentationMeasure["compute"] {
  const toSize = invariances.includes("scaling") ? ofUsualSize : (m: Activations) => m;
  return async (linalg, x, y, memory) => {
    checkSameStimuli(name, x, y);
    if (x.shape[0] < LEAST_STIMULI) {
      throw new ShapeError(
        `${name}: expected at least ${LEAST_STIMULI} stimuli, got ${x.shape[0]}`,
      );
    }
    // Of the measure itself: what is not finite, or has no units, is refused there.
    const allAlike = [x, y].some((m) => m.shape[1] > 0 && !varies(m));
    if (allAlike && withoutVariation === "undefined" && [x, y].every(hasFiniteValues))
      return Number.NaN;
    const value = await compute(linalg, toSize(x), toSize(y), memory);
    return Number.isFinite(value) ? value : Number.NaN;
  };
}

const hasFiniteValues = ({ data }: Activations): boolean => data.every(Number.isFinite);

/** Whether any stimulus has other values than the first. */
function varies({ data, shape: [n, p] }: Activations): boolean {
  for (let at = p; at < n * p; at++) if (data[at] !== data[at % p]) return true;
  return false;
}

/** Values times a power of two if they are so large or small that sums of their squares or fourth powers are not held. */
function ofUsualSize(x: Activations): Activations {
  let largest = 0;
  for (const value of x.data) largest = Math.max(largest, Math.abs(value));
  const isUsual = largest > 1e-60 && largest < 1e60;
  if (isUsual || largest === 0 || !Number.isFinite(largest)) return x;
  const scale = 2 ** Math.min(1000, -Math.round(Math.log2(largest)));
  return { ...x, data: Float64Array.from(x.data, (value) => value * scale) };
}

/** k for neighbours where a command line gives none: 10, or as many as there are. */
const k = (x: Activations): number => Math.max(1, Math.min(10, x.shape[0] - 1));

/**
 * Every measure of two matrices of activations, with what can be said about it beforehand. The command
 * line, the docs and the tests enumerate this.
 */
export const representationMeasures: readonly RepresentationMeasure[] = [
  ...table("cka", "more alike", { ...symmetric, ...products, ...BIASED, invariances: SHAPES }, [
    ["linear-cka", "Linear CKA", "Kornblith et al. 2019", (l, x, y) => cka(l, x, y)],
    [
      "linear-cka-unbiased",
      "Linear CKA, unbiased",
      "Song et al. 2012; Kornblith et al. 2019",
      (l, x, y) => cka(l, x, y, { estimator: "unbiased" }),
      UNBIASED,
    ],
    ["rv", "RV coefficient", "Robert & Escoufier 1976", rvCoefficient],
  ]),
  ...table("cka", "more alike", { ...symmetric, ...kernels, ...BIASED, invariances: SHAPES }, [
    [
      "rbf-cka",
      "RBF CKA, width from the median distance",
      "Kornblith et al. 2019",
      (l, x, y) => cka(l, x, y, { kernel: { type: "rbf" } }),
    ],
    [
      "rbf-cka-unbiased",
      "RBF CKA, unbiased",
      "Song et al. 2012",
      (l, x, y) => cka(l, x, y, { kernel: { type: "rbf" }, estimator: "unbiased" }),
      UNBIASED,
    ],
    ["lange-cka", "CKA with the diagonal left out", "Lange et al. 2023", langeCka, UNBIASED],
    ["distance-correlation", "Distance correlation", "Szekely et al. 2007", distanceCorrelation],
  ]),
  ...table("cka", "less alike", { ...metric, ...products, ...BIASED, invariances: SHAPES }, [
    ["cka-angle", "Angle of linear CKA", "Williams et al. 2021", (l, x, y) => ckaAngle(l, x, y)],
  ]),
  ...table("cca", "more alike", { ...symmetric, ...decompositions, ...FULL, invariances: MAPS }, [
    ["cca", "Mean canonical correlation", "Hotelling 1936", ccaMean],
    [
      "cca-r2",
      "Mean squared canonical correlation",
      "Kornblith et al. 2019",
      (l, x, y) => ccaR2(l, x, y),
    ],
    [
      "svcca",
      "SVCCA, components that explain 99 %",
      "Raghu et al. 2017",
      async (l, x, y) => (await svcca(l, x, y)).mean,
      { invariances: SHAPES },
    ],
    [
      "pwcca",
      "Projection-weighted CCA",
      "Morcos et al. 2018",
      async (l, x, y) => (await pwcca(l, x, y)).pwcca,
      { ...directed, invariances: SHAPES.filter((i) => i !== "rotation") },
    ],
    [
      "pls",
      "Partial least squares",
      "Wegelin 2000",
      async (l, x, y) => (await plsSimilarity(l, x, y)).mean,
      { ...alignments, ...BIASED, invariances: SHAPES },
    ],
    [
      "linear-regression",
      "Linear regression, x from y",
      "Kornblith et al. 2019",
      async (l, x, y) => (await linearPredictivity(l, x, y)).xFromY,
      { ...directed, invariances: SHAPES },
    ],
    [
      "eigenspace-overlap",
      "Eigenspace overlap",
      "May et al. 2019",
      eigenspaceOverlap,
      { invariances: MAPS.filter((i) => i !== "translation") },
    ],
  ]),
  ...table("cca", "less alike", { ...symmetric, ...decompositions, ...FULL, invariances: SHAPES }, [
    [
      "gulp",
      "GULP, ridge 0.1",
      "Boix-Adsera et al. 2022",
      (l, x, y) => gulp(l, x, y, { lambda: 0.1 }),
    ],
  ]),
  ...table("shape", "less alike", { ...metric, ...alignments, ...BIASED, invariances: SHAPES }, [
    [
      "shape",
      "Shape distance, rotations (Procrustes angle)",
      "Williams et al. 2021",
      (l, x, y, memory) => shapeDistance(l, x, y, {}, memory),
    ],
    [
      "shape-half",
      "Shape distance, half whitened",
      "Williams et al. 2021",
      (l, x, y, memory) => shapeDistance(l, x, y, { alpha: 0.5 }, memory),
      { ...FULL, invariances: ROTATIONS },
    ],
    [
      "shape-linear",
      "Shape distance, linear maps (CCA angle)",
      "Williams et al. 2021",
      (l, x, y, memory) => shapeDistance(l, x, y, { group: "linear" }, memory),
      { ...FULL, invariances: MAPS },
    ],
    [
      "shape-permutation",
      "Shape distance, orders of units",
      "Williams et al. 2021",
      (l, x, y, memory) => shapeDistance(l, x, y, { group: "permutation" }, memory),
      { ...assignments, ...FEW, invariances: ORDERS },
    ],
    [
      "procrustes",
      "Procrustes distance, size and shape",
      "Schonemann 1966; Ding et al. 2021",
      (l, x, y) => procrustes(l, x, y),
      { invariances: ROTATIONS },
    ],
    [
      "procrustes-normalized",
      "Procrustes distance of unit size",
      "Schonemann 1966; Ding et al. 2021",
      (l, x, y) => procrustes(l, x, y, { normalize: true }),
    ],
    [
      "procrustes-permutation",
      "Procrustes distance, orders of units",
      "Williams et al. 2021",
      (l, x, y) => permutationProcrustes(l, x, y),
      { ...assignments, ...FEW, invariances: ["permutation", "stimulus-order"] },
    ],
    [
      "riemannian",
      "Riemannian distance of kernels, ridge 0.1",
      "Shahbazi et al. 2021",
      (l, x, y) => riemannianKernelDistance(l, x, y),
      { ...FEW, cost: "2 n^2 (p + q) and 5 n^3", memory: "five n x n matrices" },
    ],
    [
      "soft-matching",
      "Soft matching distance",
      "Khosla & Williams 2024",
      async (l, x, y) => (await softMatching(l, x, y)).distance,
      {
        ...FEW,
        cost: "2 n p q and an optimal transport, (p + q) p q or so",
        memory: "three p x q matrices",
        invariances: ORDERS,
      },
    ],
  ]),
  ...table("shape", "more alike", { ...symmetric, ...alignments, ...BIASED, invariances: SHAPES }, [
    ["nbs", "Normalized Bures similarity", "Tang et al. 2020", normalizedBuresSimilarity],
    [
      "aligned-cosine",
      "Cosine of patterns after rotation",
      "Hamilton et al. 2016",
      (l, x, y) => alignedCosine(l, x, y),
      { invariances: PATTERNS },
    ],
    [
      "hard-match",
      "Correlation of units matched one to one",
      "Li et al. 2015",
      hardCorrelationMatch,
      {
        ...FEW,
        cost: "2 n p q and a linear assignment",
        memory: "a p x q matrix",
        invariances: ORDERS,
      },
    ],
    [
      "pairwise-match",
      "Correlation of each unit with its best partner",
      "Li et al. 2015",
      async (l, x, y) => (await pairwiseMatch(l, x, y)).mean,
      { ...FEW, cost: "2 n p q", memory: "a p x q matrix", invariances: ORDERS },
    ],
  ]),
  ...table(
    "neighbours",
    "more alike",
    { ...symmetric, ...kernels, ...NEIGHBOURS, invariances: PATTERNS },
    [
      [
        "mutual-knn",
        "Mutual nearest neighbours, k = 10",
        "Huh et al. 2024",
        (l, x, y) => mutualKnn(l, x, y, { k: k(x) }),
      ],
      [
        "cycle-knn",
        "Cycle consistency of neighbours, k = 10",
        "Huh et al. 2024",
        (l, x, y) => cycleKnn(l, x, y, { k: k(x) }),
        directed,
      ],
      [
        "lcs-knn",
        "Longest common subsequence of neighbours, k = 10",
        "Huh et al. 2024",
        (l, x, y) => lcsKnn(l, x, y, { k: k(x) }),
      ],
      [
        "cknna",
        "CKA among mutual neighbours, k = 10",
        "Huh et al. 2024",
        (l, x, y) => cknna(l, x, y, { k: k(x) }),
        directed,
      ],
      [
        "knn-jaccard",
        "Jaccard similarity of neighbourhoods, k = 10",
        "Wang et al. 2022",
        (l, x, y) => knnJaccard(l, x, y, { k: k(x) }),
      ],
      [
        "rank-similarity",
        "Rank similarity of neighbours, k = 10",
        "Wang et al. 2022",
        (l, x, y) => rankSimilarity(l, x, y, { k: k(x) }),
      ],
      [
        "rank-jaccard",
        "Joint rank and Jaccard similarity, k = 10",
        "Wang et al. 2022",
        (l, x, y) => rankJaccard(l, x, y, { k: k(x) }),
      ],
      [
        "second-order-cosine",
        "Second-order cosine similarity, k = 10",
        "Hamilton et al. 2016",
        (l, x, y) => secondOrderCosine(l, x, y, { k: k(x) }),
      ],
    ],
  ),
  ...table(
    "neighbours",
    "less alike",
    { ...symmetric, ...NEIGHBOURS, ...kernels, invariances: SHAPES },
    [
      [
        "rtd",
        "Representation topology divergence",
        "Barannikov et al. 2022",
        (l, x, y) => rtd(l, x, y),
        {
          ...LOOPS,
          cost: "4 n^3 and more where loops live long; beyond 500 stimuli, of ten subsets of 500",
          memory: "four n x n matrices",
        },
      ],
      [
        "imd",
        "Multi-scale intrinsic distance, k = 5",
        "Tsitsulin et al. 2020",
        (l, x, y) => imd(l, x, y, { k: Math.min(5, x.shape[0] - 1) }),
        {
          cost: "2 n^2 (p + q) and the eigenvalues of two n x n matrices",
          memory: "three n x n matrices",
        },
      ],
      [
        "geometry-score",
        "Geometry score, 64 landmarks",
        "Khrulkov & Oseledets 2018",
        (l, x, y) => geometryScore(l, x, y),
        {
          ...WITNESSES,
          cost: "2 n^2 (p + q) and, 100 times, 64 n and the loops among 64 landmarks",
          memory: "one n x n matrix",
          // Landmarks are drawn by row: other orders, other landmarks.
          invariances: SHAPES.filter((i) => i !== "stimulus-order"),
        },
      ],
    ],
  ),
  ...table("rsa", "more alike", { ...symmetric, ...kernels, ...FEW, invariances: PATTERNS }, [
    [
      "ssm",
      "Similarity of similarity matrices",
      "Shi et al. 2019",
      ssm,
      { invariances: PATTERNS.filter((i) => i !== "rotation") },
    ],
  ]),
  ...table("rsa", "less alike", { ...symmetric, ...kernels, ...FEW, invariances: ROTATIONS }, [
    [
      "rsm-norm-difference",
      "Norm of the difference of distance matrices",
      "Yin & Shen 2018",
      rsmNormDifference,
      {
        cost: "2 n^2 (p + q) and the eigenvalues of n x n",
        memory: "three n x n matrices",
      },
    ],
    [
      "magnitude-difference",
      "Difference of the lengths of mean patterns",
      "Klabunde et al. 2023",
      async (_, x, y) => magnitudeDifference(x, y),
      { ...passes, invariances: PATTERNS.filter((i) => i !== "scaling") },
    ],
    [
      "uniformity-difference",
      "Difference of uniformity",
      "Wang & Isola 2020",
      uniformityDifference,
    ],
    [
      "concentricity-difference",
      "Difference of concentricity",
      "Klabunde et al. 2023",
      async (_, x, y) => concentricityDifference(x, y),
      { ...passes, invariances: PATTERNS },
    ],
  ]),
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
 * @param memory - From {@link createShapeMemory}, where representations come again.
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
  memory?: ShapeMemory,
): Promise<MeasuredSimilarity> {
  const measure = representationMeasures.find((m) => m.name === name);
  if (!measure) {
    throw new ArgumentError(`compareActivations: expected a known measure, got ${name}`, {
      hint: `Known are ${representationMeasures.map((m) => m.name).join(", ")}.`,
    });
  }
  const value = await measure.compute(linalg, x, y, memory);
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
    if (measure.family === "neighbours") {
      const byLength = measure.invariances.includes("translation");
      const repeated = repeatedPatterns(m, byLength);
      if (repeated > 0) {
        warnings.push(
          `${name}: ${which} has ${repeated} of ${m.shape[0]} patterns ${byLength ? "equal to" : "in the direction of"} another: of equal neighbours the first in order counts`,
        );
      }
    }
  }
  if (Number.isNaN(value)) {
    warnings.push(
      `${name}: not defined for these data (a representation or pattern without variation, or a normalizer that is not positive)`,
    );
  }
  return { value, warnings };
}

/** How many patterns are another one, up to their length if that makes no difference. */
function repeatedPatterns({ data, shape: [n, p] }: Activations, byLength: boolean): number {
  const lengths = Float64Array.from({ length: n }, (_, i) => {
    if (byLength) return 1;
    let square = 0;
    for (let j = 0; j < p; j++) square += data[i * p + j]! ** 2;
    return Math.sqrt(square);
  });
  const at = (i: number, j: number): number => data[i * p + j]! / (lengths[i]! || 1);
  // Equal directions have equal projections on a random one: only neighbours in that order are compared.
  const rng = createRng(0);
  const direction = Float64Array.from({ length: p }, () => rng.normal());
  const projections = Float64Array.from({ length: n }, (_, i) => {
    let sum = 0;
    for (let j = 0; j < p; j++) sum += at(i, j) * direction[j]!;
    return sum;
  });
  const order = Array.from(projections.keys()).sort((a, b) => projections[a]! - projections[b]!);
  const isSame = (a: number | undefined, b: number): boolean => {
    if (a === undefined) return false;
    for (let j = 0; j < p; j++) {
      const [one, other] = [at(a, j), at(b, j)];
      if (Math.abs(one - other) > 1e-12 * Math.abs(one) + 1e-14 * (byLength ? 0 : 1)) return false;
    }
    return true;
  };
  return order.filter((i, place) => isSame(order[place - 1], i) || isSame(order[place + 1], i))
    .length;
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
