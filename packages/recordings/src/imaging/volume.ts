import { basename } from "node:path";
import {
  ArgumentError,
  DataError,
  type FloatArray,
  type LongWork,
  ShapeError,
  sha256,
  tensor,
  throwIfAborted,
} from "@penfield/core";
import type { RecordedEvent, Recording, Space, Target, TimeSeries } from "../types.ts";
import {
  checkAtlas,
  checkGrid,
  type Grid,
  gridOf,
  onGrid,
  positionOf,
  type VolumeInput,
} from "./grid.ts";
import { type NiftiVolumes, openVolumes, valueAt } from "./nifti.ts";
import { type RegionLabels, readLabels, regionName, regionTargets } from "./regions.ts";

/** Which voxels of images are taken, and as what. */
export interface VolumeOptions extends LongWork {
  /** Voxels that are taken: where the image is not 0 and not NaN. Default: the atlas' regions, else all. */
  readonly mask?: VolumeInput | undefined;
  /** Whole numbers that say which region a voxel lies in; 0 and NaN: none. */
  readonly atlas?: VolumeInput | undefined;
  /** Names of the atlas' numbers. Default: the numbers. */
  readonly labels?: RegionLabels | undefined;
  /** One target per voxel, or per region the mean of its voxels. Default `voxel`. */
  readonly aggregate?: "voxel" | "region-mean" | undefined;
  /** Of the values. Default `float32`; means are summed in float64 either way. */
  readonly dtype?: "float32" | "float64" | undefined;
  /** How many bytes the voxels' values may take. Default 4 GiB. */
  readonly limitBytes?: number | undefined;
  /** Whose brain it is, noted in each target. */
  readonly subject?: string | undefined;
  /** Default: the file's name. */
  readonly name?: string | undefined;
}

/** What `loadVolumeSeries` needs beside the image. */
export interface VolumeSeriesOptions extends VolumeOptions {
  /** Seconds from one volume to the next. Default: the header's. */
  readonly trSeconds?: number | undefined;
  /** What happened meanwhile: `readEventsTable(path).events`. Default: nothing. */
  readonly events?: readonly RecordedEvent[] | undefined;
}

/** A TR above this is milliseconds that call themselves seconds. */
const LARGEST_TR_SECONDS = 100;

/**
 * Reads a 4-D image as a time series: the voxels of a mask, or the means of an atlas' regions.
 *
 * Voxels in which a value is NaN or infinite, or that never vary, are left out and counted in `nMasked`
 * (also those left out of means of regions).
 *
 * @param input - A NIfTI image `.nii`, `.nii.gz` or `.hdr`/`.img`, or its bytes; axes x, y, z, time.
 * @param options - Mask, atlas and labels on the same grid; what a target is; TR where the header's is wrong.
 * @returns `[nTimes, nTargets]`; voxels in the file's order, named `i_j_k`, with their position in millimetres
 *   and region; regions in the order of their numbers. `space` leads back to the image (`writeNifti`).
 * @throws {FileError} if a file cannot be read.
 * @throws {FormatError} with the offset, if a file is damaged, or an atlas has other than whole numbers.
 * @throws {DataError} if the image is no series, a mask or atlas lies on another grid (with the numbers), no
 *   voxel is left, or no TR between 0 and 100 s is known; if the values need more than `limitBytes`.
 * @throws {ArgumentError} if means of regions are asked for without an atlas.
 *
 * Cost: one pass, volume by volume: memory for one volume and the targets' values, never the whole image.
 *
 * @example
 * const affine = [3, 0, 0, -6, 0, 3, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1];
 * const image = encodeNifti([1, 5, 2, 5, 4, 5], { shape: [2, 1, 1, 3], affine, trSeconds: 2 });
 * const series = await loadVolumeSeries(image);
 * series.data.data // => [1, 2, 4]
 * series.targets[0].position // => [-6, 0, 0]
 * series.nMasked // => 1
 */
