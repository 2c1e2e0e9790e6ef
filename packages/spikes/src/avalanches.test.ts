import { ArgumentError, createRng, DataError, ShapeError } from "@penfield/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  cracklingNoise,
  findAvalanches,
  naiveBranchingRatio,
  sizeGivenDuration,
} from "./avalanches.ts";
import { avalancheActivity } from "./generate.ts";
import { fitPowerLaw, powerLawAgainstExponential, powerLawP, samplePowerLaw } from "./powerLaw.ts";
import { hurwitzZeta } from "./zeta.ts";

describe("findAvalanches", () => {
  test("sizes add up to all spikes, durations to all bins with spikes", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 60 }), (counts) => {
        const { sizes, durations } = findAvalanches(counts);
        expect(sizes.reduce((a, b) => a + b, 0)).toBe(counts.reduce((a, b) => a + b, 0));
        expect(durations.reduce((a, b) => a + b, 0)).toBe(counts.filter((n) => n > 0).length);
      }),
    );
  });

  test("runs at the ends are kept or dropped, and counted", () => {
    const counts = [2, 0, 1, 1, 0, 3];
    expect(Array.from(findAvalanches(counts).sizes)).toEqual([2, 2, 3]);
    const inner = findAvalanches(counts, { truncated: "drop" });
    expect(Array.from(inner.sizes)).toEqual([2]);
    expect(inner.nTruncated).toBe(2);
    expect(findAvalanches([1, 1]).nTruncated).toBe(1);
    expect(findAvalanches([]).sizes).toHaveLength(0);
  });

  test("refuses rates", () => {
    expect(() => findAvalanches([0, 0.5])).toThrow(
      "findAvalanches: expected counts to be whole numbers of at least 0, got 0.5 at 1",
    );
  });

  test("naiveBranchingRatio without spikes is NaN", () => {
    expect(naiveBranchingRatio([0, 0, 3])).toBeNaN();
  });
});

describe("hurwitzZeta", () => {
  test.each([
    [2, 1, Math.PI ** 2 / 6, -0.937548254315844],
    [4, 1, Math.PI ** 4 / 90, -0.0689112658961254],
    [1.5, 1, 2.612375348685488, -3.932239737431101],
    [2, 1.5, 4 * (Math.PI ** 2 / 8 - 1), Number.NaN],
  ])("zeta(%d, %d)", (s, q, value, derivative) => {
    const got = hurwitzZeta(s, q);
    expect(got.value).toBeCloseTo(value, 13);
    if (!Number.isNaN(derivative)) expect(got.derivative).toBeCloseTo(derivative, 12);
  });

  test("zeta(s, q) = q^-s + zeta(s, q + 1), and the derivative is one", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 1.01, max: 12, noNaN: true }),
        fc.integer({ min: 1, max: 500 }),
        (s, q) => {
          const { value, derivative } = hurwitzZeta(s, q);
          expect((q ** -s + hurwitzZeta(s, q + 1).value) / value).toBeCloseTo(1, 13);
          const h = 1e-5 * (s - 1);
          const slope = (hurwitzZeta(s + h, q).value - hurwitzZeta(s - h, q).value) / (2 * h);
          expect(derivative / slope).toBeCloseTo(1, 6);
        },
      ),
    );
  });
});

