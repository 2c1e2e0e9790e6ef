import { createRng, permutation } from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { afterAll, describe, expect, test } from "vitest";
import { compareGroups } from "./compareGroups.ts";
import { compareRdms } from "./compareRdms.ts";
import { bootstrapCrossValidation, crossValidateModels, rdmFolds } from "./crossValidate.ts";
import { bootstrapModels, dualBootstrap, evaluateModels } from "./evaluate.ts";
import { modelVariances } from "./evaluation.ts";
import { fitModel, fixedModels, predictRdm, type RdmModel } from "./models.ts";
import { scoreIntervals, testModels } from "./modelTests.ts";
import { noiseCeiling, poolRdms } from "./noiseCeiling.ts";
import { noiseCeilingTest, rdmPermutationTest } from "./permutationTest.ts";
import { makeRdms, type Rdms, rdms, takeConditions } from "./rdms.ts";

const linalg = createLinalg({ threads: 1 });
afterAll(() => linalg.dispose());

function random(k: number, n: number, seed: number): Rdms {
  const rng = createRng(seed);
  return makeRdms(
    Float64Array.from({ length: (k * n * (n - 1)) / 2 }, () => rng.uniform()),
    k,
  );
}

/** RDMs like one, with noise. */
function noisy(truth: Float64Array, k: number, noise: number, seed: number): Rdms {
  const rng = createRng(seed);
  return rdms(Array.from({ length: k }, () => truth.map((v) => v + noise * rng.normal())));
}

describe("fitModel", () => {
  const parts = random(3, 8, 1);
  const weighted: RdmModel = { name: "w", kind: "weighted", rdms: parts };
  const mixed = predictRdm(weighted, [0.6, 0, 0.8]);

  test.each(["cosine", "pearson", "whitened-cosine", "whitened-pearson"] as const)(
    "finds the weights of a noiseless mixture (%s)",
    async (method) => {
      for (const fitter of ["regress", "regress-nn", "optimize", "optimize-positive"] as const) {
        const weights = await fitModel(weighted, mixed, { method, fitter, linalg });
        [0.6, 0, 0.8].forEach((v, i) => {
          expect(weights[i]).toBeCloseTo(v, 8);
        });
      }
    },
  );

  test("optimizes rank correlations by search", async () => {
    const weights = await fitModel(weighted, mixed, { method: "spearman", linalg });
    const { data } = await compareRdms(predictRdm(weighted, weights), mixed, {
      method: "spearman",
      linalg,
    });
    expect(data[0]).toBeGreaterThan(0.999);
    const options = { method: "tau-a", fitter: "regress", linalg } as const;
    await expect(fitModel(weighted, mixed, options)).rejects.toThrow("for regress, got tau-a");
  });

  test("no nearby weights score higher", async () => {
    const data = random(4, 8, 9);
    const mean = async (w: number[]) => {
      const { data: r } = await compareRdms(predictRdm(weighted, w), data, { linalg });
      return r.reduce((s, v) => s + v, 0) / 4;
    };
    const best = Array.from(await fitModel(weighted, data, { fitter: "optimize", linalg }));
    const top = await mean(best);
    const rng = createRng(2);
    for (let i = 0; i < 20; i++) {
      expect(await mean(best.map((v) => v + 0.05 * rng.normal()))).toBeLessThanOrEqual(top + 1e-12);
    }
  });

  test("weights of at least 0 are 0 where nothing helps", async () => {
    const inverse = rdms([mixed.data.map((v) => -v)]);
    const weights = await fitModel(weighted, inverse, { method: "cosine", linalg });
    expect(Array.from(weights)).toEqual([0, 0, 0]);
  });

  test("selects and interpolates", async () => {
    const select: RdmModel = { name: "s", kind: "select", rdms: parts };
    expect(
      Array.from(await fitModel(select, rdms([parts.data.slice(28, 56)]), { linalg })),
    ).toEqual([0, 1, 0]);
    const line: RdmModel = { name: "i", kind: "interpolate", rdms: parts };
    const between = predictRdm(line, [0, 0.3, 0.7]);
    const weights = await fitModel(line, between, { linalg });
    expect(weights[1]).toBeCloseTo(0.3, 5);
  });

  test("refuses dependent parts and wrong weights", async () => {
    const twice: RdmModel = { name: "t", kind: "weighted", rdms: rdms([mixed.data, mixed.data]) };
    const options = { fitter: "regress", linalg } as const;
    await expect(fitModel(twice, mixed, options)).rejects.toThrow("do not depend on one another");
    expect((await fitModel(twice, mixed, { ...options, ridge: 1 }))[0]).toBeCloseTo(
      Math.SQRT1_2,
      10,
    );
    expect(() => predictRdm(weighted, [1])).toThrow("expected 3 weights for model w, got 1");
    expect(() => fitModel(weighted, mixed, { fitter: "lasso" as never })).toThrow(
      "expected fitter",
    );
  });
});

