import {
  DataError,
  type FloatArray,
  FormatError,
  type LongWork,
  type Tensor,
  tensor,
  throwIfAborted,
} from "@penfield/core";
import type { RecordedEvent, Recording, Space, Target, TimeSeries } from "../types.ts";
import { type CiftiAxis, parseCiftiAxes } from "./ciftiAxes.ts";
import { positionOf } from "./grid.ts";
import { openVolumes, valueAt } from "./nifti.ts";
import type { NiftiDatatype } from "./niftiHeader.ts";
import { regionTargets } from "./regions.ts";
import { checkIds, checkTr, nameOf, regionMeans, takeUsable, usableColumns } from "./volume.ts";

/** A CIFTI-2 matrix and what its axes are. */
export interface CiftiMatrix {
  /** By the file's intent: `dtseries`, `dscalar`, `dconn`, `dlabel`, `ptseries`, `pscalar`, `pconn`, ..., or `unknown`. */
  readonly type: string;
  readonly datatype: NiftiDatatype;
  /** Of the first and the second axis of `data`. */
  readonly axes: readonly [CiftiAxis, CiftiAxis];
  /** `[nAlongRow, nAlongColumn]`, as nibabel: for a series `[nTimes, nGrayordinates]`. */
  readonly data: Tensor<readonly ["row", "column"]>;
  readonly sha256: string;
}

/** What `readCifti` leaves open. */
export interface ReadCiftiOptions extends LongWork {
  /** Of the values. Default `float32`. */
  readonly dtype?: "float32" | "float64" | undefined;
  /** How many bytes the values may take. Default 4 GiB. */
  readonly limitBytes?: number | undefined;
}

/** NIfTI intent codes of CIFTI-2. */
const INTENTS: Readonly<Record<number, string>> = {
  3000: "unknown",
  3001: "dconn",
  3002: "dtseries",
  3003: "pconn",
  3004: "ptseries",
  3006: "dscalar",
  3007: "dlabel",
  3008: "pscalar",
  3009: "pdconn",
  3010: "dpconn",
};

const CIFTI_EXTENSION = 32;
const LARGEST_EXTENSION_BYTES = 256 * 2 ** 20;
const VALUES_AT_ONCE = 1 << 20;

/**
 * Reads a two-dimensional CIFTI-2 file: `.dtseries.nii`, `.dscalar.nii`, `.dconn.nii`, `.dlabel.nii`,
 * `.ptseries.nii`, `.pscalar.nii`, `.pconn.nii`.
 *
 * @param input - The file, or its bytes.
 * @returns The matrix with the axes of nibabel's `get_fdata`, and each axis' brain models, parcels, series,
 *   scalars or labels.
 * @throws {FileError} if the file cannot be read.
 * @throws {FormatError} if the NIfTI-2 shell or the XML of its extension is damaged, or they do not fit each other.
 * @throws {DataError} if the values need more than `limitBytes`.
 *
 * Cost: O(nValues) time; memory for the values twice while the axes change places.
 * Source: the CIFTI-2 specification (2014), NITRC; NIfTI extension code 32. Equals nibabel's values.
 *
 * @example
 * const matrix = await readCifti("rest.dtseries.nii");
 * console.log(matrix.type, matrix.data.shape, matrix.axes[1].kind); // "dtseries", [1200, 91282], "brain-models"
 */
