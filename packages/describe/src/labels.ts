import { DataError } from "@penfield/core";
import type { Census, TokenLabels } from "@penfield/localize";
import { createLexicon, type Lexicon } from "./rules/ruleText.ts";
import { keptDocuments } from "./splits.ts";

/**
 * The part of speech of each kept token's word: labels for `classifyUnits`.
 *
 * @param lexicon - Default: one opened for this call.
 *
 * @throws {DataError} for a census of symbols, which have none.
 *
 * Cost: about 15 microseconds for each token.
 *
 * Source: wink-nlp's tags, those of Universal Dependencies.
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
 * const { names, of } = await partOfSpeechLabels(census);
 * names[of[1]] // => "NOUN"
 * await census.close();
 */
export async function partOfSpeechLabels(
  census: Census,
  { tagger }: Pick<Lexicon, "tagger"> = createLexicon(),
): Promise<TokenLabels> {
  if (census.tokenKind === "symbols") {
    throw new DataError("partOfSpeechLabels: expected a census of texts, got one of symbols");
  }
  const [{ documents }, word] = await Promise.all([keptDocuments(census), census.words()]);
  const tags = documents.flatMap((tokens) =>
    tagger.tag(Array.from(tokens, word)).map((tagged) => tagged?.tag),
  );
  const names = [...new Set(tags)].filter((tag) => tag !== undefined).sort();
  const of = Int32Array.from(tags, (tag) => (tag === undefined ? -1 : names.indexOf(tag)));
  return { kind: "part-of-speech", names, of };
}
