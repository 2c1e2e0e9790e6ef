import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  calcRdm,
  compareRdms,
  concatRdms,
  evaluateModels,
  fixedModels,
  geodesicRdms,
  geotopologicalRdms,
  minmaxRdms,
  positiveRdms,
  type Rdms,
  rankRdms,
  rdms,
  sqrtRdms,
  takeRdms,
} from "@penfield/compare";
import { createRng, tensor, writeNpy } from "@penfield/core";
import { createLinalg } from "@penfield/linalg";
import { readReport, readReportArray } from "@penfield/report";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCommandLine } from "../commandLine.ts";

const N = 10;
const P = 8;
const PAIRS = (N * (N - 1)) / 2;
const TIMES = 3;
const rng = createRng(3);
const normal = (length: number): Float64Array => Float64Array.from({ length }, () => rng.normal());
const patterns = [1, 2, 3].map(() => normal(N * P));
const given = [1, 2].map(() => Float64Array.from({ length: PAIRS }, () => rng.normal() + 1));
const movies = [1, 2].map(() => normal(N * P * TIMES));

let root: string;
const at = (name: string): string => join(root, name);

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "penfield-rsa-transform-"));
  process.env["PENFIELD_CACHE"] = at("cache");
  for (const folder of ["data", "models", "movies"]) await mkdir(at(folder));
  const put = (name: string, data: Float64Array, shape: readonly number[]) =>
    writeFile(at(`${name}.npy`), writeNpy(data, shape));
  for (const [i, x] of patterns.entries()) await put(`data/sub-${i}`, x, [N, P]);
  for (const [i, d] of given.entries()) await put(`models/model-${i}`, d, [PAIRS]);
  for (const [i, x] of movies.entries()) await put(`movies/sub-${i}`, x, [N, P, TIMES]);
  await put("constant", new Float64Array(PAIRS).fill(2), [PAIRS]);
  await put(
    "kinds",
    Float64Array.from({ length: N * N }, (_, k) => +(Math.floor(k / N) % 2 !== (k % N) % 2)),
    [N, N],
  );
  await put(
    "odd-one",
    Float64Array.from({ length: PAIRS }, (_, k) => +(k > 2)),
    [PAIRS],
  );
  await put("holes", given[0]!.with(4, Number.NaN), [PAIRS]);
});
afterAll(async () => {
  delete process.env["PENFIELD_CACHE"];
  await rm(root, { recursive: true, force: true });
});

async function penfield(words: readonly string[]) {
  let out = "";
  let err = "";
  const code = await runCommandLine(["rsa", ...words, "--threads", "1"], {
    out: { write: (text) => (out += text) },
    err: { write: (text) => (err += text) },
    signal: new AbortController().signal,
  });
  return { code, out, err };
}
const json = async (words: readonly string[]) => {
  const { code, out, err } = await penfield([...words, "--json"]);
  expect([code, err.includes("Error")], err).toEqual([0, false]);
  return JSON.parse(out);
};

/** Each RDM of a set by itself. */
const alone = (from: Rdms, change: (one: Rdms) => Rdms): Rdms =>
  concatRdms(Array.from({ length: from.nRdms }, (_, k) => change(takeRdms(from, [k]))));

const cases: readonly (readonly [string, readonly string[], (one: Rdms) => Rdms])[] = [
  ["rank", [], rankRdms],
  ["sqrt", [], sqrtRdms],
  ["positive", [], positiveRdms],
  ["min-max", [], minmaxRdms],
  ["min-max,geodesic", [], (one) => geodesicRdms(minmaxRdms(one))],
  ["geo-topological", [], (one) => geotopologicalRdms(one, 0.2, 0.8)],
  [
    "rank,geo-topological",
    ["--quantiles", "0.1,0.6"],
    (one) => geotopologicalRdms(rankRdms(one), 0.1, 0.6),
  ],
];

