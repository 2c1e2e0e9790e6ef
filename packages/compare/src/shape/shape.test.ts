import {
  ArgumentError,
  activations,
  createRng,
  DataError,
  ShapeError,
  tensor,
} from "@penfield/core";
import { createLinalg, qr } from "@penfield/linalg";
import { afterAll, describe, expect, test } from "vitest";
import { frechetMean } from "./frechetMean.ts";
import { riemannianDistance, squaredBures } from "./kernelMetrics.ts";
import { classicalMds, kMedoids, predictFromNeighbours, triangleCheck } from "./metricSpace.ts";
import { procrustes } from "./procrustes.ts";
import {
  createShapeMemory,
  fitShapeMetric,
  scoreShapes,
  shapeDistance,
  shapeDistances,
  transformShapes,
} from "./shapeMetric.ts";
import { partialWhitening } from "./whiten.ts";

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
const square = (...values: number[]) => {
  const n = Math.sqrt(values.length);
  return { data: Float64Array.from(values), nRows: n, nColumns: n };
};
const diagonal = (...values: number[]) =>
  square(...values.flatMap((v, i) => values.map((_, j) => (i === j ? v : 0))));

describe("shapeDistance", () => {
  test.each([
    { group: "orthogonal", alpha: 1 },
    { group: "orthogonal", alpha: 0.5 },
    { group: "orthogonal", alpha: 0 },
    { group: "permutation", alpha: 1 },
  ] as const)("equals the score of the fitted alignment: $group, alpha $alpha", async (options) => {
    for (const [p, q] of [
      [4, 4],
      [5, 3],
      [2, 6],
    ] as const) {
      const [x, y] = [random(20, p, 1), random(20, q, 2)];
      for (const score of ["angular", "euclidean"] as const) {
        const fitted = await fitShapeMetric(linalg, x, y, { ...options, score });
        const scored = await scoreShapes(linalg, fitted, x, y);
        const direct = await shapeDistance(linalg, x, y, { ...options, score });
        expect(direct).toBeCloseTo(scored, 10);
      }
    }
  });

  test("of a turned copy with more units is 0 to rounding, also held out", async () => {
    const x = random(30, 4, 1);
    const turn = qr({ data: random(6, 4, 2).data as Float64Array, nRows: 6, nColumns: 4 }).q;
    const wide = (from: typeof x) =>
      tensor(
        Float64Array.from({ length: from.shape[0] * 6 }, (_, at) => {
          let sum = 5;
          for (let k = 0; k < 4; k++) {
            sum += from.data[Math.floor(at / 6) * 4 + k]! * turn.data[(at % 6) * 4 + k]!;
          }
          return sum;
        }),
        ["stimulus", "unit"],
        [from.shape[0], 6],
      );
    expect(await shapeDistance(linalg, x, wide(x))).toBeLessThan(1e-12);
    const fitted = await fitShapeMetric(linalg, x, wide(x));
    const held = random(9, 4, 3);
    expect(await scoreShapes(linalg, fitted, held, wide(held))).toBeLessThan(1e-12);
    const { x: a, y: b } = await transformShapes(linalg, fitted, held, wide(held));
    expect([a.nColumns, b.nColumns]).toEqual([6, 6]);
  });

  test("with whitening and fewer stimuli than units everything is alike", async () => {
    const distance = await shapeDistance(linalg, random(5, 8, 1), random(5, 8, 2), {
      group: "linear",
    });
    expect(distance).toBeLessThan(0.02);
  });

  test("large enough for graphs: against small blocks that are known", async () => {
    // Two copies of orthogonal structure: nuclear norm of x^T y is known from singular values.
    const x = random(80, 40, 1);
    const y = random(80, 40, 2);
    const euclidean = await procrustes(linalg, x, y);
    const fitted = await fitShapeMetric(linalg, x, y, { score: "euclidean" });
    expect(euclidean).toBeCloseTo(await scoreShapes(linalg, fitted, x, y), 9);
  });

  test("many networks: as pair by pair, and the triangle inequality holds", async () => {
    const networks = [random(12, 3, 1), random(12, 5, 2), random(12, 3, 3), random(12, 4, 4)];
    for (const alpha of [1, 0.3]) {
      let last = [0, 0];
      const d = await shapeDistances(linalg, networks, {
        alpha,
        score: "euclidean",
        onPair: (done, of) => {
          last = [done, of];
        },
      });
      expect(last).toEqual([6, 6]);
      const one = await shapeDistance(linalg, networks[1]!, networks[3]!, {
        alpha,
        score: "euclidean",
      });
      expect(d.data[1 * 4 + 3]).toBeCloseTo(one, 12);
      expect(d.data[3 * 4 + 1]).toBe(d.data[1 * 4 + 3]);
    }
    expect(triangleCheck(await shapeDistances(linalg, networks)).nViolations).toBe(0);
  });

  test("constant representations; options that do not fit", async () => {
    const flat = activations([[2], [2], [2]]);
    const x = activations([[1], [2], [4]]);
    expect(await shapeDistance(linalg, flat, x)).toBeNaN();
    expect(await shapeDistance(linalg, flat, x, { score: "euclidean" })).toBeCloseTo(
      Math.sqrt(14 / 3),
      12,
    );
    await expect(shapeDistance(linalg, x, x, { alpha: 2 })).rejects.toThrow(ArgumentError);
    await expect(shapeDistance(linalg, x, x, { alpha: 0.5, group: "permutation" })).rejects.toThrow(
      ArgumentError,
    );
    await expect(
      scoreShapes(linalg, await fitShapeMetric(linalg, x, x), random(3, 2, 1), x),
    ).rejects.toThrow(ShapeError);
    await expect(shapeDistances(linalg, [x, random(4, 1, 1)])).rejects.toThrow(ShapeError);
  });
});

