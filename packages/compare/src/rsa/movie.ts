import {
  ArgumentError,
  type LongWork,
  ShapeError,
  type Tensor,
  tensor,
  throwIfAborted,
} from "@penfield/core";
import { calcRdm, type RdmOptions } from "./calcRdm.ts";
import { type CrossnobisOptions, crossnobisRdm } from "./crossValidated.ts";
import { withLinalg } from "./products.ts";
import { concatRdms, type Rdms } from "./rdms.ts";

/** Activity over time. */
export type Timecourses = Tensor<readonly ["stimulus", "unit", "time"]>;

/** How an RDM movie is computed: as calcRdm, or as crossnobis where `runs` are given. */
export interface MovieOptions extends LongWork {
  /** What to compute at each time. Default: calcRdm's. */
  readonly rdm?: RdmOptions | undefined;
  /** Computes crossnobis instead. */
  readonly crossnobis?: CrossnobisOptions | undefined;
  /** `[nTimes]`. Default 0, 1, 2, ... */
  readonly times?: ArrayLike<number> | undefined;
  /** Times to average, one list per frame. Default: each time its own frame. */
  readonly bins?: readonly (readonly number[])[] | undefined;
}

/**
 * An RDM for each time point, or for each bin of them: how the geometry unfolds.
 *
 * @param x - `[nObservations, nChannels, nTimes]`, finite.
 * @param options - What to compute, and how time is cut.
 * @returns One RDM per frame, named by its time (of a bin: the mean of its times).
 * @throws {ShapeError} if the times do not fit.
 * @throws {ArgumentError} if a bin is empty or has a time that the data do not (beyond 1e-9).
 * @throws {InterruptedError} if the signal fires.
 *
 * Cost: that of one RDM per frame; frames share one set of sessions.
 * Source: as rsatoolbox.rdm.calc_rdm_movie (which loses cv_descriptor and bins when given a list of data sets).
 *
 * @example
 * const x = { data: Float64Array.of(0, 0, 1, 2), axes: ["stimulus", "unit", "time"], shape: [2, 1, 2] };
 * (await rdmMovie(x, { rdm: { method: "euclidean" } })).data.join(" ") // => "1 4"
 */
export function rdmMovie(x: Timecourses, options: MovieOptions = {}): Promise<Rdms> {
  const [n, p, nTimes] = x.shape;
  const times = Array.from(options.times ?? { length: nTimes }, (t, i) => t ?? i);
  if (times.length !== nTimes) {
    throw new ShapeError(`rdmMovie: expected ${nTimes} times, got ${times.length}`);
  }
  const frames = options.bins
    ? options.bins.map((bin) => binPlaces(times, bin))
    : times.map((_, t) => [t]);
  if (frames.length === 0) throw new ArgumentError("rdmMovie: expected at least one bin, got none");
  const given = options.rdm?.linalg ?? options.crossnobis?.linalg;
  return withLinalg(given, async (linalg) => {
    const rdms: Rdms[] = [];
    for (const [f, places] of frames.entries()) {
      throwIfAborted(options.signal, "rdmMovie");
      const data = new Float64Array(n * p);
      for (let i = 0; i < n * p; i++) {
        for (const t of places) data[i]! += x.data[i * nTimes + t]!;
        data[i]! /= places.length;
      }
      const frame = tensor(data, ["stimulus", "unit"], [n, p]);
      const name = places.reduce((sum, t) => sum + times[t]!, 0) / places.length;
      rdms.push(
        options.crossnobis
          ? await crossnobisRdm(frame, { ...options.crossnobis, linalg, name })
          : await calcRdm(frame, { ...options.rdm, linalg, name }),
      );
      options.onProgress?.({
        stage: "computing RDMs",
        done: f + 1,
        total: frames.length,
        unit: "frame",
      });
    }
    return concatRdms(rdms);
  });
}

function binPlaces(times: readonly number[], bin: readonly number[]): number[] {
  if (bin.length === 0) throw new ArgumentError("rdmMovie: expected times in a bin, got none");
  return bin.map((time) => {
    const at = times.findIndex((t) => Math.abs(t - time) <= 1e-9 * Math.max(1, Math.abs(time)));
    if (at >= 0) return at;
    throw new ArgumentError(`rdmMovie: expected a time of the data in a bin, got ${time}`);
  });
}
