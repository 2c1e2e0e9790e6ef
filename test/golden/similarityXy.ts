import {
  alignedCosine,
  ccaR2,
  cka,
  ckaAngle,
  cknna,
  concentricityDifference,
  cycleKnn,
  distanceCorrelation,
  eigenspaceOverlap,
  fitShapeMetric,
  gulp,
  hardCorrelationMatch,
  knnJaccard,
  lcsKnn,
  linearPredictivity,
  magnitudeDifference,
  minibatchCka,
  mutualKnn,
  normalizedBuresSimilarity,
  pairwiseMatch,
  partialWhitening,
  permutationProcrustes,
  procrustes,
  pwcca,
  rankJaccard,
  rankSimilarity,
  rsmNormDifference,
  rvCoefficient,
  type ShapeMetricOptions,
  scoreShapes,
  secondOrderCosine,
  shapeDistance,
  softMatching,
  svcca,
  uniformityDifference,
} from "@penfield/compare";
import { type Activations, tensor } from "@penfield/core";
import { createLinalg, type Linalg } from "@penfield/linalg";
import { spearman } from "@penfield/stats";
import type { SimilarityCase, SimilarityMapping, SimilarityReplay } from "./similarity.ts";

/** One set of sessions for all cases. */
let shared: Linalg | undefined;
const linalg = (): Linalg => {
  shared ??= createLinalg({ threads: 1 });
  return shared;
};

function input({ arrays, label }: SimilarityCase, name: string) {
  const found = arrays[name];
  if (!found) throw new Error(`${label}: expected an input ${name}`);
  return { data: Float64Array.from(found.data), shape: found.shape };
}

function activationsOf(found: SimilarityCase, name: string): Activations {
  const { data, shape } = input(found, name);
  return tensor(data, ["stimulus", "unit"], [shape[0]!, shape[1]!]);
}

/**
 * Theirs for ours where both are below what arccos can resolve near 0 (it gives 0 or 1.5e-8, 2.1e-8 ...,
 * depending on the last bit of the cosine; ours is taken from the chord and is 1e-16).
 */
const sameZero = (ours: number, theirs: unknown): number =>
  typeof theirs === "number" && ours < 5e-8 && theirs < 5e-8 ? theirs : ours;

/** A measure of X and Y. */
const ofPair =
  (
    measure: (l: Linalg, x: Activations, y: Activations, found: SimilarityCase) => unknown,
  ): SimilarityReplay =>
  (found) =>
    measure(linalg(), activationsOf(found, "X"), activationsOf(found, "Y"), found);

/** A shape metric fitted to X and Y, scored on them and on held-out stimuli. */
const trainAndTest =
  (options: ShapeMetricOptions): SimilarityReplay =>
  async (found) => {
    const [x, y, xt, yt] = ["X", "Y", "Xt", "Yt"].map((name) => activationsOf(found, name)) as [
      Activations,
      Activations,
      Activations,
      Activations,
    ];
    const fitted = await fitShapeMetric(linalg(), x, y, options);
    const theirs = (found.output ?? {}) as { train?: number; test?: number };
    const zero = options.score === "euclidean" ? (ours: number) => ours : sameZero;
    return {
      train: zero(await scoreShapes(linalg(), fitted, x, y), theirs.train),
      test: zero(await scoreShapes(linalg(), fitted, xt, yt), theirs.test),
      ...(fitted.match ? matchLikeTheirs(found, fitted.match) : {}),
    };
  };

/** Units matched to the zeros that fill up the smaller network are all alike: theirs are taken over where both are that. */
function matchLikeTheirs(found: SimilarityCase, match: Int32Array): Record<string, number[]> {
  const [nx, ny] = [input(found, "X").shape[1]!, input(found, "Y").shape[1]!];
  const theirs = (found.output as { Py: number[] }).Py;
  return {
    Px: Array.from(match.keys()),
    Py: Array.from(match, (j, i) => {
      const their = theirs[i]!;
      return (j >= ny && their >= ny) || i >= nx ? their : j;
    }),
  };
}

const platonic = { denominatorOffset: 1e-6 } as const;

