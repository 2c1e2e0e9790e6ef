import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";
import {
  ArgumentError,
  DataError,
  FileError,
  FormatError,
  InterruptedError,
  ShapeError,
  tensor,
} from "@penfield/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Space } from "../types.ts";
import { inspectImaging } from "./inspectImaging.ts";
import { readNifti } from "./nifti.ts";
import { encodeNifti, writeNifti } from "./writeNifti.ts";

interface NiftiCase {
  readonly name: string;
  readonly bytes: string;
  readonly shape: number[];
  readonly affine: number[];
  readonly dtype: string;
  readonly values: number[];
  readonly sha256: string;
}
interface RealCase {
  readonly file: string;
  readonly shape?: number[];
  readonly affine: number[];
  readonly zooms: number[];
  readonly sum: number;
  readonly picks: number[];
  readonly values: number[];
  readonly sha256: string;
}
const golden = JSON.parse(
  readFileSync(new URL("../../../../test/golden/imaging.json", import.meta.url), "utf8"),
) as { nifti: NiftiCase[]; real: RealCase[] };
const shared = fileURLToPath(new URL("../../../../../shared/data/", import.meta.url));

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "penfield-nifti-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const place = (name: string): string => join(folder, name);

const AFFINE = [-2, 0, 0, 90, 0, 2, 0, -126, 0, 0, 2, -72, 0, 0, 0, 1];
const hash = (values: ArrayLike<number>): string =>
  createHash("sha256")
    .update(new Uint8Array(Float64Array.from(values).buffer))
    .digest("hex");
const patched = (bytes: Uint8Array, change: (view: DataView) => void): Uint8Array => {
  const copy = bytes.slice();
  change(new DataView(copy.buffer));
  return copy;
};

describe("readNifti, files that nibabel made", () => {
  test.each(golden.nifti.map((c) => [c.name, c] as const))("%s", async (_, expected) => {
    const image = await readNifti(Buffer.from(expected.bytes, "base64"));
    expect(image.shape).toEqual(expected.shape);
    expect(image.datatype).toBe(expected.dtype);
    expect([...image.data]).toEqual(expected.values);
    expect(hash(image.data)).toBe(expected.sha256);
    // The qform goes through sines and cosines; all else is read as it stands.
    const slack = image.affineSource === "qform" ? 1e-12 : 0;
    image.affine.forEach((value, i) => {
      expect(Math.abs(value - expected.affine[i]!)).toBeLessThanOrEqual(slack);
    });
    if (expected.shape.length === 4) expect(image.trSeconds).toBe(2.5);
  });
});

describe.skipIf(!existsSync(shared))("readNifti, real files beside nibabel", () => {
  const images = golden.real.filter(({ shape }) => shape !== undefined);
  test.each(images.map((c) => [c.file, c] as const))("%s", async (file, expected) => {
    const image = await readNifti(join(shared, file));
    expect(image.shape).toEqual(expected.shape);
    expect(expected.picks.map((i) => image.data[i])).toEqual(expected.values);
    expect(hash(image.data)).toBe(expected.sha256);
    expect(Array.from(image.affine)).toEqual(expected.affine.map((value) => value + 0));
    expect(image.voxelSize).toEqual(expected.zooms.slice(0, 3));
    if (expected.zooms[3] !== undefined) expect(image.trSeconds).toBe(expected.zooms[3]);
  });
});

