import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { FileError, FormatError } from "@penfield/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readHdf5, writeHdf5 } from "./hdf5.ts";
import type { H5Array, H5Entry, H5Group } from "./hdf5Tree.ts";

/** Made by h5py, with a user block of 512 bytes as MATLAB's: test/golden/make_electrophysiology.py. */
const kinds = fileURLToPath(
  new URL("../../../test/golden/electrophysiology/kinds.h5", import.meta.url),
);
const shared = fileURLToPath(new URL("../../../../shared/data/", import.meta.url));

function at(tree: H5Group, path: string): H5Entry | undefined {
  let found: H5Entry | undefined = tree;
  for (const name of path.split("/").filter(Boolean)) {
    found = found?.kind === "group" ? found.children.get(name) : undefined;
  }
  return found;
}
const array = (tree: H5Group, path: string): H5Array => at(tree, path) as H5Array;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "penfield-hdf5-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("readHdf5", () => {
  let tree: H5Group;
  beforeAll(async () => {
    tree = await readHdf5(kinds);
  });

  test("keeps kinds of numbers, from either byte order", () => {
    const constructors = {
      i1: Int8Array,
      u1: Uint8Array,
      i2: Int16Array,
      u2: Uint16Array,
      i4: Int32Array,
      u4: Uint32Array,
      i8: BigInt64Array,
      u8: BigUint64Array,
      f4: Float32Array,
      f8: Float64Array,
      bigi4: Int32Array,
      bigf8: Float64Array,
    };
    for (const [name, kind] of Object.entries(constructors)) {
      const { data, shape } = array(tree, `numbers/${name}`);
      expect(data, name).toBeInstanceOf(kind);
      expect(shape).toEqual([2, 3]);
      if (!name.startsWith("u")) expect(Array.from(data, Number)).toEqual([-2, -1, 0, 1, 2, 3]);
    }
    expect(array(tree, "scalar")).toMatchObject({
      data: BigInt64Array.of(2n ** 53n + 1n),
      shape: [],
    });
  });

  test("reads attributes, booleans, enumerations, text, references and lists", () => {
    const numbers = at(tree, "numbers") as H5Group;
    expect(numbers.attributes.get("unit")).toMatchObject({ type: "text", data: ["V"], shape: [] });
    expect(numbers.attributes.get("scale")?.data).toEqual(Float64Array.of(1.5, 2.5));
    expect(array(tree, "boolean")).toMatchObject({ type: "boolean" });
    expect(Array.from(array(tree, "boolean").data, Number)).toEqual([1, 0, 1]);
    expect(array(tree, "enum")).toMatchObject({ type: "enum", members: { RED: 1, BLUE: 2 } });
    expect(array(tree, "text").data).toEqual(["ab", "c", ""]);
    expect(array(tree, "words").data).toEqual(["eins", "zwölf"]);
    expect(array(tree, "references")).toMatchObject({
      type: "reference",
      data: ["/scalar", "/numbers", ""],
    });
    expect(array(tree, "scalar").attributes.get("friend")?.data).toEqual(["/boolean"]);
    expect(array(tree, "ragged")).toMatchObject({
      data: Int32Array.of(1, 2, 3, 4),
      lengths: [3, 1],
    });
  });

  test("reads compressed, empty and never written arrays, and links within the file", () => {
    expect(array(tree, "packed").data[57]).toBe(57n);
    expect(array(tree, "empty")).toMatchObject({ shape: [0], data: new Float64Array(0) });
    expect(array(tree, "none")).toMatchObject({ shape: [0, 3], data: new Float64Array(0) });
    expect(array(tree, "unwritten").data).toEqual(Float64Array.of(7, 7, 7, 7));
    expect(array(tree, "soft").data[5]).toBe(3);
  });

  test("names what it does not read, and follows no link out of the file", () => {
    expect(at(tree, "compound")).toMatchObject({ kind: "unread", reason: "compound values" });
    expect(at(tree, "half")).toMatchObject({ kind: "unread", reason: "floats of 2 bytes" });
    for (const name of ["lost", "outside"]) {
      expect(at(tree, name)).toMatchObject({ kind: "unread", reason: "a link that leads nowhere" });
    }
  });

  test("gives the same from a path as from bytes", async () => {
    expect(await readHdf5(readFileSync(kinds))).toEqual(tree);
  });

  test("reads only what is asked for", async () => {
    const some = await readHdf5(kinds, {
      paths: ["/numbers", "/packed"],
      slices: {
        "/packed": [
          [4, 6],
          [8, 10],
        ],
      },
    });
    expect(array(some, "packed")).toMatchObject({
      data: BigInt64Array.of(48n, 49n, 58n, 59n),
      shape: [2, 2],
    });
    expect(array(some, "numbers/f4").data[0]).toBe(-2);
    expect(at(some, "words")).toMatchObject({
      kind: "unread",
      shape: [2],
      reason: "not asked for",
    });
    const none = await readHdf5(kinds, { paths: [] });
    expect(at(none, "scalar")).toMatchObject({ kind: "unread", type: "integer" });
    expect(at(none, "boolean")).toMatchObject({ kind: "unread", type: "boolean", shape: [3] });
    expect(at(none, "compound")).toMatchObject({ kind: "unread", type: undefined });
    await expect(
      readHdf5(kinds, {
        slices: {
          "/packed": [
            [0, 11],
            [0, 1],
          ],
        },
      }),
    ).rejects.toThrow(
      "readHdf5: kinds.h5: /packed: expected ranges within [10, 10], got 0 to 11, 0 to 1",
    );
  });

  test("reads a large file in parts: what is not asked for is not touched", async () => {
    // 8 MB of which two values are wanted.
    const path = join(folder, "large.h5");
    writeFileSync(path, await writeHdf5({ arrays: { x: { data: new Float64Array(2 ** 20) } } }));
    const before = process.memoryUsage().arrayBuffers;
    const tree = await readHdf5(path, { slices: { "/x": [[5, 7]] } });
    expect(array(tree, "x").data).toEqual(new Float64Array(2));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 20);
  });

  test("refuses what is no HDF5 file, is cut short or is not there", async () => {
    const text = new TextEncoder().encode("no such file".repeat(10));
    await expect(readHdf5(text, { name: "x.nc", doing: "load" })).rejects.toThrow(
      "load: x.nc: expected an HDF5 file, got 120 bytes that do not begin as one",
    );
    await expect(readHdf5(new Uint8Array(0))).rejects.toThrow(FormatError);
    const bytes = readFileSync(kinds);
    await expect(readHdf5(bytes.subarray(0, bytes.length - 1000))).rejects.toThrow(FormatError);
    await expect(readHdf5(join(folder, "none.h5"))).rejects.toThrow(FileError);
  });

  test("any bytes changed, any length: a tree or one clear error", async () => {
    const bytes = readFileSync(kinds);
    const changes = fc.record({
      places: fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { maxLength: 6 }),
      length: fc.oneof(fc.constant(bytes.length), fc.nat(bytes.length)),
    });
    await fc.assert(
      fc.asyncProperty(changes, async ({ places, length }) => {
        const copy = new Uint8Array(bytes).slice(0, length);
        for (const [i, value] of places) if (i < length) copy[i] = value;
        await readHdf5(copy).catch((error) => expect(error).toBeInstanceOf(FormatError));
      }),
      { numRuns: 8 },
    );
    expect(array(await readHdf5(bytes), "scalar").shape).toEqual([]);
  });

  test("a damaged file in which the library goes in circles is given up, and the next one read", async () => {
    const bytes = new Uint8Array(readFileSync(kinds));
    const text = Buffer.from(bytes.buffer).toString("latin1");
    // Free space of names of a group that is said to be followed by itself.
    for (let heap = text.indexOf("HEAP"); heap >= 0; heap = text.indexOf("HEAP", heap + 1)) {
      const view = new DataView(bytes.buffer, heap);
      const [free, names] = [view.getBigUint64(16, true), view.getBigUint64(24, true)];
      view.setBigUint64(Number(512n + names + free) - heap, free, true);
    }
    await expect(readHdf5(bytes, { timeoutSeconds: 0.5 })).rejects.toThrow(/does not end/);
    expect((await readHdf5(kinds)).kind).toBe("group");
  });
});

