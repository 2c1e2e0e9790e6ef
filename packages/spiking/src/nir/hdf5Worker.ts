import { parentPort } from "node:worker_threads";
import { FormatError } from "@penfield/core";
import { type Library, loadLibrary, readFile, writeFile } from "./hdf5File.ts";
import type { H5Draft, H5Group } from "./hdf5Tree.ts";

export type Request =
  | { readonly kind: "read"; readonly bytes: Uint8Array; readonly name: string }
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

function answerTo(request: Request, library: Library): Answer {
  try {
    return request.kind === "read"
      ? { kind: "tree", tree: readFile(library, request.bytes, request.name) }
      : { kind: "bytes", bytes: writeFile(library, request.draft) };
  } catch (error) {
    if (error instanceof FormatError) {
      return { kind: "format", message: error.message, hint: error.hint };
    }
    return { kind: "failed", message: wordsOf(error) };
  }
}

const library = loadLibrary();
parentPort?.on("message", async (request: Request) => {
  parentPort?.postMessage(answerTo(request, await library));
});
