import { unzipSync } from "node:zlib";
import { FormatError, sha256, sha256File } from "@penfield/core";
import giftiReader from "gifti-reader-js";
import { decodeText } from "../text.ts";
import { LARGEST_RATIO, openBytes } from "./byteSource.ts";
import { swapBytes } from "./nifti.ts";
import { parseXml } from "./xml.ts";

/** One array of a GIFTI file. */
export interface GiftiArray {
  /** NIfTI's intent without its prefix: `POINTSET`, `TRIANGLE`, `TIME_SERIES`, `SHAPE`, `LABEL`, `NODE_INDEX`, `NONE`, ... */
  readonly intent: string;
  readonly shape: readonly number[];
  /** Row-major (last axis fastest), in whichever order the file has them. */
  readonly data: Uint8Array | Int32Array | Float32Array | Float64Array;
  readonly metadata: Readonly<Record<string, string>>;
}

/** What a GIFTI file holds. */
export interface GiftiFile {
  readonly arrays: readonly GiftiArray[];
  /** Names of the keys of `LABEL` arrays. */
  readonly labels: ReadonlyMap<number, string>;
  readonly metadata: Readonly<Record<string, string>>;
  /** From the metadata `AnatomicalStructurePrimary`, or the file's name (`hemi-L`, `lh.`). */
  readonly hemisphere: "left" | "right" | undefined;
  /** Of the file as it lies on disk. */
  readonly sha256: string;
}

/** Strings of V8 end at 512 Mi characters. */
const LARGEST_XML_BYTES = 500 * 2 ** 20;

/** Of all arrays together, unfolded. */
const LARGEST_VALUES_BYTES = 2 * 2 ** 30;

const TYPES = {
  NIFTI_TYPE_UINT8: { make: Uint8Array, nBytes: 1 },
  NIFTI_TYPE_INT32: { make: Int32Array, nBytes: 4 },
  NIFTI_TYPE_FLOAT32: { make: Float32Array, nBytes: 4 },
  NIFTI_TYPE_FLOAT64: { make: Float64Array, nBytes: 8 },
} as const;

/** The standard's names, and those of the C library's constants, which some files have. */
const ENCODINGS: Readonly<Record<string, "ascii" | "plain" | "packed">> = {
  ASCII: "ascii",
  GIFTI_ENCODING_ASCII: "ascii",
  Base64Binary: "plain",
  GIFTI_ENCODING_B64BIN: "plain",
  GZipBase64Binary: "packed",
  GIFTI_ENCODING_B64GZ: "packed",
};

/**
 * Reads a GIFTI file: functional data, shapes, labels or surfaces (`.func.gii`, `.shape.gii`, `.label.gii`,
 * `.surf.gii`, also `.gz`), in ASCII, Base64 or compressed Base64, of either byte order and index order.
 *
 * gifti-reader-js takes the document apart. The numbers are decoded here: it drops exponents of ASCII
 * numbers, and does not look at byte order, index order or sizes.
 *
 * @param input - The file, or its bytes.
 * @throws {FileError} if the file cannot be read.
 * @throws {FormatError} if it is not sound XML, an array's sizes, type or encoding are not possible, its data
 *   are not as many as its sizes say, or they are in a file of their own (ExternalFileBinary).
 *
 * Cost: O(size) time; an array unfolds to no more than its sizes say, and those to no more than its text can hold.
 * Source: the GIFTI format 1.0 (Gifti_Surface_Format.pdf, NITRC). Values equal nibabel's, but for ASCII in
 * column-major order, which nibabel takes as row-major.
 *
 * @example
 * const xml = '<GIFTI Version="1.0"><DataArray Intent="NIFTI_INTENT_SHAPE" DataType="NIFTI_TYPE_FLOAT32" Dimensionality="1" Dim0="2" Encoding="ASCII"><Data>0.5 1e-3</Data></DataArray></GIFTI>';
 * const { arrays } = await readGifti(new TextEncoder().encode(xml));
 * arrays[0].intent // => "SHAPE"
 * arrays[0].data.length // => 2
 */
