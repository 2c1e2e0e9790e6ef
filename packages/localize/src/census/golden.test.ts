import { readFileSync } from "node:fs";
import { matrix } from "@penfield/linalg";
import { expect, test } from "vitest";
import { addMoments, momentsOf } from "./moments.ts";
import { adjustedRandIndex, modularity } from "./partition.ts";
import { positionalInformation } from "./positional.ts";

interface Golden {
  readonly moments: readonly {
    readonly values: readonly number[];
    readonly mean: number;
    readonly variance: number;
    readonly skewness: number;
    readonly kurtosis: number;
  }[];
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
