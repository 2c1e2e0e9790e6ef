import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ArgumentError, DataError, FileError, InterruptedError } from "@penfield/core";
import {
  type Census,
  classifyUnits,
  type PlantedUnit,
  plantedSource,
  takeCensus,
  topicLabels,
} from "@penfield/localize";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Descriptions, describeUnits } from "./describeUnits.ts";
import { partOfSpeechLabels } from "./labels.ts";
import type { Rule } from "./rules/rule.ts";
import { runRule } from "./rules/ruleText.ts";
import { keptDocuments } from "./splits.ts";
import {
  plantedAdjectives,
  plantedAnimals,
  plantedDocuments,
  plantedTopics,
  plantedWords,
} from "./testSetting.ts";

const is = (words: readonly string[]) => {
  const set = new Set(words);
  return (word: string | undefined) => word !== undefined && set.has(word.trim());
};
const about = (topic: string) => {
  const own = is(plantedTopics[topic]!);
  return (words: readonly string[]) => words.filter(own).length >= 2;
};

/** What is planted, and whether a rule says it. */
const planted: readonly (PlantedUnit & { says: (rule: Rule | undefined) => boolean })[] = [
  ...["bread", "bank", "old"].map((word) => ({
    name: `token ${word}`,
    active: (w: readonly string[], p: number) => is([word])(w[p]),
    says: (rule: Rule | undefined) =>
      rule?.type === "word" && rule.offset === 0 && rule.words.join() === word,
  })),
  {
    name: "tokens",
    active: (w, p) => is(["judge", "boat", "quickly"])(w[p]),
    says: (rule) => rule?.type === "word" && [...rule.words].sort().join() === "boat,judge,quickly",
  },
  ...["old", "near", "a"].map((word) => ({
    name: `after ${word}`,
    active: (w: readonly string[], p: number) => is([word])(w[p - 1]),
    says: (rule: Rule | undefined) =>
      rule?.type === "word" && rule.offset === -1 && rule.words.join() === word,
  })),
  ...(
    [
      ["the", "old"],
      ["watched", "the"],
      ["noticed", "a"],
    ] as const
  ).map(([first, second]) => ({
    name: `bigram ${first} ${second}`,
    active: (w: readonly string[], p: number) =>
      is([first])(w[p - 1]?.toLowerCase()) && is([second])(w[p]),
    says: (rule: Rule | undefined) =>
      (rule?.type === "ngram" && rule.ngrams.some((n) => n.join() === `${first},${second}`)) ||
      (rule?.type === "and" &&
        rule.rules.some((part) => part.type === "word" && part.offset === 0) &&
        rule.rules.some((part) => part.type === "word" && part.offset === -1)),
  })),
  ...(
    [
      [0, 4],
      [6, 12],
      [15, 25],
    ] as const
  ).map(([from, to]) => ({
    name: `position ${from} to ${to}`,
    active: (_: readonly string[], p: number) => p >= from && p < to,
    says: (rule: Rule | undefined) =>
      rule?.type === "position" && Math.abs(rule.from - from) + Math.abs(rule.to - to) <= 1,
  })),
  {
    name: "period",
    active: (_, p) => p % 5 === 2,
    says: (rule) => rule?.type === "period" && rule.period === 5 && rule.phase === 2,
  },
  {
    name: "adjectives",
    active: (w, p) => is(plantedAdjectives)(w[p]),
    says: (rule) => rule?.type === "partOfSpeech" && rule.tag === "ADJ" && rule.offset === 0,
  },
  {
    name: "after an adjective",
    active: (w, p) => is(plantedAdjectives)(w[p - 1]),
    says: (rule) => rule?.type === "partOfSpeech" && rule.tag === "ADJ" && rule.offset === -1,
  },
  {
    name: "animals",
    active: (w, p) => is([...plantedAnimals, "whale"])(w[p]),
    says: (rule) =>
      // The first senses of tiger and whale in WordNet are persons: those may be added as words.
      [rule, ...(rule?.type === "or" ? rule.rules : [])].some(
        (part) => part?.type === "lexicographer" && part.name === "noun.animal",
      ),
  },
  ...["sea", "law", "kitchen"].map((topic) => ({
    name: `topic ${topic}`,
    active: (w: readonly string[]) => about(topic)(w),
    says: (rule: Rule | undefined) =>
      rule?.type === "topic" &&
      rule.words.filter(is(plantedTopics[topic]!)).length > 0.8 * rule.words.length,
  })),
  {
    name: "'bank' and the sea",
    active: (w, p) => is(["bank", "road"])(w[p]) && about("sea")(w),
    says: (rule) =>
      rule?.type === "and" &&
      rule.rules.some(({ type }) => type === "word") &&
      rule.rules.some(({ type }) => type === "topic"),
  },
  {
    name: "adjectives early",
    active: (w, p) => is(plantedAdjectives)(w[p]) && p < 12,
    says: (rule) =>
      rule?.type === "and" &&
      rule.rules.some(({ type }) => type === "partOfSpeech") &&
      rule.rules.some(({ type }) => type === "position"),
  },
  {
    name: "adjectives, not at the beginning",
    active: (w, p) => is(plantedAdjectives)(w[p]) && !is(["The"])(w[p - 1]),
    says: (rule) =>
      rule?.type === "and" &&
      rule.rules.some(({ type }) => type === "partOfSpeech") &&
      rule.rules.some(({ type }) => type === "not" || type === "word" || type === "partOfSpeech"),
  },
  {
    name: "'the', not in law",
    active: (w, p) => is(["the"])(w[p]) && !about("law")(w),
    says: (rule) =>
      rule?.type === "and" &&
      rule.rules.some(({ type }) => type === "word") &&
      rule.rules.some((part) => (part.type === "not" ? part.rule : part).type === "topic"),
  },
  {
    name: "'house', or early",
    active: (w, p) => is(["house"])(w[p]) || p < 3,
    says: (rule) => rule?.type === "or" && rule.rules.some(({ type }) => type === "position"),
  },
  { name: "dead", active: { noise: 0 }, says: (rule) => rule === undefined },
];
const noise: PlantedUnit[] = [0.002, 0.01, 0.05, 0.2, 0.5, 0.9].map((share) => ({
  name: `noise ${share}`,
  active: { noise: share },
}));

