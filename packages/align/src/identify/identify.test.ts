import {
  type Activations,
  ArgumentError,
  createRng,
  InterruptedError,
  ShapeError,
  tensor,
} from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { afterAll, describe, expect, test } from "vitest";
import { type IdentifyMethod, type IdentifyOptions, identify } from "./identify.ts";
import { ridgeMethod } from "./methods.ts";

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
const ridge = ridgeMethod({ linalg, outerFolds: 4, innerFolds: 4, standardize: true });
const run = (options: Partial<IdentifyOptions>) =>
  identify({
    candidates: [linear, square],
    methods: [ridge],
    nSimulations: 5,
    nTargets: 10,
    ...options,
  });
const fixed = (name: string, values: readonly number[]): IdentifyMethod => {
  let at = 0;
  return { name, title: name, score: async () => values[at++ % values.length]! };
};

describe("identify", () => {
  test("tells different models apart when there is signal", async () => {
    const result = await run({ signalToNoise: 4, nRepeats: 2 });
    expect(result.nBrains).toBe(10);
    expect(result.chance).toBe(0.5);
    expect(result.methods[0]).toMatchObject({
      name: "ridge",
      confusion: [
        [5, 0],
        [0, 5],
      ],
      nTies: 0,
    });
    // Wilson's interval of 10 in 10: [n / (n + z^2), 1].
    const { value, low, high } = result.methods[0]!.rate;
    expect(value).toBe(1);
    expect(high).toBeCloseTo(1, 12);
    expect(low).toBeCloseTo(10 / (10 + 1.959963984540054 ** 2), 12);
  });

  test("targets that are single units are told apart as well", async () => {
    const { methods } = await run({ signalToNoise: 8, targets: "unit", nTargets: 16 });
    expect(methods[0]!.rate.value).toBe(1);
  });

  test("a model and a linear map of itself share what they win", async () => {
    const twin = { name: "twin", features: features((v) => 2 * v) };
    const { methods } = await run({ candidates: [linear, twin], nSimulations: 12 });
    const { confusion, nTies, rate } = methods[0]!;
    expect(nTies).toBe(24);
    expect(confusion.flat().every((n) => n > 0)).toBe(true);
    expect(rate.low).toBeLessThan(0.5);
    expect(rate.high).toBeGreaterThan(0.5);
  });

  test("each method is counted by itself; a score that is no number never wins", async () => {
    const { methods } = await run({
      methods: [
        fixed("first", [2, 1]),
        fixed("second", [Number.NaN, -5]),
        fixed("none", [Number.NaN]),
      ],
      nSimulations: 8,
    });
    const [first, second, none] = methods;
    expect(first!.confusion).toEqual([
      [8, 0],
      [8, 0],
    ]);
    expect(second!.confusion).toEqual([
      [0, 8],
      [0, 8],
    ]);
    expect(none!.nTies).toBe(16);
  });

  test("with fewer stimuli or targets there are fewer rows and columns, and folds know which", async () => {
    const seen = new Set<string>();
    const watch: IdentifyMethod = {
      name: "watch",
      title: "",
      score: async (x, y, stimuli) => {
        seen.add(`${x.shape[0]} ${y.shape[0]} ${y.shape[1]} ${stimuli.length}`);
        expect([...stimuli]).toEqual([...stimuli].sort((a, b) => a - b));
        expect(x.data[0]).toBe(linear.features.data[stimuli[0]! * 16]);
        return 0;
      },
    };
    const { curve } = await run({
      candidates: [linear, { ...linear, name: "same" }],
      methods: [watch],
      stimulusCounts: [20],
      targetCounts: [3],
    });
    expect([...seen].sort()).toEqual(["20 20 10 20", "60 60 10 60", "60 60 3 60"]);
    expect(curve.map(({ over, n }) => [over, n])).toEqual([
      ["stimuli", 20],
      ["targets", 3],
    ]);
  });

  test("another seed of an architecture can play the brain", async () => {
    const other = features((v) => v ** 3);
    const { methods } = await run({
      candidates: [
        { ...linear, brains: [square.features] },
        { ...square, brains: [other] },
      ],
      signalToNoise: 4,
    });
    // The brain made in place of `linear` was made of squares: `square` wins.
    expect(methods[0]!.confusion[0]).toEqual([0, 5]);
  });

  test("is near chance in pure noise, equal for equal seeds, and goes on after an interruption", async () => {
    const options = { signalToNoise: 1e-4, nSimulations: 10, seed: 3 };
    const noisy = await run(options);
    expect(noisy.methods[0]!.rate.value).toBeLessThan(0.9);
    const kept = new Map<string, string>();
    const work = {
      getJson: async (key: string) => {
        const text = kept.get(key);
        return text === undefined ? undefined : JSON.parse(text);
      },
      putJson: async (key: string, value: unknown) => void kept.set(key, JSON.stringify(value)),
    };
    const controller = new AbortController();
    const stopped = run({
      ...options,
      work,
      signal: controller.signal,
      onProgress: ({ done }) => done === 7 && controller.abort(),
    });
    await expect(stopped).rejects.toThrow(InterruptedError);
    expect(kept.size).toBe(7);
    let scored = 0;
    const counting = {
      ...ridge,
      score: (...args: Parameters<typeof ridge.score>) => {
        scored++;
        return ridge.score(...args);
      },
    };
    expect(await run({ ...options, work, methods: [counting] })).toEqual(noisy);
    expect(scored).toBe(2 * 13);
  });

  test("refuses what it cannot compare", async () => {
    const short = {
      name: "short",
      features: tensor(new Float64Array(32), ["stimulus", "unit"], [2, 16]),
    };
    for (const options of [
      { candidates: [linear] },
      { candidates: [linear, linear] },
      { methods: [] },
      { nSimulations: 0 },
      { signalToNoise: 0 },
      { stimulusCounts: [61] },
      { targetCounts: [1.5] },
    ]) {
      await expect(run(options)).rejects.toThrow(ArgumentError);
    }
    await expect(run({ candidates: [linear, short] })).rejects.toThrow(
      new ShapeError("identify: expected equally many stimuli for all candidates, got 60, 2"),
    );
  });
});
