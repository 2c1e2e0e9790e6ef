import { ArgumentError, createRng, DataError, ShapeError } from "@penfield/core";
import { type Matrix, matrix, qr } from "@penfield/linalg";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { subspaceOverlap, weightChange } from "./checkpoints.ts";
import { type SpikeTrain, shiftTrain, spikeTrain } from "./spikeTrain.ts";
import { type StdpRule, stdpChange, stdpChanges } from "./stdp.ts";

const train = (...times: number[]): SpikeTrain => spikeTrain(times, { tStop: 1 });

describe("stdpChange", () => {
  /** By pairs. */
  const naive = (
    pre: SpikeTrain,
    post: SpikeTrain,
    rule: { [K in keyof StdpRule]-?: NonNullable<StdpRule[K]> },
  ): number => {
    const sum = (from: Float64Array, to: Float64Array, tau: number): number => {
      let total = 0;
      for (const t of to) {
        const earlier = from.filter((s) => s < t);
        const used = rule.pairing === "all" ? earlier : earlier.slice(-1);
        for (const s of used) total += Math.exp(-(t - s) / tau);
      }
      return total;
    };
    return (
      rule.aPlus * sum(pre.times, post.times, rule.tauPlusSeconds) -
      rule.aMinus * sum(post.times, pre.times, rule.tauMinusSeconds)
    );
  };
  const anyTrain = fc
    .array(fc.integer({ min: 0, max: 128 }), { maxLength: 12 })
    .map((ticks) => train(...ticks.sort((a, b) => a - b).map((k) => k / 128)));

  test.each(["all", "nearest"] as const)("equals the sum over pairs: %s", (pairing) => {
    const rule = { aPlus: 1, aMinus: 1.05, tauPlusSeconds: 0.02, tauMinusSeconds: 0.05, pairing };
    fc.assert(
      fc.property(anyTrain, anyTrain, (pre, post) => {
        const { change, potentiation, depression } = stdpChange(pre, post, rule);
        expect(change).toBeCloseTo(naive(pre, post, rule), 11);
        expect(potentiation - depression).toBe(change);
        const later = stdpChange(shiftTrain(pre, 4), shiftTrain(post, 4), rule);
        expect(later.change).toBeCloseTo(change, 12);
      }),
      { numRuns: 200 },
    );
  });

  test("with a symmetric rule, exchanging both sides turns the sign", () => {
    fc.assert(
      fc.property(anyTrain, anyTrain, (a, b) => {
        expect(stdpChange(a, b).change).toBeCloseTo(-stdpChange(b, a).change, 12);
      }),
    );
  });

  test("spikes at one time and empty trains change nothing; long silences are no trouble", () => {
    expect(stdpChange(train(0.5), train(0.5)).change).toBe(0);
    expect(stdpChange(train(), train(0.5)).change).toBe(0);
    const late = spikeTrain([1e4], { tStop: 2e4 });
    expect(stdpChange(late, late).change).toBe(0);
    const early = spikeTrain([-50.1, -50], { tStart: -60, tStop: 0 });
    expect(stdpChange(early, shiftTrain(early, 0.01)).change).toBeGreaterThan(0);
  });

  test("a delay moves pre-synaptic spikes past post-synaptic ones", () => {
    const [pre, post] = [train(0.1), train(0.11)];
    expect(stdpChange(pre, post).change).toBeGreaterThan(0);
    expect(stdpChange(shiftTrain(pre, 0.02), post).change).toBeLessThan(0);
  });

  test("matrices are [nPost, nPre]", () => {
    const { data, nRows, nColumns } = stdpChanges([train(0.1), train(0.3), train()], [train(0.2)]);
    expect([nRows, nColumns]).toEqual([1, 3]);
    expect(data[0]).toBeCloseTo(-data[1]!, 14);
    expect(data[2]).toBe(0);
  });

  test("refuses rules out of range", () => {
    expect(() => stdpChange(train(), train(), { tauPlusSeconds: 0 })).toThrow(
      "stdpChange: expected tauPlusSeconds above 0, got 0",
    );
    expect(() => stdpChange(train(), train(), { aPlus: Number.NaN })).toThrow(ArgumentError);
    const pairing = "triplet" as "all";
    expect(() => stdpChange(train(), train(), { pairing })).toThrow(
      "stdpChange: expected pairing all or nearest, got triplet",
    );
  });
});

const random = (nRows: number, nColumns: number, seed: number): Matrix<Float64Array> => {
  const rng = createRng(seed);
  return matrix(
    Float64Array.from({ length: nRows * nColumns }, () => rng.normal()),
    nRows,
    nColumns,
  );
};

