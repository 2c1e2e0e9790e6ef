import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createRng, writeNpy } from "@penfield/core";
import type { Descriptions, UnitDescription } from "@penfield/describe";
import { openCensus } from "@penfield/localize";
import { spikingOrganismFolder } from "@penfield/organisms";
import { openSpikingModel } from "@penfield/probes";
import { openActivations } from "@penfield/store";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { penfield } from "./testRun.ts";

/** Its units are known: probes/spiking-lesions/planted/make_units.py. */
const NETWORK = fileURLToPath(
  new URL("../../../probes/spiking-lesions/planted/units.nir", import.meta.url),
);
const [N_TRIALS, N_BINS, BIN, N_CHANNELS] = [160, 20, 3, 6];

/** Pulses of A and B in the first step of a bin, a cue in one bin, and an unnamed channel at random. */
function trials(): Float32Array {
  const rng = createRng(11);
  const data = new Float32Array(N_TRIALS * N_BINS * BIN * N_CHANNELS);
  for (let trial = 0; trial < N_TRIALS; trial++) {
    const cue = rng.below(N_BINS);
    for (let bin = 0; bin < N_BINS; bin++) {
      const step = (trial * N_BINS + bin) * BIN * N_CHANNELS;
      if (rng.uniform() < 0.3) data[step + rng.below(2)] = 1;
      if (rng.uniform() < 0.3) data[step + 2 + rng.below(2)] = 1;
      if (bin === cue) data[step + 4] = 1;
      for (let t = 0; t < BIN; t++) data[step + t * N_CHANNELS + 5] = Number(rng.uniform() < 0.1);
    }
  }
  return data;
}

let root: string;
const at = (name: string): string => join(root, name);
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "penfield-spiking-units-"));
  const shape = [N_TRIALS, N_BINS * BIN, N_CHANNELS];
  await writeFile(at("trials.npy"), writeNpy(trials(), shape));
});
afterAll(() => rm(root, { recursive: true, force: true }));

describe("the units of a spiking network whose answers are known", () => {
  let found: Descriptions;
  const OPTIONS = ["--dt", "1", "--bin", String(BIN), "--channels", "a,a,b,b,cue,-"];
  const of = (index: number): UnitDescription => found.units[index]!;

  beforeAll(async () => {
    const census = ["census", "--model", NETWORK, "--recordings", at("trials.npy"), ...OPTIONS];
    const own = await penfield([...census, "--out", at("own"), "--json"]);
    expect(own.code, own.err).toBe(0);
    expect(JSON.parse(own.out)).toMatchObject({ nUnits: 9, nDocuments: N_TRIALS });
    const floor = await penfield([...census, "--out", at("floor"), "--untrained"]);
    expect(floor.code, floor.err).toBe(0);
    const said = await penfield(["describe", at("own"), "--random-model", at("floor"), "--json"]);
    expect(said.code, said.err).toBe(0);
    found = JSON.parse(said.out) as Descriptions;
  });

  test("those that are driven by a part of the input are named after it", () => {
    const on = (offset: number, ...words: string[]) => ({ type: "word", offset, words });
    expect([0, 1, 2, 8].map((unit) => of(unit).rule)).toEqual([
      on(0, "#a", "#a+#b", "#a+#cue", "#a+#b+#cue"),
      on(0, "#b", "#a+#b", "#b+#cue", "#a+#b+#cue"),
      on(0, "#a+#b", "#a+#b+#cue"),
      on(0, "#cue", "#a+#cue", "#b+#cue", "#a+#b+#cue"),
    ]);
    for (const unit of [0, 1, 2, 8]) expect(of(unit).r).toBe(1);
  });

  test("so are those that answer to what was there before, and to order", () => {
    expect(of(4).sentence).toBe("active right after '#a', '#a+#b', '#a+#cue' or '#a+#b+#cue'");
    expect(of(5).sentence).toMatch(/^active at the end of '#a #a'/);
    expect(of(5).r).toBeGreaterThan(0.9);
  });

  test("and one that answers to time, whatever comes in", () => {
    expect(of(3).rule).toEqual({ type: "position", from: 7, to: 20 });
    expect(of(3).sentence).toBe("active in time bins 8 to 20 of a recording");
  });

  test("a silent one is dead, and one that follows what has no name gets no description", async () => {
    expect(of(7).refusal).toMatch(/^dead/);
    expect(of(6).refusal).toBe("held-out correlation below the limit");
    const census = await openCensus(at("own"));
    const lines = (await readFile(join(at("own"), "classes.jsonl"), "utf8")).trim().split("\n");
    const types = lines.map((line) => JSON.parse(line).types as string[]);
    expect(types.flatMap((own, unit) => (own.includes("dead") ? [unit] : []))).toEqual([7]);
    expect(types.flatMap((own, unit) => (own.includes("positional") ? [unit] : []))).toEqual([3]);
    expect(types[0]).toContain("token-detector");
    expect(types[4]).toContain("previous-token-detector");
    expect(types[6]).toEqual([]);
    expect(census.tokenKind).toBe("symbols");
    const kinds = lines.flatMap((line) =>
      (JSON.parse(line).families as { kind: string }[]).map(({ kind }) => kind),
    );
    expect(new Set(kinds)).toEqual(new Set(["unigram"]));
    await census.close();
  });

  test("no rule asks for endings, capitals, parts of speech or WordNet", () => {
    const rules = JSON.stringify(found.units.map(({ rule }) => rule ?? null));
    expect(rules).not.toMatch(/"type":"(family|partOfSpeech|lexicographer|hypernym)"/);
  });

  test("shuffled values reach nothing; shuffled weights do, as they relay the input too", () => {
    const { shuffled, randomModel } = found.floors;
    expect(Math.max(...shuffled.r)).toBeLessThan(0.1);
    expect(randomModel?.nUnits).toBe(9);
    expect(randomModel!.shareDescribed).toBeGreaterThan(0);
  });
});

