import { FormatError } from "@penfield/core";
import { type NIFTI1, type NIFTI2, readHeader } from "nifti-reader-js";

/** The kinds of numbers that a NIfTI file of real values may hold. */
export type NiftiDatatype =
  | "uint8"
  | "int8"
  | "int16"
  | "uint16"
  | "int32"
  | "uint32"
  | "int64"
  | "uint64"
  | "float32"
  | "float64";

export const DATATYPES: Readonly<Record<number, { name: NiftiDatatype; nBytes: number }>> = {
  2: { name: "uint8", nBytes: 1 },
  4: { name: "int16", nBytes: 2 },
  8: { name: "int32", nBytes: 4 },
  16: { name: "float32", nBytes: 4 },
  64: { name: "float64", nBytes: 8 },
  256: { name: "int8", nBytes: 1 },
  512: { name: "uint16", nBytes: 2 },
  768: { name: "uint32", nBytes: 4 },
  1024: { name: "int64", nBytes: 8 },
  1280: { name: "uint64", nBytes: 8 },
};

const OTHER_DATATYPES: Readonly<Record<number, string>> = {
  1: "bits",
  32: "complex64",
  128: "rgb24",
  1536: "float128",
  1792: "complex128",
  2048: "complex256",
  2304: "rgba32",
};

/** What the header of a NIfTI file says, checked. */
export interface NiftiHeader {
  readonly version: 1 | 2;
  readonly isLittleEndian: boolean;
  /** Whether the values stand in a file of their own (`.img`). */
  readonly isPair: boolean;
  readonly datatype: NiftiDatatype;
  /** As many sizes as the file has axes; the first is the fastest in the file. */
  readonly shape: readonly number[];
  /** Where the values begin, in bytes after unfolding. */
  readonly valuesOffset: number;
  /** Value = slope * stored + intercept; undefined: as stored. */
  readonly scaling: { readonly slope: number; readonly intercept: number } | undefined;
  /** Voxel indices to millimetres, 4 x 4 by rows, [16]. */
  readonly affine: Float64Array;
  /** Where the affine came from. */
  readonly affineSource: "sform" | "qform" | "none";
  /** Millimetres. */
  readonly voxelSize: readonly [x: number, y: number, z: number];
  /** Seconds from one volume to the next, where the fourth axis is time and the file says so. */
  readonly trSeconds: number | undefined;
  readonly intentCode: number;
  readonly intentName: string;
  readonly description: string;
  /** What was odd and how it was taken, in words. */
  readonly notes: readonly string[];
}

/** Bytes of the two headers, and where their fields are that messages point at. */
const LAYOUT = {
  1: { size: 348, dim: 40, datatype: 70, pixdim: 76, offset: 108, inter: 116, b: 256, srow: 280 },
  2: { size: 540, dim: 16, datatype: 12, pixdim: 104, offset: 168, inter: 184, b: 352, srow: 400 },
} as const;

/** 1 or 2, or undefined if these first four bytes are of neither. */
export function niftiVersion(start: Uint8Array): 1 | 2 | undefined {
  const view = new DataView(start.buffer, start.byteOffset, start.byteLength);
  for (const isLittle of [true, false]) {
    const size = view.getInt32(0, isLittle);
    if (size === LAYOUT[1].size) return 1;
    if (size === LAYOUT[2].size) return 2;
  }
  return undefined;
}

export const headerSize = (version: 1 | 2): number => LAYOUT[version].size;

/**
 * Reads and checks a header. nifti-reader-js takes the fields apart; the affine is read here, because
 * it prefers the qform where its code is larger (nibabel and the standard's "method 3" prefer the sform).
 *
 * @param bytes - Exactly the header: 348 or 540 bytes at the start of their buffer, so that
 *   nifti-reader-js does not walk through extensions that may lie.
 */
