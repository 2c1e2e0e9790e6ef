import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  ArgumentError,
  createRng,
  DataError,
  InterruptedError,
  readNpy,
  ShapeError,
  tensor,
} from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { afterAll, describe, expect, test } from "vitest";
import { sklearnShuffleSplits } from "../folds.ts";
import { brainScore, brainScoreRecipes, internalConsistency } from "./brainScore.ts";

const golden = fileURLToPath(
  new URL("../../../../../shared/golden/encoding/brainscore/", import.meta.url),
);
const linalg = createLinalg();
afterAll(() => linalg.dispose());

const normals = (n: number, p: number, seed: number) => {
  const rng = createRng(seed);
  return Float64Array.from({ length: n * p }, () => rng.normal());
};

test.skipIf(!existsSync(golden))(
  "the reference's scores, ../shared/golden (skipped when absent)",
  async () => {
    const read = (name: string) => {
      const { data, shape } = readNpy(readFileSync(`${golden}${name}.npy`));
      return { data: Float64Array.from(data as ArrayLike<number | bigint>, Number), shape };
    };
    const [x, y, fold] = [read("X"), read("Y"), read("fold")];
    const units = tensor(x.data, ["stimulus", "unit"], [x.shape[0]!, x.shape[1]!]);
    const targets = tensor(y.data, ["stimulus", "target"], [y.shape[0]!, y.shape[1]!]);
    const linear = await brainScore(units, targets, { recipe: "pereira2018-shuffled", linalg });
    expect(linear.raw).toBeCloseTo(0.35301122663719864, 10);
    read("r_linear").data.forEach((r, i) => {
      expect(linear.perSplit.data[i]).toBeCloseTo(r, 10);
    });
    const rows = Int32Array.from(fold.data.keys());
    const folds = [0, 1, 2, 3, 4].map((f) => ({
      train: rows.filter((i) => fold.data[i] !== f),
      test: rows.filter((i) => fold.data[i] === f),
    }));
    const ridge = await brainScore(units, targets, {
      recipe: "pereira2018-grouped",
      folds,
      linalg,
    });
    expect(ridge.raw).toBeCloseTo(0.3706369123540406, 10);
    expect(ridge.score).toBe(ridge.raw);
  },
);

