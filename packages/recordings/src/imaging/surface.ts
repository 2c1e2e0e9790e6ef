import {
  ArgumentError,
  DataError,
  type FloatArray,
  ShapeError,
  sha256,
  tensor,
} from "@penfield/core";
import type { RecordedEvent, Recording, Space, Target, TimeSeries } from "../types.ts";
import { type GiftiFile, readGifti } from "./gifti.ts";
import { regionName, regionTargets } from "./regions.ts";
import { checkIds, checkTr, nameOf, regionMeans, takeUsable, usableColumns } from "./volume.ts";

/** Which vertices of a surface are taken, and as what. */
export interface SurfaceOptions {
  /** A `.label.gii` that says which region a vertex lies in; key 0 and names such as "???": none. */
  readonly atlas?: string | undefined;
  /** A `.surf.gii` with the vertices' positions. */
  readonly surface?: string | undefined;
  /** Default: what the file says. */
  readonly hemisphere?: "left" | "right" | undefined;
  /** One target per vertex, or per region the mean of its vertices. Default `vertex`. */
  readonly aggregate?: "vertex" | "region-mean" | undefined;
  /** Of the values. Default `float32`. */
  readonly dtype?: "float32" | "float64" | undefined;
  readonly subject?: string | undefined;
  /** Default: the file's name. */
  readonly name?: string | undefined;
}

/** What `loadSurfaceSeries` needs beside the file. */
export interface SurfaceSeriesOptions extends SurfaceOptions {
  /** Seconds from one sample to the next. GIFTI has no agreed place for it. */
  readonly trSeconds: number;
  /** Default: nothing happened. */
  readonly events?: readonly RecordedEvent[] | undefined;
}

/**
 * Reads functional data on a surface (`.func.gii`) as a time series: one array per time, or one array
 * `[nVertices, nTimes]`.
 *
 * Vertices in which a value is NaN or infinite, or that never vary, are left out and counted in `nMasked`.
 *
 * @param input - The file, or its bytes.
 * @param options - The TR; atlas, surface, hemisphere.
 * @returns `[nTimes, nTargets]`; vertices named `left_12`, with region and position where they are known.
 * @throws {FileError} if a file cannot be read. {FormatError} if one is damaged.
 * @throws {DataError} if the file has no values for vertices or only one sample, no vertex is left, or the TR is not possible.
 * @throws {ShapeError} if arrays, atlas or surface have different numbers of vertices.
 *
 * Cost: O(size of the file) time; memory for the file's text and its values.
 *
 * @example
 * const row = (data) => `<DataArray Intent="NIFTI_INTENT_TIME_SERIES" DataType="NIFTI_TYPE_FLOAT32" Dimensionality="1" Dim0="2" Encoding="ASCII"><Data>${data}</Data></DataArray>`;
 * const file = new TextEncoder().encode(`<GIFTI Version="1.0">${row("1 5")}${row("2 5")}</GIFTI>`);
 * const series = await loadSurfaceSeries(file, { trSeconds: 2, hemisphere: "left" });
 * series.targets.map((target) => target.id) // => ["left_0"]
 * series.nMasked // => 1
 */
export async function loadSurfaceSeries(
  input: string | Uint8Array,
  options: SurfaceSeriesOptions,
): Promise<TimeSeries> {
  const doing = "loadSurfaceSeries";
  const file = typeof input === "string" ? input : "bytes";
  const gifti = await readGifti(input);
  const samplingRate = 1 / checkTr(options.trSeconds, file, doing);
  const read = rowsOf(gifti, options, file, doing);
  if (read.rows.length < 2) {
    throw new DataError(`${doing}: ${file}: expected several samples, got ${read.rows.length}`, {
      hint: "Read maps, one per stimulus, with loadSurfaceMaps.",
    });
  }
  const { data, ...kept } = await compact(read, options, file, doing);
  return {
    name: options.name ?? nameOf(file),
    simulated: false,
    sha256: gifti.sha256,
    ...kept,
    data: tensor(data, ["time", "target"], [read.rows.length, kept.targets.length]),
    samplingRate,
    events: options.events ?? [],
  };
}

/** What `loadSurfaceMaps` needs beside the files. */
export interface SurfaceMapsOptions extends SurfaceOptions {
  /** One per map. Default: the files' names; for one file with several arrays, their metadata `Name`, else `map0`, ... */
  readonly stimulusIds?: readonly string[] | undefined;
}

