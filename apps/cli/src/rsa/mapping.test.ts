import { existsSync, readdirSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRng, readNpy, writeNpy } from "@penfield/core";
import { readReport, readReportArray } from "@penfield/report";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { penfield as run } from "../testRun.ts";

const N = 12;
const TIMES = 8;
const SIDE = 5;
const VOXELS = SIDE ** 3;
const CHANNELS = 20;

let root: string;
const at = (name: string): string => join(root, name);

const penfield = (words: readonly string[], signal?: AbortSignal) => run(["rsa", ...words], signal);
const json = async (words: readonly string[]) => {
  const { code, out, err } = await penfield([...words, "--threads", "1", "--json"]);
  expect([code, err.includes("Error")], err).toEqual([0, false]);
  return JSON.parse(out);
};

/** The first half of the conditions is of one kind: in the middle of the time, and in one corner of the volume. */
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "penfield-rsa-map-"));
  process.env["PENFIELD_CACHE"] = at("cache");
  const rng = createRng(9);
  for (const folder of ["movies", "volumes", "runs", "residuals"]) await mkdir(at(folder));
  const kinds = Array.from({ length: 2 * VOXELS }, () => rng.normal());
  const signal = (i: number, channel: number) => kinds[(i < N / 2 ? 0 : VOXELS) + channel]!;
  for (let s = 1; s <= 4; s++) {
    const movie = Float64Array.from({ length: N * CHANNELS * TIMES }, (_, k) => {
      const [i, channel, t] = [
        Math.floor(k / (CHANNELS * TIMES)),
        Math.floor(k / TIMES) % CHANNELS,
        k % TIMES,
      ];
      return (t >= 3 && t <= 5 ? signal(i, channel) : 0) + rng.normal();
    });
    await writeFile(at(`movies/sub-${s}.npy`), writeNpy(movie, [N, CHANNELS, TIMES]));
    const volume = Float64Array.from({ length: N * VOXELS }, (_, k) => {
      const [i, voxel] = [Math.floor(k / VOXELS), k % VOXELS];
      const place = [Math.floor(voxel / SIDE ** 2), Math.floor(voxel / SIDE) % SIDE, voxel % SIDE];
      return (place.every((v) => v < 2) ? 2 * signal(i, voxel) : 0) + rng.normal();
    });
    await writeFile(at(`volumes/sub-${s}.npy`), writeNpy(volume, [N, VOXELS]));
    const runs = Float64Array.from({ length: 4 * N * CHANNELS }, (_, k) => {
      const [i, channel] = [Math.floor(k / CHANNELS) % N, k % CHANNELS];
      return signal(i, channel) + (1 + (channel % 3)) * rng.normal();
    });
    await writeFile(at(`runs/sub-${s}.npy`), writeNpy(runs, [4, N, CHANNELS]));
    const residuals = Float64Array.from({ length: 60 * CHANNELS }, (_, k) => {
      return (1 + ((k % CHANNELS) % 3)) * rng.normal();
    });
    await writeFile(at(`residuals/sub-${s}.npy`), writeNpy(residuals, [60, CHANNELS]));
  }
  const model = (groupOf: (i: number) => number) =>
    writeNpy(
      Float64Array.from({ length: N * N }, (_, k) =>
        groupOf(Math.floor(k / N)) === groupOf(k % N) ? 0 : 1,
      ),
      [N, N],
    );
  await mkdir(at("models"));
  await writeFile(
    at("models/half.npy"),
    model((i) => +(i < N / 2)),
  );
  await writeFile(
    at("models/odd.npy"),
    model((i) => i % 2),
  );
  await writeFile(
    at("times.npy"),
    writeNpy(
      Float64Array.from({ length: TIMES }, (_, t) => t / 10),
      [TIMES],
    ),
  );
  const places = Float64Array.from({ length: 3 * VOXELS }, (_, k) => {
    const voxel = Math.floor(k / 3);
    return [Math.floor(voxel / SIDE ** 2), Math.floor(voxel / SIDE) % SIDE, voxel % SIDE][k % 3]!;
  });
  await writeFile(at("voxels.npy"), writeNpy(places, [VOXELS, 3]));
  await writeFile(
    at("millimetres.npy"),
    writeNpy(
      places.map((v) => v - 40),
      [VOXELS, 3],
    ),
  );
  await writeFile(at("mask.npy"), writeNpy(new Float64Array(VOXELS).fill(1), [SIDE, SIDE, SIDE]));
});
afterAll(async () => {
  delete process.env["PENFIELD_CACHE"];
  await rm(root, { recursive: true, force: true });
});

