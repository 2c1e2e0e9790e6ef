import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ArgumentError, DataError, FormatError, ShapeError } from "@penfield/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readNifti } from "./nifti.ts";
import { loadVolumeMaps, loadVolumeSeries } from "./volume.ts";
import { encodeNifti, writeNifti } from "./writeNifti.ts";

const shared = fileURLToPath(new URL("../../../../../shared/data/", import.meta.url));
const golden = JSON.parse(
  readFileSync(new URL("../../../../test/golden/imaging.json", import.meta.url), "utf8"),
) as {
  real: { file: string; masked?: { shape: number[]; sha256: string } }[];
  regions: { bold: string; atlas: string; shape: number[]; means: number[] };
};

const AFFINE = [2, 0, 0, -10, 0, 3, 0, 5, 0, 0, 4, 1, 0, 0, 0, 1];
let folder: string;
let series: string;
let mask: string;
let atlas: string;
function put(name: string, values: ArrayLike<number>, shape: readonly number[], more = {}): string {
  const path = join(folder, name);
  writeFileSync(path, encodeNifti(values, { shape, affine: AFFINE, ...more }));
  return path;
}
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "penfield-volume-"));
  // Six voxels, four times: voxel v has 10 v + t^2, voxel 3 is constant, voxel 5 has a NaN.
  const value = (v: number, t: number): number =>
    v === 3 ? 7 : v === 5 && t === 2 ? Number.NaN : 10 * v + t * t;
  const values = Float32Array.from({ length: 24 }, (_, i) => value(i % 6, Math.floor(i / 6)));
  series = put("series.nii", values, [3, 2, 1, 4], { trSeconds: 2 });
  mask = put("mask.nii", [0, 1, 1, 1, 1, 1], [3, 2, 1], { dtype: "uint8" });
  atlas = put("atlas.nii", [2, 2, 1, 1, 0, 1], [3, 2, 1], { dtype: "int16" });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("loadVolumeSeries", () => {
  test("masked voxels with position, region and a way back; constant and NaN voxels counted", async () => {
    const labels = join(folder, "labels.tsv");
    writeFileSync(labels, "index\tname\n1\tIFG\n2\tMTG\n");
    const read = await loadVolumeSeries(series, { mask, atlas, labels, subject: "01" });
    expect(read.data).toMatchObject({ axes: ["time", "target"], shape: [4, 3] });
    expect([...read.data.data]).toEqual([10, 20, 40, 11, 21, 41, 14, 24, 44, 19, 29, 49]);
    expect(read.data.data).toBeInstanceOf(Float32Array);
    expect(read).toMatchObject({ name: "series", samplingRate: 0.5, nMasked: 2, simulated: false });
    expect(read.targets).toEqual([
      { id: "1_0_0", region: "MTG", subject: "01", position: [-8, 5, 1], kind: "voxel" },
      { id: "2_0_0", region: "IFG", subject: "01", position: [-6, 5, 1], kind: "voxel" },
      { id: "1_1_0", region: undefined, subject: "01", position: [-8, 8, 1], kind: "voxel" },
    ]);
    expect(read.space).toMatchObject({ kind: "volume", shape: [3, 2, 1] });
    const back = join(folder, "back.nii.gz");
    await writeNifti(back, [5, 6, 7], read.space);
    expect([...(await readNifti(back)).data]).toEqual([NaN, 5, 6, NaN, 7, NaN]);
    expect(read.sha256).toBe(createHash("sha256").update(readFileSync(series)).digest("hex"));
  });

  test("means of regions, of the voxels that vary", async () => {
    const read = await loadVolumeSeries(series, { atlas, aggregate: "region-mean" });
    expect(read.targets.map(({ id }) => id)).toEqual(["1", "2"]);
    // Region 1: voxel 2 (3 is constant, 5 has a NaN). Region 2: voxels 0 and 1.
    expect([...read.data.data]).toEqual([20, 5, 21, 6, 24, 9, 29, 14]);
    expect(read.nMasked).toBe(2);
    const named = await loadVolumeSeries(series, {
      atlas: await readNifti(atlas),
      labels: { 1: "IFG", 2: "MTG" },
      aggregate: "region-mean",
      dtype: "float64",
      mask,
    });
    expect(named.targets.map(({ region }) => region)).toEqual(["IFG", "MTG"]);
    expect([...named.data.data.subarray(0, 2)]).toEqual([20, 10]);
  });

  test("all voxels without a mask, events, another TR, progress", async () => {
    const done: number[] = [];
    const events = [{ onset: 1, duration: 2, type: "face" }];
    const read = await loadVolumeSeries(readFileSync(series), {
      trSeconds: 0.5,
      events,
      name: "run",
      onProgress: (p) => done.push(p.done),
    });
    expect(read).toMatchObject({ name: "run", samplingRate: 2, events, nMasked: 2 });
    expect(read.targets.length).toBe(4);
    expect(done).toEqual([1, 2, 3, 4]);
  });

  test("refuses other grids with their numbers, and what is no series", async () => {
    const smaller = put("smaller.nii", [1, 1], [2, 1, 1]);
    await expect(loadVolumeSeries(series, { mask: smaller })).rejects.toThrow(
      /3 x 2 x 1 voxels, got 2 x 1 x 1/,
    );
    const shifted = join(folder, "shifted.nii");
    const affine = AFFINE.map((value, i) => (i === 3 ? value + 0.5 : value));
    writeFileSync(shifted, encodeNifti([0, 1, 1, 1, 1, 1], { shape: [3, 2, 1], affine }));
    await expect(loadVolumeSeries(series, { mask: shifted })).rejects.toThrow(/up to 0\.500 mm/);
    await expect(loadVolumeSeries(series, { mask: await readNifti(shifted) })).rejects.toThrow(
      DataError,
    );
    await expect(loadVolumeSeries(series, { mask: series })).rejects.toThrow(/got 4 volumes/);
    await expect(loadVolumeSeries(mask)).rejects.toThrow(/time as the fourth axis.*\[3, 2, 1\]/);
    const empty = put("empty.nii", new Float32Array(6), [3, 2, 1]);
    await expect(loadVolumeSeries(series, { mask: empty })).rejects.toThrow(/got none/);
    const only = put("only.nii", [0, 0, 0, 1, 0, 1], [3, 2, 1]);
    await expect(loadVolumeSeries(series, { mask: only })).rejects.toThrow(/got none of 2/);
    const half = put("half.nii", [0, 0.5, 1, 1, 0, 1], [3, 2, 1]);
    await expect(loadVolumeSeries(series, { atlas: half })).rejects.toThrow(FormatError);
    await expect(loadVolumeSeries(series, { aggregate: "region-mean" })).rejects.toThrow(
      ArgumentError,
    );
    await expect(loadVolumeSeries(series, { labels: { 1: "a" } })).rejects.toThrow(ArgumentError);
    await expect(loadVolumeSeries(series, { limitBytes: 90 })).rejects.toThrow(
      /4 x 6 voxels with 96/,
    );
    const slow = put("slow.nii", [1, 2], [1, 1, 1, 2], { trSeconds: 2000 });
    const error = await loadVolumeSeries(slow).catch((cause) => cause);
    expect(error.message).toMatch(/got 2000 s/);
    expect(error.hint).toMatch(/give trSeconds, such as 2/);
  });

  test("label tables in other forms, and wrong ones", async () => {
    const write = (name: string, text: string): string => {
      writeFileSync(join(folder, name), text);
      return join(folder, name);
    };
    const regions = async (labels: string) =>
      (await loadVolumeSeries(series, { atlas, labels, aggregate: "region-mean" })).targets.map(
        ({ id }) => id,
      );
    expect(await regions(write("a.json", '{"1": "x", "2": "y"}'))).toEqual(["x", "y"]);
    expect(await regions(write("a.csv", "id,region\n2,y\n1,x\n"))).toEqual(["x", "y"]);
    expect(await regions(write("same.json", '{"1": "V1", "2": "V1"}'))).toEqual(["V1_1", "V1_2"]);
    expect(await regions(write("b.tsv", "index\tname\n2\ty\n"))).toEqual(["1", "y"]);
    await expect(regions(write("bad.json", "[1]"))).rejects.toThrow(FormatError);
    await expect(regions(write("bad2.json", "{"))).rejects.toThrow(FormatError);
    await expect(regions(write("bad.tsv", "index\tname\n1\tx\n1\ty\n"))).rejects.toThrow(/twice/);
    await expect(regions(write("bad2.tsv", "index\tname\na\tx\n"))).rejects.toThrow(
      /whole numbers/,
    );
    await expect(regions(write("bad3.tsv", "x\ty\na\tx\n"))).rejects.toThrow(/column "index"/);
  });
});

