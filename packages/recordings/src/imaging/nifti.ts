import { extname } from "node:path";
import {
  ArgumentError,
  DataError,
  type FloatArray,
  FormatError,
  type LongWork,
  sha256,
  sha256File,
  throwIfAborted,
} from "@penfield/core";
import { type ByteSource, openBytes } from "./byteSource.ts";
import {
  DATATYPES,
  headerSize,
  type NiftiDatatype,
  type NiftiHeader,
  niftiVersion,
  parseNiftiHeader,
} from "./niftiHeader.ts";

/** How much one call holds in memory of a file's values, unless told otherwise: 4 GiB. */
const LARGEST_VALUES_BYTES = 4 * 2 ** 30;

const VALUES_AT_ONCE = 1 << 22;

/** What `readNifti` leaves open. */
export interface ReadNiftiOptions extends LongWork {
  /** Of the values that are returned. Default `float64`. */
  readonly dtype?: "float32" | "float64" | undefined;
  /** The `.img` of a pair, where it is not beside the `.hdr` or the header came as bytes. */
  readonly image?: string | Uint8Array | undefined;
  /** How many bytes the values may take, stored and returned. Default 4 GiB. */
  readonly limitBytes?: number | undefined;
}

/** An image: its header, checked, and its values. */
export interface NiftiImage extends NiftiHeader {
  /** As many as the sizes in `shape` multiply to, scaled, the first axis fastest. */
  readonly data: FloatArray;
  /** Of the file as it lies on disk; of a pair, that of the values' file. */
  readonly sha256: string;
}

/**
 * Reads a NIfTI-1 or NIfTI-2 image: `.nii`, `.nii.gz`, or a `.hdr` and `.img` pair, of either byte order,
 * with up to seven axes.
 *
 *   value = scl_slope * stored + scl_inter    (as stored, if the slope is 0 or no number)
 *
 * The affine follows nibabel: the sform if its code is above 0, else the qform if its is, else the voxel
 * sizes around the image's centre. Lengths become millimetres, the time between volumes seconds.
 *
 * @param input - The file, or its bytes.
 * @param options - Type of the values, a pair's other file, a limit.
 * @returns Values in the file's order: index i + nx (j + ny (k + nz t)).
 * @throws {FileError} if the file cannot be read.
 * @throws {FormatError} with the offset, if a size, the offset or the affine is not possible, the type is
 *   not one of real numbers, or the file holds less than its header says.
 * @throws {DataError} if the values need more than `limitBytes`.
 * @throws {InterruptedError} if the signal fires.
 *
 * Cost: O(nValues) time; memory for the stored and the returned values. No memory is taken on the word of
 * the header: it follows the bytes that are there.
 * Source: the NIfTI-1.1 and NIfTI-2 standards. Values, affine and precedence equal nibabel's `get_fdata`.
 *
 * @example
 * const bytes = encodeNifti(Float32Array.of(1, 2, 3, 4), { shape: [2, 2, 1], affine: Float64Array.of(2, 0, 0, -9, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1) });
 * const image = await readNifti(bytes);
 * image.data // => [1, 2, 3, 4]
 * image.affine[3] // => -9
 */
export async function readNifti(
  input: string | Uint8Array,
  options: ReadNiftiOptions = {},
): Promise<NiftiImage> {
  const { dtype = "float64", limitBytes = LARGEST_VALUES_BYTES, signal, onProgress } = options;
  if (dtype !== "float32" && dtype !== "float64") {
    throw new ArgumentError(`readNifti: dtype: expected "float32" or "float64", got "${dtype}"`);
  }
  const volumes = await openVolumes(input, { doing: "readNifti", image: options.image });
  const { header } = volumes;
  try {
    const nValues = header.shape.reduce((a, b) => a * b, 1);
    const nBytes =
      nValues * Math.max(DATATYPES_BY_NAME[header.datatype], dtype === "float32" ? 4 : 8);
    volumes.checkHolds();
    if (nBytes > limitBytes) {
      throw new DataError(
        `readNifti: ${volumes.file}: expected at most ${limitBytes} bytes of values, got [${header.shape.join(", ")}] with ${nBytes}`,
        { hint: "Raise limitBytes, or read only the voxels of a mask: loadVolumeSeries." },
      );
    }
    const parts: FloatArray[] = [];
    const total = volumes.nVolumes;
    // Small volumes together: a matrix in a NIfTI shell has volumes of one value.
    const atOnce = Math.max(1, Math.floor(VALUES_AT_ONCE / (nValues / total)));
    for (let done = 0; done < total; ) {
      throwIfAborted(signal, "readNifti");
      const nVolumes = Math.min(atOnce, total - done);
      parts.push(scaled(await volumes.next(nVolumes), header, dtype));
      done += nVolumes;
      onProgress?.({ stage: "reading volumes", done, total, unit: "volumes" });
    }
    await volumes.finish();
    const data = parts.length === 1 ? parts[0]! : joined(parts, nValues, dtype);
    return { ...header, data, sha256: await volumes.sha256() };
  } finally {
    await volumes.close();
  }
}

