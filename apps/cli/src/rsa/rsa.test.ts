import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createRng, writeNpy } from "@penfield/core";
import { type ModelComparisonSection, readReport, readReportArray } from "@penfield/report";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCommandLine } from "../commandLine.ts";
import { helpOf } from "../help.ts";
import { penfield as run } from "../testRun.ts";
import { rsaOptions } from "./rsa.ts";

let root: string;
const at = (name: string): string => join(root, name);
const N = 12;
const P = 30;
const PAIRS = (N * (N - 1)) / 2;

/** [N, N]: 0 within a group, 1 between. */
const categorical = (groupOf: (i: number) => number): Float64Array =>
  Float64Array.from({ length: N * N }, (_, k) =>
    groupOf(Math.floor(k / N)) === groupOf(k % N) ? 0 : 1,
  );

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "penfield-rsa-"));
  process.env["PENFIELD_CACHE"] = at("cache");
  const rng = createRng(5);
  const kinds = Array.from({ length: 2 * P }, () => rng.normal());
  const patterns = (noise: number): Float64Array =>
    Float64Array.from(
      { length: N * P },
      (_, k) => kinds[(Math.floor(k / P) < N / 2 ? 0 : P) + (k % P)]! + noise * rng.normal(),
    );
  for (const folder of ["data", "models", "mat", "nothing"]) await mkdir(at(folder));
  for (let s = 1; s <= 5; s++) {
    await writeFile(at(`data/sub-${s}.npy`), writeNpy(patterns(1), [N, P]));
  }
  await writeFile(at("data/.hidden.npy"), "no array");
  await writeFile(at("data/readme.txt"), "no array");
  await writeFile(
    at("models/a-half.npy"),
    writeNpy(
      categorical((i) => +(i < N / 2)),
      [N, N],
    ),
  );
  await writeFile(
    at("models/b-odd.npy"),
    writeNpy(
      categorical((i) => i % 2),
      [N, N],
    ),
  );
  const random = Float64Array.from({ length: PAIRS }, () => rng.uniform());
  await writeFile(at("models/c-random.npy"), writeNpy(random, [PAIRS]));
  const runs = new Float64Array(4 * N * P);
  for (let r = 0; r < 4; r++) runs.set(patterns(1), r * N * P);
  await writeFile(at("runs.npy"), writeNpy(runs, [4, N, P]));
  const stack = new Float64Array(2 * N * N);
  stack.set(
    categorical((i) => +(i < N / 2)),
    0,
  );
  stack.set(
    categorical((i) => i % 3),
    N * N,
  );
  await writeFile(at("stack.npy"), writeNpy(stack, [2, N, N]));
  await writeFile(at("constant.npy"), writeNpy(new Float64Array(PAIRS).fill(2), [PAIRS]));
  const flat = patterns(1);
  flat.fill(3, 0, P);
  await writeFile(at("flat.npy"), writeNpy(flat, [N, P]));
  await writeFile(at("nan.npy"), writeNpy(patterns(1).with(5, Number.NaN), [N, P]));
  await writeFile(at("two.npy"), writeNpy(patterns(1).slice(0, 2 * P), [2, P]));
  await writeFile(at("one-pair.npy"), writeNpy(Float64Array.of(1), [1]));
  await writeFile(at("seven.npy"), writeNpy(new Float64Array(7).fill(1), [7]));
  await writeFile(
    at("ten.npy"),
    writeNpy(
      new Float64Array(45).map((_, i) => i),
      [45],
    ),
  );
  await writeFile(at("odd.npy"), writeNpy(patterns(1).slice(0, N * N), [N, N]));
  await writeFile(at("mat/rdm.mat"), "MATLAB 5.0");
  const labels = Array.from({ length: N }, (_, i) =>
    i < N / 2 ? `face ${i}` : `<b>house</b> ${i}`,
  );
  await writeFile(at("labels.txt"), `${labels.join("\n")}\n`);
  await writeFile(at("few.txt"), "one\ntwo\n");
});
afterAll(async () => {
  delete process.env["PENFIELD_CACHE"];
  await rm(root, { recursive: true, force: true });
});

