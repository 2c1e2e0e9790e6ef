import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRng, DataError } from "@penfield/core";
import { type Census, plantedSource, takeCensus } from "@penfield/localize";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Descriptions, describeUnits } from "./describeUnits.ts";
import { partOfSpeechLabels } from "./labels.ts";
import { type Rule, ruleSentence } from "./rules/rule.ts";
import { RuleText, runRule } from "./rules/ruleText.ts";

// Names that a tagger, WordNet and lists of endings all have something to say about.
const symbols = [" #none", " #remember", " #never", " #dog", " #running", " #The", " #the"];
type Active = (words: readonly string[], position: number) => boolean;
const said: Record<string, Active> = {
  "active on '#remember' or '#never'": (w, i) => w[i] === symbols[1] || w[i] === symbols[2],
  "active right after '#dog'": (w, i) => w[i - 1] === " #dog",
  "active at the end of '#dog #running'": (w, i) => w[i] === " #running" && w[i - 1] === " #dog",
  "active in time bins 4 to 6 of a recording": (_, i) => i >= 3 && i < 6,
  "active on '#The'": (w, i) => w[i] === " #The",
  "active two time bins after '#running'": (w, i) => w[i - 2] === " #running",
};

let root: string;
let census: Census;
let found: Descriptions;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "penfield-symbols-"));
  const units = [
    ...Object.entries(said).map(([name, active]) => ({ name, active })),
    ...[0.05, 0.1, 0.2, 0.3].map((noise) => ({ name: `noise ${noise}`, active: { noise } })),
  ];
  const planted = plantedSource({ words: symbols, units, seed: 2 });
  const rng = createRng(6);
  const documents = Array.from({ length: 240 }, () => ({
    tokens: Array.from({ length: 12 }, () => rng.below(symbols.length)),
  }));
  census = await takeCensus({ ...planted, tokens: "symbols" }, documents, join(root, "census"));
  found = await describeUnits(census, { nFloorUnits: 8 });
}, 30_000);
afterAll(async () => {
  await census.close();
  await rm(root, { recursive: true });
});

const parts = (rule: Rule): Rule[] =>
  rule.type === "not"
    ? parts(rule.rule)
    : rule.type === "and" || rule.type === "or"
      ? rule.rules.flatMap(parts)
      : [rule];

describe("a census of symbols", () => {
  test("planted units are named exactly, in time bins and recordings", () => {
    const n = Object.keys(said).length;
    expect(found.units.slice(0, n).map(({ sentence }) => sentence)).toEqual(Object.keys(said));
  });

  test("no rule, refused or not, asks for a language", () => {
    const types = new Set(
      found.units.flatMap(({ rule }) => (rule ? parts(rule) : [])).map(({ type }) => type),
    );
    for (const type of ["family", "partOfSpeech", "lexicographer", "hypernym"] as const) {
      expect(types).not.toContain(type);
    }
    expect(types.size).toBeGreaterThan(2);
  });

  test("noise is refused", () => {
    for (const { refusal } of found.units.slice(Object.keys(said).length)) {
      expect(refusal).toMatch(
        /^held-out correlation below the limit$|^interval reaches below a floor$/,
      );
    }
  });

  test("has no parts of speech", async () => {
    await expect(partOfSpeechLabels(census)).rejects.toThrow(DataError);
  });
});

describe("a text of symbols", () => {
  const documents = Array.from({ length: 20 }, () => [" #never", " #Dog", " #dog", " #dog"]);

  test("proposes nothing that is about a language, and knows capitals", () => {
    const text = new RuleText(documents, undefined, "symbols");
    expect(text.sharedFeatures().map(({ rule }) => rule)).toEqual([{ type: "repeat" }]);
    expect(text.nSpellings).toBe(3);
    const word: Rule = { type: "word", offset: 0, words: ["#dog"] };
    expect(runRule(word, documents[0]!, "symbols").join("")).toBe("0011");
    expect(runRule(word, documents[0]!).join("")).toBe("0111");
  });

  test.each<Rule>([
    { type: "family", offset: 0, family: "ending-er" },
    { type: "partOfSpeech", offset: 0, tag: "NOUN" },
    { type: "lexicographer", name: "noun.animal" },
    { type: "hypernym", synset: 2086723, word: "dog" },
  ])("a rule about a language holds nowhere: %j", (rule) => {
    expect(runRule(rule, documents[0]!, "symbols").join("")).toBe("0000");
  });

  test.each<[Rule, string]>([
    [{ type: "position", from: 2, to: 3 }, "active in time bin 3 of a recording"],
    [{ type: "position", from: 0, to: 3 }, "active in the first 3 time bins of a recording"],
    [{ type: "period", period: 2, phase: 1 }, "active in every 2 time bins, from time bin 2 on"],
    [{ type: "topic", words: ["#a"], atLeast: 1 }, "active in recordings with '#a'"],
    [{ type: "repeat" }, "active in time bins with symbols that stood in the recording before"],
    [{ type: "word", offset: -5, words: ["#a"] }, "active 5 time bins after '#a'"],
    [
      {
        type: "not",
        rule: { type: "and", rules: [{ type: "repeat" }, { type: "position", from: 0, to: 2 }] },
      },
      "active everywhere but in time bins with symbols that stood in the recording before, and in the first 2 time bins of a recording",
    ],
  ])("%j in words", (rule, sentence) => {
    expect(ruleSentence(rule, "symbols")).toBe(sentence);
    expect(ruleSentence(rule)).not.toMatch(/time bin|recording/);
  });
});