describe("noise ceilings", () => {
  test("of equal RDMs are 1, of subjects with two equal RDMs too", async () => {
    const x = [1, 2, 5, 3, 4, 9];
    for (const method of ["cosine", "pearson", "spearman", "tau-b", "whitened-cosine"] as const) {
      const { lower, upper } = await noiseCeiling(rdms([x, x, x]), { method, linalg });
      expect(lower).toBeCloseTo(1, 12);
      expect(upper).toBeCloseTo(1, 12);
    }
    const data = rdms([x, x, [3, 1, 2, 2, 8, 1]]);
    const grouped = await noiseCeiling(data, { subjects: ["a", "a", "b"], linalg });
    const [r] = (await compareRdms(rdms([x]), rdms([[3, 1, 2, 2, 8, 1]]), { linalg })).data;
    expect(grouped.lower).toBeCloseTo(r!, 12);
  });

  test("no model is above the upper one, for which the pool is optimal", async () => {
    const data = random(5, 6, 3);
    const models = random(50, 6, 4);
    for (const method of ["cosine", "pearson", "spearman", "rho-a"] as const) {
      const { upper } = await noiseCeiling(data, { method, linalg });
      const e = await evaluateModels(fixedModels(models), data, { method, linalg });
      for (const mean of e.means) expect(mean).toBeLessThanOrEqual(upper + 1e-12);
    }
  });

  test("is NaN where an RDM has no direction", async () => {
    const data = rdms([
      [1, 2, 3],
      [2, 2, 2],
      [3, 1, 2],
    ]);
    expect((await noiseCeiling(data, { linalg })).lower).toBeNaN();
    expect(Number.isNaN(poolRdms(data, "pearson").data[0])).toBe(true);
    expect(() => poolRdms(data, "x" as never)).toThrow("expected method");
  });
});

describe("modelVariances", () => {
  test("by hand", () => {
    const v = modelVariances([Float64Array.of(4, 1, 1, 2)], 2, false, { nRdms: 5 });
    expect(Array.from(v.models)).toEqual([5, 2.5]);
    expect(v.differences[0]).toBe(5);
    const ceiling = modelVariances([Float64Array.of(4, 1, 0, 1, 2, 0, 0, 0, 3)], 1, true, {
      nConditions: 5,
    });
    expect(Array.from(ceiling.ceiling)).toEqual([5, 8.75]);
    expect(modelVariances([Float64Array.of(1)], 1, false, { nRdms: 1 }).models[0]).toBeNaN();
  });
});

describe("testModels", () => {
  const truth = random(1, 8, 5).data;
  const data = noisy(truth, 8, 0.3, 6);
  const models = fixedModels(rdms([truth, random(1, 8, 7).data], { names: ["true", "other"] }));

  test("tells a true model from zero and from another", async () => {
    const fixed = await evaluateModels(models, data, { linalg });
    const drawn = await bootstrapModels(models, data, { over: "rdms", nDraws: 400, linalg });
    for (const [e, test_] of [
      [fixed, "t"],
      [fixed, "signed-rank"],
      [drawn, "t"],
      [drawn, "bootstrap"],
    ] as const) {
      const { pairwise, zero } = testModels(e, { test: test_ });
      expect(zero[0]).toBeLessThan(0.01);
      expect(pairwise[1]).toBeLessThan(0.02);
      expect(pairwise[2]).toBe(pairwise[1]);
      expect(pairwise[0]).toBe(1);
    }
    const { low, high } = scoreIntervals(fixed);
    expect(low[0]).toBeLessThan(fixed.means[0]!);
    expect(high[0]! - fixed.means[0]!).toBeCloseTo(fixed.means[0]! - low[0]!, 12);
    const drawnInterval = scoreIntervals(drawn, { kind: "bootstrap" });
    expect(drawnInterval.low[0]).toBeGreaterThan(0);
  });

  test("refuses tests without their data", async () => {
    const fixed = await evaluateModels(models, data, { linalg });
    const single = await evaluateModels(models, rdms([truth]), { linalg });
    const drawn = await bootstrapModels(models, data, { nDraws: 5, linalg });
    expect(() => testModels(single)).toThrow("expected variances for a t-test");
    expect(() => testModels(fixed, { test: "bootstrap" })).toThrow("expected bootstrap draws");
    expect(() => testModels(drawn, { test: "signed-rank" })).toThrow("expected scores per RDM");
    expect(() => testModels(fixed, { test: "z" as never })).toThrow("expected test t, bootstrap");
    expect(() => scoreIntervals(single)).toThrow("expected variances");
    expect(() => scoreIntervals(fixed, { kind: "bootstrap" })).toThrow("expected bootstrap draws");
    expect(() => scoreIntervals(fixed, { level: 1 })).toThrow("level between 0 and 1");
  });
});

