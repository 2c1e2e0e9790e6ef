import { spellingOf, tokenFamilies } from "./families.ts";
import { logOddsZ } from "./logOdds.ts";
import type { TokenKind } from "./source.ts";

/** What the contexts of a facet have in common and others have not. */
export interface FacetName {
  /** `on 'bread' or 'butter'`: what finishes "active ...". */
  readonly phrase: string;
  /** The words, as spellings, the most telling first; of a class of tokens its name. */
  readonly words: readonly string[];
  /** Where they stand: 0 on the token itself, -1 right before it; "around": anywhere from four tokens before it to one after. */
  readonly offset: number | "around";
  /** Share of the facet's contexts that have one of them there; and of the other facets' contexts or of random places of the corpus, whichever is larger. */
  readonly share: number;
  readonly otherShare: number;
}

/** The tokens of a context as text, and which of them it was chosen for. */
export interface NamedContext {
  readonly tokens: readonly string[];
  readonly peak: number;
}

/** Most words of a name. */
const MAX_WORDS = 3;
/** Fewest contexts of the facet that a word must stand in. */
const MIN_CONTEXTS = 2;
/** z of the log-odds ratio that makes a word telling. */
const MIN_Z = 1;
/** Fewer contexts have something in common by accident. */
const MIN_GROUP = 3;
/** By how much a name must be more frequent in the facet than in other contexts. */
const MIN_ADVANTAGE = 0.5;
/** What a class of tokens must be better by than words, and what stands around must be better by than what stands in one place. */
const PLAINER_BY = 0.1;

const PLACES = [0, -1, -2, -3] as const;
const AROUND = { from: -4, to: 1 };

/** How a name begins that is about a place. */
const prefixOf = (offset: number | "around", tokenKind: TokenKind): string =>
  ({
    0: "on",
    [-1]: "right after",
    [-2]: `two ${tokenNames[tokenKind]} after`,
    [-3]: `three ${tokenNames[tokenKind]} after`,
    around: "near",
  })[offset]!;
const tokenNames = { language: "tokens", symbols: "time bins" } as const;

/** Contexts that a name must not hold for: those of other facets, and random places of the corpus. */
export interface OtherContexts {
  readonly others: readonly NamedContext[];
  readonly random: readonly NamedContext[];
}

/**
 * The name of a group of contexts: at each of four places, and around, the words that tell the group's contexts from others and from random ones by log-odds
 * (z of 1 at least, at most three words, each adding contexts), and at the token and the one before it classes of tokens; of all these the one
 * whose share in the group is furthest above its share elsewhere, a plainer one before one that is hardly better. Symbols have no classes.
 *
 * @returns Undefined for fewer than three contexts, and if nothing is more frequent by half of them: the best words of contexts that have nothing in common are often found in some of them.
 */
export function facetName(
  group: readonly NamedContext[],
  elsewhere: OtherContexts,
  tokenKind: TokenKind = "language",
): FacetName | undefined {
  if (group.length < MIN_GROUP) return undefined;
  const candidates = [
    ...PLACES.map((offset) => wordsAt(group, elsewhere, offset, tokenKind)),
    ...(tokenKind === "symbols" ? [] : [0, -1]).map((offset) => classAt(group, elsewhere, offset)),
    wordsAt(group, elsewhere, "around", tokenKind),
  ];
  let best: FacetName | undefined;
  candidates.forEach((name, i) => {
    if (!name || advantage(name) < MIN_ADVANTAGE) return;
    // Words in one place come first; what comes later must be better by more.
    const more = i < PLACES.length ? 1e-9 : PLAINER_BY;
    if (!best || advantage(name) > advantage(best) + more) best = name;
  });
  return best;
}

const advantage = ({ share, otherShare }: FacetName): number => share - otherShare;

/** The spellings of a context at a place, white space left out. */
function spellingsAt(
  { tokens, peak }: NamedContext,
  offset: number | "around",
  tokenKind: TokenKind,
): Set<string> {
  const [from, to] = offset === "around" ? [AROUND.from, AROUND.to] : [offset, offset];
  const some = tokens.slice(Math.max(0, peak + from), Math.max(0, peak + to + 1));
  return new Set(some.map((token) => spellingOf(token, tokenKind)).filter((word) => word !== ""));
}

type Words = ReadonlySet<string>;

function wordsAt(
  group: readonly NamedContext[],
  { others, random }: OtherContexts,
  offset: number | "around",
  tokenKind: TokenKind,
): FacetName | undefined {
  const wordsOf = (contexts: readonly NamedContext[]): Words[] =>
    contexts.map((context) => spellingsAt(context, offset, tokenKind));
  const [inside, outside, anywhere] = [wordsOf(group), wordsOf(others), wordsOf(random)];
  const zOf = (word: string): number => {
    const own = { inside: holding(inside, [word]), nInside: inside.length };
    const z = (sets: readonly Words[]) =>
      logOddsZ({ ...own, outside: holding(sets, [word]), nOutside: sets.length });
    // A single facet has no others.
    return Math.min(z(anywhere), outside.length === 0 ? Number.POSITIVE_INFINITY : z(outside));
  };
  const telling = [...new Set(inside.flatMap((words) => [...words]))]
    .filter((word) => holding(inside, [word]) >= MIN_CONTEXTS)
    .map((word) => ({ word, z: zOf(word) }))
    .filter(({ z }) => z >= MIN_Z)
    .sort((a, b) => b.z - a.z || (a.word < b.word ? -1 : 1));
  const words: string[] = [];
  for (const { word } of telling) {
    const adds = holding(inside, [...words, word]) - holding(inside, words);
    if (words.length < MAX_WORDS && adds > 0) words.push(word);
  }
  if (words.length === 0) return undefined;
  const quoted = words.map((word) => `'${word}'`);
  const list =
    quoted.length === 1 ? quoted[0]! : `${quoted.slice(0, -1).join(", ")} or ${quoted.at(-1)!}`;
  const shareIn = (sets: readonly Words[]) => holding(sets, words) / Math.max(1, sets.length);
  return {
    phrase: `${prefixOf(offset, tokenKind)} ${list}`,
    words,
    offset,
    share: shareIn(inside),
    otherShare: Math.max(shareIn(outside), shareIn(anywhere)),
  };
}

/** How many sets hold one of some words. */
const holding = (sets: readonly Words[], words: readonly string[]): number =>
  sets.filter((set) => words.some((word) => set.has(word))).length;

/** Initial letters say too little to be a name. */
const classes = tokenFamilies.filter(({ kind }) => kind === "class");

function classAt(
  group: readonly NamedContext[],
  { others, random }: OtherContexts,
  offset: number,
): FacetName | undefined {
  let best: FacetName | undefined;
  for (const { name, phrase, has } of classes) {
    const shareIn = (contexts: readonly NamedContext[]) =>
      contexts.filter(({ tokens, peak }) => {
        const token = tokens[peak + offset];
        return token !== undefined && has(token);
      }).length / Math.max(1, contexts.length);
    const found = {
      phrase: `${prefixOf(offset, "language")} ${phrase}`,
      words: [name],
      offset,
      share: shareIn(group),
      otherShare: Math.max(shareIn(others), shareIn(random)),
    };
    if (!best || advantage(found) > advantage(best)) best = found;
  }
  return best;
}
