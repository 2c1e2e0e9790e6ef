import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ArgumentError, activations, DataError, readNpy, ShapeError, tensor } from "@penfield/core";
import { pearsonColumns } from "@penfield/stats";
import { describe, expect, test } from "vitest";
import { simulateRecording } from "../simulateRecording.ts";
import type { Recording } from "../types.ts";
import { leaveOneOutBounds } from "./leaveOneOut.ts";
import { meanOverRepeats } from "./repeats.ts";
import { splitHalfCeiling } from "./splitHalf.ts";

function recordingOf(data: Float64Array, shape: [number, number, number]): Recording {
  return {
    name: "r",
    simulated: true,
    data: tensor(data, ["repeat", "stimulus", "target"], shape),
    stimulusIds: Array.from({ length: shape[1] }, (_, i) => `s${i}`),
    targets: Array.from({ length: shape[2] }, (_, i) => ({ id: `t${i}` })),
    sha256: "",
  };
}
const random = (nStimuli: number, nUnits: number) => {
  let state = 1;
  const next = () => {
    state = (state * 16807) % 2147483647;
    return state / 2147483647 - 0.5;
  };
  return activations(Array.from({ length: nStimuli }, () => Array.from({ length: nUnits }, next)));
};
const ids = (n: number) => Array.from({ length: n }, (_, i) => `s${i}`);

describe("splitHalfCeiling", () => {
  test("by hand: r = 0.6 between two repeats gives 1.2 / 1.6", () => {
    const { reliability, maximumCorrelation, nSplits } = splitHalfCeiling(
      recordingOf(Float64Array.of(1, 2, 3, 4, 2, 1, 4, 3), [2, 4, 1]),
      { split: "even-odd" },
    );
    expect(reliability[0]).toBeCloseTo(0.75, 14);
    expect(maximumCorrelation[0]).toBeCloseTo(Math.sqrt(0.75), 14);
    expect(nSplits).toBe(1);
  });

  test("has no value with one repeat or a target that does not vary, and counts these", () => {
    const one = splitHalfCeiling(recordingOf(Float64Array.of(1, 2, 3), [1, 3, 1]));
    expect(one.reliability[0]).toBeNaN();
    expect(one.medianMaximumCorrelation).toBeNaN();
    const still = splitHalfCeiling(recordingOf(Float64Array.of(1, 5, 2, 5, 1, 5, 2, 5), [2, 2, 2]));
    expect(still.nUndefined).toBe(1);
    expect(still.medianReliability).toBeCloseTo(1, 14);
  });

  test("halves that contradict each other give -1, not minus infinity", () => {
    const { reliability } = splitHalfCeiling(recordingOf(Float64Array.of(1, 2, 2, 1), [2, 2, 1]));
    expect(reliability[0]).toBeCloseTo(-1, 14);
  });

  test("its root is what the noiseless signal reaches", () => {
    const features = random(600, 5);
    const options = { nTargets: 40, signalToNoise: 0.5, seed: 3 };
    const recording = simulateRecording(features, ids(600), { ...options, nRepeats: 6 });
    const truth = simulateRecording(features, ids(600), {
      ...options,
      signalToNoise: Number.POSITIVE_INFINITY,
    });
    const reached = pearsonColumns(meanOverRepeats(truth), meanOverRepeats(recording));
    const { maximumCorrelation, medianReliability } = splitHalfCeiling(recording);
    // Signal variance 1, noise variance 2 / 6: reliability 0.75.
    expect(medianReliability).toBeCloseTo(0.75, 1);
    reached.forEach((r, t) => {
      expect(Math.abs(r - maximumCorrelation[t]!)).toBeLessThan(0.05);
    });
  });

  test("equal seeds give equal ceilings; options are checked", () => {
    const recording = simulateRecording(random(30, 3), ids(30), { nRepeats: 5 });
    expect(splitHalfCeiling(recording, { seed: 1 })).toEqual(
      splitHalfCeiling(recording, { seed: 1 }),
    );
    expect(() => splitHalfCeiling(recording, { nSplits: 0 })).toThrow(ArgumentError);
    // @ts-expect-error: not a way to split
    expect(() => splitHalfCeiling(recording, { split: "thirds" })).toThrow(ArgumentError);
  });
});

