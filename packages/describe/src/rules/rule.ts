import { FormatError } from "@penfield/core";
import { type TokenKind, tokenFamilies } from "@penfield/localize";
import { z } from "zod";
import { lexicographerPhrase } from "./wordNet.ts";

/**
 * When a unit answers, as data that runs. Words are spellings: without the space before them and without capitals.
 *
 * - `word`: the token at `offset` (0 the token itself, -1 the one before) is one of `words`;
 * - `ngram`: the tokens up to this one are one of `ngrams`;
 * - `family`: the token at `offset` belongs to a family of `tokenFamilies`;
 * - `position`: its place in the document is from `from` to before `to`;
 * - `period`: its place leaves `phase` when divided by `period`;
 * - `topic`: its document holds one of `words`, or `atLeast` of them;
 * - `partOfSpeech`: the word at `offset` has the universal tag `tag`;
 * - `lexicographer`: the word's first sense in WordNet is in this lexicographer file, as `noun.animal`;
 * - `hypernym`: the noun's first sense is a kind of `synset` (an offset in WordNet 3.1), `word` its name;
 * - `repeat`: the token stood in the document before.
 */
export type Rule =
  | { readonly type: "word"; readonly offset: number; readonly words: readonly string[] }
  | { readonly type: "ngram"; readonly ngrams: readonly (readonly string[])[] }
  | { readonly type: "family"; readonly offset: number; readonly family: string }
  | { readonly type: "position"; readonly from: number; readonly to: number }
  | { readonly type: "period"; readonly period: number; readonly phase: number }
  | { readonly type: "topic"; readonly words: readonly string[]; readonly atLeast: number }
  | { readonly type: "partOfSpeech"; readonly offset: number; readonly tag: string }
  | { readonly type: "lexicographer"; readonly name: string }
  | { readonly type: "hypernym"; readonly synset: number; readonly word: string }
  | { readonly type: "repeat" }
  | { readonly type: "and" | "or"; readonly rules: readonly Rule[] }
  | { readonly type: "not"; readonly rule: Rule };

const offset = z.number().int().min(-8).max(0);
const words = z.array(z.string()).min(1);

const ruleSchema: z.ZodType<Rule> = z.lazy(() =>
  z.discriminatedUnion("type", [
    z.strictObject({ type: z.literal("word"), offset, words }),
    z.strictObject({ type: z.literal("ngram"), ngrams: z.array(words).min(1) }),
    z.strictObject({ type: z.literal("family"), offset, family: z.enum(familyNames) }),
    z.strictObject({
      type: z.literal("position"),
      from: z.number().int().min(0),
      to: z.number().int().min(1),
    }),
    z.strictObject({
      type: z.literal("period"),
      period: z.number().int().min(2),
      phase: z.number().int().min(0),
    }),
    z.strictObject({ type: z.literal("topic"), words, atLeast: z.number().int().min(1) }),
    z.strictObject({ type: z.literal("partOfSpeech"), offset, tag: z.string() }),
    z.strictObject({ type: z.literal("lexicographer"), name: z.string() }),
    z.strictObject({
      type: z.literal("hypernym"),
      synset: z.number().int().min(0),
      word: z.string(),
    }),
    z.strictObject({ type: z.literal("repeat") }),
    z.strictObject({ type: z.enum(["and", "or"]), rules: z.array(ruleSchema).min(2) }),
    z.strictObject({ type: z.literal("not"), rule: ruleSchema }),
  ]),
);

const familyNames = tokenFamilies.map(({ name }) => name);
const familyPhrases = new Map(tokenFamilies.map(({ name, phrase }) => [name, phrase]));

/**
 * A rule from JSON.
 *
 * @throws {FormatError} if it is not one.
 *
 * @example
 * parseRule({ type: "position", from: 0, to: 3 }).type // => "position"
 */
export function parseRule(json: unknown): Rule {
  if (depthOf(json) > MAX_DEPTH) {
    throw new FormatError(`parseRule: rule: expected at most ${MAX_DEPTH} levels of parts`);
  }
  const parsed = ruleSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw new FormatError(`parseRule: ${path.join(".") || "rule"}: ${message}`);
}

/** Levels of and, or and not; who finds rules makes three at most. */
const MAX_DEPTH = 20;

/** Levels of parts, as far as it matters: checked without recursion, as the file may be anybody's. */
function depthOf(json: unknown): number {
  let level: unknown[] = [json];
  let depth = 0;
  while (level.length > 0 && depth <= MAX_DEPTH) {
    level = level.flatMap((part) => {
      const { rule, rules } = (part ?? {}) as { rule?: unknown; rules?: unknown };
      return [...(rule === undefined ? [] : [rule]), ...(Array.isArray(rules) ? rules : [])];
    });
    depth++;
  }
  return depth;
}

