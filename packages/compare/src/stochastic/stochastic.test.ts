import { ArgumentError, createRng, DataError, ShapeError } from "@penfield/core";
import { createLinalg, qr } from "@penfield/linalg";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import type { Dense } from "../similarity/pair.ts";
import { energyShapeDistance, energyShapeDistances, scoreEnergyShape } from "./energy.ts";
import {
  type GaussianResponses,
  gaussianResponses,
  gaussianShapeDistance,
  gaussianShapeDistances,
  scoreGaussianShape,
  type Trials,
} from "./gaussian.ts";
import { gaussianProcessDistance } from "./gaussianProcess.ts";
import { gaussianProcessOf } from "./gaussianProcessOf.ts";
import { dynamicsMeasures, stochasticMeasures } from "./measures.ts";

const linalg = createLinalg({ threads: 1 });
afterAll(() => linalg.dispose());

const normals = (n: number, seed: number) => {
  const rng = createRng(seed);
  return Float64Array.from({ length: n }, () => rng.normal());
};

function trials(nStimuli: number, nRepeats: number, nUnits: number, seed: number): Trials {
  return { data: normals(nStimuli * nRepeats * nUnits, seed), nStimuli, nRepeats, nUnits };
}

const responses = (n: number, p: number, seed: number): GaussianResponses =>
  gaussianResponses(trials(n, 2 * p + 3, p, seed));

const scaled = (x: GaussianResponses, by: number): GaussianResponses => ({
  ...x,
  covariances: { ...x.covariances, data: x.covariances.data.map((v) => by * v) },
});

const rotation = (p: number, seed: number): Dense =>
  qr({ data: normals(p * p, seed), nRows: p, nColumns: p }).q;

/** Responses in turned units: means times q, covariances q^T S q. */
function turned({ means, covariances }: GaussianResponses, q: Dense): GaussianResponses {
  const p = q.nRows;
  const times = (a: Float64Array, rows: number): Float64Array => {
    const out = new Float64Array(rows * p);
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < p; j++) {
        for (let k = 0; k < p; k++) out[i * p + j]! += a[i * p + k]! * q.data[k * p + j]!;
      }
    }
    return out;
  };
  const data = new Float64Array(covariances.data.length);
  for (let c = 0; c < covariances.count; c++) {
    const half = times(covariances.data.slice(c * p * p, (c + 1) * p * p), p);
    const flipped = half.map((_, at) => half[(at % p) * p + Math.floor(at / p)]!);
    data.set(times(flipped, p), c * p * p);
  }
  return {
    means: { ...means, data: times(means.data, means.nRows) },
    covariances: { ...covariances, data },
  };
}

const meanTrace = ({ covariances: { data, count, nRows: p } }: GaussianResponses): number => {
  let sum = 0;
  for (let c = 0; c < count; c++) for (let i = 0; i < p; i++) sum += data[(c * p + i) * p + i]!;
  return sum / count;
};

