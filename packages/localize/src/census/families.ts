import type { TokenKind } from "./source.ts";

/** A class of tokens, known from their text alone. */
export interface TokenFamily {
  readonly name: string;
  /** Finishes "fires on ...". */
  readonly phrase: string;
  readonly kind: "alphabet" | "class";
  readonly has: (token: string) => boolean;
}

const bare = (token: string): string => token.trim().toLowerCase();
const oneOf = (words: string): ((token: string) => boolean) => {
  const set = new Set(words.split(" "));
  return (token) => set.has(bare(token));
};
const like =
  (pattern: RegExp): ((token: string) => boolean) =>
  (token) =>
    pattern.test(token.trim());
const lists: Record<string, readonly [phrase: string, words: string]> = {
  articles: ["articles", "a an the"],
  "personal-pronouns": [
    "personal pronouns",
    "i you he she it we they me him her us them myself yourself himself herself itself ourselves themselves",
  ],
  "subject-pronouns": ["subject pronouns", "i he she we they"],
  "object-pronouns": ["object pronouns", "me him her us them"],
  possessives: ["possessive pronouns", "my your his her its our their mine yours hers ours theirs"],
  reflexives: [
    "reflexive pronouns",
    "myself yourself himself herself itself ourselves yourselves themselves",
  ],
  demonstratives: ["demonstratives", "this that these those"],
  prepositions: [
    "prepositions",
    "of in to for with on at by from about into over after under between through during before behind near beside above below against without within along across toward towards upon around",
  ],
  conjunctions: ["conjunctions", "and or but nor so yet because although though while if unless"],
  auxiliaries: [
    "auxiliary verbs",
    "be am is are was were been being have has had having do does did will would shall should can could may might must",
  ],
  "forms-of-be": ["forms of 'be'", "be am is are was were been being"],
  modals: ["modal verbs", "will would shall should can could may might must"],
  negations: [
    "negations",
    "not no never none nobody nothing neither nor nowhere without cannot n't",
  ],
  quantifiers: [
    "quantifiers",
    "all every each some any no few many much several most both none more less everyone everybody nobody",
  ],
  "question-words": ["question words", "who whom whose what which when where why how"],
  "number-words": [
    "number words",
    "one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty sixty seventy eighty ninety hundred thousand first second third",
  ],
  "time-words": [
    "words of time",
    "now then today yesterday tomorrow always often soon later before after morning evening night day week month year hour minute",
  ],
  colours: ["colours", "red green blue yellow white black brown grey gray orange purple pink"],
  kin: [
    "words for kin",
    "mother father son daughter brother sister husband wife uncle aunt child children parent parents",
  ],
};

/**
 * Families of tokens: initial letters, classes of characters, capitals, endings, and short closed lists of English words.
 * Own lists, after the kinds that Universal Neurons tests.
 *
 * @example
 * tokenFamilies.filter(({ has }) => has(" the")).map(({ name }) => name).join(" ") // => "letter-t leading-space articles"
 */
export const tokenFamilies: readonly TokenFamily[] = [
  ...Array.from(
    "abcdefghijklmnopqrstuvwxyz",
    (letter): TokenFamily => ({
      name: `letter-${letter}`,
      phrase: `tokens that begin with '${letter}'`,
      kind: "alphabet",
      has: (token) => bare(token).startsWith(letter),
    }),
  ),
  ...(
    [
      ["leading-space", "tokens that begin a word", (t: string) => /^\s\S/.test(t)],
      ["no-leading-space", "tokens inside a word", like(/^[a-z]/), (t: string) => !/^\s/.test(t)],
      ["capitalized", "capitalized tokens", like(/^[A-Z][a-z]+/)],
      ["all-capitals", "tokens in capitals", like(/^[A-Z]{2,}$/)],
      ["digits", "numbers in digits", like(/^[0-9]+$/)],
      ["letters-single", "single letters", like(/^[A-Za-z]$/)],
      ["punctuation", "punctuation", like(/^[^\p{L}\p{N}\s]+$/u)],
      ["sentence-end", "ends of sentences", like(/^[.!?]+$/)],
      ["comma-like", "commas, colons and semicolons", like(/^[,;:]$/)],
      ["quotes", "quotation marks", like(/^["'“”‘’`]+$/)],
      ["brackets", "brackets", like(/^[()[\]{}<>]+$/)],
      ["operators", "mathematical signs", like(/^[-+*/=<>×÷]+$/)],
      ["white", "white space", (t: string) => t !== "" && t.trim() === ""],
      ["newline", "line ends", (t: string) => /\n/.test(t)],
      ["not-ascii", "characters outside ASCII", (t: string) => /[^\p{ASCII}]/u.test(t)],
      ["ending-ing", "tokens in '-ing'", like(/ing$/i)],
      ["ending-ed", "tokens in '-ed'", like(/ed$/i)],
      ["ending-ly", "tokens in '-ly'", like(/ly$/i)],
      ["ending-s", "tokens in '-s'", like(/[a-z]s$/i)],
      ["ending-er", "tokens in '-er'", like(/er$/i)],
      ["ending-est", "tokens in '-est'", like(/est$/i)],
      ["ending-tion", "tokens in '-tion'", like(/tion$/i)],
      ["ending-ness", "tokens in '-ness'", like(/ness$/i)],
      ["beginning-un", "tokens that begin with 'un'", like(/^un[a-z]/i)],
      ["beginning-re", "tokens that begin with 're'", like(/^re[a-z]/i)],
    ] as const
  ).map(
    ([name, phrase, ...tests]): TokenFamily => ({
      name,
      phrase,
      kind: "class",
      has: (token) => tests.every((test) => (test as (t: string) => boolean)(token)),
    }),
  ),
  ...Object.entries(lists).map(
    ([name, [phrase, words]]): TokenFamily => ({ name, phrase, kind: "class", has: oneOf(words) }),
  ),
];

/**
 * A token without the space before it and without capitals: the spellings of one word. Symbols keep their capitals.
 *
 * @example
 * [spellingOf(" The"), spellingOf(" #A", "symbols")].join(" ") // => "the #A"
 */
export const spellingOf = (token: string, tokens: TokenKind = "language"): string =>
  tokens === "symbols" ? token.trim() : bare(token);
