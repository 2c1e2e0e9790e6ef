import { basename } from "node:path";
import { DataError, FormatError, type NpyArray, readNpy, ShapeError, sha256 } from "@penfield/core";
import { unzipSync } from "fflate";
import type { Recording } from "../types.ts";
import { readLargeFile } from "./largeFile.ts";
import { checkFinite, presentationsToRepeats } from "./repeats.ts";

/** What all arrays of an archive may unfold to. */
const LARGEST_UNZIPPED_BYTES = 2 ** 31 - 1;

/**
 * Reads the arrays of a `.npz` archive (`numpy.savez`, compressed or not).
 *
 * @param bytes - The whole file.
 * @param name - How error messages call it.
 * @returns The arrays by name, in the archive's order.
 * @throws {FormatError} if it is no zip archive, is damaged, holds pickled objects, or unfolds to more than 2 GiB.
 */
export function readNpz(bytes: Uint8Array, name = "arrays.npz"): ReadonlyMap<string, NpyArray> {
  let total = 0;
  let entries: Record<string, Uint8Array>;
  try {
    entries = unzipSync(bytes, {
      filter: ({ name: entry, originalSize, size }) => {
        if (!entry.endsWith(".npy")) return false;
        total += originalSize;
        // Deflate shrinks a byte to a thousandth at most: a head that promises more lies.
        if (total > LARGEST_UNZIPPED_BYTES || originalSize > 1100 * size + 1024) {
          throw new FormatError(
            `readNpz: ${name}: expected at most ${LARGEST_UNZIPPED_BYTES} bytes when unfolded, got ${total}`,
          );
        }
        return true;
      },
    });
  } catch (cause) {
    if (cause instanceof FormatError) throw cause;
    throw new FormatError(
      `readNpz: ${name}: expected a .npz archive, got ${(cause as Error).message}`,
      { hint: "The file may be damaged or cut short.", cause },
    );
  }
  return new Map(
    Object.entries(entries).map(([entry, content]) => {
      const key = entry.slice(0, -".npy".length);
      return [key, readNpy(content, `${name}: ${key}`)] as const;
    }),
  );
}

/** Options of `loadNpzRecording`: the names of arrays in the archive. */
export interface LoadNpzOptions {
  /** Default `data`, else the only array of numbers with two or three axes. */
  readonly data?: string | undefined;
  /** One id per presentation. Default the first there is of `stimulus_id`, `stimulus_ids`, `stimuli`, `ids`. */
  readonly stimuli?: string | undefined;
  /** One id per target. Default the first there is of `neuroid_id`, `target_ids`, `targets`; else numbers. */
  readonly targets?: string | undefined;
  /** Default: the file's name. */
  readonly name?: string | undefined;
}

const STIMULI = ["stimulus_id", "stimulus_ids", "stimuli", "ids"];
const TARGETS = ["neuroid_id", "target_ids", "targets"];

/**
 * Loads an assembly of named arrays from a `.npz`: data `[presentation, target]` (presentations of one stimulus become repeats)
 * or `[repeat, stimulus, target]`, ids of stimuli, and, as known, ids of targets and their `region` and `subject`.
 *
 * @param path - The file.
 * @param options - Names of the arrays.
 * @returns float32 data stay float32, others become float64.
 * @throws {FileError} if it cannot be read.
 * @throws {FormatError} as `readNpz`.
 * @throws {DataError} if data or ids are not there, or values are NaN or infinite.
 * @throws {ShapeError} if there are more or fewer ids than rows or columns.
 */
export async function loadNpzRecording(
  path: string,
  { data: key, stimuli, targets, name }: LoadNpzOptions = {},
): Promise<Recording> {
  const bytes = await readLargeFile(path, "loadNpzRecording");
  const arrays = readNpz(bytes, basename(path));
  const where = `loadNpzRecording: ${basename(path)}`;
  const array = dataOf(arrays, key, where);
  const { data, shape } = array;
  const nTargets = shape.at(-1)!;
  const numbers =
    data instanceof Float32Array || data instanceof Float64Array
      ? data
      : Float64Array.from(data as ArrayLike<number | bigint>, Number);
  checkFinite(numbers, nTargets, where);
  const ids = idsOf(arrays, stimuli, STIMULI);
  const nRows = shape.at(-2)!;
  if (!ids || ids.length !== nRows) {
    throw new ShapeError(
      `${where}: expected ${nRows} ids of stimuli beside the data, got ${ids?.length ?? `arrays ${[...arrays.keys()].join(", ")}`}`,
      { hint: "The option stimuli names the array with one id per row." },
    );
  }
  const targetIds = idsOf(arrays, targets, TARGETS);
  if (targetIds && targetIds.length !== nTargets) {
    throw new ShapeError(`${where}: expected ${nTargets} targets, got ${targetIds.length}`);
  }
  const [regions, subjects] = ["region", "subject"].map((one) => {
    const found = idsOf(arrays, undefined, [one]);
    return found?.length === nTargets ? found : undefined;
  });
  const nRepeats = shape.length === 3 ? shape[0]! : 1;
  return {
    name: name ?? basename(path),
    simulated: false,
    sha256: sha256(bytes),
    targets: Array.from({ length: nTargets }, (_, i) => ({
      id: targetIds?.[i] ?? `t${i}`,
      region: regions?.[i],
      subject: subjects?.[i],
    })),
    ...presentationsToRepeats(
      {
        data: numbers,
        nValues: nTargets,
        ids: Array.from({ length: nRepeats }, () => ids).flat(),
      },
      where,
    ),
  };
}

function dataOf(
  arrays: ReadonlyMap<string, NpyArray>,
  key: string | undefined,
  where: string,
): NpyArray {
  const isData = ({ data, shape }: NpyArray): boolean =>
    !Array.isArray(data) && (shape.length === 2 || shape.length === 3);
  const named = arrays.get(key ?? "data");
  const fitting = [...arrays.values()].filter(isData);
  const found = named ?? (key === undefined && fitting.length === 1 ? fitting[0] : undefined);
  if (found && isData(found)) return found;
  const list = [...arrays].map(([name, { shape }]) => `${name} [${shape.join(", ")}]`).join(", ");
  throw new DataError(
    `${where}: expected data [presentation, target] or [repeat, stimulus, target], got ${list || "no arrays"}`,
    { hint: "The option data names the array." },
  );
}

function idsOf(
  arrays: ReadonlyMap<string, NpyArray>,
  wanted: string | undefined,
  usual: readonly string[],
): readonly string[] | undefined {
  const key = wanted ?? usual.find((name) => arrays.has(name));
  const found = key === undefined ? undefined : arrays.get(key);
  return found?.shape.length === 1
    ? Array.from(found.data as ArrayLike<unknown>, String)
    : undefined;
}
