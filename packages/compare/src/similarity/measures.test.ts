import {
  type Activations,
  ArgumentError,
  activations,
  createRng,
  DataError,
  permutation,
  ShapeError,
  takeColumns,
  takeRows,
  tensor,
} from "@penfield/core";
import { createLinalg, qr } from "@penfield/linalg";
import { afterAll, describe, expect, test } from "vitest";
import type { Invariance } from "../registry.ts";
import { compareActivations, representationMeasures } from "./measures.ts";

const linalg = createLinalg({ threads: 1 });
afterAll(() => linalg.dispose());

const N = 24;

function random(n: number, p: number, seed: number): Activations {
  const rng = createRng(seed);
  return tensor(
    Float64Array.from({ length: n * p }, () => rng.normal()),
    ["stimulus", "unit"],
    [n, p],
  );
}

/** A second representation that has something in common with the first. */
function related(x: Activations, q: number, seed: number): Activations {
  const [n, p] = x.shape;
  const noise = random(n, q, seed);
  const mix = random(p, q, seed + 1);
  return tensor(
    noise.data.map((v, at) => {
      const [i, j] = [Math.floor(at / q), at % q];
      let sum = 0.7 * v;
      for (let k = 0; k < p; k++) sum += x.data[i * p + k]! * mix.data[k * q + j]!;
      return sum;
    }) as Float64Array,
    ["stimulus", "unit"],
    [n, q],
  );
}

function times(x: Activations, m: Float64Array): Activations {
  const [n, p] = x.shape;
  const data = new Float64Array(n * p);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < p; j++) {
      for (let k = 0; k < p; k++) data[i * p + j]! += x.data[i * p + k]! * m[k * p + j]!;
    }
  }
  return tensor(data, ["stimulus", "unit"], [n, p]);
}

const changes = {
  translation: (x: Activations) =>
    tensor(
      Float64Array.from(x.data, (v, at) => v + 3 + (at % x.shape[1])),
      ["stimulus", "unit"],
      x.shape,
    ),
  scaling: (x: Activations) =>
    tensor(
      Float64Array.from(x.data, (v) => 3.7 * v),
      ["stimulus", "unit"],
      x.shape,
    ),
  permutation: (x: Activations) => takeColumns(x, permutation(x.shape[1], createRng(3))),
  rotation: (x: Activations) => {
    const p = x.shape[1];
    const turn = qr({ data: random(p, p, 8).data as Float64Array, nRows: p, nColumns: p }).q;
    return times(x, turn.data);
  },
  linear: (x: Activations) => {
    const p = x.shape[1];
    return times(
      x,
      random(p, p, 9).data.map((v, at) => v + (at % (p + 1) === 0 ? 3 : 0)) as Float64Array,
    );
  },
} as const;

const x = random(N, 4, 1);
const y = related(x, 3, 2);

/** More stimuli than neighbours and landmarks; units of many sizes. */
const sized = (m: Activations): Activations => ({
  ...m,
  data: Float64Array.from(m.data, (v, at) => v * 10 ** (-(at % m.shape[1]) / 2)),
});
const wide = sized(random(70, 5, 3));
const other = sized(related(wide, 5, 4));

describe.each(representationMeasures.map((m) => [m.name, m] as const))("%s", (_, measure) => {
  const value = (a: Activations, b: Activations) => measure.compute(linalg, a, b);

  test("is invariant as it says", async () => {
    const before = await value(x, y);
    expect(before).not.toBeNaN();
    for (const invariance of measure.invariances) {
      if (invariance === "stimulus-order") {
        const order = permutation(N, createRng(5));
        expect(await value(takeRows(x, order), takeRows(y, order))).toBeCloseTo(before, 8);
      } else if (invariance !== "monotone") {
        const after = await value(changes[invariance](x), y);
        expect(after, `${invariance} of x`).toBeCloseTo(before, 8);
        const other = await value(x, changes[invariance](y));
        expect(other, `${invariance} of y`).toBeCloseTo(before, 8);
      }
    }
  });

  test("sees every other change, of x or of y", async () => {
    const before = await value(wide, other);
    for (const [change, apply] of Object.entries(changes)) {
      if (measure.invariances.includes(change as Invariance)) continue;
      const after = [await value(apply(wide), other), await value(wide, apply(other))];
      const seen = after.some((v) => Math.abs(v - before) > 1e-6 * Math.abs(before));
      expect([change, seen]).toEqual([change, true]);
    }
  });

  test("is symmetric exactly if it says so", async () => {
    const [there, back] = [await value(wide, other), await value(other, wide)];
    if (measure.symmetric) expect(there).toBeCloseTo(back, 10);
    else expect(Math.abs(there - back)).toBeGreaterThan(1e-9);
  });

  test("of a representation with itself is the most there is", async () => {
    const self = await value(x, x);
    const other = await value(x, y);
    if (measure.larger === "less alike") {
      expect(Math.abs(self)).toBeLessThan(1e-6);
      expect(other).toBeGreaterThanOrEqual(0);
    } else expect(other).toBeLessThanOrEqual(self + 1e-9);
  });

  test("refuses other stimuli and values that are not finite", async () => {
    await expect(value(x, random(N - 1, 3, 1))).rejects.toThrow(ShapeError);
    const bad = takeRows(x, [0, 1, 2, 3, 4, 5]);
    bad.data[7] = Number.NaN;
    await expect(value(bad, takeRows(y, [0, 1, 2, 3, 4, 5]))).rejects.toThrow(
      /expected finite values, got NaN at stimulus 1, unit 3/,
    );
    await expect(value(bad, takeRows(y, [0, 1, 2, 3, 4, 5]))).rejects.toThrow(DataError);
  });

  test("says what it is", () => {
    expect(measure.minSample(10)).toBeGreaterThan(0);
    for (const text of [
      measure.title,
      measure.cost,
      measure.memory,
      measure.source,
      measure.minSampleRule,
    ]) {
      expect(text.length).toBeGreaterThan(3);
    }
  });
});

describe("compareActivations", () => {
  test("says when stimuli are too few, units constant, patterns zero, and why a value is NaN", async () => {
    const small = activations([
      [1, 0, 2],
      [0, 0, 1],
      [4, 0, 1],
    ]);
    const { value, warnings } = await compareActivations(linalg, "cca", small, small);
    expect(value).toBeCloseTo(1, 9);
    expect(warnings).toEqual([
      "cca: 3 stimuli are fewer than the 4 it needs with 3 units (more stimuli than units: with fewer, any two representations are perfectly related)",
      "cca: x has 1 of 3 units that do not vary",
      "cca: y has 1 of 3 units that do not vary",
    ]);
    const constant = activations([[1], [1], [1], [1]]);
    const varying = activations([[1], [2], [3], [0]]);
    const found = await compareActivations(linalg, "linear-cka", constant, varying);
    expect(found.value).toBeNaN();
    expect(found.warnings.at(-1)).toMatch(/not defined for these data/);
    const zero = await compareActivations(linalg, "mutual-knn", varying, varying);
    expect(zero.warnings).toContain("mutual-knn: x has 1 of 4 patterns that are all zeros");
  });

  test("knows what it knows", async () => {
    await expect(compareActivations(linalg, "nonsense", x, y)).rejects.toThrow(ArgumentError);
    expect(new Set(representationMeasures.map((m) => m.name)).size).toBe(
      representationMeasures.length,
    );
  });
});
