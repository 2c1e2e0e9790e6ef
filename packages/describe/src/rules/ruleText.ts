import { ArgumentError } from "@penfield/core";
import { spellingOf, type TokenKind, tokenFamilies } from "@penfield/localize";
import { sharedTagger, type TaggedWord, type Tagger } from "./partOfSpeech.ts";
import type { Rule } from "./rule.ts";
import { WordNet } from "./wordNet.ts";

/** A condition that tokens of a text fulfil or not, with the tokens that do. */
export interface SharedFeature {
  readonly rule: Rule;
  readonly mask: Uint8Array;
  readonly count: number;
}

/** Who tags words and who knows their kinds; opened once, used for many texts. */
export interface Lexicon {
  readonly tagger: Tagger;
  readonly wordNet: WordNet;
}

/**
 * The tagger, which is one for the process, and WordNet.
 *
 * @example
 * createLexicon().tagger.tag(["The", " dog"])[1].tag // => "NOUN"
 */
export function createLexicon(): Lexicon {
  return { tagger: sharedTagger(), wordNet: new WordNet() };
}

/** Kinds of conditions of which there are few, so that their tokens are kept. */
const SHARED: ReadonlySet<Rule["type"]> = new Set([
  ...(["family", "partOfSpeech", "lexicographer", "hypernym", "repeat"] as const),
]);

/** Conditions that hold on no symbol. */
const LANGUAGE: ReadonlySet<Rule["type"]> = new Set([
  ...(["family", "partOfSpeech", "lexicographer", "hypernym"] as const),
]);

/** Fewest tokens that a shared condition must hold on. */
const MIN_COUNT = 8;

/** Documents on which rules run, with what rules ask about tokens. Tags are only looked up if a rule asks for them. */
export class RuleText {
  /** All tokens, document after document. */
  readonly tokens: readonly string[];
  readonly spellings: readonly string[];
  /** Each token's spelling as a number. */
  readonly spellingIds: Int32Array;
  readonly positions: Int32Array;
  /** Of each token. */
  readonly documentOf: Int32Array;
  /** Where each document begins, and after the last where it ends. */
  readonly starts: Int32Array;
  readonly #tokenKind: TokenKind;
  readonly #lexicon: () => Lexicon;
  #tagged: readonly (TaggedWord | undefined)[] | undefined;
  #senses: { lexicographer: (string | undefined)[]; synset: (number | undefined)[] } | undefined;
  #documentsOf: ReadonlyMap<string, readonly number[]> | undefined;
  readonly #masks = new Map<string, Uint8Array>();
  readonly #ids = new Map<string, number>();

