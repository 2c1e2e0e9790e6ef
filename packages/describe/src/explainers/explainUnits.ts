import { join } from "node:path";
import {
  ArgumentError,
  createRng,
  DataError,
  type LongWork,
  permutation,
  sampleWithoutReplacement,
  throwIfAborted,
  writeFileAtomic,
} from "@penfield/core";
import type { Census, WeightStatistics } from "@penfield/localize";
import { unitsOfHooks } from "../hookUnits.ts";
import { type OutputSide, outputSides } from "../outputSide.ts";
import { keptDocuments } from "../splits.ts";
import {
  type Evidence,
  gatherEvidence,
  unitIdentity,
  type WindowText,
  windowText,
} from "./evidence.ts";
import type { Explainer, Explanation, Judge } from "./explainer.ts";
import { type AnswerSet, ExplainFile } from "./explainFile.ts";
import { type JudgeQuestions, type JudgeScores, judgeQuestions, scoreText } from "./judgeScores.ts";

/** A unit in the words of an explainer, and how well they hold according to a judge. */
export interface ExplainedUnit {
  readonly unit: number;
  readonly hook: string;
  readonly index: number;
  /** In the order of the explainer; none where there is a reason. */
  readonly explanations: readonly (Explanation & { readonly scores: JudgeScores })[];
  /** Why there are none. */
  readonly reason:
    | "dead: nowhere active in the documents that are for explaining"
    | "constant: its value does not vary"
    | "the explainer's answer failed"
    | undefined;
  /** Floor: the text of another unit, and what the judge makes of it on this unit's stretches. */
  readonly otherText: { readonly text: string; readonly scores: JudgeScores } | undefined;
}

/** What explainer and judge find where there is nothing to be found: of each unit's first text; failed ones are undefined. */
export interface JudgeFloor {
  readonly nUnits: number;
  readonly detectionAuroc: readonly (number | undefined)[];
  readonly fuzzingAuroc: readonly (number | undefined)[];
  readonly simulationR: readonly (number | undefined)[];
}

export interface ExplainedUnits {
  /** Names of explainer and judge, and SHA-256 of the judge's prompts. */
  readonly explainer: string;
  readonly judge: string;
  readonly judgePrompts: Readonly<Record<string, string>>;
  readonly units: readonly ExplainedUnit[];
  readonly floors: {
    /** Values of units in random order: texts made from nothing. */
    readonly shuffled: JudgeFloor;
    /** Units of a model with random weights, if its census was given. */
    readonly randomModel: JudgeFloor | undefined;
  };
  /** Shares over all units: of explanations and of judgements that were answered. */
  readonly coverage: { readonly explained: number; readonly judged: number };
}

export interface ExplainUnitsOptions extends LongWork {
  readonly explainer: Explainer;
  readonly judge: Judge;
  /** Units to explain; default all. Each costs one question to the explainer and about 50 to the judge, half of them for the floor. */
  readonly units?: ArrayLike<number> | undefined;
  /** A name for documents that belong together: they are never parted. */
  readonly groupOf?: ((documentId: string) => string | undefined) | undefined;
  /** The census of the same model with random weights, on the same documents. */
  readonly randomModel?: Census | undefined;
  /** Adds the tokens that units raise and lower to the evidence. */
  readonly weights?: readonly WeightStatistics[] | undefined;
  /** Units of the same hooks on which each of the last two floors is measured; default 5. */
  readonly nFloorUnits?: number | undefined;
  /** Stretches shown to the explainer, and near misses; default 40 and 10. */
  readonly nActive?: number | undefined;
  readonly nNearMisses?: number | undefined;
  /** Stretches of each kind for the judge, and for predictions of levels; default 20 and 10. */
  readonly nContexts?: number | undefined;
  readonly nSimulated?: number | undefined;
  /**
   * A folder for the answers: they are written as they come, and the same call goes on where it was stopped, without asking again. More units, and other
   * floors, can be asked about later.
   */
  readonly folder?: string | undefined;
  /** With a folder: after so many questions about units without any answer, one after the other, the work stops; they are asked again. Default 5. */
  readonly stopAfter?: number | undefined;
  readonly seed?: number | undefined;
}