const penfield = (words: readonly string[], signal?: AbortSignal) => run(["rsa", ...words], signal);
const json = async (words: readonly string[]) => {
  const { code, out, err } = await penfield([
    ...words,
    "--draws",
    "200",
    "--threads",
    "1",
    "--json",
  ]);
  expect([code, err.replace(/^(reading|bootstrap|resampling|shuffling).*\n/gm, "")]).toEqual([
    0,
    "",
  ]);
  return JSON.parse(out);
};
const scores = ({ models }: ModelComparisonSection) => models.map(({ score }) => score.value!);

describe("data and models", () => {
  test("the planted model is found, tested and set beside the ceiling", async () => {
    const { comparison, ceiling, warnings, data, models } = await json([
      ...[at("data"), "--models", at("models"), "--over", "subjects"],
    ]);
    expect(data.map(({ name }: { name: string }) => name)).toEqual(
      [1, 2, 3, 4, 5].map((s) => `sub-${s}`),
    );
    expect(models.map(({ name }: { name: string }) => name)).toEqual([
      "a-half",
      "b-odd",
      "c-random",
    ]);
    expect(data[0].dissimilarities).toHaveLength(PAIRS);
    const [half, odd, random] = scores(comparison);
    expect(half).toBeGreaterThan(0.6);
    expect(Math.max(Math.abs(odd!), Math.abs(random!))).toBeLessThan(0.3);
    expect(comparison.models[0].zero.q).toBeLessThan(0.001);
    expect(comparison.models[1].zero.q).toBeGreaterThan(0.05);
    const [low, high] = comparison.models[0].score.interval;
    expect([low < half!, half! < high]).toEqual([true, true]);
    expect(comparison.pairs.map(({ a, b }: { a: number; b: number }) => [a, b])).toEqual([
      [0, 1],
      [0, 2],
      [1, 2],
    ]);
    expect(comparison.pairs[0].difference).toBeCloseTo(half! - odd!, 12);
    expect(comparison.pairs[0].q).toBeLessThan(0.001);
    expect(ceiling.lower).toBeLessThan(ceiling.upper);
    expect(comparison.models[0].draws).toHaveLength(5);
    expect(warnings).toEqual([]);
  });

  test("RDMs are those of their definition, pair by pair", async () => {
    const { data } = await json([at("data/sub-1.npy"), "--rdm", "euclidean"]);
    const file = await import("node:fs/promises").then((fs) => fs.readFile(at("data/sub-1.npy")));
    const x = new Float64Array(file.buffer.slice(file.byteOffset + file.length - 8 * N * P));
    let pair = 0;
    for (let i = 0; i < N; i++) {
      for (let j = i + 1; j < N; j++) {
        let sum = 0;
        for (let p = 0; p < P; p++) sum += (x[i * P + p]! - x[j * P + p]!) ** 2 / P;
        expect(data[0].dissimilarities[pair++]).toBeCloseTo(sum, 9);
      }
    }
  });

  test("every comparison and every way of drawing gives scores", async () => {
    const words = [at("data"), "--models", at("models")];
    // A draw of even conditions alone leaves the odd model constant: it says nothing, and that is said.
    const pearson = await json(words);
    expect(Math.abs(scores(pearson.comparison)[1]!)).toBeLessThan(0.3);
    expect(pearson.comparison.nUndefined).toBeGreaterThan(0);
    expect(pearson.warnings.join()).toMatch(/^\d+ of 200 draws say nothing and are left out/m);
    for (const comparison of ["rho-a", "tau-a", "rdm-cosine", "bures"]) {
      const found = (await json([...words, "--comparison", comparison])).comparison;
      expect(found.comparison.name).toBe(comparison.replace("rdm-", ""));
      const [half, odd] = scores(found);
      if (comparison !== "rdm-cosine") expect(half).toBeGreaterThan(odd!);
      expect(found.generalizesTo).toMatch(comparison === "bures" ? /these conditions/ : /and new/);
    }
    const fixed = (await json([...words, "--over", "none", "--test", "signed-rank"])).comparison;
    expect([fixed.test, fixed.nDraws, fixed.models[0].score.interval]).toEqual([
      "signed-rank",
      0,
      null,
    ]);
    // Of five subjects the smallest two-sided p is 2 / 2^5.
    expect(fixed.models[0].zero.p).toBeCloseTo(0.0625, 10);
    const drawn = (await json([...words, "--over", "patterns", "--test", "bootstrap"])).comparison;
    expect(drawn.generalizesTo).toBe("new conditions, for these subjects");
    expect(drawn.models[0].zero.p).toBeCloseTo(1 / 200, 10);
  });

  test("the same seed, the same result", async () => {
    const words = [at("data"), "--models", at("models")];
    const first = await json(words);
    expect(await json(words)).toEqual(first);
    expect((await json([...words, "--seed", "1"])).comparison.models).not.toEqual(
      first.comparison.models,
    );
  });

  test("crossnobis of runs, with models given plainly; stacks of RDMs; one subject", async () => {
    const { comparison, warnings, ceiling, data } = await json([
      ...[at("runs.npy"), "--rdm", "crossnobis", "--models", at("stack.npy")],
    ]);
    expect(Math.min(...data[0].dissimilarities)).toBeLessThan(0.2);
    expect(comparison.models.map(({ title }: { title: string }) => title)).toEqual([
      "stack 1",
      "stack 2",
    ]);
    expect(ceiling).toBeNull();
    expect(comparison.models[0].ceiling).toEqual({ p: null, q: null });
    expect(comparison.generalizesTo).toMatch(/^new conditions/);
    expect(warnings.join()).toContain("There is one subject");
    const byFile = await json([at("stack.npy"), at("models/a-half.npy"), "--by-file"]);
    expect(byFile.data).toHaveLength(3);
    expect(byFile.among.names).toEqual(["stack 1", "stack 2", "a-half"]);
    expect(byFile.among.values[2]).toBeCloseTo(1, 10);
  });
});