export async function loadVolumeSeries(
  input: string | Uint8Array,
  options: VolumeSeriesOptions = {},
): Promise<TimeSeries> {
  const doing = "loadVolumeSeries";
  const volumes = await openVolumes(input, { doing });
  try {
    const { header, nVolumes, file } = volumes;
    if (nVolumes < 2 || header.shape.slice(3).filter((size) => size > 1).length > 1) {
      throw new DataError(
        `${doing}: ${file}: expected an image with time as the fourth axis, got [${header.shape.join(", ")}]`,
        { hint: nVolumes < 2 ? "Read maps, one per stimulus, with loadVolumeMaps." : undefined },
      );
    }
    const trSeconds = checkTr(options.trSeconds ?? header.trSeconds, file, doing);
    volumes.checkHolds();
    const picked = await pickVoxels(volumes, options, doing);
    checkSize(nVolumes, picked, options, file, doing);
    const rows: FloatArray[] = [];
    await pushRows(rows, volumes, picked, options, { doing, total: nVolumes });
    const kept = compact(rows, picked, options, file, doing);
    return {
      name: options.name ?? nameOf(file),
      simulated: false,
      targets: kept.targets,
      sha256: await volumes.sha256(),
      space: kept.space,
      nMasked: kept.nMasked,
      data: tensor(kept.data, ["time", "target"], [nVolumes, kept.targets.length]),
      samplingRate: 1 / trSeconds,
      events: options.events ?? [],
    };
  } finally {
    await volumes.close();
  }
}

/** What `loadVolumeMaps` needs beside the images. */
export interface VolumeMapsOptions extends VolumeOptions {
  /** One per map. Default: the files' names without their ending; `map0`, ... for a 4-D image. */
  readonly stimulusIds?: readonly string[] | undefined;
}

/**
 * Reads maps, one per stimulus (betas, contrasts, t values), as a recording: several 3-D images, or one
 * 4-D image whose volumes are the maps.
 *
 * @param inputs - The files, all on one grid.
 * @param options - As for `loadVolumeSeries`, and the stimuli's ids.
 * @returns `[1, nStimuli, nTargets]`. Voxels with a NaN or infinite value in any map, and those that are the
 *   same in all of several maps, are left out and counted in `nMasked`.
 * @throws As `loadVolumeSeries`; {ShapeError} if ids and maps are not equally many, {DataError} if an id is
 *   there twice.
 *
 * Cost: one pass; memory for one map and the targets' values.
 *
 * @example
 * const betas = await loadVolumeMaps(["face.nii.gz", "house.nii.gz"], { mask: "mask.nii.gz" });
 * console.log(betas.stimulusIds, betas.data.shape); // ["face", "house"], [1, 2, nTargets]
 */
export async function loadVolumeMaps(
  inputs: string | readonly string[],
  options: VolumeMapsOptions = {},
): Promise<Recording> {
  const doing = "loadVolumeMaps";
  const files = typeof inputs === "string" ? [inputs] : inputs;
  if (files.length === 0) throw new DataError(`${doing}: expected at least one image, got none`);
  const rows: FloatArray[] = [];
  const hashes: string[] = [];
  let picked: Picked | undefined;
  for (const file of files) {
    const volumes = await openVolumes(file, { doing });
    try {
      volumes.checkHolds();
      if (files.length > 1 && volumes.nVolumes > 1) {
        throw new DataError(
          `${doing}: ${file}: expected one map per file, got ${volumes.nVolumes} volumes`,
        );
      }
      if (picked === undefined) picked = await pickVoxels(volumes, options, doing);
      else checkGrid(gridOf(volumes), picked.grid, "map", doing);
      const total = Math.max(files.length, volumes.nVolumes);
      checkSize(total, picked, options, file, doing);
      await pushRows(rows, volumes, picked, options, { doing, total });
      hashes.push(await volumes.sha256());
    } finally {
      await volumes.close();
    }
  }
  const ids =
    options.stimulusIds ??
    (files.length === rows.length ? files.map(nameOf) : rows.map((_, i) => `map${i}`));
  checkIds(ids, rows.length, doing);
  const kept = compact(rows, picked!, options, files[0]!, doing);
  return {
    name: options.name ?? nameOf(files[0]!),
    simulated: false,
    targets: kept.targets,
    sha256: hashes.length === 1 ? hashes[0]! : sha256(hashes.join("\n")),
    space: kept.space,
    nMasked: kept.nMasked,
    data: tensor(
      kept.data,
      ["repeat", "stimulus", "target"],
      [1, rows.length, kept.targets.length],
    ),
    stimulusIds: ids,
  };
}

/** The file's name without folder and the endings of its format. */
export const nameOf = (file: string): string =>
  basename(file).replace(/(\.[a-z]+)?(\.nii|\.hdr|\.img|\.gii)(\.gz)?$/i, "") || basename(file);

