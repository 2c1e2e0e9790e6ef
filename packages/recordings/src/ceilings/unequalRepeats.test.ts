import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ArgumentError, activations, DataError, ShapeError, tensor } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { loadRecording } from "../recording.ts";
import { simulateRecording } from "../simulateRecording.ts";
import type { Recording } from "../types.ts";
import { explainableVariance, signalAndNoise } from "./explainableVariance.ts";
import { extrapolateCeiling, fitSaturation } from "./extrapolate.ts";
import { leaveOneOutBounds } from "./leaveOneOut.ts";
import { meanOverRepeats } from "./repeats.ts";
import { splitHalfCeiling } from "./splitHalf.ts";
import { interSubjectScores, stackSubjects } from "./subjects.ts";

const nan = Number.NaN;
function recordingOf(
  values: readonly number[],
  shape: readonly [number, number, number],
  name = "r",
): Recording {
  return {
    name,
    simulated: true,
    data: tensor(Float64Array.from(values), ["repeat", "stimulus", "target"], shape),
    stimulusIds: Array.from({ length: shape[1] }, (_, i) => `s${i}`),
    targets: Array.from({ length: shape[2] }, (_, i) => ({ id: `t${i}` })),
    sha256: "",
  };
}
const ids = (n: number) => Array.from({ length: n }, (_, i) => `s${i}`);
const waves = (n: number) =>
  activations(Array.from({ length: n }, (_, i) => [Math.sin(i * i), Math.cos(i * i * 1.7)]));

