import { resolve } from "node:path";
import { UsageError } from "@penfield/core";
import { HookedModel } from "@penfield/hooks";
import {
  type CaptureOptions,
  type CaptureSummary,
  captureActivations,
  loadCorpus,
  openActivations,
} from "@penfield/store";
import {
  choiceOption,
  numberOption,
  type Options,
  readWords,
  refuseWords,
  type Values,
} from "./options.ts";
import { createProgressBar } from "./progressBar.ts";
import { corpusPath, modelPath } from "./shipped.ts";
import { isSpikingCommand, openRecordings, spikingOptions } from "./spikingRecordings.ts";
import type { Surroundings } from "./surroundings.ts";

const string = { type: "string" } as const;
const flag = { type: "boolean" } as const;

/** What `penfield capture` understands. */
export const captureOptions: Options = {
  model: string,
  file: string,
  corpus: string,
  hooks: { type: "string", multiple: true },
  out: string,
  positions: string,
  dtype: string,
  "max-tokens": string,
  split: flag,
  bos: flag,
  "no-bos": flag,
  threads: string,
  resume: flag,
  ...spikingOptions,
  inspect: string,
  json: flag,
};

/** Writes the activations of a corpus to a folder, or prints what is in one. */
export async function capture(args: readonly string[], io: Surroundings): Promise<void> {
  const { values, positionals } = readWords(args, captureOptions);
  refuseWords("capture", positionals, "Name the corpus with --corpus.");
  if (values["inspect"] !== undefined) return inspect(values, io);
  const required = (name: string, what: string): string => {
    const value = values[name] as string | undefined;
    if (value) return value;
    throw new UsageError(`capture: expected --${name} ${what}, got none`, {
      hint: "penfield <verb> --help lists the options.",
    });
  };
  const name = (values["model"] as string | undefined) ?? "organism-a";
  const spiking = isSpikingCommand(name, values);
  const corpusName = spiking ? "" : required("corpus", "FILE or FOLDER");
  const out = resolve(required("out", "DIR"));
  const hooks = ((values["hooks"] as string[] | undefined) ?? [])
    .flatMap((list) => list.split(","))
    .filter((name) => name !== "");
  if (hooks.length === 0) {
    throw new UsageError("capture: expected --hooks NAMES, got none", {
      hint: "For example --hooks 'blocks.*.mlp.hook_post'; penfield hooks lists them.",
    });
  }
  const options = {
    hooks,
    positions: choiceOption(values, "positions", ["all", "last", "mean"] as const),
    dtype: choiceOption(values, "dtype", ["float32", "float16"] as const),
    maxTokens: numberOption(values, "max-tokens", { whole: true, min: 1 }),
    longTexts: values["split"] ? ("split" as const) : undefined,
    prependBos: values["bos"] ? true : values["no-bos"] ? false : undefined,
    resume: Boolean(values["resume"]),
  };
  const bar = createProgressBar(io.err);
  try {
    const work = { ...options, onProgress: bar.onProgress, signal: io.signal };
    const summary = spiking
      ? await captureRecordings(name, values, out, work)
      : await captureTexts(name, corpusName, values, out, work);
    bar.finish();
    if (values["json"]) io.out.write(`${JSON.stringify(summary)}\n`);
    else {
      const { nRows, nTexts, nTokens, bytes, folder } = summary;
      const [texts, tokens] = spiking ? ["recordings", "steps"] : ["texts", "tokens"];
      io.out.write(
        `${nTexts} ${texts}, ${nTokens} ${tokens}, ${nRows} rows at ${summary.hooks.length} hook points: ${(bytes / 1e6).toFixed(1)} MB\n` +
          `The activations are in ${folder}\n`,
      );
    }
  } finally {
    bar.finish();
  }
}

async function captureTexts(
  name: string,
  corpusName: string,
  values: Values,
  out: string,
  options: CaptureOptions,
): Promise<CaptureSummary> {
  const corpus = await loadCorpus(corpusPath(corpusName));
  const model = await HookedModel.fromPretrained(modelPath(name), {
    file: values["file"] as string | undefined,
    threads: numberOption(values, "threads", { whole: true, min: 1, max: 256 }),
    onProgress: options.onProgress,
  });
  try {
    return await captureActivations(model, corpus, out, options);
  } finally {
    await model.dispose();
  }
}

/** The seed of the trials that the networks which ship with Penfield are run on. */
const TRIAL_SEED = 42;

async function captureRecordings(
  name: string,
  values: Values,
  out: string,
  options: CaptureOptions,
): Promise<CaptureSummary> {
  const { model, recordings } = await openRecordings("capture", name, values, TRIAL_SEED);
  try {
    return await captureActivations(model, recordings, out, options);
  } finally {
    await model.dispose();
  }
}

async function inspect(values: Values, io: Surroundings): Promise<void> {
  const folder = values["inspect"] as string;
  const given = Object.keys(values).filter((name) => name !== "inspect" && name !== "json");
  if (folder === "" || given.length > 0) {
    throw new UsageError(
      folder === ""
        ? "--inspect: expected a folder, got an empty name"
        : `capture: expected --inspect alone, got --${given[0]} too`,
    );
  }
  const store = await openActivations(resolve(folder), { allowIncomplete: true });
  const { index, complete, nRows, nTexts } = store;
  if (values["json"]) {
    io.out.write(`${JSON.stringify({ complete, nRows, nTexts, index })}\n`);
    return;
  }
  const { model, corpus, options, hooks, shards } = index;
  io.out.write(
    `${model.name} (sha256 ${model.sha256.slice(0, 12)}), ${corpus.nTexts} texts, ${corpus.nTokens} tokens\n` +
      `${options.positions === "all" ? "every token" : options.positions === "last" ? "the last token of each text" : "the mean over the tokens of each text"}, ${options.dtype}\n` +
      `${complete ? "complete" : "not finished (--resume goes on)"}: ${nRows} of ${index.nRows} rows, ${shards.length} shards\n\n`,
  );
  for (const { name, axes, shape } of hooks) {
    io.out.write(`${name}  [${axes.map((axis, i) => `${axis} ${shape[i]}`).join(", ")}]\n`);
  }
}
