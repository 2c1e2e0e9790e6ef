import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  ArgumentError,
  createRng,
  DataError,
  InterruptedError,
  readNpy,
  ShapeError,
  tensor,
} from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { clusterTest, gridNeighbours, pearson } from "@penfield/stats";
import { afterAll, describe, expect, test } from "vitest";
import { encodingScore } from "../encodingScore.ts";
import { predictResponse, temporalResponse } from "./temporalResponse.ts";
import { timeDecoding, timeGeneralization } from "./timeGeneralization.ts";
import { peakLatency, timeResolvedEncoding } from "./timeResolvedEncoding.ts";

const golden = fileURLToPath(new URL("../../../../../shared/golden/encoding/", import.meta.url));
const linalg = createLinalg();
afterAll(() => linalg.dispose());

const load = (name: string) =>
  Object.fromEntries(
    readdirSync(`${golden}${name}`).map((file) => {
      const { data, shape } = readNpy(readFileSync(`${golden}${name}/${file}`));
      const values = Float64Array.from(data as ArrayLike<number | bigint>, Number);
      return [file.replace(".npy", ""), { data: values, shape }];
    }),
  ) as Record<string, { data: Float64Array; shape: readonly number[] }>;
const difference = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  expect(a.length).toBe(b.length);
  return Array.from(a).reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0);
};

describe.skipIf(!existsSync(golden))("against MNE, ../shared/golden (skipped when absent)", () => {
  test("mne_rf: kernels, intercepts, predictions", async () => {
    const arrays = load("mne_rf");
    const stimulus = tensor(arrays["stim"]!.data, ["time", "unit"], [300, 2]);
    const response = tensor(arrays["resp"]!.data, ["time", "target"], [300, 3]);
    const model = await temporalResponse(stimulus, response, {
      samplingRate: 50,
      from: 0,
      to: 0.1,
      alphas: [1],
      linalg,
    });
    expect([...model.lags]).toEqual([...arrays["delays"]!.data]);
    expect(difference(model.kernel.data, arrays["coef"]!.data)).toBeLessThan(1e-12);
    expect(difference(model.intercept, arrays["intercept"]!.data)).toBeLessThan(1e-12);
    const predicted = predictResponse(model, stimulus);
    expect(difference(predicted.data, arrays["pred"]!.data)).toBeLessThan(1e-12);
    // MNE leaves out the samples that lags do not reach back from.
    const column = (data: ArrayLike<number>, t: number) =>
      Array.from({ length: 295 }, (_, i) => data[(i + 5) * 3 + t]!);
    const r = [0, 1, 2].map((t) => pearson(column(predicted.data, t), column(response.data, t)));
    expect(difference(r, arrays["score"]!.data)).toBeLessThan(1e-12);
  });

  test("time_generalization: areas of every fold", async () => {
    const arrays = load("time_generalization");
    const [n, p, t] = arrays["X"]!.shape as [number, number, number];
    const x = tensor(arrays["X"]!.data, ["stimulus", "target", "time"], [n, p, t]);
    const options = { classifier: "lda", shrinkage: 0.1, linalg } as const;
    const { perFold, diagonal } = await timeGeneralization(x, arrays["y"]!.data, options);
    expect(difference(perFold.data, arrays["auc"]!.data)).toBeLessThan(1e-12);
    const sliding = await timeDecoding(x, arrays["y"]!.data, options);
    expect(difference(sliding.scores, diagonal)).toBeLessThan(1e-12);
  });
});