describe("fitPowerLaw", () => {
  /** The likelihood by plain sums. */
  const logLikelihood = (values: ArrayLike<number>, alpha: number, xMin: number, xMax: number) => {
    let z = 0;
    for (let x = xMin; x <= xMax; x++) z += x ** -alpha;
    let sum = 0;
    for (const x of Array.from(values)) sum -= alpha * Math.log(x) + Math.log(z);
    return sum;
  };

  test("the likelihood is highest at alpha, for bounds of all kinds", () => {
    const values = samplePowerLaw(400, { alpha: 1.6, xMin: 2, xMax: 90 }, createRng(1));
    const fit = fitPowerLaw(values, { xMin: 2, xMax: 90 });
    const at = (alpha: number) => logLikelihood(values, alpha, 2, 90);
    expect(fit.logLikelihood).toBeCloseTo(at(fit.alpha), 8);
    for (const off of [-0.01, 0.01]) expect(at(fit.alpha + off)).toBeLessThan(fit.logLikelihood);
    expect(Math.abs(fit.alpha - 1.6)).toBeLessThan(4 * fit.standardError);
  });

  test("the standard error is the spread over samples", () => {
    const rng = createRng(2);
    const fits = Array.from({ length: 200 }, () =>
      fitPowerLaw(samplePowerLaw(300, { alpha: 2.5 }, rng)),
    );
    const mean = fits.reduce((sum, f) => sum + f.alpha, 0) / 200;
    const spread = Math.sqrt(fits.reduce((sum, f) => sum + (f.alpha - mean) ** 2, 0) / 199);
    expect(Math.abs(mean - 2.5)).toBeLessThan(0.03);
    expect(Math.abs(spread / fits[0]!.standardError - 1)).toBeLessThan(0.25);
  });

  test("equal numbers in all bins have exponent 0, growing ones a negative exponent", () => {
    const even = Array.from({ length: 10 }, (_, i) => i + 1);
    expect(fitPowerLaw(even, { xMax: 10 }).alpha).toBeCloseTo(0, 8);
    expect(fitPowerLaw([...even, 10, 10, 9], { xMax: 10 }).alpha).toBeLessThan(-0.1);
  });

  test("ks chooses the value from which the law holds", () => {
    const rng = createRng(3);
    const body = Array.from({ length: 600 }, () => 1 + rng.below(5));
    const tail = samplePowerLaw(1500, { alpha: 2.2, xMin: 6 }, rng);
    const fit = fitPowerLaw([...body, ...tail], { xMin: "ks" });
    expect(fit.xMin).toBeGreaterThanOrEqual(5);
    expect(fit.xMin).toBeLessThanOrEqual(9);
    expect(Math.abs(fit.alpha - 2.2)).toBeLessThan(0.15);
  });

  test("the Kolmogorov-Smirnov distance, by hand", () => {
    // Bounded to 1..2 with as many of each: alpha 0, both at one half.
    expect(fitPowerLaw([1, 2], { xMax: 2 }).ks).toBeCloseTo(0, 12);
    // 1, 1, 1, 3 in 1..3.
    const { alpha, ks } = fitPowerLaw([1, 1, 1, 3], { xMax: 3 });
    const z = 1 + 2 ** -alpha + 3 ** -alpha;
    expect(ks).toBeCloseTo(
      Math.max(Math.abs(1 / z - 0.75), Math.abs((z - 3 ** -alpha) / z - 0.75)),
      12,
    );
  });

  test("exponents of hundreds, which q^-alpha would underflow at", () => {
    const values = [...new Array(9999).fill(50), 51];
    const { alpha, ks } = fitPowerLaw(values, { xMin: 50 });
    // All but (50 / 51)^alpha lie at 50: that is about 1 in 10 000.
    expect(Math.abs((50 / 51) ** alpha * 1e4 - 1)).toBeLessThan(0.01);
    expect(ks).toBeLessThan(1e-4);
  });

  test.each([
    [
      [1, 0, 2],
      {},
      DataError,
      "fitPowerLaw: expected values to be whole numbers of at least 1, got 0 at 1",
    ],
    [
      [3, 3, 3],
      {},
      DataError,
      "fitPowerLaw: expected at least two different values within 1..Infinity, got 1",
    ],
    [
      [],
      {},
      DataError,
      "fitPowerLaw: expected at least two different values within 1..Infinity, got 0",
    ],
    [
      [1, 2],
      { xMin: 0 },
      ArgumentError,
      "fitPowerLaw: expected xMin to be a whole number of at least 1, got 0",
    ],
    [
      [1, 2],
      { xMin: 3, xMax: 3 },
      ArgumentError,
      "fitPowerLaw: expected xMax to be a whole number above xMin (3), got 3",
    ],
    [
      [1, 2],
      { xMin: "ks" as const },
      DataError,
      "fitPowerLaw: expected at least ten values of two kinds to choose xMin from, got 2",
    ],
  ])("refuses %j with %j", (values, options, type, message) => {
    expect(() => fitPowerLaw(values, options)).toThrow(type);
    expect(() => fitPowerLaw(values, options)).toThrow(message);
  });
});

