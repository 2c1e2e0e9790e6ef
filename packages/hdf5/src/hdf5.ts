import { open } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { FormatError, fileError } from "@penfield/core";
import type { H5Draft, H5Group } from "./hdf5Tree.ts";
import type { Answer, Request } from "./hdf5Worker.ts";

const MAGIC = [0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a];
/** Seconds: for a file on a slow disk as well; for bytes, which are there, fewer, and more for many. */
const TIMEOUT = 60;
const TIMEOUT_OF_BYTES = 30;
const BYTES_PER_SECOND = 2 ** 20;

/** What is read of a file, and how errors speak of it. */
export interface ReadHdf5Options {
  /** How error messages call the file. Default: its name, or `file.h5` for bytes. */
  readonly name?: string | undefined;
  /** The function that error messages name. Default `readHdf5`. */
  readonly doing?: string | undefined;
  /**
   * Paths of the arrays whose values are wanted (`/data/x`), or of groups with all that is in them.
   * Default: everything. The tree is always whole: other arrays are there as `unread`, with sizes and
   * attributes. An empty list gives the tree only.
   */
  readonly paths?: readonly string[] | undefined;
  /** For an array's path: the range `[from, to)` of each axis that is wanted. */
  readonly slices?: Readonly<Record<string, readonly (readonly [number, number])[]>> | undefined;
  /**
   * After so many seconds the file counts as damaged: a wrong byte can have the HDF5 library go in circles. Default 60; for
   * bytes 30, and one more for each MiB.
   */
  readonly timeoutSeconds?: number | undefined;
}

/**
 * Reads an HDF5 file (also netCDF-4, NWB and MATLAB 7.3, which are HDF5): groups, attributes, and arrays
 * of numbers, text, booleans, enumerations, references (as paths) and lists of uneven length. Integers stay
 * integers. Compound types and half floats are given as `unread`, with the reason.
 *
 * The HDF5 library runs in a thread of its own: a damaged file can leave it broken, or without end. Then
 * the thread is ended, and the next file gets another. Links to other files lead nowhere. Soft links within
 * the file are followed.
 *
 * @param source - The bytes, or the path of a file. A file is read in parts, as wanted: with `paths` or
 *   `slices` a large one costs only what was asked for.
 * @param options - What is wanted; default everything.
 * @returns The root group.
 * @throws {FileError} if the file cannot be read.
 * @throws {FormatError} if it is no HDF5 file, a damaged one, holds more than 2^28 values in what was asked
 *   for, or promises more bytes than its size can unfold to; or if slices do not fit.
 *
 * Cost: the values asked for, once in the library's memory and once here.
 * Source: the HDF5 library itself, compiled to WebAssembly (h5wasm).
 *
 * @example
 * const tree = await readHdf5(await writeHdf5({ arrays: { x: { data: Int32Array.of(1, 2) } } }));
 * tree.children.get("x").data[1] // => 2
 */
export async function readHdf5(
  source: Uint8Array | string,
  { name, doing = "readHdf5", paths, slices = {}, timeoutSeconds }: ReadHdf5Options = {},
): Promise<H5Group> {
  const called = name ?? (typeof source === "string" ? basename(source) : "file.h5");
  await checkSuperblock(source, called, doing);
  const patience =
    timeoutSeconds ??
    (typeof source === "string" ? TIMEOUT : TIMEOUT_OF_BYTES + source.length / BYTES_PER_SECOND);
  const answer = await ask({ kind: "read", source, name: called, doing, paths, slices }, patience);
  if (answer.kind === "tree") return answer.tree;
  if (answer.kind === "format") throw new FormatError(answer.message, { hint: answer.hint });
  const words = answer.kind === "failed" ? answer.message : "no tree";
  throw new FormatError(
    `${doing}: ${called}: expected a whole HDF5 file, got one that cannot be read: ${words}`,
    { hint: "The file is damaged; write or fetch it again." },
  );
}

/**
 * The bytes of an HDF5 file with these groups, attributes and arrays. Texts are written as text of variable
 * length, numbers in the kind of their array, compressed where `gzip` says so.
 *
 * @throws {FormatError} if HDF5 cannot hold a value, or sizes do not multiply to the number of values.
 *
 * @example
 * (await writeHdf5({ attributes: { version: "1" } })).slice(1, 4).join() // => "72,68,70"
 */
