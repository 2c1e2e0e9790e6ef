import { rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { DataError, UsageError } from "@penfield/core";
import {
  type DescribeOptions,
  describeUnits,
  type OutputSideScore,
  objectives,
  type UnitDescription,
} from "@penfield/describe";
import { HookedModel } from "@penfield/hooks";
import {
  type Census,
  type CensusDocument,
  classifyUnits,
  modelSource,
  openCensus,
  spikingSource,
  takeCensus,
  type UnitSource,
  unitTypes,
  weightStatistics,
} from "@penfield/localize";
import { writeUnitNotes } from "@penfield/localize/census-reader";
import { isOrganism, organismFolder } from "@penfield/organisms";
import { isSpikingName } from "@penfield/probes";
import { quantile } from "@penfield/stats";
import { loadCorpus } from "@penfield/store";
import { annotateCensus, neuronLayers, writeFacets, writeNeighbours } from "./annotate.ts";
import { columns, shown } from "./compare/record.ts";
import {
  choiceOption,
  numberOption,
  type Options,
  readWords,
  refuseWords,
  type Values,
} from "./options.ts";
import { createProgressBar } from "./progressBar.ts";
import { corpusPath } from "./shippedCorpora.ts";
import { isSpikingCommand, openRecordings, spikingOptions } from "./spikingRecordings.ts";
import type { Surroundings } from "./surroundings.ts";

const string = { type: "string" } as const;
const flag = { type: "boolean" } as const;

/** Of a spiking network, whose tokens are time bins. */
const ownSpikingOptions: Options = {
  ...spikingOptions,
  bin: string,
  channels: string,
  strongest: flag,
};

/** What `penfield census` understands. */
export const censusOptions: Options = {
  model: string,
  file: string,
  corpus: string,
  hooks: { type: "string", multiple: true },
  out: string,
  untrained: flag,
  beside: string,
  "max-tokens": string,
  split: flag,
  bos: flag,
  "no-bos": flag,
  "keep-share": string,
  seed: string,
  threads: string,
  resume: flag,
  ...ownSpikingOptions,
  json: flag,
};

/** What `penfield describe` understands. */
export const describeOptions: Options = {
  model: string,
  file: string,
  units: string,
  objective: string,
  "max-length": string,
  "min-r": string,
  "floor-units": string,
  "random-model": string,
  "output-score": flag,
  replace: flag,
  resume: flag,
  threads: string,
  seed: string,
  json: flag,
};

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

async function open(
  name: string,
  options: {
    file: string | undefined;
    threads: number | undefined;
    untrained?: number | undefined;
  },
  onProgress: ReturnType<typeof createProgressBar>["onProgress"],
): Promise<HookedModel> {
  return HookedModel.fromPretrained(isOrganism(name) ? organismFolder(name) : name, {
    ...options,
    verify: "none",
    onProgress,
  });
}

/** What a census is taken of, and what is written beside it. */
interface Subject {
  readonly source: UnitSource;
  readonly documents: readonly CensusDocument[];
  readonly annotate: (taken: Census) => ReturnType<typeof classifyUnits>;
  readonly dispose: () => Promise<void>;
}

type Report = ReturnType<typeof createProgressBar>["onProgress"];

const namesOf = (values: Values, name: string): string[] =>
  [values[name] ?? []]
    .flat()
    .flatMap((list) => String(list).split(","))
    .filter(Boolean);

async function textSubject(values: Values, seed: number, onProgress: Report): Promise<Subject> {
  const text = (name: string): string | undefined => values[name] as string | undefined;
  const corpusName = text("corpus");
  if (!corpusName) {
    throw new UsageError("census: expected --corpus PATH, got none", { hint: EXAMPLE });
  }
  const maxTokens = numberOption(values, "max-tokens", { whole: true, min: 1 });
  const threads = numberOption(values, "threads", { whole: true, min: 1, max: 256 });
  const prependBos = values["bos"] ? true : values["no-bos"] ? false : undefined;
  const corpus = await loadCorpus(corpusPath(corpusName));
  const model = await open(
    text("model") ?? "organism-a",
    { file: text("file"), threads, untrained: values["untrained"] ? seed : undefined },
    onProgress,
  );
  try {
    const tokenizer = model.requireTokenizer();
    const documents = corpus.map((item) => ({
      id: item.id,
      tokens: "text" in item ? tokenizer.encode(item.text, { prependBos, maxTokens }) : item.tokens,
    }));
    const hooks = namesOf(values, "hooks");
    return {
      source: modelSource(model, hooks.length > 0 ? { hooks } : {}),
      documents,
      annotate: (taken) => annotateCensus(taken, model),
      dispose: () => model.dispose(),
    };
  } catch (cause) {
    await model.dispose();
    throw cause;
  }
}

/** Of a spiking network the input is said in symbols, one for each time bin. */
async function spikingSubject(name: string, values: Values, seed: number): Promise<Subject> {
  if (values["max-tokens"] !== undefined) {
    throw new UsageError("census: expected --max-tokens of texts, got it of a spiking network");
  }
  const given = namesOf(values, "channels");
  const hooks = namesOf(values, "hooks");
  const binSteps = numberOption(values, "bin", { whole: true, min: 1 });
  const { model, channels, recordings } = await openRecordings("census", name, values, seed);
  try {
    const names = given.length > 0 ? given : channels;
    const { source, documents } = spikingSource(model, recordings, {
      hooks: hooks.length > 0 ? hooks : undefined,
      binSteps,
      channels: names && channelGroups(names),
      naming: values["strongest"] ? "strongest" : "all",
    });
    return {
      source,
      documents,
      async annotate(taken) {
        const classes = await classifyUnits(taken);
        await writeUnitNotes(taken.folder, "classes", classes);
        return classes;
      },
      dispose: () => model.dispose(),
    };
  } catch (cause) {
    await model.dispose();
    throw cause;
  }
}

/** Channels of one name belong together; those called - have none. */
function channelGroups(names: readonly string[]): Record<string, readonly number[]> {
  const named = new Set(names.filter((name) => name !== "-"));
  return Object.fromEntries(
    Array.from(named, (name) => [name, names.flatMap((own, c) => (own === name ? [c] : []))]),
  );
}

const EXAMPLE = "penfield census --model organism-a --corpus texts.txt --out censuses/mine";

/** One pass over a corpus: what every unit of a model does. */
export async function census(args: readonly string[], io: Surroundings): Promise<void> {
  const { values, positionals } = readWords(args, censusOptions);
  refuseWords(
    "census",
    positionals,
    "Name the model with --model, the corpus with --corpus, the folder with --out.",
  );
  const text = (name: string): string | undefined => values[name] as string | undefined;
  const name = text("model") ?? "organism-a";
  const spiking = isSpikingCommand(name, values, ownSpikingOptions);
  const out = text("out");
  if (!out && (spiking || text("corpus"))) {
    throw new UsageError("census: expected --out DIR, got none", { hint: EXAMPLE });
  }
  const seed = numberOption(values, "seed", { whole: true, max: 2 ** 31 }) ?? 42;
  const keepShare = numberOption(values, "keep-share", { min: 0, max: 1 });
  const beside = text("beside");
  // Before the work: a name that is wrong must not cost it.
  const other = beside === undefined ? undefined : await openCensus(resolve(beside));
  const bar = createProgressBar(io.err);
  try {
    const subject = spiking
      ? await spikingSubject(name, values, seed)
      : await textSubject(values, seed, bar.onProgress);
    try {
      const taken = await takeCensus(subject.source, subject.documents, resolve(out!), {
        seed,
        ...(keepShare === undefined ? {} : { keepShare }),
        longDocuments: values["split"] ? "split" : "refuse",
        resume: Boolean(values["resume"]),
        onProgress: bar.onProgress,
        signal: io.signal,
      });
      try {
        const classes = await subject.annotate(taken);
        const shared = other && (await writeNeighbours(taken, other));
        bar.finish();
        const sought = unitTypes.filter(
          (type) => type !== "topic" && !(spiking && LANGUAGE_TYPES.includes(type)),
        );
        printCensus(taken, classes, sought, shared?.universal, out!, Boolean(values["json"]), io);
      } finally {
        await taken.close();
      }
    } finally {
      await subject.dispose();
    }
  } finally {
    bar.finish();
    await other?.close();
  }
}

/** What no unit of a spiking network can be, whose tokens are symbols. */
const LANGUAGE_TYPES: readonly (typeof unitTypes)[number][] = [
  ...(["alphabet-family", "token-class", "part-of-speech"] as const),
];

function printCensus(
  taken: Census,
  classes: Awaited<ReturnType<typeof annotateCensus>>,
  sought: readonly (typeof unitTypes)[number][],
  universal: number | undefined,
  folder: string,
  asJson: boolean,
  io: Surroundings,
): void {
  const { nUnits, nTokens, nDocuments } = taken.meta;
  const counts = Object.fromEntries(
    sought.map((type) => [type, classes.filter(({ types }) => types.includes(type)).length]),
  );
  if (asJson) {
    io.out.write(
      `${JSON.stringify({ folder, nUnits, nTokens, nDocuments, types: counts, universal: universal ?? null })}\n`,
    );
    return;
  }
  const [tokens, documents] =
    taken.tokenKind === "symbols" ? ["time bins", "recordings"] : ["tokens", "documents"];
  io.out.write(`${nUnits} units over ${nTokens} ${tokens} of ${nDocuments} ${documents}\n\n`);
  io.out.write(
    columns([
      ["type", "units", "share"],
      ...sought.map((type) => [type, String(counts[type]), percent(counts[type]! / nUnits)]),
    ]),
  );
  if (universal !== undefined) {
    io.out.write(
      `\n${percent(universal)} have a unit like them in the other census (excess correlation above 0.5)\n`,
    );
  }
  io.out.write(
    `\nThe census is in ${folder}\nLook at it: npm run -s penfield -- view ${JSON.stringify(folder)}\nIn words:   npm run -s penfield -- describe ${JSON.stringify(folder)}\n`,
  );
}

/** Rules in words for the units of a census, with floors and refusals. */
export async function describe(args: readonly string[], io: Surroundings): Promise<void> {
  const { values, positionals } = readWords(args, describeOptions);
  const [folder, ...more] = positionals;
  if (folder === undefined || more.length > 0) {
    throw new UsageError(
      `describe: expected the folder of a census, got ${folder === undefined ? "none" : JSON.stringify(more[0])}`,
      { hint: "penfield census takes one; penfield describe FOLDER." },
    );
  }
  const names = Object.keys(objectives) as (keyof typeof objectives)[];
  const text = (name: string): string | undefined => values[name] as string | undefined;
  const settings = {
    objective: choiceOption(values, "objective", names) ?? "correlation",
    maxLength: numberOption(values, "max-length", { whole: true, min: 1, max: 8 }),
    minR: numberOption(values, "min-r", { min: 0, max: 1 }),
    nFloorUnits: numberOption(values, "floor-units", { whole: true, min: 1 }),
    seed: numberOption(values, "seed", { whole: true, max: 2 ** 31 }) ?? 42,
  };
  if (values["output-score"] && text("model") === undefined) {
    throw new UsageError("describe: expected --model M with --output-score, got none", {
      hint: "Units are set in the model of the census, to see what that does to the next token.",
    });
  }
  const bar = createProgressBar(io.err);
  const taken = await openCensus(resolve(folder));
  const random = text("random-model");
  const other = random === undefined ? undefined : await openCensus(resolve(random));
  let model: HookedModel | undefined;
  try {
    const name = text("model");
    if (name !== undefined && isSpikingName(name)) {
      throw new UsageError(`describe: expected a transformer with --model, got ${name}`, {
        hint: "--model adds what neurons write to the vocabulary, and a spiking network has none.",
      });
    }
    if (name !== undefined) {
      const threads = numberOption(values, "threads", { whole: true, min: 1, max: 256 });
      model = await open(name, { file: text("file"), threads }, bar.onProgress);
      if (model.sha256 !== taken.meta.model.sha256) {
        throw new DataError(
          `describe: expected the model of the census, ${taken.meta.model.name}, got ${name} with other weights`,
          { hint: "What neurons write is read from the weights of the model that was counted." },
        );
      }
    }
    const units = unitsOption(text("units"), taken);
    const written = model ? await writtenBy(model, taken) : {};
    // Last of all, so that nothing is lost by a word that is wrong.
    if (values["replace"]) {
      for (const file of ["rules.jsonl", "descriptions.jsonl", "floors.json"]) {
        await rm(join(resolve(folder), file), { force: true });
      }
    }
    const found = await describeUnits(taken, {
      ...settings,
      ...units,
      ...(other ? { randomModel: other } : {}),
      ...written,
      ...(model && values["output-score"] ? { outputModel: model } : {}),
      folder: resolve(folder),
      onProgress: bar.onProgress,
      signal: io.signal,
    });
    await writeFacets(
      taken,
      found.units.map(({ unit }) => unit),
      { onProgress: bar.onProgress, signal: io.signal },
    );
    bar.finish();
    if (values["json"]) {
      io.out.write(`${JSON.stringify(found)}\n`);
      return;
    }
    const held = found.units.filter(({ refusal }) => refusal === undefined);
    const { shuffled, randomModel } = found.floors;
    const otherRules = found.units.flatMap(({ otherRuleR }) => otherRuleR ?? []);
    io.out.write(
      `${held.length} of ${found.units.length} units have a reliable description (${percent(held.length / found.units.length)})\n` +
        `floor, rules of other units: median r ${shown(otherRules.length === 0 ? undefined : quantile(otherRules, 0.5))}\n` +
        `floor, shuffled values: ${percent(shuffled.shareDescribed)} of ${shuffled.nUnits} units reach the limit\n` +
        `${randomModel ? `floor, random weights: ${percent(randomModel.shareDescribed)} of ${randomModel.nUnits} units reach it\n` : "The floor of random weights was not measured: census --untrained, then --random-model DIR.\n"}\n`,
    );
    for (const { hook, index, sentence, r } of [...held].sort((a, b) => b.r - a.r).slice(0, 30)) {
      io.out.write(`${hook} ${index}  r ${shown(r)}  ${sentence}\n`);
    }
    if (model) printOutputSides(found.units, io);
    const reasons = new Map<string, number>();
    for (const { refusal } of found.units) {
      if (refusal) reasons.set(refusal, (reasons.get(refusal) ?? 0) + 1);
    }
    if (reasons.size > 0) io.out.write("\nWithout one:\n");
    for (const [reason, n] of reasons) io.out.write(`  ${n}  ${reason}\n`);
  } finally {
    bar.finish();
    await model?.dispose();
    await other?.close();
    await taken.close();
  }
}

/** What describes the output side of a model's neurons. */
async function writtenBy(
  model: HookedModel,
  taken: Census,
): Promise<Pick<DescribeOptions, "weights" | "tokenText">> {
  const { tokenizer } = model;
  return {
    weights: await weightStatistics(model, { layers: neuronLayers(taken) }),
    tokenText: tokenizer && ((token) => tokenizer.toStrTokens([token])[0]!),
  };
}

/** What units write, those with a score beside its floors. */
function printOutputSides(units: readonly UnitDescription[], io: Surroundings): void {
  const writing = units.filter(({ output }) => output?.sentence !== undefined);
  io.out.write(
    `\n${writing.length} of ${units.length} units write something that their weights name\n`,
  );
  for (const { hook, index, output } of writing.slice(0, 30)) {
    const { sentence, score } = output!;
    io.out.write(`${hook} ${index}  ${sentence}${score ? `: ${scoreInWords(score)}` : ""}\n`);
  }
}

function scoreInWords(score: OutputSideScore): string {
  const { measure, value, randomUnits, otherTokens, p, holds } = score;
  const floors = [`random units ${shown(randomUnits)}`];
  if (otherTokens !== undefined) floors.push(`other units' tokens ${shown(otherTokens)}`);
  const what = `${shown(value)} nats${measure === "entropy" ? " of entropy" : ""}`;
  return `${what} when set (floors: ${floors.join(", ")}; p ${shown(p)})${holds ? "" : ", which does not hold"}`;
}

/** `HOOK:3,17` names units of a hook point, a number so many of each, drawn evenly. */
function unitsOption(text: string | undefined, taken: Census): { units?: number[] } {
  if (text === undefined) return {};
  const named = /^(.+):([\d,]+)$/.exec(text);
  if (named) {
    const [, hook, list] = named as unknown as [string, string, string];
    return { units: list.split(",").map((index) => taken.unitAt(hook, Number(index))) };
  }
  const each = Number(text);
  if (!Number.isInteger(each) || each < 1) {
    throw new UsageError(
      `--units: expected HOOK:3,17 or so many of each hook point, got ${JSON.stringify(text)}`,
    );
  }
  return {
    units: taken.meta.hooks.flatMap(({ firstUnit, nUnits }) => {
      const n = Math.min(each, nUnits);
      return Array.from({ length: n }, (_, i) => firstUnit + Math.floor((i * nUnits) / n));
    }),
  };
}
