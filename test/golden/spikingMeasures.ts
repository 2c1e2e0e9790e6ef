import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  autocorrelation,
  binCounts,
  branchingRatio,
  countCorrelation,
  cracklingNoise,
  cv,
  cv2,
  fanoFactor,
  findAvalanches,
  fitExponential,
  fitPowerLaw,
  isiDistance,
  lv,
  lvr,
  meanOverPairs,
  meanRate,
  naiveBranchingRatio,
  pairwise,
  population,
  regressionSlopes,
  type SpikeTrain,
  sizeGivenDuration,
  spikeDistance,
  spikeSynchronization,
  spikeSynchronizationOfMany,
  spikeTrain,
  spikeTrainRdm,
  sttc,
  type TrainDistance,
  vanRossum,
  victorPurpura,
} from "@penfield/spikes";
import { kendallTauB, spearman } from "@penfield/stats";
import { type CaseReplay, type Check, exact, type FoundCase, within } from "./replay.ts";

type Matrix = number[][];

interface Fit {
  readonly sse: number;
  readonly A: number;
  readonly tau_ms: number;
  readonly m: number;
  readonly offset?: number;
}

interface ActivityCase {
  readonly true_m: number;
  readonly subsampling: number;
  readonly activity: number[][];
  readonly dt_ms: number;
  readonly kmax: number;
  readonly rk_stationarymean: number[];
  readonly rk_trialseparated: number[];
  readonly fit_sm: Fit;
  readonly fit_sm_offset: Fit;
  readonly fit_ts: Fit;
  readonly fit_ts_offset: Fit;
  readonly naive_m_k1: number;
}

/** golden/spiking/metrics.json, as far as it is replayed. */
interface Metrics {
  readonly T: number;
  readonly trains: number[][];
  readonly victor_purpura: Record<string, Matrix>;
  readonly van_rossum: Record<string, Matrix>;
  readonly pyspike: {
    readonly index: number[];
    readonly isi_distance: Matrix;
    readonly spike_distance: Matrix;
    readonly spike_sync: Matrix;
    readonly multi: Record<"isi_distance" | "spike_distance" | "spike_sync", number>;
  };
  readonly single: Partial<Record<"n" | "rate" | "cv" | "cv2" | "lv" | "lvr", number>>[];
  readonly fano: { readonly trials: number[][]; readonly fanofactor: number };
  readonly sttc: Record<string, Matrix>;
  readonly binned_corr: {
    readonly bin: number;
    readonly counts: Matrix;
    readonly pearson: Matrix;
    readonly pearson_binary: Matrix;
  };
  readonly mr_estimator: { readonly cases: ActivityCase[] };
  readonly avalanches: {
    readonly counts: number[];
    readonly sizes: number[];
    readonly durations: number[];
    readonly alpha_size_xmin1: number;
    readonly alpha_size_2_100: number;
    readonly n_2_100: number;
    readonly alpha_dur_1_50: number;
    readonly mean_size_vs_duration_slope: number;
    readonly slope_durations_used: number[];
    readonly crackling_rhs: number;
    readonly branching_ratio_naive: number;
  };
  readonly autocorr: {
    readonly x: number[];
    readonly lags: number;
    readonly ac: number[];
    readonly A: number;
    readonly tau: number;
  };
  readonly rsa: {
    readonly T: number;
    readonly rep0: number[][][];
    readonly rep1: number[][][];
    readonly tau: number;
    readonly rdm_vr_rep0: Matrix;
    readonly rdm_vr_rep1: Matrix;
    readonly rdm_vp_q20_rep0: Matrix;
    readonly rdm_rate_euclid_rep0: Matrix;
    readonly spearman_rep0_rep1: number;
    readonly spearman_vr_vs_rate: number;
    readonly kendall_taub_vr_vs_vp: number;
  };
}

/** Of measures in closed form: the reference is printed to 13 digits. */
const CLOSED = 1e-10;
/** Of fits: both sides stop searching at their own tolerance. spiking.md gives 1e-4 for tau. */
const FITTED = 1e-4;

const flat = (rows: Matrix): number[] => rows.flat();
const upper = (rows: Matrix): number[] => rows.flatMap((row, i) => row.slice(i + 1));

const trainsOf = (rows: number[][], tStop: number): SpikeTrain[] =>
  rows.map((times) => spikeTrain(times, { tStop }));

function distances({ trains, T, victor_purpura, van_rossum }: Metrics): Record<string, CaseReplay> {
  const all = trainsOf(trains, T);
  const matrix = (measure: TrainDistance, expected: Matrix): Check =>
    within(CLOSED, "distances", pairwise(all, measure).data, flat(expected), 1e-9);
  return Object.fromEntries([
    ...Object.entries(victor_purpura).map(([q, expected]) => [
      `victor_purpura/q=${q}`,
      () => [matrix((a, b) => victorPurpura(a, b, { costPerSecond: Number(q) }), expected)],
    ]),
    ...Object.entries(van_rossum).map(([tau, expected]) => [
      `van_rossum/tau=${tau}`,
      () => [matrix((a, b) => vanRossum(a, b, { tauSeconds: Number(tau) }), expected)],
    ]),
  ]);
}

