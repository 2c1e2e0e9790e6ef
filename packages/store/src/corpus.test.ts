import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DataError, FileError, FormatError } from "@penfield/core";
import { afterEach, beforeEach, expect, test } from "vitest";
import { loadCorpus } from "./index.ts";
import { temporaryFolder } from "./testSetting.ts";

let root: string;
let remove: () => Promise<void>;
beforeEach(async () => {
  ({ path: root, remove } = await temporaryFolder());
});
afterEach(() => remove());
const write = async (name: string, text: string): Promise<string> => {
  await mkdir(join(root, name, ".."), { recursive: true });
  await writeFile(join(root, name), text);
  return join(root, name);
};

test("a text file: one text a line", async () => {
  const path = await write("a.txt", "\ufeffone\r\n\r\n  two \nthree");
  expect(await loadCorpus(path)).toEqual([
    { id: "a.txt:1", text: "one" },
    { id: "a.txt:3", text: "  two " },
    { id: "a.txt:4", text: "three" },
  ]);
});

test("JSON Lines: texts or tokens, with ids or without", async () => {
  const lines = ['{"id":"x","text":"a b","more":1}', "", '{"tokens":[1,2]}', '{"id":7,"text":"c"}'];
  const path = await write("a.jsonl", lines.join("\n"));
  expect(await loadCorpus(path)).toEqual([
    { id: "x", text: "a b" },
    { id: "a.jsonl:3", tokens: [1, 2] },
    { id: "7", text: "c" },
  ]);
});

test("a folder of texts, in the order of names; a set of stimuli, as a folder or a table", async () => {
  await write("texts/b.txt", "b");
  await write("texts/a.jsonl", '{"text":"a"}');
  await write("texts/.hidden.txt", "no");
  await write("texts/readme.md", "no");
  expect((await loadCorpus(join(root, "texts"))).map(({ id }) => id)).toEqual([
    "a.jsonl:1",
    "b.txt:1",
  ]);
  const table = await write(
    "set/stimuli.tsv",
    "id\ttext\tcondition\ns1\tHello there\tS\ns2\tYou too\tN\n",
  );
  const stimuli = [
    { id: "s1", text: "Hello there" },
    { id: "s2", text: "You too" },
  ];
  expect(await loadCorpus(join(root, "set"))).toEqual(stimuli);
  expect(await loadCorpus(table)).toEqual(stimuli);
});

test("what cannot be read says where", async () => {
  await expect(loadCorpus(join(root, "nowhere.txt"))).rejects.toThrow(FileError);
  await expect(loadCorpus(await write("empty.txt", "\n\n"))).rejects.toThrow(DataError);
  const cases: [string, RegExp][] = [
    ['{"text":"a"}\n{"text":', /a\.jsonl: line 2: expected a JSON object/],
    ['{"words":"a"}', /line 1: expected an object with text or tokens/],
    ["[1,2]", /line 1: expected an object with text or tokens/],
    ["null", /line 1: expected an object with text or tokens/],
  ];
  for (const [text, message] of cases) {
    const call = loadCorpus(await write("a.jsonl", text));
    await expect(call).rejects.toThrow(FormatError);
    await expect(call).rejects.toThrow(message);
  }
});
