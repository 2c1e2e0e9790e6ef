import { ArgumentError, createRng, ShapeError } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { poissonTrain, synchronousPopulation } from "./generate.ts";
import { isiDistance } from "./isiDistance.ts";
import { spikeDistance } from "./spikeDistance.ts";
import { spikeSynchronization, spikeSynchronizationOfMany } from "./spikeSynchronization.ts";
import { type SpikeTrain, shiftTrain, spikeTrain } from "./spikeTrain.ts";
import { sttc } from "./sttc.ts";
import { vanRossum } from "./vanRossum.ts";
import { victorPurpura } from "./victorPurpura.ts";

const train = (...times: number[]): SpikeTrain => spikeTrain(times, { tStop: 1 });
const none = train();

/** Trains over [0, 1] on a grid of 1/256, so that shifts by whole numbers are exact; equal times happen. */
const anyTrain = fc.array(fc.integer({ min: 0, max: 256 }), { maxLength: 12 }).map((ticks) =>
  spikeTrain(
    ticks.sort((a, b) => a - b).map((k) => k / 256),
    { tStop: 1 },
  ),
);

/** The same without equal times within a train. */
const strictTrain = fc
  .uniqueArray(fc.integer({ min: 0, max: 256 }), { maxLength: 12 })
  .map((ticks) =>
    spikeTrain(
      ticks.sort((a, b) => a - b).map((k) => k / 256),
      { tStop: 1 },
    ),
  );

const measures: Record<string, (a: SpikeTrain, b: SpikeTrain) => number> = {
  victorPurpura: (a, b) => victorPurpura(a, b, { costPerSecond: 20 }),
  vanRossum: (a, b) => vanRossum(a, b, { tauSeconds: 0.05 }),
  isiDistance,
  spikeDistance,
  spikeSynchronization: (a, b) => 1 - spikeSynchronization(a, b),
  sttc: (a, b) => 1 - sttc(a, b, { windowSeconds: 0.03 }),
};

describe.each(Object.entries(measures))("%s", (name, measure) => {
  test("is symmetric, 0 for a train and itself, and does not depend on when recording began", () => {
    fc.assert(
      fc.property(anyTrain, anyTrain, (a, b) => {
        const d = measure(a, b);
        if (name === "sttc" && (a.times.length === 0 || b.times.length === 0)) {
          expect(d).toBeNaN();
          return;
        }
        expect(measure(b, a)).toBeCloseTo(d, 12);
        expect(measure(a, a)).toBe(0);
        expect(measure(shiftTrain(a, 8), shiftTrain(b, 8))).toBeCloseTo(d, 12);
        expect(d).toBeGreaterThanOrEqual(0);
      }),
      { numRuns: 200 },
    );
  });
});

describe.each(["victorPurpura", "vanRossum"])("%s is a metric", (name) => {
  const measure = measures[name]!;
  test("triangle inequality; 0 for equal trains only", () => {
    fc.assert(
      fc.property(anyTrain, anyTrain, anyTrain, (a, b, c) => {
        expect(measure(a, c)).toBeLessThanOrEqual(measure(a, b) + measure(b, c) + 1e-12);
        if (a.times.join() !== b.times.join()) expect(measure(a, b)).toBeGreaterThan(1e-6);
      }),
      { numRuns: 300 },
    );
  });
});

describe.each(["isiDistance", "spikeDistance", "spikeSynchronization"])("%s", (name) => {
  test("stays within 0..1", () => {
    fc.assert(
      fc.property(anyTrain, anyTrain, (a, b) => {
        expect(measures[name]!(a, b)).toBeLessThanOrEqual(1 + 1e-12);
      }),
    );
  });

  test("does not depend on the scale of time", () => {
    const slow = (t: SpikeTrain) =>
      spikeTrain(
        t.times.map((v) => v * 4),
        { tStop: 4 },
      );
    fc.assert(
      fc.property(anyTrain, anyTrain, (a, b) => {
        expect(measures[name]!(slow(a), slow(b))).toBeCloseTo(measures[name]!(a, b), 12);
      }),
    );
  });

  test("refuses trains of different times", () => {
    const other = spikeTrain([], { tStop: 2 });
    expect(() => measures[name]!(none, other)).toThrow(ShapeError);
    expect(() => measures[name]!(none, other)).toThrow(
      `${name}: expected trains recorded over the same time, got [0, 1] s and [0, 2] s`,
    );
  });
});

