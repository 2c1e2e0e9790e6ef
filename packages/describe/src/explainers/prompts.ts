import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ArgumentError, FormatError, fileError, sha256 } from "@penfield/core";

export type PromptName = "explain" | "detect" | "fuzz" | "output" | "simulate" | "surprisal";

/** The prompts that ship with the package, and the placeholders of each. */
const PLACEHOLDERS: Readonly<Record<PromptName, readonly string[]>> = {
  explain: ["fence", "contexts", "nearMisses", "raises", "lowers", "nExplanations"],
  detect: ["fence", "explanation", "contexts", "n"],
  fuzz: ["fence", "explanation", "contexts", "n"],
  output: ["fence", "explanation", "contexts", "n"],
  simulate: ["fence", "explanation", "tokens", "n"],
  surprisal: ["explanation", "context"],
};

/** A prompt file. */
export interface Prompt {
  readonly name: PromptName;
  /** Of the file's bytes: goes into every result that was made with it. */
  readonly sha256: string;
  /** What stands above the line `---`; empty where there is no such line. */
  readonly system: string;
  readonly user: string;
}

/** Where the prompts of the package lie: copy the folder to write others. */
export const promptFolder: string = fileURLToPath(new URL("../../prompts", import.meta.url));

/**
 * Reads a prompt: plain text with placeholders such as `{contexts}`; above a line `---` stands what the model is told about its task.
 *
 * @param folder - Default the package's own.
 * @throws {FileError} if it cannot be read.
 * @throws {FormatError} if a placeholder is missing or unknown.
 *
 * @example
 * (await readPrompt("detect")).user.includes("{explanation}") // => true
 */
export async function readPrompt(name: PromptName, folder: string = promptFolder): Promise<Prompt> {
  if (!Object.hasOwn(PLACEHOLDERS, name)) {
    throw new ArgumentError(
      `readPrompt: expected one of ${Object.keys(PLACEHOLDERS).join(", ")}, got ${name}`,
    );
  }
  const path = join(folder, `${name}.txt`);
  const text = await readFile(path, "utf8").catch((cause) => {
    throw fileError("readPrompt", path, cause);
  });
  const known = PLACEHOLDERS[name];
  const used = new Set(Array.from(text.matchAll(PLACEHOLDER), ([, word]) => word!));
  const unknown = [...used].filter((word) => !known.includes(word));
  const missing = known.filter((word) => !used.has(word));
  if (unknown.length > 0 || missing.length > 0) {
    throw new FormatError(
      `readPrompt: ${path}: expected the placeholders ${known.join(", ")}, got ${[...used].join(", ") || "none"}`,
    );
  }
  const line = /^---\r?\n/m.exec(text);
  return {
    name,
    sha256: sha256(text),
    system: line ? text.slice(0, line.index).trim() : "",
    user: (line ? text.slice(line.index + line[0].length) : text).trim(),
  };
}

const PLACEHOLDER = /\{([a-zA-Z]+)\}/g;

/** Text with its placeholders filled in; what is put in is not looked through again. */
export function fillPrompt(text: string, values: Readonly<Record<string, string>>): string {
  return text.replace(PLACEHOLDER, (whole, word: string) => values[word] ?? whole);
}
