/** Stops, and what is left on the disk by them: nothing is lost, nothing is gone on with that is not whole. */
import {
  cp,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRng, FileError, FormatError, InterruptedError, sha256 } from "@penfield/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openCensus } from "./census.ts";
import type { UnitSource } from "./source.ts";
import { takeCensus } from "./takeCensus.ts";

const source: UnitSource = {
  name: "random",
  sha256: "0",
  hooks: [{ name: "h", layer: 0, nUnits: 5 }],
  vocabularySize: 12,
  maxTokens: 16,
  read: async (documents) => {
    const parts = documents.map((tokens) => {
      const rng = createRng(tokens.reduce((a, b) => (a * 31 + b) % 1e9, 1));
      return Array.from({ length: tokens.length * 5 }, () => rng.normal());
    });
    return [Float32Array.from(parts.flat())];
  },
};
const rng = createRng(7);
const documents = Array.from({ length: 90 }, () => ({
  tokens: Array.from({ length: 4 + rng.below(12) }, () => rng.below(12)),
}));
const options = { batchTokens: 60, checkpointDocuments: 1000 };

let root: string;
let expected: Record<string, string>;
/** A census that was stopped after some 40 documents. */
let stopped: string;
const hashes = async (folder: string) =>
  Object.fromEntries(
    await Promise.all(
      (await readdir(folder))
        .sort()
        .map(async (name) => [name, sha256(await readFile(join(folder, name)))] as const),
    ),
  );
async function stopAt(folder: string, nDocuments: number, more: object = {}): Promise<void> {
  const stop = new AbortController();
  const work = takeCensus(source, documents, folder, {
    ...options,
    ...more,
    signal: stop.signal,
    onProgress: ({ done }) => {
      if (done >= nDocuments) stop.abort();
    },
  });
  await expect(work).rejects.toThrow(InterruptedError);
}
const goOn = (folder: string, more: object = {}) =>
  takeCensus(source, documents, folder, { ...options, ...more, resume: true });

let nCopies = 0;
async function copyOfStopped(): Promise<string> {
  const folder = join(root, `copy-${nCopies++}`);
  await cp(stopped, folder, { recursive: true });
  return folder;
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "penfield-checkpoint-"));
  await (await takeCensus(source, documents, join(root, "whole"), options)).close();
  expected = await hashes(join(root, "whole"));
  stopped = join(root, "stopped");
  await stopAt(stopped, 40);
});
afterAll(() => rm(root, { recursive: true, force: true }));

describe("a stop on purpose", () => {
  test("keeps all that was folded in, long before the first regular checkpoint", async () => {
    const folder = await copyOfStopped();
    let nRead = 0;
    const counted = {
      ...source,
      read: (rows: Parameters<UnitSource["read"]>[0]) => {
        nRead += rows.length;
        return source.read(rows);
      },
    };
    const census = await takeCensus(counted, documents, folder, { ...options, resume: true });
    expect(nRead).toBeLessThanOrEqual(documents.length - 40);
    expect(await hashes(folder)).toEqual(expected);
    await census.close();
  });

  test("again and again, and at once: still the same bytes", async () => {
    const folder = join(root, "often");
    for (const nDocuments of [10, 30, 35, 80])
      await stopAt(folder, nDocuments, { resume: nDocuments > 10 });
    const stop = new AbortController();
    stop.abort();
    await expect(goOn(folder, { signal: stop.signal })).rejects.toThrow(InterruptedError);
    await (await goOn(folder)).close();
    expect(await hashes(folder)).toEqual(expected);
  });
});

