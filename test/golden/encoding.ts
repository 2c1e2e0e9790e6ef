import {
  brainScore,
  type DetSrm,
  detSrm,
  isc,
  matchCosts,
  matchPredictions,
  orthogonalProcrustes,
  type Srm,
  type SubjectSeries,
  sklearnShuffleSplits,
  srm,
  stratifiedFolds,
  timeGeneralization,
} from "@penfield/align";
import { calcRdm, cka, compareRdms, type RdmComparison, type Rdms } from "@penfield/compare";
import { type Tensor, tensor } from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import {
  contrast,
  type LayerActivations,
  leastSelective,
  selectUnits,
  toMask,
} from "@penfield/localize";
import {
  benjaminiHochberg,
  blockPermutationTest,
  type ClusterTest,
  clusterTest,
  mean,
  pearson,
  signFlipTest,
  standardDeviation,
  studentTP,
  wilcoxonSignedRank,
} from "@penfield/stats";
import { preparationCases } from "./encodingPreparation.ts";
import { regressionCases } from "./encodingRegression.ts";
import {
  type CaseArrays,
  type CaseMeta,
  type CaseReplay,
  type Check,
  exact,
  within,
} from "./replay.ts";

/** An array of a case that must be there. */
function need(arrays: CaseArrays, name: string): CaseArrays[string] {
  const array = arrays[name];
  if (!array) throw new Error(`expected an array "${name}", got ${Object.keys(arrays).join(", ")}`);
  return array;
}

const float64 = (data: ArrayLike<number>): Float64Array => Float64Array.from(data);

/** Welch's t and all that follows from it: rounding of sums of some tens of values. */
const T_TOLERANCE = 1e-10;

function localizer(arrays: CaseArrays, { k: units, percentage }: CaseMeta): Check[] {
  const activations = (name: string): LayerActivations => {
    const { data, shape } = need(arrays, name);
    const [nStimuli, nLayers, nUnits] = shape as [number, number, number];
    return tensor(float64(data), ["stimulus", "layer", "unit"], [nStimuli, nLayers, nUnits]);
  };
  const values = (name: string) => need(arrays, name).data;
  const k = Number(units);
  const percent = Number(percentage);
  const size = contrast(activations("positive"), activations("negative"));
  const signed = contrast(activations("positive"), activations("negative"), { magnitude: false });
  return [
    within(T_TOLERANCE, "t_abs", size.t.data, values("t_abs")),
    within(T_TOLERANCE, "p_abs", size.p.data, values("p_abs")),
    within(T_TOLERANCE, "p_abs_bh", size.q.data, values("p_abs_bh")),
    within(T_TOLERANCE, "cohen_d_abs", size.d.data, values("cohen_d_abs")),
    within(T_TOLERANCE, "t_raw", signed.t.data, values("t_raw")),
    within(T_TOLERANCE, "p_raw", signed.p.data, values("p_raw")),
    exact("mask_abs", toMask(selectUnits(size.t, { k })), values("mask_abs")),
    exact("mask_abs (percent)", toMask(selectUnits(size.t, { percent })), values("mask_abs")),
    exact("mask_raw", toMask(selectUnits(signed.t, { k })), values("mask_raw")),
    exact("mask_bottom_abs", toMask(leastSelective(size.t, k)), values("mask_bottom_abs")),
  ];
}

const sortedSizes = (values: ArrayLike<number>): Float64Array =>
  Float64Array.from(values, Math.abs).sort();

/**
 * MNE's `n_permutations="all"` takes all sign flips but one, left out at random. Takes the same one out of ours, and counts p
 * among the rest.
 */
function withoutOneFlip(
  { nulls, clusters }: ClusterTest,
  theirs: ArrayLike<number>,
): { nulls: Float64Array; pValues: number[] } {
  const wanted = sortedSizes(theirs);
  const ours = sortedSizes(nulls);
  const at = ours.findIndex((value, i) => !(Math.abs(value - (wanted[i] ?? Number.NaN)) < 1e-9));
  const rest = ours.filter((_, i) => i !== at);
  const pValues = clusters.map(({ statistic }) => {
    const least = Math.abs(statistic) * (1 - 1e-12);
    return rest.filter((value) => value >= least).length / rest.length;
  });
  return { nulls: rest, pValues };
}

