import { existsSync, readdirSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runCommandLine } from "@penfield/cli";
import { createRng, writeNpy } from "@penfield/core";
import { wordLevelTokenizer } from "@penfield/hooks";
import { expect } from "vitest";

const fixture = fileURLToPath(new URL("../fixtures/gpt2/", import.meta.url));

/** A model, stimuli, tasks and a recording so small that a whole experiment takes a second. */
export interface Setting {
  readonly root: string;
  /** A folder laid out like a hub repository. */
  readonly model: string;
  readonly stimuli: string;
  readonly tasks: string;
  readonly recording: string;
  readonly recordingStimuli: string;
  /** The words of `penfield run language-network` for all of this. */
  readonly words: readonly string[];
  /** Writes a file below `root` and returns its path. */
  write(path: string, content: string | Uint8Array): Promise<string>;
  remove(): Promise<void>;
}

const vocabulary = ["<s>", "<unk>", ...Array.from({ length: 90 }, (_, i) => `w${i}`)];

/** A tokenizer with one token per word. */
export const wordTokenizer = (words: readonly string[] = vocabulary): string =>
  JSON.stringify(wordLevelTokenizer(words, "<unk>"));

/** What stands beside a table of stimuli. */
export const stimulusSource: string = JSON.stringify({
  name: "tiny",
  title: "Tiny stimuli",
  licence: "MIT",
  loader: "stimuli-tsv",
  contrast: { positive: "sentence", negative: "nonwords" },
});

/** Makes the setting in a temporary folder, and keeps what Penfield caches in there too. */
export async function makeSetting(): Promise<Setting> {
  const root = await mkdtemp(join(tmpdir(), "penfield-end-to-end-"));
  process.env["PENFIELD_CACHE"] = join(root, "cache");
  const rng = createRng(11);
  const text = (n: number, from: number, to: number): string =>
    Array.from({ length: n }, () => `w${from + rng.below(to - from)}`).join(" ");
  const write = async (path: string, content: string | Uint8Array): Promise<string> => {
    const full = join(root, path);
    await mkdir(dirname(full), { recursive: true });
    await writeFile(full, content);
    return full;
  };
  await mkdir(join(root, "model"), { recursive: true });
  for (const file of ["model.onnx", "config.json"]) {
    await copyFile(join(fixture, file), join(root, "model", file));
  }
  await write("model/tokenizer.json", wordTokenizer());
  await write("model/tokenizer_config.json", JSON.stringify({ bos_token: "<s>" }));
  const table = (rows: readonly (readonly string[])[]): string =>
    `${rows.map((row) => row.join("\t")).join("\n")}\n`;
  await write("stimuli/source.json", stimulusSource);
  await write(
    "stimuli/stimuli.tsv",
    table([
      ["id", "condition", "text"],
      ...Array.from({ length: 24 }, (_, i) => [
        `s${i}`,
        i % 2 ? "nonwords" : "sentence",
        i % 2 ? text(8, 45, 90) : text(8, 0, 45),
      ]),
    ]),
  );
  const lines = (items: readonly object[]): string =>
    `${items.map((item) => JSON.stringify(item)).join("\n")}\n`;
  await write(
    "tasks/pairs.jsonl",
    lines(
      Array.from({ length: 8 }, (_, i) => ({
        sentence_good: text(6, 0, 45),
        sentence_bad: text(6, 0, 45),
        UID: "pairs",
        linguistics_term: "agreement",
        pairID: String(i),
      })),
    ),
  );
  const series = await write(
    "series/series.jsonl",
    lines(
      Array.from({ length: 8 }, (_, i) => ({
        id: String(i),
        prompt: text(4, 0, 90),
        good: ` ${text(1, 0, 90)}`,
        bad: ` ${text(1, 0, 90)}`,
      })),
    ),
  );
  const recordingStimuli = await write(
    "recording-stimuli.tsv",
    table([["id", "text"], ...Array.from({ length: 30 }, (_, i) => [`r${i}`, text(5, 0, 90)])]),
  );
  const values = Float32Array.from({ length: 30 * 3 }, () => rng.normal());
  const recording = await write("recording.npy", writeNpy(values, [30, 3]));
  const [model, tasks] = [join(root, "model"), join(root, "tasks", "pairs.jsonl")];
  const stimuli = join(root, "stimuli");
  return {
    root,
    model,
    stimuli,
    tasks,
    recording,
    recordingStimuli,
    words: [
      ...["--model", model, "--stimuli", stimuli, "--tasks", tasks, "--tasks", series],
      ...["--recordings", recording, "--recording-stimuli", recordingStimuli],
      ...["--doses", "5,10", "--percent", "10", "--random", "3", "--threads", "1"],
    ],
    write,
    remove: () => rm(root, { recursive: true, force: true }),
  };
}

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs the command line in this process. */
export async function penfield(
  args: readonly string[],
  signal: AbortSignal = new AbortController().signal,
): Promise<Ran> {
  let [out, err] = ["", ""];
  const code = await runCommandLine(args, {
    out: {
      write: (text) => {
        out += text;
      },
    },
    err: {
      write: (text) => {
        err += text;
      },
    },
    signal,
  });
  return { code, out, err };
}

/** One error and nothing else: message, hint if there is one, code; and the exit code. */
export function expectError(
  { code, err, out }: Ran,
  wanted: { exit?: 1 | 2; code: string; message: RegExp; hint?: RegExp },
): void {
  const errors = err.split("\n").filter((line) => line.startsWith("Error: "));
  expect(errors, err).toHaveLength(1);
  expect(errors[0]).toMatch(wanted.message);
  const hint = err.split("\n").find((line) => line.startsWith("Hint: "));
  if (wanted.hint) expect(hint).toMatch(wanted.hint);
  expect(err).toMatch(new RegExp(`^Code: ${wanted.code}$`, "m"));
  expect(err).not.toMatch(/\n {4}at /);
  expect(out).toBe("");
  expect(code).toBe(wanted.exit ?? 1);
}

/** Neither a report nor a half of one. */
export function expectNothingWritten(out: string): void {
  expect(existsSync(out)).toBe(false);
  const beside = existsSync(dirname(out)) ? readdirSync(dirname(out)) : [];
  expect(beside.filter((name) => name.includes(".partial"))).toEqual([]);
}
