import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createRng, DataError, InterruptedError, ModelError, TokenizerError } from "@penfield/core";
import {
  createTokenizer,
  HookedModel,
  type Intervention,
  type TextTokenizer,
  wordLevelTokenizer,
} from "@penfield/hooks";
import type { ContinuationTask, MinimalPairTask, SuiteTask, TextTask } from "@penfield/recordings";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createScorer } from "./index.ts";

const bytes = readFileSync(
  fileURLToPath(new URL("../../../test/fixtures/gpt2/model.onnx", import.meta.url)),
);
const config = JSON.parse(
  readFileSync(
    fileURLToPath(new URL("../../../test/fixtures/gpt2/config.json", import.meta.url)),
    "utf8",
  ),
);
const words = ["the", "dog", "dogs", "sees", "see", "a", "cat", "who", ",", "."];
const vocabulary = ["<s>", "<unk>", ...words];
const wordLevel = createTokenizer(wordLevelTokenizer(vocabulary, "<unk>"), { bos_token: "<s>" });
/** One token per letter; a space is the letter Ġ, as in GPT-2's vocabulary. */
const letters = [..."abcdefghijklmnopqrstuvwxyz,.Ġ"];
const letterLevel = createTokenizer(
  {
    version: "1.0",
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true },
    post_processor: null,
    decoder: { type: "ByteLevel" },
    model: {
      type: "BPE",
      vocab: Object.fromEntries(letters.map((letter, id) => [letter, id])),
      merges: [],
    },
  },
  {},
);

const open = (tokenizer?: TextTokenizer): Promise<HookedModel> =>
  HookedModel.fromBytes(bytes, {
    config,
    verify: "none",
    threads: 1,
    ...(tokenizer ? { tokenizer } : {}),
  });
let model: HookedModel;
beforeAll(async () => {
  model = await open(wordLevel);
});
afterAll(() => model.dispose());

/** Log-probability of each token of a text from the scores of a run of its own, in float64. */
async function naive(
  of: HookedModel,
  ids: readonly number[],
  interventions: readonly Intervention[] = [],
): Promise<number[]> {
  const { logits } = await of.run({ tokens: [ids], interventions });
  const vocab = logits!.shape[2]!;
  return ids.map((id, pos) => {
    if (pos === 0) return 0;
    const scores = Array.from(logits!.data.subarray((pos - 1) * vocab, pos * vocab));
    const max = Math.max(...scores);
    const total = max + Math.log(scores.reduce((sum, s) => sum + Math.exp(s - max), 0));
    return scores[id]! - total;
  });
}
const total = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
const rng = createRng(3);
const sentence = (n: number): string =>
  Array.from({ length: n }, () => words[rng.below(words.length)]!).join(" ");

const pairs: MinimalPairTask = {
  kind: "minimal-pairs",
  id: "pairs",
  title: "Pairs",
  items: Array.from({ length: 24 }, (_, i) => ({
    id: `p${i}`,
    good: sentence(2 + rng.below(6)),
    bad: sentence(2 + rng.below(6)),
    group: i % 2 ? "odd" : "even",
  })),
};

describe("minimal pairs", () => {
  test.each([
    ["sum", true],
    ["mean", true],
    ["sum", false],
    ["mean", false],
  ] as const)(
    "%s of log-probabilities, beginning-of-text token: %s",
    async (scoring, prependBos) => {
      const lesion: Intervention = {
        hook: "blocks.0.hook_mlp_out",
        op: { type: "zero" },
        units: [0, 3, 4],
      };
      const scorer = createScorer(model, [pairs], { scoring, prependBos, batchTokens: 40 });
      for (const interventions of [[], [lesion]]) {
        const [outcome] = await scorer.score(interventions);
        let compared = 0;
        for (const [i, item] of pairs.items.entries()) {
          const values = await Promise.all(
            [item.good, item.bad].map(async (text) => {
              const ids = wordLevel.encode(text, { prependBos });
              const sum = total(await naive(model, ids, interventions));
              return scoring === "sum" ? sum : sum / (ids.length - 1);
            }),
          );
          const difference = values[0]! - values[1]!;
          if (Math.abs(difference) < 1e-4) continue;
          compared++;
          expect(outcome!.values[i], item.id).toBe(difference > 0 ? 1 : 0);
        }
        expect(compared).toBeGreaterThan(20);
      }
    },
  );

  test("equal sentences are undecided, and a text that items share is run once", async () => {
    const item = { id: "same", good: "the dog sees", bad: "the dog sees", group: "g" };
    const other = { id: "other", good: "the dog sees", bad: "the dogs sees", group: "h" };
    const scorer = createScorer(model, [{ ...pairs, items: [item, other] }]);
    expect([scorer.nTexts, scorer.nTokens]).toEqual([2, 8]);
    const [outcome] = await scorer.score([]);
    expect(outcome!.values[0]).toBe(0.5);
    expect(scorer.tasks[0]).toEqual({
      id: "pairs",
      title: "Pairs",
      metric: "accuracy",
      higherIsBetter: true,
      chance: 0.5,
      groups: ["g", "h"],
      itemIds: ["same", "other"],
    });
  });
});

