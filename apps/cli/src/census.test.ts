import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { censusOptions } from "./census.ts";
import { describeOptions } from "./describe.ts";
import { helpOf } from "./help.ts";
import { penfield } from "./testRun.ts";

let root: string;
const at = (name: string): string => join(root, name);

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "penfield-census-"));
  const [who, what, where] = [
    ["The dog", "A cat", "The women", "An old man"],
    ["saw the bird", "went home", "was in the garden", "sang again"],
    ["today.", "in the morning.", "by the river.", "and then slept."],
  ];
  const lines = Array.from(
    { length: 60 },
    (_, i) => `${who[i % 4]} ${what[Math.floor(i / 4) % 4]} ${where[Math.floor(i / 16) % 4]}\n`,
  );
  await writeFile(at("texts.txt"), lines.join(""));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const HOOK = ["--hooks", "blocks.0.mlp.hook_post", "--threads", "1"];

describe("penfield census and describe", () => {
  test("help names every option", () => {
    for (const name of Object.keys(censusOptions)) {
      expect(helpOf("census"), name).toContain(`--${name}`);
    }
    for (const name of Object.keys(describeOptions)) {
      expect(helpOf("describe"), name).toContain(`--${name}`);
    }
  });

  test("a census, its floor of untrained weights, and some units in words", async () => {
    const corpus = ["--corpus", at("texts.txt"), ...HOOK];
    const own = await penfield(["census", ...corpus, "--out", at("own"), "--json"]);
    expect(own.code, own.err).toBe(0);
    const { nUnits, nDocuments, types } = JSON.parse(own.out);
    expect([nUnits, nDocuments]).toEqual([768, 60]);
    expect(types.dead).toBeLessThan(768);
    const floor = ["--out", at("floor"), "--untrained", "--beside", at("own"), "--json"];
    const other = await penfield(["census", ...corpus, ...floor]);
    expect(other.code, other.err).toBe(0);
    expect(JSON.parse(other.out).universal).toBeLessThan(0.2);
    for (const name of ["classes", "weights", "neighbours"]) {
      expect((await readFile(join(at("own"), `${name}.jsonl`), "utf8")).length).toBeGreaterThan(9);
    }
    const words = ["describe", at("own"), "--units", "3", "--floor-units", "2"];
    const said = await penfield([...words, "--random-model", at("floor")]);
    expect(said.code, said.err).toBe(0);
    expect(said.out).toMatch(/^\d of 3 units have a reliable description/);
    expect(said.out).toMatch(/floor, random weights: .* of 2 units reach it/);
    expect(said.out).toMatch(/floor, rules of other units: median r -?\d/);
    const facets = async () =>
      (await readFile(join(at("own"), "facets.jsonl"), "utf8"))
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line).unit);
    const described = await facets();
    expect(described).toHaveLength(3);
    // Other options: refused as long as nobody says that the old ones may go.
    const hook = "blocks.0.mlp.hook_post";
    const again = ["describe", at("own"), "--units", `${hook}:3`, "--floor-units", "1"];
    const refused = await penfield([...again, "--max-length", "1"]);
    expect([refused.code, refused.err]).toEqual([1, expect.stringMatching(/--replace/)]);
    // A word that is wrong takes nothing away.
    const rules = await readFile(join(at("own"), "rules.jsonl"), "utf8");
    expect(
      (await penfield(["describe", at("own"), "--units", "nowhere:3", "--replace"])).code,
    ).not.toBe(0);
    expect(await readFile(join(at("own"), "rules.jsonl"), "utf8")).toBe(rules);
    const model = ["--model", "organism-a", "--output-score", "--threads", "1"];
    const replaced = await penfield([...again, "--max-length", "1", "--replace", ...model]);
    expect(replaced.code, replaced.err).toBe(0);
    // Those of units that were not asked about again stay.
    expect(await facets()).toEqual([...new Set([3, ...described])].sort((a, b) => a - b));
    expect(replaced.out).toMatch(/0 of 1 units write something that their weights name/);
    const untrained = await penfield(["describe", at("floor"), ...model]);
    expect(untrained.err).toMatch(/expected the model of the census, .*untrained, got organism-a/);
  });

  test.each<[readonly string[], RegExp, number]>([
    [["census", "--out", "x"], /expected --corpus PATH, got none/, 2],
    [["census", "--corpus", "texts.txt"], /expected --out DIR, got none/, 2],
    [["describe"], /expected the folder of a census, got none/, 2],
    [["describe", "x", "--output-score"], /expected --model M with --output-score, got none/, 2],
    [["census", "organism-a"], /expected options only, got "organism-a"/, 2],
    [["describe", "nowhere"], /expected a complete census, got no meta.json/, 1],
  ])("%j: one clear error", async (words, message, exit) => {
    const { code, out, err } = await penfield([...words]);
    expect(err).toMatch(message);
    expect([code, out]).toEqual([exit, ""]);
  });
});
