import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { FileError, fileError } from "@penfield/core";

/** What a report's folder holds, and nothing else. */
const OWN = ["report.json", "arrays", "tables"];

/**
 * Refuses a folder that a report may not be written to: one with anything in it, unless `replace` is
 * given and all that is in it is an older report. Asked before hours of work are spent, and again when
 * the report is written.
 *
 * @throws {FileError} saying what is in the way; nothing is changed.
 */
export async function checkDestination(
  folder: string,
  { replace = false }: { replace?: boolean | undefined } = {},
): Promise<void> {
  const inside = await readdir(folder).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") return [];
    throw fileError("checkDestination", folder, cause);
  });
  if (inside.length === 0) return;
  if (!replace) {
    throw new FileError(
      `checkDestination: ${folder}: expected no such folder or an empty one, got ${inside.length} entries`,
      { hint: "Choose another folder with --out, or replace the old report with --replace." },
    );
  }
  const stranger = inside.find((name) => !OWN.includes(name));
  const text = await readFile(join(folder, "report.json"), "utf8").catch(() => "");
  if (stranger === undefined && text.includes('"penfield.report"')) return;
  throw new FileError(
    `checkDestination: ${folder}: expected an older report to replace, got a folder ${stranger === undefined ? "without one" : `with ${stranger} in it`}`,
    { hint: "Nothing was removed. Choose another folder with --out." },
  );
}