function joined(parts: FloatArray[], n: number, dtype: "float32" | "float64"): FloatArray {
  const data = dtype === "float32" ? new Float32Array(n) : new Float64Array(n);
  let at = 0;
  for (let i = 0; i < parts.length; i++) {
    data.set(parts[i]!, at);
    at += parts[i]!.length;
    // Freed as it is copied, so that the peak is one copy and a part.
    parts[i] = new Float32Array(0);
  }
  return data;
}

/** Values as they are stored: one number, or big integer, each. */
export type StoredValues =
  | Uint8Array
  | Int8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array
  | Float32Array
  | Float64Array;

/** An image that is read one volume (three axes) at a time, so that a series is never held whole. */
export interface NiftiVolumes {
  readonly file: string;
  readonly header: NiftiHeader;
  /** Sizes of the first three axes; 1 where the image has fewer. */
  readonly grid: readonly [nx: number, ny: number, nz: number];
  readonly nVolumes: number;
  /** Bytes between the header and the values. */
  readonly extensions: Uint8Array<ArrayBuffer>;
  /** Throws if all volumes together are more than the file can hold. */
  checkHolds(): void;
  /** The next volumes, one unless told otherwise. */
  next(nVolumes?: number): Promise<StoredValues>;
  /** After the last volume: the checksum of a gzip stream. */
  finish(): Promise<void>;
  /** Of the file that holds the values, as it lies on disk. */
  sha256(): Promise<string>;
  close(): Promise<void>;
}

const DATATYPES_BY_NAME: Readonly<Record<NiftiDatatype, number>> = Object.fromEntries(
  Object.values(DATATYPES).map(({ name, nBytes }) => [name, nBytes]),
) as Record<NiftiDatatype, number>;

/** Opens an image and reads its header; `keepExtensions` gives how many bytes of them are kept at most. */
export async function openVolumes(
  input: string | Uint8Array,
  {
    doing,
    image,
    keepExtensions = 0,
  }: { doing: string; image?: string | Uint8Array | undefined; keepExtensions?: number },
): Promise<NiftiVolumes> {
  const {
    source,
    header,
    extensions,
    input: valuesInput,
  } = await openHeader(input, { doing, image, keepExtensions });
  const nBytes = DATATYPES_BY_NAME[header.datatype];
  const size = (axis: number): number => header.shape[axis] ?? 1;
  const grid = [size(0), size(1), size(2)] as const;
  const nVoxels = grid[0] * grid[1] * grid[2];
  const nVolumes = header.shape.slice(3).reduce((a, b) => a * b, 1);
  return {
    file: source.file,
    header,
    grid,
    nVolumes,
    extensions,
    checkHolds() {
      const wanted = nVoxels * nVolumes * nBytes;
      if (wanted <= source.mostBytes - source.offset) return;
      throw new FormatError(
        `${doing}: ${source.file}: offset ${source.offset}: expected ${wanted} bytes for [${header.shape.join(", ")}] of ${header.datatype}, got a file that can hold at most ${source.mostBytes - source.offset}`,
        { hint: "The file may be damaged or cut short; copy or fetch it again." },
      );
    },
    async next(n = 1) {
      if (n * nVoxels * nBytes > LARGEST_VALUES_BYTES) {
        throw new DataError(
          `${doing}: ${source.file}: expected volumes of at most ${LARGEST_VALUES_BYTES} bytes, got [${header.shape.join(", ")}] of ${header.datatype}`,
        );
      }
      const bytes = await source.take(n * nVoxels * nBytes, "values");
      return stored(bytes, header);
    },
    finish: () => source.finish(),
    sha256: async () =>
      typeof valuesInput === "string" ? sha256File(valuesInput) : sha256(valuesInput),
    close: () => source.close(),
  };
}

interface OpenedHeader {
  /** Stands where the values begin. */
  readonly source: ByteSource;
  readonly header: NiftiHeader;
  readonly extensions: Uint8Array<ArrayBuffer>;
  readonly input: string | Uint8Array;
}

