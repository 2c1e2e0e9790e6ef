import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRng, InterruptedError } from "@penfield/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Census } from "./census.ts";
import { facetName, type NamedContext } from "./facetNames.ts";
import { facetsOf, unitFacets } from "./facets.ts";
import { logOddsZ } from "./logOdds.ts";
import { type PlantedUnit, plantedSource } from "./planted.ts";
import { takeCensus } from "./takeCensus.ts";
import { openUnitNotes, writeUnitNotes } from "./unitNotes.ts";

describe("log-odds", () => {
  test("by hand: 2 of 4 inside, 1 of 8 outside", () => {
    // a = 0.3, b = 1.2: ln(2.3 / 2.9) - ln(1.3 / 7.9), variance 1 / 2.3 + 1 / 1.3.
    const z = (Math.log(2.3 / 2.9) - Math.log(1.3 / 7.9)) / Math.sqrt(1 / 2.3 + 1 / 1.3);
    expect(logOddsZ({ inside: 2, outside: 1, nInside: 4, nOutside: 8 })).toBeCloseTo(z, 6);
    expect(logOddsZ({ inside: 0, outside: 0, nInside: 4, nOutside: 8 })).toBe(0);
    expect(logOddsZ({ inside: 3, outside: 3, nInside: 9, nOutside: 9 })).toBe(0);
    expect(logOddsZ({ inside: 1, outside: 2, nInside: 8, nOutside: 4 })).toBeLessThan(0);
  });
});

describe("names of groups of contexts", () => {
  const at = (text: string): NamedContext => {
    const tokens = text.split(" ").map((word) => ` ${word.replace("*", "")}`);
    return { tokens, peak: text.split(" ").findIndex((word) => word.startsWith("*")) };
  };
  const random = ["we saw a *cat", "the man went *home", "they *gave us tea", "a *dog ran"].map(at);

  test.each([
    [["he ate *bread", "some *Bread fell", "the *bread was"], "on 'bread'", 0],
    [["he ate *bread", "*bread fell", "my *butter is", "no *butter"], "on 'bread' or 'butter'", 0],
    [["an old *tree", "the old *mill stood", "his old *hat"], "right after 'old'", -1],
    [["not so *fine", "so *much", "so *many more"], "right after 'so'", -1],
    [["of the *tree", "of a *mill", "of my *hat"], "two tokens after 'of'", -2],
    [["king of the *tree", "king in a *mill", "king on my *hat"], "three tokens after 'king'", -3],
    [["sea and *tree", "*mill sea", "our sea had a *hat"], "near 'sea'", "around"],
    [["on *1990", "in *17", "about *23", "by *44"], "on numbers in digits", 0],
    [["we *run", "go *swim", "please *sit", "now *stand"], undefined, undefined],
  ])("%j: %s", (texts, phrase, offset) => {
    const name = facetName(texts.map(at), { others: [], random });
    expect(name?.phrase).toBe(phrase);
    expect(name?.offset).toEqual(offset);
  });

  test("shares are counted, and what is common everywhere is no name", () => {
    const group = ["my *bread", "with *bread", "some *salt"].map(at);
    expect(facetName(group, { others: [], random })).toEqual({
      ...{ phrase: "on 'bread'", words: ["bread"], offset: 0 },
      ...{ share: 2 / 3, otherShare: 0 },
    });
    // What half of the other facet has, or of the corpus, is taken off.
    const half = ["her *bread", "her *salt"].map(at);
    expect(facetName(group, { others: half, random })).toBeUndefined();
    expect(facetName(group, { others: [], random: [...half, ...half] })).toBeUndefined();
    expect(facetName(group.slice(0, 2), { others: [], random })).toBeUndefined();
    const same = ["the *tree", "the *mill", "the *hat"].map(at);
    expect(facetName(same, { others: same, random })).toBeUndefined();
  });
});