/** How many conditions a rule has. */
export function literalCount(rule: Rule): number {
  if (rule.type === "not") return literalCount(rule.rule);
  if (rule.type !== "and" && rule.type !== "or") return 1;
  return rule.rules.reduce((sum, part) => sum + literalCount(part), 0);
}

/**
 * A rule as a sentence.
 *
 * @param tokenKind - Of `symbols`, tokens are called time bins, and documents recordings.
 *
 * @example
 * ruleSentence({ type: "and", rules: [{ type: "word", offset: 0, words: ["bank"] }, { type: "not", rule: { type: "topic", words: ["river"], atLeast: 1 } }] })
 * // => "active on 'bank', but not in documents with 'river'"
 * ruleSentence({ type: "position", from: 7, to: 20 }, "symbols") // => "active in time bins 8 to 20 of a recording"
 */
export function ruleSentence(rule: Rule, tokenKind: TokenKind = "language"): string {
  return rule.type === "not"
    ? `active everywhere but ${phrase(rule.rule, tokenKind)}`
    : `active ${phrase(rule, tokenKind)}`;
}

/** What a place, its text and a place that was met before are called. */
const nouns = {
  language: { on: "on", token: "token", document: "document", again: "tokens that stood" },
  symbols: {
    ...{ on: "in", token: "time bin", document: "recording" },
    again: "time bins with symbols that stood",
  },
} as const satisfies Record<TokenKind, object>;

const quoted = (list: readonly string[]): string => {
  // A token of nothing but white space has an empty spelling.
  const names = list.map(
    (word) => `'${word.replace(/(^|(?<= ))(?=$| )/g, "␣").replaceAll("\n", "\\n")}'`,
  );
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} or ${names.at(-1)!}`;
};

const distances: Record<number, string> = { [-2]: "two", [-3]: "three" };

const TAGS: Record<string, string> = {
  ADJ: "adjectives",
  ADP: "prepositions",
  ADV: "adverbs",
  AUX: "auxiliary verbs",
  CCONJ: "coordinating conjunctions",
  DET: "determiners",
  INTJ: "interjections",
  NOUN: "nouns",
  NUM: "numerals",
  PART: "particles",
  PRON: "pronouns",
  PROPN: "proper names",
  PUNCT: "punctuation",
  SCONJ: "subordinating conjunctions",
  SYM: "symbols",
  VERB: "verbs",
};

/** A part of a rule; one that has parts itself stands in brackets. */
const inner = (rule: Rule, tokenKind: TokenKind): string =>
  rule.type === "and" || rule.type === "or"
    ? `(${phrase(rule, tokenKind)})`
    : phrase(rule, tokenKind);

function phrase(rule: Rule, tokenKind: TokenKind): string {
  const { on, token, document, again } = nouns[tokenKind];
  const at = (distance: number): string => {
    if (distance === 0) return "on";
    return distance === -1 ? "right after" : `${distances[distance] ?? -distance} ${token}s after`;
  };
  const part = (own: Rule): string => inner(own, tokenKind);
  switch (rule.type) {
    case "word":
      return `${at(rule.offset)} ${quoted(rule.words)}`;
    case "ngram":
      return `at the end of ${quoted(rule.ngrams.map((ngram) => ngram.join(" ")))}`;
    case "family":
      return `${at(rule.offset)} ${familyPhrases.get(rule.family) ?? rule.family}`;
    case "position": {
      if (rule.to - rule.from === 1) return `${on} ${token} ${rule.from + 1} of a ${document}`;
      return rule.from === 0
        ? `${on} the first ${rule.to} ${token}s of a ${document}`
        : `${on} ${token}s ${rule.from + 1} to ${rule.to} of a ${document}`;
    }
    case "period":
      return `${on} every ${rule.period} ${token}s, from ${token} ${rule.phase + 1} on`;
    case "topic":
      return `in ${document}s with ${rule.atLeast > 1 ? `at least ${rule.atLeast} of ` : ""}${quoted(rule.words)}`;
    case "partOfSpeech":
      return `${at(rule.offset)} ${TAGS[rule.tag] ?? rule.tag}`;
    case "lexicographer":
      return `on ${lexicographerPhrase(rule.name)}`;
    case "hypernym":
      return `on words for a kind of ${rule.word}`;
    case "repeat":
      return `${on} ${again} in the ${document} before`;
    case "not":
      return `everywhere but ${part(rule.rule)}`;
    case "or":
      return rule.rules.map(part).join(", or ");
    case "and": {
      const nots = rule.rules.flatMap((own) => (own.type === "not" ? [own.rule] : []));
      const rest = rule.rules.filter((own) => own.type !== "not");
      const except = nots.map((own) => `not ${part(own)}`).join(", and ");
      if (rest.length === 0) return `everywhere, but ${except}`;
      return `${rest.map(part).join(", and ")}${nots.length > 0 ? `, but ${except}` : ""}`;
    }
  }
}
