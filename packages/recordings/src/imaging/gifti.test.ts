import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { deflateSync, gzipSync } from "node:zlib";
import { ArgumentError, DataError, FormatError, ShapeError } from "@penfield/core";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { readGifti } from "./gifti.ts";
import { inspectImaging } from "./inspectImaging.ts";
import { loadSurfaceMaps, loadSurfaceSeries } from "./surface.ts";

interface GiftiCase {
  readonly name: string;
  readonly xml: string;
  readonly shape: number[];
  readonly values: number[];
}
interface RealCase {
  readonly file: string;
  readonly arrays?: { shape: number[]; sum: number; sha256: string }[];
}
const golden = JSON.parse(
  readFileSync(new URL("../../../../test/golden/imaging.json", import.meta.url), "utf8"),
) as { gifti: GiftiCase[]; real: RealCase[] };
const shared = fileURLToPath(new URL("../../../../../shared/data/", import.meta.url));

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "penfield-gifti-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const put = (name: string, content: string | Uint8Array): string => {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
};
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

interface ArrayParts {
  readonly intent?: string;
  readonly type?: string;
  readonly dims?: readonly (number | string)[];
  readonly encoding?: string;
  readonly data?: string;
  readonly meta?: string;
}
const arrayXml = (parts: ArrayParts): string => {
  const { intent = "TIME_SERIES", type = "FLOAT32", dims = [3], data = "1 2 3" } = parts;
  const sizes = dims.map((n, i) => `Dim${i}="${n}"`).join(" ");
  return `<DataArray Intent="NIFTI_INTENT_${intent}" DataType="NIFTI_TYPE_${type}" ArrayIndexingOrder="RowMajorOrder" Dimensionality="${dims.length}" ${sizes} Encoding="${parts.encoding ?? "ASCII"}" Endian="LittleEndian">${parts.meta ?? ""}<Data>${data}</Data></DataArray>`;
};
const meta = (name: string, value: string): string =>
  `<MetaData><MD><Name><![CDATA[${name}]]></Name><Value><![CDATA[${value}]]></Value></MD></MetaData>`;
