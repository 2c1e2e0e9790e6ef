import { readFile, stat } from "node:fs/promises";
import { FileError, FormatError, fileError } from "@penfield/core";

/** No text of stimuli comes near this; a wrong file often does. */
const LARGEST_TEXT_BYTES = 512 * 2 ** 20;

/** Reads a file whole, refusing absurd sizes before they fill the memory. */
export async function readBytes(path: string, doing: string): Promise<Uint8Array> {
  try {
    const { size } = await stat(path);
    if (size > LARGEST_TEXT_BYTES) {
      throw new FileError(
        `${doing}: ${path}: expected at most ${LARGEST_TEXT_BYTES} bytes, got ${size}`,
      );
    }
    return await readFile(path);
  } catch (cause) {
    if (cause instanceof FileError) throw cause;
    throw fileError(doing, path, cause);
  }
}

/** Bytes as text: UTF-8 (a byte order mark is dropped), line ends as "\n". */
export function decodeText(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes).replace(/\r\n?/g, "\n");
  } catch {
    throw new FormatError(`decodeText: ${file}: expected text in UTF-8, got other bytes`, {
      hint: "Save the file as UTF-8.",
    });
  }
}
