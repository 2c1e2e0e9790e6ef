import {
  bandedRidgeCv,
  correlationSplit,
  groupedFolds,
  type Kernel,
  kernelRidgeCv,
  type LinearModel,
  predict,
  predictBands,
  predictionScores,
  predictKernels,
  type Responses,
  type RidgeModel,
  type RidgeScore,
  r2Split,
  relativeWeights,
  ridgeCv,
  stackingWeights,
  variancePartition,
} from "@penfield/align";
import { type Activations, type FloatArray, type Tensor, tensor } from "@penfield/core";
import { pearsonColumns } from "@penfield/stats";
import { type CaseArrays, type CaseReplay, type Check, within } from "./replay.ts";

/** An array of a case that must be there. */
function need(arrays: CaseArrays, name: string): CaseArrays[string] {
  const array = arrays[name];
  if (!array) throw new Error(`expected an array "${name}", got ${Object.keys(arrays).join(", ")}`);
  return array;
}

const floats = (data: ArrayLike<number>): FloatArray =>
  data instanceof Float32Array ? data : Float64Array.from(data);

function as<A extends string>(
  arrays: CaseArrays,
  name: string,
  second: A,
): Tensor<readonly ["stimulus", A]> {
  const { data, shape } = need(arrays, name);
  return tensor(floats(data), ["stimulus", second], [shape[0]!, shape[1]!]);
}

/** Parts of an array of three axes, by the first. */
function parts(arrays: CaseArrays, name: string): Responses[] {
  const { data, shape } = need(arrays, name);
  const [count, n, m] = shape as [number, number, number];
  return Array.from({ length: count }, (_, k) =>
    tensor(
      Float64Array.from({ length: n * m }, (_v, i) => data[k * n * m + i]!),
      ["stimulus", "target"],
      [n, m],
    ),
  );
}

function rows(arrays: CaseArrays, name: string): number[][] {
  const { data, shape } = need(arrays, name);
  return Array.from({ length: shape[0]! }, (_, i) =>
    Array.from({ length: shape[1]! }, (_v, j) => data[i * shape[1]! + j]!),
  );
}

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

const SCORES: Record<string, RidgeScore> = { correlation_score: "correlation", r2_score: "r2" };

/** The coefficients of stimuli instead of units: what is left of y at the stimuli fitted to, over the penalty. */
async function dualOf(
  model: RidgeModel,
  x: Activations,
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
    const model = await ridgeCv(as(arrays, "X", "unit"), as(arrays, "Y", "target"), {
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
      const dual = await dualOf(model, as(arrays, "X", "unit"), values("Y"));
      checks.push(toScale(tolerance, "dual_coef", dual, values("dual_coef")));
    }
    if (!("Xt" in arrays)) return checks;
    const predicted = await predict(model, as(arrays, "Xt", "unit"));
    if ("pred" in arrays) checks.push(toScale(tolerance, "pred", predicted.data, values("pred")));
    if ("Yt" in arrays && "r2" in arrays && "corr" in arrays) {
      const measured = as(arrays, "Yt", "target");
      const r2 = predictionScores(measured, predicted, "r2");
      checks.push(
        toScale(tolerance, "r2", r2, values("r2")),
        toScale(tolerance, "corr", pearsonColumns(measured, predicted), values("corr")),
      );
    }
    return checks;
  };
}

function gram(x: Activations, other: Activations): FloatArray {
  const [n, p] = x.shape;
  const m = other.shape[0];
  const out = new Float64Array(n * m);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < m; j++) {
      for (let u = 0; u < p; u++) out[i * m + j]! += x.data[i * p + u]! * other.data[j * p + u]!;
    }
  }
  return out;
}

/** One penalty, no intercept. The reference solved this by iteration, and is itself some 1e-4 off the closed form. */
async function kernelRidgeFixed(arrays: CaseArrays): Promise<Check[]> {
  const [x, other] = [as(arrays, "X", "unit"), as(arrays, "Xt", "unit")];
  const n = x.shape[0];
  const kernel: Kernel = tensor(gram(x, x), ["stimulus", "stimulus"], [n, n]);
  const across = tensor(gram(other, x), ["other", "stimulus"], [other.shape[0], n]);
  const model = await kernelRidgeCv([kernel], as(arrays, "Y", "target"), { alphas: [10] });
  const { total } = await predictKernels(model, [across]);
  // Ours are times the penalty, as himalaya's are where several kernels are mixed.
  const dual = model.dual.data.map((value) => value / 10) as FloatArray;
  return [
    toScale(1e-3, "dual_coef", dual, need(arrays, "dual_coef").data),
    toScale(1e-3, "pred", total.data, need(arrays, "pred").data),
  ];
}

/** How many contiguous folds the reference had; its files do not say. */
const WEIGHT_FOLDS = 4;