export function checkTr(tr: number | undefined, file: string, doing: string): number {
  if (tr !== undefined && tr > 0 && tr <= LARGEST_TR_SECONDS) return tr;
  throw new DataError(
    `${doing}: ${file}: expected a TR above 0 and up to ${LARGEST_TR_SECONDS} s, got ${tr === undefined ? "none" : `${tr} s`}`,
    {
      hint:
        tr !== undefined && tr > LARGEST_TR_SECONDS
          ? `The file may mean milliseconds: give trSeconds, such as ${tr / 1000}.`
          : "Give it as trSeconds, or in the sidecar's RepetitionTime.",
    },
  );
}

export function checkIds(ids: readonly string[], nMaps: number, doing: string): void {
  if (ids.length !== nMaps) {
    throw new ShapeError(
      `${doing}: expected ${nMaps} stimulus ids, one per map, got ${ids.length}`,
    );
  }
  const twice = ids.find((id, i) => ids.indexOf(id) !== i);
  if (twice !== undefined) {
    throw new DataError(
      `${doing}: expected each stimulus id once, got ${JSON.stringify(twice)} twice`,
      { hint: "Give each map its own id with stimulusIds." },
    );
  }
}

interface Picked {
  readonly grid: Grid;
  /** Voxels that are read, in the file's order. */
  readonly voxels: Int32Array;
  /** The atlas' number of each, where there is an atlas. */
  readonly regions: Float64Array | undefined;
  readonly names: ReadonlyMap<number, string> | undefined;
}

async function pickVoxels(
  volumes: NiftiVolumes,
  options: VolumeOptions,
  doing: string,
): Promise<Picked> {
  const { mask, atlas, labels, aggregate = "voxel" } = options;
  if (aggregate !== "voxel" && aggregate !== "region-mean") {
    throw new ArgumentError(
      `${doing}: aggregate: expected "voxel" or "region-mean", got ${JSON.stringify(aggregate)}`,
    );
  }
  if (atlas === undefined && (aggregate === "region-mean" || labels !== undefined)) {
    throw new ArgumentError(
      `${doing}: atlas: expected an image of regions for ${labels === undefined ? "their means" : "the labels"}, got none`,
    );
  }
  const grid = gridOf(volumes);
  const inside = mask === undefined ? undefined : await onGrid(mask, grid, "mask", doing);
  const regions = atlas === undefined ? undefined : await onGrid(atlas, grid, "atlas", doing);
  if (regions) checkAtlas(regions, typeof atlas === "string" ? atlas : "the atlas", doing);
  const names = labels === undefined ? undefined : await readLabels(labels, doing);
  const needsRegion = aggregate === "region-mean" || inside === undefined;
  const isIn = (value: number): boolean => value !== 0 && !Number.isNaN(value);
  const nVoxels = grid.shape[0] * grid.shape[1] * grid.shape[2];
  const voxels: number[] = [];
  for (let i = 0; i < nVoxels; i++) {
    if (inside && !isIn(inside[i]!)) continue;
    if (regions && needsRegion && !isIn(regions[i]!)) continue;
    voxels.push(i);
  }
  if (voxels.length === 0) {
    throw new DataError(
      `${doing}: ${grid.file}: expected at least one voxel in the mask, got none`,
    );
  }
  return {
    grid,
    voxels: Int32Array.from(voxels),
    regions: regions && Float64Array.from(voxels, (i) => regions[i]!),
    names,
  };
}

function checkSize(
  nRows: number,
  { voxels }: Picked,
  { dtype, aggregate, limitBytes = 4 * 2 ** 30 }: VolumeOptions,
  file: string,
  doing: string,
): void {
  const nBytes = nRows * voxels.length * (isSingle(dtype, aggregate) ? 4 : 8);
  if (nBytes <= limitBytes) return;
  throw new DataError(
    `${doing}: ${file}: expected at most ${limitBytes} bytes of values, got ${nRows} x ${voxels.length} voxels with ${nBytes}`,
    { hint: "Give a mask with fewer voxels, or raise limitBytes." },
  );
}

/** What goes into a mean is not rounded before. */
const isSingle = (dtype: VolumeOptions["dtype"], aggregate: VolumeOptions["aggregate"]): boolean =>
  dtype !== "float64" && aggregate !== "region-mean";

