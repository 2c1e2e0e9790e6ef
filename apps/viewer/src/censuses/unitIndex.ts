import { open } from "node:fs/promises";
import { join } from "node:path";
import { ArgumentError } from "@penfield/core";
import {
  type Census,
  type CensusHookMeta,
  censusFiles,
  type UnitColumn,
} from "@penfield/localize/census-reader";
import type { PatternThread } from "./timedRegex.ts";

/** Tokens of each unit that a search looks at: those on which it is active most often. */
const N_TOKENS = 5;

/** Sentences are searched and listed up to this length. */
const MAX_SENTENCE = 400;

type Note = Readonly<Record<string, unknown>> & { readonly unit: number };

/** Whether a unit has a description, was refused one, or nobody looked. */
export type Described = "described" | "refused" | "not tried";

const states: readonly Described[] = ["not tried", "described", "refused"];

/** Types in the order in which they are shown; ones that nobody knows yet come after. */
const typeOrder: readonly string[] = [
  "dead",
  "dormant",
  "token-detector",
  "previous-token-detector",
  "bigram-detector",
  "trigram-detector",
  "unigram-family",
  "alphabet-family",
  "token-class",
  "part-of-speech",
  "topic",
  "positional",
  "dense",
];

/** Collects what the index needs from notes as they are read. */
export class UnitIndexMaker {
  readonly sentences: string[];
  readonly state: Uint8Array;
  readonly r: Float32Array;
  readonly floor: Float32Array;
  readonly types: Uint32Array;
  readonly primary: Int8Array;
  typeNames: string[] = [];

  constructor(nUnits: number) {
    this.sentences = new Array<string>(nUnits).fill("");
    this.state = new Uint8Array(nUnits);
    this.r = new Float32Array(nUnits).fill(Number.NaN);
    this.floor = new Float32Array(nUnits).fill(Number.NaN);
    this.types = new Uint32Array(nUnits);
    this.primary = new Int8Array(nUnits).fill(-1);
  }

  readonly addDescription = ({ unit, sentence, refusal, r, otherRuleR }: Note): void => {
    const refused = typeof refusal === "string";
    this.state[unit] = refused ? 2 : 1;
    this.sentences[unit] = refused ? "" : String(sentence ?? "").slice(0, MAX_SENTENCE);
    this.r[unit] = typeof r === "number" ? r : Number.NaN;
    this.floor[unit] = typeof otherRuleR === "number" ? otherRuleR : Number.NaN;
  };

  readonly addClass = ({ unit, types, primary }: Note): void => {
    if (!Array.isArray(types)) return;
    for (const type of types) this.types[unit]! |= this.#bit(type);
    this.primary[unit] = typeof primary === "string" ? this.typeNames.indexOf(primary) : -1;
  };

  /** Puts the types in their order, so that a type has the same place in every census that has it. */
  sortTypes(): void {
    const rank = (name: string): number => (typeOrder.indexOf(name) + 99) % 99;
    const old = this.typeNames;
    this.typeNames = [...old].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
    const places = old.map((name) => this.typeNames.indexOf(name));
    this.types.forEach((bits, unit) => {
      let moved = 0;
      for (let i = 0; i < places.length; i++) if ((bits >>> i) & 1) moved |= 1 << places[i]!;
      this.types[unit] = moved;
      this.primary[unit] = places[this.primary[unit]!] ?? -1;
    });
  }

  /** No more than 31 types are told apart. */
  #bit(type: unknown): number {
    if (typeof type !== "string") return 0;
    let place = this.typeNames.indexOf(type);
    if (place < 0 && this.typeNames.length < 31) {
      place = this.typeNames.push(type.slice(0, 40)) - 1;
    }
    return place < 0 ? 0 : 1 << place;
  }
}

/** What units can be sorted by; with "-" before it from the largest. */
const sortKeys = [
  "unit",
  "r",
  "frequency",
  "max",
  "mean",
  "variance",
  "skewness",
  "kurtosis",
  "hoyer",
  "documentShare",
] as const;

export type SortKey = (typeof sortKeys)[number];

