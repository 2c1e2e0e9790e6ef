import {
  type Activations,
  ArgumentError,
  createRng,
  DataError,
  ShapeError,
  tensor,
} from "@penfield/core";
import { createLinalg, type Linalg, matrix } from "@penfield/linalg";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { bandedRidgeCv, predictBands } from "./bandedRidge.ts";
import { type Kernel, kernelRidgeCv, predictKernels } from "./kernelRidge.ts";
import { penaltyBasis } from "./penaltyBasis.ts";
import { predict, type Responses, ridgeCv, ridgePenalties } from "./ridgeCv.ts";
import { rowRoom } from "./rowProducts.ts";
import { ridgeScores, scorePenalties } from "./scores.ts";
import { dirichletWeights } from "./weightSearch.ts";

const linalg = createLinalg();
afterAll(() => linalg.dispose());

function random(n: number, m: number, seed: number, scale: (j: number) => number = () => 1) {
  const rng = createRng(seed);
  return Float64Array.from({ length: n * m }, (_, i) => scale(i % m) * rng.normal());
}
const units = (data: Float64Array, n: number): Activations =>
  tensor(data, ["stimulus", "unit"], [n, data.length / n]);
const targets = (data: Float64Array, n: number): Responses =>
  tensor(data, ["stimulus", "target"], [n, data.length / n]);
const single = <T extends Activations | Responses>(t: T): T => ({
  ...t,
  data: Float32Array.from(t.data),
});
const most = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Math.max(...Array.from(a, (value, i) => Math.abs(value - b[i]!)));

describe("functions of the penalty", () => {
  test("a few give the shares of all", () => {
    const lambda = Float64Array.from({ length: 600 }, (_, j) => 300 * 20 ** (j / 599));
    const alphas = Array.from({ length: 12 }, (_, a) => 10 ** (a - 1));
    const { count, shares, combine } = penaltyBasis(lambda, alphas, 1e-6);
    expect(count).toBeLessThan(9);
    alphas.forEach((alpha, a) => {
      for (const j of [0, 17, 599]) {
        let sum = 0;
        for (let q = 0; q < count; q++) sum += combine![a * count + q]! * shares[q * 600 + j]!;
        expect(sum / (lambda[j]! / (lambda[j]! + alpha))).toBeCloseTo(1, 4);
      }
    });
  });

  test("where that saves nothing each penalty has its own", () => {
    const { count, combine } = penaltyBasis(Float64Array.of(4, 1, 0), [1, 10], 1e-6);
    expect(count).toBe(2);
    expect(combine).toBeUndefined();
  });

  test.each(["l2", "r2", "correlation"] as const)("score as predictions do (%s)", (score) => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.integer({ min: 1, max: 9 }), (seed, n) => {
        const [r, nAlphas, nTargets] = [3, 5, 4];
        const y = Float32Array.from(random(nTargets, n + 2, seed));
        const p = Float32Array.from(random(nTargets, r * (n + 2), seed + 1));
        const combine = random(nAlphas, r, seed + 2);
        const expected = combineAll(score, y, p, combine, r, nTargets);
        for (const wide of [false, true]) {
          const out = Array.from({ length: nAlphas }, () => new Float64Array(nTargets));
          const as = (data: Float32Array, columns: number) =>
            matrix(wide ? Float64Array.from(data) : data, nTargets, columns);
          const basis = { count: r, shares: new Float64Array(0), combine };
          scorePenalties(score, as(y, n + 2), as(p, r * (n + 2)), basis, out, rowRoom());
          out.forEach((row, a) => {
            expect(most(row, expected[a]!)).toBeLessThan(1e-9 * (1 + Math.abs(expected[a]![0]!)));
          });
        }
      }),
      { numRuns: 15 },
    );
  });
});