const golden = fileURLToPath(
  new URL("../../../../../shared/golden/encoding/noise_ceiling/", import.meta.url),
);
describe.skipIf(!existsSync(golden))(
  "against numpy, ../shared/golden (skipped when absent)",
  () => {
    test("even-odd split halves, leave-one-out bounds", () => {
      const load = (name: string) => readNpy(readFileSync(`${golden}${name}.npy`));
      const { data, shape } = load("rep"); // [stimulus, repeat, target]
      const [nStimuli, nRepeats, nTargets] = shape as [number, number, number];
      const moved = new Float64Array(data.length);
      for (let i = 0; i < nStimuli; i++) {
        for (let r = 0; r < nRepeats; r++) {
          for (let t = 0; t < nTargets; t++) {
            moved[(r * nStimuli + i) * nTargets + t] = Number(
              data[(i * nRepeats + r) * nTargets + t],
            );
          }
        }
      }
      const { reliability } = splitHalfCeiling(recordingOf(moved, [nRepeats, nStimuli, nTargets]), {
        split: "even-odd",
      });
      const expected = load("spearman_brown").data as Float64Array;
      reliability.forEach((value, t) => {
        expect(value).toBeCloseTo(expected[t]!, 12);
      });
    });
  },
);

describe("leaveOneOutBounds", () => {
  test("by hand: two repeats with r = 0.6", () => {
    const { lower, upper } = leaveOneOutBounds(
      recordingOf(Float64Array.of(1, 2, 3, 4, 2, 1, 4, 3), [2, 4, 1]),
    );
    expect(lower[0]).toBeCloseTo(0.6, 14);
    // Each with the mean of both: (1 + r) / sqrt(2 + 2 r).
    expect(upper[0]).toBeCloseTo(1.6 / Math.sqrt(3.2), 14);
  });

  test("has no value with one repeat", () => {
    const { lower, upper } = leaveOneOutBounds(recordingOf(Float64Array.of(1, 2), [1, 2, 1]));
    expect([lower[0], upper[0]]).toEqual([Number.NaN, Number.NaN]);
  });
});

describe("simulateRecording", () => {
  test("without noise each target is a z-scored mixture of the units asked for", () => {
    const features = random(50, 4);
    const recording = simulateRecording(features, ids(50), {
      nTargets: 3,
      signalToNoise: Number.POSITIVE_INFINITY,
      units: [2],
    });
    expect(recording).toMatchObject({ simulated: true, name: "simulated" });
    const unit = activations(
      Array.from({ length: 50 }, (_, i) => [0, 1, 2].map(() => features.data[i * 4 + 2]!)),
    );
    const y = meanOverRepeats(recording);
    pearsonColumns(unit, y).forEach((r) => {
      expect(Math.abs(r)).toBeCloseTo(1, 12);
    });
    let square = 0;
    for (let i = 0; i < 50; i++) square += y.data[i * 3]! ** 2;
    expect(square / 50).toBeCloseTo(1, 12);
  });

  test("equal seeds give equal bytes", () => {
    const make = (seed: number) => simulateRecording(random(20, 2), ids(20), { seed }).sha256;
    expect(make(1)).toBe(make(1));
    expect(make(1)).not.toBe(make(2));
  });

  test("refuses what it cannot make a brain from", () => {
    const x = random(4, 2);
    expect(() => simulateRecording(x, ids(3))).toThrow(ShapeError);
    expect(() => simulateRecording(x, ids(4), { nTargets: 0 })).toThrow(ArgumentError);
    expect(() => simulateRecording(x, ids(4), { signalToNoise: 0 })).toThrow(ArgumentError);
    expect(() => simulateRecording(x, ids(4), { units: [2] })).toThrow(
      "expected units within 0..1, got 2",
    );
    expect(() => simulateRecording(activations([[0.1], [0.1], [0.1]]), ids(3))).toThrow(DataError);
    expect(() => simulateRecording(activations([[1], [Number.NaN]]), ids(2))).toThrow(
      "got NaN at stimulus 1, unit 0",
    );
  });
});