/**
 * Explains units with an explainer and scores the texts with a judge, on documents that the explainer has not seen, beside three floors: the text of
 * another unit, texts for shuffled values, and texts for a model with random weights.
 *
 * With a `folder` a run that was stopped goes on: `answers.jsonl` there holds what each unit was called and how each text was scored, and at the end `explained.jsonl`
 * a unit a line, and `explained-floors.json` the rest of the result. Interrupted or not, the files have the same bytes, if explainer and judge always answer the same.
 *
 * @throws {DataError} if the census kept no values, or the random model's is of other documents or other hooks.
 * @throws {ArgumentError} if there is no unit.
 * @throws {FileError} if the folder holds answers about another census, from another explainer or judge, or with other options; it says which.
 * @throws {FormatError} if a line there is no answer.
 * @throws {InterruptedError} if the signal has fired, or the explainer and judge no longer answer (`stopAfter`).
 * Errors of explainer and judge pass through: a used-up budget stops the work.
 *
 * Cost: that of the questions. Memory: the values of one unit, the text, and what is asked about each unit, some 100 kB.
 * Source: Bills et al. (2023), Language models can explain neurons in language models; Paulo et al. (2024); Huang et al. (2023). Unlike in Delphi at the
 * commit that was read, no document is both shown and asked about.
 *
 * @example
 * import { mkdtemp } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 * import { plantedSource, takeCensus } from "@penfield/localize";
 * const words = ["The", " dog", " cat", " saw", " heard", " the"];
 * const units = [{ name: "cat", active: (text, i) => text[i] === " cat" }];
 * const documents = Array.from({ length: 150 }, (_, d) => ({ tokens: [0, 1 + (d % 3 === 0), 3 + (d % 5 === 0), 5, 1 + ((d >> 1) % 2)] }));
 * const census = await takeCensus(plantedSource({ words, units }), documents, join(await mkdtemp(join(tmpdir(), "census-")), "planted"));
 * const judge = {
 *   name: "words",
 *   prompts: {},
 *   explain: () => Promise.resolve([{ text: "cat", source: "words", promptSha256: undefined }]),
 *   classify: (text, contexts) =>
 *     Promise.resolve(contexts.map(({ tokens, marked = tokens.keys() }) => Number([...marked].some((i) => tokens[i].trim() === text)))),
 * };
 * const found = await explainUnits(census, { explainer: judge, judge, groupOf: (id) => id, nFloorUnits: 1 });
 * found.units[0].explanations[0].scores.detectionAuroc > 0.9 // => true
 * await census.close();
 */
export async function explainUnits(
  census: Census,
  options: ExplainUnitsOptions,
): Promise<ExplainedUnits> {
  const { explainer, judge, randomModel, seed = 0 } = options;
  if (randomModel && randomModel.meta.corpusSha256 !== census.meta.corpusSha256) {
    throw new DataError("explainUnits: expected a random model's census of the same documents");
  }
  const units = options.units ? Array.from(options.units) : [...Array(census.nUnits).keys()];
  if (units.length === 0) throw new ArgumentError("explainUnits: expected a unit, got none");
  const text = await windowText(census, options);
  const outputs = await outputsOf(census, options.weights ?? []);

  const file = await openFile(census, options);

  const found: Found[] = [];
  for (const unit of units) {
    throwIfAborted(options.signal, "explainUnits");
    const values = await census.values(unit);
    const { hook, index } = unitIdentity(census, unit);
    const place = { census, text, set: "units", file } as const;
    found.push(await explain(place, unit, values, outputs(hook, index), options));
    report(options, "explaining units", found.length, units.length);
  }
  const explained: ExplainedUnit[] = [];
  for (const [i, own] of found.entries()) {
    throwIfAborted(options.signal, "explainUnits");
    explained.push(await scoreUnit(own, otherText(found, i, seed), file, options));
    report(options, "judging texts", explained.length, units.length);
  }
  const caller = "explainUnits";
  const shuffled = await floorOf(
    { census, text, set: "shuffled", file },
    unitsOfHooks(census, units, { caller }),
    options,
    (values) => {
      const order = permutation(values.length, createRng(seed, 93));
      return values.map((_, i) => values[order[i]!]!);
    },
  );
  const random =
    randomModel &&
    (await floorOf(
      {
        census: randomModel,
        text: await windowText(randomModel, options),
        set: "randomModel",
        file,
      },
      unitsOfHooks(census, units, { other: randomModel, caller }),
      options,
      (values) => values,
    ));
  await file?.finish();
  const result: ExplainedUnits = {
    explainer: explainer.name,
    judge: judge.name,
    judgePrompts: judge.prompts,
    units: explained,
    floors: { shuffled, randomModel: random },
    coverage: coverageOf(explained),
  };
  if (options.folder) await writeResult(options.folder, result);
  return result;
}

