import {
  type Activations,
  ArgumentError,
  createRng,
  DataError,
  ShapeError,
  type Tensor,
  tensor,
} from "@penfield/core";
import { quantile } from "@penfield/stats";
import { type EncodingOptions, type EncodingScore, encodingScore } from "../encodingScore.ts";

/** Responses around each stimulus: epochs, `[nStimuli, nTargets, nTimes]`. */
export type EpochedResponses = Tensor<readonly ["stimulus", "target", "time"]>;

/** How well units predict each target at each sample. */
export interface TimeResolvedEncoding {
  /** Held-out r, `[nTargets, nTimes]`; NaN where a sample does not vary. */
  readonly r: Tensor<readonly ["target", "time"]>;
  /** The mean over targets that have a score, [nTimes]. */
  readonly course: Float64Array;
  /** All that `encodingScore` says, its targets being `target * nTimes + time`. */
  readonly score: EncodingScore;
}

/**
 * Encoding at every sample after a stimulus: all sensors and samples are targets of one regression, so that stimuli are decomposed once
 * per fold and not once per sample.
 *
 * @param x - Activations, `[nStimuli, nUnits]`, finite.
 * @param y - `[nStimuli, nTargets, nTimes]`, finite.
 * @param options - As for `encodingScore`; with `permutation`, q is over all targets and samples. For clusters over time, give
 *   subjects' courses to `clusterTest`.
 * @throws As `encodingScore`.
 *
 * Cost: that of `encodingScore` with nTargets nTimes targets.
 * Source: Schrimpf et al. (2021), PNAS; per-sample ridge as in Caucheteux & King (2022), Communications Biology 5:134.
 *
 * @example
 * const x = activations(Array.from({ length: 30 }, (_, i) => [Math.sin(i * i)]));
 * const y = tensor(Float64Array.from({ length: 60 }, (_, i) => (i % 2 ? Math.sin(Math.floor(i / 2) ** 2) : Math.cos(5 * i))), ["stimulus", "target", "time"], [30, 1, 2]);
 * const { course } = await timeResolvedEncoding(x, y, { outerFolds: 3 });
 * course[1] > 0.99 && course[0] < 0.5 // => true
 */
export async function timeResolvedEncoding(
  x: Activations,
  y: EpochedResponses,
  options: EncodingOptions = {},
): Promise<TimeResolvedEncoding> {
  const [nStimuli, nTargets, nTimes] = y.shape;
  const flat = tensor(y.data, ["stimulus", "target"], [nStimuli, nTargets * nTimes]);
  const score = await encodingScore(x, flat, options);
  const course = Float64Array.from({ length: nTimes }, (_, time) => {
    let sum = 0;
    let count = 0;
    for (let t = 0; t < nTargets; t++) {
      const r = score.perTarget[t * nTimes + time]!;
      if (Number.isNaN(r)) continue;
      sum += r;
      count++;
    }
    return sum / count;
  });
  return { r: tensor(score.perTarget, ["target", "time"], [nTargets, nTimes]), course, score };
}

/** When a course is at its height, and how sure that is. */
export interface PeakLatency {
  /** Seconds, of the mean course. */
  readonly latency: number;
  readonly low: number;
  readonly high: number;
  readonly level: number;
  /** The mean course at its peak. */
  readonly height: number;
}

/**
 * When a time course peaks (or sets in), with an interval over subjects.
 *
 * @param courses - `[nSubjects, nTimes]`, at least 2 subjects, finite: scores less chance.
 * @param times - Seconds, [nTimes], ascending.
 * @param options.of - `peak` (default): the highest sample; `onset`: where the mean course first passes half of its peak, between samples by
 *   a line.
 * @param options.window - Only samples within these seconds count. Default: all.
 * @param options.nDraws - Default 2000.
 * @param options.level - Default 0.95.
 * @param options.seed - Default 0.
 * @throws {ShapeError} if sizes do not fit. @throws {DataError} if a value is not finite. @throws {ArgumentError} if an option is out of range.
 *
 * Subjects are resampled and the mean course is measured anew, since latencies of single subjects are often noise.
 *
 * @example
 * const courses = tensor(Float64Array.of(0, 1, 3, 1, 0, 0, 2, 4, 1, 0), ["subject", "time"], [2, 5]);
 * peakLatency(courses, [0, 0.1, 0.2, 0.3, 0.4]).latency // => 0.2
 */
export function peakLatency(
  courses: Tensor<readonly ["subject", "time"]>,
  times: ArrayLike<number>,
  {
    of = "peak",
    window,
    nDraws = 2000,
    level = 0.95,
    seed = 0,
  }: {
    of?: "peak" | "onset" | undefined;
    window?: readonly [from: number, to: number] | undefined;
    nDraws?: number | undefined;
    level?: number | undefined;
    seed?: number | undefined;
  } = {},
): PeakLatency {
  const name = "peakLatency";
  const [nSubjects, nTimes] = courses.shape;
  if (nSubjects < 2 || times.length !== nTimes) {
    throw new ShapeError(
      `${name}: expected at least 2 subjects and a time for each of ${nTimes} samples, got ${nSubjects} and ${times.length}`,
    );
  }
  if (!courses.data.every(Number.isFinite)) {
    throw new DataError(`${name}: expected finite courses, got some that are not`);
  }
  const samples = Array.from({ length: nTimes }, (_, i) => i).filter(
    (i) => window === undefined || (times[i]! >= window[0] && times[i]! <= window[1]),
  );
  if (samples.length === 0 || (of !== "peak" && of !== "onset") || !(level > 0 && level < 1)) {
    throw new ArgumentError(
      `${name}: expected samples in the window, peak or onset, and a level between 0 and 1, got ${samples.length}, ${of} and ${level}`,
    );
  }
  const measure = (subjects: ArrayLike<number>): { latency: number; height: number } => {
    const mean = new Float64Array(nTimes);
    for (let k = 0; k < subjects.length; k++) {
      for (let i = 0; i < nTimes; i++) {
        mean[i]! += courses.data[subjects[k]! * nTimes + i]! / subjects.length;
      }
    }
    const peak = samples.reduce((a, b) => (mean[b]! > mean[a]! ? b : a));
    const height = mean[peak]!;
    if (of === "peak") return { latency: times[peak]!, height };
    const half = height / 2;
    const above = samples.find((i) => mean[i]! >= half) ?? peak;
    const before = above - 1;
    if (above === samples[0] || mean[above] === mean[before]) {
      return { latency: times[above]!, height };
    }
    const share = (half - mean[before]!) / (mean[above]! - mean[before]!);
    return { latency: times[before]! + share * (times[above]! - times[before]!), height };
  };
  const whole = measure(Array.from({ length: nSubjects }, (_, s) => s));
  const rng = createRng(seed);
  const draws = Float64Array.from(
    { length: nDraws },
    () => measure(Array.from({ length: nSubjects }, () => rng.below(nSubjects))).latency,
  );
  return {
    ...whole,
    low: quantile(draws, (1 - level) / 2),
    high: quantile(draws, (1 + level) / 2),
    level,
  };
}
