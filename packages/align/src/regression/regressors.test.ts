import { readFileSync } from "node:fs";
import { ArgumentError, activations, createRng, DataError, tensor } from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { afterAll, describe, expect, test } from "vitest";
import { leastSquares, principalComponentRegression } from "./leastSquares.ts";
import { nearestUnit } from "./nearestUnit.ts";
import { partialLeastSquares } from "./partialLeastSquares.ts";
import { heldOutPredictor, type RegressorName, regressors } from "./regressors.ts";
import { predict } from "./ridgeCv.ts";

interface Case {
  readonly shape: readonly [number, number, number];
  readonly components: number;
  readonly x: number[];
  readonly y: number[];
  readonly held: number[];
  readonly predicted: Readonly<Record<string, number[]>>;
}
const { cases }: { cases: Record<string, Case> } = JSON.parse(
  readFileSync(new URL("../../../../test/golden/regressors.json", import.meta.url), "utf8"),
);
const linalg = createLinalg();
afterAll(() => linalg.dispose());

const inputs = ({ shape: [n, p, t], x, y, held }: Case) => ({
  x: tensor(Float64Array.from(x), ["stimulus", "unit"], [n, p]),
  y: tensor(Float64Array.from(y), ["stimulus", "target"], [n, t]),
  held: tensor(Float64Array.from(held), ["stimulus", "unit"], [5, p]),
});

describe("regressors", () => {
  test.each(Object.keys(cases))("equal sklearn's (%s)", async (name) => {
    const one = cases[name]!;
    const { x, y, held } = inputs(one);
    for (const [method, expected] of Object.entries(one.predicted)) {
      const predicted = method.endsWith("unscaled")
        ? await predict(await partialLeastSquares(x, y, { components: 2, scale: false }), held)
        : await heldOutPredictor(method as RegressorName, { components: one.components })(
            x,
            y,
            held,
            { linalg },
          );
      expected.forEach((value, i) => {
        expect(predicted.data[i]).toBeCloseTo(value, 9);
      });
    }
  });

  test("all take what a model of one unit explains", async () => {
    const x = activations([
      [1, 3],
      [2, 1],
      [4, 2],
      [3, 5],
      [5, 2.5],
      [7, 4],
      [6, 0.5],
    ]);
    const y = tensor(
      Float64Array.from({ length: 7 }, (_, i) => 2 * x.data[2 * i]! + 1),
      ["stimulus", "target"],
      [7, 1],
    );
    for (const name of Object.keys(regressors) as RegressorName[]) {
      const predictor = heldOutPredictor(name, { components: 2, alphas: [1e-9] });
      const { data } = await predictor(x, y, activations([[10, 2]]), { linalg });
      expect(data[0]).toBeCloseTo(21, 5);
    }
  });

  test("the nearest unit is the argmax of Pearson's r", async () => {
    const rng = createRng(3);
    const x = tensor(
      Float64Array.from({ length: 60 }, () => rng.normal()),
      ["stimulus", "unit"],
      [15, 4],
    );
    // A target against the third unit: only `any` finds it.
    const y = tensor(
      Float64Array.from({ length: 15 }, (_, i) => 3 - x.data[i * 4 + 2]! + 0.1 * rng.normal()),
      ["stimulus", "target"],
      [15, 1],
    );
    expect((await nearestUnit(x, y, { sign: "any", linalg })).units[0]).toBe(2);
    const positive = await nearestUnit(x, y, { linalg });
    expect(positive.units[0]).not.toBe(2);
    expect(positive.correlations[0]).toBeGreaterThan(0);
  });

  test("units that do not vary and targets that do not vary give zeros", async () => {
    const x = activations([
      [1, 7],
      [2, 7],
      [4, 7],
      [3, 7],
    ]);
    const y = tensor(Float64Array.of(3, -4, 5, -4, 9, -4, 1, -4), ["stimulus", "target"], [4, 2]);
    for (const fit of [
      leastSquares(x, y, { linalg }),
      principalComponentRegression(x, y, { components: 1, linalg }),
      partialLeastSquares(x, y, { components: 2, linalg }),
      nearestUnit(x, y, { linalg }),
    ]) {
      const { coefficients, intercept } = await fit;
      expect(coefficients.data[1]).toBeCloseTo(0, 12);
      expect(coefficients.data[2]).toBeCloseTo(0, 12);
      expect(intercept[1]).toBeCloseTo(-4, 12);
    }
  });

  test("refuse what does not fit", async () => {
    const x = activations([[1], [2], [4]]);
    const y = tensor(Float64Array.of(1, 2, 3), ["stimulus", "target"], [3, 1]);
    await expect(partialLeastSquares(x, y, { components: 2 })).rejects.toThrow(ArgumentError);
    await expect(principalComponentRegression(x, y, { components: 0 })).rejects.toThrow("got 0");
    const bad = { ...y, data: Float64Array.of(1, Number.NaN, 3) };
    await expect(leastSquares(x, bad)).rejects.toThrow(DataError);
  });
});
