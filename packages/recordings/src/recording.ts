import { basename, extname } from "node:path";
import {
  DataError,
  FormatError,
  type NpyArray,
  readNpy,
  ShapeError,
  sha256,
  tensor,
} from "@penfield/core";
import { column, parseTable } from "./table.ts";
import { decodeText, readBytes } from "./text.ts";
import type { Recording, Target } from "./types.ts";

/** What the file itself does not say. */
export interface LoadRecordingOptions {
  /**
   * The stimuli's ids in row order, or a table (TSV, CSV) with them in its column `id`.
   * Needed for `.npy`; a text table has its own in the first column.
   */
  readonly stimuli?: string | readonly string[] | undefined;
  /** The targets, or a table with the columns `id` and, as known, `region` and `subject`. Default: numbered. */
  readonly targets?: string | readonly Target[] | undefined;
  /** Default: the file's name. */
  readonly name?: string | undefined;
  /** Default false. */
  readonly simulated?: boolean | undefined;
}

/**
 * Reads a recording: a `.npy` array `[stimulus, target]` or `[repeat, stimulus, target]` of floats or
 * integers, or a text table (space, comma or tab between cells) with a header, the stimulus id in the
 * first column and one target in each further column. Ids stay text: a word "nan" or "null" is a word.
 *
 * @param path - The file.
 * @param options - What the file itself does not say.
 * @returns float32 values stay float32 (also half floats); all others become float64.
 * @throws {FileError} if a file cannot be read.
 * @throws {FormatError} with the line, if it is neither, or a cell is not a number.
 * @throws {ShapeError} if the ids or targets are not as many as the data's.
 * @throws {DataError} if a value is NaN or infinite (how many, and where the first is), an id is there
 *   twice, or `.npy` data come without ids.
 */
export async function loadRecording(
  path: string,
  options: LoadRecordingOptions = {},
): Promise<Recording> {
  const bytes = await readBytes(path, "loadRecording");
  const isNpy = extname(path).toLowerCase() === ".npy";
  const read = isNpy ? fromNpy(bytes, path) : fromTable(bytes, path);
  const ids =
    options.stimuli === undefined ? read.stimulusIds : await idsFrom(options.stimuli, "stimuli");
  if (ids === undefined) {
    throw new DataError(
      `loadRecording: ${path}: expected the stimuli's ids beside the array, got none`,
      { hint: "Name a table with a column id whose rows are in the array's order." },
    );
  }
  const [, nStimuli, nTargets] = read.data.shape;
  const targets =
    options.targets === undefined
      ? read.targetIds.map((id) => ({ id }))
      : await targetsFrom(options.targets);
  if (ids.length !== nStimuli) {
    throw new ShapeError(
      `loadRecording: ${path}: expected ${nStimuli} stimulus ids, one per row, got ${ids.length}`,
      isNpy ? { hint: "Axes are [stimulus, target] or [repeat, stimulus, target]." } : {},
    );
  }
  if (targets.length !== nTargets) {
    throw new ShapeError(
      `loadRecording: ${path}: expected ${nTargets} targets, one per column, got ${targets.length}`,
    );
  }
  return checkRecording({
    name: options.name ?? basename(path, extname(path)),
    simulated: options.simulated ?? false,
    data: read.data,
    stimulusIds: ids,
    targets,
    sha256: sha256(bytes),
  });
}

/**
 * Refuses a recording that no score can be computed from.
 *
 * @throws {DataError} if a value is NaN or infinite, or a stimulus id is there twice.
 */
function checkRecording(recording: Recording): Recording {
  const { data, stimulusIds, name } = recording;
  const [, nStimuli, nTargets] = data.shape;
  let bad = 0;
  let first = -1;
  for (let i = 0; i < data.data.length; i++) {
    if (Number.isFinite(data.data[i])) continue;
    if (bad++ === 0) first = i;
  }
  if (bad > 0) {
    const target = first % nTargets;
    const stimulus = Math.floor(first / nTargets) % nStimuli;
    const repeat = Math.floor(first / nTargets / nStimuli);
    throw new DataError(
      `loadRecording: ${name}: expected finite values, got ${bad} that are NaN or infinite, first ${data.data[first]} in repeat ${repeat}, stimulus ${JSON.stringify(stimulusIds[stimulus])}, target ${target}`,
      { hint: "Leave out the targets or stimuli that were not measured." },
    );
  }
  const seen = new Map<string, number>();
  stimulusIds.forEach((id, row) => {
    const before = seen.get(id);
    if (before !== undefined) {
      throw new DataError(
        `loadRecording: ${name}: expected each stimulus id once, got ${JSON.stringify(id)} in rows ${before} and ${row}`,
        { hint: "Give each presentation its own id, or stack repeats on the first axis." },
      );
    }
    seen.set(id, row);
  });
  return recording;
}

