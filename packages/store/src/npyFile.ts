import type { FileHandle } from "node:fs/promises";
import { FormatError } from "@penfield/core";

/** The types of array that a store holds, as numpy writes them. */
export type NpyType = "<f4" | "<f2" | "<i4";

export const bytesOf: Readonly<Record<NpyType, number>> = { "<f4": 4, "<f2": 2, "<i4": 4 };

/** Our headers have all the same length, whatever the sizes: where values lie needs no look-up. */
export const HEADER_BYTES = 128;

/** The first bytes of a .npy file (format 1.0) of a row-major array. */
export function npyHeader(type: NpyType, shape: readonly number[]): Uint8Array {
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const dictionary = `{'descr': '${type}', 'fortran_order': False, 'shape': (${sizes}), }`;
  const length = HEADER_BYTES - 10;
  return Buffer.concat([
    Buffer.from("\u0093NUMPY\u0001\u0000", "latin1"),
    Uint8Array.of(length & 0xff, length >> 8),
    Buffer.from(`${dictionary.padEnd(length - 1)}\n`, "latin1"),
  ]);
}

/**
 * Checks that an open file is the array it should be, to the byte.
 *
 * @throws {FormatError} if type, sizes or length differ.
 */
export async function checkNpy(
  file: FileHandle,
  name: string,
  type: NpyType,
  shape: readonly number[],
): Promise<void> {
  const wanted = npyHeader(type, shape);
  const bytes = HEADER_BYTES + shape.reduce((a, b) => a * b, 1) * bytesOf[type];
  const { size } = await file.stat();
  if (size !== bytes) {
    throw new FormatError(`openActivations: ${name}: expected ${bytes} bytes, got ${size}`, {
      hint: "The file was cut or changed; capture again.",
    });
  }
  const header = Buffer.alloc(HEADER_BYTES);
  await file.read(header, 0, HEADER_BYTES, 0);
  if (!header.equals(wanted)) {
    throw new FormatError(
      `openActivations: ${name}: expected an array ${type} of [${shape.join(", ")}], got the header ${JSON.stringify(header.toString("latin1").slice(10).trim())}`,
      { hint: "The file was changed, or is another's; capture again." },
    );
  }
}

/** Writes all of the bytes at a place: one call may write fewer. */
export async function writeAt(
  file: FileHandle,
  bytes: Uint8Array,
  position: number,
): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}
