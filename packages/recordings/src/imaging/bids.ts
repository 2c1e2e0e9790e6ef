import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import { DataError, FormatError, fileError } from "@penfield/core";
import { decodeText, readBytes } from "../text.ts";

/** What a file's name says in BIDS. */
export interface BidsName {
  /** `sub`, `ses`, `task`, `run`, `space`, `desc`, ...: without their prefix, `{ sub: "01" }`. */
  readonly entities: Readonly<Record<string, string>>;
  /** `bold`, `events`, `mask`, ... */
  readonly suffix: string;
  /** All of it: `.nii.gz`, `.dtseries.nii`. */
  readonly extension: string;
}

/**
 * Takes a BIDS file name apart.
 *
 * @param path - Folders before the name are ignored.
 * @returns undefined where the name is not of this form: `key-value` parts, a suffix and an extension, apart by `_`.
 *
 * @example
 * parseBidsName("sub-01/func/sub-01_task-rest_run-2_bold.nii.gz").entities.run // => "2"
 * parseBidsName("sub-01_hemi-L_bold.func.gii").extension // => ".func.gii"
 * parseBidsName("README") // => undefined
 */
export function parseBidsName(path: string): BidsName | undefined {
  const name = basename(path);
  const dot = name.indexOf(".");
  const stem = dot < 0 ? name : name.slice(0, dot);
  const parts = stem.split("_");
  const suffix = parts.pop()!;
  if (dot <= 0 || parts.length === 0 || !/^[A-Za-z0-9]+$/.test(suffix)) return undefined;
  const entities: Record<string, string> = {};
  for (const part of parts) {
    const match = /^([a-zA-Z0-9]+)-([a-zA-Z0-9+]+)$/.exec(part);
    if (match === null || Object.hasOwn(entities, match[1]!)) return undefined;
    entities[match[1]!] = match[2]!;
  }
  return { entities, suffix, extension: name.slice(dot) };
}

/** One file of a BIDS data set. */
export interface BidsFile extends BidsName {
  readonly path: string;
  /** The folder below `derivatives` (`fmriprep`), or undefined for raw data. */
  readonly pipeline: string | undefined;
  /** False for links whose content was not fetched (DataLad, git-annex). */
  readonly isFetched: boolean;
}

/** What to look for: one value, or several of which one must fit; null: the name must not have it. */
export interface BidsQuery {
  readonly [entity: string]: string | readonly string[] | null | undefined;
}

const LARGEST_DEPTH = 12;
const MOST_FILES = 1_000_000;
const IGNORED_FOLDERS = new Set(["sourcedata", "code", "node_modules", "stimuli"]);

/**
 * Finds the files of a BIDS data set, raw and below `derivatives/`, by what their names say.
 *
 * @param root - The data set's folder.
 * @param query - Entities (`sub`, `ses`, `task`, `run`, `space`, `desc`, ...), `suffix`, `extension` and
 *   `pipeline` (null: raw data only). `sub-01` and `01` are the same; so are run `1` and `01`.
 * @returns In order of path. Empty if nothing fits.
 * @throws {FileError} if the folder cannot be read.
 * @throws {DataError} if it has more than a million files.
 *
 * Cost: one walk over the folder; hidden folders, `sourcedata`, `code`, `stimuli` and linked folders are left out.
 * Source: BIDS 1.10, common principles.
 *
 * @example
 * const files = await findBids("study", { sub: "01", task: "words", suffix: "bold", pipeline: null });
 */
