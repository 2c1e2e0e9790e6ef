import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  ArgumentError,
  createRng,
  DataError,
  fileError,
  type LongWork,
  permutation,
  sampleWithoutReplacement,
  sha256,
  throwIfAborted,
  writeFileAtomic,
} from "@penfield/core";
import type { RunnableModel } from "@penfield/hooks";
import type { Census, WeightStatistics } from "@penfield/localize";
import { unitsOfHooks } from "./hookUnits.ts";
import { LineFile } from "./lineFile.ts";
import { type OutputSide, outputSides, scoreOutputSide } from "./outputSide.ts";
import { findRule } from "./rules/findRule.ts";
import { LiteralFinder } from "./rules/literals.ts";
import { type ObjectiveName, objectives } from "./rules/objectives.ts";
import { parseRule, type Rule, ruleSentence } from "./rules/rule.ts";
import { createLexicon, RuleText } from "./rules/ruleText.ts";
import {
  fitOf,
  makePanel,
  medianFit,
  type RuleFit,
  type RuleScores,
  type RuleTrial,
  resampleDocuments,
  ruleTrial,
  type ScoreSetting,
  scoreRule,
  scoreWindows,
} from "./scores.ts";
import { type DocumentSplits, keptDocuments, splitDocuments } from "./splits.ts";

const refusals = [
  "dead: never active on the kept documents",
  "constant: its value does not vary",
  "too few active tokens to fit and score a rule",
  "no condition goes with its values",
  "held-out correlation below the limit",
  "interval reaches below a floor",
] as const;

/** Why a unit has no description. */
export type Refusal = (typeof refusals)[number];

/** What a unit responds to, in words, and how well the words hold on documents that they were not made from. */
export interface UnitDescription {
  /** Its number in the census, its hook point and its number there. */
  readonly unit: number;
  readonly hook: string;
  readonly index: number;
  /** "no reliable description" where there is a refusal. */
  readonly sentence: string;
  readonly refusal: Refusal | undefined;
  /** The best rule that was found, refused or not. */
  readonly rule: Rule | undefined;
  /** A unit without a rule has r = 0 and no scores. */
  readonly r: number;
  readonly scores: RuleScores | undefined;
  /** Floor: what the rules of other units of the hook get on this one, of each score the median of up to nine drawn at random. */
  readonly otherRule: RuleFit | undefined;
  /** Its `r`. */
  readonly otherRuleR: number | undefined;
  /** What it writes, if the model's weights were given; with a score, if the model was given too. */
  readonly output: OutputSide | undefined;
}

/** What the method finds where there is nothing to be found: correlations on held-out documents. */
export interface Floor {
  readonly nUnits: number;
  /** Of all its units, 0 where no rule was found, ascending. */
  readonly r: readonly number[];
  /** Share of units whose r reaches `minR`: a little more than would be described, as intervals are not asked. */
  readonly shareDescribed: number;
  /** Of the units for which a rule was found, of each score the median; undefined if there is none. */
  readonly fit: RuleFit | undefined;
}

export interface Descriptions {
  readonly units: readonly UnitDescription[];
  readonly floors: {
    /** Values of units in random order: rules fitted to nothing. */
    readonly shuffled: Floor;
    /** Units of a model with random weights, if its census was given. */
    readonly randomModel: Floor | undefined;
  };
}

export interface DescribeOptions extends LongWork {
  /** Units to describe; default all. */
  readonly units?: ArrayLike<number> | undefined;
  /** What rules are chosen by: `correlation` (default), MILAN's `pmi` or INVERT's `auroc`. */
  readonly objective?: ObjectiveName | undefined;
  /** Most conditions of a rule, default 3. */
  readonly maxLength?: number | undefined;
  /** What each condition must add to the objective; default 0.01. */
  readonly penalty?: number | undefined;
  /** Rules tried further at each length; default 3. */
  readonly beam?: number | undefined;
  /** Correlation on the score documents below which there is no description; default 0.3. */
  readonly minR?: number | undefined;
  /** Fewest active tokens in each of the three parts of the documents, default 5. */
  readonly minActive?: number | undefined;
  /** A name for documents that belong together, as the two sentences of a pair: they are never parted. */
  readonly groupOf?: ((documentId: string) => string | undefined) | undefined;
  /** The census of the same model with random weights, on the same documents. */
  readonly randomModel?: Census | undefined;
  /** What the weights of the model's MLPs say, of some layers or all: adds the output side to their units. */
  readonly weights?: readonly WeightStatistics[] | undefined;
  /** Tokens as text, for those that a unit writes and the corpus does not have; default `#17`. */
  readonly tokenText?: ((token: number) => string) | undefined;
  /** The model of the census: the output side is scored by setting units in it. Asks for `weights`. */
  readonly outputModel?: RunnableModel | undefined;
  /** Contexts that a unit is set in, from the score documents, half of them with the unit active at their end; default 8. */
  readonly nOutputContexts?: number | undefined;
  /** Units of the same hooks on which each floor is measured; default 30. */
  readonly nFloorUnits?: number | undefined;
  /** Units of the hook that a rule must tell its own from; default 99. */
  readonly nCompared?: number | undefined;
  /** A folder for what was found: rules are written as they come, and kept when the work is begun again, as are descriptions of other units. */
  readonly folder?: string | undefined;
  readonly seed?: number | undefined;
}

