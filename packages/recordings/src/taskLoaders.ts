import { basename, extname } from "node:path";
import { DataError } from "@penfield/core";
import type { Input } from "./input.ts";
import { type JsonLine, parseJsonLines, textOf } from "./jsonLines.ts";
import type { Stimulus } from "./stimulusSet.ts";
import { parseSuite } from "./suite.ts";
import type { ContinuationTask, MinimalPairTask, SuiteTask, Task, TextTask } from "./tasks.ts";
import { decodeText } from "./text.ts";
import { readZip } from "./zip.ts";

interface Part {
  readonly id: string;
  readonly file: string;
  readonly text: string;
}

/** The text files of a set, whether they lie in a folder or in an archive. */
function parts({ files, path }: Input): readonly Part[] {
  const all = files.flatMap((file) => {
    if (!file.name.endsWith(".zip")) {
      const id = basename(file.name, extname(file.name));
      return [{ id, file: file.path, text: decodeText(file.bytes, file.path) }];
    }
    return readZip(file.bytes, { file: file.path, match: /\.jsonl$/ }).map(({ name, text }) => ({
      id: basename(name, ".jsonl"),
      file: `${file.path}: ${name}`,
      text,
    }));
  });
  if (all.length === 0) throw new DataError(`loadTasks: ${path}: expected task files, got none`);
  return all;
}

const titleOf = (id: string): string => id.replace(/[_-]+/g, " ");

/** The lines of a part with their ids, each once. */
function linesOf(part: Part, idKey: string): readonly (JsonLine & { readonly id: string })[] {
  const seen = new Map<string, number>();
  return parseJsonLines(part.text, part.file).map((line) => {
    const raw = line.value[idKey];
    const id = typeof raw === "number" ? String(raw) : textOf(line, idKey, part.file);
    const before = seen.get(id);
    if (before !== undefined) {
      throw new DataError(
        `loadTasks: ${part.file}: line ${line.line}: expected each ${idKey} once, got ${JSON.stringify(id)}, which line ${before} has`,
      );
    }
    seen.set(id, line.line);
    return { ...line, id };
  });
}

export function minimalPairTasks(input: Input): readonly MinimalPairTask[] {
  return parts(input).map((part) => ({
    kind: "minimal-pairs",
    id: part.id,
    title: titleOf(part.id),
    items: linesOf(part, "pairID").map((line) => {
      const { linguistics_term: term } = line.value;
      return {
        id: line.id,
        good: textOf(line, "sentence_good", part.file),
        bad: textOf(line, "sentence_bad", part.file),
        group: typeof term === "string" ? term : part.id,
      };
    }),
  }));
}

export function continuationTasks(input: Input): readonly ContinuationTask[] {
  return parts(input).map((part) => ({
    kind: "continuation",
    id: part.id,
    title: titleOf(part.id),
    items: linesOf(part, "id").map((line) => ({
      id: line.id,
      prompt: textOf(line, "prompt", part.file),
      good: textOf(line, "good", part.file),
      bad: textOf(line, "bad", part.file),
    })),
  }));
}

export function textTasks(input: Input): readonly TextTask[] {
  return parts(input).map((part) => ({
    kind: "text",
    id: part.id,
    title: titleOf(part.id),
    passages: linesOf(part, "id").map((line) => ({
      id: line.id,
      text: textOf(line, "text", part.file),
    })),
  }));
}

export function suiteTasks(input: Input): readonly SuiteTask[] {
  return parts(input).map(({ id, file, text }) => parseSuite(text, { id, file }));
}

/** The texts of tasks as stimuli: good and bad ones, or the conditions of a suite's items. */
export function taskStimuli(input: Input): readonly Stimulus[] {
  const tasks: readonly Task[] =
    input.loader === "syntaxgym"
      ? suiteTasks(input)
      : input.loader === "blimp-jsonl"
        ? minimalPairTasks(input)
        : continuationTasks(input);
  return tasks.flatMap(textsOf);
}

function textsOf(task: Task): readonly Stimulus[] {
  const one = (item: string, condition: string, text: string): Stimulus => ({
    id: `${task.id}-${item}-${condition}`,
    text,
    condition,
    columns: { task: task.id, item },
  });
  switch (task.kind) {
    case "minimal-pairs":
      return task.items.flatMap(({ id, good, bad }) => [
        one(id, "good", good),
        one(id, "bad", bad),
      ]);
    case "continuation":
      return task.items.flatMap(({ id, prompt, good, bad }) => [
        one(id, "good", prompt + good),
        one(id, "bad", prompt + bad),
      ]);
    case "syntaxgym":
      return task.items.flatMap(({ id, conditions }) =>
        conditions.map(({ name, regions }) =>
          one(id, name, regions.filter((region) => region !== "").join(" ")),
        ),
      );
    case "text":
      return task.passages.map(({ id, text }) => one(id, "text", text));
  }
}
