import { createRng } from "@penfield/core";
import { areaUnderRoc, bootstrapInterval, pearson } from "@penfield/stats";
import { drawSome, type MeasuredWindow, spread, stratify, type WindowText } from "./evidence.ts";
import type { AskOptions, Judge, JudgeContext } from "./explainer.ts";

/** What a judge is asked about one unit: made once, so that its own text and the floors answer the same questions. */
export interface JudgeQuestions {
  /** Why nothing can be asked; the lists are empty then. */
  readonly reason: string | undefined;
  /** Stretches with the unit's label, 1 active, and how many of the score documents' stretches each stands for. */
  readonly detection: readonly {
    readonly context: JudgeContext;
    readonly label: 0 | 1;
    readonly weight: number;
  }[];
  /** Active stretches with marks on active tokens, label 1, and on as many silent ones, label 0. */
  readonly fuzzing: readonly { readonly context: JudgeContext; readonly label: 0 | 1 }[];
  /** Stretches with the values of their tokens as levels 0 to 10, not rounded. */
  readonly simulation: readonly {
    readonly context: JudgeContext;
    readonly levels: readonly number[];
  }[];
}

export interface JudgeQuestionOptions {
  /** Stretches of each kind that are judged: active ones, and silent ones of which half are hard; default 20. */
  readonly nContexts?: number | undefined;
  /** Stretches whose levels are predicted, half of them active; default 10. */
  readonly nSimulated?: number | undefined;
  readonly seed?: number | undefined;
}

/** With fewer, an area under a curve says nothing. */
const MIN_CONTEXTS = 5;

/**
 * What a judge is asked about a unit, from the score documents alone: active stretches evenly from all heights; silent ones, half of them hard (with the
 * unit's own tokens in them); active stretches with the right and with wrong tokens marked; stretches to predict levels for.
 *
 * @param values - Of the unit, `[nKeptTokens]`.
 * @param threshold - Above which a value counts as active.
 *
 * @example
 * const window = (i) => ({ document: i, from: 2 * i, to: 2 * i + 2 });
 * const text = { tokens: Array.from({ length: 40 }, (_, i) => (i % 4 === 1 ? " cat" : " a")), explain: [], score: Array.from({ length: 20 }, (_, i) => window(i)) };
 * const { detection } = judgeQuestions(text, Float32Array.from(text.tokens, (token) => (token === " cat" ? 1 : 0)), 0);
 * detection.filter(({ label }) => label === 1).length // => 10
 */
export function judgeQuestions(
  text: WindowText,
  values: Float32Array,
  threshold: number,
  { nContexts = 20, nSimulated = 10, seed = 0 }: JudgeQuestionOptions = {},
): JudgeQuestions {
  const nothing = (reason: string): JudgeQuestions => ({
    reason,
    detection: [],
    fuzzing: [],
    simulation: [],
  });
  if (values.every((value) => value === values[0])) {
    return nothing("constant: its value does not vary");
  }
  const { active, hard, plain } = stratify(text.tokens, text.score, values, threshold);
  if (active.length < MIN_CONTEXTS) return nothing("too few active stretches to be scored on");
  if (hard.length + plain.length < MIN_CONTEXTS) {
    return nothing("too few silent stretches to be scored on");
  }
  const rng = createRng(seed, 91);
  const on = spread(active, nContexts);
  // As many hard as plain ones, as far as there are; of the one kind more where the other runs out.
  const nHard = Math.min(hard.length, Math.max(nContexts / 2, nContexts - plain.length));
  const offHard = drawSome(hard, Math.floor(nHard), rng);
  const offPlain = drawSome(plain, nContexts - offHard.length, rng);

  const contextOf = ({ from, to }: MeasuredWindow, marked?: readonly number[]): JudgeContext => ({
    tokens: text.tokens.slice(from, to),
    ...(marked ? { marked } : {}),
  });
  const stratum = (chosen: readonly MeasuredWindow[], all: number, label: 0 | 1) =>
    chosen.map((window) => ({ context: contextOf(window), label, weight: all / chosen.length }));
  const fuzzing = on.flatMap((window) => {
    const places = Array.from({ length: window.to - window.from }, (_, i) => i);
    const isOn = (i: number) => values[window.from + i]! > threshold;
    const right = places.filter(isOn);
    const wrong = places.filter((i) => !isOn(i));
    const n = Math.min(right.length, wrong.length);
    if (n === 0) return []; // Active all over: there is nothing to be told apart.
    return [
      { context: contextOf(window, drawSome(right, n, rng)), label: 1 as const },
      { context: contextOf(window, drawSome(wrong, n, rng)), label: 0 as const },
    ];
  });
  const highest = values[active[0]!.peak]!;
  const nOn = Math.ceil(nSimulated / 2);
  const simulated = [
    ...spread(active, nOn),
    ...drawSome([...hard, ...plain], nSimulated - nOn, rng),
  ];
  return {
    reason: undefined,
    detection: [
      ...stratum(on, active.length, 1),
      ...stratum(offHard, hard.length, 0),
      ...stratum(offPlain, plain.length, 0),
    ],
    fuzzing,
    simulation: simulated.map((window) => ({
      context: contextOf(window),
      levels: Array.from(values.subarray(window.from, window.to), (value) =>
        highest > 0 ? (10 * Math.max(0, value)) / highest : 0,
      ),
    })),
  };
}

