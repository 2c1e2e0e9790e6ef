import { join } from "node:path";
import { FormatError, InterruptedError, sha256 } from "@penfield/core";
import type { Census, WeightStatistics } from "@penfield/localize";
import { z } from "zod";
import { LineFile } from "../lineFile.ts";
import type { Explainer, Explanation, Judge } from "./explainer.ts";
import type { JudgeScores } from "./judgeScores.ts";

/** Which units an answer is about: those that were asked for, or those of a floor. */
export type AnswerSet = "units" | "shuffled" | "randomModel";

/** What answers depend on. */
export interface AnswerSetting {
  readonly census: Census;
  readonly randomModel: Census | undefined;
  readonly explainer: Explainer;
  readonly judge: Judge;
  /** Name of the group of each kept document. */
  readonly groups: readonly (string | undefined)[];
  readonly weights: readonly WeightStatistics[];
  readonly options: Readonly<Record<string, number | undefined>>;
}

const set = z.enum(["units", "shuffled", "randomModel"]);
const number = z.number();
const area = number.optional();
const contexts = z.array(
  z.strictObject({ tokens: z.array(z.string()), marked: z.array(number).optional() }),
);
const scoresSchema = z.strictObject({
  reason: z.string().optional(),
  detectionAuroc: area,
  detectionLow: area,
  detectionHigh: area,
  fuzzingAuroc: area,
  simulationR: area,
  precision: number,
  recall: number,
  f1: number,
  falsePositives: contexts,
  falseNegatives: contexts,
  coverage: z.strictObject({ detection: number, fuzzing: number, simulation: area }),
  nQuestions: number,
});
const explanationSchema = z.strictObject({
  text: z.string(),
  source: z.string(),
  promptSha256: z.string().optional(),
});
const lineSchema = z.union([
  z.strictObject({ set, unit: number, explanations: z.array(explanationSchema) }),
  z.strictObject({ set, unit: number, text: z.string(), scores: scoresSchema }),
]);

type WrittenScores = z.infer<typeof scoresSchema>;

/** What is written of an explanation. */
const plain = ({ text, source, promptSha256 }: z.infer<typeof explanationSchema>): Explanation => ({
  text,
  source,
  promptSha256,
});

/** Answers about units, written down as they come, so that none is asked for twice. */
export class ExplainFile {
  readonly #file: LineFile;
  readonly #stopAfter: number;
  readonly #explanations = new Map<string, readonly Explanation[]>();
  readonly #scores = new Map<string, JudgeScores>();
  /**
   * Lines that are not written yet, because a server that has gone away must be asked again: those without an answer, and before them one with
   * a part of its answers. They are written when there is an answer again.
   */
  #waiting: object[] = [];
  #nUnanswered = 0;

  private constructor(file: LineFile, stopAfter: number) {
    this.#file = file;
    this.#stopAfter = stopAfter;
  }

  /** @throws {FileError} if the folder holds answers of other work. @throws {FormatError} for a line that is no answer. */
  static async open(
    folder: string,
    setting: AnswerSetting,
    stopAfter: number,
  ): Promise<ExplainFile> {
    const path = join(folder, "answers.jsonl");
    const file = await LineFile.open(path, headerOf(setting), {
      caller: "explainUnits",
      content: "answers about this census from this explainer and judge with these options",
    });
    const own = new ExplainFile(file, stopAfter);
    file.lines.forEach((line, i) => {
      const parsed = lineSchema.safeParse(line);
      if (!parsed.success) {
        const { path: where, message } = parsed.error.issues[0]!;
        throw new FormatError(
          `explainUnits: ${path}: line ${i + 2}: ${where.join(".") || "line"}: ${message}`,
        );
      }
      const { data } = parsed;
      const { set, unit } = data;
      if ("scores" in data) own.#scores.set(keyOf(set, unit, data.text), ordered(data.scores));
      else {
        own.#explanations.set(keyOf(set, unit), data.explanations.map(plain));
      }
    });
    return own;
  }

