import { createRng, type LongWork, throwIfAborted } from "@penfield/core";
import type { Census } from "./census.ts";
import type { CensusContext } from "./contexts.ts";
import { type FacetName, facetName, type NamedContext } from "./facetNames.ts";
import { spellingOf } from "./families.ts";
import type { UnitFacets } from "./unitNotes.ts";

/** One of the kinds of context that a unit answers to. */
export interface Facet {
  readonly contexts: readonly CensusContext[];
  /** Words that set this facet's contexts off from the others', the strongest first; of a single facet the most frequent. */
  readonly words: readonly string[];
  /** What its contexts have in common and those of the other facets and random ones have not, in words; undefined if nothing. */
  readonly name: FacetName | undefined;
}

export interface Facets {
  readonly facets: readonly Facet[];
  /** Mean silhouette of the parting, from -1 to 1; undefined for a single facet. */
  readonly silhouette: number | undefined;
  /** What the contexts of all facets have in common, and random ones have not; undefined if nothing. */
  readonly common: FacetName | undefined;
}

export interface FacetOptions {
  /** Most facets, default 4. */
  readonly maxFacets?: number | undefined;
  /** Below this mean silhouette all contexts are one facet; default 0.15. */
  readonly minSilhouette?: number | undefined;
  readonly seed?: number | undefined;
}

/** Tokens before and after the peak that make a context what it is. */
const BEFORE = 4;
const AFTER = 1;

/**
 * Parts the contexts of a unit (its highest ones, and the upper half of the sampled ones) by the words around their peaks: a unit
 * that answers to unrelated things has more than one facet.
 *
 * Contexts are vectors of words weighted by log(nTokens / count), the word at the peak twice; they are parted by k-means on the sphere
 * for 2 to `maxFacets` groups, and the parting with the largest mean silhouette is taken. Each facet is named by the words, in one place before the peak or around
 * it, or the class of tokens that tell its contexts from the other facets' and from random contexts of the corpus, by log-odds.
 *
 * Source: after Nguyen, Yosinski & Clune (2016), Multifaceted Feature Visualization, which parts the top images of a unit;
 * words in place of image embeddings are our choice.
 *
 * @example
 * import { mkdtemp } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 * const words = ["the", "cat", "dog", "cow", "hen", "ran"];
 * const source = plantedSource({ words, units: [{ name: "cat", active: (text, i) => text[i] === "cat" }], misses: 0, falseAnswers: 0 });
 * const documents = Array.from({ length: 40 }, (_, d) => ({ tokens: [0, 1 + (d % 4), 5] }));
 * const census = await takeCensus(source, documents, `${await mkdtemp(join(tmpdir(), "census-"))}/planted`);
 * const { facets, common } = await facetsOf(census, 0);
 * [facets.length, facets[0].name.phrase, common.phrase] // => [1, "on 'cat'", "on 'cat'"]
 * await census.close();
 */
