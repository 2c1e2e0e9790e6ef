import {
  type Activations,
  ArgumentError,
  createRng,
  type Progress,
  ShapeError,
  sampleWithoutReplacement,
  tensor,
} from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { type Recording, simulateRecording } from "@penfield/recordings";
import { afterAll, describe, expect, test } from "vitest";
import { compareUnitSets } from "./compareUnitSets.ts";

const linalg = createLinalg();
afterAll(() => linalg.dispose());

const nStimuli = 120;
const nUnits = 60;
const ids = Array.from({ length: nStimuli }, (_, i) => `s${i}`);
function random(seed: number): Activations {
  const rng = createRng(seed);
  return tensor(
    Float64Array.from({ length: nStimuli * nUnits }, () => rng.normal()),
    ["stimulus", "unit"],
    [nStimuli, nUnits],
  );
}
const features = random(1);
const planted = Int32Array.from({ length: 11 }, (_, i) => 10 + i);
const rng = createRng(3);
const randomSets = Array.from({ length: 19 }, () =>
  sampleWithoutReplacement(nUnits, planted.length, rng),
);
const stimuli = ids.map((_, i) => ({ text: "word ".repeat(1 + ((i * 7) % 13)) }));

describe("compareUnitSets", () => {
  test("finds the units that the brain listens to, up to the ceiling", async () => {
    const recording = simulateRecording(features, ids, {
      units: planted,
      nTargets: 24,
      nRepeats: 4,
      signalToNoise: 1,
      seed: 5,
    });
    const progress: Progress[] = [];
    const result = await compareUnitSets({
      features,
      unitSets: { localized: planted, random: randomSets },
      recording,
      stimuli,
      nDraws: 300,
      linalg,
      onProgress: (p) => progress.push(p),
    });
    expect(result.p).toBe(1 / 20);
    expect(result).toMatchObject({ simulated: true, resampled: "targets" });
    expect(result.random).toHaveLength(19);
    for (const { median } of result.random)
      expect(result.localized.median).toBeGreaterThan(median + 0.2);
    expect(result.localized.normalized!.median).toBeGreaterThan(0.93);
    expect(result.localized.normalized!.median).toBeLessThan(1.05);
    // The other units only get in the way.
    expect(result.all.median).toBeLessThan(result.localized.median);
    expect(result.floor!.median).toBeLessThan(0.1);
    expect(result.interval.estimate).toBeCloseTo(result.localized.median, 12);
    expect(result.interval.low).toBeLessThan(result.interval.high);
    expect(result.advantage.low).toBeGreaterThan(0.2);
    expect(progress.at(-1)).toEqual({
      stage: "scoring unit sets",
      done: 22,
      total: 22,
      unit: "sets",
    });
  });

  test("the floor catches a recording that only follows how long the sentences are", async () => {
    const noise = createRng(8);
    const data = Float64Array.from(
      { length: nStimuli * 12 },
      (_, i) => stimuli[Math.floor(i / 12)]!.text.length / 20 + 0.3 * noise.normal(),
    );
    const recording: Recording = {
      name: "length",
      simulated: true,
      data: tensor(data, ["repeat", "stimulus", "target"], [1, nStimuli, 12]),
      stimulusIds: ids,
      targets: Array.from({ length: 12 }, (_, t) => ({ id: `t${t}` })),
      sha256: "",
    };
    // Units 0..10 follow the length too, more noisily.
    const lengthUnits = {
      ...features,
      data: features.data.map((value, i) =>
        i % nUnits < 11 ? value + stimuli[Math.floor(i / nUnits)]!.text.length / 20 : value,
      ),
    };
    const result = await compareUnitSets({
      features: lengthUnits,
      unitSets: { localized: Int32Array.from({ length: 11 }, (_, i) => i), random: randomSets },
      recording,
      stimuli,
      nDraws: 100,
      linalg,
    });
    // They beat random units, and yet know no more than the length.
    expect(result.p).toBe(1 / 20);
    expect(result.floor!.median).toBeGreaterThan(result.localized.median);
    expect(result.ceiling).toBeUndefined();
    expect(result.localized.normalized).toBeUndefined();
  });

  test("equal seeds give equal results", async () => {
    const recording = simulateRecording(features, ids, { nTargets: 4, nRepeats: 2 });
    const run = () =>
      compareUnitSets({
        features,
        unitSets: { localized: planted, random: randomSets.slice(0, 2) },
        recording,
        nDraws: 50,
        seed: 7,
        linalg,
      });
    expect(await run()).toEqual(await run());
  });

  test.each([
    [{ unitSets: { localized: [0, 1], random: [] } }, ArgumentError, "got 2 units and 0 sets"],
    [
      { unitSets: { localized: [0, 1], random: [[2]] } },
      ShapeError,
      "expected random sets of 2 units, got one of 1",
    ],
    [
      { unitSets: { localized: [0, 0], random: [[2, 3]] } },
      ArgumentError,
      "expected each unit once in a set",
    ],
    [
      { unitSets: { localized: [0, nUnits], random: [[2, 3]] } },
      ArgumentError,
      `expected units within 0..${nUnits - 1}, got ${nUnits}`,
    ],
    [{ stimuli: [{ text: "one" }] }, ShapeError, "got 120 rows and 1 texts"],
  ])("refuses what does not fit (%#)", async (change, type, message) => {
    const recording = simulateRecording(features, ids, { nTargets: 2 });
    const run = () =>
      compareUnitSets({
        features,
        unitSets: { localized: [0, 1], random: [[2, 3]] },
        recording,
        linalg,
        ...change,
      });
    await expect(run()).rejects.toThrow(type);
    await expect(run()).rejects.toThrow(message);
  });
});