describe("rsa --transform", () => {
  test.each(cases)("%s %s: the library's RDMs and scores", async (name, more, change) => {
    const linalg = createLinalg({ threads: 1 });
    const raw = await Promise.all(
      patterns.map((x) =>
        calcRdm(tensor(x, ["stimulus", "unit"], [N, P]), { method: "euclidean", linalg }),
      ),
    );
    const data = alone(concatRdms(raw), change);
    const models = alone(rdms(given), change);
    const found = await evaluateModels(fixedModels(models), data, { method: "cosine", linalg });
    const { data: among } = await compareRdms(data, models, { method: "cosine", linalg });
    await linalg.dispose();
    const words = [at("data"), "--models", at("models"), "--rdm", "euclidean"];
    const result = await json([
      ...words,
      ...["--comparison", "cosine", "--over", "none", "--transform", name, ...more],
    ]);
    const rows = (list: { dissimilarities: number[] }[]) => list.flatMap((r) => r.dissimilarities);
    expect(rows(result.data)).toEqual(Array.from(data.data));
    expect(rows(result.models)).toEqual(Array.from(models.data));
    result.comparison.models.forEach((model: { score: { value: number } }, m: number) => {
      expect(model.score.value).toBeCloseTo(found.means[m]!, 12);
    });
    expect(result.among.values[3]).toBeCloseTo(among[0]!, 12);
    expect(result.transform).toContain(name.split(",").at(-1));
  });

  test("the report and the terminal say what was done", async () => {
    const words = ["--transform", "sqrt,geo-topological", "--quantiles", "0,0.5"];
    const folder = at("report");
    const { code, out } = await penfield([
      ...[at("data"), "--models", at("models"), "--draws", "20", ...words, "--out", folder],
    ]);
    expect(code).toBe(0);
    const title = "sqrt, geo-topological (quantiles 0 and 0.5)";
    expect(out).toContain(`\nTransformed: ${title}\n`);
    const report = await readReport(folder);
    expect(report.settings["transform"]).toBe(title);
    const section = report.sections.find(({ kind }) => kind === "rdms");
    expect(section).toMatchObject({ method: expect.stringContaining(`; then ${title}`) });
    const { data } = await readReportArray(folder, report, "rdms.npy");
    const values = Array.from({ length: data.length }, (_, i) => Number(data[i]));
    expect([Math.min(...values), Math.max(...values)]).toEqual([0, 1]);
  });

  test("movies: each time's RDM is transformed; what cannot be is undefined there", async () => {
    const words = [at("movies"), "--models", at("models"), "--movie", "--rdm", "euclidean"];
    const [plain, ranks] = [
      await json([...words, "--comparison", "spearman"]),
      await json([...words, "--transform", "rank"]),
    ];
    // Spearman's correlation is Pearson's of ranks.
    for (const m of [0, 1]) {
      ranks.models[m].score.forEach((score: number, t: number) => {
        expect(score).toBeCloseTo(plain.models[m].score[t], 10);
      });
    }
    expect(ranks.transform).toBe("rank");
    const still = movies[0]!.map((v, k) => (k % TIMES === 1 ? 1 : v));
    await writeFile(at("still.npy"), writeNpy(still, [N, P, TIMES]));
    const { models } = await json([at("still.npy"), ...words.slice(1), "--transform", "min-max"]);
    expect(models[0].score.map((v: number | null) => v === null)).toEqual([false, true, false]);
  });

  test.each<[string, string[], 1 | 2, string, RegExp]>([
    ["name", ["--transform", "log"], 2, "ERR_USAGE", /--transform: expected rank, .*got "log"/],
    ["nothing", ["--transform", ""], 2, "ERR_USAGE", /--transform: expected rank/],
    ["alone", ["--quantiles", "0,1"], 2, "ERR_USAGE", /expected --transform geo-topological/],
    ...["0.8,0.2", "0.2", "0,2", "a,b", ",1"].map(
      (text): [string, string[], 1 | 2, string, RegExp] => [
        `quantiles ${text}`,
        ["--transform", "geo-topological", "--quantiles", text],
        2,
        "ERR_USAGE",
        /--quantiles: expected LOW,HIGH with 0 <= LOW < HIGH <= 1/,
      ],
    ),
    [
      "constant",
      ["constant.npy", "--transform", "min-max"],
      1,
      "ERR_DATA",
      /constant: .*got 2 for/,
    ],
    [
      "two values",
      ["kinds.npy", "--transform", "geodesic"],
      1,
      "ERR_DATA",
      /kinds: .*none for 25 of 45/,
    ],
    [
      "ties",
      ["odd-one.npy", "--transform", "geo-topological"],
      1,
      "ERR_DATA",
      /odd-one: .*got 1 at both/,
    ],
    ["holes", ["holes.npy", "--transform", "geodesic"], 1, "ERR_DATA", /got 1 of 45 undefined/],
  ])("bad input: %s", async (_, words, exit, code, message) => {
    const isFile = words[0]!.endsWith(".npy");
    const paths = isFile ? [at(words[0]!), ...words.slice(1)] : [at("data"), ...words];
    const ran = await penfield(paths);
    expect(ran.err).toMatch(message);
    expect(ran.err).toMatch(new RegExp(`^Code: ${code}$`, "m"));
    expect([ran.code, ran.out]).toEqual([exit, ""]);
  });
});
