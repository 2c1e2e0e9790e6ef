import { ArgumentError, type FloatArray } from "@penfield/core";
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
  /** `values` are `[step, row, unit]` from `step` on. */
  take(values: FloatArray, step: number, nPiece: number): void;
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
    const row: number[] = [];
    const stepList: number[] = [];
    const unit: number[] = [];
    const value: number[] = [];
    const chosen = units ?? Int32Array.from({ length: nUnits }, (_, j) => j);
    return {
      request,
      take(values, step, nPiece) {
        for (let t = 0; t < nPiece; t++) {
          if (!wanted(step + t)) continue;
          for (let b = 0; b < nRows; b++) {
            const start = (t * nRows + b) * nUnits;
            for (const j of chosen) {
              const v = values[start + j]!;
              if (v === 0) continue;
              row.push(b);
              stepList.push(step + t);
              unit.push(j);
              value.push(v);
            }
          }
        }
      },
      values: () => ({
        data: floats(0),
        shape: [nRows, count, nChosen],
        axes: AXES,
        steps,
        events: {
          row: Int32Array.from(row),
          step: Int32Array.from(stepList),
          unit: Int32Array.from(unit),
          value: Float32Array.from(value),
        },
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
