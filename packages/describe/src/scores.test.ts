/** The scores of a rule by hand, and against naive counting; right, too broad and wrong descriptions of one unit. */
import { createRng } from "@penfield/core";
import { pearson } from "@penfield/stats";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { RuleText } from "./rules/ruleText.ts";
import {
  fitOf,
  makePanel,
  medianFit,
  resampleDocuments,
  ruleTrial,
  type ScoreSetting,
  scoreRule,
  scoreWindows,
} from "./scores.ts";

/** Documents of 32 tokens, so that each is one stretch; every fifth is for choosing, the others for scoring. */
const rng = createRng(11);
const words = [" cat", " dog", " bird", " the", " a", " of", " sat", " ran"];
const documents = Array.from({ length: 60 }, () =>
  // Every other document speaks of animals.
  Array.from(
    { length: 32 },
    (_, i) => words[i % 2 === 0 && rng.uniform() < 0.1 ? rng.below(3) : 3 + rng.below(5)]!,
  ),
);
const text = new RuleText(documents);
const splitOf = Uint8Array.from(documents, (_, d) => (d % 5 === 0 ? 1 : 2));
const tokensOf = (part: number) =>
  Int32Array.from(text.documentOf.keys()).filter((i) => splitOf[text.documentOf[i]!] === part);
const [select, score] = [tokensOf(1), tokensOf(2)];
const setting = (values: readonly Float32Array[]): ScoreSetting => ({
  ...{ text, select, score, seed: 3 },
  resampling: resampleDocuments(splitOf, 3),
  windows: scoreWindows(text, splitOf),
  panel: makePanel(
    values.map((_, unit) => unit),
    values,
    score,
  ),
});
const maskOf = (...list: readonly string[]) =>
  Uint8Array.from(text.tokens, (token) => Number(list.includes(token.trim())));
const scoresOf = (values: Float32Array, mask: Uint8Array, panel: readonly Float32Array[] = []) => {
  const own = setting(panel);
  const active = Uint8Array.from(values, (value) => Number(value > 0));
  return scoreRule(0, mask, ruleTrial(0, values, active, own), own);
};

/** Active on "cat" and nowhere else. */
const cat = Float32Array.from(text.tokens, (token) => (token === " cat" ? 2 : 0));

describe("a unit of one word (after Huang et al. 2023)", () => {
  test("the right description: everything 1, and nothing to hold against it", () => {
    const right = scoresOf(cat, maskOf("cat"));
    expect(right).toMatchObject({ precision: 1, recall: 1, f1: 1, fuzzingAuroc: 1 });
    expect([right.falsePositives, right.falseNegatives]).toEqual([[], []]);
    for (const value of [right.r, right.rLow, right.rHigh, right.r2])
      expect(value).toBeCloseTo(1, 12);
    expect(right.detectionAuroc).toBe(1);
  });

  test("too broad: recall 1, precision the share of cats among animals", () => {
    const broad = scoresOf(cat, maskOf("cat", "dog", "bird"));
    const animals = Array.from(score).filter((i) =>
      [" cat", " dog", " bird"].includes(text.tokens[i]!),
    );
    const cats = animals.filter((i) => text.tokens[i] === " cat");
    expect(broad.recall).toBe(1);
    expect(broad.precision).toBeCloseTo(cats.length / animals.length, 12);
    expect(broad.f1).toBeCloseTo((2 * cats.length) / (animals.length + cats.length), 12);
    expect(broad.precision).toBeLessThan(0.6);
    for (const { document, position } of broad.falsePositives) {
      expect([" dog", " bird"]).toContain(documents[document]![position]);
    }
    expect(broad.falsePositives.length).toBe(5);
    expect(broad.falseNegatives).toEqual([]);
  });

  test("too narrow: precision 1, recall the share that it holds; the strongest that it leaves out come first", () => {
    const animal = Float32Array.from(text.tokens, (token) =>
      token === " cat" ? 2 : token === " dog" ? 3 : token === " bird" ? 1 : 0,
    );
    const narrow = scoresOf(animal, maskOf("cat"));
    expect(narrow.precision).toBe(1);
    expect(narrow.recall).toBeLessThan(0.6);
    for (const { document, position } of narrow.falseNegatives) {
      expect(documents[document]![position]).toBe(" dog");
    }
  });

  test("wrong: precision and recall 0, areas at or below one half", () => {
    const wrong = scoresOf(cat, maskOf("dog"));
    expect(wrong).toMatchObject({ precision: 0, recall: 0, f1: 0 });
    expect(wrong.r).toBeLessThan(0);
    expect(wrong.fuzzingAuroc).toBeLessThanOrEqual(0.5);
  });
});

