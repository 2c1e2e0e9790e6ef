import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { DataError, FormatError } from "@penfield/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadCiftiMaps, loadCiftiSeries, readCifti } from "./cifti.ts";
import { inspectImaging } from "./inspectImaging.ts";
import { encodeNifti } from "./writeNifti.ts";

interface CiftiCase {
  readonly name: string;
  readonly bytes: string;
  readonly shape: [number, number];
  readonly values: number[];
}
const golden = JSON.parse(
  readFileSync(new URL("../../../../test/golden/imaging.json", import.meta.url), "utf8"),
) as {
  cifti: CiftiCase[];
  ciftiExpected: {
    vertices: [string, number][];
    voxels: number[][];
    positions: number[][];
    keys: number[];
  };
  real: { file: string; cifti?: number[]; voxels?: number[][] }[];
};
const shared = fileURLToPath(new URL("../../../../../shared/data/", import.meta.url));
const expected = golden.ciftiExpected;
const file = (name: string): Uint8Array =>
  gunzipSync(Buffer.from(golden.cifti.find((c) => c.name === name)!.bytes, "base64"));

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "penfield-cifti-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("readCifti, files that nibabel made", () => {
  test.each(golden.cifti.map((c) => [c.name, c] as const))(
    "%s",
    async (name, { shape, values }) => {
      const matrix = await readCifti(file(name));
      expect([matrix.type, matrix.data.shape]).toEqual([name, shape]);
      expect([...matrix.data.data]).toEqual(values);
      const kinds: Record<string, [string, string]> = {
        dtseries: ["series", "brain-models"],
        dscalar: ["scalars", "brain-models"],
        ptseries: ["series", "parcels"],
        pscalar: ["scalars", "parcels"],
        dconn: ["brain-models", "brain-models"],
        dlabel: ["labels", "brain-models"],
      };
      expect(matrix.axes.map(({ kind }) => kind)).toEqual(kinds[name]);
      expect(matrix.axes.map(({ size }) => size)).toEqual(shape);
    },
  );
});

describe.skipIf(!existsSync(shared))("readCifti, a real file beside nibabel", () => {
  test("row_major.dconn.nii", async () => {
    const { cifti, voxels } = golden.real.find((c) => c.cifti)!;
    const matrix = await readCifti(join(shared, "nifti_gifti/row_major.dconn.nii"));
    expect([...matrix.data.data]).toEqual(cifti);
    const axis = matrix.axes[1] as Extract<(typeof matrix.axes)[1], { kind: "brain-models" }>;
    const ijk = axis.models.flatMap(({ indices }) =>
      Array.from(indices, (i) => [i % 128, Math.floor(i / 128) % 128, Math.floor(i / 128 / 128)]),
    );
    expect(ijk).toEqual(voxels);
    expect(axis.volume?.affine[3]).toBe(-127);
  });
});

