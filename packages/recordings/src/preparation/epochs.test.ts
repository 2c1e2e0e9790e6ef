import { ArgumentError, DataError, ShapeError, tensor } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { detrend, zScoreRuns } from "./detrend.ts";
import {
  asTimed,
  averageRepeats,
  epochs,
  targetsAsTimes,
  timesAsTargets,
  windowMean,
} from "./epochs.ts";
import { bandFilter, butterworth, zeroPhase } from "./filter.ts";
import { resample } from "./resample.ts";
import {
  averageReference,
  badSamples,
  concatenateRuns,
  framewiseDisplacement,
  interpolateBad,
} from "./runs.ts";
import { timeSeriesOf } from "./timeSeriesOf.ts";

const event = (type: string, onset: number, duration = 0) => ({ type, onset, duration });
const ramp = (n: number) => Array.from({ length: n }, (_, i) => [i, 10 * i]);

describe("epochs", () => {
  test("by hand: samples, baseline, repeats that are not there", () => {
    const series = timeSeriesOf({
      values: ramp(20),
      samplingRate: 2,
      events: [event("a", 2), event("b", 4), event("a", 6)],
    });
    const { recording, nKept } = epochs(series, { from: -0.5, to: 1, baseline: [-0.5, 0] });
    expect(nKept).toBe(3);
    expect(recording.data.shape).toEqual([2, 2, 2, 4]);
    expect([...recording.times]).toEqual([-0.5, 0, 0.5, 1]);
    // Onset at sample 4, baseline the mean of samples 3 and 4.
    expect([...recording.data.data.subarray(0, 8)]).toEqual([-0.5, 0.5, 1.5, 2.5, -5, 5, 15, 25]);
    expect([...recording.data.data.subarray(24)].every(Number.isNaN)).toBe(true);
    const evoked = averageRepeats(recording);
    expect([...evoked.data.data.subarray(0, 4)]).toEqual([-0.5, 0.5, 1.5, 2.5]);
    expect(windowMean(evoked, [0.5, 1]).data.data.join()).toBe("2,20,2,20");
    expect(() => windowMean(evoked, [2, 3])).toThrow(ArgumentError);
  });

  test("leaves out and counts what is outside, bad or too large", () => {
    const values = ramp(40).map(([a]) => [a! % 2, a === 31 ? 500 : 0]);
    const series = timeSeriesOf({
      values,
      events: [
        event("a", 5),
        event("a", 12),
        event("b", 19),
        event("c", 30),
        event("d", 36),
        event("BAD", 11, 2),
      ],
      runOnsets: [0, 20],
      targets: [
        { id: "x", kind: "eeg" },
        { id: "y", kind: "eog" },
      ],
    });
    const result = epochs(series, {
      from: 0,
      to: 2,
      bad: badSamples(series),
      rejectPeakToPeak: { eog: 100 },
      stimulusOf: ({ type }) => (type === "BAD" ? undefined : type),
    });
    expect(result).toMatchObject({
      nKept: 2,
      nRejected: { outside: 1, bad: 1, peakToPeak: 1 },
      peakToPeakTargets: { y: 1 },
      lostStimuli: ["b", "c"],
    });
    expect(result.recording.stimulusIds).toEqual(["a", "d"]);
    expect(() => epochs(series, { from: 0, to: 2, rejectPeakToPeak: { meg: 1 } })).toThrow(
      ArgumentError,
    );
    expect(() => epochs(series, { from: 0, to: 2, rejectPeakToPeak: 1e-9 })).toThrow(
      /of 6 events 1 reach out .* 5 are above/,
    );
  });

  test("decimation filters what the new rate cannot carry, and leaves the rest", () => {
    const tone = (hertz: number) =>
      timeSeriesOf({
        values: Array.from({ length: 1000 }, (_, i) => [
          Math.sin((2 * Math.PI * hertz * i) / 1000),
        ]),
        samplingRate: 1000,
        events: [event("a", 0.5)],
      });
    const cut = (hertz: number) =>
      epochs(tone(hertz), { from: -0.2, to: 0.2, decimate: 10 }).recording;
    expect(cut(5).samplingRate).toBe(100);
    expect(cut(5).times[0]).toBe(-0.2);
    cut(5).data.data.forEach((value, i) => {
      expect(value).toBeCloseTo(Math.sin(2 * Math.PI * 5 * (0.3 + i / 100)), 6);
    });
    // 95 Hz would come out as 5 Hz.
    expect(Math.max(...cut(95).data.data.map(Math.abs))).toBeLessThan(1e-4);
  });

  test("refuses what cannot be cut", () => {
    const series = timeSeriesOf({ values: ramp(20), events: [event("a", 5)] });
    expect(() => epochs(series, { from: 1, to: 0 })).toThrow(ArgumentError);
    expect(() => epochs(series, { from: 0, to: 1, baseline: [-1, 0] })).toThrow("within the epoch");
    expect(() => epochs(series, { from: 0, to: 1, decimate: 0 })).toThrow(ArgumentError);
    expect(() => epochs(series, { from: 0, to: 1, bad: [0] })).toThrow(ShapeError);
    expect(() => epochs({ ...series, events: [] }, { from: 0, to: 1 })).toThrow(DataError);
  });

  test("times as targets, and back", () => {
    const { recording } = epochs(timeSeriesOf({ values: ramp(9), events: [event("a", 2)] }), {
      from: 0,
      to: 2,
    });
    const flat = timesAsTargets(recording);
    expect(flat.targets.map(({ id }) => id)).toEqual([
      "t0@0",
      "t0@1",
      "t0@2",
      "t1@0",
      "t1@1",
      "t1@2",
    ]);
    expect([...flat.data.data]).toEqual([2, 3, 4, 20, 30, 40]);
    const back = targetsAsTimes(Float64Array.from(flat.data.data), recording);
    expect(back.shape).toEqual([2, 3]);
    expect(() => targetsAsTimes(Float64Array.of(1), recording)).toThrow(ShapeError);
    expect(asTimed(flat).data.shape).toEqual([1, 1, 6, 1]);
  });
});

