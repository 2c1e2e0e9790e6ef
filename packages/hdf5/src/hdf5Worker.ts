import { closeSync, fstatSync, openSync } from "node:fs";
import { parentPort } from "node:worker_threads";
import { FormatError } from "@penfield/core";
import { type Library, loadLibrary, type ReadRequest, readFile, writeFile } from "./hdf5File.ts";
import type { H5Draft, H5Entry, H5Group } from "./hdf5Tree.ts";

export type Request =
  | (Omit<ReadRequest, "source"> & {
      readonly kind: "read";
      /** The bytes, or a path of the system. */
      readonly source: Uint8Array | string;
    })
  | { readonly kind: "write"; readonly draft: H5Draft };

export type Answer =
  | { readonly kind: "tree"; readonly tree: H5Group }
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | { readonly kind: "format"; readonly message: string; readonly hint: string | undefined }
  /** The library may be in any state: it must not be used again. */
  | { readonly kind: "failed"; readonly message: string };

/** The innermost of HDF5's complaints, or the first line. */
function wordsOf(cause: unknown): string {
  const words = String((cause as Error)?.message ?? cause);
  const inner = [...words.matchAll(/ in \w+\(\): (.*)/g)].at(-1)?.[1];
  return (inner ?? words.split("\n")[0]!).slice(0, 200);
}

function read(library: Library, request: Request & { kind: "read" }): H5Group {
  const { source } = request;
  if (typeof source !== "string") return readFile(library, { ...request, source });
  const fd = openSync(source, "r");
  try {
    return readFile(library, { ...request, source: { fd, size: fstatSync(fd).size } });
  } finally {
    closeSync(fd);
  }
}

function answerTo(request: Request, library: Library): Answer {
  try {
    return request.kind === "read"
      ? { kind: "tree", tree: read(library, request) }
      : { kind: "bytes", bytes: writeFile(library, request.draft) };
  } catch (error) {
    if (error instanceof FormatError) {
      return { kind: "format", message: error.message, hint: error.hint };
    }
    return { kind: "failed", message: wordsOf(error) };
  }
}

/** The memory of large arrays goes over to the caller and is not copied. */
function buffersOf(entry: H5Entry): ArrayBuffer[] {
  if (entry.kind === "group") return [...entry.children.values()].flatMap(buffersOf);
  if (entry.kind === "unread" || !ArrayBuffer.isView(entry.data)) return [];
  const { buffer, byteLength } = entry.data;
  return byteLength > 2 ** 16 ? [buffer as ArrayBuffer] : [];
}

const library = loadLibrary();
parentPort?.on("message", async (request: Request) => {
  const answer = answerTo(request, await library);
  parentPort?.postMessage(answer, answer.kind === "tree" ? buffersOf(answer.tree) : []);
});