describe("continuations", () => {
  const task: ContinuationTask = {
    kind: "continuation",
    id: "next",
    title: "What comes next",
    items: Array.from({ length: 16 }, (_, i) => ({
      id: `c${i}`,
      prompt: sentence(3),
      good: ` ${sentence(1 + (i % 3))}`,
      bad: ` ${sentence(1 + (i % 2))}`,
    })),
  };

  test.each(["sum", "mean"] as const)(
    "%s over what follows the common beginning",
    async (scoring) => {
      const [outcome] = await createScorer(model, [task], { scoring }).score([]);
      let compared = 0;
      for (const [i, { prompt, good, bad }] of task.items.entries()) {
        const ids = [good, bad].map((end) => wordLevel.encode(prompt + end, { prependBos: true }));
        let same = 0;
        while (ids[0]![same] !== undefined && ids[0]![same] === ids[1]![same]) same++;
        const [a, b] = await Promise.all(
          ids.map(async (row) => {
            const ends = (await naive(model, row)).slice(same);
            return scoring === "sum" ? total(ends) : total(ends) / Math.max(1, ends.length);
          }),
        );
        if (Math.abs(a! - b!) < 1e-4) continue;
        compared++;
        expect(outcome!.values[i]).toBe(a! > b! ? 1 : 0);
      }
      expect(compared).toBeGreaterThan(12);
    },
  );

  test("texts that differ from the first token on: that token has no probability to be counted", async () => {
    const items = Array.from({ length: 12 }, (_, i) => ({
      id: `f${i}`,
      prompt: "",
      good: `the ${sentence(1)}`,
      bad: `a ${sentence(3)}`,
    }));
    const options = { scoring: "mean", prependBos: false } as const;
    const [outcome] = await createScorer(model, [{ ...task, items }], options).score([]);
    for (const [i, { good, bad }] of items.entries()) {
      const means = await Promise.all(
        [good, bad].map(async (text) => {
          const ids = wordLevel.encode(text, { prependBos: false });
          return total(await naive(model, ids)) / (ids.length - 1);
        }),
      );
      expect(outcome!.values[i]).toBe(means[0]! > means[1]! ? 1 : 0);
    }
  });
});

describe("running text", () => {
  test("loss is the mean surprisal of its tokens in nats", async () => {
    const task: TextTask = {
      kind: "text",
      id: "prose",
      title: "Prose",
      passages: [5, 12, 1, 20].map((n, i) => ({ id: `t${i}`, text: sentence(n) })),
    };
    const scorer = createScorer(model, [task], { batchTokens: 30 });
    const [outcome] = await scorer.score([]);
    expect(outcome!.metric).toBe("loss");
    expect(scorer.tasks[0]).toMatchObject({ higherIsBetter: false, chance: undefined });
    let worst = 0;
    for (const [i, { text }] of task.passages.entries()) {
      const ids = wordLevel.encode(text, { prependBos: true });
      const loss = -total(await naive(model, ids)) / (ids.length - 1);
      worst = Math.max(worst, Math.abs(loss - outcome!.values[i]!));
    }
    // Sums of float32 log-probabilities against float64 ones.
    expect(worst).toBeLessThan(1e-5);
  });
});

