import { type Activations, ArgumentError, createRng, ShapeError, tensor } from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { afterAll, describe, expect, test } from "vitest";
import { identificationRate } from "./identificationRate.ts";

const linalg = createLinalg();
afterAll(() => linalg.dispose());

const nStimuli = 60;
const rng = createRng(11);
const inputs = Float64Array.from({ length: nStimuli * 8 }, () => rng.normal());
const weights = Float64Array.from({ length: 8 * 16 }, () => rng.normal());

/** Random features of the same inputs under a nonlinearity. */
function features(of: (value: number) => number): Activations {
  const data = new Float64Array(nStimuli * 16);
  for (let i = 0; i < nStimuli; i++) {
    for (let u = 0; u < 16; u++) {
      let sum = 0;
      for (let k = 0; k < 8; k++) sum += inputs[i * 8 + k]! * weights[k * 16 + u]!;
      data[i * 16 + u] = of(sum);
    }
  }
  return tensor(data, ["stimulus", "unit"], [nStimuli, 16]);
}
const linear = { name: "linear", features: features((v) => v) };
const square = { name: "square", features: features((v) => v * v) };
const run = (options: object) =>
  identificationRate({
    candidates: [linear, square],
    nSimulations: 5,
    nTargets: 10,
    encoding: { linalg, outerFolds: 4, innerFolds: 4, standardize: true },
    ...options,
  });

describe("identificationRate", () => {
  test("tells different models apart when there is signal", async () => {
    const result = await run({ signalToNoise: 4, nRepeats: 2 });
    expect(result).toEqual({
      rate: 1,
      chance: 0.5,
      confusion: [
        [5, 0],
        [0, 5],
      ],
      names: ["linear", "square"],
      nSimulations: 5,
    });
  });

  test("cannot tell a model from a linear map of itself: the first is always taken", async () => {
    const twin = { name: "twin", features: features((v) => 2 * v) };
    const { rate, confusion } = await run({ candidates: [linear, twin] });
    expect(confusion).toEqual([
      [5, 0],
      [5, 0],
    ]);
    expect(rate).toBe(0.5);
  });

  test("is near chance in pure noise, and equal for equal seeds", async () => {
    const options = { signalToNoise: 1e-4, nSimulations: 10, seed: 3 };
    const noisy = await run(options);
    expect(noisy.rate).toBeLessThan(0.9);
    expect(await run(options)).toEqual(noisy);
  });

  test("refuses what it cannot compare", async () => {
    await expect(run({ candidates: [linear] })).rejects.toThrow(ArgumentError);
    await expect(run({ nSimulations: 0 })).rejects.toThrow(ArgumentError);
    const short = {
      name: "short",
      features: tensor(new Float64Array(32), ["stimulus", "unit"], [2, 16]),
    };
    await expect(run({ candidates: [linear, short] })).rejects.toThrow(
      new ShapeError(
        "identificationRate: expected equally many stimuli for all candidates, got 60, 2",
      ),
    );
  });
});