describe("whether a power law fits", () => {
  test("values of one are let pass, geometric ones are not", () => {
    const rng = createRng(4);
    const law = samplePowerLaw(800, { alpha: 2 }, rng);
    const fit = fitPowerLaw(law);
    expect(powerLawP(law, fit, { nDraws: 30 }, rng)).toBeGreaterThan(0.1);
    expect(powerLawAgainstExponential(law, fit).logRatio).toBeGreaterThan(0);

    const geometric = Array.from(
      { length: 800 },
      () => 1 + Math.floor(Math.log(1 - rng.uniform()) / Math.log(0.8)),
    );
    const wrong = fitPowerLaw(geometric);
    expect(powerLawP(geometric, wrong, { nDraws: 30 }, rng)).toBeLessThan(0.05);
    const { logRatio, p } = powerLawAgainstExponential(geometric, wrong);
    expect(logRatio).toBeLessThan(0);
    expect(p).toBeLessThan(0.01);
  });

  test("the comparison needs a fit without an upper bound", () => {
    const fit = fitPowerLaw([1, 1, 2, 3], { xMax: 5 });
    expect(() => powerLawAgainstExponential([1, 1, 2, 3], fit)).toThrow(
      "powerLawAgainstExponential: expected a fit without an upper bound, got xMax 5",
    );
  });

  test("samples refuse exponents that cannot be normalized", () => {
    expect(() => samplePowerLaw(3, { alpha: 1 }, createRng(1))).toThrow(
      "samplePowerLaw: expected alpha above 1, got 1",
    );
    const bounded = samplePowerLaw(200, { alpha: 0.5, xMin: 2, xMax: 6 }, createRng(1));
    expect(bounded.every((x) => x >= 2 && x <= 6)).toBe(true);
  });
});

describe("critical branching", () => {
  const found = findAvalanches(
    avalancheActivity({ m: 1, nAvalanches: 8000, maxSize: 20_000 }, createRng(1)),
  );

  test("sizes have exponent 3/2, and both sides of the crackling relation agree", () => {
    const noise = cracklingNoise(found, {
      size: { xMin: 5, xMax: 2000 },
      duration: { xMin: 10, xMax: 300 },
      minCount: 20,
    });
    expect(Math.abs(noise.size.alpha - 1.5)).toBeLessThan(0.05);
    expect(noise.deviation).toBeLessThan(0.2);
    expect(noise.deviation).toBeCloseTo(Math.abs(noise.measured - noise.predicted), 14);
  });

  test("subcritical sizes fall faster", () => {
    const counts = avalancheActivity({ m: 0.8, nAvalanches: 4000, maxSize: 20_000 }, createRng(2));
    expect(fitPowerLaw(findAvalanches(counts).sizes).alpha).toBeGreaterThan(1.7);
  });

  test("sizeGivenDuration uses durations that are named, or common and short enough", () => {
    const avalanches = { sizes: [1, 1, 3, 5, 9, 30], durations: [1, 1, 2, 2, 3, 4] };
    const used = (options: object) => Array.from(sizeGivenDuration(avalanches, options).durations);
    expect(used({ minCount: 2 })).toEqual([1, 2]);
    expect(used({ minCount: 1, maxDuration: 3 })).toEqual([1, 2, 3]);
    expect(used({ durations: [2, 4] })).toEqual([2, 4]);
    expect(sizeGivenDuration(avalanches, { minCount: 2 }).slope).toBeCloseTo(2, 14);
    expect(() => used({ minCount: 3 })).toThrow(DataError);
    expect(() => sizeGivenDuration({ sizes: [1], durations: [] })).toThrow(ShapeError);
  });
});
