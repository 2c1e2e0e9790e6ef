import { UsageError } from "@penfield/core";
import { unitKinds } from "@penfield/localize";
import type { Reading } from "../layers.ts";
import { choiceOption, numberOption, type Options, type Values } from "../options.ts";

const string = { type: "string" } as const;
const several = { type: "string", multiple: true } as const;
const flag = { type: "boolean" } as const;

/** What `penfield align` understands. */
export const alignOptions: Options = {
  model: string,
  features: several,
  file: string,
  units: string,
  pooling: string,
  "max-tokens": string,
  bos: flag,
  "no-bos": flag,
  stimuli: string,
  key: string,
  groups: string,
  recordings: several,
  events: several,
  "event-key": string,
  response: string,
  tr: string,
  window: string,
  mask: string,
  atlas: string,
  labels: string,
  targets: string,
  "missing-values": string,
  "allow-missing": flag,
  folds: string,
  "inner-folds": string,
  split: string,
  permutations: string,
  "no-floors": flag,
  identify: flag,
  simulations: string,
  candidates: string,
  "signal-to-noise": string,
  seed: string,
  threads: string,
  out: string,
  replace: flag,
  resume: flag,
  json: flag,
};

/** What was asked for. */
export interface AlignSettings extends Reading {
  readonly model: string | undefined;
  readonly features: readonly string[];
  readonly stimuli: string | undefined;
  readonly key: string | undefined;
  readonly groups: string | undefined;
  /** One list of runs for each subject. */
  readonly recordings: readonly (readonly string[])[];
  readonly events: readonly (readonly string[])[];
  readonly eventKey: string;
  readonly response: "glm" | "average";
  readonly trSeconds: number | undefined;
  /** Seconds around each event of a continuous recording. */
  readonly window: readonly [from: number, to: number] | undefined;
  readonly mask: string | undefined;
  readonly atlas: string | undefined;
  readonly labels: string | undefined;
  readonly targets: string | undefined;
  readonly missingValues: "refuse" | "mask" | "repeats";
  readonly allowMissing: boolean;
  readonly folds: number;
  /** Inside each training set, to choose penalties. */
  readonly innerFolds: number | "leave-one-out";
  readonly split: "contiguous" | "grouped" | "leave-one-group-out" | "shuffled" | undefined;
  readonly permutations: number;
  readonly floors: boolean;
  readonly identify: boolean;
  readonly simulations: number;
  readonly candidates: number;
  readonly signalToNoise: number | undefined;
  readonly seed: number;
  readonly resume: boolean;
  readonly json: boolean;
}

const list = (values: Values, name: string): string[] =>
  (values[name] as string[] | undefined) ?? [];

/** Several of one option are subjects; commas part the runs of one. */
const runs = (values: Values, name: string): string[][] =>
  list(values, name).map((text) => text.split(",").map((part) => part.trim()));

/** @throws {UsageError} if an option is wrong, or the words do not make an analysis. */
export function readAlignSettings(values: Values): AlignSettings {
  const text = (name: string): string | undefined => values[name] as string | undefined;
  const model = text("model");
  const features = runs(values, "features").flat();
  const recordings = runs(values, "recordings");
  const events = runs(values, "events");
  if (recordings.length === 0) {
    throw new UsageError("align: expected a recording, got none", {
      hint: "penfield align --model organism-a --stimuli sentences.tsv --recordings sub-01.npy",
    });
  }
  if ((model === undefined) === (features.length === 0)) {
    throw new UsageError(
      `align: expected --model or --features, got ${model === undefined ? "neither" : "both"}`,
      { hint: "--features layer1.npy,layer2.npy takes activations of any origin." },
    );
  }
  if (model !== undefined && values["stimuli"] === undefined) {
    throw new UsageError("align: expected --stimuli, the texts of the recording, got only --model");
  }
  if (events.length > 0 && events.flat().length !== recordings.flat().length) {
    throw new UsageError(
      `--events: expected a table for each of ${recordings.flat().length} images, got ${events.flat().length}`,
      { hint: "Repeat it for each subject, with commas between runs, as in --recordings." },
    );
  }
  const groups = text("groups");
  const split = choiceOption(values, "split", [
    "contiguous",
    "grouped",
    "leave-one-group-out",
    "shuffled",
  ] as const);
  if ((split === "grouped" || split === "leave-one-group-out") && groups === undefined) {
    throw new UsageError(`--split ${split}: expected --groups COLUMN beside it, got none`);
  }
  if (values["candidates"] !== undefined && !values["identify"]) {
    throw new UsageError("--candidates: expected --identify beside it, got none");
  }
  return {
    model,
    features,
    file: text("file"),
    units: choiceOption(values, "units", unitKinds) ?? "resid",
    pooling: choiceOption(values, "pooling", ["mean", "last"] as const) ?? "last",
    maxTokens: numberOption(values, "max-tokens", { whole: true, min: 1 }),
    prependBos: values["bos"] ? true : values["no-bos"] ? false : undefined,
    stimuli: text("stimuli"),
    key: text("key"),
    groups,
    recordings,
    events,
    eventKey: text("event-key") ?? "trial_type",
    response: choiceOption(values, "response", ["glm", "average"] as const) ?? "glm",
    trSeconds: numberOption(values, "tr", { min: 0.001 }),
    window: readWindow(text("window")),
    mask: text("mask"),
    atlas: text("atlas"),
    labels: text("labels"),
    targets: text("targets"),
    missingValues:
      choiceOption(values, "missing-values", ["refuse", "mask", "repeats"] as const) ?? "refuse",
    allowMissing: Boolean(values["allow-missing"]),
    folds: numberOption(values, "folds", { whole: true, min: 2 }) ?? 5,
    innerFolds:
      text("inner-folds") === "leave-one-out"
        ? "leave-one-out"
        : (numberOption(values, "inner-folds", { whole: true, min: 2 }) ?? 5),
    split,
    permutations: numberOption(values, "permutations", { whole: true, max: 100_000 }) ?? 0,
    floors: !values["no-floors"],
    identify: Boolean(values["identify"]),
    simulations: numberOption(values, "simulations", { whole: true, min: 1, max: 1000 }) ?? 10,
    candidates: numberOption(values, "candidates", { whole: true, min: 2, max: 100 }) ?? 6,
    signalToNoise: numberOption(values, "signal-to-noise", { min: 1e-6 }),
    seed: numberOption(values, "seed", { whole: true, max: 2 ** 31 }) ?? 42,
    threads: numberOption(values, "threads", { whole: true, min: 1, max: 256 }),
    resume: Boolean(values["resume"]),
    json: Boolean(values["json"]),
  };
}

function readWindow(text: string | undefined): readonly [number, number] | undefined {
  if (text === undefined) return undefined;
  const [from, to, ...more] = text
    .split(",")
    .map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  if (more.length > 0 || !(Number.isFinite(from) && Number.isFinite(to) && from! < to!)) {
    throw new UsageError(
      `--window: expected FROM,TO in seconds, the first below the second, got ${JSON.stringify(text)}`,
    );
  }
  return [from!, to!];
}
