import { ArgumentError, createRng, DataError, ShapeError } from "@penfield/core";
import { describe, expect, test } from "vitest";
import { ornsteinUhlenbeck } from "./generate.ts";
import { nelderMead } from "./nelderMead.ts";
import { autocorrelation, compareTimescales, estimateTimescale } from "./timescales.ts";

const processes = (nTrials: number, tauSteps: number, nSteps: number, seed: number) => {
  const rng = createRng(seed);
  return Array.from({ length: nTrials }, () => ornsteinUhlenbeck({ tauSteps, nSteps }, rng));
};

describe("nelderMead", () => {
  test("comes down Rosenbrock's valley", () => {
    const f = ([x, y]: readonly number[]) => (1 - x!) ** 2 + 100 * (y! - x! ** 2) ** 2;
    const { x } = nelderMead(f, [-1.2, 1], { maxSteps: 500, tolerance: 1e-14 });
    expect(x[0]).toBeCloseTo(1, 4);
    expect(x[1]).toBeCloseTo(1, 4);
  });
});

describe("autocorrelation", () => {
  test("by hand", () => {
    // Means 2: deviations -1, 0, 1 and 1, -1, 0 (mean 1 of 2, 0, 1).
    const r = autocorrelation(
      [
        [1, 2, 3],
        [2, 0, 1],
      ],
      { maxLag: 1 },
    );
    expect(r[0]).toBeCloseTo(-1 / 4 / (4 / 6), 14);
  });

  test("does not depend on scale or on the means of trials", () => {
    const trials = processes(3, 5, 50, 1);
    const r = autocorrelation(trials, { maxLag: 10 });
    const moved = autocorrelation(
      trials.map((x, i) => x.map((v) => 3 * v + i)),
      { maxLag: 10 },
    );
    for (let k = 0; k < 10; k++) expect(moved[k]).toBeCloseTo(r[k]!, 12);
  });

  test.each([
    [[], ShapeError, "autocorrelation: expected at least one trial, got none"],
    [
      [[1, 2]],
      ShapeError,
      "autocorrelation: expected trials of at least maxLag + 2 = 3 steps, got 2",
    ],
    [[[1, 1, 1]], DataError, "autocorrelation: expected activity that varies, got a constant"],
    [[[1, Number.NaN, 1]], DataError, "autocorrelation: expected finite activity, got NaN at 1"],
  ])("refuses %j", (trials, type, message) => {
    expect(() => autocorrelation(trials, { maxLag: 1 })).toThrow(type);
    expect(() => autocorrelation(trials, { maxLag: 1 })).toThrow(message);
  });
});