describe("a fault", () => {
  test("of a late document or of the source keeps what was folded in before: mended, it goes on", async () => {
    const folder = join(root, "fault");
    const spoiled = documents.map((own, d) => (d === 60 ? { tokens: [99] } : own));
    await expect(takeCensus(source, spoiled, folder, options)).rejects.toThrow(/tokens within/);
    let nBatches = 0;
    const failing = {
      ...source,
      read: (rows: Parameters<UnitSource["read"]>[0]) => {
        if (nBatches++ === 2) throw new Error("out of memory");
        return source.read(rows);
      },
    };
    const again = { ...options, resume: true };
    await expect(takeCensus(failing, documents, folder, again)).rejects.toThrow("out of memory");
    await (await goOn(folder)).close();
    expect(await hashes(folder)).toEqual(expected);
  });

  test("in the midst of a batch goes back to the checkpoint before it; without one the folder is free", async () => {
    let nBatches = 0;
    const spoiling = (from: number): UnitSource => ({
      ...source,
      read: async (rows) => {
        const [values] = await source.read(rows);
        // The last unit: the others of the batch are counted already.
        if (nBatches++ >= from) values![values!.length - 1] = Number.NaN;
        return [values!];
      },
    });
    const folder = await copyOfStopped();
    const resumed = takeCensus(spoiling(0), documents, folder, { ...options, resume: true });
    await expect(resumed).rejects.toThrow(/expected finite values, got NaN/);
    await (await goOn(folder)).close();
    expect(await hashes(folder)).toEqual(expected);
    const fresh = join(root, "fresh");
    await expect(takeCensus(spoiling(0), documents, fresh, options)).rejects.toThrow(/finite/);
    await expect(readdir(fresh)).rejects.toThrow(/ENOENT/);
  });
});

test("what is carried along is as large after 20 documents as after 80: memory is flat", async () => {
  // The checkpoint is all that is carried from batch to batch: a resumed census has the same bytes.
  const sizes: number[] = [];
  for (const nDocuments of [20, 80]) {
    const folder = join(root, `flat-${nDocuments}`);
    await stopAt(folder, nDocuments);
    sizes.push((await stat(join(folder, "checkpoint.bin"))).size);
  }
  expect(sizes[1]).toBe(sizes[0]);
});

describe("what is not whole is refused with one clear error, and left as it was", () => {
  const header = async (folder: string) => {
    const bytes = await readFile(join(folder, "checkpoint.bin"));
    return { bytes, json: JSON.parse(bytes.toString("utf8", 0, 4096).trim()) };
  };
  const writeHeader = async (folder: string, change: object) => {
    const { bytes, json } = await header(folder);
    bytes.write(JSON.stringify({ ...json, ...change }).padEnd(4096), 0);
    await writeFile(join(folder, "checkpoint.bin"), bytes);
  };
  const overwrite = (text: string) => (folder: string) =>
    writeFile(join(folder, "checkpoint.bin"), text);
  const flip = (at: number) => async (folder: string) => {
    const file = await open(join(folder, "checkpoint.bin"), "r+");
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, at);
    await file.write(Buffer.of(byte[0]! ^ 64), 0, 1, at);
    await file.close();
  };

  test.each<
    [string, (folder: string) => Promise<unknown>, RegExp, (typeof FileError | typeof FormatError)?]
  >([
    [
      "no bytes",
      overwrite(""),
      /expected a whole checkpoint, got the end of the file in its header/,
    ],
    ["half a header", (f) => truncate(join(f, "checkpoint.bin"), 2000), /got the end of the file/],
    [
      "half the arrays",
      (f) => truncate(join(f, "checkpoint.bin"), 9000),
      /got 9000 bytes in place/,
    ],
    ["no JSON", overwrite("x".repeat(5000)), /got something else/],
    ["null", overwrite("null".padEnd(5000)), /got something else/],
    ["a list", overwrite("[]".padEnd(5000)), /got something else/],
    ["sizes that are none", (f) => writeHeader(f, { sizes: { tokens: -1 } }), /got something else/],
    ["no sizes", (f) => writeHeader(f, { sizes: null }), /got something else/],
    ["other arrays", (f) => writeHeader(f, { arrays: [1e12] }), /got arrays of other sizes/],
    ["a changed count", (f) => writeHeader(f, { nDocuments: 7 }), /SHA-256 does not fit/],
    [
      "sizes of nothing",
      async (f) => {
        const { json } = await header(f);
        await writeHeader(f, { sizes: { ...json.sizes, values: 0, tokens: 0 } });
      },
      /SHA-256 does not fit/,
    ],
    ["a flipped bit in the state", flip(20_000), /SHA-256 does not fit/],
    [
      "more bytes",
      async (f) => writeFile(join(f, "checkpoint.bin"), "x", { flag: "a" }),
      /bytes in place/,
    ],
    [
      "another census' checkpoint",
      (f) => writeHeader(f, { identity: "0" }),
      /of this model and these options/,
      FileError,
    ],
    [
      "values that were cut",
      (f) => truncate(join(f, "values.u8"), 10),
      /values.u8: expected at least \d+ bytes, got 10/,
    ],
    [
      "tokens that are gone",
      (f) => rm(join(f, "tokens.u32")),
      /expected no such folder or an empty one/,
      FileError,
    ],
  ])(
    "%s",
    async (_, change, message, kind: typeof FileError | typeof FormatError = FormatError) => {
      const folder = await copyOfStopped();
      await change(folder);
      const before = await hashes(folder);
      const error = await goOn(folder).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(kind);
      expect((error as Error).message).toMatch(message);
      expect((error as Error).message.split("\n").length).toBe(1);
      expect(await hashes(folder)).toEqual(before);
    },
  );

  test("a folder of something else is not taken for a census that was begun", async () => {
    const folder = join(root, "others");
    await cp(stopped, folder, { recursive: true });
    for (const name of ["checkpoint.bin", "values.u8", "tokens.u32"]) await rm(join(folder, name));
    await writeFile(join(folder, "documents.jsonl"), "my own");
    await expect(goOn(folder)).rejects.toThrow(/got \d files, no census/);
    expect(await readFile(join(folder, "documents.jsonl"), "utf8")).toBe("my own");
  });

  test("a checkpoint that was being written when the power went is passed over, and cleared away", async () => {
    const folder = await copyOfStopped();
    await writeFile(join(folder, "checkpoint.bin.partial"), "half");
    await (await goOn(folder)).close();
    expect(await hashes(folder)).toEqual(expected);
  });
});