describe("several sessions of a subject", () => {
  test("--subjects: sessions are drawn and left out together; as --by-file where files say the same", async () => {
    const table = (lines: readonly string[]) =>
      writeFile(at("subjects.tsv"), `${lines.join("\n")}\n`);
    const words = [at("data"), at("stack.npy"), "--models", at("models"), "--over", "subjects"];
    await table([
      "file\tsubject",
      "sub-1\tA",
      "sub-2.npy\tA",
      "sub-3\tB",
      "sub-4\tB",
      "sub-5\tC",
      "stack\tD",
    ]);
    const mapped = await json([...words, "--subjects", at("subjects.tsv")]);
    expect(mapped.comparison.nSubjects).toBe(4);
    expect(mapped.comparison.nRdms).toBe(7);
    const each = await json(words);
    expect(each.comparison.nSubjects).toBe(7);
    expect(mapped.ceiling.upper).not.toBe(each.ceiling.upper);
    await table([
      "sub-1, a",
      "sub-2, b",
      "sub-3, c",
      "sub-4, d",
      "sub-5, e",
      "stack 1, f",
      "stack 2, f",
    ]);
    const commas = await json([...words, "--subjects", at("subjects.tsv")]);
    expect(commas).toEqual(await json([...words, "--by-file"]));
  });

  test.each([
    ["sub-1\tA\n", /expected the subject of sub-2 \(sub-2\.npy\), got no line/],
    ["sub-1\tA\nsub-1\tB\n", /line 2: expected every file once, got sub-1 again/],
    ["sub-1 A\n", /line 1: expected a file and its subject, got "sub-1 A"/],
    ["1\tA\nsub-9\tB\n", /expected files or RDMs of the data, got sub-9|the subject of sub-1/],
    ["sub-1\t\n", /line 1: expected a file and its subject/],
  ])("a table that does not say it: %j", async (text, message) => {
    await writeFile(at("bad.tsv"), text);
    const { code, err } = await penfield([at("data"), "--subjects", at("bad.tsv")]);
    expect(err).toMatch(message);
    expect([code, /^Code: ERR_FORMAT$/m.test(err)]).toEqual([1, true]);
  });

  test("a name in it that is none of the data's", async () => {
    const lines = [1, 2, 3, 4, 5].map((s) => `sub-${s}\t${s}`);
    await writeFile(at("typo.tsv"), `${lines.join("\n")}\nsub-6\t6\n`);
    const { err } = await penfield([at("data"), "--subjects", at("typo.tsv")]);
    expect(err).toMatch(/expected files or RDMs of the data, got sub-6/);
  });
});