export async function findBids(root: string, query: BidsQuery = {}): Promise<readonly BidsFile[]> {
  const files: BidsFile[] = [];
  let nSeen = 0;
  const walk = async (folder: string, depth: number): Promise<void> => {
    const entries = await readdir(folder, { withFileTypes: true }).catch((cause) => {
      throw fileError("findBids", folder, cause);
    });
    for (const entry of entries) {
      const path = join(folder, entry.name);
      if (entry.name.startsWith(".")) continue;
      if (entry.isDirectory()) {
        if (depth < LARGEST_DEPTH && !IGNORED_FOLDERS.has(entry.name)) await walk(path, depth + 1);
        continue;
      }
      if (++nSeen > MOST_FILES) {
        throw new DataError(`findBids: ${root}: expected at most ${MOST_FILES} files, got more`);
      }
      const name = parseBidsName(entry.name);
      if (name === undefined) continue;
      const pipeline = pipelineOf(path);
      if (!fits({ ...name, pipeline }, query)) continue;
      const info = entry.isSymbolicLink() ? await stat(path).catch(() => undefined) : undefined;
      if (info?.isDirectory()) continue;
      files.push({
        ...name,
        path,
        pipeline,
        isFetched: !entry.isSymbolicLink() || info !== undefined,
      });
    }
  };
  await walk(root, 0);
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

const pipelineOf = (path: string): string | undefined => {
  const parts = resolve(path).split(sep);
  const at = parts.lastIndexOf("derivatives");
  return at < 0 ? undefined : parts[at + 1];
};

function fits(
  name: BidsName & { readonly pipeline: string | undefined },
  query: BidsQuery,
): boolean {
  return Object.entries(query).every(([key, wanted]) => {
    if (wanted === undefined) return true;
    const value =
      key === "suffix" || key === "extension" || key === "pipeline"
        ? name[key]
        : name.entities[key];
    if (wanted === null || value === undefined) return wanted === null && value === undefined;
    return [wanted].flat().some((one) => sameEntity(key, value, one));
  });
}

function sameEntity(key: string, value: string, wanted: string): boolean {
  const bare = wanted.startsWith(`${key}-`) ? wanted.slice(key.length + 1) : wanted;
  if (value === bare) return true;
  const isIndex = ["run", "echo", "split", "inv", "flip"].includes(key);
  return isIndex && /^\d+$/.test(value) && /^\d+$/.test(bare) && Number(value) === Number(bare);
}

/** A JSON sidecar with what it inherits. */
export interface BidsSidecar {
  readonly values: Readonly<Record<string, unknown>>;
  /** The files it was put together from; later ones have the last word. */
  readonly files: readonly string[];
}

/**
 * Reads the JSON metadata of a file, with inheritance: sidecars of the same suffix whose entities all are the
 * file's, in its folder and those above up to the data set's; nearer ones, then those with more entities, have
 * the last word.
 *
 * @param path - The data file, such as `sub-01/func/sub-01_task-rest_bold.nii.gz`.
 * @throws {FormatError} if a sidecar is no JSON object, or the path is no BIDS name.
 * Source: BIDS 1.10, the inheritance principle.
 *
 * @example
 * const { values } = await readSidecar("study/sub-01/func/sub-01_task-words_bold.nii.gz");
 * const trSeconds = values.RepetitionTime;
 */
export async function readSidecar(path: string): Promise<BidsSidecar> {
  const name = parseBidsName(path);
  if (name === undefined) {
    throw new FormatError(
      `readSidecar: ${path}: expected a BIDS name such as sub-01_task-rest_bold.nii.gz, got ${basename(path)}`,
    );
  }
  const files = await inherited(path, { ...name, extension: ".json" });
  const values = new Map<string, unknown>();
  for (const file of files) {
    const text = decodeText(await readBytes(file, "readSidecar"), file);
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (cause) {
      throw new FormatError(
        `readSidecar: ${file}: expected JSON, got ${(cause as Error).message}`,
        {
          cause,
        },
      );
    }
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new FormatError(
        `readSidecar: ${file}: expected a JSON object, got ${JSON.stringify(value).slice(0, 40)}`,
      );
    }
    for (const [key, one] of Object.entries(value)) values.set(key, one);
  }
  return { values: Object.fromEntries(values), files };
}

/**
 * Files with this suffix and extension whose entities all are the name's, least specific first: from the data
 * set's folder down to the path's.
 */
export async function inherited(path: string, name: BidsName): Promise<readonly string[]> {
  const found: string[] = [];
  for (const folder of await foldersOf(path)) {
    const names = await readdir(folder).catch(() => []);
    const here = names
      .map((file) => ({ file, parsed: parseBidsName(file) ?? bareName(file) }))
      .filter(
        ({ parsed }) =>
          parsed !== undefined &&
          parsed.suffix === name.suffix &&
          parsed.extension === name.extension &&
          Object.entries(parsed.entities).every(([key, value]) => name.entities[key] === value),
      )
      .sort(
        (a, b) =>
          Object.keys(a.parsed!.entities).length - Object.keys(b.parsed!.entities).length ||
          (a.file < b.file ? -1 : 1),
      );
    found.push(...here.map(({ file }) => join(folder, file)));
  }
  return found;
}

/** `bold.json` at the top of a data set holds for all of its images. */
function bareName(file: string): BidsName | undefined {
  const match = /^([A-Za-z0-9]+)(\.json|\.tsv)$/.exec(file);
  return match ? { entities: {}, suffix: match[1]!, extension: match[2]! } : undefined;
}

/** From the data set's folder to the file's; where no data set is marked, folders named as BIDS names them and one more. */
async function foldersOf(path: string): Promise<readonly string[]> {
  const folders: string[] = [];
  let folder = dirname(resolve(path));
  for (let depth = 0; depth < LARGEST_DEPTH; depth++) {
    folders.unshift(folder);
    const isTop = await stat(join(folder, "dataset_description.json")).then(
      () => true,
      () => false,
    );
    if (
      isTop ||
      !/^(sub-|ses-|func$|anat$|dwi$|fmap$|perf$|pet$|meg$|i?eeg$)/.test(basename(folder))
    )
      break;
    folder = dirname(folder);
  }
  return folders;
}

/** The same file's place in the raw data set, for files below `derivatives/<pipeline>/`. */
export function rawPath(path: string): string | undefined {
  const parts = resolve(path).split(sep);
  const at = parts.lastIndexOf("derivatives");
  if (at < 0) return undefined;
  const top = parts.slice(0, at).join(sep);
  return join(top, relative(join(top, ...parts.slice(at, at + 2)), resolve(path)));
}