describe("gaussianShapeDistance", () => {
  const x = responses(6, 3, 1);
  const y = responses(6, 3, 2);

  test("covariances four times as large: sqrt(mean trace) at alpha 1, sqrt(2 mean trace) at 0, 0 at 2", async () => {
    const four = scaled(x, 4);
    for (const compat of ["exact", "netrep"] as const) {
      const at = async (alpha: number) =>
        (await gaussianShapeDistance(linalg, x, four, { alpha, compat })).distance;
      expect(await at(1)).toBeCloseTo(Math.sqrt(meanTrace(x)), 9);
      expect(await at(0)).toBeCloseTo(Math.sqrt(2 * meanTrace(x)), 7);
      expect(await at(2)).toBeCloseTo(0, 9);
    }
  });

  test("turned units are no distance", async () => {
    const other = turned(x, rotation(3, 5));
    for (const alpha of [0.5, 1, 1.5, 2]) {
      const { distance } = await gaussianShapeDistance(linalg, x, other, { alpha });
      expect(distance, `alpha ${alpha}`).toBeLessThan(1e-5);
    }
  });

  test("minimizes what it reports: never worse than netrep's alternation", async () => {
    for (const alpha of [0, 0.5, 1, 1.5, 2]) {
      const ours = await gaussianShapeDistance(linalg, x, y, { alpha });
      const theirs = await gaussianShapeDistance(linalg, x, y, { alpha, compat: "netrep" });
      expect(ours.distance, `alpha ${alpha}`).toBeLessThanOrEqual(theirs.distance + 1e-7);
      expect(ours.converged).toBe(true);
    }
  });

  test("for one unit: the 2-Wasserstein distance of numbers, by hand", async () => {
    const one = (mean: number, variance: number): GaussianResponses => ({
      means: { data: Float64Array.of(mean), nRows: 1, nColumns: 1 },
      covariances: { data: Float64Array.of(variance), count: 1, nRows: 1, nColumns: 1 },
    });
    const { distance } = await gaussianShapeDistance(linalg, one(5, 4), one(2, 9));
    expect(distance).toBeCloseTo(Math.sqrt(9 + 1), 12);
    // The mirror image is no difference.
    const mirrored = await gaussianShapeDistance(linalg, one(5, 4), one(-2, 9));
    expect(mirrored.distance).toBeCloseTo(Math.sqrt(9 + 1), 12);
  });

  test("permutations and the identity; singular covariances", async () => {
    const order = { data: Float64Array.of(0, 1, 0, 0, 0, 1, 1, 0, 0), nRows: 3, nColumns: 3 };
    const other = turned(x, order);
    const { distance } = await gaussianShapeDistance(linalg, x, other, { group: "permutation" });
    expect(distance).toBeLessThan(1e-7);
    const still = await gaussianShapeDistance(linalg, x, other, { group: "identity" });
    expect(still.distance).toBeGreaterThan(0.1);
    const flat = gaussianResponses(trials(5, 2, 4, 3));
    const self = await gaussianShapeDistance(linalg, flat, flat);
    expect(self.distance).toBeLessThan(1e-6);
  });

  test("fewer repeats than units in either network or both: netrep's alternation finds nothing better from there", async () => {
    const full = responses(6, 8, 11);
    const flat = gaussianResponses(trials(6, 4, 8, 12));
    const other = gaussianResponses(trials(6, 5, 8, 13));
    for (const [a, b] of [
      [full, flat],
      [flat, full],
      [flat, other],
    ] as const) {
      const ours = await gaussianShapeDistance(linalg, a, b);
      const theirs = await gaussianShapeDistance(linalg, a, b, {
        start: ours.transform,
        compat: "netrep",
      });
      expect(ours.converged).toBe(true);
      expect(ours.distance).toBeLessThanOrEqual(theirs.distance * (1 + 1e-6));
    }
  });

  test("many networks as pair by pair; zeros on the diagonal", async () => {
    const { data } = await gaussianShapeDistances(linalg, [x, y, scaled(x, 4)]);
    expect(data[0]).toBe(0);
    expect(data[1]).toBeCloseTo((await gaussianShapeDistance(linalg, x, y)).distance, 12);
    expect(data[2]).toBe(data[6]);
  });

  test("what is refused", async () => {
    expect(() => gaussianResponses(trials(3, 1, 2, 1))).toThrow(
      "gaussianResponses: expected at least 2 repeats, got 1",
    );
    await expect(gaussianShapeDistance(linalg, x, responses(6, 2, 1))).rejects.toThrow(ShapeError);
    await expect(gaussianShapeDistance(linalg, x, y, { alpha: 3 })).rejects.toThrow(ArgumentError);
    const negative = scaled(x, -1);
    await expect(gaussianShapeDistance(linalg, negative, y)).rejects.toThrow(DataError);
    await expect(
      scoreGaussianShape(linalg, scaled(x, Number.NaN), y, rotation(3, 1)),
    ).rejects.toThrow(DataError);
  });
});

describe("energyShapeDistance", () => {
  test("shifted trials of one unit, by hand", async () => {
    const x = { data: Float64Array.of(0, 1, 4, 6), nStimuli: 2, nRepeats: 2, nUnits: 1 };
    const y = { ...x, data: Float64Array.of(3, 4, 7, 9) };
    const identity = { data: Float64Array.of(1), nRows: 1, nColumns: 1 };
    const { squared } = await scoreEnergyShape(linalg, x, y, identity);
    // Between: (3+4+2+3)/4 and (3+5+1+3)/4; within: 1 and 2 in both.
    expect(squared).toBeCloseTo((3 + 3) / 2 - (1 + 2) / 2, 14);
  });

  test("the same by differences and by products", async () => {
    const [x, y] = [trials(3, 4, 60, 1), trials(3, 4, 60, 2)];
    const identity = {
      data: Float64Array.from({ length: 3600 }, (_, i) => (i % 61 === 0 ? 1 : 0)),
      nRows: 60,
      nColumns: 60,
    };
    const { squared } = await scoreEnergyShape(linalg, x, y, identity);
    let expected = 0;
    const d = (a: Trials, i: number, b: Trials, j: number) =>
      Math.hypot(...a.data.slice(i * 60, i * 60 + 60).map((v, k) => v - b.data[j * 60 + k]!));
    for (let s = 0; s < 3; s++) {
      for (let i = 0; i < 4; i++) {
        for (let j = 0; j < 4; j++) {
          expected += d(x, s * 4 + i, y, s * 4 + j) / 48;
          if (i !== j) {
            expected -= (d(x, s * 4 + i, x, s * 4 + j) + d(y, s * 4 + i, y, s * 4 + j)) / 72;
          }
        }
      }
    }
    expect(squared).toBeCloseTo(expected, 10);
  });

  test("turned trials are no distance; losses fall", async () => {
    const x = trials(5, 6, 3, 4);
    const q = rotation(3, 2);
    const y = { ...x, data: new Float64Array(x.data.length) };
    for (let i = 0; i < 30; i++) {
      for (let j = 0; j < 3; j++) {
        for (let k = 0; k < 3; k++) y.data[i * 3 + j]! += x.data[i * 3 + k]! * q.data[k * 3 + j]!;
      }
    }
    const found = await energyShapeDistance(linalg, x, y);
    expect(found.distance).toBeLessThan(0.05);
    expect(found.losses.at(-1)!).toBeLessThanOrEqual(found.losses[0]!);
    const all = await energyShapeDistances(linalg, [x, y], { group: "permutation" });
    expect(all.data[1]).toBe(all.data[2]);
  });

  test("one trial is refused", async () => {
    const one = trials(5, 1, 2, 1);
    await expect(energyShapeDistance(linalg, one, one)).rejects.toThrow(ShapeError);
    await expect(
      energyShapeDistance(linalg, trials(2, 2, 2, 1), trials(2, 3, 2, 1)),
    ).rejects.toThrow(/expected arrays of one shape/);
  });
});

