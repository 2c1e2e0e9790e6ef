import { logOddsZ } from "@penfield/localize";
import type { Rule } from "./rule.ts";
import type { RuleText, SharedFeature } from "./ruleText.ts";

/** Most words of one condition. */
const MAX_WORDS = 5;
/** Fewest places that a word must stand at to be looked at. */
const MIN_COUNT = 3;
/** Positions that intervals are sought among. */
const MAX_POSITIONS = 64;
/** How many conditions are taken of those that many units share. */
const N_SHARED = 6;

/** A condition with its correlation, and the tokens on which it holds. */
interface Candidate {
  readonly rule: Rule;
  readonly r: number;
}

/** Tokens that share a word, a pair or a triple. */
interface Grouping {
  /** Of each token; -1 where there is none. */
  readonly keys: Int32Array;
  readonly nKeys: number;
  readonly rule: (keys: readonly number[]) => Rule;
}

/** The values of a unit on some tokens, summed. */
interface Totals {
  readonly n: number;
  readonly sum: number;
  readonly deviation: number;
}

/**
 * Finds single conditions that go with a unit's values. What does not depend on the unit (the numbers of words, pairs and triples,
 * the tokens of each family and kind) is prepared once for all units.
 */
export class LiteralFinder {
  readonly #text: RuleText;
  readonly #shared: readonly SharedFeature[];
  /** The shared conditions of each token: `features[starts[i]]` to `features[starts[i + 1]]`. */
  readonly #featureStarts: Int32Array;
  readonly #features: Int32Array;
  readonly #groupings: readonly Grouping[];
  readonly #documentWords: readonly Int32Array[];
  /** The documents that each word stands in. */
  readonly #documentsOf: readonly (readonly number[])[];
  readonly #words: readonly string[];