/** How well a text holds, according to a judge who has only the text. */
export interface JudgeScores {
  /** Why there are no scores: a unit that never varies has r = 0 and nothing else. */
  readonly reason: string | undefined;
  /** Tells active stretches from silent ones, half of them hard. 0.5 is chance. */
  readonly detectionAuroc: number | undefined;
  /** 95 % interval of it, stretches of each kind resampled. */
  readonly detectionLow: number | undefined;
  readonly detectionHigh: number | undefined;
  /** Tells marks on active tokens from marks on silent ones. */
  readonly fuzzingAuroc: number | undefined;
  /** Pearson of predicted and true levels over all tokens of all stretches; 0 where either does not vary. Undefined if the judge cannot predict. */
  readonly simulationR: number | undefined;
  /** Of the text as a claim about which stretches hold an active token, every stretch counted as often as it stands for others. */
  readonly precision: number;
  readonly recall: number;
  readonly f1: number;
  /** Claimed but silent, and active but not claimed: at most 5 each. */
  readonly falsePositives: readonly JudgeContext[];
  readonly falseNegatives: readonly JudgeContext[];
  /** Share of the questions that were answered. Others count as "don't know": they pull an area to 0.5, and r to 0. */
  readonly coverage: {
    readonly detection: number;
    readonly fuzzing: number;
    readonly simulation: number | undefined;
  };
  readonly nQuestions: number;
}

/**
 * Scores a text: detection, fuzzing, simulation, precision and recall with counterexamples.
 *
 * A failed answer is not left out: as a judgement it counts one half, which claims nothing; as a prediction it is the mean of the others. `coverage`
 * says how many there were.
 *
 *   precision = sum of weights claimed and active / sum claimed,   recall = sum claimed and active / sum active
 *
 * Claimed is what is judged above one half, or, for a judge whose answers are no probabilities (surprisal), above the middle of its answers.
 *
 * Source: detection and fuzzing Paulo et al. (2024); simulation Bills et al. (2023), over concatenated tokens; precision and recall Huang et al.
 * (2023), whose strings are stretches here.
 *
 * @example
 * const window = (i) => ({ document: i, from: 2 * i, to: 2 * i + 2 });
 * const text = { tokens: Array.from({ length: 40 }, (_, i) => (i % 4 === 1 ? " cat" : " a")), explain: [], score: Array.from({ length: 20 }, (_, i) => window(i)) };
 * const questions = judgeQuestions(text, Float32Array.from(text.tokens, (token) => (token === " cat" ? 1 : 0)), 0);
 * const judge = { name: "words", prompts: {}, classify: (own, contexts) => Promise.resolve(contexts.map(({ tokens }) => Number(tokens.join("").includes(own)))) };
 * const { detectionAuroc, f1 } = await scoreText(judge, "cat", questions);
 * [detectionAuroc, f1] // => [1, 1]
 * (await scoreText(judge, "dog", questions)).detectionAuroc // => 0.5
 */
