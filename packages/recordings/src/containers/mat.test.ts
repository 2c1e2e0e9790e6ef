import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { FileError, FormatError } from "@penfield/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readMat } from "./mat.ts";
import { readMat5 } from "./mat5.ts";
import { type MatValue, matField, matNumber, matNumbers, matText, toRowMajor } from "./matValue.ts";

/** Made by scipy and h5py: test/golden/make_electrophysiology.py. */
const golden = fileURLToPath(
  new URL("../../../../test/golden/electrophysiology/", import.meta.url),
);
const shared = fileURLToPath(new URL("../../../../../shared/data/", import.meta.url));

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "penfield-mat-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const listed = (value: MatValue | undefined) => Array.from(matNumbers(value) ?? []);

describe.each(["plain.mat", "compressed.mat"])("readMat5 of %s", (file) => {
  const read = () => readMat5(readFileSync(join(golden, file)), { name: file });

  test("gives numbers in their class, row by row", () => {
    const found = read();
    const kinds = {
      int8: Int8Array,
      uint16: Uint16Array,
      int64: BigInt64Array,
      float32: Float32Array,
    };
    for (const [name, kind] of Object.entries(kinds)) {
      const value = found.get(name);
      expect(value).toMatchObject({ kind: "numbers", shape: [2, 3] });
      expect(value?.kind === "numbers" && value.data).toBeInstanceOf(kind);
      expect(listed(value)).toEqual([0, 1, 2, 3, 4, 5]);
    }
    expect(found.get("float32")).toMatchObject({ class: "single" });
    expect(found.get("wide")).toMatchObject({
      data: BigInt64Array.of(-(2n ** 62n), 2n ** 62n + 1n),
    });
    expect(found.get("cube")).toMatchObject({ shape: [2, 3, 4] });
    expect(listed(found.get("cube"))).toEqual(Array.from({ length: 24 }, (_, i) => i));
    expect(found.get("nothing")).toMatchObject({ shape: [0, 3] });
  });

  test("gives complex, logical, text, sparse", () => {
    const found = read();
    expect(found.get("complex")).toMatchObject({
      data: Float64Array.of(1, 3, 5, 0),
      imaginary: Float64Array.of(2, -4, 0, 6),
    });
    expect(found.get("truth")).toEqual({
      kind: "logical",
      data: Uint8Array.of(1, 0, 0, 0),
      shape: [2, 2],
    });
    expect(matText(found.get("text"))).toBe("Köln");
    expect(found.get("rows")).toMatchObject({ rows: ["ab", "cd"] });
    expect(found.get("sparse")).toMatchObject({
      rows: Int32Array.of(1, 0, 1),
      columnStarts: Int32Array.of(0, 1, 2, 3),
      data: Float64Array.of(2.5, 1.5, -1),
      shape: [2, 3],
    });
    expect(found.get("sparseComplex")).toMatchObject({
      data: Float64Array.of(2, 0),
      imaginary: Float64Array.of(0, 1),
    });
  });

  test("gives cells and structs", () => {
    const found = read();
    const cells = found.get("cells");
    expect(cells).toMatchObject({ kind: "cell", shape: [2, 2] });
    if (cells?.kind !== "cell") return;
    expect(matText(cells.data[0])).toBe("a");
    expect(listed(cells.data[1])).toEqual([0, 1, 2]);
    expect(matText(cells.data[2])).toBe("");
    expect(cells.data[3]).toMatchObject({ kind: "logical", data: Uint8Array.of(1, 0) });
    const records = found.get("records");
    expect(records?.kind === "struct" && records.data.map((r) => matText(r.get("name")))).toEqual([
      "first",
      "second",
    ]);
    expect(matNumber(matField(matField(matField(found.get("nested"), "a"), "b"), "c"))).toBe(7);
  });

  test("reads only what is asked for", () => {
    const found = readMat5(readFileSync(join(golden, file)), { variables: ["cube"] });
    expect([...found.keys()]).toEqual(["cube"]);
  });

  test("cut or changed: values or one error with the offset, and soon", () => {
    const bytes = readFileSync(join(golden, file));
    const changes = fc.record({
      places: fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { maxLength: 5 }),
      length: fc.oneof(fc.constant(bytes.length), fc.nat(bytes.length)),
    });
    fc.assert(
      fc.property(changes, ({ places, length }) => {
        const copy = Uint8Array.from(bytes).slice(0, length);
        for (const [i, value] of places) if (i < length) copy[i] = value;
        try {
          readMat5(copy);
        } catch (error) {
          expect(error).toBeInstanceOf(FormatError);
          expect((error as Error).message).toMatch(/: byte \d+: expected /);
        }
      }),
      { numRuns: 300 },
    );
  });
});

/** One variable x as a big-endian writer puts it down, of one int16 element [3, 1] and small elements. */
function bigEndian(): Uint8Array {
  const bytes = new Uint8Array(128 + 8 + 16 + 16 + 8 + 16);
  const view = new DataView(bytes.buffer);
  view.setUint16(124, 0x0100);
  bytes.set([0x4d, 0x49], 126);
  const words = [14, 56, 6, 8, 10, 0, 5, 8, 3, 1];
  for (const [i, word] of words.entries()) view.setInt32(128 + 4 * i, word);
  view.setUint32(168, (1 << 16) | 1);
  bytes[172] = "x".charCodeAt(0);
  view.setUint32(176, 3);
  view.setUint32(180, 6);
  for (const [i, value] of [258, -2, 300].entries()) view.setInt16(184 + 2 * i, value);
  return bytes;
}

