import { FormatError } from "@penfield/core";
import { unzipSync } from "fflate";
import { decodeText } from "./text.ts";

/** How much an archive may unfold to; BLiMP, the largest that is read here, has 31 MB. */
const LARGEST_UNZIPPED_BYTES = 512 * 2 ** 20;

/** One file of an archive. */
export interface ZipEntry {
  readonly name: string;
  readonly text: string;
}

/**
 * The text files of a zip archive whose names match, in order of name; folders and the `__MACOSX`
 * copies are left out. The sizes that the archive declares are added up before anything is unfolded,
 * and an entry never unfolds to more than it declares.
 *
 * @throws {FormatError} if the bytes are not a zip archive, are damaged, or would unfold to more than the limit.
 */
export function readZip(
  bytes: Uint8Array,
  {
    file,
    match,
    limitBytes = LARGEST_UNZIPPED_BYTES,
  }: { file: string; match: RegExp; limitBytes?: number | undefined },
): readonly ZipEntry[] {
  let total = 0;
  const declared = new Map<string, number>();
  let entries: Record<string, Uint8Array>;
  try {
    entries = unzipSync(bytes, {
      filter: ({ name, originalSize }) => {
        if (name.includes("__MACOSX/") || !match.test(name)) return false;
        total += originalSize;
        declared.set(name, originalSize);
        if (total > limitBytes) {
          throw new FormatError(
            `readZip: ${file}: expected at most ${limitBytes} bytes when unfolded, got more`,
            { hint: "This archive is not one that a stimulus set comes in." },
          );
        }
        return true;
      },
    });
  } catch (cause) {
    if (cause instanceof FormatError) throw cause;
    throw new FormatError(
      `readZip: ${file}: expected a zip archive, got ${(cause as Error).message}`,
      { hint: "The file may be damaged or cut short; fetch it again.", cause },
    );
  }
  return Object.keys(entries)
    .sort()
    .map((name) => {
      const content = entries[name]!;
      if (content.length !== declared.get(name)) {
        throw new FormatError(
          `readZip: ${file}: ${name}: expected ${declared.get(name)} bytes, got ${content.length}`,
        );
      }
      return { name, text: decodeText(content, `${file}: ${name}`) };
    });
}