const models = () => ["--models", at("models")];

describe("--movie", () => {
  test("the model scores while the signal is there, and its report is drawn over time", async () => {
    const out = at("movie-report");
    const words = [at("movies"), ...models(), "--movie", "--times", at("times.npy"), "--out", out];
    const { places, models: found, ceiling } = await json(words);
    expect(places).toEqual(["0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7"]);
    const [half, odd] = found;
    expect([half.name, odd.name]).toEqual(["half", "odd"]);
    half.score.forEach((score: number, t: number) => {
      if (t >= 3 && t <= 5) expect(score).toBeGreaterThan(0.5);
      else expect(Math.abs(score)).toBeLessThan(0.3);
    });
    expect(Math.max(...half.q.slice(3, 6))).toBeLessThan(0.05);
    expect(ceiling.lower[4]).toBeGreaterThan(ceiling.lower[0]);
    const report = await readReport(out);
    expect(report.sections.map(({ kind }) => kind)).toEqual(["timecourses"]);
    const { shape } = await readReportArray(out, report, "movie.npy");
    expect(shape).toEqual([4, TIMES]);
    expect(report.settings["linalg"]).toMatch(/decompositions built-in/);
  });

  test("a time at which nothing varies is undefined, the others are as without it", async () => {
    const { data } = readNpy(await readFile(at("movies/sub-1.npy")));
    const silent = Float64Array.from({ length: data.length }, (_, k) =>
      k % TIMES === 2 ? 0 : Number(data[k]),
    );
    const shape = [N, CHANNELS, TIMES];
    await writeFile(at("silent.npy"), writeNpy(silent, shape));
    const words = [at("movies/sub-2.npy"), at("movies/sub-3.npy"), ...models(), "--movie"];
    const [whole, holed] = [
      await json([at("movies/sub-1.npy"), ...words]),
      await json([at("silent.npy"), ...words]),
    ];
    for (const m of [0, 1]) {
      expect(holed.models[m].score).toEqual(whole.models[m].score.with(2, null));
      expect(holed.models[m].p).toEqual(whole.models[m].p.with(2, null));
    }
    expect(holed.ceiling.lower[2]).toBeNull();
  });

  test("bins, and a table for people", async () => {
    const { code, out } = await penfield([at("movies"), ...models(), "--movie", "--bins", "2"]);
    expect(code).toBe(0);
    expect(out).toMatch(/4 files, 2 models, 2 places/);
    expect(out).toMatch(/^half {2,}5\.5|^half {2,}1\.5/m);
  });
});

describe("--searchlight", () => {
  test("voxels and a mask give the same; the corner is found", async () => {
    const words = [at("volumes"), ...models(), "--comparison", "tau-a"];
    const out = at("light-report");
    const found = await json([...words, "--searchlight", at("voxels.npy"), "--out", out]);
    expect(found.places).toHaveLength(VOXELS);
    const [half] = found.models;
    const best = half.score.indexOf(Math.max(...half.score));
    const place = found.places[best].split(" ").map(Number);
    expect(Math.max(...place)).toBeLessThanOrEqual(2);
    const byMask = await json([...words, "--searchlight", at("mask.npy")]);
    expect(byMask.models).toEqual(found.models);
    const report = await readReport(out);
    expect(report.sections[0]).toMatchObject({ kind: "brain-map", shape: [5, 5, 5] });
    const { data } = await readReportArray(out, report, "voxels.npy");
    // The second channel is at z = 1; NIfTI counts x first.
    expect(data[1]).toBe(SIDE * SIDE);
  });

  test("a surface, by rings; crossnobis with noise", async () => {
    // A strip of vertices, each joined with the next.
    const edges = Float64Array.from({ length: 2 * (CHANNELS - 1) }, (_, k) => (k >> 1) + (k % 2));
    await writeFile(at("edges.npy"), writeNpy(edges, [CHANNELS - 1, 2]));
    const out = at("surface-report");
    const { places, models: scored } = await json([
      ...[at("runs"), ...models(), "--searchlight", at("edges.npy"), "--rings", "2"],
      ...["--rdm", "crossnobis", "--noise", "diagonal", "--out", out],
    ]);
    expect(places).toHaveLength(CHANNELS);
    expect(Math.max(...scored[0].score)).toBeGreaterThan(0.3);
    expect((await readReport(out)).sections[0]).toMatchObject({ kind: "matrix" });
  });

  test("an interrupted one goes on with --resume, to the same result", async () => {
    const words = [
      at("volumes"),
      ...models(),
      "--searchlight",
      at("voxels.npy"),
      "--radius",
      "1.5",
    ];
    // As soon as a first part is kept, of two.
    const kept = (): readonly string[] =>
      existsSync(at("cache/work"))
        ? readdirSync(at("cache/work"), { recursive: true, encoding: "utf8" }).filter((name) =>
            name.endsWith(".json"),
          )
        : [];
    const stopping = new Proxy(new AbortController().signal, {
      get: (signal, name) => (name === "aborted" ? kept().length > 0 : Reflect.get(signal, name)),
    });
    const { code, err } = await penfield(words, stopping);
    expect([code, kept().length]).toEqual([1, 1]);
    expect(err).toMatch(/--resume/);
    const resumed = await json([...words, "--resume"]);
    expect(kept()).toEqual([]);
    expect(await json(words)).toEqual(resumed);
  });
});