describe("shuffled conditions", () => {
  test("--permutations: p of each model and against the best, beside the bootstrap, in print and report", async () => {
    const out = at("reports/shuffled");
    const words = [
      at("data"),
      "--models",
      at("models"),
      "--permutations",
      "199",
      "--over",
      "subjects",
    ];
    const { permutation } = await json([...words, "--out", out]);
    expect(permutation.nDraws).toBe(199);
    const [half, odd] = permutation.models;
    // With 462 ways to halve the conditions, a shuffle may be none.
    expect(half.name).toBe("a-half");
    expect(Math.max(half.p, half.pMax)).toBeLessThan(0.025);
    expect(odd.p).toBeGreaterThan(0.05);
    const [section] = (await readReport(out)).sections;
    expect(section?.reading).toMatch(
      /Against 199 shuffles of the conditions.* a-half 0\.0\d+ \(0\.0\d+\), b-odd 0\.\d+/,
    );
    const { out: text } = await penfield(words);
    expect(text).toMatch(/^a-half +0\.\d{4} +0\.0\d+ +0\.0\d+$/m);
  });

  test("a model without variation is left out, a distance is small where models are good", async () => {
    const words = [at("data"), "--models", at("models"), "--models", at("constant.npy")];
    const { permutation, warnings } = await json([
      ...words,
      "--permutations",
      "99",
      "--over",
      "none",
    ]);
    expect(permutation.models.map(({ name }: { name: string }) => name)).not.toContain("constant");
    expect(warnings.join()).toMatch(/Shuffled conditions: constant left out/);
    const far = await json([
      ...[at("data"), "--models", at("models"), "--permutations", "99", "--over", "none"],
      ...["--comparison", "bures-metric"],
    ]);
    expect(far.permutation.models[0].p).toBeLessThan(0.04);
  });
});

describe("interrupted", () => {
  test.each([
    ["a bootstrap", ["--draws", "300"], "bootstrap", 6],
    ["a cross-validated one", ["--combine", "weighted", "--draws", "30"], "bootstrap", 15],
    ["shuffles", ["--over", "none", "--permutations", "300"], "shuffling", 2],
  ])("%s goes on with --resume, to the same bytes", async (_, more, stage, after) => {
    const words = [at("data"), "--models", at("models"), ...more, "--threads", "1", "--json"];
    const whole = await penfield(words);
    expect([whole.code, whole.err.includes("Error")], whole.err).toEqual([0, false]);
    let seen = false;
    let asked = 0;
    const stopping = new Proxy(new AbortController().signal, {
      // Some parts after the first word of the stage.
      get: (signal, name) =>
        name === "aborted" ? seen && ++asked > after : Reflect.get(signal, name),
    });
    let out = "";
    let err = "";
    const code = await runCommandLine(["rsa", ...words], {
      out: { write: (text) => (out += text) },
      err: {
        write: (text) => {
          err += text;
          seen ||= text.startsWith(stage);
        },
      },
      signal: stopping,
    });
    expect([code, out]).toEqual([1, ""]);
    expect(JSON.parse(err.split("\n").find((line) => line.startsWith("{"))!).error).toMatchObject({
      code: "ERR_INTERRUPTED",
      hint: expect.stringContaining("--resume"),
    });
    const kept = async () =>
      (await readdir(at("cache/work"), { recursive: true })).filter((name) => /json$/.test(name));
    const nKept = (await kept()).length;
    expect(nKept).toBeGreaterThan(0);
    const resumed = await penfield([...words, "--resume"]);
    expect([resumed.code, resumed.out]).toEqual([0, whole.out]);
    expect(await kept()).toEqual([]);
  });
});

