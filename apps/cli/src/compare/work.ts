import { createHash } from "node:crypto";
import { join, resolve } from "node:path";
import { UsageError } from "@penfield/core";
import { cacheFolder } from "@penfield/hooks";
import { clearStore, folderStore, type WorkStore } from "@penfield/probes";
import { checkDestination } from "@penfield/report";
import type { Values } from "../options.ts";

/** Where finished parts of a command are kept: found again only by the same command on the same data. */
export async function openWork(
  verb: string,
  inputs: unknown,
  resume: boolean,
): Promise<{ store: WorkStore; clear: () => Promise<void> }> {
  const key = createHash("sha256").update(JSON.stringify(inputs)).digest("hex").slice(0, 16);
  const folder = join(cacheFolder(), "work", `${verb}-${key}`);
  if (!resume) await clearStore(folder);
  return { store: folderStore(folder), clear: () => clearStore(folder) };
}

/** The report's folder, if one is wanted; refused before any work if it is in use. */
export async function readDestination(
  values: Values,
): Promise<{ folder: string; replace: boolean } | undefined> {
  const out = values["out"] as string | undefined;
  const replace = Boolean(values["replace"]);
  if (out === undefined) {
    if (replace) throw new UsageError("--replace: expected --out DIR beside it, got none");
    return undefined;
  }
  if (out === "") throw new UsageError("--out: expected a folder, got an empty name");
  const folder = resolve(out);
  await checkDestination(folder, { replace });
  return { folder, replace };
}

/** What is kept is written at most so often: a file for each of thousands of quick values would take longer than they. */
const WRITE_EVERY_MS = 500;

/** Values by their key, kept many to a file. */
export interface ValueStore {
  getJson(key: string): Promise<unknown>;
  putJson(key: string, value: unknown): Promise<void>;
  /** Writes what is not written yet: before a command ends, however it ends. */
  flush(): Promise<void>;
}

/** A store of many small values in one of few large parts. */
export async function valueStore(store: WorkStore): Promise<ValueStore> {
  const values = new Map<string, unknown>();
  let nParts = 0;
  for (; ; nParts++) {
    const part = await store.getJson(`values ${nParts}`);
    if (!Array.isArray(part)) break;
    for (const [key, value] of part as [string, unknown][]) values.set(key, value);
  }
  let waiting: [string, unknown][] = [];
  let last = performance.now();
  const flush = async (): Promise<void> => {
    if (waiting.length === 0) return;
    const part = waiting;
    waiting = [];
    last = performance.now();
    await store.putJson(`values ${nParts++}`, part);
  };
  return {
    getJson: async (key) => values.get(key),
    async putJson(key, value) {
      values.set(key, value);
      waiting.push([key, value]);
      if (performance.now() - last > WRITE_EVERY_MS) await flush();
    },
    flush,
  };
}
