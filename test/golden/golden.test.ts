import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { FileError, writeNpy } from "@penfield/core";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { cases } from "./encoding.ts";
import { casesOfJsonFiles, casesOfManifest, compare, exact, replay, within } from "./replay.ts";
import { casesOfSimilarity, type SimilarityMapping, similarityReplay } from "./similarity.ts";
import { mapRdm } from "./similarityRdm.ts";

const shared = fileURLToPath(new URL("../../../shared/golden/", import.meta.url));

describe("compare", () => {
  test("reports the greatest differences and judges by both tolerances", () => {
    const check = within(1e-3, "x", [1, 2.001, 0], [1, 2, 0]);
    const result = compare(check);
    expect(result.passed).toBe(true);
    expect(result.maxAbsolute).toBeCloseTo(0.001, 12);
    expect(result.maxRelative).toBeCloseTo(0.0005, 12);
    expect(compare({ ...check, relative: 1e-4 }).passed).toBe(false);
  });

  test("takes two NaN for equal, one for different", () => {
    expect(compare(exact("x", [Number.NaN], [Number.NaN])).passed).toBe(true);
    expect(compare(within(1, "x", [Number.NaN], [1])).passed).toBe(false);
    expect(compare(within(1, "x", [1], [Number.NaN])).passed).toBe(false);
  });

  test("fails arrays of different lengths", () => {
    expect(compare(exact("x", [1], [1, 1])).passed).toBe(false);
    expect(compare(exact("x", [1, 1], [1])).passed).toBe(false);
  });
});

describe("replay", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "penfield-golden-"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  test("counts what passed, failed, broke and has no mapping", async () => {
    await mkdir(join(folder, "good"));
    await writeFile(join(folder, "good/x.npy"), writeNpy(new Float64Array([1, 2]), [2]));
    await writeFile(
      join(folder, "manifest.json"),
      JSON.stringify({
        good: { meta: { times: 2 }, arrays: { x: [[2], "float64"] } },
        wrong: { meta: {}, arrays: {} },
        missing: { meta: {}, arrays: { gone: [[1], "float64"] } },
        unknown: { meta: {}, arrays: {} },
        toString: { meta: {}, arrays: {} },
      }),
    );
    const lines: string[] = [];
    const tally = await replay(
      casesOfManifest(folder),
      {
        good: ({ x }, { times }) => [
          exact(
            "x",
            Array.from(x!.data, (v) => v * Number(times)),
            [2, 4],
          ),
        ],
        wrong: () => [exact("y", [1], [2])],
        missing: () => [],
      },
      (line) => lines.push(line),
    );
    expect(tally).toEqual({ passed: 1, failed: 2, unmapped: 2 });
    expect(lines.join("\n")).toMatch(/wrong\n.*y .*max abs 1\.0e\+0.*differs/);
  });

  test("lists the cases of the other layouts, those of similarity one by result", async () => {
    expect(casesOfJsonFiles(folder).map((c) => c.name)).toEqual([]);
    await writeFile(join(folder, "index.json"), JSON.stringify([{ group: "rdm", name: "movie" }]));
    expect(casesOfJsonFiles(folder).map((c) => c.name)).toEqual(["index"]);
    await mkdir(join(folder, "rdm"));
    await writeFile(join(folder, "rdm/movie.x.npy"), writeNpy(new Float64Array([1, 2]), [2]));
    const results = [
      { label: "twice", output: [2, 4] },
      { label: "wrong", output: { a: 1, draws: [9] }, "sensitivity_1e-13": { a: 0 } },
      { label: "unstable", output: 5, "sensitivity_1e-13": 1 },
      { label: "raised", error: "ValueError" },
      { label: "nobody's", output: 1 },
    ];
    await writeFile(
      join(folder, "rdm/movie.json"),
      JSON.stringify({ inputs: { x: { file: "movie.x.npy" } }, results }),
    );
    const lines: string[] = [];
    const mapping: SimilarityMapping = (_, label) => {
      if (label === "twice") return ({ arrays }) => Array.from(arrays["x"]!.data, (v) => 2 * v);
      if (label === "wrong") return () => ({ a: 1.1 });
      if (label === "raised") {
        return () => {
          throw new FileError("as the reference");
        };
      }
      return label === "unstable" ? () => 6 : undefined;
    };
    const tally = await replay(casesOfSimilarity(folder), similarityReplay([mapping]), (line) =>
      lines.push(line),
    );
    expect(tally).toEqual({ passed: 2, failed: 1, unmapped: 1, notJudged: 1 });
    expect(lines.join("\n")).toContain("FAILED    rdm/movie/wrong");
  });

  test("says that a folder without a manifest is the wrong one", () => {
    expect(() => casesOfManifest(folder)).toThrow(FileError);
    expect(() => casesOfManifest(folder)).toThrow(/there is no such file/);
  });
});

describe.skipIf(!existsSync(shared))("reference cases (need ../shared/golden)", () => {
  test("every mapped encoding case passes", async () => {
    const lines: string[] = [];
    const tally = await replay(casesOfManifest(join(shared, "encoding")), cases, (line) =>
      lines.push(line),
    );
    expect(tally.failed, lines.join("\n")).toBe(0);
    expect(tally.passed).toBe(Object.keys(cases).length);
  });

  test("every result of the groups rdm and compare passes", { timeout: 60_000 }, async () => {
    const lines: string[] = [];
    const found = casesOfSimilarity(join(shared, "similarity")).filter((c) =>
      /^(rdm|compare)\//.test(c.name),
    );
    const tally = await replay(found, similarityReplay([mapRdm]), (line) => lines.push(line));
    expect(tally.failed, lines.join("\n")).toBe(0);
    expect(tally.unmapped).toBe(0);
    expect(tally.passed).toBeGreaterThan(0.98 * found.length);
  });
});
