import { basename } from "node:path";
import { encodingScore } from "@penfield/align";
import { UsageError } from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import {
  explainableVariance,
  extrapolateCeiling,
  interSubjectScores,
  loadRecording,
  type Recording,
  signalAndNoise,
  splitHalfCeiling,
} from "@penfield/recordings";
import { columns, shown } from "./compare/record.ts";
import { choiceOption, numberOption, type Options, readWords } from "./options.ts";
import { createProgressBar } from "./progressBar.ts";
import type { Surroundings } from "./surroundings.ts";

const string = { type: "string" } as const;
const flag = { type: "boolean" } as const;

/** What `penfield ceiling` understands. */
export const ceilingOptions: Options = {
  stimuli: string,
  targets: string,
  splits: string,
  repeats: string,
  "missing-values": string,
  between: flag,
  folds: string,
  seed: string,
  threads: string,
  json: flag,
};

/** How much of recordings could be predicted: from their repeats, and from each other. */
export async function ceiling(args: readonly string[], io: Surroundings): Promise<void> {
  const { values, positionals } = readWords(args, ceilingOptions);
  if (positionals.length === 0) {
    throw new UsageError("ceiling: expected a recording, got none", {
      hint: "penfield ceiling sub-01.npy --stimuli ids.tsv; axes are [repeat, stimulus, target].",
    });
  }
  const between = Boolean(values["between"]);
  if (between && positionals.length < 3) {
    throw new UsageError(
      `--between: expected at least 3 subjects, each a file, got ${positionals.length}`,
    );
  }
  const seed = numberOption(values, "seed", { whole: true, max: 2 ** 31 }) ?? 42;
  const nSplits = numberOption(values, "splits", { whole: true, min: 1, max: 10_000 }) ?? 10;
  const nRepeats = numberOption(values, "repeats", { min: 1 });
  const outerFolds = numberOption(values, "folds", { whole: true, min: 2 }) ?? 5;
  const threads = numberOption(values, "threads", { whole: true, min: 1, max: 256 });
  const missing =
    choiceOption(values, "missing-values", ["refuse", "mask", "repeats"] as const) ?? "refuse";
  const recordings: Recording[] = [];
  for (const path of positionals) {
    recordings.push(
      await loadRecording(path, {
        ...(values["stimuli"] === undefined ? {} : { stimuli: values["stimuli"] as string }),
        ...(values["targets"] === undefined ? {} : { targets: values["targets"] as string }),
        missing,
        name: basename(path),
      }),
    );
  }
  const found = recordings.map((recording) =>
    withinSubject(recording, { seed, nSplits, nRepeats }),
  );
  let saturation: BetweenSubjects | undefined;
  if (between) {
    const bar = createProgressBar(io.err);
    const linalg = createLinalg({ threads });
    try {
      const scores = await interSubjectScores(
        recordings,
        async (x, y) =>
          (
            await encodingScore(
              { ...x, axes: ["stimulus", "unit"] as const },
              { ...y, axes: ["stimulus", "target"] as const },
              { linalg, outerFolds, standardize: true, signal: io.signal },
            )
          ).perTarget,
        { seed, onProgress: bar.onProgress, signal: io.signal },
      );
      const fitted = extrapolateCeiling(scores, { seed });
      saturation = {
        ceiling: Number.isFinite(fitted.median) ? fitted.median : null,
        nUndefined: fitted.nUndefined,
        problem: fitted.undefinedReason ?? null,
      };
    } finally {
      bar.finish();
      await linalg.dispose();
    }
  }
  if (values["json"]) {
    io.out.write(`${JSON.stringify({ recordings: found, between: saturation ?? null })}\n`);
    return;
  }
  io.out.write(
    columns([
      ["", "stimuli", "targets", "repeats", "reliability", "highest r", "EV", "signal %"],
      ...found.map((one) => [
        one.name,
        String(one.nStimuli),
        String(one.nTargets),
        String(one.nRepeats),
        shown(one.reliability),
        shown(one.maximumCorrelation),
        shown(one.explainableVariance),
        shown(one.signalPercent),
      ]),
    ]),
  );
  io.out.write(
    "\nMedians over targets. Reliability: split halves, Spearman-Brown. Highest r: its root, what a noiseless model reaches with the mean of all repeats.\n" +
      "EV: explainable variance without its bias. Signal: share of the variance of the mean of the repeats that is signal.\n",
  );
  for (const { problem } of found) if (problem) io.out.write(`\nNote: ${problem}.\n`);
  if (saturation) {
    io.out.write(
      `\nSubjects predicted from each other, extrapolated to endless subjects: median r ${shown(saturation.ceiling)} (${saturation.nUndefined} targets without)\n${saturation.problem ? `\nNote: ${saturation.problem}.\n` : ""}`,
    );
  }
}

interface BetweenSubjects {
  /** Median over the targets of all subjects. */
  readonly ceiling: number | null;
  readonly nUndefined: number;
  readonly problem: string | null;
}

interface WithinSubject {
  readonly name: string;
  readonly nStimuli: number;
  readonly nTargets: number;
  readonly nRepeats: number;
  readonly reliability: number | null;
  readonly maximumCorrelation: number | null;
  readonly explainableVariance: number | null;
  readonly signalPercent: number | null;
  readonly nUndefined: number;
  readonly problem: string | null;
}

function withinSubject(
  recording: Recording,
  { seed, nSplits, nRepeats }: { seed: number; nSplits: number; nRepeats: number | undefined },
): WithinSubject {
  const halves = splitHalfCeiling(recording, { seed, nSplits });
  const variance = explainableVariance(recording);
  const noise = signalAndNoise(recording, nRepeats === undefined ? {} : { nRepeats });
  const number = (value: number): number | null => (Number.isFinite(value) ? value : null);
  const [repeats, nStimuli, nTargets] = recording.data.shape;
  return {
    name: recording.name,
    nStimuli,
    nTargets,
    nRepeats: repeats,
    reliability: number(halves.medianReliability),
    maximumCorrelation: number(halves.medianMaximumCorrelation),
    explainableVariance: number(variance.medianCorrected),
    signalPercent: number(noise.medianCeilingPercent),
    nUndefined: halves.nUndefined,
    problem: halves.undefinedReason ?? null,
  };
}