test("whatever the grid and the mask: the values of readNifti, and their places", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.tuple(...[1, 2, 3].map(() => fc.integer({ min: 1, max: 4 }))),
      fc.integer({ min: 2, max: 5 }),
      fc.infiniteStream(fc.integer({ min: -9, max: 9 })),
      async ([nx, ny, nz], nTimes, numbers) => {
        const n = nx! * ny! * nz!;
        const values = [...numbers.take(n * nTimes)];
        const shape = [nx!, ny!, nz!, nTimes];
        const bytes = encodeNifti(values, { shape, affine: AFFINE, trSeconds: 1 });
        const inside = await readNifti(
          encodeNifti([...numbers.take(n)], { shape: shape.slice(0, 3), affine: AFFINE }),
        );
        const expected = Array.from({ length: n }, (_, i) => i).filter((i) => {
          const course = Array.from({ length: nTimes }, (_, t) => values[i + n * t]!);
          return inside.data[i] !== 0 && new Set(course).size > 1;
        });
        const masked = Array.from(inside.data).reduce(
          (sum: number, value: number) => sum + (value === 0 ? 0 : 1),
          0,
        );
        if (expected.length === 0) {
          await expect(loadVolumeSeries(bytes, { mask: inside })).rejects.toThrow(DataError);
          return;
        }
        const read = await loadVolumeSeries(bytes, { mask: inside });
        expect((read.space as { indices: Int32Array }).indices).toEqual(Int32Array.from(expected));
        expect(read.nMasked).toBe(masked - expected.length);
        expect([...read.data.data]).toEqual(
          Array.from({ length: nTimes }, (_, t) => expected.map((i) => values[i + n * t]!)).flat(),
        );
        read.targets.forEach(({ id, position }) => {
          const [i, j, k] = id.split("_").map(Number) as [number, number, number];
          expect(position).toEqual([2 * i - 10, 3 * j + 5, 4 * k + 1]);
        });
      },
    ),
    { numRuns: 60 },
  );
});

