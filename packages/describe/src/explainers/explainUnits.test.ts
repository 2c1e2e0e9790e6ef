import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ArgumentError, DataError, FileError, FormatError, InterruptedError } from "@penfield/core";
import { type Census, type PlantedUnit, plantedSource, takeCensus } from "@penfield/localize";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { keptDocuments } from "../splits.ts";
import { plantedDocuments, plantedWords } from "../testSetting.ts";
import { expectedLevels, parseLevels } from "./answers.ts";
import { type ChatRequest, chatExplainer } from "./chat.ts";
import { activationLevel, gatherEvidence, unitIdentity, windowText } from "./evidence.ts";
import type { Judge } from "./explainer.ts";
import { explainUnits } from "./explainUnits.ts";
import { complete, fakeServer, literalAnswer, literalExplanation } from "./fakeServer.ts";
import { judgeQuestions, scoreText } from "./judgeScores.ts";
import { openaiCompatible } from "./openaiCompatible.ts";
import { fillPrompt, promptFolder, readPrompt } from "./prompts.ts";
import { quoteText, quoteTokens } from "./untrusted.ts";

const is =
  (...words: string[]) =>
  (w: readonly string[], p: number) =>
    words.includes(w[p]!.trim());
const units: readonly PlantedUnit[] = [
  { name: "bread", active: is("bread") },
  { name: "three", active: is("judge", "boat", "quickly") },
  { name: "old", active: is("old") },
  { name: "noise", active: { noise: 0.02 } },
  { name: "dead", active: { noise: 0 } },
];

let root: string;
let census: Census;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "penfield-explain-"));
  const source = plantedSource({ words: plantedWords, units, seed: 3 });
  census = await takeCensus(source, plantedDocuments(300, 1), join(root, "census"));
});
afterAll(async () => {
  await census.close();
  await rm(root, { recursive: true, force: true });
});

/** Answers by the quoted words of a description, without a server. */
const literal = (change: (answer: string, request: ChatRequest) => string = (answer) => answer) =>
  chatExplainer({
    name: "literal",
    complete: (request) => {
      const asked = { ...request, url: "", authorization: undefined, body: {} };
      const answer = request.user.includes("\nACTIVE\n")
        ? literalExplanation(asked)
        : literalAnswer(asked);
      return Promise.resolve({ text: change(answer, request) });
    },
  });

const questionsOf = async (unit: number, seed = 0) =>
  judgeQuestions(await windowText(census), await census.values(unit), 0, { seed });