describe("a model without variation", () => {
  const data = noisy(random(1, 8, 5).data, 4, 0.3, 6);
  const constant = new Float64Array(28).fill(2);
  const good = data.data.slice(0, 28);

  test.each([
    ["bootstrapModels", bootstrapModels],
    ["dualBootstrap", dualBootstrap],
    ["bootstrapCrossValidation", bootstrapCrossValidation],
  ] as const)(
    "%s: it has no score, in whatever place; the others keep theirs",
    async (_, bootstrap) => {
      const scored = async (list: Float64Array[]) => {
        const result = await bootstrap(fixedModels(rdms(list)), data, {
          nDraws: 40,
          kConditions: 1,
          linalg,
        });
        return { means: result.means, zero: testModels(result).zero };
      };
      const alone = await scored([good]);
      const [first, last] = [await scored([constant, good]), await scored([good, constant])];
      for (const [{ means, zero }, at] of [
        [first, 1],
        [last, 0],
      ] as const) {
        expect(means[at]).toBeCloseTo(alone.means[0]!, 12);
        expect(zero[at]).toBeCloseTo(alone.zero[0]!, 12);
        expect([means[1 - at], zero[1 - at]]).toEqual([Number.NaN, Number.NaN]);
      }
    },
  );
});

describe("cross-validation", () => {
  test("folds cover each thing once", () => {
    const folds = rdmFolds(5, 13, { kSubjects: 2, kConditions: 3, seed: 1 });
    expect(folds.length).toBe(6);
    const tested = folds.slice(0, 3).flatMap((f) => f.testConditions);
    expect([...tested].sort((a, b) => a - b)).toEqual(Array.from({ length: 13 }, (_, i) => i));
    for (const f of folds) {
      expect(f.trainConditions.some((i) => f.testConditions.includes(i))).toBe(false);
      expect(f.trainSubjects.some((i) => f.testSubjects.includes(i))).toBe(false);
    }
    expect(() => rdmFolds(2, 13, { kSubjects: 3 })).toThrow("kSubjects within 1..2, got 3");
  });

  test("a flexible model gains nothing on noise", async () => {
    const data = random(4, 12, 11);
    const flexible: RdmModel = { name: "w", kind: "weighted", rdms: random(8, 12, 12) };
    const fitted = await fitModel(flexible, data, { fitter: "regress", linalg });
    const seen = await evaluateModels([flexible], data, { weights: [fitted], linalg });
    const cv = await crossValidateModels([flexible], data, {
      fitter: "regress",
      kConditions: 2,
      linalg,
    });
    expect(seen.means[0]).toBeGreaterThan(0.12);
    expect(Math.abs(cv.means[0]!)).toBeLessThan(0.2);
    expect(cv.variances).toBeUndefined();
  });

  test("finds the mixture, bootstrapped", async () => {
    const parts = random(2, 12, 13);
    const model: RdmModel = { name: "w", kind: "weighted", rdms: parts };
    const data = noisy(predictRdm(model, [0.5, 1]).data, 5, 0.1, 14);
    for (const over of ["both", "rdms", "conditions"] as const) {
      const e = await bootstrapCrossValidation([model, ...fixedModels(parts)], data, {
        over,
        nDraws: 12,
        kConditions: 2,
        kSubjects: 2,
        linalg,
      });
      expect(e.means[0]).toBeGreaterThan(e.means[1]!);
      expect(e.means[0]).toBeGreaterThan(0.8);
      expect(e.nUndefined).toBeLessThan(12);
      expect(e.ceiling.lower.filter((v) => !Number.isNaN(v)).every((v) => v > 0.7)).toBe(true);
    }
  });

  test("flags folds with too few conditions", async () => {
    const data = random(2, 4, 1);
    const cv = await crossValidateModels(fixedModels(data), data, { kConditions: 2, linalg });
    expect(cv.evaluations.every(Number.isNaN)).toBe(true);
  });
});

