import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { measures } from "@penfield/compare";
import { createRng, writeNpy, writeSafetensors } from "@penfield/core";
import { readReport, readReportArray } from "@penfield/report";
import { zipSync } from "fflate";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCommandLine } from "../commandLine.ts";
import { helpOf } from "../help.ts";
import { penfield as run } from "../testRun.ts";
import { compareOptions } from "./compare.ts";

let root: string;
const at = (name: string): string => join(root, name);
const N = 30;
/** Three representations of the same thing with more and more noise, and one of nothing. */
const made: Record<string, Float64Array> = {};

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "penfield-compare-"));
  process.env["PENFIELD_CACHE"] = at("cache");
  const rng = createRng(3);
  const base = Float64Array.from({ length: N * 4 }, () => rng.normal());
  for (const [i, name] of ["a", "b", "c"].entries()) {
    made[name] = base.map((v) => v + i * 0.5 * rng.normal());
  }
  made["d"] = Float64Array.from({ length: N * 4 }, () => rng.normal());
  for (const [name, data] of Object.entries(made)) {
    await writeFile(at(`${name}.npy`), writeNpy(data, [N, 4]));
  }
  const trials = (): Float64Array => Float64Array.from({ length: 6 * N * 2 }, () => rng.normal());
  await writeFile(at("t1.npy"), writeNpy(trials(), [6, N, 2]));
  await writeFile(at("t2.npy"), writeNpy(trials(), [6, N, 2]));
  await writeFile(at("one-trial.npy"), writeNpy(trials().subarray(0, N * 2), [1, N, 2]));
  const npy = (name: string): Uint8Array => writeNpy(made[name]!, [N, 4]);
  await writeFile(at("one.npz"), zipSync({ "x.npy": npy("b") }));
  await writeFile(at("two.npz"), zipSync({ "x.npy": npy("a"), "y.npy": npy("b") }));
  const w = { data: Float32Array.from(made["b"]!), shape: [N, 4] };
  await writeFile(at("b.safetensors"), writeSafetensors({ w }));
  const constant = made["a"]!.map((v, i) => (i % 4 === 1 ? 7 : v));
  await writeFile(at("constant.npy"), writeNpy(constant, [N, 4]));
  await writeFile(at("flat.npy"), writeNpy(new Float64Array(N * 4).fill(2), [N, 4]));
  await writeFile(at("nan.npy"), writeNpy(made["a"]!.with(9, Number.NaN), [N, 4]));
  await writeFile(at("short.npy"), writeNpy(made["a"]!.slice(0, 28 * 4), [28, 4]));
  await writeFile(at("tiny.npy"), writeNpy(made["a"]!.slice(0, 8), [2, 4]));
  await writeFile(at("line.npy"), writeNpy(made["a"]!, [N * 4]));
  await writeFile(at("empty.npy"), writeNpy(new Float64Array(0), [0, 4]));
  await writeFile(at("text.npy"), "Dear reader");
  await writeFile(at("note.txt"), "Dear reader");
  await writeFile(at("x.mat"), "MATLAB 5.0");
});
afterAll(() => rm(root, { recursive: true, force: true }));

const penfield = (words: readonly string[], signal?: AbortSignal) =>
  run(["compare", ...words], signal);
const json = async (words: readonly string[]) => {
  const { code, out, err } = await penfield([...words, "--threads", "1", "--json"]);
  expect({ code, err: err.replace(/^(comparing|reading).*\n/gm, "") }).toEqual({
    code: 0,
    err: "",
  });
  return JSON.parse(out);
};

/** |Y'X|^2 / (|X'X| |Y'Y|), columns centred: as the paper has it. */
function naiveCka(x: Float64Array, y: Float64Array): number {
  const centred = (m: Float64Array) =>
    m.map((v, i) => {
      let mean = 0;
      for (let r = 0; r < N; r++) mean += m[r * 4 + (i % 4)]! / N;
      return v - mean;
    });
  const square = (a: Float64Array, b: Float64Array): number => {
    let sum = 0;
    for (let i = 0; i < 4; i++) {
      for (let j = 0; j < 4; j++) {
        let dot = 0;
        for (let r = 0; r < N; r++) dot += a[r * 4 + i]! * b[r * 4 + j]!;
        sum += dot * dot;
      }
    }
    return sum;
  };
  const [a, b] = [centred(x), centred(y)];
  return square(a, b) / Math.sqrt(square(a, a) * square(b, b));
}