export function parseNiftiHeader(
  bytes: Uint8Array<ArrayBuffer>,
  version: 1 | 2,
  { file, doing }: { file: string; doing: string },
): NiftiHeader {
  const at = LAYOUT[version];
  const wrong = (offset: number, expected: string, got: unknown, hint?: string): FormatError =>
    new FormatError(`${doing}: ${file}: offset ${offset}: expected ${expected}, got ${got}`, {
      hint,
    });
  const magic = String.fromCharCode(
    ...bytes.subarray(version === 1 ? 344 : 4, version === 1 ? 347 : 7),
  );
  if (magic !== `n+${version}` && magic !== `ni${version}`) {
    throw wrong(
      version === 1 ? 344 : 4,
      `the magic "n+${version}" or "ni${version}"`,
      JSON.stringify(magic),
      "ANALYZE 7.5 files have none: convert them to NIfTI first.",
    );
  }
  const header: NIFTI1 | NIFTI2 = readHeader(bytes.buffer, true);
  const isLittleEndian = header.littleEndian;
  const isPair = magic.startsWith("ni");
  const notes: string[] = [];

  const shape = shapeOf(header.dims, (expected, got) => wrong(at.dim, expected, got));
  const datatype = DATATYPES[header.datatypeCode];
  if (datatype === undefined) {
    const name = OTHER_DATATYPES[header.datatypeCode];
    throw wrong(
      at.datatype,
      `one of ${Object.values(DATATYPES)
        .map((d) => d.name)
        .join(", ")}`,
      name ?? `the code ${header.datatypeCode}`,
      name?.startsWith("complex") ? "Save magnitude and phase as images of their own." : undefined,
    );
  }
  if (header.numBitsPerVoxel !== datatype.nBytes * 8) {
    notes.push(
      `bitpix says ${header.numBitsPerVoxel} where ${datatype.name} has ${datatype.nBytes * 8}: ignored`,
    );
  }

  const first = isPair ? 0 : at.size + 4;
  const stated = header.vox_offset;
  const valuesOffset = stated === 0 ? first : stated;
  if (!(Number.isSafeInteger(valuesOffset) && valuesOffset >= first)) {
    throw wrong(at.offset, `values that begin at ${first} or later`, stated);
  }

  const { slope, intercept } = { slope: header.scl_slope, intercept: header.scl_inter };
  const isScaled = Number.isFinite(slope) && slope !== 0;
  if (isScaled && !Number.isFinite(intercept)) {
    throw wrong(at.inter, "a finite intercept beside a slope", intercept);
  }
  const isPlain = slope === 1 && intercept === 0;

  const spatial = spatialFactor(header.xyzt_units & 7, notes);
  const { affine, affineSource } = affineOf(header, bytes, version, shape, notes, wrong);
  // + 0 turns -0 into 0.
  for (let i = 0; i < 12; i++) affine[i] = affine[i]! * spatial + 0;
  const sizes = [1, 2, 3].map((axis) => Math.abs(header.pixDims[axis] ?? 1) * spatial);
  return {
    version,
    isLittleEndian,
    isPair,
    datatype: datatype.name,
    shape,
    valuesOffset,
    scaling: isScaled && !isPlain ? { slope, intercept } : undefined,
    affine,
    affineSource,
    voxelSize: sizes as unknown as readonly [number, number, number],
    trSeconds: shape.length > 3 ? trOf(header, notes) : undefined,
    intentCode: header.intent_code,
    intentName: header.intent_name,
    description: header.description,
    notes,
  };
}

type Wrong = (offset: number, expected: string, got: unknown, hint?: string) => FormatError;

function shapeOf(
  dims: readonly number[],
  wrong: (expected: string, got: string) => FormatError,
): readonly number[] {
  const nAxes = dims[0]!;
  if (!(nAxes >= 1 && nAxes <= 7)) throw wrong("1 to 7 axes", `${nAxes}`);
  const shape = dims.slice(1, nAxes + 1);
  const nValues = shape.reduce((a, b) => a * b, 1);
  if (!shape.every((n) => Number.isSafeInteger(n) && n >= 1) || !Number.isSafeInteger(nValues)) {
    throw wrong("sizes of at least 1 whose product can be counted", `[${shape.join(", ")}]`);
  }
  return shape;
}

/** Millimetres per unit of the file. */
function spatialFactor(code: number, notes: string[]): number {
  if (code === 1) return 1000;
  if (code === 3) return 0.001;
  if (code !== 2) notes.push("the file names no unit of length: taken as millimetres");
  return 1;
}

function trOf(header: NIFTI1 | NIFTI2, notes: string[]): number | undefined {
  const step = header.pixDims[4]!;
  const code = header.xyzt_units & 56;
  if (!(Number.isFinite(step) && step > 0)) return undefined;
  if (code === 8) return step;
  if (code === 16) return step / 1e3;
  if (code === 24) return step / 1e6;
  if (code !== 0) return undefined;
  notes.push("the file names no unit of time: taken as seconds");
  return step;
}

