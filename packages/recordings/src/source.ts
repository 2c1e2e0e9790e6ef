import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { FormatError, fileError } from "@penfield/core";
import { z } from "zod";

/** The ways of reading a set, named in `source.json`. */
export const loaders = [
  "stimuli-tsv",
  "langloc-csv",
  "false-belief-zip",
  "pereira180-csv",
  "blimp-jsonl",
  "continuation-jsonl",
  "text-jsonl",
  "syntaxgym",
] as const;

/** The name of a way of reading a set. */
export type Loader = (typeof loaders)[number];

/** One file of a published set: where it is, and which bytes it must have. */
export interface CorpusFile {
  /** Its name in the set's folder. */
  readonly path: string;
  readonly url: string;
  readonly sha256: string;
  readonly bytes?: number | undefined;
}

/** What a set is, where it comes from and how it is read: the content of `source.json`. */
export interface CorpusSource {
  readonly name: string;
  readonly title: string;
  readonly description?: string | undefined;
  readonly citation?: string | undefined;
  readonly licence: string;
  readonly loader: Loader;
  /** Which condition is set against which. */
  readonly contrast?: { readonly positive: string; readonly negative: string } | undefined;
  readonly url?: string | undefined;
  readonly sha256?: string | undefined;
  readonly bytes?: number | undefined;
  readonly files?: readonly CorpusFile[] | undefined;
  readonly made?: string | undefined;
  readonly seed?: number | undefined;
}

const hash = z.string().regex(/^[0-9a-f]{64}$/, "64 hexadecimal digits");
const plainName = z
  .string()
  .regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/, "a plain file name of letters, digits, - _ .");
const address = z.string().regex(/^https?:\/\/\S+$/, "an http or https address");
const byteCount = z.number().int().nonnegative();

const sourceSchema = z.object({
  name: plainName,
  title: z.string().min(1),
  description: z.string().optional(),
  citation: z.string().optional(),
  licence: z.string().min(1),
  loader: z.enum(loaders),
  contrast: z.object({ positive: z.string(), negative: z.string() }).optional(),
  url: address.optional(),
  sha256: hash.optional(),
  bytes: byteCount.optional(),
  files: z
    .array(z.object({ path: plainName, url: address, sha256: hash, bytes: byteCount.optional() }))
    .min(1)
    .optional(),
  made: z.string().optional(),
  seed: z.number().int().optional(),
});

/**
 * Checks what `source.json` says about a set.
 *
 * @param text - The file's content.
 * @param file - How error messages call it.
 * @throws {FormatError} naming the field, if it is not JSON or a field is missing or wrong.
 *
 * @example
 * parseSource('{"name":"a","title":"A","licence":"MIT","loader":"text-jsonl"}').loader // => "text-jsonl"
 */
export function parseSource(text: string, file = "source.json"): CorpusSource {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new FormatError(
      `parseSource: ${file}: expected JSON, got text that is not: ${(cause as Error).message}`,
      { cause },
    );
  }
  const result = sourceSchema.safeParse(value);
  if (!result.success) {
    const issue = result.error.issues[0]!;
    throw new FormatError(
      `parseSource: ${file}: field ${issue.path.join(".") || "(all)"}: ${issue.message}`,
      { hint: "corpora/README.md lists the fields of source.json." },
    );
  }
  return result.data;
}

/** The `source.json` of a folder, or undefined when it has none. */
export async function readSource(folder: string): Promise<CorpusSource | undefined> {
  const path = join(folder, "source.json");
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw fileError("readSource", path, cause);
  }
  return parseSource(text, path);
}
