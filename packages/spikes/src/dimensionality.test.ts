import { ArgumentError, activations, createRng, DataError, ShapeError } from "@penfield/core";
import { matrix } from "@penfield/linalg";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { subspaceOverlap } from "./checkpoints.ts";
import { chooseFactors, factorAnalysis, participationRatio } from "./dimensionality.ts";
import { ornsteinUhlenbeck, poissonSample } from "./generate.ts";

/** Samples of a few factors with loadings of size 1 and noise of units. */
function sampled(nSamples: number, nUnits: number, nFactors: number, noise: number, seed: number) {
  const rng = createRng(seed);
  const loadings = Array.from({ length: nUnits }, () =>
    Array.from({ length: nFactors }, () => rng.normal()),
  );
  const rows = Array.from({ length: nSamples }, () => {
    const z = Array.from({ length: nFactors }, () => rng.normal());
    return loadings.map((w) => w.reduce((s, v, i) => s + v * z[i]!, 0) + noise * rng.normal());
  });
  return { x: activations(rows), loadings };
}

describe("participationRatio", () => {
  test("by hand: eigenvalues 3 and 1", () => {
    // Two samples along each axis: variances in the ratio 3 : 1.
    const r = Math.sqrt(3);
    expect(
      participationRatio(
        activations([
          [r, 0],
          [-r, 0],
          [0, 1],
          [0, -1],
        ]),
      ),
    ).toBeCloseTo(16 / 10, 14);
  });

  test("three factors: near 3; does not depend on scale, means or order; more units than samples", () => {
    const { x } = sampled(500, 40, 3, 0.05, 1);
    const pr = participationRatio(x);
    expect(pr).toBeGreaterThan(2.3);
    expect(pr).toBeLessThan(3.2);
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.integer({ min: -9, max: 9 }), { minLength: 5, maxLength: 5 }), {
          minLength: 2,
          maxLength: 9,
        }),
        (rows) => {
          const value = participationRatio(activations(rows));
          const moved = rows.map((row) => row.map((v, j) => 4 * v + j).reverse());
          const again = participationRatio(activations(moved));
          if (Number.isNaN(value)) {
            expect(again).toBeNaN();
            return;
          }
          expect(again).toBeCloseTo(value, 10);
          expect(value).toBeGreaterThan(1 - 1e-12);
          expect(value).toBeLessThan(Math.min(5, rows.length) + 1e-12);
        },
      ),
    );
  });

  test("nothing varies: NaN; one sample or missing values are refused", () => {
    expect(
      participationRatio(
        activations([
          [1, 2],
          [1, 2],
        ]),
      ),
    ).toBeNaN();
    expect(() => participationRatio(activations([[1, 2]]))).toThrow(ShapeError);
    expect(() => participationRatio(activations([[1], [Number.NaN]]))).toThrow(
      "participationRatio: expected finite activity, got NaN at 1",
    );
  });
});

