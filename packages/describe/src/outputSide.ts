import { createRng, type LongWork, sampleWithoutReplacement } from "@penfield/core";
import type { RunnableModel } from "@penfield/hooks";
import {
  type OutputRole,
  outputRoles,
  tokenFamilies,
  type WeightStatistics,
} from "@penfield/localize";
import { quantile, rankP } from "@penfield/stats";
import { outputEffect } from "./interventions/outputEffect.ts";

/** What a unit writes, read from its weights: the other half of a description, which says nothing about when it is active. */
export interface OutputSide {
  /** Undefined for a unit that names no tokens. */
  readonly role: OutputRole | undefined;
  /** Tokens whose scores it raises and lowers most. */
  readonly raises: readonly string[];
  readonly lowers: readonly string[];
  /** A family that most of the named tokens belong to. */
  readonly family: string | undefined;
  /** `promotes 'ing' and 'ed'`; undefined without a role. */
  readonly sentence: string | undefined;
  /** How well the sentence holds when the unit is set; undefined if that was not tried, or there is no sentence. */
  readonly score?: OutputSideScore | undefined;
}

/** Whether a unit does to the next token what its weights seem to say, by setting it to its highest value and to 0. */
export interface OutputSideScore {
  /** What was measured: log p of the named tokens against all others, or the size of the change of the entropy. In nats. */
  readonly measure: "selectivity" | "entropy";
  /** Positive: as said. */
  readonly value: number;
  /** Floor: the median of random units of the hook, of like heights, on the same tokens. */
  readonly randomUnits: number;
  /** Of the value among those, one-sided; at least 1 / (1 + nRandom). */
  readonly p: number;
  /** Floor: the median of the same unit on tokens that other units of the layer name; undefined for entropy. */
  readonly otherTokens: number | undefined;
  /** Of the value among those. */
  readonly otherTokensP: number | undefined;
  /** Whether both are at most 0.05. */
  readonly holds: boolean;
  readonly nContexts: number;
}

/** Share of the named tokens that must belong to a family for it to be said in their place. */
const FAMILY_SHARE = 0.8;

/**
 * The output side of the units of one layer.
 *
 * @param statistics - `weightStatistics` of the layer.
 * @param nLayers - Of the model.
 * @param word - A token as text.
 */
export function outputSides(
  statistics: WeightStatistics,
  nLayers: number,
  word: (token: number) => string,
): OutputSide[] {
  const { nTokens, topTokens, bottomTokens } = statistics;
  return outputRoles(statistics, nLayers).map((role, unit) => {
    const named = (tokens: Int32Array) =>
      Array.from(tokens.subarray(unit * nTokens, (unit + 1) * nTokens), word);
    const raises = named(topTokens);
    const lowers = named(bottomTokens);
    const about = role === "suppresses" ? lowers : raises;
    const family =
      role === "promotes" || role === "suppresses"
        ? tokenFamilies.find(({ has }) => about.filter(has).length >= FAMILY_SHARE * about.length)
        : undefined;
    const list = about
      .slice(0, 3)
      .map((token) => `'${token.trim()}'`)
      .join(", ");
    const object = family ? `${family.phrase} (${list})` : list;
    const sentence =
      role === "entropy-candidate"
        ? "may set how sure the prediction is"
        : role && `${role} ${object}`;
    return { role, raises, lowers, family: family?.name, sentence };
  });
}

/** Random units that are set too: with 20, p can be just below 0.05. */
const N_RANDOM = 20;
/** Other units whose tokens are looked at; they cost nothing. */
const N_OTHERS = 99;

export interface OutputSideScoreOptions extends LongWork {
  /** The unit's number at its hook. */
  readonly unit: number;
  readonly hook: string;
  readonly statistics: WeightStatistics;
  readonly role: OutputRole | undefined;
  /** Tokens; those where the unit is active among them: its highest value there is what it is set to. */
  readonly contexts: readonly (readonly number[])[];
  readonly seed?: number | undefined;
}