describe("temporalResponse", () => {
  const rng = createRng(3);
  const x = Float64Array.from({ length: 900 }, () => rng.normal());
  const y = Float64Array.from({ length: 900 }, (_, i) => {
    // Unit 0 after 2 samples, unit 2 one sample before, in runs of 100.
    const [t, u] = [Math.floor(i / 3), i % 3];
    const at = (lag: number, unit: number) =>
      Math.floor((t - lag) / 100) === Math.floor(t / 100) ? (x[(t - lag) * 3 + unit] ?? 0) : 0;
    return 5 + (u === 0 ? 2 * at(2, 0) : u === 1 ? at(-1, 2) : 0) + 0.1 * rng.normal();
  });
  const stimulus = tensor(x, ["time", "unit"], [300, 3]);
  const response = tensor(y, ["time", "target"], [300, 3]);

  test("finds planted lags, also before the stimulus, and crosses no run", async () => {
    const model = await temporalResponse(stimulus, response, {
      samplingRate: 100,
      from: -0.02,
      to: 0.03,
      runOnsets: [0, 100, 200],
      linalg,
    });
    expect([...model.lags]).toEqual([-2, -1, 0, 1, 2, 3]);
    const at = (target: number, unit: number, lag: number) =>
      model.kernel.data[(target * 3 + unit) * 6 + lag + 2]!;
    expect(at(0, 0, 2)).toBeCloseTo(2, 1);
    expect(at(1, 2, -1)).toBeCloseTo(1, 1);
    expect(Math.abs(at(2, 1, 0))).toBeLessThan(0.05);
    // The target without a response gets the larger penalty.
    expect(model.bestAlphas[2]).toBeGreaterThan(model.bestAlphas[0]!);
    const predicted = predictResponse(model, stimulus, { runOnsets: [0, 100, 200] });
    const column = (d: ArrayLike<number>) => Array.from({ length: 300 }, (_, i) => d[i * 3]!);
    expect(pearson(column(predicted.data), column(y))).toBeGreaterThan(0.99);
  });

  test("refuses what does not fit", async () => {
    const run = (options: object, s = stimulus) =>
      temporalResponse(s, response, { samplingRate: 100, to: 0.1, linalg, ...options });
    await expect(run({ samplingRate: 0 })).rejects.toThrow(ArgumentError);
    await expect(run({ from: 0.2 })).rejects.toThrow(
      "expected lags from..to within the 300 samples",
    );
    await expect(run({}, tensor(x.slice(3), ["time", "unit"], [299, 3]))).rejects.toThrow(
      ShapeError,
    );
    const holes = tensor(
      x.map((v, i) => (i === 7 ? Number.NaN : v)),
      ["time", "unit"],
      [300, 3],
    );
    await expect(run({}, holes)).rejects.toThrow(DataError);
    const model = {
      kernel: tensor(new Float64Array(1), ["target", "unit", "lag"], [1, 1, 1]),
      intercept: new Float64Array(1),
      lags: new Int32Array(1),
    };
    expect(() => predictResponse(model, stimulus)).toThrow(ShapeError);
  });
});

describe("timeResolvedEncoding", () => {
  test("equals one regression per sample, and shows when a target follows the units", async () => {
    const rng = createRng(5);
    const x = tensor(
      Float64Array.from({ length: 60 * 4 }, () => rng.normal()),
      ["stimulus", "unit"],
      [60, 4],
    );
    const nTimes = 6;
    const data = Float64Array.from({ length: 60 * 2 * nTimes }, (_, i) => {
      const [stimulus, time] = [Math.floor(i / (2 * nTimes)), i % nTimes];
      return (time === 3 ? 2 : time === 4 ? 1 : 0) * x.data[stimulus * 4]! + rng.normal();
    });
    const y = tensor(data, ["stimulus", "target", "time"], [60, 2, nTimes]);
    const { r, course } = await timeResolvedEncoding(x, y, { linalg });
    expect(r.shape).toEqual([2, 6]);
    expect(course.indexOf(Math.max(...course))).toBe(3);
    expect(course[4]).toBeGreaterThan(course[0]!);
    const alone = tensor(
      Float64Array.from({ length: 60 }, (_, i) => data[i * 12 + 6 + 4]!),
      ["stimulus", "target"],
      [60, 1],
    );
    expect(r.data[6 + 4]).toBeCloseTo(
      (await encodingScore(x, alone, { linalg })).perTarget[0]!,
      10,
    );
  });
});