describe("factorAnalysis", () => {
  const { x } = sampled(300, 6, 2, 0.7, 2);

  /** The log-likelihood by the density of each sample, with the covariance inverted plainly. */
  function direct(w: Float64Array, k: number, noise: Float64Array): number {
    const [n, p] = x.shape;
    const means = Array.from({ length: p }, (_, u) => {
      let sum = 0;
      for (let t = 0; t < n; t++) sum += x.data[t * p + u]!;
      return sum / n;
    });
    const a = Array.from({ length: p }, (_, i) =>
      Array.from({ length: 2 * p }, (_, j) => {
        if (j >= p) return j - p === i ? 1 : 0;
        let sum = i === j ? noise[i]! : 0;
        for (let l = 0; l < k; l++) sum += w[i * k + l]! * w[j * k + l]!;
        return sum;
      }),
    );
    let logDeterminant = 0;
    for (let i = 0; i < p; i++) {
      const pivot = a[i]![i]!;
      logDeterminant += Math.log(pivot);
      a[i] = a[i]!.map((v) => v / pivot);
      for (let r = 0; r < p; r++) {
        if (r === i) continue;
        const by = a[r]![i]!;
        a[r] = a[r]!.map((v, c) => v - by * a[i]![c]!);
      }
    }
    let total = 0;
    for (let t = 0; t < n; t++) {
      const d = means.map((m, u) => x.data[t * p + u]! - m);
      let square = 0;
      for (let i = 0; i < p; i++)
        for (let j = 0; j < p; j++) square += d[i]! * a[i]![p + j]! * d[j]!;
      total -= (p * Math.log(2 * Math.PI) + logDeterminant + square) / 2;
    }
    return total;
  }

  test("its likelihood is that of the density, and no nearby parameters have a higher one", () => {
    const fit = factorAnalysis(x, { nFactors: 2, tolerance: 1e-12, maxSteps: 5000 });
    expect(fit.converged).toBe(true);
    const w = fit.loadings.data;
    expect(direct(w, 2, fit.noise)).toBeCloseTo(fit.logLikelihood, 6);
    for (const step of [-0.02, 0.02]) {
      for (let i = 0; i < w.length; i++) {
        const moved = w.map((v, j) => (i === j ? v + step : v));
        expect(direct(moved, 2, fit.noise)).toBeLessThan(fit.logLikelihood + 1e-6);
      }
      for (let u = 0; u < 6; u++) {
        const moved = fit.noise.map((v, j) => (u === j ? v * (1 + step) : v));
        expect(direct(w, 2, moved)).toBeLessThan(fit.logLikelihood + 1e-6);
      }
    }
  });

  test("more factors fit no worse; none are independent units", () => {
    const fits = [0, 1, 2, 3].map((nFactors) => factorAnalysis(x, { nFactors }).logLikelihood);
    for (let k = 1; k < fits.length; k++) expect(fits[k]).toBeGreaterThan(fits[k - 1]! - 1e-3);
    const none = factorAnalysis(x, { nFactors: 0 });
    expect(none.sharedDimension).toBe(0);
    expect(none.logLikelihood).toBeCloseTo(direct(new Float64Array(0), 0, none.noise), 6);
  });

  test("recovers the subspace of the loadings and the noise of units", () => {
    const known = sampled(4000, 8, 2, 0.5, 3);
    const fit = factorAnalysis(known.x, { nFactors: 2 });
    for (const v of fit.noise) expect(Math.abs(v - 0.25)).toBeLessThan(0.05);
    const covariance = (a: readonly number[], b: readonly number[]) =>
      a.reduce((s, v, i) => s + v * b[i]!, 0);
    const row = (u: number) => Array.from(fit.loadings.data.slice(u * 2, u * 2 + 2));
    for (let u = 0; u < 8; u++) {
      for (let v = 0; v < 8; v++) {
        const expected = covariance(known.loadings[u]!, known.loadings[v]!);
        expect(Math.abs(covariance(row(u), row(v)) - expected)).toBeLessThan(0.25);
      }
    }
    expect(fit.sharedDimension).toBe(2);
  });

  test("a silent unit is kept, with nothing shared", () => {
    const rng = createRng(4);
    const rows = Array.from({ length: 100 }, () => {
      const z = rng.normal();
      return [z + 0.3 * rng.normal(), z + 0.3 * rng.normal(), 0, z + 0.3 * rng.normal()];
    });
    const fit = factorAnalysis(activations(rows), { nFactors: 1 });
    expect(fit.communalities[2]).toBe(0);
    expect(fit.communalities[0]).toBeGreaterThan(0.8);
    expect(Number.isFinite(fit.logLikelihood)).toBe(true);
  });

  test("refuses as many factors as units, constants, missing values", () => {
    expect(() => factorAnalysis(x, { nFactors: 6 })).toThrow(ArgumentError);
    expect(() => factorAnalysis(x, { nFactors: 6 })).toThrow(
      "factorAnalysis: expected fewer factors than units (6), got 6",
    );
    const constant = activations([
      [1, 2],
      [1, 2],
      [1, 2],
    ]);
    expect(() => factorAnalysis(constant, { nFactors: 1 })).toThrow(DataError);
  });
});

describe("spikes driven by three factors", () => {
  test("the factors' subspace is found within 15 degrees, the participation ratio is near 3", () => {
    const rng = createRng(5);
    const nUnits = 40;
    const loadings = Array.from({ length: nUnits }, () => [0, 1, 2].map(() => rng.normal()));
    const factors = [0, 1, 2].map(() => ornsteinUhlenbeck({ tauSteps: 10, nSteps: 1500 }, rng));
    const counts = Array.from({ length: 1500 }, (_, t) =>
      loadings.map((w) =>
        poissonSample(
          Math.max(0, 40 + w.reduce((sum, v, i) => sum + 8 * v * factors[i]![t]!, 0)),
          rng,
        ),
      ),
    );
    const { nFactors, fit } = chooseFactors(activations(counts), { maxFactors: 4, nFolds: 2 });
    expect(nFactors).toBe(3);
    const truth = matrix(Float64Array.from(loadings.flat()), nUnits, 3);
    const { angles } = subspaceOverlap(fit.loadings, truth, { nDirections: 3, side: "output" });
    for (const angle of angles) expect((angle * 180) / Math.PI).toBeLessThan(15);
    const shared = activations(
      counts.map((_, t) => loadings.map((w) => w.reduce((s, v, i) => s + v * factors[i]![t]!, 0))),
    );
    expect(participationRatio(shared)).toBeGreaterThan(2.3);
    expect(participationRatio(shared)).toBeLessThan(3);
  });
});

describe("chooseFactors", () => {
  test("finds how many factors there are", () => {
    for (const nFactors of [1, 3]) {
      const { x } = sampled(400, 10, nFactors, 0.7, 10 + nFactors);
      const chosen = chooseFactors(x, { maxFactors: 5 });
      expect(chosen.nFactors).toBe(nFactors);
      expect(chosen.heldOut).toHaveLength(6);
      expect(chosen.fit.nFactors).toBe(nFactors);
    }
  });

  test("independent units have none", () => {
    const rng = createRng(9);
    const rows = Array.from({ length: 200 }, () => Array.from({ length: 5 }, () => rng.normal()));
    expect(chooseFactors(activations(rows), { maxFactors: 2 }).nFactors).toBe(0);
  });

  test("refuses folds without samples", () => {
    expect(() => chooseFactors(activations([[1], [2], [3]]), { maxFactors: 0 })).toThrow(
      "chooseFactors: expected at least 2 samples per fold, got 3 in 4",
    );
  });
});
