import { ArgumentError, activations, createRng, ShapeError, tensor } from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { assignment } from "./assignment.ts";
import { canonicalCorrelations, ccaR2, plsSimilarity, pwcca, svcca } from "./cca.ts";
import { cka, ckaAngle, hsic, minibatchCka } from "./cka.ts";
import { hsicTest } from "./hsicTest.ts";
import { softMatching } from "./matching.ts";
import { ssmCurve } from "./ssm.ts";
import { uniformTransport } from "./transport.ts";

const linalg = createLinalg({ threads: 1 });
afterAll(() => linalg.dispose());

const random = (n: number, p: number, seed: number) => {
  const rng = createRng(seed);
  return tensor(
    Float64Array.from({ length: n * p }, () => rng.normal()),
    ["stimulus", "unit"],
    [n, p],
  );
};

describe("cka", () => {
  test("by hand: two stimuli are always alike, orthogonal patterns of three are not", async () => {
    expect(await cka(linalg, activations([[1], [2]]), activations([[5], [1]]))).toBeCloseTo(1, 12);
    const x = activations([[1], [0], [-1]]);
    const y = activations([[1], [-2], [1]]);
    expect(await cka(linalg, x, y)).toBeCloseTo(0, 12);
  });

  test("features in many tiles and in groups of them: as from kernels", async () => {
    const [x, y] = [random(9, 1100, 3), random(9, 2600, 4)];
    for (const estimator of ["biased", "debiased"] as const) {
      const gram = await cka(linalg, x, y, {
        estimator: estimator === "biased" ? "biased" : "unbiased",
        form: "gram",
      });
      const feature = { estimator, form: "feature" } as const;
      expect(await cka(linalg, x, y, feature)).toBeCloseTo(gram, 12);
      expect(await cka(linalg, y, x, feature)).toBeCloseTo(gram, 12);
    }
  });

  test("RBF kernels in tiles above the diagonal: as every entry by its formula", async () => {
    const n = 600;
    const [x, y] = [random(n, 2, 5), random(n, 3, 6)];
    const kernels = [x, y].map(({ data, shape: [, p] }) => {
      const squares = Float64Array.from({ length: n * n }, (_, at) => {
        let sum = 0;
        for (let k = 0; k < p; k++) {
          sum += (data[Math.floor(at / n) * p + k]! - data[(at % n) * p + k]!) ** 2;
        }
        return sum;
      });
      const sorted = Float64Array.from(squares).sort();
      const median = (sorted[(n * n) / 2 - 1]! + sorted[(n * n) / 2]!) / 2;
      const kernel = squares.map((d) => Math.exp(-d / (2 * median)));
      const means = Float64Array.from({ length: n }, (_, i) => {
        let sum = 0;
        for (let j = 0; j < n; j++) sum += kernel[i * n + j]!;
        return sum / n;
      });
      const all = means.reduce((sum, v) => sum + v, 0) / n;
      return kernel.map((v, at) => v - means[Math.floor(at / n)]! - means[at % n]! + all);
    });
    const product = (a: Float64Array, b: Float64Array) =>
      a.reduce((sum, v, at) => sum + v * b[at]!, 0);
    const [k, l] = [kernels[0]!, kernels[1]!];
    const expected = product(k, l) / Math.sqrt(product(k, k) * product(l, l));
    const rbf = { kernel: { type: "rbf" } } as const;
    expect(await cka(linalg, x, y, rbf)).toBeCloseTo(expected, 11);
    const tiled = { ...rbf, maxKernelBytes: 400 * 8 * n };
    expect(await cka(linalg, x, y, tiled)).toBeCloseTo(expected, 11);
  });

  test("the median of more distances than are sorted at once", async () => {
    const n = 1030;
    const x = random(n, 1, 7);
    // The same distances between other stimuli.
    const y = tensor(
      x.data.map((_, i) => x.data[(i * 7) % n]!),
      x.axes,
      x.shape,
    );
    const squares = new Float64Array(n * n);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) squares[i * n + j] = (x.data[i]! - x.data[j]!) ** 2;
    }
    squares.sort();
    const median = (squares[(n * n) / 2 - 1]! + squares[(n * n) / 2]!) / 2;
    const given = { kernel: { type: "rbf", bandwidth: Math.sqrt(median) } } as const;
    const found = await cka(linalg, x, y, { kernel: { type: "rbf" } });
    expect(found).toBeCloseTo(await cka(linalg, x, y, given), 12);
  });

  test.each(["biased", "unbiased"] as const)(
    "%s: Gram form, feature form, and tiles of two rows agree",
    async (estimator) => {
      const [x, y] = [random(15, 4, 1), random(15, 6, 2)];
      const gram = await cka(linalg, x, y, { estimator, form: "gram" });
      expect(await cka(linalg, x, y, { estimator, form: "feature" })).toBeCloseTo(gram, 12);
      const tiled = { estimator, form: "gram", maxKernelBytes: 2 * 15 * 8 } as const;
      expect(await cka(linalg, x, y, tiled)).toBeCloseTo(gram, 12);
      const rbf = { estimator, kernel: { type: "rbf" } } as const;
      const whole = await cka(linalg, x, y, rbf);
      expect(await cka(linalg, x, y, { ...rbf, maxKernelBytes: 300 })).toBeCloseTo(whole, 12);
    },
  );

  test("unbiased HSIC of unrelated representations averages to 0, biased CKA does not", async () => {
    let sum = 0;
    let biased = 0;
    for (let seed = 0; seed < 60; seed++) {
      const [x, y] = [random(8, 12, seed), random(8, 12, seed + 1000)];
      sum += (await hsic(linalg, x, y, { estimator: "unbiased" })).xy / 60;
      biased += (await cka(linalg, x, y)) / 60;
    }
    expect(Math.abs(sum)).toBeLessThan(0.4);
    expect(biased).toBeGreaterThan(0.5);
  });

  test("negative unbiased HSIC of a representation with itself: NaN, not a number", async () => {
    // Patterns at equal distances, but for noise: nothing is nearer to anything.
    const x = activations([
      [1, 0, 0, 0],
      [0, 1, 0, 0],
      [0, 0, 1, 0],
      [0, 0, 0, 1],
    ]);
    const { xx } = await hsic(linalg, x, x, { estimator: "unbiased" });
    expect(xx).toBeLessThanOrEqual(1e-12);
    expect(await cka(linalg, x, x, { estimator: "unbiased" })).toBeNaN();
  });

  test("one batch is the whole; batches too small, and options that do not fit, are refused", async () => {
    const [x, y] = [random(12, 3, 1), random(12, 3, 2)];
    const whole = await cka(linalg, x, y, { estimator: "unbiased" });
    expect((await minibatchCka(linalg, x, y, { batch: 12 })).cka).toBeCloseTo(whole, 12);
    expect((await minibatchCka(linalg, x, y, { batch: 5 })).nBatches).toBe(2);
    await expect(minibatchCka(linalg, x, y, { batch: 3 })).rejects.toThrow(ArgumentError);
    await expect(minibatchCka(linalg, x, y, { batch: 13 })).rejects.toThrow(ShapeError);
    await expect(cka(linalg, x, y, { kernel: { type: "rbf" }, form: "feature" })).rejects.toThrow(
      ArgumentError,
    );
    await expect(cka(linalg, x, y, { center: false, estimator: "unbiased" })).rejects.toThrow(
      ArgumentError,
    );
    await expect(
      cka(linalg, random(3, 2, 1), random(3, 2, 2), { estimator: "unbiased" }),
    ).rejects.toThrow(ShapeError);
  });

  test("means of 1e6 cost no more than their digits; small angles keep theirs", async () => {
    const [x, y] = [random(20, 3, 1), random(20, 3, 2)];
    const moved = tensor(
      Float64Array.from(x.data, (v) => v + 1e6),
      ["stimulus", "unit"],
      [20, 3],
    );
    const before = await cka(linalg, x, y, { estimator: "unbiased" });
    expect(await cka(linalg, moved, y, { estimator: "unbiased" })).toBeCloseTo(before, 8);
    const near = tensor(
      Float64Array.from(x.data, (v, i) => v * (1 + (i % 2 === 0 ? 1e-9 : 0))),
      ["stimulus", "unit"],
      [20, 3],
    );
    const angle = await ckaAngle(linalg, x, near);
    expect(angle).toBeGreaterThan(1e-11);
    expect(angle).toBeLessThan(1e-8);
    expect(await ckaAngle(linalg, x, x)).toBe(0);
  });
});

