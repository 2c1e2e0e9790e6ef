import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DataError, FileError, FormatError, sha256 } from "@penfield/core";
import { strToU8, zipSync } from "fflate";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { contrastSet, loadStimulusSet, type StimulusSet } from "./stimulusSet.ts";
import { loadTasks } from "./tasks.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "penfield-stimuli-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function put(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
}
const source = (loader: string, more: object = {}): string =>
  JSON.stringify({ name: "mine", title: "Mine", licence: "MIT", loader, ...more });

describe("loadStimulusSet", () => {
  test("reads stimuli.tsv with further columns and what source.json says", async () => {
    const text = "id\tcondition\ttext\tmood\na\tS\tone\\ntwo\thappy\nb\tN\tblick\t\n";
    put("tsv/stimuli.tsv", text);
    put("tsv/source.json", source("stimuli-tsv", { contrast: { positive: "S", negative: "N" } }));
    const set = await loadStimulusSet(join(folder, "tsv"));
    expect(set).toMatchObject({
      name: "mine",
      title: "Mine",
      licence: "MIT",
      sha256: sha256(text),
    });
    expect(set.stimuli[0]).toEqual({
      id: "a",
      text: "one\ntwo",
      condition: "S",
      columns: { mood: "happy" },
    });
    expect(set.contrast).toEqual({ positive: "S", negative: "N" });
  });

  test("reads a table without source.json or conditions, named after its file", async () => {
    const set = await loadStimulusSet(put("plain/words.tsv", "id\ttext\na\tone\n"));
    expect(set).toMatchObject({ name: "words", licence: "unknown" });
    expect(set.stimuli[0]!.condition).toBeUndefined();
  });

  test("reads a CSV file with the same columns", async () => {
    const path = put("plain/words.csv", 'id,condition,text\na,S,"one, two"\nb,N,three\n');
    const { stimuli } = await loadStimulusSet(path);
    expect(stimuli.map(({ text, condition }) => `${condition}: ${text}`)).toEqual([
      "S: one, two",
      "N: three",
    ]);
  });

  test("reads the language localizer's CSVs", async () => {
    const header = Array.from({ length: 14 }, (_, i) => `stim${i + 1}`).join(",");
    const words = Array.from({ length: 12 }, (_, i) => `W${i}`).join(",");
    put("langloc/run1.csv", `${header}\n1,${words},S\n2,${words},N\n`);
    put("langloc/run2.csv", `${header}\n1,${words},S\n`);
    const set = await loadStimulusSet(join(folder, "langloc"));
    expect(set.stimuli.map(({ id, condition }) => `${id} ${condition}`)).toEqual([
      "run1-01 S",
      "run1-02 N",
      "run2-01 S",
    ]);
    expect(set.stimuli[0]!.text).toBe("w0 w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11");
    put("langloc-bad/run1.csv", `${header}\n1,${words},X\n`);
    await expect(loadStimulusSet(join(folder, "langloc-bad"))).rejects.toThrow(
      'line 2: expected S or N in stim14, got "X"',
    );
  });

  test("reads the false-belief archive, copies of the Finder left out", async () => {
    const entries = {
      "1belief_story.txt": "A dog \nslept.",
      "1belief_question.txt": "The dog \nis awake.\n\nTrue\t\t\tFalse",
      "1photo_story.txt": "A map.",
      "1photo_question.txt": "It shows.\n\nTrue\t\t\tFalse",
      "__MACOSX/._1belief_story.txt": "junk",
    };
    const bytes = zipSync(
      Object.fromEntries(Object.entries(entries).map(([name, text]) => [name, strToU8(text)])),
    );
    const set = await loadStimulusSet(put("tom/items.zip", bytes));
    expect(set.stimuli.map(({ id }) => id)).toEqual(["belief01", "photo01"]);
    expect(set.stimuli[0]!.text).toMatch(
      /\nStory: A dog slept\.\nQuestion: The dog is awake\.\nOptions:\n- True\n- False\nAnswer: (True|False)$/,
    );
    const { "1photo_question.txt": _, ...without } = entries;
    const broken = zipSync(
      Object.fromEntries(Object.entries(without).map(([name, text]) => [name, strToU8(text)])),
    );
    await expect(loadStimulusSet(put("tom/broken.zip", broken))).rejects.toThrow(
      "expected 1photo_question.txt beside its story, got none",
    );
  });

  test("reads passages and tasks as stimuli", async () => {
    const passages = await loadStimulusSet(
      put("prose/p.jsonl", '{"id":"a","text":"One."}\n\n{"id":"b","text":"Two.","mood":"x"}\n'),
    );
    expect(passages.stimuli[1]).toMatchObject({ id: "b", columns: { mood: "x" } });
    const sums = await loadStimulusSet(
      put("sums.jsonl", '{"id":"1","prompt":"2+2=","good":"4.","bad":"5."}\n'),
    );
    expect(sums.stimuli.map(({ id, text }) => [id, text])).toEqual([
      ["sums-1-good", "2+2=4."],
      ["sums-1-bad", "2+2=5."],
    ]);
  });

  test.each([
    ["empty.tsv", "", DataError, "got an empty file"],
    ["header.tsv", "id\ttext\n", DataError, "got a header only"],
    [
      "column.tsv",
      "id\tsentence\na\tb\n",
      DataError,
      'expected a column "text", got the columns id, sentence',
    ],
    [
      "blank.tsv",
      "id\ttext\na\tx\nb\t  \n",
      DataError,
      "line 3: expected a text under text, got none",
    ],
    ["noid.tsv", "id\ttext\n\tx\n", DataError, "line 2: expected a text under id, got none"],
    ["twice.tsv", "id\ttext\na\tx\na\ty\n", DataError, 'expected each id once, got "a" twice'],
    ["cells.tsv", "id\ttext\na\tx\ty\n", FormatError, "line 2: expected 2 cells"],
    [
      "latin.tsv",
      Uint8Array.of(0x69, 0x64, 0x09, 0xe9, 0x0a),
      FormatError,
      "expected text in UTF-8",
    ],
    [
      "broken.jsonl",
      '{"id":"a","text":"x"}\n{"id":\n',
      FormatError,
      "line 2: expected a JSON object",
    ],
    [
      "number.jsonl",
      '{"id":"a","text":"x"}\n3\n',
      FormatError,
      "line 2: expected a JSON object, got 3",
    ],
    ["nothing.jsonl", '{"id":"a","text":""}\n', DataError, 'line 1: expected a text under "text"'],
    ["what.bin", "x", DataError, "expected a stimulus set or a task in a known form"],
    [
      "cut.zip",
      zipSync({ "1belief_story.txt": strToU8("x".repeat(999)) }).slice(0, 60),
      FormatError,
      "expected a zip archive",
    ],
  ])("refuses %s", async (name, content, type, message) => {
    const path = put(`bad/${name}`, content);
    await expect(loadStimulusSet(path)).rejects.toThrow(type);
    await expect(loadStimulusSet(path)).rejects.toThrow(message);
  });

  test("refuses what is not there, and a published set that was not fetched", async () => {
    await expect(loadStimulusSet(join(folder, "nowhere"))).rejects.toThrow(FileError);
    put("unfetched/source.json", source("blimp-jsonl", { url: "https://x.org/b.zip" }));
    const unfetched = loadTasks(join(folder, "unfetched"));
    await expect(unfetched).rejects.toMatchObject({
      code: "ERR_DATA",
      hint: expect.stringContaining("Fetch the set first"),
    });
  });

  test("refuses a wrong source.json by field", async () => {
    put("wrong/stimuli.tsv", "id\ttext\na\tx\n");
    put("wrong/source.json", source("magic"));
    await expect(loadStimulusSet(join(folder, "wrong"))).rejects.toThrow("field loader");
    put(
      "wrong/source.json",
      source("stimuli-tsv", {
        files: [{ path: "../x", url: "https://x.org/x", sha256: "0".repeat(64) }],
      }),
    );
    await expect(loadStimulusSet(join(folder, "wrong"))).rejects.toThrow("field files.0.path");
  });
});

