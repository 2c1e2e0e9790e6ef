import { tensor } from "@penfield/core";
import {
  delayFeatures,
  explainableVariance,
  fitSaturation,
  hemodynamicResponse,
  leaveOneOutBounds,
  type Recording,
  splitHalfCeiling,
  timeSeriesOf,
  zScoreRuns,
} from "@penfield/recordings";
import { type CaseArrays, type CaseReplay, type Check, exact, within } from "./replay.ts";

/** An array of a case that must be there. */
function need(arrays: CaseArrays, name: string): CaseArrays[string] {
  const array = arrays[name];
  if (!array) throw new Error(`expected an array "${name}", got ${Object.keys(arrays).join(", ")}`);
  return array;
}

const float64 = (data: ArrayLike<number>): Float64Array => Float64Array.from(data);

/** Sums of some tens of values. */
const TOLERANCE = 1e-12;

/** A recording from values `[repeat, stimulus, target]`. */
function recordingOf(data: Float64Array, shape: readonly [number, number, number]): Recording {
  return {
    name: "case",
    simulated: false,
    data: tensor(data, ["repeat", "stimulus", "target"], shape),
    stimulusIds: Array.from({ length: shape[1] }, (_, i) => `s${i}`),
    targets: Array.from({ length: shape[2] }, (_, i) => ({ id: `t${i}` })),
    sha256: "",
  };
}

/** Delays, z-scores by run, explainable variance. */
function timeseries(arrays: CaseArrays): Check[] {
  const values = (name: string) => need(arrays, name).data;
  const { data: x, shape } = need(arrays, "X");
  const delayed = delayFeatures(
    tensor(float64(x), ["time", "unit"], [shape[0]!, shape[1]!]),
    // The reference delays across the borders of runs.
    { delays: Array.from(values("delays")) },
  );
  const { data: y, shape: yShape } = need(arrays, "Y");
  const nTargets = yShape[1]!;
  const series = timeSeriesOf({
    values: Array.from({ length: yShape[0]! }, (_, i) =>
      Array.from({ length: nTargets }, (_, t) => y[i * nTargets + t]!),
    ),
    runOnsets: Array.from(values("run_onsets")),
  });
  const repeats = need(arrays, "repeats");
  const { raw, corrected } = explainableVariance(
    recordingOf(float64(repeats.data), repeats.shape as [number, number, number]),
  );
  return [
    exact("X_delayed", delayed.data, values("X_delayed")),
    within(TOLERANCE, "Y_z", zScoreRuns(series).data.data, values("Y_z"), TOLERANCE),
    within(TOLERANCE, "ev_raw", raw, values("ev_raw"), TOLERANCE),
    within(TOLERANCE, "ev_corrected", corrected, values("ev_corrected"), TOLERANCE),
  ];
}

function hrf(arrays: CaseArrays): Check[] {
  return (["spm", "glover"] as const).map((shape) => {
    const { data } = need(arrays, shape);
    // 32 seconds in as many steps as the case has.
    const response = hemodynamicResponse({ shape, stepSeconds: 32 / data.length });
    return within(1e-10, shape, response, data, 1e-15);
  });
}

function noiseCeiling(arrays: CaseArrays): Check[] {
  const { data, shape } = need(arrays, "rep"); // [stimulus, repeat, target]
  const [nStimuli, nRepeats, nTargets] = shape as [number, number, number];
  const moved = new Float64Array(data.length);
  for (let i = 0; i < nStimuli; i++) {
    for (let r = 0; r < nRepeats; r++) {
      for (let t = 0; t < nTargets; t++) {
        moved[(r * nStimuli + i) * nTargets + t] = data[(i * nRepeats + r) * nTargets + t]!;
      }
    }
  }
  const recording = recordingOf(moved, [nRepeats, nStimuli, nTargets]);
  const { reliability } = splitHalfCeiling(recording, { split: "even-odd" });
  const { lower, upper } = leaveOneOutBounds(recording);
  const values = (name: string) => need(arrays, name).data;
  return [
    within(TOLERANCE, "spearman_brown", reliability, values("spearman_brown"), TOLERANCE),
    // r = s / (2 - s) of the corrected one.
    within(
      TOLERANCE,
      "split_half",
      reliability.map((value) => value / (2 - value)),
      values("split_half"),
      TOLERANCE,
    ),
    within(TOLERANCE, "loo_lower", lower, values("loo_lower"), TOLERANCE),
    within(TOLERANCE, "upper", upper, values("upper"), TOLERANCE),
  ];
}

/** The reference stops when a step gains less than 1e-8 of the squared error, so its parameters are good to some 1e-5. */
function ceilingExtrapolation(arrays: CaseArrays): Check[] {
  const { limit, scale } = fitSaturation(need(arrays, "x").data, need(arrays, "y").data);
  return [within(1e-4, "params", [limit, scale], need(arrays, "params").data)];
}

/** Replays of the cases about preparation and ceilings, by the name that the manifest gives them. */
export const preparationCases: Record<string, CaseReplay> = {
  timeseries,
  hrf,
  noise_ceiling: noiseCeiling,
  ceiling_extrapolation: ceilingExtrapolation,
};
