import {
  ArgumentError,
  createRng,
  DataError,
  InterruptedError,
  type Rng,
  ShapeError,
  tensor,
} from "@penfield/core";
import { createLinalg, matrix, qr } from "@penfield/linalg";
import { pearson, quantile } from "@penfield/stats";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import {
  alignSubject,
  embeddingConsistency,
  hyperalign,
  orthogonalProcrustes,
  projectToShared,
  timeSegmentMatching,
} from "./hyperalign.ts";
import { isc, iscBootstrap, iscGroupTest, iscTest, isfc } from "./isc.ts";
import type { SubjectSeries } from "./series.ts";
import { detSrm, srm } from "./srm.ts";

const linalg = createLinalg();
afterAll(() => linalg.dispose());

const normals = (n: number, rng: Rng) => Float64Array.from({ length: n }, () => rng.normal());
const series = (data: Float64Array, n: number): SubjectSeries =>
  tensor(data, ["time", "target"], [n, data.length / n]);

/** Subjects whose targets are rotations of one response, plus noise. */
function simulate(seed: number, { nSubjects = 6, nTimes = 140, nTargets = 60, k = 5, noise = 1 }) {
  const rng = createRng(seed);
  const common = normals(nTimes * k, rng);
  const bases = Array.from(
    { length: nSubjects },
    () => qr(matrix(normals(nTargets * k, rng), nTargets, k)).q,
  );
  const subjects = bases.map((w) => {
    const data = normals(nTimes * nTargets, rng).map((v) => v * noise);
    for (let t = 0; t < nTimes; t++) {
      for (let j = 0; j < nTargets; j++) {
        for (let f = 0; f < k; f++) {
          data[t * nTargets + j]! += common[t * k + f]! * w.data[j * k + f]!;
        }
      }
    }
    return series(data, nTimes);
  });
  return { subjects, bases, common };
}
const rows = ({ data, shape: [, p] }: SubjectSeries, from: number, to: number): SubjectSeries =>
  series(Float64Array.from(data.subarray(from * p, to * p)), to - from);

describe("isc", () => {
  const rng = createRng(5);
  const slow = (n: number, r: Rng) => {
    let level = 0;
    return Float64Array.from({ length: n }, () => {
      level = 0.9 * level + r.normal();
      return level;
    });
  };
  // Target 0 shared, target 1 not, target 2 constant.
  const shared = slow(100, rng);
  const subjects = Array.from({ length: 6 }, () => {
    const own = slow(100, rng);
    const other = slow(100, rng);
    return series(
      Float64Array.from({ length: 300 }, (_, i) => {
        const t = Math.floor(i / 3);
        return [shared[t]! + own[t]!, other[t]!, 7.1][i % 3]!;
      }),
      100,
    );
  });

  test("pairwise values are plain correlations, a constant target has none", () => {
    const { values, summary } = isc(subjects, { method: "pairwise" });
    const column = (s: number, j: number) =>
      Array.from({ length: 100 }, (_, t) => subjects[s]!.data[t * 3 + j]!);
    expect(values.data[0]).toBeCloseTo(pearson(column(0, 0), column(1, 0)), 12);
    expect(values.data[3 * 5 + 1]).toBeCloseTo(pearson(column(1, 1), column(2, 1)), 12);
    expect(summary[2]).toBeNaN();
  });

  test.each(["phase-shift", "time-shift", "sign-flip"] as const)(
    "the %s null keeps what is shared and drops what is not",
    async (kind) => {
      for (const method of ["leave-one-out", "pairwise"] as const) {
        const result = await iscTest(subjects, {
          null: kind,
          method,
          summary: "fisher",
          nDraws: 99,
          linalg,
        });
        expect(result.p[0]).toBeLessThanOrEqual(kind === "sign-flip" ? 0.06 : 0.02);
        expect(result.p[1]).toBeGreaterThan(0.02);
        expect(result.p[2]).toBe(1);
        expect(result.pFamily[0]).toBeGreaterThanOrEqual(result.p[0]!);
      }
    },
  );

  test("new phases keep spectrum and correlations between targets", async () => {
    // Two equal columns stay equal under the same phases, so their shared null is the same.
    const twice = subjects.slice(0, 3).map((s) =>
      series(
        Float64Array.from({ length: 198 }, (_, i) => s.data[Math.floor(i / 2) * 3]!),
        99,
      ),
    );
    const { nulls } = await iscTest(twice, { nDraws: 10, linalg });
    for (let d = 0; d < 10; d++) expect(nulls.data[2 * d]).toBeCloseTo(nulls.data[2 * d + 1]!, 10);
  });

  test("intervals and group tests", () => {
    const measured = isc(subjects);
    const { low, high, p } = iscBootstrap(measured, { nDraws: 200 });
    expect(low[0]).toBeLessThan(measured.summary[0]!);
    expect(high[0]).toBeGreaterThanOrEqual(measured.summary[0]!);
    expect(p[0]).toBeLessThan(0.05);
    expect(p[2]).toBe(1);
    const pairs = iscBootstrap(isc(subjects, { method: "pairwise" }), { nDraws: 50 });
    expect(pairs.low[0]).toBeGreaterThan(0);
    const swapped = isc(
      subjects.map((s) => ({ ...s, data: s.data.map((_, i) => s.data[i - (i % 3) + 1]!) })),
    );
    const test0 = iscGroupTest(measured, swapped, { nDraws: 200 });
    expect(test0.difference[0]).toBeGreaterThan(0.3);
    expect(test0.p[0]).toBeLessThan(0.02);
    expect(() => iscGroupTest(measured, isc(subjects, { method: "pairwise" }))).toThrow(
      ArgumentError,
    );
  });

  test("the diagonal of isfc is isc, and it sees across targets", async () => {
    const two = subjects.map((s) =>
      series(
        Float64Array.from({ length: 200 }, (_, i) => s.data[Math.floor(i / 2) * 3 + (i % 2)]!),
        100,
      ),
    );
    const matrixOf = await isfc(two, { linalg });
    const { summary } = isc(two, { summary: "fisher" });
    expect(matrixOf.data[0]).toBeCloseTo(summary[0]!, 12);
    expect(matrixOf.data[3]).toBeCloseTo(summary[1]!, 12);
    expect(matrixOf.data[1]).toBeCloseTo(matrixOf.data[2]!, 12);
  });

  test("refuses what does not fit", async () => {
    expect(() => isc([subjects[0]!])).toThrow(ShapeError);
    expect(() => isc([subjects[0]!, rows(subjects[1]!, 0, 50)])).toThrow(
      "expected 100 samples of every subject, got 50 of subject 1",
    );
    const holes = {
      ...subjects[0]!,
      data: subjects[0]!.data.map((v, i) => (i === 4 ? Number.NaN : v)),
    };
    expect(() => isc([subjects[1]!, holes])).toThrow(DataError);
    expect(() => isc(subjects, { method: "all" as never })).toThrow(ArgumentError);
    await expect(iscTest(subjects, { nDraws: 0 })).rejects.toThrow(ArgumentError);
    await expect(iscTest(subjects, { signal: AbortSignal.abort(), linalg })).rejects.toThrow(
      InterruptedError,
    );
  });
});

