import {
  ArgumentError,
  createRng,
  InterruptedError,
  type Rng,
  ShapeError,
  tensor,
} from "@penfield/core";
import { cholesky, createLinalg, type Matrix, matrix, qr } from "@penfield/linalg";
import { afterAll, describe, expect, test } from "vitest";
import { gpSrm } from "./gpSrm.ts";
import { srm } from "./srm.ts";

const linalg = createLinalg();
afterAll(() => linalg.dispose());

const normals = (n: number, rng: Rng) => Float64Array.from({ length: n }, () => rng.normal());

/** Subjects that share smooth dimensions of the given timescales. */
async function simulate(seed: number, taus: readonly number[], noise: number) {
  const rng = createRng(seed);
  const [nTimes, nTargets, nSubjects, k] = [150, 30, 5, taus.length];
  const z = new Float64Array(nTimes * k);
  for (const [f, tau] of taus.entries()) {
    const kernel = matrix(
      Float64Array.from({ length: nTimes * nTimes }, (_, i) => {
        const lag = Math.floor(i / nTimes) - (i % nTimes);
        return Math.exp(-(lag * lag) / (2 * tau * tau)) + (lag === 0 ? 1e-6 : 0);
      }),
      nTimes,
      nTimes,
    );
    const l = await cholesky(kernel, linalg);
    const { data } = await linalg.matmul(l, matrix(normals(nTimes, rng), nTimes, 1));
    for (let t = 0; t < nTimes; t++) z[t * k + f] = 3 * data[t]!;
  }
  const bases: Matrix<Float64Array>[] = [];
  const subjects = [];
  for (let s = 0; s < nSubjects; s++) {
    const { q } = qr(matrix(normals(nTargets * k, rng), nTargets, k));
    bases.push(q);
    const { data } = await linalg.matmul(matrix(z, nTimes, k), q, { transposeB: true });
    subjects.push(
      tensor(
        data.map((value) => value + noise * rng.normal()),
        ["time", "target"],
        [nTimes, nTargets],
      ),
    );
  }
  /** The share of the true spaces that bases span, mean over subjects. */
  const overlap = async (fitted: readonly { data: ArrayLike<number> }[]) => {
    let sum = 0;
    for (const [s, { data }] of fitted.entries()) {
      const c = await linalg.matmul(matrix(Float64Array.from(data), nTargets, k), bases[s]!, {
        transposeA: true,
      });
      sum += c.data.reduce((total, value) => total + value * value, 0) / k / nSubjects;
    }
    return sum;
  };
  return { subjects, overlap };
}

describe("gpSrm", () => {
  test("recovers timescales, and the space better than srm where noise is strong", async () => {
    const taus = [9, 3.5, 1.2];
    const timescales = [0.6, 1.2, 2.4, 4.8, 9.6, 19.2];
    const gains: number[] = [];
    for (const seed of [1, 2]) {
      const { subjects, overlap } = await simulate(seed, taus, 3);
      const smooth = await gpSrm(subjects, { nFeatures: 3, timescales, nIterations: 60, linalg });
      const plain = await srm(subjects, { nFeatures: 3, nIterations: 30, linalg });
      gains.push((await overlap(smooth.bases)) - (await overlap(plain.bases)));
    }
    expect(Math.min(...gains)).toBeGreaterThan(0);
    const { subjects } = await simulate(4, taus, 1);
    const fit = await gpSrm(subjects, { nFeatures: 3, timescales, linalg });
    taus.forEach((tau, f) => {
      expect(Math.abs(Math.log(fit.timescales[f]! / tau))).toBeLessThan(Math.log(1.7));
    });
    expect(Math.abs(fit.noiseVariances[0]! - 1)).toBeLessThan(0.15);
  });

  test("refuses what does not fit", async () => {
    const { subjects } = await simulate(5, [2], 1);
    await expect(gpSrm(subjects, { nFeatures: 1, timescales: [] })).rejects.toThrow(
      "expected timescales above 0, got none",
    );
    await expect(gpSrm(subjects, { nFeatures: 1, timescales: [0] })).rejects.toThrow(ArgumentError);
    await expect(gpSrm(subjects, { nFeatures: 1, nIterations: 0 })).rejects.toThrow(ArgumentError);
    await expect(gpSrm(subjects.slice(1, 2), { nFeatures: 1 })).rejects.toThrow(ShapeError);
    await expect(
      gpSrm(subjects, { nFeatures: 1, signal: AbortSignal.abort(), linalg }),
    ).rejects.toThrow(InterruptedError);
  });
});
