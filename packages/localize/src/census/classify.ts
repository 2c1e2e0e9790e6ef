import { type LongWork, ShapeError, throwIfAborted } from "@penfield/core";
import type { NgramKind } from "./batch.ts";
import type { Census, CensusNgram } from "./census.ts";
import { spellingOf, tokenFamilies } from "./families.ts";
import { circularShiftP, type PositionalInformation, positionalInformation } from "./positional.ts";
import type { TokenKind } from "./source.ts";
import { dormancy } from "./sparseness.ts";

/** What a unit can be; one unit can be several of them. In the order of `primary`. */
export const unitTypes = [
  "dead",
  "token-detector",
  "previous-token-detector",
  "bigram-detector",
  "trigram-detector",
  "unigram-family",
  "alphabet-family",
  "token-class",
  "positional",
  "part-of-speech",
  "topic",
  "dormant",
  "dense",
] as const;

export type UnitType = (typeof unitTypes)[number];

/** Labels of the kept tokens from outside the census: parts of speech, the topic of their document. */
export interface TokenLabels {
  readonly kind: "part-of-speech" | "topic";
  readonly names: readonly string[];
  /** For each kept token the number of its label, or -1, `[nKeptTokens]`. */
  readonly of: ArrayLike<number>;
}

/** A class of tokens and the share of a unit's variance that it takes away. */
export interface UnitFamily {
  readonly kind: "unigram" | "alphabet" | "class" | "part-of-speech" | "topic";
  readonly name: string;
  /** 0: the token itself; -1: the one before. */
  readonly offset: 0 | -1;
  /** 1 - (p1 Var1 + p0 Var0) / Var of the binary feature: a squared correlation. */
  readonly varianceReduction: number;
  /** Whether the unit is higher inside the class. */
  readonly higher: boolean;
}

/** How few n-grams explain when a unit is active. */
export interface Coverage {
  /** The smallest number of n-grams that hold the wanted share of its active tokens; undefined if more than were counted. */
  readonly n: number | undefined;
  /** Those on which it is active nearly always, the most frequent first: `count` of `occurrences`. */
  readonly covered: readonly (CensusNgram & { readonly occurrences: number })[];
  /** Share of its active tokens that the covered ones hold. */
  readonly share: number;
}

export interface UnitClass {
  readonly unit: number;
  readonly types: readonly UnitType[];
  /** The first of `types` in the order of `unitTypes`; undefined: nothing of all this. */
  readonly primary: UnitType | undefined;
  readonly nActive: number;
  readonly frequency: number;
  /** E|h| over its mean in the unit's hook. */
  readonly dormancy: number;
  readonly hoyer: number;
  readonly coverage: Readonly<Partial<Record<NgramKind, Coverage>>>;
  readonly positional: PositionalInformation & {
    /** By circular shifts; undefined where the information is below the threshold, or no values were kept to shift. */
    readonly p: number | undefined;
  };
  /** Up to five, the strongest first. */
  readonly families: readonly UnitFamily[];
}

export interface ClassifyOptions extends LongWork {
  /** Units to look at; default all. */
  readonly units?: ArrayLike<number> | undefined;
  /** Share of active tokens to be covered, and of an n-gram's occurrences; default 0.95. */
  readonly detectorShare?: number | undefined;
  /** Most n-grams of a detector; default 5. */
  readonly detectorSize?: number | undefined;
  /** Fewest active tokens of a detector; default 5: one activation is always covered by one token. */
  readonly minActive?: number | undefined;
  /** Corrected information in nats; default 0.05. */
  readonly positionalAbove?: number | undefined;
  /** Default 0.01. */
  readonly positionalP?: number | undefined;
  /** Default 99. */
  readonly nShifts?: number | undefined;
  readonly dormantBelow?: number | undefined;
  /** Default 0.5: share of tokens on which the unit is active. */
  readonly denseAbove?: number | undefined;
  /** Variance reductions; default 0.5 for a word in all spellings and other classes, 0.35 for an initial letter. */
  readonly unigramAbove?: number | undefined;
  readonly alphabetAbove?: number | undefined;
  readonly classAbove?: number | undefined;
  readonly labels?: readonly TokenLabels[] | undefined;
  readonly seed?: number | undefined;
}

