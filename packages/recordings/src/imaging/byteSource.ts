import { type FileHandle, open } from "node:fs/promises";
import { pipeline, Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { FormatError, fileError } from "@penfield/core";

/** Deflate's best: 258 bytes from 2 bits. No stream unfolds to more than this many times its size. */
export const LARGEST_RATIO = 1032;

const CHUNK_BYTES = 1 << 18;

/** What may follow the values: padding of tapes and blocks. More is not unfolded. */
const LARGEST_TAIL_BYTES = 1 << 20;

/** A file, or bytes in memory, read from front to back; unfolded on the way where it is gzip. */
export interface ByteSource {
  /** How error messages call it. */
  readonly file: string;
  readonly isCompressed: boolean;
  /** More bytes than these cannot come; known exactly where nothing is compressed. */
  readonly mostBytes: number;
  /** How many bytes were taken or skipped so far, after unfolding. */
  readonly offset: number;
  /** The next bytes, always a copy of their own. Memory follows what is there, not what was asked for. */
  take(nBytes: number, what: string): Promise<Uint8Array<ArrayBuffer>>;
  /** Passes over bytes without keeping them. */
  skip(nBytes: number, what: string): Promise<void>;
  /** All that is left, if it is not more than the limit. */
  takeRest(limitBytes: number, what: string): Promise<Uint8Array<ArrayBuffer>>;
  /** Reads on to the end of a gzip stream, whose checksum is there, unless much more follows. */
  finish(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens a file, or bytes, for reading from front to back.
 *
 * @throws {FileError} if the file cannot be opened or read.
 * @throws {FormatError} with the offset, from `take` and `skip`, if the bytes end early or the gzip stream is damaged.
 */
export async function openBytes(
  input: string | Uint8Array,
  doing: string,
  file: string = typeof input === "string" ? input : "bytes",
): Promise<ByteSource> {
  if (typeof input !== "string") {
    const isCompressed = isGzip(input);
    return source(Readable.from(pieces(input)), {
      file,
      doing,
      isCompressed,
      size: input.length,
      close: async () => undefined,
    });
  }
  let handle: FileHandle | undefined;
  try {
    handle = await open(input, "r");
    const info = await handle.stat();
    if (info.isDirectory()) throw Object.assign(new Error(), { code: "EISDIR" });
    const start = new Uint8Array(2);
    const { bytesRead } = await handle.read(start, 0, 2, 0);
    const opened = handle;
    return source(
      handle.createReadStream({ start: 0, highWaterMark: CHUNK_BYTES, autoClose: false }),
      {
        file,
        doing,
        isCompressed: isGzip(start.subarray(0, bytesRead)),
        size: info.size,
        close: () => opened.close(),
      },
    );
  } catch (cause) {
    await handle?.close();
    throw fileError(doing, input, cause);
  }
}

const isGzip = (bytes: Uint8Array): boolean => bytes[0] === 0x1f && bytes[1] === 0x8b;

function* pieces(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) yield bytes.subarray(at, at + CHUNK_BYTES);
}

interface SourceOptions {
  readonly file: string;
  readonly doing: string;
  readonly isCompressed: boolean;
  readonly size: number;
  readonly close: () => Promise<void>;
}

function source(
  raw: Readable,
  { file, doing, isCompressed, size, close }: SourceOptions,
): ByteSource {
  // The callback only keeps a failed pipeline from being an unhandled error: the reader below meets it too.
  const stream = isCompressed
    ? pipeline(raw, createGunzip({ chunkSize: CHUNK_BYTES }), () => undefined)
    : raw;
  const chunks = (stream as Readable)[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  const mostBytes = isCompressed ? size * LARGEST_RATIO : size;
  let chunk: Uint8Array = new Uint8Array(0);
  let offset = 0;

  const early = (nBytes: number, what: string, got: string): FormatError =>
    new FormatError(
      `${doing}: ${file}: offset ${offset}: expected ${nBytes} bytes of ${what}, got ${got}`,
      { hint: "The file may be damaged or cut short; copy or fetch it again." },
    );

  const next = async (): Promise<boolean> => {
    try {
      const step = await chunks.next();
      chunk = step.done ? new Uint8Array(0) : step.value;
      return !step.done;
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code ?? "";
      if (!code.startsWith("Z_")) throw fileError(doing, file, cause);
      throw new FormatError(
        `${doing}: ${file}: offset ${offset}: expected a whole gzip stream, got ${(cause as Error).message}`,
        { hint: "The file may be damaged or cut short; copy or fetch it again.", cause },
      );
    }
  };

  /** Hands over the next `nBytes` in parts as they come. */
  const each = async (nBytes: number, what: string, use: (part: Uint8Array) => void) => {
    if (!(Number.isSafeInteger(nBytes) && nBytes >= 0 && nBytes <= mostBytes - offset)) {
      throw early(nBytes, what, `a file that can hold at most ${Math.max(0, mostBytes - offset)}`);
    }
    let missing = nBytes;
    while (missing > 0) {
      if (chunk.length === 0 && !(await next())) throw early(nBytes, what, `${nBytes - missing}`);
      const part = chunk.subarray(0, missing);
      use(part);
      chunk = chunk.subarray(part.length);
      missing -= part.length;
    }
    offset += nBytes;
  };

  const joined = (parts: readonly Uint8Array[], nBytes: number): Uint8Array<ArrayBuffer> => {
    const bytes = new Uint8Array(nBytes);
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  };

  return {
    file,
    isCompressed,
    mostBytes,
    get offset() {
      return offset;
    },
    async take(nBytes, what) {
      const parts: Uint8Array[] = [];
      await each(nBytes, what, (part) => parts.push(part));
      return joined(parts, nBytes);
    },
    skip: (nBytes, what) => each(nBytes, what, () => undefined),
    async takeRest(limitBytes, what) {
      const parts: Uint8Array[] = [];
      let nBytes = 0;
      do {
        nBytes += chunk.length;
        if (nBytes > limitBytes) {
          throw new FormatError(
            `${doing}: ${file}: expected at most ${limitBytes} bytes of ${what}, got more`,
          );
        }
        parts.push(chunk);
      } while (await next());
      offset += nBytes;
      return joined(parts, nBytes);
    },
    async finish() {
      let nBytes = chunk.length;
      while (isCompressed && nBytes <= LARGEST_TAIL_BYTES && (await next())) nBytes += chunk.length;
    },
    async close() {
      stream.destroy();
      raw.destroy();
      await close();
    },
  };
}