  /**
   * @param documents - Each one's tokens as text, with their spaces.
   * @param lexicon - Opened when a rule asks for parts of speech or WordNet, if not given.
   * @param tokenKind - Of `symbols`, no rule about a language holds, and none is proposed.
   */
  constructor(
    documents: readonly (readonly string[])[],
    lexicon?: Lexicon,
    tokenKind: TokenKind = "language",
  ) {
    this.#tokenKind = tokenKind;
    let opened = lexicon;
    this.#lexicon = () => {
      opened ??= createLexicon();
      return opened;
    };
    this.tokens = documents.flat();
    // Few different tokens make up a text: each is spelled once.
    const spelled = new Map<string, string>();
    this.spellings = this.tokens.map((token) => {
      let spelling = spelled.get(token);
      if (spelling === undefined) {
        spelling = spellingOf(token, tokenKind);
        spelled.set(token, spelling);
      }
      return spelling;
    });
    this.spellingIds = Int32Array.from(this.spellings, (spelling) => {
      const id = this.#ids.get(spelling) ?? this.#ids.size;
      this.#ids.set(spelling, id);
      return id;
    });
    this.positions = new Int32Array(this.tokens.length);
    this.documentOf = new Int32Array(this.tokens.length);
    this.starts = new Int32Array(documents.length + 1);
    let at = 0;
    documents.forEach((document, d) => {
      for (let i = 0; i < document.length; i++, at++) {
        this.positions[at] = i;
        this.documentOf[at] = d;
      }
      this.starts[d + 1] = at;
    });
  }

  get nTokens(): number {
    return this.tokens.length;
  }

  /** How many different spellings there are. */
  get nSpellings(): number {
    return this.#ids.size;
  }

  /** 1 at each token where the rule holds. Masks of conditions that many units share are kept. */
  mask(rule: Rule): Uint8Array {
    if (!SHARED.has(rule.type)) return this.#evaluate(rule);
    const key = JSON.stringify(rule);
    let mask = this.#masks.get(key);
    if (!mask) {
      mask = this.#evaluate(rule);
      this.#masks.set(key, mask);
    }
    return mask;
  }

  /** The documents that each word, as a spelling, stands in. */
  #documentLists(): ReadonlyMap<string, readonly number[]> {
    if (!this.#documentsOf) {
      const lists = new Map<string, number[]>();
      this.spellings.forEach((word, i) => {
        const document = this.documentOf[i]!;
        const list = lists.get(word);
        if (!list) lists.set(word, [document]);
        else if (list.at(-1) !== document) list.push(document);
      });
      this.#documentsOf = lists;
    }
    return this.#documentsOf;
  }

  /** Families, parts of speech, kinds of WordNet and repetition, on enough tokens to be worth a look. */
  sharedFeatures(): SharedFeature[] {
    const repeat: Rule = { type: "repeat" };
    return this.#worthALook(
      this.#tokenKind === "symbols" ? [repeat] : [...this.#languageRules(), repeat],
    );
  }

  /** Conditions about tokens as parts of a language. */
  #languageRules(): Rule[] {
    const tagged = this.#tags();
    const tags = [...new Set(tagged.flatMap((word) => (word ? [word.tag] : [])))].sort();
    const senses = this.#wordSenses();
    const names = [...new Set(senses.lexicographer)].filter((name) => name !== undefined).sort();
    const { wordNet } = this.#lexicon();
    const kinds = new Map<number, number>();
    for (const synset of senses.synset) {
      if (synset === undefined) continue;
      for (const above of wordNet.hypernyms(synset)) kinds.set(above, (kinds.get(above) ?? 0) + 1);
    }
    const limit = this.nTokens / 2;
    return [
      ...[0, -1].flatMap((offset) =>
        tokenFamilies.map(({ name }): Rule => ({ type: "family", offset, family: name })),
      ),
      ...[0, -1].flatMap((offset) =>
        tags.map((tag): Rule => ({ type: "partOfSpeech", offset, tag })),
      ),
      ...names.map((name): Rule => ({ type: "lexicographer", name })),
      ...[...kinds]
        .filter(([, count]) => count >= MIN_COUNT && count < limit)
        .sort((a, b) => b[1] - a[1] || a[0] - b[0])
        .slice(0, 150)
        .map(([synset]): Rule => ({ type: "hypernym", synset, word: wordNet.nameOf(synset) })),
    ];
  }

  #worthALook(rules: readonly Rule[]): SharedFeature[] {
    const found: SharedFeature[] = [];
    const seen = new Set<string>();
    for (const rule of rules) {
      const mask = this.mask(rule);
      let count = 0;
      let hash = 0;
      for (let i = 0; i < mask.length; i++) {
        if (mask[i] === 0) continue;
        count++;
        hash = (Math.imul(hash, 31) + i) | 0;
      }
      // Two names for the same tokens: the first is kept.
      const key = `${count} ${hash}`;
      if (count < MIN_COUNT || count > this.nTokens - MIN_COUNT || seen.has(key)) continue;
      seen.add(key);
      found.push({ rule, mask, count });
    }
    return found;
  }

  #evaluate(rule: Rule): Uint8Array {
    if (this.#tokenKind === "symbols" && LANGUAGE.has(rule.type)) {
      return new Uint8Array(this.nTokens);
    }
    switch (rule.type) {
      case "word": {
        const wanted = this.#wanted(rule.words);
        const mask = new Uint8Array(this.nTokens);
        for (let i = -rule.offset; i < mask.length; i++) {
          const inside = this.positions[i]! + rule.offset >= 0;
          if (inside) mask[i] = wanted[this.spellingIds[i + rule.offset]!]!;
        }
        return mask;
      }
      case "ngram": {
        const last = this.#wanted(rule.ngrams.map((ngram) => ngram.at(-1)!));
        return this.#where(
          (i) =>
            last[this.spellingIds[i]!] === 1 &&
            rule.ngrams.some(
              (ngram) =>
                this.positions[i]! >= ngram.length - 1 &&
                ngram.every((word, k) => this.spellings[i - ngram.length + 1 + k] === word),
            ),
        );
      }
      case "family": {
        const family = tokenFamilies.find(({ name }) => name === rule.family);
        if (!family) throw new ArgumentError(`RuleText: expected a family, got ${rule.family}`);
        const known = new Map<string, boolean>();
        return this.#where((i) => {
          if (this.positions[i]! + rule.offset < 0) return false;
          const token = this.tokens[i + rule.offset]!;
          let has = known.get(token);
          if (has === undefined) {
            has = family.has(token);
            known.set(token, has);
          }
          return has;
        });
      }
      case "position": {
        const mask = new Uint8Array(this.nTokens);
        for (let i = 0; i < mask.length; i++) {
          mask[i] = Number(this.positions[i]! >= rule.from && this.positions[i]! < rule.to);
        }
        return mask;
      }
      case "period":
        return this.#where((i) => this.positions[i]! % rule.period === rule.phase);
      case "topic": {
        const lists = this.#documentLists();
        const held = new Uint32Array(this.starts.length - 1);
        for (const word of rule.words) for (const d of lists.get(word) ?? []) held[d]!++;
        const mask = new Uint8Array(this.nTokens);
        held.forEach((n, d) => {
          if (n >= rule.atLeast) mask.fill(1, this.starts[d]!, this.starts[d + 1]!);
        });
        return mask;
      }
      case "partOfSpeech": {
        const tagged = this.#tags();
        return this.#where(
          (i) => this.positions[i]! + rule.offset >= 0 && tagged[i + rule.offset]?.tag === rule.tag,
        );
      }
      case "lexicographer": {
        const { lexicographer } = this.#wordSenses();
        return this.#where((i) => lexicographer[i] === rule.name);
      }
      case "hypernym": {
        const { synset } = this.#wordSenses();
        const { wordNet } = this.#lexicon();
        const known = new Map<number, boolean>();
        return this.#where((i) => {
          const own = synset[i];
          if (own === undefined) return false;
          let is = known.get(own);
          if (is === undefined) {
            is = wordNet.hypernyms(own).includes(rule.synset);
            known.set(own, is);
          }
          return is;
        });
      }
      case "repeat": {
        let seen = new Set<string>();
        return this.#where((i) => {
          if (this.positions[i] === 0) seen = new Set();
          const before = seen.has(this.tokens[i]!);
          seen.add(this.tokens[i]!);
          return before;
        });
      }
      case "not": {
        const out = this.mask(rule.rule).slice();
        for (let i = 0; i < out.length; i++) out[i] = 1 - out[i]!;
        return out;
      }
      case "and":
      case "or": {
        let out = this.mask(rule.rules[0]!);
        for (const part of rule.rules.slice(1)) out = joined(rule.type, out, this.mask(part));
        return out;
      }
    }
  }

  /** 1 for the numbers of these spellings. */
  #wanted(words: readonly string[]): Uint8Array {
    const wanted = new Uint8Array(this.nSpellings);
    for (const word of words) {
      const id = this.#ids.get(word);
      if (id !== undefined) wanted[id] = 1;
    }
    return wanted;
  }

  #where(holds: (i: number) => boolean): Uint8Array {
    const mask = new Uint8Array(this.nTokens);
    for (let i = 0; i < mask.length; i++) if (holds(i)) mask[i] = 1;
    return mask;
  }

  #tags(): readonly (TaggedWord | undefined)[] {
    if (!this.#tagged) {
      const { tagger } = this.#lexicon();
      this.#tagged = Array.from({ length: this.starts.length - 1 }, (_, d) =>
        tagger.tag(this.tokens.slice(this.starts[d]!, this.starts[d + 1]!)),
      ).flat();
    }
    return this.#tagged;
  }

  #wordSenses(): { lexicographer: (string | undefined)[]; synset: (number | undefined)[] } {
    if (!this.#senses) {
      const { wordNet } = this.#lexicon();
      const known = new Map<string, ReturnType<WordNet["firstSense"]>>();
      const senses = this.#tags().map((word) => {
        if (!word || (word.tag !== "NOUN" && word.tag !== "VERB")) return undefined;
        const part = word.tag === "NOUN" ? "noun" : "verb";
        const key = `${part} ${word.lemma}`;
        if (!known.has(key)) known.set(key, wordNet.firstSense(word.lemma, part));
        return known.get(key);
      });
      this.#senses = {
        lexicographer: senses.map((sense) => sense?.lexicographer),
        synset: senses.map((sense) =>
          sense?.lexicographer.startsWith("noun") ? sense.synset : undefined,
        ),
      };
    }
    return this.#senses;
  }
}

/** The tokens of both masks, or of either. */
export function joined(type: "and" | "or", a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length);
  if (type === "and") for (let i = 0; i < out.length; i++) out[i] = a[i]! & b[i]!;
  else for (let i = 0; i < out.length; i++) out[i] = a[i]! | b[i]!;
  return out;
}

/**
 * Where a rule holds in a text, one value per token.
 *
 * @param tokens - As text, with their spaces.
 * @param tokenKind - Of `symbols`, a rule about a language holds nowhere. Default `language`.
 * @returns 1 where it holds, else 0, `[nTokens]`.
 *
 * @example
 * runRule({ type: "word", offset: -1, words: ["the"] }, ["The", " cat", " saw", " the", " dog"]).join("") // => "01001"
 */
export function runRule(
  rule: Rule,
  tokens: readonly string[],
  tokenKind: TokenKind = "language",
): Uint8Array {
  return new RuleText([tokens], undefined, tokenKind).mask(rule);
}