const xy: Record<string, SimilarityReplay> = {
  cka_linear_gram: ofPair((l, x, y) => cka(l, x, y, { form: "gram" })),
  cka_linear_gram_debiased: ofPair((l, x, y) =>
    cka(l, x, y, { form: "gram", estimator: "unbiased" }),
  ),
  cka_linear_feature: ofPair((l, x, y) => cka(l, x, y, { form: "feature" })),
  cka_linear_feature_debiased: ofPair((l, x, y) => cka(l, x, y, { estimator: "debiased" })),
  cka_rbf_1: ofPair((l, x, y) => cka(l, x, y, { kernel: { type: "rbf", scale: 1 } })),
  "cka_rbf_.5": ofPair((l, x, y) => cka(l, x, y, { kernel: { type: "rbf", scale: 0.5 } })),
  "cka_rbf_.5_debiased": ofPair((l, x, y) =>
    cka(l, x, y, { kernel: { type: "rbf", scale: 0.5 }, estimator: "unbiased" }),
  ),
  cca_r2: ofPair((l, x, y) => ccaR2(l, x, y, { compat: "kornblith" })),
  netrep_LinearCKA: ofPair(async (l, x, y, { output }) =>
    sameZero(await ckaAngle(l, x, y), output),
  ),
  netrep_LinearCKA_uncentred: ofPair((l, x, y) => ckaAngle(l, x, y, { center: false })),
  platonic_cka: ofPair((l, x, y) => cka(l, x, y, { ...platonic, form: "gram" })),
  platonic_unbiased_cka: ofPair((l, x, y) => cka(l, x, y, { ...platonic, estimator: "unbiased" })),
  perm_angular: trainAndTest({ group: "permutation" }),
  perm_euclidean: trainAndTest({ group: "permutation", score: "euclidean" }),
  resi_procrustes_size_and_shape: ofPair((l, x, y) => procrustes(l, x, y)),
  resi_orthogonal_procrustes: ofPair((l, x, y) => procrustes(l, x, y, { center: false })),
  resi_orthogonal_procrustes_centered_normalized: ofPair((l, x, y) =>
    procrustes(l, x, y, { normalize: true }),
  ),
  resi_permutation_procrustes: ofPair((l, x, y) => permutationProcrustes(l, x, y)),
  resi_orthogonal_angular_centered: ofPair(async (l, x, y, { output }) =>
    sameZero(await shapeDistance(l, x, y), output),
  ),
  resi_gulp_l0: ofPair((l, x, y) => gulp(l, x, y)),
  "resi_gulp_l0.1": ofPair((l, x, y) => gulp(l, x, y, { lambda: 0.1 })),
  "resi_gulp_l1.0": ofPair((l, x, y) => gulp(l, x, y, { lambda: 1 })),
  resi_linear_regression: ofPair(async (l, x, y) => (await linearPredictivity(l, x, y)).xFromY),
  resi_distance_correlation: ofPair((l, x, y) => distanceCorrelation(l, x, y)),
  resi_hard_correlation_match: ofPair((l, x, y) => hardCorrelationMatch(l, x, y)),
  resi_soft_correlation_match: ofPair(async (l, x, y) => (await pairwiseMatch(l, x, y)).mean),
  resi_eigenspace_overlap: ofPair((l, x, y) => eigenspaceOverlap(l, x, y)),
  resi_rsm_norm_diff: ofPair((l, x, y) => rsmNormDifference(l, x, y)),
  resi_magnitude_difference: ofPair((_, x, y) => magnitudeDifference(x, y)),
  resi_uniformity_difference: ofPair((l, x, y) => uniformityDifference(l, x, y)),
  resi_concentricity_difference: ofPair((_, x, y) => concentricityDifference(x, y)),
  resi_resi_cka: ofPair((l, x, y) => cka(l, x, y)),
  resi_rsa_corr_spearman: ofPair((_, x, y) =>
    spearman(patternCorrelations(x), patternCorrelations(y)),
  ),
  resi_aligned_cossim: ofPair((l, x, y) => alignedCosine(l, x, y)),
  svcca_google_cca_mean: ofPair(async (l, x, y) => {
    const { coefficients } = await svcca(l, x, y, { compat: "google" });
    const kept = firstShare(coefficients, 0.98);
    const mean = (v: Float64Array) => v.reduce((sum, value) => sum + value, 0) / v.length;
    return { coef: coefficients, mean_all: mean(coefficients), mean_98: mean(kept) };
  }),
  resi_svcca: ofPair(async (l, x, y) => (await svcca(l, x, y, { compat: "resi" })).mean),
  svcca99_exact: ofPair(async (l, x, y) => {
    const { coefficients, xRank, yRank, mean, meanSquare } = await svcca(l, x, y);
    return { kx: xRank, ky: yRank, coef: coefficients, mean, mean_sq: meanSquare };
  }),
  pwcca_google: ofPair(async (l, x, y, { output }) => {
    const { pwcca: value, weights, coefficients } = await pwcca(l, x, y, { compat: "google" });
    return typeof output === "number" ? value : { pwcca: value, weights, coef: coefficients };
  }),
  pwcca_exact: ofPair(async (l, x, y) => {
    const { pwcca: value, weights, coefficients } = await pwcca(l, x, y);
    return { pwcca: value, weights, coef: coefficients };
  }),
  soft_matching_EMD: ofPair(async (l, x, y) => {
    const { distance, correlation } = await softMatching(l, x, y);
    return { distance, distance_sq: distance ** 2, corr_score: correlation };
  }),
  rv_coefficient: ofPair((l, x, y) => rvCoefficient(l, x, y)),
  nbs: ofPair((l, x, y) => normalizedBuresSimilarity(l, x, y)),
};

