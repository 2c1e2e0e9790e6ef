import type { Census, TokenLabels } from "@penfield/localize";
import { createLexicon, type Lexicon } from "./rules/ruleText.ts";
import { keptDocuments } from "./splits.ts";

/**
 * The part of speech of each kept token's word: labels for `classifyUnits`.
 *
 * @param lexicon - Default: one opened for this call.
 *
 * Cost: about 15 microseconds for each token.
 *
 * Source: wink-nlp's tags, those of Universal Dependencies.
 */
export async function partOfSpeechLabels(
  census: Census,
  { tagger }: Pick<Lexicon, "tagger"> = createLexicon(),
): Promise<TokenLabels> {
  const [{ documents }, word] = await Promise.all([keptDocuments(census), census.words()]);
  const tags = documents.flatMap((tokens) =>
    tagger.tag(Array.from(tokens, word)).map((tagged) => tagged?.tag),
  );
  const names = [...new Set(tags)].filter((tag) => tag !== undefined).sort();
  const of = Int32Array.from(tags, (tag) => (tag === undefined ? -1 : names.indexOf(tag)));
  return { kind: "part-of-speech", names, of };
}