function withoutScale({ trains, T, pyspike }: Metrics): Record<string, CaseReplay> {
  const all = trainsOf(
    pyspike.index.map((i) => trains[i]!),
    T,
  );
  const checks = (measure: TrainDistance, expected: Matrix, mean: number, many: number) => [
    within(CLOSED, "pairs", pairwise(all, measure).data, flat(expected), 1e-11),
    within(CLOSED, "multivariate", [mean], [many]),
  ];
  return {
    "pyspike/isi_distance": () =>
      checks(
        isiDistance,
        pyspike.isi_distance,
        meanOverPairs(all, isiDistance),
        pyspike.multi.isi_distance,
      ),
    "pyspike/spike_distance": () =>
      checks(
        spikeDistance,
        pyspike.spike_distance,
        meanOverPairs(all, spikeDistance),
        pyspike.multi.spike_distance,
      ),
    "pyspike/spike_sync": () =>
      checks(
        spikeSynchronization,
        pyspike.spike_sync,
        spikeSynchronizationOfMany(all),
        pyspike.multi.spike_sync,
      ),
  };
}

function singleTrains({
  trains,
  T,
  single,
  fano,
  pyspike,
  sttc: tiling,
  binned_corr,
}: Metrics): Record<string, CaseReplay> {
  const all = trainsOf(trains, T);
  const chosen = pyspike.index.map((i) => all[i]!);
  const column = (name: keyof Metrics["single"][number], of: (train: SpikeTrain) => number) => {
    const with_ = single.flatMap((row, i) => (row[name] === undefined ? [] : [i]));
    return within(
      CLOSED,
      name,
      with_.map((i) => of(all[i]!)),
      with_.map((i) => single[i]![name]!),
    );
  };
  return {
    single: () => [
      column("n", (train) => train.times.length),
      column("rate", meanRate),
      column("cv", cv),
      column("cv2", cv2),
      column("lv", lv),
      column("lvr", (train) => lvr(train, { refractorySeconds: 0.005 })),
    ],
    fano: () => [
      within(
        CLOSED,
        "fanofactor",
        [fanoFactor(fano.trials.map((times) => times.length))],
        [fano.fanofactor],
      ),
    ],
    ...Object.fromEntries(
      Object.entries(tiling).map(([dt, expected]) => [
        `sttc/dt=${dt}`,
        () => [
          within(
            CLOSED,
            "sttc",
            pairwise(chosen, (a, b) => sttc(a, b, { windowSeconds: Number(dt) })).data,
            flat(expected),
            1e-11,
          ),
        ],
      ]),
    ),
    binned_corr: () => {
      const units = population(chosen);
      const binSeconds = binned_corr.bin;
      return [
        exact("counts", binCounts(units, { binSeconds }).data, flat(binned_corr.counts)),
        within(
          CLOSED,
          "pearson",
          countCorrelation(units, { binSeconds }).data,
          flat(binned_corr.pearson),
          1e-11,
        ),
        within(
          CLOSED,
          "pearson_binary",
          countCorrelation(units, { binSeconds, binary: true }).data,
          flat(binned_corr.pearson_binary),
          1e-11,
        ),
      ];
    },
  };
}

function branching({ mr_estimator }: Metrics): Record<string, CaseReplay> {
  return Object.fromEntries(
    mr_estimator.cases.map((one, i) => [
      `mr_estimator/${i} m=${one.true_m} seen=${one.subsampling}`,
      () => {
        const { activity, kmax: kMax, dt_ms } = one;
        const fit = (method: "stationaryMean" | "trialSeparated", offset: boolean): number[] => {
          const got = branchingRatio(activity, { kMax, dtSeconds: dt_ms / 1000, method, offset });
          return [got.m, got.tauSeconds * 1000, got.amplitude, got.offset, got.sse];
        };
        const of = ({ m, tau_ms, A, offset = 0, sse }: Fit) => [m, tau_ms, A, offset, sse];
        const slopes = (method: "stationaryMean" | "trialSeparated") =>
          regressionSlopes(activity, { kMax, method });
        return [
          within(
            CLOSED,
            "rk_stationarymean",
            slopes("stationaryMean"),
            one.rk_stationarymean,
            1e-12,
          ),
          within(
            CLOSED,
            "rk_trialseparated",
            slopes("trialSeparated"),
            one.rk_trialseparated,
            1e-12,
          ),
          within(FITTED, "fit_sm", fit("stationaryMean", false), of(one.fit_sm)),
          within(FITTED, "fit_sm_offset", fit("stationaryMean", true), of(one.fit_sm_offset)),
          within(FITTED, "fit_ts", fit("trialSeparated", false), of(one.fit_ts)),
          within(FITTED, "fit_ts_offset", fit("trialSeparated", true), of(one.fit_ts_offset)),
          within(
            CLOSED,
            "naive_m_k1",
            [branchingRatio(activity, { kMax, method: "trialSeparated" }).naive],
            [one.naive_m_k1],
          ),
        ];
      },
    ]),
  );
}