describe("repeats that differ in number", () => {
  test("by hand: a stimulus shown once is left out of the halves, and averaged where it is there", () => {
    const recording = recordingOf([1, 2, 3, 4, 50, 2, 1, 4, 3, nan], [2, 5, 1]);
    const { reliability, nStimuliLeftOut, undefinedReason } = splitHalfCeiling(recording, {
      split: "even-odd",
    });
    expect(reliability[0]).toBeCloseTo(0.75, 14);
    expect(nStimuliLeftOut).toBe(1);
    expect(undefinedReason).toBeUndefined();
    expect(meanOverRepeats(recording).data.join()).toBe("1.5,1.5,3.5,3.5,50");
    expect(leaveOneOutBounds(recording).lower[0]).toBeCloseTo(0.6, 14);
    const empty = recordingOf([nan, 1, nan, 2], [2, 2, 1]);
    expect(() => meanOverRepeats(empty)).toThrow('got none for "s0", target "t0"');
  });

  test("each stimulus' own repeats are halved: trailing NaN, or NaN in between", () => {
    const whole = recordingOf([1, 5, 2, 3, 9, 4, 2, 6, 3], [3, 3, 1]);
    const moved = recordingOf([nan, 5, 2, 1, 9, nan, 3, 6, 4, 2, nan, 3], [4, 3, 1]);
    const options = { split: "even-odd" } as const;
    expect(splitHalfCeiling(moved, options).reliability).toEqual(
      splitHalfCeiling(whole, options).reliability,
    );
    expect(explainableVariance(moved, { standardize: false }).corrected).toEqual(
      explainableVariance(whole, { standardize: false }).corrected,
    );
    expect(signalAndNoise(moved)).toEqual(signalAndNoise(whole));
  });

  test("planted signal and noise come back, whatever the numbers of repeats", () => {
    const repeats = Array.from({ length: 800 }, (_, i) => 2 + (i % 4));
    const recording = simulateRecording(waves(800), ids(800), {
      nTargets: 40,
      nRepeats: repeats,
      signalToNoise: 0.5,
      seed: 4,
    });
    const { signalVariance, noiseVariance, medianCeilingPercent } = signalAndNoise(recording, {
      nRepeats: 3,
    });
    const mean = (values: Float64Array) => values.reduce((a, b) => a + b, 0) / values.length;
    // 2800 values a target, 40 targets: standard errors below 0.01.
    expect(mean(signalVariance)).toBeCloseTo(1, 1);
    expect(mean(noiseVariance)).toBeCloseTo(2, 1);
    expect(Math.abs(medianCeilingPercent - 60)).toBeLessThan(2);
    // A third of a single repeat's variance is signal.
    expect(explainableVariance(recording).medianCorrected).toBeCloseTo(1 / 3, 1);
  });

  test("noise alone: the corrected variance and the ceiling are about 0, the raw one is not", () => {
    const recording = simulateRecording(waves(300), ids(300), {
      nTargets: 60,
      nRepeats: 3,
      signalToNoise: 1e-9,
    });
    const { raw, corrected } = explainableVariance(recording);
    const mean = (values: Float64Array) => values.reduce((a, b) => a + b, 0) / values.length;
    expect(mean(raw)).toBeCloseTo(1 / 3, 1);
    expect(Math.abs(mean(corrected))).toBeLessThan(0.02);
    expect(signalAndNoise(recording).medianCeilingPercent).toBeLessThan(8);
    expect(Math.abs(splitHalfCeiling(recording).medianReliability)).toBeLessThan(0.1);
  });

  test("explainable variance does not change with each repeat's scale and level", () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -9, max: 9, noNaN: true }), { minLength: 12, maxLength: 12 }),
        fc.double({ min: 0.1, max: 10, noNaN: true }),
        fc.double({ min: -5, max: 5, noNaN: true }),
        (values, scale, level) => {
          // Rounded, so that values either differ or do not.
          const round = values.map((value) => Math.round(value));
          const other = round.map((value, i) => (i < 4 ? value * scale + level : value));
          const a = explainableVariance(recordingOf(round, [3, 4, 1])).corrected[0]!;
          const b = explainableVariance(recordingOf(other, [3, 4, 1])).corrected[0]!;
          if (Number.isNaN(a)) expect(b).toBeNaN();
          else expect(b).toBeCloseTo(a, 8);
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe("what cannot have a ceiling says why", () => {
  const once = recordingOf([1, 2, 3, 4], [1, 4, 1]);
  const still = recordingOf([5, 5, 5, 5], [2, 2, 1]);
  test.each([
    ["splitHalfCeiling", splitHalfCeiling],
    ["leaveOneOutBounds", leaveOneOutBounds],
    ["explainableVariance", explainableVariance],
    ["signalAndNoise", signalAndNoise],
  ])("%s", (_, ceiling) => {
    expect(ceiling(once).undefinedReason).toBe(
      "r: one repeat of each stimulus, where two are needed",
    );
    expect(ceiling(still).undefinedReason).toBe(
      "r: no target varies over stimuli that were repeated",
    );
  });

  test("options and infinite values are refused", () => {
    const infinite = recordingOf([1, Number.POSITIVE_INFINITY, 1, 2], [2, 2, 1]);
    expect(() => explainableVariance(infinite)).toThrow(DataError);
    expect(() => signalAndNoise(once, { nRepeats: 0 })).toThrow(ArgumentError);
  });
});

describe("subjects", () => {
  const brain = (seed: number, more: { nRepeats?: number; signalToNoise?: number } = {}) =>
    simulateRecording(waves(60), ids(60), { nTargets: 3, seed, name: `sub-${seed}`, ...more });

  test("are stacked by stimulus id, each as the mean of its repeats", () => {
    const one = recordingOf([1, 2, 3, 3, 4, 5], [2, 3, 1], "one");
    const two = { ...recordingOf([7, 8, 9], [1, 3, 1], "two"), stimulusIds: ["s2", "s0", "s1"] };
    const stacked = stackSubjects([one, two]);
    expect([...stacked.data.data]).toEqual([2, 3, 4, 8, 9, 7]);
    expect(stacked).toMatchObject({ name: "one, two", simulated: true });
    expect(() => stackSubjects([one])).toThrow(ShapeError);
    expect(() => stackSubjects([one, brain(1)])).toThrow("got 3 instead of 1 in sub-1");
    const other = { ...two, stimulusIds: ["s2", "s0", "q"] };
    expect(() => stackSubjects([one, other])).toThrow('stimuli without a recording ("s1")');
  });

  test("every number of subjects, draws without repetition, each held out in its own place", async () => {
    const subjects = [0, 1, 2, 3].map((seed) => brain(seed));
    const seen: number[] = [];
    const points = await interSubjectScores(
      subjects,
      (x, y) => {
        seen.push(x.shape[1]);
        return new Float64Array(y.shape[1]).fill(x.shape[1]);
      },
      { nDraws: 6, nHeldOut: 4 },
    );
    // 6 pairs of 2, 4 triples of 3, one of 4.
    expect(points.map(({ nSubjects }) => nSubjects).join("")).toBe(
      "2".repeat(12) + "3".repeat(12) + "4".repeat(4),
    );
    expect(seen).toEqual(points.map(({ nSubjects }) => 3 * (nSubjects - 1)));
    for (const { scores } of points) {
      const there = Array.from(scores).flatMap((v, t) => (Number.isNaN(v) ? [] : [t]));
      expect(there).toHaveLength(3);
      expect(there[0]! % 3).toBe(0);
    }
    await expect(interSubjectScores(subjects, () => [1])).rejects.toThrow(ShapeError);
    await expect(interSubjectScores(subjects, () => [1], { nDraws: 0 })).rejects.toThrow(
      ArgumentError,
    );
    const signal = AbortSignal.abort();
    await expect(interSubjectScores(subjects, () => [], { signal })).rejects.toThrow("interrupted");
  });
});

describe("extrapolation", () => {
  const x = [2, 3, 4, 5, 6, 7, 8];

  test("any curve comes back; the limit stays within 0 to 1", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.05, max: 1, noNaN: true }),
        fc.double({ min: 0.5, max: 8, noNaN: true }),
        (limit, scale) => {
          const fit = fitSaturation(
            x,
            x.map((n) => limit * (1 - Math.exp(-n / scale))),
          );
          expect(fit.limit).toBeCloseTo(limit, 5);
          expect(fit.scale / scale).toBeCloseTo(1, 4);
        },
      ),
      { numRuns: 40 },
    );
    expect(
      fitSaturation(
        x,
        x.map((n) => n / 2),
      ).limit,
    ).toBe(1);
    const none = fitSaturation(
      x,
      x.map(() => -0.1),
    );
    expect(none.limit).toBe(0);
    expect(none.scale).toBeNaN();
    expect(() => fitSaturation([2, 2], [1, 1])).toThrow(DataError);
    expect(() => fitSaturation(x, [1])).toThrow(DataError);
  });

  test("targets get limits, intervals and endpoints; those of one number of subjects do not", () => {
    const points = x.flatMap((n) =>
      [-1, 1].map((side) => ({
        nSubjects: n,
        scores: [0.6 * (1 - Math.exp(-n / 2)) + 0.02 * side, n === 2 ? 0.5 : nan],
      })),
    );
    const result = extrapolateCeiling(points, { seed: 1 });
    expect(result.ceiling[0]).toBeCloseTo(0.6, 1);
    expect(result.low[0]).toBeLessThan(0.6);
    expect(result.high[0]).toBeGreaterThan(0.6);
    expect(result.ceiling[1]).toBeNaN();
    expect(result).toMatchObject({ nUndefined: 1, nBootstraps: 100, undefinedReason: undefined });
    const at = result.endpoint[0]!;
    const curve = (n: number) => 0.6 * (1 - Math.exp(-n / 2));
    expect(curve(at + 3) - curve(at + 2)).toBeLessThan(5e-4);
    expect(curve(at - 2) - curve(at - 3)).toBeGreaterThan(5e-4);
    expect(extrapolateCeiling(points, { seed: 1 })).toEqual(result);
    const two = extrapolateCeiling([{ nSubjects: 2, scores: [0.5] }]);
    expect(two.undefinedReason).toMatch(/^scores of one number of subjects/);
    expect(() => extrapolateCeiling([])).toThrow(DataError);
    expect(() => extrapolateCeiling(points, { nBootstraps: 0 })).toThrow(ArgumentError);
  });
});

