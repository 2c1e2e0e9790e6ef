import { readdir, stat } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import { DataError, fileError, sha256 } from "@penfield/core";
import { type CorpusSource, type Loader, readSource } from "./source.ts";
import { decodeText, readBytes } from "./text.ts";
import { readZip } from "./zip.ts";

/** One file of a set, read. */
export interface InputFile {
  readonly name: string;
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** A set as it lies on disk: its files, what is said about it, and how to read it. */
export interface Input {
  readonly path: string;
  readonly source: CorpusSource | undefined;
  readonly loader: Loader;
  readonly files: readonly InputFile[];
  /** Of the one file, or of the list of all files' hashes and names. */
  readonly sha256: string;
  readonly name: string;
}

/** Which files of a folder belong to the set. */
const members: Record<Loader, (names: readonly string[]) => readonly string[]> = {
  "stimuli-tsv": (names) => names.filter((n) => n === "stimuli.tsv"),
  "langloc-csv": (names) => names.filter((n) => n.endsWith(".csv")),
  "false-belief-zip": (names) => names.filter((n) => n.endsWith(".zip")),
  "pereira180-csv": (names) => names.filter((n) => n === "screen_sentences.csv"),
  "blimp-jsonl": (names) => {
    const zips = names.filter((n) => n.endsWith(".zip"));
    return zips.length > 0 ? zips : names.filter((n) => n.endsWith(".jsonl"));
  },
  "continuation-jsonl": (names) => names.filter((n) => n.endsWith(".jsonl")),
  "text-jsonl": (names) => names.filter((n) => n.endsWith(".jsonl")),
  syntaxgym: (names) => names.filter((n) => n.endsWith(".json") && n !== "source.json"),
};

/** Finds the files of a set (a folder, or one file) and how to read them. */
export async function openInput(path: string, doing: string): Promise<Input> {
  const info = await stat(path).catch((cause) => {
    throw fileError(doing, path, cause);
  });
  if (!info.isDirectory()) {
    const file = { name: basename(path), path, bytes: await readBytes(path, doing) };
    const besides = await readSource(dirname(path));
    const loader = detect(file) ?? besides?.loader;
    if (loader === undefined) throw unknown(doing, path);
    // A source.json beside the file speaks for it only if it means this kind of file.
    const source = besides?.loader === loader ? besides : undefined;
    return make(path, source, loader, [file]);
  }
  const source = await readSource(path);
  const names = (await readdir(path)).filter((n) => !n.startsWith(".")).sort();
  if (source) {
    const files = await readAll(path, members[source.loader](names), doing);
    if (files.length === 0) throw notFetched(doing, path, source);
    return make(path, source, source.loader, files);
  }
  const found = await detectFolder(path, names, doing);
  if (!found) throw unknown(doing, path);
  return make(path, undefined, found, await readAll(path, members[found](names), doing));
}

function make(
  path: string,
  source: CorpusSource | undefined,
  loader: Loader,
  files: readonly InputFile[],
): Input {
  const hashes = files.map((file) => sha256(file.bytes));
  const whole =
    files.length === 1
      ? hashes[0]!
      : sha256(files.map((file, i) => `${hashes[i]}  ${file.name}\n`).join(""));
  const name = source?.name ?? basename(path, extname(path));
  return { path, source, loader, files, sha256: whole, name };
}

function readAll(
  folder: string,
  names: readonly string[],
  doing: string,
): Promise<readonly InputFile[]> {
  return Promise.all(
    names.map(async (name) => {
      const path = join(folder, name);
      return { name, path, bytes: await readBytes(path, doing) };
    }),
  );
}

async function detectFolder(
  folder: string,
  names: readonly string[],
  doing: string,
): Promise<Loader | undefined> {
  if (names.includes("stimuli.tsv")) return "stimuli-tsv";
  if (names.includes("screen_sentences.csv")) return "pereira180-csv";
  for (const extension of [".zip", ".csv", ".jsonl", ".json"]) {
    const name = names.find((n) => n.endsWith(extension));
    if (name === undefined) continue;
    const path = join(folder, name);
    const loader = detect({ name, path, bytes: await readBytes(path, doing) });
    if (loader !== undefined) return loader;
  }
  return undefined;
}

/** How to read a file, by what it contains. */
function detect({ name, path, bytes }: InputFile): Loader | undefined {
  const extension = extname(name).toLowerCase();
  if (extension === ".tsv") return "stimuli-tsv";
  if (extension === ".zip") {
    const entries = readZip(bytes, { file: path, match: /(_story\.txt|\.jsonl)$/ });
    if (entries.some((e) => e.name.endsWith(".jsonl"))) return "blimp-jsonl";
    return entries.length > 0 ? "false-belief-zip" : undefined;
  }
  const start = decodeStart(bytes, path);
  if (extension === ".csv") {
    if (/(^|,)"?stim14"?(,|\n|$)/.test(start.split("\n")[0]!)) return "langloc-csv";
    if (start.includes("Sentence_Screen")) return "pereira180-csv";
    return /(^|,)"?id"?(,|$)/.test(start) && /(^|,)"?text"?(,|$)/.test(start)
      ? "stimuli-tsv"
      : undefined;
  }
  if (extension === ".jsonl") {
    if (start.includes('"sentence_good"')) return "blimp-jsonl";
    if (start.includes('"prompt"')) return "continuation-jsonl";
    return start.includes('"text"') ? "text-jsonl" : undefined;
  }
  return extension === ".json" && decodeText(bytes, path).includes('"predictions"')
    ? "syntaxgym"
    : undefined;
}

function decodeStart(bytes: Uint8Array, path: string): string {
  const text = decodeText(bytes, path);
  return text.slice(0, text.indexOf("\n") < 0 ? undefined : text.indexOf("\n"));
}

function notFetched(doing: string, path: string, source: CorpusSource): DataError {
  return new DataError(
    `${doing}: ${path}: expected the files of ${source.name} beside source.json, got none`,
    {
      hint:
        source.url || source.files
          ? `Fetch the set first: fetchCorpus, or penfield corpora fetch ${source.name}.`
          : "Add its data file.",
    },
  );
}

function unknown(doing: string, path: string): DataError {
  return new DataError(
    `${doing}: ${path}: expected a stimulus set or a task in a known form, got something else`,
    {
      hint: "Write stimuli.tsv with the columns id, condition and text; corpora/README.md shows every form.",
    },
  );
}
