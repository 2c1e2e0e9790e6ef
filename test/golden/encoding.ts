import { tensor } from "@penfield/core";
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
export function need(arrays: CaseArrays, name: string): CaseArrays[string] {
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

/** Replays of the encoding cases, by the name that the manifest gives them. */
export const cases: Record<string, CaseReplay> = { localizer, stats };

/** Arrays of a mapped case that have no counterpart here yet; the runner says so. */
export const notCompared: Record<string, readonly string[]> = {
  stats: ["t_obs", "cluster_label", "H0"],
};