/**
 * Describes units by rules: conditions on words, n-grams, positions, topics, parts of speech and kinds of things (of symbols, as a
 * spiking network's census has them, none that is about a language), joined by
 * and, or and not. Rules are proposed on 40 % of the kept documents, chosen on 20 %, scored on the other 40 %; documents
 * are parted by a hash of their tokens. A unit whose rule does not hold gets "no reliable description".
 *
 * A unit is refused if its held-out r is below `minR`, or the lower end of r's interval is not above both floors: the rules of
 * other units, and the 95th percentile of r for shuffled values. The floor of a model with random weights is reported beside, as such
 * a model has units with reliable descriptions too.
 *
 * @throws {DataError} if the census kept no values, or the random model's is of other documents or other hooks.
 * @throws {DataError} if `outputModel` is not the model of the census.
 * @throws {ArgumentError} for an unknown objective, or an `outputModel` without `weights`.
 * @throws {FileError} if the folder holds rules of another census or other options.
 *
 * Cost: of the order of 50 ms for each unit and 20 000 kept tokens on one core. Memory: about 100 bytes for each kept token, and the values
 * of `nCompared` units. An output side that has a sentence costs 42 rows of the model for each context to be scored.
 * Source: families of conditions and their composition after INVERT (Bykov et al. 2023); objective `pmi` after MILAN (Hernandez et al. 2022);
 * simulation r after Bills et al. (2023), Language models can explain neurons in language models; detection and fuzzing after Paulo et al. (2024),
 * Automatically Interpreting Millions of Features in Large Language Models, with whole documents held out.
 *
 * @example
 * import { mkdtemp } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 * import { plantedSource, takeCensus } from "@penfield/localize";
 * const words = ["The", " dog", " cat", " saw", " heard", " the", " old"];
 * const units = [{ name: "after old", active: (text, i) => text[i - 1] === " old" }];
 * const documents = Array.from({ length: 150 }, (_, d) => ({ tokens: [0, ...(d % 2 ? [6] : []), 1 + (d % 3 === 0), 3 + (d % 5 === 0), 5, ...(d % 7 < 3 ? [6] : []), 1 + ((d >> 1) % 2)] }));
 * const census = await takeCensus(plantedSource({ words, units }), documents, join(await mkdtemp(join(tmpdir(), "census-")), "planted"));
 * const { units: [first] } = await describeUnits(census, { groupOf: (id) => id, nFloorUnits: 1 });
 * first.sentence // => "active right after 'old'"
 * await census.close();
 */