describe("srm", () => {
  test("finds a planted space, its likelihood never falls, and stretches are found in it", async () => {
    const nTargets = 60;
    const { subjects, bases } = simulate(3, { nTargets, noise: 0.8 });
    const half = subjects.map((s) => rows(s, 0, 70));
    const held = subjects.map((s) => rows(s, 70, 140));
    const fit = await srm(half, { nFeatures: 5, nIterations: 15, linalg });
    for (let i = 1; i < 15; i++) {
      expect(fit.logLikelihood[i]).toBeGreaterThanOrEqual(fit.logLikelihood[i - 1]! - 1e-6);
    }
    // A little below 0.64, as fitted parameters take some of the noise.
    expect(Math.abs(fit.noiseVariances[0]! - 0.6)).toBeLessThan(0.06);
    // |W^T W_true|^2 is 5 if both span the same, 5 / 12 by chance; noise of variance 0.64 in 60 targets
    // over 70 samples allows 5 * 70 / (70 + 0.64 * 60) = 3.2.
    const overlap = await linalg.matmul(
      matrix(fit.bases[0]!.data as Float64Array, nTargets, 5),
      bases[0]!,
      { transposeA: true },
    );
    expect(overlap.data.reduce((sum, v) => sum + v * v, 0)).toBeGreaterThan(3);
    const projected = await Promise.all(
      held.map((s, i) => projectToShared(s, fit.bases[i]!, { means: fit.means[i], linalg })),
    );
    const aligned = await timeSegmentMatching(projected, { length: 4, linalg });
    const raw = await timeSegmentMatching(
      held.map(({ data, shape }) => tensor(data, ["time", "feature"], shape)),
      { length: 4, linalg },
    );
    expect(aligned.accuracy).toBeGreaterThan(0.6);
    expect(raw.accuracy).toBeLessThan(0.15);
    expect(raw.chance).toBeCloseTo(1 / 61, 2);
  });

  test("the deterministic model's objective never rises, and is what it says", async () => {
    const { subjects } = simulate(9, { nSubjects: 3, nTimes: 40, nTargets: 12, k: 3 });
    const fit = await detSrm(subjects, { nFeatures: 3, nIterations: 8, linalg });
    for (let i = 1; i <= 8; i++) {
      expect(fit.objective[i]).toBeLessThanOrEqual(fit.objective[i - 1]! + 1e-9);
    }
    let error = 0;
    for (const [s, { data }] of subjects.entries()) {
      const back = await linalg.matmul(
        matrix(fit.shared.data as Float64Array, 40, 3),
        matrix(fit.bases[s]!.data as Float64Array, 12, 3),
        { transposeB: true },
      );
      error += Array.from(data).reduce((sum, v, i) => sum + (v - back.data[i]!) ** 2, 0);
    }
    expect(fit.objective[8]).toBeCloseTo(error / 80, 8);
  });

  test("does not depend on a rotation of a subject's targets", async () => {
    const { subjects } = simulate(11, { nSubjects: 3, nTimes: 50, nTargets: 8, k: 2, noise: 0.3 });
    const turn = qr(matrix(normals(64, createRng(1)), 8, 8)).q;
    const turned = await linalg.matmul(matrix(subjects[1]!.data as Float64Array, 50, 8), turn);
    const options = { nFeatures: 2, nIterations: 60, linalg };
    const a = await srm(subjects, options);
    const b = await srm([subjects[0]!, series(turned.data, 50), subjects[2]!], options);
    expect(b.logLikelihood[59]).toBeCloseTo(a.logLikelihood[59]!, 3);
  });

  test("refuses what does not fit", async () => {
    const { subjects } = simulate(1, { nSubjects: 2, nTimes: 10, nTargets: 6, k: 2 });
    await expect(srm(subjects, { nFeatures: 7 })).rejects.toThrow(
      "expected 1..6 features (no more than samples, or targets of any subject), got 7",
    );
    await expect(srm([subjects[0]!], { nFeatures: 2 })).rejects.toThrow(ShapeError);
    await expect(detSrm(subjects, { nFeatures: 2, nIterations: 0 })).rejects.toThrow(ArgumentError);
    await expect(srm(subjects, { nFeatures: 2, signal: AbortSignal.abort() })).rejects.toThrow(
      InterruptedError,
    );
    const flat = subjects.map((s) => ({ ...s, data: s.data.map(() => 1) }));
    // Nothing varies: nothing is shared, and no number is lost on the way.
    const nothing = await srm(flat, { nFeatures: 2, linalg });
    expect(Math.max(...nothing.shared.data.map(Math.abs))).toBeLessThan(1e-12);
    expect([...nothing.bases.flatMap(({ data }) => [...data])].every(Number.isFinite)).toBe(true);
  });
});