function stats(arrays: CaseArrays, { cluster_p: clusterP, lib }: CaseMeta): Check[] {
  const { data, shape } = need(arrays, "data");
  const [nSubjects, nTests] = shape as [number, number];
  const columns = Array.from({ length: nTests }, (_, j) =>
    Float64Array.from({ length: nSubjects }, (_, i) => data[i * nTests + j]!),
  );
  const t = columns.map((x) => mean(x) / (standardDeviation(x) / Math.sqrt(nSubjects)));
  const values = (name: string) => need(arrays, name).data;
  const clustered = clusterTest(matrixOf(arrays, "data", ["subject", "point"]), {
    threshold: Number(/threshold=([\d.]+)/.exec(String(lib))?.[1]),
  });
  const { nulls, pValues } = withoutOneFlip(clustered, values("H0"));
  return [
    within(T_TOLERANCE, "t_obs", clustered.t, values("t_obs")),
    exact("cluster_label", clustered.labels, values("cluster_label")),
    within(T_TOLERANCE, "H0", nulls, sortedSizes(values("H0")), T_TOLERANCE),
    within(1e-12, "cluster_p", pValues, clusterP as number[]),
    within(1e-12, "p_bh", benjaminiHochberg(values("p")), values("p_bh")),
    within(T_TOLERANCE, "t1", t, values("t1")),
    within(
      T_TOLERANCE,
      "p1",
      t.map((value) => studentTP(value, nSubjects - 1)),
      values("p1"),
    ),
    within(
      1e-12,
      "wilcoxon_p",
      columns.map((x) => wilcoxonSignedRank(x).p),
      values("wilcoxon_p"),
    ),
    within(
      1e-12,
      "signflip_mean_p",
      columns.map((x) => signFlipTest(x).p),
      values("signflip_mean_p"),
    ),
  ];
}

/** Correlations of blocks put in the orders that the case gives, and the rank of the observed one. */
function blockPermutation(arrays: CaseArrays, { r, p }: CaseMeta): Check[] {
  const values = (name: string) => float64(need(arrays, name).data);
  const y = values("y");
  const predicted = values("pred");
  const { data: orders, shape } = need(arrays, "block_perm");
  const [nDraws, nBlocks] = shape as [number, number];
  const size = y.length / nBlocks;
  const test = blockPermutationTest({
    nItems: y.length,
    blockLength: size,
    orders: Array.from({ length: nDraws }, (_, draw) =>
      Int32Array.from(
        y,
        (_v, i) => orders[draw * nBlocks + Math.floor(i / size)]! * size + (i % size),
      ),
    ),
    statistic: (order) =>
      pearson(
        y,
        Array.from(order, (i) => predicted[i]!),
      ),
  });
  return [
    within(T_TOLERANCE, "r", [test.observed], [Number(r)]),
    within(T_TOLERANCE, "null", test.nulls, values("null"), T_TOLERANCE),
    within(1e-12, "p", [test.p], [Number(p)]),
  ];
}

/** An array of two axes or a column, float64. */
function matrixOf<A extends string, B extends string>(
  arrays: CaseArrays,
  name: string,
  axes: readonly [A, B],
): Tensor<readonly [A, B]> {
  const { data, shape } = need(arrays, name);
  return tensor(float64(data), axes, [shape[0]!, shape[1] ?? 1]);
}

/** Brain-Score's pipelines: least squares over its own random splits, and one leave-one-out penalty over the folds given. */
async function brainScores(arrays: CaseArrays, meta: CaseMeta): Promise<Check[]> {
  const x = matrixOf(arrays, "X", ["stimulus", "unit"]);
  const y = matrixOf(arrays, "Y", ["stimulus", "target"]);
  const fold = need(arrays, "fold").data;
  const rows = Int32Array.from({ length: fold.length }, (_, i) => i);
  const folds = Array.from({ length: need(arrays, "r_ridge").shape[0]! }, (_, f) => ({
    train: rows.filter((i) => fold[i] !== f),
    test: rows.filter((i) => fold[i] === f),
  }));
  const linear = await brainScore(x, y, { recipe: "pereira2018-shuffled" });
  const ridge = await brainScore(x, y, { recipe: "pereira2018-grouped", folds });
  const splits = sklearnShuffleSplits(x.shape[0]);
  const side = (of: "train" | "test") => splits.flatMap((split) => [...split[of]]);
  return [
    exact("train_idx", side("train"), need(arrays, "train_idx").data),
    exact("test_idx", side("test"), need(arrays, "test_idx").data),
    within(1e-8, "r_linear", linear.perSplit.data, need(arrays, "r_linear").data),
    within(1e-8, "r_ridge", ridge.perSplit.data, need(arrays, "r_ridge").data),
    within(1e-8, "score_linear", [linear.raw], [Number(meta["score_linear"])]),
    within(1e-8, "score_ridge", [ridge.raw], [Number(meta["score_ridge"])]),
  ];
}