export async function describeUnits(
  census: Census,
  options: DescribeOptions = {},
): Promise<Descriptions> {
  const { objective = "correlation", seed = 0, randomModel } = options;
  if (!Object.hasOwn(objectives, objective)) {
    throw new ArgumentError(
      `describeUnits: expected objective ${Object.keys(objectives).join(", ")}, got ${objective}`,
    );
  }
  if (randomModel && randomModel.meta.corpusSha256 !== census.meta.corpusSha256) {
    throw new DataError("describeUnits: expected a random model's census of the same documents");
  }
  if (options.outputModel && !options.weights) {
    throw new ArgumentError(
      "describeUnits: expected weights to score the output side of, got none",
    );
  }
  if (options.outputModel && options.outputModel.sha256 !== census.meta.model.sha256) {
    throw new DataError(
      `describeUnits: expected the model of the census, ${census.meta.model.name}, got ${options.outputModel.cfg.modelName} with other weights`,
    );
  }
  const units = Array.from(options.units ?? { length: census.nUnits }, (unit, i) =>
    options.units ? (unit as number) : i,
  );
  const setting = await prepare(census, options);
  const kept = options.folder
    ? await openRules(options.folder, census, setting, options)
    : undefined;

  const rules = new Map<number, Rule | Refusal>();
  for (const unit of units) {
    throwIfAborted(options.signal, "describeUnits");
    let found = kept?.known.get(unit);
    if (found === undefined) {
      found = fit(await census.values(unit), thresholdOf(census, unit), setting, options);
      await kept?.file.add({ unit, [typeof found === "string" ? "refusal" : "rule"]: found });
    }
    rules.set(unit, found);
    report(options, "finding rules", rules.size, units.length);
  }

  const caller = "describeUnits";
  const shuffled = await floorOf(
    { census, units: unitsOfHooks(census, units, { caller }) },
    setting,
    options,
    (values) => {
      const order = permutation(values.length, createRng(seed, 79));
      return values.map((_, i) => values[order[i]!]!);
    },
  );
  const random =
    randomModel &&
    (await floorOf(
      {
        census: randomModel,
        units: unitsOfHooks(census, units, { other: randomModel, caller }),
      },
      setting,
      options,
      (values) => values,
    ));
  const shuffledR = shuffled.r[Math.ceil(0.95 * shuffled.nUnits) - 1] ?? 0;

  const out: UnitDescription[] = [];
  const seen = await census.words();
  const word = (token: number): string => {
    const text = seen(token);
    return text === `#${token}` && options.tokenText ? options.tokenText(token) : text;
  };
  const written = new Map(
    (options.weights ?? []).map((own) => [own.layer, outputSides(own, own.nLayers, word)] as const),
  );
  const shared = new Map<
    string,
    { readonly panel: ScoreSetting["panel"]; readonly rules: ReadonlyMap<number, Rule> }
  >();
  for (const unit of units) {
    throwIfAborted(options.signal, "describeUnits");
    const { hook } = census.place(unit);
    let ofHook = shared.get(hook.name);
    if (!ofHook) {
      ofHook = {
        panel: await readPanel(census, hook, setting.splits.score, options),
        rules: await rulesOfHook(census, hook, rules, setting, options),
      };
      shared.set(hook.name, ofHook);
    }
    const others = otherRules(unit, ofHook.rules, seed);
    const described = await describeUnit(census, unit, rules.get(unit)!, others, shuffledR, {
      setting,
      panel: ofHook.panel,
      options,
    });
    const { layer } = hook;
    const output =
      layer !== null && hook.name.endsWith("mlp.hook_post")
        ? written.get(layer)?.[described.index]
        : undefined;
    const score = output && (await scoreOutput(census, unit, output, setting, options));
    out.push({ ...described, output: score ? { ...output, score } : output });
    report(options, "scoring rules", out.length, units.length);
  }
  const descriptions = { units: out, floors: { shuffled, randomModel: random } };
  if (options.folder) {
    const { minR = 0.3 } = options;
    const floorsPath = join(options.folder, "floors.json");
    // Rules do not depend on the limit, but who is refused does.
    const resumed = (kept?.known.size ?? 0) > 0 && (await minROf(floorsPath)) === minR;
    await writeDescriptions(join(options.folder, "descriptions.jsonl"), out, resumed);
    await writeFileAtomic(floorsPath, `${JSON.stringify({ ...descriptions.floors, minR })}\n`);
  }
  return descriptions;
}

/** The limit that the descriptions in a folder were refused by; undefined if it is not known. */
async function minROf(floorsPath: string): Promise<unknown> {
  try {
    return (JSON.parse(await readFile(floorsPath, "utf8")) as { minR?: unknown } | null)?.minR;
  } catch {
    return undefined;
  }
}

/** Writes a line for each unit; those of units that were described before, if by the same options, stay. */
async function writeDescriptions(
  path: string,
  units: readonly UnitDescription[],
  resumed: boolean,
): Promise<void> {
  const lines = new Map(units.map((unit) => [unit.unit, JSON.stringify(unit)]));
  const before = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") return "";
    throw fileError("describeUnits", path, cause);
  });
  for (const line of resumed ? before.split("\n") : []) {
    const unit = unitOfLine(line);
    if (unit !== undefined && !lines.has(unit)) lines.set(unit, line);
  }
  const sorted = [...lines].sort(([a], [b]) => a - b);
  await writeFileAtomic(path, sorted.map(([, line]) => `${line}\n`).join(""));
}