describe("permutation tests", () => {
  const truth = random(1, 9, 21).data;

  test.each([
    "cosine",
    "pearson",
    "spearman",
    "tau-a",
    "rho-a",
    "whitened-cosine",
    "bures",
  ] as const)("%s: related RDMs are found, unrelated ones are not", async (method) => {
    const models = rdms([truth, random(1, 9, 22).data]);
    const nDraws = 59;
    const result = await rdmPermutationTest(models, noisy(truth, 3, 0.1, 23), {
      method,
      nDraws,
      linalg,
    });
    expect(result.p[0]).toBeCloseTo(1 / 60, 12);
    expect(result.p[1]).toBeGreaterThan(0.05);
    expect(result.pMax[1]).toBeGreaterThanOrEqual(result.p[1]!);
  });

  test("the quick way equals comparing shuffled RDMs", async () => {
    const models = random(2, 6, 31);
    const data = random(3, 6, 32);
    for (const method of ["cosine", "pearson", "spearman", "rho-a", "tau-a", "tau-b"] as const) {
      const options = { method, nDraws: 5, seed: 3, linalg };
      const quick = await rdmPermutationTest(models, data, options);
      const rng = createRng(3);
      for (let draw = 0; draw < 5; draw++) {
        const order = permutation(6, rng);
        const shuffled = { ...takeConditions(models, order), conditions: models.conditions };
        const { data: r } = await compareRdms(shuffled, data, { method, linalg });
        for (const m of [0, 1]) {
          const mean = (r[3 * m]! + r[3 * m + 1]! + r[3 * m + 2]!) / 3;
          expect(quick.nulls[draw * 2 + m]).toBeCloseTo(mean, 12);
        }
      }
    }
  });

  test("p of unrelated RDMs is spread evenly", async () => {
    let small = 0;
    for (let i = 0; i < 60; i++) {
      const result = await rdmPermutationTest(random(1, 7, 100 + i), random(1, 7, 200 + i), {
        nDraws: 39,
        linalg,
      });
      if (result.p[0]! <= 0.25) small++;
    }
    expect(small).toBeGreaterThan(5);
    expect(small).toBeLessThan(26);
  });

  test("refuse what has no similarity", async () => {
    const flat = rdms([[1, 1, 1]]);
    await expect(rdmPermutationTest(flat, rdms([[1, 2, 3]]), { linalg })).rejects.toThrow(
      "got NaN",
    );
    expect(() => rdmPermutationTest(flat, flat, { nDraws: 0 })).toThrow("nDraws of at least 1");
    expect(() => noiseCeilingTest(flat)).toThrow("at least 2 subjects, got 1");
    const withFlat = rdms([
      ...[1, 2].map((k) => random(1, 6, k).data),
      new Float64Array(15).fill(1),
    ]);
    await expect(noiseCeilingTest(withFlat, { linalg })).rejects.toThrow(
      "expected a noise ceiling, got NaN",
    );
  });

  test("of the ceiling: shared structure is found, noise is not", async () => {
    const shared = await noiseCeilingTest(noisy(truth, 4, 0.2, 41), { nDraws: 39, linalg });
    expect(shared.p).toBeCloseTo(1 / 40, 12);
    const none = await noiseCeilingTest(random(4, 9, 42), { nDraws: 39, linalg });
    expect(none.p).toBeGreaterThan(0.05);
  });
});

describe("compareGroups", () => {
  const truth = random(1, 8, 51).data;
  const models = fixedModels(rdms([truth]));

  test("finds a difference that is there, and none that is not", async () => {
    const clear = noisy(truth, 6, 0.1, 52);
    const blurred = noisy(truth, 7, 0.8, 53);
    for (const overConditions of [false, true]) {
      const options = { nDraws: 200, overConditions, linalg };
      const different = await compareGroups(models, clear, blurred, options);
      expect(different.low[0]).toBeGreaterThan(0);
      expect(different.pBootstrap[0]).toBeLessThan(0.05);
      expect(different.pPermutation[0]).toBeLessThan(0.05);
      const same = await compareGroups(models, clear, noisy(truth, 6, 0.1, 54), options);
      expect(same.low[0]! < 0 && same.high[0]! > 0).toBe(true);
      expect(same.pPermutation[0]).toBeGreaterThan(0.05);
      expect(same.differences[0]).toBeCloseTo(same.meansA[0]! - same.meansB[0]!, 14);
    }
  });

  test("refuses single subjects and models that are not fixed", () => {
    const data = noisy(truth, 2, 0.1, 55);
    expect(() => compareGroups(models, data, rdms([truth]))).toThrow(
      "at least 2 subjects in each group",
    );
    const select: RdmModel = { name: "s", kind: "select", rdms: data };
    expect(() => compareGroups([select], data, data)).toThrow("expected fixed models");
    expect(() => compareGroups(models, data, random(2, 5, 1))).toThrow("got 8 and 5 of them");
  });
});