test("means of regions are nilearn's", async () => {
  const { bold, atlas: regions, shape, means } = golden.regions;
  const place = join(folder, "regions.nii.gz");
  writeFileSync(place, Buffer.from(regions, "base64"));
  const read = await loadVolumeSeries(Buffer.from(bold, "base64"), {
    atlas: place,
    aggregate: "region-mean",
    dtype: "float64",
  });
  expect(read.data.shape).toEqual(shape);
  read.data.data.forEach((value, i) => {
    // Sums of at most 60 values near 1, in another order.
    expect(Math.abs(value - means[i]!)).toBeLessThan(60 * Number.EPSILON);
  });
});

describe("loadVolumeMaps", () => {
  test("one map per file, or per volume", async () => {
    const a = put("sub-01_a.nii", [1, 2, 3, 4, 5, NaN], [3, 2, 1]);
    const b = put("sub-01_b.nii", [2, 2, 5, 8, 5, 1], [3, 2, 1]);
    const maps = await loadVolumeMaps([a, b], { atlas });
    expect(maps.stimulusIds).toEqual(["sub-01_a", "sub-01_b"]);
    expect(maps.data).toMatchObject({ axes: ["repeat", "stimulus", "target"], shape: [1, 2, 3] });
    expect([...maps.data.data]).toEqual([1, 3, 4, 2, 5, 8]);
    expect(maps.nMasked).toBe(2);
    const one = await loadVolumeMaps(a, { mask });
    expect([one.data.shape, one.nMasked]).toEqual([[1, 1, 4], 1]);
    const volumes = await loadVolumeMaps(series);
    expect(volumes.stimulusIds).toEqual(["map0", "map1", "map2", "map3"]);
    await expect(loadVolumeMaps([])).rejects.toThrow(DataError);
    await expect(loadVolumeMaps([a, a])).rejects.toThrow(/"sub-01_a" twice/);
    await expect(loadVolumeMaps([a, b], { stimulusIds: ["x"] })).rejects.toThrow(ShapeError);
    await expect(loadVolumeMaps([a, series])).rejects.toThrow(/one map per file, got 4 volumes/);
    const other = put("other.nii", [1, 2], [2, 1, 1]);
    await expect(loadVolumeMaps([a, other])).rejects.toThrow(
      /expected a map on the grid of .*got 2 x 1 x 1/,
    );
  });
});

describe.skipIf(!existsSync(shared))("real images", () => {
  test("the posterior half slice of Haxby et al. (2001): 530 voxels, 1452 volumes, as nibabel has them", async () => {
    const read = await loadVolumeSeries(join(shared, "haxby/bold.nii.gz"), {
      mask: join(shared, "haxby/mask.nii.gz"),
    });
    expect(read.data.shape).toEqual([1452, 530]);
    expect([read.samplingRate, read.nMasked]).toEqual([0.4, 0]);
    const expected = golden.real.find(({ masked }) => masked)!.masked!;
    const values = new Uint8Array(Float64Array.from(read.data.data).buffer);
    expect(createHash("sha256").update(values).digest("hex")).toBe(expected.sha256);
  });

  test("contrast maps of several people, one localizer, on one grid", async () => {
    const file = (n: number, what: string) =>
      join(shared, `langloc_fmri/${n}_langloc_${what}.nii.gz`);
    const maps = await loadVolumeMaps(
      [10, 12, 21].map((n) => file(n, "cope")),
      { mask: file(10, "mask") },
    );
    expect(maps.stimulusIds).toEqual(["10_langloc_cope", "12_langloc_cope", "21_langloc_cope"]);
    expect(maps.data.shape[1]).toBe(3);
    expect(maps.targets.length + maps.nMasked!).toBe(272_695);
  });
});