async function openFile(
  census: Census,
  options: ExplainUnitsOptions,
): Promise<ExplainFile | undefined> {
  const { folder, stopAfter = 5, groupOf, explainer, judge, randomModel, weights = [] } = options;
  if (!(stopAfter >= 1)) {
    throw new ArgumentError(`explainUnits: expected stopAfter from 1, got ${stopAfter}`);
  }
  if (folder === undefined) return undefined;
  const { ids } = await keptDocuments(census);
  const { nActive, nNearMisses, nContexts, nSimulated, seed } = options;
  return ExplainFile.open(
    folder,
    {
      ...{ census, randomModel, explainer, judge, weights },
      groups: ids.map((id) => groupOf?.(id)),
      options: { nActive, nNearMisses, nContexts, nSimulated, seed },
    },
    stopAfter,
  );
}

async function writeResult(folder: string, { units, ...rest }: ExplainedUnits): Promise<void> {
  const lines = units.map((unit) => `${JSON.stringify(unit)}\n`).join("");
  await writeFileAtomic(join(folder, "explained.jsonl"), lines);
  await writeFileAtomic(join(folder, "explained-floors.json"), `${JSON.stringify(rest)}\n`);
}

/** Where units are, and where answers about them go. */
interface Place {
  readonly census: Census;
  readonly text: WindowText;
  readonly set: AnswerSet;
  readonly file: ExplainFile | undefined;
}

/** What was said of a unit, and what is asked about it. */
interface Found {
  readonly unit: number;
  readonly hook: string;
  readonly index: number;
  readonly explanations: readonly Explanation[];
  readonly reason: ExplainedUnit["reason"];
  readonly questions: JudgeQuestions;
}

async function explain(
  { census, text, set, file }: Place,
  unit: number,
  values: Float32Array,
  output: OutputSide | undefined,
  options: ExplainUnitsOptions,
): Promise<Found> {
  const identity = unitIdentity(census, unit);
  const { explainer, seed = 0, signal } = options;
  const evidence: Evidence | undefined = gatherEvidence(text, values, identity, {
    ...options,
    output,
  });
  const ask = async (own: Evidence) => explainer.explain(own, { signal });
  const explanations = evidence
    ? await (file ? file.explanations(set, unit, () => ask(evidence)) : ask(evidence))
    : [];
  const constant = values.every((value) => value === values[0]);
  const { hook, index, threshold } = identity;
  return {
    unit,
    hook,
    index,
    explanations,
    reason: evidence
      ? explanations.length === 0
        ? "the explainer's answer failed"
        : undefined
      : constant && values[0]! > threshold
        ? "constant: its value does not vary"
        : "dead: nowhere active in the documents that are for explaining",
    questions: judgeQuestions(text, values, threshold, { ...options, seed: seed + unit }),
  };
}