async function pushRows(
  rows: FloatArray[],
  volumes: NiftiVolumes,
  { voxels }: Picked,
  { dtype, aggregate, signal, onProgress }: VolumeOptions,
  { doing, total }: { doing: string; total: number },
): Promise<void> {
  for (let t = 0; t < volumes.nVolumes; t++) {
    throwIfAborted(signal, doing);
    const value = valueAt(await volumes.next(), volumes.header);
    const row = isSingle(dtype, aggregate)
      ? new Float32Array(voxels.length)
      : new Float64Array(voxels.length);
    for (let v = 0; v < voxels.length; v++) row[v] = value(voxels[v]!);
    rows.push(row);
    onProgress?.({ stage: "reading volumes", done: rows.length, total, unit: "volumes" });
  }
  await volumes.finish();
}

interface Kept {
  readonly data: FloatArray;
  readonly targets: readonly Target[];
  readonly space: Space | undefined;
  readonly nMasked: number;
}

/** Leaves out what was not measured, and forms the targets. */
function compact(
  rows: readonly FloatArray[],
  picked: Picked,
  { aggregate = "voxel", dtype = "float32", subject }: VolumeOptions,
  file: string,
  doing: string,
): Kept {
  const { voxels, regions, names, grid } = picked;
  const usable = usableColumns(rows);
  const nMasked = voxels.length - usable.length;
  if (usable.length === 0) {
    throw new DataError(
      `${doing}: ${file}: expected voxels with finite values that vary, got none of ${voxels.length}`,
    );
  }
  if (aggregate === "region-mean") {
    const { data, values } = regionMeans(rows, usable, regions!, dtype);
    const targets = regionTargets(values, (value) => regionName(value, names), subject);
    return { data, targets, space: undefined, nMasked };
  }
  const [nx, ny] = grid.shape;
  const targets = Array.from(usable, (c): Target => {
    const voxel = voxels[c]!;
    const ijk = [voxel % nx, Math.floor(voxel / nx) % ny, Math.floor(voxel / nx / ny)];
    return {
      id: ijk.join("_"),
      region: regions && regionName(regions[c]!, names),
      subject,
      position: positionOf(grid.affine, ijk),
      kind: "voxel",
    };
  });
  return {
    data: takeUsable(rows, usable, dtype),
    targets,
    space: {
      kind: "volume",
      shape: grid.shape,
      affine: grid.affine,
      indices: Int32Array.from(usable, (c) => voxels[c]!),
    },
    nMasked,
  };
}

/** Columns with finite values only, and, if there are several rows, more than one value. */
export function usableColumns(rows: readonly FloatArray[]): Int32Array {
  const first = rows[0]!;
  const isBad = new Uint8Array(first.length);
  const varies = new Uint8Array(first.length).fill(rows.length === 1 ? 1 : 0);
  for (const row of rows) {
    for (let c = 0; c < row.length; c++) {
      const value = row[c]!;
      // value - value is 0 for finite values and NaN for all others.
      if (value - value !== 0) isBad[c] = 1;
      else if (value !== first[c]) varies[c] = 1;
    }
  }
  return Int32Array.from(first.keys()).filter((c) => isBad[c] === 0 && varies[c] === 1);
}

/** `[nRows, nUsable]`. */
export function takeUsable(
  rows: readonly FloatArray[],
  usable: Int32Array,
  dtype: "float32" | "float64",
): FloatArray {
  const n = usable.length;
  const data =
    dtype === "float32" ? new Float32Array(rows.length * n) : new Float64Array(rows.length * n);
  rows.forEach((row, t) => {
    for (let c = 0; c < n; c++) data[t * n + c] = row[usable[c]!]!;
  });
  return data;
}

/** `[nRows, nRegions]`, and the regions' numbers, ascending. */
export function regionMeans(
  rows: readonly FloatArray[],
  usable: Int32Array,
  regions: ArrayLike<number>,
  dtype: "float32" | "float64",
): { data: FloatArray; values: readonly number[] } {
  const values = [...new Set(Array.from(usable, (c) => regions[c]!))].sort((a, b) => a - b);
  const place = new Map(values.map((value, r) => [value, r]));
  const regionOf = Int32Array.from(usable, (c) => place.get(regions[c]!)!);
  const counts = new Float64Array(values.length);
  for (const r of regionOf) counts[r]!++;
  const data =
    dtype === "float32"
      ? new Float32Array(rows.length * values.length)
      : new Float64Array(rows.length * values.length);
  const sums = new Float64Array(values.length);
  rows.forEach((row, t) => {
    sums.fill(0);
    for (let c = 0; c < usable.length; c++) sums[regionOf[c]!]! += row[usable[c]!]!;
    for (let r = 0; r < values.length; r++) data[t * values.length + r] = sums[r]! / counts[r]!;
  });
  return { data, values };
}
