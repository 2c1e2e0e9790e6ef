import {
  ArgumentError,
  activations,
  createRng,
  InterruptedError,
  ShapeError,
  tensor,
} from "@penfield/core";
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
  const shapes = await compareNetworks(linalg, "shape", layers, {
    onProgress: ({ done, total }) => seen.push(done / total),
  });
  expect(shapes.data[0]).toBe(0);
  expect(shapes.data[1]).toBe(shapes.data[3]);
  expect(seen).toEqual([1 / 3, 2 / 3, 1]);
  const regression = await compareNetworks(linalg, "linear-regression", layers);
  expect(regression.data[0]).toBeCloseTo(1, 9);
  expect(regression.data[1]).not.toBeCloseTo(regression.data[3]!, 3);
  await expect(compareNetworks(linalg, "nothing", layers)).rejects.toThrow(ArgumentError);
});

test.each(["shape", "linear-regression", "cca"])(
  "compareNetworks by %s, stopped halfway, goes on to the same bits",
  async (name) => {
    // One that does not vary: undefined values are kept too.
    const flat = activations(Array.from({ length: 14 }, () => [3, 1]));
    const networks = [...layers, flat];
    const whole = await compareNetworks(linalg, name, networks);
    const parts = new Map<string, string>();
    let found = 0;
    const keep = {
      getJson: async (key: string): Promise<unknown> => {
        const text = parts.get(key);
        if (text !== undefined) found++;
        return text === undefined ? undefined : JSON.parse(text);
      },
      putJson: async (key: string, value: unknown) => {
        parts.set(key, JSON.stringify(value));
      },
    };
    const stop = new AbortController();
    const halfway = compareNetworks(linalg, name, networks, {
      keep,
      signal: stop.signal,
      onProgress: ({ done, total }) => {
        if (done >= total / 2) stop.abort();
      },
    });
    await expect(halfway).rejects.toThrow(InterruptedError);
    const done = parts.size;
    expect(done).toBeGreaterThan(1);
    const resumed = await compareNetworks(linalg, name, networks, { keep });
    expect(Buffer.from(resumed.data.buffer)).toEqual(Buffer.from(whole.data.buffer));
    expect(found).toBe(done);
    expect(parts.size).toBeGreaterThan(done);
    // Another measure, or other activations, find nothing.
    await compareNetworks(linalg, "linear-cka", networks, { keep });
    await compareNetworks(linalg, name, others, { keep });
    expect(found).toBe(done);
  },
);
