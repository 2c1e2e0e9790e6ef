import { basename, extname } from "node:path";
import {
  ArgumentError,
  DataError,
  type FloatArray,
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
  /**
   * What the axes of a `.npy` array are, in the file's order. Default: `["stimulus", "target"]` for two,
   * `["repeat", "stimulus", "target"]` for three.
   */
  readonly axes?: readonly RecordingAxis[] | undefined;
  /**
   * What NaN means. `refuse` (default): nothing, the file is refused. `mask`: the target was not measured; it is left
   * out, as are infinite ones and those that never vary (`nMasked`, `maskedTargets`). `repeats`: a stimulus was not
   * repeated so often; all functions over repeats then use what is there.
   */
  readonly missing?: "refuse" | "mask" | "repeats" | undefined;
}

export type RecordingAxis = "repeat" | "stimulus" | "target";

/**
 * Reads a recording: a `.npy` array `[stimulus, target]` or `[repeat, stimulus, target]` of floats or
 * integers, or a text table (space, comma or tab between cells) with a header, the stimulus id in the
 * first column and one target in each further column. Ids stay text: a word "nan" or "null" is a word.
 *
 * @param path - The file.
 * @param options - What the file itself does not say.
 * @returns float32 values stay float32 (also half floats); all others become float64. Targets that never vary are
 *   named in `constantTargets`.
 * @throws {FileError} if a file cannot be read.
 * @throws {FormatError} with the line, if it is neither, or a cell is not a number.
 * @throws {ShapeError} if the ids or targets are not as many as the data's.
 * @throws {DataError} if a value is NaN or infinite that `missing` does not allow (how many, and where the first is),
 *   no target is left, a stimulus has no repeat, an id is there twice, or `.npy` data come without ids.
 * @throws {ArgumentError} if `missing` or `axes` are other words.
 */
export async function loadRecording(
  path: string,
  options: LoadRecordingOptions = {},
): Promise<Recording> {
  const bytes = await readBytes(path, "loadRecording");
  const isNpy = extname(path).toLowerCase() === ".npy";
  const read = isNpy ? fromNpy(bytes, path, options.axes) : fromTable(bytes, path);
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
  return checkRecording(
    {
      name: options.name ?? basename(path, extname(path)),
      simulated: options.simulated ?? false,
      data: read.data,
      stimulusIds: ids,
      targets,
      sha256: sha256(bytes),
    },
    options.missing ?? "refuse",
  );
}

/**
 * Refuses a recording that no score can be computed from; leaves out or names the targets of which that is true.
 *
 * @throws {DataError} if values are missing that may not be, or a stimulus id is there twice.
 * @throws {ArgumentError} if `missing` is another word.
 */
function checkRecording(
  recording: Recording,
  missing: NonNullable<LoadRecordingOptions["missing"]>,
): Recording {
  checkIds(recording);
  if (missing === "mask") return withoutMasked(recording);
  if (missing !== "refuse" && missing !== "repeats") {
    throw new ArgumentError(
      `loadRecording: expected missing refuse, mask or repeats, got ${missing}`,
    );
  }
  const { data } = recording.data;
  const isBad =
    missing === "refuse"
      ? (value: number) => !Number.isFinite(value)
      : (value: number) => Math.abs(value) === Number.POSITIVE_INFINITY;
  let bad = 0;
  let first = -1;
  for (let i = 0; i < data.length; i++) {
    if (!isBad(data[i]!)) continue;
    if (bad++ === 0) first = i;
  }
  if (bad > 0) throw badValues(recording, missing, bad, first);
  if (missing === "repeats") checkRepeats(recording);
  const constant = targetsWhere(recording, (target) => !target.varies);
  return constant.length === 0
    ? recording
    : { ...recording, constantTargets: constant.map((t) => recording.targets[t]!.id) };
}

function badValues(
  { data, stimulusIds, name }: Recording,
  missing: "refuse" | "repeats",
  bad: number,
  first: number,
): DataError {
  const [, nStimuli, nTargets] = data.shape;
  const stimulus = Math.floor(first / nTargets) % nStimuli;
  const repeat = Math.floor(first / nTargets / nStimuli);
  const what = missing === "refuse" ? "that are NaN or infinite" : "that are infinite";
  return new DataError(
    `loadRecording: ${name}: expected finite values, got ${bad} ${what}, first ${data.data[first]} in repeat ${repeat}, stimulus ${JSON.stringify(stimulusIds[stimulus])}, target ${first % nTargets}`,
    {
      hint:
        missing === "refuse"
          ? 'Leave out the targets or stimuli that were not measured: missing "mask" leaves out targets, missing "repeats" takes NaN for repeats that were not made.'
          : "NaN stands for a repeat that was not made; infinite values for nothing.",
    },
  );
}

/** Every stimulus must have been shown once at least, to every target. */
function checkRepeats({ data, stimulusIds, targets, name }: Recording): void {
  const [nRepeats, nStimuli, nTargets] = data.shape;
  const size = nStimuli * nTargets;
  const without = new Set<string>();
  let target = "";
  for (let i = 0; i < size; i++) {
    let there = false;
    for (let r = 0; r < nRepeats && !there; r++) there = !Number.isNaN(data.data[r * size + i]);
    if (there) continue;
    if (without.size === 0) target = targets[i % nTargets]!.id;
    without.add(stimulusIds[Math.floor(i / nTargets)]!);
  }
  if (without.size === 0) return;
  const named = [...without].slice(0, 5).map((id) => JSON.stringify(id));
  throw new DataError(
    `loadRecording: ${name}: expected at least one repeat of each stimulus, got none of ${without.size} stimuli (${named.join(", ")}${without.size > 5 ? ", ..." : ""}), first for target ${JSON.stringify(target)}`,
    { hint: 'Leave these stimuli out, or the targets with missing "mask".' },
  );
}