describe("writeHdf5", () => {
  test("writes what readHdf5 reads", async () => {
    const bytes = await writeHdf5({
      attributes: { title: "t" },
      groups: { g: { arrays: { words: { data: ["a", "ö"], attributes: { unit: "V" } } } } },
      arrays: { x: { data: Float32Array.of(1, 2, 3, 4), shape: [2, 2], gzip: true } },
    });
    const tree = await readHdf5(bytes);
    expect(tree.attributes.get("title")?.data).toEqual(["t"]);
    expect(array(tree, "g/words").data).toEqual(["a", "ö"]);
    expect(array(tree, "g/words").attributes.get("unit")?.data).toEqual(["V"]);
    expect(array(tree, "x")).toMatchObject({ shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) });
  });
});

describe.skipIf(!existsSync(shared))("published files", () => {
  test("netCDF-4: dimensions as references", async () => {
    const tree = await readHdf5(join(shared, "brainio_nc/assy_test_TestMe.nc"));
    expect(array(tree, "data").attributes.get("DIMENSION_LIST")).toMatchObject({
      type: "reference",
      data: ["/presentation", "/neuroid"],
      lengths: [1, 1],
    });
  });

  test("NWB and MATLAB 7.3", async () => {
    const nwb = await readHdf5(join(shared, "nwb/pynwb_2.2.0_subject_no_age.nwb"), {
      paths: ["/identifier"],
    });
    expect(array(nwb, "identifier").data).toHaveLength(1);
    const mat = await readHdf5(join(shared, "matv73/v73.mat"));
    expect(array(mat, "y").attributes.get("MATLAB_class")?.data).toEqual(["logical"]);
  });
});
