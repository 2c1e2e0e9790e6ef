import { UsageError } from "@penfield/core";
import { defaultSettings, probes } from "@penfield/probes";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { helpOf } from "./help.ts";
import { readWords } from "./options.ts";
import { readSettings, runOptions } from "./run/settings.ts";

const probe = probes.find((p) => p.id === "language-network")!;
const planted = probes.find((p) => p.id === "planted-circuit")!;
const settingsOf = (...words: string[]) => readSettings(probe, readWords(words, runOptions).values);

describe("readSettings", () => {
  test("without options: the defaults, those of the experiment before the general ones", () => {
    expect(settingsOf()).toEqual({ ...defaultSettings, ...probe.defaults });
    const settings = readSettings(planted, {});
    expect(settings).toEqual({ ...defaultSettings, ...planted.defaults });
  });

  test("every option changes what it names and nothing else", () => {
    const cases: [string[], Partial<typeof defaultSettings>][] = [
      [["--model", "owner/name"], { model: "owner/name" }],
      [["--file", "model_fp16"], { file: "model_fp16" }],
      [["--units", "heads"], { units: "heads" }],
      [["--seed", "7"], { seed: 7 }],
      [["--stimuli", "a"], { stimuli: "a" }],
      [["--tasks", "a", "--tasks", "b,c"], { tasks: ["a", "b", "c"] }],
      [["--recordings", "r.npy"], { recordings: "r.npy" }],
      [["--recording-stimuli", "s"], { recordingStimuli: "s" }],
      [["--recording-key", "k"], { recordingKey: "k" }],
      [["--random", "5"], { nRandom: 5 }],
      [["--pooling", "mean"], { pooling: "mean" }],
      [["--max-tokens", "20"], { maxTokens: 20 }],
      [["--max-tokens", "all"], { maxTokens: undefined }],
      [["--signed"], { magnitude: false }],
      [["--items-per-group", "3"], { itemsPerGroup: 3 }],
      [["--scoring", "mean"], { scoring: "mean" }],
      [["--bos"], { prependBos: true }],
      [["--no-bos"], { prependBos: false }],
      [["--threads", "2"], { threads: 2 }],
    ];
    for (const [words, changed] of cases) {
      expect(settingsOf(...words), words.join(" ")).toEqual({ ...settingsOf(), ...changed });
    }
  });

  test("doses come in order, each once, with the share that is selected among them", () => {
    const doses = fc.array(fc.constantFrom(0.25, 0.5, 1, 2, 10, 50), { minLength: 1 });
    fc.assert(
      fc.property(doses, fc.constantFrom(1, 3), (list, percent) => {
        const settings = settingsOf("--doses", list.join(","), "--percent", String(percent));
        expect(settings.percent).toBe(percent);
        expect(settings.doses).toEqual([...new Set([...list, percent])].sort((a, b) => a - b));
      }),
    );
  });

  test("numbers: what is in range is taken as it is, what is not is refused", () => {
    fc.assert(
      fc.property(fc.integer({ min: -10, max: 3000 }), (n) => {
        if (n >= 2 && n <= 1000) expect(settingsOf(`--random=${n}`).nRandom).toBe(n);
        else expect(() => settingsOf(`--random=${n}`)).toThrow(UsageError);
      }),
    );
    for (const text of ["", " ", "x", "1e999", "NaN", "-1", "2.5"]) {
      expect(() => settingsOf(`--seed=${text}`), JSON.stringify(text)).toThrow(UsageError);
    }
  });
});

test("the help names every option", () => {
  for (const name of Object.keys(runOptions)) {
    if (name !== "json") expect(helpOf("run"), name).toContain(`--${name}`);
  }
});
