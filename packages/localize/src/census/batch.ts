import { BatchKeys } from "./heavyHitters.ts";

/** Tokens that are folded into a census at once, and all that does not depend on the unit. */
export interface CensusBatch {
  readonly nTokens: number;
  readonly tokens: Int32Array;
  /** Place of each token in its document, a left-out beginning-of-text token not counted. */
  readonly positions: Int32Array;
  /** Number of the first token among all of the census. */
  readonly firstToken: number;
  readonly documentStart: Int32Array;
  readonly documentEnd: Int32Array;
  /** `[nDocuments + 1]` */
  readonly starts: Int32Array;
  /** Which row of the source's values each token has. */
  readonly rows: Int32Array;
  /** Random numbers of the tokens, for samples that depend on nothing but the token's number and the seed. */
  readonly priority: Uint32Array;
  readonly otherPriority: Uint32Array;
  /** Tokens, previous tokens, pairs and, where they can be told apart, triples. */
  readonly ngrams: readonly BatchKeys[];
  /** Where in the batch each token stands. */
  readonly placesOfToken: ReadonlyMap<number, readonly number[]>;
  /** Those whose documents are kept whole. */
  readonly kept: Int32Array;
}

/** What n-grams are counted: the tokens before the active one that they hold, then itself. */
const ngramKinds = ["token", "previous", "bigram", "trigram"] as const;

export type NgramKind = (typeof ngramKinds)[number];

/** N-grams that a vocabulary's numbers can tell apart in 53 bits. */
export function ngramKindsOf(vocabularySize: number): readonly NgramKind[] {
  return vocabularySize ** 3 <= Number.MAX_SAFE_INTEGER ? ngramKinds : ngramKinds.slice(0, 3);
}

/** The tokens of an n-gram from its number. */
export function ngramTokens(kind: NgramKind, key: number, vocabularySize: number): number[] {
  const length = kind === "trigram" ? 3 : kind === "bigram" ? 2 : 1;
  const tokens: number[] = [];
  for (let i = 0; i < length; i++) {
    tokens.unshift(key % vocabularySize);
    key = Math.floor(key / vocabularySize);
  }
  return tokens;
}

/** A document as it goes into a batch. */
export interface BatchDocument {
  readonly tokens: readonly number[];
  /** 1 where the first token is left out of the census. */
  readonly skip: number;
  readonly kept: boolean;
}

export function makeBatch(
  documents: readonly BatchDocument[],
  firstToken: number,
  vocabularySize: number,
  seed: number,
): CensusBatch {
  const nTokens = documents.reduce((sum, { tokens, skip }) => sum + tokens.length - skip, 0);
  const tokens = new Int32Array(nTokens);
  const positions = new Int32Array(nTokens);
  const rows = new Int32Array(nTokens);
  const documentStart = new Int32Array(nTokens);
  const documentEnd = new Int32Array(nTokens);
  const starts = new Int32Array(documents.length + 1);
  const kept: number[] = [];
  const keys = ngramKindsOf(vocabularySize).map(() => new Float64Array(nTokens).fill(-1));
  let at = 0;
  let row = 0;
  documents.forEach((document, d) => {
    row += document.skip;
    const first = at;
    const end = at + document.tokens.length - document.skip;
    for (; at < end; at++) {
      const position = at - first;
      const token = document.tokens[position + document.skip]!;
      tokens[at] = token;
      positions[at] = position;
      rows[at] = row++;
      documentStart[at] = first;
      documentEnd[at] = end;
      if (document.kept) kept.push(at);
      keys[0]![at] = token;
      if (position < 1) continue;
      const before = tokens[at - 1]!;
      keys[1]![at] = before;
      keys[2]![at] = before * vocabularySize + token;
      if (position < 2 || !keys[3]) continue;
      keys[3]![at] = (tokens[at - 2]! * vocabularySize + before) * vocabularySize + token;
    }
    starts[d + 1] = at;
  });
  const places = new Map<number, number[]>();
  tokens.forEach((token, i) => {
    const list = places.get(token);
    if (list) list.push(i);
    else places.set(token, [i]);
  });
  return {
    nTokens,
    tokens,
    positions,
    firstToken,
    documentStart,
    documentEnd,
    starts,
    rows,
    priority: Uint32Array.from(tokens, (_, i) => mix(firstToken + i, seed)),
    otherPriority: Uint32Array.from(tokens, (_, i) => mix(firstToken + i, ~seed)),
    ngrams: keys.map((of) => new BatchKeys(of)),
    placesOfToken: places,
    kept: Int32Array.from(kept),
  };
}

/**
 * 32 well-mixed bits for a number: the finisher of MurmurHash3, on the number and the seed.
 *
 * Source: Appleby, MurmurHash3 (fmix32), public domain.
 */
export function mix(value: number, seed: number): number {
  // The added number keeps a small value and seed from being mixed to 0.
  let h = Math.imul(value ^ (Math.imul(seed, 0x9e3779b1) + 0x7f4a7c15), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
