import { ArgumentError, activations, createRng, ShapeError, tensor } from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { afterAll, expect, test } from "vitest";
import { cka } from "./cka.ts";
import { ckaMatrix, compareNetworks } from "./matrices.ts";

const linalg = createLinalg({ threads: 1 });
afterAll(() => linalg.dispose());

const random = (n: number, p: number, seed: number) => {
  const rng = createRng(seed);
  return tensor(
    Float64Array.from({ length: n * p }, () => rng.normal() + 2),
    ["stimulus", "unit"],
    [n, p],
  );
};

const layers = [random(14, 3, 1), random(14, 8, 2), random(14, 20, 3)];
const others = [random(14, 5, 4), random(14, 2, 5)];

test.each([
  ["biased", "linear"],
  ["unbiased", "linear"],
  ["biased", "rbf"],
  ["unbiased", "rbf"],
] as const)(
  "ckaMatrix, %s, %s: as pair by pair, in one product or not",
  async (estimator, type) => {
    const options = { estimator, kernel: { type } };
    const { data, nRows, nColumns } = await ckaMatrix(linalg, layers, others, options);
    expect([nRows, nColumns]).toEqual([3, 2]);
    for (let i = 0; i < 3; i++) {
      for (let j = 0; j < 2; j++) {
        const one = await cka(linalg, layers[i]!, others[j]!, options);
        expect(data[i * 2 + j]).toBeCloseTo(one, 11);
      }
    }
    const apart = await ckaMatrix(linalg, layers, others, { ...options, maxKernelBytes: 4000 });
    apart.data.forEach((v, at) => {
      expect(v).toBeCloseTo(data[at]!, 11);
    });
    const own = await ckaMatrix(linalg, layers, layers, options);
    expect(own.data[4]).toBeCloseTo(1, 11);
  },
);

test("a layer that does not vary gives NaN; lists that do not fit are refused", async () => {
  const flat = activations(Array.from({ length: 14 }, () => [3, 1]));
  const { data } = await ckaMatrix(linalg, [flat, layers[0]!], others);
  expect(data[0]).toBeNaN();
  expect(data[2]).not.toBeNaN();
  await expect(ckaMatrix(linalg, [], others)).rejects.toThrow(ShapeError);
  await expect(ckaMatrix(linalg, [random(13, 2, 1)], others)).rejects.toThrow(ShapeError);
  await expect(
    ckaMatrix(linalg, layers, others, { kernel: { type: "rbf", scale: 0 } }),
  ).rejects.toThrow(ArgumentError);
});

test("compareNetworks: symmetric or both ways, zeros for distances", async () => {
  const seen: number[] = [];
  const onPair = (done: number, of: number) => seen.push(done / of);
  const shapes = await compareNetworks(linalg, "shape", layers, { onPair });
  expect(shapes.data[0]).toBe(0);
  expect(shapes.data[1]).toBe(shapes.data[3]);
  expect(seen).toHaveLength(3);
  const regression = await compareNetworks(linalg, "linear-regression", layers);
  expect(regression.data[0]).toBeCloseTo(1, 9);
  expect(regression.data[1]).not.toBeCloseTo(regression.data[3]!, 3);
  await expect(compareNetworks(linalg, "nothing", layers)).rejects.toThrow(ArgumentError);
});
