// One layer's neurons of a gated model: the census, their types, rules with floors.
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createRng, sampleWithoutReplacement } from "@penfield/core";
import {
  type Descriptions,
  describeUnits,
  partOfSpeechLabels,
  splitDocuments,
  type UnitDescription,
} from "@penfield/describe";
import type { HookedModel } from "@penfield/hooks";
import {
  type Census,
  type CensusDocument,
  circularShiftP,
  classifyUnits,
  heavierSide,
  modelSource,
  openCensus,
  positionalInformation,
  type TurnedHook,
  takeCensus,
  topicLabels,
  type UnitClass,
  type UnitType,
  unitTypes,
} from "@penfield/localize";
import { quantile } from "@penfield/stats";
import { type CorpusText, groupOf } from "./texts.ts";

/** Deviations from its mean, on its heavier side, above which a neuron counts as active. */
export const ACTIVE_ABOVE = 2;

export interface LayerHooks {
  /** The gate before its SiLU: above 0 the gate is open. */
  readonly gate: string;
  /** Gate times linear part, what the neuron gives to its output weights. */
  readonly product: string;
  /** The same on each neuron's heavier side, in deviations. */
  readonly turned: string;
}

export const layerHooks = (layer: number): LayerHooks => {
  const product = `blocks.${layer}.mlp.hook_post`;
  return { gate: `blocks.${layer}.mlp.hook_pre`, product, turned: `${product}:heavier-side` };
};

export interface LayerCensus {
  readonly census: Census;
  readonly turned: TurnedHook;
}

/** `<|endoftext|>` before each text, as in training; it is left out of the census. */
function documentsOf(model: HookedModel, texts: readonly CorpusText[]): CensusDocument[] {
  const tokenizer = model.requireTokenizer();
  const start = startOf(model);
  return texts.map(({ id, text }) => ({ id, tokens: [start, ...tokenizer.encode(text)] }));
}

export const startOf = (model: HookedModel): number =>
  model.requireTokenizer().encode("<|endoftext|>")[0]!;

/** The census of a layer; one that is finished is opened, without the model. */
export async function takeLayerCensus(
  open: () => Promise<HookedModel>,
  texts: readonly CorpusText[],
  layer: number,
  folder: string,
): Promise<LayerCensus> {
  const path = join(folder, "turned.json");
  if (!existsSync(path)) {
    const model = await open();
    const since = performance.now();
    const turned = await takeCensusOf(model, texts, layer, folder);
    await model.dispose();
    const { signs, means, deviations, ...names } = turned;
    const arrays = [signs, means, deviations].map((array) => Array.from(array));
    const seconds = (performance.now() - since) / 1000;
    await writeFile(path, JSON.stringify({ ...names, seconds, arrays }));
  }
  const { name, of, arrays } = JSON.parse(await readFile(path, "utf8")) as {
    name: string;
    of: string;
    arrays: [number[], number[], number[]];
  };
  const [signs, means, deviations] = arrays;
  return {
    census: await openCensus(folder),
    turned: {
      ...{ name, of, signs: Int8Array.from(signs) },
      ...{ means: Float64Array.from(means), deviations: Float64Array.from(deviations) },
    },
  };
}

/** Sides, means and deviations come from a third of the documents that rules are proposed on; none is scored on. */
async function takeCensusOf(
  model: HookedModel,
  texts: readonly CorpusText[],
  layer: number,
  folder: string,
): Promise<TurnedHook> {
  const { gate, product, turned } = layerHooks(layer);
  const documents = documentsOf(model, texts);
  const tokens = documents.map((document) => document.tokens);
  const { splitOf } = splitDocuments(
    tokens,
    texts.map(({ id }) => groupOf(id)),
  );
  const plain = { ...modelSource(model, { hooks: [gate, product] }), bosId: startOf(model) };
  const source = await heavierSide(
    plain,
    tokens.filter((_, d) => splitOf[d] === 0).filter((_, i) => i % 3 === 0),
    { hooks: [product] },
  );
  const census = await takeCensus(source, documents, folder, {
    threshold: { [turned]: ACTIVE_ABOVE },
    histogram: [-20, 30],
    resume: true,
  });
  await census.close();
  return source.turned[0]!;
}

export type TypeCounts = Readonly<Record<UnitType, number>>;

/**
 * How many neurons of a hook know their position. The census' own bins are of no use: the model takes 8192 tokens, so that they are 64 tokens wide, and no
 * text here has more than 100. Limits as in `classifyUnits`.
 */
