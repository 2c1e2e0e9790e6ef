// Makes stimuli.tsv from sentences.txt: each sentence gets one string of twelve non-words of the same
// word lengths, position by position. Run: node corpora/language-localizer/make.mjs [dictionary file]
// Same sentences, same bytes. With a dictionary (one word per line, for example Debian's wamerican) it
// only checks: it ends with an error if a non-word of two letters or more is a word of it.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const read = (name) => readFileSync(join(here, name), "utf8").split("\n").filter(Boolean);
const sentences = read("sentences.txt").map((line) => line.split(" "));
// Words, names and abbreviations that the letter statistics happen to produce.
const blocked = new Set([...read("blocked.txt"), ...sentences.flat()]);

// xorshift32: small, seeded, the same everywhere.
let state = 20261122;
const uniform = () => {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) / 4294967296;
};

// How often each letter follows two others, over the distinct words of the sentences; ^ starts, $ ends.
const follows = new Map();
for (const word of [...new Set(sentences.flat())].sort()) {
  const padded = `^^${word}$`;
  for (let i = 2; i < padded.length; i++) {
    const context = padded.slice(i - 2, i);
    const counts = follows.get(context) ?? new Map();
    counts.set(padded[i], (counts.get(padded[i]) ?? 0) + 1);
    follows.set(context, counts);
  }
}
const draw = (counts) => {
  let left = uniform() * [...counts.values()].reduce((a, b) => a + b, 0);
  for (const [letter, count] of counts) {
    left -= count;
    if (left < 0) return letter;
  }
  return "$";
};
const walk = (length) => {
  let text = "^^";
  while (text.length < length + 3) {
    const letter = draw(follows.get(text.slice(-2)) ?? new Map([["$", 1]]));
    text += letter;
    if (letter === "$") break;
  }
  return text.endsWith("$") ? text.slice(2, -1) : text.slice(2);
};
const pronounceable = (word) =>
  word.length === 1 || (/[aeiouy]/.test(word) && /[bcdfghjklmnpqrstvwxz]/.test(word) &&
    !/[^aeiouy]{4}|[aeiouy]{3}|^(.)\1|(.)\2\2/.test(word));

// Nothing that reads like an insult.
const rude = /fu[kc]|[sc]hit|cun|nig|fag|^d[iu][ckm]|kok|rape|slut|jew|nazi|^tit|cum|poo|pis|sex|ass$|wank/;

const used = new Set();
const letters = "euy";
const nonword = (length) => {
  if (length === 1) return letters[Math.floor(uniform() * letters.length)];
  // Two letters allow too few strings to be all different; three letters and more are never repeated.
  for (let tries = 0; ; tries++) {
    const word = length === 2 ? pair() : tries < 20000 ? walk(length) : mixed(length);
    if (word.length !== length || blocked.has(word) || !pronounceable(word) || rude.test(word)) continue;
    if (length > 2 && used.has(word)) continue;
    used.add(word);
    return word;
  }
};
const pick = (text) => text[Math.floor(uniform() * text.length)];
const pair = () => (uniform() < 0.5 ? pick("aeiou") + pick("bdfgklmprvz") : pick("bdfgklmprvz") + pick("aeiou"));
// Vowels and consonants in turn, once the letter statistics have nothing new of this length.
const mixed = (length) =>
  Array.from({ length }, (_, i) => pick(i % 2 === 0 ? "bdfgklmnprstvz" : "aeiou")).join("");

const strings = sentences.map((words) => words.map((word) => nonword(word.length)));

const dictionary = process.argv[2];
if (dictionary) {
  const known = new Set(readFileSync(dictionary, "utf8").split("\n").map((w) => w.toLowerCase()));
  const hits = [...new Set(strings.flat())].filter((w) => w.length > 1 && known.has(w));
  if (hits.length > 0) {
    console.error(`${hits.length} non-words are words; add them to blocked.txt:\n${hits.join("\n")}`);
    process.exit(1);
  }
}
const number = (i) => String(i + 1).padStart(3, "0");
const rows = [
  ["id", "condition", "text"],
  ...sentences.map((words, i) => [`s${number(i)}`, "sentence", words.join(" ")]),
  ...strings.map((words, i) => [`n${number(i)}`, "nonword", words.join(" ")]),
];
writeFileSync(join(here, "stimuli.tsv"), `${rows.map((row) => row.join("\t")).join("\n")}\n`);