export async function readCifti(
  input: string | Uint8Array,
  { dtype = "float32", limitBytes = 4 * 2 ** 30, signal, onProgress }: ReadCiftiOptions = {},
): Promise<CiftiMatrix> {
  const doing = "readCifti";
  const volumes = await openVolumes(input, { doing, keepExtensions: LARGEST_EXTENSION_BYTES });
  try {
    const { header, file } = volumes;
    if (header.version !== 2 || header.shape.length < 5) {
      throw new FormatError(
        `${doing}: ${file}: expected a NIfTI-2 file whose matrix begins at the fifth axis, got NIfTI-${header.version} with [${header.shape.join(", ")}]`,
        { hint: "Read volumes with readNifti." },
      );
    }
    const sizes = header.shape.slice(4);
    if (header.shape.slice(0, 4).some((size) => size !== 1) || sizes.length !== 2) {
      throw new FormatError(
        `${doing}: ${file}: expected a matrix of two axes after four of size 1, got [${header.shape.join(", ")}]`,
      );
    }
    const xml = ciftiXml(volumes.extensions, header.isLittleEndian, file);
    const axes = parseCiftiAxes(xml, sizes, { file, doing });
    volumes.checkHolds();
    const [n, m] = sizes as [number, number];
    const nBytes = n * m * (dtype === "float32" ? 4 : 8);
    if (nBytes > limitBytes) {
      throw new DataError(
        `${doing}: ${file}: expected at most ${limitBytes} bytes of values, got ${n} x ${m} with ${nBytes}`,
        { hint: "Raise limitBytes, or parcellate the matrix first." },
      );
    }
    const columns: FloatArray[] = [];
    // The file has the first axis fastest: what comes is [m, n], block by block.
    const atOnce = Math.max(1, Math.floor(VALUES_AT_ONCE / n));
    for (let done = 0; done < m; ) {
      throwIfAborted(signal, doing);
      const nColumns = Math.min(atOnce, m - done);
      const stored = await volumes.next(n * nColumns);
      const value = valueAt(stored, header);
      const block =
        dtype === "float32" ? new Float32Array(stored.length) : new Float64Array(stored.length);
      for (let i = 0; i < block.length; i++) block[i] = value(i);
      columns.push(block);
      done += nColumns;
      onProgress?.({ stage: "reading the matrix", done, total: m, unit: "columns" });
    }
    await volumes.finish();
    const data = dtype === "float32" ? new Float32Array(n * m) : new Float64Array(n * m);
    columns.forEach((block, b) => {
      const nColumns = block.length / n;
      for (let r = 0; r < n; r++)
        for (let c = 0; c < nColumns; c++) data[r * m + b * atOnce + c] = block[c * n + r]!;
    });
    return {
      type: INTENTS[header.intentCode] ?? "unknown",
      datatype: header.datatype,
      axes: axes as unknown as readonly [CiftiAxis, CiftiAxis],
      data: tensor(data, ["row", "column"], [n, m]),
      sha256: await volumes.sha256(),
    };
  } finally {
    await volumes.close();
  }
}

/** The text of the extension with code 32; `bytes` begin with the four flags after the header. */
export function ciftiXml(bytes: Uint8Array, isLittleEndian: boolean, file: string): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const wrong = (offset: number, expected: string, got: unknown): FormatError =>
    new FormatError(`readCifti: ${file}: offset ${540 + offset}: expected ${expected}, got ${got}`);
  let at = 4;
  while (bytes[0] && at + 8 <= bytes.length) {
    const size = view.getInt32(at, isLittleEndian);
    if (size === 0) break;
    if (size < 8 || at + size > bytes.length) {
      throw wrong(at, `an extension of 8 to ${bytes.length - at} bytes`, size);
    }
    if (view.getInt32(at + 4, isLittleEndian) === CIFTI_EXTENSION) {
      const text = new TextDecoder().decode(bytes.subarray(at + 8, at + size));
      return text.replace(/\0+\s*$/, "");
    }
    at += size;
  }
  throw wrong(4, "an extension with code 32 (CIFTI XML)", "none");
}

/** What of a CIFTI file is taken, and as what. */
export interface CiftiOptions extends ReadCiftiOptions {
  /** A `.dlabel.nii` that says which region a grayordinate lies in; label 0 and "???": none. */
  readonly atlas?: string | Uint8Array | undefined;
  /** One target per row, or per region of the atlas the mean. Default `each`. */
  readonly aggregate?: "each" | "region-mean" | undefined;
  readonly subject?: string | undefined;
  /** Default: the file's name. */
  readonly name?: string | undefined;
}

/** What `loadCiftiSeries` needs beside the file. */
export interface CiftiSeriesOptions extends CiftiOptions {
  /** Seconds. Default: the file's step. */
  readonly trSeconds?: number | undefined;
  /** Default: nothing happened. */
  readonly events?: readonly RecordedEvent[] | undefined;
}

/**
 * Reads a CIFTI-2 series (`.dtseries.nii`, `.ptseries.nii`) as a time series.
 *
 * Grayordinates in which a value is NaN or infinite, or that never vary, are left out and counted in `nMasked`.
 *
 * @param input - The file, or its bytes.
 * @param options - Atlas, TR, events.
 * @returns `[nTimes, nTargets]`; vertices named `CORTEX_LEFT_12`, voxels `THALAMUS_LEFT_40_50_30` with their
 *   position in millimetres, parcels by their names. The region is the atlas', else the structure.
 * @throws {FileError} if a file cannot be read. {FormatError} if it is damaged.
 * @throws {DataError} if the file is no series of seconds or hertz, no target is left, or the TR is not possible.
 *
 * @example
 * const series = await loadCiftiSeries("rest.dtseries.nii", { atlas: "parcels.dlabel.nii", aggregate: "region-mean" });
 */
