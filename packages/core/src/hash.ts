import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { fileError } from "./files.ts";

/**
 * The SHA-256 of a file, in hexadecimal; the file is streamed, never held whole.
 *
 * @throws {FileError} if the file cannot be read.
 */
export async function sha256File(path: string): Promise<string> {
  const hash = createHash("sha256");
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 }))
      hash.update(chunk);
  } catch (cause) {
    throw fileError("sha256File", path, cause);
  }
  return hash.digest("hex");
}

/**
 * The SHA-256 of bytes or text, in hexadecimal.
 *
 * @example
 * sha256("").slice(0, 8) // => "e3b0c442"
 */
export function sha256(bytes: Uint8Array | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}
