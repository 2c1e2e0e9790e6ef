import { ArgumentError, type FloatArray } from "@penfield/core";
import type { Events } from "./kernels.ts";
import type { MakeFloats } from "./products.ts";

export type CapturePlace = "spikes" | "v" | "vPre" | "i" | "input" | "out";

/** A capture whose hook is resolved. */
export interface CaptureRequest {
  readonly hook: string;
  /** Place in the network's nodes. */
  readonly node: number;
  readonly place: CapturePlace;
  readonly units?: Int32Array | undefined;
  readonly from?: number | undefined;
  readonly to?: number | undefined;
  readonly every?: number | undefined;
  readonly events?: boolean | undefined;
}

/** Values that are not 0, in the order row, step, unit... of time: by step, then row, then unit. */
export interface SpikeEvents {
  readonly row: Int32Array;
  /** Counted from the beginning of the recording. */
  readonly step: Int32Array;
  /** Number of the unit in the node, whatever was chosen of them. */
  readonly unit: Int32Array;
  /** 1, or how many spikes at once. */
  readonly value: Float32Array;
}

/** Values at one hook point. */
export interface SpikingValues {
  /** `[row, step, unit]`, row-major; empty if events were asked for. */
  readonly data: FloatArray;
  readonly shape: readonly [nRows: number, nSteps: number, nUnits: number];
  readonly axes: readonly ["row", "step", "unit"];
  /** The steps that the second axis holds. */
  readonly steps: { readonly from: number; readonly every: number };
  readonly events: SpikeEvents | undefined;
}

export interface Recorder {
  readonly request: CaptureRequest;
  /** `values` are `[step, row, unit]` from `step` on; `known` lists those that are not 0, if that is known. */
  take(values: FloatArray, step: number, nPiece: number, known?: Events): void;
  values(): SpikingValues;
}

const AXES = ["row", "step", "unit"] as const;

export function makeRecorder(
  request: CaptureRequest,
  nRows: number,
  nUnits: number,
  firstStep: number,
  nSteps: number,
  floats: MakeFloats,
): Recorder {
  const { hook, units, every = 1, from = 0, to = Number.POSITIVE_INFINITY } = request;
  if (!Number.isSafeInteger(every) || every < 1) {
    throw new ArgumentError(
      `run: ${hook}: expected every as a whole number from 1 on, got ${every}`,
    );
  }
  if (!(Number.isSafeInteger(from) && from >= 0 && to >= from)) {
    throw new ArgumentError(`run: ${hook}: expected 0 <= from <= to, got ${from} to ${to}`);
  }
  const wanted = (step: number): boolean =>
    step >= from && step < to && (step - from) % every === 0;
  let first = firstStep;
  while (first < firstStep + nSteps && !wanted(first)) first++;
  const last = Math.min(to, firstStep + nSteps);
  const count = first < last ? Math.ceil((last - first) / every) : 0;
  const nChosen = units ? units.length : nUnits;
  const steps = { from: first, every };
  if (request.events) {
    const chosen = units && Int32Array.from(new Set(units)).sort();
    const place = chosen && placesOf(chosen, nUnits);
    const parts: EventPart[] = [];
    return {
      request,
      take(values, step, nPiece, known) {
        for (let t = 0; t < nPiece; t++) {
          if (!wanted(step + t)) continue;
          // Where all is wanted and listed, whole pieces are copied.
          const whole = known !== undefined && every === 1 && place === undefined;
          const n = whole ? Math.min(nPiece, to - step) - t : 1;
          parts.push(
            known
              ? listedPart(values, step + t, t * nRows, n, nRows, nUnits, known, place)
              : foundPart(values, step + t, t * nRows, nRows, nUnits, chosen),
          );
          t += n - 1;
        }
      },
      values: () => ({
        data: floats(0),
        shape: [nRows, count, nChosen],
        axes: AXES,
        steps,
        events: joinParts(parts, nRows),
      }),
    };
  }
  const data = floats(nRows * count * nChosen);
  return {
    request,
    take(values, step, nPiece) {
      for (let t = 0; t < nPiece; t++) {
        if (!wanted(step + t)) continue;
        const at = (step + t - first) / every;
        for (let b = 0; b < nRows; b++) {
          const start = (t * nRows + b) * nUnits;
          const into = (b * count + at) * nChosen;
          if (!units && nUnits > 64) data.set(values.subarray(start, start + nUnits), into);
          else if (!units) for (let k = 0; k < nUnits; k++) data[into + k] = values[start + k]!;
          else for (let k = 0; k < nChosen; k++) data[into + k] = values[start + units[k]!]!;
        }
      }
    },
    values: () => ({ data, shape: [nRows, count, nChosen], axes: AXES, steps, events: undefined }),
  };
}

