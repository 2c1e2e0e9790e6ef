import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { FormatError } from "@penfield/core";
import type { H5Draft, H5Group } from "./hdf5Tree.ts";
import type { Answer, Request } from "./hdf5Worker.ts";

const MAGIC = [0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a];
const TIMEOUT = 30_000;

/**
 * Reads everything in an HDF5 file.
 *
 * The HDF5 library runs in a thread of its own: a damaged file can leave it broken, or without end. Then
 * the thread is ended, and the next file gets another.
 *
 * @throws {FormatError} if the bytes are no HDF5 file, or a damaged one.
 */
export async function readHdf5(bytes: Uint8Array, name: string): Promise<H5Group> {
  checkSuperblock(bytes, name);
  const answer = await ask({ kind: "read", bytes, name });
  if (answer.kind === "tree") return answer.tree;
  if (answer.kind === "format") throw new FormatError(answer.message, { hint: answer.hint });
  const words = answer.kind === "failed" ? answer.message : "no tree";
  throw new FormatError(
    `readNir: ${name}: expected a whole HDF5 file, got one that cannot be read: ${words}`,
    { hint: "The file is damaged; write or fetch it again." },
  );
}

/** The bytes of an HDF5 file with these groups and arrays. */
export async function writeHdf5(draft: H5Draft): Promise<Uint8Array> {
  const answer = await ask({ kind: "write", draft });
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
function ask(request: Request): Promise<Answer> {
  const answer = held.turn.then(() => exchange(request));
  held.turn = answer;
  return answer;
}

function exchange(request: Request): Promise<Answer> {
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
    const timer = setTimeout(() => fail("reading it does not end"), TIMEOUT);
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

function checkSuperblock(bytes: Uint8Array, name: string): void {
  if (bytes.length < 48 || MAGIC.some((byte, i) => bytes[i] !== byte)) {
    throw new FormatError(
      `readNir: ${name}: expected an HDF5 file, got ${bytes.length} bytes that do not begin as one`,
      { hint: "NIR graphs are written by nir.write(); the file may be of another format." },
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = bytes[8]!;
  const offsetBytes = version < 2 ? bytes[13] : bytes[9];
  if (version > 3 || offsetBytes !== 8) return;
  const base = version < 2 ? (version === 1 ? 28 : 24) : 12;
  const end = Number(view.getBigUint64(base + 16, true));
  if (end > bytes.length) {
    throw new FormatError(
      `readNir: ${name}: expected ${end} bytes, as its head says, got ${bytes.length}`,
      { hint: "The file is cut short; write or fetch it again." },
    );
  }
}