function critical({ avalanches, autocorr }: Metrics): Record<string, CaseReplay> {
  return {
    avalanches: () => {
      const found = findAvalanches(avalanches.counts);
      const bounded = fitPowerLaw(found.sizes, { xMin: 2, xMax: 100 });
      const { size, duration, predicted } = cracklingNoise(found, { duration: { xMax: 50 } });
      const durations = avalanches.slope_durations_used;
      return [
        exact("sizes", found.sizes, avalanches.sizes),
        exact("durations", found.durations, avalanches.durations),
        within(1e-6, "alpha_size_xmin1", [size.alpha], [avalanches.alpha_size_xmin1]),
        within(1e-6, "alpha_size_2_100", [bounded.alpha], [avalanches.alpha_size_2_100]),
        exact("n_2_100", [bounded.nTail], [avalanches.n_2_100]),
        within(1e-6, "alpha_dur_1_50", [duration.alpha], [avalanches.alpha_dur_1_50]),
        within(
          CLOSED,
          "slope of <S>(T)",
          [sizeGivenDuration(found, { durations }).slope],
          [avalanches.mean_size_vs_duration_slope],
        ),
        within(1e-6, "crackling_rhs", [predicted], [avalanches.crackling_rhs]),
        within(
          CLOSED,
          "branching_ratio_naive",
          [naiveBranchingRatio(avalanches.counts)],
          [avalanches.branching_ratio_naive],
        ),
      ];
    },
    autocorr: () => {
      const { x, lags: maxLag, ac, A, tau } = autocorr;
      const r = autocorrelation([x], { maxLag });
      const fit = fitExponential(
        r.map((_, i) => i + 1),
        r,
      );
      return [
        within(CLOSED, "ac", r, ac, 1e-12),
        within(FITTED, "fit", [fit.amplitude, fit.tau], [A, tau]),
      ];
    },
  };
}

function responses({ rsa }: Metrics): Record<string, CaseReplay> {
  const of = (rep: number[][][]) => rep.map((units) => trainsOf(units, rsa.T));
  const [rep0, rep1] = [of(rsa.rep0), of(rsa.rep1)];
  const distance: TrainDistance = (a, b) => vanRossum(a, b, { tauSeconds: rsa.tau });
  const vr0 = spikeTrainRdm(rep0, distance);
  const vr1 = spikeTrainRdm(rep1, distance);
  const vp = spikeTrainRdm(rep0, (a, b) => victorPurpura(a, b, { costPerSecond: 20 }), {
    combine: "sum",
  });
  const rate = spikeTrainRdm(rep0, (a, b) => meanRate(a) - meanRate(b));
  return {
    rsa: () => [
      within(CLOSED, "rdm_vr_rep0", vr0, upper(rsa.rdm_vr_rep0)),
      within(CLOSED, "rdm_vr_rep1", vr1, upper(rsa.rdm_vr_rep1)),
      within(CLOSED, "rdm_vp_q20_rep0", vp, upper(rsa.rdm_vp_q20_rep0)),
      within(CLOSED, "rdm_rate_euclid_rep0", rate, upper(rsa.rdm_rate_euclid_rep0)),
      within(CLOSED, "spearman_rep0_rep1", [spearman(vr0, vr1)], [rsa.spearman_rep0_rep1]),
      within(CLOSED, "spearman_vr_vs_rate", [spearman(vr0, rate)], [rsa.spearman_vr_vs_rate]),
      within(CLOSED, "kendall_vr_vs_vp", [kendallTauB(vr0, vp)], [rsa.kendall_taub_vr_vs_vp]),
    ],
  };
}

const groups: Partial<Record<string, (metrics: Metrics) => Record<string, CaseReplay>>> = {
  victor_purpura: distances,
  pyspike: withoutScale,
  single: singleTrains,
  mr_estimator: branching,
  avalanches: critical,
  rsa: responses,
};

/** Keys of metrics.json that are inputs, or replayed with another key's group. */
const COVERED = new Set([
  "source",
  "T",
  "trains",
  "van_rossum",
  "fano",
  "sttc",
  "binned_corr",
  "autocorr",
]);

/** The measures of spike trains in a folder's metrics.json, one case per measure and setting; none without that file. */
export function casesOfMeasures(folder: string): FoundCase[] {
  const path = join(folder, "metrics.json");
  if (!existsSync(path)) return [];
  const metrics = JSON.parse(readFileSync(path, "utf8")) as Metrics;
  return Object.keys(metrics).flatMap((key) => {
    if (COVERED.has(key)) return [];
    const group = groups[key]?.(metrics);
    const cases: [string, CaseReplay | undefined][] = group
      ? Object.entries(group)
      : [[key, undefined]];
    return cases.map(([name, replay]) => ({
      name: `metrics/${name}`,
      meta: { replay },
      read: () => ({}),
    }));
  });
}

/** How a case of {@link casesOfMeasures} is replayed. */
export const replayMeasure = ({ meta }: FoundCase): CaseReplay | undefined =>
  meta["replay"] as CaseReplay | undefined;