describe("victorPurpura", () => {
  /** Over all ways to match spikes in order: the definition. */
  const naive = (x: number[], y: number[], q: number): number => {
    if (x.length === 0 || y.length === 0) return x.length + y.length;
    const [a, ...restX] = x as [number, ...number[]];
    const [b, ...restY] = y as [number, ...number[]];
    return Math.min(
      1 + naive(restX, y, q),
      1 + naive(x, restY, q),
      q * Math.abs(a - b) + naive(restX, restY, q),
    );
  };

  test("by hand", () => {
    expect(victorPurpura(train(0.1), train(0.2), { costPerSecond: 5 })).toBeCloseTo(0.5, 14);
    expect(victorPurpura(train(0.1), train(0.9), { costPerSecond: 5 })).toBe(2);
    expect(victorPurpura(train(0.1, 0.4), none, { costPerSecond: 5 })).toBe(2);
    expect(victorPurpura(none, none, { costPerSecond: 5 })).toBe(0);
  });

  test("q = 0 counts, q = infinity counts coincidences, equal times are matched one to one", () => {
    const [a, b] = [train(0.1, 0.2, 0.3), train(0.2)];
    expect(victorPurpura(a, b, { costPerSecond: 0 })).toBe(2);
    expect(victorPurpura(a, b, { costPerSecond: Number.POSITIVE_INFINITY })).toBe(2);
    expect(victorPurpura(train(0.2, 0.2), b, { costPerSecond: 10 })).toBe(1);
  });

  test("equals the definition", () => {
    const short = fc
      .array(fc.integer({ min: 0, max: 64 }), { maxLength: 6 })
      .map((ticks) => train(...ticks.sort((a, b) => a - b).map((k) => k / 64)));
    fc.assert(
      fc.property(short, short, fc.constantFrom(0, 0.5, 3, 20, 200), (a, b, q) => {
        const expected = naive([...a.times], [...b.times], q);
        expect(victorPurpura(a, b, { costPerSecond: q })).toBeCloseTo(expected, 11);
      }),
      { numRuns: 150 },
    );
  });

  test.each([-1, Number.NaN])("refuses a cost of %d", (costPerSecond) => {
    expect(() => victorPurpura(none, none, { costPerSecond })).toThrow(ArgumentError);
    expect(() => victorPurpura(none, none, { costPerSecond })).toThrow(
      `victorPurpura: expected costPerSecond of 0 or more, got ${costPerSecond}`,
    );
  });
});