export async function scoreText(
  judge: Judge,
  text: string,
  questions: JudgeQuestions,
  { signal }: AskOptions = {},
): Promise<JudgeScores> {
  const { reason, detection, fuzzing, simulation } = questions;
  if (reason !== undefined) return withoutScores(reason, judge);
  const [detected, fuzzed, simulated] = await Promise.all([
    judge.classify(
      text,
      detection.map(({ context }) => context),
      { signal, question: "detect" },
    ),
    fuzzing.length === 0
      ? []
      : judge.classify(
          text,
          fuzzing.map(({ context }) => context),
          { signal, question: "fuzz" },
        ),
    judge.simulate?.(
      text,
      simulation.map(({ context }) => context),
      { signal },
    ),
  ]);
  const claims = claimsOf(detected);
  let both = 0;
  let claimed = 0;
  let active = 0;
  detection.forEach(({ label, weight }, i) => {
    if (claims[i]) claimed += weight;
    if (label === 1) active += weight;
    if (claims[i] && label === 1) both += weight;
  });
  const precision = claimed === 0 ? 0 : both / claimed;
  const recall = both / active;
  const counterexamples = (label: 0 | 1) =>
    detection
      // What was not answered is no counterexample.
      .filter(
        (own, i) =>
          own.label === label && claims[i] !== (label === 1) && !Number.isNaN(detected[i]),
      )
      .slice(0, 5)
      .map(({ context }) => context);
  return {
    reason: undefined,
    ...detectionArea(
      detected,
      detection.map(({ label }) => label),
    ),
    fuzzingAuroc: areaOf(
      fuzzed,
      fuzzing.map(({ label }) => label),
    ),
    simulationR: simulated && simulationR(simulated, simulation),
    precision,
    recall,
    f1: precision + recall === 0 ? 0 : (2 * precision * recall) / (precision + recall),
    falsePositives: counterexamples(0),
    falseNegatives: counterexamples(1),
    coverage: {
      detection: answered(detected),
      fuzzing: answered(fuzzed),
      simulation:
        simulated && answered(simulated.map(({ length }) => (length > 0 ? 0 : Number.NaN))),
    },
    nQuestions: detection.length + fuzzing.length + (simulated ? simulation.length : 0),
  };
}

const withoutScores = (reason: string, judge: Judge): JudgeScores => ({
  reason,
  detectionAuroc: undefined,
  detectionLow: undefined,
  detectionHigh: undefined,
  fuzzingAuroc: undefined,
  simulationR: judge.simulate ? 0 : undefined,
  precision: 0,
  recall: 0,
  f1: 0,
  falsePositives: [],
  falseNegatives: [],
  coverage: { detection: 0, fuzzing: 0, simulation: judge.simulate ? 0 : undefined },
  nQuestions: 0,
});

/** Share of answers that are numbers. */
const answered = (answers: readonly number[]): number =>
  answers.length === 0
    ? 0
    : answers.filter((answer) => !Number.isNaN(answer)).length / answers.length;

const isProbability = (answer: number): boolean => answer >= 0 && answer <= 1;

/** What answers are compared with: one half, or the middle of answers that are no probabilities. */
function middleOf(answers: readonly number[]): number {
  const given = answers.filter((answer) => !Number.isNaN(answer)).sort((a, b) => a - b);
  if (given.every(isProbability)) return 0.5;
  const half = given.length / 2;
  return (given[Math.floor(half)]! + given[Math.ceil(half) - 1]!) / 2;
}

function claimsOf(answers: readonly number[]): boolean[] {
  const middle = middleOf(answers);
  return answers.map((answer) => answer > middle);
}

function areaOf(answers: readonly number[], labels: readonly number[]): number | undefined {
  const nOn = labels.filter((label) => label === 1).length;
  if (nOn < MIN_CONTEXTS || labels.length - nOn < MIN_CONTEXTS) return undefined;
  const middle = middleOf(answers);
  return areaUnderRoc(
    answers.map((answer) => (Number.isNaN(answer) ? middle : answer)),
    labels,
  );
}

function detectionArea(
  answers: readonly number[],
  labels: readonly number[],
): Pick<JudgeScores, "detectionAuroc" | "detectionLow" | "detectionHigh"> {
  const detectionAuroc = areaOf(answers, labels);
  if (detectionAuroc === undefined) {
    return { detectionAuroc, detectionLow: undefined, detectionHigh: undefined };
  }
  const { low, high } = bootstrapInterval({
    nItems: labels.length,
    strata: labels,
    nDraws: 200,
    statistic: (items) =>
      areaOf(
        Array.from(items, (i) => answers[i]!),
        Array.from(items, (i) => labels[i]!),
      )!,
  });
  return { detectionAuroc, detectionLow: low, detectionHigh: high };
}

/** Pearson over all tokens; tokens of a stretch without an answer are predicted as the mean of the others. */
function simulationR(
  simulated: readonly (readonly number[])[],
  simulation: JudgeQuestions["simulation"],
): number {
  const given = simulated.flat();
  if (given.length === 0) return 0;
  const mean = given.reduce((sum, level) => sum + level, 0) / given.length;
  const predicted = simulation.flatMap(({ levels }, i) => {
    const own = simulated[i]!;
    return own.length === levels.length ? own : levels.map(() => mean);
  });
  const r = pearson(
    Float64Array.from(predicted),
    Float64Array.from(simulation.flatMap(({ levels }) => levels)),
  );
  return Number.isFinite(r) ? r : 0;
}