describe("partialWhitening", () => {
  test("alpha 0 makes columns orthonormal up to one size, which keeps the variance", async () => {
    const x = { data: random(20, 3, 1).data as Float64Array, nRows: 20, nColumns: 3 };
    const z = await partialWhitening(linalg, x, 0);
    const white = await linalg.matmul(x, z!);
    const gram = await linalg.matmul(white, white, { transposeA: true });
    const size = x.data.reduce((sum, v) => sum + v * v, 0) / 3;
    gram.data.forEach((v, at) => {
      expect(v / size).toBeCloseTo(at % 4 === 0 ? 1 : 0, 10);
    });
    expect(await partialWhitening(linalg, x, 1)).toBeUndefined();
    await expect(partialWhitening(linalg, x, -1)).rejects.toThrow(ArgumentError);
  });
});

describe("squaredBures and riemannianDistance", () => {
  test("closed forms for matrices that commute", async () => {
    expect(await squaredBures(linalg, diagonal(1, 1), diagonal(4, 4))).toBeCloseTo(2, 12);
    expect(await squaredBures(linalg, diagonal(1, 9, 0), diagonal(4, 1, 1))).toBeCloseTo(6, 12);
    const d = await riemannianDistance(linalg, diagonal(1, 2), diagonal(Math.E, 2 / Math.E ** 2));
    expect(d).toBeCloseTo(Math.sqrt(5), 12);
    await expect(riemannianDistance(linalg, diagonal(1, 0), diagonal(1, 1))).rejects.toThrow(
      DataError,
    );
    await expect(squaredBures(linalg, diagonal(1), diagonal(1, 1))).rejects.toThrow(ArgumentError);
  });
});

describe("frechetMean", () => {
  test("of turned copies is the shape itself", async () => {
    const x = random(10, 3, 1);
    const copies = [4, 5, 6].map((seed) => {
      const turn = qr({ data: random(3, 3, seed).data as Float64Array, nRows: 3, nColumns: 3 }).q;
      const data = Float64Array.from({ length: 30 }, (_, at) => {
        let sum = 0;
        for (let k = 0; k < 3; k++) {
          sum += x.data[Math.floor(at / 3) * 3 + k]! * turn.data[k * 3 + (at % 3)]!;
        }
        return sum;
      });
      return tensor(data, ["stimulus", "unit"], [10, 3]);
    });
    const { mean } = await frechetMean(linalg, copies);
    const shape = tensor(mean.data, ["stimulus", "unit"], [10, 3]);
    expect(await procrustes(linalg, shape, x, { center: false })).toBeLessThan(1e-9);
    const { mean: plain, iterations } = await frechetMean(linalg, copies, { group: "identity" });
    expect(iterations).toBe(1);
    expect(plain.data[0]).toBeCloseTo(
      copies.reduce((sum, c) => sum + c.data[0]! / 3, 0),
      12,
    );
    await expect(frechetMean(linalg, [])).rejects.toThrow(ShapeError);
    await expect(frechetMean(linalg, [x, random(10, 2, 1)])).rejects.toThrow(ShapeError);
  });
});

