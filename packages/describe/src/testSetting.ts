import { createRng } from "@penfield/core";
import type { PlantedUnit } from "@penfield/localize";
import type { Rule } from "./rules/rule.ts";

// Words that an English tagger takes for what they are.
export const plantedTopics: Readonly<Record<string, readonly string[]>> = {
  sea: [
    "boat",
    "sailor",
    "harbour",
    "wave",
    "anchor",
    "island",
    "captain",
    "whale",
    "shore",
    "mast",
  ],
  kitchen: [
    "bread",
    "oven",
    "butter",
    "cook",
    "soup",
    "onion",
    "plate",
    "flour",
    "spoon",
    "cheese",
  ],
  law: [
    "judge",
    "court",
    "lawyer",
    "crime",
    "prison",
    "witness",
    "trial",
    "verdict",
    "thief",
    "jury",
  ],
  music: [
    "violin",
    "piano",
    "singer",
    "song",
    "drum",
    "concert",
    "flute",
    "guitar",
    "choir",
    "trumpet",
  ],
};
const plantedAnimals: readonly string[] = [
  "dog",
  "horse",
  "rabbit",
  "lion",
  "eagle",
  "goat",
  "tiger",
  "sheep",
];
const plain = ["house", "street", "window", "letter", "table", "garden", "bank", "road"];
const plantedAdjectives: readonly string[] = [
  "old",
  "quiet",
  "small",
  "heavy",
  "strange",
  "young",
  "bright",
  "cold",
];
const verbs = [
  "watched",
  "carried",
  "found",
  "followed",
  "visited",
  "remembered",
  "painted",
  "noticed",
];
const adverbs = ["slowly", "often", "quickly", "rarely"];

export const plantedWords: readonly string[] = [
  ...["The", " the", " a", " near", " with", " and", " ."],
  ...[
    ...Object.values(plantedTopics).flat(),
    ...plantedAnimals,
    ...plain,
    ...plantedAdjectives,
    ...verbs,
    ...adverbs,
  ].map((word) => ` ${word}`),
];

/** Documents of some sentences each, every one about a topic: tokens are whole words of `plantedWords`. */
export function plantedDocuments(n: number, seed: number): { tokens: number[] }[] {
  const rng = createRng(seed);
  const numbers = new Map(plantedWords.map((word, i) => [word, i]));
  const one = (list: readonly string[]) => list[rng.below(list.length)]!;
  const names = Object.keys(plantedTopics);
  return Array.from({ length: n }, () => {
    const topic = plantedTopics[one(names)]!;
    const noun = () => (rng.uniform() < 0.6 ? one(topic) : one([...plantedAnimals, ...plain]));
    const described = () => (rng.uniform() < 0.5 ? [one(plantedAdjectives), noun()] : [noun()]);
    const words: string[] = [];
    const nSentences = 3 + rng.below(4);
    for (let s = 0; s < nSentences; s++) {
      words.push("The", ...described(), ...(rng.uniform() < 0.3 ? [one(adverbs)] : []), one(verbs));
      words.push(rng.uniform() < 0.7 ? "the" : "a", ...described());
      if (rng.uniform() < 0.5) words.push(one(["near", "with", "and"]), "the", ...described());
      words.push(".");
    }
    return { tokens: words.map((word) => numbers.get(word === "The" ? word : ` ${word}`)!) };
  });
}

const is = (words: readonly string[]) => {
  const set = new Set(words);
  return (word: string | undefined) => word !== undefined && set.has(word.trim());
};
/** Whether words are about a topic. */
export const plantedAbout = (topic: string): ((words: readonly string[]) => boolean) => {
  const own = is(plantedTopics[topic]!);
  return (words: readonly string[]) => words.filter(own).length >= 2;
};

/** What is planted, and whether a rule says it. */
export const plantedUnits: readonly (PlantedUnit & {
  says: (rule: Rule | undefined) => boolean;
})[] = [
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
    active: (w: readonly string[]) => plantedAbout(topic)(w),
    says: (rule: Rule | undefined) =>
      rule?.type === "topic" &&
      rule.words.filter(is(plantedTopics[topic]!)).length > 0.8 * rule.words.length,
  })),
  {
    name: "'bank' and the sea",
    active: (w, p) => is(["bank", "road"])(w[p]) && plantedAbout("sea")(w),
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
    active: (w, p) => is(["the"])(w[p]) && !plantedAbout("law")(w),
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
/** Units that answer to nothing, more and less often. */
export const plantedNoise: readonly PlantedUnit[] = [0.002, 0.01, 0.05, 0.2, 0.5, 0.9].map(
  (share) => ({
    name: `noise ${share}`,
    active: { noise: share },
  }),
);