async function decodingIds(arrays: CaseArrays, meta: CaseMeta): Promise<Check[]> {
  const predicted = matrixOf(arrays, "pred", ["stimulus", "target"]);
  const measured = matrixOf(arrays, "true", ["stimulus", "target"]);
  const costs = await matchCosts(predicted, measured);
  const score = await matchPredictions(predicted, measured, { topK: [1, 3, 10] });
  const [top1, top3, top10] = score.topK;
  const pairs = [
    ["two_v_two", score.twoVersusTwo],
    ["one_v_two", score.oneVersusTwo],
    ["rank_accuracy", score.rankAccuracy],
    ["top1", top1!.accuracy],
    ["top3", top3!.accuracy],
    ["top10", top10!.accuracy],
  ] as const;
  return [
    within(1e-10, "cost", costs.data, need(arrays, "cost").data, 1e-14),
    exact("rank", score.ranks, need(arrays, "rank").data),
    ...pairs.map(([name, value]) => within(1e-12, name, [value], [Number(meta[name])])),
  ];
}

/** Values `[time, target, subject]` as one series per subject. */
function subjectsOf({ data, shape }: CaseArrays[string]): SubjectSeries[] {
  const [n, p, nSubjects] = shape as [number, number, number];
  return Array.from({ length: nSubjects }, (_, s) =>
    tensor(
      Float64Array.from({ length: n * p }, (_v, i) => data[i * nSubjects + s]!),
      ["time", "target"],
      [n, p],
    ),
  );
}

function interSubject(arrays: CaseArrays): Check[] {
  const subjects = subjectsOf(need(arrays, "data"));
  const loo = isc(subjects, { summary: "fisher" });
  const pairwise = isc(subjects, { method: "pairwise", summary: "median" });
  const check = (name: string, got: ArrayLike<number>): Check =>
    within(1e-8, name, got, need(arrays, name).data, 1e-12);
  return [
    check("loo", loo.values.data),
    check("pairwise", pairwise.values.data),
    check("loo_mean_fisher", loo.summary),
    check("pairwise_median", pairwise.summary),
  ];
}

/** `[rows, columns]` turned round. */
function turned({ data, shape }: CaseArrays[string]): Float64Array {
  const [n, p] = shape as [number, number];
  return Float64Array.from({ length: n * p }, (_, i) => data[(i % n) * p + Math.floor(i / n)]!);
}

/** Random starts to look through: the manifest does not say which one the reference had. */
const SEEDS = 1024;

/**
 * Ten iterations from another start end elsewhere, so the start is looked for by its seed. Bases that agree to 1e-6 everywhere
 * do so because the start was the same.
 */
function sharedResponse(fit: typeof srm | typeof detSrm): CaseReplay {
  return async (arrays, meta) => {
    const names = Object.keys(arrays).filter((name) => /^X\d+$/.test(name));
    const subjects = names.map((name) => {
      const array = need(arrays, name);
      return tensor(turned(array), ["time", "target"], [array.shape[1]!, array.shape[0]!]);
    });
    const first = need(arrays, "W0");
    const linalg = createLinalg();
    try {
      for (let seed = 0; seed < SEEDS; seed++) {
        const space = await fit(subjects, {
          nFeatures: first.shape[1]!,
          seed,
          variant: "brainiak",
          linalg,
        });
        const near = space.bases[0]!.data.every((v, i) => Math.abs(v - first.data[i]!) < 1e-6);
        if (near) return sharedChecks(space, arrays, meta);
      }
      return { notJudged: `no start of seeds 0 to ${SEEDS - 1} leads to these bases` };
    } finally {
      await linalg.dispose();
    }
  };
}

function sharedChecks(space: Srm | DetSrm, arrays: CaseArrays, meta: CaseMeta): Check[] {
  const checks = space.bases.map(({ data }, s) =>
    within(1e-8, `W${s}`, data, need(arrays, `W${s}`).data, 1e-9),
  );
  checks.push(within(1e-8, "S", space.shared.data, turned(need(arrays, "S")), 1e-8));
  if ("noiseVariances" in space) {
    const { noiseVariances, covariance } = space;
    checks.push(
      within(1e-8, "rho2", noiseVariances, need(arrays, "rho2").data),
      within(1e-8, "sigma_s", covariance.data, need(arrays, "sigma_s").data, 1e-8),
    );
  } else {
    // The reference's objective is the whole squared error; ours is half of it per sample.
    const last = space.objective.at(-1)! * 2 * space.shared.shape[0];
    checks.push(within(1e-8, "objective", [last], [Number(meta["objective"])]));
  }
  return checks;
}

