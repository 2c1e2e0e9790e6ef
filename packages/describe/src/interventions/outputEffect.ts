import { ArgumentError, createRng, DataError, type LongWork, throwIfAborted } from "@penfield/core";
import type { HookValues, Intervention, RunnableModel } from "@penfield/hooks";
import { areaUnderRoc, rankP } from "@penfield/stats";
import type { Judge } from "../explainers/explainer.ts";
import { matchedUnits } from "./matchedUnits.ts";

export interface OutputEffectOptions extends LongWork {
  /** A hook point with axes batch, pos, units. */
  readonly hook: string;
  readonly unit: number;
  /** Tokens that a description says the unit makes more likely, or less. */
  readonly named: readonly number[];
  /** What it is said to do to them; default `raises`. Turns the direction of `p`. */
  readonly says?: "raises" | "lowers" | undefined;
  /** Other sets of tokens, as those that other units name: what the unit does to them is a floor. */
  readonly otherNamed?: readonly (readonly number[])[] | undefined;
  /** Random units to compare with; default 20. */
  readonly nRandom?: number | undefined;
  /** Contexts in one run; default 4. */
  readonly contextsPerRun?: number | undefined;
  /** Tokens that are listed as raised and lowered; default 10. */
  readonly nListed?: number | undefined;
  readonly seed?: number | undefined;
}

/** What a unit does to the next token, and whether that is what was said. */
export interface OutputEffect {
  /** Mean over contexts and named tokens of log p with the unit at its highest value, less log p with the unit silent, in nats. */
  readonly effect: number;
  /** The same less the mean over all other tokens: what it does to the named ones in particular. */
  readonly selectivity: number;
  /** What it does to the entropy of the next token, in the mean over contexts, in nats. */
  readonly entropyChange: number;
  /** The same of random units whose highest values are alike, each set to its own. */
  readonly random: readonly {
    readonly unit: number;
    readonly selectivity: number;
    readonly entropyChange: number;
  }[];
  /** Of the selectivity among random units, one-sided in the direction that was said. */
  readonly p: number;
  /** Of the size of the entropy's change among random units. */
  readonly entropyP: number;
  /** The unit's selectivity for each of the other sets. */
  readonly otherNamed: readonly number[];
  /** The unit's highest value in the contexts, to which it is set. */
  readonly highest: number;
  /** Tokens whose log p it raises and lowers most, in the mean over contexts. */
  readonly raises: readonly number[];
  readonly lowers: readonly number[];
}

/**
 * Does a unit make the tokens more likely that its description names? It is set to its highest value at the last token of each context, and to 0, and
 * the difference of the next token's log-probabilities is compared with random units.
 *
 * @param contexts - Tokens; where the unit is active and where not. Between runs nothing else is changed.
 * @throws {DataError} if there is no context.
 * @throws {ArgumentError} for units or tokens that are not there.
 * @throws {HookPointError} for a hook point that is not there or cannot be written to.
 *
 * Cost: one run of 2 (1 + nRandom) rows for each context.
 *
 * @example
 * import { HookedModel } from "@penfield/hooks";
 * const model = await HookedModel.fromPretrained("test/fixtures/gpt2");
 * const { raises } = await outputEffect(model, [[5, 6, 7], [8, 9]], { hook: "blocks.1.mlp.hook_post", unit: 3, named: [40] });
 * raises.length // => 10
 * await model.dispose();
 */
