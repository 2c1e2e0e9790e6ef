import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRng, writeNpy } from "@penfield/core";
import { encodeNifti, readNifti } from "@penfield/recordings";
import { readReport, readReportArray, type ScoreMapSection } from "@penfield/report";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ceilingOptions } from "../ceiling.ts";
import { runCommandLine } from "../commandLine.ts";
import { helpOf } from "../help.ts";
import { penfield } from "../testRun.ts";
import { alignOptions } from "./settings.ts";

let root: string;
const at = (name: string): string => join(root, name);
const N = 60;
const P = 6;
const T = 8;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "penfield-align-"));
  process.env["PENFIELD_CACHE"] = at("cache");
  const rng = createRng(9);
  const normal = (n: number): Float64Array => Float64Array.from({ length: n }, () => rng.normal());
  const x = normal(N * P);
  const other = normal(N * P);
  await writeFile(at("true.npy"), writeNpy(x, [N, P]));
  await writeFile(at("other.npy"), writeNpy(other, [N, P]));
  // Two repeats of what `true` does; the targets of region B are noise.
  const brain = (noise: number): Float64Array => {
    const weights = normal(P * T);
    const y = new Float64Array(2 * N * T);
    for (let r = 0; r < 2; r++) {
      for (let i = 0; i < N; i++) {
        for (let t = 0; t < T; t++) {
          let v = noise * rng.normal();
          for (let u = 0; t < 4 && u < P; u++) v += x[i * P + u]! * weights[u * T + t]!;
          y[(r * N + i) * T + t] = v;
        }
      }
    }
    return y;
  };
  await writeFile(at("sub-01.npy"), writeNpy(brain(1), [2, N, T]));
  await writeFile(at("sub-02.npy"), writeNpy(brain(1), [2, N, T]));
  await writeFile(at("once.npy"), writeNpy(brain(1).slice(0, N * T), [N, T]));
  const words = ["the cat sat", "a dog ran away", "we saw rain", "no birds sing today here"];
  const lines = Array.from(
    { length: N },
    (_, i) => `s${String(i).padStart(2, "0")}\t${words[i % 4]} ${i}\tstory${Math.floor(i / 10)}\n`,
  );
  await writeFile(at("texts.tsv"), `id\ttext\tstory\n${lines.join("")}`);
  await writeFile(at("fewer.tsv"), `id\ttext\tstory\n${lines.slice(0, 50).join("")}`);
  const targets = Array.from({ length: T }, (_, t) => `t${t}\t${t < 4 ? "A" : "B"}\n`);
  await writeFile(at("targets.tsv"), `id\tregion\n${targets.join("")}`);
  // A scan of 12 stimuli, 8 s apart, in 2 x 2 x 2 voxels, TR 2 s.
  const nTimes = 12 * 4 + 8;
  const volume = new Float64Array(8 * nTimes);
  for (let v = 0; v < 8; v++) {
    for (let t = 0; t < nTimes; t++) {
      const event = Math.floor((t - 2) / 4);
      const on = event >= 0 && event < 12 && (t - 2) % 4 < 3;
      volume[t * 8 + v] = 100 + (on ? x[event * P + (v % P)]! : 0) + 0.05 * rng.normal();
    }
  }
  const affine = [3, 0, 0, -3, 0, 3, 0, -3, 0, 0, 3, 0, 0, 0, 0, 1];
  const image = encodeNifti(volume, { shape: [2, 2, 2, nTimes], affine, trSeconds: 2 });
  await writeFile(at("bold.nii.gz"), image);
  const events = Array.from({ length: 12 }, (_, i) => `${i * 8}\t2\ts${i}\n`);
  await writeFile(at("events.tsv"), `onset\tduration\ttrial_type\n${events.join("")}`);
  await writeFile(at("late.tsv"), `onset\tduration\ttrial_type\n900\t2\ts0\n`);
  await writeFile(at("twelve.npy"), writeNpy(x.slice(0, 12 * P), [12, P]));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const json = async (words: readonly string[]) => {
  const { code, out, err } = await penfield(["align", ...words, "--threads", "1", "--json"]);
  expect(code, err).toBe(0);
  return JSON.parse(out);
};
const FEATURES = () => ["--features", `${at("true.npy")},${at("other.npy")}`];
const FAST = ["--folds", "3"];