describe("hyperalign", () => {
  test("undoes rotations exactly", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(1000), async (seed) => {
        const rng = createRng(seed);
        const x = matrix(normals(40 * 5, rng), 40, 5);
        const subjects = await Promise.all(
          [0, 1, 2].map(async () => {
            const turn = qr(matrix(normals(25, rng), 5, 5)).q;
            return series((await linalg.matmul(x, turn)).data, 40);
          }),
        );
        const space = await hyperalign(subjects, { linalg });
        for (const [s, subject] of subjects.entries()) {
          const z = await projectToShared(subject, space.bases[s]!, {
            means: space.means[s],
            linalg,
          });
          z.data.forEach((v, i) => {
            expect(v).toBeCloseTo(space.shared.data[i]!, 8);
          });
        }
      }),
      { numRuns: 8 },
    );
  });

  test("raises the correlation between subjects on other samples", async () => {
    const { subjects } = simulate(21, { nTargets: 10, nTimes: 200, k: 5, noise: 0.4 });
    const space = await hyperalign(
      subjects.map((s) => rows(s, 0, 120)),
      { nRounds: 2, linalg },
    );
    const held = subjects.map((s) => rows(s, 120, 200));
    const after = await Promise.all(
      held.map((s, i) => projectToShared(s, space.bases[i]!, { means: space.means[i], linalg })),
    );
    const mid = (all: readonly SubjectSeries[]) => quantile([...isc(all).summary], 0.5);
    const before = mid(held);
    expect(mid(after.map((z) => series(z.data as Float64Array, 80)))).toBeGreaterThan(before + 0.2);
  });

  test("refuses what does not fit", async () => {
    const { subjects } = simulate(1, { nSubjects: 2, nTimes: 10, nTargets: 6, k: 2 });
    await expect(hyperalign(subjects, { reference: 2 })).rejects.toThrow(ArgumentError);
    await expect(hyperalign(subjects, { nRounds: -1 })).rejects.toThrow(ArgumentError);
    await expect(orthogonalProcrustes(subjects[0]!, rows(subjects[1]!, 0, 5))).rejects.toThrow(
      ShapeError,
    );
    const z = tensor(new Float64Array(10), ["time", "feature"], [10, 1]);
    await expect(alignSubject(rows(subjects[0]!, 0, 5), z)).rejects.toThrow(ShapeError);
    await expect(alignSubject(subjects[0]!, z, { method: "x" as never })).rejects.toThrow(
      ArgumentError,
    );
    await expect(timeSegmentMatching([z, z], { length: 6 })).rejects.toThrow(ShapeError);
  });
});