describe("vanRossum", () => {
  /** 2/tau times the integral of (f - g)^2, by the kernel of pairs. */
  const naive = (a: SpikeTrain, b: SpikeTrain, tau: number): number => {
    const kernel = (x: Float64Array, y: Float64Array): number => {
      let sum = 0;
      for (const s of x) for (const t of y) sum += Math.exp(-Math.abs(s - t) / tau);
      return sum;
    };
    const squared = kernel(a.times, a.times) + kernel(b.times, b.times);
    return Math.sqrt(Math.max(0, squared - 2 * kernel(a.times, b.times)));
  };

  test("two spikes: D^2 = 2 (1 - exp(-dt / tau))", () => {
    const d = vanRossum(train(0.1), train(0.13), { tauSeconds: 0.02 });
    expect(d ** 2).toBeCloseTo(2 * (1 - Math.exp(-1.5)), 14);
  });

  test("both normalizations", () => {
    const far = [train(0.01), train(0.99)] as const;
    expect(vanRossum(...far, { tauSeconds: 0.001 })).toBeCloseTo(Math.SQRT2, 14);
    const original = { tauSeconds: 0.001, normalization: "vanRossum2001" } as const;
    expect(vanRossum(...far, original)).toBeCloseTo(1, 14);
    expect(vanRossum(train(0.5), none, original)).toBeCloseTo(Math.SQRT1_2, 15);
  });

  test("equals the sum over pairs", () => {
    fc.assert(
      fc.property(anyTrain, anyTrain, fc.constantFrom(0.002, 0.05, 3), (a, b, tau) => {
        // The sum over pairs cancels: its own error is some eps times the number of pairs, before the root.
        expect(vanRossum(a, b, { tauSeconds: tau }) ** 2).toBeCloseTo(naive(a, b, tau) ** 2, 10);
      }),
      { numRuns: 200 },
    );
  });

  test("an infinite tau compares counts; equal trains are exactly 0 apart", () => {
    const tauSeconds = Number.POSITIVE_INFINITY;
    expect(vanRossum(train(0.1, 0.2, 0.9), train(0.5), { tauSeconds })).toBe(2);
    const a = poissonTrain({ rateHertz: 50, tStop: 20 }, createRng(1));
    expect(vanRossum(a, a, { tauSeconds: 0.02 })).toBe(0);
  });

  test("refuses what it cannot use", () => {
    expect(() => vanRossum(none, none, { tauSeconds: 0 })).toThrow(
      "vanRossum: expected tauSeconds above 0, got 0",
    );
    expect(() =>
      vanRossum(none, none, { tauSeconds: 1, normalization: "L2" as "singleSpike" }),
    ).toThrow("vanRossum: expected normalization singleSpike or vanRossum2001, got L2");
  });
});

describe("ISI- and SPIKE-distance against their definitions, on a fine grid", () => {
  /** Interval, and both spikes with their distances, at t; edges as documented. */
  const around = (a: SpikeTrain, b: SpikeTrain, t: number) => {
    const own = a.times.length > 0 ? [...a.times] : [0, 1];
    const other = b.times.length > 0 ? [...b.times] : [0, 1];
    const n = other.length;
    const beyond = [
      Math.min(0, n > 1 ? 2 * other[0]! - other[1]! : 0),
      Math.max(1, n > 1 ? 2 * other[n - 1]! - other[n - 2]! : 1),
    ];
    const nearest = (s: number) => Math.min(...[...other, ...beyond].map((u) => Math.abs(u - s)));
    const before = own.filter((s) => s <= t).at(-1);
    const after = own.find((s) => s > t);
    if (before === undefined) {
      const first = own[0]!;
      const isi = Math.max(first, own.length > 1 ? own[1]! - first : 0);
      return { isi, s: nearest(first) };
    }
    if (after === undefined) {
      const last = own.at(-1)!;
      const isi = Math.max(1 - last, own.length > 1 ? last - own.at(-2)! : 0);
      return { isi, s: nearest(last) };
    }
    const isi = after - before;
    return { isi, s: (nearest(before) * (after - t) + nearest(after) * (t - before)) / isi };
  };
  // Spikes lie on multiples of 1/256: midpoints of 1/1024 never meet one, and S is straight between.
  const mean = (of: (t: number) => number): number => {
    let sum = 0;
    for (let i = 0; i < 1024; i++) sum += of((i + 0.5) / 1024);
    return sum / 1024;
  };

  test("isiDistance", () => {
    fc.assert(
      fc.property(strictTrain, strictTrain, (a, b) => {
        const expected = mean((t) => {
          const [x, y] = [around(a, b, t).isi, around(b, a, t).isi];
          return Math.abs(x - y) / Math.max(x, y);
        });
        expect(isiDistance(a, b)).toBeCloseTo(expected, 11);
      }),
      { numRuns: 60 },
    );
  });

  test("spikeDistance", () => {
    fc.assert(
      fc.property(strictTrain, strictTrain, (a, b) => {
        const expected = mean((t) => {
          const [x, y] = [around(a, b, t), around(b, a, t)];
          return (2 * (x.s * y.isi + y.s * x.isi)) / (x.isi + y.isi) ** 2;
        });
        expect(spikeDistance(a, b)).toBeCloseTo(expected, 11);
      }),
      { numRuns: 60 },
    );
  });

  test("empty trains count as a spike at each end", () => {
    const ends = train(0, 1);
    const a = train(0.2, 0.6, 0.7);
    expect(isiDistance(none, a)).toBe(isiDistance(ends, a));
    expect(spikeDistance(a, none)).toBe(spikeDistance(a, ends));
    expect(spikeDistance(none, none)).toBe(0);
    expect(isiDistance(none, none)).toBe(0);
  });
});