describe("penfield align", () => {
  test("help names every option", () => {
    for (const name of Object.keys(alignOptions)) {
      expect(helpOf("align"), name).toContain(`--${name}`);
    }
    for (const name of Object.keys(ceilingOptions)) {
      expect(helpOf("ceiling"), name).toContain(`--${name}`);
    }
  });

  test("planted truth: the right features predict the right region, up to its ceiling; floors and noise do not", async () => {
    const found = await json([
      ...FEATURES(),
      ...["--stimuli", at("texts.tsv"), "--groups", "story", "--targets", at("targets.tsv")],
      ...["--recordings", at("sub-01.npy"), "--recordings", at("sub-02.npy")],
      ...["--out", at("two-subjects"), ...FAST],
    ]);
    expect(found.featureSets).toEqual(["true", "other"]);
    expect(found.columns).toEqual(["A", "B"]);
    const [[trueA, trueB], [otherA, otherB]] = found.scores;
    expect(trueA).toBeGreaterThan(0.8);
    for (const none of [trueB, otherA, otherB]) expect(Math.abs(none)).toBeLessThan(0.3);
    expect(found.ceiling[0]).toBeGreaterThan(0.9);
    expect(found.normalized[0][0]).toBeGreaterThan(0.85);
    expect(Math.abs(found.floors[0].values[0])).toBeLessThan(0.4);
    expect(found.subjects.map(({ name }: { name: string }) => name)).toEqual(["sub-01", "sub-02"]);
    const report = await readReport(at("two-subjects"));
    const section = report.sections[0] as ScoreMapSection;
    expect(section).toMatchObject({
      folds: { n: 3, kind: "grouped" },
      subjects: { labels: ["sub-01", "sub-02"] },
    });
    const { data } = await readReportArray(at("two-subjects"), report, "scores.npy");
    expect(Array.from(data as Float64Array)).toEqual(found.scores.flat());
    expect(report.warnings.join(" ")).toContain("--identify");
  });

  test("a language model's layers, by the texts of the recording", async () => {
    const found = await json([
      ...["--model", "organism-a", "--stimuli", at("texts.tsv"), "--recordings", at("sub-01.npy")],
      ...FAST,
    ]);
    expect(found.featureSets).toEqual(["0", "1", "2", "3", "4", "5"]);
    expect(found.model.name).toBe("organism-a");
  });

  test("identification stands beside the scores, with its curves", async () => {
    const found = await json([
      ...FEATURES(),
      ...["--recordings", at("sub-01.npy"), "--stimuli", at("texts.tsv")],
      ...["--identify", "--simulations", "2", "--out", at("identified"), ...FAST],
    ]);
    const { identification } = found;
    expect(identification.candidates).toEqual(["true", "other"]);
    expect(identification.methods.map(({ name }: { name: string }) => name)).toEqual([
      "ridge",
      "linear-cka",
      "rsa-spearman",
    ]);
    expect(identification.methods[0].rate.value).toBe(1);
    expect(identification.noiseEstimated).toBe(true);
    expect(identification.curves.length).toBeGreaterThan(0);
    const { sections } = await readReport(at("identified"));
    expect(sections.map(({ kind }) => kind)).toEqual(["score-map", "identification"]);
  });

  test("a scan with its events: responses by regression, and a map in the scan's own space", async () => {
    const found = await json([
      ...["--features", at("twelve.npy"), "--recordings", at("bold.nii.gz")],
      ...["--events", at("events.tsv"), "--folds", "3", "--out", at("scan")],
    ]);
    expect(found.subjects[0]).toMatchObject({ nStimuli: 12, nTargets: 8 });
    const report = await readReport(at("scan"));
    expect(report.sections.map(({ kind }) => kind)).toEqual(["score-map", "brain-map"]);
    const written = await readNifti(await readFile(join(at("scan"), "maps/scores-r.nii.gz")));
    expect(written.shape).toEqual([2, 2, 2]);
    expect(written.affine[3]).toBe(-3);
  });

  test("is the same, byte for byte, when it goes on after an interruption", async () => {
    const words = [
      ...["align", ...FEATURES(), "--recordings", at("once.npy"), "--stimuli", at("texts.tsv")],
      ...["--identify", "--simulations", "3", "--threads", "1", ...FAST],
    ];
    const whole = await penfield([...words, "--out", at("whole")]);
    expect(whole.code).toBe(0);
    expect(whole.out).toContain("recorded once, so there is no ceiling");
    const controller = new AbortController();
    const stopped = await runCommandLine([...words, "--out", at("parts")], {
      out: { write: () => true },
      err: { write: (text) => text.startsWith("simulating") && controller.abort() },
      signal: controller.signal,
    });
    expect(stopped).toBe(1);
    const rest = await penfield([...words, "--resume", "--out", at("parts")]);
    expect(rest.code).toBe(0);
    const [a, b] = await Promise.all(
      ["whole", "parts"].map((name) => readFile(join(at(name), "report.json"), "utf8")),
    );
    expect(b!.replace('"id": "parts"', '"id": "whole"')).toBe(a);
  });

  test.each<[string, () => readonly string[], RegExp, number]>([
    ["no recording", () => FEATURES(), /expected a recording, got none/, 2],
    [
      "no features",
      () => ["--recordings", at("once.npy")],
      /--model or --features, got neither/,
      2,
    ],
    [
      "grouped without groups",
      () => [...FEATURES(), "--recordings", at("once.npy"), "--split", "grouped"],
      /expected --groups COLUMN/,
      2,
    ],
    [
      "an array without names",
      () => [...FEATURES(), "--recordings", at("once.npy")],
      /expected the stimuli's ids beside the array/,
      1,
    ],
    [
      "stimuli without a text",
      () => [
        ...["--model", "organism-a", "--stimuli", at("fewer.tsv")],
        ...["--recordings", at("bold.nii.gz"), "--events", at("events.tsv")],
      ],
      /expected the same ids on both sides, got .* recorded ones without a stimulus/,
      1,
    ],
    [
      "events past the end",
      () => [
        ...["--features", at("twelve.npy")],
        ...["--recordings", at("bold.nii.gz"), "--events", at("late.tsv")],
      ],
      /expected events within the 112\.0 s of bold\.nii\.gz, got 1 after its end/,
      1,
    ],
    [
      "no such file",
      () => [...FEATURES(), "--recordings", at("nowhere.npy"), "--stimuli", at("texts.tsv")],
      /there is no such file or folder/,
      1,
    ],
    [
      "features of other stimuli",
      () => [
        ...["--features", at("twelve.npy"), "--stimuli", at("texts.tsv")],
        ...["--recordings", at("once.npy")],
      ],
      /twelve: expected a row for each of 60 texts/,
      1,
    ],
    [
      "fewer stimuli than folds",
      () => [
        ...["--features", at("twelve.npy"), "--folds", "20"],
        ...["--recordings", at("bold.nii.gz"), "--events", at("events.tsv")],
      ],
      /expected at most 12 outer folds of 12 stimuli, got 20/,
      1,
    ],
  ])("%s: one clear error", async (_, words, message, exit) => {
    const { code, out, err } = await penfield(["align", ...words()]);
    expect(err).toMatch(message);
    expect([code, out]).toEqual([exit, ""]);
  });
});