describe("loadCiftiSeries and loadCiftiMaps", () => {
  test("vertices and voxels, named by structure, with positions", async () => {
    const series = await loadCiftiSeries(file("dtseries"), { subject: "01" });
    expect(series.data.shape).toEqual([6, 15]);
    expect(series.samplingRate).toBe(1 / 0.72);
    expect([...series.data.data]).toEqual(golden.cifti[0]!.values);
    const names = expected.vertices.map(
      ([name, v]) => `${name.slice("CIFTI_STRUCTURE_".length)}_${v}`,
    );
    expect(series.targets.slice(0, names.length).map(({ id }) => id)).toEqual(names);
    const voxels = series.targets.slice(names.length);
    expect(voxels.map(({ id }) => id)).toEqual(
      expected.voxels.map((ijk) => `THALAMUS_LEFT_${ijk.join("_")}`),
    );
    voxels.forEach(({ position, region }, i) => {
      expect(region).toBe("THALAMUS_LEFT");
      position!.forEach((mm, axis) => {
        expect(mm).toBeCloseTo(expected.positions[i]![axis]!, 10);
      });
    });
    expect(series.space).toMatchObject({
      kind: "grayordinates",
      structures: [
        { name: "CORTEX_LEFT", nVertices: 12 },
        { name: "CORTEX_RIGHT", nVertices: 12 },
        { name: "THALAMUS_LEFT", nVertices: undefined },
      ],
      volume: { shape: [3, 4, 2] },
    });
    expect(series.targets[0]!.subject).toBe("01");
  });

  test("regions from a dlabel, and their means", async () => {
    const atlas = file("dlabel");
    const names = [undefined, "IFG", "MTG"];
    const series = await loadCiftiSeries(file("dtseries"), { atlas });
    expect(series.targets.map(({ region }) => region)).toEqual(expected.keys.map((k) => names[k]));
    const means = await loadCiftiSeries(file("dtseries"), {
      atlas,
      aggregate: "region-mean",
      dtype: "float64",
    });
    expect(means.targets.map(({ id }) => id)).toEqual(["IFG", "MTG"]);
    const inMtg = expected.keys.flatMap((key, c) => (key === 2 ? [c] : []));
    const mean = inMtg.reduce((sum, c) => sum + golden.cifti[0]!.values[c]!, 0) / inMtg.length;
    expect(means.data.data[1]).toBeCloseTo(mean, 12);
    await expect(loadCiftiSeries(file("dtseries"), { aggregate: "region-mean" })).rejects.toThrow(
      DataError,
    );
    await expect(loadCiftiSeries(file("dtseries"), { atlas: file("dscalar") })).rejects.toThrow(
      /expected labels/,
    );
    await expect(loadCiftiSeries(file("ptseries"), { atlas })).rejects.toThrow(/none of them/);
  });

  test("scalars as a recording, parcels as targets", async () => {
    const maps = await loadCiftiMaps(file("dscalar"));
    expect([maps.stimulusIds, maps.data.shape]).toEqual([
      ["faces", "houses"],
      [1, 2, 15],
    ]);
    const parcels = await loadCiftiMaps(file("pscalar"), { stimulusIds: ["f", "h"] });
    expect(parcels.targets).toEqual([
      { id: "A", region: "A", subject: undefined, kind: "parcel" },
      { id: "B", region: "B", subject: undefined, kind: "parcel" },
    ]);
    expect(parcels.space).toBeUndefined();
    expect((await loadCiftiSeries(file("ptseries"), { trSeconds: 1 })).samplingRate).toBe(1);
    await expect(loadCiftiSeries(file("dscalar"))).rejects.toThrow(/got scalars/);
    await expect(loadCiftiMaps(file("dtseries"))).rejects.toThrow(/got series/);
    await expect(loadCiftiMaps(file("dconn"))).rejects.toThrow(/got brain-models/);
    await expect(readCifti(file("dconn"), { limitBytes: 100 })).rejects.toThrow(DataError);
  });

  test("inspectImaging counts grayordinates", async () => {
    const path = join(folder, "x.dtseries.nii");
    writeFileSync(path, file("dtseries"));
    expect(await inspectImaging(path)).toMatchObject({
      format: "CIFTI-2",
      shape: [6, 15],
      tr: 0.72,
      targets: { CORTEX_LEFT: 8, CORTEX_RIGHT: 3, THALAMUS_LEFT: 4 },
    });
  });
});

describe("readCifti, damaged files", () => {
  const changed = (from: string, to: string): Uint8Array => {
    const text = Buffer.from(file("dtseries")).toString("latin1");
    expect(text).toContain(from);
    return Buffer.from(text.replace(from, to.padEnd(from.length)), "latin1");
  };

  test.each<[string, () => Uint8Array, RegExp]>([
    ["a volume", () => encodeNifti([1], { shape: [1, 1, 1], affine: IDENTITY }), /NIfTI-1 with/],
    ["another version", () => changed('Version="2.0"', 'Version="1.0"'), /Version="2"/],
    [
      "an axis of another size",
      () => changed('SeriesPoints="6"', 'SeriesPoints="7"'),
      /expected 6 elements/,
    ],
    ["no axis", () => changed('Dimension="0"', 'Dimension="3"'), /dimension 3/],
    ["a gap", () => changed('IndexOffset="8"', 'IndexOffset="9"'), /CORTEX_RIGHT to begin at 8/],
    ["a vertex off the surface", () => changed("10 11<", "10 12<"), /within 0\.\.11/],
    ["a vertex twice", () => changed("10 11<", "10 10<"), /each once/],
    ["a vertex count", () => changed('Vertices="12"', 'Vertices="3"'), /vertices within 0\.\.2/],
    ["a unit", () => changed("SECOND", "LIGHTS"), /SeriesUnit/],
    [
      "an unknown kind",
      () => changed("CIFTI_INDEX_TYPE_SERIES", "CIFTI_INDEX_TYPE_SONGS"),
      /known kind/,
    ],
  ])("refuses %s", async (_, bytes, message) => {
    const error = await readCifti(bytes()).catch((cause) => cause);
    expect(error).toBeInstanceOf(FormatError);
    expect(error.message).toMatch(message);
  });

  const IDENTITY = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];

  test("whatever is cut or flipped: a matrix, or a FormatError", async () => {
    const whole = file("dtseries");
    const sound = async (bytes: Uint8Array) => {
      try {
        await readCifti(bytes, { limitBytes: 1 << 20 });
        return true;
      } catch (cause) {
        if (cause instanceof FormatError) return true;
        throw cause;
      }
    };
    for (let n = 0; n < whole.length; n += 41) {
      expect(await sound(whole.subarray(0, n))).toBe(true);
    }
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.integer({ min: 1, max: 255 }), (at, mask) => {
        const bytes = Uint8Array.from(whole);
        bytes[at % bytes.length]! ^= mask;
        return sound(bytes);
      }),
      { numRuns: 300 },
    );
  });
});
