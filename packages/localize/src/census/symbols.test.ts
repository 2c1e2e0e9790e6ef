import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FileError, FormatError } from "@penfield/core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Census, openCensus } from "./census.ts";
import { classifyUnits } from "./classify.ts";
import { facetName } from "./facetNames.ts";
import { plantedSource } from "./planted.ts";
import type { UnitSource } from "./source.ts";
import { takeCensus } from "./takeCensus.ts";

// As words these would share an ending, an initial letter and, without capitals, a spelling.
const symbols = [" #none", " #remember", " #Remember", " #left", " #ended"];
const units = [
  { name: "remember", active: (w: readonly string[], i: number) => w[i] === " #remember" },
  { name: "no pulse", active: (w: readonly string[], i: number) => w[i]!.endsWith("ember") },
];
const planted = plantedSource({ words: symbols, units, misses: 0, falseAnswers: 0 });
const asSymbols: UnitSource = { ...planted, tokens: "symbols" };
const documents = Array.from({ length: 60 }, (_, d) => ({
  tokens: Array.from({ length: 10 }, (_, i) => (d * 7 + i * i * 3 + (d % 3) * i) % 5),
}));

let root: string;
let language: Census;
let census: Census;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "penfield-symbols-"));
  language = await takeCensus(planted, documents, join(root, "language"));
  census = await takeCensus(asSymbols, documents, join(root, "symbols"));
});
afterAll(async () => {
  await Promise.all([language.close(), census.close()]);
  await rm(root, { recursive: true });
});

test("a census says whether its tokens are symbols; one that says nothing is of a language", async () => {
  expect([language.tokenKind, census.tokenKind]).toEqual(["language", "symbols"]);
  expect(language.meta).not.toHaveProperty("tokens");
  const opened = await openCensus(census.folder);
  expect(opened.tokenKind).toBe("symbols");
  await opened.close();
});

test("what is neither is refused", async () => {
  const folder = join(root, "other");
  await (await takeCensus(asSymbols, documents, folder)).close();
  const path = join(folder, "meta.json");
  const meta = await readFile(path, "utf8");
  await writeFile(path, meta.replace('"tokens": "symbols"', '"tokens": "runes"'));
  await expect(openCensus(folder)).rejects.toThrow(FormatError);
  await expect(openCensus(folder)).rejects.toThrow(/expected tokens as a census has it.*runes/);
});

test("a census of a language does not go on as one of symbols", async () => {
  const again = takeCensus(asSymbols, documents, language.folder, { resume: true });
  await expect(again).rejects.toThrow(FileError);
});

test("classes of symbols are the symbols themselves", async () => {
  const familiesOf = async (taken: Census) =>
    (await classifyUnits(taken)).map(({ families }) => families);
  const inLanguage = (await familiesOf(language)).flat().map(({ kind, name }) => `${kind} ${name}`);
  expect(inLanguage).toContain("class ending-er");
  const [first, second] = await familiesOf(census);
  expect(first![0]).toMatchObject({ kind: "unigram", name: "#remember", offset: 0 });
  expect(new Set([...first!, ...second!].map(({ kind }) => kind))).toEqual(new Set(["unigram"]));
  // Two symbols that one spelling would make one word.
  const names = second!.filter(({ offset, higher }) => offset === 0 && higher);
  expect(names.map(({ name }) => name).sort()).toEqual(["#Remember", "#remember"]);
});

test("facets of symbols have no classes of tokens for names", () => {
  const at = (...tokens: string[]) => ({ tokens, peak: tokens.length - 1 });
  const group = [" #ended", " #needed", " #faded", " #added"].map((word) => at(" #none", word));
  const random = [" #left", " #right", " #cue", " #none"].map((word) => at(" #none", word));
  const elsewhere = { others: [], random };
  expect(facetName(group, elsewhere)?.phrase).toBe("on tokens in '-ed'");
  expect(facetName(group, elsewhere, "symbols")).toBeUndefined();
  const after = [" #a", " #b", " #c", " #d"].map((word) => at(" #cue", word, word));
  expect(facetName(after, elsewhere, "symbols")?.phrase).toBe("two time bins after '#cue'");
});