describe("penfield ceiling and recordings inspect", () => {
  test("a ceiling from repeats, and subjects from each other", async () => {
    const files = ["sub-01.npy", "sub-02.npy", "once.npy"].map(at);
    const { code, out, err } = await penfield([
      ...["ceiling", ...files, "--stimuli", at("texts.tsv"), "--between", "--folds", "3"],
      ...["--threads", "1", "--json"],
    ]);
    expect(code, err).toBe(0);
    const { recordings, between } = JSON.parse(out);
    expect(recordings[0]).toMatchObject({ nStimuli: N, nTargets: T, nRepeats: 2, problem: null });
    expect(recordings[2].reliability).toBeNull();
    expect(recordings[2].problem).toMatch(/one repeat of each stimulus, where two are needed/);
    expect(between.ceiling).toBeGreaterThan(0.2);
  });

  test("says what a file is", async () => {
    const image = await penfield(["recordings", "inspect", at("bold.nii.gz")]);
    expect(image.out).toMatch(/format: NIfTI-1\n {2}shape: 2, 2, 2, 56\n/);
    const array = await penfield(["recordings", "inspect", at("sub-01.npy"), "--json"]);
    expect(JSON.parse(array.out)).toMatchObject({
      format: ".npy",
      contents: [{ shape: [2, N, T] }],
    });
    const odd = await penfield(["recordings", "inspect", at("x.xyz")]);
    expect([odd.code, odd.err]).toEqual([1, expect.stringMatching(/expected an image/)]);
    expect((await penfield(["recordings"])).code).toBe(2);
  });
});