describe("against naive counting", () => {
  const bytes = fc.array(fc.nat(3), { minLength: text.nTokens, maxLength: text.nTokens });
  test("r, precision, recall, r2, rank: any values, any rule", () => {
    fc.assert(
      fc.property(bytes, bytes, (a, b) => {
        const values = Float32Array.from(
          a,
          (value, i) => (value + (b[i] === 0 ? 1 : 0)) * 0.5 - 0.5,
        );
        const mask = Uint8Array.from(b, (value) => Number(value === 0));
        const others = [cat, values.map((value) => -value), values.slice()];
        const found = scoresOf(values, mask, [values, ...others]);
        const [x, m] = [Array.from(score, (i) => values[i]!), Array.from(score, (i) => mask[i]!)];
        expect(found.r).toBeCloseTo(pearson(x, m), 9);
        const both = x.filter((value, i) => value > 0 && m[i] === 1).length;
        expect(found.precision).toBeCloseTo(both / m.filter(Boolean).length, 12);
        expect(found.recall).toBeCloseTo(both / x.filter((value) => value > 0).length, 12);
        const level = (bit: number) => {
          const own = Array.from(select).filter((i) => mask[i] === bit);
          return own.reduce((sum, i) => sum + values[i]! / own.length, 0);
        };
        const mean = x.reduce((sum, value) => sum + value / x.length, 0);
        const error = x.reduce((sum, value, i) => sum + (value - level(m[i]!)) ** 2, 0);
        const spread = x.reduce((sum, value) => sum + (value - mean) ** 2, 0);
        expect(found.r2).toBeCloseTo(1 - error / spread, 6);
        expect(found.rLow <= found.r + 0.02 && found.r - 0.02 <= found.rHigh).toBe(true);
        // A copy of the unit goes as well with the rule: the unit is not told from it.
        expect(found.nCompared).toBe(3);
        expect(found.specificityRank).toBeGreaterThanOrEqual(2);
      }),
      { numRuns: 10 },
    );
  });

  test("detection and fuzzing: shares of pairs in the right order, ties one half", () => {
    const values = Float32Array.from(text.tokens, (token, i) =>
      token === " cat" && i % 3 > 0 ? 1 : 0,
    );
    const active = Uint8Array.from(values);
    const own = setting([]);
    const trial = ruleTrial(0, values, active, own);
    const mask = maskOf("cat", "ran");
    const fit = fitOf(mask, trial);
    const area = (on: readonly number[], off: readonly number[]) => {
      let sum = 0;
      for (const a of on) for (const b of off) sum += a > b ? 1 : a === b ? 0.5 : 0;
      return sum / (on.length * off.length);
    };
    const holds = ({ from, to }: { from: number; to: number }) =>
      Number(mask.subarray(from, to).includes(1));
    expect(fit.detectionAuroc).toBeCloseTo(area(trial.on.map(holds), trial.off.map(holds)), 12);
    const places = (label: number) => trial.places.filter((_, i) => trial.labels[i] === label);
    const bits = (label: number) => places(label).map((i) => mask[i]!);
    expect(fit.fuzzingAuroc).toBeCloseTo(area(bits(1), bits(0)), 12);
    expect(places(1).length).toBe(places(0).length);
    expect(places(1).every((i) => active[i] === 1) && places(0).every((i) => active[i] === 0)).toBe(
      true,
    );
    // Stretches are of the score documents; half of the silent ones have the unit's own word in them, as far as there are such.
    const cats = ({ from, to }: { from: number; to: number }) =>
      text.tokens.slice(from, to).includes(" cat");
    for (const { from } of [...trial.on, ...trial.off])
      expect(splitOf[text.documentOf[from]!]).toBe(2);
    const hard = own.windows.filter(
      ([from, to]) => !active.subarray(from, to).includes(1) && cats({ from, to }),
    );
    expect(trial.off.filter(cats).length).toBe(Math.min(25, hard.length));
    expect(hard.length).toBeGreaterThan(0);
  });
});

describe("where there is nothing to score", () => {
  test("constant values and rules that hold everywhere, or nowhere: 0, never NaN", () => {
    const still = new Float32Array(text.nTokens).fill(2);
    for (const [values, mask] of [
      [still, maskOf("cat")],
      [cat, new Uint8Array(text.nTokens)],
      [cat, new Uint8Array(text.nTokens).fill(1)],
    ] as const) {
      const found = scoresOf(values, mask, [cat, still]);
      expect([found.r, found.rLow, found.rHigh]).toEqual([0, 0, 0]);
      for (const value of Object.values(found)) expect(Number.isNaN(value)).toBe(false);
    }
    // Active all over, there is no silent stretch; silent, no active one.
    expect(scoresOf(still, maskOf("cat")).detectionAuroc).toBeUndefined();
    const silent = scoresOf(new Float32Array(text.nTokens), maskOf("cat"));
    expect(silent).toMatchObject({
      recall: 0,
      fuzzingAuroc: undefined,
      specificityRank: undefined,
    });
  });

  test("the middle of several fits, score by score", () => {
    const fit = (r: number, fuzzingAuroc?: number) => ({
      ...{ r, precision: r, recall: 1 - r, f1: 0, detectionAuroc: undefined, fuzzingAuroc },
    });
    expect(medianFit([])).toBeUndefined();
    expect(medianFit([fit(0.1, 0.5), fit(0.9), fit(0.3, 0.7)])).toEqual({
      ...{ r: 0.3, precision: 0.3, recall: 0.7, f1: 0 },
      ...{ detectionAuroc: undefined, fuzzingAuroc: 0.7 },
    });
  });
});
