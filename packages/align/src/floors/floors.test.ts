import { readFileSync } from "node:fs";
import {
  type Activations,
  ArgumentError,
  activations,
  createRng,
  DataError,
  ShapeError,
  tensor,
} from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { meanOverRepeats, simulateRecording, splitHalfCeiling } from "@penfield/recordings";
import { afterAll, describe, expect, test } from "vitest";
import { encodingScore } from "../encodingScore.ts";
import { contiguousFolds, groupedFolds, shuffledFolds } from "../folds.ts";
import type { Responses } from "../regression/ridgeCv.ts";
import { autocorrelationFeatures, autocorrelationFloor } from "./autocorrelationFloor.ts";
import { describeFolds } from "./describeFolds.ts";
import { floorFeatures, projectFeatures, randomFeatures } from "./randomFeatures.ts";
import { textFloor, wordFrequencyFloor } from "./textFloors.ts";

const linalg = createLinalg();
afterAll(() => linalg.dispose());
const golden = JSON.parse(
  readFileSync(new URL("../../../../test/golden/preparation.json", import.meta.url), "utf8"),
);

/** Targets that change slowly and know nothing of stimuli: sums of noise over neighbours, anew in each group. */
function slowTargets(nGroups: number, size: number, nTargets: number): Responses {
  const rng = createRng(7);
  const n = nGroups * size;
  const data = new Float64Array(n * nTargets);
  for (let g = 0; g < nGroups; g++) {
    for (let t = 0; t < nTargets; t++) {
      let level = 0;
      for (let i = 0; i < size; i++) {
        level = i === 0 ? rng.normal() : 0.9 * level + Math.sqrt(1 - 0.81) * rng.normal();
        data[(g * size + i) * nTargets + t] = level;
      }
    }
  }
  return tensor(data, ["stimulus", "target"], [n, nTargets]);
}

describe("planted truth: targets that only drift", () => {
  const groups = Array.from({ length: 160 }, (_, i) => `story ${Math.floor(i / 20)}`);
  const y = slowTargets(8, 20, 30);
  /** Nothing but the time of each stimulus: bumps along the session. */
  const time: Activations = activations(
    groups.map((_, i) =>
      Array.from({ length: 40 }, (_, k) => Math.exp(-0.5 * ((i - 4 * k) / 3) ** 2)),
    ),
  );

  test("a feature of time alone scores high when shuffled and about 0 in blocks or by groups", async () => {
    const shuffled = await encodingScore(time, y, { split: "shuffled", linalg });
    const blocks = await encodingScore(time, y, { split: "contiguous", outerFolds: 8, linalg });
    const grouped = await encodingScore(time, y, { groups, outerFolds: 8, linalg });
    expect(shuffled.median).toBeGreaterThan(0.6);
    // 160 stimuli, 30 targets: chance has a standard error of about 0.02.
    expect(Math.abs(blocks.median)).toBeLessThan(0.1);
    expect(Math.abs(grouped.median)).toBeLessThan(0.1);
  });

  test("so does the floor of autocorrelation, which says with it that a split is not fair", async () => {
    const options = { widths: [1, 2], alphas: [0.1, 1, 10, 1000], linalg };
    const shuffled = await autocorrelationFloor(y, {
      split: "shuffled",
      series: groups,
      ...options,
    });
    const grouped = await autocorrelationFloor(y, {
      groups,
      outerFolds: 4,
      innerFolds: 3,
      ...options,
    });
    expect(shuffled.median).toBeGreaterThan(0.6);
    expect(Math.abs(grouped.median)).toBeLessThan(0.1);
    expect(shuffled.chosenWidths).toHaveLength(5);
    expect(shuffled.chosenWidths.every((width) => [1, 2].includes(width))).toBe(true);
    const given = await autocorrelationFloor(y, {
      outerFolds: shuffledFolds(160, 5),
      series: groups,
      ...options,
    });
    expect(given.perTarget).toEqual(shuffled.perTarget);
  });

  test("refuses labels and widths that do not fit", async () => {
    await expect(autocorrelationFloor(y, { series: ["a"] })).rejects.toThrow(ShapeError);
    await expect(autocorrelationFloor(y, { widths: [] })).rejects.toThrow(ArgumentError);
    await expect(autocorrelationFloor(y, { widths: [-1] })).rejects.toThrow(ArgumentError);
  });
});