/**
 * Sorts the units of a census into types: dead, dormant and dense ones; detectors of tokens, previous tokens, pairs and
 * triples; positional ones; families of spellings, initial letters, classes of tokens, parts of speech and topics. Where tokens are symbols
 * (`census.tokenKind`) there are no initial letters and classes of tokens.
 *
 * @returns One entry for each unit asked for, in their order.
 * @throws {ShapeError} if labels are not as many as kept tokens.
 *
 * Cost: about a millisecond for each unit and 50 000 kept tokens; the tokens of the corpus are held in memory.
 * Source: detectors and positional units after Voita, Ferrando & Nalmpantis (2024), families after Gurnee et al. (2024),
 * Universal Neurons in GPT2 Language Models, dormancy after Sokar et al. (2023). Families are counted on the kept documents, all else on the whole corpus.
 *
 * @example
 * import { mkdtemp } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 * const source = plantedSource({ words: ["a", "b"], units: [{ name: "b", active: (words, i) => words[i] === "b" }], misses: 0, falseAnswers: 0 });
 * const documents = Array.from({ length: 20 }, (_, d) => ({ tokens: [0, d % 2, 1 - (d % 2), d % 3 === 0 ? 1 : 0] }));
 * const census = await takeCensus(source, documents, `${await mkdtemp(join(tmpdir(), "census-"))}/planted`);
 * (await classifyUnits(census))[0].primary // => "token-detector"
 * await census.close();
 */
export async function classifyUnits(
  census: Census,
  options: ClassifyOptions = {},
): Promise<UnitClass[]> {
  const units = Array.from(options.units ?? { length: census.nUnits }, (unit, i) =>
    options.units ? (unit as number) : i,
  );
  const context = await makeContext(census, options);
  const out: UnitClass[] = [];
  for (const unit of units) {
    throwIfAborted(options.signal, "classifyUnits");
    out.push(await classifyUnit(census, unit, context, options));
    if (out.length % 50 === 0 || out.length === units.length) {
      options.onProgress?.({
        stage: "sorting units",
        done: out.length,
        total: units.length,
        unit: "units",
      });
    }
  }
  return out;
}

/** What all units share. */
interface Context {
  readonly nActive: Float64Array;
  readonly frequency: Float32Array;
  readonly hoyer: Float32Array;
  readonly dormancy: Float64Array;
  readonly occurrences: Record<NgramKind, (tokens: readonly number[]) => number>;
  readonly features: readonly FeatureSet[];
  readonly starts: Uint32Array;
}

/** Classes of tokens at one offset: each token's classes, and how many kept tokens each class has. */
interface FeatureSet {
  readonly kinds: readonly UnitFamily["kind"][];
  readonly names: readonly string[];
  readonly offset: 0 | -1;
  /** For each kept token its key, -1 for none, and for each key its classes. */
  readonly keys: ArrayLike<number>;
  readonly classesOf: readonly (readonly number[])[];
  readonly counts: Float64Array;
}

async function makeContext(census: Census, { labels = [] }: ClassifyOptions): Promise<Context> {
  const [nActive, frequency, hoyer, meanAbs, all, kept, starts, counts, previous, word] =
    await Promise.all([
      census.activeCounts(),
      census.column("frequency"),
      census.column("hoyer"),
      census.column("meanAbs"),
      census.tokens(),
      census.keptTokens(),
      census.documentStarts(),
      census.tokenCounts(),
      census.tokenCounts("previous"),
      census.words(),
    ]);
  const scores = new Float64Array(census.nUnits);
  for (const { firstUnit, nUnits } of census.meta.hooks) {
    scores.set(dormancy(meanAbs.subarray(firstUnit, firstUnit + nUnits)).scores, firstUnit);
  }
  const before = Int32Array.from(kept.tokens, (_, i) =>
    kept.positions[i]! > 0 ? all[kept.places[i]! - 1]! : -1,
  );
  const { kinds, names, classesOf } = wordClasses(counts, word, census.tokenKind);
  const features: FeatureSet[] = [
    featureSet(kinds, names, 0, kept.tokens, classesOf),
    featureSet(kinds, names, -1, before, classesOf),
  ];
  for (const { kind, names: own, of } of labels) {
    if (of.length !== kept.tokens.length) {
      throw new ShapeError(
        `classifyUnits: expected ${kept.tokens.length} labels of ${kind}, got ${of.length}`,
      );
    }
    features.push(
      featureSet(
        own.map(() => kind),
        own,
        0,
        of,
        own.map((_, i) => [i]),
      ),
    );
  }
  return {
    nActive,
    frequency,
    hoyer,
    dormancy: scores,
    occurrences: {
      token: ([token]) => counts[token!]!,
      previous: ([token]) => previous[token!]!,
      bigram: ngramCounter(all, starts, 2),
      trigram: ngramCounter(all, starts, 3),
    },
    features,
    starts: keptStarts(kept.documents),
  };
}