describe("loadTasks", () => {
  const pair = (id: string, good = "A good one.") =>
    `${JSON.stringify({ sentence_good: good, sentence_bad: "A bad.", UID: "u", pairID: id, linguistics_term: "t" })}\n`;

  test("reads minimal pairs from a folder and from an archive", async () => {
    put("pairs/island_1.jsonl", pair("0") + pair("1"));
    put("pairs/binding.jsonl", pair("0"));
    const tasks = await loadTasks(join(folder, "pairs"));
    expect(tasks.map(({ id, title }) => `${id}: ${title}`)).toEqual([
      "binding: binding",
      "island_1: island 1",
    ]);
    expect(tasks[0]).toMatchObject({
      kind: "minimal-pairs",
      items: [{ id: "0", good: "A good one.", bad: "A bad.", group: "t" }],
    });
    const zip = put("pairs.zip", zipSync({ "data/island_1.jsonl": strToU8(pair("0")) }));
    expect((await loadTasks(zip))[0]).toMatchObject({ kind: "minimal-pairs", id: "island_1" });
  });

  test("says where an id is repeated, a key is missing or a line is broken", async () => {
    await expect(loadTasks(put("p/a.jsonl", pair("0") + pair("0")))).rejects.toThrow(
      'line 2: expected each pairID once, got "0", which line 1 has',
    );
    await expect(loadTasks(put("p/b.jsonl", `${pair("0")}{"pairID":"1"}\n`))).rejects.toThrow(
      'line 2: expected a text under "sentence_good", got no such key',
    );
    await expect(loadTasks(put("p/c.jsonl", `${pair("0")}{"pairID"\n`))).rejects.toThrow(
      "line 2: expected a JSON object",
    );
  });

  test("refuses stimuli, which ask nothing", async () => {
    await expect(loadTasks(put("s/stimuli.tsv", "id\ttext\na\tx\n"))).rejects.toThrow(
      "got stimuli (stimuli-tsv)",
    );
  });
});

describe("contrastSet", () => {
  const set = (conditions: string[], contrast?: StimulusSet["contrast"]): StimulusSet => ({
    name: "s",
    title: "s",
    licence: "MIT",
    sha256: "",
    contrast,
    stimuli: conditions.map((condition, i) => ({ id: `${i}`, text: "x", condition, columns: {} })),
  });

  test("takes the set's own contrast", () => {
    const { positiveIndices, negativeIndices, positive } = contrastSet(
      set(["S", "N", "S", "N", "x"], { positive: "S", negative: "N" }),
    );
    expect([...positiveIndices, ...negativeIndices]).toEqual([0, 2, 1, 3]);
    expect(positive.map(({ id }) => id)).toEqual(["0", "2"]);
  });

  test.each([
    [set(["S", "S"]), undefined, undefined, "got none named"],
    [set(["S", "S"]), "S", "N", 'expected at least 2 stimuli of condition "N", got 0'],
    [set(["S", "S", "N"]), "S", "N", 'of condition "N", got 1'],
    [set(["S", "S"]), "S", "S", "expected two different conditions"],
  ])("refuses sets without two sides (%#)", (s, positive, negative, message) => {
    expect(() => contrastSet(s, positive, negative)).toThrow(DataError);
    expect(() => contrastSet(s, positive, negative)).toThrow(message);
  });
});