export async function loadCiftiSeries(
  input: string | Uint8Array,
  options: CiftiSeriesOptions = {},
): Promise<TimeSeries> {
  const doing = "loadCiftiSeries";
  const file = typeof input === "string" ? input : "bytes";
  const { atlas } = options;
  const matrix = await readCifti(input, rowOptions(options));
  const [series, places] = matrix.axes;
  if (series.kind !== "series" || (series.unit !== "second" && series.unit !== "hertz")) {
    throw new DataError(
      `${doing}: ${file}: expected a series in seconds, got ${series.kind === "series" ? `one in ${series.unit}s` : series.kind}`,
      { hint: "Read scalars, one map per stimulus, with loadCiftiMaps." },
    );
  }
  const stated = series.unit === "hertz" ? 1 / series.step : series.step;
  const trSeconds = checkTr(options.trSeconds ?? stated, file, doing);
  const { data, ...kept } = await compact(matrix, places, options, atlas, { file, doing });
  return {
    name: options.name ?? nameOf(file),
    simulated: false,
    sha256: matrix.sha256,
    ...kept,
    data: tensor(data, ["time", "target"], [series.size, kept.targets.length]),
    samplingRate: 1 / trSeconds,
    events: options.events ?? [],
  };
}

/** What `loadCiftiMaps` needs beside the file. */
export interface CiftiMapsOptions extends CiftiOptions {
  /** One per map. Default: the maps' names in the file. */
  readonly stimulusIds?: readonly string[] | undefined;
}

/**
 * Reads CIFTI-2 scalars (`.dscalar.nii`, `.pscalar.nii`) as a recording, one map per stimulus.
 *
 * @returns `[1, nStimuli, nTargets]`, targets as from `loadCiftiSeries`; those that are NaN or infinite in
 *   any map, or the same in all of several maps, are left out and counted in `nMasked`.
 * @throws As `loadCiftiSeries`; {ShapeError} if ids and maps are not equally many, {DataError} if an id is there twice.
 *
 * @example
 * const maps = await loadCiftiMaps("contrasts.dscalar.nii");
 */
export async function loadCiftiMaps(
  input: string | Uint8Array,
  options: CiftiMapsOptions = {},
): Promise<Recording> {
  const doing = "loadCiftiMaps";
  const file = typeof input === "string" ? input : "bytes";
  const matrix = await readCifti(input, rowOptions(options));
  const [scalars, places] = matrix.axes;
  if (scalars.kind !== "scalars") {
    throw new DataError(`${doing}: ${file}: expected scalars, got ${scalars.kind}`, {
      hint:
        scalars.kind === "series"
          ? "Read series with loadCiftiSeries."
          : "readCifti gives the matrix itself.",
    });
  }
  const ids = options.stimulusIds ?? scalars.names;
  checkIds(ids, scalars.size, doing);
  const { data, ...kept } = await compact(matrix, places, options, options.atlas, { file, doing });
  return {
    name: options.name ?? nameOf(file),
    simulated: false,
    sha256: matrix.sha256,
    ...kept,
    data: tensor(data, ["repeat", "stimulus", "target"], [1, scalars.size, kept.targets.length]),
    stimulusIds: ids,
  };
}

/** What goes into a mean is not rounded before. */
const rowOptions = (options: CiftiOptions): ReadCiftiOptions =>
  options.aggregate === "region-mean" ? { ...options, dtype: "float64" } : options;

interface Kept {
  readonly data: FloatArray;
  readonly targets: readonly Target[];
  readonly space: Space | undefined;
  readonly nMasked: number;
}