describe("the report", () => {
  test("holds RDMs, scores and a map; hostile labels stay text", async () => {
    const out = at("reports/rsa");
    const words = [at("data"), "--models", at("models"), "--labels", at("labels.txt")];
    const result = await json([...words, "--out", out]);
    const report = await readReport(out);
    expect(report.sections.map(({ kind }) => kind)).toEqual(["model-comparison", "rdms", "matrix"]);
    expect(report.inputs?.map(({ role }) => role)).toEqual([
      ...Array(5).fill("data"),
      ...Array(3).fill("model"),
    ]);
    const rdms = report.sections.find((section) => section.kind === "rdms")!;
    expect(rdms.conditions[7]).toBe("<b>house</b> 7");
    expect(rdms.map?.points).toHaveLength(N);
    const array = await readReportArray(out, report, "rdms.npy");
    expect(array.shape).toEqual([8, PAIRS]);
    expect(array.data[3]).toBeCloseTo(result.data[0].dissimilarities[3], 12);
    expect(JSON.stringify(report)).not.toContain(root);
  });

  test("without models: the RDMs, their agreement, the ceiling", async () => {
    const out = at("reports/data");
    const { code, out: text } = await penfield([at("data"), "--out", out]);
    expect(code).toBe(0);
    expect(text).toMatch(/^5 data RDMs of 12 conditions$/m);
    expect(text).toMatch(/^Noise ceiling: 0\.\d+ to 0\.\d+$/m);
    expect((await readReport(out)).sections.map(({ kind }) => kind)).toEqual(["rdms", "matrix"]);
  });

  test("text for people: a table of models and one of differences", async () => {
    const { out } = await penfield([
      ...[at("data"), "--models", at("models"), "--over", "subjects", "--draws", "100"],
    ]);
    expect(out).toMatch(/^model +score +95 % interval +p above 0 +q +p at ceiling +q$/m);
    expect(out).toMatch(/^a-half - b-odd +\d\.\d+ +[<\d.]+ +[<\d.]+ \*$/m);
  });
});

describe("degenerate data are flagged", () => {
  test("a constant pattern, and a constant model", async () => {
    const { warnings, comparison } = await json([
      ...[at("data"), at("flat.npy"), "--models", at("models"), "--models", at("constant.npy")],
    ]);
    expect(warnings.join("\n")).toMatch(/flat: 11 of 66 dissimilarities are undefined/);
    expect(warnings.join("\n")).toMatch(/constant: all dissimilarities are 2: it says nothing/);
    const [half, , , constant] = comparison.models;
    expect(half.score.value).toBeGreaterThan(0.5);
    expect(constant.score.value).toBeNull();
    expect(constant.zero.q).toBeNull();
  });

  test("a similarity that is a distance says which end is good", async () => {
    const { warnings } = await json([
      ...[at("data"), "--models", at("models"), "--comparison", "bures-metric"],
    ]);
    expect(warnings.join()).toContain("the best model has the lowest score");
  });
});