describe("metric-space views", () => {
  const places = [0, 1, 2, 10, 11, 12.5];
  const line = square(...places.flatMap((a) => places.map((b) => Math.abs(a - b))));

  test("MDS gives points on a line back", () => {
    const { points, eigenvalues, explained } = classicalMds(line, { nDimensions: 2 });
    places.forEach((a, i) => {
      places.forEach((b, j) => {
        expect(Math.abs(points.data[i * 2]! - points.data[j * 2]!)).toBeCloseTo(Math.abs(a - b), 9);
      });
    });
    expect(explained).toBeCloseTo(1, 9);
    expect(eigenvalues).toHaveLength(6);
  });

  test("k-medoids finds the groups; neighbours tell labels and numbers", () => {
    const { medoids, clusters, cost } = kMedoids(line, 2);
    expect(Array.from(medoids)).toEqual([1, 4]);
    expect(Array.from(clusters)).toEqual([0, 0, 0, 1, 1, 1]);
    expect(cost).toBeCloseTo(1 + 1 + 1 + 1.5, 12);
    expect(kMedoids(line, 6).cost).toBe(0);
    const labels = ["low", "low", "low", "high", "high", "high"];
    expect(predictFromNeighbours(line, labels, { k: 2 }).score).toBe(1);
    const numbers = predictFromNeighbours(line, places);
    expect(numbers.score).toBeGreaterThan(0.9);
    expect(predictFromNeighbours(line, [1, 1, 1, 1, 1, 1]).score).toBeNaN();
  });

  test("triangles", () => {
    expect(triangleCheck(line)).toMatchObject({ nViolations: 0, nInequalities: 60 });
    const broken = square(0, 1, 5, 1, 0, 1, 5, 1, 0);
    expect(triangleCheck(broken)).toEqual({ nViolations: 1, nInequalities: 3, worst: 3 });
  });

  test("what is no matrix of distances is refused", () => {
    for (const bad of [
      square(0, 1, 2, 0),
      square(0, -1, -1, 0),
      square(1, 1, 1, 0),
      square(0, Number.NaN, Number.NaN, 0),
    ]) {
      expect(() => classicalMds(bad)).toThrow(DataError);
      expect(() => triangleCheck(bad)).toThrow(DataError);
    }
    expect(() => kMedoids({ data: new Float64Array(2), nRows: 1, nColumns: 2 }, 1)).toThrow(
      ShapeError,
    );
    expect(() => kMedoids(line, 7)).toThrow(ArgumentError);
    expect(() => predictFromNeighbours(line, ["a"])).toThrow(ShapeError);
  });
});

test("a memory gives the same distances, and prepares a representation once for each size of its partner", async () => {
  const memory = createShapeMemory();
  for (const options of [
    {},
    { alpha: 0.5 },
    { group: "linear" },
    { group: "permutation" },
  ] as const) {
    for (const [a, b] of [
      [random(12, 3, 1), random(12, 3, 2)],
      [random(12, 3, 1), random(12, 2, 4)],
    ] as const) {
      const plain = await shapeDistance(linalg, a, b, options);
      expect(await shapeDistance(linalg, a, b, options, memory)).toBe(plain);
      expect(await shapeDistance(linalg, a, b, options, memory)).toBe(plain);
    }
  }
  const x = random(12, 3, 1);
  await shapeDistance(linalg, x, x, { alpha: 0.5 }, memory);
  await shapeDistance(linalg, x, random(12, 5, 3), { alpha: 0.5 }, memory);
  await shapeDistance(linalg, x, random(12, 5, 6), { alpha: 0.5 }, memory);
  await shapeDistance(linalg, x, random(12, 5, 6), {}, memory);
  expect(memory.get(x)?.size).toBe(3);
});