/** Scores of explicit predictions. */
function combineAll(
  score: "l2" | "r2" | "correlation",
  y: Float32Array,
  p: Float32Array,
  combine: Float64Array,
  r: number,
  nTargets: number,
): Float64Array[] {
  const n = y.length / nTargets;
  return Array.from({ length: combine.length / r }, (_, a) => {
    const [yTrue, yHat] = [new Float64Array(n * nTargets), new Float64Array(n * nTargets)];
    for (let t = 0; t < nTargets; t++) {
      for (let i = 0; i < n; i++) {
        yTrue[i * nTargets + t] = y[t * n + i]!;
        for (let q = 0; q < r; q++) {
          yHat[i * nTargets + t]! += combine[a * r + q]! * p[(t * r + q) * n + i]!;
        }
      }
    }
    const out = new Float64Array(nTargets);
    ridgeScores[score](matrix(yTrue, n, nTargets), matrix(yHat, n, nTargets), out);
    return out;
  });
}

describe("float32", () => {
  // Deviations of units over four orders of magnitude; a unit that only one fold knows.
  const scales = (j: number) => 10 ** (2 - (j % 5));
  const x = units(random(60, 12, 1, scales), 60);
  for (let i = 0; i < 48; i++) x.data[i * 12 + 3] = 0;
  const y = targets(
    random(60, 7, 2).map((v, i) => v + x.data[Math.floor(i / 7) * 12 + (i % 7)]!),
    60,
  );
  test.each(["l2", "r2", "correlation"] as const)("chooses as float64 does (%s)", async (score) => {
    const options = { linalg, score, alphas: [1e-3, 0.1, 10, 1000, 1e5] };
    const precise = await ridgeCv(x, y, options);
    const quick = await ridgeCv(single(x), single(y), options);
    expect(quick.coefficients.data).toBeInstanceOf(Float32Array);
    expect([...quick.bestAlphas]).toEqual([...precise.bestAlphas]);
    const largest = Math.max(...precise.coefficients.data.map(Math.abs));
    expect(most(quick.coefficients.data, precise.coefficients.data) / largest).toBeLessThan(1e-4);
    precise.cvScores.forEach((value, t) => {
      expect(quick.cvScores[t]! / value).toBeCloseTo(1, 3);
    });
  });

  test("wide, and penalties alone", async () => {
    const wide = units(random(20, 50, 3), 20);
    const some = targets(random(20, 5, 4), 20);
    const options = { linalg, alphas: [0.1, 10, 1000], folds: 4 };
    const precise = await ridgeCv(wide, some, options);
    const quick = await ridgePenalties(single(wide), single(some), { ...options, targetBatch: 2 });
    expect([...quick.bestAlphas]).toEqual([...precise.bestAlphas]);
    expect(most(quick.cvScores, precise.cvScores)).toBeLessThan(1e-4);
  });
});

const gram = async (x: Activations, other: Activations, l: Linalg) => {
  const { data, nRows, nColumns } = await l.matmul(
    matrix(x.data, x.shape[0], x.shape[1]),
    matrix(other.data, other.shape[0], other.shape[1]),
    { transposeB: true },
  );
  return tensor(data, ["stimulus", "stimulus"], [nRows, nColumns]);
};

