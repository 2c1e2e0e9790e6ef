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