/** Families by text, and each word in all its spellings; of symbols each symbol alone. */
function wordClasses(counts: Uint32Array, word: (token: number) => string, tokenKind: TokenKind) {
  const families = tokenKind === "symbols" ? [] : tokenFamilies;
  const kinds: UnitFamily["kind"][] = families.map(({ kind }) => kind);
  const names = families.map(({ name }) => name);
  const spellings = new Map<string, number>();
  const classesOf = Array.from(counts, (count, token) => {
    if (count === 0) return [];
    const text = word(token);
    const classes = families.flatMap(({ has }, i) => (has(text) ? [i] : []));
    const spelling = spellingOf(text, tokenKind);
    if (spelling === "") return classes;
    let place = spellings.get(spelling);
    if (place === undefined) {
      place = names.length;
      spellings.set(spelling, place);
      kinds.push("unigram");
      names.push(spelling);
    }
    return [...classes, place];
  });
  return { kinds, names, classesOf };
}

function featureSet(
  kinds: FeatureSet["kinds"],
  names: readonly string[],
  offset: 0 | -1,
  keys: ArrayLike<number>,
  classesOf: FeatureSet["classesOf"],
): FeatureSet {
  const counts = new Float64Array(names.length);
  for (let i = 0; i < keys.length; i++) {
    if (keys[i]! >= 0) for (const c of classesOf[keys[i]!]!) counts[c]!++;
  }
  return { kinds, names, offset, keys, classesOf, counts };
}

function keptStarts(documents: Uint32Array): Uint32Array {
  const starts: number[] = [];
  documents.forEach((document, i) => {
    if (i === 0 || document !== documents[i - 1]) starts.push(i);
  });
  return Uint32Array.from([...starts, documents.length]);
}

/** How often an n-gram stands in the corpus. All are counted when the first is asked for. */
function ngramCounter(
  tokens: Uint32Array,
  starts: Uint32Array,
  length: number,
): (ngram: readonly number[]) => number {
  let counts: Map<string, number> | undefined;
  return (ngram) => {
    if (!counts) {
      counts = new Map();
      for (let d = 0; d + 1 < starts.length; d++) {
        for (let i = starts[d]! + length; i <= starts[d + 1]!; i++) {
          const key = tokens.subarray(i - length, i).join(" ");
          counts.set(key, (counts.get(key) ?? 0) + 1);
        }
      }
    }
    return counts.get(ngram.join(" ")) ?? 0;
  };
}

async function classifyUnit(
  census: Census,
  unit: number,
  context: Context,
  options: ClassifyOptions,
): Promise<UnitClass> {
  const { detectorShare = 0.95, detectorSize = 5, minActive = 5, denseAbove = 0.5 } = options;
  const { positionalAbove = 0.05, positionalP = 0.01, dormantBelow = 0.025 } = options;
  const { unigramAbove = 0.5, alphabetAbove = 0.35, classAbove = 0.5 } = options;
  const nActive = context.nActive[unit]!;
  const frequency = context.frequency[unit]!;
  const types = new Set<UnitType>();
  const coverage: Partial<Record<NgramKind, Coverage>> = {};
  for (const kind of census.meta.ngramKinds) {
    const { ngrams } = await census.ngrams(unit, kind);
    coverage[kind] = coverageOf(ngrams, nActive, detectorShare, context.occurrences[kind]);
  }
  const detects = (kind: NgramKind) =>
    nActive >= minActive &&
    coverage[kind] !== undefined &&
    coverage[kind].covered.length > 0 &&
    coverage[kind].share >= detectorShare &&
    neededOf(coverage[kind], nActive, detectorShare) <= detectorSize;
  const detector = (["token", "previous", "bigram", "trigram"] as const).find(detects);
  if (detector) types.add(`${detector === "previous" ? "previous-token" : detector}-detector`);
  if (nActive === 0) types.add("dead");
  if (context.dormancy[unit]! <= dormantBelow) types.add("dormant");
  if (frequency > denseAbove) types.add("dense");

  const { nTokens, nActive: activeAt } = await census.positions(unit);
  const information = positionalInformation(activeAt, nTokens);
  const values = nActive === 0 ? undefined : await census.values(unit);
  let p: number | undefined;
  if (values && values.length > 0 && information.corrected > positionalAbove) {
    const { threshold } = census.place(unit).hook;
    const active = Uint8Array.from(values, (value) => (value > threshold ? 1 : 0));
    const { nShifts = 99, seed = 0 } = options;
    const { positionsPerBin } = census.meta;
    p = circularShiftP(active, context.starts, { nShifts, seed, positionsPerBin });
    if (p <= positionalP) types.add("positional");
  }
  const families = values ? familiesOf(values, context.features) : [];
  for (const { kind, varianceReduction, offset } of families) {
    if (offset !== 0) continue;
    if (kind === "unigram" && varianceReduction > unigramAbove) types.add("unigram-family");
    if (kind === "alphabet" && varianceReduction > alphabetAbove) types.add("alphabet-family");
    if (kind === "class" && varianceReduction > classAbove) types.add("token-class");
    if (kind === "part-of-speech" && varianceReduction > classAbove) types.add("part-of-speech");
    if (kind === "topic" && varianceReduction > classAbove) types.add("topic");
  }
  const ordered = unitTypes.filter((type) => types.has(type));
  return {
    unit,
    types: ordered,
    primary: ordered[0],
    nActive,
    frequency,
    dormancy: context.dormancy[unit]!,
    hoyer: context.hoyer[unit]!,
    coverage,
    positional: { ...information, p },
    families: families.slice(0, 5),
  };
}

