import { ArgumentError } from "@penfield/core";
import { ciftiXml } from "./cifti.ts";
import { type CiftiAxis, parseCiftiAxes } from "./ciftiAxes.ts";
import { type GiftiFile, readGifti } from "./gifti.ts";
import { type NiftiVolumes, openVolumes } from "./nifti.ts";

/** What an image file says about itself, as plain data. */
export interface ImagingSummary {
  readonly format: "NIfTI-1" | "NIfTI-2" | "CIFTI-2" | "GIFTI";
  readonly shape: readonly number[];
  /** Millimetres; undefined where there is no grid. */
  readonly voxelSize: readonly number[] | undefined;
  /** 16 numbers, 4 x 4 by rows, voxel indices to millimetres. */
  readonly affine: readonly number[] | undefined;
  /** Seconds. */
  readonly tr: number | undefined;
  readonly datatype: string;
  readonly intent: string;
  /** How many voxels, vertices, grayordinates or parcels there are, by what they are. */
  readonly targets: Readonly<Record<string, number>> | undefined;
  /** What is odd, and how it is taken. */
  readonly notes: readonly string[];
}

/**
 * Says what an image file is, from its header alone where that is enough (NIfTI, CIFTI); GIFTI is read.
 *
 * @param path - `.nii`, `.nii.gz`, `.hdr`, `.img`, a CIFTI `.*.nii`, `.gii` or `.gii.gz`.
 * @returns Plain data, for the command line and `--json`.
 * @throws {FileError} if the file cannot be read. {FormatError} if it is damaged.
 * @throws {ArgumentError} if the name ends otherwise.
 *
 * @example
 * const { format, shape, tr, notes } = await inspectImaging("bold.nii.gz");
 */
export async function inspectImaging(path: string): Promise<ImagingSummary> {
  if (/\.gii(\.gz)?$/i.test(path)) return summarizeGifti(await readGifti(path));
  if (!/\.(nii|hdr|img)(\.gz)?$/i.test(path)) {
    throw new ArgumentError(
      `inspectImaging: path: expected a name that ends in .nii, .hdr, .img or .gii, or one of these and .gz, got ${JSON.stringify(path)}`,
    );
  }
  const volumes = await openVolumes(path, {
    doing: "inspectImaging",
    keepExtensions: LARGEST_EXTENSION_BYTES,
  });
  try {
    const { intentCode } = volumes.header;
    return intentCode >= 3000 && intentCode < 3100
      ? summarizeCifti(volumes)
      : summarizeNifti(volumes);
  } finally {
    await volumes.close();
  }
}

const LARGEST_EXTENSION_BYTES = 256 * 2 ** 20;

function summarizeNifti(volumes: NiftiVolumes): ImagingSummary {
  const { header, grid } = volumes;
  const { trSeconds } = header;
  const notes = [
    ...header.notes,
    `affine from ${header.affineSource === "none" ? "the voxel sizes" : `the ${header.affineSource}`}`,
  ];
  if (header.scaling) {
    notes.push(`values are stored x ${header.scaling.slope} + ${header.scaling.intercept}`);
  }
  if (header.description) notes.push(`described as ${JSON.stringify(header.description)}`);
  if (trSeconds !== undefined && trSeconds > 100) {
    notes.push(`a TR of ${trSeconds} s: the file may mean milliseconds`);
  }
  try {
    volumes.checkHolds();
  } catch (cause) {
    notes.push(`cannot be read whole: ${(cause as Error).message}`);
  }
  return {
    format: `NIfTI-${header.version}`,
    shape: header.shape,
    voxelSize: header.voxelSize,
    affine: Array.from(header.affine),
    tr: trSeconds,
    datatype: header.datatype,
    intent: header.intentName || String(header.intentCode),
    targets: { voxels: grid[0] * grid[1] * grid[2] },
    notes,
  };
}

function summarizeCifti({ header, extensions, file }: NiftiVolumes): ImagingSummary {
  const sizes = header.shape.slice(4);
  const xml = ciftiXml(extensions, header.isLittleEndian, file);
  const axes = parseCiftiAxes(xml, sizes, { file, doing: "inspectImaging" });
  const series = axes.find((axis) => axis.kind === "series");
  const models = axes.find((axis) => axis.kind === "brain-models");
  return {
    format: "CIFTI-2",
    shape: sizes,
    voxelSize: undefined,
    affine: models?.volume && Array.from(models.volume.affine),
    tr: series?.unit === "second" ? series.step : undefined,
    datatype: header.datatype,
    intent: header.intentName || String(header.intentCode),
    targets: countsOf(axes),
    notes: axes.map((axis, i) => `axis ${i}: ${axis.kind}, ${axis.size}`),
  };
}

function countsOf(axes: readonly CiftiAxis[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  const places = axes.findLast(({ kind }) => kind === "brain-models" || kind === "parcels");
  if (places?.kind === "parcels") counts["parcels"] = places.size;
  if (places?.kind === "brain-models") {
    for (const { structure, indices } of places.models) counts[structure] = indices.length;
  }
  return counts;
}

function summarizeGifti({ arrays, labels, hemisphere }: GiftiFile): ImagingSummary {
  const first = arrays[0];
  const values = arrays.filter(({ intent }) => intent !== "TRIANGLE" && intent !== "NODE_INDEX");
  const vertices = values[0]?.shape[0];
  const notes = arrays.length === 0 ? ["no arrays"] : [];
  notes.push(`${arrays.length} arrays: ${[...new Set(arrays.map((a) => a.intent))].join(", ")}`);
  if (labels.size > 0) notes.push(`${labels.size} labels`);
  notes.push(`hemisphere: ${hemisphere ?? "not said"}`);
  return {
    format: "GIFTI",
    shape: arrays.length > 1 ? [arrays.length, ...(first?.shape ?? [])] : (first?.shape ?? []),
    voxelSize: undefined,
    affine: undefined,
    tr: undefined,
    datatype: first ? first.data.constructor.name.replace(/Array$/, "").toLowerCase() : "none",
    intent: first?.intent ?? "none",
    targets: vertices === undefined ? undefined : { vertices },
    notes,
  };
}