/** Correlations of the patterns of all pairs of stimuli, upper triangle. */
function patternCorrelations({ data, shape: [n, p] }: Activations): Float64Array {
  const rows = Array.from({ length: n }, (_, i) => {
    const row = Float64Array.from(data.subarray(i * p, (i + 1) * p));
    const mean = row.reduce((sum, v) => sum + v, 0) / p;
    const off = row.map((v) => v - mean);
    const size = Math.sqrt(off.reduce((sum, v) => sum + v * v, 0));
    return off.map((v) => v / size);
  });
  const out: number[] = [];
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) {
      out.push(rows[i]!.reduce((sum, v, k) => sum + v * rows[j]![k]!, 0));
    }
  }
  return Float64Array.from(out);
}

/** As many leading values as come before the share of the sum is reached (`sum_threshold` of google/svcca); all if never. */
function firstShare(values: Float64Array, share: number): Float64Array {
  const total = values.reduce((sum, v) => sum + v, 0);
  let sum = 0;
  for (let i = 0; i < values.length; i++) {
    if (sum / total >= share) return values.slice(0, i);
    sum += values[i]!;
  }
  return values;
}

/** Labels with parameters in them. */
const xyPatterns: readonly [RegExp, SimilarityReplay][] = [
  [
    /^cka_minibatch_\d+$/,
    ofPair(async (l, x, y, { params }) => {
      const {
        xx,
        xy: cross,
        yy,
        cka: ratio,
      } = await minibatchCka(l, x, y, {
        batch: Number(params["batch"]),
      });
      return { hsic_kk: xx, hsic_kl: cross, hsic_ll: yy, cka: ratio };
    }),
  ],
  [
    /^platonic_(mutual|cycle|lcs)_knn_\d+(_l2norm)?$|^platonic_cknna_\d+(_l2norm)?$/,
    ofPair((l, x, y, { label, params }) => {
      const by = label.endsWith("_l2norm") ? "cosine" : "dot";
      const measure = /mutual/.test(label)
        ? mutualKnn
        : /cycle/.test(label)
          ? cycleKnn
          : /lcs/.test(label)
            ? lcsKnn
            : cknna;
      return measure(l, x, y, { k: Number(params["k"]), by });
    }),
  ],
  [
    /^shape_a/,
    (found) =>
      trainAndTest({
        alpha: Number(found.params["alpha"]),
        score: found.params["score"] as "angular" | "euclidean",
        center: found.params["center"] === true,
      })(found),
  ],
  [
    /^whiten_a/,
    async (found) => {
      const alpha = Number(found.label.slice("whiten_a".length));
      const { data, shape } = input(found, "X");
      const [n, p] = shape as [number, number];
      for (let j = 0; j < p; j++) {
        let mean = 0;
        for (let i = 0; i < n; i++) mean += data[i * p + j]! / n;
        for (let i = 0; i < n; i++) data[i * p + j]! -= mean;
      }
      const z = await partialWhitening(linalg(), { data, nRows: n, nColumns: p }, alpha);
      return z?.data;
    },
  ],
  [
    /^resi_(jaccard|second_order_cosine|rank|joint_rank_jaccard)_similarity_\d+$/,
    ofPair((l, x, y, { label }) => {
      const k = Number(label.slice(label.lastIndexOf("_") + 1));
      if (label.startsWith("resi_jaccard")) return knnJaccard(l, x, y, { k });
      if (label.startsWith("resi_rank")) return rankSimilarity(l, x, y, { k });
      if (label.startsWith("resi_joint")) return rankJaccard(l, x, y, { k });
      return secondOrderCosine(l, x, y, { k });
    }),
  ],
];

/** Results of the groups xy, stochastic and dsa. */
export const mapXy: SimilarityMapping = (group, label) => {
  if (group === "xy") {
    if (Object.hasOwn(xy, label)) return xy[label];
    return xyPatterns.find(([pattern]) => pattern.test(label))?.[1];
  }
  return undefined;
};