async function scoreUnit(
  { explanations, questions, ...own }: Found,
  other: string | undefined,
  file: ExplainFile | undefined,
  options: ExplainUnitsOptions,
): Promise<ExplainedUnit> {
  const scoresOf = (text: string) =>
    scoresFor({ set: "units", file }, own.unit, text, questions, options);
  const scored: (Explanation & { scores: JudgeScores })[] = [];
  for (const explanation of explanations) {
    scored.push({ ...explanation, scores: await scoresOf(explanation.text) });
  }
  return {
    ...own,
    explanations: scored,
    otherText:
      other === undefined || explanations.length === 0
        ? undefined
        : { text: other, scores: await scoresOf(other) },
  };
}

function scoresFor(
  { set, file }: Pick<Place, "set" | "file">,
  unit: number,
  text: string,
  questions: JudgeQuestions,
  { judge, signal }: ExplainUnitsOptions,
): Promise<JudgeScores> {
  const ask = () => scoreText(judge, text, questions, { signal });
  return file ? file.scores(set, unit, text, ask) : ask();
}

/** The text of another unit, of the same hook if there is one. */
function otherText(found: readonly Found[], at: number, seed: number): string | undefined {
  const { hook, unit } = found[at]!;
  const others = found.filter((own) => own.unit !== unit && own.explanations.length > 0);
  const near = others.filter((own) => own.hook === hook);
  const from = near.length > 0 ? near : others;
  if (from.length === 0) return undefined;
  return from[createRng(seed + unit, 92).below(from.length)]!.explanations[0]!.text;
}

async function floorOf(
  place: Place,
  units: readonly number[],
  options: ExplainUnitsOptions,
  change: (values: Float32Array) => Float32Array,
): Promise<JudgeFloor> {
  const { signal, seed = 0, nFloorUnits = 5 } = options;
  const nUnits = Math.min(nFloorUnits, units.length);
  const scores: (JudgeScores | undefined)[] = [];
  for (const i of sampleWithoutReplacement(units.length, nUnits, createRng(seed, 94))) {
    throwIfAborted(signal, "explainUnits");
    const unit = units[i]!;
    const values = change(await place.census.values(unit));
    const { explanations, questions } = await explain(place, unit, values, undefined, options);
    const first = explanations[0];
    scores.push(first && (await scoresFor(place, unit, first.text, questions, options)));
    report(options, "measuring floors", scores.length, nUnits);
  }
  return {
    nUnits,
    detectionAuroc: scores.map((own) => own?.detectionAuroc),
    fuzzingAuroc: scores.map((own) => own?.fuzzingAuroc),
    simulationR: scores.map((own) => own?.simulationR),
  };
}

/** What each unit writes, by the layers whose weights were given. */
async function outputsOf(
  census: Census,
  weights: readonly WeightStatistics[],
): Promise<(hook: string, index: number) => OutputSide | undefined> {
  const word = await census.words();
  const sides = new Map(weights.map((own) => [own.layer, outputSides(own, own.nLayers, word)]));
  const layers = new Map(census.meta.hooks.map(({ name, layer }) => [name, layer]));
  // The statistics are those of the MLP's neurons.
  return (hook, index) =>
    /\bmlp\.hook_(post|pre)$/.test(hook)
      ? sides.get(layers.get(hook) ?? Number.NaN)?.[index]
      : undefined;
}

function coverageOf(units: readonly ExplainedUnit[]): ExplainedUnits["coverage"] {
  const asked = units.filter(
    ({ reason }) => reason === undefined || reason === "the explainer's answer failed",
  );
  const scores = units
    .flatMap(({ explanations }) => explanations.map((own) => own.scores))
    .filter(({ nQuestions }) => nQuestions > 0);
  const judged = scores.flatMap(({ coverage }) =>
    [coverage.detection, coverage.fuzzing, coverage.simulation].filter((own) => own !== undefined),
  );
  return {
    explained:
      asked.length === 0
        ? 0
        : asked.filter(({ explanations }) => explanations.length > 0).length / asked.length,
    judged: judged.length === 0 ? 0 : judged.reduce((sum, share) => sum + share, 0) / judged.length,
  };
}

function report(options: ExplainUnitsOptions, stage: string, done: number, total: number): void {
  options.onProgress?.({ stage, done, total, unit: "units" });
}