describe("estimateTimescale", () => {
  test("the expected autocorrelation is the mean over many processes", () => {
    const fit = estimateTimescale(processes(1500, 10, 60, 1), { maxLag: 30 });
    // With the true tau the mean of r_k over 1500 trials and its expectation differ by chance alone.
    expect(Math.abs(fit.corrected.tauSeconds - 10)).toBeLessThan(0.8);
    expect(Math.abs(fit.corrected.share - 1)).toBeLessThan(0.01);
    for (let k = 0; k < 30; k++) {
      expect(Math.abs(fit.expected[k]! - fit.autocorrelation[k]!)).toBeLessThan(0.015);
    }
    expect(fit.naive.tau).toBeLessThan(6);
  });

  test("30 trials of ten tau: the naive estimate is too short, the interval of the corrected one holds the truth", () => {
    for (const seed of [1, 2, 3]) {
      const { naive, corrected, interval } = estimateTimescale(
        processes(30, 20, 200, seed),
        { maxLag: 60, nDraws: 40 },
        createRng(seed, 7),
      );
      expect(naive.tau).toBeLessThan(14);
      expect(Math.abs(corrected.tauSeconds - 20)).toBeLessThan(7);
      expect(interval!.low).toBeLessThan(20);
      expect(interval!.high).toBeGreaterThan(20);
    }
  });

  test("white noise on top lowers the share, not tau", () => {
    const rng = createRng(5);
    const trials = processes(200, 20, 200, 4).map((x) => x.map((v) => v + rng.normal()));
    const { corrected } = estimateTimescale(trials, { maxLag: 40 });
    expect(Math.abs(corrected.share - 0.5)).toBeLessThan(0.05);
    expect(Math.abs(corrected.tauSeconds - 20)).toBeLessThan(4);
  });

  test("is in seconds, takes trials of different lengths, and gives the same for the same", () => {
    const trials = [...processes(10, 8, 100, 1), ...processes(10, 8, 150, 2)];
    const steps = estimateTimescale(trials, { maxLag: 20 });
    const seconds = estimateTimescale(trials, { maxLag: 20, dtSeconds: 0.01 });
    expect(seconds.corrected.tauSeconds).toBeCloseTo(steps.corrected.tauSeconds * 0.01, 12);
    expect(seconds.naive.tau).toBeCloseTo(steps.naive.tau * 0.01, 12);
    expect(steps.interval).toBeUndefined();
  });

  test("long timescales are warned of", () => {
    const { warnings } = estimateTimescale(processes(20, 40, 90, 3), { maxLag: 6 });
    expect(warnings.join(" ")).toContain("less than four tau");
    expect(warnings.join(" ")).toContain("take a larger one");
  });

  test("white noise has no timescale, a drift none that trials could tell, an alternation one below a step", () => {
    const rng = createRng(1);
    const white = Array.from({ length: 10 }, () =>
      Float64Array.from({ length: 100 }, () => rng.normal()),
    );
    const none = estimateTimescale(white, { maxLag: 20, nDraws: 5 }, rng);
    expect(none.corrected.tauSeconds).toBeNaN();
    expect(none.interval).toBeUndefined();
    expect(none.warnings.join(" ")).toContain("All is white noise");
    const drift = Float64Array.from({ length: 100 }, (_, t) => t);
    const slow = estimateTimescale([drift], { maxLag: 20, nDraws: 5 }, rng);
    expect(slow.warnings.join(" ")).toContain("they may drift");
    expect(slow.interval).toBeUndefined();
    const alternating = Float64Array.from({ length: 100 }, (_, t) => t % 2);
    const fast = estimateTimescale([alternating], { maxLag: 20 });
    expect(fast.warnings.join(" ")).toContain("shorter than a step");
  });

  test("refuses draws without a source, few lags, levels out of range", () => {
    const trials = processes(2, 5, 50, 1);
    expect(() => estimateTimescale(trials, { maxLag: 10, nDraws: 5 })).toThrow(
      "estimateTimescale: expected a source of random numbers for draws, got none",
    );
    expect(() => estimateTimescale(trials, { maxLag: 2 })).toThrow(ArgumentError);
    expect(() => estimateTimescale(trials, { maxLag: 10, level: 1 })).toThrow(ArgumentError);
    expect(() => estimateTimescale(trials, { maxLag: 10, dtSeconds: 0 })).toThrow(ArgumentError);
  });
});

describe("compareTimescales", () => {
  test("tells one timescale from two", () => {
    const rng = createRng(3);
    const one = compareTimescales(processes(20, 10, 200, 2), { maxLag: 40, nDraws: 19 }, rng);
    expect(one.nTimescales).toBe(1);
    expect(Math.abs(one.one[0]!.tauSeconds - 10)).toBeLessThan(3);
    const slow = processes(40, 40, 300, 5);
    const mixed = processes(40, 4, 300, 6).map((x, i) =>
      x.map((v, t) => Math.SQRT1_2 * (v + slow[i]![t]!)),
    );
    const two = compareTimescales(mixed, { maxLag: 60, nDraws: 19 }, rng);
    expect(two.p).toBe(0.05);
    expect(two.nTimescales).toBe(2);
    expect(two.two[0]!.tauSeconds).toBeLessThan(8);
    expect(two.two[1]!.tauSeconds).toBeGreaterThan(20);
  });

  test("refuses few lags and levels out of range", () => {
    const trials = processes(2, 5, 50, 1);
    const rng = createRng(1);
    expect(() => compareTimescales(trials, { maxLag: 4 }, rng)).toThrow(ArgumentError);
    expect(() => compareTimescales(trials, { maxLag: 9, alpha: 0 }, rng)).toThrow(
      "compareTimescales: expected alpha between 0 and 1, got 0",
    );
  });
});
