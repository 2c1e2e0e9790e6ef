import { createHash } from "node:crypto";
import { type FileHandle, open, rename, rm, rmdir, stat } from "node:fs/promises";
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
  /** Of all of this, and of the arrays: a state that was changed on the disk must not be gone on with. */
  readonly sha256: string;
}

/** Room for the header, so that the arrays begin at a fixed place. */
const HEADER_BYTES = 4096;

/** The files of a census that is being taken: those that grow, and the checkpoint. */
export class CensusFiles {
  readonly folder: string;
  /** That the work was begun from. */
  readonly checkpoint: Checkpoint | undefined;
  #hasCheckpoint: boolean;
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
    this.#hasCheckpoint = header !== undefined;
    this.#identity = identity;
    this.#handles = handles;
    this.#sizes =
      header?.sizes ??
      (Object.fromEntries(growing.map((name) => [name, 0])) as Record<Growing, number>);
  }

  /**
   * Fills the arrays from a checkpoint, if there is one; then opens the growing files and cuts off what it does not speak of. Nothing
   * in the folder is changed before all of the checkpoint is found to be good.
   */
  static async open(
    folder: string,
    identity: string,
    arrays: readonly ArrayBufferView[],
  ): Promise<CensusFiles> {
    const header = await readCheckpoint(folder, identity, arrays);
    if (header) await checkGrown(folder, header);
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
    const rest = {
      ...checkpoint,
      identity: this.#identity,
      sizes: this.#sizes,
      arrays: arrays.map((array) => array.byteLength),
    };
    const hash = createHash("sha256").update(JSON.stringify(rest));
    for (const array of arrays) hash.update(bytesOf(array));
    const header: Header = { ...rest, sha256: hash.digest("hex") };
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
      this.#hasCheckpoint = true;
    } catch (cause) {
      throw fileError("takeCensus", path, cause);
    }
  }

  /** Whether there is one to be gone on from. */
  get hasCheckpoint(): boolean {
    return this.#hasCheckpoint;
  }

  /** Closes and removes the files, and the folder if nothing else is in it. */
  async remove(): Promise<void> {
    await this.close();
    for (const name of Object.values(files)) await rm(join(this.folder, name), { force: true });
    await rmdir(this.folder).catch(() => {});
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const handle of this.#handles.values()) await handle.close();
  }
}

/** Reads a checkpoint into the arrays. @throws {FormatError} if it is not whole. */
async function readCheckpoint(
  folder: string,
  identity: string,
  arrays: readonly ArrayBufferView[],
): Promise<Header | undefined> {
  const path = join(folder, "checkpoint.bin");
  const file = await open(path, "r").catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") return undefined;
    throw fileError("takeCensus", path, cause);
  });
  if (!file) return undefined;
  const refuse = (got: string, cause?: unknown): never => {
    throw new FormatError(`takeCensus: ${path}: expected a whole checkpoint, got ${got}`, {
      hint: "Nothing was changed. Put back a good copy of the folder, or take the census in another folder.",
      cause,
    });
  };
  try {
    const bytes = new Uint8Array(HEADER_BYTES);
    if (!(await readAll(file, bytes, 0))) refuse("the end of the file in its header");
    const header = headerOf(bytes) ?? refuse("something else");
    if (header.identity !== identity) {
      throw new FileError(
        `takeCensus: ${folder}: expected a census of this model and these options, got one of others`,
        { hint: "Repeat the options that it was begun with, or choose another folder." },
      );
    }
    const sizes = arrays.map(({ byteLength }) => byteLength);
    if (JSON.stringify(header.arrays) !== JSON.stringify(sizes)) refuse("arrays of other sizes");
    const expected = sizes.reduce((sum, size) => sum + size, HEADER_BYTES);
    const { size } = await file.stat();
    if (size !== expected) refuse(`${size} bytes in place of ${expected}`);
    const { sha256, ...rest } = header;
    const hash = createHash("sha256").update(JSON.stringify(rest));
    let at = HEADER_BYTES;
    for (const array of arrays) {
      const part = bytesOf(array);
      if (!(await readAll(file, part, at))) refuse(`the end of the file after ${at} bytes`);
      hash.update(part);
      at += part.length;
    }
    if (hash.digest("hex") !== sha256) refuse("one whose SHA-256 does not fit");
    return header;
  } catch (cause) {
    if (cause instanceof FormatError || cause instanceof FileError) throw cause;
    throw fileError("takeCensus", path, cause);
  } finally {
    await file.close();
  }
}

/** The header in its own bytes; undefined for anything else. */
function headerOf(bytes: Uint8Array): Header | undefined {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString("utf8").trim());
  } catch {
    return undefined;
  }
  if (typeof json !== "object" || json === null) return undefined;
  const { nDocuments, hash, identity, sizes, arrays, sha256 } = json as Partial<Header>;
  const isSize = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
  const whole =
    isSize(nDocuments) &&
    [hash, identity, sha256].every((text) => typeof text === "string") &&
    growing.every((name) => isSize(sizes?.[name])) &&
    Array.isArray(arrays);
  return whole ? (json as Header) : undefined;
}

/** What a checkpoint counts on must be there: a file that was cut would be filled up with zeros. */
async function checkGrown(folder: string, { sizes }: Header): Promise<void> {
  for (const name of growing) {
    const path = join(folder, files[name]);
    const { size } = await stat(path).catch((cause) => {
      throw fileError("takeCensus", path, cause);
    });
    if (size >= sizes[name]) continue;
    throw new FormatError(
      `takeCensus: ${path}: expected at least ${sizes[name]} bytes, got ${size}`,
      {
        hint: "The file was cut after the checkpoint. Put back a good copy of the folder, or take the census in another folder.",
      },
    );
  }
}

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

/** Whether the file had as many bytes. */
async function readAll(file: FileHandle, bytes: Uint8Array, at: number): Promise<boolean> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesRead } = await file.read(bytes, done, bytes.length - done, at + done);
    if (bytesRead === 0) return false;
    done += bytesRead;
  }
  return true;
}

async function writeAll(file: FileHandle, array: ArrayBufferView, at: number): Promise<void> {
  const bytes = bytesOf(array);
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, at + done);
    done += bytesWritten;
  }
}