describe("brainScore on autocorrelated stimuli", () => {
  // 16 stories of 12 sentences; each neuroid has a level per story and follows two units of the model.
  const n = 192;
  const story = Array.from({ length: n }, (_, i) => `story${Math.floor(i / 12)}`);
  const levels = normals(16, 20, 1);
  const model = normals(n, 6, 2);
  const mix = normals(6, 20, 3);
  const noise = normals(n, 20, 4);
  const y = (level: number, signal: number) =>
    tensor(
      noise.map((v, i) => {
        const [row, t] = [Math.floor(i / 20), i % 20];
        let value = 0.5 * v + level * levels[Math.floor(row / 12) * 20 + t]!;
        for (let u = 0; u < 6; u++) value += signal * model[row * 6 + u]! * mix[u * 20 + t]!;
        return value;
      }),
      ["stimulus", "target"],
      [n, 20],
    );
  // Smooth bumps over time: nothing but where in the list a sentence stands.
  const time = tensor(
    Float64Array.from({ length: n * 24 }, (_, i) =>
      Math.exp(-((Math.floor(i / 24) - 8 * (i % 24)) ** 2) / 60),
    ),
    ["stimulus", "unit"],
    [n, 24],
  );

  test("random splits reward a model of time alone, stories do not", async () => {
    const shuffled = await brainScore(time, y(1, 0), { recipe: "pereira2018-shuffled", linalg });
    const grouped = await brainScore(time, y(1, 0), {
      recipe: "pereira2018-grouped",
      groups: story,
      linalg,
    });
    expect(shuffled.raw).toBeGreaterThan(0.6);
    expect(shuffled.warning).toContain("inflates");
    expect(grouped.raw).toBeLessThan(0.2);
    expect(grouped.warning).toBeUndefined();
    expect(grouped.perSplit.shape).toEqual([10, 20]);
  });

  test("the true model's share of its ceiling is about 1", async () => {
    const x = tensor(model, ["stimulus", "unit"], [n, 6]);
    // Signal variance 6 |mix|^2 over that plus 0.25: the correlation of a perfect model.
    const truth = y(0, 0.2);
    const best: number[] = [];
    for (let t = 0; t < 20; t++) {
      let signal = 0;
      for (let u = 0; u < 6; u++) signal += (0.2 * mix[u * 20 + t]!) ** 2;
      best.push(Math.sqrt(signal / (signal + 0.25)));
    }
    const ceiling = [...best].sort((a, b) => a - b)[10]!;
    const { raw, score } = await brainScore(x, truth, {
      recipe: "fedorenko2016",
      groups: story,
      ceiling,
      linalg,
    });
    expect(Math.abs(raw / ceiling - 1)).toBeLessThan(0.1);
    expect(score).toBeLessThanOrEqual(1);
  });

  test("clips, and refuses what does not fit", async () => {
    const x = tensor(normals(n, 3, 9), ["stimulus", "unit"], [n, 3]);
    const none = await brainScore(x, y(0, 1), {
      recipe: "pereira2018-shuffled",
      ceiling: 0.3,
      linalg,
    });
    expect(none.score).toBe(Math.max(0, none.raw / 0.3));
    await expect(brainScore(x, y(0, 1), { recipe: "pereira2018-grouped" })).rejects.toThrow(
      "expected the story of each of 192 stimuli as groups, got none",
    );
    await expect(brainScore(x, y(0, 1), { recipe: "toString" as never })).rejects.toThrow(
      ArgumentError,
    );
    await expect(
      brainScore(x, y(0, 1), { recipe: "fedorenko2016", groups: story, ceiling: 0 }),
    ).rejects.toThrow(ArgumentError);
    const short = tensor(new Float64Array(3), ["stimulus", "unit"], [1, 3]);
    await expect(brainScore(short, y(0, 1), { recipe: "pereira2018-shuffled" })).rejects.toThrow(
      ShapeError,
    );
    await expect(
      brainScore(x, y(0, 1), {
        recipe: "pereira2018-shuffled",
        signal: AbortSignal.abort(),
        linalg,
      }),
    ).rejects.toThrow(InterruptedError);
    expect(Object.keys(brainScoreRecipes).length).toBe(3);
    expect(sklearnShuffleSplits(n).length).toBe(10);
  });
});

describe("internalConsistency", () => {
  test("is the reliability of the mean of all repeats", () => {
    const signal = normals(4000, 3, 5);
    const noise = normals(8 * 4000, 3, 6);
    const data = noise.map((v, i) => signal[i % 12000]! + 2 * v);
    const { ceiling } = internalConsistency(
      tensor(data, ["repeat", "stimulus", "target"], [8, 4000, 3]),
    );
    // 1 / (1 + 4 / 8).
    expect(Math.abs(ceiling - 2 / 3)).toBeLessThan(0.02);
  });

  test("a constant target has none; refusals", () => {
    const flat = tensor(new Float64Array(24).fill(2), ["repeat", "stimulus", "target"], [4, 6, 1]);
    expect(internalConsistency(flat).ceiling).toBeNaN();
    expect(() =>
      internalConsistency(tensor(new Float64Array(6), ["repeat", "stimulus", "target"], [1, 6, 1])),
    ).toThrow(ShapeError);
    expect(() => internalConsistency(flat, { nSplits: 0 })).toThrow(ArgumentError);
    const holes = { ...flat, data: flat.data.map(() => Number.NaN) };
    expect(() => internalConsistency(holes)).toThrow(DataError);
  });
});
