import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ArgumentError, FileError, FormatError, InterruptedError } from "@penfield/core";
import { type Census, plantedSource, takeCensus } from "@penfield/localize";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { plantedDocuments, plantedWords } from "../testSetting.ts";
import { type ExplainUnitsOptions, explainUnits } from "./explainUnits.ts";
import {
  complete,
  type FakeServer,
  fakeServer,
  literalAnswer,
  literalExplanation,
} from "./fakeServer.ts";
import { type OpenaiCompatible, openaiCompatible } from "./openaiCompatible.ts";

const units = ["bread", "old", "judge"].map((name) => ({
  name,
  active: (words: readonly string[], i: number) => words[i]!.trim() === name,
}));

let root: string;
let census: Census;
let server: FakeServer;
/** From this question on, counted from when it was set, the server is out of order. */
let broken: number;
let model: OpenaiCompatible;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "penfield-explain-folder-"));
  const source = plantedSource({ words: plantedWords, units, seed: 3 });
  census = await takeCensus(source, plantedDocuments(120, 1), join(root, "census"));
  server = await fakeServer((request, response) => {
    if (broken-- <= 0) {
      response.statusCode = 500;
      response.end();
      return;
    }
    const isExplanation = request.user.includes("\nACTIVE\n");
    complete(response, isExplanation ? literalExplanation(request) : literalAnswer(request));
  });
  model = await openaiCompatible({
    ...{ baseURL: server.baseURL, model: "literal", maxRetries: 0, concurrency: 1 },
  });
});
afterAll(async () => {
  await server.close();
  await census.close();
  await rm(root, { recursive: true, force: true });
});

const run = (folder: string, more: Partial<ExplainUnitsOptions> = {}) =>
  explainUnits(census, {
    ...{ explainer: model, judge: model, folder: join(root, folder) },
    ...{ nFloorUnits: 2, nContexts: 5, nSimulated: 2, ...more },
  });

const filesOf = async (folder: string) => {
  const names = (await readdir(join(root, folder))).sort();
  const texts = await Promise.all(names.map((name) => readFile(join(root, folder, name), "utf8")));
  return Object.fromEntries(names.map((name, i) => [name, texts[i]!]));
};

/** How many questions some work asks. */
const asked = async (work: () => Promise<unknown>): Promise<number> => {
  const before = server.requests.length;
  await work();
  return server.requests.length - before;
};