export interface UnitQuery {
  readonly hook: CensusHookMeta | undefined;
  readonly type: string | undefined;
  readonly described: Described | undefined;
  readonly q: string;
  readonly how: "text" | "regex";
  readonly inside: "all" | "descriptions" | "tokens";
  readonly sort: SortKey;
  readonly descending: boolean;
  /** The last unit of the page before. */
  readonly after: number | undefined;
  /** A set that a report localized, by its name: 1 for each unit in it. */
  readonly set?: { readonly name: string; readonly mask: Uint8Array } | undefined;
}

export interface UnitPageResult {
  readonly units: readonly number[];
  /** How many units fit, on all pages. */
  readonly nFound: number;
  /** Fitting units that stand before these. */
  readonly nBefore: number;
  readonly hasMore: boolean;
  /** How many fit at each hook point. */
  readonly byHook: readonly number[];
}

/** Units found by their descriptions. */
export interface DescriptionHits {
  readonly units: readonly number[];
  /** How many there are, on this page and beyond. */
  readonly nFound: number;
}

/** A unit that was found by a token. */
export interface TokenHit {
  readonly unit: number;
  readonly token: number;
  /** Share of the unit's active tokens. */
  readonly share: number;
}

/** The tokens on which units are active most often, `[nUnits, N_TOKENS]`, -1 where there are fewer. */
interface TopTokens {
  readonly tokens: Int32Array;
  readonly shares: Float32Array;
}

/** What is held of all units, so that a table is sorted, filtered and searched without reading files. */
export class UnitIndex {
  readonly nUnits: number;
  readonly typeNames: readonly string[];
  /** Whether types are those of `classes.jsonl`; otherwise only dead and dense units are told. */
  readonly hasClasses: boolean;
  readonly #census: Census;
  readonly #maker: UnitIndexMaker;
  readonly #patterns: PatternThread;
  readonly #lower: readonly string[];
  readonly #orders = new Map<string, Uint32Array>();
  #topTokens: Promise<TopTokens> | undefined;
  #words: Promise<readonly string[]> | undefined;

  private constructor(
    census: Census,
    maker: UnitIndexMaker,
    hasClasses: boolean,
    patterns: PatternThread,
  ) {
    this.#patterns = patterns;
    this.nUnits = census.nUnits;
    this.typeNames = maker.typeNames;
    this.hasClasses = hasClasses;
    this.#census = census;
    this.#maker = maker;
    this.#lower = maker.sentences.map((sentence) => sentence.toLowerCase());
  }

  static async of(
    census: Census,
    maker: UnitIndexMaker,
    hasClasses: boolean,
    patterns: PatternThread,
  ): Promise<UnitIndex> {
    if (!hasClasses) {
      const frequency = await census.column("frequency");
      frequency.forEach((share, unit) => {
        if (share === 0) maker.addClass({ unit, types: ["dead"], primary: "dead" });
        else if (share > 0.5) maker.addClass({ unit, types: ["dense"], primary: "dense" });
      });
    }
    maker.sortTypes();
    return new UnitIndex(census, maker, hasClasses, patterns);
  }

  sentence(unit: number): string {
    return this.#maker.sentences[unit]!;
  }

