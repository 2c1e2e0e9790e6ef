import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { HookedModel } from "@penfield/hooks";
import { organismFolder, organisms } from "@penfield/organisms";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { circuit } from "./circuits/circuit.ts";
import { copying } from "./circuits/copying.ts";
import { type Findings, show } from "./circuits/heads.ts";
import { induction, inductionOnWords, untrainedInduction } from "./circuits/induction.ts";
import { lens } from "./circuits/lens.ts";
import { names } from "./circuits/names.ts";
import { several, thenTemplate, whenTemplate } from "./circuits/prompts.ts";
import { sums } from "./circuits/sums.ts";

// The figures of docs/results/circuits.md: `npm run test:real -- circuits`. Tables and numbers go to reports/circuits.

const reports = fileURLToPath(new URL("../../reports/circuits", import.meta.url));
const N_SETS = 20;
const N_TEST = 64;

async function keep(model: string, experiment: string, found: Findings): Promise<void> {
  await mkdir(reports, { recursive: true });
  const text = `# ${model}: ${experiment}\n\n${found.lines.join("\n")}\n`;
  console.log(text);
  await writeFile(join(reports, `${model}-${experiment}.md`), text);
  await writeFile(
    join(reports, `${model}-${experiment}.json`),
    `${JSON.stringify(found.numbers, undefined, 1)}\n`,
  );
}

/** Every document of these models' training began with it; SmolLM2's own start token belongs to chats. */
const startOf = (model: HookedModel): number =>
  model.requireTokenizer().encode("<|endoftext|>")[0]!;

describe.each(organisms)("%s", (name) => {
  let model: HookedModel;
  let bosToken: number;
  beforeAll(async () => {
    model = await HookedModel.fromPretrained(organismFolder(name), { verify: "none" });
    bosToken = startOf(model);
  });
  afterAll(() => model?.dispose());

  test("induction: no head does it on random tokens", async () => {
    const found = await induction(model, { k: 3, nSequences: 10, nSets: N_SETS, bosToken });
    const folder = organismFolder(name);
    const config = JSON.parse(await readFile(join(folder, "config.json"), "utf8"));
    const untrained = await untrainedInduction(join(folder, "onnx", "model.onnx"), {
      config,
      nSequences: 10,
      bosToken,
    });
    const common = await inductionOnWords(model, { nSequences: 10, bosToken });
    const lines = [
      ...found.lines,
      "",
      `Largest score with shuffled weights: ${untrained.toFixed(3)}`,
      `Common words said twice: largest score ${common.largest.toFixed(3)}; loss, first half ${show(common.first)}, second half ${show(common.second)}`,
    ];
    await keep(name, "induction", { lines, numbers: { ...found.numbers, untrained, common } });
    expect(found.numbers.found).toEqual([]);
    expect(untrained).toBeLessThan(0.05);
  });

  test("copying: three heads look at the letter to come, by its distance", async () => {
    const found = await copying(model, { n: N_TEST, nSets: N_SETS, bosToken, k: 3 });
    await keep(name, "copying", found);
    for (const { attention, content, distance } of found.numbers.top) {
      expect(attention).toBeGreaterThan(0.4);
      expect(content).toBeLessThan(0.2);
      expect(distance).toBeGreaterThan(0.35);
    }
    expect(found.numbers.average.own.low).toBeGreaterThan(found.numbers.average.random.max);
  });

  test("names: removing three heads costs what no three random heads do", async () => {
    const found = await names(model, {
      templates: thenTemplate,
      heldOut: true,
      bosToken,
      nSearch: 32,
      nTest: N_TEST,
      nSets: N_SETS,
      k: 3,
      nSweep: 32,
    });
    await keep(name, "names", found);
    const { behaviour, average } = found.numbers;
    expect(behaviour.clean.low).toBeGreaterThan(2);
    expect(behaviour.flipped.high).toBeLessThan(-2);
    expect(average.own.low).toBeGreaterThan(average.random.max);
  });

  test("a circuit of a few heads does names by itself", async () => {
    const found = await circuit(model, {
      templates: thenTemplate,
      transfer: whenTemplate,
      bosToken,
      nSearch: 32,
      nTest: N_TEST,
      nSets: N_SETS,
      threshold: 0.03,
    });
    await keep(name, "circuit", found);
    expect(found.numbers.own.normalized).toBeGreaterThan(0.8);
    expect(found.numbers.random.max).toBeLessThan(found.numbers.own.normalized);
  });

  test("sums: digits pass from their places to the end, and the last MLP completes them", async () => {
    const found = await sums(model, { n: 64, bosToken });
    await keep(name, "sums", found);
    expect(found.numbers.clean).toBeGreaterThan(0.5);
    expect(Math.max(...found.numbers.mlps.slice(1))).toBeGreaterThan(0.5);
  });
});

const cache = process.env["PENFIELD_CACHE"] ?? join(homedir(), ".cache", "penfield");
const folder = join(cache, "real-models", "smollm2-135m-instruct");
const made = existsSync(join(folder, "onnx", "model.onnx"));

describe.skipIf(!made)(
  `SmolLM2-135M-Instruct${made ? "" : " (skipped: run test/real-models/make_smollm2.py first)"}`,
  () => {
    let model: HookedModel;
    let bosToken: number;
    beforeAll(async () => {
      model = await HookedModel.fromPretrained(folder, { verify: "none" });
      bosToken = startOf(model);
    });
    afterAll(() => model?.dispose());

    let heads: Awaited<ReturnType<typeof induction>>["numbers"];

    test("induction heads are found, and without them repetition is lost", async () => {
      const found = await induction(model, { k: 10, nSequences: 10, nSets: N_SETS, bosToken });
      await keep("smollm2", "induction", found);
      heads = found.numbers;
      expect(heads.found.length).toBeGreaterThanOrEqual(5);
      expect(heads.zero.second.own.low).toBeGreaterThan(0);
      expect(heads.zero.second.own.low).toBeGreaterThan(heads.zero.second.matched.max);
      expect(heads.zero.first.high).toBeLessThan(1);
    });

    // Expected before anything was run, and not met: a random set that holds L0H5 costs more.
    // docs/results/circuits.md reports it as not seen.
    test.fails("expected, not seen: their removal costs more than that of every random set", () => {
      expect(heads.zero.second.own.low).toBeGreaterThan(heads.zero.second.random.max);
    });

    test("logit lens: layer 0 says the last token again, answers come late", async () => {
      const found = await lens(model, { bosToken });
      await keep("smollm2", "lens", found);
      const { facts, uniform, nLayers } = found.numbers;
      expect(facts.filter(({ echo }) => echo).length).toBeGreaterThanOrEqual(10);
      for (const { rank, first, entropy } of facts) {
        expect(rank).toBe(1);
        expect(first).toBeGreaterThanOrEqual((2 * nLayers) / 3);
        expect(entropy).toBeLessThan(uniform / 2);
      }
    });

    test("the indirect object: heads found by path patching carry it", async () => {
      const found = await names(model, {
        templates: several,
        heldOut: false,
        bosToken,
        nSearch: 2,
        nTest: N_TEST,
        nSets: 10,
        k: 3,
        nSweep: 0,
      });
      await keep("smollm2", "names", found);
      const { behaviour, average } = found.numbers;
      expect(behaviour.clean.low).toBeGreaterThan(1);
      expect(average.own.low).toBeGreaterThan(average.random.max);
    });
  },
);