export async function readGifti(input: string | Uint8Array): Promise<GiftiFile> {
  const doing = "readGifti";
  const source = await openBytes(input, doing);
  let text: string;
  try {
    text = decodeText(await source.takeRest(LARGEST_XML_BYTES, "XML"), source.file);
  } finally {
    await source.close();
  }
  const { file } = source;
  checkElements(text, file, doing);
  let document: ReturnType<typeof giftiReader.parse>;
  try {
    document = giftiReader.parse(text);
  } catch (cause) {
    throw new FormatError(
      `${doing}: ${file}: expected a GIFTI document, got one that cannot be taken apart: ${(cause as Error).message}`,
      { cause },
    );
  }
  let nLeft = LARGEST_VALUES_BYTES;
  const arrays = document.dataArrays.map((array, i) => {
    const decoded = decodeArray(array, nLeft, `${file}: array ${i}`);
    nLeft -= decoded.data.byteLength;
    return decoded;
  });
  const labels = new Map<number, string>();
  for (const { key, label } of Object.values(document.labelTable)) {
    if (!/^-?\d+$/.test(key ?? "")) {
      throw new FormatError(
        `${doing}: ${file}: expected whole numbers as label keys, got ${JSON.stringify(key)}`,
      );
    }
    labels.set(Number(key), label);
  }
  return {
    arrays,
    labels,
    metadata: { ...document.metadata },
    hemisphere: hemisphereOf(
      [document, ...document.dataArrays].map((d) => d.metadata["AnatomicalStructurePrimary"]),
      file,
    ),
    sha256: typeof input === "string" ? await sha256File(input) : sha256(input),
  };
}

/** gifti-reader-js follows any nesting; wrong ones would end in errors of its own. */
function checkElements(text: string, file: string, doing: string): void {
  const root = parseXml(text, { file, doing, keepText: false });
  if (root.name !== "GIFTI") {
    throw new FormatError(`${doing}: ${file}: expected a GIFTI document, got <${root.name}>`);
  }
  for (const array of root.children.filter(({ name }) => name === "DataArray")) {
    const nData = array.children.filter(({ name }) => name === "Data").length;
    if (nData > 1) {
      throw new FormatError(`${doing}: ${file}: expected one Data in each DataArray, got ${nData}`);
    }
  }
}

function hemisphereOf(
  structures: readonly (string | undefined)[],
  file: string,
): GiftiFile["hemisphere"] {
  const named = structures.find((name) => name !== undefined) ?? "";
  if (/left/i.test(named) || /(^|[/\\_.])(hemi-L|lh)[_.]/.test(file)) return "left";
  if (/right/i.test(named) || /(^|[/\\_.])(hemi-R|rh)[_.]/.test(file)) return "right";
  return undefined;
}

type RawArray = ReturnType<typeof giftiReader.parse>["dataArrays"][number];

