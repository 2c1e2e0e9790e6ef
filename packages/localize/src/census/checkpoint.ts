import { type FileHandle, open, rename } from "node:fs/promises";
import { join } from "node:path";
import { FileError, FormatError, fileError } from "@penfield/core";
import { files, growing } from "./format.ts";

type Growing = (typeof growing)[number];

/** How far a census had come. */
export interface Checkpoint {
  readonly nDocuments: number;
  /** Of the documents up to there. */
  readonly hash: string;
}

interface Header extends Checkpoint {
  /** Of the source and the options. */
  readonly identity: string;
  /** Bytes of each growing file. */
  readonly sizes: Readonly<Record<Growing, number>>;
  readonly arrays: readonly number[];
}

/** Room for the header, so that the arrays begin at a fixed place. */
const HEADER_BYTES = 4096;

/** The files of a census that is being taken: those that grow, and the checkpoint. */
export class CensusFiles {
  readonly folder: string;
  readonly checkpoint: Checkpoint | undefined;
  readonly #identity: string;
  readonly #handles: ReadonlyMap<Growing, FileHandle>;
  readonly #sizes: Record<Growing, number>;
  #closed = false;

  private constructor(
    folder: string,
    identity: string,
    handles: ReadonlyMap<Growing, FileHandle>,
    header: Header | undefined,
  ) {
    this.folder = folder;
    this.checkpoint = header && { nDocuments: header.nDocuments, hash: header.hash };
    this.#identity = identity;
    this.#handles = handles;
    this.#sizes =
      header?.sizes ??
      (Object.fromEntries(growing.map((name) => [name, 0])) as Record<Growing, number>);
  }

  /** Opens the growing files and cuts off what a checkpoint does not speak of. */
  static async open(folder: string, identity: string): Promise<CensusFiles> {
    const header = await readHeader(folder);
    if (header && header.identity !== identity) {
      throw new FileError(
        `takeCensus: ${folder}: expected a census of this model and these options, got one of others`,
        { hint: "Repeat the options that it was begun with, or choose another folder." },
      );
    }
    const handles = new Map<Growing, FileHandle>();
    try {
      for (const name of growing) {
        const handle = await open(join(folder, files[name]), header ? "r+" : "w+");
        handles.set(name, handle);
        await handle.truncate(header?.sizes[name] ?? 0);
      }
    } catch (cause) {
      for (const handle of handles.values()) await handle.close();
      throw fileError("takeCensus", folder, cause);
    }
    return new CensusFiles(folder, identity, handles, header);
  }

  sizeOf(name: Growing): number {
    return this.#sizes[name];
  }

  async append(parts: Partial<Record<Growing, ArrayBufferView>>): Promise<void> {
    try {
      for (const name of growing) {
        const part = parts[name];
        if (!part) continue;
        await writeAll(this.#handles.get(name)!, part, this.#sizes[name]);
        this.#sizes[name] += part.byteLength;
      }
    } catch (cause) {
      throw fileError("takeCensus", this.folder, cause);
    }
  }

  /** Writes the state down: to a temporary name, then renamed. What was appended is on the disk before. */
  async save(checkpoint: Checkpoint, arrays: readonly ArrayBufferView[]): Promise<void> {
    const path = join(this.folder, "checkpoint.bin");
    const header: Header = {
      ...checkpoint,
      identity: this.#identity,
      sizes: this.#sizes,
      arrays: arrays.map((array) => array.byteLength),
    };
    try {
      for (const handle of this.#handles.values()) await handle.sync();
      const file = await open(`${path}.partial`, "w");
      try {
        await writeAll(file, Buffer.from(JSON.stringify(header).padEnd(HEADER_BYTES)), 0);
        let at = HEADER_BYTES;
        for (const array of arrays) {
          await writeAll(file, array, at);
          at += array.byteLength;
        }
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(`${path}.partial`, path);
    } catch (cause) {
      throw fileError("takeCensus", path, cause);
    }
  }

  /** Fills the arrays from the checkpoint. @throws {FormatError} if it holds others. */
  async restore(arrays: readonly ArrayBufferView[]): Promise<void> {
    const path = join(this.folder, "checkpoint.bin");
    const file = await open(path, "r");
    try {
      let at = HEADER_BYTES;
      for (const array of arrays) {
        const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
        for (let done = 0; done < bytes.length; ) {
          const { bytesRead } = await file.read(bytes, done, bytes.length - done, at + done);
          if (bytesRead === 0) {
            throw new FormatError(
              `takeCensus: ${path}: expected ${at + bytes.length} bytes, got ${at + done}`,
              { hint: "Delete the folder and begin again." },
            );
          }
          done += bytesRead;
        }
        at += bytes.length;
      }
    } finally {
      await file.close();
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const handle of this.#handles.values()) await handle.close();
  }
}

async function readHeader(folder: string): Promise<Header | undefined> {
  const path = join(folder, "checkpoint.bin");
  const file = await open(path, "r").catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") return undefined;
    throw fileError("takeCensus", path, cause);
  });
  if (!file) return undefined;
  try {
    const bytes = new Uint8Array(HEADER_BYTES);
    await file.read(bytes, 0, HEADER_BYTES, 0);
    return JSON.parse(Buffer.from(bytes).toString("utf8").trim()) as Header;
  } catch (cause) {
    throw new FormatError(`takeCensus: ${path}: expected a checkpoint, got something else`, {
      hint: "Delete the folder and begin again.",
      cause,
    });
  } finally {
    await file.close();
  }
}

async function writeAll(file: FileHandle, array: ArrayBufferView, at: number): Promise<void> {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, at + done);
    done += bytesWritten;
  }
}
