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
import type { HookedModel } from "@penfield/hooks";
import { type Census, openCensus, weightStatistics } from "@penfield/localize";
import { isSpikingName } from "@penfield/probes";
import { quantile } from "@penfield/stats";
import { neuronLayers, writeFacets } from "./annotate.ts";
import { percent, shown } from "./compare/record.ts";
import { openUnits } from "./openUnits.ts";
import { choiceOption, numberOption, type Options, readWords } from "./options.ts";
import { createProgressBar } from "./progressBar.ts";
import type { Surroundings } from "./surroundings.ts";

const string = { type: "string" } as const;
const flag = { type: "boolean" } as const;

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
      model = await openUnits(name, { file: text("file"), threads }, bar.onProgress);
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