describe("planted truth: a brain that listens, with noise that drifts", () => {
  test("its own units reach the ceiling, neighbourhood nothing", async () => {
    const x = randomFeatures(300, 8, { seed: 11 });
    const groups = Array.from({ length: 300 }, (_, i) => Math.floor(i / 20));
    const brain = simulateRecording(
      x,
      groups.map((_, i) => `s${i}`),
      { nTargets: 40, nRepeats: 4, signalToNoise: 1, noiseAutocorrelation: 0.8, seed: 2 },
    );
    const y = meanOverRepeats(brain);
    const ceiling = splitHalfCeiling(brain, { nSplits: 20 }).maximumCorrelation;
    const score = await encodingScore(x, y, { groups, outerFolds: 5, ceiling, linalg });
    expect(Math.abs(score.normalized!.median - 1)).toBeLessThan(0.05);
    const floor = await autocorrelationFloor(y, {
      groups,
      outerFolds: 3,
      widths: [2],
      innerFolds: 3,
      linalg,
    });
    expect(Math.abs(floor.median)).toBeLessThan(0.1);
  });
});

describe("autocorrelationFeatures", () => {
  test("as scipy's Gaussian filter of an identity, group by group", () => {
    for (const { size, width, blurred } of golden.gaussian) {
      const { data } = autocorrelationFeatures(new Array(size).fill("a"), { width });
      blurred.flat().forEach((value: number, i: number) => {
        expect(data[i]).toBeCloseTo(value, 14);
      });
    }
  });

  test("groups may lie apart; nothing is shared between them", () => {
    const { data } = autocorrelationFeatures(["a", "b", "a"], { width: 1 });
    const row = (i: number) => [...data.subarray(3 * i, 3 * i + 3)];
    expect([row(1)[0], row(1)[2]]).toEqual([0, 0]);
    expect(row(0)[1]).toBe(0);
    expect(row(0)[2]).toBeGreaterThan(0.2);
    for (const i of [0, 1, 2]) expect(row(i).reduce((a, b) => a + b)).toBeCloseTo(1, 14);
  });
});

describe("describeFolds", () => {
  const groups = Array.from({ length: 24 }, (_, i) => Math.floor(i / 4));

  test("contiguous, grouped, shuffled, with what each rests on", () => {
    expect(describeFolds(contiguousFolds(24, 4))).toEqual({
      kind: "contiguous",
      besideTraining: 6 / 24,
      meanBlockLength: 6,
      nSplitGroups: 0,
      warning: undefined,
    });
    expect(describeFolds(groupedFolds(groups, 3), { groups }).kind).toBe("grouped");
    const shuffled = describeFolds(shuffledFolds(24, 4));
    expect(shuffled.kind).toBe("shuffled");
    expect(shuffled.warning).toMatch(/^Folds are shuffled: \d+ % of held-out stimuli/);
    const alone = describeFolds(contiguousFolds(24, 24));
    expect(alone).toMatchObject({ kind: "shuffled", besideTraining: 1, meanBlockLength: 1 });
  });

  test("groups that are split are counted; the order of time counts, not that of rows", () => {
    const split = describeFolds(contiguousFolds(24, 4), { groups });
    expect(split).toMatchObject({ kind: "contiguous", nSplitGroups: 2 });
    expect(split.warning).toMatch(/^2 groups have stimuli on both sides/);
    const order = Array.from({ length: 24 }, (_, i) => (i % 4) * 6 + Math.floor(i / 4));
    expect(describeFolds(contiguousFolds(24, 4), { order }).kind).toBe("shuffled");
    // Each stimulus a group of its own: no neighbours, nothing to warn of.
    const own = Array.from({ length: 24 }, (_, i) => i);
    expect(describeFolds(shuffledFolds(24, 4), { groups: own })).toMatchObject({
      kind: "grouped",
      warning: undefined,
    });
  });

  test("refuses what does not fit", () => {
    expect(() => describeFolds([])).toThrow(ArgumentError);
    expect(() => describeFolds(contiguousFolds(24, 4), { nStimuli: 5 })).toThrow("within 0..4");
    expect(() => describeFolds(contiguousFolds(24, 4), { groups: [1] })).toThrow(ShapeError);
  });
});