describe("--noise and --combine", () => {
  test("noise from runs and from residuals down-weights noisy channels alike", async () => {
    const words = [at("runs"), ...models(), "--rdm", "crossnobis", "--over", "none"];
    const score = async (more: readonly string[]) =>
      (await json([...words, ...more])).comparison.models[0].score.value as number;
    const plain = await score([]);
    const byRuns = await score(["--noise", "shrinkage-diagonal"]);
    const byResiduals = await score([...["--noise", "diagonal", "--residuals", at("residuals")]]);
    expect(byRuns).not.toBe(plain);
    expect(Math.abs(byRuns - byResiduals)).toBeLessThan(0.1);
  });

  test("combined models are judged on folds that they were not fitted to, beside the single ones", async () => {
    const words = [at("runs"), ...models(), "--combine", "select,weighted,interpolate"];
    const { comparison, warnings } = await json([...words, "--over", "none"]);
    expect(comparison.models.map(({ title }: { title: string }) => title)).toEqual([
      "half",
      "odd",
      "the best of them",
      "weighted sum of them",
      "point between two neighbours",
    ]);
    expect(comparison.design).toMatch(/Cross-validated over \d+ folds/);
    const values = comparison.models.map(({ score }: { score: { value: number } }) => score.value);
    // The best of them is the first, in every fold.
    expect(values[2]).toBeCloseTo(values[0], 12);
    expect(warnings.join("\n")).toMatch(/weighted sum of them, fitted to all data .*: half \d/);
    const drawn = await json([...words, "--over", "subjects", "--draws", "20"]);
    expect(drawn.comparison.models[3].score.interval).not.toBeNull();
  });
});

test.each<[string, string[], 1 | 2, RegExp]>([
  ["both", ["movies", "--movie", "--searchlight", "x"], 2, /--movie or --searchlight, got both/],
  ["no models", ["movies", "--movie"], 2, /--movie: expected --models/],
  ["rings of a movie", ["movies", "--models", "models", "--movie", "--rings", "1"], 2, /--rings/],
  ["times alone", ["runs", "--times", "times.npy"], 2, /--times: expected --movie/],
  [
    "millimetres",
    ["volumes", "--models", "models", "--searchlight", "millimetres.npy"],
    1,
    /expected voxels as whole numbers/,
  ],
  [
    "other channels",
    ["runs", "--models", "models", "--searchlight", "voxels.npy"],
    1,
    /expected 20 voxels, one for each channel, got 125/,
  ],
  [
    "no such file",
    ["volumes", "--models", "models", "--searchlight", "none.npy"],
    1,
    /there is no such file or folder/,
  ],
  ["noise without need", ["runs", "--noise", "full"], 2, /--noise: expected --rdm mahalanobis/],
  ["residuals alone", ["runs", "--residuals", "residuals"], 2, /--residuals: expected --noise/],
  ["an unknown kind", ["runs", "--models", "models", "--combine", "all"], 2, /--combine: expected/],
])("%s", async (_, words, exit, message) => {
  const paths = words.map((word, i) =>
    /^--/.test(word) || ["all", "full", "1", "x"].includes(word) || i < 0 ? word : at(word),
  );
  const { code, err, out } = await penfield(paths);
  expect(err).toMatch(message);
  expect([code, out]).toEqual([exit, ""]);
});
