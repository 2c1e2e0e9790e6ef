import { basename, extname } from "node:path";
import { createRng, DataError, FormatError } from "@penfield/core";
import type { Input, InputFile } from "./input.ts";
import { parseJsonLines, textOf } from "./jsonLines.ts";
import type { Stimulus } from "./stimulusSet.ts";
import { column, parseTable, type Table } from "./table.ts";
import { decodeText } from "./text.ts";
import { readZip } from "./zip.ts";

/** `stimuli.tsv` (or one CSV file): id, text, and further columns, of which `condition` is special. */
export function stimuliFromTable({ files }: Input): readonly Stimulus[] {
  return files.flatMap((file) => {
    const table = readTable(file, file.name.toLowerCase().endsWith(".csv") ? "comma" : "tab");
    const ids = column(table, "id", file.path);
    const texts = column(table, "text", file.path);
    const conditions = table.columns.includes("condition")
      ? column(table, "condition", file.path)
      : undefined;
    return texts.map((text, row) => {
      requireText(ids[row]!, "id", file.path, table.lines[row]!);
      requireText(text, "text", file.path, table.lines[row]!);
      return {
        id: ids[row]!,
        text,
        condition: conditions?.[row] || undefined,
        columns: otherColumns(table, row, ["id", "text", "condition"]),
      };
    });
  });
}

const WORD_COLUMNS = Array.from({ length: 12 }, (_, i) => `stim${i + 2}`);

/** The language localizer's CSVs: twelve words in stim2..stim13, the condition (S or N) in stim14. */
export function langlocStimuli({ files }: Input): readonly Stimulus[] {
  return files.flatMap((file) => {
    const table = readTable(file, "comma");
    const words = WORD_COLUMNS.map((name) => column(table, name, file.path));
    const conditions = column(table, "stim14", file.path);
    return conditions.map((cell, row) => {
      const line = table.lines[row]!;
      const condition = cell.trim();
      if (condition !== "S" && condition !== "N") {
        throw new FormatError(
          `loadStimulusSet: ${file.path}: line ${line}: expected S or N in stim14, got ${JSON.stringify(condition)}`,
        );
      }
      const text = words.map((word) => word[row]!.trim().toLowerCase()).join(" ");
      requireText(text, "stim2..stim13", file.path, line);
      // stim1 counts within blocks of three, so it is no id.
      const id = `${basename(file.name, extname(file.name))}-${String(row + 1).padStart(2, "0")}`;
      return { id, text, condition, columns: { file: file.name } };
    });
  });
}

/** The words before a story in the published language-model version; the wording is ours. */
const INSTRUCTION =
  "Read the story and decide whether the statement in the question is true or false.";

/**
 * The false-belief localizer's archive: `<n>belief_story.txt`, `<n>belief_question.txt` and the same
 * for `photo`. The answer at the end is drawn with a fixed seed (the published version drew it without).
 */
export function falseBeliefStimuli({ files }: Input): readonly Stimulus[] {
  const rng = createRng(0);
  return files.flatMap((file) => {
    const entries = readZip(file.bytes, { file: file.path, match: /\d+(belief|photo)_\w+\.txt$/ });
    const texts = new Map(
      entries.map(({ name, text }) => [basename(name, ".txt"), text.replace(/\s+/g, " ").trim()]),
    );
    const stories = [...texts.keys()].filter((key) => key.endsWith("_story"));
    if (stories.length === 0) {
      throw new DataError(
        `loadStimulusSet: ${file.path}: expected stories such as 1belief_story.txt, got none`,
      );
    }
    return stories.map((key) => {
      const [, number, condition] = /^(\d+)(belief|photo)_story$/.exec(key) ?? [];
      if (number === undefined || condition === undefined) {
        throw new FormatError(
          `loadStimulusSet: ${file.path}: expected a name such as 1belief_story.txt, got ${key}.txt`,
        );
      }
      const asked = texts.get(`${number}${condition}_question`);
      if (asked === undefined) {
        throw new DataError(
          `loadStimulusSet: ${file.path}: expected ${number}${condition}_question.txt beside its story, got none`,
        );
      }
      const story = texts.get(key)!;
      const question = asked.replace(/ True False$/, "");
      const answer = rng.uniform() < 0.5 ? "True" : "False";
      return {
        id: `${condition}${number.padStart(2, "0")}`,
        text: `${INSTRUCTION}\nStory: ${story}\nQuestion: ${question}\nOptions:\n- True\n- False\nAnswer: ${answer}`,
        condition,
        columns: { story, question },
      };
    });
  });
}

/** Pereira et al. 2018: six sentences for each of 180 concepts; the column `concept` groups them. */
export function pereiraStimuli({ files }: Input): readonly Stimulus[] {
  return files.flatMap((file) => {
    const table = readTable(file, "comma");
    const concepts = column(table, "Concept", file.path);
    const numbers = column(table, "Sentence_Nr", file.path);
    const sentences = column(table, "Sentence_Screen", file.path);
    return sentences.map((sentence, row) => {
      const text = sentence.trim();
      requireText(text, "Sentence_Screen", file.path, table.lines[row]!);
      const concept = concepts[row]!.trim().toLowerCase();
      return { id: `${concept}-${numbers[row]!.trim()}`, text, columns: { concept } };
    });
  });
}

/** Passages: {"id", "text"} a line, further texts as columns. */
export function textStimuli({ files }: Input): readonly Stimulus[] {
  return files.flatMap((file) =>
    parseJsonLines(decodeText(file.bytes, file.path), file.path).map((line) => {
      const { condition, ...others } = line.value;
      const columns = Object.entries(others).flatMap(([key, value]) =>
        key !== "id" && key !== "text" && typeof value === "string" ? [[key, value] as const] : [],
      );
      return {
        id: textOf(line, "id", file.path),
        text: textOf(line, "text", file.path),
        condition: typeof condition === "string" ? condition : undefined,
        columns: Object.fromEntries(columns),
      };
    }),
  );
}

function readTable(file: InputFile, delimiter: "tab" | "comma"): Table {
  return parseTable(decodeText(file.bytes, file.path), { file: file.path, delimiter });
}

function otherColumns(
  table: Table,
  row: number,
  without: readonly string[],
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    table.columns.flatMap((name, i) =>
      without.includes(name) ? [] : [[name, table.rows[row]![i]!] as const],
    ),
  );
}

function requireText(text: string, name: string, file: string, line: number): void {
  if (text.trim() === "") {
    throw new DataError(
      `loadStimulusSet: ${file}: line ${line}: expected a text under ${name}, got none`,
    );
  }
}