/** The unit that a line of JSON is about; undefined for anything else. */
function unitOfLine(line: string): number | undefined {
  try {
    const { unit } = JSON.parse(line) as { unit?: unknown };
    return Number.isSafeInteger(unit) ? (unit as number) : undefined;
  } catch {
    return undefined;
  }
}

/** Other units whose rules make the floor of a unit; fewer if `nFloorUnits` is, and no others are described. */
const N_OTHERS = 9;

/** What all units of a census share. */
interface Setting {
  readonly text: RuleText;
  /** The select documents alone. */
  readonly selected: RuleText;
  readonly finder: LiteralFinder;
  readonly splits: DocumentSplits;
  readonly resampling: ScoreSetting["resampling"];
  readonly windows: ScoreSetting["windows"];
}

async function prepare(census: Census, { groupOf, seed = 0 }: DescribeOptions): Promise<Setting> {
  if (census.meta.nKeptTokens === 0) {
    throw new DataError("describeUnits: expected a census with kept values, got none", {
      hint: "Take it with a keepShare above 0.",
    });
  }
  const { documents, ids } = await keptDocuments(census);
  const word = await census.words();
  const lexicon = census.tokenKind === "symbols" ? undefined : createLexicon();
  const words = documents.map((tokens) => Array.from(tokens, word));
  const text = new RuleText(words, lexicon, census.tokenKind);
  const splits = splitDocuments(
    documents,
    ids.map((id) => groupOf?.(id)),
    seed,
  );
  return {
    text,
    selected: new RuleText(
      words.filter((_, d) => splits.splitOf[d] === 1),
      lexicon,
      census.tokenKind,
    ),
    finder: new LiteralFinder(text),
    splits,
    resampling: resampleDocuments(splits.splitOf, seed),
    windows: scoreWindows(text, splits.splitOf),
  };
}

const thresholdOf = (census: Census, unit: number): number => census.place(unit).hook.threshold;

const activeOf = (values: Float32Array, threshold: number): Uint8Array =>
  Uint8Array.from(values, (value) => (value > threshold ? 1 : 0));

/** The rule of a unit, or why there is none. */
function fit(
  values: Float32Array,
  threshold: number,
  { text, selected, finder, splits }: Setting,
  options: DescribeOptions,
): Rule | Refusal {
  const { objective = "correlation", maxLength = 3, penalty = 0.01, beam = 3 } = options;
  const { minActive = 5 } = options;
  if (values.every((value) => value === values[0])) {
    return values[0]! > threshold
      ? "constant: its value does not vary"
      : "dead: never active on the kept documents";
  }
  const active = activeOf(values, threshold);
  if (!active.includes(1)) return "dead: never active on the kept documents";
  for (const part of [splits.explain, splits.select, splits.score]) {
    let count = 0;
    for (let j = 0; j < part.length; j++) count += active[part[j]!]!;
    if (count < minActive) return "too few active tokens to fit and score a rule";
  }
  const texts = { all: text, selected };
  const found = findRule(texts, finder, values, active, splits, {
    objective,
    maxLength,
    penalty,
    beam,
  });
  return found?.rule ?? "no condition goes with its values";
}

async function describeUnit(
  census: Census,
  unit: number,
  found: Rule | Refusal,
  others: readonly Rule[],
  shuffledR: number,
  {
    setting,
    panel,
    options,
  }: { setting: Setting; panel: ScoreSetting["panel"]; options: DescribeOptions },
): Promise<UnitDescription> {
  const { hook, index } = census.place(unit);
  const place = { unit, hook: hook.name, index };
  const refused = (refusal: Refusal, rest: Partial<UnitDescription> = {}): UnitDescription => ({
    ...place,
    sentence: "no reliable description",
    refusal,
    rule: undefined,
    r: 0,
    scores: undefined,
    otherRule: undefined,
    otherRuleR: undefined,
    output: undefined,
    ...rest,
  });
  if (typeof found === "string") return refused(found);
  const values = await census.values(unit);
  const { text } = setting;
  const { seed = 0, minR = 0.3 } = options;
  const trial = trialOf(unit, values, hook.threshold, setting, seed);
  const scores = scoreRule(unit, text.mask(found), trial, {
    ...scoreSetting(setting, seed),
    panel,
  });
  // One other rule may be the same as the unit's own, where two units do the same: the middle one of several is taken.
  const otherRule = medianFit(others.map((rule) => fitOf(text.mask(rule), trial)));
  const otherRuleR = otherRule?.r;
  const all = { rule: found, r: scores.r, scores, otherRule, otherRuleR };
  if (scores.r < minR) return refused("held-out correlation below the limit", all);
  if (scores.rLow <= Math.max(otherRuleR ?? 0, shuffledR)) {
    return refused("interval reaches below a floor", all);
  }
  const sentence = ruleSentence(found, census.tokenKind);
  return { ...place, sentence, refusal: undefined, ...all, output: undefined };
}