/**
 * Reads maps on a surface (`.shape.gii`, `.func.gii`), one per stimulus, as a recording: several files of
 * one array each, or one file with an array per map.
 *
 * @returns `[1, nStimuli, nTargets]`; vertices that are NaN or infinite in any map, or the same in all of
 *   several maps, are left out and counted in `nMasked`.
 * @throws As `loadSurfaceSeries`; {ShapeError} if ids and maps are not equally many.
 *
 * @example
 * const maps = await loadSurfaceMaps(["lh.face.shape.gii", "lh.house.shape.gii"], { surface: "lh.midthickness.surf.gii" });
 */
export async function loadSurfaceMaps(
  inputs: string | readonly string[],
  options: SurfaceMapsOptions = {},
): Promise<Recording> {
  const doing = "loadSurfaceMaps";
  const files = typeof inputs === "string" ? [inputs] : inputs;
  if (files.length === 0) throw new DataError(`${doing}: expected at least one file, got none`);
  const read = await Promise.all(
    files.map(async (file) => {
      const gifti = await readGifti(file);
      return { gifti, ...rowsOf(gifti, options, file, doing) };
    }),
  );
  const first = read[0]!;
  for (const [i, { rows, vertices }] of read.entries()) {
    if (files.length > 1 && rows.length > 1) {
      throw new DataError(`${doing}: ${files[i]}: expected one map per file, got ${rows.length}`);
    }
    if (rows[0]!.length !== first.rows[0]!.length || String(vertices) !== String(first.vertices)) {
      throw new ShapeError(
        `${doing}: ${files[i]}: expected the ${first.rows[0]!.length} vertices of ${files[0]}, got ${rows[0]!.length}`,
      );
    }
  }
  const rows = read.flatMap((r) => r.rows);
  const ids = options.stimulusIds ?? (files.length === 1 ? first.names : files.map(nameOf));
  checkIds(ids, rows.length, doing);
  const { data, ...kept } = await compact({ ...first, rows }, options, files[0]!, doing);
  const hashes = read.map(({ gifti }) => gifti.sha256);
  return {
    name: options.name ?? nameOf(files[0]!),
    simulated: false,
    sha256: hashes.length === 1 ? hashes[0]! : sha256(hashes.join("\n")),
    ...kept,
    data: tensor(data, ["repeat", "stimulus", "target"], [1, rows.length, kept.targets.length]),
    stimulusIds: ids,
  };
}

interface SurfaceRows {
  readonly rows: readonly FloatArray[];
  readonly names: readonly string[];
  /** Vertex numbers, where the file holds only some. */
  readonly vertices: Int32Array | undefined;
  readonly hemisphere: "left" | "right" | undefined;
}

const GEOMETRY = ["POINTSET", "TRIANGLE", "VECTOR", "NODE_INDEX"];

function rowsOf(
  gifti: GiftiFile,
  options: SurfaceOptions,
  file: string,
  doing: string,
): SurfaceRows {
  const { dtype = "float32", aggregate = "vertex" } = options;
  if (aggregate !== "vertex" && aggregate !== "region-mean") {
    throw new ArgumentError(
      `${doing}: aggregate: expected "vertex" or "region-mean", got ${JSON.stringify(aggregate)}`,
    );
  }
  const values = gifti.arrays.filter(({ intent }) => !GEOMETRY.includes(intent));
  if (values.length === 0) {
    throw new DataError(
      `${doing}: ${file}: expected values for vertices, got ${gifti.arrays.map((a) => a.intent).join(", ") || "no arrays"}`,
    );
  }
  const rows: FloatArray[] = [];
  const names: string[] = [];
  const nVertices = values[0]!.shape[0]!;
  // What goes into a mean is not rounded before.
  const isSingle = dtype === "float32" && aggregate === "vertex";
  for (const { shape, data, metadata } of values) {
    const nColumns = shape.slice(1).reduce((a, b) => a * b, 1);
    if (shape[0] !== nVertices || (values.length > 1 && nColumns > 1)) {
      throw new ShapeError(
        `${doing}: ${file}: expected arrays of ${nVertices} vertices, got [${shape.join(", ")}]`,
      );
    }
    for (let column = 0; column < nColumns; column++) {
      const row = isSingle ? new Float32Array(nVertices) : new Float64Array(nVertices);
      for (let v = 0; v < nVertices; v++) row[v] = data[v * nColumns + column]!;
      names.push((nColumns === 1 ? metadata["Name"] : undefined) || `map${rows.length}`);
      rows.push(row);
    }
  }
  const nodes = gifti.arrays.find(({ intent }) => intent === "NODE_INDEX")?.data;
  if (nodes && nodes.length !== nVertices) {
    throw new ShapeError(
      `${doing}: ${file}: expected ${nVertices} node indices, got ${nodes.length}`,
    );
  }
  return {
    rows,
    names: new Set(names).size === names.length ? names : names.map((_, i) => `map${i}`),
    vertices: nodes && Int32Array.from(nodes),
    hemisphere: options.hemisphere ?? gifti.hemisphere,
  };
}

