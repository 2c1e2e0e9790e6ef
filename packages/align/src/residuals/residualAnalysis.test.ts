import {
  ArgumentError,
  createRng,
  DataError,
  InterruptedError,
  ShapeError,
  tensor,
} from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { areaUnderRoc } from "@penfield/stats";
import { afterAll, describe, expect, test } from "vitest";
import { residualAnalysis } from "./residualAnalysis.ts";

const linalg = createLinalg();
afterAll(() => linalg.dispose());

describe("residualAnalysis", () => {
  // Words whose channels follow an embedding, and emotion, which the embedding lacks.
  const rng = createRng(1);
  const n = 300;
  const x = tensor(
    Float64Array.from({ length: n * 8 }, () => rng.normal()),
    ["stimulus", "unit"],
    [n, 8],
  );
  const emotion = Array.from({ length: n }, () => (rng.uniform() < 0.15 ? 1 : 0));
  const length = Array.from({ length: n }, () => 1 + rng.below(9));
  const mix = Float64Array.from({ length: 8 * 12 }, () => rng.normal());
  const felt = Float64Array.from({ length: 12 }, () => 3 + rng.uniform());
  const y = tensor(
    Float64Array.from({ length: n * 16 }, (_, i) => {
      const [word, t] = [Math.floor(i / 16), i % 16];
      // Channels 12 to 15 have nothing to do with the words.
      if (t >= 12) return rng.normal();
      let value = 0.7 * rng.normal() + felt[t]! * emotion[word]!;
      for (let u = 0; u < 8; u++) value += x.data[word * 8 + u]! * mix[u * 12 + t]!;
      return value;
    }),
    ["stimulus", "target"],
    [n, 16],
  );

  test("errors tell emotion words apart (AUC > .9), and no longer once emotion is added", async () => {
    const features = { emotion, length, flat: emotion.map(() => 1) };
    const result = await residualAnalysis(x, y, {
      features,
      nDraws: 199,
      encoding: { linalg, permutation: { nDraws: 199 } },
    });
    expect([...result.targets]).toEqual(Array.from({ length: 12 }, (_, t) => t));
    expect(areaUnderRoc(result.errors, emotion)).toBeGreaterThan(0.9);
    expect(emotion[result.ranking[0]!]).toBe(1);
    const [found, control, flat] = result.features;
    expect(found!.q).toBeLessThan(0.05);
    expect(found!.weight).toBeGreaterThan(0.5);
    expect(found!.gain).toBeGreaterThan(0.03);
    expect(Math.abs(found!.rOnceAdded)).toBeLessThan(0.2);
    expect(control!.q).toBeGreaterThan(0.05);
    expect(Math.abs(control!.gain)).toBeLessThan(0.01);
    expect(flat).toMatchObject({ p: 1, weight: 0 });
    // With emotion among the units, errors no longer tell.
    const data = new Float64Array(n * 9);
    for (let i = 0; i < n; i++) {
      data.set(x.data.subarray(i * 8, (i + 1) * 8), i * 9);
      data[i * 9 + 8] = emotion[i]!;
    }
    const whole = await residualAnalysis(tensor(data, ["stimulus", "unit"], [n, 9]), y, {
      encoding: { linalg, permutation: { nDraws: 99 } },
    });
    expect(Math.abs(areaUnderRoc(whole.errors, emotion) - 0.5)).toBeLessThan(0.12);
  });

  test("refuses what does not fit", async () => {
    const run = (options: object) => residualAnalysis(x, y, { encoding: { linalg }, ...options });
    await expect(run({ features: { short: [1] } })).rejects.toThrow(ShapeError);
    await expect(run({ features: { holes: emotion.map(() => Number.NaN) } })).rejects.toThrow(
      "expected finite values of holes, got NaN for stimulus 0",
    );
    await expect(run({ level: 0 })).rejects.toThrow(ArgumentError);
    await expect(run({ signal: AbortSignal.abort() })).rejects.toThrow(InterruptedError);
    const noise = { ...y, data: y.data.map(() => rng.normal()) };
    await expect(
      residualAnalysis(x, noise, {
        encoding: { linalg, permutation: { nDraws: 99 } },
        level: 0.02,
      }),
    ).rejects.toThrow(DataError);
  });
});