describe("canonical correlations", () => {
  test("of one unit each: the size of the correlation", async () => {
    const { coefficients } = await canonicalCorrelations(
      linalg,
      activations([[1], [2], [3], [4]]),
      activations([[2], [1], [4], [3]]),
    );
    expect(coefficients[0]).toBeCloseTo(0.6, 12);
  });

  test("of fewer stimuli than units: all 1, which minSample warns of", async () => {
    const { coefficients, xRank } = await canonicalCorrelations(
      linalg,
      random(6, 10, 1),
      random(6, 9, 2),
    );
    expect(xRank).toBe(5);
    for (const c of coefficients) expect(c).toBeCloseTo(1, 10);
  });

  test("rank-deficient and constant units are left out", async () => {
    const x = activations([
      [1, 2, 7],
      [2, 4, 7],
      [3, 6, 7],
      [5, 10, 7],
    ]);
    const { xRank } = await canonicalCorrelations(linalg, x, x);
    expect(xRank).toBe(1);
    const flat = activations([[7.3], [7.3], [7.3], [7.3]]);
    expect((await pwcca(linalg, flat, x)).pwcca).toBeNaN();
    expect((await svcca(linalg, flat, x)).mean).toBeNaN();
    expect(await ccaR2(linalg, flat, x)).toBeNaN();
    expect((await plsSimilarity(linalg, flat, x)).mean).toBeNaN();
  });

  test("SVCCA does not depend on scale; the compat mode of ReSi does", async () => {
    const [x, y] = [random(40, 6, 1), random(40, 5, 2)];
    const small = tensor(
      x.data.map((v) => v / 1000) as Float64Array,
      ["stimulus", "unit"],
      [40, 6],
    );
    const exact = await svcca(linalg, x, y);
    expect((await svcca(linalg, small, y)).mean).toBeCloseTo(exact.mean, 10);
    expect(exact.xRank).toBe(6);
    expect((await svcca(linalg, x, y, { compat: "resi" })).xRank).toBe(1);
    await expect(svcca(linalg, x, y, { variance: 2 })).rejects.toThrow(ArgumentError);
    await expect(pwcca(linalg, x, y, { compat: "google" })).rejects.toThrow(
      /expected no more units in x than in y/,
    );
  });
});

