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
    const list = eventList();
    const chosen = units && Int32Array.from(new Set(units)).sort();
    const place = chosen && placesOf(chosen, nUnits);
    return {
      request,
      take(values, step, nPiece, known) {
        for (let t = 0; t < nPiece; t++) {
          if (!wanted(step + t)) continue;
          for (let b = 0; b < nRows; b++) {
            const r = t * nRows + b;
            const start = r * nUnits;
            if (known) list.addListed(b, step + t, values, start, known, r, place);
            else if (chosen) list.addChosen(b, step + t, values, start, chosen);
            else list.addAll(b, step + t, values, start, nUnits);
          }
        }
      },
      values: () => ({
        data: floats(0),
        shape: [nRows, count, nChosen],
        axes: AXES,
        steps,
        events: list.events(),
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

interface EventList {
  /** Of a row whose active units are listed, those that were chosen. */
  addListed(
    row: number,
    step: number,
    values: FloatArray,
    start: number,
    known: Events,
    at: number,
    chosen: Uint8Array | undefined,
  ): void;
  addChosen(row: number, step: number, values: FloatArray, start: number, units: Int32Array): void;
  addAll(row: number, step: number, values: FloatArray, start: number, n: number): void;
  events(): SpikeEvents;
}

/** Events in arrays that double when they are full. */
function eventList(): EventList {
  let rows = new Int32Array(1024);
  let steps = new Int32Array(1024);
  let units = new Int32Array(1024);
  let sizes = new Float32Array(1024);
  let count = 0;
  const makeRoom = (n: number): void => {
    if (count + n <= rows.length) return;
    const length = Math.max(count + n, 2 * rows.length);
    const larger = <A extends Int32Array | Float32Array>(array: A, next: A): A => {
      next.set(array);
      return next;
    };
    rows = larger(rows, new Int32Array(length));
    steps = larger(steps, new Int32Array(length));
    units = larger(units, new Int32Array(length));
    sizes = larger(sizes, new Float32Array(length));
  };
  const add = (row: number, step: number, unit: number, value: number): void => {
    rows[count] = row;
    steps[count] = step;
    units[count] = unit;
    sizes[count++] = value;
  };
  return {
    addListed(row, step, values, start, { start: starts, index }, at, chosen) {
      const [from, to] = [starts[at]!, starts[at + 1]!];
      makeRoom(to - from);
      if (chosen) {
        for (let k = from; k < to; k++) {
          const unit = index[k]!;
          if (chosen[unit] === 1) add(row, step, unit, values[start + unit]!);
        }
        return;
      }
      fillEvents(rows, steps, units, sizes, count, row, step, index, from, to, values, start);
      count += to - from;
    },
    addChosen(row, step, values, start, list) {
      makeRoom(list.length);
      for (const unit of list) {
        const value = values[start + unit]!;
        if (value !== 0) add(row, step, unit, value);
      }
    },
    addAll(row, step, values, start, n) {
      makeRoom(n);
      for (let unit = 0; unit < n; unit++) {
        const value = values[start + unit]!;
        if (value !== 0) add(row, step, unit, value);
      }
    },
    events: () => ({
      row: rows.slice(0, count),
      step: steps.slice(0, count),
      unit: units.slice(0, count),
      value: sizes.slice(0, count),
    }),
  };
}

/** All it needs are its arguments: most of what capturing costs. */
function fillEvents(
  rows: Int32Array,
  steps: Int32Array,
  units: Int32Array,
  sizes: Float32Array,
  count: number,
  row: number,
  step: number,
  index: Int32Array,
  from: number,
  to: number,
  values: FloatArray,
  start: number,
): void {
  for (let k = from; k < to; k++) {
    const unit = index[k]!;
    const at = count + k - from;
    rows[at] = row;
    steps[at] = step;
    units[at] = unit;
    sizes[at] = values[start + unit]!;
  }
}