  described(unit: number): Described {
    return states[this.#maker.state[unit]!]!;
  }

  /** Held-out correlation of the description; null where there is none. */
  r(unit: number): number | null {
    return orNull(this.#maker.r[unit]!);
  }

  /** The same of another unit's rule. */
  floor(unit: number): number | null {
    return orNull(this.#maker.floor[unit]!);
  }

  types(unit: number): string[] {
    return this.typeNames.filter((_, i) => (this.#maker.types[unit]! >>> i) & 1);
  }

  primary(unit: number): string | undefined {
    return this.typeNames[this.#maker.primary[unit]!];
  }

  /** How many units of a hook have each first type, then how many have none. */
  countTypes({ firstUnit, nUnits }: CensusHookMeta): number[] {
    const counts = new Array<number>(this.typeNames.length + 1).fill(0);
    for (let unit = firstUnit; unit < firstUnit + nUnits; unit++) {
      const primary = this.#maker.primary[unit]!;
      counts[primary < 0 ? this.typeNames.length : primary]!++;
    }
    return counts;
  }

  countDescribed(hook?: CensusHookMeta): Record<Described, number> {
    const counts = { described: 0, refused: 0, "not tried": 0 };
    const [from, to] = hook ? [hook.firstUnit, hook.firstUnit + hook.nUnits] : [0, this.nUnits];
    for (let unit = from; unit < to; unit++) counts[this.described(unit)]++;
    return counts;
  }

  /** A page of the units that fit a query. @throws {ArgumentError} for a pattern that cannot be used. */
  async find(query: UnitQuery, size: number): Promise<UnitPageResult> {
    const { hook, type, described, sort, descending, after, set } = query;
    const order = await this.#order(sort, descending);
    const found = query.q === "" ? undefined : await this.#matches(query);
    const typePlace = type === undefined ? -1 : this.typeNames.indexOf(type);
    const state = described === undefined ? -1 : states.indexOf(described);
    const { types, primary, state: stateOf } = this.#maker;
    const units: number[] = [];
    let nFound = 0;
    let nBefore = 0;
    let passed = after === undefined;
    const { hooks } = this.#census.meta;
    const byHook = new Array<number>(hooks.length).fill(0);
    for (const unit of order) {
      const fits =
        (!hook || (unit >= hook.firstUnit && unit < hook.firstUnit + hook.nUnits)) &&
        (type === undefined ||
          (type === "none"
            ? primary[unit]! < 0
            : typePlace >= 0 && ((types[unit]! >>> typePlace) & 1) === 1)) &&
        (state < 0 || stateOf[unit] === state) &&
        (!set || set.mask[unit] === 1) &&
        (!found || found[unit] === 1);
      if (fits) {
        nFound++;
        byHook[this.#hookOf(unit)]!++;
        if (!passed) nBefore++;
        else if (units.length < size) units.push(unit);
      }
      if (unit === after) passed = true;
    }
    return { units, nFound, nBefore, hasMore: nBefore + units.length < nFound, byHook };
  }

  /** The place of a unit's hook point among all. */
  #hookOf(unit: number): number {
    const { hooks } = this.#census.meta;
    let low = 0;
    let high = hooks.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (hooks[middle]!.firstUnit <= unit) low = middle;
      else high = middle;
    }
    return low;
  }

  /** Units by what their descriptions say: those that hold the word itself first, then the beginning of a word, then the best supported. */
  async findDescriptions(
    query: Pick<UnitQuery, "q" | "how">,
    size: number,
  ): Promise<DescriptionHits> {
    const found = await this.#matchSentences(query);
    const ranked: number[][] = [[], [], []];
    const isLetter = /[\p{L}\p{N}]/u;
    const wanted = query.q.toLowerCase();
    const rankOf = (sentence: string): number => {
      if (query.how === "regex" || wanted === "") return 0;
      let best = 2;
      for (let at = sentence.indexOf(wanted); at >= 0; at = sentence.indexOf(wanted, at + 1)) {
        if (isLetter.test(sentence[at - 1] ?? "")) continue;
        if (!isLetter.test(sentence[at + wanted.length] ?? "")) return 0;
        best = 1;
      }
      return best;
    };
    let nFound = 0;
    for (const unit of await this.#order("r", true)) {
      if (found[unit] !== 1) continue;
      nFound++;
      const own = ranked[rankOf(this.#lower[unit]!)]!;
      if (own.length < size) own.push(unit);
    }
    return { units: ranked.flat().slice(0, size), nFound };
  }

  /** Units by the tokens on which they are active: those that are the word itself first, then by share. */
  async findTokens(query: Pick<UnitQuery, "q" | "how">, size: number): Promise<TokenHit[]> {
    const [ranks, { tokens, shares }] = await Promise.all([
      this.#matchWords(query),
      this.#readTopTokens(),
    ]);
    const hits: (TokenHit & { rank: number })[] = [];
    for (let unit = 0; unit < this.nUnits; unit++) {
      let best: (typeof hits)[number] | undefined;
      for (let i = unit * N_TOKENS; i < (unit + 1) * N_TOKENS; i++) {
        const token = tokens[i]!;
        const rank = token < 0 ? 0 : ranks[token]!;
        if (rank === 0 || (best && best.rank >= rank)) continue;
        best = { unit, token, share: shares[i]!, rank };
      }
      if (best) hits.push(best);
    }
    hits.sort((a, b) => b.rank - a.rank || b.share - a.share || a.unit - b.unit);
    return hits.slice(0, size).map(({ unit, token, share }) => ({ unit, token, share }));
  }

  /** Nobody will search here any more. */
  async close(): Promise<void> {
    this.#patterns.forget(this.#maker.sentences);
    if (this.#words) this.#patterns.forget(await this.#words);
  }

  async #matches(query: UnitQuery): Promise<Uint8Array> {
    const found =
      query.inside === "tokens" ? new Uint8Array(this.nUnits) : await this.#matchSentences(query);
    if (query.inside === "descriptions") return found;
    const [ranks, { tokens }] = await Promise.all([this.#matchWords(query), this.#readTopTokens()]);
    for (let i = 0; i < tokens.length; i++) {
      if (tokens[i]! >= 0 && ranks[tokens[i]!]! > 0) found[Math.floor(i / N_TOKENS)] = 1;
    }
    return found;
  }

  async #matchSentences({ q, how }: Pick<UnitQuery, "q" | "how">): Promise<Uint8Array> {
    if (how === "regex") return this.#patterns.match(q, this.#maker.sentences);
    const wanted = q.toLowerCase();
    return Uint8Array.from(this.#lower, (sentence) => (sentence.includes(wanted) ? 1 : 0));
  }

  /** For each token 3 if it is the word, 2 if it begins with it, 1 if it holds it, 0 otherwise. */
  async #matchWords({ q, how }: Pick<UnitQuery, "q" | "how">): Promise<Uint8Array> {
    const words = await this.#readWords();
    if (how === "regex") return this.#patterns.match(q, words);
    const wanted = q.trim().toLowerCase();
    if (wanted === "") return new Uint8Array(words.length);
    return Uint8Array.from(words, (word) =>
      word === wanted ? 3 : word.startsWith(wanted) ? 2 : word.includes(wanted) ? 1 : 0,
    );
  }

  /** Each token without spaces around it and without capitals; unseen ones are empty. */
  #readWords(): Promise<readonly string[]> {
    this.#words ??= this.#census.words().then((word) =>
      Array.from({ length: this.#census.meta.vocabularySize }, (_, token) => {
        const text = word(token);
        return text === `#${token}` ? "" : text.trim().toLowerCase();
      }),
    );
    return this.#words;
  }

  #readTopTokens(): Promise<TopTokens> {
    this.#topTokens ??= readTopTokens(this.#census);
    return this.#topTokens;
  }

  async #order(key: SortKey, descending: boolean): Promise<Uint32Array> {
    const name = `${descending ? "-" : ""}${key}`;
    let order = this.#orders.get(name);
    if (!order) {
      order =
        key === "unit"
          ? Uint32Array.from({ length: this.nUnits }, (_, i) =>
              descending ? this.nUnits - 1 - i : i,
            )
          : orderOf(
              key === "r" ? this.#maker.r : await this.#census.column(key satisfies UnitColumn),
              descending,
            );
      this.#orders.set(name, order);
    }
    return order;
  }
}

const orNull = (value: number): number | null => (Number.isNaN(value) ? null : value);

/** Units in the order of their values, equal ones by their number; those without a value last. */
function orderOf(values: Float32Array, descending: boolean): Uint32Array {
  // A float's bits, turned so that they count up with its value, with the unit's number behind them in one exact number:
  // typed arrays of numbers are sorted ten times as fast as by a comparison.
  const n = values.length;
  const span = 2 ** Math.ceil(Math.log2(n + 1));
  if (span > 2 ** 21) {
    return Uint32Array.from(values, (_, i) => i).sort((a, b) => {
      const [x, y] = [values[a]!, values[b]!];
      if (Number.isNaN(x) || Number.isNaN(y))
        return Number(Number.isNaN(x)) - Number(Number.isNaN(y)) || a - b;
      return (descending ? y - x : x - y) || a - b;
    });
  }
  const bits = new Uint32Array(values.buffer, values.byteOffset, n);
  const keys = Float64Array.from(bits, (word, i) => {
    if (Number.isNaN(values[i]!)) return (2 ** 32 - 1) * span + i;
    const zeroed = values[i] === 0 ? 0 : word;
    const up = (zeroed & 0x80000000 ? ~zeroed : zeroed | 0x80000000) >>> 0;
    return (descending ? ~up >>> 0 : up) * span + i;
  }).sort();
  return Uint32Array.from(keys, (key) => key % span);
}

/** Units whose lists are read at once. */
const BLOCK = 512;

async function readTopTokens(census: Census): Promise<TopTokens> {
  const { ngramKinds, ngramsPerKind: size, nUnits } = census.meta;
  const kind = ngramKinds.indexOf("token");
  const tokens = new Int32Array(nUnits * N_TOKENS).fill(-1);
  const shares = new Float32Array(nUnits * N_TOKENS);
  if (kind < 0) return { tokens, shares };
  const active = await census.activeCounts();
  const row = ngramKinds.length * size;
  const [keyFile, countFile] = await Promise.all(
    ([censusFiles.ngramKeys, censusFiles.ngramCounts] as const).map((name) =>
      open(join(census.folder, name), "r"),
    ),
  );
  try {
    const keys = new Float64Array(BLOCK * row);
    const counts = new Uint32Array(BLOCK * row);
    for (let first = 0; first < nUnits; first += BLOCK) {
      const n = Math.min(BLOCK, nUnits - first);
      await keyFile!.read(keys, 0, 8 * n * row, 8 * first * row);
      await countFile!.read(counts, 0, 4 * n * row, 4 * first * row);
      for (let u = 0; u < n; u++) {
        for (let i = 0; i < Math.min(N_TOKENS, size); i++) {
          const at = u * row + kind * size + i;
          if (keys[at]! < 0) break;
          tokens[(first + u) * N_TOKENS + i] = keys[at]!;
          shares[(first + u) * N_TOKENS + i] = counts[at]! / Math.max(1, active[first + u]!);
        }
      }
    }
  } finally {
    await Promise.all([keyFile!.close(), countFile!.close()]);
  }
  return { tokens, shares };
}

/** Longest text of a query. */
const MAX_QUERY = 200;

/** What the address asks for. @throws {ArgumentError} for what it cannot mean. */
export function readUnitQuery(
  query: Readonly<Record<string, string>>,
  hookNamed: (key: string) => CensusHookMeta | undefined,
  unitNamed: (name: string) => number | undefined,
): UnitQuery {
  const { layer = "", type, described, q = "", how = "text", sort = "unit", after = "" } = query;
  const { in: inside = "all" } = query;
  const hook = layer === "" ? undefined : hookNamed(layer);
  if (layer !== "" && !hook) throw new ArgumentError(`There is no layer ${shown(layer)}.`);
  if (q.length > MAX_QUERY) {
    throw new ArgumentError(
      `A search is at most ${MAX_QUERY} characters long; this one has ${q.length}.`,
    );
  }
  const key = sort.replace(/^-/, "") as SortKey;
  if (!sortKeys.includes(key)) throw new ArgumentError(`Units are not sorted by ${shown(sort)}.`);
  const last = after === "" ? undefined : unitNamed(after);
  if (after !== "" && last === undefined)
    throw new ArgumentError(`There is no unit ${shown(after)}.`);
  const only = <T extends string>(value: string, allowed: readonly T[], what: string): T => {
    if ((allowed as readonly string[]).includes(value)) return value as T;
    throw new ArgumentError(`${what} is one of ${allowed.join(", ")}, not ${shown(value)}.`);
  };
  return {
    hook,
    type: type ? type.slice(0, 40) : undefined,
    described: described ? only(described, states, "described") : undefined,
    q,
    how: only(how || "text", ["text", "regex"], "how"),
    inside: only(inside || "all", ["all", "descriptions", "tokens"], "in"),
    sort: key,
    descending: sort.startsWith("-"),
    after: last,
  };
}

const shown = (text: string): string => JSON.stringify(text.slice(0, 60));
