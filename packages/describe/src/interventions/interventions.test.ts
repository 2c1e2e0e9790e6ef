import { readFile } from "node:fs/promises";
import {
  ArgumentError,
  createRng,
  DataError,
  HookPointError,
  InterruptedError,
} from "@penfield/core";
import { HookedModel } from "@penfield/hooks";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Judge } from "../explainers/explainer.ts";
import { type InterchangePair, interchangeIntervention } from "./interchange.ts";
import { matchedUnits } from "./matchedUnits.ts";
import { outputEffect, outputScore } from "./outputEffect.ts";

const hook = "blocks.0.mlp.hook_post";
/** As make_planted.py numbers them. */
const [MEDIATOR, COPY, OTHER_CONCEPT] = [0, 1, 2];

let model: HookedModel;
beforeAll(async () => {
  const read = (name: string) => readFile(new URL(name, import.meta.url));
  model = await HookedModel.fromBytes(await read("planted.onnx"), {
    name: "planted.onnx",
    config: JSON.parse(String(await read("planted.json"))) as Record<string, unknown>,
  });
});
afterAll(() => model.dispose());

/** Bases of concept B and sources of concept A, or the other way round; even and odd tokens in both. */
const pairs: InterchangePair[] = (() => {
  const rng = createRng(5);
  return Array.from({ length: 24 }, (_, i) => {
    const [first, second] = [20 + rng.below(4), rng.below(16)];
    const [a, b] = [rng.below(8), 8 + rng.below(8)];
    return i % 2 === 0
      ? { base: [first, second, b], source: [first, second, a], baseAnswer: 17, sourceAnswer: 16 }
      : { base: [first, second, a], source: [first, second, b], baseAnswer: 16, sourceAnswer: 17 };
  });
})();
/** The same inputs, asked about the other concept. */
const parity = pairs
  .filter(({ base, source }) => base[2]! % 2 !== source[2]! % 2)
  .map(({ base, source }) => ({
    base,
    source,
    baseAnswer: 18 + (base[2]! % 2),
    sourceAnswer: 18 + (source[2]! % 2),
  }));

describe("interchangeIntervention", () => {
  test("the mediator carries the concept; an unused copy and the unit of another concept do not", async () => {
    const [right, copy, wrong] = await Promise.all(
      [MEDIATOR, COPY, OTHER_CONCEPT].map((unit) =>
        interchangeIntervention(model, pairs, { hook, units: [unit!] }),
      ),
    );
    expect(right!.nUsable).toBe(pairs.length);
    expect(right!.effect).toBeGreaterThan(0.9);
    expect(right!.effectLow).toBeGreaterThan(0.8);
    expect(right!.successRate).toBe(1);
    expect(right!.p).toBeCloseTo(1 / 21, 12);
    expect(Math.max(...right!.random.map(({ successRate }) => successRate))).toBeLessThan(0.2);
    // The copy changes exactly as much, and does nothing.
    expect(copy!.change).toBeCloseTo(right!.change, 5);
    expect(copy!.effect).toBeCloseTo(0, 6);
    expect(copy!.successRate).toBe(0);
    expect(copy!.p).toBeGreaterThan(0.05);
    expect(Math.abs(wrong!.effect)).toBeLessThan(0.1);
    expect(wrong!.successRate).toBe(0);
  });

  test("asked about the other concept, it is the other way round", async () => {
    const own = await interchangeIntervention(model, parity, { hook, units: [OTHER_CONCEPT] });
    const first = await interchangeIntervention(model, parity, { hook, units: [MEDIATOR] });
    expect([own.effect > 0.8, own.successRate, first.successRate]).toEqual([true, 1, 0]);
    expect(Math.abs(first.effect)).toBeLessThan(0.2);
  });

  test("the whole hook bounds it, positions choose, several units go together", async () => {
    const both = { hook, units: [COPY, MEDIATOR], nRandom: 3 };
    const last = await interchangeIntervention(model, pairs, { ...both, positions: [-1] });
    expect(last.effect).toBeGreaterThan(0.9);
    expect(last.wholeHook.effect).toBeGreaterThan(last.effect - 0.1);
    expect(last.wholeHook.successRate).toBe(1);
    for (const { units } of last.random) expect(new Set(units).size).toBe(2);
    const before = await interchangeIntervention(model, pairs, { ...both, positions: [0, 1] });
    expect(before.effect).toBeCloseTo(0, 6); // The tokens there are the same.
  });

  test("the effect by hand: from three runs of one pair", async () => {
    const [first, second] = pairs;
    const { effect } = await interchangeIntervention(model, [first!, second!], {
      ...{ hook, units: [MEDIATOR], nRandom: 1, pairsPerRun: 1 },
    });
    let done = 0;
    let all = 0;
    for (const { base, source, baseAnswer, sourceAnswer } of [first!, second!]) {
      const { cache } = await model.run({ tokens: [source], capture: [hook], head: "none" });
      const { data, shape } = cache.get(hook)!;
      const value = (p: number) => data[p * shape[2]! + MEDIATOR!]!;
      const d = async (tokens: readonly number[], exchanged: boolean) => {
        const { logits } = await model.run({
          tokens: [tokens],
          interventions: exchanged
            ? [0, 1, 2].map((p) => ({
                hook,
                op: { type: "constant", value: value(p) } as const,
                ...{ units: [MEDIATOR!], positions: [p] },
              }))
            : [],
          head: "lastLogits",
        });
        return logits!.data[sourceAnswer]! - logits!.data[baseAnswer]!;
      };
      const plain = await d(base, false);
      done += (await d(base, true)) - plain;
      all += (await d(source, false)) - plain;
    }
    expect(effect).toBeCloseTo(done / all, 5);
  });

  test("errors", async () => {
    const options = { hook, units: [0] };
    const one = pairs[0]!;
    const run = (own: readonly InterchangePair[], more: object = {}) =>
      interchangeIntervention(model, own, { ...options, ...more });
    await expect(run([one])).rejects.toThrow(DataError);
    await expect(run([one, { ...one, base: [1] }])).rejects.toThrow(/as many tokens/);
    await expect(run([one, { ...one, baseAnswer: 16 }])).rejects.toThrow(/expected two answers/);
    await expect(run(pairs, { units: [48] })).rejects.toThrow(/units within 0..47, got 48/);
    await expect(run(pairs, { units: [] })).rejects.toThrow(ArgumentError);
    await expect(run(pairs, { positions: [3] })).rejects.toThrow(/positions within -3..2/);
    await expect(run(pairs, { nRandom: 0 })).rejects.toThrow(ArgumentError);
    await expect(run(pairs, { hook: "blocks.7.mlp.hook_post" })).rejects.toThrow(HookPointError);
    const same = pairs.map((pair) => ({ ...pair, source: pair.base }));
    await expect(run(same)).rejects.toThrow(/outputs that differ/);
    const stop = new AbortController();
    stop.abort();
    await expect(run(pairs, { signal: stop.signal })).rejects.toThrow(InterruptedError);
  });
});

