// What does every neuron of a model do?   npm run -s example -- census [organism-b] [full]
// Of the first and the last layer, on some texts; "full": all layers, all texts that ship with Penfield, more neurons in words, the other seed, and a model of random weights beside.
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRng, sampleWithoutReplacement } from "@penfield/core";
import { describeUnits } from "@penfield/describe";
import { HookedModel } from "@penfield/hooks";
import {
  type Census,
  type CensusDocument,
  censusBlocks,
  classifyUnits,
  compareUnits,
  modelSource,
  openCensus,
  takeCensus,
  unitTypes,
  weightStatistics,
} from "@penfield/localize";
import { type OrganismName, organismFolder } from "@penfield/organisms";

const full = process.argv.includes("full");
const name: OrganismName = process.argv.includes("organism-b") ? "organism-b" : "organism-a";
const other: OrganismName = name === "organism-a" ? "organism-b" : "organism-a";
const folder = await mkdtemp(join(tmpdir(), "penfield-census-"));
const hooks = full
  ? "blocks.*.mlp.hook_post"
  : ["blocks.0.mlp.hook_post", "blocks.5.mlp.hook_post"];
const seconds = (since: number) => ((performance.now() - since) / 1000).toFixed(0);
const percent = (share: number) => `${(100 * share).toFixed(1)} %`;

/** The texts of a corpus: whole passages, both sentences of a pair, a prompt with its answer. */
async function textsOf(corpus: string): Promise<{ id: string; text: string }[]> {
  const texts: { id: string; text: string }[] = [];
  for (const file of (await readdir(`corpora/${corpus}`)).filter((f) => f.endsWith(".jsonl"))) {
    const lines = (await readFile(`corpora/${corpus}/${file}`, "utf8")).trim().split("\n");
    lines.forEach((line, i) => {
      const item = JSON.parse(line) as Record<string, string>;
      const { text, sentence_good: good, sentence_bad: bad, prompt } = item;
      const all = [text, good, bad, prompt && `${prompt}${item["good"]}`];
      for (const [k, own] of all.entries())
        if (own) texts.push({ id: `${file}/${i}/${k}`, text: own });
    });
  }
  return texts;
}

const texts: { id: string; text: string }[] = [];
for (const corpus of full ? ["prose", "control-tasks", "minimal-pairs"] : ["prose"]) {
  texts.push(...(await textsOf(corpus)));
}
if (!full) texts.splice(30);
if (full) {
  const sentences = await readFile("corpora/language-localizer/stimuli.tsv", "utf8");
  sentences
    .trim()
    .split("\n")
    .slice(1)
    .forEach((line, i) => {
      texts.push({ id: `localizer/${i}`, text: line.split("\t")[2]! });
    });
}

/** Both organisms have one tokenizer, so that their censuses are of the same tokens. */
async function census(model: HookedModel, as: string): Promise<Census> {
  const tokenizer = model.requireTokenizer();
  const documents = texts.map(
    ({ id, text }): CensusDocument => ({
      id,
      tokens: tokenizer.encode(text, { prependBos: true, maxTokens: 256 }),
    }),
  );
  const start = performance.now();
  const source = modelSource(model, { hooks });
  const taken = await takeCensus(source, documents, join(folder, as), {
    onProgress: ({ done, total }) => {
      if (process.stderr.isTTY) process.stderr.write(`\r${as}: ${done} of ${total} texts `);
    },
  });
  const { nUnits, nTokens, nDocuments } = taken.meta;
  console.log(
    `${as}: ${nUnits} neurons over ${nTokens} tokens of ${nDocuments} texts in ${seconds(start)} s`,
  );
  return taken;
}

/** How many of a census' neurons are of each type. */
async function typesOf(taken: Census): Promise<Record<string, number>> {
  const classes = await classifyUnits(taken);
  return Object.fromEntries(
    unitTypes.map((type) => [type, classes.filter(({ types }) => types.includes(type)).length]),
  );
}

const model = await HookedModel.fromPretrained(organismFolder(name), { verify: "none" });
const own = await census(model, name);
const columns: { title: string; types: Record<string, number> }[] = [
  { title: name, types: await typesOf(own) },
];
let random: Census | undefined;
if (full) {
  // The same network with the entries of every weight matrix in random order.
  const shuffled = await HookedModel.fromPretrained(organismFolder(name), {
    untrained: 1,
    verify: "none",
  });
  random = await census(shuffled, "random weights");
  columns.push({ title: "random weights", types: await typesOf(random) });
  await shuffled.dispose();
}
console.log(["", ...columns.map(({ title }) => title)].join("\t"));
for (const type of unitTypes) {
  const counts = columns.map(
    ({ types }) => `${types[type]} (${percent(types[type]! / own.nUnits)})`,
  );
  console.log([type, ...counts].join("\t"));
}

// In words: some neurons of each layer. The two sentences of a pair are never parted.
const perLayer = full ? 50 : 4;
const rng = createRng(2);
const units = own.meta.hooks.flatMap(({ firstUnit, nUnits }) =>
  Array.from(sampleWithoutReplacement(nUnits, perLayer, rng), (i) => firstUnit + i),
);
const start = performance.now();
const described = await describeUnits(own, {
  units,
  weights: await weightStatistics(model),
  groupOf: (id) => id.split("/").slice(0, 2).join("/"),
  randomModel: random,
  nFloorUnits: full ? 100 : 5,
});
const held = described.units.filter(({ refusal }) => refusal === undefined);
console.log(
  `${held.length} of ${units.length} neurons have a reliable description (${percent(held.length / units.length)}), in ${seconds(start)} s`,
);
const { shuffled, randomModel } = described.floors;
const middle = (sorted: readonly number[]) => sorted[Math.floor(sorted.length / 2)]!.toFixed(2);
console.log(
  `held-out r, median: ${middle(described.units.map(({ r }) => r).sort((a, b) => a - b))}`,
);
console.log(
  `rules fitted to shuffled values: median ${middle(shuffled.r)}, ${shuffled.nUnits} neurons`,
);
if (randomModel) {
  // What texts make easy: a network that has learnt nothing reads tokens and positions too.
  const { r, nUnits, shareDescribed } = randomModel;
  console.log(
    `random weights: median ${middle(r)}, ${percent(shareDescribed)} of ${nUnits} neurons reach 0.3`,
  );
}
for (const { hook, index, sentence, r, output } of held.sort((a, b) => b.r - a.r).slice(0, 12)) {
  const writes = output?.sentence ? `; ${output.sentence}` : "";
  console.log(`${hook} ${index}: ${sentence}${writes} (held-out r ${r.toFixed(2)})`);
}

if (full) {
  const second = await HookedModel.fromPretrained(organismFolder(other), { verify: "none" });
  await (await census(second, other)).close();
  const theirs = await openCensus(join(folder, other));
  const since = performance.now();
  const { orthogonalExcess, gaussianExcess, rosetta } = await compareUnits(
    censusBlocks(own),
    censusBlocks(theirs),
  );
  const universal = (excess: Float64Array) =>
    percent(excess.filter((value) => value > 0.5).length / excess.length);
  console.log(
    `universal between the seeds: ${universal(orthogonalExcess)} over a true rotation, ${universal(gaussianExcess)} over the published one; ${rosetta.length} find each other (${seconds(since)} s)`,
  );
  const types = await typesOf(theirs);
  console.log(`${other}: ${unitTypes.map((type) => `${type} ${types[type]}`).join(", ")}`);
  await theirs.close();
  await second.dispose();
}
await own.close();
await random?.close();
await model.dispose();
await rm(folder, { recursive: true });