export async function writeHdf5(draft: H5Draft): Promise<Uint8Array> {
  const answer = await ask({ kind: "write", draft }, TIMEOUT);
  if (answer.kind === "bytes") return answer.bytes;
  throw new FormatError(
    `writeHdf5: expected values that HDF5 can hold: ${answer.kind === "tree" ? "" : answer.message}`,
  );
}

/** The loaded library, as a module would be: 15 MB that are loaded once, when first wanted. */
const held: { worker: Worker | undefined; turn: Promise<unknown> } = {
  worker: undefined,
  turn: Promise.resolve(),
};

/** One request after the other. */
function ask(request: Request, seconds: number): Promise<Answer> {
  const answer = held.turn.then(() => exchange(request, seconds));
  held.turn = answer;
  return answer;
}

function exchange(request: Request, seconds: number): Promise<Answer> {
  const worker = held.worker ?? startWorker();
  held.worker = worker;
  worker.ref();
  return new Promise((resolve) => {
    const finish = (answer: Answer, broken: boolean): void => {
      clearTimeout(timer);
      for (const [event, listener] of listeners) worker.off(event, listener);
      if (broken) {
        held.worker = undefined;
        worker.on("error", () => undefined);
        void worker.terminate();
      } else worker.unref();
      resolve(answer);
    };
    const fail = (message: string): void => finish({ kind: "failed", message }, true);
    const timer = setTimeout(() => fail("reading it does not end"), 1000 * seconds);
    const listeners = [
      ["message", (answer: Answer) => finish(answer, answer.kind === "failed")],
      ["error", (error: Error) => fail(error.message)],
      ["exit", (code: number) => fail(`the reader ended with code ${code}`)],
    ] as const;
    for (const [event, listener] of listeners) worker.on(event, listener);
    worker.postMessage(request);
  });
}

/** From sources the thread needs tsx, as whoever runs them does; a thread must register it itself. */
function startWorker(): Worker {
  const source = new URL("./hdf5Worker.ts", import.meta.url);
  const resourceLimits = { maxOldGenerationSizeMb: 4096 };
  if (import.meta.url.endsWith(".js")) {
    const path = fileURLToPath(source).replace(/ts$/, "js");
    return new Worker(path, { execArgv: [], resourceLimits });
  }
  const tsxPath = createRequire(import.meta.url)
    .resolve("tsx/esm/api")
    .replace(/cjs$/, "mjs");
  const tsx = pathToFileURL(tsxPath).href;
  const [loader, program] = [tsx, source.href].map((url) => JSON.stringify(url));
  return new Worker(`import(${loader}).then((tsx) => (tsx.register(), import(${program})))`, {
    eval: true,
    execArgv: ["--conditions=@penfield/source"],
    resourceLimits,
  });
}

/** MATLAB and others write something of their own before HDF5's head; it then begins at a power of 2. */
const STARTS = [0, 512, 1024, 2048, 4096];

async function checkSuperblock(
  source: Uint8Array | string,
  name: string,
  doing: string,
): Promise<void> {
  const { head, size } =
    typeof source === "string"
      ? await readHead(source, doing)
      : { head: source, size: source.length };
  const start = STARTS.find((at) => MAGIC.every((byte, i) => head[at + i] === byte));
  if (start === undefined || head.length < start + 48) {
    throw new FormatError(
      `${doing}: ${name}: expected an HDF5 file, got ${size} bytes that do not begin as one`,
      { hint: "The file may be of another format." },
    );
  }
  const view = new DataView(head.buffer, head.byteOffset + start, 48);
  const version = view.getUint8(8);
  const offsetBytes = view.getUint8(version < 2 ? 13 : 9);
  if (version > 3 || offsetBytes !== 8) return;
  const base = version < 2 ? (version === 1 ? 28 : 24) : 12;
  const end = Number(view.getBigUint64(base + 16, true));
  if (end > size) {
    throw new FormatError(
      `${doing}: ${name}: expected ${end} bytes, as its head says, got ${size}`,
      { hint: "The file is cut short; write or fetch it again." },
    );
  }
}

async function readHead(path: string, doing: string): Promise<{ head: Uint8Array; size: number }> {
  try {
    const file = await open(path, "r");
    try {
      const { size } = await file.stat();
      const { buffer, bytesRead } = await file.read(new Uint8Array(4144), 0, 4144, 0);
      return { head: buffer.subarray(0, bytesRead), size };
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw fileError(doing, path, cause);
  }
}