let root: string;
let census: Census;
let found: Descriptions;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "penfield-describe-"));
  const source = plantedSource({ words: plantedWords, units: [...planted, ...noise], seed: 3 });
  census = await takeCensus(source, plantedDocuments(360, 1), join(root, "census"));
  found = await describeUnits(census, { nFloorUnits: 6 });
}, 60_000);
afterAll(async () => {
  await census.close();
  await rm(root, { recursive: true, force: true });
});

describe("planted units", () => {
  test("at least 95 in 100 get a rule of the planted kind, and are described", () => {
    const wrong = planted.flatMap(({ name, says }, i) => {
      const { rule, r, refusal } = found.units[i]!;
      const described = name === "dead" || refusal === undefined;
      return says(rule) && described ? [] : [{ name, r, refusal, rule: JSON.stringify(rule) }];
    });
    expect(wrong.length, JSON.stringify(wrong, undefined, 1)).toBeLessThanOrEqual(
      0.05 * planted.length,
    );
  });

  test("noise is refused, all of it; so are the dead and the constant, with a reason", () => {
    for (const { sentence, refusal } of found.units.slice(planted.length)) {
      expect(sentence).toBe("no reliable description");
      expect(refusal).toMatch(/correlation|condition|floor|too few/);
    }
    expect(found.units[planted.length - 1]).toMatchObject({ r: 0, scores: undefined });
    expect(found.units[planted.length - 1]!.refusal).toMatch(/^dead/);
    expect(found.floors.shuffled.shareDescribed).toBe(0);
  });

  test("scores: high where the rule is right, and specific", () => {
    const scored = found.units.slice(0, 4).map(({ scores }) => scores!);
    for (const { r, rLow, rHigh, f1, detectionAuroc, fuzzingAuroc, specificityRank } of scored) {
      expect(rLow <= r && r <= rHigh).toBe(true);
      expect(f1).toBeGreaterThan(0.7);
      expect(detectionAuroc).toBeGreaterThan(0.8);
      expect(fuzzingAuroc).toBeGreaterThan(0.8);
      expect(specificityRank).toBe(1);
    }
  });

  test("counterexamples are what they are called", async () => {
    const { documents, ids } = await keptDocuments(census);
    expect(ids.length).toBe(documents.length);
    const values = await census.values(1);
    const starts: number[] = [0];
    for (const document of documents) starts.push(starts.at(-1)! + document.length);
    const { scores, rule } = found.units[1]!;
    const at = ({ document, position }: { document: number; position: number }) => {
      const words = Array.from(documents[document]!, (token) => plantedWords[token]!);
      return [runRule(rule!, words)[position], values[starts[document]! + position]! > 0];
    };
    for (const place of scores!.falsePositives) expect(at(place)).toEqual([1, false]);
    for (const place of scores!.falseNegatives) expect(at(place)).toEqual([0, true]);
    expect(scores!.falsePositives.length).toBeGreaterThan(0);
  });

  test("the same again, from a folder that a stop has cut", async () => {
    const units = [0, 5, 25, 26];
    const folder = join(root, "descriptions");
    const whole = await describeUnits(census, { units, nFloorUnits: 1, folder });
    const first = await readFile(join(folder, "descriptions.jsonl"), "utf8");
    const rules = await readFile(join(folder, "rules.jsonl"), "utf8");
    const lines = rules.split("\n");
    await writeFile(
      join(folder, "rules.jsonl"),
      `${lines.slice(0, 3).join("\n")}\n{"unit": 25, "ru`,
    );
    const again = await describeUnits(census, { units, nFloorUnits: 1, folder });
    expect(again).toEqual(whole);
    expect(await readFile(join(folder, "descriptions.jsonl"), "utf8")).toBe(first);
    expect(await readFile(join(folder, "rules.jsonl"), "utf8")).toBe(rules);
    expect(whole.units.map(({ r }) => r).slice(0, 2)).toEqual([0, 5].map((u) => found.units[u]!.r));
    const other = describeUnits(census, { units, folder, objective: "pmi" });
    await expect(other).rejects.toThrow(FileError);
  });

  test("objective pmi finds the plain ones too", async () => {
    const units = [0, 4, 14, 17];
    const { units: own } = await describeUnits(census, { units, objective: "pmi", nFloorUnits: 0 });
    const wrong = own.filter(({ rule }, i) => !planted[units[i]!]!.says(rule));
    expect(wrong.map((unit) => JSON.stringify(unit))).toEqual([]);
  });

  test("objective auroc finds rules that are right where they hold, and may hold on a part only", async () => {
    const units = [3, 4, 14, 17];
    const { units: own } = await describeUnits(census, {
      units,
      objective: "auroc",
      nFloorUnits: 0,
    });
    for (const { scores } of own) expect(scores!.precision).toBeGreaterThan(0.9);
    expect(Math.min(...own.map(({ scores }) => scores!.recall))).toBeLessThan(0.7);
  });

  test("a unit that never varies scores 0, and says why", async () => {
    const source = {
      ...plantedSource({ words: plantedWords, units: [] }),
      hooks: [{ name: "still", layer: 0, nUnits: 2 }],
      read: (rows: readonly (readonly number[])[]) =>
        Promise.resolve([Float32Array.from(rows.flat().flatMap(() => [2, -1]))]),
    };
    const still = await takeCensus(source, plantedDocuments(8, 2), join(root, "still"));
    const { units } = await describeUnits(still, { nFloorUnits: 2 });
    expect(units.map(({ r, scores, refusal }) => [r, scores, refusal])).toEqual([
      [0, undefined, "constant: its value does not vary"],
      [0, undefined, "dead: never active on the kept documents"],
    ]);
    await still.close();
  });

  test("types by labels from outside: parts of speech and topics", async () => {
    const topics = plantedDocuments(360, 1).map(({ tokens }) => {
      const words = tokens.map((token) => plantedWords[token]!);
      return Object.keys(plantedTopics).find((topic) => about(topic)(words));
    });
    const labels = [
      await partOfSpeechLabels(census),
      await topicLabels(census, (id) => topics[Number(id)]),
    ];
    const numberOf = (name: string) => planted.findIndex((unit) => unit.name === name);
    const wanted = {
      // Of a frequent word: a rare one's false answers alone are more than 5 %.
      "token old": "token-detector",
      "after near": "previous-token-detector",
      "bigram the old": "bigram-detector",
      adjectives: "part-of-speech",
      "topic sea": "topic",
      "topic law": "topic",
      "position 6 to 12": "positional",
      dead: "dead",
    };
    const units = Object.keys(wanted).map(numberOf);
    const classes = await classifyUnits(census, { units, labels });
    // Units of the first words of sentences are positional too: what counts is that the planted type is among theirs.
    const missing = Object.entries(wanted).filter(
      ([, type], i) => !classes[i]!.types.includes(type as never),
    );
    expect(missing).toEqual([]);
  });

  test("floors are of the described units' hooks alone", async () => {
    const source = plantedSource({ words: plantedWords, units: planted.slice(0, 2) });
    const two = {
      ...source,
      hooks: [...source.hooks, { name: "silent", layer: 1, nUnits: 40 }],
      read: async (rows: readonly (readonly number[])[]) => [
        ...(await source.read(rows)),
        new Float32Array(40 * rows.flat().length),
      ],
    };
    const documents = plantedDocuments(60, 2);
    const taken = await takeCensus(two, documents, join(root, "two-hooks"));
    const { floors } = await describeUnits(taken, { units: [0], randomModel: taken });
    expect([floors.shuffled.nUnits, floors.randomModel!.nUnits]).toEqual([2, 2]);
    const plain = await takeCensus(source, documents, join(root, "one-hook"));
    await expect(describeUnits(taken, { units: [5], randomModel: plain })).rejects.toThrow(
      "describeUnits: expected a random model's census with silent, got planted",
    );
    await Promise.all([taken.close(), plain.close()]);
  });

  test("errors", async () => {
    await expect(describeUnits(census, { objective: "x" as never })).rejects.toThrow(ArgumentError);
    const stop = new AbortController();
    stop.abort();
    await expect(describeUnits(census, { signal: stop.signal })).rejects.toThrow(InterruptedError);
    const empty = await takeCensus(
      plantedSource({ words: plantedWords, units: planted.slice(0, 1) }),
      plantedDocuments(3, 2),
      join(root, "empty"),
      { keepShare: 0 },
    );
    await expect(describeUnits(empty)).rejects.toThrow(/expected a census with kept values/);
    await expect(describeUnits(census, { randomModel: empty })).rejects.toThrow(DataError);
    await empty.close();
  });
});
