import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { DataError, FileError } from "./errors.ts";
import { fileError, writeFileAtomic, writeFolderAtomic } from "./files.ts";
import { sha256, sha256File } from "./hash.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "penfield-core-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));
const at = (...parts: string[]) => join(folder, ...parts);
const inside = async () => (await readdir(folder)).sort();

describe("writeFileAtomic", () => {
  test("writes text and bytes, makes folders, replaces, and leaves nothing else", async () => {
    await writeFileAtomic(at("a/b/x.txt"), "one");
    await writeFileAtomic(at("a/b/x.txt"), new Uint8Array([116, 119, 111]));
    expect(await readFile(at("a/b/x.txt"), "utf8")).toBe("two");
    expect(await readdir(at("a/b"))).toEqual(["x.txt"]);
  });

  test("when it cannot write, the old file stays and the temporary one goes", async () => {
    await mkdir(at("taken/inside"), { recursive: true });
    const call = () => writeFileAtomic(at("taken"), "text");
    await expect(call()).rejects.toThrow(FileError);
    await expect(call()).rejects.toThrow(/^writeFileAtomic: .*taken: /);
    expect(await inside()).toEqual(["taken"]);
    await writeFile(at("file"), "");
    await expect(writeFileAtomic(at("file/x"), "text")).rejects.toThrow(FileError);
  });

  test("of many writers at once, one whole file wins", async () => {
    const texts = Array.from({ length: 8 }, (_, i) => `${i}`.repeat(50_000));
    await Promise.all(texts.map((text) => writeFileAtomic(at("x"), text)));
    expect(texts).toContain(await readFile(at("x"), "utf8"));
    expect(await inside()).toEqual(["x"]);
  });
});

describe("writeFolderAtomic", () => {
  const fill = (text: string) => (path: string) => writeFile(join(path, "x.txt"), text);

  test("makes a folder, or takes an empty one", async () => {
    await writeFolderAtomic(at("new"), fill("one"));
    await mkdir(at("empty"));
    await writeFolderAtomic(at("empty"), fill("two"));
    await writeFolderAtomic(at("deep/down/new"), fill("three"));
    expect(await readFile(at("new/x.txt"), "utf8")).toBe("one");
    expect(await readFile(at("empty/x.txt"), "utf8")).toBe("two");
    expect(await readFile(at("deep/down/new/x.txt"), "utf8")).toBe("three");
    expect(await inside()).toEqual(["deep", "empty", "new"]);
  });

  test("refuses a folder in use, and replaces it whole when allowed", async () => {
    await writeFolderAtomic(at("x"), async (path) => {
      await writeFile(join(path, "old.txt"), "old");
    });
    const call = () => writeFolderAtomic(at("x"), fill("new"));
    await expect(call()).rejects.toThrow(FileError);
    await expect(call()).rejects.toThrow(/expected no such folder or an empty one, got 1 entries/);
    expect(await readdir(at("x"))).toEqual(["old.txt"]);
    await writeFolderAtomic(at("x"), fill("new"), { replace: true });
    expect(await readdir(at("x"))).toEqual(["x.txt"]);
    expect(await inside()).toEqual(["x"]);
  });

  test("when fill throws, its error passes through, nothing remains, and an old folder is intact", async () => {
    const broken = async (path: string) => {
      await writeFile(join(path, "half.txt"), "half");
      throw new DataError("in the middle");
    };
    await expect(writeFolderAtomic(at("x"), broken)).rejects.toThrow(DataError);
    expect(await inside()).toEqual([]);
    await writeFolderAtomic(at("x"), fill("old"));
    await expect(writeFolderAtomic(at("x"), broken, { replace: true })).rejects.toThrow(
      "in the middle",
    );
    expect(await readFile(at("x/x.txt"), "utf8")).toBe("old");
    expect(await inside()).toEqual(["x"]);
  });

  test("while fill runs, the name shows the old folder", async () => {
    await writeFolderAtomic(at("x"), fill("old"));
    await writeFolderAtomic(
      at("x"),
      async (path) => {
        await fill("new")(path);
        expect(await readFile(at("x/x.txt"), "utf8")).toBe("old");
      },
      { replace: true },
    );
    expect(await readFile(at("x/x.txt"), "utf8")).toBe("new");
  });

  test("a file in the way is refused, also with replace", async () => {
    await writeFile(at("x"), "file");
    for (const replace of [false, true]) {
      const call = () => writeFolderAtomic(at("x"), fill("new"), { replace });
      await expect(call()).rejects.toThrow(FileError);
      await expect(call()).rejects.toThrow(/a part of the path is a file/);
    }
    expect(await readFile(at("x"), "utf8")).toBe("file");
    expect(await inside()).toEqual(["x"]);
  });

  test("what a symbolic link points to is not deleted", async () => {
    await mkdir(at("real"));
    await writeFile(at("real/kept.txt"), "kept");
    await symlink(at("real"), at("link"));
    await writeFolderAtomic(at("link"), fill("new"), { replace: true });
    expect(await readFile(at("real/kept.txt"), "utf8")).toBe("kept");
  });

  test.skipIf(process.getuid?.() === 0)("says that it may not write (not as root)", async () => {
    await chmod(folder, 0o500);
    await expect(writeFolderAtomic(at("x"), fill("new"))).rejects.toThrow(/permission is denied/);
    await chmod(folder, 0o700);
  });
});

test("fileError puts the system's reason into words", () => {
  const of = (code: string) =>
    fileError("reading", "a.txt", Object.assign(new Error("raw"), { code }));
  expect(of("ENOENT").message).toBe("reading: a.txt: there is no such file or folder");
  expect(of("ENOENT").hint).toBe("Check the path.");
  expect(of("ENOSPC").message).toBe("reading: a.txt: the disk is full");
  expect(of("EODD").message).toBe("reading: a.txt: raw");
  expect(fileError("reading", "a.txt", "text").message).toBe("reading: a.txt: text");
});

test("sha256 of bytes and of files agree", async () => {
  const text = "abc".repeat(500_000);
  await writeFile(at("x"), text);
  expect(await sha256File(at("x"))).toBe(sha256(text));
  // FIPS 180-2, appendix B.1.
  expect(sha256("abc")).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  await expect(sha256File(at("gone"))).rejects.toThrow(FileError);
  await expect(sha256File(at("gone"))).rejects.toThrow(/sha256File: .*no such file/);
});