describe("two files", () => {
  test("a measure's value is that of its definition, with a floor beside it", async () => {
    const { values, warnings, items } = await json([
      at("a.npy"),
      at("c.npy"),
      "--metric",
      "linear-cka",
    ]);
    expect(items[0]).toEqual({ title: "a.npy", nStimuli: N, nUnits: 4, nRepeats: 1 });
    expect(values).toHaveLength(1);
    expect(values[0].value).toBeCloseTo(naiveCka(made["a"]!, made["c"]!), 10);
    expect(values[0].floor.nDraws).toBe(5);
    expect(values[0].floor.high).toBeLessThan(values[0].value);
    expect(warnings).toEqual([]);
  });

  test("equal files: similarity 1, distance 0; the same seed, the same floor", async () => {
    const words = [at("a.npy"), at("a.npy"), "--metric", "linear-cka,shape,rdm-spearman"];
    const first = await json(words);
    expect(first.values[0].value).toBeCloseTo(1, 10);
    expect(first.values[1].value).toBeLessThan(1e-6);
    expect(first.values[2].value).toBeCloseTo(1, 10);
    expect(await json(words)).toEqual(first);
    expect((await json([...words, "--seed", "7"])).values[0].floor).not.toEqual(
      first.values[0].floor,
    );
  });

  test("a measure that shuffling leaves as it is says so", async () => {
    const { warnings } = await json([
      ...[at("a.npy"), at("c.npy"), "--metric", "linear-cka,magnitude-difference"],
    ]);
    expect(warnings).toEqual([expect.stringMatching(/^magnitude-difference: the same with/)]);
  });

  test("measures that are not symmetric are given both ways", async () => {
    const { values } = await json([at("a.npy"), at("c.npy"), "--metric", "linear-regression"]);
    expect(values.map(({ a, b }: { a: number; b: number }) => [a, b])).toEqual([
      [0, 1],
      [1, 0],
    ]);
    const back = await json([at("c.npy"), at("a.npy"), "--metric", "linear-regression"]);
    expect(back.values[0].value).toBeCloseTo(values[1].value, 10);
  });

  test(".npz and .safetensors hold the same numbers as .npy", async () => {
    const words = ["--metric", "linear-cka", "--shuffles", "0"];
    const { value } = (await json([at("a.npy"), at("b.npy"), ...words])).values[0];
    for (const other of ["one.npz", "two.npz:y"]) {
      expect((await json([at("a.npy"), at(other), ...words])).values[0].value).toBe(value);
    }
    const single = (await json([at("a.npy"), at("b.safetensors"), ...words])).values[0];
    expect(single.value).toBeCloseTo(value, 5);
    expect(single.floor).toBeNull();
  });

  test("--all computes every measure that the axes allow, and says why one is undefined", async () => {
    const { values, warnings } = await json([at("a.npy"), at("b.npy"), "--all", "--shuffles", "0"]);
    const names = new Set(values.map(({ measure }: { measure: string }) => measure));
    const allowed = measures.filter(
      ({ kind }) => kind === "representation" || kind === "rdm-comparison",
    );
    expect([...names].sort()).toEqual(allowed.map(({ name }) => name).sort());
    for (const { measure, value } of values) {
      if (value === null) expect(warnings.join()).toContain(`${measure}: `);
    }
  });

  test("trials: stochastic measures; others take the mean and say so", async () => {
    const { values, warnings } = await json([
      ...[at("t1.npy"), at("t2.npy"), "--metric", "energy-shape,gaussian-shape,linear-cka"],
      ...["--shuffles", "0"],
    ]);
    // Of noise and noise the energy distance is 0; covariances differ by chance.
    const [energy, gaussian, cka] = values.map(({ value }: { value: number }) => value);
    expect(energy).toBeGreaterThanOrEqual(0);
    expect(gaussian).toBeGreaterThan(0);
    expect(cka).toBeLessThan(0.5);
    expect(warnings.join("\n")).toContain("take the mean over its 6 trials");
  });

  test("constant units and empty patterns are flagged, undefined values are null with a reason", async () => {
    const flagged = await json([at("a.npy"), at("constant.npy"), "--metric", "linear-cka"]);
    expect(flagged.warnings).toEqual([
      "linear-cka: constant.npy has 1 of 4 units that do not vary",
    ]);
    const flat = await json([at("a.npy"), at("flat.npy"), "--metric", "linear-cka,rdm-pearson"]);
    for (const { value } of flat.values) expect(value).toBeNull();
    expect(flat.warnings.join("\n")).toMatch(/linear-cka: not defined for these data/);
    expect(flat.warnings.join("\n")).toMatch(
      /rdm-pearson: flat\.npy has 435 of 435 .* that are undefined/,
    );
  });

  test("what is said of several measures is said once to people, and of each in JSON", async () => {
    const words = [at("a.npy"), at("constant.npy"), "--metric", "linear-cka,rv,cca,shape,nbs"];
    const { out } = await penfield([...words, "--shuffles", "0"]);
    expect(out.match(/^Note: .*$/gm)).toEqual([
      "Note: linear-cka, rv, cca and 2 more: constant.npy has 1 of 4 units that do not vary",
    ]);
    expect((await json([...words, "--shuffles", "0"])).warnings).toHaveLength(5);
  });

  test("text for people: sizes, values, notes", async () => {
    const { code, out } = await penfield([at("a.npy"), at("c.npy"), "--metric", "linear-cka"]);
    expect(code).toBe(0);
    expect(out).toMatch(/^a\.npy {2}30 stimuli {2}4 units\n/);
    expect(out).toMatch(/^linear-cka {2}0\.\d{4} {2}0\.\d{4} \(.* to .*\) {2}more alike$/m);
  });
});