const giftiXml = (arrays: readonly string[], before = ""): string =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE GIFTI SYSTEM "http://www.nitrc.org/frs/download.php/115/gifti.dtd">\n<GIFTI Version="1.0" NumberOfDataArrays="${arrays.length}">${before}${arrays.join("")}</GIFTI>`;
const LABELS =
  '<LabelTable><Label Key="0"><![CDATA[???]]></Label><Label Key="1">IFG</Label><Label Key="2">MTG</Label></LabelTable>';

describe("readGifti, files that nibabel made", () => {
  test.each(golden.gifti.map((c) => [c.name, c] as const))("%s", async (_, expected) => {
    const { arrays, hemisphere } = await readGifti(utf8(expected.xml));
    expect(arrays[0]).toMatchObject({ intent: "POINTSET", shape: expected.shape });
    expect([...arrays[0]!.data]).toEqual(expected.values);
    expect(hemisphere).toBe("right");
  });
});

describe.skipIf(!existsSync(shared))("readGifti, real files beside nibabel", () => {
  const files = golden.real.filter(({ arrays }) => arrays !== undefined);
  test.each(files.map((c) => [c.file, c] as const))("%s", async (file, { arrays: expected }) => {
    const { arrays } = await readGifti(join(shared, file));
    expect(arrays.map(({ shape }) => shape)).toEqual(expected!.map(({ shape }) => shape));
    arrays.forEach(({ data }, i) => {
      const bytes = new Uint8Array(Float64Array.from(data).buffer);
      expect(createHash("sha256").update(bytes).digest("hex")).toBe(expected![i]!.sha256);
    });
  });

  test("a functional file becomes a series of 642 vertices", async () => {
    const series = await loadSurfaceSeries(join(shared, "nifti_gifti/task.func.gii"), {
      trSeconds: 2,
    });
    expect([series.data.shape[0], series.targets.length + series.nMasked!]).toEqual([10, 642]);
    const curvature = await inspectImaging(join(shared, "nifti_gifti/rh.shape.curv.gii"));
    expect(curvature).toMatchObject({ format: "GIFTI", targets: { vertices: 133_764 } });
  });
});

describe("readGifti", () => {
  test("metadata, labels, exponents, NaN, packed files", async () => {
    const xml = giftiXml(
      [
        arrayXml({ data: "1e-3 NaN -Inf", meta: meta("AnatomicalStructurePrimary", "CortexLeft") }),
        arrayXml({ intent: "LABEL", type: "INT32", data: "0 1 2" }),
      ],
      LABELS,
    );
    for (const bytes of [utf8(xml), gzipSync(xml)]) {
      const file = await readGifti(bytes);
      expect([...file.arrays[0]!.data]).toEqual([Math.fround(1e-3), Number.NaN, -Infinity]);
      expect(file.arrays[1]!.data).toEqual(Int32Array.of(0, 1, 2));
      expect([...file.labels.values()]).toEqual(["???", "IFG", "MTG"]);
      expect(file.hemisphere).toBe("left");
    }
    const named = put("sub-01_hemi-R_bold.func.gii", giftiXml([arrayXml({})]));
    expect((await readGifti(named)).hemisphere).toBe("right");
  });

  test("column-major order in ASCII is turned to row-major", async () => {
    const xml = giftiXml([arrayXml({ dims: [2, 3], data: "1 4 2 5 3 6" })]).replace(
      "RowMajorOrder",
      "ColumnMajorOrder",
    );
    expect([...(await readGifti(utf8(xml))).arrays[0]!.data]).toEqual([1, 2, 3, 4, 5, 6]);
  });

  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
  test.each<[string, string, RegExp]>([
    ["another document", "<svg/>", /expected a GIFTI document, got <svg>/],
    ["no document", "", /expected an element, got none/],
    ["cut text", giftiXml([arrayXml({})]).slice(0, -20), /expected well-formed XML/],
    ["text that is no XML", "1 2 3", /expected well-formed XML|expected an element/],
    [
      "entities of its own",
      '<!DOCTYPE GIFTI [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><GIFTI>&b;</GIFTI>',
      /no entities/,
    ],
    ["endless nesting", "<GIFTI>".repeat(100), /at most 32 levels/],
    ["an unknown type", giftiXml([arrayXml({ type: "INT64" })]), /array 0: expected one of/],
    ["no sizes", giftiXml([arrayXml({ dims: ["x"] })]), /sizes of at least 1, got \[NaN\]/],
    ["a size of 0", giftiXml([arrayXml({ dims: [0] })]), /sizes of at least 1/],
    ["too few numbers", giftiXml([arrayXml({ dims: [4] })]), /expected 4 numbers, got 3/],
    ["words for numbers", giftiXml([arrayXml({ data: "1 2 x" })]), /expected numbers, got "x"/],
    [
      "too few bytes",
      giftiXml([arrayXml({ encoding: "Base64Binary", data: base64(new Uint8Array(8)) })]),
      /expected 12 bytes of data, got 8 bytes that cannot hold them/,
    ],
    [
      "a bomb",
      giftiXml([
        arrayXml({
          encoding: "GZipBase64Binary",
          data: base64(deflateSync(new Uint8Array(1 << 22))),
        }),
      ]),
      /expected data that unfold to 12 bytes/,
    ],
    [
      "data of which there is too little",
      giftiXml([
        arrayXml({
          encoding: "GZipBase64Binary",
          dims: [200_000_000],
          data: base64(deflateSync(new Uint8Array(64))),
        }),
      ]),
      /expected 800000000 bytes of data, got 12 bytes that cannot hold them/,
    ],
    [
      "more than fits",
      giftiXml([arrayXml({ dims: [1_000_000_000] })]),
      /expected at most 2147483648 bytes in all arrays/,
    ],
    [
      "data elsewhere",
      giftiXml([arrayXml({ encoding: "ExternalFileBinary", data: "" })]),
      /got ExternalFileBinary/,
    ],
    ["two Data", giftiXml([arrayXml({ data: "1</Data><Data>2" })]), /one Data in each DataArray/],
    [
      "labels without keys",
      giftiXml([], "<LabelTable><Label>a</Label></LabelTable>"),
      /whole numbers as label keys/,
    ],
  ])("refuses %s", async (_, xml, message) => {
    const print = vi.spyOn(console, "log");
    const error = await readGifti(utf8(xml)).catch((cause) => cause);
    expect(error).toBeInstanceOf(FormatError);
    expect(error.message).toMatch(message);
    expect(print).not.toHaveBeenCalled();
    print.mockRestore();
  });

  test("whatever is cut or changed: a document, or a FormatError", async () => {
    const xml = giftiXml(
      [
        arrayXml({ meta: meta("Name", "a") }),
        arrayXml({
          encoding: "GZipBase64Binary",
          data: base64(deflateSync(new Uint8Array(Float32Array.of(1, 2, 3).buffer))),
        }),
      ],
      LABELS,
    );
    const sound = async (text: string) => {
      try {
        await readGifti(utf8(text));
        return true;
      } catch (cause) {
        if (cause instanceof FormatError) return true;
        throw cause;
      }
    };
    for (let n = 0; n < xml.length; n += 5) expect(await sound(xml.slice(0, n))).toBe(true);
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.string({ maxLength: 3 }), (at, text) => {
        const i = at % xml.length;
        return sound(xml.slice(0, i) + text + xml.slice(i + 1));
      }),
      { numRuns: 200 },
    );
  });
});

describe("loadSurfaceSeries and loadSurfaceMaps", () => {
  const rows = ["1 5 0 2 7", "2 5 NaN 4 8", "4 5 1 8 9"];
  const func = () =>
    put("sub-01_hemi-L_bold.func.gii", giftiXml(rows.map((data) => arrayXml({ dims: [5], data }))));
  const atlas = () =>
    put(
      "lh.label.gii",
      giftiXml(
        [arrayXml({ intent: "LABEL", type: "INT32", dims: [5], data: "1 1 2 1 0" })],
        LABELS,
      ),
    );
  const points = () =>
    put(
      "lh.surf.gii",
      giftiXml([
        arrayXml({
          intent: "POINTSET",
          dims: [5, 3],
          data: Array.from({ length: 15 }, (_, i) => i).join(" "),
        }),
      ]),
    );

  test("a series of vertices with regions and positions", async () => {
    const series = await loadSurfaceSeries(func(), {
      trSeconds: 1.5,
      atlas: atlas(),
      surface: points(),
      subject: "01",
    });
    expect(series.data).toMatchObject({ axes: ["time", "target"], shape: [3, 3] });
    expect([...series.data.data]).toEqual([1, 2, 7, 2, 4, 8, 4, 8, 9]);
    expect([series.nMasked, series.samplingRate]).toEqual([2, 1 / 1.5]);
    expect(series.targets[1]).toEqual({
      id: "left_3",
      region: "IFG",
      subject: "01",
      position: [9, 10, 11],
      kind: "vertex",
    });
    expect(series.targets[2]!.region).toBeUndefined();
    expect(series.space).toEqual({
      kind: "surface",
      hemisphere: "left",
      nVertices: 5,
      indices: Int32Array.of(0, 3, 4),
    });
    const means = await loadSurfaceSeries(func(), {
      trSeconds: 1.5,
      atlas: atlas(),
      aggregate: "region-mean",
    });
    expect(means.targets.map(({ id }) => id)).toEqual(["IFG"]);
    expect([...means.data.data]).toEqual([1.5, 3, 6]);
  });

  test("one array [nVertices, nTimes], and vertices by number", async () => {
    const matrix = arrayXml({ dims: [2, 3], data: "1 2 3 4 5 7" });
    const nodes = arrayXml({ intent: "NODE_INDEX", type: "INT32", dims: [2], data: "7 3" });
    const series = await loadSurfaceSeries(utf8(giftiXml([nodes, matrix])), { trSeconds: 1 });
    expect([...series.data.data]).toEqual([1, 4, 2, 5, 3, 7]);
    expect(series.targets.map(({ id }) => id)).toEqual(["vertex_7", "vertex_3"]);
    expect(series.space).toMatchObject({ nVertices: 8 });
  });

  test("maps from several files or several arrays", async () => {
    const map = (name: string, data: string) =>
      put(`${name}.shape.gii`, giftiXml([arrayXml({ intent: "SHAPE", data })]));
    const maps = await loadSurfaceMaps([map("a", "1 2 3"), map("b", "1 3 4")], {
      hemisphere: "right",
    });
    expect(maps.stimulusIds).toEqual(["a", "b"]);
    expect([...maps.data.data]).toEqual([2, 3, 3, 4]);
    expect(maps.targets.map(({ id }) => id)).toEqual(["right_1", "right_2"]);
    const named = put(
      "both.func.gii",
      giftiXml([
        arrayXml({ meta: meta("Name", "faces") }),
        arrayXml({ meta: meta("Name", "houses"), data: "0 0 0" }),
      ]),
    );
    expect((await loadSurfaceMaps(named)).stimulusIds).toEqual(["faces", "houses"]);
    const other = put("c.shape.gii", giftiXml([arrayXml({ dims: [2], data: "1 2" })]));
    await expect(loadSurfaceMaps([map("a", "1 2 3"), other])).rejects.toThrow(ShapeError);
    await expect(loadSurfaceMaps([map("a", "1 2 3"), named])).rejects.toThrow(/one map per file/);
    await expect(loadSurfaceMaps([])).rejects.toThrow(DataError);
  });

  test("refuses geometry, one sample, no TR, another surface", async () => {
    await expect(loadSurfaceSeries(points(), { trSeconds: 1 })).rejects.toThrow(
      /expected values for vertices, got POINTSET/,
    );
    const one = utf8(giftiXml([arrayXml({})]));
    await expect(loadSurfaceSeries(one, { trSeconds: 1 })).rejects.toThrow(/several samples/);
    await expect(loadSurfaceSeries(func(), { trSeconds: 0 })).rejects.toThrow(/expected a TR/);
    await expect(
      loadSurfaceSeries(func(), { trSeconds: 1, aggregate: "region-mean" }),
    ).rejects.toThrow(ArgumentError);
    const small = put("small.surf.gii", giftiXml([arrayXml({ intent: "POINTSET", dims: [1, 3] })]));
    await expect(loadSurfaceSeries(func(), { trSeconds: 1, surface: small })).rejects.toThrow(
      ShapeError,
    );
    await expect(loadSurfaceSeries(func(), { trSeconds: 1, atlas: func() })).rejects.toThrow(
      /array of labels/,
    );
    const uneven = utf8(giftiXml([arrayXml({}), arrayXml({ dims: [2], data: "1 2" })]));
    await expect(loadSurfaceSeries(uneven, { trSeconds: 1 })).rejects.toThrow(ShapeError);
  });
});
