import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Where the stimulus sets lie that ship with Penfield. */
export const corporaFolder: string = fileURLToPath(new URL("../../corpora", import.meta.url));

/** The folder of a stimulus set that ships with Penfield. */
export function corpusFolder(name: string): string {
  return join(corporaFolder, name);
}
