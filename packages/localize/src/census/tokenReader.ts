import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { fileError } from "@penfield/core";
import { files } from "./format.ts";

/** Stretches of the corpus of a census, read from disk where they stand: memory does not grow with the corpus. */
export interface TokenReader {
  /** `length` tokens from number `start` on; fewer at the end. */
  read(start: number, length: number): Promise<Uint32Array>;
  close(): Promise<void>;
}

/** @throws {FileError} if the folder holds no tokens. */
export async function openTokenReader(folder: string): Promise<TokenReader> {
  const path = join(folder, files.tokens);
  const handle: FileHandle = await open(path, "r").catch((cause) => {
    throw fileError("openTokenReader", path, cause);
  });
  return {
    async read(start, length) {
      const bytes = new Uint8Array(4 * length);
      const { bytesRead } = await handle.read(bytes, 0, bytes.length, 4 * start);
      return new Uint32Array(bytes.buffer, 0, Math.floor(bytesRead / 4));
    },
    close: () => handle.close(),
  };
}
