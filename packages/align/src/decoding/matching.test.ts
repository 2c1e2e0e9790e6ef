import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  type Activations,
  ArgumentError,
  activations,
  createRng,
  DataError,
  readNpy,
  ShapeError,
  takeRows,
  tensor,
} from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { ridgePredictions } from "../regression/ridgeCv.ts";
import {
  leaveTwoOut,
  matchCosts,
  matchPredictions,
  segmentIdentification,
  splitHalfIdentification,
} from "./matching.ts";

const golden = fileURLToPath(
  new URL("../../../../../shared/golden/encoding/decoding_ids/", import.meta.url),
);
const linalg = createLinalg();
afterAll(() => linalg.dispose());

const normals = (n: number, p: number, seed: number): Activations => {
  const rng = createRng(seed);
  return tensor(
    Float64Array.from({ length: n * p }, () => rng.normal()),
    ["stimulus", "unit"],
    [n, p],
  );
};

test.skipIf(!existsSync(golden))(
  "decoding_ids, ../shared/golden (skipped when absent)",
  async () => {
    const read = (name: string) => {
      const { data, shape } = readNpy(readFileSync(`${golden}${name}.npy`));
      return tensor(
        Float64Array.from(data as ArrayLike<number | bigint>, Number),
        ["stimulus", "target"],
        [shape[0]!, shape[1] ?? 1],
      );
    };
    const [predicted, measured] = [read("pred"), read("true")];
    const costs = await matchCosts(predicted, measured, { linalg });
    read("cost").data.forEach((cost, i) => {
      expect(costs.data[i]).toBeCloseTo(cost, 12);
    });
    const score = await matchPredictions(predicted, measured, { topK: [1, 3, 10], linalg });
    expect([...score.ranks]).toEqual([...read("rank").data]);
    expect(score.twoVersusTwo).toBeCloseTo(0.9894736842105263, 12);
    expect(score.oneVersusTwo).toBeCloseTo(0.95, 12);
    expect(score.rankAccuracy).toBeCloseTo(0.95, 12);
    expect(score.topK.map((k) => k.accuracy)).toEqual([0.6, 0.8, 1]);
  },
);

describe("matchPredictions", () => {
  test("a hand case: ties are errors in 2v2, wins of nobody in 1v2", async () => {
    const same = activations([
      [1, 2, 4],
      [1, 2, 4],
    ]);
    expect(await matchPredictions(same, same, { linalg })).toMatchObject({
      twoVersusTwo: 0,
      oneVersusTwo: 0,
      rankAccuracy: 1,
    });
    const measured = activations([
      [1, 0],
      [0, 1],
    ]);
    const swapped = activations([
      [0, 1],
      [1, 0],
    ]);
    for (const metric of ["cosine", "euclidean", "correlation"] as const) {
      expect((await matchPredictions(swapped, measured, { metric, linalg })).twoVersusTwo).toBe(0);
      expect((await matchPredictions(measured, measured, { metric, linalg })).twoVersusTwo).toBe(1);
    }
  });

  test("a prediction of the truth is found, noise is at chance, the p say so", async () => {
    const measured = normals(30, 20, 1);
    const close = {
      ...measured,
      data: measured.data.map((v, i) => v + normals(30, 20, 2).data[i]!),
    };
    const good = await matchPredictions(close, measured, { nDraws: 99, nPairs: 200, linalg });
    expect(good.nPairs).toBe(200);
    expect(good.p).toMatchObject({ twoVersusTwo: 0.01, rankAccuracy: 0.01 });
    expect(good.topK[0]!.chance).toBeCloseTo(1 / 30, 12);
    const noise = await matchPredictions(normals(30, 20, 3), measured, { nDraws: 99, linalg });
    expect(Math.abs(noise.twoVersusTwo - 0.5)).toBeLessThan(0.2);
    expect(noise.p!.twoVersusTwo).toBeGreaterThan(0.02);
  });

  test("does not change with the order of stimuli", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(500), async (seed) => {
        const [a, b] = [normals(8, 5, seed), normals(8, 5, seed + 1)];
        const order = Int32Array.of(3, 1, 7, 0, 2, 6, 5, 4);
        const one = await matchPredictions(a, b, { linalg });
        const two = await matchPredictions(takeRows(a, order), takeRows(b, order), { linalg });
        expect(two.twoVersusTwo).toBe(one.twoVersusTwo);
        expect([...two.ranks]).toEqual(Array.from(order, (i) => one.ranks[i]));
      }),
      { numRuns: 15 },
    );
  });

  test("a constant pattern costs 1; refusals", async () => {
    const flat = activations([
      [0.1, 0.1, 0.1],
      [1, 2, 3],
    ]);
    expect((await matchCosts(flat, flat, { linalg })).data[0]).toBe(1);
    const x = normals(4, 3, 1);
    await expect(matchPredictions(x, normals(3, 3, 1))).rejects.toThrow(ShapeError);
    await expect(matchPredictions(x, normals(4, 2, 1))).rejects.toThrow(ShapeError);
    await expect(matchPredictions(x, x, { nPairs: 7 })).rejects.toThrow(
      "expected 1..6 pairs, got 7",
    );
    await expect(matchPredictions(x, x, { topK: [0] })).rejects.toThrow(ArgumentError);
    await expect(matchPredictions(x, x, { metric: "city" as never })).rejects.toThrow(
      ArgumentError,
    );
    await expect(matchCosts(activations([[Number.NaN]]), activations([[1]]))).rejects.toThrow(
      DataError,
    );
  });
});

