import { readFileSync } from "node:fs";
import { FormatError } from "@penfield/core";
import { areaUnderRoc } from "@penfield/stats";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { outputSides } from "../outputSide.ts";
import { splitDocuments } from "../splits.ts";
import { objectives } from "./objectives.ts";
import { literalCount, parseRule, type Rule, ruleSentence } from "./rule.ts";
import { createLexicon, RuleText, runRule } from "./ruleText.ts";

const lexicon = createLexicon();
const sentence = [
  "The",
  " old",
  " dogs",
  " foll",
  "owed",
  " the",
  " cat",
  " .",
  " The",
  " cat",
  " ran",
];
const on = (rule: Rule) => new RuleText([sentence], lexicon).mask(rule).join("");

describe("rules run", () => {
  test.each<[Rule, string]>([
    [{ type: "word", offset: 0, words: ["the"] }, "10000100100"],
    [{ type: "word", offset: -1, words: ["the"] }, "01000010010"],
    [{ type: "word", offset: -3, words: ["the"] }, "00010000100"],
    [
      {
        type: "ngram",
        ngrams: [
          ["the", "cat"],
          ["foll", "owed"],
        ],
      },
      "00001010010",
    ],
    [{ type: "family", offset: 0, family: "capitalized" }, "10000000100"],
    [{ type: "family", offset: -1, family: "articles" }, "01000010010"],
    [{ type: "position", from: 2, to: 4 }, "00110000000"],
    [{ type: "period", period: 4, phase: 1 }, "01000100010"],
    [{ type: "topic", words: ["cat", "ran", "zebra"], atLeast: 2 }, "11111111111"],
    [{ type: "topic", words: ["cat", "zebra"], atLeast: 2 }, "00000000000"],
    [{ type: "partOfSpeech", offset: 0, tag: "NOUN" }, "00100010010"],
    // Both pieces of a word have the word's tag.
    [{ type: "partOfSpeech", offset: 0, tag: "VERB" }, "00011000001"],
    [{ type: "partOfSpeech", offset: -1, tag: "ADJ" }, "00100000000"],
    [{ type: "lexicographer", name: "noun.animal" }, "00100010010"],
    [{ type: "repeat" }, "00000000010"],
    [{ type: "not", rule: { type: "position", from: 0, to: 9 } }, "00000000011"],
    [
      { type: "and", rules: [{ type: "word", offset: 0, words: ["cat"] }, { type: "repeat" }] },
      "00000000010",
    ],
    [
      {
        type: "or",
        rules: [
          { type: "position", from: 0, to: 1 },
          { type: "word", offset: 0, words: ["."] },
        ],
      },
      "10000001000",
    ],
  ])("%j", (rule, expected) => {
    expect(on(rule)).toBe(expected);
    expect(parseRule(JSON.parse(JSON.stringify(rule)))).toEqual(rule);
  });

  test("no document looks into the one before", () => {
    const text = new RuleText(
      [
        [" a", " b"],
        [" c", " b"],
      ],
      lexicon,
    );
    expect(text.mask({ type: "word", offset: -1, words: ["b"] }).join("")).toBe("0000");
    expect(text.mask({ type: "ngram", ngrams: [["b", "c"]] }).join("")).toBe("0000");
    expect(text.mask({ type: "repeat" }).join("")).toBe("0000");
  });

  test("kinds of things: dogs and cats are both carnivores, by WordNet", () => {
    const carnivore = lexicon.wordNet
      .hypernyms(lexicon.wordNet.firstSense("dog", "noun")!.synset)
      .find((synset) => lexicon.wordNet.nameOf(synset) === "carnivore")!;
    expect(on({ type: "hypernym", synset: carnivore, word: "carnivore" })).toBe("00100010010");
  });

  test("what is no rule is refused", () => {
    for (const wrong of [
      {},
      { type: "word" },
      { type: "family", offset: 0, family: "x" },
      { type: "and", rules: [] },
    ]) {
      expect(() => parseRule(wrong)).toThrow(FormatError);
    }
  });
});