describe("spikeSynchronization", () => {
  const naive = (a: SpikeTrain, b: SpikeTrain): number => {
    const coincident = (x: Float64Array, y: Float64Array): number =>
      x.filter((s, i) =>
        y.some((t, j) => {
          const gaps = [x[i]! - x[i - 1]!, x[i + 1]! - x[i]!, y[j]! - y[j - 1]!, y[j + 1]! - y[j]!];
          const window = Math.min(0.5, ...gaps.filter((g) => !Number.isNaN(g)).map((g) => g / 2));
          return s === t || Math.abs(s - t) < window;
        }),
      ).length;
    const total = a.times.length + b.times.length;
    return (coincident(a.times, b.times) + coincident(b.times, a.times)) / total;
  };

  test("equals the comparison of all spikes with all", () => {
    fc.assert(
      fc.property(strictTrain, strictTrain, (a, b) => {
        if (a.times.length + b.times.length === 0) return;
        expect(spikeSynchronization(a, b)).toBeCloseTo(naive(a, b), 14);
      }),
      { numRuns: 300 },
    );
  });

  test("1 if both are empty, 0 if one is", () => {
    expect(spikeSynchronization(none, none)).toBe(1);
    expect(spikeSynchronization(none, train(0.5))).toBe(0);
    expect(spikeSynchronizationOfMany([none, none, none])).toBe(1);
  });

  test("a window bounds what coincides", () => {
    const [a, b] = [train(0.1, 0.5), train(0.14, 0.501)];
    expect(spikeSynchronization(a, b)).toBe(1);
    expect(spikeSynchronization(a, b, { maxWindowSeconds: 0.01 })).toBe(0.5);
    expect(() => spikeSynchronization(a, b, { maxWindowSeconds: 0 })).toThrow(ArgumentError);
    expect(() => spikeSynchronizationOfMany([a])).toThrow(
      "spikeSynchronizationOfMany: expected at least 2 trains, got 1",
    );
  });

  test("grows with planted synchrony", () => {
    const at = (shared: number): number => {
      const options = { nTrains: 6, rateHertz: 10, shared, jitterSeconds: 0.001, tStop: 40 };
      return spikeSynchronizationOfMany(synchronousPopulation(options, createRng(3)).trains);
    };
    const [low, middle, high] = [at(0), at(0.4), at(0.9)];
    expect(middle).toBeGreaterThan(low + 0.1);
    expect(high).toBeGreaterThan(middle + 0.2);
  });
});

describe("sttc", () => {
  test("by hand: tiles cut at the edges and merged where they overlap", () => {
    // T_A: [0, 0.1] + [0.4, 0.65] = 0.35; T_B: [0.4, 0.6] = 0.2; P_A = 2/3, P_B = 1.
    const value = sttc(train(0, 0.5, 0.55), train(0.5), { windowSeconds: 0.1 });
    const expected = ((2 / 3 - 0.2) / (1 - (2 / 3) * 0.2) + (1 - 0.35) / (1 - 0.35)) / 2;
    expect(value).toBeCloseTo(expected, 14);
  });

  test("independent trains of any rate are near 0", () => {
    const rng = createRng(8);
    const a = poissonTrain({ rateHertz: 5, tStop: 400 }, rng);
    const b = poissonTrain({ rateHertz: 40, tStop: 400 }, rng);
    expect(Math.abs(sttc(a, b, { windowSeconds: 0.01 }))).toBeLessThan(0.02);
  });

  test("degenerate: empty trains NaN, tiles that fill the recording 1", () => {
    expect(sttc(none, train(0.5), { windowSeconds: 0.1 })).toBeNaN();
    expect(sttc(train(0.5), train(0.4), { windowSeconds: 1 })).toBe(1);
    expect(() => sttc(none, none, { windowSeconds: 0 })).toThrow(
      "sttc: expected windowSeconds above 0, got 0",
    );
  });
});
