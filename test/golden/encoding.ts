import {
  groupedFolds,
  predict,
  type RidgeModel,
  type RidgeScore,
  ridgeCv,
  ridgeScores,
} from "@penfield/align";
import { type Tensor, tensor } from "@penfield/core";
import { matrix } from "@penfield/linalg";
import {
  contrast,
  type LayerActivations,
  leastSelective,
  selectUnits,
  toMask,
} from "@penfield/localize";
import {
  benjaminiHochberg,
  mean,
  pearson,
  pearsonColumns,
  rankP,
  signFlipTest,
  standardDeviation,
  studentTP,
  wilcoxonSignedRank,
} from "@penfield/stats";
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

function stats(arrays: CaseArrays): Check[] {
  const { data, shape } = need(arrays, "data");
  const [nSubjects, nTests] = shape as [number, number];
  const columns = Array.from({ length: nTests }, (_, j) =>
    Float64Array.from({ length: nSubjects }, (_, i) => data[i * nTests + j]!),
  );
  const t = columns.map((x) => mean(x) / (standardDeviation(x) / Math.sqrt(nSubjects)));
  const values = (name: string) => need(arrays, name).data;
  return [
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
  const at = (draw: number, i: number): number =>
    orders[draw * nBlocks + Math.floor(i / size)]! * size + (i % size);
  const nulls = Float64Array.from({ length: nDraws }, (_, draw) =>
    pearson(
      y,
      y.map((_, i) => predicted[at(draw, i)]!),
    ),
  );
  const observed = pearson(y, predicted);
  return [
    within(T_TOLERANCE, "r", [observed], [Number(r)]),
    within(T_TOLERANCE, "null", nulls, values("null"), T_TOLERANCE),
    within(1e-12, "p", [rankP(observed, nulls)], [Number(p)]),
  ];
}

const SCORES: Record<string, RidgeScore> = { correlation_score: "correlation", r2_score: "r2" };

/** A check to a share of the largest value of the array: what rounding in one solution of the system scales with. */
function toScale(
  share: number,
  name: string,
  got: ArrayLike<number>,
  expected: ArrayLike<number>,
): Check {
  const scale = Array.from(expected).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return within(0, name, got, expected, share * scale);
}

/** The coefficients of stimuli instead of units: what is left of y at the stimuli fitted to, over the penalty. */
async function dualOf(
  model: RidgeModel,
  x: Tensor<readonly ["stimulus", "unit"]>,
  y: ArrayLike<number>,
): Promise<Float64Array> {
  const fitted = await predict(model, x);
  const nTargets = fitted.shape[1];
  return Float64Array.from(y, (v, i) => (v - fitted.data[i]!) / model.bestAlphas[i % nTargets]!);
}

/** Replays himalaya's RidgeCV and KernelRidgeCV; the case's meta and arrays say with which options. */
function ridge({ tolerance = 1e-8, alphaTolerance = 1e-12 } = {}): CaseReplay {
  return async (arrays, { local_alpha: local, conservative, score_func: score }) => {
    const values = (name: string) => need(arrays, name).data;
    const as = <A extends string>(name: string, second: A): Tensor<readonly ["stimulus", A]> => {
      const { data, shape } = need(arrays, name);
      const own = data instanceof Float32Array ? data : float64(data);
      return tensor(own, ["stimulus", second], [shape[0]!, shape[1]!]);
    };
    const model = await ridgeCv(as("X", "unit"), as("Y", "target"), {
      alphas: Array.from(values("alphas")),
      perTarget: local !== false,
      conservative: conservative === true,
      score: SCORES[String(score)] ?? "l2",
      intercept: "intercept" in arrays,
      ...("runs" in arrays ? { folds: groupedFolds(values("runs")) } : {}),
    });
    const coefficients = "coef" in arrays ? "coef" : "primal";
    const checks = [
      within(alphaTolerance, "best_alphas", model.bestAlphas, values("best_alphas")),
      toScale(tolerance, coefficients, model.coefficients.data, values(coefficients)),
      toScale(tolerance, "cv_scores", model.cvScores, values("cv_scores")),
    ];
    if ("intercept" in arrays) {
      // An intercept is a difference of larger numbers, so its rounding is that of the responses.
      const scale = Array.from(values("Y")).reduce((most, v) => Math.max(most, Math.abs(v)), 0);
      checks.push(within(0, "intercept", model.intercept, values("intercept"), tolerance * scale));
    }
    if ("dual_coef" in arrays) {
      const dual = await dualOf(model, as("X", "unit"), values("Y"));
      checks.push(toScale(tolerance, "dual_coef", dual, values("dual_coef")));
    }
    if (!("Xt" in arrays)) return checks;
    const predicted = await predict(model, as("Xt", "unit"));
    if ("pred" in arrays) checks.push(toScale(tolerance, "pred", predicted.data, values("pred")));
    if ("Yt" in arrays && "r2" in arrays && "corr" in arrays) {
      const [nStimuli, nTargets] = predicted.shape;
      const r2 = new Float64Array(nTargets);
      ridgeScores.r2(
        matrix(float64(values("Yt")), nStimuli, nTargets),
        matrix(float64(predicted.data), nStimuli, nTargets),
        r2,
      );
      checks.push(
        toScale(tolerance, "r2", r2, values("r2")),
        toScale(tolerance, "corr", pearsonColumns(as("Yt", "target"), predicted), values("corr")),
      );
    }
    return checks;
  };
}

/** One penalty, no intercept. The reference solved this by iteration, and is itself some 1e-4 off the closed form. */
async function kernelRidgeFixed(arrays: CaseArrays): Promise<Check[]> {
  const as = <A extends string>(name: string, second: A): Tensor<readonly ["stimulus", A]> => {
    const { data, shape } = need(arrays, name);
    return tensor(float64(data), ["stimulus", second], [shape[0]!, shape[1]!]);
  };
  const model = await ridgeCv(as("X", "unit"), as("Y", "target"), {
    alphas: [10],
    intercept: false,
  });
  const predicted = await predict(model, as("Xt", "unit"));
  const dual = await dualOf(model, as("X", "unit"), need(arrays, "Y").data);
  return [
    toScale(1e-3, "dual_coef", dual, need(arrays, "dual_coef").data),
    toScale(1e-3, "pred", predicted.data, need(arrays, "pred").data),
  ];
}

/** Replays of the encoding cases, by the name that the manifest gives them. */
export const cases: Record<string, CaseReplay> = {
  ridgecv_local: ridge(),
  ridgecv_global: ridge(),
  ridgecv_conservative: ridge(),
  ridgecv_corr: ridge(),
  ridgecv_r2: ridge(),
  ridgecv_nointercept: ridge(),
  ridgecv_runs: ridge(),
  ridgecv_f32: ridge({ tolerance: 1e-3, alphaTolerance: 1e-5 }),
  kernelridgecv_wide: ridge(),
  kernelridge_fixed: kernelRidgeFixed,
  localizer,
  stats,
  block_permutation: blockPermutation,
};

/** Arrays of a mapped case that have no counterpart here yet; the runner says so. */
export const notCompared: Record<string, readonly string[]> = {
  stats: ["t_obs", "cluster_label", "H0"],
};