const scoreSetting = (
  { text, splits, resampling, windows }: Setting,
  seed: number,
): Omit<ScoreSetting, "panel"> => ({
  text,
  select: splits.select,
  score: splits.score,
  resampling,
  windows,
  seed,
});

const trialOf = (
  unit: number,
  values: Float32Array,
  threshold: number,
  setting: Setting,
  seed: number,
): RuleTrial => ruleTrial(unit, values, activeOf(values, threshold), scoreSetting(setting, seed));

/** Tokens of a context in which a unit is set; the model's own beginning-of-text token not counted. */
const CONTEXT_TOKENS = 32;

/** Scores what a unit writes, in contexts from the score documents. */
async function scoreOutput(
  census: Census,
  unit: number,
  { role }: OutputSide,
  { text, splits }: Setting,
  { outputModel: model, weights, nOutputContexts = 8, seed = 0, signal }: DescribeOptions,
): Promise<OutputSide["score"]> {
  if (!model || role === undefined) return undefined;
  const { hook, index } = census.place(unit);
  const [values, { tokens }] = await Promise.all([census.values(unit), census.keptTokens()]);
  const ends = Array.from(splits.score).filter((i) => text.positions[i]! > 0);
  const on = ends
    .filter((i) => values[i]! > hook.threshold)
    .sort((a, b) => values[b]! - values[a]! || a - b);
  const off = ends.filter((i) => values[i]! <= hook.threshold);
  const nOn = Math.min(on.length, Math.ceil(nOutputContexts / 2));
  const rng = createRng(seed + unit, 97);
  const chosen = [
    // From all heights, the highest among them.
    ...Array.from({ length: nOn }, (_, i) => on[Math.floor((i * on.length) / nOn)]!),
    ...Array.from(
      sampleWithoutReplacement(off.length, Math.min(off.length, nOutputContexts - nOn), rng),
      (i) => off[i]!,
    ),
  ];
  if (nOn === 0) return undefined;
  const { tokenizer, cfg } = model;
  const bos = tokenizer?.bosId;
  const before = bos !== undefined && tokenizer?.encode("a")[0] === bos ? [bos] : [];
  const longest = Math.min(CONTEXT_TOKENS, cfg.nCtx ?? CONTEXT_TOKENS) - before.length;
  const contexts = chosen.map((end) => {
    const first = Math.max(text.starts[text.documentOf[end]!]!, end + 1 - longest);
    return [...before, ...tokens.subarray(first, end + 1)];
  });
  const statistics = weights!.find(({ layer }) => layer === hook.layer)!;
  const setting = { unit: index, hook: hook.name, statistics, role, contexts, seed, signal };
  return scoreOutputSide(model, setting);
}

/** The rules of a hook that are there, and where those are fewer than the floor of other units asks for, some that are found for it. */
async function rulesOfHook(
  census: Census,
  { firstUnit, nUnits }: { firstUnit: number; nUnits: number },
  rules: ReadonlyMap<number, Rule | Refusal>,
  setting: Setting,
  options: DescribeOptions,
): Promise<ReadonlyMap<number, Rule>> {
  const found = new Map<number, Rule>();
  const add = (unit: number, rule: Rule | Refusal | undefined): void => {
    if (rule !== undefined && typeof rule !== "string") found.set(unit, rule);
  };
  for (let unit = firstUnit; unit < firstUnit + nUnits; unit++) add(unit, rules.get(unit));
  const { nFloorUnits = 30, seed = 0, signal } = options;
  // One more than is drawn: a unit's own rule is not among them.
  const wanted = Math.min(N_OTHERS, nFloorUnits, nUnits - 1) + 1;
  const order = permutation(nUnits, createRng(seed, 83)).slice(0, 4 * wanted);
  for (const index of order) {
    if (found.size >= wanted) break;
    throwIfAborted(signal, "describeUnits");
    const unit = firstUnit + index;
    if (rules.has(unit)) continue;
    add(unit, fit(await census.values(unit), thresholdOf(census, unit), setting, options));
  }
  return found;
}