describe("runs", () => {
  test("concatenated runs keep borders, events and hashes; filters do not cross them", () => {
    const one = timeSeriesOf({ values: ramp(40), samplingRate: 2, events: [event("a", 1)] });
    const two = timeSeriesOf({
      values: ramp(30).map(([a]) => [5000 - a!, a!]),
      samplingRate: 2,
      events: [event("b", 3)],
    });
    const both = concatenateRuns([one, two]);
    expect(both).toMatchObject({ runOnsets: [0, 40], samplingRate: 2 });
    expect(both.events.map(({ onset }) => onset)).toEqual([1, 23]);
    expect(both.sha256).not.toBe(one.sha256);
    expect(concatenateRuns([both, one]).runOnsets).toEqual([0, 40, 70]);
    for (const change of [
      zScoreRuns,
      (series: typeof one) => detrend(series, { order: 2 }),
      (series: typeof one) => bandFilter(series, { highPass: 0.1, order: 2 }),
      (series: typeof one) => resample(series, 1),
    ]) {
      const apart = [change(one), change(two)].flatMap(({ data }) => [...data.data]);
      expect([...change(both).data.data]).toEqual(apart);
    }
    expect(resample(both, 1).runOnsets).toEqual([0, 20]);
    expect(() => concatenateRuns([])).toThrow(ShapeError);
    expect(() => concatenateRuns([one, resample(one, 1)])).toThrow("expected one sampling rate");
    const other = { ...one, targets: [{ id: "t0" }, { id: "q" }] };
    expect(() => concatenateRuns([one, other])).toThrow('first other target "q"');
  });

  test("the average reference leaves other kinds alone and bad electrodes out of the mean", () => {
    const series = timeSeriesOf({
      values: [[1, 3, 100, 7]],
      targets: ["eeg", "eeg", "eeg", "eog"].map((kind, i) => ({ id: `e${i}`, kind })),
    });
    expect(averageReference(series, { exclude: ["e2"] }).data.data.join()).toBe("-1,1,98,7");
    expect(() => averageReference(series, { kinds: ["ecog"] })).toThrow(DataError);
  });

  test("bad samples: padding, interpolation between and beyond, NaN included", () => {
    const series = timeSeriesOf({
      values: [[Number.NaN], [2], [9], [9], [8]],
      events: [event("bad eye", 2, 2), event("good", 0, 5)],
    });
    expect(badSamples(series).join("")).toBe("00110");
    expect(badSamples(series, { paddingSeconds: 1 }).join("")).toBe("01111");
    expect(badSamples(series, { isBad: ({ type }) => type === "good" }).join("")).toBe("11111");
    expect(interpolateBad(series, [1, 0, 1, 1, 0]).data.data.join()).toBe("2,2,4,6,8");
    expect(() => interpolateBad(series, [1, 1, 1, 1, 1])).toThrow(DataError);
    expect(() => interpolateBad(series, [1])).toThrow(ShapeError);
    expect(() => zScoreRuns(series)).toThrow('got NaN at sample 0, target "t0"');
  });

  test("head movement starts anew with each run", () => {
    const motion = tensor(
      Float64Array.from({ length: 18 }, (_, i) => (i >= 12 ? 1 : 0)),
      ["time", "confound"],
      [3, 6],
    );
    expect(framewiseDisplacement(motion).join()).toBe("0,0,153");
    expect(framewiseDisplacement(motion, { runOnsets: [0, 2] }).join()).toBe("0,0,0");
  });
});

describe("zeroPhase", () => {
  test("is linear, and keeps a constant through a low-pass", () => {
    const sections = butterworth({ kind: "lowpass", cutoff: 5 }, { order: 4, samplingRate: 100 });
    const signal = fc.array(fc.double({ min: -1, max: 1, noNaN: true }), {
      minLength: 40,
      maxLength: 40,
    });
    fc.assert(
      fc.property(signal, signal, (a, b) => {
        const [x, y] = [Float64Array.from(a), Float64Array.from(b)];
        const sum = zeroPhase(
          sections,
          x.map((value, i) => 2 * value + y[i]! + 3),
        );
        const [fx, fy] = [zeroPhase(sections, x), zeroPhase(sections, y)];
        sum.forEach((value, i) => {
          expect(value).toBeCloseTo(2 * fx[i]! + fy[i]! + 3, 9);
        });
      }),
      { numRuns: 30 },
    );
  });

  test("refuses short runs, bad bands and rates", () => {
    const short = timeSeriesOf({ values: ramp(10), samplingRate: 100 });
    expect(() => bandFilter(short, { lowPass: 10 })).toThrow(DataError);
    expect(() => bandFilter(short, {})).toThrow("got neither");
    expect(() => bandFilter(short, { lowPass: 60 })).toThrow("half the sampling rate (50 Hz)");
    expect(() => bandFilter(short, { lowPass: 10, order: 0 })).toThrow(ArgumentError);
    expect(() => resample(short, 0)).toThrow(ArgumentError);
    expect(() => resample(short, Math.PI)).toThrow("ratio of whole numbers");
    expect(() => detrend(short, { order: 9 })).toThrow(ArgumentError);
  });
});