async function bandedRidge(arrays: CaseArrays): Promise<Check[]> {
  const values = (name: string) => need(arrays, name).data;
  const groups = Array.from(values("groups"));
  const labels = [...new Set(groups)].sort((a, b) => a - b);
  const members = labels.map((label) => [...groups.keys()].filter((u) => groups[u] === label));
  const spacesOf = (name: string): Activations[] => {
    const { data, shape } = as(arrays, name, "unit");
    return members.map((units) =>
      tensor(
        Float64Array.from({ length: shape[0] * units.length }, (_, i) => {
          return data[Math.floor(i / units.length) * shape[1] + units[i % units.length]!]!;
        }),
        ["stimulus", "unit"],
        [shape[0], units.length],
      ),
    );
  };
  const model = await bandedRidgeCv(spacesOf("X"), as(arrays, "Y", "target"), {
    alphas: Array.from(values("alphas")),
    weights: rows(arrays, "gammas"),
    folds: WEIGHT_FOLDS,
  });
  const nTargets = model.bestAlphas.length;
  const order = members.flat();
  const expected = Float64Array.from({ length: order.length * nTargets }, (_, i) => {
    return values("coef")[order[Math.floor(i / nTargets)]! * nTargets + (i % nTargets)]!;
  });
  const held = await predictBands(model, spacesOf("Xt"));
  return [
    within(1e-10, "deltas", model.deltas.data, values("deltas")),
    toScale(1e-8, "cv_scores", model.cvScores.data, values("cv_scores")),
    toScale(1e-8, "coef", model.coefficients.data, expected),
    toScale(1e-7, "intercept", model.intercept, values("intercept")),
    toScale(1e-8, "pred", held.total.data, values("pred")),
    toScale(
      1e-8,
      "pred_split",
      held.parts.flatMap(({ data }) => [...data]),
      values("pred_split"),
    ),
  ];
}

async function multipleKernels(arrays: CaseArrays): Promise<Check[]> {
  const values = (name: string) => need(arrays, name).data;
  const kernels = parts(arrays, "Ks").map(({ data, shape }) =>
    tensor(data, ["stimulus", "stimulus"], [shape[0], shape[1]]),
  );
  const model = await kernelRidgeCv(kernels, as(arrays, "Y", "target"), {
    alphas: Array.from(values("alphas")),
    weights: rows(arrays, "gammas"),
    folds: WEIGHT_FOLDS,
  });
  return [
    within(1e-10, "deltas", model.deltas.data, values("deltas")),
    toScale(1e-8, "cv_scores", model.cvScores.data, values("cv_scores")),
    toScale(1e-8, "dual_coef", model.dual.data, values("dual_coef")),
  ];
}

/** sklearn's leave-one-out in closed form. */
function generalized(perTarget: boolean): CaseReplay {
  return async (arrays) => {
    const values = (name: string) => need(arrays, name).data;
    const model = await ridgeCv(as(arrays, "X", "unit"), as(arrays, "Y", "target"), {
      alphas: Array.from(values("alphas")),
      perTarget,
      folds: "leave-one-out",
    });
    const [nUnits, nTargets] = model.coefficients.shape;
    const chosen = perTarget ? model.bestAlphas : model.bestAlphas.subarray(0, 1);
    // sklearn's coefficients are [target, unit].
    const turned = Float64Array.from({ length: nUnits * nTargets }, (_, i) => {
      return model.coefficients.data[(i % nUnits) * nTargets + Math.floor(i / nUnits)]!;
    });
    const checks = [
      within(1e-12, "alpha", chosen, values("alpha")),
      toScale(1e-8, "coef", turned, values("coef")),
      toScale(1e-8, "intercept", model.intercept, values("intercept")),
    ];
    if ("best_score" in arrays) {
      checks.push(toScale(1e-8, "best_score", model.cvScores, values("best_score")));
    }
    return checks;
  };
}

function scoreSplit(arrays: CaseArrays): Check[] {
  const values = (name: string) => need(arrays, name).data;
  const y = as(arrays, "y_true", "target");
  const split = parts(arrays, "pred_split");
  const whole = {
    ...y,
    data: y.data.map((_, i) => split.reduce((s, { data }) => s + data[i]!, 0)),
  };
  return [
    toScale(1e-10, "r2_joint", predictionScores(y, whole as Responses, "r2"), values("r2_joint")),
    toScale(1e-10, "r2_split", r2Split(y, split).data, values("r2_split")),
    toScale(1e-9, "r2_split_svd", relativeWeights(y, split).data, values("r2_split_svd")),
    toScale(1e-10, "corr_split", correlationSplit(y, split).data, values("corr_split")),
  ];
}

