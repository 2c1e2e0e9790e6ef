import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ArgumentError, createRng, DataError } from "@penfield/core";
import { HookedModel } from "@penfield/hooks";
import {
  modelSource,
  plantedSource,
  takeCensus,
  type WeightStatistics,
  weightStatistics,
} from "@penfield/localize";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeUnits } from "./describeUnits.ts";
import { outputEffect } from "./interventions/outputEffect.ts";
import { scoreOutputSide } from "./outputSide.ts";

const hook = "blocks.0.mlp.hook_post";
/** As interventions/make_planted.py numbers them. */
const [MEDIATOR, COPY, OTHER_CONCEPT] = [0, 1, 2] as const;

let root: string;
let model: HookedModel;
let statistics: WeightStatistics;
const rng = createRng(5);
const contexts = Array.from({ length: 8 }, (_, i) => [
  20 + rng.below(4),
  rng.below(16),
  (i % 2) * 8 + rng.below(8),
]);

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "penfield-output-"));
  const read = (name: string) => readFile(new URL(`interventions/${name}`, import.meta.url));
  model = await HookedModel.fromBytes(await read("planted.onnx"), {
    name: "planted.onnx",
    config: JSON.parse(String(await read("planted.json"))) as Record<string, unknown>,
  });
  [statistics] = (await weightStatistics(model, { nTokens: 1 })) as [WeightStatistics];
});
afterAll(async () => {
  await model.dispose();
  await rm(root, { recursive: true, force: true });
});

/** The statistics with other tokens named for a unit: a wrong reading of its weights. */
const naming = (unit: number, token: number): WeightStatistics => {
  const topTokens = statistics.topTokens.slice();
  topTokens[unit] = token;
  return { ...statistics, topTokens };
};
const score = (unit: number, token: number) =>
  scoreOutputSide(model, {
    ...{ unit, hook, statistics: naming(unit, token), role: "promotes", contexts },
  });

describe("what a unit writes, scored by setting it", () => {
  test("right, wrong and unused-copy units are told apart", async () => {
    expect(statistics.topTokens[MEDIATOR]).toBe(16);
    const right = (await score(MEDIATOR, 16))!;
    expect(right).toMatchObject({ measure: "selectivity", holds: true, nContexts: 8 });
    expect(right.p).toBeCloseTo(1 / 21, 12);
    expect(right.otherTokensP).toBeLessThanOrEqual(0.05);
    expect(right.value).toBeGreaterThan(1);
    expect(Math.abs(right.randomUnits)).toBeLessThan(0.1 * right.value);
    expect(right.otherTokens!).toBeLessThan(0.1 * right.value);
    // The copy is active exactly as the mediator is, and the same tokens are said of it.
    const copy = (await score(COPY, 16))!;
    expect(copy.value).toBeCloseTo(0, 6);
    expect(copy.holds).toBe(false);
    // A unit that writes, but other tokens than is said.
    const wrong = (await score(OTHER_CONCEPT, 16))!;
    expect(wrong.value).toBeLessThan(0.5 * right.value);
    expect(wrong.holds).toBe(false);
    expect((await score(OTHER_CONCEPT, 18))!.holds).toBe(true);
    // The right tokens in the wrong direction.
    expect((await score(MEDIATOR, 17))!).toMatchObject({ holds: false, p: 1 });
  });

  test("suppression counts downwards; entropy by its size; no role, no score", async () => {
    const own = { unit: MEDIATOR, hook, statistics, contexts };
    const lowered = (await scoreOutputSide(model, { ...own, role: "suppresses" }))!;
    expect(statistics.bottomTokens[MEDIATOR]).toBe(17);
    expect(lowered).toMatchObject({ measure: "selectivity", holds: true });
    expect(lowered.value).toBeGreaterThan(1);
    const entropy = (await scoreOutputSide(model, { ...own, role: "entropy-candidate" }))!;
    const { entropyChange, random } = await outputEffect(model, contexts, {
      ...{ hook, unit: MEDIATOR, named: [16] },
    });
    expect(entropy).toMatchObject({ measure: "entropy", otherTokens: undefined });
    expect(entropy.value).toBeCloseTo(Math.abs(entropyChange), 12);
    expect(random.length).toBe(20);
    const copy = (await scoreOutputSide(model, { ...own, unit: COPY, role: "entropy-candidate" }))!;
    expect(copy.value).toBeCloseTo(0, 6);
    expect(copy.holds).toBe(false);
    expect(await scoreOutputSide(model, { ...own, role: undefined })).toBeUndefined();
    await expect(
      scoreOutputSide(model, { ...own, role: "promotes", contexts: [] }),
    ).rejects.toThrow(DataError);
  });

  test("the change of the entropy by hand, from two runs", async () => {
    const [context] = contexts as [number[]];
    const { entropyChange, highest } = await outputEffect(model, [context], {
      ...{ hook, unit: MEDIATOR, named: [16], nRandom: 1 },
    });
    const entropy = async (value: number) => {
      const { logits } = await model.run({
        tokens: [context],
        interventions: [
          {
            hook,
            op: { type: "constant", value },
            units: [MEDIATOR],
            positions: [context.length - 1],
          },
        ],
        head: "lastLogits",
      });
      const weights = Array.from(logits!.data, Math.exp);
      const total = weights.reduce((a, b) => a + b);
      return -weights.reduce((sum, w) => sum + (w / total) * Math.log(w / total), 0);
    };
    expect(entropyChange).toBeCloseTo((await entropy(highest)) - (await entropy(0)), 5);
  });
});

describe("as a step of describeUnits", () => {
  test("units with a sentence get a score in contexts from documents that rules were not made from", async () => {
    const documents = Array.from({ length: 200 }, () => ({
      tokens: Array.from({ length: 8 }, () => rng.below(24)),
    }));
    const census = await takeCensus(modelSource(model), documents, join(root, "census"));
    const options = { units: [MEDIATOR, COPY, OTHER_CONCEPT], nFloorUnits: 1 };
    // With 24 tokens no kurtosis is above 10: the roles are given. Of the copy the same is said as of the unit that it copies.
    const said = naming(COPY, 16);
    const weights = [
      {
        ...said,
        vocabularyKurtosis: said.vocabularyKurtosis.map((_, unit) => (unit < 3 ? 20 : 3)),
        vocabularySkewness: said.vocabularySkewness.map(() => 1),
      },
    ];
    const { units } = await describeUnits(census, { ...options, weights, outputModel: model });
    const plain = await describeUnits(census, { ...options, weights });
    units.forEach(({ r }, i) => {
      expect(plain.units[i]!.output!.score).toBeUndefined();
      expect(plain.units[i]!.r).toBe(r);
    });
    expect(units.map(({ output }) => output!.sentence)).toEqual([
      ...["promotes '#16'", "promotes '#16'", "promotes '#18'"],
    ]);
    expect(units.map(({ output }) => output!.score!.holds)).toEqual([true, false, true]);
    expect(units[0]!.output!.score!.nContexts).toBe(8);

    await expect(describeUnits(census, { ...options, outputModel: model })).rejects.toThrow(
      ArgumentError,
    );
    const other = await takeCensus(
      plantedSource({ words: ["a"], units: [{ name: "a", active: () => true }] }),
      [{ tokens: [0, 0] }],
      join(root, "other"),
    );
    await expect(
      describeUnits(other, { weights, outputModel: model, nFloorUnits: 0 }),
    ).rejects.toThrow(/expected the model of the census, planted, got/);
    await Promise.all([census.close(), other.close()]);
  });
});