/** Rules of other units of the hook, drawn at random. */
function otherRules(unit: number, rules: ReadonlyMap<number, Rule>, seed: number): Rule[] {
  const others = [...rules].flatMap(([other, rule]) => (other === unit ? [] : [rule]));
  const nDrawn = Math.min(N_OTHERS, others.length);
  const rng = createRng(seed + unit, 80);
  return Array.from(sampleWithoutReplacement(others.length, nDrawn, rng), (i) => others[i]!);
}

async function readPanel(
  census: Census,
  hook: { firstUnit: number; nUnits: number },
  score: Int32Array,
  { nCompared = 99, seed = 0 }: DescribeOptions,
): Promise<ScoreSetting["panel"]> {
  // One more than wanted, so that a unit of the panel is compared with as many others.
  const size = Math.min(hook.nUnits, nCompared + 1);
  const chosen = sampleWithoutReplacement(hook.nUnits, size, createRng(seed, 81));
  const units = Array.from(chosen, (index) => hook.firstUnit + index);
  const columns: Float32Array[] = [];
  for (const unit of units) columns.push(await census.values(unit));
  return makePanel(units, columns, score);
}

/** Fits and scores rules for some of these units, whose values were changed. */
async function floorOf(
  { census, units }: { readonly census: Census; readonly units: readonly number[] },
  setting: Setting,
  options: DescribeOptions,
  change: (values: Float32Array) => Float32Array,
): Promise<Floor> {
  const { seed = 0, minR = 0.3, nFloorUnits = 30 } = options;
  const nUnits = Math.min(nFloorUnits, units.length);
  const r: number[] = [];
  const fits: RuleFit[] = [];
  for (const i of sampleWithoutReplacement(units.length, nUnits, createRng(seed, 82))) {
    throwIfAborted(options.signal, "describeUnits");
    const unit = units[i]!;
    const values = change(await census.values(unit));
    const threshold = thresholdOf(census, unit);
    const found = fit(values, threshold, setting, options);
    if (typeof found === "string") r.push(0);
    else {
      const trial = trialOf(unit, values, threshold, setting, seed);
      const own = fitOf(setting.text.mask(found), trial);
      fits.push(own);
      r.push(own.r);
    }
    report(options, "measuring floors", r.length, nUnits);
  }
  r.sort((a, b) => a - b);
  return {
    nUnits,
    r,
    shareDescribed: nUnits === 0 ? 0 : r.filter((own) => own >= minR).length / nUnits,
    fit: medianFit(fits),
  };
}

function report(options: DescribeOptions, stage: string, done: number, total: number): void {
  if (done % 10 === 0 || done === total) {
    options.onProgress?.({ stage, done, total, unit: "units" });
  }
}

/** Rules as they are found, one a line, so that work that was stopped goes on. */
interface RuleFile {
  readonly file: LineFile;
  readonly known: ReadonlyMap<number, Rule | Refusal>;
}

async function openRules(
  folder: string,
  census: Census,
  { splits }: Setting,
  options: DescribeOptions,
): Promise<RuleFile> {
  const { objective = "correlation", maxLength = 3, penalty = 0.01, beam = 3 } = options;
  const { minActive = 5, seed = 0 } = options;
  const { model, corpusSha256, nKeptTokens, hooks } = census.meta;
  const header = {
    ...{ model: model.sha256, corpus: corpusSha256, nKeptTokens },
    hooks: sha256(JSON.stringify(hooks)),
    // Which documents may be looked at: what groups there are shows here.
    splits: sha256(splits.splitOf),
    ...{ objective, maxLength, penalty, beam, minActive, seed },
    ...(census.tokenKind === "symbols" && { tokens: "symbols" }),
  };
  const file = await LineFile.open(join(folder, "rules.jsonl"), header, {
    caller: "describeUnits",
    content: "rules of this census and these options",
    hint: "Choose another folder, or delete rules.jsonl and descriptions.jsonl there (penfield describe --replace).",
  });
  const known = new Map<number, Rule | Refusal>();
  for (const line of file.lines) {
    const { unit, rule, refusal } = (line ?? {}) as Record<string, unknown>;
    const found = refusals.includes(refusal as Refusal) ? (refusal as Refusal) : ruleOf(rule);
    if (Number.isSafeInteger(unit) && found !== undefined) known.set(unit as number, found);
  }
  return { file, known };
}

/** What is no rule is found again. */
function ruleOf(json: unknown): Rule | undefined {
  try {
    return parseRule(json);
  } catch {
    return undefined;
  }
}