export async function outputEffect(
  model: RunnableModel,
  contexts: readonly (readonly number[])[],
  options: OutputEffectOptions,
): Promise<OutputEffect> {
  const { unit, named, says = "raises", otherNamed = [], nRandom = 20 } = options;
  const { contextsPerRun = 4, nListed = 10, seed = 0 } = options;
  if (contexts.length === 0) throw new DataError("outputEffect: expected a context, got none");
  if (named.length === 0) throw new ArgumentError("outputEffect: expected a named token, got none");
  const hook = model.hookPoint(options.hook).name;
  const highest = await highestValues(model, hook, contexts, options);
  if (!(Number.isInteger(unit) && unit >= 0 && unit < highest.length)) {
    throw new ArgumentError(
      `outputEffect: expected a unit within 0..${highest.length - 1}, got ${unit}`,
    );
  }
  const others = matchedUnits([unit], highest, nRandom, createRng(seed, 96));
  const units = [unit, ...others.flat()];
  const totals: Change[] = [];
  for (let from = 0; from < contexts.length; from += contextsPerRun) {
    throwIfAborted(options.signal, "outputEffect");
    const some = contexts.slice(from, from + contextsPerRun);
    await addChanges(model, hook, some, units, highest, totals);
    options.onProgress?.({
      stage: "setting units",
      done: from + some.length,
      total: contexts.length,
      unit: "contexts",
    });
  }
  const changes = totals.map(({ logProbs }) => logProbs.map((sum) => sum / contexts.length));
  const entropies = totals.map(({ entropy }) => entropy / contexts.length);
  const nTokens = changes[0]!.length;
  for (const token of [...named, ...otherNamed.flat()]) {
    if (!(Number.isInteger(token) && token >= 0 && token < nTokens)) {
      throw new ArgumentError(
        `outputEffect: expected named tokens within 0..${nTokens - 1}, got ${token}`,
      );
    }
  }
  const selectivities = changes.map((change) => selectivityFor(change, named));
  const order = Array.from(changes[0]!.keys()).sort(
    (a, b) => changes[0]![b]! - changes[0]![a]! || a - b,
  );
  const random = others.map(([other], i) => ({
    unit: other!,
    selectivity: selectivities[i + 1]!.selectivity,
    entropyChange: entropies[i + 1]!,
  }));
  const { effect, selectivity } = selectivities[0]!;
  return {
    effect,
    selectivity,
    entropyChange: entropies[0]!,
    random,
    p: rankP(
      selectivity,
      random.map((own) => own.selectivity),
      { tail: says === "lowers" ? "less" : "greater" },
    ),
    entropyP: rankP(
      Math.abs(entropies[0]!),
      random.map((own) => Math.abs(own.entropyChange)),
    ),
    otherNamed: otherNamed.map((tokens) => selectivityFor(changes[0]!, tokens).selectivity),
    highest: highest[unit]!,
    raises: order.slice(0, nListed),
    lowers: order.reverse().slice(0, nListed),
  };
}

/** The mean change of some tokens, and that less the mean change of all others. */
function selectivityFor(
  change: Float64Array,
  tokens: readonly number[],
): { effect: number; selectivity: number } {
  const chosen = new Set(tokens);
  let inside = 0;
  let outside = 0;
  change.forEach((value, token) => {
    if (chosen.has(token)) inside += value;
    else outside += value;
  });
  const effect = chosen.size === 0 ? 0 : inside / chosen.size;
  return { effect, selectivity: effect - outside / Math.max(1, change.length - chosen.size) };
}

/** The highest value of each unit over all tokens of all contexts. */
async function highestValues(
  model: RunnableModel,
  hook: string,
  contexts: readonly (readonly number[])[],
  { contextsPerRun = 4, signal }: OutputEffectOptions,
): Promise<Float64Array> {
  let highest: Float64Array | undefined;
  for (let from = 0; from < contexts.length; from += contextsPerRun) {
    throwIfAborted(signal, "outputEffect");
    const tokens = contexts.slice(from, from + contextsPerRun);
    const { cache } = await model.run({ tokens, capture: [hook], head: "none" });
    const { data, shape } = cache.get(hook)!;
    if (shape.length !== 3) {
      throw new ArgumentError(
        `outputEffect: expected a hook point with axes batch, pos and units, got ${hook} with ${shape.length} axes`,
      );
    }
    const [, longest, nUnits] = shape as [number, number, number];
    highest ??= new Float64Array(nUnits).fill(Number.NEGATIVE_INFINITY);
    for (const [row, { length }] of tokens.entries()) {
      for (let place = 0; place < length; place++) {
        const start = (row * longest + place) * nUnits;
        for (let u = 0; u < nUnits; u++) highest[u] = Math.max(highest[u]!, data[start + u]!);
      }
    }
  }
  return highest!;
}

/** Sums over contexts of what a unit changes between silent and at its highest: every token's log p, and the entropy. */
interface Change {
  readonly logProbs: Float64Array;
  entropy: number;
}