async function compact(
  { rows, vertices, hemisphere }: SurfaceRows,
  { atlas, surface, subject, aggregate = "vertex", dtype = "float32" }: SurfaceOptions,
  file: string,
  doing: string,
): Promise<{
  data: FloatArray;
  targets: readonly Target[];
  space: Space | undefined;
  nMasked: number;
}> {
  if (aggregate === "region-mean" && atlas === undefined) {
    throw new ArgumentError(
      `${doing}: atlas: expected a .label.gii for means of regions, got none`,
    );
  }
  const vertexOf = (c: number): number => vertices?.[c] ?? c;
  const nRow = rows[0]!.length;
  const points = surface === undefined ? undefined : await pointsOf(surface, doing);
  const keys = atlas === undefined ? undefined : await keysOf(atlas, doing);
  const largest = vertices ? vertices.reduce((a, b) => Math.max(a, b), 0) + 1 : nRow;
  const nVertices = vertices ? (points?.n ?? keys?.n ?? largest) : nRow;
  for (const [what, n] of [
    [atlas, keys?.n],
    [surface, points?.n],
  ] as const) {
    if (n !== undefined && (n !== nVertices || largest > n)) {
      throw new ShapeError(
        `${doing}: ${what}: expected ${Math.max(nVertices, largest)} vertices as in ${file}, got ${n}`,
      );
    }
  }
  const regionOf = (c: number): string | undefined => keys?.region(vertexOf(c));
  const measured = usableColumns(rows);
  const usable =
    aggregate === "region-mean" ? measured.filter((c) => regionOf(c) !== undefined) : measured;
  if (usable.length === 0) {
    throw new DataError(
      `${doing}: ${file}: expected vertices with finite values that vary${aggregate === "region-mean" ? " and lie in a region" : ""}, got none of ${nRow}`,
    );
  }
  const nMasked = nRow - measured.length;
  if (aggregate === "region-mean") {
    const keyOf = Float64Array.from({ length: nRow }, (_, c) => keys!.keys[vertexOf(c)]!);
    const { data, values } = regionMeans(rows, usable, keyOf, dtype);
    const targets = regionTargets(values, keys!.nameOf, subject);
    return { data, targets, space: undefined, nMasked };
  }
  const targets = Array.from(usable, (c): Target => {
    const vertex = vertexOf(c);
    return {
      id: `${hemisphere ?? "vertex"}_${vertex}`,
      region: regionOf(c),
      subject,
      position: points?.position(vertex),
      kind: "vertex",
    };
  });
  return {
    data: takeUsable(rows, usable, dtype),
    targets,
    space: { kind: "surface", hemisphere, nVertices, indices: Int32Array.from(usable, vertexOf) },
    nMasked,
  };
}

async function pointsOf(file: string, doing: string) {
  const points = (await readGifti(file)).arrays.find(({ intent }) => intent === "POINTSET");
  if (points === undefined || points.shape[1] !== 3) {
    throw new DataError(
      `${doing}: ${file}: expected a surface with points [nVertices, 3], got ${points ? `[${points.shape.join(", ")}]` : "none"}`,
    );
  }
  const { data } = points;
  return {
    n: points.shape[0]!,
    position: (v: number): readonly [number, number, number] => [
      data[v * 3]!,
      data[v * 3 + 1]!,
      data[v * 3 + 2]!,
    ],
  };
}

async function keysOf(file: string, doing: string) {
  const { arrays, labels } = await readGifti(file);
  const keys = arrays.find(({ intent }) => intent === "LABEL")?.data;
  if (keys === undefined) {
    throw new DataError(
      `${doing}: ${file}: expected an array of labels, got ${arrays.map((a) => a.intent).join(", ") || "no arrays"}`,
    );
  }
  // FreeSurfer and Connectome Workbench name what is no region so.
  const names = new Map([...labels].filter(([key, name]) => key !== 0 && name !== "???"));
  const nameOf = (key: number): string | undefined =>
    labels.has(key) && !names.has(key) ? undefined : regionName(key, names);
  return { n: keys.length, keys, nameOf, region: (vertex: number) => nameOf(keys[vertex]!) };
}