  constructor(text: RuleText) {
    this.#text = text;
    this.#shared = text.sharedFeatures();
    const n = text.nTokens;
    this.#featureStarts = new Int32Array(n + 1);
    for (const { mask } of this.#shared) {
      for (let i = 0; i < n; i++) this.#featureStarts[i + 1]! += mask[i]!;
    }
    for (let i = 0; i < n; i++) this.#featureStarts[i + 1]! += this.#featureStarts[i]!;
    this.#features = new Int32Array(this.#featureStarts[n]!);
    const next = this.#featureStarts.slice();
    this.#shared.forEach(({ mask }, f) => {
      for (let i = 0; i < n; i++) if (mask[i] === 1) this.#features[next[i]!++] = f;
    });
    this.#groupings = [
      ...[0, -1, -2, -3].map((offset) => wordsAt(text, offset)),
      ngramsOf(text, 2),
      ngramsOf(text, 3),
    ];
    this.#words = spellingList(text);
    this.#documentWords = Array.from({ length: text.starts.length - 1 }, (_, d) =>
      Int32Array.from(new Set(text.spellingIds.subarray(text.starts[d]!, text.starts[d + 1]!))),
    );
    const lists = this.#words.map((): number[] => []);
    this.#documentWords.forEach((words, d) => {
      for (const word of words) lists[word]!.push(d);
    });
    this.#documentsOf = lists;
  }

  /**
   * The conditions that go best with the values on some tokens; those that go against them are negated.
   *
   * @param within - Tokens to look at.
   * @param active - 1 where the unit is active.
   */
  find(values: Float32Array, active: Uint8Array, within: Int32Array): Rule[] {
    const n = within.length;
    let sum = 0;
    let square = 0;
    for (let j = 0; j < n; j++) {
      const value = values[within[j]!]!;
      sum += value;
      square += value * value;
    }
    const variance = n === 0 ? 0 : square / n - (sum / n) ** 2;
    if (n < 2 * MIN_COUNT || variance <= 1e-12 * (square / n)) return [];
    const totals = { n, sum, deviation: Math.sqrt(variance) };
    const found = [
      ...this.#sharedConditions(values, within, totals),
      ...this.#groupings.flatMap((g) => wordConditions(g, values, active, within, totals)),
      ...this.#positions(values, within, totals),
      ...this.#topics(values, active, within, totals),
    ];
    return found.map(({ rule, r }) => (r < 0 ? { type: "not", rule } : rule));
  }

  #sharedConditions(values: Float32Array, within: Int32Array, totals: Totals): Candidate[] {
    const sums = new Float64Array(this.#shared.length);
    const counts = new Float64Array(this.#shared.length);
    const [starts, features] = [this.#featureStarts, this.#features];
    for (let j = 0; j < within.length; j++) {
      const i = within[j]!;
      const value = values[i]!;
      for (let k = starts[i]!; k < starts[i + 1]!; k++) {
        sums[features[k]!]! += value;
        counts[features[k]!]!++;
      }
    }
    return this.#shared
      .map(({ rule }, f): Candidate => ({ rule, r: correlation(sums[f]!, counts[f]!, totals) }))
      .filter(({ r }) => r !== 0)
      .sort((a, b) => Math.abs(b.r) - Math.abs(a.r))
      .slice(0, N_SHARED);
  }

  #positions(values: Float32Array, within: Int32Array, totals: Totals): Candidate[] {
    const sums = new Float64Array(MAX_POSITIONS + 1);
    const counts = new Float64Array(MAX_POSITIONS + 1);
    const found: Candidate[] = [];
    let longest = 0;
    for (let j = 0; j < within.length; j++) {
      const position = this.#text.positions[within[j]!]!;
      if (position >= MAX_POSITIONS) continue;
      longest = Math.max(longest, position + 1);
      sums[position + 1]! += values[within[j]!]!;
      counts[position + 1]!++;
    }
    for (const period of [2, 3, 4, 5, 6, 7, 8]) {
      for (let phase = 0; phase < period; phase++) {
        let s = 0;
        let c = 0;
        for (let p = phase; p < longest; p += period) {
          s += sums[p + 1]!;
          c += counts[p + 1]!;
        }
        found.push({ rule: { type: "period", period, phase }, r: correlation(s, c, totals) });
      }
    }
    const bestPeriod = strongest(found);
    for (let p = 0; p < MAX_POSITIONS; p++) {
      sums[p + 1]! += sums[p]!;
      counts[p + 1]! += counts[p]!;
    }
    const intervals: Candidate[] = [];
    for (let from = 0; from < longest; from++) {
      for (let to = from + 1; to <= longest; to++) {
        const r = correlation(sums[to]! - sums[from]!, counts[to]! - counts[from]!, totals);
        intervals.push({ rule: { type: "position", from, to }, r });
      }
    }
    return [...bestPeriod, ...strongest(intervals)];
  }

  /**
   * Words that tell documents where the unit is active from others: log-odds with a Dirichlet prior made of all documents.
   *
   * Source: Monroe, Colaresi & Quinn (2008), Political Analysis 16(4):372-403, equations 15 to 22, on counts of documents.
   */
  #topics(
    values: Float32Array,
    active: Uint8Array,
    within: Int32Array,
    totals: Totals,
  ): Candidate[] {
    const { documentOf } = this.#text;
    const nDocuments = this.#documentWords.length;
    const nActive = new Int32Array(nDocuments);
    const nHere = new Int32Array(nDocuments);
    const sums = new Float64Array(nDocuments);
    for (let j = 0; j < within.length; j++) {
      const d = documentOf[within[j]!]!;
      nHere[d]!++;
      nActive[d]! += active[within[j]!]!;
      sums[d]! += values[within[j]!]!;
    }
    const some = nActive.filter((count) => count > 0).sort();
    if (some.length < MIN_COUNT) return [];
    // A unit about a topic is active all over its documents; elsewhere it may be so by accident.
    const enough = Math.max(1, Math.ceil(some[Math.floor(0.9 * (some.length - 1))]! / 2));
    const inside = new Float64Array(this.#words.length);
    const outside = new Float64Array(this.#words.length);
    let nInside = 0;
    let nOutside = 0;
    for (let d = 0; d < nDocuments; d++) {
      if (nHere[d] === 0) continue;
      const about = nActive[d]! >= enough;
      if (about) nInside++;
      else nOutside++;
      for (const word of this.#documentWords[d]!) (about ? inside : outside)[word]!++;
    }
    if (nInside < MIN_COUNT || nOutside < MIN_COUNT) return [];
    const up: { word: number; z: number }[] = [];
    const down: { word: number; z: number }[] = [];
    for (let word = 0; word < this.#words.length; word++) {
      const counts = { inside: inside[word]!, outside: outside[word]!, nInside, nOutside };
      if (counts.inside + counts.outside < MIN_COUNT || this.#words[word] === "") continue;
      const z = logOddsZ(counts);
      if (Math.abs(z) > 3) (z > 0 ? up : down).push({ word, z });
    }
    return [up, down].flatMap((scored) => {
      scored.sort((a, b) => Math.abs(b.z) - Math.abs(a.z) || a.word - b.word);
      return this.#topicSets(
        scored.map(({ word }) => word),
        nHere,
        sums,
        totals,
      );
    });
  }

  /** Of sets of words that begin a list: those whose documents go best with or against the values. */
  #topicSets(
    words: readonly number[],
    nHere: Int32Array,
    sums: Float64Array,
    totals: Totals,
  ): Candidate[] {
    const found: Candidate[] = [];
    for (const [size, atLeast] of [
      [3, 1],
      [8, 1],
      [8, 2],
      [16, 1],
      [16, 2],
      [16, 3],
    ] as const) {
      if (words.length < Math.max(atLeast, size / 2)) continue;
      const held = new Uint8Array(nHere.length);
      for (const word of words.slice(0, size)) {
        for (const d of this.#documentsOf[word]!) held[d]!++;
      }
      let s = 0;
      let c = 0;
      for (let d = 0; d < nHere.length; d++) {
        if (held[d]! < atLeast) continue;
        s += sums[d]!;
        c += nHere[d]!;
      }
      const spelled = words.slice(0, size).map((word) => this.#words[word]!);
      const rule: Rule = { type: "topic", words: spelled, atLeast };
      found.push({ rule, r: correlation(s, c, totals) });
    }
    return found
      .filter(({ r }) => r !== 0)
      .sort((a, b) => Math.abs(b.r) - Math.abs(a.r))
      .slice(0, 2);
  }
}

/** Of a binary condition with the values: its tokens' number and sum against those of all. */
function correlation(sum: number, count: number, { n, sum: total, deviation }: Totals): number {
  if (count < MIN_COUNT || n - count < MIN_COUNT) return 0;
  const difference = sum / count - (total - sum) / (n - count);
  return (difference * Math.sqrt(count * (n - count))) / (n * deviation);
}

/** The best one, and the worst one. */
function strongest(candidates: readonly Candidate[]): Candidate[] {
  if (candidates.length === 0) return [];
  const high = candidates.reduce((a, b) => (b.r > a.r ? b : a));
  const low = candidates.reduce((a, b) => (b.r < a.r ? b : a));
  return [...(high.r > 0 ? [high] : []), ...(low.r < 0 ? [low] : [])];
}

/** Sets of words: those on which the unit is mostly active, those that help most, and the best ones alone. */
function wordConditions(
  { keys, nKeys, rule }: Grouping,
  values: Float32Array,
  active: Uint8Array,
  within: Int32Array,
  totals: Totals,
): Candidate[] {
  const sums = new Float64Array(nKeys);
  const counts = new Uint32Array(nKeys);
  const on = new Uint32Array(nKeys);
  for (let j = 0; j < within.length; j++) {
    const i = within[j]!;
    const key = keys[i]!;
    if (key < 0) continue;
    sums[key]! += values[i]!;
    counts[key]!++;
    on[key]! += active[i]!;
  }
  const average = totals.sum / totals.n;
  const gains: { key: number; gain: number }[] = [];
  for (let key = 0; key < nKeys; key++) {
    if (counts[key]! >= MIN_COUNT) gains.push({ key, gain: sums[key]! - counts[key]! * average });
  }
  gains.sort((a, b) => b.gain - a.gain || a.key - b.key);
  const found: Candidate[] = [];
  const bestPrefix = (chosen: readonly number[], sign: number): void => {
    let sum = 0;
    let count = 0;
    let best: { r: number; size: number } | undefined;
    chosen.slice(0, MAX_WORDS).forEach((key, i) => {
      sum += sums[key]!;
      count += counts[key]!;
      const r = correlation(sum, count, totals);
      if (r * sign > (best ? best.r * sign : 0)) best = { r, size: i + 1 };
    });
    if (best) found.push({ rule: rule(chosen.slice(0, best.size)), r: best.r });
  };
  const up = gains.filter(({ gain }) => gain > 0).map(({ key }) => key);
  bestPrefix(
    up.filter((key) => on[key]! > 0.5 * counts[key]!),
    1,
  );
  bestPrefix(up, 1);
  for (const key of up.slice(0, 2)) bestPrefix([key], 1);
  const down = gains.filter(({ gain }) => gain < 0).map(({ key }) => key);
  bestPrefix(down.reverse(), -1);
  const seen = new Set<string>();
  return found.filter((candidate) => {
    const key = JSON.stringify(candidate.rule);
    const fresh = !seen.has(key);
    seen.add(key);
    return fresh;
  });
}

function spellingList(text: RuleText): string[] {
  const list = new Array<string>(text.nSpellings).fill("");
  for (let i = 0; i < text.nTokens; i++) list[text.spellingIds[i]!] = text.spellings[i]!;
  return list;
}

function wordsAt(text: RuleText, offset: number): Grouping {
  const list = spellingList(text);
  const keys = Int32Array.from(text.positions, (position, i) =>
    position + offset < 0 || list[text.spellingIds[i + offset]!] === ""
      ? -1
      : text.spellingIds[i + offset]!,
  );
  return {
    keys,
    nKeys: text.nSpellings,
    rule: (chosen) => ({ type: "word", offset, words: chosen.map((key) => list[key]!) }),
  };
}

function ngramsOf(text: RuleText, length: number): Grouping {
  const nameAt = (i: number): string | undefined =>
    text.positions[i]! < length - 1
      ? undefined
      : text.spellingIds.subarray(i - length + 1, i + 1).join(" ");
  const counts = new Map<string, number>();
  for (let i = 0; i < text.nTokens; i++) {
    const name = nameAt(i);
    if (name !== undefined) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  // Most n-grams are too rare to be looked at.
  const numbers = new Map<string, number>();
  const firsts: number[] = [];
  const keys = Int32Array.from(text.positions, (_, i) => {
    const name = nameAt(i);
    if (name === undefined || counts.get(name)! < MIN_COUNT) return -1;
    let key = numbers.get(name);
    if (key === undefined) {
      key = numbers.size;
      numbers.set(name, key);
      firsts.push(i);
    }
    return key;
  });
  return {
    keys,
    nKeys: numbers.size,
    rule: (chosen) => ({
      type: "ngram",
      ngrams: chosen.map((key) =>
        text.spellings.slice(firsts[key]! - length + 1, firsts[key]! + 1),
      ),
    }),
  };
}