describe("several files", () => {
  test("a matrix of all pairs with a map, and a report that holds the same", async () => {
    const out = at("reports/many");
    const files = ["a", "b", "c", "d"].map((name) => at(`${name}.npy`));
    const result = await json([...files, "--metric", "shape,linear-cka", "--out", out]);
    expect(result.values).toHaveLength(12);
    const [shape, cka] = result.matrices;
    expect(shape.values[0][0]).toBe(0);
    expect(shape.values[0][1]).toBe(shape.values[1][0]);
    expect(shape.triangle).toMatchObject({ nViolations: 0, nInequalities: 12 });
    expect(shape.map.points).toHaveLength(4);
    expect(cka.values[0][2]).toBeCloseTo(naiveCka(made["a"]!, made["c"]!), 10);
    expect(cka.map.distance).toBe("1 - measure");

    const report = await readReport(out);
    expect(report.model).toBeUndefined();
    expect(report.inputs?.map(({ name }) => name)).toEqual(["a.npy", "b.npy", "c.npy", "d.npy"]);
    expect(report.sections.map(({ kind }) => kind)).toEqual(["matrix", "matrix", "similarity"]);
    const array = await readReportArray(out, report, "linear-cka.npy");
    expect(array.shape).toEqual([4, 4]);
    expect(array.data[2]).toBeCloseTo(cka.values[0][2], 12);
    // Nothing of the user's machine goes into a report.
    expect(JSON.stringify(report)).not.toContain(root);
  });

  test("interrupted halfway it goes on with --resume, to the same bytes, and computes nothing twice", async () => {
    const files = ["a", "b", "c", "d"].map((name) => at(`${name}.npy`));
    const words = [
      ...files,
      ...["--metric", "shape,linear-cka,rdm-spearman,pwcca", "--shuffles", "2"],
      ...["--threads", "1", "--json"],
    ];
    const whole = await penfield(words);
    expect(whole.code).toBe(0);
    // Stops when it is asked for the time of the 30th time: before a value in the middle.
    let asked = 0;
    const stopping = new Proxy(new AbortController().signal, {
      get: (signal, name) => (name === "aborted" ? ++asked > 30 : Reflect.get(signal, name)),
    });
    const stopped = await penfield(words, stopping);
    expect([stopped.code, stopped.out]).toEqual([1, ""]);
    expect(stopped.err).toMatch(/--resume to go on/);
    const kept = async (): Promise<[string, unknown][]> => {
      const names = await readdir(at("cache/work"), { recursive: true });
      const parts = names.filter((name) => name.endsWith(".json"));
      const texts = await Promise.all(
        parts.map((name) => readFile(at(`cache/work/${name}`), "utf8")),
      );
      return texts.flatMap((text) => JSON.parse(text) as [string, unknown][]);
    };
    const values = await kept();
    expect(values).toHaveLength(30);
    expect(new Set(values.map(([key]) => key)).size).toBe(30);
    const resumed = await penfield([...words, "--resume"]);
    expect([resumed.code, resumed.out]).toEqual([0, whole.out]);
    expect(await kept()).toEqual([]);
    // Without --resume nothing of before is taken.
    await penfield(words, AbortSignal.abort());
    expect((await penfield(words)).out).toBe(whole.out);
  });

  test("an older report stays without --replace", async () => {
    const words = [at("a.npy"), at("b.npy"), "--out", at("reports/old")];
    expect((await penfield(words)).code).toBe(0);
    const again = await penfield(words);
    expect(again.code).toBe(1);
    expect(again.err).toMatch(/^Code: ERR_FILE$/m);
    expect((await penfield([...words, "--replace"])).code).toBe(0);
  });

  test("interrupted: an error, no report, nothing half-written", async () => {
    const out = at("reports/never");
    const stopped = await penfield([at("a.npy"), at("b.npy"), "--out", out], AbortSignal.abort());
    expect(stopped.code).toBe(1);
    expect(stopped.err).toMatch(/^Code: ERR_INTERRUPTED$/m);
    expect(existsSync(out)).toBe(false);
    expect((await readdir(at("reports"))).filter((name) => name.includes("partial"))).toEqual([]);
  });
});

