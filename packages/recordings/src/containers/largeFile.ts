import { readFile, stat } from "node:fs/promises";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { FileError, FormatError, fileError } from "@penfield/core";

const unzip = promisify(gunzip);

/** What Node reads in one piece; recordings beyond it come in parts. */
const LARGEST_FILE_BYTES = 2 ** 31 - 1;

/**
 * A file of measured data whole, unfolded if it is a .gz.
 *
 * @throws {FileError} if it cannot be read or is larger than 2 GiB.
 * @throws {FormatError} if it is a .gz that is damaged, or unfolds to more than 2 GiB.
 */
export async function readLargeFile(path: string, doing: string): Promise<Uint8Array> {
  let bytes: Uint8Array;
  try {
    const { size } = await stat(path);
    if (size > LARGEST_FILE_BYTES) {
      throw new FileError(
        `${doing}: ${path}: expected at most ${LARGEST_FILE_BYTES} bytes, got ${size}`,
        { hint: "Split the recording, or keep fewer channels." },
      );
    }
    bytes = await readFile(path);
  } catch (cause) {
    if (cause instanceof FileError) throw cause;
    throw fileError(doing, path, cause);
  }
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  try {
    return await unzip(bytes, { maxOutputLength: LARGEST_FILE_BYTES });
  } catch (cause) {
    throw new FormatError(
      `${doing}: ${path}: expected gzip data, got ${(cause as Error).message}`,
      { hint: "The file is damaged or cut short; fetch it again.", cause },
    );
  }
}
