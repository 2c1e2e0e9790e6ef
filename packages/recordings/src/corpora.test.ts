import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { sha256, sha256File } from "@penfield/core";
import { describe, expect, test } from "vitest";
import { readSource } from "./source.ts";
import { contrastSet, loadStimulusSet } from "./stimulusSet.ts";
import { loadTasks } from "./tasks.ts";

const corpora = fileURLToPath(new URL("../../../corpora/", import.meta.url));
const shared = fileURLToPath(new URL("../../../../shared/data/stimuli/", import.meta.url));
const names = readdirSync(corpora, { withFileTypes: true }).flatMap((entry) =>
  entry.isDirectory() ? [entry.name] : [],
);

describe("corpora", () => {
  test.each(names)("%s says what it is", async (name) => {
    const source = await readSource(join(corpora, name));
    expect(source?.name).toBe(name);
    const shipped = readdirSync(join(corpora, name)).length > 1;
    if (shipped) expect(source?.made).toBeTruthy();
    else
      expect(source?.url ?? source?.files?.[0]?.url).toMatch(
        /raw\.githubusercontent\.com\/.*\/[0-9a-f]{40}\//,
      );
  });

  test("the language localizer has 240 sentences and 240 strings, equal in word lengths", async () => {
    const set = await loadStimulusSet(join(corpora, "language-localizer"));
    const { positive, negative } = contrastSet(set);
    expect([positive.length, negative.length]).toEqual([240, 240]);
    expect(new Set(positive.map(({ text }) => text)).size).toBe(240);
    const words = new Set(positive.flatMap(({ text }) => text.split(" ")));
    positive.forEach(({ text }, i) => {
      const sentence = text.split(" ");
      const nonwords = negative[i]!.text.split(" ");
      expect(text).toMatch(/^[a-z ]+$/);
      expect(sentence).toHaveLength(12);
      expect(nonwords.map((w) => w.length)).toEqual(sentence.map((w) => w.length));
      expect(nonwords.filter((w) => words.has(w))).toEqual([]);
    });
  });

  test("the theory-of-mind localizer has 12 stories of each kind, with both answers drawn", async () => {
    const set = await loadStimulusSet(join(corpora, "theory-of-mind"));
    const { positive, negative } = contrastSet(set);
    expect([positive.length, negative.length]).toEqual([12, 12]);
    for (const {
      text,
      columns: { answer },
    } of set.stimuli) {
      expect(text).toMatch(
        /^[^\n]+\nStory: [^\n]+\nQuestion: [^\n]+\nOptions:\n- True\n- False\nAnswer: (True|False)$/,
      );
      expect(answer).toMatch(/^(True|False)$/);
    }
    for (const side of [positive, negative]) {
      expect(side.filter(({ columns: { answer } }) => answer === "True")).toHaveLength(6);
    }
  });

  test("the prose has 60 passages of 50 to 80 words", async () => {
    const [task] = await loadTasks(join(corpora, "prose"));
    if (task?.kind !== "text") throw new Error("expected a text task");
    expect(task.passages).toHaveLength(60);
    for (const { text } of task.passages) {
      const n = text.split(/\s+/).length;
      expect(n).toBeGreaterThanOrEqual(50);
      expect(n).toBeLessThanOrEqual(80);
    }
  });

  test("the hashes are those of the data", async () => {
    for (const [name, file] of [
      ["language-localizer", "stimuli.tsv"],
      ["theory-of-mind", "stimuli.tsv"],
      ["prose", "passages.jsonl"],
    ] as const) {
      const source = await readSource(join(corpora, name));
      expect(source?.sha256).toBe(await sha256File(join(corpora, name, file)));
    }
  });

  test.each(["language-localizer", "theory-of-mind"])("%s is made again, byte for byte", (name) => {
    const copy = mkdtempSync(join(tmpdir(), "penfield-corpus-"));
    try {
      cpSync(join(corpora, name), copy, { recursive: true });
      rmSync(join(copy, "stimuli.tsv"));
      execFileSync(process.execPath, [join(copy, "make.mjs")]);
      expect(readFileSync(join(copy, "stimuli.tsv"), "utf8")).toBe(
        readFileSync(join(corpora, name, "stimuli.tsv"), "utf8"),
      );
    } finally {
      rmSync(copy, { recursive: true, force: true });
    }
  });
});

describe.skipIf(!existsSync(shared))(
  "published sets of ../shared/data (skipped when absent)",
  () => {
    test("their copies have the hashes that source.json pins", async () => {
      for (const [name, folder] of [
        ["langloc", "langloc"],
        ["syntaxgym", "syntaxgym"],
      ] as const) {
        const source = await readSource(join(corpora, name));
        for (const { path, sha256: pinned, bytes } of source!.files!) {
          const copy = readFileSync(join(shared, folder, path));
          expect(sha256(copy)).toBe(pinned);
          expect(copy.length).toBe(bytes);
        }
      }
      const zips = {
        blimp: "blimp/BLiMP.zip",
        "false-belief": "tom_localizer/raw_english_item_textfiles.zip",
      };
      for (const [name, path] of Object.entries(zips)) {
        expect((await readSource(join(corpora, name)))!.sha256).toBe(
          await sha256File(join(shared, path)),
        );
      }
    });

    test("the language localizer: 240 sentences, 240 lists, twelve words", async () => {
      const set = await loadStimulusSet(join(shared, "langloc"));
      const { positive, negative } = contrastSet(set);
      expect([positive.length, negative.length]).toEqual([240, 240]);
      expect(set.stimuli.every(({ text }) => /^\S+( \S+){11}$/.test(text))).toBe(true);
    });

    test("the false-belief localizer: 10 and 10", async () => {
      const { positive, negative } = contrastSet(
        await loadStimulusSet(join(shared, "tom_localizer")),
      );
      expect([positive.length, negative.length]).toEqual([10, 10]);
      expect(positive[0]!.text).not.toContain("True True");
    });

    test("BLiMP: 67 phenomena of 1000 pairs", async () => {
      const tasks = await loadTasks(join(shared, "blimp"));
      expect(tasks).toHaveLength(67);
      for (const task of tasks) {
        if (task.kind !== "minimal-pairs") throw new Error("expected minimal pairs");
        expect(task.items).toHaveLength(1000);
      }
    });

    test("SyntaxGym: 31 suites whose formulas all can be read", async () => {
      const tasks = await loadTasks(join(shared, "syntaxgym"));
      expect(tasks).toHaveLength(31);
      const nItems = tasks.map((task) => (task.kind === "syntaxgym" ? task.items.length : 0));
      expect(Math.min(...nItems)).toBe(19);
    });
  },
);