describe("any rule", () => {
  const word = fc.constantFrom("the", "cat", "old", "ran", "zebra", ".");
  const words = fc.uniqueArray(word, { minLength: 1, maxLength: 3 });
  const literal = fc.oneof<fc.Arbitrary<Rule>[]>(
    fc.record({ type: fc.constant("word" as const), offset: fc.constantFrom(0, -1, -3), words }),
    fc.record({
      type: fc.constant("ngram" as const),
      ngrams: fc.array(words, { minLength: 1, maxLength: 2 }),
    }),
    fc.record({ type: fc.constant("topic" as const), words, atLeast: fc.constantFrom(1, 2) }),
    fc.record({
      type: fc.constant("position" as const),
      from: fc.nat(5),
      to: fc.integer({ min: 1, max: 12 }),
    }),
    fc.record({
      type: fc.constant("period" as const),
      period: fc.constantFrom(2, 3),
      phase: fc.nat(1),
    }),
    fc.constant({ type: "family", offset: -1, family: "articles" } as const),
    fc.constant({ type: "partOfSpeech", offset: 0, tag: "NOUN" } as const),
    fc.constant({ type: "repeat" } as const),
  );
  const rule = fc.letrec<{ rule: Rule }>((tie) => ({
    rule: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      literal,
      fc.record({ type: fc.constant("not" as const), rule: tie("rule") }),
      fc.record({
        type: fc.constantFrom("and" as const, "or" as const),
        rules: fc.array(tie("rule"), { minLength: 2, maxLength: 3 }),
      }),
    ),
  })).rule;
  const text = new RuleText([sentence, [" the", " cat"]], lexicon);
  const holds = (own: Rule) => Array.from(text.mask(own));

  test("and, or, not are those of logic; a rule survives its file, and is said in words", () => {
    fc.assert(
      fc.property(rule, rule, (a, b) => {
        const [x, y] = [holds(a), holds(b)];
        expect(holds({ type: "and", rules: [a, b] })).toEqual(x.map((bit, i) => bit & y[i]!));
        expect(holds({ type: "or", rules: [a, b] })).toEqual(x.map((bit, i) => bit | y[i]!));
        expect(holds({ type: "not", rule: a })).toEqual(x.map((bit) => 1 - bit));
        expect(holds({ type: "not", rule: { type: "and", rules: [a, b] } })).toEqual(
          holds({
            type: "or",
            rules: [
              { type: "not", rule: a },
              { type: "not", rule: b },
            ],
          }),
        );
        expect(parseRule(JSON.parse(JSON.stringify(a)))).toEqual(a);
        expect(ruleSentence(a)).toMatch(/^active \S/);
        expect(literalCount({ type: "and", rules: [a, b] })).toBe(
          literalCount(a) + literalCount(b),
        );
        // What one document is asked does not depend on the one before it.
        expect(x.slice(sentence.length)).toEqual(
          Array.from(new RuleText([[" the", " cat"]], lexicon).mask(a)),
        );
      }),
      { numRuns: 60 },
    );
  });

  test("nested without end: refused, not followed", () => {
    let deep: unknown = { type: "repeat" };
    for (let i = 0; i < 100_000; i++) deep = { type: "not", rule: deep };
    expect(() => parseRule(deep)).toThrow(FormatError);
    expect(() => parseRule({ type: "and", rules: [deep, deep] })).toThrow(/at most 20 levels/);
  });
});

test("sentences", () => {
  const bank: Rule = { type: "word", offset: 0, words: ["bank", "shore"] };
  const sea: Rule = { type: "topic", words: ["sea"], atLeast: 1 };
  expect(ruleSentence(bank)).toBe("active on 'bank' or 'shore'");
  expect(ruleSentence({ type: "and", rules: [bank, { type: "not", rule: sea }] })).toBe(
    "active on 'bank' or 'shore', but not in documents with 'sea'",
  );
  expect(
    ruleSentence({ type: "or", rules: [{ type: "and", rules: [bank, sea] }, { type: "repeat" }] }),
  ).toBe(
    "active (on 'bank' or 'shore', and in documents with 'sea'), or on tokens that stood in the document before",
  );
  expect(ruleSentence({ type: "not", rule: sea })).toBe(
    "active everywhere but in documents with 'sea'",
  );
  expect(ruleSentence({ type: "ngram", ngrams: [["1", ""]] })).toBe("active at the end of '1 ␣'");
  expect(ruleSentence({ type: "word", offset: -2, words: ["a\nb"] })).toBe(
    "active two tokens after 'a\\nb'",
  );
  expect(literalCount({ type: "not", rule: { type: "or", rules: [bank, sea] } })).toBe(2);
});

