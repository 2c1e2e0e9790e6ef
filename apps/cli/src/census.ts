import { resolve } from "node:path";
import { UsageError } from "@penfield/core";
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
} from "@penfield/localize";
import { writeUnitNotes } from "@penfield/localize/census-reader";
import { loadCorpus } from "@penfield/store";
import { annotateCensus, writeNeighbours } from "./annotate.ts";
import { columns, percent } from "./compare/record.ts";
import { openUnits } from "./openUnits.ts";
import { numberOption, type Options, readWords, refuseWords, type Values } from "./options.ts";
import { createProgressBar } from "./progressBar.ts";
import { corpusPath } from "./shipped.ts";
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
  const model = await openUnits(
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