describe("outputEffect", () => {
  const contexts = pairs.map(({ base }) => base).slice(0, 8);

  test("what a unit writes: right, wrong and unused-copy units are told apart", async () => {
    const named = [16];
    const [right, copy, wrong] = await Promise.all(
      [MEDIATOR, COPY, OTHER_CONCEPT].map((unit) =>
        outputEffect(model, contexts, { hook, unit: unit!, named }),
      ),
    );
    expect(right!.effect).toBeGreaterThan(1);
    expect(right!.p).toBeCloseTo(1 / 21, 12);
    expect([right!.raises[0], right!.lowers[0]]).toEqual([16, 17]);
    expect(copy).toMatchObject({ highest: expect.closeTo(right!.highest, 5) as number });
    expect(copy!.selectivity).toBeCloseTo(0, 6);
    expect(wrong!.selectivity).toBeLessThan(0.5 * right!.selectivity);
    expect(wrong!.raises[0]).toBe(18);
    const suppressed = await outputEffect(model, contexts, { hook, unit: MEDIATOR!, named: [17] });
    expect(suppressed.effect).toBeLessThan(0);
    expect(suppressed.p).toBe(1);
  });

  test("errors", async () => {
    const options = { hook, unit: 0, named: [16] };
    await expect(outputEffect(model, [], options)).rejects.toThrow(DataError);
    await expect(outputEffect(model, contexts, { ...options, named: [] })).rejects.toThrow(
      ArgumentError,
    );
    await expect(outputEffect(model, contexts, { ...options, named: [24] })).rejects.toThrow(
      /named tokens within 0..23, got 24/,
    );
    await expect(outputEffect(model, contexts, { ...options, unit: -1 })).rejects.toThrow(
      ArgumentError,
    );
  });
});

describe("outputScore", () => {
  const judge: Judge = {
    name: "literal",
    prompts: {},
    classify: (text, contexts, options) => {
      expect(options?.question).toBe("output");
      return Promise.resolve(
        contexts.map(({ tokens: [token] }) =>
          token === "?" ? Number.NaN : Number(text.includes(token!.trim())),
        ),
      );
    },
  };

  test("the right text, another unit's, and answers that fail", async () => {
    const tokens = { promoted: [" cats", " dogs"], others: [" iron", " gold"] };
    const text = "promotes cats, dogs";
    expect(await outputScore(judge, text, tokens, { otherText: "promotes iron, gold" })).toEqual({
      ...{ auroc: 1, otherTextAuroc: 0, coverage: 1 },
    });
    const half = await outputScore(judge, text, { ...tokens, promoted: [" cats", "?"] });
    expect(half).toEqual({ auroc: 1, otherTextAuroc: undefined, coverage: 0.75 });
    await expect(outputScore(judge, text, { promoted: [], others: ["a"] })).rejects.toThrow(
      DataError,
    );
  });
});

describe("matchedUnits", () => {
  test("random units are the nearest in size, others than those in question, and each once", () => {
    const sizes = Float64Array.from({ length: 100 }, (_, i) => i);
    const drawn = matchedUnits([50], sizes, 5, createRng(1)).flat();
    expect(new Set(drawn).size).toBe(5);
    for (const unit of drawn) expect(unit !== 50 && Math.abs(unit - 50) <= 8).toBe(true);
    for (const set of matchedUnits([10, 90], sizes, 4, createRng(1))) {
      expect(set.map((unit) => unit < 50)).toEqual([true, false]);
    }
    expect(matchedUnits([0], [1, 1, 1], 9, createRng(1)).flat().sort()).toEqual([1, 2]);
    expect(() => matchedUnits([0], [1], 3, createRng(1))).toThrow(DataError);
  });
});