export async function facetsOf(
  census: Census,
  unit: number,
  { maxFacets = 4, minSilhouette = 0.15, seed = 0 }: FacetOptions = {},
): Promise<Facets> {
  const [{ top, sampled }, tokens, counts, word, starts] = await Promise.all([
    census.contexts(unit),
    census.tokens(),
    census.tokenCounts(),
    census.words(),
    census.documentStarts(),
  ]);
  const seen = new Set<number>();
  const contexts = [...top, ...sampled.filter(({ bin }) => bin >= census.meta.nBins / 2)].filter(
    ({ start, peak }) => {
      const fresh = !seen.has(start + peak);
      seen.add(start + peak);
      return fresh;
    },
  );
  const vectors = contexts.map((context) =>
    contextVector(context, tokens, (token) => [
      spellingOf(word(token), census.tokenKind) || word(token),
      Math.log(census.meta.nTokens / Math.max(1, counts[token]!)),
    ]),
  );
  let best: { groups: number[]; silhouette: number } | undefined;
  for (let k = 2; k <= Math.min(maxFacets, Math.floor(contexts.length / 2)); k++) {
    const groups = sphericalKMeans(vectors, k, seed);
    const silhouette = meanSilhouette(vectors, groups, k);
    if (silhouette > (best?.silhouette ?? minSilhouette)) best = { groups, silhouette };
  }
  const groups = best?.groups ?? contexts.map(() => 0);
  const nFacets = Math.max(0, ...groups) + (groups.length > 0 ? 1 : 0);
  const named = (context: CensusContext): NamedContext => ({
    tokens: Array.from(tokens.subarray(context.start, context.start + context.values.length), word),
    peak: context.peak,
  });
  const texts = contexts.map(named);
  const random = randomPlaces(tokens, starts, seed).map(({ start, peak }) => ({
    tokens: Array.from(tokens.subarray(start, start + peak + AFTER + 1), word),
    peak,
  }));
  const facets = Array.from(
    { length: nFacets },
    (_, g): Facet => ({
      contexts: contexts.filter((_, i) => groups[i] === g),
      words: tellingWords(vectors, groups, g),
      name: facetName(
        texts.filter((_, i) => groups[i] === g),
        { others: texts.filter((_, i) => groups[i] !== g), random },
        census.tokenKind,
      ),
    }),
  ).sort((a, b) => b.contexts.length - a.contexts.length);
  const common = facetName(texts, { others: [], random });
  return { facets, silhouette: best?.silhouette, common };
}

/** Random places that names of facets are held against. */
const N_RANDOM = 400;

/** Places of the corpus, each with the tokens before it that make a context. */
function randomPlaces(
  tokens: Uint32Array,
  starts: Uint32Array,
  seed: number,
): { start: number; peak: number }[] {
  const rng = createRng(seed, 96);
  return Array.from({ length: N_RANDOM }, () => {
    const place = rng.below(tokens.length);
    const start = Math.max(starts[lastAtMost(starts, place)]!, place - BEFORE);
    return { start, peak: place - start };
  });
}