describe("explaining and judging", () => {
  test("through a server: right texts for planted units, above all floors", async () => {
    const server = await fakeServer((request, response) =>
      complete(
        response,
        request.user.includes("\nACTIVE\n") ? literalExplanation(request) : literalAnswer(request),
      ),
    );
    const model = await openaiCompatible({ baseURL: server.baseURL, model: "literal" });
    const found = await explainUnits(census, { explainer: model, judge: model, nFloorUnits: 2 });
    await server.close();
    expect(found.units.map(({ explanations }) => explanations.map(({ text }) => text))).toEqual([
      ["active on 'bread'"],
      [expect.stringMatching(/^active on ('(judge|boat|quickly)'(, )?){3}$/)],
      ["active on 'old'"],
      [expect.any(String)],
      [],
    ]);
    for (const { explanations, otherText } of found.units.slice(0, 3)) {
      const { scores } = explanations[0]!;
      expect(scores.detectionAuroc).toBeGreaterThan(0.9);
      expect(scores.detectionLow!).toBeGreaterThan(0.8);
      expect(scores.fuzzingAuroc).toBeGreaterThan(0.9);
      expect(scores.simulationR).toBeGreaterThan(0.6);
      expect(scores.f1).toBeGreaterThan(0.9);
      expect(scores.coverage).toEqual({ detection: 1, fuzzing: 1, simulation: 1 });
      expect(otherText!.scores.detectionAuroc).toBeLessThan(0.75);
      expect(otherText!.scores.fuzzingAuroc).toBeLessThan(0.6);
      expect(otherText!.scores.simulationR).toBeLessThan(0.1);
    }
    const noise = found.units[3]!.explanations[0]!.scores;
    expect(noise.simulationR).toBeLessThan(0.3);
    expect(found.units[4]).toMatchObject({
      reason: "dead: nowhere active in the documents that are for explaining",
      otherText: undefined,
    });
    for (const r of found.floors.shuffled.simulationR) {
      if (r !== undefined) expect(Math.abs(r)).toBeLessThan(0.3);
    }
    expect(found.floors.shuffled.nUnits).toBe(2);
    expect(found.coverage).toEqual({ explained: 1, judged: 1 });
    expect(found.judgePrompts["detect"]).toBe((await readPrompt("detect")).sha256);
  });

  test("a model with random weights as a floor", async () => {
    const source = plantedSource({ words: plantedWords, units: units.slice(3, 4), seed: 8 });
    const randomModel = await takeCensus(source, plantedDocuments(300, 1), join(root, "random"));
    const model = await literal();
    const options = { explainer: model, judge: model, units: [0], nFloorUnits: 1, randomModel };
    const { floors } = await explainUnits(census, options);
    expect(floors.randomModel).toMatchObject({ nUnits: 1 });
    expect(floors.randomModel!.fuzzingAuroc[0]).toBeLessThan(0.7);
    await randomModel.close();
    const other = await takeCensus(source, plantedDocuments(9, 2), join(root, "other"));
    await expect(explainUnits(census, { ...options, randomModel: other })).rejects.toThrow(
      DataError,
    );
    await other.close();
  });

  test("right, too broad and wrong texts: F1, precision and recall tell them apart (Huang et al.)", async () => {
    const judge = await literal();
    const questions = await questionsOf(0);
    const right = await scoreText(judge, "active on 'bread'", questions);
    const broad = await scoreText(judge, "active on 'bread', 'butter', 'the'", questions);
    const wrong = await scoreText(judge, "active on 'zebra'", questions);
    expect([right.precision > 0.9, right.recall > 0.9]).toEqual([true, true]);
    expect(broad.recall).toBe(1);
    expect(broad.precision).toBeLessThan(0.6);
    expect(broad.falsePositives.length).toBe(5);
    expect(wrong).toMatchObject({ precision: 0, recall: 0, f1: 0, detectionAuroc: 0.5 });
    expect(wrong.falseNegatives.length).toBe(5);
    for (const { tokens } of wrong.falseNegatives) expect(tokens.join("")).toContain("bread");
  });

  test("precision is that of the corpus, though active stretches are drawn more often", async () => {
    const judge = await literal();
    const everywhere = await scoreText(judge, "active on 'the', 'a'", await questionsOf(0));
    const text = await windowText(census);
    const values = await census.values(0);
    const active = text.score.filter(({ from, to }) =>
      values.subarray(from, to).some((v) => v > 0),
    );
    expect(everywhere.recall).toBe(1);
    expect(everywhere.precision).toBeCloseTo(active.length / text.score.length, 1);
  });

  test("answers that fail pull to chance, and are reported", async () => {
    let n = 0;
    const half = await literal((answer) => (n++ % 2 === 0 ? answer : "I cannot say."));
    const questions = await questionsOf(0);
    const scores = await scoreText(half, "active on 'bread'", questions);
    const whole = await scoreText(await literal(), "active on 'bread'", questions);
    expect(scores.coverage.detection).toBeCloseTo(0.5, 1);
    expect(scores.detectionAuroc).toBeLessThan(whole.detectionAuroc!);
    expect(scores.detectionAuroc).toBeGreaterThan(0.5);
    expect(scores.simulationR).toBeLessThan(whole.simulationR!);
    const none = await scoreText(await literal(() => "no"), "active on 'bread'", questions);
    expect(none).toMatchObject({
      ...{ detectionAuroc: 0.5, fuzzingAuroc: 0.5, simulationR: 0, recall: 0 },
      ...{ coverage: { detection: 0, fuzzing: 0, simulation: 0 }, falseNegatives: [] },
    });
    const { units: found, coverage } = await explainUnits(census, {
      explainer: await literal(() => "no"),
      judge: half,
      ...{ units: [0], nFloorUnits: 0 },
    });
    expect(found[0]).toMatchObject({ reason: "the explainer's answer failed", explanations: [] });
    expect(coverage.explained).toBe(0);
  });

  test("a constant unit scores 0, and says why", async () => {
    const source = {
      ...plantedSource({ words: plantedWords, units: [] }),
      hooks: [{ name: "still", layer: 0, nUnits: 1 }],
      read: (rows: readonly (readonly number[])[]) =>
        Promise.resolve([Float32Array.from(rows.flat(), () => 2)]),
    };
    const still = await takeCensus(source, plantedDocuments(40, 2), join(root, "still"));
    const model = await literal();
    const { units: found } = await explainUnits(still, { explainer: model, judge: model });
    expect(found[0]).toMatchObject({ reason: "constant: its value does not vary" });
    const questions = judgeQuestions(await windowText(still), await still.values(0), 0);
    expect(await scoreText(model, "active on 'bread'", questions)).toMatchObject({
      ...{ reason: "constant: its value does not vary", simulationR: 0, f1: 0, nQuestions: 0 },
      detectionAuroc: undefined,
    });
    await still.close();
  });

  test("a judge of one's own, whose answers are no probabilities", async () => {
    const own: Judge = {
      name: "counts",
      prompts: {},
      classify: (text, contexts) =>
        Promise.resolve(
          contexts.map(({ tokens, marked }) => {
            const asked = marked ? marked.map((i) => tokens[i]!) : tokens;
            return -3 + asked.filter((token) => token.trim() === text).length;
          }),
        ),
    };
    const scores = await scoreText(own, "bread", await questionsOf(0));
    expect(scores.detectionAuroc).toBeGreaterThan(0.9);
    expect(scores).toMatchObject({ simulationR: undefined });
    expect(scores.coverage.simulation).toBeUndefined();
  });

  test("the same seed gives the same questions, and no document is both shown and asked about", async () => {
    expect(await questionsOf(1)).toEqual(await questionsOf(1));
    const text = await windowText(census);
    const values = await census.values(1);
    const evidence = gatherEvidence(text, values, unitIdentity(census, 1))!;
    const shown = new Set(
      [...evidence.active, ...evidence.nearMisses].map(({ document }) => document),
    );
    const asked = new Set(text.score.map(({ document }) => document));
    expect([...shown].filter((document) => asked.has(document))).toEqual([]);
    const { documents } = await keptDocuments(census);
    const shownText = new Set([...shown].map((d) => documents[d]!.join(" ")));
    for (const d of asked) expect(shownText.has(documents[d]!.join(" "))).toBe(false);
    for (const { levels } of evidence.active) expect(Math.max(...levels)).toBeGreaterThan(0);
    for (const { levels } of evidence.nearMisses) expect(Math.max(...levels)).toBe(0);
    expect(evidence.active[0]!.levels).toContain(10);
    const { detection, fuzzing } = await questionsOf(1);
    const nOn = detection.filter(({ label }) => label === 1).length;
    expect(detection.length).toBe(2 * nOn);
    expect(detection.reduce((sum, { weight }) => sum + weight, 0)).toBeCloseTo(
      text.score.length,
      6,
    );
    for (let i = 0; i < fuzzing.length; i += 2) {
      const marks = [fuzzing[i]!, fuzzing[i + 1]!].map(({ context }) => context.marked!);
      expect(marks[0]!.length).toBe(marks[1]!.length);
      expect(marks[0]!.filter((place) => marks[1]!.includes(place))).toEqual([]);
    }
  });

  test("a signal stops, and errors", async () => {
    const model = await literal();
    const stop = new AbortController();
    stop.abort();
    const options = { explainer: model, judge: model };
    await expect(explainUnits(census, { ...options, signal: stop.signal })).rejects.toThrow(
      InterruptedError,
    );
    await expect(explainUnits(census, { ...options, units: [] })).rejects.toThrow(ArgumentError);
    const text = await windowText(census);
    expect(() => gatherEvidence(text, new Float32Array(3), unitIdentity(census, 0))).toThrow(
      /expected \d+ values, got 3/,
    );
  });
});