test("capture writes what the network does, step by step", async () => {
  const place = ["--model", NETWORK, "--recordings", at("trials.npy"), "--dt", "1"];
  const words = ["capture", ...place, "--hooks", "lif.*", "--out", at("store")];
  const { code, out, err } = await penfield([...words]);
  expect(code, err).toBe(0);
  expect(out).toMatch(/^160 recordings, 9600 steps, 9600 rows at 4 hook points/);
  const store = await openActivations(at("store"));
  const { model } = await openSpikingModel(NETWORK, { dt: 1 });
  const input = { data: trials(), shape: [N_TRIALS, N_BINS * BIN, N_CHANNELS] };
  const { cache } = await model.run({ input, capture: ["lif.spikes", "lif.v"] });
  for (const [hook, { data }] of cache) {
    expect(Array.from((await store.read(hook)).data)).toEqual(Array.from(Float32Array.from(data)));
  }
  const shown = await penfield(["capture", "--inspect", at("store")]);
  expect(shown.out).toMatch(/lif.spikes {2}\[unit 9\]/);
  expect((await penfield([...words])).err).toMatch(/got a store of activations/);
  expect((await penfield([...words, "--resume"])).code).toBe(0);
});

describe("hooks of a spiking network", () => {
  test("are listed without its dt, which they do not depend on", async () => {
    const plain = await penfield(["hooks", "--model", NETWORK, "--pattern", "lif.*"]);
    expect(plain.code, plain.err).toBe(0);
    const state = "[row, step, unit]  9 units  readable, writable, verified";
    expect(plain.out.split("\n")).toEqual([
      `${NETWORK}: 6 nodes, dt not said`,
      "",
      ...["i", "vPre", "v", "spikes"].map((place) => `lif.${place}  ${state}`),
      "",
    ]);
    const names = async (...words: string[]) => {
      const { out, err } = await penfield(["hooks", "--model", NETWORK, ...words, "--json"]);
      const { model, hooks } = JSON.parse(out || err);
      return { dt: model.dt, names: hooks.map(({ name }: { name: string }) => name) };
    };
    const [unsaid, said] = [await names(), await names("--dt", "1")];
    expect([unsaid.dt, said.dt]).toEqual([null, 1]);
    expect(said.names).toEqual(unsaid.names);
    expect(said.names).toContain("now->lif");
  });

  test("of one that ships with Penfield, by name and as a folder", async () => {
    const found = await penfield(["hooks", "--model", "spiking-a", "--pattern", "*.spikes"]);
    expect(found.out).toMatch(/^spiking-a: 7 nodes, dt 0.005 s, channels left, right, now-left/);
    expect(found.out).toMatch(/\nrecurrent.spikes {2}\[row, step, unit\] {2}96 units/);
    const folder = spikingOrganismFolder("spiking-a");
    const json = await penfield(["hooks", "--model", folder, "--pattern", "*.spikes", "--json"]);
    expect(JSON.parse(json.out)).toMatchObject({
      model: { dt: 0.005, channels: { length: 6 } },
      hooks: [{ name: "recurrent.spikes", nUnits: 96 }],
    });
  });

  test.each<[RegExp, readonly string[], number]>([
    [/expected a spiking network with --dt/, ["--model", "organism-a", "--dt", "1"], 2],
    [/expected --file of a transformer/, ["--model", NETWORK, "--file", "model"], 2],
    [/expected a preset of spec/, ["--model", NETWORK, "--preset", "brian"], 1],
    [/no such file/, ["--model", "nothing.nir"], 1],
  ])("or an error: %s", async (message, words, exit) => {
    const { code, out, err } = await penfield(["hooks", ...words]);
    expect(err).toMatch(message);
    expect([code, out]).toEqual([exit, ""]);
  });
});

