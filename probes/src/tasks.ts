import { basename } from "node:path";
import { createRng, sampleWithoutReplacement, sha256 } from "@penfield/core";
import { loadTasks, readSource, type Task } from "@penfield/recordings";
import type { ReportStimuli } from "@penfield/report";

/** What a task is for: `language` should suffer from losing language units, `control` should not. */
export type TaskRole = "language" | "control" | "text";

export interface RoledTask {
  readonly task: Task;
  readonly role: TaskRole;
}

const roles: Record<Task["kind"], TaskRole> = {
  "minimal-pairs": "language",
  syntaxgym: "language",
  continuation: "control",
  text: "text",
};

/**
 * Reads tasks from folders and files. Minimal pairs of one folder become one task with a group per
 * file; other tasks stay apart.
 *
 * @param itemsPerGroup - Take so many items of each file's task, drawn with the seed.
 */
export async function gatherTasks(
  paths: readonly string[],
  { itemsPerGroup, seed }: { itemsPerGroup: number | undefined; seed: number },
): Promise<{ tasks: readonly RoledTask[]; stimuli: readonly ReportStimuli[] }> {
  const tasks: RoledTask[] = [];
  const stimuli: ReportStimuli[] = [];
  for (const path of paths) {
    const loaded = await loadTasks(path);
    const source = await readSource(path).catch(() => undefined);
    const limited = loaded.map((task) => limitItems(task, itemsPerGroup, seed));
    const merged = mergePairs(limited, source?.name ?? basename(path, ".zip"), source?.title);
    for (const task of merged) {
      tasks.push({ task, role: roles[task.kind] });
      stimuli.push({
        role: `${roles[task.kind]} task`,
        name: task.id,
        title: source && merged.length > 1 ? `${source.title}: ${task.title}` : task.title,
        sha256: sha256(JSON.stringify(task)),
        licence: source?.licence ?? "unknown",
        nItems: task.kind === "text" ? task.passages.length : task.items.length,
      });
    }
  }
  return { tasks, stimuli };
}

/** Minimal pairs of one collection are one task; each of its files (a BLiMP paradigm) is a group. */
function mergePairs(
  tasks: readonly Task[],
  name: string,
  title: string | undefined,
): readonly Task[] {
  const pairs = tasks.filter((task) => task.kind === "minimal-pairs");
  if (pairs.length < 2) return tasks;
  const merged: Task = {
    kind: "minimal-pairs",
    id: name.replace(/[^A-Za-z0-9._-]/g, "-"),
    title: title ?? `Minimal pairs of ${name}`,
    items: pairs.flatMap((task) =>
      // Each file counts its items from the start: the file's name keeps them apart.
      task.items.map((item) => ({ ...item, id: `${task.id}-${item.id}`, group: task.id })),
    ),
  };
  return [merged, ...tasks.filter((task) => task.kind !== "minimal-pairs")];
}

/** So many items of a task, drawn with the seed, in the task's order. */
function limitItems(task: Task, limit: number | undefined, seed: number): Task {
  const some = <T>(list: readonly T[]): readonly T[] =>
    limit === undefined || limit >= list.length
      ? list
      : Array.from(sampleWithoutReplacement(list.length, limit, createRng(seed)), (i) => list[i]!);
  switch (task.kind) {
    case "minimal-pairs":
      return { ...task, items: some(task.items) };
    case "continuation":
      return { ...task, items: some(task.items) };
    case "syntaxgym":
      return { ...task, items: some(task.items) };
    case "text":
      return { ...task, passages: some(task.passages) };
  }
}