describe("explaining with a folder", () => {
  let whole: Record<string, string>;
  let nWhole: number;
  beforeAll(async () => {
    broken = Number.POSITIVE_INFINITY;
    nWhole = await asked(() => run("whole"));
    whole = await filesOf("whole");
  });

  test("the same result as without; a second call asks nothing", async () => {
    const few = { nFloorUnits: 2, nContexts: 5, nSimulated: 2 };
    const result = await explainUnits(census, { explainer: model, judge: model, ...few });
    expect(await asked(async () => expect(await run("whole")).toEqual(result))).toBe(0);
    expect(await filesOf("whole")).toEqual(whole);
    expect(Object.keys(whole)).toEqual([
      "answers.jsonl",
      "explained-floors.json",
      "explained.jsonl",
    ]);
    expect(whole["explained.jsonl"]!.trim().split("\n").length).toBe(3);
    // Three units and two floor units were explained; each text was scored, and those of the three for another unit.
    expect(whole["answers.jsonl"]!.trim().split("\n").length).toBe(1 + 5 + 6 + 2);
  });

  test.each([
    ["explaining units", 2],
    ["judging texts", 1],
    ["measuring floors", 1],
  ])(
    "stopped by a signal while %s, then continued: nothing is asked twice, the same bytes",
    async (at, after) => {
      const stop = new AbortController();
      const folder = `signal-${at}`;
      const first = await asked(() =>
        expect(
          run(folder, {
            signal: stop.signal,
            onProgress: ({ stage, done }) => {
              if (stage === at && done === after) stop.abort();
            },
          }),
        ).rejects.toThrow(InterruptedError),
      );
      expect(await readdir(join(root, folder))).toEqual(["answers.jsonl"]);
      const second = await asked(() => run(folder));
      expect(first).toBeGreaterThan(0);
      expect(second).toBeGreaterThan(0);
      expect(first + second).toBe(nWhole);
      expect(await filesOf(folder)).toEqual(whole);
    },
  );

  test.each([
    // Three explanations, and then no judgement; in the midst of the first text's questions; of a later one's.
    [3, 3],
    [6, 2],
    [20, 1],
  ])(
    "a server that goes away after %i answers stops the work; in the end the same bytes",
    async (n, stopAfter) => {
      broken = n;
      const folder = `away-${n}`;
      await expect(run(folder, { stopAfter })).rejects.toThrow(
        `explainUnits: expected answers, got none ${stopAfter} times one after the other`,
      );
      expect(await readdir(join(root, folder))).toEqual(["answers.jsonl"]);
      broken = Number.POSITIVE_INFINITY;
      expect(await asked(() => run(folder))).toBeLessThan(nWhole);
      expect(await filesOf(folder)).toEqual(whole);
    },
  );

  test("answers that fail one after the other are borne if they should be, and kept as failed", async () => {
    broken = 3;
    const options = { stopAfter: Number.POSITIVE_INFINITY };
    const { coverage } = await run("borne", options);
    expect(coverage.judged).toBe(0);
    broken = Number.POSITIVE_INFINITY;
    expect(await asked(() => run("borne", options))).toBe(0);
  });

  test("a last line that was cut is asked again", async () => {
    await run("cut", { units: [0], nFloorUnits: 0 });
    const path = join(root, "cut", "answers.jsonl");
    await writeFile(path, whole["answers.jsonl"]!);
    await truncate(path, Buffer.byteLength(whole["answers.jsonl"]!) - 9);
    expect(await asked(() => run("cut"))).toBeGreaterThan(0);
    expect(await filesOf("cut")).toEqual(whole);
  });

  test("more units later: those that are known are not asked again", async () => {
    await run("more", { units: [2], nFloorUnits: 0 });
    const { units: found } = await run("more");
    const first = await run("whole");
    expect(found.map(({ explanations }) => explanations)).toEqual(
      first.units.map(({ explanations }) => explanations),
    );
  });

  test("other work is refused, and the error says what differs", async () => {
    const judge = { ...model, name: "another" };
    await expect(run("whole", { judge })).rejects.toThrow(
      /answers\.jsonl: expected answers about this census .*, got others: judge is "openai-compatible:literal" there and "another" here/,
    );
    await expect(run("whole", { explainer: judge })).rejects.toThrow(/explainer is/);
    await expect(run("whole", { seed: 3 })).rejects.toThrow(/options is/);
    await expect(run("whole", { groupOf: (id) => id })).rejects.toThrow(/groups is/);
    await expect(run("whole", { randomModel: census })).rejects.toThrow(/randomModel is null/);
    const prompts = { ...model, prompts: { ...model.prompts, detect: "0" } };
    await expect(run("whole", { judge: prompts })).rejects.toThrow(/prompts is/);
    const other = await takeCensus(
      plantedSource({ words: plantedWords, units, seed: 3 }),
      plantedDocuments(30, 2),
      join(root, "other"),
    );
    const options = { explainer: model, judge: model, folder: join(root, "whole") };
    await expect(explainUnits(other, options)).rejects.toThrow(FileError);
    await other.close();
    await expect(run("whole", { stopAfter: 0 })).rejects.toThrow(ArgumentError);
    expect(await filesOf("whole")).toEqual(whole);
  });

  test("a line that is no answer is an error, with its number", async () => {
    await run("bad", { units: [0], nFloorUnits: 0 });
    const path = join(root, "bad", "answers.jsonl");
    const text = await readFile(path, "utf8");
    await writeFile(path, `${text}{"set":"units","unit":"x"}\n`);
    await expect(run("bad")).rejects.toThrow(FormatError);
    await writeFile(path, `${text}no\n`);
    await expect(run("bad")).rejects.toThrow(/line 4: expected JSON/);
    await writeFile(path, "something else\n");
    await expect(run("bad")).rejects.toThrow(/got a file of something else/);
  });
});