interface TargetState {
  readonly finite: boolean;
  /** Whether two of its values (NaN left aside) differ. */
  readonly varies: boolean;
}

/** The targets of which something is true. */
function targetsWhere({ data }: Recording, wanted: (state: TargetState) => boolean): number[] {
  const nTargets = data.shape[2];
  const lows = new Float64Array(nTargets).fill(Number.POSITIVE_INFINITY);
  const highs = new Float64Array(nTargets).fill(Number.NEGATIVE_INFINITY);
  const finite = new Uint8Array(nTargets).fill(1);
  for (let i = 0; i < data.data.length; i++) {
    const value = data.data[i]!;
    const t = i % nTargets;
    if (!Number.isFinite(value)) finite[t] = 0;
    if (value < lows[t]!) lows[t] = value;
    if (value > highs[t]!) highs[t] = value;
  }
  return Array.from({ length: nTargets }, (_, t) => t).filter((t) =>
    wanted({ finite: finite[t] === 1, varies: highs[t]! > lows[t]! }),
  );
}

/** Without the targets that have a value missing or never vary. */
function withoutMasked(recording: Recording): Recording {
  const kept = targetsWhere(recording, ({ finite, varies }) => finite && varies);
  const [nRepeats, nStimuli, nTargets] = recording.data.shape;
  if (kept.length === 0) {
    throw new DataError(
      `loadRecording: ${recording.name}: expected targets with finite values that vary, got none of ${nTargets}`,
      { hint: 'Where NaN stands for repeats that were not made, use missing "repeats".' },
    );
  }
  const source = recording.data.data;
  const size = nRepeats * nStimuli * kept.length;
  const out = source instanceof Float32Array ? new Float32Array(size) : new Float64Array(size);
  for (let row = 0; row < nRepeats * nStimuli; row++) {
    kept.forEach((t, k) => {
      out[row * kept.length + k] = source[row * nTargets + t]!;
    });
  }
  const isKept = new Set(kept);
  return {
    ...recording,
    data: tensor(out, ["repeat", "stimulus", "target"], [nRepeats, nStimuli, kept.length]),
    targets: kept.map((t) => recording.targets[t]!),
    nMasked: nTargets - kept.length,
    maskedTargets: recording.targets.flatMap(({ id }, t) => (isKept.has(t) ? [] : [id])),
  };
}

function checkIds({ stimulusIds, name }: Recording): void {
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

function fromNpy(
  bytes: Uint8Array,
  path: string,
  axes: readonly RecordingAxis[] | undefined,
): ReadArray {
  const array = readNpy(bytes, path);
  const named = axes ?? usualAxes(array.shape.length);
  if (named?.length !== array.shape.length) {
    throw new ShapeError(
      axes === undefined
        ? `loadRecording: ${path}: expected [stimulus, target] or [repeat, stimulus, target], got [${array.shape.join(", ")}]`
        : `loadRecording: ${path}: expected [${axes.join(", ")}], got [${array.shape.join(", ")}]`,
    );
  }
  const sizeOf = (axis: RecordingAxis) => {
    const at = named.indexOf(axis);
    return at < 0 ? 1 : array.shape[at]!;
  };
  const unique = new Set(named).size === named.length;
  const known = named.every((axis) => AXES.includes(axis));
  if (!unique || !known || !named.includes("stimulus") || !named.includes("target")) {
    throw new ArgumentError(
      `loadRecording: expected axes stimulus, target and perhaps repeat, got ${named.join(", ")}`,
    );
  }
  const sizes = AXES.map(sizeOf) as [number, number, number];
  if (sizes.some((size) => size === 0)) {
    throw new DataError(`loadRecording: ${path}: expected values, got [${array.shape.join(", ")}]`);
  }
  return {
    data: tensor(
      inUsualOrder(floatsOf(array.data, path), named, sizes),
      ["repeat", "stimulus", "target"],
      sizes,
    ),
    stimulusIds: undefined,
    targetIds: numbered(sizes[2]),
  };
}

const AXES: readonly RecordingAxis[] = ["repeat", "stimulus", "target"];

function usualAxes(nAxes: number): readonly RecordingAxis[] | undefined {
  return nAxes === 3 ? AXES : nAxes === 2 ? AXES.slice(1) : undefined;
}

/** Values with their axes brought into the order repeat, stimulus, target. */
function inUsualOrder(
  data: FloatArray,
  named: readonly RecordingAxis[],
  sizes: readonly [number, number, number],
): FloatArray {
  const strides = AXES.map((axis) => {
    const at = named.indexOf(axis);
    if (at < 0) return 0;
    return named.slice(at + 1).reduce((step, later) => step * sizes[AXES.indexOf(later)]!, 1);
  });
  const [nRepeats, nStimuli, nTargets] = sizes;
  const usual = [nStimuli * nTargets, nTargets, 1];
  if (strides.every((step, a) => step === usual[a] || sizes[a] === 1)) return data;
  const out =
    data instanceof Float32Array ? new Float32Array(data.length) : new Float64Array(data.length);
  let to = 0;
  for (let r = 0; r < nRepeats; r++) {
    for (let i = 0; i < nStimuli; i++) {
      const row = r * strides[0]! + i * strides[1]!;
      for (let t = 0; t < nTargets; t++) out[to++] = data[row + t * strides[2]!]!;
    }
  }
  return out;
}

function floatsOf(data: NpyArray["data"], path: string): FloatArray {
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
