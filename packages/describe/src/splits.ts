import { sha256 } from "@penfield/core";
import type { Census } from "@penfield/localize";
import type { TokenSplits } from "./rules/findRule.ts";

/** Tokens of the kept documents by the step that may look at them, and each kept token's document there. */
export interface DocumentSplits extends TokenSplits {
  /** Of each document of the text: 0 explain, 1 select, 2 score. */
  readonly splitOf: Uint8Array;
}

/**
 * Parts documents into explain (40 %), select (20 %) and score (40 %) by a hash of their tokens, or of the name of their
 * group: equal documents, and documents of one group, always fall into the same part.
 *
 * @param documents - Tokens of each document.
 * @param groups - A name for each, or undefined for one of its own.
 *
 * @example
 * // Equal documents fall into the same part.
 * const { splitOf } = splitDocuments([[1, 2], [3], [1, 2]]);
 * splitOf[0] === splitOf[2] // => true
 */
export function splitDocuments(
  documents: readonly ArrayLike<number>[],
  groups: readonly (string | undefined)[] = [],
  seed = 0,
): DocumentSplits {
  const splitOf = Uint8Array.from(documents, (tokens, d) => {
    const name = groups[d] ?? Array.from(tokens).join(" ");
    const share = Number.parseInt(sha256(`${seed} ${name}`).slice(0, 8), 16) / 2 ** 32;
    return share < 0.4 ? 0 : share < 0.6 ? 1 : 2;
  });
  const tokens: number[][] = [[], [], []];
  let at = 0;
  documents.forEach(({ length }, d) => {
    for (let i = 0; i < length; i++) tokens[splitOf[d]!]!.push(at++);
  });
  const [explain, select, score] = tokens.map((list) => Int32Array.from(list));
  return { splitOf, explain: explain!, select: select!, score: score! };
}

/** The kept documents of a census: their tokens, and their names. */
export async function keptDocuments(
  census: Census,
): Promise<{ readonly documents: readonly Uint32Array[]; readonly ids: readonly string[] }> {
  const [{ tokens, documents: of }, ids] = await Promise.all([
    census.keptTokens(),
    census.documentIds(),
  ]);
  const documents: Uint32Array[] = [];
  const names: string[] = [];
  for (let from = 0; from < of.length; ) {
    let to = from;
    while (to < of.length && of[to] === of[from]) to++;
    documents.push(tokens.subarray(from, to));
    names.push(ids[of[from]!]!);
    from = to;
  }
  return { documents, ids: names };
}
