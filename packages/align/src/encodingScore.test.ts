import {
  type Activations,
  ArgumentError,
  createRng,
  DataError,
  InterruptedError,
  permutation,
  ShapeError,
  tensor,
} from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { meanOverRepeats, simulateRecording, splitHalfCeiling } from "@penfield/recordings";
import { pearson } from "@penfield/stats";
import { afterAll, describe, expect, test } from "vitest";
import { encodingScore, type HeldOutPredictor } from "./encodingScore.ts";
import { positionLengthFloor } from "./floors/positionLengthFloor.ts";
import { contiguousFolds, shuffledFolds } from "./folds.ts";
import { type RegressorName, regressors } from "./regression/regressors.ts";

const linalg = createLinalg();
afterAll(() => linalg.dispose());

function random(n: number, p: number, seed: number): Activations {
  const rng = createRng(seed);
  return tensor(
    Float64Array.from({ length: n * p }, () => rng.normal()),
    ["stimulus", "unit"],
    [n, p],
  );
}
const ids = (n: number) => Array.from({ length: n }, (_, i) => `s${i}`);

describe("encodingScore", () => {
  test("the true model reaches the ceiling, another one does not", async () => {
    const x = random(200, 12, 1);
    const recording = simulateRecording(x, ids(200), {
      nTargets: 30,
      nRepeats: 6,
      signalToNoise: 0.5,
      seed: 2,
    });
    const { maximumCorrelation } = splitHalfCeiling(recording);
    const y = meanOverRepeats(recording);
    const options = { ceiling: maximumCorrelation, linalg };
    const truth = await encodingScore(x, y, options);
    expect(truth).toMatchObject({ nFolds: 5, split: "contiguous", nUndefined: 0 });
    expect(truth.normalized!.median).toBeGreaterThan(0.95);
    expect(truth.normalized!.median).toBeLessThan(1.05);
    const other = await encodingScore(random(200, 12, 9), y, options);
    expect(Math.abs(other.median)).toBeLessThan(0.1);
  });

  test("shuffled folds let a model of time alone look good; contiguous and grouped ones do not", async () => {
    const n = 120;
    const rng = createRng(4);
    // Ten stories of twelve stimuli, each story with its own level in each target.
    const story = Array.from({ length: n }, (_, i) => Math.floor(i / 12));
    const levels = Float64Array.from({ length: 10 * 8 }, () => rng.normal());
    const y = tensor(
      Float64Array.from(
        { length: n * 8 },
        (_, i) => levels[story[Math.floor(i / 8)]! * 8 + (i % 8)]! + 0.5 * rng.normal(),
      ),
      ["stimulus", "target"],
      [n, 8],
    );
    // A unit per stimulus that also fires a little for its neighbours.
    const blurred = tensor(
      Float64Array.from({ length: n * n }, (_, i) =>
        Math.exp(-((Math.floor(i / n) - (i % n)) ** 2) / 18),
      ),
      ["stimulus", "unit"],
      [n, n],
    );
    const order = permutation(n, createRng(5));
    const shuffled = contiguousFolds(n, 5).map(({ train, test }) => ({
      train: train.map((i) => order[i]!),
      test: test.map((i) => order[i]!),
    }));
    const alphas = [0.01, 0.1, 1, 10];
    const given = await encodingScore(blurred, y, { outerFolds: shuffled, alphas, linalg });
    const grouped = await encodingScore(blurred, y, { groups: story, alphas, linalg });
    expect(given.split).toBe("given");
    expect(given.median).toBeGreaterThan(0.5);
    expect(grouped.split).toBe("grouped");
    expect(grouped.median).toBeLessThan(0.2);
  });

  test("does not depend on the scale of a unit when it is standardized", async () => {
    const x = random(60, 4, 3);
    const y = meanOverRepeats(simulateRecording(x, ids(60), { nTargets: 5, seed: 1 }));
    const stretched = { ...x, data: x.data.map((value, i) => value * 1e4 ** (i % 4) + (i % 4)) };
    const options = { standardize: true, linalg };
    const a = await encodingScore(x, y, options);
    const b = await encodingScore(stretched, y, options);
    a.perTarget.forEach((r, t) => {
      expect(b.perTarget[t]).toBeCloseTo(r, 8);
    });
  });

  test("shuffled folds and folds given in random order are warned of, others not", async () => {
    const x = random(60, 3, 3);
    const y = tensor(random(60, 2, 4).data, ["stimulus", "target"], [60, 2]);
    const run = (options: object) => encodingScore(x, y, { linalg, ...options });
    const shuffled = await run({ split: "shuffled" });
    expect(shuffled.split).toBe("shuffled");
    expect(shuffled.warnings[0]).toContain("Folds are shuffled");
    expect((await run({ outerFolds: shuffledFolds(60, 4, 1) })).warnings.length).toBe(1);
    expect((await run({ outerFolds: contiguousFolds(60, 4) })).warnings).toEqual([]);
    const groups = Array.from({ length: 60 }, (_, i) => i % 4);
    expect((await run({ groups, split: "leave-one-group-out" })).nFolds).toBe(4);
    expect((await run({ groups, split: "leave-one-group-out" })).split).toBe("grouped");
  });

  test("p, q, intervals and floors stand beside a score", async () => {
    const x = random(150, 6, 1);
    const recording = simulateRecording(x, ids(150), { nTargets: 10, signalToNoise: 1, seed: 2 });
    const noise = random(150, 10, 8).data;
    const signal = meanOverRepeats(recording).data;
    // Ten targets that follow x, ten that do not.
    const y = tensor(
      Float64Array.from({ length: 150 * 20 }, (_, i) => {
        const [row, t] = [Math.floor(i / 20), i % 20];
        return t < 10 ? signal[row * 10 + t]! : noise[row * 10 + t - 10]!;
      }),
      ["stimulus", "target"],
      [150, 20],
    );
    const score = await encodingScore(x, y, {
      linalg,
      permutation: { nDraws: 199, blockLength: 3 },
      interval: { over: "subjects", subjects: Array.from({ length: 20 }, (_, t) => t % 5) },
      floors: {
        position: tensor(Float64Array.from(ids(150).keys()), ["stimulus", "unit"], [150, 1]),
      },
      keepPredictions: true,
    });
    const { p, q, nSignificant, medianP } = score.significance!;
    expect(Math.max(...p.slice(0, 10))).toBe(0.005);
    expect(nSignificant).toBeGreaterThanOrEqual(10);
    expect(nSignificant).toBeLessThanOrEqual(12);
    expect(q[0]).toBeGreaterThanOrEqual(p[0]!);
    expect(medianP).toBe(0.005);
    expect(Math.abs(score.floors[0]!.mean)).toBeLessThan(0.15);
    expect(score.interval!.low).toBeLessThan(score.interval!.high);
    expect(score.r2PerTarget[0]).toBeCloseTo(score.perTarget[0]! ** 2, 0);
    expect(score.perFold.shape).toEqual([5, 20]);
    // The first fold's r from the predictions that were kept.
    const column = (data: ArrayLike<number>) => Array.from({ length: 30 }, (_, i) => data[i * 20]!);
    expect(score.perFold.data[0]).toBeCloseTo(
      pearson(column(score.predictions!.data), column(y.data)),
      12,
    );
    for (const over of ["targets", "folds"] as const) {
      const { interval } = await encodingScore(x, y, { linalg, interval: { over, nDraws: 100 } });
      expect(interval!.estimate).toBeCloseTo(score.median, 12);
    }
  });

  test("takes regressors by name", async () => {
    const x = random(80, 4, 1);
    const y = meanOverRepeats(
      simulateRecording(x, ids(80), { nTargets: 6, signalToNoise: 4, seed: 2 }),
    );
    for (const regressor of Object.keys(regressors) as RegressorName[]) {
      const { median } = await encodingScore(x, y, { regressor, components: 3, linalg });
      // Targets are mixtures of four units: one unit explains a part.
      expect(median, regressor).toBeGreaterThan(regressor === "nearest-unit" ? 0 : 0.4);
    }
  });

  test("takes any regressor", async () => {
    const x = random(40, 2, 1);
    const y = tensor(x.data.slice(), ["stimulus", "target"], [40, 2]);
    const same: HeldOutPredictor = async (_, __, held) =>
      tensor(held.data, ["stimulus", "target"], [held.shape[0], 2]);
    const score = await encodingScore(x, y, { regressor: same, linalg });
    expect(score.median).toBeCloseTo(1, 12);
    expect(score.r2PerTarget[0]).toBeCloseTo(1, 12);
    const short: HeldOutPredictor = async () =>
      tensor(new Float64Array(2), ["stimulus", "target"], [1, 2]);
    await expect(encodingScore(x, y, { regressor: short, linalg })).rejects.toThrow(ShapeError);
  });

  test("counts targets that have no score", async () => {
    const x = random(30, 3, 3);
    const y = tensor(
      Float64Array.from({ length: 60 }, (_, i) => (i % 2 ? 0.1 : x.data[(i / 2) * 3]!)),
      ["stimulus", "target"],
      [30, 2],
    );
    const score = await encodingScore(x, y, { linalg, ceiling: [0.5, 0.05] });
    expect(score.perTarget[0]).toBeGreaterThan(0.9);
    expect(score.perTarget[1]).toBeNaN();
    expect(score.nUndefined).toBe(1);
    expect(score.median).toBe(score.perTarget[0]);
    expect(score.normalized!.nUndefined).toBe(1);
    // A unit that never varies predicts nothing.
    const still = { ...x, data: x.data.map(() => 2) };
    expect((await encodingScore(still, y, { linalg })).perTarget[0]).toBe(0);
  });

  test("refuses what does not fit", async () => {
    const x = random(12, 3, 3);
    const y = tensor(random(12, 2, 4).data, ["stimulus", "target"], [12, 2]);
    const run = (options: object) => encodingScore(x, y, { linalg, ...options });
    await expect(encodingScore(random(11, 3, 1), y, { linalg })).rejects.toThrow(ShapeError);
    await expect(run({ outerFolds: 6 })).rejects.toThrow(
      "expected at least 3 stimuli in each held-out fold, got 2",
    );
    await expect(run({ outerFolds: 6 })).rejects.toThrow(ArgumentError);
    await expect(run({ outerFolds: 3, groups: [1] })).rejects.toThrow(ShapeError);
    await expect(run({ outerFolds: 20 })).rejects.toThrow(
      "expected at most 12 outer folds of 12 stimuli, got 20",
    );
    await expect(run({ split: "grouped" })).rejects.toThrow("expected groups for split grouped");
    await expect(run({ outerFolds: 3, interval: { over: "subjects" } })).rejects.toThrow(
      ShapeError,
    );
    await expect(run({ outerFolds: 3, floors: { z: random(11, 1, 1) } })).rejects.toThrow(
      "expected as many stimuli in z as in y, got 11 and 12",
    );
    await expect(run({ outerFolds: 3, ceiling: [1] })).rejects.toThrow(ShapeError);
    await expect(run({ outerFolds: 3, ceiling: [1, 1], leastCeiling: 0 })).rejects.toThrow(
      ArgumentError,
    );
    await expect(run({ outerFolds: 3, signal: AbortSignal.abort() })).rejects.toThrow(
      InterruptedError,
    );
    const holes = { ...x, data: x.data.map((value, i) => (i === 4 ? Number.NaN : value)) };
    await expect(encodingScore(holes, y, { linalg })).rejects.toThrow(DataError);
  });
});

describe("positionLengthFloor", () => {
  test("counts words and characters, and averages several texts", () => {
    const { data, shape } = positionLengthFloor([
      { text: "a bb" },
      [{ text: "a b c d" }, { text: "abcd ef gh ij" }],
    ]);
    expect(shape).toEqual([2, 3]);
    expect([...data]).toEqual([-1, -1, -1, 1, 1, 1]);
  });

  test("is zero where nothing varies, and refuses nothing at all", () => {
    expect([...positionLengthFloor([{ text: "a" }, { text: "b" }]).data]).toEqual([
      -1, 0, 0, 1, 0, 0,
    ]);
    expect(() => positionLengthFloor([{ text: "a" }])).toThrow(ShapeError);
    expect(() => positionLengthFloor([{ text: "a" }, []])).toThrow(DataError);
  });
});
