import { createRng } from "@penfield/core";

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
export const plantedAnimals: readonly string[] = [
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
export const plantedAdjectives: readonly string[] = [
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