/** 1 for each unit that was chosen. */
function placesOf(units: Int32Array, nUnits: number): Uint8Array {
  const places = new Uint8Array(nUnits);
  for (const unit of units) places[unit] = 1;
  return places;
}

/** Events of some steps, all rows of each. */
interface EventPart {
  readonly step: number;
  /** `[nSteps * nRows + 1]`. */
  readonly start: Int32Array;
  readonly unit: Int32Array;
  /** Absent if all are 1. */
  readonly value: Float32Array | undefined;
}

/** From units that are listed already. */
function listedPart(
  values: FloatArray,
  step: number,
  firstRow: number,
  nSteps: number,
  nRows: number,
  nUnits: number,
  { start: starts, index, ones }: Events,
  chosen: Uint8Array | undefined,
): EventPart {
  const n = nSteps * nRows;
  const start = starts.slice(firstRow, firstRow + n + 1);
  const [from, to] = [start[0]!, start[n]!];
  const unit = index.slice(from, to);
  const value = ones ? undefined : new Float32Array(unit.length);
  let count = 0;
  for (let r = 0; r < n; r++) {
    const [first, last] = [start[r]! - from, start[r + 1]! - from];
    start[r] = chosen ? count : first;
    if (ones && !chosen) continue;
    const row = (firstRow + r) * nUnits;
    for (let k = first; k < last; k++) {
      const j = unit[k]!;
      if (chosen && chosen[j] === 0) continue;
      unit[count] = j;
      if (value) value[count] = values[row + j]!;
      count++;
    }
  }
  start[n] = ones && !chosen ? to - from : count;
  return { step, start, unit, value };
}

/** Looks for what is not 0 in the rows of a step. */
function foundPart(
  values: FloatArray,
  step: number,
  firstRow: number,
  nRows: number,
  nUnits: number,
  chosen: Int32Array | undefined,
): EventPart {
  const n = chosen ? chosen.length : nUnits;
  const start = new Int32Array(nRows + 1);
  const unit: number[] = [];
  const value: number[] = [];
  for (let b = 0; b < nRows; b++) {
    const row = (firstRow + b) * nUnits;
    for (let k = 0; k < n; k++) {
      const j = chosen ? chosen[k]! : k;
      const v = values[row + j]!;
      if (v === 0) continue;
      unit.push(j);
      value.push(v);
    }
    start[b + 1] = unit.length;
  }
  return { step, start, unit: Int32Array.from(unit), value: Float32Array.from(value) };
}

function joinParts(parts: readonly EventPart[], nRows: number): SpikeEvents {
  const total = parts.reduce((sum, { start }) => sum + start[start.length - 1]!, 0);
  const rows = new Int32Array(total);
  const steps = new Int32Array(total);
  const units = new Int32Array(total);
  const sizes = new Float32Array(total).fill(1);
  let at = 0;
  for (const { step, start, unit, value } of parts) {
    const n = start[start.length - 1]!;
    units.set(unit.subarray(0, n), at);
    if (value) sizes.set(value.subarray(0, n), at);
    for (let r = 0; r + 1 < start.length; r++) {
      const row = r % nRows;
      const now = step + (r - row) / nRows;
      const end = at + start[r + 1]!;
      for (let k = at + start[r]!; k < end; k++) {
        rows[k] = row;
        steps[k] = now;
      }
    }
    at += n;
  }
  return { row: rows, step: steps, unit: units, value: sizes };
}
