// Makes stimuli.tsv from items.tsv in the layout of the published localizer: each text ends in an answer
// that is drawn by a seed (it may be wrong; column `answer` has the right one).
// Run: node corpora/theory-of-mind/make.mjs
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const [, ...items] = readFileSync(join(here, "items.tsv"), "utf8").trimEnd().split("\n").map((l) => l.split("\t"));
const instruction =
  "Read the story and decide whether the statement in the question is true or false.";

// xorshift32: small, seeded, the same everywhere.
let state = 20261122;
const uniform = () => {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) / 4294967296;
};

const counts = {};
const rows = items.map(([condition, story, question, answer]) => {
  counts[condition] = (counts[condition] ?? 0) + 1;
  const id = `${condition}${String(counts[condition]).padStart(2, "0")}`;
  const shown = uniform() < 0.5 ? "True" : "False";
  const text = `${instruction}\nStory: ${story}\nQuestion: ${question}\nOptions:\n- True\n- False\nAnswer: ${shown}`;
  // In our tables a line break inside a cell is written as backslash n.
  return [id, condition, text.replaceAll("\n", "\\n"), answer];
});
const lines = [["id", "condition", "text", "answer"], ...rows].map((row) => row.join("\t"));
writeFileSync(join(here, "stimuli.tsv"), `${lines.join("\n")}\n`);
