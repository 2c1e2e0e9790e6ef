// What does every neuron of a model do?   npm run -s example -- census [organism-b] [full | all]
// Of the first and the last layer, on some texts; "full": all layers, all texts that ship with Penfield, more neurons in words, the other seed, and a model of random weights beside;
// "all": the same with every neuron in words; what was found is kept in reports/census-..., and a run that was stopped goes on.
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRng, sampleWithoutReplacement } from "@penfield/core";
import { describeUnits, partOfSpeechLabels, type Rule } from "@penfield/describe";
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
  topicLabels,
  unitTypes,
  weightStatistics,
} from "@penfield/localize";
import { type OrganismName, organismFolder } from "@penfield/organisms";

const all = process.argv.includes("all");
const full = all || process.argv.includes("full");
const name: OrganismName = process.argv.includes("organism-b") ? "organism-b" : "organism-a";
const other: OrganismName = name === "organism-a" ? "organism-b" : "organism-a";
const folder = all
  ? join("reports", `census-${name}`)
  : await mkdtemp(join(tmpdir(), "penfield-census-"));
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
      const parts = [text, good, bad, prompt && `${prompt}${item["good"]}`];
      for (const [k, own] of parts.entries())
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
    resume: true,
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
  const labels = [
    await partOfSpeechLabels(taken),
    await topicLabels(taken, (id) => id.split("/")[0]),
  ];
  const classes = await classifyUnits(taken, { labels });
  return Object.fromEntries(
    unitTypes.map((type) => [type, classes.filter(({ types }) => types.includes(type)).length]),
  );
}

/** What kinds of conditions a rule is made of. */
function conditionsOf(rule: Rule): string[] {
  if (rule.type === "and" || rule.type === "or") return rule.rules.flatMap(conditionsOf);
  return rule.type === "not" ? conditionsOf(rule.rule) : [rule.type];
}

/** How many of some lists hold each word, the most frequent first. */
function counted(lists: readonly Iterable<string>[]): string {
  const counts = new Map<string, number>();
  for (const word of lists.flatMap((list) => [...list])) {
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  const sorted = [...counts].sort((a, b) => b[1] - a[1]);
  return sorted.map(([word, n]) => `${word} ${n}`).join("; ");
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
  random = await census(shuffled, "random-weights");
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

// In words: some neurons of each layer, or all. The two sentences of a pair are never parted.
const perLayer = full ? 50 : 4;
const rng = createRng(2);
const units = own.meta.hooks.flatMap(({ firstUnit, nUnits }) =>
  Array.from(
    sampleWithoutReplacement(nUnits, all ? nUnits : perLayer, rng),
    (i) => firstUnit + i,
  ).sort((a, b) => a - b),
);
const start = performance.now();
const described = await describeUnits(own, {
  units,
  weights: await weightStatistics(model),
  groupOf: (id) => id.split("/").slice(0, 2).join("/"),
  randomModel: random,
  nFloorUnits: all ? 500 : full ? 100 : 5,
  folder: all ? join(folder, "words") : undefined,
});
const held = described.units.filter(({ refusal }) => refusal === undefined);
console.log(
  `${held.length} of ${units.length} neurons have a reliable description (${percent(held.length / units.length)}), in ${seconds(start)} s`,
);
const { shuffled, randomModel } = described.floors;
/** The median with the quartiles, of a list in rising order. */
const spread = (sorted: readonly number[]) => {
  const [low, middle, high] = [0.25, 0.5, 0.75].map((q) =>
    sorted[Math.floor(q * sorted.length)]!.toFixed(2),
  );
  return `median ${middle} [${low}, ${high}]`;
};
const rising = (values: readonly number[]) => [...values].sort((a, b) => a - b);
const rs = rising(described.units.map(({ r }) => r));
const reach = percent(rs.filter((r) => r >= 0.3).length / rs.length);
console.log(`held-out r: ${spread(rs)}, ${reach} reach 0.3`);
console.log(`rules fitted to shuffled values: ${spread(shuffled.r)}, ${shuffled.nUnits} neurons`);
if (randomModel) {
  // What texts make easy: a network that has learnt nothing reads tokens and positions too.
  const { r, nUnits, shareDescribed } = randomModel;
  console.log(
    `random weights: ${spread(r)}, ${percent(shareDescribed)} of ${nUnits} neurons reach 0.3`,
  );
}
if (full) {
  for (const { name: hook } of own.meta.hooks) {
    const here = described.units.filter((unit) => unit.hook === hook);
    const n = here.filter(({ refusal }) => refusal === undefined).length;
    const layer = spread(rising(here.map(({ r }) => r)));
    console.log(`${hook}: ${n} of ${here.length} described, held-out r ${layer}`);
  }
  for (const [what, values] of [
    ["r of other neurons' rules", held.map(({ otherRuleR = 0 }) => otherRuleR)],
    ["precision", held.map(({ scores }) => scores!.precision)],
    ["recall", held.map(({ scores }) => scores!.recall)],
    ["detection", held.map(({ scores }) => scores!.detectionAuroc ?? 0.5)],
    ["fuzzing", held.map(({ scores }) => scores!.fuzzingAuroc ?? 0.5)],
  ] as const) {
    console.log(`described neurons, ${what}: ${spread(rising(values))}`);
  }
  const specific = held.filter(({ scores }) => scores!.specificityRank === 1).length;
  console.log(
    `no other of 99 neurons goes better with the rule: ${specific} of ${held.length} (${percent(specific / held.length)})`,
  );
  console.log(
    `conditions of their rules: ${counted(held.map(({ rule }) => new Set(conditionsOf(rule!))))}`,
  );
  const refusals = described.units.flatMap(({ refusal }) => (refusal ? [[refusal]] : []));
  if (refusals.length > 0) console.log(`refused: ${counted(refusals)}`);
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
if (!all) await rm(folder, { recursive: true });