describe("two models", { timeout: 60_000 }, () => {
  test("layers with layers, a floor below, resumable, as a report", async () => {
    const table = ["id\tcondition\ttext"];
    for (let i = 0; i < 24; i++) {
      table.push(`s${i}\t${i % 2 ? "odd" : "even"}\tThe ${i} boys saw a tree near house ${i * i}.`);
    }
    await mkdir(at("stimuli"), { recursive: true });
    await writeFile(at("stimuli/stimuli.tsv"), `${table.join("\n")}\n`);
    const words = [
      ...["--models", "organism-a", "organism-b", "--stimuli", at("stimuli/stimuli.tsv")],
      ...["--max-tokens", "8"],
    ];
    const out = at("reports/layers");
    const result = await json([...words, "--out", out]);
    const [{ values, floor, measure }] = result.matrices;
    expect(measure).toBe("linear-cka");
    expect([values.length, values[0].length]).toEqual([6, 6]);
    const mean = (m: number[][]): number => m.flat().reduce((sum, v) => sum + v, 0) / 36;
    expect(mean(values)).toBeGreaterThan(mean(floor));
    expect(values.flat().every((v: number) => v > 0 && v <= 1)).toBe(true);
    // 24 stimuli are fewer than the units: said once, not 36 times.
    expect(result.warnings).toHaveLength(1);
    expect(result.warnings[0]).toMatch(/^linear-cka: 24 stimuli are fewer than the \d+ it needs/);
    const report = await readReport(out);
    expect([report.model?.name, report.comparedWith?.[0]?.name]).toEqual([
      "organism-a",
      "organism-b",
    ]);
    expect(JSON.stringify(report)).not.toContain(root);

    // A model with itself: ones on the diagonal, the same both ways.
    const self = await json([
      ...["--models", "organism-a", "organism-a", "--stimuli", at("stimuli/stimuli.tsv")],
      ...["--condition", "odd", "--pooling", "last", "--units", "heads"],
    ]);
    expect(self.stimuli.nItems).toBe(12);
    const [{ values: own }] = self.matrices;
    for (let i = 0; i < 6; i++) expect(own[i][i]).toBeCloseTo(1, 6);
    expect(own[1][4]).toBe(own[4][1]);
  });

  test("interrupted after reading, it goes on with what was read, to the same result", async () => {
    const words = [
      ...["--models", "organism-a", "organism-a", "--stimuli", at("stimuli/stimuli.tsv")],
      ...["--threads", "1", "--json"],
    ];
    const whole = await penfield(words);
    const stop = new AbortController();
    let out = "";
    const code = await runCommandLine(["compare", ...words], {
      out: { write: (text) => (out += text) },
      err: {
        write: (text) => {
          if (text.startsWith("comparing")) stop.abort();
        },
      },
      signal: stop.signal,
    });
    expect([code, out]).toEqual([1, ""]);
    const kept = async () =>
      (await readdir(at("cache/work"), { recursive: true })).filter((name) => /npy$/.test(name));
    expect(await kept()).toHaveLength(1);
    const resumed = await penfield([...words, "--resume"]);
    expect([resumed.code, resumed.out]).toEqual([0, whole.out]);
    expect(await kept()).toEqual([]);
  });

  test.each<[string, string[], 1 | 2, RegExp]>([
    ["one model", ["organism-a"], 2, /expected two models, got organism-a/],
    [
      "a stochastic measure",
      ["organism-a", "organism-b", "--metric", "gaussian-shape"],
      2,
      /expected a measure of two representations, got gaussian-shape/,
    ],
    [
      "an unknown condition",
      ["organism-a", "organism-b", "--condition", "zzz"],
      1,
      /expected at least 3 stimuli, got 0 of condition "zzz"/,
    ],
    ["no such stimuli", ["organism-a", "organism-b", "--stimuli", "./no"], 1, /no such file/],
    ["no such model", ["/no/model", "organism-b"], 1, /expected a model, got/],
  ])("%s", async (_, words, exit, message) => {
    const { code, err, out } = await penfield(["--models", ...words]);
    expect(err).toMatch(message);
    expect([code, out]).toEqual([exit, ""]);
  });
});