const v4 = fileURLToPath(
  new URL("../../../../../shared/data/v4_cowley/responses_raw_210325.npy", import.meta.url),
);
describe.skipIf(!existsSync(v4))(
  "macaque V4: 50 neurons, 640 images, 6 to 10 repeats (skipped when absent)",
  () => {
    test("even-odd halves: r .630, corrected .773 (medians)", async () => {
      const recording = await loadRecording(v4, {
        stimuli: ids(640),
        axes: ["target", "stimulus", "repeat"],
        missing: "repeats",
      });
      expect(recording.data.shape).toEqual([10, 640, 50]);
      expect(recording.constantTargets).toBeUndefined();
      const { reliability, medianReliability } = splitHalfCeiling(recording, { split: "even-odd" });
      const halves = reliability.map((value) => value / (2 - value)).sort();
      expect((halves[24]! + halves[25]!) / 2).toBeCloseTo(0.63016, 5);
      expect(medianReliability).toBeCloseTo(0.7731, 5);
      // Random halves and the ratio of variances are other estimates of the same.
      expect(splitHalfCeiling(recording).medianReliability).toBeCloseTo(0.77, 1);
      expect(signalAndNoise(recording).medianCeilingPercent / 100).toBeCloseTo(0.77, 1);
      await expect(
        loadRecording(v4, { stimuli: ids(640), axes: ["target", "stimulus", "repeat"] }),
      ).rejects.toThrow("got 78000 that are NaN or infinite");
    });
  },
);
