import { readFile, stat } from "node:fs/promises";
import { basename } from "node:path";
import {
  DataError,
  FormatError,
  fileError,
  type NpyArray,
  readNpy,
  readSafetensors,
  sha256,
} from "@penfield/core";
import { unzipSync } from "fflate";
import { readMatArray } from "./matFile.ts";

/** Numbers of a file, as float64. */
export interface NumberFile {
  /** Without its folder; with the array's name where the file holds several. */
  readonly name: string;
  /** Of the file's bytes. */
  readonly sha256: string;
  readonly data: Float64Array;
  readonly shape: readonly number[];
  /** Of RDMs that have names in the file. */
  readonly names?: readonly string[] | undefined;
}

/** What an archive may unfold to. */
const MAX_UNZIPPED = 2 ** 31;
const KNOWN = ".npy, .npz, .mat, .safetensors";
const HINTS: Readonly<Record<string, string>> = {
  pt: "In Python: numpy.save(file, tensor.float().numpy()), or save_file of safetensors.",
  csv: "In Python: numpy.save(file, numpy.loadtxt(csv, delimiter=','))",
};

/**
 * Reads the numbers of a .npy, .npz, .mat or .safetensors file. Of a file with several arrays one is named after a
 * colon: `layers.npz:block3`.
 *
 * @param verb - How messages begin.
 * @param allowNaN - Whether NaN may stand in it (pairs that were not measured); infinities never.
 * @throws {FormatError} if it is no such file, or holds no numbers.
 * @throws {DataError} if a value is not finite.
 * @throws {FileError} if it cannot be read.
 */
export async function readNumbers(
  verb: string,
  path: string,
  { allowNaN = false }: { allowNaN?: boolean } = {},
): Promise<NumberFile> {
  const [, file = path, key] = /^(.+\.(?:npz|mat|safetensors)):([^:]+)$/i.exec(path) ?? [];
  const end = /\.([A-Za-z0-9]+)$/.exec(file)?.[1]?.toLowerCase() ?? "";
  await stat(file).catch((cause) => {
    throw fileError(verb, file, cause);
  });
  if (!["npy", "npz", "mat", "safetensors"].includes(end)) {
    throw new FormatError(`${verb}: ${file}: expected one of ${KNOWN}, got another kind of file`, {
      hint: HINTS[end] ?? "In Python: numpy.save(file, array).",
    });
  }
  const bytes = await readFile(file).catch((cause) => {
    throw fileError(verb, file, cause);
  });
  const array: Plain =
    end === "mat"
      ? await readMatArray(verb, file, key)
      : readers[end as keyof typeof readers](bytes, file, key, verb);
  const data = numbersOf(array.data, file, verb);
  if (data.length === 0) {
    throw new DataError(`${verb}: ${file}: expected values, got [${array.shape.join(", ")}]`);
  }
  checkFinite(data, array.shape, allowNaN, `${verb}: ${file}`);
  const name = key === undefined ? basename(file) : `${basename(file)}:${key}`;
  return { name, sha256: sha256(bytes), data, shape: array.shape, names: array.names };
}

interface Plain {
  readonly data: NpyArray["data"];
  readonly shape: readonly number[];
  readonly names?: readonly string[] | undefined;
}

type Reader = (bytes: Uint8Array, file: string, key: string | undefined, verb: string) => Plain;

const readers: Readonly<Record<"npy" | "npz" | "safetensors", Reader>> = {
  npy: (bytes, file) => readNpy(bytes, file),
  npz: (bytes, file, key, verb) => {
    const entries = unzip(bytes, file, verb);
    const names = Object.keys(entries).map((name) => name.replace(/\.npy$/, ""));
    const name = oneOf(names, file, key, verb);
    return readNpy(entries[`${name}.npy`]!, `${file}:${name}`);
  },
  safetensors: (bytes, file, key, verb) => {
    const { tensors } = readSafetensors(bytes, file);
    return tensors.get(oneOf([...tensors.keys()], file, key, verb))!;
  },
};

function unzip(bytes: Uint8Array, file: string, verb: string): Record<string, Uint8Array> {
  let total = 0;
  try {
    return unzipSync(bytes, {
      filter: ({ name, originalSize }) => {
        if (!name.endsWith(".npy")) return false;
        total += originalSize;
        if (total <= MAX_UNZIPPED) return true;
        throw new Error(`more than ${MAX_UNZIPPED} bytes when unfolded`);
      },
    });
  } catch (cause) {
    const { message } = cause as Error;
    throw new FormatError(`${verb}: ${file}: expected an archive of numpy.savez, got ${message}`, {
      cause,
    });
  }
}

function oneOf(
  names: readonly string[],
  file: string,
  key: string | undefined,
  verb: string,
): string {
  const wanted = key ?? (names.length === 1 ? names[0] : undefined);
  if (wanted !== undefined && names.includes(wanted)) return wanted;
  const got = key === undefined ? `${names.length} of them` : JSON.stringify(key);
  throw new FormatError(`${verb}: ${file}: expected one array, got ${got}`, {
    hint:
      names.length === 0
        ? "The file holds no arrays."
        : `Name one after a colon, as in ${basename(file)}:${names[0]}. It has ${names.slice(0, 20).join(", ")}.`,
  });
}

function numbersOf(data: NpyArray["data"], file: string, verb: string): Float64Array {
  if (data instanceof Float64Array) return data;
  if (Array.isArray(data)) {
    throw new FormatError(`${verb}: ${file}: expected numbers, got text`);
  }
  return Float64Array.from(data as ArrayLike<number | bigint>, Number);
}

function checkFinite(
  data: Float64Array,
  shape: readonly number[],
  allowNaN: boolean,
  where: string,
): void {
  let count = 0;
  let first = -1;
  for (let i = 0; i < data.length; i++) {
    if (Number.isFinite(data[i]!) || (allowNaN && Number.isNaN(data[i]!))) continue;
    if (count++ === 0) first = i;
  }
  if (count === 0) return;
  const place: number[] = [];
  for (let at = first, axis = shape.length - 1; axis >= 0; axis--) {
    place.unshift(at % shape[axis]!);
    at = Math.floor(at / shape[axis]!);
  }
  throw new DataError(
    `${where}: expected finite values, got ${count} of ${data.length} that are NaN or infinite, the first at [${place.join(", ")}]`,
    { hint: "Leave out those stimuli or units; nothing is filled in silently." },
  );
}