describe("readMat5", () => {
  test("reads big-endian files", () => {
    expect(readMat5(bigEndian()).get("x")).toMatchObject({
      class: "int16",
      data: Int16Array.of(258, -2, 300),
      shape: [3, 1],
    });
  });

  test("does not believe sizes that the bytes do not hold", () => {
    const bytes = bigEndian();
    const view = new DataView(bytes.buffer);
    for (const [rows, columns] of [
      [2 ** 31 - 1, 2 ** 31 - 1],
      [2 ** 30, 4],
      [-1, 1],
    ] as const) {
      view.setInt32(160, rows);
      view.setInt32(164, columns);
      expect(() => readMat5(bytes)).toThrow(FormatError);
    }
  });

  test("refuses other files with what they are", () => {
    expect(() => readMat5(new Uint8Array(10), { name: "a.mat" })).toThrow(
      "readMat5: a.mat: byte 126: expected the byte order mark of a MATLAB 5 file, got a file of 10 bytes",
    );
    const v73 = readFileSync(join(golden, "v73.mat"));
    expect(() => readMat5(v73)).toThrow(/byte 124: expected version 0x100, got 0x200/);
  });
});

describe("readMat", () => {
  test("reads version 7.3 into the same values", async () => {
    const found = await readMat(join(golden, "v73.mat"));
    const plain = await readMat(join(golden, "plain.mat"));
    expect(found.get("cube")).toEqual(plain.get("cube"));
    expect(found.get("counts")).toEqual(plain.get("int16"));
    expect(found.get("nothing")).toEqual(plain.get("nothing"));
    expect(found.get("sparse")).toEqual(plain.get("sparse"));
    expect(matText(found.get("text"))).toBe("Köln");
    expect(found.get("truth")).toEqual({
      kind: "logical",
      data: Uint8Array.of(1, 0),
      shape: [1, 2],
    });
    const cells = found.get("cells");
    // HDF5's [[x, 4], [5, 6]] is MATLAB's {x, 5; 4, 6}.
    expect(cells?.kind === "cell" && cells.data.map((c) => matText(c) ?? matNumber(c))).toEqual([
      "x",
      5,
      4,
      6,
    ]);
    expect(matNumber(matField(found.get("nested"), "value"))).toBe(7);
    const records = found.get("records");
    expect(records).toMatchObject({ kind: "struct", shape: [1, 2] });
    expect(
      records?.kind === "struct" && records.data.map((r) => matNumber(r.get("onset"))),
    ).toEqual([4, 5]);
    expect([...found.keys()]).not.toContain("#refs#");
    const some = await readMat(join(golden, "v73.mat"), { variables: ["cells"] });
    expect(some.get("cells")).toEqual(cells);
  });

  test("says what it could not read", async () => {
    await expect(readMat(join(folder, "none.mat"))).rejects.toThrow(FileError);
    const path = join(folder, "text.mat");
    writeFileSync(path, "x".repeat(200));
    await expect(readMat(path)).rejects.toThrow(FormatError);
  });
});

test("toRowMajor turns columns into rows", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 }),
      (shape) => {
        const count = shape.reduce((a, b) => a * b, 1);
        const out = toRowMajor(
          Float64Array.from({ length: count }, (_, i) => i),
          shape,
        );
        // The value at [i, j, k] of a column-major count is i + ni (j + nj k).
        out.forEach((value, flat) => {
          let rest = flat;
          const index = [...shape].reverse().map((size) => {
            const i = rest % size;
            rest = (rest - i) / size;
            return i;
          });
          index.reverse();
          let expected = 0;
          for (let axis = shape.length - 1; axis >= 0; axis--)
            expected = expected * shape[axis]! + index[axis]!;
          expect(value).toBe(expected);
        });
      },
    ),
    { numRuns: 50 },
  );
});

describe.skipIf(!existsSync(shared))("published files", () => {
  const expected = JSON.parse(readFileSync(join(golden, "realFiles.json"), "utf8")).mat as Record<
    string,
    { shape: number[]; sum: number; magnitude: number; at: number[]; values: number[] }
  >;
  /** "file.mat: name / field / [3]" */
  test.each(Object.keys(expected))("%s: equal to scipy's and h5py's", async (key) => {
    const [file, path] = key.split(": ") as [string, string];
    const [name, ...steps] = path.split(" / ");
    let value = (await readMat(join(shared, file), { variables: [name!] })).get(name!);
    for (const step of steps) {
      const index = /^\[(\d+)\]$/.exec(step);
      if (!index) value = matField(value, step);
      else if (value?.kind === "cell") value = value.data[Number(index[1])];
      else if (value?.kind === "struct") {
        value = { kind: "struct", data: [value.data[Number(index[1])]!], shape: [1, 1] };
      }
    }
    const { shape, at, values, sum, magnitude } = expected[key]!;
    const data = matNumbers(value)!;
    expect(value).toMatchObject({ shape });
    expect(at.map((i) => data[i])).toEqual(values);
    const total = data.reduce((a, b) => a + (Number.isFinite(b) ? b : 0), 0);
    expect(Math.abs(total - sum)).toBeLessThanOrEqual(1e-12 * magnitude);
  });
});
