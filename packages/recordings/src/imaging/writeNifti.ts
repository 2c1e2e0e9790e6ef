import { extname } from "node:path";
import { ArgumentError, DataError, ShapeError, type Tensor, writeFileAtomic } from "@penfield/core";
import { gzipSync } from "fflate";
import type { Space } from "../types.ts";

/** How maps are stored. */
export interface WriteNiftiOptions {
  /** Default `float32`. Integers are refused where a value does not fit or is not whole. */
  readonly dtype?: "float32" | "float64" | "int16" | "int32" | "uint8" | undefined;
  /** What voxels hold that no target lies in. Default NaN, for integers 0. */
  readonly outside?: number | undefined;
  /** At most 79 bytes of text that viewers show. Default "". */
  readonly description?: string | undefined;
  /** Seconds between the volumes, where the second axis of the values is time. Default: it is not. */
  readonly trSeconds?: number | undefined;
}

/**
 * Writes maps of scores (or any values of targets) as a NIfTI image in the grid that the recording came
 * from: `.nii.gz`, or `.nii`, by the name. The file appears whole or not at all; the same input gives the
 * same bytes.
 *
 * @param path - Ends in `.nii.gz` or `.nii`.
 * @param values - One value per target, [nTargets], or [nTargets, nMaps], which become volumes of a fourth axis.
 * @param space - Of the recording: `recording.space`.
 * @param options - Type, what stands outside, description, TR.
 * @throws {ArgumentError} if the name ends otherwise, the space is not a volume, or the description is too long.
 * @throws {ShapeError} if the values are not as many as the targets of the space.
 * @throws {DataError} if a value does not fit the type.
 * @throws {FileError} if it cannot be written.
 *
 * Cost: O(nVoxels nMaps) time and memory.
 * Source: NIfTI-1.1; NIfTI-2 where a size is above 32767. Read back by nibabel to equal values and affine.
 *
 * @example
 * const series = await loadVolumeSeries("bold.nii.gz", { mask: "mask.nii.gz" });
 * const scores = series.targets.map(() => 0.5);
 * await writeNifti("scores.nii.gz", scores, series.space, { description: "cross-validated r" });
 */
export async function writeNifti(
  path: string,
  values: ArrayLike<number> | Tensor,
  space: Space | undefined,
  options: WriteNiftiOptions = {},
): Promise<void> {
  const isCompressed = /\.nii\.gz$/i.test(path);
  if (!isCompressed && extname(path).toLowerCase() !== ".nii") {
    throw new ArgumentError(
      `writeNifti: path: expected a name that ends in .nii.gz or .nii, got ${JSON.stringify(path)}`,
    );
  }
  if (space?.kind !== "volume") {
    throw new ArgumentError(
      `writeNifti: space: expected a volume, got ${space === undefined ? "none" : space.kind}`,
      { hint: "Only recordings that were read from an image know its grid." },
    );
  }
  const { outside = options.dtype?.includes("int") ? 0 : Number.NaN } = options;
  const { data, nMaps } = columns(values, space.indices.length);
  const [nx, ny, nz] = space.shape;
  const nVoxels = nx * ny * nz;
  const volumes = new Float64Array(nVoxels * nMaps).fill(outside);
  space.indices.forEach((voxel, target) => {
    if (!(voxel >= 0 && voxel < nVoxels)) {
      throw new ShapeError(
        `writeNifti: space: expected voxels within 0..${nVoxels - 1}, got ${voxel} of target ${target}`,
      );
    }
    for (let map = 0; map < nMaps; map++)
      volumes[map * nVoxels + voxel] = data[target * nMaps + map]!;
  });
  const shape = nMaps === 1 && !isMatrix(values) ? [nx, ny, nz] : [nx, ny, nz, nMaps];
  const bytes = encodeNifti(volumes, { ...options, shape, affine: space.affine });
  // fflate, with no time in the header: the same bytes on every machine and version of Node.
  await writeFileAtomic(path, isCompressed ? gzipSync(bytes, { mtime: 0 }) : bytes);
}

const isTensor = (values: ArrayLike<number> | Tensor): values is Tensor => "axes" in values;

const isMatrix = (values: ArrayLike<number> | Tensor): boolean =>
  isTensor(values) && values.shape.length === 2;

function columns(
  values: ArrayLike<number> | Tensor,
  nTargets: number,
): { data: ArrayLike<number>; nMaps: number } {
  const data = isTensor(values) ? values.data : values;
  const shape: readonly number[] = isTensor(values) ? values.shape : [values.length];
  if (shape[0] !== nTargets || shape.length > 2) {
    throw new ShapeError(
      `writeNifti: expected [${nTargets}] or [${nTargets}, nMaps], as many as the space has targets, got [${shape.join(", ")}]`,
    );
  }
  return { data, nMaps: shape[1] ?? 1 };
}

const TYPES = {
  uint8: { code: 2, make: Uint8Array, low: 0, high: 255 },
  int16: { code: 4, make: Int16Array, low: -32768, high: 32767 },
  int32: { code: 8, make: Int32Array, low: -(2 ** 31), high: 2 ** 31 - 1 },
  float32: {
    code: 16,
    make: Float32Array,
    low: -3.4028234663852886e38,
    high: 3.4028234663852886e38,
  },
  float64: { code: 64, make: Float64Array, low: -Number.MAX_VALUE, high: Number.MAX_VALUE },
} as const;