describe("prompts", () => {
  test.each(["explain", "detect", "fuzz", "output", "simulate", "surprisal"] as const)(
    "%s: has its placeholders, and its hash is that of the file",
    async (name) => {
      const { sha256, user, system } = await readPrompt(name);
      expect(sha256).toMatch(/^[0-9a-f]{64}$/);
      expect(user.length).toBeGreaterThan(10);
      if (name !== "surprisal") expect(system).toContain("never an instruction");
    },
  );

  test("other files: what is missing or unknown is an error", async () => {
    const own = join(root, "prompts");
    await expect(readPrompt("detect", own)).rejects.toThrow(FileError);
    await expect(readPrompt("other" as never)).rejects.toThrow(ArgumentError);
    await mkdir(own);
    const text = await readFile(join(promptFolder, "detect.txt"), "utf8");
    await writeFile(join(own, "detect.txt"), text.replace("{explanation}", "{words}"));
    await expect(readPrompt("detect", own)).rejects.toThrow(FormatError);
  });

  test("what is filled in is not filled again", () => {
    expect(fillPrompt("{a} {b} {c}", { a: "{b}", b: "$&" })).toBe("{b} $& {c}");
  });

  test("any text becomes one quoted line without marks of its own", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const quoted = quoteTokens([text, text], [1]);
        expect(quoted).toMatch(/^".*"$/u);
        expect(quoted.match(/<<|>>/g)).toEqual(["<<", ">>"]);
        // Every quote within is escaped: an odd number of backslashes stands before it.
        for (const [, slashes] of quoted.slice(1, -1).matchAll(/(\\*)"/g)) {
          expect(slashes!.length % 2).toBe(1);
        }
        expect(quoteText(text)).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
      }),
    );
  });
});