async function compact(
  matrix: CiftiMatrix,
  places: CiftiAxis,
  { aggregate = "each", dtype = "float32", subject }: CiftiOptions,
  atlas: string | Uint8Array | undefined,
  { file, doing }: { file: string; doing: string },
): Promise<Kept> {
  const [nRows, nColumns] = matrix.data.shape;
  const all = targetsOf(places, subject, `${doing}: ${file}`);
  const regions =
    atlas === undefined ? undefined : await regionsOf(atlas, all.targets, { file, doing });
  if (aggregate === "region-mean" && regions === undefined) {
    throw new DataError(`${doing}: atlas: expected a .dlabel.nii for means of regions, got none`);
  }
  const rows = Array.from({ length: nRows }, (_, t) =>
    matrix.data.data.subarray(t * nColumns, (t + 1) * nColumns),
  );
  const measured = usableColumns(rows);
  const isMean = aggregate === "region-mean";
  const usable = isMean ? measured.filter((c) => regions![c] !== undefined) : measured;
  if (usable.length === 0) {
    throw new DataError(
      `${doing}: ${file}: expected values that are finite and vary${isMean ? " and lie in a region" : ""}, got none of ${nColumns}`,
    );
  }
  const nMasked = nColumns - measured.length;
  if (isMean) {
    const { data, values } = regionMeans(
      rows,
      usable,
      regions!.map((region) => region?.key ?? Number.NaN),
      dtype,
    );
    const names = new Map(
      regions!.flatMap((region) => (region ? [[region.key, region.name]] : [])),
    );
    const targets = regionTargets(values, (key) => names.get(key), subject);
    return { data, targets, space: undefined, nMasked };
  }
  return {
    data: takeUsable(rows, usable, dtype),
    targets: Array.from(usable, (c) => {
      const target = all.targets[c]!;
      return regions ? { ...target, region: regions[c]?.name } : target;
    }),
    space: all.space && {
      ...all.space,
      structureOf: Uint16Array.from(usable, (c) => all.space!.structureOf[c]!),
      indices: Int32Array.from(usable, (c) => all.space!.indices[c]!),
    },
    nMasked,
  };
}

type Grayordinates = Extract<Space, { readonly kind: "grayordinates" }>;

function targetsOf(
  axis: CiftiAxis,
  subject: string | undefined,
  where: string,
): { targets: readonly Target[]; space: Grayordinates | undefined } {
  if (axis.kind === "parcels") {
    const targets = axis.parcels.map(
      ({ name }): Target => ({ id: name, region: name, subject, kind: "parcel" }),
    );
    return { targets, space: undefined };
  }
  if (axis.kind !== "brain-models") {
    throw new DataError(
      `${where}: expected brain models or parcels along a column, got ${axis.kind}`,
    );
  }
  const { models, volume } = axis;
  const targets = models.flatMap(({ structure, nVertices, indices }) =>
    Array.from(indices, (index): Target => {
      if (nVertices !== undefined) {
        return { id: `${structure}_${index}`, region: structure, subject, kind: "vertex" };
      }
      const [nx, ny] = volume!.shape;
      const ijk = [index % nx, Math.floor(index / nx) % ny, Math.floor(index / nx / ny)];
      return {
        id: `${structure}_${ijk.join("_")}`,
        region: structure,
        subject,
        position: positionOf(volume!.affine, ijk),
        kind: "voxel",
      };
    }),
  );
  const space: Grayordinates = {
    kind: "grayordinates",
    structures: models.map(({ structure, nVertices }) => ({ name: structure, nVertices })),
    structureOf: Uint16Array.from(models.flatMap((m, s) => new Array(m.indices.length).fill(s))),
    indices: Int32Array.from(models.flatMap((m) => Array.from(m.indices))),
    volume,
  };
  return { targets, space };
}

/** The atlas' key and name of each target, found by structure and vertex or voxel; undefined: none. */
async function regionsOf(
  atlas: string | Uint8Array,
  targets: readonly Target[],
  { file, doing }: { file: string; doing: string },
): Promise<readonly ({ key: number; name: string } | undefined)[]> {
  const { axes, data } = await readCifti(atlas, { dtype: "float64" });
  const [labels, places] = axes;
  const name = typeof atlas === "string" ? atlas : "the atlas";
  if (labels.kind !== "labels") {
    throw new DataError(`${doing}: ${name}: expected labels (.dlabel.nii), got ${labels.kind}`);
  }
  const own = targetsOf(places, undefined, `${doing}: ${name}`).targets;
  const table = labels.maps[0]!.labels;
  const keyOf = new Map(own.map(({ id }, c) => [id, data.data[c]!]));
  const regions = targets.map(({ id }) => {
    const key = keyOf.get(id);
    const label = key === undefined || key === 0 ? undefined : (table.get(key) ?? String(key));
    return label === undefined || label === "???" ? undefined : { key: key!, name: label };
  });
  if (regions.every((region) => region === undefined)) {
    throw new DataError(
      `${doing}: ${name}: expected an atlas for the grayordinates of ${file}, got one that has none of them`,
    );
  }
  return regions;
}
