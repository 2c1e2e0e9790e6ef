import { createRng } from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { afterAll, describe, expect, test } from "vitest";
import type { RdmComparison } from "./compareRdms.ts";
import { bootstrapModels, dualBootstrap, evaluateModels } from "./evaluate.ts";
import { fixedModels } from "./models.ts";
import { type Counts, resampledScores, type Sampled, scoresOfDraws } from "./multiplicity.ts";
import { makeRdms, type Rdms } from "./rdms.ts";

const linalg = createLinalg({ threads: 1 });
afterAll(() => linalg.dispose());

function random(k: number, n: number, seed: number, levels = 0): Rdms {
  const rng = createRng(seed);
  const value = () => (levels > 0 ? 1 + Math.floor(levels * rng.uniform()) : rng.uniform());
  return makeRdms(Float64Array.from({ length: (k * n * (n - 1)) / 2 }, value), k);
}

/** Random counts, and one draw in which a condition comes 1 + n / 2 times. */
function someDraws(n: number, nRdms: number, what: "conditions" | "rdms" | "both"): Counts[] {
  const rng = createRng(7);
  const tally = (size: number) => {
    const counts = new Int32Array(size);
    for (let i = 0; i < size; i++) counts[rng.below(size)]!++;
    return counts;
  };
  const draws: Counts[] = Array.from({ length: 12 }, () => ({
    conditions: what === "rdms" ? undefined : tally(n),
    rdms: what === "conditions" ? undefined : tally(nRdms),
  }));
  if (what !== "rdms") {
    const heavy = new Int32Array(n);
    heavy.set([1 + n / 2, 1, n / 2 - 2]);
    draws.push({ conditions: heavy, rdms: undefined });
  }
  return draws;
}

const methods: RdmComparison[] = [
  "cosine",
  "pearson",
  "spearman",
  "rho-a",
  "tau-a",
  "tau-b",
  "whitened-cosine",
  "whitened-pearson",
];

describe("scores by counts equal those of resampled matrices", () => {
  for (const what of ["conditions", "rdms", "both"] as const) {
    test.each(methods)(`%s over ${what}`, async (method) => {
      for (const levels of [0, 3]) {
        for (const withGaps of [false, true]) {
          const data = random(4, 8, 2, levels);
          if (withGaps) for (const k of [0, 1, 2, 3]) data.data[k * 28 + 5] = Number.NaN;
          const sampled: Sampled = {
            models: random(3, 8, 1, levels),
            data,
            // The first two RDMs are of one subject.
            subjects: Int32Array.of(0, 0, 1, 2),
            nSubjects: 3,
            options: { method },
            ceilings: true,
          };
          const draws = someDraws(8, 4, what);
          const fast = await scoresOfDraws(linalg, sampled, draws);
          const slow = await resampledScores(linalg, sampled, draws);
          fast.forEach((one, d) => {
            const got = [...one.models, one.lower, one.upper];
            const expected = [...slow[d]!.models, slow[d]!.lower, slow[d]!.upper];
            got.forEach((v, i) => {
              if (Number.isNaN(v) && Number.isNaN(expected[i])) return;
              expect(
                Math.abs(v - expected[i]!),
                `draw ${d}, number ${i}: ${v} ${expected[i]}`,
              ).toBeLessThan(1e-10);
            });
          });
        }
      }
    });
  }

  test("each thing once is the plain evaluation", async () => {
    const models = fixedModels(random(2, 6, 3));
    const data = random(3, 6, 4);
    for (const method of methods) {
      const plain = await evaluateModels(models, data, { method, linalg });
      const draws = [0, 1].map(() => ({ subjects: [0, 1, 2], conditions: [5, 4, 3, 2, 1, 0] }));
      const drawn = await bootstrapModels(models, data, { method, draws, linalg });
      plain.means.forEach((v, m) => {
        expect(drawn.evaluations[m]).toBeCloseTo(v, 12);
      });
      expect(drawn.ceiling.lower[0]).toBeCloseTo(plain.ceiling.lower[0]!, 12);
    }
  });
});

describe("bootstrapModels", () => {
  const models = fixedModels(random(2, 5, 3));
  const data = random(3, 5, 4);

  test("equal seeds give equal draws; others others", async () => {
    const options = { nDraws: 20, linalg };
    const a = await bootstrapModels(models, data, { ...options, seed: 4 });
    const b = await bootstrapModels(models, data, { ...options, seed: 4 });
    const c = await bootstrapModels(models, data, { ...options, seed: 5 });
    expect(a.evaluations).toEqual(b.evaluations);
    expect(a.evaluations).not.toEqual(c.evaluations);
  });

  test("draws of fewer than three conditions are NaN and counted", async () => {
    const draws = [
      { subjects: [0, 1, 2], conditions: [0, 0, 1, 1, 1] },
      { subjects: [0, 1, 2], conditions: [0, 1, 2, 3, 3] },
      { subjects: [0, 0, 0], conditions: [0, 1, 2, 3, 4] },
    ];
    const result = await bootstrapModels(models, data, { draws, linalg });
    expect(result.nUndefined).toBe(1);
    expect(result.evaluations[0]).toBeNaN();
    expect(result.ceiling.lower[0]).toBeNaN();
    expect(result.means.every(Number.isFinite)).toBe(true);
    // One subject alone: both ceilings are its similarity with itself.
    expect(result.ceiling.lower[2]).toBeCloseTo(1, 12);
  });

  test("refuses draws and methods that do not go together", async () => {
    const draws = [{ conditions: [0, 0, 1, 2, 3] }];
    expect(() => bootstrapModels(models, data, { over: "rdms", draws })).toThrow(
      "a draw of subjects",
    );
    const beyond = [{ conditions: [0, 0, 1, 2, 9] }];
    expect(() => bootstrapModels(models, data, { over: "conditions", draws: beyond })).toThrow(
      "within 0..4, got 9",
    );
    await expect(
      bootstrapModels(models, data, { over: "conditions", draws, method: "bures", linalg }),
    ).rejects.toThrow("allows missing pairs, got bures");
    expect(() => bootstrapModels([], data)).toThrow("at least one model");
    const weighted = [{ name: "w", kind: "weighted" as const, rdms: random(2, 5, 1) }];
    expect(() => bootstrapModels(weighted, data)).toThrow("weights for the weighted model w");
  });

  test("stops when told to", async () => {
    const signal = AbortSignal.abort();
    await expect(bootstrapModels(models, data, { signal, linalg })).rejects.toThrow("interrupted");
  });

  test("dual variances lie between those of one kind and both", async () => {
    const dual = await dualBootstrap(models, data, { nDraws: 200, linalg });
    const [both] = dual.variances!.covariances;
    dual.variances!.models.forEach((v, m) => {
      expect(v).toBeLessThanOrEqual(both![m * 4 + m]! + 1e-15);
    });
    expect(() => dualBootstrap(models, random(1, 5, 1))).toThrow("at least 2 subjects, got 1");
  });
});
