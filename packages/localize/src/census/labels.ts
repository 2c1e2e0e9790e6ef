import type { Census } from "./census.ts";
import type { TokenLabels } from "./classify.ts";

/**
 * Topics of the kept tokens, from the names of their documents: labels for `classifyUnits`.
 *
 * @param topicOf - The topic of a document by its id; undefined for none.
 *
 * @example
 * import { mkdtemp } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 * const source = plantedSource({ words: ["a", "b"], units: [{ name: "b", active: (words, i) => words[i] === "b" }], misses: 0, falseAnswers: 0 });
 * const documents = Array.from({ length: 20 }, (_, d) => ({ tokens: [0, d % 2, 1 - (d % 2), d % 3 === 0 ? 1 : 0] }));
 * const census = await takeCensus(source, documents, `${await mkdtemp(join(tmpdir(), "census-"))}/planted`);
 * const { names, of } = await topicLabels(census, (id) => (Number(id) < 10 ? "early" : undefined));
 * [names[0], of[0], of[79]] // => ["early", 0, -1]
 * await census.close();
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