test.each<[string, string[], 1 | 2, string, RegExp]>([
  ["no data", [], 2, "ERR_USAGE", /expected files or folders with data/],
  ["no such folder", ["no.npy"], 1, "ERR_FILE", /no such file/],
  ["an empty folder", ["nothing"], 1, "ERR_DATA", /expected \.npy, .*got none among 0/],
  ["no MATLAB file", ["mat"], 1, "ERR_FORMAT", /rdm\.mat/],
  ["other conditions", ["data", "ten.npy"], 1, "ERR_SHAPE", /got 12 in sub-1\.npy and 10 in ten/],
  ["two conditions", ["two.npy"], 1, "ERR_DATA", /at least 3 conditions, got 2/],
  ["one pair", ["one-pair.npy"], 1, "ERR_DATA", /at least 3 conditions, got 2/],
  ["seven pairs", ["seven.npy"], 1, "ERR_SHAPE", /n \(n - 1\) \/ 2 dissimilarities.*got 7/],
  ["NaN in patterns", ["nan.npy"], 1, "ERR_DATA", /expected finite patterns, got NaN/],
  ["no RDM", ["odd.npy", "--kind", "rdms"], 1, "ERR_DATA", /expected a symmetric matrix/],
  ["no runs", ["data", "--rdm", "crossnobis"], 1, "ERR_DATA", /at least 2 runs for crossnobis/],
  ["labels", ["data", "--labels", "few.txt"], 1, "ERR_FORMAT", /expected 12 lines.*got 2/],
  ["comparison", ["data", "--comparison", "x"], 2, "ERR_USAGE", /--comparison: expected cosine/],
  ["rdm", ["data", "--rdm", "x"], 2, "ERR_USAGE", /--rdm: expected correlation/],
  ["over", ["data", "--over", "x"], 2, "ERR_USAGE", /--over: expected none, rdms, subjects/],
  ["draws", ["data", "--draws", "1"], 2, "ERR_USAGE", /--draws/],
  ["shuffles of nothing", ["data", "--permutations", "9"], 2, "ERR_USAGE", /expected --models/],
  ["both", ["data", "--by-file", "--subjects", "x.tsv"], 2, "ERR_USAGE", /--subjects or --by-file/],
  [
    "bures over conditions",
    ["data", "--comparison", "bures", "--over", "both"],
    2,
    "ERR_USAGE",
    /expected none or subjects with --comparison bures/,
  ],
  [
    "ranks of draws",
    ["data", "--test", "signed-rank", "--over", "both"],
    2,
    "ERR_USAGE",
    /signed-rank: expected --over none/,
  ],
])("bad input: %s", async (_, words, exit, code, message) => {
  const paths = words.map((word) =>
    /\.\w+$/.test(word) || ["data", "mat", "nothing"].includes(word) ? at(word) : word,
  );
  const ran = await penfield(paths);
  expect(ran.err).toMatch(message);
  expect(ran.err).toMatch(new RegExp(`^Code: ${code}$`, "m"));
  expect([ran.code, ran.out]).toEqual([exit, ""]);
});

test("interrupted: an error and nothing written", async () => {
  const words = [at("data"), "--models", at("models"), "--out", at("reports/never")];
  const { code, err } = await penfield(words, AbortSignal.abort());
  expect(code).toBe(1);
  expect(err).toMatch(/^Code: ERR_INTERRUPTED$/m);
});

test("the help names every option", () => {
  for (const name of Object.keys(rsaOptions)) expect(helpOf("rsa"), name).toContain(`--${name}`);
});

const rdm92 = fileURLToPath(new URL("../../../../../shared/data/rdm92/", import.meta.url));

describe.skipIf(!existsSync(rdm92))("MATLAB files (need ../shared/data/rdm92)", () => {
  test("a struct array of RDMs, by names; animacy explains human IT best", async () => {
    const { data, models, comparison } = await json([
      ...[join(rdm92, "92_brainRDMs.mat"), "--models", join(rdm92, "92_modelRDMs.mat:Models")],
      ...["--comparison", "tau-a", "--over", "none"],
    ]);
    expect([data.length, models.length]).toEqual([8, 8]);
    expect(data[0].dissimilarities).toHaveLength((92 * 91) / 2);
    const values = scores(comparison);
    const best = values.indexOf(Math.max(...values));
    expect(comparison.models[best].title).toBe("animacy");
  });

  test("no such variable", async () => {
    const { err } = await penfield([join(rdm92, "92_brainRDMs.mat:none")]);
    expect(err).toMatch(/expected one variable of numbers or RDMs, got no such variable "none"/);
  });
});