async function procrustes(arrays: CaseArrays, meta: CaseMeta): Promise<Check[]> {
  const centred = (name: string): SubjectSeries => {
    const { data, shape } = need(arrays, name);
    const [n, p] = shape as [number, number];
    const means = new Float64Array(p);
    for (let i = 0; i < data.length; i++) means[i % p]! += data[i]! / n;
    const values = float64(data).map((value, i) => value - means[i % p]!);
    return tensor(values, ["time", "target"], [n, p]);
  };
  const { rotation, scale } = await orthogonalProcrustes(centred("M"), centred("N"));
  return [
    within(1e-8, "R", rotation.data, need(arrays, "R").data, 1e-12),
    within(1e-8, "scale", [scale], [Number(meta["scale"])]),
  ];
}

async function generalization(arrays: CaseArrays): Promise<Check[]> {
  const { data, shape } = need(arrays, "X");
  const [n, p, t] = shape as [number, number, number];
  const labels = Array.from(need(arrays, "y").data);
  const folds = stratifiedFolds(labels, 5);
  const foldOf = new Int32Array(n);
  folds.forEach(({ test }, f) => {
    for (const i of test) foldOf[i] = f;
  });
  const x = tensor(float64(data), ["stimulus", "target", "time"], [n, p, t]);
  const { perFold } = await timeGeneralization(x, labels, {
    classifier: "lda",
    shrinkage: 0.1,
    folds,
  });
  return [
    exact("fold", foldOf, need(arrays, "fold").data),
    within(1e-12, "auc", perFold.data, need(arrays, "auc").data),
  ];
}

/** The reference took the cosine of squared distances, all else of correlation distances. */
const COMPARISONS = [
  ["spearman", "spearman"],
  ["pearson", "pearson"],
  ["kendall_b", "tau-b"],
] as const;

/** RDMs by correlation and squared distance, comparisons of the former, and linear CKA. */
async function rsaCka(arrays: CaseArrays, meta: CaseMeta): Promise<Check[]> {
  const linalg = createLinalg();
  try {
    const sides = {
      A: matrixOf(arrays, "A", ["stimulus", "unit"]),
      B: matrixOf(arrays, "B", ["stimulus", "unit"]),
    };
    const checks: Check[] = [];
    const correlation: Rdms[] = [];
    const distance: Rdms[] = [];
    for (const [side, x] of Object.entries(sides)) {
      const r = await calcRdm(x, { method: "correlation", linalg });
      const squared = await calcRdm(x, { method: "euclidean", linalg });
      correlation.push(r);
      distance.push(squared);
      checks.push(
        within(1e-8, `rdm_corr_${side}`, r.data, need(arrays, `rdm_corr_${side}`).data),
        within(1e-8, `rdm_sqe_${side}`, squared.data, need(arrays, `rdm_sqe_${side}`).data),
      );
    }
    const compared = async (name: string, [a, b]: readonly Rdms[], method: RdmComparison) => {
      const { data } = await compareRdms(a!, b!, { method, linalg });
      checks.push(within(1e-8, name, data, [Number(meta[name])]));
    };
    for (const [name, method] of COMPARISONS) await compared(name, correlation, method);
    await compared("cosine", distance, "cosine");
    checks.push(
      within(
        1e-8,
        "cka_linear",
        [await cka(linalg, sides.A, sides.B)],
        [Number(meta["cka_linear"])],
      ),
    );
    return checks;
  } finally {
    await linalg.dispose();
  }
}

/** Replays of the encoding cases, by the name that the manifest gives them. */
export const cases: Record<string, CaseReplay> = {
  ...regressionCases,
  ...preparationCases,
  localizer,
  stats,
  block_permutation: blockPermutation,
  brainscore: brainScores,
  decoding_ids: decodingIds,
  isc: interSubject,
  srm: sharedResponse(srm),
  detsrm: sharedResponse(detSrm),
  procrustes,
  time_generalization: generalization,
  rsa_cka: rsaCka,
};

/** Arrays of a mapped case that have no counterpart here; the runner says so. */
export const notCompared: Record<string, readonly string[]> = {};