/** All one-to-one choices of columns. */
function* choices(n: number, m: number, used: number[] = []): Generator<number[]> {
  if (used.length === n) {
    yield used;
    return;
  }
  for (let j = 0; j < m; j++) if (!used.includes(j)) yield* choices(n, m, [...used, j]);
}

describe("assignment", () => {
  test("is the best of all, for squares and rectangles, ties included", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 5 }),
        fc.array(fc.integer({ min: -4, max: 4 }), { minLength: 25, maxLength: 25 }),
        fc.boolean(),
        (n, m, values, maximize) => {
          const data = Float64Array.from(values.slice(0, n * m));
          const { columns, total } = assignment({ data, nRows: n, nColumns: m }, { maximize });
          const [rows, cols] = [Math.min(n, m), Math.max(n, m)];
          const at = (i: number, j: number) => (n <= m ? data[i * m + j]! : data[j * m + i]!);
          let best = maximize ? -1e9 : 1e9;
          for (const choice of choices(rows, cols)) {
            const sum = choice.reduce((s, j, i) => s + at(i, j), 0);
            best = maximize ? Math.max(best, sum) : Math.min(best, sum);
          }
          expect(total).toBe(best);
          const taken = Array.from(columns).filter((j) => j >= 0);
          expect(new Set(taken).size).toBe(rows);
        },
      ),
      { numRuns: 300 },
    );
  });

  test("what is refused", () => {
    const nan = { data: Float64Array.of(Number.NaN), nRows: 1, nColumns: 1 };
    expect(() => assignment(nan)).toThrow(ArgumentError);
    expect(() => assignment({ ...nan, nRows: 0 })).toThrow(ShapeError);
    expect(() => uniformTransport(nan)).toThrow(ArgumentError);
    expect(() => uniformTransport({ ...nan, nColumns: 0 })).toThrow(ShapeError);
  });
});

