import { existsSync } from "node:fs";
import { join } from "node:path";
import { corporaFolder } from "@penfield/probes";

/** The folder of a set that ships with Penfield, if it is the name of one; else the path itself. */
export function corpusPath(nameOrPath: string): string {
  const shipped = join(corporaFolder, nameOrPath);
  return /^[\w-]+$/.test(nameOrPath) && existsSync(shipped) ? shipped : nameOrPath;
}
