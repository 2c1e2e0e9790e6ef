import { existsSync } from "node:fs";
import { join } from "node:path";
import { isOrganism, organismFolder } from "@penfield/organisms";
import { corporaFolder } from "@penfield/probes";

/** The folder of a set that ships with Penfield, if it is the name of one; else the path itself. */
export function corpusPath(nameOrPath: string): string {
  const shipped = join(corporaFolder, nameOrPath);
  return /^[\w-]+$/.test(nameOrPath) && existsSync(shipped) ? shipped : nameOrPath;
}

/** The folder of a model that ships with Penfield, if it is the name of one; else the path or hub id itself. */
export const modelPath = (name: string): string => (isOrganism(name) ? organismFolder(name) : name);
