import {
  type OutputRole,
  outputRoles,
  tokenFamilies,
  type WeightStatistics,
} from "@penfield/localize";

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
