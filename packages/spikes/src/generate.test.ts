import { ArgumentError, createRng } from "@penfield/core";
import { describe, expect, test } from "vitest";
import {
  avalancheActivity,
  binomialSample,
  branchingActivity,
  ornsteinUhlenbeck,
  poissonSample,
  poissonTrain,
  subsampleCounts,
  synchronousPopulation,
} from "./generate.ts";

const moments = (values: ArrayLike<number>): [number, number] => {
  const x = Array.from(values);
  const mean = x.reduce((a, b) => a + b, 0) / x.length;
  return [mean, x.reduce((sum, v) => sum + (v - mean) ** 2, 0) / x.length];
};

describe("distributions", () => {
  test.each([0.3, 5, 29, 31, 400])("Poisson of mean %d", (expected) => {
    const rng = createRng(1);
    const [mean, variance] = moments(
      Array.from({ length: 20_000 }, () => poissonSample(expected, rng)),
    );
    expect(Math.abs(mean - expected)).toBeLessThan(5 * Math.sqrt(expected / 20_000));
    expect(Math.abs(variance / expected - 1)).toBeLessThan(0.06);
  });

  test.each([
    [10, 0.05],
    [40, 0.5],
    [7, 0.9],
    [500, 0.3],
  ])("binomial of %d and %d", (n, p) => {
    const rng = createRng(2);
    const counts = Array.from({ length: 20_000 }, () => binomialSample(n, p, rng));
    const [mean, variance] = moments(counts);
    expect(Math.abs(mean - n * p)).toBeLessThan(5 * Math.sqrt((n * p) / 20_000));
    expect(Math.abs(variance / (n * p * (1 - p)) - 1)).toBeLessThan(0.06);
    expect(counts.every((k) => k >= 0 && k <= n)).toBe(true);
  });

  test("degenerate ones", () => {
    const rng = createRng(1);
    expect([binomialSample(0, 0.5, rng), binomialSample(5, 0, rng)]).toEqual([0, 0]);
    expect(poissonTrain({ rateHertz: 0, tStop: 1 }, rng).times).toHaveLength(0);
    expect(() => poissonSample(-1, rng)).toThrow(ArgumentError);
    expect(() => binomialSample(5, 1.5, rng)).toThrow(
      "binomialSample: expected p within 0..1, got 1.5",
    );
  });
});

describe("processes", () => {
  test("equal seeds give equal trains", () => {
    const make = () => poissonTrain({ rateHertz: 30, tStop: 5, tStart: 1 }, createRng(7));
    expect(make()).toEqual(make());
    expect(make().tStart).toBe(1);
  });

  test("shared spikes are in every train", () => {
    const { trains } = synchronousPopulation(
      { nTrains: 3, rateHertz: 20, shared: 0.5, tStop: 50 },
      createRng(1),
    );
    const common = [...trains[0]!.times].filter((t) => trains[1]!.times.includes(t));
    expect(common.every((t) => trains[2]!.times.includes(t))).toBe(true);
    expect(Math.abs(common.length / (0.5 * 20 * 50) - 1)).toBeLessThan(0.15);
  });

  test("branching activity has its stationary mean and variance", () => {
    const activity = branchingActivity({ m: 0.9, drive: 10, nSteps: 50_000 }, createRng(3));
    const [mean, variance] = moments(activity);
    expect(Math.abs(mean - 100)).toBeLessThan(2);
    expect(Math.abs(variance / (100 / (1 - 0.81)) - 1)).toBeLessThan(0.1);
    const [seen] = moments(subsampleCounts(activity, 0.1, createRng(4)));
    expect(Math.abs(seen - 10)).toBeLessThan(0.3);
  });

  test("avalanches end at their bound", () => {
    const counts = avalancheActivity({ m: 3, nAvalanches: 1, maxSize: 100 }, createRng(9));
    expect(counts[0]).toBe(0);
    expect(counts.at(-1)).toBe(0);
  });

  test("the Ornstein-Uhlenbeck process has variance 1 from the start", () => {
    const rng = createRng(5);
    const starts = Array.from(
      { length: 5000 },
      () => ornsteinUhlenbeck({ tauSteps: 5, nSteps: 2 }, rng)[1]!,
    );
    expect(Math.abs(moments(starts)[1] - 1)).toBeLessThan(0.08);
    expect(() => ornsteinUhlenbeck({ tauSteps: 0, nSteps: 2 }, rng)).toThrow(ArgumentError);
  });
});