function coverageOf(
  ngrams: readonly CensusNgram[],
  nActive: number,
  wanted: number,
  occurrencesOf: (tokens: readonly number[]) => number,
): Coverage {
  let n: number | undefined;
  let sum = 0;
  for (let i = 0; i < ngrams.length && n === undefined; i++) {
    sum += ngrams[i]!.count;
    if (reaches(sum, wanted, nActive)) n = i + 1;
  }
  const covered = ngrams
    .map((ngram) => ({ ...ngram, occurrences: occurrencesOf(ngram.tokens) }))
    .filter(({ count, occurrences }) => reaches(count, wanted, occurrences));
  const held = covered.reduce((total, { count }) => total + count, 0);
  return { n, covered, share: nActive === 0 ? 0 : held / nActive };
}

/** Whether part is at least the share of whole; 19 of 20 reach 0.95 whatever the last bit of the product. */
const reaches = (part: number, share: number, whole: number): boolean =>
  part >= share * whole - 1e-9 * whole;

/** How many covered n-grams it takes to hold the wanted share of the active tokens. */
function neededOf({ covered }: Coverage, nActive: number, wanted: number): number {
  let sum = 0;
  for (let i = 0; i < covered.length; i++) {
    sum += covered[i]!.count;
    if (reaches(sum, wanted, nActive)) return i + 1;
  }
  return Number.POSITIVE_INFINITY;
}

/** Fewest tokens inside and outside a class for its variance reduction to be looked at. */
const MIN_CLASS = 10;

function familiesOf(values: Float32Array, features: readonly FeatureSet[]): UnitFamily[] {
  const n = values.length;
  let total = 0;
  let square = 0;
  for (let i = 0; i < n; i++) {
    total += values[i]!;
    square += values[i]! ** 2;
  }
  const variance = square / n - (total / n) ** 2;
  if (!(variance > 0)) return [];
  const found: UnitFamily[] = [];
  for (const { kinds, names, offset, keys, classesOf, counts } of features) {
    const byKey = new Float64Array(classesOf.length);
    for (let i = 0; i < n; i++) if (keys[i]! >= 0) byKey[keys[i]!]! += values[i]!;
    const sums = new Float64Array(names.length);
    for (let key = 0; key < byKey.length; key++) {
      if (byKey[key] !== 0) for (const c of classesOf[key]!) sums[c]! += byKey[key]!;
    }
    for (let c = 0; c < names.length; c++) {
      const inside = counts[c]!;
      const outside = n - inside;
      if (inside < MIN_CLASS || outside < MIN_CLASS) continue;
      const difference = sums[c]! / inside - (total - sums[c]!) / outside;
      const varianceReduction = ((inside / n) * (outside / n) * difference ** 2) / variance;
      if (varianceReduction < 0.01) continue;
      found.push({
        kind: kinds[c]!,
        name: names[c]!,
        offset,
        varianceReduction,
        higher: difference > 0,
      });
    }
  }
  return found.sort((a, b) => b.varianceReduction - a.varianceReduction);
}