describe("gaussianProcessDistance", () => {
  test("without correlations between times it is the Gaussian distance, summed", async () => {
    const [x, y] = [responses(3, 2, 7), responses(3, 2, 8)];
    const process = ({ means, covariances }: GaussianResponses) => {
      const data = new Float64Array(36);
      for (let t = 0; t < 3; t++) {
        for (let i = 0; i < 2; i++) {
          for (let j = 0; j < 2; j++) {
            data[(t * 2 + i) * 6 + t * 2 + j] = covariances.data[(t * 2 + i) * 2 + j]!;
          }
        }
      }
      return { mean: means, covariance: { data, nRows: 6, nColumns: 6 } };
    };
    const whole = await gaussianProcessDistance(linalg, process(x), process(y));
    const each = await gaussianShapeDistance(linalg, x, y);
    expect(whole.distance).toBeCloseTo(Math.sqrt(3) * each.distance, 6);
  });
});

describe("gaussianProcessOf", () => {
  test("by hand, and against loops over repeats", async () => {
    const x = trials(3, 7, 2, 5);
    const { mean, covariance } = await gaussianProcessOf(linalg, x, { ridge: 0.5 });
    const at = (t: number, k: number) => x.data[(Math.floor(k / 2) * 7 + t) * 2 + (k % 2)]!;
    for (let a = 0; a < 6; a++) {
      for (let b = 0; b < 6; b++) {
        let sum = 0;
        for (let t = 0; t < 7; t++) sum += (at(t, a) - mean.data[a]!) * (at(t, b) - mean.data[b]!);
        expect(covariance.data[a * 6 + b]).toBeCloseTo(sum / 6 + (a === b ? 0.5 : 0), 12);
      }
    }
    // What is between times of one unit alone is what gaussianResponses has.
    const { means, covariances } = gaussianResponses(x);
    expect([...mean.data]).toEqual([...means.data].map((v) => expect.closeTo(v, 12)));
    expect(covariance.data[1]).toBeCloseTo(covariances.data[1]!, 12);
  });

  test("one trial, NaN and sizes that no one decomposes are refused", async () => {
    await expect(gaussianProcessOf(linalg, trials(3, 1, 2, 1))).rejects.toThrow(ShapeError);
    const bad = { ...trials(2, 2, 1, 1), data: Float64Array.of(1, 2, Number.NaN, 3) };
    await expect(gaussianProcessOf(linalg, bad)).rejects.toThrow(DataError);
    const process = stochasticMeasures.find(({ name }) => name === "gaussian-process-shape")!;
    const large = trials(300, 2, 10, 1);
    await expect(process.compute(linalg, large, large)).rejects.toThrow(/at most 2048 times/);
  });
});

test("metric axioms of the Gaussian distance on random networks", async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(1e6), async (seed) => {
      const [a, b, c] = [
        responses(4, 2, seed),
        responses(4, 2, seed + 1),
        responses(4, 2, seed + 2),
      ];
      const d = async (p: GaussianResponses, q: GaussianResponses) =>
        (await gaussianShapeDistance(linalg, p, q, { alpha: 2 })).distance;
      const [ab, ba, bc, ac] = [await d(a, b), await d(b, a), await d(b, c), await d(a, c)];
      expect(ab).toBeCloseTo(ba, 8);
      expect(ac).toBeLessThanOrEqual(ab + bc + 1e-8);
    }),
    { numRuns: 8 },
  );
});

test("registered measures compute what their functions do", async () => {
  const [x, y] = [trials(4, 6, 2, 1), trials(4, 6, 2, 2)];
  for (const measure of stochasticMeasures) {
    expect(await measure.compute(linalg, x, y), measure.name).toBeGreaterThanOrEqual(0);
  }
  const walk = (seed: number) => {
    const data = normals(80, seed);
    for (let i = 2; i < 80; i++) data[i]! += 0.9 * data[i - 2]!;
    return { data, nTrials: 1, nTimes: 40, nUnits: 2 };
  };
  for (const measure of dynamicsMeasures) {
    expect(await measure.compute(linalg, walk(1), walk(2)), measure.name).toBeGreaterThan(0);
    expect(await measure.compute(linalg, walk(1), walk(1)), measure.name).toBeLessThan(1e-5);
  }
});