test("a finished census: broken descriptions of it and cut files are refused by name", async () => {
  const broken = async (change: (folder: string) => Promise<unknown>) => {
    const folder = join(root, `broken-${nCopies++}`);
    await cp(join(root, "whole"), folder, { recursive: true });
    await change(folder);
    const error = await openCensus(folder).then(
      (census) => census.close(),
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(FormatError);
    return (error as Error).message;
  };
  const meta = (change: (json: Record<string, unknown>) => unknown) => async (folder: string) => {
    const path = join(folder, "meta.json");
    const json = JSON.parse(await readFile(path, "utf8")) as Record<string, unknown>;
    await writeFile(path, JSON.stringify(change(json) ?? json));
  };
  expect(await broken((f) => writeFile(join(f, "meta.json"), "{"))).toMatch(/expected JSON/);
  expect(await broken((f) => writeFile(join(f, "meta.json"), "null"))).toMatch(
    /version 1, got undefined/,
  );
  expect(await broken(meta((json) => ({ ...json, version: 9 })))).toMatch(/version 1, got .* 9/);
  expect(await broken(meta((json) => ({ ...json, nUnits: -1 })))).toMatch(/expected nUnits/);
  expect(await broken(meta((json) => ({ ...json, ngramKinds: 3 })))).toMatch(/expected ngramKinds/);
  expect(await broken(meta((json) => ({ ...json, hooks: [null] })))).toMatch(/expected hooks/);
  expect(await broken(meta((json) => ({ ...json, hooks: [] })))).toMatch(/hooks of 5 units, got 0/);
  expect(await broken(meta((json) => ({ ...json, contexts: { top: 2 } })))).toMatch(/contexts/);
  expect(await broken((f) => truncate(join(f, "scales.f32"), 8))).toMatch(/bytes of scales/);
  expect(await broken((f) => truncate(join(f, "segments.u32"), 4))).toMatch(/expected parts of/);
  expect(await broken((f) => truncate(join(f, "values.u8"), 4))).toMatch(/values.u8: expected/);
  // A broken description is no finished census to be gone on with, and is not overwritten.
  const folder = join(root, "half-described");
  await cp(join(root, "whole"), folder, { recursive: true });
  await writeFile(join(folder, "meta.json"), "{");
  await expect(goOn(folder)).rejects.toThrow(/the census there is complete/);
});
