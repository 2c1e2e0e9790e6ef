import type { Census } from "./census.ts";
import type { TokenLabels } from "./classify.ts";

/**
 * Topics of the kept tokens, from the names of their documents: labels for `classifyUnits`.
 *
 * @param topicOf - The topic of a document by its id; undefined for none.
 */
export async function topicLabels(
  census: Census,
  topicOf: (documentId: string) => string | undefined,
): Promise<TokenLabels> {
  const [ids, { documents }] = await Promise.all([census.documentIds(), census.keptTokens()]);
  const topics = ids.map(topicOf);
  const names = [...new Set(topics)].filter((name) => name !== undefined).sort();
  const numbers = topics.map((topic) => (topic === undefined ? -1 : names.indexOf(topic)));
  return { kind: "topic", names, of: Int32Array.from(documents, (d) => numbers[d]!) };
}
