// Do described neurons carry what their descriptions speak of? Pairs of inputs that differ in one token, on which the neuron is active in the one and silent
// in the other, and the neuron's value exchanged between them.
import { createRng, type Rng } from "@penfield/core";
import {
  type InterchangePair,
  type InterchangeScores,
  interchangeIntervention,
  keptDocuments,
  type Rule,
  runRule,
  splitDocuments,
} from "@penfield/describe";
import type { HookedModel, HookValues } from "@penfield/hooks";
import type { Census } from "@penfield/localize";
import { ACTIVE_ABOVE, type LayerCensus, type LayerHooks, startOf } from "./layer.ts";
import { groupOf } from "./texts.ts";

export interface MediationOptions {
  readonly nPairs: number;
  readonly nRandom: number;
  readonly seed: number;
}

export interface Mediation {
  readonly index: number;
  readonly nPairs: number;
  /** Undefined where too few pairs were found. */
  readonly scores: InterchangeScores | undefined;
}

/** Longest prefix that is run, and how many places of activity are tried for each pair wanted. */
const MAX_PREFIX = 32;
const TRIES = 4;
/** Tokens that are tried in the place of the active one. */
const N_EXCHANGES = 8;

/** What all neurons share: the score documents, and what stands after each token. */
export interface MediationText {
  readonly census: Census;
  readonly documents: readonly Uint32Array[];
  readonly starts: readonly number[];
  readonly isScored: (document: number) => boolean;
  readonly followers: ReadonlyMap<number, readonly number[]>;
  readonly word: (token: number) => string;
  readonly start: number;
}

export async function mediationText(
  model: HookedModel,
  { census }: LayerCensus,
): Promise<MediationText> {
  const { documents: kept, ids } = await keptDocuments(census);
  const { splitOf } = splitDocuments(kept, ids.map(groupOf));
  const followers = new Map<number, number[]>();
  const starts: number[] = [];
  let at = 0;
  for (const tokens of kept) {
    starts.push(at);
    at += tokens.length;
    for (let i = 1; i < tokens.length; i++) {
      const list = followers.get(tokens[i - 1]!);
      if (list) list.push(tokens[i]!);
      else followers.set(tokens[i - 1]!, [tokens[i]!]);
    }
  }
  return {
    census,
    documents: kept,
    starts,
    isScored: (document) => splitOf[document] === 2,
    followers,
    word: await census.words(),
    start: startOf(model),
  };
}

/**
 * The interchange of one neuron at the last token. The source is a held-out text up to a token on which the neuron is active and its rule holds; the base
 * has another token there, one that follows the token before it elsewhere in the corpus, on which the neuron is silent and the rule does not hold. The answers are
 * the model's own: its likeliest next token after each, where they differ.
 *
 * @param rule - Undefined for a neuron without one: the neuron's values alone decide.
 */
export async function mediation(
  model: HookedModel,
  layer: LayerCensus,
  text: MediationText,
  hooks: LayerHooks,
  { index, rule }: { readonly index: number; readonly rule: Rule | undefined },
  { nPairs, nRandom, seed }: MediationOptions,
): Promise<Mediation> {
  const rng = createRng(seed + index, 97);
  const values = await text.census.values(text.census.unitAt(hooks.turned, index));
  const holds = (tokens: readonly number[]) =>
    rule === undefined || runRule(rule, tokens.map(text.word)).at(-1) === 1;
  const pairs: InterchangePair[] = [];
  for (const source of sourcesOf(text, values, rng, TRIES * nPairs)) {
    if (pairs.length === nPairs) break;
    if (!holds(source)) continue;
    const bases = exchangesOf(text, source, rng).filter(
      (base) => rule === undefined || !holds(base),
    );
    if (bases.length === 0) continue;
    const pair = await pairOf(model, layer, text, hooks, index, source, bases);
    if (pair) pairs.push(pair);
  }
  if (pairs.length < 4) return { index, nPairs: pairs.length, scores: undefined };
  const scores = await interchangeIntervention(model, pairs, {
    hook: hooks.product,
    units: [index],
    positions: [-1],
    nRandom,
    pairsPerRun: 2,
    seed,
  });
  return { index, nPairs: pairs.length, scores };
}

/** Score documents up to a token on which the neuron is active, in random order, one of each document. */
function sourcesOf(text: MediationText, values: Float32Array, rng: Rng, n: number): number[][] {
  const found: number[][] = [];
  text.documents.forEach((tokens, d) => {
    if (!text.isScored(d)) return;
    const places = Array.from(tokens.keys()).filter(
      (i) => i > 0 && i < MAX_PREFIX && values[text.starts[d]! + i]! > ACTIVE_ABOVE,
    );
    if (places.length === 0) return;
    found.push(Array.from(tokens.subarray(0, places[rng.below(places.length)]! + 1)));
  });
  return draw(found, n, rng);
}

/** The same tokens with others in the last place. */
function exchangesOf({ followers }: MediationText, source: readonly number[], rng: Rng) {
  const last = source.at(-1)!;
  const others = new Set(followers.get(source.at(-2)!)!.filter((token) => token !== last));
  return draw([...others], N_EXCHANGES, rng).map((token) => [...source.slice(0, -1), token]);
}

function draw<T>(items: readonly T[], n: number, rng: Rng): T[] {
  const left = [...items];
  return Array.from(
    { length: Math.min(n, left.length) },
    () => left.splice(rng.below(left.length), 1)[0]!,
  );
}

/** The first base on which the neuron is silent and the model says something else. */
async function pairOf(
  model: HookedModel,
  { turned: { signs, means, deviations } }: LayerCensus,
  { start }: MediationText,
  { product }: LayerHooks,
  index: number,
  source: readonly number[],
  bases: readonly (readonly number[])[],
): Promise<InterchangePair | undefined> {
  const tokens = [source, ...bases].map((row) => [start, ...row]);
  const { cache, logits } = await model.run({ tokens, capture: [product], head: "lastLogits" });
  const { data, shape } = cache.get(product)!;
  const [, length, nUnits] = shape as [number, number, number];
  const valueAt = (row: number) => {
    const value = data[((row + 1) * length - 1) * nUnits + index]!;
    return (signs[index]! * (value - means[index]!)) / deviations[index]!;
  };
  const answers = tokens.map((_, row) => likeliest(logits!, row));
  const chosen = bases.findIndex(
    (_, b) => valueAt(b + 1) <= ACTIVE_ABOVE && answers[b + 1] !== answers[0],
  );
  if (chosen < 0 || valueAt(0) <= ACTIVE_ABOVE) return undefined;
  return {
    base: tokens[chosen + 1]!,
    source: tokens[0]!,
    baseAnswer: answers[chosen + 1]!,
    sourceAnswer: answers[0]!,
  };
}

function likeliest({ data, shape }: HookValues, row: number): number {
  const nTokens = shape[2]!;
  const scores = data.subarray(row * nTokens, (row + 1) * nTokens);
  let best = 0;
  for (let t = 1; t < nTokens; t++) if (scores[t]! > scores[best]!) best = t;
  return best;
}