async function openHeader(
  given: string | Uint8Array,
  options: { doing: string; image: string | Uint8Array | undefined; keepExtensions: number },
): Promise<OpenedHeader> {
  const { doing, image, keepExtensions } = options;
  const input = typeof given === "string" ? headerPath(given) : given;
  const source = await openBytes(input, doing);
  let values: ByteSource | undefined;
  try {
    const start = await source.take(4, "a NIfTI header");
    const version = niftiVersion(start);
    if (version === undefined) {
      throw new FormatError(
        `${doing}: ${source.file}: offset 0: expected a header of 348 or 540 bytes, got ${new DataView(start.buffer).getInt32(0, true)}`,
        { hint: "Is it a NIfTI image (.nii, .nii.gz, .hdr with .img)?" },
      );
    }
    const rest = await source.take(headerSize(version) - 4, "a NIfTI header");
    const bytes = new Uint8Array(headerSize(version));
    bytes.set(start);
    bytes.set(rest, 4);
    const header = parseNiftiHeader(bytes, version, { file: source.file, doing });
    if (!header.isPair) {
      const nBetween = header.valuesOffset - headerSize(version);
      const kept =
        nBetween <= keepExtensions ? await source.take(nBetween, "extensions") : new Uint8Array(0);
      await source.skip(header.valuesOffset - source.offset, "what comes before the values");
      return { source, header, extensions: kept, input };
    }
    const { opened, input: imageInput } = await openImage(input, image, doing);
    values = opened;
    await values.skip(header.valuesOffset, "what comes before the values");
    await source.close();
    return { source: values, header, extensions: new Uint8Array(0), input: imageInput };
  } catch (cause) {
    await source.close();
    await values?.close();
    throw cause;
  }
}

/** `x.img` and `x.img.gz` are half of a pair; the other half says what they hold. */
const headerPath = (path: string): string => path.replace(/\.img(\.gz)?$/i, ".hdr$1");

async function openImage(
  header: string | Uint8Array,
  image: string | Uint8Array | undefined,
  doing: string,
): Promise<{ opened: ByteSource; input: string | Uint8Array }> {
  if (image !== undefined) return { opened: await openBytes(image, doing), input: image };
  if (typeof header !== "string") {
    throw new ArgumentError(
      `${doing}: image: expected the bytes or path of the .img, which this header needs, got none`,
    );
  }
  const stem = header.replace(/\.hdr(\.gz)?$/i, "");
  const names = [`${stem}.img`, `${stem}.img.gz`];
  if (extname(header).toLowerCase() === ".gz") names.reverse();
  const [likely, other] = names as [string, string];
  try {
    return { opened: await openBytes(likely, doing), input: likely };
  } catch (cause) {
    const opened = await openBytes(other, doing).catch(() => undefined);
    if (opened === undefined) throw cause;
    return { opened, input: other };
  }
}

/** Bytes as numbers of the machine's order; they are turned round in place, being a copy already. */
function stored(
  bytes: Uint8Array<ArrayBuffer>,
  { datatype, isLittleEndian }: NiftiHeader,
): StoredValues {
  const nBytes = DATATYPES_BY_NAME[datatype];
  if (nBytes > 1 && isLittleEndian !== IS_LITTLE_MACHINE) swapBytes(bytes, nBytes);
  return new VIEWS[datatype](bytes.buffer);
}

const IS_LITTLE_MACHINE = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

const VIEWS = {
  uint8: Uint8Array,
  int8: Int8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  float32: Float32Array,
  float64: Float64Array,
} as const;

/** Reverses each group of `nBytes` bytes, in place. */
export function swapBytes(bytes: Uint8Array<ArrayBuffer>, nBytes: number): void {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (nBytes === 2) buffer.swap16();
  else if (nBytes === 4) buffer.swap32();
  else buffer.swap64();
}

/** A function that gives the value of stored number `i`: scaled in float64. */
export function valueAt(values: StoredValues, { scaling }: NiftiHeader): (index: number) => number {
  const plain =
    values instanceof BigInt64Array || values instanceof BigUint64Array
      ? (i: number) => Number(values[i])
      : (i: number) => values[i]!;
  if (scaling === undefined) return plain;
  const { slope, intercept } = scaling;
  return (i) => plain(i) * slope + intercept;
}

function scaled(
  values: StoredValues,
  header: NiftiHeader,
  dtype: "float32" | "float64",
): FloatArray {
  if (header.scaling === undefined) {
    if (dtype === header.datatype) return values as FloatArray;
    if (!(values instanceof BigInt64Array || values instanceof BigUint64Array)) {
      return dtype === "float32" ? Float32Array.from(values) : Float64Array.from(values);
    }
  }
  const value = valueAt(values, header);
  const out =
    dtype === "float32" ? new Float32Array(values.length) : new Float64Array(values.length);
  for (let i = 0; i < out.length; i++) out[i] = value(i);
  return out;
}