describe("leaveTwoOut", () => {
  test("equals fitting anew without each pair", async () => {
    const x = normals(12, 5, 4);
    const y = tensor(normals(12, 6, 5).data, ["stimulus", "target"], [12, 6]);
    let right = 0;
    let nPairs = 0;
    for (let i = 0; i < 12; i++) {
      for (let j = i + 1; j < 12; j++) {
        const train = Int32Array.from({ length: 12 }, (_, k) => k).filter(
          (k) => k !== i && k !== j,
        );
        const pair = Int32Array.of(i, j);
        const predicted = await ridgePredictions(
          takeRows(x, train),
          takeRows(y, train),
          takeRows(x, pair),
          { alphas: [3], linalg },
        );
        nPairs++;
        right += (await matchPredictions(predicted, takeRows(y, pair), { linalg })).twoVersusTwo;
      }
    }
    const fast = await leaveTwoOut(x, y, { alpha: 3, linalg });
    expect(fast.nPairs).toBe(nPairs);
    expect(fast.accuracy).toBeCloseTo(right / nPairs, 12);
  });

  test("p of a real and of no relation; refusals", async () => {
    const x = normals(20, 4, 6);
    const y = tensor(
      x.data.map((v, i) => v + 0.5 * normals(20, 4, 7).data[i]!),
      ["stimulus", "target"],
      [20, 4],
    );
    expect((await leaveTwoOut(x, y, { nDraws: 39, linalg })).p).toBe(0.025);
    expect((await leaveTwoOut(normals(20, 4, 9), y, { nDraws: 39, linalg })).p).toBeGreaterThan(
      0.05,
    );
    await expect(leaveTwoOut(x, y, { alpha: 0 })).rejects.toThrow(ArgumentError);
    await expect(leaveTwoOut(normals(3, 1, 1), normals(3, 2, 1))).rejects.toThrow(ShapeError);
  });
});