describe("peakLatency", () => {
  const rng = createRng(8);
  const nTimes = 50;
  const times = Float64Array.from({ length: nTimes }, (_, i) => i / 100);
  const courses = tensor(
    Float64Array.from(
      { length: 12 * nTimes },
      (_, i) => Math.exp(-(((i % nTimes) - 20) ** 2) / 32) + 0.2 * rng.normal(),
    ),
    ["subject", "time"],
    [12, nTimes],
  );

  test("the interval holds the planted latency", () => {
    const peak = peakLatency(courses, times);
    expect(peak.low).toBeLessThanOrEqual(0.2);
    expect(peak.high).toBeGreaterThanOrEqual(0.2);
    expect(peak.high - peak.low).toBeLessThan(0.08);
    const onset = peakLatency(courses, times, { of: "onset" });
    // Half of a Gaussian's height, 4 samples wide: 20 - 4.7 samples.
    expect(Math.abs(onset.latency - 0.153)).toBeLessThan(0.02);
    expect(peakLatency(courses, times, { window: [0.3, 0.5] }).latency).toBeGreaterThanOrEqual(0.3);
  });

  test("refuses what does not fit", () => {
    expect(() => peakLatency(courses, [0])).toThrow(ShapeError);
    expect(() => peakLatency(courses, times, { window: [9, 10] })).toThrow(ArgumentError);
    const holes = { ...courses, data: courses.data.map(() => Number.NaN) };
    expect(() => peakLatency(holes, times)).toThrow(DataError);
  });
});

describe("time generalization", () => {
  const rng = createRng(11);
  /** A code that is stable over samples 2-4 and another one at 5-6. */
  const subject = () => {
    const [a, b] = [0, 1].map(() => Array.from({ length: 8 }, () => rng.normal()));
    return tensor(
      Float64Array.from({ length: 40 * 8 * 8 }, (_, i) => {
        const [stimulus, target, time] = [Math.floor(i / 64), Math.floor(i / 8) % 8, i % 8];
        const sign = stimulus % 2 ? 1 : -1;
        const code =
          time >= 2 && time <= 4 ? a![target]! : time >= 5 && time <= 6 ? b![target]! : 0;
        return sign * code + rng.normal();
      }),
      ["stimulus", "target", "time"],
      [40, 8, 8],
    );
  };
  const labels = Array.from({ length: 40 }, (_, i) => (i % 2 ? "word" : "face"));

  test("shows stable codes as squares, and clusters over subjects find them", async () => {
    const maps: Float64Array[] = [];
    for (let s = 0; s < 6; s++) {
      const { scores, chance } = await timeGeneralization(subject(), labels, {
        classifier: "lda",
        linalg,
      });
      expect(scores.data[2 * 8 + 4]).toBeGreaterThan(0.8);
      expect(Math.abs(scores.data[0]! - 0.5)).toBeLessThan(0.35);
      maps.push(Float64Array.from(scores.data, (v) => v - chance));
    }
    const data = Float64Array.from(maps.flatMap((map) => [...map]));
    const { clusters } = clusterTest(tensor(data, ["subject", "point"], [6, 64]), {
      neighbours: gridNeighbours(8, 8),
    });
    const strongest = clusters.reduce((a, b) =>
      Math.abs(b.statistic) > Math.abs(a.statistic) ? b : a,
    );
    expect([...strongest.points]).toEqual(expect.arrayContaining([2 * 8 + 3, 3 * 8 + 4]));
    expect(strongest.p).toBeLessThanOrEqual(2 / 32);
  });

  test("several classes are scored by accuracy; refusals", async () => {
    const x = subject();
    const four = labels.map((_, i) => i % 4);
    const { chance, scores } = await timeDecoding(x, four, {
      classifier: "ridge",
      standardize: true,
      linalg,
    });
    expect(chance).toBe(0.25);
    expect(scores[3]).toBeGreaterThan(0.35);
    const run = (options: object, y: readonly (string | number)[] = labels) =>
      timeGeneralization(x, y, { linalg, ...options });
    await expect(run({ score: "area" }, four)).rejects.toThrow(DataError);
    await expect(run({ score: "f1" })).rejects.toThrow(ArgumentError);
    await expect(run({}, four.slice(1))).rejects.toThrow(ShapeError);
    await expect(run({ groups: labels })).rejects.toThrow(DataError);
    await expect(run({ signal: AbortSignal.abort() })).rejects.toThrow(InterruptedError);
  });
});