/**
 * Scores what the weights say that a unit writes: it is set to its highest value and to 0 at the last token of each context, and the change of the next
 * token's probabilities is compared with what random units do to the same tokens, and with what the unit does to the tokens of other units. A unit that
 * reads like one that writes the tokens, but does not, gets a value near 0.
 *
 *   value = mean over contexts of [mean change of log p of the named tokens - mean change of all others], negated for `suppresses`
 *
 * @returns Undefined for a unit without a role, and one that is not above 0 in any context.
 * @throws {DataError} if there is no context. @throws {HookPointError} for a hook point that cannot be written to.
 *
 * Cost: 42 rows of the model for each context.
 * Source: output-side evaluation after Gur-Arieh et al. (2025); interventions on matched random units after Gurnee et al. (2024), Universal Neurons,
 * whose 20 control neurons are the model of the floor. The floor of other units' tokens is ours.
 *
 * @example
 * import { HookedModel } from "@penfield/hooks";
 * import { weightStatistics } from "@penfield/localize";
 * const model = await HookedModel.fromPretrained("test/fixtures/gpt2");
 * const [, statistics] = await weightStatistics(model);
 * const score = await scoreOutputSide(model, { unit: 3, hook: "blocks.1.mlp.hook_post", statistics, role: "promotes", contexts: [[5, 6, 7], [8, 9]] });
 * score.nContexts // => 2
 * await model.dispose();
 */
export async function scoreOutputSide(
  model: RunnableModel,
  { unit, hook, statistics, role, contexts, seed = 0, ...work }: OutputSideScoreOptions,
): Promise<OutputSideScore | undefined> {
  if (role === undefined) return undefined;
  const { nUnits, nTokens, topTokens, bottomTokens } = statistics;
  const lowers = role === "suppresses";
  const tokensOf = (own: number) =>
    Array.from((lowers ? bottomTokens : topTokens).subarray(own * nTokens, (own + 1) * nTokens));
  const named = tokensOf(unit);
  const rng = createRng(seed + unit, 98);
  const otherNamed = Array.from(
    sampleWithoutReplacement(nUnits - 1, Math.min(N_OTHERS, nUnits - 1), rng),
    (i) => tokensOf(i < unit ? i : i + 1),
    // A unit that says the same is no floor.
  ).filter((own) => 2 * own.filter((token) => named.includes(token)).length <= own.length);
  const found = await outputEffect(model, contexts, {
    ...{ hook, unit, named, otherNamed, nRandom: N_RANDOM, seed, ...work },
    says: lowers ? "lowers" : "raises",
  });
  // At a height of 0 or below, "highest" and "silent" are the same, or change places.
  if (found.highest <= 0) return undefined;
  const nContexts = contexts.length;
  if (role === "entropy-candidate") {
    const random = found.random.map(({ entropyChange }) => Math.abs(entropyChange));
    return {
      measure: "entropy",
      value: Math.abs(found.entropyChange),
      randomUnits: quantile(random, 0.5),
      p: found.entropyP,
      otherTokens: undefined,
      otherTokensP: undefined,
      holds: found.entropyP <= 0.05,
      nContexts,
    };
  }
  const sign = lowers ? -1 : 1;
  const value = sign * found.selectivity;
  const other = found.otherNamed.map((own) => sign * own);
  const otherTokensP = other.length === 0 ? undefined : rankP(value, other);
  return {
    measure: "selectivity",
    value,
    randomUnits: quantile(
      found.random.map(({ selectivity }) => sign * selectivity),
      0.5,
    ),
    p: found.p,
    otherTokens: other.length === 0 ? undefined : quantile(other, 0.5),
    otherTokensP,
    holds: found.p <= 0.05 && (otherTokensP ?? 0) <= 0.05,
    nContexts,
  };
}