describe("segmentIdentification", () => {
  test("normalizes candidates only, and its loss is the cross-entropy", async () => {
    const z = activations([
      [2, 0],
      [0, 1],
    ]);
    const y = activations([
      [10, 0],
      [0, 0.1],
      [3, 4],
    ]);
    const { topK, ranks, loss, probabilities } = await segmentIdentification(z, y, {
      topK: [1, 2],
      linalg,
    });
    expect([...ranks]).toEqual([0, 0]);
    expect(topK.map((k) => k.chance)).toEqual([1 / 3, 2 / 3]);
    const p0 = Math.exp(2) / (Math.exp(2) + 1 + Math.exp(1.2));
    const p1 = Math.exp(1) / (1 + Math.exp(1) + Math.exp(0.8));
    expect(probabilities[0]).toBeCloseTo(p0, 12);
    expect(loss).toBeCloseTo(-(Math.log(p0) + Math.log(p1)) / 2, 12);
  });

  test("noise is at k / N, a signal above it; repeated segments share a candidate", async () => {
    const candidates = normals(100, 30, 1);
    const noise = await segmentIdentification(normals(100, 30, 2), candidates, { linalg });
    const ten = noise.topK[1]!;
    expect(ten.interval.low).toBeLessThanOrEqual(ten.chance + 0.02);
    expect(ten.interval.high).toBeGreaterThanOrEqual(ten.chance - 0.02);
    const own = Array.from({ length: 40 }, (_, i) => i % 20);
    const heard = takeRows(candidates, own);
    const noisy = { ...heard, data: heard.data.map((v, i) => v + normals(40, 30, 3).data[i]!) };
    const found = await segmentIdentification(noisy, candidates, { own, linalg });
    expect(found.topK[0]!.accuracy).toBeGreaterThan(0.5);
    expect(found.topK[1]!.accuracy).toBeGreaterThanOrEqual(found.topK[0]!.accuracy);
    await expect(segmentIdentification(noisy, candidates, { own: [200] })).rejects.toThrow(
      ArgumentError,
    );
    await expect(segmentIdentification(noisy, activations([[0], [0]]))).rejects.toThrow(ShapeError);
    await expect(
      segmentIdentification(activations([[1], [1]]), activations([[0], [1]])),
    ).rejects.toThrow(DataError);
  });
});

test("a ridge decoder of simulated MEG finds segments it was not fitted to, above k / N", async () => {
  // 200 segments of 12 features; 40 sensors mix them with noise. Fitted to 120, 80 are to be found among each other.
  const [nSegments, nFeatures, nSensors] = [200, 12, 40];
  const features = normals(nSegments, nFeatures, 21);
  const mix = normals(nFeatures, nSensors, 22).data;
  const noise = normals(nSegments, nSensors, 23).data;
  const sensors = tensor(
    noise.map((v, i) => {
      const [segment, sensor] = [Math.floor(i / nSensors), i % nSensors];
      let value = 4 * v;
      for (let f = 0; f < nFeatures; f++) {
        value += features.data[segment * nFeatures + f]! * mix[f * nSensors + sensor]!;
      }
      return value;
    }),
    ["stimulus", "unit"],
    [nSegments, nSensors],
  );
  const rows = Int32Array.from({ length: nSegments }, (_, i) => i);
  const [train, test] = [rows.slice(0, 120), rows.slice(120)];
  const speech = tensor(features.data, ["stimulus", "target"], [nSegments, nFeatures]);
  const decoded = await ridgePredictions(
    takeRows(sensors, train),
    takeRows(speech, train),
    takeRows(sensors, test),
    { linalg },
  );
  const { topK } = await segmentIdentification(decoded, takeRows(speech, test), {
    topK: [1, 5, 10],
    linalg,
  });
  topK.reduce((before, { accuracy, chance, interval }) => {
    expect(interval.low).toBeGreaterThan(chance);
    expect(accuracy).toBeGreaterThanOrEqual(before);
    return accuracy;
  }, 0);
});

test("splitHalfIdentification looks past what all conditions share", async () => {
  const common = normals(1, 40, 1).data;
  const own = normals(5, 40, 2).data;
  const half = (seed: number) =>
    tensor(
      normals(5, 40, seed).data.map((v, i) => 5 * common[i % 40]! + own[i]! + 0.4 * v),
      ["condition", "target"],
      [5, 40],
    );
  const { accuracy, differences } = await splitHalfIdentification(half(3), half(4), { linalg });
  expect(accuracy).toBe(1);
  expect(Math.min(...differences)).toBeGreaterThan(0.5);
  const raw = await splitHalfIdentification(half(3), half(4), { center: false, linalg });
  expect(Math.max(...raw.differences)).toBeLessThan(0.2);
  await expect(splitHalfIdentification(half(3), normals(4, 40, 1))).rejects.toThrow(ShapeError);
});