async function nPositional(census: Census, hook: string): Promise<number> {
  const { firstUnit, nUnits, threshold } = census.hook(hook);
  const { positions, documents } = await census.keptTokens();
  const starts = [...documents.keys()].filter((i) => i === 0 || documents[i] !== documents[i - 1]);
  starts.push(documents.length);
  const nTokens = new Float64Array(Math.max(...starts.slice(1).map((end, d) => end - starts[d]!)));
  for (const position of positions) nTokens[position]!++;
  let found = 0;
  for (let unit = firstUnit; unit < firstUnit + nUnits; unit++) {
    const active = Uint8Array.from(await census.values(unit), (value) => Number(value > threshold));
    const nActive = new Float64Array(nTokens.length);
    active.forEach((is, i) => {
      nActive[positions[i]!]! += is;
    });
    if (positionalInformation(nActive, nTokens).corrected <= 0.05) continue;
    if (circularShiftP(active, starts) <= 0.01) found++;
  }
  return found;
}

/** How many neurons of a hook are of each type, and the classes themselves. */
export async function typesAt(
  census: Census,
  hook: string,
): Promise<{ counts: TypeCounts; classes: UnitClass[] }> {
  const { firstUnit, nUnits } = census.hook(hook);
  const labels = [
    await partOfSpeechLabels(census),
    await topicLabels(census, (id) => id.split("/")[0]),
  ];
  const units = Array.from({ length: nUnits }, (_, i) => firstUnit + i);
  const classes = await classifyUnits(census, { units, labels });
  const counts = Object.fromEntries(
    unitTypes.map((type) => [type, classes.filter(({ types }) => types.includes(type)).length]),
  ) as TypeCounts;
  return { counts: { ...counts, positional: await nPositional(census, hook) }, classes };
}

/** All units of a hook, or a seeded sample, in rising order. */
export function unitsOf(census: Census, hook: string, n: number, seed: number): number[] {
  const { firstUnit, nUnits } = census.hook(hook);
  const chosen = sampleWithoutReplacement(nUnits, Math.min(n, nUnits), createRng(seed));
  return Array.from(chosen, (i) => firstUnit + i).sort((a, b) => a - b);
}

/** Rules for some units of a hook with all floors; kept in the census' folder. */
export function describeLayer(
  census: Census,
  randomModel: Census,
  { hook, n, nFloorUnits, name }: { hook: string; n: number; nFloorUnits: number; name: string },
): Promise<Descriptions> {
  return describeUnits(census, {
    units: unitsOf(census, hook, n, 2),
    randomModel,
    nFloorUnits,
    groupOf,
    folder: join(census.folder, name),
  });
}

/** Median with quartiles. */
export interface Spread {
  readonly n: number;
  readonly low: number;
  readonly median: number;
  readonly high: number;
}

export function spreadOf(values: readonly (number | undefined)[]): Spread {
  const known = values.filter((value) => value !== undefined);
  const [low = 0, median = 0, high = 0] =
    known.length === 0 ? [] : [0.25, 0.5, 0.75].map((q) => quantile(Float64Array.from(known), q));
  return { n: known.length, low, median, high };
}

/** What the descriptions of a layer come to, beside their floors. */
export function summarize({ units, floors }: Descriptions) {
  const held = units.filter(({ refusal }) => refusal === undefined);
  const of = (get: (unit: UnitDescription) => number | undefined) => spreadOf(held.map(get));
  const refusals: Record<string, number> = {};
  for (const { refusal } of units) if (refusal) refusals[refusal] = (refusals[refusal] ?? 0) + 1;
  const { shuffled, randomModel } = floors;
  return {
    nUnits: units.length,
    nDescribed: held.length,
    nReach: units.filter(({ r }) => r >= 0.3).length,
    refusals,
    r: spreadOf(units.map(({ r }) => r)),
    otherRuleR: spreadOf(units.map(({ otherRuleR }) => otherRuleR)),
    shuffledR: { ...spreadOf(shuffled.r), share: shuffled.shareDescribed },
    randomModelR: randomModel && { ...spreadOf(randomModel.r), share: randomModel.shareDescribed },
    described: {
      r: of(({ r }) => r),
      otherRuleR: of(({ otherRuleR }) => otherRuleR),
      precision: of(({ scores }) => scores!.precision),
      recall: of(({ scores }) => scores!.recall),
      f1: of(({ scores }) => scores!.f1),
      detection: of(({ scores }) => scores!.detectionAuroc),
      fuzzing: of(({ scores }) => scores!.fuzzingAuroc),
      nSpecific: held.filter(({ scores }) => scores!.specificityRank === 1).length,
    },
  };
}