const STEP = fileURLToPath(
  new URL("../../../../shared/data/spiking/onnx/snntorch_step_20-50-10.onnx", import.meta.url),
);
describe.skipIf(!existsSync(STEP))(
  "an ONNX graph of one time step (needs ../shared/data/spiking/onnx)",
  () => {
    const [nTrials, nSteps, nChannels] = [12, 8, 20];
    beforeAll(async () => {
      const rng = createRng(5);
      const size = nTrials * nSteps * nChannels;
      const data = Float32Array.from({ length: size }, () => Number(rng.uniform() < 0.3));
      await writeFile(at("step.npy"), writeNpy(data, [nTrials, nSteps, nChannels]));
    });
    const on = (verb: string, ...more: string[]) =>
      penfield([verb, "--model", STEP, "--recordings", at("step.npy"), ...more]);

    test("has hooks, a census and a capture as a NIR file has", async () => {
      const hooks = await penfield(["hooks", "--model", STEP, "--pattern", "*.spikes"]);
      expect(hooks.code, hooks.err).toBe(0);
      expect(hooks.out).toMatch(/: one time step with 2 states, dt not said\n\nmem1.spikes {2}/);
      const census = await on("census", "--bin", "2", "--out", at("step-census"));
      expect(census.code, census.err).toBe(0);
      expect(census.out).toMatch(/^60 units over 48 time bins of 12 recordings/);
      const capture = await on("capture", "--hooks", "*.v", "--out", at("step-store"));
      expect(capture.code, capture.err).toBe(0);
      expect(capture.out).toMatch(/^12 recordings, 96 steps, 96 rows at 2 hook points/);
    });

    test.each([["--dt", "1"], ["--preset", "norse"], ["--untrained"]])(
      "has no %s",
      async (...option) => {
        const { code, err } = await on("census", ...option, "--out", at("no"));
        expect(err).toContain(`expected no ${option[0]!.slice(2)} for a graph of one time step`);
        expect(code).toBe(1);
      },
    );
  },
);

describe("a census of a spiking network", () => {
  test("reads folders of recordings of any length, with their names", async () => {
    await mkdir(at("folder"));
    for (const [name, nSteps] of [
      ["first", 9],
      ["second", 6],
    ] as const) {
      const data = new Float32Array(nSteps * N_CHANNELS);
      data[0] = 1;
      await writeFile(join(at("folder"), `${name}.npy`), writeNpy(data, [nSteps, N_CHANNELS]));
    }
    const words = ["--recordings", at("folder"), "--dt", "1", "--bin", "3", "--hooks", "lif.v"];
    const taken = await penfield(["census", "--model", NETWORK, ...words, "--out", at("v")]);
    expect(taken.code, taken.err).toBe(0);
    expect(taken.out).toMatch(/^9 units over 5 time bins of 2 recordings/);
    const census = await openCensus(at("v"));
    expect(await census.documentIds()).toEqual(["first", "second"]);
    expect(census.meta.hooks.map(({ name }) => name)).toEqual(["lif.v"]);
    await census.close();
  });

  test("of a network that ships with Penfield needs no recordings", async () => {
    const words = ["--model", "spiking-a", "--bin", "20", "--out", at("organism"), "--json"];
    const { code, out, err } = await penfield(["census", ...words]);
    expect(code, err).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ nUnits: 96, nDocuments: 400, nTokens: 2400 });
  });

  test.each<[string, readonly string[], RegExp, number]>([
    ["no dt", ["--recordings", "trials.npy"], /expected dt, the seconds of a step, above 0/, 1],
    ["no recordings", ["--dt", "1"], /expected --recordings FILE or FOLDER, got none/, 2],
    ["texts", ["--dt", "1", "--corpus", "x.txt"], /expected --recordings .* got --corpus/, 2],
    [
      "an unknown preset",
      ["--dt", "1", "--preset", "brian", "--recordings", "trials.npy"],
      /expected a preset of spec/,
      1,
    ],
    [
      "one recording in a file of many",
      ["--dt", "1", "--recordings", "one.npy"],
      /expected \[recording, step, channel\], got \[2, 6\]/,
      1,
    ],
    ["no file", ["--dt", "1", "--recordings", "none.npy"], /none.npy/, 1],
    [
      "channels of another network",
      ["--dt", "1", "--recordings", "other.npy"],
      /\[row, step, 6\], got \[1, 4, 3\]/,
      1,
    ],
    [
      "more names than channels",
      ["--dt", "1", "--recordings", "trials.npy", "--channels", "a,b,c,d,e,f,g"],
      /expected channels within 0..5, got 6/,
      1,
    ],
    [
      "a transformer",
      ["--dt", "1", "--model", "organism-a"],
      /expected a spiking network, got organism-a/,
      2,
    ],
  ])("%s: one clear error", async (_, words, message, exit) => {
    await writeFile(at("one.npy"), writeNpy(new Float32Array(12), [2, 6]));
    await writeFile(at("other.npy"), writeNpy(new Float32Array(12), [1, 4, 3]));
    const placed = words.map((word) => (word.endsWith(".npy") ? at(word) : word));
    const { code, out, err } = await penfield([
      "census",
      "--model",
      NETWORK,
      ...placed,
      "--out",
      at("no"),
    ]);
    expect(err).toMatch(message);
    expect([code, out]).toEqual([exit, ""]);
  });

  test("has nothing that --model of describe could add", async () => {
    const { code, err } = await penfield(["describe", at("own"), "--model", "spiking-a"]);
    expect(err).toMatch(/expected a transformer with --model, got spiking-a/);
    expect(code).toBe(2);
  });
});