async function partitionAndStack(arrays: CaseArrays): Promise<Check[]> {
  const values = (name: string) => need(arrays, name).data;
  const groups = Array.from(values("groups"));
  const [y, held] = [as(arrays, "Y", "target"), as(arrays, "Yt", "target")];
  const pick = (name: string, wanted: readonly number[]): Activations => {
    const { data, shape } = as(arrays, name, "unit");
    const units = [...groups.keys()].filter((u) => wanted.includes(groups[u]!));
    return tensor(
      Float64Array.from({ length: shape[0] * units.length }, (_, i) => {
        return data[Math.floor(i / units.length) * shape[1] + units[i % units.length]!]!;
      }),
      ["stimulus", "unit"],
      [shape[0], units.length],
    );
  };
  const labels = [...new Set(groups)].sort((a, b) => a - b) as [number, number];
  const predicted: Responses[] = [];
  for (const wanted of [[labels[0]], [labels[1]], labels]) {
    const model = await ridgeCv(pick("X", wanted), y, { alphas: [1] });
    predicted.push(await predict(model, pick("Xt", wanted)));
  }
  const r2 = predicted.map((one) => predictionScores(held, one, "r2"));
  const regions = variancePartition([
    { spaces: [0], r2: r2[0]! },
    { spaces: [1], r2: r2[1]! },
    { spaces: [0, 1], r2: r2[2]! },
  ]).map(({ share }) => share);
  const both = parts(arrays, "yhat");
  return [
    toScale(1e-8, "r2_A", r2[0]!, values("r2_A")),
    toScale(1e-8, "r2_B", r2[1]!, values("r2_B")),
    toScale(1e-8, "r2_AB", r2[2]!, values("r2_AB")),
    toScale(1e-8, "unique_A", regions[0]!, values("unique_A")),
    toScale(1e-8, "unique_B", regions[1]!, values("unique_B")),
    toScale(1e-8, "shared", regions[2]!, values("shared")),
    toScale(
      1e-8,
      "yhat",
      predicted.slice(0, 2).flatMap(({ data }) => [...data]),
      values("yhat"),
    ),
    toScale(1e-8, "stack_w", stackingWeights(held, both).data, values("stack_w")),
  ];
}

/** A receptive field is ridge on the stimulus at several delays, zeros before its start, about the stimulus's mean. */
async function receptiveField(arrays: CaseArrays): Promise<Check[]> {
  const values = (name: string) => need(arrays, name).data;
  const { data: stimulus, shape } = need(arrays, "stim");
  const [n, nFeatures] = shape as [number, number];
  const delays = Array.from(values("delays"));
  const width = nFeatures * delays.length;
  const means = Array.from({ length: nFeatures }, (_, f) => {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += stimulus[i * nFeatures + f]!;
    return sum / n;
  });
  const delayed = (centre: readonly number[]): Activations =>
    tensor(
      Float64Array.from({ length: n * width }, (_, at) => {
        const f = Math.floor((at % width) / delays.length);
        const i = Math.floor(at / width) - delays[at % delays.length]!;
        return i >= 0 && i < n ? stimulus[i * nFeatures + f]! - centre[f]! : 0;
      }),
      ["stimulus", "unit"],
      [n, width],
    );
  const y = as(arrays, "resp", "target");
  const nTargets = y.shape[1];
  const yMeans = Array.from({ length: nTargets }, (_, t) => {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += y.data[i * nTargets + t]!;
    return sum / n;
  });
  const centred = { ...y, data: y.data.map((v, i) => v - yMeans[i % nTargets]!) as FloatArray };
  const { coefficients } = await ridgeCv(delayed(means), centred, {
    alphas: [1],
    intercept: false,
  });
  const turned = Float64Array.from({ length: width * nTargets }, (_, i) => {
    return coefficients.data[(i % width) * nTargets + Math.floor(i / width)]!;
  });
  const intercept = Float64Array.from(yMeans, (mean, t) => {
    let sum = 0;
    for (let u = 0; u < width; u++) {
      sum += means[Math.floor(u / delays.length)]! * coefficients.data[u * nTargets + t]!;
    }
    return mean - sum;
  });
  const model: LinearModel = { coefficients, intercept };
  const predicted = await predict(model, delayed(means.map(() => 0)));
  // Scored where every delay lies within the recording.
  const first = Math.max(0, ...delays);
  const valid = ({ data }: Responses): Responses =>
    tensor(data.subarray(first * nTargets), ["stimulus", "target"], [n - first, nTargets]);
  return [
    toScale(1e-8, "coef", turned, values("coef")),
    toScale(1e-8, "intercept", intercept, values("intercept")),
    toScale(1e-8, "pred", predicted.data, values("pred")),
    toScale(1e-8, "score", pearsonColumns(valid(y), valid(predicted)), values("score")),
  ];
}

/** Replays of the encoding cases that are regressions, by the name that the manifest gives them. */
export const regressionCases: Record<string, CaseReplay> = {
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
  banded_ridge: bandedRidge,
  mkr: multipleKernels,
  score_split: scoreSplit,
  sk_gcv: generalized(true),
  sk_gcv_shared: generalized(false),
  varpart_stack: partitionAndStack,
  mne_rf: receptiveField,
};