describe("kernels and bands", () => {
  const [a, b] = [units(random(24, 4, 5), 24), units(random(24, 6, 6), 24)];
  const held = [units(random(5, 4, 7), 5), units(random(5, 6, 8), 5)];
  const y = targets(
    random(24, 3, 9).map((v, i) => v + 2 * a.data[Math.floor(i / 3) * 4]! + 3),
    24,
  );
  const options = { linalg, alphas: [0.1, 1, 10, 100], folds: 4 };

  test("a linear kernel is ridge", async () => {
    for (const intercept of [true, false]) {
      const kernel = await gram(a, a, linalg);
      const model = await kernelRidgeCv([kernel], y, { ...options, intercept });
      const direct = await ridgeCv(a, y, { ...options, intercept });
      expect([...model.bestAlphas]).toEqual([...direct.bestAlphas]);
      const { total } = await predictKernels(model, [await gram(held[0]!, a, linalg)], { linalg });
      const expected = await predict(direct, held[0]!, { linalg });
      expect(most(total.data, expected.data)).toBeLessThan(1e-9);
    }
  });

  test("bands as units equal bands as kernels, and parts sum to the whole", async () => {
    const weights = [
      [0.5, 0.5],
      [0.9, 0.1],
      [0, 1],
      [1, 0],
    ];
    const model = await bandedRidgeCv([a, b], y, { ...options, weights, targetBatch: 2 });
    const kernels = [await gram(a, a, linalg), await gram(b, b, linalg)];
    const dual = await kernelRidgeCv(kernels, y, { ...options, weights, intercept: true });
    expect([...dual.deltas.data]).toEqual([...model.deltas.data]);
    const one = await predictBands(model, held, { linalg });
    const across = [await gram(held[0]!, a, linalg), await gram(held[1]!, b, linalg)];
    const two = await predictKernels(dual, across, { linalg });
    expect(most(one.total.data, two.total.data)).toBeLessThan(1e-9);
    one.total.data.forEach((value, i) => {
      const sum = one.parts.reduce((all, { data }) => all + data[i]!, model.intercept[i % 3]!);
      expect(sum).toBeCloseTo(value, 10);
    });
  });

  test("more units than stimuli: the same through kernels", async () => {
    const wide = units(random(24, 30, 10), 24);
    const weights = [
      [0.5, 0.5],
      [0.2, 0.8],
    ];
    const model = await bandedRidgeCv([a, wide], y, { ...options, weights });
    const kernels = [await gram(a, a, linalg), await gram(wide, wide, linalg)];
    const dual = await kernelRidgeCv(kernels, y, { ...options, weights, intercept: true });
    expect([...dual.deltas.data]).toEqual([...model.deltas.data]);
    const { total } = await predictBands(model, [a, wide], { linalg });
    const other = await predictKernels(dual, kernels, { linalg });
    expect(most(total.data, other.total.data)).toBeLessThan(1e-9);
  });

  test("a kernel that is not positive: penalties below its negative values are not chosen", async () => {
    const kernel = await gram(a, a, linalg);
    for (let i = 0; i < 24; i++) kernel.data[i * 25]! -= 3;
    const model = await kernelRidgeCv([kernel], y, { ...options, alphas: [1, 5, 7, 100] });
    // All eigenvalues of directions that a does not reach are -3.
    expect(Math.min(...model.bestAlphas)).toBeGreaterThanOrEqual(7);
    expect(model.dual.data.every(Number.isFinite)).toBe(true);
  });

  test("refuse what does not fit", async () => {
    const kernel = await gram(a, a, linalg);
    const skew: Kernel = { ...kernel, data: kernel.data.map((v, i) => v + i) as Float64Array };
    await expect(kernelRidgeCv([skew], y, options)).rejects.toThrow(DataError);
    await expect(kernelRidgeCv([], y, options)).rejects.toThrow(ArgumentError);
    await expect(bandedRidgeCv([a, held[0]!], y, options)).rejects.toThrow(ShapeError);
    await expect(bandedRidgeCv([a, b], y, { ...options, weights: [[1]] })).rejects.toThrow("[1]");
  });
});

describe("weights", () => {
  test("lie on the simplex, near corners where the concentration is small", () => {
    const draws = dirichletWeights(2000, 3, { concentrations: [0.1, 1], seed: 4 });
    const largest = (from: number) => {
      const rows = draws.filter((_, i) => i % 2 === from);
      return rows.reduce((sum, row) => sum + Math.max(...row), 0) / rows.length;
    };
    for (const row of draws) expect(row.reduce((sum, w) => sum + w, 0)).toBeCloseTo(1, 12);
    // E max of three uniform weights is 11 / 18.
    expect(largest(1)).toBeCloseTo(11 / 18, 1);
    expect(largest(0)).toBeGreaterThan(0.85);
    for (const k of [0, 1, 2]) {
      const mean = draws.reduce((sum, row) => sum + row[k]!, 0) / draws.length;
      expect(mean).toBeCloseTo(1 / 3, 1);
    }
    expect(dirichletWeights(3, 2, { seed: 1 })).toEqual(dirichletWeights(3, 2, { seed: 1 }));
  });
});