function decodeArray(array: RawArray, nLeft: number, where: string): GiftiArray {
  const { attributes } = array;
  const wrong = (expected: string, got: unknown, hint?: string): FormatError =>
    new FormatError(`readGifti: ${where}: expected ${expected}, got ${got}`, { hint });
  const typeName = attributes["DataType"] ?? "none";
  const type = TYPES[typeName as keyof typeof TYPES];
  if (type === undefined) throw wrong(`one of ${Object.keys(TYPES).join(", ")}`, typeName);
  const nAxes = Number(attributes["Dimensionality"]);
  if (!(Number.isInteger(nAxes) && nAxes >= 1 && nAxes <= 6)) {
    throw wrong("1 to 6 axes", attributes["Dimensionality"]);
  }
  const shape = Array.from({ length: nAxes }, (_, axis) => Number(attributes[`Dim${axis}`]));
  const n = shape.reduce((a, b) => a * b, 1);
  if (!shape.every((size) => Number.isInteger(size) && size >= 1) || !Number.isSafeInteger(n)) {
    throw wrong("sizes of at least 1", `[${shape.join(", ")}]`);
  }
  if (n * type.nBytes > nLeft) {
    throw wrong(
      `at most ${LARGEST_VALUES_BYTES} bytes in all arrays`,
      `${n * type.nBytes} where ${nLeft} are left`,
    );
  }
  const text = array.data ?? "";
  const encoding = ENCODINGS[attributes["Encoding"] ?? ""];
  let data: GiftiArray["data"];
  if (encoding === "ascii") {
    data = new type.make(asciiNumbers(text, n, wrong));
  } else if (encoding !== undefined) {
    const bytes = binary(text, n * type.nBytes, encoding === "packed", wrong);
    if (/big/i.test(attributes["Endian"] ?? "") && type.nBytes > 1) swapBytes(bytes, type.nBytes);
    data = new type.make(bytes.buffer);
  } else {
    throw wrong(
      "ASCII, Base64Binary or GZipBase64Binary",
      attributes["Encoding"] ?? "no encoding",
      /external/i.test(attributes["Encoding"] ?? "") ? "Save the data inside the file." : undefined,
    );
  }
  const isColumnMajor = attributes["ArrayIndexingOrder"] === "ColumnMajorOrder" && nAxes > 1;
  return {
    intent: (attributes["Intent"] ?? "NONE").replace(/^NIFTI_INTENT_/, ""),
    shape,
    data: isColumnMajor ? rowMajor(data, shape) : data,
    metadata: { ...array.metadata },
  };
}

type Wrong = (expected: string, got: unknown, hint?: string) => FormatError;

function asciiNumbers(text: string, n: number, wrong: Wrong): readonly number[] {
  const trimmed = text.trim();
  const words = trimmed === "" ? [] : trimmed.split(/\s+/);
  if (words.length !== n) throw wrong(`${n} numbers`, words.length);
  return words.map((word) => {
    const value = Number(word);
    if (!Number.isNaN(value)) return value;
    if (/^[+-]?nan$/i.test(word)) return Number.NaN;
    if (/^[+-]?inf(inity)?$/i.test(word)) return word.startsWith("-") ? -Infinity : Infinity;
    throw wrong("numbers", JSON.stringify(word.slice(0, 40)));
  });
}

function binary(
  text: string,
  nBytes: number,
  isCompressed: boolean,
  wrong: Wrong,
): Uint8Array<ArrayBuffer> {
  const packed = Buffer.from(text, "base64");
  if (nBytes > packed.length * (isCompressed ? LARGEST_RATIO : 1)) {
    throw wrong(`${nBytes} bytes of data`, `${packed.length} bytes that cannot hold them`);
  }
  let bytes: Uint8Array = packed;
  if (isCompressed) {
    try {
      // zlib's own frame is usual, gzip's is met too; one byte more than wanted shows what is too long.
      bytes = unzipSync(packed, { maxOutputLength: nBytes + 1 });
    } catch (cause) {
      throw wrong(`data that unfold to ${nBytes} bytes`, (cause as Error).message);
    }
  }
  if (bytes.length !== nBytes) throw wrong(`${nBytes} bytes of data`, bytes.length);
  return Uint8Array.from(bytes);
}

function rowMajor(data: GiftiArray["data"], shape: readonly number[]): GiftiArray["data"] {
  const out = data.slice();
  const index = new Array<number>(shape.length).fill(0);
  const steps = shape.map((_, axis) => shape.slice(0, axis).reduce((a, b) => a * b, 1));
  for (let at = 0; at < out.length; at++) {
    out[at] = data[index.reduce((sum, i, axis) => sum + i * steps[axis]!, 0)]!;
    for (let axis = shape.length - 1; axis >= 0 && ++index[axis]! === shape[axis]; axis--)
      index[axis] = 0;
  }
  return out;
}