/** nibabel's precedence: sform if its code is above 0, else qform if its is, else sizes around the centre. */
function affineOf(
  header: NIFTI1 | NIFTI2,
  bytes: Uint8Array<ArrayBuffer>,
  version: 1 | 2,
  shape: readonly number[],
  notes: string[],
  wrong: Wrong,
): { affine: Float64Array; affineSource: NiftiHeader["affineSource"] } {
  const at = LAYOUT[version];
  const known = (code: number, name: string): boolean => {
    if (code > 5) notes.push(`${name}_code ${code} is not in the standard: taken as 0`);
    return code >= 1 && code <= 5;
  };
  const finite = (affine: Float64Array, offset: number) => {
    const bad = affine.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) throw wrong(offset, "a finite affine", `${affine[bad]} in row ${bad >> 2}`);
    return affine;
  };
  if (known(header.sform_code, "sform")) {
    const view = new DataView(bytes.buffer);
    const affine = identity();
    for (let i = 0; i < 12; i++) {
      affine[i] =
        version === 1
          ? view.getFloat32(at.srow + 4 * i, header.littleEndian)
          : view.getFloat64(at.srow + 8 * i, header.littleEndian);
    }
    return { affine: finite(affine, at.srow), affineSource: "sform" };
  }
  const sizes = [1, 2, 3].map((axis) => {
    const size = header.pixDims[axis]!;
    if (size > 0 || axis > shape.length) return axis > shape.length ? 1 : size;
    if (!Number.isNaN(size)) notes.push(`pixdim[${axis}] is ${size}: taken as ${-size || 1}`);
    return -size || 1;
  });
  if (known(header.qform_code, "qform")) {
    return { affine: finite(qform(header, version, sizes, wrong), at.b), affineSource: "qform" };
  }
  notes.push("the file has no affine: voxel sizes around the centre, x to the left");
  const affine = identity();
  for (let axis = 0; axis < 3; axis++) {
    const step = axis === 0 ? -sizes[axis]! : sizes[axis]!;
    affine[axis * 5] = step;
    affine[axis * 4 + 3] = -(((shape[axis] ?? 1) - 1) / 2) * step;
  }
  return { affine: finite(affine, at.pixdim), affineSource: "none" };
}

const identity = (): Float64Array =>
  Float64Array.of(1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1);

/** Method 2 of the standard: a unit quaternion (a, b, c, d) with a >= 0, sizes, and the sign of the third axis. */
function qform(
  header: NIFTI1 | NIFTI2,
  version: 1 | 2,
  sizes: readonly number[],
  wrong: Wrong,
): Float64Array {
  const offset = LAYOUT[version].b;
  const [b, c, d] = [header.quatern_b, header.quatern_c, header.quatern_d];
  const rest = 1 - (b * b + c * c + d * d);
  // float32 rounding may make three parts of a half turn longer than 1.
  const slack = 3 * 2 ** -23;
  if (!(rest >= -slack)) {
    throw wrong(offset, "a quaternion no longer than 1", `(${b}, ${c}, ${d})`);
  }
  const a = rest < (version === 1 ? slack : 3 * 2 ** -52) ? 0 : Math.sqrt(rest);
  const s = 2 / (a * a + b * b + c * c + d * d);
  const rotation = [
    1 - s * (c * c + d * d),
    s * (b * c - a * d),
    s * (b * d + a * c),
    s * (b * c + a * d),
    1 - s * (b * b + d * d),
    s * (c * d - a * b),
    s * (b * d - a * c),
    s * (c * d + a * b),
    1 - s * (b * b + c * c),
  ];
  const steps = [sizes[0]!, sizes[1]!, header.pixDims[0] === -1 ? -sizes[2]! : sizes[2]!];
  const shift = [header.qoffset_x, header.qoffset_y, header.qoffset_z];
  const affine = identity();
  for (let row = 0; row < 3; row++) {
    for (let axis = 0; axis < 3; axis++)
      affine[row * 4 + axis] = rotation[row * 3 + axis]! * steps[axis]!;
    affine[row * 4 + 3] = shift[row]!;
  }
  return affine;
}