describe("bad input", () => {
  test.each<[string, string[], 1 | 2, string, RegExp]>([
    [
      "other stimuli",
      ["a.npy", "short.npy"],
      1,
      "ERR_SHAPE",
      /same stimuli.*got 30 in a\.npy and 28/,
    ],
    ["NaN", ["a.npy", "nan.npy"], 1, "ERR_DATA", /1 of 120 that are NaN.*first at \[2, 1\]/],
    ["two stimuli", ["tiny.npy", "tiny.npy"], 1, "ERR_DATA", /at least 3 stimuli, got 2/],
    ["one axis", ["a.npy", "line.npy"], 1, "ERR_SHAPE", /line\.npy: expected .*got \[120\]/],
    ["nothing in it", ["a.npy", "empty.npy"], 1, "ERR_DATA", /expected values, got \[0, 4\]/],
    ["no array", ["a.npy", "text.npy"], 1, "ERR_FORMAT", /expected a \.npy file/],
    ["text", ["a.npy", "note.txt"], 1, "ERR_FORMAT", /one of \.npy, \.npz, \.mat, \.safetensors/],
    ["no such text", ["a.npy", "no.txt"], 1, "ERR_FILE", /no such file or folder/],
    ["several arrays", ["a.npy", "two.npz"], 1, "ERR_FORMAT", /expected one array, got 2/],
    ["no such array", ["a.npy", "two.npz:z"], 1, "ERR_FORMAT", /expected one array, got "z"/],
    ["no such file", ["a.npy", "no.npy"], 1, "ERR_FILE", /no such file/],
    ["one file", ["a.npy"], 2, "ERR_USAGE", /expected at least two files/],
    [
      "one trial",
      ["one-trial.npy", "t1.npy", "--metric", "energy-shape"],
      1,
      "ERR_DATA",
      /energy-shape: expected .*at least 2 trials, got 1 trial in one-trial\.npy/,
    ],
    [
      "no trials",
      ["a.npy", "b.npy", "--metric", "gaussian-shape"],
      1,
      "ERR_DATA",
      /at least 2 trials, got \[30, 4\]/,
    ],
    ["unknown measure", ["a.npy", "b.npy", "--metric", "cka"], 2, "ERR_USAGE", /got "cka"/],
    ["an RDM's name", ["a.npy", "b.npy", "--metric", "crossnobis"], 2, "ERR_USAGE", /makes an RDM/],
    ["both", ["a.npy", "b.npy", "--all", "--metric", "shape"], 2, "ERR_USAGE", /got both/],
    ["models' options", ["a.npy", "b.npy", "--units", "mlp"], 2, "ERR_USAGE", /only with --models/],
    ["shuffles", ["a.npy", "b.npy", "--shuffles", "-1"], 2, "ERR_USAGE", /--shuffles/],
    ["replace alone", ["a.npy", "b.npy", "--replace"], 2, "ERR_USAGE", /--out DIR beside it/],
    ["list with files", ["--list", "a.npy"], 2, "ERR_USAGE", /--list alone/],
  ])("%s", async (_, words, exit, code, message) => {
    const paths = words.map((word) => (/\.\w+(:\w)?$/.test(word) ? at(word) : word));
    const ran = await penfield(paths);
    expect(ran.err).toMatch(message);
    expect(ran.err).toMatch(new RegExp(`^Code: ${code}$`, "m"));
    expect([ran.code, ran.out]).toEqual([exit, ""]);
  });
});

test("--list names every measure of the registry with what it claims", async () => {
  const { out } = await penfield(["--list"]);
  for (const { name, minSampleRule, cost } of measures) {
    expect(out).toContain(`\n  ${name}\n`);
    expect(out).toContain(minSampleRule);
    expect(out).toContain(cost);
  }
  const listed = JSON.parse((await penfield(["--list", "--json"])).out);
  expect(listed).toHaveLength(measures.length);
  expect(listed[0]).toMatchObject({ name: measures[0]!.name, kind: "rdm", metric: false });
});

test("the help names every option", () => {
  for (const name of Object.keys(compareOptions))
    expect(helpOf("compare"), name).toContain(`--${name}`);
});