  /** What was said of a unit; `ask` is only called where that is not known. */
  async explanations(
    set: AnswerSet,
    unit: number,
    ask: () => Promise<readonly Explanation[]>,
  ): Promise<readonly Explanation[]> {
    const known = this.#explanations.get(keyOf(set, unit));
    if (known) return known;
    const explanations = (await ask()).map(plain);
    this.#explanations.set(keyOf(set, unit), explanations);
    await this.#add({ set, unit, explanations }, explanations.length > 0 ? "all" : "none");
    return explanations;
  }

  /** The scores of a text for a unit. */
  async scores(
    set: AnswerSet,
    unit: number,
    text: string,
    ask: () => Promise<JudgeScores>,
  ): Promise<JudgeScores> {
    const known = this.#scores.get(keyOf(set, unit, text));
    if (known) return known;
    const scores = ordered(await ask());
    this.#scores.set(keyOf(set, unit, text), scores);
    await this.#add({ set, unit, text, scores }, answeredOf(scores));
    return scores;
  }

  /** Writes what waits. */
  async finish(): Promise<void> {
    await this.#file.add(...this.#waiting.splice(0));
  }

  async #add(line: object, answered: Answered): Promise<void> {
    if (answered !== "none") {
      await this.finish();
      this.#nUnanswered = 0;
    }
    this.#waiting.push(line);
    if (answered === "all") await this.finish();
    if (answered === "none" && ++this.#nUnanswered >= this.#stopAfter) {
      throw new InterruptedError(
        `explainUnits: expected answers, got none ${this.#nUnanswered} times one after the other`,
        {
          hint: "Is the server still there? The same call goes on where this one stopped, and asks these again; stopAfter says how many are borne.",
        },
      );
    }
  }
}

type Answered = "all" | "some" | "none";

function answeredOf({ nQuestions, coverage }: JudgeScores): Answered {
  const { detection, fuzzing, simulation = 1 } = coverage;
  if (nQuestions === 0 || Math.min(detection, fuzzing, simulation) === 1) return "all";
  return Math.max(detection, fuzzing, coverage.simulation ?? 0) > 0 ? "some" : "none";
}

const keyOf = (set: AnswerSet, unit: number, text?: string): string =>
  JSON.stringify([set, unit, text]);

/** The same fields in the same order, whether they were asked for or read: JSON has no undefined. */
const ordered = ({ coverage, ...scores }: WrittenScores | JudgeScores): JudgeScores => ({
  reason: scores.reason,
  detectionAuroc: scores.detectionAuroc,
  detectionLow: scores.detectionLow,
  detectionHigh: scores.detectionHigh,
  fuzzingAuroc: scores.fuzzingAuroc,
  simulationR: scores.simulationR,
  precision: scores.precision,
  recall: scores.recall,
  f1: scores.f1,
  falsePositives: scores.falsePositives,
  falseNegatives: scores.falseNegatives,
  coverage: {
    detection: coverage.detection,
    fuzzing: coverage.fuzzing,
    simulation: coverage.simulation,
  },
  nQuestions: scores.nQuestions,
});

function headerOf(setting: AnswerSetting): Record<string, unknown> {
  const { census, randomModel, explainer, judge, groups, weights, options } = setting;
  const { model, corpusSha256, nKeptTokens, hooks } = census.meta;
  return {
    format: "penfield-answers",
    version: 1,
    model: model.name,
    modelSha256: model.sha256,
    corpusSha256,
    nKeptTokens,
    hooks,
    randomModel: randomModel?.meta.model.sha256 ?? null,
    explainer: explainer.name,
    judge: judge.name,
    prompts: { ...explainer.prompts, ...judge.prompts },
    groups: sha256(JSON.stringify(groups.map((group) => group ?? null))),
    weights: sha256(
      JSON.stringify(
        weights.map(({ layer, topTokens, bottomTokens }) => [
          layer,
          Array.from(topTokens),
          Array.from(bottomTokens),
        ]),
      ),
    ),
    options: Object.fromEntries(Object.entries(options).map(([k, v]) => [k, v ?? null])),
  };
}