interface ReadArray {
  readonly data: Recording["data"];
  readonly stimulusIds: readonly string[] | undefined;
  readonly targetIds: readonly string[];
}

const numbered = (n: number): readonly string[] => {
  const width = String(Math.max(0, n - 1)).length;
  return Array.from({ length: n }, (_, i) => `t${String(i).padStart(width, "0")}`);
};

function fromNpy(bytes: Uint8Array, path: string): ReadArray {
  const array = readNpy(bytes, path);
  const sizes = array.shape.length === 2 ? [1, ...array.shape] : array.shape;
  if (sizes.length !== 3) {
    throw new ShapeError(
      `loadRecording: ${path}: expected [stimulus, target] or [repeat, stimulus, target], got [${array.shape.join(", ")}]`,
    );
  }
  const [nRepeats, nStimuli, nTargets] = sizes as [number, number, number];
  if (nRepeats * nStimuli * nTargets === 0) {
    throw new DataError(`loadRecording: ${path}: expected values, got [${array.shape.join(", ")}]`);
  }
  return {
    data: tensor(
      floatsOf(array.data, path),
      ["repeat", "stimulus", "target"],
      [nRepeats, nStimuli, nTargets],
    ),
    stimulusIds: undefined,
    targetIds: numbered(nTargets),
  };
}

function floatsOf(data: NpyArray["data"], path: string): Float32Array | Float64Array {
  if (data instanceof Float32Array || data instanceof Float64Array) return data;
  if (Array.isArray(data)) {
    throw new FormatError(`loadRecording: ${path}: expected numbers, got text`);
  }
  return Float64Array.from(data as ArrayLike<number | bigint>, Number);
}

function fromTable(bytes: Uint8Array, path: string): ReadArray {
  const extension = extname(path).toLowerCase();
  const table = parseTable(decodeText(bytes, path), {
    file: path,
    delimiter: extension === ".tsv" ? "tab" : extension === ".csv" ? "comma" : undefined,
  });
  const nTargets = table.columns.length - 1;
  if (nTargets < 1) {
    throw new FormatError(
      `loadRecording: ${path}: expected an id and at least one value per row, got one column`,
    );
  }
  const values = new Float64Array(table.rows.length * nTargets);
  table.rows.forEach((cells, row) => {
    for (let j = 0; j < nTargets; j++) {
      const cell = cells[j + 1]!.trim();
      const value = numberOf(cell);
      if (value === undefined) {
        throw new FormatError(
          `loadRecording: ${path}: line ${table.lines[row]}: expected a number under ${table.columns[j + 1]}, got ${JSON.stringify(cell)}`,
        );
      }
      values[row * nTargets + j] = value;
    }
  });
  return {
    data: tensor(values, ["repeat", "stimulus", "target"], [1, table.rows.length, nTargets]),
    stimulusIds: table.rows.map((cells) => cells[0]!),
    targetIds: table.columns.slice(1),
  };
}

/** Missing values are numbers of their own here, so that all of them are counted. */
function numberOf(cell: string): number | undefined {
  if (cell === "" || /^[-+]?(nan|na|null|inf(inity)?)$/i.test(cell)) return Number.NaN;
  const value = Number(cell);
  return Number.isNaN(value) ? undefined : value;
}

async function idsFrom(
  stimuli: string | readonly string[],
  what: string,
): Promise<readonly string[]> {
  if (typeof stimuli !== "string") return stimuli;
  return column(await readTable(stimuli, what), "id", stimuli);
}

async function targetsFrom(targets: string | readonly Target[]): Promise<readonly Target[]> {
  if (typeof targets !== "string") return targets;
  const table = await readTable(targets, "targets");
  const optional = (name: string) =>
    table.columns.includes(name) ? column(table, name, targets) : undefined;
  const regions = optional("region");
  const subjects = optional("subject");
  return column(table, "id", targets).map((id, i) => ({
    id,
    region: regions?.[i] || undefined,
    subject: subjects?.[i] || undefined,
  }));
}

async function readTable(path: string, what: string) {
  const bytes = await readBytes(path, `loadRecording: ${what}`);
  return parseTable(decodeText(bytes, path), { file: path });
}
