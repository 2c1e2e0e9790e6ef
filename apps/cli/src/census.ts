import { resolve } from "node:path";
import { UsageError } from "@penfield/core";
import { describeUnits, objectives } from "@penfield/describe";
import { HookedModel } from "@penfield/hooks";
import {
  type Census,
  modelSource,
  openCensus,
  takeCensus,
  unitTypes,
  weightStatistics,
} from "@penfield/localize";
import { isOrganism, organismFolder } from "@penfield/organisms";
import { loadCorpus } from "@penfield/store";
import { annotateCensus, writeNeighbours } from "./annotate.ts";
import { columns, shown } from "./compare/record.ts";
import { choiceOption, numberOption, type Options, readWords, refuseWords } from "./options.ts";
import { createProgressBar } from "./progressBar.ts";
import type { Surroundings } from "./surroundings.ts";

const string = { type: "string" } as const;
const flag = { type: "boolean" } as const;

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

/** One pass over a corpus: what every unit of a model does. */
export async function census(args: readonly string[], io: Surroundings): Promise<void> {
  const { values, positionals } = readWords(args, censusOptions);
  refuseWords("census", positionals, "Name the corpus with --corpus, the folder with --out.");
  const text = (name: string): string | undefined => values[name] as string | undefined;
  const corpusPath = text("corpus");
  const out = text("out");
  if (!corpusPath || !out) {
    throw new UsageError(`census: expected --${corpusPath ? "out DIR" : "corpus PATH"}, got none`, {
      hint: "penfield census --model organism-a --corpus texts.txt --out censuses/mine",
    });
  }
  const hooks = ((values["hooks"] as string[] | undefined) ?? []).flatMap((list) =>
    list.split(",").filter((name) => name !== ""),
  );
  const seed = numberOption(values, "seed", { whole: true, max: 2 ** 31 }) ?? 42;
  const maxTokens = numberOption(values, "max-tokens", { whole: true, min: 1 });
  const keepShare = numberOption(values, "keep-share", { min: 0, max: 1 });
  const prependBos = values["bos"] ? true : values["no-bos"] ? false : undefined;
  const bar = createProgressBar(io.err);
  try {
    const corpus = await loadCorpus(corpusPath);
    const model = await open(
      text("model") ?? "organism-a",
      {
        file: text("file"),
        threads: numberOption(values, "threads", { whole: true, min: 1, max: 256 }),
        untrained: values["untrained"] ? seed : undefined,
      },
      bar.onProgress,
    );
    try {
      const tokenizer = model.requireTokenizer();
      const documents = corpus.map((item) => ({
        id: item.id,
        tokens:
          "text" in item ? tokenizer.encode(item.text, { prependBos, maxTokens }) : item.tokens,
      }));
      const taken = await takeCensus(
        modelSource(model, hooks.length > 0 ? { hooks } : {}),
        documents,
        resolve(out),
        {
          seed,
          ...(keepShare === undefined ? {} : { keepShare }),
          longDocuments: values["split"] ? "split" : "refuse",
          resume: Boolean(values["resume"]),
          onProgress: bar.onProgress,
          signal: io.signal,
        },
      );
      try {
        const classes = await annotateCensus(taken, model);
        const beside = text("beside");
        const other = beside === undefined ? undefined : await openCensus(resolve(beside));
        const shared = other && (await writeNeighbours(taken, other));
        await other?.close();
        bar.finish();
        printCensus(taken, classes, shared?.universal, out, Boolean(values["json"]), io);
      } finally {
        await taken.close();
      }
    } finally {
      await model.dispose();
    }
  } finally {
    bar.finish();
  }
}

function printCensus(
  taken: Census,
  classes: Awaited<ReturnType<typeof annotateCensus>>,
  universal: number | undefined,
  folder: string,
  asJson: boolean,
  io: Surroundings,
): void {
  const { nUnits, nTokens, nDocuments } = taken.meta;
  const counts = Object.fromEntries(
    unitTypes.map((type) => [type, classes.filter(({ types }) => types.includes(type)).length]),
  );
  if (asJson) {
    io.out.write(
      `${JSON.stringify({ folder, nUnits, nTokens, nDocuments, types: counts, universal: universal ?? null })}\n`,
    );
    return;
  }
  io.out.write(`${nUnits} units over ${nTokens} tokens of ${nDocuments} documents\n\n`);
  io.out.write(
    columns([
      ["type", "units", "share"],
      ...unitTypes.map((type) => [type, String(counts[type]), percent(counts[type]! / nUnits)]),
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
  const bar = createProgressBar(io.err);
  const taken = await openCensus(resolve(folder));
  const random = text("random-model");
  const other = random === undefined ? undefined : await openCensus(resolve(random));
  let model: HookedModel | undefined;
  try {
    const name = text("model");
    if (name !== undefined) {
      const threads = numberOption(values, "threads", { whole: true, min: 1, max: 256 });
      model = await open(name, { file: text("file"), threads }, bar.onProgress);
    }
    const found = await describeUnits(taken, {
      ...settings,
      ...unitsOption(text("units"), taken),
      ...(other ? { randomModel: other } : {}),
      ...(model ? { weights: await weightStatistics(model) } : {}),
      folder: resolve(folder),
      onProgress: bar.onProgress,
      signal: io.signal,
    });
    bar.finish();
    if (values["json"]) {
      io.out.write(`${JSON.stringify(found)}\n`);
      return;
    }
    const held = found.units.filter(({ refusal }) => refusal === undefined);
    const { shuffled, randomModel } = found.floors;
    io.out.write(
      `${held.length} of ${found.units.length} units have a reliable description (${percent(held.length / found.units.length)})\n` +
        `floor, shuffled values: ${percent(shuffled.shareDescribed)} of ${shuffled.nUnits} units reach the limit\n` +
        `${randomModel ? `floor, random weights: ${percent(randomModel.shareDescribed)} of ${randomModel.nUnits} units reach it\n` : "The floor of random weights was not measured: census --untrained, then --random-model DIR.\n"}\n`,
    );
    for (const { hook, index, sentence, r } of [...held].sort((a, b) => b.r - a.r).slice(0, 30)) {
      io.out.write(`${hook} ${index}  r ${shown(r)}  ${sentence}\n`);
    }
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
