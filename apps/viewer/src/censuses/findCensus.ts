import { lstat, readdir, readFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { FormatError, fileError, PenfieldError } from "@penfield/core";
import {
  CENSUS_VERSION,
  type CensusMeta,
  censusFiles,
  unitColumns,
  unitNoteKinds,
} from "@penfield/localize/census-reader";

/** A census as the list names it: what `meta.json` says, or why it cannot be read. */
export type ListedCensus = { readonly name: string; readonly folder: string } & (
  | { readonly meta: CensusMeta }
  | { readonly error: PenfieldError }
);

const MAX_META_BYTES = 2 ** 22;
const MAX_UNITS = 2 ** 24;

/** The censuses in a folder, or the folder itself if it is one; broken ones with their errors. */
export async function listCensuses(folder: string): Promise<readonly ListedCensus[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((cause) => {
    throw fileError("listCensuses", folder, cause);
  });
  if (entries.some(({ name }) => name === "meta.json") && (await looksLikeCensus(folder))) {
    return [await readListed(folder)];
  }
  const listed: ListedCensus[] = [];
  const names = entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith("."));
  for (const { name } of names.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, name);
    if (await looksLikeCensus(path)) listed.push(await readListed(path));
  }
  return listed;
}

/** Where a census of this name is; undefined if there is none. */
export async function censusFolder(folder: string, name: string): Promise<string | undefined> {
  const itself = basename(resolve(folder)) === name && (await looksLikeCensus(folder));
  const path = itself ? folder : join(folder, name);
  const plain = !name.startsWith(".") && !/[/\\\0]/.test(name);
  const state = plain ? await lstat(path).catch(() => undefined) : undefined;
  return state?.isDirectory() && (await looksLikeCensus(path)) ? path : undefined;
}

/** A report has a `report.json`; an activation store has a `meta.json` of another form. */
async function looksLikeCensus(folder: string): Promise<boolean> {
  const names = await readdir(folder).catch((): string[] => []);
  return names.includes("meta.json") && names.includes(censusFiles.units);
}

async function readListed(folder: string): Promise<ListedCensus> {
  const name = basename(resolve(folder));
  try {
    return { name, folder, meta: await readMeta(folder) };
  } catch (error) {
    const known = error instanceof PenfieldError;
    return { name, folder, error: known ? error : fileError("listCensuses", folder, error) };
  }
}

/**
 * `meta.json`, with every field checked that the viewer relies on, and every file of the folder: a link might lead out of it.
 *
 * @throws {FormatError} if it is not that of a census.
 */
export async function readMeta(folder: string): Promise<CensusMeta> {
  const names: readonly string[] = [
    "meta.json",
    ...Object.values(censusFiles),
    ...unitNoteKinds.map((kind) => `${kind}.jsonl`),
  ];
  for (const name of names) {
    const path = join(folder, name);
    const state = await lstat(path).catch(() => undefined);
    if (!state) continue;
    if (!state.isFile()) {
      throw new FormatError(`readMeta: ${path}: expected a plain file, got something else`, {
        hint: "A census's files are files in its own folder, not links.",
      });
    }
    if (name === "meta.json" && state.size > MAX_META_BYTES) {
      throw new FormatError(
        `readMeta: ${path}: expected at most ${MAX_META_BYTES} bytes, got ${state.size}`,
      );
    }
  }
  const path = join(folder, "meta.json");
  const text = await readFile(path, "utf8").catch((cause) => {
    throw fileError("readMeta", path, cause);
  });
  let meta: unknown;
  try {
    meta = JSON.parse(text);
  } catch (cause) {
    throw new FormatError(`readMeta: ${path}: expected JSON, got something else`, { cause });
  }
  checkMeta(meta, path);
  return meta;
}

function checkMeta(meta: unknown, path: string): asserts meta is CensusMeta {
  const expect = (holds: boolean, what: string): void => {
    if (!holds) throw new FormatError(`readMeta: ${path}: expected ${what}`);
  };
  const isObject = (x: unknown): x is Record<string, unknown> =>
    typeof x === "object" && x !== null && !Array.isArray(x);
  const isCount = (x: unknown, max = Number.MAX_SAFE_INTEGER): x is number =>
    Number.isSafeInteger(x) && (x as number) >= 0 && (x as number) <= max;
  if (!isObject(meta)) throw new FormatError(`readMeta: ${path}: expected an object`);
  expect(
    meta["format"] === "penfield-census" && meta["version"] === CENSUS_VERSION,
    `a census of version ${CENSUS_VERSION}`,
  );
  const { model, hooks, contexts, columns, ngramKinds, quantileError } = meta;
  expect(
    isObject(model) && typeof model["name"] === "string" && typeof model["sha256"] === "string",
    "a model with name and sha256",
  );
  for (const key of ["nDocuments", "nTokens", "nKeptTokens", "vocabularySize", "seed"] as const) {
    expect(isCount(meta[key]), `${key}, a whole number`);
  }
  for (const [key, max] of [
    ["nUnits", MAX_UNITS],
    ["histogramBars", 4096],
    ["nPositionBins", 4096],
    ["positionsPerBin", 2 ** 20],
    ["contextBytes", 4096],
    ["window", 1024],
    ["nBins", 100],
    ["ngramsPerKind", 4096],
  ] as const) {
    expect(isCount(meta[key], max) && meta[key] > 0, `${key}, a whole number from 1 to ${max}`);
  }
  expect(
    isObject(contexts) &&
      ["top", "sampled", "nearMiss", "random"].every((kind) => isCount(contexts[kind], 1000)),
    "contexts, the number of each kind, at most 1000",
  );
  expect(
    Array.isArray(columns) && unitColumns.every((name, i) => columns[i] === name),
    "the columns of this version",
  );
  expect(
    Array.isArray(ngramKinds) &&
      ngramKinds.every((kind) => ["token", "previous", "bigram", "trigram"].includes(kind)),
    "ngramKinds",
  );
  expect(typeof meta["keepShare"] === "number", "keepShare");
  expect(typeof meta["activeMeans"] === "string", "activeMeans");
  expect(typeof meta["corpusSha256"] === "string", "corpusSha256");
  expect(isObject(quantileError), "quantileError");
  expect(Array.isArray(hooks) && hooks.length > 0 && hooks.length <= 10_000, "hooks");
  let next = 0;
  for (const hook of hooks as unknown[]) {
    expect(
      isObject(hook) &&
        typeof hook["name"] === "string" &&
        (hook["layer"] === null || isCount(hook["layer"], 1e6)) &&
        hook["firstUnit"] === next &&
        isCount(hook["nUnits"], MAX_UNITS) &&
        hook["nUnits"] > 0 &&
        typeof hook["threshold"] === "number" &&
        Array.isArray(hook["histogram"]) &&
        hook["histogram"].length === 2 &&
        hook["histogram"].every((end) => typeof end === "number") &&
        Number(hook["histogram"][0]) < Number(hook["histogram"][1]),
      "hooks with name, layer, nUnits, firstUnit, threshold and histogram, one after the other",
    );
    next += (hook as { nUnits: number }).nUnits;
  }
  expect(next === meta["nUnits"], `nUnits ${next}, as many as the hooks have`);
}