describe("uniformTransport", () => {
  test("is what assigning copies of rows and columns gives, with right marginals", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 7 }),
        fc.integer({ min: 1, max: 7 }),
        fc.nat(1e6),
        (n, m, seed) => {
          const rng = createRng(seed);
          const data = Float64Array.from({ length: n * m }, () =>
            seed % 2 === 0 ? rng.uniform() : rng.below(4),
          );
          const { plan, cost } = uniformTransport({ data, nRows: n, nColumns: m });
          const copies = new Float64Array(n * m * (n * m));
          for (let i = 0; i < n * m; i++) {
            for (let j = 0; j < n * m; j++) {
              copies[i * n * m + j] = data[Math.floor(i / m) * m + Math.floor(j / n)]!;
            }
          }
          const { total } = assignment({ data: copies, nRows: n * m, nColumns: n * m });
          expect(cost).toBeCloseTo(total / (n * m), 12);
          for (let i = 0; i < n; i++) {
            let row = 0;
            for (let j = 0; j < m; j++) {
              expect(plan.data[i * m + j]).toBeGreaterThanOrEqual(0);
              row += plan.data[i * m + j]!;
            }
            expect(row).toBeCloseTo(1 / n, 12);
          }
        },
      ),
      { numRuns: 150 },
    );
  });
});

describe("softMatching", () => {
  test("doubled units are matched in halves; constant ones are counted", async () => {
    const x = random(10, 2, 1);
    const twice = tensor(
      Float64Array.from({ length: 40 }, (_, at) => x.data[Math.floor(at / 4) * 2 + (at % 2)]!),
      ["stimulus", "unit"],
      [10, 4],
    );
    const { distance, correlation, plan } = await softMatching(linalg, x, twice);
    expect(distance).toBeLessThan(1e-7);
    expect(correlation).toBeCloseTo(1, 12);
    expect(plan.nColumns).toBe(4);
    const flat = activations(Array.from({ length: 10 }, () => [1]));
    const found = await softMatching(linalg, x, flat);
    expect(found.nConstant).toBe(1);
    expect(found.distance).toBeCloseTo(1, 12);
  });
});

describe("hsicTest", () => {
  test("finds what is related, also if not linearly; p is uniform if not", async () => {
    const x = random(30, 1, 1);
    const square = tensor(
      Float64Array.from(x.data, (v) => v * v),
      ["stimulus", "unit"],
      [30, 1],
    );
    const rbf = { kernel: { type: "rbf" }, nDraws: 199 } as const;
    expect((await hsicTest(linalg, x, square, rbf)).p).toBeLessThan(0.02);
    let small = 0;
    for (let seed = 0; seed < 100; seed++) {
      const options = { nDraws: 39, seed };
      const { p } = await hsicTest(linalg, random(12, 2, seed), random(12, 2, seed + 500), options);
      if (p <= 0.1) small++;
    }
    expect(small).toBeGreaterThan(1);
    expect(small).toBeLessThan(22);
    const flat = activations([[1], [1], [1]]);
    expect((await hsicTest(linalg, flat, activations([[1], [2], [3]]), { nDraws: 9 })).p).toBe(1);
  });
});

describe("ssmCurve", () => {
  test("rises to the value of all units, and refuses more than there are", async () => {
    const [x, y] = [random(15, 30, 1), random(15, 30, 1)];
    const curve = await ssmCurve(linalg, x, y, { sizes: [4, 30], nDraws: 8 });
    expect(curve[0]!.mean).toBeLessThan(curve[1]!.mean);
    expect(curve[1]!.mean).toBeCloseTo(1, 9);
    expect(curve[1]!.sd).toBeCloseTo(0, 9);
    const stimuli = await ssmCurve(linalg, x, y, { sizes: [5], nDraws: 3, of: "stimuli" });
    expect(stimuli[0]!.values).toHaveLength(3);
    await expect(ssmCurve(linalg, x, y, { sizes: [31] })).rejects.toThrow(ArgumentError);
  });
});
