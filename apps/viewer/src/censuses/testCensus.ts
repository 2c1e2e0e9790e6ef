import { createRng } from "@penfield/core";
import { type Census, takeCensus, type UnitSource } from "@penfield/localize";
import {
  type UnitFacets,
  type UnitNeighbours,
  type UnitWeights,
  writeUnitNotes,
} from "@penfield/localize/census-reader";

/** Tokens that a page must not take for markup, or show as something that they are not. */
const hostileTokens: readonly string[] = [
  "<script>alert(1)</script>",
  '" onmouseover="alert(1)',
  "\u202eevil",
  "\u0000",
  "\n",
  "\t",
  "=1+1",
  "&amp;",
];

const words = [
  ...[" the", " bank", " river", " money", " of", " in", "ing", " Bank", ".", " cat"],
  ...hostileTokens,
];

export const N_LAYERS = 2;
export const UNITS_PER_LAYER = 60;
export const TEST_SHA256: string = "0123456789abcdef".repeat(4);

/** Unit u answers to token u; from the number of tokens on to the token before, the last ten not at all. */
function testSource(name: string): UnitSource {
  return {
    name,
    sha256: TEST_SHA256,
    hooks: Array.from({ length: N_LAYERS }, (_, layer) => ({
      name: `blocks.${layer}.hook_resid_post`,
      layer,
      nUnits: UNITS_PER_LAYER,
    })),
    vocabularySize: words.length,
    maxTokens: 64,
    tokenText: (token) => words[token]!,
    read: (documents) =>
      Promise.resolve(
        Array.from({ length: N_LAYERS }, (_, layer) =>
          Float32Array.from(
            documents.flatMap((tokens) =>
              tokens.flatMap((token, i) =>
                Array.from({ length: UNITS_PER_LAYER }, (_, unit) => {
                  if (unit >= UNITS_PER_LAYER - 10) return 0;
                  const wanted = unit % words.length;
                  const seen = unit < words.length ? token : tokens[i - 1];
                  return seen === wanted ? 1 + layer + ((7 * i + unit) % 5) / 4 : 0;
                }),
              ),
            ),
          ),
        ),
      ),
  };
}

/**
 * A small census with all its notes. Made up, and never to be shown as a result.
 *
 * @param neighbour - Name of a census beside it, whose units are its units' neighbours.
 */
export async function makeTestCensus(
  folder: string,
  { name = "toy", neighbour }: { readonly name?: string; readonly neighbour?: string } = {},
): Promise<Census> {
  const rng = createRng(5);
  const documents = Array.from({ length: 40 }, (_, d) => ({
    id: d === 3 ? "<b>document</b>" : `document-${d}`,
    tokens: Array.from({ length: 8 + rng.below(40) }, () => rng.below(words.length)),
  }));
  const census = await takeCensus(testSource(name), documents, folder);
  const units = Array.from({ length: census.nUnits }, (_, unit) => unit);
  await writeUnitNotes(
    folder,
    "descriptions",
    units.slice(0, 110).map((unit) => {
      const { hook, index } = census.place(unit);
      const place = { unit, hook: hook.name, index };
      const token = words[index % words.length]!;
      if (index >= UNITS_PER_LAYER - 10) {
        return {
          ...place,
          sentence: "no reliable description",
          refusal: "dead: never active on the kept documents",
          r: 0,
        };
      }
      return {
        ...place,
        sentence: `active ${index < words.length ? "on" : "right after"} '${token}'`,
        rule: { type: "word", offset: 0, words: [token] },
        r: 0.9 - index / 200,
        otherRuleR: 0.02,
        scores: {
          ...{ r: 0.9 - index / 200, rLow: 0.5, rHigh: 0.95, r2: 0.7 },
          ...{ precision: 0.9, recall: 0.8, f1: 0.85, detectionAuroc: 0.8, fuzzingAuroc: 0.9 },
          ...{ specificityRank: 1, nCompared: 59, nTokens: 400, nActive: 30, nRule: 28 },
          falsePositives: [{ document: 1, position: 3 }],
          falseNegatives: [{ document: 2, position: 0 }],
        },
        otherRule: { r: 0.02, precision: 0.11, recall: 0.12, f1: 0.1, fuzzingAuroc: 0.52 },
        output: {
          ...{ role: "promotes", raises: [], lowers: [], sentence: "promotes 'ing'" },
          score: {
            ...{ measure: "selectivity", value: 0.4, randomUnits: 0.01, p: 0.048 },
            ...{ otherTokens: 0.02, otherTokensP: 0.03, holds: true, nContexts: 20 },
          },
        },
      };
    }),
  );
  await writeUnitNotes(
    folder,
    "classes",
    units.map((unit) => {
      const { index } = census.place(unit);
      const type =
        index >= UNITS_PER_LAYER - 10
          ? "dead"
          : index < words.length
            ? "token-detector"
            : "previous-token-detector";
      return { unit, types: [type], primary: type };
    }),
  );
  await writeUnitNotes(
    folder,
    "weights",
    units.map(
      (unit): UnitWeights => ({
        ...{ unit, inNorm: 1, outNorm: 2, cosInOut: -0.1, vocabularyVariance: 0.01 },
        ...{ vocabularySkewness: 0.5, vocabularyKurtosis: 3, role: null },
        top: [[unit % words.length, 0.8]],
        bottom: [[(unit + 1) % words.length, -0.8]],
      }),
    ),
  );
  await writeUnitNotes(
    folder,
    "facets",
    await Promise.all(
      units.slice(0, 20).map(async (unit): Promise<UnitFacets> => {
        const { top } = await census.contexts(unit);
        const places = top.map(({ start, peak, value }) => ({ start, peak, value: value ?? 0 }));
        const kind = (phrase: string | null, from: number) => ({
          ...{ phrase, words: phrase === null ? [] : [words[0]!], nContexts: 7 },
          share: phrase === null ? null : 0.9,
          otherShare: phrase === null ? null : 0.05,
          contexts: places.slice(from, from + 2),
        });
        return {
          ...{ unit, silhouette: 0.6, common: null },
          facets: [kind(`on '${words[0]}'`, 0), kind(null, 2)],
        };
      }),
    ),
  );
  if (neighbour !== undefined) {
    await writeUnitNotes(
      folder,
      "neighbours",
      units.map(
        (unit): UnitNeighbours => ({
          unit,
          neighbours: [{ by: "activation", census: neighbour, unit, r: 0.99 }],
        }),
      ),
    );
  }
  return census;
}