/** Adds the changes in some contexts for each unit. */
async function addChanges(
  model: RunnableModel,
  hook: string,
  contexts: readonly (readonly number[])[],
  units: readonly number[],
  highest: Float64Array,
  totals: Change[],
): Promise<void> {
  const perContext = 2 * units.length;
  const tokens = contexts.flatMap((context) => Array.from({ length: perContext }, () => context));
  const interventions = contexts.flatMap((context, c) =>
    units.flatMap((unit, u) =>
      [0, highest[unit]!].map(
        (value, i): Intervention => ({
          hook,
          op: { type: "constant", value },
          units: [unit],
          rows: [c * perContext + 2 * u + i],
          positions: [context.length - 1],
        }),
      ),
    ),
  );
  const { logits } = await model.run({ tokens, interventions, head: "lastLogits" });
  for (let c = 0; c < contexts.length; c++) {
    units.forEach((_, u) => {
      const silent = logProbsOf(logits!, c * perContext + 2 * u);
      const high = logProbsOf(logits!, c * perContext + 2 * u + 1);
      totals[u] ??= { logProbs: new Float64Array(silent.length), entropy: 0 };
      const own = totals[u]!;
      for (let t = 0; t < silent.length; t++) own.logProbs[t]! += high[t]! - silent[t]!;
      own.entropy += entropyOf(high) - entropyOf(silent);
    });
  }
}

function logProbsOf({ data, shape }: HookValues, row: number): Float64Array {
  const nTokens = shape[2]!;
  const scores = Float64Array.from(data.subarray(row * nTokens, (row + 1) * nTokens));
  const max = scores.reduce((most, score) => Math.max(most, score), Number.NEGATIVE_INFINITY);
  const whole = max + Math.log(scores.reduce((sum, score) => sum + Math.exp(score - max), 0));
  return scores.map((score) => score - whole);
}

const entropyOf = (logProbs: Float64Array): number =>
  logProbs.reduce((sum, logP) => sum - Math.exp(logP) * logP, 0);

/** How well a text names what a unit makes more likely. */
export interface OutputScore {
  /** Area under the ROC curve of the judge's answers for promoted tokens against others; 0.5 is chance. */
  readonly auroc: number;
  /** Floor: the same tokens judged by the text of another unit. */
  readonly otherTextAuroc: number | undefined;
  /** Share of the tokens that were judged; others count as one half. */
  readonly coverage: number;
}

/**
 * Output-side score: does a text name what a unit promotes? A judge reads the text and tells promoted tokens from others.
 *
 * @param promoted - Tokens as text, as `outputEffect(...).raises` or the logit lens gives them.
 * @param others - Tokens that other units of the hook promote.
 * @throws {DataError} if one of the lists is empty.
 *
 * Source: output-centric evaluation after Gur-Arieh et al. (2025), Enhancing Automated Interpretability with Output-Centric Feature Descriptions.
 *
 * @example
 * const judge = { name: "words", prompts: {}, classify: (text, contexts) => Promise.resolve(contexts.map(({ tokens }) => Number(text.includes(tokens[0])))) };
 * await outputScore(judge, "promotes cats", { promoted: ["cats"], others: ["iron", "gold"] })
 * // => { auroc: 1, coverage: 1, otherTextAuroc: undefined }
 */
export async function outputScore(
  judge: Judge,
  text: string,
  {
    promoted,
    others,
  }: { readonly promoted: readonly string[]; readonly others: readonly string[] },
  {
    otherText,
    signal,
  }: {
    readonly otherText?: string | undefined;
    readonly signal?: AbortSignal | undefined;
  } = {},
): Promise<OutputScore> {
  if (promoted.length === 0 || others.length === 0) {
    throw new DataError(
      `outputScore: expected promoted and other tokens, got ${promoted.length} and ${others.length}`,
    );
  }
  const contexts = [...promoted, ...others].map((token) => ({ tokens: [token] }));
  const labels = contexts.map((_, i) => Number(i < promoted.length));
  const ask = async (own: string) => {
    const answers = await judge.classify(own, contexts, { signal, question: "output" });
    return {
      auroc: areaUnderRoc(
        answers.map((answer) => (Number.isNaN(answer) ? 0.5 : answer)),
        labels,
      ),
      coverage: answers.filter((answer) => !Number.isNaN(answer)).length / answers.length,
    };
  };
  const { auroc, coverage } = await ask(text);
  return {
    auroc,
    coverage,
    otherTextAuroc: otherText === undefined ? undefined : (await ask(otherText)).auroc,
  };
}