describe("a new subject with 40 trials", () => {
  test("decodes better through the shared space than from scratch", async () => {
    // Stimuli have 30 features, of which brains keep 6 mixtures. Five subjects saw 240 stimuli, a new one 40 of them.
    const rng = createRng(33);
    const d = 30;
    const nTargets = 100;
    const features = matrix(normals(300 * d, rng), 300, d);
    const common = await linalg.matmul(features, qr(matrix(normals(d * 6, rng), d, 6)).q);
    const subjects: SubjectSeries[] = [];
    for (let s = 0; s < 6; s++) {
      const { q } = qr(matrix(normals(nTargets * 6, rng), nTargets, 6));
      const { data } = await linalg.matmul(common, q, { transposeB: true });
      subjects.push(
        series(
          data.map((v) => v + 0.2 * rng.normal()),
          300,
        ),
      );
    }
    const featuresOf = (from: number, to: number) =>
      tensor(features.data.slice(from * d, to * d), ["time", "feature"], [to - from, d]);
    const fit = await srm(
      subjects.slice(0, 5).map((s) => rows(s, 0, 240)),
      { nFeatures: 6, linalg },
    );
    const decoder = await alignSubject(
      series(fit.shared.data as Float64Array, 240),
      featuresOf(0, 240),
      { method: "ridge", linalg },
    );
    const [few, held] = [rows(subjects[5]!, 0, 40), rows(subjects[5]!, 240, 300)];
    const head = tensor(fit.shared.data.slice(0, 240), ["time", "feature"], [40, 6]);
    const truth = featuresOf(240, 300).data;
    const row = (data: ArrayLike<number>, i: number) =>
      Array.from({ length: d }, (_, f) => data[i * d + f]!);
    /** Mean share of wrong candidates that score below the right one. */
    const rank = ({ data }: { data: ArrayLike<number> }) => {
      let below = 0;
      for (let i = 0; i < 60; i++) {
        const r = Array.from({ length: 60 }, (_, j) => pearson(row(data, i), row(truth, j)));
        below += r.filter((value) => value < r[i]!).length / 59 / 60;
      }
      return below;
    };
    const scratch = await alignSubject(few, featuresOf(0, 40), { method: "ridge", linalg });
    const direct = rank(
      await projectToShared(held, scratch.basis, { means: scratch.means, linalg }),
    );
    for (const method of ["rotation", "ridge"] as const) {
      const own = await alignSubject(few, head, { method, linalg });
      const z = await projectToShared(held, own.basis, { means: own.means, linalg });
      const through = await projectToShared(series(z.data as Float64Array, 60), decoder.basis, {
        linalg,
      });
      expect(rank(through), `${method} against ${direct}`).toBeGreaterThan(direct + 0.02);
    }
  });
});

describe("embeddingConsistency", () => {
  const rng = createRng(8);
  const latent = normals(200 * 3, rng);
  const view = (seed: number) => {
    const r = createRng(seed);
    const mix = normals(9, r);
    return tensor(
      Float64Array.from({ length: 600 }, (_, i) => {
        const row = Math.floor(i / 3);
        let value = 0.05 * r.normal() + 2;
        for (let f = 0; f < 3; f++) value += latent[row * 3 + f]! * mix[f * 3 + (i % 3)]!;
        return value;
      }),
      ["stimulus", "feature"],
      [200, 3],
    );
  };

  test("linear views of one latent agree, unrelated ones do not", () => {
    expect(embeddingConsistency([view(1), view(2), view(3)]).mean).toBeGreaterThan(0.95);
    const other = tensor(normals(600, rng), ["stimulus", "feature"], [200, 3]);
    expect(embeddingConsistency([view(1), other]).mean).toBeLessThan(0.05);
    expect(embeddingConsistency([view(1), other], { nFolds: 5 }).mean).toBeLessThan(0.01);
    expect(embeddingConsistency([view(1), view(2)], { nFolds: 5 }).mean).toBeGreaterThan(0.95);
  });

  test("columns that depend on each other, and refusals", () => {
    const a = view(1);
    const doubled = { ...a, data: a.data.map((v, i) => (i % 3 === 2 ? 2 * a.data[i - 1]! : v)) };
    expect(embeddingConsistency([a, doubled]).r2.data[1]).toBeCloseTo(1, 9);
    expect(() => embeddingConsistency([a])).toThrow(ShapeError);
    expect(() => embeddingConsistency([a, a], { nFolds: 101 })).toThrow(ArgumentError);
  });
});