describe("readNifti", () => {
  const plain = encodeNifti([1, 2, 3, 4, 5, 6], { shape: [3, 2, 1], affine: AFFINE });

  test("takes lengths to millimetres and times to seconds", async () => {
    const series = encodeNifti([1, 2], { shape: [1, 1, 1, 2], affine: AFFINE, trSeconds: 2000 });
    const units = async (code: number) =>
      readNifti(patched(series, (view) => view.setUint8(123, code)));
    expect(await units(2 + 8)).toMatchObject({ trSeconds: 2000, voxelSize: [2, 2, 2] });
    expect(await units(2 + 16)).toMatchObject({ trSeconds: 2 });
    expect((await units(3 + 24)).trSeconds).toBe(0.002);
    expect((await units(3 + 24)).affine[3]).toBeCloseTo(0.09, 12);
    expect((await units(1 + 8)).affine[3]).toBe(90_000);
    expect((await units(2 + 32)).trSeconds).toBeUndefined();
    expect((await units(0)).notes.join()).toMatch(/no unit of length.*no unit of time/);
  });

  test("float32, a limit, progress, a signal", async () => {
    const done: number[] = [];
    const image = await readNifti(plain, {
      dtype: "float32",
      onProgress: (p) => done.push(p.done),
    });
    expect(image.data).toBeInstanceOf(Float32Array);
    expect(done).toEqual([1]);
    await expect(readNifti(plain, { limitBytes: 40 })).rejects.toThrow(DataError);
    await expect(readNifti(plain, { dtype: "int8" as "float32" })).rejects.toThrow(ArgumentError);
    await expect(readNifti(plain, { signal: AbortSignal.abort() })).rejects.toThrow(
      InterruptedError,
    );
  });

  test("a pair, from either name, packed or not, and from bytes", async () => {
    const header = patched(plain, (view) => {
      view.setUint8(345, 0x69);
      view.setFloat32(108, 0, true);
    }).subarray(0, 352);
    writeFileSync(place("pair.hdr"), header);
    writeFileSync(place("pair.img"), plain.subarray(352));
    writeFileSync(place("packed.hdr.gz"), gzipSync(header));
    writeFileSync(place("packed.img.gz"), gzipSync(plain.subarray(352)));
    for (const name of ["pair.hdr", "pair.img", "packed.hdr.gz", "packed.img.gz"]) {
      expect([...(await readNifti(place(name))).data]).toEqual([1, 2, 3, 4, 5, 6]);
    }
    expect((await readNifti(header, { image: plain.subarray(352) })).isPair).toBe(true);
    await expect(readNifti(header)).rejects.toThrow(/image: expected the bytes or path/);
    writeFileSync(place("alone.hdr"), header);
    await expect(readNifti(place("alone.hdr"))).rejects.toThrow(FileError);
  });

  test("files that are not there, folders, other formats", async () => {
    await expect(readNifti(place("none.nii"))).rejects.toThrow(/no such file/);
    await expect(readNifti(folder)).rejects.toThrow(/it is a folder/);
    await expect(readNifti(new Uint8Array(0))).rejects.toThrow(/offset 0: expected 4 bytes/);
    await expect(readNifti(new TextEncoder().encode("id\ttext\nabc"))).rejects.toThrow(
      /expected a header of 348 or 540 bytes/,
    );
    // ANALYZE 7.5 has the same size of header and no magic.
    await expect(readNifti(patched(plain, (view) => view.setUint32(344, 0)))).rejects.toThrow(
      /offset 344: expected the magic/,
    );
  });

  test.each<[string, (view: DataView) => void, RegExp]>([
    ["no axes", (v) => v.setInt16(40, 0, true), /offset 40: expected 1 to 7 axes, got 0/],
    ["a size of 0", (v) => v.setInt16(42, 0, true), /sizes of at least 1/],
    ["a negative size", (v) => v.setInt16(44, -3, true), /sizes of at least 1/],
    ["sizes beyond the file", (v) => v.setInt16(42, 30000, true), /can hold at most 24/],
    [
      "values inside the header",
      (v) => v.setFloat32(108, 100, true),
      /offset 108: expected values/,
    ],
    ["values nowhere", (v) => v.setFloat32(108, Number.NaN, true), /offset 108: expected values/],
    ["values past the end", (v) => v.setFloat32(108, 1e6, true), /can hold at most/],
    ["complex values", (v) => v.setInt16(70, 32, true), /offset 70: .*got complex64/],
    ["an unknown type", (v) => v.setInt16(70, 77, true), /offset 70: .*got the code 77/],
    [
      "a NaN in the sform",
      (v) => v.setFloat32(288, Number.NaN, true),
      /offset 280: .*finite affine/,
    ],
    ["an intercept of NaN", (v) => v.setFloat32(116, Number.NaN, true), /offset 116/],
    [
      "a quaternion longer than 1",
      (v) => {
        v.setInt16(252, 1, true);
        v.setInt16(254, 0, true);
        v.setFloat32(256, 1.5, true);
      },
      /offset 256: expected a quaternion/,
    ],
  ])("refuses %s", async (_, change, message) => {
    const error = await readNifti(patched(plain, change)).catch((cause) => cause);
    expect(error).toBeInstanceOf(FormatError);
    expect(error.message).toMatch(message);
  });

  test("odd but harmless headers are taken as nibabel takes them, and noted", async () => {
    const odd = await readNifti(
      patched(plain, (view) => {
        view.setInt16(72, 8, true);
        view.setFloat32(112, Number.NaN, true);
        view.setFloat32(80, 0, true);
        view.setInt16(252, 99, true);
        view.setInt16(254, 0, true);
      }),
    );
    expect([...odd.data]).toEqual([1, 2, 3, 4, 5, 6]);
    expect(odd.affineSource).toBe("none");
    expect([...odd.affine.subarray(0, 4)]).toEqual([-1, 0, 0, 1]);
    expect(odd.notes.join("; ")).toMatch(/bitpix says 8.*pixdim\[1\].*qform_code 99/);
  });

  test("a gzip stream that claims or unfolds to too much", async () => {
    const claims = patched(plain, (view) => {
      for (const at of [42, 44, 46]) view.setInt16(at, 32767, true);
    });
    // 3.5e13 voxels: more than any gzip stream of this size can unfold to.
    await expect(readNifti(gzipSync(claims))).rejects.toThrow(/can hold at most/);
    // 64 MB of zeros from 64 kB: what the header does not ask for is not unfolded.
    const bomb = gzipSync(Buffer.concat([plain, Buffer.alloc(1 << 26)]));
    const before = process.memoryUsage().arrayBuffers;
    expect((await readNifti(bomb)).data.length).toBe(6);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 24);
    const asks = patched(plain, (view) => view.setInt16(42, 20000, true));
    const short = gzipSync(Buffer.concat([asks, Buffer.alloc(100_000)]));
    await expect(readNifti(short)).rejects.toThrow(/expected 160000 bytes of values/);
  });

  test("no altered byte of a gzip stream alters a value unnoticed", async () => {
    const packed = gzipSync(plain);
    for (let at = 0; at < packed.length; at++) {
      const bytes = Uint8Array.from(packed);
      bytes[at]! ^= 0x10;
      const read = await readNifti(bytes).catch((cause) => cause);
      if (read instanceof FormatError) continue;
      // Time and system in the stream's header, and bits that fill its last byte, change no value.
      expect([...read.data], `byte ${at}`).toEqual([1, 2, 3, 4, 5, 6]);
      expect([...read.affine]).toEqual(AFFINE);
    }
  });

  test("whatever is cut or flipped: an image, or a FormatError", async () => {
    const small = encodeNifti(Float64Array.from({ length: 24 }, Math.sqrt), {
      shape: [2, 3, 2, 2],
      affine: AFFINE,
    });
    const packed = gzipSync(small);
    const sound = async (bytes: Uint8Array) => {
      try {
        const image = await readNifti(bytes, { limitBytes: 1 << 24 });
        return image.shape.reduce((a, b) => a * b, 1) === image.data.length;
      } catch (cause) {
        if (cause instanceof FormatError || cause instanceof DataError) return true;
        throw cause;
      }
    };
    for (let n = 0; n < small.length; n += 3) expect(await sound(small.subarray(0, n))).toBe(true);
    for (let n = 0; n < packed.length; n++) expect(await sound(packed.subarray(0, n))).toBe(true);
    await fc.assert(
      fc.asyncProperty(
        fc.boolean(),
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), {
          minLength: 1,
          maxLength: 4,
        }),
        async (isPacked, flips) => {
          const bytes = Uint8Array.from(isPacked ? packed : small);
          for (const [at, mask] of flips) bytes[at % bytes.length]! ^= mask;
          return sound(bytes);
        },
      ),
      { numRuns: 400 },
    );
  }, 30_000);
});