describe("answers", () => {
  test("levels: by hand", () => {
    expect([-1, 0, 0.99, 1, 9.99, 10, 11].map((value) => activationLevel(value, 10))).toEqual([
      0, 0, 0, 1, 9, 10, 10,
    ]);
    expect(activationLevel(3, 0)).toBe(0);
    expect(parseLevels(" [0, 10] \n", 2, 10)).toEqual([0, 10]);
    expect(parseLevels("[0, 11]", 2, 10)).toBeUndefined();
    expect(parseLevels("[0, 1.5]", 2, 10)).toBeUndefined();
  });

  test("tokens that do not show the numbers of the list are passed over", () => {
    const token = (text: string, logprob = 0) => ({ token: text, logprob, top: [] });
    // A tokenizer that writes 10 as two tokens.
    expect(
      expectedLevels(
        ["[", "1", "0", "]"].map((t) => token(t)),
        [10],
        10,
      ),
    ).toBeUndefined();
    expect(expectedLevels([token("[7]")], [3], 10)).toBeUndefined();
    expect(expectedLevels([token("[7]")], [7], 10)).toEqual([7]);
  });

  test("an expected level lies within its range, whatever a server claims", () => {
    const entry = fc.record({
      token: fc.integer({ min: 0, max: 12 }).map(String),
      logprob: fc.double({ noNaN: true }),
    });
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 10 }), fc.array(entry), (level, top) => {
        const found = expectedLevels([{ token: String(level), logprob: -1, top }], [level], 10);
        if (found) expect(found[0]! >= 0 && found[0]! <= 10).toBe(true);
      }),
    );
  });
});
