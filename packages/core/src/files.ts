import { randomBytes } from "node:crypto";
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { FileError } from "./errors.ts";

const temporaryName = (path: string): string =>
  join(
    dirname(path),
    `.${basename(path)}.${process.pid}.${randomBytes(4).toString("hex")}.partial`,
  );

/** The system's word on why a file operation failed, as one of our errors. */
export function fileError(doing: string, path: string, cause: unknown): FileError {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  const reasons: Record<string, readonly [string, string]> = {
    ENOENT: ["there is no such file or folder", "Check the path."],
    EACCES: ["permission is denied", "Choose a place that you may read and write."],
    EPERM: ["permission is denied", "Choose a place that you may read and write."],
    EROFS: ["the file system is read-only", "Choose another folder with --out."],
    ENOSPC: ["the disk is full", "Free some room, or choose another disk with --out."],
    EDQUOT: ["the disk quota is used up", "Free some room, or choose another disk with --out."],
    EISDIR: ["it is a folder", "Name a file."],
    ENOTDIR: ["a part of the path is a file", "Check the path."],
  };
  const [reason, hint] = reasons[code ?? ""] ?? [
    (cause as Error)?.message ?? String(cause),
    undefined,
  ];
  return new FileError(`${doing}: ${path}: ${reason}`, { hint, cause });
}

/**
 * Writes a file so that a reader never sees half of it: to a temporary name beside it, then renamed.
 *
 * @throws {FileError} if it cannot be written (the temporary file is removed; an old file stays as it was).
 */
export async function writeFileAtomic(path: string, bytes: Uint8Array | string): Promise<void> {
  const temporary = temporaryName(path);
  try {
    await mkdir(dirname(path), { recursive: true });
    const file = await open(temporary, "w");
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw fileError("writeFileAtomic", path, cause);
  }
}

/**
 * Makes a folder whole or not at all: `fill` writes into a temporary folder beside it, which takes
 * the name when `fill` has returned.
 *
 * @param path - Must not exist, or be empty; `replace` allows an old folder, which stays until the
 *   new one is complete.
 * @throws {FileError} if the folder is in use or cannot be written. Errors of `fill` pass through;
 *   in every case nothing half-written remains.
 */
export async function writeFolderAtomic(
  path: string,
  fill: (folder: string) => Promise<void>,
  { replace = false }: { replace?: boolean } = {},
): Promise<void> {
  const inside = await readdir(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") return [];
    throw fileError("writeFolderAtomic", path, cause);
  });
  if (inside.length > 0 && !replace) {
    throw new FileError(
      `writeFolderAtomic: ${path}: expected no such folder or an empty one, got ${inside.length} entries`,
      {
        hint: "Choose another folder, or allow the old one to be replaced.",
      },
    );
  }
  const temporary = temporaryName(path);
  const old = `${temporary}.old`;
  try {
    await mkdir(temporary, { recursive: true }).catch((cause) => {
      throw fileError("writeFolderAtomic", path, cause);
    });
    await fill(temporary);
    const moved = await rename(path, old).then(
      () => true,
      () => false,
    );
    try {
      await rename(temporary, path);
    } catch (cause) {
      if (moved) await rename(old, path);
      throw fileError("writeFolderAtomic", path, cause);
    }
    if (moved) await rm(old, { recursive: true, force: true });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}