/**
 * An image as the bytes of a `.nii` file, little-endian, affine as sform (code 2, aligned).
 *
 * @param values - In the file's order, the first axis fastest.
 * @param options - Three sizes or more; the affine, voxel indices to millimetres, 4 x 4 by rows.
 * @throws {ShapeError} if the sizes do not multiply to the number of values.
 * @throws {DataError} if a value does not fit the type.
 * @throws {ArgumentError} if the affine has not 16 finite values or the description is longer than 79 bytes.
 *
 * @example
 * encodeNifti([0, 7], { shape: [2, 1, 1], affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1], dtype: "uint8" }).length // => 354
 */
export function encodeNifti(
  values: ArrayLike<number>,
  options: WriteNiftiOptions & {
    readonly shape: readonly number[];
    readonly affine: ArrayLike<number>;
  },
): Uint8Array<ArrayBuffer> {
  const { shape, affine, dtype = "float32", description = "", trSeconds } = options;
  const type = TYPES[dtype];
  if (type === undefined) {
    throw new ArgumentError(
      `encodeNifti: dtype: expected one of ${Object.keys(TYPES).join(", ")}, got ${JSON.stringify(dtype)}`,
    );
  }
  if (
    shape.length < 3 ||
    shape.length > 7 ||
    shape.reduce((a, b) => a * b, 1) !== values.length ||
    values.length === 0
  ) {
    throw new ShapeError(
      `encodeNifti: expected 3 to 7 sizes that multiply to ${values.length} values, got [${shape.join(", ")}]`,
    );
  }
  if (affine.length !== 16 || !Array.from(affine).every(Number.isFinite)) {
    throw new ArgumentError(
      `encodeNifti: affine: expected 16 finite values, got [${Array.from(affine).join(", ")}]`,
    );
  }
  const text = new TextEncoder().encode(description);
  if (text.length > 79) {
    throw new ArgumentError(
      `encodeNifti: description: expected at most 79 bytes, got ${text.length}`,
    );
  }
  const isBig = shape.some((size) => size > 32767);
  const offset = isBig ? 544 : 352;
  const itemBytes = type.make.BYTES_PER_ELEMENT;
  const bytes = new Uint8Array(offset + values.length * itemBytes);
  const view = new DataView(bytes.buffer);
  writeHeader(view, { isBig, shape, affine, trSeconds, code: type.code, itemBytes, offset });
  bytes.set(text, isBig ? 240 : 148);
  const isWhole = dtype.includes("int");
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    const fits = isWhole || Number.isFinite(value) ? value >= type.low && value <= type.high : true;
    if (!fits || (isWhole && !Number.isInteger(value))) {
      throw new DataError(`encodeNifti: expected values that ${dtype} can hold, got ${value}`, {
        hint: isWhole ? "Choose float32." : "Choose float64.",
      });
    }
    const at = offset + i * itemBytes;
    if (dtype === "float32") view.setFloat32(at, value, true);
    else if (dtype === "float64") view.setFloat64(at, value, true);
    else if (dtype === "int16") view.setInt16(at, value, true);
    else if (dtype === "int32") view.setInt32(at, value, true);
    else view.setUint8(at, value);
  }
  return bytes;
}

interface HeaderFields {
  readonly isBig: boolean;
  readonly shape: readonly number[];
  readonly affine: ArrayLike<number>;
  readonly trSeconds: number | undefined;
  readonly code: number;
  readonly itemBytes: number;
  readonly offset: number;
}

function writeHeader(view: DataView, fields: HeaderFields): void {
  const { isBig, shape, affine, trSeconds, code, itemBytes, offset } = fields;
  const column = (axis: number): number =>
    Math.hypot(affine[axis]!, affine[4 + axis]!, affine[8 + axis]!) || 1;
  const dims = Array.from({ length: 8 }, (_, i) => (i === 0 ? shape.length : (shape[i - 1] ?? 1)));
  const sizes = [1, column(0), column(1), column(2), trSeconds ?? 1, 1, 1, 1];
  // Millimetres, and seconds where the fourth axis is time.
  const units = 2 + (trSeconds === undefined ? 0 : 8);
  const float = (at: number, value: number) =>
    isBig ? view.setFloat64(at, value, true) : view.setFloat32(at, value, true);
  const short = (at: number, value: number) => view.setInt16(at, value, true);
  const int = (at: number, value: number) => view.setInt32(at, value, true);
  const magic = (at: number, codes: readonly number[]) =>
    codes.forEach((byte, i) => {
      view.setUint8(at + i, byte);
    });
  int(0, isBig ? 540 : 348);
  if (isBig) {
    magic(4, [0x6e, 0x2b, 0x32, 0, 13, 10, 26, 10]);
    short(12, code);
    short(14, itemBytes * 8);
    dims.forEach((size, i) => {
      view.setBigInt64(16 + 8 * i, BigInt(size), true);
    });
    sizes.forEach((size, i) => {
      float(104 + 8 * i, size);
    });
    view.setBigInt64(168, BigInt(offset), true);
    float(176, 1);
    int(348, 2);
    for (let i = 0; i < 12; i++) float(400 + 8 * i, affine[i]!);
    int(500, units);
    return;
  }
  dims.forEach((size, i) => {
    short(40 + 2 * i, size);
  });
  short(70, code);
  short(72, itemBytes * 8);
  sizes.forEach((size, i) => {
    float(76 + 4 * i, size);
  });
  float(108, offset);
  float(112, 1);
  view.setUint8(123, units);
  short(254, 2);
  for (let i = 0; i < 12; i++) float(280 + 4 * i, affine[i]!);
  magic(344, [0x6e, 0x2b, 0x31, 0]);
}