describe("weightChange", () => {
  test("by hand", () => {
    const before = matrix(Float64Array.of(3, 0, 0, -4), 2, 2);
    const after = matrix(Float64Array.of(3, 0, 0, 4), 2, 2);
    const change = weightChange(before, after);
    expect(change.norm).toBe(8);
    expect(change.relativeNorm).toBe(1.6);
    expect(change.cosine).toBeCloseTo(-7 / 25, 14);
    expect(change.signFlips).toBe(0.5);
    expect(change.sparsity).toEqual({ before: 0.5, after: 0.5 });
    expect(change.effectiveRank.difference).toBeCloseTo(1, 12);
    const p = [9 / 25, 16 / 25];
    const entropy = -p.reduce((sum, v) => sum + v * Math.log(v), 0);
    expect(change.effectiveRank.before).toBeCloseTo(Math.exp(entropy), 12);
  });

  test("no change, and weights of zeros", () => {
    const w = random(3, 5, 1);
    expect(weightChange(w, w)).toMatchObject({ norm: 0, relativeNorm: 0, signFlips: 0 });
    expect(weightChange(w, w).effectiveRank.difference).toBeNaN();
    const zeros = matrix(new Float64Array(15), 3, 5);
    const grown = weightChange(zeros, w);
    expect(grown.relativeNorm).toBe(Number.POSITIVE_INFINITY);
    expect(grown.cosine).toBeNaN();
    expect(grown.correlation).toBeNaN();
    expect(weightChange(w, w, { zero: 100 }).sparsity).toEqual({ before: 1, after: 1 });
  });

  test("orthonormal weights have full rank", () => {
    const { q } = qr(random(6, 4, 2));
    expect(weightChange(q, q).effectiveRank.before).toBeCloseTo(4, 10);
  });

  test("refuses other shapes and values that are not finite", () => {
    expect(() => weightChange(random(2, 3, 1), random(3, 2, 1))).toThrow(ShapeError);
    const broken = matrix(Float64Array.of(1, Number.NaN), 1, 2);
    expect(() => weightChange(broken, broken)).toThrow(DataError);
  });
});

describe("subspaceOverlap", () => {
  test("1 for the same, 0 for orthogonal directions, for tall and wide weights", () => {
    for (const [n, p] of [
      [4, 9],
      [9, 4],
    ] as const) {
      const w = random(n, p, 3);
      for (const side of ["input", "output"] as const) {
        const { overlap, angles } = subspaceOverlap(w, w, { nDirections: 3, side });
        expect(overlap).toBeCloseTo(1, 10);
        expect(angles[0]).toBeLessThan(1e-6);
      }
    }
    const x = matrix(Float64Array.of(1, 0, 0, 0, 0, 0, 1, 0), 2, 4);
    const y = matrix(Float64Array.of(0, 2, 0, 0, 0, 0, 0, 2), 2, 4);
    const apart = subspaceOverlap(x, y, { nDirections: 2 });
    expect(apart.overlap).toBeCloseTo(0, 14);
    expect(apart.angles[0]).toBeCloseTo(Math.PI / 2, 12);
  });

  test("does not depend on what the other side does with the directions", () => {
    const [a, b] = [random(5, 8, 4), random(5, 8, 5)];
    const turned = (w: Matrix): Matrix => {
      const { q } = qr(random(5, 5, 6));
      const data = new Float64Array(40);
      for (let i = 0; i < 5; i++)
        for (let j = 0; j < 8; j++)
          for (let l = 0; l < 5; l++) data[i * 8 + j]! += q.data[i * 5 + l]! * w.data[l * 8 + j]!;
      return matrix(data, 5, 8);
    };
    const plain = subspaceOverlap(a, b, { nDirections: 2 });
    const other = subspaceOverlap(turned(a), turned(b), { nDirections: 2 });
    expect(other.overlap).toBeCloseTo(plain.overlap, 10);
    expect(subspaceOverlap(b, a, { nDirections: 2 }).overlap).toBeCloseTo(plain.overlap, 12);
  });

  test("random directions overlap by chance", () => {
    let sum = 0;
    for (let i = 0; i < 60; i++) {
      const { overlap, chance } = subspaceOverlap(random(3, 12, 100 + i), random(3, 12, 200 + i), {
        nDirections: 3,
      });
      expect(chance).toBe(0.25);
      sum += overlap;
    }
    expect(Math.abs(sum / 60 - 0.25)).toBeLessThan(0.04);
  });

  test("refuses sizes that differ, too many directions, too low a rank", () => {
    const w = random(3, 4, 1);
    expect(() => subspaceOverlap(w, random(3, 5, 1), { nDirections: 1 })).toThrow(ShapeError);
    expect(() => subspaceOverlap(w, w, { nDirections: 4 })).toThrow(
      "subspaceOverlap: expected at most 3 directions of a 3 x 4 matrix, got 4",
    );
    const low = matrix(Float64Array.of(1, 2, 2, 4), 2, 2);
    expect(() => subspaceOverlap(low, low, { nDirections: 2 })).toThrow(DataError);
    const side = "both" as "input";
    expect(() => subspaceOverlap(w, w, { nDirections: 1, side })).toThrow(ArgumentError);
  });
});