describe("facets of planted units", () => {
  const words = [
    " bread",
    " old",
    ...Array.from({ length: 60 }, (_, i) => ` w${"abcdefgh"[i % 8]}${i}x`),
  ];
  const is = (word: string) => (w: readonly string[], i: number) => w[i] === word;
  const units: PlantedUnit[] = [
    { name: "two", active: (w, i) => w[i] === " bread" || w[i - 1] === " old" },
    { name: "one", active: is(" bread") },
    { name: "three", active: (w, i) => [" bread", " wa0x", " wh7x"].includes(w[i]!) },
    { name: "dead", active: () => false },
    ...Array.from({ length: 12 }, (_, i) => ({ name: `noise ${i}`, active: { noise: 0.02 } })),
  ];
  let root: string;
  let census: Census;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "penfield-facets-"));
    const rng = createRng(11);
    const documents = Array.from({ length: 150 }, () => ({
      tokens: Array.from({ length: 30 }, () => rng.below(words.length)),
    }));
    const source = plantedSource({ words, units, seed: 5, falseAnswers: 0 });
    census = await takeCensus(source, documents, join(root, "census"));
  });
  afterAll(async () => {
    await census.close();
    await rm(root, { recursive: true });
  });
  const phrases = async (unit: number, seed = 0) =>
    (await facetsOf(census, unit, { seed })).facets.map(({ name }) => name?.phrase).sort();

  test("a unit with two unrelated triggers has two facets with the right words, whatever the seed", async () => {
    for (let seed = 0; seed < 8; seed++) {
      expect(await phrases(0, seed)).toEqual(["on 'bread'", "right after 'old'"]);
    }
    for (const { name } of (await facetsOf(census, 0)).facets) {
      expect(name!.share).toBeGreaterThan(0.9);
      expect(name!.otherShare).toBeLessThan(0.1);
    }
  });

  test("one trigger, three triggers, none", async () => {
    expect(await phrases(1)).toEqual(["on 'bread'"]);
    expect(await phrases(2)).toEqual(["on 'bread'", "on 'wa0x'", "on 'wh7x'"]);
    expect((await facetsOf(census, 3)).facets).toEqual([]);
  });

  test("what facets have in common is said of all of them", async () => {
    const two = (await facetsOf(census, 0)).common!;
    expect([two.offset, [...two.words].sort()]).toEqual(["around", ["bread", "old"]]);
    expect((await facetsOf(census, 1)).common!.phrase).toBe("on 'bread'");
    const three = (await facetsOf(census, 2)).common!.phrase;
    expect(
      three
        .replace(/[^a-z0-9 ]/g, "")
        .split(" ")
        .sort(),
    ).toEqual(["bread", "on", "or", "wa0x", "wh7x"].sort());
  });

  test("units that answer to nothing get no name", async () => {
    for (let unit = 4; unit < units.length; unit++) {
      expect(await phrases(unit)).toEqual([undefined]);
      expect((await facetsOf(census, unit)).common).toBeUndefined();
    }
  });

  test("as notes: written, read again, and what they point to is the contexts", async () => {
    const notes = await unitFacets(census, { units: [0, 3, 4] });
    expect(
      notes.map(({ unit, facets }) => [unit, facets.map(({ phrase }) => phrase).sort()]),
    ).toEqual([
      [0, ["on 'bread'", "right after 'old'"]],
      [3, []],
      [4, [null]],
    ]);
    await writeUnitNotes(census.folder, "facets", notes);
    const read = await openUnitNotes(census.folder, "facets", census.nUnits);
    expect(await read!.read(0)).toEqual(notes[0]);
    expect(read!.nBroken).toBe(0);
    await read!.close();
    const [tokens, word] = [await census.tokens(), await census.words()];
    for (const { phrase, contexts, nContexts } of notes[0]!.facets) {
      expect(contexts.length).toBe(Math.min(5, nContexts));
      for (const { start, peak, value } of contexts) {
        expect(value).toBeGreaterThan(0);
        const place = start + peak - (phrase === "on 'bread'" ? 0 : 1);
        expect(word(tokens[place]!)).toBe(phrase === "on 'bread'" ? " bread" : " old");
      }
    }
    const signal = AbortSignal.abort();
    await expect(unitFacets(census, { signal })).rejects.toThrow(InterruptedError);
  });
});
