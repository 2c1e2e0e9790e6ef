import { UsageError } from "@penfield/core";
import { unitKinds } from "@penfield/localize";
import { defaultSettings, type Probe, type ProbeSettings } from "@penfield/probes";
import { choiceOption, numberOption, type Options, type Values } from "../options.ts";

const string = { type: "string" } as const;
const flag = { type: "boolean" } as const;

/** What `penfield run` understands. */
export const runOptions: Options = {
  model: string,
  file: string,
  units: string,
  seed: string,
  stimuli: string,
  positive: string,
  negative: string,
  tasks: { type: "string", multiple: true },
  recordings: string,
  "recording-stimuli": string,
  "recording-key": string,
  "recording-groups": string,
  percent: string,
  doses: string,
  random: string,
  pooling: string,
  "max-tokens": string,
  signed: flag,
  "items-per-group": string,
  scoring: string,
  bos: flag,
  "no-bos": flag,
  threads: string,
  out: string,
  replace: flag,
  resume: flag,
  json: flag,
};

/** The settings of a probe: its own defaults, changed by the command's options. */
export function readSettings(probe: Probe, values: Values): ProbeSettings {
  const text = (name: string) => values[name] as string | undefined;
  const doses = text("doses")
    ?.split(",")
    .map((part) => {
      const dose = Number(part);
      if (!(dose > 0 && dose <= 50)) {
        throw new UsageError(
          `--doses: expected percentages from above 0 to 50, separated by commas, got ${JSON.stringify(part)}`,
        );
      }
      return dose;
    });
  const maxTokens = text("max-tokens");
  const given: { [K in keyof ProbeSettings]?: ProbeSettings[K] | undefined } = {
    model: text("model"),
    file: text("file"),
    units: choiceOption(values, "units", unitKinds),
    seed: numberOption(values, "seed", { whole: true, max: 2 ** 31 }),
    stimuli: text("stimuli"),
    positive: text("positive"),
    negative: text("negative"),
    tasks: (values["tasks"] as string[] | undefined)?.flatMap((list) => list.split(",")),
    recordings: text("recordings"),
    recordingStimuli: text("recording-stimuli"),
    recordingKey: text("recording-key"),
    recordingGroups: text("recording-groups"),
    percent: numberOption(values, "percent", { min: 0.001, max: 50 }),
    doses: doses && [...new Set(doses)].sort((a, b) => a - b),
    nRandom: numberOption(values, "random", { whole: true, min: 2, max: 1000 }),
    pooling: choiceOption(values, "pooling", ["last-token", "mean"] as const),
    magnitude: values["signed"] === undefined ? undefined : !values["signed"],
    itemsPerGroup: numberOption(values, "items-per-group", { whole: true, min: 1 }),
    scoring: choiceOption(values, "scoring", ["sum", "mean"] as const),
    prependBos: values["bos"] ? true : values["no-bos"] ? false : undefined,
    threads: numberOption(values, "threads", { whole: true, min: 1, max: 256 }),
  };
  const set = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  if (probe.ownModel && given.model !== undefined) {
    throw new UsageError(
      `run ${probe.id}: expected no --model, got ${JSON.stringify(given.model)}`,
      {
        hint: "This experiment brings its own model.",
      },
    );
  }
  const settings = {
    ...defaultSettings,
    ...probe.defaults,
    ...set,
    ...(maxTokens === undefined
      ? {}
      : {
          maxTokens:
            maxTokens === "all"
              ? undefined
              : numberOption(values, "max-tokens", { whole: true, min: 1 }),
        }),
  };
  // The share that is selected is always one of those silenced: the verdicts speak of it.
  const all = new Set([...settings.doses, settings.percent]);
  return { ...settings, doses: [...all].sort((a, b) => a - b) };
}
