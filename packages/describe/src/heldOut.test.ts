/** What may look at what: rules, the documents they are scored on, and floors, on other planted texts than in describe.test.ts. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRng, sha256 } from "@penfield/core";
import { plantedSource, takeCensus, type UnitSource } from "@penfield/localize";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DescribeOptions, describeUnits } from "./describeUnits.ts";
import { splitDocuments } from "./splits.ts";
import { plantedDocuments, plantedNoise, plantedUnits, plantedWords } from "./testSetting.ts";

let root: string;
let nTaken = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "penfield-held-out-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

async function described(
  source: UnitSource,
  documents: readonly { readonly tokens: readonly number[] }[],
  options: DescribeOptions,
) {
  const census = await takeCensus(source, documents, join(root, `${nTaken++}`));
  const found = await describeUnits(census, options);
  await census.close();
  return found;
}

/** Refused for what its rule does, not for want of activity. */
const NO_RULE = /^(held-out correlation below the limit|interval reaches below a floor)$/;

describe("documents that a rule is scored on", () => {
  const documents = plantedDocuments(150, 4);
  const { splitOf } = splitDocuments(documents.map(({ tokens }) => tokens));
  const partOf = new Map(documents.map(({ tokens }, d) => [tokens.join(" "), splitOf[d]!]));
  const source = plantedSource({ words: plantedWords, units: plantedUnits.slice(0, 20), seed: 5 });
  const units = [0, 4, 17];
  /** The same units, but noise in the documents of some parts. */
  const noisyIn = (...parts: readonly number[]): UnitSource => ({
    ...source,
    read: async (rows) => {
      const values = (await source.read(rows))[0]!.slice();
      let at = 0;
      for (const tokens of rows) {
        const size = tokens.length * 20;
        const rng = createRng(tokens.length, tokens[1]);
        if (parts.includes(partOf.get(tokens.join(" "))!)) {
          for (let i = 0; i < size; i++) values[at + i] = rng.uniform() < 0.1 ? rng.uniform() : 0;
        }
        at += size;
      }
      return [values];
    },
  });

  test("are not looked at by the search: whatever happens there, the rules are the same", async () => {
    const options = { units, nFloorUnits: 0 };
    const plain = await described(source, documents, options);
    const noisy = await described(noisyIn(2), documents, options);
    expect(noisy.units.map(({ rule }) => rule)).toEqual(plain.units.map(({ rule }) => rule));
    for (const [i, { r, refusal }] of noisy.units.entries()) {
      expect(plain.units[i]!.r).toBeGreaterThan(0.3);
      expect(Math.abs(r)).toBeLessThan(0.15);
      expect(refusal).toBe("held-out correlation below the limit");
    }
    // And the other way round: where only they hold anything, nothing is found.
    const blind = await described(noisyIn(0, 1), documents, options);
    for (const { refusal } of blind.units) expect(refusal).toMatch(NO_RULE);
  });

  test("no document, and no group, is in two parts, whatever they are and whatever the seed", () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.nat(3), { minLength: 1, maxLength: 5 }), { maxLength: 40 }),
        fc.array(fc.option(fc.constantFrom("a", "b", "c"), { nil: undefined }), { maxLength: 40 }),
        fc.nat(),
        (own, groups, seed) => {
          const parts = splitDocuments(own, groups, seed);
          const seen = new Map<string, Set<number>>();
          own.forEach((tokens, d) => {
            const name = sha256(groups[d] ?? JSON.stringify(tokens));
            seen.set(name, (seen.get(name) ?? new Set()).add(parts.splitOf[d]!));
          });
          for (const set of seen.values()) expect(set.size).toBe(1);
          const { explain, select, score } = parts;
          const all = [...explain, ...select, ...score];
          expect(new Set(all).size).toBe(all.length);
          expect(all.length).toBe(own.flat().length);
        },
      ),
    );
  });
});

describe("planted units once more, the first three seeds", () => {
  const wrong: string[] = [];
  let nTyped = 0;

  test.each([1, 2, 3])(
    "seed %i: noise refused, every score above its floors",
    async (seed) => {
      const source = plantedSource({
        ...{ words: plantedWords, units: [...plantedUnits, ...plantedNoise], seed },
      });
      const options = { nFloorUnits: 4, nCompared: 20, seed };
      const { units, floors } = await described(source, plantedDocuments(300, seed), options);
      plantedUnits.forEach(({ name, says }, i) => {
        nTyped++;
        const { rule, refusal } = units[i]!;
        if (!says(rule) || (name !== "dead" && refusal !== undefined))
          wrong.push(`${name} of ${seed}`);
      });
      const [rarest, ...noise] = units.slice(plantedUnits.length);
      expect(rarest!.refusal).toMatch(/^too few active|^held-out correlation|^interval/);
      for (const { refusal } of noise) expect(refusal).toMatch(NO_RULE);
      expect(floors.shuffled.shareDescribed).toBe(0);
      for (const { scores, otherRule, refusal } of units) {
        if (refusal) continue;
        for (const name of ["r", "precision", "recall", "f1"] as const) {
          expect(scores![name], name).toBeGreaterThan(otherRule![name]);
        }
        // A unit of a topic is active all over a stretch: inside it there is nothing to be told apart.
        for (const name of ["detectionAuroc", "fuzzingAuroc"] as const) {
          expect(scores![name] ?? 1, name).toBeGreaterThanOrEqual(otherRule![name] ?? 0);
        }
      }
      // Rules that were made of nothing tell nothing apart.
      const { fit } = floors.shuffled;
      if (fit) {
        expect(Math.abs(fit.r)).toBeLessThan(0.1);
        expect(Math.abs((fit.fuzzingAuroc ?? 0.5) - 0.5)).toBeLessThan(0.15);
      }
    },
    60_000,
  );

  test("of all of them 95 in 100 are typed right", () => {
    expect(nTyped).toBe(3 * plantedUnits.length);
    expect(wrong.length, wrong.join()).toBeLessThanOrEqual(0.05 * nTyped);
  });
});