describe("objectives by hand", () => {
  const values = Float32Array.of(3, 1, 0, 0);
  const active = Uint8Array.of(1, 1, 0, 0);
  const tokens = Int32Array.of(0, 1, 2, 3);
  const mask = Uint8Array.of(1, 0, 0, 0);

  test("correlation: (3 - 1/3) sqrt(3) / (4 sd), sd = sqrt(10/4 - 1)", () => {
    const r = objectives.correlation(values, active, tokens);
    expect(r(mask)).toBeCloseTo(((8 / 3) * Math.sqrt(3)) / (4 * Math.sqrt(1.5)), 12);
    // A constant on either side holds nothing: 0, not NaN.
    expect(r(Uint8Array.of(1, 1, 1, 1))).toBe(0);
    expect(objectives.correlation(new Float32Array(4).fill(2), active, tokens)(mask)).toBe(0);
  });

  test("pmi: log p(rule | active) - 0.2 log p(rule), half a token added", () => {
    expect(objectives.pmi(values, active, tokens)(mask)).toBeCloseTo(
      Math.log(1.5 / 3) - 0.2 * Math.log(1.5 / 5),
      12,
    );
  });

  test("pmi prefers what is particular to a unit over what holds of everything, as MILAN 'striped dog' over 'image'", () => {
    // 200 tokens, 20 active: "image" holds on all, "animal" on 60 with all the active ones, "striped dog" on 22 with 18 of them.
    const all = Int32Array.from({ length: 200 }, (_, i) => i);
    const onDog = Uint8Array.from(all, (i) => Number(i < 20));
    const pmi = objectives.pmi(Float32Array.from(onDog), onDog, all);
    const image = pmi(new Uint8Array(200).fill(1));
    const animal = pmi(Uint8Array.from(all, (i) => Number(i < 60)));
    const stripedDog = pmi(Uint8Array.from(all, (i) => Number(i < 18 || (i >= 20 && i < 24))));
    expect(image).toBeLessThan(animal);
    expect(animal).toBeLessThan(stripedDog);
    expect(stripedDog).toBeCloseTo(Math.log(18.5 / 21) - 0.2 * Math.log(22.5 / 201), 12);
    // By how often it is said of active tokens alone, the plainest would win.
    expect(Math.log(20.5 / 21)).toBeGreaterThan(Math.log(18.5 / 21));
  });

  test("auroc: ties count half; more than half of the tokens is no concept", () => {
    const measure = objectives.auroc(values, active, tokens);
    expect(measure(mask)).toBeCloseTo(0.5, 12);
    expect(measure(Uint8Array.of(0, 0, 1, 0))).toBeCloseTo(0.5 / 3 - 0.5, 12);
    expect(measure(Uint8Array.of(1, 1, 1, 0))).toBe(Number.NEGATIVE_INFINITY);
    expect(areaUnderRoc([1, 1, 1], [1, 0, 1])).toBe(0.5);
  });
});

test("areas under the curve as scikit-learn's, with ties", () => {
  const { auroc } = JSON.parse(
    readFileSync(new URL("../../../../test/golden/census.json", import.meta.url), "utf8"),
  ) as { auroc: { scores: number[]; labels: number[]; auroc: number } };
  expect(areaUnderRoc(auroc.scores, auroc.labels)).toBeCloseTo(auroc.auroc, 12);
});

test("splits: every document in one part, equal ones and groups together, shares as promised", () => {
  fc.assert(
    fc.property(
      fc.array(fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 4 }), {
        minLength: 1,
        maxLength: 30,
      }),
      (documents) => {
        const groups = documents.map((_, i) => (i % 3 === 0 ? "one" : undefined));
        const { splitOf, explain, select, score } = splitDocuments(documents, groups);
        const all = [...explain, ...select, ...score].sort((a, b) => a - b);
        expect(all).toEqual(documents.flat().map((_, i) => i));
        const parts = new Map<string, number>();
        documents.forEach((document, i) => {
          const name = groups[i] ?? document.join();
          expect(parts.get(name) ?? splitOf[i]).toBe(splitOf[i]);
          parts.set(name, splitOf[i]!);
        });
      },
    ),
  );
  const many = splitDocuments(Array.from({ length: 3000 }, (_, i) => [i]));
  expect(many.explain.length / 3000).toBeCloseTo(0.4, 1);
  expect(many.select.length / 3000).toBeCloseTo(0.2, 1);
});

test("output side: roles with their tokens", () => {
  const column = (...values: number[]) => Float64Array.from(values);
  const words = [" walking", " talking", " seeing", " the", " a"];
  const [first, second, third] = outputSides(
    {
      ...{
        layer: 0,
        nLayers: 6,
        nUnits: 3,
        nTokens: 3,
        inNorm: column(1, 1, 1),
        outNorm: column(1, 1, 1),
      },
      ...{ cosInOut: column(0, 0, 0), vocabularyVariance: column(1, 1, 1) },
      ...{ vocabularySkewness: column(2, -2, 0), vocabularyKurtosis: column(20, 20, 3) },
      topTokens: Int32Array.of(0, 1, 2, 0, 1, 2, 0, 3, 4),
      topScores: new Float32Array(9),
      bottomTokens: Int32Array.of(3, 4, 0, 3, 0, 4, 1, 2, 3),
      bottomScores: new Float32Array(9),
    },
    6,
    (token) => words[token]!,
  );
  expect(first).toMatchObject({ role: "promotes", family: "leading-space" });
  expect(second).toMatchObject({ role: "suppresses", lowers: [" the", " walking", " a"] });
  expect(third).toMatchObject({ role: undefined, sentence: undefined });
});

test("a rule runs on new text", () => {
  expect(runRule({ type: "repeat" }, ["a", "b", "a"]).join("")).toBe("001");
});

test("rules on parts of speech run any number of times, each with a lexicon of its own", () => {
  const rule: Rule = { type: "partOfSpeech", offset: 0, tag: "NOUN" };
  for (let i = 0; i < 25; i++) expect(runRule(rule, ["The", " dog"]).join("")).toBe("01");
});
