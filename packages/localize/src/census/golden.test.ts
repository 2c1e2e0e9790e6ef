import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { matrix } from "@penfield/linalg";
import { expect, test } from "vitest";
import { classifyUnits } from "./classify.ts";
import { addMoments, momentsOf } from "./moments.ts";
import { adjustedRandIndex, modularity } from "./partition.ts";
import { plantedSource } from "./planted.ts";
import { positionalInformation } from "./positional.ts";
import { addToSketch, SKETCH_BUCKETS, SKETCH_ERROR, sketchQuantile } from "./quantileSketch.ts";
import { dormancy, hoyerSparseness } from "./sparseness.ts";
import { takeCensus } from "./takeCensus.ts";
import { compareUnits, type UnitBlock } from "./universality.ts";

interface Golden {
  readonly moments: readonly {
    readonly values: readonly number[];
    readonly mean: number;
    readonly variance: number;
    readonly skewness: number;
    readonly kurtosis: number;
    readonly quantiles: readonly number[];
    readonly hoyer: number;
  }[];
  readonly quantileLevels: readonly number[];
  readonly positional: {
    readonly nTokens: readonly number[];
    readonly nActive: readonly number[];
    readonly information: number;
    readonly bias: number;
  };
  readonly partition: {
    readonly weights: readonly number[];
    readonly a: readonly number[];
    readonly b: readonly number[];
    readonly modularity: number;
    readonly adjustedRand: number;
  };
  readonly dormancy: {
    readonly meanAbs: readonly number[];
    readonly scores: readonly number[];
    readonly ratio: number;
  };
  readonly universality: {
    /** `[12, 90]` and `[15, 90]` */
    readonly x: readonly number[];
    readonly y: readonly number[];
    readonly correlation: readonly number[];
    readonly match: readonly number[];
    readonly rosetta: readonly (readonly [a: number, b: number])[];
  };
  readonly family: {
    readonly inside: readonly number[];
    readonly values: readonly number[];
    readonly varianceReduction: number;
  };
}

const golden = JSON.parse(
  readFileSync(new URL("../../../../test/golden/census.json", import.meta.url), "utf8"),
) as Golden;

test.each(golden.moments.map((own, i) => [i, own] as const))(
  "moments of unit %i in pieces, as scipy's of all values",
  (_, own) => {
    const one = () => new Float64Array(1);
    const sums = { mean: one(), m2: one(), m3: one(), m4: one() };
    const values = Float32Array.from(own.values);
    for (let from = 0; from < values.length; from += 37) {
      const part = values.subarray(from, from + 37);
      addMoments(sums, 0, from, part, part.reduce((a, b) => a + b, 0) / part.length);
    }
    const found = momentsOf(sums, 0, values.length);
    // About the mean, so that 1000 added to every value costs three digits of 16, not six.
    for (const name of ["mean", "variance", "skewness", "kurtosis"] as const) {
      expect(Math.abs(found[name] / own[name] - 1)).toBeLessThan(1e-9);
    }
  },
);

test.each(golden.moments.map((own, i) => [i, own] as const))(
  "quantiles of unit %i within the sketch's error of numpy's order statistics; its sparseness",
  (_, { values: list, quantiles, hoyer }) => {
    const values = Float32Array.from(list);
    const counts = new Uint32Array(SKETCH_BUCKETS);
    addToSketch(values, new Uint32Array(values.buffer), counts);
    const [min, max] = [Math.min(...values), Math.max(...values)];
    golden.quantileLevels.forEach((level, i) => {
      const error = Math.abs(sketchQuantile(counts, level, min, max) - quantiles[i]!);
      const allowed = SKETCH_ERROR.relative * Math.abs(quantiles[i]!) + SKETCH_ERROR.absolute;
      expect(error, `level ${level}`).toBeLessThanOrEqual(allowed);
    });
    // 1000 added leaves 1e-6 of sparseness: the difference of two numbers that agree in six digits.
    expect(hoyerSparseness(values)).toBeCloseTo(hoyer, 9);
  },
);

test("positional information as scikit-learn's mutual information, its bias by scipy's binomial", () => {
  const { nActive, nTokens, information, bias } = golden.positional;
  const found = positionalInformation(nActive, nTokens);
  expect(found.information).toBeCloseTo(information, 12);
  expect(found.bias).toBeCloseTo(bias, 9);
});

test("modularity as networkx', agreement of partings as scikit-learn's", () => {
  const { weights, a, b, modularity: q, adjustedRand } = golden.partition;
  const square = matrix(Float64Array.from(weights), a.length, a.length);
  expect(modularity(square, a)).toBeCloseTo(q, 12);
  expect(adjustedRandIndex(a, b)).toBeCloseTo(adjustedRand, 12);
});

test("dormancy as numpy's", () => {
  const { meanAbs, scores, ratio } = golden.dormancy;
  const found = dormancy(meanAbs);
  found.scores.forEach((score, i) => {
    expect(score).toBeCloseTo(scores[i]!, 12);
  });
  expect(found.ratio).toBeCloseTo(ratio, 12);
});

test("best correlations and mutual matches of two models as numpy's, however units fall into layers", async () => {
  const { x, y, correlation, match, rosetta } = golden.universality;
  const block = (values: readonly number[], from: number, to: number): UnitBlock => ({
    name: `${from}`,
    nUnits: to - from,
    nTokens: 90,
    read: async () => Float32Array.from(values.slice(90 * from, 90 * to)),
  });
  for (const [a, b] of [
    [[block(x, 0, 12)], [block(y, 0, 15)]],
    [
      [block(x, 0, 5), block(x, 5, 12)],
      [block(y, 0, 3), block(y, 3, 14), block(y, 14, 15)],
    ],
  ] as const) {
    const found = await compareUnits(a, b);
    // Products of float32 over 90 tokens.
    found.correlation.forEach((r, i) => {
      expect(Math.abs(r - correlation[i]!)).toBeLessThan(2e-6);
    });
    expect(Array.from(found.match)).toEqual(match);
    expect(found.rosetta.map((pair) => [pair.a, pair.b])).toEqual(rosetta);
  }
});

test("the variance that a class of tokens takes away, as 1 - (p1 Var1 + p0 Var0) / Var by numpy", async () => {
  const folder = await mkdtemp(join(tmpdir(), "penfield-golden-"));
  const { inside, values, varianceReduction } = golden.family;
  const source = {
    ...plantedSource({ words: [" 7", " the"], units: [] }),
    hooks: [{ name: "h", layer: 0, nUnits: 1 }],
    read: async () => [Float32Array.from(values)],
  };
  const census = await takeCensus(
    source,
    [{ tokens: inside.map((own) => (own ? 0 : 1)) }],
    join(folder, "c"),
  );
  const [{ families } = {}] = await classifyUnits(census);
  const digits = families!.find(({ name, offset }) => name === "digits" && offset === 0)!;
  expect(digits.higher).toBe(true);
  expect(digits.varianceReduction).toBeCloseTo(varianceReduction, 6);
  await census.close();
  await rm(folder, { recursive: true });
});