describe("floors of texts", () => {
  test("frequencies by hand, from a table", () => {
    const stimuli = [{ text: "The cat!" }, { text: "the the" }, { text: "don’t" }];
    const { data } = wordFrequencyFloor(stimuli, { counts: { the: 99, cat: 9, "don’t": 0 } });
    const logs = [(2 + 1) / 2, 2, 0].map((sum) => sum - Math.log10(111));
    const mean = logs.reduce((a, b) => a + b) / 3;
    const deviation = Math.sqrt(logs.reduce((sum, v) => sum + (v - mean) ** 2, 0) / 3);
    logs.forEach((value, i) => {
      expect(data[2 * i]).toBeCloseTo((value - mean) / deviation, 12);
    });
    const asMap = new Map([
      ["the", 99],
      ["cat", 9],
      ["don’t", 0],
    ]);
    expect(wordFrequencyFloor(stimuli, { counts: asMap })).toEqual(
      wordFrequencyFloor(stimuli, { counts: { the: 99, cat: 9, "don’t": 0 } }),
    );
  });

  test("position, length and frequency together; rows that average several texts", () => {
    const floor = textFloor([[{ text: "a b" }, { text: "c" }], { text: "a" }, { text: "dd" }]);
    expect(floor.shape).toEqual([3, 5]);
    expect(floor.data.every(Number.isFinite)).toBe(true);
    const same = wordFrequencyFloor([{ text: "a" }, { text: "a" }]);
    expect([...same.data]).toEqual([0, 0, 0, 0]);
    expect(() => wordFrequencyFloor([{ text: "a" }])).toThrow(ShapeError);
    expect(() => wordFrequencyFloor([{ text: "a" }, { text: "..." }])).toThrow(DataError);
    expect(() => wordFrequencyFloor([{ text: "a" }, { text: "b" }], { counts: { a: -1 } })).toThrow(
      ArgumentError,
    );
  });
});

describe("floors of a number of units", () => {
  test("equal seeds give equal features, standard normal", () => {
    const { data } = randomFeatures(100, 50, { seed: 3 });
    expect(randomFeatures(100, 50, { seed: 3 }).data).toEqual(data);
    expect(randomFeatures(100, 50, { seed: 4 }).data).not.toEqual(data);
    const mean = Array.from(data).reduce((a, b) => a + b, 0) / 5000;
    const square = Array.from(data).reduce((a, b) => a + b * b, 0) / 5000;
    // Standard errors 0.014 and 0.02.
    expect(Math.abs(mean)).toBeLessThan(0.06);
    expect(Math.abs(square - 1)).toBeLessThan(0.08);
    expect(() => randomFeatures(0, 1)).toThrow(ArgumentError);
  });

  test("a projection keeps distances between stimuli", async () => {
    const x = randomFeatures(12, 30, { seed: 1 });
    const many = await projectFeatures(x, 4000, { linalg });
    const distance = ({ data, shape: [, m] }: Activations, i: number, j: number) => {
      let sum = 0;
      for (let u = 0; u < m; u++) sum += (data[i * m + u]! - data[j * m + u]!) ** 2;
      return sum / m;
    };
    // Units of x have deviations near 1, so z-scoring changes distances by some percent.
    for (const j of [1, 5, 11]) {
      expect(distance(many, 0, j) / distance(x, 0, j)).toBeGreaterThan(0.7);
      expect(distance(many, 0, j) / distance(x, 0, j)).toBeLessThan(1.4);
    }
    await expect(projectFeatures(activations([[Number.NaN]]), 2)).rejects.toThrow(DataError);
  });

  test("all together, at the model's number of units", async () => {
    const model = randomFeatures(6, 4);
    const floors = await floorFeatures({
      activations: model,
      untrained: { "seed 1": randomFeatures(6, 4, { seed: 9 }) },
      others: { small: randomFeatures(6, 2), same: randomFeatures(6, 4, { seed: 5 }) },
      features: { text: randomFeatures(6, 5) },
      linalg,
    });
    expect(Object.entries(floors).map(([name, { shape }]) => `${name}: ${shape[1]}`)).toEqual([
      "random: 4",
      "text: 5",
      "seed 1: 4",
      "small: 4",
      "same: 4",
    ]);
    await expect(
      floorFeatures({ activations: model, untrained: { a: randomFeatures(6, 3) } }),
    ).rejects.toThrow("expected 4 units in the untrained a, got 3");
    await expect(
      floorFeatures({ activations: model, features: { a: randomFeatures(5, 3) } }),
    ).rejects.toThrow(ShapeError);
    await expect(
      floorFeatures({ activations: model, features: { random: randomFeatures(6, 3) } }),
    ).rejects.toThrow(ArgumentError);
  });
});