describe("suites", () => {
  /** A suite with one prediction: region r of condition a is less surprising than that of b. */
  const suite = (region: number, items: readonly (readonly [string[], string[]])[]): SuiteTask => ({
    kind: "syntaxgym",
    id: `region ${region + 1}`,
    title: "Suite",
    predictions: [`(${region + 1};%a%) < (${region + 1};%b%)`],
    items: items.map(([a, b], i) => ({
      id: String(i + 1),
      conditions: [
        { name: "a", regions: a },
        { name: "b", regions: b },
      ],
    })),
  });

  async function expectNaive(
    of: HookedModel,
    items: readonly (readonly [string[], string[]])[],
    nRegions: number,
    tokensOf: (regions: readonly string[]) => { ids: number[]; regionOf: number[] },
    prependBos: boolean,
  ): Promise<void> {
    const suites = Array.from({ length: nRegions }, (_, r) => suite(r, items));
    const outcomes = await createScorer(of, suites, { prependBos }).score([]);
    let compared = 0;
    for (const [i, conditions] of items.entries()) {
      const sums = await Promise.all(
        conditions.map(async (regions) => {
          const { ids, regionOf } = tokensOf(regions);
          const surprisals = new Array<number>(nRegions).fill(0);
          (await naive(of, ids)).forEach((logProb, token) => {
            if (regionOf[token]! >= 0) surprisals[regionOf[token]!]! -= logProb / Math.LN2;
          });
          return surprisals;
        }),
      );
      for (let r = 0; r < nRegions; r++) {
        if (Math.abs(sums[0]![r]! - sums[1]![r]!) < 1e-2) continue;
        compared++;
        expect(outcomes[r]!.values[i], `item ${i} region ${r}`).toBe(
          sums[0]![r]! < sums[1]![r]! ? 1 : 0,
        );
      }
    }
    expect(compared).toBeGreaterThan((items.length * nRegions) / 3);
  }

  test.each([true, false])(
    "words: regions of several, of none, and punctuation; BOS: %s",
    async (bos) => {
      const region = (n: number): string => (n === 0 ? "" : sentence(n));
      const items = Array.from({ length: 10 }, (_, i) => {
        const condition = (): string[] => [
          region(2),
          region(i % 3),
          ",",
          region(1),
          region(0),
          "a",
          ".",
        ];
        return [condition(), condition()] as const;
      });
      const tokensOf = (regions: readonly string[]) => {
        const split = regions.map((r) => r.split(" ").filter(Boolean));
        const ids = split.flat().map((word) => vocabulary.indexOf(word));
        const regionOf = split.flatMap((list, r) => list.map(() => r));
        return bos ? { ids: [0, ...ids], regionOf: [-1, ...regionOf] } : { ids, regionOf };
      };
      await expectNaive(model, items, 7, tokensOf, bos);
    },
  );

  test("letters: a space belongs to the word after it", async () => {
    const other = await open(letterLevel);
    const word = (): string =>
      Array.from({ length: 1 + rng.below(4) }, () => letters[rng.below(26)]!).join("");
    const items = Array.from({ length: 10 }, () => {
      const condition = (): string[] => [word(), ",", word(), "x", "."];
      return [condition(), condition()] as const;
    });
    const tokensOf = (regions: readonly string[]) => {
      const split = regions.map((r, i) => [...(i === 0 ? r : `Ġ${r}`)]);
      return {
        ids: split.flat().map((letter) => letters.indexOf(letter)),
        regionOf: split.flatMap((list, r) => list.map(() => r)),
      };
    };
    await expectNaive(other, items, 5, tokensOf, false);
    await other.dispose();
  });

  test("several predictions must hold together", async () => {
    const task = suite(0, [[["the dog"], ["a cat"]]]);
    const both = { ...task, predictions: [...task.predictions, "(1;%b%) < (1;%a%)"] };
    const scorer = createScorer(model, [both]);
    expect(scorer.tasks[0]!.chance).toBe(0.25);
    expect([...(await scorer.score([]))[0]!.values]).toEqual([0]);
  });
});

describe("what cannot be scored", () => {
  test("a text longer than the model's context, or empty, is named", () => {
    const item = (good: string) => ({ id: "much too long", good, bad: "the dog", group: "g" });
    const make = (good: string) => () => createScorer(model, [{ ...pairs, items: [item(good)] }]);
    expect(make(sentence(40))).toThrow(DataError);
    expect(make(sentence(40))).toThrow(/expected 1 to 32 tokens, got 41 in item much too long/);
    const bare = () =>
      createScorer(model, [{ ...pairs, items: [item("")] }], { prependBos: false });
    expect(bare).toThrow(/got 0 in item/);
  });

  test("a model without a tokenizer, and an interruption", async () => {
    const bare = await open();
    expect(() => createScorer(bare, [pairs])).toThrow(TokenizerError);
    await bare.dispose();
    const interrupted = createScorer(model, [pairs]).score([], { signal: AbortSignal.abort() });
    await expect(interrupted).rejects.toThrow(InterruptedError);
  });

  test("an output that is no number is an error, not an undecided item", async () => {
    const scorer = createScorer(model, [pairs]);
    const lesion: Intervention = {
      hook: "blocks.1.hook_resid_post",
      op: { type: "constant", value: Number.POSITIVE_INFINITY },
    };
    await expect(scorer.score([lesion])).rejects.toThrow(ModelError);
    await expect(scorer.score([lesion])).rejects.toThrow(/got NaN for "/);
  });

  test("progress counts texts up to their number", async () => {
    const seen: number[] = [];
    const scorer = createScorer(model, [pairs], { batchTokens: 30 });
    await scorer.score([], { onProgress: ({ done }) => seen.push(done) });
    expect(seen.at(-1)).toBe(scorer.nTexts);
    expect([...seen].sort((a, b) => a - b)).toEqual(seen);
    expect(seen.length).toBeGreaterThan(3);
  });
});
