import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DataError } from "@penfield/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { gatherTasks } from "./tasks.ts";

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "penfield-tasks-"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const lines = (items: readonly object[]): string =>
  `${items.map((item) => JSON.stringify(item)).join("\n")}\n`;
async function folderOf(name: string, files: Record<string, string>): Promise<string> {
  const folder = join(root, name);
  await mkdir(folder, { recursive: true });
  for (const [file, text] of Object.entries(files)) await writeFile(join(folder, file), text);
  return folder;
}
const pairs = (phenomenon: string, n: number): string =>
  lines(
    Array.from({ length: n }, (_, i) => ({
      sentence_good: `${phenomenon} good ${i}`,
      sentence_bad: `${phenomenon} bad ${i}`,
      UID: phenomenon,
      linguistics_term: phenomenon,
      pairID: String(i),
    })),
  );
const source = (name: string, loader: string): string =>
  JSON.stringify({ name, title: `Title of ${name}`, licence: "CC0", citation: "none", loader });
const all = { itemsPerGroup: undefined, seed: 1 };

describe("gatherTasks", () => {
  test("minimal pairs of a folder are one task with a group per phenomenon", async () => {
    const folder = await folderOf("pairs", {
      "source.json": source("my-pairs", "blimp-jsonl"),
      "agreement.jsonl": pairs("agreement", 8),
      "binding.jsonl": pairs("binding", 5),
    });
    const { tasks, stimuli } = await gatherTasks([folder], all);
    expect(tasks).toHaveLength(1);
    const [{ task, role }] = tasks as [(typeof tasks)[0]];
    expect([task.kind, task.id, task.title, role]).toEqual([
      "minimal-pairs",
      "my-pairs",
      "Title of my-pairs",
      "language",
    ]);
    if (task.kind !== "minimal-pairs") throw new Error("kind");
    const groups = task.items.map((item) => item.group);
    expect(groups.filter((group) => group === "agreement")).toHaveLength(8);
    expect(groups.filter((group) => group === "binding")).toHaveLength(5);
    expect(new Set(task.items.map((item) => item.id)).size).toBe(13);
    expect(stimuli).toEqual([
      expect.objectContaining({
        role: "language task",
        name: "my-pairs",
        licence: "CC0",
        nItems: 13,
      }),
    ]);
  });

  test("so many items of each group, drawn with the seed, in their order", async () => {
    const folder = join(root, "pairs");
    const draw = async (itemsPerGroup: number, seed: number): Promise<string[]> => {
      const { tasks, stimuli } = await gatherTasks([folder], { itemsPerGroup, seed });
      const [{ task }] = tasks as [(typeof tasks)[0]];
      if (task.kind !== "minimal-pairs") throw new Error("kind");
      expect(stimuli[0]!.nItems).toBe(task.items.length);
      return task.items.map((item) => item.good);
    };
    const some = await draw(3, 1);
    expect(some.map((good) => good.split(" ")[0])).toEqual([
      ...Array(3).fill("agreement"),
      ...Array(3).fill("binding"),
    ]);
    expect([...some].sort()).toEqual(some);
    expect(await draw(3, 1)).toEqual(some);
    const others = await Promise.all([2, 3, 4].map((seed) => draw(3, seed)));
    expect(others.some((other) => other.join() !== some.join())).toBe(true);
    expect(await draw(6, 1)).toHaveLength(11);
    expect(await draw(100, 1)).toHaveLength(13);
  });

  test("roles: language for pairs and suites, control for continuations, text for text", async () => {
    const continuation = await folderOf("next", {
      "source.json": source("next", "continuation-jsonl"),
      "series.jsonl": lines([
        { id: "1", prompt: "a b", good: " c", bad: " x" },
        { id: "2", prompt: "b c", good: " d", bad: " y" },
        { id: "3", prompt: "c d", good: " e", bad: " z" },
      ]),
    });
    const text = await folderOf("text", {
      "source.json": source("text", "text-jsonl"),
      "prose.jsonl": lines([
        { id: "1", text: "Once upon a time." },
        { id: "2", text: "There was a king." },
      ]),
    });
    const suite = await folderOf("suites", {
      "source.json": source("suites", "syntaxgym"),
      "npi.json": JSON.stringify({
        meta: { name: "npi", metric: "sum" },
        predictions: [{ type: "formula", formula: "(1;%a%) < (1;%b%)" }],
        items: [1, 2].map((item_number) => ({
          item_number,
          conditions: ["a", "b"].map((condition_name) => ({
            condition_name,
            regions: [{ region_number: 1, content: `${condition_name} ${item_number}` }],
          })),
        })),
      }),
    });
    const paths = [continuation, text, suite, join(root, "pairs")];
    const { tasks, stimuli } = await gatherTasks(paths, { itemsPerGroup: 1, seed: 1 });
    expect(tasks.map(({ role }) => role)).toEqual(["control", "text", "language", "language"]);
    expect(stimuli.map(({ role, nItems }) => [role, nItems])).toEqual([
      ["control task", 1],
      ["text task", 1],
      ["language task", 1],
      ["language task", 2],
    ]);
    expect((await gatherTasks(paths, all)).stimuli.map((s) => s.nItems)).toEqual([3, 2, 2, 13]);
  });

  test("the hash is that of the items that are used", async () => {
    const hash = async (itemsPerGroup: number | undefined, seed: number) =>
      (await gatherTasks([join(root, "pairs")], { itemsPerGroup, seed })).stimuli[0]!.sha256;
    expect(await hash(undefined, 1)).toBe(await hash(undefined, 2));
    expect(await hash(2, 1)).toBe(await hash(2, 1));
    expect(await hash(2, 1)).not.toBe(await hash(3, 1));
  });

  test("a file without a source.json has no licence that is known", async () => {
    const folder = await folderOf("bare", { "mine.jsonl": pairs("mine", 2) });
    const { stimuli } = await gatherTasks([join(folder, "mine.jsonl")], all);
    expect(stimuli[0]).toMatchObject({ licence: "unknown", nItems: 2, role: "language task" });
    await expect(gatherTasks([await folderOf("empty", {})], all)).rejects.toThrow(DataError);
  });
});