/** Of numbers in rising order, which is the last that is not above a value. */
function lastAtMost(numbers: Uint32Array, value: number): number {
  let [low, high] = [0, numbers.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (numbers[middle]! <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Contexts of each facet that a note points to. */
const NOTED_CONTEXTS = 5;

/**
 * The facets of units as notes for `writeUnitNotes(folder, "facets", notes)`, which other programs, such as the viewer, can show.
 *
 * @param options.units - Default all.
 *
 * Cost: some milliseconds for each unit.
 *
 * @example
 * import { mkdtemp } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 * const words = ["the", "cat", "dog", "cow", "hen", "ran"];
 * const source = plantedSource({ words, units: [{ name: "cat", active: (text, i) => text[i] === "cat" }], misses: 0, falseAnswers: 0 });
 * const documents = Array.from({ length: 40 }, (_, d) => ({ tokens: [0, 1 + (d % 4), 5] }));
 * const census = await takeCensus(source, documents, `${await mkdtemp(join(tmpdir(), "census-"))}/planted`);
 * const [note] = await unitFacets(census);
 * note.facets.map(({ phrase }) => phrase) // => ["on 'cat'"]
 * await census.close();
 */
export async function unitFacets(
  census: Census,
  options: FacetOptions & LongWork & { readonly units?: ArrayLike<number> | undefined } = {},
): Promise<UnitFacets[]> {
  const units = Array.from(options.units ?? { length: census.nUnits }, (unit, i) =>
    options.units ? (unit as number) : i,
  );
  const notes: UnitFacets[] = [];
  for (const unit of units) {
    throwIfAborted(options.signal, "unitFacets");
    const { facets, silhouette, common } = await facetsOf(census, unit, options);
    notes.push({
      unit,
      silhouette: silhouette ?? null,
      common: common?.phrase ?? null,
      facets: facets.map(({ contexts, words, name }) => ({
        phrase: name?.phrase ?? null,
        words,
        share: name?.share ?? null,
        otherShare: name?.otherShare ?? null,
        nContexts: contexts.length,
        contexts: [...contexts]
          .sort((a, b) => b.value - a.value)
          .slice(0, NOTED_CONTEXTS)
          .map(({ start, peak, value }) => ({ start, peak, value })),
      })),
    });
    options.onProgress?.({
      stage: "parting contexts",
      done: notes.length,
      total: units.length,
      unit: "units",
    });
  }
  return notes;
}

type Vector = ReadonlyMap<string, number>;

function contextVector(
  { start, peak, values }: CensusContext,
  tokens: Uint32Array,
  weigh: (token: number) => readonly [string, number],
): Vector {
  const vector = new Map<string, number>();
  const end = Math.min(values.length, peak + AFTER + 1);
  for (let i = Math.max(0, peak - BEFORE); i < end; i++) {
    const [name, weight] = weigh(tokens[start + i]!);
    vector.set(name, (vector.get(name) ?? 0) + (i === peak ? 2 : 1) * weight);
  }
  return scaled(vector);
}

function scaled(vector: Vector): Vector {
  let square = 0;
  for (const value of vector.values()) square += value * value;
  const length = Math.sqrt(square) || 1;
  return new Map(Array.from(vector, ([key, value]) => [key, value / length]));
}

function cosine(a: Vector, b: Vector): number {
  let sum = 0;
  const [small, large] = a.size < b.size ? [a, b] : [b, a];
  for (const [key, value] of small) sum += value * (large.get(key) ?? 0);
  return sum;
}

function sphericalKMeans(vectors: readonly Vector[], k: number, seed: number): number[] {
  const rng = createRng(seed, 95);
  let centers: Vector[] = [vectors[rng.below(vectors.length)]!];
  while (centers.length < k) {
    const near = vectors.map((vector) => Math.max(...centers.map((c) => cosine(vector, c))));
    centers.push(vectors[near.indexOf(Math.min(...near))]!);
  }
  let groups: number[] = [];
  for (let round = 0; round < 20; round++) {
    const next = vectors.map((vector) => {
      const alike = centers.map((center) => cosine(vector, center));
      return alike.indexOf(Math.max(...alike));
    });
    if (next.every((g, i) => g === groups[i])) break;
    groups = next;
    centers = centers.map((center, g) => {
      const members = vectors.filter((_, i) => groups[i] === g);
      return members.length === 0 ? center : scaled(sumOf(members));
    });
  }
  return groups;
}

function sumOf(vectors: readonly Vector[]): Vector {
  const sum = new Map<string, number>();
  for (const vector of vectors) {
    for (const [key, value] of vector) sum.set(key, (sum.get(key) ?? 0) + value);
  }
  return sum;
}

function meanSilhouette(vectors: readonly Vector[], groups: readonly number[], k: number): number {
  let total = 0;
  vectors.forEach((vector, i) => {
    const sums = new Float64Array(k);
    const sizes = new Float64Array(k);
    vectors.forEach((other, j) => {
      if (i === j) return;
      sums[groups[j]!]! += 1 - cosine(vector, other);
      sizes[groups[j]!]!++;
    });
    const own = groups[i]!;
    if (sizes[own] === 0) return;
    const inside = sums[own]! / sizes[own]!;
    const outside = Math.min(
      ...Array.from(sums, (sum, g) =>
        g === own || sizes[g] === 0 ? Number.POSITIVE_INFINITY : sum / sizes[g]!,
      ),
    );
    if (Number.isFinite(outside)) total += (outside - inside) / Math.max(inside, outside, 1e-12);
  });
  return total / vectors.length;
}

function tellingWords(vectors: readonly Vector[], groups: readonly number[], g: number): string[] {
  const inside = vectors.filter((_, i) => groups[i] === g);
  const outside = vectors.filter((_, i) => groups[i] !== g);
  const own = sumOf(inside);
  const others = sumOf(outside);
  return Array.from(own, ([word, value]) => {
    const rest = outside.length === 0 ? 0 : (others.get(word) ?? 0) / outside.length;
    return { word, gain: value / inside.length - rest };
  })
    .sort((a, b) => b.gain - a.gain || (a.word < b.word ? -1 : 1))
    .slice(0, 5)
    .filter(({ gain }) => gain > 0)
    .map(({ word }) => word);
}
