import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { DataError, FormatError, fileError } from "@penfield/core";
import { loadStimulusSet } from "@penfield/recordings";

/** One text of a corpus, or its tokens. */
export type CorpusItem = { readonly id: string } & (
  | { readonly text: string }
  | { readonly tokens: readonly number[] }
);

/** What activations can be captured of: texts, rows of tokens, or items with ids of their own. */
export type Corpus = readonly (string | readonly number[] | CorpusItem)[];

/** An item for each element; those without an id are called by their place. */
export function corpusItems(corpus: Corpus): CorpusItem[] {
  return corpus.map((item, i): CorpusItem => {
    if (typeof item === "string") return { id: String(i), text: item };
    return "id" in item ? item : { id: String(i), tokens: item };
  });
}

/**
 * Reads a corpus from disk:
 *
 * - a `.txt` file: one text a line (blank lines are skipped), called `file:line`;
 * - a `.jsonl` file: one object a line, with `text` or `tokens`, and an `id` if it has one;
 * - a folder with `source.json` or `stimuli.tsv`, or a table: what `loadStimulusSet` reads;
 * - any other folder: its `.txt` and `.jsonl` files in the order of their names.
 *
 * @throws {FileError} if it cannot be read.
 * @throws {FormatError} with file and line, if a line is not what its form promises.
 * @throws {DataError} if there is no text in it.
 *
 * Cost: files are streamed by lines; the texts are held in memory.
 */
export async function loadCorpus(path: string): Promise<CorpusItem[]> {
  const info = await stat(path).catch((cause) => {
    throw fileError("loadCorpus", path, cause);
  });
  const items: CorpusItem[] = [];
  if (info.isDirectory()) {
    const names = (await readdir(path)).filter((name) => !name.startsWith(".")).sort();
    const isSet = names.includes("source.json") || names.includes("stimuli.tsv");
    const files = isSet ? [] : names.filter((name) => /\.(txt|jsonl)$/.test(name));
    if (files.length === 0) return stimuli(path);
    for (const name of files) items.push(...(await readLines(join(path, name))));
  } else if (/\.(txt|jsonl)$/.test(path)) items.push(...(await readLines(path)));
  else return stimuli(path);
  if (items.length === 0) {
    throw new DataError(`loadCorpus: ${path}: expected at least one text, got none`);
  }
  return items;
}

async function stimuli(path: string): Promise<CorpusItem[]> {
  const set = await loadStimulusSet(path);
  return set.stimuli.map(({ id, text }) => ({ id, text }));
}

async function readLines(path: string): Promise<CorpusItem[]> {
  const name = basename(path);
  const items: CorpusItem[] = [];
  const stream = createReadStream(path, "utf8");
  let line = 0;
  try {
    for await (const words of createInterface({ input: stream, crlfDelay: Infinity })) {
      const text = line++ === 0 ? words.replace(/^\ufeff/, "") : words;
      if (text.trim() === "") continue;
      const id = `${name}:${line}`;
      items.push(
        name.endsWith(".txt") ? { id, text } : parseLine(text, id, `${path}: line ${line}`),
      );
    }
  } catch (cause) {
    if (cause instanceof FormatError) throw cause;
    throw fileError("loadCorpus", path, cause);
  }
  return items;
}

function parseLine(json: string, place: string, where: string): CorpusItem {
  let value: { id?: unknown; text?: unknown; tokens?: unknown } | null;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw new FormatError(
      `loadCorpus: ${where}: expected a JSON object, got ${JSON.stringify(json.slice(0, 60))}`,
      { cause },
    );
  }
  const id =
    typeof value?.id === "string" || typeof value?.id === "number" ? String(value.id) : place;
  if (Array.isArray(value?.tokens)) return { id, tokens: value.tokens };
  if (typeof value?.text === "string") return { id, text: value.text };
  throw new FormatError(
    `loadCorpus: ${where}: expected an object with text or tokens, got ${json.slice(0, 60)}`,
    { hint: 'One object a line: {"id": "a", "text": "..."}.' },
  );
}