describe("encodeNifti and writeNifti", () => {
  const space: Space = {
    kind: "volume",
    shape: [3, 2, 2],
    affine: Float64Array.from(AFFINE),
    indices: Int32Array.of(1, 6, 11),
  };

  test("what is written is read: values, affine, sizes, any type that holds them", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom("uint8", "int16", "int32", "float32", "float64" as const),
        fc.tuple(...[1, 2, 3, 4].map(() => fc.integer({ min: 1, max: 4 }))),
        fc.array(fc.integer({ min: -1000, max: 1000 }), { minLength: 16, maxLength: 16 }),
        async (dtype, shape, affine) => {
          const n = shape.reduce((a, b) => a * b, 1);
          const values = Float64Array.from({ length: n }, (_, i) => (i * 37) % 251);
          const sized = [...affine.slice(0, 12), 0, 0, 0, 1];
          const image = await readNifti(encodeNifti(values, { shape, affine: sized, dtype }));
          expect(image.shape).toEqual(shape);
          expect(image.datatype).toBe(dtype);
          expect([...image.data]).toEqual([...values]);
          expect([...image.affine]).toEqual(sized);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("NIfTI-2 where a size needs it", async () => {
    const image = await readNifti(
      encodeNifti(new Float32Array(40_000).fill(2), {
        shape: [40_000, 1, 1],
        affine: AFFINE,
        description: "map",
      }),
    );
    expect(image).toMatchObject({ version: 2, shape: [40_000, 1, 1], description: "map" });
    expect([...image.affine]).toEqual(AFFINE);
    expect(image.data[39_999]).toBe(2);
  });

  test("a map with NaN outside, or another value; the same bytes again; several maps", async () => {
    await writeNifti(place("map.nii.gz"), [1, 2, 3], space, { description: "scores" });
    const map = await readNifti(place("map.nii.gz"));
    expect(map).toMatchObject({ shape: [3, 2, 2], datatype: "float32", description: "scores" });
    expect([...map.data]).toEqual(
      Array.from({ length: 12 }, (_, i) => ({ 1: 1, 6: 2, 11: 3 })[i] ?? Number.NaN),
    );
    await writeNifti(place("again.nii.gz"), [1, 2, 3], space, { description: "scores" });
    expect(readFileSync(place("again.nii.gz"))).toEqual(readFileSync(place("map.nii.gz")));
    expect([...readFileSync(place("map.nii.gz")).subarray(4, 8)]).toEqual([0, 0, 0, 0]);
    expect(gunzipSync(readFileSync(place("map.nii.gz"))).length).toBe(352 + 48);
    const two = tensor(Float64Array.of(1, 10, 2, 20, 3, 30), ["target", "map"], [3, 2]);
    await writeNifti(place("two.nii"), two, space, { dtype: "int16", trSeconds: 1.5 });
    const series = await readNifti(place("two.nii"));
    expect(series).toMatchObject({ shape: [3, 2, 2, 2], datatype: "int16", trSeconds: 1.5 });
    expect([1, 6, 11, 13, 18, 23, 0].map((i) => series.data[i])).toEqual([1, 2, 3, 10, 20, 30, 0]);
    expect(readdirSync(folder).filter((name) => name.includes("partial"))).toEqual([]);
  });

  test("refuses what cannot be written", async () => {
    const write = (...args: Parameters<typeof writeNifti>) => writeNifti(...args);
    await expect(write(place("x.img"), [1, 2, 3], space)).rejects.toThrow(ArgumentError);
    await expect(write(place("x.nii"), [1, 2], space)).rejects.toThrow(ShapeError);
    await expect(write(place("x.nii"), [1, 2, 3], undefined)).rejects.toThrow(/expected a volume/);
    await expect(write(place("x.nii"), [1, 2, 0.5], space, { dtype: "int16" })).rejects.toThrow(
      DataError,
    );
    await expect(write(place("x.nii"), [1, 2, 1e39], space)).rejects.toThrow(/float32 can hold/);
    await expect(
      write(place("x.nii"), [1, 2, 3], space, { description: "x".repeat(80) }),
    ).rejects.toThrow(/at most 79 bytes/);
    const lost = { ...space, indices: Int32Array.of(0, 1, 12) };
    await expect(write(place("x.nii"), [1, 2, 3], lost)).rejects.toThrow(ShapeError);
    expect(existsSync(place("x.nii"))).toBe(false);
    expect(() => encodeNifti([1], { shape: [1, 1], affine: AFFINE })).toThrow(ShapeError);
    expect(() => encodeNifti([1], { shape: [1, 1, 1], affine: [1] })).toThrow(ArgumentError);
  });
});

describe("inspectImaging", () => {
  test("says what an image is from its header", async () => {
    const bytes = encodeNifti([1, 2], {
      shape: [1, 1, 1, 2],
      affine: AFFINE,
      trSeconds: 2000,
      description: "run",
    });
    writeFileSync(place("series.nii"), bytes.subarray(0, 352));
    const summary = await inspectImaging(place("series.nii"));
    expect(summary).toMatchObject({
      format: "NIfTI-1",
      shape: [1, 1, 1, 2],
      voxelSize: [2, 2, 2],
      affine: AFFINE,
      tr: 2000,
      datatype: "float32",
      targets: { voxels: 1 },
    });
    expect(summary.notes.join("; ")).toMatch(
      /sform; described as "run"; .*mean milliseconds.*; cannot be read whole: .*8 bytes/,
    );
    expect(JSON.parse(JSON.stringify(summary))).toEqual(summary);
    await expect(inspectImaging(place("series.txt"))).rejects.toThrow(ArgumentError);
  });
});
